//! A DART line that another controller drives: the worked exchanges of the sheet, section 12, replayed as heard.

mod common;

use common::hearing::Hearing;
use common::{FP, NOZZLE, head, head_at, hex, order, price};
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId, ReleaseId};
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Refusal, State};
use forecourt::units::{Money, Volume};
use pump_drivers::dart::DartEar;
use pump_drivers::dart::frame::encode_block;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::{LineSettings, Verdict};

const POLL: &str = "57 20 FA";
const EOT: &str = "57 70 FA";

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

impl Ear {
    fn of(heads: Vec<HeadSettings>) -> Self {
        let settings = LineSettings::default();
        Self(Hearing::new(settings, Box::new(DartEar::new(settings, heads))))
    }

    fn new() -> Self {
        Self::of(vec![head()])
    }

    fn say(&mut self, frame: &str) {
        let bytes = match frame.strip_suffix(" CRC") {
            Some(text) => {
                let plain = hex(text);
                encode_block(plain[0], plain[1] & 0x0F, &plain[2..]).expect("short")
            }
            None => hex(frame),
        };
        self.bytes(&bytes);
    }

    /// The other controller polls and the pump answers with this block, which is acknowledged.
    fn news(&mut self, block: &str) {
        self.say(POLL);
        self.say(block);
        self.say(&format!("57 C{} FA", &block[4..5]));
    }

    /// The other controller says this block and the pump acknowledges it.
    fn order(&mut self, block: &str) {
        self.say(block);
        self.say(&format!("57 C{} FA", &block[4..5]));
    }

    /// Polls without news.
    fn idle(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.say(POLL);
            self.say(EOT);
            self.wait(Duration::from_millis(100));
        }
    }
}

const IDLE: &str = "57 37 01 01 05 03 04 01 05 00 01 02 08 00 00 00 00 00 00 00 00 CRC";
const TOTAL: &str = "57 31 65 10 01 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00 D5 3E 03 FA";

/// The other controller starts: it reads status and totals.
fn begun() -> Ear {
    let mut ear = Ear::new();
    ear.order("57 30 01 01 00 01 01 04 19 5B 03 FA");
    ear.news(IDLE);
    ear.order("57 31 65 01 01 AB 7F 03 FA");
    ear.news(TOTAL);
    ear
}

/// Exchange A up to the fuel that flows.
fn exchange_a(ear: &mut Ear) {
    ear.news("57 32 03 04 01 05 00 11 77 1B 03 FA");
    ear.order("57 32 02 01 01 05 06 01 05 00 01 24 00 01 01 05 ED 62 03 FA");
    ear.news("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 03 04 01 05 00 11 2C 61 03 FA");
    ear.order("57 33 03 04 00 09 99 00 01 01 06 32 51 03 FA");
    ear.news("57 34 01 01 02 03 04 01 05 00 11 95 C1 03 FA");
    ear.news("57 35 01 01 04 2B 93 03 FA");
    ear.news("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA");
}

const END_A: &str = "57 37 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05 67 E9 03 FA";
const ASK_FIGURES: &str = "57 34 01 01 04 2A 6F 03 FA";
const FIGURES_A: &str = "57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 42 05 03 FA";
const ASK_TOTAL: &str = "57 35 65 01 01 AA 4F 03 FA";
const TOTAL_A: &str = "57 39 65 10 01 00 00 28 17 41 00 00 28 17 41 00 00 00 00 00 45 7B 03 FA";
const SALE_A: (Option<NozzleId>, Volume, Money, Option<Volume>) =
    (Some(NOZZLE), Volume::new(4_920), Money::new(5_166_000), Some(Volume::new(2_817_410)));

#[test]
fn exchange_a_as_heard_is_read_in_followed_and_ended_once_with_its_total() {
    let mut ear = begun();
    let snapshot = &ear.snapshots()[0];
    assert_eq!((snapshot.state, snapshot.lifted), (State::Idle, None));
    assert_eq!(snapshot.totalisers.get(&NOZZLE), Some(&Volume::new(2_812_490)));
    exchange_a(&mut ear);
    for (state, lifted) in
        [(State::Calling, Some(NOZZLE)), (State::Started, Some(NOZZLE)), (State::Fuelling, Some(NOZZLE))]
    {
        assert!(ear.has(&PumpEvent::State { state, lifted }), "{state:?}: {:#?}", ear.events());
    }
    assert!(ear.has(&PumpEvent::Running { volume: Volume::new(2_000), amount: Money::new(2_100_000) }));
    ear.news(END_A);
    ear.order(ASK_FIGURES);
    ear.news(FIGURES_A);
    assert_eq!(ear.ends(), []);
    ear.order(ASK_TOTAL);
    ear.news(TOTAL_A);
    ear.idle(Duration::from_secs(10));
    assert_eq!(ear.ends(), [SALE_A]);
    assert_eq!(ear.snapshots().len(), 1);
    assert!(ear.has(&PumpEvent::State { state: State::Idle, lifted: None }));
    assert!(!ear.has(&PumpEvent::Lost));
    assert!(!ear.events().iter().any(|event| matches!(event, PumpEvent::Alarm { .. })));
}

#[test]
fn every_frame_is_traced_with_its_side() {
    let mut ear = begun();
    exchange_a(&mut ear);
    ear.news(END_A);
    let of = |text: &str| ear.trace.iter().find(|(_, bytes)| *bytes == hex(text)).map(|(verdict, _)| verdict.clone());
    for controllers in [POLL, "57 33 03 04 00 09 99 00 01 01 06 32 51 03 FA", "57 31 65 01 01 AB 7F 03 FA"] {
        assert_eq!(of(controllers), Some(Verdict::Overheard), "{controllers}");
    }
    for pumps in [END_A, TOTAL, "57 35 01 01 04 2B 93 03 FA"] {
        assert_eq!(of(pumps), Some(Verdict::Good), "{pumps}");
    }
    let acks: Vec<_> = ear.trace.iter().filter(|(_, bytes)| bytes[1] >> 4 == 0xC).map(|(verdict, _)| verdict).collect();
    assert_eq!(
        acks.iter().filter(|verdict| ***verdict == Verdict::Good).count(),
        4,
        "one for each block of the controller"
    );
    assert!(!ear.trace.iter().any(|(verdict, _)| *verdict == Verdict::Sent));
}

#[test]
fn exchange_b_a_limit_reached_ends_only_when_the_nozzle_is_in() {
    let mut ear = begun();
    ear.news("57 3A 03 04 01 05 00 11 FE DB 03 FA");
    ear.order("57 36 01 01 05 02 01 01 05 06 01 05 00 01 24 00 04 04 00 05 00 00 01 01 06 9E 79 03 FA");
    ear.news("57 3B 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 40 CB 03 FA");
    ear.news("57 3C 01 01 04 02 08 00 00 01 00 00 01 05 00 54 3B 03 FA");
    ear.news("57 3D 02 08 00 00 04 76 00 05 00 00 01 01 06 A8 97 03 FA");
    ear.idle(Duration::from_secs(5));
    assert!(!ear.events().iter().any(|event| matches!(event, PumpEvent::EndSeen { .. })));
    ear.news("57 3E 03 04 01 05 00 01 01 01 05 EE 46 03 FA");
    ear.order("57 37 01 01 04 2A 2B 03 FA");
    ear.news("57 3F 02 08 00 00 04 76 00 05 00 00 03 04 01 05 00 01 53 E7 03 FA");
    ear.order("57 38 65 01 01 A8 E3 03 FA");
    ear.news("57 31 65 10 01 00 00 28 22 17 00 00 28 22 17 00 00 00 00 00 9D EA 03 FA");
    assert_eq!(ear.ends(), [(Some(NOZZLE), Volume::new(4_760), Money::new(5_000_000), Some(Volume::new(2_822_170)))]);
}

#[test]
fn exchange_c_an_unused_release_ends_nothing() {
    let mut ear = begun();
    ear.news("57 32 03 04 01 05 00 11 77 1B 03 FA");
    ear.order("57 39 01 01 05 02 01 01 05 06 01 05 00 01 24 00 04 04 00 05 00 00 01 01 06 EF B9 03 FA");
    ear.news("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 27 6D 03 FA");
    ear.news("57 34 03 04 01 05 00 01 10 D7 03 FA");
    assert!(ear.has(&PumpEvent::State { state: State::Authorised, lifted: None }), "{:#?}", ear.events());
    ear.order("57 3A 01 01 08 28 82 03 FA");
    ear.news("57 35 01 01 05 02 08 00 00 00 00 00 00 00 00 0A 8F 03 FA");
    ear.idle(Duration::from_secs(5));
    assert_eq!(ear.ends(), []);
    assert_eq!(ear.events().last(), Some(&PumpEvent::State { state: State::Idle, lifted: None }));
}

#[test]
fn exchange_d_a_fuelling_found_open_is_adopted_and_ended() {
    let mut ear = Ear::new();
    ear.news("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA");
    ear.order("57 30 01 01 00 01 01 04 19 5B 03 FA");
    ear.news("57 37 01 01 04 03 04 01 05 00 11 02 08 00 00 03 10 00 03 25 50 01 3C 03 FA");
    let snapshot = &ear.snapshots()[0];
    assert_eq!((snapshot.state, snapshot.lifted), (State::Fuelling, Some(NOZZLE)));
    ear.news("57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05 CRC");
    ear.idle(Duration::from_secs(3));
    assert_eq!(ear.ends(), [(SALE_A.0, SALE_A.1, SALE_A.2, None)]);
}

#[test]
fn figures_that_grow_are_fuel_that_flows_though_no_status_was_heard() {
    let mut ear = Ear::new();
    ear.news("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA");
    assert_eq!(ear.events(), []);
    ear.news("57 37 02 08 00 00 03 00 00 03 15 00 CRC");
    assert_eq!(ear.snapshots()[0].state, State::Fuelling);
    ear.news("57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05 CRC");
    ear.idle(Duration::from_secs(3));
    assert_eq!(ear.ends(), [(SALE_A.0, SALE_A.1, SALE_A.2, None)]);
}

#[test]
fn without_a_word_on_its_state_nothing_is_told_of_a_pump() {
    let mut ear = Ear::new();
    ear.idle(Duration::from_secs(30));
    assert_eq!(ear.events(), []);
}

#[test]
fn an_end_without_its_figures_is_left_to_the_totaliser() {
    let mut ear = begun();
    exchange_a(&mut ear);
    ear.news("57 37 03 04 01 05 00 01 01 01 05 CRC");
    ear.order(ASK_TOTAL);
    ear.news(TOTAL_A);
    ear.idle(Duration::from_secs(5));
    assert_eq!(ear.ends(), [], "2.00 L was the last that was heard, and 4.92 L flowed");
    let snapshot = &ear.snapshots()[1];
    assert_eq!(snapshot.state, State::Idle);
    assert_eq!(snapshot.reading.map(|reading| reading.volume), Some(Volume::new(2_000)));
    assert_eq!(snapshot.totalisers.get(&NOZZLE), SALE_A.3.as_ref());
}

#[test]
fn an_end_that_was_not_heard_is_found_by_the_nozzle_or_by_the_next_fuelling() {
    let mut damaged = hex(END_A);
    damaged[6] ^= 0x40;
    let mut ear = begun();
    exchange_a(&mut ear);
    ear.say(POLL);
    ear.bytes(&damaged);
    ear.say("57 C7 FA");
    ear.order(ASK_FIGURES);
    ear.news(FIGURES_A);
    ear.idle(Duration::from_secs(5));
    assert_eq!(ear.ends(), [(SALE_A.0, SALE_A.1, SALE_A.2, None)]);

    let mut ear = begun();
    exchange_a(&mut ear);
    ear.idle(Duration::from_secs(1));
    ear.order("57 32 02 01 01 05 06 01 05 00 01 24 00 01 01 05 ED 62 03 FA");
    ear.news("57 39 02 08 00 00 00 00 00 00 00 00 01 01 01 03 04 01 05 00 11 CRC");
    ear.idle(Duration::from_secs(5));
    assert_eq!(ear.ends(), []);
    assert_eq!(ear.snapshots().len(), 2);
    assert_eq!(ear.snapshots()[1].reading.map(|reading| reading.volume), Some(Volume::new(2_000)));
}

#[test]
fn a_block_that_is_repeated_is_taken_once() {
    let mut ear = begun();
    exchange_a(&mut ear);
    for _ in 0..3 {
        ear.say(POLL);
        ear.say(END_A);
    }
    ear.say("57 C7 FA");
    ear.idle(Duration::from_secs(3));
    assert_eq!(ear.ends().len(), 1);
    // the whole of a fuelling in one block, said again
    let whole = "57 38 01 01 02 01 01 04 02 08 00 00 01 00 00 01 05 00 03 04 01 05 00 01 01 01 05 CRC";
    for _ in 0..3 {
        ear.say(POLL);
        ear.say(whole);
    }
    ear.idle(Duration::from_secs(3));
    assert_eq!(ear.ends().len(), 2);
}

#[test]
fn a_command_is_never_taken_for_news_of_the_pump() {
    let mut ear = begun();
    let before = ear.told.len();
    // RESET, AUTHORIZE and STOP have the bytes of status 5, 6 and 8; a limit has those of a nozzle
    for (tx, body) in [(5, "01 01 05"), (6, "03 04 00 09 99 00 01 01 06"), (7, "01 01 08"), (8, "01 01 04")] {
        let block = format!("57 3{tx} {body} CRC");
        ear.say(POLL);
        ear.wait(Duration::from_millis(300));
        ear.say(&block);
        ear.say(&format!("57 C{tx} FA"));
    }
    ear.idle(Duration::from_secs(1));
    assert_eq!(ear.told.len(), before, "{:#?}", &ear.told[before..]);
}

#[test]
fn silence_is_told_and_what_stood_before_is_told_again_only_if_the_pump_has_no_news() {
    let mut ear = begun();
    ear.wait(Duration::from_secs(7));
    assert_eq!(ear.events().iter().filter(|event| **event == PumpEvent::Lost).count(), 1);
    ear.say(POLL);
    ear.say(EOT);
    assert_eq!(ear.snapshots().len(), 2);
    assert_eq!(ear.snapshots()[1].state, State::Idle);
    assert!(ear.snapshots()[1].totalisers.is_empty());

    ear.link(false);
    ear.link(true);
    ear.idle(Duration::from_secs(5));
    assert_eq!(ear.snapshots().len(), 2, "we were deaf: anything may have happened");
}

#[test]
fn every_word_of_the_core_is_refused_or_ignored() {
    let mut ear = begun();
    ear.command(FP, &order(7, Preset::Volume(Volume::new(20_000))));
    let others = [
        PumpCommand::Withdraw,
        PumpCommand::Stop,
        PumpCommand::Suspend,
        PumpCommand::Resume,
        PumpCommand::SetPrices([(NOZZLE, price(9_000))].into()),
    ];
    for command in others {
        ear.command(FP, &command);
    }
    ear.idle(Duration::from_secs(1));
    let refused = |event: &PumpEvent| matches!(event, PumpEvent::Refused { release: ReleaseId(7), why: Refusal::Faulty(why) } if why.contains("only listens"));
    assert!(ear.events().iter().any(refused), "{:#?}", ear.events());
    assert_eq!(ear.snapshots().len(), 1);
    let able = ear.line.capabilities().next().expect("one").1;
    assert!(!able.takes_releases() && !able.stop && !able.price_write);
}

#[test]
fn two_pumps_are_kept_apart_and_a_stranger_is_only_traced() {
    let mut ear = Ear::of(vec![head(), head_at(1, 0x50)]);
    ear.say("50 20 FA");
    ear.say("50 31 01 01 05 03 04 01 05 00 01 CRC");
    ear.say("50 C1 FA");
    ear.say("61 20 FA");
    ear.say("61 31 01 01 05 03 04 01 05 00 01 CRC");
    ear.say("61 C1 FA");
    ear.wait(Duration::from_secs(3));
    assert!(ear.told.iter().all(|(fp, _)| *fp == FuellingPointId(1)), "{:#?}", ear.told);
    assert_eq!(ear.snapshots().len(), 1);
    assert_eq!(ear.trace.len(), 6);
}

#[test]
fn noise_between_frames_costs_nothing_and_invents_nothing() {
    let mut ear = begun();
    let junk = |ear: &mut Ear, n: u32| {
        let bytes: Vec<u8> = (0..n % 7).map(|i| u8::try_from((n * 37 + i * 91) % 256).expect("a byte")).collect();
        ear.bytes(&bytes);
        ear.wait(Duration::from_millis(80));
    };
    let story = [
        "57 32 03 04 01 05 00 11 77 1B 03 FA",
        "57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 03 04 01 05 00 11 2C 61 03 FA",
        "57 34 01 01 02 03 04 01 05 00 11 95 C1 03 FA",
        "57 35 01 01 04 2B 93 03 FA",
        "57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA",
        END_A,
        FIGURES_A,
        TOTAL_A,
    ];
    for (n, block) in (1..).zip(story) {
        junk(&mut ear, n * 3);
        ear.news(block);
    }
    assert_eq!(ear.ends(), [SALE_A]);
}
