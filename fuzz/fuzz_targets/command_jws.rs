//! Any bytes on the command topic.
#![no_main]

use cloud_sync::wire::jws::{Compact, KeySet};
use forecourt_edge_fuzz::{KEYS, receive};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let result = receive(data);
    let verified = Compact::split(data).is_ok_and(|compact| compact.verify(&KEYS).is_ok());
    assert!(verified || result.is_err(), "only what is signed is read");
    assert_eq!(receive(data).is_ok(), result.is_ok(), "the same bytes have the same answer");
    if let Err(refusal) = result {
        assert!(!refusal.detail.is_empty() && refusal.detail.len() < 1_024, "{refusal:?}");
    }
    // the key file comes from people, so the same bytes serve for it
    let _ = KeySet::from_jwks(data);
});
