//! What a client might send, mutated, before our engine and before the server of the crate `h2`: where one takes a request
//! that the other refuses, or another request, there is a reason.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use proto::h2::{Code, Error, Limits, Role};
use proto::hpack::TABLE_BYTES;

use super::end::End;
use super::frame::{FrameHead, PREFACE, flag, kind};
use super::message::Message;
use super::theirs::Theirs;
use crate::hpack::plain::{Decoder, Field};

/// Requests that both take are the same; why only one takes a request is in the lists below.
pub fn h2_bytes_vs_h2(input: &[u8]) {
    // Windows that grow are not for both, and what RFC 8441 adds is the same as another request to us.
    let limits =
        Limits { connection_window: 65_535, connection_window_max: 65_535, connects: false, ..Limits::default() };
    let mut theirs = Theirs::plain_server(&limits);
    let mut ours = End::new(Role::Server, limits);
    ours.messages = Some(BTreeMap::new());
    ours.say_control();
    // At which frame they gave up, and whether we saw a mistake there.
    let mut given_up = None;
    for frame in frames(input) {
        let mistakes = mistakes(&ours);
        let mut bytes = frame;
        while !ours.is_over && ours.receive(std::mem::take(&mut bytes)) {}
        let ids: Vec<u32> = ours.exchanges.keys().copied().collect();
        ids.into_iter().for_each(|id| ours.consume(id, usize::MAX));
        ours.say_control();
        ours.wire.clear();
        theirs.take(frame);
        theirs.poll();
        let ids: Vec<u32> = theirs.streams.keys().copied().collect();
        ids.into_iter().for_each(|id| theirs.consume(id, usize::MAX));
        theirs.give();
        if theirs.ended.is_some() && given_up.is_none() {
            given_up = Some((FrameHead::read(frame), self::mistakes(&ours) > mistakes));
        }
    }
    let (sent, is_garbled) = blocks(input);
    let heard = ours.messages.take().expect("they are noted");
    let is_taken = |message: &&Message| message.has_ended;
    let ids = heard.keys().chain(theirs.streams.keys()).copied();
    for id in ids.collect::<std::collections::BTreeSet<u32>>() {
        let one = heard.get(&id).filter(is_taken);
        let other = theirs.streams.get(&id).map(|stream| &stream.received).filter(is_taken);
        match (one, other) {
            (Some(one), Some(other)) => assert_eq!(plain(one), plain(other), "{id} is to us, and to them"),
            (Some(one), None) if unheld(one) || is_cut(input, id) => {}
            (Some(one), None) => match given_up {
                Some((frame, is_seen)) => {
                    // It may be seen later, when a head is whole, or have been, and then is not looked at again.
                    let line = frame.and_then(|frame| ours.witness.streams.get(&frame.stream));
                    let is_seen = is_seen || line.is_some_and(|line| line.message.reset.is_some());
                    assert!(
                        is_seen || ours_alone(frame, &theirs.ended),
                        "{id} is taken, and they gave up at {frame:?}: {:?}: {one:?}",
                        theirs.ended
                    );
                }
                None => panic!("{id} is taken, and not by them: {one:?}"),
            },
            (None, Some(other)) => {
                let is_reset = ours.witness.streams.get(&id).is_some_and(|line| line.message.reset.is_some());
                match ours.error {
                    _ if is_reset => {
                        let is_malformed = sent.get(&id).is_some_and(|blocks| is_malformed(blocks));
                        assert!(is_malformed, "{id} is refused, and to them {other:?}");
                    }
                    // RFC 7541 section 4.2: they take a change of the table's size anywhere in a block.
                    Some(error) if error.code == Code::COMPRESSION_ERROR => assert!(is_garbled, "by them {other:?}"),
                    Some(error) => assert!(refused_alone(error), "{error}, and by them {other:?}"),
                    None => panic!("{id} is not taken, and by them {other:?}"),
                }
            }
            (None, None) => {}
        }
    }
}

/// The preface, frame by frame, and what is left.
fn frames(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut preface) = (input, PREFACE.len());
    std::iter::from_fn(move || {
        let count = match std::mem::take(&mut preface) {
            0 => FrameHead::read(rest).map_or(rest.len(), |head| FrameHead::BYTES + head.length),
            preface => preface,
        };
        let (frame, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        (!frame.is_empty()).then_some(frame)
    })
}

/// How many mistakes of the peer's we have seen.
fn mistakes(ours: &End) -> usize {
    let resets = ours.witness.streams.values().filter(|line| line.message.reset.is_some()).count();
    resets + usize::from(ours.is_over)
}

/// What both make of a request.
fn plain(message: &Message) -> (Vec<Field>, usize, u64, Vec<Field>) {
    let mut head = message.heads[0].clone();
    let is_connect = head.contains(&(b":method".to_vec(), b"CONNECT".to_vec()));
    let has_authority = head.iter().any(|(name, value)| name == b":authority" && !value.is_empty());
    head.retain(|(name, value)| match &name[..] {
        // RFC 9113 section 8.3.1: ours is the authority then.
        b":authority" => !value.is_empty(),
        b"host" => !has_authority,
        // Section 8.5: there are none.
        b":path" | b":scheme" => !is_connect,
        _ => true,
    });
    for (name, _) in &mut head {
        if name == b"host" {
            *name = b":authority".to_vec();
        }
    }
    head.sort();
    // RFC 9110 section 6.5.1: what does not belong there is for its reader to leave out, and we do.
    let mut trailers = message.trailers.clone();
    trailers.retain(|(name, _)| name.starts_with(b"x"));
    (head, message.bytes, message.hash, trailers)
}

/// Why they give a connection up for something that is no mistake to us.
fn ours_alone(frame: Option<FrameHead>, ended: &Option<Result<(), ::h2::Error>>) -> bool {
    // RFC 9113 section 6.8: what was begun before a GOAWAY goes on; they end with it if it has a code.
    let is_remote = matches!(ended, Some(Err(error)) if error.is_remote());
    let Some(frame) = frame else { return is_remote };
    match frame.kind {
        // Section 6.5.3 says nothing of an acknowledgement that was not asked for.
        kind::SETTINGS => frame.has(flag::ACK),
        _ => is_remote,
    }
}

/// Why we give a connection up that they go on with.
fn refused_alone(error: Error) -> bool {
    [
        // RFC 9113 section 3.4: they read over others.
        "the first frame is not of settings",
        // RFC 9218 sections 2.1 and 7.1: they do not know it.
        "a setting of priorities that there is not",
        "a priority update is for a stream",
        // RFC 9113 sections 5.1.1 and 6.10: they look at its fields first, and reset the stream for these.
        "a head is for a stream that a client cannot open",
        "a field block is not continued",
    ]
    .contains(&error.what)
}

/// Why they do not take a request that we take: `http::Uri` does not hold what it is for.
fn unheld(message: &Message) -> bool {
    let get = |wanted: &[u8]| message.heads[0].iter().find(|(name, _)| name == wanted).map(|(_, value)| &value[..]);
    let is_path = get(b":path").is_some_and(|path| http::uri::PathAndQuery::try_from(path).is_ok());
    let authority = get(b":authority").filter(|authority| !authority.is_empty());
    !is_path || authority.is_none_or(|authority| http::uri::Authority::try_from(authority).is_err())
}

/// Whether the input ends within padding behind the end of this stream, which they wait for.
fn is_cut(input: &[u8], id: u32) -> bool {
    let last = frames(input).last().unwrap_or_default();
    let head = FrameHead::read(last).filter(|head| head.kind == kind::DATA && head.stream == id);
    head.is_some_and(|head| head.has(flag::PADDED) && last.len() < FrameHead::BYTES + head.length)
}

/// The fields that the input has for each stream, block by block; and whether a block ends that, which no decoder may take.
fn blocks(input: &[u8]) -> (BTreeMap<u32, Vec<Vec<Field>>>, bool) {
    let (mut blocks, mut decoder, mut block) = (BTreeMap::<_, Vec<_>>::new(), Decoder::new(TABLE_BYTES), Vec::new());
    for frame in frames(input).skip(1) {
        let Some(head) = FrameHead::read(frame) else { break };
        let mut payload = &frame[FrameHead::BYTES..];
        match head.kind {
            kind::HEADERS => {
                let mut padding = 0;
                if head.has(flag::PADDED) && !payload.is_empty() {
                    (padding, payload) = (payload[0].into(), &payload[1..]);
                }
                let skip = if head.has(flag::PRIORITY) { 5 } else { 0 };
                let Some(end) = payload.len().checked_sub(padding).filter(|&end| end >= skip) else { break };
                block = payload[skip..end].to_vec();
            }
            kind::CONTINUATION => block.extend_from_slice(payload),
            _ => continue,
        }
        if head.has(flag::END_HEADERS) {
            let Ok(fields) = decoder.decode(&block) else { return (blocks, true) };
            blocks.entry(head.stream).or_default().push(fields);
        }
    }
    (blocks, false)
}

/// What they do not look at, in a head or in the trailers behind it.
fn is_malformed(blocks: &[Vec<Field>]) -> bool {
    let head = &blocks[0];
    let get = |wanted: &[u8]| head.iter().find(|(name, _)| name == wanted).map_or(&b""[..], |(_, value)| value);
    let (method, path) = (get(b":method"), get(b":path"));
    let hosts: Vec<_> = head.iter().filter(|(name, _)| name == b"host").map(|(_, value)| &value[..]).collect();
    let authority = Some(get(b":authority")).filter(|authority| !authority.is_empty());
    // RFC 3986 section 3.2, RFC 9110 section 9.3.6.
    !is_authority(authority.or(hosts.first().copied()).unwrap_or_default(), method == b"CONNECT")
        // RFC 9113 section 8.3.1.
        || hosts.len() > 1
        || hosts.iter().any(|host| authority.is_some_and(|authority| !host.eq_ignore_ascii_case(authority)))
        // RFC 3986 section 3.3: these must be percent-encoded, and a fragment is not sent.
        || path.iter().any(|&byte| !byte.is_ascii_graphic() || b"\"<>[]\\^`{|}#".contains(&byte))
        // RFC 9113 section 8.1: trailers have no pseudo-header fields.
        || blocks[1..].iter().flatten().any(|(name, _)| name.starts_with(b":"))
        || blocks.iter().flatten().any(|(name, value)| {
            // RFC 9113 section 8.2.1, RFC 9110 section 8.6.
            value.trim_ascii() != value || name == b"content-length" && value.is_empty()
        })
}

fn is_authority(authority: &[u8], has_port: bool) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte))
        }
    };
    let is_port = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    is_host && is_port && (!has_port || port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)))
}
