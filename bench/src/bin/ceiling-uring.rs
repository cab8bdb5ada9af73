//! The hand-written io_uring loop: what a server on completions could cost at best.
//!
//! One thread, one ring, one enter a turn. Accepting is one multishot operation, receiving one per connection, into a
//! provided-buffer ring; all answers a connection owes in a turn go out in one send. It answers every request as if
//! it were `GET /plaintext`, or a post to `/echo` of as many bytes as it was told.
//!
//! A slot in the table is used again only after the kernel's last completion for it, so tokens need no generation.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use bench::answer::{Answers, Outbox};
use bench::buffers::{self, Buffers};
use bench::scan::Heads;
use bench::{Result, listen};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue, types};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, SocketFlags, shutdown};

const USAGE: &str = "usage: ceiling-uring [--addr 127.0.0.1:0] [--cpu N] [--body BYTES] [--close]";

/// Entries of the submission queue: one turn's sends for many more connections than a figure has. A full queue is
/// submitted at once and filled again.
const SUBMISSIONS: u32 = 1024;

/// Entries of the completion queue: a receive and a send for each of two thousand connections in one turn. What does
/// not fit, the kernel keeps until there is room.
const COMPLETIONS: u32 = 4096;

/// Every connection of a figure may hold one within a turn, a few times over.
const BUFFERS: u16 = 512;

/// Sixteen pipelined requests of usual size.
const BUFFER_BYTES: usize = 4096;

fn main() -> ExitCode {
    bench::run(|| {
        let (listener, answers) = listen::start(USAGE)?;
        // Both stay until the process ends: the kernel may read from a connection's answers until the ring is gone.
        let ring = Box::leak(Box::new(open_ring()?));
        let server = Box::leak(Box::new(Server::new(listener.as_raw_fd(), ring, answers)?));
        match server.serve()? {}
    })
}

/// NO_SQARRAY came with kernel 6.6, the other flags with 6.1.
fn open_ring() -> Result<IoUring> {
    let with = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag();
        builder.setup_submit_all().setup_cqsize(COMPLETIONS);
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(SUBMISSIONS)
    };
    Ok(with(true).or_else(|_| with(false)).map_err(|error| format!("io_uring cannot be had: {error}"))?)
}

struct Server {
    listener: RawFd,
    queue: Queue,
    completions: CompletionQueue<'static>,
    buffers: Buffers,
    answers: Answers,
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// Connections to which requests came in this turn, or whose last send ended in it.
    owing: Vec<u32>,
}

struct Queue {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
}

/// A slot of the table. `socket` is `None` when it is free.
#[derive(Default)]
struct Connection {
    socket: Option<OwnedFd>,
    heads: Heads,
    outbox: Outbox,
    receiving: bool,
    sending: bool,
}

/// A completion's result: a descriptor or a count of bytes.
type Outcome = std::result::Result<u32, Errno>;

/// What an operation is and to which slot it belongs: the kernel carries it from entry to completion.
#[derive(Clone, Copy)]
enum Token {
    Accept,
    Receive(u32),
    Send(u32),
}

impl Server {
    fn new(listener: RawFd, ring: &'static mut IoUring, answers: Answers) -> Result<Self> {
        let (mut submitter, submissions, completions) = ring.split();
        submitter.register_ring_fd()?;
        let buffers = Buffers::register(&submitter, BUFFERS, BUFFER_BYTES)?;
        Ok(Self {
            listener,
            queue: Queue { submitter, submissions },
            completions,
            buffers,
            answers,
            connections: Vec::new(),
            free: Vec::new(),
            owing: Vec::new(),
        })
    }

    fn serve(&mut self) -> Result<Infallible> {
        self.accept()?;
        loop {
            self.queue.enter(1)?;
            self.answers.renew();
            self.completions.sync();
            while let Some(completion) = self.completions.next() {
                self.land(&completion)?;
            }
            self.buffers.publish();
            self.send_owed()?;
        }
    }

    fn land(&mut self, completion: &cqueue::Entry) -> Result<()> {
        let more = cqueue::more(completion.flags());
        let result = match completion.result() {
            negative if negative < 0 => Err(Errno::from_raw_os_error(-negative)),
            count => Ok(count as u32),
        };
        match Token::from(completion.user_data()) {
            Token::Accept => self.accepted(result, more),
            Token::Receive(slot) => self.received(slot, result, more, cqueue::buffer_select(completion.flags())),
            Token::Send(slot) => self.sent(slot, result),
        }
    }

    fn accept(&mut self) -> Result<()> {
        let flags = SocketFlags::CLOEXEC.bits() as i32;
        self.queue.push(opcode::AcceptMulti::new(types::Fd(self.listener)).flags(flags).build(), Token::Accept)
    }

    fn accepted(&mut self, result: Outcome, more: bool) -> Result<()> {
        match result {
            Ok(number) => {
                // SAFETY: the kernel opened this descriptor for us in this accept; no one else knows its number.
                let socket = unsafe { OwnedFd::from_raw_fd(number as RawFd) };
                let slot = self.free.pop().unwrap_or(self.connections.len() as u32);
                let heads = Heads::with_bodies(self.answers.requests().body);
                let connection = Connection { socket: Some(socket), heads, ..Connection::default() };
                match self.connections.get_mut(slot as usize) {
                    Some(free) => *free = connection,
                    None => self.connections.push(connection),
                }
                self.receive(slot)?;
            }
            Err(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(format!("accept: {error}").into()),
        }
        if more { Ok(()) } else { self.accept() }
    }

    fn receive(&mut self, slot: u32) -> Result<()> {
        let connection = &mut self.connections[slot as usize];
        let Some(socket) = &connection.socket else { return Ok(()) };
        connection.receiving = true;
        let socket = types::Fd(socket.as_raw_fd());
        let entry = if self.answers.requests().close {
            // One receive for one request; nothing is left in the kernel that would have to end before the socket closes.
            opcode::Recv::new(socket, std::ptr::null_mut(), 0)
                .buf_group(buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, buffers::GROUP).build()
        };
        self.queue.push(entry, Token::Receive(slot))
    }

    fn received(&mut self, slot: u32, result: Outcome, more: bool, buffer: Option<u16>) -> Result<()> {
        let connection = &mut self.connections[slot as usize];
        if let Some(id) = buffer {
            let count = result.unwrap_or(0) as usize;
            connection.outbox.owe(connection.heads.count(&self.buffers.bytes(id)[..count]));
            self.buffers.give_back(id);
        }
        self.owing.push(slot);
        connection.receiving = more;
        match result {
            Ok(0) => Ok(()), // the client is done; what it is owed still goes out
            Ok(_) if self.answers.requests().close && !connection.outbox.is_empty() => Ok(()),
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR | Errno::AGAIN) if !more => self.receive(slot),
            _ => Ok(()),
        }
    }

    fn sent(&mut self, slot: u32, result: Outcome) -> Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.sending = false;
        self.owing.push(slot);
        match (result, &connection.socket) {
            (Ok(count), _) => connection.outbox.advance(count as usize),
            (Err(_), Some(socket)) => {
                connection.outbox = Outbox::default();
                let _ = shutdown(socket, Shutdown::Both); // ends the receive, whose completion closes the socket
            }
            (Err(_), None) => unreachable!("a socket stays open while its send is in flight"),
        }
        Ok(())
    }

    /// One send for each connection that owes answers; a connection that owes nothing and has ended is closed.
    fn send_owed(&mut self) -> Result<()> {
        for slot in self.owing.drain(..) {
            let connection = &mut self.connections[slot as usize];
            if connection.sending {
                continue;
            }
            let Some(socket) = &connection.socket else { continue };
            if let Some(bytes) = connection.outbox.next(&self.answers) {
                let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
                connection.sending = true;
                self.queue.push(entry.flags(SendFlags::NOSIGNAL.bits() as i32).build(), Token::Send(slot))?;
            } else if !connection.receiving {
                connection.socket = None;
                self.free.push(slot);
            }
        }
        Ok(())
    }
}

impl Queue {
    fn push(&mut self, entry: squeue::Entry, token: Token) -> Result<()> {
        let entry = entry.user_data(token.into());
        // SAFETY: an accept and a receive point to no memory of ours but the provided buffers, which live as long as
        // the process. A send points into the block of answers that its connection's outbox holds until `advance` or
        // a new outbox replaces it, and both happen in `sent`, at the kernel's one completion for the send. The
        // server with all its outboxes is leaked, so nothing else can free them.
        while unsafe { self.submissions.push(&entry) }.is_err() {
            self.enter(0)?;
        }
        Ok(())
    }

    /// Submits what is queued and waits for so many completions. Being interrupted, or asked to take completions
    /// first, is no error: the turn goes on and comes back.
    fn enter(&mut self, want: usize) -> Result<()> {
        self.submissions.sync();
        let entered = self.submitter.submit_and_wait(want);
        self.submissions.sync();
        match entered.map_err(|error| Errno::from_io_error(&error)) {
            Ok(_) | Err(Some(Errno::INTR | Errno::AGAIN | Errno::BUSY)) => Ok(()),
            Err(error) => Err(format!("io_uring_enter: {error:?}").into()),
        }
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        match token {
            Token::Accept => 0,
            Token::Receive(slot) => u64::from(slot) << 2 | 1,
            Token::Send(slot) => u64::from(slot) << 2 | 2,
        }
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Self {
        let slot = (data >> 2) as u32;
        match data & 3 {
            0 => Token::Accept,
            1 => Token::Receive(slot),
            _ => Token::Send(slot),
        }
    }
}
