//! A server that sends back what comes, and a client that asks for it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use platform::sim::Plan;
use platform::{Datagram, Group, Handle, Message, Op, Outcome};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shards::{JoinHandle, Operation, Shard, Simulation};
use shardwise_net::NetStats;
use shardwise_net::quic::{Behind, Closed, Config, Connection, Dir, Endpoint, Event, Read, StreamId};
use shardwise_net::tls::{ShardTime, provider};

pub(crate) const ADDRESS: &str = "10.0.0.1:443";

/// No wait is longer, in virtual time.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(600);

/// A certificate that leaves nothing to chance, and who trusts it.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Rc<Self> {
        Self::with_names(["localhost".to_owned()])
    }

    /// One that no flight of three datagrams carries.
    pub(crate) fn large() -> Rc<Self> {
        let more = (0..400).map(|number| format!("a-name-among-many-{number}.example"));
        Self::with_names(std::iter::once("localhost".to_owned()).chain(more))
    }

    fn with_names(names: impl IntoIterator<Item = String>) -> Rc<Self> {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let params = CertificateParams::new(names.into_iter().collect::<Vec<_>>()).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Rc::new(Identity { certificate, key })
    }

    pub(crate) fn server(&self, shard: &Shard) -> ServerConfig {
        let builder = ServerConfig::builder_with_details(provider(shard), Arc::new(ShardTime));
        let builder = builder.with_protocol_versions(&[&TLS13]).expect("a version").with_no_client_auth();
        let mut config =
            builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key()).expect("they fit");
        // As over TCP.
        config.ignore_client_order = true;
        config
    }

    pub(crate) fn client(&self, shard: &Shard) -> ClientConfig {
        self.client_by(provider(shard))
    }

    pub(crate) fn client_by(&self, provider: Arc<CryptoProvider>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("it can vouch");
        let builder = ClientConfig::builder_with_details(provider, Arc::new(ShardTime));
        let builder = builder.with_protocol_versions(&[&TLS13]).expect("a version");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(32);
        config.alpn_protocols = vec![b"h3".to_vec()];
        config
    }
}

/// What both sides are set up with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) identity: Rc<Identity>,
    pub(crate) server: Config,
    pub(crate) client: Config,
    pub(crate) early: bool,
    /// Shards of the server; each has a port of its own, the first that of [`ADDRESS`].
    pub(crate) shards: usize,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Setup {
            identity: Identity::new(),
            server: Config::default(),
            client: Config::default(),
            early: false,
            shards: 1,
        }
    }
}

/// A client's view of everything.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) shard: Shard,
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Arc<ClientConfig>,
    /// What the server counts.
    pub(crate) served: Arc<NetStats>,
    /// Lets the server drain.
    pub(crate) drain: Rc<dyn Fn()>,
}

/// Serves while `client` runs, drains, and looks at what is left. Gives the trace of all that has happened.
#[track_caller]
pub(crate) fn run(seed: u64, plan: Plan, setup: Setup, client: impl AsyncFnOnce(World) + 'static) -> u64 {
    println!("seed {seed}");
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
    let (served, asked) = (Arc::<NetStats>::default(), Arc::<NetStats>::default());
    let (counted, for_server) = (Arc::clone(&served), setup.clone());
    let program = simulation.start(setup.shards, async move |shard: Shard| {
        let Setup { identity, server, early, .. } = for_server.clone();
        let mut tls = identity.server(&shard);
        if early {
            (tls.max_early_data_size, tls.send_half_rtt_data) = (1, true);
        }
        let tls = Arc::new(tls);
        let endpoint = bind(&shard, address(shard.number()), server, &counted).await;
        let tasks = shard.clone();
        let begin = move |connection: Connection| {
            tasks.spawn(echo(connection)).expect("room for a task").detach();
        };
        endpoint.serve(move || Arc::clone(&tls), begin).await.map_err(|error| error.to_string())?;
        drop(endpoint);
        nothing_is_left(&shard).await
    });
    let program = Rc::new(program);
    let draining = Rc::clone(&program);
    simulation.run(async move |shard| {
        // The server listens by then.
        shard.sleep(Duration::from_millis(10)).await;
        let mut tls = setup.identity.client(&shard);
        tls.enable_early_data = setup.early;
        let endpoint = bind(&shard, "10.0.0.2:0".parse().expect("an address"), setup.client.clone(), &asked).await;
        let driven = endpoint.clone();
        let driver = shard.spawn(async move { driven.drive().await }).expect("room for a task");
        let drain = Rc::new(move || draining.drain());
        let world = World { shard: shard.clone(), endpoint, tls: Arc::new(tls), served, drain };
        client(world.clone()).await;
        assert_eq!(world.endpoint.connections(), 0, "every connection of the client's is gone");
        drop(world);
        // The driver and its endpoint.
        driver.abort();
        nothing_is_left(&shard).await.expect("nothing is left of the client");
    });
    program.drain();
    assert!(simulation.run_until(WAIT_MAX, || program.has_ended()), "the drain ends");
    for result in program.results() {
        assert_eq!(result, Some(Ok(())), "seed {seed}");
    }
    simulation.machine().trace_hash()
}

/// Where a shard of the server is.
fn address(number: usize) -> SocketAddr {
    let mut address: SocketAddr = ADDRESS.parse().expect("an address");
    address.set_port(address.port() + number as u16);
    address
}

/// Descriptors may be scarce.
async fn bind(shard: &Shard, address: SocketAddr, config: Config, stats: &Arc<NetStats>) -> Endpoint {
    loop {
        match Endpoint::bind(shard, address, config.clone(), Arc::clone(stats)) {
            Ok(endpoint) => return endpoint,
            Err(_) => shard.sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn nothing_is_left(shard: &Shard) -> Result<(), String> {
    // The kernel gives up what it has a moment after it is asked to.
    shard.sleep(Duration::from_millis(500)).await;
    let (pool, holdings) = (shard.pool().stats(), shard.with_reactor(|reactor| reactor.holdings()));
    let left = (pool.pooled_bytes, pool.heads_leased, pool.bulk_leased, holdings.operations, holdings.handles);
    if left == (0, 0, 0, 0, 0) { Ok(()) } else { Err(format!("left: {left:?}")) }
}

/// What a stream has said that has not been sent back.
#[derive(Default)]
struct Echo {
    pending: VecDeque<Bytes>,
    has_ended: bool,
}

/// Sends back all that comes, on streams and in datagrams, until the peer closes or the shard drains.
pub(crate) async fn echo(mut connection: Connection) {
    let mut streams = BTreeMap::<StreamId, Echo>::new();
    let mut forgets = false;
    poll_fn(|cx| {
        while let Poll::Ready(event) = connection.poll(cx) {
            match event {
                Event::Opened(id) | Event::Readable(id) | Event::Writable(id) => {
                    let stream = streams.entry(id).or_default();
                    if id.dir() == Dir::Bi && echo_stream(&mut connection, id, stream, &mut forgets) {
                        streams.remove(&id);
                    }
                }
                Event::Datagrams => {
                    while let Some(datagram) = connection.receive_datagram() {
                        let _ = connection.send_datagram(datagram);
                    }
                }
                Event::Stopped(id, code) => connection.reset(id, code),
                Event::Closed(_) => return Poll::Ready(()),
                _ => {}
            }
        }
        if connection.shard().is_draining() {
            connection.close(0, b"the server drains");
            return Poll::Ready(());
        }
        if forgets {
            return Poll::Ready(());
        }
        connection.flush(cx);
        Poll::Pending
    })
    .await;
    if !forgets {
        poll_fn(|cx| connection.poll_drained(cx)).await;
    }
}

/// Goes on with a stream; true when it is over.
fn echo_stream(connection: &mut Connection, id: StreamId, stream: &mut Echo, forgets: &mut bool) -> bool {
    loop {
        while let Some(front) = stream.pending.front_mut() {
            match connection.write_chunks(id, std::slice::from_mut(front)) {
                Ok(_) if front.is_empty() => drop(stream.pending.pop_front()),
                Ok(0) => return false,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        if stream.has_ended {
            let _ = connection.finish(id);
            return true;
        }
        let read = connection.read(id, usize::MAX);
        if let Read::Chunk(_, Behind::End) = read {
            stream.has_ended = true;
            assert!(matches!(connection.read(id, 1), Read::Closed), "what is behind it was told");
        }
        match read {
            Read::Chunk(chunk, _) if chunk == b"early?"[..] => {
                let answer = if connection.is_early() { "yes" } else { "no" };
                stream.pending.push_back(answer.into());
            }
            Read::Chunk(chunk, _) if chunk == b"new keys"[..] => {
                connection.update_keys();
                stream.pending.push_back(chunk);
            }
            Read::Chunk(chunk, _) => {
                *forgets |= chunk == b"forget me"[..];
                stream.pending.push_back(chunk);
            }
            Read::Pending => return false,
            Read::End => {
                stream.has_ended = true;
                assert!(matches!(connection.read(id, 1), Read::Closed), "its end is told once");
            }
            Read::Closed => return true,
            Read::Reset(code) => {
                connection.reset(id, code);
                return true;
            }
        }
    }
}

/// A connection of a client.
pub(crate) struct Client(pub(crate) Connection);

/// What is under way on a stream.
struct Asked<'d> {
    unsent: &'d [u8],
    has_finished: bool,
    answer: Vec<u8>,
    has_ended: bool,
}

impl World {
    pub(crate) fn connect(&self) -> Client {
        Client(self.endpoint.connect(address(0), "localhost", &self.tls).expect("a connection"))
    }

    pub(crate) async fn connected(&self) -> Client {
        let mut client = self.connect();
        client.until(|event| matches!(event, Event::Connected)).await.expect("a hand-shake");
        client
    }

    pub(crate) fn connect_by(&self, relay: &Relay) -> Client {
        Client(self.endpoint.connect(relay.address, "localhost", &self.tls).expect("a connection"))
    }

    pub(crate) async fn connected_by(&self, relay: &Relay) -> Client {
        let mut client = self.connect_by(relay);
        client.until(|event| matches!(event, Event::Connected)).await.expect("a hand-shake");
        client
    }

    /// What the server says to this packet of nobody's.
    pub(crate) async fn answer_to(&self, packet: Vec<u8>) -> Option<Vec<u8>> {
        let mut socket = Raw::bind(&self.shard, "10.0.0.4:0");
        socket.send(address(0), packet).await;
        let answer = self.shard.timeout(Duration::from_secs(1), poll_fn(|cx| socket.poll_receive(cx))).await;
        answer.ok().map(|message| message.data.to_vec())
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.shard.sleep(time).await;
    }
}

impl Client {
    /// Goes on until an event comes that is wanted.
    pub(crate) async fn until(&mut self, mut is_wanted: impl FnMut(&Event) -> bool) -> Result<Event, Closed> {
        poll_fn(|cx| {
            while let Poll::Ready(event) = self.0.poll(cx) {
                if is_wanted(&event) {
                    self.0.flush(cx);
                    return Poll::Ready(Ok(event));
                }
                if let Event::Closed(why) = event {
                    return Poll::Ready(Err(why));
                }
            }
            self.0.flush(cx);
            Poll::Pending
        })
        .await
    }

    /// Until it is closed.
    pub(crate) async fn closed(&mut self) -> Closed {
        match self.until(|_| false).await {
            Err(why) => why,
            Ok(event) => unreachable!("{event:?} is not wanted"),
        }
    }

    /// Sends on streams of its own, all at once, and gives what comes back.
    pub(crate) async fn ask_all(&mut self, all: &[&[u8]]) -> Result<Vec<Vec<u8>>, Closed> {
        let mut waiting = VecDeque::from_iter(all.iter().enumerate());
        let mut asked = BTreeMap::<StreamId, (usize, Asked<'_>)>::new();
        let mut answers = vec![Vec::new(); all.len()];
        let mut left = all.len();
        poll_fn(|cx| {
            loop {
                while !waiting.is_empty()
                    && let Some(id) = self.0.open(Dir::Bi)
                    && let Some((place, data)) = waiting.pop_front()
                {
                    let mut one = Asked { unsent: data, has_finished: false, answer: Vec::new(), has_ended: false };
                    self.go_on(id, &mut one);
                    asked.insert(id, (place, one));
                }
                match self.0.poll(cx) {
                    Poll::Ready(Event::Readable(id) | Event::Writable(id)) => {
                        let Some((place, one)) = asked.get_mut(&id) else { continue };
                        self.go_on(id, one);
                        if one.has_ended {
                            answers[*place] = std::mem::take(&mut one.answer);
                            asked.remove(&id);
                            left -= 1;
                        }
                    }
                    Poll::Ready(Event::Closed(why)) => return Poll::Ready(Err(why)),
                    Poll::Ready(_) => {}
                    Poll::Pending if left == 0 => {
                        self.0.flush(cx);
                        return Poll::Ready(Ok(std::mem::take(&mut answers)));
                    }
                    Poll::Pending => break,
                }
            }
            self.0.flush(cx);
            Poll::Pending
        })
        .await
    }

    pub(crate) async fn ask(&mut self, data: &[u8]) -> Result<Vec<u8>, Closed> {
        Ok(self.ask_all(&[data]).await?.remove(0))
    }

    fn go_on(&mut self, id: StreamId, asked: &mut Asked<'_>) {
        while let Ok(count) = self.0.write(id, asked.unsent)
            && count > 0
        {
            asked.unsent = &asked.unsent[count..];
        }
        if asked.unsent.is_empty() && !asked.has_finished {
            asked.has_finished = true;
            self.0.finish(id).expect("it is open");
        }
        loop {
            match self.0.read(id, usize::MAX) {
                Read::Chunk(chunk, behind) => {
                    asked.answer.extend_from_slice(&chunk);
                    if behind == Behind::End {
                        return asked.has_ended = true;
                    }
                }
                Read::Pending | Read::Closed => return,
                Read::End => return asked.has_ended = true,
                Read::Reset(code) => panic!("reset with {code}"),
            }
        }
    }

    /// Closes, and waits until nothing is left.
    pub(crate) async fn close(mut self) {
        self.0.close(0, b"all is said");
        poll_fn(|cx| self.0.poll_drained(cx)).await;
    }

    /// Goes on for so long without asking for anything.
    pub(crate) async fn rest(&mut self, time: Duration) {
        // To the moment if a packet comes: a sleep ends with a tick of the wheel.
        let shard = self.0.shard();
        let mut alarm = shard.alarm(shard.clock() + time);
        poll_fn(|cx| {
            while let Poll::Ready(event) = self.0.poll(cx) {
                assert!(!matches!(event, Event::Closed(_)), "{event:?}");
            }
            self.0.flush(cx);
            alarm.poll_rung(cx)
        })
        .await;
    }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(crate) fn check(seed: u64, plan: Plan, setup: Setup, client: impl AsyncFnOnce(World) + 'static) {
    run(seed, plan, setup, client);
}

/// A socket of nobody's.
pub(crate) struct Raw {
    receiving: Operation,
    shard: Shard,
    handle: Handle,
}

impl Raw {
    fn bind(shard: &Shard, address: &str) -> Self {
        let address = address.parse().expect("an address");
        let handle = shard.with_reactor(|reactor| reactor.datagram_socket(address)).expect("a socket");
        let receive = Op::ReceiveMessage { socket: handle, group: Group::Bulk };
        Raw { receiving: shard.start(receive).expect("it can receive"), shard: shard.clone(), handle }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Box<Message>> {
        self.receiving.poll_next(cx).map(|completion| match completion.result {
            Ok(Outcome::Message(message)) => message,
            other => panic!("{other:?}"),
        })
    }

    async fn send(&self, to: SocketAddr, data: Vec<u8>) {
        let message = Datagram { peer: Some(to), source: None, data, segment: None, ecn: 0 };
        let send = Op::SendMessage { socket: self.handle, message: Box::new(message) };
        let _ = self.shard.start(send).expect("it can send").await;
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.shard.with_reactor(|reactor| reactor.close(self.handle));
    }
}

/// What stands between a client and the server, as a router that translates addresses does.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) to_server: Rc<Cell<usize>>,
    pub(crate) from_server: Rc<Cell<usize>>,
    /// How often the server had sent more than three times what it had received, since the address was what it is.
    pub(crate) exceeded: Rc<Cell<usize>>,
    /// Nothing passes in either direction.
    pub(crate) is_cut: Rc<Cell<bool>>,
    /// Nothing passes to the client.
    pub(crate) is_deaf: Rc<Cell<bool>>,
    /// Nothing passes to the server that begins with a Handshake packet.
    pub(crate) is_mute: Rc<Cell<bool>>,
    /// After so many packets to the server, they come from another address.
    moves_after: Rc<Cell<u32>>,
    /// The shard of the server that the packets go to.
    pub(crate) shard: Rc<Cell<usize>>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) fn start(world: &World) -> Self {
        let shard = world.shard.clone();
        let server = Rc::new(Cell::new(0));
        let to_shard = Rc::clone(&server);
        let [to_server, from_server, exceeded] = [(); 3].map(|()| Rc::new(Cell::new(0)));
        let [is_cut, is_deaf, is_mute] = [(); 3].map(|()| Rc::new(Cell::new(false)));
        let moves_after = Rc::new(Cell::new(u32::MAX));
        let address = "10.0.0.3:443";
        let (to, from, over) = (Rc::clone(&to_server), Rc::clone(&from_server), Rc::clone(&exceeded));
        let (cut, deaf, mute) = (Rc::clone(&is_cut), Rc::clone(&is_deaf), Rc::clone(&is_mute));
        let moving = Rc::clone(&moves_after);
        let work = async move {
            let (mut inside, mut outside) = (Raw::bind(&shard, address), Raw::bind(&shard, "10.0.0.3:0"));
            let client = RefCell::new(None);
            // From the present address, and to it.
            let (mut sent, mut received) = (0, 0);
            loop {
                let (is_out, message) = poll_fn(|cx| {
                    if let Poll::Ready(message) = inside.poll_receive(cx) {
                        return Poll::Ready((true, message));
                    }
                    outside.poll_receive(cx).map(|message| (false, message))
                })
                .await;
                if cut.get() {
                    continue;
                }
                let data = message.data.to_vec();
                if is_out {
                    client.replace(Some(message.peer));
                    if mute.get() && data[0] & 0xb0 == 0xa0 {
                        continue;
                    }
                    if moving.replace(moving.get().wrapping_sub(1)) == 0 {
                        outside = Raw::bind(&shard, "10.0.0.3:0");
                        (sent, received) = (0, 0);
                    }
                    sent += data.len();
                    to.set(to.get() + data.len());
                    outside.send(self::address(to_shard.get()), data).await;
                    continue;
                }
                from.set(from.get() + data.len());
                received += data.len();
                over.set(over.get() + usize::from(received > 3 * sent));
                let peer = *client.borrow();
                if let Some(peer) = peer.filter(|_| !deaf.get()) {
                    inside.send(peer, data).await;
                }
            }
        };
        let task = world.shard.spawn(work).expect("room for a task");
        let address = address.parse().expect("an address");
        Relay { address, to_server, from_server, exceeded, is_cut, is_deaf, is_mute, moves_after, shard: server, task }
    }

    pub(crate) fn moves_next(&self) {
        self.moves_after.set(0);
    }

    /// Once it has passed on so many.
    pub(crate) fn moves_after(&self, count: u32) {
        self.moves_after.set(count);
    }

    pub(crate) async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
