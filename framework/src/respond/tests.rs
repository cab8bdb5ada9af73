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
