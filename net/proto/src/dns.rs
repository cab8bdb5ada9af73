//! DNS (RFC 1035), as far as one asks who wants to connect somewhere: questions, and the records that answer them.
//!
//! The one idea: an answer is read against its question. One that is not ours, by its number or by what it answers, is told
//! apart from one that cannot be read: the former is passed over, since anybody may send it. And nothing of an answer is
//! believed that does not hang together with the question, from alias to alias.
//!
//! What would be had of a library is mostly other than this: zones, signatures, transports and runtimes. This is the part that
//! is needed, with nothing beside it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a name as it is sent: RFC 1035 section 2.3.4.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes of one label of it.
pub const LABEL_BYTES_MAX: usize = 63;

/// Bytes of an answer that is said to fit one datagram: no fragment on any usual way (DNS flag day 2020).
pub const DATAGRAM_BYTES_MAX: u16 = 1232;

/// Records of one answer that are looked at; a name with more addresses is served as well by these.
pub const RECORDS_MAX: usize = 128;

/// Aliases that are followed one after the other. Real chains have two or three.
pub const ALIASES_MAX: usize = 8;

/// A name, in lower case, as it is sent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// What is asked for of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Addresses of IPv4 (`A`).
    V4,
    /// Addresses of IPv6 (`AAAA`, RFC 3596).
    V6,
    /// Where a service is (`SRV`, RFC 2782).
    Service,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// Another name of the same (`CNAME`).
    Alias(Name),
    /// A service.
    Service {
        /// Those of the lowest are tried first.
        priority: u16,
        /// Among these, how often.
        weight: u16,
        /// Its port.
        port: u16,
        /// The host.
        target: Name,
    },
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: Name,
    /// How many seconds it holds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub code: Code,
    /// There is more of it, which does not fit a datagram.
    pub is_truncated: bool,
    /// Its records, those of other kinds left out.
    pub records: Vec<Record>,
    /// How many seconds it holds that there is nothing (RFC 2308 section 5), if the answer says.
    pub nothing_ttl: Option<u32>,
}

/// How a question went: what is told apart of RFC 1035 section 4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Without error.
    Fine,
    /// There is no such name (`NXDOMAIN`).
    NoName,
    /// The server does not understand what was sent (`FORMERR`, `NOTIMP`): it may be one that knows no extensions.
    NotUnderstood,
    /// It cannot or will not say (`SERVFAIL`, `REFUSED` and the rest).
    Failed(u8),
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// What was asked for, and how many seconds it holds.
    Some(Vec<Data>, u32),
    /// It goes by this other name, of which the answer says nothing.
    Elsewhere(Name, u32),
    /// There is nothing, and for how many seconds that holds, if that is said.
    Nothing(Option<u32>),
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It belongs to another question, or is none: whoever sent it need not be the server.
    NotOurs,
    /// It answers our question, and cannot be read.
    Malformed,
}

impl Name {
    /// A name as people write it, with or without the dot at its end. `None` if it is none: one that is empty, or holds an
    /// empty label, one too long, or a character that is not visible ASCII (what is not is written in Punycode first).
    pub fn new(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut bytes = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
            if !fits || !label.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        bytes.push(0);
        (bytes.len() <= NAME_BYTES_MAX).then(|| Name(bytes.into()))
    }

    /// This name within that domain. `None` if it is too long.
    pub fn within(&self, domain: &Name) -> Option<Name> {
        let bytes = [&self.0[..self.0.len() - 1], &domain.0].concat();
        (bytes.len() <= NAME_BYTES_MAX).then(|| Name(bytes.into()))
    }

    /// The name in the message that begins there, and where it ends there.
    fn read(message: &[u8], begin: usize) -> Option<(Name, usize)> {
        let (mut bytes, mut at, mut end, mut before) = (Vec::new(), begin, None, begin);
        loop {
            let length = *message.get(at)?;
            match length {
                0 => break,
                1..=63 => {
                    let label = message.get(at..at + 1 + usize::from(length))?;
                    bytes.extend(label.iter().map(u8::to_ascii_lowercase));
                    at += label.len();
                    if bytes.len() >= NAME_BYTES_MAX {
                        return None;
                    }
                }
                0xc0.. => {
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, *message.get(at + 1)?]));
                    end = end.or(Some(at + 2));
                    // Always further to the front: so it comes to an end.
                    if to >= before {
                        return None;
                    }
                    (at, before) = (to, to);
                }
                _ => return None,
            }
        }
        bytes.push(0);
        Some((Name(bytes.into()), end.unwrap_or(at + 1)))
    }
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Kind::V4 => 1,
            Kind::V6 => 28,
            Kind::Service => 33,
        }
    }
}

/// A question of this number, asking a server to find out what it does not know. With `extended` it says that answers of
/// [`DATAGRAM_BYTES_MAX`] fit a datagram (RFC 6891).
///
/// ```
/// use shardwise_proto::dns::{Code, Found, Kind, Name, question, read};
///
/// let name = Name::new("a.example").unwrap();
/// let asked = question(7, &name, Kind::V4, false);
/// let mut answer = asked.clone();
/// (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
/// answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07");
/// let answer = read(&answer, 7, &name, Kind::V4).unwrap();
/// assert_eq!(answer.code, Code::Fine);
/// let Found::Some(data, 60) = answer.find(&name, Kind::V4) else { panic!() };
/// assert_eq!(data.len(), 1);
/// ```
pub fn question(number: u16, name: &Name, kind: Kind, extended: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + name.0.len() + 4 + OPT_BYTES);
    message.extend(number.to_be_bytes());
    // Recursion desired; one question, and one additional record if any.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(extended)]);
    message.extend(&name.0);
    message.extend(kind.number().to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    if extended {
        message.push(0);
        message.extend(OPT.to_be_bytes());
        message.extend(DATAGRAM_BYTES_MAX.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

/// Reads an answer to such a question.
pub fn read(message: &[u8], number: u16, name: &Name, kind: Kind) -> Result<Answer, Error> {
    let header = message.get(..HEADER_BYTES).ok_or(Error::NotOurs)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (is_answer, opcode) = (header[2] & 0x80 != 0, header[2] >> 3 & 15);
    if word(0) != number || !is_answer || opcode != 0 || word(4) != 1 {
        return Err(Error::NotOurs);
    }
    let (asked, end) = Name::read(message, HEADER_BYTES).ok_or(Error::NotOurs)?;
    let rest = message.get(end..end + 4).ok_or(Error::NotOurs)?;
    if asked != *name || rest[..2] != kind.number().to_be_bytes() || rest[2..] != INTERNET.to_be_bytes() {
        return Err(Error::NotOurs);
    }
    let code = match header[3] & 15 {
        0 => Code::Fine,
        1 | 4 => Code::NotUnderstood,
        3 => Code::NoName,
        other => Code::Failed(other),
    };
    let is_truncated = header[2] & 2 != 0;
    let mut answer = Answer { code, is_truncated, records: Vec::new(), nothing_ttl: None };
    // Where it is cut there is no end of what it lacks, and it is asked for again.
    if !is_truncated {
        let counts = (usize::from(word(6)), usize::from(word(8)));
        answer.sections(message, end + 4, counts).ok_or(Error::Malformed)?;
    }
    Ok(answer)
}

impl Answer {
    /// Reads so many records of the answer itself, then so many of who is responsible. What else there is, is not for us.
    fn sections(&mut self, message: &[u8], mut at: usize, (answers, authorities): (usize, usize)) -> Option<()> {
        for count in 0..answers.min(RECORDS_MAX) + if answers <= RECORDS_MAX { authorities } else { 0 } {
            let (name, end) = Name::read(message, at)?;
            let fixed = message.get(end..end + 10)?;
            let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
            let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            // RFC 2181 section 8.
            let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
            let begin = end + 10;
            at = begin + usize::from(word(8));
            let data = message.get(begin..at)?;
            if word(2) != INTERNET {
                continue;
            }
            if count >= answers {
                if word(0) == SOA {
                    let minimum = data.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))?;
                    self.nothing_ttl.get_or_insert(ttl.min(minimum));
                }
                continue;
            }
            // A name in it may point to the front of the message.
            let name_at = |at: usize| Name::read(message, at).filter(|(_, end)| *end == begin + data.len());
            let data = match word(0) {
                A => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
                AAAA => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
                CNAME => Data::Alias(name_at(begin)?.0),
                SRV => {
                    let numbers = data.first_chunk::<6>()?;
                    let number = |at: usize| u16::from_be_bytes([numbers[at], numbers[at + 1]]);
                    let (target, _) = name_at(begin + 6)?;
                    Data::Service { priority: number(0), weight: number(2), port: number(4), target }
                }
                _ => continue,
            };
            self.records.push(Record { name, ttl, data });
        }
        Some(())
    }

    /// What is said of a name, by whichever other names it goes.
    pub fn find(&self, name: &Name, kind: Kind) -> Found {
        let (mut name, mut held, mut is_elsewhere) = (name, u32::MAX, false);
        for _ in 0..=ALIASES_MAX {
            let of_it = || self.records.iter().filter(|record| record.name == *name);
            let asked = || of_it().filter(|record| record.data.is_of(kind));
            if let Some(least) = asked().map(|record| record.ttl).min() {
                return Found::Some(asked().map(|record| record.data.clone()).collect(), held.min(least));
            }
            let alias = of_it().find_map(|record| match &record.data {
                Data::Alias(alias) => Some((alias, record.ttl)),
                _ => None,
            });
            let Some((alias, ttl)) = alias else { break };
            (name, held, is_elsewhere) = (alias, held.min(ttl), true);
        }
        // Who is responsible says so where there is nothing behind the aliases either.
        match self.nothing_ttl {
            None if is_elsewhere && self.code == Code::Fine => Found::Elsewhere(name.clone(), held),
            ttl => Found::Nothing(ttl.map(|ttl| ttl.min(held))),
        }
    }
}

impl Data {
    fn is_of(&self, kind: Kind) -> bool {
        match self {
            Data::Address(IpAddr::V4(_)) => kind == Kind::V4,
            Data::Address(IpAddr::V6(_)) => kind == Kind::V6,
            Data::Service { .. } => kind == Kind::Service,
            Data::Alias(_) => false,
        }
    }
}

/// As people write it; what would be read otherwise than it is meant, as RFC 1035 section 5.1 has it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        while let Some((length, after)) = rest.split_first()
            && *length > 0
        {
            let (label, after) = after.split_at(usize::from(*length));
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    _ if byte.is_ascii_graphic() => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            if after.len() > 1 {
                f.write_str(".")?;
            }
            rest = after;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotOurs => "it answers another question",
            Error::Malformed => "it cannot be read",
        })
    }
}

impl std::error::Error for Error {}

const HEADER_BYTES: usize = 12;
const OPT_BYTES: usize = 11;
const INTERNET: u16 = 1;
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const OPT: u16 = 41;

#[cfg(test)]
mod tests;
