//! The measuring bench: what two servers cost per request, side by side, on the same machine in the same minute.
//!
//! Its one idea is the *pair*: a server and its rival run one after the other, and the ratio of their costs is what is
//! reported. A noisy machine moves both halves of a pair, so the ratio stays when the figures drift. The rivals are two
//! hand-written loops, the ceilings (`ceiling-uring`, `ceiling-epoll`), which do nothing but answer.
//!
//! The library holds what the programs share; each program in `src/bin` is short. Nothing here is part of the server.

use std::process::ExitCode;

pub mod answer;
pub mod args;
pub mod buffers;
pub mod built;
pub mod compare;
pub mod h2load;
pub mod h3load;
pub mod handshakes;
pub mod http3;
pub mod instructions;
pub mod limits;
pub mod listen;
pub mod load;
pub mod machine;
pub mod metrics;
pub mod scan;
pub mod server;
pub mod stats;
pub mod syscalls;
mod trusting;

/// What the bench's functions return. An error is a sentence for whoever ran the command; nothing recovers from one.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs a program's body and turns its error into one line and a failing exit code.
pub fn run(body: fn() -> Result<()>) -> ExitCode {
    match body() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
