//! SIGTERM, SIGINT and SIGUSR2, turned into events for the coordinator by a thread that does nothing else. On Windows that is Ctrl-C.

#[cfg(unix)]
mod unix;
#[cfg(any(windows, test))]
mod windows;

#[cfg(unix)]
pub(super) use unix::watch;
#[cfg(windows)]
pub(super) use windows::watch;

/// What asks for a hot restart.
#[cfg(unix)]
pub(super) const RESTART: Option<i32> = Some(signal_hook::consts::SIGUSR2);
#[cfg(windows)]
pub(super) const RESTART: Option<i32> = None;

#[cfg(test)]
mod tests;
