//! Direction of an RS-485 port by the kernel (`linux/serial.h`, `TIOCSRS485`); serialport and tokio-serial have no call for it.

use std::io;
use std::os::fd::AsRawFd;

/// `struct serial_rs485`: flags, delay before and after sending in milliseconds, five words of padding.
#[repr(C)]
#[derive(Default)]
struct SerialRs485 {
    flags: u32,
    delay_rts_before_send: u32,
    delay_rts_after_send: u32,
    padding: [u32; 5],
}

/// `SER_RS485_ENABLED`
const ENABLED: u32 = 1;
/// `SER_RS485_RTS_ON_SEND`
const RTS_ON_SEND: u32 = 1 << 1;
/// `TIOCSRS485`
const SET: libc::c_ulong = 0x542F;

/// Who switches the direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The kernel.
    Kernel,
    /// The adapter itself: it knows no such call.
    Adapter,
}

/// Lets the kernel drive the direction.
///
/// # Errors
/// What the system says, unless the port knows no such call.
#[allow(unsafe_code, reason = "no crate in use has this ioctl; the struct is the kernel's and outlives the call")]
pub fn enable(port: &impl AsRawFd) -> io::Result<Direction> {
    let wanted = SerialRs485 { flags: ENABLED | RTS_ON_SEND, ..SerialRs485::default() };
    // SAFETY: the descriptor is open for the life of `port`, and the kernel reads one `serial_rs485` behind the pointer.
    let outcome = unsafe { libc::ioctl(port.as_raw_fd(), SET, std::ptr::from_ref(&wanted)) };
    if outcome == 0 {
        return Ok(Direction::Kernel);
    }
    let why = io::Error::last_os_error();
    match why.raw_os_error() {
        Some(libc::ENOTTY | libc::EINVAL | libc::EOPNOTSUPP) => Ok(Direction::Adapter),
        _ => Err(why),
    }
}
