//! What the wire counts: one set per shard, written by the shard, read by anyone.

use shards::Counter;

/// Counters of one shard's servers.
#[derive(Debug, Default)]
pub struct NetStats {
    /// Connections accepted.
    pub connections: Counter,
    /// Connections open now.
    pub connections_open: Counter,
    /// Requests whose head was complete.
    pub requests: Counter,
    /// Bytes received.
    pub bytes_received: Counter,
    /// Bytes sent.
    pub bytes_sent: Counter,
    /// Requests refused by the protocol engine.
    pub refused: Counter,
    /// Connections closed because a time limit passed.
    pub timed_out: Counter,
    /// Requests whose handlers took too long.
    pub overdue: Counter,
    /// Requests that have ended and left tasks that do not.
    pub tasks_left: Counter,
    /// Connections ended by an error of the transport.
    pub broken: Counter,
    /// Pauses of accepting because descriptors or memory had run out.
    pub accept_pauses: Counter,
    /// Connections accepted here and handed to another shard.
    pub handed_over: Counter,
    /// Connections that another shard has accepted and handed to this one.
    pub taken_over: Counter,
    /// Times that a shard could not be given a connection, and the next best was asked.
    pub hand_overs_refused: Counter,
    /// Connections closed on the way, since the shard that they were given to ended first.
    pub hand_overs_lost: Counter,
}
