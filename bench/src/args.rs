//! Command lines: `--name value` and bare `--name`, nothing else, with an error that says what was wrong.

use std::fmt::Display;
use std::str::FromStr;

use crate::Result;

/// The words of a command line that no one has asked for yet.
#[derive(Debug)]
pub struct Args {
    words: Vec<String>,
    usage: &'static str,
}

impl Args {
    /// This process's words. With `--help` among them, prints the usage and ends the process.
    pub fn from_env(usage: &'static str) -> Self {
        let args = Self { words: std::env::args().skip(1).collect(), usage };
        if args.words.iter().any(|word| word == "--help") {
            println!("{usage}");
            std::process::exit(0);
        }
        args
    }

    /// The value of an option that may be absent.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        if at + 1 == self.words.len() {
            return Err(format!("{name} wants a value\n{}", self.usage).into());
        }
        let value = self.words.drain(at..at + 2).next_back().unwrap_or_default();
        value.parse().map(Some).map_err(|error| format!("{name} {value}: {error}").into())
    }

    /// The value of an option, or the default.
    pub fn value<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Result<T> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// The value of an option that must be there.
    pub fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| format!("{name} is missing\n{}", self.usage).into())
    }

    /// Whether a bare option is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let found = self.words.iter().position(|word| word == name);
        found.map(|at| self.words.remove(at)).is_some()
    }

    /// Every option has been asked for; what is left is a mistake.
    pub fn finish(self) -> Result<()> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("unknown option {word}\n{}", self.usage).into()),
        }
    }
}

#[cfg(test)]
mod tests;
