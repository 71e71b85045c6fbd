//! The fallback road of the link: records out as posts, acknowledgements in with the answers.

use super::{Link, Notice, Output};
use crate::outbox::{EventMessage, PostEnd, PublishId};
use crate::road::Road;
use crate::wire::command;
use core::time::Duration;
use forecourt::time::{Instant, Now};

/// A post that did not do its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostFailed {
    /// Smaller batches may pass (HTTP 413).
    pub too_large: bool,
    /// For logs and people.
    pub why: String,
    /// No other post before this is over.
    pub wait: Duration,
}

/// What became of a post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posted {
    /// The message's name.
    pub id: PublishId,
    /// The platform's commands, each a compact JWS: acknowledgements and refusals of records.
    pub result: Result<Vec<Vec<u8>>, PostFailed>,
}

impl Link {
    /// Why records go over HTTPS now, if they do.
    #[must_use]
    pub fn road(&self) -> Option<crate::road::Why> {
        self.road.as_ref().and_then(Road::open)
    }

    /// Lets the decision about the road take an event, and follows it.
    pub(super) fn turn_road(&mut self, now: Instant, event: impl FnOnce(&mut Road, Instant)) {
        let Some(road) = &mut self.road else { return };
        let before = road.open();
        event(road, now);
        let after = road.open();
        if before.is_some() != after.is_some() {
            self.outbox.handle_road(after.is_some(), now);
            self.out.push_back(Output::Notice(Notice::Road(after)));
        }
    }

    /// Tells the decision if fewer records are unsettled than before.
    pub(super) fn note_settled(&mut self, before: usize, now: Instant) {
        if self.outbox.unsettled() < before {
            self.turn_road(now, Road::handle_settled);
        }
    }

    pub(super) fn poll_post(&mut self, now: Instant) -> Option<EventMessage> {
        let passable = !self.stopping && self.road.as_ref().is_some_and(|road| road.is_passable(now));
        if passable { self.outbox.poll_post() } else { None }
    }

    /// An answer's commands are believed no more than those on the command topic: signature, station and age are checked alike. Only
    /// acknowledgements and refusals of records have a place here.
    pub(super) fn handle_posted(&mut self, posted: Posted, now: Now) {
        let commands = match posted.result {
            Ok(commands) => {
                self.counters.posts += 1;
                self.outbox.handle_posted(posted.id, PostEnd::Delivered, now.mono);
                commands
            }
            Err(failed) => {
                self.counters.posts_failed += 1;
                let end = if failed.too_large { PostEnd::TooLarge } else { PostEnd::Failed };
                self.outbox.handle_posted(posted.id, end, now.mono);
                if let Some(road) = &mut self.road {
                    road.handle_failed(failed.wait, now.mono);
                }
                return;
            }
        };
        for command in commands {
            match command::open(&command, &self.commands.keys, &self.commands.station) {
                Err(refused) => {
                    self.counters.posts_odd += 1;
                    self.refuse_unopened(&refused, None, now);
                }
                Ok(opened) if opened.is_remembered() => self.counters.posts_odd += 1,
                Ok(opened) => self.acknowledge_records(&opened, None, now),
            }
        }
    }
}

#[cfg(test)]
#[path = "posts_tests.rs"]
mod tests;
