//! A service that moves over step by step: what it has been so far lives on in its own event loop, and what is new is a
//! Shardwise app that is a guest there, on the same thread. Each asks the other over a channel.
//!
//! The two hosts are [`tokio`](in_tokio) and [`glommio`](in_glommio); all that a host needs for a guest is in those two files.
//! This one has what both programs share: the new app, the old service, and the channels between them.

pub mod in_glommio;
pub mod in_tokio;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use shardwise::prelude::*;
use shardwise::{Guest, Shard};
use tokio::sync::{Notify, mpsc, oneshot};

/// Questions that may wait for the other side; whoever asks more waits himself.
const QUESTIONS_MAX: usize = 64;

/// Bytes of a line that the old service takes; a longer one ends its connection.
pub const LINE_BYTES_MAX: usize = 1024;

/// The old service's pause after an accept that failed: what it lacks comes back when a connection ends.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A question, and where its answer goes.
struct Question {
    text: String,
    answer: oneshot::Sender<String>,
}

/// Where questions to one side are put.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

/// Where one side finds the questions that it is asked.
pub struct Asked(mpsc::Receiver<Question>);

/// A channel for questions to one side. These channels know no event loop: one end wakes the other wherever it is.
pub fn questions() -> (Asker, Asked) {
    let (asker, asked) = mpsc::channel(QUESTIONS_MAX);
    (Asker(asker), Asked(asked))
}

impl Asker {
    /// The other side's answer; none if it is there no more.
    pub async fn ask(&self, text: &str) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { text: text.to_owned(), answer }).await.ok()?;
        answered.await.ok()
    }
}

impl Asked {
    /// Answers in the name of `who`, for as long as there is somebody who could ask.
    pub async fn answer(mut self, who: &'static str) {
        while let Some(Question { text, answer }) = self.0.recv().await {
            // Whoever asked may have gone.
            let _ = answer.send(format!("{who} says {text}"));
        }
    }
}

/// The new app. `GET /old/{text}` asks the old service.
fn app(old: Asker) -> App {
    App::new().state(old).get("/new/{text}", |Path(text): Path<String>| format!("the app says {text}")).get(
        "/old/{text}",
        async |Path(text): Path<String>, State(old): State<Asker>| {
            old.ask(&text).await.unwrap_or("the old service has ended".to_owned())
        },
    )
}

/// The guest's program: serves the app, and answers what the old service asks.
pub async fn serve_new(shard: Shard, old: Asker, asked: Asked) -> Result<()> {
    shard.spawn(asked.answer("the guest"))?.detach();
    app(old).serve("127.0.0.1:0").await
}

/// The old service's answer to a line: it asks the guest if the line says so.
pub async fn answer_line(line: &str, guest: &Asker) -> String {
    match line.strip_prefix("guest ") {
        Some(text) => guest.ask(text).await.unwrap_or("the guest has ended".to_owned()),
        None => format!("the old service says {line}"),
    }
}

/// When standard input ends, so do both: the guest drains, and the old service is told by the notification.
pub fn end_with_input(guest: &Guest) -> Arc<Notify> {
    let (end, remote) = (Arc::new(Notify::new()), guest.remote());
    let told = Arc::clone(&end);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while input.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
        told.notify_one();
        // It may have ended by itself.
        let _ = remote.send(Shard::drain);
    });
    end
}
