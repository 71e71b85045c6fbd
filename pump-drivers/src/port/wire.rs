//! Opening a port and making sure that it is as it was asked for.

use super::rs485;
use core::time::Duration;
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;
use tokio_serial::{DataBits, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};

/// Longest wait for a serial device server.
const CONNECT: Duration = Duration::from_secs(5);

/// Parity bit of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// Odd, as DART has it.
    Odd,
    /// Even.
    Even,
    /// None.
    None,
}

/// Where a line is plugged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A device file; a pseudo-terminal too.
    Serial {
        /// Its path, best one of `/dev/serial/by-id/`.
        path: PathBuf,
        /// Bits per second.
        baud: u32,
        /// Of each character of eight bits, with one stop bit.
        parity: Parity,
        /// The kernel drives the direction of an RS-485 port.
        rs485: bool,
    },
    /// A serial device server.
    Tcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// A port as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSettings {
    /// Where.
    pub place: Place,
}

/// A port cannot be used at present. It is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortFault {
    /// It does not open.
    #[error("{place} cannot be opened: {why}")]
    Open {
        /// Which.
        place: String,
        /// Why, and what to do.
        why: String,
    },
    /// It is open, but not as asked for.
    #[error("{place} cannot be set to {asked}: it says {got}; use an adapter that can")]
    Settings {
        /// Which.
        place: String,
        /// Asked for.
        asked: String,
        /// Read back.
        got: String,
    },
    /// It was open.
    #[error("{place} is gone: {why}")]
    Lost {
        /// Which.
        place: String,
        /// How that showed.
        why: String,
    },
}

/// An open port.
pub(super) enum Wire {
    Serial(SerialStream),
    Tcp(TcpStream),
}

impl PortSettings {
    fn name(&self) -> String {
        match &self.place {
            Place::Serial { path, .. } => path.display().to_string(),
            Place::Tcp { host, port } => format!("tcp://{host}:{port}"),
        }
    }

    pub(super) fn lost(&self, why: &str) -> PortFault {
        PortFault::Lost { place: self.name(), why: why.into() }
    }

    /// Opens it; also says in words what was opened.
    pub(super) async fn open(&self) -> Result<(Wire, String), PortFault> {
        match &self.place {
            Place::Serial { path, baud, parity, rs485 } => self.open_serial(path, *baud, *parity, *rs485),
            Place::Tcp { host, port } => self.open_tcp(host, *port).await,
        }
    }

    fn open_serial(&self, path: &Path, baud: u32, parity: Parity, rs485: bool) -> Result<(Wire, String), PortFault> {
        let wanted = match parity {
            Parity::Odd => tokio_serial::Parity::Odd,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::None => tokio_serial::Parity::None,
        };
        let builder = tokio_serial::new(path.to_string_lossy(), baud)
            .data_bits(DataBits::Eight)
            .parity(wanted)
            .stop_bits(StopBits::One);
        let open = |why: String| PortFault::Open { place: self.name(), why };
        let mut port = builder.open_native_async().map_err(|why| open(advice(&why)))?;
        port.set_exclusive(true).map_err(|why| open(why.to_string()))?;
        let mut detail = format!("{} {baud} 8{}1", self.name(), letter(wanted));
        // A pseudo-terminal keeps neither parity nor speed and does not say so.
        if is_pseudo_terminal(path) {
            detail.push_str(" (pseudo-terminal)");
        } else {
            self.check(&port, baud, wanted)?;
            if rs485 {
                detail.push_str(
                    match rs485::enable(&port).map_err(|why| open(format!("RS-485 direction: {why}")))? {
                        rs485::Direction::Kernel => ", direction by the kernel",
                        rs485::Direction::Adapter => ", direction by the adapter",
                    },
                );
            }
        }
        Ok((Wire::Serial(port), detail))
    }

    /// Drivers of adapters accept what they cannot do: read back.
    fn check(&self, port: &SerialStream, baud: u32, parity: tokio_serial::Parity) -> Result<(), PortFault> {
        let got = (port.baud_rate().ok(), port.parity().ok(), port.data_bits().ok());
        if got == (Some(baud), Some(parity), Some(DataBits::Eight)) {
            return Ok(());
        }
        let (got_baud, got_parity, got_bits) = got;
        Err(PortFault::Settings {
            place: self.name(),
            asked: format!("{baud} 8{}1", letter(parity)),
            got: format!(
                "{} {}{}",
                got_baud.map_or_else(|| "?".into(), |baud| baud.to_string()),
                got_bits.map_or_else(|| "?".into(), |bits| bits.to_string()),
                got_parity.map_or('?', letter)
            ),
        })
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<(Wire, String), PortFault> {
        let open = |why: String| PortFault::Open { place: self.name(), why };
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect((host, port)))
            .await
            .map_err(|_| open(format!("no answer within {} s; check its address and network", CONNECT.as_secs())))?
            .map_err(|why| open(why.to_string()))?;
        // A poll of three bytes must not wait for more.
        stream.set_nodelay(true).map_err(|why| open(why.to_string()))?;
        Ok((Wire::Tcp(stream), self.name()))
    }
}

fn is_pseudo_terminal(path: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|real| real.starts_with("/dev/pts"))
}

const fn letter(parity: tokio_serial::Parity) -> char {
    match parity {
        tokio_serial::Parity::None => 'N',
        tokio_serial::Parity::Odd => 'O',
        tokio_serial::Parity::Even => 'E',
    }
}

fn advice(why: &tokio_serial::Error) -> String {
    let next = match why.kind() {
        tokio_serial::ErrorKind::NoDevice => "another program may have it open, or the adapter is not plugged in",
        tokio_serial::ErrorKind::Io(std::io::ErrorKind::NotFound) => "is the adapter plugged in? ls /dev/serial/by-id",
        tokio_serial::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => "put the daemon's user into group dialout",
        _ => "check the adapter",
    };
    format!("{why}; {next}")
}
