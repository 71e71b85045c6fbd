//! `hil-sim demo`: broker, dispensers, customers, platform and the real daemon, without root or any service.

pub mod board;
