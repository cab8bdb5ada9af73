//! Our own client, which finds an app's HTTP/3 by what that says of itself over TCP.

use std::sync::Arc;
use std::time::Duration;

use shardwise::http::Version;
use shardwise::test::{self, Plan};
use shardwise::{Client, client};

use super::client::{serve, trust};
use super::{app, pattern};

fn client(kit: &test::Client) -> Client {
    let resolver = client::Resolver::new(|_, port| Ok(vec![([10, 0, 0, 1], port).into()]));
    let tls = Some(Arc::new(trust(kit.shard())));
    Client::with(kit.shard(), client::Config { resolver, tls, ..client::Config::default() })
}

#[test]
fn what_an_app_says_of_itself_is_followed() {
    for seed in 1..=4 {
        let server = serve(seed, Plan::CHOPPY, app);
        server.run(async |kit| {
            let client = client(&kit);
            for version in [Version::HTTP_2, Version::HTTP_3, Version::HTTP_3] {
                let mut response = client.get("https://localhost/").send().await.expect("an answer");
                assert_eq!((response.version(), response.text().await.expect("text").as_str()), (version, "hello"));
                let body = pattern(70_000);
                let request = client.post("https://localhost/echo").body(body.clone());
                let mut response = request.send().await.expect("an answer");
                assert!(response.bytes().await.expect("a body") == body);
                if version == Version::HTTP_2 {
                    kit.sleep(Duration::from_millis(500)).await;
                }
            }
        });
    }
}
