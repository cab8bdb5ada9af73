//! References against a URL, as RFC 3986 section 5.4 has them, and what becomes of methods.

use http::HeaderValue;

use super::*;

#[track_caller]
fn check(location: &str, expect: &str) {
    let url = Url::parse("http://a/b/c/d;p?q").unwrap();
    let step = next(StatusCode::FOUND, location.as_bytes(), &url, &Method::GET, false);
    let told = step.map(|step| step.unwrap().url).unwrap_or_else(|error| error.to_string());
    assert_eq!(told, expect, "{location}");
}

#[test]
fn references_are_resolved() {
    for (location, expect) in [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        ("g?y#s", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g?y/./x", "http://a/b/c/g?y/./x"),
        ("HTTP://B:81/x", "HTTP://B:81/x"),
        ("/ä b", "http://a/%C3%A4%20b"),
        ("mailto:x", "the URL \"mailto:x\" cannot be asked: it does not begin with http:// or https://"),
        ("ftp://a/", "the URL \"ftp://a/\" cannot be asked: only http and https are spoken"),
        ("http://", "the URL \"http://\" cannot be asked: it has no host"),
        ("//x:y@b/", "the URL \"http://x:y@b/\" cannot be asked: it holds credentials: send them in a header"),
    ] {
        check(location, expect);
    }
}

#[test]
fn methods_and_bodies_go_along_or_do_not() {
    let url = Url::parse("http://a/").unwrap();
    for (status, method, expect) in [
        (301, Method::GET, Some((Method::GET, true))),
        (301, Method::POST, Some((Method::GET, false))),
        (302, Method::POST, Some((Method::GET, false))),
        (302, Method::PUT, Some((Method::PUT, true))),
        (303, Method::PUT, Some((Method::GET, false))),
        (303, Method::HEAD, Some((Method::HEAD, false))),
        (307, Method::POST, Some((Method::POST, true))),
        (308, Method::DELETE, Some((Method::DELETE, true))),
        (300, Method::GET, None),
        (304, Method::GET, None),
        (200, Method::GET, None),
    ] {
        let step = next(StatusCode::from_u16(status).unwrap(), b"/x", &url, &method, false).unwrap();
        assert_eq!(step.map(|step| (step.method, step.has_body)), expect, "{status} {method}");
    }
}

#[test]
fn origins_are_told_apart() {
    let is_elsewhere = |from: &str, to: &str, may_bare| {
        let url = Url::parse(from).unwrap();
        let step = next(StatusCode::FOUND, to.as_bytes(), &url, &Method::GET, may_bare);
        step.map(|step| step.unwrap().is_elsewhere).map_err(|error| error.to_string())
    };
    assert_eq!(is_elsewhere("http://a/x", "http://A:80/y", false), Ok(false));
    assert_eq!(is_elsewhere("http://a/x", "http://a:81/y", false), Ok(true));
    assert_eq!(is_elsewhere("http://a/x", "https://a/y", false), Ok(true));
    assert_eq!(is_elsewhere("http://a/x", "//b", false), Ok(true));
    let bare = is_elsewhere("https://a/x", "http://a/y", false).unwrap_err();
    assert_eq!(bare, "the answer leads to \"http://a/y\", which is not asked: it leads from https to http");
    assert_eq!(is_elsewhere("https://a/x", "http://a/y", true), Ok(true));
}

#[test]
fn what_was_for_one_origin_stays_there() {
    let all = || {
        let mut headers = Headers::default();
        for name in [AUTHORIZATION, COOKIE, HOST, CONTENT_TYPE, http::header::ACCEPT] {
            headers.append(name, http::HeaderValue::from_static("x"));
        }
        (headers, Content::from("body"))
    };
    let kept = |has_body, is_elsewhere| {
        let (mut headers, mut content) = all();
        Step { url: String::new(), method: Method::GET, has_body, is_elsewhere }.strip(&mut headers, &mut content);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str().to_owned()).collect();
        (names.join(" "), content.length())
    };
    assert_eq!(kept(true, false), ("authorization cookie host content-type accept".into(), Some(4)));
    assert_eq!(kept(false, false), ("authorization cookie host accept".into(), Some(0)));
    assert_eq!(kept(true, true), ("content-type accept".into(), Some(4)));
    assert_eq!(kept(false, true), ("accept".into(), Some(0)));
}

/// A login for the proxy too: there, the next server may be reached without it.
#[test]
fn what_was_for_one_origin_does_not_go_to_another() {
    let lines = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST, CONTENT_TYPE];
    for (is_elsewhere, has_body, kept) in
        [(false, true, &lines[..]), (false, false, &lines[..4]), (true, true, &lines[4..]), (true, false, &[])]
    {
        let mut headers = Headers::default();
        lines.iter().for_each(|name| headers.append(name.clone(), HeaderValue::from_static("x")));
        let step = Step { method: Method::GET, has_body, is_elsewhere, url: String::new() };
        step.strip(&mut headers, &mut Content::Empty);
        assert!(headers.iter().map(|(name, _)| name).eq(kept), "{is_elsewhere} {has_body}: {headers:?}");
    }
}
