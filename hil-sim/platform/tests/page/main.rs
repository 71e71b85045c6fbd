//! The driver's page in a real browser, against a stand-in that speaks `API.md`.

mod browser;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod common;
mod looks;
mod money;
mod real;
mod stand;
