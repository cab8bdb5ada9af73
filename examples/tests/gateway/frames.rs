//! A client of HTTP/2 that says whatever it is told to, frame by frame, in the clear.
//!
//! It writes field sections as literals, so that what no encoder would write can be said; of answers it takes the data alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wire::WAIT_MAX;

/// A connection.
pub(crate) struct Frames {
    stream: TcpStream,
    input: Vec<u8>,
    /// Data of streams whose end has not been asked for, and how they have ended if they have.
    streams: Vec<(u32, Vec<u8>, Option<How>)>,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Answered,
    Reset,
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// An answer, with this content.
    Answered(Vec<u8>),
    /// The stream was reset, or the connection ended.
    Refused,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Frames {
        let stream = TcpStream::connect_timeout(&address, WAIT_MAX).expect("the server accepts");
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let mut frames = Frames { stream, input: Vec::new(), streams: Vec::new(), has_ended: false };
        frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // A large window for each stream, and for the connection.
        frames.frame(SETTINGS, 0, 0, &[&4_u16.to_be_bytes()[..], &0x00ff_ffff_u32.to_be_bytes()].concat());
        frames.frame(WINDOW_UPDATE, 0, 0, &0x00ff_ffff_u32.to_be_bytes());
        frames
    }

    /// A request in order, but for its further fields.
    pub(crate) fn request(&mut self, stream: u32, method: &str, path: &str, fields: &[(&str, &str)], is_end: bool) {
        let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "here")];
        self.fields(stream, &[&pseudo[..], fields].concat(), is_end);
    }

    /// A field section as it is given.
    pub(crate) fn fields(&mut self, stream: u32, fields: &[(&str, &str)], is_end: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal without indexing, its name and value as they are (RFC 7541 section 6.2.2).
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "one byte of length");
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.frame(HEADERS, END_HEADERS | if is_end { END_STREAM } else { 0 }, stream, &block);
    }

    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8], is_end: bool) {
        self.frame(DATA, if is_end { END_STREAM } else { 0 }, stream, bytes);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.write(&[head, payload.to_vec()].concat());
    }

    fn write(&mut self, bytes: &[u8]) {
        // The server may have had enough.
        let _ = self.stream.write_all(bytes);
    }

    /// Waits for so many bytes of a stream's data.
    #[track_caller]
    pub(crate) fn received(&mut self, stream: u32, count: usize) -> Vec<u8> {
        loop {
            if let Some((_, data, how)) = self.streams.iter_mut().find(|(known, ..)| *known == stream) {
                if data.len() >= count {
                    return data.drain(..count).collect();
                }
                assert_eq!(*how, None, "the stream has ended after {data:?}");
            }
            assert!(self.take(), "the connection has ended");
        }
    }

    /// Waits for a stream's end.
    #[track_caller]
    pub(crate) fn ended(&mut self, stream: u32) -> Ended {
        loop {
            if let Some(at) = self.streams.iter().position(|(known, _, how)| *known == stream && how.is_some()) {
                let (_, data, how) = self.streams.swap_remove(at);
                return if how == Some(How::Answered) { Ended::Answered(data) } else { Ended::Refused };
            }
            if !self.take() {
                return Ended::Refused;
            }
        }
    }

    /// Takes one frame. False at the connection's end.
    #[track_caller]
    fn take(&mut self) -> bool {
        loop {
            if self.has_ended {
                return false;
            }
            if let Some(length) = self.input.get(..3) {
                let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
                if self.input.len() >= 9 + length {
                    let frame: Vec<u8> = self.input.drain(..9 + length).collect();
                    self.act(
                        frame[3],
                        frame[4],
                        u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]),
                        &frame[9..],
                    );
                    return true;
                }
            }
            let mut room = [0; 64 * 1024];
            match self.stream.read(&mut room) {
                Ok(0) => self.has_ended = true,
                Ok(count) => self.input.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing more comes"),
                Err(_) => self.has_ended = true,
            }
        }
    }

    fn act(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let at = self.streams.iter().position(|(known, ..)| *known == stream).unwrap_or_else(|| {
            self.streams.push((stream, Vec::new(), None));
            self.streams.len() - 1
        });
        let (_, data, how) = &mut self.streams[at];
        match kind {
            DATA => data.extend_from_slice(payload),
            RESET => *how = Some(How::Reset),
            SETTINGS if flags & 1 == 0 => self.frame(SETTINGS, 1, 0, &[]),
            PING if flags & 1 == 0 => self.frame(PING, 1, 0, payload),
            GOAWAY if payload[4..8] != [0; 4] => self.has_ended = true,
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.streams[at].2 = Some(How::Answered);
        }
    }
}
