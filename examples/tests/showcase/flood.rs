//! More connections than descriptors: the server does not spin while there are none, and serves as soon as there are.

use std::collections::VecDeque;
use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::crowd::metric;
use crate::served::{Served, program};
use crate::wire::WAIT_MAX;

/// Descriptors of the server, its backend's, listeners' and the admin listener's among them.
const DESCRIPTORS: usize = 64;

/// Connections that the flood keeps open.
const OPEN: usize = 500;

/// How long the flood lasts.
const TIME: Duration = Duration::from_secs(4);

/// Between two new ones, each in the place of the oldest.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn a_flood_without_descriptors_costs_little_and_passes(backend: &'static str) {
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    let options = ["--addr", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "1", "--backend", backend];
    let mut command = program("sh", &["-c", &limited, env!("CARGO_BIN_EXE_showcase")]);
    let served = Served::listening(command.args(options));
    let mut flood: VecDeque<TcpStream> = (0..OPEN).map(|_| connect(&served)).collect();
    let (begin, before) = (Instant::now(), cpu_time(&served));
    while begin.elapsed() < TIME {
        flood.push_back(connect(&served));
        flood.pop_front();
        thread::sleep(PAUSE);
    }
    let (time, cpu_time) = (begin.elapsed(), cpu_time(&served) - before);
    println!("{backend}: {cpu_time:?} of CPU time in {time:?}");
    assert!(cpu_time < time / 20, "{cpu_time:?} of CPU time in {time:?}");
    let ended = Instant::now();
    drop(flood);
    assert_eq!(served.client().ask("GET /plaintext").text(), "Hello, World!");
    let waited = ended.elapsed();
    println!("{backend}: served after {waited:?}");
    assert!(waited < Duration::from_secs(1), "served after {waited:?}");
    let pauses = metric(&served.admin_client().ask("GET /metrics").text(), "shardwise_accept_pauses_total");
    assert!(pauses > 0, "descriptors had run out");
    let (code, log) = served.stopped();
    assert_eq!(code, Some(0), "{log}");
}

#[track_caller]
fn connect(served: &Served) -> TcpStream {
    TcpStream::connect_timeout(&served.address, WAIT_MAX).expect("the kernel has a place for it")
}

/// What all of the process's threads have spent so far, user and kernel.
fn cpu_time(served: &Served) -> Duration {
    let stat = fs::read_to_string(served.proc() + "/stat").expect("the process lives");
    let fields = stat.rsplit_once(") ").expect("the program's name in parentheses").1;
    let ticks = |index: usize| fields.split(' ').nth(index).and_then(|ticks| ticks.parse::<u64>().ok()).expect("ticks");
    // The 14th and 15th of all fields, of which two come before; in hundredths of a second, as all of `/proc`.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
