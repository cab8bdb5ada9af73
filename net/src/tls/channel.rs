//! [`Channel`]: a session over a TCP stream, with one send on its way at a time.
//!
//! The one idea: whoever sends gives all that it has; the channel seals as much as one send takes, and the next part when the
//! kernel has taken that. What the session itself has to say goes along, or alone if there is nothing else.

use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use platform::{Buf, Chunk, Pool};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shards::Operation;
use shards::sync::Permit;

use super::handshakes::{Handshake, Handshakes};
use super::session::{Event, Session};
use super::{Failure, Secured, hello};
use crate::tcp::{Outgoing, sent, sent_bytes};
use crate::transport::Sent;
use crate::{Error, NetStats, Result, TcpStream};

/// One side of a TLS connection.
#[derive(Debug)]
pub(crate) struct Channel {
    // What is in flight is given up before the socket closes, which whoever has both sees to.
    sending: Option<Operation>,
    /// Somebody waits for the end of it.
    is_awaited: bool,
    /// What has not been sealed of what is being sent; when all of it has, what it leaves for another use.
    plain: Outgoing,
    /// What has been received and not decrypted.
    input: Option<Chunk>,
    /// What has been decrypted before anybody asked for it.
    ahead: Option<Chunk>,
    session: Session,
    end: End,
    closing: Closing,
    /// The stream is to be shut when that has left: whoever closes it need not.
    shuts: bool,
    /// While the hand-shake goes on, of a server's.
    handshake: Option<Handshake>,
    /// The client of HTTP/2 has been told what a server says first.
    has_greeted: bool,
    secured: Option<Rc<Secured>>,
    /// Where a server counts.
    stats: Option<Arc<NetStats>>,
}

/// What has become of the peer's side.
#[derive(Clone, Debug)]
enum End {
    NotYet,
    /// It has said that no more comes.
    InOrder,
    /// The stream has ended, and it has not.
    Cut,
    /// It is to be told what was wrong, before whoever receives is.
    Failed(Failure),
}

/// How far the end of this side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// The peer is to be told so when all else has been said.
    Asked,
    Said,
    /// The stream has been shut after that.
    Shut,
}

/// What has come.
enum Step {
    Data(Chunk),
    /// All that came is used up, and perhaps the hand-shake over.
    Used,
    End,
}

impl Channel {
    /// A server's, which begins with these bytes.
    pub(crate) fn accept(handshakes: &Handshakes, place: Permit, received: Chunk) -> Result<Box<Self>> {
        let config = hello::in_order(handshakes.config(), &received);
        let session = Session::server(config).map_err(Error::Tls)?;
        let handshake = Some(handshakes.begin(place));
        let stats = Some(Arc::clone(&handshakes.stats));
        let mut channel = Channel { handshake, stats, ..Channel::over(session) };
        channel.take_in(received);
        Ok(Box::new(channel))
    }

    /// A client's, which asks for this name and expects whom it names.
    pub(crate) fn connect(config: Arc<ClientConfig>, name: ServerName<'static>, pool: &Pool) -> Result<Box<Self>> {
        let session = Session::client(config, name, pool).map_err(Error::Tls)?;
        Ok(Box::new(Channel::over(session)))
    }

    fn over(session: Session) -> Self {
        let (sending, is_awaited, input, ahead, shuts, handshake, has_greeted, secured, stats) = Default::default();
        let (plain, end, closing) = (Outgoing::default(), End::NotYet, Closing::No);
        Channel {
            sending,
            is_awaited,
            plain,
            input,
            ahead,
            session,
            end,
            closing,
            shuts,
            handshake,
            has_greeted,
            secured,
            stats,
        }
    }

    /// What has been agreed on, once data may be received.
    pub(crate) fn secured(&self) -> Option<&Rc<Secured>> {
        self.secured.as_ref()
    }

    /// Whether what is received may have been sent before, by anybody.
    pub(crate) fn is_early(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether a server has said already what comes first in HTTP/2.
    pub(crate) fn has_greeted(&self) -> bool {
        self.has_greeted
    }

    /// Whether the peer's side has ended without its last word, so that somebody may have cut off what was to follow.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.end, End::Cut)
    }

    /// Ready when data may be received: the hand-shake is over, or data has come before its end.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>, tcp: &mut TcpStream) -> Poll<Result<()>> {
        while self.session.is_handshaking() && self.ahead.is_none() {
            self.greet(tcp)?;
            match ready!(self.poll_step(cx, tcp))? {
                Step::Data(chunk) => self.ahead = Some(chunk),
                Step::Used => {}
                Step::End => return Poll::Ready(Err(Error::Tls(Failure::Left))),
            }
        }
        self.handshake = None;
        self.secured = Some(self.session.secured());
        Poll::Ready(Ok(()))
    }

    /// Settings of HTTP/2 leave with the server's last word on the hand-shake, if they may: so they are there before the client
    /// asks for anything, and no request waits a round trip for them.
    fn greet(&mut self, tcp: &TcpStream) -> Result<()> {
        if let Some(handshake) = &mut self.handshake
            && self.session.may_send()
            && self.session.speaks_h2()
            && let Some(greeting) = handshake.greeting.take()
        {
            let chunk = tcp.shard().pool().lease(greeting.len());
            let mut chunk = chunk.ok_or(Error::Tls(Failure::Exhausted))?;
            chunk.put(&greeting);
            self.has_greeted = true;
            self.start_send(Outgoing::One(Buf::Chunk(chunk.freeze())), tcp)?;
        }
        Ok(())
    }

    // ---- what comes in -----------------------------------------------------------------------------------------------

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>, tcp: &mut TcpStream) -> Poll<Result<Option<Chunk>>> {
        if let Some(chunk) = self.ahead.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        loop {
            match ready!(self.poll_step(cx, tcp))? {
                Step::Data(chunk) => return Poll::Ready(Ok(Some(chunk))),
                Step::Used => {}
                Step::End => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, tcp: &mut TcpStream) -> Poll<Result<Step>> {
        match &self.end {
            End::NotYet => {}
            End::InOrder | End::Cut => {
                self.speak(cx, tcp)?;
                return Poll::Ready(Ok(Step::End));
            }
            End::Failed(failure) => {
                let failure = failure.clone();
                // Its last word, if the stream still takes it.
                while let Ok(Some(_)) = ready!(self.poll_sent(cx, tcp)) {}
                return Poll::Ready(Err(Error::Tls(failure)));
            }
        }
        if self.input.is_none() {
            match tcp.poll_recv(cx)? {
                Poll::Ready(Some(chunk)) => self.take_in(chunk),
                Poll::Ready(None) => {
                    self.end = End::Cut;
                    return Poll::Ready(Ok(Step::End));
                }
                Poll::Pending => {
                    self.speak(cx, tcp)?;
                    return Poll::Pending;
                }
            }
        }
        if let Some(handshake) = &self.handshake {
            ready!(handshake.steps.poll_step(cx, tcp.shard()));
        }
        let Some(input) = &mut self.input else { return Poll::Ready(Ok(Step::Used)) };
        Poll::Ready(Ok(match self.session.receive(input, tcp.shard().pool()) {
            Ok(Event::Data(chunk)) => {
                // Mostly a record is all that has come, and nobody need be asked what follows.
                if input.is_empty() && !self.session.has_more() {
                    self.input = None;
                }
                Step::Data(chunk)
            }
            Ok(Event::NeedMore) => {
                self.input = None;
                Step::Used
            }
            Ok(Event::Closed) => {
                (self.input, self.end) = (None, End::InOrder);
                Step::End
            }
            Err(failure) => {
                tracing::debug!("a connection has failed: {failure}");
                (self.input, self.plain, self.end) = (None, Outgoing::default(), End::Failed(failure));
                Step::Used
            }
        }))
    }

    fn take_in(&mut self, received: Chunk) {
        if let Some(stats) = &self.stats {
            stats.tls_bytes_received.add(received.len() as u64);
        }
        self.input = Some(received);
    }

    // ---- what goes out -----------------------------------------------------------------------------------------------

    /// Starts a send. None may be [on its way](Channel::is_sending).
    pub(crate) fn start_send(&mut self, outgoing: Outgoing, tcp: &TcpStream) -> Result<()> {
        self.plain = outgoing;
        self.start(tcp)
    }

    pub(crate) fn is_sending(&self) -> bool {
        !self.plain.is_empty() || self.sending.as_ref().is_some_and(|sending| !sending.is_spent())
    }

    /// What the peer has taken, in bytes as they were sent; `None` when nothing is on its way.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>, tcp: &mut TcpStream) -> Poll<Result<Option<Sent>>> {
        let sent = self.poll_left(cx, tcp);
        self.is_awaited = sent.is_pending();
        sent
    }

    fn poll_left(&mut self, cx: &mut Context<'_>, tcp: &mut TcpStream) -> Poll<Result<Option<Sent>>> {
        loop {
            self.start(tcp)?;
            if let Some(sending) = &mut self.sending {
                let completion = ready!(sending.poll_next(cx));
                self.sending = None;
                let bytes = sent_bytes(&completion);
                let rest = sent(completion)?;
                if !rest.is_empty() {
                    self.sending = Some(tcp.start_send(rest)?);
                }
                self.start(tcp)?;
                let spare = if self.is_sending() { Outgoing::default() } else { std::mem::take(&mut self.plain) };
                return Poll::Ready(Ok(Some(Sent { bytes, spare })));
            }
            if self.plain.is_empty() {
                return Poll::Ready(Ok(None));
            }
            // The hand-shake is not so far yet, and perhaps nobody else asks for what it waits for.
            while !self.session.may_send() {
                if self.ahead.is_some() {
                    return Poll::Pending;
                }
                match ready!(self.poll_step(cx, tcp))? {
                    Step::Data(chunk) => self.ahead = Some(chunk),
                    Step::Used => {}
                    Step::End => return Poll::Ready(Err(Error::Tls(Failure::Left))),
                }
            }
        }
    }

    /// As [`Transport::hush`](crate::Transport): what is not sealed yet must be heard of.
    pub(crate) fn hush(&mut self, waker: &Waker) -> bool {
        self.is_awaited = false;
        !self.plain.is_empty() || self.sending.as_mut().is_some_and(|sending| sending.hush(waker))
    }

    /// Sends the last of this side with its end, if all of it leaves at once: as [`Transport::finish`](crate::Transport).
    pub(crate) fn finish(&mut self, outgoing: Outgoing, tcp: &TcpStream) -> Result<bool> {
        self.plain = outgoing;
        if !self.session.may_send() || self.closing != Closing::No {
            self.start(tcp)?;
            return Ok(false);
        }
        self.closing = Closing::Asked;
        let mut records = Outgoing::One(self.seal(tcp)?.map_or(Buf::EMPTY, Buf::Chunk));
        // What does not go into one send has its end behind it.
        if self.closing == Closing::Said {
            tcp.send_last(&mut records)?;
        }
        if !records.is_empty() {
            self.sending = Some(tcp.start_send(records)?);
            return Ok(false);
        }
        self.closing = Closing::Shut;
        Ok(true)
    }

    /// Says that no more is sent, and ends this side of the stream when the kernel has taken that.
    pub(crate) fn shut(&mut self, tcp: &TcpStream) -> Result<()> {
        self.shuts = true;
        self.close(tcp)
    }

    /// Says that no more is sent.
    pub(crate) fn close(&mut self, tcp: &TcpStream) -> Result<()> {
        if self.closing == Closing::No {
            self.closing = Closing::Asked;
        }
        self.start(tcp)
    }

    /// Starts what there is to send, unless something is on its way.
    fn start(&mut self, tcp: &TcpStream) -> Result<()> {
        if self.sending.as_ref().is_some_and(|sending| !sending.is_spent()) {
            return Ok(());
        }
        self.sending = None;
        match self.seal(tcp)? {
            Some(records) => self.sending = Some(tcp.start_send(Outgoing::One(Buf::Chunk(records)))?),
            None if self.closing == Closing::Said && self.shuts => {
                self.closing = Closing::Shut;
                tcp.shutdown(Shutdown::Write)?;
            }
            None => {}
        }
        Ok(())
    }

    /// The records of what there is to say, as much as one send takes.
    fn seal(&mut self, tcp: &TcpStream) -> Result<Option<Chunk>> {
        let shard = tcp.shard();
        if !self.plain.is_empty() && self.session.may_send() {
            self.session.seal(&mut self.plain, shard.now(), shard.pool()).map_err(Error::Tls)?;
        }
        if self.closing == Closing::Asked && self.plain.is_empty() {
            self.closing = Closing::Said;
            self.session.close(shard.pool()).map_err(Error::Tls)?;
        }
        let records = self.session.take_output();
        if let (Some(stats), Some(records)) = (&self.stats, &records) {
            stats.tls_bytes_sent.add(records.len() as u64);
        }
        Ok(records)
    }

    /// Sends what the session has to say, where nobody waits for the end of that.
    fn speak(&mut self, cx: &mut Context<'_>, tcp: &mut TcpStream) -> Result<()> {
        self.start(tcp)?;
        // A send that somebody waits for must be heard of, whoever looks at the stream meanwhile.
        while !self.is_awaited
            && self.plain.is_empty()
            && let Some(sending) = &mut self.sending
            && (self.closing != Closing::No || sending.hush(cx.waker()))
        {
            if self.poll_left(cx, tcp)?.is_pending() {
                break;
            }
        }
        Ok(())
    }
}
