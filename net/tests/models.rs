//! One function that talks to a server, under every execution model, on each backend and on a simulated machine.

#![allow(clippy::disallowed_methods, reason = "threads of one's own are among what is tested")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use platform::sim::Plan;
use platform::{BackendKind, Choice, Config, ListenOptions, select};
use shards::{Cancelled, Model, Runtime, Shard, Simulation, Wait, model};
use shardwise_net::{Listener, Result, TcpStream};

/// Asks a server that sends back what it gets, a few times, and gives what came back: code for every model but one.
fn ask(shard: &Shard, server: SocketAddr, text: &str) -> std::result::Result<Result<String>, Cancelled> {
    let mut stream = match TcpStream::connect(shard, server).wait()? {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    let mut answer = Vec::new();
    for round in 0..3 {
        if let Err(error) = stream.send(text.as_bytes().to_vec()).wait()? {
            return Ok(Err(error));
        }
        while answer.len() < (round + 1) * text.len() {
            match stream.recv().wait()? {
                Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        shard.sleep(Duration::from_millis(1)).wait()?;
    }
    Ok(Ok(String::from_utf8_lossy(&answer).into_owned()))
}

/// The same, for the model that is left.
async fn ask_async(shard: &Shard, server: SocketAddr, text: &str) -> Result<String> {
    let mut stream = TcpStream::connect(shard, server).await?;
    let mut answer = Vec::new();
    for round in 0..3 {
        stream.send(text.as_bytes().to_vec()).await?;
        while answer.len() < (round + 1) * text.len() {
            match stream.recv().await? {
                Some(chunk) => answer.extend_from_slice(&chunk),
                None => break,
            }
        }
        shard.sleep(Duration::from_millis(1)).await;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Three times what was sent.
#[track_caller]
fn check(expected: Model, found: (Model, std::result::Result<Result<String>, Cancelled>)) {
    let (model, answer) = found;
    assert_eq!(model, expected);
    assert_eq!(answer.expect("nobody cancels").expect("the server answers"), "hello hello hello ", "{model:?}");
}

const TEXT: &str = "hello ";

/// Serves on a thread of its own until the process ends.
fn echo_server() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 64];
            while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..bytes]).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn on_a_plain_thread() {
    let server = echo_server();
    let thread = std::thread::spawn(move || {
        for _ in 0..2 {
            check(Model::Thread, (model(), ask(&Shard::here(), server, TEXT)));
        }
        let shard = Shard::here();
        assert_eq!(ask_async(&shard, server, TEXT).wait().unwrap().unwrap(), "hello hello hello ");
    });
    thread.join().unwrap();
}

#[test]
fn a_stream_that_is_dropped_between_waits_is_closed() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let server = listener.local_addr().expect("it is bound");
    let thread = std::thread::spawn(move || {
        let shard = Shard::here();
        let mut stream = TcpStream::connect(&shard, server).wait().unwrap().unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        // A receive is under way when it is dropped.
        let received = shard.timeout(Duration::from_millis(5), stream.recv()).wait().unwrap();
        assert!(received.is_err(), "nobody sends");
        stream.send("all").wait().unwrap().unwrap();
        drop(stream);
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("the end comes without another wait");
        assert_eq!(text, "all");
        // The peer is gone when the next begins.
        assert_eq!(shard.sleep(Duration::from_millis(1)).wait(), Ok(()));
    });
    thread.join().unwrap();
}

#[test]
fn on_shards() {
    let server = echo_server();
    for kind in [BackendKind::Uring, BackendKind::Epoll, BackendKind::Polling] {
        if let Err(error) = select(Choice::Force(kind), &Config::default()) {
            println!("{kind} is skipped: {error}");
            continue;
        }
        let runtime = Runtime::builder().shards(2).oversubscribe(true).handle_signals(false).announce(false);
        let outcome = runtime.backend(Choice::Force(kind)).run(async move |shard: Shard| {
            let here = shard.clone();
            let green = shard.green(move || (model(), ask(&here, server, TEXT))).expect("a stack");
            let job = shard.offload(move || (model(), ask(&Shard::here(), server, TEXT).map(std::result::Result::ok)));
            let task = (model(), Ok(ask_async(&shard, server, TEXT).await));
            check(Model::Task, task);
            check(Model::Green, green.await.expect("it does not panic"));
            let (model, answer) = job.await.expect("it does not panic");
            assert_eq!((model, answer), (Model::Offload, Ok(Some("hello hello hello ".to_owned()))));
            Ok::<_, String>(())
        });
        assert!(outcome.is_ok(), "{kind}: {outcome:?}");
    }
}

/// Many clients of one server, as many of each model; gives what each got, when all was over, and the machine's trace.
fn simulated(seed: u64, plan: Plan) -> (Vec<Option<String>>, Duration, u64) {
    let mut simulation = Simulation::with_plan(seed, plan, Config::default());
    let from_threads = Rc::new(RefCell::new(Vec::new()));
    for number in 60..80 {
        let answers = Rc::clone(&from_threads);
        let thread = move || {
            assert_eq!((model(), Shard::here().backend()), (Model::Thread, BackendKind::Sim));
            // Until someone serves.
            Shard::here().sleep(Duration::from_millis(1)).wait().expect("nobody cancels");
            let answer = ask(&Shard::here(), SERVER.into(), &format!("{number} ")).expect("nobody cancels");
            answers.borrow_mut().push((number, answer.ok()));
        };
        simulation.thread(thread).expect("a stack");
    }
    let answers = simulation.run(async move |shard: Shard| {
        let address = serve(&shard);
        let greens: Vec<_> = (0..20)
            .map(|number| {
                let here = shard.clone();
                shard.green(move || ask(&here, address, &format!("{number} "))).expect("a stack")
            })
            .collect();
        let jobs: Vec<_> = (20..40)
            .map(|number| {
                let job = move || {
                    assert_eq!(model(), Model::Offload);
                    let here = Shard::here();
                    assert_eq!(here.backend(), BackendKind::Sim);
                    ask(&here, address, &format!("{number} ")).expect("nobody cancels").ok()
                };
                shard.offload(job)
            })
            .collect();
        let mut answers = Vec::new();
        for number in 40..60 {
            answers.push(ask_async(&shard, address, &format!("{number} ")).await.ok());
        }
        for green in greens {
            answers.push(green.await.expect("it does not panic").expect("nobody cancels").ok());
        }
        for job in jobs {
            answers.push(job.await.expect("it does not panic"));
        }
        while from_threads.borrow().len() < 20 {
            shard.sleep(Duration::from_millis(1)).await;
        }
        let mut from_threads = from_threads.take();
        from_threads.sort();
        answers.extend(from_threads.into_iter().map(|(_, answer)| answer));
        answers
    });
    (answers, simulation.machine().elapsed(), simulation.machine().trace_hash())
}

const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

/// Serves on a simulated shard as long as that runs: green threads too, one for each connection and one that accepts.
fn serve(shard: &Shard) -> SocketAddr {
    let address = SERVER.into();
    let sockets = shard.with_reactor(|reactor| reactor.listen(address, 1, &ListenOptions::default()));
    let mut listener = Listener::adopt(shard, sockets.expect("the address is free").remove(0)).expect("room");
    let here = shard.clone();
    let accept = move || {
        while let Ok(accepted) = listener.accept().wait() {
            let Ok(mut stream) = accepted else { continue };
            let serve = move || {
                while let Ok(Ok(Some(chunk))) = stream.recv().wait() {
                    let Ok(Ok(())) = stream.send(chunk).wait() else { break };
                }
            };
            here.green(serve).expect("a stack").detach();
        }
    };
    shard.green(accept).expect("a stack").detach();
    address
}

#[test]
fn on_a_simulated_machine() {
    let (answers, ..) = simulated(5, Plan::CALM);
    let expected = (40..60).chain(0..40).chain(60..80).map(|number| Some(format!("{number} ").repeat(3)));
    assert_eq!(answers, expected.collect::<Vec<_>>());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    // `ask` has no limit of time: what would keep it waiting for ever does not go wrong.
    const PLAN: Plan = Plan { dead_lines: 0.0, shut_for_good: 0.0, ..Plan::HOSTILE };
    for seed in 0..100 {
        let first = simulated(seed, PLAN);
        assert_eq!(first, simulated(seed, PLAN), "seed {seed}");
    }
    assert_ne!(simulated(1, PLAN).2, simulated(2, PLAN).2);
}

/// Jobs that ask a server and are given up or cancelled meanwhile, or not; gives what became of each, and the machine's trace.
fn cancelled(seed: u64) -> (Vec<&'static str>, Duration, u64) {
    let mut simulation = Simulation::with_plan(seed, Plan::CHOPPY, Config::default());
    let outcomes = simulation.run(async |shard: Shard| {
        let address = serve(&shard);
        let mut outcomes = Vec::new();
        for _ in 0..20 {
            let mut job = shard.offload(move || ask(&Shard::here(), address, TEXT));
            let limit = Duration::from_micros(shard.random() % 20_000);
            let what = match shard.timeout(limit, &mut job).await {
                Ok(answer) => match answer.expect("it does not panic").expect("nobody has cancelled it") {
                    Ok(_) => "answered",
                    Err(_) => "failed",
                },
                Err(_) if shard.random().is_multiple_of(2) => "given up",
                Err(_) => {
                    job.cancel();
                    match job.await {
                        Ok(Ok(_)) => "came in time",
                        Ok(Err(Cancelled { cause })) => {
                            assert_eq!(cause.to_string(), "the job was cancelled");
                            "cancelled while it waited"
                        }
                        Err(_) => "cancelled before it began",
                    }
                }
            };
            outcomes.push(what);
        }
        while shard.stats().offload_running.get() > 0 {
            shard.sleep(Duration::from_millis(1)).await;
        }
        outcomes
    });
    (outcomes, simulation.machine().elapsed(), simulation.machine().trace_hash())
}

#[test]
fn jobs_that_are_cancelled_while_they_wait_do_the_same_for_the_same_seed() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let first = cancelled(seed);
        assert_eq!(first, cancelled(seed), "seed {seed}");
        seen.extend(first.0);
    }
    for what in ["answered", "given up", "cancelled while it waited", "cancelled before it began"] {
        assert!(seen.contains(what), "{what} is not among {seen:?}");
    }
}
