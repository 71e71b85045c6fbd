//! What targets share: for the command parser a station, its key set, and the platform that signs for it; for the protocols what holds
//! of every decoder of a stream.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloud_sync::wire::command::{Inbound, Opened, open};
use cloud_sync::wire::jws::KeySet;
use cloud_sync::wire::reply::LinkReply;
use ed25519_dalek::{Signer as _, SigningKey};
use forecourt::ids::StationId;
use forecourt::time::UtcTime;
use pump_drivers::hex::{Direction, hex_of};
use pump_drivers::protocol::Protocol;
use serde_json::Value;
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

/// What holds of every decoder of a stream: each frame is good or refused with a reason, and it does not matter how the reads cut the
/// stream. The first byte of the data says where it is cut.
///
/// # Panics
/// Where that does not hold.
pub fn stream(protocol: Protocol, data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let at = usize::from(*cut).min(bytes.len());
    for direction in [None, Some(Direction::Controller), Some(Direction::Pump)] {
        let all = |pieces: &[&[u8]]| {
            let mut decoder = protocol.stream_decoder(direction);
            let mut all: Vec<Value> = pieces.iter().flat_map(|piece| decoder.feed(piece)).collect();
            all.extend(decoder.finish());
            assert!(decoder.finish().is_empty(), "nothing is left after the end");
            all
        };
        let whole = all(&[bytes]);
        assert_eq!(all(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        for value in whole {
            said(&value);
        }
        said(&protocol.decode_line(&hex_of(bytes), direction));
    }
}

fn said(value: &Value) {
    let is_good = value["ok"].as_bool().expect("ok is said");
    assert_ne!(is_good, value["reason"].is_string(), "a reason, and only for a refusal: {value}");
}
