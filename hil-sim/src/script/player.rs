//! Plays a script on the day's world: lets each act happen at its time, writes down what is seen, and compares.

use super::act::{Act, Anew, Ask, Hand};
use super::expect::{Expected, Movement, Never, Seen};
use super::hostile;
use super::parse::{Deed, Order, Script};
use super::table::{Outcome, Row, stamp};
use super::watch::Watch;
use crate::day::faults::{Trouble, Weather};
use crate::day::station::Speaks;
use crate::day::traffic::Span;
use crate::day::world::{Violation, World};
use crate::dispenser::Action;
use crate::platform::{Command, End, OrderSpec};
use core::time::Duration;
use forecourt::ids::{NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::time::Instant;
use forecourt::units::{Currency, Volume};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How often is looked at dispensers and platform between two acts.
const GLANCE: Duration = Duration::from_millis(20);
/// From the end of the flow to hanging up, for those who fuel by themselves.
const HAND: Duration = Duration::from_secs(2);
/// Whoever fuels gives up after this without fuel.
const PATIENCE: Duration = Duration::from_secs(90);

/// Someone who fuels by themselves.
struct Hands {
    nozzle: NozzleId,
    until: Option<Volume>,
    flowed: bool,
    /// When the nozzle goes back.
    hangs_up: Instant,
}

/// A script under way.
pub(super) struct Player<'s> {
    script: &'s Script,
    world: World,
    /// The next deed.
    next: usize,
    commands: BTreeMap<String, (Uuid, OrderSpec, Instant)>,
    hands: Vec<Hands>,
    watch: Watch,
    seen: Vec<Seen>,
    rows: Vec<Row>,
    /// The next expectation.
    expected: usize,
    /// The first of `seen` that was not compared.
    compared: usize,
}

/// What must not be, and was.
struct Broken {
    line: usize,
    what: String,
}

impl<'s> Player<'s> {
    pub(super) fn new(script: &'s Script, keep: usize) -> anyhow::Result<Self> {
        let hours = script.until.as_secs().div_ceil(3_600).max(1);
        let span = Span { from_hour: script.hour, hours, visits: Some(0) };
        let mut world = World::new(script.seed, span, Speaks::Only(script.pumps), keep, |_, _| Weather::fair())?;
        world.listen();
        let watch = Watch::new(&world);
        Ok(Self {
            script,
            world,
            next: 0,
            commands: BTreeMap::new(),
            hands: Vec::new(),
            watch,
            seen: Vec::new(),
            rows: Vec::new(),
            expected: 0,
            compared: 0,
        })
    }

    /// Plays it to its end, or to the first thing that must not be.
    pub(super) fn play(mut self) -> anyhow::Result<Outcome> {
        let broken = self.run()?;
        let failures = match broken {
            Some(Broken { line, what }) => vec![(line, what)],
            None => self.compare_at_end(),
        };
        for expected in self.script.expect.get(self.expected..).unwrap_or(&[]) {
            self.rows.push(Row::missing(expected.line, expected.words(), self.nearest(expected)));
        }
        self.rows.sort_by_key(|row| row.at.unwrap_or(Duration::MAX));
        Ok(Outcome { rows: self.rows, seen: self.seen, failures })
    }

    /// What was seen that is most like something that did not come in its place.
    fn nearest(&self, expected: &Expected) -> String {
        let alike = |seen: &&Seen| expected.pattern.likeness(&seen.what);
        if let Some(seen) = self.seen.iter().find(|seen| expected.fits(seen)) {
            return format!("seen at {}, before or after its place", stamp(seen.at));
        }
        match self.seen.iter().rev().max_by_key(alike).filter(|seen| expected.pattern.likeness(&seen.what) > 1) {
            Some(seen) => format!("seen at {}: {} {}", stamp(seen.at), seen.what, seen.text).trim_end().to_owned(),
            None => "nothing like it".into(),
        }
    }

    fn since_start(&self) -> Duration {
        self.world.now().since(Instant::START)
    }

    fn run(&mut self) -> anyhow::Result<Option<Broken>> {
        let end = Instant::START + self.script.until;
        loop {
            let script = self.script;
            while let Some(deed) =
                script.acts.get(self.next).filter(|deed| Instant::START + deed.at <= self.world.now())
            {
                self.next += 1;
                self.act(deed)?;
            }
            let now = self.world.now();
            if now >= end {
                break;
            }
            let deed = script.acts.get(self.next).map_or(end, |deed| Instant::START + deed.at);
            let violated = self.world.run_to((now + GLANCE).min(deed).min(end))?;
            if let Some(broken) = self.look(violated) {
                return Ok(Some(broken));
            }
        }
        let violated = self.world.finish()?;
        if let Some(broken) = self.look(violated) {
            return Ok(Some(broken));
        }
        Ok(self.broken(true))
    }

    /// Sees what happened, and stops at what must not be.
    fn look(&mut self, violated: Result<(), Violation>) -> Option<Broken> {
        self.move_hands();
        let new = self.watch.look(&mut self.world);
        self.seen.extend(new);
        self.match_expectations();
        if let Some(broken) = self.broken(false) {
            return Some(broken);
        }
        let Violation { at, what } = violated.err()?;
        let at = at.since(Instant::START);
        let never = self.script.must_not.iter().find(|(_, never)| *never == Never::NoEnd);
        let line = never.filter(|_| what.contains("after the last fault is over")).map_or(0, |(line, _)| *line);
        self.rows.push(Row::broken(at, line, "what must always hold", &what));
        Some(Broken { line, what })
    }

    fn match_expectations(&mut self) {
        while let (Some(expected), Some(seen)) = (self.script.expect.get(self.expected), self.seen.get(self.compared)) {
            self.compared += 1;
            if expected.fits(seen) {
                self.expected += 1;
                self.rows.push(Row::seen(expected.line, expected.words(), seen));
            }
        }
        self.compared = self.seen.len();
    }

    fn broken(&mut self, over: bool) -> Option<Broken> {
        let from = self.watch.take_unchecked(self.seen.len());
        let found = self.script.must_not.iter().find_map(|(line, never)| {
            let what = match never {
                Never::Seen(pattern) => {
                    let seen = self.seen[from..].iter().find(|seen| pattern.fits(&seen.what))?;
                    format!("{} {}", seen.what, seen.text)
                }
                Never::NoEnd if !over => return None,
                fixed => self.fixed_is_broken(fixed)?,
            };
            Some((*line, never.words(), what))
        })?;
        let (line, never, what) = found;
        self.rows.push(Row::broken(self.since_start(), line, &format!("never: {never}"), &what));
        Some(Broken { line, what: format!("must not be: {never}: {}", what.trim()) })
    }

    fn fixed_is_broken(&self, never: &Never) -> Option<String> {
        let (stored, in_force) = self.world.orders_released();
        let desk = self.world.platform();
        match never {
            Never::ReleasedWithoutOrder => {
                let released = self.world.fuellings_by_frame().count();
                (released > stored)
                    .then(|| format!("{released} releases at dispensers, {stored} were stored for orders"))
            }
            Never::FuelledTwice => {
                let fuelled = self.world.fuellings_by_frame().filter(|fuelling| fuelling.volume.is_positive()).count();
                let orders = in_force.len().max(stored.min(self.commands.len()));
                if let Some((order, _)) = in_force.iter().find(|(_, releases)| releases.len() > 1) {
                    return Some(format!("order {order} was in force twice"));
                }
                (fuelled > orders).then(|| format!("{fuelled} fuellings by us for {orders} orders"))
            }
            Never::SecondSale => {
                let mut orders: BTreeSet<&OrderId> = BTreeSet::new();
                let mut at: BTreeMap<NozzleId, usize> = BTreeMap::new();
                for sale in desk.sales() {
                    *at.entry(sale.data.nozzle).or_default() += 1;
                    if let Some(order) = sale.data.order_id.as_ref().filter(|order| !orders.insert(*order)) {
                        return Some(format!("order {order} was sold twice"));
                    }
                }
                at.into_iter().find_map(|(nozzle, sales)| {
                    let fuellings = self.world.fuellings_at(nozzle);
                    (sales > fuellings).then(|| format!("{sales} sales of {fuellings} fuellings at nozzle {nozzle}"))
                })
            }
            Never::NoEnd => {
                let open = desk.accounts().find(|account| account.end.is_none())?;
                Some(format!("order {} has no end", open.spec.order_id))
            }
            Never::MoreThanPaid => desk.accounts().find_map(|account| {
                let Some(End::Sale(sale)) = &account.end else { return None };
                let over = match account.spec.limit {
                    Limit::Amount(money) | Limit::FullTank(money) => sale.amount_minor > money,
                    Limit::Volume(volume) => sale.volume_ml > volume,
                };
                let sold = sale.amount_minor.major(Currency::CNY);
                over.then(|| format!("order {} sold {sold} of {:?}", account.spec.order_id, account.spec.limit))
            }),
            Never::Seen(_) => None,
        }
    }

    // ---- what is expected when all is over ---------------------------------------------------------------------------------

    fn compare_at_end(&mut self) -> Vec<(usize, String)> {
        let mut failures = Vec::new();
        for expected in self.script.expect.get(self.expected..).unwrap_or(&[]).iter().take(1) {
            let nearest = self.nearest(expected);
            failures.push((expected.line, format!("did not come in its place: {}: {nearest}", expected.words())));
        }
        let at = self.since_start();
        for (order, (line, books)) in &self.script.books {
            let report = self.world.platform().report();
            let found = report.orders.iter().find(|row| row.order_id == *order);
            let expected = format!("{order}: {} L, kept {}, back {}", books.litres, books.kept, books.back);
            let (seen, good) = match found {
                None => (format!("{order} was never paid"), false),
                Some(row) => (
                    format!(
                        "{} L, kept {}, back {}",
                        row.volume_ml.litres(),
                        row.captured_minor.major(Currency::CNY),
                        row.refunded_minor.major(Currency::CNY)
                    ),
                    books.litres.holds(row.volume_ml.get())
                        && books.kept.holds(row.captured_minor.get())
                        && books.back.holds(row.refunded_minor.get()),
                ),
            };
            if !good {
                failures.push((*line, format!("expected {expected}; seen {seen}")));
            }
            self.rows.push(Row::compared(at, *line, expected, seen, good));
        }
        for nozzle in self.world.nozzles() {
            self.compare_totaliser(nozzle, at, &mut failures);
        }
        for (line, never) in &self.script.must_not {
            self.rows.push(Row::compared(at, *line, format!("never: {}", never.words()), "never".into(), true));
        }
        failures
    }

    fn compare_totaliser(&mut self, nozzle: NozzleId, at: Duration, failures: &mut Vec<(usize, String)>) {
        let moved = self.world.moved(nozzle);
        let named = self.script.totalisers.get(&nozzle).copied();
        let sales = self.world.platform().sales().filter(|sale| sale.data.nozzle == nozzle);
        let sold = sales.map(|sale| sale.data.volume_ml.get()).sum::<i64>();
        let (line, expected, good) = match named {
            None => (0, "0 L".to_owned(), moved == Volume::ZERO),
            Some((line, Movement::Sold)) => {
                (line, format!("{} L, as sold", Volume::new(sold).litres()), moved.get() == sold && sold > 0)
            }
            Some((line, Movement::Litres(range))) => (line, format!("{range} L"), range.holds(moved.get())),
        };
        let (expected, seen) = (format!("totaliser of {nozzle}: {expected}"), format!("{} L", moved.litres()));
        if !good {
            failures.push((line, format!("expected {expected}; seen {seen}")));
        }
        if named.is_some() || !good {
            self.rows.push(Row::compared(at, line, expected, seen, good));
        }
    }

    // ---- acts --------------------------------------------------------------------------------------------------------------

    fn act(&mut self, deed: &Deed) -> anyhow::Result<()> {
        if !deed.text.is_empty() {
            self.rows.push(Row::act(self.since_start(), deed.line, &deed.text));
        }
        match &deed.act {
            Act::Pay(order) => self.pay(order),
            Act::PayAgain(order, times) => {
                let command = self.commands.get(order).map(|(command, ..)| *command);
                for _ in 0..*times {
                    command.into_iter().for_each(|command| self.world.issue_again(command));
                }
            }
            Act::PayAnew(order, anew) => self.pay_anew(order, *anew),
            Act::Cancel(order) => {
                self.world.issue(Command::Cancel(self.script.orders[order].id.clone()));
            }
            Act::Move(order, to) => {
                self.world.issue(Command::Move(self.script.orders[order].id.clone(), *to));
            }
            Act::Ask(ask, nozzle) => {
                self.world.issue(match ask {
                    Ask::Stop => Command::Stop(*nozzle),
                    Ask::Hold => Command::Hold(*nozzle),
                    Ask::Unhold => Command::Unhold(*nozzle),
                    Ask::Watch => Command::Watch(*nozzle, 60),
                });
            }
            Act::Resend(from, to) => {
                self.world.issue(Command::Resend(*from, *to));
            }
            Act::Refuse(sequence) => {
                if let Some(record) = self.world.platform().record_id(*sequence) {
                    self.world.issue(Command::Nack(record, "the platform's books cannot hold it".into()));
                }
            }
            Act::Hand(nozzle, hand) => self.hand(*nozzle, *hand),
            Act::Send(what) => {
                let specs: BTreeMap<&str, OrderSpec> =
                    self.script.orders.iter().map(|(name, order)| (name.as_str(), self.spec(order))).collect();
                hostile::send(&mut self.world, what, &specs);
            }
            Act::Flood(count) => {
                for nth in 0..*count {
                    if let Ok(order) = OrderId::new(format!("nobody-{nth}")) {
                        self.world.issue(Command::Cancel(order));
                    }
                }
            }
            trouble => return self.trouble(trouble),
        }
        Ok(())
    }

    fn trouble(&mut self, act: &Act) -> anyhow::Result<()> {
        let world = &mut self.world;
        match act {
            Act::Line(line, up) => world.let_happen(Trouble::Port(*line, *up)),
            Act::Noise(line, faults) => world.let_happen(Trouble::Noise(*line, *faults)),
            Act::PowerCut(off_for) => world.cut_power(*off_for)?,
            Act::PowerCutAt(commit, at, off_for) => world.cut_power_at(*commit, *at, *off_for),
            Act::Broker { up, forgets } => world.let_happen(Trouble::Broker { up: *up, forgets: *forgets }),
            Act::Drop => world.let_happen(Trouble::Flap),
            Act::EventsLost(lost) => world.weather_mut().lose_events(*lost),
            Act::AcksLost(lost) => world.lose_acks(*lost),
            Act::AcksHeld(held) => world.hold_acks(*held),
            Act::Clock(off, quality) => world.let_happen(Trouble::Clock(*off, *quality)),
            Act::DiskFull(full) => world.let_happen(Trouble::Disk(full.then_some(0))),
            Act::DiskReadOnly(read_only) => world.set_read_only(*read_only),
            Act::DiskSlow(slow) => {
                let (least, most) = if *slow { (800, 2_500) } else { (1, 6) };
                world.weather_mut().set_commit_time(Duration::from_millis(least), Duration::from_millis(most));
            }
            _ => {}
        }
        Ok(())
    }

    fn spec(&self, order: &Order) -> OrderSpec {
        let known = self.world.nozzles().contains(&order.nozzle);
        let (grade, price) = self.world.sells(if known { order.nozzle } else { NozzleId(1) });
        let grade = order.grade.clone().unwrap_or(grade);
        let price = order.price.unwrap_or(price);
        OrderSpec {
            valid_for_s: order.valid_s,
            lift_timeout_s: Some(order.lift_within_s),
            ..OrderSpec::prepaid(order.id.clone(), order.nozzle, grade, order.limit, price, Currency::CNY)
        }
    }

    fn pay(&mut self, order: &str) {
        let spec = self.spec(&self.script.orders[order]);
        let command = self.world.issue(Command::Authorise(Box::new(spec.clone())));
        self.commands.insert(order.to_owned(), (command, spec, self.world.now()));
    }

    /// The same order under another command id; its expiry stays where it was.
    fn pay_anew(&mut self, order: &str, anew: Anew) {
        let Some((_, spec, paid)) = self.commands.get(order).cloned() else { return self.pay(order) };
        let passed = u32::try_from(self.world.now().since(paid).as_secs()).unwrap_or(u32::MAX);
        let mut spec = OrderSpec { valid_for_s: spec.valid_for_s.saturating_sub(passed), ..spec };
        match anew {
            Anew::Same => {}
            Anew::For(limit) => spec.limit = limit,
            Anew::At(nozzle) => spec.nozzle = nozzle,
        }
        self.world.issue(Command::Authorise(Box::new(spec)));
    }

    fn hand(&mut self, nozzle: NozzleId, hand: Hand) {
        let Some(place) = self.world.place(nozzle) else { return };
        match hand {
            Hand::Lift => self.world.act_at(place, Action::Lift(place.index)),
            Hand::HangUp => self.world.act_at(place, Action::HangUp),
            Hand::Squeeze(on) => self.world.act_at(place, Action::Squeeze(on)),
            Hand::Key => self.world.act_at(place, Action::ReleaseByHand),
            Hand::Power(on) => self.world.let_happen(Trouble::Power(place.line, place.device, on)),
            Hand::Unplug(off) => self.world.let_happen(Trouble::Unplug(place.line, place.device, off)),
            Hand::Fuel(until) => {
                self.world.act_at(place, Action::Lift(place.index));
                let hangs_up = self.world.now() + PATIENCE;
                self.hands.push(Hands { nozzle, until, flowed: false, hangs_up });
            }
        }
    }

    /// Those who fuel by themselves look at the display.
    fn move_hands(&mut self) {
        let now = self.world.now();
        let mut hands = core::mem::take(&mut self.hands);
        hands.retain_mut(|hand| {
            let Some(place) = self.world.place(hand.nozzle) else { return false };
            let Some(view) = self.world.view(place) else { return false };
            if view.nozzle_out != Some(place.index) {
                // Someone else hung it up.
                return false;
            }
            if view.flowing {
                hand.flowed = true;
                hand.hangs_up = now + PATIENCE;
                let shown = crate::rig::pumps::DECIMALS.volume(view.figures.volume);
                if hand.until.is_some_and(|until| shown >= until) {
                    self.world.act_at(place, Action::Squeeze(false));
                    hand.hangs_up = now + HAND;
                    hand.until = None;
                }
            } else if hand.flowed && hand.hangs_up > now + HAND {
                hand.hangs_up = now + HAND;
            }
            if hand.hangs_up > now {
                return true;
            }
            self.world.act_at(place, Action::HangUp);
            false
        });
        self.hands.extend(hands);
    }
}
