//! What a driver has told the core: events in order, without repeats, and the tokens that guard data in the dispenser.

use forecourt::ids::NozzleId;
use forecourt::pump::{PumpEvent, Reading, Snapshot, State, Token};
use forecourt::units::{Money, UnitPrice, Volume};
use std::collections::{BTreeMap, VecDeque};

/// The reports of one driver.
#[derive(Default, Debug)]
pub struct Told {
    events: VecDeque<PumpEvent>,
    /// Of the newest token.
    tokens: u64,
    /// The newest token that is durable.
    stored: u64,
    state: Option<(State, Option<NozzleId>)>,
    running: Option<(Volume, Money)>,
    running_amount: Option<Money>,
    prices: BTreeMap<NozzleId, UnitPrice>,
    alarms: Vec<u16>,
    /// The text of an alarm that holds.
    alarm: Option<String>,
    lost: bool,
}

impl Told {
    /// An event as it is.
    pub fn emit(&mut self, event: PumpEvent) {
        self.events.push_back(event);
    }

    /// The next event for the core.
    pub fn poll(&mut self) -> Option<PumpEvent> {
        self.events.pop_front()
    }

    fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// The core has made this token's data durable, and all before it.
    pub fn handle_stored(&mut self, token: Token) {
        self.stored = self.stored.max(token.0);
    }

    /// Everything that must be durable before the dispenser is written to or cleared is so.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.stored >= self.tokens
    }

    /// Whether this token's data is durable.
    #[must_use]
    pub fn is_stored(&self, token: Token) -> bool {
        token.0 <= self.stored
    }

    /// All that was read before anything was written; the state and prices told before are forgotten. Nothing may be written until the
    /// token is stored.
    pub fn snapshot(
        &mut self,
        state: State,
        lifted: Option<NozzleId>,
        reading: Option<Reading>,
        totalisers: BTreeMap<NozzleId, Volume>,
        power_cycled: bool,
    ) -> Token {
        let token = self.next_token();
        self.emit(PumpEvent::Snapshot(Snapshot { state, lifted, reading, totalisers, power_cycled, token }));
        self.state = Some((state, lifted));
        self.prices.clear();
        self.lost = false;
        token
    }

    /// The end of a fuelling was seen.
    pub fn end_seen(&mut self, reading: Reading) -> Token {
        let token = self.next_token();
        self.emit(PumpEvent::EndSeen { token, reading });
        token
    }

    /// The figures of an end are final.
    pub fn ended(&mut self, reading: Reading, totaliser: Option<Volume>) -> Token {
        let token = self.next_token();
        self.emit(PumpEvent::Ended { token, reading, totaliser });
        token
    }

    /// Everything is read again: until the next snapshot no state is told.
    pub fn begin_read_in(&mut self) {
        self.state = None;
    }

    /// The state and lifted nozzle, if they changed; nothing before the first snapshot.
    pub fn state(&mut self, state: State, lifted: Option<NozzleId>) {
        if self.state.is_some_and(|before| before != (state, lifted)) {
            self.state = Some((state, lifted));
            self.emit(PumpEvent::State { state, lifted });
        }
    }

    /// The nozzle was in since the state was told last, seen or proven, whatever it does by now. Without this word one that is lifted
    /// again at once would count as still held by whoever fuelled before.
    pub fn hung_up(&mut self) {
        self.state(State::Idle, None);
    }

    /// The lifted nozzle as last told.
    #[must_use]
    pub fn lifted(&self) -> Option<NozzleId> {
        self.state.and_then(|(_, lifted)| lifted)
    }

    /// Whether a snapshot was told and nothing is being read in again.
    #[must_use]
    pub const fn is_read_in(&self) -> bool {
        self.state.is_some()
    }

    /// A fuelling begins, or is found with these figures.
    pub fn begin_running(&mut self, figures: (Volume, Money)) {
        self.running = Some(figures);
    }

    /// Running figures, if they changed.
    pub fn running(&mut self, volume: Volume, amount: Money) {
        if self.running != Some((volume, amount)) {
            self.running = Some((volume, amount));
            self.emit(PumpEvent::Running { volume, amount });
        }
    }

    /// The running amount of a dispenser that tells no volume, if it changed.
    pub fn running_amount(&mut self, amount: Money) {
        if self.running_amount != Some(amount) {
            self.running_amount = Some(amount);
            self.emit(PumpEvent::RunningAmount { amount });
        }
    }

    /// The price that the dispenser shows for a nozzle, if it changed or is wanted `again`.
    pub fn price(&mut self, nozzle: NozzleId, price: UnitPrice, again: bool) {
        if self.prices.insert(nozzle, price) != Some(price) || again {
            self.emit(PumpEvent::Price { nozzle, price });
        }
    }

    /// Prices were written: what the dispenser shows is told anew.
    pub fn forget_prices(&mut self) {
        self.prices.clear();
    }

    /// An alarm, told once until [`Told::examine`]. One that `holds` also refuses releases: see [`Told::alarm`].
    pub fn raise(&mut self, code: u16, text: String, holds: bool) {
        if holds {
            self.alarm.get_or_insert_with(|| text.clone());
        }
        if !self.alarms.contains(&code) {
            self.alarms.push(code);
            self.emit(PumpEvent::Alarm { code, text, holds });
        }
    }

    /// The alarm that refuses releases.
    #[must_use]
    pub fn alarm(&self) -> Option<&str> {
        self.alarm.as_deref()
    }

    /// The dispenser is examined: alarms count anew.
    pub fn examine(&mut self) {
        self.alarm = None;
        self.alarms.clear();
    }

    /// Silence, or no port. Told once until the next snapshot or [`Told::heard`].
    pub fn lose(&mut self) {
        if !self.lost {
            self.lost = true;
            self.emit(PumpEvent::Lost);
        }
    }

    /// A good answer came.
    pub const fn heard(&mut self) {
        self.lost = false;
    }

    /// Nothing is believed of it since it fell silent.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(told: &mut Told) -> Vec<PumpEvent> {
        core::iter::from_fn(|| told.poll()).collect()
    }

    #[test]
    fn nothing_is_told_twice_until_it_changes() {
        let mut told = Told::default();
        told.state(State::Idle, None);
        assert_eq!(told.poll(), None, "nothing before the first snapshot");
        let token = told.snapshot(State::Idle, None, None, BTreeMap::new(), false);
        assert_eq!((token, told.is_settled()), (Token(1), false));
        told.handle_stored(token);
        assert!(told.is_settled());
        told.state(State::Calling, Some(NozzleId(1)));
        told.state(State::Calling, Some(NozzleId(1)));
        assert_eq!(told.lifted(), Some(NozzleId(1)));
        told.price(NozzleId(1), UnitPrice::new(7_450_000), false);
        told.price(NozzleId(1), UnitPrice::new(7_450_000), false);
        told.price(NozzleId(1), UnitPrice::new(7_450_000), true);
        told.raise(5, "over".into(), false);
        told.raise(5, "over".into(), true);
        assert_eq!(told.alarm(), Some("over"));
        told.lose();
        told.lose();
        assert_eq!(events(&mut told).len(), 1 + 1 + 2 + 1 + 1);
    }

    #[test]
    fn an_end_is_guarded_by_two_tokens_that_count_up() {
        let mut told = Told::default();
        let reading = Reading { nozzle: None, volume: Volume::ZERO, amount: Money::ZERO, price: None };
        let (first, last) = (told.end_seen(reading), told.ended(reading, None));
        told.handle_stored(first);
        assert!(told.is_stored(first) && !told.is_stored(last) && !told.is_settled());
        told.handle_stored(last);
        told.handle_stored(first);
        assert!(told.is_stored(last) && told.is_settled(), "a late word takes nothing back");
    }
}
