//! The server's engine by itself, and what a connection's input is to it.

use std::fmt;

use http::{Method, StatusCode, Version};
use proto::h1::{Body, Error, Event, Limits, Server, Standing};
use proto::head::HeadTable;

use crate::cut::{Cut, check_field};

/// A request that was received to its end.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) target: Vec<u8>,
    pub(crate) is_old: bool,
    /// Names in lower case, in the order received.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.target.escape_ascii(), if self.is_old { "1.0" } else { "1.1" })?;
        for (name, value) in &self.fields {
            write!(f, "; {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, "; '{}'", self.body.escape_ascii())
    }
}

/// How the input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Between requests.
    Whole,
    /// Within one.
    Incomplete,
    Refused(Error),
    /// The connection was closed as a request wished.
    Closed,
    Tunnel,
    Http2,
}

/// What a connection's input is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    pub(crate) requests: Vec<Received>,
    pub(crate) end: End,
}

/// No panic, one verdict whatever the cuts and whatever the table has held before, nothing parsed after an error, and nothing in a
/// head that a token, a target or a value cannot hold.
pub fn h1_server(input: &[u8]) {
    let expect = transcript(input, Cut::Whole);
    let mut table = HeadTable::new();
    // The second time whole, its heads come again.
    for cut in Cut::all(input).into_iter().chain([Cut::Whole]) {
        assert_eq!(transcript_by(&mut table, input, cut), expect, "{cut:?}");
    }
}

/// Receives all of the input, and answers each request when it has ended: CONNECT with a refusal, others with 200.
pub(crate) fn transcript(input: &[u8], cut: Cut) -> Transcript {
    transcript_by(&mut HeadTable::new(), input, cut)
}

fn transcript_by(table: &mut HeadTable, input: &[u8], mut cut: Cut) -> Transcript {
    let (mut server, limits) = (Server::new(), Limits::default());
    let (mut requests, mut current, mut held) = (Vec::new(), None::<Received>, Vec::new());
    let mut sent = 0;
    let mut fuel = 8 * input.len() + 64;
    let end = loop {
        fuel = fuel.checked_sub(1).expect("every step gets somewhere");
        let step = match server.receive(&held, table, &limits) {
            Ok(step) => step,
            Err(error) => {
                refuse(&mut server, table, &limits, error);
                break End::Refused(error);
            }
        };
        assert!(step.consumed <= held.len());
        let block = &held[..step.consumed];
        match step.event {
            Event::NeedMore => {
                held.drain(..step.consumed);
                if sent == input.len() {
                    break if server.end_of_input().is_ok() { End::Whole } else { End::Incomplete };
                }
                let count = cut.next(input.len() - sent);
                held.extend_from_slice(&input[sent..sent + count]);
                sent += count;
                continue;
            }
            Event::Head(head) => {
                let request = request(block, table);
                if head.body == Body::None {
                    answer(&mut server, &request);
                    requests.push(request);
                } else {
                    current = Some(request);
                }
            }
            Event::Data(range) => {
                assert!(!range.is_empty() && range.end <= step.consumed);
                current.as_mut().expect("a body has a head").body.extend_from_slice(&held[range]);
            }
            Event::End { trailers } => {
                for (name, value) in table.trailers().iter(&held[trailers]) {
                    check_field(name, value);
                }
                let request = current.take().expect("an end has a head");
                answer(&mut server, &request);
                requests.push(request);
            }
            Event::Http2Preface => break End::Http2,
            Event::Tunnel => break End::Tunnel,
            Event::Closed => break End::Closed,
        }
        held.drain(..step.consumed);
    };
    Transcript { requests, end }
}

fn request(block: &[u8], table: &HeadTable) -> Received {
    let target = table.target(block);
    assert!(!target.is_empty() && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#'));
    // Whatever else is asked for must be there to be asked for.
    let _ = (table.path(block), table.query(block), table.authority(block), table.scheme(block));
    for (name, value) in table.iter(block) {
        check_field(name, value);
    }
    Received {
        method: table.method().clone(),
        target: target.to_vec(),
        is_old: table.version() == Version::HTTP_10,
        fields: table.iter(block).map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect(),
        body: Vec::new(),
    }
}

const NONE: [(&str, &str); 0] = [];

fn answer(server: &mut Server, request: &Received) {
    assert!(server.is_request_ended());
    let status = if request.method == Method::CONNECT { StatusCode::NOT_IMPLEMENTED } else { StatusCode::OK };
    let mut out = [0; 256];
    let count = server.respond_whole(status, NONE, Standing::default(), b"ok", &mut out).expect("an answer fits");
    assert!(out[..count].starts_with(b"HTTP/1.1 "));
}

fn refuse(server: &mut Server, table: &mut HeadTable, limits: &Limits, error: Error) {
    let mut out = [0; 512];
    // An answer that has begun cannot be taken back; none has, here.
    let count = server.refuse(error, Standing::default(), &mut out).expect("a refusal fits");
    let text = String::from_utf8_lossy(&out[..count]).into_owned();
    assert!(text.starts_with(&format!("HTTP/1.1 {} ", error.status().as_str())), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(!server.keep_alive());
    let after = server.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", table, limits).map(|step| step.event);
    assert_eq!(after, Ok(Event::Closed), "nothing is parsed after an error");
}
