//! Redirects (RFC 9110 section 15.4): where an answer leads, and what of a request goes there.
//!
//! The one idea: to follow is to ask again, by the same rules as anybody; so nothing here knows connections. What was for one
//! origin does not go to another, and what was secured does not go in the clear.

use std::borrow::Cow;

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HOST,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};

use super::Error;
use super::response::Response;
use super::url::Url;
use crate::{Content, Headers};

/// What is asked next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) url: String,
    pub(super) method: Method,
    /// The body goes along.
    pub(super) has_body: bool,
    /// It is another origin's.
    pub(super) is_elsewhere: bool,
}

/// Where a response leads, if anywhere. `url` is what was asked.
///
/// Errors: to where nobody goes: what is not spoken, or, unless `may_bare`, from what is secured to what is not.
pub(super) fn step(response: &Response, url: &Url<'_>, method: &Method, may_bare: bool) -> Result<Option<Step>, Error> {
    let mut locations = response.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"location"));
    match (locations.next(), locations.next()) {
        (Some((_, location)), None) => next(response.status(), location, url, method, may_bare),
        _ => Ok(None),
    }
}

fn next(
    status: StatusCode,
    location: &[u8],
    url: &Url<'_>,
    method: &Method,
    may_bare: bool,
) -> Result<Option<Step>, Error> {
    let is_post = *method == Method::POST;
    let (method, has_body) = match status {
        // What all user agents have always done, which sections 15.4.2 and 15.4.3 put up with.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if is_post => (Method::GET, false),
        StatusCode::SEE_OTHER if *method != Method::HEAD => (Method::GET, false),
        StatusCode::SEE_OTHER => (Method::HEAD, false),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => (method.clone(), true),
        _ => return Ok(None),
    };
    let text = resolve(url, &visible(location));
    let to = Url::parse(&text)?;
    if url.is_secure && !to.is_secure && !may_bare {
        return Err(Error::Redirect { url: text.into(), what: "it leads from https to http" });
    }
    let is_elsewhere = (to.is_secure, to.port) != (url.is_secure, url.port) || !to.host.eq_ignore_ascii_case(url.host);
    Ok(Some(Step { method, has_body, is_elsewhere, url: text }))
}

impl Step {
    /// Takes away what does not go along.
    pub(super) fn strip(&self, headers: &mut Headers, content: &mut Content) {
        let of_body = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, TRANSFER_ENCODING];
        let of_origin = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST];
        headers.retain(|name| {
            !(!self.has_body && of_body.contains(name) || self.is_elsewhere && of_origin.contains(name))
        });
        if !self.has_body {
            *content = Content::Empty;
        }
    }
}

/// A reference against the URL that it was found at: RFC 3986 section 5.2.
fn resolve(base: &Url<'_>, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let path = base.target.split('?').next().unwrap_or_default();
    let begins = location.find(['/', '?', ':']).map(|at| &location[at..]);
    let scheme = if base.is_secure { "https" } else { "http" };
    match begins {
        // A scheme of its own: what is not spoken is told so by whoever reads it.
        Some(rest) if rest.starts_with(':') => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.is_empty() => format!("{}{}", base.origin, base.target),
        _ if location.starts_with('?') => format!("{}{path}{location}", base.origin),
        _ => {
            let merged: Cow<'_, str> = match location.starts_with('/') {
                true => location.into(),
                false => format!("{}{location}", &path[..path.rfind('/').map_or(0, |at| at + 1)]).into(),
            };
            let (path, query) = merged.split_at(merged.find('?').unwrap_or(merged.len()));
            format!("{}{}{query}", base.origin, without_dots(path))
        }
    }
}

/// RFC 3986 section 5.2.4. A path begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

/// What cannot stand in a URL, in per cent, as browsers do.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
