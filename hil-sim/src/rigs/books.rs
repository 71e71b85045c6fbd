//! Many sales put straight into a store, as days without a broker leave them.

use edge_daemon::store::{FILE_NAME, Store};
use forecourt::ids::{FuellingPointId, Grade, NozzleId, PriceSetId, StationId, UuidMaker};
use forecourt::ledger::Write;
use forecourt::order::Basis;
use forecourt::record::{Evidence, Finish, Record, Sale};
use forecourt::time::{ClockQuality, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use std::path::Path;
use std::time::{Duration, Instant};

/// Sold each time, in millilitres.
const VOLUME: i64 = 20_000;
/// Sales in one commit while a store is filled.
const AT_ONCE: u64 = 500;

/// The station's store, to be written to while no daemon runs.
#[derive(Debug)]
pub struct Filler {
    store: Store,
    ids: UuidMaker,
    grade: Grade,
    price_set: PriceSetId,
    totalisers: Vec<i64>,
    made: u64,
}

impl Filler {
    /// Opens the store of a station with so many nozzles, whose totalisers stand there.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn open(data: &Path, station: &str, totalisers: &[Volume]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data)?;
        let mut ids = UuidMaker::new([9; 32]);
        let boot = ids.make(now());
        let store = Store::open(&data.join(FILE_NAME), StationId::new(station)?, boot)?;
        let totalisers = totalisers.iter().map(|volume| volume.get()).collect();
        Ok(Self { store, ids, grade: Grade::new("92")?, price_set: PriceSetId::new("PS-0001")?, totalisers, made: 0 })
    }

    /// One sale without an order, the nozzles in turn. The last ones come to where the totalisers stand: `left` are still to come.
    fn sale(&mut self, left: u64) -> Vec<Write> {
        let nozzles = u64::try_from(self.totalisers.len()).unwrap_or(1).max(1);
        let at = usize::try_from(self.made % nozzles).unwrap_or(0);
        self.made += 1;
        let to_come = i64::try_from(left / nozzles).unwrap_or(0) * VOLUME;
        let end = Volume::new(self.totalisers[at] - to_come);
        let time = now();
        let nozzle = NozzleId(u16::try_from(at + 1).unwrap_or(1));
        let price = UnitPrice::new(7_450_000);
        let volume = Volume::new(VOLUME);
        let sale = Sale {
            sale_id: self.ids.make(time),
            order_id: None,
            basis: Basis::Manual,
            fuelling_point: FuellingPointId(nozzle.0),
            nozzle,
            grade: self.grade.clone(),
            currency: Currency::CNY,
            unit_price: price,
            price_set: self.price_set.clone(),
            volume,
            amount: Money::new(14_900),
            limit: None,
            totaliser_start: end.checked_sub(volume),
            totaliser_end: Some(end),
            unaccounted: Volume::ZERO,
            started_at: time,
            ended_at: time,
            finish: Finish::HungUp,
            evidence: Evidence::EndRecord,
            offline: true,
            recovered: false,
            clock: ClockQuality::Holdover,
            attendant: None,
            shift: None,
            flags: vec![],
            context: "{}".into(),
        };
        let record = Record::Sale(Box::new(sale));
        vec![
            Write::Record { id: self.ids.make(time), time, record: Box::new(record) },
            Write::Totaliser { nozzle, volume: end, at: time },
        ]
    }

    /// Adds so many sales, several in each commit; `after` are still to come later.
    ///
    /// # Errors
    /// If they cannot be stored.
    pub fn fill(&mut self, count: u64, after: u64) -> anyhow::Result<()> {
        let mut left = count;
        while left > 0 {
            let now = left.min(AT_ONCE);
            let batches: Vec<Vec<Write>> = (0..now).map(|number| self.sale(after + left - number - 1)).collect();
            let batches: Vec<&[Write]> = batches.iter().map(Vec::as_slice).collect();
            self.store.apply(&batches)?;
            left -= now;
        }
        Ok(())
    }

    /// Adds so many sales, each a commit of its own, and tells what each took.
    ///
    /// # Errors
    /// If they cannot be stored.
    pub fn time(&mut self, count: u64, after: u64) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        for number in 0..count {
            let sale = self.sale(after + count - number - 1);
            let begun = Instant::now();
            self.store.apply(&[&sale])?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    }
}

fn now() -> UtcTime {
    crate::platform::moment().utc
}
