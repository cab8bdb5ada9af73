//! A running `showcase`: started, watched, told to end, and killed when dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wire::{Client, WAIT_MAX};

/// Runs a test on one backend, if the host has it.
pub(crate) fn check(backend: &'static str, test: fn(&'static str)) {
    if backend == "uring"
        && let Some(why) = missing_uring()
    {
        println!("skipped: {}", why.trim());
        return;
    }
    test(backend);
}

/// Why this host has no io_uring.
pub(crate) fn missing_uring() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let look = || {
        let (_, log) = run_to_end(&mut showcase(&["--backend", "uring", "--addr", "192.0.2.1:1"]));
        log.contains("the uring backend cannot be had").then_some(log)
    };
    MISSING.get_or_init(look).as_deref()
}

/// The server, not yet started.
pub(crate) fn showcase(arguments: &[&str]) -> Command {
    program(env!("CARGO_BIN_EXE_showcase"), arguments)
}

/// A program that the environment of the tests does not reach.
pub(crate) fn program(path: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in
        ["SHARDWISE_BACKEND", "SHARDWISE_LOG", "SHARDWISE_URING_MASK", "RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC"]
    {
        command.env_remove(name);
    }
    command
}

/// Runs a program that ends by itself: how it ended, and what it said on standard error.
#[track_caller]
pub(crate) fn run_to_end(command: &mut Command) -> (ExitStatus, String) {
    let mut child = Killed(command.spawn().expect("the program is there"));
    let (log, _) = collect(&mut child.0);
    let status = child.wait();
    (status, log.join().expect("the log was read"))
}

/// A server that listens.
pub(crate) struct Served {
    child: Killed,
    pub(crate) address: SocketAddr,
    log: Option<JoinHandle<String>>,
    admin: Receiver<SocketAddr>,
    lines: Receiver<String>,
}

/// A process that is killed, by its id, when dropped.
struct Killed(Child);

impl Served {
    /// Starts a server on a port of the kernel's choice.
    #[track_caller]
    pub(crate) fn start(backend: &str, arguments: &[&str]) -> Served {
        Served::listening(showcase(arguments).args(["--addr", "127.0.0.1:0", "--backend", backend]))
    }

    /// Starts a program and waits for the line that says where it listens.
    #[track_caller]
    pub(crate) fn listening(command: &mut Command) -> Served {
        let mut child = Killed(command.spawn().expect("the program is there"));
        let (log, admin) = collect(&mut child.0);
        let (says, lines) = channel();
        let output = BufReader::new(child.0.stdout.take().expect("a pipe"));
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| says.send(line)));
        let Ok(line) = lines.recv_timeout(WAIT_MAX) else {
            drop(child);
            panic!("the server does not listen: {}", log.join().expect("the log was read"));
        };
        let address = line.strip_prefix("listening http://").expect("the line that scripts wait for");
        let address = address.parse().expect("an address in that line");
        Served { child, address, log: Some(log), admin, lines }
    }

    /// The address of its next line, with that scheme: where it listens besides.
    #[track_caller]
    pub(crate) fn next_address(&self, scheme: &str) -> SocketAddr {
        let line = self.lines.recv_timeout(WAIT_MAX).expect("a line more");
        let address = line.strip_prefix("listening ").and_then(|rest| rest.strip_prefix(scheme));
        address.unwrap_or_else(|| panic!("{line}")).parse().expect("an address in that line")
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A client of the admin listener, for a server that was told to have one.
    #[track_caller]
    pub(crate) fn admin_client(&self) -> Client {
        Client::connect(self.admin_address())
    }

    /// Where the admin listener is; asked once. It has one, since it is there first.
    #[track_caller]
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.recv_timeout(WAIT_MAX).expect("the line that says where")
    }

    /// The process, where the kernel tells about it.
    pub(crate) fn proc(&self) -> String {
        format!("/proc/{}", self.child.0.id())
    }

    pub(crate) fn terminate(&self) {
        let id = Pid::from_child(&self.child.0);
        kill_process(id, Signal::TERM).expect("the process lives");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.0.try_wait().expect("a child").is_none()
    }

    /// Waits for the end: the exit code, if it ended by itself, and what it said on standard error.
    #[track_caller]
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait();
        assert!(self.lines.recv().is_err(), "`listening` is said once");
        (status.code(), self.log.take().expect("not yet taken").join().expect("the log was read"))
    }

    /// Tells it to end: the exit code, and what it said.
    #[track_caller]
    pub(crate) fn stopped(self) -> (Option<i32>, String) {
        self.terminate();
        self.ended()
    }
}

impl Killed {
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gathers what a program says on standard error, so that its pipe never fills, and tells of its admin listener.
fn collect(child: &mut Child) -> (JoinHandle<String>, Receiver<SocketAddr>) {
    let mut pipe = BufReader::new(child.stderr.take().expect("a pipe"));
    let (tells, admin) = channel();
    let gathers = move || {
        let mut text = String::new();
        let mut begin = 0;
        while pipe.read_line(&mut text).expect("text") > 0 {
            if let Some((_, address)) = text[begin..].trim_end().split_once(" admin http://") {
                // Few ask.
                let _ = tells.send(address.parse().expect("an address in that line"));
            }
            begin = text.len();
        }
        text
    };
    (thread::spawn(gathers), admin)
}
