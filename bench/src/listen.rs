//! The listening socket of a ceiling and the start they share.

use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

use crate::answer::{Answers, Requests};
use crate::args::Args;
use crate::{Result, limits, machine};

/// Reads a ceiling's options, pins the thread, listens and says so as the real server does. Returns the answers to the
/// requests that were announced.
pub fn start(usage: &'static str) -> Result<(TcpListener, Answers)> {
    let mut args = Args::from_env(usage);
    let requests = Requests { body: args.value("--body", 0)?, close: args.flag("--close") };
    let addr: SocketAddr = args.value("--addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let cpu: Option<usize> = args.optional("--cpu")?;
    args.finish()?;
    if let Some(cpu) = cpu {
        machine::pin(cpu)?;
    }
    machine::raise_descriptor_limit()?;
    let listener = open(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening http://{}", listener.local_addr()?);
    Ok((listener, Answers::new(requests)))
}

/// Accepted sockets inherit TCP_NODELAY, so it is set here and costs no call per connection.
fn open(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let listener = socket(family, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    bind(&listener, &addr)?;
    listen(&listener, limits::BACKLOG)?;
    Ok(listener.into())
}
