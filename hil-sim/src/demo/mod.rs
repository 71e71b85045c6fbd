//! `hil-sim demo`: broker, dispensers, customers, platform and the real daemon, without root or any service.
//!
//! Without end, orders go through the books of the reference platform, those of simulated drivers as those paid on its page. With `--once`
//! the test driver's desk is the platform, since it alone can deliver twice and hold back acknowledgements. Never do both answer.

pub mod board;
pub mod compare;
pub mod live;
pub mod script;

use crate::broker::BrokerChoice;
use crate::platform::{Desk, Faults, Platform};
use crate::prng::Prng;
use crate::rig::bus::{self, Buses};
use crate::rig::plan::{DispenserPlan, GradePlan, LinePlan, NozzlePlan, Plan};
use crate::rig::pumps::Build;
use crate::rig::stage::{Setting, Stage};
use crate::rig::town::{Pages, Town};
use crate::rig::workshop::{in_directory, interrupted};
use forecourt::ids::{FuellingPointId, Grade, NozzleId};
use forecourt::units::{Currency, UnitPrice};
use pump_drivers::protocol::Protocol;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often events are printed.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// A sign of life while nothing happens.
const STILL_HERE: Duration = Duration::from_secs(10);
/// For the last acknowledgements.
const SETTLE: Duration = Duration::from_secs(20);

/// A page with its pictures and streams, and a few more of them beside it.
const CALLS_PER_SECOND: u32 = 50;
/// At the fuelling point where nobody else orders.
const FREE_NOZZLE: NozzleId = NozzleId(7);

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Six orders, a comparison of platform, store and pumps, and an exit code of 0 only if all agree.
    #[arg(long)]
    once: bool,
    /// What customers do and where totalisers begin follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much faster than at a forecourt fuel flows; the line keeps its real pace.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    speed: u32,
    /// The platform holds back every nth acknowledgement; the records come again.
    #[arg(long, value_name = "N", requires = "once")]
    drop_ack: Option<NonZeroU64>,
    /// The platform delivers every nth command twice.
    #[arg(long, value_name = "N", requires = "once")]
    deliver_twice: Option<NonZeroU64>,
    /// What the lines speak: dart, two-wire, gaskitlink, modbus, or mixed for one line of each.
    #[arg(long, default_value = "dart", value_parser = Buses::parse)]
    bus: Buses,
    /// Where the platform's pages are; a port that is taken is exchanged for a free one.
    #[arg(long, default_value = "127.0.0.1:8080", conflicts_with = "once")]
    listen: SocketAddr,
    /// Which broker; the embedded one needs nothing installed.
    #[arg(long, value_enum, default_value_t = BrokerChoice::Embedded)]
    broker: BrokerChoice,
    /// The daemon's program, if it is not beside this one.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Keeps configuration, store and logs there instead of in a directory that is removed at the end.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Runs the demo. Returns whether everything agreed.
///
/// # Errors
/// What could not be started or went wrong, with what to do.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    in_directory(args.directory.as_deref(), async |directory: &Path| play(&args, directory).await).await
}

async fn play(args: &Args, directory: &Path) -> anyhow::Result<bool> {
    let prng = Prng::new(args.seed);
    let setting = Setting {
        daemon: args.daemon.clone(),
        build: Build::usual(args.speed, prng.fork("pumps")),
        faults: Faults { drop_ack: args.drop_ack, deliver_twice: args.deliver_twice },
        extra_toml: String::new(),
    };
    let plan = layout(directory, args.bus)?;
    println!("starting broker, dispensers and daemon in {}", directory.display());
    let broker = args.broker.start(directory)?;
    let began = Instant::now();
    if args.once {
        let stage = Stage::start(plan, broker, &setting).await?;
        println!("[{}] all {} nozzles ready", since(began), stage.plan.nozzles().len());
        once(&stage, &prng, began).await?;
        return finish(stage).await;
    }
    let pages = Pages { listen: args.listen, calls_per_second: Some(CALLS_PER_SECOND), ..Pages::quiet() };
    let town = Town::start(plan, broker, &setting, &pages).await?;
    if town.platform.http_addr != args.listen {
        println!("{} is taken, so the pages are on another port", args.listen);
    }
    let pages = pages_of(&town)?;
    for nozzle in town.stage.plan.nozzles() {
        println!("driver's page of nozzle {nozzle}: {}", town.link(nozzle)?);
    }
    pages.iter().for_each(|line| println!("{line}"));
    println!("[{}] all {} nozzles ready", since(began), town.stage.plan.nozzles().len());
    // The first words of a station that starts, told now, would sound as if they were news.
    drop(town.stage.platform.notices());
    live::run(&town, &pages, &prng).await?;
    finish_live(town).await
}

/// Where to click, in lines that fit a terminal.
fn pages_of(town: &Town) -> anyhow::Result<Vec<String>> {
    let free = FREE_NOZZLE;
    Ok(vec![
        format!("dashboard: {}/  (stations, orders, money, reconciliation)", town.platform.url()),
        format!("pay here:  {}", town.link(free)?),
        format!("           any 11 digits, an amount, \"Pay\": somebody comes to nozzle {free} and fuels"),
    ])
}

/// Four fuelling points with two grades at each: two islands, each on a line of its own, or a line of each kind.
///
/// # Errors
/// Never for the grades it uses.
pub fn layout(directory: &Path, buses: Buses) -> anyhow::Result<Plan> {
    let grade =
        |code: &str, micros| anyhow::Ok(GradePlan { code: Grade::new(code)?, unit_price: UnitPrice::new(micros) });
    let grades = vec![grade("92", 7_450_000)?, grade("95", 7_930_000)?, grade("diesel", 7_120_000)?];
    let point = |fp: u16, protocol, nth: u8| DispenserPlan {
        fuelling_point: FuellingPointId(fp),
        address: bus::address(protocol, nth).0,
        nozzles: vec![
            NozzlePlan { number: NozzleId(fp * 2 - 1), grade: grades[0].code.clone() },
            NozzlePlan { number: NozzleId(fp * 2), grade: grades[if fp < 3 { 1 } else { 2 }].code.clone() },
        ],
    };
    let line = |name: &str, protocol, dispensers| LinePlan {
        name: name.into(),
        port: directory.join(name).display().to_string(),
        protocol,
        dispensers,
    };
    let lines = match buses {
        Buses::Only(speaks) => vec![
            line("island-1", speaks, vec![point(1, speaks, 0), point(2, speaks, 1)]),
            line("island-2", speaks, vec![point(3, speaks, 0), point(4, speaks, 1)]),
        ],
        Buses::Mixed => (1..)
            .zip(Protocol::ALL)
            .map(|(fp, (word, speaks))| line(word, speaks, vec![point(fp, speaks, 0)]))
            .collect(),
    };
    let (station, currency) = ("st-demo".into(), Currency::CNY);
    Ok(Plan { station, currency, directory: directory.to_owned(), grades, lines })
}

async fn once(stage: &Stage, prng: &Prng, began: Instant) -> anyhow::Result<()> {
    let starts: Vec<_> =
        stage.plan.nozzles().into_iter().filter_map(|nozzle| Some((nozzle, stage.pumps.totaliser(nozzle)?))).collect();
    println!("six orders; the one that is never lifted takes 30 s\n");
    let played = {
        let playing = script::play(stage, prng);
        tokio::select! {
            played = playing => played?,
            () = tell(&stage.platform, began) => anyhow::bail!("nothing more to tell"),
            died = stage.daemon.died() => return Err(died.into()),
            () = interrupted() => anyhow::bail!("stopped before the six orders had ended"),
        }
    };
    stage.settle(SETTLE).await?;
    let comparison = compare::compare(stage, &played, &starts)?;
    println!("\n{}\n{}", comparison.orders, comparison.totalisers);
    anyhow::ensure!(comparison.differences.is_empty(), "not all agree:\n  {}", comparison.differences.join("\n  "));
    println!("platform, store and pumps agree on all {} orders and {} totalisers", played.len(), starts.len());
    Ok(())
}

/// Prints what happens, a line each, and a sign of life when nothing does.
async fn tell(platform: &Platform, began: Instant) {
    let mut last = Instant::now();
    loop {
        for notice in platform.notices() {
            println!("[{}] {notice}", since(began));
            last = Instant::now();
        }
        if last.elapsed() > STILL_HERE {
            println!("[{}] waiting: {}", since(began), platform.look(open_orders));
            last = Instant::now();
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Orders without an end, each with its last step.
fn open_orders(desk: &Desk) -> String {
    let open = desk.accounts().filter(|account| account.end.is_none()).map(|account| {
        let step = account.steps.last().map_or("sent", String::as_str);
        format!("{} {step} at nozzle {}", account.spec.order_id, account.nozzle)
    });
    open.collect::<Vec<_>>().join(", ")
}

/// Stops the daemon and tells what was wrong.
async fn finish(stage: Stage) -> anyhow::Result<bool> {
    let (platform, pumps, _broker) = stage.stop().await?;
    println!("the daemon stopped at SIGTERM");
    Ok(tell_wrongs(platform.report().violations.iter().chain(&pumps.wrongs())))
}

/// The same with what the platform's books come to.
async fn finish_live(town: Town) -> anyhow::Result<bool> {
    let Town { stage, platform, .. } = town;
    let currency = stage.plan.currency;
    let (desk, pumps, _broker) = stage.stop().await?;
    println!("the daemon stopped at SIGTERM");
    let (sums, wrong, disputes) =
        platform.shared().read(|act| Ok((act.totals()?, act.audit_ledger()?, act.disputes()?))).await?;
    platform.stop().await;
    let [paid, charged, back, commission] =
        [sums.paid, sums.charged, sums.given_back, sums.commission].map(|money| money.major(currency));
    println!(
        "{} orders: paid {paid}, for fuel {charged}, given back {back}, commission {commission} {currency}",
        sums.orders
    );
    if sums.open > 0 {
        println!("{} without an end when it was stopped", sums.open);
    }
    let disputes: Vec<String> = disputes.into_iter().map(|(_, what)| format!("disputed: {what}")).collect();
    let report = desk.report();
    Ok(tell_wrongs(report.violations.iter().chain(&pumps.wrongs()).chain(&wrong).chain(&disputes)))
}

/// Whether there are none.
fn tell_wrongs<'a>(wrongs: impl Iterator<Item = &'a String>) -> bool {
    wrongs.fold(true, |_, text| {
        println!("WRONG: {text}");
        false
    })
}

fn since(began: Instant) -> String {
    let elapsed = began.elapsed();
    format!("{:>3}.{} s", elapsed.as_secs(), elapsed.subsec_millis() / 100)
}
