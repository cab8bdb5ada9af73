//! A resolver of our own on the shard: it asks name servers itself, remembers what they say for as long as it holds, and so
//! knows until when.
//!
//! The one idea: a name is asked for once at a time. Whoever wants it meanwhile waits for that, and finds it remembered; what
//! was not found, or could not be, is remembered too, for a shorter while.
//!
//! What a system may have beside name servers and its file of hosts (multicast, directories) it does not know; that is why
//! the system's way is the client's unless said.

mod exchange;
mod files;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use proto::dns::{ALIASES_MAX, Answer, Code, Data, Found, Kind, Name};
use shards::Shard;
use shards::sync::{Permit, Semaphore};

use crate::limits::{
    DNS_FAILURE_TIME, DNS_HALF_TTL_MAX, DNS_NAMES_MAX, DNS_NOTHING_TTL_MAX, DNS_OTHER_HALF_TIME, DNS_TRY_TIME,
    DNS_TTL_MAX, DNS_TTL_MIN,
};
use files::{Hosts, Settings};

/// What can be set about a resolver of our own.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name servers, asked in this order; those that `resolv_conf` names if there are none here.
    pub servers: Vec<SocketAddr>,
    /// The file that names them, and says how names are completed; read when it is first needed, and not again. Without it,
    /// or if it cannot be read, names are whole and a server on this machine is asked.
    pub resolv_conf: Option<PathBuf>,
    /// The file of names and addresses that goes before all servers; read at the same time.
    pub hosts: Option<PathBuf>,
    /// How long something is remembered at the most, whatever a server says.
    pub ttl_max: Duration,
    /// How many names are remembered. Those that hold least are forgotten for others.
    pub names_max: usize,
}

/// The system's files, and the bounds of [`limits`](crate::limits).
impl Default for Config {
    fn default() -> Self {
        Config {
            servers: Vec::new(),
            resolv_conf: Some("/etc/resolv.conf".into()),
            hosts: Some("/etc/hosts".into()),
            ttl_max: DNS_TTL_MAX,
            names_max: DNS_NAMES_MAX,
        }
    }
}

/// A place where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Those of the lowest are to be tried first.
    pub priority: u16,
    /// Among these, how often.
    pub weight: u16,
    /// Its host, whose addresses are to be looked up.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The names of a client.
pub(super) struct Names {
    shard: Shard,
    config: Config,
    files: RefCell<Option<Rc<Files>>>,
    known: RefCell<BTreeMap<Key, Rc<Entry>>>,
    /// One for each name that is asked for, so that it is so once at a time.
    turns: RefCell<BTreeMap<Key, Semaphore>>,
}

type Key = (Name, Wish);

/// What is wanted of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Addresses,
    Services,
}

/// What is remembered of a name.
struct Entry {
    /// Empty if there is nothing; an error if nobody could say.
    found: Result<Vec<Data>, String>,
    until: Instant,
}

struct Files {
    settings: Settings,
    hosts: Hosts,
}

/// What was found of one kind, and how many seconds that holds.
struct Part {
    data: Vec<Data>,
    ttl: u32,
}

impl Names {
    pub(super) fn new(shard: &Shard, config: Config) -> Self {
        let (files, known, turns) = Default::default();
        Names { shard: shard.clone(), config, files, known, turns }
    }

    /// The addresses of a host, those of IPv6 first, and until when they hold; `None` if that is not for a server to say.
    ///
    /// Errors: there is none, or nobody could say.
    pub(super) async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Option<Instant>), String> {
        let files = self.files().await;
        if let Some(addresses) = files.hosts.get(host) {
            return Ok((addresses.to_vec(), None));
        }
        if is_localhost(host) {
            return Ok((vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()], None));
        }
        let entry = self.find(host, Wish::Addresses, &files.settings).await?;
        let addresses = entry.data().iter().filter_map(|data| match data {
            Data::Address(address) => Some(*address),
            _ => None,
        });
        Ok((addresses.collect(), Some(entry.until)))
    }

    /// Where a service is, and until when that holds.
    ///
    /// Errors: it is nowhere, or nobody could say.
    pub(super) async fn services(&self, name: &str) -> Result<(Vec<Service>, Instant), String> {
        let files = self.files().await;
        let entry = self.find(name, Wish::Services, &files.settings).await?;
        let services = entry.data().iter().filter_map(|data| match data {
            Data::Service { priority, weight, port, target } => {
                Some(Service { priority: *priority, weight: *weight, host: target.to_string(), port: *port })
            }
            _ => None,
        });
        Ok((services.collect(), entry.until))
    }

    /// The first of the names that are meant of which there is something.
    async fn find(&self, text: &str, wish: Wish, settings: &Settings) -> Result<Rc<Entry>, String> {
        let names = settings.meant(text).ok_or("it is no name")?;
        for name in names {
            let entry = self.entry((name, wish), settings).await;
            match &entry.found {
                Ok(data) if data.is_empty() => {}
                Ok(_) => return Ok(entry),
                Err(why) => return Err(why.clone()),
            }
        }
        Err("there is none".to_owned())
    }

    /// What is remembered of a name, or is found out now.
    async fn entry(&self, key: Key, settings: &Settings) -> Rc<Entry> {
        if let Some(entry) = self.known(&key) {
            return entry;
        }
        let _turn = Turn::take(self, &key).await;
        if let Some(entry) = self.known(&key) {
            return entry;
        }
        let (found, time) = match key.1 {
            Wish::Addresses => self.both(&key.0, settings).await,
            Wish::Services => lasting(self.follow(&key.0, Kind::Service, settings).await),
        };
        let entry = Rc::new(Entry { found, until: self.shard.clock() + time.min(self.config.ttl_max) });
        self.remember(key.clone(), Rc::clone(&entry));
        entry
    }

    fn known(&self, key: &Key) -> Option<Rc<Entry>> {
        self.known.borrow().get(key).filter(|entry| entry.until > self.shard.now()).cloned()
    }

    fn remember(&self, key: Key, entry: Rc<Entry>) {
        let known = &mut *self.known.borrow_mut();
        if known.len() >= self.config.names_max {
            let now = self.shard.now();
            known.retain(|_, entry| entry.until > now);
            while known.len() >= self.config.names_max.max(1)
                && let Some(first) = known.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone())
            {
                known.remove(&first);
            }
        }
        known.insert(key, entry);
    }

    /// The addresses of both families, asked for at once. When there are some of one, the other is not waited for long (RFC 8305
    /// section 3); then what there is does not hold long either.
    async fn both(&self, name: &Name, settings: &Settings) -> (Result<Vec<Data>, String>, Duration) {
        let mut asked = [pin!(self.follow(name, Kind::V6, settings)), pin!(self.follow(name, Kind::V4, settings))];
        let mut parts: [Option<Result<Part, String>>; 2] = [None, None];
        let mut patience = self.shard.alarm(self.shard.now());
        let mut is_half = false;
        poll_fn(|cx| {
            for (part, asked) in parts.iter_mut().zip(&mut asked) {
                if part.is_none()
                    && let Poll::Ready(found) = asked.as_mut().poll(cx)
                {
                    let has_some = found.as_ref().is_ok_and(|part| !part.data.is_empty());
                    *part = Some(found);
                    if has_some {
                        is_half = true;
                        patience.set(self.shard.clock() + DNS_OTHER_HALF_TIME);
                    }
                }
            }
            if parts.iter().all(Option::is_some) {
                is_half = false;
                return Poll::Ready(());
            }
            if is_half { patience.poll_rung(cx) } else { Poll::Pending }
        })
        .await;
        let mut data = Vec::new();
        let mut time = if is_half { DNS_HALF_TTL_MAX } else { Duration::MAX };
        let mut failure = None;
        for part in parts.into_iter().flatten() {
            let (found, holds) = lasting(part);
            // What there is of one holds as long as it does, whatever there is not of the other.
            match found {
                Ok(found) if found.is_empty() => failure = failure.or(Some((Ok(found), holds))),
                Ok(found) => (data, time) = ([data, found].concat(), time.min(holds)),
                Err(why) => failure = Some((Err(why), holds)),
            }
        }
        match failure {
            Some(failure) if data.is_empty() => failure,
            Some((Err(_), _)) => (Ok(data), time.min(DNS_HALF_TTL_MAX)),
            _ => (Ok(data), time),
        }
    }

    /// What there is of one kind, by whichever other names it goes.
    async fn follow(&self, name: &Name, kind: Kind, settings: &Settings) -> Result<Part, String> {
        let (mut name, mut held) = (name.clone(), u32::MAX);
        for _ in 0..ALIASES_MAX {
            let answer = self.ask(&name, kind, settings).await?;
            match answer.find(&name, kind) {
                Found::Some(data, ttl) => return Ok(Part { data, ttl: held.min(ttl) }),
                Found::Nothing(ttl) => return Ok(Part { data: Vec::new(), ttl: held.min(ttl.unwrap_or(0)) }),
                Found::Elsewhere(other, ttl) => (name, held) = (other, held.min(ttl)),
            }
        }
        Err(format!("{name} is one alias too many"))
    }

    /// One question, put to the servers in their order until one of them says something; and again, with more patience.
    async fn ask(&self, name: &Name, kind: Kind, settings: &Settings) -> Result<Answer, String> {
        let servers = if self.config.servers.is_empty() { &settings.servers } else { &self.config.servers };
        let mut why = "there is no name server".to_owned();
        let mut time = DNS_TRY_TIME;
        for _ in 0..settings.attempts {
            for server in servers {
                why = match exchange::ask(&self.shard, *server, name, kind, time.min(settings.timeout)).await {
                    Ok(Answer { code: Code::Failed(code), .. }) => format!("{server} answers by the error {code}"),
                    Ok(Answer { code: Code::NotUnderstood, .. }) => {
                        format!("{server} does not understand the question")
                    }
                    Ok(answer) => return Ok(answer),
                    Err(why) => format!("{server}: {why}"),
                };
            }
            time *= 2;
        }
        Err(why)
    }

    async fn files(&self) -> Rc<Files> {
        if let Some(files) = &*self.files.borrow() {
            return Rc::clone(files);
        }
        let settings = files::read(&self.shard, self.config.resolv_conf.as_deref()).await;
        let hosts = files::read(&self.shard, self.config.hosts.as_deref()).await;
        let files = Rc::new(Files { settings: Settings::parse(&settings), hosts: Hosts::parse(&hosts) });
        *self.files.borrow_mut() = Some(Rc::clone(&files));
        files
    }
}

impl Entry {
    fn data(&self) -> &[Data] {
        self.found.as_deref().unwrap_or_default()
    }
}

/// How long that holds.
fn lasting(found: Result<Part, String>) -> (Result<Vec<Data>, String>, Duration) {
    match found {
        Ok(Part { data, ttl }) => {
            let ttl = Duration::from_secs(ttl.into()).max(DNS_TTL_MIN);
            let time = if data.is_empty() { ttl.min(DNS_NOTHING_TTL_MAX) } else { ttl };
            (Ok(data), time)
        }
        Err(why) => (Err(why), DNS_FAILURE_TIME),
    }
}

/// RFC 6761 section 6.3: it is this machine, and no server is asked.
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// The right to ask for a name.
struct Turn<'n> {
    names: &'n Names,
    key: &'n Key,
    permit: Option<Permit>,
}

impl<'n> Turn<'n> {
    async fn take(names: &'n Names, key: &'n Key) -> Self {
        let mut turn = Turn { names, key, permit: None };
        let semaphore = names.turns.borrow_mut().entry(key.clone()).or_insert_with(|| Semaphore::new(1)).clone();
        turn.permit = semaphore.acquire(1).await.ok();
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut turns = self.names.turns.borrow_mut();
        if turns.get(self.key).is_some_and(|turn| turn.available() == 1 && turn.waiting() == 0) {
            turns.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests;
