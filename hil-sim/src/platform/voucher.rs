//! The platform's side of contract section 8: 18 digits for the driver, written from the sheet with no code of the station's.

use forecourt::time::UtcTime;
use sha2::{Digest, Sha256};

/// Issues a voucher: nozzle 0 is any, `major` whole units of money, `serial` its number within the slot.
#[must_use]
pub fn issue(key: &[u8; 32], station: &str, nozzle: u8, major: u16, serial: u8, at: UtcTime) -> String {
    // Slots of 10 minutes since 2020-01-01T00:00:00Z.
    let slot = (at.unix_ms() / 1_000 - 1_577_836_800) / 600;
    let text = format!("v1|{station}|{nozzle:02}|{major:04}|{slot}|{serial:02}");
    let mac = hmac(key, text.as_bytes());
    let offset = usize::from(mac[31] % 16);
    let number = mac[offset..offset + 4].iter().fold(0_u64, |number, byte| number * 256 + u64::from(*byte));
    let check = number % 0x8000_0000 % 10_000_000;
    format!("{nozzle:02}{major:04}{:03}{serial:02}{check:07}", slot % 1_000)
}

/// RFC 2104 over SHA-256, for a key of at most 64 bytes.
fn hmac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte = with ^ key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_issues_what_pythons_hmac_reckons() {
        let mut key = [0; 32];
        (0_u8..).zip(&mut key).for_each(|(number, byte)| *byte = number);
        let at = UtcTime::parse("2026-11-22T16:09:59Z").expect("a time");
        assert_eq!(issue(&key, "st-0001", 3, 200, 7, at), "030200544076998108");
        assert_eq!(issue(&key, "st-0001", 0, 9_999, 99, at), "009999544996787307");
        assert_eq!(issue(&key, "st-0001", 3, 200, 72, at), "030200544720009220");
    }
}
