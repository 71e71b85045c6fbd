//! Four files that belong together, replaced as one: either all old or all new, whenever the power goes.
//!
//! The new ones are written beside the old, then a note names what is to be renamed; from then on an interrupted replacement is
//! finished at the next occasion, before that it leaves no trace.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Only for the daemon itself.
const SECRET: u32 = 0o600;
const OPEN: u32 = 0o644;

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// The station's certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The brokers' authorities.
    pub authorities: PathBuf,
    /// The platform's public keys.
    pub jwks: PathBuf,
}

/// What goes there.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// PEM.
    pub certificate: &'a [u8],
    /// PEM.
    pub key: &'a [u8],
    /// PEM.
    pub authorities: &'a [u8],
    /// JSON.
    pub jwks: &'a [u8],
}

/// A file could not be put in place. What was there before is still there, or all that is new.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; check that the directory is there and may be written", path.display())]
pub struct FileFault {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileFault {
    move |source| FileFault { path: path.into(), source }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl Places {
    /// The usual names in one directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            certificate: directory.join("station.pem"),
            key: directory.join("station.key"),
            authorities: directory.join("ca.pem"),
            jwks: directory.join("jwks.json"),
        }
    }

    fn all(&self) -> [&Path; 4] {
        [&self.key, &self.certificate, &self.authorities, &self.jwks]
    }

    /// Says which files are to be renamed; where it is, the new ones are whole.
    fn note(&self) -> PathBuf {
        beside(&self.key, ".replacing")
    }

    /// Replaces all four, durably. The old ones stay beside them, as `.old`.
    ///
    /// # Errors
    /// [`FileFault`]
    pub fn install(&self, contents: Contents<'_>) -> Result<(), FileFault> {
        self.prepare(contents)?;
        self.finish().map(|_| ())
    }

    /// All but the renaming.
    fn prepare(&self, contents: Contents<'_>) -> Result<(), FileFault> {
        self.finish()?;
        let new = [
            (&self.key, contents.key, SECRET),
            (&self.certificate, contents.certificate, OPEN),
            (&self.authorities, contents.authorities, OPEN),
            (&self.jwks, contents.jwks, OPEN),
        ];
        for (path, content, mode) in new {
            make_directory(path)?;
            write(&beside(path, ".new"), path, content, mode)?;
        }
        self.sync()?;
        let note = self.note();
        // A rename is whole or not at all, a write is not.
        let draft = beside(&note, ".new");
        write(
            &draft,
            &self.key,
            b"the files *.new beside this one are whole and take the place of the others\n",
            SECRET,
        )?;
        std::fs::rename(&draft, &note).map_err(at(&note))?;
        self.sync()
    }

    /// Finishes a replacement that was interrupted, or removes what is left of one that had not got far enough. True where files were
    /// replaced.
    ///
    /// # Errors
    /// [`FileFault`]
    pub fn finish(&self) -> Result<bool, FileFault> {
        let note = self.note();
        let whole = note.exists();
        for path in self.all() {
            let new = beside(path, ".new");
            if !new.exists() {
                continue;
            }
            if whole {
                let old = beside(path, ".old");
                // For a person who wants them back; the replacement does not depend on it.
                let _ = std::fs::remove_file(&old);
                let _ = std::fs::hard_link(path, &old);
                std::fs::rename(&new, path).map_err(at(path))?;
            } else {
                std::fs::remove_file(&new).map_err(at(&new))?;
            }
        }
        if whole {
            self.sync()?;
            std::fs::remove_file(&note).map_err(at(&note))?;
            self.sync()?;
        }
        Ok(whole)
    }

    fn sync(&self) -> Result<(), FileFault> {
        let mut directories: Vec<&Path> = self.all().into_iter().filter_map(Path::parent).collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in directories {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))?;
        }
        Ok(())
    }
}

/// The directory of a file, for the daemon alone if it is new, owned as the one above it.
fn make_directory(path: &Path) -> Result<(), FileFault> {
    let Some(directory) = path.parent().filter(|directory| !directory.exists()) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(at(directory))?;
    if let Some(above) = directory.parent() {
        belong_as(directory, above).map_err(at(directory))?;
    }
    Ok(())
}

/// Written and synced under another name; owned as the file it replaces, or as its directory, so that the daemon can read what root
/// has put there.
fn write(new: &Path, path: &Path, content: &[u8], mode: u32) -> Result<(), FileFault> {
    let written = || -> io::Result<()> {
        match std::fs::remove_file(new) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        let model = if path.exists() { Some(path) } else { path.parent() };
        if let Some(model) = model {
            belong_as(new, model)?;
        }
        file.write_all(content)?;
        file.sync_all()
    };
    written().map_err(at(new))
}

fn belong_as(path: &Path, model: &Path) -> io::Result<()> {
    let (mine, model) = (std::fs::metadata(path)?, std::fs::metadata(model)?);
    if (mine.uid(), mine.gid()) == (model.uid(), model.gid()) {
        return Ok(());
    }
    match std::os::unix::fs::chown(path, Some(model.uid()), Some(model.gid())) {
        // Only root may give files away; anybody else keeps them.
        Err(why) if why.kind() != io::ErrorKind::PermissionDenied => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(word: &str) -> [Vec<u8>; 4] {
        ["certificate", "key", "authorities", "jwks"].map(|what| format!("{word} {what}").into_bytes())
    }

    fn prepare(places: &Places, word: &str) {
        let [certificate, key, authorities, jwks] = contents(word);
        let contents = Contents { certificate: &certificate, key: &key, authorities: &authorities, jwks: &jwks };
        places.prepare(contents).expect("writes");
    }

    fn install(places: &Places, word: &str) {
        prepare(places, word);
        assert!(places.finish().expect("renames"));
    }

    fn found(places: &Places) -> [Vec<u8>; 4] {
        [&places.certificate, &places.key, &places.authorities, &places.jwks]
            .map(|path| std::fs::read(path).expect("a file"))
    }

    #[test]
    fn all_four_are_replaced_and_the_key_is_nobody_elses() {
        let home = tempfile::tempdir().expect("a directory");
        let places = Places::in_directory(&home.path().join("new").join("deeper"));
        install(&places, "first");
        install(&places, "second");
        assert_eq!(found(&places), contents("second"));
        let mode = std::fs::metadata(&places.key).expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(std::fs::read(beside(&places.key, ".old")).expect("kept"), b"first key");
        assert!(!places.finish().expect("nothing to do"));
    }

    #[test]
    fn an_interruption_at_any_rename_leaves_all_old_or_all_new() {
        for renamed in 0..=4 {
            let home = tempfile::tempdir().expect("a directory");
            let places = Places::in_directory(home.path());
            install(&places, "old");
            prepare(&places, "new");
            for path in places.all().into_iter().take(renamed) {
                std::fs::rename(beside(path, ".new"), path).expect("renames");
            }
            // The power is back.
            assert!(places.finish().expect("finishes"));
            assert_eq!(found(&places), contents("new"), "after {renamed} renames");
        }
    }

    #[test]
    fn an_interruption_before_all_are_written_leaves_the_old_ones() {
        for written in 0..=4 {
            let home = tempfile::tempdir().expect("a directory");
            let places = Places::in_directory(home.path());
            install(&places, "old");
            for path in places.all().into_iter().take(written) {
                std::fs::write(beside(path, ".new"), "hal").expect("writes");
            }
            assert!(!places.finish().expect("clears up"));
            assert_eq!(found(&places), contents("old"));
            assert!(!beside(&places.key, ".new").exists());
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("file"), "").expect("writes");
        let places = Places::in_directory(&home.path().join("file").join("below"));
        let [certificate, key, authorities, jwks] = contents("x");
        let contents = Contents { certificate: &certificate, key: &key, authorities: &authorities, jwks: &jwks };
        let fault = places.install(contents).expect_err("no directory").to_string();
        assert!(fault.contains("file/below") && fault.contains("check that"), "{fault}");
    }
}
