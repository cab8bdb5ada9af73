//! What the wire counts: one set per shard, written by the shard, read by anyone.

use shards::Counter;

use crate::tls::{Cause, Failure, Secured};

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
    /// Datagrams of QUIC passed on to the shard that has their connection.
    pub quic_passed_on: Counter,
    /// Datagrams of QUIC passed on to another process, which has their connection.
    pub quic_ferried: Counter,
    /// Datagrams of QUIC that were to be passed on, and dropped.
    pub quic_lost_on_the_way: Counter,
    /// Connections that spoke HTTP/3.
    pub h3_connections: Counter,
    /// Datagrams of HTTP that were dropped: nobody was there for them, or too many waited.
    pub http_datagrams_dropped: Counter,
    /// Streams of HTTP/3 in hand now that were not answered on the spot.
    pub h3_streams_open: Counter,
    /// Streams of HTTP/3 that came to their end before their time, by their peers or by what these did.
    pub h3_resets: Counter,
    /// Streams of HTTP/3 refused because as many were open as may be.
    pub h3_refused: Counter,
    /// Connections of HTTP/3 whose peers were told to open no more streams.
    pub h3_drained: Counter,
    /// Connections of HTTP/3 ended by what their peers did wrong.
    pub h3_failed: Counter,
    /// Connections of HTTP/3 whose peers made too much work of too little.
    pub h3_calmed: Counter,
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
    /// Hand-shakes of TLS 1.3 that have ended well, in full.
    pub tls13_full: Counter,
    /// Those that have taken up an earlier session.
    pub tls13_resumed: Counter,
    /// Hand-shakes of TLS 1.2 that have ended well, in full.
    pub tls12_full: Counter,
    /// Those that have taken up an earlier session.
    pub tls12_resumed: Counter,
    /// Hand-shakes that have agreed on AES with 128 bits.
    pub tls_aes128: Counter,
    /// On AES with 256 bits.
    pub tls_aes256: Counter,
    /// On ChaCha20.
    pub tls_chacha20: Counter,
    /// Hand-shakes with data that came before their end.
    pub tls_early: Counter,
    /// Hand-shakes in hand now, with those that wait for their place among them.
    pub tls_handshakes_open: Counter,
    /// Hand-shakes that took too long.
    pub tls_timed_out: Counter,
    /// Those of them that waited for their place for so long.
    pub tls_crowded: Counter,
    /// Hand-shakes that the peer has refused because of the certificate that it was shown.
    pub tls_distrusted: Counter,
    /// Those that it has refused for another reason.
    pub tls_alerted: Counter,
    /// Hand-shakes without a version, suite or protocol that both sides speak.
    pub tls_nothing_shared: Counter,
    /// Hand-shakes whose peer has shown a certificate that does not hold, or none.
    pub tls_bad_certificates: Counter,
    /// Hand-shakes whose peer has broken the rules, or speaks something else.
    pub tls_broken_rules: Counter,
    /// Hand-shakes whose peer has left.
    pub tls_left: Counter,
    /// Hand-shakes that failed here: for want of memory, or by the configuration.
    pub tls_failed_here: Counter,
    /// Connections that spoke HTTP in the clear where TLS is spoken.
    pub tls_plain: Counter,
    /// Bytes received of connections that speak TLS, as they come over the wire.
    pub tls_bytes_received: Counter,
    /// Bytes sent to them.
    pub tls_bytes_sent: Counter,
    /// Times that certificates were read anew, on the shard that reads them for all.
    pub tls_reloads: Counter,
    /// Times that what was read was not in order, and the former stayed.
    pub tls_reloads_refused: Counter,
    /// When the first certificate ends, in seconds since 1970; zero without TLS.
    pub tls_not_after: Counter,
    /// Datagrams received by the sockets of QUIC.
    pub datagrams_received: Counter,
    /// Receives that the kernel has joined several of them for.
    pub datagram_batches_received: Counter,
    /// Their bytes.
    pub datagram_bytes_received: Counter,
    /// Datagrams sent.
    pub datagrams_sent: Counter,
    /// Sends that were batches of them.
    pub datagram_batches_sent: Counter,
    /// Their bytes.
    pub datagram_bytes_sent: Counter,
    /// Sends that the system has refused: no way to there, or too large for it.
    pub datagrams_unsent: Counter,
    /// Datagrams that were cut, since they were longer than a buffer.
    pub datagrams_cut: Counter,
    /// Datagrams that nobody wanted: of no connection and beginning none, or not of QUIC.
    pub datagrams_unwanted: Counter,
    /// Datagrams dropped because as many waited for the connection as may.
    pub datagrams_crowded: Counter,
    /// Connections of QUIC, accepted and made.
    pub quic_connections: Counter,
    /// Those that are there now, with those that linger so that their peers learn of their end.
    pub quic_connections_open: Counter,
    /// Hand-shakes of QUIC in hand now.
    pub quic_handshakes_open: Counter,
    /// Those that have ended well.
    pub quic_handshakes: Counter,
    /// Those that have not, or took too long.
    pub quic_handshakes_failed: Counter,
    /// Clients that were to show first where they are: a Retry was sent.
    pub quic_retries: Counter,
    /// Clients that were refused: as many connections or hand-shakes were there as may be, or the server drains.
    pub quic_refused: Counter,
    /// Other packets that the endpoint has sent without a connection: stateless resets, offers of versions, refusals.
    pub quic_answers: Counter,
    /// Answers and Retries that were not sent since as many datagrams were on their way as may be.
    pub quic_answers_dropped: Counter,
    /// Packets that were found to be lost and whose content was sent again.
    pub quic_packets_lost: Counter,
    /// Times that a peer was found at another address.
    pub quic_migrations: Counter,
    /// Connections of QUIC that took too long to say anything.
    pub quic_timed_out: Counter,
    /// Connections of QUIC whose peers have broken the rules.
    pub quic_failed: Counter,
}

impl NetStats {
    pub(crate) fn tls_agreed(&self, secured: &Secured) {
        use rustls::{CipherSuite as Suite, ProtocolVersion};
        let counter = match (secured.version(), secured.is_resumed()) {
            (ProtocolVersion::TLSv1_3, false) => &self.tls13_full,
            (ProtocolVersion::TLSv1_3, true) => &self.tls13_resumed,
            (_, false) => &self.tls12_full,
            (_, true) => &self.tls12_resumed,
        };
        counter.add(1);
        let suite = match secured.suite() {
            Suite::TLS13_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => &self.tls_aes128,
            Suite::TLS13_CHACHA20_POLY1305_SHA256
            | Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => &self.tls_chacha20,
            _ => &self.tls_aes256,
        };
        suite.add(1);
        self.tls_early.add(u64::from(secured.had_early_data()));
    }

    pub(crate) fn tls_failed(&self, failure: &Failure) {
        let counter = match failure.cause() {
            Cause::Distrust => &self.tls_distrusted,
            Cause::Alert => &self.tls_alerted,
            Cause::NothingShared => &self.tls_nothing_shared,
            Cause::Certificate => &self.tls_bad_certificates,
            Cause::Protocol => &self.tls_broken_rules,
            Cause::Left => &self.tls_left,
            Cause::Ours => &self.tls_failed_here,
        };
        counter.add(1);
    }
}
