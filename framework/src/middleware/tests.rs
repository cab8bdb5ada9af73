//! Middlewares: what they see, in which order, what becomes of panics and of clients that leave, and what is measured.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use http::{HeaderValue, StatusCode};
use net::Reply;
use shards::combine::defer;

use super::*;
use crate::metrics::HttpMetrics;
use crate::testing::{ask, check, on_a_shard, received, told};
use crate::{App, Path, Rejection, Shard, State, Stream};

/// Says by a header line that it was passed on the way out.
fn passed(name: &'static str) -> impl AsyncFn(Request, Next) -> Response + 'static {
    async move |request: Request, next: Next| {
        let mut response = next.run(request).await;
        response.headers.append("passed".parse().unwrap(), HeaderValue::from_static(name));
        response
    }
}

#[derive(Clone)]
struct Key(&'static str);

/// Answers early, by what it has from extractors.
async fn guard(State(key): State<Key>, request: Request, next: Next) -> Result<Response, Rejection> {
    match request.header("key") == Some(key.0.as_bytes()) {
        true => Ok(next.run(request).await),
        false => Err(Rejection::new(StatusCode::UNAUTHORIZED, "the key is missing")),
    }
}

fn app() -> App {
    App::new()
        .state(Key("k"))
        .layer(passed("a"))
        .get("/now", || "now")
        .get("/later/{n}", async |Path(n): Path<u8>| {
            shards::yield_now().await;
            n.to_string()
        })
        .post("/body", async |text: String| text)
        .get("/panic", || -> &str { panic!("on purpose") })
        .get("/panic/later", async || -> &str {
            shards::yield_now().await;
            panic!("on purpose")
        })
        .layer(guard)
        .layer(passed("b"))
}

#[test]
fn the_first_layer_is_the_outermost_wherever_it_stands() {
    check(
        app,
        &[
            ("GET /now\nKey: k", "200\ncontent-type: text/plain; charset=utf-8\npassed: b\npassed: a\n\nnow"),
            ("GET /later/7\nKey: k", "200\ncontent-type: text/plain; charset=utf-8\npassed: b\npassed: a\n\n7"),
            ("POST /body\nKey: k\n\nabc", "200\ncontent-type: text/plain; charset=utf-8\npassed: b\npassed: a\n\nabc"),
            // What the guard answers by itself does not come to the inner one.
            (
                "GET /now",
                "401\ncontent-type: text/plain; charset=utf-8\npassed: a\n\nUnauthorized: the key is missing.\n",
            ),
            (
                "GET /later/x\nKey: k",
                "400\ncontent-type: text/plain; charset=utf-8\npassed: b\npassed: a\n\nBad Request at GET /later/{n}: `x`, \
                 the path's `n`, is not of the kind u8. Use a path whose parameters are of the expected kind.\n",
            ),
        ],
    );
}

#[test]
fn what_no_route_answers_passes_the_layers_too() {
    check(
        app,
        &[
            (
                "GET /nothing\nKey: k",
                "404\ncontent-type: text/plain; charset=utf-8\npassed: b\npassed: a\n\n\
                 Not Found: nothing is served at /nothing.\n",
            ),
            (
                "PUT /now\nKey: k",
                "405\ncontent-type: text/plain; charset=utf-8\nallow: GET, HEAD\npassed: b\npassed: a\n\n\
                 Method Not Allowed: PUT is not for /now. Use one of: GET, HEAD.\n",
            ),
        ],
    );
}

#[test]
fn a_request_may_be_changed_on_its_way_in() {
    fn app() -> App {
        App::new().post("/", async |text: String| text).layer(async |mut request: Request, next: Next| {
            drop(request.take_body());
            next.run(request).await
        })
    }
    check(app, &[("POST /\n\nabc", "200\ncontent-type: text/plain; charset=utf-8")]);
}

#[test]
fn a_panic_inside_is_a_500_that_the_layers_see_and_is_counted_once() {
    on_a_shard(async |shard| {
        let seen: Rc<RefCell<Vec<u16>>> = Rc::default();
        let sees = Rc::clone(&seen);
        let app = app().get("/outer", || "never").layer(async move |request: Request, next: Next| {
            let is_outer = request.route() == "/outer";
            let response = next.run(request).await;
            sees.borrow_mut().push(response.status.as_u16());
            assert!(!is_outer, "on purpose");
            response
        });
        let service = app.build(&shard).expect("the routes fit together");
        let metrics = HttpMetrics::of(&shard);
        for (count, path) in ["/panic", "/panic/later", "/outer"].into_iter().enumerate() {
            let answer = told(ask(&service, &shard, &format!("GET {path}\nKey: k")).await).await;
            assert!(answer.starts_with("500\n") && answer.contains("\npassed: b\npassed: a\n"), "{answer}");
            assert_eq!(metrics.panics.get(), count as u64 + 1);
            assert_eq!(metrics.active.get(), 0, "the panicking request is over");
        }
        assert_eq!(*seen.borrow(), [500, 500, 200]);
    });
}

#[test]
fn an_exchange_is_measured_once_at_its_route_by_what_the_layers_answer() {
    let app = App::new()
        .get("/items/{id}", async |Path(id): Path<u8>, shard: Shard| {
            shard.sleep(std::time::Duration::from_millis(1)).await;
            id.to_string()
        })
        .layer(async |request: Request, next: Next| {
            assert_eq!(request.route(), "/items/{id}");
            drop(next.run(request).await);
            StatusCode::IM_A_TEAPOT
        })
        .layer(passed("inner"));
    on_a_shard(async |shard| {
        let service = app.build(&shard).expect("the routes fit together");
        for _ in 0..3 {
            assert_eq!(ask(&service, &shard, "GET /items/7").await.status, StatusCode::IM_A_TEAPOT);
        }
        let count = |class| {
            let labels =
                [("http_request_method", "GET"), ("http_response_status_class", class), ("http_route", "/items/{id}")];
            crate::metrics::ShardMetrics::of(&shard).counter("http_server_requests_total", &labels).get()
        };
        assert_eq!((count("2xx"), count("4xx")), (0, 3));
    });
}

#[test]
fn routes_without_layers_stay_out_of_futures() {
    on_a_shard(async |shard| {
        let is_later = |app: App| {
            let service = app.build(&shard).expect("the routes fit together");
            matches!(net::Service::call(&service, received(&shard, "GET /")), Reply::Later(_))
        };
        assert!(!is_later(App::new().get("/", || "")));
        assert!(is_later(App::new().get("/", || "").layer(passed("a"))));
    });
}

#[test]
fn a_client_that_leaves_takes_all_layers_along_wherever_they_wait() {
    on_a_shard(async |shard| {
        let dropped = Rc::new(Cell::new(0));
        let counted = |dropped: &Rc<Cell<u32>>| {
            let dropped = Rc::clone(dropped);
            defer(move || dropped.set(dropped.get() + 1))
        };
        let around = |waits_before: bool| {
            let dropped = Rc::clone(&dropped);
            async move |request: Request, next: Next| {
                let _counted = counted(&dropped);
                if waits_before {
                    pending::<()>().await;
                }
                next.run(request).await
            }
        };
        for (waits_before, expect) in [(true, 2), (false, 3)] {
            let in_handler = Rc::clone(&dropped);
            let handler = async move |text: String| {
                let _counted = counted(&in_handler);
                pending::<()>().await;
                text
            };
            let app = App::new().post("/", handler).layer(around(false)).layer(around(waits_before));
            let service = app.build(&shard).expect("the routes fit together");
            dropped.set(0);
            let Reply::Later(mut answer) = net::Service::call(&service, received(&shard, "POST /\n\nabc")) else {
                panic!("it takes its time")
            };
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut answer).poll(cx).is_pending())).await;
            assert!(polled, "they wait");
            drop(answer);
            assert_eq!(dropped.get(), expect);
            assert_eq!(HttpMetrics::of(&shard).active.get(), 0);
            assert_eq!(shard.pool().stats().pooled_bytes, 0, "what was leased has come home");
        }
    });
}

#[test]
fn what_a_layer_lacks_is_said_at_the_start() {
    on_a_shard(async |shard| {
        let error = App::new().layer(guard).build(&shard).err().expect("a state is missing").to_string();
        let line = line!() - 1;
        assert!(error.contains(&format!("a layer at {}:{line}:", file!())), "{error}");
        assert!(error.contains("the app holds no shardwise::middleware::tests::Key"), "{error}");
    });
}

#[test]
fn streams_pass_through() {
    fn app() -> App {
        let stream = || Stream::new(async |mut sink| Ok(sink.send("ab").await?));
        App::new().get("/", stream).layer(passed("a"))
    }
    check(app, &[("GET /", "200\npassed: a\n\nab")]);
}
