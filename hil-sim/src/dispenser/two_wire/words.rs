//! Blocks as a pump reads and writes them. Two-wire sheet, sections 3 to 8.

use crate::dispenser::Address;
use crate::dispenser::calculator::PriceDigits;

/// What a block of the controller orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Price of a grade at a level (1 or 2).
    Price(u8, u8, PriceDigits),
    /// Volume preset: level and grade where told, value.
    PresetVolume(Option<u8>, Option<u8>, u32),
    /// Money preset: level and grade where told, value.
    PresetMoney(Option<u8>, Option<u8>, u32),
    /// Sell at another price level.
    Level(u8),
    /// Special function 010.
    ExtendedStatus,
}

/// The check word: what is missing to a multiple of 16 in the low nibbles from FF to FB.
#[must_use]
pub fn check(words: &[u8]) -> u8 {
    let sum: u32 = words.iter().map(|word| u32::from(word % 16)).sum();
    0xE0 + u8::try_from((16 - sum % 16) % 16).unwrap_or(0)
}

/// A number, least significant digit first.
#[must_use]
pub fn number(mut value: u64, digits: usize) -> Vec<u8> {
    let mut words = Vec::with_capacity(digits);
    while words.len() < digits {
        words.push(0xE0 + u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
    }
    words
}

fn value(words: &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for word in words.iter().rev() {
        let digit = word.checked_sub(0xE0).filter(|digit| *digit < 10)?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(value)
}

/// Reads a block from FF to F0; `None` if it is refused.
#[must_use]
pub fn read(block: &[u8], checks_length: bool) -> Option<Order> {
    let (end, rest) = block.split_last()?;
    let (wire, covered) = rest.split_last()?;
    if *end != 0xF0 || covered.last() != Some(&0xFB) || check(covered) != *wire {
        return None;
    }
    let [0xFF, length, content @ .., 0xFB] = covered else { return None };
    // words after the length, counted down to a multiple of 16
    if checks_length && !(usize::from(length % 16) + block.len() - 2).is_multiple_of(16) {
        return None;
    }
    let grade = |word: u8| word.checked_sub(0xE0);
    let level = |word: &u8| *word - 0xF3;
    match content {
        [0xFE, 0xE0, 0xE1, 0xE0] => Some(Order::ExtendedStatus),
        [at @ (0xF4 | 0xF5)] => Some(Order::Level(level(at))),
        [at @ (0xF4 | 0xF5), 0xF6, index, 0xF7, price @ ..] if matches!(price.len(), 4 | 6) => {
            Some(Order::Price(level(at), grade(*index)?, PriceDigits(value(price)?)))
        }
        [kind @ (0xF1 | 0xF2), rest @ ..] => {
            let (at, index, digits) = match rest {
                [0xF8, digits @ ..] => (None, None, digits),
                [at @ (0xF4 | 0xF5), 0xF8, digits @ ..] => (Some(level(at)), None, digits),
                [at @ (0xF4 | 0xF5), 0xF6, index, 0xF8, digits @ ..] => (Some(level(at)), Some(grade(*index)?), digits),
                _ => return None,
            };
            let preset = value(digits).filter(|_| matches!(digits.len(), 5 | 6 | 8))?;
            Some(match kind {
                0xF1 => Order::PresetVolume(at, index, preset),
                _ => Order::PresetMoney(at, index, preset),
            })
        }
        _ => None,
    }
}

/// A block of the pump around these words.
#[must_use]
pub fn block(content: &[u8]) -> Vec<u8> {
    let mut words = vec![0xFF];
    words.extend_from_slice(content);
    words.push(0xFB);
    words.push(check(&words));
    words.push(0xF0);
    words
}

/// Figures of a finished sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sale {
    /// From 0.
    pub grade: u8,
    /// As shown.
    pub price: u32,
    /// As shown.
    pub volume: u32,
    /// As shown.
    pub money: u32,
}

/// The record of a sale at level 1, in the form of a small or a large head.
#[must_use]
pub fn transaction(address: Address, sale: &Sale, large: bool) -> Vec<u8> {
    let (price, figure) = if large { (6, 8) } else { (4, 6) };
    let pump = address.0.wrapping_sub(1) % 16;
    let mut words = vec![0xF1, 0xF8, 0xEB, 0xE0 + pump, 0xE0, 0xE0, 0xE0, 0xF6, 0xE0 + sale.grade % 16, 0xF4, 0xF7];
    words.extend(number(sale.price.into(), price));
    words.push(0xF9);
    words.extend(number(sale.volume.into(), figure));
    words.push(0xFA);
    words.extend(number(sale.money.into(), figure));
    block(&words)
}

/// The meters of one grade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meters {
    /// In units of the totals' last digit.
    pub volume: u64,
    /// In units of the totals' last digit.
    pub money: u64,
    /// Of level 1; level 2 is not used and zero.
    pub price: u32,
}

/// The totals of all grades, in the form of a small or a large head.
#[must_use]
pub fn totals(grades: &[Meters], large: bool) -> Vec<u8> {
    let (price, total) = if large { (6, 12) } else { (4, 8) };
    let mut words = Vec::new();
    for (index, meters) in (0xE0..).zip(grades) {
        words.extend([0xF6, index, 0xF9]);
        words.extend(number(meters.volume, total));
        words.push(0xFA);
        words.extend(number(meters.money, total));
        words.push(0xF4);
        words.extend(number(meters.price.into(), price));
        words.push(0xF5);
        words.extend(number(0, price));
    }
    block(&words)
}

/// Extended status of a pump with this hose out; 0 is none.
#[must_use]
pub fn extended_status(address: Address, hose: u8) -> Vec<u8> {
    let out = u8::from(hose > 0);
    let nibbles = [0, 3, address.0 % 16, 0, 1, 0, 0, 0, 0, 1, 0, out, 1, hose % 16];
    let sum: u32 = nibbles.chunks(2).map(|pair| u32::from(pair[0]) * 16 + u32::from(pair[1])).sum();
    let missing = u8::try_from((256 - sum % 256) % 256).unwrap_or(0);
    let hex = |nibble: &u8| if *nibble < 10 { 0xB0 + nibble } else { 0xC1 + nibble - 10 };
    let mut words = vec![0xBA];
    words.extend(nibbles.iter().map(hex));
    words.extend([missing / 16, missing % 16].iter().map(hex));
    words.extend([0x8D, 0x8A]);
    words
}
