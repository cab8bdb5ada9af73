//! One end of a connection by the crate `h2`, over memory: what it sends and receives is noted beside.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::h2::client::{self, ResponseFuture, SendRequest};
use ::h2::server::{self, SendResponse};
use ::h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Bytes;
use proto::h2::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::end::Choose;
use super::message::{Message, of_map, piece};
use crate::hpack::plain::Field;

pub(super) struct Theirs {
    wire: Pipe,
    end: Ends,
    pings: Option<::h2::PingPong>,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// Why the connection has ended, once it has.
    pub(super) ended: Option<Result<(), ::h2::Error>>,
}

enum Ends {
    AsksSoon(Pin<Box<dyn Future<Output = Result<Asks, ::h2::Error>>>>),
    /// Until it leaves it can ask.
    Asks(Option<SendRequest<Bytes>>, client::Connection<Pipe>),
    ServesSoon(server::Handshake<Pipe, Bytes>),
    Serves(server::Connection<Pipe, Bytes>),
    Gone,
}

type Asks = (SendRequest<Bytes>, client::Connection<Pipe>);

#[derive(Default)]
pub(super) struct Stream {
    pub(super) sent: Message,
    pub(super) received: Message,
    response: Option<ResponseFuture>,
    respond: Option<SendResponse<Bytes>>,
    send: Option<SendStream<Bytes>>,
    recv: Option<RecvStream>,
    left: usize,
    trailers: Option<HeaderMap>,
    unread: usize,
    /// Why the stream was given up here.
    pub(super) failed: Option<String>,
}

/// A setting for each of what can be set.
fn settings<B>(choose: Choose<'_>, builder: &mut B, mut set: impl FnMut(&mut B, &str, u32)) {
    let among: [(&str, &[u32]); 5] = [
        ("window", &[65_535, 0, 1, 1000, 1 << 20]),
        ("connection window", &[65_535, 1 << 20]),
        ("frame", &[16_384, 20_000, 0xff_ffff]),
        ("table", &[4096, 0, 100, 65_536]),
        ("streams", &[100, 1, 2]),
    ];
    for (name, values) in among {
        set(builder, name, values[choose(values.len())]);
    }
}

impl Theirs {
    pub(super) fn client(choose: Choose<'_>) -> Theirs {
        let wire = Pipe::default();
        let mut builder = client::Builder::new();
        settings(choose, &mut builder, |builder, name, value| match name {
            "window" => drop(builder.initial_window_size(value)),
            "connection window" => drop(builder.initial_connection_window_size(value)),
            "frame" => drop(builder.max_frame_size(value)),
            "table" => drop(builder.header_table_size(value)),
            // Ours is one that is told before it asks, in most cases.
            _ => drop(builder.initial_max_send_streams(value as usize)),
        });
        builder.enable_push(false).data_frame_budget(usize::MAX);
        let asks_soon = Ends::AsksSoon(Box::pin(builder.handshake(wire.clone())));
        Theirs { wire, end: asks_soon, pings: None, streams: BTreeMap::new(), ended: None }
    }

    pub(super) fn server(choose: Choose<'_>) -> Theirs {
        let wire = Pipe::default();
        let mut builder = server::Builder::new();
        settings(choose, &mut builder, |builder, name, value| match name {
            "window" => drop(builder.initial_window_size(value)),
            "connection window" => drop(builder.initial_connection_window_size(value)),
            "frame" => drop(builder.max_frame_size(value)),
            "table" => drop(builder.header_table_size(value)),
            _ => drop(builder.max_concurrent_streams(value)),
        });
        builder.data_frame_budget(usize::MAX);
        let serves_soon = Ends::ServesSoon(builder.handshake(wire.clone()));
        Theirs { wire, end: serves_soon, pings: None, streams: BTreeMap::new(), ended: None }
    }

    /// A server of the usual kind, whose bounds are ours.
    pub(super) fn plain_server(limits: &Limits) -> Theirs {
        let wire = Pipe::default();
        let mut builder = server::Builder::new();
        builder.max_concurrent_streams(limits.streams_max.into());
        builder.max_header_list_size(limits.head_bytes_max.into());
        builder.data_frame_budget(usize::MAX);
        let serves_soon = Ends::ServesSoon(builder.handshake(wire.clone()));
        Theirs { wire, end: serves_soon, pings: None, streams: BTreeMap::new(), ended: None }
    }

    /// Hands bytes over.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.wire.0.borrow_mut().to_read.extend(bytes);
    }

    /// What was written since.
    pub(super) fn give(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire.0.borrow_mut().written)
    }

    /// Nothing more comes.
    pub(super) fn end_input(&mut self) {
        self.wire.0.borrow_mut().has_ended = true;
    }

    /// Lets the connection and all its streams go on as far as they can.
    pub(super) fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let polled = match &mut self.end {
                Ends::AsksSoon(soon) => match soon.as_mut().poll(&mut cx) {
                    Poll::Ready(Ok((asks, connection))) => {
                        self.end = Ends::Asks(Some(asks), connection);
                        continue;
                    }
                    polled => polled.map_ok(|_| ()),
                },
                Ends::ServesSoon(soon) => match Pin::new(soon).poll(&mut cx) {
                    Poll::Ready(Ok(connection)) => {
                        self.end = Ends::Serves(connection);
                        continue;
                    }
                    polled => polled.map_ok(|_| ()),
                },
                Ends::Asks(_, connection) => Pin::new(connection).poll(&mut cx),
                Ends::Serves(connection) => match connection.poll_accept(&mut cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        let stream = Stream::asked(request, respond);
                        let id = stream.recv.as_ref().expect("it was just received").stream_id().as_u32();
                        assert!(self.streams.insert(id, stream).is_none());
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
                    Poll::Ready(None) => Poll::Ready(Ok(())),
                    Poll::Pending => Poll::Pending,
                },
                Ends::Gone => return,
            };
            if let Poll::Ready(ended) = polled {
                self.ended = Some(ended);
            }
            break;
        }
        for stream in self.streams.values_mut() {
            stream.receive(&mut cx);
        }
        if self.ended.is_some() {
            self.end = Ends::Gone;
        }
    }

    // ---- what its owner does -----------------------------------------------------------------------------------------

    /// Sends a request, if one may be sent now.
    pub(super) fn ask(&mut self, choose: Choose<'_>) {
        let Ends::Asks(Some(asks), _) = &mut self.end else { return };
        if !matches!(asks.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))) {
            return;
        }
        let method = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS][choose(4)].clone();
        let target = ["http://here/", "https://there:80/a?b=c", "http://[::1]/%20?"][choose(3)];
        let mut request = Request::builder().method(method).uri(target).body(()).expect("a request");
        let (bytes, ends, trailers) = body(choose);
        *request.headers_mut() = fields(choose);
        if choose(2) == 0 && trailers.is_none() {
            request.headers_mut().insert("content-length", HeaderValue::from(bytes));
        }
        let head = of_request(&request);
        let (response, send) = asks.send_request(request, ends).expect("a request may be sent");
        let id = response.stream_id().as_u32();
        let mut stream = Stream { response: Some(response), ..Stream::default() };
        stream.sent.heads.push(head);
        stream.begin(send, bytes, ends, trailers);
        self.streams.insert(id, stream);
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, id: u32, choose: Choose<'_>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(mut respond) = stream.respond.take() else { return };
        if choose(4) == 0 {
            let interim = Response::builder().status(StatusCode::EARLY_HINTS).body(()).expect("a response");
            if respond.send_informational(interim).is_ok() {
                stream.sent.heads.push(of_map([(":status", &b"103"[..])], &HeaderMap::new()));
            }
        }
        let status = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::IM_A_TEAPOT][choose(3)];
        let (bytes, ends, trailers) = body(choose);
        // What is not sent to HEAD is its handler's business there.
        let is_head = stream.received.heads[0].contains(&(b":method".to_vec(), b"HEAD".to_vec()));
        let (bytes, ends, trailers) = if is_head { (0, true, None) } else { (bytes, ends, trailers) };
        let mut response = Response::builder().status(status).body(()).expect("a response");
        *response.headers_mut() = fields(choose);
        let head = of_map([(":status", status.as_str().as_bytes())], response.headers());
        if let Ok(send) = respond.send_response(response, ends) {
            stream.sent.heads.push(head);
            stream.begin(send, bytes, ends, trailers);
        }
    }

    /// Sends of a body so much, and its end with it.
    pub(super) fn send(&mut self, id: u32, count: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(send) = stream.send.as_mut().filter(|_| !stream.sent.has_ended) else { return };
        let count = count.min(stream.left);
        let is_last = count == stream.left && stream.trailers.is_none();
        let bytes: Vec<u8> = piece(id, stream.sent.bytes, count).collect();
        if send.send_data(bytes.into(), is_last).is_err() {
            // It was reset meanwhile.
            stream.send = None;
            return;
        }
        stream.sent.bytes += count;
        stream.left -= count;
        stream.sent.has_ended = is_last;
        if stream.left == 0
            && let Some(trailers) = stream.trailers.take()
        {
            let said = of_map([], &trailers);
            if send.send_trailers(trailers).is_ok() {
                (stream.sent.trailers, stream.sent.has_ended) = (said, true);
            }
        }
    }

    /// Reads on.
    pub(super) fn consume(&mut self, id: u32, count: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let count = count.min(stream.unread);
        stream.unread -= count;
        if let Some(recv) = &mut stream.recv {
            let _ = recv.flow_control().release_capacity(count);
        }
    }

    pub(super) fn reset(&mut self, id: u32, code: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let Some(send) = &mut stream.send
            && !(stream.sent.has_ended && stream.received.has_ended)
            && stream.sent.reset.is_none()
        {
            send.send_reset(Reason::from(code));
            stream.sent.reset = Some(code);
            (stream.left, stream.trailers) = (0, None);
        }
    }

    /// Changes what the other end may send, unless a change is still to be acknowledged.
    pub(super) fn set_windows(&mut self, window: u32, connection_window: u32) -> bool {
        match &mut self.end {
            Ends::Asks(_, connection) => {
                connection.set_target_window_size(connection_window);
                connection.set_initial_window_size(window).is_ok()
            }
            Ends::Serves(connection) => {
                connection.set_target_window_size(connection_window);
                connection.set_initial_window_size(window).is_ok()
            }
            _ => false,
        }
    }

    /// Sends a ping, unless one is on its way.
    pub(super) fn ping(&mut self) {
        let taken = match &mut self.end {
            Ends::Asks(_, connection) => connection.ping_pong(),
            Ends::Serves(connection) => connection.ping_pong(),
            _ => None,
        };
        self.pings = taken.or(self.pings.take());
        if let Some(pings) = &mut self.pings {
            let _ = pings.poll_pong(&mut Context::from_waker(Waker::noop()));
            let _ = pings.send_ping(::h2::Ping::opaque());
        }
    }

    /// A server's graceful end.
    pub(super) fn drain(&mut self) {
        if let Ends::Serves(connection) = &mut self.end {
            connection.graceful_shutdown();
        }
    }

    /// Lets go of all that it has in hand. A client ends its connection then.
    pub(super) fn leave(&mut self) {
        for stream in self.streams.values_mut() {
            (stream.response, stream.respond, stream.send, stream.recv) = (None, None, None, None);
        }
        if let Ends::Asks(asks, _) = &mut self.end {
            *asks = None;
        }
    }
}

impl Stream {
    fn asked(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Stream {
        let (parts, recv) = request.into_parts();
        let mut stream = Stream { respond: Some(respond), recv: Some(recv), ..Stream::default() };
        stream.received.heads.push(of_request(&Request::from_parts(parts, ())));
        stream
    }

    /// A head was sent; so much follows.
    fn begin(&mut self, send: SendStream<Bytes>, bytes: usize, ends: bool, trailers: Option<HeaderMap>) {
        (self.send, self.left, self.trailers, self.sent.has_ended) = (Some(send), bytes, trailers, ends);
    }

    /// Notes what has come.
    fn receive(&mut self, cx: &mut Context<'_>) {
        if let Some(response) = &mut self.response {
            while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                self.received.heads.push(of_response(&interim));
            }
            match Pin::new(response).poll(cx) {
                Poll::Ready(Ok(response)) => {
                    self.received.heads.push(of_response(&response));
                    (self.response, self.recv) = (None, Some(response.into_body()));
                }
                Poll::Ready(Err(error)) => {
                    self.response = None;
                    self.fail(&error);
                }
                Poll::Pending => {}
            }
        }
        while let Some(recv) = self.recv.as_mut().filter(|_| !self.received.has_ended) {
            match recv.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.received.receive(&bytes);
                    self.unread += bytes.len();
                    continue;
                }
                Poll::Ready(Some(Err(error))) => self.fail(&error),
                Poll::Ready(None) => match recv.poll_trailers(cx) {
                    Poll::Ready(Ok(trailers)) => {
                        self.received.trailers = trailers.map(|trailers| of_map([], &trailers)).unwrap_or_default();
                        self.received.has_ended = true;
                    }
                    Poll::Ready(Err(error)) => self.fail(&error),
                    Poll::Pending => {}
                },
                Poll::Pending => {}
            }
            break;
        }
        let reset = match (&mut self.respond, &mut self.send) {
            (Some(respond), _) => respond.poll_reset(cx),
            (_, Some(send)) => send.poll_reset(cx),
            _ => Poll::Pending,
        };
        if let Poll::Ready(Ok(reason)) = reset
            && self.sent.reset.is_none()
        {
            self.received.reset.get_or_insert(reason.into());
        }
    }

    fn fail(&mut self, error: &::h2::Error) {
        self.recv = None;
        if error.is_remote() && error.is_reset() {
            self.received.reset = error.reason().map(u32::from);
        } else if self.sent.reset.is_none() {
            self.failed = Some(error.to_string());
        }
    }
}

fn of_request(request: &Request<()>) -> Vec<Field> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let pseudo = [
        (":method", request.method().as_str().as_bytes()),
        (":scheme", uri.scheme_str().unwrap_or_default().as_bytes()),
        (":authority", uri.authority().map_or("", |authority| authority.as_str()).as_bytes()),
        (":path", path.as_bytes()),
    ];
    of_map(pseudo, request.headers())
}

fn of_response<B>(response: &Response<B>) -> Vec<Field> {
    of_map([(":status", response.status().as_str().as_bytes())], response.headers())
}

/// How long a body is, whether its message ends with the head, and the trailers behind it.
fn body(choose: Choose<'_>) -> (usize, bool, Option<HeaderMap>) {
    let trailers = (choose(4) == 0).then(|| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-trailer", HeaderValue::from_static("t"));
        trailers
    });
    let bytes = [0, 0, 1, 5, 300, 20_000, 70_000][choose(7)];
    (bytes, bytes == 0 && trailers.is_none() && choose(2) == 0, trailers)
}

fn fields(choose: Choose<'_>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for _ in 0..choose(6) {
        let (name, value) = FIELDS[choose(FIELDS.len())];
        let mut value = HeaderValue::from_bytes(value).expect("a value");
        value.set_sensitive(choose(8) == 0);
        fields.append(HeaderName::from_static(name), value);
    }
    if choose(8) == 0 {
        fields.insert("x-long", HeaderValue::from_bytes(&vec![b'l'; 1 + choose(5000)]).expect("a value"));
    }
    fields
}

const FIELDS: [(&str, &[u8]); 10] = [
    ("accept", b"*/*"),
    ("cookie", b"a=b"),
    ("cookie", b"c=0123456789012345678901234567890123456789"),
    ("x", b""),
    ("x", b"\xe2\x82\xac\tand \xff"),
    ("x-other", b"0123456789"),
    ("user-agent", b"fuzz/1"),
    ("authorization", b"secret"),
    ("etag", b"\"a\""),
    ("te", b"trailers"),
];

/// A connection in memory.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Wire>>);

#[derive(Default)]
struct Wire {
    to_read: VecDeque<u8>,
    written: Vec<u8>,
    has_ended: bool,
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        let (front, _) = wire.to_read.as_slices();
        let count = front.len().min(buf.remaining());
        buf.put_slice(&front[..count]);
        wire.to_read.drain(..count);
        if count > 0 || wire.has_ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
