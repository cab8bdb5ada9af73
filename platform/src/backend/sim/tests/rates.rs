//! Every fault occurs as often as planned, not at all if it is not, and the same for the same seed: on whatever thread.

use super::*;

/// Some of everything, with whatever comes of it: streams, datagrams, files, sleeps, cancels. Everything comes home.
fn some_of_everything(seed: u64, plan: Plan) -> (Fixture, Vec<(usize, Handle)>) {
    let pool = PoolSize { head_buffers: 16, bulk_buffers: 2, bytes: 1 << 20 };
    let mut fixture = Fixture::with_pool(seed, plan, pool);
    let mut handles = Vec::new();
    let (listener, peer) = fixture.listen("10.0.0.1:80", 16);
    handles.push((SERVER, listener));
    for round in 0..6 {
        streams(&mut fixture, &mut handles, listener, peer, seed ^ round);
        datagrams(&mut fixture, &mut handles);
        files(&mut fixture, &mut handles);
        let until = fixture.machine.now() + Duration::from_millis(400);
        let sleeps = [0, 1].map(|_| fixture.start(CLIENT, Op::Sleep { until }));
        let [kept, cancelled] = sleeps;
        fixture.turn();
        fixture.shards[CLIENT].cancel(&cancelled);
        assert!(matches!(fixture.outcome(CLIENT, cancelled), Some(Ok(Outcome::Elapsed) | Err(Error::Cancelled))));
        assert!(matches!(fixture.outcome(CLIENT, kept), Some(Ok(Outcome::Elapsed))));
    }
    (fixture, handles)
}

/// One connection over which the client sends and the server answers.
fn streams(fixture: &mut Fixture, handles: &mut Vec<(usize, Handle)>, listener: Handle, peer: SocketAddr, seed: u64) {
    let Ok(client) = fixture.shards[CLIENT].stream_socket(peer) else { return };
    handles.push((CLIENT, client));
    let connect = fixture.start(CLIENT, Op::Connect { socket: client, peer });
    let Some(Ok(_)) = fixture.outcome(CLIENT, connect) else { return };
    let accept = fixture.start(SERVER, Op::Accept { listener });
    let Some(Ok(Outcome::Accepted(server))) = fixture.outcome(SERVER, accept) else { return };
    handles.push((SERVER, server));
    // It may be one of those that an earlier accept did not get.
    if fixture.shards[SERVER].peer_address(server) != fixture.shards[CLIENT].local_address(client) {
        return;
    }
    for (from, source, to, sink) in [(CLIENT, client, SERVER, server), (SERVER, server, CLIENT, client)] {
        let data = pattern(seed, 20_000);
        let op = Op::Send { socket: source, data: data.clone().into(), zero_copy: seed.is_multiple_of(2) };
        let send = fixture.start(from, op);
        let receive = fixture.start(to, Op::Receive { socket: sink, group: Group::Heads });
        let mut received = Vec::new();
        while received.len() < data.len() {
            match fixture.shards[to].take(&receive, 1).map(|completion| completion.result) {
                Some(Ok(Outcome::Received(chunk))) => received.extend_from_slice(&chunk),
                Some(_) => break,
                None if fixture.step() => {}
                None => break,
            }
        }
        assert!(data.starts_with(&received), "seed {seed}: bytes are whole as far as they come");
        fixture.shards[to].abandon(receive);
        fixture.shards[from].abandon(send);
    }
}

fn datagrams(fixture: &mut Fixture, handles: &mut Vec<(usize, Handle)>) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let sockets = [CLIENT, SERVER].map(|shard| fixture.shards[shard].datagram_socket(any));
    handles.extend([CLIENT, SERVER].into_iter().zip(sockets).filter_map(|(shard, socket)| Some((shard, socket.ok()?))));
    let [Ok(a), Ok(b)] = sockets else { return };
    let peer = fixture.shards[SERVER].local_address(b).ok();
    let receive = fixture.start(SERVER, Op::ReceiveMessage { socket: b, group: Group::Heads });
    for _ in 0..20 {
        let message = Box::new(Datagram { peer, data: vec![0; 50], segment: None, ecn: 0, source: None });
        let send = fixture.start(CLIENT, Op::SendMessage { socket: a, message });
        assert!(matches!(fixture.outcome(CLIENT, send), Some(Ok(Outcome::SentMessage { bytes: 50, .. }))));
        while let Some(completion) = fixture.shards[SERVER].take(&receive, 1) {
            assert!(matches!(completion.result, Ok(Outcome::Message(message)) if message.data.len() == 50));
        }
    }
    fixture.shards[SERVER].abandon(receive);
}

fn files(fixture: &mut Fixture, handles: &mut Vec<(usize, Handle)>) {
    let file = Box::new(OpenFile {
        path: "/tmp/f".into(),
        beneath: None,
        read: true,
        write: true,
        create: true,
        truncate: true,
    });
    let open = fixture.start(CLIENT, Op::Open { file });
    let Some(Ok(Outcome::Opened(file))) = fixture.outcome(CLIENT, open) else { return };
    handles.push((CLIENT, file));
    for offset in 0..10 {
        let write = fixture.start(CLIENT, Op::Write { file, offset, data: "0123456789".into() });
        let written = fixture.outcome(CLIENT, write);
        let eio = error_of(code::EIO);
        match written {
            Some(Ok(Outcome::Sent { bytes, .. })) => assert!((1..=10).contains(&bytes)),
            Some(Err(error)) => assert!(error == Error::NoSpace || error == eio, "{error}"),
            other => panic!("{other:?}"),
        }
        let sync = fixture.start(CLIENT, Op::Sync { file });
        fixture.outcome(CLIENT, sync);
    }
}

/// A plan with one fault; what it is called in the log, and what it is called where it could have occurred.
const FAULTS: [(Plan, &str, &[&str]); 16] = [
    (Plan { lost_connects: 0.3, ..Plan::CALM }, "lost-connect", &["lost-connect", "connection"]),
    (Plan { refused_connects: 0.3, ..Plan::CALM }, "refuse-by-chance", &["refuse-by-chance", "connection"]),
    (Plan { resets: 0.1, ..Plan::CHOPPY }, "sever", &["bytes", "sever"]),
    (Plan { dead_lines: 0.1, ..Plan::CHOPPY }, "dead-line", &["bytes", "dead-line"]),
    (Plan { shut_windows: 0.1, ..Plan::CHOPPY }, "shut", &["bytes"]),
    (Plan { lost_datagrams: 0.2, ..Plan::CALM }, "lost", &["send-message"]),
    (Plan { doubled_datagrams: 0.2, ..Plan::CALM }, "doubled", &["send-message"]),
    (Plan { corrupt_datagrams: 0.2, ..Plan::CALM }, "corrupt", &["send-message"]),
    (Plan { late_cancels: 0.5, ..Plan::CALM }, "late-cancel", &[]),
    (Plan { missed_buffers: 0.2, ..Plan::CHOPPY }, "missed-buffer", &["receive"]),
    (Plan { late_completions: 0.3, ..Plan::CALM }, "late", &["receive", "send", "message", "due", "connect"]),
    (Plan { full_disk: 0.2, ..Plan::CALM }, "full-disk", &["write", "full-disk"]),
    (Plan { disk_errors: 0.2, ..Plan::CALM }, "disk-error", &["write", "disk-error"]),
    (Plan { scarce_descriptors: 0.2, ..Plan::CALM }, "no-descriptors", &["open", "accept", "bind", "no-descriptors"]),
    (Plan { stalls: 0.1, ..Plan::CALM }, "stall", &["due", "message", "bytes"]),
    (Plan { short_submissions: 0.3, ..Plan::CALM }, "short-submission", &["short-submission"]),
];

/// What planned share each of them has: the one that is not zero in a calm plan.
fn share_of(plan: &Plan) -> f64 {
    let shares = [
        plan.lost_connects,
        plan.refused_connects,
        plan.resets,
        plan.dead_lines,
        plan.shut_windows,
        plan.lost_datagrams,
        plan.doubled_datagrams,
        plan.corrupt_datagrams,
        plan.late_cancels,
        plan.missed_buffers,
        plan.late_completions,
        plan.full_disk,
        plan.disk_errors,
        plan.scarce_descriptors,
        plan.stalls,
    ];
    shares.into_iter().find(|share| *share > 0.0).unwrap_or(1.0)
}

#[test]
fn each_fault_occurs_as_often_as_planned() {
    for (plan, name, among) in FAULTS {
        let (mut hits, mut chances) = (0, 0);
        for seed in 0..20 {
            let (fixture, handles) = some_of_everything(seed, plan);
            hits += fixture.count(name);
            chances += among.iter().map(|what| fixture.count(what)).sum::<usize>();
            fixture.finish(&handles);
        }
        let (share, planned) = (hits as f64 / chances as f64, share_of(&plan));
        assert!(hits > 10, "{name}: {hits} of {chances}");
        // What it is one of is counted roughly, and not at all where the log has nothing to count.
        assert!(chances == 0 || share > planned / 2.0 && share < planned * 2.0, "{name}: {share} for {planned}");
    }
}

#[test]
fn what_is_not_planned_does_not_occur() {
    for plan in [Plan::CALM, Plan::CHOPPY] {
        for seed in 0..5 {
            let (fixture, handles) = some_of_everything(seed, plan);
            for (_, name, _) in FAULTS {
                assert_eq!(fixture.count(name), 0, "{name}");
            }
            assert_eq!(fixture.count("wall-jump") + fixture.count("leap"), 0);
            fixture.finish(&handles);
        }
    }
}

/// What comes of a fault is the same every time, though another thread lays its memory out otherwise.
#[test]
fn the_same_seed_gives_the_same_trace_on_another_thread() {
    let plans: Vec<Plan> = FAULTS.iter().map(|fault| fault.0).chain([Plan::LATE, Plan::HOSTILE]).collect();
    let trace = |plan: Plan, seed: u64| {
        let (fixture, handles) = some_of_everything(seed, plan);
        fixture.finish(&handles)
    };
    for plan in plans {
        let here: Vec<u64> = (0..3).map(|seed| trace(plan, seed)).collect();
        let there = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let _other_addresses = vec![0u8; 12_345];
                (0..3).map(|seed| trace(plan, seed)).collect::<Vec<u64>>()
            });
            run.join().expect("the same run passes")
        });
        assert_eq!(here, there, "{plan:?}");
        assert!(here[0] != here[1] && here[1] != here[2], "other seeds go other ways");
    }
}

#[test]
fn everything_at_once_comes_home() {
    for seed in 0..300 {
        let (fixture, handles) = some_of_everything(seed, Plan::HOSTILE);
        fixture.finish(&handles);
    }
}
