//! Simulated days in a debug build: a few short slices. `hil-sim day --seeds tests/seeds.txt --hours 2` plays the rest.

use hil_sim::day::station::Speaks;
use hil_sim::day::traffic::Span;
use hil_sim::day::{Play, Played, from_file, play};
use pump_drivers::protocol::Protocol;
use std::path::Path;

fn slice(seed: u64, fair: bool) -> Played {
    slice_of(seed, Speaks::Drawn, fair)
}

fn slice_of(seed: u64, speaks: Speaks, fair: bool) -> Played {
    let span = Span { from_hour: 7, hours: 1, visits: Some(24) };
    play(Play { seed, span, speaks, fair, keep: 0 }).expect("the simulation itself works")
}

#[test]
fn on_a_fair_day_every_customer_who_fuels_is_booked_once_whatever_the_pumps_speak() {
    for (word, protocol) in Protocol::ALL {
        let day = slice_of(1, Speaks::Only(protocol), true);
        assert_eq!(day.violation, None, "{word}");
        assert!(day.sales >= 15, "{word}: {} sales of 24 customers", day.sales);
        assert!(day.records >= 24, "{word}: each order has its one end: {} records", day.records);
    }
}

#[test]
fn the_books_agree_after_days_with_faults() {
    for seed in [2, 3, 4] {
        let day = slice(seed, false);
        assert_eq!(day.violation, None, "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_day_byte_for_byte_and_another_is_another() {
    let once = slice(7, false);
    assert_eq!(once, slice(7, false));
    assert_ne!(once.digest, slice(8, false).digest);
}

#[test]
fn every_seed_on_file_can_be_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds.txt");
    let seeds = from_file(&file, Speaks::Drawn).expect("seeds");
    assert!(seeds.len() >= 8, "{} seeds", seeds.len());
}
