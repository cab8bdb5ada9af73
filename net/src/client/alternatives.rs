//! Where servers are found by HTTP/3, by their own word over TLS (RFC 7838).
//!
//! The one idea: an alternative is only worth a try. Whoever asks waits for it a moment at the most, and then goes the way that
//! is known; one that was not there is left alone for a while, and for longer each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proto::alternatives::{is_clear, services};
use smallvec::SmallVec;

use super::response::Response;
use super::target::{Place, Target};
use crate::limits::{
    CLIENT_ALTERNATIVE_TIME_MAX, CLIENT_ALTERNATIVES_MAX, CLIENT_ALTERNATIVES_PER_ORIGIN_MAX,
    CLIENT_SHUN_DOUBLINGS_MAX, CLIENT_SHUN_TIME_MIN,
};

/// What is known of servers' alternatives, by the keys of targets.
#[derive(Default)]
pub(super) struct Alternatives(RefCell<BTreeMap<Box<str>, Known>>);

/// What one server has said last.
#[derive(Default)]
struct Known {
    services: SmallVec<[(Service, Instant); 1]>,
    /// How often none of them was there, one time after the other; and until when they are left alone.
    failures: u32,
    shunned: Option<Instant>,
}

/// Where it says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// `None` where it is.
    host: Option<Box<str>>,
    port: u16,
}

impl Service {
    /// Where that is for one target. A server at a fixed address has none elsewhere.
    pub(super) fn place<'t>(&self, target: &Target<'t>) -> Option<Place<'t>> {
        let host = self.host.as_deref().filter(|host| **host != *target.name);
        match (&target.place, host) {
            (Place::Name(name, _), None) => Some(Place::Name(name.clone(), self.port)),
            (Place::Fixed(address), None) => Some(Place::Fixed((address.ip(), self.port).into())),
            (Place::Name(..), Some(host)) => match host.parse::<IpAddr>() {
                Ok(ip) => Some(Place::Fixed((ip, self.port).into())),
                Err(_) => Some(Place::Name(host.to_owned().into(), self.port)),
            },
            (Place::Fixed(_), Some(_)) | (Place::Unix(_), _) => None,
        }
    }

    /// As servers are told that they are asked there (RFC 7838 section 5).
    pub(super) fn authority(&self, target: &Target<'_>) -> String {
        let host = self.host.as_deref().unwrap_or(&target.name);
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

impl Alternatives {
    /// Takes in what a server has said by a response over TLS.
    pub(super) fn learn(&self, key: &str, response: &Response, now: Instant) {
        let mut values = response.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"alt-svc")).peekable();
        if values.peek().is_none() {
            return;
        }
        let age = response.header("age").and_then(|value| std::str::from_utf8(value).ok()?.parse::<u32>().ok());
        let mut said: SmallVec<[(Service, Instant); 1]> = SmallVec::new();
        for (_, value) in values {
            if is_clear(value) {
                self.0.borrow_mut().remove(key);
                return;
            }
            for service in services(value).filter(|service| service.protocol == b"h3") {
                let seconds = service.seconds.saturating_sub(age.unwrap_or(0));
                let until = now + Duration::from_secs(seconds.into()).min(CLIENT_ALTERNATIVE_TIME_MAX);
                let host = service.host.trim_start_matches('[').trim_end_matches(']');
                let host = (!host.is_empty()).then(|| host.into());
                if until > now && said.len() < CLIENT_ALTERNATIVES_PER_ORIGIN_MAX {
                    said.push((Service { host, port: service.port }, until));
                }
            }
        }
        let mut all = self.0.borrow_mut();
        if said.is_empty() {
            // What it says takes the place of what it has said (section 3.1).
            all.remove(key);
            return;
        }
        if !all.contains_key(key) {
            if all.len() >= CLIENT_ALTERNATIVES_MAX {
                let soonest = all.iter().min_by_key(|(_, known)| known.until()).map(|(key, _)| key.clone());
                soonest.map(|key| all.remove(&key));
            }
            all.insert(key.into(), Known::default());
        }
        let known = all.get_mut(key).expect("it was just put there");
        if !known.services.iter().map(|(service, _)| service).eq(said.iter().map(|(service, _)| service)) {
            (known.failures, known.shunned) = (0, None);
        }
        known.services = said;
    }

    /// Where a server may be found at this moment, its favourite first.
    pub(super) fn of(&self, key: &str, now: Instant) -> SmallVec<[Service; 1]> {
        let mut all = self.0.borrow_mut();
        let Some(known) = all.get_mut(key) else { return SmallVec::new() };
        known.services.retain(|(_, until)| *until > now);
        if known.services.is_empty() {
            all.remove(key);
            return SmallVec::new();
        }
        match known.shunned {
            Some(until) if until > now => SmallVec::new(),
            _ => known.services.iter().map(|(service, _)| service.clone()).collect(),
        }
    }

    /// One of a server's was there.
    pub(super) fn found(&self, key: &str) {
        if let Some(known) = self.0.borrow_mut().get_mut(key) {
            (known.failures, known.shunned) = (0, None);
        }
    }

    /// None of a server's was there, or it has fallen silent.
    pub(super) fn shun(&self, key: &str, now: Instant) {
        if let Some(known) = self.0.borrow_mut().get_mut(key) {
            let time = CLIENT_SHUN_TIME_MIN * 2u32.pow(known.failures.min(CLIENT_SHUN_DOUBLINGS_MAX));
            known.failures += 1;
            known.shunned = Some(now + time);
        }
    }

    /// A server does not know of its alternative.
    pub(super) fn forget(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }
}

impl Known {
    fn until(&self) -> Option<Instant> {
        self.services.iter().map(|(_, until)| *until).max()
    }
}
