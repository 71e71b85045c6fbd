//! Dispensers, customers and a line together on an invented clock, with a controller that only knows how to release and to acknowledge.

use core::time::Duration;
use forecourt::ids::Grade;
use forecourt::time::Instant;
use forecourt::units::Volume;
use hil_sim::customer::{Customer, Habits, Plan};
use hil_sim::dispenser::calculator::{AmountDigits, Decimals, PriceDigits};
use hil_sim::dispenser::dart::frame::{BlockNumber, block};
use hil_sim::dispenser::dart::quirks::Quirks;
use hil_sim::dispenser::dart::{DartConfig, DartDispenser};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::{EndCause, Fuelling, Moment, Violation};
use hil_sim::dispenser::{Address, Condition, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::wire::{DeviceId, Faults, Wire, WireConfig};

const PUMP: DeviceId = DeviceId(0);
const ONE: NozzleIndex = NozzleIndex(1);
const PRICE: u32 = 745;
/// RESET, nozzle 1 only, preset amount 20.00, AUTHORIZE.
const RELEASE: [u8; 15] = [1, 1, 5, 2, 1, 1, 4, 4, 0, 0, 0x20, 0, 1, 1, 6];

struct Outcome {
    fuellings: Vec<Fuelling>,
    violations: Vec<Violation>,
    moments: Vec<Moment>,
    litres_by_totaliser: i64,
}

/// Plays one customer at one pump until gone, with a release whenever nozzle 1 calls.
fn play(plan: Plan, faults: Faults, seed: u64) -> Outcome {
    let nozzle = NozzleConfig {
        grade: Grade::new("92").expect("a grade"),
        price: Some(PriceDigits(PRICE)),
        totaliser: Volume::new(1_000_000),
    };
    let pump = PumpConfig {
        nozzles: vec![nozzle.clone(), nozzle],
        decimals: Decimals::TWO,
        flow: FlowProfile::default(),
        keeps_sale: true,
        keeps_prices: false,
    };
    let (address, turnaround) = (Address(0x51), DartConfig::TURNAROUND);
    let prng = Prng::new(seed);
    let mut wire = Wire::new(WireConfig { faults, ..WireConfig::clean() }, &prng.fork("line"));
    wire.connect(Box::new(DartDispenser::new(DartConfig { address, turnaround, quirks: Quirks::default(), pump })));
    let mut customer = Customer::new(plan, ONE, Decimals::TWO, Habits::brisk(), prng.fork("customer"), Instant::START);
    customer.told_ready(Instant::START);

    let mut now = Instant::START;
    let mut number = BlockNumber::ZERO;
    let turn = Duration::from_millis(80);
    while !customer.is_gone() || wire.device(PUMP).expect("a pump").condition() != Condition::Idle {
        assert!(now < Instant::START + Duration::from_secs(600), "{plan:?} never ends");
        let view = wire.device(PUMP).expect("a pump").view(now);
        customer.observe(&view, now);
        customer.handle_timeout(now);
        while let Some(action) = customer.poll_action() {
            wire.act(PUMP, action, now);
        }
        let view = wire.device(PUMP).expect("a pump").view(now);
        let request = if view.condition == Condition::Calling && view.nozzle_out == Some(ONE) {
            number = number.next();
            block(address, number, &RELEASE)
        } else {
            vec![0x51, 0x20, 0xFA]
        };
        wire.handle_bytes_from_controller(&request, now);
        now = now + turn;
        if let Some(answer) = wire.poll_bytes_to_controller(now)
            && let Some([_, control, ..]) = answer.strip_suffix(&[0xFA])
            && control >> 4 == 3
        {
            wire.handle_bytes_from_controller(&[0x51, 0xC0 | control & 0x0F, 0xFA], now);
            now = now + Duration::from_millis(10);
        }
    }
    let moments = wire.take_moments().into_iter().map(|marked| marked.moment).collect();
    let pump = wire.device(PUMP).expect("a pump");
    let total = pump.pump().totaliser(ONE, now).expect("a totaliser").get();
    Outcome {
        fuellings: pump.pump().fuellings().to_vec(),
        violations: pump.violations().to_vec(),
        moments,
        litres_by_totaliser: total - 1_000_000,
    }
}

fn sold(outcome: &Outcome) -> Vec<(AmountDigits, EndCause)> {
    outcome.fuellings.iter().map(|done| (done.figures.amount, done.cause)).collect()
}

#[test]
fn every_kind_of_customer_leaves_a_record_that_agrees_with_the_totaliser() {
    let full = (AmountDigits(2_000), EndCause::LimitReached);
    for plan in [
        Plan::FuelToPreset,
        Plan::LiftEarly,
        Plan::LiftWrongNozzle { first: NozzleIndex(2) },
        Plan::HangUpEarly { at: Volume::new(1_000) },
        Plan::NeverLift,
        Plan::NeverSqueeze,
        Plan::ComeAndGo { times: 2 },
    ] {
        let outcome = play(plan, Faults::default(), 11);
        let litres: i64 = outcome.fuellings.iter().map(|done| done.volume.get()).sum();
        assert_eq!(litres, outcome.litres_by_totaliser, "{plan:?}");
        match plan {
            Plan::FuelToPreset | Plan::LiftEarly | Plan::LiftWrongNozzle { .. } => {
                assert_eq!(sold(&outcome), [full], "{plan:?}");
                assert_eq!(outcome.moments.iter().filter(|moment| **moment == Moment::EndReported).count(), 1);
                assert_eq!(outcome.violations, [], "{plan:?}");
            }
            Plan::HangUpEarly { at } => {
                assert_eq!(outcome.fuellings.len(), 1);
                assert!(outcome.fuellings[0].volume >= at && outcome.fuellings[0].cause == EndCause::HungUp);
            }
            Plan::NeverLift => assert_eq!(sold(&outcome), []),
            Plan::NeverSqueeze | Plan::ComeAndGo { .. } => assert_eq!(litres, 0, "{plan:?}"),
        }
    }
}

#[test]
fn one_seed_plays_the_same_customer_on_the_same_bad_line() {
    let bad = hil_sim::prng::PerMillion(2_000);
    let faults = Faults { bit_flip: bad, drop: bad, double: bad, late: bad, junk: bad, ..Faults::default() };
    let once = play(Plan::FuelToPreset, faults, 5);
    let again = play(Plan::FuelToPreset, faults, 5);
    assert_eq!(once.fuellings, again.fuellings);
    assert_eq!(once.moments, again.moments);
    let other = play(Plan::FuelToPreset, faults, 6);
    assert_ne!(once.fuellings, other.fuellings);
}
