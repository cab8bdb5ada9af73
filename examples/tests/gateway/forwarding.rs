//! Which requests go where, what is changed about them and what not, and how faults are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::frames::{Ended, Frames};
use crate::gateway::{Gateway, to_one, to_one_with};
use crate::lax::Lax;
use crate::nginx::Nginx;
use crate::served::Served;
use crate::wire::{Answer, pattern};

pub(crate) fn requests_go_where_their_routes_lead(backend: &'static str) {
    let (one, other) = (Lax::start(), Lax::start());
    let gateway = Gateway::start(
        backend,
        &format!(
            "[[routes]]\nprefix = \"/\"\nupstream = \"one\"\n\
             [[routes]]\nprefix = \"/api\"\nrewrite = \"/v1\"\nmethods = [\"GET\", \"POST\"]\nupstream = \"other\"\n\
             [[routes]]\nhost = \"*.example.org\"\npath = \"/exactly\"\nrewrite = \"/there\"\nupstream = \"other\"\n\
             [upstreams.one]\nendpoints = [\"{}\"]\n[upstreams.other]\nendpoints = [\"{}\"]\n",
            one.address, other.address
        ),
    );
    let mut client = gateway.client();
    for (line, expect) in [
        ("GET /", "seen /"),
        ("GET /x?y=1&z", "seen /x?y=1&z"),
        ("GET /api", "seen /v1"),
        ("GET /api/a%20b?c", "seen /v1/a%20b?c"),
        ("POST /api/", "seen /v1/"),
        ("PUT /api/", "seen /api/"),
        ("GET /exactly", "seen /exactly"),
    ] {
        assert_eq!(client.ask(line).text(), expect, "{line}");
    }
    client.send("GET /exactly HTTP/1.1\r\nHost: a.example.org\r\n\r\n");
    assert_eq!(client.answer().text(), "seen /there");
    client.send("GET http://a.example.org/exactly HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(client.answer().text(), "seen /there", "a whole URL says the host");
    assert_eq!(other.seen(), ["/v1", "/v1/a%20b?c", "/v1/", "/there", "/there"]);
    let refused = client.ask("GET /a/%2e%2e/b");
    assert_eq!((refused.status, one.seen().len()), (400, 4), "{refused:?}");
    assert_eq!(client.ask("TRACE /").status, 405);
    gateway.stopped();
}

/// A server that tells the head that it has got.
fn telling() -> Lax {
    Lax::answering(|seen| {
        let head = "HTTP/1.1 200 OK\r\nServer: theirs\r\nX-One: 1\r\nX-Two: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nVia: 1.0 inner\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{}", seen.head.len(), seen.head).into_bytes()
    })
}

/// All values of a field in a head that was told.
fn field(answer: &Answer, name: &str) -> Vec<String> {
    let text = answer.text();
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

pub(crate) fn rules_change_headers_both_ways(backend: &'static str) {
    let server = telling();
    let gateway = Gateway::start(
        backend,
        &format!(
            "[[routes]]\nprefix = \"/\"\nupstream = \"one\"\n\
             [routes.request_headers]\nset = {{ x-set = \"ours\" }}\nappend = {{ x-more = \"two\" }}\nremove = [\"x-gone\"]\n\
             [routes.response_headers]\nset = {{ x-one = \"ours\" }}\nappend = {{ x-two = \"three\" }}\nremove = [\"server\"]\n\
             [upstreams.one]\nendpoints = [\"{}\"]\nhost = \"inner.example\"\n",
            server.address
        ),
    );
    let mut client = gateway.client();
    client
        .send("GET / HTTP/1.1\r\nHost: here\r\nX-Set: a\r\nX-Set: b\r\nX-More: one\r\nX-Gone: c\r\nX-Kept: d\r\n\r\n");
    let answer = client.answer();
    for (name, expect) in [
        ("x-set", &["ours"][..]),
        ("x-more", &["one", "two"]),
        ("x-gone", &[]),
        ("x-kept", &["d"]),
        ("host", &["inner.example"]),
    ] {
        assert_eq!(field(&answer, name), expect, "{name} in {}", answer.text());
    }
    assert_eq!((answer.all("x-one"), answer.all("x-two")), (vec!["ours"], vec!["2", "three"]));
    assert_eq!((answer.all("server"), answer.all("x-hop")), (vec![], vec![]));
    assert_eq!(answer.all("via"), ["1.0 inner", "1.1 gateway"]);
    gateway.stopped();
}

pub(crate) fn it_is_told_whose_a_request_is(backend: &'static str) {
    let server = telling();
    let lies = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: lies\r\nForwarded: for=6.6.6.6\r\n\
                X-Real-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n";
    let ask = |proxy: &str| {
        let gateway = Gateway::start(backend, &format!("[proxy]\n{proxy}\n{}", to_one(&[server.address])));
        let mut client = gateway.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: here:80\r\n{lies}X-Request-Id: theirs-1\r\n\r\n"));
        let answer = client.answer();
        gateway.stopped();
        assert_eq!(answer.header("x-request-id"), "theirs-1");
        assert_eq!(
            (field(&answer, "x-request-id"), field(&answer, "x-real-ip")),
            (vec!["theirs-1".to_owned()], vec![])
        );
        assert_eq!(field(&answer, "x_forwarded_for"), [""; 0]);
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via"]
            .map(|name| field(&answer, name).join(" + "))
    };
    let via = "1.1 gateway";
    assert_eq!(ask(""), ["127.0.0.1", "http", "here:80", "", via]);
    assert_eq!(ask("forwarded = \"forwarded\""), ["", "", "", "for=127.0.0.1;proto=http;host=\"here:80\"", via]);
    assert_eq!(ask("forwarded = \"none\"\nvia = \"\""), [""; 5]);
    assert_eq!(ask("trusted = [\"10.0.0.0/8\"]"), ["127.0.0.1", "http", "here:80", "", via]);
    let trusted = "forwarded = \"both\"\ntrusted = [\"127.0.0.0/8\"]\nvia = \"edge\"";
    let forwarded = "for=6.6.6.6, for=127.0.0.1;proto=http;host=\"here:80\"";
    assert_eq!(ask(trusted), ["6.6.6.6, 127.0.0.1", "gopher", "lies", forwarded, "1.1 edge"]);
}

pub(crate) fn what_is_for_one_connection_stays_there(backend: &'static str) {
    let server = telling();
    let gateway = Gateway::start(backend, &to_one(&[server.address]));
    let mut client = gateway.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: here\r\nConnection: x-mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers, x\r\n\
         connection: TE,X-Other\r\nx-other: 1\r\nProxy-Connection: close\r\nUpgrade: x\r\nX-Theirs: 1\r\n\r\n",
    );
    let answer = client.answer();
    for name in ["x-mine", "keep-alive", "x-other", "proxy-connection", "upgrade"] {
        assert_eq!(field(&answer, name), [""; 0], "{name} in {}", answer.text());
    }
    for (name, expect) in [("x-theirs", "1"), ("host", "here"), ("te", "trailers"), ("connection", "TE")] {
        assert_eq!(field(&answer, name), [expect], "{name} in {}", answer.text());
    }
    gateway.stopped();
}

pub(crate) fn faults_have_their_status(backend: &'static str) {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let broken = Lax::answering(|seen| match &*seen.target {
        "/malformed" | "/given-up" => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_vec(),
        "/silent" => {
            thread::sleep(Duration::from_secs(2));
            Vec::new()
        }
        "/refuses" => b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 9\r\n\r\nbusy".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
    });
    let outliers = "outliers = { enabled = false }\nretries = { tries_max = 1 }";
    let gateway = Gateway::start(
        backend,
        &format!(
            "[[routes]]\nprefix = \"/\"\nupstream = \"one\"\ntime_max = \"500ms\"\n\
             [[routes]]\nprefix = \"/nobody\"\nupstream = \"nobody\"\n\
             [[routes]]\nprefix = \"/seldom\"\nupstream = \"seldom\"\n\
             [[routes]]\nprefix = \"/given-up\"\nupstream = \"given-up\"\n\
             [[routes]]\npath = \"/get\"\nmethods = [\"GET\"]\nhost = \"a\"\nupstream = \"one\"\n\
             [upstreams.one]\nendpoints = [\"{}\"]\n{outliers}\n\
             [upstreams.nobody]\nendpoints = [\"{nobody}\"]\n{outliers}\n\
             [upstreams.given-up]\nendpoints = [\"{}\"]\nbreaker_of_all = {{ failures_in_a_row = 2 }}\n{outliers}\n\
             [upstreams.seldom]\nendpoints = [\"{}\"]\nlimits = {{ rate = 1, burst = 1 }}\n{outliers}\n",
            broken.address, broken.address, broken.address
        ),
    );
    let mut client = gateway.client();
    for (line, status, text) in [
        ("GET /well", 200, "ok"),
        ("GET /nobody", 502, "has not answered as it should"),
        ("GET /given-up", 502, "has not answered as it should"),
        ("GET /given-up", 502, "has not answered as it should"),
        ("GET /given-up", 502, "has not answered as it should"),
        ("GET /malformed", 502, "has not answered as it should"),
        ("GET /silent", 504, "has not answered within 500ms"),
        ("GET /refuses", 503, "busy"),
        ("GET /seldom", 200, "ok"),
        ("GET /seldom", 503, ""),
        ("GET /well", 200, "ok"),
    ] {
        let answer = client.ask(line);
        assert!(answer.status == status && answer.text().contains(text), "{line}: {answer:?}");
        assert!(answer.body.len() < 200, "{answer:?}");
    }
    let given_up = broken.seen().into_iter().filter(|target| target == "/given-up").count();
    assert_eq!(given_up, 2, "no more calls are made for a while");
    gateway.stopped();
    // Where no route is for all.
    let text = format!(
        "[[routes]]\npath = \"/get\"\nmethods = [\"GET\"]\nupstream = \"one\"\n[upstreams.one]\nendpoints = [\"{}\"]\n",
        broken.address
    );
    let gateway = Gateway::start(backend, &text);
    let mut client = gateway.client();
    assert_eq!((client.ask("GET /get").status, client.ask("GET /none").status), (200, 404));
    let refused = client.ask("DELETE /get");
    assert_eq!((refused.status, refused.header("allow")), (405, "GET"));
    gateway.stopped();
}

pub(crate) fn expectations_are_passed_on(backend: &'static str) {
    let showcase = Served::start(backend, &["--shards", "1"]);
    let refusing = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refuses = refusing.local_addr().expect("an address");
    // It refuses by the head alone.
    let server = thread::spawn(move || {
        use std::io::Read;
        let (mut stream, _) = refusing.accept().expect("a client");
        let (mut head, mut room) = (Vec::new(), [0; 4096]);
        while !head.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut room).expect("a head");
            head.extend_from_slice(&room[..count]);
        }
        stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").expect("a reader");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an end");
        (head, rest)
    });
    let gateway = Gateway::start(
        backend,
        &format!(
            "[[routes]]\nprefix = \"/\"\nupstream = \"one\"\n[[routes]]\npath = \"/no\"\nupstream = \"no\"\n\
             [upstreams.one]\nendpoints = [\"{}\"]\n[upstreams.no]\nendpoints = [\"{refuses}\"]\n",
            showcase.address
        ),
    );
    let mut client = gateway.client();
    client.send("POST /echo HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.answer().status, 100, "it is asked for before it is sent");
    client.send("hello");
    assert_eq!(client.answer().text(), "hello");
    client.send("POST /no HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let refused = client.answer();
    assert_eq!((refused.status, refused.text()), (403, "no".to_owned()), "without having been asked for");
    let (head, rest) = server.join().expect("it has seen a request");
    assert!(String::from_utf8_lossy(&head).to_ascii_lowercase().contains("expect: 100-continue"));
    assert_eq!(rest, b"", "nothing of the body was sent");
    gateway.stopped();
    showcase.stopped();
}

pub(crate) fn each_request_leaves_a_line(backend: &'static str) {
    let server = Lax::start();
    let gateway = Gateway::start(backend, &to_one(&[server.address]));
    let mut client = gateway.client();
    client.send("POST /a?secret=1 HTTP/1.1\r\nHost: here\r\nX-Request-Id: id-1\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.ask("GET /a/../b").status, 400);
    let log = gateway.stopped();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" method=")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for part in [
        "answered method=\"POST\" host=\"here\" path=\"/a\" version=HTTP/1.1 status=200 upstream=\"one\"",
        &format!("endpoint={}", server.address),
        "bytes_in=5 bytes_out=16 client=127.0.0.1:",
        "request_id=\"id-1\"",
        " time=",
        " head_time=",
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(lines[1].contains("status=400") && !lines[1].contains("upstream"), "{}", lines[1]);
    // And none if that is not wanted.
    let gateway = Gateway::start(backend, &format!("[proxy]\naccess_log = false\n{}", to_one(&[server.address])));
    assert_eq!(gateway.client().ask("GET /").status, 200);
    assert!(!gateway.stopped().contains(" method="));
}

/// Bytes as a section of PEM.
fn pem(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(bytes))
}

pub(crate) fn a_server_of_https_is_asked(backend: &'static str) {
    let folder = tempfile::tempdir().expect("a folder");
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["inner.example".to_owned()]).expect("a name");
    let (cert_path, key_path) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_path, pem("CERTIFICATE", cert.der())).expect("a file");
    std::fs::write(&key_path, pem("PRIVATE KEY", signing_key.serialized_der())).expect("a file");
    let (cert, key) = (cert_path.to_str().expect("text"), key_path.to_str().expect("text"));
    let arguments = ["--shards", "1", "--tls-addr", "127.0.0.1:0", "--cert", cert, "--key", key];
    let showcase = Served::start(backend, &arguments);
    let secure = showcase.next_address("https://");
    let with =
        |tls: &str| to_one_with(&[secure], &format!("retries = {{ tries_max = 1 }}\n[upstreams.one.tls]\n{tls}"));
    let good = format!("authorities = {cert:?}\nname = \"inner.example\"\n");
    let gateway = Gateway::start(backend, &with(&good));
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.ask("GET /plaintext").text(), "Hello, World!");
    }
    let body = pattern(300_000);
    client.send(format!("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert!(client.answer().body == body);
    gateway.stopped();
    for bad in [format!("authorities = {cert:?}\nname = \"other.example\"\n"), "name = \"inner.example\"\n".to_owned()]
    {
        let gateway = Gateway::start(backend, &with(&bad));
        let status = gateway.client().ask("GET /plaintext").status;
        assert!(matches!(status, 502 | 503), "{status}: who does not prove that it is the right one is not asked");
        gateway.stopped();
    }
    showcase.stopped();
}

/// With probes of its health, which are made there as well.
pub(crate) fn a_server_at_a_path_is_asked(backend: &'static str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("behind.sock");
    let listener = UnixListener::bind(&path).expect("the path is free");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut heard, mut room) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut room) {
                    heard.extend_from_slice(&room[..count]);
                    if heard.ends_with(b"\r\n\r\n") {
                        let text = String::from_utf8_lossy(&heard).into_owned();
                        let line = text.lines().next().unwrap_or_default();
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len());
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                        heard.clear();
                    }
                }
            });
        }
    });
    let gateway = Gateway::start(
        backend,
        &format!(
            "[[routes]]\nprefix = \"/\"\nupstream = \"one\"\n[upstreams.one]\nendpoints = [\"unix:{}\"]\n\
             health = {{ path = \"/healthz\" }}\n",
            path.display()
        ),
    );
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.ask("GET /there").text(), "GET /there HTTP/1.1");
    }
    let log = gateway.stopped();
    assert!(log.contains(&format!("unix:{}", path.display())), "the log says who has answered: {log}");
}

pub(crate) fn clients_speak_every_version(backend: &'static str) {
    let showcase = Served::start(backend, &["--shards", "1"]);
    // By HTTP/1.1 and by HTTP/2 to the server behind.
    for lines in ["", "protocol = \"http2\""] {
        let gateway = Gateway::start(backend, &to_one_with(&[showcase.address], lines));
        assert_eq!(gateway.client().ask("GET /plaintext").text(), "Hello, World!");
        // As much as may be sent at once.
        let body = pattern(60_000);
        let mut frames = Frames::connect(gateway.address());
        frames.request(1, "GET", "/plaintext", &[], true);
        frames.request(3, "POST", "/echo", &[("content-length", "5")], false);
        frames.data(3, b"hello", true);
        frames.request(5, "POST", "/echo", &[], false);
        body.chunks(10_000).for_each(|piece| frames.data(5, piece, false));
        frames.data(5, b"", true);
        assert_eq!(frames.ended(1), Ended::Answered(b"Hello, World!".to_vec()));
        assert_eq!(frames.ended(3), Ended::Answered(b"hello".to_vec()));
        assert!(frames.ended(5) == Ended::Answered(body));
        frames.request(7, "GET", "/headers", &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")], true);
        let Ended::Answered(told) = frames.ended(7) else { panic!("no answer") };
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("a=1; b=2") && told.contains("\"via\":[\"2 gateway\"]"), "{told}");
        gateway.stopped();
    }
    showcase.stopped();
}

pub(crate) fn nginx_is_asked(backend: &'static str) {
    let Some(nginx) = Nginx::start() else { return };
    let large = pattern(3_000_000);
    nginx.lay_out("large", &large);
    let gateway = Gateway::start(backend, &to_one(&[nginx.address]));
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.ask("GET /a?b").text(), "seen /a?b");
        assert!(client.ask("GET /files/large").body == large);
        assert_eq!(client.ask("HEAD /files/large").header("content-length"), "3000000");
        client.send("POST /c HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(client.answer().text(), "seen /c");
    }
    client.send("GET /files/large HTTP/1.1\r\nHost: here\r\nRange: bytes=10-19\r\n\r\n");
    let part = client.answer();
    assert_eq!((part.status, &*part.body), (206, &large[10..20]));
    let address: SocketAddr = gateway.address();
    gateway.stopped();
    assert!(nginx.complaints().is_empty(), "{:?} of {address}", nginx.complaints());
}
