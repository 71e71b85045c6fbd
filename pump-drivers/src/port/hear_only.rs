//! A wire that can be read and not written: what a line that only listens is given.
//!
//! The type has no write half, and under it a serial port is open for reading alone, so that the kernel refuses a write too.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::unix::pipe::Receiver;
use tokio_serial::SerialStream;

/// The reading side of a wire.
pub(in crate::port) struct HearOnly(Source);

enum Source {
    /// A port is read as a pipe is.
    Serial(Receiver),
    Server(OwnedReadHalf),
}

impl HearOnly {
    /// The device of an open port once more, for reading alone; the port itself is closed. Its settings stay with the device.
    pub(super) fn reopen(mut port: SerialStream) -> io::Result<Self> {
        // An exclusive device cannot be opened again. What is kept is the lock that every port of ours takes.
        port.set_exclusive(false)?;
        // By its descriptor: its path may be another device by now.
        let path = format!("/proc/self/fd/{}", port.as_raw_fd());
        let file = File::options().read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(path)?;
        drop(port);
        file.try_lock()?;
        Ok(Self(Source::Serial(Receiver::from_file_unchecked(file)?)))
    }

    /// The reading half of a connection. The other half is forgotten, not shut: some device servers hang up then.
    pub(super) fn of_server(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        write.forget();
        Self(Source::Server(read))
    }
}

impl AsyncRead for HearOnly {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Source::Serial(read) => Pin::new(read).poll_read(cx, buffer),
            Source::Server(read) => Pin::new(read).poll_read(cx, buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_port_opened_to_listen_reads_and_the_kernel_refuses_a_write() {
        let (mut other, port) = SerialStream::pair().expect("a pty");
        let mut heard = HearOnly::reopen(port).expect("opens");
        other.write_all(&[0x57, 0x20, 0xFA]).await.expect("written");
        let mut frame = [0; 3];
        heard.read_exact(&mut frame).await.expect("heard");
        assert_eq!(frame, [0x57, 0x20, 0xFA]);
        let Source::Serial(read) = &heard.0 else { panic!("a serial port") };
        let mut file = File::from(read.as_fd().try_clone_to_owned().expect("a descriptor"));
        let refused = io::Write::write(&mut file, &[0x55]).expect_err("no write");
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
    }
}
