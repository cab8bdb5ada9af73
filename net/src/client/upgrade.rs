//! A request that offers to speak something other than HTTP, and its connection once the server agrees.

use http::HeaderValue;
use http::header::{SEC_WEBSOCKET_KEY, UPGRADE};
use proto::h1;
use proto::head::Known;
use proto::ws;
use shards::Shard;

use super::Error;
use super::pool::Place;
use super::response::Response;
use crate::conn::client::Connection;
use crate::{Content, Head, Headers, Upgraded};

/// What is offered.
pub(crate) struct Upgrade {
    protocol: HeaderValue,
    /// What the server must answer to a key that is ours.
    accept: Option<[u8; ws::ACCEPT_BYTES]>,
}

impl Upgrade {
    /// Errors: what may not be offered.
    pub(super) fn offer(protocol: &str) -> Result<Self, &'static str> {
        // RFC 9113 section 3.1 has done away with it; and what came then would be requests that nobody here has looked at.
        if protocol.len() >= 3 && protocol.as_bytes()[..3].eq_ignore_ascii_case(b"h2c") {
            return Err("call `http2`");
        }
        let is_one = !protocol.is_empty() && protocol.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        match HeaderValue::from_str(protocol) {
            Ok(protocol) if is_one => Ok(Upgrade { protocol, accept: None }),
            _ => Err("it is not the name of one protocol"),
        }
    }

    /// Writes it into a request's headers.
    pub(super) fn write(
        &mut self,
        headers: &mut Headers,
        content: &Content,
        random: impl Fn() -> u64,
    ) -> Result<(), Error> {
        if content.length() != Some(0) {
            let what = "a request that asks for another protocol has no body";
            return Err(Error::Header { name: UPGRADE.as_str().into(), what });
        }
        headers.set(UPGRADE, self.protocol.clone());
        if self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket") && headers.get(&SEC_WEBSOCKET_KEY).is_none() {
            let nonce = (u128::from(random()) << 64) | u128::from(random());
            let key = ws::key(nonce.to_be_bytes());
            self.accept = Some(ws::accept(&key));
            headers.set(SEC_WEBSOCKET_KEY, HeaderValue::from_bytes(&key).expect("it is base64"));
        }
        Ok(())
    }

    /// The answer to a request with it, which has ended HTTP.
    ///
    /// Errors: the server speaks something that it was not offered, or had not heard the request.
    pub(super) fn switch(
        &self,
        shard: &Shard,
        head: Head,
        connection: Connection,
        place: Place,
    ) -> Result<Response, Error> {
        let only = |name| {
            let mut values = head.table().fields().all(head.block(), name);
            values.next().filter(|_| values.next().is_none())
        };
        let protocol = only(Known::Upgrade);
        let is_offered = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(self.protocol.as_bytes()));
        let is_heard = self.accept.is_none_or(|accept| only(Known::SecWebSocketAccept) == Some(&accept));
        match connection.into_stream() {
            Some((stream, received)) if is_offered && is_heard => {
                let upgraded = Upgraded { stream, received, mailbox: None, scope: None, _held: Some(Box::new(place)) };
                Ok(Response::switched(shard, head, upgraded, self.accept.is_some()))
            }
            _ => Err(Error::Malformed(h1::Error::Unexpected)),
        }
    }
}
