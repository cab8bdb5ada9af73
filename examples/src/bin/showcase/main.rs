//! The server on which speed and conformance are measured. Its interface stays fixed: see `showcase --help`.

mod app;
mod options;

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
            eprintln!("showcase: {what}\nTry `showcase --help`.");
            std::process::exit(2);
        }
    };
    if let Some(root) = options.root.as_deref().filter(|root| !root.is_dir()) {
        eprintln!("showcase: --root {}: there is no such directory", root.display());
        std::process::exit(2);
    }
    let mut runtime = Runtime::builder().drain_notice(options.drain_notice);
    if let Some(choice) = options.backend {
        runtime = runtime.backend(choice);
    }
    if let Some(count) = options.shards {
        runtime = runtime.shards(count);
    }
    if let Some(address) = options.admin {
        runtime = runtime.admin(address);
    }
    runtime.run(async move |shard| app::app(&shard, options.root.as_deref()).serve(options.address).await)
}
