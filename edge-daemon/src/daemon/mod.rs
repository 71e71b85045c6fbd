//! The running daemon: one task for each line, one for the site, one for the cloud, one thread for the store, one for the trace.
//!
//! ```text
//! wires ── line tasks ──reports──► site task ──commits──► store thread
//!             ▲                     │  ▲  ▲                  │    ▲
//!             └──────commands───────┘  │  └────stored────────┘    │ asks
//!                                      │                          ▼
//!                         commands ────┴──── cloud task ◄── outbox rows
//! ```
//!
//! Every channel is bounded; no lock is shared. A missing port, broker or clock is reported and tried again, and stops nothing else.

pub mod alarms;
pub mod certificates;
pub mod clock;
mod cloud;
pub mod consumers;
pub(crate) mod disk;
mod door;
mod errands;
mod forgery;
mod heart;
mod keeping;
mod observe;
mod site_task;
pub mod views;
pub mod wiring;

use crate::config::kept::Loaded;
use crate::config::{self, Config};
use crate::store::thread::Handle;
use crate::store::{self, Store};
use crate::trace::{self, Entry, Recorder, TraceTime};
use alarms::Bell;
use anyhow::{Context, anyhow};
use clock::Clock;
use cloud::{CloudEnds, Earlier};
use cloud_sync::mqtt::Told;
use cloud_sync::outbox::store::OutboxStore;
use cloud_sync::wire::state::{LastSale, OutboxView};
use forecourt::ids::UuidMaker;
use forecourt::record::Audit;
use forecourt::site::Site;
use forecourt::units::{Money, Volume};
use forecourt::voucher::VoucherAuthority;
use heart::{Beat, Heart};
use pump_drivers::line::{LineStatistics, TraceFrame, Verdict};
use pump_drivers::port::{self, LineReport, LineTask, TraceSink};
use site_task::{Ends, LineEnd, OfficeEnds, SiteTask};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use views::Facts;

/// Words to one line that may wait; each fuelling point has at most a handful under way.
const LINE_COMMANDS: usize = 256;
/// Reports of all lines that may wait for the site.
const LINE_REPORTS: usize = 1_024;
/// Commands of the cloud that may wait for the site.
const COMMANDS: usize = 128;
/// How often the watchdog is fed, if all is well.
const WATCHDOG: Duration = Duration::from_secs(2);
/// How often the outbox is counted.
const COUNT: Duration = Duration::from_secs(1);
/// What a rescue of a damaged store may take, in microseconds.
const RESCUE_US: u32 = 600_000_000;
/// The cloud link's goodbye at the end.
const GOODBYE: Duration = Duration::from_secs(4);

/// Runs the station until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: the store, or what the configuration asks and cannot be had.
pub fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    let clock = Clock::start();
    let wired = wiring::lines(config).map_err(|problems| anyhow!("the configuration:\n  {}", problems.join("\n  ")))?;
    let layout = wiring::layout(config, &wired);
    let mut ids = UuidMaker::new(seed()?);
    let boot = ids.make(clock.now().utc);
    let directory = &config.station.data_directory;
    std::fs::create_dir_all(directory).with_context(|| format!("make the data directory {}", directory.display()))?;
    let path = config.station.database();
    // Reading a large store that is damaged may take longer than a start usually does.
    notify(&[sd_notify::NotifyState::ExtendTimeoutUsec(RESCUE_US)]);
    let (store, rescued) =
        Store::open_or_rescue(&path, &config.station.id, boot, &mut ids, clock.now().utc).map_err(store_error)?;
    if let Some(rescued) = &rescued {
        error!(?rescued, "the store was damaged: it is set aside, and a new one goes on with what could be proven");
    }
    let memory = store.memory().map_err(store_error)?;
    let ledger = Store::reader(&path).map_err(store_error)?;
    let facts = facts(&layout, &ledger, boot, &clock);
    info!(
        station = %config.station.id,
        %boot,
        orders = memory.orders.len(),
        open_fuellings = memory.releases.len(),
        "the store is open"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let office = memory.office.clone();
        let mut site = Site::new(layout, memory, UuidMaker::new(ids.fork()), clock.now());
        let not_before = store.orders_not_before().map_err(store_error)?;
        let authority = config.voucher.as_ref().map(|voucher| {
            VoucherAuthority::new(config.station.id.clone(), voucher.key.clone()).refusing_before(not_before)
        });
        site.open_office(config.periods.clone(), authority, office, clock.now());
        for audit in given_up(loaded) {
            site.handle_audit(audit, clock.now());
        }
        Station { loaded, config, clock, ids, boot }.run(wired, site, store, ledger, facts).await
    })
}

/// Documents that the start could not use, for the books.
fn given_up(loaded: &Loaded) -> impl Iterator<Item = Audit> {
    loaded.given_up.iter().map(|(document, why)| {
        error!(document = document.name(), why, "a configuration of the platform was given up");
        Audit {
            who: "edge-daemon".into(),
            did: "configuration rolled back".into(),
            on: "the station's configuration".into(),
            old: Some(document.name()),
            new: Some(format!("{}: {why}", loaded.kept.name())),
        }
    })
}

fn store_error(fault: store::StoreFault) -> anyhow::Error {
    anyhow::Error::new(fault).context("open the store")
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| anyhow!("draw a seed from the system: {why}"))?;
    Ok(seed)
}

fn facts(layout: &forecourt::layout::Layout, ledger: &store::Reader, boot: uuid::Uuid, clock: &Clock) -> Facts {
    let mut last_sales = BTreeMap::new();
    for nozzle in layout.nozzles.keys() {
        // Only shown: a station whose old sales cannot be read still fuels.
        if let Ok(Some(sale)) = ledger.last_sale(*nozzle) {
            // A sale id of the store is a UUID: the core made it.
            let Ok(sale_id) = sale.sale_id.parse() else { continue };
            let last = LastSale {
                sale_id,
                volume_ml: Volume::new(sale.volume_ml),
                amount_minor: Money::new(sale.amount_minor),
                ended_at: sale.ended_at,
            };
            last_sales.insert(*nozzle, last);
        }
    }
    let (pending, set_aside) = ledger.outbox_counts().unwrap_or_default();
    Facts {
        boot,
        since: clock.now().utc,
        stopping: false,
        outbox: OutboxView { pending, oldest_at: None, set_aside },
        disk_free_mb: 0,
        last_sales,
    }
}

struct Station<'a> {
    loaded: &'a Loaded,
    config: &'a Config,
    clock: Clock,
    ids: UuidMaker,
    boot: uuid::Uuid,
}

impl Station<'_> {
    async fn run(
        mut self,
        wired: Vec<wiring::Wired>,
        site: Site,
        store: Store,
        ledger: store::Reader,
        facts: Facts,
    ) -> anyhow::Result<()> {
        let mut heart = Heart::new(self.clock.clone());
        let (stop, shutdown) = watch::channel(false);
        let (answer, answers) = mpsc::unbounded_channel();
        let not_before = store.orders_not_before().map_err(store_error)?;
        let keys = cloud::keys(self.config, &store)?;
        let (store, store_thread) = store::thread::spawn(store, move |answered| {
            // The site task ends only after its last commit was answered.
            let _ended = answer.send(answered);
        })
        .context("start the store's thread")?;
        let ring = &self.config.trace;
        let (recorder, trace_thread) = match trace::start(&ring.directory, ring.segments, ring.segment_bytes) {
            Ok((recorder, thread)) => (recorder, Some(thread)),
            Err(why) => {
                // As on a full disk: the station works without its trace.
                warn!(directory = %ring.directory.display(), %why, "no line trace; check the directory and its disk");
                (trace::nowhere(), None)
            }
        };
        let (reports, reports_out) = mpsc::channel(LINE_REPORTS);
        let mut lines = Vec::new();
        let mut tasks = Vec::new();
        for wiring::Wired { config: line, line: core } in wired {
            let counts = core.statistics();
            let (end, task) =
                self.start_line(lines.len(), line, core, counts, &reports, &recorder, &mut heart, port::run);
            lines.push(end);
            tasks.push(task);
        }
        for wiring::Heard { config: line, listener } in wiring::listeners(self.config) {
            info!(line = line.name, "another controller drives this line: it is only listened to");
            let counts = listener.statistics();
            let (end, task) =
                self.start_line(lines.len(), line, listener, counts, &reports, &recorder, &mut heart, port::listen);
            lines.push(end);
            tasks.push(task);
        }
        drop(reports);
        let (damage, mut damaged) = watch::channel(None);
        let (bell, alarms) = Bell::new();
        let (keys, keys_out) = watch::channel(keys);
        let earlier = Earlier::read(not_before, &ledger)?;
        let CloudEnds { told, commands, uplink, link: cloud, helpers } =
            self.start_cloud(&site, &facts, earlier, &keys, &store, &bell, &mut heart)?;
        tasks.extend(helpers);
        tasks.extend(self.start_consumers(&store, &bell).await?);
        let socket = &self.config.observe.socket;
        let listener = observe::bind(socket).with_context(|| format!("open {}", socket.display()))?;
        let (askers, observers) = mpsc::channel(observe::ASKERS);
        let observer = tokio::spawn(observe::serve(listener, askers));
        let control = &self.config.control;
        let visitors = door::bind(control).with_context(|| format!("open {}", control.socket.display()))?;
        let (acts_in, acts) = mpsc::channel(door::ACTS);
        let station = self.config.station.id.clone();
        let (uplink_seen, clock) = (uplink.clone(), self.clock.clone());
        let doorkeeper = tokio::spawn(door::serve(
            visitors,
            door::Door { station, keys: keys_out, uplink: uplink_seen, not_before, clock, acts: acts_in },
        ));
        let (asked, errands_out) = mpsc::channel(errands::ERRANDS);
        let (finished_in, finished) = mpsc::channel(errands::ERRANDS);
        let (proven, proven_out) = watch::channel(false);
        let (restart, mut wants_restart) = watch::channel(false);
        let errands = errands::Errands::new(self.loaded, keys, store.clone(), told.clone());
        let errands = tokio::spawn(errands.run(errands_out, finished_in, proven_out));
        let beat = heart.add("site");
        let (outbox, outbox_out) = watch::channel(facts.outbox);
        let ends = Ends {
            outbox: outbox_out,
            store: store.clone(),
            answers,
            reports: reports_out,
            lines,
            commands,
            cloud: told.clone(),
            uplink,
            observers,
            shutdown,
            damage: damage.clone(),
            recorder,
            alarms,
            office: OfficeEnds { acts, asked, finished, proven, restart },
        };
        let directory = self.config.station.data_directory.clone();
        let disk = disk::Watched { directory, guard: disk::Guard::new(self.config.disk) };
        let task = SiteTask::new(site, facts, self.clock.clone(), ledger, ends, beat, disk);
        let site = tokio::spawn(task.run());
        let store_beat = heart.add("store");
        let watchdog = tokio::spawn(watch_over(heart, store.clone(), store_beat, outbox));
        let local = self.config.periods.clone();
        let keeping = tokio::spawn(keeping::prune_in_quiet_hours(store.clone(), self.clock.clone(), local));
        keeping::check_in_background(self.config.station.database(), damage);
        notify(&[sd_notify::NotifyState::Ready]);
        info!("ready");
        let found = tokio::select! {
            ended = terminated() => { ended?; None }
            Ok(found) = damaged.wait_for(Option::is_some) => found.clone(),
            Ok(_) = wants_restart.wait_for(|wanted| *wanted) => {
                info!("ending, so that the next start brings the new configuration into force");
                None
            }
        };
        keeping.abort();
        if let Some(fault) = &found {
            error!(%fault, "the store is damaged: ending, so that the next start sets it aside and goes on with what can be rescued");
            // Where this fails, the next start finds the damage by itself or here again.
            store.try_run(|store| drop(store.mark_damaged()));
        }
        notify(&[sd_notify::NotifyState::Stopping]);
        // Every receiver is still there: the site task ends after this.
        let _all_ended = stop.send(true);
        site.await.context("the site task")?;
        watchdog.abort();
        observer.abort();
        doorkeeper.abort();
        errands.abort();
        // Cancelled, as was asked: its handle of the store is gone then.
        let _cancelled = errands.await;
        if let (Some(told), Some(cloud)) = (told, cloud) {
            // Full only if the link hangs; then there is no goodbye.
            let _hangs = told.try_send(Told::Stop);
            if tokio::time::timeout(GOODBYE, cloud).await.is_err() {
                warn!("the broker did not take the goodbye in time");
            }
        }
        for task in tasks {
            task.abort();
            // Cancelled, as was asked.
            let _cancelled = task.await;
        }
        drop(store);
        // What was asked of the store is done before its thread ends; both threads end when their last handle is dropped.
        let ended = tokio::task::spawn_blocking(move || {
            let trace = trace_thread.is_none_or(|thread| thread.join().is_ok());
            (store_thread.join().is_ok(), trace)
        });
        match tokio::time::timeout(GOODBYE, ended).await {
            Ok(Ok((true, true))) => info!("stopped"),
            _ => error!("the store or the trace did not end in time"),
        }
        // Gone already where the directory is.
        let _gone = std::fs::remove_file(socket);
        let _gone = std::fs::remove_file(&control.socket);
        found.map_or(Ok(()), |fault| Err(anyhow::Error::new(fault)))
    }

    #[allow(clippy::too_many_arguments, reason = "a line, what runs it, and what it is tied to")]
    fn start_line<C, F: Future<Output = ()> + Send + 'static>(
        &self,
        at: usize,
        line: config::Line,
        core: C,
        counts: LineStatistics,
        reports: &mpsc::Sender<(usize, LineReport)>,
        recorder: &Recorder,
        heart: &mut Heart,
        run: impl FnOnce(LineTask<C>) -> F,
    ) -> (LineEnd, tokio::task::JoinHandle<()>) {
        let (commands, commands_out) = mpsc::channel(LINE_COMMANDS);
        let (reports_in, mut reports_out) = mpsc::channel(LINE_REPORTS);
        let (statistics, mut counted) = watch::channel(counts);
        let clock = self.clock.clone();
        let trace = Trace { line: line.name.clone(), recorder: recorder.clone(), clock: clock.clone() };
        let task = tokio::spawn(run(LineTask {
            transport: wiring::transport(&line),
            line: core,
            clock: Arc::new(move || clock.mono()),
            commands: commands_out,
            reports: reports_in,
            trace: Arc::new(trace),
            statistics,
        }));
        let reports = reports.clone();
        tokio::spawn(async move {
            while let Some(report) = reports_out.recv().await {
                if reports.send((at, report)).await.is_err() {
                    return;
                }
            }
        });
        let statistics = counted.clone();
        let beat = heart.add(&line.name);
        tokio::spawn(async move {
            while counted.changed().await.is_ok() {
                beat.tick();
            }
        });
        let points = line.dispensers.iter().map(|dispenser| dispenser.fuelling_point).collect();
        let state = observe::LineState::default();
        (LineEnd { name: line.name, points, commands, state, statistics }, task)
    }
}

/// Every frame of one line, for the ring on disk.
struct Trace {
    line: String,
    recorder: Recorder,
    clock: Clock,
}

impl TraceSink for Trace {
    fn take(&self, frame: TraceFrame) {
        let verdict = match frame.verdict {
            Verdict::Sent => trace::Verdict::Sent,
            Verdict::Good => trace::Verdict::Good,
            Verdict::Bad(why) => trace::Verdict::Bad(why),
            Verdict::Silence => trace::Verdict::Silence,
            Verdict::Unasked => trace::Verdict::Unasked,
            Verdict::Overheard => trace::Verdict::Overheard,
        };
        let at = TraceTime::from_unix_us(self.clock.unix_us(frame.at));
        self.recorder.record(Entry::Frame { at, line: self.line.clone(), verdict, bytes: frame.bytes }, frame.fp);
    }
}

/// Feeds the watchdog while every task moves, names the one that does not, and counts the outbox on the way.
async fn watch_over(heart: Heart, store: Handle, beat: Beat, outbox: watch::Sender<OutboxView>) {
    let counting = async {
        let mut every = tokio::time::interval(COUNT);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let Ok(counts) = store.run(|store| OutboxStore::counts(store)).await else { return };
            beat.tick();
            if let Ok(counts) = counts {
                let view =
                    OutboxView { pending: counts.pending, oldest_at: counts.oldest_at, set_aside: counts.set_aside };
                outbox.send_replace(view);
            }
        }
    };
    let watching = async {
        let mut every = tokio::time::interval(WATCHDOG);
        loop {
            every.tick().await;
            let stuck = heart.stuck();
            if stuck.is_empty() {
                notify(&[sd_notify::NotifyState::Watchdog]);
            } else {
                error!(tasks = stuck.join(", "), "hang; the watchdog is not fed");
            }
        }
    };
    tokio::join!(counting, watching);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        warn!(%why, "the service manager could not be told");
    }
}

async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => info!("SIGTERM"),
        _ = interrupt.recv() => info!("SIGINT"),
    }
    Ok(())
}
