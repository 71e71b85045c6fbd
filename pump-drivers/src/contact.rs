//! Whether a device answers: since when its port is open, when it last gave a good answer, and how many questions came to nothing.

use core::time::Duration;
use forecourt::time::Instant;

/// The contact with one device.
#[derive(Clone, Copy, Default, Debug)]
pub struct Contact {
    up_since: Option<Instant>,
    last_good: Option<Instant>,
    misses: u32,
}

impl Contact {
    /// The port was opened or is gone.
    pub const fn link(&mut self, up: bool, now: Instant) {
        *self = Self { up_since: if up { Some(now) } else { None }, last_good: None, misses: 0 };
    }

    /// A good answer came.
    pub const fn good(&mut self, now: Instant) {
        self.last_good = Some(now);
        self.misses = 0;
    }

    /// A question came to nothing.
    pub const fn miss(&mut self) {
        self.misses += 1;
    }

    /// Whether the port is open.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// Whether a good answer came since the port was opened.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.last_good.is_some()
    }

    /// Questions in a row that came to nothing.
    #[must_use]
    pub const fn misses(&self) -> u32 {
        self.misses
    }

    /// Whether so many questions came to nothing, and it has been silent for so long since its last good answer or the opening.
    #[must_use]
    pub fn is_gone(&self, misses: u32, silence: Duration, now: Instant) -> bool {
        let silent_for = self.last_good.or(self.up_since).map_or(Duration::ZERO, |since| now.since(since));
        self.misses >= misses && silent_for >= silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_gone_after_both_its_questions_and_its_time() {
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        let mut contact = Contact::default();
        contact.link(true, at(0));
        assert!(contact.is_up() && !contact.is_heard());
        contact.good(at(100));
        for _ in 0..3 {
            assert!(!contact.is_gone(3, Duration::from_millis(1_500), at(9_000)), "too few questions");
            contact.miss();
        }
        assert!(!contact.is_gone(3, Duration::from_millis(1_500), at(1_599)), "too early");
        assert!(contact.is_gone(3, Duration::from_millis(1_500), at(1_600)));
        contact.good(at(1_700));
        assert_eq!(contact.misses(), 0);
        contact.link(false, at(1_800));
        assert!(!contact.is_up() && !contact.is_heard());
    }
}
