//! The platform's MQTT client: one for all its stations.

use crate::books::{Books, Trouble};
use crate::contract::envelope;
use crate::contract::message::{LiveData, content};
use crate::shared::{Shared, now};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, Publish, QoS, SubscribeFilter};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages waiting for the socket, and messages waiting for the books. What overflows is not acknowledged and comes again.
const CHANNEL: usize = 1_000;
const INBOX: usize = 10_000;
const MAX_PACKET: usize = 2 * 1024 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(500);

/// Where the broker is and under which topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// Port, plain TCP.
    pub port: u16,
    /// The contract's prefix, such as `fuel/v1`.
    pub topic_prefix: String,
    /// MQTT client id; one session is kept under it.
    pub client_id: String,
}

/// Stays connected until told to stop.
pub async fn run(shared: Arc<Shared>, address: Address) {
    loop {
        // A new client for every connection: rumqttc's own memory of the last one is not to be relied on.
        let mut options = MqttOptions::new(&address.client_id, &address.host, address.port);
        options
            .set_clean_session(false)
            .set_keep_alive(KEEP_ALIVE)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET)
            .set_inflight(100);
        let (client, mut events) = AsyncClient::new(options, CHANNEL);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let (inbox, arrived) = mpsc::channel(INBOX);
        let work =
            Work { shared: Arc::clone(&shared), client: client.clone(), prefix: format!("{}/", address.topic_prefix) };
        let worker = tokio::spawn(work.run(arrived));
        tokio::select! {
            error = receive(&shared, &client, &mut events, &address, &inbox) => tracing::debug!(%error, "the platform's link ended"),
            () = shared.stopped() => {
                worker.abort();
                if client.try_disconnect().is_ok() {
                    // One poll sends the goodbye; if it cannot, the broker's keep-alive ends the session.
                    let _ = tokio::time::timeout(RETRY, events.poll()).await;
                }
                return;
            }
        }
        worker.abort();
        shared.connected.send_replace(false);
        tokio::time::sleep(RETRY).await;
    }
}

async fn receive(
    shared: &Arc<Shared>,
    client: &AsyncClient,
    events: &mut EventLoop,
    address: &Address,
    inbox: &mpsc::Sender<Publish>,
) -> rumqttc::ConnectionError {
    loop {
        match events.poll().await {
            Err(error) => return error,
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                // Not the command topic: it is ours.
                let filters = ["state/#", "event", "progress", "live/#", "reply"].map(|filter| {
                    SubscribeFilter::new(format!("{}/+/{filter}", address.topic_prefix), QoS::AtLeastOnce)
                });
                if client.try_subscribe_many(filters).is_err() {
                    tracing::warn!("the platform could not subscribe");
                }
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => {
                if let Err(error) = shared.write(|act| act.send_unanswered_again()).await {
                    tracing::error!(%error, "unanswered commands stay where they are");
                }
                shared.connected.send_replace(true);
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                if inbox.try_send(publish).is_err() {
                    tracing::warn!("more messages than can be stored; records are not acknowledged and come again");
                }
            }
            Ok(_) => {}
        }
    }
}

/// Takes messages in one by one and sends commands.
struct Work {
    shared: Arc<Shared>,
    client: AsyncClient,
    prefix: String,
}

impl Work {
    async fn run(self, mut arrived: mpsc::Receiver<Publish>) {
        let mut connected = self.shared.connected.subscribe();
        loop {
            let up = *connected.borrow_and_update();
            let done = tokio::select! {
                message = arrived.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = self.shared.outgoing.notified(), if up => self.send().await,
                _ = connected.changed() => self.send().await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "not taken in");
            }
        }
    }

    async fn take(&self, message: Publish) -> Result<(), Trouble> {
        let Some((station, topic)) = message.topic.strip_prefix(&self.prefix).and_then(|rest| rest.split_once('/'))
        else {
            return Ok(());
        };
        let (station, topic, payload) = (station.to_owned(), topic.to_owned(), message.payload);
        if topic == "event" {
            let to = station.clone();
            let answer = self.shared.with(move |books: &mut Books| books.ingest(&station, &payload, now())).await?;
            // Committed: only now may the station forget the records.
            for token in &answer.tokens {
                self.publish(&to, token.clone()).await;
            }
            return self.shared.write(move |act| act.answered(&answer)).await;
        }
        if topic.starts_with("live/") {
            let events = envelope::read(&payload, &station).unwrap_or_default();
            for live in events.iter().filter_map(|event| content::<LiveData>(&event.kind, &event.data).ok()) {
                self.shared.set_live(&station, live);
            }
            return Ok(());
        }
        self.shared.write(move |act| act.take_message(&station, &topic, &payload)).await
    }

    async fn send(&self) -> Result<(), Trouble> {
        if !*self.shared.connected.borrow() {
            return Ok(());
        }
        loop {
            let due = self.shared.read(|act| act.commands_to_send()).await?;
            if due.is_empty() {
                return Ok(());
            }
            for command in due {
                self.publish(&command.station_id, command.token).await;
                self.shared.read(move |act| act.command_sent(command.number)).await?;
            }
        }
    }

    async fn publish(&self, station: &str, token: String) {
        let topic = format!("{}{station}/cmd", self.prefix);
        if self.client.publish(topic, QoS::AtLeastOnce, false, token).await.is_err() {
            tracing::debug!("the client ended; what it had is sent again");
        }
    }
}
