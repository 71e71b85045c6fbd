//! A way to the broker that takes its time, as a mobile network does: every byte arrives later, none is held up by another.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

const CHUNK: usize = 64 * 1024;
/// Chunks on their way; more than this and the sender waits, as with a full window.
const ON_THE_WAY: usize = 1_024;

/// Listens on a free loopback port and carries each connection to `to`, every byte later by `delay` in both directions.
///
/// # Errors
/// If there is no port.
pub async fn start(to: SocketAddr, delay: Duration) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, to, delay));
        }
    });
    Ok(address)
}

async fn carry(client: TcpStream, to: SocketAddr, delay: Duration) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    // Without it the delay would not be the one asked for; where it fails, the figures show it.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = later(from_client, to_server, delay) => {}
        () = later(from_server, to_client, delay) => {}
    }
}

async fn later(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let reading = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(read) = from.read(&mut chunk).await {
            if read == 0 || sender.send((Instant::now() + delay, chunk[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
