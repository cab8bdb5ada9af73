use std::io::{Read, Write};
use std::net::TcpListener;

use super::Metrics;

const PAGE: &str = "# TYPE ring_enters_total counter\n\
    ring_enters_total{shard=\"0\"} 10\n\
    ring_enters_total{shard=\"1\",why=\"a } b\"} 5.5 1700000000\n\
    ring_enters_total_more 99\n\
    plain 7\n";

fn metrics(page: &str) -> Metrics {
    Metrics::from_answer(&format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{page}")).unwrap()
}

#[track_caller]
fn check(name: &str, expect: Option<f64>) {
    assert_eq!(metrics(PAGE).sum(name), expect, "{name}");
}

#[test]
fn sums_the_series_of_a_name() {
    check("ring_enters_total", Some(15.5));
    check("plain", Some(7.0));
    check("ring_enters", None);
    check("absent", None);
}

#[test]
fn growth_between_two_pages() {
    let (before, after) = (metrics("plain 7\n"), metrics("plain 9\nnew 4\n"));
    assert_eq!(after.growth(&before, "plain"), Some(2.0));
    assert_eq!(after.growth(&before, "new"), Some(4.0));
    assert_eq!(after.growth(&before, "absent"), None);
}

#[test]
fn scrapes_over_tcp_and_names_a_refusal() {
    for (status, expect) in [("200 OK", Ok(Some(7.0))), ("404 Not Found", Err("answered HTTP/1.1 404 Not Found"))] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            write!(stream, "HTTP/1.1 {status}\r\n\r\n{PAGE}").unwrap();
        });
        let scraped = Metrics::scrape(addr).map(|metrics| metrics.sum("plain"));
        server.join().unwrap();
        match (scraped, expect) {
            (Ok(value), Ok(expect)) => assert_eq!(value, expect),
            (Err(error), Err(expect)) => assert!(error.to_string().ends_with(expect), "{error}"),
            (scraped, expect) => panic!("{scraped:?}, not {expect:?}"),
        }
    }
}
