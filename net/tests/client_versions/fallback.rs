//! Servers that want a request over HTTP/1.1 (RFC 9113 section 7), as some do that know users by their connections: it is asked
//! again so, unless it is to be of one version.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use platform::sim::Plan;
use platform::{Buf, ListenOptions};
use rustls::{ServerConfig, ServerConnection};
use shards::{Shard, Simulation};
use shardwise_net::client::{self, Code, Error};
use shardwise_net::{Client, Listener, TcpStream};

use crate::kit::{ADDRESS, Identity, Setup, World, nothing_is_left};

const PREFACE_BYTES: usize = 24;
const HEADERS: u8 = 1;
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Resets every request over HTTP/2 by HTTP_1_1_REQUIRED, and answers every one over HTTP/1.1.
async fn converse(mut stream: TcpStream, config: Arc<ServerConfig>, asked: Rc<Cell<(u32, u32)>>) -> Option<()> {
    let mut tls = ServerConnection::new(config).ok()?;
    let mut heard = Vec::new();
    loop {
        let chunk = stream.recv().await.ok()??;
        let mut bytes = &chunk[..];
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).ok()?;
            let state = tls.process_new_packets().ok()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut plain).ok()?;
            heard.extend_from_slice(&plain);
        }
        let (by_h2, by_h1) = asked.get();
        if tls.alpn_protocol() == Some(b"h2") {
            if let Some(id) = taken(&mut heard) {
                asked.set((by_h2 + 1, by_h1));
                let reset = [&[0, 0, 4, 3, 0][..], &id, &[0, 0, 0, 0xd]].concat();
                tls.writer().write_all(&[&SETTINGS[..], &reset].concat()).ok()?;
            }
        } else if heard.ends_with(b"\r\n\r\n") {
            asked.set((by_h2, by_h1 + 1));
            heard.clear();
            tls.writer().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain").ok()?;
        }
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records).ok()?;
        }
        if !records.is_empty() {
            stream.send(Buf::Vec(records)).await.ok()?;
        }
    }
}

/// The stream of the next request, once its head has come whole; what was heard before is forgotten.
fn taken(heard: &mut Vec<u8>) -> Option<[u8; 4]> {
    if heard.starts_with(b"PRI") {
        heard.get(PREFACE_BYTES)?;
        heard.drain(..PREFACE_BYTES);
    }
    loop {
        let &[.., high, low, kind, _, a, b, c, d] = heard.first_chunk::<9>()?;
        let bytes = 9 + usize::from(u16::from_be_bytes([high, low]));
        heard.get(bytes - 1)?;
        heard.drain(..bytes);
        if kind == HEADERS {
            return Some([a, b, c, d]);
        }
    }
}

/// What `ask` gives, and how many requests the server has had over HTTP/2 and over HTTP/1.1.
fn play<T: 'static>(ask: impl AsyncFnOnce(&Client) -> T + 'static) -> (T, (u32, u32)) {
    let (identity, asked) = (Identity::new(), Rc::<Cell<(u32, u32)>>::default());
    let mut simulation = Simulation::with_plan(1, Plan::CHOPPY, platform::Config::default());
    let (served, counted) = (Rc::clone(&identity), Rc::clone(&asked));
    simulation.start(1, async move |shard: Shard| {
        let config = Arc::new(served.server(&shard, &["h2", "http/1.1"]));
        let address = ADDRESS.parse().expect("an address");
        let sockets = shard.with_reactor(|reactor| reactor.listen(address, 1, &ListenOptions::default()));
        let mut listener = Listener::adopt(&shard, sockets.expect("the address is free").remove(0)).expect("room");
        while let Ok(stream) = listener.accept().await {
            let conversation = converse(stream, Arc::clone(&config), Rc::clone(&counted));
            shard.spawn(conversation).expect("room for a task").detach();
        }
        Ok::<(), String>(())
    });
    let given = simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(10)).await;
        let tls = Some(Arc::new(identity.client(&shard)));
        let client = Client::with(&shard, client::Config { tls, ..Setup::new().client });
        let given = ask(&client).await;
        drop(client);
        shard.sleep(Duration::from_secs(10)).await;
        nothing_is_left(&shard, (1, 1)).await.expect("nothing is left of the client");
        given
    });
    (given, asked.get())
}

#[test]
fn what_is_wanted_over_http1_is_asked_so() {
    let ask = async |client: &Client| {
        let mut texts = Vec::new();
        for _ in 0..3 {
            let mut response = client.post(World::url("/")).send().await.expect("an answer");
            assert_eq!(response.version(), http::Version::HTTP_11);
            texts.push(response.text().await.expect("text"));
        }
        texts
    };
    let (texts, asked) = play(ask);
    assert_eq!(texts, ["plain", "plain", "plain"]);
    assert_eq!(asked, (3, 3));
}

#[test]
fn a_request_of_one_version_is_not_asked_otherwise() {
    let ask = async |client: &Client| client.get(World::url("/")).http2().send().await.expect_err("it is reset");
    let (error, asked) = play(ask);
    assert!(matches!(error, Error::Reset(Code::Http2(code)) if code.0 == 0xd), "{error}");
    assert_eq!(asked, (1, 0));
}
