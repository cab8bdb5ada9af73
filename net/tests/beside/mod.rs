//! A real shard that serves beside the thread that asks it.

#![allow(clippy::disallowed_methods, reason = "whoever asks is outside of any shard: a real thread")]

use std::sync::Mutex;
use std::sync::mpsc::channel;

use platform::{BackendKind, Choice, select};
use shards::{Builder, Remote, Runtime, Shard};

/// Whether this machine has the backend; if not, it is said why the test looks at nothing.
pub(crate) fn is_here(kind: BackendKind) -> bool {
    match select(Choice::Force(kind), &platform::Config::default()) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

/// One shard on this backend.
pub(crate) fn runtime(kind: BackendKind) -> Builder {
    Runtime::builder().shards(1).backend(Choice::Force(kind)).handle_signals(false).announce(false)
}

/// Runs `serve` on a shard, and `ask` in a thread with what `serve` tells of itself. When that has come to its end, a bad one too, the
/// shard drains. Gives what `ask` has found.
pub(crate) fn serve_beside<A: Send + 'static, T: Send + 'static>(
    kind: BackendKind,
    serve: impl AsyncFn(Shard, &dyn Fn(A)) -> Result<(), String> + Send + Sync + 'static,
    ask: impl FnOnce(A) -> T + Send + 'static,
) -> T {
    let (told, heard) = channel::<(A, Remote)>();
    let told = Mutex::new(told);
    let asking = std::thread::spawn(move || {
        let (place, remote) = heard.recv().expect("it serves");
        let _drains = Drains(remote);
        ask(place)
    });
    let main = async move |shard: Shard| {
        let remote = shard.remote();
        let tell = |place| told.lock().expect("nobody panics").send((place, remote.clone())).expect("it is heard");
        serve(shard, &tell).await
    };
    runtime(kind).run(main).expect("it serves and drains");
    asking.join().expect("all is as it should be")
}

struct Drains(Remote);

impl Drop for Drains {
    fn drop(&mut self) {
        let _ = self.0.send(Shard::drain);
    }
}
