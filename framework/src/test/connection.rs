//! [`Connection`]: a connection whose client says whatever bytes it is told to, in whatever pace; and [`Wire`], what it
//! and an exchange are made of.

use std::fmt;
use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use net::TcpStream;
use platform::SocketOption;
use proto::h1::{self, Event, Limits};
use proto::head::HeadTable;
use proto::message::BodyLength;
use shards::Shard;

use super::Response;
use crate::limits::{TEST_HEAD_BYTES, TEST_INPUT_BYTES_MAX};

/// A connection in the hands of a test, for bytes that no client would send and for clients that do not behave.
///
/// ```
/// use shardwise::http::Method;
///
/// let server = shardwise::test::run(shardwise::App::new().get("/", || "hello"));
/// server.run(async |client| {
///     let mut connection = client.open().await;
///     connection.send("GET / HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\nHost: bare\n\n").await.unwrap();
///     assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "hello");
///     assert_eq!(connection.response(&Method::GET).await.unwrap().status(), 400);
///     assert_eq!(connection.receive().await.unwrap(), None, "and the server closes");
/// });
/// ```
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No connection: why.
    Connect(String),
    /// The connection ended before the first byte of a response.
    Closed,
    /// The connection ended in the middle of a response.
    Cut,
    /// The connection takes no more: why.
    Send(String),
    /// What came is not HTTP: why.
    Malformed(&'static str),
    /// Nothing came for so long, in virtual time.
    TimedOut(Duration),
}

impl Connection {
    pub(super) fn new(wire: Wire) -> Self {
        Connection { wire }
    }

    /// Sends bytes as they are, and waits until the network has taken them. A server that does not read holds this up.
    ///
    /// Errors: the connection is gone, or it takes nothing for too long.
    pub async fn send(&mut self, bytes: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let Wire { shard, stream, wait_max, .. } = &mut self.wire;
        match shard.timeout(*wait_max, stream.send(bytes.into())).await {
            Ok(sent) => sent.map_err(|error| Failure::Send(error.to_string())),
            Err(_) => Err(Failure::TimedOut(*wait_max)),
        }
    }

    /// The next bytes, as they come; `None` when the server has closed.
    ///
    /// Errors: the server has reset the connection (`Cut`), or sends nothing for too long.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.wire.input.is_empty() && !self.wire.fill().await? {
            return if self.wire.broken { Err(Failure::Cut) } else { Ok(None) };
        }
        Ok(Some(std::mem::take(&mut self.wire.input)))
    }

    /// The next response, read as one to this method.
    ///
    /// Errors: the connection ends first, or what comes is not a response.
    pub async fn response(&mut self, method: &Method) -> Result<Response, Failure> {
        let mut reader = Reader::new();
        // The engine reads answers to what it has asked.
        let target: &[u8] = if *method == Method::CONNECT { b"a:1" } else { b"/" };
        let none: [(&str, &str); 0] = [];
        let asked = reader.engine.request(method, target, b"a", none, BodyLength::None, &mut [0; TEST_HEAD_BYTES]);
        asked.and_then(|_| reader.engine.finish(&mut [])).expect("a request that is not sent");
        let mut response = Response::new(format!("{method} by hand"));
        reader.rest(&mut self.wire, &mut response).await?;
        Ok(response)
    }

    /// Ends this side: the server reads no more, and may still answer.
    pub fn end(&mut self) {
        // A connection that is gone has ended.
        let _ = self.wire.stream.shutdown(Shutdown::Write);
    }

    /// Resets the connection, as a client does that dies. To close it in order, drop it.
    pub fn reset(self) {
        let _ = self.wire.stream.set_option(SocketOption::Linger(Some(Duration::ZERO)));
    }
}

/// A stream, and what has come over it and not been looked at.
#[derive(Debug)]
pub(super) struct Wire {
    shard: Shard,
    stream: TcpStream,
    pub(super) input: Vec<u8>,
    /// Nothing more comes.
    pub(super) has_ended: bool,
    /// It did not end in order.
    broken: bool,
    wait_max: Duration,
}

impl Wire {
    pub(super) fn new(shard: &Shard, stream: TcpStream, wait_max: Duration) -> Self {
        Wire { shard: shard.clone(), stream, input: Vec::new(), has_ended: false, broken: false, wait_max }
    }

    /// Waits for more input. False when it has ended.
    async fn fill(&mut self) -> Result<bool, Failure> {
        if self.has_ended {
            return Ok(false);
        }
        let received = self.shard.timeout(self.wait_max, self.stream.recv()).await;
        let received = received.map_err(|_| Failure::TimedOut(self.wait_max))?;
        (self.has_ended, self.broken) = (!matches!(received, Ok(Some(_))), received.is_err());
        if let Ok(Some(chunk)) = received {
            self.input.extend_from_slice(&chunk);
        }
        Ok(!self.has_ended)
    }

    /// Sends, and keeps what comes meanwhile: a server that answers while it reads would else wait for us as we for it.
    /// Where the connection takes no more there may be an answer all the same, so that is no error here.
    pub(super) async fn exchange(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        let Wire { shard, stream, input, has_ended, broken, wait_max } = self;
        let (mut receiving, mut sending) = stream.split();
        let mut send = pin!(sending.send(bytes));
        let both = poll_fn(|cx| {
            if send.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            while !*has_ended && input.len() < TEST_INPUT_BYTES_MAX {
                let Poll::Ready(received) = receiving.poll_recv(cx) else { break };
                (*has_ended, *broken) = (!matches!(received, Ok(Some(_))), received.is_err());
                if let Ok(Some(chunk)) = received {
                    input.extend_from_slice(&chunk);
                }
            }
            Poll::Pending
        });
        shard.timeout(*wait_max, both).await.map_err(|_| Failure::TimedOut(*wait_max))
    }

    /// Whether the server has closed it, or said something unasked, since it was last used.
    pub(super) async fn is_stale(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.stream.poll_recv(cx).is_ready())).await
    }
}

/// Reads one response.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) engine: h1::Client,
    table: HeadTable,
    limits: Limits,
    /// What of the response has come.
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Head,
    Body,
    Done,
}

/// What a response consists of.
pub(super) enum Piece {
    /// An interim response.
    Interim(StatusCode),
    /// The head is in the response.
    Head,
    Data(Vec<u8>),
    /// The trailers are in the response.
    End,
}

impl Reader {
    pub(super) fn new() -> Self {
        let (engine, table) = (h1::Client::new(), HeadTable::new());
        Reader { engine, table, limits: Limits::default(), stage: Stage::Head }
    }

    /// The next piece. The body's data is not added to the response.
    pub(super) async fn next(&mut self, wire: &mut Wire, response: &mut Response) -> Result<Piece, Failure> {
        loop {
            let step = self.engine.receive(&wire.input, &mut self.table, &self.limits);
            let step = step.map_err(|error| Failure::Malformed(error.text()))?;
            let piece = match step.event {
                Event::NeedMore => None,
                Event::Head(_) => Some(self.head(&wire.input[..step.consumed], response)),
                Event::Data(range) => Some(Piece::Data(wire.input[range].to_vec())),
                Event::End { trailers } => {
                    self.stage = Stage::Done;
                    response.trailers = headers(self.table.trailers().iter(&wire.input[trailers]));
                    Some(Piece::End)
                }
                Event::Http2Preface | Event::Tunnel | Event::Closed => {
                    return Err(Failure::Malformed("the connection is HTTP no more"));
                }
            };
            wire.input.drain(..step.consumed);
            if let Some(piece) = piece {
                return Ok(piece);
            }
            if !wire.fill().await? {
                let is_complete = !wire.broken && self.engine.end_of_input().is_ok();
                let failure =
                    if self.stage == Stage::Head && wire.input.is_empty() { Failure::Closed } else { Failure::Cut };
                if !is_complete {
                    return Err(failure);
                }
            }
        }
    }

    fn head(&mut self, block: &[u8], response: &mut Response) -> Piece {
        let status = self.table.status();
        if status.is_informational() {
            return Piece::Interim(status);
        }
        self.stage = Stage::Body;
        response.status = status;
        response.headers = headers(self.table.iter(block));
        Piece::Head
    }

    /// Reads to the response's end.
    pub(super) async fn rest(&mut self, wire: &mut Wire, response: &mut Response) -> Result<(), Failure> {
        while self.stage != Stage::Done {
            if let Piece::Data(data) = self.next(wire, response).await? {
                response.body.extend_from_slice(&data);
            }
        }
        Ok(())
    }
}

/// Header lines as a map. The engine has looked at them, so none is refused.
fn headers<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> HeaderMap {
    let line = |(name, value): (&[u8], &[u8])| {
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in lines.filter_map(line) {
        map.append(name, value);
    }
    map
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(why) => write!(f, "no connection: {why}"),
            Failure::Closed => f.write_str("the connection ended without an answer"),
            Failure::Cut => f.write_str("the connection ended in the middle of an answer"),
            Failure::Send(why) => write!(f, "the connection takes no more: {why}"),
            Failure::Malformed(why) => write!(f, "the answer is not HTTP: {why}"),
            Failure::TimedOut(time) => write!(f, "nothing came for {time:?}"),
        }
    }
}

impl std::error::Error for Failure {}
