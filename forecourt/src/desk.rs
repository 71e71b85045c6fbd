//! One turn of the core: what one event writes, says and leaves to do once the writes are durable.
//!
//! All writes of a turn are one commit. What must not happen before they are durable (a release, a reply, letting a dispenser forget)
//! waits for the commit's ticket; what must not wait for a disk (a stop) goes out at once.

use crate::command::Reply;
use crate::customer::CustomerDays;
use crate::ids::{CommandId, CustomerToken, FuellingPointId, NozzleId, OrderId, ReleaseId, UuidMaker};
use crate::layout::Layout;
use crate::ledger::{EndedOrder, Ticket, Write};
use crate::order::{Order, OrderEnd, OrderPhase, ReleaseReason};
use crate::pump::PumpCommand;
use crate::record::{Alarm, AlarmState, OrderReleased, Record};
use crate::time::{Now, UtcTime};
use crate::units::{Money, Volume};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

/// What the core says to the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make these writes one commit, in the order of tickets, then say [`crate::site::Site::handle_stored`].
    Store {
        /// Its name.
        ticket: Ticket,
        /// What to write.
        writes: Vec<Write>,
    },
    /// Tell a dispenser.
    Pump {
        /// Which.
        fp: FuellingPointId,
        /// What.
        command: PumpCommand,
    },
    /// Answer a command.
    Reply(Reply),
    /// A nozzle's published state changed.
    Nozzle(NozzleId),
    /// An order took a step.
    Step(OrderStep),
    /// Running figures of a watched nozzle.
    Live(Live),
}

/// A step of an order, best effort (`fuel.order.state.v1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderStep {
    /// Which order.
    pub order_id: OrderId,
    /// Where it stands.
    pub nozzle: NozzleId,
    /// The word of the contract, or `moved_away`.
    pub state: &'static str,
    /// Since when.
    pub since: UtcTime,
    /// While armed: until when the nozzle may be lifted.
    pub lift_deadline: Option<UtcTime>,
}

/// Running figures, never final (`fuel.live.v1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// For which order.
    pub order_id: Option<OrderId>,
    /// So far.
    pub volume: Volume,
    /// So far.
    pub amount: Money,
    /// When read.
    pub at: UtcTime,
}

/// What waits for a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// Send the reply; the ledger knows it from now on.
    Reply(Reply),
    /// Tell a dispenser.
    Pump(FuellingPointId, PumpCommand),
    /// Send the release, if it is still right.
    Release(FuellingPointId, ReleaseId),
    /// The ledger knows this order's end from now on.
    Ended(OrderId),
}

/// Commits that may be under way before the site asks for patience.
const PENDING_COMMITS: usize = 256;

/// What all fuelling points share.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) layout: Layout,
    ids: UuidMaker,
    last_release: u64,
    last_place: u64,
    last_ticket: u64,
    outputs: VecDeque<Output>,
    changed: BTreeSet<NozzleId>,
    pending: BTreeMap<Ticket, Vec<After>>,
    replies: BTreeMap<CommandId, (Ticket, Reply)>,
    ended: BTreeMap<OrderId, EndedOrder>,
    /// For the limit per customer and day.
    pub(crate) customers: CustomerDays,
    /// The cloud can be reached.
    pub(crate) online: bool,
    /// Commits fail: no new release.
    pub(crate) store_failing: bool,
    /// The process is about to end: no new release.
    pub(crate) stopping: bool,
}

impl Desk {
    pub(crate) fn new(layout: Layout, ids: UuidMaker, last_release: u64, last_place: u64) -> Self {
        Self {
            layout,
            ids,
            last_release,
            last_place,
            last_ticket: 0,
            outputs: VecDeque::new(),
            changed: BTreeSet::new(),
            pending: BTreeMap::new(),
            replies: BTreeMap::new(),
            ended: BTreeMap::new(),
            customers: CustomerDays::default(),
            online: false,
            store_failing: false,
            stopping: false,
        }
    }

    pub(crate) fn turn(&mut self, now: Now) -> Turn<'_> {
        Turn { desk: self, now, writes: Vec::new(), after: Vec::new() }
    }

    /// Urgent words first, then changed nozzles.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.changed.pop_first().map(Output::Nozzle))
    }

    /// What waited for this commit.
    pub(crate) fn take_stored(&mut self, ticket: Ticket) -> Vec<After> {
        let after = self.pending.remove(&ticket).unwrap_or_default();
        for done in &after {
            match done {
                After::Reply(reply) => {
                    if self.replies.get(&reply.command_id).is_some_and(|(of, _)| *of == ticket) {
                        self.replies.remove(&reply.command_id);
                    }
                }
                After::Ended(order) => {
                    self.ended.remove(order);
                }
                After::Pump(..) | After::Release(..) => {}
            }
        }
        after
    }

    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_COMMITS
    }

    /// Answers a repeat of a command whose first answer is not yet durable, once it is. False if there is none.
    pub(crate) fn repeat_when_stored(&mut self, id: &CommandId) -> bool {
        let Some((ticket, reply)) = self.replies.get(id) else { return false };
        let again = Reply { repeated: true, ..reply.clone() };
        self.pending.entry(*ticket).or_default().push(After::Reply(again));
        true
    }

    pub(crate) fn say(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

/// One event's turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    desk: &'a mut Desk,
    pub(crate) now: Now,
    writes: Vec<Write>,
    after: Vec<After>,
}

impl Turn<'_> {
    pub(crate) fn layout(&self) -> &Layout {
        &self.desk.layout
    }

    /// The end of an order that the ledger may not know yet.
    pub(crate) fn ended(&self, order: &OrderId) -> Option<&EndedOrder> {
        self.desk.ended.get(order)
    }

    pub(crate) fn online(&self) -> bool {
        self.desk.online
    }

    pub(crate) fn may_release(&self) -> bool {
        !self.desk.store_failing && !self.desk.stopping
    }

    pub(crate) fn next_release(&mut self) -> ReleaseId {
        self.desk.last_release += 1;
        ReleaseId(self.desk.last_release)
    }

    pub(crate) fn next_place(&mut self) -> u64 {
        self.desk.last_place += 1;
        self.desk.last_place
    }

    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    pub(crate) fn write_order(&mut self, order: &Order) {
        self.write(Write::Order(Box::new(order.clone())));
    }

    pub(crate) fn after(&mut self, after: After) {
        self.after.push(after);
    }

    /// To a dispenser, at once.
    pub(crate) fn pump(&mut self, fp: FuellingPointId, command: PumpCommand) {
        self.desk.say(Output::Pump { fp, command });
    }

    pub(crate) fn changed(&mut self, nozzles: &[NozzleId]) {
        self.desk.changed.extend(nozzles);
    }

    pub(crate) fn live(&mut self, live: Live) {
        self.desk.say(Output::Live(live));
    }

    /// Appends a durable record and names it.
    pub(crate) fn record(&mut self, record: Record) -> Uuid {
        let id = self.desk.ids.make(self.now.utc);
        self.write(Write::Record { id, time: self.now.utc, record: Box::new(record) });
        id
    }

    pub(crate) fn new_id(&mut self) -> Uuid {
        self.desk.ids.make(self.now.utc)
    }

    pub(crate) fn alarm(&mut self, alarm: &str, place: String, state: AlarmState, since: UtcTime, text: String) {
        self.record(Record::Alarm(Alarm { alarm: alarm.into(), place, state, since, text }));
    }

    pub(crate) fn step(&mut self, order: &Order, state: &'static str, lift_deadline: Option<UtcTime>) {
        self.desk.say(Output::Step(OrderStep {
            order_id: order.request.order_id.clone(),
            nozzle: order.request.nozzle,
            state,
            since: self.now.utc,
            lift_deadline,
        }));
    }

    /// What a customer was sold today.
    pub(crate) fn sold_today(&self, customer: &CustomerToken) -> Money {
        self.desk.customers.sold(customer, self.layout().business_day(self.now.utc))
    }

    /// Counts a sale against its customer's day.
    pub(crate) fn count_sale(&mut self, customer: &CustomerToken, amount: Money) {
        let today = self.layout().business_day(self.now.utc);
        let row = self.desk.customers.add(customer, today, amount);
        self.write(Write::CustomerDay(row));
    }

    /// Gives an order its one end without fuel.
    pub(crate) fn release_order(&mut self, order: Order, reason: ReleaseReason) {
        let id = self.record(Record::Released(OrderReleased {
            order_id: order.request.order_id.clone(),
            nozzle: order.request.nozzle,
            reason: reason.clone(),
            at: self.now.utc,
        }));
        self.end_order(order, OrderEnd::Released { id, reason });
    }

    /// Writes the one end of an order and remembers it until the ledger does.
    pub(crate) fn end_order(&mut self, mut order: Order, end: OrderEnd) {
        order.phase = OrderPhase::Ended { end: end.clone() };
        self.step(&order, order.phase.word(), None);
        let id = order.request.order_id.clone();
        self.desk.ended.insert(id.clone(), EndedOrder { content_hash: order.request.content_hash.clone(), end });
        self.after(After::Ended(id));
        self.write(Write::Order(Box::new(order)));
    }

    /// Remembers the answer to a command and sends it once that is durable.
    pub(crate) fn reply(&mut self, reply: Reply) {
        self.write(Write::Reply { reply: Box::new(reply.clone()), at: self.now.utc });
        self.after(After::Reply(reply));
    }

    /// Ends the turn: its writes become one commit.
    pub(crate) fn finish(self) {
        let Self { desk, writes, after, .. } = self;
        if writes.is_empty() {
            for done in after {
                match done {
                    After::Pump(fp, command) => desk.say(Output::Pump { fp, command }),
                    After::Reply(reply) => desk.say(Output::Reply(reply)),
                    After::Release(..) | After::Ended(_) => unreachable!("always written"),
                }
            }
            return;
        }
        desk.last_ticket += 1;
        let ticket = Ticket(desk.last_ticket);
        for done in &after {
            if let After::Reply(reply) = done {
                desk.replies.insert(reply.command_id.clone(), (ticket, reply.clone()));
            }
        }
        desk.pending.insert(ticket, after);
        desk.say(Output::Store { ticket, writes });
    }
}
