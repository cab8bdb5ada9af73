//! Files: what opens, what they hold, and operations on the wrong kind of handle.

use super::*;

impl Fixture {
    fn open(&mut self, path: &str, mode: &str) -> Result<Handle> {
        let has = |letter| mode.contains(letter);
        let (read, write, create, truncate) = (has('r'), has('w'), has('c'), has('t'));
        let file = Box::new(OpenFile { path: path.into(), beneath: None, read, write, create, truncate });
        match self.run(CLIENT, Op::Open { file })? {
            Outcome::Opened(handle) => Ok(handle),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, file: Handle, offset: u64) -> Result<Vec<u8>> {
        let into = self.shards[CLIENT].pool().lease(256).unwrap();
        match self.run(CLIENT, Op::Read { file, offset, into })? {
            Outcome::Read { bytes, chunk } => Ok(chunk[..bytes].to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, file: Handle, offset: u64, data: &str) -> Result<usize> {
        match self.run(CLIENT, Op::Write { file, offset, data: data.to_owned().into() })? {
            Outcome::Sent { bytes, data: whole } if whole.len() == data.len() => Ok(bytes),
            other => panic!("{other:?}"),
        }
    }

    fn stat(&mut self, file: Handle) -> Stat {
        match self.run(CLIENT, Op::Stat { file }) {
            Ok(Outcome::Stat(stat)) => stat,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn files_open_as_asked_or_say_why_not() {
    let table = [
        ("/data/a", "r", None),
        ("/data/../data/./a", "rw", None),
        ("data/a", "r", None),
        ("/data", "r", None),
        ("/data/new", "wc", None),
        ("/data/new", "r", Some(Error::NotFound)),
        ("/nowhere/new", "wc", Some(Error::NotFound)),
        ("/data/a/b", "wc", Some(error_of(code::ENOTDIR))),
        ("/data", "w", Some(error_of(code::EISDIR))),
        ("/data/\0", "wc", Some(Error::Invalid)),
    ];
    for (path, mode, error) in table {
        let mut fixture = Fixture::new(23, Plan::CALM);
        fixture.machine.write_file("/data/a", "old");
        let opened = fixture.open(path, mode);
        assert_eq!(opened.err(), error, "{path} {mode}");
        fixture.finish(&opened.map(|handle| (CLIENT, handle)).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn files_hold_what_was_written() {
    let mut fixture = Fixture::new(24, Plan::CALM);
    fixture.machine.write_file("/a", "0123456789");
    let file = fixture.open("/a", "rw").unwrap();
    let before = fixture.stat(file);
    assert!(before.bytes == 10 && before.is_file && !before.is_directory);
    assert_eq!(fixture.read(file, 7).unwrap(), b"789");
    assert_eq!(fixture.read(file, 10).unwrap(), b"");
    assert_eq!(fixture.read(file, u64::MAX).unwrap(), b"");
    assert_eq!(fixture.write(file, 12, "ab"), Ok(2));
    assert_eq!(fixture.write(file, u64::MAX, "ab"), Err(Error::NoSpace));
    assert!(matches!(fixture.run(CLIENT, Op::Sync { file }), Ok(Outcome::Synced)));
    assert_eq!(fixture.machine.read_file("/a").unwrap(), b"0123456789\0\0ab");
    let after = fixture.stat(file);
    assert!(after.bytes == 14 && after.modified > before.modified);

    let emptied = fixture.open("/a", "wt").unwrap();
    assert_eq!(fixture.read(emptied, 0), Err(Error::Denied), "not open for reading");
    let read_only = fixture.open("/a", "r").unwrap();
    assert_eq!(fixture.write(read_only, 0, "x"), Err(Error::Denied), "not open for writing");
    assert_eq!(fixture.read(read_only, 0).unwrap(), b"");
    let directory = fixture.open("/tmp", "r").unwrap();
    assert!(fixture.stat(directory).is_directory);
    assert_eq!(fixture.read(directory, 0), Err(error_of(code::EISDIR)));
    fixture.finish(&[file, emptied, read_only, directory].map(|handle| (CLIENT, handle)));
}

#[test]
fn short_reads_and_writes_lose_nothing() {
    for seed in 0..20 {
        let mut fixture = Fixture::new(seed, Plan::CHOPPY);
        let file = fixture.open("/tmp/a", "rwc").unwrap();
        let text = "the quick brown fox jumps over the lazy dog".repeat(5);
        let mut written = 0;
        while written < text.len() {
            written += fixture.write(file, written as u64, &text[written..]).unwrap();
        }
        let mut read = Vec::new();
        loop {
            let part = fixture.read(file, read.len() as u64).unwrap();
            if part.is_empty() {
                break;
            }
            read.extend_from_slice(&part);
        }
        assert_eq!(read, text.as_bytes(), "seed {seed}");
        fixture.finish(&[(CLIENT, file)]);
    }
}

#[test]
fn operations_on_the_wrong_kind_of_handle_say_so() {
    let mut fixture = Fixture::new(25, Plan::CALM);
    let (client, server) = fixture.pair();
    let (listener, peer) = fixture.listen("127.0.0.1:0", 4);
    let fresh = fixture.shards[CLIENT].stream_socket(peer).unwrap();
    let file = fixture.open("/tmp/a", "wc").unwrap();
    let not_socket = error_of(code::ENOTSOCK);
    let send = |socket| Op::Send { socket, data: "x".into(), zero_copy: false };
    let table = [
        (CLIENT, Op::Accept { listener: client }, Error::Invalid),
        (CLIENT, Op::Receive { socket: fresh, group: Group::Heads }, Error::NotConnected),
        (CLIENT, send(fresh), Error::BrokenPipe),
        (SERVER, Op::Receive { socket: listener, group: Group::Heads }, Error::NotConnected),
        (SERVER, send(listener), Error::BrokenPipe),
        (SERVER, Op::ReceiveMessage { socket: listener, group: Group::Heads }, Error::NotConnected),
        (CLIENT, Op::Receive { socket: file, group: Group::Heads }, not_socket),
        (CLIENT, Op::Accept { listener: file }, not_socket),
        (CLIENT, Op::Connect { socket: file, peer }, not_socket),
        (CLIENT, send(file), not_socket),
        (CLIENT, Op::Sync { file: client }, Error::Invalid),
        (CLIENT, Op::Write { file: client, offset: 0, data: "x".into() }, error_of(code::ESPIPE)),
    ];
    for (shard, op, error) in table {
        let name = format!("{op:?}");
        let result = fixture.run(shard, op);
        assert!(matches!(result, Err(told) if told == error), "{name}: {result:?}");
    }
    assert_eq!(fixture.shards[CLIENT].shutdown(fresh, Shutdown::Both), Err(Error::NotConnected));
    assert_eq!(fixture.shards[CLIENT].peer_address(file), Err(not_socket));
    fixture.finish(&[(CLIENT, client), (SERVER, server), (SERVER, listener), (CLIENT, fresh), (CLIENT, file)]);
}

/// What fails has had no effect, and what is short has had as much as it says.
#[test]
fn a_failing_disk_fails_whole_operations() {
    let mut failures = [0; 3];
    for seed in 0..20 {
        let plan = Plan { full_disk: 0.2, disk_errors: 0.2, partial_sends: 0.3, ..Plan::CALM };
        let mut fixture = Fixture::new(seed, plan);
        fixture.machine.write_file("/a", "");
        let file = fixture.open("/a", "rw").unwrap();
        let text = "the quick brown fox jumps over the lazy dog".repeat(5);
        let mut written = 0;
        while written < text.len() {
            match fixture.write(file, written as u64, &text[written..]) {
                Ok(bytes) => written += bytes,
                Err(Error::NoSpace) => failures[0] += 1,
                Err(error) if error == error_of(code::EIO) => failures[1] += 1,
                Err(error) => panic!("{error}"),
            }
            assert_eq!(fixture.machine.read_file("/a").unwrap(), text.as_bytes()[..written], "seed {seed}");
        }
        while let Err(error) = fixture.read(file, 0) {
            assert_eq!(error, error_of(code::EIO));
            failures[2] += 1;
        }
        assert_eq!(fixture.read(file, text.len() as u64).unwrap_or_default(), b"");
        fixture.finish(&[(CLIENT, file)]);
    }
    assert!(failures.iter().all(|&count| count > 3), "{failures:?}");
}

#[test]
fn a_slow_disk_takes_longer_and_lets_others_overtake() {
    let mut fixture = Fixture::new(26, Plan { slow_disk: 0.5, ..Plan::CALM });
    fixture.machine.write_file("/a", "0123456789");
    let file = fixture.open("/a", "r").unwrap();
    let begin = fixture.machine.elapsed();
    let reads: Vec<_> = (0..10)
        .map(|offset| {
            let into = fixture.shards[CLIENT].pool().lease(1).unwrap();
            fixture.start(CLIENT, Op::Read { file, offset, into })
        })
        .collect();
    let mut order = Vec::new();
    while order.len() < reads.len() {
        for (index, token) in reads.iter().enumerate() {
            if let Some(Completion { result: Ok(Outcome::Read { .. }), .. }) = fixture.shards[CLIENT].take(token, 1) {
                order.push(index);
            }
        }
        assert!(fixture.step() || order.len() == reads.len());
    }
    assert!(!order.is_sorted(), "{order:?}");
    assert!(fixture.machine.elapsed() - begin > Duration::from_millis(10));
    drop(reads);
    fixture.finish(&[(CLIENT, file)]);
}

#[test]
fn a_path_beneath_a_directory_does_not_leave_it() {
    let mut fixture = Fixture::new(1, Plan::CALM);
    fixture.machine.write_file("/www/a/file", "inside");
    fixture.machine.write_file("/secret", "secret");
    let root = fixture.open("/www", "r").unwrap();
    let mut open = |path: &str| {
        let (path, beneath) = (path.into(), Some(root));
        let file = Box::new(OpenFile { path, beneath, read: true, write: false, create: false, truncate: false });
        match fixture.run(CLIENT, Op::Open { file })? {
            Outcome::Opened(handle) => Ok(fixture.read(handle, 0).unwrap_or(b"a directory".to_vec())),
            other => panic!("{other:?}"),
        }
    };
    for path in ["a/file", "a/../a/file", "./a//file"] {
        assert_eq!(open(path), Ok(b"inside".to_vec()), "{path}");
    }
    assert_eq!(open("a"), Ok(b"a directory".to_vec()));
    for path in ["..", "../secret", "a/../../secret", "/secret", "../www/a/file"] {
        assert_eq!(open(path), Err(Error::Denied), "{path}");
    }
    for path in ["", "none", "a/file/more"] {
        assert_eq!(open(path), Err(Error::NotFound), "{path}");
    }
}
