//! A thousand clients that are slow on purpose, and one that behaves: it is answered all the while, memory stays within its
//! bounds, and each of the others is ended by its limit.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::served::Served;
use crate::wire::{Client, WAIT_MAX, pattern, request};

/// Slow clients; a quarter of each kind.
const CROWD: usize = 1000;

/// Between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(500);

/// What the kernel keeps for a slow client, each way.
const BUFFER_BYTES: usize = 16 * 1024;

/// All limits have passed by then: ten seconds for a head, thirty for the others; the rest is a machine under load.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What the process may have resident: a quarter of a megabyte for each client that makes it hold something, and itself.
const RESIDENT_KIB_MAX: u64 = (CROWD as u64 / 4) * 256 + 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its head comes byte by byte.
    Head,
    /// Its body does.
    Body,
    /// It does not read a long answer.
    Deaf,
    /// It does not read its own echo, and says as much as it can.
    Loud,
}

struct Slow {
    kind: Kind,
    stream: TcpStream,
}

impl Slow {
    fn open(address: SocketAddr, number: usize) -> Slow {
        let kind = [Kind::Head, Kind::Body, Kind::Deaf, Kind::Loud][number % 4];
        let begin = match kind {
            Kind::Head => "GET /".to_owned(),
            Kind::Body => "POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n".to_owned(),
            Kind::Deaf => request("GET /bytes/100000000"),
            Kind::Loud => "POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n".to_owned(),
        };
        let mut stream = TcpStream::connect_timeout(&address, WAIT_MAX).expect("the server accepts");
        // The kernel would hold megabytes for each, and it would take a while until nothing moves.
        set_socket_recv_buffer_size(&stream, BUFFER_BYTES).expect("an option of a socket");
        set_socket_send_buffer_size(&stream, BUFFER_BYTES).expect("an option of a socket");
        stream.write_all(begin.as_bytes()).expect("the first bytes are taken");
        stream.set_nonblocking(true).expect("an option of a socket");
        Slow { kind, stream }
    }

    /// Says a little more. False once the server has ended the connection.
    fn goes_on(&mut self) -> bool {
        let said: &[u8] = match self.kind {
            Kind::Head | Kind::Body => b"x",
            Kind::Loud => &[b'x'; 64 * 1024],
            // Whether it was ended only the server's figures tell: it would have to read first.
            Kind::Deaf => return true,
        };
        loop {
            match self.stream.write(said) {
                Ok(_) if self.kind == Kind::Loud => {}
                Ok(_) => return !matches!(self.stream.read(&mut [0; 1024]), Ok(0)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

pub(crate) fn a_thousand_slow_clients_are_ended_and_others_served(backend: &'static str) {
    raise_descriptors();
    let served = Served::start(backend, &["--shards", "1", "--admin", "127.0.0.1:0"]);
    let admin = served.admin_address();
    let figures = || Client::connect(admin).ask("GET /metrics").text();
    let begin = Instant::now();
    let mut slow: Vec<Slow> = (0..CROWD).map(|number| Slow::open(served.address, number)).collect();
    let (mut kept, body) = (served.client(), pattern(20_000));
    let mut open_most = 0;
    while begin.elapsed() < TIME_MAX {
        slow.retain_mut(Slow::goes_on);
        behave(&mut kept, &body);
        behave(&mut served.client(), &body);
        let text = figures();
        let open = metric(&text, "shardwise_connections");
        open_most = open_most.max(open);
        let (pooled, buffers) =
            (metric(&text, "shardwise_pool_bytes"), metric(&text, "shardwise_pool_receive_buffers"));
        assert!(pooled <= 192 << 20, "{pooled} bytes of the pool: nothing is to be shed");
        assert!(buffers <= 256 + 32, "{buffers} receive buffers");
        let resident = resident_kib(&served);
        assert!(resident <= RESIDENT_KIB_MAX, "{resident} KiB are resident");
        if open <= 1 {
            break;
        }
        thread::sleep(PAUSE);
    }
    assert!(open_most >= CROWD as u64, "all were there: {open_most}");
    let text = figures();
    assert!(metric(&text, "shardwise_connections") <= 1, "each was ended after {:?}", begin.elapsed());
    let quarter = CROWD as u64 / 4;
    assert!(metric(&text, "shardwise_bodies_slow_total") >= quarter, "bodies");
    assert!(metric(&text, "shardwise_readers_slow_total") >= 2 * quarter, "readers");
    let names =
        ["shardwise_shed_readers_total", "shardwise_shed_requests_total", "shardwise_connections_exhausted_total"];
    assert_eq!(names.map(|name| metric(&text, name)), [0; 3], "nothing was shed");
    let (code, log) = served.stopped();
    assert_eq!(code, Some(0), "{log}");
}

/// What a client asks that does nothing wrong.
#[track_caller]
fn behave(client: &mut Client, body: &[u8]) {
    assert_eq!(client.ask("GET /plaintext").text(), "Hello, World!");
    client.send(format!("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(body);
    let answer = client.answer();
    assert!(answer.status == 200 && answer.body == body, "{} with {} bytes", answer.status, answer.body.len());
}

/// Of the one shard.
#[track_caller]
pub(crate) fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{shard=\"0\"} "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
}

fn resident_kib(served: &Served) -> u64 {
    let status = fs::read_to_string(served.proc() + "/status").expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of Linux's");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// This process and the servers that it starts get as many descriptors as they may have.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("what is admitted");
}
