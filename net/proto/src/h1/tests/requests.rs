//! Requests: what is accepted, and what is refused with which status.

use std::cell::RefCell;

use super::*;
use crate::head::Known;

/// `(clause, input, what happens)`. `{G}` stands for a request line and a host.
type Table = &'static [(&'static str, &'static str, &'static str)];

#[track_caller]
fn check_all(table: Table) {
    for (clause, input, expect) in table {
        let input =
            input.replace("{G}", "GET / HTTP/1.1\r\nHost: a\r\n").replace("{P}", "POST / HTTP/1.1\r\nHost: a\r\n");
        let input = input.replace("{C}", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        check(clause, input.as_bytes(), &Limits::default(), expect);
    }
}

#[test]
fn request_lines() {
    check_all(&[
        ("9112 2.1", "", "."),
        ("9112 2.1", "{G}\r\n", "GET a /; end ."),
        ("9112 3", "GET /p/q?r=s HTTP/1.1\r\nHost: a\r\n\r\n", "GET a /p/q?r=s; end ."),
        ("9112 3", "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", "PATCH a /; end ."),
        ("9110 9.1: any token", "M-SEARCH! / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH! a /; end ."),
        ("9110 9.1: case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "get a /; end ."),
        ("9112 2.2: empty lines", "\r\n{G}\r\n", "GET a /; end ."),
        ("9112 2.2: empty lines", "\r\n\r\n\r\n\r\n{G}\r\n", "GET a /; end ."),
        ("9112 2.2: empty lines", "\r\n\r\n", "."),
        ("9112 2.2: bound", "\r\n\r\n\r\n\r\n\r\n{G}\r\n", "400 EmptyLines"),
        ("9112 2.2: bare LF first", "\n{G}\r\n", "400 BareLf"),
        ("9112 2.2: bare CR first", "\rGET / HTTP/1.1\r\n", "400 BareCr"),
        ("9112 2.2: white space first", " GET / HTTP/1.1\r\n", "400 Method"),
        ("9112 2.2: white space first", "\tGET / HTTP/1.1\r\n", "400 Method"),
        ("9112 2.2", "\0", "400 Method"),
        ("TLS on a cleartext port", "\x16\x03\x01\x02\0\x01\0\x01", "400 Method"),
        ("9112 2.2: bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", "400 BareLf"),
        ("9112 2.2: bare LF", "GET /\nHost: a\r\n\r\n", "400 BareLf"),
        ("9112 2.2: bare LF", "GET\n", "400 BareLf"),
        ("9112 2.2: bare LF", "GET / HTTP\nabcdefgh\r\n", "400 BareLf"),
        ("9112 2.2: bare CR", "GET / HTTP/1.1\rX\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "GET /\rHTTP/1.1\r\nHost: a\r\n\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "400 BareCr"),
        ("9112 3: two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("9112 3: two spaces", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 3: trailing space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 3: tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("9112 3: tab", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("9112 3: vertical tab", "GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("9112 3: no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 3: only a method", "GET\r\n\r\n", "400 Method"),
        ("9112 3: HTTP/0.9", "GET /\r\n", "400 Version"),
        ("9112 3: method is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("9112 3: method is no token", "GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("9112 3: method is no token", "GET: / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        (
            "9112 3: long method",
            "ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\nHost: a\r\n\r\n",
            "ABCDEFGHIJKLMNOPQRSTUVWX a /; end .",
        ),
        ("9112 3: long method", "ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\nHost: a\r\n\r\n", "501 MethodTooLong"),
        ("9112 2.3: case", "GET / http/1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / HTTP/1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / HTTP/+1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / XTTP/1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("9112 2.3", "GET / HTTP/1.x\r\nHost: a\r\n\r\n", "400 Version"),
        ("9110 2.5: higher minor", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET a /; end ."),
        ("9110 15.6.6", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 VersionNotSupported"),
        ("9110 15.6.6", "GET / HTTP/0.9\r\n\r\n", "505 VersionNotSupported"),
        ("9110 15.6.6", "GET / HTTP/3.0\r\n\r\n", "505 VersionNotSupported"),
        ("9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2"),
        ("9113 3.4: not first", "{G}\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET a /; end 505 VersionNotSupported"),
        ("9113 3.4: not quite", "PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 VersionNotSupported"),
        ("9112 8: cut short", "GET / HT", "…"),
        ("9112 8: cut short", "GET / HTTP/1.1\r\nHost: a\r\n\r", "…"),
        ("9112 8: cut short", "G\x01", "…"),
    ]);
}

#[test]
fn request_targets() {
    check_all(&[
        ("9112 3.2.1", "GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "GET a /?; end ."),
        ("9112 3.2.1", "GET /a?b?c/d HTTP/1.1\r\nHost: a\r\n\r\n", "GET a /a?b?c/d; end ."),
        ("9112 3.2.1", "GET //a/../b;c=d HTTP/1.1\r\nHost: a\r\n\r\n", "GET a //a/../b;c=d; end ."),
        ("3986 3.3", "GET /%41%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET a /%41%zz; end ."),
        ("browsers", "GET /a|b?c[d]={e}|^` HTTP/1.1\r\nHost: a\r\n\r\n", "GET a /a|b?c[d]={e}|^`; end ."),
        ("9112 3.2: fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("9112 3.2: fragment", "GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: control", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: NUL", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: DEL", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: not ASCII", "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: not ASCII", "GET /?ü HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: quote", "GET /\" HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("3986 2: angle", "GET /<> HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        ("9112 3.2.2", "GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n", "GET b /c?d; end ."),
        ("9112 3.2.2", "GET HTTP://b:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET b:80 /; end ."),
        ("9112 3.2.2", "GET https://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET b /; end ."),
        ("9112 3.2.2", "GET http://b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET b /?c; end ."),
        ("9112 3.2.2", "GET http://[::1]:8/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET [::1]:8 /; end ."),
        ("9110 4.2.1: no host", "GET http:///c HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9110 4.2.1: no host", "GET http://:80/c HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9110 4.2.4: user", "GET http://u:p@b/c HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("3986 3.2.3", "GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("3986 3.2.3", "GET http://b:65536/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("3986 3.2.2", "GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("3986 3.2.2", "GET http://[::g]/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9112 3.2.2: scheme", "GET ftp://b/c HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.2: no Host", "GET http://b/ HTTP/1.1\r\n\r\n", "400 HostMissing"),
        ("9112 3.2: no form", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2: no form", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.3", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT b:443 ; end tunnel"),
        ("9112 3.2.3: port", "CONNECT b HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9112 3.2.3: port", "CONNECT b: HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9110 9.3.6: port", "CONNECT b:0 HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9110 9.3.6: port", "CONNECT b:00 HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9110 9.3.6: port", "CONNECT b:080 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT b:080 ; end tunnel"),
        ("9112 3.2.3: host", "CONNECT :443 HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("9112 3.2.3: form", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.3: form", "CONNECT http://b:443/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.3: form", "CONNECT b:443/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.3: form", "CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.3: only CONNECT", "GET b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS a *; end ."),
        ("9112 3.2.4", "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS b *; end ."),
        ("9112 3.2.4", "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS a /; end ."),
        ("9112 3.2.4: only OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.4: alone", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("9112 3.2.4: alone", "OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
    ]);
}

#[test]
fn hosts() {
    check_all(&[
        ("9112 3.2", "GET / HTTP/1.1\r\n\r\n", "400 HostMissing"),
        ("9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 HostRepeated"),
        ("9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", "400 HostRepeated"),
        ("9112 3.2", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 HostRepeated"),
        ("9112 3.2", "GET / HTTP/1.0\r\n\r\n", "GET  / 1.0 close; end closed"),
        ("9110 7.2: empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET  /; end ."),
        ("9110 7.2", "GET / HTTP/1.1\r\nHost: example.com:8080\r\n\r\n", "GET example.com:8080 /; end ."),
        ("9110 7.2", "GET / HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n", "GET 127.0.0.1: /; end ."),
        ("9110 7.2", "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:80\r\n\r\n", "GET [::ffff:1.2.3.4]:80 /; end ."),
        ("9110 7.2", "GET / HTTP/1.1\r\nHost: a_b%20~c!$&'()*+,;=\r\n\r\n", "GET a_b%20~c!$&\\'()*+,;= /; end ."),
        ("9110 7.2: no host", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "400 Host"),
        ("9110 7.2: port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400 Host"),
        ("9110 7.2: port", "GET / HTTP/1.1\r\nHost: a:80:90\r\n\r\n", "400 Host"),
        ("9110 7.2: port", "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", "400 Host"),
        ("9110 7.2: port", "GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", "400 Host"),
        ("9110 7.2: space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Host"),
        ("9110 7.2: user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 Host"),
        ("9110 7.2: path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 Host"),
        ("9110 7.2: scheme", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "400 Host"),
        ("9110 7.2: percent", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", "400 Host"),
        ("9110 7.2: bracket", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", "400 Host"),
        ("9110 7.2: bracket", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", "400 Host"),
        ("9110 7.2: not ASCII", "GET / HTTP/1.1\r\nHost: ü\r\n\r\n", "400 Host"),
    ]);
}

#[test]
fn fields() {
    check_all(&[
        ("9112 5", "{G}x: y\r\n\r\n", "GET a / x=y; end ."),
        ("9112 5: OWS", "{G}x:y\r\n\r\n", "GET a / x=y; end ."),
        ("9112 5: OWS", "{G}x: \t y z\t \r\n\r\n", "GET a / x=y z; end ."),
        ("9112 5: empty", "{G}x:\r\nx: \t\r\n\r\n", "GET a / x= x=; end ."),
        ("9110 5.5: tab", "{G}x: a\tb\r\n\r\n", "GET a / x=a\\tb; end ."),
        ("9110 5.5: obs-text", "{G}x: ü, a longer value\r\n\r\n", "GET a / x=\\xc3\\xbc, a longer value; end ."),
        ("9110 5.1", "{G}x!#$%&'*+-.^_`|~1: y\r\n\r\n", "GET a / x!#$%&\\'*+-.^_`|~1=y; end ."),
        ("9112 5: order", "{G}x: 1\r\nx-b: 2\r\nx: 3\r\n\r\n", "GET a / x=1 x-b=2 x=3; end ."),
        ("9112 5.1: space before colon", "{G}x : y\r\n\r\n", "400 FieldColon"),
        ("9112 5.1: tab before colon", "{G}x\t: y\r\n\r\n", "400 FieldColon"),
        ("9112 5.1: space in name", "{G}x y: z\r\n\r\n", "400 FieldColon"),
        ("9112 5.1: no colon", "{G}x\r\n\r\n", "400 FieldColon"),
        ("9112 5.1: no name", "{G}: y\r\n\r\n", "400 FieldName"),
        ("9110 5.1: name", "{G}x(: y\r\n\r\n", "400 FieldName"),
        ("9110 5.1: name", "{G}x\0: y\r\n\r\n", "400 FieldName"),
        ("9110 5.1: name", "{G}xü: y\r\n\r\n", "400 FieldName"),
        ("9110 5.1: name", "{G}\"x\": y\r\n\r\n", "400 FieldName"),
        ("9112 5.2: folding", "{G}x: y\r\n z\r\n\r\n", "400 LineFolding"),
        ("9112 5.2: folding", "{G}x: y\r\n\tz\r\n\r\n", "400 LineFolding"),
        ("9112 2.2: white space line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 LineFolding"),
        ("9112 5.2: folding", "{G} \r\n\r\n", "400 LineFolding"),
        ("9110 5.5: NUL", "{G}x: a\0b\r\n\r\n", "400 FieldValue"),
        ("9110 5.5: control", "{G}x: a\x01b\r\n\r\n", "400 FieldValue"),
        ("9110 5.5: DEL", "{G}x: a\x7fb\r\n\r\n", "400 FieldValue"),
        ("9110 5.5: escape", "{G}x: a long enough value\x1b\r\n\r\n", "400 FieldValue"),
        ("9112 2.2: bare LF", "{G}x: y\n\r\n", "400 BareLf"),
        ("9112 2.2: bare LF", "{G}x: y\nContent-Length: 5\r\n\r\n", "400 BareLf"),
        ("9112 2.2: bare LF", "{G}x\n\r\n", "400 BareLf"),
        ("9112 2.2: bare LF", "{G}\n", "400 BareLf"),
        ("9112 2.2: bare CR", "{G}x: a\rb\r\n\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "{G}x\r: b\r\n\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "{G}x: a\r\r\n\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "{G}\rx: a\r\n\r\n", "400 BareCr"),
        ("9112 2.2: bare CR", "{G}\r\r\n\r\n", "400 BareCr"),
        ("first error in order", "{G}x : y\r\nz: a\nb: c\r\n\r\n", "400 FieldColon"),
    ]);
}

#[test]
fn connections() {
    check_all(&[
        ("9112 9.3", "{G}Connection: close\r\n\r\n", "GET a / close; end closed"),
        ("9112 9.3", "{G}Connection: x, CLOSE\r\n\r\n", "GET a / close; end closed"),
        ("9112 9.3", "{G}Connection: x\r\nConnection: close\r\n\r\n", "GET a / close; end closed"),
        ("9112 9.3", "{G}Connection: closed\r\n\r\n", "GET a /; end ."),
        ("9112 9.3", "{G}Connection: keep-alive\r\n\r\n", "GET a /; end ."),
        ("9112 9.3", "{G}Connection: keep-alive, close\r\n\r\n", "GET a / close; end closed"),
        ("9112 9.3", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET  / 1.0; end ."),
        ("9112 9.3", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET  / 1.0 close; end closed"),
        ("9112 9.6", "{G}Connection: close\r\n\r\n{G}\r\n", "GET a / close; end closed"),
        ("9112 9.3.2", "{G}\r\n{G}x: 1\r\n\r\n{G}\r\n", "GET a /; end GET a / x=1; end GET a /; end ."),
        ("9112 9.3.2", "{P}Content-Length: 2\r\n\r\nhi{G}\r\n", "POST a / length=2; 'hi' end GET a /; end ."),
        ("9112 9.3.2", "{C}2\r\nhi\r\n0\r\n\r\n{G}\r\n", "POST a / Chunked; 'hi' end GET a /; end ."),
        ("9112 9.3.2", "{G}\r\nx\r\n\r\n", "GET a /; end 400 Method"),
        ("9112 2.2", "{P}Content-Length: 2\r\n\r\nhi\r\n{G}\r\n", "POST a / length=2; 'hi' end GET a /; end ."),
        ("9110 7.8", "{G}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET a / upgrade; end ."),
        ("9110 7.8: not named", "{G}Upgrade: websocket\r\n\r\n", "GET a /; end ."),
        ("9110 7.8: nothing", "{G}Connection: upgrade\r\n\r\n", "GET a /; end ."),
        (
            "9110 7.8: 1.0",
            "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "GET  / 1.0 close; end closed",
        ),
    ]);
}

#[test]
fn expectations() {
    check_all(&[
        ("9110 10.1.1", "{P}Expect: 100-continue\r\nContent-Length: 1\r\n\r\na", "POST a / length=1 expect; 'a' end ."),
        (
            "9110 10.1.1: case",
            "{P}Expect: 100-Continue\r\nContent-Length: 1\r\n\r\na",
            "POST a / length=1 expect; 'a' end .",
        ),
        ("9110 10.1.1: no content", "{P}Expect: 100-continue\r\n\r\n", "POST a /; end ."),
        (
            "9110 10.1.1: 1.0",
            "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
            "POST  / 1.0 length=1 close; 'a' end closed",
        ),
        ("9110 10.1.1: 1.0", "POST / HTTP/1.0\r\nExpect: magic\r\n\r\n", "POST  / 1.0 close; end closed"),
        ("9110 15.5.18", "{P}Expect: magic\r\n\r\n", "417 Expectation"),
        ("9110 15.5.18", "{P}Expect: 100-continue, magic\r\n\r\n", "417 Expectation"),
        ("9110 15.5.18", "{P}Expect: magic\r\nExpect: 100-continue\r\n\r\n", "417 Expectation"),
    ]);
}

#[test]
fn lengths() {
    check_all(&[
        ("9112 6.2", "{P}Content-Length: 3\r\n\r\nabc", "POST a / length=3; 'abc' end ."),
        ("9112 6.2", "{P}Content-Length: 0\r\n\r\n", "POST a /; end ."),
        ("9112 6.2: leading zeros", "{P}Content-Length: 003\r\n\r\nabc", "POST a / length=3; 'abc' end ."),
        ("9112 6.2: on GET", "{G}Content-Length: 3\r\n\r\nabc", "GET a / length=3; 'abc' end ."),
        ("9112 6.3: none", "{P}\r\n", "POST a /; end ."),
        ("9112 8: short", "{P}Content-Length: 4\r\n\r\nabc", "POST a / length=4; 'abc' …"),
        (
            "9110 8.6: largest",
            "{P}Content-Length: 18446744073709551615\r\n\r\n",
            "POST a / length=18446744073709551615; …",
        ),
        ("9110 8.6: overflow", "{P}Content-Length: 18446744073709551616\r\n\r\n", "400 LengthMalformed"),
        ("9110 8.6: overflow", "{P}Content-Length: 99999999999999999999999\r\n\r\n", "400 LengthMalformed"),
        ("9110 8.6: sign", "{P}Content-Length: +3\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: sign", "{P}Content-Length: -3\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: hex", "{P}Content-Length: 0x3\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: hex", "{P}Content-Length: a\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: space", "{P}Content-Length: 1 2\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: fraction", "{P}Content-Length: 3.0\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: underscore", "{P}Content-Length: 1_0\r\n\r\nabc", "400 LengthMalformed"),
        ("9110 8.6: empty", "{P}Content-Length:\r\n\r\n", "400 LengthMalformed"),
        ("9110 8.6: other digits", "{P}Content-Length: ٣\r\n\r\nabc", "400 LengthMalformed"),
        ("9112 6.3: differing", "{P}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400 LengthRepeated"),
        ("9112 6.3: repeated", "{P}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400 LengthRepeated"),
        ("9112 6.3: list", "{P}Content-Length: 3, 3\r\n\r\nabc", "400 LengthRepeated"),
        ("9112 6.3: list", "{P}Content-Length: 3,\r\n\r\nabc", "400 LengthRepeated"),
        ("9112 6.1: with coding", "{P}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400 LengthWithCoding"),
        ("9112 6.1: with coding", "{P}Transfer-Encoding: x\r\nContent-Length: 0\r\n\r\n", "400 LengthWithCoding"),
        ("9112 6.1: with empty coding", "{P}Transfer-Encoding:\r\nContent-Length: 3\r\n\r\n", "400 LengthWithCoding"),
    ]);
}

#[test]
fn codings() {
    check_all(&[
        ("9112 7", "{P}Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "POST a / Chunked; end ."),
        ("9112 6.1: 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 CodingInOldVersion"),
        ("9112 6.1", "{P}Transfer-Encoding: gzip, chunked\r\n\r\n", "501 CodingUnknown"),
        ("9112 6.1", "{P}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", "501 CodingUnknown"),
        ("9112 6.1", "{P}Transfer-Encoding: identity, chunked\r\n\r\n", "501 CodingUnknown"),
        ("9112 6.3: not last", "{P}Transfer-Encoding: chunked, gzip\r\n\r\n", "400 CodingNotChunked"),
        (
            "9112 6.3: not last",
            "{P}Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
            "400 CodingNotChunked",
        ),
        ("9112 6.3: absent", "{P}Transfer-Encoding: gzip\r\n\r\n", "400 CodingNotChunked"),
        ("9112 6.3: absent", "{P}Transfer-Encoding: identity\r\n\r\n", "400 CodingNotChunked"),
        ("9112 6.1: repeated", "{P}Transfer-Encoding: chunked, chunked\r\n\r\n", "400 CodingNotChunked"),
        (
            "9112 6.1: repeated",
            "{P}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400 CodingNotChunked",
        ),
        ("9112 6.1: repeated", "{P}Transfer-Encoding: chunked, gzip, chunked\r\n\r\n", "400 CodingNotChunked"),
        ("9112 7: parameter", "{P}Transfer-Encoding: chunked;a=b\r\n\r\n", "400 CodingNotChunked"),
        ("smuggling", "{P}Transfer-Encoding: xchunked\r\n\r\n", "400 CodingNotChunked"),
        ("smuggling", "{P}Transfer-Encoding: \"chunked\"\r\n\r\n", "400 CodingNotChunked"),
        ("smuggling", "{P}Transfer-Encoding: chunked \x0b\r\n\r\n", "400 FieldValue"),
        ("smuggling", "{P}Transfer-Encoding:\r\n\r\n", "400 CodingNotChunked"),
        ("smuggling", "{P}Transfer-Encoding: , chunked\r\n\r\n", "400 CodingNotChunked"),
        ("smuggling", "{P}Transfer-Encoding: chunked,\r\n\r\n", "400 CodingNotChunked"),
        ("smuggling", "{P}Transfer-Encoding : chunked\r\n\r\n", "400 FieldColon"),
        ("smuggling", "{P}Transfer-Encoding:\r\n chunked\r\n\r\n", "400 LineFolding"),
    ]);
}

#[test]
fn chunks() {
    check_all(&[
        ("9112 7.1", "{C}3\r\nabc\r\n0\r\n\r\n", "POST a / Chunked; 'abc' end ."),
        ("9112 7.1", "{C}1\r\na\r\nB\r\nbcdefghijkl\r\n000\r\n\r\n", "POST a / Chunked; 'abcdefghijkl' end ."),
        ("9112 7.1: zeros", "{C}0000000000000001\r\na\r\n0\r\n\r\n", "POST a / Chunked; 'a' end ."),
        ("9112 7.1: CRLF in data", "{C}4\r\n\r\n\r\n\r\n0\r\n\r\n", "POST a / Chunked; '\\r\\n\\r\\n' end ."),
        ("9112 8: short", "{C}3\r\nab", "POST a / Chunked; 'ab' …"),
        ("9112 8: short", "{C}3\r\nabc\r\n0\r\n", "POST a / Chunked; 'abc' …"),
        ("9112 8: short", "{C}3\r\nabc\r\n0\r\n\r", "POST a / Chunked; 'abc' …"),
        ("9112 7.1: largest", "{C}ffffffffffffffff\r\nab", "POST a / Chunked; 'ab' …"),
        ("9112 7.1: overflow", "{C}10000000000000000\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: overflow", "{C}00000000000000001\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: no size", "{C}\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: no size", "{C};a\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: sign", "{C}+1\r\na\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: sign", "{C}-1\r\na\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: prefix", "{C}0x1\r\na\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: space first", "{C} 1\r\na\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: space last", "{C}1 \r\na\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1: underscore", "{C}1_0\r\na\r\n", "POST a / Chunked; 400 ChunkSize"),
        ("9112 7.1: no CRLF after data", "{C}1\r\nab\r\n0\r\n\r\n", "POST a / Chunked; 'a' 400 ChunkEnd"),
        ("9112 7.1: no CRLF after data", "{C}1\r\na0\r\n\r\n", "POST a / Chunked; 'a' 400 ChunkEnd"),
        ("9112 2.2: bare LF", "{C}1\na\r\n0\r\n\r\n", "POST a / Chunked; 400 BareLf"),
        ("9112 2.2: bare LF", "{C}1\r\na\n0\r\n\r\n", "POST a / Chunked; 'a' 400 BareLf"),
        ("9112 2.2: bare LF", "{C}0\n\r\n", "POST a / Chunked; 400 BareLf"),
        ("9112 2.2: bare LF", "{C}0\r\n\n", "POST a / Chunked; 400 BareLf"),
        ("9112 2.2: bare CR", "{C}1\ra\r\n0\r\n\r\n", "POST a / Chunked; 400 BareCr"),
        ("9112 2.2: bare CR", "{C}1\r\na\r0\r\n\r\n", "POST a / Chunked; 'a' 400 BareCr"),
        ("9112 2.2: bare CR", "{C}0\r\n\rX", "POST a / Chunked; 400 BareCr"),
        ("9112 7.1.1", "{C}1;a\r\nx\r\n0;b\r\n\r\n", "POST a / Chunked; 'x' end ."),
        ("9112 7.1.1", "{C}1;a=b;c=d;e\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 'x' end ."),
        ("9112 7.1.1", "{C}1;a=\"b;\\\"c\td\"\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 'x' end ."),
        ("9112 7.1.1: BWS", "{C}1 ; a = b ; c = \"d\" ;e\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 'x' end ."),
        ("9112 7.1.1: no name", "{C}1;\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: no name", "{C}1;=b\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: no value", "{C}1;a=\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: two words", "{C}1;a b\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: control", "{C}1;a\x01\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: control", "{C}1;a=\"\0\"\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: unclosed", "{C}1;a=\"b\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 7.1.1: after quote", "{C}1;a=\"b\"c\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 ChunkExtension"),
        ("9112 2.2: LF in extension", "{C}1;a\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 BareLf"),
        ("9112 2.2: LF in quotes", "{C}1;a=\"\n\"\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 BareLf"),
        ("9112 2.2: CR in extension", "{C}1;a\rb\r\nx\r\n0\r\n\r\n", "POST a / Chunked; 400 BareCr"),
    ]);
}

#[test]
fn trailers() {
    check_all(&[
        ("9112 7.1.2", "{C}0\r\nx: y\r\n\r\n", "POST a / Chunked; +x=y end ."),
        (
            "9112 7.1.2",
            "{C}1\r\na\r\n0\r\nx: 1\r\nETag: \"2\"\r\n\r\n",
            "POST a / Chunked; 'a' +x=1 +ETag=\\\"2\\\" end .",
        ),
        ("9112 7.1.2", "{C}0\r\nx: y\r\n\r\n{G}\r\n", "POST a / Chunked; +x=y end GET a /; end ."),
        ("9112 8: short", "{C}0\r\nx: y\r\n\r", "POST a / Chunked; …"),
        ("9110 6.5.1: framing", "{C}0\r\nContent-Length: 1\r\n\r\n", "POST a / Chunked; 400 TrailerField"),
        ("9110 6.5.1: framing", "{C}0\r\ntransfer-encoding: chunked\r\n\r\n", "POST a / Chunked; 400 TrailerField"),
        ("9110 6.5.1: routing", "{C}0\r\nHost: b\r\n\r\n", "POST a / Chunked; 400 TrailerField"),
        ("9110 6.5.1: modifier", "{C}0\r\nIf-Match: *\r\n\r\n", "POST a / Chunked; 400 TrailerField"),
        (
            "9110 6.5.1: authentication",
            "{C}0\r\nx: y\r\nAuthorization: z\r\n\r\n",
            "POST a / Chunked; 400 TrailerField",
        ),
        ("9110 6.5.1: content", "{C}0\r\nContent-Type: z\r\n\r\n", "POST a / Chunked; 400 TrailerField"),
        ("9110 6.5.1: connection", "{C}0\r\nConnection: close\r\n\r\n", "POST a / Chunked; 400 TrailerField"),
        ("9112 5.1", "{C}0\r\nx : y\r\n\r\n", "POST a / Chunked; 400 FieldColon"),
        ("9112 5.2", "{C}0\r\nx: y\r\n z\r\n\r\n", "POST a / Chunked; 400 LineFolding"),
        ("9112 2.2", "{C}0\r\nx: y\n\r\n", "POST a / Chunked; 400 BareLf"),
        ("9112 2.2", "{C}0\r\nx: a\rb\r\n\r\n", "POST a / Chunked; 400 BareCr"),
        ("9110 5.5", "{C}0\r\nx: \0\r\n\r\n", "POST a / Chunked; 400 FieldValue"),
    ]);
}

/// Exactly at each bound, and one beyond.
#[test]
fn bounds() {
    let limits = Limits {
        head_bytes_max: 120,
        target_bytes_max: 30,
        method_bytes_max: 7,
        field_count_max: 3,
        empty_line_count_max: 1,
        chunk_extension_bytes_max: 10,
        trailer_bytes_max: 30,
        trailer_count_max: 2,
        ..Limits::default()
    };
    let check = |clause: &str, input: String, expect: &str| check(clause, input.as_bytes(), &limits, expect);
    let host = "Host: a\r\n";
    let target = |count: usize| format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(count - 1));
    check("9112 3: target", target(30), &format!("GET a /{}; end .", "a".repeat(29)));
    check("9112 3: target", target(31), "414 TargetTooLong");
    check("9112 3: target", target(90), "414 TargetTooLong");
    check("9112 3: target without end", format!("GET /{}", "a".repeat(100)), "414 TargetTooLong");
    check("9112 3: method", format!("{} / HTTP/1.1\r\n{host}\r\n", "A".repeat(7)), "AAAAAAA a /; end .");
    check("9112 3: method", format!("{} / HTTP/1.1\r\n{host}\r\n", "A".repeat(8)), "501 MethodTooLong");
    check("9112 3: method without end", "A".repeat(100), "501 MethodTooLong");
    let head = |count: usize| format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "a".repeat(count - 32));
    assert_eq!(head(120).len(), 120);
    check("6585 5: head", head(120), &format!("GET a / x={}; end .", "a".repeat(88)));
    check("6585 5: head", head(121), "431 HeadTooLong");
    check("6585 5: head without end", head(200).replace("\r\n\r\n", ""), "431 HeadTooLong");
    check("6585 5: count", format!("GET / HTTP/1.1\r\n{host}x: 1\r\nx: 2\r\n\r\n"), "GET a / x=1 x=2; end .");
    check("6585 5: count", format!("GET / HTTP/1.1\r\n{host}x: 1\r\nx: 2\r\nx: 3\r\n\r\n"), "431 TooManyFields");
    check("9112 2.2: empty lines", format!("\r\n\r\nGET / HTTP/1.1\r\n{host}\r\n"), "400 EmptyLines");
    let chunked = format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
    // The semicolon leads from the size to the extension; it is not counted itself.
    let extension = |count: usize| format!("{chunked}1;{}\r\na\r\n0\r\n\r\n", "b".repeat(count - 1));
    check("9112 7.1.1: extension", extension(10), "POST a / Chunked; 'a' end .");
    check("9112 7.1.1: extension", extension(11), "POST a / Chunked; 400 ChunkExtensionsTooLong");
    let spread = format!("{chunked}1;bbbb\r\na\r\n1;bbbb\r\na\r\n0;b\r\n\r\n");
    check("9112 7.1.1: over the body", spread, "POST a / Chunked; 'aa' 400 ChunkExtensionsTooLong");
    let trailer = |count: usize| format!("{chunked}0\r\nx: {}\r\n\r\n", "t".repeat(count - 7));
    check("9112 7.1.2: bytes", trailer(30), &format!("POST a / Chunked; +x={} end .", "t".repeat(23)));
    check("9112 7.1.2: bytes", trailer(31), "POST a / Chunked; 431 TrailersTooLong");
    check("9112 7.1.2: count", format!("{chunked}0\r\nx: 1\r\nx: 2\r\n\r\n"), "POST a / Chunked; +x=1 +x=2 end .");
    check(
        "9112 7.1.2: count",
        format!("{chunked}0\r\nx:1\r\nx:2\r\nx:3\r\n\r\n"),
        "POST a / Chunked; 431 TooManyTrailers",
    );
}

#[test]
fn the_largest_head_that_can_be_indexed() {
    let limits = Limits { head_bytes_max: u16::MAX, target_bytes_max: u16::MAX, ..Limits::default() };
    let fill = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "v".repeat(count - 32));
    let (mut server, mut table) = (Server::new(), HeadTable::new());
    let step = server.receive(fill(65_535).as_bytes(), &mut table, &limits).unwrap();
    assert_eq!(step.consumed, 65_535);
    assert_eq!(table.find(fill(65_535).as_bytes(), "X").map(<[u8]>::len), Some(65_503));
    assert_eq!(Server::new().receive(fill(65_536).as_bytes(), &mut table, &limits), Err(Error::HeadTooLong));
    let target = format!("GET /{}", "t".repeat(70_000));
    assert_eq!(Server::new().receive(target.as_bytes(), &mut table, &limits), Err(Error::HeadTooLong));
}

#[test]
fn an_idle_connection_keeps_no_bytes() {
    let (mut server, mut table, limits) = (Server::new(), HeadTable::new(), Limits::default());
    assert!(server.is_idle());
    assert_eq!(server.receive(b"\r\n", &mut table, &limits), Ok(Step { consumed: 2, event: Event::NeedMore }));
    assert!(server.is_idle());
    assert_eq!(server.receive(b"G", &mut table, &limits), Ok(Step { consumed: 0, event: Event::NeedMore }));
    assert!(!server.is_idle());
    server.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut table, &limits).unwrap();
    assert!(!server.is_idle() && server.is_request_ended());
    server.respond_whole(http::StatusCode::OK, NONE, Standing::default(), b"", &mut [0; 99]).unwrap();
    server.receive(b"", &mut table, &limits).unwrap();
    assert!(server.is_idle());
    assert_eq!(server.receive(b"", &mut table, &limits), Ok(Step { consumed: 0, event: Event::NeedMore }));
}

#[test]
fn the_table_knows_the_scheme() {
    let check = |target: &str, expect: Option<&str>| {
        let input = format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut server, mut table) = (Server::new(), HeadTable::new());
        server.receive(input.as_bytes(), &mut table, &Limits::default()).unwrap();
        assert_eq!(table.scheme(input.as_bytes()), expect.map(str::as_bytes), "{target}");
    };
    check("/http://b", None);
    check("*", None);
    check("http://b", Some("http"));
    check("HTTPS://b:1/c?d", Some("HTTPS"));
}

#[test]
fn the_table_answers_by_number_and_by_name() {
    use crate::head::Known;
    let input = b"GET /a?b HTTP/1.1\r\nHOST: h\r\nAccept: 1\r\nX-Own: 2\r\naccept: 3\r\nCookie: \r\n\r\n";
    let (mut server, mut table) = (Server::new(), HeadTable::new());
    let step = server.receive(input, &mut table, &Limits::default()).unwrap();
    let block = &input[..step.consumed];
    assert_eq!(table.target(block), b"/a?b");
    assert_eq!(table.get(block, Known::Host), Some(&b"h"[..]));
    assert_eq!(table.get(block, Known::Cookie), Some(&b""[..]));
    assert_eq!(table.get(block, Known::Range), None);
    assert_eq!(table.fields().all(block, Known::Accept).collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(table.find(block, "ACCEPT"), Some(&b"1"[..]));
    assert_eq!(table.find(block, "x-own"), Some(&b"2"[..]));
    assert_eq!(table.find(block, "x-other"), None);
    assert_eq!(table.iter(block).len(), 5);
    assert_eq!(table.iter(block).nth(2), Some((&b"X-Own"[..], &b"2"[..])));
    table.clear();
    assert!(table.fields().is_empty() && table.target(b"").is_empty());
}

/// Valid requests with a few bytes changed, left out or doubled: no panic, and one verdict whatever the cuts.
#[test]
fn damaged_requests_are_judged_the_same_however_cut() {
    let valid = "POST /a?b HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nx-y: z\r\n\r\n\
        5;a=\"b\"\r\nhello\r\n0\r\nx-t: u\r\n\r\nGET http://b/c HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi\
        OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n";
    let limits = Limits::default();
    for seed in 1..=5_000 {
        let mut random = Random(seed);
        let mut input = valid.as_bytes().to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(input.len());
            let byte = b"\r\n\0 \t:,;=\"/*?#%0a\x7f\xff"[random.below(19)];
            match random.below(4) {
                0 => input[at] = byte,
                1 => input.insert(at, byte),
                2 => drop(input.remove(at)),
                _ => input.truncate(at.max(8)),
            }
        }
        let whole = transcript(&input, &limits, |left| left);
        let bytewise = transcript(&input, &limits, |_| 1);
        assert_eq!(whole, bytewise, "seed {seed}: {}", input.escape_ascii());
        let cut = transcript(&input, &limits, |left| 1 + random.below(left.min(40)));
        assert_eq!(whole, cut, "seed {seed}: {}", input.escape_ascii());
    }
}

/// A body that has come with its head may be taken at once, if it says how long it is: the rest is the next request's.
#[test]
fn a_body_that_is_there_is_taken_at_once() {
    for (framing, body, behind, expect) in [
        ("Content-Length: 3", "abc", "", Some(3)),
        ("Content-Length: 3", "abc", "GET", Some(3)),
        ("Content-Length: 4", "abc", "", None),
        ("Content-Length: 3\r\nExpect: 100-continue", "abc", "", Some(3)),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "", None),
        ("Content-Length: 0", "", "GET", None),
        ("X: y", "", "GET", None),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}{behind}");
        let (mut server, mut table, limits) = (Server::new(), HeadTable::new(), Limits::default());
        assert_eq!(server.take_body(input.as_bytes()), None, "before its head");
        let step = server.receive(input.as_bytes(), &mut table, &limits).unwrap();
        assert!(matches!(step.event, Event::Head(_)));
        let rest = &input.as_bytes()[step.consumed..];
        assert_eq!(server.take_body(rest), expect, "{framing}");
        assert_eq!(server.take_body(rest), None, "{framing}, again");
        if let Some(count) = expect {
            assert!(server.is_request_ended() && server.keep_alive());
            assert_eq!(server.continue_line(), b"");
            assert_eq!(server.receive(&rest[count..], &mut table, &limits).unwrap().event, Event::NeedMore);
            let mut out = [0; 100];
            server.respond_whole(http::StatusCode::OK, NONE, Standing::default(), b"a", &mut out).unwrap();
            let next = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
            let step = server.receive(next, &mut table, &limits).unwrap();
            assert!(matches!(step.event, Event::Head(_)) && step.consumed == next.len());
        }
    }
}

/// A head that comes again is not parsed again, nor is a section behind another request line: what it means must be as if it
/// were, wherever it stands in its block, and whatever came in between. So must what its requests share, once it keeps coming.
#[test]
fn a_head_that_comes_again_means_the_same() {
    let sections: [&[u8]; 6] = [
        b"Host: here\r\nAccept: */*\r\n\r\n",
        b"Host: here\r\nAccept: */*\r\nCookie: a=b\r\n\r\n",
        b"Host: here\r\nContent-Length: 3\r\n\r\n",
        b"Host: there\r\nConnection: close\r\n\r\n",
        b"\r\n",
        b"Host: here\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    let lines: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\n",
        b"POST /a/longer/path?with=query HTTP/1.1\r\n",
        b"GET /x HTTP/1.0\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"PUT * HTTP/1.1\r\n",
    ];
    let lent = RefCell::new(Vec::new());
    let read = |table: &mut HeadTable, input: &[u8], cut: usize, limits: &Limits| {
        let mut server = Server::new();
        let first = server.receive(&input[..cut], table, limits).map(|step| step.event);
        if !matches!(first, Ok(Event::NeedMore)) {
            server = Server::new();
        }
        let step = server.receive(input, table, limits);
        let owned = |fields: &crate::head::Fields, end: usize| -> Vec<_> {
            fields.iter(&input[..end]).map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
        };
        step.map(|step| {
            let known: Vec<_> = table.fields().as_slice().iter().map(|field| field.known).collect();
            let line =
                (table.method().clone(), table.target(input).to_vec(), table.path(input).to_vec(), table.version());
            let mut out = [0; 100];
            let answer = server.respond_whole(http::StatusCode::OK, NONE, Standing::default(), b"a", &mut out);
            let state = (answer, out, server.keep_alive(), server.may_be_sending());
            let shared = table.shared().cloned().filter(|_| matches!(step.event, Event::Head(_)));
            if let Some(known) = &shared {
                assert_eq!(known.block(), &input[..step.consumed]);
                let (theirs, block) = (known.table(), known.block());
                assert_eq!(
                    (theirs.method(), theirs.target(block), theirs.path(block)),
                    (&line.0, &line.1[..], &line.2[..])
                );
                assert_eq!((theirs.version(), theirs.fields().as_slice()), (line.3, table.fields().as_slice()));
                assert_eq!(theirs.get(block, Known::Host), table.get(input, Known::Host));
            }
            lent.borrow_mut().extend(shared);
            (step.consumed, step.event, line, state, owned(table.fields(), step.consumed), known)
        })
    };
    let mut table = HeadTable::new();
    let mut times = 0;
    let limits = [
        Limits::default(),
        Limits { field_count_max: 2, ..Limits::default() },
        Limits { target_bytes_max: 5, ..Limits::default() },
        Limits { method_bytes_max: 3, ..Limits::default() },
        Limits { head_bytes_max: 50, ..Limits::default() },
    ];
    let mut random = 7_usize;
    for _ in 0..30_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32, bound: usize| (random >> shift) % bound;
        let input = [lines[pick(20, lines.len())], sections[pick(28, sections.len())], b"abcGET"].concat();
        // Mostly whole, so that one follows the other.
        let cut = if pick(36, 4) == 0 { pick(40, input.len()) } else { input.len() };
        let limits = &limits[pick(50, 3 * limits.len()).saturating_sub(2 * limits.len())];
        let expect = read(&mut HeadTable::new(), &input, input.len(), limits);
        for cut in std::iter::once(cut).chain(std::iter::repeat_n(input.len(), pick(45, 5))) {
            let found = read(&mut table, &input, cut, limits);
            assert_eq!(found, expect, "{}", String::from_utf8_lossy(&input));
        }
        times += lent.borrow().len();
        // Some are still in hand when the next comes.
        lent.borrow_mut().truncate(pick(48, 3));
    }
    assert!(times > 10_000, "{times} were shared");
}
