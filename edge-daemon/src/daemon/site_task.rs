//! The one task that owns the core. It never waits for a disk, a wire or the cloud: each has its bounded channel.

use super::alarms::Alarm;
use super::clock::Clock;
use super::disk::{Level, Space, Watched};
use super::door::Act;
use super::errands::{Finished, Rules};
use super::heart::Beat;
use super::observe;
use super::views::{self, Facts};
use crate::store::thread::{Answer, Handle};
use crate::store::{FILE_NAME, Reader, Store, StoreFault};
use crate::trace::Recorder;
use cloud_sync::mqtt::Told;
use cloud_sync::wire::state::{LiveReading, OrderStep, OutboxView};
use forecourt::command::{Ask, Command, Reply};
use forecourt::errand::{Asked, Done};
use forecourt::ids::{CommandId, FuellingPointId};
use forecourt::ledger::{Ticket, Write};
use forecourt::pump::{PumpCommand, PumpEvent, State};
use forecourt::record::AlarmState;
use forecourt::site::{Output, Site};
use forecourt::time::{ClockQuality, Instant, UtcTime};
use pump_drivers::line::LineStatistics;
use pump_drivers::port::LineReport;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;
use tracing::{debug, error, info, warn};

/// How often the station's own figures (outbox, disk) are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A configuration with which the daemon has worked for so long is kept.
const PROVEN: Duration = Duration::from_secs(60);
/// A record that waits so long for the platform is told (30 minutes, half of what card schemes allow for the final amount).
const STALLED_MS: i64 = 30 * 60 * 1_000;
/// How long fuel, frames and rows may still be on their way at the end.
const LAST_WRITES: Duration = Duration::from_secs(8);

/// The task's ends of the channels.
#[derive(Debug)]
pub struct Ends {
    /// Commits.
    pub store: Handle,
    /// What became of them.
    pub answers: mpsc::UnboundedReceiver<Answer>,
    /// From every line, with its place in [`Ends::lines`].
    pub reports: mpsc::Receiver<(usize, LineReport)>,
    /// To each line.
    pub lines: Vec<LineEnd>,
    /// From the cloud.
    pub commands: mpsc::Receiver<Command>,
    /// To the cloud; `None` where the station runs alone.
    pub cloud: Option<mpsc::Sender<Told>>,
    /// Whether the broker has us.
    pub uplink: watch::Receiver<bool>,
    /// Records on their way, counted once a second.
    pub outbox: watch::Receiver<OutboxView>,
    /// Who asks for a snapshot.
    pub observers: mpsc::Receiver<oneshot::Sender<serde_json::Value>>,
    /// True once the process shall end.
    pub shutdown: watch::Receiver<bool>,
    /// Told where commits fail because the store is damaged.
    pub damage: watch::Sender<Option<StoreFault>>,
    /// Gives way when space is short.
    pub recorder: Recorder,
    /// Alarms of certificates and consumers.
    pub alarms: mpsc::Receiver<Alarm>,
    /// Of the office.
    pub office: OfficeEnds,
}

/// To and from those who act at the station, and those who do the core's errands.
#[derive(Debug)]
pub struct OfficeEnds {
    /// From the door.
    pub acts: mpsc::Receiver<Act>,
    /// Errands of the core.
    pub asked: mpsc::Sender<Asked>,
    /// Errands that are done.
    pub finished: mpsc::Receiver<Finished>,
    /// True once the daemon has worked well for a while.
    pub proven: watch::Sender<bool>,
    /// True once it shall end, to be started again with another configuration.
    pub restart: watch::Sender<bool>,
}

/// One line, seen from here.
#[derive(Debug)]
pub struct LineEnd {
    /// Its name.
    pub name: String,
    /// Its fuelling points.
    pub points: Vec<FuellingPointId>,
    /// Words for its dispensers.
    pub commands: mpsc::Sender<(FuellingPointId, PumpCommand)>,
    /// What it last said of its port.
    pub state: observe::LineState,
    /// Its counts.
    pub statistics: watch::Receiver<LineStatistics>,
}

/// The core and all it talks to.
pub struct SiteTask {
    site: Site,
    facts: Facts,
    clock: Clock,
    ledger: Reader,
    ends: Ends,
    line_of: BTreeMap<FuellingPointId, usize>,
    /// Commits that the store's queue had no room for, in order.
    backlog: VecDeque<(Ticket, Vec<Write>)>,
    under_way: usize,
    beat: Beat,
    disk: Watched,
    /// When each alarm of the disk was raised.
    low_since: Option<UtcTime>,
    full_since: Option<UtcTime>,
    /// Since when records are set aside.
    aside_since: Option<UtcTime>,
    /// Since when records have waited too long for the platform.
    stalled_since: Option<UtcTime>,
    /// Since when a configuration waits for a start of the daemon.
    restart_since: Option<UtcTime>,
    /// Who waits at the door for an answer, and whether the platform may wait for it too.
    waiting: BTreeMap<CommandId, (oneshot::Sender<Reply>, bool)>,
}

impl SiteTask {
    /// Ready to run.
    #[must_use]
    pub fn new(site: Site, facts: Facts, clock: Clock, ledger: Reader, ends: Ends, beat: Beat, disk: Watched) -> Self {
        let points = ends.lines.iter().enumerate();
        let line_of = points.flat_map(|(at, line)| line.points.iter().map(move |fp| (*fp, at))).collect();
        let backlog = VecDeque::new();
        Self {
            site,
            facts,
            clock,
            ledger,
            ends,
            line_of,
            backlog,
            under_way: 0,
            beat,
            disk,
            low_since: None,
            full_since: None,
            aside_since: None,
            stalled_since: None,
            restart_since: None,
            waiting: BTreeMap::new(),
        }
    }

    /// Runs until the shutdown, and then until nothing is left to be stored.
    pub async fn run(mut self) {
        // Known before the first order is taken.
        self.watch_disk();
        let mut look = time::interval(LOOK);
        look.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        self.carry_out();
        loop {
            let due = self.site.poll_timeout().map(|due| self.clock.tokio(due));
            let deadline = due.unwrap_or_else(|| time::Instant::now() + LOOK);
            let has_room = self.site.has_room();
            tokio::select! {
                biased;
                Ok(()) = self.ends.shutdown.changed() => break,
                Some(answer) = self.ends.answers.recv() => self.on_answer(answer),
                Some((line, report)) = self.ends.reports.recv() => self.on_report(line, report),
                () = time::sleep_until(deadline) => {
                    let now = self.clock.now();
                    self.site.handle_timeout(now);
                }
                Some(asker) = self.ends.observers.recv() => self.show(asker),
                Ok(()) = self.ends.uplink.changed() => {
                    let online = *self.ends.uplink.borrow_and_update();
                    self.site.handle_uplink(online);
                    // The cloud asks for nothing when it comes back: it is told.
                    self.publish_station();
                }
                Some(finished) = self.ends.office.finished.recv() => self.on_finished(finished),
                Some(act) = self.ends.office.acts.recv(), if has_room => self.on_act(act),
                Some(alarm) = self.ends.alarms.recv() => {
                    let Alarm { kind, place, state, since, text } = alarm;
                    self.site.handle_alarm(kind, &place, state, since, text, self.clock.now());
                }
                Some(command) = self.ends.commands.recv(), if has_room => {
                    debug!(command = %command.id, kind = command.kind, "command");
                    let now = self.clock.now();
                    self.site.handle_command(command, &self.ledger, now);
                }
                _ = look.tick() => self.look(),
            }
            self.carry_out();
        }
        self.finish().await;
    }

    /// No new release; rows under way reach the disk.
    async fn finish(&mut self) {
        info!("stopping: nothing new is released, what is open is booked by the next run");
        self.alarm_restart(false);
        self.site.handle_stopping();
        self.facts.stopping = true;
        self.publish_station();
        let end = time::Instant::now() + LAST_WRITES;
        self.carry_out();
        while self.under_way > 0 {
            match time::timeout_at(end, self.ends.answers.recv()).await {
                Ok(Some(answer)) => {
                    self.on_answer(answer);
                    self.carry_out();
                }
                Ok(None) => break,
                Err(_) => {
                    error!(
                        commits = self.under_way,
                        "the store did not finish in time; the pumps still hold these figures"
                    );
                    break;
                }
            }
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        let now = self.clock.now();
        match answer {
            Answer::Stored(ticket) => {
                self.under_way = self.under_way.saturating_sub(1);
                self.site.handle_stored(ticket, now);
                self.tell(Told::OutboxChanged);
            }
            Answer::Failing(fault) => {
                error!(%fault, "sales cannot be stored; nothing new is released until they can");
                if matches!(fault, StoreFault::Damaged { .. }) {
                    self.ends.damage.send_replace(Some(fault));
                }
                self.site.handle_store_failing(true, now);
            }
            Answer::Recovered => {
                info!("sales can be stored again");
                self.site.handle_store_failing(false, now);
            }
        }
    }

    fn on_report(&mut self, line: usize, report: LineReport) {
        match report {
            LineReport::Pump(from) => {
                log_pump(&from);
                let now = self.clock.now();
                self.site.handle_pump(from, now);
            }
            LineReport::Link { up, detail } => {
                let Some(line) = self.ends.lines.get_mut(line) else { return };
                if up {
                    info!(line = line.name, detail, "port open");
                } else {
                    warn!(line = line.name, detail, "port not usable; trying again");
                }
                line.state.up = up;
                line.state.detail = detail;
            }
        }
    }

    /// Does what the core wants done.
    fn carry_out(&mut self) {
        let now = self.clock.now();
        while let Some(output) = self.site.poll_output(now) {
            match output {
                Output::Store { ticket, writes } => {
                    self.under_way += 1;
                    self.backlog.push_back((ticket, writes));
                }
                Output::Pump { fp, command } => self.to_pump(fp, command),
                Output::Reply(reply) => {
                    info!(command = %reply.command_id, result = reply.outcome.word(), "reply");
                    self.answer(reply);
                }
                Output::Nozzle(nozzle) => {
                    if let Some(view) = views::nozzle(&self.site, nozzle, &self.facts, &now) {
                        self.tell(Told::Nozzle(Box::new(view)));
                    }
                }
                Output::Step(step) => {
                    info!(order = %step.order_id, nozzle = %step.nozzle, state = step.state, "order");
                    self.tell(Told::Progress(Box::new(OrderStep {
                        order_id: step.order_id,
                        nozzle: step.nozzle,
                        state: step.state.into(),
                        since: step.since,
                        lift_deadline: step.lift_deadline,
                    })));
                }
                Output::Errand(asked) => self.send_errand(*asked),
                Output::Live(live) => {
                    let currency = self.site.layout().currency;
                    self.tell(Told::Live(Box::new(LiveReading {
                        nozzle: live.nozzle,
                        order_id: live.order_id,
                        volume_ml: live.volume,
                        amount_minor: live.amount,
                        currency,
                        at: live.at,
                    })));
                }
            }
        }
        while let Some((ticket, writes)) = self.backlog.pop_front() {
            if let Err(writes) = self.ends.store.try_commit(ticket, writes) {
                self.backlog.push_front((ticket, writes));
                break;
            }
        }
    }

    fn to_pump(&self, fp: FuellingPointId, command: PumpCommand) {
        let Some(line) = self.line_of.get(&fp).and_then(|at| self.ends.lines.get(*at)) else { return };
        debug!(%fp, line = line.name, ?command, "to the dispenser");
        if let Err(refused) = line.commands.try_send((fp, command)) {
            // The line's task hangs or has ended; the watchdog sees to that.
            error!(%fp, line = line.name, %refused, "a word for a dispenser was not taken");
        }
    }

    fn tell(&self, told: Told) {
        let Some(cloud) = &self.ends.cloud else { return };
        if cloud.try_send(told).is_err() {
            warn!("the cloud task does not keep up; it catches up from the store");
        }
    }

    fn publish_station(&self) {
        self.tell(Told::Station(Box::new(views::station(&self.site, &self.facts, &self.clock.now()))));
    }

    fn look(&mut self) {
        self.beat.tick();
        self.waiting.retain(|_, (visitor, _)| !visitor.is_closed());
        if self.clock.mono() >= Instant::START + PROVEN {
            self.ends.office.proven.send_if_modified(|proven| !std::mem::replace(proven, true));
        }
        if self.restart_since.is_some() && is_service() && self.is_quiet() {
            self.ends.office.restart.send_replace(true);
        }
        self.watch_disk();
        self.facts.outbox = *self.ends.outbox.borrow();
        self.tell_of_records_set_aside();
        self.tell_of_records_that_wait();
        self.publish_station();
    }

    /// A platform that hears nothing holds its customers' money: people at the station must know.
    fn tell_of_records_that_wait(&mut self) {
        let (now, outbox) = (self.clock.now(), self.facts.outbox);
        if self.ends.cloud.is_none() || now.clock == ClockQuality::Unset {
            return;
        }
        let late = outbox.oldest_at.filter(|oldest| now.utc.ms_since(*oldest) >= STALLED_MS);
        if let Some((state, since)) = turned(&mut self.stalled_since, late.is_some(), now.utc) {
            let text = match late {
                Some(oldest) => format!(
                    "{} records wait for the platform, the oldest since {oldest}: look at the uplink (edgectl status)",
                    outbox.pending
                ),
                None => "the platform acknowledges records again".into(),
            };
            warn!(text, "outbox");
            self.site.handle_alarm("outbox_stalled", "outbox", state, since, text, now);
        }
    }

    /// One alarm for all of them: a platform that refuses everything would refuse each alarm too.
    fn tell_of_records_set_aside(&mut self) {
        let (now, count) = (self.clock.now(), self.facts.outbox.set_aside);
        if let Some((state, since)) = turned(&mut self.aside_since, count > 0, now.utc) {
            let text = match state {
                AlarmState::Raised => format!(
                    "{count} of the station's records could not be delivered: edgectl outbox names them and why; once the platform can book \
                     them, it asks for them with fuel.resend.v1 and acknowledges them"
                ),
                AlarmState::Cleared => "no record is set aside any more".into(),
            };
            warn!(text, "outbox");
            self.site.handle_alarm("record_set_aside", "outbox", state, since, text, now);
        }
    }

    /// Looks at the space that is left, and lets give way what has to.
    fn watch_disk(&mut self) {
        let Some(space) = Space::on(&self.disk.directory) else { return };
        // A reserve that was given free comes back first: new orders must not live on it.
        let space = space.less(Store::reserve_missing(&self.disk.directory.join(FILE_NAME)));
        self.facts.disk_free_mb = space.free_mb();
        let Some((before, level)) = self.disk.guard.look(space) else { return };
        let now = self.clock.now();
        let figures = format!("{} % used, {} MB free", space.used_percent(), space.free_mb());
        if level > before {
            warn!(?level, figures, directory = %self.disk.directory.display(), "space runs short");
        } else {
            info!(?level, figures, "there is more space again");
        }
        self.ends.recorder.give_way(level >= Level::Tight);
        let store = &self.ends.store;
        if level < Level::Tight {
            store.try_run(|store| store.take_in_reserve());
        }
        if let Some((state, since)) = turned(&mut self.low_since, level >= Level::Low, now.utc) {
            let text = format!("the disk of the store fills up ({figures}): free space or get a larger one");
            self.site.handle_alarm("disk_low", "store", state, since, text, now);
        }
        if let Some((state, since)) = turned(&mut self.full_since, level >= Level::Full, now.utc) {
            self.site.handle_disk_full(state == AlarmState::Raised, now);
            let text = match state {
                AlarmState::Raised => {
                    format!("no new orders, as the disk of the store is full ({figures}): free space")
                }
                AlarmState::Cleared => format!("orders are taken again, the disk has room ({figures})"),
            };
            self.site.handle_alarm("disk_full", "store", state, since, text, now);
        }
    }

    /// Somebody at the station acts.
    fn on_act(&mut self, act: Act) {
        let now = self.clock.now();
        match act {
            Act::Audit(audit) => {
                warn!(who = audit.who, did = audit.did, result = audit.new, "at the station");
                self.site.handle_audit(audit, now);
            }
            Act::Command { command, who, answer } => {
                info!(command = %command.id, kind = command.kind, who, "at the station");
                // What was signed by the platform may have come over both ways.
                let of_platform = matches!(command.ask, Ask::Authorise(_));
                self.waiting.insert(command.id.clone(), (answer, of_platform));
                self.site.handle_local(*command, &who, &self.ledger, now);
            }
        }
    }

    fn answer(&mut self, reply: Reply) {
        match self.waiting.remove(&reply.command_id) {
            Some((visitor, of_platform)) => {
                if of_platform {
                    self.tell(Told::Reply(Box::new(reply.clone())));
                }
                // Gone, where it took too long.
                let _gone = visitor.send(reply);
            }
            None => self.tell(Told::Reply(Box::new(reply))),
        }
    }

    fn send_errand(&mut self, asked: Asked) {
        if let Err(refused) = self.ends.office.asked.try_send(asked) {
            let (mpsc::error::TrySendError::Full(asked) | mpsc::error::TrySendError::Closed(asked)) = refused;
            let problem = forecourt::errand::ConfigProblem {
                at: String::new(),
                what: "too much is asked at once: send it again later".into(),
                expected: String::new(),
            };
            let done = Done::Refused { problems: vec![problem] };
            self.site.handle_errand_done(asked.id, done, Vec::new(), self.clock.now());
        }
    }

    fn on_finished(&mut self, Finished { id, done, changed, rules }: Finished) {
        let now = self.clock.now();
        if let Some(rules) = rules {
            let Rules { layout, plan, disk, restart } = *rules;
            self.site.apply_rules(&layout, plan, now);
            self.disk.guard.set_limits(disk);
            self.alarm_restart(restart);
        }
        self.site.handle_errand_done(id, done, changed, now);
    }

    fn alarm_restart(&mut self, wanted: bool) {
        let now = self.clock.now();
        if let Some((state, since)) = turned(&mut self.restart_since, wanted, now.utc) {
            let text = match state {
                AlarmState::Raised if is_service() => "a new configuration waits: restarting once nobody fuels",
                AlarmState::Raised => "a new configuration waits: restart edge-daemon when nobody fuels",
                AlarmState::Cleared => "no configuration waits for a start",
            };
            warn!(text, "configuration");
            self.site.handle_alarm("restart_needed", "station", state, since, text.into(), now);
        }
    }

    /// Nobody fuels, is about to, or waits for it.
    fn is_quiet(&self) -> bool {
        let at_rest = |state| matches!(state, State::Idle | State::Closed | State::Inoperative);
        self.under_way == 0
            && self.site.orders().next().is_none()
            && self.site.fuelling_points().all(|point| point.running().is_none() && at_rest(point.state()))
    }

    fn show(&self, asker: oneshot::Sender<serde_json::Value>) {
        let line = |line: &LineEnd| observe::line(&line.name, &line.state, &line.statistics.borrow());
        let lines: Vec<_> = self.ends.lines.iter().map(line).collect();
        let now = self.clock.now();
        let snapshot = observe::snapshot(&self.site, &self.facts, lines, *self.ends.uplink.borrow(), &now);
        // Whoever asked may have gone away.
        let _gone = asker.send(snapshot);
    }
}

/// Whether something starts the daemon again when it ends (systemd.exec(5)).
fn is_service() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

/// Whether an alarm begins or ends, and since when it stands.
fn turned(since: &mut Option<UtcTime>, now_so: bool, now: UtcTime) -> Option<(AlarmState, UtcTime)> {
    match (*since, now_so) {
        (None, true) => Some((AlarmState::Raised, *since.insert(now))),
        (Some(began), false) => {
            *since = None;
            Some((AlarmState::Cleared, began))
        }
        _ => None,
    }
}

fn log_pump(from: &forecourt::pump::FromPump) {
    let fp = from.fp;
    match &from.event {
        PumpEvent::Running { .. } | PumpEvent::RunningAmount { .. } => {}
        PumpEvent::State { state, lifted } => {
            info!(%fp, state = state.word(), nozzle = ?lifted.map(|n| n.0), "dispenser")
        }
        PumpEvent::Lost => warn!(%fp, "the dispenser does not answer: check its power and the line"),
        PumpEvent::Alarm { code, text, .. } => warn!(%fp, code, text, "the dispenser reports a fault"),
        PumpEvent::Refused { release, why } => warn!(%fp, %release, ?why, "not released"),
        event => debug!(%fp, ?event, "dispenser"),
    }
}
