//! Heads of requests, beside `httparse`.

use proto::h1::{Error, Event, Limits, Server};
use proto::head::HeadTable;

/// What both take is the same; what one refuses and the other takes is in one of the lists below.
pub fn h1_head_vs_httparse(input: &[u8]) {
    let (mut server, mut table, limits) = (Server::new(), HeadTable::new(), Limits::default());
    let ours = server.receive(input, &mut table, &limits);
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let theirs = request.parse(input);
    match (ours, theirs) {
        (Ok(step), Ok(httparse::Status::Complete(bytes))) if matches!(step.event, Event::Head(_)) => {
            // Empty lines before a request line are part of its block, with both.
            assert_eq!(step.consumed, bytes);
            let block = &input[..step.consumed];
            assert_eq!(Some(table.method().as_str()), request.method);
            assert_eq!(Some(table.target(block)), request.path.map(str::as_bytes));
            assert_eq!(Some(table.version() == http::Version::HTTP_11), request.version.map(|minor| minor == 1));
            let fields = request.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            assert!(table.iter(block).eq(fields), "the fields differ");
        }
        (Ok(step), theirs) if matches!(step.event, Event::Head(_)) => {
            let block = &input[..step.consumed];
            assert!(ours_alone(block), "taken, and {theirs:?} by httparse");
        }
        (Err(error), Ok(httparse::Status::Complete(_))) => {
            assert!(refused_alone(error), "{error:?}, and taken by httparse")
        }
        // The line's end has not come, or the connection speaks HTTP/2: httparse has its own idea of an error's place.
        (Ok(step), Ok(httparse::Status::Complete(_))) => {
            assert!(matches!(step.event, Event::Http2Preface), "{:?}, and taken by httparse", step.event);
        }
        (Ok(_) | Err(_), _) => {}
    }
}

/// Why httparse refuses a head that we take.
fn ours_alone(block: &[u8]) -> bool {
    let line = block.split(|&byte| byte == b'\n').find(|line| *line != b"\r").unwrap_or_default();
    is_of_a_higher_minor_version(line)
}

/// RFC 9110 section 2.5: it is to be served as the highest that the server knows.
pub(crate) fn is_of_a_higher_minor_version(line: &[u8]) -> bool {
    matches!(line, [.., b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', b'\r'])
}

/// Why we refuse a head that httparse takes: it finds lines and fields, and judges neither what they mean nor how much there
/// is of them.
fn refused_alone(error: Error) -> bool {
    match error {
        // RFC 9112 section 2.2: a recipient may take a bare LF, or many empty lines.
        Error::BareLf | Error::EmptyLines => true,
        // RFC 9112 section 3.2 and RFC 9110 section 7: what a target and a host are.
        Error::Target | Error::TargetForm | Error::TargetAuthority => true,
        Error::HostMissing | Error::HostRepeated | Error::Host => true,
        // RFC 9112 section 6, RFC 9110 sections 8.6 and 10.1.1: what framing and expectations mean.
        Error::LengthMalformed | Error::LengthRepeated | Error::LengthWithCoding => true,
        Error::CodingInOldVersion | Error::CodingNotChunked | Error::CodingUnknown | Error::Expectation => true,
        // Bounds.
        Error::MethodTooLong | Error::TargetTooLong | Error::HeadTooLong | Error::TooManyFields => true,
        _ => false,
    }
}
