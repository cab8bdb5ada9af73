//! Which entry goes: by examples, and against a model that says it as plainly as can be.

use crate::next;
use crate::sieve::{Place, Sieve};

/// Does what `steps` says, and checks who has gone, in order: a letter comes, `+a` uses it, `-a` removes it, `!` evicts.
#[track_caller]
fn check(steps: &str, gone: &str) {
    let (mut sieve, mut places, mut evicted) = (Sieve::new(), Vec::<(char, Place)>::new(), String::new());
    let place_of =
        |places: &[(char, Place)], name| places.iter().rev().find(|(known, _)| *known == name).expect("it has come").1;
    let mut steps = steps.chars();
    while let Some(step) = steps.next() {
        match step {
            '!' => evicted.push(sieve.evict().unwrap_or('-')),
            '+' | '-' => {
                let name = steps.next().expect("a name follows");
                let place = place_of(&places, name);
                match step {
                    '+' => assert_eq!(sieve.use_at(place).copied(), Some(name)),
                    _ => assert_eq!(sieve.remove(place), Some(name)),
                }
            }
            name => places.push((name, sieve.insert(name))),
        }
    }
    assert_eq!(evicted, gone);
}

#[test]
fn what_nobody_uses_goes_in_order() {
    check("abc!!!!", "abc-");
    check("!a!!", "-a-");
}

#[test]
fn what_was_used_is_spared_once() {
    check("abc+a!!!", "bca");
    check("abc+a+b+c!!!", "abc");
    check("ab+a!+a!", "ba");
}

/// The hand goes on from where it was, past those that have come meanwhile.
#[test]
fn the_hand_goes_on_where_it_was() {
    check("abcd+a+b!ef!!!", "cdef");
    check("abcd+a+b!efg+d!!!!!!", "cefgabd");
}

#[test]
fn what_is_removed_is_not_evicted() {
    check("abc-b!!!", "ac-");
    check("abcd+a!-c!!", "bda");
    check("a-ab!c-c!", "b-");
}

#[test]
fn places_are_used_again() {
    let mut sieve = Sieve::new();
    for number in 0..1000 {
        let place = sieve.insert(number);
        assert_eq!(sieve.get(place), Some(&number));
        if number >= 10 {
            assert_eq!(sieve.evict(), Some(number - 10));
        }
    }
    assert_eq!((sieve.len(), sieve.places()), (10, 11));
    let all: Vec<i32> = (0..11).filter_map(|number| sieve.get(sieve.nth(number)?)).copied().collect();
    assert_eq!(all.len(), 10);
}

/// The queue as a list from old to new, the hand as an index into it.
#[derive(Default)]
struct Model {
    queue: Vec<(u32, bool)>,
    hand: usize,
}

impl Model {
    fn remove(&mut self, index: usize) -> u32 {
        if index < self.hand {
            self.hand -= 1;
        }
        self.queue.remove(index).0
    }

    fn evict(&mut self) -> Option<u32> {
        if self.queue.is_empty() {
            return None;
        }
        loop {
            self.hand = if self.hand < self.queue.len() { self.hand } else { 0 };
            if !std::mem::take(&mut self.queue[self.hand].1) {
                return Some(self.remove(self.hand));
            }
            self.hand += 1;
        }
    }
}

#[test]
fn it_does_what_the_model_does() {
    for seed in 0..200 {
        let (mut random, mut sieve, mut model) = (seed, Sieve::new(), Model::default());
        let mut places: Vec<(u32, Place)> = Vec::new();
        for step in 0..500u32 {
            let context = format!("seed {seed}, step {step}");
            let any = next(&mut random) % (model.queue.len() + 1);
            match (next(&mut random) % 8, model.queue.get(any).copied()) {
                (0..3, _) => {
                    // At the end of the list a hand has nobody to look at; it does not look at who comes next.
                    if model.hand == model.queue.len() {
                        model.hand = 0;
                    }
                    model.queue.push((step, false));
                    places.push((step, sieve.insert(step)));
                }
                (3..6, Some((name, _))) => {
                    model.queue[any].1 = true;
                    let place = places.iter().find(|(known, _)| *known == name).expect("it is there").1;
                    assert_eq!(sieve.use_at(place).copied(), Some(name), "{context}");
                }
                (6, Some((name, _))) => {
                    assert_eq!(model.remove(any), name);
                    let place = places.iter().find(|(known, _)| *known == name).expect("it is there").1;
                    assert_eq!(sieve.remove(place), Some(name), "{context}");
                    places.retain(|(known, _)| *known != name);
                }
                (7, _) => {
                    let evicted = sieve.evict();
                    assert_eq!(evicted, model.evict(), "{context}");
                    places.retain(|(known, _)| Some(*known) != evicted);
                }
                _ => {}
            }
            assert_eq!(sieve.len(), model.queue.len(), "{context}");
        }
    }
}
