//! The world of a day: everything that has a time, and the one loop that lets it happen.

use super::clock;
use super::controller::{Controller, Effect, STORE_PAUSE, Step, Witness};
use super::disk::{self, CutAt, Disk};
use super::faults::{Trouble, Weather};
use super::log::Log;
use super::post::{Post, Queued};
use super::station::{Speaks, Station};
use super::traffic::{self, Span, Visit};
use crate::customer::Customer;
use crate::dispenser::record::{Moment as DeviceMoment, Wrong};
use crate::platform::{AckBy, Desk, KeyPair, Moment, Terms, write_jwks};
use crate::prng::Prng;
use crate::wire::Wire;
use anyhow::Context as _;
use cloud_sync::link::{DeliveryId, Input, Message, PublishTag};
use cloud_sync::mqtt::backoff::Backoff;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::time::{ClockQuality, Instant, Now, UtcTime};
use forecourt::units::Volume;
use std::collections::{BTreeMap, VecDeque};

/// Midnight of the simulated day: 2026-11-21T00:00:00Z.
const MIDNIGHT_MS: i64 = 1_795_219_200_000;
/// Characters are handed to the line in bunches of at most this much time, as a UART's buffer does.
const UART_TIMEOUT: Duration = Duration::from_millis(10);
/// A line at which nobody stands and all is well is polled only so often.
const REST: Duration = Duration::from_millis(250);
/// How long a line is polled as ever after the last thing that happened there.
const UNREST: Duration = Duration::from_secs(5);
/// How often a customer looks at the display, and the controller at its own figures.
const GLANCE: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_secs(10);
/// After the end everything must be settled within this.
const DRAIN: Duration = Duration::from_secs(3 * 3_600);
/// Most events that may wait at once: more means that something feeds itself.
const MOST_EVENTS: usize = 20_000;
/// Most jobs that may ever wait for the store: its queue, the asks of a full link, and the site's open commits.
const MOST_JOBS: usize = 1_024;
/// Most commands in the broker's session.
const MOST_COMMANDS: usize = 5_000;

/// Something with a time.
#[derive(Debug)]
pub(super) enum Event {
    /// A visit begins: the car turns in.
    Arrive(usize),
    /// The next car at a fuelling point drives up.
    Next(FuellingPointId),
    /// A customer looks at the display.
    Glance(FuellingPointId),
    /// An order is called off.
    Cancel(usize),
    /// The store's turn.
    Store { boot: u32 },
    /// The controller looks at itself.
    Look { boot: u32 },
    /// The controller is switched on.
    Boot,
    /// The station tries to connect.
    Connect { boot: u32 },
    /// The station notices that the connection is gone.
    Lost { boot: u32, connection: u64 },
    /// A message of the station arrives at the broker.
    AtBroker { connection: u64, message: Message },
    /// The broker's acknowledgement arrives at the station.
    Puback { connection: u64, tag: PublishTag },
    /// The station's acknowledgement of a command arrives at the broker.
    Acknowledged { connection: u64, delivery: DeliveryId },
    /// A message of the station arrives at the platform.
    AtDesk { topic: String, payload: Vec<u8> },
    /// The keep-alive is over: the broker speaks the station's will, unless it is back.
    Will { topic: String, payload: Vec<u8> },
    /// A command of the platform arrives at the broker.
    Token { token: String, retained: bool },
    /// A command arrives at the station.
    AtStation { connection: u64, queued: Queued },
    /// Something goes wrong, or right again.
    Trouble(Trouble),
}

/// Where cars stop: one fuels, others wait.
#[derive(Debug, Default)]
struct Pitch {
    waiting: VecDeque<usize>,
    customer: Option<(usize, Customer)>,
}

/// A wire with what the world knows of it.
pub(super) struct Line {
    pub wire: Wire,
    /// The adapter is there.
    pub plugged: bool,
    due: Option<Instant>,
    /// Until then it is polled as ever.
    busy_until: Instant,
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it was seen.
    pub at: Instant,
    /// What.
    pub what: String,
}

/// A day's world.
pub struct World {
    pub(super) now: Instant,
    pub(super) from_hour: u64,
    pub(super) prng: Prng,
    pub(super) log: Log,
    agenda: BTreeMap<(Instant, u64), Event>,
    numbered: u64,
    pub(super) station: Station,
    pub(super) lines: Vec<Line>,
    pub(super) starts: BTreeMap<NozzleId, Volume>,
    visits: Vec<Visit>,
    pitches: BTreeMap<FuellingPointId, Pitch>,
    pub(super) controller: Option<Controller>,
    boots: u32,
    pub(super) disk: Disk,
    pub(super) witness: Witness,
    pub(super) post: Post,
    pub(super) desk: Desk,
    epoch: std::time::Instant,
    /// Deliveries of one connection arrive in order: the last of each way.
    up_last: Instant,
    down_last: Instant,
    desk_last: Instant,
    backoff: Backoff,
    accepted: Option<Instant>,
    pub(super) weather: Weather,
    /// How far the controller's wall clock is off, and what it thinks of itself.
    pub(super) clock_off_ms: i64,
    pub(super) clock_quality: ClockQuality,
    /// The last command tokens, for those who send them again.
    pub(super) sent_tokens: VecDeque<String>,
    chances: Chances,
    pub(super) healed: bool,
    pub(super) violation: Option<Violation>,
    violations_seen: Vec<usize>,
    pub(super) counted: BTreeMap<FuellingPointId, super::checks::Counted>,
    pub(super) counts: Counts,
    /// What a script does and hears here.
    pub(super) hooks: super::hooks::Hooks,
    /// Hears each message that reaches the platform: topic and payload.
    eavesdropper: Option<Eavesdropper>,
}

/// Hears a message: topic and payload.
pub type Eavesdropper = Box<dyn FnMut(&str, &[u8])>;

/// A generator for each actor.
struct Chances {
    people: Prng,
    post: Prng,
    store: Prng,
    boots: Prng,
    disk: Prng,
}

/// What a day was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Cars that came.
    pub visits: u64,
    /// Starts of the controller.
    pub boots: u64,
    /// Power cuts of the controller at a commit.
    pub cuts: u64,
    /// Steps of the loop.
    pub steps: u64,
    /// Turns of the store.
    pub turns: u64,
}

impl World {
    /// The world at the beginning of a day.
    ///
    /// # Errors
    /// If there is no directory for it.
    pub fn new(
        seed: u64,
        span: Span,
        speaks: Speaks,
        keep: usize,
        weather: impl FnOnce(&Prng, Span) -> Weather,
    ) -> anyhow::Result<Self> {
        let prng = Prng::new(seed);
        let disk = Disk::new()?;
        let key = platform_key(&prng);
        let weather = weather(&prng, span);
        write_jwks(&disk.root().join("jwks.json"), &[&key]).context("write the platform's keys")?;
        let (station, wires) = Station::build(disk.root(), &prng, speaks, weather.echo)?;
        let starts = station.totalisers(&wires.iter().collect::<Vec<_>>(), Instant::START);
        let visits = traffic::visits(span, &station, &prng);
        let terms = Terms {
            station: station.plan.station.clone(),
            currency: station.plan.currency,
            ack: AckBy::Ids,
            faults: weather.platform_faults(),
            joined_late: false,
        };
        let desk = Desk::new(terms, key, bytes(&mut prng.fork("desk")));
        let pitches = station.points.keys().map(|fp| (*fp, Pitch::default())).collect();
        let lines: Vec<Line> = wires
            .into_iter()
            .map(|wire| Line { wire, plugged: true, due: Some(Instant::START), busy_until: Instant::START })
            .collect();
        let violations_seen = vec![0; lines.iter().map(|line| line.wire.devices().count()).sum()];
        let mut world = Self {
            now: Instant::START,
            from_hour: span.from_hour,
            log: Log::new(keep),
            agenda: BTreeMap::new(),
            numbered: 0,
            lines,
            starts,
            pitches,
            controller: None,
            boots: 0,
            disk,
            witness: Witness::default(),
            post: Post::new(),
            desk,
            epoch: std::time::Instant::now(),
            up_last: Instant::START,
            down_last: Instant::START,
            desk_last: Instant::START,
            backoff: Backoff::new(1),
            accepted: None,
            clock_off_ms: 0,
            clock_quality: ClockQuality::Synced,
            sent_tokens: VecDeque::new(),
            chances: Chances {
                people: prng.fork("people"),
                post: prng.fork("post"),
                store: prng.fork("store"),
                boots: prng.fork("boots"),
                disk: prng.fork("disk"),
            },
            healed: false,
            violation: None,
            violations_seen,
            counted: BTreeMap::new(),
            counts: Counts::default(),
            hooks: super::hooks::Hooks::default(),
            eavesdropper: None,
            station,
            prng,
            visits,
            weather,
        };
        world.later(Duration::ZERO, Event::Boot);
        for number in 0..world.visits.len() {
            world.plan_at(world.visits[number].at, Event::Arrive(number));
        }
        for (at, trouble) in world.weather.troubles.clone() {
            world.plan_at(at, Event::Trouble(trouble));
        }
        Ok(world)
    }

    // ---- time --------------------------------------------------------------------------------------------------------------

    pub(super) fn plan_at(&mut self, at: Instant, event: Event) {
        self.numbered += 1;
        self.agenda.insert((at.max(self.now), self.numbered), event);
    }

    pub(super) fn later(&mut self, after: Duration, event: Event) {
        self.plan_at(self.now + after, event);
    }

    /// True time.
    pub(crate) fn utc(&self) -> UtcTime {
        let since = i64::try_from(self.now.as_micros() / 1_000).unwrap_or(i64::MAX);
        let from = i64::try_from(self.from_hour * 3_600_000).unwrap_or(0);
        UtcTime::from_unix_ms(MIDNIGHT_MS + from + since)
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { mono: self.epoch + self.now.since(Instant::START), utc: self.utc() }
    }

    /// Both clocks of the controller.
    fn controllers_now(&self) -> Now {
        let mono = self.controller.as_ref().map_or(Instant::START, |controller| controller.local(self.now));
        Now { mono, utc: self.utc().plus_ms(self.clock_off_ms), clock: self.clock_quality }
    }

    /// Does something with the controller, if it runs, and carries what comes out of it on.
    pub(super) fn with_controller(&mut self, act: impl FnOnce(&mut Controller, &mut Step<'_>, &mut Witness)) {
        let now = self.controllers_now();
        let Some(controller) = &mut self.controller else { return };
        clock::set_wall(now.utc);
        let mut step = Step { at: self.now, now, log: &mut self.log };
        act(controller, &mut step, &mut self.witness);
        self.take_effects();
    }

    fn take_effects(&mut self) {
        while let Some(effect) = self.controller.as_mut().and_then(Controller::poll_effect) {
            let boot = self.boots;
            match effect {
                Effect::StoreTurn { paused } => {
                    let wait = if paused { STORE_PAUSE } else { self.weather.commit_time(&mut self.chances.store) };
                    self.later(wait, Event::Store { boot });
                }
                // It was told something, so its next deadline may have changed.
                Effect::Wake(line) => self.wake(line),
                Effect::Publish(message) => {
                    if let Some(connection) = self.post.connection() {
                        let at = self.up_at();
                        self.plan_at(at, Event::AtBroker { connection, message });
                    }
                }
                Effect::Acknowledge(delivery) => {
                    if let Some(connection) = self.post.connection() {
                        let at = self.up_at();
                        self.plan_at(at, Event::Acknowledged { connection, delivery });
                    }
                }
            }
        }
    }

    fn up_at(&mut self) -> Instant {
        self.up_last = self.up_last.max(self.now + self.weather.latency(&mut self.chances.post));
        self.up_last
    }

    fn down_at(&mut self) -> Instant {
        self.down_last = self.down_last.max(self.now + self.weather.latency(&mut self.chances.post));
        self.down_last
    }

    // ---- the loop ----------------------------------------------------------------------------------------------------------

    /// From now on, someone hears each message that reaches the platform.
    pub fn overhear(&mut self, eavesdropper: Eavesdropper) {
        self.eavesdropper = Some(eavesdropper);
    }

    /// Runs the day, heals, drains, and checks. `Ok` means that nothing was ever wrong.
    ///
    /// # Errors
    /// What the simulation itself could not do, such as write a file.
    pub fn run(&mut self, span: Span) -> anyhow::Result<Result<(), Violation>> {
        let end = Instant::START + span.length();
        self.run_until(end, |_| false)?;
        self.close()
    }

    /// Heals, drains, and checks.
    ///
    /// # Errors
    /// What the simulation itself could not do.
    pub(super) fn close(&mut self) -> anyhow::Result<Result<(), Violation>> {
        self.heal();
        let limit = self.now + DRAIN;
        self.run_until(limit, Self::is_settled)?;
        if self.violation.is_none()
            && let Some(what) = self.pending()
        {
            self.violate(format!("{DRAIN:?} after the last fault is over: {what}"));
        }
        if self.violation.is_none() {
            for what in super::checks::at_close(self)? {
                self.violate(what);
            }
        }
        Ok(self.violation.clone().map_or(Ok(()), Err))
    }

    pub(super) fn run_until(&mut self, end: Instant, mut enough: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        while self.violation.is_none() {
            let due = self.next_due();
            if due > end {
                self.now = end;
                return Ok(());
            }
            self.now = due.max(self.now);
            self.counts.steps += 1;
            let had_event = self.step()?;
            if had_event && enough(self) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn next_due(&self) -> Instant {
        let agenda = self.agenda.keys().next().map(|(at, _)| *at);
        let controller = self.controller.as_ref().and_then(Controller::poll_timeout);
        let lines = self.lines.iter().filter_map(|line| line.due).min();
        [agenda, controller, lines].into_iter().flatten().min().unwrap_or(Instant::from_micros(u64::MAX))
    }

    /// Lets all happen that is due now. True if that was more than talk on the lines.
    fn step(&mut self) -> anyhow::Result<bool> {
        for index in 0..self.lines.len() {
            if self.lines[index].due.is_some_and(|due| due <= self.now) {
                self.run_line(index);
            }
        }
        let mut eventful = false;
        if self.controller.as_ref().and_then(Controller::poll_timeout).is_some_and(|due| due <= self.now) {
            self.with_controller(Controller::handle_timeout);
            eventful = true;
        }
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            self.handle(event)?;
            eventful = true;
        }
        if eventful {
            self.check_always();
        }
        Ok(eventful)
    }

    fn run_line(&mut self, index: usize) {
        let now = self.controllers_now();
        let line = &mut self.lines[index];
        let local = match &mut self.controller {
            Some(controller) => {
                clock::set_wall(now.utc);
                let mut step = Step { at: self.now, now, log: &mut self.log };
                controller.run_line(index, &mut line.wire, line.plugged, &mut step, &mut self.witness)
            }
            None => {
                // Nobody listens.
                line.wire.poll_bytes_to_controller(self.now);
                None
            }
        };
        let wire = line.wire.poll_timeout().map(|due| due.max(self.now + UART_TIMEOUT));
        let rests = local.is_some()
            && wire.is_none()
            && line.busy_until < self.now
            && line.wire.is_clean()
            && self.controller.as_ref().is_some_and(|controller| controller.is_line_at_rest(index));
        let local = local.filter(|_| line.plugged).map(|due| if rests { due.max(self.now + REST) } else { due });
        line.due = [local, wire].into_iter().flatten().min();
        self.take_effects();
    }

    fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Arrive(visit) => self.arrive(visit),
            Event::Next(fp) => self.next_car(fp),
            Event::Glance(fp) => self.glance(fp),
            Event::Cancel(visit) => self.cancel(visit),
            Event::Store { boot } if self.runs(boot) => self.store_turn()?,
            Event::Look { boot } if self.runs(boot) => {
                self.with_controller(Controller::look);
                self.later(LOOK, Event::Look { boot });
            }
            Event::Boot => self.boot()?,
            Event::Connect { boot } if self.runs(boot) => self.connect(),
            Event::Lost { boot, connection } if self.runs(boot) && self.post.connection() != Some(connection) => {
                self.log.note(self.now, format_args!("station notices that the broker is gone"));
                self.with_controller(|controller, step, witness| {
                    controller.handle_link(Input::Disconnected, step, witness);
                });
                self.try_again();
            }
            Event::AtBroker { connection, message } => self.at_broker(connection, message),
            Event::Puback { connection, tag } if self.post.connection() == Some(connection) => {
                self.with_controller(|controller, step, witness| {
                    controller.handle_link(Input::Puback(tag), step, witness);
                });
            }
            Event::Acknowledged { connection, delivery } if self.post.connection() == Some(connection) => {
                self.post.acknowledge(delivery);
            }
            Event::AtDesk { topic, payload } => self.at_desk(&topic, &payload),
            Event::Will { topic, payload } if self.post.connection().is_none() => self.at_desk(&topic, &payload),
            Event::Token { token, retained } => self.token_at_broker(token, retained),
            Event::AtStation { connection, queued } if self.post.connection() == Some(connection) => {
                let delivery = self.post.deliver(queued.number);
                let input = Input::Message { delivery, retained: queued.retained, payload: queued.token.into_bytes() };
                self.with_controller(|controller, step, witness| controller.handle_link(input, step, witness));
            }
            Event::Trouble(trouble) => self.trouble(trouble)?,
            // Of a run or a connection that is over.
            Event::Store { .. }
            | Event::Look { .. }
            | Event::Connect { .. }
            | Event::Lost { .. }
            | Event::Puback { .. }
            | Event::Will { .. }
            | Event::Acknowledged { .. }
            | Event::AtStation { .. } => {}
        }
        Ok(())
    }

    fn runs(&self, boot: u32) -> bool {
        self.controller.as_ref().is_some_and(|controller| controller.boot == boot)
    }

    // ---- the controller and its power --------------------------------------------------------------------------------------

    fn boot(&mut self) -> anyhow::Result<()> {
        if self.controller.is_some() {
            return Ok(());
        }
        self.boots += 1;
        self.counts.boots += 1;
        let seed = bytes(&mut self.chances.boots);
        let now = Now { mono: Instant::START, ..self.controllers_now() };
        clock::set_wall(now.utc);
        self.log.note(self.now, format_args!("boot {}", self.boots));
        let started = Controller::start(self.boots, &self.station, &self.disk.books(), seed, self.now, now);
        let controller = match started {
            Ok(controller) => controller,
            Err(why) => {
                self.violate(format!("the controller does not start: {why:#}"));
                return Ok(());
            }
        };
        self.controller = Some(controller);
        self.disk.forget_last();
        self.limit_disk();
        self.refuse_writes();
        let boot = self.boots;
        for index in 0..self.lines.len() {
            if self.lines[index].plugged {
                self.with_controller(|controller, step, witness| controller.handle_port(index, true, step, witness));
            }
        }
        self.with_controller(Controller::settle);
        self.later(LOOK, Event::Look { boot });
        self.later(Duration::from_millis(50), Event::Connect { boot });
        Ok(())
    }

    fn store_turn(&mut self) -> anyhow::Result<()> {
        self.counts.turns += 1;
        let writes = self.controller.as_ref().is_some_and(Controller::next_turn_writes);
        let cut = if writes { self.weather.cut(&mut self.chances.disk).or_else(|| self.hooks.cut()) } else { None };
        let Some(at) = cut.filter(|_| !self.healed) else {
            self.with_controller(Controller::store_turn);
            return Ok(());
        };
        self.counts.cuts += 1;
        self.log.note(self.now, format_args!("power cut {at:?} a commit"));
        let before = self.disk.image()?;
        let after = if at == CutAt::Before {
            before.clone()
        } else {
            let now = self.controllers_now();
            clock::set_wall(now.utc);
            if let Some(controller) = &mut self.controller {
                // Whatever it would say now is never heard.
                let mut unheard = Log::unheard();
                let mut step = Step { at: self.now, now, log: &mut unheard };
                controller.store_turn(&mut step, &mut self.witness.clone());
            }
            self.disk.image()?
        };
        let left = disk::cut(before, after, at, &mut self.chances.disk);
        self.power_off(&left)
    }

    /// The controller loses power; its disk holds this.
    pub(super) fn power_off(&mut self, left: &disk::Image) -> anyhow::Result<()> {
        self.disk.install(left)?;
        self.controller = None;
        self.lose_connection();
        for line in &mut self.lines {
            line.due = Some(self.now);
        }
        let off = self.weather.time_off(&mut self.chances.disk);
        let off = self.hooks.power_off().unwrap_or(off);
        self.later(off, Event::Boot);
        Ok(())
    }

    // ---- the broker --------------------------------------------------------------------------------------------------------

    fn connect(&mut self) {
        let now = self.controllers_now();
        let Some(controller) = &mut self.controller else { return };
        if self.post.connection().is_some() {
            return;
        }
        let will = controller.will(&Step { at: self.now, now, log: &mut self.log });
        let Some((connection, waiting)) = self.post.connect(will) else {
            self.try_again();
            return;
        };
        self.log.note(self.now, format_args!("connected, {} commands wait", waiting.len()));
        self.accepted = Some(self.now);
        self.up_last = self.now;
        self.down_last = self.now;
        self.with_controller(|controller, step, witness| controller.handle_link(Input::Connected, step, witness));
        for queued in waiting {
            let at = self.down_at();
            self.plan_at(at, Event::AtStation { connection, queued });
        }
        // The platform sees the station come online. What was never answered may be lost with a session: it goes again.
        self.desk.handle_connected();
        self.send_commands();
    }

    fn try_again(&mut self) {
        let lasted = self.accepted.take().map(|since| self.now.since(since));
        let longest = self.backoff.handle_ended(lasted);
        let wait = self.chances.post.between(Duration::ZERO, longest);
        let boot = self.boots;
        self.later(wait, Event::Connect { boot });
    }

    /// The connection breaks: the broker's side at once, the station's when it notices.
    pub(super) fn lose_connection(&mut self) {
        let Some(connection) = self.post.connection() else { return };
        if let Some((topic, payload)) = self.post.lose() {
            self.later(Duration::from_secs(30), Event::Will { topic, payload });
        }
        let notices = self.chances.post.between(Duration::ZERO, Duration::from_secs(20));
        let boot = self.boots;
        self.later(notices, Event::Lost { boot, connection });
    }

    fn at_broker(&mut self, connection: u64, message: Message) {
        if self.post.connection() != Some(connection) {
            return;
        }
        let Message { topic, payload, tag, .. } = message;
        // A broker keeps the order of one sender.
        self.desk_last = self.desk_last.max(self.now + self.weather.latency(&mut self.chances.post));
        let at = self.desk_last;
        self.plan_at(at, Event::AtDesk { topic, payload });
        if let Some(tag) = tag {
            let at = self.down_at();
            self.plan_at(at, Event::Puback { connection, tag });
        }
    }

    fn token_at_broker(&mut self, token: String, retained: bool) {
        if let (Some(queued), Some(connection)) = (self.post.take(token, retained), self.post.connection()) {
            let at = self.down_at();
            self.plan_at(at, Event::AtStation { connection, queued });
        }
    }

    // ---- the platform ------------------------------------------------------------------------------------------------------

    fn at_desk(&mut self, topic: &str, payload: &[u8]) {
        let below = topic.splitn(4, '/').nth(3).unwrap_or(topic);
        if below == "event" && self.weather.event_lost(&mut self.chances.post, self.healed) {
            self.log.note(self.now, format_args!("the broker lost an event it had acknowledged"));
            return;
        }
        if let Some(hear) = &mut self.eavesdropper {
            hear(topic, payload);
        }
        let moment = self.moment();
        self.desk.handle_message(below, payload, moment);
        self.hear_desk();
        self.send_commands();
    }

    fn hear_desk(&mut self) {
        use crate::platform::Command;
        use crate::platform::Notice;
        while let Some(notice) = self.desk.poll_notice() {
            self.hooks.hear(self.now, &notice);
            match notice {
                Notice::Reply(Some(Command::Authorise(spec)), reply) if reply.result == "armed" => {
                    self.tell_ready(&spec.order_id);
                }
                Notice::Reply(Some(Command::Authorise(spec)), reply) if reply.result != "queued" => {
                    self.log.note(self.now, format_args!("order {} answered {}", spec.order_id, reply.result));
                }
                Notice::Step(step) if step.state == "armed" => self.tell_ready(&step.order_id),
                Notice::Ended(order, end) => {
                    self.log.note(self.now, format_args!("platform: order {order} {}", end.word()));
                }
                Notice::Violation(text) => self.violate(format!("platform: {text}")),
                _ => {}
            }
        }
    }

    /// Hands what the desk wants sent to the network, which may keep it, double it, or let it overtake.
    pub(super) fn send_commands(&mut self) {
        while let Some(token) = self.desk.poll_transmit() {
            for delay in self.weather.carry(&mut self.chances.post, self.healed) {
                self.later(delay, Event::Token { token: token.clone(), retained: false });
            }
            if self.sent_tokens.len() == 2_000 {
                self.sent_tokens.pop_front();
            }
            self.sent_tokens.push_back(token);
        }
    }

    // ---- people ------------------------------------------------------------------------------------------------------------

    fn arrive(&mut self, number: usize) {
        self.counts.visits += 1;
        let visit = &self.visits[number];
        let (fp, early) = (visit.fp, visit.early && !visit.by_hand);
        let Some(pitch) = self.pitches.get_mut(&fp) else { return };
        pitch.waiting.push_back(number);
        let second = pitch.waiting.len() == 1 && pitch.customer.is_some();
        if pitch.customer.is_none() && pitch.waiting.len() == 1 {
            self.later(Duration::from_secs(5), Event::Next(fp));
        }
        if early && second {
            self.pay(number);
        }
    }

    fn next_car(&mut self, fp: FuellingPointId) {
        let moment = self.now;
        let Some(pitch) = self.pitches.get_mut(&fp).filter(|pitch| pitch.customer.is_none()) else { return };
        let Some(number) = pitch.waiting.pop_front() else { return };
        let visit = &self.visits[number];
        let chance = self.prng.fork(&format!("customer-{number}"));
        let decimals = crate::rig::pumps::DECIMALS;
        let mut customer = Customer::new(visit.plan, visit.index, decimals, Default::default(), chance, moment);
        if visit.by_hand {
            customer.told_ready(moment);
        }
        pitch.customer = Some((number, customer));
        let (by_hand, order) = (visit.by_hand, visit.order.clone());
        self.log.note(self.now, format_args!("car {number} at fp {fp}, {:?} {:?}", visit.plan, visit.limit));
        if by_hand {
            if let Some((line, device)) = self.station.points.get(&fp).copied() {
                self.lines[line].wire.act(device, crate::dispenser::Action::ReleaseByHand, self.now);
            }
        } else if self.desk.account(&order).is_none() {
            self.pay(number);
        } else if self.desk.account(&order).is_some_and(|account| account.steps.iter().any(|step| step == "armed")) {
            // It was armed while the car before was still driving off.
            self.tell_ready(&order);
        }
        self.later(GLANCE, Event::Glance(fp));
    }

    fn pay(&mut self, number: usize) {
        use crate::platform::{Command, OrderSpec};
        let visit = &self.visits[number];
        let (grade, price) = self.station.sells(visit.nozzle);
        let spec = OrderSpec::prepaid(
            visit.order.clone(),
            visit.nozzle,
            grade,
            visit.limit,
            price,
            self.station.plan.currency,
        );
        let moment = self.moment();
        if let Some(after) = visit.cancels_after {
            self.later(after, Event::Cancel(number));
        }
        self.desk.issue(Command::Authorise(Box::new(spec)), moment);
        self.send_commands();
    }

    fn cancel(&mut self, number: usize) {
        let moment = self.moment();
        let order = self.visits[number].order.clone();
        self.desk.issue(crate::platform::Command::Cancel(order), moment);
        self.send_commands();
    }

    fn tell_ready(&mut self, order: &forecourt::ids::OrderId) {
        let now = self.now;
        for pitch in self.pitches.values_mut() {
            if let Some((number, customer)) = &mut pitch.customer
                && self.visits[*number].order == *order
            {
                customer.told_ready(now);
            }
        }
    }

    fn glance(&mut self, fp: FuellingPointId) {
        let now = self.now;
        let Some((line, device)) = self.station.points.get(&fp).copied() else { return };
        let Some(pitch) = self.pitches.get_mut(&fp) else { return };
        let Some((number, customer)) = &mut pitch.customer else { return };
        self.lines[line].busy_until = now + UNREST;
        let wire = &mut self.lines[line].wire;
        wire.handle_timeout(now);
        if let Some(view) = wire.device(device).map(|device| device.view(now)) {
            customer.observe(&view, now);
        }
        customer.handle_timeout(now);
        let mut acted = false;
        while let Some(action) = customer.poll_action() {
            self.log.note(now, format_args!("customer {number} at fp {fp}: {action:?}"));
            wire.act(device, action, now);
            acted = true;
        }
        let gone = customer.is_gone();
        if gone {
            pitch.customer = None;
        }
        if acted {
            self.wake(line);
        }
        if gone {
            let drives_off = self.chances.people.between(Duration::from_secs(4), Duration::from_secs(15));
            self.later(drives_off, Event::Next(fp));
        } else {
            self.later(GLANCE, Event::Glance(fp));
        }
    }

    // ---- checks ------------------------------------------------------------------------------------------------------------

    pub(super) fn violate(&mut self, what: String) {
        self.log.note(self.now, format_args!("VIOLATION {what}"));
        let at = self.now;
        self.violation.get_or_insert(Violation { at, what });
    }

    /// What must hold at every moment; cheap.
    fn check_always(&mut self) {
        if self.agenda.len() > MOST_EVENTS + self.visits.len() {
            self.violate(format!("{} events wait: something feeds itself", self.agenda.len()));
        }
        if self.witness.longest_queue > MOST_JOBS {
            self.violate(format!("{} jobs wait for the store, {MOST_JOBS} are allowed", self.witness.longest_queue));
        }
        if self.post.longest() > MOST_COMMANDS {
            self.violate(format!("{} commands wait in the broker", self.post.longest()));
        }
        let mut slot = 0;
        let mut wrong = None;
        for (index, line) in self.lines.iter().enumerate() {
            for (_, device) in line.wire.devices() {
                let found = device.violations();
                for violation in &found[self.violations_seen[slot]..] {
                    if self.weather.is_grave(violation.wrong) {
                        wrong.get_or_insert_with(|| {
                            format!(
                                "line {} {:?}: {:?} by {:02x?}",
                                index + 1,
                                device.address(),
                                violation.wrong,
                                violation.frame
                            )
                        });
                    }
                }
                self.violations_seen[slot] = found.len();
                slot += 1;
            }
        }
        if let Some(wrong) = wrong {
            self.violate(format!("at a dispenser: {wrong}"));
        }
        for (index, line) in self.lines.iter_mut().enumerate() {
            for marked in line.wire.take_moments() {
                if marked.moment == DeviceMoment::AuthoriseArrived
                    && let Some((fp, _)) = self.station.points.iter().find(|(_, at)| **at == (index, marked.device))
                {
                    self.counted.entry(*fp).or_default().arrived += 1;
                }
            }
        }
        if let Some(what) = super::checks::releases(self) {
            self.violate(what);
        }
    }

    /// What is still open, in words; `None` when everything is settled.
    pub(super) fn pending(&self) -> Option<String> {
        let Some(controller) = &self.controller else { return Some("the controller is off".into()) };
        if let Some((fp, _)) =
            self.pitches.iter().find(|(_, pitch)| pitch.customer.is_some() || !pitch.waiting.is_empty())
        {
            return Some(format!("a customer at fuelling point {fp}"));
        }
        if let Some(order) = controller.site().orders().next() {
            return Some(format!("order {} is {}", order.request.order_id, order.phase.word()));
        }
        if let Some(account) = self.desk.accounts().find(|account| account.end.is_none()) {
            return Some(format!("the platform has no end of order {}", account.spec.order_id));
        }
        if self.post.connection().is_none() {
            return Some("the station is not connected".into());
        }
        let unheard = |point: &&forecourt::fuelling_point::FuellingPoint| {
            point.state() == forecourt::pump::State::Inoperative || point.running().is_some()
        };
        if let Some(point) = controller.site().fuelling_points().find(unheard) {
            return Some(format!("fuelling point {} is {:?}", point.id(), point.state()));
        }
        match controller.ledger().outbox_counts() {
            Ok((0, 0)) => None,
            Ok((pending, aside)) => Some(format!("{pending} records unacknowledged, {aside} set aside")),
            Err(why) => Some(why.to_string()),
        }
    }

    fn is_settled(&self) -> bool {
        let (queued, backlog) = self.controller.as_ref().map_or((1, 0), Controller::queued);
        queued + backlog == 0 && self.pending().is_none()
    }

    /// A line has something new to do.
    pub(super) fn wake(&mut self, line: usize) {
        let line = &mut self.lines[line];
        line.due = Some(self.now);
        line.busy_until = line.busy_until.max(self.now + UNREST);
    }

    /// A command comes to the broker once more.
    pub(super) fn replay_later(&mut self, after: Duration, token: String, retained: bool) {
        self.later(after, Event::Token { token, retained });
    }

    /// The log, for what led to a violation.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// What the day was like.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The platform.
    #[must_use]
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// What the controller said and wrote.
    #[must_use]
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The time that the day has come to.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }
}

impl Weather {
    /// What a careful controller never does, whatever happens on the line.
    #[must_use]
    pub fn is_grave(&self, wrong: Wrong) -> bool {
        match wrong {
            Wrong::AuthoriseWithoutPreset
            | Wrong::AuthoriseWithoutNozzle
            | Wrong::PriceDuringFilling
            | Wrong::PresetReplaced
            | Wrong::ResetBeforeSaleAcknowledged
            | Wrong::AuthoriseBlind
            | Wrong::SaleNotRead
            | Wrong::TooFewPrices => true,
            // A race with a hand at the nozzle, or damage on the line that its check value did not show.
            Wrong::AuthoriseOutOfState | Wrong::Malformed | Wrong::NumberRepeated => false,
        }
    }
}

/// The platform's key of a day.
pub(super) fn platform_key(prng: &Prng) -> KeyPair {
    KeyPair::from_seed("platform-1", bytes(&mut prng.fork("key")))
}

fn bytes(chance: &mut Prng) -> [u8; 32] {
    core::array::from_fn(|_| chance.byte())
}
