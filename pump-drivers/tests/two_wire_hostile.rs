//! A two-wire driver on a line where any words may come: it neither panics nor stands still, and reports no sale.

use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent};
use forecourt::time::Instant;
use forecourt::units::{Currency, Money, UnitPrice};
use proptest::prelude::*;
use pump_drivers::decimals::Decimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::hex::Direction;
use pump_drivers::line::Line;
use pump_drivers::protocol::FrameDecoder;
use pump_drivers::two_wire::{Habits, StreamDecoder, TwoWireDriver, line_settings};

const FP: FuellingPointId = FuellingPointId(7);

fn line() -> Line {
    let decimals = Decimals { volume: 3, price: 3, amount: 2, totals: 2 };
    let price = UnitPrice::new(1_050_000);
    let head = HeadSettings::new(FP, 7, decimals, Currency::CNY).with_nozzle(1, NozzleId(71), price).with_nozzle(
        2,
        NozzleId(72),
        price,
    );
    let mut line = Line::new(line_settings(), vec![Box::new(TwoWireDriver::new(head, Habits::default()))]);
    line.handle_link(true, Instant::START);
    line
}

/// Words that mean something, states of pump 7 above all.
fn word() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => (0_u8..16).prop_map(|state| state << 4 | 7),
        2 => 0xE0_u8..0xEA,
        1 => 0xF0_u8..=0xFF,
        1 => any::<u8>(),
    ]
}

proptest! {
    #[test]
    fn any_words_as_answers_make_no_sale_and_no_panic(
        answers in prop::collection::vec((prop::collection::vec(word(), 0..40), 0_u64..200), 1..120),
    ) {
        let mut line = line();
        let mut now = Instant::START;
        let (mut asked, mut answered) = (0_u64, 0_u64);
        for (number, (words, wait)) in (0_u64..).zip(answers) {
            for _ in 0..3 {
                while line.poll_transmit(now).is_some() {}
                if let Some((due, _)) = line.poll_timeout().filter(|(due, _)| *due <= now + Duration::from_millis(wait)) {
                    now = due;
                    line.handle_timeout(now);
                }
            }
            if number % 20 == 10 {
                asked += 1;
                line.handle_command(FP, PumpCommand::Authorise(Authorise {
                    release: ReleaseId(number),
                    nozzle: NozzleId(71),
                    preset: Preset::Amount(Money::new(1_000)),
                    price: UnitPrice::new(1_050_000),
                }), now);
            }
            line.handle_bytes(&words, now);
            now = now + Duration::from_millis(wait);
            while let Some(from) = line.poll_event() {
                match from.event {
                    PumpEvent::Snapshot(snapshot) => line.handle_command(FP, PumpCommand::Stored(snapshot.token), now),
                    PumpEvent::Released { .. } | PumpEvent::Refused { .. } => answered += 1,
                    PumpEvent::Ended { reading, .. } => prop_assert!(!reading.volume.is_positive()),
                    _ => {}
                }
            }
        }
        prop_assert!(answered <= asked);
    }

    #[test]
    fn any_words_are_described_without_loss(words in prop::collection::vec(word(), 0..200), cut in 1_usize..50) {
        for direction in [None, Some(Direction::Controller), Some(Direction::Pump)] {
            let mut joined = StreamDecoder::new(direction);
            let mut whole = joined.feed(&words);
            whole.extend(joined.finish());
            let mut pieces = StreamDecoder::new(direction);
            let mut found: Vec<_> = words.chunks(cut).flat_map(|piece| pieces.feed(piece)).collect();
            found.extend(pieces.finish());
            prop_assert_eq!(&whole, &found);
            prop_assert!(whole.is_empty() == words.is_empty());
        }
    }
}
