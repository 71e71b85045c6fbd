//! `hil-sim platform reconcile-bench`: a day of sales through the real books, differences put in by hand, and how many of them the
//! reconciliation finds.

use crate::books::Trouble;
use crate::calendar::Day;
use crate::reconcile::{Difference, Kind, reconcile};
use crate::rehearsal::Rehearsal;
use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How one kind of difference is put into the books.
struct Damage {
    kind: Kind,
    /// SQL with the sale's row id as `?1`; run with the guards of the books off.
    sql: &'static str,
    /// Under which name it must be found, as SQL; null where this sale cannot be damaged so.
    named: &'static str,
    /// What the same damage shows besides, at the next sale of the nozzle.
    gap_after: bool,
}

const NEXT_SALE: &str =
    "SELECT n.sale_id FROM sale AS s JOIN sale AS n ON n.nozzle = s.nozzle AND n.sequence > s.sequence
                         WHERE s.sale_id = ?1 ORDER BY n.sequence LIMIT 1";
const REFUND: &str = "SELECT refund_id FROM refund WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1)";
const PAYMENT: &str = "SELECT payment_ref FROM payment WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1)";

fn damages() -> Vec<Damage> {
    let plain = |kind, sql, named| Damage { kind, sql, named, gap_after: false };
    vec![
        Damage {
            kind: Kind::SaleMissing,
            sql: "DELETE FROM sale WHERE sale_id = ?1",
            named: "SELECT order_id FROM sale WHERE sale_id = ?1",
            gap_after: true,
        },
        plain(
            Kind::SaleWithoutOrder,
            "UPDATE sale SET order_id = 'lost-' || order_id WHERE sale_id = ?1",
            "SELECT ?1",
        ),
        plain(
            Kind::SaleTwice,
            "INSERT INTO sale SELECT 'again-' || sale_id, station_id, -sequence, order_id, basis, nozzle, grade, unit_price_micros, volume_ml,
                amount_minor, NULL, NULL, 0, started_ms, ended_ms, finish, flags, day, NULL, NULL, NULL FROM sale WHERE sale_id = ?1",
            "SELECT ?1",
        ),
        plain(Kind::AmountDiffers, "UPDATE sale SET amount_minor = amount_minor + 1 WHERE sale_id = ?1", "SELECT ?1"),
        plain(Kind::PriceDiffers, "UPDATE sale SET unit_price_micros = unit_price_micros + 100000 WHERE sale_id = ?1", "SELECT ?1"),
        Damage {
            kind: Kind::TotaliserDiffers,
            sql: "UPDATE sale SET totaliser_end_ml = totaliser_end_ml - 1000 WHERE sale_id = ?1",
            named: "SELECT ?1",
            gap_after: true,
        },
        plain(
            Kind::TotaliserGap,
            "UPDATE sale SET unaccounted_ml = unaccounted_ml - 1000 WHERE sale_id = ?1",
            "SELECT s.sale_id FROM sale AS s WHERE s.sale_id = ?1
             AND EXISTS (SELECT 1 FROM sale AS b WHERE b.nozzle = s.nozzle AND b.sequence < s.sequence)",
        ),
        plain(Kind::OrderOpen, "UPDATE fuel_order SET state = 'paid' WHERE sale_id = ?1", "SELECT order_id FROM sale WHERE sale_id = ?1"),
        plain(
            Kind::PaymentNotAtChannel,
            "DELETE FROM channel_payment WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1)",
            PAYMENT,
        ),
        plain(
            Kind::PaymentNotAtPlatform,
            "DELETE FROM payment WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1)",
            PAYMENT,
        ),
        plain(
            Kind::PaymentDiffers,
            "UPDATE channel_payment SET amount_minor = amount_minor - 1 WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1)",
            PAYMENT,
        ),
        plain(
            Kind::RefundNotAtChannel,
            "DELETE FROM channel_refund WHERE refund_id IN (SELECT refund_id FROM refund WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1))",
            REFUND,
        ),
        plain(
            Kind::RefundNotAtPlatform,
            "DELETE FROM refund WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1)",
            REFUND,
        ),
        plain(
            Kind::RefundDiffers,
            "UPDATE channel_refund SET amount_minor = amount_minor + 1 WHERE refund_id IN
                (SELECT refund_id FROM refund WHERE order_id = (SELECT order_id FROM sale WHERE sale_id = ?1))",
            REFUND,
        ),
        plain(
            Kind::OrderUnbalanced,
            "UPDATE entry SET amount_minor = amount_minor - 1 WHERE entry_id = (SELECT min(e.entry_id) FROM entry AS e
                JOIN movement AS m ON m.movement_id = e.movement_id WHERE m.key = 'pay:sandbox:' || (SELECT order_id FROM sale WHERE sale_id = ?1))",
            "SELECT order_id FROM sale WHERE sale_id = ?1",
        ),
    ]
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Sales in the books.
    pub sales: usize,
    /// By kind: put in, and found under the right name.
    pub by_kind: BTreeMap<Kind, (usize, usize)>,
    /// Found and not put in.
    pub invented: Vec<Difference>,
    /// Found before anything was put in.
    pub before: Vec<Difference>,
}

impl Report {
    /// Whether everything was found and nothing else.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.by_kind.values().all(|(put, found)| put == found) && self.invented.is_empty() && self.before.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>8} {:>6} {:>7}", "difference", "injected", "found", "missed")?;
        for (kind, (put, found)) in &self.by_kind {
            writeln!(f, "{:<22} {put:>8} {found:>6} {:>7}", format!("{kind:?}"), put - found)?;
        }
        let (put, found) = self.by_kind.values().fold((0, 0), |(put, found), (p, f)| (put + p, found + f));
        let false_alarms = self.invented.len() + self.before.len();
        write!(f, "{} sales: injected {put}, found {found}, missed {}, false {false_alarms}", self.sales, put - found)?;
        self.before.iter().chain(&self.invented).try_for_each(|difference| write!(f, "\nfalse: {difference}"))
    }
}

/// Runs so many sales through the books, damages so many of them, one each, and reconciles.
///
/// # Errors
/// The books'.
pub fn run(sales: usize, differences: usize, seed: u64) -> Result<Report, Trouble> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut play = Rehearsal::new()?;
    let day = Day::of(play.now);
    let ordered = a_day(&mut play, sales, &mut random)?;
    let before = reconcile(&play.act(|act| act.day_books(day))?);

    let kinds = damages();
    let db = play.books.raw();
    // What the books would never let happen, another program or a bad disk may do.
    db.execute_batch("PRAGMA foreign_keys = OFF; DROP TRIGGER entry_never_changes; DROP TRIGGER an_end_stays;")?;
    let (mut expected, mut besides, mut taken) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    while expected.len() < differences.min(ordered.len() / 4) {
        let place = usize::try_from(random.next_u64() % ordered.len() as u64).unwrap_or(0);
        // Neighbours at a nozzle would share a gap.
        if !(place.saturating_sub(8)..=place + 8).all(|near| !taken.contains(&near)) {
            continue;
        }
        let (sale, damage) = (&ordered[place], &kinds[expected.len() % kinds.len()]);
        let named = format!("SELECT ({})", damage.named);
        let Some(name) = db.query_row(&named, [sale], |row| row.get::<_, Option<String>>(0))? else { continue };
        taken.insert(place);
        if damage.gap_after
            && let Some(next) =
                db.query_row(&format!("SELECT ({NEXT_SALE})"), [sale], |row| row.get::<_, Option<String>>(0))?
        {
            besides.insert((Kind::TotaliserGap, next));
        }
        // Either of two sales of one order may be called the second.
        let also = format!("again-{sale}");
        if damage.kind == Kind::SaleTwice {
            besides.extend([Kind::SaleTwice, Kind::SaleWithoutOrder].map(|kind| (kind, also.clone())));
        }
        if damage.kind == Kind::SaleWithoutOrder {
            let order: String =
                db.query_row("SELECT order_id FROM sale WHERE sale_id = ?1", [sale], |row| row.get(0))?;
            besides.insert((Kind::SaleMissing, order));
        }
        db.execute(damage.sql, [sale])?;
        expected.push((damage.kind, name));
    }
    judge(&mut play, day, sales, expected, &besides, before)
}

fn judge(
    play: &mut Rehearsal,
    day: Day,
    sales: usize,
    expected: Vec<(Kind, String)>,
    besides: &BTreeSet<(Kind, String)>,
    before: Vec<Difference>,
) -> Result<Report, Trouble> {
    let found = reconcile(&play.act(|act| act.day_books(day))?);
    let is = |difference: &Difference, kind: Kind, name: &str| {
        difference.kind == kind && (difference.of == name || difference.of == format!("again-{name}"))
    };
    let mut by_kind: BTreeMap<Kind, (usize, usize)> = BTreeMap::new();
    for (kind, name) in &expected {
        let (put, hits) = by_kind.entry(*kind).or_default();
        *put += 1;
        *hits += usize::from(found.iter().any(|difference| is(difference, *kind, name)));
    }
    let known = |difference: &Difference| {
        besides.contains(&(difference.kind, difference.of.clone()))
            || expected.iter().any(|(kind, name)| is(difference, *kind, name))
    };
    let invented = found.iter().filter(|difference| !known(difference)).cloned().collect();
    Ok(Report { sales, by_kind, invented, before })
}

/// A day: nine in ten are orders that are filled in part, the rest fuel without one, cancelled orders in between. Gives the sales of orders.
fn a_day(play: &mut Rehearsal, sales: usize, random: &mut ChaCha8Rng) -> Result<Vec<String>, Trouble> {
    let mut ordered = Vec::new();
    let mut below = |limit: u64| i64::try_from(random.next_u64() % limit).unwrap_or(0);
    for number in 0..sales {
        // No driver reaches the limit of the day.
        let member = play.member(u16::try_from(number / 10 % 10_000).unwrap_or(0))?;
        let nozzle = 1 + below(4);
        play.pass_ms(100);
        if below(10) == 0 {
            let record = play.sale(None, nozzle, Volume::new(5_000 + below(4_000) * 10));
            play.send(&record)?;
            continue;
        }
        let amount = 20_000 + below(300) * 100;
        let wanted = play.wanted(nozzle, Limit::Amount(Money::new(amount)))?;
        let order = play.buy(&member, &wanted)?;
        // At most nine tenths of what the money buys, so that there is a refund to compare.
        let record = play.sale(Some(&order), nozzle, Volume::new(5_000 + below(1_900) * 10));
        play.send(&record)?;
        ordered.push(record["data"]["sale_id"].as_str().unwrap_or("").to_owned());
        if below(20) == 0 {
            let wanted = play.wanted(nozzle, Limit::Volume(Volume::new(10_000)))?;
            let order = play.buy(&member, &wanted)?;
            play.release(&order, "not_lifted")?;
        }
    }
    while !play.act(|act| act.channel_refunds())?.is_empty() {
        play.refund_all()?;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_injected_difference_is_found_and_none_is_invented() {
        for seed in 1..=5 {
            let report = run(400, 15, seed).expect("runs");
            assert!(report.is_perfect(), "seed {seed}: {report}");
            assert_eq!(report.by_kind.values().map(|(put, _)| put).sum::<usize>(), 15);
            assert_eq!(report.by_kind.len(), 15, "{report}");
        }
    }
}
