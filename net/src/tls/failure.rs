//! [`Failure`]: why a TLS connection cannot go on.

use std::fmt;

use rustls::{AlertDescription as Alert, Error};

/// Why a TLS connection cannot go on. The peer was told, where there is anything to tell.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// What rustls says.
    Tls(Box<Error>),
    /// A message of the hand-shake, or what is said to it, does not fit a chunk.
    TooLong,
    /// The pool has no chunk.
    Exhausted,
    /// The peer has left in the middle.
    Left,
}

/// What a failure comes of, as metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer has said that it does not trust the certificate that it was shown.
    Distrust,
    /// The peer has said that it does not go on for another reason.
    Alert,
    /// Both can do much, and nothing in common: a version, a suite, a protocol.
    NothingShared,
    /// A certificate, or none.
    Certificate,
    /// What the peer says is no TLS, or against its rules.
    Protocol,
    /// The peer has left.
    Left,
    /// Something here: memory, a key, the configuration.
    Ours,
}

impl Failure {
    /// What it comes of.
    pub fn cause(&self) -> Cause {
        match self {
            Failure::Tls(error) => match &**error {
                Error::AlertReceived(
                    Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::BadCertificateStatusResponse,
                ) => Cause::Distrust,
                Error::AlertReceived(_) => Cause::Alert,
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Cause::NothingShared,
                Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::InvalidCertRevocationList(_) => {
                    Cause::Certificate
                }
                Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::InvalidMessage(_)
                | Error::DecryptError
                | Error::PeerMisbehaved(_)
                | Error::PeerSentOversizedRecord => Cause::Protocol,
                _ => Cause::Ours,
            },
            Failure::TooLong => Cause::Protocol,
            Failure::Exhausted => Cause::Ours,
            Failure::Left => Cause::Left,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Tls(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tls(error) => write!(f, "{error}"),
            Failure::TooLong => write!(f, "a message of the hand-shake is too long"),
            Failure::Exhausted => write!(f, "the shard's buffer pool is exhausted"),
            Failure::Left => write!(f, "the peer left in the middle of the hand-shake"),
        }
    }
}

impl std::error::Error for Failure {}
