//! [`Talk`]: a connection by hand, and a strict reader of what comes over it that is not the project's own.

use shardwise::test::{Client, Connection, Failure};

use crate::cases::Case;
use crate::wire::{Answer, parse};

/// A connection and what has come over it.
pub(crate) struct Talk {
    connection: Connection,
    input: Vec<u8>,
    has_ended: bool,
    /// It ended by a reset.
    was_reset: bool,
}

/// What came of a number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All have been answered, and the connection goes on.
    Whole,
    /// All up to one whose answer says that the connection closes.
    Closed,
    /// A request did not arrive in time, so it was refused and the connection closed.
    Late,
    /// The connection has ended, perhaps in the middle of an answer.
    Broken,
}

impl Talk {
    pub(crate) async fn open(client: &Client) -> Talk {
        Talk::new(client.open().await)
    }

    pub(crate) async fn try_open(client: &Client) -> Result<Talk, Failure> {
        client.try_open().await.map(Talk::new)
    }

    fn new(connection: Connection) -> Talk {
        Talk { connection, input: Vec::new(), has_ended: false, was_reset: false }
    }

    /// Sends, and says whether the connection has taken it.
    pub(crate) async fn send(&mut self, bytes: impl Into<Vec<u8>>) -> bool {
        self.connection.send(bytes).await.is_ok()
    }

    pub(crate) fn end(&mut self) {
        self.connection.end();
    }

    pub(crate) fn reset(self) {
        self.connection.reset();
    }

    /// Takes in what comes next. False when nothing more comes.
    pub(crate) async fn receive(&mut self) -> bool {
        match self.connection.receive().await {
            Ok(Some(bytes)) => self.input.extend_from_slice(&bytes),
            Ok(None) => self.has_ended = true,
            Err(_) => (self.has_ended, self.was_reset) = (true, true),
        }
        !self.has_ended
    }

    /// The next answer; `None` if the connection ends before its first byte.
    pub(crate) async fn next(&mut self, to_head: bool) -> Result<Option<Answer>, String> {
        loop {
            if !self.input.is_empty()
                && let Some((answer, bytes)) = parse(&self.input, to_head, self.has_ended)?
            {
                self.input.drain(..bytes);
                return Ok(Some(answer));
            }
            if self.has_ended {
                return Ok(None);
            }
            self.receive().await;
        }
    }

    /// Reads the answers to requests, which must be right as far as they come. Says how many came.
    pub(crate) async fn answers(&mut self, cases: &[Case]) -> (Outcome, usize) {
        for (count, case) in cases.iter().enumerate() {
            match self.next(case.is_head).await {
                Ok(Some(answer)) if answer.status == 408 && answer.closes() => return (Outcome::Late, count),
                Ok(Some(answer)) => {
                    case.check(&answer);
                    if answer.closes() {
                        return (Outcome::Closed, count + 1);
                    }
                }
                // The end may cut an answer; but what is not HTTP is so before the end as well.
                Ok(None) | Err(_) if self.has_ended => {
                    case.check_part(&self.input);
                    return (Outcome::Broken, count);
                }
                other => panic!("{other:?} to {case:?}"),
            }
        }
        (Outcome::Whole, cases.len())
    }

    /// Whether the connection ended between answers.
    pub(crate) fn is_at_a_boundary(&self) -> bool {
        self.input.is_empty()
    }

    /// What has come and was not looked at.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// Whether the connection ended in order.
    pub(crate) fn ended_in_order(&self) -> bool {
        self.has_ended && !self.was_reset && self.input.is_empty()
    }
}
