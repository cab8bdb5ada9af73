//! One try of a request, with all that concerns connections: one that was kept, or a new one; and once more where the first
//! turns out to have been closed, or its server to have looked at nothing, or to want another version.

use std::future::poll_fn;
use std::rc::Rc;

use super::connect::connect;
use super::pool::{Place, Pool, Way};
use super::response::{Response, Source};
use super::target::{Protocols, Target};
use super::{Error, quic};
use crate::Content;
use crate::conn::client::{Connection, Outline};
use crate::conn::streams::client::{Asks, Trunk};
use crate::limits::CLIENT_TURNS_MAX;

/// What has become of a request on one connection.
enum Tried {
    /// It was answered. Whether its content is still there.
    Answered(Response, bool),
    /// It has failed. The same.
    Failed(Error, bool),
    /// The connection took no further request.
    Untaken,
}

/// Asks, and waits for the head of the response. What was not looked at is sent once more, as is what the server wants over
/// HTTP/1.1; and what a server may be asked twice also if it met the end of a kept connection before anything had come of an answer.
///
/// Content that is short stays with the caller, who may send it again; any other is taken, and nothing is left in its place.
pub(crate) async fn ask(
    pool: &Rc<Pool>,
    target: &Target<'_>,
    outline: Outline<'_>,
    content: &mut Content,
) -> Result<Response, Error> {
    // Another protocol takes the place of HTTP/1.1 only.
    let mut protocols = if outline.upgrade.is_some() { Protocols::Http1 } else { target.protocols };
    let (mut place, mut is_first) = (None, true);
    for _ in 0..CLIENT_TURNS_MAX {
        let (way, is_kept) = pool.way(target, protocols, &mut place).await?;
        let (tried, is_misdirected) = match way {
            Way::Alone(connection, taken) => {
                (alone(pool, connection, taken, &mut place, outline, content).await?, false)
            }
            Way::Http2(trunk) => (among(pool, &trunk, outline, content).await?, false),
            Way::Http3(trunk) => {
                let tried = among(pool, &trunk, outline, content).await?;
                let is_misdirected = trunk.is_alternative() && pool.judge(target, &trunk, tried.result());
                (tried, is_misdirected)
            }
        };
        match tried {
            Tried::Answered(_, true) if is_first && is_misdirected => is_first = false,
            Tried::Answered(response, _) => {
                pool.learn(target, &response);
                return Ok(response);
            }
            Tried::Failed(Error::Unprocessed, true) if is_first => is_first = false,
            Tried::Failed(Error::Closed, true) if is_first && is_kept && outline.method.is_idempotent() => {
                is_first = false;
            }
            Tried::Failed(Error::Reset(code), true)
                if is_first && protocols == Protocols::Usual && code.asks_for_http1() =>
            {
                (is_first, protocols) = (false, Protocols::Http1);
            }
            Tried::Failed(error, _) => return Err(error),
            // A connection that ends while others are before us is none that we have asked.
            Tried::Untaken => {}
        }
    }
    Err(Error::Unprocessed)
}

impl Tried {
    fn result(&self) -> Option<Result<&Response, &Error>> {
        match self {
            Tried::Answered(response, _) => Some(Ok(response)),
            Tried::Failed(error, _) => Some(Err(error)),
            Tried::Untaken => None,
        }
    }
}

/// Over a connection of one exchange at a time. Its place is kept if it fails.
async fn alone(
    pool: &Pool,
    mut connection: Box<Connection>,
    taken: Place,
    place: &mut Option<Place>,
    outline: Outline<'_>,
    content: &mut Content,
) -> Result<Tried, Error> {
    let is_at_hand = connection.begin(outline, content)?;
    match poll_fn(|cx| connection.poll_head(cx)).await {
        Ok(head) => {
            let shard = &pool.shared.shard;
            let response = match outline.upgrade {
                Some(upgrade) if connection.is_switched() => upgrade.switch(shard, head, *connection, taken)?,
                _ => Response::new(shard, head, Source::Alone(connection, taken)),
            };
            Ok(Tried::Answered(response, is_at_hand))
        }
        Err(error) => {
            *place = Some(taken);
            Ok(Tried::Failed(error, is_at_hand))
        }
    }
}

/// Over a connection of many.
async fn among<W: Asks>(
    pool: &Pool,
    trunk: &Rc<Trunk<W>>,
    outline: Outline<'_>,
    content: &mut Content,
) -> Result<Tried, Error> {
    let Some((mut exchange, is_at_hand)) = trunk.begin(outline, content).await? else { return Ok(Tried::Untaken) };
    match poll_fn(|cx| exchange.poll_head(cx)).await {
        Ok(head) => {
            let response = Response::new(&pool.shared.shard, head, Source::Among(Box::new(exchange)));
            Ok(Tried::Answered(response, is_at_hand))
        }
        Err(error) => Ok(Tried::Failed(error, is_at_hand)),
    }
}

/// Connects, and no more: whether anybody is there.
pub(crate) async fn reach(pool: &Pool, target: &Target<'_>) -> Result<(), Error> {
    match target.protocols {
        Protocols::Http3 => Box::pin(quic::connect(pool, target, &target.place)).await.map(drop),
        protocols => Box::pin(connect(pool, target, protocols)).await.map(drop),
    }
}
