//! What a shard serves: every request, by one handler, at all listeners.

use std::path::PathBuf;
use std::sync::Arc;

use shardwise::prelude::*;
use shardwise::{Config as Served, Replicated, Tls};

use crate::config::{Config, Http, Listener};
use crate::forward::forward;
use crate::hangup::Hangup;
use crate::reload;
use crate::site::Running;

/// What it is started with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) path: PathBuf,
    /// What the file held, and what that means.
    pub(crate) text: String,
    pub(crate) config: Arc<Config>,
    pub(crate) hangup: Hangup,
}

/// Serves one shard.
pub(crate) async fn serve(shard: Shard, start: Start) -> Result<()> {
    let Start { path, text, config, hangup } = start;
    let told = Replicated::new(&shard, || Arc::clone(&config));
    let running = Running::new(&shard, &config)?;
    if shard.number() == 0 {
        shard.spawn(reload::watch(shard.clone(), path, text, hangup, told))?.detach();
    }
    shard.spawn(reload::adopt(shard.clone(), running.clone(), told))?.detach();
    let app = App::new().state(running).config(served(&config.http)).fallback(forward);
    config.listeners.iter().fold(app, listen).serve_all().await
}

fn served(http: &Http) -> Served {
    Served {
        accepts_h2: http.http2,
        accepts_h3: http.http3,
        proxy_protocol: http.proxy_protocol,
        idle_time_max: http.idle_time_max,
        head_time_max: http.head_time_max,
        connections_per_client_max: http.connections_per_client_max,
        // What those behind say of themselves is theirs to say.
        server: None,
        ..Served::default()
    }
}

fn listen(app: App, listener: &Listener) -> App {
    let Some(tls) = &listener.tls else { return app.listen(listener.address) };
    let mut certificates = tls.certificates.iter();
    let own = match certificates.next() {
        Some((certificate, key)) => Tls::new(certificate.clone(), key.clone()),
        None => Tls::self_signed([]),
    };
    let own = certificates.fold(own, |own, (certificate, key)| own.certificate(certificate.clone(), key.clone()));
    app.listen_tls(listener.address, own.tls12(tls.tls12))
}
