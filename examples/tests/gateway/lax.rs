//! A server that is lax on purpose, and keeps every byte that it gets.
//!
//! It takes what real servers have been found to take: bare LF for a line's end, a length beside chunks, the last of two lengths,
//! white space before a colon, chunk sizes with anything behind them. So whatever comes to it that is not in order makes it see
//! requests that nobody sent. What it sees it answers, and says so in its answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::wire::WAIT_MAX;

/// The server. Its threads end with their connections, and with the test.
pub(crate) struct Lax {
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    is_over: Arc<AtomicBool>,
}

/// What has come so far.
#[derive(Default)]
struct Kept {
    /// The bytes of each connection.
    connections: Vec<Vec<u8>>,
    /// Targets of requests, in the order in which they were seen in whole.
    seen: Vec<String>,
}

/// How it answers: what has been seen, and the answer's bytes.
type Answer = dyn Fn(&Seen) -> Vec<u8> + Send + Sync;

/// A request as the server takes it.
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
}

impl Lax {
    /// Answers with the target that it has seen.
    pub(crate) fn start() -> Lax {
        Lax::answering(|seen| {
            let body = format!("seen {}", seen.target);
            let sent = if seen.method == "HEAD" { "" } else { &body };
            format!("HTTP/1.1 200 OK\r\nX-Seen: 1\r\nContent-Length: {}\r\n\r\n{sent}", body.len()).into_bytes()
        })
    }

    pub(crate) fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Lax {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (kept, is_over) = (Arc::<Mutex<Kept>>::default(), Arc::new(AtomicBool::new(false)));
        let lax = Lax { address, kept: Arc::clone(&kept), is_over: Arc::clone(&is_over) };
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let number = {
                    let mut kept = kept.lock().expect("nobody panics");
                    kept.connections.push(Vec::new());
                    kept.connections.len() - 1
                };
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || serve(stream, number, &kept, &*answer));
            }
        });
        lax
    }

    /// Targets of the requests that it has seen since this was last asked.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().expect("nobody panics").seen)
    }

    /// All bytes so far, by connections.
    pub(crate) fn connections(&self) -> Vec<Vec<u8>> {
        self.kept.lock().expect("nobody panics").connections.clone()
    }
}

impl Drop for Lax {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes whoever accepts.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn serve(mut stream: TcpStream, number: usize, kept: &Mutex<Kept>, answer: &Answer) {
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
    let (mut input, mut room) = (Vec::new(), [0; 64 * 1024]);
    loop {
        while let Some((seen, bytes)) = request(&input) {
            input.drain(..bytes);
            kept.lock().expect("nobody panics").seen.push(seen.target.clone());
            if stream.write_all(&answer(&seen)).is_err() {
                return;
            }
        }
        match stream.read(&mut room) {
            Ok(count @ 1..) => {
                kept.lock().expect("nobody panics").connections[number].extend_from_slice(&room[..count]);
                input.extend_from_slice(&room[..count]);
            }
            _ => return,
        }
    }
}

/// The request at the front, however it is written, and how many bytes it takes.
fn request(input: &[u8]) -> Option<(Seen, usize)> {
    let (mut at, mut lines) = (0, Vec::new());
    loop {
        let end = at + input[at..].iter().position(|&byte| byte == b'\n')?;
        let line = String::from_utf8_lossy(&input[at..end]).trim().to_owned();
        at = end + 1;
        match line.is_empty() {
            // Empty lines before a request are read over.
            true if lines.is_empty() => continue,
            true => break,
            false => lines.push(line),
        }
    }
    let mut words = lines[0].split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (mut length, mut is_chunked) = (None::<usize>, false);
    for line in &lines[1..] {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        match name.as_str() {
            "content-length" => {
                let digits: String = value.chars().filter(char::is_ascii_digit).collect();
                length = digits.parse().ok();
            }
            "transfer-encoding" => is_chunked |= value.to_ascii_lowercase().contains("chunked"),
            _ => {}
        }
    }
    let bytes = match (length, is_chunked) {
        (Some(length), _) => {
            input.get(at..at + length)?;
            at + length
        }
        (None, true) => chunks(input, at)?,
        (None, false) => at,
    };
    Some((Seen { method, target, head: lines.join("\n") }, bytes))
}

/// Where chunks end.
fn chunks(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let end = at + input[at..].iter().position(|&byte| byte == b'\n')?;
        let text = String::from_utf8_lossy(&input[at..end]).into_owned();
        let digits: String = text.trim().chars().take_while(char::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
        at = end + 1;
        if size == 0 {
            loop {
                let end = at + input[at..].iter().position(|&byte| byte == b'\n')?;
                let is_last = input[at..end].trim_ascii().is_empty();
                at = end + 1;
                if is_last {
                    return Some(at);
                }
            }
        }
        input.get(at..at + size)?;
        at += size;
        while input.get(at).is_some_and(|byte| b"\r\n".contains(byte)) {
            at += 1;
        }
    }
}
