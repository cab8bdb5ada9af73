//! *Shardwise* is a thread-per-core, shared-nothing server framework: every CPU core owns one pinned executor and one
//! reactor ring, nothing is shared between them, and handlers need not be `Send`.
//!
//! ```no_run
//! use shardwise::prelude::*;
//!
//! #[shardwise::main] // one pinned executor and one ring per core; this body runs on each
//! async fn main(shard: Shard) -> Result<()> {
//!     App::new()
//!         .get("/", async || "hello")
//!         .get("/hello/{name}", async |Path(name): Path<String>| format!("hello {name}"))
//!         .serve("0.0.0.0:8080")
//!         .await
//! }
//! ```
//!
//! It is tested as a whole, on a simulated machine, by an ordinary `#[test]`: see [`test`](mod@test).
//!
//! ```
//! # use shardwise::prelude::*;
//! let app = App::new().get("/hello/{name}", async |Path(name): Path<String>| format!("hello {name}"));
//! let response = shardwise::test::run(app).get("/hello/ada");
//! assert_eq!(response.text(), "hello ada");
//! ```
//!
//! What shards have in common is asked for where it is: [`PerShard`] is one value on each shard, and a closure goes to it.
//!
//! ```
//! use shardwise::prelude::*;
//!
//! #[derive(Default)]
//! struct Items(std::collections::BTreeMap<u64, String>);
//!
//! async fn program(shard: Shard) -> Result<()> {
//!     let items = PerShard::new(&shard, Items::default); // one Items on every shard, reachable from all
//!
//!     App::new()
//!         .state(items)
//!         .get("/items/{id}", item)
//!         .post("/items/{id}", keep)
//!         .serve("0.0.0.0:8080")
//!         .await
//! }
//!
//! async fn item(Path(id): Path<u64>, State(items): State<PerShard<Items>>) -> Result<Json<Option<String>>> {
//!     let item = items.at_key(&id, move |items| items.0.get(&id).cloned()).await?; // runs on the shard that owns the key
//!     Ok(Json(item))
//! }
//!
//! async fn keep(Path(id): Path<u64>, State(items): State<PerShard<Items>>, text: String) -> Result<()> {
//!     items.at_key_mut(&id, move |items| drop(items.0.insert(id, text))).await?;
//!     Ok(())
//! }
//!
//! let server = shardwise::test::builder().shards(3).program("127.0.0.1:8080", program);
//! server.post("/items/7", "a lamp");
//! assert_eq!(server.get("/items/7").text(), r#""a lamp""#);
//! ```
//!
//! This package is what a user writes: [`App`] and its routes, [handlers](Handler) and what they [take](FromHead) and
//! [return](Respond), metrics, the admin listener, the start, the test kit. What goes over the wire is `net`'s, what a core does is
//! `shards`'; neither kernels nor file descriptors appear here.

#![forbid(unsafe_code)]

mod admin;
mod app;
mod caught;
mod error;
mod extract;
mod files;
mod guest;
mod handler;
mod json;
pub mod layers;
pub mod limits;
mod log;
mod measure;
mod metrics;
mod middleware;
mod mount;
mod offload;
pub mod prelude;
mod request;
mod respond;
mod route;
mod router;
mod runtime;
mod site;
mod table;
pub mod test;
#[cfg(test)]
mod testing;
pub mod ws;

/// TLS: what a server proves itself by, and whom it admits; given to [`App::listen_tls`].
pub mod tls {
    pub use net::tls::{Clients, FileOrBytes, Roots, SetupError, Tls, check, reload};
}

pub use app::App;
pub use bytes::Bytes;
pub use error::{Error, Result};
pub use extract::{ConnectInfo, Extension, Form, FromHead, FromRequest, Path, Query, Rejection, State, States, Unmet};
pub use files::{Files, OfFiles};
pub use guest::{Guest, Invitation};
pub use handler::{GreenHandler, Handler, Limited, green};
pub use http;
pub use json::Json;
pub use macros::{main, test};
pub use middleware::{Middleware, Next};
pub use mount::SetupError;
pub use net::client;
pub use net::quic;
#[cfg(feature = "quinn")]
pub use net::quinn;
pub use net::tls::Tls;
pub use net::upstream::{self, Upstream};
pub use net::{
    Body, BodyError, BodyStream, Client, Config, Content, Datagrams, DeadlineField, Headers, Joined, Response, Spread,
    TcpStream, Trailers, Transport, Tunnel, Upgraded,
};
pub use offload::{Offloaded, offload};
pub use platform::{BackendKind, Bell, Buf, Choice, Chunk, Config as BackendConfig, Features, PoolSize};
pub use proto::head::Known;
pub use request::Request;
pub use respond::{Event, EventError, Events, Html, Redirect, Respond, Sink, Sse, Stream, StreamError, TrailerError};
pub use router::Router;
pub use runtime::{Builder, Runtime};
pub use shards::{
    CallError, Cancelled, Cause, Green, Host, Model, Next as AfterTurn, Offload, OffloadError, Part, Pass, PerShard,
    Reason, Remote, Replicated, Scope, ScopeHandle, ScopesFull, Shard, TraceContext, Wait, combine, model, models,
    offload::is_cancelled, sync, yield_now,
};

/// What `#[shardwise::main]` expands to; not part of the interface.
#[doc(hidden)]
pub mod expanded {
    pub use crate::log::install as install_log;
    pub use crate::runtime::conclude;
    pub use crate::test::{on_a_shard, run_seeds};
}

/// The examples of README.md, tested.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
