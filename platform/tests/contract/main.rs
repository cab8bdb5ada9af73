//! The contract: what every backend promises, whatever stands behind it. One bed (`bed.rs`) drives a reactor with bounded
//! waits and checks at the end that everything came home; the tests are plain functions of it, and this file instantiates
//! each for io_uring, for every rung of its ladder, for readiness in both makes and for the simulated
//! machine. Many are named after a class of defect that has hit
//! runtimes in the field.
//!
//! Failing entries into the kernel are injected from outside; every count `k` of the call shall pass (it counts for each
//! thread, so each test meets it):
//!
//! ```text
//! for error in EINTR EAGAIN EBUSY ENOMEM; do for k in 1 2 3 4 5 6 8 11 15; do
//!   strace -f -qq -o /dev/null -e trace=io_uring_enter -e inject=io_uring_enter:error=$error:when=$k \
//!     cargo test -p shardwise-platform --test contract -- --test-threads 1 uring::
//! done; done
//! ```
//!
//! and the same for readiness with `epoll_pwait` and with `recvfrom,sendto,sendmsg,recvmsg,accept4` failing with EINTR. For
//! memory, with a nightly compiler:
//! `RUSTFLAGS=-Zsanitizer=address cargo +nightly test -p shardwise-platform --target x86_64-unknown-linux-gnu --tests`.

mod bed;
mod buffers;
mod clock;
mod datagrams;
mod files;
mod host;
mod process;
mod slots;
mod streams;

/// Instantiates the contract. Tests under `kernels` need a real one: files of the host, threads that unpark. Those under
/// `alone` look at what belongs to the whole process, and run one at a time. What only some systems have is marked by `cfg`.
macro_rules! contract {
    (
        everywhere: [$($(#[$on_any:meta])? $file_any:ident::$test_any:ident),* $(,)?],
        kernels: [$($(#[$on:meta])? $file:ident::$test:ident),* $(,)?],
        alone: [$($(#[$on_alone:meta])? $file_alone:ident::$test_alone:ident),* $(,)?] $(,)?
    ) => {
        #[cfg(target_os = "linux")]
        mod uring {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { Rung::uring().into_iter().for_each(|rung| check(rung, crate::$file_any::$test_any)); })*
            $($(#[$on])? #[test] fn $test() { Rung::uring().into_iter().for_each(|rung| check(rung, crate::$file::$test)); })*
            $($(#[$on_alone])? #[test] fn $test_alone() {
                Rung::uring().into_iter().for_each(|rung| check_alone(rung, crate::$file_alone::$test_alone));
            })*
        }

        #[cfg(target_os = "linux")]
        mod ladder {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { Rung::ladder().into_iter().for_each(|rung| check(rung, crate::$file_any::$test_any)); })*
            $($(#[$on])? #[test] fn $test() { Rung::ladder().into_iter().for_each(|rung| check(rung, crate::$file::$test)); })*
            $($(#[$on_alone])? #[test] fn $test_alone() {
                Rung::ladder().into_iter().for_each(|rung| check_alone(rung, crate::$file_alone::$test_alone));
            })*
        }

        #[cfg(target_os = "linux")]
        mod epoll {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { check(Rung::epoll(), crate::$file_any::$test_any); })*
            $($(#[$on])? #[test] fn $test() { check(Rung::epoll(), crate::$file::$test); })*
            $($(#[$on_alone])? #[test] fn $test_alone() { check_alone(Rung::epoll(), crate::$file_alone::$test_alone); })*
        }

        mod polling {
            use crate::bed::{Rung, check, check_alone};
            $($(#[$on_any])? #[test] fn $test_any() { check(Rung::polling(), crate::$file_any::$test_any); })*
            $($(#[$on])? #[test] fn $test() { check(Rung::polling(), crate::$file::$test); })*
            $($(#[$on_alone])? #[test] fn $test_alone() { check_alone(Rung::polling(), crate::$file_alone::$test_alone); })*
        }

        mod sim {
            use crate::bed::{Rung, check};
            $($(#[$on_any])? #[test] fn $test_any() { check(Rung::sim(), crate::$file_any::$test_any); })*
        }
    };
}

contract! {
    everywhere: [
        streams::connects_and_accepts,
        streams::a_hushed_send_ends_without_a_word,
        streams::a_hushed_send_that_fails_is_told,
        streams::a_listener_gives_every_connection,
        streams::sends_and_receives_both_ways,
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
        buffers::leases_never_pin_the_last_buffers,
        buffers::a_starved_stream_waits_as_long_as_it_must,
        buffers::a_starved_stream_can_be_cancelled,
        buffers::a_starved_stream_can_be_abandoned,
        buffers::a_slow_reader_pauses_its_stream,
        buffers::a_paused_stream_can_be_cancelled,
        buffers::a_paused_stream_can_be_abandoned,
        buffers::a_lease_outlives_the_reactor,
        buffers::bulk_and_heads_do_not_share,
        clock::a_wait_ends_at_its_time,
        clock::a_sleep_is_never_early,
        clock::sleeps_end_in_order,
        clock::what_nobody_waits_for_wakes_nobody,
        clock::waiters_are_named,
        clock::a_busy_shard_still_lands_completions,
        clock::flooding_starves_nobody,
        datagrams::datagrams_go_both_ways,
        datagrams::a_connected_socket_needs_no_address,
        datagrams::a_long_datagram_is_cut_and_marked,
        datagrams::a_batch_leaves_as_its_segments,
        datagrams::errors_of_datagrams,
        datagrams::a_starved_datagram_stream_recovers,
        datagrams::a_datagram_stream_can_be_cancelled,
    ],
    kernels: [
        slots::ten_thousand_operations_overflow_no_queue,
        clock::an_unpark_before_the_wait_is_not_lost,
        clock::another_thread_unparks,
        datagrams::congestion_marks_arrive,
        files::what_is_written_is_read,
        files::errors_of_files,
        files::facts_about_files,
        files::many_reads_at_once,
        files::file_operations_can_be_abandoned,
        files::closing_a_file_waits_for_its_operations,
    ],
    alone: [
        process::a_cancelled_accept_leaks_no_descriptor,
        #[cfg(unix)]
        process::out_of_descriptors_and_back,
        process::teardown_with_operations_in_flight,
        process::dropped_at_any_moment,
        process::handles_that_nobody_closed_go_with_the_reactor,
    ],
}
