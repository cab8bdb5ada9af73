//! Writes what each target starts from to `corpus/NAME/`, where `cargo fuzz run NAME` looks for it.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for (name, _) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::create_dir_all(&folder)?;
        for (index, seed) in fuzz::seeds::of(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:04}")), seed)?;
        }
    }
    Ok(())
}
