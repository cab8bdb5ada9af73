//! Tunnels over streams of HTTP/2 (RFC 8441): handlers that were written for HTTP/1.1 work as they are, and WebSocket does. What is
//! left of them is looked at by the test kit after each.

use std::time::Duration;

use proto::h2::{Code, Limits};
use shardwise::test;

use super::client::{Answer, Client};
use super::pattern;
use super::streams::leaving::Log;
use super::streams::tunnels::{app, capsule, frame};

/// Runs a client against the app, and gives what was said until the server has ended.
#[track_caller]
fn said(limits: Limits, work: impl AsyncFnOnce(&mut Client, &test::Client) + 'static) -> Vec<String> {
    let log = Log::default();
    let apps = log.clone();
    let server = test::builder().start(move |_| app(&apps));
    server.run(async move |kit| {
        let mut client = Client::open(&kit, limits).await;
        work(&mut client, &kit).await
    });
    server.end();
    log.take()
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

async fn web_socket(client: &mut Client) -> u32 {
    client.connect("/ws", Some("websocket"), &[VERSION]).await
}

fn has(answer: &Answer, count: usize) -> bool {
    answer.body.len() >= count || answer.is_over()
}

#[test]
fn a_tunnel_of_http_1_carries_every_byte_of_a_stream() {
    let said = said(Limits::default(), async |client, kit| {
        for path in ["/echo", "/later", "/elsewhere"] {
            let id = client.connect(path, Some("echo"), &[]).await;
            client.tell(id, b"at once, ");
            client.until(id, |answer| has(answer, 9)).await;
            // No time limit of the request's holds, and other streams go on.
            kit.sleep(Duration::from_secs(10)).await;
            let other = client.get("/hello");
            assert_eq!(client.answer(other).await.text(), "hello");
            let bytes = pattern(300_000);
            for piece in bytes.chunks(7001) {
                client.tell(id, piece);
                client.flush().await;
            }
            client.hang_up(id);
            let answer = client.answer(id).await;
            assert_eq!((answer.status, answer.reset), (200, None));
            assert!(answer.fields.iter().all(|(name, _)| name != "upgrade" && name != "content-length"), "{answer:?}");
            assert!(answer.body == [&b"at once, "[..], &bytes].concat(), "{path}");
        }
    });
    assert_eq!(said, ["the end"; 3]);
}

/// The gateway makes a key for a client that has none, and keeps the answer to it to itself.
#[test]
fn a_tunnel_is_passed_on_over_http_1() {
    let said = said(Limits::default(), async |client, _| {
        let id = client.connect("/passed/echo", Some("echo"), &[]).await;
        client.tell(id, &pattern(300_000));
        client.flush().await;
        client.hang_up(id);
        let answer = client.answer(id).await;
        assert_eq!((answer.status, answer.reset), (200, None));
        assert!(answer.body == pattern(300_000));
        let id = client.connect("/passed/ws", Some("websocket"), &[VERSION]).await;
        client.tell(id, &[frame(0x81, b"hello"), frame(0x88, &1000u16.to_be_bytes())].concat());
        client.hang_up(id);
        let answer = client.answer(id).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\x81\x05hello\x88\x02\x03\xe8"[..]));
        assert!(answer.fields.iter().all(|(name, _)| !name.starts_with("sec-") && name != "upgrade"), "{answer:?}");
        let id = client.connect("/passed/ws", Some("echo"), &[]).await;
        assert_eq!(client.until(id, |answer| answer.status != 0).await.status, 426);
        client.reset(id, Code::CANCEL);
    });
    assert_eq!(said, ["the end", "Some(CloseCode(1000))"]);
}

/// Whoever asks may have nothing to say.
#[test]
fn one_whose_client_ends_at_once_is_begun_all_the_same() {
    let said = said(Limits::default(), async |client, _| {
        for path in ["/echo", "/later", "/elsewhere", "/passed/echo", "/passed/later"] {
            let id = client.connect(path, Some("echo"), &[]).await;
            client.hang_up(id);
            let answer = client.answer(id).await;
            assert_eq!((answer.status, answer.reset, answer.text()), (200, None, ""), "{path}");
        }
    });
    assert_eq!(said, ["the end"; 5]);
}

/// RFC 9297 section 3: where nothing goes beside the stream.
#[test]
fn datagrams_go_in_capsules() {
    let said = said(Limits::default(), async |client, _| {
        let id = client.connect("/datagrams/0", Some("connect-udp"), &[]).await;
        let bytes = [capsule(b"one"), capsule(b""), capsule(&pattern(60_000))].concat();
        // One of another kind, and one that is longer than any datagram.
        client.tell(id, &[0x17, 3, 1, 2, 3]);
        client.tell(id, &[&[0, 0x80, 1, 0, 0][..], &[0; 65_536]].concat());
        for piece in bytes.chunks(7001) {
            client.tell(id, piece);
            client.flush().await;
        }
        assert!(client.until(id, |answer| has(answer, bytes.len())).await.body == bytes);
        client.hang_up(id);
        assert!(client.answer(id).await.has_ended);
    });
    assert_eq!(said, ["no more"]);
}

#[test]
fn a_plain_connect_is_a_tunnel_too() {
    let said = said(Limits::default(), async |client, _| {
        let id = client.connect("", None, &[]).await;
        client.tell(id, b"hello");
        assert_eq!(client.until(id, |answer| has(answer, 5)).await.text(), "hello");
        client.hang_up(id);
        assert!(client.answer(id).await.has_ended);
    });
    assert_eq!(said, ["the end"]);
}

#[test]
fn what_grants_no_tunnel_is_an_answer_and_what_was_not_asked_for_is_none() {
    let said = said(Limits::default(), async |client, _| {
        for (path, protocol, status) in
            [("/hello", "websocket", 501), ("/forbidden", "echo", 403), ("/ws", "echo", 426), ("/ws", "websocket", 400)]
        {
            let id = client.connect(path, Some(protocol), &[]).await;
            let status_is = |answer: &Answer| answer.status != 0;
            assert_eq!(client.until(id, status_is).await.status, status, "{path} {protocol}");
            client.tell(id, b"what");
            client.flush().await;
            client.reset(id, Code::CANCEL);
        }
        for path in ["/echo", "/elsewhere"] {
            let id = client.get(path);
            assert_eq!(client.answer(id).await.status, 501, "{path}");
        }
        let id = client.get("/hello");
        assert_eq!(client.answer(id).await.text(), "hello");
    });
    assert_eq!(said, [""; 0]);
}

#[test]
fn a_web_socket_is_the_same_however_it_is_cut() {
    let said = said(Limits::default(), async |client, _| {
        let session = [frame(0x89, b"ping"), frame(0x81, b"hello"), frame(0x88, &1000u16.to_be_bytes())].concat();
        for cut in 0..session.len() {
            let id = web_socket(client).await;
            client.tell(id, &session[..cut]);
            client.flush().await;
            client.until(id, |answer| answer.status == 200).await;
            client.tell(id, &session[cut..]);
            let expect = [&b"\x8a\x04ping"[..], b"\x81\x05hello", b"\x88\x02\x03\xe8"].concat();
            client.until(id, |answer| has(answer, expect.len())).await;
            client.hang_up(id);
            let answer = client.answer(id).await;
            assert!(answer.fields.iter().all(|(name, _)| !name.starts_with("sec-")), "{answer:?}");
            assert_eq!((answer.reset, answer.body), (None, expect), "{cut}");
        }
    });
    assert!(said.iter().all(|end| *end == "Some(CloseCode(1000))"), "{said:?}");
}

#[test]
fn a_reset_and_an_end_are_what_they_are_to_a_connection() {
    let said = said(Limits::default(), async |client, kit| {
        let id = web_socket(client).await;
        client.until(id, |answer| answer.status == 200).await;
        client.reset(id, Code::CANCEL);
        client.flush().await;
        kit.sleep(Duration::from_millis(5)).await;
        let id = web_socket(client).await;
        client.hang_up(id);
        let answer = client.answer(id).await;
        assert_eq!((answer.status, answer.reset), (200, None), "the end is answered by the end");
        let id = client.connect("/echo", Some("echo"), &[]).await;
        client.until(id, |answer| answer.status == 200).await;
        client.reset(id, Code::CANCEL);
        client.flush().await;
        kit.sleep(Duration::from_millis(5)).await;
        // The panic of one ends it, and nothing else.
        let id = client.connect("/panics", Some("echo"), &[]).await;
        assert!(client.answer(id).await.reset.is_some());
        let id = client.connect("/both", Some("echo"), &[]).await;
        client.tell(id, b"hello");
        assert_eq!(client.until(id, |answer| has(answer, 6)).await.text(), "hello!");
        client.hang_up(id);
        assert!(client.answer(id).await.has_ended);
    });
    let reset = "the peer reset the connection";
    let both = "its connection has ended → tunnel 9";
    assert_eq!(said, ["the connection was lost", "the connection was lost", reset, both]);
}

/// A window that the client does not open holds up the tunnel and no other stream; one that the code does not read holds up the
/// client.
#[test]
fn both_ways_keep_to_the_windows() {
    let limits = Limits { connection_window: 1 << 20, ..Limits::default() };
    said(limits, async |client, kit| {
        client.reads_at_once = false;
        let id = client.connect("/pours", Some("echo"), &[]).await;
        let window = client.limits.stream_window as usize;
        client.until(id, |answer| has(answer, window)).await;
        kit.sleep(Duration::from_secs(100)).await;
        assert_eq!(client.answers[&id].body.len(), window);
        let other = client.get("/hello");
        assert_eq!(client.answer(other).await.text(), "hello");
        while !client.unread.is_empty() {
            client.read(0);
        }
        client.until(id, |answer| has(answer, window + 1)).await;
        client.reset(id, Code::CANCEL);

        client.reads_at_once = true;
        let id = client.connect("/silent", Some("echo"), &[]).await;
        client.tell(id, &pattern(500_000));
        client.hang_up(id);
        let begun = kit.now();
        client.until(id, |answer| answer.status == 200).await;
        let other = client.get("/hello");
        assert_eq!(client.answer(other).await.text(), "hello");
        assert!(client.is_sending(id), "its window is shut");
        assert_eq!(client.answer(id).await.text(), "500000");
        assert!(kit.now() - begun >= Duration::from_secs(60));
    });
}

#[test]
fn the_drain_closes_a_web_socket_with_1001() {
    let said = said(Limits::default(), async |client, kit| {
        let id = web_socket(client).await;
        client.until(id, |answer| answer.status == 200).await;
        kit.drain();
        let answer = client.until(id, |answer| has(answer, 4)).await;
        assert_eq!(answer.body, b"\x88\x02\x03\xe9");
        client.tell(id, &frame(0x88, &1001u16.to_be_bytes()));
        client.hang_up(id);
        assert!(client.answer(id).await.has_ended);
        client.end().await;
        assert_eq!(client.goaways.last(), Some(&(1, Code::NO_ERROR)));
    });
    assert_eq!(said, ["Some(CloseCode(1001))"]);
}

#[test]
fn a_client_that_goes_takes_its_tunnels_along() {
    let said = said(Limits::default(), async |client, kit| {
        for _ in 0..2 {
            let id = web_socket(client).await;
            client.until(id, |answer| answer.status == 200).await;
            let id = client.connect("/pours", Some("echo"), &[]).await;
            client.until(id, |answer| answer.status == 200).await;
        }
        client.wire.end();
        kit.sleep(Duration::from_secs(100)).await;
    });
    assert_eq!(said, ["the connection was lost"; 2]);
}
