//! What answers look like on their way out.

use http::header::{CONTENT_TYPE, SET_COOKIE};

use super::*;
use crate::testing::{check, on_a_shard, told};
use crate::{App, Json};

fn app() -> App {
    App::new()
        .get("/unit", || ())
        .get("/status", || StatusCode::NO_CONTENT)
        .get("/str", || "a")
        .get("/string", || String::from("a"))
        .get("/vec", || vec![b'a'])
        .get("/bytes", || Bytes::from_static(b"a"))
        .get("/static", || b"a".as_slice())
        .get("/html", || Html("<p>"))
        .get("/json", || Json([1, 2]))
        .get("/pair", || (StatusCode::CREATED, "a"))
        .get("/lines", || ([("x-a", "1")], "a"))
        .get("/three", || (StatusCode::FOUND, [("location", "/x"), ("content-type", "none")], "a"))
        .get("/cookies", || ([(SET_COOKIE, "a=1"), (SET_COOKIE, "b=2")], ()))
        .get("/ok", || Ok::<_, StatusCode>("a"))
        .get("/err", || Err::<&str, _>(StatusCode::CONFLICT))
        .get("/bad", || ([("x y", "1")], "a"))
        .post("/body", |body: Body| body)
        .get("/stream", || {
            Stream::new(async |mut sink| {
                sink.send("a").await?;
                shards::yield_now().await;
                sink.send("").await?;
                sink.send("b").await?;
                Ok(())
            })
        })
        .get("/failing", || {
            Stream::new(async |mut sink| {
                sink.send("a").await?;
                Err(crate::Error::new("no more"))
            })
        })
        .get("/panicking", || {
            Stream::new(async |mut sink| {
                sink.send("a").await?;
                panic!("on purpose")
            })
        })
}

#[test]
fn answers_become_responses() {
    check(
        app,
        &[
            ("GET /unit", "200"),
            ("GET /status", "204"),
            ("GET /str", "200\ncontent-type: text/plain; charset=utf-8\n\na"),
            ("GET /string", "200\ncontent-type: text/plain; charset=utf-8\n\na"),
            ("GET /vec", "200\ncontent-type: application/octet-stream\n\na"),
            ("GET /bytes", "200\ncontent-type: application/octet-stream\n\na"),
            ("GET /static", "200\ncontent-type: application/octet-stream\n\na"),
            ("GET /html", "200\ncontent-type: text/html; charset=utf-8\n\n<p>"),
            ("GET /json", "200\ncontent-type: application/json\n\n[1,2]"),
            ("GET /pair", "201\ncontent-type: text/plain; charset=utf-8\n\na"),
            ("GET /lines", "200\ncontent-type: text/plain; charset=utf-8\nx-a: 1\n\na"),
            ("GET /three", "302\nlocation: /x\ncontent-type: none\n\na"),
            ("GET /cookies", "200\nset-cookie: a=1\nset-cookie: b=2"),
            ("GET /ok", "200\ncontent-type: text/plain; charset=utf-8\n\na"),
            ("GET /err", "409"),
            (
                "GET /bad",
                "500\ncontent-type: text/plain; charset=utf-8\n\n\
                 The server failed to answer this request; its log says why.\n",
            ),
            ("POST /body\n\nthrough", "200\n\nthrough"),
        ],
    );
}

#[test]
fn a_stream_gives_its_pieces_and_says_how_it_ended() {
    check(
        app,
        &[
            ("GET /stream", "200\n\nab"),
            ("GET /failing", "200\n\na[no more]"),
            ("GET /panicking", "200\n\na[panicked: on purpose]"),
        ],
    );
}

#[test]
fn a_stream_makes_a_piece_only_when_the_last_is_taken() {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    let (made, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (counting, ending) = (Rc::clone(&made), Rc::clone(&ended));
    let stream = Stream::new(async move |mut sink| {
        for _ in 0..3 {
            counting.set(counting.get() + 1);
            if let Err(error) = sink.send("x").await {
                ending.set(Some(error));
                return Err(error.into());
            }
        }
        Ok(())
    });
    let Content::Stream(mut body) = stream.with_length(3).respond().content else { panic!("a stream streams") };
    assert_eq!(body.length(), Some(3));
    let mut cx = Context::from_waker(Waker::noop());
    for count in 1..=3 {
        assert!(matches!(body.as_mut().poll_next(&mut cx), Poll::Ready(Some(Ok(_)))));
        assert_eq!(made.get(), count);
    }
    assert!(matches!(body.as_mut().poll_next(&mut cx), Poll::Ready(None)));
    assert!(matches!(body.as_mut().poll_next(&mut cx), Poll::Ready(None)), "the end stays the end");
    assert_eq!(ended.get(), None);
}

#[test]
fn a_mistake_in_a_header_is_kept_for_the_log() {
    on_a_shard(async |_| {
        let response = ([(CONTENT_TYPE, "a\nb")], "a").respond();
        assert!(response.cause.is_some());
        assert!(told(response).await.starts_with("500\n"));
    });
}

#[test]
fn a_redirect_leads_to_a_uri_or_is_a_mistake() {
    let check = |place: &str, expect: bool| {
        let response = Redirect::temporary(place).respond();
        let location = response.headers.get(&http::header::LOCATION).map(|value| value.to_str().unwrap().to_owned());
        match expect {
            true => assert_eq!((response.status.as_u16(), location.as_deref()), (307, Some(place))),
            false => assert!(response.status == 500 && location.is_none() && response.cause.is_some(), "{place}"),
        }
    };
    for place in ["/", "/a?b=c#d", "https://[::1]:80/%C3%BC", "a/b;c,d", "?x", "#y"] {
        check(place, true);
    }
    for place in ["", "/a b", "/a\r\nSet-Cookie: x", "/\0", "/\\x", "/ü", "/%", "/%4", "/%zz", "/<x>", "/\"x"] {
        check(place, false);
    }
}

/// Reads a stream as the HTML standard's section 9.2.6 says: type, data and last id of each event that a client would see.
fn events(stream: &str) -> Vec<(String, String, String)> {
    let (mut seen, mut kind, mut data, mut id) = (Vec::new(), String::new(), String::new(), String::new());
    for line in stream.replace("\r\n", "\n").replace('\r', "\n").split_terminator('\n') {
        if line.is_empty() {
            if let Some(data) = data.strip_suffix('\n') {
                seen.push((kind.clone(), data.to_owned(), id.clone()));
            }
            (kind, data) = Default::default();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut kind),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            _ => {}
        }
    }
    seen
}

#[test]
fn what_is_sent_as_an_event_is_what_a_client_sees() {
    for (data, expect) in [
        ("a", "a"),
        ("", ""),
        ("a\nb", "a\nb"),
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("\r\r\n\n", "\n\n\n"),
        (" led by a space", " led by a space"),
        ("data: x\n\nevent: forged", "data: x\n\nevent: forged"),
        (":", ":"),
        ("grüße\u{2028}\0", "grüße\u{2028}\0"),
    ] {
        let event = Event::new(data).event("kind").unwrap().id("7").unwrap().retry(std::time::Duration::from_secs(2));
        let text = format!("{}\n{}\n", Event::comment(data).text(), event.text());
        assert_eq!(events(&text), [("kind".to_owned(), expect.to_owned(), "7".to_owned())], "{text:?}");
        assert!(text.contains("\nretry: 2000\n"));
    }
    assert_eq!(Event::json(&["a\nb"]).unwrap().text(), "data: [\"a\\nb\"]\n");
    for bad in ["a\nb", "a\rb", "\n"] {
        assert!(Event::new("").event(bad).is_err() && Event::new("").id(bad).is_err(), "{bad:?}");
    }
    assert!(Event::new("").id("a\0").is_err());
}

#[test]
fn a_silent_stream_of_events_is_kept_alive_and_a_lively_one_needs_nothing() {
    use std::time::Duration;

    let app = |_: shards::Shard| {
        App::new().get(
            "/{pause}/{silence}",
            |crate::Path((pause, silence)): crate::Path<(u64, u64)>, shard: shards::Shard| {
                let sse = Sse::new(async move |mut events| {
                    for _ in 0..2 {
                        shard.sleep(Duration::from_secs(pause)).await;
                        events.send(Event::new("x")).await?;
                    }
                    Ok(())
                });
                sse.keep_alive(Duration::from_secs(silence))
            },
        )
    };
    for seed in crate::test::seeds(5) {
        let server = crate::test::builder().seed(seed).plan(crate::test::Plan::CHOPPY).start(app);
        let check =
            |path: &str, expect: &str| assert_eq!(server.get(path).expect(200).text(), expect, "{path}, seed {seed}");
        check("/10/15", "data: x\n\ndata: x\n\n");
        check("/40/15", ":\n\n:\n\ndata: x\n\n:\n\n:\n\ndata: x\n\n");
        server.end();
    }
}

#[test]
fn a_client_that_leaves_ends_its_events() {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    let ended = Rc::new(Cell::new(false));
    let seen = Rc::clone(&ended);
    let app = move |_: shards::Shard| {
        let ended = Rc::clone(&seen);
        App::new().get("/", move || {
            let ended = Rc::clone(&ended);
            Sse::new(async move |events| {
                let _ended = shards::combine::defer(move || ended.set(true));
                std::future::pending::<()>().await;
                drop(events);
                Ok(())
            })
        })
    };
    let server = crate::test::builder().start(app);
    server.run(async |client| {
        let mut connection = client.open().await;
        connection.send("GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        client.sleep(Duration::from_secs(20)).await;
    });
    assert!(!ended.get(), "it waits for events");
    server.advance(Duration::from_secs(60));
    assert!(ended.get(), "a comment has found nobody");
}
