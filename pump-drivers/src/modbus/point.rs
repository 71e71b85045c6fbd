//! One value in a device: where it stands, how it is written there, and what a count of it means.

use super::wire::{Area, Question};

/// How a value is kept in its registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// One bit: a coil, a discrete input, or a bit of a register.
    Bit,
    /// 16 bits without sign.
    U16,
    /// 16 bits, two's complement.
    S16,
    /// 32 bits without sign.
    U32,
    /// 32 bits, two's complement.
    S32,
    /// Four decimal digits, packed.
    Bcd16,
    /// Eight decimal digits, packed.
    Bcd32,
    /// 32 bits of IEEE 754. Its count is in parts of 2^23, so that no figure from 1 up is rounded before it is scaled.
    F32,
}

/// Binary digits behind the point of a count that was a float.
pub const FLOAT_DIGITS: u32 = 23;

impl ValueType {
    /// Registers it takes; a bit of its own area takes one bit.
    #[must_use]
    pub const fn width(self) -> u16 {
        match self {
            Self::Bit | Self::U16 | Self::S16 | Self::Bcd16 => 1,
            Self::U32 | Self::S32 | Self::Bcd32 | Self::F32 => 2,
        }
    }

    /// The counts that mean "no reading" unless a profile says otherwise: all ones, or the most negative one (Modbus sheet, section 7).
    #[must_use]
    pub fn invalid(self) -> Vec<Raw> {
        match self {
            Self::U16 => vec![Raw(0xFFFF)],
            Self::S16 => vec![Raw(-0x8000)],
            Self::U32 => vec![Raw(0xFFFF_FFFF)],
            Self::S32 => vec![Raw(-0x8000_0000)],
            // a nibble above nine is no digit, what is not a number is none, and a bit is always one
            Self::Bit | Self::Bcd16 | Self::Bcd32 | Self::F32 => Vec::new(),
        }
    }
}

/// Order of the bytes of 0xAABBCCDD on the wire (Modbus sheet, section 1). A 16-bit value is swapped by the second pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// AA BB CC DD, the usual one.
    #[default]
    Abcd,
    /// CC DD AA BB: low word first.
    Cdab,
    /// BB AA DD CC: bytes swapped in each register.
    Badc,
    /// DD CC BB AA: low word first and bytes swapped.
    Dcba,
}

impl Order {
    const fn swaps_bytes(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }

    const fn low_word_first(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }
}

/// A count as the device keeps it, before any scale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Raw(pub i64);

/// Our unit in one count of the device, as a fraction: 10/1 turns hundredths of a litre into millilitres.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    num: i64,
    den: i64,
}

impl Scale {
    /// One count is one of our units.
    pub const ONE: Self = Self { num: 1, den: 1 };

    /// A fraction of two positive numbers, or `None`.
    #[must_use]
    pub const fn new(num: i64, den: i64) -> Option<Self> {
        if num > 0 && den > 0 { Some(Self { num, den }) } else { None }
    }

    /// The same for counts that are so many times as fine. `None` if it does not fit.
    #[must_use]
    pub fn finer(self, times: i64) -> Option<Self> {
        self.den.checked_mul(times).and_then(|den| Self::new(self.num, den))
    }

    /// A count in our units, the fraction of a unit cut off. `None` if it does not fit.
    #[must_use]
    pub fn units(self, raw: Raw) -> Option<i64> {
        let exact = i128::from(raw.0) * i128::from(self.num);
        i64::try_from(exact.div_euclid(i128::from(self.den))).ok()
    }

    /// A count in our units, half a unit rounded up. `None` if it does not fit.
    #[must_use]
    fn nearest(self, raw: Raw) -> Option<i64> {
        let (num, den) = (i128::from(self.num), i128::from(self.den));
        i64::try_from((i128::from(raw.0) * num * 2 + den).div_euclid(den * 2)).ok()
    }

    /// Our units as a count, rounded down: what a limit becomes.
    #[must_use]
    pub fn counts_within(self, units: i64) -> Option<Raw> {
        let exact = i128::from(units) * i128::from(self.den);
        i64::try_from(exact.div_euclid(i128::from(self.num))).ok().map(Raw)
    }

    /// Our units as a count, exactly or not at all: what a price becomes.
    #[must_use]
    pub fn counts_exact(self, units: i64) -> Option<Raw> {
        self.counts_within(units)
            .filter(|raw| i128::from(raw.0) * i128::from(self.num) == i128::from(units) * i128::from(self.den))
    }

    /// The smallest step of our units that one count makes, at least one.
    #[must_use]
    pub const fn step(self) -> i64 {
        let step = self.num / self.den;
        if step > 0 { step } else { 1 }
    }
}

/// A value of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// In which table.
    pub area: Area,
    /// Address on the wire, from 0.
    pub address: u16,
    /// How it is kept.
    pub kind: ValueType,
    /// In which order its bytes come.
    pub order: Order,
    /// What one count is.
    pub scale: Scale,
    /// It may be written.
    pub writable: bool,
    /// Counts that are no reading.
    pub invalid: Vec<Raw>,
    /// Words for counts, such as those of states.
    pub values: Vec<(String, Raw)>,
    /// The bit of a register.
    pub bit: Option<u8>,
    /// A bit that means "on" where it is 0.
    pub active_low: bool,
    /// The count that must stand there.
    pub expect: Option<Raw>,
}

impl Point {
    /// The address behind its last one.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.kind.width())
    }

    /// The count in the registers that hold it, first one first. `None` where it is no reading.
    #[must_use]
    pub fn raw(&self, words: &[u16]) -> Option<Raw> {
        let swap = |word: u16| if self.order.swaps_bytes() { word.swap_bytes() } else { word };
        let raw = match (self.kind, words) {
            (ValueType::Bit, [word, ..]) => {
                Raw(i64::from((*word >> self.bit.unwrap_or(0) & 1 == 1) != self.active_low))
            }
            (ValueType::U16, [word, ..]) => Raw(i64::from(swap(*word))),
            (ValueType::S16, [word, ..]) => Raw(i64::from(swap(*word).cast_signed())),
            (ValueType::Bcd16, [word, ..]) => digits(u32::from(swap(*word)))?,
            (ValueType::U32 | ValueType::S32 | ValueType::Bcd32 | ValueType::F32, [first, second, ..]) => {
                let (high, low) = if self.order.low_word_first() {
                    (swap(*second), swap(*first))
                } else {
                    (swap(*first), swap(*second))
                };
                let whole = u32::from(high) << 16 | u32::from(low);
                match self.kind {
                    ValueType::S32 => Raw(i64::from(whole.cast_signed())),
                    ValueType::Bcd32 => digits(whole)?,
                    ValueType::F32 => float(whole)?,
                    _ => Raw(i64::from(whole)),
                }
            }
            _ => return None,
        };
        (!self.invalid.contains(&raw)).then_some(raw)
    }

    /// The registers that hold a count. `None` where it does not fit or would read as invalid.
    #[must_use]
    pub fn registers(&self, raw: Raw) -> Option<Vec<u16>> {
        let swap = |word: u16| if self.order.swaps_bytes() { word.swap_bytes() } else { word };
        let whole = match self.kind {
            ValueType::U16 => u32::from(u16::try_from(raw.0).ok()?),
            ValueType::S16 => u32::from(i16::try_from(raw.0).ok()?.cast_unsigned()),
            ValueType::U32 => u32::try_from(raw.0).ok()?,
            ValueType::S32 => i32::try_from(raw.0).ok()?.cast_unsigned(),
            ValueType::Bcd16 => packed(raw, 4)?,
            ValueType::Bcd32 => packed(raw, 8)?,
            // no limit and no price is exact as a float
            ValueType::Bit | ValueType::F32 => return None,
        };
        let low = swap(u16::try_from(whole & 0xFFFF).ok()?);
        let words = if self.kind.width() == 1 {
            vec![low]
        } else {
            let high = swap(u16::try_from(whole >> 16).ok()?);
            if self.order.low_word_first() { vec![low, high] } else { vec![high, low] }
        };
        (self.raw(&words) == Some(raw)).then_some(words)
    }

    /// A count in the unit of the point: the fraction of a unit is cut off, but for a float, which is only near to the figure that is
    /// meant and goes to the nearest. `None` if it does not fit.
    #[must_use]
    pub fn units(&self, raw: Raw) -> Option<i64> {
        if self.kind == ValueType::F32 { self.scale.nearest(raw) } else { self.scale.units(raw) }
    }

    /// The word for a count.
    #[must_use]
    pub fn word(&self, raw: Raw) -> Option<&str> {
        self.values.iter().find(|(_, value)| *value == raw).map(|(word, _)| word.as_str())
    }

    /// The count for a word.
    #[must_use]
    pub fn count_of(&self, word: &str) -> Option<Raw> {
        self.values.iter().find(|(known, _)| known == word).map(|(_, value)| *value)
    }

    /// The question that reads it alone.
    #[must_use]
    pub const fn question(&self) -> Question {
        Question::Read { area: self.area, address: self.address, count: self.kind.width() }
    }
}

fn digits(packed: u32) -> Option<Raw> {
    packed
        .to_be_bytes()
        .into_iter()
        .try_fold(0_i64, |number, byte| {
            let (tens, ones) = (i64::from(byte >> 4), i64::from(byte & 0x0F));
            (tens < 10 && ones < 10).then_some(number * 100 + tens * 10 + ones)
        })
        .map(Raw)
}

/// A float as parts of 2^23, without any arithmetic of floats. What is too large, infinite or no number is no reading.
fn float(bits: u32) -> Option<Raw> {
    let exponent = bits >> 23 & 0xFF;
    let fraction = i64::from(bits & 0x7F_FFFF);
    // 2^23 parts of a one, shifted by how far the exponent stands from that of a one
    let (whole, exponent) = if exponent == 0 { (fraction, 1) } else { (fraction | 1 << 23, exponent) };
    let parts = match exponent {
        0xFF => return None,
        127.. => whole.checked_mul(1_i64.checked_shl(exponent - 127).filter(|factor| *factor > 0)?)?,
        _ => whole.checked_shr(127 - exponent).unwrap_or(0),
    };
    Some(Raw(if bits >> 31 == 1 { -parts } else { parts }))
}

fn packed(raw: Raw, most: u32) -> Option<u32> {
    let mut left = u32::try_from(raw.0).ok().filter(|number| u64::from(*number) < 10_u64.pow(most))?;
    let mut whole = 0;
    for place in 0..most {
        whole |= (left % 10) << (place * 4);
        left /= 10;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(kind: ValueType, order: Order) -> Point {
        Point {
            area: Area::Holding,
            address: 0,
            kind,
            order,
            scale: Scale::ONE,
            writable: true,
            invalid: kind.invalid(),
            values: Vec::new(),
            bit: None,
            active_low: false,
            expect: None,
        }
    }

    #[test]
    fn a_32_bit_value_is_read_and_written_in_all_four_orders() {
        for (order, words) in [
            (Order::Abcd, [0xAABB, 0xCCDD]),
            (Order::Cdab, [0xCCDD, 0xAABB]),
            (Order::Badc, [0xBBAA, 0xDDCC]),
            (Order::Dcba, [0xDDCC, 0xBBAA]),
        ] {
            let point = point(ValueType::U32, order);
            assert_eq!(point.raw(&words), Some(Raw(0xAABB_CCDD)), "{order:?}");
            assert_eq!(point.registers(Raw(0xAABB_CCDD)), Some(words.to_vec()), "{order:?}");
        }
        // Modbus sheet of the forecourt, section 1.1: -98765, low word first
        assert_eq!(point(ValueType::S32, Order::Cdab).raw(&[0x7E33, 0xFFFE]), Some(Raw(-98_765)));
        assert_eq!(point(ValueType::U16, Order::Badc).raw(&[0x4600]), Some(Raw(70)), "M31");
    }

    #[test]
    fn an_invalid_marker_is_no_reading_and_is_never_written() {
        assert_eq!(point(ValueType::U32, Order::Abcd).raw(&[0xFFFF, 0xFFFF]), None);
        assert_eq!(point(ValueType::S16, Order::Abcd).raw(&[0x8000]), None);
        assert_eq!(point(ValueType::U16, Order::Abcd).registers(Raw(0xFFFF)), None);
        assert_eq!(point(ValueType::Bcd16, Order::Abcd).raw(&[0x12A4]), None);
        assert_eq!(point(ValueType::U16, Order::Abcd).registers(Raw(-1)), None);
        assert_eq!(point(ValueType::U16, Order::Abcd).registers(Raw(65_536)), None);
    }

    #[test]
    fn a_float_is_read_without_arithmetic_of_floats_and_goes_to_the_nearest_unit() {
        let of = |num: i64, den: i64| {
            let scale = Scale::new(num, den << FLOAT_DIGITS).expect("positive");
            Point { scale, writable: false, ..point(ValueType::F32, Order::Abcd) }
        };
        let words = |value: f32| {
            value.to_be_bytes().as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect::<Vec<_>>()
        };
        let units = |point: &Point, value: f32| point.raw(&words(value)).and_then(|raw| point.units(raw));
        let litres = of(1_000, 1);
        for (value, ml) in [
            (1_234.5, Some(1_234_500)),
            (26.846, Some(26_846)),
            (0.001, Some(1)),
            (0.0004, Some(0)),
            (-0.0, Some(0)),
            (-2.5, Some(-2_500)),
            (98_765_432.0, Some(98_765_432_000)),
            (f32::MIN_POSITIVE, Some(0)),
            (2.0e12, None),
            (f32::MAX, None),
            (f32::INFINITY, None),
            (f32::NAN, None),
        ] {
            assert_eq!(units(&litres, value), ml, "{value}");
        }
        // each amount to the cent comes out as itself, though hardly one is exact as a float
        let cents = of(100, 1);
        for cent in 0..100_000_i64 {
            let value = cent as f32 / 100.0;
            assert_eq!(units(&cents, value), Some(cent), "{value}");
        }
        // SUTO's example of the forecourt sheet, low word first
        let swapped = Point { order: Order::Cdab, ..of(100_000, 1) };
        assert_eq!(swapped.raw(&[0x0A11, 0x42C5]).and_then(|raw| swapped.units(raw)), Some(9_851_966));
        assert_eq!(litres.registers(Raw(1)), None);
    }

    #[test]
    fn decimal_digits_are_packed() {
        let point = point(ValueType::Bcd32, Order::Abcd);
        assert_eq!(point.raw(&[0x0012, 0x3456]), Some(Raw(123_456)));
        assert_eq!(point.registers(Raw(123_456)), Some(vec![0x0012, 0x3456]));
        assert_eq!(point.registers(Raw(100_000_000)), None);
    }

    #[test]
    fn scales_are_fractions_and_a_limit_is_never_rounded_up() {
        let hundredths = Scale::new(10, 1).expect("positive");
        assert_eq!(hundredths.units(Raw(1_234)), Some(12_340));
        assert_eq!(hundredths.counts_within(12_349), Some(Raw(1_234)));
        assert_eq!(hundredths.counts_exact(12_349), None);
        // 3 666 739.2 pulses a litre, M41: 36 667 392 pulses are 10 L
        let pulses = Scale::new(10_000, 36_667_392).expect("positive");
        assert_eq!(pulses.units(Raw(36_667_392)), Some(10_000));
        assert_eq!(pulses.step(), 1);
        assert_eq!(Scale::new(1, 0), None);
    }
}
