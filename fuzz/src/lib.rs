//! What the targets of the command parser share: a station, its key set, and the platform that signs for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloud_sync::wire::command::{Inbound, Opened, open};
use cloud_sync::wire::jws::KeySet;
use cloud_sync::wire::reply::LinkReply;
use ed25519_dalek::{Signer as _, SigningKey};
use forecourt::ids::StationId;
use forecourt::time::UtcTime;
use std::sync::LazyLock;

/// The station that the seeds are addressed to.
pub static STATION: LazyLock<StationId> = LazyLock::new(|| StationId::new("st-1").expect("an id"));
/// The key set with the one key `k1`.
pub static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(KEY.verifying_key().as_bytes());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"{x}"}}]}}"#);
    KeySet::from_jwks(keys.as_bytes()).expect("a key set")
});
/// A key for fuzzing only.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[1; 32]));

/// The payload as the platform would send it.
#[must_use]
pub fn sign(payload: &[u8]) -> Vec<u8> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(br#"{"alg":"EdDSA","kid":"k1"}"#), encode(payload));
    let signature = KEY.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", encode(&signature)).into_bytes()
}

/// Opens a message and reads it at the time of the seeds.
///
/// # Errors
/// The refusal, as from the parser.
pub fn receive(message: &[u8]) -> Result<(Opened, Inbound), LinkReply> {
    let now = UtcTime::parse("2026-11-21T08:30:00.000Z").expect("a time");
    let opened = open(message, &KEYS, &STATION)?;
    let inbound = opened.read(now)?;
    Ok((opened, inbound))
}
