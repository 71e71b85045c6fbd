//! The state of the model: the real core with a database, a channel to the driver and one back, and all that may happen next.

use crate::books::{Books, LookUp};
use crate::canonical;
use crate::dispenser::{Dispenser, Driver};
use forecourt::command::{Ask, Command, Reply};
use forecourt::ids::{CommandId, FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, UuidMaker};
use forecourt::layout::{FuellingPointLayout, GradeRules, Layout, Limits, NozzleLayout, TimerSettings};
use forecourt::ledger::{Ticket, Write};
use forecourt::order::{Basis, Limit, OrderPhase, OrderRequest};
use forecourt::price::PriceDigits;
use forecourt::pump::{Authorise, FromPump, Preset, PumpCommand, PumpEvent, State as PumpState};
use forecourt::site::{Output, Site};
use forecourt::testing::capabilities;
use forecourt::time::{ClockQuality, Instant, Now, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

pub const FP: FuellingPointId = FuellingPointId(1);
pub const NOZZLE: NozzleId = NozzleId(1);
pub const PRICE: UnitPrice = UnitPrice::new(7_459_000);
/// An order's limit.
pub const ORDER_ML: i64 = 4_000;

/// What must never happen and is seen when it happens.
pub mod breach {
    pub const TWICE: &str = "an order is in force in the dispenser at most once";
    pub const NOT_DURABLE: &str = "nothing is released whose order and release are not durable";
    pub const NO_LIMIT: &str = "nothing is released without the limit of its order";
    pub const OVERWRITTEN: &str = "a new fuelling begins only when the last one is in the books";
    pub const FORBIDDEN: &str = "no end is written over and no command answered anew";
    pub const EARLY_REPLY: &str = "no reply before it is durable";
}

/// A mistake built into the model's own parts, to see the checker find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// The driver repeats a release whose answer it never heard, without looking; so does a driver after a crash.
    RetriesBlind,
    /// The dispenser's record is cleared when the driver has read it, not when it is durable.
    ClearsBeforeCommit,
    /// The core is told that a commit is durable when it has only been handed over.
    SaysStoredEarly,
    /// The database forgets which commands were answered and which orders have ended.
    Forgets,
    /// A record leaves the outbox when it was handed to the broker.
    PubackIsReceipt,
}

/// How much may happen, each use taking one away so that the states are finite; and at what dispenser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub crashes: u8,
    pub silences: u8,
    pub lifts: u8,
    pub deadlines: u8,
    /// Of each command of the cloud, how often it may come: never is a loss, more than once a repeat.
    pub deliveries: [u8; 4],
    /// In how many steps an order's fuel flows.
    pub steps: u8,
    /// The dispenser's last filling is cleared as soon as the core says that it is stored; else it stays until the next fuelling.
    pub clears: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A command of the cloud comes in, by its number.
    Deliver(u8),
    /// The first commit under way reaches the disk, and the core hears of it.
    Commit,
    /// The driver takes the next word of the core, and the dispenser follows.
    Obey,
    /// The same, but the line goes silent before the driver hears what came of it.
    ObeyUnheard,
    /// The core takes what the driver reports of one exchange.
    Report,
    Lift,
    Flow,
    HangUp,
    Silence,
    /// The driver hears the dispenser (again) and reads everything.
    Hear,
    /// The controller dies. What is under way to the disk is lost; `Commit` before it is the crash just after.
    Crash,
    /// Time passes to the core's next deadline.
    Deadline,
    /// A record reaches the platform, by its place in the chain.
    Publish(usize),
    /// A record is handed to the broker and lost there.
    PublishLost(usize),
    /// The platform's acknowledgement comes in.
    Acknowledge(usize),
}

#[derive(Clone, Debug)]
pub struct Station {
    pub site: Site,
    pub books: Books,
    pub dispenser: Dispenser,
    pub driver: Driver,
    mono: u64,
    commits: VecDeque<(Ticket, Vec<Write>)>,
    to_driver: VecDeque<PumpCommand>,
    from_driver: VecDeque<Vec<PumpEvent>>,
    pub left: Bounds,
    /// Commands that came.
    came: BTreeSet<u8>,
    /// How often each order was in force in the dispenser.
    in_force: BTreeMap<OrderId, u8>,
    pub breaches: BTreeSet<&'static str>,
}

fn layout() -> Layout {
    let grade = Grade::new("92").unwrap();
    let rules = GradeRules {
        price: PRICE,
        ceiling: None,
        max_volume: Volume::new(100_000),
        max_fill: Duration::from_secs(600),
    };
    let price_digits = PriceDigits::new(6, 2);
    let point = FuellingPointLayout {
        capabilities: capabilities(),
        another_drives: false,
        price_digits,
        nozzles: vec![NOZZLE],
    };
    Layout {
        currency: Currency::CNY,
        price_set: PriceSetId::new("PS-1").unwrap(),
        utc_offset_minutes: 480,
        fuelling_points: [(FP, point)].into(),
        nozzles: [(NOZZLE, NozzleLayout { fp: FP, grade: grade.clone() })].into(),
        grades: [(grade, rules)].into(),
        timers: TimerSettings::default(),
        limits: Limits::default(),
    }
}

pub fn order(number: u8) -> OrderId {
    OrderId::new(format!("o{number}")).unwrap()
}

fn now_at(mono: u64) -> Now {
    let utc = UtcTime::from_unix_ms(1_795_250_000_000 + i64::try_from(mono / 1_000).unwrap());
    Now { mono: Instant::from_micros(mono), utc, clock: ClockQuality::Synced }
}

/// The cloud's commands: two orders, the first of them asked for again under another name, and its cancellation.
fn command(number: u8) -> Command {
    let authorise = |number| {
        Ask::Authorise(Box::new(OrderRequest {
            order_id: order(number),
            nozzle: NOZZLE,
            grade: Grade::new("92").unwrap(),
            limit: Limit::Volume(Volume::new(ORDER_ML)),
            currency: Currency::CNY,
            unit_price: PRICE,
            expires_at: now_at(1_800_000_000).utc,
            lift_timeout_s: None,
            basis: Basis::Prepaid,
            code: None,
            customer: None,
            plate_masked: None,
            context: "{}".into(),
            content_hash: format!("{number}"),
        }))
    };
    let ask = match number {
        0 => authorise(1),
        1 => authorise(2),
        2 => authorise(1),
        _ => Ask::Cancel { order_id: order(1), reason: String::new() },
    };
    Command { id: CommandId::new(format!("c{number}")).unwrap(), kind: "test".into(), ask, overloaded: false }
}

impl Station {
    pub fn new(left: Bounds) -> Self {
        let books = Books::default();
        let mut station = Self {
            site: Site::new(layout(), books.memory(), UuidMaker::new([0; 32]), now_at(0)),
            books,
            dispenser: Dispenser::default(),
            driver: Driver::default(),
            mono: 0,
            commits: VecDeque::new(),
            to_driver: VecDeque::new(),
            from_driver: VecDeque::new(),
            left,
            came: BTreeSet::new(),
            in_force: BTreeMap::new(),
            breaches: BTreeSet::new(),
        };
        // Begins where a station stands all day: running, heard and idle.
        station.take(Action::Hear, Fault::None);
        station.drain(Fault::None);
        station
    }

    fn now(&self) -> Now {
        now_at(self.mono)
    }

    /// `alike`: the two orders differ by name alone, so the first may always come first.
    pub fn actions(&self, fault: Fault, uplink: bool, alike: bool, actions: &mut Vec<Action>) {
        self.inner_actions(actions);
        // A wire carries little at a time: a driver that reports much less often than people act is no wire.
        let calm = self.from_driver.len() < 2;
        let mut may = |when: bool, action| {
            if when {
                actions.push(action);
            }
        };
        for number in 0..4_u8 {
            let twin = alike && number == 1 && !self.came.contains(&0);
            may(!twin && self.left.deliveries[usize::from(number)] > 0, Action::Deliver(number));
        }
        may(!self.to_driver.is_empty() && self.driver.heard && self.left.silences > 0, Action::ObeyUnheard);
        may(calm && !self.dispenser.lifted && self.left.lifts > 0, Action::Lift);
        may(calm && self.dispenser.can_flow(), Action::Flow);
        may(calm && self.dispenser.lifted, Action::HangUp);
        may(self.driver.heard && self.left.silences > 0, Action::Silence);
        may(calm && !self.driver.heard, Action::Hear);
        may(self.left.crashes > 0, Action::Crash);
        may(self.left.deadlines > 0 && self.site.poll_timeout().is_some(), Action::Deadline);
        if uplink {
            for at in &self.books.outbox {
                let there = self.books.platform.contains(at);
                may(!there, Action::Publish(*at));
                may(!there && fault == Fault::PubackIsReceipt, Action::PublishLost(*at));
                may(there, Action::Acknowledge(*at));
            }
        }
    }

    /// What happens by itself.
    fn inner_actions(&self, actions: &mut Vec<Action>) {
        let mut may = |when: bool, action| {
            if when {
                actions.push(action);
            }
        };
        may(!self.commits.is_empty(), Action::Commit);
        may(!self.to_driver.is_empty(), Action::Obey);
        may(!self.from_driver.is_empty(), Action::Report);
    }

    pub fn take(&mut self, action: Action, fault: Fault) {
        let now = self.now();
        match action {
            Action::Deliver(number) => {
                self.left.deliveries[usize::from(number)] -= 1;
                self.came.insert(number);
                let books = LookUp { books: &self.books, forgets: fault == Fault::Forgets };
                self.site.handle_command(command(number), &books, now);
            }
            Action::Commit => self.commit(fault),
            Action::Obey => self.obey(),
            Action::ObeyUnheard => {
                self.left.silences -= 1;
                let before = self.from_driver.len();
                let asked = self.to_driver.front().cloned();
                self.obey();
                self.from_driver.truncate(before);
                let lost = self.driver.lose();
                self.from_driver.push_back(vec![lost]);
                if let (Fault::RetriesBlind, Some(PumpCommand::Authorise(authorise))) = (fault, asked) {
                    self.driver.unanswered = Some(authorise);
                }
            }
            Action::Report => {
                for event in self.from_driver.pop_front().unwrap_or_default() {
                    self.site.handle_pump(FromPump { fp: FP, event }, now);
                }
            }
            Action::Lift => {
                self.left.lifts -= 1;
                self.dispenser.lifted = true;
                self.report([]);
            }
            Action::Flow => self.flow(),
            Action::HangUp => self.hang_up(fault),
            Action::Silence => {
                self.left.silences -= 1;
                let lost = self.driver.lose();
                self.from_driver.push_back(vec![lost]);
            }
            Action::Hear => self.hear(),
            Action::Crash => self.crash(fault),
            Action::Deadline => {
                self.left.deadlines -= 1;
                self.pass();
            }
            Action::Publish(at) => {
                self.books.platform.insert(at);
            }
            Action::PublishLost(at) | Action::Acknowledge(at) => {
                self.books.outbox.remove(&at);
            }
        }
        self.shell(fault);
    }

    /// Carries out what the core says.
    fn shell(&mut self, fault: Fault) {
        while let Some(output) = self.site.poll_output(self.now()) {
            match output {
                Output::Store { ticket, writes } => {
                    self.commits.push_back((ticket, writes));
                    if fault == Fault::SaysStoredEarly {
                        self.site.handle_stored(ticket, self.now());
                    }
                }
                Output::Pump { command, .. } => self.to_driver.push_back(command),
                Output::Reply(reply) => self.hear_reply(&reply, fault),
                Output::Nozzle(_) | Output::Step(_) | Output::Live(_) => {}
            }
        }
        // What is stored, the driver hears at once: when it does changes nothing that outlives it.
        while matches!(self.to_driver.front(), Some(PumpCommand::Stored(_))) {
            self.obey();
        }
    }

    fn hear_reply(&mut self, reply: &Reply, fault: Fault) {
        let durable = self.books.replies.get(&reply.command_id).is_some_and(|known| known.outcome == reply.outcome);
        // A planted fault is to be found by the worse that follows.
        self.breach_if(!durable && fault == Fault::None, breach::EARLY_REPLY);
    }

    fn breach_if(&mut self, broken: bool, what: &'static str) {
        if broken {
            self.breaches.insert(what);
        }
    }

    fn commit(&mut self, fault: Fault) {
        let Some((ticket, writes)) = self.commits.pop_front() else { return };
        let good = self.books.apply(&writes).is_ok();
        self.breach_if(!good, breach::FORBIDDEN);
        if fault != Fault::SaysStoredEarly {
            self.site.handle_stored(ticket, self.now());
        }
    }

    fn obey(&mut self) {
        let Some(command) = self.to_driver.pop_front() else { return };
        match command {
            PumpCommand::Authorise(authorise) => match self.driver.may_release(&self.dispenser) {
                Ok(()) => self.release(&authorise),
                Err(why) => {
                    self.from_driver.push_back(vec![PumpEvent::Refused { release: authorise.release, why }]);
                }
            },
            PumpCommand::Stop | PumpCommand::Withdraw => {
                if let Some(running) = self.dispenser.running.as_mut().filter(|_| self.driver.heard) {
                    running.stopped = true;
                }
            }
            PumpCommand::Stored(token) => {
                let ended = self.driver.stored(token, &self.dispenser);
                if self.left.clears && self.driver.may_clear() {
                    self.dispenser.last = None;
                }
                self.from_driver.extend(ended.map(|ended| vec![ended]));
            }
            PumpCommand::Examine if self.driver.heard => {
                let snapshot = self.driver.snapshot(&self.dispenser);
                self.from_driver.push_back(vec![snapshot]);
            }
            PumpCommand::Suspend | PumpCommand::Resume | PumpCommand::SetPrices(_) | PumpCommand::Examine => {}
        }
    }

    fn order_of(&self, authorise: &Authorise) -> Option<OrderId> {
        self.books.releases.get(&authorise.release)?.order_id.clone()
    }

    /// The release goes out on the wire and is in force in the dispenser.
    fn release(&mut self, authorise: &Authorise) {
        let order = self.order_of(authorise);
        let open = |id| self.books.orders.get(id).is_some_and(|order| order.phase == OrderPhase::Lifted);
        self.breach_if(!order.as_ref().is_some_and(open), breach::NOT_DURABLE);
        self.breach_if(authorise.preset != Preset::Volume(Volume::new(ORDER_ML)), breach::NO_LIMIT);
        self.breach_if(self.books.explained() != self.dispenser.totaliser, breach::OVERWRITTEN);
        if let Some(id) = &order {
            let times = self.in_force.entry(id.clone()).or_default();
            *times += 1;
            let twice = *times > 1;
            self.breach_if(twice, breach::TWICE);
        }
        self.dispenser.release(order);
        let released = PumpEvent::Released { release: authorise.release };
        self.from_driver.push_back(vec![released, self.present_state()]);
    }

    /// What the driver sees of one exchange: the state, and more.
    fn report<const N: usize>(&mut self, more: [PumpEvent; N]) {
        if self.driver.heard {
            self.from_driver.push_back([self.present_state()].into_iter().chain(more).collect());
        }
    }

    fn present_state(&self) -> PumpEvent {
        PumpEvent::State { state: self.dispenser.state(), lifted: self.dispenser.lifted.then_some(NOZZLE) }
    }

    fn flow(&mut self) {
        self.dispenser.flow(ORDER_ML / i64::from(self.left.steps));
        if let Some(running) = &self.dispenser.running {
            let (volume, amount) = (Volume::new(running.volume), Money::new(running.amount()));
            self.report([PumpEvent::Running { volume, amount }]);
        }
    }

    fn hang_up(&mut self, fault: Fault) {
        match self.dispenser.hang_up() {
            Some(reading) if self.driver.heard => {
                let seen = self.driver.end_seen(reading);
                self.report([seen]);
                if fault == Fault::ClearsBeforeCommit {
                    self.dispenser.last = None;
                }
            }
            _ => self.report([]),
        }
    }

    fn hear(&mut self) {
        let snapshot = self.driver.snapshot(&self.dispenser);
        self.from_driver.push_back(vec![snapshot]);
        if let Some(authorise) = self.driver.unanswered.take()
            && self.dispenser.state() == PumpState::Calling
        {
            self.release(&authorise);
        }
    }

    fn crash(&mut self, fault: Fault) {
        self.left.crashes -= 1;
        self.commits.clear();
        self.to_driver.clear();
        self.from_driver.clear();
        self.driver = Driver::default();
        if fault == Fault::RetriesBlind
            && let Some(release) = self.books.releases.values().next()
        {
            let (preset, price) = (release.preset, release.price);
            self.driver.unanswered = Some(Authorise { release: release.release, nozzle: NOZZLE, preset, price });
        }
        let ids = UuidMaker::new([self.left.crashes + 1; 32]);
        self.site = Site::new(layout(), self.books.memory(), ids, self.now());
    }

    fn pass(&mut self) {
        if let Some(due) = self.site.poll_timeout() {
            self.mono = self.mono.max(due.as_micros());
            self.site.handle_timeout(self.now());
        }
    }

    /// All that happens by itself, in one order.
    fn drain(&mut self, fault: Fault) {
        let mut actions = Vec::new();
        loop {
            self.inner_actions(&mut actions);
            let Some(action) = actions.first().copied() else { return };
            actions.clear();
            self.take(action, fault);
        }
    }

    /// The faults are over: the line works, the customer hangs up, time passes.
    pub fn healed(&self, fault: Fault) -> Self {
        let mut station = self.clone();
        for _ in 0..12 {
            station.drain(fault);
            if !station.driver.heard {
                station.take(Action::Hear, fault);
            } else if station.dispenser.lifted {
                station.take(Action::HangUp, fault);
            } else if station.site.poll_timeout().is_some() {
                station.left.deadlines = 1;
                station.take(Action::Deadline, fault);
            } else {
                break;
            }
        }
        station
    }

    /// The text by which states are told apart.
    pub fn canonical(&self) -> String {
        canonical::text(self, self.mono, self.now().utc)
    }

    /// Nothing happens by itself any more.
    pub fn is_drained(&self) -> bool {
        self.commits.len() + self.to_driver.len() + self.from_driver.len() == 0
    }

    /// Nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.is_drained() && self.driver.heard && self.dispenser.running.is_none()
    }

    /// Every millilitre and every minor unit of the dispenser is in the books, once, under its order.
    pub fn is_balanced(&self) -> bool {
        let mut sales: Vec<_> = self.books.sales().collect();
        let mut fillings: Vec<_> = self
            .dispenser
            .done
            .iter()
            .filter(|filling| filling.volume > 0)
            .map(|filling| (filling.order.as_ref(), filling.volume, filling.amount()))
            .collect();
        sales.sort_unstable();
        fillings.sort_unstable();
        sales == fillings && self.books.explained() == self.dispenser.totaliser
    }

    /// Every order that was taken has exactly one end, and the books agree with the dispenser.
    pub fn is_closed(&self) -> bool {
        let ended = |order: &forecourt::order::Order| matches!(order.phase, OrderPhase::Ended { .. });
        self.is_quiet()
            && self.books.orders.iter().all(|(id, order)| ended(order) && self.books.ends_of(id) == 1)
            && self.books.releases.is_empty()
            && self.site.orders().next().is_none()
            && self.is_balanced()
    }
}

impl PartialEq for Station {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Hash for Station {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(self.canonical().as_bytes());
    }
}
