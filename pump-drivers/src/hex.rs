//! Bytes as text for people, and back.

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The site controller, us.
    Controller,
    /// The pump.
    Pump,
}

/// Bytes as pairs of capital hex digits with a blank between.
#[must_use]
pub fn hex_of(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(" ")
}

/// The bytes of hex text; blanks anywhere are skipped.
///
/// # Errors
/// A sentence with the place of what is no hex digit, or that a byte lacks a digit.
pub fn bytes_of(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<(usize, char)> = hex.char_indices().filter(|(_, c)| !c.is_whitespace()).collect();
    if let Some((at, c)) = digits.iter().find(|(_, c)| !c.is_ascii_hexdigit()) {
        return Err(format!("{c:?} at position {} is no hexadecimal digit", at + 1));
    }
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits: the last byte lacks one", digits.len()));
    }
    let nibble = |c: char| c.to_digit(16).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
    Ok(digits.chunks_exact(2).map(|pair| nibble(pair[0].1) << 4 | nibble(pair[1].1)).collect())
}
