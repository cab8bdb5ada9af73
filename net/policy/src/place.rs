//! Where a member stands in a set that may change while a call is on its way.

/// A member of a set: its id, and where it stood when it was picked. If the set has changed meanwhile the member is found by its
/// id, so that a place never means another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its position in the set.
    pub index: usize,
    /// Its id, the same for as long as it exists.
    pub id: u64,
}

impl Place {
    /// Where it stands now; none if it has left. Constant time unless the set has changed, then linear.
    #[inline]
    pub(crate) fn find<T>(self, set: &[T], id: impl Fn(&T) -> u64) -> Option<usize> {
        match set.get(self.index) {
            Some(member) if id(member) == self.id => Some(self.index),
            _ => set.iter().position(|member| id(member) == self.id),
        }
    }
}

/// Takes a set's next form: one value for each of `ids`, the one that there was where there was one, else a new one.
pub(crate) fn succeed<T>(
    set: &mut Vec<T>,
    ids: impl Iterator<Item = u64>,
    id: impl Fn(&T) -> u64,
    mut make: impl FnMut(u64) -> T,
) {
    let mut before: Vec<(u64, Option<T>)> = set.drain(..).map(|member| (id(&member), Some(member))).collect();
    before.sort_unstable_by_key(|(id, _)| *id);
    set.extend(ids.map(|id| {
        let found = before.binary_search_by_key(&id, |(id, _)| *id).ok();
        found.and_then(|at| before[at].1.take()).unwrap_or_else(|| make(id))
    }));
}
