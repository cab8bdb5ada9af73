//! A server under measurement: started pinned, awaited, stopped by its process id.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, limits, machine};

/// A running server. It is stopped when this is dropped, so that an error leaves none behind.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Server {
    /// Starts the command, its words split at white space, with all its threads on one CPU, and waits until it says
    /// where it listens, under TLS or not. The calling thread is pinned to `own_cpu` afterwards.
    pub fn start(command: &str, tls: bool, server_cpu: usize, own_cpu: usize) -> Result<Self> {
        let mut words = command.split_whitespace();
        let program = words.next().ok_or("the command is empty")?;
        machine::pin(server_cpu)?; // a child inherits the affinity of the thread that starts it
        let spawned = Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        machine::pin(own_cpu)?;
        let mut child = spawned.map_err(|error| format!("cannot start {program}: {error}"))?;
        let output = child.stdout.take().ok_or("the server's output is not a pipe")?;
        let mut server = Self { child, addr: SocketAddr::from(([0, 0, 0, 0], 0)) };
        server.addr = listening(output, tls).recv_timeout(limits::START_TIMEOUT).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("{command}: no `listening` line in {:?}", limits::START_TIMEOUT),
            mpsc::RecvTimeoutError::Disconnected => format!("{command}: ended without a `listening` line"),
        })?;
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let start = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if start.elapsed() > limits::STOP_TIMEOUT {
                eprintln!("warning: the server did not end within {:?} of SIGTERM", limits::STOP_TIMEOUT);
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sends the first address the server prints. The thread reads on until the server ends, so that the pipe never fills.
fn listening(output: ChildStdout, tls: bool) -> mpsc::Receiver<SocketAddr> {
    let prefix = if tls { "listening https://" } else { "listening http://" };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            if let Some(Ok(addr)) = line.strip_prefix(prefix).map(|rest| rest.trim().parse()) {
                let _ = sender.send(addr);
            }
        }
    });
    receiver
}
