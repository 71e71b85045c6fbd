//! One table of every state × event: `data/state_event.txt` says what must come of each. A changed line is a changed behaviour and wants
//! a reason; `UPDATE_TABLE=1 cargo test -p forecourt` writes the file anew.

use crate::model::{Books, layout, now_at, request};
use forecourt::command::{Ask, Command, Nozzles};
use forecourt::ids::{CommandId, FuellingPointId, NozzleId, OrderId, ReleaseId, UuidMaker};
use forecourt::ledger::Write;
use forecourt::order::{Limit, OrderPhase};
use forecourt::pump::{FromPump, PumpCommand, PumpEvent, Reading, Refusal, Snapshot, State, Token};
use forecourt::record::Record;
use forecourt::site::{Output, Site};
use forecourt::units::{Money, UnitPrice, Volume};
use std::fmt::Write as _;

const FP: FuellingPointId = FuellingPointId(1);
const NOZZLE: NozzleId = NozzleId(1);
const START: i64 = 1_000_000;

struct Bench {
    site: Site,
    books: Books,
    mono: u64,
}

impl Bench {
    fn new() -> Self {
        let books = Books::default();
        let site = Site::new(layout(), books.memory(), UuidMaker::new([0; 32]), now_at(0));
        let mut bench = Self { site, books, mono: 0 };
        bench.outputs();
        bench
    }

    fn pump(&mut self, event: PumpEvent) {
        self.site.handle_pump(FromPump { fp: FP, event }, now_at(self.mono));
    }

    fn ask(&mut self, id: &str, ask: Ask) {
        let command = Command { id: CommandId::new(id).unwrap(), kind: "test".into(), ask, overloaded: false };
        self.site.handle_command(command, &self.books, now_at(self.mono));
    }

    /// Everything said, commits included, in order.
    fn outputs(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(output) = self.site.poll_output(now_at(self.mono)) {
            match output {
                Output::Store { ticket, writes } => {
                    said.extend(writes.iter().filter_map(written));
                    self.books.apply(&writes);
                    self.site.handle_stored(ticket, now_at(self.mono));
                }
                Output::Pump { command, .. } => said.push(told(&command)),
                Output::Reply(reply) => said.push(format!("reply {}", reply.outcome.word())),
                Output::Nozzle(_) | Output::Step(_) | Output::Live(_) => {}
            }
        }
        said
    }

    fn state(&mut self, state: State, lifted: bool) {
        self.pump(PumpEvent::State { state, lifted: lifted.then_some(NOZZLE) });
        self.outputs();
    }

    /// Brings the fuelling point into a state as a paid order would.
    fn bring_to(&mut self, state: State) {
        if state == State::Inoperative {
            return;
        }
        self.pump(snapshot(State::Idle, false, 0));
        self.outputs();
        if state == State::Closed {
            self.state(State::Closed, false);
            return;
        }
        let expires = now_at(0).utc.plus_ms(900_000);
        let limit = Limit::Amount(Money::new(20_000));
        self.ask("pay", Ask::Authorise(Box::new(request("o1", 1, limit, expires))));
        self.outputs();
        if state == State::Idle {
            return;
        }
        self.state(State::Calling, true);
        if state == State::Calling {
            return; // the release was sent; the dispenser has not answered yet
        }
        self.pump(PumpEvent::Released { release: ReleaseId(1) });
        self.outputs();
        self.state(
            if state == State::Authorised { State::Authorised } else { State::Started },
            state != State::Authorised,
        );
        match state {
            State::SuspendedStarted => self.state(state, true),
            State::Fuelling | State::SuspendedFuelling => {
                self.state(State::Fuelling, true);
                self.pump(running(3_000));
                self.outputs();
                self.state(state, true);
            }
            _ => {}
        }
    }

    fn order(&self) -> String {
        let id = OrderId::new("o1").unwrap();
        let open = self.site.orders().find(|order| order.request.order_id == id);
        match (open, self.books.orders.get(&id).map(|order| &order.phase)) {
            (Some(order), _) => order.phase.word().into(),
            (None, Some(OrderPhase::Ended { end })) => match end {
                forecourt::order::OrderEnd::Sale { .. } => "sale".into(),
                forecourt::order::OrderEnd::Released { reason, .. } => String::from(reason.clone()),
            },
            (None, _) => "-".into(),
        }
    }
}

fn told(command: &PumpCommand) -> String {
    match command {
        PumpCommand::Authorise(_) => "AUTHORISE".into(),
        PumpCommand::Withdraw => "WITHDRAW".into(),
        PumpCommand::Stop => "STOP".into(),
        PumpCommand::Suspend => "SUSPEND".into(),
        PumpCommand::Resume => "RESUME".into(),
        PumpCommand::Stored(_) => "stored".into(),
        PumpCommand::SetPrices(_) => "PRICES".into(),
        PumpCommand::Examine => "EXAMINE".into(),
    }
}

fn written(write: &Write) -> Option<String> {
    match write {
        Write::Record { record, .. } => Some(match &**record {
            Record::Sale(sale) => format!("sale {} {}", sale.volume.get(), sale.amount.get()),
            Record::Released(released) => format!("release {}", String::from(released.reason.clone())),
            Record::Review(_) => "review".into(),
            Record::Unaccounted(found) => format!("unaccounted {}", found.volume.get()),
            Record::Alarm(alarm) => format!("alarm {}", alarm.alarm),
            Record::PriceApplied(applied) => format!("price {:?}", applied.status),
            Record::Audit(_) => "audit".into(),
        }),
        _ => None,
    }
}

fn reading(ml: i64) -> Reading {
    let amount = UnitPrice::new(7_450_000).cost_of(Volume::new(ml), forecourt::units::Currency::CNY).unwrap();
    Reading { nozzle: Some(NOZZLE), volume: Volume::new(ml), amount, price: Some(UnitPrice::new(7_450_000)) }
}

fn running(ml: i64) -> PumpEvent {
    PumpEvent::Running { volume: Volume::new(ml), amount: reading(ml).amount }
}

fn snapshot(state: State, lifted: bool, moved: i64) -> PumpEvent {
    PumpEvent::Snapshot(Snapshot {
        state,
        lifted: lifted.then_some(NOZZLE),
        reading: Some(reading(moved)),
        totalisers: [(NOZZLE, Volume::new(START + moved))].into(),
        power_cycled: false,
        token: Token(7),
    })
}

fn events() -> Vec<(&'static str, PumpEvent)> {
    let state = |state: State, lifted: bool| PumpEvent::State { state, lifted: lifted.then_some(NOZZLE) };
    let mut unread = snapshot(State::Idle, false, 0);
    if let PumpEvent::Snapshot(snapshot) = &mut unread {
        snapshot.totalisers.clear();
    }
    vec![
        ("snapshot idle, nothing flowed", snapshot(State::Idle, false, 0)),
        ("snapshot idle, 5.000 flowed", snapshot(State::Idle, false, 5_000)),
        ("snapshot idle, no totaliser", unread),
        ("snapshot calling", snapshot(State::Calling, true, 0)),
        ("snapshot fuelling", snapshot(State::Fuelling, true, 3_000)),
        ("lost", PumpEvent::Lost),
        ("closed", state(State::Closed, false)),
        ("idle", state(State::Idle, false)),
        ("calling", state(State::Calling, true)),
        ("authorised", state(State::Authorised, false)),
        ("started", state(State::Started, true)),
        ("suspended started", state(State::SuspendedStarted, true)),
        ("fuelling", state(State::Fuelling, true)),
        ("suspended fuelling", state(State::SuspendedFuelling, true)),
        ("running 4.000", running(4_000)),
        ("released", PumpEvent::Released { release: ReleaseId(1) }),
        ("released, another", PumpEvent::Released { release: ReleaseId(99) }),
        ("refused, not calling", PumpEvent::Refused { release: ReleaseId(1), why: Refusal::NotCalling }),
        ("refused, no effect", PumpEvent::Refused { release: ReleaseId(1), why: Refusal::NoEffect }),
        (
            "refused, price",
            PumpEvent::Refused { release: ReleaseId(1), why: Refusal::PriceMismatch { shown: UnitPrice::new(1) } },
        ),
        ("end seen 5.000", PumpEvent::EndSeen { token: Token(8), reading: reading(5_000) }),
        (
            "ended 5.000",
            PumpEvent::Ended { token: Token(9), reading: reading(5_000), totaliser: Some(Volume::new(START + 5_000)) },
        ),
        ("ended 0", PumpEvent::Ended { token: Token(9), reading: reading(0), totaliser: Some(Volume::new(START)) }),
        ("ended 5.000, no totaliser", PumpEvent::Ended { token: Token(9), reading: reading(5_000), totaliser: None }),
        ("totaliser unchanged", PumpEvent::Totaliser { nozzle: NOZZLE, volume: Volume::new(START) }),
        ("totaliser + 5.000", PumpEvent::Totaliser { nozzle: NOZZLE, volume: Volume::new(START + 5_000) }),
        ("price agreed", PumpEvent::Price { nozzle: NOZZLE, price: UnitPrice::new(7_450_000) }),
        ("price other", PumpEvent::Price { nozzle: NOZZLE, price: UnitPrice::new(7_460_000) }),
        ("alarm", PumpEvent::Alarm { code: 6, text: "pulser".into(), holds: true }),
    ]
}

fn asks() -> Vec<(&'static str, Ask)> {
    let order_id = OrderId::new("o1").unwrap();
    let reason = String::new;
    vec![
        ("ask cancel", Ask::Cancel { order_id: order_id.clone(), reason: reason() }),
        ("ask move", Ask::Move { order_id, to_nozzle: NozzleId(3) }),
        ("ask stop", Ask::Stop { nozzles: Nozzles::One(NOZZLE), reason: reason() }),
        ("ask hold", Ask::Hold { nozzles: Nozzles::One(NOZZLE), reason: reason() }),
    ]
}

#[test]
fn every_state_and_event_do_what_the_table_says() {
    let mut table = String::from("# state before | event | state after | order | said, in order\n");
    let mut row = |before: State, event: &str, act: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new();
        bench.bring_to(before);
        act(&mut bench);
        let said = bench.outputs().join(", ");
        let after = bench.site.fuelling_point(FP).unwrap().state().word();
        writeln!(table, "{} | {event} | {after} | {} | {said}", before.word(), bench.order()).unwrap();
    };
    for before in State::ALL {
        for (name, event) in events() {
            row(before, name, &|bench| bench.pump(event.clone()));
        }
        for (name, ask) in asks() {
            row(before, name, &|bench| bench.ask("ask", ask.clone()));
        }
        for seconds in [59, 60, 120, 600] {
            row(before, &format!("{seconds} s pass"), &|bench| {
                let end = seconds * 1_000_000;
                while let Some(due) = bench.site.poll_timeout().filter(|due| due.as_micros() <= end) {
                    bench.mono = due.as_micros();
                    bench.site.handle_timeout(now_at(bench.mono));
                }
                bench.mono = end;
            });
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state_event.txt");
    if std::env::var_os("UPDATE_TABLE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let stated = std::fs::read_to_string(path).expect("the table stands beside the tests");
    for (now, then) in table.lines().zip(stated.lines()) {
        assert_eq!(now, then, "behaviour differs from tests/data/state_event.txt");
    }
    assert_eq!(table.lines().count(), stated.lines().count());
}

#[test]
fn a_later_fuelling_at_the_head_does_not_replace_the_one_that_ended() {
    let later = Reading {
        volume: Volume::new(2_000),
        amount: Money::new(1_592),
        price: Some(UnitPrice::new(7_960_000)),
        ..reading(0)
    };
    for totaliser in [Some(Volume::new(START + 5_000)), None] {
        let mut bench = Bench::new();
        bench.bring_to(State::Fuelling);
        bench.pump(PumpEvent::EndSeen { token: Token(8), reading: reading(5_000) });
        bench.outputs();
        bench.pump(PumpEvent::Ended { token: Token(9), reading: later, totaliser });
        assert_eq!(bench.outputs(), ["sale 5000 3725", "stored"], "{totaliser:?}");
    }
}
