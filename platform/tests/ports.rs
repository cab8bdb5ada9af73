//! Port zero, asked for by many at once: each gets a port that is its own, and nobody is refused.
//!
//! A port that was looked up, let go and then bound once more by a group was taken by another meanwhile: by a connection, so
//! that the group was refused, or by another group of datagram sockets, without a word, so that each got what was meant
//! for the other.

use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use shardwise_platform::{DatagramOptions, ListenOptions, Socket, datagram_sockets, listen};

const THREADS: usize = 4;
const GROUPS: usize = 12_000;
const SHARDS: usize = 2;
/// Groups that a thread keeps open at a time.
const KEPT: usize = 4;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Threads open groups, and keep the latest for a while, as another one's connections take ports of the same range.
fn every_port_has_one_owner(open: fn() -> Vec<Socket>) {
    let owned = Mutex::new(BTreeSet::new());
    let opening = AtomicUsize::new(THREADS);
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let open_and_keep = || {
        let _done = Done(&opening);
        let mut kept = VecDeque::new();
        for turn in 0..GROUPS + KEPT {
            if turn < GROUPS {
                let group = open();
                let ports: BTreeSet<_> = group.iter().map(|socket| socket.local_address().unwrap().port()).collect();
                assert_eq!((group.len(), ports.len()), (SHARDS, 1), "a group has one port");
                let port = ports.into_iter().next().unwrap();
                assert!(lock(&owned).insert(port), "port {port} has two owners");
                kept.push_back((port, group));
            }
            if turn >= KEPT {
                let (port, group) = kept.pop_front().unwrap();
                lock(&owned).remove(&port);
                drop(group);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(open_and_keep);
        }
        scope.spawn(|| {
            while opening.load(Ordering::Relaxed) > 0 {
                if let Ok(connection) = TcpStream::connect(address) {
                    drop(listener.accept());
                    drop(connection);
                }
            }
        });
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells that a thread has ended, however it did.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn every_listeners_port_is_its_own() {
    every_port_has_one_owner(|| listen(loopback(), SHARDS, &ListenOptions::default()).expect("a free port"));
}

#[test]
fn every_datagram_sockets_port_is_its_own() {
    every_port_has_one_owner(|| {
        datagram_sockets(loopback(), SHARDS, &DatagramOptions::default()).expect("a free port")
    });
}

#[test]
fn every_numbered_groups_port_is_its_own() {
    every_port_has_one_owner(|| {
        let options = DatagramOptions { numbered_at: Some(1) };
        datagram_sockets(loopback(), SHARDS, &options).expect("a free port")
    });
}
