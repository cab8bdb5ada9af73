//! What travels between shards. Its one idea: a message is a closure: a request one that its receiver runs, an answer one that
//! puts what the call has come to into its caller's place. So neither side writes the other's memory, and no type but those of
//! this file is known to the lanes. What else there is to say is in the closure's label. A message is a cache line, or half of
//! one where its closure is short.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use platform::inline_fn::{InlineFn, LABEL_MAX};
use platform::spsc::{Consumer, Halves, Producer};

use super::link::Link;
use super::{CallError, MESSAGE_INLINE_BYTES};
use crate::Shard;

/// What runs on the shard that it is sent to. A call's answers by its [`Visit`], at once or later. Its label is the call's
/// [`Name`].
pub(super) type Request = InlineFn<Visit, (), MESSAGE_INLINE_BYTES>;

/// Puts what a call has come to into the [`Place`] for it. Its label is a [`Note`].
pub(super) type Answer = InlineFn<dyn Place, (), MESSAGE_INLINE_BYTES>;

/// The ends of a lane of either; casts have a lane of another kind.
pub(super) type LaneOut<T> = Producer<T, Halves>;
pub(super) type LaneIn<T> = Consumer<T, Halves>;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// What this call has come to.
    Answered(Name),
    /// Nothing for any place: nobody waits for this call any more. It is answered all the same.
    Cancel(Name),
    /// Nothing for any place: so many one-way closures have been run, and their credits come back.
    Credits(u32),
}

/// Where an answer puts what a call has come to: an [`Outcome`] of the type that the caller waits for.
pub(super) trait Place: Any {
    fn fail(&self, error: CallError);
}

struct Outcome<T>(Cell<Option<Result<T, CallError>>>);

const _: () = assert!(size_of::<Option<Request>>() == 64 && size_of::<Answer>() == 64);

/// Names a call between two shards: its slot with the caller, and which of the slot's calls it is.
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
    pub(super) const ONE_WAY: Name = Name((1 << NAME_BITS) - 1);

    pub(super) fn new(slot: u16, generation: u32) -> Name {
        Name(u64::from(generation) << 16 | u64::from(slot))
    }

    pub(super) fn slot(self) -> usize {
        (self.0 as u16).into()
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 16) as u32
    }

    #[inline]
    pub(super) fn from_label(label: u64) -> Name {
        Name(label)
    }

    #[inline]
    pub(super) fn to_label(self) -> u64 {
        self.0
    }
}

impl Note {
    #[inline]
    pub(super) fn from_label(label: u64) -> Note {
        let name = Name(label & Name::ONE_WAY.0);
        match label >> NAME_BITS {
            0 => Note::Answered(name),
            1 => Note::Cancel(name),
            _ => Note::Credits(label as u32),
        }
    }

    #[inline]
    pub(super) fn to_label(self) -> u64 {
        match self {
            Note::Answered(Name(name)) => name,
            Note::Cancel(Name(name)) => 1 << NAME_BITS | name,
            Note::Credits(count) => 2 << NAME_BITS | u64::from(count),
        }
    }
}

/// Bits of a name: a slot's and a generation's.
const NAME_BITS: u32 = u16::BITS + u32::BITS;
const _: () = assert!(3 << NAME_BITS <= LABEL_MAX);

impl Visit {
    /// Answers the call with a value.
    #[inline]
    pub(super) fn answer<T: Send + 'static>(&self, value: T) {
        self.answer_with(put(value));
    }

    pub(super) fn fail(&self, error: CallError) {
        self.answer_with(failed(error));
    }

    #[inline]
    fn answer_with(&self, answer: Answer) {
        self.is_answered.set(true);
        self.link.answer(Note::Answered(self.name.get()), answer);
    }
}

/// What puts a value into its caller's place.
#[inline]
pub(super) fn put<T: Send + 'static>(value: T) -> Answer {
    Answer::new(move |place: &dyn Place| {
        let place: &dyn Any = place;
        let Outcome(place) = place.downcast_ref().expect("a call waits for the type that its closure returns");
        place.set(Some(Ok(value)));
    })
}

/// What tells its caller that there is no value.
pub(super) fn failed(error: CallError) -> Answer {
    Answer::new(move |place: &dyn Place| place.fail(error))
}

/// What is no call's answer.
pub(super) fn nothing() -> Answer {
    Answer::new(|_: &dyn Place| ())
}

/// Takes what a call has come to out of its answer, and leaves nothing there.
#[inline]
pub(super) fn take<T: 'static>(answer: &mut Option<Answer>) -> Result<T, CallError> {
    let place = Outcome(Cell::new(None));
    _ = Answer::call_in(answer, &place);
    place.0.into_inner().expect("an answer has a value or an error")
}

impl<T: 'static> Place for Outcome<T> {
    fn fail(&self, error: CallError) {
        self.0.set(Some(Err(error)));
    }
}
