//! The calls that a shard has out over one link, by slot. Its one idea: a slot is a call's from the moment it is sent until
//! its answer has come *and* nobody wants it any more, so a name means one call at a time; what is written and moved for a
//! call is the waker and the answer, once each.

use std::task::Waker;

use super::message::{Answer, Name};
use crate::limits::MESH_CALLS_MAX;
use crate::task::TaskNumber;

#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// Free slots, the one freed last at the end.
    free: Vec<u16>,
}

/// In this order on one line, as far as a short answer is.
#[repr(C, align(64))]
struct Slot {
    generation: u32,
    state: State,
    waker: Option<Waker>,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Waiting,
    Answered,
    /// Nobody waits for it; its slot waits for the answer.
    Abandoned,
}

/// What an answer found.
pub(super) enum Settled {
    /// Someone waits for it. It was taken.
    Wake(Waker),
    /// Nobody does any more.
    Unwanted,
    /// No call of that name is unanswered.
    Unknown,
}

/// What a call leaves that is given up.
pub(super) enum Left {
    /// Its slot was free already.
    Nothing,
    /// The answer is to come.
    Unanswered(Option<Waker>),
    /// The answer is here.
    Answered(Option<Answer>),
}

const _: () = assert!(MESH_CALLS_MAX < u16::MAX as usize, "the last number names closures that are not answered");

impl Calls {
    /// How many slots are in use.
    pub(super) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a slot; `None` if all are in use.
    #[inline]
    pub(super) fn open(&mut self, waker: &Waker) -> Option<Name> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.grow()?,
        };
        let entry = &mut self.slots[usize::from(slot)];
        entry.state = State::Waiting;
        // A task's waker is its number, which is made again for less than a call of its `clone`.
        entry.waker = Some(TaskNumber::of(waker).map_or_else(|| waker.clone(), TaskNumber::waker));
        Some(Name::new(slot, entry.generation))
    }

    #[cold]
    fn grow(&mut self) -> Option<u16> {
        let slot = self.slots.len();
        if slot >= MESH_CALLS_MAX {
            return None;
        }
        self.slots.push(Slot { generation: 0, state: State::Free, waker: None, answer: None });
        // Room for all, so that freeing one never allocates.
        self.free.reserve(self.slots.len());
        Some(slot as u16)
    }

    /// What `take` makes of the answer, if that is there; otherwise this waker is the one to be called.
    #[inline]
    pub(super) fn take_answer<R>(
        &mut self,
        name: Name,
        waker: &Waker,
        take: impl FnOnce(&mut Option<Answer>) -> R,
    ) -> Option<R> {
        let entry = self.get(name).expect("whoever asks has not let go of it");
        match entry.state {
            State::Waiting => {
                match &mut entry.waker {
                    Some(known) => known.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                None
            }
            _ => {
                let taken = take(&mut entry.answer);
                self.release(name);
                Some(taken)
            }
        }
    }

    /// An answer, which stays where it is if nobody wants it.
    #[inline]
    pub(super) fn settle(&mut self, name: Name, answer: &mut Option<Answer>) -> Settled {
        let Some(entry) = self.get(name) else { return Settled::Unknown };
        match (entry.state, entry.waker.take()) {
            (State::Waiting, Some(waker)) => {
                entry.state = State::Answered;
                Answer::shift(answer, &mut entry.answer);
                Settled::Wake(waker)
            }
            (State::Abandoned, _) => {
                self.release(name);
                Settled::Unwanted
            }
            _ => Settled::Unknown,
        }
    }

    pub(super) fn abandon(&mut self, name: Name) -> Left {
        let Some(entry) = self.get(name) else { return Left::Nothing };
        match entry.state {
            State::Waiting => {
                entry.state = State::Abandoned;
                Left::Unanswered(entry.waker.take())
            }
            State::Answered => {
                let answer = entry.answer.take();
                self.release(name);
                Left::Answered(answer)
            }
            State::Free | State::Abandoned => Left::Nothing,
        }
    }

    /// The names of all calls without an answer.
    pub(super) fn unanswered(&self) -> Vec<Name> {
        let slots = self.slots.iter().zip(0..);
        let unanswered = slots.filter(|(entry, _)| matches!(entry.state, State::Waiting | State::Abandoned));
        unanswered.map(|(entry, slot)| Name::new(slot, entry.generation)).collect()
    }

    #[inline]
    fn get(&mut self, name: Name) -> Option<&mut Slot> {
        let entry = self.slots.get_mut(name.slot())?;
        (entry.generation == name.generation() && entry.state != State::Free).then_some(entry)
    }

    #[inline]
    fn release(&mut self, name: Name) {
        let entry = &mut self.slots[name.slot()];
        entry.state = State::Free;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(name.slot() as u16);
    }
}

#[cfg(test)]
mod tests;
