//! A new certificate is tried, and the old one kept until a broker has accepted the new.
//!
//! While the new one is unproven, attempts alternate between the two. If a broker accepts the old after the new one failed, the new one
//! is bad and given up; if none accepts either, the trouble is elsewhere and nothing is concluded.

/// What is shown to brokers.
#[derive(Debug)]
pub(super) struct Credentials<T> {
    proven: T,
    fresh: Option<Fresh<T>>,
    showing_fresh: bool,
}

#[derive(Debug)]
struct Fresh<T> {
    item: T,
    failed: Option<String>,
}

impl<T> Credentials<T> {
    /// What the run begins with: there is nothing else to fall back to.
    pub(super) const fn new(first: T) -> Self {
        Self { proven: first, fresh: None, showing_fresh: false }
    }

    /// A new one: shown at the next attempt.
    pub(super) fn offer(&mut self, item: T) {
        self.fresh = Some(Fresh { item, failed: None });
        self.showing_fresh = true;
    }

    /// What to show at this attempt.
    pub(super) fn current(&self) -> &T {
        match &self.fresh {
            Some(fresh) if self.showing_fresh => &fresh.item,
            _ => &self.proven,
        }
    }

    /// A broker has accepted what was shown. Gives why the new one is given up, if it is.
    pub(super) fn handle_accepted(&mut self) -> Option<String> {
        let fresh = self.fresh.take()?;
        if self.showing_fresh {
            self.proven = fresh.item;
            self.showing_fresh = false;
            return None;
        }
        if fresh.failed.is_some() {
            return fresh.failed;
        }
        // Offered while the old one was on its way: its turn comes.
        self.fresh = Some(fresh);
        self.showing_fresh = true;
        None
    }

    /// The broker did not accept what was shown. True where that was the new one: the old one is then to be shown to the same broker, as
    /// only that tells whose fault it is.
    pub(super) fn handle_failed(&mut self, why: &str) -> bool {
        let Some(fresh) = &mut self.fresh else { return false };
        let was_fresh = self.showing_fresh;
        if was_fresh {
            fresh.failed = Some(why.to_owned());
        }
        self.showing_fresh = !was_fresh;
        was_fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_that_is_accepted_takes_the_place_of_the_old() {
        let mut shown = Credentials::new("old");
        assert_eq!((shown.handle_accepted(), *shown.current()), (None, "old"));
        shown.offer("new");
        assert_eq!(*shown.current(), "new");
        assert_eq!(shown.handle_accepted(), None);
        shown.handle_failed("broker away");
        assert_eq!(*shown.current(), "new");
    }

    #[test]
    fn a_new_one_that_only_fails_is_given_up_when_the_old_is_accepted() {
        let mut shown = Credentials::new("old");
        shown.offer("new");
        shown.handle_failed("unknown authority");
        assert_eq!(*shown.current(), "old");
        assert_eq!(shown.handle_accepted().as_deref(), Some("unknown authority"));
        shown.handle_failed("broker away");
        assert_eq!(*shown.current(), "old");
    }

    #[test]
    fn while_no_broker_accepts_either_both_are_tried_in_turn() {
        let mut shown = Credentials::new("old");
        shown.offer("new");
        let mut tried = Vec::new();
        for _ in 0..4 {
            tried.push(*shown.current());
            shown.handle_failed("no route");
        }
        assert_eq!(tried, ["new", "old", "new", "old"]);
        assert_eq!((shown.handle_accepted(), *shown.current()), (None, "new"));
    }
}
