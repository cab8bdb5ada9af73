//! Whatever somebody could take for two requests, or for none: all that the strict engine is tried by goes through the gateway to
//! a server that takes everything for something, and to nginx. Nothing malformed arrives; nothing that was refused does; and what
//! one client is answered is for that client's request alone.

use std::net::SocketAddr;

use crate::frames::{Ended, Frames};
use crate::gateway::{Gateway, to_one};
use crate::lax::Lax;
use crate::nginx::Nginx;
use crate::probe::Probe;
use crate::strict::{self, Carried};
use crate::wire::Client;
use crate::{accepted, refused, sweeps};

/// Each with whether it is to be refused.
fn probes() -> Vec<(Probe, bool)> {
    let refused = [refused::probes(), sweeps::refused()].concat().into_iter().map(|probe| (probe, true));
    refused.chain([accepted::probes(), sweeps::accepted()].concat().into_iter().map(|probe| (probe, false))).collect()
}

/// As much as the strict engine's own server takes.
fn to_one_of_2_mib(server: SocketAddr) -> String {
    to_one(&[server]).replace("prefix = \"/\"", "prefix = \"/\"\nbody_bytes_max = \"2MiB\"")
}

/// What a client that says this is answered: how many requests of its own a server has seen, and whether the last was one.
struct Told {
    seen: usize,
    is_last_answered: bool,
}

fn told(client: &mut Client, probe: &Probe) -> Result<Told, String> {
    let _ = client.try_send(probe.input());
    let mut told = Told { seen: 0, is_last_answered: false };
    // For each answer, whether its request is a HEAD.
    let lines = probe.bytes.split(|&byte| byte == b'\n');
    let requests = lines.filter(|line| line.ends_with(b" HTTP/1.1\r") || line.ends_with(b" HTTP/1.0\r"));
    let heads: Vec<_> = requests.map(|line| line.starts_with(b"HEAD ")).collect();
    let mut answers = 0;
    loop {
        let answer = match client.next(heads.get(answers).copied().unwrap_or_default()) {
            Ok(Some(answer)) => answer,
            Ok(None) => break,
            // The server behind, or the request, has broken off.
            Err(why) if why.contains("ended within") => break,
            Err(why) => return Err(why),
        };
        answers += usize::from(answer.status >= 200);
        told.seen += usize::from(!answer.all("x-seen").is_empty());
        if answer.text() == "seen /request/last" {
            told.is_last_answered = true;
            break;
        }
    }
    Ok(told)
}

pub(crate) fn nothing_malformed_arrives(backend: &'static str) {
    let server = Lax::start();
    let gateway = Gateway::start(backend, &to_one_of_2_mib(server.address));
    let (probes, mut faults) = (probes(), Vec::new());
    for (number, (probe, is_refused)) in probes.iter().enumerate() {
        let mut fault =
            |why: String| faults.push(format!("{}: {}: {why}\n    {}", probe.clause, probe.name, shown(probe)));
        match told(&mut gateway.client(), probe) {
            Err(why) => fault(why),
            Ok(told) => {
                // Another's request, over the connection that this one has left behind.
                let clean = gateway.client().ask(&format!("GET /clean/{number}"));
                if clean.text() != format!("seen /clean/{number}") {
                    fault(format!("the next client was told {clean:?}"));
                }
                let mut seen = server.seen();
                assert_eq!(seen.pop().as_deref(), Some(&*format!("/clean/{number}")), "{}", probe.name);
                let is_last_seen = seen.iter().any(|target| target == "/request/last");
                if is_last_seen != told.is_last_answered || seen.len() != told.seen {
                    fault(format!("the server has seen {seen:?}, and {} of them were answered", told.seen));
                }
                if is_last_seen && *is_refused {
                    fault("what follows a fault was taken for a request".to_owned());
                }
            }
        }
    }
    for connection in server.connections() {
        faults.extend(strict::read(&connection).err());
    }
    let connections = server.connections();
    println!("{} probes over {} connections to the server behind", probes.len(), connections.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    // A connection that was broken off carries nothing behind that.
    let carried: Vec<Carried> = connections.iter().map(|bytes| strict::read(bytes).expect("in order")).collect();
    let requests: usize = carried.iter().map(|carried| carried.targets.len()).sum();
    assert!(requests > probes.len(), "{requests} requests");
    gateway.stopped();
}

pub(crate) fn nothing_malformed_arrives_at_nginx(backend: &'static str) {
    let Some(nginx) = Nginx::start() else { return };
    let gateway = Gateway::start(backend, &to_one_of_2_mib(nginx.address));
    let (probes, mut faults, mut answered) = (probes(), Vec::new(), 0);
    for (number, (probe, _)) in probes.iter().enumerate() {
        match told(&mut gateway.client(), probe) {
            Err(why) => faults.push(format!("{}: {}: {why}\n    {}", probe.clause, probe.name, shown(probe))),
            Ok(told) => answered += told.seen,
        }
        let clean = gateway.client().ask(&format!("GET /clean/{number}"));
        if clean.text() != format!("seen /clean/{number}") {
            faults.push(format!("{}: the next client was told {clean:?}", probe.name));
        }
    }
    gateway.stopped();
    let seen = nginx.seen();
    println!("{} probes, {answered} requests answered by nginx, {} seen", probes.len(), seen.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    // It takes fewer requests than there are: methods of capitals alone, no names with a full stop in them, no host of one.
    let narrow = ["invalid method", "invalid header line", "invalid host header"];
    let complaints = nginx.complaints();
    let is_narrow = |line: &str| narrow.iter().any(|what| line.contains(&format!("client sent {what}")));
    let others: Vec<_> = complaints.iter().filter(|line| !is_narrow(line)).collect();
    assert!(others.is_empty(), "{}", others.iter().map(|line| format!("{line}\n")).collect::<String>());
}

fn shown(probe: &Probe) -> String {
    probe.bytes[..probe.bytes.len().min(300)].escape_ascii().to_string()
}

/// What a field of HTTP/2 may hold would be a line, or more, of HTTP/1.1.
pub(crate) fn nor_by_http2(backend: &'static str) {
    let server = Lax::start();
    let gateway = Gateway::start(backend, &to_one(&[server.address]));
    let pseudo = |method, path, authority| {
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
    };
    let usual = pseudo("POST", "/h2", "here");
    let with = |fields: &[(&'static str, &'static str)]| [&usual[..], fields].concat();
    let refused = [
        with(&[("transfer-encoding", "chunked")]),
        with(&[("content-length", "3")]),
        with(&[("content-length", "+5")]),
        with(&[("content-length", "5"), ("content-length", "6")]),
        with(&[("content-length", "5, 5")]),
        with(&[("content-length", "")]),
        with(&[("x", "a\r\nTransfer-Encoding: chunked")]),
        with(&[("x", "a\nContent-Length: 0")]),
        with(&[("x", "a\rb")]),
        with(&[("x", "a\0b")]),
        with(&[("x: y\r\nz", "a")]),
        with(&[("x y", "a")]),
        with(&[("x:", "a")]),
        with(&[("", "a")]),
        with(&[("X-Upper", "a")]),
        with(&[("connection", "close")]),
        with(&[("connection", "transfer-encoding")]),
        with(&[("upgrade", "h2c")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("te", "chunked")]),
        with(&[("host", "other")]),
        with(&[(":path", "/again")]),
        with(&[("x", "a"), (":method", "GET")]),
        pseudo("POST", "/a HTTP/1.1\r\nHost: b\r\n\r\nGET /c", "here").to_vec(),
        pseudo("POST", "/a b", "here").to_vec(),
        pseudo("POST", "/a\tb", "here").to_vec(),
        pseudo("POST", "/a#b", "here").to_vec(),
        pseudo("POST", "", "here").to_vec(),
        pseudo("POST", "*", "here").to_vec(),
        pseudo("POST", "a", "here").to_vec(),
        pseudo("POST", "/a", "here\r\nx: y").to_vec(),
        pseudo("POST", "/a", "here there").to_vec(),
        pseudo("POST", "/a", "user@here").to_vec(),
        pseudo("POST / HTTP/1.1\r\nx: y\r\n\r\nGET", "/a", "here").to_vec(),
        pseudo("PO ST", "/a", "here").to_vec(),
        pseudo("", "/a", "here").to_vec(),
        usual[1..].to_vec(),
        usual[..2].to_vec(),
    ];
    for fields in &refused {
        let mut frames = Frames::connect(gateway.address());
        frames.fields(1, fields, false);
        frames.data(1, b"hello", true);
        if let Ended::Answered(told) = frames.ended(1) {
            let told = String::from_utf8_lossy(&told).into_owned();
            assert!(!told.starts_with("seen"), "{fields:?} was answered by {told}");
        }
        let clean = gateway.client().ask("GET /clean");
        assert_eq!(clean.text(), "seen /clean", "after {fields:?}");
        assert_eq!(server.seen(), ["/clean"], "{fields:?}");
    }
    // In order, if odd.
    for fields in [
        with(&[]),
        with(&[("content-length", "5")]),
        with(&[("x", "")]),
        with(&[("cookie", "a"), ("cookie", "b")]),
        with(&[("te", "trailers")]),
        with(&[("host", "here")]),
        with(&[("x_under", "score")]),
        pseudo("POST", "/h2", "HERE:80").to_vec(),
    ] {
        let mut frames = Frames::connect(gateway.address());
        frames.fields(1, &fields, false);
        frames.data(1, b"hello", true);
        assert_eq!(frames.ended(1), Ended::Answered(b"seen /h2".to_vec()), "{fields:?}");
    }
    for connection in server.connections() {
        assert_eq!(strict::read(&connection).err(), None);
    }
    println!("{} requests of HTTP/2 went no further", refused.len());
    gateway.stopped();
}

/// A server that says more than it was asked for poisons nobody's answers.
pub(crate) fn an_answer_too_many_is_nobodys(backend: &'static str) {
    let whole = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    let server = Lax::answering(move |seen| {
        let own = whole(&format!("seen {}", seen.target));
        let more = match &*seen.target {
            "/two" => whole("poison"),
            "/bytes" => "left over".to_owned(),
            "/half" => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoi".to_owned(),
            "/lf" => "\r\n".to_owned(),
            _ => String::new(),
        };
        (own + &more).into_bytes()
    });
    let gateway = Gateway::start(backend, &to_one(&[server.address]));
    for round in 0..20 {
        for line in ["GET /two", "GET /bytes", "GET /half", "GET /lf"] {
            let mut client = gateway.client();
            assert_eq!(client.ask(line).text(), format!("seen {}", &line[4..]));
            for number in 0..3 {
                let path = format!("/clean/{round}/{number}");
                assert_eq!(client.ask(&format!("GET {path}")).text(), format!("seen {path}"), "after {line}");
            }
        }
    }
    // A request that is broken off leaves nothing behind for the next.
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send(
            "POST /cut HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nGET /poison HTTP/1.1\r\nHost: here\r\n\r\n",
        );
        drop(client);
        assert_eq!(gateway.client().ask("GET /clean").text(), "seen /clean");
    }
    assert!(!server.seen().iter().any(|target| target == "/poison" || target == "/cut"));
    gateway.stopped();
}
