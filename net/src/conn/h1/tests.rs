//! What an idle connection costs, held to its budget.

use std::panic::Location;

use http::StatusCode;
use shards::Simulation;

use super::*;
use crate::{Config, Server, TcpStream};

struct Silent;

impl Service for Silent {
    fn call(&self, request: Request) -> Reply {
        Reply::ready(request.peer().shard(), || Response::new(StatusCode::NO_CONTENT))
    }
}

/// What its task takes of the shard's memory, which comes in powers of two and a line, and from the heap in slabs. Whatever the server makes of a connection's
/// future besides counts as well.
#[test]
fn an_idle_connection_fits_a_slot_of_512_bytes() {
    const CONNECTIONS: usize = 1000;
    Simulation::new(1).run(async |shard| {
        let address = "127.0.0.1:80".parse().unwrap();
        let bound = Server::bind(&shard, address, &Default::default(), Location::caller()).await.unwrap();
        let serving = bound.serve(Silent, Config::default(), Default::default());
        shard.spawn(async move { serving.await.unwrap() }).unwrap().detach();
        let mut clients = Vec::new();
        let mut before = 0;
        for _ in 0..=CONNECTIONS {
            let mut client = TcpStream::connect(&shard, address).await.unwrap();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            client.recv().await.unwrap().expect("an answer");
            clients.push(client);
            if clients.len() == 1 {
                before = shard.task_stats().slab_bytes;
            }
        }
        let bytes = (shard.task_stats().slab_bytes - before) / CONNECTIONS;
        assert!(bytes <= 700, "{bytes} bytes of an idle connection's task, which is {} by itself", future_bytes());
        shard.drain();
    });
}

fn future_bytes() -> usize {
    fn of<F>(_: fn(Counted<Silent>, Transport, Pass, u32) -> F) -> usize {
        size_of::<F>()
    }
    of(serve::<Silent>)
}
