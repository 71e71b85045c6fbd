//! The platform's desk: everything it knows and decides, without clock, socket or task. Messages and time come in, signed
//! commands and notices come out.

use super::account::{Account, End, check_figures};
use super::notice::Notice;
use super::papers::Papers;
use forecourt::ids::{NozzleId, OrderId, UuidMaker};
use forecourt::time::UtcTime;
use forecourt::units::Currency;
use reference_platform::contract::chain::{Arrival, Chain};
use reference_platform::contract::command::{Acked, Command};
use reference_platform::contract::envelope::{self, Event, Link};
use reference_platform::contract::keys::KeyPair;
use reference_platform::contract::message::{
    LiveData, NOZZLE_STATES, NozzleState, ReleaseData, ReplyData, ReviewData, SaleData, StationState, StepData,
    UnaccountedData, content,
};
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::time::Instant;
use uuid::Uuid;

/// An order that may fuel.
const TAKEN: [&str; 2] = ["armed", "queued"];
/// Refused in a flood.
const OVERLOADED: &str = "overloaded";
/// Refusals for the time alone.
const OF_TIME: [&str; 2] = ["too_old", "from_the_future"];
/// Notices kept for a reader that does not come; older ones are dropped.
const NOTICES: usize = 1_000;

/// How records are acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AckBy {
    /// By their event ids.
    #[default]
    Ids,
    /// By the highest sequence up to which none is missing.
    Sequence,
    /// Not at all: the station must keep every record.
    Never,
}

/// What the platform does wrong on purpose. Nothing by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Every nth acknowledgement of new records is not sent. When they come again, they are acknowledged.
    pub drop_ack: Option<NonZeroU64>,
    /// Every nth command (acknowledgements apart) is published twice, the same bytes.
    pub deliver_twice: Option<NonZeroU64>,
}

/// Who talks to whom, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The station, a level of the topics.
    pub station: String,
    /// Of all its money.
    pub currency: Currency,
    /// How records are acknowledged.
    pub ack: AckBy,
    /// Injected faults.
    pub faults: Faults,
    /// Earlier records are at another platform: a chain that does not begin at 1 is no fault.
    pub joined_late: bool,
}

/// Both clocks at once.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For measuring.
    pub mono: Instant,
    /// For commands.
    pub utc: UtcTime,
}

/// A command as issued, with all answers to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Issued {
    /// What was asked.
    pub command: Command,
    /// The compact JWS, the same bytes however often it is sent.
    pub token: String,
    /// When it was first handed to the link.
    pub sent: Instant,
    /// Answers, oldest first, each with when it came.
    pub replies: Vec<(ReplyData, Instant)>,
    reply_ids: Vec<Uuid>,
}

/// A sale as heard.
#[derive(Clone, PartialEq, Debug)]
pub struct HeardSale {
    /// Its event.
    pub event_id: Uuid,
    /// The content.
    pub data: SaleData,
    /// When it first came.
    pub heard: Instant,
    /// When its acknowledgement was first handed to the link.
    pub acked: Option<Instant>,
}

/// How often things happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Durable records, each counted once.
    pub records: u64,
    /// Records that came again.
    pub repeats: u64,
    /// Acknowledgements issued.
    pub acks: u64,
    /// Acknowledgements held back by an injected fault.
    pub acks_dropped: u64,
    /// Commands issued, acknowledgements apart.
    pub commands: u64,
    /// Commands published twice by an injected fault.
    pub delivered_twice: u64,
    /// Replies that named no command.
    pub anonymous_replies: u64,
}

/// Everything the platform knows.
#[derive(Debug)]
pub struct Desk {
    pub(super) terms: Terms,
    key: KeyPair,
    ids: UuidMaker,
    pub(super) chain: Chain,
    pub(super) papers: Papers,
    pub(super) accounts: BTreeMap<OrderId, Account>,
    pub(super) issued: BTreeMap<Uuid, Issued>,
    pub(super) sales: BTreeMap<u64, HeardSale>,
    pub(super) unaccounted: BTreeMap<u64, UnaccountedData>,
    pub(super) nozzles: BTreeMap<NozzleId, NozzleState>,
    pub(super) live: BTreeMap<NozzleId, LiveData>,
    pub(super) station_state: Option<StationState>,
    pub(super) violations: Vec<String>,
    pub(super) counts: Counts,
    first_acks: u64,
    transmit: VecDeque<String>,
    notices: VecDeque<Notice>,
}

impl Desk {
    /// An empty desk. The seed is for the ids of commands and must be fresh at each start.
    #[must_use]
    pub fn new(terms: Terms, key: KeyPair, seed: [u8; 32]) -> Self {
        Self {
            terms,
            key,
            ids: UuidMaker::new(seed),
            chain: Chain::default(),
            papers: Papers::default(),
            accounts: BTreeMap::new(),
            issued: BTreeMap::new(),
            sales: BTreeMap::new(),
            unaccounted: BTreeMap::new(),
            nozzles: BTreeMap::new(),
            live: BTreeMap::new(),
            station_state: None,
            violations: Vec::new(),
            counts: Counts::default(),
            first_acks: 0,
            transmit: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// Does other things wrong from now on.
    pub const fn set_faults(&mut self, faults: Faults) {
        self.terms.faults = faults;
    }

    /// Signs a command and queues it for the link. An authorise of a new order opens its account.
    pub fn issue(&mut self, command: Command, now: Moment) -> Uuid {
        let id = self.ids.make(now.utc);
        let event = command.event(id, &self.terms.station, now.utc);
        let token = self.key.sign(event.to_string().as_bytes());
        if let Command::Authorise(spec) = &command
            && !self.accounts.contains_key(&spec.order_id)
        {
            match Account::open((**spec).clone(), id) {
                Ok(account) => {
                    self.accounts.insert(spec.order_id.clone(), account);
                }
                Err(error) => self.violate(error),
            }
        }
        let mut copies = 1;
        if command.wants_reply() {
            self.counts.commands += 1;
            if nth(self.terms.faults.deliver_twice, self.counts.commands) {
                self.counts.delivered_twice += 1;
                copies = 2;
            }
        }
        self.transmit.extend(std::iter::repeat_n(token.clone(), copies));
        self.issued.insert(id, Issued { command, token, sent: now.mono, replies: Vec::new(), reply_ids: Vec::new() });
        id
    }

    /// Acknowledges otherwise from now on.
    pub const fn set_ack(&mut self, ack: AckBy) {
        self.terms.ack = ack;
    }

    /// Sends a token that someone else made, and listens for the answer to the id in it. Opens no account.
    pub fn issue_foreign(&mut self, id: Uuid, command: Command, token: String, now: Moment) {
        self.transmit.push_back(token.clone());
        self.issued.insert(id, Issued { command, token, sent: now.mono, replies: Vec::new(), reply_ids: Vec::new() });
    }

    /// The event id of a record that was heard, by its sequence.
    #[must_use]
    pub fn record_id(&self, sequence: u64) -> Option<Uuid> {
        self.chain.id_at(sequence)
    }

    /// Queues a command again, the same bytes.
    pub fn repeat(&mut self, id: Uuid) {
        if let Some(issued) = self.issued.get(&id) {
            self.transmit.push_back(issued.token.clone());
        }
    }

    /// The link came (back) up: what was never answered may never have arrived, so it goes out again. The station knows its id.
    pub fn handle_connected(&mut self) {
        self.transmit.clear();
        let unanswered =
            self.issued.values().filter(|issued| issued.command.wants_reply() && issued.replies.is_empty());
        self.transmit.extend(unanswered.map(|issued| issued.token.clone()));
    }

    /// The next command for the link.
    pub fn poll_transmit(&mut self) -> Option<String> {
        self.transmit.pop_front()
    }

    /// The next notice for whoever watches.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Takes a message of the station. `topic` is the part below the station's own level.
    pub fn handle_message(&mut self, topic: &str, payload: &[u8], now: Moment) {
        let events = match envelope::read(payload, &self.terms.station) {
            Ok(events) => events,
            Err(error) => return self.violate(format!("topic {topic}: {error}")),
        };
        let (mut heard, known) = (Vec::new(), self.counts.records);
        for event in events {
            let id = event.id;
            let is_record = topic == "event";
            if is_record != event.link.is_some() {
                self.violate(format!("{} {id} on topic {topic}: only durable records have a sequence", event.kind));
                continue;
            }
            let taken = match (&event.link, topic.split('/').next()) {
                (Some(link), _) => self.take_record(&event, link, now).map(|()| heard.push(id)),
                (None, Some("reply")) => self.take_reply(&event, now),
                (None, Some("progress")) => self.take_step(&event),
                (None, Some("state" | "live")) => self.take_state(topic, &event),
                (None, _) => Err(format!("{} came on the unknown topic {topic}", event.kind)),
            };
            if let Err(error) = taken {
                self.violate(error);
            }
        }
        if !heard.is_empty() {
            self.acknowledge(heard, self.counts.records > known, now);
        }
    }

    /// An order's account.
    #[must_use]
    pub fn account(&self, order: &OrderId) -> Option<&Account> {
        self.accounts.get(order)
    }

    /// All accounts, by order id.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// A command with its replies.
    #[must_use]
    pub fn issued(&self, command: Uuid) -> Option<&Issued> {
        self.issued.get(&command)
    }

    /// Sales in the order of their sequence.
    pub fn sales(&self) -> impl Iterator<Item = &HeardSale> {
        self.sales.values()
    }

    /// Movements of totalisers that no sale explains, in the order of their sequence.
    pub fn unaccounted(&self) -> impl Iterator<Item = &UnaccountedData> {
        self.unaccounted.values()
    }

    /// A nozzle's last state.
    #[must_use]
    pub fn nozzle(&self, nozzle: NozzleId) -> Option<&NozzleState> {
        self.nozzles.get(&nozzle)
    }

    /// Last states of all nozzles, by number.
    pub fn nozzles(&self) -> impl Iterator<Item = &NozzleState> {
        self.nozzles.values()
    }

    /// A nozzle's last running figures, while watched.
    #[must_use]
    pub fn live(&self, nozzle: NozzleId) -> Option<&LiveData> {
        self.live.get(&nozzle)
    }

    /// The station's last state.
    #[must_use]
    pub fn station(&self) -> Option<&StationState> {
        self.station_state.as_ref()
    }

    /// Of the station's money.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.terms.currency
    }

    /// How often things happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// In what the station broke the contract so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    fn acknowledge(&mut self, heard: Vec<Uuid>, is_new: bool, now: Moment) {
        let acked = match self.terms.ack {
            AckBy::Never => return,
            AckBy::Ids => Acked::Ids(heard),
            AckBy::Sequence => Acked::Through(self.chain.contiguous_through()),
        };
        self.counts.acks += 1;
        self.first_acks += u64::from(is_new);
        if is_new && nth(self.terms.faults.drop_ack, self.first_acks) {
            self.counts.acks_dropped += 1;
            return;
        }
        self.stamp_acked(&acked, now);
        self.issue(Command::Ack(acked), now);
    }

    fn stamp_acked(&mut self, acked: &Acked, now: Moment) {
        for (sequence, sale) in self.sales.iter_mut().rev() {
            let named = match acked {
                Acked::Ids(ids) => ids.contains(&sale.event_id),
                Acked::Through(through) => sequence <= through,
            };
            if named && sale.acked.is_none() {
                sale.acked = Some(now.mono);
            }
            // A message holds at most 100 records, and older sales were stamped with theirs.
            if !named && sale.acked.is_some() {
                break;
            }
        }
    }

    /// A record is acknowledged whenever its envelope is good, even if its content is disputed: it is stored here.
    fn take_record(&mut self, event: &Event, link: &Link, now: Moment) -> Result<(), String> {
        match self.chain.take(link, event.id) {
            Arrival::Repeat => {
                self.counts.repeats += 1;
                return Ok(());
            }
            Arrival::Broken(why) => return Err(why),
            Arrival::New => self.counts.records += 1,
        }
        if let Err(error) = self.book(event, link.sequence, now) {
            self.violate(format!("record {}: {error}", link.sequence));
        }
        Ok(())
    }

    fn book(&mut self, event: &Event, sequence: u64, now: Moment) -> Result<(), String> {
        match event.kind.as_str() {
            "fuel.sale.v1" => {
                let data: SaleData = content(&event.kind, &event.data)?;
                self.book_sale(event.id, data, sequence, now)
            }
            "fuel.order.released.v1" => {
                let data: ReleaseData = content(&event.kind, &event.data)?;
                self.close(&data.order_id, End::Released { event_id: event.id, reason: data.reason }, now)
            }
            "fuel.order.review.v1" => {
                let data: ReviewData = content(&event.kind, &event.data)?;
                let account = self.accounts.get_mut(&data.order_id).ok_or_else(|| unknown(&data.order_id))?;
                account.review = Some(data.why);
                Ok(())
            }
            "fuel.unaccounted.v1" => {
                self.unaccounted.insert(sequence, content(&event.kind, &event.data)?);
                Ok(())
            }
            "fuel.alarm.v1" => {
                self.notify(Notice::Alarm(event.data.clone()));
                Ok(())
            }
            "fuel.report.v1" => {
                self.papers.take_report(sequence, content(&event.kind, &event.data)?);
                Ok(())
            }
            "fuel.anchor.v1" => {
                self.papers.take_anchor(sequence, content(&event.kind, &event.data)?);
                Ok(())
            }
            "fuel.price.applied.v1" | "fuel.delivery.v1" | "fuel.audit.v1" => Ok(()),
            other => Err(format!("{other} is no durable record of the contract")),
        }
    }

    fn book_sale(&mut self, event_id: Uuid, data: SaleData, sequence: u64, now: Moment) -> Result<(), String> {
        if self.sales.values().any(|known| known.data.sale_id == data.sale_id) {
            return Err(format!("sale {} is recorded twice", data.sale_id));
        }
        self.sales.insert(sequence, HeardSale { event_id, data: data.clone(), heard: now.mono, acked: None });
        match &data.order_id {
            Some(order_id) => {
                let order_id = order_id.clone();
                self.close(&order_id, End::Sale(Box::new(data)), now)
            }
            None => {
                for wrong in check_figures(&data, self.terms.currency) {
                    self.violate(format!("sale {}: {wrong}", data.sale_id));
                }
                self.notify(Notice::FreeSale(Box::new(data)));
                Ok(())
            }
        }
    }

    fn close(&mut self, order_id: &OrderId, end: End, now: Moment) -> Result<(), String> {
        let Some(account) = self.accounts.get_mut(order_id) else {
            if !self.terms.joined_late {
                return Err(unknown(order_id));
            }
            self.notify(Notice::Ended(order_id.clone(), end));
            return Ok(());
        };
        for wrong in account.close(end.clone(), now.mono) {
            self.violate(format!("order {order_id}: {wrong}"));
        }
        self.notify(Notice::Ended(order_id.clone(), end));
        Ok(())
    }

    fn take_reply(&mut self, event: &Event, now: Moment) -> Result<(), String> {
        if event.kind != "fuel.reply.v1" {
            return Err(format!("{} came on topic reply", event.kind));
        }
        let reply: ReplyData = content(&event.kind, &event.data)?;
        let Some(text) = &reply.command_id else {
            self.counts.anonymous_replies += 1;
            self.notify(Notice::Reply(None, reply));
            return Ok(());
        };
        let known = Uuid::parse_str(text).ok().and_then(|id| Some((id, self.issued.get_mut(&id)?)));
        let Some((id, issued)) = known else {
            return if self.terms.joined_late {
                Ok(())
            } else {
                Err(format!("a reply to {text}, which was never sent"))
            };
        };
        if issued.reply_ids.contains(&event.id) {
            return Ok(());
        }
        let first = issued.replies.first().map(|(first, _)| first.result.clone());
        issued.reply_ids.push(event.id);
        issued.replies.push((reply.clone(), now.mono));
        let command = issued.command.clone();
        let is_order = matches!(command, Command::Authorise(_));
        match first {
            // Refused in a flood and not remembered: sent again it may pass. Only an order's refusal is for good.
            Some(first) if [&first, &reply.result].contains(&&OVERLOADED.to_owned()) && !is_order => {}
            // Refused for its time by a station that could not write that down and lost power since: it may be refused once more, otherwise.
            Some(first) if OF_TIME.contains(&first.as_str()) && !TAKEN.contains(&reply.result.as_str()) => {}
            // Acknowledgements are not remembered by their ids: they say the same however often they come.
            Some(_) if !command.wants_reply() && OF_TIME.contains(&reply.result.as_str()) => {}
            Some(first) if !reply.repeated || first != reply.result => {
                return Err(format!(
                    "{} {id} was answered {first}, then {} with repeated {}",
                    command.kind(),
                    reply.result,
                    reply.repeated
                ));
            }
            Some(_) => {}
            None => self.settle_first_reply(&command, id, &reply, now)?,
        }
        self.notify(Notice::Reply(Some(command), reply));
        Ok(())
    }

    fn settle_first_reply(
        &mut self,
        command: &Command,
        id: Uuid,
        reply: &ReplyData,
        now: Moment,
    ) -> Result<(), String> {
        /// Refusals of section 2: the station knows nothing of the order and will send no record of it.
        const NOT_TAKEN: [&str; 7] =
            ["bad_signature", "wrong_station", "from_the_future", "too_old", "unsupported", "malformed", "too_large"];
        match command {
            Command::Move(order, to) if reply.result == "moved" => {
                self.accounts.get_mut(order).ok_or_else(|| unknown(order))?.nozzle = *to;
                Ok(())
            }
            Command::Authorise(spec) if NOT_TAKEN.contains(&reply.result.as_str()) => {
                let first = self.accounts.get(&spec.order_id).is_some_and(|account| account.command == id);
                if first {
                    self.close(&spec.order_id, End::NotTaken { result: reply.result.clone() }, now)
                } else {
                    Ok(())
                }
            }
            // Late or sent again by someone: the station is right, and the records come again.
            Command::Ack(_) | Command::Nack(..) if OF_TIME.contains(&reply.result.as_str()) => Ok(()),
            Command::Ack(_) | Command::Nack(..) => {
                Err(format!("{} {id} was refused: {} {}", command.kind(), reply.result, reply.detail))
            }
            _ => Ok(()),
        }
    }

    fn take_step(&mut self, event: &Event) -> Result<(), String> {
        let step: StepData = content(&event.kind, &event.data)?;
        if let Some(account) = self.accounts.get_mut(&step.order_id) {
            account.steps.push(step.state.clone());
        } else if !self.terms.joined_late {
            return Err(unknown(&step.order_id));
        }
        self.notify(Notice::Step(step));
        Ok(())
    }

    fn take_state(&mut self, topic: &str, event: &Event) -> Result<(), String> {
        match event.kind.as_str() {
            "fuel.station.state.v1" => {
                let state: StationState = content(&event.kind, &event.data)?;
                let was = self.station_state.as_ref().map(|before| before.online);
                if was != Some(state.online) {
                    self.notify(Notice::Online(state.online));
                }
                self.station_state = Some(state);
            }
            "fuel.nozzle.state.v1" => {
                let state: NozzleState = content(&event.kind, &event.data)?;
                if !NOZZLE_STATES.contains(&state.state.as_str()) {
                    return Err(format!("nozzle {} is \"{}\", which is no state", state.nozzle, state.state));
                }
                if topic != format!("state/nozzle/{}", state.nozzle) {
                    return Err(format!("the state of nozzle {} came on {topic}", state.nozzle));
                }
                let before = self.nozzles.insert(state.nozzle, state.clone());
                if before.is_none_or(|before| before != state) {
                    self.notify(Notice::Nozzle(state));
                }
            }
            "fuel.live.v1" => {
                let live: LiveData = content(&event.kind, &event.data)?;
                self.live.insert(live.nozzle, live);
            }
            "fuel.tank.state.v1" => {}
            other => return Err(format!("{other} came on {topic}")),
        }
        Ok(())
    }

    fn violate(&mut self, text: String) {
        self.notify(Notice::Violation(text.clone()));
        self.violations.push(text);
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() == NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }
}

fn unknown(order: &OrderId) -> String {
    format!("order {order} was never sold here")
}

fn nth(every: Option<NonZeroU64>, count: u64) -> bool {
    every.is_some_and(|every| count.is_multiple_of(every.get()))
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
