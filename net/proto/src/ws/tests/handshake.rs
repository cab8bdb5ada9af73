//! The opening hand-shake: which requests are granted, how, and what is agreed on (RFC 6455 sections 4 and 9, RFC 7692
//! sections 5 and 7.1); the same for the client's end.

use http::{Method, StatusCode};

use super::*;
use crate::h1;
use crate::head::HeadTable;
use crate::message::BodyLength;

const KEEPS: Compression = Compression { keeps_sending: true, keeps_receiving: true, receiving_window_bits_max: 15 };

/// What becomes of a request whose lines are these, after its first.
fn judged(first: &str, lines: &[&str], compression: Option<&Compression>) -> String {
    let request = format!("{first}\r\nHost: a\r\n{}\r\n\r\n", lines.join("\r\n"));
    let (mut server, mut table) = (h1::Server::new(), HeadTable::new());
    let step = server.receive(request.as_bytes(), &mut table, &h1::Limits::default()).unwrap();
    let block = &request.as_bytes()[..step.consumed];
    let mut said = String::new();
    match Upgrade::judge(&table, block) {
        Ok(upgrade) => {
            let accepted = upgrade.accept(&["chat.v2", "chat.v1"], compression);
            let mut fields = accepted.fields().map(|(name, value)| (name, String::from_utf8(value.to_vec()).unwrap()));
            assert_eq!(fields.next(), Some(("Upgrade", "websocket".into())));
            assert_eq!(fields.next(), Some(("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())));
            said.push_str("101");
            for (name, value) in fields {
                write!(said, "; {}: {value}", &name["Sec-WebSocket-".len()..]).unwrap();
            }
            if let Some(Agreed { sending, receiving }) = accepted.agreed {
                write!(said, " ({}, {})", words(sending), words(receiving)).unwrap();
            }
            let (status, mut out) = (StatusCode::SWITCHING_PROTOCOLS, [0; 500]);
            server.respond_whole(status, accepted.fields(), h1::Standing::default(), b"", &mut out).unwrap();
            assert!(server.is_tunnel());
        }
        Err(refusal) => {
            write!(said, "{} {refusal:?}", refusal.status().as_u16()).unwrap();
            for (name, value) in refusal.fields() {
                write!(said, "; {name}: {value}").unwrap();
            }
            let (status, body) = (refusal.status(), refusal.text().as_bytes());
            let fields = refusal.fields().iter().copied();
            server.respond_whole(status, fields, h1::Standing::default(), body, &mut [0; 500]).unwrap();
            assert!(server.keep_alive(), "a refusal ends no connection");
        }
    }
    said
}

fn words(terms: Terms) -> String {
    format!("{}{}", if terms.takeover { "kept " } else { "" }, terms.window_bits)
}

/// What becomes of a request over HTTP/2, with this `:protocol` and these fields.
fn judged_h2(protocol: Option<&[u8]>, fields: &[(&str, &str)]) -> String {
    use crate::h2::{Engine, Event, Limits, Pseudo, Role, Scratch};
    let (limits, now) = (Limits::default(), std::time::Duration::ZERO);
    let (mut client, mut server) = (Engine::new(Role::Client, &limits), Engine::new(Role::Server, &limits));
    let (mut scratch, mut table, mut out) = (Scratch::new(limits.head_bytes_max), HeadTable::new(), [0; 500]);
    let hello = server.control(&limits, &mut out);
    client.receive(&out[..hello], &mut scratch, &mut table, now, &limits).unwrap();
    let count = client.control(&limits, &mut out);
    let method = if protocol.is_some() { Method::CONNECT } else { Method::GET };
    let pseudo = Pseudo { method: &method, is_secure: false, authority: b"a", path: b"/", protocol };
    let fields = fields.iter().copied();
    let asked = client.request(pseudo, fields, BodyLength::None, &limits, &mut out[count..]).unwrap().1;
    let step = server.receive(&out[..count + asked], &mut scratch, &mut table, now, &limits).unwrap();
    assert!(matches!(step.event, Event::Head { .. }), "{step:?}");
    match Upgrade::judge(&table, scratch.block()) {
        Ok(upgrade) => {
            let accepted = upgrade.accept(&["chat"], Some(&KEEPS));
            accepted.fields().map(|(name, value)| format!("{name}: {}; ", String::from_utf8_lossy(value))).collect()
        }
        Err(refusal) => format!("{} {refusal:?}", refusal.status().as_u16()),
    }
}

#[test]
fn rfc_8441_section_5() {
    let version = ("sec-websocket-version", "13");
    let ws = Some(&b"websocket"[..]);
    assert_eq!(judged_h2(ws, &[version]), "");
    assert_eq!(judged_h2(Some(b"WebSocket"), &[version, ("sec-websocket-key", "?")]), "", "a key means nothing");
    assert_eq!(
        judged_h2(
            ws,
            &[version, ("sec-websocket-protocol", "a, chat"), ("sec-websocket-extensions", "permessage-deflate")]
        ),
        "Sec-WebSocket-Protocol: chat; Sec-WebSocket-Extensions: permessage-deflate; "
    );
    assert_eq!(judged_h2(ws, &[]), "400 VersionMissing");
    assert_eq!(judged_h2(ws, &[("sec-websocket-version", "8")]), "426 Version");
    assert_eq!(judged_h2(Some(b"connect-udp"), &[version]), "426 Upgrade");
    assert_eq!(judged_h2(None, &[version, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]), "426 Upgrade");
}

const GET: &str = "GET /chat?x HTTP/1.1";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

#[track_caller]
fn check(clause: &str, first: &str, lines: &[&str], expect: &str) {
    assert_eq!(judged(first, lines, None), expect, "{clause}: {first} {lines:?}");
}

/// A request that is right but for these lines besides.
#[track_caller]
fn check_more(clause: &str, more: &[&str], expect: &str) {
    check(clause, GET, &[&[UPGRADE, CONNECTION, VERSION, KEY][..], more].concat(), expect);
}

#[test]
fn requests_are_judged() {
    check("4.2.1", GET, &[UPGRADE, CONNECTION, VERSION, KEY], "101");
    check("4.2.1: case", GET, &["upgrade: WebSocket", "connection: keep-alive, UPGRADE", VERSION, KEY], "101");
    check("4.2.1: lists", GET, &["Upgrade: h2c, websocket", CONNECTION, VERSION, KEY], "101");
    check("4.2.1: order", GET, &[KEY, VERSION, CONNECTION, UPGRADE], "101");
    let lines = [UPGRADE, CONNECTION, VERSION, KEY];
    for method in ["POST", "HEAD", "OPTIONS", "PUT"] {
        check("4.2.1: GET", &format!("{method} / HTTP/1.1"), &lines, "405 Method; Allow: GET");
    }
    // HTTP/1.0 has no upgrades, and this engine of HTTP keeps no such connection open.
    let old = HeadTable::new();
    assert_eq!(
        Upgrade::judge(&HeadTable { version: http::Version::HTTP_10, ..old }, b"").err(),
        Some(Refusal::OldVersion)
    );
    assert_eq!(Refusal::OldVersion.status(), StatusCode::BAD_REQUEST);

    let asks_not = "426 Upgrade; Upgrade: websocket; Sec-WebSocket-Version: 13";
    check("9110 15.5.22", GET, &[], asks_not);
    check("4.2.1: Upgrade", GET, &[CONNECTION, VERSION, KEY], asks_not);
    check("4.2.1: Upgrade", GET, &["Upgrade: h2c", CONNECTION, VERSION, KEY], asks_not);
    check("4.2.1: Upgrade", GET, &["Upgrade: websocket2", CONNECTION, VERSION, KEY], asks_not);
    check("4.2.1: Connection", GET, &[UPGRADE, VERSION, KEY], "400 Connection");
    check("4.2.1: Connection", GET, &[UPGRADE, "Connection: keep-alive", VERSION, KEY], "400 Connection");

    let version = "426 Version; Upgrade: websocket; Sec-WebSocket-Version: 13";
    for other in ["8", "7", "14", "0", "13, 8", "013", "x", ""] {
        check("4.4", GET, &[UPGRADE, CONNECTION, &format!("Sec-WebSocket-Version: {other}"), KEY], version);
    }
    check("4.2.1: version", GET, &[UPGRADE, CONNECTION, KEY], "400 VersionMissing");
    check("4.2.1: version", GET, &[UPGRADE, CONNECTION, VERSION, VERSION, KEY], "400 VersionMissing");

    check("4.2.1: key", GET, &[UPGRADE, CONNECTION, VERSION], "400 Key");
    check("11.3.1: key", GET, &[UPGRADE, CONNECTION, VERSION, KEY, KEY], "400 Key");
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZS4=",
        "dGhlIHNhbXBsZSBub25jZS4u",
        "dGhlIHNhbXBsZSBub25jZ?==",
        "dGhl IHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub2-_ZQ==",
        "=Q==dGhlIHNhbXBsZSBub25j",
    ] {
        check("4.2.1: key", GET, &[UPGRADE, CONNECTION, VERSION, &format!("Sec-WebSocket-Key: {key}")], "400 Key");
    }
}

#[test]
fn subprotocols_are_chosen() {
    check_more("4.2.2", &["Sec-WebSocket-Protocol: chat.v1"], "101; Protocol: chat.v1");
    check_more("4.2.2: ours first", &["Sec-WebSocket-Protocol: chat.v1, chat.v2"], "101; Protocol: chat.v2");
    check_more(
        "4.1: several",
        &["Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: chat.v1,y"],
        "101; Protocol: chat.v1",
    );
    check_more("4.2.2: none", &["Sec-WebSocket-Protocol: soap"], "101");
    check_more("4.1: case", &["Sec-WebSocket-Protocol: Chat.v1"], "101");
    check_more("9110 5.6.1: empty", &["Sec-WebSocket-Protocol: , chat.v1,,"], "101; Protocol: chat.v1");
    check_more("4.1: tokens", &["Sec-WebSocket-Protocol: chat.v1, a b"], "400 Protocols");
    check_more("4.1: tokens", &["Sec-WebSocket-Protocol: \"chat.v1\""], "400 Protocols");
    check_more("4.1: unique", &["Sec-WebSocket-Protocol: chat.v1, x, chat.v1"], "400 Protocols");
    check_more("4.1: unique", &["Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: x"], "400 Protocols");
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|index| format!("p{index}")).collect();
        format!("Sec-WebSocket-Protocol: {}", names.join(","))
    };
    check_more("bound", &[&many(32)], "101");
    check_more("bound", &[&many(33)], "400 Protocols");
}

#[track_caller]
fn offered(clause: &str, offer: &str, compression: &Compression, expect: &str) {
    let line = format!("Sec-WebSocket-Extensions: {offer}");
    let said = judged(GET, &[UPGRADE, CONNECTION, VERSION, KEY, &line], Some(compression));
    let expect = if expect.starts_with('4') { expect.to_owned() } else { format!("101{expect}") };
    assert_eq!(said, expect, "{clause}: {offer}");
}

#[test]
fn compression_is_negotiated_by_the_server() {
    const DEFLATE: &str = "; Extensions: permessage-deflate";
    let keeps = |clause: &str, offer: &str, expect: &str| {
        let expect = expect.replacen('+', DEFLATE, 1);
        offered(clause, offer, &KEEPS, &expect);
    };
    keeps("5.1", "permessage-deflate", "+ (kept 15, kept 15)");
    keeps("5.1: none", "x-webkit-deflate-frame", "");
    keeps("5.1: several", "x, permessage-deflate; y=z, permessage-deflate", "+ (kept 15, kept 15)");
    let two = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    keeps("5.1: in order", two, "+; server_max_window_bits=10 (kept 10, kept 15)");
    keeps("7.1.1.1", "permessage-deflate; server_no_context_takeover", "+; server_no_context_takeover (15, kept 15)");
    keeps("7.1.1.2", "permessage-deflate;client_no_context_takeover", "+; client_no_context_takeover (kept 15, 15)");
    for bits in 8..=15 {
        let expect = format!("+; server_max_window_bits={bits} (kept {bits}, kept 15)");
        keeps("7.1.2.1", &format!("permessage-deflate; server_max_window_bits={bits}"), &expect);
        let expect = match bits {
            15 => "+ (kept 15, kept 15)".to_owned(),
            _ => format!("+; client_max_window_bits={bits} (kept 15, kept {bits})"),
        };
        keeps("7.1.2.2", &format!("permessage-deflate; client_max_window_bits={bits}"), &expect);
    }
    keeps("7.1.2.2: without value", "permessage-deflate; client_max_window_bits", "+ (kept 15, kept 15)");
    keeps(
        "9.1: quoted",
        "permessage-deflate; server_max_window_bits=\"10\"",
        "+; server_max_window_bits=10 (kept 10, kept 15)",
    );
    keeps(
        "9.1: quoted",
        "permessage-deflate; server_max_window_bits=\"1\\0\"",
        "+; server_max_window_bits=10 (kept 10, kept 15)",
    );
    keeps(
        "9.1: white space",
        " permessage-deflate ;\tserver_max_window_bits = 9 ,",
        "+; server_max_window_bits=9 (kept 9, kept 15)",
    );
    let all = "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11";
    keeps("7.1: all four", &format!("permessage-deflate{all}"), &format!("+{all} (12, 11)"));

    // Section 7.1: declined, and the next one taken if there is one.
    for parameters in [
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=9; server_max_window_bits=9",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits=100",
        "client_max_window_bits=7",
        "client_max_window_bits=x",
        "client_max_window_bits=16",
        "unknown",
        "unknown=1",
        "Server_no_context_takeover",
    ] {
        keeps("7.1", &format!("permessage-deflate; {parameters}"), "");
        keeps("5.1", &format!("permessage-deflate; {parameters}, permessage-deflate"), "+ (kept 15, kept 15)");
    }
    // RFC 6455 section 9.1: what does not follow the grammar ends the hand-shake.
    for malformed in [
        "permessage-deflate;",
        "permessage-deflate; ;",
        "permessage-deflate; a=",
        "permessage-deflate; =a",
        "; a",
        "a b",
        "permessage-deflate; a=\"b",
        "permessage-deflate; a=\"\"",
        "permessage-deflate; a=\"b c\"",
        "permessage-deflate; a=b c",
        "permessage-deflate; a=\"b\\",
        "permessage-deflate; a=\"b\\\"",
        "permessage-deflate / x",
        "@",
    ] {
        keeps("6455 9.1", malformed, "400 Extensions");
    }
    keeps("bound", &vec!["x"; 32].join(","), "");
    keeps("bound", &vec!["x"; 33].join(","), "400 Extensions");
    keeps("bound", &",".repeat(40), "400 Extensions");

    // By default nothing is kept, and the client is told.
    let default = Compression::default();
    let none = "; Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover (15, 15)";
    offered("7.1.1", "permessage-deflate; client_max_window_bits", &default, none);
    // A smaller window for what is received, from one who can.
    let small = Compression { receiving_window_bits_max: 10, ..KEEPS };
    let asks = "; Extensions: permessage-deflate; client_max_window_bits=10 (kept 15, kept 10)";
    offered("7.1.2.2", "permessage-deflate; client_max_window_bits", &small, asks);
    offered("7.1.2.2", "permessage-deflate; client_max_window_bits=12", &small, asks);
    let less = "; Extensions: permessage-deflate; client_max_window_bits=9 (kept 15, kept 9)";
    offered("7.1.2.2", "permessage-deflate; client_max_window_bits=9", &small, less);
    offered(
        "7.1.2.2: not offered",
        "permessage-deflate",
        &small,
        "; Extensions: permessage-deflate (kept 15, kept 15)",
    );
    // Not wished.
    let line = "Sec-WebSocket-Extensions: permessage-deflate";
    check_more("5.1", &[line], "101");
    check_more("6455 9.1", &["Sec-WebSocket-Extensions: ;"], "400 Extensions");
}

/// A client's request, and what it makes of a response with these lines.
#[track_caller]
fn answered(clause: &str, compression: Option<Compression>, status: &str, lines: &[&str], expect: &str) {
    let opening = Opening::new(*b"the sample nonce", &["chat", "soap"], compression);
    let (mut client, mut table, mut out) = (h1::Client::new(), HeadTable::new(), [0; 500]);
    client.request(&Method::GET, b"/", b"a", opening.fields(), BodyLength::None, &mut out).unwrap();
    client.finish(&mut []).unwrap();
    let response = format!("HTTP/1.1 {status}\r\n{}\r\n\r\n", lines.join("\r\n"));
    let step = client.receive(response.as_bytes(), &mut table, &h1::Limits::default()).unwrap();
    let said = match opening.judge(&table, &response.as_bytes()[..step.consumed]) {
        Ok((protocol, agreed)) => {
            let agreed = agreed.map(|agreed| format!(" ({}, {})", words(agreed.sending), words(agreed.receiving)));
            format!("{}{}", protocol.unwrap_or("none"), agreed.unwrap_or_default())
        }
        Err(error) => format!("{error:?}"),
    };
    assert_eq!(said, expect, "{clause}: {status} {lines:?}");
}

#[test]
fn responses_are_judged() {
    const SWITCHES: &str = "101 Switching Protocols";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let check = |clause: &str, lines: &[&str], expect: &str| answered(clause, None, SWITCHES, lines, expect);
    check("4.1", &[UPGRADE, CONNECTION, ACCEPT], "none");
    check("4.1: case", &["upgrade: WEBSOCKET", "connection: upgrade", ACCEPT], "none");
    check("4.1: protocol", &[UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Protocol: soap"], "soap");
    for protocol in ["x", "", "chat, soap", "Chat"] {
        let line = format!("Sec-WebSocket-Protocol: {protocol}");
        check("4.1: protocol", &[UPGRADE, CONNECTION, ACCEPT, &line], "Protocol");
    }
    let line = "Sec-WebSocket-Protocol: chat";
    check("11.3.4: once", &[UPGRADE, CONNECTION, ACCEPT, line, line], "Protocol");
    check("4.1: Upgrade", &[CONNECTION, ACCEPT], "Upgrade");
    check("4.1: Upgrade", &["Upgrade: h2c", CONNECTION, ACCEPT], "Upgrade");
    check("4.1: Connection", &[UPGRADE, ACCEPT], "Upgrade");
    check("4.1: Accept", &[UPGRADE, CONNECTION], "Accept");
    check("4.1: Accept", &[UPGRADE, CONNECTION, ACCEPT, ACCEPT], "Accept");
    check("4.1: Accept", &[UPGRADE, CONNECTION, "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="], "Accept");
    check(
        "9.1: not offered",
        &[UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate"],
        "Extensions",
    );
    for status in ["200 OK", "403 Forbidden", "426 Upgrade Required"] {
        answered("4.1: status", None, status, &[UPGRADE, CONNECTION, ACCEPT, "Content-Length: 0"], "Status");
    }

    let deflate = |clause: &str, wishes: Compression, extensions: &str, expect: &str| {
        let line = format!("Sec-WebSocket-Extensions: {extensions}");
        let expect = if expect.starts_with('(') { format!("none {expect}") } else { expect.to_owned() };
        answered(clause, Some(wishes), SWITCHES, &[UPGRADE, CONNECTION, ACCEPT, &line], &expect);
    };
    answered("7692 5.1: declined", Some(KEEPS), SWITCHES, &[UPGRADE, CONNECTION, ACCEPT], "none");
    deflate("7692 5.1", KEEPS, "permessage-deflate", "(kept 15, kept 15)");
    deflate("7692 7.1.1.1", KEEPS, "permessage-deflate; server_no_context_takeover", "(kept 15, 15)");
    deflate("7692 7.1.1.2", KEEPS, "permessage-deflate; client_no_context_takeover", "(15, kept 15)");
    deflate("7692 7.1.2.1", KEEPS, "permessage-deflate; server_max_window_bits=9", "(kept 15, kept 9)");
    deflate("7692 7.1.2.2", KEEPS, "permessage-deflate; client_max_window_bits=9", "(kept 9, kept 15)");
    deflate("7692 7.1.2.2", KEEPS, "permessage-deflate; client_max_window_bits", "Extensions");
    for wrong in [
        "x",
        "permessage-deflate, x",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; x",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
        "a b",
    ] {
        deflate("7692 7.1", KEEPS, wrong, "Extensions");
    }
    // What was asked for must be granted, and what is ours to leave may be left.
    let default = Compression::default();
    deflate("7692 7.1.1.1", default, "permessage-deflate", "Extensions");
    deflate("7692 7.1.1.1", default, "permessage-deflate; server_no_context_takeover", "(15, 15)");
    let small = Compression { receiving_window_bits_max: 10, ..KEEPS };
    deflate("7692 7.1.2.1", small, "permessage-deflate", "Extensions");
    deflate("7692 7.1.2.1", small, "permessage-deflate; server_max_window_bits=11", "Extensions");
    deflate("7692 7.1.2.1", small, "permessage-deflate; server_max_window_bits=10", "(kept 15, kept 10)");
}

/// Both ends of this engine: they come to the same, whatever each wishes.
#[test]
fn both_ends_agree() {
    let mut all = vec![None];
    for bits in [8, 10, 15] {
        for (keeps_sending, keeps_receiving) in [(false, false), (true, false), (false, true), (true, true)] {
            all.push(Some(Compression { keeps_sending, keeps_receiving, receiving_window_bits_max: bits }));
        }
    }
    for ours in &all {
        for theirs in &all {
            let opening = Opening::new(*b"0123456789abcdef", &["a", "b"], *theirs);
            let (mut server, mut client) = (h1::Server::new(), h1::Client::new());
            let (mut table, limits, mut out) = (HeadTable::new(), h1::Limits::default(), [0; 1000]);
            let none = BodyLength::None;
            let count = client.request(&Method::GET, b"/", b"a", opening.fields(), none, &mut out).unwrap();
            client.finish(&mut []).unwrap();
            let request = out[..count].to_vec();
            server.receive(&request, &mut table, &limits).unwrap();
            let accepted = Upgrade::judge(&table, &request).unwrap().accept(&["b"], ours.as_ref());
            let (status, standing) = (StatusCode::SWITCHING_PROTOCOLS, h1::Standing::default());
            let count = server.respond_whole(status, accepted.fields(), standing, b"", &mut out).unwrap();
            client.receive(&out[..count], &mut table, &limits).unwrap();
            let (protocol, agreed) = opening.judge(&table, &out[..count]).unwrap();
            assert_eq!((protocol, accepted.protocol), (Some("b"), Some("b")));
            assert_eq!(agreed.is_some(), ours.is_some() && theirs.is_some());
            assert_eq!(agreed.is_some(), accepted.agreed.is_some());
            if let (Some(client), Some(server)) = (agreed, accepted.agreed) {
                assert_eq!(client.receiving, server.sending, "{ours:?} {theirs:?}");
                // A client that does not keep its context need not be told so.
                assert!(server.receiving.takeover || !client.sending.takeover);
                assert_eq!(client.sending.window_bits, server.receiving.window_bits);
            }
        }
    }
}
