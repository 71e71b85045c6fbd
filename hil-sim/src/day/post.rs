//! A broker as a station sees one: a session with queued commands, retained states, the will, and connections that break.
//!
//! Pure: it holds what a broker holds. How long things are under way is the world's business.

use cloud_sync::link::{DeliveryId, Message};
use std::collections::{BTreeMap, VecDeque};

/// A command in the station's session until the station acknowledges it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// Its place.
    pub number: u64,
    /// A compact JWS.
    pub token: String,
    /// Marked as retained, which no good platform does.
    pub retained: bool,
}

/// The broker.
#[derive(Debug, Default)]
pub struct Post {
    /// Reachable or not.
    pub up: bool,
    /// The connection of the station, by number.
    connection: Option<u64>,
    last_connection: u64,
    /// The station has subscribed once and its session is kept.
    session: bool,
    queue: VecDeque<Queued>,
    numbered: u64,
    delivered: BTreeMap<DeliveryId, u64>,
    next_delivery: u64,
    will: Option<(String, Vec<u8>)>,
    longest: usize,
}

impl Post {
    /// A broker that runs and has never heard of the station.
    #[must_use]
    pub fn new() -> Self {
        Self { up: true, ..Self::default() }
    }

    /// The present connection.
    #[must_use]
    pub const fn connection(&self) -> Option<u64> {
        self.connection
    }

    /// Commands in the session, acknowledged ones left out.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The most there ever were.
    #[must_use]
    pub const fn longest(&self) -> usize {
        self.longest
    }

    /// The station connects and subscribes. Gives the connection and all that waits for it, or `None` while the broker is away.
    pub fn connect(&mut self, will: Message) -> Option<(u64, Vec<Queued>)> {
        if !self.up {
            return None;
        }
        self.last_connection += 1;
        self.connection = Some(self.last_connection);
        self.session = true;
        self.delivered.clear();
        self.will = Some((will.topic, will.payload));
        Some((self.last_connection, self.queue.iter().cloned().collect()))
    }

    /// The connection is gone without a goodbye. Gives the will.
    pub fn lose(&mut self) -> Option<(String, Vec<u8>)> {
        self.connection = None;
        self.delivered.clear();
        self.will.take()
    }

    /// The broker has lost its memory of the station.
    pub fn forget_session(&mut self) {
        self.session = false;
        self.queue.clear();
        self.delivered.clear();
    }

    /// A command of the platform for the station. Gives it numbered if it can be delivered now.
    pub fn take(&mut self, token: String, retained: bool) -> Option<Queued> {
        if !self.up || !self.session {
            return None;
        }
        self.numbered += 1;
        let queued = Queued { number: self.numbered, token, retained };
        self.queue.push_back(queued.clone());
        self.longest = self.longest.max(self.queue.len());
        self.connection.map(|_| queued)
    }

    /// A command arrives at the station: under this name it will be acknowledged.
    pub fn deliver(&mut self, number: u64) -> DeliveryId {
        let delivery = DeliveryId(self.next_delivery);
        self.next_delivery += 1;
        self.delivered.insert(delivery, number);
        delivery
    }

    /// The station acknowledges a delivery of the present connection.
    pub fn acknowledge(&mut self, delivery: DeliveryId) {
        if let Some(number) = self.delivered.remove(&delivery) {
            self.queue.retain(|queued| queued.number != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_sync::link::Qos;

    fn will() -> Message {
        Message { topic: "t".into(), qos: Qos::AtLeastOnce, retain: true, payload: b"gone".to_vec(), tag: None }
    }

    #[test]
    fn an_unacknowledged_command_comes_again_in_the_next_connection_of_the_session() {
        let mut post = Post::new();
        assert_eq!(post.take("early".into(), false), None, "no session yet");
        let (_, waiting) = post.connect(will()).expect("up");
        assert!(waiting.is_empty());
        let one = post.take("one".into(), false).expect("delivered");
        let two = post.take("two".into(), false).expect("delivered");
        let first = post.deliver(one.number);
        post.deliver(two.number);
        post.acknowledge(first);
        assert_eq!(post.lose().map(|(topic, _)| topic), Some("t".into()));
        assert_eq!(post.take("three".into(), false), None, "queued, nobody is there");
        let (_, waiting) = post.connect(will()).expect("up");
        assert_eq!(waiting.iter().map(|queued| &*queued.token).collect::<Vec<_>>(), ["two", "three"]);
        post.forget_session();
        assert_eq!(post.connect(will()).expect("up").1, []);
    }
}
