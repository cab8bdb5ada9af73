//! Each error that an operation lists, provoked; `op.rs` has the lists. `faults` stands for `faults.rs`, where a filter answers
//! for the kernel: it reaches the system calls of the readiness backend and none of a ring's entries, so what only it can
//! provoke is tested on epoll alone. The simulated machine has no routes, no broadcast, no limit of descriptors, no failing
//! disk and no permissions; what needs them is for real kernels.
//!
//! | operation | error | test |
//! |---|---|---|
//! | every one | `Cancelled` | `slots::every_waiting_operation_can_be_cancelled`, `slots::what_waits_without_effect_is_cancelled`; files are done or cancelled, `files::closing_a_file_waits_for_its_operations` |
//! | every one | `Closed` | `slots::a_stale_handle_is_closed_for_everything` |
//! | every one | `OutOfMemory` | `faults` |
//! | accept | `OutOfDescriptors` | `descriptors::out_of_descriptors_and_back` |
//! | | `Aborted` | `faults`; Linux drops such a connection from the queue without a word |
//! | | `Invalid` | `streams::misuse_of_sockets_is_an_error` |
//! | connect | `Refused` | `streams::nobody_listens_and_the_connection_is_refused` |
//! | | `Unreachable` | `linux::where_no_way_leads_is_unreachable` |
//! | | `TimedOut` | `linux::nobody_answers_and_the_connect_times_out` |
//! | | `Reset` | `faults`; on a loopback device the hand-shake is over within the call |
//! | | `AddressNotAvailable` | `linux::the_same_connection_twice_has_no_address` |
//! | | `Denied` | `linux::broadcast_must_be_asked_for` |
//! | receive | `Reset` | `streams::a_reset_is_an_error` |
//! | | `TimedOut` | `linux::a_peer_that_takes_nothing_times_out` |
//! | | `NotConnected` | `streams::misuse_of_sockets_is_an_error` |
//! | send, send-list | `BrokenPipe` | `streams::half_close_ends_one_direction_only`, `a_reset_meets_the_next_send` |
//! | | `Reset` | `a_reset_meets_the_next_send` |
//! | | `TimedOut` | `linux::a_peer_that_takes_nothing_times_out` |
//! | | `NotConnected` | `faults`; Linux says `BrokenPipe` of a stream that never was connected |
//! | receive-message | `Refused` | `datagrams::errors_of_datagrams` |
//! | | `NotConnected` | `a_stream_is_no_place_for_datagrams` |
//! | send-message | `TooLarge` | `datagrams::errors_of_datagrams` |
//! | | `Refused` | `a_closed_port_meets_the_next_datagram` |
//! | | `Unreachable` | `linux::where_no_way_leads_is_unreachable` |
//! | | `Denied` | `linux::broadcast_must_be_asked_for` |
//! | | `Invalid` | `a_batch_of_too_many_is_invalid` |
//! | open | `NotFound`, `Invalid` | `files::errors_of_files`; beneath a directory `files::a_path_beneath_a_directory_does_not_leave_it` |
//! | | `Denied` | `files::what_a_file_is_not_open_for_is_denied` |
//! | | `OutOfDescriptors` | `descriptors::out_of_descriptors_and_back` |
//! | | `NoSpace` | `faults`; a ring would need a full disk |
//! | read | `Invalid` | `files::an_offset_beyond_all_files_is_invalid` |
//! | | `Denied` | `files::what_a_file_is_not_open_for_is_denied` |
//! | | `Os` | `files::errors_of_files` (EISDIR), `linux::an_address_that_nothing_has_is_an_error_of_the_system` (EIO) |
//! | write | `NoSpace` | `files::errors_of_files` |
//! | | `Denied`, `Invalid`, `Os` (EIO) | as of read |
//! | sync | `Invalid` | `linux::what_has_no_device_cannot_be_synced` |
//! | | `NoSpace`, `Os` (EIO) | `faults`; a ring would need a failing disk |
//! | stat | `Denied` | `faults`; no file system here refuses it |
//! | sleep | none | |
//! | start | `Full` | the tests of the arena; it takes a million operations here |

use std::time::Duration;

use shardwise_platform::{Buf, BufList, Datagram, Error, Group, Handle, Op, Outcome, SocketOption};

use crate::bed::{Bed, loopback, pattern};
use crate::host;

/// The two ways to send one byte: it leaves, or the send fails, and nothing is between.
pub(crate) fn sends(socket: Handle) -> [Op; 2] {
    let mut list = Box::new(BufList::new());
    list.push(Buf::Static(b"1")).expect("there is room");
    [Op::Send { socket, data: Buf::Static(b"1"), zero_copy: false }, Op::SendList { socket, list }]
}

#[track_caller]
pub(crate) fn error_of(bed: &mut Bed, op: Op) -> Error {
    let name = op.name();
    match bed.run(op) {
        Err(error) => error,
        Ok(outcome) => panic!("{}: {name} gave {outcome:?}", bed.rung.name),
    }
}

pub(crate) fn a_reset_meets_the_next_send(bed: &mut Bed) {
    for first in 0..2 {
        let (client, server) = bed.pair();
        bed.set_option(client, SocketOption::Linger(Some(Duration::ZERO))).unwrap();
        bed.close(client);
        bed.settle(1);
        bed.enter_for(Duration::from_millis(1));
        let mut sends = sends(server);
        sends.rotate_left(first);
        for (place, send) in sends.into_iter().enumerate() {
            let expected = if place == 0 { Error::Reset } else { host::reset_before(bed.rung.kind) };
            assert_eq!(error_of(bed, send), expected, "{}: place {place}", bed.rung.name);
        }
        bed.close(server);
    }
}

pub(crate) fn a_stream_is_no_place_for_datagrams(bed: &mut Bed) {
    let (listener, address) = bed.listener();
    let socket = bed.stream_socket(address).unwrap();
    assert_eq!(error_of(bed, Op::ReceiveMessage { socket, group: Group::Heads }), Error::NotConnected);
    bed.close_all([socket, listener]);
}

/// The socket goes on after it: both sides of it hear of the closed port once.
pub(crate) fn a_closed_port_meets_the_next_datagram(bed: &mut Bed) {
    let (client, gone) = (bed.datagram_socket(loopback()).unwrap(), bed.datagram_socket(loopback()).unwrap());
    let peer = bed.local_address(gone).unwrap();
    bed.close(gone);
    bed.settle(1);
    assert!(matches!(bed.run(Op::Connect { socket: client, peer }), Ok(Outcome::Connected)));
    let message = || Box::new(Datagram { peer: None, data: pattern(1), segment: None, ecn: 0, source: None });
    for _ in 0..2 {
        let sent = bed.run(Op::SendMessage { socket: client, message: message() });
        assert!(matches!(sent, Ok(Outcome::SentMessage { bytes: 1, .. })), "{sent:?}");
        bed.enter_for(Duration::from_millis(1));
        let again = bed.run(Op::SendMessage { socket: client, message: message() });
        assert_eq!(again.err(), host::closed_port_before(bed.rung.kind));
    }
    bed.close(client);
}

pub(crate) fn a_batch_of_too_many_is_invalid(bed: &mut Bed) {
    let socket = bed.datagram_socket(loopback()).unwrap();
    let peer = bed.local_address(socket).unwrap();
    let message =
        Box::new(Datagram { peer: Some(peer), data: pattern(50_000), segment: Some(10), ecn: 0, source: None });
    assert_eq!(error_of(bed, Op::SendMessage { socket, message }), Error::Invalid);
    bed.close(socket);
}
