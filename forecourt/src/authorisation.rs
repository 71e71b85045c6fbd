//! Whether an order may stand at a nozzle: one pure function; a refusal names its rule.

use crate::command::Outcome;
use crate::fuelling_point::FuellingPoint;
use crate::hold::Hold;
use crate::ids::FuellingPointId;
use crate::layout::Layout;
use crate::order::{Limit, OrderRequest};
use crate::preset;
use crate::pump::State;
use crate::time::{ClockQuality, Now};
use crate::units::{Money, Volume};

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It may stand at this fuelling point.
    Accept(FuellingPointId),
    /// It may not.
    Refuse(Outcome),
}

/// Decides. `point` is the fuelling point of the order's nozzle, if there is one.
#[must_use]
pub fn decide(
    request: &OrderRequest,
    layout: &Layout,
    point: Option<&FuellingPoint>,
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
    if request.unit_price < rules.price {
        return Decision::Refuse(Outcome::PriceChanged { unit_price_micros: rules.price });
    }
    let Some(preset) = preset::for_limit(request.limit, rules.price, layout.currency, point.capabilities()) else {
        return Decision::Refuse(Outcome::UnsupportedPreset);
    };
    let Some(volume) = preset::most_volume(preset, rules.price, layout.currency) else {
        return Decision::Refuse(Outcome::UnsupportedPreset);
    };
    if volume < layout.limits.minimum_volume {
        return Decision::Refuse(Outcome::LimitTooSmall);
    }
    if volume > rules.max_volume || money_of(request.limit, volume, rules.price, layout) > layout.limits.amount {
        return Decision::Refuse(Outcome::LimitExceeded);
    }
    if point.order_count() >= layout.limits.queue {
        return Decision::Refuse(Outcome::NozzleBusy);
    }
    Decision::Accept(point.id())
}

fn money_of(limit: Limit, volume: Volume, price: crate::units::UnitPrice, layout: &Layout) -> Money {
    match limit {
        Limit::Amount(money) | Limit::FullTank(money) => money,
        Limit::Volume(_) => price.cost_of(volume, layout.currency).unwrap_or(Money::new(i64::MAX)),
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
        Outcome::LimitExceeded => "the limit is above what the station allows".into(),
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
        Outcome::OnSiteOnly => "a hold stands that only a person at the station may lift".into(),
        Outcome::Watching => "live readings follow".into(),
    }
}
