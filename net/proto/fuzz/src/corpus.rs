//! Writes what each target starts from to `corpus/NAME/`, where `cargo fuzz run NAME` looks for it; with `keep`, notes from
//! there in `kept/NAME` what exploring has found, the shortest first, for the tests to start from.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let keeps = std::env::args().nth(1).is_some_and(|word| word == "keep");
    fuzz::TARGETS.iter().try_for_each(|(name, _)| if keeps { keep(name) } else { explore(name) })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn explore(name: &str) -> io::Result<()> {
    fs::create_dir_all(folder(name))?;
    for (index, seed) in fuzz::seeds::of(name).iter().enumerate() {
        fs::write(folder(name).join(format!("seed-{index:04}")), seed)?;
    }
    Ok(())
}

fn keep(name: &str) -> io::Result<()> {
    let Ok(files) = fs::read_dir(folder(name)) else { return Ok(()) };
    let mut found = fuzz::seeds::kept(name);
    for file in files {
        let path = file?.path();
        // The others are made again each time.
        if path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with("seed-")) {
            found.push(fs::read(path)?);
        }
    }
    found.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    found.dedup();
    let mut bytes = 0;
    found.retain(|input| {
        bytes += input.len();
        bytes <= KEPT_BYTES_MAX
    });
    if found.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for input in found {
        input.iter().for_each(|byte| write!(lines, "{byte:02x}").expect("a string takes all"));
        lines.push('\n');
    }
    fs::write(fuzz::seeds::kept_path(name), lines)
}

/// Of one target, before they are written as hexadecimal: the shortest find most for what they weigh.
const KEPT_BYTES_MAX: usize = 16 * 1024;
