//! [`Mount`]: makes of what a user has declared what serves on a shard, or says all that is wrong with it.
//!
//! Routers within routers are a matter of this moment: what comes out is one flat table, in which each route has its whole
//! path, and the layers of all routers that it was in around it.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use http::HeaderValue;
use http::header::ALLOW;
use net::{Reply, Response};

use crate::extract::{States, Unmet};
use crate::handler::{self, Endpoint};
use crate::middleware::{self, Layer};
use crate::request::Request;
use crate::route::Route;
use crate::router::{Declared, Nested, Router, place};
use crate::site::{self, Service, Site};
use crate::table::{self, Refused, Table};

/// What is wrong with an app's declarations, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What was declared: `GET /items/{id}`.
    pub(crate) place: String,
    pub(crate) location: &'static Location<'static>,
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// What serves, as it is put together.
struct Mount {
    site: Rc<Site>,
    table: Table<Rc<Route>>,
    /// What stands around each path of the table, by its number: that of the first route there.
    around: Vec<Rc<Around>>,
    /// The fallback of the whole, if there is one.
    fallback: Option<Rc<Route>>,
    /// Those of nested routers, and their prefixes.
    fallbacks: Vec<(String, Rc<Route>)>,
    /// The same prefixes, to see whether they differ.
    prefixes: Table<()>,
    problems: Vec<Problem>,
    /// What has been declared, and where.
    lines: Vec<(String, &'static Location<'static>)>,
}

/// What stands around the routes of one router: its own, within that of the routers that it is in.
struct Around {
    layers: Vec<Rc<dyn Layer>>,
    body_bytes_max: u64,
    method_fallback: Option<Rc<dyn Endpoint>>,
}

/// Mounts the routes of an app. `problems` are those that are known already.
pub(crate) fn mount(
    router: Router,
    site: Rc<Site>,
    body_bytes_max: u64,
    problems: Vec<Problem>,
) -> Result<Service, SetupError> {
    let mut mount = Mount {
        site,
        table: Table::new(),
        around: Vec::new(),
        fallback: None,
        fallbacks: Vec::new(),
        prefixes: Table::new(),
        problems,
        lines: Vec::new(),
    };
    let outside = Around { layers: Vec::new(), body_bytes_max, method_fallback: None };
    let whole = mount.router("", router, &outside);
    if !mount.problems.is_empty() {
        return Err(SetupError { problems: mount.problems });
    }
    let Mount { site, mut table, around, fallback, fallbacks, .. } = mount;
    table.refuse_others(|at, allow| {
        let endpoint = Disallowed { allow: allow.clone(), answer: around[at].method_fallback.clone() };
        around[at].route(&site, "", "", Box::new(endpoint), None)
    });
    let fallback = fallback.unwrap_or_else(|| whole.route(&site, "", "", handler::answer(site::not_found), None));
    Ok(Service { table, fallback, fallbacks: beneath(fallbacks) })
}

/// What finds the fallbacks of nested routers, the innermost first. A table for each: what stands for the rest of a path and
/// a parameter in its place cannot be told apart in one.
fn beneath(mut fallbacks: Vec<(String, Rc<Route>)>) -> Vec<Table<Rc<Route>>> {
    fallbacks.sort_by_key(|(prefix, _)| std::cmp::Reverse((prefix.matches('/').count(), !prefix.contains('{'))));
    let table = |(prefix, route): (String, Rc<Route>)| {
        let mut table = Table::new();
        for rest in ["", "/", "/{*rest}"] {
            // The one pattern that may be refused has a parameter too many: then the prefix alone stays.
            let _ = table.add(&format!("{prefix}{rest}"), None, Rc::clone(&route));
        }
        table
    };
    fallbacks.into_iter().map(table).collect()
}

impl Mount {
    /// Mounts a router and those within it, beneath a prefix, which is empty for the outermost.
    fn router(&mut self, prefix: &str, router: Router, outside: &Around) -> Rc<Around> {
        let Router { routes, nested, layers, fallback, method_fallback, body_bytes_max } = router;
        let mut around = Around {
            layers: outside.layers.clone(),
            body_bytes_max: body_bytes_max.unwrap_or(outside.body_bytes_max),
            method_fallback: outside.method_fallback.clone(),
        };
        for declared in layers {
            self.require(declared.require, || "a layer".to_owned(), declared.location);
            around.layers.push(declared.layer);
        }
        if let Some(declared) = method_fallback {
            self.require(declared.require, || "the method fallback".to_owned(), declared.location);
            around.method_fallback = Some(Rc::from(declared.endpoint));
        }
        let around = Rc::new(around);
        routes.into_iter().for_each(|declared| self.route(prefix, declared, &around));
        if let Some(declared) = fallback {
            self.fallback(prefix, declared, &around);
        }
        nested.into_iter().for_each(|nested| self.nested(prefix, nested, &around));
        around
    }

    fn route(&mut self, prefix: &str, declared: Declared, around: &Rc<Around>) {
        let Declared { method, pattern, endpoint, require, body_bytes_max, location } = declared;
        let pattern = joined(prefix, &pattern);
        let place = place(method.as_ref(), &pattern);
        self.require(require, || place.clone(), location);
        let route = around.route(&self.site, &pattern, &pattern, endpoint, body_bytes_max);
        match self.table.add(&pattern, method, route) {
            Ok(at) if at == self.around.len() => self.around.push(Rc::clone(around)),
            Ok(_) => {}
            Err(refused) => self.refused(place.clone(), location, refused),
        }
        self.lines.push((place, location));
    }

    fn fallback(&mut self, prefix: &str, declared: Declared, around: &Around) {
        let Declared { endpoint, require, body_bytes_max, location, .. } = declared;
        let place = match prefix {
            "" => "the fallback".to_owned(),
            prefix => format!("the fallback of {prefix}"),
        };
        self.require(require, || place.clone(), location);
        let route = around.route(&self.site, "", prefix, endpoint, body_bytes_max);
        let added = match prefix {
            "" if self.fallback.is_some() => Err(Refused::Taken),
            "" => {
                self.fallback = Some(route);
                Ok(())
            }
            prefix => {
                self.fallbacks.push((prefix.to_owned(), route));
                self.prefixes.add(prefix, None, ()).map(drop)
            }
        };
        if let Err(refused) = added {
            self.refused(place.clone(), location, refused);
        }
        self.lines.push((place, location));
    }

    fn nested(&mut self, outer: &str, nested: Nested, around: &Around) {
        let Nested { prefix, router, location } = nested;
        let prefix = prefix.unwrap_or_default();
        let what = match &*prefix {
            "" => None,
            "/" => Some("it is that of every path"),
            prefix if !prefix.starts_with('/') => Some("it does not begin with a slash"),
            prefix if prefix.ends_with('/') => Some("it ends with a slash, as no path of a route in it would"),
            prefix if prefix.contains("{*") => Some("nothing can follow what stands for the rest of a path"),
            _ => None,
        };
        match what {
            None => drop(self.router(&format!("{outer}{prefix}"), router, around)),
            Some(what) => self.problems.push(Problem {
                place: format!("the router nested at {prefix}"),
                location,
                what: format!("the prefix cannot be used: {what}"),
                remedy: "Write one such as `/api`, or use `merge`.".to_owned(),
            }),
        }
    }

    /// Asks whether the app has what something needs.
    fn require(
        &mut self,
        require: fn(&States) -> Result<(), Unmet>,
        place: impl FnOnce() -> String,
        location: &'static Location<'static>,
    ) {
        if let Err(Unmet { what, remedy }) = require(&self.site.states) {
            self.problems.push(Problem { place: place(), location, what, remedy });
        }
    }

    fn refused(&mut self, place: String, location: &'static Location<'static>, refused: Refused) {
        let earlier = |suffix: &str| {
            let line = self.lines.iter().find(|(place, _)| place.ends_with(suffix));
            line.map(|(_, location)| format!(" ({location})")).unwrap_or_default()
        };
        let (what, remedy) = match refused {
            Refused::Pattern(what) => (format!("the path cannot be matched: {what}"), "Correct the path.".to_owned()),
            Refused::Taken => {
                (format!("this route is declared already{}", earlier(&place)), "Remove one of the two.".to_owned())
            }
            Refused::Conflict(with) => (
                format!("it matches the same paths as {with}{}", earlier(&format!(" {with}"))),
                "Give their parameters the same names, or the paths a part in which they differ.".to_owned(),
            ),
        };
        self.problems.push(Problem { place, location, what, remedy });
    }
}

impl Around {
    /// A handler where it is mounted. `named` is the pattern whose parameters it knows; `pattern` what it is called.
    fn route(
        &self,
        site: &Rc<Site>,
        pattern: &str,
        named: &str,
        endpoint: Box<dyn Endpoint>,
        body_bytes_max: Option<u64>,
    ) -> Rc<Route> {
        let endpoint = middleware::around(&self.layers, endpoint);
        let admitted = self.layers.iter().filter_map(|layer| layer.body_bytes_max());
        Rc::new(Route {
            pattern: pattern.into(),
            parameters: table::parameters(named).map(Into::into).collect(),
            alone: endpoint.alone(),
            endpoint,
            body_bytes_max: admitted.fold(body_bytes_max.unwrap_or(self.body_bytes_max), u64::min),
            metrics: site.metrics.route(pattern),
            site: Rc::clone(site),
        })
    }
}

/// The path of a route in a router beneath a prefix. One that is none stays as it is, to be refused.
fn joined(prefix: &str, path: &str) -> String {
    match path {
        "/" if !prefix.is_empty() => prefix.to_owned(),
        path if path.starts_with('/') => format!("{prefix}{path}"),
        path => path.to_owned(),
    }
}

/// Answers where a path is known, and the method is not allowed there.
struct Disallowed {
    allow: HeaderValue,
    answer: Option<Rc<dyn Endpoint>>,
}

impl Endpoint for Disallowed {
    fn call(&self, request: Request) -> Reply {
        let Some(answer) = &self.answer else {
            return request.reply(|| site::wrong_method(&request, &self.allow));
        };
        let shard = request.shard().clone();
        match answer.call(request) {
            Reply::Ready(mut response) => {
                allow(&mut response, &self.allow);
                Reply::Ready(response)
            }
            Reply::Later(response) => {
                let methods = self.allow.clone();
                Reply::Later(shard.lease(async move {
                    let mut response = response.await;
                    allow(&mut response, &methods);
                    response
                }))
            }
        }
    }
}

/// Says which methods are allowed, where that is not said.
fn allow(response: &mut Response, methods: &HeaderValue) {
    if response.headers.get(&ALLOW).is_none() {
        response.headers.append(ALLOW, methods.clone());
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the app cannot be served:")?;
        for Problem { place, location, what, remedy } in &self.problems {
            write!(f, "\n  {place} at {location}: {what}. {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SetupError {}
