//! Which route has a request, and what becomes of its path.

use std::path::Path;

use super::*;
use crate::config::Config;

/// Routes of a table, each a name's: the upstream's.
fn config(routes: &str) -> Config {
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("upstreams.{name}.endpoints = [\"10.0.0.1:80\"]\n"));
    let text = format!("listeners = [{{ address = \"127.0.0.1:0\" }}]\nroutes = [{routes}]\n{}", names.concat());
    Config::of(Path::new("gateway.toml"), &text).unwrap_or_else(|faults| panic!("{faults}"))
}

#[track_caller]
fn check(config: &Config, request: &str, expect: &str) {
    let [method, host, path] = request.split(' ').collect::<Vec<_>>()[..] else { panic!("{request}") };
    let found = match Table::new(&config.routes).find(host, &method.parse().expect("a method"), path) {
        Found::Route(route) => config.upstreams[config.routes[route].upstream].name.clone(),
        Found::Methods(methods) => format!("{methods:?}"),
        Found::Nothing => "-".to_owned(),
    };
    assert_eq!(found, expect, "{request}");
}

#[test]
fn the_most_particular_path_has_the_request() {
    let config = config(
        r#"{ prefix = "/", upstream = "a" }, { prefix = "/api", upstream = "b" }, { prefix = "/api/v2/", upstream = "c" },
           { path = "/api", upstream = "d" }, { path = "/", upstream = "e" }"#,
    );
    for (path, expect) in [
        ("/", "e"),
        ("/x", "a"),
        ("/api", "d"),
        ("/api/", "b"),
        ("/api/x", "b"),
        ("/apis", "a"),
        ("/api/v2", "c"),
        ("/api/v2/", "c"),
        ("/api/v22", "b"),
        ("/API", "a"),
    ] {
        check(&config, &format!("GET here {path}"), expect);
    }
}

#[test]
fn a_host_beats_a_wildcard_and_that_beats_none() {
    let config = config(
        r#"{ prefix = "/", upstream = "a" }, { host = "*.example.org", prefix = "/", upstream = "b" },
           { host = "*.eu.example.org", prefix = "/", upstream = "c" }, { host = "www.Example.org", prefix = "/w", upstream = "d" },
           { host = "::1", prefix = "/", upstream = "e" }, { host = "[::1]", prefix = "/", upstream = "e" }"#,
    );
    for (host, expect) in [
        ("other", "a"),
        ("example.org", "a"),
        ("x.example.org", "b"),
        ("X.EXAMPLE.ORG:8080", "b"),
        ("x.example.org.", "b"),
        ("xexample.org", "a"),
        ("a.eu.example.org", "c"),
        ("www.example.org", "d"),
        ("[::1]:80", "e"),
        ("", "a"),
    ] {
        check(&config, &format!("GET {host} /w"), expect);
    }
    // What the host's own routes leave is for those beside them.
    check(&config, "GET www.example.org /x", "b");
}

#[test]
fn methods_are_a_condition_like_others() {
    let config = config(
        r#"{ prefix = "/", methods = ["POST", "PUT"], upstream = "a" }, { prefix = "/x", methods = ["GET"], upstream = "b" },
           { prefix = "/y", upstream = "c" }, { prefix = "/y", methods = ["DELETE"], upstream = "d" }"#,
    );
    for (request, expect) in [
        ("POST here /", "a"),
        ("PUT here /x", "a"),
        ("GET here /x", "b"),
        ("HEAD here /x", "b"),
        ("GET here /", "[POST, PUT]"),
        ("DELETE here /x", "[GET, POST, PUT]"),
        ("DELETE here /y", "d"),
        ("GET here /y", "c"),
    ] {
        check(&config, request, expect);
    }
    check(&super::tests::config(r#"{ path = "/a", upstream = "a" }"#), "GET here /b", "-");
}

#[test]
fn prefixes_are_rewritten_at_their_seam() {
    #[track_caller]
    fn check(route: &str, path: &str, expect: &str) {
        let config = config(&format!("{{ {route}, upstream = \"a\" }}"));
        assert_eq!(config.routes[0].rewritten(path), expect);
    }
    check(r#"prefix = "/api""#, "/api/x", "/api/x");
    check(r#"prefix = "/api", rewrite = "/v1""#, "/api", "/v1");
    check(r#"prefix = "/api", rewrite = "/v1""#, "/api/", "/v1/");
    check(r#"prefix = "/api/", rewrite = "/v1/""#, "/api/x/y", "/v1/x/y");
    check(r#"prefix = "/api", rewrite = "/""#, "/api", "/");
    check(r#"prefix = "/api", rewrite = "/""#, "/api/x", "/x");
    check(r#"prefix = "/", rewrite = "/v1""#, "/", "/v1/");
    check(r#"prefix = "/", rewrite = "/v1""#, "/x", "/v1/x");
    check(r#"path = "/a", rewrite = "/b/c""#, "/a", "/b/c");
}

#[test]
fn what_could_be_read_in_different_ways_is_seen() {
    for path in [
        "/..",
        "/a/../b",
        "/./a",
        "/a/.",
        "/a/%2e%2E/b",
        "/a%2f..%2Fb",
        "/a/..;x=1/b",
        "/a\\..\\b",
        "/a/..%5cb",
        "/%",
        "/a%2",
        "/%zz",
        "/a%00b",
    ] {
        assert!(is_in_doubt(path), "{path}");
    }
    for path in ["/", "/a.b", "/...", "/.well-known/x", "/a/..b", "/a%2eb", "/%252e%252e/", "/a;../b", "/a..b/"] {
        assert!(!is_in_doubt(path), "{path}");
    }
}
