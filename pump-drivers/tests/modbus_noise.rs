//! Any bytes at all: nothing panics, and no figure comes of them that was not sent whole.

use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::pump::{PumpCommand, PumpEvent};
use forecourt::time::Instant;
use forecourt::units::{Currency, UnitPrice, Volume};
use proptest::prelude::*;
use pump_drivers::decimals::Decimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::Line;
use pump_drivers::modbus::profile::Profile;
use pump_drivers::modbus::wire::{Answer, Area, Framing, Question, Taken, Talk};
use pump_drivers::modbus::{Habits, ModbusDriver, StreamDecoder, decode_line, line_settings};
use pump_drivers::protocol::FrameDecoder;
use std::sync::Arc;

fn profile() -> Arc<Profile> {
    let text = include_str!("../../profiles/modbus/generic-dispenser.toml");
    Arc::new(Profile::parse(text).expect("a good profile"))
}

fn line() -> Line {
    let decimals = Decimals { volume: 3, price: 2, amount: 2, totals: 3 };
    let head = HeadSettings::new(FuellingPointId(1), 9, decimals, Currency::CNY).with_nozzle(
        1,
        NozzleId(11),
        UnitPrice::new(7_450_000),
    );
    let mut line = Line::new(line_settings(), vec![Box::new(ModbusDriver::new(head, Habits::new(profile())))]);
    line.handle_link(true, Instant::START);
    line
}

fn check_sum(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc % 2 == 1 { (crc / 2) ^ 0xA001 } else { crc / 2 };
        }
    }
    crc.to_le_bytes()
}

proptest! {
    #[test]
    fn any_bytes_are_borne_by_framing_and_description(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        tcp in any::<bool>(),
    ) {
        let framing = if tcp { Framing::Tcp } else { Framing::Rtu };
        for question in [
            Question::Read { area: Area::Holding, address: 0, count: 9 },
            Question::Read { area: Area::Coil, address: 0, count: 3 },
            Question::WriteRegister { address: 25, value: 1 },
            Question::WriteRegisters { address: 20, values: vec![1, 2, 3] },
        ] {
            let mut talk = Talk::new(framing, 0);
            talk.ask(9, question).expect("asked");
            for byte in &bytes {
                if let Taken::Answer(Answer::Registers(words)) = talk.take(*byte) {
                    prop_assert_eq!(words.len(), 9);
                }
            }
        }
        let mut stream = StreamDecoder::new(None);
        stream.feed(&bytes);
        stream.finish();
        let line: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let told = decode_line(&line, None);
        prop_assert!(told["ok"].is_boolean());
    }

    /// Whole frames with any content, and frames with a byte changed, in any order: what is told was in a whole frame.
    #[test]
    fn a_line_that_hears_anything_tells_no_figure_that_was_not_sent_whole(
        answers in prop::collection::vec((prop::collection::vec(any::<u16>(), 16), 0..4_u8, any::<u8>(), any::<u8>()), 1..60),
    ) {
        let mut line = line();
        let mut now = Instant::START;
        let mut sent_volumes = vec![Volume::ZERO];
        for (words, spoil, place, noise) in answers {
            let mut asked = None;
            for _ in 0..20 {
                if let Some((due, _)) = line.poll_timeout() {
                    now = now.max(due);
                }
                line.handle_timeout(now);
                asked = line.poll_transmit(now);
                if asked.is_some() {
                    break;
                }
            }
            let Some(asked) = asked else { continue };
            let mut answer = match asked[1] {
                3 => {
                    let count = usize::from(asked[5]);
                    let words: Vec<u16> = words.iter().copied().cycle().take(count).collect();
                    for pair in words.windows(2) {
                        sent_volumes.push(Volume::new(i64::from(pair[0]) << 16 | i64::from(pair[1])));
                    }
                    let data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                    [vec![9, 3, u8::try_from(data.len()).expect("short")], data].concat()
                }
                _ => asked[..6].to_vec(),
            };
            answer.extend(check_sum(&answer.clone()));
            match spoil {
                0 => {
                    let at = usize::from(place) % answer.len();
                    answer[at] ^= noise.max(1);
                }
                1 => answer.truncate(usize::from(place) % answer.len()),
                2 => answer.insert(0, noise),
                _ => {}
            }
            now = now + Duration::from_millis(30);
            line.handle_bytes(&answer, now);
            while let Some(from) = line.poll_event() {
                let volumes: Vec<Volume> = match &from.event {
                    PumpEvent::Snapshot(snapshot) => {
                        line.handle_command(from.fp, PumpCommand::Stored(snapshot.token), now);
                        snapshot.reading.iter().map(|reading| reading.volume).chain(snapshot.totalisers.values().copied()).collect()
                    }
                    PumpEvent::EndSeen { token, reading } => {
                        line.handle_command(from.fp, PumpCommand::Stored(*token), now);
                        vec![reading.volume]
                    }
                    PumpEvent::Ended { token, reading, totaliser } => {
                        line.handle_command(from.fp, PumpCommand::Stored(*token), now);
                        [Some(reading.volume), *totaliser].into_iter().flatten().collect()
                    }
                    PumpEvent::Running { volume, .. } => vec![*volume],
                    _ => Vec::new(),
                };
                for volume in volumes {
                    prop_assert!(sent_volumes.contains(&volume), "{:?}", from.event);
                }
            }
        }
    }
}
