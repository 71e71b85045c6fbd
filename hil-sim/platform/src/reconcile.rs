//! Three-way reconciliation of a day: what the pumps recorded, what the orders came to, what the payment channel says. Pure: books in,
//! differences out. Shows: every difference is found under the name of its sale, order or payment, and none is invented.

use crate::calendar::Day;
use crate::refusal::price;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A totaliser may show one step of a dispenser more or less than the sale: 10 ml.
const STEP: Volume = Volume::new(10);

/// A sale as the pump recorded it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PumpLine {
    /// Its name.
    pub sale_id: String,
    /// Where.
    pub station_id: String,
    /// Where.
    pub nozzle: i64,
    /// Place in the station's records.
    pub sequence: i64,
    /// For which order; `None` for fuel without one.
    pub order_id: Option<String>,
    /// The pump's.
    pub price: UnitPrice,
    /// The pump's.
    pub volume: Volume,
    /// The pump's.
    pub amount: Money,
    /// Totaliser before and after, where the pump has one.
    pub totaliser: Option<(Volume, Volume)>,
    /// Movement since the sale before that no sale explains, as the station said.
    pub unaccounted: Volume,
}

/// An order as the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderLine {
    /// Its name.
    pub order_id: String,
    /// Its sale, if it ended in one.
    pub sale_id: Option<String>,
    /// Whether it has its end.
    pub ended: bool,
    /// Credited to the station for it.
    pub credited: Money,
    /// Paid by the driver, whatever the means.
    pub paid: Money,
    /// Charged to the driver.
    pub charged: Money,
    /// Given back.
    pub refunded: Money,
}

/// A payment or refund in one of two books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoneyLine {
    /// Its name in both.
    pub name: String,
    /// How much.
    pub amount: Money,
}

/// All books of one day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DayBooks {
    /// Which day.
    pub day: Day,
    /// The pumps'.
    pub pumps: Vec<PumpLine>,
    /// Totalisers of each nozzle at the end of its last sale before this day.
    pub totalisers_before: BTreeMap<(String, i64), Volume>,
    /// The orders'.
    pub orders: Vec<OrderLine>,
    /// Payments as the platform has them, and as the channel has them.
    pub payments: [Vec<MoneyLine>; 2],
    /// Refunds as the platform has them, and as the channel has them.
    pub refunds: [Vec<MoneyLine>; 2],
}

/// What kind of difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An order ended in a sale that the pump's records lack.
    SaleMissing,
    /// A sale names an order that does not know it.
    SaleWithoutOrder,
    /// More than one sale for one order.
    SaleTwice,
    /// The pump's amount is not what was credited to the station.
    AmountDiffers,
    /// The pump ran over what was paid; the station bears it.
    LimitOverrun,
    /// The pump's amount is not its volume times its price.
    PriceDiffers,
    /// The totaliser moved by another volume than the sale says.
    TotaliserDiffers,
    /// The totaliser moved between two sales, and nobody said so.
    TotaliserGap,
    /// The order's money does not add up: paid is not charged plus refunded, or it was charged without fuel.
    OrderUnbalanced,
    /// Paid, and without an end.
    OrderOpen,
    /// The platform has a payment that the channel has not.
    PaymentNotAtChannel,
    /// The channel has a payment that the platform has not.
    PaymentNotAtPlatform,
    /// Both have it, with different amounts.
    PaymentDiffers,
    /// The platform has a refund that the channel has not.
    RefundNotAtChannel,
    /// The channel has a refund that the platform has not.
    RefundNotAtPlatform,
    /// Both have it, with different amounts.
    RefundDiffers,
}

impl Kind {
    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::SaleMissing => "no record of the sale",
            Self::SaleWithoutOrder => "sale without its order",
            Self::SaleTwice => "second sale of an order",
            Self::AmountDiffers => "credited another amount than the pump's",
            Self::LimitOverrun => "pump ran over what was paid; the station bears it",
            Self::PriceDiffers => "amount is not volume times price",
            Self::TotaliserDiffers => "totaliser moved by another volume",
            Self::TotaliserGap => "totaliser moved between sales",
            Self::OrderUnbalanced => "order does not add up",
            Self::OrderOpen => "paid order without an end",
            Self::PaymentNotAtChannel => "payment that the channel has not",
            Self::PaymentNotAtPlatform => "payment that the platform has not",
            Self::PaymentDiffers => "payment with two amounts",
            Self::RefundNotAtChannel => "refund that the channel has not",
            Self::RefundNotAtPlatform => "refund that the platform has not",
            Self::RefundDiffers => "refund with two amounts",
        }
    }
}

fn yuan(money: Money) -> String {
    money.major(Currency::CNY)
}

fn litres(volume: Volume) -> String {
    volume.litres()
}

/// One difference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// What kind.
    pub kind: Kind,
    /// The sale, order, payment or refund.
    pub of: String,
    /// Figures.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind.words(), self.of, self.what)
    }
}

/// All differences of a day, sorted.
#[must_use]
pub fn reconcile(books: &DayBooks) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut report = |kind, of: &str, what: String| found.push(Difference { kind, of: of.into(), what });
    pumps_alone(books, &mut report);
    pumps_against_orders(books, &mut report);
    orders_alone(books, &mut report);
    two_books(
        &books.payments,
        [Kind::PaymentNotAtChannel, Kind::PaymentNotAtPlatform, Kind::PaymentDiffers],
        &mut report,
    );
    two_books(&books.refunds, [Kind::RefundNotAtChannel, Kind::RefundNotAtPlatform, Kind::RefundDiffers], &mut report);
    found.sort();
    found
}

type Report<'a> = &'a mut dyn FnMut(Kind, &str, String);

fn pumps_alone(books: &DayBooks, report: Report<'_>) {
    let mut pumps: Vec<&PumpLine> = books.pumps.iter().collect();
    pumps.sort_by(|one, other| (&one.station_id, one.sequence).cmp(&(&other.station_id, other.sequence)));
    let mut last = books.totalisers_before.clone();
    for sale in pumps {
        if !sale.price.agrees(sale.volume, sale.amount, STEP, Currency::CNY) {
            let what = format!("{} L at {} is not {}", litres(sale.volume), price(sale.price), yuan(sale.amount));
            report(Kind::PriceDiffers, &sale.sale_id, what);
        }
        let Some((start, end)) = sale.totaliser else { continue };
        if (end.get() - start.get() - sale.volume.get()).abs() > STEP.get() {
            let what = format!(
                "the totaliser moved {} L, the sale has {}",
                litres(Volume::new(end.get() - start.get())),
                litres(sale.volume)
            );
            report(Kind::TotaliserDiffers, &sale.sale_id, what);
        }
        if let Some(before) = last.insert((sale.station_id.clone(), sale.nozzle), end) {
            let unexplained = start.get() - before.get() - sale.unaccounted.get();
            if unexplained.abs() > STEP.get() {
                report(
                    Kind::TotaliserGap,
                    &sale.sale_id,
                    format!("{} L before it are in no record", litres(Volume::new(unexplained))),
                );
            }
        }
    }
}

fn pumps_against_orders(books: &DayBooks, report: Report<'_>) {
    let orders: BTreeMap<&str, &OrderLine> =
        books.orders.iter().map(|order| (order.order_id.as_str(), order)).collect();
    let mut sold: BTreeMap<&str, usize> = BTreeMap::new();
    for sale in &books.pumps {
        // A voucher's order is known by its code alone.
        let Some(order_id) = sale.order_id.as_deref().filter(|order| !order.starts_with("V-")) else { continue };
        let count = sold.entry(order_id).or_default();
        *count += 1;
        match orders.get(order_id) {
            _ if *count > 1 => report(Kind::SaleTwice, &sale.sale_id, format!("another sale of order {order_id}")),
            Some(order) if order.sale_id.as_deref() == Some(&sale.sale_id) => {
                if order.credited != sale.amount {
                    let what = format!(
                        "the pump has {}, the station was credited {}",
                        yuan(sale.amount),
                        yuan(order.credited)
                    );
                    let all_is_charged = order.charged == order.paid && order.refunded == Money::ZERO;
                    let overrun = sale.amount > order.credited && all_is_charged;
                    report(if overrun { Kind::LimitOverrun } else { Kind::AmountDiffers }, &sale.sale_id, what);
                }
            }
            _ => report(Kind::SaleWithoutOrder, &sale.sale_id, format!("order {order_id} does not know it")),
        }
    }
    let sales: BTreeSet<&str> = books.pumps.iter().map(|sale| sale.sale_id.as_str()).collect();
    for order in &books.orders {
        if let Some(sale) = &order.sale_id
            && !sales.contains(sale.as_str())
        {
            report(Kind::SaleMissing, &order.order_id, format!("no record of its sale {sale}"));
        }
    }
}

fn orders_alone(books: &DayBooks, report: Report<'_>) {
    for order in &books.orders {
        let OrderLine { paid, charged, refunded, .. } = order;
        let fuelled = order.sale_id.is_some();
        if !order.ended {
            if paid.is_positive() {
                report(Kind::OrderOpen, &order.order_id, format!("{} paid, no end yet", yuan(*paid)));
            }
        } else if paid.get() != charged.get() + refunded.get() || (!fuelled && charged.is_positive()) {
            let what = format!("paid {}, charged {}, refunded {}", yuan(*paid), yuan(*charged), yuan(*refunded));
            report(Kind::OrderUnbalanced, &order.order_id, what);
        }
    }
}

fn two_books([ours, theirs]: &[Vec<MoneyLine>; 2], [not_theirs, not_ours, differs]: [Kind; 3], report: Report<'_>) {
    let index = |lines: &'_ [MoneyLine]| -> BTreeMap<String, Money> {
        lines.iter().map(|line| (line.name.clone(), line.amount)).collect()
    };
    let (ours, theirs) = (index(ours), index(theirs));
    for (name, amount) in &ours {
        match theirs.get(name) {
            None => report(not_theirs, name, yuan(*amount)),
            Some(other) if other != amount => {
                report(differs, name, format!("{} here, {} at the channel", yuan(*amount), yuan(*other)))
            }
            Some(_) => {}
        }
    }
    for (name, amount) in theirs.iter().filter(|(name, _)| !ours.contains_key(*name)) {
        report(not_ours, name, yuan(*amount));
    }
}
