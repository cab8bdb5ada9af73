//! Running a target over files, for a finding of the fuzzer's on any toolchain.

use crate::Target;

/// Shows a target each file that the command line names.
pub fn replay(target: Target) -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        target(&std::fs::read(&path)?);
        println!("{}: nothing wrong", path.display());
    }
    Ok(())
}
