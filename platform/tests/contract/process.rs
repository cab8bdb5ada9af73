//! What belongs to the whole process: descriptors and their limit, and a reactor's end. These tests run alone, and the bed
//! compares the number of open descriptors before and after each.

use std::net::TcpStream;
use std::time::Duration;

use shardwise_platform::limits::TEARDOWN_WAIT_MAX;
use shardwise_platform::{Group, Op, OpenFile, Outcome, PoolSize, Wait};

use crate::bed::{Bed, clock, loopback, pattern};
use crate::host::{self, open_descriptors};

/// Cancel races completion: the connection arrives while its accept is being given up, at every distance.
pub(crate) fn a_cancelled_accept_leaks_no_descriptor(bed: &mut Bed) {
    let (listener, address) = bed.listener();
    let baseline = open_descriptors();
    for round in 0..60 {
        let accept = bed.start(Op::Accept { listener });
        if round % 4 != 0 {
            bed.enter(Wait::No);
        }
        let peer = TcpStream::connect(address).expect("the listener lives");
        match round % 5 {
            0 => {}
            1 => bed.cancel(&accept),
            2 => drop(bed.enter(Wait::No)),
            3 => {
                let soon = bed.now() + Duration::from_micros(200);
                bed.enter(Wait::Until(soon));
            }
            _ => {
                bed.cancel(&accept);
                bed.enter(Wait::No);
            }
        }
        bed.abandon(accept);
        if round % 2 == 0 {
            bed.settle(1);
        }
        drop(peer);
    }
    bed.settle(1);
    // Connections that no accept has taken wait in the listener's queue, not among our descriptors.
    assert_eq!(open_descriptors(), baseline);
    bed.close(listener);
}

/// Starts something of everything, and leaves all of it behind.
fn leave_everything(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let (listener, address) = bed.listener();
    let connecting = bed.stream_socket(address).unwrap();
    let datagrams = bed.datagram_socket(loopback()).unwrap();
    let far = bed.now() + Duration::from_secs(60);
    let path = host::source();
    let opened = bed.run(Op::Open {
        file: Box::new(OpenFile { path, beneath: None, read: true, write: false, create: false, truncate: false }),
    });
    let Ok(Outcome::Opened(file)) = opened else { panic!("{opened:?}") };
    let _tokens = [
        bed.start(Op::Accept { listener }),
        bed.start(Op::Connect { socket: connecting, peer: address }),
        bed.receive(client),
        bed.start(Op::Receive { socket: server, group: Group::Bulk }),
        bed.start(Op::Send { socket: client, data: pattern(100_000).into(), zero_copy: true }),
        bed.start(Op::Send { socket: server, data: vec![1; 8 << 20].into(), zero_copy: false }),
        bed.start(Op::ReceiveMessage { socket: datagrams, group: Group::Heads }),
        bed.start(Op::Sleep { until: far }),
    ];
    for _ in 0..50 {
        let into = bed.pool().lease(1000).unwrap();
        let _token = bed.start(Op::Read { file, offset: 0, into });
    }
}

pub(crate) fn teardown_with_operations_in_flight(bed: &mut Bed) {
    leave_everything(bed);
    bed.enter_for(Duration::from_millis(2));
    let time = bed.tear_down();
    assert!(time < TEARDOWN_WAIT_MAX / 2, "{}: the teardown took {time:?}", bed.rung.name);
}

pub(crate) fn dropped_at_any_moment(bed: &mut Bed) {
    for enters in 0..6 {
        let begin = clock();
        let mut bed = bed.with_pool(PoolSize { head_buffers: 4, bulk_buffers: 1, bytes: 1 << 20 });
        leave_everything(&mut bed);
        for _ in 0..enters {
            bed.enter(Wait::No);
        }
        bed.tear_down();
        assert!(begin.elapsed() < TEARDOWN_WAIT_MAX / 2, "{}: after {enters} enters", bed.rung.name);
    }
}

pub(crate) fn handles_that_nobody_closed_go_with_the_reactor(bed: &mut Bed) {
    let _left = (bed.pair(), bed.listener());
    bed.tear_down();
}
