//! A fuelling point: its nine states, the orders that wait there, and the one release that may be in force.
//!
//! ```text
//!            Snapshot settled            Calling, order fits         stored            Released          Ended
//! Inoperative ──────────► Idle ◄──► Calling ──► Recording ──► Sent ──────► InForce ──────► settle ──► Idle
//!      ▲                                            │ not sent      │ Refused                 │
//!      └── Lost (nothing is concluded from it)      └──► armed ◄────┘                         └──► review
//! ```
//!
//! Rules kept here: no release without a limit and without a durable order; one release for one order; silence never means stopped;
//! what flowed is settled from the dispenser's record and totaliser before anything there is cleared.

use crate::desk::{After, Live, Turn};
use crate::hold::Hold;
use crate::ids::{CustomerToken, FuellingPointId, NozzleId, OrderId, ReleaseId};
use crate::layout::{FuellingPointLayout, Layout};
use crate::ledger::{KnownTotaliser, Release, Write};
use crate::order::{Order, OrderPhase, ReleaseReason};
use crate::preset;
use crate::pump::{Authorise, Capabilities, PumpCommand, PumpEvent, Reading, Refusal, State, Token};
use crate::record::{AlarmState, Finish};
use crate::time::{Instant, UtcTime};
use crate::timers::Timers;
use crate::units::{Money, Volume};
use crate::wait::{self, AtHand, MeanFill};
use core::time::Duration;
use pricing::Prices;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

mod booking;
mod pricing;

/// Deadlines of a fuelling point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// The armed order's nozzle must be lifted.
    Lift,
    /// Fuel must flow after the release.
    FirstFlow,
    /// Fuel must go on flowing.
    NoFlow,
    /// The fuelling must end.
    MaxFill,
    /// A queued order expires; by its place.
    Expiry(u64),
    /// A review is given up.
    Review,
    /// The reviews of shelved orders are given up.
    Shelved,
    /// A new price has been shown long enough.
    NewPrice(NozzleId),
    /// A price that was given must be seen.
    PriceCheck(NozzleId),
    /// A price should long be in force.
    PriceOverdue(NozzleId),
}

/// How far the release at hand has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Being made durable; nothing was sent.
    Recording,
    /// Sent to the dispenser; no word of it yet.
    Sent,
    /// In force, or was when last heard.
    InForce,
    /// From an earlier run: not known what came of it until the dispenser is read.
    Inherited,
    /// What flowed is not known; a person or a later reading must say.
    Review,
}

/// What becomes of the order if nothing flowed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum IfNothing {
    /// Its end.
    Release(ReleaseReason),
    /// It goes on at another nozzle: the disarming that a move waits for.
    Move(NozzleId),
}

/// The release at hand.
#[derive(Clone, Debug)]
struct Current {
    release: Release,
    order: Option<Order>,
    stage: Stage,
    /// Not to be sent any more, or to be stopped.
    withdrawn: bool,
    if_nothing: IfNothing,
    volume: Volume,
    amount: Money,
    started_at: Option<UtcTime>,
    finish: Option<Finish>,
    gap: bool,
    recovered: bool,
    /// The limit is ours; false for a fuelling that was found running.
    ours: bool,
    /// The nozzle was hung up since it was released: whoever has it out now lifted it anew.
    lift_over: bool,
}

/// The last sale of a nozzle, for its published state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastSale {
    /// Its id.
    pub sale_id: Uuid,
    /// As shown.
    pub volume: Volume,
    /// As shown.
    pub amount: Money,
    /// When it ended.
    pub ended_at: UtcTime,
}

/// An order that left this fuelling point for another.
#[derive(Debug, Clone)]
pub(crate) struct MovedOut {
    pub(crate) order: Order,
    pub(crate) to: NozzleId,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct FuellingPoint {
    id: FuellingPointId,
    nozzles: Vec<NozzleId>,
    able: Capabilities,
    heard: bool,
    state: State,
    since: UtcTime,
    lifted: Option<NozzleId>,
    lost_at: Option<UtcTime>,
    queue: Vec<Order>,
    /// Orders in review of which no release is known: whether they were served must be found out elsewhere.
    shelved: Vec<Order>,
    lift_due: Option<Instant>,
    current: Option<Current>,
    known: BTreeMap<NozzleId, KnownTotaliser>,
    holds: BTreeMap<NozzleId, BTreeSet<Hold>>,
    last_sale: BTreeMap<NozzleId, LastSale>,
    timers: Timers<Timer>,
    moved_out: Option<MovedOut>,
    /// This lift of the nozzle has had its turn: it was refused, or a fuelling ended under it. Another release needs another lift, so
    /// that nobody fuels on the next customer's order and no refusal is argued with for ever.
    lift_spent: bool,
    prices: Prices,
    mean_fill: MeanFill,
}

/// Why a command of the cloud came too late; the state that the order is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLate(pub(crate) &'static str);

impl FuellingPoint {
    pub(crate) fn new(id: FuellingPointId, layout: &FuellingPointLayout, station: &Layout, at: UtcTime) -> Self {
        Self {
            id,
            nozzles: layout.nozzles.clone(),
            able: layout.capabilities.clone(),
            heard: false,
            state: State::Inoperative,
            since: at,
            lifted: None,
            lost_at: None,
            queue: Vec::new(),
            shelved: Vec::new(),
            lift_due: None,
            current: None,
            known: BTreeMap::new(),
            // Held until it is read; one that takes no release from us is held for good.
            holds: {
                let why = if layout.another_drives { Hold::ListenOnly } else { Hold::NoPreset };
                let unreleased = (!layout.capabilities.takes_releases()).then_some(why);
                let holds: BTreeSet<Hold> = unreleased.into_iter().chain([Hold::CommLost]).collect();
                layout.nozzles.iter().map(|nozzle| (*nozzle, holds.clone())).collect()
            },
            last_sale: BTreeMap::new(),
            timers: Timers::default(),
            moved_out: None,
            lift_spent: false,
            prices: Prices::of(&layout.nozzles, station, at),
            mean_fill: MeanFill::default(),
        }
    }

    // ---- what an earlier run left ------------------------------------------------------------------------------------------

    pub(crate) fn recall_totaliser(&mut self, nozzle: NozzleId, known: KnownTotaliser) {
        self.known.insert(nozzle, known);
    }

    pub(crate) fn recall_holds(&mut self, nozzle: NozzleId, holds: impl IntoIterator<Item = Hold>) {
        self.holds.entry(nozzle).or_default().extend(holds);
    }

    /// A release that may have fuelled while we were not there. Its order comes with it and is never released again.
    pub(crate) fn recall_release(&mut self, release: Release, order: Option<Order>, turn: &Turn<'_>) {
        let review = order.as_ref().is_some_and(|order| order.phase == OrderPhase::Review);
        self.current = Some(Current {
            started_at: Some(release.at),
            stage: if review { Stage::Review } else { Stage::Inherited },
            ours: true,
            recovered: true,
            ..Current::new(release, order, ReleaseReason::NoFlow)
        });
        if review {
            self.resume_review(turn.now.mono, turn.layout().timers.review);
        }
    }

    /// An order that was never released: it stands in the queue again, to be armed once the dispenser is read.
    pub(crate) fn recall_order(&mut self, order: Order, turn: &mut Turn<'_>) {
        if !self.able.takes_releases() {
            // Taken before another controller drove this dispenser.
            turn.release_order(order, ReleaseReason::StationHeld);
            return;
        }
        self.promise_price(&order);
        self.enqueue(Order { phase: OrderPhase::Queued, ..order }, turn);
    }

    /// An order that may have been served without our knowing it. It keeps no nozzle from selling and is never released; a person
    /// settles it, or its time runs out.
    pub(crate) fn recall_review(&mut self, order: Order, turn: &Turn<'_>) {
        self.timers.set(Timer::Shelved, turn.now.mono + turn.layout().timers.review);
        self.shelved.push(order);
    }

    // ---- views -------------------------------------------------------------------------------------------------------------

    /// Where it hangs.
    #[must_use]
    pub const fn id(&self) -> FuellingPointId {
        self.id
    }

    /// Its nozzles.
    #[must_use]
    pub fn nozzles(&self) -> &[NozzleId] {
        &self.nozzles
    }

    /// What its dispenser can do.
    #[must_use]
    pub const fn capabilities(&self) -> &Capabilities {
        &self.able
    }

    /// Its state as a whole.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when it has that state.
    #[must_use]
    pub const fn since(&self) -> UtcTime {
        self.since
    }

    /// The nozzle that is out.
    #[must_use]
    pub const fn lifted(&self) -> Option<NozzleId> {
        self.lifted
    }

    /// State of one nozzle: the fuelling point's own for the nozzle in use, else at rest.
    #[must_use]
    pub fn nozzle_state(&self, nozzle: NozzleId) -> State {
        let in_use = self.lifted.or(self.current.as_ref().map(|current| current.release.nozzle));
        match self.state {
            State::Inoperative | State::Closed | State::Idle => self.state,
            state if in_use == Some(nozzle) => state,
            _ => State::Idle,
        }
    }

    /// Reasons why a nozzle takes no order.
    #[must_use]
    pub fn holds(&self, nozzle: NozzleId) -> Vec<Hold> {
        self.holds.get(&nozzle).into_iter().flatten().copied().collect()
    }

    /// Whether an order for this nozzle would be armed at once.
    #[must_use]
    pub fn is_available(&self, nozzle: NozzleId) -> bool {
        self.heard
            && self.current.is_none()
            && self.queue.is_empty()
            && matches!(self.state, State::Idle | State::Calling)
            && self.holds(nozzle).is_empty()
    }

    /// Orders that stand here, the one in use first.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.current
            .as_ref()
            .and_then(|current| current.order.as_ref())
            .into_iter()
            .chain(&self.queue)
            .chain(&self.shelved)
    }

    /// The last sale of a nozzle since the start of this run.
    #[must_use]
    pub fn last_sale(&self, nozzle: NozzleId) -> Option<&LastSale> {
        self.last_sale.get(&nozzle)
    }

    /// Running figures of the fuelling at hand: nozzle, volume, amount.
    #[must_use]
    pub fn running(&self) -> Option<(NozzleId, Volume, Money)> {
        let current = self.current.as_ref()?;
        (current.stage == Stage::InForce).then_some((current.release.nozzle, current.volume, current.amount))
    }

    /// Last certain totaliser of a nozzle.
    #[must_use]
    pub fn totaliser(&self, nozzle: NozzleId) -> Option<KnownTotaliser> {
        self.known.get(&nozzle).copied()
    }

    /// Seconds that an order which came now would wait: an estimate from the fuelling at hand, the queue and the mean fuelling here.
    #[must_use]
    pub fn wait_estimate_s(&self, layout: &Layout, now: Instant) -> u32 {
        let at_hand = self.current.as_ref().map(|current| {
            let nozzle = current.release.nozzle;
            let longest = layout.rules_of(nozzle).map(|rules| rules.max_fill);
            let most = preset::most_volume(current.release.preset, current.release.price, layout.currency);
            let most = most.filter(|_| current.ours);
            AtHand { flowing: self.flowing(nozzle, layout, now), volume: current.volume, most, longest }
        });
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        wait::estimate_s(at_hand, waiting, self.mean_fill)
    }

    /// How long the fuelling at hand has been flowing, told by the deadline that was set when it began.
    fn flowing(&self, nozzle: NozzleId, layout: &Layout, now: Instant) -> Duration {
        let longest = layout.rules_of(nozzle).map_or(Duration::ZERO, |rules| rules.max_fill);
        self.timers.due(Timer::MaxFill).map_or(Duration::ZERO, |due| longest.saturating_sub(due.since(now)))
    }

    /// How many orders stand here for the dispenser.
    #[must_use]
    pub fn order_count(&self) -> usize {
        self.orders().count() - self.shelved.len()
    }

    /// The earliest deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    // ---- orders ------------------------------------------------------------------------------------------------------------

    /// Takes an order that was found to fit. Returns how many stand before it; with 0 it is armed.
    /// No order here names a customer any more.
    pub(crate) fn forget_customer(&mut self, customer: &CustomerToken) {
        let current = self.current.as_mut().and_then(|current| current.order.as_mut());
        let moved = self.moved_out.as_mut().map(|moved| &mut moved.order);
        for order in current.into_iter().chain(moved).chain(&mut self.queue).chain(&mut self.shelved) {
            order.request.forget_customer(customer);
        }
    }

    pub(crate) fn take_order(&mut self, order: Order, turn: &mut Turn<'_>) -> usize {
        let place = order.place;
        self.enqueue(order, turn);
        if !self.arm_next(turn) {
            // The row must be there even when the order only waits.
            if let Some(order) = self.queue.iter().find(|order| order.place == place) {
                turn.write_order(order);
                turn.step(order, order.phase.word(), None);
            }
        }
        turn.changed(&self.nozzles);
        let before = self.queue.iter().take_while(|order| order.place != place).count();
        match &self.current {
            Some(current) if current.order.as_ref().is_some_and(|order| order.place == place) => 0,
            Some(_) => before + 1,
            None => before,
        }
    }

    fn enqueue(&mut self, order: Order, turn: &Turn<'_>) {
        let wait = order.request.expires_at.ms_since(turn.now.utc);
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        self.timers.set(Timer::Expiry(order.place), turn.now.mono + wait);
        let at = self.queue.partition_point(|other| other.place < order.place);
        self.queue.insert(at, order);
    }

    /// Arms the first order if the fuelling point is free for it. True if an order's row was written.
    fn arm_next(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.heard || self.current.is_some() {
            return false;
        }
        self.write_prices(turn);
        self.refuse_outpriced(turn);
        let Some(order) = self.queue.first_mut() else { return false };
        let armed_before = order.phase == OrderPhase::Armed;
        if !armed_before {
            order.phase = OrderPhase::Armed;
            let wait =
                order.request.lift_timeout_s.map_or(turn.layout().timers.lift, |s| Duration::from_secs(s.into()));
            let due = turn.now.mono + wait;
            self.lift_due = Some(due);
            self.timers.clear(Timer::Expiry(order.place));
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            turn.step(order, "armed", Some(turn.now.utc.plus_ms(wait_ms)));
        }
        if let Some(due) = self.lift_due {
            self.timers.set(Timer::Lift, due);
        }
        if self.may_release_first(turn) {
            self.begin_release(turn);
            return true;
        }
        if !armed_before && let Some(order) = self.queue.first() {
            turn.write_order(order);
        }
        turn.changed(&self.nozzles);
        !armed_before
    }

    /// Whether the armed order can be released now.
    fn may_release_first(&self, turn: &Turn<'_>) -> bool {
        let Some(order) = self.queue.first() else { return false };
        order.phase == OrderPhase::Armed && turn.may_release() && self.is_ready_for(order.request.nozzle)
    }

    fn is_ready_for(&self, nozzle: NozzleId) -> bool {
        let at_hand = if self.able.reports_call {
            self.state == State::Calling && self.lifted == Some(nozzle)
        } else {
            matches!(self.state, State::Idle | State::Calling)
        };
        self.heard && at_hand && !self.lift_spent && self.holds(nozzle).is_empty() && !self.awaits_price(nozzle)
    }

    fn begin_release(&mut self, turn: &mut Turn<'_>) {
        let mut order = self.queue.remove(0);
        let nozzle = order.request.nozzle;
        let price = self.price(nozzle);
        let Some(preset) = preset::for_limit(order.request.limit, price, turn.layout().currency, &self.able) else {
            // Decided when the order came; a price that fell since makes no limit smaller.
            turn.release_order(order, ReleaseReason::Fault);
            return;
        };
        if self.able.reports_call {
            order.phase = OrderPhase::Lifted;
            turn.step(&order, "lifted", None);
        }
        let release = Release {
            release: turn.next_release(),
            order_id: Some(order.request.order_id.clone()),
            fp: self.id,
            nozzle,
            preset,
            price,
            price_set: self.price_set(nozzle).cloned(),
            totaliser_start: self.known.get(&nozzle).map(|known| known.volume),
            at: turn.now.utc,
            end_seen: None,
        };
        turn.write_order(&order);
        turn.write(Write::Release(Box::new(release.clone())));
        turn.after(After::Release(self.id, release.release));
        self.current = Some(Current::new(release, Some(order), ReleaseReason::NoFlow));
        turn.changed(&self.nozzles);
    }

    /// The release is durable: send it, if it is still right.
    pub(crate) fn release_stored(&mut self, release: ReleaseId, turn: &mut Turn<'_>) {
        let Some(current) = &self.current else { return };
        if current.release.release != release || current.stage != Stage::Recording {
            return;
        }
        let nozzle = current.release.nozzle;
        if current.withdrawn {
            self.close_unreleased(turn);
        } else if self.is_ready_for(nozzle) && turn.may_release() {
            let command = Authorise { release, nozzle, preset: current.release.preset, price: current.release.price };
            if let Some(current) = &mut self.current {
                current.stage = Stage::Sent;
                current.lift_over = false;
            }
            turn.pump(self.id, PumpCommand::Authorise(command));
        } else {
            self.rearm(turn);
        }
    }

    /// The release certainly did not happen: the order is armed as before.
    fn rearm(&mut self, turn: &mut Turn<'_>) {
        let Some(current) = self.current.take() else { return };
        turn.write(Write::ReleaseClosed(current.release.release));
        self.clear_fuelling_timers();
        if let Some(order) = current.order {
            let order = Order { phase: OrderPhase::Armed, ..order };
            turn.write_order(&order);
            turn.step(&order, "armed", None);
            let at = self.queue.partition_point(|other| other.place < order.place);
            self.queue.insert(at, order);
        }
        if let Some(due) = self.lift_due {
            self.timers.set(Timer::Lift, due);
        }
        turn.changed(&self.nozzles);
    }

    /// The release certainly did not happen and the order is not to wait on.
    fn close_unreleased(&mut self, turn: &mut Turn<'_>) {
        let Some(current) = self.current.take() else { return };
        turn.write(Write::ReleaseClosed(current.release.release));
        self.clear_fuelling_timers();
        self.finish_order_without_fuel(current.order, current.if_nothing, turn);
        self.arm_next(turn);
        turn.changed(&self.nozzles);
    }

    fn finish_order_without_fuel(&mut self, order: Option<Order>, then: IfNothing, turn: &mut Turn<'_>) {
        self.timers.clear(Timer::Lift);
        let Some(order) = order else { return };
        match then {
            IfNothing::Release(reason) => turn.release_order(order, reason),
            IfNothing::Move(to) => self.moved_out = Some(MovedOut { order, to }),
        }
    }

    /// An order that is ready to stand elsewhere, once.
    pub(crate) fn take_moved_out(&mut self) -> Option<MovedOut> {
        self.moved_out.take()
    }

    /// Ends an order that has not been lifted.
    pub(crate) fn cancel(&mut self, id: &OrderId, reason: ReleaseReason, turn: &mut Turn<'_>) -> Result<(), TooLate> {
        self.take_away(id, IfNothing::Release(reason), turn)
    }

    /// Takes an order that has not been lifted to another nozzle; see [`Self::take_moved_out`].
    pub(crate) fn move_out(&mut self, id: &OrderId, to: NozzleId, turn: &mut Turn<'_>) -> Result<(), TooLate> {
        self.take_away(id, IfNothing::Move(to), turn)
    }

    fn take_away(&mut self, id: &OrderId, then: IfNothing, turn: &mut Turn<'_>) -> Result<(), TooLate> {
        if let Some(at) = self.queue.iter().position(|order| order.request.order_id == *id) {
            let order = self.queue.remove(at);
            self.timers.clear(Timer::Expiry(order.place));
            let was_armed = order.phase == OrderPhase::Armed;
            if was_armed {
                self.timers.clear(Timer::Lift);
            }
            match then {
                IfNothing::Release(reason) => turn.release_order(order, reason),
                IfNothing::Move(to) => self.moved_out = Some(MovedOut { order, to }),
            }
            self.arm_next(turn);
            turn.changed(&self.nozzles);
            return Ok(());
        }
        if self.shelved.iter().any(|order| order.request.order_id == *id) {
            return Err(TooLate("review"));
        }
        match &mut self.current {
            // A dispenser that is released before the lift: disarm it, and see it disarmed, first.
            Some(current) if !self.able.reports_call && self.state == State::Authorised && !current.withdrawn => {
                current.withdrawn = true;
                current.if_nothing = then;
                turn.pump(self.id, PumpCommand::Withdraw);
                Ok(())
            }
            Some(current) => Err(TooLate(current.order.as_ref().map_or("review", |order| order.phase.word()))),
            None => Err(TooLate("review")),
        }
    }

    /// Stops a fuelling. False if there is nothing to stop, or nothing that we could stop.
    pub(crate) fn stop(&mut self, finish: Finish, turn: &mut Turn<'_>) -> bool {
        if !self.able.takes_releases() {
            return false;
        }
        if let Some(current) = &mut self.current {
            current.finish.get_or_insert(finish);
            if current.stage == Stage::Recording {
                current.withdrawn = true;
                current.if_nothing = IfNothing::Release(ReleaseReason::Cancelled);
                return true;
            }
        } else if !self.state.is_released() {
            return false;
        }
        turn.pump(self.id, PumpCommand::Stop);
        true
    }

    /// Sets a hold. Orders that wait for the nozzle, and cannot be served under it, are released.
    pub(crate) fn hold(&mut self, nozzle: NozzleId, hold: Hold, turn: &mut Turn<'_>) {
        if !self.holds.entry(nozzle).or_default().insert(hold) {
            return;
        }
        turn.changed(&self.nozzles);
        if hold.is_observed() {
            return;
        }
        turn.write(Write::Holds { nozzle, holds: self.stored_holds(nozzle) });
        let waiting: Vec<OrderId> = self
            .queue
            .iter()
            .filter(|order| order.request.nozzle == nozzle)
            .map(|order| order.request.order_id.clone())
            .collect();
        for order in waiting {
            // Orders in the queue can always be taken away.
            let _always = self.cancel(&order, ReleaseReason::StationHeld, turn);
        }
        if let Some(current) = &mut self.current
            && current.stage == Stage::Recording
            && current.release.nozzle == nozzle
        {
            current.withdrawn = true;
            current.if_nothing = IfNothing::Release(ReleaseReason::StationHeld);
        }
    }

    /// Lifts a hold. True if it stood.
    pub(crate) fn unhold(&mut self, nozzle: NozzleId, hold: Hold, turn: &mut Turn<'_>) -> bool {
        let stood = self.holds.entry(nozzle).or_default().remove(&hold);
        if stood {
            turn.changed(&self.nozzles);
            if !hold.is_observed() {
                turn.write(Write::Holds { nozzle, holds: self.stored_holds(nozzle) });
            }
            self.arm_next(turn);
        }
        stood
    }

    fn stored_holds(&self, nozzle: NozzleId) -> Vec<Hold> {
        self.holds(nozzle).into_iter().filter(|hold| !hold.is_observed()).collect()
    }

    // ---- the dispenser -----------------------------------------------------------------------------------------------------

    /// Takes one report of the dispenser.
    pub(crate) fn handle_event(&mut self, event: PumpEvent, turn: &mut Turn<'_>) {
        match event {
            PumpEvent::Snapshot(snapshot) => self.on_snapshot(&snapshot, turn),
            PumpEvent::Lost => self.on_lost(turn),
            PumpEvent::State { state, lifted } if self.heard => self.on_state(state, lifted, turn),
            PumpEvent::Running { volume, amount } if self.heard => self.on_running(volume, amount, turn),
            PumpEvent::RunningAmount { amount } if self.heard => self.on_running_amount(amount, turn),
            PumpEvent::Released { release } => self.on_released(release, turn),
            PumpEvent::Refused { release, why } => self.on_refused(release, why, turn),
            PumpEvent::EndSeen { token, reading } => self.on_end_seen(token, reading, turn),
            PumpEvent::Ended { token, reading, totaliser } => self.on_ended(token, &reading, totaliser, turn),
            PumpEvent::Totaliser { nozzle, volume } => self.on_totaliser(nozzle, volume, turn),
            PumpEvent::Price { nozzle, price } => self.on_price(nozzle, price, turn),
            PumpEvent::Alarm { code, text, holds } => self.on_alarm(code, &text, holds, turn),
            // Before a snapshot nothing of this dispenser is believed.
            PumpEvent::State { .. } | PumpEvent::Running { .. } | PumpEvent::RunningAmount { .. } => {}
        }
    }

    fn on_lost(&mut self, turn: &mut Turn<'_>) {
        if !self.heard && self.lost_at.is_some() {
            return;
        }
        self.heard = false;
        self.set_state(State::Inoperative, None, turn);
        self.lost_at = Some(turn.now.utc);
        for nozzle in self.nozzles.clone() {
            self.hold(nozzle, Hold::CommLost, turn);
        }
        // Nothing is known of the flow any more, so nothing may be concluded from its absence.
        self.timers.clear(Timer::FirstFlow);
        self.timers.clear(Timer::NoFlow);
        if let Some(current) = &mut self.current {
            current.gap = current.gap || current.stage != Stage::Recording;
        }
        turn.alarm(
            "comm_lost",
            self.place(),
            AlarmState::Raised,
            turn.now.utc,
            format!("fuelling point {} does not answer: check its power and the line", self.id),
        );
    }

    fn place(&self) -> String {
        format!("fuelling point {}", self.id)
    }

    fn set_state(&mut self, state: State, lifted: Option<NozzleId>, turn: &mut Turn<'_>) {
        if self.state != state || self.lifted != lifted {
            self.state = state;
            self.lifted = lifted;
            self.since = turn.now.utc;
            turn.changed(&self.nozzles);
        }
    }

    fn on_state(&mut self, state: State, lifted: Option<NozzleId>, turn: &mut Turn<'_>) {
        self.follow_lift(state, lifted);
        self.set_state(state, lifted, turn);
        match &self.current {
            None if state.is_released() => self.adopt(state, lifted, turn),
            None => {
                self.arm_next(turn);
            }
            Some(current) if matches!(current.stage, Stage::Sent | Stage::InForce) && state.is_released() => {
                self.follow(state, turn);
            }
            Some(_) => {}
        }
    }

    /// A nozzle that is in ends the lift that had its turn, also where the end of its fuelling is told only later.
    fn follow_lift(&mut self, state: State, lifted: Option<NozzleId>) {
        self.lift_spent = self.lift_spent && lifted.is_some();
        if let Some(current) = &mut self.current {
            current.lift_over = !state.is_released() && (lifted.is_none() || current.lift_over);
        }
    }

    /// A fuelling that we did not release. One that has not begun is taken back; fuel that flows is followed to its end and booked.
    fn adopt(&mut self, state: State, lifted: Option<NozzleId>, turn: &mut Turn<'_>) {
        if matches!(state, State::Authorised | State::Started) {
            if self.able.takes_releases() {
                turn.pump(self.id, PumpCommand::Withdraw);
            }
            return;
        }
        let Some(nozzle) = lifted.or_else(|| self.nozzles.first().copied()) else { return };
        let release = Release {
            release: turn.next_release(),
            order_id: None,
            fp: self.id,
            nozzle,
            preset: crate::pump::Preset::Volume(Volume::ZERO),
            price: self.price(nozzle),
            price_set: self.price_set(nozzle).cloned(),
            totaliser_start: self.known.get(&nozzle).map(|known| known.volume),
            at: turn.now.utc,
            end_seen: None,
        };
        let mut current = Current::new(release, None, ReleaseReason::NoFlow);
        current.stage = Stage::InForce;
        current.ours = false;
        current.started_at = Some(turn.now.utc);
        self.current = Some(current);
        turn.changed(&self.nozzles);
    }

    /// Our release is in force: follow the flow and keep its deadlines.
    fn follow(&mut self, state: State, turn: &mut Turn<'_>) {
        let Some(current) = &mut self.current else { return };
        current.stage = Stage::InForce;
        if !current.ours {
            return;
        }
        let mono = turn.now.mono;
        let timers = turn.layout().timers.clone();
        let max_fill = turn.layout().rules_of(current.release.nozzle).map(|rules| rules.max_fill);
        match state {
            State::Started if self.timers.due(Timer::FirstFlow).is_none() => {
                self.timers.clear(Timer::Lift);
                self.timers.set(Timer::FirstFlow, mono + timers.first_flow);
                if let Some(order) = current.order.as_mut().filter(|order| order.phase == OrderPhase::Armed) {
                    order.phase = OrderPhase::Lifted;
                    turn.step(order, "lifted", None);
                }
            }
            State::Fuelling => {
                self.timers.clear(Timer::Lift);
                self.timers.clear(Timer::FirstFlow);
                if self.timers.due(Timer::NoFlow).is_none() {
                    self.timers.set(Timer::NoFlow, mono + timers.no_flow);
                }
                if let Some(max_fill) = max_fill.filter(|_| self.timers.due(Timer::MaxFill).is_none()) {
                    self.timers.set(Timer::MaxFill, mono + max_fill);
                }
                if current.order.as_ref().is_none_or(|order| order.phase != OrderPhase::Fuelling) {
                    current.started_at.get_or_insert(turn.now.utc);
                    if let Some(order) = &mut current.order {
                        order.phase = OrderPhase::Fuelling;
                        turn.step(order, "fuelling", None);
                    }
                }
            }
            // Suspended by us: the flow is not expected.
            State::SuspendedStarted | State::SuspendedFuelling => {
                self.timers.clear(Timer::FirstFlow);
                self.timers.clear(Timer::NoFlow);
            }
            _ => {}
        }
    }

    fn on_running(&mut self, volume: Volume, amount: Money, turn: &mut Turn<'_>) {
        let Some(current) = &mut self.current else { return };
        if current.stage != Stage::InForce {
            return;
        }
        if volume > current.volume && current.ours && self.timers.due(Timer::NoFlow).is_some() {
            self.timers.set(Timer::NoFlow, turn.now.mono + turn.layout().timers.no_flow);
        }
        current.volume = volume;
        current.amount = amount;
        turn.live(Live {
            nozzle: current.release.nozzle,
            order_id: current.release.order_id.clone(),
            volume,
            amount,
            at: turn.now.utc,
        });
    }

    /// An amount that grows shows flow as well as a volume does. Without a volume there are no live figures to publish.
    fn on_running_amount(&mut self, amount: Money, turn: &Turn<'_>) {
        let Some(current) = self.current.as_mut().filter(|current| current.stage == Stage::InForce) else { return };
        if amount > current.amount && current.ours && self.timers.due(Timer::NoFlow).is_some() {
            self.timers.set(Timer::NoFlow, turn.now.mono + turn.layout().timers.no_flow);
        }
        current.amount = amount;
    }

    fn on_released(&mut self, release: ReleaseId, turn: &mut Turn<'_>) {
        let Some(current) = &mut self.current else { return };
        if current.release.release != release || current.stage != Stage::Sent {
            return;
        }
        current.stage = Stage::InForce;
        if current.withdrawn || current.finish.is_some() {
            turn.pump(self.id, PumpCommand::Stop);
        }
        let state = self.state;
        self.follow(if state.is_released() { state } else { State::Started }, turn);
        turn.changed(&self.nozzles);
    }

    fn on_refused(&mut self, release: ReleaseId, why: Refusal, turn: &mut Turn<'_>) {
        let Some(current) = &mut self.current else { return };
        if current.release.release != release || current.stage != Stage::Sent {
            return;
        }
        let nozzle = current.release.nozzle;
        self.lift_spent = self.lift_spent || !current.lift_over;
        if why == Refusal::NotCalling && !current.withdrawn && current.finish.is_none() {
            self.rearm(turn);
            self.arm_next(turn);
            return;
        }
        if !current.withdrawn {
            current.if_nothing = IfNothing::Release(match current.finish {
                Some(_) => ReleaseReason::Cancelled,
                None => ReleaseReason::Fault,
            });
        }
        let text = format!("nozzle {nozzle} was not released: {}", refusal_text(&why));
        if let Refusal::PriceMismatch { .. } = why {
            self.hold(nozzle, Hold::PriceMismatch, turn);
            self.correct_price(nozzle, turn);
        }
        turn.alarm("release_refused", self.place(), AlarmState::Raised, turn.now.utc, text);
        self.close_unreleased(turn);
    }

    fn on_end_seen(&mut self, token: Token, reading: Reading, turn: &mut Turn<'_>) {
        if let Some(current) = &mut self.current
            && matches!(current.stage, Stage::Sent | Stage::InForce | Stage::Inherited)
            && current.ours
            && reading.nozzle.is_none_or(|named| named == current.release.nozzle)
        {
            current.release.end_seen = Some(reading);
            turn.write(Write::Release(Box::new(current.release.clone())));
        }
        turn.after(After::Pump(self.id, PumpCommand::Stored(token)));
    }

    fn on_alarm(&mut self, code: u16, text: &str, holds: bool, turn: &mut Turn<'_>) {
        for nozzle in self.nozzles.clone().into_iter().filter(|_| holds) {
            self.hold(nozzle, Hold::Fault, turn);
        }
        turn.alarm("dispenser", self.place(), AlarmState::Raised, turn.now.utc, format!("code {code:02}: {text}"));
    }

    // ---- time --------------------------------------------------------------------------------------------------------------

    /// Handles every deadline that is due.
    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        while let Some(timer) = self.timers.take_due(turn.now.mono) {
            match timer {
                Timer::Lift => self.on_lift_timeout(turn),
                Timer::FirstFlow | Timer::NoFlow => {
                    self.stop(Finish::NoFlow, turn);
                }
                Timer::MaxFill => {
                    self.stop(Finish::Stopped, turn);
                }
                Timer::Expiry(place) => self.on_expiry(place, turn),
                Timer::Review => self.give_up_review(turn),
                Timer::NewPrice(_) => {
                    self.arm_next(turn);
                }
                Timer::PriceCheck(nozzle) => self.on_price_check(nozzle, turn),
                Timer::PriceOverdue(nozzle) => self.on_price_overdue(nozzle, turn),
                Timer::Shelved => {
                    for order in core::mem::take(&mut self.shelved) {
                        turn.release_order(order, ReleaseReason::Fault);
                    }
                }
            }
        }
    }

    fn on_lift_timeout(&mut self, turn: &mut Turn<'_>) {
        match &mut self.current {
            None => {
                if self.queue.first().is_some_and(|order| order.phase == OrderPhase::Armed) {
                    let order = self.queue.remove(0);
                    turn.release_order(order, ReleaseReason::NotLifted);
                    self.arm_next(turn);
                    turn.changed(&self.nozzles);
                }
            }
            Some(current) if self.state == State::Authorised && !current.withdrawn => {
                current.withdrawn = true;
                current.if_nothing = IfNothing::Release(ReleaseReason::NotLifted);
                turn.pump(self.id, PumpCommand::Withdraw);
            }
            // The nozzle is out: the lift came in time.
            Some(_) => {}
        }
    }

    fn on_expiry(&mut self, place: u64, turn: &mut Turn<'_>) {
        if let Some(at) = self.queue.iter().position(|order| order.place == place && order.phase == OrderPhase::Queued)
        {
            let order = self.queue.remove(at);
            turn.release_order(order, ReleaseReason::Expired);
            turn.changed(&self.nozzles);
        }
    }

    fn clear_fuelling_timers(&mut self) {
        for timer in [Timer::FirstFlow, Timer::NoFlow, Timer::MaxFill] {
            self.timers.clear(timer);
        }
    }
}

impl Current {
    fn new(release: Release, order: Option<Order>, if_nothing: ReleaseReason) -> Self {
        Self {
            release,
            order,
            stage: Stage::Recording,
            withdrawn: false,
            if_nothing: IfNothing::Release(if_nothing),
            volume: Volume::ZERO,
            amount: Money::ZERO,
            started_at: None,
            finish: None,
            gap: false,
            recovered: false,
            ours: true,
            lift_over: false,
        }
    }
}

fn refusal_text(why: &Refusal) -> String {
    match why {
        Refusal::NotCalling => "it was hung up or another nozzle is out".into(),
        Refusal::PriceMismatch { shown } => format!("the pump shows the price {shown:?}"),
        Refusal::PresetUnsupported => "the limit does not fit the pump's digits".into(),
        Refusal::Faulty(text) => format!("the pump reports {text}"),
        Refusal::NoEffect => "the pump took the commands and did not act".into(),
        Refusal::Unsettled => "an earlier fuelling there is not settled".into(),
    }
}
