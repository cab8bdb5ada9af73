//! What travels between shards. Its one idea: a message is a cache line, and carries a closure in it: a request the one
//! that its receiver runs, an answer the one that puts the value into its caller's place. So neither side writes the
//! other's memory, and no type but the two of this file is known to the lanes.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use platform::arena::Key;
use platform::inline_fn::InlineFn;

use super::link::Link;
use super::{CallError, MESSAGE_INLINE_BYTES};
use crate::Shard;

/// What a request runs on the shard that it is sent to.
pub(super) type Run = InlineFn<Visit, Returned, MESSAGE_INLINE_BYTES>;

/// Puts a value into the place it is called with, a `Cell<Option<T>>` for the `T` that the caller waits for.
pub(super) type Put = InlineFn<dyn Any, (), MESSAGE_INLINE_BYTES>;

/// On the lane of requests.
pub(super) struct Request {
    pub(super) run: Run,
    pub(super) name: Name,
}

/// On the lane of answers.
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

/// What running a request has come to.
pub(super) enum Returned {
    Value(Put),
    Failed(CallError),
    /// A task will answer it.
    Later,
}

/// Where a request's closure finds itself.
pub(super) struct Visit {
    pub(super) shard: Shard,
    pub(super) link: Rc<Link>,
    pub(super) name: Cell<Name>,
}

impl Name {
    /// Of a closure that is not answered.
    pub(super) const ONE_WAY: Name = Name { slot: u16::MAX, generation: [0; 2] };

    pub(super) fn of(key: Key) -> Name {
        let slot = u16::try_from(key.index).expect("a link has fewer slots than numbers");
        Name { slot, generation: [(key.generation >> 16) as u16, key.generation as u16] }
    }

    pub(super) fn slot(self) -> usize {
        self.slot.into()
    }

    pub(super) fn generation(self) -> u32 {
        let [high, low] = self.generation;
        u32::from(high) << 16 | u32::from(low)
    }

    pub(super) fn key(self) -> Key {
        Key { index: self.slot.into(), generation: self.generation() }
    }
}

impl Returned {
    pub(super) fn value<T: Send + 'static>(value: T) -> Returned {
        Returned::Value(InlineFn::new(move |place: &dyn Any| {
            let place: &Cell<Option<T>> =
                place.downcast_ref().expect("a call waits for the type that its closure returns");
            place.set(Some(value));
        }))
    }
}

/// Takes the value out of an answer.
pub(super) fn take<T: 'static>(put: Put) -> T {
    let place = Cell::new(None::<T>);
    put.call(&place);
    place.into_inner().expect("an answer has a value")
}
