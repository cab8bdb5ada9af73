//! Everything at once, at random: many streams with bodies both ways, slow readers, trailers, resets at any moment, on a
//! network that cuts and delays. What comes is right, nothing is left, and a seed gives the same again.

use proto::h2::{Code, Limits};
use shardwise::http::Method;
use shardwise::test::{self, Plan};

use super::client::{Answer, Client};
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
    id: u32,
    path: &'static str,
    count: usize,
    trailers: usize,
}

fn ask(client: &mut Client, random: &mut Random) -> Asked {
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
            (client.ask(&Method::POST, &target, &[], &pattern(count), trailers), trailers.len())
        }
        _ => (client.get(&target), 0),
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
    let limits = Limits {
        stream_window: [1, 100, 65_535, 1_000_000][random.below(4)],
        connection_window: [65_535, 300_000][random.below(2)],
        ..Limits::default()
    };
    let Ok(wire) = kit.try_open().await else {
        assert!(bears_faults, "no connection");
        return;
    };
    let mut client = Client::over(wire, limits);
    client.bears_faults = bears_faults;
    client.reads_at_once = random.below(2) == 0;
    let (mut open, mut left) = (Vec::new(), 20 + random.below(30));
    while left > 0 || !open.is_empty() {
        while left > 0 && client.engine.can_open(&client.limits) && random.below(4) > 0 {
            open.push(ask(&mut client, &mut random));
            left -= 1;
        }
        if random.below(12) == 0 && !open.is_empty() {
            let asked = open.swap_remove(random.below(open.len()));
            if !client.answers[&asked.id].is_over() {
                client.reset(asked.id, Code::CANCEL);
            }
        }
        for _ in 0..random.below(4) {
            client.read(random.below(1000));
        }
        client.flush().await;
        open.retain(|asked| {
            let answer = &client.answers[&asked.id];
            let is_over = answer.is_over();
            if is_over && bears_faults {
                // A handler may have been told of a fault that its client has not seen.
                return false;
            }
            if is_over {
                // A request whose answer came before its body had been read may be told so.
                assert!(answer.reset.is_none_or(|code| code == Code::NO_ERROR && answer.has_ended), "{answer:?}");
                check(asked, answer);
            }
            !is_over
        });
        if random.below(8) == 0 {
            kit.sleep(std::time::Duration::from_micros(random.below(2000) as u64)).await;
        }
        if !open.is_empty() && client.unread.is_empty() {
            let goes_on = client.receive().await;
            assert!(goes_on || bears_faults, "the server closes: {:?}", client.goaways);
        }
        if client.is_closed && bears_faults {
            return;
        }
    }
    if random.below(2) == 0 {
        // It leaves in the middle.
        for _ in 0..5 {
            ask(&mut client, &mut random);
        }
        client.flush().await;
    }
}

fn run(seed: u64, plan: Plan) -> u64 {
    let bears_faults = plan == Plan::HOSTILE;
    let server = test::builder().seed(seed).plan(plan).start(|_| app());
    server.run(async move |kit| talk(&kit, seed, bears_faults).await);
    server.end()
}

fn plan(seed: u64) -> Plan {
    [Plan::CALM, Plan::CHOPPY, Plan::LATE][seed as usize % 3]
}

#[test]
fn what_comes_is_right_and_nothing_is_left() {
    test::run_seeds(40, |seed| {
        run(seed, plan(seed));
    });
}

/// Whatever fails, nothing is left: the test kit looks at operations, buffers, tasks and scopes.
#[test]
fn nothing_is_left_where_everything_fails() {
    test::run_seeds(60, |seed| {
        run(seed, Plan::HOSTILE);
    });
}

#[test]
fn a_seed_gives_the_same_again() {
    for seed in test::seeds(3) {
        assert_eq!(run(seed, plan(seed)), run(seed, plan(seed)), "seed {seed}");
    }
}
