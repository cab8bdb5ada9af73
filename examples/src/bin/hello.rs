//! The smallest server that does something: `cargo run --release --bin hello`, then `curl localhost:8080/hello/ada`.

use shardwise::prelude::*;

#[derive(serde::Serialize)]
struct Greeting {
    text: String,
    shard: usize,
}

#[shardwise::main] // one pinned executor and one ring per core; this body runs on each
async fn main(shard: Shard) -> Result<()> {
    App::new()
        .state(format!("greetings from {} shards", shard.count()))
        .get("/", async |State(text): State<String>| text)
        .get("/hello/{name}", hello)
        .serve("0.0.0.0:8080")
        .await
}

async fn hello(Path(name): Path<String>, shard: Shard) -> Json<Greeting> {
    Json(Greeting { text: format!("hello {name}"), shard: shard.number() })
}
