//! Which road the records take: MQTT as a rule, HTTPS beside it while MQTT is blocked or too much waits.
//!
//! A pure decision. Both roads may run at once: a record that goes twice is dropped by the platform by its id, and only a signed
//! acknowledgement settles it on either road.

use core::time::Duration;
use forecourt::time::Instant;

/// When to open and close the fallback road.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// With more records waiting than this, it opens.
    pub open_above: u64,
    /// With so few waiting or fewer, it closes, if MQTT works.
    pub close_at: u64,
    /// Without any broker for so long, or without any acknowledgement while something waits, it opens.
    pub blocked_after: Duration,
    /// MQTT works once a broker has had us for so long.
    pub settled_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            open_above: 1_000,
            close_at: 100,
            blocked_after: Duration::from_secs(5 * 60),
            settled_after: Duration::from_secs(30),
        }
    }
}

/// Why the fallback road is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Too much waits.
    Backlog,
    /// No broker accepts us.
    Blocked,
    /// A broker has us, and nothing that waits is acknowledged.
    Unanswered,
}

impl Why {
    /// For logs and people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::Blocked => "blocked",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Whether a broker has us, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mqtt {
    Up(Instant),
    Down(Instant),
}

/// The state of the decision.
#[derive(Debug)]
pub struct Road {
    settings: Settings,
    mqtt: Mqtt,
    waiting: u64,
    /// Something waits, and nothing was acknowledged since.
    unanswered: Option<Instant>,
    open: Option<Why>,
    /// A post failed: none before then.
    pause: Option<Instant>,
    /// When it was last decided.
    decided: Instant,
}

impl Road {
    /// Closed; no broker yet.
    #[must_use]
    pub const fn new(settings: Settings, now: Instant) -> Self {
        Self { settings, mqtt: Mqtt::Down(now), waiting: 0, unanswered: None, open: None, pause: None, decided: now }
    }

    /// Why it is open, if it is.
    #[must_use]
    pub const fn open(&self) -> Option<Why> {
        self.open
    }

    /// Whether records may go over it now.
    #[must_use]
    pub fn is_passable(&self, now: Instant) -> bool {
        self.open.is_some() && self.pause.is_none_or(|until| now >= until)
    }

    /// A broker has accepted us.
    pub fn handle_connected(&mut self, now: Instant) {
        if let Mqtt::Down(_) = self.mqtt {
            self.mqtt = Mqtt::Up(now);
        }
        self.decide(now);
    }

    /// No broker has us any more.
    pub fn handle_disconnected(&mut self, now: Instant) {
        if let Mqtt::Up(_) = self.mqtt {
            self.mqtt = Mqtt::Down(now);
        }
        self.decide(now);
    }

    /// So many records wait for their acknowledgement.
    pub fn handle_waiting(&mut self, waiting: u64, now: Instant) {
        self.waiting = waiting;
        self.unanswered = (waiting > 0).then(|| self.unanswered.unwrap_or(now));
        self.decide(now);
    }

    /// Records were acknowledged, on whichever road.
    pub fn handle_settled(&mut self, now: Instant) {
        if let Some(since) = &mut self.unanswered {
            *since = now;
        }
        self.decide(now);
    }

    /// A deadline passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.pause.is_some_and(|until| now >= until) {
            self.pause = None;
        }
        self.decide(now);
    }

    /// A post failed: the next one no sooner than after this wait.
    pub fn handle_failed(&mut self, wait: Duration, now: Instant) {
        self.pause = Some(now + wait);
    }

    /// When to call [`Self::handle_timeout`] without any event.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let turn = match (self.mqtt, self.open) {
            (Mqtt::Down(since), None) => Some(since + self.settings.blocked_after),
            (Mqtt::Up(_), None) => self.unanswered.map(|since| since + self.settings.blocked_after),
            // Once that is over only an acknowledgement closes it.
            (Mqtt::Up(since), Some(_)) if self.may_close(self.decided) => Some(since + self.settings.settled_after),
            _ => None,
        };
        [turn, self.pause.filter(|_| self.open.is_some())].into_iter().flatten().min()
    }

    /// What waits has gone long without an acknowledgement.
    fn is_unanswered(&self, now: Instant) -> bool {
        self.unanswered.is_some_and(|since| now.since(since) >= self.settings.blocked_after)
    }

    /// Nothing but an MQTT that does not hold would keep it open.
    fn may_close(&self, now: Instant) -> bool {
        self.waiting <= self.settings.close_at && !self.is_unanswered(now)
    }

    fn decide(&mut self, now: Instant) {
        let Settings { open_above, blocked_after, settled_after, .. } = self.settings;
        self.decided = now;
        let blocked = matches!(self.mqtt, Mqtt::Down(since) if now.since(since) >= blocked_after);
        let settled = matches!(self.mqtt, Mqtt::Up(since) if now.since(since) >= settled_after);
        self.open = match self.open {
            None if self.waiting > open_above => Some(Why::Backlog),
            None if blocked => Some(Why::Blocked),
            None if matches!(self.mqtt, Mqtt::Up(_)) && self.is_unanswered(now) => Some(Why::Unanswered),
            Some(_) if settled && self.may_close(now) => {
                self.pause = None;
                None
            }
            unchanged => unchanged,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn up() -> Road {
        let mut road = Road::new(Settings::default(), Instant::START);
        road.handle_connected(at(1));
        road
    }

    #[test]
    fn a_backlog_opens_the_road_and_only_a_small_rest_closes_it() {
        let mut road = up();
        road.handle_waiting(1_000, at(100));
        assert_eq!(road.open(), None);
        road.handle_waiting(1_001, at(101));
        assert_eq!(road.open(), Some(Why::Backlog));
        road.handle_waiting(101, at(102));
        assert_eq!(road.open(), Some(Why::Backlog), "it would open and close at every record");
        road.handle_waiting(100, at(103));
        assert_eq!(road.open(), None);
    }

    #[test]
    fn five_minutes_without_a_broker_open_it() {
        let mut road = Road::new(Settings::default(), Instant::START);
        road.handle_waiting(1, at(10));
        assert_eq!(road.poll_timeout(), Some(at(300)));
        road.handle_timeout(at(299));
        assert_eq!(road.open(), None);
        road.handle_timeout(at(300));
        assert_eq!(road.open(), Some(Why::Blocked));
    }

    #[test]
    fn it_goes_back_to_mqtt_only_when_that_holds() {
        let mut road = Road::new(Settings::default(), Instant::START);
        road.handle_timeout(at(300));
        road.handle_connected(at(310));
        assert_eq!((road.open(), road.poll_timeout()), (Some(Why::Blocked), Some(at(340))));
        road.handle_disconnected(at(320));
        road.handle_timeout(at(341));
        assert_eq!(road.open(), Some(Why::Blocked));
        road.handle_connected(at(350));
        road.handle_timeout(at(380));
        assert_eq!((road.open(), road.poll_timeout()), (None, None));
        road.handle_disconnected(at(400));
        road.handle_timeout(at(699));
        assert_eq!(road.open(), None);
        road.handle_timeout(at(700));
        assert_eq!(road.open(), Some(Why::Blocked));
    }

    #[test]
    fn a_link_that_flaps_while_blocked_does_not_close_it() {
        let mut road = Road::new(Settings::default(), Instant::START);
        road.handle_timeout(at(300));
        for turn in 0..10 {
            road.handle_connected(at(310 + turn * 20));
            road.handle_disconnected(at(320 + turn * 20));
            road.handle_waiting(0, at(321 + turn * 20));
            assert_eq!(road.open(), Some(Why::Blocked));
        }
    }

    #[test]
    fn records_that_nobody_acknowledges_open_it_and_the_first_acknowledgement_closes_it() {
        let mut road = up();
        road.handle_waiting(3, at(10));
        road.handle_waiting(4, at(200));
        assert_eq!(road.poll_timeout(), Some(at(310)));
        road.handle_settled(at(309));
        road.handle_waiting(2, at(309));
        assert_eq!((road.open(), road.poll_timeout()), (None, Some(at(609))));
        road.handle_timeout(at(609));
        assert_eq!((road.open(), road.poll_timeout()), (Some(Why::Unanswered), None));
        road.handle_waiting(2, at(700));
        assert_eq!(road.open(), Some(Why::Unanswered), "not while nothing comes back");
        road.handle_settled(at(701));
        assert_eq!(road.open(), None);
    }

    #[test]
    fn a_station_with_nothing_to_send_needs_no_answer() {
        let mut road = up();
        road.handle_waiting(0, at(10));
        assert_eq!(road.poll_timeout(), None);
        road.handle_timeout(at(10_000));
        assert_eq!(road.open(), None);
    }

    #[test]
    fn a_failed_post_makes_the_road_wait_and_closes_nothing() {
        let mut road = up();
        road.handle_waiting(5_000, at(100));
        assert!(road.is_passable(at(100)));
        road.handle_failed(Duration::from_secs(2), at(100));
        assert!(!road.is_passable(at(101)));
        assert_eq!((road.open(), road.poll_timeout()), (Some(Why::Backlog), Some(at(102))));
        road.handle_timeout(at(102));
        assert!(road.is_passable(at(102)));
    }
}
