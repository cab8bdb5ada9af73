//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and what permessage-deflate says in it (RFC 7692 section 7.1).
//!
//! The one idea: what two ends agree on is two [`Terms`], one for each direction, seen from here. Which of the four
//! parameters is whose, and what may be left out, is known in this file only.

use super::deflate::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use super::limits::{EXTENSION_BYTES_MAX, OFFER_COUNT_MAX};
use crate::scan::{self, TOKEN};

/// What an end wishes of compression.
///
/// By default no context is kept between messages: keeping one makes small messages of the same kind a good deal shorter,
/// and costs every connection, idle or not, 312 KiB for sending and 43 for receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Whether the context is kept for what we send.
    pub keeps_sending: bool,
    /// Whether the context is kept for what we receive.
    pub keeps_receiving: bool,
    /// The peer's window has two to the power of this bytes at the most, if the peer can agree to that: 8 to 15. What is
    /// kept for receiving is that and 11 KiB.
    pub receiving_window_bits_max: u8,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression { keeps_sending: false, keeps_receiving: false, receiving_window_bits_max: WINDOW_BITS_MAX }
    }
}

/// What was agreed on about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// For what we send.
    pub sending: Terms,
    /// For what we receive.
    pub receiving: Terms,
}

/// What holds for one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether a message may refer to those before it.
    pub takeover: bool,
    /// A message refers no further back than two to the power of this: 8 to 15.
    pub window_bits: u8,
}

/// A field of this name does not follow the grammar, or has too many members.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// One member of the list: an extension with its parameters, as far as they are permessage-deflate's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Member {
    is_deflate: bool,
    /// Whether a parameter is unknown, repeated, or has a value that it cannot have.
    is_invalid: bool,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Bits>,
}

/// The value of `client_max_window_bits`, which may go without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bits(Option<u8>);

/// Judges all offers of a client, and says what is agreed on: the first that can be taken, or nothing (RFC 7692
/// section 5.1).
pub(super) fn accept<'b>(
    fields: impl Iterator<Item = &'b [u8]>,
    wishes: Option<&Compression>,
) -> Result<Option<(Agreed, Line)>, Malformed> {
    let mut accepted = None;
    each(fields, |member| {
        if let (None, Some(wishes), true) = (accepted, wishes, member.is_deflate && !member.is_invalid) {
            accepted = Some((member, *wishes));
        }
    })?;
    let Some((offer, wishes)) = accepted else { return Ok(None) };
    let wished = wishes.receiving_window_bits_max.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
    let answer = Member {
        server_no_context_takeover: offer.server_no_context_takeover || !wishes.keeps_sending,
        client_no_context_takeover: offer.client_no_context_takeover || !wishes.keeps_receiving,
        server_max_window_bits: offer.server_max_window_bits,
        // Section 7.1.2.2: only to one who has offered it.
        client_max_window_bits: match offer.client_max_window_bits {
            Some(Bits(offered)) if offered.unwrap_or(WINDOW_BITS_MAX).min(wished) < WINDOW_BITS_MAX => {
                Some(Bits(Some(offered.unwrap_or(WINDOW_BITS_MAX).min(wished))))
            }
            _ => None,
        },
        ..Member::default()
    };
    let (server, client) = answer.terms();
    Ok(Some((Agreed { sending: server, receiving: client }, answer.line())))
}

/// The offer of a client.
pub(super) fn offer(wishes: &Compression) -> Line {
    let bits = wishes.receiving_window_bits_max.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
    let offer = Member {
        server_no_context_takeover: !wishes.keeps_receiving,
        client_no_context_takeover: !wishes.keeps_sending,
        server_max_window_bits: (bits < WINDOW_BITS_MAX).then_some(bits),
        client_max_window_bits: Some(Bits(None)),
        ..Member::default()
    };
    offer.line()
}

/// Judges the answer to [`offer`]: nothing may be in it that was not offered (RFC 7692 section 7.1).
pub(super) fn judge<'b>(
    fields: impl Iterator<Item = &'b [u8]>,
    wishes: Option<&Compression>,
) -> Result<Option<Agreed>, Malformed> {
    let (mut answer, mut count) = (Member::default(), 0);
    each(fields, |member| {
        answer = member;
        count += 1;
    })?;
    let wishes = match (count, wishes) {
        (0, _) => return Ok(None),
        (1, Some(wishes)) if answer.is_deflate && !answer.is_invalid => wishes,
        _ => return Err(Malformed),
    };
    let bits = wishes.receiving_window_bits_max.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
    // What was asked for must be granted; a value of the client's is not left out in an answer.
    if !wishes.keeps_receiving && !answer.server_no_context_takeover
        || answer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX) > bits
        || answer.client_max_window_bits == Some(Bits(None))
    {
        return Err(Malformed);
    }
    let (server, client) = answer.terms();
    let sending = Terms { takeover: client.takeover && wishes.keeps_sending, ..client };
    Ok(Some(Agreed { sending, receiving: server }))
}

impl Member {
    /// Of an answer: the server's and the client's.
    fn terms(&self) -> (Terms, Terms) {
        let client_bits = self.client_max_window_bits.and_then(|Bits(bits)| bits);
        let terms = |no_takeover: bool, bits: Option<u8>| Terms {
            takeover: !no_takeover,
            window_bits: bits.unwrap_or(WINDOW_BITS_MAX),
        };
        (
            terms(self.server_no_context_takeover, self.server_max_window_bits),
            terms(self.client_no_context_takeover, client_bits),
        )
    }

    fn line(&self) -> Line {
        let mut line = Line { bytes: [0; EXTENSION_BYTES_MAX], count: 0 };
        line.put(b"permessage-deflate");
        if self.server_no_context_takeover {
            line.put(b"; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            line.put(b"; client_no_context_takeover");
        }
        if let Some(bits) = self.server_max_window_bits {
            line.put(b"; server_max_window_bits=");
            line.bits(bits);
        }
        if let Some(Bits(bits)) = self.client_max_window_bits {
            line.put(b"; client_max_window_bits");
            if let Some(bits) = bits {
                line.put(b"=");
                line.bits(bits);
            }
        }
        line
    }

    fn parameter(&mut self, name: &[u8], value: Option<Value<'_>>) {
        let no_value = value.is_none();
        let bits = value.and_then(|value| value.bits());
        // RFC 7692 section 7.1: an offer is declined for an unknown parameter, a repeated one, or a value out of range.
        self.is_invalid |= match name {
            b"server_no_context_takeover" => std::mem::replace(&mut self.server_no_context_takeover, true) || !no_value,
            b"client_no_context_takeover" => std::mem::replace(&mut self.client_no_context_takeover, true) || !no_value,
            b"server_max_window_bits" => {
                self.server_max_window_bits.replace(bits.unwrap_or(0)).is_some() || bits.is_none()
            }
            b"client_max_window_bits" => {
                self.client_max_window_bits.replace(Bits(bits)).is_some() || (bits.is_none() && !no_value)
            }
            _ => true,
        };
    }
}

/// The value of a field, made here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    bytes: [u8; EXTENSION_BYTES_MAX],
    count: usize,
}

impl Line {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }

    /// All four parameters have room.
    fn put(&mut self, text: &[u8]) {
        self.bytes[self.count..self.count + text.len()].copy_from_slice(text);
        self.count += text.len();
    }

    fn bits(&mut self, bits: u8) {
        if bits >= 10 {
            self.put(b"1");
        }
        self.put(&[b'0' + bits % 10]);
    }
}

/// `1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) )`, over all fields of the name. Empty members are read
/// over, as RFC 9110 section 5.6.1.2 has it.
fn each<'b>(fields: impl Iterator<Item = &'b [u8]>, mut member: impl FnMut(Member)) -> Result<(), Malformed> {
    let mut count = 0;
    for field in fields {
        let mut scanner = Scanner { rest: field };
        loop {
            count += 1;
            if count > OFFER_COUNT_MAX {
                return Err(Malformed);
            }
            if let Some(name) = scanner.token() {
                member(scanner.member(name)?);
            }
            if scanner.rest.is_empty() {
                break;
            }
            if !scanner.eat(b',') {
                return Err(Malformed);
            }
        }
    }
    Ok(())
}

struct Scanner<'b> {
    rest: &'b [u8],
}

/// The value of a parameter. In quotes it may have backslashes before its characters.
#[derive(Clone, Copy)]
struct Value<'b>(&'b [u8]);

impl<'b> Scanner<'b> {
    fn member(&mut self, name: &[u8]) -> Result<Member, Malformed> {
        let mut member = Member { is_deflate: name == b"permessage-deflate", ..Member::default() };
        while self.eat(b';') {
            let name = self.token().ok_or(Malformed)?;
            let value = if self.eat(b'=') { Some(self.value().ok_or(Malformed)?) } else { None };
            member.parameter(name, value);
        }
        Ok(member)
    }

    /// A token, and the white space around it.
    fn token(&mut self) -> Option<&'b [u8]> {
        self.rest = scan::trim(self.rest);
        let (token, rest) = self.rest.split_at(scan::end_of(TOKEN, self.rest, 0));
        self.rest = scan::trim(rest);
        (!token.is_empty()).then_some(token)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let rest = scan::trim(self.rest).strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A token, or what is one without its quotes and backslashes (RFC 6455 section 9.1).
    fn value(&mut self) -> Option<Value<'b>> {
        let Some(quoted) = scan::trim(self.rest).strip_prefix(b"\"") else { return self.token().map(Value) };
        let mut at = 0;
        loop {
            match quoted.get(at..)? {
                [b'"', rest @ ..] => {
                    self.rest = scan::trim(rest);
                    return (at > 0).then_some(Value(&quoted[..at]));
                }
                [b'\\', byte, ..] if scan::is(TOKEN, *byte) => at += 2,
                [byte, ..] if scan::is(TOKEN, *byte) => at += 1,
                _ => return None,
            }
        }
    }
}

impl Value<'_> {
    /// A size of window: a decimal number from 8 to 15 without leading zeros.
    fn bits(self) -> Option<u8> {
        // A backslash is no token character: whatever it stands before is itself.
        let mut digits = self.0.iter().filter(|byte| **byte != b'\\');
        match (digits.next()?, digits.next(), digits.next()) {
            (digit @ b'8'..=b'9', None, None) => Some(digit - b'0'),
            (b'1', Some(digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}
