//! Whom to ask, and how: all that concerns connections, and nothing of what is asked.
//!
//! A request's target borrows from its URL. Whoever asks the same server again and again may own one and lend it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;

use super::proxy::Proxy;
use super::url::Url;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'t> {
    /// What connections are kept by. Two targets of one key are the same in all else but their protocols.
    pub(crate) key: Cow<'t, str>,
    /// The `Host` field of a request that brings none.
    pub(crate) authority: Cow<'t, str>,
    /// Over TLS: who the server must show itself to be, a name or an address.
    pub(crate) name: Cow<'t, str>,
    pub(crate) is_secure: bool,
    pub(crate) protocols: Protocols,
    pub(crate) place: Place<'t>,
    pub(crate) by: By<'t>,
}

/// What the way to a server leads through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By<'t> {
    /// The client's proxy, if it has one.
    Usual,
    Proxy(Cow<'t, Proxy>),
    /// Nothing, also where the client has a proxy.
    Nothing,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// HTTP/1.1; over TLS, whatever the server chooses of that and HTTP/2; or HTTP/3 where there is a connection of that, or the
    /// server has said that it speaks it.
    Usual,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which the server is known to speak.
    Http2,
    /// HTTP/3, which the server is known to speak.
    Http3,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place<'t> {
    /// At the addresses of this name, and this port.
    Name(Cow<'t, str>, u16),
    Fixed(SocketAddr),
    /// At this path of this machine.
    Unix(Cow<'t, Path>),
}

impl<'t> Target<'t> {
    pub(crate) fn of(url: &Url<'t>, protocols: Protocols) -> Self {
        Target {
            key: url.origin.into(),
            authority: url.authority.into(),
            name: url.host.into(),
            is_secure: url.is_secure,
            protocols,
            place: match url.ip() {
                Some(ip) => Place::Fixed(SocketAddr::new(ip, url.port)),
                None => Place::Name(url.host.into(), url.port),
            },
            by: By::Usual,
        }
    }

    /// A proxy that is asked for what servers of `http` have, for whichever of them `authority` names.
    pub(super) fn asked_for(proxy: &'t Proxy, authority: &'t str) -> Self {
        let Proxy { host, port, .. } = proxy;
        Target {
            key: format!("{}asked", proxy.key()).into(),
            authority: authority.into(),
            name: (&**host).into(),
            is_secure: false,
            protocols: Protocols::Http1,
            place: match host.parse() {
                Ok(ip) => Place::Fixed(SocketAddr::new(ip, *port)),
                Err(_) => Place::Name((&**host).into(), *port),
            },
            by: By::Nothing,
        }
    }

    /// The same server, at this path instead.
    pub(crate) fn at(mut self, path: &'t Path) -> Self {
        self.key = format!("{} {}", path.display(), self.key).into();
        self.place = Place::Unix(path.into());
        self
    }

    /// The same server, through this proxy.
    pub(crate) fn through(mut self, proxy: &'t Proxy) -> Self {
        self.key = format!("{}{}", proxy.key(), self.key).into();
        self.by = By::Proxy(Cow::Borrowed(proxy));
        self
    }

    /// What the way there leads through, where a client's usually leads through `usual`.
    pub(super) fn proxy<'p>(&'p self, usual: Option<&'p Proxy>) -> Option<&'p Proxy> {
        match &self.by {
            By::Usual => usual,
            By::Proxy(proxy) => Some(proxy),
            By::Nothing => None,
        }
    }

    /// The same, for a task of its own.
    pub(crate) fn into_owned(self) -> Target<'static> {
        let Target { key, authority, name, is_secure, protocols, place, by } = self;
        let [key, authority, name] = [key, authority, name].map(|text| Cow::Owned(text.into_owned()));
        let place = match place {
            Place::Name(name, port) => Place::Name(Cow::Owned(name.into_owned()), port),
            Place::Fixed(address) => Place::Fixed(address),
            Place::Unix(path) => Place::Unix(Cow::Owned(path.into_owned())),
        };
        let by = match by {
            By::Usual => By::Usual,
            By::Proxy(proxy) => By::Proxy(Cow::Owned(proxy.into_owned())),
            By::Nothing => By::Nothing,
        };
        Target { key, authority, name, is_secure, protocols, place, by }
    }
}
