//! The hot restart: a process starts its successor, leaves it all its listening sockets, and drains once the other serves.
//!
//! The sockets are left and not closed, so what waits in their queues waits for both, and no connection is refused. Nothing
//! is given up before the successor has said that it is ready: if it fails, this process has only started a child.
//!
//! What the two say to each other, over a [`Cord`]: the predecessor begins with `shardwise 1 BACKEND`, one `left NUMBER PURPOSE
//! ADDRESS` for every address with its sockets, one `keep NAME VALUE` for every keepsake, `ferry` with the way of datagrams
//! between the two if any come, and `all`; the successor answers `ready NUMBERS`, with what it has claimed,
//! or `failed WHY`; and the predecessor ends with `go`, or with `stop` if it was told to end meanwhile.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use platform::limits::{CORD_BYTES_MAX, CORD_SOCKETS_MAX, CORD_TIME_MAX};
use platform::{BackendKind, Cord, Socket};

use super::heritage::{Keepsakes, Left, Purpose, fits};
use super::{Event, now};
use crate::limits::{
    KEEPSAKES_MAX, LEFT_SOCKETS_MAX, SUCCESSOR_END_TIME_MAX, SUCCESSOR_LOOK_EVERY, SUCCESSOR_START_TIME_MAX,
};

/// What this process was started as, and its successor will be: the same words, and whatever lies there by then.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
}

impl Program {
    /// To be asked at the start: later the program may have been replaced, and its path would be that of the old one.
    pub(super) fn of_process() -> std::io::Result<Self> {
        let directory = env::current_dir()?;
        let mut arguments = env::args_os();
        let path = match arguments.next().map(PathBuf::from) {
            // As it was called, links included: they are what a deployment changes.
            Some(path) if path.components().count() > 1 => directory.join(path),
            _ => env::current_exe()?,
        };
        Ok(Program { path, arguments: arguments.collect(), directory })
    }
}

// ---- in the process that goes ------------------------------------------------------------------------------------------

/// All that a successor is left.
pub(super) struct Bequest {
    pub(super) left: Vec<Left>,
    pub(super) keepsakes: Keepsakes,
    /// See [`Ferry`](platform::Ferry).
    pub(super) ferry: Option<Socket>,
}

/// A successor that was started.
pub(super) struct Successor {
    cord: Arc<Cord>,
    pub(super) id: u32,
}

impl Successor {
    /// Starts it, and has a thread see it through: an event tells what it has claimed, or why it failed. It may run
    /// wherever the calling thread may.
    pub(super) fn start<E: Send + 'static>(
        program: &Program,
        bequest: Bequest,
        backend: BackendKind,
        events: Sender<Event<E>>,
    ) -> std::io::Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).current_dir(&program.directory);
        platform::keep_from(&mut command);
        let cord = Arc::new(Cord::tie(&mut command)?);
        let child = command.spawn()?;
        // With it goes this process's name of the other end, so that the end of the child is heard.
        drop(command);
        let successor = Successor { cord: Arc::clone(&cord), id: child.id() };
        let see_through = move || {
            let passed = pass_on(&cord, &bequest, backend);
            // One that does not take it may have said why, or has ended.
            let outcome = answer(&cord).and_then(|claimed| passed.map(|()| claimed));
            drop(bequest);
            let has_failed = outcome.is_err();
            // Without a coordinator this process ends.
            let _ = events.send(Event::Successor(outcome));
            if has_failed {
                let _ = cord.send("stop", &[]);
                end(child);
            }
        };
        std::thread::Builder::new().name("successor".to_owned()).spawn(see_through)?;
        Ok(successor)
    }

    /// It has taken over.
    pub(super) fn go(&self) {
        // If it is gone already, it is too late to do anything about it.
        let _ = self.cord.send("go", &[]);
    }

    /// It is not wanted any more.
    pub(super) fn stop(&self) {
        let _ = self.cord.send("stop", &[]);
    }
}

fn pass_on(cord: &Cord, bequest: &Bequest, backend: BackendKind) -> Result<(), String> {
    let pass = || {
        cord.send(&format!("shardwise {VERSION} {backend}"), &[])?;
        for Left { number, purpose, address, sockets } in &bequest.left {
            let purpose = purpose.unwrap_or(Purpose::Serve).name();
            for sockets in sockets.chunks(CORD_SOCKETS_MAX) {
                cord.send(&format!("left {number} {purpose} {address}"), sockets)?;
            }
        }
        for (name, value) in &bequest.keepsakes {
            cord.send(&format!("keep {name} {}", hexadecimal(value)), &[])?;
        }
        if let Some(ferry) = &bequest.ferry {
            cord.send("ferry", std::slice::from_ref(ferry))?;
        }
        cord.send("all", &[])
    };
    pass().map_err(|error| format!("it does not take what it is left: {error}"))
}

/// Waits until the successor says what has become of it.
fn answer(cord: &Cord) -> Result<Vec<usize>, String> {
    match cord.receive(Some(SUCCESSOR_START_TIME_MAX)) {
        Ok(Some((text, _))) => match text.split_once(' ').unwrap_or((&text, "")) {
            ("ready", numbers) => Ok(numbers.split(',').filter_map(|number| number.parse().ok()).collect()),
            (_, why) => Err(why.to_owned()),
        },
        Ok(None) => Err("it ended before it was ready; what it has said stands before this".to_owned()),
        Err(_) => Err(format!("it was not ready within {SUCCESSOR_START_TIME_MAX:?}")),
    }
}

/// Sees a successor out that has failed. It may have accepted connections, and is given the time to serve them.
#[allow(clippy::disallowed_methods, reason = "a thread beside the shards")]
fn end(mut child: Child) {
    let deadline = now() + SUCCESSOR_END_TIME_MAX;
    while let Ok(None) = child.try_wait() {
        if now() >= deadline {
            let _ = child.kill();
        }
        std::thread::sleep(SUCCESSOR_LOOK_EVERY);
    }
}

// ---- in the process that comes -----------------------------------------------------------------------------------------

/// The process that has started this one to take its place.
pub(super) struct Predecessor {
    cord: Arc<Cord>,
    /// It was told what has become of this process.
    is_told: AtomicBool,
}

impl Predecessor {
    pub(super) fn find() -> Result<Option<Self>, String> {
        let cord = Cord::of_predecessor().map_err(|error| format!("the process before this one is silent: {error}"))?;
        Ok(cord.map(|cord| Predecessor { cord: Arc::new(cord), is_told: AtomicBool::new(false) }))
    }

    /// What it leaves.
    pub(super) fn leaves(&self, backend: BackendKind) -> Result<(Vec<Left>, Keepsakes, Option<Socket>), String> {
        let next = || match self.cord.receive(Some(CORD_TIME_MAX)) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err("the process before this one has gone".to_owned()),
            Err(error) => Err(format!("the process before this one is silent: {error}")),
        };
        let (hail, _) = next()?;
        let (version, theirs) =
            hail.strip_prefix("shardwise ").and_then(|hail| hail.split_once(' ')).unwrap_or_default();
        if version != VERSION {
            return Err(format!(
                "the process before this one speaks otherwise (\"{hail}\"). Stop it, then start this."
            ));
        }
        // Whether a call on a socket waits is the socket's, and so the same for both processes; io_uring and readiness need
        // it otherwise.
        if (theirs == BackendKind::Uring.to_string()) != (backend == BackendKind::Uring) {
            return Err(format!(
                "the process before this one is on the backend {theirs}, this one on {backend}, and the two cannot share \
                 sockets. Give both the same by SHARDWISE_BACKEND or in code, or stop the one and start the other."
            ));
        }
        let (mut all, mut count, mut keepsakes, mut ferry) = (Vec::<Left>::new(), 0, Keepsakes::new(), None);
        loop {
            let (text, mut sockets) = next()?;
            if text == "all" {
                return Ok((all, keepsakes, ferry));
            }
            if text == "ferry" {
                ferry = sockets.pop();
                continue;
            }
            if let Some((name, value)) = keepsake(&text).filter(|_| keepsakes.len() <= KEEPSAKES_MAX) {
                keepsakes.insert(name.to_owned(), value.into());
                continue;
            }
            count += sockets.len();
            let heading = heading(&text).filter(|_| count <= LEFT_SOCKETS_MAX);
            let Some((number, purpose, address)) = heading else {
                // The first word alone: what follows may be a secret.
                let word = text.split(' ').next().unwrap_or_default();
                return Err(format!("the process before this one leaves what is not understood: {word}"));
            };
            match all.last_mut().filter(|last| last.number == number) {
                Some(last) => last.sockets.append(&mut sockets),
                None => all.push(Left { number, purpose: Some(purpose), address, sockets }),
            }
        }
    }

    /// Has a thread wait for its last word: this process ends too if the other was told to.
    pub(super) fn listen<E: Send + 'static>(&self, events: Sender<Event<E>>) -> Result<(), String> {
        let cord = Arc::clone(&self.cord);
        let wait = move || {
            if let Ok(Some((text, _))) = cord.receive(None)
                && text == "stop"
            {
                let _ = events.send(Event::Stop);
            }
        };
        let thread = std::thread::Builder::new().name("predecessor".to_owned()).spawn(wait);
        thread.map(drop).map_err(|error| format!("no thread to listen to the process before this one: {error}"))
    }

    /// This process serves, with these of what it was left.
    pub(super) fn ready(&self, claimed: &[usize]) {
        let mut text = "ready ".to_owned();
        for number in claimed {
            let _ = write!(text, "{number},");
        }
        self.tell(&text);
    }

    /// This process has not come so far.
    pub(super) fn failed(&self, why: &str) {
        self.tell(&format!("failed {why}"));
    }

    fn tell(&self, text: &str) {
        if self.is_told.swap(true, Ordering::AcqRel) {
            return;
        }
        let text: String = text.chars().take(CORD_BYTES_MAX / char::MAX.len_utf8()).collect();
        if let Err(error) = self.cord.send(&text, &[]) {
            tracing::warn!("the process before this one has gone: {error}");
        }
    }
}

/// What `left NUMBER PURPOSE ADDRESS` says.
fn heading(text: &str) -> Option<(usize, Purpose, SocketAddr)> {
    let mut words = text.strip_prefix("left ")?.split(' ');
    Some((words.next()?.parse().ok()?, Purpose::of(words.next()?)?, words.next()?.parse().ok()?))
}

/// What `keep NAME HEXADECIMAL` says.
fn keepsake(text: &str) -> Option<(&str, Vec<u8>)> {
    let (name, digits) = text.strip_prefix("keep ")?.split_once(' ')?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    let value = digits.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
    fits(name, &value).then_some((name, value))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Of what the two processes say.
const VERSION: &str = "1";

#[cfg(test)]
mod tests;
