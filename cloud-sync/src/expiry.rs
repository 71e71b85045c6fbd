//! Alarms of certificates that run out: at 30, 7 and 1 days, and when it is too late.
//!
//! What stands is kept by the caller between runs ([`Standing`]), so that a restart raises nothing twice and leaves nothing raised.

use forecourt::time::UtcTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How near the end is; each includes those before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// Within 30 days.
    Month,
    /// Within 7 days.
    Week,
    /// Within a day.
    Day,
    /// Over.
    Over,
}

impl Nearness {
    fn of(not_after: UtcTime, now: UtcTime) -> Option<Self> {
        let left = not_after.unix_ms() - now.unix_ms();
        let limits = [(0, Self::Over), (DAY_MS, Self::Day), (7 * DAY_MS, Self::Week), (30 * DAY_MS, Self::Month)];
        limits.into_iter().find(|(limit, _)| left <= *limit).map(|(_, nearness)| nearness)
    }
}

/// One raised alarm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Raised {
    /// At which limit it was last raised.
    pub nearness: Nearness,
    /// Since when.
    pub since: UtcTime,
    /// Of which certificate: its end.
    pub not_after: UtcTime,
}

/// What is raised, by whose certificate.
pub type Standing = BTreeMap<String, Raised>;

/// A change of an alarm, for `fuel.alarm.v1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Whose certificate.
    pub place: String,
    /// Raised, or raised again at a nearer limit; else cleared.
    pub raised: bool,
    /// Since when it stands.
    pub since: UtcTime,
    /// For people.
    pub text: String,
}

/// Compares the certificates in use (whose, and their last moment) with what is raised, and brings that up to date. A certificate that is
/// no longer in use has its alarm cleared.
pub fn look(standing: &mut Standing, in_use: &BTreeMap<String, UtcTime>, now: UtcTime) -> Vec<Change> {
    let mut changes = Vec::new();
    standing.retain(|place, raised| {
        let end = in_use.get(place).copied();
        let still = end.is_some_and(|end| Nearness::of(end, now).is_some());
        if !still {
            let text = end.map_or_else(
                || "this certificate is no longer used".to_owned(),
                |end| format!("it was renewed and is valid until {end}"),
            );
            changes.push(Change { place: place.clone(), raised: false, since: raised.since, text });
        }
        still
    });
    for (place, end) in in_use {
        let Some(nearness) = Nearness::of(*end, now) else { continue };
        let known = standing.get(place).filter(|raised| raised.not_after == *end);
        if known.is_some_and(|raised| raised.nearness >= nearness) {
            continue;
        }
        let since = standing.get(place).map_or(now, |raised| raised.since);
        standing.insert(place.clone(), Raised { nearness, since, not_after: *end });
        let left = end.unix_ms() - now.unix_ms();
        let text = if nearness == Nearness::Over {
            format!("it expired at {end}: connections fail; edgectl enrol gets a new one")
        } else {
            // Rounded up: within its last day it has one day left.
            let days = (left + DAY_MS - 1).div_euclid(DAY_MS);
            format!("it expires at {end}, in {days} days: renew it (edgectl enrol --renew)")
        };
        changes.push(Change { place: place.clone(), raised: true, since, text });
    }
    changes
}

/// When a certificate is to be renewed: after two thirds of its life.
#[must_use]
pub fn renewal_due(not_before: UtcTime, not_after: UtcTime) -> UtcTime {
    let life = not_after.unix_ms() - not_before.unix_ms();
    UtcTime::from_unix_ms(not_before.unix_ms() + life / 3 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        UtcTime::parse(text).expect("a time")
    }

    fn in_use(end: &str) -> BTreeMap<String, UtcTime> {
        BTreeMap::from([("station certificate".to_owned(), at(end))])
    }

    #[test]
    fn an_alarm_is_raised_once_at_each_limit_and_cleared_by_the_renewal() {
        let (mut standing, end) = (Standing::new(), in_use("2026-12-31T00:00:00Z"));
        let raised = |standing: &mut Standing, now| {
            look(standing, &end, at(now)).iter().map(|change| (change.raised, change.since)).collect::<Vec<_>>()
        };
        assert_eq!(raised(&mut standing, "2026-11-30T23:59:59Z"), []);
        let first = at("2026-12-01T00:00:00Z");
        assert_eq!(raised(&mut standing, "2026-12-01T00:00:00Z"), [(true, first)]);
        assert_eq!(raised(&mut standing, "2026-12-20T00:00:00Z"), []);
        assert_eq!(raised(&mut standing, "2026-12-24T00:00:00Z"), [(true, first)]);
        assert_eq!(raised(&mut standing, "2026-12-30T00:00:00Z"), [(true, first)]);
        assert_eq!(raised(&mut standing, "2026-12-31T00:00:00Z"), [(true, first)]);
        assert_eq!(raised(&mut standing, "2027-01-31T00:00:00Z"), []);
        let changes = look(&mut standing, &in_use("2028-01-01T00:00:00Z"), at("2027-01-31T00:00:00Z"));
        assert_eq!(changes.len(), 1);
        assert!(!changes[0].raised && changes[0].since == first && standing.is_empty(), "{changes:?}");
    }

    #[test]
    fn what_stands_survives_a_restart_and_what_is_no_longer_used_is_cleared() {
        let now = at("2026-12-30T12:00:00Z");
        let mut standing = Standing::new();
        let changes = look(&mut standing, &in_use("2026-12-31T00:00:00Z"), now);
        assert!(changes[0].text.contains("in 1 days"), "{changes:?}");
        let kept = serde_json::to_string(&standing).expect("plain data");
        let mut standing: Standing = serde_json::from_str(&kept).expect("reads what it wrote");
        assert_eq!(look(&mut standing, &in_use("2026-12-31T00:00:00Z"), now), []);
        let changes = look(&mut standing, &BTreeMap::new(), now);
        assert!(changes.len() == 1 && !changes[0].raised, "{changes:?}");
    }

    #[test]
    fn another_certificate_that_is_as_near_its_end_is_told_too() {
        let now = at("2026-12-30T12:00:00Z");
        let mut standing = Standing::new();
        look(&mut standing, &in_use("2026-12-31T00:00:00Z"), now);
        assert_eq!(look(&mut standing, &in_use("2027-01-05T00:00:00Z"), now).len(), 1);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let due = renewal_due(at("2026-01-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        assert_eq!(due, at("2026-03-02T00:00:00Z"));
    }
}
