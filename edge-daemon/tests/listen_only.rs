//! From the configuration of a line that another controller drives to the books: what is heard of its talk becomes a sale.

use cloud_sync::wire::state::{Mode, OutboxView};
use edge_daemon::config::{NoFiles, parse};
use edge_daemon::daemon::views::{self, Facts};
use edge_daemon::daemon::wiring;
use forecourt::command::{Ask, Command, Outcome, Reply};
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, Grade, NozzleId, OrderId, UuidMaker};
use forecourt::ledger::{EndedOrder, Ledger, Memory, Write};
use forecourt::order::{Basis, Limit, OrderRequest};
use forecourt::pump::PumpCommand;
use forecourt::record::{Evidence, Record, Sale};
use forecourt::site::{Output, Site};
use forecourt::time::{ClockQuality, Instant, Now, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::dart::frame::encode_block;
use pump_drivers::hex::bytes_of;
use pump_drivers::listen::Listener;
use std::collections::BTreeMap;
use std::time::Duration;

const CONFIG: &str = r#"[station]
id = "st-0001"
currency = "UZS"
data-directory = "/nowhere"
price-set = "PS-0001"

[[grade]]
code = "92"
unit-price-micros = 10500000000

[[line]]
name = "island-1"
protocol = "dart"
mode = "listen-only"
port = "/dev/serial/by-id/usb-x"

[[line.dispenser]]
fuelling-point = 8
address = 0x57
decimals = { volume = 2, price = 0, amount = 0, totals = 2 }

[[line.dispenser.nozzle]]
number = 81
logical = 1
grade = "92"
"#;

/// A store that knows nothing of before.
struct Empty;

impl Ledger for Empty {
    fn reply_to(&self, _: &CommandId) -> Option<Reply> {
        None
    }

    fn ended_order(&self, _: &OrderId) -> Option<EndedOrder> {
        None
    }
}

struct Station {
    site: Site,
    listener: Listener,
    now: Now,
    records: Vec<Record>,
    replies: Vec<Outcome>,
}

impl Station {
    fn start(config: &str) -> Self {
        let (config, _) = parse(config, &NoFiles).expect("a good configuration");
        let wired = wiring::lines(&config).expect("nothing is wrong");
        assert_eq!(wired.len(), 0, "no line is driven");
        let layout = wiring::layout(&config, &wired);
        let utc = UtcTime::from_unix_ms(1_795_250_000_000);
        let now = Now { mono: Instant::START, utc, clock: ClockQuality::Synced };
        let listener = wiring::listeners(&config).pop().expect("one line is listened to").listener;
        let site = Site::new(layout, Memory::default(), UuidMaker::new([1; 32]), now);
        let mut station = Self { site, listener, now, records: vec![], replies: vec![] };
        station.listener.handle_link(true, now.mono);
        station.settle();
        station
    }

    /// A frame on the wire, of whomever; blocks get their checksum.
    fn hear(&mut self, frame: &str) {
        let bytes = bytes_of(frame).expect("hex");
        let bytes =
            if bytes.len() == 3 { bytes } else { encode_block(bytes[0], bytes[1] & 0x0F, &bytes[2..]).expect("short") };
        self.now.mono = self.now.mono + Duration::from_millis(40);
        self.listener.handle_bytes(&bytes, self.now.mono);
        self.settle();
    }

    /// Words of a two-wire loop, of either side.
    fn words(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.now.mono = self.now.mono + Duration::from_millis(60);
            self.listener.handle_bytes(&bytes_of(piece).expect("hex"), self.now.mono);
            self.settle();
        }
    }

    /// The other controller polls, the pump says this, and it is acknowledged.
    fn news(&mut self, block: &str) {
        self.hear("57 20 FA");
        self.hear(block);
        self.hear(&format!("57 C{} FA", &block[4..5]));
    }

    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            while let Some(from) = self.listener.poll_event() {
                moved = true;
                self.site.handle_pump(from, self.now);
            }
            while let Some(output) = self.site.poll_output(self.now) {
                moved = true;
                match output {
                    Output::Store { ticket, writes } => {
                        let records = writes.into_iter().filter_map(|write| match write {
                            Write::Record { record, .. } => Some(*record),
                            _ => None,
                        });
                        self.records.extend(records);
                        self.site.handle_stored(ticket, self.now);
                    }
                    Output::Pump { fp, command } => {
                        assert!(matches!(command, PumpCommand::Stored(_)), "{command:?}");
                        self.listener.handle_command(fp, &command, self.now.mono);
                    }
                    Output::Reply(reply) => self.replies.push(reply.outcome),
                    _ => {}
                }
            }
        }
    }

    fn sales(&self) -> Vec<&Sale> {
        let sale = |record: &'_ Record| matches!(record, Record::Sale(_));
        let sales = self.records.iter().filter(|record| sale(record));
        sales.filter_map(|record| if let Record::Sale(sale) = record { Some(&**sale) } else { None }).collect()
    }
}

#[test]
fn a_sale_between_two_others_is_booked_as_it_was_heard_and_an_order_is_refused() {
    let mut station = Station::start(CONFIG);
    station.hear("57 30 01 01 00 01 01 04");
    station.hear("57 C0 FA");
    station.news("57 37 01 01 05 03 04 01 05 00 01 02 08 00 00 00 00 00 00 00 00");
    station.hear("57 31 65 01 01");
    station.hear("57 C1 FA");
    station.news("57 31 65 10 01 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00");

    let request = OrderRequest {
        order_id: OrderId::new("o-1").expect("good"),
        nozzle: NozzleId(81),
        grade: Grade::new("92").expect("good"),
        limit: Limit::Amount(Money::new(5_000_000)),
        currency: Currency::from_code("UZS").expect("known"),
        unit_price: UnitPrice::new(10_500_000_000),
        expires_at: station.now.utc.plus_ms(600_000),
        lift_timeout_s: None,
        basis: Basis::Prepaid,
        code: None,
        customer: None,
        plate_masked: None,
        context: "{}".into(),
        content_hash: "1".into(),
    };
    let ask = Ask::Authorise(Box::new(request));
    let id = CommandId::new("c-1").expect("good");
    station.site.handle_command(Command { id, kind: "test".into(), ask, overloaded: false }, &Empty, station.now);
    station.settle();
    assert_eq!(station.replies, [Outcome::NozzleUnavailable { holds: vec![Hold::ListenOnly] }]);

    // DART sheet, section 12, exchange A
    station.news("57 32 03 04 01 05 00 11");
    station.hear("57 32 02 01 01 05 06 01 05 00 01 24 00 01 01 05");
    station.hear("57 C2 FA");
    station.news("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 03 04 01 05 00 11");
    station.hear("57 33 03 04 00 09 99 00 01 01 06");
    station.hear("57 C3 FA");
    station.news("57 34 01 01 02 03 04 01 05 00 11");
    station.news("57 35 01 01 04");
    station.news("57 36 02 08 00 00 02 00 00 02 10 00");
    station.news("57 37 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05");
    station.hear("57 34 01 01 04");
    station.hear("57 C4 FA");
    station.news("57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01");
    station.hear("57 35 65 01 01");
    station.hear("57 C5 FA");
    station.news("57 39 65 10 01 00 00 28 17 41 00 00 28 17 41 00 00 00 00 00");

    let sales = station.sales();
    let [sale] = sales.as_slice() else { panic!("{sales:#?}") };
    assert_eq!((sale.volume, sale.amount), (Volume::new(4_920), Money::new(5_166_000)));
    assert_eq!((sale.basis, sale.evidence, sale.unaccounted), (Basis::Manual, Evidence::EndRecord, Volume::ZERO));
    assert_eq!((sale.order_id.clone(), sale.nozzle), (None, NozzleId(81)));
    assert_eq!(sale.totaliser_start, Some(Volume::new(2_812_490)));
    assert_eq!(sale.totaliser_end, Some(Volume::new(2_817_410)));
    assert!(!station.records.iter().any(|record| matches!(record, Record::Unaccounted(_))));
}

#[test]
fn a_station_that_only_listens_says_so_as_its_mode() {
    let station = Station::start(CONFIG);
    let facts = Facts {
        boot: UuidMaker::new([2; 32]).make(station.now.utc),
        since: station.now.utc,
        stopping: false,
        outbox: OutboxView { pending: 0, oldest_at: None, set_aside: 0 },
        disk_free_mb: 900,
        last_sales: BTreeMap::new(),
    };
    assert_eq!(views::station(&station.site, &facts, &station.now).mode, Mode::ListenOnly);
}

/// Pump 7 of the worked exchanges (two-wire sheet, section 15).
fn two_wire() -> String {
    CONFIG
        .replace("protocol = \"dart\"", "protocol = \"two-wire\"")
        .replace("address = 0x57", "address = 7")
        .replace("volume = 2, price = 0, amount = 0, totals = 2", "volume = 3, price = 3, amount = 2, totals = 2")
        .replace("10500000000", "1050000")
}

#[test]
fn a_sale_on_a_two_wire_loop_is_booked_as_it_was_heard() {
    const BEFORE: &str =
        "FF F6 E0 F9 E7 E5 E2 E1 E5 E1 E2 E0 FA E2 E1 E7 E0 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0";
    const AFTER: &str =
        "FF F6 E0 F9 E1 E9 E4 E2 E5 E1 E2 E0 FA E8 E0 E0 E2 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E2 F0";
    const RECORD: &str =
        "FF F1 F8 EB E6 E0 E0 E0 F6 E0 F4 F7 E0 E5 E0 E1 F9 E0 E4 E3 E2 E1 E0 FA E6 E9 E2 E1 E0 E0 FB E6 F0";
    let mut station = Station::start(&two_wire());
    station.words(&["07", "67", "07", "67", "57", BEFORE, "57", BEFORE]);
    for _ in 0..30 {
        station.words(&["07", "67"]);
    }
    station.words(&["07", "77", "07", "77", "17", "07", "97", "07", "97", "67", "E8 E4 E6 E0 E0 E0", "07", "97"]);
    station.words(&["07", "B7", "07", "67", "47", RECORD, "57", AFTER, "07", "67", "07", "67", "07", "67"]);
    let sales = station.sales();
    let [sale] = sales.as_slice() else { panic!("{sales:#?}") };
    assert_eq!((sale.volume, sale.amount), (Volume::new(12_340), Money::new(1_296)));
    assert_eq!((sale.basis, sale.evidence, sale.unaccounted), (Basis::Manual, Evidence::EndRecord, Volume::ZERO));
    assert_eq!((sale.order_id.clone(), sale.nozzle), (None, NozzleId(81)));
    assert_eq!(sale.totaliser_start, Some(Volume::new(21_512_570)));
    assert_eq!(sale.totaliser_end, Some(Volume::new(21_524_910)));

    // fuel that no sale explains
    const LATER: &str =
        "FF F6 E0 F9 E3 E4 E4 E3 E5 E1 E2 E0 FA E8 E0 E0 E3 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0";
    station.words(&["57", LATER, "57", LATER, "07", "67"]);
    let unaccounted: Vec<Volume> = station
        .records
        .iter()
        .filter_map(|record| if let Record::Unaccounted(found) = record { Some(found.volume) } else { None })
        .collect();
    assert_eq!(unaccounted, [Volume::new(9_520)]);
}
