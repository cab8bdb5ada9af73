//! What the kit does when a server, or a test, is at fault. What it does when all is well is in its doc tests.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Connection, Failure, Plan, Request, Server, builder, run};
use crate::{App, Body, Bytes, Config, Json, State, Stream};
use shards::Shard;

fn app() -> App {
    App::new()
        .get("/", || "hello")
        .get("/wait/{ms}", async |crate::Path(ms): crate::Path<u64>, shard: Shard| {
            shard.sleep(Duration::from_millis(ms)).await;
            "waited"
        })
        .get("/broken", |shard: Shard| {
            Stream::new(async move |mut sink| {
                sink.send("begun").await?;
                shard.sleep(Duration::from_millis(20)).await;
                Err(crate::Error::new("and broken off"))
            })
        })
        .post("/echo", |body: Body| body)
        .post("/length", |body: Bytes| async move { body.len().to_string() })
        .post("/json", |Json(value): Json<Vec<u32>>| Json(value.len()))
}

/// What must panic does so, and says this.
#[track_caller]
fn check_panic(expect: &[&str], work: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it panics");
    let text = shards::panic_text(&*panic);
    for part in expect {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn a_failure_shows_what_came_and_how_to_run_it_again() {
    let server = builder().seed(1).start(|_| app());
    let response = server.get("/");
    check_panic(&["the status should be 404", "GET / -> 200 OK", "content-length: 5", "hello"], || {
        response.clone().expect(404);
    });
    check_panic(&["JSON of another shape", "hello"], || {
        response.json::<u32>();
    });
    check_panic(&["one header x-none", "hello"], || {
        response.header("x-none");
    });
    let again = "seed 1; to run it again: SHARDWISE_SEED=1 cargo test \
                 test::tests::a_failure_shows_what_came_and_how_to_run_it_again";
    check_panic(&["GET /broken: the connection ended in the middle of an answer", again], || {
        server.get("/broken");
    });
    check_panic(&["GET /broken", "(at framework/src/test/tests.rs:"], || {
        server.run(async |client| client.get("/broken").await);
    });
}

#[test]
fn what_a_server_leaves_behind_fails_the_test() {
    type Kept = Rc<Cell<Option<crate::Chunk>>>;
    // Kept beyond the app's end by nobody's fault but the handler's.
    let kept: Kept = Rc::default();
    let keep = async |State(kept): State<Kept>, shard: Shard| {
        kept.set(shard.pool().lease(100).map(|mut chunk| {
            chunk.put(b"kept");
            chunk.freeze()
        }));
        "kept"
    };
    let shared = Rc::clone(&kept);
    let server = builder().seed(1).start(move |_| App::new().state(Rc::clone(&shared)).get("/keep", keep));
    server.get("/keep");
    check_panic(&["after the drain shard 0 still has", "bytes of its pool", "seed 1"], || drop(server));
    drop(kept);

    let spawn = async |shard: Shard| {
        let sleeper = shard.clone();
        let _ = shard.spawn(async move { sleeper.sleep(Duration::from_secs(1 << 20)).await });
    };
    let server = run(App::new().get("/spawn", spawn));
    server.get("/spawn");
    check_panic(&["shard 0 still has 1 tasks"], || {
        server.end();
    });
}

#[test]
fn a_server_that_does_not_end_fails_the_test() {
    let server = builder().wait_max(Duration::from_secs(60)).start(|_| app());
    let waited = server.try_send("/wait/100000");
    assert_eq!(waited, Err(Failure::TimedOut(Duration::from_secs(60))));
    // The handler has not noticed that its client is gone.
    server.advance(Duration::from_secs(60));
    server.end();

    let server = builder().wait_max(Duration::from_secs(60)).start(|_| app());
    let _ = server.try_send("/wait/1000000");
    check_panic(&["shard 0 has not ended 60s after the drain began"], || drop(server));
}

#[test]
fn an_app_that_cannot_be_served_is_the_tests_failure() {
    check_panic(&["the server does not start: the app cannot be served", "GET /"], || {
        run(app().get("/", || "again"));
    });
    check_panic(&["\"nowhere\" is not an IP address and a port"], || {
        builder().program("nowhere", async |_| Ok::<(), String>(()));
    });
    check_panic(&["does not listen on 10.0.0.9:80"], || {
        builder().wait_max(Duration::from_secs(1)).program("10.0.0.9:80", async |_| app().serve("10.0.0.1:80").await);
    });
}

#[test]
fn connections_are_used_again_and_those_that_have_ended_are_not() {
    let peers: Rc<Cell<usize>> = Rc::default();
    let idle = Duration::from_secs(5);
    let server = run(app().config(Config { idle_time_max: idle, ..Config::default() }));
    let counted = Rc::clone(&peers);
    server.run(async move |client| {
        let handles = || client.shard().with_reactor(|reactor| reactor.holdings().handles);
        for _ in 0..3 {
            client.get("/").await;
            client.post("/length", "four").await;
        }
        counted.set(handles());
        let answers = client.all(["/wait/10", "/wait/5", "/"]).await;
        let texts: Vec<&str> = answers.iter().map(|answer| answer.text()).collect();
        assert_eq!((texts, handles()), (vec!["waited", "waited", "hello"], 3));
        client.sleep(2 * idle).await;
        assert_eq!(client.get("/").await.text(), "hello");
        assert_eq!(handles(), 1, "what the server had closed is closed");
    });

    // A request must not cross the end of its connection: one that was idle for long is not used again.
    let server = run(app());
    server.run(async |client| {
        for wait in [74_950, 74_999, 75_000, 75_001] {
            client.get("/").await;
            client.sleep(Duration::from_millis(wait)).await;
        }
    });
    assert_eq!(peers.get(), 1);
}

#[test]
fn bodies_go_and_come_whatever_their_size_and_framing() {
    for seed in super::seeds(20) {
        let server = builder().seed(seed).plan(Plan::CHOPPY).start(|_| app());
        let bytes: Vec<u8> = (0..400_000_u32).map(|index| (index >> 3) as u8).collect();
        let whole = server.send(Request::post("/echo").body(bytes.clone()));
        assert!(whole.bytes() == bytes, "while one is sent the other comes");
        let pieces = server.send(Request::post("/echo").pieces(bytes.chunks(30_000).map(<[u8]>::to_vec)));
        assert!(pieces.bytes() == bytes && pieces.header("transfer-encoding") == "chunked");
        let asked = server.send(Request::post("/length").header("Expect", "100-continue").body(bytes));
        assert_eq!(asked.text(), "400000");
        let refused = Request::post("/length").header("Expect", "100-continue").body(vec![0; 3_000_000]);
        assert_eq!(server.send(refused).status(), 413);
        assert_eq!(server.send(Request::post("/json").json(&[1, 2, 3])).json::<usize>(), 3);
        assert!(server.send(Request::head("/")).bytes().is_empty());
        let long = Request::get("/").header("X-Long", vec![b'x'; 20_000]);
        assert_eq!(server.send(long).status(), 431);
    }
}

#[test]
fn a_connection_by_hand_can_die_in_every_way() {
    let server = builder().plan(Plan::CHOPPY).start(|_| app());
    server.run(async |client| {
        let ask = async |text: &str| -> Connection {
            let mut connection = client.open().await;
            connection.send(text).await.expect("it is read");
            connection
        };
        ask("GET / HTTP/1.1\r\nHo").await.reset();
        drop(ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await);
        let mut ended = ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        ended.end();
        assert_eq!(ended.response(&Method::GET).await.expect("an answer").text(), "hello");
        assert_eq!(ended.receive().await, Ok(None));
        let mut broken = ask("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(broken.response(&Method::GET).await, Err(Failure::Cut));
        let mut silent = client.open().await;
        silent.end();
        assert_eq!(silent.response(&Method::GET).await, Err(Failure::Closed));
    });
}

#[test]
fn a_drain_refuses_whoever_comes_later() {
    let server = run(app());
    let (first, second) = server.run(async |client| {
        let waiting = client.begin("/wait/1000").await.expect("a connection");
        client.drain();
        client.sleep(Duration::from_millis(500)).await;
        (waiting.response().await, client.try_send("/").await)
    });
    let first = first.expect("what was in hand is answered");
    assert_eq!((first.text(), first.header("connection")), ("waited", "close"));
    assert!(matches!(second, Err(Failure::Connect(_))), "{second:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let server: Server = builder().seed(seed).shards(2).plan(Plan::CHOPPY).start(|_| app());
        assert!(server.all(["/", "/wait/1", "/"]).iter().all(|answer| answer.status() == StatusCode::OK));
        server.end()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
