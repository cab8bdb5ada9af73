//! Any future may be dropped at any await point: descriptors, leases and slots come home all the same, on each backend.
//!
//! Each scenario is polled a number of times and then dropped where it stands; the number grows until the scenario comes
//! to its end. After each drop the shard is given a bounded time to be as it was before.

use std::future::{Future, poll_fn};
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use platform::{BackendKind, Buf, BufList, Choice, Holdings, ListenOptions, PoolStats, SocketOption, select};
use shards::{Runtime, Shard, Simulation};
use shardwise_net::{Listener, Result, TcpStream};

/// Polls after which a scenario must have come to its end.
const POLLS_MAX: usize = 1000;

/// When the drop comes: at once, before the kernel has heard of what the last poll began; or when that has landed and nobody
/// has taken it.
const PAUSES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(2)];

/// How long the shard may take to be as it was.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(10);

/// Something to drop in the middle.
type Scenario = fn(Shard) -> Pin<Box<dyn Future<Output = Result<()>>>>;

/// All of them, by name.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        const SCENARIOS: &[(&str, Scenario)] = &[$((stringify!($name), |shard| Box::pin($name(shard)))),*];
    };
}

scenarios! {
    listen_and_accept,
    accept_one_of_many,
    connect,
    connect_to_nobody,
    send_and_recv,
    recv_what_nobody_sends,
    recv_with_a_timeout,
    keep_what_was_received,
    echo,
    send_all,
    send_more_than_is_taken,
    send_and_recv_at_once,
    half_close,
    reset,
    in_tasks,
}

#[test]
fn on_uring() {
    on_a_real_machine(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    on_a_real_machine(BackendKind::Epoll);
}

#[test]
fn on_polling() {
    on_a_real_machine(BackendKind::Polling);
}

#[test]
fn on_the_simulated_machine() {
    // Its shards have real descriptors of their own, which those who count theirs must not see come and go.
    let _guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for seed in 0..10 {
        let mut simulation = Simulation::with_plan(seed, platform::sim::Plan::CHOPPY, platform::Config::default());
        let machine = simulation.machine().clone();
        simulation.run(async move |shard| every_scenario(&shard, || machine.descriptors()).await);
    }
}

/// Those who count the process's descriptors run alone.
static ALONE: Mutex<()> = Mutex::new(());

fn on_a_real_machine(kind: BackendKind) {
    let _guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = select(Choice::Force(kind), &platform::Config::default()) {
        println!("skipped: {error}");
        return;
    }
    let before = descriptors();
    let runtime = Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false);
    let main = async |shard: Shard| {
        every_scenario(&shard, descriptors).await;
        Ok::<_, String>(())
    };
    runtime.run(main).expect("every scenario leaves nothing behind");
    assert_eq!(descriptors(), before, "and the runtime neither");
}

/// Descriptors that this process has open, where the system lists them; the directory's own is among them, each time.
fn descriptors() -> usize {
    match std::fs::read_dir(if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" }) {
        Ok(list) if cfg!(unix) => list.count(),
        _ => 0,
    }
}

/// What must be as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    holdings: Holdings,
    heads_leased: u32,
    bulk_leased: u32,
    pooled_bytes: u64,
    tasks: u32,
    descriptors: usize,
}

impl State {
    fn of(shard: &Shard, descriptors: &impl Fn() -> usize) -> State {
        let PoolStats { heads_leased, bulk_leased, pooled_bytes, .. } = shard.pool().stats();
        State {
            holdings: shard.with_reactor(|reactor| reactor.holdings()),
            heads_leased,
            bulk_leased,
            pooled_bytes,
            tasks: shard.task_stats().live,
            descriptors: descriptors(),
        }
    }
}

async fn every_scenario(shard: &Shard, descriptors: impl Fn() -> usize) {
    for &(name, scenario) in SCENARIOS {
        // The first run in full makes what is made once.
        scenario(shard.clone()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        shard.sleep(Duration::from_millis(20)).await;
        let baseline = State::of(shard, &descriptors);
        assert_eq!((baseline.holdings, baseline.heads_leased), (Holdings::default(), 0), "{name}, run in full");
        for pause in PAUSES {
            for polls in 0.. {
                assert!(polls < POLLS_MAX, "{name} does not end");
                let has_ended = drop_after(shard, polls, pause, scenario(shard.clone())).await;
                let what = || format!("{name}, dropped {pause:?} after {polls} polls");
                settle(shard, &descriptors, baseline, what).await;
                if has_ended {
                    break;
                }
            }
        }
    }
}

/// Polls a future so many times, and drops it after a pause. True if it has ended by then.
async fn drop_after(
    shard: &Shard,
    polls: usize,
    pause: Duration,
    mut future: Pin<Box<dyn Future<Output = Result<()>>>>,
) -> bool {
    let mut polled = 0;
    let has_ended = poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => {
                result.expect("nothing is wrong on this network");
                Poll::Ready(true)
            }
            // With no poll left it is dropped where it stands, and not when it would go on.
            Poll::Pending if polled == polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if !pause.is_zero() {
        shard.sleep(pause).await;
    }
    has_ended
}

async fn settle(shard: &Shard, descriptors: &impl Fn() -> usize, baseline: State, what: impl Fn() -> String) {
    let deadline = shard.now() + SETTLE_TIME_MAX;
    loop {
        let state = State::of(shard, descriptors);
        if state == baseline {
            return;
        }
        assert!(shard.now() < deadline, "{}: {state:?} is not {baseline:?}", what());
        shard.sleep(Duration::from_millis(1)).await;
    }
}

// ---- scenarios -----------------------------------------------------------------------------------------------------------

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn listen(shard: &Shard) -> Result<Listener> {
    let options = ListenOptions::default();
    let sockets = shard.with_reactor(|reactor| reactor.listen(any_port(), 1, &options));
    Listener::adopt(shard, sockets.expect("a free port").remove(0))
}

/// Two ends of one connection.
async fn pair(shard: &Shard) -> Result<(TcpStream, TcpStream)> {
    let mut listener = listen(shard)?;
    let client = TcpStream::connect(shard, listener.local_address()?).await?;
    Ok((client, listener.accept().await?))
}

async fn listen_and_accept(shard: Shard) -> Result<()> {
    let mut listener = listen(&shard)?;
    let address = listener.local_address()?;
    // The accept waits before anyone connects.
    let mut accepted = pin!(listener.accept());
    let waited = poll_fn(|cx| Poll::Ready(accepted.as_mut().poll(cx).is_pending())).await;
    assert!(waited);
    let _client = TcpStream::connect(&shard, address).await?;
    accepted.await?;
    Ok(())
}

async fn accept_one_of_many(shard: Shard) -> Result<()> {
    let mut listener = listen(&shard)?;
    let address = listener.local_address()?;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(TcpStream::connect(&shard, address).await?);
    }
    // The others have been accepted below, or wait in the kernel's queue, when the listener goes.
    listener.accept().await?;
    shard.sleep(Duration::from_millis(1)).await;
    Ok(())
}

async fn connect(shard: Shard) -> Result<()> {
    let listener = listen(&shard)?;
    TcpStream::connect(&shard, listener.local_address()?).await?;
    Ok(())
}

async fn connect_to_nobody(shard: Shard) -> Result<()> {
    let address = listen(&shard)?.local_address()?;
    shard.sleep(Duration::from_millis(1)).await;
    assert!(TcpStream::connect(&shard, address).await.is_err());
    Ok(())
}

async fn send_and_recv(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    client.send("hello").await?;
    expect(&mut server, b"hello").await
}

async fn recv_what_nobody_sends(shard: Shard) -> Result<()> {
    let (mut client, server) = pair(&shard).await?;
    let mut received = pin!(client.recv());
    let waits = poll_fn(|cx| Poll::Ready(received.as_mut().poll(cx).is_pending())).await;
    assert!(waits);
    shard.sleep(Duration::from_millis(1)).await;
    drop(server);
    assert!(received.await?.is_none());
    Ok(())
}

async fn recv_with_a_timeout(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    assert!(shard.timeout(Duration::from_millis(1), client.recv()).await.is_err());
    server.send("late").await?;
    expect(&mut client, b"late").await
}

async fn keep_what_was_received(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    let mut kept = Vec::new();
    for _ in 0..3 {
        client.send("keep this").await?;
        kept.push(server.recv().await?);
    }
    // Leases outlive their stream.
    drop((client, server));
    shard.sleep(Duration::from_millis(1)).await;
    assert!(kept.iter().flatten().all(|chunk| !chunk.is_empty()));
    Ok(())
}

async fn echo(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    client.send(Buf::from(vec![b'e'; 3000])).await?;
    let mut count = 0;
    while count < 3000 {
        let chunk = server.recv().await?.expect("more comes");
        count += chunk.len();
        // The lease goes out as it came in.
        server.send(Buf::Chunk(chunk)).await?;
    }
    expect(&mut client, &[b'e'; 3000]).await
}

async fn send_all(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    let mut list = Box::<BufList>::default();
    let mut chunk = shard.pool().lease(1000).expect("the pool has room");
    chunk.put(&[b'c'; 1000]);
    for buf in [Buf::Chunk(chunk.freeze()), Buf::from("static"), Buf::from(vec![b'v'; 2000])] {
        list.push(buf).expect("a list holds three");
    }
    let list = client.send_all(list).await?;
    assert_eq!(list.bytes(), 0);
    let expected = [&[b'c'; 1000][..], b"static", &[b'v'; 2000]].concat();
    expect(&mut server, &expected).await
}

async fn send_more_than_is_taken(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    client.set_option(SocketOption::SendBuffer(4096))?;
    let bytes = 512 * 1024;
    let mut chunk = shard.pool().lease(1024).expect("the pool has room");
    chunk.put(&[b'm'; 1024]);
    let chunk = chunk.freeze();
    let mut sending = pin!(async {
        client.send(Buf::from(vec![b'm'; bytes - 1024])).await?;
        client.send(Buf::Chunk(chunk)).await
    });
    let (mut has_sent, mut count) = (false, 0);
    while !has_sent || count < bytes {
        poll_fn(|cx| {
            if !has_sent && let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                sent.expect("the peer reads");
                has_sent = true;
                return Poll::Ready(());
            }
            server.poll_recv(cx).map(|chunk| count += chunk.expect("no reset").expect("more comes").len())
        })
        .await;
    }
    assert_eq!(count, bytes);
    Ok(())
}

/// One end sends back what it receives. The other sends more than the way there and back holds, so it must receive
/// meanwhile.
async fn send_and_recv_at_once(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    // Not so small that the kernel's window closes, and is looked at again only after a fifth of a second.
    for stream in [&client, &server] {
        stream.set_option(SocketOption::SendBuffer(32 * 1024))?;
        stream.set_option(SocketOption::ReceiveBuffer(32 * 1024))?;
    }
    let echo = async move {
        while let Ok(Some(chunk)) = server.recv().await {
            if server.send(Buf::Chunk(chunk)).await.is_err() {
                break;
            }
        }
    };
    let _echo = shard.spawn(echo).expect("room for a task");
    let bytes = 512 * 1024;
    let (mut receiving, mut sending) = client.split();
    let mut send = pin!(sending.send(Buf::from(vec![b'a'; bytes])));
    let (mut has_sent, mut count) = (false, 0);
    while !has_sent || count < bytes {
        poll_fn(|cx| {
            if !has_sent && let Poll::Ready(sent) = send.as_mut().poll(cx) {
                sent.expect("the peer reads");
                has_sent = true;
                return Poll::Ready(());
            }
            receiving.poll_recv(cx).map(|chunk| count += chunk.expect("no reset").expect("more comes").len())
        })
        .await;
    }
    Ok(())
}

async fn half_close(shard: Shard) -> Result<()> {
    let (mut client, mut server) = pair(&shard).await?;
    client.send("last words").await?;
    client.shutdown(Shutdown::Write)?;
    expect(&mut server, b"last words").await?;
    assert!(server.recv().await?.is_none());
    server.send("answer").await?;
    expect(&mut client, b"answer").await?;
    drop(server);
    assert!(client.recv().await?.is_none());
    Ok(())
}

async fn reset(shard: Shard) -> Result<()> {
    let (mut client, server) = pair(&shard).await?;
    server.set_option(SocketOption::Linger(Some(Duration::ZERO)))?;
    client.send("unread").await?;
    drop(server);
    while let Ok(Some(_)) = client.recv().await {}
    Ok(())
}

/// Dropping a join handle detaches the task; an abort ends it where it stands.
async fn in_tasks(shard: Shard) -> Result<()> {
    let (mut client, server) = pair(&shard).await?;
    let serve = |mut stream: TcpStream| async move {
        while let Ok(Some(chunk)) = stream.recv().await {
            if stream.send(Buf::Chunk(chunk)).await.is_err() {
                break;
            }
        }
    };
    let task = shard.spawn(serve(server)).expect("room for a task");
    client.send("around").await?;
    expect(&mut client, b"around").await?;
    task.abort();
    assert!(task.await.is_err());
    while let Ok(Some(_)) = client.recv().await {}
    Ok(())
}

/// Receives exactly this.
async fn expect(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend_from_slice(&stream.recv().await?.expect("more comes"));
    }
    assert!(received == bytes, "other bytes than expected");
    Ok(())
}
