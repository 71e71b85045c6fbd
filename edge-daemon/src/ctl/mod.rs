//! `edgectl`: what people and programs ask of a station, without touching it.

mod books;
mod control;
mod doctor;
mod enrol;
mod frames;
mod probe;
mod reports;
mod show;
mod status;

use crate::config::{self, Config, ConfigFault, Problem, Protocol};
use crate::store::{self, Reader, StoreFault};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The configuration that is read unless another one is named.
const DEFAULT_CONFIG: &str = "/etc/forecourt-edge/edge.toml";

/// Exit codes, as in `sysexits.h`.
mod exit {
    pub const USAGE: u8 = 64;
    /// The station said no.
    pub const REFUSED: u8 = 65;
    pub const NO_INPUT: u8 = 66;
    pub const UNAVAILABLE: u8 = 69;
    pub const IO: u8 = 74;
    pub const CONFIG: u8 = 78;
}

/// Looks into a Forecourt Edge station, and acts at it: voucher, order and config rollback do, all others only read.
/// Looks into a Forecourt Edge station. It only reads: nothing here changes what the station does, but for enrol, which replaces
/// its certificate.
#[derive(Debug, Parser)]
#[command(
    name = "edgectl",
    version,
    after_help = "Exit codes: 0 done, 64 usage, 65 refused by the station, 66 not found, 69 not running or in use, \
    74 store or disk, 78 configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a configuration and lists all problems with their places
    Validate {
        /// The file to check
        config: PathBuf,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Shows the state of the running daemon
    Status {
        #[command(flatten)]
        place: status::Place,
        /// The daemon's JSON as it is
        #[arg(long)]
        json: bool,
    },
    /// Lists the last orders and all open ones
    Orders {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
    /// Lists the records that the platform has not acknowledged, and how far other consumers have come
    Outbox {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
    /// Shows one sale
    Sale {
        /// Its sale id or its order id
        id: String,
        #[command(flatten)]
        place: Place,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Checks the hash chain of all stored records and names the first bad one
    Chain {
        #[command(flatten)]
        place: Place,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Explains the state of the store and what the daemon would do with it; exits with 0 if all is well, 1 if a person should
    /// look, 2 if it is damaged
    Doctor {
        #[command(flatten)]
        place: Place,
        /// Leave out what reads the whole store
        #[arg(long)]
        quick: bool,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Decodes frames in hex from standard input, one JSON object for each
    Decode {
        /// The protocol
        #[arg(long, value_parser = PossibleValuesParser::new(Protocol::ALL.map(|(word, _)| word)))]
        protocol: String,
        /// Who sent the frames; without it, it is inferred where a frame tells
        #[arg(long)]
        direction: Option<Direction>,
        /// The lines are parts of one stream: frames may be joined or cut
        #[arg(long)]
        stream: bool,
    },
    /// Prints the report of a shift or a day
    Report(reports::Wanted),
    /// Keys in a voucher: 18 digits in three groups of six
    Voucher(control::Voucher),
    /// Hands in an order that the driver shows as a QR code, while the platform cannot be reached
    Order(control::Order),
    /// Shows the configuration documents of the platform, or goes back to the one before
    Config {
        #[command(subcommand)]
        what: control::ConfigWhat,
    },
    /// Gets a certificate for the station from the platform, and puts it where the configuration says
    Enrol(enrol::Asked),
    /// Finds what hangs on a wire: tries rates, parities, protocols and addresses by questions that change nothing there
    Probe(probe::Wanted),
    /// Shows the frames on the wires from the ring on disk
    Trace {
        #[command(flatten)]
        place: Place,
        /// Only what comes from now on
        #[arg(long)]
        follow: bool,
        /// Only this line
        #[arg(long)]
        line: Option<String>,
        /// With the meaning of each frame
        #[arg(long)]
        decode: bool,
        /// What the lines speak, where --data names a ring without its configuration
        #[arg(long, value_parser = PossibleValuesParser::new(Protocol::ALL.map(|(word, _)| word)))]
        protocol: Option<String>,
        /// One JSON object for each frame
        #[arg(long)]
        json: bool,
    },
}

/// Where the data of the station is.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Place {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration that names it [default: /etc/forecourt-edge/edge.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    fn config(&self) -> Result<Option<Config>, Failure> {
        if self.data.is_some() {
            return Ok(None);
        }
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
        Ok(Some(load(path)?.0))
    }

    fn directory(&self) -> Result<PathBuf, Failure> {
        match (&self.data, self.config()?) {
            (Some(data), _) => Ok(data.clone()),
            (None, Some(config)) => Ok(config.station.data_directory),
            (None, None) => Err(Failure::new(exit::USAGE, "name --data or --config".into())),
        }
    }

    fn reader(&self) -> Result<Reader, Failure> {
        let path = self.directory()?.join(store::FILE_NAME);
        if !path.exists() {
            let text = format!("{}: no store there; check the directory, or start edge-daemon once", path.display());
            return Err(Failure::new(exit::NO_INPUT, text));
        }
        Ok(store::Store::reader(&path)?)
    }
}

#[derive(Debug, Args)]
struct Form {
    /// At most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Direction {
    Controller,
    Pump,
}

/// Why a command failed, for standard error and the exit code.
#[derive(Debug)]
enum Failure {
    Said {
        code: u8,
        text: String,
    },
    /// Nobody reads our output any more, as after `| head`.
    Unread,
}

impl Failure {
    fn new(code: u8, text: String) -> Self {
        Self::Said { code, text }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Unread;
        }
        Self::new(exit::IO, format!("input or output failed: {error}"))
    }
}

impl From<StoreFault> for Failure {
    fn from(fault: StoreFault) -> Self {
        Self::new(exit::IO, fault.to_string())
    }
}

fn load(path: &Path) -> Result<(Config, Vec<Problem>), Failure> {
    config::load(path).map_err(|fault| {
        let code = match fault {
            ConfigFault::Unreadable { .. } => exit::NO_INPUT,
            ConfigFault::Wrong { .. } => exit::CONFIG,
        };
        Failure::new(code, fault.to_string())
    })
}

/// Runs `edgectl` with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = !error.use_stderr();
            // Where even this cannot be printed, the exit code still tells.
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) };
        }
    };
    let stdout = std::io::stdout();
    let bold = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = std::io::BufWriter::new(stdout.lock());
    let outcome = run(cli.command, &mut out, bold).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match outcome {
        Ok(code) => code,
        Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Said { code, text }) => {
            let _ = out.flush();
            eprintln!("edgectl: {text}");
            ExitCode::from(code)
        }
    }
}

fn run(command: Command, out: &mut dyn Write, bold: bool) -> Result<ExitCode, Failure> {
    match command {
        Command::Validate { config, json } => return validate(&config, json, out),
        Command::Status { place, json } => status::show(&place, json, out, bold)?,
        Command::Orders { place, form } => books::orders(&place.reader()?, &form, out, bold)?,
        Command::Outbox { place, form } => books::outbox(&place.reader()?, &form, out, bold)?,
        Command::Sale { id, place, json } => books::sale(&place.reader()?, &id, json, out)?,
        Command::Chain { place, json } => books::chain(&place.reader()?, json, out)?,
        Command::Doctor { place, quick, json } => {
            let config = place.config()?;
            let directory = match (&place.data, &config) {
                (Some(data), _) => data.clone(),
                (None, Some(config)) => config.station.data_directory.clone(),
                (None, None) => return Err(Failure::new(exit::USAGE, "name --data or --config".into())),
            };
            return Ok(ExitCode::from(doctor::run(&directory, config.as_ref(), quick, json, out)?));
        }
        Command::Decode { protocol, direction, stream } => {
            let Some(protocol) = Protocol::of_word(&protocol) else {
                return Err(Failure::new(exit::USAGE, format!("protocol {protocol} is not known")));
            };
            frames::decode(protocol, direction, stream, &mut std::io::stdin().lock(), out)?;
        }
        Command::Report(wanted) => reports::run(&wanted, out, bold)?,
        Command::Voucher(voucher) => return control::voucher(&voucher, out),
        Command::Order(order) => return control::order(&order, out),
        Command::Config { what } => return control::config(&what, out),
        Command::Enrol(asked) => enrol::run(&asked, out)?,
        Command::Probe(wanted) => probe::run(&wanted, out, bold)?,
        Command::Trace { place, follow, line, decode, protocol, json } => {
            let config = place.config()?;
            let protocol = protocol.as_deref().and_then(Protocol::of_word);
            let wanted = frames::Wanted { line, decode, protocol, json, follow };
            frames::trace(place.data.as_deref(), config.as_ref(), &wanted, out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn validate(path: &Path, json: bool, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let (config, problems) = match config::load(path) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(ConfigFault::Wrong { problems, .. }) => (None, problems),
        Err(fault) => return Err(Failure::new(exit::NO_INPUT, fault.to_string())),
    };
    if json {
        let problems: Vec<serde_json::Value> = problems.iter().map(problem_json).collect();
        let document = serde_json::json!({"valid": config.is_some(), "problems": problems});
        writeln!(out, "{document}")?;
    } else {
        for problem in &problems {
            writeln!(std::io::stderr(), "{}:{problem}", path.display())?;
        }
        if let Some(config) = &config {
            let points = config.lines.iter().map(|line| line.dispensers.len()).sum::<usize>();
            let nozzles = config.lines.iter().flat_map(|line| &line.dispensers).map(|point| point.nozzles.len());
            let (lines, nozzles) = (config.lines.len(), nozzles.sum::<usize>());
            let (path, station) = (path.display(), &config.station.id);
            writeln!(out, "{path}: valid: {station}, lines {lines}, fuelling points {points}, nozzles {nozzles}")?;
        } else {
            writeln!(std::io::stderr(), "{}: not valid, see above", path.display())?;
        }
    }
    Ok(if config.is_some() { ExitCode::SUCCESS } else { ExitCode::from(exit::CONFIG) })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    serde_json::json!({
        "severity": problem.severity.word(), "line": problem.line, "column": problem.column, "key": problem.key,
        "what": problem.what, "expected": problem.expected,
    })
}
