//! Leases come home exactly once, whatever was done with them; lists lose exactly the bytes that were sent.

#![allow(clippy::disallowed_methods, reason = "threads that hold what a pool shares are what is tested")]

use bytes::Bytes;

use super::{Buf, BufList, Chunk, ChunkMut, Pool, PoolSize};
use crate::Group;
use crate::limits::{
    CHUNK_BYTES_MAX, COMPACT_BYTES_MAX, HEAD_BUFFER_BYTES, HEADROOM_BYTES, POOL_BYTES_MAX, RECORD_CHUNK_BYTES,
    SEND_BUFFERS_MAX, SHARE_COPY_BYTES_MAX, SHARED_MAX, SHARED_SHARE,
};

/// A pool with `head_buffers` receive buffers and the least pooled memory that there can be: one chunk of the largest size.
fn pool(head_buffers: u16) -> Pool {
    Pool::new(PoolSize { head_buffers, bulk_buffers: 1, bytes: CHUNK_BYTES_MAX })
}

/// A lease on a receive buffer, as a backend makes it.
fn received(pool: &Pool, bytes: &[u8]) -> Chunk {
    let filled = pool.receive(Group::Heads).fill(|room| {
        room[..bytes.len()].copy_from_slice(bytes);
        Ok::<_, ()>((bytes.len(), ()))
    });
    filled.expect("a buffer is home").expect("it was filled").0
}

fn chunk(pool: &Pool, bytes: &[u8]) -> Chunk {
    let mut chunk = pool.lease(bytes.len()).expect("the pool has room");
    chunk.put(bytes);
    chunk.freeze()
}

#[track_caller]
fn check_home(pool: &Pool) {
    let stats = pool.stats();
    assert_eq!((stats.heads_leased, stats.bulk_leased, stats.pooled_bytes), (0, 0, 0));
    for group in [Group::Heads, Group::Bulk] {
        let receive = pool.receive(group);
        let mut home: Vec<u16> = std::iter::from_fn(|| receive.take()).collect();
        home.iter().rev().for_each(|&buffer| receive.put_back(buffer));
        home.sort_unstable();
        assert!(home.into_iter().eq(0..receive.count()), "each buffer is home once");
    }
}

fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

// ---- pooled chunks -------------------------------------------------------------------------------------------------

#[test]
fn a_request_takes_the_smallest_chunk_that_fits() {
    let pool = pool(1);
    for (bytes, capacity) in [
        (0, 256),
        (1, 256),
        (256, 256),
        (257, 1024),
        (1025, 4096),
        (4097, RECORD_CHUNK_BYTES),
        (RECORD_CHUNK_BYTES + 1, CHUNK_BYTES_MAX),
        (CHUNK_BYTES_MAX, CHUNK_BYTES_MAX),
    ] {
        let chunk = pool.lease(bytes).expect("it is alone");
        assert_eq!((chunk.capacity(), chunk.len(), chunk.room()), (capacity, 0, capacity), "{bytes} bytes");
        assert_eq!(pool.stats().pooled_bytes, capacity as u64);
    }
    assert!(pool.lease(CHUNK_BYTES_MAX + 1).is_none());
    assert_eq!(pool.stats().refused, 0, "no pool has a chunk that large, so none was refused");
    check_home(&pool);
}

#[test]
fn the_bound_holds_over_all_sizes() {
    let pool = pool(1);
    let mut held = vec![pool.lease(RECORD_CHUNK_BYTES).unwrap(), pool.lease(4096).unwrap()];
    while let Some(chunk) = pool.lease(256) {
        held.push(chunk);
    }
    assert_eq!(pool.stats().pooled_bytes, CHUNK_BYTES_MAX as u64);
    assert_eq!(pool.stats().refused, 1);
    held.remove(0);
    let again = pool.lease(RECORD_CHUNK_BYTES).map(|chunk| chunk.capacity());
    assert_eq!(again, Some(RECORD_CHUNK_BYTES), "what came home is lent again");
    drop(held);
    check_home(&pool);
}

#[test]
fn what_is_being_written_can_be_changed_and_what_was_split_off_cannot() {
    let pool = pool(1);
    let mut chunk = pool.lease(100).unwrap();
    chunk.put(b"first");
    let first = chunk.split();
    chunk.put(b"second");
    chunk.make_ascii_uppercase();
    assert_eq!((&first[..], &chunk[..]), (&b"first"[..], &b"SECOND"[..]));
    drop((first, chunk));
    check_home(&pool);
}

#[test]
fn chunks_do_not_overlap_and_the_latest_is_used_first() {
    let pool = pool(1);
    let held: Vec<Chunk> = (0..64u8).map(|byte| chunk(&pool, &[byte; 1000])).collect();
    assert!(held.iter().zip(0u8..).all(|(chunk, byte)| chunk[..] == [byte; 1000]));
    let mut held = held;
    let address = held.remove(20).as_ptr();
    let latest = held.remove(5).as_ptr();
    let again = [chunk(&pool, &[0; 1000]), chunk(&pool, &[0; 1000])];
    assert_eq!([again[0].as_ptr(), again[1].as_ptr()], [latest, address]);
    drop(held);
    drop(again);
    check_home(&pool);
}

#[test]
fn every_slice_keeps_its_block() {
    let pool = pool(1);
    let whole = chunk(&pool, b"the whole of it");
    let mut rest = whole.slice(4..15);
    let first = rest.split_to(5);
    let copy = first.clone();
    let mut end = rest.clone();
    end.advance(4);
    end.truncate(2);
    rest.truncate(100);
    drop(whole);
    assert_eq!(
        (&first[..], &copy[..], &rest[..], &end[..]),
        (&b"whole"[..], &b"whole"[..], &b" of it"[..], &b"it"[..])
    );
    assert_eq!(pool.stats().pooled_bytes, 256);
    drop((first, copy, rest));
    assert_eq!(pool.stats().pooled_bytes, 256);
    drop(end);
    check_home(&pool);
}

#[test]
fn a_chunk_is_written_to_the_end_and_not_past_it() {
    let pool = pool(1);
    let mut chunk = pool.lease(256).unwrap();
    chunk.put(b"abc");
    chunk.spare()[..2].copy_from_slice(b"de");
    chunk.commit(2);
    assert_eq!((&chunk[..], chunk.room()), (&b"abcde"[..], 251));
    assert_eq!(chunk.put_some(&[b'x'; 300]), 251);
    assert_eq!((chunk.len(), chunk.room(), chunk.put_some(b"y")), (256, 0, 0));
    chunk.clear();
    assert!(chunk.is_empty() && chunk.room() == 256);
    assert!(chunk.freeze().is_empty());
}

#[test]
#[should_panic(expected = "commit of 257 bytes with room for 256")]
fn no_more_is_committed_than_there_is_room() {
    pool(1).lease(1).unwrap().commit(257);
}

#[test]
#[should_panic(expected = "advance by 4 in a chunk of 3 bytes")]
fn a_chunk_does_not_advance_past_its_end() {
    chunk(&pool(1), b"abc").advance(4);
}

#[test]
#[should_panic(expected = "2..4 in a chunk of 3 bytes")]
fn a_slice_lies_within() {
    chunk(&pool(1), b"abc").slice(2..4);
}

// ---- receive buffers -----------------------------------------------------------------------------------------------

#[test]
fn a_receive_buffer_is_home_when_its_last_lease_ends() {
    let pool = pool(2);
    let chunk = received(&pool, &[7; 2000]);
    assert!(chunk.pins_receive_buffer());
    let part = chunk.slice(10..20);
    assert_eq!(pool.stats().heads_leased, 1);
    drop(chunk);
    assert_eq!(pool.stats().heads_leased, 1);
    assert_eq!(part[..], [7; 10]);
    drop(part);
    check_home(&pool);
}

#[test]
fn what_was_not_filled_stays_home() {
    let pool = pool(1);
    let refused = pool.receive(Group::Heads).fill(|_| Err::<(usize, ()), _>("nothing there"));
    assert!(matches!(refused, Some(Err("nothing there"))));
    check_home(&pool);

    let kept = received(&pool, &[1; 4000]);
    let none = pool.receive(Group::Heads).fill(|_| -> Result<(usize, ()), ()> { panic!("no buffer is home") });
    assert!(none.is_none());
    drop(kept);
    check_home(&pool);
}

#[test]
fn the_whole_buffer_can_be_filled() {
    let pool = pool(1);
    let bytes = vec![9; HEAD_BUFFER_BYTES as usize];
    assert!(received(&pool, &bytes)[..] == bytes);
    check_home(&pool);
}

/// Length of a lease, whether another pins the last buffer but one, and whether it then still pins its own.
#[test]
fn leases_are_moved_where_buffers_are_scarce() {
    for (bytes, held, pins) in
        [(1, 0, true), (1, 6, true), (1, 7, false), (COMPACT_BYTES_MAX, 7, false), (COMPACT_BYTES_MAX + 1, 7, false)]
    {
        let pool = pool(8);
        let _held: Vec<Chunk> = (0..held).map(|_| received(&pool, &[0; 4000])).collect();
        let data = vec![5; bytes];
        let chunk = received(&pool, &data);
        assert_eq!(chunk.pins_receive_buffer(), pins, "{bytes} bytes with {held} held");
        assert!(chunk[..] == data);
        assert_eq!(pool.stats().compactions, u64::from(!pins));
    }
}

#[test]
fn compaction_moves_what_is_small_and_leaves_the_rest() {
    let pool = pool(4);
    let check = |bytes: usize, moves: bool| {
        let mut chunk = received(&pool, &vec![3; bytes]);
        chunk.compact();
        assert_eq!(chunk.pins_receive_buffer(), !moves, "{bytes} bytes");
        assert!(chunk[..] == vec![3; bytes]);
        chunk.compact();
        assert_eq!(chunk.len(), bytes);
    };
    check(0, true);
    check(20, true);
    check(COMPACT_BYTES_MAX, true);
    check(COMPACT_BYTES_MAX + 1, false);
    // An exhausted pool keeps the lease where it is.
    let all = pool.lease(CHUNK_BYTES_MAX).unwrap();
    check(20, false);
    drop(all);
    check(20, true);
    check_home(&pool);
}

/// A slice of a large lease is small, and moving it away frees the buffer once the rest is gone.
#[test]
fn the_rest_of_a_buffer_can_be_moved() {
    let pool = pool(1);
    let mut chunk = received(&pool, &[4; 3000]);
    let head = chunk.split_to(2990);
    chunk.compact();
    assert_eq!(pool.stats().heads_leased, 1);
    drop(head);
    assert_eq!(pool.stats().heads_leased, 0);
    assert_eq!(chunk[..], [4; 10]);
}

/// Changes a chunk: whether that was where it lay.
#[track_caller]
fn check_changed(chunk: &mut Chunk, in_place: bool) {
    let (place, before) = (chunk.as_ptr(), chunk.to_vec());
    assert_eq!(chunk.try_mut().is_some(), in_place);
    let changed = chunk.make_mut().expect("the pool has room");
    changed.iter_mut().for_each(|byte| *byte ^= 0x55);
    assert_eq!(chunk.as_ptr() == place, in_place);
    assert!(chunk.iter().zip(&before).all(|(now, before)| *now == before ^ 0x55));
    assert_eq!(chunk.len(), before.len());
}

#[test]
fn a_lease_that_is_alone_is_changed_where_it_lies() {
    let pool = pool(2);
    for mut chunk in [received(&pool, b"received"), chunk(&pool, b"pooled")] {
        check_changed(&mut chunk, true);
        chunk.advance(2);
        chunk.truncate(3);
        check_changed(&mut chunk, true);
    }
    check_home(&pool);
}

#[test]
fn a_lease_that_is_not_alone_is_copied_and_the_others_stay() {
    let pool = pool(1);
    let mut whole = received(&pool, b"frontback");
    let back = whole.clone().slice(5..9);
    let mut front = whole.split_to(5);
    drop(whole);
    check_changed(&mut front, false);
    assert_eq!((&back[..], front.pins_receive_buffer()), (&b"back"[..], false));
    check_changed(&mut front, true);
    drop(front);
    let (mut back, clone) = (back.clone(), back);
    check_changed(&mut back, false);
    drop((back, clone));
    check_home(&pool);
}

#[test]
fn a_head_goes_before_what_is_alone_as_far_as_there_is_room() {
    let pool = pool(2);
    let mut body = received(&pool, b"head:body");
    body.advance(5);
    body.truncate(3);
    // What was received has room before it that nothing is received into.
    let front = vec![b'h'; 5 + HEADROOM_BYTES as usize];
    let body = body.prepend(&[&front[..], b"h"].concat()).expect_err("a byte more than there is room");
    assert_eq!(&body[..], b"bod");
    let mut whole = body.prepend(&front).expect("there is room");
    assert_eq!((&whole[..front.len()], &whole[front.len()..]), (&front[..], &b"bod"[..]));
    assert_eq!(whole.room(), 0, "what is behind is not given away");
    whole[0] = b'H';
    drop(whole);

    let mut pooled = chunk(&pool, b"0123456789");
    pooled.advance(4);
    let pooled = pooled.prepend(b"01234").expect_err("the block begins four bytes before");
    let pooled = pooled.prepend(b"").expect("nothing always fits").freeze();
    assert_eq!(&pooled.prepend(b"wxyz").expect("there are four bytes")[..], b"wxyz456789");
    check_home(&pool);
}

#[test]
fn nothing_is_written_before_a_lease_that_is_not_alone() {
    let pool = sharing_pool(64);
    let mut body = received(&pool, &[7; 4096]);
    let head = body.split_to(8);
    let body = body.prepend(b"other").expect_err("another lease is on what lies there");
    assert_eq!(head[..], [7; 8]);
    drop(head);
    let shared = body.clone().share();
    let body = body.prepend(b"other").expect_err("a shared one counts until it is home");
    drop(shared);
    assert_eq!(body.prepend(b"other").expect("it is home").len(), 5 + 4088);
    check_home(&pool);
}

#[test]
fn what_is_shared_is_not_changed_until_it_is_home() {
    let pool = sharing_pool(64);
    let mut chunk = received(&pool, &[7; 4096]);
    let shared = chunk.clone().share();
    assert!(chunk.try_mut().is_none());
    std::thread::spawn(move || assert!(shared.iter().all(|&byte| byte == 7))).join().unwrap();
    check_changed(&mut chunk, true);
    drop(chunk);
    check_home(&pool);
}

#[test]
fn without_room_for_a_copy_nothing_changes() {
    let pool = pool(1);
    let mut chunk = received(&pool, b"received");
    let (other, _all) = (chunk.clone(), pool.lease(CHUNK_BYTES_MAX).expect("the pool has one"));
    assert!(chunk.make_mut().is_none());
    drop(other);
    assert_eq!(&chunk[..], b"received");
    check_changed(&mut chunk, true);
}

#[test]
fn leases_outlive_the_pool_and_each_other() {
    let pool = pool(2);
    let (first, second) = (received(&pool, &[1; 1500]), chunk(&pool, b"pooled"));
    let open: ChunkMut = pool.lease(10).unwrap();
    drop(pool);
    let copy = first.clone();
    drop(first);
    assert_eq!((copy.len(), &second[..], open.len()), (1500, &b"pooled"[..], 0));
}

#[test]
#[should_panic(expected = "a power of two up to 32,768")]
fn rings_have_powers_of_two() {
    pool(3);
}

/// Random leases, slices and ends, against what each must contain.
#[test]
fn leases_keep_their_bytes() {
    for seed in 0..20 {
        let mut random = seed;
        let pool = pool(8);
        let mut held: Vec<(Chunk, Vec<u8>)> = Vec::new();
        for step in 0..500 {
            let context = format!("seed {seed}, step {step}");
            let count = next(&mut random);
            let bytes = vec![count as u8; count % 3000];
            match next(&mut random) % 6 {
                0 if pool.stats().heads_leased < 8 => held.push((received(&pool, &bytes), bytes)),
                1 => {
                    if let Some(mut chunk) = pool.lease(bytes.len()) {
                        chunk.put(&bytes);
                        held.push((chunk.freeze(), bytes));
                    }
                }
                2 if !held.is_empty() => drop(held.swap_remove(count % held.len())),
                3 if !held.is_empty() => {
                    let (chunk, expected) = held.swap_remove(count % held.len());
                    let at = next(&mut random) % (chunk.len() + 1);
                    held.push((chunk.slice(0..at), expected[..at].to_vec()));
                    held.push((chunk.slice(at..chunk.len()), expected[at..].to_vec()));
                }
                4 if !held.is_empty() => {
                    let index = count % held.len();
                    held[index].0.compact();
                }
                _ => {}
            }
            assert!(held.iter().all(|(chunk, expected)| chunk[..] == expected[..]), "{context}");
        }
        drop(held);
        check_home(&pool);
    }
}

// ---- shared with other threads -------------------------------------------------------------------------------------

/// Bytes of a lease, and whether it is shared rather than copied.
#[track_caller]
fn check_share(pool: &Pool, chunk: Chunk, is_shared: bool) -> Bytes {
    let (start, expected, before) = (chunk.as_ptr(), chunk.to_vec(), pool.stats());
    let shared = chunk.share();
    assert!(shared[..] == expected);
    assert_eq!(shared.as_ptr() == start, is_shared, "{} bytes", expected.len());
    assert_eq!(pool.stats().shared, before.shared + u32::from(is_shared));
    shared
}

/// Room for a few of the largest chunks to be shared.
fn sharing_pool(head_buffers: u16) -> Pool {
    Pool::new(PoolSize { head_buffers, bulk_buffers: 4, bytes: 4 * SHARED_SHARE as usize * CHUNK_BYTES_MAX })
}

#[test]
fn what_is_large_is_shared_and_what_is_small_is_copied() {
    for (bytes, is_shared) in [
        (0, false),
        (1, false),
        (SHARE_COPY_BYTES_MAX, false),
        (SHARE_COPY_BYTES_MAX + 1, true),
        (CHUNK_BYTES_MAX, true),
    ] {
        let pool = sharing_pool(1);
        let shared = check_share(&pool, chunk(&pool, &vec![6; bytes]), is_shared);
        assert_eq!(pool.stats().pooled_bytes > 0, is_shared, "a copy pins nothing");
        drop(shared);
        assert_eq!(pool.stats().shared_returned, u64::from(is_shared));
        check_home(&pool);
    }
}

/// Clones, slices, and leases that stayed at home: the block is home when all of them are gone, in whatever order.
#[test]
fn a_shared_block_is_home_when_its_last_lease_ends() {
    for order in 0..6 {
        let pool = sharing_pool(4);
        let here = received(&pool, &[8; 4000]);
        let there = here.clone().share();
        let slice = there.slice(10..20);
        let mut held: Vec<Box<dyn AsRef<[u8]>>> = vec![Box::new(here), Box::new(there), Box::new(slice)];
        while let Some(last) = held.pop() {
            assert_eq!(pool.stats().heads_leased, 1);
            assert!(last.as_ref().as_ref().iter().all(|&byte| byte == 8));
            drop(last);
            let turn = order % held.len().max(1);
            held.rotate_left(turn);
            if order > 2 {
                held.reverse();
            }
        }
        check_home(&pool);
    }
}

/// A quarter of the receive buffers, a quarter of the bytes, and as many as there are slots: what is more is copied, until
/// one comes home.
#[test]
fn as_much_is_shared_as_may_be_out() {
    let slots = Pool::new(PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: POOL_BYTES_MAX });
    let of_buffers: fn(&Pool) -> Chunk = |pool| received(pool, &[1; 4000]);
    let of_chunks: fn(&Pool) -> Chunk = |pool| chunk(pool, &[2; CHUNK_BYTES_MAX]);
    let of_small_chunks: fn(&Pool) -> Chunk = |pool| chunk(pool, &[3; SHARE_COPY_BYTES_MAX + 1]);
    for (pool, lease, count) in
        [(sharing_pool(16), of_buffers, 4), (sharing_pool(1), of_chunks, 4), (slots, of_small_chunks, SHARED_MAX)]
    {
        let mut out: Vec<Bytes> = (0..count).map(|_| check_share(&pool, lease(&pool), true)).collect();
        for _ in 0..2 {
            drop(check_share(&pool, lease(&pool), false));
        }
        assert_eq!(pool.stats().shared_refused, 2);
        out.swap_remove(count / 2);
        out.push(check_share(&pool, lease(&pool), true));
        drop(check_share(&pool, lease(&pool), false));
        drop(out);
        assert_eq!((pool.stats().shared, pool.stats().shared_returned), (0, count as u64 + 1));
        check_home(&pool);
    }
}

/// What is out is in nobody's way when memory is needed: a lease finds what has come home meanwhile.
#[test]
fn a_lease_finds_what_has_come_home() {
    let pool = sharing_pool(1);
    let out = chunk(&pool, &[1; CHUNK_BYTES_MAX]).share();
    let mut held: Vec<ChunkMut> = std::iter::from_fn(|| pool.lease(CHUNK_BYTES_MAX)).collect();
    std::thread::spawn(move || drop(out)).join().unwrap();
    held.push(pool.lease(CHUNK_BYTES_MAX).expect("it is home"));
    drop(held);
    check_home(&pool);
}

/// Threads read and drop what one thread shares with them while it goes on leasing: every byte stays what it was for as long
/// as somebody holds it, and in the end all of the pool is home.
#[test]
fn threads_read_what_they_are_given() {
    for seed in 0..4 {
        let pool = sharing_pool(32);
        let threads = [0, 1, 2].map(|_| {
            let (sender, receiver) = std::sync::mpsc::sync_channel::<(u8, Bytes)>(8);
            let thread = std::thread::spawn(move || {
                let mut kept = Vec::new();
                for (byte, shared) in receiver {
                    assert!(shared.iter().all(|&found| found == byte), "seed {seed}");
                    if byte % 3 == 0 {
                        kept.push(shared.slice(..shared.len() / 2));
                    }
                    kept.truncate(5);
                }
            });
            (sender, thread)
        });
        let mut random = seed;
        for step in 0..3000 {
            let byte = step as u8;
            let data = vec![byte; next(&mut random) % 4096];
            let chunk = match next(&mut random) % 2 {
                0 if pool.stats().heads_leased < 32 => received(&pool, &data),
                _ => chunk(&pool, &data),
            };
            threads[next(&mut random) % threads.len()].0.send((byte, chunk.share())).expect("the thread lives");
        }
        for (sender, thread) in threads {
            drop(sender);
            thread.join().unwrap();
        }
        assert_eq!(pool.stats().shared, 0, "seed {seed}");
        assert!(pool.stats().shared_returned > 0);
        check_home(&pool);
    }
}

/// The pool's end and the last reference, in either order; the second pool is dropped while a thread still holds its bytes.
#[test]
fn what_is_shared_outlives_its_pool() {
    for ends_first in [false, true] {
        let pool = sharing_pool(4);
        let (first, second) = (received(&pool, &[1; 4000]).share(), chunk(&pool, &[2; CHUNK_BYTES_MAX]).share());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            if ends_first {
                wait.recv().expect("the pool is gone");
            }
            assert!(first.iter().all(|&byte| byte == 1));
        });
        drop(pool);
        go.send(()).ok();
        thread.join().unwrap();
        assert!(second.iter().all(|&byte| byte == 2));
    }
}

/// Nobody is woken for what nobody waits for; whoever waits is.
#[test]
fn the_owner_is_woken_only_if_a_receive_waits() {
    let pool = sharing_pool(16);
    let wakes = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    pool.wake_by({
        let wakes = wakes.clone();
        move || _ = wakes.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    });
    let woken = || wakes.load(std::sync::atomic::Ordering::Relaxed);
    let share = || received(&pool, &[1; 4000]).share();
    drop(share());
    assert_eq!((woken(), pool.has_news()), (0, false));
    pool.collect();
    let (first, second) = (share(), share());
    pool.set_awaited(true);
    assert!(!pool.has_news());
    drop(first);
    assert_eq!((woken(), pool.has_news()), (1, true));
    drop(second);
    assert_eq!(woken(), 1, "one wake-up is enough for both");
    pool.collect();
    assert!(!pool.has_news());
    pool.set_awaited(false);
    drop(share());
    assert_eq!((woken(), pool.has_news()), (1, false));
    check_home(&pool);
}

// ---- what a send takes ---------------------------------------------------------------------------------------------

#[test]
fn every_kind_of_buffer_advances_and_splits() {
    let pool = pool(1);
    let kinds = || -> [Buf; 6] {
        [
            chunk(&pool, b"abcdef").into(),
            Bytes::from_static(b"abcdef").into(),
            "abcdef".into(),
            b"abcdef".as_slice().into(),
            b"abcdef".to_vec().into(),
            String::from("abcdef").into(),
        ]
    };
    for mut buf in kinds() {
        assert_eq!(buf.split_to(0).as_slice(), b"");
        for (count, front, rest) in [(0, "", "abcdef"), (1, "a", "bcdef"), (5, "bcdef", "")] {
            assert_eq!(buf.split_to(count).as_slice(), front.as_bytes());
            assert_eq!(buf.as_slice(), rest.as_bytes(), "{buf:?}");
        }
    }
    for mut buf in kinds() {
        for (count, rest) in [(0, "abcdef"), (2, "cdef"), (4, "")] {
            buf.advance(count);
            assert_eq!(
                (buf.as_slice(), buf.len(), buf.is_empty()),
                (rest.as_bytes(), rest.len(), rest.is_empty()),
                "{buf:?}"
            );
        }
    }
    assert!(Buf::default().is_empty());
}

#[test]
fn a_list_takes_as_many_buffers_as_one_send() {
    let mut list = BufList::new();
    for _ in 0..SEND_BUFFERS_MAX {
        assert!(!list.is_full());
        list.push("x".into()).unwrap();
    }
    assert!(list.is_full());
    assert_eq!(list.push("too much".into()).unwrap_err().as_slice(), b"too much", "it comes back");
    assert_eq!((list.len(), list.bytes()), (SEND_BUFFERS_MAX, SEND_BUFFERS_MAX));
    list.clear();
    assert!(list.is_empty() && !list.is_full());
}

#[track_caller]
fn check_advance(parts: &[&'static str], count: usize, left: &[&str]) {
    let mut list = BufList::new();
    parts.iter().for_each(|&part| list.push(part.into()).unwrap());
    list.advance(count);
    let rest: Vec<&[u8]> = list.iter().map(Buf::as_slice).collect();
    assert_eq!(rest, left.iter().map(|part| part.as_bytes()).collect::<Vec<_>>(), "{parts:?} by {count}");
}

#[test]
fn a_list_advances_over_its_buffers() {
    check_advance(&[], 0, &[]);
    check_advance(&["abc", "de"], 0, &["abc", "de"]);
    check_advance(&["abc", "de"], 2, &["c", "de"]);
    check_advance(&["abc", "de"], 3, &["de"]);
    check_advance(&["abc", "de"], 4, &["e"]);
    check_advance(&["abc", "de"], 5, &[]);
    check_advance(&["", "ab", ""], 0, &["ab", ""]);
    check_advance(&["ab", "", "cd"], 2, &["cd"]);
    check_advance(&["ab", "", "cd"], 3, &["d"]);
}

#[test]
#[should_panic(expected = "a send took no more bytes than it was given")]
fn a_list_does_not_advance_past_its_end() {
    check_advance(&["abc"], 4, &[]);
}

/// Sent in random pieces, a list gives its bytes in order.
#[test]
fn a_list_sent_in_pieces_gives_all_its_bytes() {
    for seed in 0..50 {
        let mut random = seed;
        let mut list = BufList::new();
        for index in 0..next(&mut random) % (SEND_BUFFERS_MAX + 1) {
            list.push(vec![index as u8; next(&mut random) % 50].into()).unwrap();
        }
        let expected: Vec<u8> = list.iter().flat_map(|buf| buf.to_vec()).collect();
        let mut sent = Vec::new();
        while list.bytes() > 0 {
            let all: Vec<u8> = list.iter().flat_map(|buf| buf.to_vec()).collect();
            let count = 1 + next(&mut random) % all.len();
            sent.extend_from_slice(&all[..count]);
            list.advance(count);
        }
        assert_eq!(sent, expected, "seed {seed}");
    }
}

/// What is written behind a piece that was split off leaves that alone, and the block goes home with the last of them.
#[test]
fn a_chunk_is_written_on_behind_what_was_split_off() {
    let pool = Pool::new(PoolSize::default());
    let before = pool.stats().pooled_bytes;
    let mut chunk = pool.lease(100).unwrap();
    let room = chunk.room();
    chunk.put(b"first");
    let mut first = chunk.split();
    assert!(chunk.is_empty() && chunk.room() == room - 5 && chunk.capacity() == room - 5);
    assert!(chunk.split().is_empty());
    chunk.put(b"second");
    assert!(first.try_mut().is_none(), "another lease looks at the block");
    let second = chunk.split();
    let rest = vec![b'x'; chunk.room()];
    chunk.put(&rest);
    let last = chunk.split();
    assert_eq!(chunk.room(), 0);
    assert_eq!((&first[..], &second[..], last.len()), (&b"first"[..], &b"second"[..], room - 11));
    drop((first, last, chunk));
    assert!(pool.stats().pooled_bytes > before);
    drop(second);
    assert_eq!(pool.stats().pooled_bytes, before);
}
