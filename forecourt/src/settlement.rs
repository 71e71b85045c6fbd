//! What a fuelling comes to: from its end record and the totaliser, never from our own reckoning where the dispenser tells.
//!
//! The rule of evidence is: end record, else totaliser difference, else review (loss of communication and of power while dispensing).

use crate::preset;
use crate::pump::{Preset, Reading};
use crate::record::{Evidence, Flag};
use crate::units::{Currency, Money, UnitPrice, Volume};

/// All that is known of a fuelling that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The limit that stood in the pump; `None` where we did not release it.
    pub preset: Option<Preset>,
    /// Price at the release.
    pub price: UnitPrice,
    /// Of the money.
    pub currency: Currency,
    /// Smallest step of the volume shown.
    pub step: Volume,
    /// Smallest step of the totaliser.
    pub total_step: Volume,
    /// Totaliser before.
    pub start: Option<Volume>,
    /// Totaliser after.
    pub end: Option<Volume>,
    /// The dispenser's figures.
    pub reading: Option<Reading>,
    /// The figures were seen to be those of this fuelling; else they may be older and must agree with the totaliser.
    pub certain: bool,
}

/// What it comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// Fuel flowed.
    Fuel(Fuel),
    /// No fuel flowed.
    Nothing {
        /// Movement of the totaliser that no fuelling explains; negative if it went back.
        unaccounted: Volume,
    },
    /// Not to be known without a person.
    Review(&'static str),
}

/// The figures of a fuelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fuel {
    /// As shown, or the totaliser's difference.
    pub volume: Volume,
    /// As shown; with [`Evidence::Totaliser`] the price of the volume, to be confirmed by the manager.
    pub amount: Money,
    /// As shown, else that of the release.
    pub price: UnitPrice,
    /// What the figures rest on.
    pub evidence: Evidence,
    /// Movement that this fuelling does not explain.
    pub unaccounted: Volume,
    /// What is odd.
    pub flags: Vec<Flag>,
}

/// Largest difference between volume and totaliser that comes from the steps they are shown in.
const ROUNDING: i64 = 10;

/// Settles one fuelling.
#[must_use]
pub fn settle(known: &Known) -> Settlement {
    let moved = match (known.start, known.end) {
        (Some(start), Some(end)) => end.checked_sub(start),
        _ => None,
    };
    let shown = known.reading.filter(|reading| reading.volume.is_positive());
    match (known.certain, shown, moved) {
        (true, Some(reading), _) => Settlement::Fuel(from_record(known, &reading, moved)),
        (true, None, Some(moved)) if moved.is_positive() => from_totaliser(known, moved),
        (true, None, moved) => Settlement::Nothing { unaccounted: moved.unwrap_or(Volume::ZERO) },
        (false, _, None) => Settlement::Review("the totaliser before or after could not be read"),
        (false, _, Some(moved)) if moved == Volume::ZERO => Settlement::Nothing { unaccounted: Volume::ZERO },
        (false, _, Some(moved)) if !moved.is_positive() => Settlement::Review("the totaliser went back"),
        (false, Some(reading), Some(moved)) if fits(known, &reading, moved) => {
            Settlement::Fuel(from_record(known, &reading, Some(moved)))
        }
        // Ours and fuel before it, or somebody's after ours: nobody but a person can tell.
        (false, Some(reading), Some(moved)) if reading.volume < moved => {
            Settlement::Review("the pump's record explains only a part of what the totaliser moved")
        }
        (false, _, Some(moved)) => from_totaliser(known, moved),
    }
}

/// Whether a volume shown and what the totaliser moved are the same but for the steps they are shown in, the coarser of both.
#[must_use]
pub fn same(shown: Volume, moved: Volume, step: Volume, total_step: Volume) -> bool {
    (shown.get() - moved.get()).abs() <= ROUNDING.max(step.get()).max(total_step.get())
}

/// Whether a record that may be another's is that of this fuelling: it is what the totaliser moved, and within the limit.
fn fits(known: &Known, reading: &Reading, moved: Volume) -> bool {
    let explained = same(reading.volume, moved, known.step, known.total_step);
    let within = known.preset.is_none_or(|preset| {
        preset::kept(preset, known.price, known.currency, known.step, reading.volume, reading.amount)
    });
    explained && within
}

fn from_record(known: &Known, reading: &Reading, moved: Option<Volume>) -> Fuel {
    let price = reading.price.unwrap_or(known.price);
    let unaccounted = moved.and_then(|moved| moved.checked_sub(reading.volume)).unwrap_or(Volume::ZERO);
    let mut flags = Vec::new();
    if !price.agrees(reading.volume, reading.amount, known.step, known.currency) {
        flags.push(Flag::AmountMismatch);
    }
    if moved.is_some_and(|moved| !same(reading.volume, moved, known.step, known.total_step)) {
        flags.push(Flag::TotaliserMismatch);
    }
    if let Some(preset) = known.preset
        && !preset::kept(preset, known.price, known.currency, known.step, reading.volume, reading.amount)
    {
        flags.push(Flag::LimitOverrun);
    }
    if price != known.price {
        flags.push(Flag::PriceMismatch);
    }
    Fuel { volume: reading.volume, amount: reading.amount, price, evidence: Evidence::EndRecord, unaccounted, flags }
}

fn from_totaliser(known: &Known, moved: Volume) -> Settlement {
    let Some(amount) = known.price.cost_of(moved, known.currency) else {
        return Settlement::Review("the totaliser moved by more than can be sold");
    };
    let within =
        known.preset.is_none_or(|preset| preset::kept(preset, known.price, known.currency, known.step, moved, amount));
    if !within {
        return Settlement::Review("the totaliser moved by more than the limit and the pump holds no matching record");
    }
    Settlement::Fuel(Fuel {
        volume: moved,
        amount,
        price: known.price,
        evidence: Evidence::Totaliser,
        unaccounted: Volume::ZERO,
        flags: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            preset: Some(Preset::Amount(Money::new(20_000))),
            price: UnitPrice::new(7_450_000),
            currency: Currency::CNY,
            step: Volume::new(10),
            total_step: Volume::new(10),
            start: Some(Volume::new(1_000_000)),
            end: Some(Volume::new(1_026_840)),
            reading: Some(reading(26_840, 20_000)),
            certain: true,
        }
    }

    fn reading(ml: i64, minor: i64) -> Reading {
        Reading { nozzle: None, volume: Volume::new(ml), amount: Money::new(minor), price: None }
    }

    fn fuel(known: &Known) -> Fuel {
        match settle(known) {
            Settlement::Fuel(fuel) => fuel,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_dispensers_figures_are_copied_and_the_rest_of_the_movement_is_named() {
        let fuel = fuel(&Known { end: Some(Volume::new(1_029_840)), ..known() });
        assert_eq!((fuel.volume.get(), fuel.amount.get(), fuel.unaccounted.get()), (26_840, 20_000, 3_000));
        assert_eq!(fuel.flags, [Flag::TotaliserMismatch]);
    }

    #[test]
    fn without_a_record_the_totaliser_decides() {
        let fuel = fuel(&Known { reading: None, certain: false, ..known() });
        assert_eq!((fuel.volume.get(), fuel.evidence), (26_840, Evidence::Totaliser));
    }

    #[test]
    fn an_older_record_that_the_totaliser_does_not_bear_out_is_not_taken() {
        let fuel = fuel(&Known { reading: Some(reading(30_000, 22_350)), certain: false, ..known() });
        assert_eq!((fuel.volume.get(), fuel.evidence), (26_840, Evidence::Totaliser));
    }

    #[test]
    fn a_totaliser_of_coarser_steps_bears_a_record_out_that_it_cannot_show() {
        // two-wire sheet, section 8: totals of one decimal
        let total_step = Volume::new(100);
        for moved in [26_800, 26_900] {
            let end = Some(Volume::new(1_000_000 + moved));
            let fuel = fuel(&Known { total_step, end, certain: false, ..known() });
            assert_eq!((fuel.volume.get(), fuel.evidence, &fuel.flags[..]), (26_840, Evidence::EndRecord, &[][..]));
        }
        let end = Some(Volume::new(1_027_000));
        let other = fuel(&Known { total_step, end, ..known() });
        assert_eq!(other.flags, [Flag::TotaliserMismatch]);
    }

    #[test]
    fn a_totaliser_that_stood_still_means_no_fuel_whatever_the_display_still_shows() {
        let nothing = Known { end: Some(Volume::new(1_000_000)), certain: false, ..known() };
        assert_eq!(settle(&nothing), Settlement::Nothing { unaccounted: Volume::ZERO });
    }

    #[test]
    fn doubt_goes_to_review_and_never_to_a_guess() {
        for doubt in [
            Known { end: None, certain: false, ..known() },
            Known { start: None, certain: false, ..known() },
            Known { end: Some(Volume::new(999_000)), certain: false, ..known() },
            Known { end: Some(Volume::new(1_090_000)), reading: None, certain: false, ..known() },
            Known { reading: Some(reading(7_050, 5_252)), certain: false, ..known() },
        ] {
            assert!(matches!(settle(&doubt), Settlement::Review(_)), "{doubt:?}");
        }
    }

    #[test]
    fn a_display_of_zero_with_a_moved_totaliser_is_still_a_sale() {
        let fuel = fuel(&Known { reading: Some(reading(0, 0)), ..known() });
        assert_eq!((fuel.volume.get(), fuel.evidence), (26_840, Evidence::Totaliser));
    }

    #[test]
    fn figures_that_do_not_agree_are_flagged_and_left_as_they_are() {
        let odd = Known { reading: Some(reading(26_840, 26_840)), ..known() };
        let fuel = fuel(&odd);
        assert_eq!(fuel.amount.get(), 26_840);
        assert_eq!(fuel.flags, [Flag::AmountMismatch, Flag::LimitOverrun]);
    }
}
