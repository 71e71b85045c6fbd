//! The end of a sale: record and totals, and whether they tell of this sale at all. Without flow the record can be that of the one
//! before (two-wire sheet, section 9).

use super::block::{GradeIndex, GradeTotals, Transaction};
use super::driver::{TwoWireDriver, alarm};
use super::figures;
use super::sale::{MOST_READINGS, Phase, Running, Task, Twice};
use super::word::Status;
use core::time::Duration;
use forecourt::pump::Reading;
use forecourt::time::Instant;
use forecourt::units::{Money, Volume};

/// From totals that do not fit the record to the next reading of both.
const READ_AGAIN: Duration = Duration::from_millis(300);
/// The same where only the handle is waited for.
const READ_SLOWLY: Duration = Duration::from_secs(2);
/// So often record and totals are read anew before an old record and totals that stand still mean that nothing flowed.
const NOTHING_AFTER: u8 = 2;

/// A sale that is over.
pub struct Ending {
    pub running: Running,
    pub records: Twice<Transaction>,
    pub totals: Twice<Vec<GradeTotals>>,
    /// Record and totals were read and did not fit, so often.
    rounds: u8,
    /// The handle was in since it was released.
    hung_up: bool,
    /// Its limit was reached: fuel flowed for certain.
    reached: bool,
}

/// What record and totals say together.
enum Verdict {
    /// This sale's figures.
    Sale(Reading, Option<Volume>),
    /// Nothing flowed.
    Nothing(Option<Volume>),
    /// They do not fit yet.
    Again,
    /// It cannot be told here whose record it is: only a comparison with the books can.
    Unsure,
}

impl Ending {
    /// Takes note of a state since the end. After delivery only a handle that was in leads to a call (two-wire sheet, section 9); one
    /// that was stopped before may call on in the same hand.
    pub const fn note(&mut self, state: Status) {
        self.reached |= matches!(state, Status::PresetEnd);
        self.running.delivered |= self.reached;
        let is_in = matches!(state, Status::Idle | Status::FinalEnd);
        self.hung_up |= is_in || self.running.delivered && matches!(state, Status::Call);
        // what was read with the handle out may be old
        self.rounds = 0;
    }

    /// What to ask for.
    pub fn wanted(&self, state: Status) -> Option<Task> {
        if self.records.agreed(repeats(state)).is_none() && !self.records.is_given_up() {
            Some(Task::Transaction)
        } else if self.totals.agreed(0).is_none() && !self.totals.is_given_up() {
            Some(Task::Totals)
        } else {
            None
        }
    }
}

/// With the handle still out after a preset the record may yet change.
fn repeats(state: Status) -> u8 {
    if state == Status::PresetEnd { 2 } else { 1 }
}

impl TwoWireDriver {
    pub(super) fn begin_ending(&mut self, now: Instant) {
        let Phase::Running(running) = &self.phase else { return };
        let running = running.clone();
        self.drop_task();
        self.rest_until = now;
        self.resumes_left = 0;
        let (records, totals) = (Twice::default(), Twice::default());
        let mut ending = Ending { running, records, totals, rounds: 0, hung_up: false, reached: false };
        if let Some(state) = self.state {
            ending.note(state);
        }
        self.phase = Phase::Ending(Box::new(ending));
    }

    pub(super) fn go_on_ending(&mut self, state: Status, now: Instant) {
        let Phase::Ending(ending) = &self.phase else { return };
        if ending.wanted(state).is_some() {
            return;
        }
        let record = ending.records.agreed(repeats(state)).copied();
        let totals = ending.totals.agreed(0).cloned();
        let over = ending.rounds >= MOST_READINGS - 1;
        // With the handle still out the record counts once the totals moved by it (two-wire sheet, section 9); some heads count them up
        // only when it is in.
        let held = state == Status::PresetEnd;
        match self.verdict(record.as_ref(), totals.as_deref(), over && !held) {
            Verdict::Nothing(_) if held => self.read_again(READ_SLOWLY, now),
            Verdict::Again => self.read_again(if over { READ_SLOWLY } else { READ_AGAIN }, now),
            Verdict::Unsure => self.begin_read_in(),
            Verdict::Sale(reading, totaliser) => {
                self.check_decimals(&reading);
                self.finish(reading, totaliser, record, totals);
            }
            Verdict::Nothing(totaliser) => {
                let reading = self.nothing(record.as_ref());
                self.finish(reading, totaliser, record, totals);
            }
        }
    }

    fn read_again(&mut self, rest: Duration, now: Instant) {
        if let Phase::Ending(ending) = &mut self.phase {
            ending.rounds = ending.rounds.saturating_add(1);
            ending.records = Twice::default();
            ending.totals = Twice::default();
        }
        self.rest_until = now + rest;
    }

    fn finish(
        &mut self,
        reading: Reading,
        totaliser: Option<Volume>,
        record: Option<Transaction>,
        totals: Option<Vec<GradeTotals>>,
    ) {
        let hung_up = matches!(&self.phase, Phase::Ending(ending) if ending.hung_up);
        self.told.ended(reading, totaliser);
        if hung_up {
            self.told.hung_up();
        }
        (self.record, self.totals) = (record, totals);
        self.phase = Phase::Ready;
        self.drop_task();
    }

    /// The end of a release under which nothing flowed.
    fn nothing(&self, record: Option<&Transaction>) -> Reading {
        let released = match &self.phase {
            Phase::Ending(ending) => ending.running.nozzle,
            _ => None,
        };
        let named = record.and_then(|record| self.nozzle_of(record.grade));
        Reading { nozzle: released.or(named), volume: Volume::ZERO, amount: Money::ZERO, price: None }
    }

    fn verdict(&mut self, record: Option<&Transaction>, totals: Option<&[GradeTotals]>, last: bool) -> Verdict {
        let Phase::Ending(ending) = &self.phase else { return Verdict::Unsure };
        let running = &ending.running;
        let (Some(record), Some(before)) = (record, &running.before) else { return Verdict::Unsure };
        let Some(reading) = self.reading(record) else { return Verdict::Unsure };
        let flowed = ending.reached || running.has_flowed();
        let is_new = flowed || running.record_before.is_some_and(|before| before != *record);
        let Some(totals) = totals else {
            // without totals only what was seen, or a new record, tells that it is this sale's
            return if is_new { Verdict::Sale(reading, None) } else { Verdict::Unsure };
        };
        let released = running.nozzle.and_then(|nozzle| self.grade_of(nozzle)).unwrap_or(record.grade);
        let (of_record, of_released) = (self.moved(before, totals, record.grade), self.moved(before, totals, released));
        let Some(((moved, total), (moved_released, total_released))) = of_record.zip(of_released) else {
            self.told.raise(alarm::GRADE, "the record names a grade that the totals do not have".into(), false);
            return if last { Verdict::Unsure } else { Verdict::Again };
        };
        let still = moved == Volume::ZERO && moved_released == Volume::ZERO;
        if still && !reading.volume.is_positive() && !ending.reached {
            return Verdict::Nothing(total_released);
        }
        if still && !is_new && running.record_before.is_some() {
            // the record of the sale before, or one like it whose totals come late
            return if ending.rounds < NOTHING_AFTER { Verdict::Again } else { Verdict::Nothing(total_released) };
        }
        if figures::same(&self.settings, reading.volume, moved) && (is_new || moved.is_positive()) {
            return Verdict::Sale(reading, total);
        }
        if still && !is_new {
            return Verdict::Unsure;
        }
        // a head may count up its totals a little later, and one reading may be bad in spite of its check
        if !last {
            return Verdict::Again;
        }
        if running.record_before.is_some_and(|before| before == *record) {
            // fuel flowed, and still it is the record of the sale before
            return Verdict::Unsure;
        }
        let text = "the totals moved by another volume than the sale: check the decimals set for this head".to_owned();
        self.told.raise(alarm::DECIMALS, text, false);
        Verdict::Sale(reading, total)
    }

    /// What the meter of a grade counted, and where it stands.
    fn moved(
        &self,
        before: &[GradeTotals],
        after: &[GradeTotals],
        grade: GradeIndex,
    ) -> Option<(Volume, Option<Volume>)> {
        let moved = figures::moved(&self.settings, before, after, grade)?;
        let stands = after.iter().find(|totals| totals.grade == grade).and_then(|totals| self.totaliser(totals));
        Some((moved, stands.map(|(_, total)| total)))
    }

    fn check_decimals(&mut self, reading: &Reading) {
        if !figures::agrees(&self.settings, reading) {
            let text = "volume × price and money of a sale differ: check the decimals set for this head".to_owned();
            self.told.raise(alarm::DECIMALS, text, false);
        }
    }
}
