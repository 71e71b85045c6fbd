//! Finding out what hangs on a wire, by questions that change nothing there: which rate, parity, protocol and address answers.
//!
//! Each protocol module says as data what may be asked ([`Plan`]) and how the answers read ([`Talk`]). The [`Prober`] is pure: bytes
//! and time come in; bytes, settings and in the end a [`Report`] come out.

mod cause;
mod listening;
mod plan;
mod prober;
mod report;
mod stanza;

pub use cause::Cause;
pub use plan::{Options, Plan, Setting};
pub use prober::{Command, Prober, Progress};
pub use report::{Found, PassReport, Report};
pub use stanza::stanza;

use crate::driver::Exchange;

/// What the bytes that came since the last question are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The beginning of an answer, or noise before one.
    More,
    /// A good and complete answer of the address that was asked, taken in.
    Answer {
        /// Count of bytes up to its end, noise before it included.
        used: usize,
    },
    /// No answer, and nothing that follows without a silence will be one.
    Bad(String),
    /// A good frame of another address: late, or from a device that does not keep to its own.
    Stray(u8),
    /// Word of a gateway that nobody is at that address: as good as silence.
    Nobody,
}

/// The talk with one address. It only reads: no price, limit, release, stop, reset or acknowledgement of a sale is ever in it.
pub trait Talk {
    /// The next question; `None` once all was asked. The first is also the one by which an address is found.
    fn ask(&mut self) -> Option<Exchange>;

    /// Reads all bytes since the last question; its echo is already taken off.
    fn hear(&mut self, heard: &[u8]) -> Heard;

    /// No good answer came to the last question.
    fn miss(&mut self);

    /// A question that can be asked again and again to see how good the line is.
    fn check(&mut self) -> Exchange;

    /// What is known by now.
    fn facts(&self) -> Facts;
}

/// A number of a dispenser, as it sends it: where its decimal point stands is a setting of the site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figure {
    /// The dispenser's own number of the nozzle or grade, from 1; 0 where it names none.
    pub nozzle: u8,
    /// Decimal digits, leading zeros kept.
    pub digits: String,
}

/// What a dispenser told of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Make, version or serial number, as far as it tells.
    pub identity: Option<String>,
    /// Its state in the protocol's words.
    pub state: Option<String>,
    /// Unit prices.
    pub prices: Vec<Figure>,
    /// Volume totalisers.
    pub totals: Vec<Figure>,
    /// Nozzles it seems to have, at least.
    pub nozzles: u8,
    /// Keys of its line that only this protocol has.
    pub line_keys: Vec<String>,
    /// Lines of its configuration that only this protocol has, such as `total-query = "active"`.
    pub keys: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}
