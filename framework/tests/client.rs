//! The client within a server: handlers that ask other servers, here the same one, and pass on what these answer, both ways
//! and piece by piece. What goes wrong behind them is told to whoever asked, and nothing is left of it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use shardwise::http::{HeaderName, HeaderValue};
use shardwise::prelude::*;
use shardwise::test::{self, Plan, Request as Ask};
use shardwise::{Client, ScopeHandle, Sink, Stream, client};

const PIECE: usize = 16 * 1024;

/// Counts the pieces that an endless stream has made.
type Made = Rc<Cell<usize>>;

fn app(made: Made) -> App {
    App::new()
        .state(made)
        .any("/proxy/{*path}", proxy)
        .get("/inner/hello", || "hello")
        .post("/inner/echo", |body: Body| body)
        .post("/inner/count", async |mut body: Body| {
            let mut bytes = 0;
            while let Some(chunk) = body.chunk().await? {
                bytes += chunk.len();
            }
            let sum = body.trailers().and_then(|trailers| trailers.get("x-sum").map(<[u8]>::to_vec));
            Ok::<_, shardwise::Error>(format!(
                "{bytes} {:?}",
                sum.map(|sum| String::from_utf8_lossy(&sum).into_owned())
            ))
        })
        .get("/inner/zipped", |request: Request| {
            let takes = request.header("accept-encoding").is_some_and(|codings| codings == b"gzip, deflate");
            let coding = if takes { "gzip" } else { "identity" };
            ([("content-encoding", coding), ("x-a", "b")], if takes { ZIPPED.to_vec() } else { b"plain".to_vec() })
        })
        .get("/unzipped", async |client: Client| {
            Ok::<_, shardwise::Error>(client.get("http://10.0.0.1/inner/zipped").decompress().send().await?)
        })
        .get("/bounded", async |client: Client| {
            let response = client.get("http://10.0.0.1/inner/zipped").decompress().send().await?;
            Ok::<_, shardwise::Error>(response.limit(500).text().await.unwrap_err().to_string())
        })
        .get("/inner/headers", |request: Request| {
            let mut names: Vec<_> =
                request.headers().map(|(name, _)| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
            names.sort();
            names.join(" ")
        })
        .get("/inner/endless", |State(made): State<Made>| {
            Stream::new(async move |mut sink: Sink| {
                loop {
                    sink.send(vec![b'x'; PIECE]).await?;
                    made.set(made.get() + 1);
                }
            })
        })
        .get("/inner/sum", || {
            Stream::new(async |mut sink| {
                sink.send("1 2 3").await?;
                sink.trailer(HeaderName::from_static("x-sum"), HeaderValue::from(6))?;
                Ok(())
            })
        })
        .get("/inner/broken", || {
            Stream::new(async |mut sink| {
                sink.send("begun").await?;
                Shard::current().expect("it runs on one").sleep(Duration::from_secs(1)).await;
                Err(shardwise::Error::new("it ends here"))
            })
        })
        .get("/inner/silent", async |shard: Shard, scope: ScopeHandle| {
            // As long as somebody waits for it.
            let _ = scope.run(shard.sleep(Duration::from_secs(3600))).await;
        })
        .post("/inner/refused", || (StatusCode::PAYLOAD_TOO_LARGE, "no"))
        .get("/nobody", async |client: Client| {
            client.get("http://10.0.0.1:81/").send().await.map_err(shardwise::Error::from)
        })
}

/// Passes a request on to this same server, under another path.
async fn proxy(
    State(over): State<Over>,
    client: Client,
    Path(path): Path<String>,
    mut request: Request,
) -> Result<client::Response> {
    let url = format!("http://10.0.0.1/inner/{path}");
    let asks = client.request(request.method().clone(), url).pass_on(&mut request);
    let asks = if over == Over::Http2 { asks.http2() } else { asks };
    Ok(asks.send().await?)
}

/// What the server behind is asked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Http1,
    Http2,
}

const BOTH: [Over; 2] = [Over::Http1, Over::Http2];

fn start(over: Over, seed: u64, plan: Plan, made: &Made) -> test::Server {
    let made = made.clone();
    test::builder().seed(seed).plan(plan).shards(2).start(move |_| app(made.clone()).state(over))
}

#[test]
fn answers_are_passed_on() {
    for over in BOTH {
        for seed in test::seeds(20) {
            let server = start(over, seed, Plan::CHOPPY, &Made::default());
            for _ in 0..3 {
                let response = server.get("/proxy/hello").expect(200);
                assert_eq!((response.text(), response.header("content-length")), ("hello", "5"));
                assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
            }
            server.get("/proxy/nowhere").expect(404);
            let head = server.send(Ask::head("/proxy/hello")).expect(200);
            assert_eq!((head.text(), head.header("content-length")), ("", "5"));
        }
    }
}

/// The layer's deadline is told to the server behind, and holds for the body that comes from there.
#[test]
fn a_deadline_goes_with_the_request() {
    for over in BOTH {
        let server = test::builder().seed(1).start(move |_| {
            let app = App::new().layer(shardwise::layers::deadline(Duration::from_secs(3))).state(over);
            app.any("/proxy/{*path}", proxy)
                .get("/inner/left", |request: Request| {
                    request
                        .header("x-envoy-expected-rq-timeout-ms")
                        .map_or_else(String::new, |left| String::from_utf8_lossy(left).into_owned())
                })
                .get("/inner/slow", || {
                    Stream::new(async |mut sink: Sink| {
                        sink.send("begun").await?;
                        Shard::current().expect("it runs on one").sleep(Duration::from_secs(60)).await;
                        Ok(())
                    })
                })
        });
        let left: u32 = server.get("/proxy/left").expect(200).text().parse().unwrap();
        assert!((2900..=3000).contains(&left), "{left}");
        let asked = Ask::get("/proxy/left").header("x-envoy-expected-rq-timeout-ms", "700");
        let left: u32 = server.send(asked).expect(200).text().parse().unwrap();
        assert!((600..=700).contains(&left), "{left}");
        server.run(async |client| {
            let begun = client.now();
            let mut exchange = client.begin(Ask::get("/proxy/slow")).await.unwrap();
            while let Ok(Some(_)) = exchange.next().await {}
            assert!((client.now() - begun).as_secs() < 5, "it ends when the time is up");
        });
    }
}

/// `hello, ` a hundred times.
const ZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x18\xa5\x46\xa9\xa1\x46\x01\x00\x0c\x30\x1f\x86\xbc\x02\x00\x00";

#[test]
fn a_body_is_decoded_where_that_is_asked_for() {
    let server = start(Over::Http1, 1, Plan::CHOPPY, &Made::default());
    let answer = server.get("/unzipped").expect(200);
    assert_eq!(answer.text(), "hello, ".repeat(100));
    assert_eq!((answer.header("x-a"), answer.headers().get("content-encoding")), ("b", None));
    let answer = server.send(Ask::get("/proxy/zipped").header("accept-encoding", "gzip, deflate")).expect(200);
    assert_eq!(
        (answer.bytes(), answer.header("content-encoding")),
        (ZIPPED, "gzip"),
        "who passes it on leaves it as it is"
    );
    assert_eq!(server.get("/proxy/zipped").text(), "plain");
    assert_eq!(server.get("/bounded").text(), "the answer is longer than the 500 bytes admitted: set `limit`");
}

#[test]
fn bodies_are_passed_on_both_ways() {
    for over in BOTH {
        let long: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        for seed in test::seeds(20) {
            let server = start(over, seed, Plan::CHOPPY, &Made::default());
            let echoed = server.send(Ask::post("/proxy/echo").body(long.clone())).expect(200);
            assert!(echoed.bytes() == long, "{} bytes, seed {seed}", echoed.bytes().len());
            let echoed =
                server.send(Ask::post("/proxy/echo").pieces(long.chunks(7_777).map(<[u8]>::to_vec))).expect(200);
            assert!(echoed.bytes() == long, "{} bytes in pieces, seed {seed}", echoed.bytes().len());
            assert_eq!(server.post("/proxy/count", "hello").text(), "5 None");
            let waits = Ask::post("/proxy/count").header("Expect", "100-continue").body("hello");
            assert_eq!(server.send(waits).text(), "5 None");
        }
    }
}

/// The answer begins long before the request has ended; and the connection serves the next.
#[test]
fn a_connection_outlives_a_long_body_that_is_passed_on() {
    for over in BOTH {
        let server = start(over, 1, Plan::CALM, &Made::default());
        let long = vec![b'x'; 3_000_000];
        let echoed = server.send(Ask::post("/proxy/echo").body(long.clone())).expect(200);
        assert!(echoed.bytes() == long, "{} bytes", echoed.bytes().len());
        assert!(!echoed.headers().contains_key("connection"), "{:?}", echoed.headers());
    }
}

#[test]
fn an_exchange_goes_both_ways_at_once() {
    for over in BOTH {
        let server = start(over, 1, Plan::CALM, &Made::default());
        server.run(async |client| {
            let mut exchange = client.begin(Ask::post("/proxy/echo").pieces(["begun"])).await.unwrap();
            assert_eq!(
                exchange.next().await.unwrap().unwrap(),
                b"begun",
                "the answer begins before the request has ended"
            );
            exchange.send("more").await.unwrap();
            assert_eq!(exchange.next().await.unwrap().unwrap(), b"more");
            exchange.finish().await.unwrap();
            assert_eq!(exchange.next().await.unwrap(), None);
        });
    }
}

#[test]
fn trailers_are_passed_on_both_ways() {
    for over in BOTH {
        let server = start(over, 1, Plan::CALM, &Made::default());
        let response = server.send(Ask::get("/proxy/sum"));
        assert_eq!((response.text(), response.trailers().len()), ("1 2 3", 0), "nobody has asked for them");
        let text = server.run(async |client| {
            let mut connection = client.open().await;
            let head = "POST /proxy/count HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send(format!("{head}5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")).await.unwrap();
            connection.response(&Method::POST).await.unwrap().text().to_owned()
        });
        assert_eq!(text, "5 Some(\"7\")");
    }
}

#[test]
fn what_is_for_one_connection_is_not_passed_on() {
    for over in BOTH {
        let server = start(over, 1, Plan::CALM, &Made::default());
        let text = server.run(async |client| {
        let mut connection = client.open().await;
        let fields = "Connection: x-mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nX-Theirs: 1\r\n\
                      connection: TE,X-Other\r\nx-other: 1\r\nCookie: a=b\r\nUpgrade: x\r\n";
        connection.send(format!("GET /proxy/headers HTTP/1.1\r\nHost: here\r\n{fields}\r\n")).await.unwrap();
        connection.response(&Method::GET).await.unwrap().text().to_owned()
    });
        let expect = if over == Over::Http1 { "cookie host x-theirs" } else { "cookie x-theirs" };
        assert_eq!(text, expect);
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_the_server_behind() {
    for over in BOTH {
        let made = Made::default();
        let server = start(over, 1, Plan::CALM, &made);
        let counts = server.run({
            let made = made.clone();
            async move |client| {
                let mut connection = client.open().await;
                connection.send("GET /proxy/endless HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
                let mut counts = Vec::new();
                for _ in 0..3 {
                    client.sleep(Duration::from_secs(5)).await;
                    counts.push(made.get());
                }
                counts
            }
        });
        assert!(counts[0] > 0 && counts[0] == counts[2], "{counts:?}");
        assert!(counts[0] * PIECE < 4 << 20, "{} bytes are on their way", counts[0] * PIECE);
    }
}

#[test]
fn a_client_that_leaves_ends_what_is_asked_for_it() {
    for over in BOTH {
        for seed in test::seeds(10) {
            let made = Made::default();
            let server = start(over, seed, Plan::CHOPPY, &made);
            server.run(async |client| {
                for path in ["/proxy/silent", "/proxy/endless"] {
                    let mut connection = client.open().await;
                    connection.send(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")).await.unwrap();
                    client.sleep(Duration::from_secs(1)).await;
                    connection.reset();
                }
                client.sleep(Duration::from_secs(1)).await;
            });
            let at_once = made.get();
            server.advance(Duration::from_secs(10));
            assert_eq!(made.get(), at_once, "seed {seed}: the stream behind has ended");
            server.end();
        }
    }
}

#[test]
fn what_goes_wrong_behind_is_told() {
    for over in BOTH {
        let server = start(over, 1, Plan::CALM, &Made::default());
        assert!(server.get("/nobody").expect(502).text().contains("has not answered as it should"));
        server.get("/proxy/silent").expect(504);
        assert_eq!(server.post("/proxy/refused", vec![0; 3_000_000]).expect(413).text(), "no");
        // The answer had begun: it is cut, and not mistaken for a whole one.
        let failed = server.run(async |client| client.try_send(Ask::get("/proxy/broken")).await.unwrap_err());
        assert_eq!(failed, test::Failure::Cut);
        // The next answer comes over a connection of its own.
        assert_eq!(server.get("/proxy/hello").text(), "hello");
    }
}

#[test]
fn whatever_the_network_does_answers_are_whole_or_errors() {
    for over in BOTH {
        let long: Vec<u8> = (0..50_000_u32).map(|number| (number * 7) as u8).collect();
        let plan = Plan { resets: 0.01, ..Plan::CHOPPY };
        let (mut whole, mut failed) = (0, 0);
        for seed in test::seeds(60) {
            let server = start(over, seed, plan, &Made::default());
            for _ in 0..4 {
                let asked = Ask::post("/proxy/echo").body(long.clone());
                match server.run(async move |client| client.try_send(asked).await) {
                    Ok(response) if response.status() == 200 => {
                        assert!(response.bytes() == long, "seed {seed}");
                        whole += 1;
                    }
                    Ok(response) => {
                        assert!(matches!(response.status().as_u16(), 400 | 502), "seed {seed}: {response:?}");
                        failed += 1;
                    }
                    Err(_) => failed += 1,
                }
            }
        }
        assert!(whole > 0 && failed > 0, "{whole} whole, {failed} failed");
    }
}
