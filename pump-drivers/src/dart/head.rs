//! What a head shows: last known status, nozzle, price and filling, and what one block changed.

use super::digits::Digits;
use super::message::{Nozio, PumpSays, Status, read_pump};
use crate::head::HeadSettings;
use forecourt::ids::NozzleId;
use forecourt::pump::Reading;
use forecourt::time::Instant;
use forecourt::units::{UnitPrice, Volume};

/// Volume and amount as shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filling {
    pub volume: Digits<4>,
    pub amount: Digits<4>,
}

impl Filling {
    /// Not the zeros of a RESET.
    pub fn is_zero(self) -> bool {
        self.volume.number() == Some(0) && self.amount.number() == Some(0)
    }
}

/// The last known of everything. `None` where never told.
#[derive(Clone, Copy, Default, Debug)]
pub struct Head {
    pub status: Option<Status>,
    pub nozio: Option<Nozio>,
    pub price: Option<Digits<3>>,
    pub filling: Option<Filling>,
    /// By status 8 or by the mark DC14.
    pub suspended: bool,
    /// When the nozzle was last told.
    pub nozzle_at: Option<Instant>,
}

/// What one block said.
#[derive(Default, Debug)]
pub struct Block {
    pub statuses: Vec<Status>,
    pub undefined: Vec<u8>,
    pub alarms: Vec<u8>,
    /// Counter, where told, and total.
    pub totals: Vec<(Option<u8>, Digits<5>)>,
    pub nozzle_told: bool,
    pub filling_told: bool,
    pub suspend_mark: Option<bool>,
    /// The filling that belongs to a status 5 or 6 of this block: not the zeros of a RESET after it.
    pub filling_at_end: Option<Filling>,
    /// A nozzle was in at some point of it.
    pub nozzle_in: bool,
    /// The lengths did not come out.
    pub overrun: bool,
}

impl Block {
    pub fn has(&self, status: Status) -> bool {
        self.statuses.contains(&status)
    }

    /// Released, whatever came after.
    pub fn shows_release(&self) -> bool {
        self.statuses.iter().any(|s| matches!(s, Status::Authorized | Status::Filling | Status::Suspended))
    }
}

impl Head {
    /// Applies all transactions in their order.
    pub fn take(&mut self, body: &[u8], now: Instant) -> Block {
        let (says, overrun) = read_pump(body);
        let mut block = Block { overrun: overrun.is_some(), ..Block::default() };
        let before = self.filling;
        let mut fillings: Vec<(usize, Filling)> = Vec::new();
        let mut end: Option<usize> = None;
        let mut reset: Option<usize> = None;
        for (at, transaction) in says.into_iter().enumerate() {
            match transaction {
                PumpSays::Status(Status::Undefined(byte)) => block.undefined.push(byte),
                PumpSays::Status(status) => {
                    match status {
                        Status::Completed | Status::MaxReached if end.is_none() => end = Some(at),
                        Status::Reset if end.is_some() && reset.is_none() => reset = Some(at),
                        _ => {}
                    }
                    self.suspended = status == Status::Suspended;
                    self.status = Some(status);
                    block.statuses.push(status);
                }
                PumpSays::Filling { volume, amount } => {
                    let filling = Filling { volume, amount };
                    self.filling = Some(filling);
                    fillings.push((at, filling));
                    block.filling_told = true;
                }
                PumpSays::Nozzle { price, nozio } => {
                    self.price = Some(price);
                    self.nozio = Some(nozio);
                    self.nozzle_at = Some(now);
                    block.nozzle_told = true;
                    block.nozzle_in |= !nozio.is_out();
                }
                PumpSays::Alarm(code) => block.alarms.push(code),
                PumpSays::Suspended(_) => {
                    self.suspended = true;
                    block.suspend_mark = Some(true);
                }
                PumpSays::Resumed(_) => {
                    self.suspended = false;
                    block.suspend_mark = Some(false);
                }
                PumpSays::Total { trans: super::message::VOLUME_TOTAL, counter, total } => {
                    block.totals.push((counter, total));
                }
                PumpSays::Total { .. } | PumpSays::Identity(_) | PumpSays::Other { .. } => {}
            }
        }
        if let Some(end) = end {
            block.filling_at_end = filling_of_end(&fillings, end, reset, before);
        }
        block
    }

    /// The nozzle that is out, as the head numbers it; 0 for one that it does not name.
    pub fn is_out(&self) -> bool {
        self.nozio.is_some_and(Nozio::is_out)
    }

    /// The selected nozzle at the station. A head with one nozzle may call it what it likes.
    pub fn selected(&self, settings: &HeadSettings) -> Option<NozzleId> {
        let logical = self.nozio?.selected()?;
        match settings.nozzles.as_slice() {
            [only] => Some(only.nozzle),
            nozzles => nozzles.iter().find(|n| n.logical == logical).map(|n| n.nozzle),
        }
    }

    /// The nozzle that is out, at the station.
    pub fn lifted(&self, settings: &HeadSettings) -> Option<NozzleId> {
        if self.is_out() { self.selected(settings) } else { None }
    }

    /// The price of the selected nozzle.
    pub fn shown_price(&self, settings: &HeadSettings) -> Option<UnitPrice> {
        settings.decimals.read_price(self.price?)
    }

    /// Figures of a filling in our units. `None` where its digits are none.
    pub fn reading(&self, filling: Filling, settings: &HeadSettings) -> Option<Reading> {
        Some(Reading {
            nozzle: self.selected(settings),
            volume: settings.decimals.read_volume(filling.volume)?,
            amount: settings.decimals.read_amount(filling.amount, settings.currency)?,
            price: self.shown_price(settings).filter(|price| price.is_positive()),
        })
    }

    /// Whether volume × price agrees with the amount; true where something is unknown.
    pub fn agrees(reading: &Reading, settings: &HeadSettings) -> bool {
        let step: Volume = settings.decimals.volume_step();
        reading.price.is_none_or(|price| price.agrees(reading.volume, reading.amount, step, settings.currency))
    }
}

/// The sale is the filling that came with or before the status 5; zeros between it and the 1 of a RESET, or after that, are the
/// RESET's (DART sheet, section 7.3).
fn filling_of_end(
    fillings: &[(usize, Filling)],
    end: usize,
    reset: Option<usize>,
    before: Option<Filling>,
) -> Option<Filling> {
    let Some(reset) = reset else {
        return fillings.last().map(|(_, filling)| *filling).or(before);
    };
    let until_reset = fillings.iter().rev().find(|(at, _)| *at < reset).map(|(_, filling)| *filling);
    let until_end = fillings.iter().rev().find(|(at, _)| *at < end).map(|(_, filling)| *filling).or(before);
    match until_reset {
        Some(filling) if !filling.is_zero() => Some(filling),
        _ => until_end.or(until_reset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALE: [u8; 10] = [2, 8, 0, 0, 4, 0x92, 0, 5, 0x16, 0x60];
    const ZERO: [u8; 10] = [2, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    const FIVE: [u8; 3] = [1, 1, 5];
    const ONE: [u8; 3] = [1, 1, 1];

    fn at_end(parts: &[&[u8]]) -> Option<String> {
        let mut head = Head::default();
        head.take(&ZERO, Instant::START);
        head.take(&parts.concat(), Instant::START).filling_at_end.map(|filling| filling.amount.text())
    }

    #[test]
    fn the_zeros_of_a_reset_are_never_the_sale() {
        let sale = Some("00051660".to_owned());
        assert_eq!(at_end(&[&SALE, &FIVE]), sale);
        assert_eq!(at_end(&[&FIVE, &SALE]), sale, "order inside a block varies");
        assert_eq!(at_end(&[&SALE, &FIVE, &ZERO, &ONE]), sale);
        assert_eq!(at_end(&[&SALE, &FIVE, &ONE, &ZERO]), sale);
        assert_eq!(at_end(&[&FIVE, &SALE, &ONE, &ZERO]), sale);
        assert_eq!(at_end(&[&ZERO, &FIVE]), Some("00000000".into()), "a zero sale ends the same way");
        assert_eq!(at_end(&[&SALE]), None);
    }

    #[test]
    fn an_undefined_status_keeps_the_last_one() {
        let mut head = Head::default();
        head.take(&[1, 1, 5], Instant::START);
        let block = head.take(&[1, 1, 3], Instant::START);
        assert_eq!((head.status, block.undefined), (Some(Status::Completed), vec![3]));
    }
}
