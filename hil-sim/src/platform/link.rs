//! The platform's MQTT client: a thin shell around the desk.

use super::desk::{Desk, Moment};
use forecourt::time::UtcTime;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, QoS};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// Messages waiting for the socket. A full one leaves commands at the desk.
const CHANNEL: usize = 512;
/// Larger than anything the contract allows in either direction, so that nothing oversized blocks the session.
const MAX_PACKET: usize = 2 * 1024 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(200);

/// Where to connect and under which topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The broker.
    pub broker: SocketAddr,
    /// The contract's prefix, such as `fuel/v1`.
    pub topic_prefix: String,
    /// MQTT client id; one session is kept under it.
    pub client_id: String,
}

/// What the link and the platform's users share.
#[derive(Debug)]
pub struct Shared {
    desk: Mutex<Desk>,
    /// Counts changes of the desk.
    pub changed: watch::Sender<u64>,
    /// Whether the subscription stands.
    pub connected: watch::Sender<bool>,
    /// Rung when the desk has something to send.
    pub outgoing: Notify,
}

impl Shared {
    /// Around a desk.
    pub fn new(desk: Desk) -> Arc<Self> {
        Arc::new(Self {
            desk: Mutex::new(desk),
            changed: watch::Sender::new(0),
            connected: watch::Sender::new(false),
            outgoing: Notify::new(),
        })
    }

    /// The desk. Hold it briefly and never across an await.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        // A panic aborts the process, so a poisoned lock is never seen.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle_message(&self, topic: &str, payload: &[u8]) {
        self.desk().handle_message(topic, payload, moment());
        self.changed.send_modify(|version| *version += 1);
        self.outgoing.notify_one();
    }
}

/// Both clocks, now.
pub fn moment() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { mono: Instant::now(), utc: UtcTime::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)) }
}

/// Stays connected until dropped. A new client for every connection: rumqttc's own memory of the last one is not to be relied on.
pub async fn run(shared: Arc<Shared>, address: Address, station: String) {
    let base = format!("{}/{station}/", address.topic_prefix);
    let commands = format!("{base}cmd");
    loop {
        let mut options = MqttOptions::new(&address.client_id, address.broker.ip().to_string(), address.broker.port());
        options
            .set_clean_session(false)
            .set_keep_alive(KEEP_ALIVE)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET)
            .set_inflight(100);
        let (client, mut events) = AsyncClient::new(options, CHANNEL);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        tokio::select! {
            error = receive(&shared, &client, &mut events, &base) => tracing::debug!(%error, "the platform's link ended"),
            () = send(&shared, &client, &commands) => {}
        }
        shared.connected.send_replace(false);
        tokio::time::sleep(RETRY).await;
    }
}

async fn receive(
    shared: &Shared,
    client: &AsyncClient,
    events: &mut EventLoop,
    base: &str,
) -> rumqttc::ConnectionError {
    loop {
        match events.poll().await {
            Err(error) => return error,
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                // Not the command topic: it is ours.
                let filters = ["state/#", "event", "progress", "live/#", "reply"];
                let filters =
                    filters.map(|filter| rumqttc::SubscribeFilter::new(format!("{base}{filter}"), QoS::AtLeastOnce));
                if client.try_subscribe_many(filters).is_err() {
                    tracing::warn!("the platform could not subscribe");
                }
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => {
                shared.desk().handle_connected();
                shared.connected.send_replace(true);
                shared.outgoing.notify_one();
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                if let Some(topic) = publish.topic.strip_prefix(base) {
                    shared.handle_message(topic, &publish.payload);
                }
            }
            Ok(_) => {}
        }
    }
}

/// Publishes what the desk has to say, once the subscription stands. Ends only with its client.
async fn send(shared: &Shared, client: &AsyncClient, topic: &str) {
    let mut connected = shared.connected.subscribe();
    if connected.wait_for(|up| *up).await.is_err() {
        return;
    }
    loop {
        let next = shared.desk().poll_transmit();
        match next {
            Some(token) => {
                if client.publish(topic, QoS::AtLeastOnce, false, token).await.is_err() {
                    return;
                }
            }
            None => shared.outgoing.notified().await,
        }
    }
}
