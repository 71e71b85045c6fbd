//! Whether somebody else drives this wire: two masters spoil each other's talk, and nobody knows whose release stands in a pump.

use super::echo::{AN_ECHO, NO_ECHO};
use core::time::Duration;
use forecourt::time::Instant;
use std::collections::VecDeque;

/// So many words of another master within [`WITHIN`] are no accident of noise.
const ENOUGH: usize = 2;
const WITHIN: Duration = Duration::from_secs(3);
/// Frames of ours whose echo may still come.
const MOST_SENT: usize = 8;

/// An echo may be so late on a busy host: it is judged when it is read, not when it stood on the wire.
const LATE: Duration = Duration::from_millis(500);

/// Tells the words of a controller from those of devices, in one protocol.
pub trait Watch: Send {
    /// Takes bytes; gives the frames that they complete, and of each whether only a controller says such a thing.
    fn hear(&mut self, bytes: &[u8]) -> Vec<(Vec<u8>, bool)>;

    /// The wire was quiet: what is unfinished stays so.
    fn quiet(&mut self);

    /// We say this now: what answers it is no talk with another. Needed where a device's word can be a controller's.
    fn sent(&mut self, _bytes: &[u8]) {}
}

/// Looks out for another master.
pub(super) struct Masters {
    watch: Box<dyn Watch>,
    /// Ours, and until when an adapter may bring them back. An echo comes before the answer.
    sent: VecDeque<(Vec<u8>, Instant)>,
    /// Answers in a row that no echo preceded: from [`NO_ECHO`] on, what looks like one is another's word.
    plain: u8,
    /// Echoes since the port was opened: from [`AN_ECHO`] on, noise that spoils one does not make it another's word.
    echoes: u8,
    /// The last frame was an echo: the answer to it says nothing of later ones.
    echoed: bool,
    heard: VecDeque<Instant>,
    last_bytes: Option<Instant>,
}

impl Masters {
    pub fn new(watch: Box<dyn Watch>) -> Self {
        Self {
            watch,
            sent: VecDeque::new(),
            plain: 0,
            echoes: 0,
            echoed: false,
            heard: VecDeque::new(),
            last_bytes: None,
        }
    }

    pub fn note_sent(&mut self, bytes: &[u8], until: Instant) {
        if self.sent.len() >= MOST_SENT {
            self.sent.pop_front();
        }
        self.watch.sent(bytes);
        self.sent.push_back((bytes.to_vec(), until + LATE));
    }

    pub fn forget(&mut self) {
        self.sent.clear();
        (self.plain, self.echoes, self.echoed) = (0, 0, false);
        self.heard.clear();
        self.watch.quiet();
    }

    /// Takes bytes, ours that an adapter returns among them.
    pub fn hear(&mut self, bytes: &[u8], gap: Duration, now: Instant) -> Heard {
        if self.last_bytes.is_some_and(|last| now.since(last) > gap) {
            self.watch.quiet();
        }
        self.last_bytes = Some(now);
        let mut foreign = false;
        for (frame, is_masters) in self.watch.hear(bytes) {
            self.sent.retain(|(_, until)| *until >= now);
            let echo = self.sent.iter().position(|(sent, _)| *sent == frame).filter(|_| self.plain < NO_ECHO);
            // a bit that noise turned in our poll makes it one to somebody else
            let spoilt = || {
                self.echoes >= AN_ECHO
                    && is_masters
                    && self.sent.front().is_some_and(|(sent, _)| sent.len() == frame.len())
            };
            if let Some(at) = echo.or_else(|| spoilt().then_some(0)) {
                self.sent.drain(..=at);
                (self.plain, self.echoed) = (0, true);
                self.echoes = self.echoes.saturating_add(1);
                continue;
            }
            if core::mem::take(&mut self.echoed) && !is_masters {
                continue;
            }
            // Where none is known yet, what comes after another word is no echo. Where there is one, a late answer may come before it.
            if self.echoes < AN_ECHO {
                self.plain = self.plain.saturating_add(u8::from(!self.sent.is_empty() && !is_masters));
                self.sent.clear();
            }
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
