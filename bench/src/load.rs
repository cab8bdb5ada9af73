//! The closed-loop load: each connection sends a batch of requests, waits for all its answers, and sends the next.
//!
//! One thread on epoll. It has to be cheap, or it and not the server is the bottleneck: one read and one write per
//! batch, one clock reading per event, and an answer's head is compared with the last good one before it is parsed, so
//! that every answer is checked for little more than a comparison.

mod head;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, connect, recv, send, socket};

use crate::{Result, limits, machine};
use head::Head;

/// What to ask of which server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub addr: SocketAddr,
    /// Of every request.
    pub path: String,
    /// Bytes of every request's body. None makes it a `GET`, some a `POST`.
    pub body: usize,
    /// Open at a time.
    pub connections: usize,
    /// Requests in a batch.
    pub pipeline: usize,
}

/// Open connections, ready to run.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    batch: Vec<u8>,
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
    /// Nanoseconds from a batch's write to each of its answers.
    pub latency: Histogram<u64>,
    /// CPU time of the load itself.
    pub cpu: Duration,
    /// Bytes of an answer, head and body.
    pub answer_bytes: usize,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    sent: Instant,
    /// Requests without a whole answer.
    due: usize,
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
}

impl Load {
    /// Asks once, to learn what a right answer is, then opens all connections.
    pub fn connect(plan: &Plan) -> Result<Self> {
        if plan.connections == 0 || !(1..=limits::PIPELINE_MAX).contains(&plan.pipeline) {
            return Err(format!("at least 1 connection and 1 to {} requests in flight", limits::PIPELINE_MAX).into());
        }
        machine::raise_descriptor_limit()?;
        let request = request(plan.addr, &plan.path, plan.body);
        let (head, bytes) = fetch(&mut TcpStream::connect_timeout(&plan.addr, limits::FETCH_TIMEOUT)?, &request)?;
        if head.status != 200 {
            return Err(format!("{} answers {}", target(&plan.path, plan.body), head.status).into());
        }
        let mut load = Self {
            plan: plan.clone(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(plan.connections),
            batch: request.repeat(plan.pipeline),
            expect: Expect { body_bytes: head.body_bytes, head: bytes },
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
        let (mut requests, mut errors, mut busy) = (0, 0, 0);
        let (cpu, start) = (machine::own_cpu(), Instant::now());
        let (stop, give_up) = (start + time, start + time + limits::DRAIN_TIMEOUT);
        for connection in &mut self.connections {
            connection.send_batch(&self.batch, self.plan.pipeline, start)?;
            busy += 1;
        }
        let mut events = Vec::with_capacity(limits::EVENTS_PER_WAIT);
        let mut now = start;
        while busy > 0 && now < give_up {
            let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 }; // so that a silent server is noticed
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick)) {
                Ok(0) | Err(Errno::INTR) => now = Instant::now(),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let index = event.data.u64() as usize;
                let connection = &mut self.connections[index];
                let due = connection.due;
                let received = connection.receive(&mut self.buffer, &mut self.expect);
                now = Instant::now();
                match received {
                    Ok(answered) => {
                        let taken = now.duration_since(connection.sent).as_nanos() as u64;
                        latency.saturating_record_n(taken, answered.rightly as u64);
                        requests += answered.rightly as u64;
                        errors += answered.wrongly as u64;
                    }
                    Err(_) => {
                        errors += due as u64;
                        self.connections[index] = self.open(index)?;
                    }
                }
                if errors > limits::ERRORS_MAX {
                    return Err(format!("{errors} errors after {requests} right answers").into());
                }
                if due == 0 || self.connections[index].due > 0 {
                    continue;
                }
                if now < stop {
                    self.connections[index].send_batch(&self.batch, self.plan.pipeline, now)?;
                } else {
                    busy -= 1;
                }
            }
        }
        errors += self.connections.iter().map(|connection| connection.due as u64).sum::<u64>();
        let answer_bytes = self.expect.head.len() + self.expect.body_bytes;
        Ok(Report { requests, errors, elapsed: now - start, latency, cpu: machine::own_cpu() - cpu, answer_bytes })
    }

    fn open(&self, index: usize) -> Result<Connection> {
        let socket = TcpStream::connect_timeout(&self.plan.addr, limits::FETCH_TIMEOUT)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::ET)?;
        Ok(Connection { socket, sent: Instant::now(), due: 0, body: None, carry: Vec::new() })
    }
}

impl Connection {
    /// The whole batch goes in one write: all answers have come, so the send buffer is empty.
    fn send_batch(&mut self, batch: &[u8], requests: usize, now: Instant) -> Result<()> {
        (self.sent, self.due) = (now, requests);
        match send(&self.socket, batch, SendFlags::NOSIGNAL) {
            Ok(count) if count == batch.len() => Ok(()),
            Ok(_) => Err("a batch does not fit into the send buffer: ask for less pipelining or a smaller body".into()),
            // The server has closed; the event that says so is on its way and counts the error.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads until the socket is empty, which a short read tells.
    fn receive(&mut self, buffer: &mut [u8], expect: &mut Expect) -> Result<Answered> {
        let mut answered = Answered::default();
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err("closed by the server".into()),
                Ok((count, _)) => {
                    self.take(&buffer[..count], expect, &mut answered)?;
                    if count < buffer.len() {
                        return Ok(answered);
                    }
                }
                Err(Errno::AGAIN) => return Ok(answered),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
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
    let request = request(addr, path, 0);
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = match addr.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => connect_from(2 + (index / limits::IDLE_PER_SOURCE) as u8, addr)?,
            _ => TcpStream::connect_timeout(&addr, limits::FETCH_TIMEOUT)?,
        };
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

/// What a request asks for, in words.
pub fn target(path: &str, body: usize) -> String {
    match body {
        0 => format!("GET {path}"),
        bytes => format!("POST {path} of {bytes} bytes"),
    }
}

fn request(addr: SocketAddr, path: &str, body: usize) -> Vec<u8> {
    match body {
        0 => format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        bytes => format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {bytes}\r\n\r\n{}",
            "x".repeat(bytes)
        ),
    }
    .into_bytes()
}

/// Asks once and waits. Returns the answer's head, parsed and as it came.
fn fetch(stream: &mut TcpStream, request: &[u8]) -> Result<(Head, Vec<u8>)> {
    stream.set_read_timeout(Some(limits::FETCH_TIMEOUT))?;
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; limits::READ_BYTES]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed before it had answered".into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
        if let Some(head) = Head::parse(&answer)?
            && answer.len() >= head.bytes + head.body_bytes
        {
            answer.truncate(head.bytes);
            return Ok((head, answer));
        }
    }
}

#[cfg(test)]
mod tests;
