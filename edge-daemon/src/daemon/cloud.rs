//! The way to the platform: the MQTT link, the fallback road over HTTPS, and what keeps their certificates.

use super::alarms::{Bell, jitter};
use super::certificates::{self, Keeper};
use super::views::{self, Facts};
use super::{COMMANDS, Heart, Station, consumers, store_error, wiring};
use crate::config;
use crate::store::Reader;
use crate::store::thread::Handle;
use anyhow::Context as _;
use cloud_sync::expiry::Standing;
use cloud_sync::link::Link;
use cloud_sync::mqtt::{self, DaemonEnds, LinkSettings, Told};
use cloud_sync::wire::jws::KeySet;
use cloud_sync::{https, outbox, road};
use forecourt::ids::UuidMaker;
use forecourt::site::Site;
use forecourt::time::UtcTime;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// The note that names the broker that last accepted us.
pub(super) const LAST_GOOD: &str = "last_good_broker";

/// What an earlier run left.
pub(super) struct Earlier {
    /// Orders asked for before this may have been served.
    pub not_before: UtcTime,
    /// Alarms of certificates.
    pub standing: Standing,
    /// The broker that accepted us.
    pub last_good: Option<String>,
}

impl Earlier {
    /// Reads what the store holds of it.
    pub fn read(not_before: UtcTime, ledger: &Reader) -> anyhow::Result<Self> {
        let note = |name| ledger.note(name).map_err(store_error);
        let standing = note(certificates::NOTE)?.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default();
        Ok(Self { not_before, standing, last_good: note(LAST_GOOD)? })
    }
}

/// The ends of one link.
pub(super) struct CloudEnds {
    /// `None` where the station runs alone.
    pub told: Option<mpsc::Sender<Told>>,
    /// For the site.
    pub commands: mpsc::Receiver<forecourt::command::Command>,
    /// Whether a broker has us.
    pub uplink: watch::Receiver<bool>,
    /// The link's own task, which says goodbye.
    pub link: Option<JoinHandle<()>>,
    /// To be aborted at the end.
    pub helpers: Vec<JoinHandle<()>>,
}

impl Station<'_> {
    pub(super) fn start_cloud(
        &mut self,
        site: &Site,
        facts: &Facts,
        earlier: Earlier,
        store: &Handle,
        bell: &Bell,
        heart: &mut Heart,
    ) -> anyhow::Result<CloudEnds> {
        let (uplink_in, uplink) = watch::channel(false);
        let Some(cloud) = &self.config.cloud else {
            info!("no [cloud] in the configuration: the station runs alone");
            let (_never, commands) = mpsc::channel(1);
            return Ok(CloudEnds { told: None, commands, uplink, link: None, helpers: Vec::new() });
        };
        let places = certificates::places(cloud);
        if let Some(places) = &places
            && places.finish().context("finish the replacement of certificates")?
        {
            info!("a replacement of certificates that was interrupted is finished");
        }
        let jwks = std::fs::read(&cloud.jwks_file)
            .with_context(|| format!("read {} (cloud.jwks-file)", cloud.jwks_file.display()))?;
        let keys =
            KeySet::from_jwks(&jwks).with_context(|| format!("{} (cloud.jwks-file)", cloud.jwks_file.display()))?;
        let material = places.as_ref().map(certificates::read).transpose().context("cloud")?;
        let settings = LinkSettings {
            brokers: cloud.brokers.iter().map(wiring::broker).collect::<Result<_, _>>()?,
            last_good: earlier.last_good.as_deref().and_then(|broker| broker.parse().ok()),
            tls: material.clone(),
            allow_plaintext: cloud.allow_plaintext,
            client_id: self.config.station.id.to_string(),
            keep_alive: Duration::from_secs(20),
        };
        settings.check().context("cloud")?;
        for broker in settings.brokers.iter().filter(|broker| broker.is_exposed()) {
            warn!(%broker, "this broker is reached without encryption (allow-plaintext = true)");
        }
        let way = |https: &config::Https| road::Settings { blocked_after: https.after, ..road::Settings::default() };
        let mut link = Link::new(
            cloud_sync::link::Settings {
                station: self.config.station.id.clone(),
                boot: self.boot,
                prefix: cloud.topic_prefix.clone(),
                keys,
                outbox: outbox::Settings {
                    ack: match cloud.ack {
                        config::Ack::Cloud => outbox::AckMode::Platform,
                        config::Ack::Broker => outbox::AckMode::Broker,
                    },
                    ..outbox::Settings::default()
                },
                commands: COMMANDS,
                road: cloud.https.as_ref().map(way),
            },
            views::station(site, facts, &self.clock.now()),
            UuidMaker::new(self.ids.fork()),
            self.clock.mono(),
        );
        link.refuse_orders_before(earlier.not_before);
        let (ends, link_ends) = mqtt::channels();
        let DaemonEnds { told, commands, asks, answers, notices, status, posts, posted } = ends;
        let (clients, clients_out) =
            watch::channel(cloud.https.as_ref().and_then(|https| certificates::client(https, material.as_ref())));
        let mut helpers = vec![
            tokio::spawn(serve_asks(asks, answers, store.clone())),
            tokio::spawn(note_uplink(status.clone(), uplink_in, store.clone(), earlier.last_good)),
        ];
        if let Some(to) = &cloud.https {
            let station = self.config.station.id.clone();
            helpers.push(tokio::spawn(https::run(
                to.url.clone(),
                station,
                clients_out,
                posts,
                posted,
                Box::new(jitter),
            )));
        }
        helpers.push(tokio::spawn(certificates::watch(Keeper {
            station: self.config.station.id.clone(),
            cloud: cloud.clone(),
            material,
            told: told.clone(),
            clients,
            notices,
            status,
            bell: bell.clone(),
            store: store.clone(),
            clock: self.clock.clone(),
            standing: earlier.standing,
        })));
        let beat = heart.add("cloud");
        let clock = self.clock.clone();
        let world = mqtt::World {
            now: Box::new(move || {
                // Asked at every turn of the link's loop, and at least once a second by the station's state.
                beat.tick();
                clock.now()
            }),
            jitter: Box::new(jitter),
        };
        let link = tokio::spawn(async move {
            if let Err(why) = mqtt::run(settings, link, link_ends, world).await {
                error!(%why, "the cloud link");
            }
        });
        Ok(CloudEnds { told: Some(told), commands, uplink, link: Some(link), helpers })
    }

    /// A task for each consumer beside the platform.
    pub(super) async fn start_consumers(&self, store: &Handle, bell: &Bell) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let configured = &self.config.consumers;
        let plans = consumers::plans(configured);
        store
            .run(move |store| store.settle_consumers(&plans))
            .await
            .and_then(|settled| settled)
            .map_err(store_error)?;
        let task = |consumer: &config::Consumer| {
            let station = consumers::Station {
                database: self.config.station.database(),
                store: store.clone(),
                bell: bell.clone(),
                clock: self.clock.clone(),
                utc_offset_minutes: self.config.station.utc_offset_minutes,
            };
            tokio::spawn(consumers::serve(consumer.clone(), station))
        };
        Ok(configured.iter().map(task).collect())
    }
}

/// Tells the site whether a broker has us, and the next run which one it was.
async fn note_uplink(
    mut status: watch::Receiver<mqtt::Status>,
    uplink: watch::Sender<bool>,
    store: Handle,
    mut noted: Option<String>,
) {
    while status.changed().await.is_ok() {
        let broker = status.borrow_and_update().broker.clone();
        uplink.send_if_modified(|up| std::mem::replace(up, broker.is_some()) != broker.is_some());
        if let Some(broker) = broker.filter(|broker| noted.as_ref() != Some(broker)) {
            noted = Some(broker.clone());
            // Where it cannot be noted, the next run begins with the first one.
            store.try_run(move |store| drop(store.set_note(LAST_GOOD, &broker)));
        }
    }
}

/// Carries the outbox's questions to the store's thread and the answers back, in order.
async fn serve_asks(
    mut asks: mpsc::Receiver<outbox::ask::StoreAsk>,
    answers: mpsc::Sender<outbox::ask::StoreAnswer>,
    store: Handle,
) {
    while let Some(ask) = asks.recv().await {
        let Ok(answer) = store.run(move |store| outbox::ask::serve(store, ask)).await else { return };
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}
