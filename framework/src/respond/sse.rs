//! [`Sse`]: server-sent events, as the HTML standard frames them (section 9.2, "Server-sent events").
//!
//! A stream like any other, whose pieces are whole events. While there is none, the shard's timer sends a comment now and
//! then, so that proxies keep the connection and a client that has gone is noticed.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use net::{BodyStream, Content, Made, Response};
use platform::Buf;
use serde::Serialize;
use shards::{Alarm, Shard};

use super::{Respond, Sink, Stream, StreamError};
use crate::Error;
use crate::limits::SSE_SILENCE_MAX;

/// A response of server-sent events, which a browser reads by `EventSource`.
///
/// A browser whose connection ends comes again, with the last id that it has seen as the header `Last-Event-ID`.
///
/// ```
/// use std::time::Duration;
/// use shardwise::prelude::*;
/// use shardwise::{Event, Sse};
///
/// fn ticks(shard: Shard) -> Sse {
///     Sse::new(async move |mut events| {
///         for number in 1..=2 {
///             events.send(Event::new(format!("tick {number}")).event("tick")?.id(number.to_string())?).await?;
///             shard.sleep(Duration::from_secs(20)).await; // meanwhile, a comment keeps the connection
///         }
///         Ok(())
///     })
/// }
/// let response = shardwise::test::run(App::new().get("/ticks", ticks)).get("/ticks");
/// assert_eq!(response.header("content-type"), "text/event-stream");
/// assert_eq!(response.text(), "data: tick 1\nevent: tick\nid: 1\n\n:\n\ndata: tick 2\nevent: tick\nid: 2\n\n:\n\n");
/// ```
pub struct Sse {
    stream: Stream,
    silence_max: Duration,
}

/// The end by which the maker of events gives them away.
#[derive(Debug)]
pub struct Events(Sink);

/// One event: data, and what else is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Lines, each with its end.
    text: String,
}

/// What an event cannot carry: the name of an event or an id with a line end in it, or an id with a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventError(&'static str);

impl Sse {
    /// Events made by `make`, which runs as far as the connection takes them, as for a [`Stream`].
    pub fn new<F>(make: F) -> Self
    where
        F: AsyncFnOnce(Events) -> Result<(), Error> + 'static,
    {
        let stream = Stream::new(async move |sink| make(Events(sink)).await);
        Sse { stream, silence_max: SSE_SILENCE_MAX }
    }

    /// How long nothing is sent before a comment is, in place of [`SSE_SILENCE_MAX`].
    pub fn keep_alive(mut self, silence: Duration) -> Self {
        self.silence_max = silence;
        self
    }
}

impl Events {
    /// Gives an event away and waits until the connection has taken it.
    ///
    /// Errors: nobody will take it.
    pub async fn send(&mut self, event: Event) -> Result<(), StreamError> {
        let mut text = event.text;
        text.push('\n');
        self.0.send(text).await
    }
}

impl Event {
    /// An event with this text as its data. Lines may end as they like; the client sees them end in a line feed.
    pub fn new(data: impl AsRef<str>) -> Self {
        let mut event = Event { text: String::new() };
        event.lines("data", data.as_ref());
        event
    }

    /// An event with a value as JSON for its data.
    ///
    /// Errors: the value has no form in JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Event::new)
    }

    /// Only a comment, which no client shows.
    pub fn comment(text: impl AsRef<str>) -> Self {
        let mut event = Event { text: String::new() };
        event.lines("", text.as_ref());
        event
    }

    /// Names its type, by which the client listens to it; `message` if it has none.
    ///
    /// Errors: there is a line end in it.
    pub fn event(mut self, name: &str) -> Result<Self, EventError> {
        if name.contains(['\r', '\n']) {
            return Err(EventError("the type of an event has no line end in it"));
        }
        self.lines("event", name);
        Ok(self)
    }

    /// Gives it an id, which the client sends back when it comes again.
    ///
    /// Errors: there is a line end or a NUL in it.
    pub fn id(mut self, id: impl AsRef<str>) -> Result<Self, EventError> {
        let id = id.as_ref();
        if id.contains(['\r', '\n', '\0']) {
            return Err(EventError("the id of an event has no line end and no NUL in it"));
        }
        self.lines("id", id);
        Ok(self)
    }

    /// Says how long the client is to wait before it comes again, in whole milliseconds.
    pub fn retry(mut self, pause: Duration) -> Self {
        self.lines("retry", &pause.as_millis().to_string());
        self
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A field, with a line for each of the value's. A line's first space belongs to the frame, so there always is one.
    fn lines(&mut self, field: &str, value: &str) {
        for line in value.replace("\r\n", "\n").split(['\r', '\n']) {
            self.text.push_str(field);
            self.text.push_str(if line.is_empty() { ":" } else { ": " });
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}

impl Respond for Sse {
    fn respond(self) -> Response {
        let Sse { stream, silence_max } = self;
        let mut response = stream.respond();
        if let (Content::Stream(events), Some(shard)) = (std::mem::take(&mut response.content), Shard::current()) {
            let alarm = shard.alarm(shard.clock() + silence_max);
            response = Response::with_type(
                &EVENT_STREAM,
                Content::Stream(Box::pin(KeptAlive { events, shard, alarm, silence_max })),
            );
        }
        response.with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

/// Events, and comments while there are none.
struct KeptAlive {
    events: Pin<Box<dyn BodyStream>>,
    shard: Shard,
    alarm: Alarm,
    silence_max: Duration,
}

impl BodyStream for KeptAlive {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn StdError>>>> {
        let this = &mut *self;
        let piece = match this.events.as_mut().poll_next(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                std::task::ready!(this.alarm.poll_rung(cx));
                Some(Ok(COMMENT.into()))
            }
        };
        this.alarm.set(this.shard.clock() + this.silence_max);
        Poll::Ready(piece)
    }
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse").field("silence_max", &self.silence_max).finish_non_exhaustive()
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for EventError {}

/// What clients pass over.
const COMMENT: &str = ":\n\n";

static EVENT_STREAM: Made =
    Made::new(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"), "Content-Type: text/event-stream\r\n");
