//! Alarms of what no fuelling point knows: certificates, consumers. They become `fuel.alarm.v1` records in the site's turn.

use super::clock;
use forecourt::record::AlarmState;
use forecourt::time::UtcTime;
use tokio::sync::mpsc;

/// Alarms that may wait for the site.
const WAITING: usize = 64;

/// One begins, or ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// Its kind, such as `certificate_expires`.
    pub kind: &'static str,
    /// Where.
    pub place: String,
    /// Begins or ends.
    pub state: AlarmState,
    /// Since when it stands.
    pub since: UtcTime,
    /// For people.
    pub text: String,
}

/// Where alarms are given to the site.
#[derive(Clone, Debug)]
pub struct Bell(mpsc::Sender<Alarm>);

impl Bell {
    /// The bell, and what it rings.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Alarm>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Hands an alarm over; waits for the site if it has much to do.
    pub async fn ring(&self, alarm: Alarm) {
        tracing::warn!(alarm = alarm.kind, place = alarm.place, state = ?alarm.state, alarm.text, "alarm");
        // Ended: the process stops.
        let _ended = self.0.send(alarm).await;
    }

    /// Begins an alarm now; gives since when.
    pub async fn raise(&self, kind: &'static str, place: &str, text: String) -> UtcTime {
        let since = clock::utc();
        self.ring(Alarm { kind, place: place.into(), state: AlarmState::Raised, since, text }).await;
        since
    }

    /// Ends one.
    pub async fn clear(&self, kind: &'static str, place: &str, since: UtcTime, text: String) {
        self.ring(Alarm { kind, place: place.into(), state: AlarmState::Cleared, since, text }).await;
    }
}

/// A number from 0 to `most`, both included, for the jitter of waits. Without chance the full wait is as good.
#[must_use]
pub fn jitter(most: u64) -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes) % most.saturating_add(1),
        Err(_) => most,
    }
}
