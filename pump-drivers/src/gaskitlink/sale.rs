//! What the answers of a post mean: reading in, release, fuelling, end and close (GasKitLink sheet, sections 4 to 7).

use super::driver::{GasKitLinkDriver, alarm};
use super::look::{Look, logical, nozzle, reading};
use super::message::{ControllerSays, PumpSays, Status, Transaction};
use super::phase::{
    Ask, Closing, EndRead, Ending, Phase, ReleaseStep, Releasing, Running, Unwritable, authorise, holds_transaction,
};
use super::settings::AuthoriseIn;
use core::time::Duration;
use forecourt::ids::NozzleId;
use forecourt::pump::{Authorise, PumpEvent, Reading, Refusal};
use forecourt::time::Instant;
use forecourt::units::{Money, UnitPrice, Volume};
use std::collections::BTreeMap;

/// Readings of an end until two must agree.
const MOST_READINGS: u8 = 4;
/// T at rest is asked for so often while reading in.
const MOST_ASKED: u8 = 3;
/// V or M of one release that nobody answered, each after a look at the state.
const MOST_AUTHORISES: u8 = 3;
/// How long an answered V or M may take to show.
const SLOW_EFFECT: Duration = Duration::from_millis(300);
/// How old the state may be when V or M goes out.
const FRESH: Duration = Duration::from_millis(1_000);
/// N without effect until it is called out.
const MOST_CLOSES: u8 = 5;

impl GasKitLinkDriver {
    // ---- commands ----

    pub(super) fn authorise(&mut self, order: Authorise, now: Instant) {
        if let Phase::Closing(closing) = &mut self.phase
            && self.told.is_settled()
            && closing.waiting.is_none()
            && self.stop.is_none()
        {
            // the last sale is stored and only N is missing: worth waiting for
            closing.waiting = Some(order);
            return;
        }
        match self.may_release(&order) {
            Ok(says) => {
                let fresh = !self.look && self.seen.is_some_and(|seen| now.since(seen.at) <= FRESH);
                let step = if fresh { ReleaseStep::Send } else { ReleaseStep::Look };
                self.disowned = false;
                self.phase = Phase::Releasing(Releasing::new(order, says, step, now));
                self.next_at = now;
                if fresh {
                    self.check_before_release();
                }
            }
            Err(why) => self.told.emit(PumpEvent::Refused { release: order.release, why }),
        }
    }

    /// What to send for an order, or why not.
    fn may_release(&self, order: &Authorise) -> Result<ControllerSays, Refusal> {
        if !matches!(self.phase, Phase::Ready) || !self.told.is_settled() || self.stop.is_some() {
            return Err(Refusal::Unsettled);
        }
        if let Some(alarm) = self.told.alarm() {
            return Err(Refusal::Faulty(alarm.to_owned()));
        }
        let nozzle = self.settings.nozzles.iter().find(|n| n.nozzle == order.nozzle).ok_or(Refusal::NotCalling)?;
        if nozzle.price != order.price {
            return Err(Refusal::PriceMismatch { shown: nozzle.price });
        }
        let logical = logical(order.nozzle, &self.settings).ok_or(Refusal::NotCalling)?;
        authorise(order, logical, &self.settings).map_err(|unwritable| match unwritable {
            Unwritable::Limit => Refusal::PresetUnsupported,
            Unwritable::Price => Refusal::Faulty(unwritable_price(order.nozzle, order.price)),
        })
    }

    pub(super) fn set_prices(&mut self, prices: &BTreeMap<NozzleId, UnitPrice>) {
        for at in 0..self.settings.nozzles.len() {
            let nozzle = self.settings.nozzles[at].nozzle;
            let Some(price) = prices.get(&nozzle) else { continue };
            if self.settings.decimals.price_number(*price, 4).is_none() {
                self.told.raise(alarm::PRICE, unwritable_price(nozzle, *price), false);
            } else {
                self.settings.nozzles[at].price = *price;
            }
        }
    }

    pub(super) fn examine(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Releasing(_) | Phase::Ending(_)) {
            self.examine_due = true;
        } else {
            self.begin_read_in();
            self.next_at = now;
        }
    }

    /// Something was stored: what waited for it goes on at once.
    pub(super) fn handle_settled(&mut self, now: Instant) {
        if self.told.is_settled()
            && let Phase::Closing(Closing { sent: None, .. }) = self.phase
        {
            self.next_at = now;
        }
    }

    // ---- answers ----

    pub(super) fn handle(&mut self, ask: Ask, says: &PumpSays, now: Instant) {
        match says {
            PumpSays::Status(status, nozzle) => {
                self.handle_look(ask, Look { status: *status, nozzle: *nozzle, at: now }, now);
            }
            PumpSays::Volume(_, _, _, volume) => {
                let volume = self.settings.decimals.volume(volume.number());
                if let Phase::Running(running) = &mut self.phase {
                    running.volume = volume;
                    running.turn = 2;
                }
            }
            PumpSays::Money(_, _, _, money) => {
                let amount = self.settings.decimals.amount(money.number(), self.settings.currency);
                if let Phase::Running(running) = &mut self.phase {
                    running.turn = 0;
                    if let (Some(volume), Some(amount)) = (running.volume.take(), amount) {
                        self.told.running(volume, amount);
                    }
                }
            }
            PumpSays::Transaction(sale) => self.handle_transaction(*sale, now),
            PumpSays::Totaliser(_, total) => {
                let total = self.settings.decimals.total(total.number());
                self.handle_total(total, now);
            }
            PumpSays::Parameter(..) | PumpSays::Channel(_) => {}
        }
    }

    fn handle_look(&mut self, ask: Ask, look: Look, now: Instant) {
        let before = self.status();
        if ask == Ask::Status {
            self.look = false;
        }
        if ask == Ask::Close && matches!(self.phase, Phase::Closing(_)) {
            // it may still tell the old state
            self.next_at = now + self.habits.close_wait;
            return;
        }
        if let Phase::Releasing(releasing) = &mut self.phase
            && ask == Ask::Authorise
        {
            releasing.answered = true;
            if !holds_transaction(look.status) {
                return;
            }
        }
        self.seen = Some(look);
        self.follow_override(look.status);
        if look.status == Status::Error {
            let text = "the post is in its error state (0) and tells no code: look at its display";
            self.told.raise(alarm::ERROR, text.into(), true);
        } else if before == Some(Status::Error) && !matches!(self.phase, Phase::ReadIn(_)) {
            self.told.examine();
            self.begin_read_in();
        }
        self.follow_look(look, now);
        self.report();
    }

    fn follow_look(&mut self, look: Look, now: Instant) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => {
                read_in.looked = true;
                self.finish_reading_in();
            }
            Phase::Ready => match look.status {
                Status::EndOfTransaction => self.begin_ending(None, None, EndRead::default()),
                status if status.is_running() => {
                    if self.disowned {
                        self.order_stop(now);
                    }
                    self.begin_running(None, None);
                }
                _ => {}
            },
            Phase::Releasing(releasing) => {
                if holds_transaction(look.status) {
                    let (release, nozzle, price) =
                        (releasing.order.release, releasing.order.nozzle, releasing.order.price);
                    let cancelled = releasing.cancelled;
                    if releasing.sent > 0 {
                        self.told.emit(PumpEvent::Released { release });
                        self.begin_running(Some(price), Some(nozzle));
                    } else {
                        self.refuse(Refusal::Unsettled);
                        self.begin_running(None, None);
                    }
                    if cancelled {
                        self.order_stop(now);
                    }
                    self.follow_running(look);
                } else if releasing.step == ReleaseStep::Judge {
                    self.judge(look, now);
                } else {
                    self.check_before_release();
                }
            }
            Phase::Running(_) => self.follow_running(look),
            Phase::Ending(_) => {}
            Phase::Closing(_) => self.follow_closing(look, now),
        }
    }

    pub(super) fn handle_failure(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Transaction => {
                let at_rest = self.status().is_some_and(|status| !holds_transaction(status));
                if let Phase::ReadIn(read_in) = &mut self.phase {
                    read_in.attempts += 1;
                    // what a post holds is never left unread
                    if at_rest && read_in.attempts >= MOST_ASKED {
                        read_in.sale_done = true;
                        read_in.attempts = 0;
                        self.finish_reading_in();
                    }
                }
            }
            Ask::Totaliser(_) => {
                let most = self.settings.total_attempts;
                match &mut self.phase {
                    Phase::ReadIn(read_in) => {
                        read_in.attempts += 1;
                        if read_in.attempts >= most {
                            read_in.attempts = 0;
                            read_in.left.pop_front();
                            self.finish_reading_in();
                        }
                    }
                    Phase::Running(Running { end, .. }) | Phase::Ending(Ending { end, .. }) => {
                        end.attempts += 1;
                        if end.attempts >= most {
                            self.handle_total(None, now);
                        }
                    }
                    _ => {}
                }
            }
            Ask::Close if matches!(self.phase, Phase::Closing(_)) => self.next_at = now + self.habits.close_wait,
            _ => {}
        }
    }

    // ---- reading in ----

    fn finish_reading_in(&mut self) {
        let Phase::ReadIn(read_in) = &mut self.phase else { return };
        let Some(look) = self.seen.filter(|_| read_in.looked && read_in.sale_done && read_in.left.is_empty()) else {
            return;
        };
        let totalisers = core::mem::take(&mut read_in.totals);
        let sale = read_in.sale;
        let reading = sale.and_then(|sale| reading(&sale, &self.settings));
        self.last_sale = sale;
        self.told.snapshot(look.state(), look.lifted(&self.settings), reading, totalisers, false);
        if look.status == Status::EndOfTransaction {
            self.phase = Phase::Closing(Closing::default());
        } else if look.status.is_running() {
            self.begin_running(None, reading.and_then(|reading| reading.nozzle));
            let figures = reading.map_or((Volume::ZERO, Money::ZERO), |reading| (reading.volume, reading.amount));
            self.told.begin_running(figures);
            // what runs is not yet told as an end
            self.last_sale = None;
        } else {
            self.phase = Phase::Ready;
        }
    }

    // ---- release ----

    pub(super) fn refuse(&mut self, why: Refusal) {
        if let Phase::Releasing(releasing) = &self.phase {
            let release = releasing.order.release;
            self.disowned = releasing.sent > 0;
            self.told.emit(PumpEvent::Refused { release, why });
            self.become_ready();
        }
    }

    /// An order that waits for N is taken back.
    pub(super) fn refuse_waiting(&mut self) {
        if let Phase::Closing(closing) = &mut self.phase
            && let Some(order) = closing.waiting.take()
        {
            self.told.emit(PumpEvent::Refused { release: order.release, why: Refusal::Unsettled });
        }
    }

    /// The post is lost while a release was being written and nothing of it went out. If it did, only a new look can tell.
    pub(super) fn give_up_release(&mut self) {
        self.refuse_waiting();
        if let Phase::Releasing(Releasing { sent: 0, .. }) = self.phase {
            self.refuse(Refusal::Faulty("the post fell silent before it was released".into()));
        }
    }

    fn become_ready(&mut self) {
        self.phase = Phase::Ready;
        if self.examine_due {
            self.begin_read_in();
        }
    }

    /// All that must be seen right before V or M.
    fn check_before_release(&mut self) {
        let Some(look) = self.seen else { return };
        let lifted = look.lifted(&self.settings);
        let early = self.habits.authorise_in == AuthoriseIn::Idle;
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        if releasing.cancelled {
            self.refuse(Refusal::NoEffect);
        } else if look.status == Status::Error {
            self.refuse(Refusal::Faulty("the post is in its error state".into()));
        } else if look.status == Status::Idle && early
            || look.status == Status::Calling && lifted == Some(releasing.order.nozzle)
        {
            releasing.step = ReleaseStep::Send;
        } else {
            self.refuse(Refusal::NotCalling);
        }
    }

    /// V or M went out and the state was read since: the post is not released. Whether to try again.
    fn judge(&mut self, look: Look, now: Instant) {
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        if releasing.cancelled {
            self.refuse(Refusal::NoEffect);
        } else if releasing.answered && releasing.waited(now) < SLOW_EFFECT && look.status != Status::Error {
            // it has heard us: it may take a moment
        } else if releasing.answered || releasing.sent >= MOST_AUTHORISES {
            self.refuse(Refusal::NoEffect);
        } else {
            self.check_before_release();
        }
    }

    // ---- fuelling ----

    fn begin_running(&mut self, ours: Option<UnitPrice>, nozzle: Option<NozzleId>) {
        self.told.begin_running((Volume::ZERO, Money::ZERO));
        let stopped = self.stop.is_some();
        self.phase = Phase::Running(Running { ours, nozzle, turn: 0, volume: None, end: EndRead::default(), stopped });
    }

    fn follow_running(&mut self, look: Look) {
        let Phase::Running(running) = &mut self.phase else { return };
        running.nozzle = look.lifted(&self.settings).or(running.nozzle);
        running.turn = u8::from(look.status == Status::Fuelling);
        match look.status {
            Status::EndOfTransaction => {
                let (ours, nozzle, end) = (running.ours, running.nozzle, running.end);
                self.begin_ending(ours, nozzle, end);
            }
            // gone without 9: someone closed it, or it lost power; only totalisers and T can tell
            Status::Idle | Status::Calling => self.begin_read_in(),
            Status::Stopped | Status::Error => {}
            _ => {
                // it goes on: what was read in 8 is old
                running.end = EndRead::default();
                if running.stopped && look.status.lets_flow() && self.stop.is_none() {
                    self.order_stop(look.at);
                }
            }
        }
    }

    // ---- end ----

    fn begin_ending(&mut self, ours: Option<UnitPrice>, nozzle: Option<NozzleId>, read: EndRead) {
        let end = EndRead { attempts: 0, ..read };
        self.phase = Phase::Ending(Ending { ours, nozzle, end, readings: 0, confirmed: false, seen_told: false });
    }

    fn handle_transaction(&mut self, sale: Transaction, now: Instant) {
        let read = reading(&sale, &self.settings);
        match &mut self.phase {
            Phase::ReadIn(read_in) => {
                read_in.sale = Some(sale);
                read_in.sale_done = true;
                read_in.attempts = 0;
                self.finish_reading_in();
            }
            Phase::Running(running) => {
                running.nozzle = running.nozzle.or_else(|| nozzle(sale.nozzle, &self.settings));
                running.end.sale = Some(sale);
                if running.nozzle.is_none() {
                    running.end.total = Some(None);
                }
                let old = self.last_sale.is_some_and(|last| last.is_same(&sale));
                if let Some(read) = read.filter(|_| !old) {
                    self.told.running(read.volume, read.amount);
                }
            }
            Phase::Ending(ending) => {
                let stale = self.last_sale.is_some_and(|last| last.is_same(&sale)) && sale.volume.number() > 0;
                if stale {
                    // the last sale again, letter and all: nothing is known of this one but its totaliser
                    self.begin_read_in();
                    return;
                }
                ending.readings += 1;
                ending.nozzle = nozzle(sale.nozzle, &self.settings).or(ending.nozzle);
                ending.confirmed = ending.end.sale.is_some_and(|before| before.is_same(&sale));
                if ending.end.sale.is_some() && !ending.confirmed {
                    // more flowed, or one of the two came out wrong: the totaliser may be old too
                    ending.end.total = None;
                }
                ending.end.sale = Some(sale);
                if ending.nozzle.is_none() {
                    ending.end.total = Some(None);
                }
                let first = !core::mem::replace(&mut ending.seen_told, true);
                if let Some(read) = read.filter(|_| first) {
                    self.told.end_seen(Reading { nozzle: ending.nozzle, ..read });
                }
                self.finish_ending(now);
            }
            _ => {}
        }
    }

    fn handle_total(&mut self, total: Option<Volume>, now: Instant) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => {
                read_in.attempts = 0;
                if let (Some((_, nozzle)), Some(total)) = (read_in.left.pop_front(), total) {
                    read_in.totals.insert(nozzle, total);
                }
                self.finish_reading_in();
            }
            Phase::Running(running) => running.end.total = Some(total),
            Phase::Ending(ending) => {
                ending.end.total = Some(total);
                self.finish_ending(now);
            }
            _ => {}
        }
    }

    fn finish_ending(&mut self, now: Instant) {
        let Phase::Ending(ending) = &self.phase else { return };
        let (Some(sale), Some(total)) = (ending.end.sale, ending.end.total) else { return };
        if !ending.confirmed && ending.readings < MOST_READINGS {
            return;
        }
        let (ours, nozzle) = (ending.ours, ending.nozzle);
        let Some(read) = reading(&sale, &self.settings) else { return };
        let read = Reading { nozzle, ..read };
        let step = self.settings.decimals.volume_step();
        let agrees = |price: UnitPrice| price.agrees(read.volume, read.amount, step, self.settings.currency);
        if !read.price.is_none_or(agrees) {
            let text = "volume × price and amount of a fuelling differ: check the decimals set for this head";
            self.told.raise(alarm::DECIMALS, text.into(), false);
        }
        self.last_sale = Some(sale);
        self.told.ended(read, total);
        // Whoever lifts a nozzle while the post is closed lifts it anew.
        self.told.hung_up();
        // only a price that we sent ourselves can be compared: an older sale has an older one
        if let (Some(_), Some(nozzle), Some(price)) = (ours, nozzle, read.price.filter(|_| read.volume.is_positive())) {
            self.told.price(nozzle, price, true);
        }
        self.phase = Phase::Closing(Closing::default());
        if core::mem::take(&mut self.examine_due) {
            self.begin_read_in();
        }
        self.next_at = now;
    }

    // ---- close ----

    fn follow_closing(&mut self, look: Look, now: Instant) {
        let settled = self.told.is_settled();
        let Phase::Closing(closing) = &mut self.phase else { return };
        match look.status {
            Status::EndOfTransaction => {
                let waited = closing.sent.is_none_or(|sent| now.since(sent) >= self.habits.close_wait);
                closing.may_close = settled && waited;
                if closing.tries >= MOST_CLOSES && closing.may_close {
                    let text = "the post does not close its transaction (N): no new sale is possible there";
                    self.told.raise(alarm::CLOSE, text.into(), false);
                    // an order that waits for the close must not wait for ever
                    self.refuse_waiting();
                }
            }
            Status::Idle | Status::Calling => {
                let waiting = closing.waiting.take();
                self.become_ready();
                self.report();
                if let Some(order) = waiting {
                    self.authorise(order, now);
                }
            }
            Status::Error => self.refuse_waiting(),
            _ => {
                self.refuse_waiting();
                self.begin_running(None, None);
            }
        }
    }

    // ---- reports ----

    /// Reports what changed of the state. While an end is read and closed the core is told of that alone.
    fn report(&mut self) {
        let Some(look) = self.seen else { return };
        if !matches!(self.phase, Phase::ReadIn(_) | Phase::Ending(_) | Phase::Closing(_)) {
            self.told.state(look.state(), look.lifted(&self.settings));
        }
    }
}

fn unwritable_price(nozzle: NozzleId, price: UnitPrice) -> String {
    format!("price {price:?} of nozzle {nozzle} cannot be written in four digits: check the decimals of this head")
}
