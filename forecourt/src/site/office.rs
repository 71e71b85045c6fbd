//! The office of the station: shifts and days, typed-in vouchers, what a person asks at the station itself, and errands of the shell.

use super::{Gate, Points, Site, decide, ended, find, reply};
use crate::authorisation::Decision;
use crate::command::{Ask, Command, Nozzles, Outcome};
use crate::desk::{Output, Turn};
use crate::errand::{Asked, Done, Errand};
use crate::ids::{CommandId, Grade, NozzleId};
use crate::layout::Layout;
use crate::ledger::{Ledger, Write};
use crate::order::{Basis, Limit, Order, OrderPhase, OrderRequest};
use crate::period::{Keeper, Period, Plan, Scope, Turned};
use crate::record::{Audit, Record};
use crate::time::{ClockQuality, Instant, Now, UtcTime};
use crate::units::{Currency, Money};
use crate::voucher::{CodeEntry, Judgement, Voucher, VoucherAuthority};
use core::time::Duration;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The wall clock may leap: it is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// And no sooner than this after the last look.
const SOONEST: Duration = Duration::from_millis(100);
/// An order of a voucher waits no longer in a queue; as long as one of the cloud may (contract section 9).
const LONGEST_WAIT_MS: i64 = 30 * 60 * 1_000;

/// What the office needs of earlier runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OfficeMemory {
    /// Periods that are open.
    pub open: BTreeMap<Scope, Period>,
    /// Wrong codes so far.
    pub codes: CodeEntry,
}

/// What the office makes durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfficeWrite {
    /// Wrong codes so far.
    CodeEntry(CodeEntry),
    /// A period is over: append its report, added up from the sales since it was opened, and open the next.
    Turned {
        /// Of the report's event.
        id: Uuid,
        /// Of the report's event.
        time: UtcTime,
        /// Which.
        turned: Box<Turned>,
        /// All nozzles and what they sell now.
        nozzles: BTreeMap<NozzleId, Grade>,
        /// Of the amounts.
        currency: Currency,
    },
    /// Append an anchor of the chain as it is then.
    Anchor {
        /// Of the event.
        id: Uuid,
        /// Of the event.
        time: UtcTime,
    },
}

/// A voucher as it was typed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypedIn {
    /// The digits.
    pub voucher: Voucher,
    /// The nozzle at which the customer stands, where it was said.
    pub nozzle: Option<NozzleId>,
}

#[derive(Debug, Clone)]
struct Open {
    kind: String,
    local: Option<String>,
}

/// See the module. Closed until [`Site::open_office`].
#[derive(Debug, Clone, Default)]
pub(super) struct Office {
    keeper: Option<Keeper>,
    due: Option<Instant>,
    authority: Option<VoucherAuthority>,
    codes: CodeEntry,
    errands: BTreeMap<CommandId, Open>,
}

impl Office {
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Site {
    /// Keeps shifts and days from now on, and takes vouchers if there is a key.
    pub fn open_office(&mut self, plan: Plan, authority: Option<VoucherAuthority>, memory: OfficeMemory, now: Now) {
        self.office.keeper = Some(Keeper::new(plan, memory.open));
        self.office.authority = authority;
        self.office.codes = memory.codes;
        self.turn_periods(now);
    }

    /// Timers, limits and shift times of a new configuration. Nozzles, grades and prices stay as they are; what is under way keeps the
    /// times it began with.
    pub fn apply_rules(&mut self, rules: &Layout, plan: Plan, now: Now) {
        let layout = &mut self.desk.layout;
        layout.timers = rules.timers.clone();
        layout.limits = rules.limits.clone();
        for (grade, to) in &rules.grades {
            if let Some(grade) = layout.grades.get_mut(grade) {
                (grade.max_volume, grade.max_fill) = (to.max_volume, to.max_fill);
            }
        }
        if let Some(keeper) = &mut self.office.keeper {
            keeper.set_plan(plan);
        }
        self.turn_periods(now);
    }

    /// Ends the periods that are over.
    pub(super) fn turn_periods(&mut self, now: Now) {
        let Some(keeper) = &mut self.office.keeper else { return };
        let all = keeper.handle(&now);
        let look = now.mono + LOOK;
        // Never at once again: a period that is over by a clock that is not trusted stays open.
        let soonest = now.mono + SOONEST;
        self.office.due = Some(keeper.due(&now).map_or(look, |due| due.clamp(soonest, look)));
        self.desk.shift = keeper.open(Scope::Shift).map(|shift| shift.name.clone());
        if all.is_empty() {
            return;
        }
        let mut turn = self.desk.turn(now);
        let nozzles: BTreeMap<_, _> =
            turn.layout().nozzles.iter().map(|(nozzle, place)| (*nozzle, place.grade.clone())).collect();
        let currency = turn.layout().currency;
        let day_is_over = all.iter().any(|turned| turned.closed.as_ref().is_some_and(|over| over.scope == Scope::Day));
        for turned in all {
            let (id, time) = (turn.new_id(), now.utc);
            let turned = Box::new(turned);
            let write = OfficeWrite::Turned { id, time, turned, nozzles: nozzles.clone(), currency };
            turn.write(Write::Office(Box::new(write)));
        }
        if day_is_over {
            let write = OfficeWrite::Anchor { id: turn.new_id(), time: now.utc };
            turn.write(Write::Office(Box::new(write)));
        }
        turn.finish();
    }

    /// The same as [`Site::handle_command`] for what `who` asks at the station itself: each act leaves an audit record.
    pub fn handle_local(&mut self, command: Command, who: &str, ledger: &dyn Ledger, now: Now) {
        let (id, kind) = (command.id.clone(), command.kind.clone());
        if self.desk.is_answered(&id) || ledger.reply_to(&id).is_some() {
            self.handle_audit(audit(who, &kind, &format!("command {id}"), "answered from memory"), now);
        }
        self.take_command(command, Some(who), ledger, now);
    }

    /// Books what a person did where no command was needed, or could be made of it.
    pub fn handle_audit(&mut self, audit: Audit, now: Now) {
        let mut turn = self.desk.turn(now);
        turn.record(Record::Audit(audit));
        turn.finish();
    }

    /// Hands an errand to the shell. What the core itself holds of a customer is forgotten at once, so that no later write brings it back.
    pub(super) fn send_errand(&mut self, id: CommandId, kind: String, errand: Errand, local: Option<&str>) {
        if let Errand::Erase { customer } = &errand {
            for point in self.points.values_mut() {
                point.forget_customer(customer);
            }
            self.forget_customer(customer);
        }
        if self.office.errands.contains_key(&id) {
            // The answer is on its way.
            return;
        }
        let who = local.unwrap_or("platform").to_owned();
        self.office.errands.insert(id.clone(), Open { kind, local: local.map(str::to_owned) });
        self.desk.say(Output::Errand(Box::new(Asked { id, who, errand })));
    }

    /// An errand is done, or cannot be. The answer and what was changed are one commit.
    pub fn handle_errand_done(&mut self, id: CommandId, done: Done, changed: Vec<Audit>, now: Now) {
        let Some(Open { kind, local }) = self.office.errands.remove(&id) else { return };
        let mut turn = self.desk.turn(now);
        if changed.is_empty()
            && let Some(who) = local
        {
            turn.record(Record::Audit(audit(&who, &kind, &format!("command {id}"), done.word())));
        }
        for audit in changed {
            turn.record(Record::Audit(audit));
        }
        turn.reply(reply(id, kind, Outcome::Office(done), turn.layout()));
        turn.finish();
    }
}

/// What was done at the station, in one record.
fn audit(who: &str, did: &str, on: &str, came_of_it: &str) -> Audit {
    Audit { who: who.into(), did: did.into(), on: on.into(), old: None, new: Some(came_of_it.into()) }
}

/// A typed-in voucher becomes an order, once. One that is refused for the nozzle's sake stays good, for another nozzle or for later: no
/// record says that its money may go back.
pub(super) fn redeem(
    points: &mut Points,
    office: &mut Office,
    typed: &TypedIn,
    ledger: &dyn Ledger,
    gate: Gate<'_>,
    turn: &mut Turn<'_>,
) -> Outcome {
    let now = turn.now;
    let (Some(authority), Some(order_id)) = (&office.authority, typed.voucher.order_id()) else {
        return Outcome::Office(Done::NoVoucherKey);
    };
    if now.clock == ClockQuality::Unset {
        return Outcome::Office(Done::ClockUnset);
    }
    if let Some(until) = office.codes.locked(now.utc) {
        return Outcome::Office(Done::CodeEntryLocked { until });
    }
    if let Some((_, order)) = find(points, &order_id) {
        return Outcome::Duplicate { state: order.phase.word().into(), end: None };
    }
    if let Some(before) = ended(&order_id, ledger, turn) {
        let end = Some(before.end.id());
        return Outcome::Duplicate { state: OrderPhase::Ended { end: before.end }.word().into(), end };
    }
    match authority.judge(&typed.voucher, now.utc) {
        Judgement::Good => {}
        Judgement::Expired => return Outcome::Office(Done::VoucherExpired),
        Judgement::NotYet => return Outcome::Office(Done::VoucherNotYet),
        Judgement::Wrong => {
            office.codes = office.codes.after_wrong(now.utc);
            turn.write(Write::Office(Box::new(OfficeWrite::CodeEntry(office.codes))));
            return Outcome::Office(match office.codes.locked(now.utc) {
                Some(until) => Done::CodeEntryLocked { until },
                None => Done::BadVoucher { left: office.codes.left() },
            });
        }
    }
    if office.codes != CodeEntry::default() {
        office.codes = CodeEntry::default();
        turn.write(Write::Office(Box::new(OfficeWrite::CodeEntry(office.codes))));
    }
    let nozzle = match (typed.voucher.nozzle(), typed.nozzle) {
        (Some(meant), Some(said)) if meant != said => return Outcome::Office(Done::WrongNozzle { nozzle: meant }),
        (None, None) => return Outcome::Office(Done::NozzleNeeded),
        (meant, said) => meant.or(said).unwrap_or(NozzleId(0)),
    };
    let layout = turn.layout();
    let Some((place, point)) = layout.nozzles.get(&nozzle).and_then(|place| Some((place, points.get(&place.fp)?)))
    else {
        return Outcome::UnknownNozzle;
    };
    let minor = 10_i64.pow(layout.currency.decimals().into());
    let request = OrderRequest {
        content_hash: order_id.to_string(),
        order_id,
        nozzle,
        grade: place.grade.clone(),
        limit: Limit::Amount(Money::new(typed.voucher.major_units() * minor)),
        currency: layout.currency,
        // A voucher is money: the price is that of the pump when it is keyed in.
        unit_price: point.order_price(nozzle),
        expires_at: now.utc.plus_ms(LONGEST_WAIT_MS),
        lift_timeout_s: None,
        basis: Basis::Voucher,
        code: None,
        customer: None,
        plate_masked: None,
        context: "{}".into(),
    };
    match decide(points, &request, gate, turn) {
        Decision::Refuse(outcome) => outcome,
        Decision::Accept(fp) => {
            let place = turn.next_place();
            let order = Order { request, phase: OrderPhase::Queued, received_at: now.utc, place };
            let before = points.get_mut(&fp).map_or(0, |point| point.take_order(order, turn));
            match u32::try_from(before) {
                Ok(0) => Outcome::Armed,
                Ok(position) => Outcome::Queued { position },
                Err(_) => Outcome::NozzleBusy,
            }
        }
    }
}

/// What somebody does at the station, for its audit record.
pub(super) struct Act {
    who: String,
    did: String,
    on: String,
    voucher: Option<String>,
}

impl Act {
    pub(super) fn of(who: &str, kind: &str, ask: &Ask) -> Self {
        let of = |nozzles: &Nozzles| match nozzles {
            Nozzles::All => "all nozzles".into(),
            Nozzles::One(nozzle) => format!("nozzle {nozzle}"),
        };
        let on = match ask {
            Ask::Authorise(request) => format!("order {} at nozzle {}", request.order_id, request.nozzle),
            Ask::Voucher(typed) => match typed.nozzle.or(typed.voucher.nozzle()) {
                Some(nozzle) => format!("nozzle {nozzle}"),
                None => "no nozzle".into(),
            },
            Ask::Move { order_id, to_nozzle } => format!("order {order_id} to nozzle {to_nozzle}"),
            Ask::Cancel { order_id, .. } => format!("order {order_id}"),
            Ask::Stop { nozzles, .. } | Ask::Hold { nozzles, .. } | Ask::Unhold { nozzles, .. } => of(nozzles),
            Ask::Watch { nozzle, .. } => format!("nozzle {nozzle}"),
            Ask::SetPrices(set) => format!("price set {}", set.price_set),
            Ask::UpdateList(update) => format!("list {}", update.list.word()),
            Ask::Errand(_) => "the station".into(),
        };
        let voucher = match ask {
            Ask::Voucher(typed) => typed.voucher.order_id().map(|id| id.to_string()),
            _ => None,
        };
        Self { who: who.into(), did: kind.into(), on, voucher }
    }

    /// A code that is none of ours is not written down: with a digit put right it may be somebody's money.
    pub(super) fn audit(&self, outcome: &Outcome) -> Audit {
        let came_of_it = match (&self.voucher, outcome) {
            (Some(order), Outcome::Armed | Outcome::Queued { .. } | Outcome::Duplicate { .. }) => {
                format!("{}, order {order}", outcome.word())
            }
            _ => outcome.word().into(),
        };
        audit(&self.who, &self.did, &self.on, &came_of_it)
    }
}
