//! A request as it arrived: one contiguous head block, the table that indexes it, and the body that follows.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use http::Method;
use platform::{Chunk, Handle};
use proto::head::{Fields, HeadTable, Known, KnownHead};
use proto::proxy::Ends;
use proto::ws::{Refusal, Upgrade};
use shards::{Pooled, Shard, TraceContext};

use super::{Body, Headers};
use crate::client::end_to_end;
use crate::tls::Secured;

/// One request. Its strings lie in the received bytes; whoever wants to keep one copies it.
#[derive(Debug)]
pub struct Request(Pooled<Parts>);

/// What there is of it, in a place of the shard's pool: a request goes through many hands, and into futures.
#[derive(Debug)]
struct Parts {
    head: Head,
    body: Body,
    peer: Peer,
    is_early: bool,
}

/// The two ends of the connection that a request came by. Addresses are asked of the system when they are wanted.
#[derive(Clone, Debug)]
pub struct Peer {
    shard: Shard,
    /// `None` for a request that came by no connection.
    handle: Option<Handle>,
    secured: Option<Rc<Secured>>,
    /// What a proxy has said of the connection.
    named: Option<Rc<Ends>>,
}

/// A head block with its table.
pub struct Head(Kept);

/// How a head is kept.
enum Kept {
    /// By itself. The table goes back to the shard's spares when the head is dropped, so that a steady server allocates none.
    Alone {
        block: Chunk,
        /// Always there until `drop` gives it back.
        table: Option<Box<HeadTable>>,
        spares: Rc<HeadSpares>,
    },
    /// Many requests have it.
    Shared(Rc<KnownHead>),
}

/// Tables that wait for the next head: as many as requests were in hand at once, up to a bound.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "a table moves between here and its request by pointer, not by copy")]
pub struct HeadSpares(RefCell<Vec<Box<HeadTable>>>);

impl Request {
    /// Puts a request together, in memory of the peer's shard.
    pub fn new(head: Head, body: Body, peer: Peer) -> Self {
        let shard = peer.shard().clone();
        Request::in_place(&shard, || (head, body, peer, false))
    }

    /// The same, where what it is made of need not be moved; and whether it came as early data.
    #[inline(always)]
    pub(crate) fn in_place(shard: &Shard, make: impl FnOnce() -> (Head, Body, Peer, bool)) -> Self {
        Request(shard.pooled_with(|| {
            let (head, body, peer, is_early) = make();
            Parts { head, body, peer, is_early }
        }))
    }

    /// Puts what is made of the request into memory of the pool that it lies in, its shard's.
    #[inline(always)]
    pub fn within<U>(self, make: impl FnOnce(Self) -> U) -> Pooled<U> {
        self.0.within(|parts| make(Request(parts)))
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.table().method()
    }

    /// The path as it was sent, percent-encoding and all, without the query.
    pub fn path(&self) -> &str {
        text(self.path_bytes())
    }

    /// The same as bytes, all of them visible ASCII: for those who compare paths and need not look at them twice.
    pub fn path_bytes(&self) -> &[u8] {
        self.table().path(self.0.head.block())
    }

    /// What follows the question mark, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.table().query(self.0.head.block()).map(text)
    }

    /// The whole request target as it was sent.
    pub fn target(&self) -> &str {
        text(self.table().target(self.0.head.block()))
    }

    /// Host and port that the request is for, as they were sent; empty if it does not say. HTTP/2 may have them without a
    /// `Host`.
    pub fn authority(&self) -> &str {
        text(self.table().authority(self.0.head.block()))
    }

    /// The version of HTTP that the request came by.
    pub fn version(&self) -> http::Version {
        self.table().version()
    }

    /// The first value of a well-known header.
    pub fn known(&self, name: Known) -> Option<&[u8]> {
        self.table().get(self.0.head.block(), name)
    }

    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.table().find(self.0.head.block(), name)
    }

    /// All headers in the order received: name as sent, value.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.table().iter(self.0.head.block())
    }

    /// The headers for whoever is behind us: without those that were for this connection (RFC 9110 section 7.6.1). `Host` and
    /// `Expect` are among them.
    pub fn end_to_end(&self) -> Headers {
        let (block, fields) = self.fields();
        end_to_end(block, fields, |_| true)
    }

    /// All headers as they lie in the head.
    pub(crate) fn fields(&self) -> (&[u8], &Fields) {
        (self.0.head.block(), self.table().fields())
    }

    /// The trace that the client says this belongs to, by `traceparent`. One that is not well formed, or comes twice, is as
    /// good as absent.
    pub fn trace(&self) -> Option<TraceContext> {
        let mut all = self.table().all(self.0.head.block(), Known::TraceParent);
        let only = all.next()?;
        if all.next().is_some() { None } else { TraceContext::parse(only) }
    }

    /// Whether it came as early data of TLS, before the hand-shake was over: who saw it may send it again. What must not happen
    /// twice is to be answered 425 (RFC 8470), and comes again. A proxy in front says so by `Early-Data: 1` (section 5.1).
    pub fn is_early(&self) -> bool {
        self.0.is_early || self.header("early-data").is_some_and(|value| value == b"1")
    }

    /// Judges whether it asks to speak WebSocket, and may.
    pub fn upgrade(&self) -> Result<Upgrade<'_>, Refusal> {
        Upgrade::judge(self.table(), self.0.head.block())
    }

    /// What the client wishes to speak instead of HTTP on this connection, or over HTTP/2 and HTTP/3 on this stream, as it was
    /// sent; `None` if it does not ask.
    pub fn asks_for(&self) -> Option<&[u8]> {
        match self.version() {
            http::Version::HTTP_2 | http::Version::HTTP_3 => self.table().protocol(self.0.head.block()),
            http::Version::HTTP_11 if self.names_upgrade() => self.known(Known::Upgrade),
            _ => None,
        }
    }

    /// RFC 9110 section 7.8: `Upgrade` by itself says nothing.
    fn names_upgrade(&self) -> bool {
        let lines = self.table().all(self.0.head.block(), Known::Connection);
        let mut options = lines.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.0.body
    }

    /// The body, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.0.body
    }

    /// Takes the body out; an empty one stays.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.0.body, Body::empty())
    }

    fn table(&self) -> &HeadTable {
        self.0.head.table()
    }

    /// Of a request whose head keeps coming: two words for what the service has found by the head alone, and need not look for
    /// again. Zeros until it sets them, for any request of that head. `None` for all others.
    ///
    /// A head belongs to one server, so what one notes no other finds.
    #[inline]
    pub fn note(&self) -> Option<&Cell<[u32; 2]>> {
        self.0.head.known().map(KnownHead::note)
    }

    /// The connection's two ends.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }
}

impl Head {
    /// A head block and the table that indexes it.
    pub fn new(block: Chunk, table: Box<HeadTable>, spares: Rc<HeadSpares>) -> Self {
        Head(Kept::Alone { block, table: Some(table), spares })
    }

    /// A head that has come before.
    pub(crate) fn shared(head: Rc<KnownHead>) -> Self {
        Head(Kept::Shared(head))
    }

    /// The head, if it has come before.
    #[inline]
    pub(crate) fn known(&self) -> Option<&KnownHead> {
        match &self.0 {
            Kept::Shared(head) => Some(head),
            Kept::Alone { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn block(&self) -> &[u8] {
        match &self.0 {
            Kept::Alone { block, .. } => block,
            Kept::Shared(head) => head.block(),
        }
    }

    #[inline]
    pub(crate) fn table(&self) -> &HeadTable {
        match &self.0 {
            Kept::Alone { table, .. } => table.as_deref().expect("a head has its table until it is dropped"),
            Kept::Shared(head) => head.table(),
        }
    }
}

impl Peer {
    #[inline(always)]
    pub(crate) fn new(shard: Shard, handle: Handle, secured: Option<Rc<Secured>>, named: Option<Rc<Ends>>) -> Self {
        Peer { shard, handle: Some(handle), secured, named }
    }

    /// The peer of a connection that has no socket of its own.
    pub(crate) fn at(shard: &Shard, ends: Ends, secured: Secured) -> Self {
        Peer { shard: shard.clone(), handle: None, secured: Some(Rc::new(secured)), named: Some(Rc::new(ends)) }
    }

    /// The peer of a request that was made here and came by no connection, as tests make them.
    pub fn none(shard: &Shard) -> Self {
        Peer { shard: shard.clone(), handle: None, secured: None, named: None }
    }

    /// The client's address; `None` once the connection is closed. One system call for each connection, unless a proxy has named
    /// it ([`Config::proxy_protocol`](crate::Config::proxy_protocol)).
    pub fn remote(&self) -> Option<SocketAddr> {
        if let Some(ends) = &self.named {
            return Some(ends.source);
        }
        self.shard.with_reactor(|reactor| reactor.peer_address(self.handle?).ok())
    }

    /// The server's address, or the proxy's where the client connected to that; `None` once the connection is closed. One
    /// system call, unless a proxy has named it.
    pub fn local(&self) -> Option<SocketAddr> {
        if let Some(ends) = &self.named {
            return Some(ends.destination);
        }
        self.shard.with_reactor(|reactor| reactor.local_address(self.handle?).ok())
    }

    /// Whether the connection is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secured.is_some()
    }

    /// What TLS has agreed on, if the connection is encrypted.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_deref()
    }

    /// The shard that serves the connection.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        if let Kept::Alone { table, spares, .. } = &mut self.0
            && let Some(table) = table.take()
        {
            spares.put(table);
        }
    }
}

impl HeadSpares {
    /// A table, used before if there is one. What it holds is the last head's until an engine fills it.
    pub fn take(&self) -> Box<HeadTable> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a table for the next head.
    pub fn put(&self, table: Box<HeadTable>) {
        let mut spares = self.0.borrow_mut();
        if spares.len() < crate::limits::HEAD_SPARES_MAX {
            spares.push(table);
        }
    }
}

/// The engine admits only visible ASCII into targets, so this does not fail; if it ever did, an empty path matches no
/// route.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} bytes)", self.block().len())
    }
}

impl fmt::Debug for HeadSpares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadSpares({})", self.0.borrow().len())
    }
}
