//! A station with the reference platform beside it: everything from the driver's page to the ledger, on one machine.
//!
//! Only one platform answers for the station. The reference platform sells, acknowledges and keeps the books; the test driver's desk
//! listens and checks the contract, and acknowledges nothing.

use super::page::Page;
use super::plan::Plan;
use super::stage::{Setting, Stage};
use crate::broker::Broker;
use crate::platform::{AckBy, KeyPair, Settings};
use anyhow::Context as _;
use forecourt::ids::NozzleId;
use reference_platform::books::{Act, NewStation, Trouble};
use reference_platform::rehearsal::POSITION;
use reference_platform::{ReferencePlatform, Running, StartError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Until the platform has heard of every nozzle.
const HEARD: Duration = Duration::from_secs(10);
/// How often books are looked at that changed without a ring.
const GLANCE: Duration = Duration::from_millis(50);
/// States of orders that have their end.
pub const ENDS: [&str; 4] = ["completed", "released", "cancelled", "expired"];

/// Station and platform, running.
#[derive(Debug)]
pub struct Town {
    /// The station, its pumps and the desk that listens.
    pub stage: Stage,
    /// Pages and books.
    pub platform: Running,
    /// By nozzle: the code behind `/n/`.
    codes: BTreeMap<NozzleId, String>,
}

/// Where the platform is and what it keeps.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Where the pages are served; a port that is taken is exchanged for a free one.
    pub listen: SocketAddr,
    /// Keeps books and keys; `None` for memory alone.
    pub data: Option<PathBuf>,
    /// Calls a second that one address may make; `None` for any number.
    pub calls_per_second: Option<u32>,
}

impl Pages {
    /// On a free port, any number of calls, books in memory.
    #[must_use]
    pub fn quiet() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data: None, calls_per_second: None }
    }
}

impl Town {
    /// Starts the platform, then the station, and waits until the platform has heard of every nozzle.
    ///
    /// # Errors
    /// Whatever could not be started, with what to do about it.
    pub async fn start(plan: Plan, broker: Broker, setting: &Setting, pages: &Pages) -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no random numbers for a key: {error}"))?;
        let key = || KeyPair::from_seed("platform-1", seed);
        let platform = open(&plan, &broker, key, pages).await?;
        let mut terms = Settings::new(broker.address(), &plan.station).terms;
        terms.joined_late = true;
        terms.ack = AckBy::Never;
        let stage = Stage::start_with(plan, broker, setting, key(), terms).await?;
        let mut town = Self { stage, platform, codes: BTreeMap::new() };
        let nozzles = town.stage.plan.nozzles();
        let heard = move |act: &mut Act<'_>| {
            let codes = act.qr_tokens()?;
            let each =
                codes.into_iter().filter_map(|(_, number, code)| Some((NozzleId(u16::try_from(number).ok()?), code)));
            let codes: BTreeMap<NozzleId, String> = each.collect();
            let stations = act.stations_view()?;
            let online = stations.iter().all(|station| station["online"] == true);
            Ok((online && nozzles.iter().all(|nozzle| codes.contains_key(nozzle))).then_some(codes))
        };
        town.codes = town.wait("every nozzle at the platform", HEARD, heard).await?;
        Ok(town)
    }

    /// The code on a nozzle.
    ///
    /// # Errors
    /// If there is no such nozzle.
    pub fn code(&self, nozzle: NozzleId) -> anyhow::Result<&str> {
        self.codes.get(&nozzle).map(String::as_str).with_context(|| format!("no nozzle {nozzle} here"))
    }

    /// What the code on a nozzle leads to.
    ///
    /// # Errors
    /// If there is no such nozzle.
    pub fn link(&self, nozzle: NozzleId) -> anyhow::Result<String> {
        Ok(format!("{}/n/{}", self.platform.url(), self.code(nozzle)?))
    }

    /// A driver with a telephone number signs in.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn driver(&self, phone: &str, inviter: Option<&str>) -> anyhow::Result<Page> {
        let invited = inviter.map(|inviter| (inviter, self.stage.plan.station.as_str()));
        Page::sign_in(self.platform.http_addr, phone, invited).await
    }

    /// Waits until `pick` finds something in the books.
    ///
    /// # Errors
    /// `what` did not come in time; the books'.
    pub async fn wait<T: Send + 'static>(
        &self,
        what: &str,
        limit: Duration,
        pick: impl Fn(&mut Act<'_>) -> Result<Option<T>, Trouble> + Clone + Send + 'static,
    ) -> anyhow::Result<T> {
        let shared = self.platform.shared();
        let mut changed = shared.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                let pick = pick.clone();
                if let Some(found) = shared.read(move |act| pick(act)).await? {
                    return anyhow::Ok(found);
                }
                // Whether it rang or not: the next look tells.
                let _ = tokio::time::timeout(GLANCE, changed.changed()).await;
            }
        };
        tokio::time::timeout(limit, search).await.with_context(|| format!("{what} did not come within {limit:?}"))?
    }

    /// Waits for an order to be as `is` wants it.
    ///
    /// # Errors
    /// If it was not in time, with its last state.
    pub async fn order(
        &self,
        order: &str,
        what: &str,
        limit: Duration,
        is: fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let id = order.to_owned();
        let what = format!("order {order} {what}");
        let waited = self.wait(&what, limit, move |act| {
            let view = act.order_view(&id)?;
            Ok(is(&view).then_some(view))
        });
        match waited.await {
            Ok(view) => Ok(view),
            Err(error) => {
                let id = order.to_owned();
                let view = self.platform.shared().read(move |act| act.order_view(&id)).await?;
                Err(error.context(format!("it is {} ({})", view["state"], view["reason"])))
            }
        }
    }

    /// Waits until every order has its end and every refund arrived.
    ///
    /// # Errors
    /// If some have not in time.
    pub async fn settle(&self, limit: Duration) -> anyhow::Result<()> {
        let settled = |act: &mut Act<'_>| {
            let orders = act.newest_orders()?;
            let open = orders.iter().any(|order| !ENDS.contains(&order["state"].as_str().unwrap_or("")));
            let refunding = act.balances()?.iter().any(|(kind, balance)| kind == "refunding" && balance.is_positive());
            Ok((!open && !refunding).then_some(()))
        };
        self.wait("the end of every order", limit, settled).await
    }
}

/// Whether an order has its end and nothing of it is still on its way back.
#[must_use]
pub fn is_settled(order: &Value) -> bool {
    ENDS.contains(&order["state"].as_str().unwrap_or(""))
        && (order["end"]["refund"].is_null() || order["end"]["refund"]["state"] == "done")
}

async fn open(plan: &Plan, broker: &Broker, key: impl Fn() -> KeyPair, pages: &Pages) -> anyhow::Result<Running> {
    let station = NewStation {
        station_id: plan.station.clone(),
        name: ["示范加油站".into(), "Demo station".into()],
        position: POSITION,
        currency: plan.currency.code().into(),
    };
    let at = |listen| {
        let address = broker.address();
        let settings = reference_platform::Settings::new(key(), vec![station.clone()]);
        let mut settings = settings.with_broker(&address.ip().to_string(), address.port());
        settings.listen = listen;
        settings.data.clone_from(&pages.data);
        settings.calls_per_second = pages.calls_per_second;
        settings.brokers_for_stations = vec![broker.url()];
        settings
    };
    if let Some(data) = &pages.data {
        std::fs::create_dir_all(data).with_context(|| format!("making {}", data.display()))?;
    }
    match ReferencePlatform::start(at(pages.listen)).await {
        Err(StartError::Listen(taken, why)) if why.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(ReferencePlatform::start(at(SocketAddr::new(taken.ip(), 0))).await?)
        }
        started => Ok(started?),
    }
}
