//! A head that many requests have: clients send the same one again and again, and whoever has seen it need not keep another.

use std::cell::Cell;
use std::rc::Rc;

use super::HeadTable;

/// A request's head that has come before, as all requests share it that have it: a block, and the table that indexes it.
#[derive(Clone, Debug, Default)]
pub struct KnownHead {
    block: Vec<u8>,
    table: HeadTable,
    note: Cell<[u32; 2]>,
}

impl KnownHead {
    /// The bytes that the table points into.
    #[inline]
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    /// What the head says.
    #[inline]
    pub fn table(&self) -> &HeadTable {
        &self.table
    }

    /// What whoever serves its requests has noted: zeros until then. For what depends on the head alone, and need not be found
    /// again for each of them.
    #[inline]
    pub fn note(&self) -> &Cell<[u32; 2]> {
        &self.note
    }

    /// Makes it this head, in the memory of the one before, unless requests in hand have that: they keep theirs.
    pub(crate) fn fill(head: &mut Rc<KnownHead>, block: &[u8], table: &HeadTable) {
        if Rc::get_mut(head).is_none() {
            *head = Rc::default();
        }
        let head = Rc::get_mut(head).expect("it is nobody else's");
        head.block.clear();
        head.block.extend_from_slice(block);
        head.table.copy(table);
        head.note.set([0; 2]);
    }
}
