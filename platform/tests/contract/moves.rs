//! A socket moves from one reactor to another: nothing that has arrived is lost, and what it leaves behind knows it no more.

use shardwise_platform::{Completion, Error, Handle, Op, Outcome, Token, Wait};

use crate::bed::{Bed, WAIT_MAX, pattern};

/// Two reactors of one machine, which take turns.
struct Two<'a> {
    here: &'a mut Bed,
    there: Bed,
}

impl Two<'_> {
    fn new(here: &mut Bed) -> Two<'_> {
        let there = here.beside();
        Two { here, there }
    }

    fn turn(&mut self) {
        self.here.enter(Wait::No);
        self.there.enter(Wait::No);
    }

    /// Takes turns until `look` gives something.
    #[track_caller]
    fn until<T>(&mut self, mut look: impl FnMut(&mut Bed, &mut Bed) -> Option<T>) -> T {
        let deadline = self.here.now() + WAIT_MAX;
        loop {
            if let Some(seen) = look(self.here, &mut self.there) {
                return seen;
            }
            assert!(self.here.now() < deadline, "{}: it comes in time", self.here.rung.name);
            self.turn();
        }
    }

    /// Takes `count` bytes from a receive stream of the other reactor.
    #[track_caller]
    fn read_there(&mut self, token: &Token, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            match self.until(|_, there| there.take(token, 1)) {
                Completion { result: Ok(Outcome::Received(chunk)), more: true } => bytes.extend_from_slice(&chunk),
                other => panic!("{}: {other:?} after {} bytes", self.here.rung.name, bytes.len()),
            }
        }
        bytes
    }

    /// Sends from here while both take turns.
    #[track_caller]
    fn send_here(&mut self, socket: Handle, data: &[u8]) {
        let send = self.here.start(send(socket, data));
        let Completion { result, .. } = self.until(|here, _| here.take(&send, 1));
        assert!(matches!(result, Ok(Outcome::Sent { bytes, .. }) if bytes == data.len()), "{result:?}");
    }

    #[track_caller]
    fn finish(mut self) {
        self.until(|here, there| {
            let counts = [here.holdings(), there.holdings()].map(|holdings| holdings.operations + holdings.handles);
            (counts == [0, 0]).then_some(())
        });
        self.there.finish();
    }
}

fn send(socket: Handle, data: &[u8]) -> Op {
    Op::Send { socket, data: data.to_vec().into(), zero_copy: false }
}

pub(crate) fn a_released_socket_goes_on_elsewhere(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let mut two = Two::new(bed);
    let data = pattern(3000);
    two.send_here(client, &data[..1000]);
    let peer = two.here.peer_address(server).expect("it is connected");
    let released = two.here.release(server).expect("nothing is in flight on it");
    two.send_here(client, &data[1000..2000]);
    let moved = two.there.adopt(released).expect("there is room for it");
    assert_eq!(two.there.peer_address(moved), Ok(peer));
    assert!(matches!(two.here.peer_address(server), Err(Error::Closed)), "the old name is stale");
    let receive = two.there.receive(moved);
    assert!(two.read_there(&receive, 2000) == data[..2000]);
    two.send_here(client, &data[2000..]);
    assert!(two.read_there(&receive, 1000) == data[2000..]);

    let (answer, back) = (two.there.start(send(moved, b"from elsewhere")), two.here.receive(client));
    let sent = two.until(|_, there| there.take(&answer, 1));
    assert!(matches!(sent.result, Ok(Outcome::Sent { bytes: 14, .. })), "{sent:?}");
    let mut text = Vec::new();
    while text.len() < 14 {
        let Ok(Outcome::Received(chunk)) = two.until(|here, _| here.take(&back, 1)).result else {
            panic!("chunks come")
        };
        text.extend_from_slice(&chunk);
    }
    assert_eq!(text, b"from elsewhere");
    two.there.abandon(receive);
    two.there.close(moved);
    let end = two.until(|here, _| here.take(&back, 1));
    assert!(matches!(end, Completion { result: Ok(Outcome::EndOfInput), more: false }), "{end:?}");
    two.here.close(client);
    two.finish();
}

/// What the first reactor was told of the socket does not reach it any more, and what it is told again counts.
pub(crate) fn a_socket_moves_there_and_back(bed: &mut Bed) {
    let (client, mut server) = bed.pair();
    let mut two = Two::new(bed);
    for round in 0..4_u8 {
        // It waits once here, so that the kernel is asked for news of it.
        let receive = two.here.receive(server);
        two.turn();
        two.send_here(client, &[round]);
        let got = two.until(|here, _| here.take(&receive, 1));
        assert!(matches!(&got.result, Ok(Outcome::Received(chunk)) if **chunk == [round]), "{got:?}");
        drop(got);
        two.here.cancel(&receive);
        let end = two.until(|here, _| here.take(&receive, 1));
        assert!(matches!(end, Completion { result: Err(Error::Cancelled), more: false }), "{end:?}");

        let released = two.here.release(server).expect("nothing is in flight on it");
        let moved = two.there.adopt(released).expect("there is room for it");
        let receive = two.there.receive(moved);
        two.turn();
        two.send_here(client, &[round, 0xff]);
        assert_eq!(two.read_there(&receive, 2), [round, 0xff]);
        two.there.cancel(&receive);
        let end = two.until(|_, there| there.take(&receive, 1));
        assert!(matches!(end.result, Err(Error::Cancelled)), "{end:?}");
        let released = two.there.release(moved).expect("nothing is in flight on it");
        server = two.here.adopt(released).expect("there is room for it");
    }
    two.here.close_all([client, server]);
    two.finish();
}

pub(crate) fn what_is_in_flight_keeps_its_socket(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let receive = bed.receive(server);
    assert!(matches!(bed.release(server), Err(Error::Invalid)), "before it has reached the kernel");
    bed.enter(Wait::No);
    assert!(matches!(bed.release(server), Err(Error::Invalid)), "and afterwards");
    bed.send(client, b"still here");
    assert_eq!(bed.read(&receive, 10), b"still here");
    bed.abandon(receive);
    // What was abandoned goes on until the kernel is done with it.
    let deadline = bed.now() + WAIT_MAX;
    let released = loop {
        match bed.release(server) {
            Ok(released) => break released,
            Err(error) => assert_eq!(error, Error::Invalid),
        }
        assert!(bed.now() < deadline, "it ends");
        bed.enter(Wait::No);
    };
    assert!(matches!(bed.release(server), Err(Error::Closed)), "it has left");
    let again = bed.adopt(released).expect("there is room for it");
    let receive = bed.receive(again);
    bed.send(client, b"again");
    assert_eq!(bed.read(&receive, 5), b"again");
    bed.abandon(receive);
    bed.close_all([client, again]);
    assert!(matches!(bed.release(client), Err(Error::Closed)), "what is closed stays");
}

pub(crate) fn a_socket_that_nobody_adopts_is_closed(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let receive = bed.receive(client);
    drop(bed.release(server).expect("nothing is in flight on it"));
    assert!(matches!(bed.end(receive), Ok(Outcome::EndOfInput)));
    bed.close(client);
}
