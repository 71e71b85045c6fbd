//! `observe.sock`: whoever connects is given one JSON snapshot. Nothing is ever read from it.

use super::views::{self, Facts};
use forecourt::site::Site;
use forecourt::time::Now;
use pump_drivers::line::{Health, LineStatistics};
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// Askers that may wait.
pub const ASKERS: usize = 8;

/// What a line last said of itself.
#[derive(Clone, Debug, Default)]
pub struct LineState {
    /// The port is open.
    pub up: bool,
    /// Which port, or why not.
    pub detail: String,
}

/// Everything there is to see.
#[must_use]
pub fn snapshot(site: &Site, facts: &Facts, lines: Vec<Value>, uplink: bool, now: &Now) -> Value {
    let nozzles: Vec<Value> = site
        .layout()
        .nozzles
        .keys()
        .filter_map(|nozzle| {
            let mut view = views::nozzle(site, *nozzle, facts, now)?.data();
            let point = site.point_of(*nozzle)?;
            if let Some((_, volume, amount)) = point.running().filter(|(running, ..)| running == nozzle) {
                view["running"] = json!({ "volume_ml": volume, "amount_minor": amount });
            }
            view["totaliser_ml"] = json!(point.totaliser(*nozzle).map(|known| known.volume));
            Some(view)
        })
        .collect();
    let orders: Vec<Value> = site
        .orders()
        .map(|order| {
            json!({
                "order_id": order.request.order_id,
                "nozzle": order.request.nozzle,
                "state": order.phase.word(),
                "limit": order.request.limit,
                "received_at": order.received_at,
                "expires_at": order.request.expires_at,
            })
        })
        .collect();
    json!({
        "at": now.utc,
        "uptime_s": now.mono.as_micros() / 1_000_000,
        "uplink": uplink,
        "station": views::station(site, facts, now).data(),
        "lines": lines,
        "nozzles": nozzles,
        "orders": orders,
    })
}

/// One line, as shown.
#[must_use]
pub fn line(name: &str, state: &LineState, counts: &LineStatistics) -> Value {
    let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let devices = counts.devices.iter().map(|device| {
        json!({
            "fuelling_point": device.fp,
            "health": match device.health {
                Health::Unknown => "unknown",
                Health::Good => "good",
                Health::Degraded => "degraded",
                Health::Dead => "dead",
            },
            "exchanges": device.exchanges,
            "timeouts": device.timeouts,
            "bad_frames": device.bad_frames,
            "turnaround_us": us(device.turnaround),
        })
    });
    json!({
        "name": name,
        "up": state.up,
        "detail": state.detail,
        "cycle_us": us(counts.cycle),
        "other_master": counts.other_master,
        "babbles": counts.babbles,
        "babbler": counts.babbler,
        "dispensers": devices.collect::<Vec<_>>(),
    })
}

/// Opens the socket; an old one of a run that was killed is replaced.
///
/// # Errors
/// Where it cannot be made.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Serves one asker after the other, for ever.
pub async fn serve(listener: UnixListener, askers: mpsc::Sender<oneshot::Sender<Value>>) {
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                warn!(%why, "observe.sock");
                // As when there are no file descriptors left: do not spin.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (answer, wait) = oneshot::channel();
        if askers.send(answer).await.is_err() {
            return;
        }
        if let Ok(snapshot) = wait.await {
            let mut text = snapshot.to_string();
            text.push('\n');
            // Whoever asked may have gone away.
            let _gone = stream.write_all(text.as_bytes()).await;
        }
    }
}
