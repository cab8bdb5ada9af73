//! The built `showcase` on real sockets, on each backend that the host has.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::probe::{Came, Cut, Probe};
use crate::served::{self, Served};
use crate::wire::Client;

/// Connections at a time.
const CLIENTS: usize = 4;

fn check(backend: &'static str, cut: fn(usize) -> Cut) {
    if backend == "uring"
        && let Some(why) = served::missing_uring()
    {
        println!("skipped: {}", why.trim());
        return;
    }
    let served = Served::start(backend, &[]);
    let address = served.address;
    let (probes, next) = (crate::all(), AtomicUsize::new(0));
    let ask = || {
        let mut faults = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(probe) = probes.get(index) else { return faults };
            let cut = cut(index);
            faults.extend(probe.check(&asked(address, probe, cut), &format!("{cut:?}")).err());
        }
    };
    let faults: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
    });
    assert!(faults.is_empty(), "{} of {} on {backend}:\n{}", faults.len(), probes.len(), faults.join("\n"));
    let (code, log) = served.stopped();
    assert_eq!(code, Some(0));
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

/// All that comes back, in words.
fn asked(address: SocketAddr, probe: &Probe, cut: Cut) -> Vec<String> {
    let (mut client, mut came) = (Client::connect(address), Came::nothing(probe));
    for piece in cut.pieces(&probe.input()) {
        // The server may have had enough.
        if client.try_send(piece).is_err() {
            break;
        }
    }
    while came.take(client.next(came.to_head())) {}
    came.told
}

/// Each way to cut, on both backends.
macro_rules! on_each_backend {
    ($($name:ident: $cut:expr),* $(,)?) => {
        mod uring {
            use super::*;
            $(#[test] fn $name() { check("uring", $cut); })*
        }

        mod epoll {
            use super::*;
            $(#[test] fn $name() { check("epoll", $cut); })*
        }
    };
}

on_each_backend! {
    in_one_piece: |_| Cut::Whole,
    byte_by_byte: |_| Cut::Bytes,
    cut_at_line_ends: |_| Cut::LineEnds,
    cut_by_chance: |index| Cut::Random(index as u64),
}
