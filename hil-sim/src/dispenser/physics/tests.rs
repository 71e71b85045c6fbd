//! Properties of the pump.

use super::*;
use core::time::Duration;
use proptest::prelude::*;

const ONE: NozzleIndex = NozzleIndex(1);

fn pump(decimals: Decimals, price: u32) -> Pump {
    let nozzle = |number: i64| NozzleConfig {
        grade: Grade::new("92").expect("a grade"),
        price: Some(PriceDigits(price)),
        totaliser: Volume::new(number * 1_000_000),
    };
    Pump::new(PumpConfig {
        nozzles: vec![nozzle(1), nozzle(2)],
        decimals,
        flow: FlowProfile::default(),
        keeps_sale: true,
        keeps_prices: false,
    })
}

fn by(limit: Limit) -> ReleasedBy {
    ReleasedBy { at: Instant::START, frame: Vec::new(), limit }
}

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

/// Fuels with a limit until it stops by itself.
fn fuel(pump: &mut Pump, limit: Limit) -> Fuelling {
    pump.lift(ONE, at(1));
    pump.release(vec![ONE], limit, by(limit), at(2));
    while let Some(due) = pump.poll_timeout() {
        pump.handle_timeout(due);
    }
    pump.fuellings().last().expect("a fuelling").clone()
}

#[test]
fn an_amount_preset_is_shown_exactly() {
    // DART sheet, section 12 B: 50000 at 10500 shows 4.76.
    let mut pump = pump(Decimals { volume: 2, price: 0, amount: 0 }, 10_500);
    let done = fuel(&mut pump, Limit::Amount(AmountDigits(50_000)));
    assert_eq!(done.figures, Figures { volume: VolumeDigits(476), amount: AmountDigits(50_000) });
    assert_eq!(done.cause, EndCause::LimitReached);
}

#[test]
fn a_nozzle_that_is_not_allowed_gives_nothing() {
    let mut pump = pump(Decimals::TWO, 745);
    pump.lift(NozzleIndex(2), at(1));
    pump.release(vec![ONE], Limit::Head, by(Limit::Head), at(2));
    assert_eq!(pump.poll_timeout(), None);
    pump.hang_up(at(3));
    pump.lift(ONE, at(4));
    assert!(pump.poll_timeout().is_some());
}

#[test]
fn a_power_cut_ends_the_flow_and_keeps_the_totaliser_and_the_display() {
    let mut pump = pump(Decimals::TWO, 745);
    pump.lift(ONE, at(1));
    pump.release(vec![ONE], Limit::Head, by(Limit::Head), at(2));
    pump.handle_timeout(at(3));
    pump.power(false, at(10));
    let done = pump.fuellings().last().expect("a fuelling").clone();
    assert!(done.volume.is_positive() && done.cause == EndCause::PowerCut);
    pump.power(true, at(20));
    assert_eq!(pump.figures(at(20)), done.figures);
    assert_eq!(pump.totaliser(ONE, at(20)), done.totaliser_after);
    assert!(!pump.is_programmed() && !pump.is_released());
    assert_eq!(pump.poll_timeout(), None, "it never goes on by itself");
}

#[test]
fn the_trigger_lets_the_flow_pause_and_go_on() {
    let mut pump = pump(Decimals::TWO, 745);
    pump.lift(ONE, at(1));
    pump.release(vec![ONE], Limit::Head, by(Limit::Head), at(2));
    pump.handle_timeout(at(3));
    pump.squeeze(false, at(10));
    let paused = pump.figures(at(10));
    assert_eq!(pump.figures(at(20)), paused);
    pump.squeeze(true, at(20));
    assert!(pump.figures(at(25)).volume > paused.volume);
}

#[test]
fn how_often_one_looks_does_not_change_what_flows() {
    let mut often = pump(Decimals::TWO, 745);
    let mut seldom = pump(Decimals::TWO, 745);
    let limit = Limit::Amount(AmountDigits(9_000));
    for pump in [&mut often, &mut seldom] {
        pump.lift(ONE, at(1));
        pump.release(vec![ONE], limit, by(limit), at(2));
    }
    let mut now = at(2);
    while now < at(60) {
        now = now + Duration::from_micros(7_919);
        often.handle_timeout(now);
    }
    seldom.handle_timeout(at(60));
    assert_eq!(often.fuellings(), seldom.fuellings());
    assert_eq!(often.fuellings().len(), 1);
}

#[test]
fn a_limit_lowered_below_what_has_flowed_stops_at_once() {
    let mut pump = pump(Decimals::TWO, 745);
    pump.lift(ONE, at(1));
    pump.release(vec![ONE], Limit::Head, by(Limit::Head), at(2));
    pump.handle_timeout(at(3));
    let before = pump.figures(at(12));
    pump.set_limit(Limit::Volume(VolumeDigits(100)), at(12));
    assert_eq!(pump.fuellings().last().map(|done| done.figures), Some(before));
}

proptest! {
    #[test]
    fn a_preset_is_kept_and_the_amount_agrees_with_volume_and_price(
        volume in 0_u8..=3, price_decimals in 0_u8..=3, amount in 0_u8..=2,
        price in 1_u32..30_000, wanted in 1_u32..200_000, by_amount: bool,
    ) {
        let decimals = Decimals { volume, price: price_decimals, amount };
        let limit = if by_amount { Limit::Amount(AmountDigits(wanted)) } else { Limit::Volume(VolumeDigits(wanted)) };
        let mut pump = pump(decimals, price);
        let done = fuel(&mut pump, limit);
        let exact = decimals.amount_of(done.figures.volume, PriceDigits(price));
        let one_more = decimals.amount_of(VolumeDigits(done.figures.volume.0 + 1), PriceDigits(price));
        match limit {
            Limit::Volume(preset) => {
                prop_assert!(done.figures.volume == preset || exact == AmountDigits::MAX || one_more == AmountDigits::MAX);
                prop_assert_eq!(done.figures.amount, exact);
            }
            Limit::Amount(preset) => {
                prop_assert!(done.figures.amount <= preset);
                // At the end of the display one more step is not shown, and rounding may make it cost the same.
                let at_an_end = [VolumeDigits(0), VolumeDigits::MAX].contains(&done.figures.volume);
                prop_assert!(exact <= done.figures.amount && done.figures.amount < one_more || at_an_end);
                prop_assert!(one_more > preset || done.figures.volume == VolumeDigits::MAX);
            }
            Limit::Head => {}
        }
    }

    #[test]
    fn the_fuellings_add_up_to_what_the_totalisers_gained(acts in proptest::collection::vec((0_u8..9, 1_u64..8_000), 1..60)) {
        let mut pump = pump(Decimals::TWO, 745);
        let start = pump.totalisers(Instant::START);
        let mut now = Instant::START;
        for (act, ms) in acts {
            now = now + Duration::from_millis(ms);
            match act {
                0 | 1 => pump.lift(NozzleIndex(1 + act), now),
                2 => pump.hang_up(now),
                3 => pump.squeeze(ms % 2 == 0, now),
                4 => pump.power(ms % 4 != 0, now),
                5 => pump.stop(now),
                6 => pump.set_limit(Limit::Volume(VolumeDigits(u32::try_from(ms).expect("small"))), now),
                _ => if !pump.is_released() {
                    let limit = Limit::Amount(AmountDigits(u32::try_from(ms).expect("small")));
                    pump.release(vec![NozzleIndex(1), NozzleIndex(2)], limit, by(limit), now);
                },
            }
        }
        pump.stop(now);
        let end = pump.totalisers(now);
        for nozzle in [NozzleIndex(1), NozzleIndex(2)] {
            let sold: i64 = pump.fuellings().iter().filter(|done| done.nozzle == Some(nozzle)).map(|done| done.volume.get()).sum();
            let money: u64 = pump.fuellings().iter().filter(|done| done.nozzle == Some(nozzle)).map(|done| u64::from(done.figures.amount.0)).sum();
            prop_assert_eq!(end.volume_ml[&nozzle].get() - start.volume_ml[&nozzle].get(), sold);
            prop_assert_eq!(end.amount[&nozzle] - start.amount[&nozzle], money);
        }
    }
}
