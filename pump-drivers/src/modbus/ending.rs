//! The end of a fuelling: its record read twice, the totaliser, and the acknowledgement once it is stored.

use super::driver::ModbusDriver;
use super::image::Doing;
use super::point::Raw;
use super::profile::Role;
use super::sale::{NO_READING, Phase};
use forecourt::ids::NozzleId;
use forecourt::pump::Reading;
use forecourt::time::Instant;
use forecourt::units::Volume;

/// Readings of the end until two must agree.
const MOST_READINGS: u8 = 3;

/// An end whose figures are being confirmed.
pub(super) struct Ending {
    pub nozzle: Option<NozzleId>,
    /// The last running figures.
    last: Reading,
    reading: Option<Reading>,
    readings: u8,
    confirmed: bool,
    begun: Instant,
    pub attempts: u8,
    /// The nozzle was seen in since.
    hung_up: bool,
}

impl Ending {
    /// Whether only the totaliser is still to be read.
    pub const fn is_read(&self) -> bool {
        self.confirmed || self.readings >= MOST_READINGS
    }
}

impl ModbusDriver {
    pub(super) fn begin_ending(&mut self, nozzle: Option<NozzleId>, last: Reading, now: Instant) {
        self.phase = Phase::Ending(Ending {
            nozzle: nozzle.or_else(|| self.only_nozzle()),
            last,
            reading: None,
            readings: 0,
            confirmed: false,
            begun: now,
            attempts: 0,
            hung_up: false,
        });
        self.look_for_hang_up();
        self.pursue();
    }

    /// State and nozzle were read once more.
    pub(super) fn look_for_hang_up(&mut self) {
        let out = self.image.raw(Role::Nozzle).map(|raw| raw.0 != 0);
        let is_in = match self.doing() {
            Some(Doing::Idle) => out != Some(true),
            Some(Doing::Finished) => out == Some(false),
            _ => false,
        };
        if let Phase::Ending(ending) = &mut self.phase {
            ending.hung_up |= is_in;
        }
    }

    /// The nozzle calls after fuel has flowed: it was in meanwhile, as one still out is finished. One that was stopped before may call
    /// on in the same hand.
    fn calls_anew(&self, reading: &Reading, last: &Reading) -> bool {
        let flowed = reading.volume.is_positive() || last.volume.is_positive();
        let tells_finished =
            self.habits.profile.point(Role::State).is_some_and(|point| point.count_of("finished").is_some());
        flowed && tells_finished && self.doing() == Some(Doing::Calling)
    }

    /// State, display and record were read once more.
    pub(super) fn confirm(&mut self, now: Instant) {
        let Phase::Ending(ending) = &self.phase else { return };
        let number = self.image.raw(Role::SaleSequence).map(|raw| raw.0);
        let numbered = self.habits.profile.has(Role::SaleSequence);
        let recorded = number.is_some() && number != self.sequence;
        let live = self.live_reading();
        let (nozzle, price) = (ending.nozzle, self.shown_price());
        let read = if !numbered {
            // derived from the totaliser, and marked so by telling no figures of its own
            live.map(|_| Reading { nozzle, price, ..NO_READING })
        } else if recorded {
            self.record(nozzle)
        } else if ending.last.volume.is_positive() && now.since(ending.begun) < self.habits.slow_effect {
            // the record of what flowed is still to come
            return;
        } else {
            live.map(|live| Reading { nozzle, ..live })
        };
        let Phase::Ending(ending) = &mut self.phase else { return };
        ending.readings += 1;
        let Some(read) = read else { return };
        let before = ending.reading.replace(read);
        ending.confirmed = before.is_some_and(|before| (before.volume, before.amount) == (read.volume, read.amount));
        if before.is_none() && numbered {
            self.told.end_seen(read);
        }
        self.pursue();
    }

    /// The totaliser was read, or cannot be.
    pub(super) fn finish(&mut self, totaliser: Option<Volume>) {
        let Phase::Ending(ending) = &self.phase else { return };
        let reading = ending.reading.unwrap_or(Reading { nozzle: ending.nozzle, ..ending.last });
        let hung_up = ending.hung_up || self.calls_anew(&reading, &ending.last);
        let token = self.told.ended(reading, totaliser);
        if hung_up {
            self.told.hung_up();
        }
        let number = self.image.raw(Role::SaleSequence).map(|raw| raw.0);
        if let (Some(number), Some(before)) = (number, self.sequence)
            && number != before
        {
            self.owe_ack(token, Raw(number));
            self.note_gap(number - before - 1);
        }
        self.sequence = number.or(self.sequence);
        self.end_told = true;
        self.become_ready();
        // A finished one rests as far as the core is concerned. Told now, the next call is another one, however soon it comes.
        self.report();
    }
}
