//! Two shards on two CPUs: each a pinned thread with a ring of its own, and both serve.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use crate::served::Served;
use crate::wire;

pub(crate) fn both_shards_answer_pinned_each_with_its_own_ring(backend: &'static str) {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        println!("skipped: this host has one CPU");
        return;
    }
    let served = Served::start(backend, &["--shards", "2"]);
    // The kernel spreads connections by chance: that 64 all go one way happens once in 2^63 runs.
    let mut clients: Vec<_> = (0..64).map(|_| served.client()).collect();
    for _ in 0..3 {
        let answers: BTreeSet<_> = clients.iter_mut().map(|client| client.ask("GET /shard").text()).collect();
        assert_eq!(answers.iter().map(String::as_str).collect::<Vec<_>>(), ["0", "1"]);
    }
    // A connection stays where it is.
    let first = clients[0].ask("GET /shard").text();
    assert!((0..20).all(|_| clients[0].ask("GET /shard").text() == first));

    let cpus: Vec<_> = ["shard-0", "shard-1"].map(|name| cpus_of(&served, name)).into();
    assert!(cpus.iter().all(|cpus| cpus.parse::<usize>().is_ok()), "each is pinned to one CPU: {cpus:?}");
    assert_ne!(cpus[0], cpus[1]);
    let rings = if backend == "uring" { 2 } else { 0 };
    assert_eq!(descriptors(&served, "anon_inode:[io_uring]"), rings);
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn every_shard_reaches_every_other(backend: &'static str) {
    let served = Served::start(backend, &["--shards", "2"]);
    let mut clients: Vec<_> = (0..16).map(|_| served.client()).collect();
    for client in &mut clients {
        for number in ["0", "1"] {
            let answer = client.ask(&format!("GET /mesh/{number}"));
            assert_eq!((answer.status, answer.text().as_str()), (200, number));
        }
        for none in ["2", "1000000", "18446744073709551615"] {
            assert_eq!(client.ask(&format!("GET /mesh/{none}")).status, 404, "{none}");
        }
        assert_eq!(client.ask("GET /mesh/first").status / 100, 4);
    }
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn a_key_is_counted_once_for_all_shards(backend: &'static str) {
    let served = Served::start(backend, &["--shards", "2"]);
    let mut clients: Vec<_> = (0..16).map(|_| served.client()).collect();
    let mut expect = 0;
    for _ in 0..20 {
        for client in &mut clients {
            expect += 1;
            for key in ["ada", "bob", "%C3%A9"] {
                assert_eq!(client.ask(&format!("GET /count/{key}")).text(), expect.to_string(), "{key}");
            }
        }
    }
    // Many at once: every number comes once.
    let path = wire::request("GET /count/eve").repeat(10);
    clients.iter_mut().for_each(|client| client.send(&path));
    let counts =
        clients.iter_mut().flat_map(|client| (0..10).map(|_| client.answer().text().parse().expect("a count")));
    let counts: BTreeSet<usize> = counts.collect();
    assert_eq!(counts, (1..=160).collect());
    assert_eq!(served.stopped().0, Some(0));
}

/// The CPUs that a thread may run on, as the kernel tells them.
fn cpus_of(served: &Served, thread: &str) -> String {
    let tasks = fs::read_dir(served.proc() + "/task").expect("proc is mounted");
    let mut found = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        (field("Name:")? == thread).then(|| field("Cpus_allowed_list:"))?
    });
    let cpus = found.next().unwrap_or_else(|| panic!("a thread {thread}"));
    assert!(found.next().is_none(), "one thread {thread}");
    cpus
}

fn descriptors(served: &Served, kind: &str) -> usize {
    let all = fs::read_dir(served.proc() + "/fd").expect("proc is mounted");
    all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).filter(|link| link.to_str() == Some(kind)).count()
}
