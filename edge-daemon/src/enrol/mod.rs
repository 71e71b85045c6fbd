//! The station's certificate from the platform: a key made here, a signing request, and what comes back put in place whole.
//!
//! The private key never leaves this machine. With a one-time code for the first certificate, with the present one for its renewal.

pub mod files;
mod request;

pub use request::{EnrolFault, Received, Wanted, ask};
