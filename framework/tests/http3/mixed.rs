//! Everything at once, at random: many streams with bodies both ways, slow readers, trailers, resets at any moment, on networks
//! that cut, lose, double, delay and spoil. What comes is right, nothing is left, and a seed gives the same again.

use proto::h3::Code;
use shardwise::http::Method;
use shardwise::test::{self, Plan};

use net::quic::{Config as QuicConfig, StreamId};

use super::client::{Answer, Client, Host, serve};
use super::{app, pattern};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

const SIZES: [usize; 8] = [0, 1, 100, 1024, 1025, 16_384, 70_000, 200_000];

/// What was asked, and so what must come.
struct Asked {
    id: StreamId,
    path: &'static str,
    count: usize,
    trailers: usize,
}

async fn ask(client: &mut Client, random: &mut Random) -> Asked {
    let count = SIZES[random.below(SIZES.len())];
    let (path, target) = match random.below(7) {
        0 => ("/", "/".to_owned()),
        1 => ("/later", "/later".to_owned()),
        2 => ("/bytes", format!("/bytes/{count}")),
        3 => ("/stream", format!("/stream/{count}")),
        4 => ("/count", "/count".to_owned()),
        5 => ("/echo", "/echo".to_owned()),
        _ => ("/ignored", "/ignored".to_owned()),
    };
    let trailers: &[(&str, &str)] = if random.below(3) == 0 { &[("x-one", "1"), ("x-two", "2")] } else { &[] };
    let (id, trailers) = match path {
        "/count" | "/echo" | "/ignored" => {
            (client.ask(&Method::POST, &target, &[], &pattern(count), trailers).await, trailers.len())
        }
        _ => (client.get(&target).await, 0),
    };
    Asked { id, path, count, trailers }
}

#[track_caller]
fn check(asked: &Asked, answer: &Answer) {
    let Asked { id, path, count, trailers } = *asked;
    assert_eq!(answer.status, 200, "{id} {path} {count}: {answer:?}");
    match path {
        "/" => assert_eq!(answer.text(), "hello"),
        "/later" => assert_eq!(answer.text(), "later"),
        "/ignored" => assert_eq!(answer.text(), "ignored"),
        "/count" => assert_eq!(answer.text(), format!("{count} bytes, true, {trailers} trailers")),
        _ => {
            assert!(answer.body == pattern(count), "{id} {path} {count}: {} bytes", answer.body.len());
            let expect = if path == "/stream" { 1 } else { 0 };
            let echoed = if path == "/echo" { trailers } else { expect };
            assert_eq!(answer.trailers.len(), echoed, "{id} {path} {count}");
        }
    }
}

async fn talk(kit: &test::Client, seed: u64, bears_faults: bool) {
    let mut random = Random(seed);
    let config = QuicConfig {
        stream_window_bytes: [2000, 20_000, 500_000][random.below(3)],
        window_bytes: [20_000, 1_000_000][random.below(2)],
        keep_alive: Some(std::time::Duration::from_secs(5)),
        ..QuicConfig::default()
    };
    let mut host = Host::with(kit, config).await;
    host.bears_faults = bears_faults;
    let mut client = host.connect();
    client.reads_at_once = random.below(2) == 0;
    let (mut open, mut left) = (Vec::new(), 20 + random.below(30));
    while left > 0 || !open.is_empty() {
        while left > 0 && open.len() < 50 && random.below(4) > 0 {
            if client.closed.is_none() && (client.engine.can_open(&client.limits) || !bears_faults) {
                open.push(ask(&mut client, &mut random).await);
            }
            left -= 1;
        }
        if random.below(12) == 0 && !open.is_empty() {
            let asked: Asked = open.swap_remove(random.below(open.len()));
            if !client.answers[&asked.id].is_over() {
                match random.below(2) {
                    0 => client.reset(asked.id, Code::REQUEST_CANCELLED),
                    _ => client.stop(asked.id, Code::REQUEST_CANCELLED),
                }
            }
        }
        if !client.reads_at_once {
            for asked in &open {
                if random.below(3) > 0 {
                    client.read(asked.id);
                }
            }
        }
        open.retain(|asked| {
            let answer = &client.answers[&asked.id];
            if answer.is_over() && !bears_faults {
                check(asked, answer);
            }
            !answer.is_over()
        });
        if random.below(8) == 0 {
            client.rest(std::time::Duration::from_micros(random.below(2000) as u64)).await;
        }
        if !open.is_empty() {
            // What nobody has read yet may be all that there is to wait for.
            client.rest(std::time::Duration::from_micros(500)).await;
        }
        if client.closed.is_some() {
            assert!(bears_faults, "the server closes: {:?}", client.closed);
            break;
        }
    }
    if random.below(2) == 0 && client.closed.is_none() && !bears_faults {
        // It leaves in the middle.
        for _ in 0..5 {
            ask(&mut client, &mut random).await;
        }
        client.flush().await;
    }
    client.close().await;
}

fn run(seed: u64, plan: Plan, bears_faults: bool) -> u64 {
    let server = serve(seed, plan, app);
    server.run(async move |kit| talk(&kit, seed, bears_faults).await);
    server.end()
}
fn plan(seed: u64) -> Plan {
    [Plan::CALM, Plan::CHOPPY, Plan::LATE][seed as usize % 3]
}

#[test]
fn what_comes_is_right_and_nothing_is_left() {
    test::run_seeds(24, |seed| {
        run(seed, plan(seed), false);
    });
}

#[test]
fn whatever_share_of_datagrams_goes_wrong() {
    for share in [0.01, 0.05, 0.1, 0.2] {
        test::run_seeds(3, |seed| {
            run(seed, Plan::rough(share), false);
        });
    }
}

/// Whatever fails, nothing is left: the test kit looks at operations, buffers, tasks and scopes.
#[test]
fn nothing_is_left_where_everything_fails() {
    test::run_seeds(20, |seed| {
        run(seed, Plan::HOSTILE, true);
    });
}

#[test]
fn a_seed_gives_the_same_again() {
    for seed in test::seeds(3) {
        assert_eq!(run(seed, plan(seed), false), run(seed, plan(seed), false), "seed {seed}");
        assert_eq!(run(seed, Plan::rough(0.1), false), run(seed, Plan::rough(0.1), false), "seed {seed}");
    }
}
