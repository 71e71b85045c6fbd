//! The queue of changes that a pump reports by itself, and how it is cut into blocks. DART sheet, section 6.

use super::message::{Report, TotalsForm};
use std::collections::VecDeque;

/// Transaction bytes in one block; with address, control, CRC and ending it stays below what the sheet calls longest.
const LONGEST: usize = 56;
/// Above this a pump that nobody polls keeps only the present (section 10: after a long silence each position sent its state once).
const MOST_CHANGES: usize = 40;

/// What the acknowledgement or the sending of a report means beyond itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meaning {
    /// It holds the final figures of a fuelling.
    pub final_figures: bool,
    /// With it the controller knows that the fuelling is over and the nozzle in.
    pub end: bool,
}

impl Meaning {
    /// No more than it says.
    pub const PLAIN: Self = Self { final_figures: false, end: false };
    /// The last figures of a fuelling.
    pub const FINAL_FIGURES: Self = Self { final_figures: true, end: false };
    /// The end of a fuelling.
    pub const END: Self = Self { final_figures: false, end: true };

    const fn with(self, other: Self) -> Self {
        Self { final_figures: self.final_figures || other.final_figures, end: self.end || other.end }
    }
}

/// Reports that wait for a POLL, oldest first.
#[derive(Debug, Default)]
pub struct Changes {
    queue: VecDeque<(Report, Meaning)>,
}

impl Changes {
    /// Adds a change. A nozzle told twice alike is told once, after the last status.
    pub fn push(&mut self, report: Report, mut meaning: Meaning) {
        if let Report::Nozzle(..) = report
            && let Some(at) = self.queue.iter().rposition(|(queued, _)| matches!(queued, Report::Nozzle(..)))
            && self.queue[at].0 == report
        {
            if !self.queue.iter().skip(at).any(|(later, _)| matches!(later, Report::Status(_))) {
                self.queue[at].1 = self.queue[at].1.with(meaning);
                return;
            }
            meaning = self.queue.remove(at).map_or(meaning, |(_, earlier)| meaning.with(earlier));
        }
        self.queue.push_back((report, meaning));
        if self.queue.len() > MOST_CHANGES {
            self.keep_the_present();
        }
    }

    /// Keeps the last report of each kind only.
    fn keep_the_present(&mut self) {
        let all = core::mem::take(&mut self.queue);
        for (at, entry) in all.iter().enumerate() {
            let kind = core::mem::discriminant(&entry.0);
            if !all.iter().skip(at + 1).any(|(later, _)| core::mem::discriminant(later) == kind) {
                self.queue.push_back(entry.clone());
            }
        }
    }

    /// Whether figures wait already.
    #[must_use]
    pub fn holds_figures(&self) -> bool {
        self.queue.iter().any(|(report, _)| matches!(report, Report::Filling(..)))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    /// The transactions of the next block and what they mean, or `None` if nothing waits.
    pub fn take_block(&mut self) -> Option<(Vec<u8>, Meaning)> {
        let (mut bytes, mut meaning) = (Vec::new(), Meaning::PLAIN);
        while let Some((report, _)) = self.queue.front() {
            let mut next = Vec::new();
            report.write(&mut next);
            if !bytes.is_empty() && bytes.len() + next.len() > LONGEST {
                break;
            }
            bytes.extend(next);
            let Some((report, means)) = self.queue.pop_front() else { break };
            meaning = meaning.with(means);
            // This form is a byte short and so can only be told as the last of a block.
            if matches!(report, Report::Totals { form: TotalsForm::SixteenWithFifteen, .. }) {
                break;
            }
        }
        (!bytes.is_empty()).then_some((bytes, meaning))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Status;
    use super::*;
    use crate::dispenser::NozzleIndex;
    use crate::dispenser::calculator::PriceDigits;

    #[test]
    fn a_nozzle_that_went_out_and_in_is_told_twice_and_one_told_alike_once() {
        let nozzle = |out| Report::Nozzle(PriceDigits(10_500), NozzleIndex(2), out);
        let mut changes = Changes::default();
        for report in [nozzle(true), Report::Status(Status::Reset), nozzle(true), nozzle(false)] {
            changes.push(report, Meaning::PLAIN);
        }
        let (bytes, _) = changes.take_block().expect("a block");
        assert_eq!(bytes, [1, 1, 1, 3, 4, 1, 5, 0, 0x12, 3, 4, 1, 5, 0, 2]);
    }

    #[test]
    fn a_pump_that_nobody_polls_keeps_its_queue_short_and_its_last_state() {
        let mut changes = Changes::default();
        for _ in 0..1_000 {
            changes.push(Report::Status(Status::Reset), Meaning::PLAIN);
            changes.push(Report::Status(Status::Completed), Meaning::END);
        }
        let mut all = Vec::new();
        let mut ends = false;
        while let Some((bytes, meaning)) = changes.take_block() {
            assert!(bytes.len() <= LONGEST);
            ends |= meaning.end;
            all.extend(bytes);
        }
        assert!(all.len() <= MOST_CHANGES * 3 && all.ends_with(&[1, 1, 5]) && ends);
    }
}
