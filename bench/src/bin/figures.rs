//! Every figure that the server is held to, in one run: builds the server and the ceilings, measures, prints a table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bench::args::Args;
use bench::compare::{Contest, Run};
use bench::load::{Plan, open_idle};
use bench::server::Server;
use bench::{Result, built, machine};

const USAGE: &str = "\
usage: figures [--pairs 20] [--seconds 2] [--connections 64] [--idle 10000] [--server-cpu 0] [--load-cpu 1]
               [--showcase PATH]
Builds the showcase from the workspace above, or takes the one given.";

/// How long the server may go on freeing and allocating after its last idle connection came.
const SETTLE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    bench::run(figures)
}

/// A line of the table.
struct Figure {
    name: &'static str,
    measured: String,
    aim: String,
    pass: bool,
}

fn figures() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let pairs = args.value("--pairs", 20)?;
    let idle: usize = args.value("--idle", 10_000)?;
    let showcase: Option<PathBuf> = args.optional("--showcase")?;
    let run = Run::from_args(&mut args)?;
    args.finish()?;

    built::build(&Path::new(built::BENCH).join("Cargo.toml"), &["--bins"])?;
    let showcase = built::showcase(showcase)?;
    let beside = std::env::current_exe()?;
    let ceiling = |name| format!("{} --addr 127.0.0.1:0", beside.with_file_name(name).display());
    let server = |backend| format!("{} --addr 127.0.0.1:0 --shards 1 --backend {backend}", showcase.display());
    let contest = |backend, rival, pipeline| Contest {
        a: server(backend),
        b: ceiling(rival),
        pairs,
        run: Run { plan: Plan { pipeline, ..run.plan.clone() }, ..run.clone() },
    };

    let figures = [
        cost("plaintext, uring / ceiling-uring", &contest("uring", "ceiling-uring", 1), 1.10)?,
        cost("plaintext 16 deep, uring / ceiling-uring", &contest("uring", "ceiling-uring", 16), 1.6)?,
        cost("plaintext, epoll / ceiling-epoll", &contest("epoll", "ceiling-epoll", 1), 1.10)?,
        enters("ring enters per request", &server("uring"), &run, 0.2)?,
        idle_memory("bytes of user memory per idle connection", &server("uring"), &run, idle, 1024.0)?,
    ];
    println!("{}", table(&figures));
    Ok(())
}

/// CPU per request, as a ratio to a ceiling's.
fn cost(name: &'static str, contest: &Contest, aim: f64) -> Result<Figure> {
    println!("{name}");
    let outcome = contest.run()?;
    println!("{outcome}");
    let ratio = outcome.ratio();
    let mut measured = format!("{ratio:.3}");
    if let Some((low, high)) = outcome.ratio_interval() {
        write!(measured, " ({low:.3} to {high:.3})")?;
    }
    let (a, b) = outcome.cpu_micros();
    write!(measured, ", {a:.2} us / {b:.2} us")?;
    let errors = outcome.errors();
    if errors != (0, 0) {
        write!(measured, ", errors {} / {}", errors.0, errors.1)?;
    }
    Ok(Figure { name, measured, aim: format!("at most {aim}"), pass: ratio <= aim && errors == (0, 0) })
}

/// Enters as the kernel counts them, one request in flight on each connection.
fn enters(name: &'static str, server: &str, run: &Run, aim: f64) -> Result<Figure> {
    let counts = run.count_syscalls(server)?;
    let enters: f64 = counts.iter().filter(|(name, _)| name == "io_uring_enter").map(|(_, calls)| calls).sum();
    let all: f64 = counts.iter().map(|(_, calls)| calls).sum();
    let measured = format!("{enters:.3}, system calls in all {all:.3}");
    Ok(Figure { name, measured, aim: format!("under {aim}"), pass: enters > 0.0 && enters < aim })
}

/// What so many connections add to the memory that the server has touched. One connection comes and goes first, so
/// that what the server allocates once is not counted.
fn idle_memory(name: &'static str, command: &str, run: &Run, count: usize, aim: f64) -> Result<Figure> {
    machine::raise_descriptor_limit()?; // the server inherits it
    let server = Server::start(command, false, run.server_cpu, run.load_cpu)?;
    drop(open_idle(server.addr, &run.plan.path, 1)?);
    std::thread::sleep(SETTLE);
    let before = machine::anonymous_bytes(server.pid())?;
    let open = open_idle(server.addr, &run.plan.path, count)?;
    std::thread::sleep(SETTLE);
    let grown = machine::anonymous_bytes(server.pid())?.saturating_sub(before);
    let each = grown as f64 / open.len() as f64;
    let measured = format!("{each:.0}, {} connections", open.len());
    Ok(Figure { name, measured, aim: format!("at most {aim}"), pass: each <= aim })
}

fn table(figures: &[Figure]) -> String {
    let mut table = String::from("| figure | measured | aim | |\n|---|---|---|---|\n");
    for Figure { name, measured, aim, pass } in figures {
        let verdict = if *pass { "pass" } else { "short" };
        table += &format!("| {name} | {measured} | {aim} | {verdict} |\n");
    }
    table
}
