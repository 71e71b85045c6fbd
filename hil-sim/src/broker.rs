//! Brokers for demo, bench and tests: one inside this process (rumqttd), or a Mosquitto child process where it is installed.
//!
//! The embedded one keeps nothing on disk and cannot be stopped once started (rumqttd 0.20 offers no way); its threads end with
//! the process. Clients reach it through a small relay, for two reasons: rumqttd sets no TCP_NODELAY, which costs 40 ms a message
//! unless its peer acknowledges at once, and the relay can cut the link as a station's uplink would be cut.

use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Largest packet the broker takes: the contract's bad input includes 1 MB payloads, which must reach the station.
const MAX_PACKET: usize = 2 * 1024 * 1024;
/// How long a broker may take to answer its first connection.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Chunk of the relay.
const CHUNK: usize = 64 * 1024;
/// CONNECT of MQTT 3.1.1, clean session, keep-alive 5 s, client id "hello".
const HELLO: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x05\x00\x05hello";
/// DISCONNECT of MQTT 3.1.1.
const GOODBYE: &[u8] = b"\xe0\x00";

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No port, thread or socket.
    #[error("could not set up a broker on 127.0.0.1: {0}")]
    Io(#[from] io::Error),
    /// It runs and does not answer.
    #[error("the {kind} broker on {address} did not answer an MQTT greeting within {START_LIMIT:?}: {last}")]
    Silent {
        /// Which broker.
        kind: &'static str,
        /// Where.
        address: SocketAddr,
        /// Last attempt's error.
        last: String,
    },
    /// The program is not installed.
    #[error("mosquitto is not installed: `apt-get install mosquitto`, or use the embedded broker")]
    NoMosquitto,
}

/// A running broker on a free loopback port.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    kind: &'static str,
    gate: Option<watch::Sender<Gate>>,
    child: Option<Child>,
    /// Program and configuration of a child process.
    started_as: Option<(PathBuf, PathBuf)>,
}

/// Which broker to run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum BrokerChoice {
    /// Mosquitto if it is installed, otherwise the embedded one.
    Auto,
    /// Mosquitto with TCP_NODELAY.
    Mosquitto,
    /// rumqttd in this process.
    Embedded,
}

impl BrokerChoice {
    /// Starts it, with its files in `directory` where it has any.
    ///
    /// # Errors
    /// [`BrokerError`] if it does not start.
    pub fn start(self, directory: &Path) -> Result<Broker, BrokerError> {
        match self {
            Self::Auto if find_mosquitto().is_none() => Broker::embedded(),
            Self::Auto | Self::Mosquitto => Broker::mosquitto(directory),
            Self::Embedded => Broker::embedded(),
        }
    }
}

/// Whether the relay lets clients through. `epoch` counts cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    open: bool,
    closed_for_good: bool,
    epoch: u64,
}

impl Broker {
    /// Starts rumqttd in this process and waits until it answers.
    ///
    /// # Errors
    /// [`BrokerError::Io`] without a port or thread, [`BrokerError::Silent`] if it does not answer.
    pub fn embedded() -> Result<Self, BrokerError> {
        let inner = free_port()?;
        let mut server = rumqttd::Broker::new(config(inner));
        std::thread::Builder::new().name("rumqttd".into()).spawn(move || {
            if let Err(error) = server.start() {
                tracing::error!(%error, "the embedded broker ended");
            }
        })?;
        greet("embedded", inner)?;

        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (gate, seen) = watch::channel(Gate { open: true, closed_for_good: false, epoch: 0 });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        std::thread::Builder::new().name("broker-relay".into()).spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => relay(listener, inner, seen).await,
                    Err(error) => tracing::error!(%error, "the broker's relay has no listener"),
                }
            });
        })?;
        greet("embedded", address)?;
        Ok(Self { address, kind: "embedded", gate: Some(gate), child: None, started_as: None })
    }

    /// Starts Mosquitto with `set_tcp_nodelay true` and waits until it answers. It ends when this value is dropped.
    ///
    /// `directory` takes its configuration and, so that sessions outlive a restart, its persistence file.
    ///
    /// # Errors
    /// [`BrokerError::NoMosquitto`] if it is not installed, otherwise as [`Broker::embedded`].
    pub fn mosquitto(directory: &Path) -> Result<Self, BrokerError> {
        let program = find_mosquitto().ok_or(BrokerError::NoMosquitto)?;
        let address = free_port()?;
        let config = directory.join("mosquitto.conf");
        std::fs::write(
            &config,
            format!(
                "listener {} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n\
                 max_inflight_messages 100\npersistence true\npersistence_location {}/\nautosave_on_changes true\n\
                 autosave_interval 1\n",
                address.port(),
                directory.display()
            ),
        )?;
        // Started as root it would drop to its own user, who cannot write to our directory.
        if let Some(user) = user_name() {
            let text = std::fs::read_to_string(&config)?;
            std::fs::write(&config, format!("{text}user {user}\n"))?;
        }
        let child = Some(spawn_mosquitto(&program, &config)?);
        let broker = Self { address, kind: "mosquitto", gate: None, child, started_as: Some((program, config)) };
        greet("mosquitto", address)?;
        Ok(broker)
    }

    /// Kills Mosquitto as a power cut would and starts it again on the same port. Does nothing on the embedded broker.
    ///
    /// # Errors
    /// As [`Broker::mosquitto`].
    pub fn kill_and_restart(&mut self) -> Result<(), BrokerError> {
        let Some((program, config)) = &self.started_as else { return Ok(()) };
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait()?;
        }
        self.child = Some(spawn_mosquitto(program, config)?);
        greet("mosquitto", self.address)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the daemon's configuration wants it: `mqtt://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// `embedded` or `mosquitto`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Cuts every connection through the relay at once; clients may reconnect. Does nothing on Mosquitto.
    pub fn cut(&self) {
        self.change(|gate| gate.epoch += 1);
    }

    /// Cuts every connection and refuses new ones until [`Broker::restore`]. Does nothing on Mosquitto.
    pub fn take_down(&self) {
        self.change(|gate| {
            gate.epoch += 1;
            gate.open = false;
        });
    }

    /// Takes connections again.
    pub fn restore(&self) {
        self.change(|gate| gate.open = true);
    }

    fn change(&self, edit: impl FnOnce(&mut Gate)) {
        if let Some(gate) = &self.gate {
            gate.send_modify(edit);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.change(|gate| {
            gate.epoch += 1;
            gate.closed_for_good = true;
        });
        if let Some(child) = &mut self.child {
            // It may have ended by itself; there is nobody left to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn_mosquitto(program: &Path, config: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Whether Mosquitto can be started here.
#[must_use]
pub fn find_mosquitto() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|directory| directory.join("mosquitto"))
        .find(|program| program.is_file())
}

fn user_name() -> Option<String> {
    let uid = std::fs::metadata("/proc/self").ok().map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A port that was free a moment ago. The greeting that follows tells if somebody else took it.
fn free_port() -> io::Result<SocketAddr> {
    StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: MAX_PACKET,
        max_inflight_count: 500,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "loopback".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: 256,
        max_outgoing_packet_count: 500,
        max_segment_size: 16 * 1024 * 1024,
        max_segment_count: 8,
        ..RouterConfig::default()
    };
    Config { router, v4: Some(HashMap::from([("loopback".to_owned(), server)])), ..Config::default() }
}

/// Repeats an MQTT greeting until it is answered: only then are clients sure to be served.
fn greet(kind: &'static str, address: SocketAddr) -> Result<(), BrokerError> {
    let begun = Instant::now();
    loop {
        match greeting(address) {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > START_LIMIT => {
                return Err(BrokerError::Silent { kind, address, last: error.to_string() });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn greeting(address: SocketAddr) -> io::Result<()> {
    let mut stream = StdStream::connect_timeout(&address, START_LIMIT)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(HELLO)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    // CONNACK, two bytes, any session flag, accepted.
    if answer[0] != 0x20 || answer[3] != 0 {
        return Err(io::Error::other(format!("answered {answer:02x?}, which is no CONNACK")));
    }
    stream.write_all(GOODBYE)
}

async fn relay(listener: TcpListener, inner: SocketAddr, gate: watch::Receiver<Gate>) {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            let mut changed = gate.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let (Ok((client, _)), true) = (accepted, gate.borrow().open) {
                            tokio::task::spawn_local(carry(client, inner, gate.clone()));
                        }
                    }
                    moved = changed.changed() => {
                        if moved.is_err() || changed.borrow().closed_for_good {
                            return;
                        }
                    }
                }
            }
        })
        .await;
}

/// Carries one connection until either side ends it or the gate cuts it.
async fn carry(client: TcpStream, inner: SocketAddr, mut gate: watch::Receiver<Gate>) {
    let epoch = gate.borrow().epoch;
    let Ok(server) = TcpStream::connect(inner).await else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = copy(from_client, to_server) => {}
        _ = copy(from_server, to_client) => {}
        _ = gate.wait_for(|now| now.epoch != epoch) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        // The kernel forgets this option as it sees fit, so it is set before each read.
        let _ = from.as_ref().set_quickack(true);
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let _ = from.as_ref().set_quickack(true);
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_broker_answers_once_started_and_refuses_while_it_is_down() {
        let broker = Broker::embedded().expect("starts");
        greeting(broker.address()).expect("answers");

        let mut held = StdStream::connect(broker.address()).expect("connects");
        held.set_read_timeout(Some(START_LIMIT)).expect("set");
        held.write_all(HELLO).expect("written");
        held.read_exact(&mut [0; 4]).expect("answered");
        broker.take_down();
        assert_eq!(held.read(&mut [0; 4]).expect("ends"), 0, "an open connection is cut");
        assert!(greeting(broker.address()).is_err(), "and no new one is served");
        broker.restore();
        greeting(broker.address()).expect("answers again");
    }
}
