//! What an engine writes: frames, into the caller's slice.
//!
//! The one idea: a frame's head is written by itself, so that its payload can be sent from where it lies. Whatever is
//! written is written whole: [`WriteError::Full`] means that nothing has happened. Frames must leave in the order
//! they were written in, and nothing may come between a head and its payload.

use super::deflate::{Contexts, ROOM_BYTES_MIN};
use super::engine::{Engine, Outgoing};
use super::frame::{self, Opcode};
use super::limits::{COMPRESSED_FRAME_BYTES_MAX, COMPRESSED_FRAME_BYTES_MIN, CONTROL_BYTES_MAX};
use super::{CloseCode, Compressed, Frame, Kind, Mask, Role, WriteError};

impl Engine {
    /// The key of a client's next frame. RFC 6455 section 10.3: nobody may be able to foresee it, so that a page cannot
    /// choose the bytes that a proxy on the way sees. Every frame wants one of its own. A server has none.
    pub fn set_key(&mut self, key: [u8; 4]) {
        self.key = Some(key);
    }

    /// Writes a message of one frame: the way of every small one.
    #[inline]
    pub fn message(&mut self, kind: Kind, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        if self.outgoing.is_some() {
            return Err(WriteError::Unfinished);
        }
        self.whole(opcode(kind), payload, out)
    }

    /// Writes the head of a frame of a message: of its first, or a further one. Its payload, of `payload_bytes`, is the
    /// caller's to send behind it, masked if the frame says so. [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX) bytes are
    /// always enough.
    #[inline]
    pub fn fragment(
        &mut self,
        kind: Kind,
        payload_bytes: usize,
        is_last: bool,
        out: &mut [u8],
    ) -> Result<Frame, WriteError> {
        let outgoing = self.outgoing(kind, false)?;
        let key = self.frame_key()?;
        let head = frame::write(outgoing.opcode(), is_last, false, payload_bytes, key, out)?;
        let mask = key.map(Mask::new);
        self.key = None;
        self.outgoing = if is_last { None } else { Some(Outgoing { is_begun: true, ..outgoing }) };
        Ok(Frame { head, mask })
    }

    /// Compresses some of a message, and writes what came of it as one frame: `payload` is what is left of the message, or
    /// of what there is of it, unless `is_last`. To be called, with what was not taken, until the message has ended, or
    /// until all is taken. How much there must be for that is the caller's to judge: less than a hundred bytes
    /// seldom get shorter.
    ///
    /// `out` has [`COMPRESSED_FRAME_BYTES_MIN`] bytes at least; how much it has decides how long the frames are.
    ///
    /// ```
    /// use shardwise_proto::ws::{Agreed, Contexts, Engine, Kind, Role, Terms};
    ///
    /// let terms = Terms { takeover: false, window_bits: 15 };
    /// let mut server = Engine::new(Role::Server, Some(Agreed { sending: terms, receiving: terms }));
    /// let (mut contexts, mut out) = (Contexts::new(), [0; 512]);
    ///
    /// let compressed = server.compress(Kind::Text, &[b'a'; 1000], true, &mut contexts, &mut out).unwrap();
    /// assert!(compressed.is_end && compressed.taken == 1000 && compressed.written < 40);
    /// assert_eq!(out[0], 0xc1);
    /// ```
    pub fn compress(
        &mut self,
        kind: Kind,
        payload: &[u8],
        is_last: bool,
        contexts: &mut Contexts,
        out: &mut [u8],
    ) -> Result<Compressed, WriteError> {
        let terms = self.agreed.ok_or(WriteError::NotCompressed)?.sending;
        let outgoing = self.outgoing(kind, true)?;
        if out.len() < COMPRESSED_FRAME_BYTES_MIN {
            return Err(WriteError::Full);
        }
        let bytes_max = out.len().min(COMPRESSED_FRAME_BYTES_MAX);
        let out = &mut out[..bytes_max];
        let key = self.frame_key()?;

        // What was compressed is put behind the longest head that it can have, and moved if the head is shorter: then it
        // has less than 126 bytes.
        let start = frame::head_bytes(out.len(), key);
        let deflater = self.deflater.get_or_insert_with(|| contexts.lease_deflater());
        let deflated = deflater.deflate(payload, is_last, terms, &mut out[start..]);
        let mut written = 0;
        if deflated.written > 0 || deflated.is_end {
            let head = frame::head_bytes(deflated.written, key);
            written = head + deflated.written;
            out.copy_within(start..start + deflated.written, head);
            Mask::new(key.unwrap_or_default()).apply(&mut out[head..written]);
            frame::write(outgoing.opcode(), deflated.is_end, !outgoing.is_begun, deflated.written, key, out)?;
            self.key = None;
        }
        let is_begun = outgoing.is_begun || written > 0;
        self.outgoing = if deflated.is_end { None } else { Some(Outgoing { is_begun, ..outgoing }) };
        if deflated.is_end
            && !terms.takeover
            && let Some(deflater) = self.deflater.take()
        {
            contexts.give_deflater(deflater);
        }
        Ok(Compressed { taken: deflated.taken, written, is_end: deflated.is_end })
    }

    /// Writes a ping, which the peer answers with a pong of the same payload. May stand between the frames of a message.
    pub fn ping(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        self.control_frame(Opcode::Ping, payload, out)
    }

    /// Writes a pong that nobody asked for (RFC 6455 section 5.5.3): a sign of life. Pings are answered by
    /// [`transmit`](Self::transmit).
    pub fn pong(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        self.control_frame(Opcode::Pong, payload, out)
    }

    /// Writes a close, after which nothing can be written; a message at hand stays unfinished. `reason` has
    /// [`REASON_BYTES_MAX`](super::REASON_BYTES_MAX) bytes at the most. [`wait`](Self::wait) says what comes then.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut [u8]) -> Result<usize, WriteError> {
        let mut payload = [0; CONTROL_BYTES_MAX];
        let count = 2 + reason.len();
        payload.get_mut(2..count).ok_or(WriteError::ControlTooLong)?.copy_from_slice(reason.as_bytes());
        payload[..2].copy_from_slice(&code.get().to_be_bytes());
        let written = self.control_frame(Opcode::Close, &payload[..count], out)?;
        self.has_closed();
        Ok(written)
    }

    /// Whether [`transmit`](Self::transmit) has something to write.
    #[inline]
    pub fn wants_transmit(&self) -> bool {
        !self.is_close_sent && (self.pong_count.is_some() || self.close.is_some())
    }

    /// Writes one frame of what the engine itself has to say, or nothing: the answer to the latest ping, then the answer to a
    /// close, or a close that tells the peer what it did wrong.
    /// [`CONTROL_FRAME_BYTES_MAX`](super::CONTROL_FRAME_BYTES_MAX) bytes are always enough.
    pub fn transmit(&mut self, out: &mut [u8]) -> Result<usize, WriteError> {
        if !self.wants_transmit() {
            return Ok(0);
        }
        if let Some(count) = self.pong_count {
            let pong = self.pong;
            let written = self.control_frame(Opcode::Pong, &pong[..count as usize], out)?;
            self.pong_count = None;
            return Ok(written);
        }
        let code = self.close.flatten().map(|code| code.get().to_be_bytes());
        let payload = code.as_ref().map_or(&[][..], |code| code);
        let written = self.control_frame(Opcode::Close, payload, out)?;
        self.has_closed();
        Ok(written)
    }

    fn has_closed(&mut self) {
        self.is_close_sent = true;
        self.close = None;
        self.pong_count = None;
    }

    /// The message at hand, or a new one.
    #[inline]
    fn outgoing(&self, kind: Kind, is_compressed: bool) -> Result<Outgoing, WriteError> {
        let new = Outgoing { kind, is_compressed, is_begun: false };
        let outgoing = self.outgoing.unwrap_or(new);
        if (outgoing.kind, outgoing.is_compressed) == (kind, is_compressed) {
            Ok(outgoing)
        } else {
            Err(WriteError::OtherMessage)
        }
    }

    fn control_frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        if payload.len() > CONTROL_BYTES_MAX {
            return Err(WriteError::ControlTooLong);
        }
        self.whole(opcode, payload, out)
    }

    /// A frame with its payload.
    #[inline]
    fn whole(&mut self, opcode: Opcode, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        let key = self.frame_key()?;
        let head = frame::write(opcode, true, false, payload.len(), key, out)?;
        let written = head + payload.len();
        let room = out.get_mut(head..written).ok_or(WriteError::Full)?;
        room.copy_from_slice(payload);
        if let Some(key) = key {
            Mask::new(key).apply(room);
        }
        self.key = None;
        Ok(written)
    }

    /// Whether a frame may be written now, and with which key.
    #[inline]
    fn frame_key(&self) -> Result<Option<[u8; 4]>, WriteError> {
        match (self.role, self.key) {
            _ if self.is_close_sent => Err(WriteError::Closed),
            (Role::Server, _) => Ok(None),
            (Role::Client, None) => Err(WriteError::NoKey),
            (Role::Client, key) => Ok(key),
        }
    }
}

impl Outgoing {
    fn opcode(self) -> Opcode {
        if self.is_begun { Opcode::Continuation } else { opcode(self.kind) }
    }
}

fn opcode(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    }
}

const _: () = assert!(COMPRESSED_FRAME_BYTES_MIN >= super::HEAD_BYTES_MAX + ROOM_BYTES_MIN);
