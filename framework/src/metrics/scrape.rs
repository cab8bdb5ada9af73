//! A scrape: gathers what the store and the shards hold, and writes it as Prometheus's text.
//!
//! Counters are read where they stand. Histograms, and what is known of the services that a shard calls, are asked for by a closure
//! in each shard's inbox; a shard that does not answer in time is reported with what it said last, and marked stale.

#![allow(clippy::disallowed_methods, reason = "runs on the admin thread, which lives in real time")]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use metrics::Key;
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{write_help_line, write_metric_line, write_type_line};
use net::NetStats;
use net::upstream::{self, Survey};
use shards::{Counter, Phase, Shard};

use super::durations::Snapshot;
use super::store::{Family, Kind, Series, ShardEntry, ShardMetrics, State, Store};
use super::upstreams::{ENDPOINTS, SERVICES};
use crate::limits::SCRAPE_WAIT_MAX;

impl Store {
    /// Everything, as text. Waits for the shards' answers up to [`SCRAPE_WAIT_MAX`].
    pub(crate) fn scrape(&self, phase: Phase) -> String {
        self.gather();
        let state = self.lock();
        let mut text = Text { out: String::new(), families: &state.families, family: String::new() };
        for each in Phase::ALL {
            text.line(&Key::from_parts(PHASE, &[("phase", each.name())]), None, u8::from(each == phase));
        }
        text.shards(&state);
        text.durations(&state);
        text.upstreams(&state);
        for (key, series) in &state.series {
            text.series(key, series);
        }
        text.line(&Key::from_name(REFUSED), None, state.refused);
        text.out
    }

    /// Asks all shards for what only they can tell and keeps what comes in time. What comes later is kept by the next scrape; a
    /// shard that stalls is not asked twice.
    fn gather(&self) {
        let deadline = Instant::now() + SCRAPE_WAIT_MAX;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(answer) = answers.receiver.try_recv() {
            self.lock().keep(answer);
        }
        let mut waiting = 0;
        for (&number, entry) in &mut self.lock().shards {
            entry.is_stale = true;
            waiting += 1;
            if !std::mem::replace(&mut entry.is_asked, true) {
                let asked = Asked { number, told: None, sender: answers.sender.clone() };
                // A shard that has ended drops the closure, which is an answer too.
                let _ = entry.remote.send(move |shard| asked.answer(shard));
            }
        }
        while waiting > 0
            && let Ok(answer) = answers.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            waiting -= 1;
            self.lock().keep(answer);
        }
    }
}

impl State {
    fn keep(&mut self, (number, told): Answer) {
        let Some(entry) = self.shards.get_mut(&number) else { return };
        entry.is_asked = false;
        if let Some(Told { snapshots, surveys }) = told {
            entry.snapshots.extend(snapshots);
            entry.upstreams.keep(surveys);
            entry.is_stale = false;
        }
    }
}

/// A shard's number and what it has told; nothing if it has ended.
type Answer = (usize, Option<Told>);

/// What only the shard itself can tell.
struct Told {
    /// Histograms that have changed.
    snapshots: Vec<(Key, Snapshot)>,
    /// The services that it calls.
    surveys: Vec<Survey>,
}

/// Where shards' answers arrive. One scrape at a time reads them.
pub(super) struct Answers {
    sender: Sender<Answer>,
    receiver: Receiver<Answer>,
}

impl Default for Answers {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Answers { sender, receiver }
    }
}

/// A question on its way to a shard; it is answered when it is dropped, whatever has become of it.
struct Asked {
    number: usize,
    told: Option<Told>,
    sender: Sender<Answer>,
}

impl Asked {
    fn answer(mut self, shard: &Shard) {
        self.told = Some(Told { snapshots: ShardMetrics::of(shard).snapshot(), surveys: upstream::survey(shard) });
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // The store may be gone; then nobody asks.
        let _ = self.sender.send((self.number, self.told.take()));
    }
}

/// The text as it grows.
struct Text<'a> {
    out: String,
    families: &'a BTreeMap<String, Family>,
    /// The family of the last line.
    family: String,
}

impl Text<'_> {
    fn shards(&mut self, state: &State) {
        self.line(&Key::from_name(SHARDS), None, state.shards.len());
        for (number, entry) in &state.shards {
            let labels = vec![("backend", entry.backend.clone()), ("why", entry.why.clone()), shard(*number)];
            self.line(&Key::from_parts(BACKEND, &labels), None, 1);
        }
        for (number, entry) in &state.shards {
            self.line(&Key::from_parts(STALE, &[shard(*number)]), None, u8::from(entry.is_stale));
        }
        for (name, _, _, read) in STATS {
            for (number, entry) in &state.shards {
                self.line(&Key::from_parts(*name, &[shard(*number)]), None, read(entry));
            }
        }
        for (name, _, _, parts) in TLS.iter().chain(QUIC) {
            for (number, entry) in &state.shards {
                for (part, counter) in *parts {
                    let labels: Vec<_> = part.iter().map(|&(name, value)| (name, value.to_owned())).collect();
                    let key = Key::from_parts(*name, &[labels, vec![shard(*number)]].concat());
                    self.line(&key, None, counter(&entry.net).get());
                }
            }
        }
    }

    fn durations(&mut self, state: &State) {
        let snapshots = |entry: &ShardEntry| entry.snapshots.clone();
        let all: BTreeMap<Key, Snapshot> = state.shards.values().flat_map(snapshots).collect();
        for (key, snapshot) in &all {
            for (bound, count) in snapshot.cumulative() {
                self.part(key, "bucket", Some(("le", bound.to_string())), count);
            }
            self.part(key, "bucket", Some(("le", "+Inf".to_owned())), snapshot.count());
            self.part(key, "sum", None, snapshot.seconds);
            self.part(key, "count", None, snapshot.count());
        }
    }

    fn upstreams(&mut self, state: &State) {
        let all: Vec<_> = state.shards.iter().map(|(number, entry)| (shard(*number), entry.upstreams.sums())).collect();
        for (row, (name, ..)) in SERVICES.iter().enumerate() {
            for (shard, sums) in &all {
                for (upstream, values) in &sums.services {
                    let Some(value) = values[row] else { continue };
                    let labels = [("upstream", upstream.to_string()), shard.clone()];
                    self.line(&Key::from_parts(*name, &labels), None, value);
                }
            }
        }
        for (row, (name, ..)) in ENDPOINTS.iter().enumerate() {
            for (shard, sums) in &all {
                for ((upstream, address), values) in &sums.endpoints {
                    let Some(value) = values[row] else { continue };
                    let labels = [("upstream", upstream.to_string()), ("endpoint", address.to_string()), shard.clone()];
                    self.line(&Key::from_parts(*name, &labels), None, value);
                }
            }
        }
    }

    fn series(&mut self, key: &Key, series: &Series) {
        match series {
            Series::Own(line) => self.line(key, Some(Kind::Counter), line.get()),
            Series::Shared(shared) => self.line(key, Some(Kind::Counter), shared.get()),
            Series::Float(float) => self.line(key, Some(Kind::Gauge), float.get()),
            Series::Summary(summary) => {
                let summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                self.head(key.name(), Some(Kind::Summary));
                for quantile in [0.5, 0.9, 0.99, 0.999] {
                    let value = summary.quantile(quantile);
                    write_metric_line(
                        &mut self.out,
                        key.name(),
                        None,
                        &labels(key),
                        Some(("quantile", quantile)),
                        value,
                        None,
                    );
                }
                self.part(key, "sum", None, summary.sum);
                self.part(key, "count", None, summary.count());
            }
        }
    }

    fn line(&mut self, key: &Key, kind: Option<Kind>, value: impl Display) {
        self.head(key.name(), kind);
        write_metric_line::<&str, _>(&mut self.out, key.name(), None, &labels(key), None, value, None);
    }

    fn part(&mut self, key: &Key, suffix: &'static str, label: Option<(&'static str, String)>, value: impl Display) {
        self.head(key.name(), None);
        write_metric_line(&mut self.out, key.name(), Some(suffix), &labels(key), label, value, None);
    }

    /// Introduces a family at its first line.
    fn head(&mut self, name: &str, kind: Option<Kind>) {
        if self.family == name {
            return;
        }
        name.clone_into(&mut self.family);
        let family = self.families.get(name);
        if let Some(family) = family {
            write_help_line(&mut self.out, name, None, None, &family.help);
        }
        if let Some(kind) = family.map(|family| family.kind).or(kind) {
            write_type_line(&mut self.out, name, None, None, &kind.to_string());
        }
    }
}

fn labels(key: &Key) -> LabelSet {
    LabelSet::from_key_and_global(key, &Default::default())
}

fn shard(number: usize) -> (&'static str, String) {
    ("shard", number.to_string())
}

const SHARDS: &str = "shardwise_shards";
const BACKEND: &str = "shardwise_backend_info";
const PHASE: &str = "shardwise_phase";
const STALE: &str = "shardwise_snapshot_stale";
const REFUSED: &str = "shardwise_metrics_refused_total";

/// What a shard says of itself: name, kind, meaning, value.
type Stat = (&'static str, Kind, &'static str, fn(&ShardEntry) -> f64);

const STATS: &[Stat] = &[
    ("shardwise_turns_total", Kind::Counter, "Turns of the shard's loop.", |entry| entry.stats.turns.get() as f64),
    ("shardwise_task_polls_total", Kind::Counter, "Polls of tasks.", |entry| entry.stats.polls.get() as f64),
    ("shardwise_turn_seconds_total", Kind::Counter, "Time spent in turns that ran tasks.", |entry| {
        seconds(entry.stats.busy_nanoseconds.get())
    }),
    ("shardwise_turn_seconds_max", Kind::Gauge, "The longest turn since the start.", |entry| {
        seconds(entry.stats.turn_nanoseconds_max.get())
    }),
    ("shardwise_spins_caught_total", Kind::Counter, "Waits that ended while the shard still looked.", |entry| {
        entry.stats.caught.get() as f64
    }),
    (
        "shardwise_ring_enters_total",
        Kind::Counter,
        "System calls that submitted to, or waited in, the kernel.",
        |entry| entry.stats.enters.get() as f64,
    ),
    ("shardwise_ring_submissions_total", Kind::Counter, "Operations given to the kernel.", |entry| {
        entry.stats.submissions.get() as f64
    }),
    ("shardwise_ring_completions_total", Kind::Counter, "Completions landed.", |entry| {
        entry.stats.completions.get() as f64
    }),
    ("shardwise_stream_restarts_total", Kind::Counter, "Streams of completions given to the kernel again.", |entry| {
        entry.stats.restarts.get() as f64
    }),
    ("shardwise_stream_pauses_total", Kind::Counter, "Streams paused because their reader was slow.", |entry| {
        entry.stats.pauses.get() as f64
    }),
    ("shardwise_stream_starved_total", Kind::Counter, "Times that a stream found no receive buffer.", |entry| {
        entry.stats.starved.get() as f64
    }),
    ("shardwise_green_threads", Kind::Gauge, "Green threads that have not ended.", |entry| {
        entry.stats.green_threads.get() as f64
    }),
    ("shardwise_green_threads_refused_total", Kind::Counter, "Green threads refused: no stack for them.", |entry| {
        entry.stats.green_refused.get() as f64
    }),
    ("shardwise_operations", Kind::Gauge, "Operations in flight.", |entry| entry.stats.operations.get() as f64),
    ("shardwise_handles", Kind::Gauge, "Open sockets and files.", |entry| entry.stats.handles.get() as f64),
    ("shardwise_pool_receive_buffers", Kind::Gauge, "Receive buffers leased.", |entry| {
        entry.stats.receive_buffers_leased.get() as f64
    }),
    ("shardwise_pool_bytes", Kind::Gauge, "Bytes of pooled chunks leased.", |entry| {
        entry.stats.pooled_bytes.get() as f64
    }),
    ("shardwise_pool_refused_total", Kind::Counter, "Leases of pooled chunks that were refused.", |entry| {
        entry.stats.pool_refused.get() as f64
    }),
    ("shardwise_pool_compactions_total", Kind::Counter, "Small leases copied out of receive buffers.", |entry| {
        entry.stats.compactions.get() as f64
    }),
    ("shardwise_pool_shared", Kind::Gauge, "Leases that other threads may hold.", |entry| {
        entry.stats.shared.get() as f64
    }),
    ("shardwise_pool_shared_returned_total", Kind::Counter, "Shared leases that have come home.", |entry| {
        entry.stats.shared_returned.get() as f64
    }),
    (
        "shardwise_pool_shared_refused_total",
        Kind::Counter,
        "Leases copied because as many were shared as may be.",
        |entry| entry.stats.shared_refused.get() as f64,
    ),
    ("shardwise_mesh_sent_total", Kind::Counter, "Calls and one-way closures sent to other shards.", |entry| {
        entry.stats.mesh_sent.get() as f64
    }),
    ("shardwise_mesh_run_total", Kind::Counter, "Calls and one-way closures of other shards that were run.", |entry| {
        entry.stats.mesh_run.get() as f64
    }),
    ("shardwise_mesh_credit_waits_total", Kind::Counter, "Times that a call waited for a credit.", |entry| {
        entry.stats.mesh_waits.get() as f64
    }),
    ("shardwise_mesh_refused_total", Kind::Counter, "Calls refused because a bound was reached.", |entry| {
        entry.stats.mesh_refused.get() as f64
    }),
    ("shardwise_mesh_casts_total", Kind::Counter, "Datagrams passed on to the shard that they are for.", |entry| {
        entry.stats.mesh_casts_sent.get() as f64
    }),
    (
        "shardwise_mesh_casts_dropped_total",
        Kind::Counter,
        "Datagrams dropped since too many were on their way to a shard.",
        |entry| entry.stats.mesh_casts_dropped.get() as f64,
    ),
    ("shardwise_offload_queued", Kind::Gauge, "Offloaded jobs that wait for a thread.", |entry| {
        entry.stats.offload_queued.get() as f64
    }),
    ("shardwise_offload_running", Kind::Gauge, "Offloaded jobs that run.", |entry| {
        entry.stats.offload_running.get() as f64
    }),
    (
        "shardwise_offload_done_total",
        Kind::Counter,
        "Offloaded jobs that have run to their end, or to a panic.",
        |entry| entry.stats.offload_done.get() as f64,
    ),
    ("shardwise_offload_panicked_total", Kind::Counter, "Offloaded jobs that have panicked.", |entry| {
        entry.stats.offload_panicked.get() as f64
    }),
    (
        "shardwise_offload_cancelled_total",
        Kind::Counter,
        "Offloaded jobs that were cancelled before they began.",
        |entry| entry.stats.offload_cancelled.get() as f64,
    ),
    (
        "shardwise_offload_refused_total",
        Kind::Counter,
        "Offloaded jobs refused because a bound was reached, or the runtime ends.",
        |entry| entry.stats.offload_refused.get() as f64,
    ),
    ("shardwise_serving", Kind::Gauge, "1 if the shard serves an address.", |entry| {
        f64::from(u8::from(entry.is_serving()))
    }),
    ("shardwise_connections_total", Kind::Counter, "Connections accepted.", |entry| entry.net.connections.get() as f64),
    ("shardwise_connections", Kind::Gauge, "Connections open.", |entry| entry.net.connections_open.get() as f64),
    (
        "shardwise_connections_handed_over_total",
        Kind::Counter,
        "Connections accepted here for another shard.",
        |entry| entry.net.handed_over.get() as f64,
    ),
    (
        "shardwise_connections_taken_over_total",
        Kind::Counter,
        "Connections that another shard has accepted.",
        |entry| entry.net.taken_over.get() as f64,
    ),
    (
        "shardwise_hand_overs_refused_total",
        Kind::Counter,
        "Times that a shard could not be given a connection, and the next best was asked.",
        |entry| entry.net.hand_overs_refused.get() as f64,
    ),
    (
        "shardwise_hand_overs_lost_total",
        Kind::Counter,
        "Connections closed on the way, since the shard that they were given to ended first.",
        |entry| entry.net.hand_overs_lost.get() as f64,
    ),
    ("shardwise_h2_connections_total", Kind::Counter, "Connections that spoke HTTP/2.", |entry| {
        entry.net.h2_connections.get() as f64
    }),
    ("shardwise_h2_streams", Kind::Gauge, "Streams of HTTP/2 in hand that were not answered on the spot.", |entry| {
        entry.net.h2_streams_open.get() as f64
    }),
    (
        "shardwise_h2_streams_reset_total",
        Kind::Counter,
        "Streams of HTTP/2 that came to their end before their time, by their peers or by what these did.",
        |entry| entry.net.h2_resets.get() as f64,
    ),
    (
        "shardwise_h2_streams_refused_total",
        Kind::Counter,
        "Streams of HTTP/2 refused because as many were open as may be.",
        |entry| entry.net.h2_refused.get() as f64,
    ),
    (
        "shardwise_h2_connections_drained_total",
        Kind::Counter,
        "Connections of HTTP/2 whose peers were told to open no more streams.",
        |entry| entry.net.h2_drained.get() as f64,
    ),
    (
        "shardwise_h2_connections_failed_total",
        Kind::Counter,
        "Connections of HTTP/2 ended by what their peers did wrong.",
        |entry| entry.net.h2_failed.get() as f64,
    ),
    (
        "shardwise_h2_connections_calmed_total",
        Kind::Counter,
        "Connections of HTTP/2 whose peers were told to calm down.",
        |entry| entry.net.h2_calmed.get() as f64,
    ),
    ("shardwise_h3_connections_total", Kind::Counter, "Connections that spoke HTTP/3.", |entry| {
        entry.net.h3_connections.get() as f64
    }),
    ("shardwise_h3_streams", Kind::Gauge, "Streams of HTTP/3 in hand that were not answered on the spot.", |entry| {
        entry.net.h3_streams_open.get() as f64
    }),
    (
        "shardwise_http_datagrams_dropped_total",
        Kind::Counter,
        "Datagrams of HTTP that were dropped: nobody was there for them, or too many waited.",
        |entry| entry.net.http_datagrams_dropped.get() as f64,
    ),
    (
        "shardwise_h3_streams_reset_total",
        Kind::Counter,
        "Streams of HTTP/3 that came to their end before their time, by their peers or by what these did.",
        |entry| entry.net.h3_resets.get() as f64,
    ),
    (
        "shardwise_h3_streams_refused_total",
        Kind::Counter,
        "Streams of HTTP/3 refused because as many were open as may be.",
        |entry| entry.net.h3_refused.get() as f64,
    ),
    (
        "shardwise_h3_connections_drained_total",
        Kind::Counter,
        "Connections of HTTP/3 whose peers were told to open no more streams.",
        |entry| entry.net.h3_drained.get() as f64,
    ),
    (
        "shardwise_h3_connections_failed_total",
        Kind::Counter,
        "Connections of HTTP/3 ended by what their peers did wrong.",
        |entry| entry.net.h3_failed.get() as f64,
    ),
    (
        "shardwise_h3_connections_calmed_total",
        Kind::Counter,
        "Connections of HTTP/3 ended since their peers made too much work of too little.",
        |entry| entry.net.h3_calmed.get() as f64,
    ),
    (
        "shardwise_quic_passed_on_total",
        Kind::Counter,
        "Datagrams of QUIC passed on to the shard that has their connection.",
        |entry| entry.net.quic_passed_on.get() as f64,
    ),
    (
        "shardwise_quic_ferried_total",
        Kind::Counter,
        "Datagrams of QUIC passed on to another process, which has their connection.",
        |entry| entry.net.quic_ferried.get() as f64,
    ),
    (
        "shardwise_quic_lost_on_the_way_total",
        Kind::Counter,
        "Datagrams of QUIC that were to be passed on, and dropped.",
        |entry| entry.net.quic_lost_on_the_way.get() as f64,
    ),
    ("shardwise_received_bytes_total", Kind::Counter, "Bytes received.", |entry| entry.net.bytes_received.get() as f64),
    ("shardwise_sent_bytes_total", Kind::Counter, "Bytes sent.", |entry| entry.net.bytes_sent.get() as f64),
    ("shardwise_requests_refused_total", Kind::Counter, "Requests that were not HTTP, or too large for it.", |entry| {
        entry.net.refused.get() as f64
    }),
    (
        "shardwise_connections_timed_out_total",
        Kind::Counter,
        "Connections closed because a time limit passed.",
        |entry| entry.net.timed_out.get() as f64,
    ),
    (
        "shardwise_bodies_slow_total",
        Kind::Counter,
        "Bodies given up because they came too slowly, or not at all.",
        |entry| entry.net.slow_bodies.get() as f64,
    ),
    (
        "shardwise_readers_slow_total",
        Kind::Counter,
        "Connections closed because their peers took too little of what was sent.",
        |entry| entry.net.slow_readers.get() as f64,
    ),
    (
        "shardwise_connections_retired_total",
        Kind::Counter,
        "Connections closed because they had had as many requests, or lasted as long, as they may.",
        |entry| entry.net.retired.get() as f64,
    ),
    ("shardwise_pipelines_held_total", Kind::Counter, "Times that a pipeline waited for its peer to read.", |entry| {
        entry.net.pipelines_held.get() as f64
    }),
    (
        "shardwise_clients_refused_total",
        Kind::Counter,
        "Connections closed because their client had as many as it may have.",
        |entry| entry.net.clients_refused.get() as f64,
    ),
    (
        "shardwise_proxy_headers_refused_total",
        Kind::Counter,
        "Connections closed because they did not begin with a PROXY header.",
        |entry| entry.net.proxy_refused.get() as f64,
    ),
    (
        "shardwise_shed_readers_total",
        Kind::Counter,
        "Connections closed before their time limit because the pool ran low: the first step of shedding.",
        |entry| entry.net.shed_readers.get() as f64,
    ),
    (
        "shardwise_shed_accept_pauses_total",
        Kind::Counter,
        "Pauses of accepting because the pool ran low: the second step.",
        |entry| entry.net.shed_accepts.get() as f64,
    ),
    (
        "shardwise_shed_requests_total",
        Kind::Counter,
        "Requests answered 503 because the pool ran low: the third step.",
        |entry| entry.net.shed_requests.get() as f64,
    ),
    (
        "shardwise_connections_exhausted_total",
        Kind::Counter,
        "Connections closed because the pool was exhausted.",
        |entry| entry.net.exhausted.get() as f64,
    ),
    (
        "shardwise_requests_overdue_total",
        Kind::Counter,
        "Requests whose handlers took longer than admitted.",
        |entry| entry.net.overdue.get() as f64,
    ),
    (
        "shardwise_request_tasks_left_total",
        Kind::Counter,
        "Requests that have ended and left tasks that did not end in time.",
        |entry| entry.net.tasks_left.get() as f64,
    ),
    ("shardwise_connections_broken_total", Kind::Counter, "Connections ended by an error of the transport.", |entry| {
        entry.net.broken.get() as f64
    }),
    (
        "shardwise_accept_pauses_total",
        Kind::Counter,
        "Pauses of accepting because descriptors or memory had run out.",
        |entry| entry.net.accept_pauses.get() as f64,
    ),
    (
        "shardwise_tls_certificate_not_after_seconds",
        Kind::Gauge,
        "When the first certificate that is shown ends, in seconds since 1970; 0 without TLS.",
        |entry| entry.net.tls_not_after.get() as f64,
    ),
];

/// A family of counters of the network's, each with labels of its own.
type Parted = (&'static str, Kind, &'static str, &'static [Part]);
type Part = (&'static [(&'static str, &'static str)], fn(&NetStats) -> &Counter);

const TLS: &[Parted] = &[
    (
        "shardwise_tls_handshakes_total",
        Kind::Counter,
        "Hand-shakes of TLS that have ended well, by version, and whether an earlier session was resumed.",
        &[
            (&[("version", "1.3"), ("kind", "full")], |net| &net.tls13_full),
            (&[("version", "1.3"), ("kind", "resumed")], |net| &net.tls13_resumed),
            (&[("version", "1.2"), ("kind", "full")], |net| &net.tls12_full),
            (&[("version", "1.2"), ("kind", "resumed")], |net| &net.tls12_resumed),
        ],
    ),
    (
        "shardwise_tls_suites_total",
        Kind::Counter,
        "Hand-shakes of TLS that have ended well, by the cipher that was agreed on.",
        &[
            (&[("cipher", "aes128")], |net| &net.tls_aes128),
            (&[("cipher", "aes256")], |net| &net.tls_aes256),
            (&[("cipher", "chacha20")], |net| &net.tls_chacha20),
        ],
    ),
    (
        "shardwise_tls_failures_total",
        Kind::Counter,
        "Connections that were to speak TLS and have not come to do so, by cause.",
        &[
            (&[("cause", "timeout")], |net| &net.tls_timed_out),
            (&[("cause", "distrusted_by_peer")], |net| &net.tls_distrusted),
            (&[("cause", "alert")], |net| &net.tls_alerted),
            (&[("cause", "nothing_shared")], |net| &net.tls_nothing_shared),
            (&[("cause", "bad_certificate")], |net| &net.tls_bad_certificates),
            (&[("cause", "protocol")], |net| &net.tls_broken_rules),
            (&[("cause", "peer_left")], |net| &net.tls_left),
            (&[("cause", "plain_http")], |net| &net.tls_plain),
            (&[("cause", "ours")], |net| &net.tls_failed_here),
        ],
    ),
    (
        "shardwise_tls_certificate_reloads_total",
        Kind::Counter,
        "Times that certificates were read anew, by the shard that reads them: loaded, or refused and the former stay.",
        &[
            (&[("result", "loaded")], |net| &net.tls_reloads),
            (&[("result", "refused")], |net| &net.tls_reloads_refused),
        ],
    ),
    (
        "shardwise_tls_crowded_total",
        Kind::Counter,
        "Connections that waited too long for a place among the hand-shakes in hand; timeouts, too.",
        &[(&[], |net| &net.tls_crowded)],
    ),
    (
        "shardwise_tls_early_data_total",
        Kind::Counter,
        "Hand-shakes with data that came before their end.",
        &[(&[], |net| &net.tls_early)],
    ),
    (
        "shardwise_tls_handshakes_open",
        Kind::Gauge,
        "Hand-shakes in hand, and waiting for their place.",
        &[(&[], |net| &net.tls_handshakes_open)],
    ),
    (
        "shardwise_tls_bytes_total",
        Kind::Counter,
        "Bytes of connections that speak TLS, as they go over the wire.",
        &[
            (&[("direction", "received")], |net| &net.tls_bytes_received),
            (&[("direction", "sent")], |net| &net.tls_bytes_sent),
        ],
    ),
];

const QUIC: &[Parted] = &[
    (
        "shardwise_quic_connections_total",
        Kind::Counter,
        "Connections of QUIC, accepted and made.",
        &[(&[], |net| &net.quic_connections)],
    ),
    (
        "shardwise_quic_connections_open",
        Kind::Gauge,
        "Connections of QUIC that are there, with those that linger so that their peers learn of their end.",
        &[(&[], |net| &net.quic_connections_open)],
    ),
    (
        "shardwise_quic_handshakes_open",
        Kind::Gauge,
        "Hand-shakes of QUIC in hand.",
        &[(&[], |net| &net.quic_handshakes_open)],
    ),
    (
        "shardwise_quic_handshakes_total",
        Kind::Counter,
        "Hand-shakes of QUIC that have ended, well or not.",
        &[
            (&[("result", "done")], |net| &net.quic_handshakes),
            (&[("result", "failed")], |net| &net.quic_handshakes_failed),
        ],
    ),
    (
        "shardwise_quic_answers_total",
        Kind::Counter,
        "What the endpoint itself has said: a Retry, a refusal, or a reset, a choice of versions, a close.",
        &[
            (&[("answer", "retry")], |net| &net.quic_retries),
            (&[("answer", "refusal")], |net| &net.quic_refused),
            (&[("answer", "other")], |net| &net.quic_answers),
        ],
    ),
    (
        "shardwise_quic_answers_dropped_total",
        Kind::Counter,
        "What the endpoint itself would have said if fewer datagrams had been on their way.",
        &[(&[], |net| &net.quic_answers_dropped)],
    ),
    (
        "shardwise_quic_connections_ended_total",
        Kind::Counter,
        "Connections of QUIC that were not closed in order, by cause.",
        &[(&[("cause", "timeout")], |net| &net.quic_timed_out), (&[("cause", "protocol")], |net| &net.quic_failed)],
    ),
    (
        "shardwise_quic_packets_lost_total",
        Kind::Counter,
        "Packets that were found to be lost and whose content was sent again.",
        &[(&[], |net| &net.quic_packets_lost)],
    ),
    (
        "shardwise_quic_migrations_total",
        Kind::Counter,
        "Times that a peer was found at another address.",
        &[(&[], |net| &net.quic_migrations)],
    ),
    (
        "shardwise_datagrams_total",
        Kind::Counter,
        "Datagrams of UDP.",
        &[
            (&[("direction", "received")], |net| &net.datagrams_received),
            (&[("direction", "sent")], |net| &net.datagrams_sent),
        ],
    ),
    (
        "shardwise_datagram_bytes_total",
        Kind::Counter,
        "Bytes of these.",
        &[
            (&[("direction", "received")], |net| &net.datagram_bytes_received),
            (&[("direction", "sent")], |net| &net.datagram_bytes_sent),
        ],
    ),
    (
        "shardwise_datagram_batches_total",
        Kind::Counter,
        "Times that several of them went to the kernel or came from it as one.",
        &[
            (&[("direction", "received")], |net| &net.datagram_batches_received),
            (&[("direction", "sent")], |net| &net.datagram_batches_sent),
        ],
    ),
    (
        "shardwise_datagrams_dropped_total",
        Kind::Counter,
        "Datagrams of which nothing has come: cut, of nobody, too many at once; or not taken by the system.",
        &[
            (&[("cause", "cut")], |net| &net.datagrams_cut),
            (&[("cause", "unwanted")], |net| &net.datagrams_unwanted),
            (&[("cause", "crowded")], |net| &net.datagrams_crowded),
            (&[("cause", "unsent")], |net| &net.datagrams_unsent),
        ],
    ),
];

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

pub(super) fn describe(families: &mut BTreeMap<String, Family>) {
    let own = [
        (
            PHASE,
            Kind::Gauge,
            "1 for how far the process has come: serving, noticed (not ready any more), draining, stopping.",
        ),
        (SHARDS, Kind::Gauge, "Shards of this process."),
        (BACKEND, Kind::Gauge, "What talks to the kernel for the shard, and why that was chosen."),
        (STALE, Kind::Gauge, "1 if the shard did not answer in time: its histograms are those of an earlier scrape."),
        (REFUSED, Kind::Counter, "Series that did not fit into the store and are not recorded."),
    ];
    let stats = STATS.iter().map(|&(name, kind, help, _)| (name, kind, help));
    let parted = TLS.iter().chain(QUIC).map(|&(name, kind, help, _)| (name, kind, help));
    let services = SERVICES.iter().map(|&(name, how, help, _)| (name, how.kind(), help));
    let endpoints = ENDPOINTS.iter().map(|&(name, how, help, _)| (name, how.kind(), help));
    for (name, kind, help) in own.into_iter().chain(stats).chain(parted).chain(services).chain(endpoints) {
        families.insert(name.to_owned(), Family { kind, help: help.to_owned() });
    }
}
