//! The test bed: a quick station whose daemon may die at any moment, and what must agree however often it does.

use super::trace::{Injection, Life};
use crate::broker::Broker;
use crate::dispenser::Condition;
use crate::dispenser::flow::{FlowProfile, FlowRate};
use crate::platform::{End, Faults, KeyPair, OrderSpec, Platform, Settings, write_jwks};
use crate::prng::Prng;
use crate::rig::daemon;
use crate::rig::plan::{DispenserPlan, GradePlan, LinePlan, NozzlePlan, Plan};
use crate::rig::pumps::{Build, Pumps};
use crate::rig::store::Books;
use anyhow::Context as _;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::protocol::Protocol;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;

const PRICE: UnitPrice = UnitPrice::new(7_450_000);
/// So fast that the line is never what is waited for.
const BAUD: u32 = 10_000_000;
const GLANCE: Duration = Duration::from_millis(4);
/// A command without a reply for so long is sent again, the same bytes.
const AGAIN: Duration = Duration::from_millis(1_500);
/// No order takes longer than this while a daemon lives.
const STUCK: Duration = Duration::from_secs(40);
/// For the last records to be acknowledged.
const SETTLE: Duration = Duration::from_secs(60);

/// What a bed is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Dispensers of one nozzle each.
    pub dispensers: u8,
    /// Put at the end of the daemon's configuration.
    pub extra_toml: String,
    /// Where the data directory is, if not in the bed's own.
    pub data: Option<PathBuf>,
    /// Litres a second.
    pub flow_litres: u32,
    /// Where the daemon finds the broker, if not directly.
    pub through: Option<SocketAddr>,
    /// Others command the station too: the platform overlooks what it does not know.
    pub joined_late: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            dispensers: 2,
            extra_toml: String::new(),
            data: None,
            flow_litres: 100,
            through: None,
            joined_late: false,
        }
    }
}

/// What became of an order while a daemon lived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// It has its end at the platform.
    Ended,
    /// The daemon died first.
    Died,
}

/// An order that is on its way.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its name.
    pub order: OrderId,
    /// The command that asks for it.
    pub command: Uuid,
    /// Where it stands.
    pub nozzle: NozzleId,
    /// Fuellings there before it.
    before: usize,
    asked: Instant,
}

impl Open {
    /// Waits for the station's first answer, sending the command again as the platform would.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn wait_until_answered(&mut self, bed: &Bed, limit: Duration) {
        let begun = Instant::now();
        while !bed.is_answered(self) {
            assert!(begun.elapsed() < limit, "order {} gets no answer", self.order);
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// The station and its surroundings.
#[derive(Debug)]
pub struct Bed {
    /// As laid out.
    pub plan: Plan,
    /// Outlives the daemon.
    pub broker: Broker,
    /// Outlive the daemon.
    pub pumps: Pumps,
    /// Outlives the daemon.
    pub platform: Platform,
    /// The daemon's program.
    pub program: PathBuf,
    log: PathBuf,
    starts: Vec<(NozzleId, Volume)>,
    orders: u64,
}

impl Bed {
    /// Sets everything up but the daemon.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn new(directory: &Path, program: Option<&Path>, broker: Broker, setup: &Setup) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => std::path::absolute(program)?,
            None => daemon::find("edge-daemon")?,
        };
        let plan = plan(directory, setup.dispensers)?;
        std::fs::create_dir_all(plan.data_directory()).context("the daemon's data directory")?;
        let key = KeyPair::generate("platform-1").context("the platform's key")?;
        write_jwks(&plan.jwks_file(), &[&key]).context("the station's JWKS file")?;
        let url = setup.through.map_or_else(|| broker.url(), |address| format!("mqtt://{address}"));
        let mut text = plan.toml(&url, &format!("[log]\nlevel = \"warn\"\n{}", setup.extra_toml));
        if let Some(data) = &setup.data {
            let ours = format!("data-directory = \"{}\"", plan.data_directory().display());
            text = text.replace(&ours, &format!("data-directory = \"{}\"", data.display()));
        }
        std::fs::write(plan.config_file(), text).context("edge.toml")?;
        let full = FlowRate(setup.flow_litres.saturating_mul(1_000));
        let flow = FlowProfile {
            full,
            slow: full,
            slow_from: Volume::ZERO,
            start_delay: Duration::from_millis(5),
            ramp: Duration::from_millis(1),
        };
        let (baud, turnaround) = (Some(BAUD), Some(Duration::from_millis(1)));
        let build = Build { baud, turnaround, flow, ..Build::usual(1, Prng::new(11)) };
        let pumps = Pumps::serve(&plan, &build)?;
        let mut settings = Settings::new(broker.address(), &plan.station);
        settings.terms.faults = Faults::default();
        settings.terms.joined_late = setup.joined_late;
        let platform = Platform::connect(settings, key).await?;
        let log = directory.join("edge-daemon.log");
        let starts = plan.nozzles().into_iter().filter_map(|nozzle| Some((nozzle, pumps.totaliser(nozzle)?))).collect();
        Ok(Self { plan, broker, pumps, platform, program, log, starts, orders: 0 })
    }

    /// Starts a daemon, with a fault if one is given.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn live(&self, injection: Option<&Injection>) -> std::io::Result<Life> {
        self.live_behind(injection, &[])
    }

    /// The same behind another program, such as `faketime +1h`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn live_behind(&self, injection: Option<&Injection>, before: &[String]) -> std::io::Result<Life> {
        Life::start(&self.program, &self.plan.config_file(), &self.log, injection, before)
    }

    /// Orders paid so far.
    #[must_use]
    pub const fn orders(&self) -> u64 {
        self.orders
    }

    /// Pays an order of one to four litres at a nozzle, the nozzles in turn.
    ///
    /// # Errors
    /// Never for the ids it makes.
    pub fn pay(&mut self) -> anyhow::Result<Open> {
        let litres = 2_000 + i64::try_from(self.orders % 3).unwrap_or(0) * 1_000;
        self.pay_for(Volume::new(litres))
    }

    /// The same for a volume.
    ///
    /// # Errors
    /// Never for the ids it makes.
    pub fn pay_for(&mut self, volume: Volume) -> anyhow::Result<Open> {
        let nozzles = self.plan.nozzles();
        let nozzle = nozzles[usize::try_from(self.orders)? % nozzles.len()];
        self.orders += 1;
        let order = OrderId::new(format!("rig-{}", self.orders))?;
        let grade = self.plan.grade_of(nozzle).context("a nozzle of the plan")?.clone();
        let limit = Limit::Volume(volume);
        let spec = OrderSpec::prepaid(order.clone(), nozzle, grade, limit, PRICE, Currency::CNY);
        let command = self.platform.pay(spec).command;
        let before = self.pumps.fuellings(nozzle).len();
        Ok(Open { order, command, nozzle, before, asked: Instant::now() })
    }

    /// Does the customer's part of an order until it has its end or the daemon is dead.
    ///
    /// # Errors
    /// If neither comes in 40 s.
    pub async fn drive(&self, open: &mut Open, life: &mut Life) -> anyhow::Result<Course> {
        let begun = Instant::now();
        loop {
            if self.has_ended(open) {
                self.pumps.hang_up(open.nozzle);
                return Ok(Course::Ended);
            }
            if life.is_over() {
                return Ok(Course::Died);
            }
            self.act(open);
            if begun.elapsed() > STUCK {
                let view = self.pumps.view(open.nozzle);
                anyhow::bail!(
                    "order {} has no end after {STUCK:?}; the pump shows {view:?}; {}",
                    open.order,
                    self.log.display()
                );
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Pays and drives orders until one is a sale: a nozzle that was not ready yet refuses those before.
    ///
    /// # Errors
    /// As [`Bed::drive`], or if twenty orders were refused.
    pub async fn sell(&mut self, life: &mut Life) -> anyhow::Result<Course> {
        for _ in 0..20 {
            let mut open = self.pay()?;
            if self.drive(&mut open, life).await? == Course::Died {
                return Ok(Course::Died);
            }
            if self.is_sold(&open) {
                return Ok(Course::Ended);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("twenty orders in a row were refused; {}", self.log.display())
    }

    /// Whether its end is a sale.
    #[must_use]
    pub fn is_sold(&self, open: &Open) -> bool {
        self.platform
            .look(|desk| desk.account(&open.order).is_some_and(|account| matches!(account.end, Some(End::Sale(_)))))
    }

    /// Sales that the platform knows.
    #[must_use]
    pub fn sales(&self) -> usize {
        self.platform.look(|desk| desk.sales().count())
    }

    /// Whether the platform knows its end.
    #[must_use]
    pub fn has_ended(&self, open: &Open) -> bool {
        self.platform.look(|desk| desk.account(&open.order).is_some_and(|account| account.end.is_some()))
    }

    /// What a customer does now: lifts where nothing was fuelled yet, hangs up once the pump has stopped.
    pub fn act(&self, open: &mut Open) {
        let Some(view) = self.pumps.view(open.nozzle) else { return };
        match (view.condition, view.nozzle_out) {
            (Condition::Finished, Some(_)) => self.pumps.hang_up(open.nozzle),
            (Condition::Idle, None) if self.is_answered(open) && !self.has_fuelled(open) => {
                self.pumps.lift(open.nozzle)
            }
            _ => {}
        }
        if open.asked.elapsed() > AGAIN && !self.is_answered(open) {
            open.asked = Instant::now();
            self.platform.send_again(open.command);
        }
    }

    fn is_answered(&self, open: &Open) -> bool {
        self.platform.look(|desk| desk.issued(open.command).is_some_and(|issued| !issued.replies.is_empty()))
    }

    /// Whether fuel has flowed to an end at its nozzle since it was paid.
    #[must_use]
    pub fn has_fuelled(&self, open: &Open) -> bool {
        self.pumps.fuellings(open.nozzle).len() > open.before
    }

    /// Waits until every record is acknowledged, in the store as at the platform.
    ///
    /// # Errors
    /// If some are left after a minute.
    pub async fn settle(&self, data: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let waiting = Books::open(data).and_then(|books| books.outbox());
            if matches!(waiting, Ok(0)) {
                return Ok(());
            }
            anyhow::ensure!(begun.elapsed() < SETTLE, "{waiting:?} records are not acknowledged after {SETTLE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that does not agree between platform, store and pumps.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn differences(&self, data: &Path) -> anyhow::Result<Vec<String>> {
        let books = Books::open(data)?;
        let report = self.platform.report();
        let mut found: Vec<String> = report.violations.iter().map(|text| format!("platform: {text}")).collect();
        found.extend(report.open.iter().map(|order| format!("order {order} has no end")));
        found.extend(self.pumps.wrongs().into_iter().map(|text| format!("pump: {text}")));
        for (nozzle, start) in &self.starts {
            let fuellings = self.pumps.fuellings(*nozzle);
            let pumped: i64 = fuellings.iter().map(|fuelling| fuelling.volume.get()).sum();
            let taken: i64 = fuellings.iter().map(|fuelling| i64::from(fuelling.figures.amount.0)).sum();
            let line = report.nozzles.get(nozzle).copied().unwrap_or_default();
            let told = (line.count, line.volume_ml, line.amount_minor);
            let expected = (u64::try_from(fuellings.len())?, Volume::new(pumped), Money::new(taken));
            if told != expected {
                found.push(format!("nozzle {nozzle}: the platform has {told:?}, the pump {expected:?}"));
            }
            let end = start.checked_add(Volume::new(pumped));
            let stored = books.totaliser(*nozzle)?;
            if stored != end || self.pumps.totaliser(*nozzle) != end {
                found.push(format!("nozzle {nozzle}: totaliser {end:?} expected, store {stored:?}"));
            }
        }
        for order in &report.orders {
            let id = OrderId::new(order.order_id.clone())?;
            let here = books.end_of(&id)?;
            let there = order.end.clone().unwrap_or_default();
            if here.as_deref().map(|end| end.starts_with("sale"))
                != Some(there.starts_with("sale") || order.volume_ml.is_positive())
            {
                found.push(format!("order {id}: {here:?} in the store, {there:?} at the platform"));
            }
        }
        Ok(found)
    }
}

fn plan(directory: &Path, dispensers: u8) -> anyhow::Result<Plan> {
    let grade = Grade::new("92")?;
    let dispensers = (1..=dispensers).map(|number| DispenserPlan {
        fuelling_point: FuellingPointId(number.into()),
        address: 0x50 + (number - 1),
        nozzles: vec![NozzlePlan { number: NozzleId(number.into()), grade: grade.clone() }],
    });
    Ok(Plan {
        station: "st-rig".into(),
        currency: Currency::CNY,
        directory: directory.to_owned(),
        grades: vec![GradePlan { code: grade.clone(), unit_price: PRICE }],
        lines: vec![LinePlan {
            protocol: Protocol::Dart,
            name: "line".into(),
            port: directory.join("line").display().to_string(),
            dispensers: dispensers.collect(),
        }],
    })
}
