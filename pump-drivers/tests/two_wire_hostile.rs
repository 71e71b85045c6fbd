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
use pump_drivers::line::{Line, Watch as _};
use pump_drivers::listen::Listener;
use pump_drivers::protocol::FrameDecoder;
use pump_drivers::two_wire::block::Level;
use pump_drivers::two_wire::{Habits, PollWatch, StreamDecoder, TwoWireDriver, TwoWireEar, line_settings};

const FP: FuellingPointId = FuellingPointId(7);

fn head() -> HeadSettings {
    let decimals = Decimals { volume: 3, price: 3, amount: 2, totals: 2 };
    let price = UnitPrice::new(1_050_000);
    HeadSettings::new(FP, 7, decimals, Currency::CNY).with_nozzle(1, NozzleId(71), price).with_nozzle(
        2,
        NozzleId(72),
        price,
    )
}

fn line() -> Line {
    let mut line = Line::new(line_settings(), vec![Box::new(TwoWireDriver::new(head(), Habits::default()))]);
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

/// Words as they come, and now and then one of them stuck.
fn talk() -> impl Strategy<Value = Vec<u8>> {
    let run = prop_oneof![9 => Just(1_usize), 1 => 2_usize..320];
    prop::collection::vec((word(), run), 0..200)
        .prop_map(|runs| runs.into_iter().flat_map(|(word, run)| core::iter::repeat_n(word, run)).collect())
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
    fn any_words_are_described_without_loss(words in talk(), cut in 1_usize..50) {
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
    #[test]
    fn any_words_are_heard_without_loss(words in talk(), pause in 0_u64..100) {
        let settings = line_settings();
        let mut listener = Listener::new(settings, Box::new(TwoWireEar::new(&settings, vec![(head(), Level::One)])));
        let mut watch = PollWatch::default();
        let mut now = Instant::START;
        listener.handle_link(true, now);
        let (mut heard, mut watched) = (Vec::new(), Vec::new());
        for word in &words {
            now = now + Duration::from_millis(if *word == 0x07 { pause } else { 2 });
            listener.handle_bytes(&[*word], now);
            heard.extend(core::iter::from_fn(|| listener.poll_trace()).flat_map(|frame| frame.bytes));
            watched.extend(watch.hear(&[*word]).into_iter().flat_map(|(bytes, _)| bytes));
        }
        listener.handle_timeout(now + Duration::from_secs(60));
        heard.extend(core::iter::from_fn(|| listener.poll_trace()).flat_map(|frame| frame.bytes));
        watch.quiet();
        watched.extend(watch.hear(&[]).into_iter().flat_map(|(bytes, _)| bytes));
        prop_assert_eq!(&heard, &words);
        prop_assert_eq!(&watched, &words);
    }
}
