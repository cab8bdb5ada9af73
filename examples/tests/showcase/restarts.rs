//! Hot restarts and drains under load: no request on an open connection fails, and a restart refuses no connection.
//!
//! `SHARDWISE_RESTARTS=100` for the full count.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::lineage::{Expect, Lineage, Load};
use crate::served::{program, showcase};
use crate::wire::Client;

/// How often, unless the environment says otherwise.
const COUNT: usize = 5;

fn count() -> usize {
    std::env::var("SHARDWISE_RESTARTS").ok().map_or(COUNT, |count| count.parse().expect("a number"))
}

fn start(backend: &str, more: &[&str]) -> Lineage {
    Lineage::start(showcase(&["--addr", "127.0.0.1:0", "--backend", backend]).args(more))
}

/// Does something under load, and gives the number of answers.
fn under_load(address: std::net::SocketAddr, expect: Expect, work: impl FnOnce()) -> usize {
    /// Tells the clients to stop, however the work ends.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopping = Stop(&stop);
        let load = Load::start(scope, address, &stop, expect);
        thread::sleep(Duration::from_millis(50));
        work();
        drop(stopping);
        load.join()
    })
}

pub(crate) fn restarts_lose_nothing(backend: &'static str) {
    let mut lineage = start(backend, &["--shards", "2", "--admin", "127.0.0.1:0"]);
    let admin = lineage.admin();
    let (begin, address) = (Instant::now(), lineage.address);
    let mut slow = Client::connect(address);
    slow.send(crate::wire::request("GET /sleep/1500"));
    let answers = under_load(address, Expect::Always, || {
        for _ in 0..count() {
            let before = lineage.serving();
            lineage.restart();
            // The predecessor's connections are its own: nothing but what listens is in both, with the admin listener.
            let (before, after) = (Lineage::sockets(before), Lineage::sockets(lineage.serving()));
            let shared = before.intersection(&after).count();
            assert!(shared <= 3, "{shared} sockets are in both: {before:?}, {after:?}");
            let ready = Client::connect(admin).ask("GET /readyz");
            assert_eq!((ready.status, ready.text().as_str()), (200, "ready\n"));
            let metrics = Client::connect(admin).ask("GET /metrics").text();
            assert!(metrics.contains("shardwise_phase{phase=\"serving\"} 1"), "{metrics}");
        }
        thread::sleep(Duration::from_millis(50));
    });
    println!("{backend}: {} restarts in {:?}, {answers} answers, none lost", count(), begin.elapsed());
    assert!(answers > 50 * count(), "there was load: {answers} answers");
    assert_eq!(slow.answer().status, 204, "what was in hand before all of it");
    lineage.outlive();
    let log = lineage.end();
    assert!(!log.contains("limit has passed") && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

pub(crate) fn drains_lose_nothing_that_is_open(backend: &'static str) {
    let begin = Instant::now();
    let mut answers = 0;
    for _ in 0..count() {
        let lineage = start(backend, &["--shards", "2"]);
        answers += under_load(lineage.address, Expect::UntilItGoes, || {
            let log = lineage.end();
            assert!(log.contains("drained") && !log.contains("limit has passed"), "{log}");
        });
    }
    println!("{backend}: {} drains in {:?}, {answers} answers, none lost", count(), begin.elapsed());
    assert!(answers > 50 * count(), "there was load: {answers} answers");
}

/// The number of shards is that of the CPUs that the process may use, which a successor has from the thread that starts it.
pub(crate) fn a_successor_may_have_fewer_shards_and_more(backend: &'static str) {
    let all = sched_getaffinity(None).expect("the kernel tells");
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).take(2).collect();
    let [first, second] = cpus[..] else { return println!("skipped: this host has one CPU") };
    let these = |cpus: &[usize]| {
        let mut set = CpuSet::new();
        cpus.iter().for_each(|&cpu| set.set(cpu));
        set
    };
    let one = thread::spawn(move || {
        sched_setaffinity(None, &these(&[first])).expect("the kernel lets it");
        start(backend, &[])
    });
    let mut lineage = one.join().expect("it starts");
    let address = lineage.address;
    let listening = |lineage: &Lineage| listeners(lineage, address);
    assert_eq!(listening(&lineage), 1);
    let answers = under_load(address, Expect::Always, || {
        // One socket more; then both for one shard; then one each, as they were left.
        for (cpus, shards) in [(&[first, second][..], 2), (&[second], 1), (&[first, second], 2), (&[first], 1)] {
            sched_setaffinity(Some(lineage.serving()), &these(cpus)).expect("the kernel lets it");
            lineage.restart();
            lineage.outlive();
            assert_eq!(listening(&lineage), 2, "every socket is taken");
            let seen: std::collections::BTreeSet<_> =
                (0..64).map(|_| Client::connect(address).ask("GET /shard").text()).collect();
            assert_eq!(seen.len(), shards);
        }
    });
    assert!(answers > 0);
    let log = lineage.end();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// How many sockets listen at an address, whoever has them.
fn listeners(lineage: &Lineage, address: std::net::SocketAddr) -> usize {
    let path = format!("/proc/{}/net/tcp", lineage.serving().as_raw_nonzero());
    let port = format!(":{:04X}", address.port());
    let table = fs::read_to_string(path).expect("proc is mounted");
    let listens = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(1).is_some_and(|local| local.ends_with(&port)) && words.get(3) == Some(&"0A")
    };
    table.lines().filter(listens).count()
}

/// A program in a place of its own, where it can be replaced.
struct Installed(PathBuf);

impl Installed {
    fn new(name: &str) -> io::Result<Self> {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        fs::copy(env!("CARGO_BIN_EXE_showcase"), directory.join("server"))?;
        Ok(Installed(directory))
    }

    fn path(&self) -> PathBuf {
        self.0.join("server")
    }

    /// Puts a script in its place, or nothing.
    fn replace(&self, script: Option<&str>) -> io::Result<()> {
        fs::remove_file(self.path())?;
        if let Some(script) = script {
            fs::write(self.0.join("next"), script)?;
            fs::set_permissions(self.0.join("next"), fs::Permissions::from_mode(0o755))?;
            fs::rename(self.0.join("next"), self.path())?;
        }
        Ok(())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn while_a_successor_fails_the_process_serves_on(backend: &'static str) {
    let installed = Installed::new(&format!("fails-{backend}")).expect("a directory for tests");
    let path = installed.path().into_os_string().into_string().expect("a plain name");
    let mut lineage =
        Lineage::start(&mut program(&path, &["--addr", "127.0.0.1:0", "--shards", "2", "--backend", backend]));
    let address = lineage.address;
    let other = if backend == "uring" { "epoll" } else { "uring" };
    let real = env!("CARGO_BIN_EXE_showcase");
    let on_another = format!("#!/bin/sh\nexec {real} --addr 127.0.0.1:0 --backend {other}\n");
    let on_a_wrong_address = format!("#!/bin/sh\nexec {real} --addr 192.0.2.1:1 --backend {backend}\n");
    let answers = under_load(address, Expect::Always, || {
        for (script, why) in [
            (Some("#!/bin/sh\nexit 3\n"), "it ended before it was ready"),
            (Some(on_another.as_str()), "cannot"),
            (Some(on_a_wrong_address.as_str()), "cannot listen on 192.0.2.1:1"),
            (None, "no successor, and this process serves on"),
        ] {
            installed.replace(script).expect("a file in a directory for tests");
            lineage.signal(Signal::USR2);
            let line = lineage.read("this process serves on");
            assert!(line.contains(why), "{line}");
            assert_eq!(Client::connect(address).ask("GET /plaintext").status, 200);
        }
        // And the next may not fail.
        fs::copy(real, installed.path()).expect("a file in a directory for tests");
        lineage.restart();
        lineage.outlive();
    });
    assert!(answers > 50, "there was load: {answers} answers");
    lineage.end();
}
