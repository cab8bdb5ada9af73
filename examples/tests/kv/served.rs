//! The whole store on simulated shards: several clients, virtual time, a network that cuts and delays what it can.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shardwise::http::StatusCode;
use shardwise::test::{Client, Plan, Request, Response, Server, builder, seeds};

use crate::app;
use crate::limits::{ENTRY_OVERHEAD_BYTES, KEY_BYTES_MAX, MEMORY_BYTES, VALUE_BYTES_MAX};

/// Seeds of each random test.
const SEEDS: u64 = 30;

/// Clients at the same time, and requests of each.
const CLIENTS: usize = 4;
const REQUESTS: usize = 40;

/// A clock on another machine, and requests on their way: within this of a value's end nobody can say whether it is there.
const HAZE: Duration = Duration::from_secs(2);

fn serve(seed: u64, shards: usize, memory_bytes: usize, plan: Plan) -> Server {
    let address = SocketAddr::from(([10, 0, 0, 1], 80));
    builder()
        .seed(seed)
        .shards(shards)
        .plan(plan)
        .program(address, async move |shard| app::serve(shard, address, memory_bytes).await)
}

/// Runs clients, each with its number, until all have ended.
fn run(server: &Server, work: impl AsyncFn(Client, usize) + 'static) {
    let work = Rc::new(work);
    server.run(async move |client| {
        let spawn = |number| {
            let (work, inner) = (Rc::clone(&work), client.clone());
            client.spawn(async move { work(inner, number).await })
        };
        let tasks: Vec<_> = (0..CLIENTS).map(spawn).collect();
        for task in tasks {
            task.await;
        }
    });
}

/// One number of what the shards say about themselves, added up, and of each.
fn stat(answer: &Response, name: &str) -> (u64, Vec<u64>) {
    let all: BTreeMap<String, serde_json::Value> = answer.json();
    let number = |stats: &serde_json::Value| stats[name].as_u64().expect("a number");
    let shards = all["shards"].as_array().expect("a list").iter().map(number).collect();
    (number(&all["total"]), shards)
}

/// A request by its words: method, target, and headers as `Name: value`.
fn request(line: &str, headers: &[&str], body: &str) -> Request {
    let (method, target) = line.split_once(' ').expect("a method and a target");
    let request = Request::new(method.parse().expect("a method"), target);
    let request = headers.iter().fold(request, |request, header| {
        let (name, value) = header.split_once(": ").expect("a name and a value");
        request.header(name, value)
    });
    if body.is_empty() { request } else { request.body(body.to_owned()) }
}

#[test]
fn every_answer_has_its_status_and_says_why() {
    let server = serve(1, 3, MEMORY_BYTES, Plan::CALM);
    let check = |line: &str, headers: &[&str], body: &str, status: u16, text: &str| {
        let answer = server.send(request(line, headers, body)).expect(status);
        assert!(answer.text().contains(text), "{line}: {}", answer.text());
        answer
    };
    check("GET /kv/ada", &[], "", 404, "there is no such key");
    check("DELETE /kv/ada", &[], "", 404, "there is no such key");
    let created = check("PUT /kv/ada", &[], "one", 201, "");
    let tag = format!("If-Match: {}", created.header("etag"));
    let read = check("GET /kv/ada", &[], "", 200, "one");
    assert_eq!(
        (read.header("etag"), read.header("content-type")),
        (created.header("etag"), "application/octet-stream")
    );
    let head = check("HEAD /kv/ada", &[], "", 200, "");
    assert_eq!((head.header("content-length"), head.bytes().len()), ("3", 0));
    check("GET /kv/ada", &[&format!("If-None-Match: {}", created.header("etag"))], "", 304, "");
    check("PUT /kv/ada", &[&tag], "two", 204, "");
    check("PUT /kv/ada", &[&tag], "three", 412, "Get it, and decide anew");
    check("PUT /kv/ada", &["If-None-Match: *"], "three", 412, "Get it, and decide anew");
    check("PUT /kv/bob", &["If-Match: *"], "three", 412, "");
    check("PUT /kv/bob", &["If-None-Match: *"], "three", 201, "");
    check("PUT /kv/bob", &["If-Match: three"], "four", 400, "neither `*` nor an ETag");
    check("PUT /kv/bob", &["If-Match: *", "If-None-Match: *"], "four", 400, "not one that a change can have");
    check("GET /kv/ada", &[], "", 200, "two");
    check("DELETE /kv/ada", &[], "", 204, "");
    check("GET /kv/ada", &[], "", 404, "");
    check("POST /kv/n/incr", &[], "", 200, "1");
    check("POST /kv/n/incr?by=-43", &[], "", 200, "-42");
    check("POST /kv/bob/incr", &[], "", 409, "not a number");
    check("POST /kv/n/incr?by=many", &[], "", 400, "");
    for ttl in ["0", "99999999999"] {
        check(&format!("PUT /kv/ada?ttl={ttl}"), &[], "x", 400, "time to live");
    }
    check("PUT /kv/ada?ttl=soon", &[], "x", 400, "the query does not fit");
    check("PATCH /kv/ada", &[], "x", 405, "");
    assert_eq!(stat(&server.get("/stats"), "keys").0, 2);
    assert_eq!(stat(&server.get("/stats"), "hits").1.len(), 3);
}

#[test]
fn keys_are_any_bytes_up_to_a_limit() {
    let server = serve(1, 2, MEMORY_BYTES, Plan::CALM);
    for (sent, same) in [("a%2Fb", "a%2fb"), ("%FF%00", "%ff%00"), ("caf%C3%A9", "caf%c3%a9"), ("%61", "a")] {
        server.send(Request::put(format!("/kv/{sent}")).body(sent.to_owned())).expect(201);
        assert_eq!(server.get(&format!("/kv/{same}")).text(), sent);
    }
    let longest = "k".repeat(KEY_BYTES_MAX);
    server.send(Request::put(format!("/kv/{longest}")).body("x")).expect(201);
    let refused = server.send(Request::put(format!("/kv/{longest}k")).body("x")).expect(414);
    assert!(refused.text().contains("up to 512 bytes"), "{}", refused.text());
    server.get("/kv/").expect(404);
}

#[test]
fn values_have_a_limit_and_a_shard_has_one_too() {
    let server = serve(1, 2, VALUE_BYTES_MAX as usize / 2, Plan::CALM);
    let put = |bytes: usize| server.send(Request::put("/kv/large").body(vec![7; bytes]));
    put(VALUE_BYTES_MAX as usize + 1).expect(413);
    assert!(put(VALUE_BYTES_MAX as usize).expect(507).text().contains("`--memory`"));
    let fits = VALUE_BYTES_MAX as usize / 2 - ENTRY_OVERHEAD_BYTES - "large".len();
    put(fits + 1).expect(507);
    put(fits).expect(201);
    assert_eq!(server.get("/kv/large").bytes(), vec![7; fits]);
    put(0).expect(204);
    assert!(server.get("/kv/large").bytes().is_empty());
}

/// What a client knows of one of its keys.
struct Known {
    value: Vec<u8>,
    tag: String,
    expires: Option<Instant>,
}

/// Each client has keys of its own, so that it knows what must be there.
async fn ask(client: Client, number: usize) {
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let random = |below: u64| client.shard().random() % below;
        let key = random(4);
        let target = format!("/kv/{number}-{key}");
        let is_hazy = known.get(&key).is_some_and(|known| {
            known.expires.is_some_and(|expires| client.now() + HAZE >= expires && client.now() <= expires + HAZE)
        });
        if is_hazy {
            client.sleep(2 * HAZE).await;
        }
        let before = client.now();
        known.retain(|_, known| known.expires.is_none_or(|expires| before < expires));
        let at_key = known.get(&key);
        match random(8) {
            0..3 => {
                let value = vec![random(256) as u8; random(9000) as usize];
                let ttl = [None, Some(10), Some(30)][random(3) as usize];
                let query = ttl.map(|seconds: u64| format!("?ttl={seconds}")).unwrap_or_default();
                let put = Request::put(format!("{target}{query}")).body(value.clone());
                let put = match (random(3), at_key) {
                    (0, Some(known)) => put.header("If-Match", &known.tag),
                    (0, None) => put.header("If-None-Match", "*"),
                    _ => put,
                };
                let answer = client.send(put).await.expect(if at_key.is_some() { 204 } else { 201 });
                let expires = ttl.map(|seconds| client.now() + Duration::from_secs(seconds));
                known.insert(key, Known { value, tag: answer.header("etag").to_owned(), expires });
            }
            3..6 => {
                let answer = client.get(&target).await;
                match at_key {
                    Some(known) => {
                        let answer = answer.expect(200);
                        assert!(answer.bytes() == known.value && answer.header("etag") == known.tag, "{target}");
                    }
                    None => drop(answer.expect(404)),
                }
            }
            6 => {
                client.send(Request::delete(target)).await.expect(if at_key.is_some() { 204 } else { 404 });
                known.remove(&key);
            }
            _ => client.sleep(Duration::from_secs(random(15))).await,
        }
    }
}

#[test]
fn clients_find_what_they_have_put() {
    for seed in seeds(SEEDS) {
        let once = || {
            let server = serve(seed, 3, MEMORY_BYTES, Plan::CHOPPY);
            run(&server, ask);
            server.end()
        };
        assert_eq!(once(), once(), "seed {seed}: the same seed gives the same run");
    }
}

/// Values that nobody asks for go by themselves when their time is over, and not before.
#[test]
fn what_is_over_is_swept_away() {
    let server = serve(1, 2, MEMORY_BYTES, Plan::CALM);
    for number in 0..20 {
        let ttl = if number % 2 == 0 { "?ttl=60" } else { "" };
        server.send(Request::put(format!("/kv/{number}{ttl}")).body("x")).expect(201);
    }
    server.advance(Duration::from_secs(50));
    assert_eq!(stat(&server.get("/stats"), "keys").0, 20);
    server.advance(Duration::from_secs(20));
    let answer = server.get("/stats");
    assert_eq!((stat(&answer, "keys").0, stat(&answer, "expiries").0), (10, 10));
}

/// However much clients put, no shard goes over its bound; whoever finds a value finds the one that was put last.
#[test]
fn memory_has_a_bound_whatever_comes() {
    const MEMORY: usize = 40_000;
    for seed in seeds(SEEDS) {
        let server = serve(seed, 2, MEMORY, Plan::CHOPPY);
        run(&server, async |client, number| {
            let mut last = BTreeMap::new();
            for round in 0..REQUESTS {
                let random = |below: u64| client.shard().random() % below;
                let (key, byte) = (random(20), round as u8);
                let value = vec![byte; random(8000) as usize];
                client.send(Request::put(format!("/kv/{number}-{key}")).body(value.clone())).await;
                last.insert(key, value);
                let key = random(20);
                let found = client.get(&format!("/kv/{number}-{key}")).await;
                if found.status() == StatusCode::OK {
                    assert!(Some(found.bytes()) == last.get(&key).map(Vec::as_slice));
                }
                let bytes = stat(&client.get("/stats").await, "bytes").1;
                assert!(bytes.iter().all(|&bytes| bytes <= MEMORY as u64), "{bytes:?}");
            }
        });
        assert!(stat(&server.get("/stats"), "evictions").0 > 0, "seed {seed}");
        server.end();
    }
}

/// Everyone counts, on whichever shard they came to: no step is lost.
#[test]
fn no_step_of_a_counter_is_lost() {
    for seed in seeds(SEEDS) {
        let server = serve(seed, 3, MEMORY_BYTES, Plan::CHOPPY);
        run(&server, async |client, _| {
            for _ in 0..REQUESTS {
                client.post("/kv/visits/incr?by=2", "").await.expect(200);
            }
        });
        assert_eq!(server.get("/kv/visits").text(), (2 * CLIENTS * REQUESTS).to_string(), "seed {seed}");
        server.end();
    }
}
