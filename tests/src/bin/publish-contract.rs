//! Writes the published contract, made from the types, to `docs/contract/`. `tests/tests/contract.rs` fails while it is out of date.

use cloud_sync::published::files;
use std::io::Write as _;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract");
    for folder in ["schemas", "examples"] {
        let folder = home.join(folder);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
    }
    let files = files();
    for file in &files {
        std::fs::write(home.join(&file.path), &file.text)?;
    }
    writeln!(std::io::stdout(), "{} files written to docs/contract", files.len())
}
