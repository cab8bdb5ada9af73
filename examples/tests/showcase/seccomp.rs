//! Hosts that forbid io_uring, as container runtimes do by default, and hosts that lack some of it: the server says so and
//! serves all the same.

use std::process::Command;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::options;
use crate::served::{Served, check, showcase};

/// Where a container's default profile answers EPERM.
const IO_URING_CALLS: [i64; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// Does something on a thread that may not use io_uring. A process started there may not either.
fn without_io_uring<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(&filter()).expect("the kernel takes a filter");
            work()
        });
        thread.join().expect("no panic in the thread")
    })
}

fn filter() -> BpfProgram {
    let calls = IO_URING_CALLS.into_iter().map(|call| (call, Vec::new())).collect();
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32));
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
    SeccompFilter::new(calls, others, these, arch).and_then(TryInto::try_into).expect("a sound filter")
}

#[test]
fn a_server_without_io_uring_says_why_and_serves() {
    let served = without_io_uring(|| Served::listening(&mut showcase(&["--addr", "127.0.0.1:0"])));
    let mut client = served.client();
    for (line, status) in
        [("GET /plaintext", 200), ("GET /json", 200), ("GET /bytes/100000", 200), ("GET /sleep/5", 204)]
    {
        assert_eq!(client.ask(line).status, status, "{line}");
    }
    let (code, log) = served.stopped();
    assert_eq!(code, Some(0));
    let line = log.lines().find(|line| line.contains("backend epoll")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("EPERM") && line.contains("seccomp"), "the cause and the remedy: {line}");
}

#[test]
fn a_forced_ring_that_cannot_be_had_is_refused_in_words() {
    without_io_uring(|| {
        let command: &mut Command = &mut showcase(&["--addr", "127.0.0.1:0", "--backend", "uring"]);
        options::check(command, &["uring backend cannot be had", "EPERM", "seccomp"]);
    });
}

#[test]
fn every_rung_of_the_ladder_serves() {
    check("uring", |backend| {
        let masks = [
            "defer_taskrun",
            "multishot_accept",
            "multishot_receive",
            "multishot_accept,multishot_receive",
            "single_issuer,defer_taskrun,coop_taskrun,taskrun_flag,submit_all,no_sqarray,registered_ring",
            "single_issuer,defer_taskrun,coop_taskrun,taskrun_flag,submit_all,no_sqarray,registered_ring,\
             multishot_accept,multishot_receive,zero_copy",
        ];
        for mask in masks {
            let mut command = showcase(&["--addr", "127.0.0.1:0", "--backend", backend]);
            let served = Served::listening(command.env("SHARDWISE_URING_MASK", mask));
            let mut clients: Vec<_> = (0..8).map(|_| served.client()).collect();
            for _ in 0..20 {
                assert!(
                    clients.iter_mut().all(|client| client.ask("GET /plaintext").text() == "Hello, World!"),
                    "{mask}"
                );
            }
            assert_eq!(clients[0].ask("GET /bytes/1000000").body.len(), 1_000_000, "{mask}");
            let (code, log) = served.stopped();
            assert_eq!(code, Some(0), "{mask}: {log}");
            assert!(mask.split(',').all(|name| log.contains(name)), "the start names what is left out: {log}");
        }
    });
}
