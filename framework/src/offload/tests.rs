//! Handlers beside the shard: every shape answers, and overload, panics and clients that leave are what they are elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use net::Service;
use platform::Op;

use super::*;
use crate::metrics::HttpMetrics;
use crate::testing::{ask, on_a_shard, received};
use crate::{App, Bytes, Json, Path, Shard, State, is_cancelled};

/// A value that is made a response where its shard is.
struct Made(String);

impl Respond for Made {
    fn respond(self) -> Response {
        assert!(Shard::current().is_some(), "on the shard");
        self.0.respond()
    }
}

fn plain() -> Made {
    assert!(Shard::current().is_none(), "beside the shard");
    Made("plain".to_owned())
}

fn of_head(Path(id): Path<u32>, State(base): State<u32>) -> Result<Json<u32>, Rejection> {
    match id {
        0 => Err(Rejection::new(StatusCode::NOT_FOUND, "nothing is counted from zero")),
        id => Ok(Json(id + base)),
    }
}

fn of_body(Path(id): Path<u32>, body: String) -> String {
    format!("{id} {body}")
}

fn of_json(Json(numbers): Json<Vec<u32>>) -> (StatusCode, String) {
    (StatusCode::CREATED, numbers.iter().sum::<u32>().to_string())
}

fn app() -> App {
    let words = ["no", "one"];
    App::new()
        .state(10_u32)
        .get("/plain", offload(plain))
        .get("/head/{id}", offload(of_head))
        .post("/body/{id}", offload(of_body))
        .post("/json", offload(of_json))
        .post("/limited", offload(|body: Bytes| body.len().to_string()).body_limit(3))
        .get("/closure/{place}", offload(move |Path(place): Path<usize>| words[place]))
}

#[test]
fn every_shape_answers() {
    let server = crate::test::run(app());
    assert_eq!(server.get("/plain").text(), "plain");
    assert_eq!(server.get("/head/7").text(), "17");
    assert!(server.get("/head/0").expect(404).text().contains("counted from zero"));
    server.get("/head/seven").expect(400);
    assert_eq!(server.get("/closure/1").text(), "one");
    assert_eq!(server.post("/body/3", "text").text(), "3 text");
    let json =
        |text: &'static str| crate::test::Request::post("/json").header("Content-Type", "application/json").body(text);
    assert_eq!(server.send(json("[1,2,3]")).expect(201).text(), "6");
    server.send(json("[1,")).expect(400);
    assert_eq!(server.post("/limited", "abc").text(), "3");
    server.post("/limited", "abcd").expect(413);
}

#[test]
fn what_an_offloaded_handler_lacks_is_told_at_the_start() {
    on_a_shard(async |shard| {
        let app = App::new().get("/", offload(|State(_): State<u8>| "never"));
        let error = app.build(&shard).err().expect("there is no u8").to_string();
        assert!(error.contains("GET /") && error.contains("u8"), "{error}");
    });
}

#[test]
fn too_many_at_once_are_told_to_come_again() {
    let builder = crate::test::builder().offload_threads(1).offload_queue(2);
    let server = builder.start(|_| App::new().get("/slow", offload(|| "done")).get("/other", || "at once"));
    let statuses: Vec<u16> = server
        .all(["/slow"; 10].map(crate::test::Request::get))
        .into_iter()
        .map(|response| {
            if response.status() == 503 {
                assert_eq!(response.header("retry-after"), "1");
                assert!(response.text().contains("/slow"), "{}", response.text());
            }
            response.status().as_u16()
        })
        .collect();
    let count = |status| statuses.iter().filter(|known| **known == status).count();
    assert_eq!(count(200) + count(503), 10, "{statuses:?}");
    assert!(count(200) >= 2 && count(503) >= 5, "{statuses:?}");
    assert_eq!(server.get("/slow").text(), "done", "later there is room again");
    assert_eq!(server.get("/other").text(), "at once");
}

#[test]
fn a_panic_is_a_500_and_counts_as_one_of_a_handler() {
    on_a_shard(async |shard| {
        let panics = || -> &'static str { panic!("no such luck") };
        let service = App::new().get("/", offload(panics)).build(&shard).unwrap();
        let before = HttpMetrics::of(&shard).panics.get();
        let response = ask(&service, &shard, "GET /").await;
        assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(HttpMetrics::of(&shard).panics.get(), before + 1);
        assert_eq!((shard.stats().offload_done.get(), shard.stats().offload_panicked.get()), (1, 1));
    });
}

#[test]
fn when_nobody_waits_for_the_answer_the_job_is_cancelled() {
    on_a_shard(async |shard| {
        let (seen, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (sees, is_told) = (Arc::clone(&seen), Arc::clone(&told));
        let handler = move || {
            sees.fetch_add(1, Ordering::Relaxed);
            is_told.fetch_add(usize::from(is_cancelled()), Ordering::Relaxed);
        };
        let service = App::new().get("/", offload(handler)).build(&shard).unwrap();
        let stats = Arc::clone(shard.stats());
        for request in 0..100 {
            let Reply::Later(mut answer) = service.call(received(&shard, "GET /")) else { panic!("it takes time") };
            assert!(Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            // Before it begins, or while it runs.
            if request % 2 == 0 {
                while stats.offload_queued.get() > 0 {
                    // More exact than a timer of the wheel, which may miss all of a short job.
                    let until = shard.now() + Duration::from_micros(10);
                    shard.start(Op::Sleep { until }).expect("room for a sleep").await;
                }
            }
            drop(answer);
            while stats.offload_running.get() > 0 {
                shard.sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!((seen.load(Ordering::Relaxed), told.load(Ordering::Relaxed)), (50, 50));
        assert_eq!((stats.offload_done.get(), stats.offload_cancelled.get()), (50, 50));
    });
}

#[test]
fn a_client_that_leaves_takes_its_job_along() {
    let (ran, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (runs, is_told) = (Arc::clone(&ran), Arc::clone(&told));
    let handler = move || {
        runs.fetch_add(1, Ordering::Relaxed);
        is_told.fetch_add(usize::from(is_cancelled()), Ordering::Relaxed);
    };
    // The last of three has to wait for one of the others.
    let builder = crate::test::builder().offload_threads(1);
    let server = builder.start(move |_| App::new().get("/slow", offload(handler.clone())));
    server.run(async |client| {
        for _ in 0..30 {
            let mut connections = Vec::new();
            for _ in 0..3 {
                let mut connection = client.open().await;
                connection.send("GET /slow HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("it is read");
                connections.push(connection);
            }
            // Some leave cleanly.
            connections.pop().expect("there are three").reset();
            drop(connections);
            client.sleep(Duration::from_millis(100)).await;
        }
    });
    let (ran, told) = (ran.load(Ordering::Relaxed), told.load(Ordering::Relaxed));
    assert!(ran < 60 && told > 0 && told <= ran, "{ran} have run, of which {told} were told");
}
