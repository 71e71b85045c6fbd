//! Gilbarco two-wire: polled words of a current loop; SK700, Encore, Advantage, Beijing and compatible heads (two-wire sheet).

pub mod block;
mod describe;
mod driver;
mod ending;
pub mod extended;
mod figures;
mod habits;
mod listen;
mod overhear;
mod prices;
mod probe;
mod release;
mod sale;
mod talk;
pub mod word;

pub use describe::{StreamDecoder, decode_line};
pub use driver::{TwoWireDriver, alarm};
pub use habits::{BAUD, Habits, MoneyPreset, RULES, VolumePreset, Width, line_settings};
pub use listen::{PollWatch, TwoWireEar};
pub(crate) use probe::plan;
