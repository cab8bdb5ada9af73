//! WebSockets on a simulated machine: what a client gets for what it sends, however it is cut; who is told what when one
//! side closes, breaks the protocol, falls silent, reads nothing or goes; and that nothing stays behind.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use shardwise::prelude::*;
use shardwise::test::{self, Client, Connection, Plan};
use shardwise::ws::{CloseCode, Compression, Limits, Message, WebSocket, WebSocketUpgrade};

type Log = Rc<RefCell<Vec<String>>>;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn app(log: &Log) -> App {
    App::new()
        .state(log.clone())
        .get("/echo", |State(log): State<Log>, upgrade: WebSocketUpgrade| {
            upgrade.protocols(["second", "first"]).on_upgrade(async move |mut socket| echo(&mut socket, &log).await)
        })
        .get("/deflate", |State(log): State<Log>, upgrade: WebSocketUpgrade| {
            let upgrade = upgrade.compression(Compression::default());
            upgrade.on_upgrade(async move |mut socket| echo(&mut socket, &log).await)
        })
        .get("/small", |State(log): State<Log>, upgrade: WebSocketUpgrade| {
            let limits = Limits { message_bytes_max: 10, ..Limits::default() };
            upgrade.limits(limits).on_upgrade(async move |mut socket| echo(&mut socket, &log).await)
        })
        .get("/once", |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket| socket.send("once").await.unwrap())
        })
        .get("/panics", |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| panic!("a WebSocket's")))
        .get("/closes", |State(log): State<Log>, upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut socket| {
                let code = CloseCode::new(4000).unwrap();
                socket.send("last").await.unwrap();
                socket.close(code, &"ä".repeat(100)).await;
                assert!(socket.send("more").await.is_err());
                assert!(socket.recv().await.is_none());
                log.borrow_mut().push(format!("{:?}", socket.peer_close().map(|close| close.code)));
            })
        })
        .get("/floods", |State(log): State<Log>, upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut socket| {
                let mut count = 0;
                while socket.send(vec![7; 32 * 1024]).await.is_ok() {
                    count += 1;
                }
                log.borrow_mut().push(format!("{}", count < 200));
                let end = socket.recv().await.map(|end| end.unwrap_err());
                log.borrow_mut().push(format!("{end:?}"));
            })
        })
        .get("/sleeps", |shard: Shard, State(log): State<Log>, upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut socket| {
                shard.sleep(seconds(100)).await;
                let mut count = 0;
                while let Some(Ok(_)) = socket.recv().await {
                    count += 1;
                }
                log.borrow_mut().push(count.to_string());
            })
        })
        .get("/halves", |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |socket: WebSocket| {
                let (mut sender, mut receiver) = socket.split();
                let shard = Shard::current().unwrap();
                let (to, mut from) = shardwise::sync::mpsc::channel::<Message>(1);
                let scope = shard.current_scope().unwrap();
                let sends = scope.spawn(async move {
                    while let Some(message) = from.recv().await {
                        sender.send(message).await.unwrap();
                    }
                });
                while let Some(Ok(message)) = receiver.recv().await {
                    to.send(message).await.unwrap();
                }
                drop(to);
                sends.unwrap().await.unwrap().unwrap();
            })
        })
        .get("/ticks", |shard: Shard, upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut socket| {
                // A message is never lost with the future that waited for it.
                loop {
                    match shard.timeout(Duration::from_micros(300), socket.recv()).await {
                        Ok(Some(Ok(message))) => socket.send(message).await.unwrap(),
                        Ok(_) => break,
                        Err(_) => {}
                    }
                }
            })
        })
}

async fn echo(socket: &mut WebSocket, log: &Log) {
    let scope = Shard::current().unwrap().current_scope().unwrap();
    let end = loop {
        match socket.recv().await {
            Some(Ok(message)) => match socket.send(message).await {
                Ok(()) => {}
                Err(closed) => break closed.to_string(),
            },
            Some(Err(error)) => break error.to_string(),
            None => {
                break format!("{:?}", socket.peer_close().map(|close| (close.code.map(CloseCode::get), close.reason)));
            }
        }
    };
    log.borrow_mut().push(end);
    log.borrow_mut().extend(scope.reason().map(|reason| reason.to_string()));
}

fn start(seed: u64, plan: Plan, log: &Log) -> test::Server {
    let log = log.clone();
    test::builder().seed(seed).plan(plan).start(move |_| app(&log))
}

// ---- a client that knows the frames and nothing else -----------------------------------------------------------------

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// The message ends with this frame.
const FIN: u8 = 0x80;

fn opening(path: &str, more: &str) -> Vec<u8> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    head.into_bytes()
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        count @ 0..126 => frame.push(0x80 | count as u8),
        count @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((count as u16).to_be_bytes());
        }
        count => {
            frame.push(0x80 | 127);
            frame.extend((count as u64).to_be_bytes());
        }
    }
    let key = [0x5a, 0x01, 0xc3, 0x77];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A server's frames, whole: first byte and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (count, rest) = match second {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            count => (*count as usize, rest),
        };
        frames.push((*first, rest[..count].to_vec()));
        bytes = &rest[count..];
    }
    assert!(bytes.is_empty(), "whole frames only");
    frames
}

/// All that comes until the connection's end, after a head that is right.
async fn rest(connection: &mut Connection) -> Vec<(u8, Vec<u8>)> {
    let mut said = Vec::new();
    while let Some(bytes) = connection.receive().await.unwrap() {
        said.extend(bytes);
    }
    let end = said.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
    let head = String::from_utf8(said[..end].to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    frames(&said[end..])
}

/// A first byte and a payload.
type Told = (u8, Vec<u8>);

/// The frames of a session, those that a pong may overtake in one list and pongs in the other.
fn session(server: &test::Server, pieces: Vec<Vec<u8>>) -> (Vec<Told>, Vec<Told>) {
    let frames = server.run(async move |client| {
        let mut connection = client.open().await;
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            connection.send(piece).await.unwrap();
            client.sleep(Duration::from_millis(1)).await;
        }
        rest(&mut connection).await
    });
    frames.into_iter().partition(|(first, _)| *first != FIN | PONG)
}

/// A session of everything, and the frames that are not pongs that it is answered with.
fn everything(path: &str) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    let session = [
        opening(path, ""),
        frame(FIN | TEXT, "Grüße".as_bytes()),
        frame(BINARY, b"in "),
        frame(FIN | PING, b"there?"),
        frame(0, b""),
        frame(FIN, b"parts"),
        frame(FIN | PONG, b"unasked"),
        frame(FIN | TEXT, b""),
        close(1000, "bye"),
        b"nothing is read any more".to_vec(),
    ];
    let answers: [(u8, &[u8]); 4] = [
        (FIN | TEXT, "Grüße".as_bytes()),
        (FIN | BINARY, b"in parts"),
        (FIN | TEXT, b""),
        (FIN | CLOSE, &1000u16.to_be_bytes()),
    ];
    (session.concat(), answers.map(|(first, payload)| (first, payload.to_vec())).to_vec())
}

#[test]
fn a_session_is_the_same_however_it_is_cut() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    let (bytes, answers) = everything("/echo");
    for cut in 0..bytes.len() {
        let (told, pongs) = session(&server, vec![bytes[..cut].to_vec(), bytes[cut..].to_vec()]);
        // The last bytes are behind the close, and may find the connection ended.
        assert_eq!(told, answers, "cut at {cut}");
        // RFC 6455 section 5.5.3: a close that comes with the ping leaves it unanswered.
        assert!(pongs.iter().all(|pong| pong.1 == b"there?") && pongs.len() <= 1, "cut at {cut}");
    }
    assert_eq!(log.borrow().len(), bytes.len());
    assert!(log.borrow().iter().all(|end| end == r#"Some((Some(1000), "bye"))"#), "{:?}", log.borrow());
}

#[test]
fn whatever_the_network_does_every_message_comes_back() {
    for seed in test::seeds(30) {
        for path in ["/echo", "/halves", "/ticks"] {
            let server = start(seed, Plan::CHOPPY, &Log::default());
            let (bytes, answers) = everything(path);
            assert_eq!(session(&server, vec![bytes]).0, answers, "{path}, seed {seed}");
            let sizes = [0, 1, 125, 126, 1023, 1024, 1025, 4096, 65_535, 65_536, 300_000];
            let message = |count: usize| (0..count).map(|at| (at * 31 % 251) as u8).collect::<Vec<u8>>();
            let mut sent = vec![opening(path, "")];
            sent.extend(sizes.map(|count| frame(FIN | BINARY, &message(count))));
            sent.push(close(1000, ""));
            let mut expect: Vec<_> = sizes.iter().map(|count| (FIN | BINARY, message(*count))).collect();
            expect.push((FIN | CLOSE, vec![3, 0xe8]));
            assert!(session(&server, vec![sent.concat()]).0 == expect, "{path}, seed {seed}");
        }
    }
}

#[test]
fn requests_that_open_nothing_are_refused() {
    let server = start(1, Plan::CALM, &Log::default());
    let request = |name: &str, value: &str| {
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut head = "GET /echo HTTP/1.1\r\nHost: here\r\n".to_owned();
        for (known, usual) in fields {
            let value = if known == name { value } else { usual };
            if !value.is_empty() {
                head += &format!("{known}: {value}\r\n");
            }
        }
        head + if name == "Body" { "Content-Length: 1\r\n\r\nx" } else { "\r\n" }
    };
    for (name, value, status) in [
        ("Upgrade", "", 426),
        ("Upgrade", "h2c", 426),
        ("Connection", "close", 400),
        ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Version", "", 400),
        ("Sec-WebSocket-Key", "", 400),
        ("Sec-WebSocket-Key", "short", 400),
        ("Body", "", 400),
    ] {
        let head = request(name, value);
        let answer = server.run(async move |client| {
            let mut connection = client.open().await;
            connection.send(head).await.unwrap();
            connection.response(&Method::GET).await.unwrap()
        });
        assert_eq!(answer.status(), status, "{name}: {value}");
        if status == 426 {
            assert_eq!((answer.header("upgrade"), answer.header("sec-websocket-version")), ("websocket", "13"));
        }
    }
    assert_eq!(server.post("/echo", "").status(), 405);
}

#[test]
fn a_subprotocol_is_chosen_and_compression_only_if_wished() {
    let server = start(1, Plan::CALM, &Log::default());
    for (path, offer, chosen, extensions) in [
        ("/echo", "first, second", Some("second"), None),
        ("/echo", "first", Some("first"), None),
        ("/echo", "third", None, None),
        ("/deflate", "first", None, Some("permessage-deflate")),
    ] {
        let more = format!("Sec-WebSocket-Protocol: {offer}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n");
        let head = opening(path, &more);
        let answer = server.run(async move |client| {
            let mut connection = client.open().await;
            connection.send(head).await.unwrap();
            let said = String::from_utf8(connection.receive().await.unwrap().unwrap()).unwrap();
            connection.reset();
            said
        });
        let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        assert_eq!(value("sec-websocket-protocol: ").as_deref(), chosen, "{answer}");
        let told = value("sec-websocket-extensions: ");
        assert_eq!(told.as_deref().map(|told| told.split(';').next().unwrap()), extensions, "{answer}");
    }
}

#[test]
fn who_breaks_the_protocol_is_told_and_so_is_the_code() {
    let close = |code: u16| code.to_be_bytes().to_vec();
    for (path, bytes, code, why) in [
        ("/echo", frame(FIN | TEXT, b"\xff"), 1007, "a text is not UTF-8"),
        ("/echo", b"\x81\x01a".to_vec(), 1002, "a frame of the client is not masked"),
        ("/echo", frame(FIN | 3, b""), 1002, "the opcode is reserved"),
        ("/echo", frame(FIN, b""), 1002, "a frame continues a message where there is none"),
        ("/echo", self::close(1005, ""), 1002, "a close has a code that must not be sent"),
        ("/small", frame(FIN | TEXT, b"hello world"), 1009, "a message is too long"),
    ] {
        let log = Log::default();
        let server = start(1, Plan::CALM, &log);
        let first = frame(FIN | TEXT, b"good");
        let told = session(&server, vec![opening(path, ""), first, bytes]).0;
        assert_eq!(told, [(FIN | TEXT, b"good".to_vec()), (FIN | CLOSE, close(code))], "{why}");
        assert_eq!(*log.borrow(), [why]);
    }
}

#[test]
fn the_codes_end_closes_and_so_does_its_panic() {
    let server = start(1, Plan::CALM, &Log::default());
    let answer = |code: u16| (FIN | CLOSE, code.to_be_bytes().to_vec());
    let told = session(&server, vec![opening("/once", ""), close(1000, "")]).0;
    assert_eq!(told, [(FIN | TEXT, b"once".to_vec()), answer(1000)]);
    assert_eq!(session(&server, vec![opening("/panics", ""), close(1000, "")]).0, [answer(1011)]);
}

#[test]
fn a_close_of_ours_waits_for_its_answer_but_not_for_ever() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    // Sixty times two bytes and three more would not fit.
    let ours = (FIN | CLOSE, [&4000u16.to_be_bytes()[..], "ä".repeat(61).as_bytes()].concat());
    let expect = [(FIN | TEXT, b"last".to_vec()), ours];
    assert_eq!(session(&server, vec![opening("/closes", ""), close(4000, "")]).0, expect);
    let (told, waited) = server.run(async |client| {
        let mut connection = client.open().await;
        let begin = client.now();
        connection.send(opening("/closes", "")).await.unwrap();
        (rest(&mut connection).await, client.now() - begin)
    });
    assert_eq!(told, expect);
    assert!(waited >= seconds(5) && waited < seconds(6), "{waited:?}");
    assert_eq!(*log.borrow(), ["Some(Some(CloseCode(4000)))", "None"]);
}

#[test]
fn a_silent_client_is_asked_for_a_sign_of_life() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    server.run(async |client| {
        let mut connection = opened(&client, "/echo").await;
        let begin = client.now();
        for _ in 0..3 {
            assert_eq!(connection.receive().await.unwrap().unwrap(), [FIN | PING, 0]);
            connection.send(frame(FIN | PONG, b"")).await.unwrap();
        }
        assert!(client.now() - begin >= seconds(90) && client.now() - begin < seconds(91));
        // This one is not answered.
        assert_eq!(connection.receive().await.unwrap().unwrap(), [FIN | PING, 0]);
        assert!(!matches!(connection.receive().await, Ok(Some(_))));
        assert!(client.now() - begin >= seconds(140) && client.now() - begin < seconds(141));
    });
    server.advance(seconds(5));
    let log = log.borrow();
    assert_eq!(log[0], "the peer does not answer");
    assert!(log[1].starts_with("client disconnected → tunnel 1"), "{log:?}");
}

/// A connection that has switched.
async fn opened(client: &Client, path: &str) -> Connection {
    let mut connection = client.open().await;
    connection.send(opening(path, "")).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(connection.receive().await.unwrap().expect("the answer comes"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    connection
}

#[test]
fn a_client_that_reads_nothing_holds_up_the_code_and_is_given_up() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    server.run(async |client| {
        let connection = opened(&client, "/floods").await;
        client.sleep(seconds(100)).await;
        drop(connection);
    });
    server.advance(seconds(5));
    assert_eq!(*log.borrow(), ["true", "Some(TimedOut)"]);
}

#[test]
fn a_code_that_asks_for_nothing_holds_up_its_client_and_gets_all_later() {
    let log = Log::default();
    let server = start(1, Plan::CALM, &log);
    server.run(async |client| {
        let mut connection = opened(&client, "/sleeps").await;
        let begin = client.now();
        for _ in 0..1000 {
            connection.send(frame(FIN | BINARY, &[1; 16 * 1024])).await.unwrap();
        }
        assert!(client.now() - begin >= seconds(90), "it was held up");
        connection.send(close(1000, "")).await.unwrap();
        assert_eq!(connection.receive().await.unwrap().unwrap(), [FIN | CLOSE, 2, 3, 0xe8]);
        assert_eq!(connection.receive().await.unwrap(), None);
    });
    assert_eq!(*log.borrow(), ["1000"]);
}

#[test]
fn the_drain_closes_with_1001_and_waits_for_the_answer() {
    for answers in [true, false] {
        let log = Log::default();
        let server = start(1, Plan::CALM, &log);
        let waited = server.run(async move |client| {
            let mut connection = opened(&client, "/echo").await;
            let begin = client.now();
            client.drain();
            assert_eq!(connection.receive().await.unwrap().unwrap(), [FIN | CLOSE, 2, 3, 0xe9]);
            if answers {
                client.sleep(seconds(2)).await;
                connection.send(close(1001, "")).await.unwrap();
            }
            assert_eq!(connection.receive().await.unwrap(), None);
            client.now() - begin
        });
        let time = seconds(if answers { 2 } else { 5 });
        assert!(waited >= time && waited < time + seconds(1), "{waited:?}");
    }
}

#[test]
fn a_client_may_go_at_any_point() {
    let (bytes, _) = everything("/echo");
    for seed in test::seeds(2) {
        let server = start(seed, Plan::CHOPPY, &Log::default());
        for (count, reset) in (0..=bytes.len()).flat_map(|count| [(count, false), (count, true)]) {
            let part = bytes[..count].to_vec();
            server.run(async move |client| {
                let mut connection = client.open().await;
                connection.send(part).await.unwrap();
                client.sleep(Duration::from_millis(count as u64 % 3)).await;
                match reset {
                    true => connection.reset(),
                    false => drop(connection),
                }
            });
            server.advance(seconds(20));
        }
        assert_eq!(server.get("/echo").status(), 426);
    }
}

/// A client that compresses, made of the protocol's engine: what it sends and gets, frame by frame.
fn deflated(server: &test::Server, path: &'static str, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    use proto::ws::{Agreed, Contexts, Engine, Event, Kind, Role, Terms};
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    server.run(async move |client| {
        let mut connection = client.open().await;
        connection.send(opening(path, offer)).await.unwrap();
        let mut input = Vec::new();
        while !input.ends_with(b"\r\n\r\n") {
            input.extend(connection.receive().await.unwrap().expect("the answer comes"));
        }
        input.clear();
        let terms = Terms { takeover: false, window_bits: 15 };
        let mut engine = Engine::new(Role::Client, Some(Agreed { sending: terms, receiving: terms }));
        let (mut contexts, limits, mut key) = (Contexts::new(), Limits::default(), [1u8, 2, 3, 4]);
        let (mut told, mut held) = (Vec::new(), Vec::new());
        for message in messages {
            let (mut at, mut room) = (0, vec![0; 64 * 1024]);
            loop {
                key[0] = key[0].wrapping_add(1);
                engine.set_key(key);
                let done = engine.compress(Kind::Binary, &message[at..], true, &mut contexts, &mut room).unwrap();
                connection.send(room[..done.written].to_vec()).await.unwrap();
                at += done.taken;
                if done.is_end {
                    break;
                }
            }
            'message: loop {
                let mut at = 0;
                loop {
                    let step = engine.receive(&mut input[at..], &mut contexts, &limits).unwrap();
                    if let Event::Data(piece) = &step.event {
                        held.extend_from_slice(engine.bytes(piece, &input[at..]));
                        if piece.is_final {
                            assert_eq!(at + step.consumed, input.len());
                            told.push(std::mem::take(&mut held));
                            break 'message;
                        }
                    }
                    at += step.consumed;
                    if step.event == Event::NeedMore {
                        break;
                    }
                }
                input = connection.receive().await.unwrap().expect("the echo comes");
            }
            input.clear();
        }
        connection.send(close(1000, "")).await.unwrap();
        told
    })
}

#[test]
fn what_is_compressed_comes_back_the_same() {
    for seed in test::seeds(5) {
        let server = start(seed, Plan::CHOPPY, &Log::default());
        let mut state = seed as u32 + 1;
        let noise = |count: usize| {
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            (0..count).map(next).collect::<Vec<u8>>()
        };
        let mut messages: Vec<_> = [0, 1, 127, 128, 5_000, 100_000].map(noise).into();
        messages.extend([127, 128, 20_000, 900_000].map(|count| b"all the same ".repeat(count / 13)));
        assert!(deflated(&server, "/deflate", messages.clone()) == messages, "seed {seed}");
    }
}
