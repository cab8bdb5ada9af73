//! may_minihttp with one worker. It names itself `M`, so its answers are eight bytes shorter, and it never closes a
//! connection though asked to.

use std::io::{self, Read, Write};

use may_minihttp::{HttpServer, HttpService, Request, Response};
use peer::{Message, PLAINTEXT};

/// Of a coroutine: a read of a body happens on it.
const STACK_BYTES: usize = 64 * 1024;

/// What a read of a body takes.
const CHUNK_BYTES: usize = 16 * 1024;

#[derive(Clone)]
struct Service;

impl HttpService for Service {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        match (request.method(), request.path()) {
            ("GET", "/plaintext") => {
                response.header("Content-Type: text/plain; charset=utf-8").body(PLAINTEXT);
            }
            ("GET", "/json") => {
                response.header("Content-Type: application/json");
                serde_json::to_writer(BodyWriter(response), &Message::HELLO)?;
            }
            ("POST", "/echo") => {
                response.header("Content-Type: application/octet-stream");
                let mut chunk = [0; CHUNK_BYTES];
                let mut body = request.body();
                loop {
                    match body.read(&mut chunk)? {
                        0 => break,
                        count => response.body_mut().extend_from_slice(&chunk[..count]),
                    }
                }
            }
            _ => {
                response.status_code(404, "Not Found");
            }
        }
        Ok(())
    }
}

struct BodyWriter<'a, 'b>(&'a mut Response<'b>);

impl Write for BodyWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.body_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() {
    may::config().set_workers(1).set_stack_size(STACK_BYTES / size_of::<usize>());
    let addr = peer::free_addr();
    let server = HttpServer(Service).start(addr).expect("the address was free just now");
    peer::say(addr);
    let _ = server.join();
}
