//! How many connections each client has on a shard.
//!
//! A client is what has an address to itself: an IPv4 address, or the first 64 bits of an IPv6 one, since who is given any is
//! given all that begin so. Both fit one number. The table has an entry for each client that is connected, so it is no
//! longer than the shard has connections.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU64;

/// Who has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client(NonZeroU64);

/// The clients of a shard, and how many connections each has.
#[derive(Debug, Default)]
pub(crate) struct Clients(RefCell<BTreeMap<Client, usize>>);

impl Client {
    fn of(address: IpAddr) -> Self {
        let number = match address.to_canonical() {
            // Beside what no IPv6 address begins with (RFC 4291 section 2.5: below 1:: nothing is given out).
            IpAddr::V4(address) => 1 << 32 | u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        // Zero is where `::1` lies.
        Client(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

impl Clients {
    /// Counts a connection from `address`, until the client [leaves](Clients::leave); `None` if it has `count_max` already.
    pub(crate) fn enter(&self, address: IpAddr, count_max: usize) -> Option<Client> {
        let client = Client::of(address);
        let mut clients = self.0.borrow_mut();
        let count = clients.get(&client).copied().unwrap_or(0);
        if count >= count_max {
            return None;
        }
        clients.insert(client, count + 1);
        Some(client)
    }

    /// One of the client's connections has ended.
    pub(crate) fn leave(&self, client: Client) {
        let mut clients = self.0.borrow_mut();
        let count = clients.get_mut(&client).expect("who leaves has entered");
        *count -= 1;
        if *count == 0 {
            clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests;
