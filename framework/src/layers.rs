//! Middlewares that many servers want: a time limit, the time that a client has left, a body limit, request ids, an access log, nothing that came early.
//!
//! ```
//! use std::time::Duration;
//! use shardwise::prelude::*;
//! use shardwise::layers;
//!
//! let app = App::new()
//!     .layer(layers::request_id()) // outermost, so that the log's line has the id
//!     .layer(layers::access_log())
//!     .layer(layers::timeout(Duration::from_secs(10)))
//!     .layer(layers::body_limit(1 << 20))
//!     .get("/slow", async |shard: Shard| shard.sleep(Duration::from_secs(60)).await)
//!     .post("/count", async |mut body: Body| {
//!         let mut count = 0;
//!         while let Some(chunk) = body.chunk().await? {
//!             count += chunk.len();
//!         }
//!         Ok::<_, shardwise::Error>(count.to_string())
//!     });
//!
//! let server = shardwise::test::run(app);
//! assert_eq!(server.get("/slow").expect(503).header("retry-after"), "1");
//! server.post("/count", vec![0; 2 << 20]).expect(413);
//! let request = shardwise::test::Request::post("/count").header("x-request-id", "a-1").body("four");
//! let response = server.send(request);
//! assert_eq!((response.text(), response.header("x-request-id")), ("4", "a-1"));
//! ```

mod access_log;
mod body_limit;
mod deadline;
mod not_early;
mod request_id;
#[cfg(test)]
mod tests;
mod timeout;

pub use access_log::access_log;
pub use body_limit::{BodyLimit, Limiting, body_limit};
pub use deadline::deadline;
pub use not_early::{NotEarly, Refusing, not_early};
pub use request_id::{RequestId, request_id};
pub use timeout::timeout;

pub(crate) use request_id::X_REQUEST_ID;
