//! HTTP/1.1 clause by clause: requests that must be refused, and odd ones that must be served, as tables of data.
//!
//! Each [`Probe`] is shown to the built `showcase` over real sockets, on each backend, and to the same app on a simulated
//! machine, with its bytes cut in every way; what comes back must be the same each time. Where RFC 9110 and RFC 9112
//! leave a choice, the entry says ours.

#![allow(clippy::disallowed_methods, reason = "tests outside of any shard: real threads and a real clock")]

mod accepted;
mod probe;
mod refused;
#[cfg(target_os = "linux")]
#[path = "../showcase/served.rs"]
#[allow(dead_code, reason = "the tests of the showcase use the rest")]
mod served;
mod simulated;
#[cfg(target_os = "linux")]
mod sockets;
mod sweeps;
#[path = "../../../framework/tests/wire/mod.rs"]
mod wire;

use std::collections::BTreeSet;

use probe::Probe;

/// All entries of the tables, and of the sweeps what the tables do not have.
fn all() -> Vec<Probe> {
    let mut probes = [refused::probes(), accepted::probes()].concat();
    let mut known: BTreeSet<_> = probes.iter().map(|probe| probe.bytes.clone()).collect();
    let sweeps = [sweeps::refused(), sweeps::accepted()].concat();
    probes.extend(sweeps.into_iter().filter(|probe| known.insert(probe.bytes.clone())));
    probes
}

#[test]
fn the_tables_are_as_large_as_they_claim() {
    assert!(refused::probes().len() >= 250, "{} entries", refused::probes().len());
    assert!(accepted::probes().len() >= 250, "{} entries", accepted::probes().len());
    let mut known = BTreeSet::new();
    for Probe { name, bytes, .. } in [refused::probes(), accepted::probes()].concat() {
        assert!(known.insert(bytes), "{name}: an entry before asks the same");
    }
    let (refused, accepted) = (refused::probes().len(), accepted::probes().len());
    println!("{refused} must be refused, {accepted} are odd and valid; {} with the sweeps", all().len());
}
