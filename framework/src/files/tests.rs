//! Files of a simulated machine: what a path leads to, what an answer says, and that faults of disk and network never make
//! a wrong answer of it.

use http::Method;

use super::*;
use crate::App;
use crate::test::{self, Plan, Server};

/// Serves `/www` with a few files in it, and one outside.
fn server(builder: test::Builder) -> Server {
    let server = builder.start(|_| {
        let site = Files::new("/www").index("index.html");
        App::new()
            .get("/files/{*path}", Files::new("/www"))
            .any("/any/{*path}", Files::new("/www"))
            .get("/missing/{*path}", Files::new("/nowhere"))
            .get("/site/", site.clone())
            .get("/site/{*path}", site)
    });
    server.write_file("/www/a.txt", "0123456789");
    server.write_file("/www/empty", "");
    server.write_file("/www/a b/\u{e9}.html", "accent");
    server.write_file("/www/docs/index.html", "docs");
    server.write_file("/www/index.html", "home");
    server.write_file("/www/large", pattern(LARGE));
    server.write_file("/secret", "secret");
    server
}

/// Several pieces, and a part of one.
const LARGE: usize = 300_001;

fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

/// Asks for a path, and for a content type or a location if there is one.
#[track_caller]
fn check(server: &Server, path: &str, status: u16, expect: &str) {
    let response = server.get(path);
    let told = match status {
        301 => response.header("location"),
        404 => expect,
        _ => response.header("content-type"),
    };
    assert_eq!((response.status().as_u16(), told), (status, expect), "{path}");
}

#[test]
fn a_path_leads_to_a_file_beneath_the_root_or_nowhere() {
    let server = server(test::builder());
    for (path, content_type) in [
        ("/files/a.txt", "text/plain; charset=utf-8"),
        ("/files/empty", "application/octet-stream"),
        ("/files/a%20b/%C3%A9.html", "text/html; charset=utf-8"),
        ("/files/%61.txt?query=1", "text/plain; charset=utf-8"),
        ("/site/", "text/html; charset=utf-8"),
        ("/site/docs/", "text/html; charset=utf-8"),
    ] {
        check(&server, path, 200, content_type);
    }
    for path in [
        "/files/none",
        "/files/docs",
        "/files/docs/",
        "/files/../secret",
        "/files/..%2fsecret",
        "/files/%2e%2e/secret",
        "/files/%2e%2e%2fsecret",
        "/files/docs/../../secret",
        "/files/docs/%2e%2e/a.txt",
        "/files//secret",
        "/files/%2fsecret",
        "/files/%2Fsecret",
        "/files/./a.txt",
        "/files/docs//index.html",
        "/files/a.txt/",
        "/files/a.txt/more",
        "/files/a.txt%00",
        "/files/..%5csecret",
        "/files/%5c..%5c..%5csecret",
        "/files/%ff",
        "/files/%zz",
    ] {
        check(&server, path, 404, "");
    }
    check(&server, "/site/docs", 301, "./docs/");
    check(&server, "/site/docs?a=b", 301, "./docs/?a=b");
    check(&server, "/site/a%20b", 301, "./a%20b/");
    check(&server, "/site/a%20b/", 404, "");
    check(&server, "/missing/a.txt", 500, "text/plain; charset=utf-8");
}

#[test]
fn an_answer_bears_validators_and_head_says_what_get_would() {
    let server = server(test::builder());
    let whole = server.get("/files/a.txt").expect(200);
    assert_eq!(whole.text(), "0123456789");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let (tag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    assert!(tag.starts_with('"') && tag.ends_with('"') && modified.ends_with(" GMT"), "{tag} {modified}");
    for path in ["/files/a.txt", "/files/large", "/files/empty"] {
        let get = server.get(path);
        let head = server.send(test::Request::new(Method::HEAD, path).header("range", "bytes=0-1")).expect(200);
        let told = |response: &test::Response| {
            ["content-type", "content-length", "etag", "last-modified", "accept-ranges"]
                .map(|name| response.header(name).to_owned())
        };
        assert_eq!((told(&head), head.bytes()), (told(&get), &b""[..]), "{path}");
    }
    let ask = |name: &str, value: &str| server.send(test::Request::get("/files/a.txt").header(name, value));
    let fresh = ask("if-none-match", &format!("W/{tag}")).expect(304);
    assert_eq!((fresh.header("etag"), fresh.bytes()), (&*tag, &b""[..]));
    ask("if-modified-since", &modified).expect(304);
    ask("if-match", "\"other\"").expect(412);
    ask("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT").expect(412);
    server.write_file("/www/a.txt", "changed in size");
    assert_eq!(ask("if-none-match", &tag).expect(200).text(), "changed in size");
    for method in [Method::POST, Method::DELETE] {
        let refused = server.send(test::Request::new(method, "/any/a.txt")).expect(405);
        assert_eq!(refused.header("allow"), "GET, HEAD");
    }
}

#[test]
fn ranges_are_cut_where_they_say() {
    let server = server(test::builder());
    let ask = |range: &str| server.send(test::Request::get("/files/a.txt").header("range", range));
    for (range, content_range, expect) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=3-", "bytes 3-9/10", "3456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
    ] {
        let part = ask(range).expect(206);
        assert_eq!((part.header("content-range"), part.text()), (content_range, expect), "{range}");
    }
    let refused = ask("bytes=10-").expect(416);
    assert_eq!(refused.header("content-range"), "bytes */10");
    assert_eq!(ask("bytes=0-5,2-9").expect(200).text(), "0123456789");

    let parts = ask("bytes=0-1, -2").expect(206);
    let boundary = parts.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let part = |range: &str| {
        format!("--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n")
    };
    let expect = format!("{}01\r\n{}89\r\n--{boundary}--\r\n", part("0-1"), part("8-9"));
    assert_eq!(parts.text(), expect);
    assert_eq!(parts.header("content-length"), expect.len().to_string());
}

/// Whatever a healthy machine may do: cut reads and sends anywhere, answer late and in another order.
#[test]
fn every_byte_arrives_whatever_the_reads() {
    for seed in test::seeds(20) {
        let plan = if seed % 2 == 0 { Plan::CHOPPY } else { Plan::LATE };
        let server = server(test::builder().seed(seed).plan(plan));
        let large = pattern(LARGE);
        let ranges = ["bytes=0-", "bytes=65535-65536", "bytes=-70000", "bytes=1-131072", "bytes=299999-"];
        let request = |range: &str| test::Request::get("/files/large").header("range", range);
        let starts = [(0, LARGE), (65_535, 65_537), (LARGE - 70_000, LARGE), (1, 131_073), (299_999, LARGE)];
        for (response, (start, end)) in server.all(ranges.map(request)).into_iter().zip(starts) {
            assert!(response.expect(206).bytes() == &large[start..end], "seed {seed}: {start}..{end}");
        }
        let several = server.send(request("bytes=0-99999,200000-299999")).expect(206);
        let at = |needle: &[u8]| several.bytes().windows(1000).any(|window| window == needle);
        assert!(at(&large[99_000..100_000]) && at(&large[200_000..201_000]), "seed {seed}");
    }
}

/// A disk that fails and descriptors that run out: an answer is right, refused, or cut short of what it announced.
#[test]
fn faults_make_no_wrong_answer() {
    for seed in test::seeds(40) {
        let plan = Plan { disk_errors: 0.05, scarce_descriptors: 0.02, ..Plan::CHOPPY };
        let server = server(test::builder().seed(seed).plan(plan));
        let large = pattern(LARGE);
        for _ in 0..10 {
            let Ok(response) = server.try_send("/files/large") else { continue };
            match response.status().as_u16() {
                200 => assert!(response.bytes() == large, "seed {seed}"),
                status => assert!(matches!(status, 500 | 503), "seed {seed}: {status}"),
            }
        }
    }
}

#[test]
fn tags_differ_with_size_time_and_file() {
    let stat = |bytes, seconds, inode| {
        let modified = UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        tag_of(&Stat { bytes, is_file: true, is_directory: false, modified, inode })
    };
    assert_eq!(stat(255, 1, 16), "\"ff-3b9aca00-10\"");
    assert!(stat(1, 1, 2) != stat(1, 2, 1) && stat(1, 1, 1) != stat(2, 1, 1));
}

#[test]
fn types_follow_the_end_of_a_name() {
    for (path, expect) in [
        ("a/page.HTML", "text/html; charset=utf-8"),
        ("archive.tar.gz", "application/gzip"),
        ("dir.css/file", "application/octet-stream"),
        ("noext", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
    ] {
        assert_eq!(types::of(path), expect, "{path}");
    }
}
