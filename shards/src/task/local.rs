//! What a shard keeps for others, one value of each type. Its one idea: it takes the place of thread-locals, which a
//! shard must not have, since several simulated ones share a thread.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// One value of each type, made when first asked for.
#[derive(Default)]
pub struct Locals {
    /// In order of their types.
    values: RefCell<Vec<(TypeId, Rc<dyn Any>)>>,
}

impl Locals {
    /// An empty map.
    pub fn new() -> Self {
        Locals::default()
    }

    /// The value of this type, if there is one.
    pub fn get<T: 'static>(&self) -> Option<Rc<T>> {
        let place = self.place::<T>().ok()?;
        let value = Rc::clone(&self.values.borrow()[place].1);
        value.downcast().ok()
    }

    /// The value of this type, made by `make` if there is none. `make` may ask for others; if it asks for the same one,
    /// the value that was stored first is kept.
    pub fn get_or_init<T: 'static>(&self, make: impl FnOnce() -> T) -> Rc<T> {
        if let Some(value) = self.get() {
            return value;
        }
        let made = Rc::new(make());
        match self.place::<T>() {
            Ok(_) => self.get().unwrap_or(made),
            Err(place) => {
                self.values.borrow_mut().insert(place, (TypeId::of::<T>(), made.clone()));
                made
            }
        }
    }

    /// Where the value of this type is, or belongs.
    fn place<T: 'static>(&self) -> Result<usize, usize> {
        self.values.borrow().binary_search_by_key(&TypeId::of::<T>(), |(of, _)| *of)
    }

    /// Drops all values; they may ask for others while they are dropped.
    pub fn clear(&self) {
        let values = self.values.take();
        drop(values);
    }
}

impl fmt::Debug for Locals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locals").field("count", &self.values.borrow().len()).finish()
    }
}
