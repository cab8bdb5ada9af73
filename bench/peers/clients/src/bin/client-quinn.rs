//! client-quinn ADDR:PORT PATH...: h3 on quinn.

use std::sync::Arc;

use http3_clients::{Result, TIME_MAX, fetch, options, tls};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tokio::time::timeout(TIME_MAX, run()).await?
}

async fn run() -> Result<()> {
    let (addr, paths) = options()?;
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls()?)?)));
    let connection = endpoint.connect(addr, "localhost")?.await?;
    let (mut driver, send) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    tokio::select! {
        fetched = fetch(send, addr, paths) => fetched?,
        error = std::future::poll_fn(|cx| driver.poll_close(cx)) => return Err(error.into()),
    }
    drop(driver);
    endpoint.wait_idle().await;
    Ok(())
}
