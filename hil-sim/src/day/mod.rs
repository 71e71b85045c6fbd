//! `hil-sim day`: a day at a busy station, replayed from one seed in seconds.
//!
//! The daemon's own lines, drivers, rules, store and outbox run in one thread on an invented clock, against simulated dispensers, customers,
//! a broker and the reference platform. Faults are drawn from the seed. After the day everything heals and drains; then the books of the
//! platform, the store and the dispensers must be the same, to the minor unit and the millilitre.

mod checks;
pub mod clock;
pub mod controller;
pub mod disk;
pub mod faults;
pub(crate) mod hooks;
pub mod log;
pub mod post;
pub mod reference;
pub mod station;
pub mod traffic;
pub mod world;

use crate::rig::bus;
use anyhow::{Context as _, bail};
use clap::Parser;
use core::cell::Cell;
use faults::Weather;
use log::Stamp;
use pump_drivers::protocol::Protocol;
use station::Speaks;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use traffic::Span;
use world::{Counts, Violation, World};

/// Seeds of the nightly form: a busy station-year in slices of a day.
const NIGHTLY: u64 = 10_950;

/// Options of `hil-sim day`.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// One seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Many seeds: a file with a seed at the begin of each line, after it what the lines speak if not as drawn or as `--bus` says (`#`
    /// begins a remark); or `FROM..TO`.
    #[arg(long, conflicts_with = "seed")]
    pub seeds: Option<String>,
    /// One more seed: a commit hash, of which the first 16 hexadecimal digits count.
    #[arg(long)]
    pub commit: Option<String>,
    /// As many of 10,950 seeds as fit into the time.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    pub nightly: bool,
    /// Time for the nightly form.
    #[arg(long, default_value_t = 60)]
    pub minutes: u64,
    /// Hours of the day that are played.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=24))]
    pub hours: u64,
    /// Hour at which it begins; 0 for a whole day, else the morning peak.
    #[arg(long)]
    pub from_hour: Option<u64>,
    /// Customers; the share of 4,000 a day if not given.
    #[arg(long)]
    pub sales: Option<u64>,
    /// What all lines speak: dart, two-wire, gaskitlink or modbus; drawn for each line from the seed if left out.
    #[arg(long, value_parser = bus::one)]
    pub bus: Option<Protocol>,
    /// Nothing goes wrong.
    #[arg(long)]
    pub fair: bool,
    /// Keeps so many last events and frames, and prints them after a failure.
    #[arg(long, num_args = 0..=1, default_value_t = 0, default_missing_value = "400")]
    pub trace: usize,
    /// Seeds that are played at once.
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
}

/// How a day is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Play {
    /// Its seed.
    pub seed: u64,
    /// Its length.
    pub span: Span,
    /// What its lines speak.
    pub speaks: Speaks,
    /// Nothing goes wrong.
    pub fair: bool,
    /// Last lines that are kept.
    pub keep: usize,
}

/// What came of a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Played {
    /// Equal for two plays of the same seed.
    pub digest: u64,
    /// Events and frames.
    pub entries: u64,
    /// What it was like.
    pub counts: Counts,
    /// Sales at the platform.
    pub sales: usize,
    /// Records at the platform.
    pub records: u64,
    /// Commits of the store.
    pub commits: u64,
    /// What each line speaks.
    pub lines: Vec<Protocol>,
    /// What must never be, if it was.
    pub violation: Option<Violation>,
}

thread_local! {
    /// What is being played on this thread, for a panic to name.
    static PLAYING: Cell<Option<Play>> = const { Cell::new(None) };
}

/// Plays one day.
///
/// # Errors
/// What the simulation itself could not do; a violation is a result.
pub fn play(play: Play) -> anyhow::Result<Played> {
    overheard(play, Box::new(|_, _| {}))
}

/// Plays one day while someone hears each message that reaches the platform: topic and payload.
///
/// # Errors
/// As [`play`].
pub fn overheard(play: Play, eavesdropper: world::Eavesdropper) -> anyhow::Result<Played> {
    PLAYING.set(Some(play));
    let weather = |prng: &crate::prng::Prng, span| if play.fair { Weather::fair() } else { Weather::drawn(prng, span) };
    let mut world = World::new(play.seed, play.span, play.speaks, play.keep, weather)?;
    world.overhear(eavesdropper);
    let outcome = world.run(play.span)?;
    PLAYING.set(None);
    Ok(Played {
        digest: world.log().digest(),
        entries: world.log().entries(),
        counts: world.counts(),
        sales: world.desk().sales().count(),
        records: world.desk().counts().records,
        commits: world.witness().commits,
        lines: world.station.plan.lines.iter().map(|line| line.protocol).collect(),
        violation: outcome.err(),
    })
}

/// Runs the subcommand. True if every day was as it must be.
///
/// # Errors
/// Options that make no sense, or what the simulation itself could not do.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    panic_with_seed();
    let seeds = seeds(args)?;
    let hours = if args.nightly && args.hours == 24 { 2 } else { args.hours };
    let from_hour = args.from_hour.unwrap_or(if hours == 24 { 0 } else { 7 });
    let span = Span { from_hour, hours, visits: args.sales };
    let began = Instant::now();
    let end = args.nightly.then(|| Instant::now() + Duration::from_secs(args.minutes * 60));
    let total = seeds.len();
    let queue = Mutex::new(VecDeque::from(seeds));
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        let worker = || -> anyhow::Result<()> {
            loop {
                let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                let Some((seed, speaks)) = next.filter(|_| end.is_none_or(|end| Instant::now() < end)) else {
                    return Ok(());
                };
                let begun = Instant::now();
                let played = play(Play { seed, span, speaks, fair: args.fair, keep: args.trace })?;
                tell((seed, speaks), args, span, &played, begun.elapsed(), total > 3);
                if let Ok(mut tally) = tally.lock() {
                    tally.add(seed, &played);
                    if total > 40 && tally.played % 20 == 0 {
                        eprintln!(
                            "{} of {total} seeds, {} failed, {:.0?}",
                            tally.played,
                            tally.failed.len(),
                            began.elapsed()
                        );
                    }
                }
            }
        };
        let workers: Vec<_> = (0..args.jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(_) => bail!("a day panicked"),
        })
    })?;
    let tally = tally.into_inner().unwrap_or_default();
    if total > 1 {
        println!(
            "{} of {total} seeds played, {} h each: {} sales, {} commits, {} power cuts, {} failed{}",
            tally.played,
            span.hours,
            tally.sales,
            tally.commits,
            tally.cuts,
            tally.failed.len(),
            if tally.failed.is_empty() { String::new() } else { format!(": {:?}", tally.failed) }
        );
    }
    Ok(tally.failed.is_empty())
}

#[derive(Default)]
struct Tally {
    played: u64,
    sales: usize,
    commits: u64,
    cuts: u64,
    failed: Vec<u64>,
}

impl Tally {
    fn add(&mut self, seed: u64, played: &Played) {
        self.played += 1;
        self.sales += played.sales;
        self.commits += played.commits;
        self.cuts += played.counts.cuts;
        if played.violation.is_some() {
            self.failed.push(seed);
        }
    }
}

fn tell((seed, speaks): (u64, Speaks), args: &Args, span: Span, played: &Played, took: Duration, terse: bool) {
    if let Some(Violation { at, what }) = &played.violation {
        for line in log::last_lines() {
            println!("{line}");
        }
        println!("FAILED seed {seed} commit {} at {}: {what}", commit(), Stamp(*at));
        let fair = if args.fair { " --fair" } else { "" };
        let bus = match speaks {
            Speaks::Only(protocol) => format!(" --bus {}", protocol.word()),
            Speaks::Drawn => String::new(),
        };
        let sales = span.visits.map(|visits| format!(" --sales {visits}")).unwrap_or_default();
        println!(
            "  what led to it: hil-sim day --seed {seed} --hours {} --from-hour {}{bus}{sales}{fair} --trace",
            span.hours, span.from_hour
        );
    } else if !terse {
        let Counts { visits, boots, cuts, steps, .. } = played.counts;
        let lines: Vec<&str> = played.lines.iter().map(|protocol| protocol.word()).collect();
        println!("seed {seed}: lines of {}", lines.join(", "));
        println!(
            "  {visits} cars, {} sales, {} records, {} commits, {boots} starts, {cuts} power cuts at a commit",
            played.sales, played.records, played.commits
        );
        println!(
            "  {} events and frames, {steps} steps in {:.1?}; digest {:016x}; platform = store = pumps",
            played.entries, took, played.digest
        );
    }
}

fn commit() -> &'static str {
    option_env!("FORECOURT_COMMIT").unwrap_or("unknown")
}

/// A panic of the core ends the process; whoever reads that must know which day it was.
fn panic_with_seed() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Some(play) = PLAYING.get() {
            for line in log::last_lines() {
                println!("{line}");
            }
            println!("FAILED seed {} commit {} ({:?}): panic", play.seed, commit(), play.span);
        }
        before(info);
    }));
}

fn seeds(args: &Args) -> anyhow::Result<Vec<(u64, Speaks)>> {
    let speaks = args.bus.map_or(Speaks::Drawn, Speaks::Only);
    let mut seeds = match &args.seeds {
        _ if args.nightly => (1..=NIGHTLY).map(|seed| (seed, speaks)).collect(),
        None if args.commit.is_some() => Vec::new(),
        None => vec![(args.seed, speaks)],
        Some(range) if range.contains("..") => {
            let (from, to) = range.split_once("..").context("FROM..TO")?;
            (from.parse()?..to.parse()?).map(|seed| (seed, speaks)).collect()
        }
        Some(file) => from_file(&PathBuf::from(file), speaks)?,
    };
    if let Some(commit) = &args.commit {
        let digits: String = commit.chars().take(16).collect();
        let seed = u64::from_str_radix(&digits, 16).with_context(|| format!("{commit} is no commit hash"))?;
        seeds.push((seed, speaks));
    }
    Ok(seeds)
}

/// Reads seeds, one a line, each with what its lines speak if that is said; what follows a `#` says what they caught.
///
/// # Errors
/// If the file cannot be read or holds something else.
pub fn from_file(file: &std::path::Path, usual: Speaks) -> anyhow::Result<Vec<(u64, Speaks)>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
    let read = |line: &str| {
        let (seed, word) = line.split_once(' ').unwrap_or((line, ""));
        let seed = seed.parse().with_context(|| format!("{}: \"{line}\" is no seed", file.display()))?;
        let speaks = match word.trim() {
            "" => usual,
            word => Speaks::Only(bus::one(word).map_err(|why| anyhow::anyhow!("{}: {line}: {why}", file.display()))?),
        };
        Ok((seed, speaks))
    };
    lines.map(read).collect()
}
