//! DART: Wayne / Dresser, Mepsan MKR5, Europump and "2A" heads (DART sheet).

mod describe;
mod digits;
mod driver;
pub mod frame;
mod head;
mod link;
mod listen;
pub mod message;
mod probe;
mod sale;
mod settings;
mod task;

pub use describe::{StreamDecoder, decode_line, describe};
pub use digits::Digits;
pub use driver::{DartDriver, alarm};
pub use listen::{DartEar, PollWatch};
pub(crate) use probe::plan;
pub use settings::{Habits, RULES, Recipe};
