//! TLS on a simulated machine: an app at an address of its own, asked by rustls's client over the machine's network. The seed
//! decides every byte; a failure prints it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use net::tls::{ShardTime, provider};
use proto::h2;
use proto::head::HeadTable;
use proto::message::BodyLength;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{HandshakeKind, RootCertStore};
use shardwise::prelude::*;
use shardwise::test::{Client, Connection, Plan, Server, builder, seeds};
use shardwise::tls::{Clients, Tls};
use shardwise::{Router, Stream, layers};

/// Certificates, made once: those of one name differ from run to run of these tests, and not within one.
struct Pair {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Pair {
    fn new(name: &str) -> Pair {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Pair { certificate: certificate.der().clone(), key: key.serialize_der() }
    }

    fn first() -> &'static Pair {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(|| Pair::new("a.example"))
    }

    fn second() -> &'static Pair {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(|| Pair::new("b.example"))
    }

    fn certificate_pem(&self) -> Vec<u8> {
        pem("CERTIFICATE", &self.certificate)
    }

    fn key_pem(&self) -> Vec<u8> {
        pem("PRIVATE KEY", &self.key)
    }

    fn tls(&self) -> Tls {
        Tls::new(self.certificate_pem(), self.key_pem())
    }
}

fn pem(kind: &str, bytes: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64_STANDARD.encode(bytes)).into_bytes()
}

/// What a client goes by: whom it trusts, and what it shows of itself.
fn config(shard: &Shard, shows: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pair in [Pair::first(), Pair::second()] {
        roots.add(pair.certificate.clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_details(provider(shard), Arc::new(ShardTime));
    let builder = builder.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = PrivateKeyDer::try_from(pair.key.clone()).unwrap();
            builder.with_client_auth_cert(vec![pair.certificate.clone()], key).unwrap()
        }
    };
    config.resumption = Resumption::in_memory_sessions(16);
    config.enable_early_data = true;
    Arc::new(config)
}

/// A connection that speaks TLS.
struct Secure {
    wire: Connection,
    tls: ClientConnection,
}

impl Secure {
    async fn open(client: &Client, config: &Arc<ClientConfig>, name: &'static str) -> Secure {
        let wire = client.open().await;
        let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap();
        Secure { wire, tls }
    }

    async fn flush(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        match bytes.is_empty() {
            true => Ok(()),
            false => self.wire.send(bytes).await.map_err(|failure| failure.to_string()),
        }
    }

    /// Asks for a path, and gives the body of what is answered, which says that the connection closes.
    async fn ask(&mut self, path: &str) -> Result<String, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(self.say(request.as_bytes(), |_| false).await?).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(format!("no whole head: {answer:?}"))?;
        Ok(format!("{} {body}", &head["HTTP/1.1 ".len()..][..3]))
    }

    /// Sends something, and gives what comes until that is enough, or the server has closed.
    async fn say(&mut self, bytes: &[u8], is_enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
        match self.tls.early_data() {
            Some(mut early) => std::io::Write::write_all(&mut early, bytes).unwrap(),
            None => std::io::Write::write_all(&mut self.tls.writer(), bytes).unwrap(),
        }
        let mut answer = Vec::new();
        loop {
            self.flush().await?;
            let Some(received) = self.wire.receive().await.map_err(|failure| failure.to_string())? else { break };
            let mut received = &received[..];
            while !received.is_empty() {
                self.tls.read_tls(&mut received).unwrap();
                let state = self.tls.process_new_packets().map_err(|error| error.to_string())?;
                let begin = answer.len();
                answer.resize(begin + state.plaintext_bytes_to_read(), 0);
                std::io::Read::read_exact(&mut self.tls.reader(), &mut answer[begin..]).unwrap();
            }
            if is_enough(&answer) {
                break;
            }
        }
        Ok(answer)
    }

    fn kind(&self) -> HandshakeKind {
        self.tls.handshake_kind().unwrap()
    }
}

const ADDRESS: &str = "10.0.0.1:443";

fn serve(seed: u64, shards: usize, plan: Plan, tls: impl Fn() -> Tls + 'static) -> Server {
    let app = || {
        App::new()
            .get("/", || "hello")
            .get("/shard", |shard: Shard| shard.number().to_string())
            .get("/secure", |request: Request| request.peer().is_secure().to_string())
            .get("/bytes/{count}", |Path(count): Path<usize>| vec![b'x'; count])
            .get("/stream/{count}", |Path(count): Path<usize>| stream(count))
            .get("/early", |request: Request| request.is_early().to_string())
            .merge(Router::new().layer(layers::not_early()).get("/once", || "done"))
    };
    builder()
        .seed(seed)
        .shards(shards)
        .plan(plan)
        .program(ADDRESS, async move |_| app().listen_tls(ADDRESS, tls()).serve("10.0.0.1:80").await)
}

fn stream(count: usize) -> Stream {
    Stream::new(async move |mut sink| {
        for _ in 0..count {
            sink.send(&[b'x'; 20_000][..]).await?;
        }
        Ok(())
    })
}

/// Whoever looks meanwhile whether the client has left must not silence the send that the next piece waits for.
#[test]
fn a_body_in_pieces_waits_for_no_clock() {
    let server = serve(1, 1, Plan::CALM, || Pair::first().tls());
    let begin = server.now();
    server.run(async |client| {
        let mut secure = Secure::open(&client, &config(client.shard(), None), "a.example").await;
        assert_eq!(secure.ask("/stream/20").await.map(|answer| answer.matches('x').count()), Ok(20 * 20_000));
    });
    let time = server.now() - begin;
    assert!(time < Duration::from_millis(500), "{time:?}");
}

#[test]
fn the_seed_decides_every_byte() {
    for seed in seeds(10) {
        let run = || {
            let server = serve(seed, 2, Plan::CHOPPY, || Pair::first().tls());
            server.run(async |client| {
                let config = config(client.shard(), None);
                let ask = async |path: &str| Secure::open(&client, &config, "a.example").await.ask(path).await;
                assert_eq!(ask("/").await.as_deref(), Ok("200 hello"));
                let body = "x".repeat(100_000);
                assert_eq!(ask("/bytes/100000").await, Ok(format!("200 {body}")));
                assert_eq!(ask("/secure").await.as_deref(), Ok("200 true"));
            });
            server.end()
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn a_session_is_resumed_on_any_shard_until_its_epoch_is_over() {
    let server = serve(1, 3, Plan::CALM, || Pair::first().tls());
    server.run(async |client| {
        let config = config(client.shard(), None);
        let ask = async || {
            let mut secure = Secure::open(&client, &config, "a.example").await;
            let shard = secure.ask("/shard").await.unwrap();
            (secure.kind(), shard)
        };
        assert_eq!(ask().await.0, HandshakeKind::Full);
        let mut shards = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let (kind, shard) = ask().await;
            assert_eq!(kind, HandshakeKind::Resumed);
            shards.insert(shard);
        }
        assert_eq!(shards.len(), 3);
        client.sleep(Duration::from_secs(13 * 3600)).await;
        assert_eq!(ask().await.0, HandshakeKind::Full);
    });
}

#[test]
fn the_certificate_is_the_one_that_is_asked_for() {
    let tls = || Pair::first().tls().certificate(Pair::second().certificate_pem(), Pair::second().key_pem());
    let server = serve(1, 2, Plan::CALM, tls);
    server.run(async |client| {
        let config = config(client.shard(), None);
        for name in ["a.example", "b.example"] {
            let mut secure = Secure::open(&client, &config, name).await;
            assert_eq!(secure.ask("/").await.as_deref(), Ok("200 hello"), "{name}");
        }
        let error = Secure::open(&client, &config, "c.example").await.ask("/").await.unwrap_err();
        assert!(error.contains("not valid for name"), "{error}");
    });
}

#[test]
fn clients_prove_themselves_where_they_must() {
    #[track_caller]
    fn check(clients: Clients, shows: Option<&'static Pair>, expect: Result<&str, &str>) {
        let server =
            serve(1, 1, Plan::CALM, move || Pair::first().tls().clients(Pair::second().certificate_pem(), clients));
        let answer = server.run(async move |client| {
            Secure::open(&client, &config(client.shard(), shows), "a.example").await.ask("/").await
        });
        match (&answer, expect) {
            (Ok(answer), Ok(expect)) => assert_eq!(answer, expect),
            (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
            _ => panic!("{answer:?}, and not {expect:?}"),
        }
    }
    check(Clients::Required, Some(Pair::second()), Ok("200 hello"));
    check(Clients::Required, None, Err("CertificateRequired"));
    check(Clients::Required, Some(Pair::first()), Err("alert"));
    check(Clients::Optional, Some(Pair::second()), Ok("200 hello"));
    check(Clients::Optional, None, Ok("200 hello"));
    check(Clients::Optional, Some(Pair::first()), Err("alert"));
}

#[test]
fn what_comes_early_is_told_and_may_be_refused() {
    let server = serve(1, 1, Plan::CALM, || Pair::first().tls().early_data(4096));
    server.run(async |client| {
        let early = config(client.shard(), None);
        let mut late = ClientConfig::clone(&early);
        late.enable_early_data = false;
        let late = Arc::new(late);
        let ask = async |config: &Arc<ClientConfig>, path: &str| {
            let mut secure = Secure::open(&client, config, "a.example").await;
            let answer = secure.ask(path).await.unwrap();
            (secure.kind(), answer)
        };
        use HandshakeKind::{Full, Resumed};
        assert_eq!(ask(&early, "/early").await, (Full, "200 false".to_owned()));
        assert_eq!(ask(&early, "/early").await, (Resumed, "200 true".to_owned()));
        let (kind, answer) = ask(&early, "/once").await;
        assert!(kind == Resumed && answer.starts_with("425 "), "{answer}");
        // They were answered and have left before they had new tickets.
        assert_eq!(ask(&late, "/once").await, (Full, "200 done".to_owned()));
        assert_eq!(ask(&late, "/once").await, (Resumed, "200 done".to_owned()));
    });
}

#[test]
fn a_file_that_cannot_be_read_is_a_failed_start() {
    let main = async |_| App::new().listen_tls(ADDRESS, Tls::new("/tls/cert.pem", "/tls/key.pem")).serve_all().await;
    let failed = std::panic::catch_unwind(|| builder().wait_max(Duration::from_secs(5)).program(ADDRESS, main));
    let text = failed.err().and_then(|panic| panic.downcast::<String>().ok()).expect("it does not start");
    assert!(text.contains("/tls/cert.pem cannot be read"), "{text}");
}

const QUIC: &str = "h3=\":443\"; ma=86400";

/// By the first answer of each connection, and by no other.
#[test]
fn clients_over_tcp_are_told_of_quic() {
    let server = serve(1, 1, Plan::CALM, || Pair::first().tls());
    server.run(async |client| {
        let mut secure = Secure::open(&client, &config(client.shard(), None), "a.example").await;
        let [first, last] =
            ["", "Connection: close\r\n"].map(|line| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
        let answers = secure.say([first, last].concat().as_bytes(), |_| false).await.unwrap();
        let answers = String::from_utf8(answers).unwrap().to_lowercase();
        let (first, second) = answers.split_once("hello").unwrap();
        assert!(first.contains(&format!("\r\nalt-svc: {QUIC}\r\n")), "{first}");
        assert!(second.ends_with("hello") && !second.contains("alt-svc"), "{second}");
    });
}

#[test]
fn clients_of_http_2_are_told_of_quic() {
    let server = serve(1, 1, Plan::CALM, || Pair::first().tls());
    server.run(async |client| {
        let mut config = ClientConfig::clone(&config(client.shard(), None));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut secure = Secure::open(&client, &Arc::new(config), "a.example").await;
        let limits = h2::Limits::default();
        let (mut engine, mut table) = (h2::Engine::new(h2::Role::Client, &limits), HeadTable::new());
        let mut scratch = h2::Scratch::new(limits.head_bytes_max);
        let path = b"/";
        let mut answers = Vec::new();
        for _ in 0..2 {
            let pseudo =
                h2::Pseudo { method: &Method::GET, is_secure: true, authority: b"a.example", path, protocol: None };
            let mut room = [0; 1024];
            let fields = std::iter::empty::<(&str, &str)>();
            let (_, count) = engine.request(pseudo, fields, BodyLength::None, &limits, &mut room).unwrap();
            let mut out = Vec::new();
            while engine.has_control() {
                let mut room = [0; h2::CONTROL_BYTES_MIN];
                let count = engine.control(&limits, &mut room);
                out.extend_from_slice(&room[..count]);
            }
            out.extend_from_slice(&room[..count]);
            let mut input = secure.say(&out, |bytes| bytes.ends_with(b"hello")).await.unwrap();
            while !input.is_empty() {
                let step = engine.receive(&input, &mut scratch, &mut table, Duration::ZERO, &limits).unwrap();
                if let h2::Event::Head { .. } = step.event {
                    let mut fields = table.fields().iter(scratch.block());
                    let value = fields.find(|(name, _)| *name == b"alt-svc").map(|(_, value)| value.to_vec());
                    answers.push(value);
                }
                input.drain(..step.consumed);
            }
        }
        assert_eq!(answers, [Some(QUIC.as_bytes().to_vec()), None]);
    });
}
