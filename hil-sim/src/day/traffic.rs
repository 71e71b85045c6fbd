//! Who comes in a day, when, for what, and how they behave. Drawn once from the seed.

use super::station::Station;
use crate::customer::Plan;
use crate::dispenser::NozzleIndex;
use crate::prng::{PerMillion, Prng};
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::time::Instant;
use forecourt::units::{Money, Volume};

/// Share of a day's customers by the hour they come in, with a morning and an evening peak.
const HOURS: [u64; 24] = [1, 1, 1, 1, 1, 2, 5, 9, 9, 6, 5, 5, 6, 5, 4, 5, 7, 9, 9, 6, 4, 3, 2, 1];
/// Customers of a busy day.
pub const BUSY_DAY: u64 = 4_000;

/// One customer to come.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When the car turns in.
    pub at: Instant,
    /// Where it stops.
    pub fp: FuellingPointId,
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// The same, counted at the dispenser.
    pub index: NozzleIndex,
    /// The order.
    pub order: OrderId,
    /// How much.
    pub limit: Limit,
    /// What the customer does.
    pub plan: Plan,
    /// Pays while the car before is still there.
    pub early: bool,
    /// Fuels without an order: someone releases the pump by its key.
    pub by_hand: bool,
    /// Calls the order off after this.
    pub cancels_after: Option<Duration>,
}

/// How long and how busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Hour at which it begins, by the station's clock.
    pub from_hour: u64,
    /// How many hours.
    pub hours: u64,
    /// Customers; `None` for the share of a busy day.
    pub visits: Option<u64>,
}

impl Span {
    fn weight(self, hour: u64) -> u64 {
        HOURS[usize::try_from((self.from_hour + hour) % 24).unwrap_or(0)]
    }

    /// How many come.
    #[must_use]
    pub fn count(self) -> u64 {
        let share: u64 = (0..self.hours).map(|hour| self.weight(hour)).sum();
        self.visits.unwrap_or(BUSY_DAY * share / HOURS.iter().sum::<u64>())
    }

    /// Its length.
    #[must_use]
    pub const fn length(self) -> Duration {
        Duration::from_secs(self.hours * 3_600)
    }
}

/// All who come, by time.
///
/// # Panics
/// If the station has no nozzle.
#[must_use]
pub fn visits(span: Span, station: &Station, prng: &Prng) -> Vec<Visit> {
    let nozzles: Vec<NozzleId> = station.places.keys().copied().collect();
    let mut chance = prng.fork("traffic");
    let mut times: Vec<Instant> = (0..span.count()).map(|_| Instant::START + time(span, &mut chance)).collect();
    times.sort_unstable();
    let visit = |(number, at): (usize, Instant)| {
        let nozzle = *chance.pick(&nozzles);
        let index = station.places[&nozzle].index;
        let fp = FuellingPointId((nozzle.0 - 1) / 2 + 1);
        let plan = plan(index, &mut chance);
        let by_hand = chance.chance(PerMillion(5_000));
        Visit {
            at,
            fp,
            nozzle,
            index,
            order: OrderId::new(format!("{number:06}")).expect("digits are an order id"),
            limit: limit(&mut chance),
            // A pump released by its key has no limit: someone has to hang up.
            plan: if by_hand { Plan::HangUpEarly { at: Volume::new(7_000) } } else { plan },
            early: chance.chance(PerMillion(100_000)),
            by_hand,
            cancels_after: chance
                .chance(PerMillion(20_000))
                .then(|| chance.between(Duration::from_millis(200), Duration::from_secs(60))),
        }
    };
    times.into_iter().enumerate().map(visit).collect()
}

fn time(span: Span, chance: &mut Prng) -> Duration {
    let share: u64 = (0..span.hours).map(|hour| span.weight(hour)).sum();
    let mut draw = chance.below(share);
    let mut hour = 0;
    while draw >= span.weight(hour) {
        draw -= span.weight(hour);
        hour += 1;
    }
    Duration::from_secs(hour * 3_600) + chance.between(Duration::ZERO, Duration::from_secs(3_599))
}

fn plan(index: NozzleIndex, chance: &mut Prng) -> Plan {
    match chance.below(200) {
        0..140 => Plan::FuelToPreset,
        140..172 => Plan::HangUpEarly { at: Volume::new(200 + i64::try_from(chance.below(20_000)).unwrap_or(0)) },
        172..182 => Plan::LiftEarly,
        182..188 => Plan::LiftWrongNozzle { first: NozzleIndex(3 - index.0) },
        188..192 => Plan::NeverLift,
        192..196 => Plan::NeverSqueeze,
        _ => Plan::ComeAndGo { times: 1 + u8::try_from(chance.below(3)).unwrap_or(0) },
    }
}

fn limit(chance: &mut Prng) -> Limit {
    let draw = |chance: &mut Prng, least: i64, most: u64| least + i64::try_from(chance.below(most)).unwrap_or(0);
    match chance.below(10) {
        // Round sums, as people pay; and some to the fen.
        0..6 => Limit::Amount(Money::new(draw(chance, 20, 230) * 100)),
        6 => Limit::Amount(Money::new(draw(chance, 2_000, 20_000))),
        7..9 => Limit::Volume(Volume::new(draw(chance, 200, 3_000) * 10)),
        _ => Limit::FullTank(Money::new(draw(chance, 200, 200) * 100)),
    }
}
