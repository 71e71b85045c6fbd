//! `hil-sim rig`: the real daemon is broken on purpose, and platform, store and pumps must agree afterwards.
//!
//! Broker, pumps and platform outlive the daemon; each counts for itself. A rig that lacks a tool says that it did not run.

pub mod bed;
pub mod books;
pub mod disk;
pub mod hostile;
pub mod io;
pub mod kill;
pub mod link;
pub mod offline;
pub mod powerloss;
pub mod proxy;
pub mod trace;

use crate::rig::workshop::{in_directory, interrupted};
use std::path::{Path, PathBuf};

/// Which rig, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    rig: Rig,
    /// The daemon's program, if it is not beside this one.
    #[arg(long, global = true)]
    daemon: Option<PathBuf>,
    /// Keeps configuration, store and logs there instead of in a directory that is removed at the end.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Rig {
    /// SIGKILL at the nth call that writes, for every n and every kind of call.
    Kill(kill::Args),
    /// Write, sync or truncate fails or is late at the nth call.
    Io(io::Args),
    /// A small file system fills up and is emptied again. Needs root.
    Disk,
    /// The broker is killed again and again while the outbox drains.
    Broker(link::BrokerArgs),
    /// The port is pulled and put back while fuel flows.
    Port(link::PortArgs),
    /// The wall clock is stepped under the daemon.
    Clock,
    /// Power cuts below the file system: lost, reordered and torn sectors. Needs root and tools.
    Powerloss(powerloss::Args),
    /// Thousands of wrong commands a second while fuel flows.
    Hostile(hostile::Args),
    /// Many unsent sales: what a commit costs, and how fast they drain.
    Offline(offline::Args),
}

/// What a rig came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It ran and all agreed.
    Held(String),
    /// It ran, and these did not agree.
    Broke(Vec<String>),
    /// It could not run here.
    Skipped(String),
}

/// Runs a rig. False only where something did not agree.
///
/// # Errors
/// What could not be started.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let Args { rig, daemon, directory } = args;
    let daemon = daemon.as_deref();
    let played = in_directory(directory.as_deref(), async |at: &Path| match &rig {
        Rig::Kill(args) => kill::run(args, daemon, at).await,
        Rig::Io(args) => io::run(args, daemon, at).await,
        Rig::Disk => disk::run(daemon, at).await,
        Rig::Broker(args) => link::broker(args, daemon, at).await,
        Rig::Port(args) => link::port(args, daemon, at).await,
        Rig::Clock => link::clock(daemon, at).await,
        Rig::Powerloss(args) => powerloss::run(args, at).await,
        Rig::Hostile(args) => hostile::run(args, daemon, at).await,
        Rig::Offline(args) => offline::run(args, daemon, at).await,
    });
    // Dropped half-way, a rig takes its daemon and dispensers with it.
    let verdict = tokio::select! {
        verdict = played => verdict?,
        () = interrupted() => anyhow::bail!("interrupted: nothing is said about what the rig was to show"),
    };
    match verdict {
        Verdict::Held(text) => println!("held: {text}"),
        Verdict::Skipped(why) => println!("DID NOT RUN: {why}"),
        Verdict::Broke(differences) => {
            differences.iter().for_each(|text| println!("BROKE: {text}"));
            return Ok(false);
        }
    }
    Ok(true)
}
