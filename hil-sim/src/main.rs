//! Command line of the simulator.

use clap::{Parser, Subcommand};
use hil_sim::rig::lone_line;
use hil_sim::{bench, day, demo, platform, rigs, scenes, script};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Simulated dispensers, customers, broker and platform for Forecourt Edge.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A whole station on this machine, with a live board; `--once` for a script of six orders that must agree.
    Demo(demo::Args),
    /// A day at a busy station, replayed from a seed, with faults; platform, store and pumps must agree at its end.
    Day(day::Args),
    /// Fault scripts: one fault of a journey each, with what must come of it.
    Script(script::Args),
    /// Figures of the real daemon on simulated lines with real pacing.
    Bench(bench::Args),
    /// The reference platform with its pages, against any broker.
    Platform(platform::serve::Args),
    /// Twenty scenes from the driver's tap to the booked commission, each played with the real daemon and checked.
    Scenes(scenes::Args),
    /// The real daemon under faults: killed, without disk, broker or port, with many unsent sales.
    Rig(rigs::Args),
    /// Simulated dispensers alone, on a pty, a TCP port or a serial port.
    Serve(lone_line::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,rumqttd=off,tokio_modbus=off"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match run(Cli::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as it should be.
async fn run(task: Task) -> anyhow::Result<bool> {
    match task {
        Task::Demo(args) => return demo::run(args).await,
        Task::Scenes(args) => return scenes::run(args).await,
        Task::Rig(args) => return rigs::run(args).await,
        Task::Day(args) => return day::run(&args),
        Task::Script(args) => return script::run(&args),
        Task::Bench(args) => bench::run(args).await?,
        Task::Platform(args) => return platform::serve::run(args).await,
        Task::Serve(args) => lone_line::run(args).await?,
    }
    Ok(true)
}
