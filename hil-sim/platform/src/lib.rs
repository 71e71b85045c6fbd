//! A reference platform for the cloud contract, small enough to read: drivers, orders, a sandbox payment channel, a ledger,
//! commission, cards, reconciliation and a dashboard. It shows the whole loop from the driver's tap to the booked commission.
//!
//! It stands on the contract alone ([`contract`]) and shares no code with `cloud-sync`. It is a reference, not a product: one process,
//! one database, log-in on trust. What it does decide, it decides as a product should: money in integers, double entry enforced by the
//! database, every movement once.

mod api;
pub mod authority;
pub mod bench;
pub mod books;
pub mod calendar;
pub mod contract;
pub mod distance;
pub mod link;
pub mod page;
pub mod platform;
pub mod poster;
pub mod qr;
pub mod reconcile;
pub mod refusal;
pub mod rehearsal;
pub mod shared;
pub mod signature;

pub use platform::{ReferencePlatform, Running, Settings, StartError};
