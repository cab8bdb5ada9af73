//! The table of routes: method and path in, route and the places of its parameters out.
//!
//! A path is looked up once, whatever the method; the methods of a path are a short list. Plain data, no I/O: it knows
//! neither requests nor handlers, and is generic over what a route is.

use std::ops::Range;

use http::{HeaderValue, Method};
use matchit::InsertError;

use crate::limits::PATH_PARAMETERS_MAX;

/// Routes by path and method.
#[derive(Debug)]
pub(crate) struct Table<T> {
    tree: matchit::Router<usize>,
    /// Paths without parameters: found first, since they win over parameters anyway, in less time, and without the memory
    /// that the tree takes to remember where it passed by a parameter.
    exact: Exact,
    paths: Vec<Methods<T>>,
}

/// Paths by their length, which tells most of them apart: few are compared.
#[derive(Debug, Default)]
struct Exact(Vec<Vec<(Box<[u8]>, usize)>>);

/// What a path answers to.
#[derive(Debug)]
struct Methods<T> {
    pattern: String,
    by_method: Vec<(Method, T)>,
    any: Option<T>,
    /// The value of `Allow`.
    allow: HeaderValue,
    /// What answers to other methods.
    refusal: Option<T>,
}

/// Where the parameters lie in the path, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    places: [(u16, u16); PATH_PARAMETERS_MAX],
    count: u8,
}

/// Where a route lies: its path, and its method among those of the path, behind which is the one for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: u16,
    method: u16,
}

/// What a lookup gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'r, T> {
    /// The route.
    Route(&'r T, Matched),
    /// The path is known, the method is not among those allowed: what was set to answer then.
    WrongMethod(&'r T),
    /// No route has this path.
    Nothing,
}

/// Why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The path is not a pattern.
    Pattern(&'static str),
    /// Another pattern matches the same paths.
    Conflict(String),
    /// This method of this path has a route.
    Taken,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Table { tree: matchit::Router::new(), exact: Exact::default(), paths: Vec::new() }
    }

    /// Adds a route for one method of a path, or for all that have none of their own. Returns the number of the path.
    pub(crate) fn add(&mut self, pattern: &str, method: Option<Method>, route: T) -> Result<usize, Refused> {
        let at = match self.paths.iter().position(|path| path.pattern == pattern) {
            Some(at) => at,
            None => self.add_path(pattern)?,
        };
        self.paths[at].add(method, route)?;
        Ok(at)
    }

    /// Sets for each path, by its number and the value of `Allow`, what answers to methods that have no route there.
    pub(crate) fn refuse_others(&mut self, mut refusal: impl FnMut(usize, &HeaderValue) -> T) {
        for (at, path) in self.paths.iter_mut().enumerate() {
            path.refusal = Some(refusal(at, &path.allow));
        }
    }

    fn add_path(&mut self, pattern: &str) -> Result<usize, Refused> {
        if !pattern.starts_with('/') {
            return Err(Refused::Pattern("a path begins with a slash"));
        }
        if parameters(pattern).count() > PATH_PARAMETERS_MAX {
            return Err(Refused::Pattern("a path has at most eight parameters"));
        }
        self.tree.insert(pattern, self.paths.len()).map_err(|error| match error {
            InsertError::Conflict { with } => Refused::Conflict(with),
            InsertError::InvalidParamSegment => Refused::Pattern("a segment of a path has at most one parameter"),
            InsertError::InvalidCatchAll => Refused::Pattern("`{*rest}` stands for the rest of a path, at its end"),
            _ => Refused::Pattern("a parameter has a name in braces, `{id}`; a brace itself is written twice, `{{`"),
        })?;
        let at = self.paths.len();
        self.paths.push(Methods::new(pattern));
        if !pattern.contains(['{', '}']) {
            self.exact.add(pattern.as_bytes(), at);
        }
        Ok(at)
    }

    /// Finds the route of a request. `path` as it was sent: percent-encoding separates `/a%2Fb` from `/a/b`. As bytes,
    /// since only the tree needs to know that they are text.
    #[inline]
    pub(crate) fn find(&self, method: &Method, path: &[u8]) -> Found<'_, T> {
        let (at, matched) = match self.exact.find(path) {
            Some(at) => (at, Matched::default()),
            None => match self.find_in_tree(path) {
                Some(found) => found,
                None => return Found::Nothing,
            },
        };
        let methods = &self.paths[at];
        match (methods.get(method), &methods.refusal) {
            (Some(route), _) => Found::Route(route, matched),
            (None, Some(refusal)) => Found::WrongMethod(refusal),
            (None, None) => Found::Nothing,
        }
    }

    /// Where a route lies whose path has no parameters, for [`at`](Table::at).
    pub(crate) fn place(&self, method: &Method, path: &[u8]) -> Option<Place> {
        let path = self.exact.find(path)?;
        let method = self.paths[path].place(method)?;
        Some(Place { path: u16::try_from(path).ok()?, method: u16::try_from(method).ok()? })
    }

    /// The route that lies there.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> Option<&T> {
        let methods = self.paths.get(usize::from(place.path))?;
        match methods.by_method.get(usize::from(place.method)) {
            Some((_, route)) => Some(route),
            None => methods.any.as_ref(),
        }
    }

    fn find_in_tree(&self, path: &[u8]) -> Option<(usize, Matched)> {
        let path = std::str::from_utf8(path).ok()?;
        let found = self.tree.at(path).ok()?;
        Some((*found.value, Matched::new(path, &found.params)))
    }
}

impl Exact {
    /// The tree has admitted the path, so it is new, and no longer than a route that someone wrote.
    fn add(&mut self, path: &[u8], at: usize) {
        if self.0.len() <= path.len() {
            self.0.resize_with(path.len() + 1, Vec::new);
        }
        self.0[path.len()].push((path.into(), at));
    }

    #[inline]
    fn find(&self, path: &[u8]) -> Option<usize> {
        self.0.get(path.len())?.iter().find(|(known, _)| **known == *path).map(|&(_, at)| at)
    }
}

impl Place {
    /// As two words that are not zeros.
    pub(crate) fn words(place: Option<Place>) -> [u32; 2] {
        match place {
            Some(Place { path, method }) => [KNOWN, u32::from(path) << u16::BITS | u32::from(method)],
            None => [UNKNOWN, 0],
        }
    }

    /// What was made words of; the outer `None` of zeros.
    #[inline]
    pub(crate) fn of(words: [u32; 2]) -> Option<Option<Place>> {
        match words {
            [KNOWN, place] => Some(Some(Place { path: (place >> u16::BITS) as u16, method: place as u16 })),
            [UNKNOWN, _] => Some(None),
            _ => None,
        }
    }
}

const KNOWN: u32 = 1;
const UNKNOWN: u32 = 2;

impl<T> Methods<T> {
    fn new(pattern: &str) -> Self {
        let allow = HeaderValue::from_static("");
        Methods { pattern: pattern.to_owned(), by_method: Vec::new(), any: None, allow, refusal: None }
    }

    fn add(&mut self, method: Option<Method>, route: T) -> Result<(), Refused> {
        match method {
            None if self.any.is_some() => return Err(Refused::Taken),
            None => self.any = Some(route),
            Some(method) if self.by_method.iter().any(|(known, _)| *known == method) => return Err(Refused::Taken),
            Some(method) => self.by_method.push((method, route)),
        }
        let mut names: Vec<&str> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        self.allow = names.join(", ").parse().expect("methods are tokens");
        Ok(())
    }

    /// The method's own route; `HEAD` falls back on `GET`, everything on the route for any method.
    #[inline]
    fn get(&self, method: &Method) -> Option<&T> {
        self.own(method).map(|own| &self.by_method[own].1).or(self.any.as_ref())
    }

    #[inline]
    fn own(&self, method: &Method) -> Option<usize> {
        let of = |method: &Method| self.by_method.iter().position(|(known, _)| known == method);
        of(method).or_else(|| if *method == Method::HEAD { of(&Method::GET) } else { None })
    }

    fn place(&self, method: &Method) -> Option<usize> {
        self.own(method).or(self.any.as_ref().map(|_| self.by_method.len()))
    }
}

impl Matched {
    fn new(path: &str, parameters: &matchit::Params<'_, '_>) -> Self {
        let mut matched = Matched::default();
        for (place, (_, value)) in matched.places.iter_mut().zip(parameters.iter()) {
            // A value is a piece of the path, and a path is shorter than a head block, whose bound is 65,535.
            let start = value.as_ptr().addr() - path.as_ptr().addr();
            *place = (start as u16, (start + value.len()) as u16);
            matched.count += 1;
        }
        matched
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        self.places[..usize::from(self.count)].iter().map(|&(start, end)| start.into()..end.into())
    }
}

/// The names of a pattern's parameters, in order.
pub(crate) fn parameters(pattern: &str) -> impl Iterator<Item = &str> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('{')?;
            if let Some(escaped) = after.strip_prefix('{') {
                rest = escaped;
                continue;
            }
            let (name, after) = after.split_once('}')?;
            rest = after;
            return Some(name.trim_start_matches('*'));
        }
    })
}

#[cfg(test)]
mod tests;
