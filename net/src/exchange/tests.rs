//! The exchange without a connection: bodies fed by hand, requests built from heads as the engine leaves them.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::header::{ACCEPT, CONTENT_TYPE, SERVER};
use http::{HeaderValue, Method, StatusCode};
use platform::{Chunk, Pool, PoolSize};
use proto::h1::{Event, Limits, Server};
use proto::head::Known;
use shards::{Shard, Simulation};

use super::*;

fn pool() -> Pool {
    Pool::new(PoolSize { head_buffers: 2, bulk_buffers: 2, bytes: 1 << 20 })
}

fn chunk(pool: &Pool, bytes: &[u8]) -> Chunk {
    let mut chunk = pool.lease(bytes.len()).expect("the pool is not exhausted");
    chunk.put(bytes);
    chunk.freeze()
}

/// Reads until the body has no more to give at the moment: the text, and how it ended if it did.
fn read(body: &mut Body) -> (String, Option<Result<(), BodyError>>) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut text = String::new();
    loop {
        match body.poll_chunk(&mut cx) {
            Poll::Ready(Ok(Some(chunk))) => text.push_str(std::str::from_utf8(&chunk).expect("the tests feed text")),
            Poll::Ready(Ok(None)) => return (text, Some(Ok(()))),
            Poll::Ready(Err(error)) => return (text, Some(Err(error))),
            Poll::Pending => return (text, None),
        }
    }
}

/// Feeds `pieces` and an end to a body of the announced length and limit, and compares what its reader gets.
#[track_caller]
fn check(
    length: Option<u64>,
    limit: Option<u64>,
    pieces: &[&str],
    end: Option<Result<(), BodyError>>,
    expect: (&str, Option<Result<(), BodyError>>),
) {
    let pool = pool();
    let (incoming, mut body) = Body::channel(length);
    if let Some(limit) = limit {
        body.limit(limit);
    }
    for piece in pieces {
        incoming.push(chunk(&pool, piece.as_bytes()));
    }
    if let Some(end) = end {
        incoming.finish(end);
    }
    let (text, ended) = read(&mut body);
    assert_eq!((text.as_str(), ended), expect);
}

#[test]
fn a_body_gives_its_chunks_in_order_and_then_its_end() {
    check(None, None, &[], None, ("", None));
    check(None, None, &["ab", "c"], None, ("abc", None));
    check(None, None, &["ab", "c"], Some(Ok(())), ("abc", Some(Ok(()))));
    check(Some(3), None, &["ab", "c"], Some(Err(BodyError::Truncated)), ("abc", Some(Err(BodyError::Truncated))));
}

#[test]
fn a_limit_counts_what_is_announced_and_what_arrives() {
    let too_large = Some(Err(BodyError::TooLarge { max: 3 }));
    check(Some(3), Some(3), &["abc"], Some(Ok(())), ("abc", Some(Ok(()))));
    check(Some(4), Some(3), &[], None, ("", too_large));
    check(Some(u64::MAX), Some(3), &[], None, ("", too_large));
    check(None, Some(3), &["ab", "cd"], None, ("", too_large));
}

#[test]
fn an_empty_body_has_ended() {
    let mut body = Body::empty();
    assert_eq!(body.length(), Some(0));
    assert_eq!(read(&mut body), (String::new(), Some(Ok(()))));
}

#[test]
fn a_body_that_came_with_its_head_is_like_any_other() {
    let pool = pool();
    let whole = || Body::whole(chunk(&pool, b"abc"));
    assert_eq!((whole().length(), read(&mut whole())), (Some(3), ("abc".to_owned(), Some(Ok(())))));
    assert!(matches!(Content::from(whole()), Content::Full(buf) if *buf == *b"abc"));
    // Until it is read, a limit may still be set, and another.
    let mut body = whole();
    body.limit(2);
    assert_eq!(read(&mut body), (String::new(), Some(Err(BodyError::TooLarge { max: 2 }))));
    body.limit(3);
    assert_eq!(read(&mut body), ("abc".to_owned(), Some(Ok(()))));
    assert_eq!(read(&mut body), (String::new(), Some(Ok(()))));
    let mut body = whole();
    body.limit(2);
    assert!(matches!(Content::from(body), Content::Body(body) if body.length() == Some(3)));
}

#[test]
fn more_is_wanted_only_while_the_reader_waits_for_it() {
    let pool = pool();
    let (incoming, mut body) = Body::channel(None);
    assert!(!incoming.is_wanted(), "nobody reads yet");
    read(&mut body);
    assert!(incoming.is_wanted());
    incoming.push(chunk(&pool, b"x"));
    assert!(!incoming.is_wanted());
    read(&mut body);
    incoming.finish(Ok(()));
    incoming.finish(Err(BodyError::Truncated));
    assert!(!incoming.is_wanted());
    assert_eq!(read(&mut body).1, Some(Ok(())), "the first word stands");
    assert!(!incoming.is_forsaken());
    drop(body);
    assert!(incoming.is_forsaken());
}

/// Runs `test` on a shard of a simulated machine.
fn on_a_shard(test: impl FnOnce(&Shard) + 'static) {
    Simulation::new(1).run(async move |shard| test(&shard));
}

fn request(shard: &Shard, spares: &Rc<HeadSpares>, head: &str) -> Request {
    let mut table = spares.take();
    let step = Server::new().receive(head.as_bytes(), &mut table, &Limits::default()).expect("a good head");
    assert!(matches!(step.event, Event::Head(_)), "a whole head");
    let head = Head::new(chunk(shard.pool(), head.as_bytes()), table, Rc::clone(spares));
    Request::new(head, Body::empty(), Peer::none(shard))
}

#[test]
fn a_request_shows_its_head_as_it_was_sent() {
    on_a_shard(|shard| {
        let head = "POST /a%20b?q=1&r HTTP/1.1\r\nHost: here\r\nX-One: 1\r\nAccept: a\r\nx-one: 2\r\n\r\n";
        let mut request = request(shard, &Rc::default(), head);
        assert_eq!(request.method(), &Method::POST);
        assert_eq!((request.path(), request.query(), request.target()), ("/a%20b", Some("q=1&r"), "/a%20b?q=1&r"));
        assert_eq!(request.version(), http::Version::HTTP_11);
        assert_eq!(request.known(Known::Accept), Some(&b"a"[..]));
        assert_eq!(request.header("X-ONE"), Some(&b"1"[..]));
        assert_eq!(request.header("x-two"), None);
        let names: Vec<_> = request.headers().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"Host"[..], b"X-One", b"Accept", b"x-one"]);
        assert_eq!(request.take_body().length(), Some(0));
        assert_eq!((request.peer().remote(), request.peer().local()), (None, None));
    });
}

#[test]
fn what_was_for_one_connection_does_not_go_on() {
    on_a_shard(|shard| {
        let head =
            "GET / HTTP/1.1\r\nHost: here\r\nConnection: close, X-One\r\nX-One: 1\r\nTE: trailers\r\nX-Two: 2\r\n\r\n";
        let headers = request(shard, &Rc::default(), head).end_to_end();
        let lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(lines, [("host", &b"here"[..]), ("x-two", b"2")]);
    });
}

#[test]
fn a_head_gives_its_memory_back() {
    on_a_shard(|shard| {
        let spares = Rc::default();
        drop(request(shard, &spares, "GET / HTTP/1.1\r\nHost: here\r\n\r\n"));
        assert_eq!(format!("{spares:?}"), "HeadSpares(1)");
        assert_eq!(shard.pool().stats().pooled_bytes, 0);
        drop(spares.take());
        assert_eq!(format!("{spares:?}"), "HeadSpares(0)");
    });
}

#[test]
fn headers_keep_their_order_and_set_replaces_all_lines_of_a_name() {
    let mut headers = Headers::default();
    assert!(headers.is_empty());
    for (name, value) in [(CONTENT_TYPE, "a"), (ACCEPT, "b"), (CONTENT_TYPE, "c")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    assert_eq!(headers.len(), 3);
    assert_eq!(headers.get(&CONTENT_TYPE).map(HeaderValue::as_bytes), Some(&b"a"[..]));
    headers.set(CONTENT_TYPE, HeaderValue::from_static("d"));
    let lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(lines, [("accept", &b"b"[..]), ("content-type", b"d")]);
    assert!(headers.get(&SERVER).is_none());
    headers.append(ACCEPT, HeaderValue::from_static("e"));
    headers.remove(&ACCEPT);
    let lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(lines, [("content-type", &b"d"[..])]);
    static TYPE: Made = Made::new(CONTENT_TYPE, HeaderValue::from_static("made"), "content-type: made\r\n");
    let mut headers = Headers::of(&TYPE);
    headers.remove(&CONTENT_TYPE);
    assert!(headers.is_empty());
}

#[test]
fn a_line_made_beforehand_comes_first_and_gives_way() {
    static TYPE: Made = Made::new(CONTENT_TYPE, HeaderValue::from_static("made"), "content-type: made\r\n");
    let names = |headers: &Headers| headers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(" ");
    let mut headers = Headers::of(&TYPE);
    headers.append(ACCEPT, HeaderValue::from_static("b"));
    assert_eq!((names(&headers).as_str(), headers.len()), ("content-type accept", 2));

    let mut said = Headers::default();
    said.append(ACCEPT, HeaderValue::from_static("x"));
    said.add_missing(headers.clone());
    assert_eq!(names(&said), "content-type accept");
    assert_eq!(said.get(&ACCEPT).map(HeaderValue::as_bytes), Some(&b"x"[..]));

    headers.set(CONTENT_TYPE, HeaderValue::from_static("set"));
    assert_eq!(names(&headers), "accept content-type");
    headers.add_missing(Headers::of(&TYPE));
    assert_eq!(headers.get(&CONTENT_TYPE).map(HeaderValue::as_bytes), Some(&b"set"[..]));
}

#[test]
fn content_knows_its_length_if_it_can() {
    let (_incoming, unknown) = Body::channel(None);
    assert_eq!(Content::Empty.length(), Some(0));
    assert_eq!(Content::from("abc").length(), Some(3));
    assert_eq!(Content::Body(unknown).length(), None);
    assert_eq!(Response::new(StatusCode::OK).with_content("ab".into()).content.length(), Some(2));
}
