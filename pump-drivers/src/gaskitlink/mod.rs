//! GasKitLink v1.2: Censtar export posts with full control (GasKitLink sheet).

mod describe;
mod driver;
pub mod frame;
mod look;
pub mod message;
mod phase;
mod probe;
mod sale;
mod settings;
mod stop;

pub use describe::{StreamDecoder, decode_line, describe};
pub use driver::{GasKitLinkDriver, alarm};
pub(crate) use probe::plan;
pub use settings::{AuthoriseIn, Habits, RULES, TotalQuery, line_settings};
