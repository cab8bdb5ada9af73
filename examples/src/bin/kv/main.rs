//! An in-memory key-value store over HTTP, one part of it on each shard: see `kv --help`.
//!
//! `app.rs` speaks HTTP and finds a key's shard, `store.rs` keeps the entries of one shard, `sieve.rs` decides which of them goes
//! when memory runs out.

mod app;
mod limits;
mod options;
mod sieve;
mod store;

use options::{Asked, Options};
use shardwise::{Result, Runtime};

fn main() -> Result<()> {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Asked::Serve(options)) => options,
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return Ok(());
        }
        Err(what) => {
            eprintln!("kv: {what}\nTry `kv --help`.");
            std::process::exit(2);
        }
    };
    let mut runtime = Runtime::builder();
    if let Some(choice) = options.backend {
        runtime = runtime.backend(choice);
    }
    if let Some(count) = options.shards {
        runtime = runtime.shards(count);
    }
    if let Some(address) = options.admin {
        runtime = runtime.admin(address);
    }
    runtime.run(async move |shard| app::serve(shard, options.address, options.memory_bytes).await)
}
