//! Every shape of handler answers, and each costs what it should: a plain function no future, if it need not wait for a body.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::testing::{self, check, on_a_shard, received};
use crate::{App, Bytes, Json, Path, Rejection, Request, State};

fn plain() -> &'static str {
    "plain"
}

fn plain_of_head(Path(id): Path<u32>, State(base): State<u32>) -> String {
    (id + base).to_string()
}

fn plain_of_body(Path(id): Path<u32>, body: String) -> String {
    format!("{id} {body}")
}

async fn waiting() -> &'static str {
    shards::yield_now().await;
    "async"
}

async fn waiting_of_body(State(base): State<u32>, Json(number): Json<u32>) -> Json<u32> {
    shards::yield_now().await;
    Json(base + number)
}

fn app() -> App {
    let counted = Rc::new(Cell::new(0));
    let text = String::from("kept");
    App::new()
        .state(10_u32)
        .get("/plain", plain)
        .get("/plain/{id}", plain_of_head)
        .post("/plain/{id}", plain_of_body)
        .post("/number", |Json(number): Json<u32>| Json(number + 1))
        .post("/bytes", |bytes: Bytes| bytes)
        .post("/request", |request: Request| request.path().to_owned())
        .post("/maybe", |number: Option<Json<u32>>| number.is_some().to_string())
        .post("/checked", |number: Result<Json<u32>, Rejection>| number.is_ok().to_string())
        .get("/async", waiting)
        .post("/async", waiting_of_body)
        .get("/closure", || "closure")
        .get("/closure/async", async || "async closure")
        // Neither `Rc` nor what an async closure borrows of itself need be `Send`, or cloned for each call.
        .get("/counted", move || {
            counted.set(counted.get() + 1);
            counted.get().to_string()
        })
        .get("/kept", async move |Path(()): Path<()>| format!("{text}"))
        .post("/twelve", twelve)
}

type State10 = State<u32>;

#[expect(clippy::too_many_arguments, reason = "that is what is tested")]
async fn twelve(
    State(a): State10,
    State(b): State10,
    State(c): State10,
    State(d): State10,
    State(e): State10,
    State(f): State10,
    State(g): State10,
    State(h): State10,
    State(i): State10,
    State(j): State10,
    State(k): State10,
    body: Bytes,
) -> String {
    format!("{} {}", a + b + c + d + e + f + g + h + i + j + k, body.len())
}

#[test]
fn every_shape_answers() {
    check(
        app,
        &[
            ("GET /plain", "200\ncontent-type: text/plain; charset=utf-8\n\nplain"),
            ("GET /plain/5", "200\ncontent-type: text/plain; charset=utf-8\n\n15"),
            ("POST /plain/5\n\nbody", "200\ncontent-type: text/plain; charset=utf-8\n\n5 body"),
            ("POST /plain/5\n\nb", "200\ncontent-type: text/plain; charset=utf-8\n\n5 b"),
            ("POST /number\nContent-Type: application/json\n\n4", "200\ncontent-type: application/json\n\n5"),
            ("POST /bytes\n\nb", "200\ncontent-type: application/octet-stream\n\nb"),
            ("POST /bytes", "200\ncontent-type: application/octet-stream"),
            ("POST /request\n\nbody", "200\ncontent-type: text/plain; charset=utf-8\n\n/request"),
            ("POST /maybe\n\nx", "200\ncontent-type: text/plain; charset=utf-8\n\nfalse"),
            ("POST /checked\n\nx", "200\ncontent-type: text/plain; charset=utf-8\n\nfalse"),
            ("GET /async", "200\ncontent-type: text/plain; charset=utf-8\n\nasync"),
            ("POST /async\nContent-Type: application/json\n\n32", "200\ncontent-type: application/json\n\n42"),
            ("GET /closure", "200\ncontent-type: text/plain; charset=utf-8\n\nclosure"),
            ("GET /closure/async", "200\ncontent-type: text/plain; charset=utf-8\n\nasync closure"),
            ("GET /counted", "200\ncontent-type: text/plain; charset=utf-8\n\n1"),
            ("GET /counted", "200\ncontent-type: text/plain; charset=utf-8\n\n2"),
            ("GET /kept", "200\ncontent-type: text/plain; charset=utf-8\n\nkept"),
            ("POST /twelve\n\nabc", "200\ncontent-type: text/plain; charset=utf-8\n\n110 3"),
        ],
    );
}

#[test]
fn only_what_waits_gets_a_future() {
    on_a_shard(async |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        let is_later = |request| matches!(net::Service::call(&service, received(&shard, request)), Reply::Later(_));
        for (request, expect) in [
            ("GET /plain", false),
            ("GET /plain/5", false),
            ("GET /closure", false),
            ("POST /plain/5\n\nbody", true),
            // A body that is there is not waited for, and one that nobody reads neither.
            ("POST /plain/5\n\nb", false),
            ("POST /plain/5", false),
            ("POST /number\nContent-Type: application/json\n\n4", false),
            ("POST /number\nContent-Type: application/json\n\n44", true),
            ("POST /number\n\n4", false),
            ("POST /bytes\n\nb", false),
            ("POST /request\n\nbody", false),
            ("POST /maybe\n\nx", false),
            ("POST /checked\n\nx", false),
            ("POST /checked\n\nxx", true),
            ("GET /async", true),
            ("POST /async\nContent-Type: application/json\n\n1", true),
            // A rejection of the head needs none either.
            ("GET /plain/x", false),
            ("POST /plain/x\n\nbody", false),
        ] {
            assert_eq!(is_later(request), expect, "{request}");
        }
    });
}

#[test]
fn a_handler_may_have_a_body_limit_of_its_own() {
    fn app() -> App {
        async fn count(body: Bytes) -> String {
            body.len().to_string()
        }
        App::new()
            .body_limit(4)
            .post("/four", count)
            .post("/eight", count.body_limit(8))
            .post("/two", count.body_limit(2))
    }
    check(
        app,
        &[
            ("POST /four\n\n1234", "200\ncontent-type: text/plain; charset=utf-8\n\n4"),
            ("POST /eight\n\n12345678", "200\ncontent-type: text/plain; charset=utf-8\n\n8"),
            (
                "POST /two\n\n123",
                "413\ncontent-type: text/plain; charset=utf-8\n\n\
                 Payload Too Large at POST /two: the body is longer than the 2 bytes admitted here.\n",
            ),
        ],
    );
}

#[test]
fn a_dropped_handler_gives_everything_back() {
    on_a_shard(async |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        let request = received(&shard, "POST /async\nContent-Type: application/json\n\n1");
        drop(net::Service::call(&service, request));
        assert_eq!(shard.pool().stats().pooled_bytes, 0);
        assert_eq!(testing::told(testing::ask(&service, &shard, "GET /plain").await).await.lines().next(), Some("200"));
    });
}
