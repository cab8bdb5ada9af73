//! One try of a request, with all that concerns connections: one that was kept, or a new one; and once more where the first
//! turns out to have been closed, or its server to have looked at nothing.

use std::future::poll_fn;
use std::rc::Rc;

use super::Error;
use super::connect::connect;
use super::pool::Pool;
use super::response::{Response, Source};
use super::target::{Protocols, Target};
use crate::Content;
use crate::conn::client::{Connection, Outline};
use crate::limits::CLIENT_TURNS_MAX;

/// Asks, and waits for the head of the response.
///
/// Content that is short stays with the caller, who may send it again; any other is taken, and nothing is left in its place.
pub(crate) async fn ask(
    pool: &Rc<Pool>,
    target: &Target<'_>,
    outline: Outline<'_>,
    content: &mut Content,
) -> Result<Response, Error> {
    match target.protocols {
        Protocols::Usual => ask_alone(pool, target, outline, content).await,
        Protocols::Http2 => ask_among(pool, target, outline, content).await,
    }
}

/// Over a connection of one exchange at a time: what a server may be asked twice is sent once more if the connection was kept,
/// and turns out to be closed before anything has come of an answer.
async fn ask_alone(
    pool: &Rc<Pool>,
    target: &Target<'_>,
    outline: Outline<'_>,
    content: &mut Content,
) -> Result<Response, Error> {
    let place = pool.place(&target.key).await.ok_or(Error::Busy)?;
    let kept = place.take().await;
    let is_kept = kept.is_some();
    let mut connection = match kept {
        Some(connection) => connection,
        None => open(pool, target).await?,
    };
    let is_at_hand = connection.begin(outline, content)?;
    let head = match poll_fn(|cx| connection.poll_head(cx)).await {
        Err(Error::Closed) if is_kept && is_at_hand && outline.method.is_idempotent() => {
            connection = open(pool, target).await?;
            connection.begin(outline, content)?;
            poll_fn(|cx| connection.poll_head(cx)).await
        }
        head => head,
    }?;
    match outline.upgrade {
        Some(upgrade) if connection.is_switched() => upgrade.switch(head, *connection, place),
        _ => Ok(Response::new(head, Source::Connection(connection, place))),
    }
}

/// Over a connection of many: a request that was not looked at, or that met the end of a kept connection, is sent once more.
async fn ask_among(
    pool: &Rc<Pool>,
    target: &Target<'_>,
    outline: Outline<'_>,
    content: &mut Content,
) -> Result<Response, Error> {
    let mut is_first = true;
    for _ in 0..CLIENT_TURNS_MAX {
        let (trunk, is_kept) = pool.trunk(target).await?;
        // A connection that ends while others are before us is none that we have asked.
        let Some((mut exchange, is_at_hand)) = trunk.begin(outline, content).await? else { continue };
        match poll_fn(|cx| exchange.poll_head(cx)).await {
            Err(Error::Unprocessed) if is_first && is_at_hand => {}
            Err(Error::Closed) if is_first && is_at_hand && is_kept && outline.method.is_idempotent() => {}
            head => return Ok(Response::new(head?, Source::Stream(Box::new(exchange)))),
        }
        is_first = false;
    }
    Err(Error::Unprocessed)
}

/// Connects, and no more: whether anybody is there.
pub(crate) async fn reach(pool: &Pool, target: &Target<'_>) -> Result<(), Error> {
    Box::pin(connect(pool, target, target.protocols)).await.map(drop)
}

async fn open(pool: &Pool, target: &Target<'_>) -> Result<Box<Connection>, Error> {
    // Rare and large: it is not to be a part of every request.
    let stream = Box::pin(connect(pool, target, Protocols::Usual)).await?;
    Ok(Connection::new(&pool.shared, stream))
}
