//! [`State`]: what the app's `.state(…)` gave, handed to handlers as a clone.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::rc::Rc;

use http::StatusCode;

use super::{FromHead, Rejection};
use crate::request::Request;

/// A clone of the value of this type that was given to [`App::state`](crate::App::state). Whether there is one is checked
/// when the app starts serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<T: Clone + 'static> FromHead for State<T> {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let state = request.state::<T>().cloned();
        state
            .map(State)
            .ok_or_else(|| Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "this service is set up wrongly"))
    }

    fn require(states: &States) -> Result<(), Unmet> {
        match states.get::<T>() {
            Some(_) => Ok(()),
            None => Err(Unmet::new(
                format!("it takes State<{0}>, and the app holds no {0}", type_name::<T>()),
                "Give the app one with `.state(value)`.",
            )),
        }
    }
}

/// What the app holds for its handlers, by type. A few entries, so a list.
#[derive(Clone, Default)]
pub struct States(Vec<(TypeId, Rc<dyn Any>)>);

impl States {
    /// Keeps a value. False if there is one of its type already.
    pub(crate) fn put<T: 'static>(&mut self, value: T) -> bool {
        let is_new = self.get::<T>().is_none();
        if is_new {
            self.0.push((TypeId::of::<T>(), Rc::new(value)));
        }
        is_new
    }

    /// The value of this type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }
}

/// What an extractor needs of the app and does not find, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// A clause.
    pub(crate) what: String,
    /// A sentence.
    pub(crate) remedy: String,
}

impl Unmet {
    /// `what` is a clause about the route ("it takes …"), `remedy` a whole sentence.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Unmet { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.0.len())
    }
}
