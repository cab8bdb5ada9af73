//! A guest in a tokio runtime.

use shardwise::{AfterTurn, Bell, Guest, Host, Result};
use tokio::io::unix::AsyncFd;

/// A tokio runtime as a host: tokio's reactor waits for the guest's bell.
#[derive(Debug)]
pub struct InTokio(AsyncFd<Bell>);

impl InTokio {
    /// Within a runtime that has its I/O and its time switched on.
    ///
    /// Errors: there is no descriptor left.
    #[allow(
        deprecated,
        reason = "what takes its place is unsafe, and asks what holds: the bell owns its descriptor for good"
    )]
    pub fn new(guest: &Guest) -> Result<Self> {
        Ok(InTokio(AsyncFd::with_interest(guest.bell()?, tokio::io::Interest::READABLE)?))
    }

    /// Waits until the bell has rung. It fails when the runtime ends, and drops us then.
    async fn rung(&self) {
        match self.0.readable().await {
            Ok(mut rung) => rung.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Host for InTokio {
    async fn wait(&mut self, next: AfterTurn) {
        match next {
            // This comes back after a look at the reactor; a task that wakes itself would keep tokio from it for 61 turns.
            AfterTurn::Ready => tokio::task::yield_now().await,
            AfterTurn::At(at) => _ = tokio::time::timeout_at(at.into(), self.rung()).await,
            AfterTurn::Idle => self.rung().await,
        }
    }
}
