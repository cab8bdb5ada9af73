//! How the client's connections come to be: addresses that race, on a simulated machine and on loopback, where names are looked up
//! too; sockets of this machine; proxies on the way. Nothing is left of those that lose.

#![allow(clippy::disallowed_methods, reason = "servers outside of any shard: real threads")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use platform::sim::Plan;
use platform::{BackendKind, Choice, ListenOptions, select};
use shards::{Runtime, Shard, Simulation};
use shardwise_net::client::{Config, Proxy, Resolver, dns};
use shardwise_net::upstream::{self, Endpoint, Endpoints, Upstream};
use shardwise_net::{Client, Listener, TcpStream};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// Answers every connection.
async fn serve(shard: Shard, address: SocketAddr) -> Result<(), String> {
    let mut listener = listen(&shard, address, 64);
    loop {
        let mut stream = listener.accept().await.map_err(|error| error.to_string())?;
        if let Ok(Some(_)) = stream.recv().await {
            let _ = stream.send(ANSWER).await;
        }
    }
}

/// Listens, and takes no connection but the one that fills its queue: whoever comes then is not answered.
async fn swallow(shard: Shard, address: SocketAddr) -> Result<(), String> {
    let _listener = listen(&shard, address, 1);
    let _first = TcpStream::connect(&shard, address).await.map_err(|error| error.to_string())?;
    shard.sleep(Duration::from_secs(3600)).await;
    Ok(())
}

fn listen(shard: &Shard, address: SocketAddr, backlog: i32) -> Listener {
    let options = ListenOptions { backlog, ..ListenOptions::default() };
    let sockets = shard.with_reactor(|reactor| reactor.listen(address, 1, &options));
    Listener::adopt(shard, sockets.expect("the address is free").remove(0)).expect("room")
}

/// Asks a server with these addresses: those at port 80 answer, those at port 81 swallow, and at others nobody is. Gives what was
/// said and after how many milliseconds.
#[track_caller]
fn check(addresses: &[&str], expect: &str, took: u64) {
    let mut list: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let given = Arc::new(list.clone());
    list.sort();
    list.dedup();
    let mut simulation = Simulation::with_plan(1, Plan::CALM, platform::Config::default());
    for address in list {
        match address.port() {
            80 => drop(simulation.start(1, async move |shard| serve(shard, address).await)),
            81 => drop(simulation.start(1, async move |shard| swallow(shard, address).await)),
            _ => {}
        }
    }
    let (said, passed) = simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(5)).await;
        let resolver = Resolver::new(move |_, _| Ok(given.to_vec()));
        let config = Config { resolver, connect_time_max: Duration::from_secs(2), ..Config::default() };
        let (client, begun) = (Client::with(&shard, config), shard.now());
        let said = match client.get("http://there.example/").send().await {
            Ok(mut response) => response.text().await.unwrap(),
            Err(error) => error.to_string(),
        };
        let passed = shard.now() - begun;
        shard.sleep(Duration::from_secs(10)).await;
        let holdings = shard.with_reactor(|reactor| reactor.holdings());
        assert_eq!((holdings.operations, holdings.handles), (0, 0), "operations and sockets");
        assert_eq!((shard.task_stats().live, shard.scopes()), (1, 1), "tasks and scopes");
        (said, passed)
    });
    assert_eq!(said, expect, "{addresses:?}");
    assert_eq!(passed.as_millis() as u64 / 50, took / 50, "{addresses:?}");
}

#[test]
fn the_first_that_answers_wins() {
    check(&["10.0.0.1:80"], "hi", 0);
    check(&["10.0.0.1:81", "10.0.0.2:80"], "hi", 250);
    check(&["10.0.0.1:81", "10.0.0.2:81", "10.0.0.3:80"], "hi", 500);
    // The other family is next, and those of the first after it.
    check(&["[fd00::1]:81", "[fd00::2]:81", "10.0.0.3:80"], "hi", 250);
    // One that fails makes way at once.
    check(&["10.0.0.1:82", "10.0.0.2:82", "10.0.0.3:80"], "hi", 0);
    check(&["10.0.0.1:81", "10.0.0.2:82", "10.0.0.3:80"], "hi", 250);
    check(&["10.0.0.1:82", "10.0.0.2:81", "10.0.0.3:80"], "hi", 250);
}

#[test]
fn all_that_fail_are_told_by_the_last() {
    check(&["10.0.0.1:82", "[fd00::1]:83"], "no connection to [fd00::1]:83: the peer refused the connection", 0);
    check(&["10.0.0.1:81", "10.0.0.2:81"], "the server did not accept a connection in time", 2000);
    check(&["10.0.0.1:81", "10.0.0.2:82"], "the server did not accept a connection in time", 2000);
}

// ---- loopback ------------------------------------------------------------------------------------------------------------

#[test]
fn on_every_backend_of_this_machine() {
    for kind in [BackendKind::Uring, BackendKind::Epoll, BackendKind::Polling] {
        if let Err(error) = select(Choice::Force(kind), &platform::Config::default()) {
            println!("skipped: {error}");
            continue;
        }
        on_loopback(kind);
        by_a_name_server(kind);
        at_a_path(kind);
        an_endpoint_at_a_path(kind);
    }
}

/// A server that has one address of IPv4 for every name, and says so the second time that it is asked.
fn by_a_name_server(kind: BackendKind) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let server = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || -> io::Result<()> {
        let mut message = [0; 512];
        for number in 0.. {
            let (count, peer) = socket.recv_from(&mut message)?;
            let end = message[12..count].iter().position(|byte| *byte == 0).expect("the root") + 17;
            let is_v4 = message[end - 3] == 1;
            let answer = if is_v4 { &b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01"[..] } else { b"" };
            (message[2], message[3], message[7], message[11]) = (0x81, 0x80, u8::from(is_v4), 0);
            if number > 0 {
                socket.send_to(&[&message[..end], answer].concat(), peer)?;
            }
        }
        Ok(())
    });
    let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false);
    let main = async move |shard: Shard| {
        let names = dns::Config { servers: vec![server], resolv_conf: None, hosts: None, ..dns::Config::default() };
        let client = Client::with(&shard, Config { resolver: Resolver::dns(names), ..Config::default() });
        let found = client.lookup("a.example", 80).await.map_err(|error| error.to_string())?;
        assert_eq!(found.addresses, [([127, 0, 0, 1], 80).into()]);
        assert!(found.until.is_some_and(|until| until > shard.now()));
        // Where nobody listens, that is told.
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let names = dns::Config { servers: vec![nobody], resolv_conf: None, hosts: None, ..dns::Config::default() };
        let client = Client::with(&shard, Config { resolver: Resolver::dns(names), ..Config::default() });
        let error = client.lookup("a.example", 80).await.expect_err("nobody is there");
        assert!(error.to_string().contains("refused"), "{error}");
        Ok::<_, String>(())
    };
    runtime.run(main).expect("the name is found");
}

/// A name with an address where nobody is, and one that answers, of either family that this machine has.
fn on_loopback(kind: BackendKind) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let Ok(listener) = std::net::TcpListener::bind(SocketAddr::new(ip, 0)) else { continue };
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let read = stream.read(&mut [0; 1024])?;
            assert!(read > 0);
            stream.write_all(ANSWER.as_bytes())
        });
        let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false);
        let main = async move |shard: Shard| {
            let resolver = Resolver::new(move |_, _| Ok(vec![nobody, address, nobody]));
            let client = Client::with(&shard, Config { resolver, ..Config::default() });
            let mut response = client.get("http://there.example/").send().await.map_err(|error| error.to_string())?;
            assert_eq!(response.text().await.map_err(|error| error.to_string())?, "hi");
            Ok::<_, String>(())
        };
        runtime.run(main).expect("the one that is there answers");
    }
}

/// A server at a path, whose queue is full for a while.
fn at_a_path(kind: BackendKind) {
    let path = std::env::temp_dir().join(format!("shardwise-connect-{}-{kind:?}", std::process::id()));
    let socket = listen_at(&path);
    let serve = std::thread::spawn(move || -> io::Result<()> {
        // Until then those that are queued are as many as may be.
        std::thread::sleep(Duration::from_millis(100));
        for _ in 0..4 {
            let (mut stream, _) = socket.accept()?;
            let mut heard = [0; 1024];
            let count = stream.read(&mut heard)?;
            assert_eq!(&heard[..count], b"GET /a HTTP/1.1\r\nHost: there.example\r\n\r\n");
            stream.write_all(ANSWER.as_bytes())?;
        }
        Ok(())
    });
    let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false);
    let here = path.clone();
    let main = async move |shard: Shard| {
        let client = Client::new(&shard);
        let asked: Vec<_> = (0..4)
            .map(|_| {
                let (client, here) = (client.clone(), here.clone());
                let ask = async move { client.get("http://there.example/a").unix(here).send().await?.text().await };
                shard.spawn(ask).expect("room")
            })
            .collect();
        for asked in asked {
            let text = asked.await.expect("it ends").map_err(|error| error.to_string())?;
            assert_eq!(text, "hi");
        }
        let nobody = client.get("http://there.example/").unix("/nowhere/at/all").send().await.expect_err("nobody");
        assert_eq!(nobody.to_string(), "no connection to /nowhere/at/all: no such file");
        assert!(nobody.can_retry());
        Ok::<_, String>(())
    };
    runtime.run(main).expect("all are answered");
    serve.join().expect("it does not panic").expect("four have come");
    std::fs::remove_file(path).expect("it is there");
}

/// A socket with the shortest of queues.
fn listen_at(path: &Path) -> socket2::Socket {
    let _ = std::fs::remove_file(path);
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("Unix sockets");
    socket.bind(&socket2::SockAddr::unix(path).expect("a path")).expect("the path is free");
    socket.listen(1).expect("it may listen");
    socket
}

/// The same as the one endpoint of a service.
fn an_endpoint_at_a_path(kind: BackendKind) {
    let path = std::env::temp_dir().join(format!("shardwise-endpoint-{}-{kind:?}", std::process::id()));
    let listener = listen_at(&path);
    let serve = std::thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut heard = [0; 1024];
        for _ in 0..2 {
            let count = stream.read(&mut heard)?;
            assert_eq!(&heard[..count], b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")?;
        }
        Ok(())
    });
    let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false);
    let here = format!("unix:{}", path.display());
    let main = async move |shard: Shard| {
        let endpoints = Endpoints::fixed([Endpoint::parse(&here)?]);
        let config = upstream::Config { endpoints, ..upstream::Config::default() };
        let items = Upstream::new(&Client::new(&shard), "items", config).map_err(|error| error.to_string())?;
        for _ in 0..2 {
            let mut response = items.get("/a").send().await.map_err(|error| error.to_string())?;
            assert_eq!(response.endpoint().map(ToString::to_string), Some(here.clone()));
            assert_eq!(response.text().await.map_err(|error| error.to_string())?, "hi");
        }
        assert_eq!(
            (items.survey().endpoints[0].address.to_string(), items.survey().endpoints[0].tries),
            (here.clone(), 2)
        );
        Ok::<_, String>(())
    };
    runtime.run(main).expect("it answers, over one connection");
    serve.join().expect("it does not panic").expect("it was asked twice");
    std::fs::remove_file(path).expect("it is there");
}

// ---- proxies -------------------------------------------------------------------------------------------------------------

/// What a proxy hears, byte by byte, and what it then says.
type Steps = &'static [(&'static [u8], &'static [u8])];

/// Asks through a proxy that follows these steps, and then is the server itself.
#[track_caller]
fn check_proxy(proxy: &Proxy, url: &'static str, steps: Steps, expect: &str) {
    check_request(proxy, url, steps, b"GET / HTTP/1.1\r\nHost: there.example\r\n\r\n", expect);
}

/// The same, with the request that the server hears.
#[track_caller]
fn check_request(proxy: &Proxy, url: &'static str, steps: Steps, request: &'static [u8], expect: &str) {
    for seed in 0..10 {
        let mut simulation = Simulation::with_plan(seed, Plan::CHOPPY, platform::Config::default());
        simulation.start(1, async move |shard| {
            let mut listener = listen(&shard, ([10, 0, 0, 1], 1080).into(), 64);
            let mut stream = listener.accept().await.map_err(|error| error.to_string())?;
            let mut heard = Vec::new();
            for (hears, says) in steps.iter().copied().chain([(request, ANSWER.as_bytes())]) {
                while heard.len() < hears.len() {
                    let Ok(Some(chunk)) = stream.recv().await else { return Ok(()) };
                    heard.extend_from_slice(&chunk);
                }
                assert_eq!(heard.escape_ascii().to_string(), hears.escape_ascii().to_string());
                heard.clear();
                if stream.send(says).await.is_err() {
                    return Ok(());
                }
            }
            Ok::<_, String>(())
        });
        let proxy = proxy.clone();
        let said = simulation.run(async move |shard| {
            shard.sleep(Duration::from_millis(5)).await;
            let client = Client::with(&shard, Config { proxy: Some(proxy), ..Config::default() });
            let request = client.get(url).header("host", "there.example");
            let said = match request.send().await {
                Ok(mut response) => response.text().await.unwrap(),
                Err(error) => error.to_string(),
            };
            shard.sleep(Duration::from_secs(10)).await;
            let holdings = shard.with_reactor(|reactor| reactor.holdings());
            assert_eq!((holdings.operations, holdings.handles), (0, 0), "operations and sockets");
            said
        });
        assert_eq!(said, expect, "seed {seed}");
    }
}

const URL: &str = "http://there.example/";
const SOCKS_NAME: &[u8] = b"\x05\x01\x00\x03\x0dthere.example\x00\x50";
const SOCKS_DONE: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

#[test]
fn socks_leads_to_the_server_that_it_is_told() {
    let proxy = Proxy::socks5("10.0.0.1", 1080);
    check_proxy(&proxy, URL, &[(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_NAME, SOCKS_DONE)], "hi");
    const V6: &[u8] = b"\x05\x01\x00\x04\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50";
    const V6_DONE: &[u8] = b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    check_proxy(
        &proxy,
        "http://192.0.2.7:81/",
        &[
            (b"\x05\x01\x00", b"\x05\x00"),
            (b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x51", b"\x05\x00\x00\x03\x01a\x00\x00"),
        ],
        "hi",
    );
    check_proxy(&proxy, "http://[fd00::1]/", &[(b"\x05\x01\x00", b"\x05\x00"), (V6, V6_DONE)], "hi");
    let proxy = proxy.login("name", "word");
    const LOGIN: Steps =
        &[(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x04name\x04word", b"\x01\x00"), (SOCKS_NAME, SOCKS_DONE)];
    check_proxy(&proxy, URL, LOGIN, "hi");
    check_proxy(&proxy, URL, &[(b"\x05\x02\x00\x02", b"\x05\x00"), (SOCKS_NAME, SOCKS_DONE)], "hi");
}

#[test]
fn socks_that_does_not_says_why() {
    let proxy = Proxy::socks5("10.0.0.1", 1080);
    let refused = |why: &str| format!("the proxy does not lead to the server: {why}");
    check_proxy(
        &proxy,
        URL,
        &[(b"\x05\x01\x00", b"\x05\xff")],
        &refused("it asks for a login, or for one of another kind"),
    );
    check_proxy(&proxy, URL, &[(b"\x05\x01\x00", b"\x05\x02")], &refused("it does not speak SOCKS 5"));
    check_proxy(&proxy, URL, &[(b"\x05\x01\x00", b"HTTP/1.1 400 Bad\r\n")], &refused("it does not speak SOCKS 5"));
    const REFUSED: Steps = &[(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_NAME, b"\x05\x05\x00\x01\0\0\0\0\0\0")];
    check_proxy(&proxy, URL, REFUSED, &refused("the server refused the connection"));
    const AHEAD: Steps =
        &[(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_NAME, b"\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 200 OK\r\n")];
    check_proxy(&proxy, URL, AHEAD, &refused("it sends something ahead"));
    let proxy = proxy.login("name", "word");
    const WRONG: Steps = &[(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x04name\x04word", b"\x01\x01")];
    check_proxy(&proxy, URL, WRONG, &refused("it does not take the login"));
}

#[test]
fn a_proxy_of_http_is_asked_for_what_servers_of_http_have() {
    let proxy = Proxy::http("10.0.0.1", 1080);
    check_request(&proxy, URL, &[], b"GET http://there.example/ HTTP/1.1\r\nHost: there.example\r\n\r\n", "hi");
    const BY_QUERY: &[u8] = b"GET http://there.example/?by=name HTTP/1.1\r\nHost: there.example\r\n\r\n";
    check_request(&proxy, "http://there.example?by=name#part", &[], BY_QUERY, "hi");
    const LOGIN: &[u8] = b"GET http://there.example/ HTTP/1.1\r\nHost: there.example\r\n\
        proxy-authorization: Basic bmFtZTp3b3Jk\r\n\r\n";
    check_request(&proxy.clone().login("name", "word"), URL, &[], LOGIN, "hi");
    // It would take the URL's word for the `Host`.
    const ASKED: &[u8] = b"CONNECT 192.0.2.7:81 HTTP/1.1\r\nHost: 192.0.2.7:81\r\n\r\n";
    check_proxy(&proxy, "http://192.0.2.7:81/", &[(ASKED, b"HTTP/1.1 200 Connected\r\n\r\n")], "hi");
}

/// Requests to two servers, over the one connection; what is shown to the proxy does not go along to a third, over TLS or not.
#[test]
fn a_proxy_that_is_asked_keeps_its_connection() {
    let mut simulation = Simulation::new(1);
    simulation.start(1, async |shard| {
        let mut listener = listen(&shard, ([10, 0, 0, 1], 1080).into(), 64);
        let mut stream = listener.accept().await.map_err(|error| error.to_string())?;
        let mut heard = Vec::new();
        let found = "HTTP/1.1 302 Found\r\nLocation: https://third.example/\r\nContent-Length: 0\r\n\r\n";
        let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        for (host, answer) in [("one.example", kept), ("two.example", found)] {
            while !heard.ends_with(b"\r\n\r\n") {
                heard.extend_from_slice(&stream.recv().await.unwrap().expect("it is kept"));
            }
            let text = String::from_utf8(std::mem::take(&mut heard)).unwrap();
            assert!(text.starts_with(&format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n")), "{text}");
            assert!(text.contains("proxy-authorization: Basic bmFtZTp3b3Jk"), "{text}");
            stream.send(answer.as_bytes().to_vec()).await.unwrap();
        }
        let mut second = listener.accept().await.map_err(|error| error.to_string())?;
        let asked = second.recv().await.unwrap().expect("it asks");
        assert!(asked.starts_with(b"CONNECT third.example:443 HTTP/1.1\r\n"), "{}", asked.escape_ascii());
        second.send(&b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"[..]).await.unwrap();
        Ok::<_, String>(())
    });
    simulation.run(async |shard| {
        shard.sleep(Duration::from_millis(5)).await;
        let proxy = Some(Proxy::http("10.0.0.1", 1080).login("name", "word"));
        let client = Client::with(&shard, Config { proxy, redirects_max: 3, ..Config::default() });
        assert_eq!(client.get("http://one.example/").send().await.unwrap().text().await.unwrap(), "hi");
        let refused = client.get("http://two.example/").send().await.unwrap_err();
        assert_eq!(refused.to_string(), "the proxy does not lead to the server: it answers 403");
    });
}

#[test]
fn a_proxy_of_http_is_asked_to_connect() {
    const ASKED: &[u8] = b"CONNECT there.example:80 HTTP/1.1\r\nHost: there.example:80\r\n\r\n";
    let proxy = Proxy::http("10.0.0.1", 1080).tunnels();
    check_proxy(&proxy, URL, &[(ASKED, b"HTTP/1.1 200 Connected\r\n\r\n")], "hi");
    // What it says of a length is of nothing (RFC 9110 section 9.3.6).
    check_proxy(&proxy, URL, &[(ASKED, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")], "hi");
    let refused = |why: &str| format!("the proxy does not lead to the server: {why}");
    check_proxy(
        &proxy,
        URL,
        &[(ASKED, b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")],
        &refused("it asks for a login, or another one (407)"),
    );
    check_proxy(&proxy, URL, &[(ASKED, b"HTTP/1.1 502 Bad\r\n\r\n")], &refused("it answers 502"));
    check_proxy(
        &proxy,
        URL,
        &[(ASKED, b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n")],
        &refused("it sends something ahead"),
    );
    const LOGIN: &[u8] = b"CONNECT there.example:80 HTTP/1.1\r\nHost: there.example:80\r\n\
        proxy-authorization: Basic bmFtZTp3b3Jk\r\n\r\n";
    check_proxy(&proxy.login("name", "word"), URL, &[(LOGIN, b"HTTP/1.1 200 OK\r\n\r\n")], "hi");
}
