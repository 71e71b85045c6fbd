//! The shell around a [`crate::line::Line`]: a serial port, a pty or a TCP device server, channels and a clock.

mod hear_only;
mod rs485;
mod task;
mod transport;

pub use task::{Clock, LineReport, LineTask, TraceSink, listen, run};
pub use transport::{Parity, PortFault, SerialSettings, Transport, Wire};
