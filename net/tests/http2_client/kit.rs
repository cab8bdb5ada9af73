//! Servers made of frames, and a client to ask them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use platform::ListenOptions;
use platform::sim::Plan;
use shards::{Shard, Simulation};
use shardwise_net::client::Config;
use shardwise_net::{Client, Listener, TcpStream};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

/// `:status: 200`, of the static table.
pub(crate) const OK: u8 = 0x88;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [&[a, b, c, kind, flags, d, e, f, g], payload].concat()
}

pub(crate) fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A head of 200; with `END_STREAM`, all of the answer.
pub(crate) fn head(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &[OK])
}

pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

pub(crate) fn answer(stream: u32, text: &str) -> Vec<u8> {
    [head(stream, 0), data(stream, END_STREAM, text.as_bytes())].concat()
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A frame that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[self.payload.len() - 4..].try_into().unwrap())
    }

    pub(crate) fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

/// The server's end of a connection.
pub(crate) struct Wire {
    pub(crate) shard: Shard,
    pub(crate) number: usize,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    /// Sends; false if the client has gone.
    pub(crate) async fn say(&mut self, bytes: impl Into<Vec<u8>>) -> bool {
        self.stream.send(bytes.into()).await.is_ok()
    }

    /// The next frame; `None` when the client has gone.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(&[a, b, c, kind, flags, d, e, f, g]) = self.input.first_chunk() {
                let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if self.input.len() >= end {
                    let payload = self.input[9..end].to_vec();
                    self.input.drain(..end);
                    return Some(Frame { kind, flags, stream: u32::from_be_bytes([d, e, f, g]), payload });
                }
            }
            let chunk = self.stream.recv().await.ok()??;
            self.input.extend_from_slice(&chunk);
        }
    }

    /// The next frame of a kind; others are read over.
    pub(crate) async fn hear(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads over what comes until the client has gone.
    pub(crate) async fn end(&mut self) {
        while self.next().await.is_some() {}
    }

    pub(crate) async fn sleep(&self, milliseconds: u64) {
        self.shard.sleep(Duration::from_millis(milliseconds)).await;
    }
}
/// What a server does with each connection.
pub(crate) type Script = Rc<dyn Fn(Wire) -> Pin<Box<dyn Future<Output = ()>>>>;

pub(crate) fn script(work: impl AsyncFn(&mut Wire) + 'static) -> Script {
    let work = Rc::new(work);
    Rc::new(move |mut wire| {
        let work = Rc::clone(&work);
        Box::pin(async move {
            let mut preface = [0; 24];
            let mut count = 0;
            while count < preface.len() {
                let Ok(Some(chunk)) = wire.stream.recv().await else { return };
                let (front, rest) = chunk.split_at((preface.len() - count).min(chunk.len()));
                preface[count..count + front.len()].copy_from_slice(front);
                count += front.len();
                wire.input.extend_from_slice(rest);
            }
            assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            work(&mut wire).await;
        })
    })
}

async fn serve(shard: Shard, script: Script, connections: Rc<Cell<usize>>) -> Result<(), String> {
    let sockets = shard.with_reactor(|reactor| reactor.listen(address(80), 1, &ListenOptions::default()));
    let mut listener = Listener::adopt(&shard, sockets.expect("the address is free").remove(0)).expect("room");
    loop {
        let stream = listener.accept().await.map_err(|error| error.to_string())?;
        let number = connections.get();
        connections.set(number + 1);
        let wire = Wire { shard: shard.clone(), number, stream, input: Vec::new() };
        shard.spawn(script(wire)).expect("room for a task").detach();
    }
}

fn address(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

pub(crate) const URL: &str = "http://10.0.0.1/";

/// Runs a client against a script, and gives what it gives, and how many connections it has made. Nothing may be left of it.
#[track_caller]
pub(crate) fn play<T: 'static>(
    seed: u64,
    plan: Plan,
    script: Script,
    ask: impl AsyncFnOnce(&Client, &Shard) -> T + 'static,
) -> (T, usize) {
    let connections = Rc::new(Cell::new(0));
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
    let (script, count) = (RefCell::new(Some(script)), Rc::clone(&connections));
    simulation.start(1, async move |shard| {
        let script = script.take().expect("there is one shard");
        serve(shard, script, Rc::clone(&count)).await
    });
    let given = simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(1)).await;
        let client = Client::with(&shard, Config { http2: true, ..Config::default() });
        let given = ask(&client, &shard).await;
        drop(client);
        // What was given up comes home in its time.
        shard.sleep(Duration::from_secs(10)).await;
        let (holdings, pool) = (shard.with_reactor(|reactor| reactor.holdings()), shard.pool().stats());
        assert_eq!((holdings.operations, holdings.handles), (0, 0), "operations and sockets, seed {seed}");
        assert_eq!((pool.heads_leased, pool.bulk_leased, pool.pooled_bytes), (0, 0, 0), "memory, seed {seed}");
        assert_eq!((shard.task_stats().live, shard.scopes()), (1, 1), "tasks and scopes, seed {seed}");
        given
    });
    (given, connections.get())
}

/// The same for some seeds; all give the same.
#[track_caller]
pub(crate) fn check<T: PartialEq + std::fmt::Debug + 'static>(
    script: Script,
    ask: impl AsyncFnOnce(&Client, &Shard) -> T + Clone + 'static,
    expect: T,
    connections: usize,
) {
    for seed in 0..SEEDS {
        let given = play(seed, Plan::CHOPPY, Rc::clone(&script), ask.clone());
        assert_eq!(given.0, expect, "seed {seed}");
        assert_eq!(given.1, connections, "connections, seed {seed}");
    }
}

const SEEDS: u64 = 20;
