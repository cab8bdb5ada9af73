//! Tickets that are opened, and those that are not.

use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::UnixTime;

use super::*;

#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

const EPOCH: u64 = TICKET_EPOCH_TIME.as_secs();

fn tickets(secret: &[u8], clock: &Arc<Clock>) -> Tickets {
    Tickets::new(secret, b"terms", default_provider().secure_random, clock.clone())
}

/// Whether what is sealed at one time is opened at another.
#[track_caller]
fn check(sealed: u64, opened: u64, expect: bool) {
    let clock = Arc::new(Clock(sealed.into()));
    let tickets = tickets(&[7; 32], &clock);
    let ticket = tickets.encrypt(b"session").unwrap();
    clock.0.store(opened, Ordering::Relaxed);
    assert_eq!(tickets.decrypt(&ticket).is_some_and(|plain| plain == b"session"), expect);
}

#[test]
fn a_ticket_is_opened_in_its_epoch_and_in_the_next_and_never_before() {
    check(1000 * EPOCH, 1000 * EPOCH, true);
    check(1000 * EPOCH, 1001 * EPOCH - 1, true);
    check(1000 * EPOCH, 1002 * EPOCH - 1, true);
    check(1000 * EPOCH, 1002 * EPOCH, false);
    check(1000 * EPOCH, 1000 * EPOCH - 1, false);
    check(0, 0, true);
}

#[test]
fn whoever_has_the_secret_opens_it_and_nobody_else() {
    let clock = Arc::new(Clock((1000 * EPOCH).into()));
    let (one, same, other) = (tickets(&[1; 32], &clock), tickets(&[1; 32], &clock), tickets(&[2; 32], &clock));
    let ticket = one.encrypt(b"session").unwrap();
    assert_eq!(same.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    assert_eq!(other.decrypt(&ticket), None);
    let elsewhere = Tickets::new(&[1; 32], b"other terms", default_provider().secure_random, clock.clone());
    assert_eq!(elsewhere.decrypt(&ticket), None);
    assert_ne!(one.encrypt(b"session").unwrap(), ticket, "no two are alike");
}

#[test]
fn a_key_seals_many_tickets_and_each_epoch_has_another() {
    let clock = Arc::new(Clock((1000 * EPOCH).into()));
    let tickets = tickets(&[1; 32], &clock);
    let origin = |ticket: &[u8]| ticket[NAME_BYTES..][..EPOCH_BYTES + SALT_BYTES].to_vec();
    let nonce = |ticket: &[u8]| ticket[HEAD_BYTES - NONCE_LEN..HEAD_BYTES].to_vec();
    let first = tickets.encrypt(b"session").unwrap();
    let others: Vec<_> = (0..100).map(|_| tickets.encrypt(b"session").unwrap()).collect();
    let nonces: std::collections::BTreeSet<_> = others.iter().chain([&first]).map(|ticket| nonce(ticket)).collect();
    assert_eq!(nonces.len(), 101);
    assert!(others.iter().all(|ticket| origin(ticket) == origin(&first)));

    clock.0.store(1001 * EPOCH, Ordering::Relaxed);
    let next = tickets.encrypt(b"session").unwrap();
    assert_ne!(origin(&next)[EPOCH_BYTES..], origin(&first)[EPOCH_BYTES..]);

    tickets.keys.lock().unwrap().sealing.as_mut().unwrap().count = TICKETS_PER_KEY_MAX;
    let renewed = tickets.encrypt(b"session").unwrap();
    assert_eq!(origin(&renewed)[..EPOCH_BYTES], origin(&next)[..EPOCH_BYTES]);
    assert_ne!(origin(&renewed), origin(&next));
    for ticket in [&first, &others[7], &next, &renewed] {
        assert_eq!(tickets.decrypt(ticket).as_deref(), Some(&b"session"[..]));
    }
}

#[test]
fn keys_that_have_opened_a_ticket_are_known_and_made_up_ones_drive_out_none() {
    let clock = Arc::new(Clock((1000 * EPOCH).into()));
    let here = tickets(&[1; 32], &clock);
    let known = || here.keys.lock().unwrap().opening.len();
    let of_others: Vec<_> =
        (0..TICKET_KEYS_KNOWN_MAX + 2).map(|_| tickets(&[1; 32], &clock).encrypt(b"session").unwrap()).collect();
    for (opened, ticket) in of_others.iter().enumerate() {
        assert_eq!(known(), opened.min(TICKET_KEYS_KNOWN_MAX));
        for _ in 0..2 {
            assert_eq!(here.decrypt(ticket).as_deref(), Some(&b"session"[..]));
        }
    }
    let latest = || here.keys.lock().unwrap().opening.last().unwrap().origin;
    let before = latest();
    let mut made_up = of_others[0].clone();
    for salt in 0..=u8::MAX {
        made_up[NAME_BYTES + EPOCH_BYTES] = salt;
        assert_eq!(here.decrypt(&made_up).is_some(), made_up == of_others[0]);
    }
    assert_eq!((known(), latest() == before), (TICKET_KEYS_KNOWN_MAX, false), "the one that was true is known anew");
    drop(here.decrypt(&here.encrypt(b"session").unwrap()).unwrap());
    assert_eq!(known(), TICKET_KEYS_KNOWN_MAX, "one's own is known anyway");
}

#[test]
fn who_finds_the_keys_taken_makes_them_anew() {
    let clock = Arc::new(Clock((1000 * EPOCH).into()));
    let tickets = tickets(&[1; 32], &clock);
    let ticket = tickets.encrypt(b"session").unwrap();
    let taken = tickets.keys.lock().unwrap();
    let other = tickets.encrypt(b"session").unwrap();
    assert_ne!(other[..HEAD_BYTES - NONCE_LEN], ticket[..HEAD_BYTES - NONCE_LEN]);
    for ticket in [&ticket, &other] {
        assert_eq!(tickets.decrypt(ticket).as_deref(), Some(&b"session"[..]));
    }
    drop(taken);
}

#[test]
fn nothing_that_was_changed_or_cut_is_opened() {
    let tickets = tickets(&[1; 32], &Arc::new(Clock((1000 * EPOCH).into())));
    let ticket = tickets.encrypt(b"session").unwrap();
    for index in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[index] ^= 1;
        assert_eq!(tickets.decrypt(&changed), None, "byte {index}");
        assert_eq!(tickets.decrypt(&ticket[..index]), None, "{index} bytes");
    }
    assert_eq!(tickets.decrypt(&[&ticket[..], b"x"].concat()), None);
}

#[test]
fn long_ones_are_neither_made_nor_opened() {
    let tickets = tickets(&[1; 32], &Arc::new(Clock(0.into())));
    let room = TICKET_BYTES_MAX - HEAD_BYTES - SEAL_BYTES;
    let ticket = tickets.encrypt(&vec![0; room]).unwrap();
    assert_eq!((ticket.len(), tickets.decrypt(&ticket).map(|plain| plain.len())), (TICKET_BYTES_MAX, Some(room)));
    assert_eq!(tickets.encrypt(&vec![0; room + 1]), None);
    assert_eq!(tickets.decrypt(&vec![0; TICKET_BYTES_MAX + 1]), None);
}
