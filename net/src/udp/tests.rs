use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use platform::{Completion, Error};
use shards::{Shard, Simulation};

use super::{Sending, UdpSocket};
use crate::limits::{DATAGRAMS_IN_FLIGHT_MAX, QUIC_SEGMENTS_MAX};

fn bind(shard: &Shard) -> UdpSocket {
    UdpSocket::bind(shard, "10.0.0.1:0".parse().expect("an address"), Arc::default()).expect("a socket")
}

#[test]
fn no_more_are_on_their_way_than_may_be() {
    Simulation::new(1).run(async |shard| {
        let (sender, receiver) = (bind(&shard), bind(&shard));
        let peer = receiver.local_address().expect("an address");
        let send = |place: u8| {
            let Some(mut datagram) = sender.spare() else { return false };
            assert!(datagram.data.is_empty(), "a spare holds nothing of before");
            datagram.peer = Some(peer);
            datagram.data.push(place);
            sender.send(datagram);
            true
        };
        for place in 0..DATAGRAMS_IN_FLIGHT_MAX {
            assert!(send(place as u8));
        }
        assert!(!send(0), "nothing has left in this turn");
        poll_fn(|cx| sender.poll_room(cx)).await;
        assert!(send(0), "there is room again");
        for _ in 0..=DATAGRAMS_IN_FLIGHT_MAX {
            poll_fn(|cx| receiver.poll_receive(cx)).await.expect("a datagram");
        }
        assert!(poll_fn(|cx| Poll::Ready(receiver.poll_receive(cx).is_pending())).await, "that was all");
        assert_eq!(sender.stats.datagrams_sent.get(), DATAGRAMS_IN_FLIGHT_MAX as u64 + 1);
    });
}

#[test]
fn a_way_out_that_takes_no_batches_gets_none() {
    Simulation::new(1).run(async |shard| {
        let socket = Rc::new(bind(&shard));
        let ended = |error, is_batch| {
            socket.sent(&mut Sending::default(), Completion { result: Err(error), more: false }, is_batch);
            socket.batch_max()
        };
        assert_eq!(ended(Error::Unreachable, true), QUIC_SEGMENTS_MAX, "that says nothing of batches");
        assert_eq!(ended(Error::Invalid, false), QUIC_SEGMENTS_MAX, "nor does one that was none");
        assert_eq!(ended(Error::Invalid, true), 1);
        assert_eq!(socket.stats.datagrams_unsent.get(), 3);
    });
}
