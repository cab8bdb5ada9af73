//! The ferry between a process and its successor: a pair of Unix sockets, over which each passes on datagrams whose connections
//! the other has. It holds as many as its buffer does, and who has no room is told so at once.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, recv, sendmsg, socketpair,
    sockopt,
};

use crate::handle::Resource;
use crate::limits::FERRY_BYTES_MAX;
use crate::{Error, Result, Socket};

/// One end of it. What one side sends in one piece the other receives so.
#[derive(Debug)]
pub struct Ferry(OwnedFd);

impl Ferry {
    /// A ferry, and its other end, to be given to another process.
    ///
    /// Errors: `OutOfDescriptors`.
    pub fn pair() -> Result<(Ferry, Socket)> {
        let open = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (here, there) = open().map_err(io::Error::from)?;
        for end in [&here, &there] {
            // The kernel gives less where it may not give so much.
            sockopt::set_socket_send_buffer_size(end, FERRY_BYTES_MAX).map_err(io::Error::from)?;
        }
        Ok((Ferry(here), socket2::Socket::from(there).into()))
    }

    /// The end that another process has given.
    ///
    /// Errors: `Unsupported` for a socket of a simulated machine, or of a shard.
    pub fn of(socket: Socket) -> Result<Ferry> {
        match socket.0 {
            Resource::Os(descriptor) => Ok(Ferry(descriptor)),
            _ => Err(Error::Unsupported),
        }
    }

    /// Sends both parts in one piece, which is not empty, and does not wait.
    ///
    /// Errors: there is no room, or the other process has gone.
    pub fn send(&self, head: &[u8], data: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(head), IoSlice::new(data)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &parts, &mut SendAncillaryBuffer::default(), flags)?;
        Ok(())
    }

    /// Waits for the next piece, and says how many bytes it has, which are cut if there is not room for all. `None` if the
    /// other process has gone.
    pub fn receive(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recv(&self.0, &mut *room, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(None),
                Ok((bytes, _)) => return Ok(Some(bytes)),
                // The other process has gone with a piece unread. The kernel says so once, before it gives what that has sent.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_sends_the_other_receives_in_pieces_and_no_more_than_there_is_room_for() {
        let (here, there) = Ferry::pair().unwrap();
        let there = Ferry::of(there).unwrap();
        let mut room = [0; 100];
        here.send(b"head", b"data").unwrap();
        here.send(b"head", b"").unwrap();
        assert_eq!(there.receive(&mut room).unwrap().map(|bytes| room[..bytes].to_vec()), Some(b"headdata".to_vec()));
        assert_eq!(there.receive(&mut room).unwrap(), Some(4));
        let mut sent = 0;
        let error = loop {
            match there.send(b"back", &[7; 1200]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent * 1200 < 2 * FERRY_BYTES_MAX, "it is bounded");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 10, "{sent}");
        drop(there);
        for _ in 0..sent {
            assert_eq!(here.receive(&mut room).unwrap(), Some(100), "cut");
        }
        assert_eq!(here.receive(&mut room).unwrap(), None);
        assert!(here.send(b"anyone?", b"").is_err());
    }
}
