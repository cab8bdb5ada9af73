//! What a connection over HTTP/3 that has asked once and is silent costs each of several servers in user memory.

use std::process::ExitCode;
use std::time::Duration;

use bench::args::Args;
use bench::compare::Run;
use bench::h3load::open_idle;
use bench::server::Server;
use bench::{Result, machine};

const USAGE: &str = "\
usage: idle --server 'COMMAND' [--idle 1000] [--path /plaintext] [--server-cpu 0] [--load-cpu 1]
The server must print `listening https://ADDR:PORT`.";

/// How long the server may go on freeing and allocating after its last connection came.
const SETTLE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    bench::run(|| {
        let mut args = Args::from_env(USAGE);
        let command: String = args.required("--server")?;
        let count: usize = args.value("--idle", 1000)?;
        let mut run = Run::from_args(&mut args)?;
        args.finish()?;
        run.plan.http3 = true;
        let server = Server::start(&command, true, run.server_cpu, run.load_cpu)?;
        // What the server allocates once is not counted, and some connections come and go first.
        drop(open_idle(server.addr, &run.plan, 10)?);
        std::thread::sleep(SETTLE);
        let before = machine::anonymous_bytes(server.pid())?;
        let mut open = open_idle(server.addr, &run.plan, count)?;
        open.keep(SETTLE)?;
        let grown = machine::anonymous_bytes(server.pid())?.saturating_sub(before);
        println!(
            "{:.0} bytes of user memory for each of {count} idle connections: {command}",
            grown as f64 / count as f64
        );
        Ok(())
    })
}
