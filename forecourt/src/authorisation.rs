//! Whether an order may stand at a nozzle: one pure function; a refusal names its rule.

use crate::command::{Exceeded, Outcome};
use crate::fuelling_point::FuellingPoint;
use crate::hold::Hold;
use crate::ids::{FuellingPointId, Grade};
use crate::layout::Layout;
use crate::list::Lists;
use crate::order::{Limit, OrderRequest};
use crate::preset;
use crate::price::Direction;
use crate::pump::State;
use crate::time::{ClockQuality, Now};
use crate::units::{Currency, Money, UnitPrice};
use std::collections::BTreeMap;

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It may stand at this fuelling point.
    Accept(FuellingPointId),
    /// It may not.
    Refuse(Outcome),
}

/// What is known of the customer of an order.
#[derive(Clone, Copy, Debug)]
pub struct CustomerView<'a> {
    /// What the platform says of customers and plates.
    pub lists: &'a Lists,
    /// Dispensed to the customer today, and on other orders that wait.
    pub today: Money,
}

/// Decides. `point` is the fuelling point of the order's nozzle, if there is one.
#[must_use]
pub fn decide(
    request: &OrderRequest,
    layout: &Layout,
    point: Option<&FuellingPoint>,
    customer: CustomerView<'_>,
    station_held: bool,
    now: &Now,
) -> Decision {
    let (Some(point), Some(nozzle), Some(rules)) =
        (point, layout.nozzles.get(&request.nozzle), layout.rules_of(request.nozzle))
    else {
        return Decision::Refuse(Outcome::UnknownNozzle);
    };
    // Without a clock nobody knows; the age of the signed command was checked against the same clock.
    if now.clock != ClockQuality::Unset && request.expires_at <= now.utc {
        return Decision::Refuse(Outcome::Expired);
    }
    if nozzle.grade != request.grade {
        let suggested_nozzles = layout.nozzles_with(&request.grade).collect();
        return Decision::Refuse(Outcome::GradeMismatch { suggested_nozzles });
    }
    if station_held {
        return Decision::Refuse(Outcome::StationHeld);
    }
    let holds = point.holds(request.nozzle);
    // A closed dispenser takes no release; being closed is a state and no hold.
    if !holds.is_empty() || point.state() == State::Closed {
        return Decision::Refuse(Outcome::NozzleUnavailable { holds });
    }
    let price = point.order_price(request.nozzle);
    if request.unit_price < price {
        return Decision::Refuse(Outcome::PriceChanged { unit_price_micros: price });
    }
    let Some(preset) = preset::for_limit(request.limit, price, layout.currency, point.capabilities()) else {
        return Decision::Refuse(Outcome::UnsupportedPreset);
    };
    let Some(volume) = preset::most_volume(preset, price, layout.currency) else {
        return Decision::Refuse(Outcome::UnsupportedPreset);
    };
    if volume < layout.limits.minimum_volume {
        return Decision::Refuse(Outcome::LimitTooSmall);
    }
    if volume > rules.max_volume {
        return Decision::Refuse(Outcome::LimitExceeded { limit: Exceeded::Volume });
    }
    let asked = money_of(request.limit, price, layout.currency);
    if asked > layout.limits.amount {
        return Decision::Refuse(Outcome::LimitExceeded { limit: Exceeded::Amount });
    }
    if let Some(outcome) = customer.lists.refuses(request, volume, layout) {
        return Decision::Refuse(outcome);
    }
    let day_limit = customer.lists.day_amount(request).unwrap_or(Money::new(i64::MAX));
    let day_limit = day_limit.min(layout.limits.customer_day_amount);
    let day = customer.today.checked_add(asked).unwrap_or(Money::new(i64::MAX));
    if request.customer.is_some() && day > day_limit {
        return Decision::Refuse(Outcome::LimitExceeded { limit: Exceeded::CustomerDay });
    }
    if point.order_count() >= layout.limits.queue {
        return Decision::Refuse(Outcome::NozzleBusy);
    }
    Decision::Accept(point.id())
}

/// The most money that a limit may come to.
#[must_use]
pub fn money_of(limit: Limit, price: UnitPrice, currency: Currency) -> Money {
    match limit {
        Limit::Amount(money) | Limit::FullTank(money) => money,
        Limit::Volume(volume) => price.cost_of(volume, currency).unwrap_or(Money::new(i64::MAX)),
    }
}

/// The sentence for people that goes with an outcome.
#[must_use]
pub fn sentence(outcome: &Outcome, layout: &Layout) -> String {
    let list =
        |nozzles: &[crate::ids::NozzleId]| nozzles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match outcome {
        Outcome::Armed => "the nozzle may be lifted".into(),
        Outcome::Queued { position } => format!("waits behind {position} other order(s)"),
        Outcome::Duplicate { state, .. } => format!("this order is known and {state}"),
        Outcome::Conflict { state, .. } => {
            format!("another order has this id and is {state}; use a new id")
        }
        Outcome::Expired => "the order came after its expiry; pay anew".into(),
        Outcome::TooOld => "the command is older than its type allows; sign it anew".into(),
        Outcome::UnknownNozzle => {
            format!("no such nozzle here; there are {}", list(&layout.nozzles.keys().copied().collect::<Vec<_>>()))
        }
        Outcome::GradeMismatch { suggested_nozzles } if suggested_nozzles.is_empty() => {
            "no nozzle here delivers this grade".into()
        }
        Outcome::GradeMismatch { suggested_nozzles } => {
            format!("this nozzle delivers another grade; choose {}", list(suggested_nozzles))
        }
        Outcome::PriceChanged { unit_price_micros } => {
            let micros = unit_price_micros.get();
            format!("the pump's price is {}.{:06} a litre; confirm anew", micros / 1_000_000, micros % 1_000_000)
        }
        Outcome::NozzleUnavailable { holds } if holds.is_empty() => {
            "the pump is switched off or has no prices yet".into()
        }
        Outcome::NozzleUnavailable { holds } if holds.contains(&Hold::ListenOnly) => {
            "another controller drives this pump; order there".into()
        }
        Outcome::NozzleUnavailable { holds } if holds.contains(&Hold::NoPreset) => {
            "this pump takes no limit and is never released from here; choose another".into()
        }
        Outcome::NozzleUnavailable { holds } => {
            let words: Vec<String> = holds.iter().map(|hold| hold.word().into()).collect();
            format!("the nozzle is held: {}", words.join(", "))
        }
        Outcome::StationHeld => "the station takes no orders at present".into(),
        Outcome::LimitExceeded { limit } => match limit {
            Exceeded::Amount => {
                format!("one order may cost {} at most", layout.limits.amount.major(layout.currency))
            }
            Exceeded::Volume => "so much is not released at once here; ask for less".into(),
            Exceeded::CustomerDay => {
                "the customer's limit of the day would be exceeded; ask for less or tomorrow".into()
            }
            Exceeded::List => "a list of the platform does not allow this customer so much; ask the operator".into(),
        },
        Outcome::LimitTooSmall => {
            format!("the limit is below the least fuelling of {} L", layout.limits.minimum_volume.litres())
        }
        Outcome::NozzleBusy => "too many orders wait at this nozzle; choose another".into(),
        Outcome::UnsupportedPreset => "this pump cannot hold such a limit; choose an amount or litres".into(),
        Outcome::Overloaded => "too many commands wait; try again later".into(),
        Outcome::Cancelled => "the order is cancelled; its release follows".into(),
        Outcome::CannotCancel { state } | Outcome::CannotMove { state } => format!("too late: the order is {state}"),
        Outcome::AlreadyEnded { .. } => "the order has its end".into(),
        Outcome::UnknownOrder => "no such order was received here".into(),
        Outcome::Moved => "the order stands at the new nozzle".into(),
        Outcome::Stopped => "stop was sent".into(),
        Outcome::NothingToStop => "nothing flows there that this controller could stop".into(),
        Outcome::Held => "held; orders that waited there are released".into(),
        Outcome::Unheld => "no longer held".into(),
        Outcome::OnSiteOnly { nozzles } => {
            format!("a hold stands at nozzle {} that only a person at the station may lift", list(nozzles))
        }
        Outcome::Watching => "live readings follow".into(),
        Outcome::Office(done) => done.sentence(),
        Outcome::Scheduled { directions } => scheduled(directions),
        Outcome::Refused { problems } => problems.join("; "),
        Outcome::Updated { version } => format!("the list stands at version {}", version.0),
        Outcome::VersionGap { version } => {
            format!("the list stands at version {}: send it in full, with a higher one", version.0)
        }
    }
}

fn scheduled(directions: &BTreeMap<Grade, Direction>) -> String {
    let of = |wanted: Direction| -> Vec<&str> {
        directions.iter().filter(|(_, direction)| **direction == wanted).map(|(grade, _)| grade.as_str()).collect()
    };
    let mut advice = vec!["the prices come into force at their moment, at each nozzle once it is free".to_owned()];
    let (raised, lowered) = (of(Direction::Raise), of(Direction::Lower));
    if !raised.is_empty() {
        advice.push(format!("raised: {}; change the sign before", raised.join(", ")));
    }
    if !lowered.is_empty() {
        advice.push(format!("lowered: {}; change the sign once all nozzles are applied", lowered.join(", ")));
    }
    advice.join("; ")
}
