//! What the books must be, worked out from the dispensers' own records and the platform's orders alone. It knows nothing of how the daemon
//! works: no state of it, no code of it, only the rule that whoever fuels on an order pays for exactly that.

use super::station::Station;
use crate::dispenser::physics::Limit as PumpLimit;
use crate::dispenser::record::Fuelling;
use crate::platform::Desk;
use crate::platform::SaleData;
use crate::wire::Wire;
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use std::collections::BTreeMap;

/// Millionths of the major unit in the last digit of these heads' prices.
const PRICE_DIGIT: i64 = 10_000;
/// Largest difference of an amount that was worked out from a totaliser, and the dispenser's own: one step of its volume, priced.
const PRICED_STEP: i64 = 8;

/// Everything in which the platform's books are not what the dispensers say.
#[must_use]
pub fn differences(station: &Station, wires: &[&Wire], desk: &Desk) -> Vec<String> {
    let mut sales: BTreeMap<NozzleId, Vec<&SaleData>> = BTreeMap::new();
    for sale in desk.sales() {
        sales.entry(sale.data.nozzle).or_default().push(&sale.data);
    }
    let mut wrong = Vec::new();
    for nozzle in station.places.keys() {
        let fuellings: Vec<&Fuelling> = station.fuellings(wires, *nozzle).collect();
        let sold = sales.remove(nozzle).unwrap_or_default();
        compare(*nozzle, &fuellings, &sold, desk, &mut wrong);
    }
    wrong.extend(sales.keys().map(|nozzle| format!("sales at nozzle {nozzle}, which is not here")));
    wrong
}

/// Walks along a nozzle's fuellings and sales, both in order of time. Each sale is one fuelling; a fuelling without a sale must be found as
/// movement of the totaliser that nobody can explain, which only a lost record or two fuellings in one silence can be.
fn compare(nozzle: NozzleId, fuellings: &[&Fuelling], sales: &[&SaleData], desk: &Desk, wrong: &mut Vec<String>) {
    let mut rest = fuellings.iter();
    for sale in sales {
        let of_this = |fuelling: &&&Fuelling| is_of(sale, fuelling);
        let Some(fuelling) = rest.find(of_this) else {
            // Fuel of several fuellings in one silence may come into the books as one.
            if !is_sum(sale, fuellings) {
                let told = format!("{} L for {} minor", sale.volume_ml.litres(), sale.amount_minor.get());
                wrong.push(format!(
                    "nozzle {nozzle}: sale {} of order {:?} says {told}; no fuelling there is that",
                    sale.sale_id, sale.order_id
                ));
            }
            rest = fuellings.iter();
            continue;
        };
        let price = fuelling.price.map_or(0, |price| i64::from(price.0) * PRICE_DIGIT);
        if sale.evidence == "end_record" && price != sale.unit_price_micros.get() {
            wrong.push(format!(
                "nozzle {nozzle}: sale {} at {} micros a litre, the pump sold at {price}",
                sale.sale_id,
                sale.unit_price_micros.get()
            ));
        }
        if let Some(order) = &sale.order_id
            && let Some(account) = desk.account(order)
            && !limit_was(account.spec.limit, fuelling.released_by.limit)
        {
            wrong.push(format!(
                "nozzle {nozzle}: order {order} was paid for {:?}, the pump stood at {:?}",
                account.spec.limit, fuelling.released_by.limit
            ));
        }
    }
}

fn is_of(sale: &SaleData, fuelling: &Fuelling) -> bool {
    let shown = Money::new(i64::from(fuelling.figures.amount.0));
    let amount = (sale.amount_minor.get() - shown.get()).abs();
    match sale.evidence.as_str() {
        "end_record" => sale.volume_ml == fuelling.volume && amount == 0,
        _ => sale.volume_ml == fuelling.volume && amount <= PRICED_STEP,
    }
}

fn is_sum(sale: &SaleData, fuellings: &[&Fuelling]) -> bool {
    sale.evidence == "totaliser"
        && (0..fuellings.len()).any(|from| {
            let mut sum = Volume::ZERO;
            fuellings[from..].iter().take(5).any(|fuelling| {
                sum = sum.checked_add(fuelling.volume).unwrap_or(sum);
                sum == sale.volume_ml
            })
        })
}

fn limit_was(paid: Limit, stood: PumpLimit) -> bool {
    match (paid, stood) {
        (Limit::Amount(money) | Limit::FullTank(money), PumpLimit::Amount(digits)) => {
            money.get() == i64::from(digits.0)
        }
        (Limit::Volume(volume), PumpLimit::Volume(digits)) => volume.get() == i64::from(digits.0) * 10,
        _ => false,
    }
}
