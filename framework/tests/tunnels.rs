//! Connections that stop to speak HTTP: the answer's head is whole, then the stream is the tunnel's, with every byte that
//! came behind the request; whoever leaves when, nothing stays behind, which the test kit looks at after each.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use shardwise::combine::defer;
use shardwise::http::HeaderValue;
use shardwise::http::header::UPGRADE;
use shardwise::prelude::*;
use shardwise::test::{self, Plan};
use shardwise::{Client, Config, Content, Tunnel, Upgraded, client};

const ASK: &str = "GET /echo HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nServer: shardwise\r\n";

type Log = Rc<RefCell<Vec<String>>>;

fn app(log: &Log) -> App {
    App::new()
        .state(log.clone())
        .config(Config { request_time_max: Some(Duration::from_secs(3)), ..Config::default() })
        .get("/hello", || "hello")
        .any("/echo", |State(log): State<Log>| switched(echo(log)))
        .any("/later", async |shard: Shard, State(log): State<Log>| {
            shard.sleep(Duration::from_secs(1)).await;
            switched(echo(log))
        })
        .get("/tasks", |State(log): State<Log>| switched(tasks(log)))
        .get("/drained", |shard: Shard, State(log): State<Log>| {
            switched(Tunnel::new(async move |Upgraded { mut stream, .. }| {
                shard.drained().await;
                log.borrow_mut().push("drains".to_owned());
                let _ = stream.send("bye").await;
            }))
        })
        .any("/passed/{what}", pass_on)
        .get("/pours", |State(log): State<Log>| switched(pour(log)))
        .get("/panics", || switched(Tunnel::new(async |_| panic!("a tunnel's"))))
        .get("/refused", || (StatusCode::FORBIDDEN, switched(echo(Log::default()))))
        .fallback(|State(log): State<Log>| Response::new(StatusCode::OK).with_content(Content::Tunnel(echo(log))))
}

fn switched(tunnel: Tunnel) -> Response {
    Response::new(StatusCode::SWITCHING_PROTOCOLS)
        .with_header(UPGRADE, HeaderValue::from_static("echo"))
        .with_content(Content::Tunnel(tunnel))
}

/// Sends back what comes, and says how it ended.
fn echo(log: Log) -> Tunnel {
    Tunnel::new(async move |Upgraded { mut stream, received, .. }| {
        let _over = defer(move || log.borrow_mut().push("over".to_owned()));
        if let Some(chunk) = received
            && stream.send(chunk).await.is_err()
        {
            return;
        }
        while let Ok(Some(chunk)) = stream.recv().await {
            if stream.send(chunk).await.is_err() {
                return;
            }
        }
    })
}

/// Passes a request on to this same server, and what it asks for.
async fn pass_on(client: Client, Path(what): Path<String>, mut request: Request) -> Result<client::Response> {
    let protocol = request.asks_for().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
    let asks = client.get(format!("http://10.0.0.1/{what}")).pass_on(&mut request);
    let asks = if let Some(protocol) = protocol { asks.upgrade(&protocol) } else { asks };
    Ok(asks.send().await?)
}

/// Sends without end, and says how much was taken.
fn pour(log: Log) -> Tunnel {
    Tunnel::new(async move |Upgraded { mut stream, .. }| {
        let mut count = 0;
        while stream.send(vec![7; 50_000]).await.is_ok() {
            count += 1;
        }
        log.borrow_mut().push(count.to_string());
    })
}

/// Leaves a task behind, which says why it ended.
fn tasks(log: Log) -> Tunnel {
    Tunnel::new(async move |Upgraded { mut stream, .. }| {
        let shard = Shard::current().unwrap();
        let scope = shard.current_scope().unwrap();
        assert_eq!(scope.deadline(), None, "the request's time does not count any more");
        let within = scope.clone();
        let task = scope.spawn(async move {
            let _over = defer(move || log.borrow_mut().extend(within.reason().map(|reason| reason.to_string())));
            std::future::pending::<()>().await
        });
        drop(task);
        shard.sleep(Duration::from_secs(5)).await;
        let _ = stream.send("5 s").await;
    })
}

/// A server with that app, under a seed and a plan.
fn start(seed: u64, plan: Plan, log: &Log) -> test::Server {
    let log = log.clone();
    test::builder().seed(seed).plan(plan).start(move |_| app(&log))
}

/// Sends `pieces` one after the other, ends, and gives all that comes back.
fn said(server: &test::Server, pieces: Vec<Vec<u8>>) -> String {
    server.run(async move |client| {
        let mut connection = client.open().await;
        for piece in pieces {
            connection.send(piece).await.unwrap();
            client.sleep(Duration::from_millis(1)).await;
        }
        connection.end();
        let mut said = Vec::new();
        while let Some(bytes) = connection.receive().await.unwrap() {
            said.extend(bytes);
        }
        String::from_utf8(said).unwrap()
    })
}

/// The body of what came after the head of a 101, which has no framing.
#[track_caller]
fn after_head(said: &str) -> &str {
    let (head, rest) = said.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with(SWITCHED) && head.ends_with("\r\nConnection: upgrade"), "{head}");
    assert!(!head.contains("ontent-") && !head.contains("ransfer-"), "{head}");
    rest
}

#[test]
fn every_byte_behind_the_request_is_the_tunnels_however_it_is_cut() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    let bytes = [ASK.as_bytes(), b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\nand more"].concat();
    for cut in 0..=bytes.len() {
        let (one, other) = bytes.split_at(cut);
        let pieces = [one, other].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
        let said = said(&server, pieces);
        assert_eq!(after_head(&said), "GET /hello HTTP/1.1\r\nHost: here\r\n\r\nand more", "cut at {cut}");
    }
    assert_eq!(log.borrow().len(), bytes.len() + 1, "each tunnel has ended");
}

#[test]
fn whatever_the_network_does_a_tunnel_carries_all() {
    for seed in test::seeds(50) {
        let server = start(seed, Plan::CHOPPY, &Log::default());
        let bulk: String = (0..100_000u32).map(|number| char::from(b'a' + (number % 23) as u8)).collect();
        let pieces = vec![format!("{ASK}{bulk}").into_bytes()];
        assert!(after_head(&said(&server, pieces)) == bulk, "seed {seed}");
    }
}

#[test]
fn a_tunnel_that_is_passed_on_carries_all_and_ends_as_it_does() {
    let ask = ASK.replace("/echo", "/passed/echo");
    for seed in test::seeds(50) {
        let log = Log::default();
        let server = start(seed, Plan::CHOPPY, &log);
        let bulk: String = (0..100_000u32).map(|number| char::from(b'a' + (number % 23) as u8)).collect();
        let pieces = vec![format!("{ask}{bulk}").into_bytes()];
        let through = |said: &str| {
            let (head, rest) = said.split_once("\r\n\r\n").expect("a whole head");
            assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\nConnection: upgrade"), "{head}");
            rest.to_owned()
        };
        assert!(through(&said(&server, pieces)) == bulk, "seed {seed}");
        // The end of one side is passed on, and the rest comes all the same.
        assert_eq!(through(&said(&server, vec![ask.clone().into_bytes(), b"more".to_vec()])), "more", "seed {seed}");
        assert_eq!(*log.borrow(), ["over", "over"]);
        let refused = said(&server, vec![ASK.replace("/echo", "/passed/refused").into_bytes()]);
        assert!(refused.starts_with("HTTP/1.1 403 ") && !refused.contains("pgrade"), "{refused}");
        assert_eq!(server.get("/passed/hello").text(), "hello");
    }
}

#[test]
fn one_that_reads_nothing_holds_up_the_other_and_is_given_up() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    let ask = ASK.replace("/echo", "/passed/pours");
    let pool = server.run(async move |client| {
        let mut connection = client.open().await;
        connection.send(ask).await.unwrap();
        client.sleep(Duration::from_secs(29)).await;
        let pool = Shard::current().unwrap().pool().stats();
        client.sleep(Duration::from_secs(2)).await;
        connection.reset();
        pool
    });
    let taken: u32 = log.borrow().last().expect("it has ended").parse().unwrap();
    assert!(taken < 200, "{taken} pieces were taken");
    assert!(pool.heads_leased + pool.bulk_leased < 20, "{pool:?}");
}

#[test]
fn two_that_are_silent_for_ever_are_given_up() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    let ask = ASK.replace("/echo", "/passed/echo");
    server.run(async move |client| {
        let mut connection = client.open().await;
        connection.send(ask).await.unwrap();
        while !connection.receive().await.unwrap().expect("the head").ends_with(b"\r\n\r\n") {}
        client.sleep(Duration::from_secs(3000)).await;
        connection.send("still there").await.unwrap();
        assert_eq!(connection.receive().await.unwrap().as_deref(), Some(&b"still there"[..]));
        client.sleep(Duration::from_secs(3599)).await;
        let begun = client.now();
        assert!(connection.receive().await.unwrap().is_none());
        assert!(client.now() - begun >= Duration::from_millis(900));
    });
    server.advance(Duration::from_secs(1));
    assert_eq!(*log.borrow(), ["over"]);
}

#[test]
fn answers_that_were_gathered_go_before() {
    let server = start(1, Plan::CALM, &Log::default());
    let said = said(&server, vec![format!("GET /hello HTTP/1.1\r\nHost: here\r\n\r\n{ASK}tail").into_bytes()]);
    let (first, rest) = said.split_once("hello").expect("the first answer");
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert_eq!(after_head(rest), "tail");
}

#[test]
fn what_comes_while_the_handler_is_at_work_is_kept() {
    let server = start(1, Plan::CALM, &Log::default());
    let ask = ASK.replace("/echo", "/later");
    let pieces = vec![ask.into_bytes(), b"one ".to_vec(), b"two ".to_vec(), vec![b'x'; 40_000]];
    assert_eq!(after_head(&said(&server, pieces)), format!("one two {}", "x".repeat(40_000)));
}

#[test]
fn a_connect_becomes_a_tunnel() {
    let server = start(1, Plan::CALM, &Log::default());
    let said = said(&server, vec![b"CONNECT there:443 HTTP/1.1\r\nHost: there:443\r\n\r\nthrough".to_vec()]);
    let (head, rest) = said.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("ontent-"), "{head}");
    assert_eq!(rest, "through");
}

#[test]
fn who_did_not_ask_gets_no_tunnel() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    // Nobody asked to switch; the request's body has not ended; a status that switches nothing.
    assert_eq!(server.get("/echo").status(), 500);
    let unread = ASK.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\n");
    assert!(said(&server, vec![unread.into_bytes()]).starts_with("HTTP/1.1 500 "));
    let answer = server.get("/refused");
    assert_eq!((answer.status(), answer.text()), (StatusCode::FORBIDDEN, ""));
    let answer = server.get("/nowhere");
    assert_eq!((answer.status(), answer.text()), (StatusCode::OK, ""));
    assert!(log.borrow().is_empty());
}

#[test]
fn a_client_may_leave_at_any_point() {
    let bytes = [ASK.as_bytes(), b"behind"].concat();
    for seed in test::seeds(3) {
        let log = Log::default();
        let server = start(seed, Plan::CHOPPY, &log);
        for (count, reset) in (0..=bytes.len()).flat_map(|count| [(count, false), (count, true)]) {
            let part = bytes[..count].to_vec();
            server.run(async move |client| {
                let mut connection = client.open().await;
                connection.send(part).await.unwrap();
                client.sleep(Duration::from_millis(count as u64 % 3)).await;
                match reset {
                    true => connection.reset(),
                    false => drop(connection),
                }
            });
            server.advance(Duration::from_secs(1));
        }
        assert_eq!(server.get("/hello").text(), "hello");
        // Whether a reset overtakes the request is the network's to say.
        assert!(log.borrow().len() > "behind".len(), "{}", log.borrow().len());
    }
}

#[test]
fn tasks_of_a_tunnel_end_with_it_and_no_limit_of_the_request_holds() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    let ask = ASK.replace("/echo", "/tasks");
    let told = server.run(async move |client| {
        let mut connection = client.open().await;
        connection.send(ask).await.unwrap();
        let mut said = Vec::new();
        while let Some(bytes) = connection.receive().await.unwrap() {
            said.extend(bytes);
        }
        String::from_utf8(said).unwrap()
    });
    assert_eq!(after_head(&told), "5 s");
    let told = log.borrow().join(";");
    assert!(told.starts_with("its connection has ended → tunnel 1"), "{told}");
}

#[test]
fn the_drain_is_told_to_a_tunnel_and_waits_for_it() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    let ask = ASK.replace("/echo", "/drained");
    let told = server.run(async move |client| {
        let mut connection = client.open().await;
        connection.send(ask).await.unwrap();
        client.sleep(Duration::from_secs(200)).await; // longer than any time of the loop's
        client.drain();
        let mut said = Vec::new();
        while let Some(bytes) = connection.receive().await.unwrap() {
            said.extend(bytes);
        }
        String::from_utf8(said).unwrap()
    });
    assert_eq!(after_head(&told), "bye");
    assert_eq!(*log.borrow(), ["drains"]);
}

#[test]
fn a_panic_ends_its_tunnel_and_nothing_else() {
    let server = start(1, Plan::CALM, &Log::default());
    assert_eq!(after_head(&said(&server, vec![ASK.replace("/echo", "/panics").into_bytes()])), "");
    assert_eq!(server.get("/hello").text(), "hello");
}
