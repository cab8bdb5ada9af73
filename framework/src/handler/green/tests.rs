//! Green handlers: every shape answers, and what becomes of a request that ends otherwise.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use shards::{Model, Shard, Wait, model};

use super::*;
use crate::testing::{ask, check, on_a_shard, received, told};
use crate::{App, Path, State};

const NAP: Duration = Duration::from_millis(10);

fn nap(shard: Shard) -> crate::Result<&'static str> {
    assert_eq!(model(), Model::Green);
    shard.sleep(NAP).wait()?;
    Ok("slept")
}

fn of_head(Path(id): Path<u32>, State(base): State<u32>, shard: Shard) -> crate::Result<String> {
    shard.sleep(NAP).wait()?;
    Ok((id + base).to_string())
}

fn of_body(State(base): State<u32>, shard: Shard, body: String) -> crate::Result<String> {
    shard.sleep(NAP).wait()?;
    Ok(format!("{base} {body}"))
}

fn panics(shard: Shard) -> &'static str {
    shard.sleep(NAP).wait().unwrap();
    panic!("of the handler")
}

fn app() -> App {
    App::new()
        .state(10_u32)
        .get("/nap", green(nap))
        .get("/head/{id}", green(of_head))
        .post("/body", green(of_body).body_limit(4))
        .get("/closure", green(|| "closure"))
        .get("/panics", green(panics))
        .get("/stackless", || pending::<()>().wait().map(|()| "never").unwrap_or("cancelled"))
}

#[test]
fn every_shape_answers() {
    check(
        app,
        &[
            ("GET /nap", "200\ncontent-type: text/plain; charset=utf-8\n\nslept"),
            ("GET /head/5", "200\ncontent-type: text/plain; charset=utf-8\n\n15"),
            ("POST /body\n\nbody", "200\ncontent-type: text/plain; charset=utf-8\n\n10 body"),
            ("GET /closure", "200\ncontent-type: text/plain; charset=utf-8\n\nclosure"),
            (
                "POST /body\n\nlonger",
                "413\ncontent-type: text/plain; charset=utf-8\n\n\
                 Payload Too Large at POST /body: the body is longer than the 4 bytes admitted here.\n",
            ),
        ],
    );
}

#[test]
fn a_rejected_request_needs_no_stack() {
    on_a_shard(async |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        assert!(told(ask(&service, &shard, "GET /head/many").await).await.starts_with("400\n"));
        assert_eq!(shard.green_stats().mapped, 0);
        assert!(told(ask(&service, &shard, "GET /head/5").await).await.starts_with("200\n"));
        assert_eq!((shard.green_stats().mapped, shard.green_stats().used), (1, 0));
    });
}

#[test]
fn a_panic_and_a_wait_in_the_wrong_place_answer_500() {
    on_a_shard(async |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        for request in ["GET /panics", "GET /stackless"] {
            let response = ask(&service, &shard, request).await;
            assert_eq!(response.status, 500, "{request}");
        }
        assert_eq!(shard.green_stats().used, 0);
    });
}

#[test]
fn without_a_stack_it_is_503() {
    on_a_shard(async |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        let admitted = platform::limits::GREEN_STACKS_MAX;
        let held: Vec<_> = (0..admitted).map(|_| Green::new(shard.scope(), || ()).expect("a stack")).collect();
        for request in ["GET /nap", "POST /body\n\nbody"] {
            let response = ask(&service, &shard, request).await;
            assert_eq!(response.status, 503, "{request}");
            assert_eq!(response.headers.get(&RETRY_AFTER).map(HeaderValue::as_bytes), Some(&b"1"[..]));
        }
        drop(held);
        assert_eq!(ask(&service, &shard, "GET /nap").await.status, 200);
    });
}

#[test]
fn a_request_that_is_given_up_is_unwound() {
    on_a_shard(async |shard| {
        struct Unwound(Rc<Cell<bool>>);
        impl Drop for Unwound {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let unwound = Rc::new(Cell::new(false));
        let seen = Rc::clone(&unwound);
        let waits = move || {
            let _unwound = Unwound(Rc::clone(&seen));
            pending::<()>().wait().map(|()| "never").unwrap_or("cancelled")
        };
        let service = App::new().get("/", green(waits)).build(&shard).expect("the routes fit together");
        let Reply::Later(mut reply) = net::Service::call(&service, received(&shard, "GET /")) else {
            panic!("it waits")
        };
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut reply).poll(cx))).await;
        assert!(polled.is_pending() && !unwound.get());
        drop(reply);
        assert!(unwound.get());
        assert_eq!(shard.green_stats().used, 0);
    });
}
