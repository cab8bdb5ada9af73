//! Why a server cannot prove itself: for the operator, with the remedy.

use std::fmt;

/// What is wrong with a certificate, a key or another part of a [`Tls`](super::Tls), and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(String);

impl SetupError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        SetupError(text.into())
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}
