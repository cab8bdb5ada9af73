//! The load over HTTP/3: one thread that drives `quinn-proto` by hand, a socket for each connection, and checks every answer's
//! status and length.
//!
//! It has to be cheap, since it shares the machine with the server: datagrams go out and come in by as many as the kernel joins,
//! one clock reading and one pass over each connection a turn, and no runtime.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hdrhistogram::Histogram;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, StreamEvent,
    StreamId, TransportConfig, VarInt,
};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::crypto::aws_lc_rs;

use crate::http3::{self, Answer};
use crate::load::{Plan, Report};
use crate::trusting::trusting;
use crate::{Result, limits, machine};

/// Open connections, ready to run.
#[derive(Debug)]
pub struct Http3Load {
    plan: Plan,
    connections: Vec<Client>,
    batch: Batch,
    /// Of a right answer.
    body_bytes: usize,
    answer_bytes: usize,
}

/// One connection and its socket.
#[derive(Debug)]
struct Client {
    socket: UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    exchanges: HashMap<StreamId, Exchange>,
    request: Vec<u8>,
    is_connected: bool,
}

#[derive(Debug)]
struct Exchange {
    since: Instant,
    answer: Answer,
}

/// What a receive or a send takes.
#[derive(Debug)]
struct Batch {
    received: Vec<u8>,
    to_send: Vec<u8>,
}

/// What a pass over a connection found.
#[derive(Debug, Default)]
struct Found {
    /// The answers that ended.
    ended: Vec<Exchange>,
    /// The body, where someone wants it.
    body: Option<Vec<u8>>,
}

impl Http3Load {
    /// Asks once, to learn what a right answer is, then opens all connections.
    pub fn connect(addr: SocketAddr, plan: &Plan) -> Result<Self> {
        plan.check()?;
        let body_bytes = ask(addr, plan)?.len();
        Ok(Self {
            plan: plan.clone(),
            connections: (0..plan.connections).map(|_| Client::open(addr, plan)).collect::<Result<_>>()?,
            batch: Batch::default(),
            body_bytes,
            answer_bytes: 0,
        })
    }

    /// Runs for so long, then waits for the answers that are due.
    pub fn run(&mut self, time: Duration) -> Result<Report> {
        let mut latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let (mut requests, mut errors) = (0, 0);
        let (cpu, start) = (machine::own_cpu(), Instant::now());
        let (stop, give_up) = (start + time, start + time + limits::DRAIN_TIMEOUT);
        let streams = self.plan.streams.unwrap_or(1);
        let mut now = start;
        loop {
            for client in &mut self.connections {
                let mut found = Found::default();
                client.turn(now, &mut self.batch, if now < stop { streams } else { 0 }, &mut found)?;
                for Exchange { since, answer } in found.ended {
                    if answer.is_good && answer.body == self.body_bytes {
                        latency.saturating_record(now.saturating_duration_since(since).as_nanos() as u64);
                        requests += 1;
                        self.answer_bytes = answer.bytes;
                    } else {
                        errors += 1;
                    }
                }
            }
            if errors > limits::ERRORS_MAX {
                return Err(format!("{errors} errors after {requests} right answers").into());
            }
            let due: usize = self.connections.iter().map(|client| client.exchanges.len()).sum();
            if now >= stop && due == 0 || now >= give_up {
                errors += due as u64;
                break;
            }
            wait(&mut self.connections, now, limits::IDLE_WAIT)?;
            now = Instant::now();
        }
        let answer_bytes = self.answer_bytes;
        Ok(Report { requests, errors, elapsed: now - start, latency, cpu: machine::own_cpu() - cpu, answer_bytes })
    }
}

/// Asks once, on a connection of its own, for the body.
pub fn ask(addr: SocketAddr, plan: &Plan) -> Result<Vec<u8>> {
    let mut client = [Client::open(addr, plan)?];
    let (mut batch, start) = (Batch::default(), Instant::now());
    let (mut found, mut now) = (Found { body: Some(Vec::new()), ..Found::default() }, start);
    let mut streams = 1;
    while found.ended.is_empty() {
        client[0].turn(now, &mut batch, streams, &mut found)?;
        streams = usize::from(client[0].exchanges.is_empty());
        if now > start + limits::FETCH_TIMEOUT {
            return Err("the server does not answer".into());
        }
        if found.ended.is_empty() {
            wait(&mut client, now, limits::IDLE_WAIT)?;
        }
        now = Instant::now();
    }
    if !found.ended[0].answer.is_good {
        return Err(format!("GET {} is not answered with 200", plan.path).into());
    }
    Ok(found.body.unwrap_or_default())
}

/// Connections that ask once and then stay silent. The caller keeps them; they last as long as the server lets them.
pub fn open_idle(addr: SocketAddr, plan: &Plan, count: usize) -> Result<Http3Load> {
    machine::raise_descriptor_limit()?;
    let once = Plan { connections: 1, streams: Some(1), ..plan.clone() };
    let mut all = Http3Load::connect(addr, &once)?;
    all.connections.clear();
    for _ in 0..count {
        let mut client = [Client::open(addr, plan)?];
        let start = Instant::now();
        let (mut found, mut now, mut streams) = (Found::default(), start, 1);
        // What the server still has to say when it has answered takes a little longer.
        let mut until = start + limits::FETCH_TIMEOUT;
        while now < until {
            client[0].turn(now, &mut all.batch, streams, &mut found)?;
            streams = usize::from(client[0].exchanges.is_empty() && found.ended.is_empty());
            wait(&mut client, now, until.saturating_duration_since(now))?;
            now = Instant::now();
            if !found.ended.is_empty() {
                until = until.min(now + Duration::from_millis(2));
            }
        }
        if found.ended.is_empty() {
            return Err("the server does not answer".into());
        }
        all.connections.extend(client);
    }
    Ok(all)
}

impl Http3Load {
    /// Lets the connections say what they have to say for so long, and ask nothing.
    pub fn keep(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let now = Instant::now();
            for client in &mut self.connections {
                client.turn(now, &mut self.batch, 0, &mut Found::default())?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Until a datagram has come or a timer is due, and no longer than that.
fn wait(connections: &mut [Client], now: Instant, longest: Duration) -> Result<()> {
    let due = connections.iter_mut().filter_map(|client| client.connection.poll_timeout()).min();
    let wait = due.map_or(longest, |due| due.saturating_duration_since(now).min(longest));
    let mut sockets: Vec<_> = connections.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)).collect();
    match poll(&mut sockets, Some(&Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() })) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Client {
    fn open(addr: SocketAddr, plan: &Plan) -> Result<Self> {
        let socket = UdpSocket::bind(if addr.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })?;
        let state = UdpSocketState::new((&socket).into())?;
        let _ = state.set_recv_buffer_size((&socket).into(), limits::SOCKET_BUFFER_BYTES);
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, !state.may_fragment(), None);
        let (handle, connection) = endpoint.connect(Instant::now(), config()?, addr, "localhost")?;
        let request = http3::request(&addr.to_string(), &plan.path);
        let exchanges = HashMap::new();
        Ok(Self { socket, state, endpoint, handle, connection, exchanges, request, is_connected: false })
    }

    /// Takes what has come, keeps so many requests in flight, and sends what there is to send.
    fn turn(&mut self, now: Instant, batch: &mut Batch, streams: usize, found: &mut Found) -> Result<()> {
        self.receive(now, batch)?;
        if self.connection.poll_timeout().is_some_and(|due| due <= now) {
            self.connection.handle_timeout(now);
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => {
                    self.is_connected = true;
                    let control =
                        self.connection.streams().open(Dir::Uni).ok_or("the server wants no control stream")?;
                    self.connection.send_stream(control).write(http3::CONTROL)?;
                }
                Event::ConnectionLost { reason } => return Err(format!("the connection is lost: {reason}").into()),
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, found)?,
                // What the server says on streams of its own is not asked for: a window holds it.
                _ => {}
            }
        }
        while self.is_connected && self.exchanges.len() < streams {
            let Some(id) = self.connection.streams().open(Dir::Bi) else { break };
            let mut stream = self.connection.send_stream(id);
            if stream.write(&self.request)? < self.request.len() {
                return Err("a request does not fit the server's window".into());
            }
            stream.finish()?;
            self.exchanges.insert(id, Exchange { since: now, answer: Answer::default() });
        }
        self.send(now, batch)?;
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant, batch: &mut Batch) -> Result<()> {
        loop {
            let mut meta = [RecvMeta::default()];
            match self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(&mut batch.received)], &mut meta) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let [RecvMeta { addr, len, stride, ecn, .. }] = meta;
            let ecn = ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
            let mut datagrams = BytesMut::from(&batch.received[..len]);
            while !datagrams.is_empty() {
                let datagram = datagrams.split_to(stride.min(datagrams.len()));
                batch.to_send.clear();
                let event = self.endpoint.handle(now, addr, None, ecn, datagram, &mut batch.to_send);
                if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                    self.connection.handle_event(event);
                }
            }
        }
    }

    fn read(&mut self, id: StreamId, found: &mut Found) -> Result<()> {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return Ok(()) };
        let mut stream = self.connection.recv_stream(id);
        let mut chunks = stream.read(true)?;
        let is_whole = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => exchange.answer.take(&chunk.bytes, |bytes| {
                    if let Some(body) = &mut found.body {
                        body.extend_from_slice(bytes);
                    }
                })?,
                Ok(None) => break true,
                Err(quinn_proto::ReadError::Blocked) => break false,
                Err(quinn_proto::ReadError::Reset(_)) => {
                    exchange.answer.is_good = false;
                    break true;
                }
            }
        };
        let _ = chunks.finalize(); // everything is sent at the end of the turn
        if is_whole {
            found.ended.extend(self.exchanges.remove(&id));
        }
        Ok(())
    }

    fn send(&mut self, now: Instant, batch: &mut Batch) -> Result<()> {
        loop {
            batch.to_send.clear();
            let segments = self.state.max_gso_segments().min(limits::SEGMENTS_MAX);
            let Some(transmit) = self.connection.poll_transmit(now, segments, &mut batch.to_send) else {
                return Ok(());
            };
            let transmit = Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
                contents: &batch.to_send[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: transmit.src_ip,
            };
            match self.state.try_send((&self.socket).into(), &transmit) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {} // lost, as any datagram may be
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { received: vec![0; limits::READ_BYTES], to_send: Vec::new() }
    }
}

fn config() -> Result<ClientConfig> {
    let mut tls = trusting(Arc::new(aws_lc_rs::default_provider()))?;
    tls.alpn_protocols = vec![http3::ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW_BYTES))
        .max_idle_timeout(Some(VarInt::from_u32(600_000).into()));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
