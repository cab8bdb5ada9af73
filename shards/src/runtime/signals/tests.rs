//! Signals that the process sends itself. One test, since signals belong to all of the process.

use std::sync::mpsc::channel;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;

use super::super::Event;
use super::{watch, windows};

/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[test]
fn each_signal_is_an_event_until_the_watch_closes() {
    for look in [true, false] {
        let (events, inbox) = channel::<Event<()>>();
        let close: Box<dyn FnOnce()> = match look {
            true => {
                let watch = windows::watch(events).expect("signals can be watched");
                Box::new(|| watch.close())
            }
            false => {
                let watch = watch(events).expect("signals can be watched");
                Box::new(|| watch.close())
            }
        };
        for signal in [SIGTERM, SIGINT, SIGTERM] {
            raise(signal).expect("a process can signal itself");
            let event = inbox.recv_timeout(WAIT_MAX);
            assert!(matches!(event, Ok(Event::Signal(got)) if got == signal), "signal {signal}, looking: {look}");
        }
        close();
        assert!(inbox.recv_timeout(WAIT_MAX).is_err(), "the watch has ended");
    }
}
