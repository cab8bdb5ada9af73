//! The nodes of a shard's scopes, in one arena, linked by number: making a scope, waiting in it and ending it cost no heap
//! once the shard has had as many.
//!
//! A node lives as long as anyone holds a handle on it or it has children. One with passes holds a pass of its parent, so
//! that a gate need only look at its own count. Wakers and calls are made when the nodes are no longer borrowed: they may
//! run anyone's code, which may come back here.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Instant;

use platform::arena::{Arena, Key};

use super::current::Current;
use super::{Cause, Label, Reason, ScopesFull};
use crate::limits::{SCOPES_MAX, WAKERS_KEPT_MAX};
use crate::shard::Core;
use crate::sync::{Places, Queue, Ticket};
use crate::{Shard, TraceContext};

/// All scopes of a shard.
pub(crate) struct Tree {
    inside: RefCell<Inside>,
    root: Key,
    /// How often a scope was cancelled, or given a deadline: as long as it is the same, all stand as they did.
    changes: Cell<u64>,
    /// Whose the work is that runs now: see `current.rs`.
    pub(super) current: Current,
    shard: RefCell<Weak<Core>>,
}

pub(super) struct Inside {
    nodes: Arena<Node>,
    places: Places,
    /// Kept for its memory: who is woken by a cancellation.
    wakers: Vec<Waker>,
    calls: u64,
}

pub(super) struct Node {
    pub(super) label: Label,
    pub(super) cancelled: Option<Cause>,
    pub(super) deadline: Option<Instant>,
    /// Shared with those inside: most have none, and so it takes no more room than a pointer.
    pub(super) trace: Option<Rc<TraceContext>>,
    /// Handles and children.
    pub(super) holders: u32,
    pub(super) passes: u32,
    /// Nobody ends it by letting go of it.
    pub(super) is_detached: bool,
    parent: Option<Key>,
    first_child: Option<Key>,
    /// Its siblings.
    before: Option<Key>,
    after: Option<Key>,
    /// Who waits for what: see [`Wait`].
    queues: [Queue; 2],
    calls: Vec<(u64, Call)>,
}

/// What is called when a scope is cancelled.
type Call = Box<dyn FnOnce()>;

/// What is waited for.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    Cancellation = 0,
    Gate = 1,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut nodes = Arena::new(SCOPES_MAX);
        let root = Node::new(Label { name: "shard", number: None }, None);
        let Ok(root) = nodes.insert(root) else { unreachable!("an empty arena has room") };
        let inside = Inside { nodes, places: Places::new(), wakers: Vec::new(), calls: 0 };
        let current = Current::new(root);
        Tree { inside: RefCell::new(inside), root, changes: Cell::new(0), current, shard: RefCell::default() }
    }

    /// The outermost scope. It has one handle from the start.
    pub(crate) fn root(&self) -> Key {
        self.root
    }

    /// Tells the tree whose it is.
    pub(crate) fn belongs_to(&self, shard: &Rc<Core>) {
        *self.shard.borrow_mut() = Rc::downgrade(shard);
    }

    pub(super) fn shard(&self) -> Option<Shard> {
        self.shard.borrow().upgrade().map(Shard)
    }

    /// Scopes that are alive.
    pub(crate) fn count(&self) -> usize {
        self.inside.borrow().nodes.len()
    }

    /// Looks at the inside. `look` calls nobody else's code.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Inside) -> R) -> R {
        look(&mut self.inside.borrow_mut())
    }

    /// A new node, with one handle.
    pub(super) fn child(&self, parent: Key, label: Label) -> Result<Key, ScopesFull> {
        self.with(|inside| {
            let around = inside.at(parent);
            let mut node = Node::new(label, Some(parent));
            (node.cancelled, node.deadline, node.after) = (around.cancelled, around.deadline, around.first_child);
            node.trace.clone_from(&around.trace);
            let after = node.after;
            let key = inside.nodes.insert(node).map_err(|_| ScopesFull)?;
            if let Some(after) = after {
                inside.at(after).before = Some(key);
            }
            let around = inside.at(parent);
            around.first_child = Some(key);
            around.holders += 1;
            Ok(key)
        })
    }

    /// Which change was the last: see the field.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    pub(super) fn note_change(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Why it was cancelled, if it was; and its deadline.
    pub(super) fn standing(&self, key: Key) -> (Option<Cause>, Option<Instant>) {
        self.with(|inside| {
            let node = inside.at(key);
            (node.cancelled, node.deadline)
        })
    }

    /// A handle is gone. Whoever nobody holds any more goes, and so may those around it.
    pub(super) fn let_go(&self, key: Key) {
        self.with(|inside| {
            let mut next = Some(key);
            while let Some(key) = next {
                next = inside.let_go(key);
            }
        });
    }

    /// Marks all that lies in a scope, then wakes who waits there and calls who wants to be called.
    pub(super) fn cancel(&self, key: Key, cause: Cause) {
        self.note_change();
        let (mut wakers, calls) = self.with(|inside| inside.cancel(key, cause));
        wakers.drain(..).for_each(Waker::wake);
        if wakers.capacity() <= WAKERS_KEPT_MAX {
            self.with(|inside| inside.wakers = wakers);
        }
        calls.into_iter().for_each(|(_, call)| call());
    }

    /// Keeps a call for the cancellation, or makes it at once.
    pub(super) fn on_cancel(&self, key: Key, call: Call) -> u64 {
        let (number, late) = self.with(|inside| {
            inside.calls += 1;
            let number = inside.calls;
            let node = inside.at(key);
            match node.cancelled {
                Some(_) => (number, Some(call)),
                None => {
                    node.calls.push((number, call));
                    (number, None)
                }
            }
        });
        if let Some(call) = late {
            call();
        }
        number
    }

    pub(super) fn forget_call(&self, key: Key, number: u64) {
        let call = self.with(|inside| {
            let calls = &mut inside.at(key).calls;
            let place = calls.iter().position(|(known, _)| *known == number)?;
            Some(calls.swap_remove(place))
        });
        // Outside the borrow: dropping it runs anyone's code.
        drop(call);
    }

    /// A pass is gone. The gates that are open now wake who waits at them.
    pub(super) fn exit(&self, key: Key) {
        let mut next = Some(key);
        while let Some(key) = next {
            let parent = self.with(|inside| {
                let node = inside.at(key);
                node.passes -= 1;
                (node.passes == 0).then_some(node.parent)
            });
            let Some(parent) = parent else { return };
            while let Some(waker) = self.with(|inside| inside.release(key, Wait::Gate)) {
                waker.wake();
            }
            next = parent;
        }
    }

    pub(super) fn reason(&self, key: Key) -> Option<Reason> {
        self.with(|inside| {
            let cause = inside.at(key).cancelled?;
            let mut scopes = Vec::new();
            let mut next = Some(key);
            while let Some(key) = next {
                let node = inside.at(key);
                if node.cancelled.is_none() {
                    break;
                }
                scopes.push(node.label);
                next = node.parent;
            }
            scopes.reverse();
            Some(Reason { cause, scopes })
        })
    }

    /// The outermost scope around this one whose deadline is the same: whose it is.
    pub(super) fn owner_of_deadline(&self, key: Key) -> Key {
        self.with(|inside| {
            let deadline = inside.at(key).deadline;
            let mut owner = key;
            while let Some(parent) = inside.at(owner).parent
                && inside.at(parent).deadline == deadline
            {
                owner = parent;
            }
            owner
        })
    }
}

impl Inside {
    pub(super) fn at(&mut self, key: Key) -> &mut Node {
        self.nodes.get_mut(key).expect("a node is there while it is held")
    }

    /// A pass more. The first of a scope holds one of the scope around it.
    pub(super) fn enter(&mut self, key: Key) {
        let mut next = Some(key);
        while let Some(key) = next {
            let node = self.at(key);
            node.passes += 1;
            next = if node.passes == 1 { node.parent } else { None };
        }
    }

    /// Joins those who wait, or sees to it that this waker is called.
    pub(super) fn wait(&mut self, key: Key, what: Wait, ticket: &mut Option<Ticket>, waker: &Waker) {
        if let Some(ticket) = ticket
            && self.places.still_waits(ticket, waker)
        {
            return;
        }
        if let Some(ticket) = ticket.take() {
            self.leave(key, what, ticket);
        }
        let node = self.nodes.get_mut(key).expect("a node is there while it is held");
        *ticket = Some(self.places.join(&mut node.queues[what as usize], waker, ()));
    }

    pub(super) fn leave(&mut self, key: Key, what: Wait, ticket: Ticket) {
        let node = self.nodes.get_mut(key).expect("a node is there while it is held");
        self.places.leave(&mut node.queues[what as usize], ticket);
    }

    fn release(&mut self, key: Key, what: Wait) -> Option<Waker> {
        let node = self.nodes.get_mut(key)?;
        self.places.release(&mut node.queues[what as usize])
    }

    /// Takes a node out if nobody holds it any more, and says whom it held.
    fn let_go(&mut self, key: Key) -> Option<Key> {
        let node = self.at(key);
        node.holders -= 1;
        if node.holders > 0 {
            return None;
        }
        let node = self.nodes.remove(key)?;
        debug_assert!(node.calls.is_empty() && node.passes == 0, "whoever made these holds the node");
        match (node.before, node.parent) {
            (Some(before), _) => self.at(before).after = node.after,
            (None, Some(parent)) => self.at(parent).first_child = node.after,
            (None, None) => {}
        }
        if let Some(after) = node.after {
            self.at(after).before = node.before;
        }
        node.parent
    }

    fn cancel(&mut self, top: Key, cause: Cause) -> (Vec<Waker>, Vec<(u64, Call)>) {
        let (mut wakers, mut calls) = (std::mem::take(&mut self.wakers), Vec::new());
        // From node to node by their links, and not by recursion: a tree may be deeper than a stack.
        let mut key = top;
        loop {
            let node = self.nodes.get_mut(key).expect("linked nodes are there");
            let mut inward = None;
            if node.cancelled.is_none() {
                node.cancelled = Some(cause);
                while let Some(waker) = self.places.release(&mut node.queues[Wait::Cancellation as usize]) {
                    wakers.push(waker);
                }
                calls.append(&mut node.calls);
                inward = node.first_child;
            }
            key = match inward {
                Some(child) => child,
                None => match self.next_within(key, top) {
                    Some(next) => next,
                    None => return (wakers, calls),
                },
            };
        }
    }

    /// The node to visit after `key` and all inside it, within `top`.
    fn next_within(&mut self, mut key: Key, top: Key) -> Option<Key> {
        while key != top {
            let node = self.at(key);
            if node.after.is_some() {
                return node.after;
            }
            key = node.parent?;
        }
        None
    }
}

impl Node {
    fn new(label: Label, parent: Option<Key>) -> Self {
        Node {
            label,
            cancelled: None,
            deadline: None,
            trace: None,
            holders: 1,
            passes: 0,
            is_detached: false,
            parent,
            first_child: None,
            before: None,
            after: None,
            queues: [Queue::new(), Queue::new()],
            calls: Vec::new(),
        }
    }
}
