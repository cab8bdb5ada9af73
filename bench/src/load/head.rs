//! The head of an answer, as far as a load needs it: how long, which status, how much follows.

use crate::{Result, limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) bytes: usize,
    pub(super) status: u16,
    pub(super) body_bytes: usize,
}

impl Head {
    /// The head at the front of these bytes, or `None` if its end is not among them.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > limits::ANSWER_HEAD_BYTES_MAX {
                Err("an answer's head has no end".into())
            } else {
                Ok(None)
            };
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| "an answer's head is not text")?;
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = match status_line.split(' ').nth(1).map(str::parse) {
            Some(Ok(status)) if status_line.starts_with("HTTP/1.1 ") => status,
            _ => return Err(format!("not a status line: {status_line:?}").into()),
        };
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim())
        });
        let length = length.ok_or("an answer without Content-Length: this load cannot tell where it ends")?;
        let body_bytes = length.parse().map_err(|_| format!("Content-Length: {length:?}"))?;
        Ok(Some(Self { bytes: end + 4, status, body_bytes }))
    }
}
