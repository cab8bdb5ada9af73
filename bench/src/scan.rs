//! Counts requests in a stream of bytes, which is all a ceiling needs to know of HTTP: their heads' ends, and bodies of a
//! length that is known beforehand.
//!
//! A head ends with `\r\n\r\n`. Looking at every fourth byte is enough: the end of a head covers one of them, and a
//! byte that is neither CR nor LF clears four positions at once. When a read ends inside an end-of-head, the number of
//! its bytes already seen is the only thing to remember, so a head split over reads needs no buffer. A body is passed over
//! unseen.

/// How much of `\r\n\r\n` the bytes so far end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    matched: u8,
    /// Bytes of each request's body.
    body: usize,
    /// Of the present one, those that are still to come.
    left: usize,
}

impl Heads {
    /// Of requests whose bodies have so many bytes.
    pub fn with_bodies(bytes: usize) -> Self {
        Self { body: bytes, ..Self::default() }
    }

    /// Takes the next bytes of the stream and returns how many requests end in them.
    pub fn count(&mut self, bytes: &[u8]) -> u64 {
        if self.body > 0 { self.count_with_bodies(bytes) } else { self.count_heads(bytes) }
    }

    fn count_with_bodies(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                let Some(end) = bytes.iter().position(|&byte| self.step(byte)) else { break };
                (self.left, bytes) = (self.body, &bytes[end + 1..]);
            }
            let taken = self.left.min(bytes.len());
            (self.left, bytes) = (self.left - taken, &bytes[taken..]);
            count += u64::from(self.left == 0);
        }
        count
    }

    fn count_heads(&mut self, bytes: &[u8]) -> u64 {
        let mut count = 0;
        let mut at = 0;
        while self.matched > 0 && at < bytes.len() {
            count += u64::from(self.step(bytes[at]));
            at += 1;
        }
        while let Some(window) = bytes.get(at..at + 4) {
            match window[3] {
                b'\n' if window == b"\r\n\r\n" => {
                    count += 1;
                    at += 4;
                }
                b'\n' => at += 2, // it can still be the second byte of an end
                b'\r' => at += 1, // or the third
                _ => at += 4,
            }
        }
        for &byte in bytes.get(at..).unwrap_or_default() {
            count += u64::from(self.step(byte));
        }
        count
    }

    /// One byte, the plain way. True if it ends a head.
    fn step(&mut self, byte: u8) -> bool {
        self.matched = match (byte, self.matched) {
            (b'\n', 3) => {
                self.matched = 0;
                return true;
            }
            (b'\r', 2) => 3,
            (b'\r', _) => 1,
            (b'\n', 1) => 2,
            _ => 0,
        };
        false
    }
}

#[cfg(test)]
mod tests;
