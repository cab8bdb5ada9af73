//! The hand-written epoll loop: what a server on readiness could cost at best.
//!
//! One thread, edge-triggered, so that a socket is registered once and never again: a wait, then for every ready
//! connection one read (more only if the buffer came back full) and one write of all answers owed. It answers every
//! request as if it were `GET /plaintext`, or a post to `/echo` of as many bytes as it was told.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use bench::answer::{Answers, Outbox};
use bench::scan::Heads;
use bench::{Result, limits, listen};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

const USAGE: &str = "usage: ceiling-epoll [--addr 127.0.0.1:0] [--cpu N] [--body BYTES] [--close]";

fn main() -> ExitCode {
    bench::run(|| {
        let (listener, answers) = listen::start(USAGE)?;
        Server::new(listener, answers)?.serve()
    })
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor number, which the kernel keeps small and dense. An event names its connection by it; the loop
    /// sees a descriptor once per wait and closing one unregisters it, so no event can mean an earlier connection.
    connections: Vec<Option<Connection>>,
    answers: Answers,
    buffer: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    heads: Heads,
    outbox: Outbox,
    /// Nothing more is read from it; it closes once all is sent.
    ended: bool,
}

enum Life {
    Open,
    Ended,
}

impl Server {
    fn new(listener: TcpListener, answers: Answers) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(listener.as_raw_fd() as u64), EventFlags::IN)?;
        let buffer = vec![0; limits::READ_BYTES];
        Ok(Self { epoll, listener, connections: Vec::new(), answers, buffer })
    }

    fn serve(&mut self) -> Result<()> {
        let listener = self.listener.as_raw_fd() as u64;
        let mut events = Vec::with_capacity(limits::EVENTS_PER_WAIT);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.answers.renew();
            for event in events.drain(..) {
                match event.data.u64() {
                    number if number == listener => self.accept()?,
                    number => self.turn(number as usize, event.flags),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        loop {
            let socket = match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let number = socket.as_raw_fd() as usize;
            epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), flags)?;
            if self.connections.len() <= number {
                self.connections.resize_with(number + 1, || None);
            }
            let heads = Heads::with_bodies(self.answers.requests().body);
            self.connections[number] = Some(Connection { socket, heads, outbox: Outbox::default(), ended: false });
        }
    }

    fn turn(&mut self, number: usize, flags: EventFlags) {
        let Some(connection) = &mut self.connections[number] else { return };
        let hung_up = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        connection.receive(&mut self.buffer, hung_up, self.answers.requests().close);
        let sent = connection.answer(&self.answers);
        if matches!(sent, Life::Ended) || connection.ended && connection.outbox.is_empty() {
            self.connections[number] = None;
        }
    }
}

impl Connection {
    /// A short read has emptied the socket, so there is no second read to learn that. A hang-up is part of the same
    /// edge: there the reading goes on to the end, which comes with the first request if the requests ask to close.
    fn receive(&mut self, buffer: &mut [u8], hung_up: bool, close: bool) {
        while !self.ended {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((count @ 1.., _)) => {
                    let requests = self.heads.count(&buffer[..count]);
                    self.outbox.owe(requests);
                    self.ended = close && requests > 0;
                    if count < buffer.len() && !hung_up {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Ok((0, _)) | Err(_) => self.ended = true,
            }
        }
    }

    /// Writes what is owed. When the socket is full, the edge of its becoming writable calls again.
    fn answer(&mut self, answers: &Answers) -> Life {
        while let Some(bytes) = self.outbox.next(answers) {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => self.outbox.advance(count),
                Err(Errno::AGAIN) => return Life::Open,
                Err(Errno::INTR) => {}
                Err(_) => return Life::Ended,
            }
        }
        Life::Open
    }
}
