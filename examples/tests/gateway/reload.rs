//! From one configuration to the next.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::gateway::{Gateway, to_one, wait_for};
use crate::lax::Lax;
use crate::wire::Client;

/// A configuration that says its number in every answer.
fn numbered(number: usize, server: &Lax) -> String {
    let rule = format!("prefix = \"/\"\nresponse_headers = {{ set = {{ x-number = \"{number}\" }} }}");
    to_one(&[server.address]).replace("prefix = \"/\"", &rule)
}

fn number(gateway: &Gateway) -> String {
    let answer = gateway.client().ask("GET /number");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("x-number").to_owned()
}

pub(crate) fn another_configuration_takes_over(backend: &'static str) {
    let (one, other) = (Lax::start(), Lax::start());
    let gateway = Gateway::start(backend, &numbered(0, &one));
    assert_eq!((number(&gateway), one.seen().len()), ("0".to_owned(), 1));
    // The file is watched.
    gateway.change(&numbered(1, &other));
    wait_for("the second configuration", || number(&gateway) == "1");
    other.seen();
    assert_eq!(number(&gateway), "1");
    assert_eq!((one.seen().len() <= 1000, other.seen().len()), (true, 1));
    // And looked at when that is asked for.
    gateway.change(&numbered(2, &one));
    gateway.signal(Signal::HUP);
    wait_for("the third configuration", || number(&gateway) == "2");
    gateway.signal(Signal::HUP);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(number(&gateway), "2");
    let metrics = gateway.served.admin_client().ask("GET /metrics").text();
    let taken = "gateway_reloads_total{result=\"taken\"";
    assert!(metrics.lines().any(|line| line.starts_with(taken)), "{metrics}");
    let log = gateway.stopped();
    assert!(log.contains("taken over, with 1 routes and 1 upstreams"), "{log}");
}

pub(crate) fn one_that_is_not_in_order_changes_nothing(backend: &'static str) {
    let server = Lax::start();
    let gateway = Gateway::start(backend, &numbered(0, &server));
    let path = gateway.path().display().to_string();
    let first = gateway.lines_before() + 1;
    let says = |log: &str, line: usize, what: &str| log.contains(&format!("{path}:{line}: {what}"));
    gateway.change("[[routes]]\nprefix = \"/\"\nupstream = \"none\"\n");
    gateway.signal(Signal::HUP);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(number(&gateway), "0");
    gateway.change(&format!("{}[process]\n", numbered(1, &server)));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(number(&gateway), "0");
    // What cannot change while it runs.
    gateway.change(&format!("{}[http]\nhttp2 = false\n", numbered(1, &server)));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(number(&gateway), "0");
    // In order again.
    gateway.change(&numbered(2, &server));
    wait_for("a configuration in order", || number(&gateway) == "2");
    let metrics = gateway.served.admin_client().ask("GET /metrics").text();
    let refused = metrics.lines().find(|line| line.starts_with("gateway_reloads_total{result=\"refused\""));
    assert!(refused.is_some_and(|line| line.ends_with(" 3")), "{refused:?}");
    let log = gateway.stopped();
    assert!(says(&log, first + 2, "no upstream is called `none`"), "{log}");
    assert!(log.contains("this is no TOML: duplicate key"), "{log}");
    assert!(log.contains("[http] cannot change while it runs."), "{log}");
}

/// Requests without a pause, over connections that are kept and over new ones, while one configuration follows the other.
pub(crate) fn nothing_is_lost_under_load(backend: &'static str) {
    const CHANGES: usize = 8;
    let servers = [Lax::start(), Lax::start()];
    let gateway = Gateway::start_on(backend, 2, "", &numbered(0, &servers[0]));
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..4 {
            let (address, is_over, asked) = (gateway.address(), &is_over, &asked);
            scope.spawn(move || {
                let mut connection = Client::connect(address);
                while !is_over.load(Ordering::Relaxed) {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if client == 0 || number.is_multiple_of(50) {
                        connection = Client::connect(address);
                    }
                    let answer = connection.ask(&format!("GET /load/{number}"));
                    let expect = (200, format!("seen /load/{number}"));
                    assert_eq!((answer.status, answer.text()), expect);
                }
            });
        }
        for change in 1..=CHANGES {
            gateway.change(&numbered(change, &servers[change % 2]));
            gateway.signal(Signal::HUP);
            wait_for("the next configuration", || number(&gateway) == change.to_string());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{} requests over {CHANGES} configurations", asked.load(Ordering::Relaxed));
    assert!(asked.load(Ordering::Relaxed) > 500);
    let log = gateway.stopped();
    assert!(!log.contains("ERROR"), "{log}");
}
