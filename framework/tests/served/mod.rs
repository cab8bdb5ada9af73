//! An app served inside this process, by one shard on a thread of its own, over real sockets.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use platform::select;
use shards::{Remote, Shard};
use shardwise::{App, BackendKind, Choice, Runtime};

use crate::wire::{Client, WAIT_MAX};

/// Runs a test on a backend, unless the host lacks it.
pub(crate) fn check(kind: BackendKind, app: fn() -> App, test: fn(&Served)) {
    match select(Choice::Force(kind), &platform::Config::default()) {
        Ok(_) => test(&Served::start(kind, app)),
        Err(error) => println!("skipped: {error}"),
    }
}

/// A server that is drained when dropped, and must then end well.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    remote: Remote,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Served {
    fn start(kind: BackendKind, app: fn() -> App) -> Served {
        // Somebody may take a port that was free a moment ago; not twenty times.
        (0..20).find_map(|_| Served::try_start(kind, app).ok()).expect("two free ports")
    }

    fn try_start(kind: BackendKind, app: fn() -> App) -> Result<Served, String> {
        let (address, admin) = free_addresses().map_err(|error| error.to_string())?;
        let (say, remotes) = channel();
        let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).admin(admin);
        let thread = thread::spawn(move || {
            let main = async move |shard: Shard| {
                say.send(shard.remote()).expect("the test waits");
                app().serve(address).await
            };
            runtime.run(main).map_err(|error| error.to_string())
        });
        let Ok(remote) = remotes.recv_timeout(WAIT_MAX) else {
            return Err(thread.join().expect("no panic").expect_err("it has not started"));
        };
        let deadline = Instant::now() + WAIT_MAX;
        while TcpStream::connect(address).is_err() {
            if thread.is_finished() {
                return Err(thread.join().expect("no panic").expect_err("it does not serve"));
            }
            assert!(Instant::now() < deadline, "the server listens in time");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Served { address, admin, remote, thread: Some(thread) })
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The value of a metric without labels but the shard's.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = Client::connect(self.admin).ask("GET /metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A shard that has ended needs no drain.
        let _ = self.remote.send(Shard::drain);
        let ended = self.thread.take().expect("joined once").join();
        if !thread::panicking() {
            assert_eq!(ended.expect("no panic of the runtime"), Ok(()));
        }
    }
}

/// Two addresses whose ports were free a moment ago.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?, other.local_addr()?))
}
