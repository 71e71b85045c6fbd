//! Values that are to stand in a device: written, and read back where that is in doubt or asked for.

use super::image::Image;
use super::point::Raw;
use super::profile::{Block, Profile, Role};
use super::wire::{Answer, Question};

/// Rounds of writing and reading back.
const MOST_ROUNDS: u8 = 3;

/// A write under way.
#[derive(Clone, Debug)]
pub struct Write {
    wanted: Vec<(Role, Raw)>,
    writes: Vec<Question>,
    checks: Vec<Block>,
    image: Image,
    at: usize,
    checking: bool,
    /// What was written is read back even if every write was answered.
    verify: bool,
    /// That they stand is not enough: a device may have kept them from an earlier order and want them anew.
    anew: bool,
    /// Every write of this round was answered.
    answered: bool,
    rounds: u8,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrote {
    /// Another request.
    More,
    /// The values stand.
    Stands,
    /// They do not, after all rounds.
    Fails,
}

impl Write {
    /// A write of counts; `anew` are they written and read back whatever stands there. `None` where one does not fit its point, or there
    /// is no such point.
    #[must_use]
    pub fn new(profile: &Profile, wanted: Vec<(Role, Raw)>, anew: bool) -> Option<Self> {
        let mut held = Vec::new();
        for (role, raw) in &wanted {
            let point = profile.point(*role)?;
            held.push((point.address, point.registers(*raw)?));
        }
        held.sort();
        let writes = questions(profile, held);
        let verify = anew || writes.len() > 1;
        let roles: Vec<Role> = wanted.iter().map(|(role, _)| *role).collect();
        let checks = profile.blocks(&roles);
        (!writes.is_empty()).then_some(Self {
            wanted,
            writes,
            checks,
            image: Image::default(),
            at: 0,
            checking: false,
            verify,
            anew,
            answered: false,
            rounds: 0,
        })
    }

    /// The same, but what stands there is read first, and written only where it is something else.
    #[must_use]
    pub fn reading_first(mut self) -> Self {
        (self.anew, self.verify) = (false, true);
        self.begin_check();
        self
    }

    /// The request to be made now.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        if self.checking {
            self.checks.get(self.at).map(|block| block.question.clone())
        } else {
            self.writes.get(self.at).cloned()
        }
    }

    /// Its answer.
    pub fn take(&mut self, profile: &Profile, answer: &Answer) -> Wrote {
        if !self.checking {
            self.at += 1;
            if self.at < self.writes.len() {
                return Wrote::More;
            }
            self.answered = true;
            if !self.verify {
                return Wrote::Stands;
            }
            self.begin_check();
            return Wrote::More;
        }
        if let Some(block) = self.checks.get(self.at) {
            self.image.take(profile, block, answer);
        }
        self.at += 1;
        if self.at < self.checks.len() {
            return Wrote::More;
        }
        let stands = self.wanted.iter().all(|(role, raw)| self.image.raw(*role) == Some(*raw));
        if stands && (self.answered || !self.anew) {
            return Wrote::Stands;
        }
        self.rounds += 1;
        (self.at, self.checking, self.answered) = (0, false, false);
        if self.rounds >= MOST_ROUNDS { Wrote::Fails } else { Wrote::More }
    }

    /// No answer came: nothing is written again before it was read back.
    pub fn silence(&mut self) -> Wrote {
        if self.checking {
            self.rounds += 1;
        }
        self.begin_check();
        if self.rounds >= MOST_ROUNDS { Wrote::Fails } else { Wrote::More }
    }

    fn begin_check(&mut self) {
        (self.at, self.checking) = (0, true);
        self.image = Image::default();
    }
}

/// The fewest writes: neighbours in one where the device knows function 16, low address first.
fn questions(profile: &Profile, held: Vec<(u16, Vec<u16>)>) -> Vec<Question> {
    let mut runs: Vec<(u16, Vec<u16>)> = Vec::new();
    for (address, values) in held {
        let fits = |(start, run): &&mut (u16, Vec<u16>)| {
            usize::from(*start) + run.len() == usize::from(address)
                && run.len() + values.len() <= usize::from(profile.limits.write)
        };
        match runs.last_mut().filter(fits) {
            Some((_, run)) => run.extend(values),
            None => runs.push((address, values)),
        }
    }
    let mut all = Vec::new();
    for (address, values) in runs {
        if values.len() == 1 && profile.knows(6) || !profile.knows(16) {
            let singles = (address..).zip(values).map(|(address, value)| Question::WriteRegister { address, value });
            all.extend(singles);
        } else {
            all.push(Question::WriteRegisters { address, values });
        }
    }
    all
}
