//! One command: an edge in a register (Modbus sheet, section 6). It is written, its result is waited for, and 0 is written.

use super::point::Raw;
use super::profile::{Profile, Role};
use super::wire::{Answer, Question};
use core::time::Duration;
use forecourt::time::Instant;

/// Writes of one command, each after its register was read.
const MOST_WRITES: u8 = 3;

/// What the dispenser is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Release one fuelling.
    Authorise,
    /// End the release.
    Stop,
    /// Hold the flow.
    Pause,
    /// Let it go on.
    Resume,
    /// Let a finished fuelling point go to idle.
    Release,
    /// Nothing: only 0 is to stand there.
    Clear,
}

impl Verb {
    /// Its word in a profile.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Release => "release",
            Self::Clear => "clear",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Write,
    /// The write was not answered: what stands in the register?
    Read,
    Result,
    Zero,
    /// Writing 0 was not answered.
    ReadZero,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The device has taken it; the state tells whether it did it.
    Taken,
    /// It says that it will not.
    Refused,
    /// It was not answered, and its register shows that it did not arrive.
    NotArrived,
    /// It has it, and no result came in time.
    NoResult,
    /// Nobody answers.
    Silent,
}

/// A command under way.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which.
    pub verb: Verb,
    raw: Raw,
    step: Step,
    outcome: Outcome,
    writes: u8,
    misses: u8,
    begun: Instant,
    patience: Duration,
}

impl Order {
    /// A command that was not written yet. `None` where the profile has no such one. A result is waited for so long.
    #[must_use]
    pub fn new(profile: &Profile, verb: Verb, patience: Duration, now: Instant) -> Option<Self> {
        let point = profile.point(Role::Command)?;
        let raw = if verb == Verb::Clear { Raw(0) } else { point.count_of(verb.word())? };
        let step = if verb == Verb::Clear { Step::ReadZero } else { Step::Write };
        Some(Self { verb, raw, step, outcome: Outcome::Taken, writes: 0, misses: 0, begun: now, patience })
    }

    /// Whether it was not put on the wire yet.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.step == Step::Write && self.writes == 0
    }

    /// Whether the device may have it.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        self.writes > 0
    }

    /// Whether a result is polled for, which need not be in haste.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.step == Step::Result
    }

    /// The request to be made now.
    #[must_use]
    pub fn question(&mut self, profile: &Profile) -> Option<Question> {
        let command = profile.point(Role::Command)?;
        match self.step {
            Step::Write => {
                self.writes += 1;
                write(profile, self.raw)
            }
            Step::Zero => write(profile, Raw(0)),
            Step::Read | Step::ReadZero => Some(command.question()),
            Step::Result => Some(profile.point(Role::CommandResult).unwrap_or(command).question()),
        }
    }

    /// Its answer. The outcome when it is over.
    pub fn take(&mut self, profile: &Profile, answer: &Answer, now: Instant) -> Option<Outcome> {
        self.misses = 0;
        let read = |role: Role| match answer {
            Answer::Registers(words) => profile.point(role).and_then(|point| point.raw(words)),
            _ => None,
        };
        match self.step {
            Step::Write => self.await_result(profile),
            Step::Read => {
                if read(Role::Command) == Some(self.raw) {
                    self.await_result(profile);
                } else if self.verb == Verb::Authorise || self.writes >= MOST_WRITES {
                    // an authorise is never repeated before the state was looked at
                    return Some(Outcome::NotArrived);
                } else {
                    self.step = Step::Write;
                }
            }
            Step::Result => {
                let result = profile.point(Role::CommandResult);
                let word = result.and_then(|point| point.word(read(Role::CommandResult)?));
                match word {
                    Some("done") => self.step = Step::Zero,
                    Some("refused") => (self.step, self.outcome) = (Step::Zero, Outcome::Refused),
                    _ if now.since(self.begun) >= self.patience => {
                        (self.step, self.outcome) = (Step::Zero, Outcome::NoResult);
                    }
                    _ => {}
                }
            }
            Step::Zero => return Some(self.outcome),
            Step::ReadZero => match read(Role::Command) {
                Some(Raw(0)) => return Some(self.outcome),
                _ => self.step = Step::Zero,
            },
        }
        None
    }

    /// No answer came.
    pub fn silence(&mut self) -> Option<Outcome> {
        self.misses += 1;
        self.step = match self.step {
            Step::Write | Step::Read => Step::Read,
            Step::Result => Step::Result,
            Step::Zero | Step::ReadZero => Step::ReadZero,
        };
        (self.misses >= MOST_WRITES).then_some(Outcome::Silent)
    }

    fn await_result(&mut self, profile: &Profile) {
        self.step = if profile.has(Role::CommandResult) { Step::Result } else { Step::Zero };
    }
}

fn write(profile: &Profile, raw: Raw) -> Option<Question> {
    let point = profile.point(Role::Command)?;
    let values = point.registers(raw)?;
    match values.as_slice() {
        [value] if profile.knows(6) => Some(Question::WriteRegister { address: point.address, value: *value }),
        _ => Some(Question::WriteRegisters { address: point.address, values }),
    }
}
