//! What only the shell can do for the office: configuration documents, keys of the platform, and what is known of a customer. One task,
//! one errand after the other, so that no disk holds up the pumps.

use super::clock::utc;
use super::wiring;
use crate::config::kept::{self, Document, Kept, Loaded};
use crate::config::{Config, Disk, DiskLimits, remote};
use crate::store::thread::Handle;
use cloud_sync::mqtt::Told;
use cloud_sync::wire::chain::sha256_hex;
use cloud_sync::wire::jws::KeySet;
use forecourt::errand::{Asked, ConfigProblem, ConfigSet, Done, Errand};
use forecourt::ids::{CommandId, CustomerToken};
use forecourt::layout::Layout;
use forecourt::period::Plan;
use forecourt::record::Audit;
use serde_json::Value;
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// Errands that may wait: as many as commands that the link lets in, and some.
pub const ERRANDS: usize = 160;

/// Rules that change while the station works.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Timers and limits in it are the new ones.
    pub layout: Layout,
    /// When shifts and days begin.
    pub plan: Plan,
    /// Of the disk.
    pub disk: DiskLimits,
    /// The rest takes a start of the daemon.
    pub restart: bool,
}

/// An errand is done.
#[derive(Debug)]
pub struct Finished {
    /// Whose.
    pub id: CommandId,
    /// What came of it.
    pub done: Done,
    /// What was changed.
    pub changed: Vec<Audit>,
    /// What is in force from now on, if that changed.
    pub rules: Option<Box<Rules>>,
}

/// Who does errands.
pub struct Errands {
    own: String,
    /// What the daemon started with: whatever differs from it takes another start.
    started_with: Config,
    kept: Kept,
    /// With which this run began, if that has still to show that it works.
    trial: Option<Document>,
    directory: PathBuf,
    jwks_file: Option<PathBuf>,
    keys: watch::Sender<Option<KeySet>>,
    store: Handle,
    cloud: Option<mpsc::Sender<Told>>,
}

impl Errands {
    /// Ready to run.
    #[must_use]
    pub fn new(
        loaded: &Loaded,
        keys: watch::Sender<Option<KeySet>>,
        store: Handle,
        cloud: Option<mpsc::Sender<Told>>,
    ) -> Self {
        Self {
            own: loaded.own.clone(),
            started_with: loaded.config.clone(),
            kept: loaded.kept.clone(),
            trial: loaded.kept.current.clone().filter(|_| loaded.kept.is_on_trial()),
            directory: loaded.config.station.data_directory.clone(),
            jwks_file: loaded.config.cloud.as_ref().map(|cloud| cloud.jwks_file.clone()),
            keys,
            store,
            cloud,
        }
    }

    /// Does what comes, until nobody asks any more. `proven` says that the daemon has worked well for a while.
    pub async fn run(
        mut self,
        mut asked: mpsc::Receiver<Asked>,
        finished: mpsc::Sender<Finished>,
        mut proven: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                next = asked.recv() => {
                    let Some(asked) = next else { return };
                    let done = self.run_one(asked).await;
                    if finished.send(done).await.is_err() {
                        return;
                    }
                }
                Ok(()) = proven.changed() => {
                    let works = self.trial.is_some() && self.trial == self.kept.current;
                    if works && let Err(why) = self.keep(self.kept.proven()).await {
                        warn!(%why, "that the configuration works could not be noted");
                    }
                }
            }
        }
    }

    async fn run_one(&mut self, Asked { id, who, errand }: Asked) -> Finished {
        let (done, changed, rules) = match errand {
            Errand::Config(set) => self.set(&who, *set).await,
            Errand::RollBack => self.roll_back(&who).await,
            Errand::Revoke { kid, signed_by } => self.revoke(&who, &kid, &signed_by).await,
            Errand::Erase { customer } => self.erase(&who, customer).await,
        };
        info!(command = %id, who, result = done.word(), "errand");
        Finished { id, done, changed, rules }
    }

    async fn set(&mut self, who: &str, set: ConfigSet) -> (Done, Vec<Audit>, Option<Box<Rules>>) {
        let config = match self.check(&set) {
            Ok(config) => config,
            Err(problems) => return (Done::Refused { problems }, Vec::new(), None),
        };
        let version = set.version;
        if self.kept.current.as_ref().is_some_and(|current| current.hash == set.hash && current.version == version) {
            let restart = self.rules(&config).restart;
            return (Done::Applied { version, restart }, Vec::new(), None);
        }
        let document: Value = serde_json::from_str(&set.document).unwrap_or_default();
        let next = self.kept.with(Document { version, hash: set.hash, at: utc(), document });
        self.put_in_force(who, "configuration", next, &config, |restart| Done::Applied { version, restart }).await
    }

    /// The configuration that a document makes, or everything that is wrong with it.
    fn check(&self, set: &ConfigSet) -> Result<Config, Vec<ConfigProblem>> {
        let problem = |at: &str, what: String, expected: String| ConfigProblem { at: at.into(), what, expected };
        let mut problems = Vec::new();
        let hash = sha256_hex(set.document.as_bytes());
        if hash != set.hash {
            problems.push(problem("/data/hash", "is not that of the document".into(), hash));
        }
        if let Some(current) = &self.kept.current
            && (set.version < current.version || set.version == current.version && set.hash != current.hash)
        {
            let what = format!("version {} is in force, {}", current.version, current.hash);
            problems.push(problem("/data/version", what, "a higher version".into()));
        }
        let document: Value = serde_json::from_str(&set.document).unwrap_or_default();
        match remote::compose(&self.own, &document, &Disk) {
            Err(more) => problems.extend(more),
            Ok((config, _)) => match wiring::lines(&config) {
                Ok(_) if problems.is_empty() => return Ok(config),
                Ok(_) => {}
                Err(more) => problems.extend(
                    more.into_iter()
                        .map(|what| problem("/data/document/line", what, "what its driver can serve".into())),
                ),
            },
        }
        Err(problems)
    }

    async fn roll_back(&mut self, who: &str) -> (Done, Vec<Audit>, Option<Box<Rules>>) {
        let Some(next) = self.kept.rolled_back() else { return (Done::NothingToRollBack, Vec::new(), None) };
        let composed = match &next.current {
            Some(document) => remote::compose(&self.own, &document.document, &Disk),
            None => crate::config::parse(&self.own, &Disk).map_err(|found| {
                let all = found.into_iter();
                all.map(|found| ConfigProblem { at: found.key, what: found.what, expected: found.expected }).collect()
            }),
        };
        let config = match composed {
            Ok((config, _)) => config,
            Err(problems) => return (Done::Refused { problems }, Vec::new(), None),
        };
        let version = next.current.as_ref().map(|document| document.version);
        self.put_in_force(who, "configuration rolled back", next, &config, |restart| Done::RolledBack {
            version,
            restart,
        })
        .await
    }

    async fn put_in_force(
        &mut self,
        who: &str,
        did: &str,
        next: Kept,
        config: &Config,
        done: impl Fn(bool) -> Done,
    ) -> (Done, Vec<Audit>, Option<Box<Rules>>) {
        let (old, new) = (self.kept.name(), next.name());
        let rules = self.rules(config);
        // What works already needs no trial at the next start.
        let next = if rules.restart { next } else { next.proven() };
        if let Err(why) = self.keep(next).await {
            let what = format!("could not be kept: {why}; send it again once the disk is well");
            let problem = ConfigProblem { at: "/data/document".into(), what, expected: String::new() };
            return (Done::Refused { problems: vec![problem] }, Vec::new(), None);
        }
        let audit = Audit {
            who: who.into(),
            did: did.into(),
            on: "the station's configuration".into(),
            old: Some(old),
            new: Some(new),
        };
        (done(rules.restart), vec![audit], Some(Box::new(rules)))
    }

    async fn keep(&mut self, next: Kept) -> std::io::Result<()> {
        let (directory, writing) = (self.directory.clone(), next.clone());
        let written = tokio::task::spawn_blocking(move || writing.save(&directory)).await;
        written.map_err(std::io::Error::other)??;
        self.kept = next;
        Ok(())
    }

    /// Timers, limits, shift times and names can change while the station works; the rest is read at a start.
    fn rules(&self, config: &Config) -> Rules {
        let mut like_started = config.clone();
        let start = &self.started_with;
        like_started.timers = start.timers;
        like_started.limits = start.limits;
        like_started.disk = start.disk;
        like_started.periods = start.periods.clone();
        like_started.station.name.clone_from(&start.station.name);
        like_started.station.time_zone.clone_from(&start.station.time_zone);
        like_started.station.utc_offset_minutes = start.station.utc_offset_minutes;
        for grade in &mut like_started.grades {
            if let Some(as_started) = start.grades.iter().find(|known| known.code == grade.code) {
                grade.name.clone_from(&as_started.name);
                (grade.attended, grade.unattended) = (as_started.attended, as_started.unattended);
            }
        }
        Rules {
            layout: wiring::layout(config, &[]),
            plan: config.periods.clone(),
            disk: config.disk,
            restart: like_started != *start,
        }
    }

    async fn revoke(&mut self, who: &str, kid: &str, signed_by: &str) -> (Done, Vec<Audit>, Option<Box<Rules>>) {
        let keys = self.keys.borrow().clone();
        let Some(keys) = keys.filter(|keys| keys.kids().any(|known| known == kid)) else {
            return (Done::UnknownKey, Vec::new(), None);
        };
        if keys.kids().count() == 1 {
            return (Done::LastKey, Vec::new(), None);
        }
        let refused = |what: String, expected: &str| {
            let problem = ConfigProblem { at: "/data/kid".into(), what, expected: expected.into() };
            (Done::Refused { problems: vec![problem] }, Vec::new(), None)
        };
        if kid == signed_by {
            return refused("signed this command itself".into(), "another key than the one that signs");
        }
        let name = kid.to_owned();
        match self.store.run(move |store| store.revoke_key(&name)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) | Err(fault) => return refused(fault.to_string(), ""),
        }
        self.keys.send_modify(|keys| {
            if let Some(keys) = keys {
                keys.remove(kid);
            }
        });
        if let Some(cloud) = &self.cloud {
            // It must hear of this: nothing may be believed that this key signs.
            let _ended = cloud.send(Told::Revoked(kid.into())).await;
        }
        if let Some(file) = self.jwks_file.clone() {
            let name = kid.to_owned();
            let written = tokio::task::spawn_blocking(move || take_out_of_file(&file, &name)).await;
            if let Err(why) = written.map_err(std::io::Error::other).and_then(|written| written) {
                // The store remembers it, whatever the file says.
                warn!(%why, kid, "the key file could not be rewritten: take the key out of it by hand");
            }
        }
        let audit = Audit {
            who: who.into(),
            did: "key revoked".into(),
            on: format!("key {kid}"),
            old: Some("trusted".into()),
            new: Some(format!("revoked, by a command signed with {signed_by}")),
        };
        (Done::Revoked, vec![audit], None)
    }

    async fn erase(&mut self, who: &str, customer: CustomerToken) -> (Done, Vec<Audit>, Option<Box<Rules>>) {
        match self.store.run(move |store| store.erase_customer(&customer)).await {
            Ok(Ok(rows)) => {
                // Whom it was must not stand here.
                let audit = Audit {
                    who: who.into(),
                    did: "customer erased".into(),
                    on: "data of one customer".into(),
                    old: Some(format!("{rows} rows")),
                    new: Some("0 rows".into()),
                };
                (Done::Erased { rows }, vec![audit], None)
            }
            Ok(Err(fault)) | Err(fault) => {
                let what = format!("{fault}; send it again once the disk is well");
                let problem = ConfigProblem { at: "/data/customer".into(), what, expected: String::new() };
                (Done::Refused { problems: vec![problem] }, Vec::new(), None)
            }
        }
    }
}

/// Rewrites a JWKS file without one key, whole or not at all.
fn take_out_of_file(path: &std::path::Path, kid: &str) -> std::io::Result<()> {
    let mut document: Value = serde_json::from_slice(&std::fs::read(path)?).map_err(std::io::Error::other)?;
    if let Some(keys) = document.get_mut("keys").and_then(Value::as_array_mut) {
        keys.retain(|key| key.get("kid").and_then(Value::as_str) != Some(kid));
    }
    kept::replace(path, &serde_json::to_vec_pretty(&document).map_err(std::io::Error::other)?)
}
