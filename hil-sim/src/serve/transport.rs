//! Where the controller's end of a line is: a pty, a TCP port or a real serial port. All non-blocking and raw.

use crate::wire::Pace;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{ControlModes, OptionalActions};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Pause after a port reported that it is gone.
const PULLED_OUT: Duration = Duration::from_millis(50);

/// Parity of a real serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// None.
    None,
    /// Odd, as DART has it (DART sheet, section 1).
    Odd,
    /// Even.
    Even,
}

/// Where a line is to be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// A new pty; the controller opens the link, which is made, or replaced if it is a link already.
    Pty {
        /// Where the link is put.
        link: PathBuf,
    },
    /// A TCP port; the latest caller has the line.
    Tcp {
        /// Address to listen on; port 0 takes a free one.
        listen: SocketAddr,
    },
    /// A real serial port. Its UART paces: use [`Pace::NONE`] for the wire.
    Serial {
        /// The device.
        path: PathBuf,
        /// Bits a second.
        baud: u32,
        /// Parity.
        parity: Parity,
    },
}

/// A line could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// The pty or the link to it could not be made.
    #[error("no pty could be linked at {link}: {cause}; give a path in a directory that you may write")]
    Pty {
        /// The link.
        link: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The port could not be opened to callers.
    #[error("cannot listen on {listen}: {cause}; take a free port, or 0 for any")]
    Tcp {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The serial port could not be opened or set.
    #[error("serial port {path} cannot be used: {cause}; check the path, the cable and the rights on it")]
    Serial {
        /// The device.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The operating system refused a thread or an event.
    #[error("the line thread could not be started: {0}; the system is out of threads or files")]
    Thread(io::Error),
    /// There is nobody to ask.
    #[error("the line is down: its thread has ended; serve it again")]
    Down,
}

enum Kind {
    Pty { master: OwnedFd, _slave: OwnedFd, link: PathBuf },
    Tcp { listener: TcpListener, caller: Option<TcpStream> },
    Serial(OwnedFd),
}

/// The open end of a line.
pub(super) struct Transport(Kind);

impl Transport {
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, ServeFault> {
        match endpoint {
            Endpoint::Pty { link } => {
                open_pty(link).map(Self).map_err(|cause| ServeFault::Pty { link: link.display().to_string(), cause })
            }
            Endpoint::Tcp { listen } => {
                let fault = |cause| ServeFault::Tcp { listen: *listen, cause };
                let listener = TcpListener::bind(listen).map_err(fault)?;
                listener.set_nonblocking(true).map_err(fault)?;
                Ok(Self(Kind::Tcp { listener, caller: None }))
            }
            Endpoint::Serial { path, baud, parity } => open_serial(path, *baud, *parity)
                .map(|port| Self(Kind::Serial(port)))
                .map_err(|cause| ServeFault::Serial { path: path.display().to_string(), cause }),
        }
    }

    /// Where callers reach a TCP line.
    pub(super) fn listens_on(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp { listener, .. } => listener.local_addr().ok(),
            _ => None,
        }
    }

    /// What has come from the controller; empty if nothing.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut buffer = [0; 1024];
        if let Kind::Tcp { listener, caller } = &mut self.0
            && let Ok((stream, _)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
            && stream.set_nodelay(true).is_ok()
        {
            *caller = Some(stream);
        }
        let read = match &self.0 {
            Kind::Pty { master, .. } => rustix::io::read(master, &mut buffer),
            Kind::Serial(port) => rustix::io::read(port, &mut buffer),
            Kind::Tcp { caller: Some(caller), .. } => rustix::io::read(caller, &mut buffer),
            Kind::Tcp { caller: None, .. } => return Vec::new(),
        };
        match read {
            Ok(count) if count > 0 => return buffer[..count].to_vec(),
            Err(Errno::AGAIN | Errno::INTR) => return Vec::new(),
            _ => {}
        }
        match &mut self.0 {
            Kind::Tcp { caller, .. } => *caller = None,
            // An adapter that was pulled out is reported at once, again and again.
            Kind::Serial(_) | Kind::Pty { .. } => std::thread::sleep(PULLED_OUT),
        }
        Vec::new()
    }

    /// Gives bytes to the controller. What nobody takes is lost, as on a line.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let _ = match &self.0 {
            Kind::Pty { master, .. } => rustix::io::write(master, bytes),
            Kind::Serial(port) => rustix::io::write(port, bytes),
            Kind::Tcp { caller: Some(caller), .. } => rustix::io::write(caller, bytes),
            Kind::Tcp { caller: None, .. } => Ok(0),
        };
    }
}

/// Sleeps until bytes, a caller or a wake-up come, or the time is over.
pub(super) fn wait(transport: Option<&Transport>, wake: BorrowedFd<'_>, timeout: Option<&Timespec>) {
    let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut fds = vec![watch(wake)];
    match transport.map(|transport| &transport.0) {
        None => {}
        Some(Kind::Pty { master, .. }) => fds.push(watch(master.as_fd())),
        Some(Kind::Serial(port)) => fds.push(watch(port.as_fd())),
        Some(Kind::Tcp { listener, caller }) => {
            fds.push(watch(listener.as_fd()));
            fds.extend(caller.as_ref().map(|caller| watch(caller.as_fd())));
        }
    }
    // An interrupted wait is a short one: the loop looks at everything again anyway.
    let _ = rustix::event::poll(&mut fds, timeout);
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Kind::Pty { link, .. } = &self.0 {
            // Somebody else may have removed it; then there is nothing to do.
            let _ = std::fs::remove_file(link);
        }
    }
}

fn open_pty(link: &Path) -> io::Result<Kind> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut termios = rustix::termios::tcgetattr(&slave)?;
    termios.make_raw();
    rustix::termios::tcsetattr(&slave, OptionalActions::Now, &termios)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    if link.symlink_metadata().is_ok_and(|found| found.file_type().is_symlink()) {
        std::fs::remove_file(link)?;
    }
    let target = name.to_str().map_err(|_| io::Error::other("the pty has no readable name"))?;
    std::os::unix::fs::symlink(target, link)?;
    // The slave stays open here, so that the line lives on while the controller is away.
    Ok(Kind::Pty { master, _slave: slave, link: link.into() })
}

fn open_serial(path: &Path, baud: u32, parity: Parity) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let port = rustix::fs::open(path, flags, Mode::empty())?;
    let mut termios = rustix::termios::tcgetattr(&port)?;
    termios.make_raw();
    termios.set_speed(baud)?;
    termios.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    termios.control_modes.remove(ControlModes::PARENB | ControlModes::PARODD | ControlModes::CSTOPB);
    match parity {
        Parity::None => {}
        Parity::Odd => termios.control_modes |= ControlModes::PARENB | ControlModes::PARODD,
        Parity::Even => termios.control_modes |= ControlModes::PARENB,
    }
    rustix::termios::tcsetattr(&port, OptionalActions::Flush, &termios)?;
    Ok(port)
}

impl Endpoint {
    /// The pace that the wire behind it must keep for a line of this one: none where a UART keeps it.
    #[must_use]
    pub const fn pace(&self, line: Pace) -> Pace {
        match self {
            Self::Serial { .. } => Pace::NONE,
            Self::Pty { .. } | Self::Tcp { .. } => line,
        }
    }
}
