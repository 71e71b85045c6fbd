//! The controller: the daemon's real parts with a shell of its own in place of tasks, channels and threads.
//!
//! It does what `edge_daemon::daemon` does around the same cores, in one thread: the site's outputs are dispatched, commits queue for the
//! store's turn, the outbox's questions are answered in their turn. What leaves the machine comes out as an [`Effect`].

use super::clock;
use super::log::Log;
use super::station::Station;
use crate::wire::Wire;
use anyhow::Context as _;
use cloud_sync::link::{DeliveryId, Input, Link, Message, Output as LinkOutput};
use cloud_sync::outbox;
use cloud_sync::outbox::ask::{self, StoreAsk};
use cloud_sync::outbox::store::OutboxStore as _;
use cloud_sync::wire::jws::KeySet;
use cloud_sync::wire::state::{LiveReading, OrderStep, OutboxView};
use edge_daemon::daemon::views::{self, Facts};
use edge_daemon::daemon::wiring;
use edge_daemon::store::thread::{Answer, Clerk, PAUSE, QUEUE};
use edge_daemon::store::{FILE_NAME, Reader, Store};
use forecourt::command::Command;
use forecourt::ids::{FuellingPointId, NozzleId, OrderId, ReleaseId, UuidMaker};
use forecourt::ledger::{Ticket, Write};
use forecourt::pump::{PumpCommand, PumpEvent, Token};
use forecourt::record::Record;
use forecourt::site::{Output, Site};
use forecourt::time::{Instant, Now};
use pump_drivers::line::{Line, Verdict};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

/// Commands that may wait for the site, as in the daemon.
const COMMANDS: usize = 128;
/// An order in review is given up after this, so that it ends within the day.
const REVIEW: Duration = Duration::from_secs(900);

/// The present, for one step: both clocks of the controller, the day's own time, and the log.
pub struct Step<'a> {
    /// The day's time.
    pub at: Instant,
    /// The controller's clocks.
    pub now: Now,
    /// Where everything is noted.
    pub log: &'a mut Log,
}

/// What leaves the machine, or must happen to it later.
#[derive(Debug)]
pub enum Effect {
    /// A message for the broker.
    Publish(Message),
    /// A command is acknowledged to the broker.
    Acknowledge(DeliveryId),
    /// This line was told something.
    Wake(usize),
    /// The store shall have its turn: after a commit's time, or after the pause of a store that fails.
    StoreTurn {
        /// It failed before.
        paused: bool,
    },
}

enum Job {
    Commit(Ticket, Vec<Write>),
    Ask(StoreAsk),
}

/// What the controller said and wrote, counted over all of its runs. For the checks.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// Releases by order, as stored.
    pub order_of: BTreeMap<ReleaseId, OrderId>,
    /// AUTHORISE commands by fuelling point.
    pub authorised: BTreeMap<FuellingPointId, u64>,
    /// Releases seen in force, by order.
    pub in_force: BTreeMap<OrderId, BTreeSet<ReleaseId>>,
    /// AUTHORISE commands by release.
    pub commands: BTreeMap<ReleaseId, u32>,
    /// What must never be, seen on the way.
    pub wrong: Option<String>,
    /// Commits of the store.
    pub commits: u64,
    /// Records written.
    pub records: u64,
    /// Longest queue of jobs for the store.
    pub longest_queue: usize,
}

/// One run of the daemon, from power to power cut.
pub struct Controller {
    /// Number of the run.
    pub boot: u32,
    started: Instant,
    site: Site,
    lines: Vec<Line>,
    line_of: BTreeMap<FuellingPointId, usize>,
    store: Store,
    ledger: Reader,
    clerk: Clerk,
    jobs: VecDeque<Job>,
    backlog: VecDeque<(Ticket, Vec<Write>)>,
    turn_wanted: bool,
    commands: VecDeque<Command>,
    link: Link,
    facts: Facts,
    effects: VecDeque<Effect>,
    site_due: Option<Instant>,
    link_due: Option<Instant>,
    /// The last commit that the core asked for, and what each dispenser was last told to be stored.
    last_ticket: Option<Ticket>,
    told_stored: BTreeMap<FuellingPointId, Token>,
}

impl Controller {
    /// Starts the daemon on what lies in a directory. `seed` is fresh for each start.
    ///
    /// # Errors
    /// What keeps the real one from starting.
    pub fn start(
        boot: u32,
        station: &Station,
        directory: &Path,
        seed: [u8; 32],
        at: Instant,
        now: Now,
    ) -> anyhow::Result<Self> {
        let wired = wiring::lines(&station.config).map_err(|problems| anyhow::anyhow!("{}", problems.join("; ")))?;
        let mut layout = wiring::layout(&station.config, &wired);
        layout.timers.review = REVIEW;
        let mut ids = UuidMaker::new(seed);
        let boot_id = ids.make(now.utc);
        let path = directory.join(FILE_NAME);
        let id = station.config.station.id.clone();
        let store = Store::open(&path, id.clone(), boot_id).context("open the store")?.with_clock(clock::wall);
        let memory = store.memory().context("read what is open")?;
        let ledger = Store::reader(&path).context("open the store for reading")?;
        let (pending, set_aside) = ledger.outbox_counts()?;
        let facts = Facts {
            boot: boot_id,
            since: now.utc,
            stopping: false,
            outbox: OutboxView { pending, oldest_at: None, set_aside },
            disk_free_mb: 1_000,
            last_sales: BTreeMap::new(),
        };
        let site = Site::new(layout, memory, UuidMaker::new(ids.fork()), now);
        let cloud = station.config.cloud.as_ref().context("the simulated station has a cloud")?;
        let keys = std::fs::read(&cloud.jwks_file).context("read the platform's keys")?;
        let settings = cloud_sync::link::Settings {
            station: id,
            boot: boot_id,
            prefix: cloud.topic_prefix.clone(),
            keys: KeySet::from_jwks(&keys)?,
            outbox: outbox::Settings::default(),
            road: None,
            commands: COMMANDS,
        };
        let link = Link::new(settings, views::station(&site, &facts, &now), UuidMaker::new(ids.fork()), now.mono);
        let mut lines = Vec::new();
        let mut line_of = BTreeMap::new();
        for (index, wired) in wired.into_iter().enumerate() {
            line_of.extend(wired.config.dispensers.iter().map(|head| (head.fuelling_point, index)));
            lines.push(wired.line);
        }
        Ok(Self {
            boot,
            started: at,
            site,
            lines,
            line_of,
            store,
            ledger,
            clerk: Clerk::default(),
            jobs: VecDeque::new(),
            backlog: VecDeque::new(),
            turn_wanted: false,
            commands: VecDeque::new(),
            link,
            facts,
            effects: VecDeque::new(),
            site_due: None,
            link_due: None,
            last_ticket: None,
            told_stored: BTreeMap::new(),
        })
    }

    /// The monotonic clock of this run at a time of the day.
    #[must_use]
    pub fn local(&self, at: Instant) -> Instant {
        Instant::START + at.since(self.started)
    }

    fn day(&self, local: Instant) -> Instant {
        self.started + local.since(Instant::START)
    }

    /// The core.
    #[must_use]
    pub const fn site(&self) -> &Site {
        &self.site
    }

    /// The books, to be read.
    #[must_use]
    pub const fn ledger(&self) -> &Reader {
        &self.ledger
    }

    /// The books, for a fault to be put in.
    pub const fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Jobs that wait for the store, and commits that wait for a place there.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        (self.jobs.len() + self.clerk.waiting(), self.backlog.len())
    }

    /// The message that the broker sends when we are gone.
    pub fn will(&mut self, step: &Step<'_>) -> Message {
        self.link.will(step.now.utc)
    }

    /// The topic on which commands come.
    #[must_use]
    pub fn command_topic(&self) -> String {
        self.link.command_topic()
    }

    /// When the core or the link next do something by themselves, in the day's time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.site_due, self.link_due].into_iter().flatten().min()
    }

    /// Lets what is due happen.
    pub fn handle_timeout(&mut self, step: &mut Step<'_>, witness: &mut Witness) {
        if self.site_due.is_some_and(|due| due <= step.at) {
            self.site.handle_timeout(step.now);
        }
        if self.link_due.is_some_and(|due| due <= step.at) {
            self.link.handle_timeout(step.now);
        }
        self.settle(step, witness);
    }

    /// Something happened to the link.
    pub fn handle_link(&mut self, input: Input, step: &mut Step<'_>, witness: &mut Witness) {
        match &input {
            Input::Connected => self.uplink(true, step),
            Input::Disconnected => self.uplink(false, step),
            _ => {}
        }
        self.link.handle(input, step.now);
        self.settle(step, witness);
    }

    fn uplink(&mut self, online: bool, step: &Step<'_>) {
        self.site.handle_uplink(online);
        self.publish_station(step);
    }

    fn publish_station(&mut self, step: &Step<'_>) {
        let view = views::station(&self.site, &self.facts, &step.now);
        self.link.handle(Input::Station(Box::new(view)), step.now);
    }

    /// The look at the station's own figures that the daemon takes every second.
    pub fn look(&mut self, step: &mut Step<'_>, witness: &mut Witness) {
        if let Ok(counts) = self.store.counts() {
            let (pending, oldest_at, set_aside) = (counts.pending, counts.oldest_at, counts.set_aside);
            self.facts.outbox = OutboxView { pending, oldest_at, set_aside };
        }
        self.publish_station(step);
        self.settle(step, witness);
    }

    /// The port of a line was opened or is gone.
    pub fn handle_port(&mut self, line: usize, up: bool, step: &mut Step<'_>, witness: &mut Witness) {
        let now = self.local(step.at);
        self.lines[line].handle_link(up, now);
        self.effects.push_back(Effect::Wake(line));
        self.drain_line(line, step, witness);
    }

    /// Bytes and deadlines between a line and its wire, until neither has anything to do now. Gives the line's next deadline.
    pub fn run_line(
        &mut self,
        index: usize,
        wire: &mut Wire,
        plugged: bool,
        step: &mut Step<'_>,
        witness: &mut Witness,
    ) -> Option<Instant> {
        let now = self.local(step.at);
        loop {
            let mut moved = false;
            if let Some(bytes) = wire.poll_bytes_to_controller(step.at).filter(|_| plugged) {
                self.lines[index].handle_bytes(&bytes, now);
                moved = true;
            }
            if self.lines[index].poll_timeout().is_some_and(|(due, _)| due <= now) {
                self.lines[index].handle_timeout(now);
            }
            if let Some(bytes) = self.lines[index].poll_transmit(now) {
                wire.handle_bytes_from_controller(&bytes, step.at);
                moved = true;
            }
            if !moved {
                break;
            }
            self.drain_line(index, step, witness);
        }
        self.drain_line(index, step, witness);
        self.lines[index].poll_timeout().map(|(due, _)| self.day(due))
    }

    /// Whether a line does nothing but ask dispensers at rest how they are.
    #[must_use]
    pub fn is_line_at_rest(&self, line: usize) -> bool {
        self.lines[line].is_at_rest()
    }

    fn drain_line(&mut self, index: usize, step: &mut Step<'_>, witness: &mut Witness) {
        while let Some(frame) = self.lines[index].poll_trace() {
            let mark = match &frame.verdict {
                Verdict::Sent => '>',
                Verdict::Good => '<',
                Verdict::Bad(_) => '!',
                Verdict::Silence => '.',
                Verdict::Unasked => '?',
                Verdict::Overheard => '}',
            };
            step.log.frame(step.at, index, mark, &frame.bytes);
        }
        let mut heard = false;
        while let Some(from) = self.lines[index].poll_event() {
            heard = true;
            if !matches!(from.event, PumpEvent::Running { .. } | PumpEvent::RunningAmount { .. }) {
                step.log.note(step.at, format_args!("fp {} {:?}", from.fp, from.event));
            }
            if let PumpEvent::Released { release } = from.event
                && let Some(order) = witness.order_of.get(&release)
            {
                let releases = witness.in_force.entry(order.clone()).or_default();
                releases.insert(release);
                if releases.len() > 1 {
                    let what = format!("order {order} was in force under the releases {releases:?}");
                    witness.wrong.get_or_insert(what);
                }
            }
            let ended = match from.event {
                PumpEvent::EndSeen { token, .. } | PumpEvent::Ended { token, .. } => Some((from.fp, token)),
                _ => None,
            };
            let before = self.last_ticket;
            self.site.handle_pump(from, step.now);
            self.carry_out(step, witness);
            // The commit that it asked for has not even reached the store's queue.
            if let Some((fp, token)) = ended.filter(|_| self.last_ticket != before)
                && self.told_stored.get(&fp).is_some_and(|told| *told >= token)
            {
                witness.wrong.get_or_insert(format!("fp {fp} may forget {token:?} before its sale is durable"));
            }
        }
        if heard {
            self.settle(step, witness);
        }
    }

    /// Carries everything on until nothing moves.
    pub fn settle(&mut self, step: &mut Step<'_>, witness: &mut Witness) {
        loop {
            let mut moved = self.carry_out(step, witness);
            while self.site.has_room()
                && let Some(command) = self.commands.pop_front()
            {
                step.log.note(step.at, format_args!("command {} {}", command.id, command.kind));
                self.site.handle_command(command, &self.ledger, step.now);
                moved = true;
            }
            moved |= self.perform(step);
            if !moved {
                break;
            }
        }
        let (queued, backlog) = self.queued();
        witness.longest_queue = witness.longest_queue.max(queued + backlog);
        if !self.turn_wanted && (!self.jobs.is_empty() || self.clerk.is_failing()) {
            self.turn_wanted = true;
            let paused = self.jobs.is_empty();
            self.effects.push_back(Effect::StoreTurn { paused });
        }
        self.site_due = self.site.poll_timeout().map(|due| self.day(due));
        self.link_due = self.link.poll_timeout().map(|due| self.day(due));
    }

    /// Does what the core wants done. True if that was anything.
    fn carry_out(&mut self, step: &mut Step<'_>, witness: &mut Witness) -> bool {
        let mut moved = false;
        while let Some(output) = self.site.poll_output(step.now) {
            moved = true;
            match output {
                Output::Store { ticket, writes } => {
                    note_writes(&writes, step, witness);
                    self.last_ticket = Some(ticket);
                    self.backlog.push_back((ticket, writes));
                }
                Output::Pump { fp, command } => self.tell_pump(fp, command, step, witness),
                Output::Reply(reply) => {
                    step.log.note(
                        step.at,
                        format_args!("reply {} {} repeated {}", reply.command_id, reply.outcome.word(), reply.repeated),
                    );
                    self.link.handle(Input::Reply(Box::new(reply)), step.now);
                }
                Output::Nozzle(nozzle) => self.publish_nozzle(nozzle, step),
                Output::Step(taken) => {
                    let step_of_order = OrderStep {
                        order_id: taken.order_id,
                        nozzle: taken.nozzle,
                        state: taken.state.into(),
                        since: taken.since,
                        lift_deadline: taken.lift_deadline,
                    };
                    self.link.handle(Input::Progress(Box::new(step_of_order)), step.now);
                }
                Output::Live(live) => {
                    let reading = LiveReading {
                        nozzle: live.nozzle,
                        order_id: live.order_id,
                        volume_ml: live.volume,
                        amount_minor: live.amount,
                        currency: self.site.layout().currency,
                        at: live.at,
                    };
                    self.link.handle(Input::Live(Box::new(reading)), step.now);
                }
            }
        }
        while self.jobs.len() < QUEUE
            && let Some((ticket, writes)) = self.backlog.pop_front()
        {
            self.jobs.push_back(Job::Commit(ticket, writes));
        }
        moved
    }

    fn publish_nozzle(&mut self, nozzle: NozzleId, step: &Step<'_>) {
        if let Some(view) = views::nozzle(&self.site, nozzle, &self.facts, &step.now) {
            self.link.handle(Input::Nozzle(Box::new(view)), step.now);
        }
    }

    fn tell_pump(&mut self, fp: FuellingPointId, command: PumpCommand, step: &mut Step<'_>, witness: &mut Witness) {
        let Some(line) = self.line_of.get(&fp).copied() else { return };
        step.log.note(step.at, format_args!("fp {fp} told {command:?}"));
        if let PumpCommand::Authorise(release) = &command {
            *witness.authorised.entry(fp).or_default() += 1;
            let times = witness.commands.entry(release.release).or_default();
            *times += 1;
            if *times > 1 {
                let what = format!("release {} was sent to a driver {times} times", release.release);
                witness.wrong.get_or_insert(what);
            }
        }
        if let PumpCommand::Stored(token) = command {
            self.told_stored.insert(fp, token);
        }
        let now = self.local(step.at);
        self.lines[line].handle_command(fp, command, now);
        self.effects.push_back(Effect::Wake(line));
    }

    /// Does what the link wants done, as `cloud_sync::mqtt` does. True if that was anything.
    fn perform(&mut self, step: &mut Step<'_>) -> bool {
        let mut moved = false;
        while let Some(output) = self.link.poll_output(step.now) {
            moved = true;
            match output {
                LinkOutput::Ask(ask) => self.jobs.push_back(Job::Ask(ask)),
                LinkOutput::Command(command) if self.commands.len() < COMMANDS => self.commands.push_back(*command),
                LinkOutput::Command(command) => self.link.handle(Input::SiteFull(command.id), step.now),
                LinkOutput::Notice(notice) => step.log.note(step.at, format_args!("notice {notice:?}")),
                LinkOutput::Publish(message) => self.effects.push_back(Effect::Publish(message)),
                LinkOutput::Acknowledge(delivery) => self.effects.push_back(Effect::Acknowledge(delivery)),
                // A simulated day has no such road.
                LinkOutput::Post(_) | LinkOutput::Disconnect => {}
            }
        }
        moved
    }

    /// The next thing that leaves the machine.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether the store's next turn writes anything, so that a power cut could fall into it.
    #[must_use]
    pub fn next_turn_writes(&self) -> bool {
        self.clerk.waiting() > 0
            || self.jobs.iter().any(|job| match job {
                Job::Commit(..) => true,
                Job::Ask(ask) => matches!(
                    ask,
                    StoreAsk::Acknowledge(_)
                        | StoreAsk::Refuse { .. }
                        | StoreAsk::SetAside(_)
                        | StoreAsk::Remember { .. }
                ),
            })
    }

    /// One turn of the store, as its thread takes it: a commit for all that waits, then one question.
    pub fn store_turn(&mut self, step: &mut Step<'_>, witness: &mut Witness) {
        let mut asked = None;
        while asked.is_none() && self.clerk.has_room() {
            match self.jobs.pop_front() {
                Some(Job::Commit(ticket, writes)) => self.clerk.take(ticket, writes),
                Some(Job::Ask(ask)) => asked = Some(ask),
                None => break,
            }
        }
        let mut answers = Vec::new();
        self.clerk.commit(&mut self.store, &mut |answer| answers.push(answer));
        let mut stored = false;
        for answer in answers {
            match answer {
                Answer::Stored(ticket) => {
                    witness.commits += 1;
                    stored = true;
                    self.site.handle_stored(ticket, step.now);
                }
                Answer::Failing(fault) => {
                    step.log.note(step.at, format_args!("store fails: {}", short(&fault)));
                    self.site.handle_store_failing(true, step.now);
                }
                Answer::Recovered => {
                    step.log.note(step.at, format_args!("store works again"));
                    self.site.handle_store_failing(false, step.now);
                }
            }
        }
        if stored {
            self.link.handle(Input::OutboxChanged, step.now);
        }
        if let Some(asked) = asked {
            let answer = ask::serve(&mut self.store, asked);
            self.link.handle(Input::Store(Box::new(answer)), step.now);
        }
        self.turn_wanted = false;
        self.settle(step, witness);
    }
}

/// Between two turns of a store that fails.
pub const STORE_PAUSE: Duration = PAUSE;

/// A fault without its path, which differs from run to run.
fn short(fault: &edge_daemon::store::StoreFault) -> &'static str {
    if fault.is_full() { "no space" } else { "unavailable" }
}

fn note_writes(writes: &[Write], step: &mut Step<'_>, witness: &mut Witness) {
    for write in writes {
        match write {
            Write::Release(release) => {
                if let Some(order) = &release.order_id {
                    witness.order_of.insert(release.release, order.clone());
                }
                step.log.note(step.at, format_args!("write {write:?}"));
            }
            Write::Record { record, .. } => {
                witness.records += 1;
                match &**record {
                    Record::Alarm(alarm) => step.log.note(step.at, format_args!("record {alarm:?}")),
                    record => step.log.note(step.at, format_args!("record {record:?}")),
                }
            }
            Write::Order(order) => step.log.note(
                step.at,
                format_args!("order {} {} nozzle {}", order.request.order_id, order.phase.word(), order.request.nozzle),
            ),
            Write::Reply { .. } | Write::ReleaseClosed(_) | Write::Totaliser { .. } | Write::Holds { .. } => {}
            Write::PriceSet(_) | Write::NozzlePrice { .. } | Write::CustomerDay(_) | Write::List(_) => {}
        }
    }
}
