//! Command line of the simulator.

use clap::{Parser, Subcommand};
use hil_sim::platform;
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
    /// The reference platform at a terminal, against any broker.
    Platform(platform::console::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,rumqttd=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Task::Platform(args) => platform::console::run(args).await,
    }
}
