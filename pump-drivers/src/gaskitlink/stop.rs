//! Stop, withdraw, suspend and resume: B, N and G outside of a sale's course (GasKitLink sheet, section 5, rules 4 and 9).

use super::driver::{GasKitLinkDriver, alarm};
use super::message::Status;
use super::phase::{Ask, Phase};
use core::time::Duration;
use forecourt::time::Instant;

/// B is sent so often in a row while the post still lets fuel flow; then it is called out and tried again more slowly.
const MOST_STOPS: u8 = 5;
const SLOW_STOP: Duration = Duration::from_secs(2);
/// A suspend or resume without effect is sent so often.
const MOST_HOLDS: u8 = 3;

/// A stop that is not seen to be in effect.
#[derive(Clone, Copy, Default)]
pub struct StopJob {
    sent: u8,
    /// B did not take back an authorisation before the lift: N is next.
    close_next: bool,
    /// Not before.
    next: Instant,
}

/// A suspend or resume that is not seen to be in effect.
#[derive(Clone, Copy)]
pub struct HoldJob {
    resume: bool,
    sent: u8,
}

impl GasKitLinkDriver {
    pub(super) fn withdraw(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Releasing(releasing) => {
                releasing.cancelled = true;
                if releasing.sent == 0 {
                    self.refuse(forecourt::pump::Refusal::NoEffect);
                } else {
                    self.order_stop(now);
                }
            }
            Phase::Closing(closing) if closing.waiting.is_some() => self.refuse_waiting(),
            _ => self.order_stop(now),
        }
    }

    /// The flow is to end. What the post shows may be old: it is looked at first where nothing seems to flow.
    pub(super) fn order_stop(&mut self, now: Instant) {
        let stop = self.stop.get_or_insert_with(StopJob::default);
        stop.sent = 0;
        stop.next = now;
        self.hold = None;
        self.next_at = self.next_at.min(now);
        if let Phase::Running(running) = &mut self.phase {
            running.stopped = true;
        }
    }

    pub(super) fn order_hold(&mut self, resume: bool, now: Instant) {
        let stopped = matches!(&self.phase, Phase::Running(running) if running.stopped);
        if self.settings.suspend && self.stop.is_none() && !(resume && stopped) {
            self.hold = Some(HoldJob { resume, sent: 0 });
            self.next_at = self.next_at.min(now);
        }
    }

    /// B, N or G that is due now. Each is followed by a look.
    pub(super) fn override_due(&self, now: Instant) -> Option<Ask> {
        let status = self.seen.filter(|_| !self.look)?.status;
        if let Some(stop) = self.stop.filter(|stop| stop.next <= now && status.lets_flow()) {
            // N may clear what the post still holds: only after all of it is stored
            let close = stop.close_next && status == Status::Authorised && self.told.is_settled();
            return Some(if close { Ask::Close } else { Ask::Stop });
        }
        let hold = self.hold?;
        let applies = if hold.resume {
            matches!(status, Status::SuspendedStarted | Status::SuspendedFuelling)
        } else {
            matches!(status, Status::Started | Status::Fuelling)
        };
        applies.then_some(if hold.resume { Ask::Resume } else { Ask::Stop })
    }

    /// When a stop that had no effect is tried again.
    pub(super) fn next_stop(&self) -> Option<Instant> {
        let lets_flow = self.seen.is_some_and(|seen| seen.status.lets_flow());
        self.stop.filter(|_| lets_flow).map(|stop| stop.next)
    }

    pub(super) fn note_override_sent(&mut self, ask: Ask, now: Instant) {
        self.look = true;
        if let Some(stop) = &mut self.stop {
            let before_lift = self.seen.is_some_and(|seen| seen.status == Status::Authorised);
            stop.close_next = before_lift && ask == Ask::Stop;
            stop.sent = stop.sent.saturating_add(1);
            if stop.sent >= MOST_STOPS {
                stop.next = now + SLOW_STOP;
            }
        } else if let Some(hold) = &mut self.hold {
            hold.sent += 1;
        }
    }

    /// The state was read: what of a stop or hold is done.
    pub(super) fn follow_override(&mut self, status: Status) {
        if let Some(stop) = self.stop {
            if matches!(status, Status::Idle | Status::Calling | Status::EndOfTransaction) {
                self.stop = None;
            } else if status.lets_flow() && stop.sent >= MOST_STOPS {
                let text = if status == Status::Authorised {
                    "an authorisation could not be taken back: it stays armed until it is fuelled or ends by itself"
                } else {
                    "the post does not stop: fuel may still flow, use its emergency stop"
                };
                self.told.raise(alarm::STOP, text.into(), true);
            }
        }
        if let Some(hold) = self.hold {
            let flows = matches!(status, Status::Started | Status::Fuelling);
            let held = matches!(status, Status::SuspendedStarted | Status::SuspendedFuelling);
            let done = if hold.resume { !held } else { !flows };
            if done || hold.sent >= MOST_HOLDS {
                self.hold = None;
            }
        }
    }
}
