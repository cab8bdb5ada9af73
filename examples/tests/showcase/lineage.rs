//! A running `showcase` and its successors, of which each is started by the one before, and the load on them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, test_kill_process, waitpid};

use crate::wire::{Client, WAIT_MAX, request};

/// How long a client pauses between two requests: some hundred requests a second from all of them.
const PAUSE: Duration = Duration::from_millis(4);

/// A client that has said nothing for so long is an idle one: a little less than `Config::drain_time_min`, 250 ms.
const SILENCE: Duration = Duration::from_millis(200);

/// Clients that keep their connections, and those that open one for each request.
const KEEPERS: usize = 8;
const OPENERS: usize = 4;

/// The processes, and what they say. All are killed, by their own ids, when it is dropped.
pub(crate) struct Lineage {
    first: Child,
    /// Oldest first; the last one serves.
    all: Vec<Pid>,
    pub(crate) address: SocketAddr,
    lines: Receiver<String>,
    heard: Vec<String>,
    log: Receiver<String>,
    said: Vec<String>,
}

impl Lineage {
    /// Starts the first.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Lineage {
        // Those whose parent has ended are ours to wait for.
        set_child_subreaper(Some(rustix::process::getpid())).expect("Linux has it");
        let mut first = command.spawn().expect("the program is there");
        let (all, lines) = (vec![Pid::from_child(&first)], gather(first.stdout.take().expect("a pipe")));
        let log = gather(first.stderr.take().expect("a pipe"));
        let address = SocketAddr::from(([0; 4], 0));
        let mut lineage = Lineage { first, all, address, lines, heard: Vec::new(), log, said: Vec::new() };
        lineage.address = lineage.hear("listening http://").parse().expect("an address in that line");
        lineage
    }

    /// The one that serves.
    pub(crate) fn serving(&self) -> Pid {
        *self.all.last().expect("one at least")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.serving(), signal).expect("it lives");
    }

    /// Waits for the next line on standard output that begins so, and gives its rest.
    #[track_caller]
    pub(crate) fn hear(&mut self, begin: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(WAIT_MAX) else {
                let log = self.log();
                panic!("nobody says {begin:?}: {:?}, {log}", self.heard);
            };
            self.heard.push(line.clone());
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    /// Waits for the next line of the log that says so, and gives all of it.
    #[track_caller]
    pub(crate) fn read(&mut self, what: &str) -> String {
        loop {
            let Ok(line) = self.log.recv_timeout(WAIT_MAX) else { panic!("the log has no {what:?}: {}", self.log()) };
            self.said.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Where the admin listener is.
    #[track_caller]
    pub(crate) fn admin(&mut self) -> SocketAddr {
        let line = self.read(" admin http://");
        line.rsplit("http://").next().and_then(|address| address.parse().ok()).expect("an address in that line")
    }

    /// All that was logged, by processes that have ended.
    fn whole_log(&mut self) -> String {
        while let Ok(line) = self.log.recv_timeout(WAIT_MAX) {
            self.said.push(line);
        }
        self.said.join("\n")
    }

    /// All that was logged so far.
    pub(crate) fn log(&mut self) -> String {
        self.said.extend(self.log.try_iter());
        self.said.join("\n")
    }

    /// Restarts, and waits until the successor serves and its predecessor drains.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.signal(Signal::USR2);
        let line = self.read("a successor starts");
        let id = line.rsplit("id=").next().and_then(|id| id.trim().parse().ok()).and_then(Pid::from_raw);
        self.all.push(id.expect("its process id"));
        assert_eq!(self.hear("listening http://"), self.address.to_string(), "the successor is where this one was");
        self.read("draining: the successor serves");
    }

    /// Waits until all that were succeeded have ended: they have drained in order.
    #[track_caller]
    pub(crate) fn outlive(&mut self) {
        let last = self.all.pop().expect("one at least");
        for id in std::mem::take(&mut self.all) {
            assert_eq!(end_of(id), 0, "{}", self.log());
        }
        self.all.push(last);
    }

    /// Tells the last one to end, and waits for all: the log of all of them.
    #[track_caller]
    pub(crate) fn end(mut self) -> String {
        self.signal(Signal::TERM);
        for id in std::mem::take(&mut self.all) {
            assert_eq!(end_of(id), 0, "{}", self.log());
        }
        self.whole_log()
    }

    /// The sockets that a process has open, by what the kernel calls them.
    pub(crate) fn sockets(id: Pid) -> BTreeSet<String> {
        let all = fs::read_dir(format!("/proc/{}/fd", id.as_raw_nonzero())).expect("proc is mounted");
        let links = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok());
        links.filter(|link| link.starts_with("socket:")).collect()
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.all) {
            if test_kill_process(id).is_ok() {
                let _ = kill_process(id, Signal::KILL);
                let _ = waitpid(Some(id), WaitOptions::empty());
            }
        }
        let _ = self.first.try_wait();
    }
}

/// Waits for the end of a process: its exit code.
#[track_caller]
fn end_of(id: Pid) -> i32 {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some((_, status)) = waitpid(Some(id), WaitOptions::NOHANG).expect("a child of ours by now, or once more")
        {
            return status.exit_status().expect("it ends by itself");
        }
        assert!(Instant::now() < deadline, "process {id:?} does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The lines of a pipe, as they come.
fn gather(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (says, lines) = channel();
    let _: JoinHandle<_> =
        thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| says.send(line)));
    lines
}

/// Clients that ask until they are told to stop: half of them for something that takes a time. What they are not to meet fails
/// the test, when they are joined: each gives the number of answers.
pub(crate) struct Load<'scope>(Vec<ScopedJoinHandle<'scope, usize>>);

/// What a load must meet with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A server at any time.
    Always,
    /// A server that may go: then connections are refused, and one that has not brought an answer may be reset.
    UntilItGoes,
}

impl<'scope> Load<'scope> {
    pub(crate) fn start(
        scope: &'scope Scope<'scope, '_>,
        address: SocketAddr,
        stop: &'scope AtomicBool,
        expect: Expect,
    ) -> Self {
        let client = |number| {
            let path = if number % 2 == 0 { "GET /plaintext" } else { "GET /sleep/7" };
            let keeps = number < KEEPERS;
            scope.spawn(move || {
                let mut answers = 0;
                while !stop.load(Ordering::Relaxed) {
                    match ask_on_one(address, path, keeps, stop, expect) {
                        Some(count) => answers += count,
                        None => break,
                    }
                }
                answers
            })
        };
        Load((0..KEEPERS + OPENERS).map(client).collect())
    }

    /// The number of answers.
    pub(crate) fn join(self) -> usize {
        self.0.into_iter().map(|client| client.join().expect("no request was lost")).sum()
    }
}

/// Asks on one connection until it ends as it was said to: how many answers came. `None` if the server is gone, where it may.
fn ask_on_one(address: SocketAddr, path: &str, keeps: bool, stop: &AtomicBool, expect: Expect) -> Option<usize> {
    let mut client = match Client::try_connect(address) {
        Ok(client) => client,
        Err(_) if expect == Expect::UntilItGoes => return None,
        Err(error) => panic!("a connection is refused: {error}"),
    };
    let mut answered = Instant::now();
    for count in 0.. {
        let sent = client.try_send(request(path));
        let silence = answered.elapsed();
        let answer = match client.next(false) {
            Ok(Some(answer)) if sent.is_ok() => answer,
            _ if count == 0 && expect == Expect::UntilItGoes => return None,
            // A drain closes what says nothing for that time, as it says; this machine kept the client off its CPU.
            Ok(None) if count > 0 && silence >= SILENCE => return Some(count),
            other => panic!("request {count} on a connection, {path}, after {silence:?}: {sent:?}, {other:?}"),
        };
        answered = Instant::now();
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        if answer.closes() {
            client.expect_end();
            return Some(count + 1);
        }
        if !keeps || stop.load(Ordering::Relaxed) {
            return Some(count + 1);
        }
        thread::sleep(PAUSE);
    }
    unreachable!("the load ends")
}
