//! What was tried and what came of it.

use super::cause::address_text;
use super::{Cause, Facts, Setting};
use crate::protocol::Protocol;

/// A dispenser that answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// What it speaks.
    pub protocol: Protocol,
    /// At which setting.
    pub setting: Setting,
    /// At which address.
    pub address: u8,
    /// What it told.
    pub facts: Facts,
    /// Questions that were asked only to see how good the line is.
    pub checks: u32,
    /// How many of them got no good answer.
    pub failures: u32,
    /// It answered only in a longer window than is usual.
    pub late: bool,
}

impl Found {
    /// Its address as it stands in the configuration.
    #[must_use]
    pub fn address_text(&self) -> String {
        address_text(self.protocol, self.address)
    }
}

/// One protocol at one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PassReport {
    /// What was spoken.
    pub protocol: Protocol,
    /// At which setting.
    pub setting: Setting,
    /// Questions to find an address.
    pub asked: u32,
    /// How many came back as they were sent.
    pub echoed: u32,
    /// Bytes beyond the echo.
    pub bytes: u32,
    /// Addresses where bytes came that make no frame, with the last of them.
    pub garbled: Vec<(u8, Vec<u8>)>,
    /// Addresses where a second answer followed the first, with the bytes that followed.
    pub doubled: Vec<(u8, Vec<u8>)>,
    /// Addresses that spoke when another was asked.
    pub strays: Vec<u8>,
    /// Why the port does not take this setting.
    pub refused: Option<String>,
}

impl PassReport {
    pub(super) const fn new(protocol: Protocol, setting: Setting) -> Self {
        Self {
            protocol,
            setting,
            asked: 0,
            echoed: 0,
            bytes: 0,
            garbled: Vec::new(),
            doubled: Vec::new(),
            strays: Vec::new(),
            refused: None,
        }
    }
}

/// The end of a probe.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Who answered.
    pub found: Vec<Found>,
    /// The adapter returns what is sent.
    pub echo: bool,
    /// What is wrong, or most likely is; there may be something although dispensers answered.
    pub causes: Vec<Cause>,
    /// What was tried.
    pub passes: Vec<PassReport>,
    /// Addresses that were not asked, because the question could be an order to a dispenser of another protocol.
    pub left_out: Vec<(Protocol, Vec<u8>)>,
    /// The time was over before all was tried.
    pub cut_short: bool,
}
