//! A day in figures, for the dashboard. Shows: how many paid orders ended in fuel and why the others did not; by station, hour and grade;
//! turnover and commission while they move; who invited how many and earned what.

use super::{Act, Trouble};
use crate::calendar::{Day, HOUR_OF_DAY};
use forecourt::units::{Money, Volume};
use rusqlite::Row;

/// Paid orders that have something in common, and what they came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// What they have in common.
    pub of: String,
    /// Paid orders.
    pub paid: i64,
    /// Of those, ended in fuel.
    pub fuelled: i64,
    /// Of those, ended without.
    pub released: i64,
    /// Dispensed.
    pub volume: Volume,
    /// Dispensed, as the pumps showed it.
    pub amount: Money,
}

impl Share {
    /// Ended in fuel, of those that ended, in tenths of a per cent rounded down; `None` while none has.
    #[must_use]
    pub const fn fuelled_permille(&self) -> Option<i64> {
        (self.fuelled * 1_000).checked_div(self.fuelled + self.released)
    }
}

/// Orders that came to nothing for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abandoned {
    /// The contract's word; `cancelled` or `expired` for those never paid.
    pub reason: String,
    /// It was paid: then it was given up at the station.
    pub paid: bool,
    /// How many.
    pub orders: i64,
}

/// One who invites others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distributor {
    /// The member.
    pub member_id: String,
    /// For people.
    pub phone_masked: String,
    /// Drivers bound to him, at all stations.
    pub invited: i64,
    /// Sales that he earned from this day, on both levels.
    pub sales: i64,
    /// Earned from them, less what was taken back.
    pub commission: Money,
}

/// One day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DayFigures {
    /// All orders of the day.
    pub all: Share,
    /// By station, by hour of the order, by grade.
    pub by: [Vec<Share>; 3],
    /// Why orders came to nothing, the commonest first.
    pub abandoned: Vec<Abandoned>,
    /// All fuel that ended this day, with an order or without, and how much of it was without: turnover.
    pub sold: [Money; 2],
    /// Commission of each level for this day's sales, less what was taken back.
    pub commission: [Money; 2],
    /// All who ever invited, the best of the day first.
    pub distributors: Vec<Distributor>,
}

fn share(row: &Row<'_>) -> rusqlite::Result<Share> {
    Ok(Share {
        of: row.get(0)?,
        paid: row.get(1)?,
        fuelled: row.get(2)?,
        released: row.get(3)?,
        volume: Volume::new(row.get(4)?),
        amount: Money::new(row.get(5)?),
    })
}

impl Act<'_> {
    /// The figures of a day: orders by when they were made, sales by when they ended.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn day_figures(&self, day: Day) -> Result<DayFigures, Trouble> {
        let shares = |of: &str| {
            let sql = format!(
                "SELECT {of}, count(*), coalesce(sum(o.state = 'completed'), 0), coalesce(sum(o.state = 'released'), 0),
                        coalesce(sum(s.volume_ml), 0), coalesce(sum(s.amount_minor), 0)
                 FROM fuel_order AS o LEFT JOIN sale AS s ON s.sale_id = o.sale_id
                 WHERE o.day = ?1 AND o.jws IS NOT NULL GROUP BY 1 ORDER BY 1"
            );
            self.rows(&sql, [day.0], share)
        };
        let all = shares("'all'")?.pop();
        let nothing =
            Share { of: "all".into(), paid: 0, fuelled: 0, released: 0, volume: Volume::new(0), amount: Money::ZERO };
        let abandoned = self.rows(
            "SELECT coalesce(reason, state), jws IS NOT NULL, count(*) FROM fuel_order
             WHERE day = ?1 AND state IN ('released', 'cancelled', 'expired') GROUP BY 1, 2 ORDER BY 3 DESC, 1",
            [day.0],
            |row| Ok(Abandoned { reason: row.get(0)?, paid: row.get(1)?, orders: row.get(2)? }),
        )?;
        let money = |sql: &str| self.number(sql, [day.0]).map(Money::new);
        let level = |level: i64| {
            let sql = "SELECT sum(c.amount_minor - c.clawed_back_minor) FROM commission AS c JOIN sale AS s ON s.sale_id = c.sale_id
                       WHERE s.day = ?1 AND c.level = ?2";
            self.number(sql, [day.0, level]).map(Money::new)
        };
        let distributors = self.rows(
            "WITH earned AS (SELECT c.member_id, count(*) AS sales, sum(c.amount_minor - c.clawed_back_minor) AS minor
                             FROM commission AS c JOIN sale AS s ON s.sale_id = c.sale_id WHERE s.day = ?1 GROUP BY 1)
             SELECT m.member_id, m.phone_masked, count(*), coalesce(e.sales, 0), coalesce(e.minor, 0)
             FROM relation AS r JOIN member AS m ON m.member_id = r.inviter_id LEFT JOIN earned AS e ON e.member_id = m.member_id
             GROUP BY 1 ORDER BY 5 DESC, 3 DESC, 1 LIMIT 100",
            [day.0],
            |row| {
                Ok(Distributor {
                    member_id: row.get(0)?,
                    phone_masked: row.get(1)?,
                    invited: row.get(2)?,
                    sales: row.get(3)?,
                    commission: Money::new(row.get(4)?),
                })
            },
        )?;
        Ok(DayFigures {
            all: all.unwrap_or(nothing),
            by: [shares("o.station_id")?, shares(HOUR_OF_DAY)?, shares("o.grade")?],
            abandoned,
            sold: [
                money("SELECT sum(amount_minor) FROM sale WHERE day = ?1")?,
                money("SELECT sum(amount_minor) FROM sale WHERE day = ?1 AND order_id IS NULL")?,
            ],
            commission: [level(1)?, level(2)?],
            distributors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Invitation;
    use crate::contract::fake_station::STATION;
    use crate::rehearsal::{POSITION, Rehearsal};
    use forecourt::order::Limit;

    /// Half past four in the afternoon: one fuels, one is never lifted; at half past five one fuels diesel; one is never paid; one sale
    /// has no order.
    #[test]
    fn a_day_is_told_by_station_hour_and_grade_with_its_reasons_and_its_turnover() {
        let mut play = Rehearsal::new().expect("books");
        let [driver, inviter] = [1, 2].map(|number| play.member(number).expect("a member"));
        let invitation = Invitation { inviter_id: inviter.clone(), station_id: STATION.into(), position: POSITION };
        play.act(|act| act.bind(&driver, &invitation)).expect("binds");
        let order = |play: &mut Rehearsal, nozzle| {
            let wanted = play.wanted(nozzle, Limit::Amount(Money::new(20_000))).expect("a nozzle");
            play.buy(&driver, &wanted).expect("bought")
        };
        let fuelled = order(&mut play, 1);
        let left = order(&mut play, 2);
        let unpaid = play.wanted(1, Limit::Amount(Money::new(20_000))).expect("a nozzle");
        let (unpaid, _) = play.act(|act| act.place_order(&driver, &unpaid)).expect("placed");
        play.act(|act| act.cancel_order(&unpaid)).expect("cancelled");
        play.release(&left, "not_lifted").expect("booked");
        play.pass_ms(3_600_000);
        let diesel = order(&mut play, 5);
        for (order, nozzle) in [(Some(fuelled.as_str()), 1), (Some(diesel.as_str()), 5), (None, 1)] {
            let record = play.sale(order, nozzle, Volume::new(10_000));
            play.send(&record).expect("booked");
        }
        let day = Day::of(play.now);
        let figures = play.act(|act| act.day_figures(day)).expect("figures");
        assert_eq!((figures.all.paid, figures.all.fuelled, figures.all.fuelled_permille()), (3, 2, Some(666)));
        let rows = |shares: &[Share]| -> Vec<(String, i64, i64, i64)> {
            shares.iter().map(|share| (share.of.clone(), share.paid, share.fuelled, share.amount.get())).collect()
        };
        let [stations, hours, grades] = figures.by.each_ref().map(|shares| rows(shares));
        assert_eq!(stations, [(STATION.into(), 3, 2, 14_900)]);
        assert_eq!(hours, [("16".into(), 2, 1, 7_450), ("17".into(), 1, 1, 7_450)]);
        assert_eq!(grades, [("0".into(), 1, 1, 7_450), ("92".into(), 2, 1, 7_450)]);
        let reason = |reason: &str, paid| Abandoned { reason: reason.into(), paid, orders: 1 };
        assert_eq!(figures.abandoned, [reason("cancelled", false), reason("not_lifted", true)]);
        assert_eq!(figures.sold.map(Money::get), [22_350, 7_450]);
        assert_eq!(figures.commission.map(Money::get), [2 * 373, 0]);
        let [one] = figures.distributors.as_slice() else { panic!("{:?}", figures.distributors) };
        assert_eq!((&one.member_id, one.invited, one.sales, one.commission.get()), (&inviter, 1, 2, 746));
    }

    #[test]
    fn a_day_without_orders_has_no_rate() {
        let mut play = Rehearsal::new().expect("books");
        let day = Day::of(play.now);
        let figures = play.act(|act| act.day_figures(day)).expect("figures");
        assert_eq!((figures.all.paid, figures.all.fuelled_permille()), (0, None));
    }
}
