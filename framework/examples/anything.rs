//! A server that answers whatever it is asked: what suites want that look at the protocol and not at what is served.

use shardwise::prelude::*;

#[shardwise::main]
async fn main(_: Shard) -> Result<()> {
    App::new().fallback(|| "something\n").serve("127.0.0.1:8080").await
}
