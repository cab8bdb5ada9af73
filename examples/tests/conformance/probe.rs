//! [`Probe`]: the bytes of one or more requests, and in words all that must come back.
//!
//! Behind a probe's bytes always follows one more request, [`LAST`]. It shows what became of the connection: answered, it
//! was kept and all bytes before were understood; not answered, nothing after a fault was parsed.

use crate::wire::{Answer, Framing};

/// An entry of a table.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// `RFC 9112 §6.1`, and if there is a choice, what we chose.
    pub(crate) clause: &'static str,
    /// What is odd about it.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// One for each answer, in [`told`]'s words, and one for the connection's end. Of an error: its status, and words of
    /// its text.
    pub(crate) expect: Vec<String>,
}

/// A table as it is written: clause, name, bytes, and what is expected, answers parted by ` | `.
///
/// In the bytes, `{V}` ends a request line and names a host, `{G}` and `{P}` begin a whole GET or POST to `/request`, `{C}`
/// is the head of a POST in chunks, `{x*9}` is `x` nine times, and `{=ff}` a byte in hexadecimal digits.
pub(crate) type Table = &'static [(&'static str, &'static str, &'static str, &'static str)];

/// What follows every probe.
pub(crate) const LAST: &[u8] = b"GET /request/last HTTP/1.1\r\nHost: here\r\n\r\n";

/// The connection was kept: [`LAST`] is answered.
pub(crate) const KEPT: &str = "kept";
/// The connection ended, as the answer before had said.
pub(crate) const CLOSED: &str = "closed";
/// It ended after a whole answer that had not said so.
pub(crate) const ENDED: &str = "ended";
/// It ended within an answer.
pub(crate) const CUT: &str = "cut";

impl Probe {
    pub(crate) fn new(clause: &'static str, name: impl Into<String>, bytes: Vec<u8>, expect: &str, end: &str) -> Probe {
        let mut expect: Vec<String> = expect.split(" | ").map(str::to_owned).collect();
        if !expect.last().is_some_and(|last| [KEPT, CLOSED, ENDED, CUT].contains(&&**last)) {
            expect.push(end.to_owned());
        }
        Probe { clause, name: name.into(), bytes, expect }
    }

    /// The entries of tables; those that do not say how the connection stands afterwards mean `end`.
    pub(crate) fn all(tables: &[Table], end: &str) -> Vec<Probe> {
        let entries = tables.iter().flat_map(|table| table.iter());
        entries.map(|(clause, name, bytes, expect)| Probe::new(clause, *name, expand(bytes), expect, end)).collect()
    }

    /// What is sent.
    pub(crate) fn input(&self) -> Vec<u8> {
        [&self.bytes, LAST].concat()
    }

    /// For each answer, whether its request is a HEAD.
    fn heads(&self) -> Vec<bool> {
        let lines = self.bytes.split(|&byte| byte == b'\n');
        let requests = lines.filter(|line| line.ends_with(b" HTTP/1.1\r") || line.ends_with(b" HTTP/1.0\r"));
        requests.map(|line| line.starts_with(b"HEAD ")).collect()
    }

    /// Compares what came back, in words.
    pub(crate) fn check(&self, came: &[String], how: &str) -> Result<(), String> {
        let is_right = |(expect, came): (&String, &String)| match expect.split_once(' ') {
            Some((status, words)) if ("400"..="599").contains(&status) => {
                came.starts_with(status) && came.contains(words)
            }
            // How much of the answer had left when the fault was found is a matter of time.
            _ if expect == CUT => came == CUT || came == ENDED,
            _ => expect == came || *came == format!("{expect} close") || is_status(expect) && came.starts_with(expect),
        };
        if self.expect.len() == came.len() && self.expect.iter().zip(came).all(is_right) {
            return Ok(());
        }
        let bytes = self.bytes[..self.bytes.len().min(300)].escape_ascii();
        let Probe { clause, name, expect, .. } = self;
        Err(format!("{clause}: {name}, {how}\n    {bytes}\n    expected {expect:?}\n    but came {came:?}\n"))
    }
}

fn is_status(expect: &str) -> bool {
    expect.len() == 3 && expect.bytes().all(|byte| byte.is_ascii_digit()) && expect >= "400"
}

/// Puts in what a table leaves out.
pub(crate) fn expand(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        bytes.extend_from_slice(before.as_bytes());
        let (inner, after) = after.split_once('}').expect("what begins with a brace ends with one");
        match (inner, inner.rsplit_once('*'), inner.strip_prefix('=')) {
            ("V", ..) => bytes.extend(b" HTTP/1.1\r\nHost: here\r\n"),
            ("G", ..) => bytes.extend(b"GET /request HTTP/1.1\r\nHost: here\r\n"),
            ("P", ..) => bytes.extend(b"POST /request HTTP/1.1\r\nHost: here\r\n"),
            ("C", ..) => bytes.extend(b"POST /request HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (_, Some((piece, count)), _) => bytes.extend(piece.repeat(count.parse().expect("a count")).bytes()),
            (_, _, Some(digits)) => bytes.push(u8::from_str_radix(digits, 16).expect("a byte")),
            _ => panic!("{{{inner}}} stands for nothing"),
        }
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// What has come back so far, in words.
pub(crate) struct Came {
    heads: Vec<bool>,
    answers: usize,
    said_close: bool,
    pub(crate) told: Vec<String>,
}

impl Came {
    pub(crate) fn nothing(probe: &Probe) -> Came {
        Came { heads: probe.heads(), answers: 0, said_close: false, told: Vec::new() }
    }

    /// Whether the next answer is to a HEAD.
    pub(crate) fn to_head(&self) -> bool {
        self.heads.get(self.answers).copied().unwrap_or_default()
    }

    /// Takes what was read next: an answer, none since the connection has ended, or a part of one. False when nothing
    /// more is to come.
    pub(crate) fn take(&mut self, read: Result<Option<Answer>, String>) -> bool {
        let end = match read {
            Ok(Some(answer)) => {
                self.answers += usize::from(answer.status >= 200);
                let told = told(&answer);
                if let Err(why) = is_proper(&answer) {
                    why
                } else if self.said_close {
                    format!("after a close: {told}")
                } else if told == "GET /request/last" {
                    KEPT.to_owned()
                } else {
                    self.told.push(told);
                    self.said_close = answer.closes();
                    return true;
                }
            }
            Ok(None) if self.said_close => CLOSED.to_owned(),
            Ok(None) => ENDED.to_owned(),
            Err(why) if why.contains("ended within") || why.contains("reset") => CUT.to_owned(),
            Err(why) => why,
        };
        self.told.push(end);
        false
    }
}

/// How an answer stands in a table. What `/request` tells: the request line without the usual version, field lines without
/// the usual host and framing, and the body, parted by `; `. Of others: the status and what matters with it.
fn told(answer: &Answer) -> String {
    let mut told = match answer.all("content-type")[..] {
        ["message/http"] if !answer.body.is_empty() => request(&answer.body),
        _ => other(answer),
    };
    match answer.framing {
        Framing::Chunked => told += " in chunks",
        Framing::Close => told += " to the end",
        Framing::None | Framing::Length => {}
    }
    for option in answer.all("connection") {
        told = format!("{told} {option}");
    }
    told
}

fn request(body: &[u8]) -> String {
    let end = body.windows(4).position(|window| window == b"\r\n\r\n").map_or(body.len(), |at| at + 2);
    let (head, body) = body.split_at(end);
    let lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let shown = lines.filter(|line| {
        !line.is_empty()
            && *line != b"Host: here"
            && !line.starts_with(b"Content-Length: ")
            && *line != b"Transfer-Encoding: chunked"
    });
    let shown: Vec<String> = shown.map(|line| line.escape_ascii().to_string().replace("\\'", "'")).collect();
    let mut told = shown.join("; ").replacen(" HTTP/1.1", "", 1);
    match body.strip_prefix(b"\r\n").unwrap_or_default() {
        [] => {}
        body if body.len() > 100 => told += &format!("; {} bytes", body.len()),
        body => told += &format!("; '{}'", body.escape_ascii()),
    }
    told
}

fn other(answer: &Answer) -> String {
    let mut told = answer.status.to_string();
    for name in ["allow", "upgrade"] {
        for value in answer.all(name) {
            told += &format!(" {name}={value}");
        }
    }
    match &answer.body[..] {
        [] => {
            for length in answer.all("content-length") {
                told += &format!(" length={length}");
            }
        }
        body if answer.status < 400 && body.len() > 100 => told += &format!(" {} bytes", body.len()),
        body => told += &format!(" {}", body.escape_ascii()),
    }
    told
}

/// What every answer must have, whatever it answers: one date in the form that is sent, and one server.
fn is_proper(answer: &Answer) -> Result<(), String> {
    if answer.status < 200 {
        return Ok(());
    }
    match (&answer.all("date")[..], answer.all("server").len()) {
        ([date], 1) if date.len() == 29 && date.ends_with(" GMT") && date[3..].starts_with(", ") => Ok(()),
        _ => Err(format!("RFC 9110 §6.6.1: no date, or not one: {answer:?}")),
    }
}

/// How the bytes are cut into sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    /// One by one; of a long input, a thousandth at a time.
    Bytes,
    /// After each CR and after each LF, where most state machines have their seams.
    LineEnds,
    /// By chance, from a seed.
    Random(u64),
    /// Once, here.
    At(usize),
    /// Once, behind the first head.
    AfterHead,
}

impl Cut {
    pub(crate) fn pieces(self, input: &[u8]) -> Vec<&[u8]> {
        match self {
            Cut::Whole => vec![input],
            Cut::Bytes => input.chunks(input.len().div_ceil(1000)).collect(),
            Cut::LineEnds => input.split_inclusive(|&byte| byte == b'\r' || byte == b'\n').collect(),
            Cut::Random(seed) => random_pieces(input, seed),
            Cut::AfterHead => {
                let end = input.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
                Cut::At(end).pieces(input)
            }
            Cut::At(at) => vec![&input[..at], &input[at..]],
        }
    }
}

/// Splitmix64: enough to cut by chance, the same twice.
fn random_pieces(mut input: &[u8], mut seed: u64) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !input.is_empty() {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // A long input in few pieces.
        let most = 40.max(input.len() / 8) as u64;
        let (piece, rest) = input.split_at((1 + mixed % most).min(input.len() as u64) as usize);
        pieces.push(piece);
        input = rest;
    }
    pieces
}
