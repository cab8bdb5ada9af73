//! The hand-written loop of QUIC on io_uring: what a server of HTTP/3 on `quinn-proto` could cost at best.
//!
//! One thread, one ring, one enter a turn. Receiving is one multishot operation into a provided-buffer ring, of as many datagrams
//! as the kernel joins; sends go out by as many as it cuts. Above `quinn-proto` there is nothing but frames: any request stream that
//! has come to its end is answered with the same HEADERS and DATA, whatever it asked.
//!
//! A connection that has something to do is driven once a turn, when all datagrams of the turn are in.

#![allow(unsafe_code)]

mod messages;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bench::answer::{http_date, now};
use bench::args::Args;
use bench::buffers::{self, Buffers};
use bench::{Result, http3, limits, machine};
use bytes::{Bytes, BytesMut};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, squeue, types};
use messages::{RECEIVED_HEAD_BYTES, Receive, Send};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ReadError, ServerConfig,
    StreamEvent, StreamId, Transmit, VarInt,
};
use quinn_udp::UdpSocketState;
use rustix::io::Errno;
use rustls::pki_types::PrivateKeyDer;

const USAGE: &str = "usage: ceiling-quic [--addr 127.0.0.1:0] [--cpu N] [--bytes N]
Answers with so many bytes, or as /plaintext does.";

/// One turn's sends, several times over.
const SUBMISSIONS: u32 = 256;

/// Receives of one turn: each takes up to 64 KiB. A power of two.
const BUFFERS: u16 = 64;

/// The largest datagrams that the kernel joins, and what it says of them.
const BUFFER_BYTES: usize = 64 * 1024 + RECEIVED_HEAD_BYTES;

/// Sends that the kernel may have at a time. More wait for one to come back.
const SENDS: usize = 128;

/// Requests at a time on a connection: as many as the load asks, and some more.
const STREAMS_MAX: u32 = 256;

fn main() -> ExitCode {
    bench::run(|| {
        let mut args = Args::from_env(USAGE);
        let addr: SocketAddr = args.value("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let cpu: Option<usize> = args.optional("--cpu")?;
        let answer_bytes = args.value("--bytes", 0)?;
        args.finish()?;
        if let Some(cpu) = cpu {
            machine::pin(cpu)?;
        }
        if !addr.is_ipv4() {
            return Err("this loop speaks IPv4".into());
        }
        let socket = UdpSocket::bind(addr).map_err(|error| format!("cannot bind {addr}: {error}"))?;
        // Has the kernel join datagrams, say their traffic class and never cut them.
        let state = UdpSocketState::new((&socket).into())?;
        let _ = state.set_recv_buffer_size((&socket).into(), limits::SOCKET_BUFFER_BYTES);
        let _ = state.set_send_buffer_size((&socket).into(), limits::SOCKET_BUFFER_BYTES);
        socket.set_nonblocking(false)?;
        println!("listening https://{}", socket.local_addr()?);
        // Both stay until the process ends: the kernel may read from a send until the ring is gone.
        let ring = Box::leak(Box::new(open_ring()?));
        let server = Box::leak(Box::new(Server::new(socket.as_raw_fd(), ring, answer_bytes)?));
        match server.serve()? {}
    })
}

fn open_ring() -> Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    Ok(builder.build(SUBMISSIONS).map_err(|error| format!("io_uring cannot be had: {error}"))?)
}

struct Server {
    socket: RawFd,
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    buffers: Buffers,
    receive: Receive,
    /// It never grows, so that none of them moves.
    sends: Vec<Send>,
    free: Vec<usize>,
    endpoint: Endpoint,
    config: Arc<ServerConfig>,
    connections: Vec<Option<Talk>>,
    /// Those that have something to do, each once.
    ready: Vec<ConnectionHandle>,
    answer: Answer,
}

/// A connection.
struct Talk {
    connection: Connection,
    is_ready: bool,
    /// Answers that the client's window or the server's own has cut off.
    unsent: HashMap<StreamId, Bytes>,
}

/// The answer of the current second.
struct Answer {
    /// Head and body as one, so that a stream keeps one piece of memory.
    whole: Bytes,
    body: Bytes,
    content_type: &'static str,
    second: i64,
}

/// In a completion's data: any other is the number of a send.
const RECEIVE: u64 = u64::MAX;

impl Server {
    fn new(socket: RawFd, ring: &'static mut IoUring, answer_bytes: usize) -> Result<Self> {
        let (mut submitter, submissions, completions) = ring.split();
        submitter.register_ring_fd()?;
        let config = config()?;
        Ok(Self {
            socket,
            buffers: Buffers::register(&submitter, BUFFERS, BUFFER_BYTES)?,
            submitter,
            submissions,
            completions,
            receive: Receive::new(),
            sends: (0..SENDS).map(|_| Send::new()).collect(),
            free: (0..SENDS).collect(),
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), Some(Arc::clone(&config)), false, None),
            config,
            connections: Vec::new(),
            ready: Vec::new(),
            answer: Answer::new(answer_bytes),
        })
    }

    fn serve(&mut self) -> Result<Infallible> {
        self.push(self.receive.entry(self.socket, buffers::GROUP), RECEIVE)?;
        loop {
            self.enter()?;
            let now = Instant::now();
            self.answer.renew();
            self.completions.sync();
            while let Some(completion) = self.completions.next() {
                match completion.user_data() {
                    RECEIVE => self.received(&completion, now)?,
                    send => self.free.push(send as usize), // one that failed is lost, as any datagram may be
                }
            }
            self.buffers.publish();
            for (handle, talk) in self.connections.iter_mut().enumerate() {
                let Some(talk) = talk else { continue };
                if talk.connection.poll_timeout().is_some_and(|due| due <= now) {
                    talk.connection.handle_timeout(now);
                    talk.ready(ConnectionHandle(handle), &mut self.ready);
                }
            }
            for handle in std::mem::take(&mut self.ready) {
                self.drive(handle, now)?;
            }
        }
    }

    /// Submits what is queued and waits for a completion or the next timer; not at all where a connection can go on.
    fn enter(&mut self) -> Result<()> {
        let due = self.connections.iter_mut().flatten().filter_map(|talk| talk.connection.poll_timeout()).min();
        let wait = due.map(|due| types::Timespec::from(due.saturating_duration_since(Instant::now())));
        let args = match &wait {
            Some(wait) => types::SubmitArgs::new().timespec(wait),
            None => types::SubmitArgs::new(),
        };
        let want = usize::from(self.ready.is_empty() || self.free.is_empty());
        self.submissions.sync();
        let entered = self.submitter.submit_with_args(want, &args);
        self.submissions.sync();
        match entered.map_err(|error| Errno::from_io_error(&error)) {
            Ok(_) | Err(Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY)) => Ok(()),
            Err(error) => Err(format!("io_uring_enter: {error:?}").into()),
        }
    }

    fn received(&mut self, completion: &cqueue::Entry, now: Instant) -> Result<()> {
        if let Some(id) = cqueue::buffer_select(completion.flags()) {
            let length = usize::try_from(completion.result()).unwrap_or_default();
            if let Some(received) = self.receive.read(&self.buffers.bytes(id)[..length]) {
                let (from, ecn, datagram_bytes) = (received.from, received.ecn, received.datagram_bytes);
                let mut datagrams = BytesMut::from(received.bytes);
                while !datagrams.is_empty() {
                    let datagram = datagrams.split_to(datagram_bytes.min(datagrams.len()));
                    self.handle(now, from, ecn, datagram)?;
                }
            }
            self.buffers.give_back(id);
        }
        match cqueue::more(completion.flags()) {
            true => Ok(()),
            false => self.push(self.receive.entry(self.socket, buffers::GROUP), RECEIVE),
        }
    }

    fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ecn: Option<quinn_proto::EcnCodepoint>,
        datagram: BytesMut,
    ) -> Result<()> {
        let Some(place) = self.free.pop() else { return Ok(()) }; // none left to answer from: as if it had been lost
        let output = &mut self.sends[place].bytes;
        output.clear();
        let to_send = match self.endpoint.handle(now, from, None, ecn, datagram, output) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(talk) = &mut self.connections[handle.0] {
                    talk.connection.handle_event(event);
                    talk.ready(handle, &mut self.ready);
                }
                None
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                match self.endpoint.accept(incoming, now, output, Some(Arc::clone(&self.config))) {
                    Ok((handle, connection)) => {
                        let mut talk = Talk { connection, is_ready: false, unsent: HashMap::new() };
                        talk.ready(handle, &mut self.ready);
                        self.connections.resize_with(self.connections.len().max(handle.0 + 1), || None);
                        self.connections[handle.0] = Some(talk);
                        None
                    }
                    Err(error) => error.response,
                }
            }
            Some(DatagramEvent::Response(response)) => Some(response),
            None => None,
        };
        match to_send {
            Some(transmit) => self.send(place, &transmit),
            None => {
                self.free.push(place);
                Ok(())
            }
        }
    }

    fn drive(&mut self, handle: ConnectionHandle, now: Instant) -> Result<()> {
        let Some(talk) = &mut self.connections[handle.0] else { return Ok(()) };
        talk.is_ready = false;
        talk.answer(&self.answer)?;
        loop {
            let Some(talk) = &mut self.connections[handle.0] else { return Ok(()) };
            let Some(place) = self.free.pop() else {
                talk.ready(handle, &mut self.ready);
                break;
            };
            let output = &mut self.sends[place].bytes;
            output.clear();
            match talk.connection.poll_transmit(now, limits::SEGMENTS_MAX, output) {
                Some(transmit) => self.send(place, &transmit)?,
                None => {
                    self.free.push(place);
                    break;
                }
            }
        }
        let Some(talk) = &mut self.connections[handle.0] else { return Ok(()) };
        let is_drained = talk.connection.is_drained();
        while let Some(event) = talk.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                talk.connection.handle_event(event);
                talk.ready(handle, &mut self.ready);
            }
        }
        if is_drained {
            self.connections[handle.0] = None;
        }
        Ok(())
    }

    fn send(&mut self, place: usize, transmit: &Transmit) -> Result<()> {
        let Transmit { destination, ecn, size, segment_size, .. } = *transmit;
        let entry = self.sends[place].entry(self.socket, destination, ecn, size, segment_size);
        self.push(entry, place as u64)
    }

    fn push(&mut self, entry: squeue::Entry, data: u64) -> Result<()> {
        let entry = entry.user_data(data);
        // SAFETY: a receive points to its header, which stays in the server's box, and the provided buffers, which live as long
        // as the process. A send points into itself; its place is out of `free`, so that nobody touches it, until the
        // kernel's one completion for it, and `sends` never grows, so that it does not move. The server with all of them is leaked.
        while unsafe { self.submissions.push(&entry) }.is_err() {
            self.submissions.sync();
            self.submitter.submit()?;
            self.submissions.sync();
        }
        Ok(())
    }
}

impl Talk {
    fn ready(&mut self, handle: ConnectionHandle, ready: &mut Vec<ConnectionHandle>) {
        if !std::mem::replace(&mut self.is_ready, true) {
            ready.push(handle);
        }
    }

    /// Reads whatever has come, and answers each request that is whole.
    fn answer(&mut self, answer: &Answer) -> Result<()> {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => {
                    let control =
                        self.connection.streams().open(Dir::Uni).ok_or("the client wants no control stream")?;
                    self.connection.send_stream(control).write(http3::CONTROL)?;
                }
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.connection.streams().accept(dir) {
                        self.read(id, answer);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, answer),
                Event::Stream(StreamEvent::Writable { id }) => {
                    if let Some(rest) = self.unsent.remove(&id) {
                        self.write(id, rest);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read(&mut self, id: StreamId, answer: &Answer) {
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let is_whole = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(_)) => {}
                Ok(None) => break id.dir() == Dir::Bi,
                Err(ReadError::Blocked | ReadError::Reset(_)) => break false,
            }
        };
        let _ = chunks.finalize(); // everything is sent at the end of the turn
        if is_whole {
            self.write(id, answer.whole.clone());
        }
    }

    /// A client that wants no more of it is no news.
    fn write(&mut self, id: StreamId, rest: Bytes) {
        let mut stream = self.connection.send_stream(id);
        let mut rest = [rest];
        let _ = stream.write_chunks(&mut rest);
        let [rest] = rest;
        match rest.is_empty() {
            true => drop(stream.finish()),
            false => drop(self.unsent.insert(id, rest)),
        }
    }
}

impl Answer {
    fn new(bytes: usize) -> Self {
        let (content_type, body) = match bytes {
            0 => ("text/plain; charset=utf-8", Bytes::from_static(b"Hello, World!")),
            bytes => ("application/octet-stream", vec![b'x'; bytes].into()),
        };
        Self { whole: Bytes::new(), body, content_type, second: -1 }
    }

    fn renew(&mut self) {
        let second = now();
        if second != self.second {
            let head = http3::answer_head(self.content_type, &http_date(second), self.body.len());
            self.whole = [&head[..], &self.body[..]].concat().into();
            self.second = second;
        }
    }
}

/// By a certificate made now.
fn config() -> Result<Arc<ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth();
    let mut tls = tls.with_single_cert(vec![made.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![http3::ALPN.to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let transport = Arc::get_mut(&mut config.transport).ok_or("it is nobody else's yet")?;
    transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    Ok(Arc::new(config))
}
