//! How urgent an answer is, and whether pieces of it are of use (RFC 9218).

use crate::scan;

/// Which of the answers that wait to be sent goes first (RFC 9218 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From nought to seven, nought being first.
    pub urgency: u8,
    /// Whether it is of use in pieces, and so may take turns with others.
    pub is_incremental: bool,
}

/// How many urgencies there are.
pub(crate) const URGENCIES: usize = 8;

/// What holds unless it is said (RFC 9218 sections 4.1 and 4.2).
impl Default for Priority {
    fn default() -> Priority {
        Priority { urgency: 3, is_incremental: false }
    }
}

impl Priority {
    /// Reads a priority. What cannot be understood is as good as absent.
    pub(crate) fn of(value: &[u8]) -> Priority {
        let mut priority = Priority::default();
        for member in scan::list(value) {
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.is_incremental = true,
                b"i=?0" => priority.is_incremental = false,
                _ => {}
            }
        }
        priority
    }
}
