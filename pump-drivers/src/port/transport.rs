//! Opening a wire: serial port, pty, or TCP to a serial device server.

pub(super) use super::hear_only::HearOnly;
use super::rs485;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_serial::{DataBits, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};

/// A device server that does not answer for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Parity of a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Parity {
    /// None: 8N1.
    None,
    /// Odd, as DART has it.
    #[default]
    Odd,
    /// Even.
    Even,
}

/// A serial port, or a pty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SerialSettings {
    /// Best from /dev/serial/by-id.
    pub path: PathBuf,
    /// Bits per second.
    pub baud: u32,
    /// Of each byte; 8 data bits, 1 stop bit.
    pub parity: Parity,
    /// Have the kernel drive RTS as the direction of an RS-485 transceiver.
    pub rs485: bool,
}

/// What a line hangs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A serial port, or a pty.
    Serial(SerialSettings),
    /// A serial device server, `host:port`.
    Tcp(String),
}

/// The port could not be opened or used. It is tried again by itself.
#[derive(Debug, thiserror::Error)]
pub enum PortFault {
    /// Opening failed.
    #[error("cannot open {path}: {source}. Check the cable, the path and that the daemon is in group dialout")]
    Open {
        /// Which.
        path: String,
        /// Why.
        source: tokio_serial::Error,
    },
    /// The port refused the rate or the word.
    #[error(
        "{path} does not take {baud} bit/s with parity {parity}: {source}. Use an adapter that divides to any rate, or a converter board \
         with a usual one, such as 9600"
    )]
    Rate {
        /// Which.
        path: String,
        /// Bits per second as asked.
        baud: u32,
        /// As asked.
        parity: &'static str,
        /// Why.
        source: tokio_serial::Error,
    },
    /// The port did not take a setting.
    #[error("{path} does not take {what}: asked for {asked}, reads back {found}. Use another adapter or setting")]
    Setting {
        /// Which.
        path: String,
        /// Which setting.
        what: &'static str,
        /// As asked.
        asked: String,
        /// As read back.
        found: String,
    },
    /// RS-485 mode failed.
    #[error(
        "{path} does not take RS-485 mode: {source}. Switch rs485 off if the adapter finds the direction by itself"
    )]
    Rs485 {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No connection.
    #[error("cannot connect to device server {address}: {source}. Check its power, address and port number")]
    Connect {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The port was open and is gone.
    #[error("{0} is gone: unplugged, or closed by the other side")]
    Gone(String),
    /// Reading or writing failed.
    #[error("{name}: {source}")]
    Failed {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl PortFault {
    /// Whether the port is there and only does not take the rate or parity.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Rate { .. })
    }

    /// Whether another program has the port: it is marked exclusive (EBUSY), or locked, which holds for root too.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let Self::Open { source, .. } = self else { return false };
        let said = source.description.to_lowercase();
        said.contains("lock") || said.contains("busy")
    }
}

/// An open wire.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Transport {
    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Serial(serial) => serial.path.display().to_string(),
            Self::Tcp(address) => address.clone(),
        }
    }

    /// Opens it, for this process alone.
    ///
    /// # Errors
    /// [`PortFault`] if it is not there, in use, or does not take the settings.
    pub async fn open(&self) -> Result<Box<dyn Wire>, PortFault> {
        match self {
            Self::Serial(serial) => Ok(Box::new(open_serial(serial)?)),
            Self::Tcp(address) => Ok(Box::new(connect(address).await?)),
        }
    }

    /// Opens for reading alone.
    pub(super) async fn open_to_listen(&self) -> Result<HearOnly, PortFault> {
        match self {
            Self::Serial(serial) => HearOnly::reopen(open_serial(serial)?)
                .map_err(|source| PortFault::Open { path: serial.path.display().to_string(), source: source.into() }),
            Self::Tcp(address) => Ok(HearOnly::of_server(connect(address).await?)),
        }
    }
}

async fn connect(address: &str) -> Result<TcpStream, PortFault> {
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let stream = match connect.await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    };
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    stream.map_err(|source| PortFault::Connect { address: address.to_owned(), source })
}

/// Whether this is a pty, which keeps neither parity nor word length.
fn is_pty(path: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|path| path.starts_with("/dev/pts"))
}

/// Whether a divider came near enough to a rate: within 1 %, half of what a byte of 11 bits bears. Ports report what they really make, and
/// few make a rate such as 5787 bit/s exactly.
const fn is_near(asked: u32, found: u32) -> bool {
    asked.abs_diff(found) as u64 * 100 <= asked as u64
}

/// Why a port does not open: what a user must do is another thing where the kernel knows the port and refuses the rate.
fn open_fault(settings: &SerialSettings, source: tokio_serial::Error) -> PortFault {
    let path = settings.path.display().to_string();
    // EINVAL has no kind of its own in the library
    let refused = source.kind == tokio_serial::ErrorKind::InvalidInput || source.description == "Invalid argument";
    if !refused {
        return PortFault::Open { path, source };
    }
    let parity = match settings.parity {
        Parity::None => "none",
        Parity::Odd => "odd",
        Parity::Even => "even",
    };
    PortFault::Rate { path, baud: settings.baud, parity, source }
}

fn open_serial(settings: &SerialSettings) -> Result<SerialStream, PortFault> {
    let path = settings.path.display().to_string();
    let parity = match settings.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Odd => tokio_serial::Parity::Odd,
        Parity::Even => tokio_serial::Parity::Even,
    };
    let open = |source| open_fault(settings, source);
    let mut port = tokio_serial::new(path.as_str(), settings.baud)
        .data_bits(DataBits::Eight)
        .stop_bits(StopBits::One)
        .parity(parity)
        .open_native_async()
        .map_err(open)?;
    port.set_exclusive(true).map_err(open)?;
    let differs = |what, asked: String, found: String| {
        if asked == found { Ok(()) } else { Err(PortFault::Setting { path: path.clone(), what, asked, found }) }
    };
    let baud = port.baud_rate().map_err(open)?;
    if !is_near(settings.baud, baud) {
        differs("baud", settings.baud.to_string(), baud.to_string())?;
    }
    if !is_pty(&settings.path) {
        differs("parity", format!("{parity:?}"), format!("{:?}", port.parity().map_err(open)?))?;
        differs("8 data bits", format!("{:?}", DataBits::Eight), format!("{:?}", port.data_bits().map_err(open)?))?;
        differs("1 stop bit", format!("{:?}", StopBits::One), format!("{:?}", port.stop_bits().map_err(open)?))?;
    }
    if parity != tokio_serial::Parity::None && !is_pty(&settings.path) {
        drop_bad_parity(&port).map_err(|source| PortFault::Failed { name: format!("{path}: parity check"), source })?;
    }
    if settings.rs485 {
        set_rs485(&port, &path)?;
    }
    port.clear(tokio_serial::ClearBuffer::All).map_err(open)?;
    Ok(port)
}

/// Without this the kernel hands on bytes whose parity bit is wrong, and a two-wire word has no other guard.
fn drop_bad_parity(port: &SerialStream) -> io::Result<()> {
    use rustix::termios::{InputModes, OptionalActions, tcgetattr, tcsetattr};
    #[allow(unsafe_code, reason = "the library's stream lends its descriptor as a bare number only")]
    // SAFETY: the descriptor is open as long as `port` is borrowed, and this function ends before that
    let port = unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) };
    let mut termios = tcgetattr(port)?;
    termios.input_modes |= InputModes::INPCK | InputModes::IGNPAR;
    termios.input_modes -= InputModes::PARMRK;
    Ok(tcsetattr(port, OptionalActions::Now, &termios)?)
}

fn set_rs485(port: &SerialStream, path: &str) -> Result<(), PortFault> {
    match rs485::enable(port) {
        Ok(rs485::Direction::ByKernel) => Ok(()),
        Ok(rs485::Direction::ByAdapter) => {
            tracing::warn!(path, "the port knows no RS-485 mode; its adapter must find the direction by itself");
            Ok(())
        }
        Err(source) => Err(PortFault::Rs485 { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_takes_and_reads_back_the_rate_of_two_wire_which_no_table_holds() {
        for baud in [5_787, 5_760, 5_700, 9_600] {
            let (pump_side, line_side) = SerialStream::pair().expect("a pty");
            let path = PathBuf::from(line_side.name().expect("a name"));
            // an exclusive port opens once only
            drop(line_side);
            let port = open_serial(&SerialSettings { path, baud, parity: Parity::Even, rs485: false }).expect("opened");
            assert_eq!(port.baud_rate().expect("read back"), baud);
            drop(pump_side);
        }
    }

    #[test]
    fn a_divider_may_miss_a_rate_by_one_in_a_hundred() {
        assert!(is_near(5_787, 5_760) && is_near(5_787, 5_787) && is_near(9_600, 9_615));
        assert!(!is_near(5_787, 9_600) && !is_near(5_787, 5_700) && !is_near(5_787, 0));
    }

    #[test]
    fn a_rate_that_a_port_does_not_take_is_told_with_what_to_do() {
        let fault = PortFault::Setting {
            path: "/dev/ttyUSB0".into(),
            what: "baud",
            asked: 5_787.to_string(),
            found: 9_600.to_string(),
        };
        let text = fault.to_string();
        assert!(text.contains("asked for 5787, reads back 9600") && text.contains("another adapter"), "{text}");
    }

    #[test]
    fn a_rate_that_the_kernel_refuses_is_not_told_as_a_port_that_is_missing() {
        let path = PathBuf::from("/dev/ttyUSB0");
        let settings = SerialSettings { path, baud: 5_787, parity: Parity::Even, rs485: false };
        let fault = |errno| open_fault(&settings, nix_error(errno));
        let refused = fault(libc::EINVAL);
        let text = refused.to_string();
        assert!(text.contains("does not take 5787 bit/s with parity even: Invalid argument"), "{text}");
        assert!(text.contains("converter board") && !text.contains("cable"), "{text}");
        assert!(refused.is_setting(), "a probe goes on with the next rate");
        let missing = fault(libc::ENOENT);
        assert!(!missing.is_setting() && missing.to_string().contains("Check the cable"), "{missing}");
    }

    /// As the library reports what the kernel says.
    fn nix_error(errno: i32) -> tokio_serial::Error {
        let kind = match errno {
            libc::ENOENT => tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound),
            _ => tokio_serial::ErrorKind::Unknown,
        };
        let text = io::Error::from_raw_os_error(errno).to_string();
        let description = text.split(" (os error").next().unwrap_or_default();
        tokio_serial::Error::new(kind, description)
    }
}
