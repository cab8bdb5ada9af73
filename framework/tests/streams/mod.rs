//! What is asked over versions of HTTP that have many streams: the same of both.

pub(crate) mod leaving;
pub(crate) mod tunnels;

use shardwise::Stream;
use shardwise::http::{HeaderName, HeaderValue};
use shardwise::prelude::*;

pub(crate) fn app() -> App {
    App::new()
        .get("/", || "hello")
        .get("/later", async |shard: Shard| {
            shard.sleep(std::time::Duration::from_millis(3)).await;
            "later"
        })
        .get("/bytes/{count}", |Path(count): Path<usize>| pattern(count))
        .get("/stream/{count}", |Path(count): Path<usize>| stream(count, None))
        .get("/told/{count}", |Path(count): Path<usize>| stream(count, Some(count as u64)))
        .get("/short", || stream(10, Some(11)))
        .get("/long", || stream(11, Some(10)))
        .get("/nothing-to-say", || StatusCode::NO_CONTENT)
        .get("/for-ever", async |shard: Shard| shard.sleep(std::time::Duration::from_secs(1_000_000)).await)
        .get("/who", |request: Request| format!("{:?} {} {}", request.version(), request.authority(), request.target()))
        .get("/early", |request: Request| request.is_early().to_string())
        .get("/peer", |request: Request| request.peer().remote().expect("it has one").to_string())
        .get("/pool", |shard: Shard| shard.pool().bytes().to_string())
        .post("/held", async |shard: Shard, body: Body| {
            shard.sleep(std::time::Duration::from_secs(60)).await;
            drop(body);
        })
        .post("/count", count)
        .post("/text", |text: String| text)
        .post("/echo", |body: Body| body)
        .post("/ignored", || "ignored")
}

/// So many bytes, of which each place has its own.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at / 251 + at) as u8).collect()
}

/// The same bit by bit, with a trailer field unless the length is told.
fn stream(count: usize, length: Option<u64>) -> Stream {
    let stream = Stream::new(async move |mut sink| {
        for piece in pattern(count).chunks(7000) {
            sink.send(piece.to_vec()).await?;
            shardwise::yield_now().await;
        }
        let _ = sink.trailer(HeaderName::from_static("x-count"), HeaderValue::from(count));
        Ok(())
    });
    match length {
        Some(length) => stream.with_length(length),
        None => stream,
    }
}

/// Reads a body slowly, and says what came.
async fn count(shard: Shard, mut body: Body) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(&chunk);
        shard.sleep(std::time::Duration::from_micros(500)).await;
    }
    let is_right = bytes == pattern(bytes.len());
    let trailers = body.trailers().map_or(0, |trailers| trailers.iter().len());
    Ok(format!("{} bytes, {is_right}, {trailers} trailers", bytes.len()))
}
