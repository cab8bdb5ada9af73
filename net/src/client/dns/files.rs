//! What the system's files say: `resolv.conf` of name servers and of how names are completed, `hosts` of names and addresses.
//! What cannot be understood of them is passed over, as every other reader does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use proto::dns::Name;
use shards::Shard;

use crate::limits::{
    DNS_ATTEMPTS_MAX, DNS_DOMAINS_MAX, DNS_DOTS_MAX, DNS_HOST_ADDRESSES_MAX, DNS_SERVERS_MAX, DNS_TIMEOUT_MAX,
};

/// A file's text; that of one that is not there, or cannot be read, is empty.
pub(super) async fn read(shard: &Shard, path: Option<&Path>) -> String {
    let Some(path) = path else { return String::new() };
    match crate::files::read(shard, path).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(path = %path.display(), "a file of names is passed over: {error}");
            String::new()
        }
    }
}

/// `resolv.conf`, as its manual has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that a name may be meant in.
    search: Vec<Name>,
    /// A name with so many dots is first taken for a whole one.
    dots: usize,
    pub(super) attempts: u32,
    pub(super) timeout: Duration,
}

impl Settings {
    pub(super) fn parse(text: &str) -> Self {
        let mut settings =
            Settings { servers: Vec::new(), search: Vec::new(), dots: 1, attempts: 2, timeout: Duration::from_secs(5) };
        for line in lines(text, &['#', ';']) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    if let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>)
                        && settings.servers.len() < DNS_SERVERS_MAX
                    {
                        settings.servers.push(SocketAddr::new(ip, PORT));
                    }
                }
                // The last of these lines stands.
                Some("search") => settings.search = words.filter_map(Name::new).take(DNS_DOMAINS_MAX).collect(),
                Some("domain") => settings.search = words.filter_map(Name::new).take(1).collect(),
                Some("options") => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let Some((name, Ok(number))) = word.split_once(':').map(|(name, digits)| (name, digits.parse::<u32>())) else {
            return;
        };
        match name {
            "ndots" => self.dots = (number as usize).min(DNS_DOTS_MAX),
            "attempts" => self.attempts = number.clamp(1, DNS_ATTEMPTS_MAX),
            "timeout" => self.timeout = Duration::from_secs(number.max(1).into()).min(DNS_TIMEOUT_MAX),
            _ => {}
        }
    }

    /// The names that a text may mean, in the order in which they are tried; `None` if it is no name. One that ends in a dot
    /// is whole.
    pub(super) fn meant(&self, text: &str) -> Option<Vec<Name>> {
        let name = Name::new(text)?;
        if text.ends_with('.') {
            return Some(vec![name]);
        }
        let within = self.search.iter().filter_map(|domain| name.within(domain));
        let mut names: Vec<Name> = within.collect();
        let is_whole_first = text.matches('.').count() >= self.dots;
        names.insert(if is_whole_first { 0 } else { names.len() }, name);
        Some(names)
    }
}

/// `hosts`: names, in lower case, and their addresses.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts = Hosts::default();
        for line in lines(text, &['#']) {
            let mut words = line.split_ascii_whitespace();
            let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let addresses = hosts.0.entry(name.to_ascii_lowercase().into()).or_default();
                if addresses.len() < DNS_HOST_ADDRESSES_MAX && !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        hosts
    }

    pub(super) fn get(&self, host: &str) -> Option<&[IpAddr]> {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.0.get(&*host.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

fn lines<'t>(text: &'t str, remarks: &'static [char]) -> impl Iterator<Item = &'t str> {
    text.lines().map(move |line| line.split(remarks).next().unwrap_or_default())
}

/// Where name servers listen.
const PORT: u16 = 53;

#[cfg(test)]
mod tests;
