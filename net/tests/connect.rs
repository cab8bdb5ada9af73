//! How the client's connections come to be: addresses that race, on a simulated machine and on loopback, where names are looked up
//! too. Nothing is left of those that lose.

#![allow(clippy::disallowed_methods, reason = "servers outside of any shard: real threads")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use platform::sim::Plan;
use platform::{BackendKind, Choice, ListenOptions, select};
use shards::{Runtime, Shard, Simulation};
use shardwise_net::client::{Config, Resolver, dns};
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
