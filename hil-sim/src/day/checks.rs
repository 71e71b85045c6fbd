//! What must hold: some of it always, all of it when the day is over and everything has been said.

use super::reference;
use super::world::World;
use crate::dispenser::record::Wrong;
use crate::wire::Wire;
use forecourt::ids::NozzleId;
use forecourt::units::Volume;
use std::collections::BTreeMap;

/// How much of a dispenser's record was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    fuellings: usize,
    by_us: u64,
    violations: usize,
    /// AUTHORISE frames that came when nothing could be released.
    in_vain: u64,
    /// AUTHORISE frames that had effect.
    pub(super) arrived: u64,
}

/// No dispenser was released more often than it was told to be, and no order is in force twice.
pub(super) fn releases(world: &mut World) -> Option<String> {
    if let Some(wrong) = world.witness.wrong.take() {
        return Some(wrong);
    }
    for (fp, (line, device)) in &world.station.points {
        let Some(device) = world.lines[*line].wire.device(*device) else { continue };
        let counted = world.counted.entry(*fp).or_default();
        let new = &device.pump().fuellings()[counted.fuellings..];
        let found = &device.violations()[counted.violations..];
        counted.violations += found.len();
        counted.in_vain += found.iter().filter(|found| found.wrong == Wrong::AuthoriseOutOfState).count() as u64;
        counted.fuellings += new.len();
        // A release by hand names no frame.
        counted.by_us += new.iter().filter(|fuelling| !fuelling.released_by.frame.is_empty()).count() as u64;
        let told = world.witness.authorised.get(fp).copied().unwrap_or(0);
        let heard = counted.arrived + counted.in_vain;
        if heard > told {
            return Some(format!(
                "fuelling point {fp} heard {heard} AUTHORISE, the core said {told}: one went out twice"
            ));
        }
        if counted.by_us > told {
            let by_us = counted.by_us;
            return Some(format!("fuelling point {fp} was released {by_us} times, and told to be {told} times"));
        }
    }
    None
}

/// Everything that does not agree at the end of the day.
pub(super) fn at_close(world: &mut World) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let Some(controller) = &world.controller else { return Ok(vec!["the controller is off".into()]) };
    let chain = controller.ledger().verify_chain()?;
    if let Some((sequence, fault)) = &chain.broken {
        wrong.push(format!("the chain breaks at {sequence}: {fault:?}"));
    }
    let report = world.desk.report();
    wrong.extend(report.violations.iter().map(|text| format!("platform: {text}")));
    wrong.extend(report.open.iter().map(|order| format!("platform: order {order} has no end")));
    if chain.good != report.counts.records {
        wrong.push(format!("the store has {} records, the platform {}", chain.good, report.counts.records));
    }
    for sale in world.desk.sales() {
        let data = &sale.data;
        match controller.ledger().sale(&data.sale_id.to_string())? {
            Some(row)
                if row.volume_ml == data.volume_ml.get()
                    && row.amount_minor == data.amount_minor.get()
                    && row.nozzle == data.nozzle
                    && row.order_id.as_deref() == data.order_id.as_ref().map(forecourt::ids::OrderId::as_str) => {}
            row => wrong.push(format!("sale {}: the platform has {data:?}, the store {row:?}", data.sale_id)),
        }
    }
    let wires: Vec<&Wire> = world.lines.iter().map(|line| &line.wire).collect();
    let now = world.now;
    let mut booked: BTreeMap<NozzleId, i64> = BTreeMap::new();
    for sale in world.desk.sales() {
        *booked.entry(sale.data.nozzle).or_default() += sale.data.volume_ml.get() + sale.data.unaccounted_ml.get();
    }
    for movement in world.desk.unaccounted() {
        *booked.entry(movement.nozzle).or_default() += movement.volume_ml.get();
    }
    for (nozzle, place) in &world.station.places {
        let end = wires[place.line].device(place.device).and_then(|device| device.pump().totaliser(place.index, now));
        let start = world.starts.get(nozzle).copied();
        let moved = end.zip(start).and_then(|(end, start)| end.checked_sub(start)).unwrap_or(Volume::ZERO);
        let booked = booked.get(nozzle).copied().unwrap_or(0);
        if moved.get() != booked {
            wrong.push(format!("nozzle {nozzle}: the totaliser moved {} ml, the books say {booked} ml", moved.get()));
        }
    }
    wrong.extend(reference::differences(&world.station, &wires, &world.desk));
    Ok(wrong)
}
