//! The name that a client asks for, out of its first message: rustls's unbuffered interface does not tell.

/// The DNS name of a client's hello (RFC 8446 section 4.1.2, RFC 6066 section 3) that lies whole in the record that `bytes`
/// begin with. `None` if there is none, or it lies otherwise: rustls says what is wrong with it.
pub(super) fn server_name(bytes: &[u8]) -> Option<&str> {
    let mut hello = Reader(bytes);
    hello.expect(&[22])?;
    hello.take(2)?;
    let mut record = hello.block(2)?;
    record.expect(&[1])?;
    let mut message = record.block(3)?;
    // Its version, and what chance has given it.
    message.take(2 + 32)?;
    // A session to be resumed, suites, ways to compress.
    message.block(1)?;
    message.block(2)?;
    message.block(1)?;
    let mut extensions = message.block(2)?;
    while let Some(kind) = extensions.number(2) {
        let mut content = extensions.block(2)?;
        if kind == 0 {
            let mut names = content.block(2)?;
            names.expect(&[0])?;
            return std::str::from_utf8(names.block(2)?.0).ok();
        }
    }
    None
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        (self.take(bytes.len())? == bytes).then_some(())
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// What has its length before it.
    fn block(&mut self, length_bytes: usize) -> Option<Reader<'a>> {
        let length = self.number(length_bytes)?;
        self.take(length).map(Reader)
    }
}

#[cfg(test)]
mod tests;
