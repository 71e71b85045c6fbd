//! Compact JWS with EdDSA (RFC 7515, RFC 8037) and the key set that it is checked against (RFC 7517).

use crate::wire::strict;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use std::collections::BTreeMap;

/// The platform's public keys by `kid`. Several at once, so that keys can change without a gap.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
}

/// The JWKS file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeySet {
    /// Not the JSON it must be.
    #[error("the key file is not valid JSON: {0}")]
    Json(strict::Fault),
    /// No array `keys`.
    #[error("the key file has no array \"keys\": give a JWKS (RFC 7517)")]
    NoKeys,
    /// An entry cannot be used.
    #[error("key {index} of the key file: {why}")]
    Key {
        /// From 0.
        index: usize,
        /// What is wrong.
        why: &'static str,
    },
}

impl KeySet {
    /// Reads a JWKS. Every key must be of kind OKP, curve Ed25519, with a `kid` that no other has.
    ///
    /// # Errors
    /// [`BadKeySet`] naming the first key that cannot be used; a file without any key is an error too.
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, BadKeySet> {
        let document = strict::parse(bytes).map_err(BadKeySet::Json)?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or(BadKeySet::NoKeys)?;
        let mut keys = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let (kid, key) = read_key(entry).map_err(|why| BadKeySet::Key { index, why })?;
            if keys.insert(kid, key).is_some() {
                return Err(BadKeySet::Key { index, why: "its \"kid\" occurs twice" });
            }
        }
        if keys.is_empty() {
            return Err(BadKeySet::NoKeys);
        }
        Ok(Self { keys })
    }

    /// Trusts a key no longer. False if it is not among them.
    pub fn remove(&mut self, kid: &str) -> bool {
        self.keys.remove(kid).is_some()
    }

    /// The names of the keys, sorted.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

fn read_key(entry: &Value) -> Result<(String, VerifyingKey), &'static str> {
    let text = |name| entry.get(name).and_then(Value::as_str);
    if text("kty") != Some("OKP") || text("crv") != Some("Ed25519") {
        return Err("it must have \"kty\":\"OKP\" and \"crv\":\"Ed25519\"");
    }
    if entry.get("d").is_some() {
        return Err("it is a private key (\"d\"): only public keys belong into a station");
    }
    let kid =
        text("kid").filter(|kid| !kid.is_empty() && kid.len() <= 128).ok_or("it has no \"kid\" of 1 to 128 bytes")?;
    let raw = text("x").and_then(|x| URL_SAFE_NO_PAD.decode(x).ok()).ok_or("its \"x\" is no base64url")?;
    let raw: [u8; 32] = raw.try_into().map_err(|_| "its \"x\" is not 32 bytes")?;
    let key = VerifyingKey::from_bytes(&raw).map_err(|_| "its \"x\" is no point of the curve")?;
    if key.is_weak() {
        return Err("it is a weak key that verifies anything");
    }
    Ok((kid.to_owned(), key))
}

/// A compact JWS taken apart, its signature not yet checked.
#[derive(Debug)]
pub struct Compact<'a> {
    signed: &'a [u8],
    algorithm: String,
    kid: String,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

/// The text is no compact JWS of the contract's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a compact JWS: {0}")]
pub struct NotJws(&'static str);

/// The signature does not hold, or not by a key of this station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// `alg` is not EdDSA.
    #[error("the algorithm is not EdDSA")]
    Algorithm,
    /// `kid` is not in the key set.
    #[error("the key is not one of this station's")]
    UnknownKey,
    /// Forged, damaged, or by another key of the same name.
    #[error("the signature does not match")]
    Mismatch,
}

impl<'a> Compact<'a> {
    /// Takes `header.payload.signature` apart.
    ///
    /// # Errors
    /// [`NotJws`] where it has another form, or asks for an extension (`crit`) that we do not know.
    pub fn split(bytes: &'a [u8]) -> Result<Self, NotJws> {
        let mut parts = bytes.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotJws("it must have three parts with dots between"));
        };
        let decode =
            |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| NotJws("a part is not base64url without padding"));
        let signed = &bytes[..header.len() + 1 + payload.len()];
        let header = strict::parse(&decode(header)?).map_err(|_| NotJws("its header is not JSON"))?;
        if header.get("crit").is_some() {
            return Err(NotJws("its header has \"crit\", which is not used here"));
        }
        let text = |name| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            signed,
            algorithm: text("alg").ok_or(NotJws("its header has no \"alg\""))?,
            kid: text("kid").ok_or(NotJws("its header has no \"kid\""))?,
            signature: decode(signature)?,
            payload: decode(payload)?,
        })
    }

    /// Checks the signature, strictly (RFC 8032 section 5.1.7 without its cofactor, no weak points).
    ///
    /// # Errors
    /// [`BadSignature`]
    pub fn verify(&self, keys: &KeySet) -> Result<(), BadSignature> {
        if self.algorithm != "EdDSA" {
            return Err(BadSignature::Algorithm);
        }
        let key = keys.keys.get(&self.kid).ok_or(BadSignature::UnknownKey)?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| BadSignature::Mismatch)?;
        key.verify_strict(self.signed, &signature).map_err(|_| BadSignature::Mismatch)
    }

    /// The name of the key. Not to be believed before [`Self::verify`].
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The payload. Not to be believed before [`Self::verify`].
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::testing::{JWKS_KID, jwks, signing_key};

    #[test]
    fn the_example_of_rfc_8037_verifies() {
        // RFC 8037 appendix A.2 and A.4; the RFC's header has no kid, so key and signature are checked below `split`.
        let keys = KeySet::from_jwks(
            br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .expect("a key set");
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let example = Compact {
            signed: b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            algorithm: "EdDSA".into(),
            kid: "k".into(),
            signature: URL_SAFE_NO_PAD.decode(signature).expect("base64url"),
            payload: Vec::new(),
        };
        assert_eq!(example.verify(&keys), Ok(()));
    }

    #[test]
    fn a_key_file_names_what_cannot_be_used() {
        let table: &[(&str, BadKeySet)] = &[
            ("{}", BadKeySet::NoKeys),
            (r#"{"keys":[]}"#, BadKeySet::NoKeys),
            (
                r#"{"keys":[{"kty":"RSA","kid":"a"}]}"#,
                BadKeySet::Key { index: 0, why: "it must have \"kty\":\"OKP\" and \"crv\":\"Ed25519\"" },
            ),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}"#,
                BadKeySet::Key { index: 0, why: "its \"x\" is not 32 bytes" },
            ),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#,
                BadKeySet::Key { index: 0, why: "it is a weak key that verifies anything" },
            ),
            (
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"x"}]}"#,
                BadKeySet::Key { index: 0, why: "it is a private key (\"d\"): only public keys belong into a station" },
            ),
        ];
        for (text, fault) in table {
            assert_eq!(KeySet::from_jwks(text.as_bytes()).err().as_ref(), Some(fault), "{text}");
        }
    }

    #[test]
    fn several_keys_verify_side_by_side() {
        let both = KeySet::from_jwks(&jwks(&[(JWKS_KID, 1), ("next", 2)])).expect("a key set");
        assert_eq!(both.kids().collect::<Vec<_>>(), [JWKS_KID, "next"]);
        for (kid, seed) in [(JWKS_KID, 1), ("next", 2)] {
            let signed = crate::wire::command::testing::sign_as(kid, &signing_key(seed), b"{}");
            let compact = Compact::split(signed.as_bytes()).expect("a JWS");
            assert_eq!(compact.verify(&both), Ok(()), "{kid}");
        }
    }
}
