//! What a hand-shake of TLS 1.3 costs two servers, in interleaved pairs of runs, each with a server freshly started.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bench::args::Args;
use bench::handshakes::Handshakes;
use bench::machine::Usage;
use bench::server::Server;
use bench::stats::{interval, median};
use bench::{Result, limits};

const USAGE: &str = "\
usage: handshakes --a 'COMMAND' --b 'COMMAND' [--resume] [--clients 1] [--pairs 20] [--seconds 0.4] [--server-cpu 0]
                  [--load-cpu 1]
Each client makes one hand-shake after the other, full or by tickets. Both servers must print `listening https://ADDR:PORT`.";

fn main() -> ExitCode {
    bench::run(compare)
}

/// What a run is.
struct Run {
    resumes: bool,
    clients: usize,
    time: Duration,
    server_cpu: usize,
    load_cpu: usize,
}

fn compare() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let (a, b): (String, String) = (args.required("--a")?, args.required("--b")?);
    let pairs: usize = args.value("--pairs", 20)?;
    let run = Run {
        resumes: args.flag("--resume"),
        clients: args.value("--clients", 1)?,
        time: Duration::try_from_secs_f64(args.value("--seconds", 0.4)?)?,
        server_cpu: args.value("--server-cpu", 0)?,
        load_cpu: args.value("--load-cpu", 1)?,
    };
    args.finish()?;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for number in 0..pairs {
        // A B, B A, A B …
        for is_a in if number % 2 == 0 { [true, false] } else { [false, true] } {
            let (command, costs) = if is_a { (&a, &mut of_a) } else { (&b, &mut of_b) };
            costs.push(run.measure(command)?);
        }
        eprintln!("pair {:2} of {pairs}: A {:.1} us, B {:.1} us", number + 1, of_a[number], of_b[number]);
    }
    let ratios: Vec<f64> = of_a.iter().zip(&of_b).map(|(a, b)| a / b).collect();
    let (low, high) = interval(&ratios).unwrap_or((f64::NAN, f64::NAN));
    println!("A: {a}\nB: {b}");
    let kind = if run.resumes { "resumed" } else { "full" };
    println!("{kind} hand-shakes, {} at a time, {pairs} pairs of {:?}", run.clients, run.time);
    println!("A {:.1} us of CPU for each, B {:.1} us", median(&of_a), median(&of_b));
    println!("A/B {:.3} (95 % between {low:.3} and {high:.3})", median(&ratios));
    Ok(())
}

impl Run {
    /// CPU microseconds of the server for each hand-shake.
    fn measure(&self, command: &str) -> Result<f64> {
        let server = Server::start(command, true, self.server_cpu, self.load_cpu)?;
        let clients =
            (0..self.clients).map(|_| Handshakes::new(server.addr, self.resumes)).collect::<Result<Vec<_>>>()?;
        run_all(&clients, limits::WARM_UP)?;
        let before = Usage::of(server.pid())?;
        let count = run_all(&clients, self.time)?;
        let used = Usage::of(server.pid())? - before;
        Ok(used.cpu.as_secs_f64() * 1e6 / count as f64)
    }
}

/// All clients at a time: how many hand-shakes they have made.
fn run_all(clients: &[Handshakes], time: Duration) -> Result<u64> {
    thread::scope(|scope| {
        let run = |client: &'_ Handshakes| client.run(time).map_err(|error| error.to_string());
        let running: Vec<_> = clients.iter().map(|client| scope.spawn(move || run(client))).collect();
        running.into_iter().map(|one| Ok(one.join().map_err(|_| "a client has panicked")??)).sum()
    })
}
