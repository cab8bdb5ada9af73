//! URLs, taken apart. Exchanges are tested in `net/tests/client.rs`, on a simulated machine.

use super::url::Url;

#[track_caller]
fn check(text: &str, expect: Result<(&str, &str, u16, &str), &str>) {
    match (Url::parse(text), expect) {
        (Ok(url), Ok(expect)) => assert_eq!((url.authority, url.host, url.port, &*url.target), expect, "{text}"),
        (Err(error), Err(what)) => assert!(error.to_string().contains(what), "{text}: {error}"),
        (found, _) => panic!("{text}: {found:?}"),
    }
}

#[test]
fn urls() {
    check("http://a", Ok(("a", "a", 80, "/")));
    check("HTTP://a.example:8080/b/c?d=e", Ok(("a.example:8080", "a.example", 8080, "/b/c?d=e")));
    check("http://a?q", Ok(("a", "a", 80, "/?q")));
    check("http://a/b#c?d", Ok(("a", "a", 80, "/b")));
    check("http://a#c", Ok(("a", "a", 80, "/")));
    check("http://10.0.0.1:1/", Ok(("10.0.0.1:1", "10.0.0.1", 1, "/")));
    check("http://[::1]:81/x", Ok(("[::1]:81", "::1", 81, "/x")));
    check("http://[::1]", Ok(("[::1]", "::1", 80, "/")));
    check("https://a/b", Ok(("a", "a", 443, "/b")));
    check("HTTPS://[::1]:1", Ok(("[::1]:1", "::1", 1, "/")));
    assert_eq!(Url::parse("https://a:1/b?c").unwrap().origin, "https://a:1");
    check("ftp://a/", Err("only http and https are spoken"));
    check("/path", Err("does not begin with http://"));
    check("a.example", Err("does not begin with http://"));
    check("http://", Err("no host"));
    check("http:///a", Err("no host"));
    check("http://:80/", Err("no host"));
    check("http://u:p@a/", Err("credentials"));
    check("http://a:0/", Err("port"));
    check("http://a:65536/", Err("port"));
    check("http://a:+1/", Err("port"));
    check("http://a:/", Err("port"));
    check("http://[::1/", Err("bracket"));
    check("http://[a]/", Err("IPv6"));
    check("http://[::1]x/", Err("port"));
}
