//! The built `gateway`, started as an operator starts it, before servers that are ours, others' or lax: what it refuses, what it
//! passes on and what not, large bodies, clients that leave, other configurations under load, and whatever could be taken for two
//! requests by somebody.
//!
//! Each test runs on io_uring (skipped, with a line that says so, where the host has none) and on epoll. Those before nginx are
//! skipped, with a line, where it is not installed.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests outside of any shard: real threads and a real clock")]

#[path = "../conformance/accepted.rs"]
#[allow(dead_code, reason = "the tests of conformance use the rest")]
mod accepted;
#[path = "../showcase/backends.rs"]
mod backends;
mod bodies;
mod forwarding;
mod frames;
mod gateway;
mod lax;
mod leaving;
mod nginx;
#[path = "../conformance/probe.rs"]
#[allow(dead_code, reason = "the tests of conformance use the rest")]
mod probe;
#[path = "../conformance/refused.rs"]
mod refused;
mod reload;
#[path = "../showcase/served.rs"]
#[allow(dead_code, reason = "the tests of the showcase use the rest")]
mod served;
mod smuggling;
mod start;
mod strict;
#[path = "../conformance/sweeps.rs"]
mod sweeps;
mod tunnels;
#[path = "../../../framework/tests/wire/mod.rs"]
mod wire;

backends::on_each_backend! {
    start::a_file_that_is_not_in_order_is_refused,
    start::a_check_says_whether_it_is,
    forwarding::requests_go_where_their_routes_lead,
    forwarding::rules_change_headers_both_ways,
    forwarding::it_is_told_whose_a_request_is,
    forwarding::what_is_for_one_connection_stays_there,
    forwarding::faults_have_their_status,
    forwarding::expectations_are_passed_on,
    forwarding::each_request_leaves_a_line,
    forwarding::a_server_of_https_is_asked,
    forwarding::a_server_at_a_path_is_asked,
    forwarding::clients_speak_every_version,
    forwarding::nginx_is_asked,
    bodies::large_ones_go_both_ways,
    bodies::a_slow_reader_holds_up_the_server_behind,
    bodies::trailers_go_both_ways,
    bodies::what_is_too_long_is_refused,
    leaving::a_client_that_leaves_ends_its_call,
    leaving::and_so_does_one_in_the_middle_of_an_answer,
    tunnels::web_sockets_go_through,
    tunnels::and_so_they_do_over_a_stream,
    tunnels::what_is_no_upgrade_goes_no_further,
    reload::another_configuration_takes_over,
    reload::one_that_is_not_in_order_changes_nothing,
    reload::nothing_is_lost_under_load,
    smuggling::nothing_malformed_arrives,
    smuggling::nothing_malformed_arrives_at_nginx,
    smuggling::nor_by_http2,
    smuggling::an_answer_too_many_is_nobodys,
}
