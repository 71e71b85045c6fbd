//! `edgectl status`: the snapshot that the daemon writes to whoever connects to its socket.

use crate::ctl::{DEFAULT_CONFIG, Failure, exit, load, show};
use clap::Args;
use forecourt::units::Volume;
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
        for_people(out, &snapshot, bold)?;
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

/// The snapshot for people: what matters first, a line each; a member that is not there is left out.
fn for_people(out: &mut dyn Write, snapshot: &Value, bold: bool) -> std::io::Result<()> {
    let at = |path: &str| snapshot.pointer(path).map(show::cell).unwrap_or_else(|| "-".into());
    let yes = |path: &str| snapshot.pointer(path).and_then(Value::as_bool).unwrap_or(false);
    let seconds = snapshot.pointer("/uptime_s").and_then(Value::as_u64).unwrap_or(0);
    writeln!(
        out,
        "station  {} {} ({}), up {} h {:02} min, mode {}, clock {}",
        at("/station/software/name"),
        at("/station/software/version"),
        at("/station/software/commit"),
        seconds / 3_600,
        seconds / 60 % 60,
        at("/station/mode"),
        at("/station/clock/quality"),
    )?;
    writeln!(
        out,
        "cloud    {}; {} records wait, {} set aside, oldest {}",
        if yes("/uplink") { "connected" } else { "NOT CONNECTED: sales are kept here" },
        at("/station/outbox/pending"),
        at("/station/outbox/set_aside"),
        at("/station/outbox/oldest_at"),
    )?;
    writeln!(out, "disk     {} MB free", at("/station/disk_free_mb"))?;
    let holds = at("/station/holds");
    if !holds.is_empty() {
        writeln!(out, "HELD     {holds}")?;
    }
    let list = |name: &str| snapshot.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = list("lines").iter().flat_map(dispensers).collect();
    section(out, "lines", &["LINE", "PORT", "FP", "HEALTH", "EXCHANGES", "SILENT", "BAD", "ANSWERS IN"], &rows, bold)?;
    let rows: Vec<Vec<String>> = list("nozzles").iter().map(nozzle).collect();
    let headings = ["NOZZLE", "FP", "GRADE", "PRICE", "STATE", "ORDER", "LITRES", "TOTALISER", "HOLDS"];
    section(out, "nozzles", &headings, &rows, bold)?;
    let order = |order: &Value| {
        let member = |name: &str| order.get(name).map(show::cell).unwrap_or_default();
        ["order_id", "nozzle", "state", "limit", "received_at"].map(member).to_vec()
    };
    let rows: Vec<Vec<String>> = list("orders").iter().map(order).collect();
    section(out, "orders", &["ORDER", "NOZZLE", "STATE", "LIMIT", "RECEIVED"], &rows, bold)
}

fn section(
    out: &mut dyn Write,
    name: &str,
    headings: &[&str],
    rows: &[Vec<String>],
    bold: bool,
) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "\nno {name}");
    }
    writeln!(out)?;
    show::table(out, headings, rows, bold)
}

/// One row for each dispenser of a line; a line without any still shows its port.
fn dispensers(line: &Value) -> Vec<Vec<String>> {
    let name = line.get("name").map(show::cell).unwrap_or_default();
    let is_up = line.get("up").and_then(Value::as_bool).unwrap_or(false);
    let port = line.get("detail").map(show::cell).unwrap_or_default();
    let silenced = line.get("other_master").and_then(Value::as_bool).unwrap_or(false);
    let port = match (is_up, silenced) {
        (true, false) => port,
        (true, true) => format!("{port}: SILENT, another master is polling: disconnect it first"),
        (false, _) => format!("DOWN: {port}"),
    };
    let devices = line.get("dispensers").and_then(Value::as_array).cloned().unwrap_or_default();
    if devices.is_empty() {
        return vec![vec![name, port]];
    }
    let row = |device: &Value| {
        let member = |name: &str| device.get(name).map(show::cell).unwrap_or_default();
        let turnaround = device.get("turnaround_us").and_then(Value::as_u64).unwrap_or(0);
        let mut row = vec![name.clone(), port.clone()];
        row.extend(["fuelling_point", "health", "exchanges", "timeouts", "bad_frames"].map(member));
        row.push(format!("{}.{} ms", turnaround / 1_000, turnaround / 100 % 10));
        row
    };
    devices.iter().map(row).collect()
}

fn nozzle(nozzle: &Value) -> Vec<String> {
    let member = |name: &str| nozzle.get(name).map(show::cell).unwrap_or_default();
    let number = |path: &str| nozzle.pointer(path).and_then(Value::as_i64);
    let litres = |ml: Option<i64>| ml.map_or_else(|| "-".into(), |ml| Volume::new(ml).litres());
    let price = number("/unit_price_micros")
        .map_or_else(|| "-".into(), |micros| format!("{}.{:04}", micros / 1_000_000, micros / 100 % 10_000));
    vec![
        member("nozzle"),
        member("fuelling_point"),
        member("grade"),
        price,
        member("state"),
        member("order_id"),
        number("/running/volume_ml").map_or_else(String::new, |ml| litres(Some(ml))),
        litres(number("/totaliser_ml")),
        member("holds"),
    ]
}
