//! [`Case`]: a request to one of the showcase's routes, and what must come of it.

use std::fmt;

use shardwise::test::Client;

use crate::malformed;
use crate::wire::{Answer, pattern};

/// A request, and what must come of it.
pub(crate) struct Case {
    pub(crate) request: Vec<u8>,
    pub(crate) is_head: bool,
    status: u16,
    body: Expect,
    /// Headers that the answer must have once.
    headers: Vec<(&'static str, String)>,
}

/// What a body must be.
enum Expect {
    Exactly(Vec<u8>),
    /// The number of one of so many shards.
    Shard(usize),
    /// Text that has this in it.
    Containing(&'static str),
}

impl Case {
    pub(crate) fn get(path: &str, status: u16, body: Vec<u8>) -> Case {
        Case::of("GET", path, "", b"", status, body)
    }

    /// A request with header lines, each with its end, and a body.
    fn of(method: &str, path: &str, lines: &str, body: &[u8], status: u16, expect: Vec<u8>) -> Case {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\n{lines}\r\n").into_bytes();
        request.extend_from_slice(body);
        let (is_head, headers) = (method == "HEAD", Vec::new());
        Case { request, is_head, status, body: Expect::Exactly(expect), headers }
    }

    /// One of all routes, by chance.
    pub(crate) fn any(client: &Client, shards: usize) -> Case {
        let random = |bound: u64| client.shard().random() % bound;
        // Small ones are many, large ones few.
        let size = (random(20_000) >> random(8)) as usize;
        match random(18) {
            0 => Case::get("/plaintext", 200, b"Hello, World!".into()),
            1 => Case::get("/json", 200, br#"{"message":"Hello, World!"}"#.into())
                .with("content-type", "application/json"),
            2 => Case::get(&format!("/bytes/{size}?ignored=yes"), 200, vec![b'x'; size]),
            3 => Case::get(&format!("/bytes/{}", size * 10), 200, vec![b'x'; size * 10]),
            4 => Case::get(&format!("/stream/{}", size % 5), 200, vec![b'x'; size % 5 * 16 * 1024]),
            5 => {
                let body = br#"{"host":["here"],"x-one":["1"],"x-two":["a, b","c"]}"#.to_vec();
                Case::of("GET", "/headers", "X-One: 1\r\nX-Two: a, b\r\nx-two:c \r\n", b"", 200, body)
            }
            6 => Case::get(&format!("/sleep/{}", random(60)), 204, Vec::new()),
            7 => Case { body: Expect::Shard(shards), ..Case::get("/shard", 200, Vec::new()) },
            8 => Case::of("HEAD", &format!("/bytes/{size}"), "", b"", 200, Vec::new()).with("content-length", size),
            9 => Case::of("HEAD", "/json", "", b"", 200, Vec::new()).with("content-length", 27),
            10 => Case::of("HEAD", "/stream/3", "", b"", 200, Vec::new()),
            11 => Case {
                body: Expect::Containing("DELETE is not for /json"),
                ..Case::of("DELETE", "/json", "", b"", 405, Vec::new()).with("allow", "GET, HEAD")
            },
            12 => Case {
                body: Expect::Containing("nothing is served at /nowhere"),
                ..Case::get("/nowhere", 404, Vec::new())
            },
            13 => {
                let number = random(shards as u64);
                Case::get(&format!("/mesh/{number}"), 200, number.to_string().into())
            }
            14 => Case {
                body: Expect::Containing("no shard has that number"),
                ..Case::get(&format!("/mesh/{shards}"), 404, Vec::new())
            },
            15 => Case::upload(&pattern(size)),
            _ => Case::chunked(client, &pattern(size)),
        }
    }

    /// An upload with its length.
    pub(crate) fn upload(body: &[u8]) -> Case {
        let lines = format!("Content-Type: text/plain\r\nContent-Length: {}\r\n", body.len());
        Case::of("POST", "/echo", &lines, body, 200, body.to_vec()).with("content-type", "text/plain")
    }

    /// An upload in chunks of any size, at times with extensions and trailers.
    pub(crate) fn chunked(client: &Client, body: &[u8]) -> Case {
        let random = |bound: u64| client.shard().random() % bound;
        let (mut framed, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at(1 + random(rest.len() as u64) as usize);
            let extension = if random(4) == 0 { ";a=\"b c\"" } else { "" };
            framed.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
            rest = left;
        }
        let trailers = if random(4) == 0 { "X-Trailer: 1\r\n" } else { "" };
        framed.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        Case::of("POST", "/echo", "Transfer-Encoding: chunked\r\n", &framed, 200, body.to_vec())
    }

    /// A request of a client of old, which gets the whole body or none: in chunks it would not understand it.
    pub(crate) fn old() -> Case {
        let request = b"GET /bytes/5000 HTTP/1.0\r\n\r\n".to_vec();
        Case { request, ..Case::get("/bytes/5000", 200, vec![b'x'; 5000]) }.with("connection", "close")
    }

    /// A request that is refused: its bytes, and what must come of it.
    pub(crate) fn malformed(index: usize) -> (Vec<u8>, Case) {
        let (bytes, status, text) = malformed::TABLE[index];
        let case = Case {
            request: bytes.into(),
            is_head: false,
            status,
            body: Expect::Containing(text),
            headers: vec![("connection", "close".to_owned())],
        };
        (bytes.into(), case)
    }

    /// The answer must have this header.
    pub(crate) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Case {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Asks the server to close the connection after this one.
    pub(crate) fn closing(mut self) -> Case {
        self.add_line("Connection: close\r\n");
        if let Expect::Exactly(body) = &mut self.body
            && body.ends_with(b"]}")
        {
            // The route that shows headers.
            body.truncate(body.len() - 1);
            body.extend_from_slice(br#","connection":["close"]}"#);
        }
        self.with("connection", "close")
    }

    /// Waits to be asked for its body.
    pub(crate) fn expecting(mut self) -> Case {
        self.add_line("Expect: 100-continue\r\n");
        self
    }

    fn add_line(&mut self, line: &str) {
        let at = self.head_bytes() - 2;
        self.request.splice(at..at, line.bytes());
    }

    /// Bytes of the request's head.
    pub(crate) fn head_bytes(&self) -> usize {
        let end = self.request.windows(4).position(|window| window == b"\r\n\r\n");
        end.expect("a head has an end") + 4
    }

    /// An answer that has come whole is right.
    #[track_caller]
    pub(crate) fn check(&self, answer: &Answer) {
        assert_eq!(answer.status, self.status, "to {self:?}: {answer:?}");
        for (name, value) in &self.headers {
            assert_eq!(answer.header(name), value, "to {self:?}");
        }
        match &self.body {
            _ if self.is_head => assert!(answer.body.is_empty(), "to {self:?}"),
            Expect::Exactly(body) => assert!(answer.body == *body, "{} bytes to {self:?}", answer.body.len()),
            Expect::Shard(count) => {
                let number: Result<usize, _> = answer.text().parse();
                assert!(number.as_ref().is_ok_and(|number| number < count), "{number:?} of {count}");
            }
            Expect::Containing(text) => assert!(answer.text().contains(text), "to {self:?}: {answer:?}"),
        }
    }

    /// An answer that was cut is right as far as it came.
    #[track_caller]
    pub(crate) fn check_part(&self, input: &[u8]) {
        // A refusal takes the place of an answer whose request did not come to its end in time.
        let lines = [self.status, 408].map(|status| format!("HTTP/1.1 {status} "));
        let is_right = lines.iter().any(|line| input.starts_with(&line.as_bytes()[..line.len().min(input.len())]));
        assert!(
            is_right,
            "{:?} is no part of an answer to {self:?}",
            String::from_utf8_lossy(&input[..input.len().min(200)])
        );
        let Some(head) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return };
        let (head, rest) = input.split_at(head + 4);
        if let Expect::Exactly(body) = &self.body
            && head.starts_with(lines[0].as_bytes())
            && !head.to_ascii_lowercase().windows(17).any(|window| window == b"transfer-encoding")
        {
            assert!(body.starts_with(rest) && rest.len() < body.len(), "{} bytes of a body to {self:?}", rest.len());
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.request);
        f.write_str(text.split("\r\n\r\n").next().unwrap_or_default())
    }
}
