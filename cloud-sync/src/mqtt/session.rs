//! One connection to one broker: rumqttc's events in, the link's messages out.
//!
//! rumqttc 0.25 forgets publishes when the broker forgot the session, and tells nobody. So a client lives for one connection
//! only, the store is the only queue, and each PUBACK is tied to its message through the order in which rumqttc gives out packet
//! ids: that order is certain because one task owns the client and its event loop.

use crate::link::{DeliveryId, Input, Message, PublishTag, Qos};
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Outgoing, Packet, Publish, QoS, SubscribeReasonCode};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;

/// Commands that may wait for their acknowledgement.
const HELD_BACK: usize = 8;

/// What the event loop gives: itself back, and what happened.
type Polled = (EventLoop, Result<Event, ConnectionError>);

/// The event loop at work. Kept whole across wake-ups of other channels: a poll cut short could lose a packet.
pub(super) type Poll = Pin<Box<dyn Future<Output = Polled> + Send>>;

/// Sets the event loop to work until its next event.
pub(super) fn poll(mut events: EventLoop) -> Poll {
    Box::pin(async move {
        let event = events.poll().await;
        (events, event)
    })
}

/// What an event of the connection means to the link.
#[derive(Debug)]
pub(super) enum Meaning {
    Nothing,
    Accepted,
    Link(Input),
    /// The goodbye is on its way.
    Closed,
    /// The broker does not let us read our commands.
    NotSubscribed,
}

/// The client's side of one connection.
pub(super) struct Session {
    client: AsyncClient,
    command_topic: String,
    /// Messages handed to rumqttc that have no packet id yet.
    handed: VecDeque<PublishTag>,
    by_packet: BTreeMap<u16, PublishTag>,
    /// Commands that are not yet acknowledged to the broker, in the order they came; true once they may be.
    deliveries: BTreeMap<DeliveryId, (Publish, bool)>,
    next_delivery: u64,
    /// What rumqttc's channel had no room for.
    held: VecDeque<Held>,
}

enum Held {
    Message(Message),
    Ack(Publish),
    Disconnect,
}

impl Session {
    pub(super) const fn new(client: AsyncClient, command_topic: String, next_delivery: u64) -> Self {
        Self {
            client,
            command_topic,
            handed: VecDeque::new(),
            by_packet: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            next_delivery,
            held: VecDeque::new(),
        }
    }

    /// The number of the next delivery: they go on over connections.
    pub(super) const fn next_delivery(&self) -> u64 {
        self.next_delivery
    }

    /// Whether rumqttc takes more.
    pub(super) fn has_room(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn publish(&mut self, message: Message) {
        self.hand(Held::Message(message));
    }

    pub(super) fn acknowledge(&mut self, delivery: DeliveryId) {
        if let Some((_, done)) = self.deliveries.get_mut(&delivery) {
            *done = true;
        }
        self.acknowledge_in_order();
    }

    /// A broker may end a connection whose acknowledgements are out of order (MQTT 3.1.1, [MQTT-4.6.0-2]; rumqttd does). So one that
    /// is ready waits for those before it, but only for a few: a flood must not stay in the broker in front of a good command.
    fn acknowledge_in_order(&mut self) {
        while let Some(first) = self.deliveries.first_entry() {
            if !first.get().1 && self.deliveries.len() <= HELD_BACK {
                return;
            }
            if let Some((_, (publish, _))) = self.deliveries.pop_first() {
                self.hand(Held::Ack(publish));
            }
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.hand(Held::Disconnect);
    }

    /// Hands over what was held, in order.
    pub(super) fn flush(&mut self) {
        while let Some(held) = self.held.pop_front() {
            if let Err(held) = self.try_hand(held) {
                self.held.push_front(held);
                return;
            }
        }
    }

    fn hand(&mut self, item: Held) {
        self.held.push_back(item);
        self.flush();
    }

    fn try_hand(&mut self, item: Held) -> Result<(), Held> {
        match item {
            Held::Message(message) => {
                let qos = match message.qos {
                    Qos::AtMostOnce => QoS::AtMostOnce,
                    Qos::AtLeastOnce => QoS::AtLeastOnce,
                };
                let payload = message.payload.clone();
                if self.client.try_publish(&message.topic, qos, message.retain, payload).is_err() {
                    return Err(Held::Message(message));
                }
                self.handed.extend(message.tag);
                Ok(())
            }
            Held::Ack(publish) => self.client.try_ack(&publish).map_err(|_| Held::Ack(publish)),
            Held::Disconnect => self.client.try_disconnect().map_err(|_| Held::Disconnect),
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> Meaning {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                // The channel of a new client is empty, so there is room.
                match self.client.try_subscribe(&self.command_topic, QoS::AtLeastOnce) {
                    Ok(()) => Meaning::Accepted,
                    Err(_) => Meaning::NotSubscribed,
                }
            }
            Event::Incoming(Packet::SubAck(ack)) if ack.return_codes.contains(&SubscribeReasonCode::Failure) => {
                Meaning::NotSubscribed
            }
            Event::Incoming(Packet::Publish(publish)) => self.receive(publish),
            Event::Incoming(Packet::PubAck(ack)) => match self.by_packet.remove(&ack.pkid) {
                Some(tag) => Meaning::Link(Input::Puback(tag)),
                None => Meaning::Nothing,
            },
            // Packet id 0 is QoS 0. `AwaitAck` (an id still in use) takes none; its `Publish` follows once the id is free.
            Event::Outgoing(Outgoing::Publish(packet)) if packet != 0 => {
                if let Some(tag) = self.handed.pop_front() {
                    self.by_packet.insert(packet, tag);
                }
                Meaning::Nothing
            }
            Event::Outgoing(Outgoing::Disconnect) => Meaning::Closed,
            _ => Meaning::Nothing,
        }
    }

    fn receive(&mut self, publish: Publish) -> Meaning {
        let delivery = DeliveryId(self.next_delivery);
        self.next_delivery += 1;
        let payload = publish.payload.to_vec();
        let retained = publish.retain;
        // Only what the acknowledgement needs is kept.
        self.deliveries.insert(delivery, (Publish { payload: Default::default(), ..publish }, false));
        self.acknowledge_in_order();
        Meaning::Link(Input::Message { delivery, retained, payload })
    }
}
