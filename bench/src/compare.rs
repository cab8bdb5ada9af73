//! A contest of two servers in pairs of runs: A B, B A, A B … each run with a server freshly started.
//!
//! What counts is CPU time per request, the server's, user and kernel. It is a property of the server and hardly of
//! who waits for whom, while throughput is that of the slower side. The ratio is taken within each pair, and the
//! median of the ratios is the result. Whatever disturbs a run is shown beside it and never used to throw one away.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::args::Args;
use crate::h3load::Http3Load;
use crate::instructions::Function;
use crate::load::{Load, Plan, Report};
use crate::machine::{CpuUsage, Usage};
use crate::server::Server;
use crate::stats::{interval, median};
use crate::{Result, h2load, instructions, limits, syscalls};

/// The two servers and what is asked of them.
#[derive(Clone, Debug)]
pub struct Contest {
    /// The command whose cost stands above the line of the ratio.
    pub a: String,
    /// The command whose cost stands below.
    pub b: String,
    /// How many pairs.
    pub pairs: usize,
    /// What a run is.
    pub run: Run,
}

/// One measured run of load on one server.
#[derive(Clone, Debug)]
pub struct Run {
    /// Of the measured part.
    pub time: Duration,
    /// What is asked.
    pub plan: Plan,
    /// The server's.
    pub server_cpu: usize,
    /// The load's.
    pub load_cpu: usize,
    /// Servers that the server asks, which share the load's CPU.
    pub behind: Vec<u32>,
}

/// Who asks in a run.
enum Asker<'p> {
    Own(Load),
    H2load(SocketAddr, &'p Plan),
    Http3(Http3Load),
}

/// What one run found.
#[derive(Debug)]
pub struct Sample {
    report: Report,
    server: Usage,
    on_server_cpu: Disturbance,
    on_load_cpu: Disturbance,
}

/// What else a CPU was taken for during a run, as parts of the time.
#[derive(Debug)]
struct Disturbance {
    /// Other processes.
    others: f64,
    /// The host.
    steal: f64,
}

/// All runs of a contest, in pairs.
#[derive(Debug)]
pub struct Outcome {
    pairs: Vec<(Sample, Sample)>,
}

impl Run {
    /// The options that every program with runs has in common.
    pub fn from_args(args: &mut Args) -> Result<Self> {
        Ok(Self {
            time: Duration::try_from_secs_f64(args.value("--seconds", 2.0)?)?,
            plan: Plan::from_args(args)?,
            server_cpu: args.value("--server-cpu", 0)?,
            load_cpu: args.value("--load-cpu", 1)?,
            behind: Vec::new(),
        })
    }

    /// Starts the server, warms it up, measures, stops it.
    pub fn measure(&self, command: &str) -> Result<Sample> {
        let (server, mut load) = self.start(command)?;
        let before = (Usage::of(server.pid())?, CpuUsage::of(self.server_cpu)?, CpuUsage::of(self.load_cpu)?);
        let behind = self.used_behind()?;
        let report = load.run(self.time)?;
        let behind = self.used_behind()? - behind;
        let server_used = Usage::of(server.pid())? - before.0;
        let server_cpu = CpuUsage::of(self.server_cpu)? - before.1;
        let load_cpu = CpuUsage::of(self.load_cpu)? - before.2;
        Ok(Sample {
            on_server_cpu: Disturbance::new(server_cpu, server_used.cpu, report.elapsed),
            on_load_cpu: Disturbance::new(load_cpu, report.cpu + behind, report.elapsed),
            server: server_used,
            report,
        })
    }

    /// The CPU time of those behind, so far.
    fn used_behind(&self) -> Result<Duration> {
        self.behind.iter().map(|pid| Ok(Usage::of(*pid)?.cpu)).sum()
    }

    /// System calls per request by name, most frequent first.
    pub fn count_syscalls(&self, command: &str) -> Result<Vec<(String, f64)>> {
        let (server, mut load) = self.start(command)?;
        let counter = syscalls::Counter::attach(server.pid())?;
        let report = load.run(limits::SYSCALLS_RUN)?;
        let per_request = |(name, calls): (String, u64)| (name, calls as f64 / report.requests as f64);
        Ok(counter.finish()?.into_iter().map(per_request).collect())
    }

    /// User instructions of the server's busiest thread by function, the most first, and the requests that they answered.
    pub fn count_instructions(&self, command: &str) -> Result<(Vec<Function>, u64)> {
        let mut few = self.clone();
        few.plan.connections = few.plan.connections.min(limits::INSTRUCTIONS_CONNECTIONS_MAX);
        let (server, mut load) = few.start(command)?;
        let counter = instructions::Counter::attach(server.pid(), self.server_cpu)?;
        let report = load.run(limits::INSTRUCTIONS_RUN)?;
        let functions = counter.finish()?;
        match report.errors {
            0 => Ok((functions, report.requests)),
            errors => Err(format!("{command}: {errors} requests were not answered in single steps").into()),
        }
    }

    fn start(&self, command: &str) -> Result<(Server, Asker<'_>)> {
        self.plan.check()?;
        let server = Server::start(command, self.plan.is_secure(), self.server_cpu, self.load_cpu)?;
        let said = |error| format!("{command}: {error}");
        let mut load = if self.plan.http3 {
            Asker::Http3(Http3Load::connect(server.addr, &self.plan).map_err(said)?)
        } else if self.plan.is_for_h2load() {
            Asker::H2load(server.addr, &self.plan)
        } else {
            Asker::Own(Load::connect(server.addr, &self.plan).map_err(said)?)
        };
        load.run(limits::WARM_UP).map_err(|error| format!("{command}: {error}"))?;
        Ok((server, load))
    }
}

impl Asker<'_> {
    fn run(&mut self, time: Duration) -> Result<Report> {
        match self {
            Asker::Own(load) => load.run(time),
            Asker::H2load(addr, plan) => h2load::run(*addr, plan, time),
            Asker::Http3(load) => load.run(time),
        }
    }
}

impl Contest {
    /// Runs all pairs, telling after each what it found.
    pub fn run(&self) -> Result<Outcome> {
        if self.run.server_cpu == self.run.load_cpu {
            return Err("the server and the load want a CPU each".into());
        }
        let mut outcome = Outcome { pairs: Vec::with_capacity(self.pairs) };
        for number in 0..self.pairs {
            let pair = if number % 2 == 0 {
                let a = self.run.measure(&self.a)?;
                (a, self.run.measure(&self.b)?)
            } else {
                let b = self.run.measure(&self.b)?;
                (self.run.measure(&self.a)?, b)
            };
            let (a, b) = (pair.0.cpu_micros(), pair.1.cpu_micros());
            eprintln!("pair {:2} of {}: A {a:.3} us, B {b:.3} us, A/B {:.3}", number + 1, self.pairs, a / b);
            outcome.pairs.push(pair);
        }
        Ok(outcome)
    }
}

impl Disturbance {
    /// From what the CPU did and what part of that was ours.
    fn new(cpu: CpuUsage, ours: Duration, elapsed: Duration) -> Self {
        let part = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64();
        Self { others: part(cpu.busy.saturating_sub(ours)), steal: part(cpu.steal) }
    }
}

impl Sample {
    /// CPU microseconds per request.
    pub fn cpu_micros(&self) -> f64 {
        self.per_request(self.server.cpu.as_secs_f64() * 1e6)
    }

    /// What the server spent in user space and in the kernel, in ticks: so coarse that one takes the sum of many runs.
    pub fn ticks(&self) -> (Duration, Duration) {
        (self.server.user, self.server.system)
    }

    /// Requests answered in a second.
    pub fn rate(&self) -> f64 {
        self.report.requests as f64 / self.report.elapsed.as_secs_f64()
    }

    /// Head and body.
    pub fn answer_bytes(&self) -> usize {
        self.report.answer_bytes
    }

    /// Requests that failed.
    pub fn errors(&self) -> u64 {
        self.report.errors
    }

    /// The part of the time for which the server ran.
    pub fn busy(&self) -> f64 {
        self.part(self.server.cpu)
    }

    /// The part of the time for which either CPU was not to be had: taken by other processes or by the host.
    pub fn disturbed(&self) -> f64 {
        let [server, load] = [&self.on_server_cpu, &self.on_load_cpu].map(|on| on.others + on.steal);
        server.max(load)
    }

    fn per_request(&self, amount: f64) -> f64 {
        amount / self.report.requests as f64
    }

    fn user_part(&self) -> f64 {
        let ticks = self.server.user + self.server.system;
        if ticks.is_zero() { 0.0 } else { self.server.user.as_secs_f64() / ticks.as_secs_f64() }
    }

    /// A part of the run's time.
    fn part(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.report.elapsed.as_secs_f64()
    }

    /// Microseconds within which such a part of the requests was answered.
    pub fn latency_micros(&self, quantile: f64) -> f64 {
        self.report.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl Outcome {
    /// The median of the pairs' ratios of CPU per request, A's to B's.
    pub fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    /// Encloses the true median ratio with 95 %; `None` if there are too few pairs to say.
    pub fn ratio_interval(&self) -> Option<(f64, f64)> {
        interval(&self.ratios())
    }

    /// The medians of CPU microseconds per request, A's and B's.
    pub fn cpu_micros(&self) -> (f64, f64) {
        self.medians(Sample::cpu_micros)
    }

    /// Requests that failed, A's and B's.
    pub fn errors(&self) -> (u64, u64) {
        let sum =
            |side: fn(&(Sample, Sample)) -> &Sample| self.pairs.iter().map(side).map(|run| run.report.errors).sum();
        (sum(|pair| &pair.0), sum(|pair| &pair.1))
    }

    fn ratios(&self) -> Vec<f64> {
        self.pairs.iter().map(|(a, b)| a.cpu_micros() / b.cpu_micros()).collect()
    }

    fn medians(&self, value: impl Fn(&Sample) -> f64) -> (f64, f64) {
        let side =
            |side: fn(&(Sample, Sample)) -> &Sample| -> Vec<f64> { self.pairs.iter().map(side).map(&value).collect() };
        (median(&side(|pair| &pair.0)), median(&side(|pair| &pair.1)))
    }
}

/// The report: medians over the runs, then the ratio.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>12}{:>12}", format!("medians of {} runs each", self.pairs.len()), "A", "B")?;
        let mut row = |name: &str, decimals: usize, value: &dyn Fn(&Sample) -> f64| {
            let (a, b) = self.medians(value);
            writeln!(f, "{name:<34}{a:>12.decimals$}{b:>12.decimals$}")
        };
        row("CPU us per request", 3, &Sample::cpu_micros)?;
        row("  user part, % (coarse)", 1, &|run| 100.0 * run.user_part())?;
        row("requests per second", 0, &Sample::rate)?;
        row("latency p50, us", 1, &|run| run.latency_micros(0.5))?;
        row("latency p99, us", 1, &|run| run.latency_micros(0.99))?;
        row("latency p99.9, us", 1, &|run| run.latency_micros(0.999))?;
        row("answer bytes", 0, &|run| run.report.answer_bytes as f64)?;
        row("server's CPU busy with it, %", 1, &|run| 100.0 * run.busy())?;
        row("load's CPU busy with it, %", 1, &|run| 100.0 * run.part(run.report.cpu))?;
        row("waits per 1000 requests", 2, &|run| run.per_request(1000.0 * run.server.switches as f64))?;
        row("preemptions per second", 1, &|run| run.server.preemptions as f64 / run.report.elapsed.as_secs_f64())?;
        row("others on the server's CPU, %", 1, &|run| 100.0 * run.on_server_cpu.others)?;
        row("others on the load's CPU, %", 1, &|run| 100.0 * run.on_load_cpu.others)?;
        row("stolen from both by the host, %", 1, &|run| 100.0 * (run.on_server_cpu.steal + run.on_load_cpu.steal))?;
        let (a, b) = self.errors();
        writeln!(f, "{:<34}{a:>12}{b:>12}", "errors in all runs")?;
        write!(f, "\nA/B, CPU per request, median of pairs: {:.3}", self.ratio())?;
        match self.ratio_interval() {
            Some((low, high)) => writeln!(f, ", 95 % between {low:.3} and {high:.3}"),
            None => writeln!(f, ", of too few pairs for an interval (6 or more)"),
        }
    }
}
