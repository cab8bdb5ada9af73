//! Where endpoints are learned from: a list, names, a file, or whatever implements [`Discover`].
//!
//! One shard of all looks, and tells the others. What cannot be learned anew leaves what was known as it is.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shards::Shard;

use super::Endpoint;
use crate::client::{Client, Lookup};
use crate::files;
use crate::limits::{UPSTREAM_ENDPOINTS_MAX, UPSTREAM_FILE_LOOK_TIME, UPSTREAM_NAMES_LOOK_TIME};

/// The endpoints of a service, or how they are found.
#[derive(Clone, Debug)]
pub struct Endpoints(pub(super) Source);

#[derive(Clone)]
pub(super) enum Source {
    Fixed(Arc<[Endpoint]>),
    Names(Arc<[String]>),
    /// Made on the shard that looks.
    Found(Rc<dyn Fn() -> Box<dyn Discover>>),
}

/// Finds the endpoints of a service: a registry, an orchestrator, a table.
pub trait Discover {
    /// Waits for news: all endpoints as they are now. The first call gives them as soon as they are known; each further one waits
    /// until that has changed, or may have: what is the same as before does no harm. An endpoint that comes twice counts once,
    /// and those beyond [`UPSTREAM_ENDPOINTS_MAX`] are left out, with a line in the log.
    ///
    /// Errors: they cannot be learned. What was known stays, and it is called again after a while.
    ///
    /// It is dropped in the middle when the service is given up.
    fn next<'a>(&'a mut self, shard: &'a Shard) -> News<'a>;
}

/// What [`Discover::next`] gives.
pub type News<'a> = Pin<Box<dyn Future<Output = Result<Vec<Endpoint>, Box<dyn StdError>>> + 'a>>;

impl Endpoints {
    /// These, for good.
    pub fn fixed(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Endpoints(Source::Fixed(endpoints.into_iter().collect()))
    }

    /// All addresses of these names, each `HOST:PORT`, looked up again and again by the client's [resolver](crate::client::Config::resolver): as often as their
    /// records say, or every [`UPSTREAM_NAMES_LOOK_TIME`] where it does not know. A name of which nothing can be learned keeps the
    /// addresses that it had.
    pub fn names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Endpoints(Source::Names(names.into_iter().map(Into::into).collect()))
    }

    /// The lines of a file, each an address with a port and perhaps a weight; `#` begins a comment. It is read again every
    /// [`UPSTREAM_FILE_LOOK_TIME`]. One that is not in order changes nothing, and a line in the log says which line it is.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path: PathBuf = path.into();
        Endpoints::found_by(move || Lines { path: path.clone(), last: None })
    }

    /// Whatever this finds. It is made on the shard that looks.
    pub fn found_by<D: Discover + 'static>(make: impl Fn() -> D + 'static) -> Self {
        Endpoints(Source::Found(Rc::new(move || Box::new(make()))))
    }
}

/// None.
impl Default for Endpoints {
    fn default() -> Self {
        Endpoints::fixed([])
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Fixed(endpoints) => endpoints.fmt(f),
            Source::Names(names) => names.fmt(f),
            Source::Found(_) => f.write_str("Found"),
        }
    }
}

/// What is found, in order and without repetitions.
pub(super) fn tidy(mut found: Vec<Endpoint>) -> Vec<Endpoint> {
    found
        .iter_mut()
        .for_each(|endpoint| endpoint.weight = endpoint.weight.clamp(1, crate::limits::UPSTREAM_WEIGHT_MAX));
    found.sort();
    found.dedup_by(|a, b| a.address == b.address && a.name == b.name);
    if found.len() > UPSTREAM_ENDPOINTS_MAX {
        tracing::warn!(
            found = found.len(),
            used = UPSTREAM_ENDPOINTS_MAX,
            "there are more endpoints than may be; the first are used"
        );
        found.truncate(UPSTREAM_ENDPOINTS_MAX);
    }
    found
}

/// Names, each with the addresses that it had last.
pub(super) struct Names {
    client: Client,
    names: Vec<(String, Vec<Endpoint>)>,
    /// How long what is known holds.
    wait: Option<Duration>,
}

impl Names {
    pub(super) fn new(client: &Client, names: &[String]) -> Self {
        Names {
            client: client.clone(),
            names: names.iter().map(|name| (name.clone(), Vec::new())).collect(),
            wait: None,
        }
    }
}

impl Discover for Names {
    fn next<'a>(&'a mut self, shard: &'a Shard) -> News<'a> {
        Box::pin(async move {
            if let Some(wait) = self.wait.take() {
                shard.sleep(wait).await;
            }
            let mut next = UPSTREAM_NAMES_LOOK_TIME;
            let mut failure = None;
            for (name, known) in &mut self.names {
                match look_up(&self.client, name).await {
                    Ok(Lookup { addresses, until }) => {
                        let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
                        let host: Arc<str> = host.into();
                        let endpoint = |address| Endpoint::new(address).named(Arc::clone(&host));
                        *known = addresses.into_iter().map(endpoint).collect();
                        let left = until.map(|until| until.saturating_duration_since(shard.now()));
                        next = left.unwrap_or(next).min(next);
                    }
                    Err(error) if known.is_empty() => failure = Some(error),
                    Err(error) => {
                        tracing::warn!(name, "the name cannot be looked up, and keeps its addresses: {error}")
                    }
                }
            }
            // Whatever a record says, nobody is asked all the time.
            self.wait = Some(next.max(UPSTREAM_NAMES_LOOK_TIME / 5));
            let all: Vec<Endpoint> = self.names.iter().flat_map(|(_, known)| known.iter().cloned()).collect();
            match failure {
                Some(failure) if all.is_empty() => Err(failure),
                _ => Ok(all),
            }
        })
    }
}

async fn look_up(client: &Client, name: &str) -> Result<Lookup, Box<dyn StdError>> {
    let (host, port) = name.rsplit_once(':').ok_or("the name has no port")?;
    let port = port.parse().map_err(|_| "the port is no number up to 65535")?;
    Ok(client.lookup(host, port).await?)
}

/// A file of lines.
struct Lines {
    path: PathBuf,
    last: Option<Vec<u8>>,
}

impl Discover for Lines {
    fn next<'a>(&'a mut self, shard: &'a Shard) -> News<'a> {
        Box::pin(async move {
            loop {
                if self.last.is_some() {
                    shard.sleep(UPSTREAM_FILE_LOOK_TIME).await;
                }
                let bytes = files::read(shard, &self.path)
                    .await
                    .map_err(|error| format!("{}: {error}", self.path.display()))?;
                if self.last.as_ref() == Some(&bytes) {
                    continue;
                }
                let found = parse_lines(&self.path, &bytes);
                // What is wrong with it is said once.
                self.last = Some(bytes);
                return found.map_err(Into::into);
            }
        })
    }
}

/// Errors: file, line and reason.
fn parse_lines(path: &Path, bytes: &[u8]) -> Result<Vec<Endpoint>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
        if !line.is_empty() {
            let endpoint = Endpoint::parse(line);
            found.push(endpoint.map_err(|why| format!("{}:{}: {why}", path.display(), number + 1))?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
