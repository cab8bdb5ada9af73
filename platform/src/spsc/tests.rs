//! The ring's promises on one thread, where they can be stated exactly, and its order between two real ones.

use super::{Full, Producer, ring};
use std::collections::VecDeque;
use std::rc::Rc;
use std::thread;

/// Random steps on both ends, compared with two queues: what is written and what is published.
#[track_caller]
fn check(seed: u64, capacity: usize) {
    let mut random = seed;
    let (mut producer, mut consumer) = ring(capacity);
    let (mut written, mut published) = (VecDeque::new(), VecDeque::new());
    let mut taken = 0; // Taken, and perhaps not given back yet.

    for step in 0..5_000u64 {
        let context = format!("seed {seed}, capacity {capacity}, step {step}");
        match next(&mut random) % 8 {
            0..=3 => match producer.push(step) {
                Ok(()) => written.push_back(step),
                Err(back) => {
                    assert_eq!(back, step, "{context}");
                    published.append(&mut written);
                    let slots = published.len() + taken;
                    assert!(slots >= capacity, "{context}: refused with {slots} slots in use");
                }
            },
            4 => {
                assert_eq!(producer.publish(), !written.is_empty(), "{context}");
                published.append(&mut written);
            }
            5 | 6 => {
                let expect = published.pop_front();
                assert_eq!(consumer.pop(), expect, "{context}");
                taken = if expect.is_some() { taken + 1 } else { 0 };
            }
            _ => {
                let count = next(&mut random) as usize % 3;
                let expect: Vec<_> = published.drain(..count.min(published.len())).collect();
                let drain = consumer.drain();
                assert_eq!(drain.len(), expect.len() + published.len(), "{context}");
                assert_eq!(drain.take(count).collect::<Vec<_>>(), expect, "{context}");
                taken = 0;
            }
        }
        assert_eq!(producer.unpublished(), written.len(), "{context}");
        assert_eq!(consumer.is_empty(), published.is_empty(), "{context}");
        let room = capacity - written.len() - published.len();
        assert!((room - taken.min(room)..=room).contains(&producer.room()), "{context}: room is {}", producer.room());
        let held_back = room - producer.room();
        assert!(held_back * 2 < capacity, "{context}: {held_back} slots are held back");
    }
}

/// One step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn push_waiting<T>(producer: &mut Producer<T>, mut item: T) {
    while let Err(back) = producer.push(item) {
        item = back;
        thread::yield_now();
    }
}

#[test]
fn behaves_like_a_queue_with_a_published_part() {
    for seed in 0..8 {
        for capacity in [1, 2, 4, 64] {
            check(seed, capacity);
        }
    }
}

#[test]
fn indices_wrap() {
    let (mut producer, mut consumer) = ring(4);
    let start = usize::MAX - 5;
    producer.ring.head.0.index.store(start, std::sync::atomic::Ordering::Relaxed);
    producer.ring.tail.0.index.store(start, std::sync::atomic::Ordering::Relaxed);
    (producer.tail, producer.tail_shown, producer.head_seen) = (start, start, start);
    (consumer.head, consumer.head_shown, consumer.tail_seen) = (start, start, start);
    for number in 0..20 {
        push_waiting(&mut producer, number);
        push_waiting(&mut producer, number + 100);
        producer.publish();
        assert_eq!(consumer.drain().collect::<Vec<_>>(), [number, number + 100]);
    }
    (0..4).for_each(|number| producer.push(number).unwrap());
    assert_eq!(producer.push(4), Err(4));
}

#[test]
fn a_drain_ends_although_more_arrives() {
    let (mut producer, mut consumer) = ring(8);
    producer.push(1).unwrap();
    producer.publish();
    let mut seen = 0;
    for _ in consumer.drain() {
        producer.push(1).unwrap();
        producer.publish();
        seen += 1;
    }
    assert_eq!(seen, 1);
    assert!(!consumer.is_empty());
}

#[test]
fn a_forgotten_drain_loses_nothing() {
    let (mut producer, mut consumer) = ring(4);
    (0..4).for_each(|number| producer.push(number).unwrap());
    producer.publish();
    let mut drain = consumer.drain();
    assert_eq!(drain.next(), Some(0));
    std::mem::forget(drain);
    assert_eq!(consumer.drain().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(producer.room(), 4);
}

#[test]
fn an_item_as_large_as_a_line_lies_on_one() {
    let (producer, _consumer) = ring::<[u64; 8]>(8);
    for slot in producer.ring.slots.iter() {
        assert_eq!(std::ptr::from_ref(slot).addr() % 64, 0);
    }
}

#[test]
fn items_of_every_shape_arrive_as_they_were() {
    #[track_caller]
    fn check<T: Clone + PartialEq + std::fmt::Debug>(item: T) {
        let (mut producer, mut consumer) = ring(2);
        for _ in 0..5 {
            producer.push(item.clone()).unwrap();
            producer.publish();
            assert_eq!(consumer.pop().as_ref(), Some(&item));
        }
    }
    check(7u8);
    check([1u16, 2, 3]);
    check((1u8, 2u32, 3u64));
    check([3u8; 9]);
    check(u128::MAX - 1);
    check(String::from("moved"));
    check([String::from("a"), String::from("b")]);
    check(None::<Box<u8>>);
}

#[test]
fn nothing_is_pushed_as_nothing() {
    let (mut producer, mut consumer) = ring::<u8>(1);
    for _ in 0..3 {
        assert_eq!(producer.push_from(&mut None), Ok(()));
    }
    assert_eq!((producer.room(), consumer.pop()), (1, None));
}

#[test]
fn what_is_pushed_from_a_place_leaves_it_or_stays() {
    let (mut producer, mut consumer) = ring(1);
    let (mut first, mut second) = (Some(String::from("a")), Some(String::from("b")));
    assert_eq!((producer.push_from(&mut first), first), (Ok(()), None));
    assert_eq!(producer.push_from(&mut second), Err(Full));
    assert_eq!(second.as_deref(), Some("b"));
    assert_eq!(consumer.pop().as_deref(), Some("a"), "a full ring is published");
    assert_eq!((producer.push_from(&mut second), second), (Ok(()), None));
}

#[test]
fn each_side_learns_that_the_other_has_gone() {
    let (mut producer, mut consumer) = ring(4);
    assert_eq!((producer.is_closed(), consumer.is_closed()), (false, false));
    producer.push(1).unwrap();
    drop(producer);
    assert!(consumer.is_closed());
    assert_eq!((consumer.pop(), consumer.pop()), (Some(1), None), "dropping the producer publishes");

    let (mut producer, consumer) = ring(4);
    drop(consumer);
    assert!(producer.is_closed());
    assert_eq!(producer.push(1), Ok(()), "which room there is stays usable");
}

#[test]
fn what_is_left_is_dropped() {
    for producer_first in [true, false] {
        let counted = Rc::new(());
        let (mut producer, mut consumer) = ring(8);
        (0..5).for_each(|_| producer.push(counted.clone()).unwrap());
        producer.publish();
        drop(consumer.pop());
        producer.push(counted.clone()).unwrap(); // Never published by hand.
        assert_eq!(Rc::strong_count(&counted), 6);
        if producer_first {
            drop(producer);
            drop(consumer);
        } else {
            drop(consumer);
            drop(producer);
        }
        assert_eq!(Rc::strong_count(&counted), 1, "producer first: {producer_first}");
    }
}

#[test]
fn items_without_size_are_counted_all_the_same() {
    let (mut producer, mut consumer) = ring(2);
    producer.push(()).unwrap();
    producer.push(()).unwrap();
    assert_eq!(producer.push(()), Err(()));
    assert_eq!(consumer.drain().count(), 2);
}

#[test]
fn two_threads_keep_the_order() {
    const COUNT: usize = 200_000;
    for (capacity, batch) in [(1, 1), (4, 3), (256, 32)] {
        let (mut producer, mut consumer) = ring(capacity);
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..COUNT {
                    push_waiting(&mut producer, Box::new(number));
                    if number % batch == 0 {
                        producer.publish();
                    }
                }
            });
            let mut expect = 0;
            loop {
                let closed = consumer.is_closed();
                for number in consumer.drain() {
                    assert_eq!(*number, expect, "capacity {capacity}, batch {batch}");
                    expect += 1;
                }
                if closed {
                    break;
                }
                thread::yield_now();
            }
            assert_eq!(expect, COUNT);
        });
    }
}

#[test]
#[should_panic(expected = "power of two")]
fn a_capacity_of_three_is_refused() {
    ring::<u8>(3);
}

#[test]
#[should_panic(expected = "power of two")]
fn a_capacity_of_zero_is_refused() {
    ring::<u8>(0);
}
