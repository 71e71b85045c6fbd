//! A two-wire loop that another controller drives: the worked exchanges of the sheet, section 15, replayed as heard.

mod common;

use common::hearing::Hearing;
use common::{hex, order};
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId, ReleaseId};
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Refusal, State};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::decimals::Decimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::{Verdict, Watch as _};
use pump_drivers::two_wire::block::Level;
use pump_drivers::two_wire::{PollWatch, TwoWireEar, alarm, line_settings};

const FP: FuellingPointId = FuellingPointId(7);
const NOZZLE: NozzleId = NozzleId(71);

struct Ear(Hearing);

impl Deref for Ear {
    type Target = Hearing;

    fn deref(&self) -> &Hearing {
        &self.0
    }
}

impl DerefMut for Ear {
    fn deref_mut(&mut self) -> &mut Hearing {
        &mut self.0
    }
}

fn head(nozzles: u8) -> HeadSettings {
    let eur = Currency::from_code("EUR").expect("known");
    let decimals = Decimals { volume: 3, price: 3, amount: 2, totals: 2 };
    (1..=nozzles).fold(HeadSettings::new(FP, 7, decimals, eur), |head, logical| {
        head.with_nozzle(logical, NozzleId(70 + u16::from(logical)), UnitPrice::new(1_050_000))
    })
}

impl Ear {
    fn of(head: HeadSettings) -> Self {
        let settings = line_settings();
        let ear = TwoWireEar::new(&settings, vec![(head, Level::One)]);
        Self(Hearing::new(settings, Box::new(ear)))
    }

    /// Words of either side in the order of the loop, 10 ms before each piece.
    fn hear(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.bytes(&hex(piece));
        }
    }

    /// The other controller polls the state so often, about every 200 ms.
    fn polls(&mut self, answer: &str, times: u32) {
        for _ in 0..times {
            self.hear(&["07", answer]);
            self.wait(Duration::from_millis(180));
        }
    }

    /// The pump is heard at rest, its totals twice.
    fn begun() -> Self {
        let mut ear = Self::of(head(1));
        ear.polls("67", 2);
        ear.hear(&["57", TOTALS_BEFORE]);
        ear.hear(&["57", TOTALS_BEFORE]);
        ear.polls("67", 15);
        ear
    }

    /// Handle out, authorised, busy.
    fn busy(&mut self) {
        self.polls("77", 2);
        self.hear(&["17"]);
        self.polls("87", 2);
        self.polls("97", 3);
    }
}

const TOTALS_BEFORE: &str =
    "FF F6 E0 F9 E7 E5 E2 E1 E5 E1 E2 E0 FA E2 E1 E7 E0 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0";
const RECORD_A: &str =
    "FF F1 F8 EB E6 E0 E0 E0 F6 E0 F4 F7 E0 E5 E0 E1 F9 E0 E4 E3 E2 E1 E0 FA E6 E9 E2 E1 E0 E0 FB E6 F0";
const TOTALS_A: &str =
    "FF F6 E0 F9 E1 E9 E4 E2 E5 E1 E2 E0 FA E8 E0 E0 E2 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E2 F0";
const RECORD_B: &str =
    "FF F1 F8 EB E6 E0 E0 E0 F6 E0 F4 F7 E0 E5 E0 E1 F9 E4 E2 E5 E9 E0 E0 FA E0 E0 E0 E1 E0 E0 FB ED F0";
const TOTALS_B: &str =
    "FF F6 E0 F9 E3 E4 E4 E3 E5 E1 E2 E0 FA E8 E0 E0 E3 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0";
const RECORD_ZERO: &str =
    "FF F1 F8 EB E6 E0 E0 E0 F6 E0 F4 F7 E0 E5 E0 E1 F9 E0 E0 E0 E0 E0 E0 FA E0 E0 E0 E0 E0 E0 FB E2 F0";
const MONEY: &str = "E8 E4 E6 E0 E0 E0";
const SALE_A: (Option<NozzleId>, Volume, Money, Option<Volume>) =
    (Some(NOZZLE), Volume::new(12_340), Money::new(1_296), Some(Volume::new(21_524_910)));

#[test]
fn exchange_a_as_heard_is_read_in_followed_and_ended_once_with_its_total() {
    let mut ear = Ear::begun();
    let snapshot = &ear.snapshots()[0];
    assert_eq!((snapshot.state, snapshot.lifted), (State::Idle, None));
    assert_eq!(snapshot.totalisers.get(&NOZZLE), Some(&Volume::new(21_512_570)));
    assert!(ear.has(&PumpEvent::Price { nozzle: NOZZLE, price: UnitPrice::new(1_050_000) }));
    ear.polls("77", 2);
    ear.hear(&["27", "D7", "FF E9 FE E0 E1 E0 FB EE F0"]);
    ear.hear(&["BA B0 B3 B7 B0 B1 B0 B0 B0 B0 B1 B1 B1 B1 B1 B5 C1 8D 8A"]);
    ear.hear(&["27", "D7", "FF E5 F4 F6 E0 F7 E0 E5 E0 E1 FB EA F0", "07", "77", "17"]);
    ear.polls("87", 2);
    ear.polls("97", 2);
    ear.hear(&["67", MONEY, "07", "97", "67", MONEY]);
    ear.polls("97", 1);
    for state in [State::Calling, State::Started, State::Fuelling] {
        assert!(ear.has(&PumpEvent::State { state, lifted: Some(NOZZLE) }), "{state:?}: {:#?}", ear.events());
    }
    assert!(ear.has(&PumpEvent::RunningAmount { amount: Money::new(648) }));
    // the record is asked for after the first word of the end
    ear.hear(&["07", "B7", "47", RECORD_A]);
    assert_eq!(ear.ends(), []);
    ear.hear(&["57", TOTALS_A]);
    ear.polls("67", 40);
    assert_eq!(ear.ends(), [SALE_A]);
    assert_eq!(ear.snapshots().len(), 1);
    assert_eq!(ear.events().last(), Some(&PumpEvent::State { state: State::Idle, lifted: None }));
    assert!(!ear.events().iter().any(|event| matches!(event, PumpEvent::Alarm { .. } | PumpEvent::Lost)));
}

#[test]
fn every_word_is_traced_with_its_side() {
    let mut ear = Ear::begun();
    ear.busy();
    ear.hear(&["67", MONEY, "07", "67", "47", RECORD_A, "97"]);
    let of = |text: &str| {
        let heard = ear.trace.iter().filter(|(_, bytes)| *bytes == hex(text));
        heard.map(|(verdict, _)| verdict.clone()).collect::<Vec<_>>()
    };
    for controllers in ["07", "17", "57", "47"] {
        assert!(of(controllers).iter().all(|verdict| *verdict == Verdict::Overheard), "{controllers}");
    }
    for pumps in ["77", "87", MONEY, RECORD_A, TOTALS_BEFORE] {
        assert!(of(pumps).iter().all(|verdict| *verdict == Verdict::Good), "{pumps}");
    }
    // 67 asks for money, and says idle
    assert!(of("67").contains(&Verdict::Overheard) && of("67").contains(&Verdict::Good));
    assert_eq!(of("97").last(), Some(&Verdict::Unasked), "nobody asked");
}

#[test]
fn exchange_b_a_limit_reached_ends_only_when_the_handle_is_in() {
    let mut ear = Ear::begun();
    ear.polls("77", 2);
    ear.hear(&["27", "D7", "FF E5 F2 F8 E0 E0 E0 E1 E0 E0 FB E6 F0", "07", "77", "17"]);
    ear.polls("97", 4);
    ear.hear(&["67", "E4 E1 E2 E0 E0 E0"]);
    ear.polls("A7", 3);
    ear.hear(&["47", RECORD_B, "57", TOTALS_B]);
    ear.polls("A7", 30);
    assert_eq!(ear.ends(), [], "it may yet change");
    ear.polls("B7", 1);
    ear.polls("67", 3);
    let sale = (Some(NOZZLE), Volume::new(9_524), Money::new(1_000), Some(Volume::new(21_534_430)));
    // the totals before were those of before exchange A, so they do not bear the record out; nothing else was heard of this sale
    assert_eq!(ear.ends(), []);
    ear.hear(&["57", TOTALS_B]);
    ear.polls("67", 40);
    assert_eq!(ear.ends(), [], "money was heard once only: the books decide whose record it is");
    let snapshot = &ear.snapshots()[1];
    assert_eq!(snapshot.reading.map(|reading| reading.volume), Some(sale.1));
    assert_eq!(snapshot.totalisers.get(&NOZZLE), sale.3.as_ref());
}

#[test]
fn exchange_b_after_a_is_ended_with_its_own_figures() {
    let mut ear = Ear::begun();
    ear.busy();
    ear.polls("67", 2);
    ear.hear(&["47", RECORD_A, "57", TOTALS_A]);
    ear.polls("67", 2);
    ear.busy();
    ear.polls("A7", 2);
    ear.hear(&["47", RECORD_B, "57", TOTALS_B]);
    ear.polls("67", 3);
    let sale = (Some(NOZZLE), Volume::new(9_524), Money::new(1_000), Some(Volume::new(21_534_430)));
    assert_eq!(ear.ends(), [SALE_A, sale]);
}

#[test]
fn exchange_c_an_unused_release_ends_nothing_whatever_the_record_still_shows() {
    for record in [RECORD_ZERO, RECORD_A] {
        let mut ear = Ear::of(head(1));
        ear.polls("67", 2);
        ear.hear(&["47", RECORD_A, "57", TOTALS_A, "57", TOTALS_A]);
        ear.polls("67", 15);
        ear.busy();
        ear.polls("67", 2);
        ear.hear(&["47", record, "57", TOTALS_A]);
        ear.polls("67", 40);
        assert_eq!(ear.ends(), [], "{record}");
        assert_eq!(ear.snapshots().len(), 1);
        assert_eq!(ear.events().last(), Some(&PumpEvent::State { state: State::Idle, lifted: None }));
    }
}

#[test]
fn exchange_d_a_sale_found_open_is_adopted_and_left_to_the_books() {
    let mut ear = Ear::of(head(1));
    ear.polls("97", 3);
    assert_eq!(ear.snapshots()[0].state, State::Started);
    ear.polls("67", 2);
    ear.hear(&["47", RECORD_A, "57", TOTALS_A, "57", TOTALS_A]);
    ear.polls("67", 40);
    // no money was heard to run: the record may be that of the sale before
    assert_eq!(ear.ends(), []);
    let snapshot = &ear.snapshots()[1];
    assert_eq!(
        (snapshot.reading.map(|r| r.volume), snapshot.totalisers.get(&NOZZLE)),
        (Some(SALE_A.1), SALE_A.3.as_ref())
    );

    let mut ear = Ear::of(head(1));
    ear.polls("97", 3);
    ear.hear(&["67", MONEY, "07", "97", "67", MONEY]);
    ear.polls("97", 1);
    ear.polls("67", 2);
    ear.hear(&["47", RECORD_A]);
    ear.polls("67", 40);
    assert_eq!(ear.ends(), [(SALE_A.0, SALE_A.1, SALE_A.2, None)], "money ran: the record is new");
}

#[test]
fn an_end_without_its_record_is_left_to_the_totaliser() {
    let mut ear = Ear::begun();
    ear.busy();
    ear.polls("67", 2);
    ear.hear(&["57", TOTALS_A, "57", TOTALS_A]);
    ear.polls("67", 40);
    assert_eq!(ear.ends(), []);
    assert_eq!(ear.snapshots()[1].totalisers.get(&NOZZLE), SALE_A.3.as_ref());
}

#[test]
fn totals_count_when_they_are_heard_twice_or_fit_the_record() {
    let mut spoilt = hex(TOTALS_A);
    // two digits changed so that the check of four bits still fits
    (spoilt[4], spoilt[5]) = (spoilt[4] + 1, spoilt[5] - 1);
    let mut ear = Ear::begun();
    ear.bytes(&hex("57"));
    ear.bytes(&spoilt);
    ear.polls("67", 5);
    let known = |ear: &Ear| ear.events().iter().filter(|event| matches!(event, PumpEvent::Totaliser { .. })).count();
    let before = known(&ear);
    ear.hear(&["57", TOTALS_A]);
    assert_eq!(known(&ear), before, "two readings that differ");
    ear.hear(&["57", TOTALS_A]);
    assert_eq!(known(&ear), before + 1);
    assert!(ear.has(&PumpEvent::Totaliser { nozzle: NOZZLE, volume: Volume::new(21_524_910) }));
}

#[test]
fn a_state_counts_when_it_is_heard_twice_in_a_row() {
    let mut ear = Ear::begun();
    let before = ear.told.len();
    for odd in ["97", "77", "87"] {
        ear.polls(odd, 1);
        ear.polls("67", 2);
    }
    assert_eq!(ear.told.len(), before, "{:#?}", &ear.told[before..]);
}

#[test]
fn words_of_the_controller_are_never_taken_for_news_of_the_pump() {
    let mut ear = Ear::begun();
    ear.polls("77", 2);
    let before = ear.told.len();
    // a dead pump is asked for everything; 67 is a question, and the loop says each word once
    for _ in 0..10 {
        for question in ["07", "67", "47", "57", "27", "37", "FC"] {
            ear.wait(Duration::from_millis(200));
            ear.hear(&[question]);
        }
    }
    let news: Vec<_> = ear.told[before..].iter().filter(|(_, event)| *event != PumpEvent::Lost).collect();
    assert!(news.is_empty(), "{news:#?}");
}

#[test]
fn the_hose_is_known_from_the_extended_status_or_the_preset() {
    let mut ear = Ear::of(head(3));
    ear.polls("67", 15);
    ear.polls("77", 2);
    assert_eq!(ear.events().last(), Some(&PumpEvent::State { state: State::Calling, lifted: None }));
    ear.hear(&["27", "D7", "FF E9 FE E0 E1 E0 FB EE F0"]);
    // hose 1 of pump 7 (two-wire sheet, section 15 A)
    ear.hear(&["BA B0 B3 B7 B0 B1 B0 B0 B0 B0 B1 B1 B1 B1 B1 B5 C1 8D 8A"]);
    assert_eq!(ear.events().last(), Some(&PumpEvent::State { state: State::Calling, lifted: Some(NozzleId(71)) }));
    ear.polls("67", 2);
    ear.polls("77", 2);
    // level 1, grade index 2, 10.00
    ear.hear(&["27", "D7", "FF E2 F2 F4 F6 E2 F8 E0 E0 E0 E1 E0 E0 FB ED F0"]);
    ear.polls("77", 1);
    assert_eq!(ear.events().last(), Some(&PumpEvent::State { state: State::Calling, lifted: Some(NozzleId(73)) }));
}

#[test]
fn silence_is_told_and_the_pump_is_read_in_anew() {
    let mut ear = Ear::begun();
    ear.busy();
    ear.wait(Duration::from_secs(30));
    assert_eq!(ear.events().iter().filter(|event| **event == PumpEvent::Lost).count(), 1);
    ear.polls("67", 2);
    ear.hear(&["47", RECORD_A, "57", TOTALS_A, "57", TOTALS_A]);
    ear.polls("67", 15);
    assert_eq!(ear.ends(), []);
    let snapshot = &ear.snapshots()[1];
    assert_eq!((snapshot.state, snapshot.totalisers.get(&NOZZLE)), (State::Idle, SALE_A.3.as_ref()));
    assert_eq!(snapshot.reading.map(|reading| reading.volume), Some(SALE_A.1));
}

#[test]
fn wrong_decimals_are_said_and_every_word_of_the_core_is_refused() {
    let mut head = head(1);
    head.decimals.volume = 2;
    let mut ear = Ear::of(head);
    ear.polls("67", 2);
    ear.hear(&["47", RECORD_A, "47", RECORD_A]);
    assert!(ear.events().iter().any(|event| matches!(event, PumpEvent::Alarm { code: alarm::DECIMALS, .. })));
    ear.command(FP, &order(7, Preset::Amount(Money::new(1_000))));
    ear.command(FP, &PumpCommand::Stop);
    ear.polls("67", 1);
    let refused = |event: &PumpEvent| matches!(event, PumpEvent::Refused { release: ReleaseId(7), why: Refusal::Faulty(why) } if why.contains("only listens"));
    assert!(ear.events().iter().any(refused));
    let able = ear.line.capabilities().next().expect("one").1;
    assert!(!able.takes_releases() && !able.stop && !able.live_volume);
}

#[test]
fn a_poll_that_goes_out_behind_a_block_is_ours_when_both_come_back_together() {
    let mut watch = PollWatch::default();
    let preset = hex("FF E5 F2 F8 E0 E0 E0 E1 E0 E0 FB E6 F0");
    for _ in 0..10 {
        watch.sent(&hex("27"));
        let mut heard = watch.hear(&hex("27 D7"));
        watch.sent(&preset);
        watch.sent(&hex("07"));
        heard.extend(watch.hear(&preset));
        heard.extend(watch.hear(&hex("07 77")));
        assert_eq!(heard.iter().filter(|(_, foreign)| *foreign).count(), 0, "{heard:02X?}");
    }
    // nothing comes back any more, and then another asks
    for _ in 0..1_000 {
        watch.sent(&hex("07"));
    }
    let heard: Vec<_> = (0..3).flat_map(|_| watch.hear(&hex("05 65"))).collect();
    assert!(heard.iter().any(|(_, foreign)| *foreign), "{heard:02X?}");
}
