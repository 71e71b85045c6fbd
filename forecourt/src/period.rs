//! Shifts and days of a station: when each begins and ends by local time, and what is due when one is over.
//!
//! A period is named by the local date on which it begins; a shift also by a letter, `A` for the first of the day. The open period names
//! the shift of a sale, so that a report and the sales that name it are the same, whatever the clock did.

use crate::time::{ClockQuality, Instant, Now, UtcTime};
use core::time::Duration;
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Shifts that a day may have: one for each letter.
pub const MOST_SHIFTS: usize = 24;
/// After a long time without power, or a leap of the clock, this many periods of a kind are caught up with; older ones had no sales.
const CATCH_UP: i64 = 100;
/// A clock that was set back by less than this leaves the open period as it is.
const SET_BACK_MS: i64 = 60 * 60 * 1_000;
/// No period is taken to be shorter, when counting how many were missed.
const SHORTEST_MS: i64 = 15 * 60 * 1_000;

/// Which kind of period.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A shift.
    Shift,
    /// A day.
    Day,
}

impl Scope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Shift, Self::Day];

    /// The contract's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Shift => "shift",
            Self::Day => "day",
        }
    }

    /// From the contract's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }

    /// Whether a text can name a period of this kind: `2026-11-21` a day, `2026-11-21-A` a shift.
    #[must_use]
    pub fn is_name(self, text: &str) -> bool {
        let date = match self {
            Self::Day => Some(text),
            Self::Shift => {
                text.strip_suffix(|letter: char| letter.is_ascii_uppercase()).and_then(|date| date.strip_suffix('-'))
            }
        };
        date.is_some_and(|date| date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok())
    }
}

/// One shift or day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Period {
    /// Which kind.
    pub scope: Scope,
    /// Such as `2026-11-21-A`.
    pub name: String,
    /// It begins here.
    pub start: UtcTime,
    /// It is over here.
    pub end: UtcTime,
}

/// The times that are no times of day, or no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// No such zone on this machine.
    #[error("\"{0}\" is no time zone that this machine knows")]
    Zone(String),
    /// Not `HH:MM`.
    #[error("\"{0}\" is no time of day such as 06:00")]
    Time(String),
    /// None, too many, or twice the same.
    #[error("a day has 1 to {MOST_SHIFTS} shifts that begin at different times")]
    Shifts,
}

/// When periods begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    zone: TimeZone,
    shifts: Vec<Time>,
    day: Vec<Time>,
}

impl Plan {
    /// One shift a day from local midnight, minutes east of UTC.
    #[must_use]
    pub fn fixed(offset_minutes: i32) -> Self {
        let offset = Offset::from_seconds(offset_minutes.saturating_mul(60)).unwrap_or(Offset::UTC);
        Self { zone: TimeZone::fixed(offset), shifts: vec![Time::midnight()], day: vec![Time::midnight()] }
    }

    /// The same in a zone by its name, such as `Asia/Shanghai`, with its changes between summer and winter.
    ///
    /// # Errors
    /// [`BadPlan::Zone`]
    pub fn in_zone(name: &str) -> Result<Self, BadPlan> {
        let zone = TimeZone::get(name).map_err(|_| BadPlan::Zone(name.into()))?;
        Ok(Self { zone, ..Self::fixed(0) })
    }

    /// Other times of day, each `HH:MM`: when shifts begin, and when the day of a day report begins.
    ///
    /// # Errors
    /// [`BadPlan`]
    pub fn with_times(self, shifts: &[&str], day: &str) -> Result<Self, BadPlan> {
        let mut begins = shifts.iter().map(|text| time_of_day(text)).collect::<Result<Vec<_>, _>>()?;
        begins.sort_unstable();
        begins.dedup();
        if begins.is_empty() || begins.len() > MOST_SHIFTS || begins.len() != shifts.len() {
            return Err(BadPlan::Shifts);
        }
        Ok(Self { shifts: begins, day: vec![time_of_day(day)?], ..self })
    }

    /// The hour of the local day, 0 to 23.
    #[must_use]
    pub fn hour(&self, at: UtcTime) -> i8 {
        Timestamp::from_millisecond(at.unix_ms()).map_or(0, |stamp| self.zone.to_datetime(stamp).hour())
    }

    /// The period of a kind that a moment lies in; `None` at the ends of time.
    #[must_use]
    pub fn at(&self, scope: Scope, at: UtcTime) -> Option<Period> {
        let begins = match scope {
            Scope::Shift => &self.shifts,
            Scope::Day => &self.day,
        };
        let today = self.zone.to_datetime(Timestamp::from_millisecond(at.unix_ms()).ok()?).date();
        let mut starts: Vec<(UtcTime, String)> = Vec::new();
        for date in [today.yesterday().ok()?, today, today.tomorrow().ok()?] {
            for (letter, time) in ('A'..='Z').zip(begins) {
                // Where the clock leaps over this time, the period begins as much later; where it comes twice, at the first.
                let stamp = self.zone.to_timestamp(date.to_datetime(*time)).ok()?;
                let name = match scope {
                    Scope::Shift => format!("{date}-{letter}"),
                    Scope::Day => date.to_string(),
                };
                starts.push((UtcTime::from_unix_ms(stamp.as_millisecond()), name));
            }
        }
        starts.sort();
        let next = starts.partition_point(|(start, _)| *start <= at);
        let (start, name) = starts.get(next.checked_sub(1)?)?.clone();
        Some(Period { scope, name, start, end: starts.get(next)?.0 })
    }
}

fn time_of_day(text: &str) -> Result<Time, BadPlan> {
    let bad = || BadPlan::Time(text.into());
    let (hour, minute) = text.split_once(':').filter(|_| text.len() == 5).ok_or_else(bad)?;
    let digits = |part: &str| part.parse::<i8>().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
    let (hour, minute) = digits(hour).zip(digits(minute)).ok_or_else(bad)?;
    Time::new(hour, minute, 0, 0).map_err(|_| bad())
}

/// A period is over and the next one begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turned {
    /// The one that is over; `None` where none was open.
    pub closed: Option<Period>,
    /// The one that is open now.
    pub open: Period,
}

/// Watches over the open periods.
#[derive(Clone, Debug)]
pub struct Keeper {
    plan: Plan,
    open: BTreeMap<Scope, Period>,
}

impl Keeper {
    /// With the periods that an earlier run left open.
    #[must_use]
    pub const fn new(plan: Plan, open: BTreeMap<Scope, Period>) -> Self {
        Self { plan, open }
    }

    /// From the next change on, periods begin at other times. Those that are open end when they were to end.
    pub fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// The open period of a kind.
    #[must_use]
    pub fn open(&self, scope: Scope) -> Option<&Period> {
        self.open.get(&scope)
    }

    /// When the next period is over, on the monotonic clock.
    #[must_use]
    pub fn due(&self, now: &Now) -> Option<Instant> {
        let end = self.open.values().map(|period| period.end).min()?;
        let left = u64::try_from(end.ms_since(now.utc)).unwrap_or(0);
        Some(now.mono + Duration::from_millis(left))
    }

    /// What has turned until now, in order. Nothing while nobody knows the time.
    pub fn handle(&mut self, now: &Now) -> Vec<Turned> {
        let mut turned = Vec::new();
        if now.clock != ClockQuality::Unset {
            for scope in Scope::ALL {
                self.roll(scope, now.utc, &mut turned);
            }
        }
        turned
    }

    fn roll(&mut self, scope: Scope, now: UtcTime, turned: &mut Vec<Turned>) {
        loop {
            let closed = self.open.get(&scope).cloned();
            let next = match &closed {
                None => self.plan.at(scope, now),
                Some(open) if now >= open.end => self.after(open, now),
                // The clock was far ahead and is right again.
                Some(open) if open.start.ms_since(now) > SET_BACK_MS => self.plan.at(scope, now),
                Some(_) => None,
            };
            let Some(open) = next else { return };
            self.open.insert(scope, open.clone());
            turned.push(Turned { closed, open });
        }
    }

    /// The period after one that is over; a later one where too many were missed.
    fn after(&self, over: &Period, now: UtcTime) -> Option<Period> {
        let length = over.end.ms_since(over.start).max(SHORTEST_MS);
        let missed = now.ms_since(over.end) / length;
        let from = if missed > CATCH_UP { now.plus_ms(-CATCH_UP * length) } else { over.end };
        let next = self.plan.at(over.scope, from)?;
        // Under new times a period may have begun before: what is left of it comes after the old one.
        Some(Period { start: next.start.max(over.end), ..next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        UtcTime::parse(text).expect("a time")
    }

    fn now(text: &str) -> Now {
        Now { mono: Instant::START, utc: at(text), clock: ClockQuality::Synced }
    }

    fn three_shifts() -> Plan {
        Plan::fixed(480).with_times(&["06:00", "14:00", "22:00"], "00:00").expect("a plan")
    }

    fn name(plan: &Plan, scope: Scope, text: &str) -> String {
        plan.at(scope, at(text)).expect("in range").name
    }

    fn closed(turned: &[Turned], scope: Scope) -> Vec<&str> {
        turned
            .iter()
            .filter_map(|turn| turn.closed.as_ref())
            .filter(|old| old.scope == scope)
            .map(|old| &*old.name)
            .collect()
    }

    #[test]
    fn a_shift_is_named_by_the_local_date_on_which_it_begins() {
        let plan = three_shifts();
        assert_eq!(name(&plan, Scope::Shift, "2026-11-20T22:00:00Z"), "2026-11-21-A");
        assert_eq!(name(&plan, Scope::Shift, "2026-11-21T05:59:59.999Z"), "2026-11-21-A");
        assert_eq!(name(&plan, Scope::Shift, "2026-11-21T06:00:00Z"), "2026-11-21-B");
        // Two in the morning, local time: the night shift of the day before.
        assert_eq!(name(&plan, Scope::Shift, "2026-11-21T18:00:00Z"), "2026-11-21-C");
        assert_eq!(name(&plan, Scope::Day, "2026-11-21T18:00:00Z"), "2026-11-22");
        let night = plan.at(Scope::Shift, at("2026-11-21T18:00:00Z")).expect("in range");
        assert_eq!((night.start, night.end), (at("2026-11-21T14:00:00Z"), at("2026-11-21T22:00:00Z")));
        assert_eq!(plan.hour(at("2026-11-21T18:00:00Z")), 2);
    }

    #[test]
    fn without_times_a_day_is_one_shift() {
        assert_eq!(name(&Plan::fixed(480), Scope::Shift, "2026-11-21T08:31:10Z"), "2026-11-21-A");
    }

    #[test]
    fn days_of_23_and_25_hours_have_no_gap() {
        // The clocks of Berlin leap over 02:00 to 03:00 on 29 March 2026 and back on 25 October.
        let plan =
            Plan::in_zone("Europe/Berlin").expect("known").with_times(&["02:30", "14:00"], "02:30").expect("a plan");
        for (noon, hours) in [
            ("2026-03-28T12:00:00Z", 24),
            ("2026-03-29T12:00:00Z", 23),
            ("2026-10-24T12:00:00Z", 24),
            ("2026-10-25T12:00:00Z", 25),
        ] {
            let day = plan.at(Scope::Day, at(noon)).expect("in range");
            let next = plan.at(Scope::Day, day.end).expect("in range");
            assert_eq!(next.start, day.end, "{noon}");
            assert!((day.end.ms_since(day.start) / 3_600_000 - hours).abs() <= 1, "{noon}: {day:?}");
        }
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let with = |shifts: &[&str], day| Plan::fixed(0).with_times(shifts, day).expect_err("refused");
        assert_eq!(with(&[], "00:00"), BadPlan::Shifts);
        assert_eq!(with(&["06:00", "06:00"], "00:00"), BadPlan::Shifts);
        for bad in ["6:00", "24:00", "06:60", "06:00:00", "+6:00", "ab:cd"] {
            assert_eq!(with(&[bad], "00:00"), BadPlan::Time(bad.into()));
        }
        assert_eq!(Plan::in_zone("Mars/Olympus"), Err(BadPlan::Zone("Mars/Olympus".into())));
    }

    #[test]
    fn names_of_periods_are_told_from_others() {
        assert!(Scope::Shift.is_name("2026-11-21-A") && Scope::Day.is_name("2026-11-21"));
        for bad in ["2026-11-21", "2026-13-21-A", "2026-11-21-a", "2026-11-21-AA", "-A", ""] {
            assert!(!Scope::Shift.is_name(bad), "{bad}");
        }
        assert!(!Scope::Day.is_name("2026-11-21-A"));
    }

    #[test]
    fn each_period_is_closed_once_also_after_days_without_power() {
        let mut keeper = Keeper::new(three_shifts(), BTreeMap::new());
        let first = keeper.handle(&now("2026-11-21T00:00:00Z"));
        assert!(first.iter().all(|turn| turn.closed.is_none()) && first.len() == 2);
        assert!(keeper.handle(&now("2026-11-21T05:59:59Z")).is_empty());
        assert_eq!(keeper.due(&now("2026-11-21T05:59:59Z")), Some(Instant::START + Duration::from_secs(1)));
        let turned = keeper.handle(&now("2026-11-21T06:00:00Z"));
        assert_eq!((closed(&turned, Scope::Shift), closed(&turned, Scope::Day)), (vec!["2026-11-21-A"], vec![]));
        // The box was off for two days; another run goes on with what was open.
        let mut keeper = Keeper::new(three_shifts(), keeper.open.clone());
        let turned = keeper.handle(&now("2026-11-23T06:30:00Z"));
        let shifts = ["2026-11-21-B", "2026-11-21-C", "2026-11-22-A", "2026-11-22-B", "2026-11-22-C", "2026-11-23-A"];
        assert_eq!(closed(&turned, Scope::Shift), shifts);
        assert_eq!(closed(&turned, Scope::Day), ["2026-11-21", "2026-11-22"]);
        assert!(keeper.handle(&now("2026-11-23T06:30:00Z")).is_empty());
    }

    #[test]
    fn a_leap_of_the_clock_makes_no_endless_work_and_a_clock_set_right_again_goes_on() {
        let mut keeper = Keeper::new(three_shifts(), BTreeMap::new());
        keeper.handle(&now("2026-11-21T00:00:00Z"));
        let turned = keeper.handle(&now("2066-11-21T00:00:00Z"));
        assert!(turned.len() < 300, "{}", turned.len());
        assert_eq!(closed(&turned, Scope::Shift)[0], "2026-11-21-A");
        let turned = keeper.handle(&now("2026-11-21T00:10:00Z"));
        assert_eq!(turned.len(), 2);
        assert_eq!(keeper.open(Scope::Shift).expect("open").name, "2026-11-21-A");
        // A minute back is nothing.
        assert!(keeper.handle(&now("2026-11-20T23:59:00Z")).is_empty());
        assert_eq!(keeper.open(Scope::Shift).expect("open").name, "2026-11-21-A");
    }

    #[test]
    fn nothing_turns_while_nobody_knows_the_time() {
        let mut keeper = Keeper::new(three_shifts(), BTreeMap::new());
        assert!(keeper.handle(&Now { clock: ClockQuality::Unset, ..now("1970-01-01T00:00:00Z") }).is_empty());
    }

    #[test]
    fn new_times_take_over_when_the_open_shift_is_over_without_gap_or_overlap() {
        let mut keeper = Keeper::new(three_shifts(), BTreeMap::new());
        keeper.handle(&now("2026-11-21T00:00:00Z"));
        keeper.set_plan(Plan::fixed(480).with_times(&["08:00", "20:00"], "00:00").expect("a plan"));
        assert!(keeper.handle(&now("2026-11-21T05:00:00Z")).is_empty());
        let turned = keeper.handle(&now("2026-11-21T06:00:00Z"));
        let old = turned[0].closed.as_ref().expect("closed");
        assert_eq!(
            (old.end, turned[0].open.start, turned[0].open.end),
            (at("2026-11-21T06:00:00Z"), old.end, at("2026-11-21T12:00:00Z"))
        );
    }
}
