//! A kernel that answers late: in which order, what a cancel still catches, and that everything comes in the end.

use super::*;

/// So many connections with a receive on each, and every send answered late.
fn receives_on(fixture: &mut Fixture, count: usize) -> Vec<(Handle, Handle, Token)> {
    let start = |_| {
        let (client, server) = fixture.pair();
        (client, server, fixture.start(SERVER, Op::Receive { socket: server, group: Group::Bulk }))
    };
    (0..count).map(start).collect()
}

/// Receives from all of them, and says whose bytes landed in which order.
fn arrivals(fixture: &mut Fixture, pairs: &[(Handle, Handle, Token)], count: usize) -> Vec<u8> {
    let mut arrived = Vec::new();
    while arrived.len() < count {
        for (_, _, token) in pairs {
            while let Some(completion) = fixture.shards[SERVER].take(token, 1) {
                let Ok(Outcome::Received(chunk)) = completion.result else { panic!("a stream goes on") };
                arrived.extend_from_slice(&chunk);
            }
        }
        assert!(fixture.step() || arrived.len() == count, "stuck");
    }
    arrived
}

fn give_up_all(mut fixture: Fixture, pairs: Vec<(Handle, Handle, Token)>) -> u64 {
    let mut handles = Vec::new();
    for (client, server, token) in pairs {
        fixture.shards[SERVER].abandon(token);
        handles.extend([(CLIENT, client), (SERVER, server)]);
    }
    fixture.finish(&handles)
}

#[test]
fn completions_overtake_each_other_between_sockets_only() {
    let order = |plan: Plan| {
        let pool = PoolSize { head_buffers: 4, bulk_buffers: 16, bytes: 1 << 20 };
        let mut fixture = Fixture::with_pool(8, plan, pool);
        let pairs = receives_on(&mut fixture, 4);
        let mut order = Vec::new();
        for round in 0..10 {
            for (index, (client, _, _)) in pairs.iter().enumerate() {
                let data = vec![(10 * index + round) as u8].into();
                let send = fixture.start(CLIENT, Op::Send { socket: *client, data, zero_copy: false });
                fixture.turn();
                fixture.shards[CLIENT].abandon(send);
            }
            fixture.machine.advance(fixture.machine.now() + Duration::from_micros(200));
            fixture.turn();
        }
        order.extend(arrivals(&mut fixture, &pairs, 40));
        give_up_all(fixture, pairs);
        order
    };
    let (calm, late) = (order(Plan::CALM), order(Plan { late_completions: 0.5, ..Plan::CALM }));
    assert_ne!(calm, late, "others overtake");
    for index in 0..4 {
        let own: Vec<u8> = late.iter().copied().filter(|byte| byte / 10 == index).collect();
        assert_eq!(own, (10 * index..10 * index + 10).collect::<Vec<_>>(), "one socket's stay in order");
    }
}

/// What a cancel catches: nothing of what has happened, all of what has not.
#[test]
fn a_cancel_wins_or_loses_and_nothing_is_lost() {
    let (mut won, mut lost) = (0, 0);
    for seed in 0..200 {
        let plan = Plan { late_completions: 0.5, late_cancels: 0.5, ..Plan::CALM };
        let mut fixture = Fixture::new(seed, plan);
        let (client, server) = fixture.pair();
        let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
        fixture.turn();
        let sent = fixture.start(CLIENT, Op::Send { socket: client, data: "bytes".into(), zero_copy: false });
        fixture.turn();
        fixture.shards[CLIENT].abandon(sent);
        fixture.machine.advance(fixture.machine.now() + Duration::from_micros(seed));
        fixture.turn();
        fixture.shards[SERVER].cancel(&token);
        let mut received = Vec::new();
        loop {
            let completion = fixture.next(SERVER, &token);
            match completion.result {
                Ok(Outcome::Received(chunk)) if completion.more => received.extend_from_slice(&chunk),
                Err(Error::Cancelled) if !completion.more => break,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        // The cancelled one has had all of it or nothing; who comes next finds the rest.
        match received.len() {
            0 => won += 1,
            _ => lost += 1,
        }
        fixture.shards[CLIENT].close(client);
        let (rest, end) = fixture.drain(SERVER, server);
        received.extend(rest);
        assert_eq!((&received[..], end), (&b"bytes"[..], None), "seed {seed}");
        fixture.finish(&[(SERVER, server)]);
    }
    assert!(won > 20 && lost > 20, "won {won}, lost {lost}");
}

/// Each operation ends once, and as its effect says, however its cancel and its end race.
#[test]
fn a_race_between_cancel_and_end_is_told_as_it_went() {
    let mut ends = [0; 2];
    let mut late = 0;
    for seed in 0..200 {
        let mut fixture = Fixture::new(seed, Plan { late_completions: 0.5, late_cancels: 0.7, ..Plan::CALM });
        let begin = fixture.machine.now();
        let sleep = fixture.start(CLIENT, Op::Sleep { until: begin + Duration::from_micros(500) });
        fixture.turn();
        fixture.machine.advance(begin + Duration::from_micros(5 * seed));
        fixture.shards[CLIENT].cancel(&sleep);
        let completion = fixture.next(CLIENT, &sleep);
        assert!(!completion.more);
        match completion.result {
            Ok(Outcome::Elapsed) => {
                ends[0] += 1;
                assert!(fixture.machine.now() >= begin + Duration::from_micros(500), "seed {seed}: never early");
            }
            Err(Error::Cancelled) => ends[1] += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        assert_eq!(fixture.shards[CLIENT].stats().completions, 1, "seed {seed}");
        late += fixture.count("late-cancel");
        fixture.finish(&[]);
    }
    // Seven of ten, but for those that come when the result is there or on its way.
    assert!((50..160).contains(&late), "{late} of 200 cancels are late");
    assert!(ends[0] > 20 && ends[1] > 20, "{ends:?}");
}

/// A pause is a cancel too. One that is late may hit the stream's next run, and that loses nothing either.
#[test]
fn a_late_cancel_loses_nothing_of_a_stream_that_runs_anew() {
    for seed in 0..50 {
        let plan = Plan { late_cancels: 1.0, missed_buffers: 0.3, late_completions: 0.3, ..Plan::CHOPPY };
        let pool = PoolSize { head_buffers: 64, bulk_buffers: 1, bytes: 1 << 20 };
        let mut fixture = Fixture::with_pool(seed, plan, pool);
        let (client, server) = fixture.pair();
        let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
        let data = pattern(seed, 100_000);
        let send = fixture.start(CLIENT, Op::Send { socket: client, data: data.clone().into(), zero_copy: false });
        let mut received = Vec::new();
        let mut patience = 0;
        while received.len() < data.len() {
            // A reader that comes now and then, so that the stream is paused and goes on at any moment.
            patience += 1;
            if patience % (1 + seed % 7) != 0 && fixture.step() {
                continue;
            }
            if let Some(completion) = fixture.shards[SERVER].take(&token, 1) {
                assert!(completion.more, "seed {seed}: the stream goes on");
                let Ok(Outcome::Received(chunk)) = completion.result else { panic!("seed {seed}") };
                received.extend_from_slice(&chunk);
            } else {
                assert!(fixture.step(), "seed {seed}: stuck\n{}", fixture.machine.log());
            }
        }
        assert!(received == data, "seed {seed}");
        assert!(matches!(fixture.result(CLIENT, &send), Ok(Outcome::Sent { bytes: 100_000, .. })));
        fixture.shards[SERVER].abandon(token);
        fixture.finish(&[(CLIENT, client), (SERVER, server)]);
    }
}

#[test]
fn notifications_come_late_and_in_another_order() {
    let order = |plan: Plan| {
        let mut fixture = Fixture::new(9, plan);
        let (client, server) = fixture.pair();
        let mut left: Vec<(usize, Token)> = Vec::new();
        for index in 0..10 {
            let data = vec![index as u8; 100].into();
            let token = fixture.start(CLIENT, Op::Send { socket: client, data, zero_copy: true });
            fixture.turn();
            // The answer is taken; its slot stays until the memory is free.
            assert!(matches!(fixture.result(CLIENT, &token), Ok(Outcome::Sent { bytes: 100, .. })));
            left.push((index, token));
        }
        assert!(fixture.drain_some(SERVER, server, 1000) == (0..10u8).flat_map(|byte| [byte; 100]).collect::<Vec<_>>());
        let mut order = Vec::new();
        while !left.is_empty() {
            assert!(fixture.machine.advance_to_next(), "every notification comes");
            fixture.turn();
            left.retain(|(index, token)| {
                let is_spent = fixture.shards[CLIENT].is_spent(token);
                if is_spent {
                    order.push(*index);
                }
                !is_spent
            });
        }
        let time = fixture.machine.elapsed();
        fixture.finish(&[(CLIENT, client), (SERVER, server)]);
        (order, time)
    };
    let (calm, late) = (order(Plan::CALM), order(Plan { late_notifications: 0.7, ..Plan::CALM }));
    assert_eq!(calm.0, (0..10).collect::<Vec<_>>());
    assert_ne!(late.0, calm.0, "another order");
    assert!(late.1 > calm.1 + Duration::from_millis(50), "{late:?}");
}

#[test]
fn a_short_submission_leaves_the_rest_for_the_next_enter() {
    let mut fixture = Fixture::new(10, Plan { short_submissions: 1.0, ..Plan::CALM });
    let until = fixture.machine.now() + Duration::from_secs(1);
    let sleeps: Vec<Token> = (0..20).map(|_| fixture.start(CLIENT, Op::Sleep { until })).collect();
    let mut woken = Vec::new();
    let mut submitted = vec![0];
    while submitted.last() != Some(&20) {
        fixture.shards[CLIENT].enter(Wait::Forever, &mut woken);
        let now = fixture.shards[CLIENT].stats().submissions;
        let new = now - submitted.last().copied().unwrap_or(0);
        assert!((1..=limits::SUBMISSION_SHORT_MAX).contains(&new), "{new} at once");
        assert!(now == 20 || fixture.machine.next_event() == Some(fixture.machine.now()), "it is entered again");
        submitted.push(now);
    }
    for sleep in sleeps {
        assert!(matches!(fixture.result(CLIENT, &sleep), Ok(Outcome::Elapsed)));
    }
    fixture.finish(&[]);
}

#[test]
fn accepts_find_no_descriptor_for_a_while() {
    let mut fixture = Fixture::new(11, Plan { scarce_descriptors: 0.3, ..Plan::CALM });
    let (listener, peer) = fixture.listen("10.0.0.1:80", 100);
    let mut handles = vec![(SERVER, listener)];
    let (mut clients, mut refused) = (0, 0);
    while clients < 20 {
        match fixture.shards[CLIENT].stream_socket(peer) {
            Ok(socket) => {
                let connected = fixture.run(CLIENT, Op::Connect { socket, peer });
                assert!(matches!(connected, Ok(Outcome::Connected)));
                handles.push((CLIENT, socket));
                clients += 1;
            }
            Err(error) => {
                assert_eq!(error, Error::OutOfDescriptors);
                refused += 1;
                fixture.machine.advance(fixture.machine.now() + Duration::from_millis(10));
            }
        }
    }
    let (mut servers, mut failures) = (0, 0);
    while servers < 20 {
        let accept = fixture.start(SERVER, Op::Accept { listener });
        while servers < 20 {
            let completion = fixture.next(SERVER, &accept);
            match completion.result {
                Ok(Outcome::Accepted(handle)) => {
                    handles.push((SERVER, handle));
                    servers += 1;
                }
                Err(Error::OutOfDescriptors) if !completion.more => {
                    failures += 1;
                    fixture.machine.advance(fixture.machine.now() + Duration::from_millis(10));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        fixture.shards[SERVER].abandon(accept);
    }
    assert!(refused > 5 && failures > 5, "{refused} sockets and {failures} accepts found none");
    fixture.finish(&handles);
}

#[test]
fn a_stalled_shard_is_not_asked_for_until_it_may_run() {
    let mut fixture = Fixture::new(12, Plan { stalls: 1.0, ..Plan::CALM });
    let until = fixture.machine.now() + Duration::from_millis(1);
    let sleep = fixture.start(CLIENT, Op::Sleep { until });
    fixture.turn();
    assert!(!fixture.shards[CLIENT].is_stalled(), "it has learnt nothing yet");
    fixture.machine.advance(until);
    fixture.turn();
    assert!(fixture.shards[CLIENT].is_stalled());
    let next = fixture.machine.next_event().expect("the end of the stall");
    assert!(next > until && next <= until + Plan::CALM.stall_time);
    fixture.machine.advance(next);
    assert!(!fixture.shards[CLIENT].is_stalled());
    assert!(matches!(fixture.result(CLIENT, &sleep), Ok(Outcome::Elapsed)));
    fixture.finish(&[]);
}

/// What lands, and what is on its way, pins as many buffers as a kernel's multishot would and no more.
#[test]
fn lateness_pins_as_many_buffers_as_a_kernel_would() {
    let second = Duration::from_secs(1);
    let table = [
        // The pause is late, and the stream goes on meanwhile.
        (
            Plan { late_cancels: 1.0, cancel_delay: 3600 * second, ..Plan::CALM },
            STREAM_QUEUE_MAX + limits::PARTS_AFTER_CANCEL_MAX,
        ),
        // All is on its way.
        (Plan { late_completions: 1.0, completion_delay: 3600 * second, ..Plan::CALM }, limits::LANDINGS_MAX),
    ];
    for (plan, pinned) in table {
        let pool = PoolSize { head_buffers: 128, bulk_buffers: 1, bytes: 1 << 20 };
        let mut fixture = Fixture::with_pool(13, plan, pool);
        let (client, server) = fixture.pair();
        let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
        fixture.turn();
        let begin = fixture.machine.now();
        for _ in 0..100 {
            let data = vec![1; 100].into();
            let send = fixture.start(CLIENT, Op::Send { socket: client, data, zero_copy: false });
            fixture.turn();
            fixture.shards[CLIENT].abandon(send);
            fixture.machine.advance(fixture.machine.now() + Duration::from_micros(60));
        }
        fixture.turn();
        assert!(fixture.machine.now() - begin < second);
        assert_eq!(fixture.shards[SERVER].pool().stats().heads_leased, pinned, "{plan:?}");
        fixture.shards[CLIENT].close(client);
        assert_eq!(fixture.drain_token(SERVER, token), (vec![1; 10_000], None));
        fixture.finish(&[(SERVER, server)]);
    }
}
