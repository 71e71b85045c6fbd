//! The way to the cloud: messages of contract version 1, signatures, the outbox and the two roads, MQTT and HTTPS.
//!
//! Pure but for the MQTT client and the HTTPS one: bytes, rows and time come in, messages and asks come out. The rows themselves live
//! in a store that the daemon brings ([`outbox::store::OutboxStore`]); what this crate keeps in memory is bounded and may be lost at any moment.

pub mod consumer;
pub mod expiry;
pub mod https;
pub mod link;
pub mod mqtt;
pub mod outbox;
#[cfg(feature = "schema")]
pub mod published;
pub mod road;
pub mod tls;
pub mod wire;
