//! The outbox: which durable records to send now, and what was acknowledged (contract section 5).

pub mod store;
