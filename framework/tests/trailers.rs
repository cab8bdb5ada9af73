//! Trailer fields: a handler reads those of a request, and adds some to a response, which a client gets that takes them.

use shardwise::http::{HeaderName, HeaderValue};
use shardwise::prelude::*;
use shardwise::test::{self, Plan, Request as Ask};
use shardwise::{Config, Stream, TrailerError};

fn app() -> App {
    App::new()
        .post("/count", count)
        .post("/text", |text: String| text)
        .post("/echo", |body: Body| body)
        .post("/ignored", || "ignored")
        .get("/sum", || sum("x-sum"))
        .get("/forbidden", || sum("content-length"))
        .get("/told", || sum("x-sum").with_length(6))
}

/// Reads the body, then what stands behind it.
async fn count(mut body: Body) -> Result<String> {
    assert!(body.trailers().is_none(), "they come last");
    let mut bytes = 0;
    while let Some(chunk) = body.chunk().await? {
        bytes += chunk.len();
    }
    let Some(trailers) = body.trailers() else { return Ok(format!("{bytes}, no trailers")) };
    let sum = trailers.get("X-SUM").map(String::from_utf8_lossy);
    let names: Vec<_> = trailers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    Ok(format!("{bytes}, {sum:?}, {names:?}"))
}

fn sum(name: &'static str) -> Stream {
    Stream::new(async move |mut sink| {
        sink.send("1 2 3\n").await?;
        let added: Result<(), TrailerError> = sink.trailer(HeaderName::from_static(name), HeaderValue::from(6));
        if let Err(error) = added {
            sink.send(format!("{error}\n")).await?;
        }
        Ok(())
    })
}

/// Posts a chunked body that ends in `end`, cut in two at each place, and gives status, text and trailers of the answer,
/// which are always the same; the connection must go on afterwards if the request was a good one.
#[track_caller]
fn check(path: &str, fields: &str, end: &str, expect: (u16, &str, &[(&str, &str)])) {
    let head = format!("POST {path} HTTP/1.1\r\nHost: here\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let whole = format!("{head}5\r\nhello\r\n{end}").into_bytes();
    let server = test::builder().plan(Plan::CALM).start(|_| app());
    for at in [whole.len(), head.len(), head.len() + 3].into_iter().chain(whole.len().saturating_sub(60)..whole.len()) {
        let (front, back) = (whole[..at].to_vec(), whole[at..].to_vec());
        let response = server.run(async move |client| {
            let mut connection = client.open().await;
            connection.send(front).await.unwrap();
            client.sleep(std::time::Duration::from_millis(1)).await;
            let _ = connection.send(back).await;
            let response = connection.response(&Method::POST).await.unwrap();
            if response.status() == 200 {
                connection.send("POST /text HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                assert_eq!(connection.response(&Method::POST).await.unwrap().text(), "ok");
            }
            response
        });
        let (status, text, trailers) = expect;
        assert_eq!(response.status(), status, "cut at {at}: {response:?}");
        assert!(response.text().contains(text), "cut at {at}: {response:?}");
        assert_eq!(response.trailers().len(), trailers.len());
        for (name, value) in trailers {
            assert_eq!(response.trailers()[*name], *value);
        }
    }
}

#[test]
fn a_handler_reads_them_behind_the_body() {
    check("/count", "", "0\r\n\r\n", (200, "5, no trailers", &[]));
    check("/count", "", "0\r\nX-Sum: 7\r\nx-two: \r\n\r\n", (200, "5, Some(\"7\"), [\"X-Sum\", \"x-two\"]", &[]));
    check("/text", "", "0\r\nX-Sum: 7\r\n\r\n", (200, "hello", &[]));
    check("/ignored", "", "0\r\nX-Sum: 7\r\n\r\n", (200, "ignored", &[]));
}

#[test]
fn what_is_passed_through_takes_them_along() {
    let trailers = "0\r\nX-Sum: 7\r\nx-two: a\r\n\r\n";
    check("/echo", "TE: trailers\r\n", trailers, (200, "hello", &[("x-sum", "7"), ("x-two", "a")]));
    check("/echo", "", trailers, (200, "hello", &[]));
}

#[test]
fn framing_is_not_among_them() {
    check("/count", "", "0\r\nContent-Length: 7\r\n\r\n", (400, "not allowed", &[]));
    check("/text", "", "0\r\nHost: x\r\n\r\n", (400, "not allowed", &[]));
}

/// One bound and one answer, wherever the body is read: a handler's extractor once answered 400 where the connection, which
/// reads over a body that nobody wants, answered 431.
#[test]
fn too_many_or_too_long_trailers_are_431_wherever_they_are_read() {
    let long = format!("0\r\nx: {}\r\n\r\n", "y".repeat(Config::default().h1.trailer_bytes_max as usize));
    let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(Config::default().h1.trailer_count_max as usize + 1));
    for path in ["/text", "/count"] {
        check(path, "", &long, (431, "the trailer section is too long", &[]));
        check(path, "", &many, (431, "there are too many trailer fields", &[]));
    }
    // Nobody reads it: the answer is there already, and the connection goes.
    let server = test::run(app());
    for end in [long, many] {
        server.run(async move |client| {
            let mut connection = client.open().await;
            let head = "POST /ignored HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send(format!("{head}5\r\nhello\r\n{end}")).await.unwrap();
            assert_eq!(connection.response(&Method::POST).await.unwrap().text(), "ignored");
            assert_eq!(connection.receive().await.unwrap(), None);
        });
    }
}

#[test]
fn a_stream_adds_them_for_those_who_take_them() {
    for seed in test::seeds(20) {
        let server = test::builder().seed(seed).plan(Plan::CHOPPY).start(|_| app());
        let takes = |path: &str| server.send(Ask::get(path).header("TE", "trailers"));
        assert_eq!(takes("/sum").trailers()["x-sum"], "6");
        assert_eq!(takes("/sum").text(), "1 2 3\n");
        assert!(server.get("/sum").trailers().is_empty(), "without TE there are none");
        assert!(takes("/told").trailers().is_empty(), "behind a length there is no place for them");
        let forbidden = takes("/forbidden");
        assert!(forbidden.text().contains("`content-length` cannot be a trailer field"), "{forbidden:?}");
        assert!(forbidden.trailers().is_empty());
    }
}
