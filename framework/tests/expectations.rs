//! `Expect: 100-continue` is the handler's to decide (RFC 9110 section 10.1.1): it is said when the body is first read, and a
//! handler that answers without reading has refused the body.

use shardwise::http::header::AUTHORIZATION;
use shardwise::prelude::*;
use shardwise::test::{self, Plan};
use shardwise::{Bytes, FromHead, Rejection};

/// Who may send: its lack refuses the request before anything of the body is asked for.
struct Known;

impl FromHead for Known {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        match request.header(AUTHORIZATION.as_str()) {
            Some(_) => Ok(Known),
            None => Err(Rejection::new(StatusCode::UNAUTHORIZED, "the header `authorization` is missing")),
        }
    }
}

fn app() -> App {
    App::new()
        .post("/read", |bytes: Bytes| bytes.len().to_string())
        .post("/known", |_: Known, bytes: Bytes| bytes.len().to_string())
        .post("/refused", || StatusCode::EXPECTATION_FAILED)
        .post("/slowly", async |shard: Shard, mut body: Body| {
            shard.sleep(std::time::Duration::from_secs(1)).await;
            let mut bytes = 0;
            while let Some(chunk) = body.chunk().await.unwrap() {
                bytes += chunk.len();
            }
            bytes.to_string()
        })
        .post("/echo", |body: Body| body)
}

/// All that the server says to a request of 5 bytes that waits for 100, before `hello` is sent and after; then it may say
/// no more, or has closed.
#[track_caller]
fn check(path: &str, fields: &str, before: &str, after: &str, closes: bool) {
    for seed in test::seeds(10) {
        let server = test::builder().seed(seed).plan(Plan::CHOPPY).start(|_| app());
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: here\r\n{fields}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        let (before, after) = (before.to_owned(), after.to_owned());
        let failed = server.run(async move |client| {
            let mut connection = client.open().await;
            connection.send(head).await.unwrap();
            let mut said = String::new();
            for (expect, next) in [(before, Some("hello")), (after, None)] {
                let mut lines = String::new();
                while !expect.is_empty() && !lines.contains(&expect) {
                    match connection.receive().await {
                        Ok(Some(bytes)) => lines.push_str(&String::from_utf8(bytes).unwrap()),
                        end => return Some(format!("{said}{lines} and then {end:?}")),
                    }
                }
                said.push_str(&lines);
                if let Some(next) = next.filter(|_| !said.contains("close\r\n")) {
                    connection.send(next).await.unwrap();
                }
            }
            if said.contains("Connection: close") != closes {
                return Some(said);
            }
            if closes {
                let end = connection.receive().await;
                return (end != Ok(None)).then(|| format!("{said} and then {end:?}"));
            }
            connection.send("POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
            let next = connection.response(&Method::POST).await;
            (next.as_ref().map(|next| next.text()) != Ok("1")).then(|| format!("{said} and then {next:?}"))
        });
        assert_eq!(failed, None, "{path}, seed {seed}");
    }
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn a_handler_that_reads_asks_for_the_body() {
    check("/read", "", CONTINUE, "\r\n\r\n5", false);
    check("/slowly", "", CONTINUE, "\r\n\r\n5", false);
    check("/echo", "", CONTINUE, "hello", false);
    check("/known", "Authorization: me\r\n", CONTINUE, "\r\n\r\n5", false);
}

#[test]
fn a_handler_that_answers_without_reading_has_refused_it() {
    // Whether the body comes all the same is anyone's guess, so nothing can follow on this connection.
    check("/refused", "", "Connection: close\r\n\r\n", "", true);
    check("/known", "", "`authorization` is missing.\n", "", true);
    check("/nowhere", "", "/nowhere.\n", "", true);
}

#[test]
fn a_client_that_does_not_wait_is_not_asked() {
    let server = test::run(app());
    let response = server.run(async |client| {
        let mut connection = client.open().await;
        let head = "POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        connection.send(format!("{head}hello")).await.unwrap();
        connection.receive().await.unwrap().unwrap()
    });
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&response));

    // It has been sent: what nobody reads is read over, and the connection goes on.
    server.run(async |client| {
        let mut connection = client.open().await;
        let head = "POST /refused HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n";
        connection.send(format!("{head}hello")).await.unwrap();
        assert_eq!(connection.response(&Method::POST).await.unwrap().status(), 417);
        connection.send("POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
        assert_eq!(connection.response(&Method::POST).await.unwrap().text(), "1");
    });
}
