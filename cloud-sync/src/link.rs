//! The cloud link as a state machine: messages, answers and time in; messages, commands and asks out. It knows no socket.
//!
//! Order of what goes out: replies, then states (the newest first), then records, then progress and live readings. Records have
//! a window of their own, so that a backlog never holds up a reply.

mod commands;
mod posts;

use crate::outbox::ask::{StoreAnswer, StoreAsk};
use crate::outbox::{self, Outbox, PublishId};
use crate::road::{self, Road};
use crate::wire::envelope::Envelope;
use crate::wire::jws::KeySet;
use crate::wire::reply;
use crate::wire::state::{self, LiveReading, NozzleView, OrderStep, StationView, Topics};
use commands::Commands;
use core::time::Duration;
use forecourt::command::{Command, Reply};
use forecourt::ids::{CommandId, NozzleId, StationId, UuidMaker};
use forecourt::time::{Instant, Now, UtcTime};
use forecourt::timers::Timers;
pub use posts::{PostFailed, Posted};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// States are published again at least this often (contract section 6: 5 minutes).
const REFRESH: Duration = Duration::from_secs(290);
/// The store is asked for rows this often even if nobody said that there are new ones.
const RECHECK: Duration = Duration::from_secs(60);
/// At most two live readings a second and nozzle (contract section 4).
const LIVE_PAUSE: Duration = Duration::from_millis(500);
/// Most messages besides records that the broker has not acknowledged.
const WINDOW: usize = 32;
/// Most replies that wait for the broker. A platform whose reply is left out sends its command again.
const REPLIES: usize = 1_024;
/// With more replies or commands open than this, commands are acknowledged to the broker at once, so that a flood comes in
/// and is refused instead of waiting in the broker in front of a good command.
const HELD_BACK: usize = 8;

/// Quality of service of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Qos {
    /// 0
    AtMostOnce,
    /// 1
    AtLeastOnce,
}

/// Names a message of QoS 1 until the broker acknowledges it or the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PublishTag {
    /// Records.
    Event(PublishId),
    /// A reply.
    Reply(u64),
    /// The station's state.
    Station,
    /// A nozzle's state.
    Nozzle(NozzleId),
    /// A step of an order.
    Progress(u64),
}

/// Names a received command until it is acknowledged to the broker. Never used twice in a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeliveryId(pub u64);

/// What happens to the link.
#[derive(Debug)]
pub enum Input {
    /// The broker has accepted us; the command topic is subscribed to.
    Connected,
    /// The connection is gone, with all that the broker had not acknowledged.
    Disconnected,
    /// A message on the command topic.
    Message {
        /// For [`Output::Acknowledge`].
        delivery: DeliveryId,
        /// The broker's retained flag.
        retained: bool,
        /// A compact JWS, or anything else.
        payload: Vec<u8>,
    },
    /// The broker has a message of ours.
    Puback(PublishTag),
    /// A post over HTTPS is over.
    Posted(Posted),
    /// The platform's keys from now on.
    Keys(KeySet),
    /// Records were committed.
    OutboxChanged,
    /// The store answered.
    Store(Box<StoreAnswer>),
    /// The site answered a command; durable already.
    Reply(Box<Reply>),
    /// The site could not take a command.
    SiteFull(CommandId),
    /// The station's present state.
    Station(Box<StationView>),
    /// A nozzle's present state.
    Nozzle(Box<NozzleView>),
    /// An order took a step.
    Progress(Box<OrderStep>),
    /// A running fuelling, while watched.
    Live(Box<LiveReading>),
    /// A key of the platform is trusted no longer.
    Revoked(String),
    /// The daemon stops: say goodbye.
    Stop,
}

/// A message for the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where.
    pub topic: String,
    /// How surely.
    pub qos: Qos,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
    /// The event.
    pub payload: Vec<u8>,
    /// For [`Input::Puback`]; `None` at QoS 0.
    pub tag: Option<PublishTag>,
}

/// What the link wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send it.
    Publish(Message),
    /// Send records over HTTPS; answered by [`Input::Posted`].
    Post(outbox::EventMessage),
    /// Acknowledge a received command to the broker.
    Acknowledge(DeliveryId),
    /// For the site. It answers each with one [`Input::Reply`].
    Command(Box<Command>),
    /// For the store.
    Ask(StoreAsk),
    /// For a person.
    Notice(Notice),
    /// The goodbye is said: close the connection.
    Disconnect,
}

/// Something that a person should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A command whose signature does not hold: a security event.
    BadSignature {
        /// Why.
        detail: String,
        /// All such commands of this run; told at most once a second.
        count: u64,
    },
    /// The site did not answer a command in time.
    Unanswered(CommandId),
    /// Of the outbox.
    Outbox(outbox::Notice),
    /// The fallback road over HTTPS opened, and why, or closed.
    Road(Option<road::Why>),
    /// No broker accepted the station's new certificate, and one accepted the old: the old is kept.
    CertificateRefused(String),
}

/// Counts since the start of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Retained or empty messages on the command topic.
    pub ignored: u64,
    /// Messages that could not be tied to a command.
    pub unreadable: u64,
    /// Of these, those left without an answer.
    pub unanswered: u64,
    /// Signatures that do not hold.
    pub bad_signatures: u64,
    /// Commands refused because too many wait.
    pub overloaded: u64,
    /// Replies left out because too many wait.
    pub replies_dropped: u64,
    /// Posts over HTTPS that the platform answered.
    pub posts: u64,
    /// Posts that failed.
    pub posts_failed: u64,
    /// What came in an answer to a post and has no place there.
    pub posts_odd: u64,
}

/// What the link needs to know of its station.
#[derive(Debug)]
pub struct Settings {
    /// Who we are.
    pub station: StationId,
    /// Of this run.
    pub boot: Uuid,
    /// Topic prefix, such as `fuel/v1`.
    pub prefix: String,
    /// Keys of the platform.
    pub keys: KeySet,
    /// Bounds of the outbox.
    pub outbox: outbox::Settings,
    /// Most commands that wait for the site or the store.
    pub commands: usize,
    /// When records go over HTTPS too; `None` where there is no such road.
    pub road: Option<road::Settings>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Refresh,
    Recheck,
    Commands,
}

/// A retained state and what the broker has of it.
#[derive(Debug)]
struct Slot<V> {
    view: V,
    changed: Instant,
    dirty: bool,
    in_flight: bool,
}

impl<V> Slot<V> {
    const fn new(view: V, now: Instant) -> Self {
        Self { view, changed: now, dirty: true, in_flight: false }
    }

    const fn is_waiting(&self) -> bool {
        self.dirty && !self.in_flight
    }
}

/// A reply until the broker has it.
#[derive(Debug)]
struct PendingReply {
    number: u64,
    payload: Vec<u8>,
    in_flight: bool,
    /// The command that it answers, acknowledged together with it.
    delivery: Option<DeliveryId>,
}

/// The link's state for one run of the daemon.
#[derive(Debug)]
pub struct Link {
    station_id: StationId,
    boot: Uuid,
    topics: Topics,
    uuids: UuidMaker,
    outbox: Outbox,
    commands: Commands,
    road: Option<Road>,
    connected: bool,
    stopping: bool,
    goodbye_said: bool,
    station: Slot<StationView>,
    nozzles: BTreeMap<NozzleId, Slot<NozzleView>>,
    replies: VecDeque<PendingReply>,
    progress: BTreeMap<NozzleId, OrderStep>,
    live: BTreeMap<NozzleId, LiveReading>,
    live_sent: BTreeMap<NozzleId, Instant>,
    /// Messages besides records that the broker has not acknowledged.
    in_flight: usize,
    next_number: u64,
    out: VecDeque<Output>,
    timers: Timers<Timer>,
    counters: Counters,
}

impl Link {
    /// A link that is down. `uuids` must be seeded anew at each start.
    #[must_use]
    pub fn new(settings: Settings, station: StationView, uuids: UuidMaker, now: Instant) -> Self {
        Self {
            topics: Topics::new(&settings.prefix, &settings.station),
            outbox: Outbox::new(settings.outbox),
            commands: Commands::new(settings.keys, settings.station.clone(), settings.commands),
            road: settings.road.map(|road| Road::new(road, now)),
            station_id: settings.station,
            boot: settings.boot,
            uuids,
            connected: false,
            stopping: false,
            goodbye_said: false,
            station: Slot::new(station, now),
            nozzles: BTreeMap::new(),
            replies: VecDeque::new(),
            progress: BTreeMap::new(),
            live: BTreeMap::new(),
            live_sent: BTreeMap::new(),
            in_flight: 0,
            next_number: 0,
            out: VecDeque::new(),
            timers: Timers::default(),
            counters: Counters::default(),
        }
    }

    /// Refuses orders that were asked for before this as too old: an earlier store may have served them and cannot be asked any more.
    pub const fn refuse_orders_before(&mut self, at: UtcTime) {
        self.commands.not_before = Some(at);
    }

    /// The topic of commands, to subscribe to.
    #[must_use]
    pub fn command_topic(&self) -> String {
        self.topics.command()
    }

    /// The message that the broker sends for us when we are gone: our state with `online: false`.
    pub fn will(&mut self, at: UtcTime) -> Message {
        let data = self.station.view.offline().data();
        self.message(self.topics.station(), state::STATION, data, at, PublishTag::Station, true)
    }

    /// Counts since the start of the run.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Connected => self.handle_connected(now.mono),
            Input::Disconnected => self.handle_disconnected(now.mono),
            Input::Message { delivery, retained, payload } => self.handle_message(delivery, retained, &payload, now),
            Input::Posted(posted) => self.handle_posted(posted, now),
            Input::Keys(keys) => self.commands.keys = keys,
            Input::Puback(tag) => self.handle_puback(tag, now.mono),
            Input::OutboxChanged => self.outbox.handle_changed(),
            Input::Store(answer) => self.handle_store(*answer, now),
            Input::Reply(reply) => self.handle_reply(&reply, now),
            Input::SiteFull(id) => self.refuse_overloaded(&id, now.utc),
            Input::Station(view) => {
                let waiting = view.outbox.pending;
                self.turn_road(now.mono, |road, now| road.handle_waiting(waiting, now));
                let online = !self.stopping;
                let view = StationView { online, ..*view };
                if view != self.station.view {
                    let in_flight = self.station.in_flight;
                    self.station = Slot { in_flight, ..Slot::new(view, now.mono) };
                }
            }
            Input::Nozzle(view) => self.handle_nozzle(*view, now.mono),
            Input::Progress(step) if self.connected => {
                self.progress.insert(step.nozzle, *step);
            }
            Input::Live(reading) if self.connected => {
                let last = self.live_sent.get(&reading.nozzle);
                if last.is_none_or(|last| now.mono.since(*last) >= LIVE_PAUSE) {
                    self.live.insert(reading.nozzle, *reading);
                }
            }
            // Worth nothing a moment later, so not kept.
            Input::Progress(_) | Input::Live(_) => {}
            Input::Revoked(kid) => self.revoke(&kid),
            Input::Stop => self.handle_stop(),
        }
    }

    /// Deadlines passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.turn_road(now.mono, Road::handle_timeout);
        while let Some(timer) = self.timers.take_due(now.mono) {
            match timer {
                Timer::Refresh => {
                    self.mark_all();
                    self.timers.set(Timer::Refresh, now.mono + REFRESH);
                }
                Timer::Recheck => {
                    self.outbox.handle_changed();
                    self.timers.set(Timer::Recheck, now.mono + RECHECK);
                }
                Timer::Commands => self.handle_slow_answers(now),
            }
        }
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_output`] next without any event.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.next().map(|(due, _)| due);
        let road = self.road.as_ref().and_then(Road::poll_timeout);
        [timer, road, self.outbox.poll_timeout()].into_iter().flatten().min()
    }

    /// The next thing to do; call until `None` after every event and deadline.
    pub fn poll_output(&mut self, now: Now) -> Option<Output> {
        if let Some(output) = self.out.pop_front() {
            return Some(output);
        }
        if let Some(notice) = self.outbox.poll_notice() {
            return Some(Output::Notice(Notice::Outbox(notice)));
        }
        if let Some(ask) = self.outbox.poll_ask(now.mono) {
            return Some(Output::Ask(ask));
        }
        if let Some(post) = self.poll_post(now.mono) {
            return Some(Output::Post(post));
        }
        if !self.connected {
            return None;
        }
        if self.stopping {
            return self.poll_goodbye(now.utc);
        }
        let message = self.poll_reply().or_else(|| self.poll_state(now.utc)).or_else(|| self.poll_records(now.mono));
        let message = message.or_else(|| self.poll_progress(now.utc)).or_else(|| self.poll_live(now));
        message.map(Output::Publish)
    }

    fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.mark_all();
        self.outbox.handle_connected(now);
        self.turn_road(now, Road::handle_connected);
        self.timers.set(Timer::Refresh, now + REFRESH);
        self.timers.set(Timer::Recheck, now + RECHECK);
    }

    fn handle_disconnected(&mut self, now: Instant) {
        self.connected = false;
        self.in_flight = 0;
        self.outbox.handle_disconnected();
        self.turn_road(now, Road::handle_disconnected);
        self.commands.forget_deliveries();
        self.out.retain(|output| !matches!(output, Output::Acknowledge(_)));
        for reply in &mut self.replies {
            reply.in_flight = false;
            reply.delivery = None;
        }
        self.station.in_flight = false;
        for slot in self.nozzles.values_mut() {
            slot.in_flight = false;
        }
        self.progress.clear();
        self.live.clear();
        self.timers.clear(Timer::Refresh);
        self.timers.clear(Timer::Recheck);
        if self.stopping {
            self.out.push_back(Output::Disconnect);
        }
    }

    fn handle_stop(&mut self) {
        self.stopping = true;
        self.station.view.online = false;
        self.station.dirty = true;
        if !self.connected {
            self.out.push_back(Output::Disconnect);
        }
    }

    fn handle_nozzle(&mut self, view: NozzleView, now: Instant) {
        match self.nozzles.get_mut(&view.nozzle) {
            Some(slot) if slot.view == view => {}
            Some(slot) => *slot = Slot { in_flight: slot.in_flight, ..Slot::new(view, now) },
            None => {
                self.nozzles.insert(view.nozzle, Slot::new(view, now));
            }
        }
    }

    fn handle_puback(&mut self, tag: PublishTag, now: Instant) {
        if !matches!(tag, PublishTag::Event(_)) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        match tag {
            PublishTag::Event(id) => {
                let before = self.outbox.unsettled();
                self.outbox.handle_puback(id, now);
                self.note_settled(before, now);
            }
            PublishTag::Reply(number) => {
                if let Some(place) = self.replies.iter().position(|reply| reply.number == number) {
                    let delivery = self.replies.remove(place).and_then(|reply| reply.delivery);
                    self.out.extend(delivery.map(Output::Acknowledge));
                }
            }
            PublishTag::Station => {
                self.station.in_flight = false;
                self.goodbye_said |= self.stopping && !self.station.dirty;
            }
            PublishTag::Nozzle(nozzle) => {
                if let Some(slot) = self.nozzles.get_mut(&nozzle) {
                    slot.in_flight = false;
                }
            }
            PublishTag::Progress(_) => {}
        }
    }

    fn mark_all(&mut self) {
        self.station.dirty = true;
        for slot in self.nozzles.values_mut() {
            slot.dirty = true;
        }
    }

    /// Puts a reply in line. Without a delivery there is nothing to acknowledge with it.
    fn reply(&mut self, data: Value, delivery: Option<DeliveryId>, at: UtcTime) {
        if self.replies.len() >= REPLIES {
            self.counters.replies_dropped += 1;
            self.out.extend(delivery.map(Output::Acknowledge));
            return;
        }
        let hold_back = self.replies.len() < HELD_BACK;
        if !hold_back {
            self.out.extend(delivery.map(Output::Acknowledge));
        }
        let number = self.number();
        let payload = self.event(reply::KIND, data, at);
        let delivery = delivery.filter(|_| hold_back);
        self.replies.push_back(PendingReply { number, payload, in_flight: false, delivery });
    }

    const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn event(&mut self, kind: &str, data: Value, time: UtcTime) -> Vec<u8> {
        let id = self.uuids.make(time);
        Envelope { station: &self.station_id, boot: self.boot, id, time, kind }.bytes(data)
    }

    fn message(
        &mut self,
        topic: String,
        kind: &str,
        data: Value,
        at: UtcTime,
        tag: PublishTag,
        retain: bool,
    ) -> Message {
        let payload = self.event(kind, data, at);
        Message { topic, qos: Qos::AtLeastOnce, retain, payload, tag: Some(tag) }
    }

    fn poll_reply(&mut self) -> Option<Message> {
        if self.in_flight >= WINDOW {
            return None;
        }
        let reply = self.replies.iter_mut().find(|reply| !reply.in_flight)?;
        reply.in_flight = true;
        self.in_flight += 1;
        Some(Message {
            topic: self.topics.reply(),
            qos: Qos::AtLeastOnce,
            retain: false,
            payload: reply.payload.clone(),
            tag: Some(PublishTag::Reply(reply.number)),
        })
    }

    fn poll_state(&mut self, at: UtcTime) -> Option<Message> {
        if self.in_flight >= WINDOW {
            return None;
        }
        if self.station.is_waiting() {
            return Some(self.station_message(at));
        }
        let waiting = self.nozzles.iter_mut().filter(|(_, slot)| slot.is_waiting());
        let (nozzle, slot) = waiting.max_by_key(|(_, slot)| slot.changed)?;
        let (nozzle, data) = (*nozzle, slot.view.data());
        slot.dirty = false;
        slot.in_flight = true;
        self.in_flight += 1;
        let topic = self.topics.nozzle(nozzle);
        Some(self.message(topic, state::NOZZLE, data, at, PublishTag::Nozzle(nozzle), true))
    }

    fn station_message(&mut self, at: UtcTime) -> Message {
        self.station.dirty = false;
        self.station.in_flight = true;
        self.in_flight += 1;
        let data = self.station.view.data();
        self.message(self.topics.station(), state::STATION, data, at, PublishTag::Station, true)
    }

    fn poll_records(&mut self, now: Instant) -> Option<Message> {
        let message = self.outbox.poll_publish(now)?;
        Some(Message {
            topic: self.topics.event(),
            qos: Qos::AtLeastOnce,
            retain: false,
            payload: message.payload,
            tag: Some(PublishTag::Event(message.id)),
        })
    }

    fn poll_progress(&mut self, at: UtcTime) -> Option<Message> {
        if self.in_flight >= WINDOW {
            return None;
        }
        let (_, step) = self.progress.pop_first()?;
        self.in_flight += 1;
        let tag = PublishTag::Progress(self.number());
        Some(self.message(self.topics.progress(), state::ORDER, step.data(), at, tag, false))
    }

    fn poll_live(&mut self, now: Now) -> Option<Message> {
        let (nozzle, reading) = self.live.pop_first()?;
        self.live_sent.insert(nozzle, now.mono);
        let payload = self.event(state::LIVE, reading.data(), now.utc);
        Some(Message { topic: self.topics.live(nozzle), qos: Qos::AtMostOnce, retain: false, payload, tag: None })
    }

    /// The last replies, then the state with `online: false`, then the end.
    fn poll_goodbye(&mut self, at: UtcTime) -> Option<Output> {
        if let Some(message) = self.poll_reply() {
            return Some(Output::Publish(message));
        }
        if !self.replies.is_empty() {
            return None;
        }
        if self.station.is_waiting() {
            return Some(Output::Publish(self.station_message(at)));
        }
        core::mem::take(&mut self.goodbye_said).then_some(Output::Disconnect)
    }
}

#[cfg(test)]
#[path = "link/tests.rs"]
mod tests;
