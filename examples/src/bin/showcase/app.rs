//! What the showcase serves: one handler for each route. Where and on what it runs is `main`'s, so that the tests can serve
//! the same app on a simulated machine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};
use shardwise::http::HeaderValue;
use shardwise::http::header::CONTENT_TYPE;
use shardwise::prelude::*;
use shardwise::ws::{Compression, Limits, WebSocketUpgrade};
use shardwise::{CallError, Config, Files, FromRequest, Known, Rejection, Stream};

/// The app of one shard. All shards have the counts in common, each those of the keys that it owns. Files are served if there
/// is a root to serve them from.
pub(crate) fn app(shard: &Shard, root: Option<&std::path::Path>) -> App {
    let counts = PerShard::new(shard, Counts::default);
    // Those who try implementations of QUIC against each other ask by this.
    let mut config = Config::default();
    config.quic.protocols.push(b"hq-interop".to_vec());
    let app = App::new()
        .config(config)
        .state(counts)
        .get("/plaintext", plaintext)
        .get("/json", json)
        .post("/echo", echo)
        .post("/sum", sum)
        .get("/bytes/{n}", bytes)
        .get("/stream/{n}", stream)
        .get("/headers", headers)
        .any("/request", request)
        .any("/request/{*rest}", request)
        .get("/sleep/{ms}", sleep)
        .get("/shard", self::shard)
        .get("/mesh/{shard}", mesh)
        .get("/count/{key}", count)
        .get("/ws", ws)
        .get("/ws/kept", ws_kept);
    match root {
        Some(root) => app.get("/files/{*path}", Files::new(root)),
        None => app,
    }
}

fn plaintext() -> &'static str {
    "Hello, World!"
}

#[derive(serde::Serialize)]
struct Message {
    message: &'static str,
}

fn json() -> Json<Message> {
    Json(Message { message: "Hello, World!" })
}

/// The body as it comes, without gathering it.
fn echo(mut request: Request) -> Response {
    let body = request.take_body();
    let Some(sent) = request.known(Known::ContentType) else { return body.respond() };
    let value = match COMMON_TYPES.iter().find(|common| common.as_bytes() == sent) {
        Some(common) => common.clone(),
        None => HeaderValue::from_bytes(sent).unwrap_or_else(|_| COMMON_TYPES[0].clone()),
    };
    ([(CONTENT_TYPE, value)], body).respond()
}

/// What came, for those who do not read while they write, as browsers do not: how much, and its FNV-1a hash.
async fn sum(mut request: Request) -> Result<Json<Sum>, Rejection> {
    let mut body = request.take_body();
    let mut sum = Sum { bytes: 0, hash: 0x811c_9dc5 };
    while let Some(chunk) = body.chunk().await? {
        sum.bytes += chunk.len() as u64;
        sum.hash = chunk.iter().fold(sum.hash, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    }
    Ok(Json(sum))
}

#[derive(serde::Serialize)]
struct Sum {
    bytes: u64,
    hash: u32,
}

/// Content types that need no memory of their own.
static COMMON_TYPES: [HeaderValue; 5] = [
    HeaderValue::from_static("application/octet-stream"),
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("application/x-www-form-urlencoded"),
    HeaderValue::from_static("text/plain"),
    HeaderValue::from_static("text/plain; charset=utf-8"),
];

/// What bodies are made of.
static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

fn bytes(Path(count): Path<u64>) -> Response {
    if let Some(whole) = usize::try_from(count).ok().and_then(|count| BLOCK.get(..count)) {
        return whole.respond();
    }
    let stream = Stream::new(async move |mut sink| {
        let mut left = count;
        while left > 0 {
            let piece = left.min(BLOCK.len() as u64);
            sink.send(&BLOCK[..piece as usize]).await?;
            left -= piece;
        }
        Ok(())
    });
    octets(stream.with_length(count))
}

fn stream(Path(count): Path<u64>) -> Response {
    octets(Stream::new(async move |mut sink| {
        for _ in 0..count {
            sink.send(&BLOCK[..16 * 1024]).await?;
        }
        Ok(())
    }))
}

fn octets(stream: Stream) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))], stream).respond()
}

async fn headers(request: Request) -> Json<Received> {
    let mut received = Received(Vec::new());
    for (name, value) in request.headers() {
        let (name, value) = (String::from_utf8_lossy(name).to_ascii_lowercase(), String::from_utf8_lossy(value).into());
        match received.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => received.0.push((name, vec![value])),
        }
    }
    Json(received)
}

/// The request as it arrived, its body unframed: what a server has understood shows whether it reads as others do.
async fn request(request: Request) -> Result<Response, Rejection> {
    let mut told = format!("{} {} {:?}\r\n", request.method(), request.target(), request.version()).into_bytes();
    for (name, value) in request.headers() {
        told.extend([name, b": ", value, b"\r\n"].concat());
    }
    told.extend(b"\r\n");
    told.extend(Bytes::from_request(request).await?);
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("message/http"))], told).respond())
}

/// Header names in the order received, each with its values.
struct Received(Vec<(String, Vec<String>)>);

impl Serialize for Received {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, values) in &self.0 {
            map.serialize_entry(name, values)?;
        }
        map.end()
    }
}

async fn sleep(Path(milliseconds): Path<u32>, shard: Shard) -> StatusCode {
    shard.sleep(Duration::from_millis(milliseconds.into())).await;
    StatusCode::NO_CONTENT
}

fn shard(shard: Shard) -> String {
    shard.number().to_string()
}

/// The number of the shard that ran the closure sent there.
async fn mesh(Path(number): Path<usize>, shard: Shard) -> Result<Response> {
    match shard.on(number, Shard::number).await {
        Ok(number) => Ok(number.to_string().respond()),
        Err(CallError::NoShard) => Ok(Rejection::new(StatusCode::NOT_FOUND, "no shard has that number").respond()),
        Err(error) => Err(error.into()),
    }
}

/// A WebSocket that sends back every message.
fn ws(upgrade: WebSocketUpgrade) -> Response {
    send_back(upgrade, Compression::default())
}

/// The same, but each message is compressed with those before it in mind, both ways.
fn ws_kept(upgrade: WebSocketUpgrade) -> Response {
    send_back(upgrade, Compression { keeps_sending: true, keeps_receiving: true, ..Compression::default() })
}

fn send_back(upgrade: WebSocketUpgrade, compression: Compression) -> Response {
    let limits = Limits {
        frame_bytes_max: MESSAGE_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        // Of such a message in pieces of 64 bytes.
        fragment_count_max: (MESSAGE_BYTES_MAX / 64) as u32,
    };
    upgrade.compression(compression).limits(limits).on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

/// Bytes of a message: as many as test suites send, who ask for sixteen mebibytes.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// How often each key was asked for.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

/// Keys that one shard counts. What clients may make a server remember has a bound; further keys are refused.
const KEYS_MAX: usize = 100_000;

impl Counts {
    fn next(&mut self, key: String) -> Option<u64> {
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(&key) {
            return None;
        }
        let count = self.0.entry(key).or_default();
        *count += 1;
        Some(*count)
    }
}

/// How often this key was asked for so far, this time included, on whichever shard.
async fn count(Path(key): Path<String>, State(counts): State<PerShard<Counts>>) -> Result<Response> {
    let owner = counts.owner(&key);
    match counts.on_mut(owner, move |counts| counts.next(key)).await? {
        Some(count) => Ok(count.to_string().respond()),
        None => Ok(Rejection::new(StatusCode::INSUFFICIENT_STORAGE, "too many keys are counted already").respond()),
    }
}
