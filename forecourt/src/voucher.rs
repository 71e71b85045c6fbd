//! Typed-in vouchers (contract section 8): 18 digits that a driver reads to the attendant when neither platform nor QR code can reach
//! the station.
//!
//! ```text
//! NN AAAA CCC SS VVVVVVV    nozzle (00 any), whole major units, time slot modulo 1000, serial within the slot, check value
//! ```

use crate::ids::{NozzleId, OrderId, StationId};
use crate::time::UtcTime;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Slots are counted from 2020-01-01T00:00:00Z.
const FIRST_SLOT_MS: i64 = 1_577_836_800_000;
const SLOT_MS: i64 = 10 * 60 * 1_000;
/// A voucher is good in its slot and in so many after it.
const SLOTS_AFTER: u64 = 2;
/// The digits carry the slot modulo this.
const CYCLE: u64 = 1_000;
/// Check values are below this.
const CHECK_VALUES: u32 = 10_000_000;
/// So many wrong entries lock code entry.
const WRONG_ENTRIES: u8 = 5;
/// For how long.
const LOCK_MS: i64 = 15 * 60 * 1_000;

/// The station's voucher key, 32 bytes. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct VoucherKey([u8; 32]);

impl VoucherKey {
    /// The key as the platform made it.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for VoucherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherKey(…)")
    }
}

/// A time slot by its full number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(u64);

impl Slot {
    /// The slot that a moment lies in; `None` before 2020.
    #[must_use]
    pub fn at(time: UtcTime) -> Option<Self> {
        u64::try_from(time.unix_ms().checked_sub(FIRST_SLOT_MS)?.div_euclid(SLOT_MS)).ok().map(Self)
    }
}

/// What was typed in is no voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDigits {
    /// Not 18 digits.
    #[error("a voucher has 18 digits in three groups of six, such as 030200 544076 998108")]
    Form,
    /// No money.
    #[error("a voucher of no money lets no fuel flow: ask the driver to read it again")]
    NoMoney,
}

/// The 18 digits, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voucher {
    digits: String,
    nozzle: Option<NozzleId>,
    major: i64,
    slot_in_cycle: u64,
    check: u32,
}

impl Voucher {
    /// Reads 18 digits; blanks and dashes between them do not matter.
    ///
    /// # Errors
    /// [`BadDigits`]
    pub fn parse(text: &str) -> Result<Self, BadDigits> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        if digits.len() != 18 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadDigits::Form);
        }
        let number = |at: core::ops::Range<usize>| digits[at].parse::<u32>().map_err(|_| BadDigits::Form);
        let nozzle = u16::try_from(number(0..2)?).map_err(|_| BadDigits::Form)?;
        let major = i64::from(number(2..6)?);
        if major == 0 {
            return Err(BadDigits::NoMoney);
        }
        Ok(Self {
            nozzle: (nozzle != 0).then_some(NozzleId(nozzle)),
            major,
            slot_in_cycle: number(6..9)?.into(),
            check: number(11..18)?,
            digits,
        })
    }

    /// The nozzle that it is for; `None` for any.
    #[must_use]
    pub const fn nozzle(&self) -> Option<NozzleId> {
        self.nozzle
    }

    /// Its money, in whole major units of the station's currency.
    #[must_use]
    pub const fn major_units(&self) -> i64 {
        self.major
    }

    /// The order that it becomes: `V-` and the digits.
    #[must_use]
    pub fn order_id(&self) -> Option<OrderId> {
        OrderId::new(format!("V-{}", self.digits)).ok()
    }
}

/// Who says whether a voucher is genuine: the station with its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoucherAuthority {
    station: StationId,
    key: VoucherKey,
    not_before: Option<UtcTime>,
}

/// What a voucher is worth at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Genuine and in time.
    Good,
    /// Genuine, but its three slots are over.
    Expired,
    /// Genuine, for a slot that is still to come: one of the clocks is wrong.
    NotYet,
    /// Not from this key, or mistyped.
    Wrong,
}

impl VoucherAuthority {
    /// For one station.
    #[must_use]
    pub const fn new(station: StationId, key: VoucherKey) -> Self {
        Self { station, key, not_before: None }
    }

    /// Takes no voucher whose slot began before this: an earlier store may have served it and cannot be asked any more.
    #[must_use]
    pub fn refusing_before(self, at: UtcTime) -> Self {
        Self { not_before: Some(at), ..self }
    }

    /// The check value: RFC 4226 section 5.3 over HMAC-SHA-256, the last nibble of the 32 bytes gives the offset, modulo 10^7.
    fn check_value(&self, digits: &str, slot: u64) -> u32 {
        let (nozzle, money, serial) = (&digits[..2], &digits[2..6], &digits[9..11]);
        let text = format!("v1|{}|{nozzle}|{money}|{slot}|{serial}", self.station);
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key.0).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        let code = mac.finalize().into_bytes();
        let offset = usize::from(code[31] & 0x0F);
        let four = [code[offset] & 0x7F, code[offset + 1], code[offset + 2], code[offset + 3]];
        u32::from_be_bytes(four) % CHECK_VALUES
    }

    fn is_before(&self, slot: u64) -> bool {
        let begins = i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(SLOT_MS).saturating_add(FIRST_SLOT_MS);
        self.not_before.is_some_and(|not_before| begins < not_before.unix_ms())
    }

    /// Judges a voucher at a moment.
    #[must_use]
    pub fn judge(&self, voucher: &Voucher, now: UtcTime) -> Judgement {
        let Some(Slot(present)) = Slot::at(now) else { return Judgement::NotYet };
        // The latest slot up to now with these three digits, and the next one with them.
        let back = (present + CYCLE - voucher.slot_in_cycle) % CYCLE;
        let genuine = |slot: u64| self.check_value(&voucher.digits, slot) == voucher.check;
        match present.checked_sub(back) {
            Some(slot) if genuine(slot) && back <= SLOTS_AFTER && !self.is_before(slot) => Judgement::Good,
            Some(slot) if genuine(slot) => Judgement::Expired,
            _ if genuine(present + CYCLE - back) => Judgement::NotYet,
            _ => Judgement::Wrong,
        }
    }
}

/// Wrong entries so far, and until when none is taken. Durable: a restart forgives nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CodeEntry {
    /// Wrong entries since the last good one or the last lock.
    pub wrong: u8,
    /// No entry is taken before this.
    pub locked_until: Option<UtcTime>,
}

impl CodeEntry {
    /// Until when code entry is locked, if it is. A clock that was set back locks for no longer than a lock lasts.
    #[must_use]
    pub fn locked(&self, now: UtcTime) -> Option<UtcTime> {
        self.locked_until.filter(|until| now < *until).map(|until| until.min(now.plus_ms(LOCK_MS)))
    }

    /// Wrong entries that are still free.
    #[must_use]
    pub const fn left(&self) -> u8 {
        WRONG_ENTRIES.saturating_sub(self.wrong)
    }

    /// After a wrong entry.
    #[must_use]
    pub fn after_wrong(self, now: UtcTime) -> Self {
        if self.wrong + 1 >= WRONG_ENTRIES {
            Self { wrong: 0, locked_until: Some(now.plus_ms(LOCK_MS)) }
        } else {
            Self { wrong: self.wrong + 1, locked_until: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(station: &str) -> VoucherAuthority {
        let mut key = [0; 32];
        (0_u8..).zip(&mut key).for_each(|(number, byte)| *byte = number);
        VoucherAuthority::new(StationId::new(station).expect("an id"), VoucherKey::new(key))
    }

    fn voucher(digits: &str) -> Voucher {
        Voucher::parse(digits).expect("18 digits")
    }

    /// Slot 362544 begins here.
    fn start() -> UtcTime {
        UtcTime::parse("2026-11-22T16:00:00Z").expect("a time")
    }

    fn minutes(count: i64) -> UtcTime {
        start().plus_ms(count * 60_000)
    }

    /// Made with Python's own hmac and hashlib, key `bytes(range(32))`:
    /// `m = hmac.new(key, f"v1|{station}|{nn}|{aaaa}|{slot}|{ss}".encode(), hashlib.sha256).digest(); o = m[31] & 15;`
    /// `"%07d" % ((struct.unpack(">I", m[o:o+4])[0] & 0x7fffffff) % 10**7)`
    const VECTORS: [(&str, &str, u64); 6] = [
        ("st-0001", "030200544076998108", 362_544),
        ("st-0001", "009999544996787307", 362_544),
        ("st-0001", "120001543004922423", 362_543),
        ("beijing_7", "030200000427749929", 362_000),
        ("st-0001", "030200544720009220", 362_544),
        ("st-0001", "030300544260007696", 362_544),
    ];

    #[test]
    fn check_values_are_those_of_an_independent_reckoning() {
        for (station, digits, slot) in VECTORS {
            assert_eq!(
                authority(station).check_value(digits, slot),
                digits[11..].parse::<u32>().expect("digits"),
                "{digits}"
            );
        }
    }

    #[test]
    fn a_voucher_is_good_in_its_slot_and_in_the_two_after_it() {
        let (authority, voucher) = (authority("st-0001"), voucher("030200 544076 998108"));
        let end = minutes(30);
        assert_eq!(authority.judge(&voucher, start().plus_ms(-1)), Judgement::NotYet);
        assert_eq!(authority.judge(&voucher, start()), Judgement::Good);
        assert_eq!(authority.judge(&voucher, end.plus_ms(-1)), Judgement::Good);
        assert_eq!(authority.judge(&voucher, end), Judgement::Expired);
        let careful = authority.clone().refusing_before(minutes(1));
        assert_eq!(careful.judge(&voucher, minutes(2)), Judgement::Expired);
        // A thousand slots later the same three digits name another slot.
        assert_eq!(authority.judge(&voucher, minutes(10_000)), Judgement::Wrong);
        assert_eq!(authority.judge(&voucher, minutes(-10_000)), Judgement::NotYet);
    }

    #[test]
    fn another_digit_station_or_key_is_wrong() {
        let authority_here = authority("st-0001");
        for place in (0..6).chain(9..18) {
            let mut digits = b"030200544076998108".to_vec();
            digits[place] = if digits[place] == b'9' { b'8' } else { digits[place] + 1 };
            let digits = String::from_utf8(digits).expect("digits");
            assert_eq!(authority_here.judge(&voucher(&digits), start()), Judgement::Wrong, "{digits}");
        }
        assert_eq!(authority("st-0002").judge(&voucher(VECTORS[0].1), start()), Judgement::Wrong);
        let other = VoucherAuthority::new(StationId::new("st-0001").expect("an id"), VoucherKey::new([7; 32]));
        assert_eq!(other.judge(&voucher(VECTORS[0].1), start()), Judgement::Wrong);
    }

    #[test]
    fn what_is_no_voucher_is_told_apart_from_a_wrong_one() {
        for bad in ["", "0302005440769981", "0302005440769981081", "03020054407699810x", "０30200544076998108"] {
            assert_eq!(Voucher::parse(bad), Err(BadDigits::Form), "{bad}");
        }
        assert_eq!(Voucher::parse("030000544076998108"), Err(BadDigits::NoMoney));
        let read = voucher("12-9999 543 00 4922423");
        assert_eq!((read.nozzle(), read.major_units()), (Some(NozzleId(12)), 9_999));
        assert_eq!(read.order_id().expect("an id").as_str(), "V-129999543004922423");
        assert_eq!(voucher("009999544996787307").nozzle(), None);
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", VoucherKey::new([0xAB; 32])), "VoucherKey(…)");
    }

    #[test]
    fn five_wrong_entries_lock_for_a_quarter_of_an_hour_and_then_all_five_are_free_again() {
        let mut entry = CodeEntry::default();
        for left in [4, 3, 2, 1] {
            entry = entry.after_wrong(start());
            assert_eq!((entry.left(), entry.locked(start())), (left, None));
        }
        entry = entry.after_wrong(start());
        assert_eq!(entry.locked(minutes(15).plus_ms(-1)), Some(minutes(15)));
        assert_eq!((entry.locked(minutes(15)), entry.left()), (None, 5));
        // The clock was set back by a day: the lock is not a day longer.
        assert_eq!(entry.locked(minutes(-1_440)), Some(minutes(-1_425)));
    }
}
