//! The ceilings under every kind of load: an error would make a figure worthless.

use std::time::Duration;

use bench::h3load::{self, Http3Load};
use bench::load::{Load, Plan, ask};
use bench::server::Server;

/// Those that this host lets run.
fn ceilings() -> Vec<&'static str> {
    let mut ceilings = vec![env!("CARGO_BIN_EXE_ceiling-epoll")];
    if io_uring::IoUring::new(2).is_ok() {
        ceilings.push(env!("CARGO_BIN_EXE_ceiling-uring"));
    }
    ceilings
}

/// Runs shortly with such a plan against a ceiling with such options: every answer must be right.
#[track_caller]
fn check(options: &str, plan: &Plan, body: &str) {
    for ceiling in ceilings() {
        let cpu = core_affinity::get_core_ids().unwrap()[0].id; // the load shares it: nothing is measured
        let server = Server::start(&format!("{ceiling} {options}"), false, cpu, cpu).unwrap();
        assert_eq!(ask(server.addr, plan).unwrap().body, body.as_bytes(), "{ceiling} {options}");
        let report = Load::connect(server.addr, plan).unwrap().run(Duration::from_millis(100)).unwrap();
        assert!(report.requests >= 8, "{ceiling} {options}: {} requests", report.requests);
        assert_eq!(report.errors, 0, "{ceiling} {options}");
    }
}

fn plan() -> Plan {
    Plan {
        path: "/plaintext".into(),
        body: 0,
        close: false,
        connections: 8,
        pipeline: 1,
        rate: None,
        streams: None,
        tls: false,
        http3: false,
    }
}

#[test]
fn kept_connections() {
    check("", &plan(), "Hello, World!");
    check("", &Plan { pipeline: 16, ..plan() }, "Hello, World!");
    check("", &Plan { rate: Some(1000.0), ..plan() }, "Hello, World!");
}

#[test]
fn connections_of_one_request() {
    check("--close", &Plan { close: true, ..plan() }, "Hello, World!");
}

#[test]
fn posts() {
    for body in [1, 5000, 100_000] {
        let posts = Plan { path: "/echo".into(), body, ..plan() };
        check(&format!("--body {body}"), &posts, &"x".repeat(body));
        check(&format!("--body {body}"), &Plan { pipeline: 4, ..posts.clone() }, &"x".repeat(body));
        check(&format!("--body {body} --close"), &Plan { close: true, ..posts }, &"x".repeat(body));
    }
}

#[test]
fn http3() {
    if io_uring::IoUring::new(2).is_err() {
        return; // there is no such loop without
    }
    let cpu = core_affinity::get_core_ids().unwrap()[0].id;
    for (bytes, path, body) in
        [(0, "/plaintext", "Hello, World!".to_owned()), (300_000, "/bytes/300000", "x".repeat(300_000))]
    {
        let command = format!("{} --bytes {bytes}", env!("CARGO_BIN_EXE_ceiling-quic"));
        let server = Server::start(&command, true, cpu, cpu).unwrap();
        let plan = Plan { path: path.into(), streams: Some(10), http3: true, ..plan() };
        assert_eq!(h3load::ask(server.addr, &plan).unwrap(), body.as_bytes());
        let report = Http3Load::connect(server.addr, &plan).unwrap().run(Duration::from_millis(100)).unwrap();
        assert!(report.requests >= 8, "{path}: {} requests", report.requests);
        assert_eq!(report.errors, 0, "{path}");
    }
}
