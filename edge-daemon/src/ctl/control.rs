//! `edgectl voucher`, `order` and `config`: acts at the station, over the daemon's control socket.

use crate::config::kept::Kept;
use crate::ctl::{DEFAULT_CONFIG, Failure, Place, exit, load, show};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The answer is durable before it is given.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer is never longer.
const LONGEST_ANSWER: u64 = 256 * 1_024;
/// Results that are a yes.
const DONE: [&str; 4] = ["armed", "queued", "rolled_back", "duplicate"];

/// Where the daemon takes acts.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Door {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The configuration that names it [default: /etc/forecourt-edge/edge.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A voucher.
#[derive(Debug, Args)]
pub(super) struct Voucher {
    /// The digits, in groups or not
    #[arg(required = true, num_args = 1..=18)]
    digits: Vec<String>,
    /// The nozzle at which the customer stands
    #[arg(long, value_name = "NUMBER")]
    nozzle: Option<u16>,
    #[command(flatten)]
    door: Door,
    /// The daemon's JSON as it is
    #[arg(long)]
    json: bool,
}

/// An order.
#[derive(Debug, Args)]
pub(super) struct Order {
    /// A file with the content of the QR code, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    door: Door,
    /// The daemon's JSON as it is
    #[arg(long)]
    json: bool,
}

/// What of configurations.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigWhat {
    /// Shows which document is in force and which one was before
    Show {
        #[command(flatten)]
        place: Place,
        /// The documents whole, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Takes the one before back into force
    Rollback {
        #[command(flatten)]
        door: Door,
        /// The daemon's JSON as it is
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn voucher(voucher: &Voucher, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let wish = json!({"do": "voucher", "digits": voucher.digits.concat(), "nozzle": voucher.nozzle});
    voucher.door.ask(&wish, voucher.json, out)
}

pub(super) fn order(order: &Order, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let mut jws = String::new();
    if order.file == Path::new("-") {
        std::io::stdin().take(LONGEST_ANSWER).read_to_string(&mut jws)?;
    } else {
        jws = std::fs::read_to_string(&order.file)
            .map_err(|why| Failure::new(exit::NO_INPUT, format!("{}: {why}", order.file.display())))?;
    }
    order.door.ask(&json!({"do": "order", "jws": jws.trim()}), order.json, out)
}

pub(super) fn config(what: &ConfigWhat, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match what {
        ConfigWhat::Rollback { door, json } => door.ask(&json!({"do": "config-rollback"}), *json, out),
        ConfigWhat::Show { place, json } => {
            let kept = Kept::load(&place.directory()?)?;
            if *json {
                writeln!(out, "{}", json!({"current": kept.current, "previous": kept.previous}))?;
                return Ok(ExitCode::SUCCESS);
            }
            match &kept.current {
                None => writeln!(out, "in force  the station's own file alone")?,
                Some(document) => {
                    let trial = if kept.is_on_trial() { ", on trial" } else { "" };
                    writeln!(out, "in force  {} of {}{trial}", document.name(), document.at)?;
                    let before = kept.previous.as_ref().map(|before| format!("{} of {}", before.name(), before.at));
                    writeln!(out, "before    {}", before.unwrap_or_else(|| "the station's own file alone".into()))?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Door {
    fn ask(&self, wish: &Value, json: bool, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => load(self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG)))?.0.control.socket,
        };
        let line = exchange(&socket, wish).map_err(|why| {
            let hint = match why.kind() {
                std::io::ErrorKind::PermissionDenied => "are you in its group? ls -l tells which",
                _ => "is edge-daemon running? systemctl status edge-daemon",
            };
            Failure::new(exit::UNAVAILABLE, format!("{}: {why}; {hint}", socket.display()))
        })?;
        let answer: Value = serde_json::from_str(&line).map_err(|why| {
            Failure::new(exit::UNAVAILABLE, format!("{}: what came is no JSON: {why}", socket.display()))
        })?;
        let member = |name: &str| answer.get(name).map(show::cell).unwrap_or_default();
        if json {
            writeln!(out, "{answer}")?;
        } else {
            writeln!(out, "{}: {}", member("result"), member("detail"))?;
        }
        let done = DONE.contains(&member("result").as_str());
        Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(exit::REFUSED) })
    }
}

fn exchange(socket: &Path, wish: &Value) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{wish}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut line)?;
    Ok(line)
}
