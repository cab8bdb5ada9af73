//! Tunnels over streams of HTTP/3 (RFC 9220): handlers that were written for HTTP/1.1 work as they are, and WebSocket does. What is
//! left of them is looked at by the test kit after each.

use std::time::Duration;

use net::limits::HTTP_DATAGRAMS_QUEUED_MAX;
use net::quic::StreamId;
use proto::h3::Code;
use shardwise::test::Plan;

use super::client::{Answer, Client, Host, serve};
use super::pattern;
use super::streams::leaving::Log;
use super::streams::tunnels::{app, capsule, frame};

/// Runs a client against the app, and gives what was said until the server has ended.
#[track_caller]
fn said(work: impl AsyncFnOnce(&mut Client, &Host) + 'static) -> Vec<String> {
    let log = Log::default();
    let apps = log.clone();
    let server = serve(1, Plan::CALM, move || app(&apps));
    server.run(async move |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connected().await;
        work(&mut client, &host).await;
        client.close().await;
    });
    server.end();
    log.take()
}

async fn web_socket(client: &mut Client) -> StreamId {
    client.connect("/ws", Some("websocket"), &[("sec-websocket-version", "13")]).await
}

fn has(answer: &Answer, count: usize) -> bool {
    answer.body.len() >= count || answer.is_over()
}

#[test]
fn a_tunnel_of_http_1_carries_every_byte_of_a_stream() {
    let said = said(async |client, _| {
        for path in ["/echo", "/elsewhere"] {
            let id = client.connect(path, Some("echo"), &[]).await;
            client.tell(id, b"at once, ");
            client.until(id, |answer| has(answer, 9)).await;
            client.rest(Duration::from_secs(10)).await;
            let other = client.get("/hello").await;
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
    assert_eq!(said, ["the end"; 2]);
}

/// RFC 9297: datagrams go by themselves, and in capsules where they are too long for that.
#[test]
fn datagrams_go_beside_the_stream() {
    let said = said(async |client, _| {
        let id = client.connect("/datagrams/0", Some("connect-udp"), &[]).await;
        client.until(id, |answer| answer.status == 200).await;
        let other = client.connect("/datagrams/0", Some("connect-udp"), &[]).await;
        client.until(other, |answer| answer.status == 200).await;
        for payload in [&b"one"[..], b"", &[7; 1000]] {
            client.send_datagram(id, payload);
            client.send_datagram(other, payload);
        }
        client.rest(Duration::from_secs(1)).await;
        for id in [id, other] {
            let of = client.datagrams.iter().filter(|(of, _)| *of == id).map(|(_, payload)| &payload[..]);
            assert_eq!(of.collect::<Vec<_>>(), [&b"one"[..], b"", &[7; 1000]]);
        }
        // Too long for a packet.
        let long = capsule(&pattern(20_000));
        client.tell(id, &long);
        assert!(client.until(id, |answer| has(answer, long.len())).await.body == long);
        // A capsule that is short comes back by itself; one of another kind is nothing.
        client.datagrams.clear();
        client.tell(id, &[&[0x17, 3, 1, 2, 3], &capsule(b"short")[..]].concat());
        client.rest(Duration::from_secs(1)).await;
        assert_eq!(client.datagrams, [(id, b"short".to_vec())]);
        client.hang_up(id);
        assert!(client.answer(id).await.has_ended);
        // An end within a capsule.
        client.tell(other, &capsule(b"short")[..4]);
        client.hang_up(other);
        client.answer(other).await;
    });
    assert_eq!(said[0], "no more");
    assert!(said[1] != "no more", "{said:?}");
}

#[test]
fn datagrams_that_nobody_reads_in_time_are_dropped() {
    said(async |client, _| {
        let id = client.connect("/datagrams/1000", Some("connect-udp"), &[]).await;
        client.until(id, |answer| answer.status == 200).await;
        for number in 0..100u8 {
            client.send_datagram(id, &[number]);
            client.rest(Duration::from_millis(1)).await;
        }
        client.rest(Duration::from_secs(3)).await;
        let numbers: Vec<u8> = client.datagrams.iter().map(|(_, payload)| payload[0]).collect();
        assert_eq!(numbers, (0..HTTP_DATAGRAMS_QUEUED_MAX as u8).collect::<Vec<_>>());
        // One that comes late belongs to nobody.
        client.send_datagram(id, b"late");
        client.hang_up(id);
        client.answer(id).await;
    });
}

#[test]
fn a_plain_connect_is_a_tunnel_too() {
    let said = said(async |client, _| {
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
    let said = said(async |client, _| {
        for (path, protocol, status) in
            [("/hello", "websocket", 501), ("/forbidden", "echo", 403), ("/ws", "echo", 426), ("/ws", "websocket", 400)]
        {
            let id = client.connect(path, Some(protocol), &[]).await;
            let status_is = |answer: &Answer| answer.status != 0;
            assert_eq!(client.until(id, status_is).await.status, status, "{path} {protocol}");
            client.reset(id, Code::REQUEST_CANCELLED);
        }
        for path in ["/echo", "/elsewhere"] {
            let id = client.get(path).await;
            assert_eq!(client.answer(id).await.status, 501, "{path}");
        }
        let id = client.get("/hello").await;
        assert_eq!(client.answer(id).await.text(), "hello");
    });
    assert_eq!(said, [""; 0]);
}

#[test]
fn a_web_socket_is_the_same_however_it_is_cut() {
    let said = said(async |client, _| {
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
    let said = said(async |client, _| {
        let id = web_socket(client).await;
        client.until(id, |answer| answer.status == 200).await;
        client.reset(id, Code::REQUEST_CANCELLED);
        client.rest(Duration::from_millis(5)).await;
        let id = web_socket(client).await;
        client.hang_up(id);
        let answer = client.answer(id).await;
        assert_eq!((answer.status, answer.reset), (200, None), "the end is answered by the end");
        let id = client.connect("/echo", Some("echo"), &[]).await;
        client.until(id, |answer| answer.status == 200).await;
        client.reset(id, Code::REQUEST_CANCELLED);
        client.rest(Duration::from_millis(5)).await;
        // The panic of one ends it, and nothing else.
        let id = client.connect("/panics", Some("echo"), &[]).await;
        assert!(client.answer(id).await.reset.is_some());
        let id = client.get("/hello").await;
        assert_eq!(client.answer(id).await.text(), "hello");
    });
    let reset = "the peer reset the connection";
    assert_eq!(said, ["the connection was lost", "the connection was lost", reset]);
}

/// A window that the client does not open holds up the tunnel and no other stream; one that the code does not read holds up the
/// client.
#[test]
fn both_ways_keep_to_the_windows() {
    said(async |client, host| {
        client.reads_at_once = false;
        let id = client.connect("/pours", Some("echo"), &[]).await;
        client.rest(Duration::from_secs(100)).await;
        let other = client.get("/hello").await;
        while !client.answers[&other].is_over() {
            assert!(client.turn().await);
            client.read(other);
        }
        client.reads_at_once = true;
        client.read(id);
        client.until(id, |answer| has(answer, 1_000_000)).await;
        client.reset(id, Code::REQUEST_CANCELLED);

        let id = client.connect("/silent", Some("echo"), &[]).await;
        client.tell(id, &pattern(1_500_000));
        client.hang_up(id);
        let begun = host.kit.now();
        client.until(id, |answer| answer.status == 200).await;
        let other = client.get("/hello").await;
        assert_eq!(client.answer(other).await.text(), "hello");
        assert!(client.is_sending(id), "its window is shut");
        assert_eq!(client.answer(id).await.text(), "1500000");
        assert!(host.kit.now() - begun >= Duration::from_secs(60));
    });
}

#[test]
fn the_drain_closes_a_web_socket_with_1001() {
    let said = said(async |client, host| {
        let id = web_socket(client).await;
        client.until(id, |answer| answer.status == 200).await;
        host.kit.drain();
        let answer = client.until(id, |answer| has(answer, 4)).await;
        assert_eq!(answer.body, b"\x88\x02\x03\xe9");
        client.tell(id, &frame(0x88, &1001u16.to_be_bytes()));
        client.hang_up(id);
        assert!(client.answer(id).await.has_ended);
        assert_eq!(client.end().await, Code::NO_ERROR);
        assert_eq!(client.goaways.last(), Some(&4));
    });
    assert_eq!(said, ["Some(CloseCode(1001))"]);
}

#[test]
fn a_client_that_goes_takes_its_tunnels_along() {
    let said = said(async |client, _| {
        for _ in 0..2 {
            let id = web_socket(client).await;
            client.until(id, |answer| answer.status == 200).await;
            let id = client.connect("/pours", Some("echo"), &[]).await;
            client.until(id, |answer| answer.status == 200).await;
        }
    });
    assert_eq!(said, ["the connection was lost"; 2]);
}
