//! What the peers share: where they listen, how they say so, the allocator that their own users choose for benchmarks,
//! and, for runtimes that bring no HTTP, a server's part of HTTP/1.1 by hand ([`http`]).

use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use serde::Serialize;

pub mod http;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections that wait to be accepted: as many as wait on the ceilings.
const BACKLOG: i32 = 1024;

/// The answer to `/plaintext`.
pub const PLAINTEXT: &str = "Hello, World!";

/// Its type.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The type of the answer to `/json`.
pub const JSON: &str = "application/json";

/// The type of the answer to `/echo`.
pub const BYTES: &str = "application/octet-stream";

/// The name in every answer: as long as the showcase's, so that all send the same number of bytes.
pub const SERVER: &str = "shardwise";

/// The answer to `/json`, serialized anew for each request.
#[derive(Serialize)]
pub struct Message {
    /// The text.
    pub message: &'static str,
}

impl Message {
    /// The one that is asked for.
    pub const HELLO: Self = Self { message: PLAINTEXT };
}

/// The value of `--addr`.
pub fn addr() -> SocketAddr {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next(), words.next()) {
        (None, None, None) => SocketAddr::from(([127, 0, 0, 1], 0)),
        (Some("--addr"), Some(addr), None) => addr.parse().unwrap_or_else(|error| panic!("--addr {addr}: {error}")),
        _ => panic!("the only option is --addr ADDR:PORT"),
    }
}

/// A listening socket on `--addr`. What it accepts has TCP_NODELAY from it.
pub fn listener() -> TcpListener {
    let open = |addr: &SocketAddr| {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let listener = socket(family, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        bind(&listener, addr)?;
        listen(&listener, BACKLOG)?;
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        std::io::Result::Ok(listener)
    };
    let addr = addr();
    open(&addr).unwrap_or_else(|error| panic!("cannot listen on {addr}: {error}"))
}

/// For those who listen by themselves and would not tell the port: one that was free just now.
pub fn free_addr() -> SocketAddr {
    listener().local_addr().expect("a listening socket has an address")
}

/// Says where the server listens, as the bench expects it.
pub fn say(addr: SocketAddr) {
    println!("listening http://{addr}");
}
