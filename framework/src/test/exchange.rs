//! [`Exchange`]: one request and its response, each as it goes.

use http::StatusCode;
use proto::h1::FRAME_BYTES_MAX;
use proto::message::{BodyLength, WriteError};

use super::connection::{Piece, Reader, Stage, Wire};
use super::request::Body;
use super::{Client, Failure, Request, Response};
use crate::limits::{TEST_HEAD_BYTES, TEST_HEAD_BYTES_MAX};

/// A request under way and its response: for bodies that go or come bit by bit. See [`Client::begin`].
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::test::{self, Request};
///
/// let server = test::run(App::new().post("/echo", |body: Body| body));
/// server.run(async |client| {
///     let mut exchange = client.begin(Request::post("/echo").pieces(["begun"])).await.unwrap();
///     assert_eq!(exchange.next().await.unwrap().unwrap(), b"begun", "the answer begins before the request has ended");
///     exchange.send("more").await.unwrap();
///     assert_eq!(exchange.next().await.unwrap().unwrap(), b"more");
///     exchange.finish().await.unwrap();
///     assert_eq!(exchange.next().await.unwrap(), None);
/// });
/// ```
#[derive(Debug)]
pub struct Exchange {
    client: Client,
    /// `None` once it has gone back to the client.
    wire: Option<Wire>,
    reader: Reader,
    response: Response,
    /// The request's body can go on.
    is_open: bool,
}

impl Exchange {
    /// Sends a request; one whose body comes in pieces stays open.
    pub(super) async fn begin(client: Client, mut wire: Wire, request: Request) -> Result<Exchange, Failure> {
        let (mut reader, mut response) = (Reader::new(), Response::new(request.to_string()));
        let mut out = head(&mut reader, &request, client.host());
        let mut asked = true;
        if request.expects() {
            wire.exchange(std::mem::take(&mut out)).await?;
            // Asked for, or answered without.
            asked = loop {
                match reader.next(&mut wire, &mut response).await? {
                    Piece::Interim(StatusCode::CONTINUE) => break true,
                    Piece::Interim(_) => {}
                    _ => break false,
                }
            };
        }
        let is_open = matches!(request.body, Body::Pieces(_));
        let pieces = match request.body {
            Body::None => Vec::new(),
            Body::Whole(body) => vec![body],
            Body::Pieces(pieces) => pieces,
        };
        let mut exchange = Exchange { client, wire: Some(wire), reader, response, is_open };
        if !asked {
            // The request stays unfinished, and the connection is of no further use.
            exchange.is_open = false;
            return Ok(exchange);
        }
        for piece in pieces {
            exchange.frame(&piece, &mut out);
            exchange.transfer(std::mem::take(&mut out)).await?;
        }
        exchange.transfer(out).await?;
        if !is_open {
            exchange.finish().await?;
        }
        Ok(exchange)
    }

    /// Sends a further piece of the request's body, as a chunk. What the server answers meanwhile is kept.
    ///
    /// Panics if the request was not made with [`Request::pieces`], or has been finished.
    pub async fn send(&mut self, piece: impl AsRef<[u8]>) -> Result<(), Failure> {
        assert!(self.is_open, "the body of {} has ended", self.response.asked);
        let mut out = Vec::new();
        self.frame(piece.as_ref(), &mut out);
        self.transfer(out).await
    }

    /// Ends the request's body.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        self.is_open = false;
        let mut end = [0; FRAME_BYTES_MAX];
        // A body that has ended already ends with nothing.
        let count = self.reader.engine.finish(&mut end).unwrap_or_default();
        self.transfer(end[..count].to_vec()).await
    }

    /// The head of the response: a response that has no body yet.
    ///
    /// Errors: the connection ends first, or what comes is not a response.
    pub async fn head(&mut self) -> Result<&Response, Failure> {
        while self.reader.stage == Stage::Head {
            self.piece().await?;
        }
        Ok(&self.response)
    }

    /// The next piece of the response's body as it comes; `None` at its end.
    ///
    /// Errors: as [`head`](Exchange::head).
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        while self.reader.stage != Stage::Done {
            if let Piece::Data(data) = self.piece().await? {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The response, with the rest of its body. A request that is still open ends first.
    ///
    /// Errors: as [`head`](Exchange::head).
    pub async fn response(mut self) -> Result<Response, Failure> {
        if self.is_open {
            self.finish().await?;
        }
        while let Some(data) = self.next().await? {
            self.response.body.extend_from_slice(&data);
        }
        Ok(std::mem::replace(&mut self.response, Response::new(String::new())))
    }

    async fn piece(&mut self) -> Result<Piece, Failure> {
        let Some(wire) = &mut self.wire else { return Ok(Piece::End) };
        let piece = self.reader.next(wire, &mut self.response).await?;
        self.settle();
        Ok(piece)
    }

    /// Gives the connection back once both sides have ended and it is of further use.
    fn settle(&mut self) {
        let engine = &self.reader.engine;
        if self.reader.stage == Stage::Done
            && let Some(wire) = self.wire.take_if(|wire| !wire.has_ended && wire.input.is_empty())
            && engine.is_idle()
            && engine.keep_alive()
        {
            self.client.put_back(wire);
        }
    }

    /// Adds a piece of body, framed, to what is to be sent.
    fn frame(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        let mut front = [0; FRAME_BYTES_MAX];
        let frame = self.reader.engine.data(piece.len(), &mut front).expect("the body's end has not been written");
        out.extend_from_slice(&front[..frame.head]);
        out.extend_from_slice(piece);
        out.extend_from_slice(frame.tail);
    }

    async fn transfer(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        match &mut self.wire {
            Some(wire) if !bytes.is_empty() => wire.exchange(bytes).await,
            _ => Ok(()),
        }
    }
}

/// Writes the head of a request.
fn head(reader: &mut Reader, request: &Request, host: &str) -> Vec<u8> {
    let Request { method, target, headers, body } = request;
    let length = match body {
        Body::None => BodyLength::None,
        Body::Whole(body) => BodyLength::Known(body.len() as u64),
        Body::Pieces(_) => BodyLength::Unknown,
    };
    let mut out = vec![0; TEST_HEAD_BYTES];
    loop {
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let target = target.as_bytes();
        match reader.engine.request(method, target, host.as_bytes(), fields, length, &mut out) {
            Ok(count) => {
                out.truncate(count);
                return out;
            }
            Err(WriteError::Full) if out.len() < TEST_HEAD_BYTES_MAX => out.resize(out.len() * 4, 0),
            Err(error) => panic!("{method} {target:?} cannot be sent: {error}", target = request.target),
        }
    }
}
