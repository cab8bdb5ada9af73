//! The client against servers that follow a script: good ones, slow ones, and those that say what no server should. On a
//! simulated machine, under many seeds; after each, nothing is left behind. And over real sockets.

#![allow(clippy::disallowed_methods, reason = "a server outside of any shard: a real thread")]

#[allow(dead_code, reason = "each test program uses its part")]
mod beside;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use platform::sim::Plan;
use platform::{BackendKind, Buf, ListenOptions, SocketOption};
use shards::{Shard, Simulation};
use shardwise_net::client::{Config, Error, Resolver, Response, Step};
use shardwise_net::{BodyStream, Client, Content, DeadlineField, Fault, Headers, Listener, TcpStream, Upgraded};

use Do::{End, Hear, Reset, Say, Wait};
use beside::{is_here, runtime};

/// What a server does with a connection, one after the other. Then it closes it.
#[derive(Clone, Debug)]
enum Do {
    /// Reads until what has come since the last time ends so.
    Hear(&'static str),
    /// Sends.
    Say(String),
    /// Lets milliseconds pass.
    Wait(u64),
    /// Says no more, and reads on until the client ends.
    End,
    /// Resets the connection.
    Reset,
}

/// One script for each connection, in the order in which they come; no more are accepted.
type Script = Vec<Vec<Do>>;

/// What each connection has heard.
type Heard = Rc<RefCell<Vec<String>>>;

fn say(text: impl Into<String>) -> Do {
    Say(text.into())
}

/// Plays the script as long as the simulation runs.
async fn serve(shard: Shard, script: Script, heard: Heard) -> Result<(), String> {
    let sockets = shard.with_reactor(|reactor| reactor.listen(address(80), 1, &ListenOptions::default()));
    let mut listener = Listener::adopt(&shard, sockets.expect("the address is free").remove(0)).expect("room");
    for (number, steps) in script.into_iter().enumerate() {
        let stream = listener.accept().await.map_err(|error| error.to_string())?;
        heard.borrow_mut().push(String::new());
        let (here, heard) = (shard.clone(), heard.clone());
        shard.spawn(async move { play(here, stream, steps, number, heard).await }).expect("room for a task").detach();
    }
    drop(listener);
    Ok(())
}

async fn play(shard: Shard, mut stream: TcpStream, steps: Vec<Do>, number: usize, heard: Heard) {
    let mut from = 0;
    for step in steps {
        match step {
            Hear(end) => {
                while !heard.borrow()[number][from..].ends_with(end) {
                    let Ok(Some(chunk)) = stream.recv().await else { return };
                    heard.borrow_mut()[number].push_str(&String::from_utf8_lossy(&chunk));
                }
                from = heard.borrow()[number].len();
            }
            Say(text) => {
                if stream.send(text.into_bytes()).await.is_err() {
                    return;
                }
            }
            Wait(time) => shard.sleep(Duration::from_millis(time)).await,
            End => {
                let _ = stream.shutdown(std::net::Shutdown::Write);
                while let Ok(Some(_)) = stream.recv().await {}
            }
            Reset => drop(stream.set_option(SocketOption::Linger(Some(Duration::ZERO)))),
        }
    }
}

fn address(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

/// Runs a client against a script, and gives what it gives and what the server has heard. Nothing may be left of it.
#[track_caller]
fn play_with<T: 'static>(
    seed: u64,
    plan: Plan,
    config: Config,
    script: Script,
    ask: impl AsyncFnOnce(Client) -> T + 'static,
) -> (T, Vec<String>) {
    let heard = Heard::default();
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
    let (script, given) = (RefCell::new(Some(script)), heard.clone());
    simulation.start(1, async move |shard| {
        let script = script.take().expect("there is one shard");
        serve(shard, script, given.clone()).await
    });
    let given = simulation.run(async move |shard| {
        shard.sleep(Duration::from_millis(1)).await;
        let given = ask(Client::with(&shard, config)).await;
        // What was given up comes home in its time.
        shard.sleep(Duration::from_secs(10)).await;
        let (holdings, pool) = (shard.with_reactor(|reactor| reactor.holdings()), shard.pool().stats());
        assert_eq!((holdings.operations, holdings.handles), (0, 0), "operations and sockets, seed {seed}");
        assert_eq!((pool.heads_leased, pool.bulk_leased, pool.pooled_bytes), (0, 0, 0), "memory, seed {seed}");
        assert_eq!((shard.task_stats().live, shard.scopes()), (1, 1), "tasks and scopes, seed {seed}");
        given
    });
    let heard = heard.borrow().clone();
    (given, heard)
}

/// The same for many seeds; all give the same.
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug + 'static>(
    script: Script,
    ask: impl AsyncFnOnce(Client) -> T + Clone + 'static,
    expect: T,
    hears: &[&str],
) {
    for seed in 0..SEEDS {
        let (given, heard) = play_with(seed, Plan::CHOPPY, Config::default(), script.clone(), ask.clone());
        assert_eq!(given, expect, "seed {seed}");
        assert_eq!(heard, hears, "seed {seed}");
    }
}

const SEEDS: u64 = 20;

/// Status, text and whether the connection was kept; or what is said of the failure.
async fn got(client: Client) -> String {
    of(&client, client.get("http://10.0.0.1/a").send().await).await
}

async fn of(client: &Client, sent: Result<Response, Error>) -> String {
    match read(sent).await {
        Ok(text) => format!("{text}{}", if client.idle() > 0 { ", kept" } else { "" }),
        Err(error) => error.to_string(),
    }
}

async fn read(sent: Result<Response, Error>) -> Result<String, Error> {
    let mut response = sent?;
    let text = response.text().await?;
    Ok(format!("{} {text:?}", response.status().as_u16()))
}

/// A `GET` of which the server answers this, and then does what else.
#[track_caller]
fn check_answer(answer: &str, then: Do, expect: &str) {
    check(vec![vec![Hear(ASKED_END), say(answer), then]], got, expect.to_owned(), &[ASKED]);
}

const ASKED: &str = "GET /a HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
const ASKED_END: &str = "\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn bodies_end_where_they_say() {
    check_answer(&format!("{OK}Content-Length: 2\r\n\r\nhi"), End, "200 \"hi\", kept");
    check_answer(&format!("{OK}Content-Length: 0\r\n\r\n"), End, "200 \"\", kept");
    check_answer(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n"), End, "200 \"hi\", kept");
    check_answer(&format!("{OK}\r\nall until the end"), End, "200 \"all until the end\"");
    check_answer(&format!("{OK}Connection: close\r\nContent-Length: 2\r\n\r\nhi"), End, "200 \"hi\"");
    check_answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", End, "200 \"hi\"");
    check_answer("HTTP/1.1 204 No Content\r\n\r\n", End, "204 \"\", kept");
    check_answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", End, "304 \"\", kept");
    // What comes behind an answer is nobody's: the connection goes.
    check_answer(&format!("{OK}Content-Length: 2\r\n\r\nhi{OK}Content-Length: 0\r\n\r\n"), Wait(1), "200 \"hi\"");
}

#[test]
fn interim_answers_are_read_over_up_to_a_bound() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
    let answer = format!("HTTP/1.1 100 Continue\r\n\r\n{}{OK}Content-Length: 2\r\n\r\nhi", hint.repeat(15));
    check_answer(&answer, End, "200 \"hi\", kept");
    let flood = "the server's answer is not HTTP as it must be: there are too many interim responses";
    check_answer(&hint.repeat(1000), End, flood);
}

#[test]
fn what_is_cut_is_an_error_and_not_a_short_answer() {
    let cut = "the connection ended in the middle of the answer";
    let nothing = "the server closed the connection without an answer";
    check_answer("", End, nothing);
    check_answer("", Reset, nothing);
    check_answer("HTTP/1.1 200", End, cut);
    check_answer(OK, End, cut);
    check_answer(&format!("{OK}Content-Length: 3\r\n\r\nhi"), End, cut);
    check_answer(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"), End, cut);
    check_answer(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhi"), End, cut);
    check_answer(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n"), End, cut);
}

#[test]
fn what_is_not_http_is_refused() {
    let refused = |what: &str| format!("the server's answer is not HTTP as it must be: {what}");
    for (answer, what) in [
        ("hello\r\n\r\n", "the status line is malformed"),
        ("HTTP/1.1 200 OK\n\n", "a line ends in LF without CR"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
            "there is more than one Content-Length",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", "Content-Length is not a decimal number in range"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "there are both Content-Length and Transfer-Encoding",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n",
            "a chunk size is not a hexadecimal number in range",
        ),
        ("HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "a field line has white space before its colon, or no colon"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "the server answers what it was not asked",
        ),
    ] {
        check_answer(answer, End, &refused(what));
    }
    check_answer(&format!("{OK}x: {}\r\n\r\n", "y".repeat(20_000)), End, &refused("the header section is too long"));
    check_answer(&format!("{OK}{}\r\n", "x: y\r\n".repeat(101)), End, &refused("there are too many header fields"));
    let trailers = format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\nx: {}\r\n\r\n", "y".repeat(5000));
    check_answer(&trailers, End, &refused("the trailer section is too long"));
}

#[test]
fn connections_are_kept_for_the_same_server() {
    let answer = || say(format!("{OK}Content-Length: 2\r\n\r\nhi"));
    let steps = [Hear(ASKED_END), answer(), Hear("/b HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"), answer(), End];
    check(
        vec![steps.to_vec()],
        async |client: Client| {
            let first = of(&client, client.get("http://10.0.0.1/a").send().await).await;
            let second = of(&client, client.get("http://10.0.0.1/b").send().await).await;
            (first, second)
        },
        ("200 \"hi\", kept".to_owned(), "200 \"hi\", kept".to_owned()),
        &[&format!("{ASKED}GET /b HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n")],
    );
}

/// What is passed on of an answer whose body has come with its head is no stream, and its connection is free at once.
#[test]
fn a_short_answer_is_passed_on_whole() {
    let head = || say(format!("{OK}Content-Length: 5\r\n\r\nhe"));
    let ask = async |client: Client| {
        let content = Content::from(client.get("http://10.0.0.1/a").send().await.unwrap());
        (format!("{content:?}"), client.idle())
    };
    let whole = vec![vec![Hear(ASKED_END), say(format!("{OK}Content-Length: 5\r\n\r\nhello")), End]];
    let (passed_on, _) = play_with(1, Plan::CALM, Config::default(), whole, ask);
    assert_eq!(passed_on, ("Full(5 bytes)".to_owned(), 1));
    let parts = vec![vec![Hear(ASKED_END), head(), Wait(10), say("llo"), End]];
    let (passed_on, _) = play_with(1, Plan::CALM, Config::default(), parts, ask);
    assert_eq!(passed_on, ("Stream".to_owned(), 0));
}

#[test]
fn an_old_connection_is_not_kept() {
    let config = Config { age_max: Some(Duration::from_secs(3)), ..Config::default() };
    let answer = || say(format!("{OK}Content-Length: 2\r\n\r\nhi"));
    let ask = || Hear(ASKED_END);
    let script = vec![vec![ask(), answer(), ask(), answer(), End], vec![ask(), answer(), End]];
    let (counts, heard) = play_with(1, Plan::CALM, config, script, async |client: Client| {
        let shard = Shard::current().unwrap();
        let mut counts = Vec::new();
        for pause in [4, 0, 0] {
            got(client.clone()).await;
            counts.push(client.idle());
            shard.sleep(Duration::from_secs(pause)).await;
        }
        counts
    });
    assert_eq!(counts, [1, 0, 1], "after four seconds the first has had its last request");
    assert_eq!(heard.len(), 2);
}

#[test]
fn a_kept_connection_is_closed_after_a_while() {
    let config = Config { idle_time_max: Duration::from_secs(3), ..Config::default() };
    let script = vec![vec![Hear(ASKED_END), say(format!("{OK}Content-Length: 2\r\n\r\nhi")), Hear("never")]];
    let (counts, _) = play_with(1, Plan::CALM, config, script, async |client: Client| {
        let shard = Shard::current().unwrap();
        got(client.clone()).await;
        let mut counts = vec![client.idle()];
        for _ in 0..4 {
            shard.sleep(Duration::from_secs(1)).await;
            counts.push(client.idle());
        }
        counts
    });
    assert_eq!(counts, [1, 1, 1, 0, 0]);
}

#[test]
fn no_more_are_kept_than_may_be() {
    let config = Config { idle_per_origin_max: 2, ..Config::default() };
    let steps = vec![Hear(ASKED_END), Wait(50), say(format!("{OK}Content-Length: 2\r\n\r\nhi")), Hear("never")];
    let (idle, heard) = play_with(1, Plan::CALM, config, vec![steps; 5], async |client: Client| {
        let asked = [(); 5].map(|()| got(client.clone()));
        together(asked.into_iter().collect()).await;
        client.idle()
    });
    assert_eq!((idle, heard.len()), (2, 5));
}

/// Waits for all.
async fn together<F: Future<Output = String>>(futures: Vec<F>) -> Vec<String> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        for (future, output) in &mut waiting {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if waiting.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

#[test]
fn more_requests_than_connections_wait_their_turn_or_are_told() {
    let answer = [Hear(ASKED_END), Wait(100), say(format!("{OK}Connection: close\r\nContent-Length: 2\r\n\r\nhi"))];
    let ask = async |client: Client| {
        let asked = [(); 3].map(|()| got(client.clone()));
        together(asked.into_iter().collect()).await
    };
    let patient = Config { connections_per_origin_max: 1, ..Config::default() };
    let (given, _) = play_with(1, Plan::CALM, patient.clone(), vec![answer.to_vec(); 3], ask);
    assert_eq!(given, ["200 \"hi\""; 3]);

    let hasty = Config { connect_time_max: Duration::from_millis(150), ..patient };
    let (given, _) = play_with(1, Plan::CALM, hasty, vec![answer.to_vec(); 2], ask);
    assert!(given[2].contains("raise `connections_per_origin_max`"), "{given:?}");
}

/// Asks once, then by this method; the server hears that on the kept connection and resets it, or answers on another.
#[track_caller]
fn check_stale(method: http::Method, body: impl Into<Content>, expect: &str, connections: usize) {
    let answer = || say(format!("{OK}Content-Length: 2\r\n\r\nhi"));
    let script = vec![vec![Hear(ASKED_END), answer(), Hear(ASKED_END), Reset], vec![Hear(ASKED_END), answer(), End]];
    let body = body.into();
    let (given, heard) = play_with(1, Plan::CALM, Config::default(), script, async move |client: Client| {
        got(client.clone()).await;
        let request = client.request(method, "http://10.0.0.1/stale").body(body);
        of(&client, request.send().await).await
    });
    assert_eq!(given, expect);
    assert_eq!(heard.len(), connections, "{heard:?}");
}

#[test]
fn what_may_be_asked_twice_is_once_when_a_kept_connection_was_closed() {
    use http::Method;
    let closed = "the server closed the connection without an answer";
    check_stale(Method::GET, Content::Empty, "200 \"hi\", kept", 2);
    // What comes behind the head of this answer is not its body.
    check_stale(Method::HEAD, Content::Empty, "200 \"\"", 2);
    check_stale(Method::PUT, "a short body\r\n\r\n", "200 \"hi\", kept", 2);
    check_stale(Method::POST, Content::Empty, closed, 1);
    check_stale(Method::PUT, Content::Stream(Box::pin(Pieces::of(["\r\n\r\n"]))), closed, 1);
}

#[test]
fn a_kept_connection_that_the_server_has_closed_is_not_used() {
    let answer = || say(format!("{OK}Content-Length: 2\r\n\r\nhi"));
    let steps = vec![Hear(ASKED_END), answer()];
    let (given, heard) = play_with(1, Plan::CALM, Config::default(), vec![steps; 2], async |client: Client| {
        got(client.clone()).await;
        Shard::current().unwrap().sleep(Duration::from_millis(10)).await;
        of(&client, client.post("http://10.0.0.1/a").send().await).await
    });
    assert_eq!((given.as_str(), heard.len()), ("200 \"hi\", kept", 2));
}

/// A body in pieces, with a pause before each but the first, and trailers.
struct Pieces {
    left: Vec<&'static str>,
    pause: Pin<Box<dyn Future<Output = ()>>>,
    fails: bool,
}

impl Pieces {
    fn of(pieces: impl IntoIterator<Item = &'static str>) -> Self {
        let mut left: Vec<_> = pieces.into_iter().collect();
        left.reverse();
        Pieces { left, pause: Box::pin(std::future::ready(())), fails: false }
    }
}

impl BodyStream for Pieces {
    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Buf, Box<dyn std::error::Error>>>> {
        std::task::ready!(self.pause.as_mut().poll(cx));
        match self.left.pop() {
            Some(piece) => {
                let shard = Shard::current().unwrap();
                self.pause = Box::pin(async move { shard.sleep(Duration::from_millis(5)).await });
                Poll::Ready(Some(Ok(piece.into())))
            }
            None if self.fails => Poll::Ready(Some(Err("no more".into()))),
            None => Poll::Ready(None),
        }
    }

    fn trailers(self: Pin<&mut Self>) -> Headers {
        let mut trailers = Headers::default();
        trailers.append(HeaderName::from_static("x-sum"), HeaderValue::from(2));
        trailers
    }
}

#[test]
fn requests_are_written_as_they_were_meant() {
    let answer = say(format!("{OK}Content-Length: 2\r\n\r\nhi"));
    check(
        vec![vec![Hear("0\r\nx-sum: 2\r\n\r\n"), answer.clone(), End]],
        async |client: Client| {
            let request = client.post("http://10.0.0.1/a").header("x-a", "b");
            let body = Content::Stream(Box::pin(Pieces::of(["one", "", "two"])));
            of(&client, request.header("te", "trailers").body(body).send().await).await
        },
        "200 \"hi\", kept".to_owned(),
        &[
            "POST /a HTTP/1.1\r\nHost: 10.0.0.1\r\nx-a: b\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\
           \r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 2\r\n\r\n",
        ],
    );
    check(
        vec![vec![Hear("\r\n\r\n[1,2]"), answer.clone(), End]],
        async |client: Client| of(&client, client.put("http://10.0.0.1:80?q").json(&[1, 2]).send().await).await,
        "200 \"hi\", kept".to_owned(),
        &["PUT /?q HTTP/1.1\r\nHost: 10.0.0.1:80\r\ncontent-type: application/json\r\nContent-Length: 5\r\n\r\n[1,2]"],
    );
    check(
        vec![vec![Hear("\r\n\r\n"), answer, End]],
        async |client: Client| {
            let request = client.delete("http://10.0.0.1/a").header("host", "other").header("connection", "close");
            of(&client, request.header("content-length", "7").send().await).await
        },
        "200 \"hi\"".to_owned(),
        &["DELETE /a HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"],
    );
}

#[test]
fn what_would_break_a_request_never_leaves() {
    let (refused, heard) = play_with(1, Plan::CALM, Config::default(), vec![vec![]; 15], async |client: Client| {
        let url = "http://10.0.0.1/";
        let mut refused = Vec::new();
        for request in [
            client.get(url).header("x", "a\r\nb: c"),
            client.get(url).header("x\r\ny", "a"),
            client.get(url).header("", "a"),
            client.get(url).header("expect", "100-continue"),
            client.get(url).header("upgrade", "websocket"),
            client.get(url).upgrade("h2c"),
            client.get(url).upgrade("a, b"),
            client.post(url).upgrade("websocket").body("body"),
            client.get("http://10.0.0.1/a b"),
            client.get("http://10.0.0.1/\r\nx: y"),
            client.get("http://10.0.0.1\r\nx: y/"),
            client.get("gopher://10.0.0.1/"),
            client.request(http::Method::CONNECT, url),
            client.get(url).header("x", "y".repeat(100_000)),
            client.get(url).header("host", "a b"),
        ] {
            let error = request.send().await.unwrap_err();
            assert_eq!(error.fault(), Fault::Us, "{error}");
            refused.push(error.to_string());
        }
        refused
    });
    let expect = [
        "\"x\" cannot be sent: its value holds a control character",
        "\"a header\" cannot be sent: its name holds a character that is not allowed, or is empty",
        "\"a header\" cannot be sent: its name holds a character that is not allowed, or is empty",
        "\"expect\" cannot be sent: call `expect_continue`",
        "\"upgrade\" cannot be sent: call `upgrade`",
        "\"upgrade\" cannot be sent: call `http2`",
        "\"upgrade\" cannot be sent: it is not the name of one protocol",
        "\"upgrade\" cannot be sent: a request that asks for another protocol has no body",
        "the URL holds a space or a character that must be percent-encoded",
        "the URL holds a space or a character that must be percent-encoded",
        "the URL \"http://10.0.0.1\\r\\nx: y/\" cannot be asked: the port is not a number",
        "the URL \"gopher://10.0.0.1/\" cannot be asked: only http and https are spoken",
        "\"CONNECT\" cannot be sent: the client speaks nothing but HTTP",
        "the request's head is too long: send fewer headers",
        "the request cannot be written: a field value holds a control character",
    ];
    assert_eq!(refused, expect);
    assert!(heard.iter().all(String::is_empty), "{heard:?}");
}

#[test]
fn a_body_that_waits_is_sent_when_it_is_asked_for_or_nobody_answers() {
    const HEAD: &str = "POST /a HTTP/1.1\r\nHost: 10.0.0.1\r\nexpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let ask = async |client: Client| {
        let begin = Shard::current().unwrap().now();
        let request = client.post("http://10.0.0.1/a").body("body").expect_continue();
        let text = of(&client, request.send().await).await;
        (text, (Shard::current().unwrap().now() - begin).as_millis() >= 1000)
    };
    let answer = || say(format!("{OK}Content-Length: 2\r\n\r\nhi"));
    let asked = vec![Hear(ASKED_END), say("HTTP/1.1 100 Continue\r\n\r\n"), Hear("body"), answer(), End];
    check(vec![asked], ask, ("200 \"hi\", kept".to_owned(), false), &[&format!("{HEAD}body")]);
    check(
        vec![vec![Hear("body"), answer(), End]],
        ask,
        ("200 \"hi\", kept".to_owned(), true),
        &[&format!("{HEAD}body")],
    );
    // It is not wanted: the request stays unfinished, and the connection is of no further use.
    let refused = say("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nno!");
    check(vec![vec![Hear(ASKED_END), refused, End]], ask, ("413 \"no!\"".to_owned(), false), &[HEAD]);
}

#[test]
fn an_answer_counts_that_comes_before_the_request_has_ended() {
    let long = || Content::from(vec![b'x'; 1_000_000]);
    let ask = async move |client: Client| of(&client, client.post("http://10.0.0.1/a").body(long()).send().await).await;
    let refused = say("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    for seed in 0..SEEDS {
        let script = vec![vec![Wait(5), refused.clone(), End]];
        let (given, _) = play_with(seed, Plan::CHOPPY, Config::default(), script, ask);
        assert_eq!(given, "401 \"no\"", "seed {seed}");
    }
    // One that closes without reading resets the connection: the answer is there, or the connection is gone; never half.
    for seed in 0..SEEDS {
        let script = vec![vec![Wait(5), refused.clone()]];
        let (given, _) = play_with(seed, Plan::CHOPPY, Config::default(), script, ask);
        let gone =
            ["the server closed the connection without an answer", "the connection ended in the middle of the answer"];
        assert!(given == "401 \"no\"" || gone.contains(&&*given), "{given}, seed {seed}");
    }
}

#[test]
fn a_body_that_fails_ends_the_exchange() {
    check(
        vec![vec![Hear("one\r\n"), Hear("never")]],
        async |client: Client| {
            let body = Pieces { fails: true, ..Pieces::of(["one"]) };
            let error =
                client.post("http://10.0.0.1/a").body(Content::Stream(Box::pin(body))).send().await.unwrap_err();
            (error.to_string(), error.fault())
        },
        ("the request's body could not be made: no more".to_owned(), Fault::Us),
        &["POST /a HTTP/1.1\r\nHost: 10.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"],
    );
}

/// Asks a server that does this, and gives what of it took too long and after how many seconds.
#[track_caller]
fn check_slow(steps: Vec<Do>, body: usize, expect: (Step, u64)) {
    let config = Config {
        head_time_max: Duration::from_secs(2),
        body_pause_max: Duration::from_secs(3),
        write_stall_max: Duration::from_secs(4),
        ..Config::default()
    };
    let ((error, took), _) = play_with(1, Plan::CALM, config, vec![steps], async move |client: Client| {
        let begin = Shard::current().unwrap().now();
        let request = client.post("http://10.0.0.1/a").body(vec![b'x'; body]);
        let error = read(request.send().await).await.unwrap_err();
        (error, (Shard::current().unwrap().now() - begin).as_secs())
    });
    assert!(error.is_timeout() && error.fault() == Fault::Upstream, "{error}");
    let Error::TimedOut(step) = error else { panic!("{error}") };
    assert_eq!((step, took), expect);
}

#[test]
fn slow_servers_are_given_up() {
    let long = Wait(60_000);
    check_slow(vec![Hear("never")], 0, (Step::Head, 2));
    check_slow(vec![Hear(ASKED_END), say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2"), long.clone()], 0, (Step::Head, 2));
    // A byte a second does not help a head; it does help a body.
    let mut drops = vec![Hear(ASKED_END)];
    drops.extend((0..10).flat_map(|_| [Wait(1000), say("H")]));
    check_slow(drops, 0, (Step::Head, 2));
    let mut drops = vec![Hear(ASKED_END), say(format!("{OK}Content-Length: 100\r\n\r\n"))];
    drops.extend((0..10).flat_map(|_| [Wait(1000), say("x")]));
    drops.push(long.clone());
    check_slow(drops, 0, (Step::Body, 13));
    check_slow(vec![long], 10_000_000, (Step::Write, 4));
}

#[test]
fn answers_longer_than_admitted_are_refused() {
    let ask = |bytes: u64| {
        async move |client: Client| {
            let response = client.get("http://10.0.0.1/a").send().await;
            of(&client, response.map(|response| response.limit(bytes))).await
        }
    };
    let told = || vec![vec![Hear(ASKED_END), say(format!("{OK}Content-Length: 5\r\n\r\nhello")), End]];
    let untold = || vec![vec![Hear(ASKED_END), say(format!("{OK}\r\nhello"))]];
    let refused = "the answer is longer than the 4 bytes admitted: set `limit`".to_owned();
    check(told(), ask(5), "200 \"hello\", kept".to_owned(), &[ASKED]);
    check(told(), ask(4), refused.clone(), &[ASKED]);
    check(untold(), ask(5), "200 \"hello\"".to_owned(), &[ASKED]);
    check(untold(), ask(4), refused, &[ASKED]);
}

#[test]
fn trailers_are_there_behind_the_body() {
    let answer = format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\ny:\r\n\r\n");
    check(
        vec![vec![Hear(ASKED_END), say(answer), End]],
        async |client: Client| {
            let mut response = client.get("http://10.0.0.1/a").send().await.unwrap();
            assert!(response.trailers().is_none());
            let text = response.text().await.unwrap();
            let trailers = response.trailers().unwrap();
            let sum = trailers.get("x-sum").map(|sum| String::from_utf8_lossy(sum).into_owned());
            (text, sum, trailers.iter().count(), client.idle())
        },
        ("hi".to_owned(), Some("7".to_owned()), 2, 1),
        &[ASKED],
    );
}

#[test]
fn a_reader_that_is_slow_holds_up_its_server() {
    let total: usize = 20_000_000;
    let body = format!("{OK}Content-Length: {total}\r\n\r\n{}", "x".repeat(total));
    let script = vec![vec![Hear(ASKED_END), say(body), End]];
    let (most, _) = play_with(1, Plan::CHOPPY, Config::default(), script, async move |client: Client| {
        let shard = Shard::current().unwrap();
        let mut response = client.get("http://10.0.0.1/a").send().await.unwrap();
        let (mut bytes, mut most) = (0, 0);
        while let Some(chunk) = response.chunk().await.unwrap() {
            bytes += chunk.len();
            let pool = shard.pool().stats();
            most = most.max(pool.heads_leased + pool.bulk_leased);
            if bytes % 7 == 0 {
                shard.sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(bytes, total);
        most
    });
    assert!(most < 40, "{most} receive buffers at a time");
}

#[test]
fn dropped_anywhere_it_leaves_nothing_behind() {
    let script = || {
        let answer = format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n");
        vec![vec![Hear("0\r\nx-sum: 2\r\n\r\n"), say(answer), End]]
    };
    for polls in 0.. {
        let (ended, _) = play_with(polls, Plan::CHOPPY, Config::default(), script(), async move |client: Client| {
            let body = Content::Stream(Box::pin(Pieces::of(["one", "two"])));
            let mut ask = pin!(async {
                let mut response = client.post("http://10.0.0.1/a").body(body).expect_continue().send().await?;
                response.text().await
            });
            let mut left = polls;
            poll_fn(|cx| match left.checked_sub(1) {
                None => Poll::Ready(false),
                Some(fewer) => {
                    left = fewer;
                    ask.as_mut().poll(cx).map(|_| true)
                }
            })
            .await
        });
        if ended {
            assert!(polls > 3, "it takes a few polls");
            return;
        }
        assert!(polls < 1000, "it comes to its end");
    }
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";

#[test]
fn a_server_that_agrees_to_speak_something_else_has_the_connection() {
    check(
        vec![vec![Hear(ASKED_END), say(format!("{SWITCHED}first, ")), Hear("more"), say("last"), End]],
        async |client: Client| {
            let mut response = client.get("http://10.0.0.1/a").upgrade("echo").send().await.unwrap();
            assert_eq!(
                (response.status(), response.text().await.unwrap()),
                (StatusCode::SWITCHING_PROTOCOLS, "".into())
            );
            let Upgraded { mut stream, received, .. } = response.upgraded().expect("it speaks something else");
            assert!(response.upgraded().is_none());
            let mut said = received.map(|chunk| chunk.to_vec()).unwrap_or_default();
            while said.len() < 7 {
                said.extend_from_slice(&stream.recv().await.unwrap().unwrap());
            }
            stream.send("more").await.unwrap();
            while let Some(chunk) = stream.recv().await.unwrap() {
                said.extend_from_slice(&chunk);
            }
            (String::from_utf8(said).unwrap(), client.idle())
        },
        ("first, last".to_owned(), 0),
        &["GET /a HTTP/1.1\r\nHost: 10.0.0.1\r\nupgrade: echo\r\nConnection: upgrade\r\n\r\nmore"],
    );
}

/// What comes of an offer to speak `protocol` that is answered so.
#[track_caller]
fn check_offer(protocol: &'static str, answer: &str, expect: &str) {
    let script = vec![vec![Hear(ASKED_END), say(answer), End]];
    let (given, _) = play_with(1, Plan::CALM, Config::default(), script, async move |client: Client| {
        of(&client, client.get("http://10.0.0.1/a").upgrade(protocol).send().await).await
    });
    assert_eq!(given, expect, "{answer}");
}

#[test]
fn what_was_not_offered_is_not_spoken() {
    let unasked = "the server's answer is not HTTP as it must be: the server answers what it was not asked";
    check_offer("ECHO", SWITCHED, "101 \"\"");
    check_offer("other", SWITCHED, unasked);
    check_offer("echo", &SWITCHED.replace("Upgrade: echo", "X: y"), unasked);
    check_offer("echo", &SWITCHED.replace("Upgrade: echo", "Upgrade: echo, other"), unasked);
    check_offer("echo", &SWITCHED.replace("Upgrade: echo", "Upgrade: echo\r\nUpgrade: echo"), unasked);
    check_offer("websocket", &SWITCHED.replace("echo", "websocket"), unasked);
    let wrong = "websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    check_offer("websocket", &SWITCHED.replace("echo", wrong), unasked);
    check_offer("echo", &format!("{OK}Content-Length: 2\r\n\r\nhi"), "200 \"hi\", kept");
    check_offer("echo", "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n", "426 \"\", kept");
}

/// It counts as in use until it goes.
#[test]
fn a_connection_that_speaks_something_else_has_its_place() {
    let config =
        Config { connections_per_origin_max: 1, connect_time_max: Duration::from_millis(100), ..Config::default() };
    let script = vec![vec![Hear(ASKED_END), say(SWITCHED), End], vec![Hear(ASKED_END), say(OK), say("\r\nhi")]];
    let (given, _) = play_with(1, Plan::CALM, config, script, async |client: Client| {
        let mut response = client.get("http://10.0.0.1/a").upgrade("echo").send().await.unwrap();
        let upgraded = response.upgraded().unwrap();
        drop(response);
        let busy = got(client.clone()).await;
        drop(upgraded);
        (busy.contains("raise `connections_per_origin_max`"), got(client.clone()).await)
    });
    assert_eq!(given, (true, "200 \"hi\"".to_owned()));
}

/// In the scope of a request that has so much time, servers are told of it, in the field that was chosen.
#[test]
fn the_time_that_is_left_travels() {
    let answer = || vec![Hear(ASKED_END), say(format!("{OK}Content-Length: 2\r\n\r\nhi")), End];
    for (field, expect) in [
        (Some(DeadlineField::Milliseconds), "x-envoy-expected-rq-timeout-ms: 1500\r\n"),
        (Some(DeadlineField::Grpc), "grpc-timeout: 1500m\r\n"),
        (None, ""),
    ] {
        let config = Config { deadline_field: field, ..Config::default() };
        let (given, heard) = play_with(1, Plan::CALM, config, vec![answer()], async |client: Client| {
            let shard = Shard::current().unwrap();
            let scope =
                shard.scope().child("a request").unwrap().with_deadline(shard.now() + Duration::from_millis(1500));
            scope.run(got(client)).await.unwrap()
        });
        assert_eq!(
            (given.as_str(), heard.as_slice()),
            ("200 \"hi\", kept", &[ASKED.replace("\r\n\r\n", &format!("\r\n{expect}\r\n"))][..])
        );
    }
}

/// What comes of a request that follows two redirects, when the server answers so.
#[track_caller]
fn check_led(
    request: impl AsyncFnOnce(&Client) -> Result<Response, Error> + Clone + 'static,
    answers: &[(&'static str, &str)],
    expect: &str,
    hears: &str,
) {
    let steps = answers.iter().flat_map(|answer| [Hear(answer.0), say(answer.1)]).chain([End]).collect();
    let ask = async move |client: Client| read(request(&client).await).await.unwrap_or_else(|error| error.to_string());
    check(vec![steps], ask, expect.to_owned(), &[hears]);
}

const FOUND: &str = "HTTP/1.1 302 Found\r\nLocation: b?c\r\nContent-Length: 5\r\n\r\nthere";
const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn redirects_are_followed_where_that_is_asked_for() {
    let get = async |client: &Client| client.get("http://10.0.0.1/a").header("cookie", "x").redirects(2).send().await;
    let asks = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.1\r\ncookie: x\r\n\r\n");
    check_led(get, &[(ASKED_END, FOUND), (ASKED_END, HI)], "200 \"hi\"", &[asks("/a"), asks("/b?c")].concat());
    check_led(
        get,
        &[(ASKED_END, FOUND), (ASKED_END, FOUND), (ASKED_END, HI)],
        "200 \"hi\"",
        &[asks("/a"), asks("/b?c"), asks("/b?c")].concat(),
    );
    let too_many = "the answer leads to \"http://10.0.0.1/b?c\", which is not asked: it is one redirect too many";
    check_led(get, &[(ASKED_END, FOUND); 3], too_many, &[asks("/a"), asks("/b?c"), asks("/b?c")].concat());
    let plain = async |client: &Client| client.get("http://10.0.0.1/a").send().await;
    check_led(plain, &[(ASKED_END, FOUND)], "302 \"there\"", ASKED);
    // Without a place to go to, or with two, it is an answer.
    check_led(get, &[(ASKED_END, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")], "302 \"\"", &asks("/a"));
    let two = "HTTP/1.1 302 Found\r\nLocation: b\r\nLocation: c\r\nContent-Length: 0\r\n\r\n";
    check_led(get, &[(ASKED_END, two)], "302 \"\"", &asks("/a"));
}

#[test]
fn bodies_go_along_if_they_may_and_are_at_hand() {
    const BODY: &str = "body\r\n\r\n";
    let post = async |client: &Client| {
        let request = client.post("http://10.0.0.1/a").header("content-type", "x").redirects(2);
        request.body(BODY).send().await
    };
    let asked = "POST /a HTTP/1.1\r\nHost: 10.0.0.1\r\ncontent-type: x\r\nContent-Length: 8\r\n\r\nbody\r\n\r\n";
    let got = "GET /b?c HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
    check_led(post, &[(BODY, FOUND), (ASKED_END, HI)], "200 \"hi\"", &format!("{asked}{got}"));
    let kept = FOUND.replace("302", "307");
    check_led(post, &[(BODY, &kept), (BODY, HI)], "200 \"hi\"", &format!("{asked}{}", asked.replace("/a", "/b?c")));
    let stream = async |client: &Client| {
        let body = Content::Stream(Box::pin(Pieces::of(["\r\n\r\n"])));
        client.post("http://10.0.0.1/a").redirects(2).body(body).send().await
    };
    let asked = "POST /a HTTP/1.1\r\nHost: 10.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\nx-sum: 2\r\n\r\n";
    let expect = play_with(
        1,
        Plan::CALM,
        Config::default(),
        vec![vec![Hear("x-sum: 2\r\n\r\n"), say(kept), End]],
        async move |client: Client| read(stream(&client).await).await.unwrap(),
    );
    assert_eq!(expect, ("307 \"there\"".to_owned(), vec![asked.to_owned()]));
}

/// Ask by a name with these addresses, on a calm network; gives the answer and after how many tenths of a second.
#[track_caller]
fn check_name(addresses: &'static [([u8; 4], u16)], expect: &str) {
    let resolver = Resolver::new(|name, port| match name {
        "here.example" => Ok(addresses.iter().map(|&address| address.into()).collect()),
        _ => Err(io::Error::other(format!("{name} is not listed, nor is {port}"))),
    });
    let config = Config { resolver, connect_time_max: Duration::from_secs(1), ..Config::default() };
    let script = vec![vec![Hear(ASKED_END), say(format!("{OK}Content-Length: 2\r\n\r\nhi")), End]];
    let (given, heard) = play_with(1, Plan::CALM, config, script, async |client: Client| {
        let strange = client.get("http://there.example/").send().await.unwrap_err();
        assert!(strange.can_retry());
        assert!(strange.to_string().contains("\"there.example\": there.example is not listed, nor is 80"), "{strange}");
        of(&client, client.get("http://here.example/a").send().await).await
    });
    assert_eq!(given, expect);
    assert!(heard.iter().all(|heard| heard == "GET /a HTTP/1.1\r\nHost: here.example\r\n\r\n"), "{heard:?}");
}

#[test]
fn names_are_looked_up_and_their_addresses_tried_in_turn() {
    check_name(&[([10, 0, 0, 1], 80)], "200 \"hi\", kept");
    check_name(&[([10, 0, 0, 1], 1), ([10, 0, 0, 1], 80)], "200 \"hi\", kept");
    check_name(
        &[([10, 0, 0, 1], 1), ([10, 0, 0, 1], 2)],
        "no connection to 10.0.0.1:2: the peer refused the connection",
    );
    check_name(&[], "no address is known of \"here.example\": there is none");
}

#[test]
fn a_status_is_a_status() {
    check(
        vec![vec![Hear(ASKED_END), say("HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n"), End]],
        async |client: Client| client.get("http://10.0.0.1/a").send().await.map(|response| response.status()).unwrap(),
        StatusCode::INTERNAL_SERVER_ERROR,
        &[ASKED],
    );
}

// ---- real sockets --------------------------------------------------------------------------------------------------------

#[test]
fn on_uring() {
    over_real_sockets(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    over_real_sockets(BackendKind::Epoll);
}

#[test]
fn on_polling() {
    over_real_sockets(BackendKind::Polling);
}

/// Asks a server of plain threads by its name, which the system looks up: over a connection that is kept, with a long body
/// both ways, to the end of a connection, and where nobody listens.
fn over_real_sockets(kind: BackendKind) {
    if !is_here(kind) {
        return;
    }
    let connections = Arc::new(AtomicUsize::new(0));
    let port = echo_server(&connections);
    let ask = async move |shard: Shard| {
        let (client, url) = (Client::new(&shard), format!("http://localhost:{port}/"));
        for size in [0, 5, 100_000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|number: usize| (number * 7) as u8).collect();
            let mut response = client.post(&url).body(body.clone()).send().await?;
            assert!(response.bytes().await? == body, "{size} bytes");
            assert_eq!(client.idle(), 1);
        }
        let mut last = client.post(&url).header("connection", "close").body("last").send().await?;
        assert_eq!((last.text().await?.as_str(), client.idle()), ("last", 0));
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let error = client.get(format!("http://{nobody}/")).send().await.expect_err("nobody listens there");
        assert!(matches!(error, Error::Connect { .. }) && error.can_retry(), "{error}");
        Ok::<_, Error>(())
    };
    let main = async move |shard: Shard| ask(shard).await.map_err(|error| error.to_string());
    runtime(kind).run(main).expect("every answer is right");
    assert_eq!(connections.load(Relaxed), 1, "one connection is kept for all");
}

/// Sends bodies back, with their length, until the client says that it closes. Gives its port.
fn echo_server(connections: &Arc<AtomicUsize>) -> u16 {
    let listener = std::net::TcpListener::bind("localhost:0").expect("a port is free");
    let (port, connections) = (listener.local_addr().expect("it is bound").port(), Arc::clone(connections));
    let serve = move |stream: std::net::TcpStream| -> io::Result<()> {
        let (mut reader, mut writer) = (io::BufReader::new(stream.try_clone()?), stream);
        loop {
            let (mut length, mut closes, mut line) = (0, false, String::new());
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if let Some(digits) = line.strip_prefix("Content-Length: ") {
                    length = digits.trim().parse().expect("a number");
                }
                closes |= line == "Connection: close\r\n";
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let end = if closes { String::new() } else { format!("Content-Length: {length}\r\n") };
            writer.write_all(format!("HTTP/1.1 200 OK\r\n{end}\r\n").as_bytes())?;
            writer.write_all(&body)?;
            if closes {
                return Ok(());
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            connections.fetch_add(1, Relaxed);
            // The client may go at any time.
            let _ = serve(stream);
        }
    });
    port
}

/// They went on, each request cancelled as it came.
#[test]
fn a_server_that_is_dropped_ends_its_connections() {
    struct Hello;
    impl shardwise_net::Service for Hello {
        fn call(&self, request: shardwise_net::Request) -> shardwise_net::Reply {
            shardwise_net::Reply::ready(request.peer().shard(), || {
                shardwise_net::Response::new(StatusCode::OK).with_content("hello".into())
            })
        }
    }
    let mut simulation = Simulation::new(1);
    simulation.start(1, async |shard: Shard| {
        let location = std::panic::Location::caller();
        let served = shardwise_net::serve(&shard, address(80), Hello, location);
        let _ = shard.timeout(Duration::from_secs(1), served).await;
        std::future::pending::<Result<(), String>>().await
    });
    simulation.run(async |shard| {
        shard.sleep(Duration::from_millis(1)).await;
        let client = Client::new(&shard);
        let get = async || client.get("http://10.0.0.1/").send().await?.text().await;
        assert_eq!(get().await.unwrap(), "hello");
        shard.sleep(Duration::from_secs(2)).await;
        let refused = get().await.unwrap_err();
        assert!(matches!(refused, Error::Connect { .. }), "{refused}");
    });
}
