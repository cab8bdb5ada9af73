//! What the peers share: where they listen, how they say so, the allocator that their own users choose for benchmarks,
//! and, for runtimes that bring no HTTP, a server's part of HTTP/1.1 by hand ([`http`]).

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use rustix::time::{ClockId, clock_gettime};
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

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in the clear, by prior knowledge: `--h2`.
    Http2,
    /// Either under TLS, by ALPN: `--tls`.
    Tls,
    /// HTTP/3: `--h3`.
    Http3,
}

/// The value of `--addr`. For those who speak nothing but HTTP/1.1.
pub fn addr() -> SocketAddr {
    let (addr, protocol) = options();
    assert!(protocol == Protocol::Http1, "the only option is --addr ADDR:PORT");
    addr
}

/// The values of `--addr`, and of `--h2`, `--tls` or `--h3` behind it.
pub fn options() -> (SocketAddr, Protocol) {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (addr, rest) = match &words[..] {
        [option, addr, rest @ ..] if option == "--addr" => (addr.as_str(), rest),
        rest => ("127.0.0.1:0", rest),
    };
    let protocol = match rest {
        [] => Protocol::Http1,
        [word] if word == "--h2" => Protocol::Http2,
        [word] if word == "--tls" => Protocol::Tls,
        [word] if word == "--h3" => Protocol::Http3,
        _ => panic!("the options are --addr ADDR:PORT, and --h2, --tls or --h3 behind it"),
    };
    (addr.parse().unwrap_or_else(|error| panic!("--addr {addr}: {error}")), protocol)
}

/// A listening socket on `--addr`. What it accepts has TCP_NODELAY from it. For those who speak nothing but HTTP/1.1.
pub fn listener() -> TcpListener {
    listener_at(addr())
}

/// A listening socket on this address.
pub fn listener_at(addr: SocketAddr) -> TcpListener {
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
    open(&addr).unwrap_or_else(|error| panic!("cannot listen on {addr}: {error}"))
}

/// The value of `--addr`. For those who speak nothing but HTTP/3.
pub fn http3_addr() -> SocketAddr {
    let (addr, protocol) = options();
    assert!(protocol == Protocol::Http3, "it speaks nothing but HTTP/3: --addr ADDR:PORT --h3");
    addr
}

/// The field `Date`, made once a second.
pub fn date() -> Bytes {
    thread_local! {
        static DATE: RefCell<(i64, Bytes)> = const { RefCell::new((-1, Bytes::new())) };
    }
    let second = clock_gettime(ClockId::RealtimeCoarse).tv_sec;
    DATE.with_borrow_mut(|(made, date)| {
        if *made != second {
            *date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second.unsigned_abs())).into();
            *made = second;
        }
        date.clone()
    })
}

/// For those who listen by themselves and would not tell the port: one that was free just now.
pub fn free_addr() -> SocketAddr {
    listener().local_addr().expect("a listening socket has an address")
}

/// Says where the server listens, as the bench expects it.
pub fn say(addr: SocketAddr) {
    say_with(addr, Protocol::Http1);
}

/// The same, for those who speak others too.
pub fn say_with(addr: SocketAddr, protocol: Protocol) {
    let is_secure = matches!(protocol, Protocol::Tls | Protocol::Http3);
    println!("listening http{}://{addr}", if is_secure { "s" } else { "" });
}
