//! Which sockets go to which address, and until when they are kept.

use std::net::TcpListener;

use super::*;

fn socket() -> Socket {
    TcpListener::bind("127.0.0.1:0").expect("a free port").into()
}

fn left(number: usize, purpose: Option<Purpose>, address: &str, count: usize) -> Left {
    Left { number, purpose, address: address.parse().unwrap(), sockets: (0..count).map(|_| socket()).collect() }
}

/// What was left, what is claimed in this order, and how many sockets each gets.
#[track_caller]
fn check(all: Vec<Left>, claims: &[(Purpose, &str, usize)], claimed: &[usize], unclaimed: &[&str]) {
    let heritage = Heritage::new(true, all, Keepsakes::new());
    for &(purpose, address, count) in claims {
        assert_eq!(heritage.claim(purpose, address.parse().unwrap()).len(), count, "{address}");
    }
    let (numbers, addresses) = heritage.settle();
    assert_eq!(numbers, claimed);
    assert_eq!(addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>(), unclaimed);
}

#[test]
fn sockets_go_to_the_address_that_they_were_declared_with_in_order() {
    use Purpose::{Outside, Serve};
    let two = || vec![left(0, Some(Outside), "127.0.0.1:0", 1), left(1, Some(Serve), "127.0.0.1:0", 2)];
    check(two(), &[(Serve, "127.0.0.1:0", 2), (Outside, "127.0.0.1:0", 1)], &[1, 0], &[]);
    check(two(), &[(Serve, "127.0.0.1:0", 2), (Serve, "127.0.0.1:0", 0)], &[1], &["127.0.0.1:0"]);
    check(two(), &[(Serve, "127.0.0.2:0", 0)], &[], &["127.0.0.1:0", "127.0.0.1:0"]);
    let same = vec![left(4, Some(Serve), "127.0.0.1:0", 1), left(7, Some(Serve), "127.0.0.1:0", 3)];
    check(same, &[(Serve, "127.0.0.1:0", 1), (Serve, "127.0.0.1:0", 3)], &[4, 7], &[]);
}

#[test]
fn sockets_for_datagrams_are_left_as_such() {
    use Purpose::{Datagrams, Serve};
    assert_eq!(Purpose::of(Datagrams.name()), Some(Datagrams));
    let both = || vec![left(0, Some(Serve), "127.0.0.1:443", 2), left(1, Some(Datagrams), "127.0.0.1:443", 2)];
    let claims = [(Datagrams, "127.0.0.1:443", 2), (Datagrams, "127.0.0.1:443", 0), (Serve, "127.0.0.1:443", 2)];
    check(both(), &claims, &[1, 0], &[]);
    check(vec![left(3, None, "[::]:443", 1)], &[(Datagrams, "[::]:443", 0)], &[], &["[::]:443"]);
}

#[test]
fn a_dual_stack_socket_covers_all_addresses_of_its_port() {
    use Purpose::Serve;
    check(vec![left(9, None, "[::]:80", 1)], &[(Serve, "0.0.0.0:80", 1)], &[9], &[]);
    check(vec![left(9, None, "[::]:80", 1)], &[(Serve, "0.0.0.0:81", 0)], &[], &["[::]:80"]);
    check(vec![left(9, None, "[::]:80", 1)], &[(Serve, "127.0.0.1:80", 0)], &[], &["[::]:80"]);
    check(vec![left(9, None, "0.0.0.0:80", 1)], &[(Serve, "[::]:80", 0)], &[], &["0.0.0.0:80"]);
}

#[test]
fn what_a_shard_has_stopped_accepting_from_is_left_to_nobody() {
    let heritage = Heritage::new(true, Vec::new(), Keepsakes::new());
    let address = "127.0.0.1:0".parse().unwrap();
    let sockets = [socket(), socket()];
    let (number, mut kept) = heritage.hold(Purpose::Serve, address, &sockets);
    assert_eq!(number, 0);
    let count = || heritage.bequeath().iter().map(|left| left.sockets.len()).collect::<Vec<_>>();
    assert_eq!(count(), [2]);
    assert!(!kept[1].is_taken());
    heritage.taken(&[0, 12]);
    assert!(kept[1].is_taken());
    drop(kept.pop());
    assert_eq!(count(), [1]);
    drop(kept);
    assert!(count().is_empty());
}

#[test]
fn a_keepsake_is_made_once_and_what_was_left_is_not_made() {
    let left = Keepsakes::from([("left".to_owned(), Arc::from([1, 2]))]);
    let heritage = Heritage::new(true, Vec::new(), left);
    assert_eq!(*heritage.keepsake("left", || unreachable!()), [1, 2]);
    assert_eq!(*heritage.keepsake("new", || vec![3]), [3]);
    assert_eq!(*heritage.keepsake("new", || unreachable!()), [3]);
    let mut all = heritage.keepsakes();
    assert!(all.remove(GENERATION).is_some());
    let all: Vec<_> = all.into_iter().map(|(name, value)| (name, value.to_vec())).collect();
    assert_eq!(all, [("left".to_owned(), vec![1, 2]), ("new".to_owned(), vec![3])]);
}

#[test]
fn each_process_of_a_line_is_one_generation_on() {
    let mut heritage = Heritage::new(true, Vec::new(), Keepsakes::new());
    for generation in 0..3 {
        assert_eq!(heritage.generation, generation);
        heritage = Heritage::new(true, Vec::new(), heritage.keepsakes());
    }
}
