//! Guests: shards in the event loop of somebody else, here the smallest there is: `poll`, and other work in between.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "hosts are threads beside the shards")]

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use platform::{BackendKind, Bell, Choice, ListenOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shardwise_shards::{
    Builder, CallError, Guest, Host, Invitation, Next, RunError, Runtime, Shard, StartError, listen,
};

/// No test takes longer; what is waited for takes milliseconds.
const TIME_MAX: Duration = Duration::from_secs(20);

/// The kinds that this system has.
fn kinds() -> Vec<BackendKind> {
    let all = [BackendKind::Uring, BackendKind::Epoll, BackendKind::Polling];
    all.into_iter().filter(|kind| platform::select(Choice::Force(*kind), &Default::default()).is_ok()).collect()
}

fn builder(kind: BackendKind) -> Builder {
    Runtime::builder().backend(Choice::Force(kind))
}

/// What a loop does for its guest, and how often it was asked to.
#[derive(Clone, Default)]
struct Loop(Rc<Asked>);

#[derive(Default)]
struct Asked {
    bell: RefCell<Option<Bell>>,
    next: Cell<Option<Next>>,
    /// Turns after which the guest was ready for more.
    ready: Cell<u32>,
    /// Waits for the bell or a moment.
    waits: Cell<u32>,
}

impl Host for Loop {
    /// Leaves the guest's wish for the loop, which comes back when it is fulfilled.
    async fn wait(&mut self, next: Next) {
        self.0.next.set(Some(next));
        let mut has_been_polled = false;
        poll_fn(|_| if std::mem::replace(&mut has_been_polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Loop {
    fn new(guest: &Guest) -> Loop {
        let host = Loop::default();
        host.0.bell.replace(Some(guest.bell().unwrap()));
        host
    }

    /// Drives the guest's life to its end, and does `other` whenever it has the thread.
    #[track_caller]
    fn run<T>(&self, life: impl Future<Output = T>, mut other: impl FnMut()) -> T {
        let deadline = Instant::now() + TIME_MAX;
        let mut life = pin!(life);
        loop {
            assert!(Instant::now() < deadline, "the guest's life ends in time");
            if let Poll::Ready(output) = life.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
            other();
            self.wait_for_guest();
        }
    }

    fn wait_for_guest(&self) {
        let Some(next) = self.0.next.take() else { return };
        let time = match next {
            Next::Ready => return self.0.ready.set(self.0.ready.get() + 1),
            Next::At(at) => at.saturating_duration_since(Instant::now()),
            Next::Idle => TIME_MAX,
        };
        self.0.waits.set(self.0.waits.get() + 1);
        let bell = self.0.bell.borrow();
        let bell = bell.as_ref().expect("the guest's bell");
        match poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&Timespec::try_from(time).unwrap())) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("a bell can be waited for: {error}"),
        }
    }
}

/// One guest on this thread, on each kind of backend.
fn check(test: impl Fn(Guest, Loop)) {
    for kind in kinds() {
        println!("backend {kind}");
        let guest = builder(kind).guest().unwrap();
        assert_eq!((guest.shard().number(), guest.shard().count(), guest.shard().backend()), (0, 1, kind));
        let host = Loop::new(&guest);
        test(guest, host);
    }
}

/// As many guests as there are parts, each on a thread of its own.
fn together(kind: BackendKind, parts: Vec<Box<dyn FnOnce(Invitation) + Send>>) {
    let invitations = builder(kind).guests(parts.len()).unwrap();
    let start = |(invitation, part): (Invitation, Box<dyn FnOnce(Invitation) + Send>)| {
        std::thread::spawn(move || part(invitation))
    };
    let threads: Vec<_> = invitations.into_iter().zip(parts).map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_guest_sleeps_in_its_host() {
    check(|guest, host| {
        let time = Duration::from_millis(30);
        let begin = Instant::now();
        let life = guest.run(host.clone(), async move |shard| {
            for _ in 0..3 {
                shard.sleep(time).await;
            }
            Ok::<_, String>(())
        });
        host.run(life, || {}).unwrap();
        assert!(begin.elapsed() >= 3 * time);
        // Three sleeps, each rounded up to a tick that may be looked for twice.
        assert!(host.0.waits.get() <= 12, "{} waits", host.0.waits.get());
    });
}

#[test]
fn other_threads_wake_a_guest_that_waits() {
    check(|guest, host| {
        let remote = guest.remote();
        let thread = std::thread::spawn(move || {
            for number in 0..20_u32 {
                // By now it waits.
                std::thread::sleep(Duration::from_millis(2));
                remote.send(move |shard: &Shard| shard.local(Cell::<u32>::default).set(number)).unwrap();
            }
            remote.send(Shard::drain).unwrap();
        });
        let life = guest.run(host.clone(), async |shard| {
            shard.drained().await;
            assert_eq!(shard.local(Cell::<u32>::default).get(), 19);
            Ok::<_, String>(())
        });
        host.run(life, || {}).unwrap();
        thread.join().unwrap();
        assert!(host.0.waits.get() >= 10, "{} waits: it did not wait", host.0.waits.get());
    });
}

/// The host's own code wakes a task of the guest by its waker, on the same thread and from within no turn.
#[test]
fn the_hosts_own_tasks_wake_those_of_the_guest() {
    check(|guest, host| {
        let (count, waker) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Waker>)));
        let life = guest.run(host.clone(), {
            let (count, waker) = (Rc::clone(&count), Rc::clone(&waker));
            async move |_| {
                poll_fn(|cx| {
                    waker.replace(Some(cx.waker().clone()));
                    if count.get() >= 10 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                Ok::<_, String>(())
            }
        });
        host.run(life, || {
            if let Some(waker) = waker.take() {
                count.set(count.get() + 1);
                waker.wake();
            }
        })
        .unwrap();
        assert_eq!(count.get(), 10);
        assert!(host.0.waits.get() <= 20, "{} waits", host.0.waits.get());
    });
}

#[test]
fn a_guest_that_is_always_ready_gives_its_host_the_thread_back() {
    check(|guest, host| {
        let begin = Instant::now();
        let life = guest.run(host.clone(), async move |_| {
            while begin.elapsed() < Duration::from_millis(100) {
                shardwise_shards::yield_now().await;
            }
            Ok::<_, String>(())
        });
        host.run(life, || {}).unwrap();
        // 200 turns of half a millisecond on an idle machine; a busy one takes turns away from us.
        assert!(host.0.ready.get() >= 20, "{} turns", host.0.ready.get());
    });
}

#[test]
fn an_idle_guest_is_not_looked_at() {
    check(|guest, host| {
        let remote = guest.remote();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            remote.send(Shard::drain).unwrap();
        });
        let life = guest.run(host.clone(), async |shard| {
            shard.drained().await;
            Ok::<_, String>(())
        });
        host.run(life, || {}).unwrap();
        thread.join().unwrap();
        assert!(host.0.waits.get() + host.0.ready.get() <= 6, "{} waits", host.0.waits.get());
    });
}

#[test]
fn how_main_ends_comes_back() {
    check(|guest, host| {
        let life = guest.run(host.clone(), async |_| Err("no database".to_owned()));
        let outcome = host.run(life, || {});
        assert!(matches!(&outcome, Err(RunError::Main { shard: 0, error }) if error == "no database"), "{outcome:?}");
    });
    check(|guest, host| {
        let life = guest.run(host.clone(), async |shard: Shard| {
            shard.sleep(Duration::from_millis(1)).await;
            if shard.count() == 1 {
                panic!("a mistake");
            }
            Ok::<_, String>(())
        });
        let outcome = host.run(life, || {});
        assert!(matches!(&outcome, Err(RunError::Panicked { shard: 0, text }) if text == "a mistake"), "{outcome:?}");
    });
}

#[test]
fn a_drain_takes_no_longer_than_it_may() {
    for kind in kinds() {
        let guest = builder(kind).drain_time_max(Duration::from_millis(50)).guest().unwrap();
        let host = Loop::new(&guest);
        guest.remote().send(Shard::drain).unwrap();
        let life = guest.run(host.clone(), async |shard| {
            shard.sleep(Duration::from_secs(3600)).await;
            Ok::<_, String>(())
        });
        let outcome = host.run(life, || {});
        assert!(matches!(outcome, Err(RunError::DrainTimedOut)), "{outcome:?}");
    }
}

/// A host that ends in the middle drops the guest's life: what its tasks hold is dropped, and nothing waits any more.
#[test]
fn a_guest_can_be_dropped_at_any_moment() {
    for polls in 0..6 {
        check(|guest, host| {
            let held = Rc::new(());
            let remote = guest.remote();
            let life = guest.run(host.clone(), {
                let held = Rc::clone(&held);
                async move |shard: Shard| {
                    let task = Rc::clone(&held);
                    let sleeper = shard.clone();
                    let sleep = async move {
                        sleeper.sleep(Duration::from_secs(3600)).await;
                        drop(task);
                    };
                    shard.spawn(sleep).expect("room for a task").detach();
                    while Rc::strong_count(&held) > 0 {
                        shard.sleep(Duration::from_millis(1)).await;
                    }
                    Ok::<_, String>(())
                }
            });
            {
                let mut life = pin!(life);
                for _ in 0..polls {
                    assert!(life.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                    host.wait_for_guest();
                }
            }
            assert_eq!(Rc::strong_count(&held), 1);
            assert!(remote.send(|_| ()).is_err(), "it has ended");
        });
    }
}

#[test]
fn guests_on_several_threads_ask_each_other() {
    for kind in kinds() {
        let part = |invitation: Invitation| {
            let guest = invitation.accept().unwrap();
            let host = Loop::new(&guest);
            let life = guest.run(host.clone(), async |shard: Shard| {
                let peer = 1 - shard.number();
                for number in 0..100 {
                    let doubled = shard.on(peer, move |_| 2 * number).await.map_err(|error| error.to_string())?;
                    assert_eq!(doubled, 2 * number);
                }
                Ok::<_, String>(())
            });
            host.run(life, || {}).unwrap();
        };
        together(kind, vec![Box::new(part), Box::new(part)]);
    }
}

#[test]
fn guests_share_a_listening_address() {
    for kind in kinds() {
        let part = |invitation: Invitation| {
            let guest = invitation.accept().unwrap();
            let host = Loop::new(&guest);
            let life = guest.run(host.clone(), async |shard: Shard| serve(&shard).await.map(drop));
            host.run(life, || {}).unwrap();
        };
        together(kind, vec![Box::new(part), Box::new(part)]);
    }
}

async fn serve(shard: &Shard) -> Result<SocketAddr, StartError> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = listen(shard, any_port, &ListenOptions::default(), Location::caller()).await?;
    Ok(listening.address)
}

#[test]
fn an_error_of_one_main_drains_the_others() {
    let kind = kinds()[0];
    let fails = |invitation: Invitation| {
        let guest = invitation.accept().unwrap();
        let host = Loop::new(&guest);
        let life = guest.run(host.clone(), async |shard: Shard| {
            // The other stands when it answers.
            shard.on(1, |_| ()).await.map_err(|error| error.to_string())?;
            Err("no database".to_owned())
        });
        let outcome = host.run(life, || {});
        assert!(matches!(&outcome, Err(RunError::Main { shard: 0, error }) if error == "no database"), "{outcome:?}");
    };
    let drains = |invitation: Invitation| {
        let guest = invitation.accept().unwrap();
        let host = Loop::new(&guest);
        let life = guest.run(host.clone(), async |shard| {
            shard.drained().await;
            Ok::<_, String>(())
        });
        host.run(life, || {}).unwrap();
    };
    together(kind, vec![Box::new(fails), Box::new(drains)]);
}

#[test]
fn nobody_waits_for_a_guest_that_does_not_come() {
    let kind = kinds()[0];
    let comes = |invitation: Invitation| {
        let guest = invitation.accept().unwrap();
        let host = Loop::new(&guest);
        let life = guest.run(host.clone(), async |shard: Shard| {
            let absent = serve(&shard).await;
            assert!(matches!(absent, Err(StartError::Absent { shard: 1, .. })), "{absent:?}");
            let answer = shard.on(1, |_| ()).await;
            assert!(matches!(answer, Err(CallError::Stopped)), "{answer:?}");
            Ok::<_, String>(())
        });
        host.run(life, || {}).unwrap();
    };
    let stays_away = |invitation: Invitation| {
        std::thread::sleep(Duration::from_millis(20));
        drop(invitation);
    };
    together(kind, vec![Box::new(comes), Box::new(stays_away)]);
}
