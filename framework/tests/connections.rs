//! What connections do as time passes, on the test kit: time is virtual, so limits of minutes are tested as they are.

use std::time::Duration;

use shardwise::prelude::*;
use shardwise::test::{self, Connection, Plan};
use shardwise::ws::WebSocketUpgrade;
use shardwise::{Config, Stream};

/// How long a peer may take nothing.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes of a piece: as much as a connection gathers before it waits.
const PIECE: usize = 64 * 1024;

static BLOCK: [u8; PIECE] = [b'x'; PIECE];

fn app() -> App {
    let stream = async |Path(bytes): Path<usize>| {
        Stream::new(async move |mut sink| {
            let mut left = bytes;
            while left > 0 {
                sink.send(&BLOCK[..left.min(PIECE)]).await?;
                left -= left.min(PIECE);
            }
            Ok(())
        })
    };
    App::new().config(Config { write_stall_max: STALL_MAX, ..Config::default() }).get("/stream/{bytes}", stream)
}

/// Asks for three streams of so many bytes, reads nothing for a time, then all there is. Gives the number of whole answers.
fn check_stalled(seed: u64, bytes: usize, time: Duration, expect: usize) {
    let server = test::builder().seed(seed).plan(Plan::CHOPPY).start(|_| app());
    let answered = server.run(async move |client| {
        let mut connection = client.open().await;
        let request = format!("GET /stream/{bytes} HTTP/1.1\r\nHost: here\r\n\r\n");
        connection.send(request.repeat(3)).await.expect("it is read");
        client.sleep(time).await;
        let mut answered = 0;
        while answered < 3 && connection.response(&Method::GET).await.is_ok() {
            answered += 1;
        }
        answered
    });
    assert_eq!(answered, expect, "{bytes} bytes, of which nothing was read for {time:?}");
}

/// Every wake-up pulled a further piece out of the response before it was seen that the last had not left. The alarm was
/// such a wake-up: a response whose last piece came with it ended, and the next request of the pipeline set the alarm anew.
#[shardwise::test(seeds = 3)]
fn a_peer_that_takes_nothing_is_given_up_in_time_wherever_its_response_stands(seed: u64) {
    // What the peer has not read ends in the midst of the second piece; the third and the fourth are the last, or none is.
    for bytes in [2 * PIECE + 1000, 3 * PIECE - 1000, 3 * PIECE, 3 * PIECE + 1000, 20 * PIECE] {
        check_stalled(seed, bytes, STALL_MAX - Duration::from_secs(1), 3);
        check_stalled(seed, bytes, STALL_MAX + Duration::from_secs(1), 0);
    }
}

/// Asks by a connection that is there, for how many tasks are under way.
async fn under_way(connection: &mut Connection) -> String {
    connection.send("GET /under-way HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("it is read");
    connection.response(&Method::GET).await.expect("it is answered").text().to_owned()
}

/// Once many are under way, others begin a few at a time: so whoever waits for a request, or goes on for good, must not count.
#[shardwise::test(seeds = 3)]
fn those_that_have_begun_a_request_are_under_way_and_no_others(seed: u64) {
    let app = || {
        App::new()
            .get("/under-way", |shard: Shard| shard.task_stats().under_way.to_string())
            .get("/waits", async |shard: Shard| shard.sleep(Duration::from_secs(10)).await)
            .get("/ws", |upgrade: WebSocketUpgrade| {
                upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
            })
    };
    let server = test::builder().seed(seed).plan(Plan::CALM).start(move |_| app());
    server.run(async |client| {
        let mut asking = client.open().await;
        // By then each has been at rest: what comes with a connection is no new beginning.
        let moment = Duration::from_millis(5);
        client.sleep(moment).await;
        assert_eq!(under_way(&mut asking).await, "1");
        let mut idle = client.open().await;
        client.sleep(moment).await;
        assert_eq!((under_way(&mut idle).await, under_way(&mut asking).await), ("1".to_owned(), "1".to_owned()));
        let mut waits = client.open().await;
        client.sleep(moment).await;
        waits.send("GET /waits HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        let mut socket = client.open().await;
        client.sleep(moment).await;
        let opening = "GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.send(opening).await.unwrap();
        let switched = socket.receive().await.unwrap().expect("an answer");
        assert!(switched.starts_with(b"HTTP/1.1 101 "));
        let mut many = client.open().await;
        client.sleep(moment).await;
        // Its preface, and settings of which there are none (RFC 9113 section 3.4).
        many.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        many.receive().await.unwrap().expect("settings");
        assert_eq!(under_way(&mut asking).await, "2", "the one that waits, and who asks");
        waits.response(&Method::GET).await.unwrap();
        assert_eq!(under_way(&mut asking).await, "1");
    });
}

/// Heads of answers are copied within a second, so what stands in them must not outlive it.
#[shardwise::test(seeds = 3)]
fn the_date_of_an_answer_that_comes_again_moves_on(seed: u64) {
    let app = || App::new().get("/small", || "small").get("/large", || vec![b'x'; PIECE]);
    let server = test::builder().seed(seed).plan(Plan::CALM).start(move |_| app());
    server.run(async |client| {
        let mut connection = client.open().await;
        for path in ["/small", "/large"] {
            let mut dates = Vec::new();
            for _ in 0..4 {
                connection.send(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")).await.unwrap();
                dates.push(connection.response(&Method::GET).await.unwrap().header("date").to_owned());
                client.sleep(Duration::from_millis(1500)).await;
            }
            let count = dates.len();
            dates.dedup();
            assert_eq!(dates.len(), count, "{path}: {dates:?}");
        }
    });
}
