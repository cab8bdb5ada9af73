//! SIGTERM under load: whoever had asked is answered, and the process ends well; a second one does not wait.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::served::Served;
use crate::wire::{Client, request};

/// Connections that never stop asking.
const CLIENTS: usize = 32;

/// How long the load lasts before the signal.
const LOAD_TIME: Duration = Duration::from_millis(500);

/// What is asked, in turn, and how long the answer's body is.
const REQUESTS: [(&str, usize); 3] = [("GET /plaintext", 13), ("GET /bytes/100000", 100_000), ("GET /sleep/50", 0)];

pub(crate) fn what_was_received_in_whole_is_answered_in_whole(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let signalled = OnceLock::new();
    let clients: Vec<_> = (0..CLIENTS).map(|_| served.client()).collect();
    let answered: usize = thread::scope(|scope| {
        let signalled = &signalled;
        let asking: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, client)| scope.spawn(move || ask_until_the_end(client, number, signalled)))
            .collect();
        thread::sleep(LOAD_TIME);
        // These have asked, may not have been accepted, and take longer than accept queues are looked after.
        let mut late: Vec<_> = (0..8).map(|_| served.client()).collect();
        late.iter_mut().for_each(|client| client.send(request("GET /sleep/400")));
        signalled.set(Instant::now()).expect("set once");
        served.terminate();
        for client in &mut late {
            let answer = client.answer();
            assert!(answer.status == 204 && answer.closes(), "{answer:?}");
            client.expect_end();
        }
        asking.into_iter().map(|asking| asking.join().expect("no request was lost")).sum()
    });
    assert!(answered > CLIENTS * 3, "there was load: {answered} answers");
    let (code, log) = served.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("draining") && !log.contains("limit has passed"), "{log}");
}

/// Asks until the server ends the connection; gives the number of whole answers.
fn ask_until_the_end(mut client: Client, number: usize, signalled: &OnceLock<Instant>) -> usize {
    for count in 0.. {
        let (line, bytes) = REQUESTS[(number + count) % REQUESTS.len()];
        let is_sent = client.try_send(request(line)).is_ok();
        let sent = Instant::now();
        match client.next(false).expect("whole answers only") {
            Some(answer) => {
                assert_eq!(answer.body.len(), bytes, "{line}");
                if answer.closes() {
                    client.expect_end();
                    return count + 1;
                }
            }
            // The connection ended before a byte of an answer: only to requests that came after the signal.
            None => {
                let before = signalled.get().is_none_or(|signalled| sent < *signalled);
                assert!(!is_sent || !before, "client {number} had asked {line}, and got no answer");
                return count;
            }
        }
    }
    unreachable!("the server ends")
}

pub(crate) fn a_second_signal_ends_at_once(backend: &'static str) {
    let mut served = Served::start(backend, &[]);
    let mut client = served.client();
    assert_eq!(client.ask("GET /plaintext").status, 200);
    client.send(request("GET /sleep/60000"));
    thread::sleep(Duration::from_millis(100));
    served.terminate();
    thread::sleep(Duration::from_millis(600));
    assert!(served.is_running(), "the first signal waits for what is in hand");
    let begin = Instant::now();
    served.terminate();
    let (code, log) = served.ended();
    assert_eq!(code, Some(128 + 15), "{log}");
    assert!(begin.elapsed() < Duration::from_secs(1), "at once");
    assert!(client.next(false).expect("no part of an answer").is_none());
}
