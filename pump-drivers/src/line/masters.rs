//! Whether somebody else drives this wire: two masters spoil each other's talk, and nobody knows whose release stands in a pump.

use core::time::Duration;
use forecourt::time::Instant;
use std::collections::VecDeque;

/// So many words of another master within [`WITHIN`] are no accident of noise.
const ENOUGH: usize = 2;
const WITHIN: Duration = Duration::from_secs(3);
/// Frames of ours whose echo may still come.
const MOST_SENT: usize = 8;

/// Tells the words of a controller from those of devices, in one protocol.
pub trait Watch: Send {
    /// Takes bytes; gives the frames that they complete, and of each whether only a controller says such a thing.
    fn hear(&mut self, bytes: &[u8]) -> Vec<(Vec<u8>, bool)>;

    /// The wire was quiet: what is unfinished stays so.
    fn quiet(&mut self);
}

/// Looks out for another master.
pub(super) struct Masters {
    watch: Box<dyn Watch>,
    /// Ours, and until when an adapter may bring them back. An echo comes before the answer.
    sent: VecDeque<(Vec<u8>, Instant)>,
    heard: VecDeque<Instant>,
    last_bytes: Option<Instant>,
}

impl Masters {
    pub fn new(watch: Box<dyn Watch>) -> Self {
        Self { watch, sent: VecDeque::new(), heard: VecDeque::new(), last_bytes: None }
    }

    pub fn note_sent(&mut self, bytes: &[u8], until: Instant) {
        if self.sent.len() >= MOST_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((bytes.to_vec(), until));
    }

    pub fn forget(&mut self) {
        self.sent.clear();
        self.heard.clear();
        self.watch.quiet();
    }

    /// Takes bytes. True if another master speaks in them; `doubt` is over once it was heard often enough.
    pub fn hear(&mut self, bytes: &[u8], gap: Duration, now: Instant) -> Heard {
        if self.last_bytes.is_some_and(|last| now.since(last) > gap) {
            self.watch.quiet();
        }
        self.last_bytes = Some(now);
        let mut foreign = false;
        for (frame, is_masters) in self.watch.hear(bytes) {
            self.sent.retain(|(_, until)| *until >= now);
            if let Some(at) = self.sent.iter().position(|(sent, _)| *sent == frame) {
                self.sent.drain(..=at);
                continue;
            }
            // what comes after another word is no echo
            self.sent.clear();
            if is_masters {
                foreign = true;
                self.heard.push_back(now);
            }
        }
        self.heard.retain(|at| now.since(*at) <= WITHIN);
        match (foreign, self.heard.len() >= ENOUGH) {
            (true, true) => Heard::Master,
            (true, false) => Heard::Perhaps,
            (false, _) => Heard::Nobody,
        }
    }
}

/// What [`Masters::hear`] makes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Nobody,
    /// One word, which noise may have made.
    Perhaps,
    Master,
}
