//! What the app says where no handler does: 404, 405, `OPTIONS *`, panics; and that the shard lives on.

use crate::metrics::{HttpMetrics, ShardMetrics};
use crate::testing::{ask, check, on_a_shard, told};
use crate::{App, Error, Next, Request, Router};
use http::StatusCode;
use shards::Shard;

const INTERNAL: &str = "500\ncontent-type: text/plain; charset=utf-8\n\n\
                        The server failed to answer this request; its log says why.\n";

fn app() -> App {
    App::new()
        .get("/", || "home")
        .put("/", || "put")
        .get("/panic", panicking)
        .get("/panic/async", async || {
            shards::yield_now().await;
            panicking()
        })
        .get("/panic/value", || -> &'static str { std::panic::panic_any(7) })
        .get("/panic/body", panicking_of_body)
        .get("/error", || Err::<(), _>(Error::new("the database is away")))
        .get("/missing", async || Err::<(), _>(crate::Rejection::new(StatusCode::NOT_FOUND, "there is no such item")))
}

fn panicking() -> &'static str {
    panic!("on purpose")
}

async fn panicking_of_body(_: String) -> &'static str {
    panicking()
}

#[test]
fn what_is_not_served_is_said_clearly() {
    check(
        app,
        &[
            (
                "GET /nothing",
                "404\ncontent-type: text/plain; charset=utf-8\n\nNot Found: nothing is served at /nothing.\n",
            ),
            (
                "DELETE /",
                "405\ncontent-type: text/plain; charset=utf-8\nallow: GET, HEAD, PUT\n\n\
                 Method Not Allowed: DELETE is not for /. Use one of: GET, HEAD, PUT.\n",
            ),
            ("OPTIONS *", "204"),
            ("HEAD /", "200\ncontent-type: text/plain; charset=utf-8\n\nhome"),
            ("GET /missing", "404\ncontent-type: text/plain; charset=utf-8\n\nNot Found: there is no such item.\n"),
        ],
    );
}

/// What was found for a head that keeps coming stays with that head.
#[test]
fn whoever_asks_the_same_again_and_again_gets_the_same() {
    let app = App::new()
        .get("/a", || "a")
        .post("/a", || "posted")
        .any("/b", || "b")
        .get("/items/{id}", async |crate::Path(id): crate::Path<String>| id);
    let server = crate::test::run(app);
    let times = |count: usize, method: http::Method, path: &str, status: u16, text: &str| {
        for time in 0..count {
            let answer = server.send(crate::test::Request::new(method.clone(), path)).expect(status);
            assert!(answer.text().contains(text), "{method} {path}, time {time}: {}", answer.text());
        }
    };
    for round in [1, 3, 8] {
        times(round, http::Method::GET, "/a", 200, "a");
        times(round, http::Method::POST, "/a", 200, "posted");
        times(round, http::Method::HEAD, "/a", 200, "");
        times(round, http::Method::PUT, "/a", 405, "PUT is not for /a");
        times(round, http::Method::GET, "/b", 200, "b");
        times(round, http::Method::PUT, "/b", 200, "b");
        times(round, http::Method::GET, "/c", 404, "nothing is served at /c");
        times(round, http::Method::GET, "/items/1", 200, "1");
        times(round, http::Method::GET, "/items/2", 200, "2");
    }
}

/// Nobody else sees whether a request was made for it.
#[test]
fn whoever_takes_nothing_of_its_requests_is_layered_and_measured_all_the_same() {
    async fn sealed(request: Request, next: Next) -> crate::Response {
        next.run(request).await.with_header(http::header::VIA, http::HeaderValue::from_static("a layer"))
    }
    fn told(shard: Shard) -> String {
        let count = |route: &str, class: &str| {
            let labels = [("http_request_method", "GET"), ("http_response_status_class", class), ("http_route", route)];
            ShardMetrics::of(&shard).counter("http_server_requests_total", &labels).get()
        };
        let answered = ["/alone", "/later", "/layered"].map(|route| count(route, "2xx"));
        let failed = ["/panic", "/error"].map(|route| count(route, "5xx"));
        format!("{answered:?} {failed:?} {}", HttpMetrics::of(&shard).active.get())
    }
    const TIMES: usize = 12;
    let layered = Router::new().get("/layered", || "layered").layer(sealed);
    let app = app().get("/alone", || "alone").get("/later", async || "later").get("/told", told).merge(layered);
    let server = crate::test::run(app);
    let again = |path: &str, status: u16, text: &str| {
        for time in 0..TIMES {
            let answer = server.get(path).expect(status);
            assert!(answer.text().contains(text), "{path}, time {time}: {}", answer.text());
            assert_eq!(answer.headers().contains_key("via"), path == "/layered", "{path}, time {time}");
        }
    };
    again("/alone", 200, "alone");
    again("/later", 200, "later");
    again("/layered", 200, "layered");
    again("/panic", 500, "The server failed");
    again("/error", 500, "The server failed");
    again("/alone", 200, "alone");
    assert_eq!(server.get("/told").text(), "[24, 12, 12] [12, 12] 1");
}

#[test]
fn a_fallback_takes_the_place_of_404_only() {
    fn app() -> App {
        App::new()
            .get("/", || "home")
            .fallback(async |request: Request| (StatusCode::IM_A_TEAPOT, request.path().to_owned()))
    }
    check(
        app,
        &[
            ("GET /x", "418\ncontent-type: text/plain; charset=utf-8\n\n/x"),
            ("POST /y", "418\ncontent-type: text/plain; charset=utf-8\n\n/y"),
            (
                "POST /",
                "405\ncontent-type: text/plain; charset=utf-8\nallow: GET, HEAD\n\n\
                 Method Not Allowed: POST is not for /. Use one of: GET, HEAD.\n",
            ),
        ],
    );
}

#[test]
fn a_panic_is_a_500_is_counted_and_ends_nothing_else() {
    on_a_shard(async |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        let metrics = crate::metrics::HttpMetrics::of(&shard);
        for (count, path) in ["/panic", "/panic/async", "/panic/value", "/panic/body"].iter().enumerate() {
            assert_eq!(told(ask(&service, &shard, &format!("GET {path}")).await).await, INTERNAL, "{path}");
            assert_eq!(metrics.panics.get(), count as u64 + 1);
            assert_eq!(metrics.active.get(), 0, "the panicking request is over");
            assert!(told(ask(&service, &shard, "GET /").await).await.ends_with("home"));
        }
    });
}

#[test]
fn an_error_is_a_500_that_tells_nothing() {
    check(app, &[("GET /error", INTERNAL)]);
}
