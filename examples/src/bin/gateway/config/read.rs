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

use super::document::{At, Section};
use super::fault::meant;
use super::{
    Balance, Breaker, By, Config, Endpoint, Forwarded, Health, Hedging, Host, HostSent, Http, Key, Limits, Lines,
    Listener, Network, Outliers, Place, Process, Protocol, Proxy, Retries, RetryOn, Route, Rules, Times, Tls, Upstream,
    UpstreamTls,
};
use crate::limits::{
    BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX, COUNTS, COUNTS_FROM_ZERO, RETRIES, ROUTE_TIME_MAX, TIMES, TIMES_FROM_ZERO,
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
    let mut lines: BTreeMap<(Host, Place), Vec<(Vec<Method>, usize)>> = BTreeMap::new();
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
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let is_ip = |name: &str| name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match lower.strip_prefix('*') {
        Some(parent) if parent.starts_with('.') && is_name(&parent[1..]) => Some(Host::Under(parent.to_owned())),
        None if is_name(&lower) || is_ip(&lower) => Some(Host::Exactly(lower)),
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
    let is_right = path.starts_with('/') && is_plain && !crate::table::has_dots(path);
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
    let named = file.named("upstreams");
    let mut upstreams: Vec<_> = named
        .into_iter()
        .map(|(name, section)| {
            let tls = upstream_tls(&section, beside);
            Arc::new(Upstream {
                endpoints: endpoints(&section),
                protocol: protocol(&section, tls.is_some()),
                tls,
                host: host_sent(&section),
                times: times(&section),
                balance: balance(&section),
                health: health(&section),
                outliers: outliers(&section),
                breaker: breaker(&section),
                retries: retries(&section),
                hedging: hedging(&section),
                limits: limits(&section),
                name: name.value.to_owned(),
            })
        })
        .collect();
    upstreams.sort_by(|one, other| one.name.cmp(&other.name));
    upstreams
}

fn endpoints(section: &Section<'_>) -> Vec<Endpoint> {
    let listed = section.texts_or_sections("endpoints");
    if listed.is_empty() {
        let what = "say at which addresses it is, such as [\"10.0.0.1:8080\"]";
        match section.has("endpoints") {
            false => section.missing("endpoints", what),
            true => section.fault(section.place("endpoints"), format!("`endpoints` is empty: {what}.")),
        }
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for each in listed {
        let (found, weight) = match &each {
            Ok(found) => (Some(*found), 1),
            Err(table) => {
                if !table.has("address") {
                    table.missing("address", "a host and a port");
                }
                (table.text("address"), weight(table))
            }
        };
        let Some(found) = found.filter(|found| check_endpoint(section, *found)) else { continue };
        if endpoints.iter().any(|endpoint| endpoint.address == found.value) {
            section.fault(found.at, format!("{:?} is there twice. Give it a `weight` for more.", found.value));
        }
        endpoints.push(Endpoint { address: found.value.to_owned(), weight });
    }
    endpoints
}

fn weight(endpoint: &Section<'_>) -> u32 {
    endpoint.count("weight", WEIGHTS, 1) as u32
}

fn check_endpoint(section: &Section<'_>, found: At<&str>) -> bool {
    let is_name = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let is_right = match found.value.rsplit_once(':') {
        Some((host, port)) => {
            let is_host = is_name(host) || host.starts_with('[') && format!("{host}:1").parse::<SocketAddr>().is_ok();
            is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => false,
    };
    if !is_right {
        let what = "is no host and port. Write one such as 10.0.0.1:8080, [fd00::1]:8080 or api.internal:80.";
        section.fault(found.at, format!("{:?} {what}", found.value));
    }
    is_right
}

fn protocol(section: &Section<'_>, is_secure: bool) -> Protocol {
    let usual = if is_secure { Protocol::Agreed } else { Protocol::Http1 };
    let choices = [("http1", Protocol::Http1), ("http2", Protocol::Http2), ("agreed", Protocol::Agreed)];
    let protocol = section.choice("protocol", &choices, usual);
    if protocol == Protocol::Agreed && !is_secure {
        let what = "nothing is agreed on without [tls]. Choose http1, or http2 if it is known to be spoken.";
        section.fault(section.place("protocol"), what);
    }
    protocol
}

fn upstream_tls(section: &Section<'_>, beside: &Path) -> Option<UpstreamTls> {
    let section = section.section("tls")?;
    let authorities = section.text("authorities").and_then(|found| {
        let path = beside.join(found.value);
        let name = path.display().to_string();
        let bytes = pem(&section, found.at, &path)?;
        if let Err(error) = tls::Roots::from_pem(&name, &bytes) {
            section.fault(found.at, error.to_string());
        }
        Some((name, bytes))
    });
    Some(UpstreamTls { authorities })
}

fn host_sent(section: &Section<'_>) -> HostSent {
    match section.text("host") {
        None => HostSent::Kept,
        Some(found) => match found.value {
            "keep" => HostSent::Kept,
            "endpoint" => HostSent::Endpoint,
            name => {
                let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
                let value =
                    HeaderValue::from_str(name).ok().filter(|_| name.contains('.') && name.bytes().all(is_host));
                value.map_or_else(
                    || {
                        let what = "is neither keep, nor endpoint, nor a host with a dot in it.";
                        section.fault(found.at, format!("{name:?} {what}"));
                        HostSent::Kept
                    },
                    HostSent::Named,
                )
            }
        },
    }
}

fn times(section: &Section<'_>) -> Times {
    let client = shardwise::client::Config::default();
    let usual = Times {
        connect: Duration::from_secs(5),
        per_try: None,
        pause: client.body_pause_max,
        idle: client.idle_time_max,
    };
    let Some(section) = section.section("times") else { return usual };
    Times {
        connect: section.time("connect", TIMES, usual.connect),
        per_try: section.time_if("per_try", TIMES),
        pause: section.time("pause", TIMES, usual.pause),
        idle: section.time("idle", TIMES, usual.idle),
    }
}

fn balance(section: &Section<'_>) -> Balance {
    let usual = Balance { by: By::LeastRequests, key: Key::Client, panic: 0.5, slow_start: Duration::ZERO };
    let Some(section) = section.section("balance") else { return usual };
    let choices = [
        ("round_robin", By::RoundRobin),
        ("least_requests", By::LeastRequests),
        ("peak_ewma", By::PeakEwma),
        ("ring_hash", By::RingHash),
        ("maglev", By::Maglev),
    ];
    let by = section.choice("by", &choices, usual.by);
    let key = match section.text("key").map(|found| (found, found.value)) {
        None | Some((_, "client")) => Key::Client,
        Some((_, "path")) => Key::Path,
        Some((found, text)) => {
            let name = text.strip_prefix("header:").and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            if name.is_none() {
                section.fault(found.at, format!("{text:?} is nothing to hash. Choose client, path or header:NAME."));
            }
            name.map_or(Key::Client, Key::Header)
        }
    };
    if section.has("key") && !matches!(by, By::RingHash | By::Maglev) {
        section.fault(section.place("key"), "only ring_hash and maglev have a key: say one of them by `by`.");
    }
    Balance {
        by,
        key,
        panic: section.share("panic", usual.panic),
        slow_start: section.time("slow_start", TIMES_FROM_ZERO, usual.slow_start),
    }
}

fn health(section: &Section<'_>) -> Option<Health> {
    let section = section.section("health")?;
    let path = section.text("path").map(|found| {
        check_path(&section, found);
        found.value.to_owned()
    });
    let health = Health {
        path,
        interval: section.time("interval", TIMES, Duration::from_secs(10)),
        jitter: section.share("jitter", 0.1),
        timeout: section.time("timeout", TIMES, Duration::from_secs(2)),
        unhealthy: section.count("unhealthy", COUNTS, 3) as u32,
        healthy: section.count("healthy", COUNTS, 2) as u32,
    };
    if health.timeout > health.interval {
        section.fault(
            section.place("timeout"),
            "a probe takes longer than the next one waits: `timeout` exceeds `interval`.",
        );
    }
    Some(health)
}

fn outliers(section: &Section<'_>) -> Option<Outliers> {
    let section = section.section("outliers")?;
    let outliers = Outliers {
        consecutive: section.count("consecutive", COUNTS, 5) as u32,
        interval: section.time("interval", TIMES, Duration::from_secs(10)),
        ejection: section.time("ejection", TIMES, Duration::from_secs(30)),
        ejection_max: section.time("ejection_max", TIMES, Duration::from_secs(300)),
        ejected_max: section.share("ejected_max", 0.1),
        deviations: section.decimal("deviations", 0.1..=10.0, 1.9),
        endpoints_min: section.count("endpoints_min", COUNTS, 5) as u32,
        requests_min: section.count("requests_min", COUNTS, 100) as u32,
    };
    if outliers.ejection > outliers.ejection_max {
        section.fault(section.place("ejection"), "`ejection` exceeds `ejection_max`.");
    }
    Some(outliers)
}

fn breaker(section: &Section<'_>) -> Option<Breaker> {
    let section = section.section("breaker")?;
    Some(Breaker {
        consecutive: section.count("consecutive", COUNTS, 5) as u32,
        failures: section.share("failures", 0.5),
        requests_min: section.count("requests_min", COUNTS, 100) as u32,
        slow: section.share("slow", 1.0),
        slow_time: section.time("slow_time", TIMES, Duration::from_secs(60)),
        open: section.time("open", TIMES, Duration::from_secs(60)),
        trials: section.count("trials", COUNTS, 10) as u32,
    })
}

fn retries(section: &Section<'_>) -> Retries {
    let usual = Retries {
        count: 1,
        on: vec![RetryOn::Connect, RetryOn::Reset, RetryOn::GatewayError],
        budget: 0.2,
        budget_floor: 10,
        backoff: Duration::from_millis(25),
        backoff_max: Duration::from_millis(250),
    };
    let Some(section) = section.section("retries") else { return usual };
    const CHOICES: [(&str, RetryOn); 5] = [
        ("connect", RetryOn::Connect),
        ("reset", RetryOn::Reset),
        ("gateway_error", RetryOn::GatewayError),
        ("server_error", RetryOn::ServerError),
        ("timeout", RetryOn::Timeout),
    ];
    let on = section.texts("on").into_iter().filter_map(|found| {
        let known = CHOICES.iter().find(|(name, _)| *name == found.value).map(|(_, on)| *on);
        if known.is_none() {
            let meant = meant(found.value, CHOICES.iter().map(|(name, _)| *name));
            section.fault(found.at, format!("nothing is retried on {:?}.{meant}", found.value));
        }
        known
    });
    let on: Vec<_> = on.collect();
    let retries = Retries {
        count: section.count("count", RETRIES, usual.count.into()) as u32,
        on: if section.has("on") { on } else { usual.on },
        budget: section.share("budget", usual.budget),
        budget_floor: section.count("budget_floor", COUNTS_FROM_ZERO, usual.budget_floor.into()) as u32,
        backoff: section.time("backoff", TIMES, usual.backoff),
        backoff_max: section.time("backoff_max", TIMES, usual.backoff_max),
    };
    if retries.backoff > retries.backoff_max {
        section.fault(section.place("backoff"), "`backoff` exceeds `backoff_max`.");
    }
    retries
}

fn hedging(section: &Section<'_>) -> Option<Hedging> {
    let section = section.section("hedging")?;
    Some(Hedging { quantile: section.share("quantile", 0.99), budget: section.share("budget", 0.01) })
}

fn limits(section: &Section<'_>) -> Limits {
    let usual = Limits { connections: 1024, pending: 1024, requests: 1024, idle: 64, rate: None };
    let Some(section) = section.section("limits") else { return usual };
    Limits {
        connections: section.count("connections", COUNTS, usual.connections.into()) as u32,
        pending: section.count("pending", COUNTS_FROM_ZERO, usual.pending.into()) as u32,
        requests: section.count("requests", COUNTS, usual.requests.into()) as u32,
        idle: section.count("idle", COUNTS_FROM_ZERO, usual.idle.into()) as u32,
        rate: section.count_if("rate", COUNTS).map(|count| count as u32),
    }
}
