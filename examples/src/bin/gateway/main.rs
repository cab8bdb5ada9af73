//! A reverse proxy that a file configures: see `gateway --help`, and `deploy/gateway.toml` for all that the file may say.
//!
//! `config.rs` is that file as values. `site.rs` is what a shard makes of it, and `reload.rs` how the next takes its place.
//! `forward.rs` has a request once through, by `table.rs`, `headers.rs` and `upstream.rs`; `log.rs` says what became of it.

mod app;
mod config;
mod forward;
mod hangup;
mod headers;
mod limits;
mod log;
mod options;
mod reload;
mod site;
mod table;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use app::Start;
use config::{Config, Faults};
use hangup::Hangup;
use options::Asked;
use shardwise::{Error, Result, Runtime};

fn main() -> ExitCode {
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(asked) => asked,
        Err(what) => {
            eprintln!("gateway: {what}\nTry `gateway --help`.");
            return ExitCode::from(2);
        }
    };
    let (Asked::Serve(path) | Asked::Check(path)) = &asked else { return ExitCode::SUCCESS };
    let (text, config) = match load(path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    if matches!(asked, Asked::Check(_)) {
        let Config { listeners, routes, upstreams, .. } = &config;
        let counts = (listeners.len(), routes.len(), upstreams.len());
        println!("{}: in order: {} listeners, {} routes, {} upstreams", path.display(), counts.0, counts.1, counts.2);
        return ExitCode::SUCCESS;
    }
    match run(path.clone(), text, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(path: &Path) -> Result<(String, Config), Faults> {
    let text = config::text_of(path)?;
    let config = Config::of(path, &text)?;
    Ok((text, config))
}

fn run(path: PathBuf, text: String, config: Config) -> Result<()> {
    let hangup = Hangup::watch().map_err(|error| Error::new(format!("cannot watch for SIGHUP: {error}")))?;
    let process = &config.process;
    let mut runtime = Runtime::builder().drain_notice(process.drain_notice).drain_time_max(process.drain_time_max);
    if let Some(choice) = process.backend {
        runtime = runtime.backend(choice);
    }
    if let Some(count) = process.shards {
        runtime = runtime.shards(count);
    }
    if let Some(address) = process.admin {
        runtime = runtime.admin(address);
    }
    let start = Start { path, text, config: Arc::new(config), hangup };
    runtime.run(async move |shard| app::serve(shard, start.clone()).await)
}
