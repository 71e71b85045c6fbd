//! The state file: totalisers of every device on a line, so that they outlive the simulator.

use crate::dispenser::physics::Totalisers;
use crate::wire::Wire;
use forecourt::time::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A state file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// The system refused.
    #[error("state file {path} cannot be used: {cause}; check the path and the rights on it")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It holds something else.
    #[error("state file {path} does not hold totalisers: {cause}; remove it to start from the configured ones")]
    Content {
        /// The file.
        path: String,
        /// Where it goes wrong.
        cause: serde_json::Error,
    },
}

/// Totalisers by the order of the devices on the line.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Kept {
    devices: BTreeMap<usize, Totalisers>,
}

/// The totalisers of a line in a file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    last: Kept,
}

impl StateFile {
    /// Reads the file, if there is one, into the devices of a line.
    ///
    /// # Errors
    /// [`StateFault`] if there is a file that cannot be read or holds something else.
    pub fn open(path: PathBuf, wire: &mut Wire) -> Result<Self, StateFault> {
        let shown = path.display().to_string();
        let last = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| StateFault::Content { path: shown, cause })?,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(cause) => return Err(StateFault::File { path: shown, cause }),
        };
        let ids: Vec<_> = wire.devices().map(|(id, _)| id).collect();
        for id in ids {
            if let (Some(device), Some(kept)) = (wire.device_mut(id), last.devices.get(&id.0)) {
                device.restore(kept);
            }
        }
        Ok(Self { path, last })
    }

    /// Writes the file if a totaliser has moved. Replaces it as a whole, so that a killed simulator leaves the old or the new.
    ///
    /// # Errors
    /// [`StateFault::File`] if the system refuses.
    pub fn keep(&mut self, wire: &Wire, now: Instant) -> Result<(), StateFault> {
        let devices = wire.devices().map(|(id, device)| (id.0, device.pump().totalisers(now))).collect();
        let present = Kept { devices };
        if present == self.last {
            return Ok(());
        }
        write_whole(&self.path, &present)
            .map_err(|cause| StateFault::File { path: self.path.display().to_string(), cause })?;
        self.last = present;
        Ok(())
    }
}

fn write_whole(path: &Path, kept: &Kept) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, serde_json::to_vec_pretty(kept).map_err(io::Error::other)?)?;
    std::fs::rename(&beside, path)
}
