//! Many futures at once, in one task.

use std::future::{Future, poll_fn};
use std::task::Poll;

/// Waits for all, each polled in its order.
pub(crate) async fn every<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut is_done = true;
        for (future, given) in futures.iter_mut().filter(|(_, given)| given.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(value) => *given = Some(value),
                Poll::Pending => is_done = false,
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().map(|(_, given)| given.expect("all are done")).collect()
}
