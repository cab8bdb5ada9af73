//! A document of TOML, read key by key.
//!
//! The one idea: whoever reads a section asks for each key that it knows, and gets its value, or nothing. What is wrong is
//! gathered with its line on the way, so that all of it is said at once; and what nobody has asked for by the end of a
//! section is refused, with what may have been meant.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Faults, meant};

/// A document while it is read.
pub(super) struct Document<'t> {
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
}

/// A value, and where in the text it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// A table of it.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    /// As it is written: `[[routes]]`.
    name: String,
    pub(super) at: usize,
    entries: &'d DeTable<'d>,
    asked: RefCell<Vec<&'static str>>,
}

/// Reads a text. `read` is given the whole as a section.
pub(super) fn parse<T>(file: &str, text: &str, read: impl FnOnce(&Section<'_>) -> T) -> Result<T, Faults> {
    let document = Document { text, faults: RefCell::default() };
    let value = match DeTable::parse(text) {
        Ok(entries) => {
            let (asked, name) = (RefCell::default(), String::new());
            Some(read(&Section { document: &document, name, at: 0, entries: entries.get_ref(), asked }))
        }
        Err(error) => {
            let lines: Vec<&str> = error.message().lines().map(str::trim).collect();
            document
                .fault(error.span().map_or(0, |span| span.start), format!("this is no TOML: {}.", lines.join(", ")));
            None
        }
    };
    let mut faults = document.faults.into_inner();
    faults.sort_by_key(|fault| fault.line);
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(Faults { file: file.to_owned(), faults }),
    }
}

impl Document<'_> {
    fn fault(&self, at: usize, what: String) {
        let line = self.line(at);
        self.faults.borrow_mut().push(Fault { line, what });
    }

    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        before.iter().filter(|&&byte| byte == b'\n').count() + 1
    }
}

impl<'d> Section<'d> {
    /// Says what is wrong at a place.
    pub(super) fn fault(&self, at: usize, what: impl Into<String>) {
        self.document.fault(at, what.into());
    }

    /// The line of a place.
    pub(super) fn line(&self, at: usize) -> usize {
        self.document.line(at)
    }

    /// Where a key's value stands, or else the section.
    pub(super) fn place(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.at, |value| value.span().start)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Says of a key that it must be there.
    pub(super) fn missing(&self, key: &str, what: &str) {
        self.fault(self.at, format!("{} lacks `{key}`: {what}.", self.title()));
    }

    fn title(&self) -> &str {
        if self.name.is_empty() { "the file" } else { &self.name }
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    /// A value of some type, or none and a fault that says what is wanted.
    fn take<T>(
        &self,
        key: &'static str,
        wanted: impl Display,
        read: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let at = value.span().start;
        let read = read(value.get_ref());
        if read.is_none() {
            let shown = match value.get_ref() {
                DeValue::String(text) => format!("{text:?}"),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                other => format!("a value of type {}", other.type_str()),
            };
            self.fault(at, format!("`{key}` must be {wanted}, not {shown}."));
        }
        read.map(|value| At { value, at })
    }

    pub(super) fn text(&self, key: &'static str) -> Option<At<&'d str>> {
        self.take(key, "a text", DeValue::as_str)
    }

    pub(super) fn flag(&self, key: &'static str, usual: bool) -> bool {
        self.take(key, "true or false", DeValue::as_bool).map_or(usual, |found| found.value)
    }

    pub(super) fn count(&self, key: &'static str, range: RangeInclusive<u64>, usual: u64) -> u64 {
        self.count_if(key, range).unwrap_or(usual)
    }

    pub(super) fn count_if(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        self.take(key, wanted, |value| integer(value).filter(|number| range.contains(number))).map(|found| found.value)
    }

    /// A share in percent, as a fraction of one.
    pub(super) fn share(&self, key: &'static str, usual: f64) -> f64 {
        self.share_if(key).unwrap_or(usual)
    }

    pub(super) fn share_if(&self, key: &'static str) -> Option<f64> {
        let read = |value: &DeValue<'_>| decimal(value).filter(|percent| (0.0..=100.0).contains(percent));
        self.take(key, "a share in percent, from 0 to 100", read).map(|found| found.value / 100.0)
    }

    pub(super) fn decimal(&self, key: &'static str, range: RangeInclusive<f64>, usual: f64) -> f64 {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let read = |value: &DeValue<'_>| decimal(value).filter(|number| range.contains(number));
        self.take(key, wanted, read).map_or(usual, |found| found.value)
    }

    pub(super) fn time(&self, key: &'static str, range: RangeInclusive<Duration>, usual: Duration) -> Duration {
        self.time_if(key, range).unwrap_or(usual)
    }

    pub(super) fn time_if(&self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let wanted = format!("a time with its unit (ms, s, m, h), from {:?} to {:?}", range.start(), range.end());
        let read = |value: &DeValue<'_>| value.as_str().and_then(time).filter(|time| range.contains(time));
        self.take(key, wanted, read).map(|found| found.value)
    }

    /// A number of bytes.
    pub(super) fn bytes(&self, key: &'static str) -> Option<u64> {
        let wanted = "a number of bytes, as it is or with KiB, MiB or GiB";
        self.take(key, wanted, |value| integer(value).or_else(|| value.as_str().and_then(bytes)))
            .map(|found| found.value)
    }

    /// One of several names.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)], usual: T) -> T {
        let Some(found) = self.text(key) else { return usual };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == found.value) {
            return *value;
        }
        let meant = meant(found.value, choices.iter().map(|(name, _)| *name));
        self.fault(found.at, format!("`{key}` is {:?}, which is none of its values.{meant}", found.value));
        usual
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Vec<At<&'d str>> {
        let Some(found) = self.take(key, "a list of texts", DeValue::as_array) else { return Vec::new() };
        let texts = found.value.iter().filter_map(|value| {
            let at = value.span().start;
            let text = value.get_ref().as_str().map(|value| At { value, at });
            if text.is_none() {
                self.fault(at, format!("`{key}` is a list of texts, and this is {}.", value.get_ref().type_str()));
            }
            text
        });
        texts.collect()
    }

    /// All entries of a table of texts.
    pub(super) fn pairs(&self, key: &'static str) -> Vec<(At<&'d str>, At<&'d str>)> {
        let Some(found) = self.take(key, "a table of texts", DeValue::as_table) else { return Vec::new() };
        let pairs = found.value.iter().filter_map(|(name, value)| {
            let at = value.span().start;
            let text = value.get_ref().as_str();
            if text.is_none() {
                self.fault(at, format!("`{key}` is a table of texts, and this is {}.", value.get_ref().type_str()));
            }
            Some((At { value: &**name.get_ref(), at: name.span().start }, At { value: text?, at }))
        });
        pairs.collect()
    }

    /// A table within this one.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'d>> {
        let found = self.take(key, "a table", DeValue::as_table)?;
        Some(self.within(format!("[{}]", self.path(key)), found.at, found.value))
    }

    /// A list of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let Some(found) = self.take(key, "a list of tables", DeValue::as_array) else { return Vec::new() };
        let sections = found.value.iter().filter_map(|value| {
            let at = value.span().start;
            let entries = value.get_ref().as_table();
            if entries.is_none() {
                self.fault(at, format!("`{key}` is a list of tables, and this is {}.", value.get_ref().type_str()));
            }
            Some(self.within(format!("[[{}]]", self.path(key)), at, entries?))
        });
        sections.collect()
    }

    /// A list of texts or tables.
    pub(super) fn texts_or_sections(&self, key: &'static str) -> Vec<Result<At<&'d str>, Section<'d>>> {
        let Some(found) = self.take(key, "a list", DeValue::as_array) else { return Vec::new() };
        let each = found.value.iter().filter_map(|value| {
            let at = value.span().start;
            match value.get_ref() {
                DeValue::String(text) => Some(Ok(At { value: &**text, at })),
                DeValue::Table(entries) => Some(Err(self.within(format!("`{key}`"), at, entries))),
                other => {
                    self.fault(at, format!("`{key}` lists texts and tables, and this is {}.", other.type_str()));
                    None
                }
            }
        });
        each.collect()
    }

    /// A table of tables, by their names.
    pub(super) fn named(&self, key: &'static str) -> Vec<(At<&'d str>, Section<'d>)> {
        let Some(found) = self.take(key, "a table of tables", DeValue::as_table) else { return Vec::new() };
        let named = found.value.iter().filter_map(|(name, value)| {
            let (at, text) = (name.span().start, &**name.get_ref());
            let entries = value.get_ref().as_table();
            if entries.is_none() {
                self.fault(
                    at,
                    format!("`{key}` is a table of tables, and `{text}` is {}.", value.get_ref().type_str()),
                );
            }
            let section = self.within(format!("[{}.{text}]", self.path(key)), value.span().start, entries?);
            Some((At { value: text, at }, section))
        });
        named.collect()
    }

    fn path(&self, key: &str) -> String {
        match self.name.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn within(&self, name: String, at: usize, entries: &'d DeTable<'d>) -> Section<'d> {
        Section { document: self.document, name, at, entries, asked: RefCell::default() }
    }
}

/// It has been read: what nobody has asked for is not known.
impl Drop for Section<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        for key in self.entries.keys().filter(|key| !asked.contains(&&**key.get_ref())) {
            let (name, at) = (&**key.get_ref(), key.span().start);
            let meant = meant(name, asked.iter().copied());
            self.fault(at, format!("there is no key `{name}` in {}.{meant}", self.title()));
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn decimal(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        value => integer(value).map(|number| number as f64),
    }
}

/// `250ms`, `1.5s`, `2m`, `1h`.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// `4096`, `64KiB`, `10MiB`, `1GiB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
