//! The ring's promises on one thread, where they can be stated exactly, and its order between two real ones.

use super::{Full, Producer, Shape, halves, ring};
use crate::inline_fn::InlineFn;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
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

fn push_waiting<T, S: Shape<T>>(producer: &mut Producer<T, S>, mut item: T) {
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
    // Many, so that it is not by chance where the heap has put them.
    let rings: Vec<_> = (0..64).map(|_| ring::<[u64; 8]>(2)).collect();
    for (producer, _) in &rings {
        for slot in producer.ring.slots.iter() {
            assert_eq!(std::ptr::from_ref(slot).addr() % 64, 0);
        }
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
    check([3u8; 16]);
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
    // The smaller the ring, the more often one waits for the other: on a busy machine a slice of its time each.
    for (capacity, batch, count) in [(1, 1, 10_000), (4, 3, 30_000), (256, 32, 200_000)] {
        let (mut producer, mut consumer) = ring(capacity);
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..count {
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
            assert_eq!(expect, count);
        });
    }
}

/// A closure that gives its number; whole in a half of its length, or not.
fn closure(number: u64, is_short: bool, counted: &Arc<()>) -> InlineFn<(), u64, 48> {
    let counted = counted.clone();
    match is_short {
        true => InlineFn::new(move |()| {
            drop(counted);
            number
        }),
        false => {
            let numbers = [number; 4];
            InlineFn::new(move |()| {
                drop(counted);
                assert_eq!(numbers, [number; 4]);
                number
            })
        }
    }
}

#[test]
fn short_items_take_half_the_room() {
    let counted = Arc::new(());
    let (mut producer, mut consumer) = halves(4);
    assert_eq!((producer.capacity(), producer.room()), (4, 4));
    (0..8).for_each(|number| producer.push(closure(number, true, &counted)).unwrap());
    assert!(producer.push(closure(8, true, &counted)).is_err());
    assert_eq!(consumer.drain().map(|item| item.call(&())).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    (0..4).for_each(|number| producer.push(closure(number, false, &counted)).unwrap());
    assert!(producer.push(closure(4, true, &counted)).is_err());
    let mut drain = consumer.drain();
    assert_eq!((drain.size_hint(), drain.next().map(|item| item.call(&()))), ((4, Some(8)), Some(0)));
    drop(drain);
    producer.push(closure(4, true, &counted)).unwrap();
    assert!(producer.push(closure(5, false, &counted)).is_err(), "half an item is no room for a whole one");
    producer.push(closure(6, true, &counted)).unwrap();
    producer.publish();
    assert_eq!(consumer.drain().map(|item| item.call(&())).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn items_of_both_lengths_keep_their_order_and_are_dropped_once() {
    for seed in 0..8 {
        let mut random = seed;
        let counted = Arc::new(());
        let (mut producer, mut consumer) = halves(4);
        let mut expect = VecDeque::new();
        for number in 0..5_000 {
            if producer.push(closure(number, next(&mut random).is_multiple_of(2), &counted)).is_ok() {
                expect.push_back(number);
            }
            if next(&mut random).is_multiple_of(3) {
                producer.publish();
                let count = next(&mut random) as usize % 6;
                let taken: Vec<_> = consumer.drain().take(count).map(|item| item.call(&())).collect();
                let expected: Vec<_> = expect.drain(..count.min(expect.len())).collect();
                assert_eq!(taken, expected, "seed {seed}, number {number}");
            }
            assert_eq!(Arc::strong_count(&counted), 1 + expect.len(), "seed {seed}, number {number}");
        }
        drop(producer);
        drop(consumer);
        assert_eq!(Arc::strong_count(&counted), 1, "seed {seed}: what is left is dropped with the ring");
    }
}

#[test]
fn two_threads_keep_the_order_of_items_of_both_lengths() {
    const COUNT: u64 = 20_000;
    let counted = Arc::new(());
    let (mut producer, mut consumer) = halves(16);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                push_waiting(&mut producer, closure(number, number % 3 != 0, &counted));
                if number % 5 == 0 {
                    producer.publish();
                }
            }
            producer.publish();
        });
        for number in 0..COUNT {
            let item = loop {
                match consumer.pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(item.call(&()), number);
        }
    });
    assert_eq!(Arc::strong_count(&counted), 1);
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
