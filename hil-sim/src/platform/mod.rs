//! The platform as a test driver: sells orders, signs commands, acknowledges records, keeps the books in memory and checks the
//! station against the contract.
//!
//! Built on the contract side of `reference-platform` alone and sharing no code with `cloud-sync`, so that one misreading cannot
//! hide the other.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use hil_sim::platform::{KeyPair, Platform, Settings};
//! let key = KeyPair::generate("platform-1")?;
//! let platform = Platform::connect(Settings::new("127.0.0.1:1883".parse()?, "st-demo"), key).await?;
//! # Ok(()) }
//! ```

mod account;
pub mod console;
mod desk;
mod link;
mod notice;
mod papers;
mod report;
pub mod serve;
pub mod voucher;

pub use account::{Account, End};
pub use desk::{AckBy, Counts, Desk, Faults, HeardSale, Issued, Moment, Terms};
pub use link::moment;
pub use notice::Notice;
pub use reference_platform::contract::chain::{Arrival, Chain};
pub use reference_platform::contract::command::{Acked, Command, OrderSpec, PriceSet};
pub use reference_platform::contract::envelope::{Event, Link, hash, read};
pub use reference_platform::contract::keys::{KeyPair, write_jwks};
pub use reference_platform::contract::message::{
    LiveData, NozzleState, OutboxFigures, ReplyData, SaleData, StationState,
};
pub use report::{NozzleLine, OrderLine, Report};

use forecourt::ids::{NozzleId, OrderId};
use forecourt::units::Currency;
use link::{Address, Shared};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the first connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where the platform connects and how it behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The broker, plain TCP.
    pub broker: SocketAddr,
    /// The contract's prefix.
    pub topic_prefix: String,
    /// MQTT client id.
    pub client_id: String,
    /// How it behaves towards which station.
    pub terms: Terms,
}

impl Settings {
    /// The usual: prefix `fuel/v1`, CNY, acknowledgement by ids, no faults.
    #[must_use]
    pub fn new(broker: SocketAddr, station: &str) -> Self {
        Self {
            broker,
            topic_prefix: "fuel/v1".into(),
            client_id: format!("platform-of-{station}"),
            terms: Terms {
                station: station.into(),
                currency: Currency::CNY,
                ack: AckBy::default(),
                faults: Faults::default(),
                joined_late: false,
            },
        }
    }
}

/// What went wrong in talking to the station.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// No random numbers for the ids.
    #[error("no random numbers for command ids: {0}")]
    Random(String),
    /// No subscription in time.
    #[error("the broker at {0} gave no subscription within {CONNECT_LIMIT:?}: is it running and reachable?")]
    NoBroker(SocketAddr),
    /// Something expected did not come in time.
    #[error("{what} did not come within {waited:?}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
}

/// A running platform. Its link works in a background task until this is dropped.
#[derive(Debug)]
pub struct Platform {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Platform {
    /// Connects and returns once the subscription stands.
    ///
    /// # Errors
    /// [`PlatformError::NoBroker`] if there is none in 10 s.
    pub async fn connect(settings: Settings, key: KeyPair) -> Result<Self, PlatformError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| PlatformError::Random(error.to_string()))?;
        let station = settings.terms.station.clone();
        let shared = Shared::new(Desk::new(settings.terms, key, seed));
        let address =
            Address { broker: settings.broker, topic_prefix: settings.topic_prefix, client_id: settings.client_id };
        let task = tokio::spawn(link::run(Arc::clone(&shared), address, station));
        let platform = Self { shared, task };
        let mut connected = platform.shared.connected.subscribe();
        match tokio::time::timeout(CONNECT_LIMIT, connected.wait_for(|up| *up)).await {
            Ok(Ok(_)) => {}
            _ => return Err(PlatformError::NoBroker(settings.broker)),
        }
        drop(connected);
        Ok(platform)
    }

    /// Sells an order: takes the money and asks the station for it.
    pub fn pay(&self, spec: OrderSpec) -> OrderHandle<'_> {
        let order_id = spec.order_id.clone();
        let command = self.send(Command::Authorise(Box::new(spec)));
        OrderHandle { platform: self, order_id, command }
    }

    /// Signs and sends a command; its id is the key to its replies.
    pub fn send(&self, command: Command) -> Uuid {
        let id = self.shared.desk().issue(command, moment());
        self.shared.outgoing.notify_one();
        id
    }

    /// Sends the same bytes of a command once more.
    pub fn send_again(&self, command: Uuid) {
        self.shared.desk().repeat(command);
        self.shared.outgoing.notify_one();
    }

    /// Sends a token that another platform signed, as a broker that delivers twice would; its id is the key to the replies from now on.
    pub fn send_copy(&self, id: Uuid, token: String) {
        let command = Command::Other("fuel.order.authorise.v1".into(), serde_json::Value::Null);
        self.shared.desk().issue_foreign(id, command, token, moment());
        self.shared.outgoing.notify_one();
    }

    /// Waits until `pick` finds something at the desk.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`] with `what`.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&Desk) -> Option<T>,
    ) -> Result<T, PlatformError> {
        let mut changed = self.shared.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = pick(&self.shared.desk()) {
                    return found;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(limit, search)
            .await
            .map_err(|_| PlatformError::TimedOut { what: what.into(), waited: limit })
    }

    /// The first reply to a command and when it came.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn reply(&self, command: Uuid, limit: Duration) -> Result<(ReplyData, Instant), PlatformError> {
        self.replies(command, 1, limit).await.map(|mut replies| replies.swap_remove(0))
    }

    /// The first `count` replies to a command, for one that was delivered more than once.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn replies(
        &self,
        command: Uuid,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<(ReplyData, Instant)>, PlatformError> {
        self.wait_for(&format!("reply {count} to command {command}"), limit, |desk| {
            desk.issued(command).map(|issued| &issued.replies).filter(|replies| replies.len() >= count).cloned()
        })
        .await
    }

    /// Waits until the station is online and these nozzles are idle, free and take orders.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`] naming them.
    pub async fn nozzles_ready(&self, nozzles: &[NozzleId], limit: Duration) -> Result<(), PlatformError> {
        self.wait_for(&format!("idle and available nozzles {nozzles:?}"), limit, |desk| {
            let online = desk.station().is_some_and(|station| station.online);
            let ready = |id| desk.nozzle(id).is_some_and(|nozzle| nozzle.available && nozzle.state == "idle");
            (online && nozzles.iter().all(|id| ready(*id))).then_some(())
        })
        .await
    }

    /// Waits for a nozzle to be in a state.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn nozzle_state(&self, nozzle: NozzleId, state: &str, limit: Duration) -> Result<(), PlatformError> {
        self.wait_for(&format!("state {state} of nozzle {nozzle}"), limit, |desk| {
            desk.nozzle(nozzle).filter(|known| known.state == state).map(|_| ())
        })
        .await
    }

    /// Waits until the station's outbox is empty, as it says itself.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn outbox_empty(&self, limit: Duration) -> Result<(), PlatformError> {
        self.wait_for("an empty outbox in state/station", limit, |desk| {
            desk.station().and_then(|station| station.outbox).filter(|outbox| outbox.pending == 0).map(|_| ())
        })
        .await
    }

    /// Looks at the desk. Keep it short: the link waits meanwhile.
    pub fn look<T>(&self, view: impl FnOnce(&Desk) -> T) -> T {
        view(&self.shared.desk())
    }

    /// Notices since the last call, oldest first.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let mut desk = self.shared.desk();
        std::iter::from_fn(|| desk.poll_notice()).collect()
    }

    /// What the books come to.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.desk().report()
    }
}

/// An order that was paid.
#[derive(Clone, Debug)]
pub struct OrderHandle<'a> {
    platform: &'a Platform,
    /// Its name.
    pub order_id: OrderId,
    /// The command that asked for it.
    pub command: Uuid,
}

impl OrderHandle<'_> {
    /// The first reply to its authorise and when it came.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn reply(&self, limit: Duration) -> Result<(ReplyData, Instant), PlatformError> {
        self.platform.reply(self.command, limit).await
    }

    /// Its one end.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn end(&self, limit: Duration) -> Result<End, PlatformError> {
        self.platform
            .wait_for(&format!("the end of order {}", self.order_id), limit, |desk| {
                desk.account(&self.order_id).and_then(|account| account.end.clone())
            })
            .await
    }

    /// A step of it on `progress`, such as `fuelling`. Progress is best effort: use states of nozzles where it must not fail.
    ///
    /// # Errors
    /// [`PlatformError::TimedOut`].
    pub async fn step(&self, state: &str, limit: Duration) -> Result<(), PlatformError> {
        self.platform
            .wait_for(&format!("step {state} of order {}", self.order_id), limit, |desk| {
                let account = desk.account(&self.order_id)?;
                account.steps.iter().any(|step| step == state).then_some(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use reference_platform::contract::fake_station::{FakeStation, STATION, opened, order};
    use rumqttc::{AsyncClient, Incoming, MqttOptions, QoS};

    const SOON: Duration = Duration::from_secs(10);

    /// Answers every authorise with `armed` and a sale, over a real broker; tells its readiness (`null`) and every
    /// acknowledgement. Its session stays at the broker when its link is cut.
    async fn station_on(broker: SocketAddr, tell: tokio::sync::mpsc::UnboundedSender<serde_json::Value>) {
        let mut options = MqttOptions::new(STATION, broker.ip().to_string(), broker.port());
        options.set_clean_session(false);
        let (client, mut events) = AsyncClient::new(options, 64);
        client.subscribe(format!("fuel/v1/{STATION}/cmd"), QoS::AtLeastOnce).await.expect("room");
        let (mut station, mut totaliser) = (FakeStation::new(), 0);
        loop {
            let publish = match events.poll().await {
                Ok(rumqttc::Event::Incoming(Incoming::Publish(publish))) => publish,
                Ok(rumqttc::Event::Incoming(Incoming::SubAck(_))) => {
                    tell.send(serde_json::Value::Null).expect("the test listens");
                    continue;
                }
                Ok(_) => continue,
                // While the broker is down.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let command = opened(std::str::from_utf8(&publish.payload).expect("text"));
            if command["type"] == "fuel.ack.v1" {
                tell.send(command["data"].clone()).expect("the test listens");
                continue;
            }
            let reply =
                station.reply(command["id"].as_str().expect("an id"), "fuel.order.authorise.v1", "armed", false);
            let sale = station.sale(command["data"]["order_id"].as_str().expect("an id"), totaliser, 10_000, 7_450);
            totaliser += 10_000;
            for (topic, message) in [("reply", reply), ("event", sale)] {
                let topic = format!("fuel/v1/{STATION}/{topic}");
                client.publish(topic, QoS::AtLeastOnce, false, message.to_string()).await.expect("room");
            }
        }
    }

    #[tokio::test]
    async fn an_order_runs_over_a_real_broker_from_payment_to_acknowledgement_and_another_is_paid_while_it_is_down() {
        let broker = Broker::embedded().expect("starts");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let platform = Platform::connect(Settings::new(broker.address(), STATION), KeyPair::from_seed("k", [1; 32]))
            .await
            .expect("connects");
        let station = tokio::spawn(station_on(broker.address(), tell));
        assert!(told.recv().await.expect("the station lives").is_null(), "it has subscribed");

        let first = platform.pay(order("o-1", 20_000));
        assert_eq!(first.reply(SOON).await.expect("in time").0.result, "armed");
        let Ok(End::Sale(sale)) = first.end(SOON).await else { panic!("no sale") };
        let acked = told.recv().await.expect("the station lives");
        assert_eq!(acked["ids"].as_array().map(Vec::len), Some(1), "{sale:?} is acknowledged by its id");

        broker.take_down();
        let second = platform.pay(order("o-2", 20_000));
        broker.restore();
        second.end(SOON).await.expect("in time");
        station.abort();
    }
}
