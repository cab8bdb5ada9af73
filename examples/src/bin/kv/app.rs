//! What the store serves: from HTTP to the shard that owns the key, and back.
//!
//! The shard that a request comes to reads it, and sends a closure to the owner's [`Store`]. A received body goes there without
//! a copy, and so does a value on its way back: both are `Bytes`, whose memory may be in use on several shards at once.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use shardwise::combine::race;
use shardwise::http::HeaderValue;
use shardwise::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use shardwise::prelude::*;
use shardwise::{FromHead, Rejection};

use crate::limits::{KEY_BYTES_MAX, SWEEP_EVERY, TTL_SECONDS_MAX, VALUE_BYTES_MAX};
use crate::store::{Changed, Condition, Found, Stats, Store};

/// Serves one shard, which may use so many bytes for its entries.
pub(crate) async fn serve(shard: Shard, address: std::net::SocketAddr, memory_bytes: usize) -> Result<()> {
    // Versions go on where an earlier run, with its fewer than a million changes a second, has ended.
    let since = shard.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stores = PerShard::new(&shard, || Store::new(memory_bytes, since.as_micros() as u64));
    shard.spawn(sweep(shard.clone(), stores))?.detach();
    App::new()
        .state(stores)
        .get("/kv/{key}", get)
        .put("/kv/{key}", put.body_limit(VALUE_BYTES_MAX))
        .delete("/kv/{key}", delete)
        .post("/kv/{key}/incr", increase)
        .get("/stats", stats)
        .serve(address)
        .await
}

/// Removes what nobody asks for and whose time is over, a little at a time, until the shard drains.
async fn sweep(shard: Shard, stores: PerShard<Store>) {
    while !shard.is_draining() {
        race((shard.sleep(SWEEP_EVERY), shard.drained())).await;
        let now = shard.now();
        if stores.here_mut(|store| store.sweep(now)).is_err() {
            return;
        }
    }
}

type Stores = State<PerShard<Store>>;

/// `GET`, and `HEAD`, which gets the same without the value.
async fn get(key: Key, tags: Tags, State(stores): Stores, shard: Shard) -> Result<Response> {
    let now = shard.now();
    let found = stores.on_mut(key.owner(stores), move |store| store.get(&key.0, now)).await?;
    let Some(Found { value, version }) = found else { return Ok(absent()) };
    let tag = [(ETAG, tag_of(version))];
    Ok(match tags.if_none_match {
        Some(known) if known.matches(version) => (StatusCode::NOT_MODIFIED, tag, ()).respond(),
        _ => (tag, value).respond(),
    })
}

#[derive(serde::Deserialize)]
struct Put {
    /// Seconds to live.
    ttl: Option<u64>,
}

async fn put(
    key: Key,
    tags: Tags,
    Query(Put { ttl }): Query<Put>,
    State(stores): Stores,
    shard: Shard,
    value: Bytes,
) -> Result<Response> {
    if let Some(seconds) = ttl
        && !(1..=TTL_SECONDS_MAX).contains(&seconds)
    {
        let what = format!("a time to live of {seconds} seconds cannot be had");
        let remedy = format!("Give 1 to {TTL_SECONDS_MAX} seconds, or no `ttl` for a value that stays.");
        return Err(Rejection::new(StatusCode::BAD_REQUEST, what).remedy(remedy).into());
    }
    let (ttl, condition, now) = (ttl.map(Duration::from_secs), tags.condition()?, shard.now());
    let bytes = key.0.len() + value.len();
    let owner = key.owner(stores);
    match stores.on_mut(owner, move |store| store.put(&key.0, &value, ttl, condition, now)).await? {
        Changed::Created(version) => Ok((StatusCode::CREATED, [(ETAG, tag_of(version))], ()).respond()),
        Changed::Replaced(version) => Ok((StatusCode::NO_CONTENT, [(ETAG, tag_of(version))], ()).respond()),
        Changed::Refused => {
            let what = "the key is not in the state that the request's condition names";
            let remedy = "Get it, and decide anew by its ETag.";
            Err(Rejection::new(StatusCode::PRECONDITION_FAILED, what).remedy(remedy).into())
        }
        Changed::NoRoom => {
            let what = format!("an entry of {bytes} bytes is more than a shard's memory");
            let remedy = "Send less, or start the server with more `--memory`.";
            Err(Rejection::new(StatusCode::INSUFFICIENT_STORAGE, what).remedy(remedy).into())
        }
    }
}

async fn delete(key: Key, State(stores): Stores, shard: Shard) -> Result<Response> {
    let now = shard.now();
    match stores.on_mut(key.owner(stores), move |store| store.delete(&key.0, now)).await? {
        true => Ok(StatusCode::NO_CONTENT.respond()),
        false => Ok(absent()),
    }
}

#[derive(serde::Deserialize)]
struct Increase {
    #[serde(default = "one")]
    by: i64,
}

fn one() -> i64 {
    1
}

/// Adds to a number. It happens on the owner between two of its tasks, so no step is lost, whoever else counts.
async fn increase(
    key: Key,
    Query(Increase { by }): Query<Increase>,
    State(stores): Stores,
    shard: Shard,
) -> Result<Response> {
    let now = shard.now();
    match stores.on_mut(key.owner(stores), move |store| store.add(&key.0, by, now)).await? {
        Ok(sum) => Ok(sum.to_string().respond()),
        Err(what) => Err(Rejection::new(StatusCode::CONFLICT, what).remedy("Put a number there first.").into()),
    }
}

#[derive(serde::Serialize)]
struct All {
    total: Stats,
    /// In the order of their numbers.
    shards: Vec<Stats>,
}

async fn stats(State(stores): Stores) -> Result<Json<All>> {
    let shards = stores.on_all(Store::stats).await?;
    let total = shards.iter().fold(Stats::default(), |sum, shard| Stats {
        keys: sum.keys + shard.keys,
        bytes: sum.bytes + shard.bytes,
        hits: sum.hits + shard.hits,
        misses: sum.misses + shard.misses,
        evictions: sum.evictions + shard.evictions,
        expiries: sum.expiries + shard.expiries,
    });
    Ok(Json(All { total, shards }))
}

fn absent() -> Response {
    Rejection::new(StatusCode::NOT_FOUND, "there is no such key, or its time is over").respond()
}

/// The key that the path names: any bytes, percent-encoded where they must be.
struct Key(Bytes);

impl Key {
    /// The shard that the key belongs to.
    fn owner(&self, stores: PerShard<Store>) -> usize {
        stores.owner(&self.0)
    }
}

impl FromHead for Key {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let sent = request.parameter("key").unwrap_or_default();
        let key: Cow<[u8]> = percent_decode_str(sent).into();
        if key.len() > KEY_BYTES_MAX {
            let what = format!("a key of {} bytes is too long", key.len());
            let remedy = format!("Keys have up to {KEY_BYTES_MAX} bytes; a hash of a longer one will do.");
            return Err(Rejection::new(StatusCode::URI_TOO_LONG, what).remedy(remedy));
        }
        Ok(Key(Bytes::copy_from_slice(&key)))
    }
}

/// What a request says about versions: `If-Match` and `If-None-Match`.
struct Tags {
    if_match: Option<Tag>,
    if_none_match: Option<Tag>,
}

/// One version, or whichever.
#[derive(Clone, Copy)]
enum Tag {
    Any,
    Version(u64),
}

impl Tags {
    /// What must hold for a change.
    fn condition(&self) -> Result<Condition, Rejection> {
        match (self.if_match, self.if_none_match) {
            (None, None) => Ok(Condition::Always),
            (Some(Tag::Any), None) => Ok(Condition::Present),
            (Some(Tag::Version(version)), None) => Ok(Condition::Version(version)),
            (None, Some(Tag::Any)) => Ok(Condition::Absent),
            _ => {
                let what = "this condition is not one that a change can have";
                let remedy = "Give `If-None-Match: *` to create, or `If-Match` with `*` or an ETag to replace.";
                Err(Rejection::new(StatusCode::BAD_REQUEST, what).remedy(remedy))
            }
        }
    }
}

impl Tag {
    fn matches(self, version: u64) -> bool {
        match self {
            Tag::Any => true,
            Tag::Version(known) => known == version,
        }
    }

    fn parse(sent: &[u8]) -> Option<Tag> {
        let sent = std::str::from_utf8(sent).ok()?.trim();
        if sent == "*" {
            return Some(Tag::Any);
        }
        let version = sent.strip_prefix('"')?.strip_suffix('"')?;
        version.parse().ok().map(Tag::Version)
    }
}

impl FromHead for Tags {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let read = |name: &str| match request.header(name) {
            None => Ok(None),
            Some(sent) => Tag::parse(sent).map(Some).ok_or_else(|| {
                let what = format!("`{name}` is neither `*` nor an ETag of this server");
                Rejection::new(StatusCode::BAD_REQUEST, what)
                    .remedy("Send one ETag as it was received, quotes and all.")
            }),
        };
        Ok(Tags { if_match: read(IF_MATCH.as_str())?, if_none_match: read(IF_NONE_MATCH.as_str())? })
    }
}

fn tag_of(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes make a header")
}
