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
