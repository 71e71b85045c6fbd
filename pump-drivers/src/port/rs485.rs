//! RS-485 direction control by the kernel.

use std::io;
use std::os::fd::AsRawFd;

/// `struct serial_rs485` of linux/serial.h.
#[repr(C)]
struct SerialRs485 {
    flags: u32,
    delay_rts_before_send: u32,
    delay_rts_after_send: u32,
    padding: [u32; 5],
}

/// `SER_RS485_ENABLED | SER_RS485_RTS_ON_SEND`.
const ENABLED_RTS_ON_SEND: u32 = 0b11;

/// Whether the kernel drives the direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    /// RTS is raised while we send.
    ByKernel,
    /// The port knows no such thing: the adapter finds the direction by itself.
    ByAdapter,
}

/// Asks the kernel to drive RTS while sending.
///
/// # Errors
/// Whatever the kernel says, but for ENOTTY: most adapters switch by themselves and know no such request.
pub(super) fn enable(port: &impl AsRawFd) -> io::Result<Direction> {
    let mut settings =
        SerialRs485 { flags: ENABLED_RTS_ON_SEND, delay_rts_before_send: 0, delay_rts_after_send: 0, padding: [0; 5] };
    #[allow(unsafe_code, reason = "no crate in use has TIOCSRS485; the struct is the kernel's, lives through the call")]
    // SAFETY: the descriptor is open as long as `port` is borrowed, and the kernel reads and writes one serial_rs485 only
    let result = unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCSRS485, &raw mut settings) };
    if result == 0 {
        return Ok(Direction::ByKernel);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOTTY) { Ok(Direction::ByAdapter) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_the_request_is_left_to_its_adapter() {
        let null = std::fs::File::open("/dev/null").expect("a device");
        assert_eq!(enable(&null).expect("tolerated"), Direction::ByAdapter);
    }
}
