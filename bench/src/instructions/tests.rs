use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Code, Counter, Function, Steps};

#[test]
fn what_is_stepped_through_is_counted_and_goes_on() {
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    sleep(Duration::from_millis(50));
    let counter = Counter::attach(child.id(), 0).unwrap();
    sleep(Duration::from_millis(200));
    let functions = counter.finish().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(functions.iter().map(|function| function.instructions).sum::<u64>() > 100, "{functions:?}");
    assert!(functions.is_sorted_by_key(|function| std::cmp::Reverse(function.instructions)), "the most first");
    assert!(status.contains("TracerPid:\t0\n"), "nobody traces it any more: {status}");
}

#[test]
fn one_that_waits_is_let_go() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(50));
    let counter = Counter::attach(child.id(), 0).unwrap();
    sleep(Duration::from_millis(50));
    counter.finish().unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "it has come to its end by itself");
}

#[test]
fn one_that_nobody_counts_any_more_can_be_ended() {
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    sleep(Duration::from_millis(50));
    drop(Counter::attach(child.id(), 0).unwrap());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn who_has_ended_is_an_error() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    assert!(Counter::attach(child.id(), 0).is_err());
}

#[test]
fn addresses_are_named_by_function_and_else_by_file() {
    let code = Code {
        files: vec![(100, 200, "/program".to_owned()), (500, 600, "/libc".to_owned())],
        symbols: vec![(100, 110, "first".to_owned()), (120, 130, "second".to_owned())],
    };
    let steps = Steps::from([(100, 3), (109, 2), (110, 1), (120, 1), (129, 9), (550, 4), (900, 1)]);
    let told = [("second", 10, 1), ("first", 5, 3), ("/libc", 4, 0), ("/program", 1, 0), ("elsewhere", 1, 0)];
    let told = told.map(|(name, instructions, entries)| Function { name: name.to_owned(), instructions, entries });
    assert_eq!(code.functions(&steps), told);
}

#[test]
fn the_functions_of_this_process_are_found() {
    let code = Code::of(std::process::id()).unwrap();
    let here: fn() = the_functions_of_this_process_are_found;
    let (name, is_entry) = code.name(here as usize as u64);
    assert!(name.contains("the_functions_of_this_process_are_found") && is_entry, "{name}");
}
