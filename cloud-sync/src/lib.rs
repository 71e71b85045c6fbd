//! The way to the cloud: messages of contract version 1, signatures, the outbox and the MQTT link.
//!
//! Pure but for the MQTT client: bytes, rows and time come in, messages and asks come out. The rows themselves live in a store that
//! the daemon brings ([`outbox::store::OutboxStore`]); what this crate keeps in memory is bounded and may be lost at any moment.

pub mod link;
pub mod mqtt;
pub mod outbox;
#[cfg(feature = "schema")]
pub mod published;
pub mod wire;
