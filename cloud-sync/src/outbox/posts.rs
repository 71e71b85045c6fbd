//! The outbox over the fallback road: batches for HTTPS, beside those for the broker.
//!
//! A posted row is *sent* like a published one. A post that was answered is only delivered; what settles its rows is the signed
//! acknowledgement in the answer, in whatever mode the outbox is.

use super::{Outbox, PublishId, Ready, wait_after};
use forecourt::time::Instant;

/// Most posts under way.
const POSTS: usize = 4;

/// What became of a post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PostEnd {
    /// The platform answered 200: it has the records and says by its commands which it has stored.
    Delivered,
    /// 413: smaller batches, please.
    TooLarge,
    /// No answer, or a refusal of the whole.
    Failed,
}

/// Rows on their way over HTTPS.
#[derive(Debug, Default)]
pub(super) struct Posts {
    /// The road is open.
    pub open: bool,
    /// Most records in one post; smaller after a 413. 0 stands for the setting.
    batch: usize,
    under_way: std::collections::BTreeMap<PublishId, Vec<u64>>,
    /// Rows that HTTPS refuses for their size alone: they wait for MQTT.
    too_large: std::collections::BTreeSet<u64>,
}

impl Posts {
    pub(super) fn holds(&self, sequence: u64) -> bool {
        self.under_way.values().any(|rows| rows.contains(&sequence))
    }
}

impl Outbox {
    /// The fallback road opens or closes. What was sent over a broken link, and what nobody has acknowledged, goes again at once.
    pub fn handle_road(&mut self, open: bool, now: Instant) {
        if core::mem::replace(&mut self.posts.open, open) == open || !open {
            return;
        }
        self.posts.batch = self.settings.batch;
        if !self.connected {
            self.send_all_again(now);
        }
    }

    /// Records for one post: a JSON array, while the road is open.
    pub fn poll_post(&mut self) -> Option<super::EventMessage> {
        if !self.posts.open || self.posts.under_way.len() >= POSTS {
            return None;
        }
        self.drop_oversized();
        if self.ready.len() < self.posts.batch && (self.reading_again || (self.reading && self.more_waits())) {
            // More is on its way: better one full post than many small ones.
            return None;
        }
        let rows = self.take(self.posts.batch, |outbox, sequence| !outbox.posts.too_large.contains(&sequence));
        if rows.is_empty() {
            return None;
        }
        let bytes: Vec<&[u8]> = rows.iter().map(|ready| ready.row.bytes.as_slice()).collect();
        let payload = [b"[".as_slice(), &bytes.join(b",".as_slice()), b"]"].concat();
        let id = PublishId(self.next_id);
        self.next_id += 1;
        let sequences = rows.into_iter().map(|ready| self.note_sent(ready)).collect();
        self.posts.under_way.insert(id, sequences);
        Some(super::EventMessage { id, payload })
    }

    /// The oldest message that the broker may be too slow for, while the road is open.
    pub(super) fn slow_message(&self) -> Option<&super::InFlight> {
        self.in_flight.values().find(|message| self.posts.open && !message.given_up)
    }

    /// What a connected broker has had for too long goes over the road; its place in the broker's window stays taken.
    pub(super) fn give_up_on_broker(&mut self, now: Instant) {
        while let Some(rows) =
            self.slow_message().filter(|slow| slow.at + super::BROKER_SLOW <= now).map(|slow| slow.rows.clone())
        {
            if let Some(slow) = self.in_flight.values_mut().find(|message| !message.given_up) {
                slow.given_up = true;
            }
            for sequence in rows {
                if self.sent.get(&sequence).is_some_and(|sent| sent.due.is_none()) {
                    self.set_due(sequence, now);
                }
            }
        }
    }

    /// A post is over.
    pub fn handle_posted(&mut self, id: PublishId, end: PostEnd, now: Instant) {
        let Some(rows) = self.posts.under_way.remove(&id) else { return };
        if end == PostEnd::TooLarge {
            match rows.as_slice() {
                [one] => {
                    self.posts.too_large.insert(*one);
                }
                several => self.posts.batch = (several.len() / 2).clamp(1, self.posts.batch.max(1)),
            }
        }
        for sequence in rows {
            let Some(sent) = self.sent.get(&sequence) else { continue };
            let due = if end == PostEnd::Delivered { now + wait_after(sent.times) } else { now };
            self.set_due(sequence, due);
        }
    }

    /// Everything sent and not settled goes again, but for what is on its way over HTTPS.
    pub(super) fn send_all_again(&mut self, now: Instant) {
        let Self { sent, ready, due, posts, .. } = self;
        for (sequence, sent) in sent.iter_mut() {
            if !ready.contains_key(&(sent.priority, *sequence)) && !posts.holds(*sequence) {
                sent.times = 0;
                if let Some(before) = sent.due.replace(now) {
                    due.remove(&(before, *sequence));
                }
                due.insert((now, *sequence));
            }
        }
    }

    /// The row goes out and waits for its acknowledgement.
    pub(super) fn note_sent(&mut self, Ready { row, times }: Ready) -> u64 {
        self.by_id.insert(row.id, row.sequence);
        let sent = super::Sent { id: row.id, priority: row.priority, times: times + 1, due: None };
        if let Some(due) = self.sent.insert(row.sequence, sent).and_then(|before| before.due) {
            self.due.remove(&(due, row.sequence));
        }
        row.sequence
    }
}

#[cfg(test)]
#[path = "posts_tests.rs"]
mod tests;
