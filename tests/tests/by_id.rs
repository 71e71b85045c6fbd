//! USB adapters that are pulled while fuel flows and come back under other numbers: the real daemon, its ports named by links as udev keeps
//! them in `/dev/serial/by-id`.

use forecourt::ids::{FuellingPointId, Grade, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use hil_sim::broker::Broker;
use hil_sim::dispenser::Condition;
use hil_sim::platform::{End, Faults, OrderSpec, SaleData};
use hil_sim::prng::Prng;
use hil_sim::rig::plan::{DispenserPlan, GradePlan, LinePlan, NozzlePlan, Plan};
use hil_sim::rig::pumps::Build;
use hil_sim::rig::stage::{Setting, Stage};
use hil_sim::serve::{Endpoint, Epoch, Served};
use hil_sim::wire::{Wire, WireConfig};
use pump_drivers::protocol::Protocol;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(5);
const PRICE: UnitPrice = UnitPrice::new(7_450_000);
/// Flows for some 9 s, longer than the daemon waits between two tries of a port.
const LITRES: Volume = Volume::new(60_000);

const ONE: NozzleId = NozzleId(1);
const TWO: NozzleId = NozzleId(2);

/// Two islands with an adapter and a pump each, all at the same address: only the adapter tells them apart.
struct Station {
    stage: Stage,
    /// The links that the configuration names.
    links: [PathBuf; 2],
    home: tempfile::TempDir,
}

impl Station {
    async fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let by_id = home.path().join("by-id");
        std::fs::create_dir(&by_id).expect("made");
        let grade = Grade::new("92").expect("a grade");
        let links =
            ["FT0001", "FT0002"].map(|number| by_id.join(format!("usb-FTDI_USB-RS485_Cable_{number}-if00-port0")));
        let line = |number: u16, link: &Path| LinePlan {
            name: format!("island-{number}"),
            port: link.display().to_string(),
            protocol: Protocol::Dart,
            dispensers: vec![DispenserPlan {
                fuelling_point: FuellingPointId(number),
                address: 0x50,
                nozzles: vec![NozzlePlan { number: NozzleId(number), grade: grade.clone() }],
            }],
        };
        let plan = Plan {
            station: "st-usb".into(),
            currency: Currency::CNY,
            directory: home.path().to_owned(),
            grades: vec![GradePlan { code: grade.clone(), unit_price: PRICE }],
            lines: vec![line(1, &links[0]), line(2, &links[1])],
        };
        let setting = Setting {
            daemon: None,
            build: Build::usual(10, Prng::new(4)),
            faults: Faults::default(),
            extra_toml: String::new(),
        };
        let broker = Broker::embedded().expect("a broker");
        let stage = Stage::start(plan, broker, &setting).await.expect("starts");
        Self { stage, links, home }
    }

    /// The pty that an adapter's link leads to, as `/dev/ttyUSB0` would be.
    fn number_of(&self, adapter: usize) -> PathBuf {
        std::fs::read_link(&self.links[adapter]).expect("a link to a pty")
    }

    /// Pays, lifts, and waits until fuel flows.
    async fn fuel(&self, nozzle: NozzleId) -> OrderId {
        let id = OrderId::new(format!("usb-{nozzle}")).expect("an id");
        let grade = Grade::new("92").expect("a grade");
        let spec = OrderSpec::prepaid(id.clone(), nozzle, grade, Limit::Volume(LITRES), PRICE, Currency::CNY);
        let (reply, _) = self.stage.platform.pay(spec).reply(SOON).await.expect("an answer");
        assert_eq!(reply.result, "armed", "{}", reply.detail);
        self.stage.pumps.lift(nozzle);
        self.until("fuel flows", || self.stage.pumps.view(nozzle).is_some_and(|view| view.flowing)).await;
        id
    }

    /// Hangs up once the pump has stopped by itself; the sale that the platform heard.
    async fn finish(&self, nozzle: NozzleId, order: &OrderId) -> SaleData {
        let pumps = &self.stage.pumps;
        self.until("the limit is reached", || {
            pumps.view(nozzle).is_some_and(|view| view.condition == Condition::Finished)
        })
        .await;
        pumps.hang_up(nozzle);
        let end = self
            .stage
            .platform
            .wait_for("the end of the order", SOON, |desk| desk.account(order).and_then(|account| account.end.clone()));
        let End::Sale(sale) = end.await.expect("an end") else { panic!("order {order} ended without a sale") };
        *sale
    }

    async fn until(&self, what: &str, so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < SOON, "not in time: {what}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Takes the system's lowest free pty numbers until the daemon has let go of these and they are among them.
    async fn occupy(&self, numbers: &[PathBuf]) -> BTreeMap<PathBuf, Served> {
        let (mut taken, begun) = (BTreeMap::new(), Instant::now());
        while !numbers.iter().all(|number| taken.contains_key(number)) {
            let link = self.home.path().join(format!("occupies-{}", taken.len()));
            let wire = Wire::new(WireConfig::clean(), &Prng::new(0));
            let served = Served::start(wire, &Endpoint::Pty { link: link.clone() }, Epoch::start(), None);
            taken.insert(std::fs::read_link(link).expect("a link"), served.expect("a pty"));
            assert!(begun.elapsed() < SOON, "the daemon does not let go of {numbers:?}");
            tokio::time::sleep(GLANCE * 10).await;
        }
        taken
    }

    /// What the pump itself shows of its only fuelling.
    fn shown(&self, nozzle: NozzleId) -> (Volume, Money) {
        let [fuelling] = &self.stage.pumps.fuellings(nozzle)[..] else { panic!("one fuelling at nozzle {nozzle}") };
        (fuelling.volume, Money::new(fuelling.figures.amount.0.into()))
    }

    /// Platform, store and pumps must tell the same of a number of sales.
    async fn agree(self, sales: usize) {
        self.stage.settle(SOON).await.expect("all is acknowledged");
        let report = self.stage.platform.report();
        assert!(report.agrees(), "{:?} {:?}", report.open, report.violations);
        assert_eq!(self.stage.platform.look(|desk| desk.sales().count()), sales);
        assert_eq!(self.stage.pumps.wrongs(), Vec::<String>::new());
        let books = self.stage.books().expect("a store");
        for nozzle in [ONE, TWO] {
            assert_eq!(books.totaliser(nozzle).expect("reads"), self.stage.pumps.totaliser(nozzle), "nozzle {nozzle}");
        }
        self.stage.stop().await.expect("ends well");
    }
}

/// The tests take the system's lowest pty numbers, and each would take those that the other waits for.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn an_adapter_pulled_while_fuel_flows_comes_back_under_another_number_and_the_sale_is_the_pumps_own_and_once() {
    let _alone = ALONE.lock().await;
    let station = Station::start().await;
    let order = station.fuel(ONE).await;
    let (line, old) = (station.stage.pumps.line(0).expect("a line"), station.number_of(0));
    line.pull_out().expect("pulled");
    assert!(std::fs::symlink_metadata(&station.links[0]).is_err(), "udev took the link away");
    station.stage.platform.nozzle_state(ONE, "inoperative", SOON).await.expect("missed");
    let taken = station.occupy(std::slice::from_ref(&old)).await;
    line.put_back().expect("put back");
    assert_ne!(station.number_of(0), old, "another number");
    let flowing = || station.stage.pumps.view(ONE).is_some_and(|view| view.flowing);
    assert!(flowing(), "fuel flows while the adapter is back");
    // Followed to its end: the station tells of it while it still runs.
    station.stage.platform.nozzle_state(ONE, "fuelling", SOON).await.expect("followed");
    let sale = station.finish(ONE, &order).await;
    assert_eq!((sale.nozzle, sale.volume_ml), (ONE, LITRES));
    assert_eq!((sale.volume_ml, sale.amount_minor), station.shown(ONE));
    assert_eq!((sale.evidence.as_str(), sale.unaccounted_ml), ("end_record", Volume::ZERO));
    drop(taken);
    station.agree(1).await;
}

#[tokio::test]
async fn two_adapters_that_swap_their_numbers_do_not_swap_their_pumps() {
    let _alone = ALONE.lock().await;
    let station = Station::start().await;
    let order = station.fuel(ONE).await;
    let old = [station.number_of(0), station.number_of(1)];
    let lines = [0, 1].map(|index| station.stage.pumps.line(index).expect("a line"));
    let begun = Instant::now();
    while [station.number_of(1), station.number_of(0)] != old {
        assert!(begun.elapsed() < SOON, "other programs take the numbers");
        for line in &lines {
            line.pull_out().expect("pulled");
        }
        // All lower numbers are taken: an adapter that comes back is given the only one that is set free.
        let mut taken = station.occupy(&old).await;
        for (line, number) in lines.iter().zip(old.iter().rev()) {
            drop(taken.remove(number));
            line.put_back().expect("put back");
        }
    }
    let sale = station.finish(ONE, &order).await;
    assert_eq!((sale.nozzle, sale.volume_ml, sale.amount_minor), (ONE, LITRES, station.shown(ONE).1));
    assert_eq!(station.stage.pumps.fuellings(TWO), [], "the other pump was not touched");
    station.stage.platform.nozzle_state(TWO, "idle", SOON).await.expect("back");
    let order = station.fuel(TWO).await;
    let sale = station.finish(TWO, &order).await;
    assert_eq!((sale.nozzle, sale.volume_ml, sale.amount_minor), (TWO, LITRES, station.shown(TWO).1));
    assert_eq!(station.stage.pumps.fuellings(ONE).len(), 1);
    station.agree(2).await;
}
