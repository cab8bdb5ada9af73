//! What shards cost beside their peers, in one run: `cargo run --release --bin shards`.
//!
//! Its one idea: a *contest* is one job done by several, ours first. They take turns, round by round, so that a machine that
//! changes its pace changes it for all; the median of each is told, and the median of the ratios within the rounds.
//!
//! To measure more, write a file beside `mesh.rs` with a function that gives contests, and name it in [`SECTIONS`].

mod mesh;
mod tasks;

use std::process::ExitCode;

use bench::Result;
use bench::args::Args;
use bench::stats::{interval, median};

const USAGE: &str = "\
usage: shards [--rounds 11] [--only WORD]
--only measures the contests whose name or section contains the word.";

/// What is measured.
const SECTIONS: &[Section] =
    &[Section { name: "mesh", contests: mesh::contests }, Section { name: "tasks", contests: tasks::contests }];

/// Contests about one part of a shard.
struct Section {
    name: &'static str,
    contests: fn() -> Vec<Contest>,
}

/// One job, done by several.
struct Contest {
    name: &'static str,
    unit: Unit,
    aim: Aim,
    /// Ours first.
    rows: Vec<Row>,
}

/// Who does it, and how one sample of it is taken, in the contest's unit.
struct Row {
    name: &'static str,
    sample: Box<dyn Fn() -> f64>,
}

/// What a sample counts.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "not every section counts in both")]
enum Unit {
    /// Nanoseconds for one operation: less is better.
    Nanoseconds,
    /// Million operations in a second: more is better.
    Millions,
}

/// What our median is held to: at most, of what is better when it is less; at least, of what is better when it is more.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "not every section has aims of both kinds")]
enum Aim {
    /// A figure.
    Figure(f64),
    /// So much of the best peer's.
    OfBest(f64),
    /// Nothing: it is told for comparison.
    None,
}

impl Row {
    fn new(name: &'static str, sample: impl Fn() -> f64 + 'static) -> Row {
        Row { name, sample: Box::new(sample) }
    }
}

fn main() -> ExitCode {
    bench::run(shards)
}

fn shards() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let rounds: usize = args.value("--rounds", 11)?;
    let only: String = args.value("--only", String::new())?;
    args.finish()?;
    println!("medians of {rounds} rounds; ours over theirs, with the 95 % interval");
    for Section { name, contests } in SECTIONS {
        for contest in contests() {
            if name.contains(&only) || contest.name.contains(&only) {
                contest.hold(name, rounds.max(1));
            }
        }
    }
    Ok(())
}

impl Contest {
    fn hold(&self, section: &str, rounds: usize) {
        println!("\n{section}: {} ({})", self.name, self.unit.name());
        // One round that does not count: pages are touched, clocks rise.
        self.rows.iter().for_each(|row| _ = (row.sample)());
        let mut samples = vec![Vec::new(); self.rows.len()];
        for round in 0..rounds {
            for step in 0..self.rows.len() {
                // To and fro, so that a drift within rounds favours nobody.
                let place = if round % 2 == 0 { step } else { self.rows.len() - 1 - step };
                samples[place].push((self.rows[place].sample)());
            }
        }
        let ours = median(&samples[0]);
        for (place, row) in self.rows.iter().enumerate() {
            let (theirs, least) = (median(&samples[place]), least(&samples[place]));
            print!("  {:<44} {theirs:>10.2}   least {least:>10.2}", row.name);
            match place {
                0 => println!("   {}", self.verdict(ours, &samples[1..])),
                _ => println!("   {}", ratio(&samples[0], &samples[place])),
            }
        }
    }

    /// Whether our median keeps to the aim.
    fn verdict(&self, ours: f64, peers: &[Vec<f64>]) -> String {
        let medians = peers.iter().map(|samples| median(samples));
        let bound = match (self.aim, self.unit) {
            (Aim::None, _) => return String::new(),
            (Aim::Figure(bound), _) => bound,
            (Aim::OfBest(share), Unit::Nanoseconds) => share * medians.fold(f64::INFINITY, f64::min),
            (Aim::OfBest(share), Unit::Millions) => share * medians.fold(0.0, f64::max),
        };
        let (keeps, word) = match self.unit {
            Unit::Nanoseconds => (ours <= bound, "at most"),
            Unit::Millions => (ours >= bound, "at least"),
        };
        format!("aim: {word} {bound:.2}: {}", if keeps { "pass" } else { "SHORT" })
    }
}

/// Ours over theirs, round by round.
fn ratio(ours: &[f64], theirs: &[f64]) -> String {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    match interval(&ratios) {
        Some((low, high)) => format!("ratio {:.3} ({low:.3} to {high:.3})", median(&ratios)),
        None => format!("ratio {:.3}", median(&ratios)),
    }
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns, less is better",
            Unit::Millions => "million/s, more is better",
        }
    }
}
