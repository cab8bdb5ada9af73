//! A strict reader of HTTP/1.1 answers, and a client on a plain socket that says whatever bytes it is told to.
//!
//! Written apart from the project's own engines, so that the two cannot share a mistake. Everything that is waited for
//! comes within [`WAIT_MAX`] or the test fails.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// No wait of any test is longer. What is waited for takes milliseconds; the rest is a machine under load.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

/// One answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    Length,
    Chunked,
    /// By the connection's end.
    Close,
}

/// Reads one answer from the front of `input`: the answer and its length in bytes; `None` if more is to come. `to_head`
/// says that the request was a HEAD, `has_ended` that nothing more comes.
pub(crate) fn parse(input: &[u8], to_head: bool, has_ended: bool) -> Result<Option<(Answer, usize)>, String> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        return match has_ended {
            true => Err(format!("the connection ended within a head: {:?}", String::from_utf8_lossy(input))),
            false => Ok(None),
        };
    };
    let head = std::str::from_utf8(&input[..end]).map_err(|error| error.to_string())?;
    let (status, headers) = head_of(head)?;
    let start = end + 4;
    let mut answer = Answer { status, headers, body: Vec::new(), framing: Framing::None };
    let bytes = match body_of(&answer, to_head, &input[start..], has_ended)? {
        Some((framing, body, bytes)) => {
            (answer.framing, answer.body) = (framing, body);
            bytes
        }
        None if has_ended => return Err(format!("the connection ended within the body after {head:?}")),
        None => return Ok(None),
    };
    Ok(Some((answer, start + bytes)))
}

fn head_of(head: &str) -> Result<(u16, Vec<(String, String)>), String> {
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..4)).and_then(|code| code.strip_suffix(' '));
    let status = status.and_then(|code| code.parse().ok()).ok_or(format!("a bad status line: {line:?}"))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or(format!("a bad header line: {line:?}"))?;
        let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_token || value.trim() != value || value.bytes().any(|byte| byte < b' ') {
            return Err(format!("a bad header line: {line:?}"));
        }
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Ok((status, headers))
}

/// How the body is framed, the body, and how many bytes both take. `None` if more is to come.
fn body_of(
    answer: &Answer,
    to_head: bool,
    input: &[u8],
    has_ended: bool,
) -> Result<Option<(Framing, Vec<u8>, usize)>, String> {
    let (lengths, codings) = (answer.all("content-length"), answer.all("transfer-encoding"));
    let is_bodiless = matches!(answer.status, 100..=199 | 204 | 304);
    match (&lengths[..], &codings[..]) {
        ([_, _, ..], _) | (_, [_, _, ..]) | ([_], [_]) => Err(format!("framing in doubt: {lengths:?} {codings:?}")),
        ([_], _) | (_, [_]) if is_bodiless && answer.status != 304 => Err("a body where there is none".to_owned()),
        _ if to_head || is_bodiless => Ok(Some((Framing::None, Vec::new(), 0))),
        ([length], _) => {
            let length: usize = length.parse().map_err(|_| format!("a bad length: {length:?}"))?;
            Ok(input.get(..length).map(|body| (Framing::Length, body.to_vec(), length)))
        }
        (_, ["chunked"]) => Ok(chunks(input)?.map(|(body, bytes)| (Framing::Chunked, body, bytes))),
        (_, [coding]) => Err(format!("an unknown coding: {coding:?}")),
        ([], []) if has_ended => Ok(Some((Framing::Close, input.to_vec(), input.len()))),
        ([], []) => Ok(None),
    }
}

fn chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = input[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&input[at..at + line]).into_owned();
        let size = usize::from_str_radix(&text, 16).map_err(|_| format!("a bad chunk size: {text:?}"))?;
        let start = at + line + 2;
        let Some(data) = input.get(start..start + size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk does not end where it says".to_owned());
        }
        body.extend_from_slice(&data[..size]);
        at = start + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

impl Answer {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }

    /// The value of a header that is there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let [value] = self.all(name)[..] else { panic!("{name} is not there once: {self:?}") };
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the peer says that the connection ends with this answer.
    pub(crate) fn closes(&self) -> bool {
        self.all("connection").contains(&"close")
    }
}

/// A client of one connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    has_ended: bool,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).expect("the server accepts")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, input: Vec::new(), has_ended: false })
    }

    /// The socket, for another thread to write to.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub(crate) fn end_output(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// The next answer. `None` if the connection ends, in whatever way, before its first byte.
    pub(crate) fn next(&mut self, to_head: bool) -> Result<Option<Answer>, String> {
        loop {
            if let Some((answer, bytes)) = match self.input.is_empty() {
                true if self.has_ended => return Ok(None),
                true => None,
                false => parse(&self.input, to_head, self.has_ended)?,
            } {
                self.input.drain(..bytes);
                return Ok(Some(answer));
            }
            let mut room = [0; 64 * 1024];
            match self.stream.read(&mut room) {
                Ok(0) => self.has_ended = true,
                Ok(count) => self.input.extend_from_slice(&room[..count]),
                Err(error) if is_gone(&error) && self.input.is_empty() => return Ok(None),
                Err(error) => return Err(format!("{error}; before it came {} bytes", self.input.len())),
            }
        }
    }

    /// The next answer, which must come.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.next(false).expect("a correct answer").expect("an answer before the end")
    }

    /// Sends a request line, `GET /path`, with a `Host`, and takes the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> Answer {
        self.send(request(line));
        self.next(line.starts_with("HEAD ")).expect("a correct answer").expect("an answer before the end")
    }

    /// The server closes the connection, and says nothing more.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("a clean end");
        assert!(self.input.is_empty() && rest.is_empty(), "nothing after the last answer");
    }
}

/// A request of a line, `GET /path`, and a `Host`.
pub(crate) fn request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: here\r\n\r\n")
}

/// Whether an error says that the peer has closed.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// Bytes in which a lost, doubled or moved piece shows.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}
