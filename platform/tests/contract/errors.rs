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
//! | accept | `OutOfDescriptors` | `process::out_of_descriptors_and_back` |
//! | | `Aborted` | `faults`; Linux drops such a connection from the queue without a word |
//! | | `Invalid` | `streams::misuse_of_sockets_is_an_error` |
//! | connect | `Refused` | `streams::nobody_listens_and_the_connection_is_refused` |
//! | | `Unreachable` | `where_no_way_leads_is_unreachable` |
//! | | `TimedOut` | `nobody_answers_and_the_connect_times_out` |
//! | | `Reset` | `faults`; on a loopback device the hand-shake is over within the call |
//! | | `AddressNotAvailable` | `the_same_connection_twice_has_no_address` |
//! | | `Denied` | `broadcast_must_be_asked_for` |
//! | receive | `Reset` | `streams::a_reset_is_an_error` |
//! | | `TimedOut` | `a_peer_that_takes_nothing_times_out` |
//! | | `NotConnected` | `streams::misuse_of_sockets_is_an_error` |
//! | send, send-list | `BrokenPipe` | `streams::half_close_ends_one_direction_only`, `a_reset_meets_the_next_send` |
//! | | `Reset` | `a_reset_meets_the_next_send` |
//! | | `TimedOut` | `a_peer_that_takes_nothing_times_out` |
//! | | `NotConnected` | `faults`; Linux says `BrokenPipe` of a stream that never was connected |
//! | receive-message | `Refused` | `datagrams::errors_of_datagrams` |
//! | | `NotConnected` | `a_stream_is_no_place_for_datagrams` |
//! | send-message | `TooLarge` | `datagrams::errors_of_datagrams` |
//! | | `Refused` | `a_closed_port_meets_the_next_datagram` |
//! | | `Unreachable` | `where_no_way_leads_is_unreachable` |
//! | | `Denied` | `broadcast_must_be_asked_for` |
//! | | `Invalid` | `a_batch_of_too_many_is_invalid` |
//! | open | `NotFound`, `Invalid` | `files::errors_of_files` |
//! | | `Denied` | `files::what_a_file_is_not_open_for_is_denied` |
//! | | `OutOfDescriptors` | `process::out_of_descriptors_and_back` |
//! | | `NoSpace` | `faults`; a ring would need a full disk |
//! | read | `Invalid` | `files::an_offset_beyond_all_files_is_invalid` |
//! | | `Denied` | `files::what_a_file_is_not_open_for_is_denied` |
//! | | `Os` | `files::errors_of_files` (EISDIR), `files::an_address_that_nothing_has_is_an_error_of_the_system` (EIO) |
//! | write | `NoSpace` | `files::errors_of_files` |
//! | | `Denied`, `Invalid`, `Os` (EIO) | as of read |
//! | sync | `Invalid` | `files::what_has_no_device_cannot_be_synced` |
//! | | `NoSpace`, `Os` (EIO) | `faults`; a ring would need a failing disk |
//! | stat | `Denied` | `faults`; no file system here refuses it |
//! | sleep | none | |
//! | start | `Full` | the tests of the arena; it takes a million operations here |

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use shardwise_platform::{
    BackendKind, Buf, BufList, Datagram, Error, Group, Handle, Op, Outcome, Socket, SocketOption,
};
use socket2::{Domain, Type};

use crate::bed::{Bed, WAIT_MAX, loopback, pattern};

/// TEST-NET of IPv6 (RFC 3849): nobody has it.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// The two ways to send one byte: it leaves, or the send fails, and nothing is between.
fn sends(socket: Handle) -> [Op; 2] {
    let mut list = Box::new(BufList::new());
    list.push(Buf::Static(b"1")).expect("there is room");
    [Op::Send { socket, data: Buf::Static(b"1"), zero_copy: false }, Op::SendList { socket, list }]
}

fn to(peer: SocketAddr) -> Box<Datagram> {
    Box::new(Datagram { peer: Some(peer), data: pattern(10), segment: None, ecn: 0 })
}

/// A socket of the host with an option that is not in the vocabulary.
fn special(
    kind: Type,
    local: SocketAddr,
    set: impl FnOnce(&socket2::Socket) -> std::io::Result<()>,
) -> socket2::Socket {
    let socket = socket2::Socket::new(Domain::for_address(local), kind, None).expect("a socket");
    set(&socket).expect("an option of the kernel");
    socket.bind(&local.into()).expect("an address of this host");
    socket
}

#[track_caller]
fn error_of(bed: &mut Bed, op: Op) -> Error {
    let name = op.name();
    match bed.run(op) {
        Err(error) => error,
        Ok(outcome) => panic!("{}: {name} gave {outcome:?}", bed.rung.name),
    }
}

pub(crate) fn where_no_way_leads_is_unreachable(bed: &mut Bed) {
    // A stream has one peer, and a group address is many.
    let group = SocketAddr::from((Ipv4Addr::new(224, 0, 0, 1), 9));
    let socket = bed.stream_socket(group).unwrap();
    assert_eq!(error_of(bed, Op::Connect { socket, peer: group }), Error::Unreachable);
    bed.close(socket);

    let Ok(probe) = bed.datagram_socket((Ipv6Addr::LOCALHOST, 0).into()) else {
        println!("skipped: no IPv6 on this host, and IPv4 has a default route");
        return;
    };
    bed.close(probe);
    let lo = |socket: &socket2::Socket| socket.bind_device(Some(b"lo"));
    let socket = special(Type::DGRAM, (Ipv6Addr::LOCALHOST, 0).into(), lo);
    let socket = bed.adopt(Socket::from(socket)).unwrap();
    assert_eq!(error_of(bed, Op::SendMessage { socket, message: to(NOWHERE) }), Error::Unreachable);
    bed.close(socket);
}

pub(crate) fn broadcast_must_be_asked_for(bed: &mut Bed) {
    let everyone = SocketAddr::from((Ipv4Addr::new(127, 255, 255, 255), 9));
    let socket = bed.datagram_socket(loopback()).unwrap();
    assert_eq!(error_of(bed, Op::Connect { socket, peer: everyone }), Error::Denied);
    assert_eq!(error_of(bed, Op::SendMessage { socket, message: to(everyone) }), Error::Denied);
    bed.close(socket);
}

/// Two sockets of one local address cannot both be connected to one peer.
pub(crate) fn the_same_connection_twice_has_no_address(bed: &mut Bed) {
    let (listener, peer) = bed.listener();
    let shared = |socket: &socket2::Socket| socket.set_reuse_address(true);
    let first = special(Type::STREAM, loopback(), shared);
    let local = first.local_addr().unwrap().as_socket().unwrap();
    let second = special(Type::STREAM, local, shared);
    let [first, second] = [first, second].map(|socket| bed.adopt(Socket::from(socket)).unwrap());
    assert!(matches!(bed.run(Op::Connect { socket: first, peer }), Ok(Outcome::Connected)));
    assert_eq!(error_of(bed, Op::Connect { socket: second, peer }), Error::AddressNotAvailable);
    bed.close_all([listener, first, second]);
}

/// A full accept queue answers nobody, and the kernel asks again after a second.
pub(crate) fn nobody_answers_and_the_connect_times_out(bed: &mut Bed) {
    let (listener, peer, first) = bed.full_listener();
    let second = match bed.rung.kind {
        BackendKind::Sim => bed.stream_socket(peer).unwrap(),
        _ => {
            let patience = Some(Duration::from_millis(300));
            let socket = special(Type::STREAM, loopback(), |socket| socket.set_tcp_user_timeout(patience));
            bed.adopt(Socket::from(socket)).unwrap()
        }
    };
    assert_eq!(error_of(bed, Op::Connect { socket: second, peer }), Error::TimedOut);
    bed.close_all([listener, first, second]);
}

/// The kernel gives up on a peer that has closed its window. Whoever waits on the socket is told why; whoever comes later
/// learns that it is over.
pub(crate) fn a_peer_that_takes_nothing_times_out(bed: &mut Bed) {
    for waits in 0..3 {
        let peer = TcpListener::bind(loopback()).expect("a free port");
        let patience = Some(Duration::from_millis(100));
        let socket = special(Type::STREAM, loopback(), |socket| socket.set_tcp_user_timeout(patience));
        socket.connect(&peer.local_addr().expect("a bound socket").into()).expect("it listens");
        // More than the peer's window: the kernel has bytes left that it cannot deliver.
        socket.set_nonblocking(true).expect("a socket");
        while socket.send(&[7; 1 << 16]).is_ok() {}
        let socket = bed.adopt(Socket::from(socket)).unwrap();
        let waiting = || match waits {
            2 => Op::Receive { socket, group: Group::Heads },
            list => sends(socket).into_iter().nth(list).expect("two ways to send"),
        };
        // A byte still finds room at times; never for long.
        let deadline = bed.now() + WAIT_MAX;
        let error = loop {
            match bed.run(waiting()) {
                Ok(Outcome::Sent { .. } | Outcome::SentList { .. }) => assert!(bed.now() < deadline),
                Ok(outcome) => panic!("{}: {outcome:?}", bed.rung.name),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Error::TimedOut);
        for send in sends(socket) {
            assert_eq!(error_of(bed, send), Error::BrokenPipe, "an error is told once");
        }
        bed.close(socket);
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
            let expected = if place == 0 { Error::Reset } else { Error::BrokenPipe };
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
    let message = || Box::new(Datagram { peer: None, data: pattern(1), segment: None, ecn: 0 });
    for _ in 0..2 {
        let sent = bed.run(Op::SendMessage { socket: client, message: message() });
        assert!(matches!(sent, Ok(Outcome::SentMessage { bytes: 1, .. })), "{sent:?}");
        bed.enter_for(Duration::from_millis(1));
        assert_eq!(error_of(bed, Op::SendMessage { socket: client, message: message() }), Error::Refused);
    }
    bed.close(client);
}

pub(crate) fn a_batch_of_too_many_is_invalid(bed: &mut Bed) {
    let socket = bed.datagram_socket(loopback()).unwrap();
    let peer = bed.local_address(socket).unwrap();
    let message = Box::new(Datagram { peer: Some(peer), data: pattern(50_000), segment: Some(10), ecn: 0 });
    assert_eq!(error_of(bed, Op::SendMessage { socket, message }), Error::Invalid);
    bed.close(socket);
}
