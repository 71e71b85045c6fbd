//! A store and dispensers as simple as can be, so that the core's promises can be checked from outside.

use forecourt::command::{Ask, Command, Reply};
use forecourt::customer::CustomerDay;
use forecourt::errand::Asked;
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, CustomerToken, FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, UuidMaker};
use forecourt::layout::{FuellingPointLayout, GradeRules, Layout, Limits, NozzleLayout, TimerSettings};
use forecourt::ledger::{EndedOrder, KnownTotaliser, Ledger, Memory, Release, Ticket, Write};
use forecourt::list::Lists;
use forecourt::order::{Basis, Limit, Order, OrderPhase, OrderRequest};
use forecourt::period::{Period, Plan};
use forecourt::price::{KnownPriceSet, NozzlePrice, PriceDigits, PriceSet, SetStage};
use forecourt::pump::{Authorise, FromPump, Preset, PumpCommand, PumpEvent, Reading, Refusal, Snapshot, State, Token};
use forecourt::record::{Record, Sale};
use forecourt::site::{OfficeMemory, OfficeWrite, Output, Site};
use forecourt::testing::capabilities;
use forecourt::time::{ClockQuality, Instant, Now, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use forecourt::voucher::VoucherAuthority;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub const PRICE: UnitPrice = UnitPrice::new(7_450_000);

/// Two fuelling points with two nozzles each: 1 and 2 on the first, 3 and 4 on the second; odd ones deliver 92, even ones 95.
pub fn layout() -> Layout {
    let grade = |code: &str| Grade::new(code).unwrap();
    let rules = GradeRules {
        price: PRICE,
        ceiling: None,
        max_volume: Volume::new(100_000),
        max_fill: Duration::from_secs(600),
    };
    let point = |nozzles: [u16; 2]| FuellingPointLayout {
        capabilities: capabilities(),
        another_drives: false,
        price_digits: PriceDigits::new(6, 2),
        nozzles: nozzles.map(NozzleId).to_vec(),
    };
    Layout {
        currency: Currency::CNY,
        price_set: PriceSetId::new("PS-1").unwrap(),
        utc_offset_minutes: 480,
        fuelling_points: [(FuellingPointId(1), point([1, 2])), (FuellingPointId(2), point([3, 4]))].into(),
        nozzles: (1..=4)
            .map(|n| {
                let fp = FuellingPointId((n - 1) / 2 + 1);
                (NozzleId(n), NozzleLayout { fp, grade: grade(if n % 2 == 1 { "92" } else { "95" }) })
            })
            .collect(),
        grades: [(grade("92"), rules.clone()), (grade("95"), rules)].into(),
        timers: TimerSettings::default(),
        limits: Limits::default(),
    }
}

pub fn request(order: &str, nozzle: u16, limit: Limit, expires_at: UtcTime) -> OrderRequest {
    OrderRequest {
        order_id: OrderId::new(order).unwrap(),
        nozzle: NozzleId(nozzle),
        grade: Grade::new(if nozzle % 2 == 1 { "92" } else { "95" }).unwrap(),
        limit,
        currency: Currency::CNY,
        unit_price: PRICE,
        expires_at,
        lift_timeout_s: None,
        basis: Basis::Prepaid,
        code: None,
        customer: None,
        plate_masked: None,
        context: r#"{"k":1}"#.into(),
        content_hash: format!("{order}/{nozzle}/{limit:?}"),
    }
}

/// The durable side: applies commits and answers look-ups.
#[derive(Default, Clone)]
pub struct Books {
    pub orders: BTreeMap<OrderId, Order>,
    pub replies: BTreeMap<CommandId, Reply>,
    pub releases: BTreeMap<u64, Release>,
    pub totalisers: BTreeMap<NozzleId, KnownTotaliser>,
    pub holds: BTreeMap<NozzleId, Vec<Hold>>,
    pub price_sets: BTreeMap<PriceSetId, KnownPriceSet>,
    pub prices: BTreeMap<NozzleId, NozzlePrice>,
    pub customer_days: BTreeMap<CustomerToken, CustomerDay>,
    pub lists: Lists,
    pub records: Vec<Record>,
    pub office: OfficeMemory,
    /// Periods that were closed, in order.
    pub closed: Vec<Period>,
    pub anchors: u32,
    last_release: u64,
    last_place: u64,
}

impl Books {
    pub fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Order(order) => {
                    self.last_place = self.last_place.max(order.place);
                    let id = order.request.order_id.clone();
                    if let Some(before) = self.orders.get(&id) {
                        assert!(!matches!(before.phase, OrderPhase::Ended { .. }), "{id}: an end was overwritten");
                    }
                    self.orders.insert(id, (**order).clone());
                }
                Write::Reply { reply, .. } => {
                    let before = self.replies.insert(reply.command_id.clone(), (**reply).clone());
                    assert!(before.is_none(), "a command was answered anew");
                }
                Write::Release(release) => {
                    self.last_release = self.last_release.max(release.release.0);
                    self.releases.insert(release.release.0, (**release).clone());
                }
                Write::ReleaseClosed(release) => {
                    self.releases.remove(&release.0);
                }
                Write::Totaliser { nozzle, volume, at } => {
                    self.totalisers.insert(*nozzle, KnownTotaliser { volume: *volume, at: *at });
                }
                Write::Holds { nozzle, holds } => {
                    self.holds.insert(*nozzle, holds.clone());
                }
                Write::PriceSet(known) => {
                    self.price_sets.insert(known.set.price_set.clone(), (**known).clone());
                }
                Write::NozzlePrice { nozzle, price } => {
                    self.prices.insert(*nozzle, (**price).clone());
                }
                Write::CustomerDay(row) => {
                    self.customer_days.insert(row.customer.clone(), row.clone());
                }
                Write::List(update) => {
                    self.lists.update(update);
                }
                Write::Record { record, .. } => self.records.push((**record).clone()),
                Write::Office(write) => match &**write {
                    OfficeWrite::CodeEntry(codes) => self.office.codes = *codes,
                    OfficeWrite::Turned { turned, .. } => {
                        self.closed.extend(turned.closed.clone());
                        self.office.open.insert(turned.open.scope, turned.open.clone());
                    }
                    OfficeWrite::Anchor { .. } => self.anchors += 1,
                },
            }
        }
    }

    pub fn memory(&self) -> Memory {
        Memory {
            orders: self
                .orders
                .values()
                .filter(|order| !matches!(order.phase, OrderPhase::Ended { .. }))
                .cloned()
                .collect(),
            releases: self.releases.values().cloned().collect(),
            totalisers: self.totalisers.clone(),
            holds: self.holds.clone(),
            price_sets: self.price_sets.values().filter(|known| known.stage != SetStage::Past).cloned().collect(),
            prices: self.prices.clone(),
            customer_days: self.customer_days.values().cloned().collect(),
            lists: self.lists.clone().into_inner(),
            last_release: self.last_release,
            last_place: self.last_place,
            office: self.office.clone(),
        }
    }

    /// What was recorded of price sets: set, nozzle, status.
    pub fn applied(&self) -> Vec<String> {
        let applied = |record: &Record| match record {
            Record::PriceApplied(it) => Some(format!("{} {} {:?}", it.price_set, it.nozzle, it.status)),
            _ => None,
        };
        self.records.iter().filter_map(applied).collect()
    }

    pub fn sales(&self) -> impl Iterator<Item = &Sale> {
        self.records.iter().filter_map(|record| match record {
            Record::Sale(sale) => Some(&**sale),
            _ => None,
        })
    }

    /// Volume of a nozzle that sales and unaccounted records explain.
    pub fn explained(&self, nozzle: NozzleId) -> i64 {
        self.records
            .iter()
            .map(|record| match record {
                Record::Sale(sale) if sale.nozzle == nozzle => sale.volume.get() + sale.unaccounted.get(),
                Record::Unaccounted(found) if found.nozzle == nozzle => found.volume.get(),
                _ => 0,
            })
            .sum()
    }
}

impl Ledger for Books {
    fn reply_to(&self, id: &CommandId) -> Option<Reply> {
        self.replies.get(id).cloned()
    }
    fn ended_order(&self, id: &OrderId) -> Option<EndedOrder> {
        let order = self.orders.get(id)?;
        match &order.phase {
            OrderPhase::Ended { end } => {
                Some(EndedOrder { content_hash: order.request.content_hash.clone(), end: end.clone() })
            }
            _ => None,
        }
    }
}

/// A dispenser with its driver: what reaches the core, and what fuel really did.
pub struct Pump {
    fp: FuellingPointId,
    pub nozzles: Vec<NozzleId>,
    pub lifted: Option<NozzleId>,
    pub totals: BTreeMap<NozzleId, i64>,
    running: Option<Running>,
    last: Option<Reading>,
    ending: Option<(Token, Reading, bool)>,
    pub heard: bool,
    tokens: u64,
    power_cycled: bool,
    /// The next release is refused by the dispenser although it is called for.
    pub refuses: bool,
    /// Running figures have a volume; else an amount only.
    pub tells_volume: bool,
    /// When it tells its state at the end of a fuelling.
    pub tells_state: TellsState,
    pub authorised: Vec<Authorise>,
    /// What it shows.
    pub prices: BTreeMap<NozzleId, UnitPrice>,
    /// Given and not yet taken: it takes them only at rest.
    due: BTreeMap<NozzleId, UnitPrice>,
    /// It drops what it is given.
    pub keeps_old_prices: bool,
    /// It tells the price of a nozzle only when that is lifted.
    pub tells_price_at_lift: bool,
    events: VecDeque<PumpEvent>,
}

/// When a driver tells the state at the end of a fuelling. A state that it has told it does not tell again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TellsState {
    /// Before the end and after it.
    #[default]
    Both,
    /// As it changes, also before the end is told.
    Before,
    /// Once the end is told.
    After,
}

struct Running {
    nozzle: NozzleId,
    preset: Preset,
    volume: i64,
    stopped: bool,
    price: UnitPrice,
}

fn amount_of(volume: i64, price: UnitPrice) -> Money {
    price.cost_of(Volume::new(volume), Currency::CNY).unwrap()
}

impl Pump {
    pub fn new(fp: u16) -> Self {
        let nozzles: Vec<_> = [fp * 2 - 1, fp * 2].map(NozzleId).to_vec();
        let totals = nozzles.iter().map(|n| (*n, 1_000_000 * i64::from(n.0))).collect();
        let prices = nozzles.iter().map(|n| (*n, PRICE)).collect();
        let mut pump = Self {
            fp: FuellingPointId(fp),
            nozzles,
            lifted: None,
            totals,
            running: None,
            last: None,
            ending: None,
            heard: false,
            tokens: 0,
            power_cycled: false,
            refuses: false,
            tells_volume: true,
            tells_state: TellsState::default(),
            authorised: Vec::new(),
            prices,
            due: BTreeMap::new(),
            keeps_old_prices: false,
            tells_price_at_lift: false,
            events: VecDeque::new(),
        };
        pump.reconnect();
        pump
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub fn state(&self) -> State {
        match (&self.running, self.lifted) {
            (Some(running), _) if running.volume > 0 => State::Fuelling,
            (Some(_), _) => State::Started,
            (None, Some(_)) => State::Calling,
            (None, None) => State::Idle,
        }
    }

    fn report(&mut self) {
        if self.tells_state == TellsState::After && self.ending.is_some_and(|(_, _, ended)| !ended) {
            return;
        }
        let (state, lifted) = (self.state(), self.lifted);
        self.say(PumpEvent::State { state, lifted });
    }

    fn say(&mut self, event: PumpEvent) {
        if self.heard {
            self.events.push_back(event);
        }
    }

    /// The driver hears the dispenser (again) and reads everything first.
    pub fn reconnect(&mut self) {
        if self.heard {
            return;
        }
        self.events.clear();
        self.ending = None;
        self.heard = true;
        self.read_in();
        self.take_prices();
    }

    fn read_in(&mut self) {
        let reading = self.running.as_ref().map(Running::reading).or(self.last);
        let token = self.token();
        let snapshot = Snapshot {
            state: self.state(),
            lifted: self.lifted,
            reading,
            totalisers: self.totals.iter().map(|(nozzle, ml)| (*nozzle, Volume::new(*ml))).collect(),
            power_cycled: std::mem::take(&mut self.power_cycled),
            token,
        };
        self.say(PumpEvent::Snapshot(snapshot));
    }

    /// The line goes silent; the core hears of it.
    pub fn lose(&mut self) {
        if self.heard {
            self.events.push_back(PumpEvent::Lost);
            self.heard = false;
        }
    }

    /// The controller's process ends: its driver forgets, the dispenser does not.
    pub fn forget(&mut self) {
        self.events.clear();
        self.heard = false;
    }

    pub fn power_cycle(&mut self) {
        self.lose();
        if let Some(running) = self.running.take() {
            self.last = Some(running.reading());
        }
        self.power_cycled = true;
    }

    pub fn lift(&mut self, nozzle: NozzleId) {
        if self.lifted.is_none() {
            self.lifted = Some(nozzle);
            self.say(PumpEvent::Price { nozzle, price: self.prices[&nozzle] });
            self.report();
        }
    }

    pub fn hang_up(&mut self) {
        if self.lifted.take().is_none() {
            return;
        }
        if let Some(running) = self.running.take() {
            let reading = running.reading();
            self.last = Some(reading);
            if self.heard {
                let token = self.token();
                self.ending = Some((token, reading, false));
                self.report();
                self.say(PumpEvent::EndSeen { token, reading });
                self.take_prices();
                return;
            }
        }
        self.report();
        self.take_prices();
    }

    /// Fuel flows, never past the preset.
    pub fn flow(&mut self, ml: i64) {
        let Some(running) = &mut self.running else { return };
        if running.stopped || self.lifted != Some(running.nozzle) {
            return;
        }
        let room = match running.preset {
            Preset::Volume(limit) => limit.get() - running.volume,
            Preset::Amount(limit) => {
                let most = running.price.volume_for(limit, Currency::CNY).unwrap().get();
                most - most % 10 - running.volume
            }
        };
        let ml = (ml - ml % 10).clamp(0, room.max(0));
        running.volume += ml;
        *self.totals.get_mut(&running.nozzle).unwrap() += ml;
        let Reading { volume, amount, .. } = running.reading();
        self.report();
        let tells =
            if self.tells_volume { PumpEvent::Running { volume, amount } } else { PumpEvent::RunningAmount { amount } };
        self.say(tells);
    }

    /// Fuel is taken with the pump in manual mode while nobody listens.
    pub fn manual(&mut self, nozzle: NozzleId, ml: i64) {
        if self.heard || self.running.is_some() || self.lifted.is_some() {
            return;
        }
        let ml = ml - ml % 10;
        *self.totals.get_mut(&nozzle).unwrap() += ml;
        self.last = Some(reading(nozzle, ml, self.prices[&nozzle]));
    }

    /// Fuel is taken by hand between two polls: only its record is seen.
    pub fn end_by_hand(&mut self, nozzle: NozzleId, ml: i64) {
        *self.totals.get_mut(&nozzle).unwrap() += ml;
        let (token, reading) = (self.token(), reading(nozzle, ml, self.prices[&nozzle]));
        self.last = Some(reading);
        self.ending = Some((token, reading, false));
        self.say(PumpEvent::EndSeen { token, reading });
    }

    pub fn command(&mut self, command: PumpCommand) {
        if let PumpCommand::SetPrices(prices) = &command {
            self.due.extend(prices.clone());
            self.take_prices();
        }
        if !self.heard {
            return; // lost with the line; the snapshot tells later
        }
        match command {
            PumpCommand::Authorise(authorise) => self.authorise(authorise),
            PumpCommand::Stop | PumpCommand::Withdraw => {
                if let Some(running) = &mut self.running {
                    running.stopped = true; // ends when the nozzle is hung up
                }
            }
            PumpCommand::Stored(token) => {
                if let Some((waiting, reading, ended)) = self.ending
                    && waiting == token
                {
                    if ended {
                        self.ending = None;
                    } else {
                        let next = self.token();
                        self.ending = Some((next, reading, true));
                        let totaliser = Some(Volume::new(self.totals[&reading.nozzle.unwrap()]));
                        self.say(PumpEvent::Ended { token: next, reading, totaliser });
                        if self.tells_state != TellsState::Before {
                            self.report();
                        }
                    }
                }
            }
            PumpCommand::Examine if self.ending.is_none() => self.read_in(),
            _ => {}
        }
    }

    /// A driver writes prices while the dispenser is heard, idle and hung up, and reads back what it can.
    fn take_prices(&mut self) {
        if !self.heard || self.running.is_some() || self.lifted.is_some() {
            return;
        }
        for (nozzle, price) in std::mem::take(&mut self.due) {
            if !self.keeps_old_prices {
                self.prices.insert(nozzle, price);
            }
            if !self.tells_price_at_lift {
                self.say(PumpEvent::Price { nozzle, price: self.prices[&nozzle] });
            }
        }
    }

    /// Someone sets a price at the pump.
    pub fn set_by_hand(&mut self, nozzle: NozzleId, price: UnitPrice) {
        self.prices.insert(nozzle, price);
        self.say(PumpEvent::Price { nozzle, price });
    }

    fn authorise(&mut self, authorise: Authorise) {
        let release = authorise.release;
        let positive = match authorise.preset {
            Preset::Amount(money) => money.is_positive(),
            Preset::Volume(volume) => volume.is_positive(),
        };
        assert!(positive, "released without a limit: {authorise:?}");
        let shown = self.prices[&authorise.nozzle];
        let calling = self.lifted == Some(authorise.nozzle) && self.running.is_none() && self.ending.is_none();
        if !calling {
            self.say(PumpEvent::Refused { release, why: Refusal::NotCalling });
        } else if shown != authorise.price {
            self.say(PumpEvent::Refused { release, why: Refusal::PriceMismatch { shown } });
        } else if std::mem::take(&mut self.refuses) {
            self.say(PumpEvent::Refused { release, why: Refusal::NoEffect });
        } else {
            self.last = None;
            self.running = Some(Running {
                nozzle: authorise.nozzle,
                preset: authorise.preset,
                volume: 0,
                stopped: false,
                price: shown,
            });
            self.authorised.push(authorise);
            self.say(PumpEvent::Released { release });
            self.report();
        }
    }
}

impl Running {
    fn reading(&self) -> Reading {
        reading(self.nozzle, self.volume, self.price)
    }
}

fn reading(nozzle: NozzleId, volume: i64, price: UnitPrice) -> Reading {
    Reading { nozzle: Some(nozzle), volume: Volume::new(volume), amount: amount_of(volume, price), price: Some(price) }
}

/// Core, books and pumps together.
pub struct World {
    pub site: Site,
    pub books: Books,
    pub pumps: Vec<Pump>,
    pub mono: u64,
    pub replies: Vec<Reply>,
    /// Handed out, not done.
    pub errands: Vec<Asked>,
    pending: VecDeque<(Ticket, Vec<Write>)>,
    boots: u8,
    commands: u32,
    /// The office, where it is open.
    pub office: Option<(Plan, Option<VoucherAuthority>)>,
    pub layout: Layout,
}

const EPOCH_MS: i64 = 1_795_250_000_000;

impl World {
    pub fn new() -> Self {
        Self::with(layout())
    }

    pub fn with(layout: Layout) -> Self {
        let books = Books::default();
        let site = Site::new(layout.clone(), books.memory(), UuidMaker::new([0; 32]), now_at(0));
        let mut world = Self {
            site,
            books,
            pumps: vec![Pump::new(1), Pump::new(2)],
            mono: 0,
            replies: Vec::new(),
            errands: Vec::new(),
            pending: VecDeque::new(),
            boots: 0,
            commands: 0,
            office: None,
            layout,
        };
        world.run();
        world.commit_all();
        world
    }

    pub fn now(&self) -> Now {
        now_at(self.mono)
    }

    /// Lets everything happen that happens without time or a disk.
    pub fn run(&mut self) {
        loop {
            let now = self.now();
            let mut moved = false;
            while let Some(output) = self.site.poll_output(now) {
                moved = true;
                match output {
                    Output::Store { ticket, writes } => self.pending.push_back((ticket, writes)),
                    Output::Pump { fp, command } => {
                        if let PumpCommand::Authorise(authorise) = &command {
                            assert!(
                                self.books.releases.contains_key(&authorise.release.0),
                                "sent before it was durable: {authorise:?}"
                            );
                        }
                        self.pumps[usize::from(fp.0) - 1].command(command);
                    }
                    Output::Reply(reply) => self.replies.push(reply),
                    Output::Errand(asked) => self.errands.push(*asked),
                    _ => {}
                }
            }
            for at in 0..self.pumps.len() {
                while let Some(event) = self.pumps[at].events.pop_front() {
                    moved = true;
                    let fp = self.pumps[at].fp;
                    self.site.handle_pump(FromPump { fp, event }, now);
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub fn commit(&mut self) -> bool {
        let Some((ticket, writes)) = self.pending.pop_front() else { return false };
        self.books.apply(&writes);
        self.site.handle_stored(ticket, self.now());
        self.run();
        true
    }

    pub fn commit_all(&mut self) {
        self.run();
        while self.commit() {}
    }

    pub fn pass(&mut self, seconds: u64) {
        let end = self.mono + seconds * 1_000_000;
        while let Some(due) = self.site.poll_timeout().filter(|due| due.as_micros() <= end) {
            self.mono = self.mono.max(due.as_micros());
            self.site.handle_timeout(self.now());
            self.run();
        }
        self.mono = end;
    }

    /// The process ends; `durable` of the commits under way reached the disk before.
    pub fn crash(&mut self, durable: usize) {
        for (_, writes) in std::mem::take(&mut self.pending).into_iter().take(durable) {
            self.books.apply(&writes);
        }
        self.boots += 1;
        let ids = UuidMaker::new([self.boots; 32]);
        self.site = Site::new(self.layout.clone(), self.books.memory(), ids, self.now());
        for pump in &mut self.pumps {
            pump.forget();
            pump.reconnect();
        }
        self.enter_office();
        self.run();
    }

    pub fn open_office(&mut self, plan: Plan, authority: Option<VoucherAuthority>) {
        self.office = Some((plan, authority));
        self.enter_office();
        self.commit_all();
    }

    fn enter_office(&mut self) {
        if let Some((plan, authority)) = self.office.clone() {
            let now = self.now();
            self.site.open_office(plan, authority, self.books.office.clone(), now);
        }
    }

    pub fn ask_as(&mut self, id: &str, ask: Ask) {
        let command = Command { id: CommandId::new(id).unwrap(), kind: "test".into(), ask, overloaded: false };
        let now = self.now();
        self.site.handle_command(command, &self.books, now);
        self.run();
    }

    pub fn ask(&mut self, ask: Ask) -> String {
        self.commands += 1;
        let id = format!("c{}", self.commands);
        self.ask_as(&id, ask);
        id
    }

    pub fn pay(&mut self, order: &str, nozzle: u16, limit: Limit) -> String {
        let expires = self.now().utc.plus_ms(600_000);
        self.ask(Ask::Authorise(Box::new(request(order, nozzle, limit, expires))))
    }

    /// Sends prices for grade 92, by micros a litre, from so many seconds on.
    pub fn reprice(&mut self, name: &str, micros: i64, after_s: i64) -> String {
        let set = PriceSet {
            price_set: PriceSetId::new(name).unwrap(),
            effective_at: self.now().utc.plus_ms(after_s * 1_000),
            prices: [(Grade::new("92").unwrap(), UnitPrice::new(micros))].into(),
            ceiling: None,
        };
        self.ask(Ask::SetPrices(Box::new(set)))
    }

    /// The word of the reply to a command, once it came.
    pub fn word(&self, id: &str) -> Option<&'static str> {
        self.replies.iter().find(|reply| reply.command_id.as_str() == id).map(|reply| reply.outcome.word())
    }

    pub fn phase(&self, order: &str) -> &'static str {
        self.books.orders[&OrderId::new(order).unwrap()].phase.word()
    }
}

pub fn now_at(mono: u64) -> Now {
    let ms = i64::try_from(mono / 1_000).unwrap();
    Now { mono: Instant::from_micros(mono), utc: UtcTime::from_unix_ms(EPOCH_MS + ms), clock: ClockQuality::Synced }
}
