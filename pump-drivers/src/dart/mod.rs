//! DART: Wayne / Dresser, Mepsan MKR5, Europump and "2A" heads (DART sheet).

mod describe;
mod digits;
pub mod frame;
pub mod message;

pub use describe::{StreamDecoder, decode_line, describe};
pub use digits::{Decimals, Digits};
