//! HTTP/1.1 by hand on `httparse`, as one would write it for a benchmark on a bare runtime: requests are read from one
//! buffer, routed by method and path, and answered into another, which goes out in one write for all that a read brought.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::{BYTES, JSON, Message, PLAINTEXT, SERVER, TEXT};

/// What one read takes: sixteen pipelined requests or a body of 16 KiB several times.
pub const READ_BYTES: usize = 64 * 1024;

/// Larger heads and bodies end the connection.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// More fields than these end the connection.
const FIELDS_MAX: usize = 32;

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { second: -1, line: Vec::new() }) };
}

/// The lines `Server` and `Date`, made once a second.
struct Date {
    second: i64,
    line: Vec<u8>,
}

/// Whether the connection goes on after what was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// More requests may come.
    Open,
    /// To be closed once the answers are sent.
    Ended,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The beginning of a request whose rest has not come yet.
    carry: Vec<u8>,
}

impl Conversation {
    /// Takes the next bytes of the connection and appends the answers to all requests that are whole with them.
    pub fn answer(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Life {
        if self.carry.is_empty() {
            let (used, life) = answer_whole(bytes, output);
            self.carry.extend_from_slice(&bytes[used..]);
            return life;
        }
        self.carry.extend_from_slice(bytes);
        let (used, life) = answer_whole(&self.carry, output);
        self.carry.drain(..used);
        if self.carry.len() > REQUEST_BYTES_MAX { Life::Ended } else { life }
    }
}

/// Returns how many bytes were whole requests.
fn answer_whole(bytes: &[u8], output: &mut Vec<u8>) -> (usize, Life) {
    let mut used = 0;
    while used < bytes.len() {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let head_bytes = match request.parse(&bytes[used..]) {
            Ok(httparse::Status::Complete(count)) => count,
            Ok(httparse::Status::Partial) => return (used, Life::Open),
            Err(_) => return (used, Life::Ended),
        };
        let (mut body_bytes, mut close) = (0, false);
        for field in request.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                match std::str::from_utf8(field.value).ok().and_then(|text| text.parse().ok()) {
                    Some(count) if count <= REQUEST_BYTES_MAX => body_bytes = count,
                    _ => return (used, Life::Ended),
                }
            } else if field.name.eq_ignore_ascii_case("connection") {
                close = field.value.eq_ignore_ascii_case(b"close");
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return (used, Life::Ended);
            }
        }
        let Some(body) = bytes[used + head_bytes..].get(..body_bytes) else { return (used, Life::Open) };
        match (request.method, request.path) {
            (Some("GET"), Some("/plaintext")) => write("200 OK", TEXT, PLAINTEXT.as_bytes(), close, output),
            (Some("GET"), Some("/json")) => {
                let mut text = [0; 64];
                let mut rest = &mut text[..];
                serde_json::to_writer(&mut rest, &Message::HELLO).expect("the message is shorter");
                let left = rest.len();
                write("200 OK", JSON, &text[..text.len() - left], close, output);
            }
            (Some("POST"), Some("/echo")) => write("200 OK", BYTES, body, close, output),
            _ => write("404 Not Found", TEXT, b"", close, output),
        }
        used += head_bytes + body_bytes;
        if close {
            return (used, Life::Ended);
        }
    }
    (used, Life::Open)
}

fn write(status: &str, content_type: &str, body: &[u8], close: bool, output: &mut Vec<u8>) {
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(status.as_bytes());
    output.extend_from_slice(b"\r\nContent-Type: ");
    output.extend_from_slice(content_type.as_bytes());
    DATE.with_borrow_mut(|date| output.extend_from_slice(date.line()));
    output.extend_from_slice(b"Content-Length: ");
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = body.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[at..]);
    output.extend_from_slice(if close { b"\r\nConnection: close\r\n\r\n" } else { b"\r\n\r\n" });
    output.extend_from_slice(body);
}

impl Date {
    fn line(&mut self) -> &[u8] {
        let second = clock_gettime(ClockId::RealtimeCoarse).tv_sec;
        if second != self.second {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second.unsigned_abs()));
            self.line = format!("\r\nServer: {SERVER}\r\nDate: {date}\r\n").into_bytes();
            self.second = second;
        }
        &self.line
    }
}
