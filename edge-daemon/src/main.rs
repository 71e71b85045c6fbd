//! `edge-daemon`: runs a station.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use edge_daemon::config::{self, Config, LogFormat, LogLevel, kept};
use edge_daemon::store::StoreFault;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Exit codes of sysexits.h; the unit does not restart after 64 and 78.
const EX_SOFTWARE: u8 = 70;
const EX_IOERR: u8 = 74;
const EX_CONFIG: u8 = 78;

/// Runs a fuel station: drives the dispensers, releases nozzles against paid orders, books every sale.
#[derive(Parser, Debug)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the station until SIGTERM.
    Run {
        /// The station's configuration; `edgectl validate` checks it.
        #[arg(long, value_name = "FILE", env = "FORECOURT_EDGE_CONFIG")]
        config: PathBuf,
    },
}

fn version() -> String {
    let commit = option_env!("FORECOURT_COMMIT").unwrap_or("development build");
    format!("{} ({commit})", env!("CARGO_PKG_VERSION"))
}

fn main() -> ExitCode {
    let parsed = Arguments::command()
        .version(version())
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(help) => {
            // The terminal may be gone; there is nothing else to say then.
            let _gone = help.print();
            return ExitCode::from(if help.use_stderr() { 64 } else { 0 });
        }
    };
    let Command::Run { config: path } = arguments.command;
    let loaded = match kept::load(&path) {
        Ok((loaded, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("{}: {warning}", path.display()));
            loaded
        }
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    log_to(&loaded.config);
    if let Some(document) = &loaded.kept.current {
        let (version, at) = (document.version, document.at);
        tracing::info!(version, %at, "a configuration of the platform is in force; edgectl config show tells what the file still decides");
    }
    match edge_daemon::daemon::run(&loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            let code = match error.downcast_ref::<StoreFault>() {
                Some(_) => EX_IOERR,
                None if error.downcast_ref::<config::ConfigFault>().is_some() => EX_CONFIG,
                None => EX_SOFTWARE,
            };
            ExitCode::from(code)
        }
    }
}

/// The journal's own fields under systemd, else lines on standard error.
fn log_to(config: &Config) {
    let level = match config.log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let registry = tracing_subscriber::registry().with(level);
    let journal = (config.log.format == LogFormat::Auto && std::env::var_os("JOURNAL_STREAM").is_some())
        .then(|| tracing_journald::layer().ok())
        .flatten();
    match (journal, config.log.format) {
        (Some(journal), _) => registry.with(journal).init(),
        (None, LogFormat::Json) => {
            registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).init();
        }
        (None, _) => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).init();
        }
    }
}
