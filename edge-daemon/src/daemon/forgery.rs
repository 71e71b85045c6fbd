//! Commands whose signature does not hold, as an alarm: it begins with the first and ends when none has come for a while. However many
//! come, there are two records of them.

use super::alarms::Alarm;
use core::time::Duration;
use forecourt::record::AlarmState;
use forecourt::time::{Now, UtcTime};

const KIND: &str = "bad_signature";
const PLACE: &str = "commands";
/// Without another for so long, it is over.
const QUIET: Duration = Duration::from_secs(15 * 60);

/// What was seen of them in this run.
#[derive(Debug, Default)]
pub struct Forgeries {
    standing: Option<Standing>,
    /// Of all that came before those that stand.
    told: u64,
    count: u64,
}

#[derive(Debug)]
struct Standing {
    since: UtcTime,
    last: forecourt::time::Instant,
}

impl Forgeries {
    /// One came; `count` of them in this run. The alarm that begins with it.
    pub fn handle(&mut self, why: &str, count: u64, now: Now) -> Option<Alarm> {
        self.count = count;
        if let Some(standing) = &mut self.standing {
            standing.last = now.mono;
            return None;
        }
        self.standing = Some(Standing { since: now.utc, last: now.mono });
        let text = format!(
            "a command was refused: {why}. If the platform has a new key, bring it into the station's key file (cloud.jwks-file); if not, \
             somebody else writes to the station's command topic: look at the broker's rights"
        );
        Some(Alarm { kind: KIND, place: PLACE.into(), state: AlarmState::Raised, since: now.utc, text })
    }

    /// Time has passed. The alarm that is over with it.
    pub fn look(&mut self, now: Now) -> Option<Alarm> {
        let standing = self.standing.take_if(|standing| now.mono.since(standing.last) >= QUIET)?;
        let many = self.count.saturating_sub(self.told);
        self.told = self.count;
        let text = format!("none came for {} minutes; there were {many}", QUIET.as_secs() / 60);
        Some(Alarm { kind: KIND, place: PLACE.into(), state: AlarmState::Cleared, since: standing.since, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecourt::time::{ClockQuality, Instant};

    fn at(seconds: u64) -> Now {
        let ms = i64::try_from(seconds * 1_000).expect("in range");
        let utc = UtcTime::from_unix_ms(1_795_250_000_000 + ms);
        Now { mono: Instant::from_micros(seconds * 1_000_000), utc, clock: ClockQuality::Synced }
    }

    #[test]
    fn a_flood_is_one_alarm_that_ends_when_it_has_been_quiet() {
        let mut seen = Forgeries::default();
        let raised = seen.handle("the signature does not match", 1, at(10)).expect("raised");
        assert_eq!((raised.state, raised.since), (AlarmState::Raised, at(10).utc));
        for second in 11..600 {
            assert_eq!(seen.handle("the signature does not match", second, at(second)), None);
        }
        assert_eq!(seen.look(at(599 + 899)), None);
        let cleared = seen.look(at(599 + 900)).expect("cleared");
        assert_eq!((cleared.state, cleared.since), (AlarmState::Cleared, at(10).utc));
        assert!(cleared.text.ends_with("there were 599"), "{}", cleared.text);
        assert_eq!(seen.look(at(9_999)), None);
        assert!(seen.handle("the key is not one of this station's", 600, at(10_000)).is_some(), "another time");
        assert!(seen.look(at(20_000)).expect("cleared").text.ends_with("there were 1"));
    }
}
