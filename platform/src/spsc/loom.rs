//! The ring under loom: every interleaving of two threads, and every value that the memory model lets a load see.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p shardwise-platform --lib loom`

use super::{Consumer, Producer, halves, ring};
use crate::inline_fn::InlineFn;
use loom::thread;
use std::sync::Arc;

/// Runs both ends, each on its thread, in every order there is. Items are counted, so that a lost or doubled one shows.
fn check(
    capacity: usize,
    produce: impl Fn(Producer<Item>, &Arc<()>) + Copy + Send + Sync + 'static,
    consume: impl Fn(Consumer<Item>) + Send + Sync + 'static,
) {
    loom::model(move || {
        let counted = Arc::new(());
        let (producer, consumer) = ring(capacity);
        let there = thread::spawn({
            let counted = counted.clone();
            move || produce(producer, &counted)
        });
        consume(consumer);
        there.join().unwrap();
        assert_eq!(Arc::strong_count(&counted), 1, "every item is dropped once");
    });
}

/// A number, in memory of its own so that loom sees who touches it, and counted.
struct Item(usize, #[expect(dead_code, reason = "held for its count")] Arc<()>);

fn push_waiting(producer: &mut Producer<Item>, number: usize, counted: &Arc<()>) {
    let mut item = Item(number, counted.clone());
    while let Err(back) = producer.push(item) {
        item = back;
        thread::yield_now();
    }
}

fn pop_waiting(consumer: &mut Consumer<Item>) -> usize {
    loop {
        match consumer.pop() {
            Some(item) => return item.0,
            None => thread::yield_now(),
        }
    }
}

#[test]
fn items_arrive_in_order_while_slots_are_reused() {
    for capacity in [1, 2] {
        check(
            capacity,
            |mut producer, counted| {
                for number in 0..3 {
                    push_waiting(&mut producer, number, counted);
                    producer.publish();
                }
            },
            |mut consumer| {
                for number in 0..3 {
                    assert_eq!(pop_waiting(&mut consumer), number);
                }
            },
        );
    }
}

#[test]
fn batches_arrive_whole() {
    check(
        4,
        |mut producer, counted| {
            for batch in [0..2, 2..4] {
                for number in batch {
                    push_waiting(&mut producer, number, counted);
                }
                producer.publish();
            }
        },
        |mut consumer| {
            let mut seen = Vec::new();
            while seen.len() < 4 {
                let batch: Vec<_> = consumer.drain().map(|item| item.0).collect();
                assert_eq!(batch.len() % 2, 0, "half a batch is seen");
                seen.extend(batch);
                thread::yield_now();
            }
            assert_eq!(seen, [0, 1, 2, 3]);
        },
    );
}

#[test]
fn a_full_ring_shows_what_it_holds() {
    check(
        2,
        |mut producer, counted| (0..4).for_each(|number| push_waiting(&mut producer, number, counted)),
        |mut consumer| (0..4).for_each(|number| assert_eq!(pop_waiting(&mut consumer), number)),
    );
}

#[test]
fn closed_and_then_empty_means_that_all_was_seen() {
    check(
        2,
        |mut producer, counted| {
            push_waiting(&mut producer, 0, counted);
            producer.publish();
            push_waiting(&mut producer, 1, counted);
        },
        |mut consumer| {
            let mut seen = Vec::new();
            loop {
                let closed = consumer.is_closed();
                seen.extend(consumer.drain().map(|item| item.0));
                if closed {
                    break;
                }
                thread::yield_now();
            }
            assert_eq!(seen, [0, 1]);
        },
    );
}

#[test]
fn the_producer_learns_that_the_consumer_has_gone() {
    check(
        2,
        |mut producer, counted| {
            push_waiting(&mut producer, 0, counted);
            producer.publish();
            while !producer.is_closed() {
                thread::yield_now();
            }
            assert_eq!(producer.room(), producer.capacity(), "the consumer gave its slot back first");
        },
        |mut consumer| {
            assert_eq!(pop_waiting(&mut consumer), 0);
        },
    );
}

#[test]
fn what_nobody_takes_is_dropped_with_the_ring() {
    check(
        2,
        |mut producer, counted| {
            for number in 0..2 {
                push_waiting(&mut producer, number, counted);
                producer.publish();
            }
            drop(producer.push(Item(2, counted.clone())));
        },
        |mut consumer| drop(consumer.pop()),
    );
}

#[test]
fn a_consumer_that_finds_it_not_empty_can_take() {
    check(
        1,
        |mut producer, counted| {
            push_waiting(&mut producer, 0, counted);
            producer.publish();
        },
        |mut consumer| {
            while consumer.is_empty() {
                thread::yield_now();
            }
            assert_eq!(consumer.pop().map(|item| item.0), Some(0));
        },
    );
}

#[test]
fn items_of_both_lengths_arrive_in_order() {
    loom::model(|| {
        let counted = Arc::new(());
        let (mut producer, mut consumer) = halves::<InlineFn<(), usize, 48>>(1);
        let there = thread::spawn({
            let counted = counted.clone();
            move || {
                for number in 0..3 {
                    // Memory of its own, so that loom sees who touches it; the second of them is long.
                    let (counted, padding) = (counted.clone(), Box::new(number));
                    let mut item = match number {
                        1 => InlineFn::new(move |()| (*padding, [counted; 1], [number; 2]).0),
                        _ => InlineFn::new(move |()| (*padding, counted).0),
                    };
                    while let Err(back) = producer.push(item) {
                        item = back;
                        thread::yield_now();
                    }
                    producer.publish();
                }
            }
        });
        for number in 0..2 {
            let item = loop {
                match consumer.pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(item.call(&()), number);
        }
        drop(consumer);
        there.join().unwrap();
        assert_eq!(Arc::strong_count(&counted), 1, "every item is dropped once, also what nobody takes");
    });
}
