//! What a stream says of its own end.

use std::net::SocketAddr;
use std::time::Duration;

use platform::{ListenOptions, SocketOption};
use shards::{Shard, Simulation};

use super::*;

async fn pair(shard: &Shard) -> (TcpStream, TcpStream) {
    let address = SocketAddr::from(([10, 0, 0, 1], 80));
    let sockets = shard.with_reactor(|reactor| reactor.listen(address, 1, &ListenOptions::default()));
    let mut listener = Listener::adopt(shard, sockets.unwrap().remove(0)).unwrap();
    let client = TcpStream::connect(shard, address).await.unwrap();
    (client, listener.accept().await.unwrap())
}

#[test]
fn a_reset_is_no_clean_end_for_who_asks_again() {
    Simulation::new(1).run(async |shard: Shard| {
        let (client, mut server) = pair(&shard).await;
        client.set_option(SocketOption::Linger(Some(Duration::ZERO))).unwrap();
        drop(client);
        for _ in 0..3 {
            assert!(matches!(server.recv().await, Err(Error::Io(platform::Error::Reset))));
        }
    });
}

#[test]
fn a_clean_end_stays_one() {
    Simulation::new(1).run(async |shard: Shard| {
        let (client, mut server) = pair(&shard).await;
        drop(client);
        for _ in 0..3 {
            assert!(matches!(server.recv().await, Ok(None)));
        }
    });
}
