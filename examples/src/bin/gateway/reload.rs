//! From one configuration to the next while requests come.
//!
//! The one idea: one shard looks at the file, and whatever is in it is either taken as a whole, by all shards, or not at all. So
//! what is served by is always one file that was in order, and requests in hand notice nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shardwise::combine::race;
use shardwise::{Replicated, Shard, tls};

use crate::config::{Config, Fault, Faults, text_of};
use crate::hangup::Hangup;
use crate::limits::LOOK_EVERY;
use crate::site::Running;

/// The configuration of all shards.
pub(crate) type Told = Replicated<Arc<Config>>;

/// Looks at the file, now and then and at each SIGHUP, until the shard drains. `text` is what it held at the start.
pub(crate) async fn watch(shard: Shard, path: PathBuf, text: String, hangup: Hangup, told: Told) {
    // What was seen last, good or bad, so that either is said once.
    let mut seen = Ok(text);
    while !shard.is_draining() {
        race((shard.sleep(LOOK_EVERY), shard.drained())).await;
        let is_asked = hangup.has_come();
        let file = path.clone();
        let Ok(text) = shard.offload(move || text_of(&file)).await else { continue };
        if text == seen && !is_asked {
            continue;
        }
        seen.clone_from(&text);
        let outcome = match text {
            Ok(text) => take(&shard, &path, text, told).await,
            Err(faults) => Err(faults),
        };
        match outcome {
            Ok(said) => {
                metrics::counter!("gateway_reloads_total", "result" => "taken").increment(1);
                tracing::info!("{}: {said}", path.display());
            }
            Err(faults) => {
                metrics::counter!("gateway_reloads_total", "result" => "refused").increment(1);
                tracing::error!("the configuration stays as it was:\n{faults}");
            }
        }
        // Listeners' certificates are looked at by themselves, but whoever asks does not want to wait.
        if is_asked && let Err(error) = tls::reload(&shard).await {
            tracing::error!("certificates stay as they were: {error}");
        }
    }
}

/// Judges what a file holds, and has all shards take it. What there is to say of it.
async fn take(shard: &Shard, path: &Path, text: String, told: Told) -> Result<String, Faults> {
    let ended = |why: String| {
        let what = format!("it cannot be taken over: {why}.");
        Faults { file: path.display().to_string(), faults: vec![Fault { line: 0, what }] }
    };
    let file = path.to_owned();
    let judged = shard.offload(move || Config::of(&file, &text)).await;
    let mut config = judged.map_err(|error| ended(error.to_string()))??;
    let running = told.read().map_err(|error| ended(error.to_string()))?;
    let faults = config.beyond_reload(&running);
    if !faults.is_empty() {
        return Err(Faults { file: path.display().to_string(), faults });
    }
    config.succeed(&running);
    let said = format!("taken over, with {} routes and {} upstreams", config.routes.len(), config.upstreams.len());
    let config = Arc::new(config);
    told.update(move |told| *told = config).await.map_err(|error| ended(error.to_string()))?;
    Ok(said)
}

/// On each shard: serves by whatever is told, until the shard drains.
pub(crate) async fn adopt(shard: Shard, running: Running, told: Told) {
    let mut version = 0;
    let news = async {
        while let Ok(news) = told.changed(version).await {
            version = news;
            let Ok(config) = told.read() else { return };
            if let Err(error) = running.take_over(&shard, &config) {
                tracing::error!("this shard serves by the former configuration: {error}");
            }
        }
    };
    race((news, shard.drained())).await;
}
