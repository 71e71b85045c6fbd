//! The least time that a protocol's own frames need on its wire: bytes × bits of a character / baud, and the turnaround of each answer.

use crate::rig::bus;
use pump_drivers::protocol::Protocol;
use std::time::Duration;

/// A wire as its protocol usually has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Physics {
    protocol: Protocol,
    character: Duration,
    turnaround: Duration,
}

impl Physics {
    /// That of a protocol's usual wire.
    #[must_use]
    pub fn of(protocol: Protocol) -> Self {
        Self { protocol, character: bus::pace(protocol, None).character(), turnaround: bus::turnaround(protocol) }
    }

    /// Time for so many bytes, both ways together, and so many answers. An echo takes none: it comes while the byte goes out.
    #[must_use]
    pub fn least(&self, bytes: u64, answers: u64) -> Duration {
        let times = |one: Duration, count: u64| one.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        times(self.character, bytes) + times(self.turnaround, answers)
    }

    /// Bytes that took time of their own, of those that the controller sent and was given.
    #[must_use]
    pub const fn bytes(&self, sent: u64, given: u64) -> u64 {
        if bus::echoes(self.protocol) { given } else { sent + given }
    }

    /// The wire in words.
    #[must_use]
    pub fn words(&self) -> String {
        let usual = self.protocol.line_settings();
        let echo = if bus::echoes(self.protocol) { ", with echo" } else { "" };
        format!(
            "{} bit/s, {} bits a character, {} ms turnaround{echo}",
            usual.baud,
            usual.bits_per_char,
            self.turnaround.as_millis()
        )
    }
}

/// The protocols that a bench is to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spoken(Vec<Protocol>);

impl Spoken {
    /// From the word of a protocol, or `all`.
    ///
    /// # Errors
    /// The words there are.
    pub fn parse(word: &str) -> Result<Self, String> {
        if word == "all" {
            return Ok(Self(Protocol::ALL.map(|(_, protocol)| protocol).into()));
        }
        let known = Protocol::ALL.into_iter().find(|(known, _)| *known == word);
        let words = || Protocol::ALL.map(|(word, _)| word).join(", ");
        known.map(|(_, protocol)| Self(vec![protocol])).ok_or_else(|| format!("expected {} or all", words()))
    }

    /// In their usual order.
    pub fn iter(&self) -> impl Iterator<Item = Protocol> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_each_character_with_its_bits_and_each_answer_with_its_turnaround() {
        let dart = Physics::of(Protocol::Dart);
        // 960 bytes × 11 bits / 9600 bit/s = 1.1 s, and 160 × 5 ms = 0.8 s; a character is kept in whole nanoseconds
        assert_eq!(dart.least(960, 160).as_millis(), 1_899);
        // 10 bits: 1 s
        assert_eq!(Physics::of(Protocol::GasKitLink).least(960, 0).as_millis(), 999);
        // 5787 bytes × 11 bits / 5787 bit/s = 11 s
        assert_eq!(Physics::of(Protocol::TwoWire).least(5_787, 0).as_millis(), 10_999);
    }

    #[test]
    fn an_echo_is_counted_once() {
        assert_eq!(Physics::of(Protocol::Dart).bytes(3, 3), 6);
        assert_eq!(Physics::of(Protocol::TwoWire).bytes(1, 2), 2);
    }

    #[test]
    fn all_means_every_protocol() {
        assert_eq!(Spoken::parse("all").expect("a word").iter().count(), Protocol::ALL.len());
        assert_eq!(Spoken::parse("modbus").expect("a word").iter().collect::<Vec<_>>(), [Protocol::Modbus]);
        assert!(Spoken::parse("morse").expect_err("no word").contains("two-wire"));
    }
}
