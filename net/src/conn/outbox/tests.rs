//! What is gathered leaves in order, and in as few pieces as the memory allows.

use platform::PoolSize;

use super::*;

fn supplies() -> Supplies {
    Supplies::new(Pool::new(PoolSize { head_buffers: 2, bulk_buffers: 2, bytes: 1 << 20 }))
}

/// A body that was received behind a head of so many bytes.
fn body(supplies: &Supplies, head_bytes: usize) -> Chunk {
    let mut chunk = supplies.pool().lease(head_bytes + 4).expect("there is room");
    chunk.put(&vec![b'-'; head_bytes]);
    chunk.put(b"body");
    let mut chunk = chunk.freeze();
    chunk.advance(head_bytes);
    chunk
}

/// What leaves: its pieces, one after the other.
fn told(outgoing: &Outgoing) -> Vec<String> {
    let text = |buf: &Buf| String::from_utf8(buf.to_vec()).expect("text");
    match outgoing {
        Outgoing::One(buf) => vec![text(buf)],
        Outgoing::Many(list) => list.iter().map(text).collect(),
        Outgoing::Pipe(_) => Vec::new(),
    }
}

#[test]
fn a_head_goes_where_the_one_was_that_came_with_the_body() {
    let supplies = supplies();
    let mut outbox = Outbox::default();
    outbox.put(b"head ", &supplies).expect("there is room");
    outbox.push(Buf::Chunk(body(&supplies, 5)), &supplies);
    outbox.put(b"", &supplies).expect("nothing takes no room");
    assert!(outbox.is_full(9) && !outbox.is_full(10), "it counts as gathered");
    assert_eq!(outbox.take_chunk().as_deref(), Some(&b"head body"[..]));
    assert!(outbox.is_empty());
}

#[test]
fn what_has_no_room_before_it_is_a_piece_of_its_own() {
    let supplies = supplies();
    let mut outbox = Outbox::default();
    outbox.put(b"head ", &supplies).expect("there is room");
    outbox.push(Buf::Chunk(body(&supplies, 4)), &supplies);
    outbox.put(b" next", &supplies).expect("there is room");
    assert!(outbox.take_chunk().is_none());
    assert_eq!(told(&outbox.take(&supplies)), ["head ", "body", " next"]);
}

#[test]
fn what_follows_goes_behind() {
    let supplies = supplies();
    let mut outbox = Outbox::default();
    outbox.put(b"head ", &supplies).expect("there is room");
    outbox.push(Buf::Chunk(body(&supplies, 50)), &supplies);
    outbox.put(b" next ", &supplies).expect("there is room");
    outbox.push(Buf::Chunk(body(&supplies, 50)), &supplies);
    outbox.push(Buf::Static(b" last"), &supplies);
    assert_eq!(told(&outbox.take(&supplies)), ["head body", " next ", "body", " last"]);
    assert_eq!(supplies.pool().stats().pooled_bytes, 0, "all has gone home");
}

#[test]
fn a_small_answer_is_copied_where_there_is_room() {
    let (supplies, mut outbox) = (supplies(), Outbox::default());
    assert!(outbox.put_both(b"first ", b"body ", &supplies), "a chunk is leased for it");
    assert!(outbox.put_both(b"head ", b"body", &supplies));
    let room = outbox.room(0, &supplies).expect("there is a chunk").len();
    assert!(!outbox.put_both(&vec![b'h'; room - 3], b"body", &supplies), "not in part either");
    let sent = outbox.take_chunk().expect("all is in one chunk");
    assert_eq!(&sent[..], b"first body head body");
}

#[test]
fn a_large_answer_lies_where_its_body_was_received() {
    let (supplies, mut outbox) = (supplies(), Outbox::default());
    let large = || {
        let mut chunk = supplies.pool().lease(COPY_BODY_BYTES_MAX + 10).expect("there is room");
        chunk.put(b"-----");
        chunk.put(&[b'b'; COPY_BODY_BYTES_MAX + 1]);
        let mut chunk = chunk.freeze();
        chunk.advance(5);
        Buf::Chunk(chunk)
    };
    let mut body = large();
    assert!(!outbox.put_in_front(b"head: ", &mut body), "one byte more than there is room for");
    assert_eq!(body.len(), COPY_BODY_BYTES_MAX + 1);
    assert!(outbox.put_in_front(b"head ", &mut body) && body.is_empty());
    let mut next = large();
    assert!(!outbox.put_in_front(b"head ", &mut next), "it would come before what is there");
    let whole = outbox.take_chunk().expect("it is one chunk");
    assert!(whole.starts_with(b"head bbb") && whole.len() == COPY_BODY_BYTES_MAX + 6);
    let mut elsewhere = Buf::Vec(vec![b'v'; COPY_BODY_BYTES_MAX + 1]);
    assert!(!outbox.put_in_front(b"head ", &mut elsewhere) && elsewhere.len() == COPY_BODY_BYTES_MAX + 1);
    drop((whole, body, next));
    assert_eq!(supplies.pool().stats().pooled_bytes, 0, "all has gone home");
}
