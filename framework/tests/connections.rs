//! What connections do as time passes, on the test kit: time is virtual, so limits of minutes are tested as they are.

use std::time::Duration;

use shardwise::prelude::*;
use shardwise::test::{self, Plan};
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
