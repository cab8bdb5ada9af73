//! Where endpoints come from: names, files, whatever finds them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::sim::Plan;
use shards::Shard;
use shardwise_net::client::{self, Resolver};
use shardwise_net::upstream::{Config, Discover, Endpoint, Endpoints, News, Upstream};

use super::kit::{World, who};

async fn seen(upstream: &Upstream) -> BTreeSet<u8> {
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.insert(who(upstream).await);
    }
    seen
}

#[test]
fn a_file_is_read_again() {
    let world = World::new(1, Plan::CALM, 4);
    let machine = world.simulation.machine().clone();
    machine.write_file("/list", "10.0.0.1:80\n10.0.0.2:80 # two\n");
    let config = Config { endpoints: Endpoints::file("/list"), ..Config::default() };
    world.call(config, async move |shard, upstream, _| {
        assert_eq!(seen(&upstream).await, BTreeSet::from([1, 2]), "it waits until they are known");
        machine.write_file("/list", "10.0.0.3:80\n10.0.0.2:80\n");
        shard.sleep(Duration::from_secs(3)).await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([2, 3]));
        machine.write_file("/list", "10.0.0.3:80\nnobody\n");
        shard.sleep(Duration::from_secs(3)).await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([2, 3]), "what is not in order changes nothing");
        machine.write_file("/list", "10.0.0.4:80\n");
        shard.sleep(Duration::from_secs(3)).await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([4]));
        assert_eq!(upstream.client().idle(), 1, "connections to those that are gone are closed");
    });
}

#[test]
fn names_are_looked_up_again() {
    let world = World::new(1, Plan::CALM, 3);
    let zone: Arc<Mutex<Option<Vec<u8>>>> = Arc::new(Mutex::new(Some(vec![1, 2])));
    let asked = Arc::clone(&zone);
    let resolver = Resolver::new(move |host, port| {
        assert_eq!(host, "servers.internal");
        let known = asked.lock().unwrap().clone();
        let known = known.ok_or_else(|| std::io::Error::other("the name server is away"))?;
        Ok(known.into_iter().map(|number| SocketAddr::from(([10, 0, 0, number], port))).collect())
    });
    let config = Config { endpoints: Endpoints::names(["servers.internal:80"]), ..Config::default() };
    let client = client::Config { resolver, ..client::Config::default() };
    world.call_by(client, config, async move |shard, upstream, _| {
        assert_eq!(seen(&upstream).await, BTreeSet::from([1, 2]));
        *zone.lock().unwrap() = Some(vec![3]);
        shard.sleep(Duration::from_secs(8)).await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([3]));
        *zone.lock().unwrap() = None;
        shard.sleep(Duration::from_secs(60)).await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([3]), "who cannot be asked for stays");
    });
}

#[test]
fn whatever_finds_them() {
    type Set = Result<Vec<u8>, &'static str>;
    struct Sets(Rc<RefCell<Vec<Set>>>);
    impl Discover for Sets {
        fn next<'a>(&'a mut self, shard: &'a Shard) -> News<'a> {
            Box::pin(async move {
                let next = self.0.borrow_mut().pop();
                match next {
                    None => std::future::pending().await,
                    Some(Err(why)) => Err(why.into()),
                    Some(Ok(numbers)) => {
                        shard.sleep(Duration::from_secs(1)).await;
                        Ok(numbers.into_iter().map(|number| Endpoint::new(([10, 0, 0, number], 80).into())).collect())
                    }
                }
            })
        }
    }
    let world = World::new(1, Plan::CALM, 3);
    let sets = Rc::new(RefCell::new(vec![Ok(vec![1, 3, 1]), Err("a hiccup"), Ok(vec![2])]));
    let config = Config { endpoints: Endpoints::found_by(move || Sets(Rc::clone(&sets))), ..Config::default() };
    world.call(config, async move |shard, upstream, _| {
        upstream.ready().await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([2]));
        shard.sleep(Duration::from_secs(4)).await;
        assert_eq!(seen(&upstream).await, BTreeSet::from([1, 3]));
        assert_eq!(upstream.survey().endpoints.len(), 2, "each counts once");
    });
}
