//! The load: one thread on epoll that asks and checks every answer.
//!
//! *Closed*, each connection sends a batch of requests, waits for all its answers, and sends the next. *Open*, batches have
//! fixed times at which they are to be sent, whatever has been answered by then; a batch whose time comes while all
//! connections wait goes out late, and its latency counts from its time all the same, so a server that stalls cannot hide it by
//! being asked less.
//!
//! It has to be cheap, or it and not the server is the bottleneck: one read and one write per
//! batch, one clock reading per event, and an answer's head is compared with the last good one before it is parsed, so
//! that every answer is checked for little more than a comparison.

mod head;
mod schedule;
mod secure;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, connect, recv, send, socket};
use rustls::ClientConfig;

use crate::args::Args;
use crate::{Result, limits, machine};
use head::Head;
use schedule::Schedule;
use secure::Secure;

/// What to ask of a server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of every request.
    pub path: String,
    /// Bytes of every request's body. None makes it a `GET`, some a `POST`.
    pub body: usize,
    /// Each request is the only one on its connection.
    pub close: bool,
    /// Open at a time.
    pub connections: usize,
    /// Requests in a batch.
    pub pipeline: usize,
    /// Requests a second, whatever is answered: an open load. Without, as many as are answered: a closed one.
    pub rate: Option<f64>,
    /// Requests in flight on each connection over HTTP/2, where [`h2load`](crate::h2load) asks, or over HTTP/3.
    pub streams: Option<usize>,
    /// Over TLS.
    pub tls: bool,
    /// Over HTTP/3, where [`h3load`](crate::h3load) asks.
    pub http3: bool,
}

/// Open connections, ready to run.
#[derive(Debug)]
pub struct Load {
    addr: SocketAddr,
    plan: Plan,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections opened so far.
    opened: usize,
    batch: Vec<u8>,
    /// Over TLS, what each connection shakes hands by.
    tls: Option<Arc<ClientConfig>>,
    expect: Expect,
    buffer: Vec<u8>,
}

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// Answered rightly.
    pub requests: u64,
    /// Answered wrongly or not at all.
    pub errors: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds to each answer from when its batch was sent, or was to be sent.
    pub latency: Histogram<u64>,
    /// CPU time of the load itself.
    pub cpu: Duration,
    /// Bytes of an answer, head and body.
    pub answer_bytes: usize,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// Over TLS.
    secure: Option<Box<Secure>>,
    /// When its batch was sent or was to be sent.
    since: Instant,
    /// Bytes of the batch, sealed over TLS, that the socket had no room for yet.
    unsent: usize,
    /// Requests without a whole answer.
    due: usize,
    /// From its batch's beginning until it may have the next.
    busy: bool,
    /// Of an answer whose head is in.
    body: Option<Body>,
    /// The beginning of a head whose end has not come yet.
    carry: Vec<u8>,
}

#[derive(Debug)]
struct Body {
    left: usize,
    right: bool,
}

/// The answer that all others must equal in status and length.
#[derive(Debug)]
struct Expect {
    body_bytes: usize,
    /// The last good head, to the byte.
    head: Vec<u8>,
}

#[derive(Default)]
struct Answered {
    rightly: usize,
    wrongly: usize,
    /// The server closed the connection.
    closed: bool,
}

impl Plan {
    /// The options that every program with a load has in common.
    pub fn from_args(args: &mut Args) -> Result<Self> {
        let body = args.value("--body", 0)?;
        let path = if body > 0 { "/echo" } else { "/plaintext" };
        Ok(Self {
            path: args.value("--path", path.to_owned())?,
            body,
            close: args.flag("--close"),
            connections: args.value("--connections", 64)?,
            pipeline: args.value("--pipeline", 1)?,
            rate: args.optional("--rate")?,
            streams: args.optional("--streams")?,
            tls: args.flag("--tls"),
            http3: args.flag("--h3"),
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.connections == 0 || !(1..=limits::PIPELINE_MAX).contains(&self.pipeline) {
            return Err(format!("at least 1 connection and 1 to {} requests in flight", limits::PIPELINE_MAX).into());
        }
        if self.body > limits::BATCH_BYTES_MAX / self.pipeline {
            return Err(format!("a batch has at most {} bytes", limits::BATCH_BYTES_MAX).into());
        }
        if self.close && self.pipeline > 1 {
            return Err("a connection that closes behind its first answer takes one request".into());
        }
        if (self.is_for_h2load() || self.http3) && (self.body > 0 || self.close || self.rate.is_some()) {
            return Err(
                "over HTTP/2 and HTTP/3 requests have no body, and come as the answers do on connections that stay"
                    .into(),
            );
        }
        if self.tls && self.close {
            return Err("a hand-shake for each request is what `handshakes` asks for".into());
        }
        if self.rate.is_some_and(|rate| !(1.0..=limits::RATE_MAX).contains(&rate)) {
            return Err(format!("a rate is 1 to {} requests a second", limits::RATE_MAX).into());
        }
        Ok(())
    }

    /// Whether no load here can ask it.
    pub fn is_for_h2load(&self) -> bool {
        !self.http3 && self.streams.is_some()
    }

    /// Whether the server has to say that it serves by TLS.
    pub fn is_secure(&self) -> bool {
        self.tls || self.http3
    }

    fn request(&self, addr: SocketAddr) -> Vec<u8> {
        let mut request = format!("{} {} HTTP/1.1\r\nHost: {addr}\r\n", self.method(), self.path);
        if self.close {
            request += "Connection: close\r\n";
        }
        if self.body > 0 {
            request += &format!("Content-Type: application/octet-stream\r\nContent-Length: {}\r\n", self.body);
        }
        request += "\r\n";
        request += &"x".repeat(self.body);
        request.into_bytes()
    }

    fn method(&self) -> &'static str {
        if self.body > 0 { "POST" } else { "GET" }
    }
}

/// For the line above the figures.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = self.streams.unwrap_or(self.pipeline);
        write!(f, "{} connections, {in_flight} in flight on each, ", self.connections)?;
        write!(f, "{} {}", self.method(), self.path)?;
        if self.body > 0 {
            write!(f, " of {} bytes", self.body)?;
        }
        if self.close {
            f.write_str(", each request on a new connection")?;
        }
        if self.http3 {
            f.write_str(", over HTTP/3")?;
        } else if self.streams.is_some() {
            f.write_str(", over HTTP/2")?;
        }
        if self.tls {
            f.write_str(", under TLS")?;
        }
        if let Some(rate) = self.rate {
            write!(f, ", {rate} requests/s at fixed times")?;
        }
        Ok(())
    }
}

impl Load {
    /// Asks once, to learn what a right answer is, then opens all connections.
    pub fn connect(addr: SocketAddr, plan: &Plan) -> Result<Self> {
        plan.check()?;
        machine::raise_descriptor_limit()?;
        let answer = ask(addr, plan)?;
        let mut load = Self {
            addr,
            plan: plan.clone(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(plan.connections),
            opened: 0,
            batch: plan.request(addr).repeat(plan.pipeline),
            tls: if plan.tls { Some(secure::config()?) } else { None },
            expect: Expect { body_bytes: answer.body.len(), head: answer.head },
            buffer: vec![0; limits::READ_BYTES],
        };
        for index in 0..plan.connections {
            let connection = load.open(index)?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    /// Runs for so long, then waits for the answers that are due, so that every request is counted and the server is
    /// at rest when this returns.
    pub fn run(&mut self, time: Duration) -> Result<Report> {
        let mut latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let (mut requests, mut errors) = (0, 0);
        let (cpu, start) = (machine::own_cpu(), Instant::now());
        let (stop, give_up) = (start + time, start + time + limits::DRAIN_TIMEOUT);
        let mut schedule = Schedule::new(start, stop, self.plan.rate.map(|rate| rate / self.plan.pipeline as f64));
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut events = Vec::with_capacity(limits::EVENTS_PER_WAIT);
        let mut now = start;
        loop {
            self.send_due(&mut idle, &mut schedule, now)?;
            if idle.len() == self.connections.len() && schedule.is_over(now) || now >= give_up {
                break;
            }
            // An open load looks at the clock all the time, since a sleep would end too late; a closed one wakes now and then,
            // so that a silent server is noticed.
            let wait = if self.plan.rate.is_some() { 0 } else { 100_000_000 };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec { tv_sec: 0, tv_nsec: wait })) {
                Ok(0) | Err(Errno::INTR) => now = Instant::now(),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let index = event.data.u64() as usize;
                let connection = &mut self.connections[index];
                let (was_busy, due) = (connection.busy, connection.due);
                let received = connection.turn(&self.batch, &mut self.buffer, &mut self.expect, self.plan.close);
                now = Instant::now();
                match received {
                    Ok(answered) => {
                        let taken = now.saturating_duration_since(connection.since).as_nanos() as u64;
                        latency.saturating_record_n(taken, answered.rightly as u64);
                        requests += answered.rightly as u64;
                        errors += answered.wrongly as u64;
                        if answered.closed {
                            self.connections[index] = self.open(index)?;
                        }
                    }
                    Err(_) => {
                        errors += due as u64;
                        self.connections[index] = self.open(index)?;
                    }
                }
                if errors > limits::ERRORS_MAX {
                    return Err(format!("{errors} errors after {requests} right answers").into());
                }
                if was_busy && !self.connections[index].busy {
                    idle.push_back(index);
                    self.send_due(&mut idle, &mut schedule, now)?;
                }
            }
        }
        errors += self.connections.iter().map(|connection| connection.due as u64).sum::<u64>();
        errors += schedule.left() * self.plan.pipeline as u64;
        let answer_bytes = self.expect.head.len() + self.expect.body_bytes;
        Ok(Report { requests, errors, elapsed: now - start, latency, cpu: machine::own_cpu() - cpu, answer_bytes })
    }

    /// Sends the batches whose time has come, as far as there are connections without one.
    fn send_due(&mut self, idle: &mut VecDeque<usize>, schedule: &mut Schedule, now: Instant) -> Result<()> {
        while !idle.is_empty()
            && let Some(since) = schedule.next(now)
            && let Some(index) = idle.pop_front()
        {
            self.connections[index].begin(&self.batch, self.plan.pipeline, since)?;
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> Result<Connection> {
        let mut socket = if self.plan.close && self.addr.is_ipv4() && self.addr.ip().is_loopback() {
            connect_from(2 + (self.opened % limits::CLOSE_SOURCES) as u8, self.addr)?
        } else {
            TcpStream::connect_timeout(&self.addr, limits::FETCH_TIMEOUT)?
        };
        self.opened += 1;
        socket.set_nodelay(true)?;
        wait_bounded(&socket)?;
        let secure = match &self.tls {
            Some(config) => Some(Box::new(Secure::shake(&mut socket, config)?)),
            None => None,
        };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), flags)?;
        let since = Instant::now();
        Ok(Connection { socket, secure, since, unsent: 0, due: 0, busy: false, body: None, carry: Vec::new() })
    }
}

impl Connection {
    fn begin(&mut self, batch: &[u8], requests: usize, since: Instant) -> Result<()> {
        let bytes = match &mut self.secure {
            Some(secure) => secure.seal(batch)?,
            None => batch.len(),
        };
        (self.since, self.unsent, self.due, self.busy) = (since, bytes, requests, true);
        self.send(batch)
    }

    /// What does not fit into the socket goes out when an event says that there is room again.
    fn send(&mut self, batch: &[u8]) -> Result<()> {
        let batch = self.secure.as_ref().map_or(batch, |secure| secure.sealed());
        while self.unsent > 0 {
            match send(&self.socket, &batch[batch.len() - self.unsent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => self.unsent -= count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                // The server has closed; the event that says so is on its way and counts the error.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What an event asks for: sends on and reads what has come.
    fn turn(&mut self, batch: &[u8], buffer: &mut [u8], expect: &mut Expect, close: bool) -> Result<Answered> {
        self.send(batch)?;
        let answered = self.receive(buffer, expect, close)?;
        // A connection that is to close has no next batch: another takes its place when the server has closed it.
        if self.due == 0 && self.unsent == 0 && !close {
            self.busy = false;
        }
        Ok(answered)
    }

    /// Reads until the socket is empty, which a short read tells; the end, where it is awaited, may be behind it.
    fn receive(&mut self, buffer: &mut [u8], expect: &mut Expect, close: bool) -> Result<Answered> {
        let mut answered = Answered::default();
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) if self.due == 0 => {
                    answered.closed = true;
                    return Ok(answered);
                }
                Ok((0, _)) => return Err("closed by the server".into()),
                Ok((count, _)) => {
                    self.open(&mut buffer[..count], expect, &mut answered)?;
                    if count < buffer.len() && !close {
                        return Ok(answered);
                    }
                }
                Err(Errno::AGAIN) => return Ok(answered),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is in the bytes that have come.
    fn open(&mut self, come: &mut [u8], expect: &mut Expect, answered: &mut Answered) -> Result<()> {
        let Some(mut secure) = self.secure.take() else { return self.take(come, expect, answered) };
        let opened = secure.open(come, |bytes| self.take(bytes, expect, answered));
        self.secure = Some(secure);
        opened
    }

    /// Cuts the bytes into answers and checks each.
    fn take(&mut self, bytes: &[u8], expect: &mut Expect, answered: &mut Answered) -> Result<()> {
        let mut joined = std::mem::take(&mut self.carry);
        let mut rest = bytes;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            rest = &joined;
        }
        while !rest.is_empty() {
            let Body { left, right } = match self.body.take() {
                Some(body) => body,
                None => {
                    let Some(head) = expect.head(rest)? else {
                        self.carry = rest.to_vec();
                        return Ok(());
                    };
                    rest = &rest[head.bytes..];
                    Body { left: head.body_bytes, right: head.status == 200 && head.body_bytes == expect.body_bytes }
                }
            };
            if rest.len() < left {
                self.body = Some(Body { left: left - rest.len(), right });
                return Ok(());
            }
            rest = &rest[left..];
            self.due = self.due.checked_sub(1).ok_or("an answer that no one asked for")?;
            if right {
                answered.rightly += 1;
            } else {
                answered.wrongly += 1;
            }
        }
        Ok(())
    }
}

impl Expect {
    /// The head at the front of these bytes, or `None` if it has not come in whole. Within a second the answers of a
    /// server are alike to the byte, so most heads need no parsing.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<Head>> {
        if bytes.starts_with(&self.head) {
            return Ok(Some(Head { bytes: self.head.len(), status: 200, body_bytes: self.body_bytes }));
        }
        let head = Head::parse(bytes)?;
        if let Some(head) = &head
            && head.status == 200
            && head.body_bytes == self.body_bytes
        {
            self.head.clear();
            self.head.extend_from_slice(&bytes[..head.bytes]);
        }
        Ok(head)
    }
}

/// Opens connections that ask once and then stay silent, each answered before the next is opened. They last until
/// they are dropped. Several source addresses give more ports than one has; outside the loopback net there is only one.
pub fn open_idle(addr: SocketAddr, path: &str, count: usize) -> Result<Vec<TcpStream>> {
    let limit = machine::raise_descriptor_limit()?;
    if count + limits::DESCRIPTORS_BESIDE > limit {
        return Err(format!("{count} connections want more descriptors than the {limit} allowed: ulimit -Hn").into());
    }
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").into_bytes();
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = match addr.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => connect_from(2 + (index / limits::IDLE_PER_SOURCE) as u8, addr)?,
            _ => TcpStream::connect_timeout(&addr, limits::FETCH_TIMEOUT)?,
        };
        wait_bounded(&stream)?;
        let (head, _) = fetch(&mut stream, &request)?;
        if head.status != 200 {
            return Err(format!("GET {path} answers {}", head.status).into());
        }
        open.push(stream);
    }
    Ok(open)
}

/// A connection from 127.0.0.N.
fn connect_from(host: u8, addr: SocketAddr) -> Result<TcpStream> {
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&stream, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)))?;
    connect(&stream, &addr)?;
    Ok(stream.into())
}

/// Bounds what is waited for on this socket, where it is waited.
fn wait_bounded(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(limits::FETCH_TIMEOUT))?;
    stream.set_write_timeout(Some(limits::FETCH_TIMEOUT))
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// To the empty line and with it.
    pub head: Vec<u8>,
    /// As long as the head says.
    pub body: Vec<u8>,
}

/// Asks once what a load would ask, on a connection of its own, and waits for the answer, and for the end of the connection
/// where that was asked for.
pub fn ask(addr: SocketAddr, plan: &Plan) -> Result<Answer> {
    let stream = TcpStream::connect_timeout(&addr, limits::FETCH_TIMEOUT)?;
    wait_bounded(&stream)?;
    if plan.tls { ask_by(secure::stream(stream)?, addr, plan) } else { ask_by(stream, addr, plan) }
}

fn ask_by(mut stream: impl Read + Write, addr: SocketAddr, plan: &Plan) -> Result<Answer> {
    let (head, mut answer) = fetch(&mut stream, &plan.request(addr))?;
    if head.status != 200 {
        return Err(format!("{} {} answers {}", plan.method(), plan.path, head.status).into());
    }
    if plan.close && read(&mut stream, &mut [0]).map_err(|error| format!("it does not close: {error}"))? > 0 {
        return Err("more than one answer came".into());
    }
    let body = answer.split_off(head.bytes);
    Ok(Answer { head: answer, body })
}

/// Asks once and waits. Returns the answer's head as parsed, and the answer.
fn fetch(stream: &mut (impl Read + Write), request: &[u8]) -> Result<(Head, Vec<u8>)> {
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; limits::READ_BYTES]);
    loop {
        match read(stream, &mut buffer)? {
            0 => return Err("the server closed before it had answered".into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
        if let Some(head) = Head::parse(&answer)?
            && answer.len() >= head.bytes + head.body_bytes
        {
            answer.truncate(head.bytes + head.body_bytes);
            return Ok((head, answer));
        }
    }
}

/// A read with a timeout is not begun again by the kernel when something wakes the thread in between.
fn read(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
