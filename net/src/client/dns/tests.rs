//! A resolver and its servers on a simulated machine, whose network loses, doubles and delays: what is found, how often it is
//! asked for, and for how long it is remembered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use platform::ListenOptions;
use platform::sim::Plan;
use shards::{Shard, Simulation};

use super::super::{Client, Config as ClientConfig, Resolver};
use super::Config;
use crate::Listener;
use crate::udp::UdpSocket;

/// What a server says: by name and kind, the answers' lines, "TTL KIND DATA" each; `!` and a code, `-` for silence, `?` for an
/// answer to something else, `~` for one that is cut, whose rest comes by TCP.
type Zone = BTreeMap<&'static str, &'static str>;

/// The questions that were heard.
type Heard = Rc<RefCell<Vec<String>>>;

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// What is asked: the name, and the kind.
fn asked(message: &[u8]) -> (String, &'static str, usize) {
    let (mut name, mut at) = (String::new(), 12);
    while message[at] > 0 {
        let end = at + 1 + usize::from(message[at]);
        write!(name, "{}{}", if name.is_empty() { "" } else { "." }, String::from_utf8_lossy(&message[at + 1..end]))
            .unwrap();
        at = end;
    }
    let kind = match message[at + 2] {
        1 => "A",
        28 => "AAAA",
        _ => "SRV",
    };
    (name, kind, at + 5)
}

/// The answer to a question; none if there is to be silence.
fn answer(zone: &Zone, message: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(message);
    let said = zone.get(format!("{name} {kind}").as_str()).or(zone.get(name.as_str())).copied().unwrap_or("!3");
    let mut answer = message[..end].to_vec();
    (answer[2], answer[3], answer[11]) = (0x81, 0x80, 0);
    let said = match said.split_at(1) {
        ("-", _) => return None,
        ("?", _) => {
            answer[13] ^= 1;
            return Some(answer);
        }
        ("!", code) => {
            answer[3] |= code.parse::<u8>().unwrap();
            ""
        }
        ("~", _) if !is_tcp => {
            answer[2] |= 2;
            return Some(answer);
        }
        ("~", rest) => rest,
        _ => said,
    };
    for line in said.split_terminator(", ") {
        let mut words = line.split(' ');
        let (ttl, kind, data) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        let (owner, data) = match data.split_once('>') {
            Some((owner, data)) => (owner, data),
            None => (name.as_str(), data),
        };
        let ttl: u32 = ttl.parse().unwrap();
        let (number, data) = match kind {
            "A" => (1, data.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec()),
            "AAAA" => (28, data.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()),
            "CNAME" => (5, wire(data)),
            "SRV" => (33, [&[0, 1, 0, 2, 0x1f, 0x90][..], &wire(data)].concat()),
            _ => (6, [&wire("ns")[..], &wire("who"), &[0; 16], &ttl.to_be_bytes()].concat()),
        };
        answer[if number == 6 { 9 } else { 7 }] += 1;
        answer.extend(wire(owner));
        answer.extend([0, number, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

fn server(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 53).into()
}

/// Answers by datagrams, and by connections.
async fn serve(shard: Shard, address: SocketAddr, zone: Zone, heard: Heard) -> Result<(), String> {
    let sockets = shard.with_reactor(|reactor| reactor.listen(address, 1, &ListenOptions::default()));
    let mut listener = Listener::adopt(&shard, sockets.unwrap().remove(0)).unwrap();
    let (tcp, told) = (zone.clone(), heard.clone());
    let by_connection = async move {
        loop {
            let mut stream = listener.accept().await.unwrap();
            let mut message = Vec::new();
            while let Ok(Some(chunk)) = stream.recv().await {
                message.extend_from_slice(&chunk);
                if message.len() > 2 && message.len() == 2 + usize::from(message[1]) {
                    let (name, kind, _) = asked(&message[2..]);
                    told.borrow_mut().push(format!("tcp {name} {kind}"));
                    let answer = answer(&tcp, &message[2..], true).unwrap();
                    let _ = stream.send([&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).await;
                }
            }
        }
    };
    shard.spawn(by_connection).unwrap().detach();
    let socket = UdpSocket::bind(&shard, address, Arc::default()).unwrap();
    loop {
        let message = std::future::poll_fn(|cx| socket.poll_receive(cx)).await.unwrap();
        let (name, kind, _) = asked(&message.data);
        heard.borrow_mut().push(format!("{} {name} {kind}", address.ip().to_string().rsplit('.').next().unwrap()));
        if let Some(answer) = answer(&zone, &message.data, false) {
            let mut datagram = socket.spare().unwrap();
            datagram.peer = Some(message.peer);
            datagram.data.extend(answer);
            socket.send(datagram);
        }
    }
}

/// Runs `work` with a client whose resolver asks these servers. Gives what it gives, and what was asked.
#[track_caller]
fn with<T: 'static>(
    seed: u64,
    plan: Plan,
    config: Config,
    zones: Vec<Zone>,
    work: impl AsyncFnOnce(Client, Shard) -> T + 'static,
) -> (T, Vec<String>) {
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
    simulation.machine().write_file("/hosts", "10.9.9.9 listed\n::9 listed\n");
    simulation.machine().write_file("/resolv.conf", "nameserver 10.0.0.1\nsearch in.example\noptions ndots:2\n");
    let heard = Heard::default();
    for (number, zone) in (1..).zip(zones) {
        let told = heard.clone();
        let cell = Cell::new(Some(zone));
        simulation.start(1, async move |shard| serve(shard, server(number), cell.take().unwrap(), told.clone()).await);
    }
    let given = simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(1)).await;
        let client = ClientConfig {
            resolver: Resolver::dns(config),
            connect_time_max: Duration::from_secs(20),
            ..ClientConfig::default()
        };
        let given = work(Client::with(&shard, client), shard.clone()).await;
        shard.sleep(Duration::from_secs(60)).await;
        let holdings = shard.with_reactor(|reactor| reactor.holdings());
        assert_eq!((holdings.operations, holdings.handles), (0, 0), "operations and sockets, seed {seed}");
        assert_eq!((shard.task_stats().live, shard.scopes()), (1, 1), "tasks and scopes, seed {seed}");
        given
    });
    (given, heard.take())
}

fn servers(count: u8) -> Config {
    Config { servers: (1..=count).map(server).collect(), resolv_conf: None, hosts: None, ..Config::default() }
}

/// The addresses, and for how many seconds; or why there is none.
async fn told(client: &Client, shard: &Shard, name: &str) -> String {
    match client.lookup(name, 80).await {
        Ok(found) => {
            let addresses: Vec<_> = found.addresses.iter().map(|address| address.ip().to_string()).collect();
            let time = found.until.map(|until| until.saturating_duration_since(shard.now()).as_millis().div_ceil(1000));
            format!("{} {}", addresses.join(" "), time.map_or("for ever".to_owned(), |time| time.to_string()))
        }
        Err(error) => error.to_string().split(": ").skip(1).collect::<Vec<_>>().join(": "),
    }
}

/// What comes of a name, whose server says this.
#[track_caller]
fn check(zone: &[(&'static str, &'static str)], name: &'static str, expect: &str, asks: &[&str]) {
    let zone: Zone = zone.iter().copied().collect();
    let (given, heard) =
        with(1, Plan::CALM, servers(1), vec![zone], async |client, shard| told(&client, &shard, name).await);
    let mut heard: Vec<_> = heard.iter().map(String::as_str).collect();
    heard.sort();
    assert_eq!((given.as_str(), heard.as_slice()), (expect, asks), "{name}");
}

const BOTH: [&str; 2] = ["1 a.example A", "1 a.example AAAA"];

#[test]
fn both_families_are_asked_for_at_once() {
    let v4 = ("a.example A", "60 A 192.0.2.1, 50 A 192.0.2.2");
    check(&[v4, ("a.example AAAA", "30 AAAA fd00::1")], "a.example", "fd00::1 192.0.2.1 192.0.2.2 30", &BOTH);
    check(&[v4, ("a.example AAAA", "10 SOA")], "a.example", "192.0.2.1 192.0.2.2 50", &BOTH);
    check(&[v4, ("a.example AAAA", "!0")], "a.example.", "192.0.2.1 192.0.2.2 50", &BOTH);
    // Of one that does not say, or not in time, what the other says holds for a shorter while.
    check(&[v4, ("a.example AAAA", "-")], "a.example", "192.0.2.1 192.0.2.2 10", &BOTH);
    let asks = ["1 a.example A", "1 a.example AAAA", "1 a.example AAAA"];
    check(&[v4, ("a.example AAAA", "!2")], "a.example", "192.0.2.1 192.0.2.2 10", &asks);
}

#[test]
fn aliases_are_followed_so_far() {
    let chain = "40 CNAME b.example, 60 A b.example>192.0.2.1";
    check(&[("a.example A", chain), ("a.example AAAA", "!0")], "a.example", "192.0.2.1 40", &BOTH);
    let asks = ["1 a.example A", "1 a.example AAAA", "1 b.example A", "1 b.example AAAA"];
    let elsewhere =
        [("a.example", "40 CNAME b.example"), ("b.example A", "60 A 192.0.2.1"), ("b.example AAAA", "9 SOA")];
    check(&elsewhere, "a.example", "192.0.2.1 40", &asks);
    let (given, heard) = with(
        1,
        Plan::CALM,
        servers(1),
        vec![Zone::from([("a.example", "9 CNAME b.example"), ("b.example", "9 CNAME a.example")])],
        async |client, shard| told(&client, &shard, "a.example").await,
    );
    assert_eq!((given.as_str(), heard.len()), ("a.example is one alias too many", 16));
}

#[test]
fn what_does_not_fit_a_datagram_comes_by_a_connection() {
    let asks = ["1 a.example A", "1 a.example AAAA", "tcp a.example A"];
    check(&[("a.example A", "~60 A 192.0.2.1"), ("a.example AAAA", "!0")], "a.example", "192.0.2.1 60", &asks);
}

#[test]
fn why_there_is_none_is_said() {
    check(&[], "a.example", "there is none", &BOTH);
    check(&[("a.example", "!5")], "a.example", "10.0.0.1:53 answers by the error 5", &[BOTH, BOTH].concat().sorted());
    check(&[], "a..example", "it is no name", &[]);
    let nobody =
        Config { servers: vec![([10, 0, 0, 1], 9).into()], resolv_conf: None, hosts: None, ..Config::default() };
    let (given, _) =
        with(1, Plan::CALM, nobody, vec![], async |client, shard| told(&client, &shard, "a.example").await);
    assert_eq!(given, "10.0.0.1:9: the peer refused the connection");
    // One that answers something else is as good as silent.
    let asks = [BOTH, BOTH].concat().sorted();
    check(&[("a.example", "?")], "a.example", "10.0.0.1:53: it does not answer in time", &asks);
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for Vec<&'static str> {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}

#[test]
fn what_one_server_does_not_say_the_next_does() {
    let good = || Zone::from([("a.example A", "60 A 192.0.2.1"), ("a.example AAAA", "!0")]);
    for (bad, time) in [("-", 1), ("!2", 0), ("!4", 0)] {
        let bad = Zone::from([("a.example", bad)]);
        let (given, heard) = with(1, Plan::CALM, servers(2), vec![bad, good()], async |client, shard| {
            let begun = shard.now();
            (told(&client, &shard, "a.example").await, (shard.now() - begun).as_secs())
        });
        assert_eq!(given, ("192.0.2.1 60".to_owned(), time), "{heard:?}");
        assert!(heard.iter().any(|question| question.starts_with("2 ")));
    }
}

#[test]
fn what_is_known_is_not_asked_for_until_it_holds_no_more() {
    let zone = Zone::from([
        ("a.example A", "60 A 192.0.2.1"),
        ("a.example AAAA", "!0"),
        ("none.example", "30 SOA"),
        ("brief.example A", "0 A 192.0.2.1"),
        ("brief.example AAAA", "!0"),
        ("long.example A", "999999 A 192.0.2.1"),
        ("long.example AAAA", "!0"),
        ("bad.example", "!2"),
    ]);
    let (_, heard) = with(1, Plan::CALM, servers(1), vec![zone], async |client, shard| {
        assert_eq!(told(&client, &shard, "long.example").await, "192.0.2.1 3600");
        assert_eq!(told(&client, &shard, "brief.example").await, "192.0.2.1 1");
        for second in 0..90 {
            let begun = shard.now();
            let rest = if second < 60 { 60 - second } else { 120 - second };
            assert_eq!(told(&client, &shard, "a.example").await, format!("192.0.2.1 {rest}"));
            assert_eq!(told(&client, &shard, "none.example").await, "there is none");
            shard.alarm(begun + Duration::from_secs(1)).await;
        }
        for _ in 0..3 {
            assert_eq!(told(&client, &shard, "bad.example").await, "10.0.0.1:53 answers by the error 2");
        }
    });
    let count = |name: &str| heard.iter().filter(|question| question.contains(name)).count();
    assert_eq!(count(" a.example A"), 4, "twice for either family: {heard:?}");
    assert_eq!(count("none.example"), 6);
    assert_eq!((count("long.example"), count("brief.example"), count("bad.example")), (2, 2, 4));
}

#[test]
fn many_who_want_a_name_ask_once() {
    let zone = Zone::from([("a.example A", "60 A 192.0.2.1"), ("a.example AAAA", "!0")]);
    let (_, heard) = with(1, Plan::CALM, servers(1), vec![zone], async |client, shard| {
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (client, here) = (client.clone(), shard.clone());
                let wants = async move {
                    let mut wanted = pin!(told(&client, &here, "a.example"));
                    if number == 0 {
                        // Whoever asks may go, and another takes its place.
                        assert!(poll_fn(|cx| Poll::Ready(wanted.as_mut().poll(cx))).await.is_pending());
                        return String::new();
                    }
                    wanted.await
                };
                shard.spawn(wants).unwrap()
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), if number == 0 { "" } else { "192.0.2.1 60" });
        }
    });
    assert!(heard.len() <= 4, "{heard:?}");
}

#[test]
fn no_more_names_are_remembered_than_may_be() {
    let zone = Zone::from([("a A", "60 A 192.0.2.1"), ("b A", "90 A 192.0.2.2"), ("c A", "70 A 192.0.2.3")]);
    let config = Config { names_max: 2, ..servers(1) };
    let (_, heard) = with(1, Plan::CALM, config, vec![zone], async |client, shard| {
        for name in ["a", "b", "c", "b", "c", "a"] {
            told(&client, &shard, name).await;
        }
    });
    let asks: Vec<_> = heard.iter().filter(|question| question.ends_with(" A")).collect();
    assert_eq!(asks, ["1 a A", "1 b A", "1 c A", "1 a A"]);
}

#[test]
fn the_systems_files_are_heard() {
    let zone = Zone::from([
        ("host.in.example A", "60 A 192.0.2.1"),
        ("a.b.c A", "60 A 192.0.2.2"),
        ("_http._tcp.in.example SRV", "60 SRV host.in.example"),
    ]);
    let config = Config { resolv_conf: Some("/resolv.conf".into()), hosts: Some("/hosts".into()), ..Config::default() };
    let (given, heard) = with(1, Plan::CALM, config, vec![zone], async |client, shard| {
        let mut given = Vec::new();
        for name in ["listed", "Localhost", "b.localhost.", "host", "a.b.c", "nobody"] {
            given.push(told(&client, &shard, name).await);
        }
        let services = client.services("_http._tcp").await.unwrap();
        given.push(format!("{:?}", services.0));
        given
    });
    let service = "[Service { priority: 1, weight: 2, host: \"host.in.example\", port: 8080 }]";
    assert_eq!(
        given,
        [
            "10.9.9.9 ::9 for ever",
            "::1 127.0.0.1 for ever",
            "::1 127.0.0.1 for ever",
            "192.0.2.1 60",
            "192.0.2.2 60",
            "there is none",
            service
        ]
    );
    let names: Vec<_> = heard.iter().filter(|question| question.ends_with(" A")).map(|line| &line[2..]).collect();
    assert_eq!(names, ["host.in.example A", "a.b.c A", "nobody.in.example A", "nobody A"]);
}

#[test]
fn a_network_that_loses_and_delays_costs_time_and_nothing_else() {
    for seed in 0..40 {
        let zone = Zone::from([("a.example A", "60 A 192.0.2.1"), ("a.example AAAA", "60 AAAA fd00::1")]);
        let plan = Plan { lost_datagrams: 0.2, doubled_datagrams: 0.2, late_datagrams: 0.2, ..Plan::CHOPPY };
        let (given, _) = with(seed, plan, servers(2), vec![zone.clone(), zone], async |client, shard| {
            let mut found = 0;
            for _ in 0..10 {
                found += usize::from(client.lookup("a.example", 80).await.is_ok());
                shard.sleep(Duration::from_secs(100)).await;
            }
            found
        });
        assert!(given >= 8, "{given} of ten, seed {seed}");
    }
}
