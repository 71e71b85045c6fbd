//! What the platform and people are shown of the station.

use cloud_sync::wire::state::{
    ClockView, Decimals, LastSale, Layout as LayoutView, LayoutNozzle, Mode, NozzleView, OutboxView, PointCapabilities,
    Software, StationView,
};
use forecourt::hold::Hold;
use forecourt::ids::NozzleId;
use forecourt::site::Site;
use forecourt::time::{Now, UtcTime};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is shown and does not come from the core.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of this run.
    pub boot: Uuid,
    /// When it began.
    pub since: UtcTime,
    /// The daemon is about to stop.
    pub stopping: bool,
    /// Records on their way.
    pub outbox: OutboxView,
    /// Space left for records, in MB.
    pub disk_free_mb: u64,
    /// Last sales of earlier runs.
    pub last_sales: BTreeMap<NozzleId, LastSale>,
}

/// The program, as it names itself.
#[must_use]
pub fn software() -> Software {
    Software {
        name: "forecourt-edge".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("FORECOURT_COMMIT").unwrap_or("unknown").into(),
    }
}

/// One nozzle, as published.
#[must_use]
pub fn nozzle(site: &Site, nozzle: NozzleId, facts: &Facts, now: &Now) -> Option<NozzleView> {
    let layout = site.layout();
    let place = layout.nozzles.get(&nozzle)?;
    let point = site.point_of(nozzle)?;
    let mut here = point.orders().filter(|order| order.request.nozzle == nozzle);
    let first = here.next();
    let last_sale = match point.last_sale(nozzle) {
        Some(sale) => Some(LastSale {
            sale_id: sale.sale_id,
            volume_ml: sale.volume,
            amount_minor: sale.amount,
            ended_at: sale.ended_at,
        }),
        None => facts.last_sales.get(&nozzle).cloned(),
    };
    Some(NozzleView {
        nozzle,
        fuelling_point: place.fp,
        grade: place.grade.clone(),
        unit_price_micros: Some(point.price(nozzle)),
        price_set: point.price_set(nozzle).cloned(),
        state: point.nozzle_state(nozzle),
        available: point.is_available(nozzle) && !site.is_station_held() && !facts.stopping,
        holds: point.holds(nozzle),
        order_id: first.map(|order| order.request.order_id.clone()),
        queue: u32::try_from(here.count()).unwrap_or(u32::MAX),
        wait_estimate_s: point.wait_estimate_s(layout, now.mono),
        since: point.since(),
        last_sale,
    })
}

/// The station, as published.
#[must_use]
pub fn station(site: &Site, facts: &Facts, now: &Now) -> StationView {
    let layout = site.layout();
    StationView {
        online: true,
        bootid: facts.boot,
        since: facts.since,
        software: software(),
        layout: LayoutView {
            fuelling_points: layout.fuelling_points.keys().copied().collect(),
            nozzles: layout
                .nozzles
                .iter()
                .map(|(nozzle, place)| LayoutNozzle {
                    nozzle: *nozzle,
                    fuelling_point: place.fp,
                    grade: place.grade.clone(),
                    tank: None,
                })
                .collect(),
            grades: layout.grades.keys().cloned().collect(),
            tanks: Vec::new(),
            decimals: Decimals { currency: layout.currency, amount: layout.currency.decimals() },
        },
        capabilities: layout
            .fuelling_points
            .iter()
            .map(|(fp, point)| PointCapabilities::new(*fp, &point.capabilities))
            .collect(),
        mode: if facts.stopping {
            Mode::Stopping
        } else if layout.fuelling_points.values().all(|point| point.another_drives) {
            Mode::ListenOnly
        } else {
            Mode::Normal
        },
        holds: if site.is_station_held() { vec![Hold::Manual] } else { Vec::new() },
        clock: ClockView { quality: now.clock, offset_ms: None },
        outbox: facts.outbox,
        disk_free_mb: facts.disk_free_mb,
        price_set: Some(site.price_set().clone()),
        lists: site.list_versions(),
    }
}
