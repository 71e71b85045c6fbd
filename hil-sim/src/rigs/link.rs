//! What the daemon hangs on goes away and comes back: the broker, the port, the right time.

use super::Verdict;
use super::bed::{Bed, Course, Setup};
use super::books::Filler;
use super::trace;
use crate::broker::{self, Broker};
use anyhow::{Context as _, ensure};
use forecourt::units::Volume;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// For an interrupted drain.
const DRAINED: Duration = Duration::from_secs(600);

/// How many.
#[derive(Debug, clap::Args)]
pub struct BrokerArgs {
    /// Unsent sales at the start.
    #[arg(long, default_value_t = 10_000)]
    sales: u64,
    /// Kills.
    #[arg(long, default_value_t = 50)]
    kills: u32,
}

/// Sales that the platform has heard.
fn heard(bed: &Bed) -> u64 {
    u64::try_from(bed.platform.look(|desk| desk.sales().count())).unwrap_or(u64::MAX)
}

/// Kills Mosquitto while the outbox drains.
///
/// # Errors
/// What could not be started.
pub async fn broker(args: &BrokerArgs, program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    if broker::find_mosquitto().is_none() {
        return Ok(Verdict::Skipped("mosquitto is not installed: apt-get install mosquitto".into()));
    }
    let mut bed = Bed::new(directory, program, Broker::mosquitto(directory)?, &Setup::default()).await?;
    let data = bed.plan.data_directory();
    let totalisers: Vec<Volume> =
        bed.plan.nozzles().into_iter().filter_map(|nozzle| bed.pumps.totaliser(nozzle)).collect();
    Filler::open(&data, &bed.plan.station, &totalisers)?.fill(args.sales, 0)?;
    let mut life = bed.live(None)?;
    let begun = Instant::now();
    let kills = u64::from(args.kills);
    for kill in 1..=kills {
        // Each kill falls into the drain: after so many sales more have been heard.
        let share = args.sales * kill / (kills + 1);
        while heard(&bed) < share {
            ensure!(!life.is_over(), "the daemon ended");
            let (heard, sales) = (heard(&bed), args.sales);
            ensure!(begun.elapsed() < DRAINED, "{heard} of {sales} sales heard after {} s", DRAINED.as_secs());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bed.broker.kill_and_restart()?;
    }
    bed.platform.nozzles_ready(&bed.plan.nozzles(), PATIENCE).await?;
    let mut open = bed.pay()?;
    bed.drive(&mut open, &mut life).await?;
    bed.settle(&data).await?;
    let report = bed.platform.report();
    let counted: u64 = report.nozzles.values().map(|line| line.count).sum();
    let mut differences = report.violations.clone();
    if counted != args.sales + 1 {
        differences.push(format!("{counted} sales in effect, {} were made", args.sales + 1));
    }
    life.terminate().await?;
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    Ok(Verdict::Held(format!(
        "{} sales, {} kills of the broker while they drained, all in {} s, {} came twice, each once in effect",
        args.sales + 1,
        args.kills,
        begun.elapsed().as_secs(),
        report.counts.repeats
    )))
}

/// How often.
#[derive(Debug, clap::Args)]
pub struct PortArgs {
    /// Times the port is pulled.
    #[arg(long, default_value_t = 10)]
    pulls: u64,
}

/// A port of the daemon's, joined to that of the pumps; pulled when dropped.
struct Cable {
    link: PathBuf,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Cable {
    fn plug(link: &Path, pumps: &Path) -> anyhow::Result<Self> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        let mut termios = rustix::termios::tcgetattr(&slave)?;
        termios.make_raw();
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &termios)?;
        let far = rustix::fs::open(pumps, flags, Mode::empty()).context("open the pumps' port")?;
        for end in [&master, &far] {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        match std::fs::remove_file(link) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why.into()),
            _ => {}
        }
        std::os::unix::fs::symlink(name.to_str()?, link)?;
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::new((master, far));
        let carry = |from_near: bool| {
            let (ends, over) = (Arc::clone(&ends), Arc::clone(&over));
            std::thread::spawn(move || {
                let (near, far) = &*ends;
                let (from, to): (&OwnedFd, &OwnedFd) = if from_near { (near, far) } else { (far, near) };
                let mut bytes = [0; 256];
                while !over.load(Ordering::Relaxed) {
                    match rustix::io::read(from, &mut bytes) {
                        // What nobody takes is lost, as on a wire.
                        Ok(read) if read > 0 => drop(rustix::io::write(to, &bytes[..read])),
                        _ => std::thread::sleep(Duration::from_micros(200)),
                    }
                }
            })
        };
        let threads = vec![carry(true), carry(false)];
        drop(slave);
        Ok(Self { link: link.into(), over, threads })
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // The threads hold the master: the daemon's end hangs up when the last of them is gone.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        let _ = std::fs::remove_file(&self.link);
    }
}

/// Pulls the port while fuel flows, and puts it back.
///
/// # Errors
/// What could not be started.
pub async fn port(args: &PortArgs, program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    let setup = Setup { dispensers: 1, flow_litres: 5, ..Setup::default() };
    let mut bed = Bed::new(directory, program, Broker::embedded()?, &setup).await?;
    let pumps = PathBuf::from(&bed.plan.lines[0].port);
    let ours = directory.join("cable");
    let config = std::fs::read_to_string(bed.plan.config_file())?;
    let config = config.replace(&pumps.display().to_string(), &ours.display().to_string());
    std::fs::write(bed.plan.config_file(), config)?;
    let mut cable = Some(Cable::plug(&ours, &pumps)?);
    let mut life = bed.live(None)?;
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for pull in 0..args.pulls {
        let mut open = bed.pay_for(Volume::new(4_000))?;
        let asked = Instant::now();
        // Sometimes before the lift, sometimes with fuel flowing, sometimes after the end.
        while !bed.pumps.view(open.nozzle).is_some_and(|view| view.flowing) && asked.elapsed() < PATIENCE {
            bed.act(&mut open);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        tokio::time::sleep(Duration::from_millis(pull * 130 % 1_100)).await;
        drop(cable.take());
        let until = Instant::now() + Duration::from_millis(200 + pull % 3 * 900);
        while Instant::now() < until {
            bed.act(&mut open);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cable = Some(Cable::plug(&ours, &pumps)?);
        let back = Instant::now();
        if bed.drive(&mut open, &mut life).await? == Course::Died {
            return Ok(Verdict::Broke(vec![format!("the daemon ended at pull {pull}")]));
        }
        slowest = slowest.max(back.elapsed());
    }
    let data = bed.plan.data_directory();
    bed.settle(&data).await?;
    let differences = bed.differences(&data)?;
    life.terminate().await?;
    drop(cable);
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    Ok(Verdict::Held(format!(
        "{} pulls, {} orders, the last end {} ms after the port was back at the latest; {} s",
        args.pulls,
        bed.orders(),
        slowest.as_millis(),
        begun.elapsed().as_secs()
    )))
}

/// Steps of the wall clock, in seconds from the true time.
const STEPS: [i64; 6] = [3_600, -3_600, 315_360_000, -157_680_000, -1_795_000_000, 0];

/// Steps the wall clock while fuel flows.
///
/// # Errors
/// What could not be started.
pub async fn clock(program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    let library =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let Some(library) = library.iter().find(|path| Path::new(path).exists()) else {
        return Ok(Verdict::Skipped("faketime is not installed: apt-get install faketime".into()));
    };
    ensure!(trace::find("env").is_some(), "env is on every system");
    let mut bed =
        Bed::new(directory, program, Broker::embedded()?, &Setup { flow_litres: 4, ..Setup::default() }).await?;
    let told = directory.join("time");
    let set = |seconds: i64| std::fs::write(&told, format!("{seconds:+}\n"));
    set(0)?;
    let before: Vec<String> = [
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", told.display()),
        "FAKETIME_NO_CACHE=1".into(),
        "DONT_FAKE_MONOTONIC=1".into(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
    ]
    .into();
    let mut life = bed.live_behind(None, &before)?;
    for step in STEPS {
        set(0)?;
        let mut open = bed.pay_for(Volume::new(4_000))?;
        let asked = Instant::now();
        while !bed.pumps.view(open.nozzle).is_some_and(|view| view.flowing) {
            ensure!(asked.elapsed() < PATIENCE, "no fuel flows before the step to {step} s");
            bed.act(&mut open);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        set(step)?;
        ensure!(bed.drive(&mut open, &mut life).await? == Course::Ended, "the daemon ended at the step to {step} s");
        ensure!(bed.is_sold(&open), "the order of the step to {step} s did not end in a sale");
    }
    set(0)?;
    let data = bed.plan.data_directory();
    bed.settle(&data).await?;
    let mut differences = bed.differences(&data)?;
    // While the clocks differ by more than a minute the station must refuse what the platform sends, and gets it again.
    differences.retain(|text| {
        !(text.contains("fuel.ack.v1") && (text.contains("from_the_future") || text.contains("too_old")))
    });
    life.terminate().await?;
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    Ok(Verdict::Held(format!("{} steps of the wall clock while fuel flowed, each sale once", STEPS.len())))
}
