//! What a connection to a server may carry, read as strictly as can be: requests of HTTP/1.1 in the form in which every server
//! reads the same, one behind the other, with nothing between them.
//!
//! Written apart from the project's own engines, so that the two cannot share a mistake.

/// The requests of a connection, in whole; perhaps with one behind them that was broken off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) targets: Vec<String>,
    pub(crate) is_cut: bool,
}

/// Errors: what is not as it must be, and where.
pub(crate) fn read(input: &[u8]) -> Result<Carried, String> {
    let (mut at, mut targets) = (0, Vec::new());
    while at < input.len() {
        match request(&input[at..]) {
            Ok(Some((target, bytes))) => {
                targets.push(target);
                at += bytes;
            }
            Ok(None) => return Ok(Carried { targets, is_cut: true }),
            Err(why) => {
                let around = input[at..input.len().min(at + 300)].escape_ascii();
                return Err(format!("{why}, in the request at byte {at}: {around}"));
            }
        }
    }
    Ok(Carried { targets, is_cut: false })
}

/// One request: its target, and how many bytes it takes. `None` if more is to come.
fn request(input: &[u8]) -> Result<Option<(String, usize)>, String> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        // As far as it goes it must be one.
        let lines = input.split(|&byte| byte == b'\n');
        let whole = lines.clone().count() - 1;
        return lines
            .take(whole)
            .try_for_each(|line| plain(line.strip_suffix(b"\r").ok_or("LF without CR")?))
            .map(|()| None);
    };
    let head = &input[..end];
    let mut lines = Vec::new();
    for line in head.split(|&byte| byte == b'\n') {
        lines.push(line.strip_suffix(b"\r").unwrap_or(line));
    }
    if head.windows(2).filter(|window| *window == b"\r\n").count() + 1 != lines.len() {
        return Err("a line ends otherwise than by CR LF".to_owned());
    }
    lines.iter().try_for_each(|line| plain(line))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let first = text(lines[0]);
    let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("a request line that is none: {first:?}"));
    };
    if !is_token(method.as_bytes()) || !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("a request line that is none: {first:?}"));
    }
    if target.contains('#') {
        return Err(format!("a fragment was sent: {first:?}"));
    }
    let (mut hosts, mut length, mut is_chunked) = (0, None, false);
    // What is said of this connection, and what must be said with it.
    let (mut options, mut said) = (Vec::new(), Vec::new());
    for line in &lines[1..] {
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or_else(|| format!("a line of no field: {:?}", text(line)))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let value = value.strip_prefix(b" ").ok_or_else(|| format!("a field without its space: {:?}", text(line)))?;
        if !is_token(name) || name.contains(&b'_') || value.trim_ascii() != value {
            return Err(format!("a field that is not as it must be: {:?}", text(line)));
        }
        match (text(name).to_ascii_lowercase().as_str(), value) {
            ("host", _) => hosts += 1,
            ("content-length", digits) => {
                let number = text(digits).parse::<usize>().ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
                if length.replace(number.ok_or("a length that is none")?).is_some() {
                    return Err("two lengths".to_owned());
                }
            }
            ("transfer-encoding", b"chunked") if !is_chunked => is_chunked = true,
            ("connection", option) => options.push(text(option).to_ascii_lowercase()),
            ("upgrade", _) => said.push("upgrade".to_owned()),
            ("te", b"trailers") => said.push("te".to_owned()),
            ("expect", b"100-continue") => {}
            ("transfer-encoding" | "te" | "expect" | "keep-alive" | "proxy-connection" | "http2-settings", _) => {
                return Err(format!("a field of another connection: {:?}", text(line)));
            }
            _ => {}
        }
    }
    if hosts != 1 || length.is_some() && is_chunked || options != said {
        return Err("a host, a framing or an upgrade in doubt".to_owned());
    }
    let start = end + 4;
    let body = match (length, is_chunked) {
        (Some(length), _) => input.get(start..start + length).map(|_| length),
        (None, true) => chunks(&input[start..])?,
        (None, false) => Some(0),
    };
    Ok(body.map(|bytes| (target.to_owned(), start + bytes)))
}

fn chunks(input: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = input[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let digits = &input[at..at + line];
        let is_size = !digits.is_empty() && digits.len() <= 16 && digits.iter().all(u8::is_ascii_hexdigit);
        let size =
            std::str::from_utf8(digits).ok().filter(|_| is_size).and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or_else(|| format!("a chunk's size that is none: {}", digits.escape_ascii()))?;
        at += line + 2;
        if size == 0 {
            // Trailers, to the empty line.
            loop {
                let Some(line) = input[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
                plain(&input[at..at + line])?;
                at += line + 2;
                if line == 0 {
                    return Ok(Some(at));
                }
            }
        }
        let Some(data) = input.get(at..at + size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk does not end where it says".to_owned());
        }
        at += size + 2;
    }
}

/// A line without control characters.
fn plain(line: &[u8]) -> Result<(), String> {
    match line.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        true => Err(format!("a control character: {}", line.escape_ascii())),
        false => Ok(()),
    }
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[test]
fn what_is_not_in_order_is_seen() {
    let good = "POST /a HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\r\n";
    let carried = Carried { targets: vec!["/a".to_owned(), "/b".to_owned()], is_cut: false };
    assert_eq!(read(good.as_bytes()), Ok(carried));
    for length in 1..good.len() {
        let carried = read(&good.as_bytes()[..length]).expect("a part of what is in order");
        assert!(carried.is_cut || length == good.len() - "GET /b HTTP/1.1\r\nhost: b\r\n\r\n".len(), "{length}");
    }
    for bad in [
        "GET  /a HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET /a HTTP/1.0\r\nhost: b\r\n\r\n",
        "GET /a HTTP/1.1\nhost: b\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost : b\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost:b\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\nhost: b\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        "GET /a HTTP/1.1\r\nhost: b\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\ncontent-length: +1\r\n\r\nx",
        "GET /a HTTP/1.1\r\nhost: b\r\nx_y: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\n x: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: b\r\n\r\nleft over\r\n",
    ] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
