//! What h3 wants of a QUIC, by s2n-quic: nobody has published it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use s2n_quic::application::Error;
use s2n_quic::connection::{self, Handle};
use s2n_quic::connection::{BidirectionalStreamAcceptor, ReceiveStreamAcceptor};
use s2n_quic::stream;

/// A connection of either side.
#[derive(Debug)]
pub struct Connection {
    opener: Opener,
    bidirectional: BidirectionalStreamAcceptor,
    receiving: ReceiveStreamAcceptor,
}

/// Opens streams on it.
#[derive(Clone, Debug)]
pub struct Opener(Handle);

/// Both directions of a stream.
#[derive(Debug)]
pub struct Bidirectional {
    send: Send,
    receive: Receive,
}

/// The one from here.
#[derive(Debug)]
pub struct Send {
    stream: stream::SendStream,
    /// What the stream has no room for yet.
    unsent: Bytes,
}

/// The one to here.
#[derive(Debug)]
pub struct Receive(stream::ReceiveStream);

impl Connection {
    /// Of this connection.
    pub fn new(connection: s2n_quic::Connection) -> Self {
        let (handle, acceptor) = connection.split();
        let (bidirectional, receiving) = acceptor.split();
        Self { opener: Opener(handle), bidirectional, receiving }
    }
}

impl<B: Buf> quic::Connection<B> for Connection {
    type RecvStream = Receive;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Receive, ConnectionErrorIncoming>> {
        let accepted = ready!(self.receiving.poll_accept_receive_stream(context)).map_err(lost)?;
        Poll::Ready(accepted.map(Receive).ok_or_else(ended))
    }

    fn poll_accept_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Bidirectional, ConnectionErrorIncoming>> {
        let accepted = ready!(self.bidirectional.poll_accept_bidirectional_stream(context)).map_err(lost)?;
        Poll::Ready(accepted.map(Bidirectional::new).ok_or_else(ended))
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl<B: Buf> quic::OpenStreams<B> for Connection {
    type BidiStream = Bidirectional;
    type SendStream = Send;

    fn poll_open_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Bidirectional, StreamErrorIncoming>> {
        quic::OpenStreams::<B>::poll_open_bidi(&mut self.opener, context)
    }

    fn poll_open_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Send, StreamErrorIncoming>> {
        quic::OpenStreams::<B>::poll_open_send(&mut self.opener, context)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        quic::OpenStreams::<B>::close(&mut self.opener, code, reason);
    }
}

impl<B: Buf> quic::OpenStreams<B> for Opener {
    type BidiStream = Bidirectional;
    type SendStream = Send;

    fn poll_open_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Bidirectional, StreamErrorIncoming>> {
        let opened = ready!(self.0.poll_open_bidirectional_stream(context)).map_err(of_connection)?;
        Poll::Ready(Ok(Bidirectional::new(opened)))
    }

    fn poll_open_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Send, StreamErrorIncoming>> {
        let opened = ready!(self.0.poll_open_send_stream(context)).map_err(of_connection)?;
        Poll::Ready(Ok(Send { stream: opened, unsent: Bytes::new() }))
    }

    fn close(&mut self, code: Code, _: &[u8]) {
        self.0.close(error(code.value()));
    }
}

impl Bidirectional {
    fn new(stream: stream::BidirectionalStream) -> Self {
        let (receive, send) = stream.split();
        Self { send: Send { stream: send, unsent: Bytes::new() }, receive: Receive(receive) }
    }
}

impl<B: Buf> quic::BidiStream<B> for Bidirectional {
    type SendStream = Send;
    type RecvStream = Receive;

    fn split(self) -> (Send, Receive) {
        (self.send, self.receive)
    }
}

impl<B: Buf> quic::SendStream<B> for Bidirectional {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::<B>::poll_ready(&mut self.send, context)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::<B>::poll_finish(&mut self.send, context)
    }

    fn reset(&mut self, code: u64) {
        quic::SendStream::<B>::reset(&mut self.send, code);
    }

    fn send_id(&self) -> StreamId {
        quic::SendStream::<B>::send_id(&self.send)
    }
}

impl quic::RecvStream for Bidirectional {
    type Buf = Bytes;

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(context)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receive.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}

impl<B: Buf> quic::SendStream<B> for Send {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if !self.unsent.is_empty() {
            ready!(self.stream.poll_send(&mut self.unsent, context)).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        let mut data = data.into();
        self.unsent = data.copy_to_bytes(data.remaining());
        Ok(())
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(quic::SendStream::<B>::poll_ready(self, context))?;
        Poll::Ready(self.stream.finish().map_err(broken))
    }

    fn reset(&mut self, code: u64) {
        let _ = self.stream.reset(error(code));
    }

    fn send_id(&self) -> StreamId {
        self.stream.id().try_into().expect("it is a stream's number")
    }
}

impl quic::RecvStream for Receive {
    type Buf = Bytes;

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.0.poll_receive(context).map_err(broken)
    }

    fn stop_sending(&mut self, code: u64) {
        let _ = self.0.stop_sending(error(code));
    }

    fn recv_id(&self) -> StreamId {
        self.0.id().try_into().expect("it is a stream's number")
    }
}

fn error(code: u64) -> Error {
    Error::new(code).unwrap_or(Error::UNKNOWN)
}

fn ended() -> ConnectionErrorIncoming {
    ConnectionErrorIncoming::ApplicationClose { error_code: Code::H3_NO_ERROR.value() }
}

fn lost(error: connection::Error) -> ConnectionErrorIncoming {
    match error {
        connection::Error::Closed { .. } => ended(),
        connection::Error::Application { error, .. } => {
            ConnectionErrorIncoming::ApplicationClose { error_code: error.into() }
        }
        connection::Error::IdleTimerExpired { .. } => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn of_connection(error: connection::Error) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
}

fn broken(error: stream::Error) -> StreamErrorIncoming {
    match error {
        stream::Error::StreamReset { error, .. } => StreamErrorIncoming::StreamTerminated { error_code: error.into() },
        stream::Error::ConnectionError { error, .. } => of_connection(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
