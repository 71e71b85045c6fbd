//! `edgectl status`: the snapshot that the daemon writes to whoever connects to its socket.

use crate::ctl::{DEFAULT_CONFIG, Failure, exit, load, show};
use clap::Args;
use serde_json::Value;
use std::io::{Read as _, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The daemon answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// A snapshot is never larger.
const MAX_SNAPSHOT: u64 = 4 * 1024 * 1024;

/// Where the daemon can be asked.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Place {
    /// The daemon's socket
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The configuration that names it [default: /etc/forecourt-edge/edge.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn show(place: &Place, json: bool, out: &mut dyn Write, bold: bool) -> Result<(), Failure> {
    let socket = match &place.socket {
        Some(socket) => socket.clone(),
        None => load(place.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG)))?.0.observe.socket,
    };
    let text = ask(&socket).map_err(|why| {
        let text = format!("{}: {why}; is edge-daemon running? systemctl status edge-daemon", socket.display());
        Failure::new(exit::UNAVAILABLE, text)
    })?;
    let snapshot: Value = serde_json::from_str(&text)
        .map_err(|why| Failure::new(exit::UNAVAILABLE, format!("{}: what came is no JSON: {why}", socket.display())))?;
    if json {
        writeln!(out, "{snapshot}")?;
    } else {
        show::document(out, &snapshot, bold)?;
    }
    Ok(())
}

fn ask(socket: &Path) -> std::io::Result<String> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.take(MAX_SNAPSHOT).read_to_string(&mut text)?;
    Ok(text)
}
