//! `hil-sim script`: one fault of the journeys, played by a small file on the day's world, with an asserted result.
//!
//! A script says what happens when, what must be seen in which order, what each order comes to, how far each totaliser moves, and what must
//! never be. The world is that of `hil-sim day` in fair weather without customers of its own: real drivers, lines, rules, store and outbox in
//! one thread on an invented clock. When the script is over, everything heals and drains, and the books must agree as at the close of a day.

mod act;
mod expect;
mod hostile;
mod parse;
mod player;
mod table;
mod watch;
mod words;

pub use act::GRAMMAR;
pub use parse::{Problem, Script, read};
pub use table::{Outcome, Row};

use anyhow::{Context as _, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `hil-sim script`.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Scripts by name, without `.toml`.
    #[arg(required_unless_present_any = ["all", "list", "acts"])]
    pub names: Vec<String>,
    /// Every script there is.
    #[arg(long)]
    pub all: bool,
    /// Names and titles.
    #[arg(long)]
    pub list: bool,
    /// What a script can let happen.
    #[arg(long)]
    pub acts: bool,
    /// Where the scripts are.
    #[arg(long, default_value = "tests/scripts")]
    pub directory: PathBuf,
    /// Prints all that was seen, expected or not.
    #[arg(long)]
    pub seen: bool,
    /// Keeps so many last events and frames, and prints them after a failure.
    #[arg(long, num_args = 0..=1, default_value_t = 0, default_missing_value = "400")]
    pub trace: usize,
}

/// Names of the scripts in a directory, in order.
///
/// # Errors
/// If it cannot be read.
pub fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("the scripts in {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Reads one script.
///
/// # Errors
/// If it is not there, or all that is wrong with it.
pub fn load(directory: &Path, name: &str) -> anyhow::Result<Script> {
    let file = directory.join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("read {}: `hil-sim script --list` shows what there is", file.display()))?;
    read(&text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", file.display())).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// Plays a script, keeping so many last events and frames for [`crate::day::log::last_lines`].
///
/// # Errors
/// What the simulation itself could not do; what was not as expected is a result.
pub fn play(script: &Script, keep: usize) -> anyhow::Result<Outcome> {
    player::Player::new(script, keep)?.play()
}

/// Runs the subcommand. True if everything was as the scripts say.
///
/// # Errors
/// Scripts that cannot be read, or what the simulation itself could not do.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    if args.acts {
        println!("{GRAMMAR}");
        return Ok(true);
    }
    let names = if args.all || args.list { names(&args.directory)? } else { args.names.clone() };
    if names.is_empty() {
        bail!("no script in {}", args.directory.display());
    }
    let mut failed = Vec::new();
    for name in &names {
        let script = load(&args.directory, name)?;
        if args.list {
            println!("{name:24} {:12} {}", script.proves, script.title);
            continue;
        }
        let begun = Instant::now();
        let outcome = play(&script, args.trace)?;
        tell(args, name, &script, &outcome, begun);
        if !outcome.failures.is_empty() {
            failed.push(name.as_str());
        }
    }
    if names.len() > 1 && !args.list {
        println!(
            "{} scripts, {} failed{}",
            names.len(),
            failed.len(),
            failed.iter().map(|name| format!(" {name}")).collect::<String>()
        );
    }
    Ok(failed.is_empty())
}

fn tell(args: &Args, name: &str, script: &Script, outcome: &Outcome, begun: Instant) {
    let good = outcome.failures.is_empty();
    if args.all && good && !args.seen {
        println!("ok {name:24} {:12} {} ({:.1?})", script.proves, script.title, begun.elapsed());
        return;
    }
    if !good && args.trace > 0 {
        crate::day::log::last_lines().iter().for_each(|line| println!("{line}"));
    }
    println!("{name} ({}): {}", script.proves, script.title);
    println!("{}", outcome.table());
    if args.seen {
        println!("all that was seen:\n{}", outcome.everything());
    }
    for (line, what) in &outcome.failures {
        let place = args.directory.join(format!("{name}.toml"));
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        println!("FAILED {}{line}: {what}", place.display());
    }
    if good {
        println!("ok, in {:.1?}", begun.elapsed());
    }
}
