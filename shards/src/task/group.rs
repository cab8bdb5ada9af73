//! Tasks that end with whoever holds them. Its one idea: a task's number names it for ever, so a list of numbers is all there is to
//! keep; those of tasks that have ended name nobody, and are thrown out when the list has grown.

use std::fmt;
use std::future::Future;
use std::rc::Rc;

use super::slots::ABORTED;
use super::{Core, SpawnError, TaskNumber, Tasks};
use crate::limits::GROUP_TASKS_MIN;

/// Tasks that are aborted when it is dropped: each future is dropped when its turn comes, unless it has returned by then. It costs
/// a task some sixteen bytes, where to [run](crate::ScopeHandle::run) in a scope costs a hundred in the task itself.
///
/// ```
/// use shardwise_shards::{Simulation, yield_now};
/// use std::future::pending;
///
/// Simulation::new(1).run(async |shard| {
///     let mut group = shard.task_group();
///     group.spawn(pending()).unwrap();
///     yield_now().await;
///     let live = shard.task_stats().live;
///     drop(group);
///     yield_now().await;
///     assert_eq!(shard.task_stats().live, live - 1);
/// });
/// ```
#[must_use = "dropping it ends its tasks"]
pub struct TaskGroup {
    tasks: Rc<Core>,
    numbers: Vec<TaskNumber>,
    /// How many there may be before those that have ended are thrown out.
    room: usize,
}

impl Tasks {
    /// A group without tasks.
    pub fn group(&self) -> TaskGroup {
        TaskGroup { tasks: Rc::clone(&self.core), numbers: Vec::new(), room: GROUP_TASKS_MIN }
    }
}

impl TaskGroup {
    /// Starts a task on the group's shard, as [`Shard::spawn`](crate::Shard::spawn) does.
    ///
    /// Errors: the shard has as many tasks as it admits, or is ending.
    pub fn spawn<F: Future<Output = ()> + 'static>(&mut self, future: F) -> Result<(), SpawnError> {
        let task = Core::spawn(&self.tasks, future)?;
        if self.numbers.len() >= self.room {
            let tasks = &self.tasks;
            self.numbers.retain(|&number| tasks.live(number).is_some());
            self.room = (2 * self.numbers.len()).max(GROUP_TASKS_MIN);
        }
        self.numbers.push(task.number());
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        for &number in &self.numbers {
            if let Some(header) = self.tasks.live(number) {
                header.flags.set(header.flags.get() | ABORTED);
                // The usual way to wake, since the group may be in the hands of another shard on this thread.
                number.wake();
            }
        }
    }
}

impl fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup").field("tasks_max", &self.numbers.len()).finish()
    }
}
