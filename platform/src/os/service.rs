#![allow(unsafe_code)]
//! The service manager, as systemd speaks: sockets that it has opened for us (LISTEN_FDS), and what it wants to be told
//! (NOTIFY_SOCKET, WATCHDOG_USEC).

use std::env;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt;

use crate::Socket;
use crate::limits::SERVICE_SOCKETS_MAX;

/// The listening sockets that the service manager has opened for this process, each with the name that it has given them. They
/// can be had once.
///
/// Errors: what was passed is not a listening TCP socket; the text says which and what to do.
pub fn service_sockets() -> Result<Vec<(String, Socket)>, String> {
    static ARE_TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    let is_ours = number("LISTEN_PID") == Some(std::process::id() as usize);
    let count = number("LISTEN_FDS").unwrap_or(0);
    if !is_ours || count == 0 || ARE_TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    if count > SERVICE_SOCKETS_MAX {
        return Err(format!(
            "the service manager passes {count} sockets; {SERVICE_SOCKETS_MAX} are taken at the most."
        ));
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (FIRST..FIRST + count as RawFd)
        .map(|descriptor| {
            let name = names.next().unwrap_or_else(|| "unknown".to_owned());
            let socket = adopt(descriptor).map_err(|error| {
                format!(
                    "the service manager passes a descriptor \"{name}\" ({descriptor}) that is not a listening TCP socket: \
                     {error}. Use ListenStream= with a port or an address and a port, and Accept=no."
                )
            })?;
            Ok((name, socket))
        })
        .collect()
}

fn adopt(descriptor: RawFd) -> io::Result<Socket> {
    // SAFETY: LISTEN_PID names this process, so by sd_listen_fds(3) this descriptor was opened for it by whoever started it,
    // and is nobody's until it is taken; the flag above lets that happen once. One that is not open is found out here.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    if !sockopt::socket_acceptconn(borrowed)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    // SAFETY: as above; it is open, and from here on the socket alone closes it.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let socket = socket2::Socket::from(owned);
    match socket.local_addr()?.as_socket() {
        Some(_) => Ok(socket.into()),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no IP address")),
    }
}

/// What the service manager has told this process alone is kept from another that it starts.
pub fn keep_from(successor: &mut Command) {
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        successor.env_remove(name);
    }
}

/// Where the service manager listens for news of this process.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: UnixAddress,
}

impl Manager {
    /// The manager, if there is one that wants to be told.
    ///
    /// Errors: its address cannot be used.
    pub fn of_process() -> io::Result<Option<Manager>> {
        let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return Ok(None) };
        let address = match path.as_encoded_bytes() {
            [b'@', name @ ..] => UnixAddress::from_abstract_name(name)?,
            _ => UnixAddress::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not listen does not hold this process up.
        socket.set_nonblocking(true)?;
        Ok(Some(Manager { socket, address }))
    }

    /// Says something, as sd_notify(3) has it.
    ///
    /// Errors: the manager does not hear it.
    pub fn tell(&self, state: &str) -> io::Result<()> {
        self.socket.send_to_addr(state.as_bytes(), &self.address).map(drop)
    }

    /// How long it waits for a sign of life before it takes this process for dead, if it does.
    pub fn watchdog_time(&self) -> Option<Duration> {
        let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        number("WATCHDOG_USEC").filter(|time| is_ours && *time > 0).map(Duration::from_micros)
    }

    /// The moment, as it wants to be told it when this process begins to reload.
    pub fn monotonic_time() -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }
}

/// The first descriptor that is passed: behind the three of standard input and output.
const FIRST: RawFd = 3;
