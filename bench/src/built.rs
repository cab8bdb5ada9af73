//! Where the programs lie that are measured, and how they come there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The bench's own directory.
pub const BENCH: &str = env!("CARGO_MANIFEST_DIR");

/// Builds what Cargo calls `what` of a workspace, as it would be measured.
pub fn build(manifest: &Path, what: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--manifest-path"]).arg(manifest).args(what);
    if cargo.status()?.success() { Ok(()) } else { Err(format!("cargo build {} failed", what.join(" ")).into()) }
}

/// The programs of a workspace, given its directory under the bench's.
pub fn programs(workspace: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or(Path::new(BENCH).join(workspace).join("target"), PathBuf::from).join("release")
}

/// The showcase: the one given, or else built from the workspace above.
pub fn showcase(given: Option<PathBuf>) -> Result<PathBuf> {
    example("showcase", given)
}

/// An example: the one given, or else built from the workspace above.
pub fn example(name: &str, given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    build(&Path::new(BENCH).join("../Cargo.toml"), &[&format!("--bin={name}")])?;
    Ok(programs("..").join(name))
}
