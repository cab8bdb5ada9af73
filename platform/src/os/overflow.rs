#![allow(unsafe_code)]
//! Naming the overflow of a stack of ours, on systems of the Unix family.
//!
//! The one idea: a thread that runs into the guard page of the stack it is on gets SIGSEGV (SIGBUS on macOS), and the handler
//! asks what the thread keeps about that stack: no table of all stacks, no lock. It runs on the thread's alternate stack,
//! since the other one is full. Whatever else the fault may be is left to the handler that was there before.

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use super::GuardLookup;
use crate::limits::SIGNAL_STACK_BYTES;

/// What is done from here on about faults, process-wide: set once, read by the handler.
struct Watch {
    lookup: GuardLookup,
    /// What was done before, by signal.
    before: [(libc::c_int, libc::sigaction); 2],
}

static WATCH: OnceLock<Watch> = OnceLock::new();

/// An alternate signal stack of this thread's, if it had none: threads that Rust has started have one. Not `Send`.
pub(crate) struct SignalStack(Option<*mut c_void>);

/// Names overflows from now on, and sees to it that this thread can. `None` if the system refuses; then an overflow is the
/// bare fault that it was.
pub(crate) fn name_overflows(lookup: GuardLookup) -> Option<SignalStack> {
    WATCH.get_or_init(|| {
        let before = [libc::SIGSEGV, libc::SIGBUS].map(|signal| (signal, action_of(signal)));
        Watch { lookup, before }
    });
    static INSTALLED: OnceLock<()> = OnceLock::new();
    // After what the handler reads has been set.
    INSTALLED.get_or_init(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            let mut action = no_action();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            set_action(signal, &action);
        }
    });
    SignalStack::new()
}

/// The handler. All that it calls may be called from one: what the thread keeps is in its static block, the rest are system
/// calls.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(watch) = WATCH.get() else { return };
    // SAFETY: the kernel calls a handler installed with SA_SIGINFO with a valid `info`, which names the address of a fault.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(bytes) = (watch.lookup)(address) {
        report(bytes);
        // SAFETY: ends the process; safe in a handler.
        unsafe { libc::abort() };
    }
    pass_on(watch, signal, info, context);
}

/// Leaves a fault to whoever handled it before; the default is restored and the fault happens again.
fn pass_on(watch: &Watch, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = watch.before.iter().find(|(number, _)| *number == signal).map(|(_, action)| action);
    match before {
        Some(action) if action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN => {
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: whoever installed it with SA_SIGINFO has given a function of these arguments; they are the kernel's.
                let handler = unsafe {
                    std::mem::transmute::<usize, extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void)>(
                        action.sa_sigaction,
                    )
                };
                handler(signal, info, context);
            } else {
                // SAFETY: whoever installed it without SA_SIGINFO has given a function of the signal's number.
                let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(action.sa_sigaction) };
                handler(signal);
            }
        }
        _ => set_action(signal, &no_action()),
    }
}

/// Writes the message, without memory or locks.
fn report(bytes: usize) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut left = bytes / 1024;
    loop {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    write_all(b"green thread overflowed its stack of ");
    write_all(&digits[first..]);
    write_all(b" KiB; raise `Builder::green_stack_bytes` or use less stack\n");
}

fn write_all(mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the call reads as many bytes as the slice has.
        let written = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        match usize::try_from(written) {
            Ok(written @ 1..) => text = &text[written.min(text.len())..],
            _ => return,
        }
    }
}

/// The default, with all else empty.
fn no_action() -> libc::sigaction {
    // SAFETY: all zeroes is a valid action: SIG_DFL, no flags, an empty mask.
    unsafe { std::mem::zeroed() }
}

fn action_of(signal: libc::c_int) -> libc::sigaction {
    let mut action = no_action();
    // SAFETY: with a null action the call only writes the present one, into a local.
    unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    action
}

fn set_action(signal: libc::c_int, action: &libc::sigaction) {
    // SAFETY: the action is valid, and read during the call only. Handlers are ours, or the default.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

impl SignalStack {
    fn new() -> Option<Self> {
        // SAFETY: all zeroes is a valid description.
        let mut present: libc::stack_t = unsafe { std::mem::zeroed() };
        // SAFETY: with a null stack the call only writes the present one, into a local.
        if unsafe { libc::sigaltstack(ptr::null(), &mut present) } != 0 {
            return None;
        }
        if present.ss_flags & libc::SS_DISABLE == 0 {
            return Some(SignalStack(None));
        }
        // SAFETY: a new mapping of its own touches nobody's memory.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIGNAL_STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return None;
        }
        let stack = libc::stack_t { ss_sp: memory.cast(), ss_flags: 0, ss_size: SIGNAL_STACK_BYTES };
        // SAFETY: the memory is this value's own until its drop, which takes the stack away first.
        unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
        Some(SignalStack(Some(memory)))
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        let Some(memory) = self.0 else { return };
        let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: SIGNAL_STACK_BYTES };
        // SAFETY: the stack that goes is this thread's, since the value does not leave it; no handler runs on it, since this
        // code is none's.
        unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
        // SAFETY: the mapping was made by `new` with this length, and nothing uses it any more.
        unsafe { libc::munmap(memory, SIGNAL_STACK_BYTES) };
    }
}

#[cfg(test)]
mod tests;
