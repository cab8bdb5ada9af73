//! Servers of HTTP/3 that do what they should not, or leave: the client says so and goes, and what was not looked at is asked
//! again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use platform::sim::Plan;
use proto::h3::Code;
use shards::{Shard, Simulation};
use shardwise_net::client::{self, Error, Step};
use shardwise_net::quic::{Closed, Config, Connection, Dir, Endpoint, Event, Read, StreamId};
use shardwise_net::{Client, NetStats};

use crate::every::every;
use crate::kit::{ADDRESS, Identity, Setup, World, nothing_is_left};

/// A head of 200.
const OK: &[u8] = &[1, 3, 0, 0, 0xd9];
/// Settings of nothing, behind the type of the control stream.
const SETTINGS: &[u8] = &[0, 4, 0];

/// What a server does when a request has come whole: with the connection, its control stream, and the request's.
type Script = Rc<dyn Fn(&mut Connection, StreamId, StreamId)>;

/// Plays a script, which is told the number of each request, and gives what the client gives, how many connections it has made and
/// how they were closed.
#[track_caller]
fn play<T: 'static>(
    script: impl Fn(&mut Connection, StreamId, StreamId, usize) + 'static,
    ask: impl AsyncFnOnce(&Client, &Shard) -> T + 'static,
) -> (T, usize, Vec<Closed>) {
    let identity = Identity::new();
    let (connections, closed) = (Rc::new(Cell::new(0)), Rc::<RefCell<Vec<Closed>>>::default());
    let mut simulation = Simulation::with_plan(1, Plan::CALM, platform::Config::default());
    let (served, count, ends) = (Rc::clone(&identity), Rc::clone(&connections), Rc::clone(&closed));
    let requests = Cell::new(0);
    let script: Script = Rc::new(move |connection: &mut Connection, control, id| {
        requests.set(requests.get() + 1);
        script(connection, control, id, requests.get());
    });
    simulation.start(1, async move |shard: Shard| {
        let tls = Arc::new(served.server(&shard, &["h3"]));
        let stats = Arc::<NetStats>::default();
        let endpoint = Endpoint::bind(&shard, ADDRESS.parse().expect("an address"), Config::default(), stats);
        let (tasks, script, count, ends) = (shard.clone(), Rc::clone(&script), Rc::clone(&count), Rc::clone(&ends));
        let begin = move |connection: Connection| {
            count.set(count.get() + 1);
            let (script, ends) = (Rc::clone(&script), Rc::clone(&ends));
            tasks.spawn(serve(connection, script, ends)).expect("room for a task").detach();
        };
        let serving = endpoint.map_err(|error| error.to_string())?;
        serving.serve(move || Arc::clone(&tls), begin).await.map_err(|error| error.to_string())
    });
    let given = simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(10)).await;
        let setup = Setup { identity, ..Setup::new() };
        let tls = Some(Arc::new(setup.identity.client(&shard)));
        let client = Client::with(&shard, client::Config { http3: true, tls, ..setup.client });
        let given = ask(&client, &shard).await;
        drop(client);
        shard.sleep(Duration::from_secs(10)).await;
        nothing_is_left(&shard, (1, 1)).await.expect("nothing is left of the client");
        given
    });
    let closed = closed.borrow().clone();
    (given, connections.get(), closed)
}

async fn serve(mut connection: Connection, script: Script, ends: Rc<RefCell<Vec<Closed>>>) {
    let (mut control, mut open) = (None, BTreeMap::new());
    poll_fn(|cx| {
        while let Poll::Ready(event) = connection.poll(cx) {
            match event {
                Event::Connected => {
                    let id = connection.open(Dir::Uni).expect("a stream");
                    connection.write(id, SETTINGS).expect("it is taken");
                    control = Some(id);
                }
                Event::Opened(id) | Event::Readable(id) if id.dir() == Dir::Bi => {
                    open.insert(id, ());
                }
                Event::Closed(why) => {
                    ends.borrow_mut().push(why);
                    return Poll::Ready(());
                }
                _ => {}
            }
        }
        let Some(control) = control else {
            connection.flush(cx);
            return Poll::Pending;
        };
        for id in open.keys().copied().collect::<Vec<_>>() {
            loop {
                match connection.read(id, usize::MAX) {
                    Read::Chunk(_, shardwise_net::quic::Behind::End) | Read::End => {
                        open.remove(&id);
                        script(&mut connection, control, id);
                        break;
                    }
                    Read::Chunk(..) => {}
                    Read::Pending => break,
                    Read::Closed | Read::Reset(_) => {
                        open.remove(&id);
                        break;
                    }
                }
            }
        }
        if connection.is_closed() {
            return Poll::Ready(());
        }
        connection.flush(cx);
        Poll::Pending
    })
    .await;
    poll_fn(|cx| connection.poll_drained(cx)).await;
}

fn answer(connection: &mut Connection, id: StreamId, text: &str) {
    connection.write(id, OK).expect("it is taken");
    connection.write(id, &[0, text.len() as u8]).expect("it is taken");
    connection.write(id, text.as_bytes()).expect("it is taken");
    connection.finish(id).expect("it is open");
}

async fn text(client: &Client) -> Result<String, Error> {
    client.get(World::url("/")).send().await?.text().await
}

#[test]
fn what_was_not_looked_at_is_asked_once_more() {
    let script = |connection: &mut Connection, _, id, number| match number % 2 {
        1 => {
            connection.reset(id, Code::REQUEST_REJECTED.0);
        }
        _ => answer(connection, id, "at the second"),
    };
    let ask = async |client: &Client, _: &Shard| text(client).await.expect("text");
    let (given, connections, _) = play(script, ask);
    assert_eq!((given.as_str(), connections), ("at the second", 1));
    let script = |connection: &mut Connection, _, id, _| connection.reset(id, Code::REQUEST_REJECTED.0);
    let (given, ..) = play(script, async |client: &Client, _: &Shard| text(client).await.expect_err("no answer"));
    assert!(matches!(given, Error::Unprocessed) && given.can_retry(), "{given}");
}

#[test]
fn a_server_that_leaves_is_asked_again_for_what_it_has_not_looked_at() {
    // It takes the first, and says so when the second is on its way.
    let script = |connection: &mut Connection, control, id: StreamId, number| match number {
        1 => {
            connection.write(control, &[7, 1, 4]).expect("it is taken");
            answer(connection, id, "one");
        }
        2 => {}
        _ => answer(connection, id, "again"),
    };
    let ask = async |client: &Client, _: &Shard| {
        every([(); 2].map(|()| text(client))).await.into_iter().map(|text| text.expect("text")).collect::<Vec<_>>()
    };
    let (given, connections, closed) = play(script, ask);
    assert_eq!((given, connections), (vec!["one".to_owned(), "again".to_owned()], 2));
    for why in closed {
        assert!(matches!(why, Closed::ByPeer(code, _) if code == Code::NO_ERROR.0), "{why:?}");
    }
}

#[test]
fn a_reset_says_why_and_what_is_cut_is_an_error() {
    let script = |connection: &mut Connection, _, id, number| match number {
        1 => connection.reset(id, Code::INTERNAL_ERROR.0),
        2 => {
            connection.write(id, OK).expect("it is taken");
            connection.write(id, b"\x00\x05begun").expect("it is taken");
            connection.finish(id).expect("it is open");
            connection.reset(id, Code::VERSION_FALLBACK.0);
        }
        _ => {
            connection.write(id, OK).expect("it is taken");
            connection.write(id, b"\x00\x05begun").expect("it is taken");
            connection.close(Code::NO_ERROR.0, b"");
        }
    };
    let ask = async |client: &Client, _: &Shard| {
        let mut errors = Vec::new();
        for _ in 0..3 {
            errors.push(text(client).await.expect_err("an error"));
        }
        errors
    };
    let (given, ..) = play(script, ask);
    assert!(matches!(given[0], Error::Reset(client::Code::Http3(Code::INTERNAL_ERROR))), "{}", given[0]);
    assert!(matches!(given[1], Error::Reset(client::Code::Http3(Code::VERSION_FALLBACK))), "{}", given[1]);
    assert!(matches!(given[2], Error::Truncated | Error::Closed), "{}", given[2]);
}

/// What a server says on a request's stream, and by what code the connection ends.
#[track_caller]
fn check_broken(says: &'static [u8], expect: Code) {
    let script = move |connection: &mut Connection, _, id, _| {
        connection.write(id, says).expect("it is taken");
        connection.finish(id).expect("it is open");
    };
    let ask = async |client: &Client, _: &Shard| text(client).await.expect_err("an error");
    let (given, _, closed) = play(script, ask);
    assert!(matches!(given, Error::Broken { code: client::Code::Http3(code), .. } if code == expect), "{given}");
    assert!(matches!(closed[..], [Closed::ByPeer(code, _)] if code == expect.0), "{closed:?}");
}

#[test]
fn who_breaks_the_rules_is_told_so() {
    check_broken(b"\x00\x05begun", Code::FRAME_UNEXPECTED);
    check_broken(&[4, 0], Code::FRAME_UNEXPECTED);
    check_broken(&[1, 3, 0, 0], Code::FRAME_ERROR);
    check_broken(&[1, 3, 0, 0, 0xff], Code::QPACK_DECOMPRESSION_FAILED);
}

/// What a server says on a request's stream, and by what code that stream ends, alone.
#[track_caller]
fn check_malformed(says: &'static [u8]) {
    let script = move |connection: &mut Connection, _, id, number| match number {
        1 => {
            connection.write(id, says).expect("it is taken");
            connection.finish(id).expect("it is open");
        }
        _ => answer(connection, id, "well"),
    };
    let ask =
        async |client: &Client, _: &Shard| (text(client).await.expect_err("no"), text(client).await.expect("text"));
    let ((error, second), connections, _) = play(script, ask);
    assert!(matches!(error, Error::Reset(client::Code::Http3(Code::MESSAGE_ERROR))), "{error}");
    assert_eq!((second.as_str(), connections), ("well", 1));
}

#[test]
fn a_malformed_answer_ends_its_stream_alone() {
    // No status; a length that is not kept to.
    check_malformed(&[1, 2, 0, 0]);
    check_malformed(&[1, 6, 0, 0, 0xd9, 0x54, 1, b'9', 0, 1, b'x']);
}

#[test]
fn a_silent_server_is_given_up() {
    let ask = async |client: &Client, shard: &Shard| {
        let begun = shard.clock();
        let error = text(client).await.expect_err("no answer");
        (error, shard.clock() - begun)
    };
    let ((error, time), ..) = play(|_, _, _, _| (), ask);
    assert!(matches!(error, Error::TimedOut(Step::Head)), "{error}");
    assert!((30..32).contains(&time.as_secs()), "{time:?}");
}
