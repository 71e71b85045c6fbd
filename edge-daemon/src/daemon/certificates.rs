//! Certificates and keys while the daemon runs: other files are noticed and tried, the end of each certificate is told in time, and the
//! station's own is renewed.

use super::alarms::{Alarm, Bell};
use super::clock::Clock;
use super::cloud::without;
use super::forgery::Forgeries;
use crate::config::{Cloud, Https};
use crate::enrol::files::{Contents, Places};
use crate::enrol::{self, Wanted};
use crate::store::thread::Handle;
use anyhow::Context as _;
use cloud_sync::expiry::{self, Standing};
use cloud_sync::https::Poster;
use cloud_sync::link::Notice;
use cloud_sync::mqtt::{Status, Told};
use cloud_sync::tls::{self, MaterialFacts, TlsMaterial};
use cloud_sync::wire::jws::KeySet;
use forecourt::ids::StationId;
use forecourt::record::AlarmState;
use forecourt::time::{ClockQuality, Instant, UtcTime};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(3);
/// Files that belong together may be written one after the other: only what is still bad at the second look is told.
const PATIENCE: u32 = 2;
/// Between two attempts to renew.
const RENEWAL: Duration = Duration::from_secs(60 * 60);
/// The note that says which alarms stand.
pub const NOTE: &str = "certificate_alarms";
const PLACE: &str = "station certificate";

/// Which files.
#[must_use]
pub fn places(cloud: &Cloud) -> Option<Places> {
    cloud.tls.as_ref().map(|tls| Places {
        certificate: tls.cert_file.clone(),
        key: tls.key_file.clone(),
        authorities: tls.ca_file.clone(),
        jwks: cloud.jwks_file.clone(),
    })
}

/// Reads certificates and key.
///
/// # Errors
/// Which file cannot be read, and why.
pub fn read(places: &Places) -> anyhow::Result<TlsMaterial> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    Ok(TlsMaterial {
        authorities: read(&places.authorities)?,
        certificate: read(&places.certificate)?,
        key: read(&places.key)?,
    })
}

/// The HTTPS client of the moment. `None` where nothing can be shown.
#[must_use]
pub fn client(https: &Https, material: Option<&TlsMaterial>) -> Option<Poster> {
    let made = || -> anyhow::Result<Poster> {
        let config = match (https.url.is_secure(), material) {
            (true, Some(material)) => {
                let authorities = match &https.ca_file {
                    Some(path) => std::fs::read(path).with_context(|| format!("read {}", path.display()))?,
                    None => material.authorities.clone(),
                };
                Some(tls::client_config(&TlsMaterial { authorities, ..material.clone() }, None)?)
            }
            (true, None) => anyhow::bail!("no certificate is configured"),
            (false, _) => None,
        };
        Ok(Poster::new(config.as_ref())?)
    };
    made().inspect_err(|why| warn!(why = format!("{why:#}"), "HTTPS to the platform is not possible")).ok()
}

/// What the task needs.
#[derive(Debug)]
pub struct Keeper {
    /// Who we are.
    pub station: StationId,
    /// As configured.
    pub cloud: Cloud,
    /// In use now; `None` without TLS.
    pub material: Option<TlsMaterial>,
    /// To the link.
    pub told: mpsc::Sender<Told>,
    /// Whom the station believes.
    pub keys: watch::Sender<Option<KeySet>>,
    /// To the HTTPS task.
    pub clients: watch::Sender<Option<Poster>>,
    /// From the link.
    pub notices: mpsc::Receiver<Notice>,
    /// From the link.
    pub status: watch::Receiver<Status>,
    /// For alarms.
    pub bell: Bell,
    /// For the note of what stands.
    pub store: Handle,
    /// The time.
    pub clock: Clock,
    /// What stands from earlier runs.
    pub standing: Standing,
}

/// What a file is known by: another one has another inode, the same one changed another time or length.
type Stamp = Option<(u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let data = std::fs::metadata(path).ok()?;
    Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
}

struct Watching {
    keeper: Keeper,
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    facts: Option<MaterialFacts>,
    jwks: Vec<u8>,
    previous: Option<TlsMaterial>,
    /// Looks at files that cannot be used, in a row.
    strikes: u32,
    bad: Option<UtcTime>,
    refused: Option<UtcTime>,
    forgeries: Forgeries,
    next_renewal: Instant,
}

/// Watches until it is aborted. SIGHUP makes it look at once, and at files that seem unchanged too.
pub async fn watch(keeper: Keeper) {
    let mut paths = vec![keeper.cloud.jwks_file.clone()];
    if let Some(tls) = &keeper.cloud.tls {
        paths.extend([tls.ca_file.clone(), tls.cert_file.clone(), tls.key_file.clone()]);
    }
    if let Some(path) = keeper.cloud.https.as_ref().and_then(|https| https.ca_file.clone()) {
        paths.push(path);
    }
    let jwks = std::fs::read(&keeper.cloud.jwks_file).unwrap_or_default();
    let facts = keeper.material.as_ref().and_then(|material| material.facts().ok());
    let next_renewal = keeper.clock.mono();
    let stamps = paths.iter().map(|path| stamp(path)).collect();
    let mut watching = Watching {
        paths,
        stamps,
        facts,
        jwks,
        previous: None,
        strikes: 0,
        bad: None,
        refused: None,
        forgeries: Forgeries::default(),
        next_renewal,
        keeper,
    };
    watching.tell_validity();
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let asked = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = every.tick() => watching.look(false).await,
            _ = asked => {
                info!("SIGHUP: certificates and keys are read again");
                watching.look(true).await;
            }
            notice = watching.keeper.notices.recv() => match notice {
                Some(Notice::CertificateRefused(why)) => watching.handle_refused(&why).await,
                Some(Notice::BadSignature { detail, count }) => watching.handle_forged(&detail, count).await,
                // All others are logged where they arise.
                Some(_) => {}
                None => return,
            },
        }
    }
}

impl Watching {
    /// What is wrong with the dates at the start: it is tried all the same, as another may judge otherwise.
    fn tell_validity(&self) {
        let now = self.keeper.clock.now();
        if let Some(facts) = &self.facts
            && let Err(why) = facts.station.check("client certificate", now.utc)
        {
            warn!(%why, "the station's certificate");
        }
    }

    async fn look(&mut self, anyway: bool) {
        let stamps: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
        if anyway || self.strikes > 0 || stamps != self.stamps {
            self.stamps = stamps;
            let outcome = self.reload().await;
            self.judge(outcome).await;
        }
        self.tell_expiry().await;
        self.renew_if_due().await;
        if let Some(over) = self.forgeries.look(self.keeper.clock.now()) {
            self.keeper.bell.ring(over).await;
        }
    }

    /// A command came that none of the platform's keys has signed.
    async fn handle_forged(&mut self, why: &str, count: u64) {
        if let Some(alarm) = self.forgeries.handle(why, count, self.keeper.clock.now()) {
            self.keeper.bell.ring(alarm).await;
        }
    }

    /// Hands over the keys of the file but for those that were revoked; also those revoked just now.
    async fn believe(&self, keys: &KeySet) -> anyhow::Result<()> {
        let mut known = None;
        loop {
            let revoked = self.keeper.store.run(|store| store.revoked_keys()).await.and_then(|keys| keys)?;
            if known.as_ref() == Some(&revoked) {
                return Ok(());
            }
            let keys = without(keys.clone(), &revoked);
            self.keeper.keys.send_replace(Some(keys.clone()));
            let _ended = self.keeper.told.send(Told::Keys(Box::new(keys))).await;
            known = Some(revoked);
        }
    }

    /// Reads the files again and hands over what is new and good.
    async fn reload(&mut self) -> anyhow::Result<()> {
        let jwks_file = &self.keeper.cloud.jwks_file;
        let jwks = std::fs::read(jwks_file).with_context(|| format!("read {}", jwks_file.display()))?;
        if jwks != self.jwks {
            let keys = KeySet::from_jwks(&jwks).with_context(|| format!("{}", jwks_file.display()))?;
            info!(kids = keys.kids().collect::<Vec<_>>().join(" "), "the platform's keys are replaced");
            self.jwks = jwks;
            self.believe(&keys).await?;
        }
        let Some(places) = places(&self.keeper.cloud) else { return Ok(()) };
        let material = read(&places)?;
        if self.keeper.material.as_ref() == Some(&material) {
            // The same certificate, but whom we trust over HTTPS may be another.
            self.show_client(Some(material));
            return Ok(());
        }
        let now = self.keeper.clock.now();
        let facts = if now.clock == ClockQuality::Unset { material.facts()? } else { material.check(now.utc)? };
        if !facts.station.is_for(self.keeper.station.as_str()) {
            warn!(subject = facts.station.subject, "the new certificate does not name this station");
        }
        info!(subject = facts.station.subject, not_after = %facts.station.not_after, "a new certificate is tried");
        let _ended = self.keeper.told.send(Told::Certificates(Box::new(material.clone()))).await;
        self.previous = self.keeper.material.replace(material.clone());
        self.facts = Some(facts);
        self.show_client(Some(material));
        if let Some(since) = self.refused.take() {
            self.keeper.bell.clear("certificate_refused", PLACE, since, "another certificate is in place".into()).await;
        }
        Ok(())
    }

    async fn judge(&mut self, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => {
                self.strikes = 0;
                if let Some(since) = self.bad.take() {
                    self.keeper
                        .bell
                        .clear("certificate_bad", PLACE, since, "the files are in order again".into())
                        .await;
                }
            }
            Err(why) => {
                self.strikes = self.strikes.saturating_add(1);
                if self.strikes >= PATIENCE && self.bad.is_none() {
                    let text = format!("the files on disk are not used, and those read before stay in use: {why:#}");
                    self.bad = Some(self.keeper.bell.raise("certificate_bad", PLACE, text).await);
                }
            }
        }
    }

    /// No broker accepts the new certificate, and one accepts the old.
    async fn handle_refused(&mut self, why: &str) {
        if let Some(previous) = self.previous.take() {
            self.facts = previous.facts().ok();
            self.show_client(Some(previous));
        }
        if self.refused.is_none() {
            let text =
                format!("no broker accepts the new certificate, the old one stays in use until it is replaced: {why}");
            self.refused = Some(self.keeper.bell.raise("certificate_refused", PLACE, text).await);
        }
    }

    fn show_client(&self, material: Option<TlsMaterial>) {
        if let Some(https) = &self.keeper.cloud.https {
            self.keeper.clients.send_replace(client(https, material.as_ref()));
        }
    }

    async fn tell_expiry(&mut self) {
        let now = self.keeper.clock.now();
        if now.clock == ClockQuality::Unset {
            // Nobody knows how near anything is.
            return;
        }
        let mut in_use = BTreeMap::new();
        if let Some(facts) = &self.facts {
            in_use.insert(PLACE.to_owned(), facts.station.not_after);
            for authority in &facts.authorities {
                in_use.insert(format!("authority {}", authority.subject), authority.not_after);
            }
        }
        let broker = self.keeper.status.borrow().broker_certificate.clone();
        if let Some(broker) = broker {
            in_use.insert(format!("broker certificate {}", broker.subject), broker.not_after);
        } else {
            // Not seen yet in this run: what stands stays as it is.
            let standing = self.keeper.standing.iter().filter(|(place, _)| place.starts_with("broker certificate "));
            in_use.extend(standing.map(|(place, raised)| (place.clone(), raised.not_after)));
        }
        let changes = expiry::look(&mut self.keeper.standing, &in_use, now.utc);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            let state = if change.raised { AlarmState::Raised } else { AlarmState::Cleared };
            let expiry::Change { place, since, text, .. } = change;
            self.keeper.bell.ring(Alarm { kind: "certificate_expires", place, state, since, text }).await;
        }
        if let Ok(note) = serde_json::to_string(&self.keeper.standing) {
            self.keeper.store.try_run(move |store| {
                if let Err(fault) = store.set_note(NOTE, &note) {
                    warn!(%fault, "an alarm may be raised again after the next start");
                }
            });
        }
    }

    async fn renew_if_due(&mut self) {
        let now = self.keeper.clock.now();
        let (Some(https), Some(facts)) = (&self.keeper.cloud.https, &self.facts) else { return };
        let due = expiry::renewal_due(facts.station.not_before, facts.station.not_after);
        if !https.renew || now.clock == ClockQuality::Unset || now.utc < due || now.mono < self.next_renewal {
            return;
        }
        self.next_renewal = now.mono + RENEWAL;
        let Some(places) = places(&self.keeper.cloud) else { return };
        let Some(poster) = self.keeper.clients.borrow().clone() else { return };
        info!(not_after = %facts.station.not_after, "renewing the station's certificate");
        match renew(&poster, https, &self.keeper.station, &places, now.utc).await {
            // The files have changed: the next look reads them.
            Ok(not_after) => info!(%not_after, "the station's certificate is renewed"),
            Err(why) => warn!(why = format!("{why:#}"), "not renewed; trying again in an hour"),
        }
    }
}

async fn renew(
    poster: &Poster,
    https: &Https,
    station: &StationId,
    places: &Places,
    now: UtcTime,
) -> anyhow::Result<UtcTime> {
    let received = enrol::ask(poster, Wanted { url: &https.url, station, code: None }, now).await?;
    places.install(Contents {
        certificate: &received.material.certificate,
        key: &received.material.key,
        authorities: &received.material.authorities,
        jwks: &received.jwks,
    })?;
    Ok(received.not_after)
}
