//! The live board: what pumps show, what the station says of them, orders, money, outbox and the last events.

use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::units::{Currency, Money, Volume};
use std::fmt::Write as _;

/// Puts the cursor home without clearing, so that nothing flickers.
const HOME: &str = "\x1b[H";
/// Clears the rest of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears all below.
const CLEAR_BELOW: &str = "\x1b[J";
/// Clears the screen once, at the beginning.
pub const CLEAR_SCREEN: &str = "\x1b[2J";

/// One nozzle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NozzleRow {
    /// Where.
    pub fuelling_point: FuellingPointId,
    /// Which.
    pub nozzle: NozzleId,
    /// What.
    pub grade: String,
    /// As the station tells it.
    pub state: String,
    /// The pump's display, where it belongs to this nozzle.
    pub shown: Option<(Volume, Money)>,
    /// The order that stands there, and its limit.
    pub order: Option<String>,
}

/// Everything on the board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Board {
    /// Such as `st-demo online`.
    pub station: String,
    /// Of all money.
    pub currency: Currency,
    /// By number.
    pub nozzles: Vec<NozzleRow>,
    /// Where to click.
    pub pages: Vec<String>,
    /// Orders, and how many of them are paid and have no end yet.
    pub orders: (u64, u64),
    /// Paid, charged for fuel, given back, commission.
    pub money: [Money; 4],
    /// Records waiting, as the station tells it.
    pub outbox: Option<u64>,
    /// Records acknowledged.
    pub records: u64,
    /// Contract violations found by the platform.
    pub violations: usize,
    /// Newest last.
    pub events: Vec<String>,
}

impl Board {
    /// The board as text, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let money = |value: Money| format!("{} {}", value.major(self.currency), self.currency);
        let [paid, captured, refunded, commission] = self.money.map(money);
        let outbox = self.outbox.map_or_else(|| "?".to_owned(), |pending| pending.to_string());
        let (orders, open) = self.orders;
        let mut lines = vec![format!("Forecourt Edge demo: station {}  (Ctrl-C ends it)", self.station)];
        lines.extend(self.pages.iter().cloned());
        lines.extend([
            String::new(),
            format!(
                "{:>3} {:>3} {:<7} {:<18} {:>10} {:>12}  order",
                "fp", "nozzle", "grade", "state", "litres", "amount"
            ),
        ]);
        for row in &self.nozzles {
            let (litres, amount) = match row.shown {
                Some((volume, amount)) => (volume.litres(), amount.major(self.currency)),
                None => (String::new(), String::new()),
            };
            lines.push(format!(
                "{:>3} {:>6} {:<7} {:<18} {litres:>10} {amount:>12}  {}",
                row.fuelling_point.0,
                row.nozzle.0,
                row.grade,
                row.state,
                row.order.as_deref().unwrap_or("")
            ));
        }
        lines.extend([
            String::new(),
            format!("orders {orders} ({open} open)   paid {paid}   for fuel {captured}   given back {refunded}"),
            format!(
                "commission {commission}   outbox {outbox}   records {}   violations {}",
                self.records, self.violations
            ),
            String::new(),
        ]);
        lines.extend(self.events.iter().cloned());
        lines
    }

    /// The board as bytes for a terminal of this height and width, drawn over what is there.
    #[must_use]
    pub fn frame(&self, rows: usize, columns: usize) -> String {
        let mut frame = HOME.to_owned();
        for line in self.lines().iter().take(rows.saturating_sub(1)) {
            let cut: String = line.chars().take(columns).collect();
            // Writing to a String cannot fail.
            let _ = write!(frame, "{cut}{CLEAR_LINE}\r\n");
        }
        frame.push_str(CLEAR_BELOW);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board {
            station: "st-demo online".into(),
            currency: Currency::CNY,
            nozzles: vec![NozzleRow {
                fuelling_point: FuellingPointId(1),
                nozzle: NozzleId(3),
                grade: "92".into(),
                state: "fuelling".into(),
                shown: Some((Volume::new(12_340), Money::new(9_193))),
                order: Some("d-1, up to 200.00 CNY".into()),
            }],
            pages: vec!["http://127.0.0.1:8080/n/q-1".into()],
            orders: (5, 1),
            money: [50_000, 30_000, 20_000, 1_500].map(Money::new),
            outbox: Some(2),
            records: 4,
            violations: 0,
            events: vec!["nozzle 3 fuelling".into()],
        }
    }

    #[test]
    fn litres_money_orders_and_outbox_stand_on_the_board() {
        let text = board().lines().join("\n");
        for part in [
            "12.340",
            "91.93",
            "d-1, up to 200.00 CNY",
            "5 (1 open)",
            "given back 200.00 CNY",
            "commission 15.00",
            "/n/q-1",
            "outbox 2",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_frame_never_exceeds_the_terminal() {
        let frame = board().frame(5, 20);
        let lines: Vec<&str> = frame.trim_start_matches(HOME).split("\r\n").collect();
        assert_eq!(lines.len(), 5, "four lines and what clears the rest");
        assert!(lines.iter().all(|line| line.trim_end_matches(CLEAR_LINE).chars().count() <= 20));
    }
}
