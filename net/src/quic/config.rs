//! [`Config`]: what can be set about QUIC, and what `quinn-proto` makes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::{BbrConfig, CubicConfig};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, TokenMemoryCache, TransportConfig, ValidationTokenConfig, VarInt,
};
use quinn_proto::{ClientConfig, ServerConfig};
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Version};
use shards::Shard;

use super::cid::{Ids, first_destination};
use super::secrets;
use super::session::{Crypto, VERSION};
use super::tokens::Tokens;
use crate::NetStats;
use crate::limits::{
    CONNECTIONS_MAX, QUIC_ARRIVAL_BYTES_MAX, QUIC_ARRIVALS_MAX, QUIC_DATAGRAM_BYTES_MAX, QUIC_FIRST_ROUND_TRIP,
    QUIC_IDLE_TIME_MAX, QUIC_PAYLOAD_BYTES_MAX, QUIC_RESET_PAUSE, QUIC_RETRY_TIME_MAX, QUIC_SEND_WINDOW_BYTES,
    QUIC_STREAM_WINDOW_BYTES, QUIC_STREAMS_AT_FIRST, QUIC_STREAMS_MAX, QUIC_TOKEN_TIME_MAX, QUIC_TOKENS_SENT,
    QUIC_UNI_STREAMS_MAX, QUIC_UNPROVED_HANDSHAKES_MAX, QUIC_WINDOW_BYTES, TLS_HANDSHAKE_TIME_MAX, TLS_HANDSHAKES_MAX,
};

/// What can be set about QUIC. The defaults are the bounds of [`limits`](crate::limits).
#[derive(Clone, Debug)]
pub struct Config {
    /// The protocols that a server speaks over it, in the order in which they are preferred (ALPN).
    pub protocols: Vec<Vec<u8>>,
    /// Connections that one shard has at a time; further clients are refused.
    pub connections_max: usize,
    /// Hand-shakes that one shard has in hand at a time; further clients are refused.
    pub handshakes_max: usize,
    /// Hand-shakes in hand from which on clients must first show that they are where they say.
    pub unproved_handshakes_max: usize,
    /// Tokens that a client is given on each connection, by one of which it shows where it is when it comes back.
    pub tokens_sent: u32,
    /// How long a hand-shake may take.
    pub handshake_time_max: Duration,
    /// How long a connection may be silent; the peer may want less. Zero for as long as it likes.
    pub idle_time_max: Duration,
    /// After how long a silence the peer is asked for a sign of life; `None` asks none.
    pub keep_alive: Option<Duration>,
    /// Streams in both directions that a peer may have open at a time.
    pub streams_max: u32,
    /// Streams in one direction that a peer may have open at a time.
    pub uni_streams_max: u32,
    /// Bytes of one stream that are received ahead of who reads it.
    pub stream_window_bytes: u32,
    /// Bytes of all streams of a connection that are received ahead of who reads them.
    pub window_bytes: u32,
    /// Bytes that a connection takes to send before the peer has acknowledged the first of them.
    pub send_window_bytes: u64,
    /// Bytes of datagrams that wait to be read, and to be sent; `None` for no datagrams.
    pub datagram_bytes_max: Option<usize>,
    /// A round trip as it is taken for before one was measured.
    pub first_round_trip: Duration,
    /// By what a connection finds out how fast it may send.
    pub congestion: Congestion,
    /// Whether the peer is asked to acknowledge less often, if it can be.
    pub asks_for_fewer_acks: bool,
    /// Whether a client may go on from another address.
    pub migrates: bool,
    /// When the drain begins, how long connections are still taken; each is told at once to open no more streams.
    pub drain_time_min: Duration,
    /// Whether the kernel is asked to give each datagram to the shard that has its connection, where it can be
    /// ([`DatagramOptions::numbered_at`](platform::DatagramOptions::numbered_at)). Shards pass on what they get of others either
    /// way.
    pub is_steered: bool,
}

/// By what a connection finds out how fast it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// By loss (RFC 9438).
    Cubic,
    /// By the rate at which what was sent arrives. It draws on the system's chance, so that a simulated run is not the same
    /// twice; and it is young.
    Bbr,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            protocols: vec![b"h3".to_vec()],
            connections_max: CONNECTIONS_MAX,
            handshakes_max: TLS_HANDSHAKES_MAX,
            unproved_handshakes_max: QUIC_UNPROVED_HANDSHAKES_MAX,
            tokens_sent: QUIC_TOKENS_SENT,
            handshake_time_max: TLS_HANDSHAKE_TIME_MAX,
            idle_time_max: QUIC_IDLE_TIME_MAX,
            keep_alive: None,
            streams_max: QUIC_STREAMS_MAX,
            uni_streams_max: QUIC_UNI_STREAMS_MAX,
            stream_window_bytes: QUIC_STREAM_WINDOW_BYTES,
            window_bytes: QUIC_WINDOW_BYTES,
            send_window_bytes: QUIC_SEND_WINDOW_BYTES,
            datagram_bytes_max: Some(QUIC_DATAGRAM_BYTES_MAX),
            first_round_trip: QUIC_FIRST_ROUND_TRIP,
            congestion: Congestion::Cubic,
            asks_for_fewer_acks: false,
            migrates: true,
            drain_time_min: Duration::ZERO,
            is_steered: true,
        }
    }
}

impl Config {
    pub(super) fn endpoint(&self, shard: &Shard) -> EndpointConfig {
        let mut config = EndpointConfig::new(secrets::reset_key(shard));
        let ids = Ids::of(shard);
        config.cid_generator(move || Box::new(ids.clone()));
        config.rng_seed(Some(secrets::seed(shard)));
        config.supported_versions(vec![VERSION]);
        config.min_reset_interval(QUIC_RESET_PAUSE);
        config.max_udp_payload_size(QUIC_PAYLOAD_BYTES_MAX).expect("a packet of Ethernet is long enough");
        config
    }

    pub(super) fn transport(&self) -> TransportConfig {
        let mut config = TransportConfig::default();
        let milliseconds = u64::try_from(self.idle_time_max.as_millis()).unwrap_or(u64::MAX);
        let idle = VarInt::from_u64(milliseconds).ok().filter(|_| milliseconds > 0).map(IdleTimeout::from);
        config
            .max_concurrent_bidi_streams(self.streams_max.min(QUIC_STREAMS_AT_FIRST).into())
            .max_concurrent_uni_streams(self.uni_streams_max.into())
            .max_idle_timeout(idle)
            .keep_alive_interval(self.keep_alive)
            .stream_receive_window(self.stream_window_bytes.into())
            .receive_window(self.window_bytes.into())
            .send_window(self.send_window_bytes)
            .initial_rtt(self.first_round_trip)
            .datagram_receive_buffer_size(self.datagram_bytes_max)
            .datagram_send_buffer_size(self.datagram_bytes_max.unwrap_or_default());
        if self.asks_for_fewer_acks {
            config.ack_frequency_config(Some(AckFrequencyConfig::default()));
        }
        match self.congestion {
            Congestion::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
            Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
        };
        config
    }

    /// What hand-shakes are made with, of what they are made with over TCP. `None` if that has no cipher suite for QUIC.
    pub(super) fn server(
        &self,
        shard: &Shard,
        transport: &Arc<TransportConfig>,
        tls: &rustls::ServerConfig,
        tokens: &Arc<Tokens>,
        stats: Arc<NetStats>,
    ) -> Option<Arc<ServerConfig>> {
        let mut tls = tls.clone();
        tls.alpn_protocols.clone_from(&self.protocols);
        // Which clients would rather do without AES is not seen here.
        tls.ignore_client_order = false;
        if tls.max_early_data_size > 0 {
            // There is no other number (RFC 9001 section 4.6.1): the windows bound what comes early.
            tls.max_early_data_size = u32::MAX;
        }
        let crypto = Crypto::new(tls, stats)?;
        let mut validation = ValidationTokenConfig::default();
        validation.lifetime(QUIC_TOKEN_TIME_MAX).log(Arc::<Tokens>::clone(tokens)).sent(self.tokens_sent);
        let mut config = ServerConfig::new(Arc::new(crypto), secrets::token_key(shard));
        config
            .transport_config(Arc::clone(transport))
            .migration(self.migrates)
            .retry_token_lifetime(QUIC_RETRY_TIME_MAX)
            .validation_token_config(validation)
            .max_incoming(QUIC_ARRIVALS_MAX)
            .incoming_buffer_size(QUIC_ARRIVAL_BYTES_MAX)
            .incoming_buffer_size_total(QUIC_ARRIVAL_BYTES_MAX * QUIC_ARRIVALS_MAX as u64)
            .time_source(Arc::new(secrets::Time));
        Some(Arc::new(config))
    }
}

/// What a client makes a hand-shake with. `None` if that has no cipher suite for QUIC.
pub(super) fn client(
    transport: &Arc<TransportConfig>,
    tokens: &Arc<TokenMemoryCache>,
    tls: Arc<rustls::ClientConfig>,
) -> Option<ClientConfig> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).ok()?));
    config
        .transport_config(Arc::clone(transport))
        .token_store(Arc::<TokenMemoryCache>::clone(tokens))
        .initial_dst_cid_provider(Arc::new(first_destination));
    Some(config)
}

/// Whether a client can make hand-shakes of QUIC with it: it has TLS 1.3, and a cipher suite for the first packets.
pub(crate) fn takes(tls: &Arc<rustls::ClientConfig>) -> bool {
    let nobody = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    ClientConnection::new(Arc::clone(tls), Version::V1, nobody, Vec::new()).is_ok()
        && QuicClientConfig::try_from(Arc::clone(tls)).is_ok()
}
