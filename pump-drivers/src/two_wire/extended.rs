//! Extended status: sixteen ASCII characters with bit 7 set, then CR and LF (two-wire sheet, section 8).

use super::word::PumpNumber;

/// Words of an answer.
pub const LENGTH: usize = 19;
/// `:` as it comes.
pub const FIRST: u8 = 0xBA;
const CARRIAGE_RETURN: u8 = 0x8D;
const LINE_FEED: u8 = 0x8A;

/// Which hose is out, and what else is known of the sixteen characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extended {
    /// All characters but CR and LF.
    pub text: String,
    /// Who says it.
    pub pump: PumpNumber,
    /// Of totals, on Beijing heads.
    pub decimals_flag: u8,
    /// Character 12, where the flag is not 1.
    pub handle_out: bool,
    /// The hose that is out, from 1; 0 for none or a single product.
    pub hose: u8,
}

/// An answer was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Not nineteen words from `:` to LF with bit 7 set.
    #[error("{0} words that are no extended status from BA to 8D 8A")]
    NoText(usize),
    /// A character is no hexadecimal digit.
    #[error("character {0} is no hexadecimal digit")]
    NoHex(usize),
    /// The checksum is wrong.
    #[error("checksum {found:02X}, should be {expected:02X}")]
    Check {
        /// As it came.
        found: u8,
        /// As computed.
        expected: u8,
    },
}

impl Extended {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`Refused`] where a character or the checksum is wrong.
    pub fn read(words: &[u8]) -> Result<Self, Refused> {
        let [FIRST, hex @ .., CARRIAGE_RETURN, LINE_FEED] = words else { return Err(Refused::NoText(words.len())) };
        if words.len() != LENGTH || words.iter().any(|word| word & 0x80 == 0) {
            return Err(Refused::NoText(words.len()));
        }
        let characters: Vec<char> = hex.iter().map(|word| char::from(word & 0x7F)).collect();
        let mut nibbles = [0_u8; LENGTH - 3];
        for (at, (character, nibble)) in characters.iter().zip(&mut nibbles).enumerate() {
            // lower case is never sent
            let digit = character.to_digit(16).filter(|_| !character.is_ascii_lowercase());
            *nibble = digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(Refused::NoHex(at + 1))?;
        }
        let bytes = nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
        let (sum, found) = bytes.fold((0_u8, 0_u8), |(sum, last), byte| (sum.wrapping_add(last), byte));
        let expected = sum.wrapping_neg();
        if found != expected {
            return Err(Refused::Check { found, expected });
        }
        let at = |index: usize| nibbles[index - 1];
        // the third character is the pump itself, not its number less one: C1 is A, pump 10
        let pump = PumpNumber::of_nibble(at(3));
        let text = core::iter::once(':').chain(characters).collect();
        Ok(Self { text, pump, decimals_flag: at(9), handle_out: at(12) == 1, hose: at(14) })
    }
}
