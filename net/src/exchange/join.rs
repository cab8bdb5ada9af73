//! Two connections that no longer speak HTTP as one: what a gateway makes of a WebSocket that is not for itself.
//!
//! The one idea: each way has one piece in hand, and asks for the next when the last has been taken. So whoever reads slowly
//! slows whoever sends, and what a pair of connections holds is two pieces, however much goes through it.

use std::future::poll_fn;
use std::net::Shutdown;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use platform::Chunk;
use shards::Shard;

use super::Upgraded;
use crate::limits::WRITE_STALL_MAX;
use crate::tcp::Outgoing;
use crate::{Error, Result, Transport};

/// What became of two connections that were [joined](Upgraded::join).
#[derive(Clone, Debug)]
pub struct Joined {
    /// Bytes that went from the one to the other.
    pub forth: u64,
    /// Bytes that came back.
    pub back: u64,
    /// Whether both sides have ended in order. What is wrong with one ends both.
    pub ended: Result<()>,
}

impl Upgraded {
    /// Passes on what comes at each end to the other, whatever it is, until both have ended. The end of one side is passed on
    /// and leaves the other way open; a connection that breaks, or is cut off where TLS is spoken, ends both.
    ///
    /// Neither end may take nothing of what is sent to it for [`WRITE_STALL_MAX`], nor both be silent for `silence_max`
    /// ([`TUNNEL_SILENCE_MAX`](crate::limits::TUNNEL_SILENCE_MAX) is a good one). A drain is not told to either, since nobody
    /// knows what they speak: it waits for them as long as it may, and then ends them.
    ///
    /// ```
    /// # use http::{Method, StatusCode};
    /// use shardwise_net::{Client, Content, Request, Response, Tunnel, client, limits};
    ///
    /// async fn pass_on(client: Client, mut request: Request) -> Result<Response, client::Error> {
    ///     let protocol = request.asks_for().map(<[u8]>::to_vec);
    ///     let mut asks = client.request(request.method().clone(), "http://10.0.0.7/chat").pass_on(&mut request);
    ///     if protocol.as_deref() == Some(b"websocket") {
    ///         asks = asks.upgrade("websocket");
    ///     }
    ///     let mut response = asks.send().await?;
    ///     let mut answer = Response::new(response.status());
    ///     answer.headers = response.end_to_end();
    ///     answer.content = match response.upgraded() {
    ///         None => response.into(),
    ///         Some(there) => Content::Tunnel(Tunnel::new(async move |here| {
    ///             let joined = here.join(there, limits::TUNNEL_SILENCE_MAX).await;
    ///             println!("{} bytes there, {} back", joined.forth, joined.back);
    ///         })),
    ///     };
    ///     Ok(answer)
    /// }
    /// ```
    pub async fn join(self, other: Upgraded, silence_max: Duration) -> Joined {
        let shard = self.stream.shard().clone();
        let mut alarm = shard.alarm(shard.clock() + silence_max);
        let mut ways = [Way::new(&shard), Way::new(&shard)];
        let mut received = [self.received, other.received];
        let mut streams = [self.stream, other.stream];
        let ended = poll_fn(|cx| {
            let mut is_open = false;
            for (from, way) in ways.iter_mut().enumerate() {
                is_open |= way.poll(cx, &shard, &mut received[from], &mut streams, from)?.is_pending();
            }
            if !is_open {
                return Poll::Ready(Ok(()));
            }
            loop {
                let silent = ways.iter().map(|way| way.since).max().map(|since| since + silence_max);
                let stalled = (0..).zip(&ways).filter(|(from, _)| streams[1 - from].is_sending());
                let stalled = stalled.map(|(_, way)| way.since + WRITE_STALL_MAX).min();
                let Some(limit) = silent.into_iter().chain(stalled).min() else { return Poll::Pending };
                alarm.set(limit);
                ready!(alarm.poll_rung(cx));
                if shard.now() >= limit {
                    return Poll::Ready(Err(Error::TimedOut));
                }
            }
        })
        .await;
        Joined { forth: ways[0].bytes, back: ways[1].bytes, ended }
    }
}

/// One direction.
struct Way {
    bytes: u64,
    /// When something went this way, or began to.
    since: Instant,
    has_ended: bool,
}

impl Way {
    fn new(shard: &Shard) -> Self {
        Way { bytes: 0, since: shard.now(), has_ended: false }
    }

    /// Ready when all has been passed on, the end included.
    fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        shard: &Shard,
        received: &mut Option<Chunk>,
        streams: &mut [Transport; 2],
        from: usize,
    ) -> Poll<Result<()>> {
        let to = 1 - from;
        loop {
            if streams[to].is_sending() {
                if let Some(sent) = ready!(streams[to].poll_sent(cx))? {
                    // Of a close of TLS that is sent nothing is ours.
                    self.bytes += if self.has_ended { 0 } else { sent.bytes as u64 };
                    self.since = shard.now();
                }
                continue;
            }
            if self.has_ended {
                return streams[to].poll_close(cx).map(Ok);
            }
            let next = match received.take() {
                Some(chunk) => Some(chunk),
                None => ready!(streams[from].poll_recv(cx))?,
            };
            self.since = shard.now();
            match next {
                Some(chunk) => streams[to].start_send(Outgoing::One(chunk.into()))?,
                None if streams[from].is_cut() => return Poll::Ready(Err(Error::Io(platform::Error::Reset))),
                None => {
                    self.has_ended = true;
                    streams[to].shutdown(Shutdown::Write)?;
                }
            }
        }
    }
}
