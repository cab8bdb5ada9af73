//! client-quinn ADDR:PORT PATH...: h3 on quinn. While the large body is echoed, it goes on from another port. Then it begins anew,
//! resumes its session, and fetches the first path once more.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use http3_clients::{Result, TIME_MAX, echo, fetch, options, tls};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tokio::time::timeout(TIME_MAX, run()).await?
}

async fn run() -> Result<()> {
    let (addr, paths) = options()?;
    let (tls, anyone) = tls()?;
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    let first = paths[..1].to_vec();
    visit(&endpoint, addr, paths, true).await?;
    visit(&endpoint, addr, first, false).await?;
    anyone.has_resumed()
}

async fn visit(endpoint: &Endpoint, addr: SocketAddr, paths: Vec<String>, echoes: bool) -> Result<()> {
    let connection = endpoint.connect(addr, "localhost")?.await?;
    let (mut driver, send) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let moves = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        endpoint.rebind(socket).expect("a socket can be used");
    };
    let asking = async {
        fetch(send.clone(), addr, paths).await?;
        if echoes { echo(send, addr, moves).await } else { Ok(()) }
    };
    tokio::select! {
        asked = asking => asked?,
        error = std::future::poll_fn(|cx| driver.poll_close(cx)) => return Err(error.into()),
    }
    drop(driver);
    endpoint.wait_idle().await;
    Ok(())
}
