//! From a request to its route: a plain function of host, method and path.
//!
//! The one idea: host, path and methods are conditions, and of all routes whose conditions hold, the most particular has the
//! request. A host beats one with a wildcard, and that beats none; within, a whole path beats a prefix, a longer prefix a
//! shorter one, and a route that names methods one that does not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use shardwise::http::Method;

use crate::config::{Host, Place, Route};

/// The routes of a configuration, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Table {
    hosts: BTreeMap<String, Vec<Rule>>,
    /// By what a host ends in, the longest first.
    beneath: Vec<(String, Vec<Rule>)>,
    any: Vec<Rule>,
}

/// A route's other conditions.
#[derive(Debug)]
struct Rule {
    place: Place,
    methods: Vec<Method>,
    route: usize,
}

/// What became of a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// By its place in the configuration.
    Route(usize),
    /// There are routes, but for these methods alone.
    Methods(Vec<Method>),
    Nothing,
}

impl Table {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut table = Table::default();
        for (route, Route { host, path, methods, .. }) in routes.iter().enumerate() {
            let rule = Rule { place: path.clone(), methods: methods.clone(), route };
            match host {
                Host::Any => table.any.push(rule),
                Host::Exactly(host) => table.hosts.entry(host.clone()).or_default().push(rule),
                Host::Under(parent) => match table.beneath.iter_mut().find(|(known, _)| known == parent) {
                    Some((_, rules)) => rules.push(rule),
                    None => table.beneath.push((parent.clone(), vec![rule])),
                },
            }
        }
        table.beneath.sort_by_key(|(parent, _)| std::cmp::Reverse(parent.len()));
        let beneath = table.beneath.iter_mut().map(|(_, rules)| rules);
        table.hosts.values_mut().chain(beneath).chain([&mut table.any]).for_each(|rules| rules.sort_by_key(Rule::rank));
        table
    }

    /// `authority` is as the request has it, perhaps with a port.
    pub(crate) fn find(&self, authority: &str, method: &Method, path: &str) -> Found {
        let host = lower(host_of(authority));
        let exactly = self.hosts.get(&*host).into_iter();
        let is_beneath = |parent: &str| host.len() > parent.len() && host.ends_with(parent);
        let beneath = self.beneath.iter().filter(|(parent, _)| is_beneath(parent)).map(|(_, rules)| rules);
        let mut allowed = Vec::new();
        for rule in exactly.chain(beneath).chain([&self.any]).flatten() {
            if !rule.place.has(path) {
                continue;
            }
            match rule.admits(method) {
                true => return Found::Route(rule.route),
                false => allowed.extend(rule.methods.iter().cloned()),
            }
        }
        if allowed.is_empty() { Found::Nothing } else { Found::Methods(allowed) }
    }
}

impl Rule {
    /// Less for those that are tried first.
    fn rank(&self) -> impl Ord + use<> {
        let (is_prefix, length) = match &self.place {
            Place::Exactly(path) => (false, path.len()),
            Place::Beneath(prefix) => (true, prefix.len()),
        };
        (is_prefix, std::cmp::Reverse(length), self.methods.is_empty())
    }

    /// Who may `GET` may ask by `HEAD`, too.
    fn admits(&self, method: &Method) -> bool {
        let has = |method: &Method| self.methods.contains(method);
        self.methods.is_empty() || has(method) || *method == Method::HEAD && has(&Method::GET)
    }
}

impl Place {
    pub(crate) fn has(&self, path: &str) -> bool {
        match self {
            Place::Exactly(whole) => whole == path,
            Place::Beneath(prefix) if prefix == "/" => true,
            Place::Beneath(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

impl Route {
    /// What a path of its own becomes.
    pub(crate) fn rewritten(&self, path: &str) -> String {
        match (&self.rewrite, &self.path) {
            (None, _) => path.to_owned(),
            (Some(whole), Place::Exactly(_)) => whole.clone(),
            (Some(prefix), Place::Beneath(taken)) => {
                let rest = if taken == "/" { path } else { &path[taken.len()..] };
                match rest {
                    "" => prefix.clone(),
                    rest => format!("{}{rest}", prefix.trim_end_matches('/')),
                }
            }
        }
    }
}

/// Without a port, and without the dot that may end a name.
fn host_of(authority: &str) -> &str {
    let host = match authority.rfind(':') {
        Some(colon) if authority[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()) => &authority[..colon],
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

fn lower(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

/// Whether servers could read a path in different ways, so that what a route lets through, and what is then asked for, differ: it
/// holds `.` or `..` as a segment, however that is written (`/public/..%2Fadmin`), or what is no percent-encoding, or NUL.
pub(crate) fn is_in_doubt(path: &str) -> bool {
    if !path.bytes().any(|byte| byte == b'.' || byte == b'%') {
        return false;
    }
    let is_encoded = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if path.split('%').skip(1).any(|rest| !is_encoded(rest) || rest.starts_with("00")) {
        return true;
    }
    let path: Cow<'_, [u8]> = percent_decode_str(path).into();
    // What follows a semicolon is a parameter of the segment to some.
    let mut segments =
        path.split(|byte| matches!(byte, b'/' | b'\\')).filter_map(|part| part.split(|&b| b == b';').next());
    segments.any(|segment| matches!(segment, b"." | b".."))
}

#[cfg(test)]
mod tests;
