//! What the layers in the box answer, hand on and write.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::test::{self, Request as Ask};
use crate::testing::check;
use crate::{App, Body, Bytes, Config, Extension, Handler, ScopeHandle, Shard};

/// What is logged at `info` while `work` runs, in lines without the time and the level.
fn logged(work: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let builder = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).with_target(false);
    tracing::subscriber::with_default(builder.without_time().finish(), work);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::trim).filter(|line| line.contains("request")).map(str::to_owned).collect()
}

#[test]
fn what_is_late_is_answered_503_and_dropped() {
    let app = App::new()
        .layer(timeout(Duration::from_secs(1)))
        .get("/in-time", async |shard: Shard| shard.sleep(Duration::from_millis(900)).await)
        .get("/late", async |shard: Shard| shard.sleep(Duration::from_secs(60)).await);
    let server = test::run(app);
    assert_eq!(server.get("/in-time").status(), 200);
    let response = server.get("/late").expect(503);
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(response.text(), "Service Unavailable at /late: the answer was not ready in time. Try again later.\n");
}

#[test]
fn a_request_has_the_time_that_its_client_has_and_no_more_than_may_be() {
    let app =
        App::new().layer(deadline(Duration::from_secs(5))).get("/left", async |shard: Shard, scope: ScopeHandle| {
            let left = scope.deadline().unwrap() - shard.now();
            shard.sleep(Duration::from_secs(1)).await;
            left.as_millis().to_string()
        });
    let server = test::run(app);
    let left = |field: &str, value: &str| {
        let answer = server.send(Ask::get("/left").header(field, value));
        (answer.status().as_u16(), answer.text().to_owned())
    };
    assert_eq!(left("x", "y"), (200, "5000".into()));
    assert_eq!(left("x-envoy-expected-rq-timeout-ms", "2000"), (200, "2000".into()));
    assert_eq!(left("x-envoy-expected-rq-timeout-ms", "20000"), (200, "5000".into()));
    for wrong in ["", "-1", "2.5", "soon", "99999999999999999999999"] {
        assert_eq!(left("x-envoy-expected-rq-timeout-ms", wrong), (200, "5000".into()), "{wrong}");
    }
    for (value, time) in [("3S", "3000"), ("1500m", "1500"), ("2000000u", "2000"), ("1H", "5000"), ("1M", "5000")] {
        assert_eq!(left("grpc-timeout", value), (200, time.into()), "{value}");
    }
    for wrong in ["S", "3", "3s", "123456789m", "-1S", "18446744073709551615H"] {
        assert_eq!(left("grpc-timeout", wrong), (200, "5000".into()), "{wrong}");
    }
    assert_eq!(left("x-envoy-expected-rq-timeout-ms", "500").0, 503);
    assert_eq!(left("grpc-timeout", "0m").0, 503);
}

fn limited() -> App {
    App::new()
        .layer(body_limit(4))
        .post("/bytes", async |body: Bytes| format!("{}", body.len()))
        .post("/less", (async |body: Bytes| format!("{}", body.len())).body_limit(2))
        .post("/more", (async |body: Bytes| format!("{}", body.len())).body_limit(8))
        .post("/unread", || "unread")
        .post("/stream", async |mut body: Body| {
            let mut count = 0;
            while let Some(chunk) = body.chunk().await? {
                count += chunk.len();
            }
            Ok::<_, crate::Error>(count.to_string())
        })
}

#[test]
fn a_body_is_limited_for_all_who_read_it() {
    let server = test::run(limited());
    for (path, four, five) in
        [("/bytes", 200, 413), ("/less", 413, 413), ("/more", 200, 413), ("/stream", 200, 413), ("/unread", 200, 413)]
    {
        assert_eq!(server.post(path, "1234").status(), four, "{path}");
        assert_eq!(server.post(path, "12345").status(), five, "{path}");
        // What is not announced is seen where it is read.
        let five = if path == "/unread" { 200 } else { five };
        assert_eq!(server.send(Ask::post(path).pieces(["12", "345"])).status(), five, "{path}");
    }
}

#[test]
fn sane_ids_are_taken_over_and_others_made() {
    fn app() -> App {
        App::new().layer(request_id()).get("/", |Extension(id): Extension<RequestId>| id.as_str().to_owned())
    }
    let server = test::run(app());
    let long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
    for (sent, is_taken) in
        [("a-1_b.c:d/e+f=~", true), (&long[1..], true), (&*long, false), ("", false), ("a b", false), ("a\"b", false)]
    {
        let response = server.send(Ask::get("/").header("X-Request-Id", sent));
        assert_eq!(response.text(), response.header("x-request-id"));
        match is_taken {
            true => assert_eq!(response.text(), sent),
            false => assert!(response.text().len() == 32 && response.text() != sent, "{}", response.text()),
        }
    }
    assert_ne!(server.get("/").text(), server.get("/").text());
    assert_eq!(server.get("/nowhere").expect(404).header("x-request-id").len(), 32);
}

fn noted() -> App {
    let config = Config { request_time_max: Some(Duration::from_secs(2)), ..Config::default() };
    App::new()
        .config(config)
        .layer(request_id())
        .layer(access_log())
        .get("/items/{id}", |crate::Path(id): crate::Path<u8>| id.to_string())
        .get("/failing", async || {
            shards::yield_now().await;
            tracing::info!("within a request");
            Err::<(), _>(crate::Error::new("on purpose"))
        })
        .get("/slow", async |shard: Shard| shard.sleep(Duration::from_secs(60)).await)
}

#[test]
fn each_exchange_is_a_line_with_its_id() {
    let lines = logged(|| {
        let server = test::run(noted());
        let ask = |path: &str| server.send(Ask::get(path).header("x-request-id", "seven"));
        ask("/items/7?secret=1");
        ask("/nothing");
        ask("/failing");
        assert_eq!(ask("/slow").status(), 503);
    });
    let expect = [
        r#"a request was answered method="GET" path="/items/7" route="/items/{id}" status=200 bytes=1 time="#,
        r#"a request was answered method="GET" path="/nothing" route="" status=404 bytes="#,
        r#"within a request"#,
        r#"a request was answered method="GET" path="/failing" route="/failing" status=500 bytes="#,
        r#"a request failed method="GET" route="/failing" status=500 request_id="seven" error=on purpose"#,
        r#"a request was given up method="GET" path="/slow" route="/slow" time="#,
    ];
    assert_eq!(lines.len(), expect.len(), "{lines:#?}");
    for (line, expect) in lines.iter().zip(expect) {
        assert!(line.contains(expect), "{line}\n{expect}");
        assert!(!line.contains("secret"), "{line}");
        assert!(line.contains("seven"), "{line}");
    }
    assert!(lines[0].contains("peer=") && lines[2].contains("request{id=\"seven\"}"), "{lines:#?}");
}

#[test]
fn the_log_finds_an_id_that_is_given_further_in() {
    let lines = logged(|| {
        let app = App::new().layer(access_log()).layer(request_id()).get("/", || StatusCode::NO_CONTENT);
        test::run(app).send(Ask::get("/").header("x-request-id", "inner"));
    });
    assert!(lines.len() == 1 && lines[0].contains(r#"request_id="inner""#), "{lines:#?}");
}

#[test]
fn all_of_them_stand_around_a_plain_answer() {
    fn app() -> App {
        let app = App::new().layer(timeout(Duration::from_secs(1))).layer(body_limit(4)).layer(access_log());
        app.get("/", || "hello")
    }
    check(app, &[("GET /", "200\ncontent-type: text/plain; charset=utf-8\n\nhello")]);
}
