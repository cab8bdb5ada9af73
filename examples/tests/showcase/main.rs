//! The built `showcase`, started as an operator starts it and asked over plain sockets: right answers from every route, two
//! pinned shards, TLS, bad input, slow clients, too many clients, bad options, a host without io_uring, and the drain.
//!
//! Each test runs on io_uring (skipped, with a line that says so, where the host has none) and on epoll. Servers listen on
//! ports of the kernel's choice and are killed by their own process ids.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests outside of any shard: real threads and a real clock")]

mod backends;
mod bad_input;
mod crowd;
mod drain;
mod flood;
mod http3;
mod lineage;
mod malformed;
mod managed;
mod options;
mod restarts;
mod routes;
mod seccomp;
mod served;
mod shards;
mod tls;
mod web_sockets;
#[path = "../../../framework/tests/wire/mod.rs"]
mod wire;
mod ws_cases;

backends::on_each_backend! {
    routes::plaintext,
    routes::json,
    routes::echo,
    routes::sum,
    routes::bytes,
    routes::streams,
    routes::headers,
    routes::sleep,
    routes::files,
    routes::head_everywhere,
    routes::wrong_paths_and_methods,
    routes::keep_alive_and_close,
    routes::old_version,
    routes::pipelines,
    routes::byte_by_byte,
    routes::expectations,
    shards::both_shards_answer_pinned_each_with_its_own_ring,
    shards::every_shard_reaches_every_other,
    shards::a_key_is_counted_once_for_all_shards,
    bad_input::malformed_requests_are_refused_and_others_served,
    crowd::a_thousand_slow_clients_are_ended_and_others_served,
    flood::a_flood_without_descriptors_costs_little_and_passes,
    drain::what_was_received_in_whole_is_answered_in_whole,
    drain::a_second_signal_ends_at_once,
    restarts::restarts_lose_nothing,
    restarts::drains_lose_nothing_that_is_open,
    restarts::a_successor_may_have_fewer_shards_and_more,
    restarts::while_a_successor_fails_the_process_serves_on,
    managed::sockets_of_a_manager_are_served,
    managed::what_a_manager_passes_must_listen,
    managed::a_manager_is_told_of_the_servers_life,
    managed::readiness_fails_before_anything_else,
    tls::all_is_served_as_in_the_clear,
    tls::the_second_version_of_http_is_agreed_on,
    tls::what_is_no_tls_13_is_refused,
    tls::a_session_is_resumed_by_any_shard,
    tls::a_session_is_resumed_by_the_successor,
    tls::certificates_change_while_it_serves,
    http3::every_route_is_served,
    http3::much_goes_both_ways,
    http3::a_hundred_megabytes_go_both_ways_while_the_client_moves,
    http3::sessions_are_resumed,
    http3::http_0_9_is_spoken_to_be_tried,
    http3::restarts_lose_no_request,
    http3::a_drain_finishes_what_has_begun,
    web_sockets::messages_of_all_sizes_come_back,
    web_sockets::fragments_and_pings_come_in_any_order,
    web_sockets::closes_are_answered_with_their_code,
    web_sockets::faults_are_told_by_their_code,
    web_sockets::compression_is_agreed_on_and_works,
    web_sockets::a_slow_reader_gets_all,
    web_sockets::sigterm_closes_with_1001,
    ws_cases::sections_1_to_4,
    ws_cases::sections_5_and_6,
    ws_cases::sections_7_to_10,
    ws_cases::sections_12_and_13,
}
