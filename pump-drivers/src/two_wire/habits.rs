//! What differs between two-wire heads and sites, and how their wire behaves (two-wire sheet, sections 1, 4, 12 and 14).

use super::block::{Digits, GradeIndex, HostBlock, Level, Limits};
use crate::decimals::Decimals;
use crate::head::{HeadSettings, Rules};
use crate::line::{Echo, LineSettings};
use core::time::Duration;
use forecourt::pump::Preset;

/// Bits per second of the loop: no standard rate, the port needs a fractional divider. Sites also run 5760 and 5700. Parity is even.
/// Behind a converter board it is what the board has, mostly 9600.
pub const BAUD: u32 = 5_787;

/// Addresses 1 to 16 (nibble 0 is pump 16), grades and price digits of an ordinary head; see [`Habits::rules`] for large ones.
pub const RULES: Rules = Rules { addresses: 1..=16, most_nozzles: 6, price_digits: 4 };

/// How many digits a head has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Width {
    /// Price 4, sale volume and money 6.
    #[default]
    Six,
    /// Price 6, sale volume and money 8.
    Eight,
}

impl Width {
    /// Digits of volume and money of a sale.
    #[must_use]
    pub const fn sale(self) -> u8 {
        match self {
            Self::Six => 6,
            Self::Eight => 8,
        }
    }

    /// Digits of a unit price.
    #[must_use]
    pub const fn price(self) -> u8 {
        match self {
            Self::Six => 4,
            Self::Eight => 6,
        }
    }
}

/// How a head takes a money preset. Large heads always take level and grade.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MoneyPreset {
    /// The value alone (Advantage; as captured).
    Plain,
    /// Level and value.
    Level,
    /// Level, grade and value. An Encore without level takes that of the last sale, so this is the default.
    #[default]
    LevelAndGrade,
}

/// How an ordinary head takes a volume preset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VolumePreset {
    /// Five digits.
    #[default]
    Five,
    /// Six digits (Myanmar).
    Six,
}

/// What a site says of one two-wire head beyond [`HeadSettings`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// Digits of the head.
    pub width: Width,
    /// Form of a money preset.
    pub money_preset: MoneyPreset,
    /// Form of a volume preset.
    pub volume_preset: VolumePreset,
    /// Decimals of a volume preset in litres: mostly 2 although the sale shows 3.
    pub volume_preset_decimals: u8,
    /// Price level that is sold at.
    pub level: Level,
    /// From one data next to the next at the same pump. 300 ms went well in a capture; one driver leaves 2 s.
    pub data_next_spacing: Duration,
    /// From a busy state to the first question for real-time money.
    pub first_money: Duration,
    /// Once five stops had no effect, all stop goes out too. It stops every pump of the loop.
    pub all_stop_at_last: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            width: Width::default(),
            money_preset: MoneyPreset::default(),
            volume_preset: VolumePreset::default(),
            volume_preset_decimals: 2,
            level: Level::default(),
            data_next_spacing: Duration::from_millis(300),
            first_money: Duration::from_millis(1_500),
            all_stop_at_last: false,
        }
    }
}

impl Habits {
    /// What this head has room for.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { price_digits: self.width.price().into(), ..RULES }
    }

    /// The preset block of an order, rounded down. `None` where the limit does not fit or nothing is left of it.
    pub(super) fn preset(&self, settings: &HeadSettings, limit: Preset, grade: GradeIndex) -> Option<HostBlock> {
        let (limits, number, count) = match limit {
            Preset::Amount(amount) => {
                let count = self.width.sale();
                let number = settings.decimals.amount_limit(amount, settings.currency, count.into())?;
                (Limits::Money, number, count)
            }
            Preset::Volume(volume) => {
                let count = match (self.width, self.volume_preset) {
                    (Width::Eight, _) => 8,
                    (Width::Six, VolumePreset::Five) => 5,
                    (Width::Six, VolumePreset::Six) => 6,
                };
                let decimals = Decimals { volume: self.volume_preset_decimals, ..settings.decimals };
                (Limits::Volume, decimals.volume_limit(volume, count.into())?, count)
            }
        };
        let plain = (self.width, limits) == (Width::Six, Limits::Money);
        let (level, grade) = match self.money_preset {
            MoneyPreset::Plain if plain => (None, None),
            MoneyPreset::Level if plain => (Some(self.level), None),
            _ => (Some(self.level), Some(grade)),
        };
        Some(HostBlock::Preset { limits, level, grade, value: Digits::new(number, count)? })
    }
}

/// How the loop behaves. Most loop interfaces return every word before the answer, others none: which of both is found out. An echo is
/// dropped word for word, so that alone it is no answer.
#[must_use]
pub fn line_settings() -> LineSettings {
    LineSettings {
        baud: BAUD,
        bits_per_char: 11,
        // at least 5 ms; drivers in the field leave 10
        pause_before_send: Duration::from_millis(10),
        echo: Echo::Auto,
        // a pump answers within 68 ms, and the converter adds to it; totals take a little longer to begin
        answer_window: Duration::from_millis(150),
        inter_byte_gap: Duration::from_millis(25),
        listen_out: Duration::from_millis(70),
        longest_answer: 300,
        comm_lost: Duration::from_secs(3),
        offline_after: 5,
        probe_at_least: Duration::from_millis(3_500),
        ..LineSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecourt::ids::FuellingPointId;
    use forecourt::units::{Currency, Money, Volume};

    fn words(habits: &Habits, limit: Preset) -> Option<String> {
        let decimals = Decimals { volume: 3, price: 3, amount: 2, totals: 2 };
        let settings = HeadSettings::new(FuellingPointId(7), 7, decimals, Currency::CNY);
        habits.preset(&settings, limit, GradeIndex(2)).map(|block| crate::hex::hex_of(&block.words()))
    }

    #[test]
    fn a_limit_is_written_in_the_form_that_the_head_takes() {
        let ten = Preset::Amount(Money::new(1_000));
        let forty = Preset::Volume(Volume::new(40_009));
        let plain = Habits { money_preset: MoneyPreset::Plain, ..Habits::default() };
        // two-wire sheet, section 15 B
        assert_eq!(words(&plain, ten).as_deref(), Some("FF E5 F2 F8 E0 E0 E0 E1 E0 E0 FB E6 F0"));
        let level = Habits { money_preset: MoneyPreset::Level, ..Habits::default() };
        assert!(words(&level, ten).is_some_and(|words| words.starts_with("FF E4 F2 F4 F8 E0 E0 E0 E1 E0 E0 FB")));
        assert!(words(&Habits::default(), ten).is_some_and(|words| words.starts_with("FF E2 F2 F4 F6 E2 F8 E0 E0")));
        assert!(words(&plain, forty).is_some_and(|words| words.starts_with("FF E3 F1 F4 F6 E2 F8 E0 E0 E0 E4 E0 FB")));
        let large = Habits { width: Width::Eight, money_preset: MoneyPreset::Plain, ..Habits::default() };
        assert!(words(&large, ten).is_some_and(|words| words.starts_with("FF E0 F2 F4 F6 E2 F8 E0 E0 E0 E1 E0")));
    }

    #[test]
    fn a_limit_that_does_not_fit_or_rounds_to_nothing_is_no_limit() {
        let habits = Habits::default();
        assert_eq!(words(&habits, Preset::Amount(Money::new(1_000_000))), None);
        assert_eq!(words(&habits, Preset::Volume(Volume::new(9))), None);
        assert_eq!(words(&habits, Preset::Volume(Volume::new(1_000_000))), None);
    }
}
