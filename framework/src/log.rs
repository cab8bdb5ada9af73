//! Logging: a small subscriber on standard error for programs that set none of their own.

use std::env;

use tracing_subscriber::filter::LevelFilter;

/// Installs the subscriber unless one is set. The level comes from `SHARDWISE_LOG` or `RUST_LOG` as a plain name (`off`,
/// `error`, `warn`, `info`, `debug`, `trace`); without either it is `info`.
pub fn install() {
    let (level, complaint) = level(env::var("SHARDWISE_LOG").ok(), env::var("RUST_LOG").ok());
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    if builder.try_init().is_ok()
        && let Some(complaint) = complaint
    {
        tracing::warn!("{complaint}");
    }
}

/// The level, and what is wrong with what was asked for.
fn level(own: Option<String>, common: Option<String>) -> (LevelFilter, Option<String>) {
    match own {
        Some(name) => match name.parse() {
            Ok(level) => (level, None),
            Err(_) => {
                let names = "off, error, warn, info, debug or trace";
                (LevelFilter::INFO, Some(format!("SHARDWISE_LOG is \"{name}\": choose {names}; info is used")))
            }
        },
        // Others may need a filter there that is more than a level: no complaint.
        None => (common.and_then(|name| name.parse().ok()).unwrap_or(LevelFilter::INFO), None),
    }
}

#[cfg(test)]
mod tests;
