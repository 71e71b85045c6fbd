//! DART: Wayne / Dresser, Mepsan MKR5, Europump and "2A" heads (DART sheet).

mod describe;
mod digits;
mod driver;
pub mod frame;
mod head;
mod link;
mod listen;
pub mod message;
mod sale;
mod settings;
mod task;

pub use describe::{StreamDecoder, decode_line, describe};
pub use digits::Digits;
pub use driver::{DartDriver, alarm};
pub use listen::{DartEar, PollWatch};
pub use settings::{Habits, RULES, Recipe};
