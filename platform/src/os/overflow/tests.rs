#![allow(unsafe_code)]
//! Overflows: each ends a child process, which is this program again with one test.

use std::hint::black_box;
use std::process::{Command, Output};

use crate::stack::{Coroutine, StackSize, Stacks, suspend};

/// What the child is to do.
const ROLE: &str = "SHARDWISE_TEST_OVERFLOW";

/// Runs this program's test `child` in that role, and gives how it ended.
fn child_in(role: &str) -> (Output, String) {
    let program = std::env::current_exe().expect("this program is a file");
    let child = Command::new(program)
        .args(["--exact", "os::overflow::tests::child", "--nocapture"])
        .env(ROLE, role)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&child.stderr).into_owned();
    (child, text)
}

/// Uses more of the stack in each call, as far as the compiler can tell.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if black_box(true) { deeper(depth + 1) + frame[0] } else { 0 }
}

fn overflow_a_coroutine(bytes: usize) {
    let stacks = Stacks::new(StackSize { bytes, count: 2 });
    let mut quiet = Coroutine::new(stacks.take().unwrap(), suspend);
    quiet.resume();
    let mut loud = Coroutine::new(stacks.take().unwrap(), || {
        suspend();
        deeper(0)
    });
    while loud.resume().is_none() {}
}

#[test]
fn child() {
    match std::env::var(ROLE).as_deref() {
        Ok("coroutine") => overflow_a_coroutine(64 * 1024),
        Ok("thread without a signal stack") => {
            let disabled =
                libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 64 * 1024 };
            // SAFETY: takes this thread's alternate stack away; no handler runs on it now. What it was is left mapped.
            let status = unsafe { libc::sigaltstack(&disabled, std::ptr::null_mut()) };
            assert_eq!(status, 0);
            overflow_a_coroutine(128 * 1024);
        }
        Ok("thread") => {
            let stacks = Stacks::new(StackSize::default());
            let mut quiet = Coroutine::new(stacks.take().unwrap(), suspend);
            quiet.resume();
            black_box(deeper(0));
        }
        Ok("null") => {
            let stacks = Stacks::new(StackSize::default());
            let mut faulty = Coroutine::new(stacks.take().unwrap(), || {
                // SAFETY: none: the fault is what is tested, and it ends the process.
                unsafe { black_box(std::ptr::without_provenance::<u64>(8)).read_volatile() }
            });
            faulty.resume();
        }
        _ => {}
    }
}

#[track_caller]
fn check(role: &str, signal: &str, expected: Option<&str>) {
    let (child, text) = child_in(role);
    assert!(child.status.to_string().contains(signal), "{role}: {}: {text}", child.status);
    const NAMED: &str = "green thread overflowed its stack of";
    match expected {
        Some(expected) => assert!(text.contains(expected), "{role}: {text}"),
        None => assert!(!text.contains(NAMED), "{role}: {text}"),
    }
}

#[test]
fn the_overflow_of_a_coroutine_is_named() {
    let remedy = "green thread overflowed its stack of 64 KiB; raise `Builder::green_stack_bytes` or use less stack\n";
    check("coroutine", "SIGABRT", Some(remedy));
}

#[test]
fn a_thread_that_has_no_signal_stack_is_given_one() {
    let named = "green thread overflowed its stack of 128 KiB;";
    check("thread without a signal stack", "SIGABRT", Some(named));
}

#[test]
fn the_overflow_of_a_thread_is_rusts_to_name() {
    check("thread", "SIGABRT", Some("has overflowed its stack"));
    check("thread", "SIGABRT", None);
}

#[test]
fn another_fault_is_left_to_whoever_handled_it() {
    check("null", "SIGSEGV", None);
}
