//! Where no thread can wait for a signal, a handler sets a flag, and the thread looks at the flags from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::Thread;

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::super::Event;
use crate::limits::SIGNAL_LOOK_EVERY;

/// A watch that ends when closed.
pub(in super::super) struct Watch {
    is_closed: Arc<AtomicBool>,
    thread: Thread,
}

impl Watch {
    pub(in super::super) fn close(self) {
        self.is_closed.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// One signal, and whether it has come.
struct Flag {
    signal: i32,
    is_raised: Arc<AtomicBool>,
    handler: SigId,
}

/// Sends each signal as an event. Two of one kind between two looks are one.
pub(in super::super) fn watch<E: Send + 'static>(events: Sender<Event<E>>) -> Result<Watch, String> {
    let flags = [SIGTERM, SIGINT].map(Flag::register).into_iter().collect::<Result<Vec<_>, _>>()?;
    let is_closed = Arc::new(AtomicBool::new(false));
    let closed = Arc::clone(&is_closed);
    let look = move || {
        while !closed.load(Ordering::Acquire) {
            for flag in &flags {
                if flag.is_raised.swap(false, Ordering::AcqRel) && events.send(Event::Signal(flag.signal)).is_err() {
                    return;
                }
            }
            std::thread::park_timeout(SIGNAL_LOOK_EVERY);
        }
    };
    let thread = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(look)
        .map_err(|error| format!("no thread to watch for signals: {error}"))?;
    Ok(Watch { is_closed, thread: thread.thread().clone() })
}

impl Flag {
    fn register(signal: i32) -> Result<Self, String> {
        let is_raised = Arc::new(AtomicBool::new(false));
        let handler = flag::register(signal, Arc::clone(&is_raised))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
        Ok(Flag { signal, is_raised, handler })
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        low_level::unregister(self.handler);
    }
}
