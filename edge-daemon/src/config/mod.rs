//! The configuration of a station: TOML in kebab-case, unknown keys refused, every problem listed at once with its place.
//!
//! `systemd/edge.toml` shows every key with its default.

mod check;
mod consumers;
pub mod kept;
mod lasting;
mod office;
mod problem;
mod read;
pub mod remote;
mod sold;
mod walk;
mod ways;

pub use consumers::{Consumer, ConsumerKind};
pub use lasting::{is_numbered, lasting_name};
pub use office::{Control, Voucher};
pub use problem::{ConfigFault, Problem, Severity};
pub use pump_drivers::protocol::Protocol;
pub use read::parse;
pub use sold::{FuelKind, MostAtOnce, Unattended};
pub use ways::Ways;

use cloud_sync::https::HttpUrl;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, PriceSetId, StationId};
use forecourt::period::Plan;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::line::Echo;
use pump_drivers::modbus::wire::Framing;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything a station is told at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Who we are.
    pub station: Station,
    /// How to reach the platform; without it the station runs alone.
    pub cloud: Option<Cloud>,
    /// Who else gets records.
    pub consumers: Vec<Consumer>,
    /// How long to wait for people and fuel.
    pub timers: SiteTimers,
    /// What an order may ask.
    pub limits: Limits,
    /// Nobody serves at the station.
    pub unattended: Option<Unattended>,
    /// When space runs out.
    pub disk: DiskLimits,
    /// What is sold.
    pub grades: Vec<GradeEntry>,
    /// The wires and what hangs on them.
    pub lines: Vec<Line>,
    /// The ring of frames on disk.
    pub trace: TraceRing,
    /// What is logged.
    pub log: Log,
    /// Where the state can be read.
    pub observe: Observe,
    /// When shifts and days begin, by local time.
    pub periods: Plan,
    /// Vouchers that are typed in; without a key none is taken.
    pub voucher: Option<Voucher>,
    /// Where people at the station act.
    pub control: Control,
}

/// `[station]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Station {
    /// Also the MQTT client id.
    pub id: StationId,
    /// For people.
    pub name: Option<String>,
    /// Of all prices and amounts.
    pub currency: Currency,
    /// Local time of shifts and days, minutes east of UTC.
    pub utc_offset_minutes: i32,
    /// The same by the name of a time zone, which knows of summer time.
    pub time_zone: Option<String>,
    /// Holds the store and, unless said otherwise, the trace.
    pub data_directory: PathBuf,
    /// Name of the prices below.
    pub price_set: PriceSetId,
}

impl Station {
    /// The store's file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_directory.join(crate::store::FILE_NAME)
    }
}

/// `[cloud]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cloud {
    /// Tried in turn; the last good one is kept.
    pub brokers: Vec<Broker>,
    /// First levels of every topic.
    pub topic_prefix: String,
    /// Public keys of the platform.
    pub jwks_file: PathBuf,
    /// Certificates and key, where a broker is reached over TLS.
    pub tls: Option<Tls>,
    /// Plain TCP to other hosts than this one is allowed.
    pub allow_plaintext: bool,
    /// What counts as received.
    pub ack: Ack,
    /// The platform over HTTPS: the fallback road, and renewal of the certificate.
    pub https: Option<Https>,
}

/// `https-*` keys of `[cloud]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Https {
    /// Base address.
    pub url: HttpUrl,
    /// Whom we trust there; the same as for brokers unless said otherwise.
    pub ca_file: Option<PathBuf>,
    /// Without a broker for so long, records go this way.
    pub after: Duration,
    /// The daemon renews the station's certificate at two thirds of its life.
    pub renew: bool,
}

/// One address of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Name or address; with TLS the name the certificate must carry.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts`.
    pub tls: bool,
}

/// Files of mutual TLS, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Whom we trust.
    pub ca_file: PathBuf,
    /// Our certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// What lets a record leave the outbox (contract section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// `fuel.ack.v1`.
    Cloud,
    /// The broker's PUBACK.
    Broker,
}

/// `[timers]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SiteTimers {
    /// An armed order waits this long for the lift, unless it says otherwise.
    pub lift_timeout: Duration,
    /// From the release to the first fuel.
    pub first_flow: Duration,
    /// A fuelling without flow ends after this.
    pub no_flow: Duration,
    /// People are told of a price that is not in force this long after its moment.
    pub price_overdue: Duration,
}

/// `[limits]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most money one order may ask for.
    pub amount: Money,
    /// Most money for one customer token and business day.
    pub customer_day_amount: Money,
    /// Orders that may wait behind the armed one of a fuelling point.
    pub queue: u32,
    /// Minimum measured quantity: a smaller limit is refused.
    pub minimum_volume: Volume,
}

/// `[disk]`: of the file system that holds the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskLimits {
    /// So full, an alarm is raised.
    pub warn_percent: u64,
    /// So full, no order is taken.
    pub stop_percent: u64,
    /// With less than this free, in MB, no order is taken.
    pub stop_free_mb: u64,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { warn_percent: 80, stop_percent: 95, stop_free_mb: 200 }
    }
}

/// `[[grade]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GradeEntry {
    /// Its name in orders.
    pub code: Grade,
    /// For people.
    pub name: Option<String>,
    /// Price until the cloud sets another.
    pub unit_price: UnitPrice,
    /// No price set may go above this.
    pub ceiling: Option<UnitPrice>,
    /// The most of one release where somebody serves.
    pub attended: MostAtOnce,
    /// The most of one release where nobody does.
    pub unattended: MostAtOnce,
}

/// `[[line]]`: one wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// For logs, traces and alarms.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Who drives it.
    pub mode: Mode,
    /// Where it is.
    pub port: Port,
    /// Bits per second.
    pub baud: u32,
    /// Of each character.
    pub parity: Parity,
    /// Whether our own bytes come back.
    pub echo: Echo,
    /// The kernel drives the direction of an RS-485 port.
    pub rs485: bool,
    /// Quiet time before each of our frames.
    pub pause_before_send: Duration,
    /// Quiet that is listened to for another controller before anything is sent.
    pub listen_before: Duration,
    /// How long a dispenser may take to begin its answer.
    pub answer_window: Duration,
    /// Silent for this long: lost.
    pub comm_lost: Duration,
    /// How frames come, on a Modbus line.
    pub framing: Framing,
    /// Who hangs on it.
    pub dispensers: Vec<Dispenser>,
}

/// Who drives a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// We do.
    Control,
    /// Another controller does; we hear both sides and never send.
    ListenOnly,
}

/// Where a line is plugged in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Port {
    /// A device file.
    Serial(PathBuf),
    /// A serial device server.
    Tcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// Parity bit of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// Odd.
    Odd,
    /// Even.
    Even,
    /// None.
    None,
}

/// `[[line.dispenser]]`: one fuelling point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispenser {
    /// Its number at the station.
    pub fuelling_point: FuellingPointId,
    /// Its address on the wire.
    pub address: u8,
    /// What its protocol wants to know beside.
    pub ways: Ways,
    /// The head knows suspend and resume.
    pub suspend: bool,
    /// Where the points of its numbers stand.
    pub decimals: Decimals,
    /// Its nozzles.
    pub nozzles: Vec<NozzleEntry>,
}

/// Decimals of a head: its numbers carry none (DART sheet, section 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decimals {
    /// Of volumes in litres.
    pub volume: u8,
    /// Of unit prices in major units.
    pub price: u8,
    /// Of amounts in major units.
    pub amount: u8,
    /// Of volume totalisers in litres.
    pub totals: u8,
}

/// `[[line.dispenser.nozzle]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NozzleEntry {
    /// Painted on the pump.
    pub number: NozzleId,
    /// The dispenser's own number of it.
    pub logical: u8,
    /// What it sells.
    pub grade: Grade,
}

/// `[trace]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceRing {
    /// Where the segments are.
    pub directory: PathBuf,
    /// How many.
    pub segments: u32,
    /// How large each is, in bytes.
    pub segment_bytes: u64,
}

/// `[log]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// Least severity that is logged.
    pub level: LogLevel,
    /// Where to and how.
    pub format: LogFormat,
}

/// Severities of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// The journal under systemd, else text.
    Auto,
    /// Lines on standard error.
    Text,
    /// JSON lines on standard error.
    Json,
}

/// `[observe]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observe {
    /// Unix socket that writes one JSON snapshot to whoever connects.
    pub socket: PathBuf,
}

/// Looks at files that the configuration names. The real disk, or nothing for tests and fuzzing.
pub trait Files {
    /// Why a file cannot be used, or `None`.
    fn trouble_with(&self, path: &Path) -> Option<String>;
    /// Whether other users may read it.
    fn is_open_to_all(&self, path: &Path) -> bool;
    /// Its text.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn text_of(&self, path: &Path) -> Result<String, String>;
    /// The name of a serial port that lasts over restarts and replugging, if the port has another one here.
    fn lasting_name(&self, port: &Path) -> Option<PathBuf> {
        let _unknown = port;
        None
    }
}

/// The real disk.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn trouble_with(&self, path: &Path) -> Option<String> {
        match std::fs::metadata(path) {
            Ok(data) if data.is_file() => None,
            Ok(_) => Some("is no file".into()),
            Err(why) => Some(why.to_string()),
        }
    }

    fn is_open_to_all(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
    }

    fn text_of(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|why| why.to_string())
    }

    fn lasting_name(&self, port: &Path) -> Option<PathBuf> {
        lasting_name(port)
    }
}

/// Every file is taken to be there and well kept.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn trouble_with(&self, _: &Path) -> Option<String> {
        None
    }

    fn is_open_to_all(&self, _: &Path) -> bool {
        false
    }

    fn text_of(&self, _: &Path) -> Result<String, String> {
        Err("no file is read here".into())
    }
}

/// Reads and checks a configuration file. The second part is what a person should know although it is used.
///
/// # Errors
/// [`ConfigFault`] with every problem.
pub fn load(path: &Path) -> Result<(Config, Vec<Problem>), ConfigFault> {
    let unreadable = |source| ConfigFault::Unreadable { path: path.into(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(why) => {
            return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, why.utf8_error())));
        }
    };
    let (config, mut problems) =
        parse(&text, &Disk).map_err(|problems| ConfigFault::Wrong { path: path.into(), problems })?;
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o002 != 0 {
        problems.push(Problem {
            severity: Severity::Warning,
            line: 1,
            column: 1,
            key: String::new(),
            what: format!("anyone may change this file (mode {:o})", mode & 0o7777),
            expected: "a file that only root may write: chmod o-w".into(),
        });
    }
    Ok((config, problems))
}
