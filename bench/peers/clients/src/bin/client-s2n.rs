//! client-s2n ADDR:PORT PATH...: h3 on s2n-quic. Its clients do not move by themselves, and its session of rustls ends with the
//! hand-shake, before a ticket comes: so it does not resume.

use http3_clients::{Result, TIME_MAX, echo, fetch, options, tls};
use s2n_quic::Client;
use s2n_quic::client::Connect;
use s2n_quic::provider::tls::rustls;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tokio::time::timeout(TIME_MAX, run()).await?
}

async fn run() -> Result<()> {
    let (addr, paths) = options()?;
    let (tls, _) = tls()?;
    #[allow(deprecated)] // the way it offers to trust a certificate that nobody has signed
    let tls = rustls::Client::new(tls);
    let client = Client::builder().with_tls(tls)?.with_io("127.0.0.1:0")?.start()?;
    let connection = client.connect(Connect::new(addr).with_server_name("localhost")).await?;
    let (mut driver, send) = h3::client::new(h3_s2n::Connection::new(connection)).await?;
    let asking = async {
        fetch(send.clone(), addr, paths).await?;
        echo(send, addr, || ()).await
    };
    tokio::select! {
        asked = asking => asked?,
        error = std::future::poll_fn(|cx| driver.poll_close(cx)) => return Err(error.into()),
    }
    Ok(())
}
