//! The driver's page in a real browser, against a stand-in that speaks `API.md`.

mod browser;
mod looks;
mod money;
mod stand;
