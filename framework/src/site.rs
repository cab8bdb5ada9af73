//! The app once it serves, on one shard: [`Service`] finds the route of a request and lets it answer; [`Site`] is what all
//! routes share.

use std::cell::Cell;
use std::rc::Rc;

use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use net::{Reply, Response};
use proto::head::KnownHead;
use shards::Shard;

use crate::extract::{Rejection, States};
use crate::measure;
use crate::metrics::{HttpMetrics, MethodLabel};
use crate::request::Request;
use crate::respond::Respond;
use crate::route::Route;
use crate::table::{Found, Matched, Place, Table};

/// What all routes of an app share on one shard.
pub(crate) struct Site {
    pub(crate) shard: Shard,
    pub(crate) states: States,
    pub(crate) metrics: HttpMetrics,
}

/// Answers the requests of one shard.
pub(crate) struct Service {
    pub(crate) table: Table<Rc<Route>>,
    /// Answers where no route has the path.
    pub(crate) fallback: Rc<Route>,
    /// The same beneath the prefixes of nested routers, innermost first.
    pub(crate) fallbacks: Vec<Table<Rc<Route>>>,
}

impl net::Service for Service {
    fn call(&self, request: net::Request) -> Reply {
        let label = MethodLabel::of(request.method());
        if let Some(route) = self.noted(&request) {
            return run(route, label, request, Matched::default());
        }
        match self.table.find(request.method(), request.path_bytes()) {
            Found::Route(route, matched) => run(route, label, request, matched),
            Found::Nothing => self.fall_back(label, request),
            Found::WrongMethod(refusal) => run(refusal, label, request, Matched::default()),
        }
    }

    // One that has come before has had its route noted.
    #[inline]
    fn call_by_head(&self, head: &KnownHead) -> Option<Reply> {
        let route = self.table.at(Place::of(head.note().get())??)?;
        let alone = route.alone.as_ref()?;
        Some(measure::call(route, MethodLabel::of(head.table().method()), || alone(&route.site.shard)))
    }
}

#[inline]
fn run(route: &Rc<Route>, label: MethodLabel, request: net::Request, matched: Matched) -> Reply {
    let request = Request::new(request, matched, route, label);
    measure::call(route, label, || route.endpoint.call(request))
}

impl Service {
    /// The route of a head that keeps coming, if its path has no parameters: it is looked for once.
    #[inline]
    fn noted(&self, request: &net::Request) -> Option<&Rc<Route>> {
        let note = request.note()?;
        let place = Place::of(note.get()).unwrap_or_else(|| self.note(request, note));
        self.table.at(place?)
    }

    #[cold]
    fn note(&self, request: &net::Request, note: &Cell<[u32; 2]>) -> Option<Place> {
        let place = self.table.place(request.method(), request.path_bytes());
        note.set(Place::words(place));
        place
    }

    fn fall_back(&self, label: MethodLabel, request: net::Request) -> Reply {
        if *request.method() == Method::OPTIONS && request.target() == "*" {
            // RFC 9110 section 9.3.7: about the server as a whole; a ping.
            return measure::call(&self.fallback, label, || {
                Reply::ready(&self.fallback.site.shard, || Response::new(StatusCode::NO_CONTENT))
            });
        }
        let beneath =
            self.fallbacks.iter().find_map(|table| match table.find(request.method(), request.path_bytes()) {
                Found::Route(fallback, matched) => Some((fallback, matched)),
                _ => None,
            });
        let (fallback, matched) = beneath.unwrap_or((&self.fallback, Matched::default()));
        run(fallback, label, request, matched)
    }
}

/// 405, with what is allowed.
pub(crate) fn wrong_method(request: &Request, allow: &HeaderValue) -> Response {
    let what = format!("{} is not for {}", request.method(), request.path());
    let remedy = format!("Use one of: {}.", String::from_utf8_lossy(allow.as_bytes()));
    let rejection = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, what).remedy(remedy);
    rejection.respond().with_header(ALLOW, allow.clone())
}

/// 404.
pub(crate) fn not_found(request: &Request) -> Response {
    // CONNECT names a host and a port, and no path.
    let place = if request.path().is_empty() { request.target() } else { request.path() };
    Rejection::new(StatusCode::NOT_FOUND, format!("nothing is served at {place}")).respond()
}

#[cfg(test)]
mod tests;
