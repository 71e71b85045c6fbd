//! Setting a damaged store aside: whole, under another name, never deleted, and so that a power cut at any step changes nothing.
//!
//! A note beside the store names where it goes. While the note is there, the next start goes on where this one stopped.

use crate::store::check::{MAGIC, log_of};
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Files of one database, by what follows its name. The log goes first: an old log must never meet a new database.
const PARTS: [&str; 3] = ["-wal", "-shm", ""];

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn note_of(database: &Path) -> PathBuf {
    with(database, ".rescue")
}

/// Where the new store is built before it takes its place.
pub(super) fn new_of(database: &Path) -> PathBuf {
    with(database, ".new")
}

fn copy_of(database: &Path) -> PathBuf {
    with(database, ".copy")
}

/// Where a rescue that was interrupted puts the damaged store.
pub(super) fn pending(database: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(note_of(database)).ok()?;
    let name = text.strip_suffix('\n').filter(|name| !name.is_empty() && !name.contains('/'))?;
    Some(database.with_file_name(name))
}

/// Notes where the damaged store goes.
pub(super) fn announce(database: &Path, stamp: &str) -> std::io::Result<PathBuf> {
    let base = database.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let free = |name: &String| !database.with_file_name(name).exists();
    let names = (0_u32..).map(|count| match count {
        0 => format!("{base}.damaged-{stamp}"),
        again => format!("{base}.damaged-{stamp}-{again}"),
    });
    let name = names.into_iter().find(free).unwrap_or_default();
    let note = note_of(database);
    let draft = with(&note, ".draft");
    let mut file = File::create(&draft)?;
    file.write_all(format!("{name}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, &note)?;
    sync_directory(database)?;
    Ok(database.with_file_name(name))
}

/// Moves the store away, as far as it was not moved before.
pub(super) fn set_aside(database: &Path, aside: &Path) -> std::io::Result<()> {
    for part in PARTS {
        let (from, to) = (with(database, part), with(aside, part));
        // Once the database itself stands there, what has its old name is the new store.
        if !aside.exists() && from.exists() {
            std::fs::rename(from, to)?;
        }
    }
    sync_directory(database)
}

/// A copy to read from, as reading may change what is read, with a header that SQLite takes.
pub(super) fn working_copy(database: &Path, aside: &Path) -> std::io::Result<PathBuf> {
    let copy = copy_of(database);
    remove(&copy)?;
    std::fs::copy(aside, &copy)?;
    if log_of(aside).exists() {
        std::fs::copy(log_of(aside), log_of(&copy))?;
    }
    let file = File::options().read(true).write(true).open(&copy)?;
    let mut head = [0; 24];
    if (&file).read_exact(&mut head).is_ok() && (!head.starts_with(MAGIC) || head[16..18] != [0x10, 0]) {
        // Fields 16 to 23 as this program's databases have them: 4,096 byte pages, write-ahead log, no reserve, payload fractions.
        file.write_all_at(MAGIC, 0)?;
        file.write_all_at(&[0x10, 0x00, 2, 2, 0, 64, 32, 32], 16)?;
    }
    Ok(copy)
}

/// Removes a database that holds nothing of its own, with its log.
pub(super) fn remove(database: &Path) -> std::io::Result<()> {
    for part in PARTS {
        match std::fs::remove_file(with(database, part)) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    Ok(())
}

/// Puts the new store, which is closed, in its place and takes the note away.
pub(super) fn install(database: &Path) -> std::io::Result<()> {
    let new = new_of(database);
    File::open(&new)?.sync_all()?;
    std::fs::rename(&new, database)?;
    sync_directory(database)?;
    remove(&copy_of(database))?;
    std::fs::remove_file(note_of(database))?;
    sync_directory(database)
}

fn sync_directory(database: &Path) -> std::io::Result<()> {
    File::open(database.parent().unwrap_or(Path::new(".")))?.sync_all()
}
