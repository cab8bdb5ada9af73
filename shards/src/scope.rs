//! Scopes: a tree of cancellation and deadlines, and gates that count what must finish first.
//!
//! Cancelling a scope cancels its descendants; a child's deadline is never later than its parent's. Work that must finish
//! before a scope is left holds a [`Pass`] of its gate.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

/// A node of the tree. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Scope(Rc<Node>);

#[derive(Debug)]
struct Node {
    /// Keeps the way from the root alive: whoever holds a scope can be reached from all above it.
    _parent: Option<Rc<Node>>,
    is_cancelled: Cell<bool>,
    deadline: Option<Instant>,
    children: RefCell<Vec<Weak<Node>>>,
    /// Whoever waits for cancellation, and whoever waits for the gate.
    waiting: RefCell<Vec<Waker>>,
    passes: Cell<usize>,
    gate: RefCell<Vec<Waker>>,
}

/// A right to go on inside a scope; the scope's gate stays open until all are dropped.
#[derive(Debug)]
pub struct Pass(Rc<Node>);

/// The scope was cancelled while the work was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl Scope {
    /// A scope without a parent.
    pub fn root() -> Self {
        Scope::node(None, None, false)
    }

    /// A scope inside this one, with an earlier deadline if given.
    pub fn child(&self, deadline: Option<Instant>) -> Self {
        let earliest = [self.0.deadline, deadline].into_iter().flatten().min();
        let child = Scope::node(Some(Rc::clone(&self.0)), earliest, self.is_cancelled());
        let mut children = self.0.children.borrow_mut();
        if children.len() == children.capacity() {
            // The list grows only after those that are gone have left it.
            children.retain(|child| child.strong_count() > 0);
        }
        children.push(Rc::downgrade(&child.0));
        child
    }

    fn node(parent: Option<Rc<Node>>, deadline: Option<Instant>, is_cancelled: bool) -> Self {
        Scope(Rc::new(Node {
            _parent: parent,
            is_cancelled: Cell::new(is_cancelled),
            deadline,
            children: RefCell::default(),
            waiting: RefCell::default(),
            passes: Cell::new(0),
            gate: RefCell::default(),
        }))
    }

    /// Cancels it and all inside it. Later calls do nothing.
    pub fn cancel(&self) {
        // A list and not a recursion: a tree may be deeper than a stack.
        let mut nodes = vec![Rc::clone(&self.0)];
        while let Some(node) = nodes.pop() {
            if node.is_cancelled.replace(true) {
                continue;
            }
            nodes.extend(node.children.take().iter().filter_map(Weak::upgrade));
            node.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.get()
    }

    /// When its work must be done.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Waits until it is cancelled.
    pub async fn cancelled(&self) {
        std::future::poll_fn(|cx| {
            if self.is_cancelled() {
                return Poll::Ready(());
            }
            remember(&self.0.waiting, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Runs `work` unless the scope is cancelled first; then `work` is dropped where it stands.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Cancelled> {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            if self.is_cancelled() {
                return Poll::Ready(Err(Cancelled));
            }
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            remember(&self.0.waiting, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// A right to go on; [`gate`](Scope::gate) waits until it is dropped.
    pub fn pass(&self) -> Pass {
        self.0.passes.set(self.0.passes.get() + 1);
        Pass(Rc::clone(&self.0))
    }

    /// How many passes are out.
    pub fn passes(&self) -> usize {
        self.0.passes.get()
    }

    /// Waits until all passes are dropped.
    pub async fn gate(&self) {
        std::future::poll_fn(|cx| {
            if self.0.passes.get() == 0 {
                return Poll::Ready(());
            }
            remember(&self.0.gate, cx.waker());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.passes.set(self.0.passes.get() - 1);
        if self.0.passes.get() == 0 {
            self.0.gate.take().into_iter().for_each(Waker::wake);
        }
    }
}

fn remember(waiting: &RefCell<Vec<Waker>>, waker: &Waker) {
    let mut waiting = waiting.borrow_mut();
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}
