//! Sales over a bad wire: bits flip both ways, and every sale comes out as the pump counted it.

mod common;

use common::*;
use core::time::Duration;
use forecourt::pump::{Preset, PumpEvent};
use forecourt::units::Volume;
use proptest::prelude::*;

struct Noisy {
    pump: Pump,
    random: u64,
    /// One bit in so many flips.
    one_in: u64,
}

impl Noisy {
    fn spoil(&mut self, bytes: &mut [u8]) {
        for bit in 0..bytes.len() * 8 {
            // xorshift64
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            if self.random.is_multiple_of(self.one_in) {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

impl Device for Noisy {
    fn hear(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut frame = frame.to_vec();
        self.spoil(&mut frame);
        let mut answer = self.pump.hear(&frame)?;
        self.spoil(&mut answer);
        Some(answer)
    }

    fn pump(&mut self) -> Option<&mut Pump> {
        Some(&mut self.pump)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_noisy_wire_costs_retries_and_never_a_wrong_sale(seed in 1..u64::MAX, one_in in prop_oneof![Just(1_000_u64), Just(3_000), Just(10_000)]) {
        let noisy = Noisy { pump: Pump::new(0x57), random: seed, one_in };
        let mut world = World::new(fast(), vec![head()], vec![Box::new(noisy)]);
        world.run(Duration::from_secs(2));
        let mut expected = Vec::new();
        for round in 1..8_u64 {
            world.pump().lift(1);
            world.run(Duration::from_millis(500));
            let from = world.events.len();
            world.command(order(round, Preset::Volume(Volume::new(50_000))));
            world.run(Duration::from_secs(3));
            let volume = u32::try_from(round * 111).expect("small");
            if world.pump().status == 2 {
                world.pump().flow(volume, volume * 105);
                world.run(Duration::from_millis(500));
                expected.push(i64::from(volume) * 10);
            }
            world.pump().hang();
            world.run(Duration::from_secs(3));
            let told: Vec<_> = world.events[from..].iter().map(|(_, _, event)| event.clone()).collect();
            let ends: Vec<i64> = told.iter().filter_map(|event| match event {
                PumpEvent::Ended { reading, .. } => Some(reading.volume.get()),
                // a loss in between is settled by what is read after it
                PumpEvent::Snapshot(snapshot) => snapshot.reading.map(|reading| reading.volume.get()),
                _ => None,
            }).collect();
            if world.pump().volume == volume {
                prop_assert!(ends.last() == expected.last(), "{ends:?} for {expected:?}: {told:#?}");
            }
        }
        prop_assert_eq!(&world.pump().violations, &Vec::<String>::new());
        prop_assert!(expected.len() >= 6, "{} of 7 orders were released", expected.len());
    }
}
