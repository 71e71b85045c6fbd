//! Sales over a bad wire: what the driver tells is what the post sold.

mod gaskitlink;

use core::time::Duration;
use forecourt::pump::{Preset, PumpEvent};
use forecourt::units::Volume;
use gaskitlink::*;
use hil_sim::dispenser::Action;
use hil_sim::dispenser::gaskitlink::quirks::Quirks;
use hil_sim::prng::PerMillion;
use hil_sim::wire::{Faults, Pace, WireConfig};
use proptest::prelude::*;
use pump_drivers::gaskitlink::Habits;

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_noisy_wire_costs_retries_and_never_a_wrong_sale(seed in 1..u64::MAX, flips in 0_u32..400, drops in 0_u32..3_000) {
        let faults = Faults { bit_flip: PerMillion(flips), drop: PerMillion(drops), silence: PerMillion(20_000), ..Faults::default() };
        let wire = WireConfig { faults, pace: Pace::characters(9_600, 10), ..WireConfig::clean() };
        let mut stage = Stage::on(wire, seed, Quirks::default(), Habits::default(), |_| {});
        for round in 1..5 {
            stage.run(Duration::from_secs(3));
            stage.act(Action::Lift(ONE));
            stage.run(Duration::from_secs(2));
            stage.forget_events();
            stage.order(round, Preset::Volume(Volume::new(5_000)));
            stage.run(Duration::from_secs(4 + round));
            stage.act(Action::HangUp);
            stage.run(Duration::from_secs(6));
            let Some(last) = stage.post().pump().fuellings().last().map(|sold| sold.volume) else { continue };
            prop_assert!(last <= Volume::new(5_000));
            let told = stage.events.iter().rev().find_map(|event| match event {
                PumpEvent::Ended { reading, .. } => Some(reading.volume),
                PumpEvent::Snapshot(snapshot) => snapshot.reading.map(|reading| reading.volume),
                _ => None,
            });
            if stage.events.iter().any(|event| matches!(event, PumpEvent::Released { .. })) {
                prop_assert_eq!(told, Some(last), "{:#?}", stage.events);
            }
        }
        prop_assert_eq!(stage.wrongs(), vec![]);
    }
}
