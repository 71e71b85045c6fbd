//! From the limit that was paid for to the limit that goes into the pump.

use crate::order::Limit;
use crate::pump::{Capabilities, Preset};
use crate::units::{Currency, Money, UnitPrice, Volume};

/// The preset for a limit, or `None` where this dispenser can hold no such limit.
///
/// Money stays money where the dispenser takes it; else it becomes the volume it buys, rounded down, so that never more flows than was
/// paid for. Volume is never turned into money: rounding could then give more.
#[must_use]
pub fn for_limit(limit: Limit, price: UnitPrice, currency: Currency, able: &Capabilities) -> Option<Preset> {
    match limit {
        Limit::Amount(money) | Limit::FullTank(money) if able.preset_amount => Some(Preset::Amount(money)),
        Limit::Amount(money) | Limit::FullTank(money) if able.preset_volume => {
            let step = able.volume_step.get().max(1);
            let volume = price.volume_for(money, currency)?.get();
            let shown = Volume::new(volume - volume.rem_euclid(step));
            shown.is_positive().then_some(Preset::Volume(shown))
        }
        Limit::Volume(volume) if able.preset_volume => Some(Preset::Volume(volume)),
        _ => None,
    }
}

/// The most volume that a preset lets flow at a price.
#[must_use]
pub fn most_volume(preset: Preset, price: UnitPrice, currency: Currency) -> Option<Volume> {
    match preset {
        Preset::Volume(volume) => Some(volume),
        Preset::Amount(money) => price.volume_for(money, currency),
    }
}

/// Overrun that any dispenser is allowed (rules of preset fuellings, OIML R 117: 0.02 L or one step).
const TOLERATED: Volume = Volume::new(20);

/// Whether a fuelling kept within its preset, one step or 0.02 L allowed.
#[must_use]
pub fn kept(preset: Preset, price: UnitPrice, currency: Currency, step: Volume, volume: Volume, amount: Money) -> bool {
    let slack = TOLERATED.max(step);
    match preset {
        Preset::Volume(limit) => volume.get() <= limit.get().saturating_add(slack.get()),
        Preset::Amount(limit) => {
            let value = price.cost_of(slack, currency).unwrap_or(Money::ZERO);
            amount.get() <= limit.get().saturating_add(value.get()).saturating_add(1)
        }
    }
}

/// Whether a fuelling went on until its preset, to within one step.
#[must_use]
pub fn reached(
    preset: Preset,
    price: UnitPrice,
    currency: Currency,
    step: Volume,
    volume: Volume,
    amount: Money,
) -> bool {
    match preset {
        Preset::Volume(limit) => volume.get().saturating_add(step.get()) > limit.get(),
        Preset::Amount(limit) => {
            let value = price.cost_of(step, currency).unwrap_or(Money::ZERO);
            amount.get().saturating_add(value.get()) >= limit.get()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::capabilities;

    const PRICE: UnitPrice = UnitPrice::new(7_450_000);

    #[test]
    fn money_becomes_volume_only_where_the_pump_cannot_take_money_and_then_rounded_down() {
        let mut able = capabilities();
        let limit = Limit::Amount(Money::new(20_000));
        assert_eq!(for_limit(limit, PRICE, Currency::CNY, &able), Some(Preset::Amount(Money::new(20_000))));
        able.preset_amount = false;
        assert_eq!(for_limit(limit, PRICE, Currency::CNY, &able), Some(Preset::Volume(Volume::new(26_840))));
        able.preset_volume = false;
        assert_eq!(for_limit(limit, PRICE, Currency::CNY, &able), None);
    }

    #[test]
    fn volume_never_becomes_money() {
        let mut able = capabilities();
        able.preset_volume = false;
        assert_eq!(for_limit(Limit::Volume(Volume::new(20_000)), PRICE, Currency::CNY, &able), None);
    }

    #[test]
    fn one_step_over_the_preset_is_kept_and_more_is_not() {
        let step = Volume::new(10);
        let litres = Preset::Volume(Volume::new(20_000));
        assert!(kept(litres, PRICE, Currency::CNY, step, Volume::new(20_020), Money::ZERO));
        assert!(!kept(litres, PRICE, Currency::CNY, step, Volume::new(20_030), Money::ZERO));
        let money = Preset::Amount(Money::new(20_000));
        assert!(kept(money, PRICE, Currency::CNY, step, Volume::ZERO, Money::new(20_015)));
        assert!(!kept(money, PRICE, Currency::CNY, step, Volume::ZERO, Money::new(20_017)));
    }

    #[test]
    fn a_preset_is_reached_to_within_one_step() {
        let step = Volume::new(10);
        let money = Preset::Amount(Money::new(20_000));
        assert!(reached(money, PRICE, Currency::CNY, step, Volume::new(26_840), Money::new(19_996)));
        assert!(!reached(money, PRICE, Currency::CNY, step, Volume::new(26_000), Money::new(19_370)));
    }
}
