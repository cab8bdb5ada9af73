//! Two shards on two CPUs: each a pinned thread with a ring of its own, and both serve.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use crate::served::Served;

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
