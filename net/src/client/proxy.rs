//! Proxies on the way to a server: those that are asked by HTTP (`CONNECT`, RFC 9110 section 9.3.6), and those of SOCKS 5 (RFC 1928).
//!
//! The one idea: a proxy gives a stream that goes on to the server, and nothing else. What is spoken over it, TLS and all, is
//! between the server and us; the proxy is told the server's name, which it looks up itself.
//!
//! But for what a server of `http` has, which a proxy of HTTP reads anyway: it is asked for that itself, by the whole URL (RFC 9112
//! section 3.2.2), over connections that requests to all servers share.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::PROXY_AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};

use super::Error;
use super::pool::Pool;
use super::target::Place;
use crate::conn::client::{Connection, Outline};
use crate::limits::SOCKS_ANSWER_BYTES_MAX;
use crate::{Content, Headers, Transport};

/// A proxy that connections go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    pub(super) host: Box<str>,
    pub(super) port: u16,
    login: Option<Login>,
    /// It connects to servers of `http` as well.
    tunnels: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

/// Shown to nobody.
#[derive(Clone, PartialEq, Eq)]
struct Login {
    name: Box<str>,
    password: Box<str>,
}

impl Proxy {
    /// A proxy that is asked over HTTP, in the clear: for what a server of `http` has, or to connect to one of `https`. Requests
    /// that stand for more than that, to [upgrade](super::Request::upgrade), by HTTP/2 or with a `Host` of their own, have it connect
    /// in any case.
    pub fn http(host: impl Into<Box<str>>, port: u16) -> Self {
        Proxy { kind: Kind::Http, host: host.into(), port, login: None, tunnels: false }
    }

    /// A proxy of SOCKS 5. It looks names up itself.
    pub fn socks5(host: impl Into<Box<str>>, port: u16) -> Self {
        Proxy { kind: Kind::Socks5, host: host.into(), port, login: None, tunnels: true }
    }

    /// Has a proxy of HTTP connect to servers of `http` as well, and see nothing of what is asked. Some only connect to servers of
    /// `https`.
    pub fn tunnels(mut self) -> Self {
        self.tunnels = true;
        self
    }

    /// Shows it a name and a password, which go in the clear: by `Basic` (RFC 7617), or as RFC 1929 has it.
    pub fn login(mut self, name: impl Into<Box<str>>, password: impl Into<Box<str>>) -> Self {
        self.login = Some(Login { name: name.into(), password: password.into() });
        self
    }

    /// What connections through it are kept by, before what they are for.
    pub(super) fn key(&self) -> String {
        let name = self.login.as_ref().map_or("", |login| &login.name);
        format!("{:?} {name}@{}:{} ", self.kind, self.host, self.port)
    }

    /// Has the proxy at the other end go on to the server.
    ///
    /// Errors: it does not; or it speaks otherwise than it must.
    pub(super) async fn through(&self, pool: &Pool, stream: Transport, place: &Place<'_>) -> Result<Transport, Error> {
        match self.kind {
            Kind::Http => self.connect(pool, stream, place).await,
            Kind::Socks5 => self.socks(stream, place).await,
        }
    }

    /// Whether it is asked itself for what a server of `http` has.
    pub(super) fn is_asked(&self) -> bool {
        !self.tunnels
    }

    /// What a proxy of HTTP is shown.
    ///
    /// Errors: it cannot be said.
    pub(super) fn shows(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(Login { name, password }) = &self.login else { return Ok(None) };
        let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        let mut value = HeaderValue::from_str(&value).map_err(|_| refused("its login cannot be said"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn connect(&self, pool: &Pool, stream: Transport, place: &Place<'_>) -> Result<Transport, Error> {
        let server = match place {
            Place::Name(name, port) => format!("{name}:{port}"),
            Place::Fixed(address) => address.to_string(),
            Place::Unix(_) => return Err(refused("it leads to no socket of this machine")),
        };
        let mut headers = Headers::default();
        if let Some(login) = self.shows()? {
            headers.append(PROXY_AUTHORIZATION, login);
        }
        let (target, host) = (server.as_bytes(), server.as_bytes());
        let outline =
            Outline { method: &Method::CONNECT, target, host, headers: &headers, expects: false, upgrade: None };
        let mut connection = Connection::new(&pool.shared, stream);
        connection.begin(outline, &mut Content::Empty)?;
        let head = poll_fn(|cx| connection.poll_head(cx)).await?;
        match head.table().status() {
            status if status.is_success() => {}
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                return Err(refused("it asks for a login, or another one (407)"));
            }
            status => return Err(refused(&format!("it answers {}", status.as_u16()))),
        }
        match connection.into_stream() {
            Some((stream, None)) => Ok(stream),
            // A server waits for us to speak first, and whoever does before it would have us take his words for its.
            _ => Err(refused("it sends something ahead")),
        }
    }

    async fn socks(&self, stream: Transport, place: &Place<'_>) -> Result<Transport, Error> {
        let mut socks = Socks { stream, received: Vec::new() };
        let methods: &[u8] =
            if self.login.is_some() { &[VERSION, 2, NO_LOGIN, BY_LOGIN] } else { &[VERSION, 1, NO_LOGIN] };
        socks.say(methods.to_vec()).await?;
        let answer: [u8; 2] = socks.hear().await?;
        match (answer, &self.login) {
            ([VERSION, NO_LOGIN], _) => {}
            ([VERSION, BY_LOGIN], Some(Login { name, password })) => {
                let (Ok(name_bytes), Ok(password_bytes)) = (u8::try_from(name.len()), u8::try_from(password.len()))
                else {
                    return Err(refused("its login is longer than can be said"));
                };
                let (name, password) = (name.as_bytes(), password.as_bytes());
                socks.say([&[1, name_bytes], name, &[password_bytes], password].concat()).await?;
                let [_, status] = socks.hear().await?;
                if status != 0 {
                    return Err(refused("it does not take the login"));
                }
            }
            ([VERSION, REFUSED], _) => return Err(refused("it asks for a login, or for one of another kind")),
            _ => return Err(refused("it does not speak SOCKS 5")),
        }
        socks.say(server(place)?).await?;
        let [version, status, _, kind] = socks.hear().await?;
        if version != VERSION || status != 0 {
            return Err(refused(reason(status)));
        }
        // Where it connects from, which is of no interest.
        let length = match kind {
            V4 => 4,
            V6 => 16,
            NAME => {
                let [length] = socks.hear().await?;
                usize::from(length)
            }
            _ => return Err(refused("it does not speak SOCKS 5")),
        };
        socks.fill(length + 2).await?;
        socks.received.drain(..length + 2);
        if !socks.received.is_empty() {
            return Err(refused("it sends something ahead"));
        }
        Ok(socks.stream)
    }
}

/// What is said to a proxy of SOCKS, and heard of it.
struct Socks {
    stream: Transport,
    received: Vec<u8>,
}

impl Socks {
    async fn say(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.stream.send(bytes).await.map_err(|error| refused(&error.to_string()))
    }

    async fn hear<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Error> {
        self.fill(COUNT).await?;
        let bytes = *self.received.first_chunk().expect("as many have come");
        self.received.drain(..COUNT);
        Ok(bytes)
    }

    /// Waits until so many bytes have come.
    async fn fill(&mut self, count: usize) -> Result<(), Error> {
        while self.received.len() < count {
            match self.stream.recv().await {
                Ok(Some(chunk)) => self.received.extend_from_slice(&chunk),
                Ok(None) => return Err(refused("it ends in the middle of its answer")),
                Err(error) => return Err(refused(&error.to_string())),
            }
            if self.received.len() > SOCKS_ANSWER_BYTES_MAX {
                return Err(refused("it says more than it may"));
            }
        }
        Ok(())
    }
}

/// The request to go on to a server (RFC 1928 section 4).
fn server(place: &Place<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![VERSION, 1, 0];
    let port = match place {
        Place::Name(name, port) => {
            let length =
                u8::try_from(name.len()).map_err(|_| refused("the server's name is longer than can be said"))?;
            bytes.extend([NAME, length]);
            bytes.extend(name.as_bytes());
            *port
        }
        Place::Fixed(address) => {
            match address.ip() {
                IpAddr::V4(ip) => bytes.extend([&[V4][..], &ip.octets()].concat()),
                IpAddr::V6(ip) => bytes.extend([&[V6][..], &ip.octets()].concat()),
            }
            SocketAddr::port(address)
        }
        Place::Unix(_) => return Err(refused("it leads to no socket of this machine")),
    };
    bytes.extend(port.to_be_bytes());
    Ok(bytes)
}

/// Why it does not go on: RFC 1928 section 6.
fn reason(status: u8) -> &'static str {
    match status {
        2 => "its rules do not admit the server",
        3 | 4 => "it cannot reach the server",
        5 => "the server refused the connection",
        6 => "the server did not answer it in time",
        7 | 8 => "it cannot do what it is asked for",
        _ => "it could not go on to the server",
    }
}

fn refused(why: &str) -> Error {
    Error::Proxy { why: why.into() }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const BY_LOGIN: u8 = 2;
const REFUSED: u8 = 0xff;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;
