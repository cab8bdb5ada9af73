//! Conditional and range requests (RFC 9110 sections 13 and 14): what a request asks of a representation that is there.
//!
//! The one idea: it is a function. [`evaluate`] takes the method, the request's fields and the [`Facts`] of what would be
//! sent, and says in the order of section 13.2.2 which of the answers it is. A field that does not follow its grammar is as
//! good as absent where the RFC lets us choose; a set of ranges that costs more than the whole is answered by the whole.

pub mod limits;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use httpdate::HttpDate;

use limits::RANGES_MAX;

/// What is known of the representation that would be sent.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its length.
    pub bytes: u64,
    /// Its strong entity-tag, in quotes. It must change whenever the bytes do.
    pub tag: &'a [u8],
    /// When it last changed.
    pub modified: SystemTime,
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All of it: 200.
    Whole,
    /// One range of it: 206 with `Content-Range`.
    Range(Range<u64>),
    /// Several ranges that do not overlap, in the order asked for: 206 as `multipart/byteranges`.
    Ranges(Vec<Range<u64>>),
    /// The client has it: 304.
    NotModified,
    /// It is not what the client takes it for: 412.
    Failed,
    /// No range that was asked for lies within it: 416 with `Content-Range: bytes */LENGTH`.
    Unsatisfiable,
}

/// Decides what a request is answered with, whose answer would be 200 without its conditions. `headers` are its fields in
/// the order received, `now` is the time that the answer will bear as its `Date`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use http::Method;
/// use shardwise_proto::conditions::{Decision, Facts, evaluate};
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
/// let facts = Facts { bytes: 1000, tag: b"\"v1\"", modified: UNIX_EPOCH };
/// let ask = |name, value| evaluate(&Method::GET, [(name, value)].into_iter(), &facts, now);
/// assert_eq!(ask(b"Range", b"bytes=-100"), Decision::Range(900..1000));
/// assert_eq!(ask(b"If-None-Match", b"W/\"v1\""), Decision::NotModified);
/// ```
pub fn evaluate<'a>(
    method: &Method,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    facts: &Facts<'_>,
    now: SystemTime,
) -> Decision {
    let fields = Fields(headers);
    let is_read = *method == Method::GET || *method == Method::HEAD;
    // Steps 1 and 2.
    let goes_on = match fields.all("if-match").next() {
        Some(_) => is_listed(fields.all("if-match"), facts.tag, Comparison::Strong),
        None => fields.date("if-unmodified-since").is_none_or(|date| seconds(facts.modified) <= seconds(date)),
    };
    if !goes_on {
        return Decision::Failed;
    }
    // Steps 3 and 4.
    if fields.all("if-none-match").next().is_some() {
        if is_listed(fields.all("if-none-match"), facts.tag, Comparison::Weak) {
            return if is_read { Decision::NotModified } else { Decision::Failed };
        }
    } else if is_read
        && let Some(date) = fields.date("if-modified-since")
        && seconds(facts.modified) <= seconds(date)
    {
        return Decision::NotModified;
    }
    // Step 5. Ranges are defined for GET alone (section 14.2).
    if *method != Method::GET {
        return Decision::Whole;
    }
    let Some(range) = fields.only("range") else { return Decision::Whole };
    let decision = select(range, facts.bytes);
    match fields.all("if-range").next() {
        None => decision,
        // A range that cannot be applied is passed over here, where without the condition it is refused.
        Some(_) if decision == Decision::Unsatisfiable => Decision::Whole,
        Some(_) => match fields.only("if-range").is_some_and(|value| is_current(value, facts, now)) {
            true => decision,
            false => Decision::Whole,
        },
    }
}

/// The date that `Last-Modified` says: never later than the answer's own (section 8.8.2.1), and one that can be written.
pub fn last_modified(modified: SystemTime, now: SystemTime) -> String {
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds(modified.min(now)))).to_string()
}

/// How two entity-tags are compared (section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Both are strong, and the same.
    Strong,
    /// The same, weak or not.
    Weak,
}

/// The fields of a request.
struct Fields<H>(H);

impl<'a, H: Iterator<Item = (&'a [u8], &'a [u8])> + Clone> Fields<H> {
    /// The values of all lines of a name.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.0.clone().filter(move |(present, _)| present.eq_ignore_ascii_case(name.as_bytes()));
        lines.map(|(_, value)| value.trim_ascii())
    }

    /// The value of a field that is no list. Of several lines none can be believed.
    fn only(&self, name: &'static str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        let only = all.next()?;
        if all.next().is_some() { None } else { Some(only) }
    }

    /// A date; one that is none, or comes twice, is to be ignored (sections 13.1.3 and 13.1.4).
    fn date(&self, name: &'static str) -> Option<SystemTime> {
        date_of(self.only(name)?)
    }
}

/// Whether a list of entity-tags, which may go over several lines, names the current one. `*` names whatever there is.
fn is_listed<'a>(mut lines: impl Iterator<Item = &'a [u8]>, tag: &[u8], comparison: Comparison) -> bool {
    lines.any(|line| {
        if line == b"*" {
            return true;
        }
        let mut rest = line;
        loop {
            let separators = rest.iter().take_while(|&&byte| matches!(byte, b',' | b' ' | b'\t')).count();
            rest = &rest[separators..];
            // What is no entity-tag ends the line: nothing behind it can be trusted to be one.
            let Some((is_weak, opaque, after)) = entity_tag(rest) else { return false };
            if opaque == tag && !(is_weak && comparison == Comparison::Strong) {
                return true;
            }
            rest = after;
        }
    })
}

/// The entity-tag at the beginning: whether it is weak, the tag in its quotes, and what follows.
fn entity_tag(bytes: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (is_weak, quoted) = match bytes.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, bytes),
    };
    let inside = quoted.strip_prefix(b"\"")?;
    let end = inside.iter().position(|&byte| byte == b'"')?;
    // etagc: visible characters without the quote, and bytes above ASCII.
    let is_opaque = inside[..end].iter().all(|&byte| byte > b' ' && byte != 0x7f);
    is_opaque.then(|| (is_weak, &quoted[..end + 2], &quoted[end + 2..]))
}

/// Whether `If-Range` holds (section 13.1.5). A date counts only if it is a strong validator: nobody can have got another
/// version of the same second if that second is over (section 8.8.2.2).
fn is_current(value: &[u8], facts: &Facts<'_>, now: SystemTime) -> bool {
    if let Some((is_weak, opaque, after)) = entity_tag(value) {
        return !is_weak && after.is_empty() && opaque == facts.tag;
    }
    date_of(value).is_some_and(|date| {
        seconds(date) == seconds(facts.modified) && seconds(facts.modified).saturating_add(1) <= seconds(now)
    })
}

fn date_of(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

/// What a set of byte ranges selects (section 14.1.2). An unknown unit or a set that is not well formed is ignored.
fn select(range: &[u8], bytes: u64) -> Decision {
    let Some((unit, set)) = range.split_at_checked(b"bytes=".len()) else { return Decision::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Decision::Whole;
    }
    let mut count = 0;
    let mut parts: Vec<Range<u64>> = Vec::new();
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        count += 1;
        if count > RANGES_MAX {
            return Decision::Whole;
        }
        match resolve(spec, bytes) {
            Err(Malformed) => return Decision::Whole,
            Ok(None) => {}
            Ok(Some(part)) => parts.push(part),
        }
    }
    if count == 0 || bytes == 0 && !parts.is_empty() {
        // Nothing was asked for; or the end of what is empty, which is all of it, and no range can say that.
        return Decision::Whole;
    }
    let overlaps =
        |at: usize| parts[..at].iter().any(|other| other.start < parts[at].end && parts[at].start < other.end);
    match &parts[..] {
        [] => Decision::Unsatisfiable,
        [part] => Decision::Range(part.clone()),
        // Whoever asks for the same bytes twice gets them once (section 17.15).
        _ if (0..parts.len()).any(overlaps) => Decision::Whole,
        _ => Decision::Ranges(parts),
    }
}

/// Not a range of bytes.
#[derive(Debug)]
struct Malformed;

/// Where one range lies; `None` if it lies outside.
fn resolve(spec: &[u8], bytes: u64) -> Result<Option<Range<u64>>, Malformed> {
    let dash = spec.iter().position(|&byte| byte == b'-').ok_or(Malformed)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?;
        return Ok((suffix > 0).then(|| bytes.saturating_sub(suffix)..bytes));
    }
    let first = number(first)?;
    let end = match last.is_empty() {
        true => bytes,
        false => match number(last)? {
            last if last < first => return Err(Malformed),
            last => last.saturating_add(1).min(bytes),
        },
    };
    Ok((first < bytes).then_some(first..end))
}

/// Digits of any number; what is too large for us is larger than any file.
fn number(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let value =
        digits.iter().fold(0u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Ok(value)
}

/// Whole seconds, as dates have them, within what a date can say: the years 1970 to 9999.
fn seconds(time: SystemTime) -> u64 {
    const LAST: u64 = 253_402_300_799;
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().min(LAST))
}
