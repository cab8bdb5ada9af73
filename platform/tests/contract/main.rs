//! The contract: what every backend promises, whatever stands behind it. One bed (`bed.rs`) drives a reactor with bounded
//! waits and checks at the end that everything came home; the tests are plain functions of it, and this file instantiates
//! each for io_uring, for every rung of its ladder, for readiness in both makes, and for the simulated machine when it is calm, when its
//! kernel answers late, and when its network cuts besides. `errors.rs` has the table of operations and errors, `endings.rs`
//! that of buffers and endings; `.ci/inject` puts a fault at every entry into the kernel of the session in `session.rs`.
//!
//! Classes of defects that have hit runtimes like this one in the field, and the test that finds each:
//!
//! | class | test |
//! |---|---|
//! | memory freed while its operation is in flight | `endings::every_buffer_comes_home_once_in_every_ending`, `slots::abandoned_while_running`, `process::dropped_at_any_moment`, under AddressSanitizer |
//! | a submission that fails after its entry was pushed | `session::a_whole_session` under `.ci/inject` |
//! | a ring or driver dropped with operations live | `process::teardown_with_operations_in_flight`, `process::dropped_at_any_moment` |
//! | cancel races completion, and a descriptor leaks | `process::a_cancelled_accept_leaks_no_descriptor` |
//! | a cancelled receive loses its provided buffer | `buffers::a_cancelled_receive_loses_no_buffer` |
//! | a descriptor closed or reused while an entry is pending | `slots::closing_cancels_what_is_in_flight_first`, `slots::a_reused_descriptor_sees_nothing_of_its_past`, `slots::a_stale_handle_is_closed_for_everything` |
//! | the completion queue overflows and hangs | `linux::an_overflow_of_the_completion_queue_loses_nothing`, `slots::ten_thousand_operations_overflow_no_queue` |
//! | ENOBUFS ends a multishot receive | `buffers::enobufs_with_a_pool_of_one_buffer`, `buffers::a_starved_stream_waits_as_long_as_it_must` |
//! | a receive into several buffers gives them in another order | `buffers::what_spans_buffers_keeps_its_order` |
//! | a zero-copy notification late, early or missing | `streams::zero_copy_gives_its_buffer_back_once`, `endings`; late ones in the machine's own `a_zero_copy_send_keeps_its_memory_and_handle_until_notified` |
//! | short or unordered sends corrupt the stream | `streams::short_sends_keep_the_stream_whole`, `streams::sends_started_together_leave_in_order` |
//! | a link of silent entries never completes | `links::no_entry_is_linked_or_silent` |
//! | a fork shares the ring | `fork::a_fork_does_not_share_the_ring` |
//! | no memory to lock at set-up | `faults::memory_that_may_not_be_locked_is_named_with_the_remedy` |
//! | the queue between threads is unsound in safe code | loom and `compile_fail` in `spsc.rs` |
//! | a multishot receive starves new clients | `clock::flooding_starves_nobody`, `clock::flooding_keeps_no_new_client_waiting` |
//! | a regression test that passes without the fix | `platform/decisions/2026-11-25-planted-bugs.md` |
//!
//! How memory is checked, and how to run this without io_uring, is in CONTRIBUTING.md.

// For one thread-local in `buffers.rs`. Clippy judges the attributes in the macro's expansion at the crate's root.
#![allow(clippy::disallowed_macros)]

mod bed;
#[cfg(unix)]
mod bell;
mod buffers;
mod clock;
mod datagrams;
#[cfg(unix)]
mod descriptors;
mod endings;
mod errors;
#[cfg(target_os = "linux")]
mod faults;
mod files;
#[cfg(target_os = "linux")]
mod fork;
mod host;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod linux;
mod moves;
mod pipes;
mod process;
mod session;
mod slots;
mod streams;

/// Instantiates the contract. Tests under `uncut` count pieces or say in which order datagrams come, which a network that
/// cuts and delays does not promise. Tests under `kernels` need a real one: files of the host, threads that unpark. Those
/// under `alone` look at what belongs to the whole process, and run one at a time; those under `slow` wait for the kernel's
/// own clocks, and do without the rungs. What only some systems have is marked by `cfg`.
macro_rules! contract {
    (
        everywhere: [$($(#[$on_any:meta])? $file_any:ident::$test_any:ident),* $(,)?],
        uncut: [$($(#[$on_uncut:meta])? $file_uncut:ident::$test_uncut:ident),* $(,)?],
        kernels: [$($(#[$on:meta])? $file:ident::$test:ident),* $(,)?],
        alone: [$($(#[$on_alone:meta])? $file_alone:ident::$test_alone:ident),* $(,)?],
        slow: [$($(#[$on_slow:meta])? $file_slow:ident::$test_slow:ident),* $(,)?] $(,)?
    ) => {
        #[cfg(target_os = "linux")]
        mod uring {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { Rung::uring().into_iter().for_each(|rung| check(rung, crate::$file_any::$test_any)); })*
            $($(#[$on_uncut])? #[test] fn $test_uncut() { Rung::uring().into_iter().for_each(|rung| check(rung, crate::$file_uncut::$test_uncut)); })*
            $($(#[$on])? #[test] fn $test() { Rung::uring().into_iter().for_each(|rung| check(rung, crate::$file::$test)); })*
            $($(#[$on_alone])? #[test] fn $test_alone() { Rung::uring().into_iter().for_each(|rung| check_alone(rung, crate::$file_alone::$test_alone)); })*
            $($(#[$on_slow])? #[test] fn $test_slow() { Rung::uring().into_iter().for_each(|rung| check(rung, crate::$file_slow::$test_slow)); })*
        }

        #[cfg(target_os = "linux")]
        mod ladder {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { Rung::ladder().into_iter().for_each(|rung| check(rung, crate::$file_any::$test_any)); })*
            $($(#[$on_uncut])? #[test] fn $test_uncut() { Rung::ladder().into_iter().for_each(|rung| check(rung, crate::$file_uncut::$test_uncut)); })*
            $($(#[$on])? #[test] fn $test() { Rung::ladder().into_iter().for_each(|rung| check(rung, crate::$file::$test)); })*
            $($(#[$on_alone])? #[test] fn $test_alone() { Rung::ladder().into_iter().for_each(|rung| check_alone(rung, crate::$file_alone::$test_alone)); })*
        }

        #[cfg(target_os = "linux")]
        mod epoll {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { check(Rung::epoll(), crate::$file_any::$test_any); })*
            $($(#[$on_uncut])? #[test] fn $test_uncut() { check(Rung::epoll(), crate::$file_uncut::$test_uncut); })*
            $($(#[$on])? #[test] fn $test() { check(Rung::epoll(), crate::$file::$test); })*
            $($(#[$on_alone])? #[test] fn $test_alone() { check_alone(Rung::epoll(), crate::$file_alone::$test_alone); })*
            $($(#[$on_slow])? #[test] fn $test_slow() { check(Rung::epoll(), crate::$file_slow::$test_slow); })*
        }

        mod polling {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { check(Rung::polling(), crate::$file_any::$test_any); })*
            $($(#[$on_uncut])? #[test] fn $test_uncut() { check(Rung::polling(), crate::$file_uncut::$test_uncut); })*
            $($(#[$on])? #[test] fn $test() { check(Rung::polling(), crate::$file::$test); })*
            $($(#[$on_alone])? #[test] fn $test_alone() { check_alone(Rung::polling(), crate::$file_alone::$test_alone); })*
            $($(#[$on_slow])? #[test] fn $test_slow() { check(Rung::polling(), crate::$file_slow::$test_slow); })*
        }

        mod sim {
            use crate::bed::{Rung, check};
            $($(#[$on_any])? #[test] fn $test_any() { check(Rung::sim(), crate::$file_any::$test_any); })*
            $($(#[$on_uncut])? #[test] fn $test_uncut() { check(Rung::sim(), crate::$file_uncut::$test_uncut); })*
        }

        mod sim_late {
            use crate::bed::{Rung, check};
            $($(#[$on_any])? #[test] fn $test_any() { Rung::sim_late().into_iter().for_each(|rung| check(rung, crate::$file_any::$test_any)); })*
            $($(#[$on_uncut])? #[test] fn $test_uncut() { Rung::sim_late().into_iter().for_each(|rung| check(rung, crate::$file_uncut::$test_uncut)); })*
        }

        mod sim_choppy {
            use crate::bed::{Rung, check};
            $($(#[$on_any])? #[test] fn $test_any() { Rung::sim_choppy().into_iter().for_each(|rung| check(rung, crate::$file_any::$test_any)); })*
        }
    };
}

contract! {
    everywhere: [
        moves::a_released_socket_goes_on_elsewhere,
        moves::a_socket_moves_there_and_back,
        moves::what_is_in_flight_keeps_its_socket,
        moves::a_socket_that_nobody_adopts_is_closed,
        streams::connects_and_accepts,
        streams::a_hushed_send_ends_without_a_word,
        streams::a_hushed_send_that_waits_leaves_whole,
        streams::a_hushed_send_that_fails_is_told,
        streams::a_hushed_send_that_is_cut_short_is_told,
        streams::a_listener_gives_every_connection,
        streams::sends_and_receives_both_ways,
        streams::what_has_come_is_received_at_once,
        streams::without_a_buffer_nothing_is_received_at_once,
        streams::the_last_send_ends_its_direction,
        streams::a_last_send_that_does_not_fit_ends_nothing,
        streams::half_close_ends_one_direction_only,
        streams::a_reset_is_an_error,
        streams::nobody_listens_and_the_connection_is_refused,
        streams::misuse_of_sockets_is_an_error,
        streams::short_sends_keep_the_stream_whole,
        streams::one_large_send_leaves_whole,
        streams::zero_copy_gives_its_buffer_back_once,
        streams::sends_started_together_leave_in_order,
        streams::an_empty_send_is_a_send,
        streams::input_that_came_with_its_end_is_read_to_the_end,
        slots::a_spent_token_is_closed,
        slots::a_stale_handle_is_closed_for_everything,
        slots::closing_cancels_what_is_in_flight_first,
        slots::what_landed_before_a_cancel_is_kept,
        slots::every_waiting_operation_can_be_cancelled,
        slots::a_cancel_after_the_end_changes_nothing,
        slots::abandoned_while_queued,
        slots::abandoned_while_running,
        slots::abandoned_with_results_unread,
        slots::an_abandoned_connection_is_closed,
        slots::a_reused_descriptor_sees_nothing_of_its_past,
        slots::a_buffer_stays_with_its_blocked_send,
        buffers::enobufs_with_a_pool_of_one_buffer,
        buffers::a_starved_stream_waits_as_long_as_it_must,
        buffers::a_starved_stream_can_be_cancelled,
        buffers::a_starved_stream_can_be_abandoned,
        buffers::a_slow_reader_pauses_its_stream,
        buffers::chunks_are_taken_by_a_way_of_their_own,
        buffers::a_paused_stream_can_be_cancelled,
        buffers::a_paused_stream_can_be_abandoned,
        buffers::a_cancelled_receive_loses_no_buffer,
        buffers::a_lease_outlives_the_reactor,
        buffers::what_spans_buffers_keeps_its_order,
        buffers::a_socket_with_much_to_receive_starts_again_once,
        buffers::a_stream_changes_its_buffers_and_loses_nothing,
        buffers::a_starved_stream_changes_its_buffers,
        #[cfg(unix)]
        bell::a_simulated_machine_has_no_bell,
        clock::what_has_completed_is_news,
        clock::a_wait_ends_at_its_time,
        clock::a_sleep_is_never_early,
        clock::sleeps_end_in_order,
        clock::what_nobody_waits_for_wakes_nobody,
        clock::a_busy_shard_still_lands_completions,
        clock::flooding_starves_nobody,
        clock::flooding_keeps_no_new_client_waiting,
        datagrams::datagrams_go_both_ways,
        datagrams::a_connected_socket_needs_no_address,
        datagrams::a_long_datagram_is_cut_and_marked,
        datagrams::errors_of_datagrams,
        datagrams::a_starved_datagram_stream_recovers,
        datagrams::a_datagram_stream_can_be_cancelled,
        endings::every_buffer_comes_home_once_in_every_ending,
        endings::datagrams_and_reads_give_their_memory_back,
        errors::a_reset_meets_the_next_send,
        errors::a_stream_is_no_place_for_datagrams,
        errors::a_closed_port_meets_the_next_datagram,
        errors::a_batch_of_too_many_is_invalid,
        files::what_a_file_is_not_open_for_is_denied,
        slots::what_waits_without_effect_is_cancelled,
    ],
    uncut: [
        buffers::a_ring_that_is_short_is_given_more,
        buffers::leases_never_pin_the_last_buffers,
        buffers::bulk_and_heads_do_not_share,
        buffers::a_shared_buffer_comes_home_from_another_thread,
        buffers::what_is_shared_outlives_the_reactor,
        clock::waiters_are_named,
        datagrams::an_address_is_shared_by_those_opened_together,
        datagrams::an_answer_comes_from_where_its_question_went,
        datagrams::a_batch_leaves_as_its_segments,
        datagrams::datagrams_started_together_have_an_answer_each,
        datagrams::datagrams_behind_an_error_are_received,
        session::a_whole_session,
    ],
    kernels: [
        buffers::a_sleeping_shard_is_woken_for_the_buffer_it_waits_for,
        buffers::a_slow_upload_leaves_buffers_for_others,
        buffers::a_stream_that_is_cancelled_as_it_starves_ends,
        #[cfg(target_os = "linux")]
        linux::where_no_way_leads_is_unreachable,
        #[cfg(target_os = "linux")]
        linux::broadcast_must_be_asked_for,
        #[cfg(target_os = "linux")]
        linux::a_datagram_comes_to_the_socket_that_it_names,
        #[cfg(target_os = "linux")]
        linux::whoever_wants_no_fragments_is_told_of_a_narrow_link,
        #[cfg(target_os = "linux")]
        linux::a_source_that_this_machine_has_not_is_an_error,
        #[cfg(target_os = "linux")]
        linux::the_same_connection_twice_has_no_address,
        slots::ten_thousand_operations_overflow_no_queue,
        #[cfg(target_os = "linux")]
        linux::an_overflow_of_the_completion_queue_loses_nothing,
        #[cfg(unix)]
        bell::a_bell_is_heard_by_level,
        #[cfg(target_os = "linux")]
        bell::a_bell_is_heard_by_edges,
        clock::an_unpark_before_the_wait_is_not_lost,
        clock::another_thread_unparks,
        datagrams::congestion_marks_arrive,
        datagrams::datagrams_are_joined_for_who_asks,
        files::what_is_written_is_read,
        files::errors_of_files,
        files::facts_about_files,
        #[cfg(unix)]
        files::a_path_beneath_a_directory_does_not_leave_it,
        files::many_reads_at_once,
        files::file_operations_can_be_abandoned,
        files::closing_a_file_waits_for_its_operations,
        files::an_offset_beyond_all_files_is_invalid,
        pipes::a_file_goes_to_a_socket_through_a_pipe,
        pipes::a_pipe_waits_for_its_peer,
        pipes::every_pipe_comes_home_in_every_ending,
        pipes::misuse_of_pipes_is_an_error,
        #[cfg(target_os = "linux")]
        linux::an_address_that_nothing_has_is_an_error_of_the_system,
        #[cfg(target_os = "linux")]
        linux::what_has_no_device_cannot_be_synced,
        #[cfg(target_os = "linux")]
        linux::a_connection_is_accepted_with_its_first_bytes,
        #[cfg(target_os = "linux")]
        linux::the_kernel_takes_little_for_a_peer_that_reads_nothing,
    ],
    alone: [
        process::a_cancelled_accept_leaks_no_descriptor,
        #[cfg(unix)]
        descriptors::out_of_descriptors_and_back,
        process::teardown_with_operations_in_flight,
        process::dropped_at_any_moment,
        process::handles_that_nobody_closed_go_with_the_reactor,
        #[cfg(target_os = "linux")]
        linux::a_few_threads_queue_any_number_of_jobs,
        #[cfg(target_os = "linux")]
        fork::a_fork_does_not_share_the_ring,
    ],
    slow: [
        #[cfg(target_os = "linux")]
        linux::nobody_answers_and_the_connect_times_out,
        #[cfg(target_os = "linux")]
        linux::a_peer_that_takes_nothing_times_out,
    ],
}
