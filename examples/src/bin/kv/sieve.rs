//! [`Sieve`]: entries, and which of them goes when there is no room for another.
//!
//! The one idea is SIEVE's (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024): entries stand in a queue in the order in
//! which they came, and a hand goes over it from the oldest to the newest, and round again. An entry that was used since the
//! hand last came by is spared; the first that was not goes. So a use sets a flag and moves nothing, what is used once does
//! not push out what is used often, and there is nothing to tune.

/// A queue of entries, each in a place where it stays until it is removed.
#[derive(Debug)]
pub(crate) struct Sieve<T> {
    places: Vec<Neighbour<T>>,
    /// Places without an entry, to be taken again.
    free: Vec<Place>,
    oldest: Option<Place>,
    newest: Option<Place>,
    /// Whom to look at next; the oldest if nobody is named.
    hand: Option<Place>,
}

/// Where an entry stands. It names another entry once that one has been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

#[derive(Debug)]
struct Neighbour<T> {
    entry: Option<T>,
    older: Option<Place>,
    newer: Option<Place>,
    was_used: bool,
}

impl<T> Sieve<T> {
    /// What a place takes, besides what its entry owns.
    pub(crate) const PLACE_BYTES: usize = size_of::<Neighbour<T>>();

    pub(crate) const fn new() -> Self {
        Sieve { places: Vec::new(), free: Vec::new(), oldest: None, newest: None, hand: None }
    }

    /// Puts an entry in, as the newest.
    pub(crate) fn insert(&mut self, entry: T) -> Place {
        let (older, newest) =
            (self.newest, Neighbour { entry: Some(entry), older: self.newest, newer: None, was_used: false });
        let place = match self.free.pop() {
            Some(place) => {
                *self.at(place) = newest;
                place
            }
            None => {
                self.places.push(newest);
                // An entry costs hundreds of bytes, so memory ends long before the numbers do.
                Place(u32::try_from(self.places.len() - 1).expect("fewer entries than numbers"))
            }
        };
        match older {
            Some(older) => self.at(older).newer = Some(place),
            None => self.oldest = Some(place),
        }
        self.newest = Some(place);
        place
    }

    /// The entry, which is being used: the hand will spare it once.
    pub(crate) fn use_at(&mut self, place: Place) -> Option<&mut T> {
        let neighbour = self.at(place);
        neighbour.was_used = true;
        neighbour.entry.as_mut()
    }

    /// The entry, looked at without using it.
    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.places.get(place.0 as usize)?.entry.as_ref()
    }

    /// Takes an entry out, whatever the hand would say.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let neighbour = self.at(place);
        let entry = neighbour.entry.take()?;
        let (older, newer) = (neighbour.older, neighbour.newer);
        match older {
            Some(older) => self.at(older).newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.at(newer).older = older,
            None => self.newest = older,
        }
        if self.hand == Some(place) {
            self.hand = newer;
        }
        self.free.push(place);
        Some(entry)
    }

    /// Takes out the entry that is the first to go.
    pub(crate) fn evict(&mut self) -> Option<T> {
        let mut place = self.hand.or(self.oldest)?;
        // No more than once round, since every look takes a mark away.
        while std::mem::take(&mut self.at(place).was_used) {
            place = self.at(place).newer.or(self.oldest)?;
        }
        self.hand = Some(place);
        self.remove(place)
    }

    /// One place after another as `number` grows, round and round, for whoever goes through all in steps. There may be no entry.
    pub(crate) fn nth(&self, number: usize) -> Option<Place> {
        let index = number.checked_rem(self.places.len())?;
        Some(Place(index as u32))
    }

    /// How many places there are, with an entry or without.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn at(&mut self, place: Place) -> &mut Neighbour<T> {
        &mut self.places[place.0 as usize]
    }
}
