//! What a site says about its GasKitLink posts beyond their heads, and how their line behaves.

use super::frame::{ADDRESSES, LONGEST_REPLY};
use crate::head::Rules;
use crate::line::{Echo, LineSettings};
use core::time::Duration;

/// What a head must keep to: addresses 01 to 20 (hex), six nozzles, prices of four digits.
pub const RULES: Rules = Rules { addresses: ADDRESSES, most_nozzles: 6, price_digits: 4 };

/// When a post takes V and M (section 4: hosts differ, and the post may too).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthoriseIn {
    /// Only with the nozzle lifted (state 2): an order is released at its lift.
    #[default]
    Calling,
    /// Before the lift (state 1): an order is released at its arming, and taken back by B and N.
    Idle,
}

/// How C names a nozzle (section 5, rule 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TotalQuery {
    /// By its number.
    #[default]
    Nozzle,
    /// By 0, the active one. Before a sale it is asked for only where there is one nozzle.
    Active,
}

/// What a site found out about its posts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// When V and M are sent.
    pub authorise_in: AuthoriseIn,
    /// How totalisers are asked for.
    pub total_query: TotalQuery,
    /// From one poll to the next while nothing happens.
    pub idle_poll: Duration,
    /// The same while a nozzle is out.
    pub active_poll: Duration,
    /// Nothing is asked for so long after N.
    pub close_wait: Duration,
}

impl Default for Habits {
    /// Section 1.
    fn default() -> Self {
        Self {
            authorise_in: AuthoriseIn::default(),
            total_query: TotalQuery::default(),
            idle_poll: Duration::from_millis(300),
            active_poll: Duration::from_millis(120),
            close_wait: Duration::from_millis(800),
        }
    }
}

/// The line's behaviour after section 1: 9600 8N1, answers within 100 ms, frames apart by 10 ms, 20 ms of silence after an error.
#[must_use]
pub fn line_settings() -> LineSettings {
    LineSettings {
        baud: 9_600,
        bits_per_char: 10,
        pause_before_send: Duration::from_millis(10),
        echo: Echo::None,
        answer_window: Duration::from_millis(100),
        inter_byte_gap: Duration::from_millis(20),
        listen_out: Duration::from_millis(20),
        longest_answer: LONGEST_REPLY,
        offline_after: 6,
        ..LineSettings::default()
    }
}
