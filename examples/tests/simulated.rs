//! The showcase's own app on a simulated machine: several shards and their clients in one thread, on virtual time, over a
//! network that cuts and delays what it can. One seed decides everything; a failure prints it.

#[path = "../src/bin/showcase/app.rs"]
mod app;
#[path = "../../framework/tests/wire/mod.rs"]
mod wire;

use std::cell::Cell;

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use net::TcpStream;
use platform::sim::Plan;
use shards::{Program, Remote, Shard, Simulation};

use wire::{Answer, parse, pattern, request};

/// Seeds of each test.
const SEEDS: std::ops::Range<u64> = 0..50;

/// Clients that ask at the same time.
const CLIENTS: usize = 8;

/// Requests of each client.
const REQUESTS: usize = 12;

/// Where the server listens: any address is the simulated machine's own.
const ADDRESS: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

/// The app on a number of shards, and a machine for it to run on.
struct Served {
    simulation: Simulation,
    program: Program<String>,
    seed: u64,
}

impl Served {
    fn start(seed: u64, count: usize) -> Served {
        let mut simulation = Simulation::with_plan(seed, Plan::CHOPPY, platform::Config::default());
        let serve = async |_: Shard| app::app().serve("10.0.0.1:80").await.map_err(|error| error.to_string());
        let program = simulation.start(count, serve);
        Served { simulation, program, seed }
    }

    /// Runs clients, each with its number, as tasks of one shard, until all have ended.
    fn run<T: 'static>(&mut self, client: impl AsyncFn(Shard, usize) -> T + 'static) -> Vec<T> {
        let client = Rc::new(client);
        self.simulation.run(async move |shard| {
            let spawn = |number| {
                let (client, inner) = (Rc::clone(&client), shard.clone());
                shard.spawn(async move { client(inner, number).await }).expect("room for a task")
            };
            let tasks: Vec<_> = (0..CLIENTS).map(spawn).collect();
            let mut outputs = Vec::new();
            for task in tasks {
                match task.await {
                    Ok(output) => outputs.push(output),
                    Err(shards::JoinError::Panicked(panic)) => std::panic::resume_unwind(panic),
                    Err(shards::JoinError::Cancelled) => unreachable!("nobody cancels"),
                }
            }
            outputs
        })
    }

    /// Drains the server; everything comes home. Gives the hash of all that has happened.
    #[track_caller]
    fn end(mut self) -> u64 {
        let Served { simulation, program, seed } = &mut self;
        program.drain();
        simulation.run_to_end();
        assert!(program.results().iter().all(|result| *result == Some(Ok(()))), "seed {seed}: {:?}", program.results());
        let left = Arc::new(Mutex::new(Vec::new()));
        for remote in &program.remotes {
            let left = Arc::clone(&left);
            let look = move |shard: &Shard| left.lock().unwrap_or_else(PoisonError::into_inner).push(Left::of(shard));
            remote.send(look).expect("the shard lives");
        }
        simulation.run_to_end();
        let left = left.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(left.len(), program.remotes.len());
        assert!(left.iter().all(|left| *left == Left::default()), "seed {seed}: {left:?}");
        assert_eq!(simulation.machine().descriptors(), 0, "seed {seed}");
        simulation.machine().trace_hash()
    }
}

/// What a shard still holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    operations: usize,
    handles: usize,
    receive_buffers: u32,
    pooled_bytes: u64,
}

impl Left {
    fn of(shard: &Shard) -> Left {
        let (holdings, pool) = (shard.with_reactor(|reactor| reactor.holdings()), shard.pool().stats());
        Left {
            operations: holdings.operations,
            handles: holdings.handles,
            receive_buffers: pool.heads_leased + pool.bulk_leased,
            pooled_bytes: pool.pooled_bytes,
        }
    }
}

/// A client of one connection.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    has_ended: bool,
}

impl Client {
    /// Connects as soon as the server listens.
    async fn connect(shard: &Shard) -> Client {
        for _ in 0..1000 {
            if let Ok(stream) = TcpStream::connect(shard, SocketAddr::from(ADDRESS)).await {
                return Client { stream, input: Vec::new(), has_ended: false };
            }
            shard.sleep(Duration::from_millis(1)).await;
        }
        panic!("the server does not listen");
    }

    async fn send(&mut self, bytes: impl Into<Vec<u8>>) -> net::Result<()> {
        self.stream.send(bytes.into()).await
    }

    /// The next answer; `None` if the connection ends before its first byte.
    async fn next(&mut self, to_head: bool) -> Result<Option<Answer>, String> {
        loop {
            if self.input.is_empty() && self.has_ended {
                return Ok(None);
            }
            if !self.input.is_empty()
                && let Some((answer, bytes)) = parse(&self.input, to_head, self.has_ended)?
            {
                self.input.drain(..bytes);
                return Ok(Some(answer));
            }
            match self.stream.recv().await.map_err(|error| error.to_string())? {
                Some(chunk) => self.input.extend_from_slice(&chunk),
                None => self.has_ended = true,
            }
        }
    }

    async fn answer(&mut self) -> Answer {
        self.next(false).await.expect("a correct answer").expect("an answer before the end")
    }
}

/// A request, and what must come of it.
struct Case {
    request: Vec<u8>,
    status: u16,
    body: Vec<u8>,
    is_head: bool,
}

impl Case {
    fn any(shard: &Shard) -> Case {
        let size = (shard.random() % 20_000) as usize;
        let get =
            |line: &str, status, body: Vec<u8>| Case { request: request(line).into(), status, body, is_head: false };
        match shard.random() % 10 {
            0 => get("GET /plaintext", 200, b"Hello, World!".into()),
            1 => get("GET /json", 200, br#"{"message":"Hello, World!"}"#.into()),
            2 => get(&format!("GET /bytes/{}", size * 10), 200, vec![b'x'; size * 10]),
            3 => get("GET /stream/3", 200, vec![b'x'; 3 * 16 * 1024]),
            4 => get("GET /headers", 200, br#"{"host":["here"]}"#.into()),
            5 => get(&format!("GET /sleep/{size}"), 204, Vec::new()),
            6 => Case { is_head: true, ..get("HEAD /bytes/70000", 200, Vec::new()) },
            7 => get(
                "DELETE /json",
                405,
                b"Method Not Allowed: DELETE is not for /json. Use one of: GET, HEAD.\n".into(),
            ),
            8 => {
                let body = pattern(size);
                let head = format!("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: {size}\r\n\r\n");
                Case { request: [head.as_bytes(), &body].concat(), status: 200, body, is_head: false }
            }
            _ => {
                let body = pattern(size.max(2));
                let (front, back) = body.split_at(body.len() / 2);
                let mut request = b"POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for chunk in [front, back, b""] {
                    request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    request.extend_from_slice(chunk);
                    request.extend_from_slice(b"\r\n");
                }
                Case { request, status: 200, body, is_head: false }
            }
        }
    }

    fn check(&self, answer: &Answer) {
        assert_eq!(answer.status, self.status, "to {self:?}");
        assert!(answer.body == self.body, "{} bytes to {self:?}", answer.body.len());
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.request);
        f.write_str(text.split("\r\n\r\n").next().unwrap_or_default())
    }
}

/// Asks whatever the seed says, one by one or in pipelines of up to three.
async fn ask(shard: Shard, _number: usize) {
    let mut client = Client::connect(&shard).await;
    let mut left = REQUESTS;
    while left > 0 {
        let depth = left.min(1 + (shard.random() % 3) as usize);
        left -= depth;
        let cases: Vec<Case> = (0..depth).map(|_| Case::any(&shard)).collect();
        client.send(cases.iter().flat_map(|case| case.request.clone()).collect::<Vec<u8>>()).await.expect("it is read");
        for case in &cases {
            let answer = client.next(case.is_head).await.expect("a correct answer").expect("an answer before the end");
            case.check(&answer);
        }
    }
}

#[track_caller]
fn check_routes(count: usize) {
    for seed in SEEDS {
        let run = || {
            let mut served = Served::start(seed, count);
            served.run(ask);
            served.end()
        };
        assert_eq!(run(), run(), "seed {seed}: the same seed gives the same run");
    }
}

#[test]
fn every_route_answers_right_on_one_shard() {
    check_routes(1);
}

#[test]
fn every_route_answers_right_on_two_shards() {
    check_routes(2);
}

#[test]
fn every_route_answers_right_on_four_shards() {
    check_routes(4);
}

#[test]
fn every_shard_takes_its_share() {
    let mut served = Served::start(1, 4);
    let answered = served.run(async |shard, _| {
        let mut numbers = Vec::new();
        for _ in 0..8 {
            let mut client = Client::connect(&shard).await;
            client.send(request("GET /shard")).await.expect("it is read");
            numbers.push(client.answer().await.text());
        }
        numbers
    });
    let mut numbers = answered.concat();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
    served.end();
}

/// The drain begins while everyone asks: a request that was sent before is answered in whole, a later one in whole or not
/// at all.
#[test]
fn a_drain_under_load_loses_no_request() {
    for seed in SEEDS {
        let mut served = Served::start(seed, 2);
        let remotes: Vec<Remote> = served.program.remotes.clone();
        let has_drained = Rc::new(Cell::new(false));
        let answered = served.run(async move |shard, number| {
            let mut client = Client::connect(&shard).await;
            if number == 0 {
                shard.sleep(Duration::from_millis(20 + shard.random() % 20)).await;
                client.send(request("GET /sleep/30")).await.expect("it is read");
                has_drained.set(true);
                remotes.iter().for_each(|remote| remote.send(Shard::drain).expect("it lives"));
                assert_eq!(client.answer().await.status, 204);
                return 1;
            }
            for count in 0.. {
                let case = Case::any(&shard);
                let is_sent = client.send(case.request.clone()).await.is_ok();
                let is_before = !has_drained.get();
                match client.next(case.is_head).await {
                    Ok(Some(answer)) => {
                        case.check(&answer);
                        if answer.closes() {
                            return count + 1;
                        }
                    }
                    // A reset may overtake the end: it is one as long as no byte of an answer came.
                    Ok(None) | Err(_) if client.input.is_empty() => {
                        assert!(!(is_sent && is_before), "no answer to {case:?}");
                        return count;
                    }
                    other => panic!("part of an answer to {case:?}: {other:?}"),
                }
            }
            unreachable!("the server ends")
        });
        assert!(answered.iter().sum::<usize>() > 0, "seed {seed}");
        served.end();
    }
}

/// Ten seconds for a head are ten seconds of virtual time.
#[test]
fn slow_heads_are_refused_in_time() {
    let mut served = Served::start(1, 1);
    served.run(async |shard, _| {
        let mut client = Client::connect(&shard).await;
        client.send("GET /plaintext HTTP/1.1\r\nHo").await.expect("it is read");
        let begin = shard.now();
        assert_eq!(client.answer().await.status, 408);
        let waited = shard.now() - begin;
        assert!(waited >= Duration::from_millis(9_990) && waited < Duration::from_secs(11), "{waited:?}");
        assert_eq!(client.next(false).await, Ok(None));
    });
    served.end();
}

/// One client breaks the rules in every way while the others ask.
#[test]
fn bad_input_harms_nobody_else() {
    for seed in SEEDS {
        let mut served = Served::start(seed, 2);
        served.run(async |shard, number| {
            if number > 0 {
                return ask(shard, number).await;
            }
            let table: [(&str, u16); 5] = [
                ("GET / HTTP/1.1\nHost: here\n\n", 400),
                ("GET / HTTP/1.1\r\n\r\n", 400),
                ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                ("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: x\r\n\r\n", 400),
                (&format!("GET /plaintext HTTP/1.1\r\nHost: here\r\nA: {}\r\n\r\n", "a".repeat(20_000)), 431),
            ];
            for (bytes, status) in table {
                let mut client = Client::connect(&shard).await;
                client.send(bytes).await.expect("it is read");
                let answer = client.answer().await;
                assert!(answer.status == status && answer.closes(), "{answer:?}");
                assert_eq!(client.next(false).await, Ok(None));
            }
        });
        served.end();
    }
}
