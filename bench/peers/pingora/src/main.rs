//! Pingora as a reverse proxy: `peer-pingora --addr ADDR:PORT --behind ADDR:PORT,…`. One thread, those behind in turn, and their
//! connections kept.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::RoundRobin;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Connections kept to those behind: as many as the load ever opens to us.
const KEPT_MAX: usize = 1024;

struct Gateway(Arc<LoadBalancer<RoundRobin>>);

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let behind = self.0.select(b"", 256).ok_or_else(|| Error::new(ErrorType::ConnectNoRoute))?;
        Ok(Box::new(HttpPeer::new(behind, false, String::new())))
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [addr, at, behind, those] = &words[..] else { panic!("--addr ADDR:PORT --behind ADDR:PORT,…") };
    assert!(addr == "--addr" && behind == "--behind", "--addr ADDR:PORT --behind ADDR:PORT,…");
    let balancer = LoadBalancer::try_from_iter(those.split(',')).expect("they are addresses");
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: KEPT_MAX, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut gateway = http_proxy_service(&server.configuration, Gateway(Arc::new(balancer)));
    // It would not tell which port it was given.
    let addr = if at.ends_with(":0") { peer::free_addr() } else { at.parse().expect("an address") };
    gateway.add_tcp(&addr.to_string());
    server.add_service(gateway);
    // Nor that it listens.
    std::thread::spawn(move || {
        while TcpStream::connect(addr).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        peer::say(addr);
    });
    server.run_forever();
}
