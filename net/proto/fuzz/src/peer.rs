//! A whole connection, beside `hyper` as a server over memory.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use proto::h1::Error;

use crate::cut::Cut;
use crate::server::{End, Received, transcript};

/// Requests that both receive are the same; where one goes on and the other does not, the reason is in a list below.
pub fn h1_server_vs_hyper(input: &[u8]) {
    let ours = transcript(input, Cut::Whole);
    let theirs = hyper(input);
    for (index, (ours, theirs)) in ours.requests.iter().zip(&theirs).enumerate() {
        if *ours != *theirs && !is_understood(ours, theirs) {
            panic!("request {index} is\n{ours:?}\nand to hyper\n{theirs:?}");
        }
        // What it does with the connection afterwards is another's business: a tunnel's, an upgrade's.
        if leaves_http(ours) {
            return;
        }
    }
    let count = theirs.len();
    match (ours.requests.get(count), theirs.get(ours.requests.len())) {
        (Some(request), _) => {
            assert!(ours_alone(input, request), "hyper has {count} requests and not\n{request:?}");
        }
        (None, Some(request)) => assert!(refused_alone(ours.end, request), "{:?}, and by hyper\n{request:?}", ours.end),
        (None, None) => {}
    }
}

/// What of a request differs, and may.
fn is_understood(ours: &Received, theirs: &Received) -> bool {
    let mut adapted = ours.clone();
    // Among fields of different names there is no order (RFC 9110 section 5.3); hyper keeps that of equal ones.
    adapted.fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    // `http::Uri` writes an absolute form with a path.
    if adapted.target != theirs.target && !adapted.target.starts_with(b"/") {
        adapted.target.clone_from(&theirs.target);
    }
    adapted == *theirs
}

fn leaves_http(request: &Received) -> bool {
    request.method == Method::CONNECT || request.fields.iter().any(|(name, _)| name == b"upgrade")
}

/// Why hyper does not take a request that we take.
fn ours_alone(input: &[u8], request: &Received) -> bool {
    let target = &request.target[..];
    // RFC 9110 section 2.5: it does not serve HTTP/1.2. (We do, as 1.1, so that the version no longer shows.)
    let is_newer = input.split(|&byte| byte == b'\n').any(crate::heads::is_of_a_higher_minor_version);
    // RFC 3986 section 3.2.2: `http::Uri` takes fewer hosts than the grammar has.
    let is_uri = http::Uri::try_from(target).is_ok();
    is_newer || !is_uri
}

/// Why we do not take a request that hyper takes.
fn refused_alone(end: End, request: &Received) -> bool {
    let has = |name: &[u8]| request.fields.iter().any(|(known, _)| known == name);
    match end {
        // RFC 9113 section 3.4 is another engine's.
        End::Http2 => true,
        End::Refused(error) => match error {
            // RFC 9112 section 2.2: a recipient may take a bare LF, or many empty lines.
            Error::BareLf | Error::EmptyLines => true,
            // RFC 9112 section 3.2: it does not look at forms and hosts, and lets `http::Uri` drop a fragment.
            Error::Target | Error::TargetForm | Error::TargetAuthority => true,
            Error::HostMissing | Error::HostRepeated | Error::Host => true,
            // RFC 9112 section 6.3: a server may take equal lengths for one, and a coding before a length.
            Error::LengthRepeated | Error::LengthWithCoding => true,
            Error::LengthMalformed => has(b"transfer-encoding"),
            // RFC 9112 section 6.1: it leaves codings before `chunked` to the handler, and reads over empty members.
            Error::CodingUnknown | Error::CodingNotChunked => true,
            // RFC 9110 section 10.1.1: a server may answer 417.
            Error::Expectation => true,
            // RFC 9112 section 7.1.1: it does not look at extensions, and takes white space behind a size.
            Error::ChunkExtension | Error::ChunkExtensionsTooLong => true,
            // RFC 9110 section 6.5.1: what must not stand in trailers is for its caller to know.
            Error::TrailerField => true,
            // Bounds.
            Error::ChunkSize | Error::MethodTooLong | Error::TargetTooLong | Error::HeadTooLong => true,
            Error::TrailersTooLong | Error::TooManyTrailers => true,
            _ => false,
        },
        _ => false,
    }
}

/// All requests that hyper receives to their ends.
fn hyper(input: &[u8]) -> Vec<Received> {
    let received = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let received = Rc::clone(&received);
        async move {
            let (head, body) = request.into_parts();
            let connect = head.method == Method::CONNECT;
            // A body that is cut short or malformed: the request is not received.
            if let Ok(body) = body.collect().await {
                received.borrow_mut().push(request_of(head, body.to_bytes()));
            }
            let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
            if connect {
                *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.half_close(true).header_read_timeout(None);
    let connection = builder.serve_connection(Memory { input: input.to_vec(), at: 0 }, service);
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    // Memory is always ready, so hyper waits for nothing; a bound all the same.
    for _ in 0..1_000 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    received.take()
}

fn request_of(head: http::request::Parts, body: Bytes) -> Received {
    let names = head.headers.iter();
    let mut fields: Vec<_> =
        names.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    Received {
        method: head.method,
        target: head.uri.to_string().into_bytes(),
        is_old: head.version == Version::HTTP_10,
        fields,
        body: body.to_vec(),
    }
}

/// An end of a connection whose other end has said all that it says, and reads nothing.
struct Memory {
    input: Vec<u8>,
    at: usize,
}

impl Read for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = room.remaining().min(self.input.len() - self.at);
        room.put_slice(&self.input[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
