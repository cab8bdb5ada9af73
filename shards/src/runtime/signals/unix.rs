//! Where a thread can wait for signals.

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use std::sync::mpsc::Sender;

use super::super::Event;

/// A watch that ends when closed.
pub(in super::super) struct Watch(Handle);

impl Watch {
    pub(in super::super) fn close(self) {
        self.0.close();
    }
}

/// Sends each signal as an event.
pub(in super::super) fn watch<E: Send + 'static>(events: Sender<Event<E>>) -> Result<Watch, String> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGUSR2]).map_err(|error| format!("cannot watch for signals: {error}"))?;
    let handle = signals.handle();
    let forward = move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(forward)
        .map_err(|error| format!("no thread to watch for signals: {error}"))?;
    Ok(Watch(handle))
}
