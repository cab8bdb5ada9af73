//! What travels between shards. Its one idea: a message is a cache line, and carries a closure in it: a request the one
//! that its receiver runs, an answer the one that puts the value into its caller's place. So neither side writes the
//! other's memory, and no type but the two of this file is known to the lanes.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use platform::inline_fn::InlineFn;

use super::link::Link;
use super::{CallError, MESSAGE_INLINE_BYTES};
use crate::Shard;

/// What a request runs on the shard that it is sent to. A call's answers by its [`Visit`], at once or later.
pub(super) type Run = InlineFn<Visit, (), MESSAGE_INLINE_BYTES>;

/// Puts a value into the place it is called with, a `Cell<Option<T>>` for the `T` that the caller waits for.
pub(super) type Put = InlineFn<dyn Any, (), MESSAGE_INLINE_BYTES>;

/// On the lane of requests. Aligned, so that it is one line and not the halves of two.
#[repr(align(64))]
pub(super) struct Request {
    pub(super) run: Run,
    pub(super) name: Name,
}

/// On the lane of answers.
#[repr(align(64))]
pub(super) enum Answer {
    /// A call's value.
    Value { name: Name, put: Put },
    /// A call has no value.
    Failed { name: Name, error: CallError },
    /// Nobody waits for this call any more. It is answered all the same.
    Cancel { name: Name },
    /// So many one-way closures have been run: their credits come back.
    Credits { count: u32 },
}

const _: () = assert!(size_of::<Request>() == 64 && size_of::<Answer>() == 64);

/// Names a call between two shards: its slot with the caller, and which of the slot's calls it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    slot: u16,
    /// A `u32` in two halves, so that a name leaves room for the tag beside it.
    generation: [u16; 2],
}

/// Where a request's closure finds itself.
pub(super) struct Visit {
    pub(super) shard: Shard,
    pub(super) link: Rc<Link>,
    pub(super) name: Cell<Name>,
    /// Whether the call has been answered, or a task has the duty to.
    pub(super) is_answered: Cell<bool>,
}

impl Name {
    /// Of a closure that is not answered.
    pub(super) const ONE_WAY: Name = Name { slot: u16::MAX, generation: [0; 2] };

    pub(super) fn new(slot: u16, generation: u32) -> Name {
        Name { slot, generation: [(generation >> 16) as u16, generation as u16] }
    }

    pub(super) fn slot(self) -> usize {
        self.slot.into()
    }

    pub(super) fn generation(self) -> u32 {
        let [high, low] = self.generation;
        u32::from(high) << 16 | u32::from(low)
    }
}

impl Visit {
    /// Answers the call with a value.
    #[inline]
    pub(super) fn answer<T: Send + 'static>(&self, value: T) {
        self.is_answered.set(true);
        self.link.answer(Answer::Value { name: self.name.get(), put: put(value) });
    }

    pub(super) fn fail(&self, error: CallError) {
        self.is_answered.set(true);
        self.link.answer(Answer::Failed { name: self.name.get(), error });
    }
}

/// What puts a value into its caller's place.
#[inline]
pub(super) fn put<T: Send + 'static>(value: T) -> Put {
    InlineFn::new(move |place: &dyn Any| {
        let place: &Cell<Option<T>> = place.downcast_ref().expect("a call waits for the type that its closure returns");
        place.set(Some(value));
    })
}

/// Takes the value out of an answer.
pub(super) fn take<T: 'static>(put: Put) -> T {
    let place = Cell::new(None::<T>);
    put.call(&place);
    place.into_inner().expect("an answer has a value")
}
