//! [`Files`]: a directory's files as answers, with validators and ranges.
//!
//! The one idea: nothing is trusted twice. The root is opened once, and a path is opened beneath that handle by the kernel,
//! which lets no path and no symbolic link out of it; what was opened is what facts are asked of, what is judged
//! ([`proto::conditions`]) and what is sent ([`transfer`]). No call here waits for a disk: all goes through the shard's
//! backend.

#[cfg(test)]
mod tests;
mod transfer;
mod types;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use http::header::{ACCEPT_RANGES, ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use net::{Content, Reply, Response};
use percent_encoding::percent_decode_str;
use platform::{Handle, Op, OpenFile, Outcome, Stat};
use proto::conditions::{self, Decision, Facts};
use shards::Shard;

use crate::Result;
use crate::extract::{Rejection, States, Unmet};
use crate::handler::Handler;
use crate::request::Request;
use crate::respond::Respond;
use transfer::{Segment, Transfer};

/// Serves the regular files of a directory: a handler for `GET`, and so for `HEAD`, at a path that ends in a catch-all.
///
/// Answers bear an `ETag` and `Last-Modified`, follow RFC 9110's preconditions, and come in ranges if asked for. The
/// `ETag` is made of a file's size, the time of its last change and its number on its file system: it is strong as far as
/// every change moves that time, which a program can prevent that sets it back.
///
/// No path leads out of the directory, encoded or not, nor does a symbolic link; links that stay within it are followed on
/// Linux (5.6, where the kernel's `openat2` is not forbidden), and elsewhere none. What is no regular file, may not be read, or has a name that is not UTF-8 is answered 404, as
/// what is not there. Windows has no such call, and every request is answered 500.
///
/// The directory is opened once on each shard, by the first request, and may be renamed then. A file that becomes shorter
/// while it is sent ends the connection; one that is replaced is sent as it was.
///
/// ```
/// use shardwise::{App, Files, test};
///
/// let server = test::run(App::new().get("/files/{*path}", Files::new("/www")));
/// server.write_file("/www/css/page.css", "a { color: red }");
/// server.write_file("/secret", "secret");
///
/// let response = server.get("/files/css/page.css").expect(200);
/// assert_eq!(response.header("content-type"), "text/css; charset=utf-8");
/// let again = test::Request::get("/files/css/page.css").header("if-none-match", response.header("etag"));
/// assert_eq!(server.send(again).status(), 304);
/// let end = test::Request::get("/files/css/page.css").header("range", "bytes=-5");
/// assert_eq!(server.send(end).expect(206).text(), "red }");
/// assert_eq!(server.get("/files/..%2fsecret").status(), 404);
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    index: Option<Box<str>>,
    unchanging: bool,
    /// The root, once it is open.
    directory: RefCell<Option<Rc<Held>>>,
}

/// The shape of [`Files`] as a handler.
#[derive(Debug)]
pub struct OfFiles(());

impl Files {
    /// Serves the files of this directory, and of those within it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Files { root: root.into(), index: None, unchanging: false, directory: RefCell::default() }
    }

    /// Answers a directory, at a path that ends in a slash, by its file of this name, such as `index.html`; without the
    /// slash by a redirect to it. A directory is answered 404 otherwise.
    ///
    /// ```
    /// use shardwise::{App, Files, test};
    ///
    /// let site = Files::new("/www").index("index.html");
    /// let server = test::run(App::new().get("/", site.clone()).get("/{*path}", site));
    /// server.write_file("/www/index.html", "home");
    /// server.write_file("/www/about/index.html", "about");
    /// assert_eq!(server.get("/").text(), "home");
    /// assert_eq!(server.get("/about/").text(), "about");
    /// assert_eq!(server.get("/about").expect(301).header("location"), "./about/");
    /// ```
    pub fn index(mut self, name: impl Into<String>) -> Self {
        self.index = Some(name.into().into());
        self
    }

    /// The files do not change in place: what is new is another file that takes the name, as by a rename. Then large ones go
    /// to connections without a copy, where the backend can, for a quarter to a half less CPU. Of a file that is cut or written to meanwhile,
    /// clients would get bytes that it never had.
    ///
    /// ```
    /// use shardwise::{App, Files, test};
    ///
    /// let server = test::run(App::new().get("/{*path}", Files::new("/releases").unchanging()));
    /// server.write_file("/releases/1.2.tar", "packed");
    /// assert_eq!(server.get("/1.2.tar").text(), "packed");
    /// ```
    pub fn unchanging(mut self) -> Self {
        self.unchanging = true;
        self
    }

    async fn answer(&self, request: &Request) -> Result<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let rejection =
                Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "a file can only be read").at(request.place());
            return Ok(rejection.respond().with_header(ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let sent = request.parameters().last().map_or("", |(_, sent)| sent);
        let Some(path) = self.path_of(sent) else { return Err(missing(request)) };
        let shard = request.shard();
        let directory = self.directory(shard).await?;
        let file = match Held::open(shard, reading(path.clone().into(), Some(directory.handle))).await {
            Ok(file) => file,
            Err(error) => return Err(refused(request, error)),
        };
        let stat = file.stat().await?;
        if stat.is_directory && self.index.is_some() {
            return redirect(request, sent);
        }
        if !stat.is_file {
            return Err(missing(request));
        }
        let transfer = |segments| Transfer::new(file, segments, self.unchanging);
        respond(request, transfer, &stat, types::of(&path)).await
    }

    /// The path beneath the root that was asked for; `None` for what cannot be the name of a file.
    ///
    /// A name is decoded by itself, so that no separator and no dots come of it.
    fn path_of(&self, sent: &str) -> Option<String> {
        let (names, is_directory) = match sent.strip_suffix('/') {
            Some(names) => (names, true),
            None => (sent, sent.is_empty()),
        };
        let mut path = String::with_capacity(sent.len());
        for name in names.split('/').filter(|_| !names.is_empty()) {
            let name = percent_decode_str(name).decode_utf8().ok()?;
            if matches!(&*name, "" | "." | "..") || name.contains(['/', '\\', '\0']) {
                return None;
            }
            path.push_str(&name);
            path.push('/');
        }
        match (is_directory, &self.index) {
            (false, _) => drop(path.pop()),
            (true, Some(index)) => path.push_str(index),
            (true, None) => return None,
        }
        Some(path)
    }

    /// The root. Requests that find it closed open it, and the first of them has opened it for all.
    async fn directory(&self, shard: &Shard) -> Result<Rc<Held>> {
        let known = self.directory.borrow().clone();
        if let Some(directory) = known {
            return Ok(directory);
        }
        let opened = Held::open(shard, reading(self.root.clone(), None)).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) if error.is_scarcity() => return Err(busy(error)),
            Err(error) => return Err(RootError { root: self.root.clone(), error }.into()),
        };
        Ok(Rc::clone(self.directory.borrow_mut().get_or_insert_with(|| Rc::new(opened))))
    }
}

impl Handler<OfFiles> for Files {
    fn call(self: &Rc<Self>, request: Request) -> Reply {
        let files = Rc::clone(self);
        let measure = request.measure().clone();
        measure.later(|| async move { files.answer(&request).await.respond() })
    }

    fn require(_states: &States) -> Result<(), Unmet> {
        Ok(())
    }
}

/// Answers by an open file.
async fn respond(
    request: &Request,
    transfer: impl FnOnce(Vec<Segment>) -> Transfer,
    stat: &Stat,
    content_type: &'static str,
) -> Result<Response> {
    let tag = tag_of(stat);
    let now = request.shard().wall_clock();
    let facts = Facts { bytes: stat.bytes, tag: tag.as_bytes(), modified: stat.modified };
    let mut kind = HeaderValue::from_static(content_type);
    let (status, segments) = match conditions::evaluate(request.method(), request.headers(), &facts, now) {
        Decision::Failed => {
            let what = "the file is not what the request takes it for";
            return Err(Rejection::new(StatusCode::PRECONDITION_FAILED, what).at(request.place()).into());
        }
        Decision::NotModified => {
            return Ok(Response::new(StatusCode::NOT_MODIFIED).with_header(ETAG, tag.try_into()?));
        }
        Decision::Unsatisfiable => {
            let what = format!("the file has {} bytes", stat.bytes);
            let rejection = Rejection::new(StatusCode::RANGE_NOT_SATISFIABLE, what).at(request.place());
            return Ok(rejection.respond().with_header(CONTENT_RANGE, format!("bytes */{}", stat.bytes).try_into()?));
        }
        Decision::Whole => (StatusCode::OK, vec![Segment::Range(0..stat.bytes)]),
        Decision::Range(part) => (StatusCode::PARTIAL_CONTENT, vec![Segment::Range(part)]),
        Decision::Ranges(parts) => {
            // Nobody can know beforehand what would end a part early.
            let boundary = format!("{:016x}{:016x}", request.shard().random(), request.shard().random());
            kind = format!("multipart/byteranges; boundary={boundary}").try_into()?;
            (StatusCode::PARTIAL_CONTENT, multipart(parts, stat.bytes, content_type, &boundary))
        }
    };
    let mut response = Response::new(status).with_header(CONTENT_TYPE, kind);
    if let (StatusCode::PARTIAL_CONTENT, [Segment::Range(part)]) = (status, &segments[..]) {
        response = response.with_header(CONTENT_RANGE, content_range(part, stat.bytes).try_into()?);
    }
    let mut transfer = transfer(segments);
    response.content = match *request.method() {
        // Only its length is told.
        Method::HEAD => Content::Stream(Box::pin(transfer)),
        _ => {
            // With the first piece at hand its failure is still an answer, and it leaves together with the head.
            transfer.begin().await?;
            match transfer.into_last() {
                Ok(content) => content,
                Err(transfer) => Content::Stream(Box::pin(transfer)),
            }
        }
    };
    let modified = conditions::last_modified(stat.modified, now);
    Ok(response
        .with_header(ETAG, tag.try_into()?)
        .with_header(LAST_MODIFIED, modified.try_into()?)
        .with_header(ACCEPT_RANGES, HeaderValue::from_static("bytes")))
}

/// The parts with their heads between them (RFC 9110 section 14.6).
fn multipart(parts: Vec<Range<u64>>, bytes: u64, content_type: &str, boundary: &str) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(parts.len() * 2 + 1);
    let mut head = String::new();
    for part in parts {
        let content_range = content_range(&part, bytes);
        let _ = write!(head, "--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n");
        segments.extend([Segment::Text(std::mem::take(&mut head).into()), Segment::Range(part)]);
        head.push_str("\r\n");
    }
    let _ = write!(head, "--{boundary}--\r\n");
    segments.push(Segment::Text(head.into()));
    segments
}

fn content_range(part: &Range<u64>, bytes: u64) -> String {
    format!("bytes {}-{}/{bytes}", part.start, part.end - 1)
}

/// A tag that changes with size, time of change and file. A time before 1970 is as good as any other.
fn tag_of(stat: &Stat) -> String {
    let modified = match stat.modified.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos(),
        Err(before) => before.duration().as_nanos(),
    };
    format!("\"{:x}-{modified:x}-{:x}\"", stat.bytes, stat.inode)
}

/// To a directory's path as it was sent, with a slash. Relative, so that nothing needs to be known of what lies before it; by
/// `./`, so that a name with a colon is no scheme.
fn redirect(request: &Request, sent: &str) -> Result<Response> {
    let name = sent.rsplit('/').next().unwrap_or(sent);
    let query = request.query().map_or(String::new(), |query| format!("?{query}"));
    let location = format!("./{name}/{query}").try_into()?;
    Ok(Response::new(StatusCode::MOVED_PERMANENTLY).with_header(LOCATION, location))
}

/// 404: the same whatever the reason, so that nobody learns what else there is.
fn missing(request: &Request) -> crate::Error {
    Rejection::new(StatusCode::NOT_FOUND, format!("no file is served at {}", request.path())).into()
}

/// What a request is told whose file cannot be opened.
fn refused(request: &Request, error: platform::Error) -> crate::Error {
    match error {
        platform::Error::NotFound | platform::Error::Denied | platform::Error::Invalid => missing(request),
        error if error.is_scarcity() => busy(error),
        error => error.into(),
    }
}

/// 503: what is short now may be there later.
fn busy(error: platform::Error) -> crate::Error {
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into()
}

fn reading(path: PathBuf, beneath: Option<Handle>) -> OpenFile {
    OpenFile { path, beneath, read: true, write: false, create: false, truncate: false }
}

/// An open file or directory, which is closed when it is dropped.
#[derive(Debug)]
struct Held {
    shard: Shard,
    handle: Handle,
}

impl Held {
    async fn open(shard: &Shard, file: OpenFile) -> Result<Held, platform::Error> {
        match run(shard, Op::Open { file: Box::new(file) }).await? {
            Outcome::Opened(handle) => Ok(Held { shard: shard.clone(), handle }),
            _ => Err(platform::Error::Invalid),
        }
    }

    async fn stat(&self) -> Result<Stat, platform::Error> {
        match run(&self.shard, Op::Stat { file: self.handle }).await? {
            Outcome::Stat(stat) => Ok(stat),
            _ => Err(platform::Error::Invalid),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shard.with_reactor(|reactor| reactor.close(self.handle));
    }
}

async fn run(shard: &Shard, op: Op) -> Result<Outcome, platform::Error> {
    let operation = shard.start(op).map_err(|(_, error)| error)?;
    operation.await.result
}

/// The root cannot be opened: an operator's to mend.
#[derive(Debug)]
struct RootError {
    root: PathBuf,
    error: platform::Error,
}

impl std::fmt::Display for RootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the directory {} cannot be served: {}", self.root.display(), self.error)
    }
}

impl std::error::Error for RootError {}
