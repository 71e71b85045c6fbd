//! A whole station on one machine: broker, simulated dispensers, the real daemon as its own process, and the platform.

use super::daemon::{self, Daemon, DaemonError};
use super::plan::Plan;
use super::pumps::{Build, Pumps};
use super::store::Books;
use super::workshop::interrupted;
use crate::broker::Broker;
use crate::platform::{Faults, KeyPair, Platform, Settings, Terms, write_jwks};
use anyhow::Context as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Until all nozzles must be ready after the daemon's start.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Everything of a station, running.
#[derive(Debug)]
pub struct Stage {
    /// As laid out.
    pub plan: Plan,
    /// In or beside this process.
    pub broker: Broker,
    /// The dispensers.
    pub pumps: Pumps,
    /// Sells, acknowledges, checks.
    pub platform: Platform,
    /// The real one.
    pub daemon: Daemon,
    /// Its program.
    program: PathBuf,
}

/// How a stage is set up.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The daemon's program; found beside this one if not given.
    pub daemon: Option<PathBuf>,
    /// How dispensers are built.
    pub build: Build,
    /// What the platform does wrong on purpose.
    pub faults: Faults,
    /// Put at the end of the daemon's configuration.
    pub extra_toml: String,
}

impl Stage {
    /// Starts everything and waits until every nozzle of the plan takes orders.
    ///
    /// # Errors
    /// Whatever could not be started, with what to do about it; the end of the daemon's log if that ended by itself.
    pub async fn start(plan: Plan, broker: Broker, setting: &Setting) -> anyhow::Result<Self> {
        let key = KeyPair::generate("platform-1").context("the platform's key")?;
        let mut terms = Settings::new(broker.address(), &plan.station).terms;
        terms.faults = setting.faults;
        Self::start_with(plan, broker, setting, key, terms).await
    }

    /// The same with a key that others may have too, and a platform that behaves otherwise.
    ///
    /// # Errors
    /// As [`Stage::start`].
    pub async fn start_with(
        plan: Plan,
        broker: Broker,
        setting: &Setting,
        key: KeyPair,
        terms: Terms,
    ) -> anyhow::Result<Self> {
        let program = match &setting.daemon {
            Some(program) => std::path::absolute(program)?,
            None => daemon::find("edge-daemon")?,
        };
        std::fs::create_dir_all(plan.data_directory()).context("the daemon's data directory")?;
        write_jwks(&plan.jwks_file(), &[&key]).context("the station's JWKS file")?;
        std::fs::write(plan.config_file(), plan.toml(&broker.url(), &setting.extra_toml)).context("edge.toml")?;
        let pumps = Pumps::serve(&plan, &setting.build)?;
        let mut settings = Settings::new(broker.address(), &plan.station);
        settings.terms = Terms { currency: plan.currency, ..terms };
        let platform = Platform::connect(settings, key).await?;
        let daemon = Daemon::start(&program, &plan.config_file(), &plan.directory.join("edge-daemon.log"))?;
        let nozzles = plan.nozzles();
        tokio::select! {
            ready = platform.nozzles_ready(&nozzles, READY_LIMIT) => {
                let log = plan.directory.join("edge-daemon.log");
                ready.with_context(|| format!("the daemon's log is {}", log.display()))?;
            }
            died = daemon.died() => return Err(died.into()),
            () = interrupted() => anyhow::bail!("stopped before the station was ready"),
        }
        Ok(Self { plan, broker, pumps, platform, daemon, program })
    }

    /// Starts the daemon again, after it was killed or stopped.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_daemon_again(&mut self) -> Result<(), DaemonError> {
        let log = self.plan.directory.join("edge-daemon.log");
        self.daemon = Daemon::start(&self.program, &self.plan.config_file(), &log)?;
        Ok(())
    }

    /// The daemon's store as a witness.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn books(&self) -> anyhow::Result<Books> {
        Books::open(&self.plan.data_directory()).context("the daemon's store")
    }

    /// Waits until every record is acknowledged, as the store itself shows.
    ///
    /// # Errors
    /// If some are left after `limit`, or the store cannot be read.
    pub async fn settle(&self, limit: Duration) -> anyhow::Result<()> {
        let books = self.books()?;
        let begun = Instant::now();
        loop {
            let waiting = books.outbox()?;
            if waiting == 0 {
                return Ok(());
            }
            anyhow::ensure!(begun.elapsed() < limit, "{waiting} records are still not acknowledged after {limit:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the daemon by SIGTERM and gives the rest back.
    ///
    /// # Errors
    /// If the daemon did not end well.
    pub async fn stop(self) -> Result<(Platform, Pumps, Broker), DaemonError> {
        self.daemon.stop().await?;
        Ok((self.platform, self.pumps, self.broker))
    }
}
