//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): what a proxy says before the first byte of its
//! client, about whose connection this is.
//!
//! The one idea: a header is short and comes first, so nothing is kept between reads. [`parse`] looks at all that has come
//! so far and says whether it is a header, may become one, or is none.
//!
//! Anyone who can connect can write such a header. It is to be read only where nobody but a proxy that one trusts can.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a header of version 2, addresses and all that follows them; longer ones are refused. Proxies say a few hundred,
/// a client's certificate named among them; and it fits one receive buffer.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Bytes of a line of version 1, its CR LF included: section 2.1.
pub const LINE_BYTES_MAX: usize = 107;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is; `None` if that is the proxy's own (`LOCAL`), is not known to it (`UNKNOWN`, `UNSPEC`), or is no
    /// address of the Internet's (a Unix socket). Then the connection's own ends stand.
    pub ends: Option<Ends>,
    /// The header's length: what the client says begins here.
    pub bytes: usize,
}

/// The two ends of the connection that a client has with its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// They begin otherwise.
    Signature,
    /// A version other than 2 after the signature of version 2.
    Version,
    /// Neither `LOCAL` nor `PROXY`.
    Command,
    /// An address family or a transport that there is not, or not over a stream: datagrams.
    Family,
    /// Longer than admitted.
    TooLong,
    /// A line of version 1 that is malformed, or an address or a port in it.
    Line,
    /// Too short for the addresses that it announces.
    Addresses,
    /// What follows the addresses is malformed.
    Tlv,
    /// The checksum that it carries is not its own.
    Checksum,
}

/// Reads the header at the front of `input`; `None` if it may be one and more is to come.
///
/// Of what may follow the addresses of version 2 only the checksum is looked at (`PP2_TYPE_CRC32C`); the rest is skipped.
///
/// ```
/// use shardwise_proto::proxy::parse;
///
/// let input = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n";
/// let header = parse(input).unwrap().expect("all of it is there");
/// assert_eq!(header.ends.unwrap().source, "192.0.2.7:56324".parse().unwrap());
/// assert!(input[header.bytes..].starts_with(b"GET /"));
/// assert_eq!(parse(&input[..20]), Ok(None));
/// ```
pub fn parse(input: &[u8]) -> Result<Option<Header>, Error> {
    match input.first() {
        None => Ok(None),
        Some(b'P') => line(input),
        Some(_) => binary(input),
    }
}

// ---- version 1 -----------------------------------------------------------------------------------------------------------

const LINE_BEGIN: &[u8] = b"PROXY ";

fn line(input: &[u8]) -> Result<Option<Header>, Error> {
    if !begins(input, LINE_BEGIN) {
        return Err(Error::Signature);
    }
    let front = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = front.windows(2).position(|pair| pair == b"\r\n") else {
        return if front.len() == LINE_BYTES_MAX { Err(Error::TooLong) } else { Ok(None) };
    };
    let text = front.get(LINE_BEGIN.len()..end).and_then(|text| std::str::from_utf8(text).ok()).ok_or(Error::Line)?;
    let (family, rest) = text.split_once(' ').unwrap_or((text, ""));
    let ends = match family {
        // Whatever follows is to be ignored.
        "UNKNOWN" => None,
        "TCP4" => Some(line_ends::<Ipv4Addr>(rest)?),
        "TCP6" => Some(line_ends::<Ipv6Addr>(rest)?),
        _ => return Err(Error::Line),
    };
    Ok(Some(Header { ends, bytes: end + 2 }))
}

/// Two addresses, then their ports, with one space between any two.
fn line_ends<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<Ends, Error> {
    let mut words = text.split(' ');
    let mut next = || words.next().ok_or(Error::Line);
    let (source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?);
    if words.next().is_some() {
        return Err(Error::Line);
    }
    let end = |address: &str, port: &str| {
        let address: A = address.parse().map_err(|_| Error::Line)?;
        // Not as lenient as `parse`, which takes a sign; and a number has no zeros in front.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        let port = port.parse().ok().filter(|_| is_number).ok_or(Error::Line)?;
        Ok(SocketAddr::new(address.into(), port))
    };
    Ok(Ends { source: end(source, source_port)?, destination: end(destination, destination_port)? })
}

// ---- version 2 -----------------------------------------------------------------------------------------------------------

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;

const TLV_CRC32C: u8 = 0x03;

fn binary(input: &[u8]) -> Result<Option<Header>, Error> {
    if !begins(input, SIGNATURE) {
        return Err(Error::Signature);
    }
    let Some(&[command, family, high, low]) = input.get(SIGNATURE.len()..FIXED_BYTES) else { return Ok(None) };
    let bytes = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err(Error::Version);
    }
    // `None` for what says nothing that we could use.
    let family = match (command & 0xf, family) {
        (0, _) | (1, 0x00) => None,
        (1, 0x11) => Some(Family::V4),
        (1, 0x21) => Some(Family::V6),
        (1, 0x31) => Some(Family::Unix),
        (1, _) => return Err(Error::Family),
        _ => return Err(Error::Command),
    };
    if bytes > HEADER_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let Some(header) = input.get(..bytes) else { return Ok(None) };
    let Some(family) = family else { return Ok(Some(Header { ends: None, bytes })) };
    let said = &header[FIXED_BYTES..];
    let (ends, rest) = match family {
        Family::V4 => {
            let (&[addresses @ .., s0, s1, d0, d1], rest) = said.split_first_chunk::<12>().ok_or(Error::Addresses)?;
            let (source, destination) = halves::<4>(&addresses);
            (Some(ends(source, destination, [s0, s1], [d0, d1])), rest)
        }
        Family::V6 => {
            let (&[addresses @ .., s0, s1, d0, d1], rest) = said.split_first_chunk::<36>().ok_or(Error::Addresses)?;
            let (source, destination) = halves::<16>(&addresses);
            (Some(ends(source, destination, [s0, s1], [d0, d1])), rest)
        }
        Family::Unix => (None, said.get(216..).ok_or(Error::Addresses)?),
    };
    check_rest(header, rest)?;
    Ok(Some(Header { ends, bytes }))
}

enum Family {
    V4,
    V6,
    Unix,
}

/// The first `N` bytes and the `N` after them.
fn halves<const N: usize>(bytes: &[u8]) -> ([u8; N], [u8; N]) {
    (std::array::from_fn(|index| bytes[index]), std::array::from_fn(|index| bytes[N + index]))
}

fn ends<A: Into<IpAddr>>(source: A, destination: A, source_port: [u8; 2], destination_port: [u8; 2]) -> Ends {
    Ends {
        source: SocketAddr::new(source.into(), u16::from_be_bytes(source_port)),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes(destination_port)),
    }
}

/// Walks over what follows the addresses: type, length, value, until the header's end.
fn check_rest(header: &[u8], mut rest: &[u8]) -> Result<(), Error> {
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
        let bytes = usize::from(u16::from_be_bytes([high, low]));
        let (value, next) = after.split_at_checked(bytes).ok_or(Error::Tlv)?;
        if kind == TLV_CRC32C {
            let sent: [u8; 4] = value.try_into().map_err(|_| Error::Tlv)?;
            let at = header.len() - after.len();
            // Over the whole header, with zeros in the checksum's place.
            let sum = crc32c([&header[..at], &[0; 4], next]);
            if sum != u32::from_be_bytes(sent) {
                return Err(Error::Checksum);
            }
        }
        rest = next;
    }
    if rest.is_empty() { Ok(()) } else { Err(Error::Tlv) }
}

/// Bit by bit: a header is short, and few carry one.
fn crc32c(parts: [&[u8]; 3]) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum: u32, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

/// Whether `input` begins so, as far as it goes.
fn begins(input: &[u8], begin: &[u8]) -> bool {
    input.iter().zip(begin).all(|(byte, expect)| byte == expect)
}

impl Error {
    /// What is wrong, for a log.
    pub const fn text(self) -> &'static str {
        match self {
            Error::Signature => "it does not begin with a PROXY header",
            Error::Version => "the PROXY header is of a version that there is not",
            Error::Command => "the PROXY header has a command that there is not",
            Error::Family => "the PROXY header is not of a stream",
            Error::TooLong => "the PROXY header is too long",
            Error::Line => "the PROXY line is malformed",
            Error::Addresses => "the PROXY header is too short for its addresses",
            Error::Tlv => "what follows the PROXY header's addresses is malformed",
            Error::Checksum => "the PROXY header's checksum is wrong",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
