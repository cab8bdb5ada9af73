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
    /// Connections that spoke HTTP/2.
    pub h2_connections: Counter,
    /// Streams of HTTP/2 in hand now that were not answered on the spot.
    pub h2_streams_open: Counter,
    /// Streams of HTTP/2 that came to their end before their time, by their peers or by what these did.
    pub h2_resets: Counter,
    /// Streams of HTTP/2 refused because as many were open as may be.
    pub h2_refused: Counter,
    /// Connections of HTTP/2 whose peers were told to open no more streams.
    pub h2_drained: Counter,
    /// Connections of HTTP/2 ended by what their peers did wrong.
    pub h2_failed: Counter,
    /// Connections of HTTP/2 whose peers were told to calm down: they made too much work of too little.
    pub h2_calmed: Counter,
    /// Bytes received.
    pub bytes_received: Counter,
    /// Bytes sent.
    pub bytes_sent: Counter,
    /// Requests refused by the protocol engine.
    pub refused: Counter,
    /// Connections closed because a time limit passed.
    pub timed_out: Counter,
    /// Bodies that came too slowly.
    pub slow_bodies: Counter,
    /// Connections closed because their peers took too little.
    pub slow_readers: Counter,
    /// Connections that have had as many requests, or lasted as long, as they may.
    pub retired: Counter,
    /// Times that a pipeline waited for its peer to read.
    pub pipelines_held: Counter,
    /// Connections closed because their client had as many as it may have.
    pub clients_refused: Counter,
    /// Connections closed because they did not begin with a PROXY header.
    pub proxy_refused: Counter,
    /// Connections closed before their time limit because the pool ran low: the first step of the order of shedding.
    pub shed_readers: Counter,
    /// Pauses of accepting because the pool ran low: the second step.
    pub shed_accepts: Counter,
    /// Requests answered 503 because the pool ran low: the third step.
    pub shed_requests: Counter,
    /// Connections closed because the pool was exhausted.
    pub exhausted: Counter,
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
    /// Times that certificates were read anew, on the shard that reads them for all.
    pub tls_reloads: Counter,
    /// Times that what was read was not in order, and the former stayed.
    pub tls_reloads_refused: Counter,
    /// When the first certificate ends, in seconds since 1970; zero without TLS.
    pub tls_not_after: Counter,
}
