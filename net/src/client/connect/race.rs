//! Happy eyeballs (RFC 8305): a server's addresses are tried one after the other, each with a short head start, and the first
//! connection wins. A line or a family of addresses that is broken costs that head start, and not the time until it is given up.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use shards::{Leased, Shard};
use smallvec::SmallVec;

use super::super::Error;
use super::super::resolve::Addresses;
use crate::limits::CLIENT_HEAD_START;
use crate::{Result as NetResult, TcpStream};

/// One address of each family after the other, beginning with that of the first (RFC 8305 section 4).
pub(super) fn interleave(addresses: Addresses) -> Addresses {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let of = |is_first: bool| addresses.iter().filter(move |address| (address.is_ipv6() == first) == is_first);
    let (mut ours, mut others) = (of(true), of(false));
    let mut mixed = Addresses::new();
    while mixed.len() < addresses.len() {
        mixed.extend(ours.next().into_iter().chain(others.next()).copied());
    }
    mixed
}

/// The first of these to accept a connection. It is taken from the list, and so are those that have failed; the others, tried
/// or not, stay there.
///
/// Errors: all have failed; this is the last one's.
pub(super) async fn first(shard: &Shard, left: &mut Addresses) -> Result<(SocketAddr, TcpStream), Error> {
    let mut tries: SmallVec<[(SocketAddr, Leased<'static, NetResult<TcpStream>>); 2]> = SmallVec::new();
    let mut waiting: Addresses = left.iter().rev().copied().collect();
    let mut alarm = shard.alarm(shard.now());
    poll_fn(|cx| {
        loop {
            let mut failure = None;
            let mut number = 0;
            while let Some((address, attempt)) = tries.get_mut(number) {
                let (address, polled) = (*address, Pin::new(attempt).poll(cx));
                let Poll::Ready(ended) = polled else {
                    number += 1;
                    continue;
                };
                left.retain(|other| *other != address);
                tries.remove(number);
                match ended {
                    Ok(stream) => return Poll::Ready(Ok((address, stream))),
                    Err(error) => failure = Some(Error::Connect { address, error: Box::new(error) }),
                }
            }
            let is_due = tries.is_empty() || failure.is_some() || alarm.poll_rung(cx).is_ready();
            match waiting.last().copied() {
                Some(address) if is_due => {
                    waiting.pop();
                    let here = shard.clone();
                    tries.push((address, shard.lease(async move { TcpStream::connect(&here, address).await })));
                    alarm.set(shard.clock() + CLIENT_HEAD_START);
                }
                None if tries.is_empty() => {
                    return Poll::Ready(Err(failure.expect("the last try has failed")));
                }
                _ => return Poll::Pending,
            }
        }
    })
    .await
}
