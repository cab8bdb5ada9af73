//! A scripted afternoon: endpoints crash, hang, slow down, answer 500, come back, flap, and leave the list, as the seed says, while
//! one of them stays well. Two shards call all the while.
//!
//! What is held to: of the calls that may be repeated, 999 of 1000 succeed; in no ten seconds are servers asked more than 1.2
//! times as often as calls are made; breakers are open while their endpoints fail, and closed when all is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use platform::sim::Plan;
use shards::Shard;
use shardwise_net::Client;
use shardwise_net::upstream::policy::breaker::State;
use shardwise_net::upstream::policy::{balance, breaker, outlier, retry};
use shardwise_net::upstream::{Config, Endpoints, Probe, Survey, Upstream};

use super::kit::{Mood, World, seeds, text};

/// Endpoints; the last stays well.
const SERVERS: u8 = 5;
const SHARDS: usize = 2;
/// How long it lasts, and how much of that is quiet at its end.
const AFTERNOON: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(15);
/// Between two calls of a shard, on average.
const PAUSE_MICROS: u64 = 16_000;
const WINDOW: usize = 10;

/// What was seen, on all shards together.
#[derive(Default)]
struct Seen {
    calls: Cell<u64>,
    failed: RefCell<Vec<String>>,
    /// In each second: calls made, and tries that were made of them.
    offered: RefCell<Vec<u64>>,
    surveys: RefCell<Vec<Survey>>,
    opened: Cell<u64>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Turns the servers' moods, and the list of them, until the quiet begins.
async fn script(shard: Shard, world: Rc<Vec<Rc<super::kit::Server>>>, machine: platform::sim::Machine, seed: u64) {
    let mut random = Random(seed);
    let end = shard.now() + AFTERNOON - QUIET;
    let mut listed = vec![true; SERVERS.into()];
    while shard.now() < end {
        shard.sleep(Duration::from_millis(200 + random.below(5000))).await;
        let which = random.below(u64::from(SERVERS) - 1) as usize;
        let server = &world[which];
        match random.below(10) {
            0 | 1 => server.set(Mood::Down),
            2 => server.set(Mood::Hangs),
            3 => server.set(Mood::Slow(300)),
            4 | 5 => server.set(Mood::Status(500)),
            6 => server.set(Mood::Busy(1)),
            7 => {
                for _ in 0..4 {
                    server.set(Mood::Down);
                    shard.sleep(Duration::from_millis(50 + random.below(400))).await;
                    server.set(Mood::Well);
                    shard.sleep(Duration::from_millis(50 + random.below(400))).await;
                }
            }
            8 => {
                listed[which] = !listed[which];
                list(&machine, &listed);
            }
            _ => server.set(Mood::Well),
        }
    }
    world.iter().for_each(|server| server.set(Mood::Well));
    list(&machine, &[true; SERVERS as usize]);
}

fn list(machine: &platform::sim::Machine, listed: &[bool]) {
    let lines = (1..=SERVERS).zip(listed).filter(|(_, listed)| **listed);
    machine.write_file("/list", lines.map(|(number, _)| format!("10.0.0.{number}:80\n")).collect::<String>());
}

fn config() -> Config {
    Config {
        endpoints: Endpoints::file("/list"),
        probe: Some(Probe::http("/healthz")),
        // Those that fail are never asked while one is well.
        balance: balance::Settings { panic_percent: 0, ..balance::Settings::default() },
        outlier: Some(outlier::Settings {
            ejected_percent_max: 80,
            ejection_base: Duration::from_secs(5),
            ..outlier::Settings::default()
        }),
        breaker: Some(breaker::Config { open_max: Duration::from_secs(10), ..breaker::Config::default() }),
        retry: retry::Policy {
            tries_max: SERVERS.into(),
            try_time: Some(Duration::from_secs(1)),
            ..retry::Policy::default()
        },
        ..Config::default()
    }
}

async fn call_all_afternoon(shard: Shard, seen: Rc<Seen>) -> Result<(), String> {
    shard.sleep(Duration::from_millis(5)).await;
    let upstream = Upstream::new(&Client::new(&shard), "servers", config()).map_err(|error| error.to_string())?;
    upstream.ready().await;
    shard.sleep(Duration::from_secs(1)).await;
    let begin = shard.now();
    let scope = shard.scope().child("calls").map_err(|error| error.to_string())?;
    let mut second = 0;
    while shard.now() < begin + AFTERNOON {
        shard.sleep(Duration::from_micros(shard.random() % (2 * PAUSE_MICROS))).await;
        let (upstream, seen) = (upstream.clone(), Rc::clone(&seen));
        let at = (shard.now() - begin).as_secs() as usize;
        if at > second {
            second = at;
            let open =
                upstream.survey().endpoints.iter().filter(|endpoint| endpoint.breaker == Some(State::Open)).count();
            seen.opened.set(seen.opened.get() + open as u64);
        }
        let mut offered = seen.offered.borrow_mut();
        let length = offered.len().max(at + 1);
        offered.resize(length, 0);
        offered[at] += 1;
        drop(offered);
        let call = async move {
            seen.calls.set(seen.calls.get() + 1);
            match text(upstream.get("/")).await {
                Ok(text) if text.ends_with(" /") => {}
                Ok(status) => seen.failed.borrow_mut().push(status),
                Err(error) => seen.failed.borrow_mut().push(error.to_string()),
            }
        };
        scope.spawn(call).map_err(|error| error.to_string())?.detach();
    }
    scope.gate().await;
    // What has failed is tried again by and by.
    for _ in 0..400 {
        shard.sleep(Duration::from_millis(50)).await;
        let _ = text(upstream.get("/")).await;
    }
    seen.surveys.borrow_mut().push(upstream.survey());
    Ok(())
}

/// Requests that have come to servers, in each second.
async fn watch(
    shard: Shard,
    world: Rc<Vec<Rc<super::kit::Server>>>,
    asked: Rc<RefCell<Vec<u64>>>,
) -> Result<(), String> {
    shard.sleep(Duration::from_millis(1005)).await;
    let mut before = 0;
    loop {
        shard.sleep(Duration::from_secs(1)).await;
        let now = world.iter().map(|server| server.requests.get()).sum::<u64>();
        asked.borrow_mut().push(now - before);
        before = now;
    }
}

fn afternoon(seed: u64) -> Sums {
    let mut world = World::new(seed, Plan::CHOPPY, SERVERS);
    let (servers, seen, asked) = (Rc::clone(&world.servers), Rc::new(Seen::default()), Rc::default());
    let machine = world.simulation.machine().clone();
    list(&machine, &[true; SERVERS as usize]);
    let (told, watched, counted) = (Rc::clone(&seen), Rc::clone(&servers), Rc::clone(&asked));
    world.simulation.start(SHARDS, async move |shard| call_all_afternoon(shard, Rc::clone(&told)).await);
    world.simulation.start(1, async move |shard| watch(shard, Rc::clone(&watched), Rc::clone(&counted)).await);
    world.simulation.start(1, async move |shard| {
        shard.sleep(Duration::from_secs(2)).await;
        script(shard, Rc::clone(&servers), machine.clone(), seed).await;
        Ok::<_, String>(())
    });
    let over = Rc::clone(&seen);
    let is_over = world.simulation.run_until(AFTERNOON * 2, || over.surveys.borrow().len() == SHARDS);
    assert!(is_over, "the afternoon has no end");

    let (calls, failed) = (seen.calls.get(), seen.failed.borrow());
    assert!(
        failed.len() as u64 * 1000 <= calls,
        "{} of {calls} have failed: {:?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    let (offered, asked) = (seen.offered.borrow(), asked.borrow());
    for (second, offered) in offered.windows(WINDOW).enumerate() {
        let offered: u64 = offered.iter().sum();
        let asked: u64 = asked.iter().skip(second).take(WINDOW).sum();
        assert!(asked as f64 <= 1.2 * offered as f64, "second {second}: {asked} for {offered}");
    }
    for survey in &*seen.surveys.borrow() {
        for endpoint in &survey.endpoints {
            assert!(endpoint.is_up && endpoint.breaker == Some(State::Closed), "{survey:?}");
        }
    }
    let sum = |of: fn(&Survey) -> u64| seen.surveys.borrow().iter().map(of).sum();
    Sums {
        breaker_changes: sum(|survey| survey.breaker_changes),
        opened: seen.opened.get(),
        retries: sum(|survey| survey.retries),
    }
}

/// What an afternoon has come to. A mild one has nothing of some.
struct Sums {
    breaker_changes: u64,
    opened: u64,
    retries: u64,
}

/// Those with this rest: two tests, for two CPUs.
fn afternoons(rest: u64) {
    let (mut count, mut sums) = (0, Sums { breaker_changes: 0, opened: 0, retries: 0 });
    for seed in seeds(6).filter(|seed| seed % 2 == rest) {
        let Sums { breaker_changes, opened, retries } = afternoon(seed);
        sums.breaker_changes += breaker_changes;
        sums.opened += opened;
        sums.retries += retries;
        count += 1;
    }
    let Sums { breaker_changes, opened, retries } = sums;
    println!("{count} afternoons: {retries} retries, {breaker_changes} changes of breakers, {opened} seconds open");
    assert!(count < 3 || retries > 0 && breaker_changes > 0 && opened > 0);
}

#[test]
fn calls_succeed_while_one_endpoint_is_well() {
    afternoons(0);
}

#[test]
fn calls_succeed_while_one_endpoint_is_well_again() {
    afternoons(1);
}
