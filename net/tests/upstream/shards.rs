//! Many shards that call the same service.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use platform::sim::Plan;
use shards::Shard;
use shardwise_net::upstream::policy::balance::{self, Rule};
use shardwise_net::upstream::{Config, Endpoints, Probe, Survey, Upstream};
use shardwise_net::{Client, client};

use super::kit::{Mood, World, text};

/// Runs on so many shards, each of which calls every few milliseconds. Gives what each has seen.
fn run(mut world: World, count: usize, config: impl Fn() -> Config + 'static, time: Duration) -> Vec<Survey> {
    let surveys = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&surveys);
    world.simulation.start(count, async move |shard: Shard| {
        shard.sleep(Duration::from_millis(5)).await;
        let upstream = Upstream::new(&Client::new(&shard), "servers", config()).map_err(|error| error.to_string())?;
        let end = shard.now() + time;
        while shard.now() < end {
            text(upstream.get("/")).await.map_err(|error| error.to_string())?;
            shard.sleep(Duration::from_millis(1 + shard.random() % 8)).await;
        }
        told.borrow_mut().push(upstream.survey());
        Ok::<_, String>(())
    });
    let all = Rc::clone(&surveys);
    assert!(world.simulation.run_until(time * 2, || all.borrow().len() == count), "{:?}", all.borrow().len());
    surveys.take()
}

#[test]
fn what_one_shard_finds_all_know() {
    let world = World::new(1, Plan::CALM, 4);
    let machine = world.simulation.machine().clone();
    machine.write_file("/list", "10.0.0.1:80\n10.0.0.2:80\n10.0.0.3:80\n");
    let config =
        || Config { endpoints: Endpoints::file("/list"), probe: Some(Probe::http("/healthz")), ..Config::default() };
    world.servers[1].set(Mood::Status(500));
    let surveys = run(world, 4, config, Duration::from_secs(12));
    for survey in &surveys {
        assert_eq!(survey.endpoints.len(), 3);
        let up: Vec<bool> = survey.endpoints.iter().map(|endpoint| endpoint.is_up).collect();
        assert_eq!(up, [true, false, true], "{survey:?}");
    }
    let probing = surveys.iter().filter(|survey| survey.probes > 0).count();
    assert_eq!(probing, 1, "one probes for all");
}

#[test]
fn whom_one_shard_ejects_all_leave_alone() {
    let world = World::new(1, Plan::CALM, 8);
    let endpoints = world.endpoints();
    let servers = Rc::clone(&world.servers);
    servers[5].set(Mood::Status(500));
    let config = move || Config { endpoints: endpoints.clone(), ..Config::default() };
    let surveys = run(world, 16, config, Duration::from_secs(5));
    assert!(surveys.iter().all(|survey| survey.endpoints[5].is_ejected));
    let asked = servers[5].requests.get();
    assert!(asked < 16 * 5, "sooner than if each had found out for itself: {asked}");
}

#[test]
fn thirty_two_shards_ask_twenty_endpoints_evenly() {
    for rule in [Rule::LeastRequests, Rule::PeakEwma, Rule::Weighted] {
        let world = World::new(1, Plan::CALM, 20);
        let (endpoints, servers) = (world.endpoints(), Rc::clone(&world.servers));
        let balance = balance::Settings { rule, ..balance::Settings::default() };
        let config = move || Config { endpoints: endpoints.clone(), balance, subset: Some(6), ..Config::default() };
        let surveys = run(world, 32, config, Duration::from_secs(8));
        assert!(surveys.iter().all(|survey| (6..=9).contains(&survey.endpoints.len())), "each asks a few");
        let requests: Vec<u64> = servers.iter().map(|server| server.requests.get()).collect();
        let mean = requests.iter().sum::<u64>() as f64 / 20.0;
        let worst = requests.iter().map(|count| (*count as f64 / mean - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst < 0.1, "{rule:?}: {worst:.3} off, {requests:?}");
    }
}

/// The time that 99 of 100 calls take at most, with one slow server among five.
fn slowest(rule: Rule) -> Duration {
    let mut world = World::new(7, Plan::CALM, 5);
    let endpoints = world.endpoints();
    world.servers[2].set(Mood::Slow(200));
    let times: Rc<RefCell<Vec<Duration>>> = Rc::default();
    let (told, left) = (Rc::clone(&times), Rc::new(Cell::new(8)));
    let open = Rc::clone(&left);
    let balance = balance::Settings { rule, ..balance::Settings::default() };
    world.simulation.start(8, async move |shard: Shard| {
        shard.sleep(Duration::from_millis(5)).await;
        let config = Config { endpoints: endpoints.clone(), balance, ..Config::default() };
        let upstream = Upstream::new(&Client::new(&shard), "servers", config).map_err(|error| error.to_string())?;
        for _ in 0..500 {
            let since = shard.clock();
            text(upstream.get("/")).await.map_err(|error| error.to_string())?;
            told.borrow_mut().push(shard.clock() - since);
            shard.sleep(Duration::from_millis(shard.random() % 4)).await;
        }
        open.set(open.get() - 1);
        Ok::<_, String>(())
    });
    assert!(world.simulation.run_until(Duration::from_secs(300), || left.get() == 0));
    let mut times = times.take();
    times.sort();
    times[times.len() * 99 / 100]
}

#[test]
fn peak_ewma_goes_round_a_slow_endpoint() {
    let (even, clever) = (slowest(Rule::RoundRobin), slowest(Rule::PeakEwma));
    assert!(clever * 3 <= even, "{clever:?} and {even:?}");
}

/// Three shards that have a part of a service, of which one has called it for a while.
#[test]
fn shards_that_call_nobody_rest() {
    let mut world = World::new(1, Plan::CALM, 2);
    let endpoints = world.endpoints();
    let turns: Rc<RefCell<Vec<u64>>> = Rc::default();
    let told = Rc::clone(&turns);
    world.simulation.start(3, async move |shard: Shard| {
        shard.sleep(Duration::from_millis(5)).await;
        let client = client::Config { idle_time_max: Duration::from_secs(1), ..client::Config::default() };
        let config = Config { endpoints: endpoints.clone(), ..Config::default() };
        let upstream = Upstream::new(&Client::with(&shard, client), "servers", config);
        let upstream = upstream.map_err(|error| error.to_string())?;
        for _ in 0..100 * usize::from(shard.number() == 0) {
            text(upstream.get("/")).await.map_err(|error| error.to_string())?;
        }
        shard.sleep(Duration::from_secs(5)).await;
        let before = shard.turn_number();
        shard.sleep(Duration::from_secs(3600)).await;
        told.borrow_mut().push(shard.turn_number() - before);
        // Whoever calls again finds all as it was.
        text(upstream.get("/")).await.map_err(|error| error.to_string()).map(drop)
    });
    assert!(world.simulation.run_until(Duration::from_secs(7200), || turns.borrow().len() == 3));
    assert!(turns.borrow().iter().all(|turns| *turns < 100), "turns in an hour: {turns:?}");
}
