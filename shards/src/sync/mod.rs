//! What the tasks of one shard wait for each other with: notifications, semaphores, mutexes and channels, without atomics.
//!
//! The one idea: whoever waits has a place in a queue, first come first served, and gives it up in constant time when its
//! future is dropped. What had been granted to it by then goes to the next, so nothing is lost to a cancellation, and every
//! operation here says what dropping it means. A place is used again, so a steady program waits without touching the heap.
//!
//! Nothing here is `Send`. Between shards there are the mesh and the [`Remote`](crate::Remote).
//!
//! ```
//! use shardwise_shards::{Simulation, sync};
//!
//! Simulation::new(1).run(async |shard| {
//!     let (sender, mut receiver) = sync::mpsc::channel(2);
//!     let task = shard.spawn(async move {
//!         for number in 0..5 {
//!             sender.send(number).await.unwrap();
//!         }
//!     });
//!     let mut sum = 0;
//!     while let Some(number) = receiver.recv().await {
//!         sum += number;
//!     }
//!     assert_eq!(sum, 10);
//!     drop(task);
//! });
//! ```

pub mod mpsc;
mod mutex;
mod notify;
pub mod oneshot;
mod semaphore;
mod waiters;
pub mod watch;

pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
pub use semaphore::{Acquire, Closed, Permit, Semaphore, TryAcquireError};

pub(crate) use waiters::{Left, Places, Queue, Ticket, Waiters};

#[cfg(test)]
mod tests;
