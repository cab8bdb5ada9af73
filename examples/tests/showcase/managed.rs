//! Under a service manager: sockets that it has opened, and what it is told.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::lineage::Lineage;
use crate::served::{program, run_to_end};
use crate::wire::{Client, WAIT_MAX};

/// The server as a manager starts it that has opened a socket for it: as descriptor 3, named, and for this process alone.
fn activated(socket: OwnedFd, arguments: &[&str]) -> Command {
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut command = program("/bin/sh", &["-c", script, env!("CARGO_BIN_EXE_showcase")]);
    command.args(arguments).stdin(Stdio::from(socket));
    command
}

/// The one socket is nobody's group: the first shard accepts for all. A client that comes before the server waits for it.
pub(crate) fn sockets_of_a_manager_are_served(backend: &'static str) {
    let opened = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = opened.local_addr().expect("it is bound");
    let mut early = Client::connect(address);
    early.send(crate::wire::request("GET /plaintext"));
    let arguments = ["--addr", &address.to_string(), "--backend", backend, "--shards", "2"];
    let socket = OwnedFd::from(opened.try_clone().expect("a descriptor"));
    let mut lineage = Lineage::start(&mut activated(socket, &arguments));
    assert_eq!(lineage.address, address);
    assert_eq!(early.answer().status, 200);
    let shards = |count| (0..count).map(|_| Client::connect(address)).collect::<Vec<_>>();
    let mut clients = shards(8);
    let mut seen: Vec<_> = clients.iter_mut().map(|client| client.ask("GET /shard").text()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["0", "1"], "both shards serve");
    // It goes from hand to hand, and the manager's name of it outlives all.
    lineage.restart();
    assert_eq!(Client::connect(address).ask("GET /plaintext").status, 200);
    let log = lineage.end();
    assert!(log.contains("the service manager has opened") && log.contains("shard 0 accepts for all"), "{log}");
    let _waits = Client::connect(address);
}

pub(crate) fn what_a_manager_passes_must_listen(backend: &'static str) {
    let stream = std::os::unix::net::UnixStream::pair().expect("a descriptor").0;
    let (status, log) = run_to_end(&mut activated(stream.into(), &["--addr", "127.0.0.1:0", "--backend", backend]));
    assert!(!status.success());
    assert!(log.contains("\"web\"") && log.contains("Use ListenStream="), "{log}");
}

/// A manager's end.
struct Manager(UnixDatagram);

impl Manager {
    /// The next that it is told, but for signs of life.
    #[track_caller]
    fn hears(&self) -> String {
        loop {
            let told = self.hears_any();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }

    #[track_caller]
    fn hears_any(&self) -> String {
        let mut room = [0; 1024];
        self.0.set_read_timeout(Some(WAIT_MAX)).expect("an option of a socket");
        let count = self.0.recv(&mut room).expect("the manager is told");
        String::from_utf8_lossy(&room[..count]).into_owned()
    }
}

fn check_manager(backend: &str, address: &UnixAddress, name: String) {
    let manager = Manager(UnixDatagram::bind_addr(address).expect("a free name"));
    let mut command = crate::served::showcase(&["--addr", "127.0.0.1:0", "--backend", backend, "--shards", "2"]);
    command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", Duration::from_millis(400).as_micros().to_string());
    let mut lineage = Lineage::start(&mut command);
    assert_eq!(manager.hears(), "READY=1");
    assert_eq!(manager.hears_any(), "WATCHDOG=1");
    lineage.restart();
    let reloading = manager.hears();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.hears(), format!("MAINPID={}\nREADY=1", lineage.serving().as_raw_nonzero()));
    lineage.outlive();
    assert_eq!(manager.hears_any(), "WATCHDOG=1", "of the successor");
    lineage.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1");
}

pub(crate) fn a_manager_is_told_of_the_servers_life(backend: &'static str) {
    let name = format!("shardwise-{backend}-{}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
    check_manager(backend, &UnixAddress::from_pathname(&path).expect("short"), path.display().to_string());
    std::fs::remove_file(path).expect("the manager's");
    check_manager(backend, &UnixAddress::from_abstract_name(&name).expect("short"), format!("@{name}"));
}

/// `/readyz` fails while everything goes on, for the time that was asked for.
pub(crate) fn readiness_fails_before_anything_else(backend: &'static str) {
    let arguments = ["--addr", "127.0.0.1:0", "--backend", backend, "--admin", "127.0.0.1:0", "--drain-notice", "1500"];
    let mut lineage = Lineage::start(&mut crate::served::showcase(&arguments));
    let admin: SocketAddr = lineage.admin();
    let mut client = Client::connect(lineage.address);
    lineage.signal(Signal::TERM);
    lineage.read("not ready any more");
    let ready = Client::connect(admin).ask("GET /readyz");
    assert_eq!((ready.status, ready.text().as_str()), (503, "not ready: draining\n"));
    assert!(Client::connect(admin).ask("GET /metrics").text().contains("shardwise_phase{phase=\"noticed\"} 1"));
    assert!(!client.ask("GET /plaintext").closes(), "it serves as before");
    assert!(!Client::connect(lineage.address).ask("GET /plaintext").closes());
    lineage.read("draining");
    assert!(client.ask("GET /plaintext").closes());
    lineage.read("drained");
}
