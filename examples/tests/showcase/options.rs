//! What cannot be done is refused in words, with an exit code that says so, and soon.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::served::{Served, program, run_to_end, showcase};

/// How long a refusal may take; it takes some milliseconds.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);

/// The program ends by itself, not well, and says all of this.
#[track_caller]
pub(crate) fn check(command: &mut Command, texts: &[&str]) {
    let begin = Instant::now();
    let (status, log) = run_to_end(command);
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {log}");
    assert!(begin.elapsed() < REFUSAL_TIME_MAX, "it took {:?}", begin.elapsed());
    assert!(texts.iter().all(|text| log.contains(text)), "{texts:?} in {log:?}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn bad_lines_are_refused_in_words() {
    check(&mut showcase(&["--shards", "0"]), &["--shards 0", "at least one", "--help"]);
    check(&mut showcase(&["--shards", "all"]), &["--shards all", "number"]);
    check(&mut showcase(&["--verbose"]), &["no option --verbose", "--help"]);
    check(&mut showcase(&["--addr", "here"]), &["--addr here", "127.0.0.1:8080"]);
    check(&mut showcase(&["--addr", "127.0.0.1:99999"]), &["--addr 127.0.0.1:99999"]);
    check(&mut showcase(&["--addr"]), &["--addr needs a value"]);
    check(&mut showcase(&["--backend", "kqueue"]), &["kqueue", "auto, uring or epoll"]);
    check(&mut showcase(&["--shards", "100000"]), &["100000"]);
    check(&mut showcase(&["--root", "/nowhere"]), &["--root /nowhere", "no such directory"]);
}

#[test]
fn bad_environments_are_refused_in_words() {
    // Without an option that says otherwise, the environment decides.
    check(program(env!("CARGO_BIN_EXE_hello"), &[]).env("SHARDWISE_BACKEND", "fast"), &["auto, uring or epoll"]);
    check(showcase(&["--addr", "127.0.0.1:0"]).env("SHARDWISE_BACKEND", "fast"), &["auto, uring or epoll"]);
    let mask = &mut showcase(&["--backend", "epoll", "--addr", "127.0.0.1:0"]);
    check(mask.env("SHARDWISE_URING_MASK", "teleport"), &["SHARDWISE_URING_MASK", "teleport", "multishot_receive"]);
}

#[test]
fn addresses_that_cannot_be_had_are_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound socket").to_string();
    check(&mut showcase(&["--addr", &address]), &[&address, "choose another port"]);
    let admin = ["--addr", "127.0.0.1:0", "--admin", &address];
    check(&mut showcase(&admin), &[&address]);
    // TEST-NET-1, RFC 5737: nobody has it.
    check(&mut showcase(&["--addr", "192.0.2.1:80"]), &["192.0.2.1:80", "0.0.0.0"]);
    // Another server of ours is no exception: shards share a port, servers do not.
    let served = Served::start("auto", &[]);
    let address = served.address.to_string();
    check(&mut showcase(&["--addr", &address]), &[&address, "choose another port"]);
    assert_eq!(served.client().ask("GET /plaintext").status, 200);
}

#[test]
fn help_is_no_error() {
    let (status, log) = run_to_end(&mut showcase(&["--help"]));
    assert!(status.success() && log.is_empty());
}
