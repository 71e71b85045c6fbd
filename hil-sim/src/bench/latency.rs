//! `bench latency`: many orders at 16 dispensers of one line, about four of them fuelling at any time.

use super::calibration;
use super::lone::{Cost, Exchanges, WallClock};
use super::one_line::OneLine;
use super::physics::{Physics, Spoken};
use super::stats::{Summary, Times, ms};
use super::witness::{STORE_GLANCE, StoreWitness, WireWitness};
use super::{Bench, Figures, Tables};
use crate::dispenser::record::Moment;
use crate::platform::End;
use crate::prng::Prng;
use crate::rig::table::Table;
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::Volume;
use pump_drivers::protocol::Protocol;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PUMPS: u8 = 16;
/// Fuel flows so much faster than at a forecourt, so that a thousand orders take minutes and not hours.
const SPEED: u32 = 5;
/// Customers at a time. Each fuels for about half of the time: paying, lifting, hanging up and settling take the rest.
const CUSTOMERS: usize = 7;
const LIMIT: Duration = Duration::from_secs(30);
const PROGRESS: Duration = Duration::from_secs(5);
/// Orders of the lone dispenser that shows what a release and an end need.
const ALONE: u32 = 5;
/// A customer there waits so long before lifting, so that the hang-up before was seen, and before paying, so that the polls meanwhile
/// are seen to be routine.
const HESITATES: Duration = Duration::from_secs(1);

/// One protocol's times.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OneProtocol {
    /// Its word.
    pub protocol: &'static str,
    /// Its wire, in words.
    pub wire: String,
    /// Frames of a release on a line of its own.
    pub release_frames: Cost,
    /// The least time that those need, in microseconds.
    pub release_limit_us: u64,
    /// Frames from the end report to the commit.
    pub end_frames: Cost,
    /// The least time that those need, in microseconds.
    pub end_limit_us: u64,
    /// A dispenser alone on its line.
    pub alone: Times4,
    /// One of 16 on a line.
    pub crowd: Times4,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Latency {
    /// One for each protocol.
    pub lines: Vec<OneProtocol>,
}

/// Four spans of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Times4 {
    /// Orders that ended in a sale.
    pub orders: u64,
    /// Tenths of dispensers that were fuelling when a command was published, on average.
    pub fuelling_tenths: u64,
    /// Command published to its reply at the platform.
    pub reply: Summary,
    /// Command published to the last byte of the block that releases the dispenser, the nozzle being out before.
    pub release: Summary,
    /// Last byte of the end report to the sale standing in the store.
    pub commit: Summary,
    /// Last byte of the end report to the acknowledgement leaving the platform.
    pub acknowledged: Summary,
    /// Most sales were booked before the end report: both count from the end of the flow.
    pub from_flow: bool,
}

#[derive(Debug, Default)]
struct Tally {
    fuelling: u64,
    reply: Times,
    release: Times,
    commit: Times,
    acknowledged: Times,
    /// Sales that were booked before their end was told as such.
    early: u64,
    /// From each command to its release, and from each end report to its commit.
    releases: Vec<(Instant, Instant)>,
    ends: Vec<(Instant, Instant)>,
}

struct Run<'a> {
    station: &'a OneLine,
    wire: WireWitness,
    store: StoreWitness,
    tally: Mutex<Tally>,
    left: AtomicU32,
    orders: u32,
}

/// Measures that many orders on a line of each protocol.
///
/// # Errors
/// What could not be started, or which order went wrong.
pub async fn run(bench: &Bench, root: &Path, spoken: &Spoken, orders: u32) -> anyhow::Result<Figures<Latency>> {
    let calibration = calibration::measure(root).await?;
    let (mut lines, mut broker) = (Vec::new(), "none");
    for protocol in spoken.iter() {
        let word = protocol.word();
        let place = |kind: &str| {
            let directory = root.join(format!("{word}-{kind}"));
            std::fs::create_dir(&directory).map(|()| directory)
        };
        eprintln!("{word}: one dispenser alone");
        let (lone, _, (release_frames, end_frames)) = line(bench, &place("alone")?, protocol, 1, ALONE).await?;
        eprintln!("{word}: {PUMPS} dispensers");
        let (crowd, kind, _) = line(bench, &place("crowd")?, protocol, PUMPS, orders).await?;
        broker = kind;
        let physics = Physics::of(protocol);
        let micros = |cost: Cost| u64::try_from(cost.least(&physics).as_micros()).unwrap_or(u64::MAX);
        lines.push(OneProtocol {
            protocol: word,
            wire: physics.words(),
            release_frames,
            release_limit_us: micros(release_frames),
            end_frames,
            end_limit_us: micros(end_frames),
            alone: lone.figures()?,
            crowd: crowd.figures()?,
        });
    }
    Ok(Figures { calibration, broker, figures: Latency { lines } })
}

/// Orders on one line; also which broker was between, and the frames of the median release and end.
async fn line(
    bench: &Bench,
    directory: &Path,
    protocol: Protocol,
    pumps: u8,
    orders: u32,
) -> anyhow::Result<(Tally, &'static str, (Cost, Cost))> {
    let station = OneLine::start(bench, directory, protocol, pumps, SPEED).await?;
    let store = StoreWitness::start(&station.stage.plan.data_directory())?;
    let wire = WireWitness::new(station.line.clone());
    let broker = station.stage.broker.kind();
    let clock = WallClock::now();
    let tally = {
        let run = Run { station: &station, wire, store, tally: Mutex::default(), left: AtomicU32::new(orders), orders };
        let customers = |first: usize| run.customers(first, Prng::new(bench.seed).fork(&format!("customers-{first}")));
        tokio::select! {
            done = async {
                tokio::try_join!(
                    customers(0), customers(1), customers(2), customers(3), customers(4), customers(5), customers(6)
                )
            } => done.map(|_| ())?,
            () = run.progress() => {}
            died = station.stage.daemon.died() => return Err(died.into()),
        }
        run.tally.into_inner().unwrap_or_else(PoisonError::into_inner)
    };
    station.stage.settle(LIMIT).await?;
    let report = station.stage.platform.report();
    ensure!(report.agrees(), "the books do not agree: {:?} {:?}", report.open, report.violations);
    let trace = station.stage.plan.data_directory().join("trace");
    station.stage.stop().await?;
    let exchanges = Exchanges::read(&trace)?;
    let median = |spans: &[(Instant, Instant)]| {
        let costs = spans.iter().map(|(from, to)| exchanges.cost(clock.unix_us(*from), clock.unix_us(*to)));
        let mut costs: Vec<Cost> = costs.collect();
        costs.sort_by_key(|cost| cost.bytes);
        costs.get(costs.len() / 2).copied().unwrap_or_default()
    };
    let costs = (median(&tally.releases), median(&tally.ends));
    Ok((tally, broker, costs))
}

impl Run<'_> {
    /// One customer after another at every seventh dispenser, beginning with `first`.
    async fn customers(&self, first: usize, mut prng: Prng) -> anyhow::Result<()> {
        for nozzle in self.station.nozzles.iter().skip(first).step_by(CUSTOMERS).cycle() {
            let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            let Ok(left) = taken else { return Ok(()) };
            let id = format!("bench-{}", self.orders - left + 1);
            self.order(id.clone(), *nozzle, &mut prng)
                .await
                .with_context(|| format!("order {id} at nozzle {nozzle}"))?;
        }
        Ok(())
    }

    async fn order(&self, id: String, nozzle: NozzleId, prng: &mut Prng) -> anyhow::Result<()> {
        let stage = &self.station.stage;
        let device = self.station.device(nozzle)?;
        let alone = self.station.nozzles.len() == 1;
        if alone {
            tokio::time::sleep(HESITATES).await;
        }
        stage.pumps.lift(nozzle);
        stage.platform.nozzle_state(nozzle, "calling", LIMIT).await?;
        let litres = i64::try_from(7 + prng.below(4)).unwrap_or(7);
        let spec = self.station.order(id, nozzle, Limit::Volume(Volume::new(litres * 1_000)))?;
        if alone {
            tokio::time::sleep(HESITATES).await;
        }
        let fuelling = self.station.fuelling()?;
        let order = stage.platform.pay(spec);
        let sent = stage.platform.look(|desk| desk.issued(order.command).map(|issued| issued.sent));
        let sent = sent.context("a command that was just issued")?;
        let (reply, replied) = order.reply(LIMIT).await?;
        ensure!(reply.result == "armed", "answered {}: {}", reply.result, reply.detail);

        self.station.flow_ended(nozzle, LIMIT).await?;
        let released =
            self.wire.first_since(device, Moment::AuthoriseArrived, sent).context("no release on the wire")?;
        tokio::time::sleep(prng.between(Duration::from_millis(50), Duration::from_millis(400))).await;
        let hung_up = Instant::now();
        stage.pumps.hang_up(nozzle);
        let End::Sale(sale) = order.end(LIMIT).await? else { anyhow::bail!("it ended without a sale") };
        ensure!(sale.volume_ml == Volume::new(litres * 1_000), "sold {:?}", sale.volume_ml);
        let flowed = self.wire.first_since(device, Moment::Ended, released).context("the pump has not ended")?;
        let acked = stage
            .platform
            .look(|desk| desk.sales().find(|heard| heard.data.sale_id == sale.sale_id).and_then(|heard| heard.acked));
        let acked = acked.context("the sale was not acknowledged")?;
        let reported = self.wire.first_since(device, Moment::EndReported, released);
        let committed = loop {
            if let Some(seen) = self.store.sale_of(&order.order_id) {
                break seen;
            }
            ensure!(hung_up.elapsed() < LIMIT, "the sale is not in the store");
            tokio::time::sleep(STORE_GLANCE).await;
        };
        stage.platform.nozzle_state(nozzle, "idle", LIMIT).await?;
        // Some heads tell the figures while the nozzle is still out: then the sale is booked before the end as such is told.
        let reported = reported.filter(|told| *told <= committed);
        let told = reported.unwrap_or(flowed);

        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.fuelling += fuelling;
        tally.reply.add(replied.duration_since(sent));
        tally.release.add(released.duration_since(sent));
        tally.commit.add(committed.saturating_duration_since(told));
        tally.acknowledged.add(acked.saturating_duration_since(told));
        tally.early += u64::from(reported.is_none());
        tally.releases.push((sent, released));
        tally.ends.push((told, committed));
        Ok(())
    }

    /// A line every few seconds. Never ends by itself.
    async fn progress(&self) {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(PROGRESS).await;
            let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(release), Some(commit)) = (tally.release.summary(), tally.commit.summary()) {
                eprintln!(
                    "{:>4} s: {} of {} orders, release p50 {} p99 {} ms, commit p50 {} p99 {} ms",
                    begun.elapsed().as_secs(),
                    release.count,
                    self.orders,
                    ms(release.p50_us),
                    ms(release.p99_us),
                    ms(commit.p50_us),
                    ms(commit.p99_us)
                );
            }
        }
    }
}

impl Tally {
    fn figures(&self) -> anyhow::Result<Times4> {
        let told = |times: &Times| times.summary().context("nothing was measured");
        let release = told(&self.release)?;
        Ok(Times4 {
            orders: release.count,
            fuelling_tenths: self.fuelling * 10 / release.count,
            reply: told(&self.reply)?,
            release,
            commit: told(&self.commit)?,
            acknowledged: told(&self.acknowledged)?,
            from_flow: self.early * 2 > release.count,
        })
    }
}

impl Tables for Latency {
    fn tables(&self) -> Vec<(String, Table)> {
        self.lines.iter().map(OneProtocol::table).collect()
    }
}

impl OneProtocol {
    fn table(&self) -> (String, Table) {
        let heading = format!(
            "{} ({}): {} orders, {PUMPS} dispensers on one line, {}.{} of them fuelling at an order on average; {} orders of a \
             dispenser alone",
            self.protocol,
            self.wire,
            self.crowd.orders,
            self.crowd.fuelling_tenths / 10,
            self.crowd.fuelling_tenths % 10,
            self.alone.orders
        );
        let mut table = Table::new([
            "from … to",
            "p50 ms",
            "p99 ms",
            "max ms",
            "alone p50 ms",
            "physical limit ms",
            "frames, bytes",
            "budget ms",
        ]);
        let none = (String::new(), String::new());
        let frames = |cost: Cost, limit: u64| {
            let text = format!("{} + {}, {}", cost.questions, cost.answers, cost.bytes);
            (ms(limit), text)
        };
        let release = frames(self.release_frames, self.release_limit_us);
        let end = frames(self.end_frames, self.end_limit_us);
        let ended = if self.crowd.from_flow { "end of the flow" } else { "end report's last byte" };
        for (what, span, (limit, frames), budget) in [
            (
                "command … reply".to_owned(),
                (|all: &Times4| all.reply) as fn(&Times4) -> Summary,
                none.clone(),
                "p50 2, p99 10",
            ),
            ("command … release frame's last byte".to_owned(), |all| all.release, release, "p50 100, p99 250"),
            (format!("{ended} … sale committed"), |all| all.commit, end, "p99 250"),
            (format!("{ended} … acknowledged"), |all| all.acknowledged, none, "p50 700, p99 2000 at 200 ms RTT"),
        ] {
            let (times, alone) = (span(&self.crowd), span(&self.alone));
            table.row([
                what,
                ms(times.p50_us),
                ms(times.p99_us),
                ms(times.max_us),
                ms(alone.p50_us),
                limit,
                frames,
                budget.to_owned(),
            ]);
        }
        (heading, table)
    }
}
