//! The same app on a simulated machine, where each piece of the input arrives by itself: every way to cut gives the same.

#[path = "../../src/bin/showcase/app.rs"]
mod app;

use std::time::Duration;

use shardwise::test::{Client, Connection, Server, builder};

use crate::accepted;
use crate::probe::{Came, Cut, Probe};
use crate::wire::{Answer, parse};

/// Between two pieces: more than the simulated network takes for one.
const PAUSE: Duration = Duration::from_millis(2);

fn serve() -> Server {
    builder().start(|shard| app::app(&shard, None))
}

/// Shows probes to one server, each cut in all of the ways given for it.
#[track_caller]
fn check(probes: Vec<Probe>, cuts: fn(usize, &Probe) -> Vec<Cut>) {
    let server = serve();
    let faults: Vec<String> = server.run(async move |client| {
        let mut faults = Vec::new();
        for (index, probe) in probes.iter().enumerate() {
            for cut in cuts(index, probe) {
                let came = asked(&client, probe, cut).await;
                faults.extend(probe.check(&came, &format!("{cut:?}")).err());
            }
        }
        faults
    });
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
    server.end();
}

/// All that comes back, in words.
async fn asked(client: &Client, probe: &Probe, cut: Cut) -> Vec<String> {
    let (mut talk, mut came) = (Talk::new(client.open().await), Came::nothing(probe));
    for piece in cut.pieces(&probe.input()) {
        // The server may have had enough.
        if talk.connection.send(piece).await.is_err() {
            break;
        }
        client.sleep(PAUSE).await;
    }
    while came.take(talk.next(came.to_head()).await) {}
    came.told
}

/// A connection and what has come over it.
struct Talk {
    connection: Connection,
    input: Vec<u8>,
    has_ended: bool,
}

impl Talk {
    fn new(connection: Connection) -> Talk {
        Talk { connection, input: Vec::new(), has_ended: false }
    }

    async fn next(&mut self, to_head: bool) -> Result<Option<Answer>, String> {
        loop {
            if !self.input.is_empty()
                && let Some((answer, bytes)) = parse(&self.input, to_head, self.has_ended)?
            {
                self.input.drain(..bytes);
                return Ok(Some(answer));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.connection.receive().await {
                Ok(Some(bytes)) => self.input.extend_from_slice(&bytes),
                Ok(None) | Err(_) => self.has_ended = true,
            }
        }
    }
}

#[test]
fn every_probe_is_judged_the_same_whatever_the_cuts() {
    check(crate::all(), |index, _| vec![Cut::Whole, Cut::LineEnds, Cut::Random(index as u64)]);
}

#[test]
fn every_probe_is_judged_the_same_byte_by_byte() {
    check(crate::all(), |_, _| vec![Cut::Bytes]);
}

#[test]
fn those_who_wait_are_told_to_go_on_or_not_to() {
    check(accepted::waiting(), |_, _| vec![Cut::AfterHead]);
}

/// Short entries of each kind, cut once at each place there is.
#[test]
fn a_cut_at_any_place_changes_nothing() {
    let probes = crate::all().into_iter().step_by(11).filter(|probe| probe.bytes.len() < 250).collect();
    check(probes, |_, probe| (1..probe.input().len()).map(Cut::At).collect());
}
