//! A guest in a glommio executor.
//!
//! glommio has no call that waits for any descriptor. Its stream of TCP does, when it is made, with a poll by io_uring, and
//! tries to read when that has come. So the bell is handed to it as if it were a socket: the read then fails, since it is
//! none, and that is the ring. A new stream waits for the next.

use std::future::{Future, poll_fn};
use std::net::TcpStream as Disguise;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::AsyncRead;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use shardwise::{AfterTurn, Bell, Guest, Host, Result};
use socket2::Socket;

/// A glommio executor as a host: its ring waits for the guest's bell.
#[derive(Debug)]
pub struct InGlommio {
    bell: Bell,
    /// It waits for the bell, until that has rung.
    waiting: Option<TcpStream>,
}

impl InGlommio {
    /// Within an executor.
    ///
    /// Errors: there is no descriptor left.
    pub fn new(guest: &Guest) -> Result<Self> {
        Ok(InGlommio { bell: guest.bell()?, waiting: None })
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            None => match self.bell.as_fd().try_clone_to_owned() {
                Ok(copy) => self.waiting.insert(TcpStream::from(Socket::from(Disguise::from(copy)))),
                // Without a descriptor the guest is turned as often as it can be, which works.
                Err(_) => {
                    cx.waker().wake_by_ref();
                    return Poll::Ready(());
                }
            },
        };
        if Pin::new(waiting).poll_read(cx, &mut [0]).is_pending() {
            return Poll::Pending;
        }
        self.waiting = None;
        Poll::Ready(())
    }
}

impl Host for InGlommio {
    async fn wait(&mut self, next: AfterTurn) {
        let at = match next {
            // It looks at its ring when a queue of tasks gives up its turn, and not when a task does.
            AfterTurn::Ready => return glommio::executor().yield_task_queue_now().await,
            AfterTurn::At(at) => Some(at),
            AfterTurn::Idle => None,
        };
        let mut timer = pin!(at.map(|at| Timer::new(at.saturating_duration_since(Instant::now()))));
        poll_fn(|cx| match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
            Some(Poll::Ready(_)) => Poll::Ready(()),
            _ => self.poll_rung(cx),
        })
        .await;
    }
}
