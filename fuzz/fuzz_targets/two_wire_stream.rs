//! Any words on a two-wire loop: described whole or cut, and heard without a byte lost by who only listens.
#![no_main]

use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::time::Instant;
use forecourt::units::{Currency, UnitPrice};
use forecourt_edge_fuzz::stream;
use libfuzzer_sys::fuzz_target;
use pump_drivers::decimals::Decimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::Watch as _;
use pump_drivers::listen::Listener;
use pump_drivers::protocol::Protocol;
use pump_drivers::two_wire::block::Level;
use pump_drivers::two_wire::{PollWatch, TwoWireEar, line_settings};
use std::time::Duration;

fuzz_target!(|data: &[u8]| {
    stream(Protocol::TwoWire, data);
    let settings = line_settings();
    let decimals = Decimals { volume: 3, price: 3, amount: 2, totals: 2 };
    let head = HeadSettings::new(FuellingPointId(1), 7, decimals, Currency::CNY);
    let head = head.with_nozzle(1, NozzleId(1), UnitPrice::new(1_050_000));
    let mut line = Listener::new(settings, Box::new(TwoWireEar::new(&settings, vec![(head, Level::One)])));
    let mut now = Instant::START;
    line.handle_link(true, now);
    let mut heard = Vec::new();
    for byte in data {
        now = now + settings.wire_time(1);
        line.handle_bytes(&[*byte], now);
        heard.extend(core::iter::from_fn(|| line.poll_trace()).flat_map(|frame| frame.bytes));
        while line.poll_event().is_some() {}
    }
    line.handle_timeout(now + Duration::from_secs(60));
    heard.extend(core::iter::from_fn(|| line.poll_trace()).flat_map(|frame| frame.bytes));
    assert_eq!(heard, data, "every word is traced once, in order");

    let mut watch = PollWatch::default();
    let frames = watch.hear(data);
    assert!(frames.iter().map(|(bytes, _)| bytes.len()).sum::<usize>() <= data.len());
});
