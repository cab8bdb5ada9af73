//! The test kit: an app served on a simulated machine, and asked over its network, from an ordinary `#[test]`.
//!
//! The whole server is under test: shards, reactor, connection loop, routes, handlers. Only the kernel is simulated. It
//! is so in one thread, on virtual time, and one seed decides everything, so a test takes as long as its arithmetic, comes
//! out the same each time, and ends by looking at what the server has left behind.
//!
//! # A handler's answer
//!
//! [`run`] serves an app; [`get`](Server::get), [`post`](Server::post) and [`send`](Server::send) ask it. When the server
//! is dropped it drains, and the test fails if something has not come home.
//!
//! ```
//! use shardwise::prelude::*;
//! use shardwise::test;
//!
//! let app = App::new()
//!     .get("/hello/{name}", |Path(name): Path<String>| async move { format!("hello {name}") })
//!     .post("/double", |Json(number): Json<u32>| Json(number * 2));
//!
//! let server = test::run(app);
//! assert_eq!(server.get("/hello/ada").text(), "hello ada");
//! assert_eq!(server.send(test::Request::post("/double").json(&21)).json::<u32>(), 42);
//! assert_eq!(server.get("/nowhere").status(), 404);
//! ```
//!
//! # A timeout, in virtual time
//!
//! Time stands still unless everybody waits; then it jumps to whatever comes next. In [`Server::run`], a client does by
//! hand what it likes, here what a slow one does.
//!
//! ```
//! use std::time::Duration;
//! use shardwise::prelude::*;
//! use shardwise::{Config, test};
//!
//! let minute = Duration::from_secs(60);
//! let config = Config { head_time_max: minute, ..Config::default() };
//! let server = test::run(App::new().config(config).get("/", || "hello"));
//! let waited = server.run(async move |client| {
//!     let mut connection = client.open().await;
//!     let begin = client.now();
//!     connection.send("GET / HTTP/1.1\r\nHo").await.unwrap();
//!     let response = connection.response(&Method::GET).await.unwrap();
//!     assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
//!     client.now() - begin
//! });
//! assert!(waited >= minute && waited < minute + Duration::from_secs(1), "and the test took no time");
//! ```
//!
//! # Two requests that race
//!
//! [`all`](Client::all) sends requests at the same time, each over a connection of its own. Here the second overtakes the
//! first between its look at the counter and its step, whatever the seed.
//!
//! ```
//! use std::{cell::Cell, rc::Rc, time::Duration};
//! use shardwise::prelude::*;
//! use shardwise::test;
//!
//! async fn step(State(count): State<Rc<Cell<u32>>>, shard: Shard) -> String {
//!     let seen = count.get();
//!     shard.sleep(Duration::from_millis(10)).await; // others run meanwhile
//!     count.set(seen + 1);
//!     format!("{}", seen + 1)
//! }
//!
//! for seed in test::seeds(20) {
//!     let server = test::builder().seed(seed).plan(test::Plan::CHOPPY).start(|_| {
//!         App::new().state(Rc::<Cell<u32>>::default()).post("/step", step)
//!     });
//!     let answers = server.all([test::Request::post("/step"), test::Request::post("/step")]);
//!     assert!(answers.iter().all(|answer| answer.text() == "1"), "a step is lost");
//! }
//! ```
//!
//! # Seeds
//!
//! A failure prints its seed, and the command that runs it again. [`#[shardwise::test]`](macro@crate::test) runs a test for
//! several seeds; [`seeds`] says which, and minds the environment: `SHARDWISE_SEED=17` is that one, `SHARDWISE_SEEDS=1000`
//! so many, `SHARDWISE_SEEDS=500..1000` a range.
//!
//! `use shardwise::test;` imports the attribute along with this module, and `#[test]` then means
//! [`#[shardwise::test]`](macro@crate::test); on a function without arguments it is the same as Rust's own. Import it by
//! name where it is used: through a glob, as in `use super::*`, the compiler cannot tell the two apart.

mod client;
mod connection;
mod exchange;
mod request;
mod response;
mod seeds;
mod server;
#[cfg(test)]
mod tests;

use std::cell::Cell;

pub use platform::sim::Plan;

pub use client::Client;
pub use connection::{Connection, Failure};
pub use exchange::Exchange;
pub use request::Request;
pub use response::Response;
pub use seeds::{FromSeed, seeds};
#[doc(hidden)]
pub use seeds::{on_a_shard, run_seeds};
pub use server::{Builder, Server};

use crate::App;

/// Serves an app on one simulated shard, on a network where nothing goes wrong. [`builder`] says more.
///
/// Panics if the app cannot be served: its routes do not fit together, or a state is missing.
#[track_caller]
pub fn run(app: App) -> Server {
    let app = Cell::new(Some(app));
    builder().start(move |_| app.take().expect("there is one shard"))
}

/// Begins to set up a server: one shard, a calm network, and the seed that `SHARDWISE_SEED` says, or 1.
pub fn builder() -> Builder {
    Builder::new()
}
