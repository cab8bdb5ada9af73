//! What is told to those behind, and to the client, beside what they tell each other: whose request it is, by which way it came,
//! and what the rules of a route say.

use std::net::IpAddr;

use shardwise::http::header::{EXPECT, FORWARDED, HOST, TE, VIA};
use shardwise::http::{HeaderName, HeaderValue, Version};
use shardwise::layers::RequestId;
use shardwise::prelude::*;
use shardwise::{Headers, Known};

use crate::config::{Proxy, Rules};

/// The headers that a request goes on with. `client` is who sent it to us.
pub(crate) fn outward(request: &Request, proxy: &Proxy, client: Option<IpAddr>, id: &RequestId) -> Headers {
    let mut headers = request.end_to_end();
    // `HTTP2-Settings` goes with `Upgrade: h2c`, which does not go on (RFC 9113 section 3.1). Where names become variables, as in
    // CGI, `X_Forwarded_For` and `X-Forwarded-For` are the same: nobody gets the one past us in the other's clothes.
    headers.retain(|name| !OURS.contains(name) && !name.as_str().contains('_'));
    tell_whose(&mut headers, request, proxy, client);
    if let Some(value) = proxy.via.as_deref().and_then(|via| line(&[protocol(request.version()), " ", via])) {
        headers.append(VIA, value);
    }
    headers.set(X_REQUEST_ID, id.value().clone());
    // Whoever takes trailers has them asked for.
    let takes = |options: &[u8]| options.split(|&byte| byte == b',').any(|option| option.trim_ascii() == b"trailers");
    if request.known(Known::Te).is_some_and(takes) {
        headers.append(TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// What is said of the client, in place of what the client says of itself; behind what it says, if its word is taken.
fn tell_whose(headers: &mut Headers, request: &Request, proxy: &Proxy, client: Option<IpAddr>) {
    let is_trusted = client.is_some_and(|client| proxy.trusted.iter().any(|network| network.contains(client)));
    let said = |headers: &Headers, name: &HeaderName| {
        let values = headers.iter().filter(|(known, _)| *known == name).filter_map(|(_, value)| value.to_str().ok());
        let values: Vec<_> = if is_trusted { values.collect() } else { Vec::new() };
        (!values.is_empty()).then(|| values.join(", ")).filter(|values| !values.is_empty())
    };
    let (whose, way) = (said(headers, &X_FORWARDED_FOR), said(headers, &FORWARDED));
    let (scheme, host) = (said(headers, &X_FORWARDED_PROTO), said(headers, &X_FORWARDED_HOST));
    headers.retain(|name| !WHOSE.contains(name));
    let client = client.map(|client| client.to_canonical());
    let came_by = if request.peer().is_secure() { "https" } else { "http" };
    let before = |said: Option<String>| said.map_or_else(String::new, |said| said + ", ");
    let mut put = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(name, value);
        }
    };
    if proxy.forwarded.x_forwarded {
        if let Some(client) = client {
            put(X_FORWARDED_FOR, format!("{}{client}", before(whose)));
        }
        put(X_FORWARDED_PROTO, scheme.unwrap_or_else(|| came_by.to_owned()));
        if let Some(host) = host.or_else(|| Some(request.authority().to_owned())).filter(|host| !host.is_empty()) {
            put(X_FORWARDED_HOST, host);
        }
    }
    if proxy.forwarded.forwarded {
        // RFC 7239 section 6: an IPv6 address stands in brackets, and in quotes for them.
        let node = match client {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(client)) => client.to_string(),
            Some(IpAddr::V6(client)) => format!("\"[{client}]\""),
        };
        let authority = request.authority();
        let is_plain = !authority.is_empty() && !authority.contains(['"', '\\']);
        let host = if is_plain { format!(";host=\"{authority}\"") } else { String::new() };
        put(FORWARDED, format!("{}for={node};proto={came_by}{host}", before(way)));
    }
}

/// The way that an answer has come.
pub(crate) fn tell_way(headers: &mut Headers, proxy: &Proxy, version: Version) {
    if let Some(value) = proxy.via.as_deref().and_then(|via| line(&[protocol(version), " ", via])) {
        headers.append(VIA, value);
    }
}

/// How often a request has come through a proxy of our name.
pub(crate) fn rounds(request: &Request, proxy: &Proxy) -> usize {
    let Some(own) = proxy.via.as_deref() else { return 0 };
    let ways = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case(VIA.as_str().as_bytes()));
    let hops = ways.flat_map(|(_, value)| value.split(|&byte| byte == b','));
    hops.filter(|hop| hop.trim_ascii().split(|&byte| byte == b' ').nth(1) == Some(own.as_bytes())).count()
}

impl Rules {
    pub(crate) fn apply(&self, headers: &mut Headers) {
        self.remove.iter().for_each(|name| headers.remove(name));
        self.set.iter().for_each(|(name, value)| headers.set(name.clone(), value.clone()));
        self.append.iter().for_each(|(name, value)| headers.append(name.clone(), value.clone()));
    }
}

/// As `Via` calls it (RFC 9110 section 7.6.3).
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn line(parts: &[&str]) -> Option<HeaderValue> {
    HeaderValue::try_from(parts.concat()).ok()
}

/// Those that are for us alone.
static OURS: [HeaderName; 3] = [HOST, EXPECT, HTTP2_SETTINGS];

/// Those that say whose a request is.
static WHOSE: [HeaderName; 6] =
    [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT, X_REAL_IP];

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
