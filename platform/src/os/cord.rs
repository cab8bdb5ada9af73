//! The cord between a process and its successor: a pair of Unix sockets, over which listening sockets pass (SCM_RIGHTS).
//!
//! It lies nowhere in the file system. The successor gets its end as standard input, which is the one descriptor that a start
//! passes on by itself; so nothing else is ever without close-on-exec, not even for a moment. What the predecessor had as
//! standard input comes first through the cord, and takes that place again.

use std::env;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

use crate::Socket;
use crate::limits::{CORD_BYTES_MAX, CORD_SOCKETS_MAX, CORD_TIME_MAX};

/// One end of the connection between a process and its successor. A message is a text, with sockets or without.
#[derive(Debug)]
pub struct Cord(OwnedFd);

impl Cord {
    /// Makes a cord and gives its other end to a process that is still to be started, instead of standard input.
    ///
    /// Errors: no descriptor is left, or the system has no such thing.
    pub fn tie(successor: &mut Command) -> io::Result<Cord> {
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let cord = Cord(here);
        cord.bound(Some(CORD_TIME_MAX))?;
        // A process may have been started without.
        if cord.pass(b"stdin", &[rustix::stdio::stdin()]).is_err() {
            cord.pass(b"stdin", &[])?;
        }
        successor.stdin(Stdio::from(there)).env(VARIABLE, std::process::id().to_string());
        Ok(cord)
    }

    /// The end that this process has from its predecessor, if it has one. It can be had once.
    ///
    /// Errors: the predecessor says nothing.
    pub fn of_predecessor() -> io::Result<Option<Cord>> {
        let Ok(number) = env::var(VARIABLE) else { return Ok(None) };
        // The variable reaches children of the successor as well, whose standard input is their own.
        let parent = rustix::process::getppid().map(|id| id.as_raw_nonzero().to_string());
        let stdin = rustix::stdio::stdin();
        if parent != Some(number) || !matches!(sockopt::socket_type(stdin), Ok(SocketType::SEQPACKET)) {
            return Ok(None);
        }
        let cord = Cord(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?);
        cord.bound(Some(CORD_TIME_MAX))?;
        let (_, mut passed) = cord.take()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let stdin = match passed.pop() {
            Some(stdin) => stdin,
            None => File::open("/dev/null")?.into(),
        };
        rustix::stdio::dup2_stdin(stdin)?;
        Ok(Some(cord))
    }

    /// Sends a message, with up to [`CORD_SOCKETS_MAX`] sockets, of which the other process gets second names.
    ///
    /// Errors: the other process has gone, or does not read.
    pub fn send(&self, text: &str, sockets: &[Socket]) -> io::Result<()> {
        let of_system = |socket| Socket::descriptor(socket).map(AsFd::as_fd).ok_or(io::ErrorKind::Unsupported.into());
        let sockets: io::Result<Vec<BorrowedFd<'_>>> = sockets.iter().map(of_system).collect();
        self.pass(text.as_bytes(), &sockets?)
    }

    /// The next message; `None` if the other process has gone. It waits for `time_max`, or as long as it takes.
    ///
    /// Errors: nothing came in time, or not a message of ours.
    pub fn receive(&self, time_max: Option<Duration>) -> io::Result<Option<(String, Vec<Socket>)>> {
        self.bound(time_max)?;
        let Some((text, passed)) = self.take()? else { return Ok(None) };
        let sockets = passed.into_iter().map(|descriptor| socket2::Socket::from(descriptor).into()).collect();
        Ok(Some((text, sockets)))
    }

    fn bound(&self, time_max: Option<Duration>) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Send, Some(CORD_TIME_MAX))?;
        Ok(sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, time_max)?)
    }

    fn pass(&self, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CORD_SOCKETS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors));
        if !fits || text.len() > CORD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&self.0, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn take(&self) -> io::Result<Option<(String, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CORD_SOCKETS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut text = vec![0; CORD_BYTES_MAX];
        let message = loop {
            let into = &mut [IoSliceMut::new(&mut text)];
            match recvmsg(&self.0, into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                // The other process has gone with a message unread. The kernel says so once, and before it gives what that
                // has sent.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                other => break other?,
            }
        };
        let mut passed = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                passed.extend(descriptors);
            }
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut short: is a descriptor left?"));
        }
        if message.bytes == 0 {
            return Ok(None);
        }
        text.truncate(message.bytes);
        let text = String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some((text, passed)))
    }
}

/// Says to a successor who has started it, by the process id.
const VARIABLE: &str = "SHARDWISE_PREDECESSOR";

#[cfg(test)]
mod tests {
    use super::*;

    /// A successor that refuses what it is left says why and ends at once, and that must not be taken for silence.
    #[test]
    fn last_words_are_heard_from_one_who_has_not_listened() {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (here, there) = (Cord(pair.0), Cord(pair.1));
        here.send("left", &[]).unwrap();
        here.send("all", &[]).unwrap();
        there.send("failed why", &[]).unwrap();
        drop(there);
        let text = || here.receive(Some(CORD_TIME_MAX)).unwrap().map(|(text, _)| text);
        assert_eq!(text().as_deref(), Some("failed why"));
        assert_eq!((text(), text()), (None, None));
        assert!(here.send("go", &[]).is_err());
    }
}
