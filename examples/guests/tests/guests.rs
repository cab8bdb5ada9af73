//! Each host with its guest, as a program: both answer under load and ask each other, both end in order, nothing of what came
//! is left, and while nobody asks neither uses the CPU.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shardwise::{BackendKind, Choice, Runtime};

/// No wait is longer; what is waited for takes milliseconds, the rest is a machine under load.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Requests in hand at the same time, half of them at each service.
const CONCURRENT: usize = 200;

/// Requests that one connection makes.
const REQUESTS: usize = 20;

/// A host that runs.
struct Hosted {
    child: Child,
    old: SocketAddr,
    new: SocketAddr,
}

impl Hosted {
    fn start(program: &str, backend: BackendKind) -> Hosted {
        let mut child = Command::new(program)
            .env("SHARDWISE_BACKEND", backend.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program that was built");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut address = |start: &str| -> SocketAddr {
            let line = lines.next().expect("it says where it listens").expect("text");
            line.strip_prefix(start).and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        let (old, new) = (address("old "), address("listening http://"));
        Hosted { child, old, new }
    }

    /// Ends standard input; the program ends in order.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + WAIT_MAX;
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.child.kill().expect("a child");
                    panic!("it does not end");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        assert!(status.success(), "{status}");
        assert!(TcpStream::connect(self.old).is_err() && TcpStream::connect(self.new).is_err(), "the ports are closed");
    }

    fn proc(&self, what: &str) -> PathBuf {
        format!("/proc/{}/{what}", self.child.id()).into()
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("it runs").count()
    }

    /// Time on a CPU of all its threads, as the scheduler counts it.
    fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(self.proc("task")).expect("it runs");
        let time = |task: std::io::Result<std::fs::DirEntry>| -> u64 {
            let text = std::fs::read_to_string(task.expect("a thread").path().join("schedstat")).expect("its time");
            text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
        };
        Duration::from_nanos(tasks.map(time).sum())
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a time");
    stream
}

/// Asks the old service over one connection.
fn ask_old(stream: &mut BufReader<TcpStream>, line: &str) -> String {
    stream.get_mut().write_all(format!("{line}\n").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_line(&mut answer).expect("it answers");
    answer.trim_end().to_owned()
}

/// Asks the app over one connection.
fn ask_new(stream: &mut BufReader<TcpStream>, path: &str) -> String {
    stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("it reads");
    let mut length = 0;
    for line in stream.by_ref().lines() {
        let line = line.expect("it answers").to_ascii_lowercase();
        match line.strip_prefix("content-length: ") {
            Some(count) => length = count.parse().expect("a number"),
            None if line.is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("it answers");
    String::from_utf8(body).expect("text")
}

fn check(program: &str, backend: BackendKind) {
    println!("{program} on {backend}");
    let hosted = Hosted::start(program, backend);
    talk(&hosted, 0);
    is_idle(&hosted);
    // The first round has opened what the two keep for themselves.
    let before = hosted.descriptors();
    load(&hosted);
    settles(&hosted, before);
    is_idle(&hosted);
    hosted.end();
}

/// Both answer, and each asks the other.
fn talk(hosted: &Hosted, number: usize) {
    let mut old = BufReader::new(connect(hosted.old));
    let mut new = BufReader::new(connect(hosted.new));
    assert_eq!(ask_old(&mut old, &format!("{number}")), format!("the old service says {number}"));
    assert_eq!(ask_new(&mut new, &format!("/new/{number}")), format!("the app says {number}"));
    assert_eq!(ask_old(&mut old, &format!("guest {number}")), format!("the guest says {number}"));
    assert_eq!(ask_new(&mut new, &format!("/old/{number}")), format!("the old service says {number}"));
}

/// As many clients at once as there are, each over connections of its own, some of which end without a word.
fn load(hosted: &Hosted) {
    let (old, new) = (hosted.old, hosted.new);
    let client = |number: usize| {
        move || {
            let mut old = BufReader::new(connect(old));
            let mut new = BufReader::new(connect(new));
            for request in 0..REQUESTS {
                let text = format!("{number}-{request}");
                // Both are asked before either is waited for.
                old.get_mut().write_all(format!("guest {text}\n").as_bytes()).expect("it reads");
                assert_eq!(ask_new(&mut new, &format!("/old/{text}")), format!("the old service says {text}"));
                let mut answer = String::new();
                old.read_line(&mut answer).expect("it answers");
                assert_eq!(answer, format!("the guest says {text}\n"));
            }
            if number.is_multiple_of(4) {
                // Gone before the answer.
                let _ = old.get_mut().write_all(b"guest never mind\n");
                let _ = new.get_mut().write_all(b"GET /old/never HTTP/1.1\r\nHost: x\r\n\r\n");
            }
        }
    };
    let clients: Vec<_> = (0..CONCURRENT / 2).map(|number| std::thread::spawn(client(number))).collect();
    clients.into_iter().for_each(|client| client.join().expect("each client is answered"));
}

/// What clients had opened is closed.
fn settles(hosted: &Hosted, descriptors: usize) {
    let deadline = Instant::now() + WAIT_MAX;
    while hosted.descriptors() > descriptors {
        assert!(Instant::now() < deadline, "{} descriptors, {descriptors} before", hosted.descriptors());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Less than one hundredth of a CPU, over a second. A timer of a connection that has just ended may still come.
fn is_idle(hosted: &Hosted) {
    let mut used = Duration::MAX;
    for _ in 0..3 {
        let before = hosted.cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        used = hosted.cpu_time() - before;
        if used < Duration::from_millis(10) {
            return;
        }
    }
    panic!("{used:?} of a second's CPU time, and nobody asks");
}

/// Whether this host, or the policy that it is under, has no io_uring.
fn uring_is_forbidden() -> bool {
    let ring = Runtime::builder().backend(Choice::Force(BackendKind::Uring)).guest();
    ring.is_err_and(|error| {
        println!("{error}");
        !error.to_string().contains("lockable memory")
    })
}

#[test]
fn in_tokio() {
    let program = env!("CARGO_BIN_EXE_in-tokio");
    if !uring_is_forbidden() {
        check(program, BackendKind::Uring);
    }
    check(program, BackendKind::Epoll);
}

#[test]
fn in_glommio() {
    let program = env!("CARGO_BIN_EXE_in-glommio");
    if uring_is_forbidden() {
        // There is no glommio without io_uring. Depending on what is missing it gives an error or panics; both name it.
        let output = Command::new(program).stdin(Stdio::null()).output().expect("a program that was built");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("glommio"), "{text}");
        return;
    }
    check(program, BackendKind::Uring);
    check(program, BackendKind::Epoll);
}
