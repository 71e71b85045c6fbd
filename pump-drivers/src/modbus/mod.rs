//! Modbus with profile files: register maps are data, never code (Modbus sheet).
//!
//! [`wire`] frames one question and its answer, [`point`] turns registers into numbers, [`profile`] reads maps, and
//! [`ModbusDriver`] releases a dispenser or collects from a device by its map. [`PulseDriver`] makes a fuelling point of a pulse counter and a
//! relay board.

mod describe;
mod driver;
mod ending;
mod image;
mod order;
mod pass;
pub mod point;
pub mod profile;
mod pulses;
mod release;
mod sale;
mod settings;
pub mod wire;
mod write;

pub use describe::{StreamDecoder, decode_line};
pub use driver::{ModbusDriver, alarm, exception_text};
pub use pulses::{PulseDriver, PulseHabits};
pub use settings::{Habits, RULES, line_settings, tcp_settings};
