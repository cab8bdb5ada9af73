//! A hot restart of a program that serves datagrams: those of old connections reach the old process, those of new ones the new,
//! and none is lost. The program is this file too: it starts itself.

#![allow(clippy::disallowed_methods, reason = "the client stands outside the shards")]

#[cfg(target_os = "linux")]
fn main() {
    match std::env::var(linux::BACKEND) {
        Ok(backend) => linux::serve(&backend),
        Err(_) => ["uring", "epoll"].into_iter().for_each(linux::check),
    }
}

/// Nowhere else does a process take over another's sockets.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::future::poll_fn;
    use std::net::{SocketAddr, UdpSocket};
    use std::panic::Location;
    use std::process::{Child, Command};
    use std::task::Poll;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use platform::{Choice, Config, Datagram, DatagramOptions, Group, Message, Op, Outcome, SocketOption, select};
    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    use shardwise_shards::{Listening, Neighbour, Runtime, Shard, StartError, Stray, listen_datagrams};

    /// In the environment of a server: its backend, and where it serves.
    pub(super) const BACKEND: &str = "STRAYS_TEST_BACKEND";
    const ADDRESS: &str = "STRAYS_TEST_ADDRESS";

    /// Shards of a server, and clients, each of which has a connection.
    const SHARDS: usize = 2;
    const CLIENTS: usize = 16;

    /// A datagram is a first byte, then the shard and the generation of its connection, then a number. Who begins has none yet.
    const SHARD: usize = 1;
    const GENERATION: usize = 2;
    const NONE: u8 = 0xff;

    /// How long the old process goes on after it was asked last.
    const IDLE: Duration = Duration::from_millis(500);

    /// How long any server lives, should a test not end it.
    const LIFE_MAX: Duration = Duration::from_secs(120);

    /// How long a client waits for an answer, when there is a server. It takes microseconds; the rest is a machine under load.
    const PATIENCE: Duration = Duration::from_secs(3);

    // ---- the server --------------------------------------------------------------------------------------------------

    pub(super) fn serve(backend: &str) {
        let choice: Choice = backend.parse().expect("a backend");
        let runtime = Runtime::builder().shards(SHARDS).oversubscribe(true).announce(false).backend(choice);
        if let Err(error) = runtime.run(async |shard: Shard| serve_shard(&shard).await) {
            panic!("{error}");
        }
    }

    async fn serve_shard(shard: &Shard) -> Result<(), StartError> {
        let address: SocketAddr = std::env::var(ADDRESS).expect("an address").parse().expect("an address");
        let options = DatagramOptions { numbered_at: Some(SHARD as u32) };
        let listening = listen_datagrams(shard, address, &options, Location::caller()).await?;
        let Listening { mut sockets, kept, strays, .. } = listening;
        let strays = strays.expect("it is about datagrams");
        let socket = shard.with_reactor(|reactor| reactor.adopt(sockets.remove(0)).expect("a socket"));
        let _ = shard.with_reactor(|reactor| reactor.set_option(socket, SocketOption::TellLocal(true)));
        shard.serves();
        poll_fn(|cx| strays.poll_begin(cx)).await;

        let own = shard.generation() as u8;
        let answer = |peer, source, number: &[u8]| {
            let head = [0x40, shard.number() as u8, own];
            let data = [&head[..], number, &std::process::id().to_be_bytes()].concat();
            let message = Box::new(Datagram { peer: Some(peer), source, data, segment: None, ecn: 0 });
            shard.start(Op::SendMessage { socket, message }).expect("room to send")
        };
        let receive = |message: &Message| {
            let data = &message.data[..];
            let generation = data[GENERATION];
            if generation == NONE || generation == own {
                assert!(generation == NONE || usize::from(data[SHARD]) == shard.number(), "the kernel steers");
                return Some(answer(message.peer, message.local, &data[GENERATION + 1..]));
            }
            let data = Bytes::copy_from_slice(data);
            let stray = Stray { data, peer: message.peer, local: message.local, ecn: message.ecn };
            let to = if generation < own { Neighbour::Predecessor } else { Neighbour::Successor };
            strays.forward(to, stray.data[SHARD].into(), &stray);
            None
        };
        let mut receiving = Some(shard.start(Op::ReceiveMessage { socket, group: Group::Heads }).expect("a receive"));
        let mut idle = shard.alarm(shard.now() + LIFE_MAX);
        let mut sends = Vec::new();
        poll_fn(|cx| {
            if shard.is_draining() {
                match &mut receiving {
                    Some(receiving) if kept.is_taken() => receiving.cancel(),
                    _ => {}
                }
            }
            while let Some(operation) = &mut receiving {
                let Poll::Ready(completion) = operation.poll_next(cx) else { break };
                match completion.result {
                    Ok(Outcome::Message(message)) => sends.extend(receive(&message)),
                    other => assert!(shard.is_draining(), "{other:?}"),
                }
                if !completion.more {
                    receiving = None;
                    strays.stop();
                    idle.set(shard.now() + IDLE);
                }
            }
            while let Poll::Ready(stray) = strays.poll_next(cx) {
                assert_eq!((stray.data[SHARD] as usize, stray.data[GENERATION]), (shard.number(), own));
                sends.push(answer(stray.peer, stray.local, &stray.data[GENERATION + 1..]));
                if receiving.is_none() {
                    idle.set(shard.now() + IDLE);
                }
            }
            sends.retain_mut(|send| send.try_next().is_none());
            match shard.is_draining() && !kept.is_taken() {
                true => Poll::Ready(()),
                false => idle.poll_rung(cx),
            }
        })
        .await;
        Ok(())
    }

    // ---- the client --------------------------------------------------------------------------------------------------

    /// A client, and what it knows of its connection.
    struct Client {
        socket: UdpSocket,
        begin: [u8; 3],
        number: u32,
        server: u32,
    }

    impl Client {
        /// Begins a connection with whoever answers.
        fn begin(address: SocketAddr, time_max: Duration) -> Client {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(address).expect("an address");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
            let mut client = Client { socket, begin: [0x40, NONE, NONE], number: 0, server: 0 };
            let end = Instant::now() + time_max;
            while !client.ask() {
                assert!(Instant::now() < end, "a server answers within {time_max:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
            client.socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            client
        }

        /// Asks once. False if nobody answers.
        fn ask(&mut self) -> bool {
            self.number += 1;
            let sent = self.socket.send(&[&self.begin[..], &self.number.to_be_bytes()].concat());
            let mut answer = [0; 100];
            loop {
                match self.socket.recv(&mut answer) {
                    Ok(11) if answer[3..7] == self.number.to_be_bytes() => break,
                    // A late one.
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            let server = u32::from_be_bytes(answer[7..11].try_into().expect("four bytes"));
            if self.begin[GENERATION] == NONE {
                (self.begin, self.server) = ([answer[0], answer[1], answer[2]], server);
            }
            assert_eq!((&answer[..3], server), (&self.begin[..], self.server), "another has answered");
            sent.is_ok()
        }
    }

    pub(super) fn check(backend: &str) {
        if let Err(error) = select(backend.parse().expect("a backend"), &Config::default()) {
            return println!("skipped: {error}");
        }
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let program = std::env::current_exe().expect("this program is a file");
        let start = Command::new(program).env(BACKEND, backend).env(ADDRESS, address.to_string()).spawn();
        let mut first = Running(start.expect("a server"));
        let begin = || Client::begin(address, Duration::from_secs(20));
        let mut old: Vec<Client> = (0..CLIENTS).map(|_| begin()).collect();
        assert!(old.iter().all(|client| client.server == first.0.id() && client.begin[GENERATION] == 0));
        send(first.0.id(), Signal::USR2);
        // Who begins meanwhile is answered by the one until the other begins, and by that from then on.
        let end = Instant::now() + Duration::from_secs(30);
        let mut new = Vec::new();
        while new.len() < CLIENTS {
            assert!(Instant::now() < end, "the successor begins to serve");
            let client = begin();
            match client.begin[GENERATION] {
                0 => assert!(new.is_empty(), "the old process receives no more"),
                _ => new.push(client),
            }
            assert!(old.iter_mut().all(Client::ask), "a datagram is lost, or its answer");
        }
        let second = Successor(new[0].server);
        for _ in 0..20 {
            assert!(old.iter_mut().chain(&mut new).all(Client::ask), "a datagram is lost, or its answer");
        }
        // The old one ends when nobody asks it any more.
        let mut ended = || first.0.try_wait().expect("a child");
        let end = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match ended() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "the old process ends"),
            }
            assert!(new.iter_mut().all(Client::ask), "a datagram is lost, or its answer");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}");
        assert!(!old[0].ask(), "a connection of a process that is gone");
        assert!(new.iter_mut().all(Client::ask));
        drop(second);
        println!("{backend}: nothing lost");
    }

    /// A server that is ended with the test, whatever becomes of that.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Its successor, which is nobody's child by then.
    struct Successor(u32);

    impl Drop for Successor {
        fn drop(&mut self) {
            send(self.0, Signal::TERM);
            let end = Instant::now() + Duration::from_secs(10);
            while test_kill_process(pid(self.0)).is_ok() {
                assert!(Instant::now() < end || std::thread::panicking(), "the successor ends");
                std::thread::sleep(Duration::from_millis(10));
                if Instant::now() >= end {
                    return send(self.0, Signal::KILL);
                }
            }
        }
    }

    fn send(process: u32, signal: Signal) {
        let _ = kill_process(pid(process), signal);
    }

    fn pid(process: u32) -> Pid {
        Pid::from_raw(process as i32).expect("a process")
    }
}
