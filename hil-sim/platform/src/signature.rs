//! HMAC-SHA-256 (RFC 2104, FIPS 180-4): callbacks of the sandbox channel, and what is stored in place of telephone numbers, session
//! tokens and one-time codes.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A key of 32 bytes.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A secret could be neither read nor made.
#[derive(Debug, thiserror::Error)]
#[error("secret {what}: {why}; mend or remove the file, then start again")]
pub struct BadSecret {
    what: String,
    why: String,
}

impl Secret {
    /// Of given bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What an earlier call left in the file, or a new one, for its owner's eyes only.
    ///
    /// # Errors
    /// [`BadSecret`] if the file can be neither read nor made, or holds something else.
    pub fn load_or_generate(file: &Path) -> Result<Self, BadSecret> {
        let bad = |why: String| BadSecret { what: file.display().to_string(), why };
        if file.exists() {
            let bytes = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
            return bytes.try_into().map(Self).map_err(|_| bad("is not 32 bytes".into()));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| bad(error.to_string()))?;
        let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        open.and_then(|mut out| out.write_all(&bytes)).map_err(|error| bad(error.to_string()))?;
        Ok(Self(bytes))
    }

    fn mac(&self, parts: &[&str]) -> Hmac<Sha256> {
        // An HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length of key");
        for part in parts {
            mac.update(part.as_bytes());
            // Parts hold no line ends of their own but the last, so that no two lists of parts give one text.
            mac.update(b"\n");
        }
        mac
    }

    /// Lower-case hex over the parts, each followed by a line end.
    #[must_use]
    pub fn sign(&self, parts: &[&str]) -> String {
        hex(&self.mac(parts).finalize().into_bytes())
    }

    /// Whether a signature is right; takes as long for a wrong one.
    #[must_use]
    pub fn verifies(&self, parts: &[&str], signature: &str) -> bool {
        let Some(bytes) = unhex(signature) else { return false };
        self.mac(parts).verify_slice(&bytes).is_ok()
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_parts_and_for_no_others() {
        let secret = Secret::new([7; 32]);
        let signature = secret.sign(&["1", "n", "body"]);
        assert!(secret.verifies(&["1", "n", "body"], &signature));
        for parts in [&["2", "n", "body"][..], &["1n", "", "body"], &["1", "n", "bodY"], &["1", "n"]] {
            assert!(!secret.verifies(parts, &signature), "{parts:?}");
        }
        for bad in ["", "zz", &signature[1..], &Secret::new([8; 32]).sign(&["1", "n", "body"])] {
            assert!(!secret.verifies(&["1", "n", "body"], bad), "{bad}");
        }
    }

    /// RFC 4231, test case 2, has a key of four bytes; ours are 32, so this was computed with Python's hmac.
    #[test]
    fn it_is_hmac_sha_256() {
        let signature = Secret::new([0x0b; 32]).sign(&["Hi There"]);
        assert_eq!(signature, EXPECTED);
    }
    const EXPECTED: &str = "a5f36080a03a48f0dceb112e99d2e8bdef0df0fed28c60feafab79b8dadec1dc";
}
