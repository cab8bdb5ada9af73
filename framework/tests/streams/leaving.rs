//! Handlers whose clients leave: each says what its scope says then.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;

use shardwise::combine::defer;
use shardwise::prelude::*;
use shardwise::{Config, Stream};

/// What handlers and tasks have to say, in their order.
pub(crate) type Log = Rc<RefCell<Vec<String>>>;

/// Handlers that say what has become of them.
pub(crate) fn app(log: &Log, config: Config) -> App {
    App::new()
        .state(log.clone())
        .config(config)
        .get("/hello", || "hello")
        .get("/wait", wait)
        .get("/tasks", tasks)
        .get("/answered", answered)
        .get("/endless", async |scope: ScopeHandle, State(log): State<Log>| endless(scope, log))
        .get("/told", |State(log): State<Log>| {
            let stream = Stream::new(async move |mut sink| {
                sink.send("hello").await?;
                log.borrow_mut().push("done".into());
                Ok(())
            });
            stream.with_length(5)
        })
        .get("/failing", || {
            Stream::new(async |mut sink| {
                sink.send("hello").await?;
                Err(std::io::Error::other("on purpose").into())
            })
        })
        .post("/body", body)
        .post("/wait", async |scope: ScopeHandle, State(log): State<Log>, body: Body| {
            let _unread = body;
            wait(scope, State(log)).await
        })
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

/// Leaves a task that is in the scope.
async fn tasks(scope: ScopeHandle, State(log): State<Log>) {
    leave_task(&scope, log);
    pending().await
}

/// The same, and answers.
fn answered(scope: ScopeHandle, State(log): State<Log>) -> &'static str {
    leave_task(&scope, log);
    "answered"
}

fn leave_task(scope: &ScopeHandle, log: Log) {
    let inside = scope.clone();
    let work = async move {
        let _over = defer(move || note(&log, &inside));
        pending::<()>().await
    };
    scope.spawn(work).unwrap().detach();
}

fn endless(scope: ScopeHandle, log: Log) -> Stream {
    Stream::new(async move |mut sink| {
        let _over = defer(move || note(&log, &scope));
        loop {
            sink.send(vec![7; 10_000]).await?;
        }
    })
}

async fn body(mut body: Body, State(log): State<Log>) -> String {
    loop {
        match body.chunk().await {
            Ok(Some(_)) => {}
            ended => {
                log.borrow_mut().push(format!("{:?}", ended.map(|_| ())));
                return "read".into();
            }
        }
    }
}
