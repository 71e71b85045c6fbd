//! The pump behind any protocol: nozzles, flow, calculator, limits and totalisers. Pure; time is an argument.
//!
//! The meter counts whole steps of the last volume digit shown, so that what a head shows, what it sold and what its
//! totaliser gained are the same number.

use super::calculator::{AmountDigits, Decimals, PriceDigits, VolumeDigits};
use super::flow::{Curve, FlowProfile, Nanolitres};
use super::record::{EndCause, Fuelling, ReleasedBy};
use super::{Action, Figures, NozzleIndex};
use forecourt::ids::Grade;
use forecourt::time::Instant;
use forecourt::units::Volume;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// One nozzle of a dispenser as it was installed.
#[derive(Clone, Debug)]
pub struct NozzleConfig {
    /// What it sells.
    pub grade: Grade,
    /// Price in the head at the start; `None` where none was ever written.
    pub price: Option<PriceDigits>,
    /// Where its totaliser stands at the start.
    pub totaliser: Volume,
}

/// A pump as it was built.
#[derive(Clone, Debug)]
pub struct PumpConfig {
    /// Nozzles in logical order, the first is number 1.
    pub nozzles: Vec<NozzleConfig>,
    /// Decimals of its head.
    pub decimals: Decimals,
    /// Its hydraulics.
    pub flow: FlowProfile,
    /// The last fuelling is still shown after a power cut.
    pub keeps_sale: bool,
    /// Prices outlive a power cut.
    pub keeps_prices: bool,
}

/// Until when fuel may flow in one fuelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// A volume was preset.
    Volume(VolumeDigits),
    /// An amount was preset.
    Amount(AmountDigits),
    /// None was preset: only the digits of the head end it.
    Head,
}

/// What happened at the pump, for the protocol before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PumpEvent {
    /// The selected nozzle was taken out or hung up.
    NozzleMoved,
    /// The first fuel of a release flows.
    FlowBegan,
    /// A release has ended; the figures shown are final.
    Ended(EndCause),
}

/// Totalisers of one dispenser, as its state file keeps them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totalisers {
    /// Volume ever metered, by nozzle, in millilitres.
    pub volume_ml: BTreeMap<NozzleIndex, Volume>,
    /// Money ever charged, by nozzle, in units of the last amount digit.
    pub amount: BTreeMap<NozzleIndex, u64>,
}

#[derive(Debug)]
struct Nozzle {
    price: Option<PriceDigits>,
    volume: Volume,
    amount: u64,
}

#[derive(Debug)]
enum Flow {
    /// No fuel: no allowed nozzle out, the trigger let go, or suspended.
    Closed,
    /// The motor runs up.
    Starting(Instant),
    /// Fuel flows.
    Open(Curve),
}

#[derive(Debug)]
struct Release {
    nozzles: Vec<NozzleIndex>,
    limit: Limit,
    by: ReleasedBy,
    suspended: bool,
    /// The nozzle that fuels, its price and its totalisers before.
    fuelling: Option<(NozzleIndex, PriceDigits, Instant)>,
    metered: Nanolitres,
    flow: Flow,
}

/// A pump.
#[derive(Debug)]
pub struct Pump {
    config: PumpConfig,
    nozzles: BTreeMap<NozzleIndex, Nozzle>,
    powered: bool,
    squeezed: bool,
    out: Vec<NozzleIndex>,
    selected: Option<NozzleIndex>,
    shown: Figures,
    release: Option<Release>,
    fuellings: Vec<Fuelling>,
    events: VecDeque<PumpEvent>,
}

impl Pump {
    /// A pump with power, all nozzles in, nothing sold.
    #[must_use]
    pub fn new(config: PumpConfig) -> Self {
        let nozzles = (1..).map(NozzleIndex).zip(&config.nozzles);
        let nozzles = nozzles
            .map(|(index, made)| (index, Nozzle { price: made.price, volume: made.totaliser, amount: 0 }))
            .collect();
        Self {
            config,
            nozzles,
            powered: true,
            squeezed: true,
            out: Vec::new(),
            selected: None,
            shown: Figures::default(),
            release: None,
            fuellings: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// How it was built.
    #[must_use]
    pub const fn config(&self) -> &PumpConfig {
        &self.config
    }

    /// Whether it has power.
    #[must_use]
    pub const fn powered(&self) -> bool {
        self.powered
    }

    /// The nozzle it counts as selected, in or out.
    #[must_use]
    pub const fn selected(&self) -> Option<NozzleIndex> {
        self.selected
    }

    /// The nozzle it sees out. Of two lifted ones it sees the first only (DART sheet, section 6).
    #[must_use]
    pub fn nozzle_out(&self) -> Option<NozzleIndex> {
        self.selected.filter(|nozzle| self.out.contains(nozzle))
    }

    /// The price in the head for a nozzle.
    #[must_use]
    pub fn price(&self, nozzle: NozzleIndex) -> Option<PriceDigits> {
        self.nozzles.get(&nozzle)?.price
    }

    /// Whether every nozzle has a price.
    #[must_use]
    pub fn is_programmed(&self) -> bool {
        self.nozzles.values().all(|nozzle| nozzle.price.is_some())
    }

    /// How many nozzles it has.
    #[must_use]
    pub fn nozzle_count(&self) -> usize {
        self.nozzles.len()
    }

    /// What its display shows at a time: the running or the last fuelling. Timers that are due by then must have been handled.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Figures {
        match &self.release {
            Some(Release { flow: Flow::Open(curve), limit, fuelling: Some((_, price, _)), .. }) => {
                self.figures_of(curve.at(now), *limit, *price)
            }
            _ => self.shown,
        }
    }

    /// The volume totaliser of a nozzle at a time, counting what flows. `None` if there is no such nozzle.
    #[must_use]
    pub fn totaliser(&self, nozzle: NozzleIndex, now: Instant) -> Option<Volume> {
        let ended = self.nozzles.get(&nozzle)?.volume;
        ended.checked_add(
            self.running_of(nozzle, now).map_or(Volume::ZERO, |run| self.config.decimals.volume(run.volume)),
        )
    }

    /// The amount totaliser of a nozzle at a time, in units of the last amount digit.
    #[must_use]
    pub fn amount_totaliser(&self, nozzle: NozzleIndex, now: Instant) -> Option<u64> {
        let ended = self.nozzles.get(&nozzle)?.amount;
        Some(ended + self.running_of(nozzle, now).map_or(0, |run| u64::from(run.amount.0)))
    }

    fn running_of(&self, nozzle: NozzleIndex, now: Instant) -> Option<Figures> {
        let (fuelling, ..) = self.release.as_ref()?.fuelling?;
        (fuelling == nozzle).then(|| self.figures(now))
    }

    /// All totalisers at a time, to be kept over a restart.
    #[must_use]
    pub fn totalisers(&self, now: Instant) -> Totalisers {
        let mut all = Totalisers::default();
        for &nozzle in self.nozzles.keys() {
            all.volume_ml.extend(self.totaliser(nozzle, now).map(|volume| (nozzle, volume)));
            all.amount.extend(self.amount_totaliser(nozzle, now).map(|amount| (nozzle, amount)));
        }
        all
    }

    /// Puts totalisers back as they were kept; those of nozzles that it does not have are left out.
    pub fn restore(&mut self, kept: &Totalisers) {
        for (index, nozzle) in &mut self.nozzles {
            nozzle.volume = kept.volume_ml.get(index).copied().unwrap_or(nozzle.volume);
            nozzle.amount = kept.amount.get(index).copied().unwrap_or(nozzle.amount);
        }
    }

    /// Every release that has ended, with what flowed.
    #[must_use]
    pub fn fuellings(&self) -> &[Fuelling] {
        &self.fuellings
    }

    /// Whether fuel may flow or flows.
    #[must_use]
    pub const fn is_released(&self) -> bool {
        self.release.is_some()
    }

    /// Whether fuel flows now.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        matches!(&self.release, Some(Release { flow: Flow::Open(_), .. }))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<PumpEvent> {
        self.events.pop_front()
    }

    /// When something happens here by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.release.as_ref()?.flow {
            Flow::Closed => None,
            Flow::Starting(due) => Some(*due),
            Flow::Open(curve) => Some(curve.ends()),
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            if self.is_flowing() {
                self.end(EndCause::LimitReached, due);
            } else {
                self.open(due, true);
            }
        }
    }

    /// What a hand does at a nozzle. Power, alarms and keys are the head's.
    pub fn handle_hand(&mut self, action: Action, now: Instant) {
        match action {
            Action::Lift(nozzle) => self.lift(nozzle, now),
            Action::HangUp => self.hang_up(now),
            Action::Squeeze(squeezed) => self.squeeze(squeezed, now),
            Action::Power(_) | Action::Alarm(_) | Action::ReleaseByHand => {}
        }
    }

    /// Someone takes a nozzle out.
    pub fn lift(&mut self, nozzle: NozzleIndex, now: Instant) {
        self.handle_timeout(now);
        if !self.nozzles.contains_key(&nozzle) || self.out.contains(&nozzle) {
            return;
        }
        self.out.push(nozzle);
        self.squeezed = true;
        if self.powered && self.out.len() == 1 {
            self.selected = Some(nozzle);
            self.events.push_back(PumpEvent::NozzleMoved);
        }
        self.settle_flow(now);
    }

    /// Someone hangs up whatever is out.
    pub fn hang_up(&mut self, now: Instant) {
        self.handle_timeout(now);
        if self.out.is_empty() {
            return;
        }
        let began = self.release.as_ref().is_some_and(|release| release.fuelling.is_some());
        self.settle_closed(now);
        self.out.clear();
        if self.powered {
            self.events.push_back(PumpEvent::NozzleMoved);
        }
        if began {
            self.end(EndCause::HungUp, now);
        }
    }

    /// Someone squeezes the trigger of the nozzle or lets it go.
    pub fn squeeze(&mut self, squeezed: bool, now: Instant) {
        self.handle_timeout(now);
        self.squeezed = squeezed;
        self.settle_flow(now);
    }

    /// Power comes or goes. Totalisers stay; the rest as the head was built.
    pub fn power(&mut self, on: bool, now: Instant) {
        self.handle_timeout(now);
        if on == self.powered {
            return;
        }
        if on {
            self.selected = self.out.first().copied().or(self.selected);
        } else {
            self.end(EndCause::PowerCut, now);
            self.selected = None;
            if !self.config.keeps_sale {
                self.shown = Figures::default();
            }
            if !self.config.keeps_prices {
                self.nozzles.values_mut().for_each(|nozzle| nozzle.price = None);
            }
            self.events.clear();
        }
        self.powered = on;
    }

    /// Writes a price. The one of a fuelling under way stays what it was.
    pub fn set_price(&mut self, nozzle: NozzleIndex, price: PriceDigits) {
        if let Some(nozzle) = self.nozzles.get_mut(&nozzle) {
            nozzle.price = Some(price);
        }
    }

    /// Clears the display.
    pub fn clear(&mut self) {
        if self.release.is_none() {
            self.shown = Figures::default();
        }
    }

    /// Releases one fuelling with these nozzles. The display starts at zero.
    pub fn release(&mut self, nozzles: Vec<NozzleIndex>, limit: Limit, by: ReleasedBy, now: Instant) {
        self.handle_timeout(now);
        self.shown = Figures::default();
        self.release = Some(Release {
            nozzles,
            limit,
            by,
            suspended: false,
            fuelling: None,
            metered: Nanolitres::default(),
            flow: Flow::Closed,
        });
        self.settle_flow(now);
    }

    /// Sets another limit for the release in force. If it is already exceeded the flow ends.
    pub fn set_limit(&mut self, limit: Limit, now: Instant) {
        self.handle_timeout(now);
        self.settle_closed(now);
        let Some(release) = &mut self.release else { return };
        release.limit = limit;
        release.by.limit = limit;
        let (metered, fuelling) = (release.metered, release.fuelling);
        if fuelling.is_some_and(|(_, price, _)| metered >= self.end_of(limit, price)) {
            self.end(EndCause::LimitReached, now);
        } else {
            self.settle_flow(now);
        }
    }

    /// Ends the release, with what flowed.
    pub fn stop(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.end(EndCause::Stopped, now);
    }

    /// Holds the flow or lets it go on.
    pub fn suspend(&mut self, suspended: bool, now: Instant) {
        self.handle_timeout(now);
        if let Some(release) = &mut self.release {
            release.suspended = suspended;
        }
        self.settle_flow(now);
    }

    /// Opens or closes the valve as nozzle, trigger and release want it.
    fn settle_flow(&mut self, now: Instant) {
        let Some(release) = &self.release else { return };
        let out = self.nozzle_out().filter(|nozzle| release.nozzles.contains(nozzle));
        let wanted = self.powered && self.squeezed && !release.suspended && out.is_some();
        match (wanted, &release.flow, release.fuelling.is_some()) {
            (false, ..) => self.settle_closed(now),
            (true, Flow::Closed, true) => self.open(now, false),
            (true, Flow::Closed, false) => {
                let due = now + self.config.flow.start_delay;
                if let Some(release) = &mut self.release {
                    release.flow = Flow::Starting(due);
                }
            }
            (true, Flow::Starting(_) | Flow::Open(_), _) => {}
        }
    }

    fn settle_closed(&mut self, now: Instant) {
        let shown = self.figures(now);
        let Some(release) = &mut self.release else { return };
        if let Flow::Open(curve) = &release.flow {
            release.metered = curve.at(now);
            self.shown = shown;
        }
        release.flow = Flow::Closed;
    }

    fn open(&mut self, now: Instant, ramp: bool) {
        let Some(nozzle) = self.nozzle_out() else { return };
        let price = self.price(nozzle).unwrap_or_default();
        let Some(release) = &self.release else { return };
        let (end, base) = (self.end_of(release.limit, price), release.metered);
        let curve = Curve::new(&self.config.flow, base, end, ramp, now);
        let Some(release) = &mut self.release else { return };
        release.flow = Flow::Open(curve);
        if release.fuelling.is_none() {
            release.fuelling = Some((nozzle, price, now));
            self.events.push_back(PumpEvent::FlowBegan);
        }
    }

    /// The volume at which a limit, or the head's digits, end the flow.
    fn end_of(&self, limit: Limit, price: PriceDigits) -> Nanolitres {
        let decimals = self.config.decimals;
        let by_head = decimals.volume_within(AmountDigits::MAX, price);
        let end = match limit {
            Limit::Volume(volume) => volume.min(by_head),
            Limit::Amount(amount) => decimals.volume_within(amount, price),
            Limit::Head => by_head,
        };
        decimals.volume(end).into()
    }

    fn figures_of(&self, metered: Nanolitres, limit: Limit, price: PriceDigits) -> Figures {
        let decimals = self.config.decimals;
        let step = Nanolitres::from(decimals.step()).0.max(1);
        let volume = VolumeDigits(u32::try_from(metered.0 / step).unwrap_or(u32::MAX));
        let amount = match limit {
            // A head that stops on an amount shows that amount (DART sheet, section 12 B: 4.76 at 10500 shows 50000).
            Limit::Amount(preset) if volume.0 > 0 && metered == self.end_of(limit, price) => preset,
            _ => decimals.amount_of(volume, price),
        };
        Figures { volume, amount }
    }

    fn end(&mut self, cause: EndCause, now: Instant) {
        self.settle_closed(now);
        let Some(release) = self.release.take() else { return };
        let figures = self.shown;
        let fuelled = release.fuelling.or_else(|| Some((self.selected?, PriceDigits::default(), now)));
        let volume = self.config.decimals.volume(figures.volume);
        let (mut before, mut after) = (None, None);
        if let Some((nozzle, ..)) = fuelled
            && let Some(nozzle) = self.nozzles.get_mut(&nozzle)
        {
            before = Some(nozzle.volume);
            nozzle.volume = nozzle.volume.checked_add(volume).unwrap_or(nozzle.volume);
            nozzle.amount += u64::from(figures.amount.0);
            after = Some(nozzle.volume);
        }
        self.fuellings.push(Fuelling {
            nozzle: fuelled.map(|(nozzle, ..)| nozzle),
            figures,
            volume,
            price: release.fuelling.map(|(_, price, _)| price),
            totaliser_before: before,
            totaliser_after: after,
            released_by: release.by,
            began: release.fuelling.map(|(.., began)| began),
            ended: now,
            cause,
        });
        self.events.push_back(PumpEvent::Ended(cause));
    }
}

#[cfg(test)]
mod tests;
