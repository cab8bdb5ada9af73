//! Compares two servers: CPU per request, in interleaved pairs of runs.

use std::process::ExitCode;

use bench::Result;
use bench::args::Args;
use bench::compare::{Contest, Run};

const USAGE: &str = "\
usage: compare --a 'COMMAND' --b 'COMMAND' [--pairs 20] [--seconds 2] [--connections 64] [--pipeline 1]
               [--path /plaintext] [--body BYTES] [--close] [--rate PER_SECOND] [--streams N] [--tls] [--h3]
               [--server-cpu 0] [--load-cpu 1] [--syscalls] [--instructions]
--body posts so many bytes, to /echo if no path is given; --close asks on a new connection each time, which the server is to
close; --rate sends at fixed times, whatever is answered, and counts latency from these. --tls asks under TLS. --streams asks over
HTTP/2, so many requests at a time on each connection, by h2load, without percentiles; --h3 over HTTP/3, by a load of its own.
--instructions counts those of user code, of the busiest thread, by single steps.
A command's words are split at white space. The server it starts must print `listening http://ADDR:PORT`.";

fn main() -> ExitCode {
    bench::run(compare)
}

fn compare() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let contest = Contest {
        a: args.required("--a")?,
        b: args.required("--b")?,
        pairs: args.value("--pairs", 20)?,
        run: Run::from_args(&mut args)?,
    };
    let syscalls = args.flag("--syscalls");
    let instructions = args.flag("--instructions");
    args.finish()?;
    println!("A: {}\nB: {}", contest.a, contest.b);
    println!("{}, {:?} a run\n", contest.run.plan, contest.run.time);
    let outcome = contest.run()?;
    println!("\n{outcome}");
    if syscalls {
        for (side, command) in [("A", &contest.a), ("B", &contest.b)] {
            let counts = contest.run.count_syscalls(command)?;
            let total: f64 = counts.iter().map(|(_, calls)| calls).sum();
            println!("{side}: {total:.3} system calls per request");
            for (name, calls) in counts.iter().take(5) {
                println!("   {name:<24} {calls:.4}");
            }
        }
    }
    if instructions {
        for (side, command) in [("A", &contest.a), ("B", &contest.b)] {
            let (functions, requests) = contest.run.count_instructions(command)?;
            let per_request = |count: u64| count as f64 / requests as f64;
            let total = functions.iter().map(|function| function.instructions).sum();
            println!("{side}: {:.0} user instructions per request, of {requests}", per_request(total));
            for function in functions.iter().take(20) {
                let (own, entries) = (per_request(function.instructions), per_request(function.entries));
                println!("   {own:7.1} entered {entries:5.2}  {}", function.name);
            }
        }
    }
    Ok(())
}
