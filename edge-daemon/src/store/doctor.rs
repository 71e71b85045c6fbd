//! A store looked at from outside, for a person: what is in it, what is wrong with it, and what the daemon would do.

use crate::store::check::{self, LastWord, Trouble};
use crate::store::fault::StoreFault;
use crate::store::reader::{Reader, one};
use crate::store::{FILE_NAME, ballast, chain, lock_of, migrate, rescue};
use serde::Serialize;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Whether and how the store is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// A daemon has it open.
    Running,
    /// It was closed in order, or never opened.
    Closed,
    /// The last run ended without closing it, as after a power cut.
    NotClosed,
}

/// What is in a store that can be read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Contents {
    /// Steps of the schema it has seen.
    pub schema: i64,
    /// Records kept.
    pub records: u64,
    /// Sequence of the last one, or of the end of a gap after it.
    pub last_sequence: u64,
    /// Holes that rescues left in the chain: first and last sequence.
    pub gaps: Vec<(u64, u64)>,
    /// Records that nobody has acknowledged.
    pub pending: u64,
    /// Of those, set aside after refusals.
    pub set_aside: u64,
    /// When the oldest of them was made, milliseconds since 1970.
    pub oldest_pending_ms: Option<i64>,
    /// Orders without an end.
    pub open_orders: Vec<String>,
    /// Releases without an end: a fuelling may be under way.
    pub open_releases: u64,
}

/// Everything that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examination {
    /// The database.
    pub path: PathBuf,
    /// Whether it is there.
    pub exists: bool,
    /// In use or not.
    pub used: Use,
    /// Bytes of the database.
    pub bytes: u64,
    /// Bytes of its log, if it has one.
    pub log_bytes: Option<u64>,
    /// The reserve is there.
    pub has_ballast: bool,
    /// A rescue was interrupted.
    pub rescue_pending: bool,
    /// Damaged stores that were set aside here.
    pub set_aside: Vec<PathBuf>,
    /// What is wrong.
    pub troubles: Vec<Trouble>,
    /// What it holds, as far as that can be read.
    pub contents: Option<Contents>,
    /// What could not be done here and is no damage, such as a missing right.
    pub hindered: Option<String>,
}

/// Looks at the store in a data directory. Writes nothing; `deep` reads all of it.
#[must_use]
pub fn examine(directory: &Path, deep: bool) -> Examination {
    let path = directory.join(FILE_NAME);
    let size = |path: &Path| std::fs::metadata(path).map(|data| data.len()).ok();
    let said = check::last_word(&lock_of(&path));
    let used = match (is_locked(&lock_of(&path)), said) {
        (true, _) => Use::Running,
        (false, LastWord::Running) => Use::NotClosed,
        (false, _) => Use::Closed,
    };
    let mut found = Examination {
        exists: path.exists(),
        used,
        bytes: size(&path).unwrap_or(0),
        log_bytes: size(&check::log_of(&path)),
        has_ballast: ballast::is_whole(&path),
        rescue_pending: rescue::is_pending(&path),
        set_aside: set_aside_in(directory),
        troubles: Vec::new(),
        contents: None,
        hindered: None,
        path: path.clone(),
    };
    if !found.exists {
        return found;
    }
    // While it is in use the files move under our eyes.
    if used != Use::Running {
        found.troubles = check::files(&path, said);
    }
    let is_database = !found.troubles.iter().any(|trouble| matches!(trouble, Trouble::Header { .. }));
    if is_database && let Err(fault) = read(&path, deep, &mut found) {
        match fault {
            StoreFault::Damaged { what, why } => found.troubles.push(Trouble::Unreadable(format!("{what}: {why}"))),
            fault => found.hindered = Some(fault.to_string()),
        }
    }
    found
}

fn read(path: &Path, deep: bool, found: &mut Examination) -> Result<(), StoreFault> {
    const WHAT: &str = "look into the store";
    let at_rest = found.used != Use::Running && found.log_bytes.is_none();
    let reader = if at_rest { Reader::open_at_rest(path)? } else { Reader::open(path)? };
    let connection = &reader.connection;
    if deep {
        found.troubles.extend(check::whole(connection, path)?);
    }
    if found.troubles.is_empty() {
        found.troubles.extend(check::content(connection, path)?);
    }
    let number =
        |sql: &str| one(connection, path, WHAT, sql, [], |row| row.get::<_, u64>(0)).map(Option::unwrap_or_default);
    let memory = reader.memory()?;
    let (pending, set_aside) = reader.outbox_counts()?;
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
    let gaps =
        crate::store::reader::all(connection, path, WHAT, "SELECT first, last FROM gap ORDER BY first", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let oldest =
        "SELECT e.time_ms FROM outbox o JOIN event e USING (sequence) WHERE o.sequence > 0 ORDER BY o.sequence LIMIT 1";
    found.contents = Some(Contents {
        schema: migrate::version(connection).map_err(fault)?,
        records: number("SELECT count(*) FROM event")?,
        last_sequence: chain::head(connection).map_err(fault)?.sequence,
        gaps,
        pending,
        set_aside,
        oldest_pending_ms: one(connection, path, WHAT, oldest, [], |row| row.get(0))?,
        open_orders: memory
            .orders
            .iter()
            .map(|order| format!("{} ({})", order.request.order_id, order.phase.word()))
            .collect(),
        open_releases: u64::try_from(memory.releases.len()).unwrap_or(u64::MAX),
    });
    Ok(())
}

/// Whether a process holds the store. Asks for a shared lock and gives it back at once.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let held = matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock));
    // Closing the file gives the lock back.
    drop(file);
    held
}

fn set_aside_in(directory: &Path) -> Vec<PathBuf> {
    let prefix = format!("{FILE_NAME}.damaged-");
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .collect();
    found.sort();
    found
}
