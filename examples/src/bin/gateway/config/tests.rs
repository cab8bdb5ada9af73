//! What a file may say, and what is said of one that is not in order: each fault with its file, line and reason.

use std::fs;

use super::*;

/// What a file needs at the least, in three lines.
const LEAST: &str = r#"
listeners = [{ address = "127.0.0.1:0" }]
routes = [{ prefix = "/", upstream = "a" }]
upstreams.a.endpoints = ["10.0.0.1:80"]
"#;

fn read(text: &str) -> Result<Config, Faults> {
    Config::of(Path::new("etc/gateway.toml"), text)
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let expect: Vec<_> = expect.iter().map(|fault| format!("etc/gateway.toml:{fault}")).collect();
    match read(text) {
        Ok(config) => assert!(expect.is_empty(), "{config:?}"),
        Err(faults) => assert_eq!(faults.to_string(), expect.join("\n")),
    }
}

/// Lines behind those that there must be: the first is line 5.
#[track_caller]
fn check_more(lines: &str, expect: &[&str]) {
    check(&format!("{LEAST}{lines}"), expect);
}

/// One route with these keys, on line 3.
#[track_caller]
fn check_route(keys: &str, expect: &[&str]) {
    let text = LEAST.replace(r#"{ prefix = "/", upstream = "a" }"#, &format!("{{ upstream = \"a\", {keys} }}"));
    check(&text, expect);
}

#[test]
fn little_is_enough_and_the_rest_has_its_usual_value() {
    let config = read(LEAST).expect("in order");
    let upstream = &config.upstreams[0];
    assert_eq!((upstream.protocol, &upstream.host), (Protocol::Usual, &HostSent::Kept));
    assert_eq!((upstream.balance, upstream.budget), (balance::Settings::default(), budget::Config::default()));
    assert_eq!(upstream.retries, retry::Policy { time_max: None, ..retry::Policy::default() });
    assert_eq!((upstream.connections.count_max, upstream.connections.connect_time_max), (1024, Duration::from_secs(5)));
    assert_eq!((upstream.outliers, upstream.breaker), (Some(outlier::Settings::default()), None));
    assert_eq!(upstream.breaker_of_all, None);
    assert_eq!((&upstream.health, upstream.hedge), (&None, None));
    assert_eq!(config.routes[0].time_max, Some(Duration::from_secs(15)));
    assert_eq!(config.proxy.via.as_deref(), Some("gateway"));
}

#[test]
fn all_that_can_be_said_is_understood() {
    let text = r#"
[process]
shards = 2
backend = "epoll"
admin = "127.0.0.1:9901"
drain_notice = "0s"
drain_time_max = "1m"
[http]
http2 = false
http3 = false
proxy_protocol = true
idle_time_max = "1.5s"
head_time_max = "250ms"
connections_per_client_max = 100
[[listeners]]
address = "[::]:8443"
tls = { self_signed = true, tls12 = true }
[proxy]
via = ""
forwarded = "both"
trusted = ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]
access_log = false
[[routes]]
host = "*.Example.org"
prefix = "/api/"
methods = ["GET", "PROPFIND"]
upstream = "b"
rewrite = "/v1"
time_max = "0s"
body_bytes_max = "64KiB"
request_headers = { set = { x-a = "1" }, append = { x-b = "2" }, remove = ["x-c"] }
response_headers = { remove = ["server"] }
[upstreams.b]
endpoints = ["10.0.0.1:80", { address = "10.0.0.2:80", weight = 3 }, "[fd00::1]:80", "unix:/run/b.sock"]
protocol = "http2"
host = "api.internal"
connections = { connect_time_max = "1s", pause_max = "2s", idle_time_max = "3s", idle_max = 4, count_max = 5 }
balance = { by = "maglev", key = "header:x-user", panic_percent = 0, slow_start = "30s", decay = "5s", subset = 3 }
health = { path = "/healthz", interval = "5s", interval_down = "1s", jitter = 20, timeout = "1s", failures = 2, passes = 1, starts_up = true }
breaker = { failures_in_a_row = 3, error_share = 40, slow_share = 80, slow_after = "1s", window = "10s", calls_min = 20, open_first = "5s", open_max = "1m", trials_max = 3, successes_to_close = 2, trial_time = "5s" }
breaker_of_all = { error_share = 60, calls_min = 200 }
hedge = { quantile = 99, budget = { share = 5, per_second = 1, kept = "10s" } }
limits = { calls_max = 10, waiting_max = 0, wait_max = "1s", adaptive = true, rate = 1000, burst = 10 }
[upstreams.b.tls]
name = "api.internal"
[upstreams.b.outliers]
enabled = true
errors = 3
gateway_errors = 2
success_rate = true
members_min = 3
requests_min = 50
deviations = 2.5
interval = "1s"
ejection_base = "1s"
ejection_max = "1m"
ejection_jitter = "0s"
ejected_percent_max = 50
[upstreams.b.retries]
tries_max = 2
on = ["connect", "try_time", "503"]
budget = { share = 25.5, per_second = 0 }
pause_first = "10ms"
pause_max = "1s"
retry_after_max = "0s"
try_time = "2s"
[upstreams.c]
names = ["api.internal:8080"]
outliers = { enabled = false }
hedge = { delay = "50ms" }
"#;
    let config = read(text).unwrap_or_else(|faults| panic!("{faults}"));
    let (route, upstream) = (&config.routes[0], &config.upstreams[0]);
    assert_eq!(
        (&route.host, &route.path),
        (&Host::Under(".example.org".to_owned()), &Place::Beneath("/api".to_owned()))
    );
    assert_eq!((route.time_max, route.body_bytes_max), (None, 65536));
    let Endpoints::Fixed(endpoints) = &upstream.endpoints else { panic!("{:?}", upstream.endpoints) };
    assert_eq!(endpoints.iter().map(|endpoint| endpoint.weight).collect::<Vec<_>>(), [1, 3, 1, 1]);
    assert_eq!(endpoints[0].name.as_deref(), Some("api.internal"));
    assert_eq!((upstream.balance.rule, upstream.budget.share), (balance::Rule::MAGLEV, 0.255));
    assert_eq!((&upstream.key, upstream.subset), (&Key::Header(HeaderName::from_static("x-user")), Some(3)));
    let causes = upstream.retries.causes;
    assert!(causes.connect && causes.try_time && !causes.reset && causes.statuses == retry::Statuses::NONE.with(503));
    let breaker = |breaker: Option<breaker::Config>| breaker.map(|breaker| (breaker.error_share, breaker.calls_min));
    assert_eq!(
        (breaker(upstream.breaker), breaker(upstream.breaker_of_all)),
        (Some((Some(0.4), 20)), Some((Some(0.6), 200)))
    );
    assert_eq!(upstream.limits.rate, Some(Rate { count: 1000, per: Duration::from_secs(1), burst: 10 }));
    let other = &config.upstreams[1];
    assert_eq!((&other.endpoints, other.outliers), (&Endpoints::Names(vec!["api.internal:8080".to_owned()]), None));
    assert_eq!(other.hedge.map(|hedge| hedge.delay), Some(hedge::Delay::Fixed(Duration::from_millis(50))));
    assert_eq!(
        (config.http.idle_time_max, config.http.head_time_max),
        (Duration::from_millis(1500), Duration::from_millis(250))
    );
    assert_eq!((config.process.shards, config.proxy.via), (Some(2), None));
}

#[test]
fn what_is_no_toml_is_told_by_its_line() {
    check("listeners = [\n", &["1: this is no TOML: unclosed array, expected `]`."]);
    check("\n\na = 1\na = 2\n", &["4: this is no TOML: duplicate key."]);
    check("a\n", &["1: this is no TOML: key with no value, expected `=`."]);
}

#[test]
fn what_must_be_there_is_asked_for() {
    check(
        "",
        &[
            "1: there are no [[listeners]], so that nobody could come. Say where to serve.",
            "etc/gateway.toml:1: there are no [[routes]], so that nobody could be answered. Say where requests go.",
        ]
        .map(|fault| fault.trim_start_matches("etc/gateway.toml:")),
    );
    check(
        &LEAST.replace(r#"address = "127.0.0.1:0""#, ""),
        &["2: [[listeners]] lacks `address`: say where to serve, such as \"0.0.0.0:8080\"."],
    );
    check(&LEAST.replace(r#", upstream = "a""#, ""), &["3: [[routes]] lacks `upstream`: say whom to ask."]);
    check_route(
        "methods = [\"GET\"]",
        &["3: [[routes]] lacks `prefix`: say which paths it is for: `prefix = \"/\"` for all, or one `path`."],
    );
    check(&LEAST.replace(r#"["10.0.0.1:80"]"#, "[]"), &["4: `endpoints` is empty: say where it is."]);
    check_more(
        "[upstreams.b]\nhost = \"keep\"\n",
        &[
            "5: [upstreams.b] lacks `endpoints`: say at which addresses it is, such as [\"10.0.0.1:8080\"], or `names`, or a `file`.",
        ],
    );
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    check_more("[proces]\n", &["5: there is no key `proces` in the file. Did you mean `process`?"]);
    check_route(
        r#"prefix = "/", metods = ["GET"]"#,
        &["3: there is no key `metods` in [[routes]]. Did you mean `methods`?"],
    );
    check_more(
        "[upstreams.a.limits]\ncalls_mx = 1\n",
        &["6: there is no key `calls_mx` in [upstreams.a.limits]. Did you mean `calls_max`?"],
    );
    check_more(
        "[proxy]\ncolour = \"red\"\n",
        &["6: there is no key `colour` in [proxy]. Known are: via, trusted, forwarded, access_log."],
    );
    check(
        &LEAST.replace(r#""10.0.0.1:80""#, r#"{ address = "10.0.0.1:80", wieght = 2 }"#),
        &["4: there is no key `wieght` in `endpoints`. Did you mean `weight`?"],
    );
}

#[test]
fn values_of_other_types_and_beyond_their_bounds_are_refused() {
    check_more("[process]\nshards = 0\n", &["6: `shards` must be a number from 1 to 1024, not 0."]);
    check_more("[process]\nshards = \"two\"\n", &["6: `shards` must be a number from 1 to 1024, not \"two\"."]);
    check_more(
        "[process]\nbackend = \"kqueue\"\n",
        &["6: there is no backend \"kqueue\": choose auto, uring or epoll."],
    );
    check_more("[http]\nhttp2 = 1\n", &["6: `http2` must be true or false, not 1."]);
    let time = "must be a time with its unit (ms, s, m, h), from 1ms to 86400s, not";
    check_more("[http]\nidle_time_max = 5\n", &[&format!("6: `idle_time_max` {time} 5.")]);
    check_more("[http]\nidle_time_max = \"5 parsecs\"\n", &[&format!("6: `idle_time_max` {time} \"5 parsecs\".")]);
    check_more("[http]\nidle_time_max = \"-1s\"\n", &[&format!("6: `idle_time_max` {time} \"-1s\".")]);
    check_more("[http]\nidle_time_max = \"25h\"\n", &[&format!("6: `idle_time_max` {time} \"25h\".")]);
    let bytes = "3: `body_bytes_max` must be a number of bytes, as it is or with KiB, MiB or GiB, not";
    check_route(r#"prefix = "/", body_bytes_max = "10 bushels""#, &[&format!("{bytes} \"10 bushels\".")]);
    check_route(r#"prefix = "/", body_bytes_max = -1"#, &[&format!("{bytes} -1.")]);
    check_route(r#"prefix = "/", body_bytes_max = "99999999999GiB""#, &[&format!("{bytes} \"99999999999GiB\".")]);
    let share = "must be a share in percent, from 0 to 100, not";
    check_more("[upstreams.a.breaker]\nerror_share = 101\n", &[&format!("6: `error_share` {share} 101.")]);
    check_more("[upstreams.a.breaker]\nerror_share = nan\n", &[&format!("6: `error_share` {share} nan.")]);
    check_more("process = 1\n", &["5: `process` must be a table, not 1."]);
    check_route(r#"prefix = "/", methods = ["GET", 1]"#, &["3: `methods` is a list of texts, and this is integer."]);
    check(
        "listeners = 1\nroutes = [1]\nupstreams = { a = 1 }\n",
        &[
            "1: `listeners` must be a list of tables, not 1.",
            "1: there are no [[listeners]], so that nobody could come. Say where to serve.",
            "2: `routes` is a list of tables, and this is integer.",
            "2: there are no [[routes]], so that nobody could be answered. Say where requests go.",
            "3: `upstreams` is a table of tables, and `a` is integer.",
        ]
        .map(|fault| fault),
    );
}

#[test]
fn listeners_are_judged() {
    let second = |text: &str| {
        LEAST.replace(r#"{ address = "127.0.0.1:0" }"#, &format!("{{ address = \"127.0.0.1:80\" }}, {{ {text} }}"))
    };
    check(&second(r#"address = "127.0.0.1:80""#), &["2: 127.0.0.1:80 is listened on already, by line 2."]);
    check(
        &second(r#"address = "localhost:80""#),
        &["2: \"localhost:80\" is no IP address and port. Write one such as 0.0.0.0:8080 or [::]:8080."],
    );
    check(
        &second(r#"address = "[::1]:81", tls = {}"#),
        &[
            "2: [listeners.tls] lacks `certificates`: say `certificates`, or `self_signed = true` for one that is made at the start, \
         for development.",
        ],
    );
    check(
        &second(r#"address = "[::1]:81", tls = { certificates = [{ certificate = "none.pem", key = "none.key" }] }"#),
        &[
            "2: etc/none.pem cannot be read: No such file or directory (os error 2).",
            "2: etc/none.key cannot be read: No such file or directory (os error 2).",
        ],
    );
    check(
        &second(r#"address = "[::1]:81", tls = { certificates = [{ key = "none.key" }] }"#),
        &[
            "2: [[listeners.tls.certificates]] lacks `certificate`: a certificate and its key go together, each a file in PEM.",
        ],
    );
}

#[test]
fn certificates_are_read_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway.toml");
    fs::write(folder.path().join("cert.pem"), "no certificate").expect("a file");
    fs::write(folder.path().join("key.pem"), "").expect("a file");
    let tls = r#"address = "127.0.0.1:0", tls = { certificates = [{ certificate = "cert.pem", key = "key.pem" }] }"#;
    let faults = Config::of(&path, &LEAST.replace(r#"address = "127.0.0.1:0""#, tls)).unwrap_err().to_string();
    let expect =
        format!("{}:2: {}: no certificate is in it.", path.display(), folder.path().join("cert.pem").display());
    assert!(faults.starts_with(&expect), "{faults}");
    let text = format!("{LEAST}[upstreams.a.tls]\nauthorities = \"key.pem\"\n");
    let faults = Config::of(&path, &text).unwrap_err().to_string();
    let expect = format!("{}:6: {}: no certificate is in it.", path.display(), folder.path().join("key.pem").display());
    assert!(faults.starts_with(&expect), "{faults}");
}

#[test]
fn routes_are_judged() {
    check_route(r#"prefix = "/", upstream = "b""#, &["3: this is no TOML: duplicate key."]);
    check(
        &LEAST.replace(r#"upstream = "a""#, r#"upstream = "b""#),
        &["3: no upstream is called `b`: there is no [upstreams.b]. Did you mean `a`?"],
    );
    let path = "is no path. It begins with /, is percent-encoded where it must be, and holds neither a query nor `..`.";
    for bad in ["api", "/a?b", "/a b", "/a/../b", "/a/%2e%2e", "", "/é"] {
        check_route(&format!("prefix = {bad:?}"), &[&format!("3: {bad:?} {path}")]);
    }
    check_route(r#"prefix = "/", path = "/a""#, &["3: a route has a `path` or a `prefix`, not both."]);
    check_route(r#"prefix = "/", rewrite = "v1""#, &[&format!("3: \"v1\" {path}")]);
    let host = "is no host. Write a name, an address, or *.example.org for all beneath it; without a port.";
    for bad in ["a:80", "*", "*example.org", "a.*.org", "http://a", "", "*."] {
        check_route(&format!("prefix = \"/\", host = {bad:?}"), &[&format!("3: {bad:?} {host}")]);
    }
    let method = "is no method that goes through. Write it in capitals; CONNECT and TRACE never do.";
    for bad in ["get", "CONNECT", "TRACE", "G T", ""] {
        let expect = format!("3: {bad:?} {method}");
        let none = "3: a route for no method is none. Leave `methods` out for all of them.";
        check_route(&format!("prefix = \"/\", methods = [{bad:?}]"), &[&expect, none]);
    }
    check_route(
        r#"prefix = "/", request_headers = { set = { Connection = "close" } }"#,
        &["3: no rule is about `connection`, which belongs to each connection."],
    );
    check_route(
        r#"prefix = "/", request_headers = { remove = ["host"] }"#,
        &["3: no rule is about `host`, which `host` of the upstream says."],
    );
    check_route(
        r#"prefix = "/", response_headers = { append = { "a b" = "c" } }"#,
        &["3: \"a b\" is no header's name."],
    );
    check_route(
        r#"prefix = "/", response_headers = { append = { a = "b\nc" } }"#,
        &["3: the value of `a` holds a control character."],
    );
}

#[test]
fn two_routes_for_the_same_requests_are_refused() {
    let with = |one: &str, other: &str| {
        let routes = format!("{{ {one}, upstream = \"a\" }},\n{{ {other}, upstream = \"a\" }}");
        LEAST.replace(r#"{ prefix = "/", upstream = "a" }"#, &routes)
    };
    let expect = "4: the route of line 3 has the same requests already.";
    check(&with(r#"prefix = "/a""#, r#"prefix = "/a/""#), &[expect]);
    check(&with(r#"path = "/a", host = "B""#, r#"path = "/a", host = "b""#), &[expect]);
    check(&with(r#"path = "/a", methods = ["GET", "PUT"]"#, r#"path = "/a", methods = ["PUT"]"#), &[expect]);
    check(&with(r#"path = "/a", methods = ["GET"]"#, r#"path = "/a", methods = ["PUT"]"#), &[]);
    check(&with(r#"path = "/a", methods = ["GET"]"#, r#"path = "/a""#), &[]);
    check(&with(r#"path = "/a""#, r#"prefix = "/a""#), &[]);
    check(&with(r#"path = "/a""#, r#"path = "/a", host = "b""#), &[]);
}

#[test]
fn what_is_said_of_clients_is_judged() {
    let network = "is no network. Write one such as 10.0.0.0/8 or fd00::/8.";
    for bad in ["10.0.0.0/33", "fd00::/129", "ten", "10.0.0.0/", "10.0.0.0/8/8", ""] {
        check_more(&format!("[proxy]\ntrusted = [{bad:?}]\n"), &[&format!("6: {bad:?} {network}")]);
    }
    check_more(
        "[proxy]\nforwarded = \"x-forwardd\"\n",
        &["6: `forwarded` is \"x-forwardd\", which is none of its values. Did you mean `x-forwarded`?"],
    );
    check_more("[proxy]\nvia = \"a b\"\n", &["6: \"a b\" is no name for `via`: use letters, digits and -._"]);
}

#[test]
fn upstreams_are_judged() {
    let endpoint = "is no IP address and port. Write one such as 10.0.0.1:8080; hosts by their names go into `names`.";
    for bad in ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", ":80", "http://a:80", "fd00::1:80", "a:80", "[zz]:80"] {
        check(&LEAST.replace("10.0.0.1:80", bad), &[&format!("4: {bad:?} {endpoint}")]);
    }
    for bad in ["unix:", "unix:run/a.sock"] {
        let path = "is no whole path. Write one such as unix:/run/items.sock.";
        check(&LEAST.replace("10.0.0.1:80", bad), &[&format!("4: {bad:?} {path}")]);
    }
    let list = |list: &str| LEAST.replace(r#""10.0.0.1:80""#, list);
    check(&list(r#""unix:/a", "unix:/a""#), &["4: unix:/a is there twice. Give it a `weight` for more."]);
    check(&list(r#""1.1.1.1:1", "1.1.1.1:1""#), &["4: 1.1.1.1:1 is there twice. Give it a `weight` for more."]);
    check(&list(r#"{ address = "1.1.1.1:1", weight = 0 }"#), &["4: `weight` must be a number from 1 to 1000, not 0."]);
    check(&list("{ weight = 2 }"), &["4: `endpoints` lacks `address`: an IP address and a port."]);
    check_more(
        "[upstreams.b]\nnames = [\"api\"]\n",
        &["6: \"api\" is no host and port. Write one such as api.internal:8080."],
    );
    check_more("[upstreams.b]\nnames = []\n", &["6: `names` is empty: say where it is."]);
    check_more(
        "[upstreams.b]\nnames = [\"b:1\"]\nfile = \"none\"\n",
        &[
            "7: `names` says already where it is: leave one out.",
            "7: etc/none cannot be read: No such file or directory (os error 2).",
        ],
    );
    check_more(
        "[upstreams.b]\nnames = [\"b:1\"]\nprotocol = \"http3\"\n",
        &["7: `protocol` is \"http3\", which is none of its values. Did you mean `http2`?"],
    );
    check_more(
        "[upstreams.b]\nnames = [\"b:1\"]\nhost = \"kept\"\n",
        &["7: \"kept\" is neither keep, nor endpoint, nor a host with a dot in it."],
    );
    let section = |lines: &str, expect: &[&str]| check_more(&format!("[upstreams.a.{lines}\n"), expect);
    section("tls]\nname = \"a b\"", &["6: \"a b\" is no name that a certificate is of."]);
    section(
        "balance]\nby = \"round-robin\"",
        &["6: `by` is \"round-robin\", which is none of its values. Did you mean `round_robin`?"],
    );
    section("balance]\nkey = \"path\"", &["6: only ring and maglev look at a key: say one of them by `by`."]);
    section(
        "balance]\nby = \"maglev\"\nkey = \"header:\"",
        &["7: \"header:\" is no key. Choose client, path or header:NAME."],
    );
    section(
        "health]\npath = \"healthz\"",
        &[
            "6: \"healthz\" is no path. It begins with /, is percent-encoded where it must be, and holds neither a query nor `..`.",
        ],
    );
    section("health]\npasses = 0", &["6: `passes` must be a number from 1 to 1000000, not 0."]);
    section("outliers]\nejection_base = \"10m\"", &["6: `ejection_base` exceeds `ejection_max`."]);
    section("outliers]\ndeviations = 0", &["6: `deviations` must be a number from 0.1 to 10, not 0."]);
    section("breaker]\ntrials_max = 0", &["6: `trials_max` must be a number from 1 to 1000000, not 0."]);
    section("breaker]\nopen_first = \"1h\"", &["6: `open_first` exceeds `open_max`."]);
    section("breaker_of_all]\ncalls_min = 0", &["6: `calls_min` must be a number from 1 to 1000000, not 0."]);
    section("retries]\ntries_max = 11", &["6: `tries_max` must be a number from 1 to 10, not 11."]);
    section("retries]\npause_first = \"1s\"", &["6: `pause_first` exceeds `pause_max`."]);
    section(
        "retries]\non = [\"resets\", \"200\"]",
        &[
            "6: nothing is retried on \"resets\". Did you mean `reset`?",
            "6: nothing is retried on \"200\". Known are: connect, unprocessed, reset, try_time, 503.",
        ],
    );
    section("retries.budget]\nshare = 120", &["6: `share` must be a share in percent, from 0 to 100, not 120."]);
    section("hedge]\ndelay = \"1s\"\nquantile = 99", &["7: `delay` says already when: leave one out."]);
    section("limits]\nburst = 1", &["6: a `burst` is of a `rate`: say that, too."]);
}

#[test]
fn what_is_said_anew_of_an_upstream_is_told_apart() {
    let others = "upstreams.b.endpoints = [\"10.0.0.1:80\"]\n";
    let running = read(&format!("{LEAST}{others}")).expect("in order");
    let mut next = read(&format!("{}{others}", LEAST.replace("10.0.0.1", "10.0.0.2"))).expect("in order");
    next.succeed(&running);
    assert!(
        !Arc::ptr_eq(&next.upstreams[0], &running.upstreams[0])
            && Arc::ptr_eq(&next.upstreams[1], &running.upstreams[1])
    );
    assert_eq!((next.upstreams[0].version, next.upstreams[1].version), (1, 0));
    // As it was at first, and yet another than that, of which calls may still be under way.
    let mut last = read(&format!("{LEAST}{others}")).expect("in order");
    last.succeed(&next);
    assert_eq!((last.upstreams[0].version, last.upstreams[1].version), (2, 0));
}

#[test]
fn all_faults_are_told_in_the_order_of_their_lines() {
    let text = LEAST.replace("127.0.0.1:0", "here").replace(r#"upstream = "a""#, r#"upstream = "z""#);
    let faults = read(&format!("{text}[process]\nshards = 0\n")).unwrap_err();
    let lines: Vec<_> = faults.faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 3, 6]);
}

#[test]
fn what_cannot_change_while_it_runs_is_named() {
    let running = read(LEAST).expect("in order");
    #[track_caller]
    fn check(running: &Config, text: &str, expect: &[usize]) {
        let faults = read(text).expect("in order").beyond_reload(running);
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), expect);
    }
    check(&running, &LEAST.replace("/\"", "/x\"").replace("10.0.0.1", "10.0.0.2"), &[]);
    check(&running, &LEAST.replace("127.0.0.1:0", "127.0.0.1:1"), &[2]);
    check(&running, &format!("{LEAST}[process]\nshards = 2\n[http]\nhttp2 = false\n"), &[5, 7]);
}

#[test]
fn networks_hold_what_begins_alike() {
    let config =
        read(&format!("{LEAST}[proxy]\ntrusted = [\"10.1.0.0/16\", \"fd00::/8\", \"0.0.0.0/0\", \"192.0.2.1\"]\n"));
    let networks = config.expect("in order").proxy.trusted;
    let holds = |at: usize, address: &str| networks[at].contains(address.parse().expect("an address"));
    assert!(holds(0, "10.1.255.255") && holds(0, "::ffff:10.1.0.1") && !holds(0, "10.2.0.0") && !holds(0, "fd00::1"));
    assert!(holds(1, "fdff::") && !holds(1, "fe00::"));
    assert!(holds(2, "255.255.255.255") && !holds(2, "::1"));
    assert!(holds(3, "192.0.2.1") && !holds(3, "192.0.2.2"));
}

/// What the sample shows in comments can be said, too.
#[test]
fn the_sample_shows_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gateway.toml");
    let sample = fs::read_to_string(&path).expect("the sample");
    // They stand in for what is said already, or name files.
    let others = ["certificates", "names", "file", "authorities", "key"];
    let lines = sample.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if key.starts_with('[') => key,
        Some(key) if key.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ') && !others.contains(&name)) => {
            key
        }
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert!(text.contains("\ntries_max = 3 ") && text.contains("\n[upstreams.api.limits]"), "{text}");
    let read = |text: &str| Config::of(&path, text).unwrap_or_else(|faults| panic!("{faults}"));
    let (all, usual) = (read(&text), read(&sample));
    // And what it calls the default is that.
    assert_eq!((all.http.idle_time_max, all.http.head_time_max), (usual.http.idle_time_max, usual.http.head_time_max));
    let (all, usual) = (&all.upstreams[0], &usual.upstreams[0]);
    assert_eq!((all.health.clone(), all.outliers, all.breaker), (usual.health.clone(), usual.outliers, usual.breaker));
    assert_eq!((all.budget, &all.connections), (usual.budget, &usual.connections));
    assert_eq!(all.retries, retry::Policy { try_time: all.retries.try_time, ..usual.retries });
    assert_eq!(all.limits, Limits { rate: all.limits.rate, ..usual.limits.clone() });
    assert_eq!(all.hedge, Some(hedge::Policy::default()));
}
