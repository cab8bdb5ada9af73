//! The choice of a backend at the start. Hosts that forbid io_uring, as container runtimes do by default, or have none, or too
//! little memory, or an old kernel: the server says so in one line, with the remedy, and serves all the same, unless it was
//! told by option or environment to use io_uring. Hosts that lack some of it get along without.

use std::process::Command;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::options;
use crate::served::{Served, check, missing_uring, showcase};

const SETUP: i64 = libc::SYS_io_uring_setup;
const ENTER: i64 = libc::SYS_io_uring_enter;
const REGISTER: i64 = libc::SYS_io_uring_register;

/// Ways in which a host has no io_uring: the calls that fail, how, and what a server says about cause and remedy.
const HOSTS: [(&[i64], i32, &[&str]); 7] = [
    // The default profiles of container runtimes.
    (&[SETUP, ENTER, REGISTER], libc::EPERM, &["security policy", "EPERM", "profile that admits io_uring_setup"]),
    (&[SETUP], libc::EACCES, &["security policy", "profile that admits io_uring_setup"]),
    // A profile that admits only some of the calls.
    (&[ENTER], libc::EPERM, &["security policy", "io_uring_enter"]),
    (&[SETUP, ENTER, REGISTER], libc::ENOSYS, &["the kernel has no io_uring", "ENOSYS", "Run on Linux 5.19"]),
    (&[SETUP], libc::ENOMEM, &["lockable memory", "ENOMEM", "Raise RLIMIT_MEMLOCK", "LimitMEMLOCK="]),
    // Kernels that know io_uring but none of our flags, or no rings of buffers.
    (&[SETUP], libc::EINVAL, &["older than 5.19", "EINVAL", "Run on Linux 5.19"]),
    (&[REGISTER], libc::EINVAL, &["older than 5.19", "EINVAL", "Run on Linux 5.19"]),
];

/// Those of them that this host can be made into: one that has no io_uring itself fails before it comes to the later calls.
fn hosts() -> impl Iterator<Item = (&'static [i64], i32, &'static [&'static str])> {
    let has_rings = missing_uring().is_none();
    HOSTS.into_iter().filter(move |(calls, ..)| has_rings || calls.contains(&SETUP))
}

/// Does something on a thread whose calls fail so. Those of a process that is started there do too.
fn on_a_host<T: Send>(calls: &[i64], errno: i32, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(&filter(calls, errno)).expect("the kernel takes a filter");
            work()
        });
        thread.join().expect("no panic in the thread")
    })
}

fn filter(calls: &[i64], errno: i32) -> BpfProgram {
    let calls = calls.iter().map(|&call| (call, Vec::new())).collect();
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
    SeccompFilter::new(calls, others, these, arch).and_then(TryInto::try_into).expect("a sound filter")
}

/// The server's name of its backend and the reason, as its metrics give it.
fn info(served: &Served) -> String {
    let metrics = served.admin_client().ask("GET /metrics").text();
    let mut lines = metrics.lines().filter(|line| line.starts_with("shardwise_backend_info{"));
    let line = lines.next().expect("each shard names its backend").to_owned();
    let backend = |line: &str| line.split(",shard=").next().map(str::to_owned);
    assert!(lines.all(|other| backend(other) == backend(&line)), "all shards use one kind: {metrics}");
    line
}

const ADDRESSES: [&str; 4] = ["--addr", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

#[test]
fn a_server_without_io_uring_says_why_once_and_serves() {
    for (calls, errno, texts) in hosts() {
        let served = on_a_host(calls, errno, || Served::listening(&mut showcase(&ADDRESSES)));
        let mut client = served.client();
        for (line, status) in
            [("GET /plaintext", 200), ("GET /json", 200), ("GET /bytes/100000", 200), ("GET /sleep/5", 204)]
        {
            assert_eq!(client.ask(line).status, status, "{line}");
        }
        let info = info(&served);
        let (code, log) = served.stopped();
        assert_eq!(code, Some(0));
        let lines: Vec<_> = log.lines().filter(|line| line.contains("io_uring")).collect();
        let [line] = lines[..] else { panic!("one line of errno {errno}: {log}") };
        assert!(line.contains("WARN") && line.contains("backend epoll: "), "{line}");
        for text in texts {
            assert!(line.contains(text), "cause and remedy of errno {errno}, \"{text}\": {line}");
            assert!(info.contains(text), "errno {errno}, \"{text}\": {info}");
        }
        assert!(info.starts_with("shardwise_backend_info{backend=\"epoll\",why=\""), "{info}");
    }
}

#[test]
fn a_forced_ring_that_cannot_be_had_is_refused_in_words() {
    for (calls, errno, texts) in hosts() {
        let texts = [&["the uring backend cannot be had here"], texts].concat();
        on_a_host(calls, errno, || {
            options::check(showcase(&ADDRESSES).args(["--backend", "uring"]), &texts);
            options::check(showcase(&ADDRESSES).env("SHARDWISE_BACKEND", "uring"), &texts);
        });
    }
}

/// Starts a server and checks what it says of its choice.
#[track_caller]
fn check_choice(command: &mut Command, backend: &str, why: &str) {
    let served = Served::listening(command);
    assert_eq!(served.client().ask("GET /plaintext").status, 200);
    let info = info(&served);
    assert!(info.starts_with(&format!("shardwise_backend_info{{backend=\"{backend}\",why=\"{why}")), "{info}");
    let (code, log) = served.stopped();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("backend {backend}: {why}")), "{log}");
}

fn with(option: &[&str], environment: Option<&str>) -> Command {
    let mut command = showcase(&ADDRESSES);
    command.args(option);
    if let Some(name) = environment {
        command.env("SHARDWISE_BACKEND", name);
    }
    command
}

#[test]
fn option_and_environment_choose_and_the_option_wins() {
    check_choice(&mut with(&["--backend", "epoll"], None), "epoll", "asked for");
    check_choice(&mut with(&[], Some("epoll")), "epoll", "asked for");
    check("uring", |_| {
        check_choice(&mut with(&[], None), "uring", "io_uring works");
        check_choice(&mut with(&[], Some("auto")), "uring", "io_uring works");
        check_choice(&mut with(&[], Some("uring")), "uring", "asked for");
        check_choice(&mut with(&["--backend", "uring"], Some("epoll")), "uring", "asked for");
        check_choice(&mut with(&["--backend", "auto"], Some("epoll")), "uring", "io_uring works");
        check_choice(&mut with(&["--backend", "epoll"], Some("uring")), "epoll", "asked for");
    });
    // What the option says, the environment need not even make sense.
    check_choice(&mut with(&["--backend", "epoll"], Some("fast")), "epoll", "asked for");
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
