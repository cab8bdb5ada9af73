//! Clients that leave, at every point of an exchange, and requests that take too long: what the scope of the request says
//! then, what is answered, and that nothing stays behind, which the test kit looks at after each.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use shardwise::combine::defer;
use shardwise::prelude::*;
use shardwise::test::{self, Client, Connection, Failure, Plan};
use shardwise::{Config, Stream, yield_now};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What handlers and tasks have to say, in their order.
type Log = Rc<RefCell<Vec<String>>>;

fn app(shard: &Shard, log: &Log, config: Config) -> App {
    let peer = (shard.number() + 1) % shard.count();
    let shard = shard.clone();
    App::new()
        .state(log.clone())
        .config(config)
        .get("/hello", || "hello")
        .get("/wait", wait)
        .get("/sleep", sleep)
        .get("/nap", nap)
        .get("/stream", stream)
        .get("/endless", endless)
        .get("/failing", failing)
        .get("/tasks", tasks)
        .get("/answered", answered)
        .get("/stubborn", stubborn)
        .get("/left", async |shard: Shard, scope: ScopeHandle| {
            let left = scope.deadline().map(|deadline| deadline - shard.now());
            format!("{}", left.map_or(0, |left| left.as_secs()))
        })
        .post("/body", body)
        .get("/there", async move |State(log): State<Log>| {
            // It does not know of scopes; the call is given up with it.
            let _gone = says(&log, "the caller is gone");
            let there = async |there: Shard| {
                let scope = there.current_scope().unwrap();
                let _gone = defer({
                    let scope = scope.clone();
                    let gone = there.local(|| RefCell::new(Vec::new()));
                    move || gone.borrow_mut().extend(scope.reason().map(|reason| reason.to_string()))
                });
                pending::<()>().await
            };
            shard.on_async(peer, there).await.unwrap();
            "back"
        })
}

/// Says something when it is dropped.
fn says(log: &Log, what: &'static str) -> impl Drop + use<> {
    let log = log.clone();
    defer(move || log.borrow_mut().push(what.to_owned()))
}

fn note(log: &Log, scope: &ScopeHandle) {
    let reason = scope.reason().map_or("no reason".to_owned(), |reason| reason.to_string());
    log.borrow_mut().push(reason);
}

/// Runs its work in the scope.
async fn wait(scope: ScopeHandle, State(log): State<Log>) -> &'static str {
    let query = scope.child("query").unwrap();
    let _ = query.run(pending::<()>()).await;
    note(&log, &query);
    "given up"
}

/// Does not look.
async fn sleep(shard: Shard, State(log): State<Log>) -> &'static str {
    let _over = says(&log, "over");
    shard.sleep(seconds(2)).await;
    "slept"
}

/// Looks.
async fn nap(shard: Shard, scope: ScopeHandle) -> &'static str {
    if scope.run(shard.sleep(seconds(2))).await.is_ok() { "slept" } else { "given up" }
}

async fn body(scope: ScopeHandle, State(log): State<Log>, mut body: Body) -> &'static str {
    let _over = says(&log, "over");
    loop {
        match body.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                log.borrow_mut().push(error.to_string());
                note(&log, &scope);
                return "cut";
            }
        }
    }
    let _ = scope.run(pending::<()>()).await;
    note(&log, &scope);
    "given up"
}

fn stream(State(log): State<Log>) -> Stream {
    Stream::new(async move |mut sink| {
        let scope = Shard::current().unwrap().current_scope()?;
        let _over = says(&log, "over");
        sink.send("first").await?;
        scope.cancelled().await;
        note(&log, &scope);
        sink.send("last").await?;
        Ok(())
    })
}

/// A stream that does not look.
fn endless(State(log): State<Log>) -> Stream {
    Stream::new(async move |mut sink| {
        let _over = says(&log, "over");
        sink.send("first").await?;
        pending::<()>().await;
        Ok(())
    })
}

/// A stream that fails after its first piece, and has a task.
fn failing(scope: ScopeHandle, State(log): State<Log>) -> Stream {
    let inside = scope.clone();
    let work = async move {
        inside.cancelled().await;
        note(&log, &inside);
    };
    Shard::current().unwrap().spawn(work).unwrap().detach();
    Stream::new(async |mut sink| {
        sink.send("first").await?;
        Err(std::io::Error::other("on purpose").into())
    })
}

/// Tasks that wait, one of which needs a second when it is cancelled.
fn spawn_some(scope: &ScopeHandle, log: &Log) {
    for _ in 0..2 {
        let gone = says(log, "a task is gone");
        let work = async move {
            let _gone = gone;
            pending::<()>().await;
        };
        scope.spawn(work).unwrap().detach();
    }
    let (pass, inside, log) = (scope.pass(), scope.clone(), log.clone());
    let cleaner = async move {
        let _pass = pass;
        inside.cancelled().await;
        Shard::current().unwrap().sleep(seconds(1)).await;
        note(&log, &inside);
    };
    Shard::current().unwrap().spawn(cleaner).unwrap().detach();
}

async fn tasks(scope: ScopeHandle, State(log): State<Log>) -> &'static str {
    spawn_some(&scope, &log);
    pending::<()>().await;
    "never"
}

fn answered(scope: ScopeHandle, State(log): State<Log>) -> &'static str {
    spawn_some(&scope, &log);
    "answered"
}

/// Leaves a task that takes longer than is waited for.
fn stubborn(scope: ScopeHandle, State(log): State<Log>) -> &'static str {
    let gone = says(&log, "gone at last");
    let pass = scope.pass();
    let work = async move {
        let _held = (pass, gone);
        Shard::current().unwrap().sleep(seconds(20)).await;
    };
    Shard::current().unwrap().spawn(work).unwrap().detach();
    "answered"
}

/// Serves, lets a client do something, lets a minute pass, and gives what was logged. Dropping the server looks for what
/// is left.
fn logged(seed: u64, config: &Config, work: impl AsyncFnOnce(Client) + 'static) -> Vec<String> {
    let log = Log::default();
    let (config, kept) = (config.clone(), log.clone());
    let server = test::builder().seed(seed).plan(Plan::CHOPPY).start(move |shard| app(&shard, &kept, config.clone()));
    server.run(work);
    server.advance(seconds(60));
    assert_eq!(server.get("/hello").text(), "hello");
    drop(server);
    log.take()
}

#[track_caller]
fn check(seed: u64, config: &Config, work: impl AsyncFnOnce(Client) + 'static, expect: &[&str]) {
    assert_eq!(logged(seed, config, work), expect);
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Close,
    Reset,
}

const WAYS: [Leave; 2] = [Leave::Close, Leave::Reset];

impl Leave {
    fn leave(self, connection: Connection) {
        match self {
            Leave::Close => drop(connection),
            Leave::Reset => connection.reset(),
        }
    }
}

/// Sends something, gives the server a second, and leaves.
fn sends(text: String, leave: Leave) -> impl AsyncFnOnce(Client) + 'static {
    async move |client| {
        let mut connection = client.open().await;
        connection.send(text).await.unwrap();
        client.sleep(seconds(1)).await;
        leave.leave(connection);
    }
}

#[shardwise::test(seeds = 3)]
fn work_in_the_scope_ends_with_its_client(seed: u64) {
    for leave in WAYS {
        let work = sends(request("/wait"), leave);
        check(seed, &Config::default(), work, &["client disconnected → request 1 → query"]);
        // The second on its connection, and the first in hand.
        let work = sends(request("/hello") + &request("/wait"), leave);
        check(seed, &Config::default(), work, &["client disconnected → request 2 → query"]);
    }
}

/// A request cut at every byte of head and body. The handler learns what there is to be learnt.
#[shardwise::test(seeds = 3)]
fn a_client_leaves_at_every_byte_of_its_request(seed: u64) {
    let head = "POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n";
    let text = format!("{head}abcd");
    for leave in WAYS {
        for cut in 0..=text.len() {
            let log = logged(seed, &Config::default(), sends(text[..cut].to_owned(), leave));
            let expect: &[&str] = match cut {
                cut if cut < head.len() => &[],
                cut if cut < text.len() => {
                    &["the connection ended before the body did", "client disconnected → request 1", "over"]
                }
                _ => &["client disconnected → request 1", "over"],
            };
            assert_eq!(log, expect, "{leave:?} after {cut} bytes");
        }
    }
}

/// After a reset nobody can be answered, so nobody goes on; a client that has ended may still listen.
#[shardwise::test(seeds = 3)]
fn a_handler_that_does_not_look_goes_on_unless_nobody_can_be_answered(seed: u64) {
    let over = |leave| {
        async move |client: Client| {
            let mut connection = client.open().await;
            connection.send(request("/sleep")).await.unwrap();
            client.sleep(seconds(1)).await;
            let Leave::Close = leave else { return connection.reset() };
            connection.end();
            assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "slept");
            assert_eq!(connection.receive().await, Ok(None));
        }
    };
    check(seed, &Config::default(), over(Leave::Close), &["over"]);
    check(seed, &Config::default(), over(Leave::Reset), &["over"]);
}

#[shardwise::test(seeds = 3)]
fn a_client_that_has_only_ended_its_side_is_answered(seed: u64) {
    for (end_cancels, answer) in [(true, "given up"), (false, "slept")] {
        let config = Config { end_cancels, ..Config::default() };
        let work = async move |client: Client| {
            let mut connection = client.open().await;
            connection.send(request("/nap") + &request("/nap") + &request("/hello")).await.unwrap();
            connection.end();
            for expect in [answer, answer, "hello"] {
                assert_eq!(connection.response(&Method::GET).await.unwrap().text(), expect);
            }
            assert_eq!(connection.receive().await, Ok(None));
        };
        check(seed, &config, work, &[]);
    }
}

/// Whoever ends in the middle of a request has left, whatever is configured.
#[shardwise::test(seeds = 3)]
fn who_ends_in_the_middle_of_a_body_has_left(seed: u64) {
    let config = Config { end_cancels: false, ..Config::default() };
    let work = async |client: Client| {
        let mut connection = client.open().await;
        connection.send("POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
        connection.end();
        let _ = connection.receive().await;
    };
    let expect = ["the connection ended before the body did", "client disconnected → request 1", "over"];
    check(seed, &config, work, &expect);
}

/// A pipeline behind the request, short and longer than is received ahead.
#[shardwise::test(seeds = 3)]
fn a_pipeline_does_not_hide_that_its_client_has_left(seed: u64) {
    for leave in WAYS {
        let work = sends(request("/wait") + &request("/hello").repeat(20), leave);
        check(seed, &Config::default(), work, &["client disconnected → request 1 → query"]);
    }
    // Of such a length nothing is seen but by the answer, and that the time limit brings.
    let config = Config { request_time_max: Some(seconds(10)), ..Config::default() };
    let work = sends(request("/wait") + &request("/hello").repeat(2000), Leave::Reset);
    check(seed, &config, work, &["the deadline passed → request 1 → query"]);
}

#[shardwise::test(seeds = 3)]
fn a_stream_learns_that_its_client_has_left(seed: u64) {
    for (leave, expect) in [
        (Leave::Close, &["client disconnected → request 1", "over"][..]),
        (Leave::Reset, &["client disconnected → request 1", "over"][..]),
    ] {
        let work = async move |client: Client| {
            let mut connection = client.open().await;
            connection.send(request("/stream")).await.unwrap();
            let mut text = String::new();
            while !text.contains("first") {
                text += std::str::from_utf8(&connection.receive().await.unwrap().unwrap()).unwrap();
            }
            client.sleep(seconds(1)).await;
            leave.leave(connection);
        };
        check(seed, &Config::default(), work, expect);
    }
}

#[shardwise::test(seeds = 3)]
fn an_answer_that_fails_ends_its_request(seed: u64) {
    let work = async |client: Client| {
        let mut connection = client.open().await;
        connection.send(request("/failing")).await.unwrap();
        let failure = connection.response(&Method::GET).await.unwrap_err();
        assert!(matches!(failure, Failure::Cut | Failure::Closed), "{failure:?}");
    };
    check(seed, &Config::default(), work, &["its answer cannot be finished → request 1"]);
}

#[shardwise::test(seeds = 3)]
fn tasks_of_a_request_end_with_it_and_are_waited_for(seed: u64) {
    for leave in WAYS {
        let expect = ["a task is gone", "a task is gone", "client disconnected → request 1"];
        let config = Config { request_time_max: Some(seconds(10)), ..Config::default() };
        let log = logged(seed, &config, sends(request("/tasks"), leave));
        assert_eq!(log, expect, "{leave:?}");
    }
    // By an answer, which is not kept waiting; the next request is.
    let work = async |client: Client| {
        let mut connection = client.open().await;
        let begun = client.now();
        connection.send(request("/answered") + &request("/hello")).await.unwrap();
        assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "answered");
        assert!(client.now() - begun < seconds(1), "{:?}", client.now() - begun);
        assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "hello");
        assert!(client.now() - begun >= seconds(1), "{:?}", client.now() - begun);
    };
    let expect = ["a task is gone", "a task is gone", "its request has ended → request 1"];
    check(seed, &Config::default(), work, &expect);
}

/// What does not end in time is left to the drain, which waits for it.
#[shardwise::test(seeds = 3)]
fn a_task_that_does_not_end_is_not_waited_for_longer_than_is_said(seed: u64) {
    let log = Log::default();
    let kept = log.clone();
    let server = test::builder().seed(seed).start(move |shard| app(&shard, &kept, Config::default()));
    server.run(async |client| {
        let mut connection = client.open().await;
        let begun = client.now();
        connection.send(request("/stubborn") + &request("/hello")).await.unwrap();
        assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "answered");
        assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "hello");
        let waited = client.now() - begun;
        assert!(waited >= seconds(5) && waited < seconds(6), "{waited:?}");
    });
    assert!(log.borrow().is_empty());
    server.end();
    assert_eq!(*log.borrow(), ["gone at last"]);
}

#[shardwise::test(seeds = 3)]
fn a_request_that_takes_too_long_is_ended(seed: u64) {
    let config = Config { request_time_max: Some(seconds(10)), ..Config::default() };
    let ask = |path: &'static str, check: fn(Result<test::Response, Failure>)| {
        async move |client: Client| {
            let mut connection = client.open().await;
            let begun = client.now();
            connection.send(request(path)).await.unwrap();
            check(connection.response(&Method::GET).await);
            let waited = client.now() - begun;
            assert!(waited >= seconds(10) && waited < seconds(11), "{waited:?}");
        }
    };
    // A handler that looks has its own word.
    let given_up = |response: Result<test::Response, Failure>| assert_eq!(response.unwrap().text(), "given up");
    check(seed, &config, ask("/wait", given_up), &["the deadline passed → request 1 → query"]);
    // One that does not is dropped.
    let overdue = |response: Result<test::Response, Failure>| {
        let response = response.unwrap();
        assert_eq!((response.status().as_u16(), response.header("connection")), (503, "close"));
    };
    let expect = ["a task is gone", "a task is gone", "the deadline passed → request 1"];
    check(seed, &config, ask("/tasks", overdue), &expect);
    // An answer that has begun may come to its end by itself; else it is cut, so that the client learns that something is
    // missing.
    let whole = |response: Result<test::Response, Failure>| assert_eq!(response.unwrap().text(), "firstlast");
    check(seed, &config, ask("/stream", whole), &["the deadline passed → request 1", "over"]);
    let cut = |response: Result<test::Response, Failure>| assert_eq!(response.unwrap_err(), Failure::Cut);
    check(seed, &config, ask("/endless", cut), &["over"]);
    // A body that is slow to come, but not too slow for that limit.
    let work = async |client: Client| {
        let mut connection = client.open().await;
        connection.send("POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
        assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "cut");
        assert_eq!(connection.receive().await, Ok(None));
    };
    let expect = ["the body did not arrive in time", "the deadline passed → request 1", "over"];
    check(seed, &config, work, &expect);
}

#[shardwise::test(seeds = 3)]
fn a_handler_sees_how_much_time_is_left(seed: u64) {
    let config = Config { request_time_max: Some(seconds(10)), ..Config::default() };
    let work = async |client: Client| {
        let mut connection = client.open().await;
        for _ in 0..3 {
            connection.send(request("/left")).await.unwrap();
            assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "10");
            client.sleep(seconds(20)).await;
        }
    };
    check(seed, &config, work, &[]);
}

/// A time limit that has not passed is of no consequence to what comes later on the connection.
#[shardwise::test(seeds = 3)]
fn the_time_limit_is_of_each_request(seed: u64) {
    let config = Config { request_time_max: Some(seconds(3)), ..Config::default() };
    let work = async |client: Client| {
        let mut connection = client.open().await;
        for _ in 0..3 {
            connection.send(request("/nap")).await.unwrap();
            assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "slept");
            connection.send(request("/hello")).await.unwrap();
            assert_eq!(connection.response(&Method::GET).await.unwrap().text(), "hello");
        }
    };
    check(seed, &config, work, &[]);
}

/// A call to another shard is cancelled when its request's client resets the connection.
#[shardwise::test(seeds = 3)]
fn a_call_to_another_shard_ends_with_the_client(seed: u64) {
    let log = Log::default();
    let kept = log.clone();
    let config = Config { request_time_max: Some(seconds(30)), ..Config::default() };
    let builder = test::builder().seed(seed).shards(2).plan(Plan::CHOPPY);
    let server = builder.start(move |shard| {
        let shard_again = shard.clone();
        app(&shard, &kept, config.clone()).get("/gone", async move || {
            let mut all = Vec::new();
            for number in 0..2 {
                let gone = |there: &Shard| there.local(|| RefCell::new(Vec::<String>::new())).borrow().join(", ");
                all.push(shard_again.on(number, gone).await.unwrap());
            }
            all.concat()
        })
    });
    server.run(sends(request("/there"), Leave::Reset));
    server.advance(seconds(1));
    assert_eq!(*log.borrow(), ["the caller is gone"]);
    assert_eq!(server.get("/gone").text(), "the caller has gone → call");
    let response = server.get("/there");
    assert_eq!(response.status(), 503, "when the time is over");
    assert_eq!(log.borrow().len(), 2);
}

#[shardwise::test(seeds = 3)]
fn a_trace_travels_from_the_client_to_other_shards(seed: u64) {
    let server = test::builder().seed(seed).shards(2).start(|shard| {
        let peer = 1 - shard.number();
        App::new().get("/trace", async move |shard: Shard| {
            yield_now().await;
            let there = async |there: Shard| there.current_scope().unwrap().trace();
            let trace = shard.on_async(peer, there).await.unwrap();
            trace.map_or("none".to_owned(), |trace| trace.to_string())
        })
    });
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = |headers: &[&str]| {
        let mut request = test::Request::get("/trace");
        for header in headers {
            request = request.header("traceparent", *header);
        }
        server.send(request).text().to_owned()
    };
    assert_eq!(ask(&[sent]), sent);
    assert_eq!(ask(&[]), "none");
    assert_eq!(ask(&[&sent[..54]]), "none");
    assert_eq!(ask(&[sent, sent]), "none", "which one, if there are two?");
}
