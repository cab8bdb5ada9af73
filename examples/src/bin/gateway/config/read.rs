//! From a document to a [`Config`], section by section; and what no type says: names that must be declared, requests that two
//! routes want, files that must be in order.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shardwise::http::{HeaderName, HeaderValue, Method};
use shardwise::tls;
use shardwise::upstream::policy::balance::{self, Rule};
use shardwise::upstream::policy::hedge::{self, Delay};
use shardwise::upstream::policy::retry::{self, Causes};
use shardwise::upstream::policy::slow_start::SlowStart;
use shardwise::upstream::policy::{breaker, budget, outlier, probe};
use shardwise::upstream::{Address, Endpoint, Protocol, Rate};

use super::document::{At, Section};
use super::fault::meant;
use super::{
    Config, Connections, Endpoints, Forwarded, Health, Host, HostSent, Http, Key, Limits, Lines, Listener, Network,
    Place, Process, Proxy, Route, Rules, Tls, Upstream, UpstreamTls,
};
use crate::limits::{
    BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX, COUNTS, COUNTS_FROM_ZERO, ROUTE_TIME_MAX, TIMES, TIMES_FROM_ZERO, TRIES,
    WEIGHTS,
};

/// The whole file.
pub(super) fn config(file: &Section<'_>, beside: &Path) -> Config {
    let place = |key| file.line(file.place(key));
    let lines = Lines { process: place("process"), http: place("http"), listeners: place("listeners") };
    let upstreams = upstreams(file, beside);
    Config {
        process: process(file),
        http: http(file),
        listeners: listeners(file, beside),
        proxy: proxy(file),
        routes: routes(file, &upstreams),
        upstreams,
        generation: 0,
        lines,
    }
}

/// What a file holds, or why that cannot be known.
pub(super) fn file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(error.to_string()),
        Ok(_) if bytes.len() as u64 > bytes_max => Err(format!("it is larger than {bytes_max} bytes")),
        Ok(_) => Ok(bytes),
    }
}

fn process(file: &Section<'_>) -> Process {
    let usual = Process {
        shards: None,
        backend: None,
        admin: None,
        drain_notice: Duration::ZERO,
        drain_time_max: Duration::from_secs(30),
    };
    let Some(section) = file.section("process") else { return usual };
    let backend = section.text("backend").and_then(|found| {
        let parsed = found.value.parse();
        parsed.map_err(|why: String| section.fault(found.at, format!("{why}."))).ok()
    });
    Process {
        shards: section.count_if("shards", 1..=1024).map(|count| count as usize),
        backend,
        admin: section.text("admin").and_then(|found| address(&section, found)),
        drain_notice: section.time("drain_notice", TIMES_FROM_ZERO, usual.drain_notice),
        drain_time_max: section.time("drain_time_max", TIMES, usual.drain_time_max),
    }
}

fn http(file: &Section<'_>) -> Http {
    let served = shardwise::Config::default();
    let usual = Http {
        http2: true,
        http3: true,
        proxy_protocol: false,
        idle_time_max: served.idle_time_max,
        head_time_max: served.head_time_max,
        connections_per_client_max: served.connections_per_client_max,
    };
    let Some(section) = file.section("http") else { return usual };
    let per_client = section.count_if("connections_per_client_max", COUNTS).map(|count| count as usize);
    Http {
        http2: section.flag("http2", usual.http2),
        http3: section.flag("http3", usual.http3),
        proxy_protocol: section.flag("proxy_protocol", usual.proxy_protocol),
        idle_time_max: section.time("idle_time_max", TIMES, usual.idle_time_max),
        head_time_max: section.time("head_time_max", TIMES, usual.head_time_max),
        connections_per_client_max: per_client.or(usual.connections_per_client_max),
    }
}

// ---- listeners --------------------------------------------------------------------------------------------------------

fn listeners(file: &Section<'_>, beside: &Path) -> Vec<Listener> {
    let sections = file.sections("listeners");
    if sections.is_empty() {
        file.fault(
            file.place("listeners"),
            "there are no [[listeners]], so that nobody could come. Say where to serve.",
        );
    }
    let mut lines: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    let mut listeners = Vec::new();
    for section in sections {
        let tls = tls(&section, beside);
        let Some(found) = section.text("address") else {
            if !section.has("address") {
                section.missing("address", "say where to serve, such as \"0.0.0.0:8080\"");
            }
            continue;
        };
        let Some(address) = address(&section, found) else { continue };
        // The kernel chooses a port for each that names none.
        match lines.insert(address, section.line(found.at)).filter(|_| address.port() != 0) {
            Some(line) => section.fault(found.at, format!("{address} is listened on already, by line {line}.")),
            None => listeners.push(Listener { address, tls }),
        }
    }
    listeners
}

fn address(section: &Section<'_>, found: At<&str>) -> Option<SocketAddr> {
    let parsed = found.value.parse();
    if parsed.is_err() {
        let what = format!("{:?} is no IP address and port. Write one such as 0.0.0.0:8080 or [::]:8080.", found.value);
        section.fault(found.at, what);
    }
    parsed.ok()
}

fn tls(listener: &Section<'_>, beside: &Path) -> Option<Tls> {
    let section = listener.section("tls")?;
    let is_made = section.flag("self_signed", false);
    let mut certificates = Vec::new();
    for each in section.sections("certificates") {
        let (certificate, key) = (each.text("certificate"), each.text("key"));
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let (certificate_path, key_path) = (beside.join(certificate.value), beside.join(key.value));
                let read = (pem(&each, certificate.at, &certificate_path), pem(&each, key.at, &key_path));
                if let (Some(chain), Some(secret)) = read {
                    let names = (certificate_path.display().to_string(), key_path.display().to_string());
                    if let Err(error) = tls::check((&names.0, &chain), (&names.1, &secret)) {
                        each.fault(certificate.at, error.to_string());
                    }
                }
                certificates.push((certificate_path, key_path));
            }
            _ => ["certificate", "key"].into_iter().filter(|key| !each.has(key)).for_each(|key| {
                each.missing(key, "a certificate and its key go together, each a file in PEM");
            }),
        }
    }
    match (certificates.is_empty(), is_made) {
        (true, false) if !section.has("certificates") => {
            let what = "say `certificates`, or `self_signed = true` for one that is made at the start, for development";
            section.missing("certificates", what);
        }
        (false, true) => section.fault(section.place("self_signed"), "there are certificates already: leave it out."),
        _ => {}
    }
    Some(Tls { certificates, tls12: section.flag("tls12", false) })
}

/// A file that must be there.
fn pem(section: &Section<'_>, at: usize, path: &Path) -> Option<Vec<u8>> {
    let read = file(path, CERTIFICATE_BYTES_MAX);
    read.map_err(|why| section.fault(at, format!("{} cannot be read: {why}.", path.display()))).ok()
}

// ---- what is said to those behind -------------------------------------------------------------------------------------

fn proxy(file: &Section<'_>) -> Proxy {
    let x_forwarded = Forwarded { x_forwarded: true, forwarded: false };
    let usual =
        Proxy { via: Some("gateway".to_owned()), forwarded: x_forwarded, trusted: Vec::new(), access_log: true };
    let Some(section) = file.section("proxy") else { return usual };
    let choices = [
        ("x-forwarded", x_forwarded),
        ("forwarded", Forwarded { x_forwarded: false, forwarded: true }),
        ("both", Forwarded { x_forwarded: true, forwarded: true }),
        ("none", Forwarded { x_forwarded: false, forwarded: false }),
    ];
    let via = section.text("via").map_or(usual.via, |found| {
        let is_token = found.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_token {
            section.fault(found.at, format!("{:?} is no name for `via`: use letters, digits and -._", found.value));
        }
        Some(found.value.to_owned()).filter(|via| !via.is_empty())
    });
    let trusted = section.texts("trusted");
    Proxy {
        via,
        forwarded: section.choice("forwarded", &choices, usual.forwarded),
        trusted: trusted.into_iter().filter_map(|found| network(&section, found)).collect(),
        access_log: section.flag("access_log", usual.access_log),
    }
}

fn network(section: &Section<'_>, found: At<&str>) -> Option<Network> {
    let (address, bits) = found.value.split_once('/').unwrap_or((found.value, ""));
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() && !found.value.contains('/') { Some(most) } else { bits.parse().ok() };
        Some(Network { address, bits: bits.filter(|bits| *bits <= most)? })
    });
    if parsed.is_none() {
        section.fault(found.at, format!("{:?} is no network. Write one such as 10.0.0.0/8 or fd00::/8.", found.value));
    }
    parsed
}

// ---- routes -----------------------------------------------------------------------------------------------------------

fn routes(file: &Section<'_>, upstreams: &[Arc<Upstream>]) -> Vec<Route> {
    let sections = file.sections("routes");
    if sections.is_empty() {
        file.fault(
            file.place("routes"),
            "there are no [[routes]], so that nobody could be answered. Say where requests go.",
        );
    }
    // Of each host and path, the methods and the line of every route.
    type Alike = Vec<(Vec<Method>, usize)>;
    let mut lines: BTreeMap<(Host, Place), Alike> = BTreeMap::new();
    let mut routes = Vec::new();
    for section in sections {
        let Some(route) = route(&section, upstreams) else { continue };
        let alike = lines.entry((route.host.clone(), route.path.clone())).or_default();
        let is_taken = |methods: &[Method]| match (methods, &route.methods[..]) {
            ([], []) => true,
            (one, other) => one.iter().any(|method| other.contains(method)),
        };
        if let Some((_, line)) = alike.iter().find(|(methods, _)| is_taken(methods)) {
            section.fault(section.at, format!("the route of line {line} has the same requests already."));
        }
        alike.push((route.methods.clone(), section.line(section.at)));
        routes.push(route);
    }
    routes
}

fn route(section: &Section<'_>, upstreams: &[Arc<Upstream>]) -> Option<Route> {
    let host = section.text("host").map_or(Some(Host::Any), |found| host(section, found));
    let path = place(section);
    let methods: Vec<Method> =
        section.texts("methods").into_iter().filter_map(|found| method(section, found)).collect();
    if section.has("methods") && methods.is_empty() {
        section.fault(section.place("methods"), "a route for no method is none. Leave `methods` out for all of them.");
    }
    let upstream = section.text("upstream");
    if !section.has("upstream") {
        section.missing("upstream", "say whom to ask");
    }
    let upstream = upstream.and_then(|found| {
        let at = upstreams.iter().position(|upstream| upstream.name == found.value);
        if at.is_none() {
            let meant = meant(found.value, upstreams.iter().map(|upstream| &*upstream.name));
            let name = found.value;
            section.fault(found.at, format!("no upstream is called `{name}`: there is no [upstreams.{name}].{meant}"));
        }
        at
    });
    let rewrite = section.text("rewrite").map(|found| {
        check_path(section, found);
        found.value.to_owned()
    });
    let time_max = section.time_if("time_max", TIMES_FROM_ZERO).unwrap_or(ROUTE_TIME_MAX);
    let body_bytes_max = section.bytes("body_bytes_max").unwrap_or(BODY_BYTES_MAX);
    let (request_headers, response_headers) = (rules(section, "request_headers"), rules(section, "response_headers"));
    Some(Route {
        host: host?,
        path: path?,
        methods,
        upstream: upstream?,
        rewrite,
        time_max: (!time_max.is_zero()).then_some(time_max),
        body_bytes_max,
        request_headers,
        response_headers,
    })
}

fn host(section: &Section<'_>, found: At<&str>) -> Option<Host> {
    let lower = found.value.to_ascii_lowercase();
    let is_ip = |name: &str| name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match lower.strip_prefix('*') {
        Some(parent) if parent.starts_with('.') && is_host_name(&parent[1..]) => Some(Host::Under(parent.to_owned())),
        None if is_host_name(&lower) || is_ip(&lower) => Some(Host::Exactly(lower)),
        _ => {
            let what = "is no host. Write a name, an address, or *.example.org for all beneath it; without a port.";
            section.fault(found.at, format!("{:?} {what}", found.value));
            None
        }
    }
}

fn place(section: &Section<'_>) -> Option<Place> {
    let (path, prefix) = (section.text("path"), section.text("prefix"));
    match (path, prefix) {
        (Some(_), Some(prefix)) => {
            section.fault(prefix.at, "a route has a `path` or a `prefix`, not both.");
            None
        }
        (Some(path), None) => check_path(section, path).then(|| Place::Exactly(path.value.to_owned())),
        (None, Some(prefix)) => check_path(section, prefix).then(|| match prefix.value.trim_end_matches('/') {
            "" => Place::Beneath("/".to_owned()),
            trimmed => Place::Beneath(trimmed.to_owned()),
        }),
        (None, None) => {
            if !section.has("path") && !section.has("prefix") {
                section.missing("prefix", "say which paths it is for: `prefix = \"/\"` for all, or one `path`");
            }
            None
        }
    }
}

fn check_path(section: &Section<'_>, found: At<&str>) -> bool {
    let path = found.value;
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte));
    let is_right = path.starts_with('/') && is_plain && !crate::table::is_in_doubt(path);
    if !is_right {
        let what =
            "is no path. It begins with /, is percent-encoded where it must be, and holds neither a query nor `..`.";
        section.fault(found.at, format!("{path:?} {what}"));
    }
    is_right
}

fn method(section: &Section<'_>, found: At<&str>) -> Option<Method> {
    let method = Method::from_bytes(found.value.as_bytes()).ok();
    let is_known = |method: &Method| method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = method.filter(is_known).filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE));
    if method.is_none() {
        let what = "is no method that goes through. Write it in capitals; CONNECT and TRACE never do.";
        section.fault(found.at, format!("{:?} {what}", found.value));
    }
    method
}

fn rules(route: &Section<'_>, key: &'static str) -> Rules {
    let Some(section) = route.section(key) else { return Rules::default() };
    let pairs = |key| {
        let pairs = section.pairs(key).into_iter().filter_map(|(name, value)| {
            let parsed = HeaderValue::from_str(value.value);
            if parsed.is_err() {
                section.fault(value.at, format!("the value of `{}` holds a control character.", name.value));
            }
            Some((header(&section, name)?, parsed.ok()?))
        });
        pairs.collect()
    };
    let (set, append) = (pairs("set"), pairs("append"));
    let remove = section.texts("remove").into_iter().filter_map(|name| header(&section, name)).collect();
    Rules { remove, set, append }
}

/// A header's name that a rule may be about.
fn header(section: &Section<'_>, found: At<&str>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(found.value.as_bytes()) else {
        section.fault(found.at, format!("{:?} is no header's name.", found.value));
        return None;
    };
    let why = match name.as_str() {
        "host" => "which `host` of the upstream says",
        "connection" | "content-length" | "expect" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" => "which belongs to each connection",
        _ => return Some(name),
    };
    section.fault(found.at, format!("no rule is about `{name}`, {why}."));
    None
}

// ---- upstreams --------------------------------------------------------------------------------------------------------

fn upstreams(file: &Section<'_>, beside: &Path) -> Vec<Arc<Upstream>> {
    let named = file.named("upstreams").into_iter();
    let mut upstreams: Vec<_> = named.map(|(name, section)| Arc::new(upstream(name.value, &section, beside))).collect();
    upstreams.sort_by(|one, other| one.name.cmp(&other.name));
    upstreams
}

fn upstream(name: &str, section: &Section<'_>, beside: &Path) -> Upstream {
    let (balance, key, subset) = balance(section);
    let (tls, tls_name) = upstream_tls(section, beside);
    let (retries, budget) = retries(section);
    Upstream {
        name: name.to_owned(),
        version: 0,
        endpoints: endpoints(section, beside, tls_name),
        protocol: section.choice(
            "protocol",
            &[("usual", Protocol::Usual), ("http2", Protocol::Http2)],
            Protocol::Usual,
        ),
        tls,
        host: host_sent(section),
        connections: connections(section),
        balance,
        key,
        subset,
        health: health(section),
        outliers: outliers(section),
        breaker: breaker(section, "breaker"),
        breaker_of_all: breaker(section, "breaker_of_all"),
        retries,
        budget,
        hedge: hedge(section),
        limits: limits(section),
    }
}

/// One of three: addresses, names, or a file of addresses.
fn endpoints(section: &Section<'_>, beside: &Path, tls_name: Option<&str>) -> Endpoints {
    let (names, file) = (section.texts("names"), section.text("file"));
    let listed = section.texts_or_sections("endpoints");
    let said: Vec<_> = ["endpoints", "names", "file"].into_iter().filter(|key| section.has(key)).collect();
    match said[..] {
        [] => section
            .missing("endpoints", "say at which addresses it is, such as [\"10.0.0.1:8080\"], or `names`, or a `file`"),
        [_, second, ..] => {
            section.fault(section.place(second), format!("`{}` says already where it is: leave one out.", said[0]));
        }
        [key] if key != "file" && listed.is_empty() && names.is_empty() => {
            section.fault(section.place(key), format!("`{key}` is empty: say where it is."));
        }
        [_] => {}
    }
    if let Some(found) = file {
        let path = beside.join(found.value);
        if let Err(why) = self::file(&path, CERTIFICATE_BYTES_MAX) {
            section.fault(found.at, format!("{} cannot be read: {why}.", path.display()));
        }
        return Endpoints::File(path);
    }
    if !names.is_empty() {
        names.iter().for_each(|found| check_name(section, *found));
        return Endpoints::Names(names.iter().map(|found| found.value.to_owned()).collect());
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for each in &listed {
        let (found, weight) = match each {
            Ok(found) => (Some(*found), 1),
            Err(table) => {
                if !table.has("address") {
                    table.missing("address", "an IP address and a port");
                }
                (table.text("address"), table.count("weight", WEIGHTS, 1) as u32)
            }
        };
        let Some(found) = found else { continue };
        let Ok(address) = Address::parse(found.value) else {
            let what = match found.value.starts_with("unix:") {
                true => "is no whole path. Write one such as unix:/run/items.sock.",
                false => {
                    "is no IP address and port. Write one such as 10.0.0.1:8080; hosts by their names go into `names`."
                }
            };
            section.fault(found.at, format!("{:?} {what}", found.value));
            continue;
        };
        if endpoints.iter().any(|endpoint| endpoint.address == address) {
            section.fault(found.at, format!("{address} is there twice. Give it a `weight` for more."));
        }
        let endpoint = Endpoint { address, name: None, weight };
        endpoints.push(match tls_name {
            Some(name) => endpoint.named(name),
            None => endpoint,
        });
    }
    Endpoints::Fixed(endpoints)
}

fn check_name(section: &Section<'_>, found: At<&str>) {
    let is_right = found
        .value
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0));
    if !is_right {
        section.fault(found.at, format!("{:?} is no host and port. Write one such as api.internal:8080.", found.value));
    }
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// And the name that a certificate must be of.
fn upstream_tls<'d>(section: &Section<'d>, beside: &Path) -> (Option<UpstreamTls>, Option<&'d str>) {
    let Some(section) = section.section("tls") else { return (None, None) };
    let authorities = section.text("authorities").and_then(|found| {
        let path = beside.join(found.value);
        let name = path.display().to_string();
        let bytes = pem(&section, found.at, &path)?;
        if let Err(error) = tls::Roots::from_pem(&name, &bytes) {
            section.fault(found.at, error.to_string());
        }
        Some((name, bytes))
    });
    let name = section.text("name").and_then(|found| {
        if !is_host_name(found.value) {
            section.fault(found.at, format!("{:?} is no name that a certificate is of.", found.value));
        }
        is_host_name(found.value).then_some(found.value)
    });
    (Some(UpstreamTls { authorities }), name)
}

fn host_sent(section: &Section<'_>) -> HostSent {
    match section.text("host").map(|found| (found, found.value)) {
        None | Some((_, "keep")) => HostSent::Kept,
        Some((_, "endpoint")) => HostSent::Endpoint,
        Some((found, name)) => {
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
            if !(name.contains(['.', ':']) && name.bytes().all(is_host)) {
                section
                    .fault(found.at, format!("{name:?} is neither keep, nor endpoint, nor a host with a dot in it."));
            }
            HostSent::Named(name.to_owned())
        }
    }
}

fn connections(section: &Section<'_>) -> Connections {
    let client = shardwise::client::Config::default();
    let usual = Connections {
        connect_time_max: Duration::from_secs(5),
        pause_max: client.body_pause_max,
        idle_time_max: client.idle_time_max,
        idle_max: client.idle_per_origin_max,
        count_max: 1024,
    };
    let Some(section) = section.section("connections") else { return usual };
    Connections {
        connect_time_max: section.time("connect_time_max", TIMES, usual.connect_time_max),
        pause_max: section.time("pause_max", TIMES, usual.pause_max),
        idle_time_max: section.time("idle_time_max", TIMES, usual.idle_time_max),
        idle_max: section.count("idle_max", COUNTS_FROM_ZERO, usual.idle_max as u64) as usize,
        count_max: section.count("count_max", COUNTS, usual.count_max as u64) as usize,
    }
}

fn balance(section: &Section<'_>) -> (balance::Settings, Key, Option<usize>) {
    let usual = balance::Settings::default();
    let Some(section) = section.section("balance") else { return (usual, Key::Client, None) };
    let rules = [
        ("round_robin", Rule::RoundRobin),
        ("weighted", Rule::Weighted),
        ("least_requests", Rule::LeastRequests),
        ("peak_ewma", Rule::PeakEwma),
        ("ring", Rule::RING),
        ("maglev", Rule::MAGLEV),
    ];
    let rule = section.choice("by", &rules, usual.rule);
    let key = match section.text("key").map(|found| (found, found.value)) {
        None | Some((_, "client")) => Key::Client,
        Some((_, "path")) => Key::Path,
        Some((found, text)) => {
            let name = text.strip_prefix("header:").and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            if name.is_none() {
                section.fault(found.at, format!("{text:?} is no key. Choose client, path or header:NAME."));
            }
            name.map_or(Key::Client, Key::Header)
        }
    };
    if section.has("key") && !rule.is_keyed() {
        section.fault(section.place("key"), "only ring and maglev look at a key: say one of them by `by`.");
    }
    let slow_start = section.time_if("slow_start", TIMES).map(|window| SlowStart { window, ..SlowStart::default() });
    let panic_percent = section.count("panic_percent", 0..=100, usual.panic_percent.into()) as u8;
    let decay = section.time("decay", TIMES, usual.decay);
    let subset = section.count_if("subset", COUNTS).map(|count| count as usize);
    (balance::Settings { rule, slow_start, panic_percent, decay }, key, subset)
}

fn health(section: &Section<'_>) -> Option<Health> {
    let section = section.section("health")?;
    let path = section.text("path").map(|found| {
        check_path(&section, found);
        found.value.to_owned()
    });
    let usual = probe::Settings::default();
    let interval = section.time("interval", TIMES, usual.interval);
    let settings = probe::Settings {
        interval,
        interval_down: section.time("interval_down", TIMES, interval),
        jitter: section.share("jitter", usual.jitter),
        timeout: section.time("timeout", TIMES, usual.timeout),
        passes: section.count("passes", COUNTS, usual.passes.into()) as u32,
        failures: section.count("failures", COUNTS, usual.failures.into()) as u32,
        starts_up: section.flag("starts_up", usual.starts_up),
    };
    Some(Health { path, settings })
}

fn outliers(section: &Section<'_>) -> Option<outlier::Settings> {
    let usual = outlier::Settings::default();
    let Some(section) = section.section("outliers") else { return Some(usual) };
    let rate = outlier::SuccessRate::default();
    let is_compared = section.flag("success_rate", true);
    let rate = outlier::SuccessRate {
        members_min: section.count("members_min", COUNTS, rate.members_min as u64) as usize,
        requests_min: section.count("requests_min", COUNTS, rate.requests_min.into()) as u32,
        deviations: section.decimal("deviations", 0.1..=10.0, rate.deviations),
    };
    let settings = outlier::Settings {
        errors: section.count_if("errors", COUNTS).map(|count| count as u32).or(usual.errors),
        gateway_errors: section.count_if("gateway_errors", COUNTS).map(|count| count as u32),
        success_rate: is_compared.then_some(rate),
        interval: section.time("interval", TIMES, usual.interval),
        ejection_base: section.time("ejection_base", TIMES, usual.ejection_base),
        ejection_max: section.time("ejection_max", TIMES, usual.ejection_max),
        ejection_jitter: section.time("ejection_jitter", TIMES_FROM_ZERO, usual.ejection_jitter),
        ejected_percent_max: section.count("ejected_percent_max", 0..=100, usual.ejected_percent_max.into()) as u8,
    };
    if settings.ejection_base > settings.ejection_max {
        section.fault(section.place("ejection_base"), "`ejection_base` exceeds `ejection_max`.");
    }
    section.flag("enabled", true).then_some(settings)
}

fn breaker(section: &Section<'_>, key: &'static str) -> Option<breaker::Config> {
    let section = section.section(key)?;
    let usual = breaker::Config::default();
    let failures_in_a_row = section.count_if("failures_in_a_row", COUNTS).map(|count| count as u32);
    let config = breaker::Config {
        failures_in_a_row: failures_in_a_row.or(usual.failures_in_a_row),
        error_share: section.share_if("error_share").or(usual.error_share),
        slow_share: section.share_if("slow_share").or(usual.slow_share),
        slow_after: section.time("slow_after", TIMES, usual.slow_after),
        window: section.time("window", TIMES, usual.window),
        calls_min: section.count("calls_min", COUNTS, usual.calls_min.into()) as u32,
        open_first: section.time("open_first", TIMES, usual.open_first),
        open_max: section.time("open_max", TIMES, usual.open_max),
        trials_max: section.count("trials_max", COUNTS, usual.trials_max.into()) as u32,
        successes_to_close: section.count("successes_to_close", COUNTS, usual.successes_to_close.into()) as u32,
        trial_time: section.time("trial_time", TIMES, usual.trial_time),
    };
    if config.open_first > config.open_max {
        section.fault(section.place("open_first"), "`open_first` exceeds `open_max`.");
    }
    Some(config)
}

fn retries(section: &Section<'_>) -> (retry::Policy, budget::Config) {
    // All tries together have the route's time, which begins when the client has sent its request.
    let usual = retry::Policy { time_max: None, ..retry::Policy::default() };
    let Some(section) = section.section("retries") else { return (usual, budget::Config::default()) };
    let on = section.texts("on");
    let causes = on.iter().fold(Causes::NONE, |causes, found| match (found.value, found.value.parse::<u16>()) {
        ("connect", _) => Causes { connect: true, ..causes },
        ("unprocessed", _) => Causes { unprocessed: true, ..causes },
        ("reset", _) => Causes { reset: true, ..causes },
        ("try_time", _) => Causes { try_time: true, ..causes },
        (_, Ok(status @ 400..=599)) => Causes { statuses: causes.statuses.with(status), ..causes },
        _ => {
            let meant = meant(found.value, ["connect", "unprocessed", "reset", "try_time", "503"]);
            section.fault(found.at, format!("nothing is retried on {:?}.{meant}", found.value));
            causes
        }
    });
    let retries = retry::Policy {
        tries_max: section.count("tries_max", TRIES, usual.tries_max.into()) as u32,
        causes: if section.has("on") { causes } else { usual.causes },
        pause_first: section.time("pause_first", TIMES, usual.pause_first),
        pause_max: section.time("pause_max", TIMES, usual.pause_max),
        retry_after_max: section.time("retry_after_max", TIMES_FROM_ZERO, usual.retry_after_max),
        try_time: section.time_if("try_time", TIMES),
        time_max: usual.time_max,
    };
    if retries.pause_first > retries.pause_max {
        section.fault(section.place("pause_first"), "`pause_first` exceeds `pause_max`.");
    }
    (retries, budget(&section, budget::Config::default()))
}

fn budget(section: &Section<'_>, usual: budget::Config) -> budget::Config {
    let Some(section) = section.section("budget") else { return usual };
    budget::Config {
        share: section.share("share", usual.share),
        per_second: section.decimal("per_second", 0.0..=1e6, usual.per_second),
        kept: section.time("kept", TIMES, usual.kept),
    }
}

fn hedge(section: &Section<'_>) -> Option<hedge::Policy> {
    let section = section.section("hedge")?;
    let usual = hedge::Policy::default();
    let fixed = section.time_if("delay", TIMES).map(Delay::Fixed);
    let quantile = section.share_if("quantile");
    if fixed.is_some() && quantile.is_some() {
        section.fault(section.place("quantile"), "`delay` says already when: leave one out.");
    }
    let learned = match (usual.delay, quantile) {
        (Delay::Quantile { min, max, .. }, Some(of)) => Delay::Quantile { of, min, max },
        (usual, _) => usual,
    };
    Some(hedge::Policy { delay: fixed.unwrap_or(learned), budget: budget(&section, usual.budget) })
}

fn limits(section: &Section<'_>) -> Limits {
    let upstream = shardwise::upstream::Config::default();
    let usual = Limits {
        calls_max: upstream.calls_max,
        waiting_max: upstream.waiting_max,
        wait_max: upstream.wait_max,
        adaptive: false,
        rate: None,
    };
    let Some(section) = section.section("limits") else { return usual };
    let rate = section.count_if("rate", COUNTS).map(|count| count as u32);
    let burst = section.count_if("burst", COUNTS).map(|count| count as u32);
    if burst.is_some() && rate.is_none() {
        section.fault(section.place("burst"), "a `burst` is of a `rate`: say that, too.");
    }
    Limits {
        calls_max: section.count("calls_max", COUNTS, usual.calls_max.into()) as u32,
        waiting_max: section.count("waiting_max", COUNTS_FROM_ZERO, usual.waiting_max.into()) as u32,
        wait_max: section.time("wait_max", TIMES, usual.wait_max),
        adaptive: section.flag("adaptive", usual.adaptive),
        // A second's worth at once, unless said.
        rate: rate.map(|count| Rate { count, per: Duration::from_secs(1), burst: burst.unwrap_or(count) }),
    }
}
