//! Counts a server's system calls by name, with `perf stat` on the kernel's trace points.
//!
//! The kernel counts in place and nothing is recorded, so the server is slowed far less than under a tracer that
//! stops it at every call; a slow server would gather more requests per call and the counts would flatter it.
//!
//! `perf` counts while a command of its own runs. That command says when counting has begun and ends when its input
//! does, so nothing here has to wait and hope.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::Result;

const PREFIX: &str = "syscalls:sys_enter_";

/// Counts from its making to its finish.
#[derive(Debug)]
pub struct Counter {
    perf: Child,
}

impl Counter {
    /// Begins to count the calls of all threads that the process has now.
    pub fn attach(pid: u32) -> Result<Self> {
        let mut perf = Command::new("perf")
            .args(["stat", "-x,", "-e", &format!("{PREFIX}*"), "-p", &pid.to_string()])
            .args(["sh", "-c", "echo counting; read -r end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start perf, which counts the system calls: {error}"))?;
        let mut first = String::new();
        if let Some(output) = perf.stdout.take() {
            BufReader::new(output).read_line(&mut first)?;
        }
        let counter = Self { perf };
        if first.is_empty() {
            return Err(format!("perf does not count: {}", counter.output()?.trim()).into());
        }
        Ok(counter)
    }

    /// The calls by name, most frequent first.
    pub fn finish(self) -> Result<Vec<(String, u64)>> {
        Ok(parse(&self.output()?))
    }

    /// Ends the input of perf's command, and with it perf, and returns what perf said.
    fn output(mut self) -> Result<String> {
        drop(self.perf.stdin.take());
        let mut output = String::new();
        if let Some(mut stderr) = self.perf.stderr.take() {
            stderr.read_to_string(&mut output)?;
        }
        self.perf.wait()?;
        Ok(output)
    }
}

/// Lines of `count,unit,event,…`; calls that did not occur are left out.
fn parse(output: &str) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = output
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            let count = fields.next()?.parse().ok().filter(|count| *count > 0)?;
            Some((fields.nth(1)?.strip_prefix(PREFIX)?.to_owned(), count))
        })
        .collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

#[cfg(test)]
mod tests;
