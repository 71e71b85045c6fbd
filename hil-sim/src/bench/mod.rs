//! `hil-sim bench`: figures of the real daemon on simulated lines with real pacing.

pub mod bystanders;
pub mod calibration;
pub mod latency;
pub mod line;
pub mod lone;
pub mod memory;
pub mod one_line;
pub mod physics;
pub mod stats;
pub mod tap;
pub mod witness;

use crate::broker::BrokerChoice;
use crate::rig::table::Table;
use crate::rig::workshop::{in_directory, interrupted};
use calibration::Calibration;
use physics::Spoken;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to measure, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Prints JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Totalisers and customers follow from it.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// The daemon's program, if it is not beside this one.
    #[arg(long, global = true)]
    daemon: Option<PathBuf>,
    /// Which broker; Mosquitto is taken where it is installed.
    #[arg(long, global = true, value_enum, default_value_t = BrokerChoice::Auto)]
    broker: BrokerChoice,
    /// Keeps configuration, store, trace and logs there instead of in a directory that is removed at the end.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// From a command to the release frame, and from the end report to the books.
    Latency {
        /// How many orders.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(5..))]
        orders: u32,
        /// What the line speaks: dart, gaskitlink, two-wire, modbus, or all, one after another.
        #[arg(long, default_value = "dart", value_parser = Spoken::parse)]
        protocol: Spoken,
    },
    /// From the tap on "pay" to the limit in the pump, and from the hang-up to the commission in the platform's ledger.
    Loop {
        /// How many orders.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(4..))]
        orders: u32,
    },
    /// Poll cycles beside the physical limit of the line, and the wait of a stop.
    Line {
        /// Seconds that each figure is measured.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=600))]
        seconds: u32,
        /// How many stops.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(4..))]
        stops: u32,
        /// What the line speaks: dart, gaskitlink, two-wire, modbus, or all, one after another.
        #[arg(long, default_value = "dart", value_parser = Spoken::parse)]
        protocol: Spoken,
    },
    /// The poll cycles of a station's other buses while one is dead, babbles or is unplugged.
    Bystanders {
        /// Seconds of each look.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
        seconds: u32,
        /// Looks at each fault, each between two looks at the station with all well.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
        rounds: u32,
    },
    /// Resident memory, share of a processor and sizes of the programs.
    Memory {
        /// Seconds that each figure is measured.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=600))]
        seconds: u32,
    },
}

/// What every bench is given.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Seed of the dispensers.
    pub seed: u64,
    /// The daemon's program, if given.
    pub daemon: Option<PathBuf>,
    /// Which broker.
    pub broker: BrokerChoice,
}

/// A bench's outcome.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figures<T> {
    /// This machine, in the same run.
    pub calibration: Calibration,
    /// Which broker was between.
    pub broker: &'static str,
    /// The figures.
    pub figures: T,
}

/// Figures that print as tables.
pub trait Tables {
    /// Each with a heading.
    fn tables(&self) -> Vec<(String, Table)>;
}

/// Runs a bench and prints its figures.
///
/// # Errors
/// What could not be started or went wrong, with what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let bench = Bench { seed: args.seed, daemon: args.daemon, broker: args.broker };
    let measure = in_directory(args.directory.as_deref(), async |directory: &Path| match args.what {
        What::Latency { orders, protocol } => {
            print(&latency::run(&bench, directory, &protocol, orders).await?, args.json)
        }
        What::Loop { orders } => print(&tap::run(&bench, directory, orders).await?, args.json),
        What::Line { seconds, stops, protocol } => {
            print(&line::run(&bench, directory, &protocol, seconds, stops).await?, args.json)
        }
        What::Bystanders { seconds, rounds } => {
            print(&bystanders::run(&bench, directory, seconds, rounds).await?, args.json)
        }
        What::Memory { seconds } => print(&memory::run(&bench, directory, seconds).await?, args.json),
    });
    tokio::select! {
        measured = measure => measured,
        () = interrupted() => anyhow::bail!("stopped before anything could be told"),
    }
}

fn print<T: Serialize + Tables>(figures: &Figures<T>, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(figures)?);
        return Ok(());
    }
    for (heading, table) in figures.figures.tables() {
        println!("\n{heading}\n\n{table}");
    }
    println!("{}, broker: {}", figures.calibration, figures.broker);
    Ok(())
}
