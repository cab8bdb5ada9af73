//! What is kept, once, and how much.

use super::*;

fn name(number: usize) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[test]
fn a_session_is_taken_once() {
    let sessions = Sessions::default();
    assert!(sessions.put(name(1), vec![1]));
    assert_eq!(sessions.get(&name(1)), Some(vec![1]));
    assert_eq!((sessions.take(&name(1)), sessions.take(&name(1))), (Some(vec![1]), None));
    assert_eq!(sessions.get(&name(1)), None);
}

#[test]
fn the_oldest_is_forgotten_and_a_long_one_not_kept() {
    let sessions = Sessions::default();
    for number in 0..EARLY_SESSIONS_MAX + 10 {
        assert!(sessions.put(name(number), vec![0]));
        sessions.put(name(EARLY_SESSIONS_MAX * 2), vec![0]);
    }
    let kept = sessions.lock();
    assert_eq!((kept.values.len(), kept.names.len()), (EARLY_SESSIONS_MAX, EARLY_SESSIONS_MAX));
    drop(kept);
    assert_eq!(sessions.take(&name(0)), None);
    assert!(sessions.take(&name(EARLY_SESSIONS_MAX + 9)).is_some());
    assert!(!sessions.put(name(0), vec![0; TICKET_BYTES_MAX + 1]));
}
