//! A whole program over real sockets: shards, app, admin listener.

#![allow(clippy::disallowed_methods, reason = "a client is no shard")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use super::*;
use crate::{App, Error};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer.split_once("\r\n\r\n").expect("a whole head").1.to_owned()
}

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the kernel has a port");
    listener.local_addr().expect("it is bound")
}

fn builder() -> Builder {
    Runtime::builder().shards(2).oversubscribe(true).handle_signals(false)
}

#[test]
fn all_shards_serve_and_the_admin_listener_tells_of_it() {
    let (address, admin) = (free(), free());
    let (sender, remotes) = mpsc::channel();
    let client = std::thread::spawn(move || {
        let remotes: Vec<shards::Remote> = remotes.iter().take(2).collect();
        while get(admin, "/readyz") != "ready\n" {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut numbers: Vec<_> = (0..64).map(|_| get(address, "/shard")).collect();
        let metrics = get(admin, "/metrics");
        remotes.iter().for_each(|remote| remote.send(Shard::drain).expect("it runs"));
        numbers.sort_unstable();
        numbers.dedup();
        (numbers, metrics)
    });
    builder()
        .admin(admin)
        .run(async move |shard| {
            sender.send(shard.remote()).expect("the client waits");
            App::new().get("/shard", |shard: Shard| shard.number().to_string()).serve(address).await
        })
        .expect("it ends well");
    let (numbers, metrics) = client.join().expect("the client is served");
    assert_eq!(numbers, ["0", "1"]);
    let total = |name: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number")).sum()
    };
    assert_eq!(
        total("http_server_requests_total{http_request_method=\"GET\",http_response_status_class=\"2xx\""),
        64.0
    );
    assert_eq!(total("shardwise_connections_total{"), 64.0);
    assert_eq!(total("shardwise_serving{"), 2.0);
    assert!(total("shardwise_received_bytes_total{") > 0.0 && total("shardwise_turns_total{") > 0.0);
}

#[test]
fn what_main_returns_is_what_run_returns() {
    let error = builder().run(async |_| Err::<(), _>(Error::new("no database"))).unwrap_err();
    assert_eq!(error.to_string(), "no database");
    let error = builder().run(async |_| App::new().get("x", || "").serve("127.0.0.1:0").await).unwrap_err();
    assert!(error.to_string().contains("GET x at "), "{error}");
    assert!(builder().run(async |_| Ok::<_, Error>(())).is_ok());
}

#[test]
fn a_start_that_cannot_be_says_why() {
    let error = Runtime::builder().shards(0).run(async |_| Ok::<_, Error>(())).unwrap_err();
    assert!(!error.to_string().is_empty(), "{error}");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the kernel has a port");
    let address = taken.local_addr().expect("it is bound");
    let error = builder().admin(address).run(async |_| Ok::<_, Error>(())).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let error = builder().run(async move |_| App::new().serve(address).await).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn a_conclusion_is_an_exit_code() {
    assert_eq!(conclude(Ok(())), ExitCode::SUCCESS);
    assert_eq!(conclude(Err(Error::new("for the test"))), ExitCode::FAILURE);
}

#[test]
fn the_same_app_serves_on_a_simulated_machine() {
    use net::TcpStream;
    use shards::Simulation;

    async fn ask(shard: &Shard, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(shard, ([127, 0, 0, 1], 8080).into()).await?;
        stream.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await?;
        let mut answer = Vec::new();
        while let Some(chunk) = stream.recv().await? {
            answer.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&answer).rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
    }

    async fn sleep(shard: Shard) -> &'static str {
        shard.sleep(Duration::from_secs(60)).await;
        "rested"
    }

    let mut simulation = Simulation::new(7);
    let program = simulation.start(2, async |_| {
        let app = App::new().get("/shard", |shard: Shard| shard.number().to_string()).get("/sleep", sleep);
        app.serve("127.0.0.1:8080").await.map_err(|error| error.to_string())
    });
    let numbers = simulation.run(async |shard| {
        let mut numbers = Vec::new();
        for _ in 0..32 {
            numbers.push(ask(&shard, "/shard").await.expect("the app answers"));
        }
        assert_eq!(ask(&shard, "/sleep").await.expect("the app answers"), "rested", "a minute passes at once");
        numbers
    });
    assert!(numbers.iter().any(|number| number == "0") && numbers.iter().any(|number| number == "1"), "{numbers:?}");
    program.drain();
    simulation.run_to_end();
    assert!(program.has_ended());
    assert_eq!(program.results(), [Some(Ok(())), Some(Ok(()))]);
}
