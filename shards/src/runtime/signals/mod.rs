//! SIGTERM and SIGINT, turned into events for the coordinator by a thread that does nothing else. On Windows that is Ctrl-C.

#[cfg(unix)]
mod unix;
#[cfg(any(windows, test))]
mod windows;

#[cfg(unix)]
pub(super) use unix::watch;
#[cfg(windows)]
pub(super) use windows::watch;

#[cfg(test)]
mod tests;
