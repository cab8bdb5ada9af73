//! The load as a program of its own, and `--idle`, which holds silent connections open until its input
//! ends, so that a server's memory can be read meanwhile.

use std::io::Read;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bench::args::Args;
use bench::h3load::Http3Load;
use bench::load::{Load, Plan, open_idle};
use bench::{Result, machine};

const USAGE: &str = "\
usage: load --addr 127.0.0.1:PORT [--path /plaintext] [--cpu N] [--connections 64] [--pipeline 1] [--seconds 2]
            [--body BYTES] [--close] [--rate PER_SECOND] [--tls] [--h3 [--streams 1]]
       load --addr 127.0.0.1:PORT [--path /plaintext] [--cpu N] --idle N";

fn main() -> ExitCode {
    bench::run(load)
}

fn load() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let addr: SocketAddr = args.required("--addr")?;
    let cpu: Option<usize> = args.optional("--cpu")?;
    let idle: Option<usize> = args.optional("--idle")?;
    let plan = Plan::from_args(&mut args)?;
    let seconds: f64 = args.value("--seconds", 2.0)?;
    args.finish()?;
    if let Some(cpu) = cpu {
        machine::pin(cpu)?;
    }
    match idle {
        Some(count) => hold(addr, &plan.path, count),
        None => run(addr, &plan, Duration::try_from_secs_f64(seconds)?),
    }
}

fn hold(addr: SocketAddr, path: &str, count: usize) -> Result<()> {
    let open = open_idle(addr, path, count)?;
    println!("holding {} connections until the end of input", open.len());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn run(addr: SocketAddr, plan: &Plan, time: Duration) -> Result<()> {
    let report = match plan.http3 {
        true => Http3Load::connect(addr, plan)?.run(time)?,
        false => Load::connect(addr, plan)?.run(time)?,
    };
    let seconds = report.elapsed.as_secs_f64();
    let percentile = |percent| report.latency.value_at_quantile(percent) as f64 / 1000.0;
    println!("requests  {} in {seconds:.2} s, {:.0}/s", report.requests, report.requests as f64 / seconds);
    println!("errors    {}", report.errors);
    println!(
        "latency   p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, max {:.1} us",
        percentile(0.5),
        percentile(0.99),
        percentile(0.999),
        percentile(1.0)
    );
    let per_request = report.cpu.as_secs_f64() * 1e6 / report.requests as f64;
    println!(
        "own CPU   {:.0} % of the time, {per_request:.2} us per request",
        100.0 * report.cpu.as_secs_f64() / seconds
    );
    Ok(())
}
