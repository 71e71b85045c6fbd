//! Commands from the broker to the site, the outbox and back: who was asked, what was answered.

use super::{Counters, DeliveryId, HELD_BACK, Link, Notice, Output, Timer};
use crate::outbox::ask::{StoreAnswer, StoreAsk};
use crate::outbox::store::{ReportPlace, StoreFault};
use crate::wire::command::{self, Inbound, Opened};
use crate::wire::jws::KeySet;
use crate::wire::reply::{Answer, LinkReply, link_data, repeated_data, site_data};
use crate::wire::reply::{Remembered, Remembered::Site};
use core::time::Duration;
use forecourt::command::{Command, Reply};
use forecourt::ids::{CommandId, StationId};
use forecourt::time::{Instant, Now, UtcTime};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// What cannot be tied to a command is answered this often at most (contract section 2).
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);
/// A flood of forged commands is told this often at most; each is counted.
const NOTICE_PAUSE: Duration = Duration::from_secs(1);
/// A command without an answer for so long is told once, and the broker need not wait for it. It is never given up: it may be somebody's
/// money, and the answer is still to come.
const ANSWER_DUE: Duration = Duration::from_secs(60);
/// A stop waits no longer than this to hear whether it was answered before: a store that stands still must not keep fuel flowing, and to
/// stop twice does no harm.
const STOP_WAIT: Duration = Duration::from_millis(100);
/// Stops that may wait whatever else does, so that no flood keeps one out.
const STOP_PLACES: usize = 16;
/// Places above the bound for orders that are only to be refused: each of them is somebody's money and gets a recorded end.
const REFUSED_PLACES: usize = 2_048;
/// Repeats of an open command that get an answer of their own.
const REPEATS: u32 = 4;
/// Answers remembered here that the store could not keep.
const UNKEPT: usize = 256;
/// Refusals of records remembered, so that a message delivered twice counts once.
const NACKS_REMEMBERED: usize = 256;

/// A command between its arrival and its reply.
#[derive(Debug)]
struct Open {
    opened: Opened,
    since: Instant,
    /// The time of day by which its age is judged, however long the store keeps it waiting.
    arrived: UtcTime,
    delivery: Option<DeliveryId>,
    repeats: u32,
    overloaded: bool,
    /// Given to whom it concerns; until then the store is asked whether it was answered before.
    given: bool,
    /// It was told that it has no answer.
    told: bool,
}

impl Open {
    /// When something is to be done about it, if nothing comes before.
    fn due(&self) -> Option<Instant> {
        if self.waits_as_stop() {
            Some(self.since + STOP_WAIT)
        } else {
            (!self.told).then_some(self.since + ANSWER_DUE)
        }
    }

    fn waits_as_stop(&self) -> bool {
        !self.given && self.opened.is_stop()
    }
}

/// All open commands.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) keys: KeySet,
    pub(super) station: StationId,
    places: usize,
    open: BTreeMap<CommandId, Open>,
    unreadable_answered: Option<Instant>,
    bad_signature_noticed: Option<Instant>,
    nacks: VecDeque<CommandId>,
    /// Answers that the store could not keep, so that a repeat gets the same at least in this run.
    unkept: VecDeque<(CommandId, Remembered)>,
    /// Orders asked for before this are refused.
    pub(super) not_before: Option<UtcTime>,
}

impl Commands {
    pub(super) fn new(keys: KeySet, station: StationId, places: usize) -> Self {
        Self {
            keys,
            station,
            places,
            open: BTreeMap::new(),
            unreadable_answered: None,
            bad_signature_noticed: None,
            nacks: VecDeque::new(),
            unkept: VecDeque::new(),
            not_before: None,
        }
    }

    /// The connection is gone: the broker delivers again what was not acknowledged.
    pub(super) fn forget_deliveries(&mut self) {
        for open in self.open.values_mut() {
            open.delivery = None;
        }
    }

    /// The commands that have waited too long now, with what is left to acknowledge.
    fn take_overdue(&mut self, now: Instant) -> Vec<(CommandId, Option<DeliveryId>)> {
        let overdue = self.open.iter_mut().filter(|(_, open)| !open.told && now.since(open.since) >= ANSWER_DUE);
        overdue
            .map(|(id, open)| {
                open.told = true;
                (id.clone(), open.delivery.take())
            })
            .collect()
    }

    /// Stops that the store keeps waiting.
    fn waiting_stops(&self, now: Instant) -> Vec<CommandId> {
        let waiting = self.open.iter().filter(|(_, open)| open.waits_as_stop() && now.since(open.since) >= STOP_WAIT);
        waiting.map(|(id, _)| id.clone()).collect()
    }

    /// A stop that can be carried out has places of its own: neither orders that wait to be refused nor stops of nonsense fill them.
    fn has_place_for(&self, opened: &Opened, now: UtcTime) -> bool {
        if self.open.len() < self.places {
            return true;
        }
        let stops = || self.open.values().filter(|open| open.opened.is_stop()).count();
        opened.is_stop() && opened.read(now).is_ok() && stops() < STOP_PLACES
    }

    fn note_unkept(&mut self, id: CommandId, answer: Remembered) {
        if self.unkept.len() >= UNKEPT {
            self.unkept.pop_front();
        }
        self.unkept.push_back((id, answer));
    }

    fn is_new_nack(&mut self, id: &CommandId) -> bool {
        if self.nacks.contains(id) {
            return false;
        }
        self.nacks.push_back(id.clone());
        if self.nacks.len() > NACKS_REMEMBERED {
            self.nacks.pop_front();
        }
        true
    }
}

impl Link {
    pub(super) fn set_command_timer(&mut self) {
        match self.commands.open.values().filter_map(Open::due).min() {
            Some(due) => self.timers.set(Timer::Commands, due),
            None => self.timers.clear(Timer::Commands),
        }
    }

    pub(super) fn handle_slow_answers(&mut self, now: Now) {
        for id in self.commands.waiting_stops(now.mono) {
            self.carry_out(&id, now);
        }
        for (id, delivery) in self.commands.take_overdue(now.mono) {
            self.out.extend(delivery.map(Output::Acknowledge));
            self.out.push_back(Output::Notice(Notice::Unanswered(id)));
        }
        self.set_command_timer();
    }

    pub(super) fn handle_message(&mut self, delivery: DeliveryId, retained: bool, payload: &[u8], now: Now) {
        if retained || payload.is_empty() {
            self.counters.ignored += 1;
            self.out.push_back(Output::Acknowledge(delivery));
            return;
        }
        match command::open(payload, &self.commands.keys, &self.commands.station) {
            Err(refused) => self.refuse_unopened(&refused, Some(delivery), now),
            Ok(opened) if opened.is_remembered() => self.admit(opened, delivery, now),
            Ok(opened) => self.acknowledge_records(&opened, Some(delivery), now),
        }
    }

    pub(super) fn refuse_unopened(&mut self, refused: &LinkReply, delivery: Option<DeliveryId>, now: Now) {
        if refused.answer == Answer::BadSignature {
            self.counters.bad_signatures += 1;
            let last = self.commands.bad_signature_noticed;
            if last.is_none_or(|last| now.mono.since(last) >= NOTICE_PAUSE) {
                self.commands.bad_signature_noticed = Some(now.mono);
                let count = self.counters.bad_signatures;
                self.out.push_back(Output::Notice(Notice::BadSignature { detail: refused.detail.clone(), count }));
            }
        }
        if refused.command_id.is_none() {
            let Counters { unreadable, unanswered, .. } = &mut self.counters;
            *unreadable += 1;
            let last = self.commands.unreadable_answered;
            if last.is_some_and(|last| now.mono.since(last) < UNREADABLE_PAUSE) {
                *unanswered += 1;
                self.out.extend(delivery.map(Output::Acknowledge));
                return;
            }
            self.commands.unreadable_answered = Some(now.mono);
        }
        self.reply(link_data(refused, false), delivery, now.utc);
    }

    /// A command that is remembered: first ask whether it was answered before.
    fn admit(&mut self, opened: Opened, delivery: DeliveryId, now: Now) {
        if let Some(open) = self.commands.open.get_mut(opened.id()) {
            open.repeats = (open.repeats + 1).min(REPEATS);
            self.out.push_back(Output::Acknowledge(delivery));
            return;
        }
        if let Some((_, answered)) = self.commands.unkept.iter().find(|(id, _)| id == opened.id()) {
            let again = repeated_data(answered);
            self.reply(again, Some(delivery), now.utc);
            return;
        }
        let overloaded = !self.commands.has_place_for(&opened, now.utc);
        let refused_place = opened.is_order() && self.commands.open.len() < self.commands.places + REFUSED_PLACES;
        if overloaded {
            self.counters.overloaded += 1;
        }
        if overloaded && !refused_place {
            let reply = opened.answer(Answer::Overloaded, "too many commands wait: send it again later");
            self.reply(link_data(&reply, false), Some(delivery), now.utc);
            return;
        }
        let delivery = if self.commands.open.len() < HELD_BACK {
            Some(delivery)
        } else {
            self.out.push_back(Output::Acknowledge(delivery));
            None
        };
        let id = opened.id().clone();
        let open = Open {
            opened,
            since: now.mono,
            arrived: now.utc,
            delivery,
            repeats: 0,
            overloaded,
            given: false,
            told: false,
        };
        self.commands.open.insert(id.clone(), open);
        self.set_command_timer();
        self.out.push_back(Output::Ask(StoreAsk::Recall(id)));
    }

    /// `fuel.ack.v1` and `fuel.nack.v1`: replied to only when refused.
    pub(super) fn acknowledge_records(&mut self, opened: &Opened, delivery: Option<DeliveryId>, now: Now) {
        let done = match opened.read(now.utc) {
            Err(refused) => Err(refused),
            Ok(Inbound::Ack(ack)) => {
                let before = self.outbox.unsettled();
                let taken = self.outbox.handle_ack(&ack).map_err(|_| overloaded(opened));
                self.note_settled(before, now.mono);
                taken
            }
            Ok(Inbound::Nack { record, reason }) if self.commands.is_new_nack(opened.id()) => {
                self.outbox.handle_nack(record, reason).map_err(|_| overloaded(opened))
            }
            Ok(_) => Ok(()),
        };
        match done {
            Ok(()) => self.out.extend(delivery.map(Output::Acknowledge)),
            Err(refused) => self.reply(link_data(&refused, false), delivery, now.utc),
        }
    }

    pub(super) fn handle_store(&mut self, answer: StoreAnswer, now: Now) {
        match answer {
            StoreAnswer::Recalled { command, remembered: Ok(Some(remembered)) } => {
                if let Some(open) = self.commands.open.remove(&command) {
                    self.set_command_timer();
                    self.answer(open, repeated_data(&remembered), &remembered, now.utc);
                }
            }
            // A store that cannot be read must not stop an order: the site remembers what it did.
            StoreAnswer::Recalled { command, remembered: Ok(None) | Err(_) } => self.carry_out(&command, now),
            StoreAnswer::Counted { command, from, to, count } => {
                let Some(open) = self.commands.open.get(&command) else { return };
                match count {
                    Ok(0) => {
                        let reply = open.opened.answer(Answer::UnknownRange, "none of these records is kept here");
                        self.keep(command, reply, now.utc);
                    }
                    Ok(count) if self.outbox.handle_resend(from, to).is_ok() => {
                        let reply = open.opened.answer(Answer::Resending { count }, "they go out again");
                        self.keep(command, reply, now.utc);
                    }
                    // For now only, so not remembered.
                    Ok(_) | Err(_) => self.refuse_overloaded(&command, now.utc),
                }
            }
            StoreAnswer::ReportFound { command, place } => self.answer_report(command, place, now.utc),
            // Not being able to remember it is no reason to keep the answer back.
            StoreAnswer::Kept { reply, result } => {
                let Some(open) = reply.command_id.as_ref().and_then(|id| self.commands.open.remove(id)) else { return };
                self.set_command_timer();
                let answer = Remembered::Link((*reply).clone());
                if result.is_err() {
                    self.commands.note_unkept(open.opened.id().clone(), answer.clone());
                }
                self.answer(open, link_data(&reply, false), &answer, now.utc);
            }
            other => self.outbox.handle_answer(other, now.mono),
        }
    }

    fn carry_out(&mut self, id: &CommandId, now: Now) {
        let Some(open) = self.commands.open.get_mut(id).filter(|open| !open.given) else { return };
        open.given = true;
        if self.commands.not_before.is_some_and(|at| open.opened.is_order_before(at)) {
            let detail =
                "the station has lost what it knew of orders sent before: check this one there and send it anew";
            let refused = open.opened.answer(Answer::TooOld, detail);
            return self.keep(id.clone(), refused, now.utc);
        }
        match open.opened.read(open.arrived) {
            Ok(Inbound::Site(command)) => {
                let command = Command { overloaded: open.overloaded, ..command };
                self.out.push_back(Output::Command(Box::new(command)));
            }
            Ok(Inbound::Resend { from, to }) => {
                self.out.push_back(Output::Ask(StoreAsk::CountRange { command: id.clone(), from, to }));
            }
            Ok(Inbound::Report { scope, period }) => {
                self.out.push_back(Output::Ask(StoreAsk::FindReport { command: id.clone(), scope, period }));
            }
            // These never come here: they are not remembered.
            Ok(Inbound::Ack(_) | Inbound::Nack { .. }) => {}
            Err(refused) => self.keep(id.clone(), refused, now.utc),
        }
    }

    fn answer_report(&mut self, command: CommandId, place: Result<ReportPlace, StoreFault>, at: UtcTime) {
        let Some(open) = self.commands.open.get(&command) else { return };
        let (answer, detail) = match place {
            Ok(ReportPlace::Made(sequences)) => {
                if sequences.iter().any(|sequence| self.outbox.handle_resend(*sequence, *sequence).is_err()) {
                    return self.refuse_overloaded(&command, at);
                }
                (Answer::Queued, "the report goes out again, the same bytes")
            }
            Ok(ReportPlace::Open) => (Answer::Queued, "the period is not over: its report follows when it is"),
            Ok(ReportPlace::Unknown) => (Answer::UnknownRange, "no report of this period is kept here"),
            // For now only, so not remembered.
            Err(_) => return self.refuse_overloaded(&command, at),
        };
        let reply = open.opened.answer(answer, detail);
        self.keep(command, reply, at);
    }

    /// Commands signed with this key are refused from now on.
    pub(super) fn revoke(&mut self, kid: &str) {
        self.commands.keys.remove(kid);
    }

    /// An answer of the link's own is durable before it is sent, so that a repeat gets the same.
    fn keep(&mut self, command: CommandId, reply: LinkReply, at: UtcTime) {
        self.out.push_back(Output::Ask(StoreAsk::Remember { command, reply: Box::new(reply), at }));
    }

    pub(super) fn handle_reply(&mut self, reply: &Reply, now: Now) {
        let data = site_data(reply);
        match self.commands.open.remove(&reply.command_id) {
            Some(open) => {
                self.set_command_timer();
                self.answer(open, data, &Site(reply.clone()), now.utc);
            }
            // Answered from memory meanwhile: this is the same once more.
            None => self.reply(repeated_data(&Site(reply.clone())), None, now.utc),
        }
    }

    /// Too much waits behind a command that was let in; sent again later, it may pass.
    pub(super) fn refuse_overloaded(&mut self, id: &CommandId, at: UtcTime) {
        let Some(open) = self.commands.open.remove(id) else { return };
        self.set_command_timer();
        self.counters.overloaded += 1;
        let reply = overloaded(&open.opened);
        self.answer(open, link_data(&reply, false), &Remembered::Link(reply), at);
    }

    fn answer(&mut self, open: Open, data: Value, again: &Remembered, at: UtcTime) {
        self.reply(data, open.delivery, at);
        for _ in 0..open.repeats {
            self.reply(repeated_data(again), None, at);
        }
    }
}

fn overloaded(opened: &Opened) -> LinkReply {
    opened.answer(Answer::Overloaded, "too many commands wait: send it again later")
}
