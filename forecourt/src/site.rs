//! The whole station as one core: fuelling points, their orders, and the cloud's commands.
//!
//! Four verbs, as every core here: `handle_*` with time as an argument, `handle_timeout`, `poll_timeout`, `poll_output`.

mod lists;
mod office;
mod pricing;

use crate::authorisation::{self, CustomerView, Decision};
use crate::command::{Ask, Command, Nozzles, Outcome, Reply};
use crate::customer::CustomerDays;
use crate::desk::{After, Desk, Turn};
pub use crate::desk::{Live, OrderStep, Output};
use crate::fuelling_point::{FuellingPoint, MovedOut, TooLate};
use crate::hold::Hold;
use crate::ids::{CommandId, FuellingPointId, NozzleId, OrderId, UuidMaker};
use crate::layout::Layout;
use crate::ledger::{Ledger, Memory, Ticket, Write};
use crate::list::Lists;
use crate::order::{Order, OrderPhase, OrderRequest, ReleaseReason};
use crate::price::PriceBook;
use crate::pump::FromPump;
use crate::record::{AlarmState, Audit, Finish, Record};
use crate::time::{Instant, Now, UtcTime};
use core::time::Duration;
pub use office::{OfficeMemory, OfficeWrite, TypedIn};
use std::collections::BTreeMap;

/// Live readings of one nozzle are this far apart at least (contract section 4: at most twice a second).
const LIVE_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Watch {
    until: Instant,
    next: Instant,
}

/// A command whose answer waits for a nozzle to be seen disarmed.
#[derive(Debug, Clone)]
struct Moving {
    id: CommandId,
    kind: String,
}

/// See the module. Two clones that are told the same do the same.
#[derive(Debug, Clone)]
pub struct Site {
    desk: Desk,
    points: BTreeMap<FuellingPointId, FuellingPoint>,
    watches: BTreeMap<NozzleId, Watch>,
    moving: BTreeMap<OrderId, Moving>,
    price_book: PriceBook,
    lists: Lists,
    station_held: bool,
    /// Commits fail.
    store_failing: bool,
    /// There is no room for many more.
    disk_full: bool,
    office: office::Office,
}

impl Site {
    /// A station with what earlier runs left. Nothing is believed of any dispenser before its first snapshot.
    #[must_use]
    pub fn new(layout: Layout, memory: Memory, ids: UuidMaker, now: Now) -> Self {
        let make = |id: &FuellingPointId, point| (*id, FuellingPoint::new(*id, point, &layout, now.utc));
        let mut points: BTreeMap<_, _> = layout.fuelling_points.iter().map(|(id, point)| make(id, point)).collect();
        let place = layout.nozzles.clone();
        let at = |nozzle: &NozzleId| place.get(nozzle).map(|nozzle| nozzle.fp);
        let price_book = PriceBook::recall(memory.price_sets, &layout.price_set, &now);
        for (nozzle, known) in memory.prices {
            if let Some(point) = at(&nozzle).and_then(|fp| points.get_mut(&fp)) {
                point.recall_price(nozzle, known, &layout, &now);
            }
        }
        let mut desk = Desk::new(layout, ids, memory.last_release, memory.last_place);
        desk.customers = CustomerDays::recall(memory.customer_days);
        let mut turn = desk.turn(now);
        for (nozzle, known) in memory.totalisers {
            if let Some(point) = at(&nozzle).and_then(|fp| points.get_mut(&fp)) {
                point.recall_totaliser(nozzle, known);
            }
        }
        for (nozzle, holds) in memory.holds {
            if let Some(point) = at(&nozzle).and_then(|fp| points.get_mut(&fp)) {
                point.recall_holds(nozzle, holds);
            }
        }
        let mut orders: BTreeMap<OrderId, Order> =
            memory.orders.into_iter().map(|order| (order.request.order_id.clone(), order)).collect();
        for release in memory.releases {
            let order = release.order_id.as_ref().and_then(|id| orders.remove(id));
            match points.get_mut(&release.fp) {
                Some(point) => point.recall_release(release, order, &turn),
                None => orphan(order, Some(release), &mut turn),
            }
        }
        let mut waiting: Vec<Order> = orders.into_values().collect();
        waiting.sort_by_key(|order| order.place);
        for order in waiting {
            match at(&order.request.nozzle).and_then(|fp| points.get_mut(&fp)) {
                // Its release is not known any more: it must never be released again.
                Some(point) if order.phase == OrderPhase::Review => point.recall_review(order, &turn),
                Some(point) => point.recall_order(order, &mut turn),
                None => orphan(Some(order), None, &mut turn),
            }
        }
        points.values().for_each(|point| point.remind_of_prices(&mut turn));
        let nozzles: Vec<NozzleId> = place.keys().copied().collect();
        let is_held = |nozzle: &NozzleId| {
            at(nozzle).and_then(|fp| points.get(&fp)).is_some_and(|point| point.holds(*nozzle).contains(&Hold::Manual))
        };
        // The hold of the station outlives a restart as that of every nozzle.
        let station_held = !nozzles.is_empty() && nozzles.iter().all(is_held);
        turn.changed(&nozzles);
        turn.finish();
        Self {
            desk,
            points,
            watches: BTreeMap::new(),
            moving: BTreeMap::new(),
            price_book,
            lists: Lists::recall(memory.lists),
            station_held,
            store_failing: false,
            disk_full: false,
            office: office::Office::default(),
        }
    }

    // ---- views -------------------------------------------------------------------------------------------------------------

    /// What stands here.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.desk.layout
    }

    /// A fuelling point.
    #[must_use]
    pub fn fuelling_point(&self, id: FuellingPointId) -> Option<&FuellingPoint> {
        self.points.get(&id)
    }

    /// The fuelling point of a nozzle.
    #[must_use]
    pub fn point_of(&self, nozzle: NozzleId) -> Option<&FuellingPoint> {
        self.points.get(&self.desk.layout.nozzles.get(&nozzle)?.fp)
    }

    /// All fuelling points by number.
    pub fn fuelling_points(&self) -> impl Iterator<Item = &FuellingPoint> {
        self.points.values()
    }

    /// All orders that have no end yet.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.points.values().flat_map(FuellingPoint::orders)
    }

    /// The whole station takes no orders.
    #[must_use]
    pub const fn is_station_held(&self) -> bool {
        self.station_held
    }

    /// Whether another command may be handed in: so many commits may be under way, no more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.desk.has_room()
    }

    // ---- verbs -------------------------------------------------------------------------------------------------------------

    /// A dispenser reports.
    pub fn handle_pump(&mut self, from: FromPump, now: Now) {
        let Some(point) = self.points.get_mut(&from.fp) else { return };
        let mut turn = self.desk.turn(now);
        point.handle_event(from.event, &mut turn);
        let moved = point.take_moved_out();
        settle_move(&mut self.points, &mut self.moving, moved, turn);
    }

    /// A commit is durable.
    pub fn handle_stored(&mut self, ticket: Ticket, now: Now) {
        for done in self.desk.take_stored(ticket) {
            match done {
                After::Reply(reply) => self.desk.say(Output::Reply(reply)),
                After::Pump(fp, command) => self.desk.say(Output::Pump { fp, command }),
                After::Ended(_) => {}
                After::Release(fp, release) => {
                    let Some(point) = self.points.get_mut(&fp) else { continue };
                    let mut turn = self.desk.turn(now);
                    point.release_stored(release, &mut turn);
                    let moved = point.take_moved_out();
                    settle_move(&mut self.points, &mut self.moving, moved, turn);
                }
            }
        }
    }

    /// Commits fail, or succeed again. While they fail nothing new is released; what flows is followed and booked later.
    pub fn handle_store_failing(&mut self, failing: bool, now: Now) {
        self.desk.store_failing = failing;
        self.store_failing = failing;
        self.hold_for_store(now);
    }

    /// There is hardly room for more commits, or there is again. Meanwhile no order is taken; what flows is followed and booked.
    pub fn handle_disk_full(&mut self, full: bool, now: Now) {
        self.disk_full = full;
        self.hold_for_store(now);
    }

    fn hold_for_store(&mut self, now: Now) {
        let held = self.store_failing || self.disk_full;
        for point in self.points.values_mut() {
            let mut turn = self.desk.turn(now);
            for nozzle in point.nozzles().to_vec() {
                if held {
                    point.hold(nozzle, Hold::StoreFull, &mut turn);
                } else {
                    point.unhold(nozzle, Hold::StoreFull, &mut turn);
                }
            }
            turn.finish();
        }
    }

    /// Something that no fuelling point knows of begins or ends, such as a full disk: `kind` and `place` name it, `since` is when it
    /// began.
    pub fn handle_alarm(&mut self, kind: &str, place: &str, state: AlarmState, since: UtcTime, text: String, now: Now) {
        let mut turn = self.desk.turn(now);
        turn.alarm(kind, place.into(), state, since, text);
        turn.finish();
    }

    /// The process is about to end: nothing new is released; a fuelling under way finishes on its preset and is booked by the next run.
    pub fn handle_stopping(&mut self) {
        self.desk.stopping = true;
    }

    /// The cloud can be reached, or not.
    pub fn handle_uplink(&mut self, online: bool) {
        self.desk.online = online;
    }

    /// Handles every deadline that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.office.due().is_some_and(|due| due <= now.mono) {
            self.turn_periods(now);
        }
        let due: Vec<FuellingPointId> = self
            .points
            .values()
            .filter(|point| point.poll_timeout().is_some_and(|(due, _)| due <= now.mono))
            .map(FuellingPoint::id)
            .collect();
        for fp in due {
            let Some(point) = self.points.get_mut(&fp) else { continue };
            let mut turn = self.desk.turn(now);
            point.handle_timeout(&mut turn);
            let moved = point.take_moved_out();
            settle_move(&mut self.points, &mut self.moving, moved, turn);
        }
        self.take_due_prices(now);
        self.watches.retain(|_, watch| watch.until > now.mono);
    }

    /// The earliest deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let points = self.points.values().filter_map(|point| point.poll_timeout().map(|(due, _)| due));
        let points = points.chain(self.watches.values().map(|watch| watch.until));
        points.chain(self.office.due()).chain(self.price_book.poll_timeout()).min()
    }

    /// The next thing to do; call until `None`.
    pub fn poll_output(&mut self, now: Now) -> Option<Output> {
        loop {
            match self.desk.poll_output()? {
                Output::Live(live) if !self.is_wanted(&live, now) => {}
                output => return Some(output),
            }
        }
    }

    fn is_wanted(&mut self, live: &Live, now: Now) -> bool {
        let Some(watch) = self.watches.get_mut(&live.nozzle) else { return false };
        let wanted = now.mono < watch.until && now.mono >= watch.next;
        if wanted {
            watch.next = now.mono + LIVE_EVERY;
        }
        wanted
    }

    /// A command that passed signature, form and age. Its one reply follows as an output, once it is durable.
    pub fn handle_command(&mut self, command: Command, ledger: &dyn Ledger, now: Now) {
        self.take_command(command, None, ledger, now);
    }

    /// `local` says who asks, where that is not the platform.
    fn take_command(&mut self, command: Command, local: Option<&str>, ledger: &dyn Ledger, now: Now) {
        if self.desk.repeat_when_stored(&command.id) {
            return;
        }
        if let Some(reply) = ledger.reply_to(&command.id) {
            self.desk.say(Output::Reply(Reply { repeated: true, ..reply }));
            return;
        }
        let Command { id, kind, ask, overloaded } = command;
        let ask = match ask {
            Ask::Errand(errand) => return self.send_errand(id, kind, errand, local),
            ask => ask,
        };
        let act = local.map(|who| office::Act::of(who, &kind, &ask));
        let gate = Gate { station_held: self.station_held, overloaded, lists: &self.lists };
        let mut turn = self.desk.turn(now);
        let outcome = match ask {
            Ask::Authorise(request) => authorise(&mut self.points, *request, ledger, gate, &mut turn),
            Ask::Voucher(typed) => office::redeem(&mut self.points, &mut self.office, &typed, ledger, gate, &mut turn),
            // Sent on its way above.
            Ask::Errand(_) => return,
            Ask::Cancel { order_id, .. } => cancel(&mut self.points, &order_id, ledger, &mut turn),
            Ask::Move { order_id, to_nozzle } => {
                let begun = begin_move(&mut self.points, &order_id, to_nozzle, ledger, gate, &mut turn);
                if !matches!(begun, Begun::Answer(_))
                    && let Some(act) = &act
                {
                    turn.record(Record::Audit(act.audit(&Outcome::Moved)));
                }
                match begun {
                    Begun::Answer(outcome) => outcome,
                    Begun::Left(moved) => {
                        self.moving.insert(order_id, Moving { id, kind });
                        settle_move(&mut self.points, &mut self.moving, Some(*moved), turn);
                        return;
                    }
                    Begun::Waits => {
                        self.moving.insert(order_id, Moving { id, kind });
                        turn.finish();
                        return;
                    }
                }
            }
            Ask::Stop { nozzles, .. } => stop(&mut self.points, nozzles, &mut turn),
            Ask::Hold { nozzles, reason } => {
                self.station_held |= nozzles == Nozzles::All;
                hold(&mut self.points, nozzles, &reason, &mut turn)
            }
            Ask::Unhold { nozzles, reason } => {
                let (outcome, lifted) = unhold(&mut self.points, nozzles, &reason, &mut turn);
                // With one nozzle open the station is not held any more; the others keep the holds of their own.
                self.station_held &= !lifted;
                outcome
            }
            Ask::Watch { nozzle, ttl_s } => {
                let known = turn.layout().nozzles.contains_key(&nozzle);
                if known {
                    let until = now.mono + Duration::from_secs(ttl_s.into());
                    self.watches.insert(nozzle, Watch { until, next: now.mono });
                }
                if known { Outcome::Watching } else { Outcome::UnknownNozzle }
            }
            Ask::SetPrices(set) => pricing::schedule(&mut self.price_book, &self.points, *set, &mut turn),
            Ask::UpdateList(update) => lists::update(&mut self.lists, *update, &mut turn),
        };
        if let Some(act) = act {
            turn.record(Record::Audit(act.audit(&outcome)));
        }
        turn.reply(reply(id, kind, outcome, turn.layout()));
        turn.finish();
    }
}

type Points = BTreeMap<FuellingPointId, FuellingPoint>;

/// Ends a turn; an order that was seen disarmed in it stands at its new nozzle from now on.
fn settle_move(
    points: &mut Points,
    moving: &mut BTreeMap<OrderId, Moving>,
    moved: Option<MovedOut>,
    mut turn: Turn<'_>,
) {
    let Some(MovedOut { mut order, to }) = moved else {
        turn.finish();
        return;
    };
    let order_id = order.request.order_id.clone();
    turn.step(&order, "moved_away", None);
    let target = turn.layout().nozzles.get(&to).map(|nozzle| nozzle.fp);
    let outcome = match target.and_then(|fp| points.get_mut(&fp)) {
        Some(point) => {
            order.request.nozzle = to;
            order.place = turn.next_place();
            order.phase = OrderPhase::Queued;
            point.take_order(order, &mut turn);
            Outcome::Moved
        }
        None => {
            turn.release_order(order, ReleaseReason::Fault);
            Outcome::UnknownNozzle
        }
    };
    if let Some(Moving { id, kind }) = moving.remove(&order_id) {
        turn.reply(reply(id, kind, outcome, turn.layout()));
    }
    turn.finish();
}

/// An order or release of a nozzle that is no longer in the configuration: it ends here.
fn orphan(order: Option<Order>, release: Option<crate::ledger::Release>, turn: &mut Turn<'_>) {
    if let Some(release) = release {
        turn.write(Write::ReleaseClosed(release.release));
    }
    if let Some(order) = order {
        turn.release_order(order, ReleaseReason::Fault);
    }
}

fn reply(command_id: CommandId, command_type: String, outcome: Outcome, layout: &Layout) -> Reply {
    let detail = authorisation::sentence(&outcome, layout);
    Reply { command_id, command_type, outcome, detail, repeated: false }
}

fn find<'a>(points: &'a Points, id: &OrderId) -> Option<(FuellingPointId, &'a Order)> {
    points
        .values()
        .find_map(|point| point.orders().find(|order| order.request.order_id == *id).map(|order| (point.id(), order)))
}

/// What is known of an order that has its end.
fn ended(id: &OrderId, ledger: &dyn Ledger, turn: &Turn<'_>) -> Option<crate::ledger::EndedOrder> {
    turn.ended(id).cloned().or_else(|| ledger.ended_order(id))
}

/// What refuses an order whatever it asks.
#[derive(Clone, Copy)]
struct Gate<'a> {
    station_held: bool,
    overloaded: bool,
    lists: &'a Lists,
}

fn authorise(
    points: &mut Points,
    request: OrderRequest,
    ledger: &dyn Ledger,
    gate: Gate<'_>,
    turn: &mut Turn<'_>,
) -> Outcome {
    if let Some((_, first)) = find(points, &request.order_id) {
        let state = first.phase.word().to_owned();
        return if first.request.content_hash == request.content_hash {
            Outcome::Duplicate { state, end: None }
        } else {
            Outcome::Conflict { state, end: None }
        };
    }
    if let Some(first) = ended(&request.order_id, ledger, turn) {
        let state = OrderPhase::Ended { end: first.end.clone() }.word().to_owned();
        let end = Some(first.end.id());
        return if first.content_hash == request.content_hash {
            Outcome::Duplicate { state, end }
        } else {
            Outcome::Conflict { state, end }
        };
    }
    let place = turn.next_place();
    let order = Order { request, phase: OrderPhase::Queued, received_at: turn.now.utc, place };
    let decision = if gate.overloaded {
        Decision::Refuse(Outcome::Overloaded)
    } else {
        decide(points, &order.request, gate, turn)
    };
    match decision {
        Decision::Accept(fp) => {
            let before = points.get_mut(&fp).map_or(0, |point| point.take_order(order, turn));
            match u32::try_from(before) {
                Ok(0) => Outcome::Armed,
                Ok(position) => Outcome::Queued { position },
                Err(_) => Outcome::NozzleBusy,
            }
        }
        Decision::Refuse(outcome) => {
            turn.release_order(order, ReleaseReason::Refused(outcome.word().into()));
            outcome
        }
    }
}

fn decide(points: &Points, request: &OrderRequest, gate: Gate<'_>, turn: &Turn<'_>) -> Decision {
    let layout = turn.layout();
    let point = layout.nozzles.get(&request.nozzle).and_then(|nozzle| points.get(&nozzle.fp));
    let customer = CustomerView { lists: gate.lists, today: lists::today_of(points, request, turn) };
    authorisation::decide(request, layout, point, customer, gate.station_held, &turn.now)
}

fn cancel(points: &mut Points, id: &OrderId, ledger: &dyn Ledger, turn: &mut Turn<'_>) -> Outcome {
    let Some((fp, _)) = find(points, id) else { return not_here(id, ledger, turn) };
    match points.get_mut(&fp).map(|point| point.cancel(id, ReleaseReason::Cancelled, turn)) {
        Some(Ok(())) => Outcome::Cancelled,
        Some(Err(TooLate(state))) => Outcome::CannotCancel { state: state.into() },
        None => Outcome::UnknownOrder,
    }
}

fn not_here(id: &OrderId, ledger: &dyn Ledger, turn: &Turn<'_>) -> Outcome {
    match ended(id, ledger, turn) {
        Some(order) => Outcome::AlreadyEnded { end: order.end.id() },
        None => Outcome::UnknownOrder,
    }
}

enum Begun {
    Answer(Outcome),
    Left(Box<MovedOut>),
    Waits,
}

fn begin_move(
    points: &mut Points,
    id: &OrderId,
    to: NozzleId,
    ledger: &dyn Ledger,
    gate: Gate<'_>,
    turn: &mut Turn<'_>,
) -> Begun {
    let Some((fp, order)) = find(points, id) else { return Begun::Answer(not_here(id, ledger, turn)) };
    if !matches!(order.phase, OrderPhase::Queued | OrderPhase::Armed) {
        return Begun::Answer(Outcome::CannotMove { state: order.phase.word().into() });
    }
    let asked = OrderRequest { nozzle: to, ..order.request.clone() };
    if asked.nozzle == order.request.nozzle {
        return Begun::Answer(Outcome::Moved);
    }
    if let Decision::Refuse(outcome) = decide(points, &asked, gate, turn) {
        return Begun::Answer(outcome);
    }
    let Some(point) = points.get_mut(&fp) else { return Begun::Answer(Outcome::UnknownOrder) };
    match point.move_out(id, to, turn) {
        Ok(()) => point.take_moved_out().map_or(Begun::Waits, |moved| Begun::Left(Box::new(moved))),
        Err(TooLate(state)) => Begun::Answer(Outcome::CannotMove { state: state.into() }),
    }
}

/// The nozzles that a command means; `None` for a number that is not here.
fn meant(nozzles: Nozzles, turn: &Turn<'_>) -> Option<Vec<(FuellingPointId, NozzleId)>> {
    let all = turn.layout().nozzles.iter().map(|(nozzle, place)| (place.fp, *nozzle));
    match nozzles {
        Nozzles::All => Some(all.collect()),
        Nozzles::One(one) => {
            let found: Vec<_> = all.filter(|(_, nozzle)| *nozzle == one).collect();
            (!found.is_empty()).then_some(found)
        }
    }
}

fn stop(points: &mut Points, nozzles: Nozzles, turn: &mut Turn<'_>) -> Outcome {
    let Some(meant) = meant(nozzles, turn) else { return Outcome::UnknownNozzle };
    let mut stopped = false;
    for point in points.values_mut() {
        let in_use = point.running().map(|(nozzle, ..)| nozzle).or(point.lifted());
        let asked = |(fp, nozzle): &(FuellingPointId, NozzleId)| {
            *fp == point.id() && in_use.is_none_or(|in_use| in_use == *nozzle)
        };
        if meant.iter().any(asked) {
            stopped |= point.stop(Finish::Stopped, turn);
        }
    }
    if stopped { Outcome::Stopped } else { Outcome::NothingToStop }
}

fn hold(points: &mut Points, nozzles: Nozzles, reason: &str, turn: &mut Turn<'_>) -> Outcome {
    let Some(meant) = meant(nozzles, turn) else { return Outcome::UnknownNozzle };
    for (fp, nozzle) in meant {
        if let Some(point) = points.get_mut(&fp) {
            point.hold(nozzle, told(reason), turn);
        }
    }
    audit("hold", nozzles, reason, turn);
    Outcome::Held
}

/// The hold that a reason from afar stands for. Who reads the gauge may be the platform, and drivers are then told the true reason.
fn told(reason: &str) -> Hold {
    if reason == Hold::TankLow.word() { Hold::TankLow } else { Hold::Manual }
}

/// The answer, and whether a nozzle is no longer held. A nozzle with a hold that only a person on site may lift stays as it is.
fn unhold(points: &mut Points, nozzles: Nozzles, reason: &str, turn: &mut Turn<'_>) -> (Outcome, bool) {
    let Some(meant) = meant(nozzles, turn) else { return (Outcome::UnknownNozzle, false) };
    let (mut lifted, mut for_good, mut on_site) = (false, Vec::new(), Vec::new());
    for (fp, nozzle) in meant {
        let Some(point) = points.get_mut(&fp) else { continue };
        let holds = point.holds(nozzle);
        let mut strict = holds.iter().filter(|hold| hold.is_on_site_only()).peekable();
        if strict.peek().is_none() {
            for hold in [Hold::Manual, Hold::TankLow] {
                point.unhold(nozzle, hold, turn);
            }
            lifted = true;
        } else if strict.all(|hold| hold.is_for_good()) {
            for_good.push(nozzle);
        } else {
            on_site.push(nozzle);
        }
    }
    audit("unhold", nozzles, reason, turn);
    if !lifted {
        on_site.extend(for_good);
        on_site.sort_unstable();
    }
    let outcome = if on_site.is_empty() { Outcome::Unheld } else { Outcome::OnSiteOnly { nozzles: on_site } };
    (outcome, lifted)
}

fn audit(did: &str, nozzles: Nozzles, reason: &str, turn: &mut Turn<'_>) {
    let on = match nozzles {
        Nozzles::All => "all nozzles".into(),
        Nozzles::One(nozzle) => format!("nozzle {nozzle}"),
    };
    let new = (!reason.is_empty()).then(|| reason.to_owned());
    turn.record(Record::Audit(Audit { who: "platform".into(), did: did.into(), on, old: None, new }));
}
