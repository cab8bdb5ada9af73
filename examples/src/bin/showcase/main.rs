//! The server on which speed and conformance are measured. Its interface stays fixed: see `showcase --help`.

mod app;
mod options;

use options::{Asked, Options};
use shardwise::{Result, Runtime, Tls};

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
    let mut runtime = Runtime::builder().drain_notice(options.drain_notice).spin(options.spin);
    if let Some(choice) = options.backend {
        runtime = runtime.backend(choice);
    }
    if let Some(count) = options.shards {
        runtime = runtime.shards(count);
    }
    if let Some(address) = options.admin {
        runtime = runtime.admin(address);
    }
    runtime.run(async move |shard| {
        let app = app::app(&shard, options.root.as_deref()).listen(options.address);
        let app = match (options.tls_address, &options.certificate) {
            (None, _) => app,
            (Some(address), None) => app.listen_tls(address, Tls::self_signed([])),
            (Some(address), Some((certificate, key))) => {
                app.listen_tls(address, Tls::new(certificate.clone(), key.clone()))
            }
        };
        app.serve_all().await
    })
}
