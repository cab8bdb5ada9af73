//! A running `gateway` with its file.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::served::{Served, program};
use crate::wire::{Client, WAIT_MAX};

/// A server by a file that can be changed.
pub(crate) struct Gateway {
    pub(crate) served: Served,
    folder: TempDir,
    /// What stands before whatever is changed.
    head: String,
}

impl Gateway {
    /// One shard, in the clear, with these routes and upstreams.
    #[track_caller]
    pub(crate) fn start(backend: &str, text: &str) -> Gateway {
        Gateway::start_on(backend, 1, "", text)
    }

    /// So many shards, and further listeners.
    #[track_caller]
    pub(crate) fn start_on(backend: &str, shards: usize, listeners: &str, text: &str) -> Gateway {
        let head = format!(
            "[process]\nshards = {shards}\nbackend = \"{backend}\"\nadmin = \"127.0.0.1:0\"\n[[listeners]]\naddress = \
             \"127.0.0.1:0\"\n{listeners}\n"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.toml");
        fs::write(&path, format!("{head}{text}")).expect("a file");
        let served = Served::listening(&mut command(&["--config", path.to_str().expect("text")]));
        Gateway { served, folder, head }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.served.address
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.served.client()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Puts another file in its file's place, as editors and tools do. The first line of `text` is that of number `first_line`.
    pub(crate) fn change(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{}{text}", self.head)).expect("a file");
        fs::rename(new, self.path()).expect("a folder of ours");
    }

    /// How many lines stand before what is changed.
    pub(crate) fn lines_before(&self) -> usize {
        self.head.lines().count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let proc = self.served.proc();
        let id = proc.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("one that is not zero"), signal).expect("the process lives");
    }

    /// Ends it. It must have been in order throughout: what it said.
    #[track_caller]
    pub(crate) fn stopped(self) -> String {
        let (code, log) = self.served.stopped();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        log
    }
}

/// The program, not yet started.
pub(crate) fn command(arguments: &[&str]) -> std::process::Command {
    program(env!("CARGO_BIN_EXE_gateway"), arguments)
}

/// One route for all, to one upstream with these endpoints.
pub(crate) fn to_one(endpoints: &[SocketAddr]) -> String {
    to_one_with(endpoints, "")
}

/// The same, with further lines of the upstream's.
pub(crate) fn to_one_with(endpoints: &[SocketAddr], lines: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    let endpoints = endpoints.join(", ");
    format!("[[routes]]\nprefix = \"/\"\nupstream = \"one\"\n[upstreams.one]\nendpoints = [{endpoints}]\n{lines}\n")
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} has not come to be");
        sleep(Duration::from_millis(10));
    }
}
