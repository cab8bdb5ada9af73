//! The admin listener: `/metrics`, `/healthz` and `/readyz`, on threads that serve nobody else.
//!
//! It answers while shards stall, so it shares nothing with them: blocking sockets, one request per connection, and a
//! bound on everything a client can make it wait for or hold.

#![allow(clippy::disallowed_methods, reason = "lives in real time, beside the shards")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use proto::h1::{Event, Limits, Server, Standing};
use proto::head::HeadTable;
use proto::message::BodyLength;
use shards::Outside;

use crate::limits::{
    ADMIN_END_PAUSE, ADMIN_END_TRIES_MAX, ADMIN_EXCHANGE_TIME_MAX, ADMIN_HEAD_BYTES_MAX, ADMIN_THREADS,
};

/// What the listener tells.
pub(crate) trait Report: Send + Sync + 'static {
    /// Prometheus's text.
    fn metrics(&self) -> String;

    /// Why the process is not ready for requests; `None` if it is.
    fn unready(&self) -> Option<String>;
}

/// A running listener; dropping it ends its threads.
pub(crate) struct Admin {
    address: SocketAddr,
    is_ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// What its threads have names of.
    socket: Outside,
}

impl Admin {
    /// Starts to answer on what `listen` gives.
    ///
    /// Errors: the address cannot be had; the text says what to do.
    pub(crate) fn start(
        address: SocketAddr,
        listen: impl FnOnce() -> io::Result<Outside>,
        report: Arc<dyn Report>,
    ) -> Result<Self, String> {
        let fail = |error: io::Error| {
            format!("the admin listener cannot have {address}: {error}. Choose another address, or port 0 for any.")
        };
        let socket = listen().map_err(fail)?;
        let mut admin = Admin {
            address: socket.listener.local_addr().map_err(fail)?,
            is_ending: Arc::default(),
            threads: Vec::with_capacity(ADMIN_THREADS),
            socket,
        };
        for number in 0..ADMIN_THREADS {
            let (listener, report) = (admin.socket.listener.try_clone().map_err(fail)?, Arc::clone(&report));
            let is_ending = Arc::clone(&admin.is_ending);
            let thread = std::thread::Builder::new().name(format!("admin-{number}"));
            let run = move || accept(&listener, &*report, &is_ending);
            admin.threads.push(thread.spawn(run).map_err(fail)?);
        }
        Ok(admin)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        // An accept ends only with a connection: one for each thread. A successor that accepts from the same queue may get
        // some of them, so it is tried until all have heard, or often enough: a thread that has not yet goes with the process.
        for _ in 0..ADMIN_END_TRIES_MAX {
            self.threads.retain(|thread| !thread.is_finished());
            if self.threads.is_empty() {
                return;
            }
            for _ in &self.threads {
                let _ = TcpStream::connect_timeout(&address, ADMIN_EXCHANGE_TIME_MAX);
            }
            std::thread::sleep(ADMIN_END_PAUSE);
        }
    }
}

fn accept(listener: &TcpListener, report: &dyn Report, is_ending: &AtomicBool) {
    loop {
        match listener.accept() {
            // A client that went away, or was too slow, is nobody's concern.
            Ok((stream, _)) => drop(exchange(stream, report)),
            // Mostly no descriptors: a pause lets others give some back.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
        // Only now: what was accepted may be a client's, whom a successor would have answered.
        if is_ending.load(Ordering::Acquire) {
            return;
        }
    }
}

/// One request and its answer; then the connection closes.
fn exchange(mut stream: TcpStream, report: &dyn Report) -> io::Result<()> {
    let deadline = Instant::now() + ADMIN_EXCHANGE_TIME_MAX;
    let (mut engine, mut table) = (Server::new(), HeadTable::new());
    let mut received = Vec::new();
    let mut out = vec![0; HEAD_ROOM];
    let limits = Limits { head_bytes_max: ADMIN_HEAD_BYTES_MAX as u16, ..Limits::default() };
    loop {
        match engine.receive(&received, &mut table, &limits) {
            Ok(step) if matches!(step.event, Event::Head(_)) => {
                engine.close_after_response();
                let (status, kind, body) = answer(table.method(), table.path(&received[..step.consumed]), report);
                let fields = [("Content-Type", kind), ("Cache-Control", "no-store")];
                let length = BodyLength::Known(body.len() as u64);
                let count =
                    engine.respond(status, fields, Standing::default(), length, &mut out).map_err(io::Error::other)?;
                send(&mut stream, &out[..count], deadline)?;
                if engine.takes_body() {
                    send(&mut stream, body.as_bytes(), deadline)?;
                }
                return stream.shutdown(std::net::Shutdown::Write);
            }
            // Of the engine's other events only these can come before a head.
            Ok(step) => drop(received.drain(..step.consumed)),
            Err(error) => {
                let count = engine.refuse(error, Standing::default(), &mut out).map_err(io::Error::other)?;
                return send(&mut stream, &out[..count], deadline);
            }
        }
        let mut more = [0; 1024];
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut more)? {
            0 => return Ok(()),
            count => received.extend_from_slice(&more[..count]),
        }
    }
}

fn answer(method: &Method, path: &[u8], report: &dyn Report) -> (StatusCode, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    if !matches!(*method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, TEXT, "Use GET.\n".to_owned());
    }
    match path {
        b"/metrics" => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", report.metrics()),
        b"/healthz" => (StatusCode::OK, TEXT, "alive\n".to_owned()),
        b"/readyz" => match report.unready() {
            None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, "Here are /metrics, /healthz and /readyz.\n".to_owned()),
    }
}

fn send(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match stream.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// What is left of the time; an error once there is none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Room for the head of an answer.
const HEAD_ROOM: usize = 1024;

/// How long accepting pauses after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
