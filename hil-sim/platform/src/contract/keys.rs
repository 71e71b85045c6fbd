//! The platform's signing key: compact JWS with EdDSA (RFC 7515, RFC 8037), and the JWKS file (RFC 7517) a station is given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// An Ed25519 key with the name stations know it by.
pub struct KeyPair {
    kid: String,
    secret: SigningKey,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.kid)
    }
}

impl KeyPair {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate(kid: impl Into<String>) -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
        Ok(Self::from_seed(kid, seed))
    }

    /// The key of a given secret.
    #[must_use]
    pub fn from_seed(kid: impl Into<String>, seed: [u8; 32]) -> Self {
        Self { kid: kid.into(), secret: SigningKey::from_bytes(&seed) }
    }

    /// Reads the secret that an earlier call left in the file, or makes a new one there, for its owner's eyes only.
    ///
    /// # Errors
    /// If the file can be neither read nor made, or holds something else.
    pub fn load_or_generate(kid: impl Into<String>, file: &Path) -> io::Result<Self> {
        if !file.exists() {
            let key = Self::generate(kid)?;
            key.save_secret(file)?;
            return Ok(key);
        }
        let text = std::fs::read_to_string(file)?;
        let seed = URL_SAFE_NO_PAD
            .decode(text.trim())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| io::Error::other(format!("{} holds no base64url of 32 bytes", file.display())))?;
        Ok(Self::from_seed(kid, seed))
    }

    fn save_secret(&self, file: &Path) -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        writeln!(out, "{}", URL_SAFE_NO_PAD.encode(self.secret.to_bytes()))
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public half as a JWK.
    #[must_use]
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(self.secret.verifying_key().to_bytes()),
        })
    }

    /// Signs a payload: `header.payload.signature`, each base64url.
    #[must_use]
    pub fn sign(&self, payload: &[u8]) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.kid}).to_string();
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.secret.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }
}

/// Writes the JWKS file that the station's `jwks-file` names.
///
/// # Errors
/// If the file cannot be written.
pub fn write_jwks(file: &Path, keys: &[&KeyPair]) -> io::Result<()> {
    let set = json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()});
    std::fs::write(file, format!("{set:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.1 and A.4.
    const RFC_SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

    fn rfc_key() -> KeyPair {
        let seed = URL_SAFE_NO_PAD.decode(RFC_SECRET).expect("base64");
        KeyPair::from_seed("rfc", seed.try_into().expect("32 bytes"))
    }

    #[test]
    fn the_public_half_is_that_of_rfc_8037() {
        assert_eq!(rfc_key().jwk()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }

    #[test]
    fn a_signature_verifies_over_header_and_payload_and_not_over_another() {
        let key = rfc_key();
        let token = key.sign(b"{\"a\":1}");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let signature = ed25519_dalek::Signature::from_slice(&signature).expect("64 bytes");
        let public = key.secret.verifying_key();
        assert!(public.verify_strict(signed.as_bytes(), &signature).is_ok());
        assert!(public.verify_strict(signed.replacen('e', "f", 1).as_bytes(), &signature).is_err());
        let mut parts = signed.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"));
        assert_eq!(parts.next().expect("header"), br#"{"alg":"EdDSA","kid":"rfc"}"#);
        assert_eq!(parts.next().expect("payload"), b"{\"a\":1}");
    }

    #[test]
    fn a_saved_secret_is_read_back_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key");
        let made = KeyPair::load_or_generate("k1", &file).expect("made");
        let read = KeyPair::load_or_generate("k1", &file).expect("read");
        assert_eq!(made.jwk(), read.jwk());
        assert_eq!(file.metadata().expect("exists").permissions().mode() & 0o777, 0o600);
    }
}
