//! Requests that no server should take. Each ends its connection.

/// Requests, what they are answered, and a part of the text that says why.
pub(crate) const TABLE: &[(&str, u16, &str)] = &[
    // Lines.
    ("GET /\x01 HTTP/1.1\r\nHost: here\r\n\r\n", 400, "target"),
    ("GET  /plaintext HTTP/1.1\r\nHost: here\r\n\r\n", 400, "target"),
    (" GET /plaintext HTTP/1.1\r\nHost: here\r\n\r\n", 400, "method"),
    ("GET /plaintext\r\nHost: here\r\n\r\n", 400, "HTTP/1.1"),
    ("GET /plaintext HTTP/1.1 \r\nHost: here\r\n\r\n", 400, "HTTP/1.1"),
    ("GET /plaintext HTTP/1.1\nHost: here\n\n", 400, "LF without CR"),
    ("GET /plaintext HTTP/1.1\r\nHost: here\r\nA: b\rc: d\r\n\r\n", 400, "CR"),
    ("\r\n\r\n\r\n\r\n\r\n\r\nGET /plaintext HTTP/1.1\r\nHost: here\r\n\r\n", 400, "empty lines"),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n", 400, ""),
    // Fields.
    ("GET /plaintext HTTP/1.1\r\n\r\n", 400, "Host"),
    ("GET /plaintext HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n", 400, "Host"),
    ("GET /plaintext HTTP/1.1\r\nHost : here\r\n\r\n", 400, "colon"),
    ("GET /plaintext HTTP/1.1\r\nHost: here\r\nno colon\r\n\r\n", 400, ""),
    ("GET /plaintext HTTP/1.1\r\nHost: here\r\n: nameless\r\n\r\n", 400, "name"),
    ("GET /plaintext HTTP/1.1\r\nHost: here\r\nA: b\r\n folded\r\n\r\n", 400, "white space"),
    ("GET /plaintext HTTP/1.1\r\nHost: here\r\nA: \0\r\n\r\n", 400, "control character"),
    // Framing.
    ("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 1x\r\n\r\n", 400, "Content-Length"),
    ("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n", 400, "Content-Length"),
    ("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "Content-Length"),
    (
        "POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "Transfer-Encoding",
    ),
    ("POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400, "chunked"),
    ("POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "coding"),
    // Versions.
    ("GET /plaintext HTTP/2.0\r\nHost: here\r\n\r\n", 505, "version"),
    ("GET /plaintext HTTP/3.0\r\nHost: here\r\n\r\n", 505, "version"),
    // What else there is too much of.
    ("AVERYLONGMETHODTHATNOBODYHASEVERHEARDOF / HTTP/1.1\r\nHost: here\r\n\r\n", 501, "method"),
];
