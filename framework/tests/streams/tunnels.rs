//! Handlers that take a stream for a tunnel, or for WebSocket, as they would take a connection.

use std::time::Duration;

use shardwise::combine::defer;
use shardwise::http::HeaderValue;
use shardwise::http::header::UPGRADE;
use shardwise::prelude::*;
use shardwise::ws::{WebSocket, WebSocketUpgrade};
use shardwise::{Client, Config, Content, Tunnel, Upgraded, client};

use super::leaving::Log;

/// Handlers of tunnels, each of which says how its tunnel ended.
pub(crate) fn app(log: &Log) -> App {
    App::new()
        .state(log.clone())
        .config(Config { request_time_max: Some(Duration::from_secs(3)), ..Config::default() })
        .get("/hello", || "hello")
        .get("/echo", |State(log): State<Log>| switched(echo(log)))
        .get("/later", async |shard: Shard, State(log): State<Log>| {
            shard.sleep(Duration::from_secs(1)).await;
            switched(echo(log))
        })
        .get("/forbidden", || (StatusCode::FORBIDDEN, switched(echo(Log::default()))))
        .get("/pours", || {
            switched(Tunnel::new(
                async |Upgraded { mut stream, .. }| {
                    while stream.send(vec![7; 50_000]).await.is_ok() {}
                },
            ))
        })
        .get("/silent", |shard: Shard| {
            switched(Tunnel::new(async move |Upgraded { mut stream, .. }| {
                shard.sleep(Duration::from_secs(60)).await;
                let mut bytes = 0;
                while let Ok(Some(chunk)) = stream.recv().await {
                    bytes += chunk.len();
                }
                let _ = stream.send(bytes.to_string()).await;
            }))
        })
        .any("/passed/{what}", pass_on)
        .get("/both", |State(log): State<Log>| switched(Tunnel::new(async move |upgraded| both(upgraded, log).await)))
        .get("/panics", || switched(Tunnel::new(async |_| panic!("a tunnel's"))))
        .get("/ws", |State(log): State<Log>, upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |socket| talk(socket, log).await)
        })
        .fallback(|State(log): State<Log>| Response::new(StatusCode::OK).with_content(Content::Tunnel(echo(log))))
}

fn switched(tunnel: Tunnel) -> Response {
    Response::new(StatusCode::SWITCHING_PROTOCOLS)
        .with_header(UPGRADE, HeaderValue::from_static("echo"))
        .with_content(Content::Tunnel(tunnel))
}

/// Passes a request on to this same server, over HTTP/1.1, and what it asks for.
async fn pass_on(client: Client, Path(what): Path<String>, mut request: Request) -> Result<client::Response> {
    let protocol = request.asks_for().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
    let asks = client.get(format!("http://10.0.0.1/{what}")).pass_on(&mut request);
    let asks = if let Some(protocol) = protocol { asks.upgrade(&protocol) } else { asks };
    Ok(asks.send().await?)
}

/// Sends back what comes, and says how it ended.
fn echo(log: Log) -> Tunnel {
    Tunnel::new(async move |Upgraded { mut stream, .. }| {
        let end = loop {
            match stream.recv().await {
                Ok(Some(chunk)) => match stream.send(chunk).await {
                    Ok(()) => {}
                    Err(error) => break error.to_string(),
                },
                Ok(None) => break "the end".into(),
                Err(error) => break error.to_string(),
            }
        };
        log.borrow_mut().push(end);
    })
}

/// Its work is on a task of its own, and what is spawned in the scope is told why it ends.
async fn both(upgraded: Upgraded, log: Log) {
    let scope = Shard::current().unwrap().current_scope().unwrap();
    assert_eq!(scope.deadline(), None, "the request's time does not count any more");
    let within = scope.clone();
    let told = log.clone();
    let waits = scope.spawn(async move {
        let _over = defer(move || told.borrow_mut().extend(within.reason().map(|reason| reason.to_string())));
        std::future::pending::<()>().await
    });
    let work = scope.spawn(async move {
        let Upgraded { mut stream, .. } = upgraded;
        while let Ok(Some(chunk)) = stream.recv().await {
            let mut list = Box::<platform::BufList>::default();
            list.push(chunk.into()).unwrap();
            list.push("!".into()).unwrap();
            stream.send_all(list).await.unwrap();
        }
    });
    let _ = work.unwrap().await;
    drop(waits);
}

async fn talk(mut socket: WebSocket, log: Log) {
    loop {
        match socket.recv().await {
            Some(Ok(message)) => drop(socket.send(message).await),
            Some(Err(error)) => return log.borrow_mut().push(error.to_string()),
            None => return log.borrow_mut().push(format!("{:?}", socket.peer_close().and_then(|close| close.code))),
        }
    }
}

/// A client's frame, whose key changes nothing.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}
