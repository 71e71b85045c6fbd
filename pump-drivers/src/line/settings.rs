//! How one wire behaves.

use core::time::Duration;

/// Whether the adapter returns what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    /// It does not.
    None,
    /// It does: bytes that equal those just sent are dropped. Never by count alone.
    Strip,
    /// Not known: as [`Echo::Strip`] until it is seen that nothing comes back.
    Auto,
}

/// Behaviour of one wire. The defaults are those of the DART sheet, sections 1 and 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineSettings {
    /// Bits per second.
    pub baud: u32,
    /// Bits of one byte with start, parity and stop.
    pub bits_per_char: u8,
    /// Quiet before each frame of ours.
    pub pause_before_send: Duration,
    /// What the adapter does with our bytes.
    pub echo: Echo,
    /// From our last byte to the first of the answer.
    pub answer_window: Duration,
    /// Silence that ends a frame.
    pub inter_byte_gap: Duration,
    /// Quiet to be seen after an answer that did not come in time, before anyone else is asked.
    pub listen_out: Duration,
    /// Quiet that is listened to for another master before anything is sent; zero for none.
    pub listen_before: Duration,
    /// Longest answer.
    pub longest_answer: usize,
    /// A device silent for so long and for `offline_after` polls is dead: it is asked rarely.
    pub comm_lost: Duration,
    /// Polls without answer until a device is dead.
    pub offline_after: u32,
    /// A dead device is asked at least so often.
    pub probe_at_least: Duration,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            baud: 9_600,
            bits_per_char: 11,
            pause_before_send: Duration::from_millis(10),
            echo: Echo::None,
            answer_window: Duration::from_millis(120),
            inter_byte_gap: Duration::from_millis(20),
            listen_out: Duration::from_millis(20),
            listen_before: Duration::ZERO,
            longest_answer: 300,
            comm_lost: Duration::from_millis(1_500),
            offline_after: 5,
            probe_at_least: Duration::from_millis(3_500),
        }
    }
}

/// What is wrong with a line's settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineProblem {
    /// No such speed.
    #[error("baud {0}: use 300 to 115200, DART pumps mostly 9600 or 19200")]
    Baud(u32),
    /// No such word.
    #[error("bits-per-char {0}: a byte with start, parity and stop has 9 to 12 bits")]
    BitsPerChar(u8),
    /// A time of nothing.
    #[error("{0} must be longer than zero")]
    Zero(&'static str),
    /// Out of proportion.
    #[error("probe-at-least {probe:?}: at most 5 s, so that a device is back within 5 s of its power")]
    ProbeTooRare {
        /// As set.
        probe: Duration,
    },
}

impl LineSettings {
    /// Time that bytes take on the wire.
    #[must_use]
    pub fn wire_time(&self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(u64::from(self.bits_per_char));
        Duration::from_micros(bits.saturating_mul(1_000_000) / u64::from(self.baud.max(1)))
    }

    /// All that is wrong; empty if nothing is.
    #[must_use]
    pub fn problems(&self) -> Vec<LineProblem> {
        let mut problems = Vec::new();
        if !(300..=115_200).contains(&self.baud) {
            problems.push(LineProblem::Baud(self.baud));
        }
        if !(9..=12).contains(&self.bits_per_char) {
            problems.push(LineProblem::BitsPerChar(self.bits_per_char));
        }
        for (name, time) in [
            ("answer-window", self.answer_window),
            ("inter-byte-gap", self.inter_byte_gap),
            ("comm-lost", self.comm_lost),
        ] {
            if time.is_zero() {
                problems.push(LineProblem::Zero(name));
            }
        }
        if self.longest_answer == 0 {
            problems.push(LineProblem::Zero("longest-answer"));
        }
        if self.probe_at_least > Duration::from_secs(5) {
            problems.push(LineProblem::ProbeTooRare { probe: self.probe_at_least });
        }
        problems
    }
}
