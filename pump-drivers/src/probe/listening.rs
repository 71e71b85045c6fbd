//! Hearing whether somebody else speaks before the first byte is sent.

use super::{Cause, Setting};
use crate::protocol::Protocol;
use core::time::Duration;
use forecourt::time::Instant;

/// A port may give a byte or two when it is opened. More is somebody who speaks.
const HARMLESS: usize = 3;
/// A silence of this length ends a frame.
const GAP: Duration = Duration::from_millis(15);
/// Good frames that are no chance.
const LEAST_FRAMES: usize = 2;

/// What was heard at one setting, cut at silences.
#[derive(Default)]
pub(super) struct Listening {
    bursts: Vec<Vec<u8>>,
    last: Option<Instant>,
    /// Bytes heard at the first setting of all, and how long that was.
    first: Option<(Vec<u8>, Duration)>,
}

impl Listening {
    pub fn hear(&mut self, bytes: &[u8], now: Instant) {
        let goes_on = self.last.is_some_and(|last| now.since(last) < GAP);
        match self.bursts.last_mut() {
            Some(burst) if goes_on => burst.extend_from_slice(bytes),
            _ => self.bursts.push(bytes.to_vec()),
        }
        self.last = Some(now);
    }

    /// Ends at one setting; true if somebody speaks there, or did at an earlier one.
    pub fn end(&mut self, listened: Duration) -> bool {
        if self.first.is_none() {
            self.first = Some((self.bursts.concat(), listened));
        }
        self.first.as_ref().is_some_and(|(bytes, _)| bytes.len() > HARMLESS)
    }

    /// Whether one of the protocols makes frames of what was heard since the last call, requests among them.
    pub fn master(&mut self, protocols: &[Protocol], setting: Setting, listened: Duration) -> Option<Cause> {
        let bursts = core::mem::take(&mut self.bursts);
        self.last = None;
        let judge = |protocol: &Protocol| {
            let mut decoder = protocol.stream_decoder(None);
            let frames: Vec<_> =
                bursts.iter().flat_map(|burst| [decoder.feed(burst), decoder.finish()].concat()).collect();
            let good = frames.iter().filter(|frame| frame["ok"] == true).count();
            let requests = frames.iter().filter(|frame| frame["direction"] == "controller").count();
            let sure = requests > 0 && good >= LEAST_FRAMES && good > 3 * (frames.len() - good);
            sure.then_some((good, *protocol))
        };
        // single words without a check can be anything: they tell only where no frame does
        let (words, frames): (Vec<Protocol>, Vec<Protocol>) = protocols.iter().partition(|p| **p == Protocol::TwoWire);
        let (frames, protocol) = frames.iter().chain(&words).find_map(judge)?;
        Some(Cause::OtherMaster { protocol, setting, frames, listened, heard: bursts.concat() })
    }

    /// Somebody speaks whom nobody understands.
    pub fn unknown(&self) -> Cause {
        let (heard, listened) = self.first.clone().unwrap_or_default();
        Cause::Unasked { count: heard.len(), listened, heard }
    }
}
