//! Many requests at a time, and what servers may say of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, Version};
use platform::Buf;
use platform::sim::Plan;
use proto::h2::Code;
use shards::Shard;
use shardwise_net::client::{self, Error, Step};
use shardwise_net::{BodyStream, Client, Content, Headers};

use super::every::every;
use super::kit::*;

/// Answers every request by the number of its stream.
fn numbers() -> Script {
    script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        while let Some(asked) = wire.hear(HEADERS).await {
            wire.say(answer(asked.stream, &asked.stream.to_string())).await;
        }
    })
}

async fn text(client: &Client) -> Result<String, String> {
    let told = async {
        let mut response = client.get(URL).send().await?;
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        response.text().await
    };
    told.await.map_err(|error| error.to_string())
}

#[test]
fn requests_go_over_one_connection() {
    let ask = async |client: &Client, _: &Shard| {
        let mut all = vec![text(client).await, text(client).await];
        all.extend(every((0..5).map(|_| text(client))).await);
        all
    };
    let expect = (0..7).map(|place| Ok((2 * place + 1).to_string())).collect();
    check(numbers(), ask, expect, 1);
}

/// As many at a time as the server admits, the others in their order; and those that stop waiting are in nobody's way.
#[test]
fn what_the_server_admits_is_kept_to() {
    for seed in 0..20 {
        let most = Rc::new(Cell::new(0));
        let seen = Rc::clone(&most);
        let script = script(async move |wire| {
            wire.say(setting(3, 10)).await;
            let mut open = BTreeSet::new();
            loop {
                // Whoever has been open for longest is answered when nothing more comes.
                let shard = wire.shard.clone();
                match shard.timeout(Duration::from_millis(2), wire.next()).await {
                    Ok(Some(frame)) if frame.kind == HEADERS => {
                        open.insert(frame.stream);
                        seen.set(seen.get().max(open.len()));
                    }
                    Ok(Some(frame)) if frame.kind == RST_STREAM => drop(open.remove(&frame.stream)),
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(_) => {
                        if let Some(first) = open.pop_first() {
                            wire.say(answer(first, "x")).await;
                        }
                    }
                }
            }
        });
        let ask = async |client: &Client, shard: &Shard| {
            // Before this the server has said nothing.
            assert_eq!(text(client).await, Ok("x".into()));
            let order = RefCell::new(Vec::new());
            let ask = async |number: usize| {
                let asked =
                    shard.timeout(Duration::from_millis(if number % 7 == 3 { 1 } else { 3000 }), text(client)).await;
                if asked.is_ok() {
                    order.borrow_mut().push(number);
                }
            };
            every((0..60).map(ask)).await;
            order.into_inner()
        };
        let (order, connections) = play(seed, Plan::CALM, script, ask);
        assert_eq!((most.get(), connections), (10, 1), "seed {seed}");
        let expect: Vec<_> = (0..60).filter(|number| number % 7 != 3).collect();
        assert_eq!(order, expect, "seed {seed}");
    }
}

#[test]
fn a_request_that_is_dropped_resets_its_stream_and_no_other() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let (first, second) = (wire.hear(HEADERS).await.unwrap(), wire.hear(HEADERS).await.unwrap());
        wire.say([head(first.stream, 0), data(first.stream, 0, b"begun")].concat()).await;
        wire.say(answer(second.stream, "whole")).await;
        let reset = wire.hear(RST_STREAM).await.unwrap();
        assert_eq!((reset.stream, reset.code()), (first.stream, CANCEL));
        // What was on its way is no mistake.
        wire.say(data(first.stream, END_STREAM, b"late")).await;
        let third = wire.hear(HEADERS).await.unwrap();
        wire.say(answer(third.stream, "after")).await;
        wire.end().await;
    });
    let ask = async |client: &Client, _: &Shard| {
        let (first, second) = (client.get(URL).send(), text(client));
        let both = every([
            Box::pin(async {
                let mut response = first.await.unwrap();
                let mut begun = Vec::new();
                while begun.len() < 5 {
                    begun.extend_from_slice(&response.chunk().await.unwrap().unwrap());
                }
                String::from_utf8(begun).unwrap()
            }) as Pin<Box<dyn Future<Output = String>>>,
            Box::pin(async { second.await.unwrap() }),
        ])
        .await;
        (both, text(client).await)
    };
    check(script, ask, (vec!["begun".to_owned(), "whole".to_owned()], Ok("after".to_owned())), 1);
}

#[test]
fn what_a_leaving_server_has_not_looked_at_is_asked_again() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        if wire.number == 0 {
            for _ in 0..3 {
                wire.hear(HEADERS).await.unwrap();
            }
            wire.say(goaway(0x7fff_ffff, NO_ERROR)).await;
            wire.sleep(2).await;
            wire.say(goaway(1, NO_ERROR)).await;
            wire.sleep(2).await;
            wire.say(answer(1, "old")).await;
            wire.end().await;
        } else {
            while let Some(asked) = wire.hear(HEADERS).await {
                wire.say(answer(asked.stream, "new")).await;
            }
        }
    });
    let ask = async |client: &Client, _: &Shard| {
        let streamed = async {
            let body = Content::Stream(Box::pin(Pieces(vec!["a".into(), "b".into()])));
            match client.post(URL).body(body).send().await {
                Ok(_) => "answered".to_owned(),
                Err(error) => format!("{error:?} {}", error.can_retry()),
            }
        };
        let all: [Pin<Box<dyn Future<Output = String>>>; 3] = [
            Box::pin(async { text(client).await.unwrap() }),
            Box::pin(async { text(client).await.unwrap() }),
            Box::pin(streamed),
        ];
        every(all).await
    };
    check(script, ask, vec!["old".to_owned(), "new".to_owned(), "Unprocessed true".to_owned()], 2);
}

#[test]
fn what_is_refused_is_asked_once_more() {
    let ask = async |client: &Client, _: &Shard| text(client).await;
    for (times, expect) in [(1, Ok("3".to_owned())), (2, Err(Error::Unprocessed.to_string()))] {
        let script = script(async move |wire| {
            wire.say(frame(SETTINGS, 0, 0, b"")).await;
            for place in 0.. {
                let Some(asked) = wire.hear(HEADERS).await else { return };
                let says = if place < times { reset(asked.stream, REFUSED_STREAM) } else { answer(asked.stream, "3") };
                wire.say(says).await;
            }
        });
        check(script, ask, expect, 1);
    }
}

#[test]
fn a_reset_says_why() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        wire.say(reset(asked.stream, 2)).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        wire.say([head(asked.stream, 0), data(asked.stream, 0, b"begun"), reset(asked.stream, 0xd)].concat()).await;
        wire.end().await;
    });
    let ask = async |client: &Client, _: &Shard| {
        let first = client.get(URL).send().await.unwrap_err();
        let mut response = client.get(URL).send().await.unwrap();
        let second = response.text().await.unwrap_err();
        [first, second].map(|error| match error {
            Error::Reset(client::Code::Http2(code)) => code,
            other => panic!("{other}"),
        })
    };
    check(script, ask, [Code::INTERNAL_ERROR, Code::HTTP_1_1_REQUIRED], 1);
}

/// An answer may be whole before the request is: what is left of that is not wanted (RFC 9113 section 8.1).
#[test]
fn an_answer_before_the_request_has_ended_counts() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        wire.say([answer(asked.stream, "no need"), reset(asked.stream, NO_ERROR)].concat()).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        wire.say(answer(asked.stream, "on")).await;
        wire.end().await;
    });
    let ask = async |client: &Client, _: &Shard| {
        let mut response = client.post(URL).body(vec![7; 500_000]).send().await.unwrap();
        (response.text().await.unwrap(), text(client).await)
    };
    check(script, ask, ("no need".to_owned(), Ok("on".to_owned())), 1);
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        let mut bytes = 0;
        loop {
            let next = wire.next().await.unwrap();
            match next.kind {
                DATA => {
                    bytes += next.payload.len();
                    let more = (next.payload.len() as u32).to_be_bytes();
                    if !next.payload.is_empty() {
                        let both = [frame(WINDOW_UPDATE, 0, 0, &more), frame(WINDOW_UPDATE, 0, asked.stream, &more)];
                        wire.say(both.concat()).await;
                    }
                }
                HEADERS => {
                    assert!(next.ends());
                    break;
                }
                _ => {}
            }
        }
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, b"\0\x05x-sum\x013");
        let (head, body) = (head(asked.stream, 0), data(asked.stream, 0, bytes.to_string().as_bytes()));
        wire.say([head, body, trailers].concat()).await;
        wire.end().await;
    });
    let ask = async |client: &Client, _: &Shard| {
        let pieces = (0..50).map(|_| vec![1; 5000].into()).collect();
        let asked = client.post(URL).body(Content::Stream(Box::pin(Pieces(pieces))));
        let mut response = asked.send().await.unwrap();
        let text = response.text().await.unwrap();
        let trailers = response.trailers().and_then(|trailers| trailers.get("x-sum").map(<[u8]>::to_vec));
        (text, trailers)
    };
    check(script, ask, ("250000".to_owned(), Some(b"3".to_vec())), 1);
}

/// Pieces of a body, and a trailer field.
struct Pieces(Vec<Buf>);

impl BodyStream for Pieces {
    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Buf, Box<dyn std::error::Error>>>> {
        let next = if self.0.is_empty() { None } else { Some(Ok(self.0.remove(0))) };
        Poll::Ready(next)
    }

    fn trailers(self: Pin<&mut Self>) -> Headers {
        let mut headers = Headers::default();
        headers.append(HeaderName::from_static("x-end"), HeaderValue::from_static("y"));
        headers
    }
}

#[test]
fn a_body_waits_until_it_is_asked_for() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        // Asked for, not asked for, not wanted.
        for place in 0..3 {
            let asked = wire.hear(HEADERS).await.unwrap();
            match place {
                0 => {
                    wire.sleep(100).await;
                    wire.say(frame(HEADERS, END_HEADERS, asked.stream, b"\x08\x03100")).await;
                    assert!(wire.hear(DATA).await.unwrap().ends());
                    wire.say(answer(asked.stream, "asked")).await;
                }
                1 => {
                    assert!(wire.hear(DATA).await.unwrap().ends());
                    wire.say(answer(asked.stream, "unasked")).await;
                }
                _ => {
                    wire.say(answer(asked.stream, "no")).await;
                    assert_eq!(wire.hear(RST_STREAM).await.unwrap().stream, asked.stream);
                }
            }
        }
        wire.end().await;
    });
    let ask = async |client: &Client, _: &Shard| {
        let mut texts = Vec::new();
        for _ in 0..3 {
            let mut response = client.post(URL).body("body").expect_continue().send().await.unwrap();
            texts.push(response.text().await.unwrap());
        }
        texts
    };
    check(script, ask, ["asked", "unasked", "no"].map(str::to_owned).to_vec(), 1);
}

/// Whoever does not read holds up its own stream, and no other.
#[test]
fn a_slow_reader_holds_up_its_own_stream() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        wire.say(head(asked.stream, 0)).await;
        for _ in 0..3 {
            wire.say(data(asked.stream, 0, &[7; 16_384])).await;
        }
        wire.say(data(asked.stream, 0, &[7; 16_383])).await;
        let other = wire.hear(HEADERS).await.unwrap();
        wire.say(answer(other.stream, "other")).await;
        loop {
            let update = wire.hear(WINDOW_UPDATE).await.unwrap();
            if update.stream == asked.stream {
                break;
            }
        }
        wire.say(data(asked.stream, END_STREAM, b"end")).await;
        wire.end().await;
    });
    let ask = async |client: &Client, shard: &Shard| {
        let mut response = client.get(URL).send().await.unwrap();
        shard.sleep(Duration::from_secs(25)).await;
        let other = text(client).await;
        (other, response.bytes().await.unwrap().len())
    };
    check(script, ask, (Ok("other".to_owned()), 65_538), 1);
}

#[test]
fn an_idle_connection_is_closed_in_order_and_a_new_one_made() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        wire.say(answer(asked.stream, &wire.number.to_string())).await;
        let said = wire.hear(GOAWAY).await.expect("it says that it goes");
        assert_eq!(said.code(), NO_ERROR);
        assert_eq!(wire.next().await, None);
    });
    let ask = async |client: &Client, shard: &Shard| {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(text(client).await);
            shard.sleep(Duration::from_secs(31)).await;
        }
        all
    };
    check(script, ask, ["0", "1", "2"].map(|text| Ok(text.to_owned())).to_vec(), 3);
}

#[test]
fn a_connection_that_ends_ends_its_requests() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        let asked = wire.hear(HEADERS).await.unwrap();
        match wire.number {
            // Before the head, in the middle, and as the second request comes.
            0 => {}
            1 => drop(wire.say([head(asked.stream, 0), data(asked.stream, 0, b"begun")].concat()).await),
            2 => {
                wire.say(answer(asked.stream, "one")).await;
                wire.hear(HEADERS).await;
            }
            _ => {
                wire.say(answer(asked.stream, "again")).await;
                wire.end().await;
            }
        }
    });
    let ask = async |client: &Client, _: &Shard| {
        let mut all = vec![text(client).await, text(client).await];
        all.extend([text(client).await, text(client).await]);
        all
    };
    let closed = Err(Error::Closed.to_string());
    let truncated = Err(Error::Truncated.to_string());
    check(script, ask, vec![closed, truncated, Ok("one".to_owned()), Ok("again".to_owned())], 4);
}

/// Dropped at every point, it leaves nothing.
#[test]
fn a_request_may_be_dropped_at_any_point() {
    for polls in 0..40 {
        let script = script(async |wire| {
            wire.say(setting(3, 1)).await;
            while let Some(asked) = wire.hear(HEADERS).await {
                wire.say(answer(asked.stream, "x")).await;
            }
        });
        let ask = async move |client: &Client, _: &Shard| {
            let mut asks = Box::pin(every(
                (0..3).map(|_| async { client.post(URL).body(vec![7; 100_000]).send().await.map(drop).map_err(drop) }),
            ));
            let mut left = polls;
            poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                asks.as_mut().poll(cx).map(drop)
            })
            .await;
        };
        let ((), connections) = play(1, Plan::CHOPPY, script, ask);
        assert!(connections <= 3);
    }
}

/// A server that is silent, and one that does not take what is sent, are given up in time; after a silence on the whole
/// connection, the next request goes by another.
#[test]
fn slow_servers_are_given_up() {
    let script = script(async |wire| {
        wire.say(setting(4, 0)).await;
        if wire.number == 0 {
            return wire.end().await;
        }
        while let Some(asked) = wire.hear(HEADERS).await {
            if asked.ends() {
                wire.say(answer(asked.stream, "x")).await;
            } else {
                wire.say(head(asked.stream, 0)).await;
            }
        }
    });
    let ask = async |client: &Client, _: &Shard| {
        let head = client.get(URL).send().await.unwrap_err();
        let mut response = client.post(URL).body(vec![7; 200_000]).send().await.unwrap();
        let write = response.text().await.unwrap_err();
        let same = text(client).await;
        [head, write].map(|error| match error {
            Error::TimedOut(step) => (step, same.clone()),
            other => panic!("{other}"),
        })
    };
    let same = Ok("x".to_owned());
    check(script, ask, [(Step::Head, same.clone()), (Step::Write, same)], 3);
}
