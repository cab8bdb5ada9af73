//! What differs between operating systems. This file, the one of this package with `cfg(target_os)` besides the choice of
//! `backend/mod.rs`, picks from its plain neighbours, and holds what is the same everywhere.

#[cfg(target_os = "linux")]
mod cord;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod ferry;
#[cfg(target_os = "linux")]
mod linux;
mod message;
#[cfg(unix)]
mod overflow;
#[cfg(target_os = "linux")]
mod service;
#[cfg(unix)]
mod steps;
#[cfg(any(
    all(
        unix,
        any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")
    ),
    all(windows, target_arch = "x86_64"),
))]
mod switch;
#[cfg(not(any(
    all(
        unix,
        any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")
    ),
    all(windows, target_arch = "x86_64"),
)))]
#[path = "no_switch.rs"]
mod switch;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use cord::Cord;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::*;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Cord, Ferry, Manager, keep_from, service_sockets};
#[cfg(target_os = "linux")]
pub use ferry::Ferry;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
pub(crate) use message::{Received, Told, receive_from};
#[cfg(unix)]
pub(crate) use overflow::{SignalStack, name_overflows};
#[cfg(target_os = "linux")]
pub use service::{Manager, keep_from, service_sockets};
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use steps::open_by_steps as open_beneath;
#[cfg(target_os = "linux")]
pub(crate) use steps::open_by_steps;
pub(crate) use switch::{Memory, Switch, Yielder, suspend};
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};

use socket2::SockRef;

use crate::socket::SocketOption;
use crate::{Error, Result};

/// What the backend on the `polling` crate is called: after what the system offers. On Linux it runs in tests.
#[cfg(target_os = "linux")]
pub(crate) const POLLING: &str = "polling";
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) const POLLING: &str = "kqueue";
#[cfg(windows)]
pub(crate) const POLLING: &str = "iocp";

/// How sends are told to report a broken pipe as an error only. Where there is no such flag, sockets are told when they are
/// made, or there are no signals.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub(crate) const SEND_FLAGS: i32 = 0;

/// How a send is told not to wait. Elsewhere sockets are told so when they are made.
#[cfg(target_os = "linux")]
const NOW_FLAGS: i32 = libc::MSG_DONTWAIT;
#[cfg(not(target_os = "linux"))]
const NOW_FLAGS: i32 = 0;

/// How a send is told that something is to leave with its bytes.
#[cfg(target_os = "linux")]
const MORE_FLAGS: i32 = libc::MSG_MORE;
#[cfg(not(target_os = "linux"))]
const MORE_FLAGS: i32 = 0;

/// Says how many bytes the stack has whose guard page holds this address, if it is the one that this thread runs on. To be
/// called from a signal handler: it reads what the thread keeps and calls nobody.
pub(crate) type GuardLookup = fn(usize) -> Option<usize>;

/// What a call that does not wait has come to; `None` if it would have had to.
fn at_once(result: io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Receives what has come, without waiting. No byte is the end.
pub(crate) fn receive_now(descriptor: &Descriptor, buffer: &mut [u8]) -> Result<Option<usize>> {
    at_once(receive_without_waiting(descriptor, buffer))
}

/// Sends what there is room for, without waiting.
#[allow(dead_code, reason = "only a ring has another way to send")]
pub(crate) fn send_now(descriptor: &Descriptor, data: &[IoSlice<'_>]) -> Result<Option<usize>> {
    at_once(send(descriptor, data, NOW_FLAGS))
}

/// The same for the last of a direction: its end is about to follow, and leaves with it.
pub(crate) fn send_last(descriptor: &Descriptor, data: &[IoSlice<'_>]) -> Result<usize> {
    Ok(at_once(send(descriptor, data, NOW_FLAGS | MORE_FLAGS))?.unwrap_or(0))
}

fn send(descriptor: &Descriptor, data: &[IoSlice<'_>], flags: i32) -> io::Result<usize> {
    let (socket, flags) = (SockRef::from(descriptor), SEND_FLAGS | flags);
    match data {
        [data] => socket.send_with_flags(data, flags),
        _ => socket.send_vectored_with_flags(data, flags),
    }
}

pub(crate) fn shutdown(descriptor: &Descriptor, how: Shutdown) -> Result<()> {
    Ok(SockRef::from(descriptor).shutdown(how)?)
}

pub(crate) fn local_address(descriptor: &Descriptor) -> Result<SocketAddr> {
    SockRef::from(descriptor).local_addr()?.as_socket().ok_or(Error::Unsupported)
}

pub(crate) fn peer_address(descriptor: &Descriptor) -> Result<SocketAddr> {
    SockRef::from(descriptor).peer_addr()?.as_socket().ok_or(Error::Unsupported)
}

pub(crate) fn set_option(descriptor: &Descriptor, option: SocketOption) -> Result<()> {
    let socket = SockRef::from(descriptor);
    match option {
        SocketOption::NoDelay(on) => socket.set_tcp_nodelay(on)?,
        SocketOption::KeepAlive(None) => socket.set_keepalive(false)?,
        SocketOption::KeepAlive(Some(idle)) => {
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle))?;
        }
        SocketOption::SendBuffer(bytes) => socket.set_send_buffer_size(bytes)?,
        SocketOption::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(bytes)?,
        SocketOption::Linger(time) => socket.set_linger(time)?,
        SocketOption::TellEcn(on) => tell_ecn(descriptor, on)?,
        SocketOption::JoinDatagrams(on) => join_datagrams(descriptor, on)?,
        SocketOption::TellLocal(on) => tell_local(descriptor, on)?,
        SocketOption::NeverFragment(on) => never_fragment(descriptor, on)?,
    }
    Ok(())
}

/// Whether calls on a descriptor return at once with EAGAIN, which readiness needs and io_uring must not have (it would
/// end operations with EAGAIN that it should wait for).
pub(crate) fn set_nonblocking(descriptor: &Descriptor, on: bool) -> Result<()> {
    Ok(SockRef::from(descriptor).set_nonblocking(on)?)
}
