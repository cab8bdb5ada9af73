//! [`Datagrams`]: what a tunnel carries where its ends have agreed on datagrams (RFC 9297), as for the proxying of UDP (RFC 9298).
//!
//! The one idea: a datagram goes by itself where the connection carries any, as one of QUIC's, and in a capsule of the stream else;
//! code sees no difference, but that the former may be lost.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use platform::Chunk;
use proto::capsule::{DATAGRAM, Event, HEAD_BYTES_MAX, Reader, put_head};

use super::Upgraded;
use crate::conn::streams::Mailbox;
use crate::limits::HTTP_DATAGRAM_BYTES_MAX;
use crate::{Error, Result, Transport};

/// Datagrams in place of a tunnel's stream.
///
/// Over HTTP/3 they are QUIC's where both sides take those: what comes while
/// [`HTTP_DATAGRAMS_QUEUED_MAX`](crate::limits::HTTP_DATAGRAMS_QUEUED_MAX) wait to be read is dropped, and what is sent while so many
/// wait to leave; both are counted. Others go in capsules, which wait for room as all of a stream does. Capsules of any other kind
/// are read over.
#[derive(Debug)]
pub struct Datagrams {
    stream: Transport,
    /// What was received of the stream, and how much of it was looked at.
    received: Option<(Chunk, usize)>,
    reader: Reader,
    /// What has come of the present capsule.
    partial: Vec<u8>,
    /// Those that go by themselves.
    mailbox: Option<Rc<Mailbox>>,
}

impl Upgraded {
    /// Takes the tunnel for one of datagrams. Whoever answers so may say `Capsule-Protocol: ?1`.
    ///
    /// ```
    /// use http::StatusCode;
    /// use shardwise_net::{Content, Response, Tunnel, Upgraded};
    ///
    /// let echo = Tunnel::new(async |upgraded: Upgraded| {
    ///     let mut datagrams = upgraded.into_datagrams();
    ///     while let Ok(Some(datagram)) = datagrams.recv().await {
    ///         if datagrams.send(datagram).await.is_err() {
    ///             break;
    ///         }
    ///     }
    /// });
    /// let response = Response::new(StatusCode::OK).with_content(Content::Tunnel(echo));
    /// assert_eq!(response.content.length(), Some(0));
    /// ```
    pub fn into_datagrams(self) -> Datagrams {
        let Upgraded { stream, received, mailbox, .. } = self;
        let received = received.map(|chunk| (chunk, 0));
        Datagrams { stream, received, reader: Reader::new(), partial: Vec::new(), mailbox }
    }
}

impl Datagrams {
    /// The next datagram; `None` once the peer has ended its side.
    ///
    /// Cancel safe: it is either returned or still there for the next call.
    ///
    /// Errors: the stream was reset, or has ended within a capsule.
    pub async fn recv(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Datagrams::recv) as a poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let Some(mailbox) = &self.mailbox
            && let Poll::Ready(Some(datagram)) = mailbox.poll_recv(cx)
        {
            return Poll::Ready(Ok(Some(datagram)));
        }
        loop {
            let Some((chunk, from)) = &mut self.received else {
                match ready!(self.stream.poll_recv(cx))? {
                    Some(chunk) => self.received = Some((chunk, 0)),
                    None if self.reader.is_between() => return Poll::Ready(Ok(None)),
                    None => return Poll::Ready(Err(Error::Io(platform::Error::Reset))),
                }
                continue;
            };
            let rest = &chunk[*from..];
            let step = self.reader.receive(rest);
            match step.event {
                Event::NeedMore => self.received = None,
                Event::Begins { kind, length } => {
                    *from += step.consumed;
                    if kind != DATAGRAM || length > HTTP_DATAGRAM_BYTES_MAX as u64 {
                        self.reader.skip();
                    }
                }
                Event::Piece { count, is_last } => {
                    self.partial.extend_from_slice(&rest[..count]);
                    *from += step.consumed;
                    if is_last {
                        return Poll::Ready(Ok(Some(std::mem::take(&mut self.partial).into())));
                    }
                }
            }
        }
    }

    /// Sends a datagram: one that goes by itself at once, without a wait; it may be lost. Otherwise it waits for room in the stream.
    ///
    /// Not cancel safe: as [`Transport::send`].
    ///
    /// Errors: the peer has reset the stream or the connection is gone; it is longer than
    /// [`HTTP_DATAGRAM_BYTES_MAX`](crate::limits::HTTP_DATAGRAM_BYTES_MAX).
    pub async fn send(&mut self, datagram: impl Into<Bytes>) -> Result<()> {
        let datagram = datagram.into();
        if let Some(mailbox) = &self.mailbox
            && mailbox.bytes_max().is_some_and(|max| datagram.len() <= max)
        {
            mailbox.send(datagram);
            return Ok(());
        }
        if datagram.len() > HTTP_DATAGRAM_BYTES_MAX {
            return Err(Error::Io(platform::Error::Invalid));
        }
        let mut capsule = vec![0; HEAD_BYTES_MAX];
        let head = put_head(DATAGRAM, datagram.len() as u64, &mut capsule).expect("there is room for any");
        capsule.truncate(head);
        capsule.extend_from_slice(&datagram);
        self.stream.send(capsule).await
    }

    /// Bytes of a datagram that goes by itself at this moment; longer ones go in capsules, and all do if there is none.
    pub fn bytes_max(&self) -> Option<usize> {
        self.mailbox.as_ref().and_then(|mailbox| mailbox.bytes_max())
    }
}
