//! An address of TCP and UDP at once.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::{Arc, Mutex};

use platform::ListenOptions;
use shards::{Shard, Simulation};
use shardwise_net::quic::{Config, Endpoint};
use shardwise_net::{Error, QuicServer, Result, Spread};

async fn bind_both(shard: &Shard, address: &str) -> Result<u16> {
    let address = address.parse().expect("an address");
    let how = (&ListenOptions::default(), Spread::ByKernel);
    let (server, quic) = QuicServer::bind_both(shard, address, how, &Config::default(), Location::caller()).await?;
    assert_eq!(server.address(), quic.address());
    Ok(server.address().port())
}

/// The simulated machine chooses ports in their order, for either kind, so it is known what it will choose next.
#[test]
fn a_port_that_is_chosen_is_free_for_both() {
    let mut simulation = Simulation::new(1);
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let program = simulation.start(2, async move |shard: Shard| {
        let taken = RefCell::new(Vec::new());
        if shard.number() == 0 {
            let take = |port: u16| {
                let address = format!("10.0.0.1:{port}").parse().expect("an address");
                let endpoint = Endpoint::bind(&shard, address, Config::default(), Arc::default()).expect("a socket");
                let port = endpoint.local_address().expect("an address").port();
                taken.borrow_mut().push(endpoint);
                port
            };
            let first = take(0);
            take(first + 1);
            take(first + 2);
            seen.lock().expect("nobody panics").push(first + 3);
        }
        let port = bind_both(&shard, "10.0.0.1:0").await.map_err(|error| error.to_string())?;
        seen.lock().expect("nobody panics").push(port);
        // One that is asked for by its number is had, or not.
        match bind_both(&shard, &format!("10.0.0.1:{}", port - 1)).await {
            Err(Error::Start(error)) => assert!(error.to_string().contains("Another process serves"), "{error}"),
            other => panic!("{other:?}"),
        }
        Ok::<(), String>(())
    });
    assert!(simulation.run_until(std::time::Duration::from_secs(60), || program.has_ended()), "it ends");
    for result in program.results() {
        assert_eq!(result, Some(Ok(())));
    }
    let ports = ports.lock().expect("nobody panics");
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}
