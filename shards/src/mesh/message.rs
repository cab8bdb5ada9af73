//! What travels between shards. Its one idea: a message is a cache line, and carries a closure in it: a request the one
//! that its receiver runs, an answer the one that puts the value into its caller's place. So neither side writes the
//! other's memory, and no type but those of this file is known to the lanes.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use platform::inline_fn::InlineFn;

use super::link::Link;
use super::{CallError, MESSAGE_INLINE_BYTES};
use crate::Shard;

/// What travels on a lane of either kind. The lane sees to it that it is one line and not the halves of two.
pub(super) struct Message<T> {
    pub(super) body: T,
    pub(super) name: Name,
}

/// On the lane of requests.
pub(super) type Request = Message<Run>;

/// On the lane of answers.
pub(super) type Answer = Message<Answered>;

/// What a request runs on the shard that it is sent to. A call's answers by its [`Visit`], at once or later.
pub(super) type Run = InlineFn<Visit, (), MESSAGE_INLINE_BYTES>;

/// Puts a value into the place it is called with, a `Cell<Option<T>>` for the `T` that the caller waits for.
pub(super) type Put = InlineFn<dyn Any, (), MESSAGE_INLINE_BYTES>;

pub(super) enum Answered {
    /// A call's value.
    Value(Put),
    /// All else, in one variant: so the value's function tells the two apart, and a message is a line.
    Note(Note),
}

pub(super) enum Note {
    /// A call has no value.
    Failed(CallError),
    /// Nobody waits for this call any more. It is answered all the same.
    Cancel,
    /// So many one-way closures have been run: their credits come back.
    Credits(u32),
}

const _: () = assert!(size_of::<Option<Request>>() == 64 && size_of::<Answer>() == 64);

/// Names a call between two shards: its slot with the caller, and which of the slot's calls it is. One word, as which it is
/// written and read: what is written in parts cannot be read as a whole at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(u64);

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
    pub(super) const ONE_WAY: Name = Name(u64::MAX);

    pub(super) fn new(slot: u16, generation: u32) -> Name {
        Name(u64::from(generation) << 16 | u64::from(slot))
    }

    pub(super) fn slot(self) -> usize {
        (self.0 as u16).into()
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl Request {
    /// One that is not named yet.
    #[inline]
    pub(super) fn new(closure: impl FnOnce(&Visit) + Send + 'static) -> Request {
        Message { body: InlineFn::new(closure), name: Name::ONE_WAY }
    }
}

impl Visit {
    /// Answers the call with a value.
    #[inline]
    pub(super) fn answer<T: Send + 'static>(&self, value: T) {
        self.is_answered.set(true);
        self.link.answer(self.name.get(), Answered::Value(put(value)));
    }

    pub(super) fn fail(&self, error: CallError) {
        self.is_answered.set(true);
        self.link.answer(self.name.get(), Answered::Note(Note::Failed(error)));
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
