//! A client of HTTP/3: an engine over a connection of QUIC, on the test kit's machine.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use net::NetStats;
use net::quic::{Behind, Closed, Config as QuicConfig, Connection, Dir, Endpoint, Event as QuicEvent, Read, StreamId};
use net::tls::{ShardTime, provider};
use proto::h3::{CONTROL_BYTES_MIN, Code, Engine, Event, Key, Limits, Own, Pseudo, Role, Scratch};
use proto::head::HeadTable;
use proto::message::BodyLength;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use shardwise::Tls;
use shardwise::http::Method;
use shardwise::prelude::*;
use shardwise::test::{self, Plan, Server};

const ADDRESS: &str = "10.0.0.1:443";

/// Made once: keys differ from run to run of these tests, and not within one.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        Identity { certificate: certificate.der().clone(), key: key.serialize_der() }
    })
}

fn pem(kind: &str, bytes: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64_STANDARD.encode(bytes)).into_bytes()
}

/// Serves an app by TLS, over TCP and QUIC.
#[track_caller]
pub(crate) fn serve(seed: u64, plan: Plan, app: impl Fn() -> App + 'static) -> Server {
    serve_on(1, seed, plan, app)
}

/// The same on so many shards.
#[track_caller]
pub(crate) fn serve_on(shards: usize, seed: u64, plan: Plan, app: impl Fn() -> App + 'static) -> Server {
    let Identity { certificate, key } = identity();
    let tls = Tls::new(pem("CERTIFICATE", certificate), pem("PRIVATE KEY", key)).early_data(16 * 1024);
    let program = async move |_| app().listen_tls(ADDRESS, tls.clone()).serve_all().await;
    test::builder().shards(shards).seed(seed).plan(plan).program(ADDRESS, program)
}

/// Runs a client against an app.
#[track_caller]
pub(crate) fn run<T: 'static>(
    app: impl Fn() -> App + 'static,
    work: impl AsyncFnOnce(&mut Client, &Host) -> T + 'static,
) -> T {
    let server = serve(1, Plan::CALM, app);
    server.run(async move |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connected().await;
        let result = work(&mut client, &host).await;
        client.close().await;
        result
    })
}

/// What an app's certificate is trusted by.
pub(crate) fn trust(shard: &Shard) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity().certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_details(provider(shard), Arc::new(ShardTime));
    let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

/// Where clients are.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) kit: test::Client,
    endpoint: Endpoint,
    tls: Arc<ClientConfig>,
    pub(crate) limits: Limits,
    /// The network may fail.
    pub(crate) bears_faults: bool,
}

impl Host {
    /// Whose connections are never silent.
    pub(crate) async fn new(kit: &test::Client) -> Host {
        Host::with(kit, QuicConfig { keep_alive: Some(Duration::from_secs(10)), ..QuicConfig::default() }).await
    }

    pub(crate) async fn with(kit: &test::Client, config: QuicConfig) -> Host {
        let shard = kit.shard();
        let mut tls = trust(shard);
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.resumption = Resumption::in_memory_sessions(32);
        tls.enable_early_data = true;
        let address: SocketAddr = "10.0.0.2:0".parse().unwrap();
        let endpoint = loop {
            // Descriptors may be scarce.
            match Endpoint::bind(shard, address, config.clone(), Arc::<NetStats>::default()) {
                Ok(endpoint) => break endpoint,
                Err(_) => kit.sleep(Duration::from_millis(1)).await,
            }
        };
        let driven = endpoint.clone();
        drop(kit.spawn(async move { driven.drive().await }));
        // It asks as much at a time as QUIC lets it.
        let limits = Limits { streams_max: u16::MAX, ..Limits::default() };
        Host { kit: kit.clone(), endpoint, tls: Arc::new(tls), limits, bears_faults: false }
    }

    /// All connections go on from another port.
    pub(crate) fn moves(&self) {
        self.endpoint.rebind("10.0.0.2:0".parse().unwrap()).expect("a socket");
    }

    /// Begins a connection.
    pub(crate) fn connect(&self) -> Client {
        let quic = self.endpoint.connect(ADDRESS.parse().unwrap(), "localhost", &self.tls).expect("a connection");
        Client::new(quic, self.limits.clone(), self.bears_faults)
    }

    /// Has one whose hand-shake is over, and whose server has said how it is set.
    pub(crate) async fn connected(&self) -> Client {
        let mut client = self.connect();
        while !client.is_connected || client.engine.awaits_settings() {
            assert!(client.turn().await, "no connection: {:?}", client.closed);
        }
        client
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.kit.sleep(time).await;
    }
}

/// What has come of one exchange.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) interim: Vec<u16>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) has_ended: bool,
    pub(crate) reset: Option<Code>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Whether nothing more comes of it.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended || self.reset.is_some()
    }
}

/// Bodies are long.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { status, interim, fields, body, trailers, has_ended, reset } = self;
        let body = body.len();
        write!(f, "{status} {interim:?} {fields:?}, {body} bytes, {trailers:?}, ended: {has_ended}, reset: {reset:?}")
    }
}

/// What is still to be written to a stream.
#[derive(Default)]
struct Sending {
    bytes: Vec<u8>,
    /// More is to come.
    stays_open: bool,
}

pub(crate) struct Client {
    pub(crate) quic: Connection,
    pub(crate) engine: Engine,
    scratch: Box<Scratch>,
    table: HeadTable,
    pub(crate) limits: Limits,
    own: [Option<StreamId>; 3],
    sending: BTreeMap<StreamId, Sending>,
    keys: BTreeMap<StreamId, Key>,
    readable: Vec<StreamId>,
    /// What was read of streams that wait for the table of fields.
    blocked: BTreeMap<StreamId, (Vec<u8>, bool)>,
    pub(crate) answers: BTreeMap<StreamId, Answer>,
    /// Whether streams are read as soon as something has come; those that are not are held up by their windows.
    pub(crate) reads_at_once: bool,
    /// Streams that the server wants no more of.
    pub(crate) stops: Vec<(StreamId, Code)>,
    pub(crate) goaways: Vec<u64>,
    is_connected: bool,
    pub(crate) closed: Option<Closed>,
    bears_faults: bool,
    /// Whose each is, and what it carries.
    pub(crate) datagrams: Vec<(StreamId, Vec<u8>)>,
    /// Streams of a test's own.
    pub(crate) streams: Vec<StreamId>,
}

impl Client {
    fn new(quic: Connection, limits: Limits, bears_faults: bool) -> Client {
        Client {
            quic,
            engine: Engine::new(Role::Client, &limits),
            scratch: Box::new(Scratch::new(limits.head_bytes_max)),
            table: HeadTable::new(),
            limits,
            own: [None; 3],
            sending: BTreeMap::new(),
            keys: BTreeMap::new(),
            readable: Vec::new(),
            blocked: BTreeMap::new(),
            answers: BTreeMap::new(),
            reads_at_once: true,
            stops: Vec::new(),
            goaways: Vec::new(),
            is_connected: false,
            closed: None,
            bears_faults,
            datagrams: Vec::new(),
            streams: Vec::new(),
        }
    }

    // ---- asking ------------------------------------------------------------------------------------------------------

    /// Asks, and names the stream.
    pub(crate) async fn ask(
        &mut self,
        method: &Method,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
        trailers: &[(&str, &str)],
    ) -> StreamId {
        let length = match (body.len(), trailers.len()) {
            (0, 0) => BodyLength::None,
            (length, 0) if length % 2 == 0 => BodyLength::Known(length as u64),
            _ => BodyLength::Unknown,
        };
        let pseudo =
            Pseudo { method, is_secure: true, authority: b"localhost", path: target.as_bytes(), protocol: None };
        let id = self.request(pseudo, fields, length).await;
        if !matches!(length, BodyLength::None) {
            self.put_data(id, body, trailers.is_empty());
        }
        if !trailers.is_empty() {
            let mut room = [0; 4096];
            let fields = trailers.iter().map(|(name, value)| (*name, *value));
            let count = self.engine.trailers(self.keys[&id], fields, &mut room).expect("it may be sent");
            self.put(id, &room[..count]);
        }
        id
    }

    /// Sends the head of a request whose body is to come.
    pub(crate) async fn begin(&mut self, method: &Method, target: &str, fields: &[(&str, &str)]) -> StreamId {
        let pseudo =
            Pseudo { method, is_secure: true, authority: b"localhost", path: target.as_bytes(), protocol: None };
        let id = self.request(pseudo, fields, BodyLength::Unknown).await;
        self.sending.get_mut(&id).expect("it is open").stays_open = true;
        id
    }

    pub(crate) async fn get(&mut self, target: &str) -> StreamId {
        self.ask(&Method::GET, target, &[], b"", &[]).await
    }

    /// The same, unless the connection ends before there is a stream for it.
    pub(crate) async fn try_get(&mut self, target: &str) -> Option<StreamId> {
        let id = self.try_open(Dir::Bi).await?;
        let (method, path) = (&Method::GET, target.as_bytes());
        let pseudo = Pseudo { method, is_secure: true, authority: b"localhost", path, protocol: None };
        Some(self.request_on(id, pseudo, &[], BodyLength::None))
    }

    pub(crate) async fn post(&mut self, target: &str, body: &[u8]) -> StreamId {
        self.ask(&Method::POST, target, &[], body, &[]).await
    }

    /// Asks for a tunnel, by an extended CONNECT or, without a protocol, by a plain one.
    pub(crate) async fn connect(&mut self, target: &str, protocol: Option<&str>, fields: &[(&str, &str)]) -> StreamId {
        let pseudo = Pseudo {
            method: &Method::CONNECT,
            is_secure: true,
            authority: b"localhost:443",
            path: if protocol.is_some() { target.as_bytes() } else { b"" },
            protocol: protocol.map(str::as_bytes),
        };
        let id = self.request(pseudo, fields, BodyLength::Unknown).await;
        self.sending.get_mut(&id).expect("it is open").stays_open = true;
        id
    }

    /// Sends more on a stream that stays open.
    pub(crate) fn tell(&mut self, id: StreamId, bytes: &[u8]) {
        self.put_data(id, bytes, false);
    }

    /// Sends a datagram of a stream's.
    pub(crate) fn send_datagram(&mut self, id: StreamId, payload: &[u8]) {
        let mut head = [0; CONTROL_BYTES_MIN];
        let count = self.engine.datagram(self.keys[&id], &mut head).expect("the server takes datagrams");
        self.quic.send_datagram([&head[..count], payload].concat().into()).expect("there is room");
    }

    /// Ends it.
    pub(crate) fn hang_up(&mut self, id: StreamId) {
        self.put_data(id, b"", true);
        self.sending.get_mut(&id).expect("it is open").stays_open = false;
    }

    /// Writes to a stream of its own, of which the engine knows nothing.
    pub(crate) async fn raw(&mut self, dir: Dir, bytes: &[u8], stays_open: bool) -> Option<StreamId> {
        let id = self.try_open(dir).await?;
        self.sending.insert(id, Sending { bytes: bytes.to_vec(), stays_open });
        Some(id)
    }

    /// Writes more to such a stream, or what the engine would not say to one of its own.
    pub(crate) fn put(&mut self, id: StreamId, bytes: &[u8]) {
        self.sending.entry(id).or_default().bytes.extend_from_slice(bytes);
    }

    /// One of the engine's own streams.
    pub(crate) fn own(&self, own: Own) -> StreamId {
        self.try_own(own).expect("it is open")
    }

    pub(crate) fn try_own(&self, own: Own) -> Option<StreamId> {
        self.own[own as usize]
    }

    /// Whether something could not be sent yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.sending.values().any(|sending| !sending.bytes.is_empty())
    }

    async fn request(&mut self, pseudo: Pseudo<'_>, fields: &[(&str, &str)], length: BodyLength) -> StreamId {
        let id = self.open(Dir::Bi).await;
        self.request_on(id, pseudo, fields, length)
    }

    fn request_on(
        &mut self,
        id: StreamId,
        pseudo: Pseudo<'_>,
        fields: &[(&str, &str)],
        length: BodyLength,
    ) -> StreamId {
        let mut room = [0; 8192];
        let fields = fields.iter().map(|(name, value)| (*name, *value));
        let (key, count) = self
            .engine
            .request(id.into(), pseudo, fields, length, &self.limits, &mut room)
            .expect("a request may be sent");
        self.put(id, &room[..count]);
        self.keys.insert(id, key);
        self.answers.insert(id, Answer::default());
        id
    }

    async fn open(&mut self, dir: Dir) -> StreamId {
        self.try_open(dir).await.unwrap_or_else(|| panic!("the server closes: {:?}", self.closed))
    }

    /// A stream, unless the connection ends before there is one.
    async fn try_open(&mut self, dir: Dir) -> Option<StreamId> {
        loop {
            match self.quic.open(dir) {
                Some(id) => return Some(id),
                None if self.turn().await => {}
                None => return None,
            }
        }
    }

    fn put_data(&mut self, id: StreamId, bytes: &[u8], is_last: bool) {
        let mut room = [0; CONTROL_BYTES_MIN];
        let count = self.engine.data(self.keys[&id], bytes.len(), is_last, &mut room).expect("it may be sent");
        self.put(id, &room[..count]);
        self.put(id, bytes);
    }

    /// Gives a stream up, in both directions.
    pub(crate) fn reset(&mut self, id: StreamId, code: Code) {
        self.sending.remove(&id);
        self.quic.reset(id, code.0);
        self.stop(id, code);
    }

    /// Wants no more of an answer.
    pub(crate) fn stop(&mut self, id: StreamId, code: Code) {
        self.quic.stop(id, code.0);
        self.answers.get_mut(&id).expect("it was asked").reset = Some(code);
        self.done(id);
    }

    pub(crate) fn is_sending(&self, id: StreamId) -> bool {
        self.sending.contains_key(&id)
    }

    fn done(&mut self, id: StreamId) {
        self.blocked.remove(&id);
        if let Some(key) = self.keys.remove(&id) {
            let _ = self.engine.release(key);
        }
    }

    // ---- going on ----------------------------------------------------------------------------------------------------

    /// Sends what there is to send, and waits until something has come. False when the connection has ended.
    pub(crate) async fn turn(&mut self) -> bool {
        poll_fn(|cx| {
            let has_news = self.pump(cx);
            match has_news || self.closed.is_some() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        self.closed.is_none()
    }

    /// Sends what there is to send, and takes what has come.
    pub(crate) async fn flush(&mut self) {
        poll_fn(|cx| {
            self.pump(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Goes on for so long.
    pub(crate) async fn rest(&mut self, time: Duration) {
        let mut alarm = self.quic.shard().sleep(time);
        poll_fn(|cx| {
            while self.pump(cx) {}
            alarm.poll_rung(cx)
        })
        .await;
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let mut has_news = false;
        while let Poll::Ready(event) = self.quic.poll(cx) {
            has_news = true;
            match event {
                QuicEvent::Connected => self.is_connected = true,
                QuicEvent::Opened(id) | QuicEvent::Readable(id) => self.readable.push(id),
                QuicEvent::Stopped(id, code) => {
                    self.stops.push((id, Code(code)));
                    let (now, code) = (Duration::ZERO, Code(code));
                    let event = self.engine.peer_stopped(id.into(), code, now, &self.limits);
                    assert_eq!(event, Ok(None), "the server keeps the rules");
                    self.sending.remove(&id);
                    self.quic.reset(id, code.0);
                }
                QuicEvent::Datagrams => {
                    while let Some(data) = self.quic.receive_datagram() {
                        let found =
                            self.engine.receive_datagram(&data, &self.limits).expect("the server keeps the rules");
                        let (key, head) = found.expect("it is for a stream that is open");
                        let (id, _) = self.keys.iter().find(|(_, known)| **known == key).expect("it was asked for");
                        self.datagrams.push((*id, data[head..].to_vec()));
                    }
                }
                QuicEvent::Closed(why) => {
                    self.closed = Some(why);
                    return true;
                }
                _ => {}
            }
        }
        let mut readable = std::mem::take(&mut self.readable);
        readable.retain(|&id| !self.read_now(id));
        self.readable.append(&mut readable);
        while let Some(id) = self.engine.unblocked() {
            let id = *self.answers.keys().find(|at| u64::from(**at) == id).expect("it was asked");
            let (rest, end) = self.blocked.remove(&id).expect("it waits");
            self.take(id, &rest, end);
            self.read(id);
        }
        self.say();
        self.write();
        self.quic.flush(cx);
        has_news
    }

    fn say(&mut self) {
        for own in [Own::Control, Own::Encoder, Own::Decoder] {
            while self.engine.has_to_say(own) {
                let id = match self.own[own as usize] {
                    Some(id) => id,
                    None => match self.quic.open(Dir::Uni) {
                        Some(id) => *self.own[own as usize].insert(id),
                        None => break,
                    },
                };
                let mut room = [0; CONTROL_BYTES_MIN];
                let count = self.engine.say(own, &self.limits, &mut room);
                let sending = self.sending.entry(id).or_default();
                sending.stays_open = true;
                sending.bytes.extend_from_slice(&room[..count]);
            }
        }
    }

    fn write(&mut self) {
        let quic = &mut self.quic;
        self.sending.retain(|&id, sending| {
            while !sending.bytes.is_empty() {
                match quic.write(id, &sending.bytes) {
                    Ok(0) => return true,
                    Ok(count) => drop(sending.bytes.drain(..count)),
                    Err(_) => return false,
                }
            }
            if !sending.stays_open {
                let _ = quic.finish(id);
            }
            sending.stays_open
        });
    }

    /// Whether a stream was read, or need not be.
    fn read_now(&mut self, id: StreamId) -> bool {
        let is_wanted = self.reads_at_once || id.dir() == Dir::Uni;
        if is_wanted {
            self.read(id);
        }
        is_wanted
    }

    /// Reads what has come on a stream.
    pub(crate) fn read(&mut self, id: StreamId) {
        if id.dir() == Dir::Bi && !self.keys.contains_key(&id) {
            return;
        }
        // The end comes by itself: nothing is read beyond what waits.
        while !self.blocked.contains_key(&id) {
            match self.quic.read(id, usize::MAX) {
                Read::Chunk(bytes, Behind::End) => return self.take(id, &bytes, true),
                Read::Chunk(bytes, _) => self.take(id, &bytes, false),
                Read::End => return self.take(id, b"", true),
                Read::Pending | Read::Closed => return,
                Read::Reset(code) => {
                    let (now, code) = (Duration::ZERO, Code(code));
                    self.engine.peer_reset(id.into(), code, now, &self.limits).expect("the server keeps the rules");
                    self.answers.get_mut(&id).expect("it was asked").reset = Some(code);
                    return self.done(id);
                }
            }
        }
    }

    fn take(&mut self, id: StreamId, bytes: &[u8], end: bool) {
        let mut input = bytes;
        loop {
            let now = Duration::ZERO;
            let step = self
                .engine
                .receive(id.into(), input, end, &mut self.scratch, &mut self.table, now, &self.limits)
                .expect("the server keeps the rules");
            let block = self.scratch.block();
            let owned = |fields: &proto::head::Fields| -> Vec<(String, String)> {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                fields.iter(block).map(|(name, value)| (text(name), text(value))).collect()
            };
            let shown = input;
            input = &input[step.consumed..];
            let Some(answer) = self.answers.get_mut(&id) else {
                match step.event {
                    Event::GoAway { from } => self.goaways.push(from),
                    Event::NeedMore => return,
                    // Grease.
                    Event::Refused { code, .. } => return self.quic.stop(id, code.0),
                    event => panic!("{event:?}"),
                }
                continue;
            };
            match step.event {
                Event::NeedMore | Event::Closed => return,
                Event::Head { head, .. } => {
                    let status = self.table.status();
                    if status.is_informational() {
                        answer.interim.push(status.as_u16());
                    } else {
                        answer.status = status.as_u16();
                        answer.fields = owned(self.table.fields());
                        answer.has_ended = head.end;
                    }
                }
                Event::Data { range, end, .. } => {
                    answer.body.extend_from_slice(&shown[range]);
                    answer.has_ended = end;
                }
                Event::Trailers { .. } => {
                    answer.trailers = owned(self.table.trailers());
                    answer.has_ended = true;
                }
                Event::Ended { .. } => answer.has_ended = true,
                Event::Blocked { .. } => return drop(self.blocked.insert(id, (input.to_vec(), end))),
                event => panic!("{event:?}"),
            }
            if answer.has_ended {
                if !self.is_sending(id) {
                    self.done(id);
                }
                return;
            }
        }
    }

    /// Goes on until nothing more comes of an exchange.
    pub(crate) async fn answer(&mut self, id: StreamId) -> Answer {
        self.until(id, Answer::is_over).await.clone()
    }

    /// Goes on until enough has come of an exchange.
    pub(crate) async fn until(&mut self, id: StreamId, is_enough: impl Fn(&Answer) -> bool) -> &Answer {
        while !is_enough(&self.answers[&id]) {
            let goes_on = self.turn().await || is_enough(&self.answers[&id]);
            assert!(goes_on, "the server closes: {:?} {:?}", self.answers[&id], self.closed);
        }
        self.flush().await;
        &self.answers[&id]
    }

    /// Goes on until the server has closed, and gives the code.
    pub(crate) async fn end(&mut self) -> Code {
        while self.turn().await {}
        match &self.closed {
            Some(Closed::ByPeer(code, _)) => Code(*code),
            closed => panic!("{closed:?}"),
        }
    }

    /// Closes, and waits until nothing is left.
    pub(crate) async fn close(mut self) {
        let code = if self.bears_faults { Code::INTERNAL_ERROR } else { Code::NO_ERROR };
        self.quic.close(code.0, b"");
        poll_fn(|cx| self.quic.poll_drained(cx)).await;
    }
}
