//! The worked exchanges of the Modbus sheet, sections 9.5 to 9.7, byte for byte, and the driver against the simulated dispenser.

mod modbus_stage;

use core::time::Duration;
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Reading, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Money, UnitPrice, Volume};
use hil_sim::dispenser::calculator::VolumeDigits;
use hil_sim::dispenser::modbus::frame::Framing;
use hil_sim::dispenser::modbus::quirks::Quirks;
use hil_sim::dispenser::modbus::{ModbusConfig, ModbusDispenser};
use hil_sim::dispenser::record::{EndCause, Wrong};
use hil_sim::dispenser::{Action, Condition, Dispenser};
use hil_sim::prng::PerMillion;
use hil_sim::wire::Faults;
use modbus_stage::{AUTHORISE, NOZZLE, ONE, PRICE, Stage, hex, pump, starts};

// ---- the simulated dispenser alone ----

/// A controller that knows nothing and says what it is told, against unit 9 of the sheet.
struct Script {
    device: ModbusDispenser,
    now: Instant,
}

impl Script {
    fn new(last_sale: u16) -> Self {
        let mut device = ModbusDispenser::new(ModbusConfig {
            address: hil_sim::dispenser::Address(9),
            turnaround: ModbusConfig::TURNAROUND,
            framing: Framing::Rtu,
            quirks: Quirks::default(),
            pump: pump(0),
        });
        device.continue_sales_at(last_sale);
        Self { device, now: Instant::START }
    }

    fn say(&mut self, frame: &str, answer: &str) {
        self.now = self.now + Duration::from_millis(40);
        for byte in hex(frame) {
            self.device.handle_byte(byte, self.now);
        }
        let sent = self.device.poll_transmission().map(|sent| sent.bytes);
        assert_eq!(sent, Some(hex(answer)), "to {frame}");
    }

    fn until(&mut self, ml: u32) {
        while self.device.pump().figures(self.now).volume < VolumeDigits(ml) {
            self.now = self.now + Duration::from_micros(100);
            self.device.handle_timeout(self.now);
        }
        assert_eq!(self.device.pump().figures(self.now).volume, VolumeDigits(ml));
    }
}

#[test]
fn a_whole_sale_with_an_amount_preset_is_answered_byte_for_byte() {
    let mut script = Script::new(41);
    script.device.act(Action::Lift(ONE), script.now);
    script.say("09 03 00 00 00 09 84 84", "09 03 12 00 01 00 01 00 00 00 00 00 00 00 00 00 00 02 E9 00 29 FA C8");
    script.say("09 10 00 14 00 05 0A 00 02 00 00 4E 20 00 00 02 E9 C5 89", "09 10 00 14 00 05 41 46");
    script.say("09 03 00 14 00 05 C4 85", "09 03 0A 00 02 00 00 4E 20 00 00 02 E9 6C 59");
    script.say("09 06 00 19 00 01 98 85", "09 06 00 19 00 01 98 85");
    script.say("09 03 00 1A 00 01 A4 85", "09 03 02 00 01 98 45");
    script.say("09 06 00 19 00 00 59 45", "09 06 00 19 00 00 59 45");
    script.until(10_200);
    script.until(26_846);
    script.device.handle_timeout(script.now + Duration::from_secs(5));
    script.now = script.now + Duration::from_secs(5);
    // the sheet rounds to 26.846 L; this head ends a limit in money at the last millilitre that costs no more
    let end = script.device.pump().fuellings().last().map(|fuelling| (fuelling.volume, fuelling.cause));
    assert_eq!(end.map(|(_, cause)| cause), Some(EndCause::LimitReached));
}

#[test]
fn a_restart_with_an_unread_sale_is_answered_byte_for_byte() {
    // 6.000 L at 7.45 are 44.70; sale 44, acknowledged 43
    let mut script = Script::new(43);
    script.device.act(Action::Lift(ONE), script.now);
    script.say("09 10 00 14 00 05 0A 00 01 00 00 17 70 00 00 02 E9 1D BC", "09 10 00 14 00 05 41 46");
    script.say("09 06 00 19 00 01 98 85", "09 06 00 19 00 01 98 85");
    script.until(6_000);
    script.now = script.now + Duration::from_secs(1);
    script.device.act(Action::HangUp, script.now);
    script.say("09 06 00 19 00 00 59 45", "09 06 00 19 00 00 59 45");
    let cut = script.now + Duration::from_secs(1);
    script.device.act(Action::Power(false), cut);
    script.device.act(Action::Power(true), cut);
    script.now = cut;
    script.say("09 03 00 19 00 01 54 85", "09 03 02 00 00 59 85");
    script.now = script.now + Duration::from_millis(40);
    for byte in hex("09 03 00 00 00 10 45 4E") {
        script.device.handle_byte(byte, script.now);
    }
    let sent = script.device.poll_transmission().expect("an answer").bytes;
    // the display still shows the fuelling here; the record, from register 8 on, is the sheet's
    assert_eq!(sent[19..35], hex("00 2C 00 00 17 70 00 00 11 76 00 00 02 E9 00 2B")[..]);
    script.say("09 06 00 0F 00 2C B9 5C", "09 06 00 0F 00 2C B9 5C");
    assert_eq!(script.device.violations(), []);
}

#[test]
fn a_careless_controller_is_found_out() {
    let mut script = Script::new(41);
    let wrongs = |script: &Script| script.device.violations().iter().map(|v| v.wrong).collect::<Vec<_>>();
    script.say("09 06 00 19 00 01 98 85", "09 06 00 19 00 01 98 85");
    assert_eq!(wrongs(&script), [Wrong::AuthoriseOutOfState]);
    script.say("09 06 00 19 00 00 59 45", "09 06 00 19 00 00 59 45");
    script.device.act(Action::Lift(ONE), script.now);
    script.say("09 06 00 19 00 01 98 85", "09 06 00 19 00 01 98 85");
    assert_eq!(wrongs(&script).last(), Some(&Wrong::AuthoriseWithoutPreset));
    script.say("09 03 00 1A 00 01 A4 85", "09 03 02 00 02 D8 44");
    script.say("09 06 00 19 00 00 59 45", "09 06 00 19 00 00 59 45");
    script.say("09 10 00 14 00 05 0A 00 02 00 00 4E 20 00 00 02 E9 C5 89", "09 10 00 14 00 05 41 46");
    script.say("09 06 00 19 00 01 98 85", "09 06 00 19 00 01 98 85");
    script.until(1_000);
    script.say("09 06 00 17 00 00 38 86", "09 06 00 17 00 00 38 86");
    assert_eq!(wrongs(&script).last(), Some(&Wrong::PriceDuringFilling));
    script.device.act(Action::HangUp, script.now);
    script.say("09 06 00 0F 00 2A 39 5E", "09 06 00 0F 00 2A 39 5E");
    assert_eq!(wrongs(&script).last(), Some(&Wrong::ResetBeforeSaleAcknowledged), "acknowledged and never read");
}

#[test]
fn what_the_map_does_not_have_is_an_exception_and_other_units_are_silent() {
    let mut script = Script::new(41);
    script.say("09 03 00 20 00 02 C4 89", "09 83 02 41 33");
    script.say("09 01 00 00 00 01 FC 82", "09 81 01 00 52");
    let now = script.now + Duration::from_millis(40);
    for byte in hex("02 03 00 08 00 01 05 FB") {
        script.device.handle_byte(byte, now);
    }
    assert_eq!(script.device.poll_transmission(), None);
}

// ---- the driver against it ----

fn with_check_sum(frame: &str) -> String {
    let sum = hil_sim::dispenser::modbus::frame::check_sum(&hex(frame)).to_le_bytes();
    format!("{frame} {:02X} {:02X}", sum[0], sum[1])
}

fn amount(minor: i64) -> Preset {
    Preset::Amount(Money::new(minor))
}

fn litres(count: i64) -> Preset {
    Preset::Volume(Volume::new(count * 1_000))
}

fn ended(stage: &Stage) -> Vec<(Reading, Option<Volume>)> {
    let ends = stage.events.iter().filter_map(|event| match event {
        PumpEvent::Ended { reading, totaliser, .. } => Some((*reading, *totaliser)),
        _ => None,
    });
    ends.collect()
}

fn is_released(event: &PumpEvent) -> bool {
    matches!(event, PumpEvent::Released { .. })
}

fn is_refused(event: &PumpEvent) -> bool {
    matches!(event, PumpEvent::Refused { .. })
}

fn is_ended(event: &PumpEvent) -> bool {
    matches!(event, PumpEvent::Ended { .. })
}

fn is_snapshot(event: &PumpEvent) -> bool {
    matches!(event, PumpEvent::Snapshot(_))
}

/// Lifts, releases with a limit and waits until that is told.
fn released(stage: &mut Stage, preset: Preset) {
    stage.lift();
    stage.order(preset);
    stage.until("release", is_released);
}

#[test]
fn a_release_sends_the_frames_of_the_sheet_in_their_order() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.lift();
    stage.sent.clear();
    stage.order(amount(20_000));
    stage.until("release", is_released);
    let wanted: Vec<Vec<u8>> = [
        "09 10 00 14 00 05 0A 00 02 00 00 4E 20 00 00 02 E9 C5 89",
        "09 03 00 14 00 05 C4 85",
        "09 06 00 19 00 01 98 85",
        "09 03 00 1A 00 01 A4 85",
        "09 06 00 19 00 00 59 45",
        "09 03 00 00 00 09 84 84",
    ]
    .into_iter()
    .map(hex)
    .collect();
    assert_eq!(stage.sent, wanted);
    assert_eq!(stage.wrongs(), []);
}

#[test]
fn a_sale_is_read_twice_stored_and_only_then_acknowledged() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    released(&mut stage, amount(20_000));
    stage.storing = false;
    stage.until("end", is_ended);
    stage.run(Duration::from_secs(3));
    let ack = hex("09 06 00 0F 00 2A 39 5E");
    assert!(!stage.sent.contains(&ack), "not stored yet");
    stage.store();
    stage.run(Duration::from_secs(1));
    assert!(stage.sent.contains(&ack));
    let (reading, total) = ended(&stage)[0];
    let truth = stage.fuelling(0);
    assert_eq!((reading.volume, reading.amount), (truth.volume, Money::new(20_000)));
    assert_eq!((reading.nozzle, reading.price, total), (Some(NOZZLE), Some(PRICE), truth.totaliser_after));
    let seen = stage.events.iter().position(|event| matches!(event, PumpEvent::EndSeen { .. }));
    assert!(seen.is_some_and(|seen| seen < stage.events.iter().position(is_ended).expect("an end")));
    assert!(
        stage.events.iter().any(|event| matches!(event, PumpEvent::Running { volume, .. } if volume.is_positive()))
    );
    assert_eq!(stage.wrongs(), []);
    assert_eq!(stage.acknowledged(), 42);
}

#[test]
fn a_volume_preset_ends_at_its_volume() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    released(&mut stage, litres(5));
    stage.until("end", is_ended);
    assert_eq!(ended(&stage)[0].0.volume, Volume::new(5_000));
    assert_eq!(stage.fuelling(0).cause, EndCause::LimitReached);
}

#[test]
fn an_early_hang_up_and_a_stop_end_with_what_flowed() {
    for stop in [false, true] {
        let mut stage = Stage::rtu(Quirks::default(), 41);
        released(&mut stage, amount(20_000));
        stage.run(Duration::from_secs(8));
        if stop {
            stage.command(PumpCommand::Stop);
        } else {
            stage.act(Action::HangUp);
        }
        stage.until("end", is_ended);
        let truth = stage.fuelling(0);
        assert_eq!(truth.cause, if stop { EndCause::Stopped } else { EndCause::HungUp });
        assert_eq!(ended(&stage)[0].0.volume, truth.volume);
        assert!(truth.volume.is_positive());
        stage.act(Action::HangUp);
        stage.run(Duration::from_secs(1));
        assert_eq!((stage.wrongs(), stage.acknowledged()), (vec![], 42));
        assert_eq!(stage.state(), Some(State::Idle));
    }
}

#[test]
fn a_release_that_never_fuels_ends_with_zero_and_owes_nothing() {
    for quirks in [
        Quirks::default(),
        Quirks { numbers_zero_sales: true, ..Quirks::default() },
        Quirks { stays_authorised: true, ..Quirks::default() },
    ] {
        let mut stage = Stage::rtu(quirks, 41);
        stage.act(Action::Squeeze(false));
        stage.lift();
        stage.act(Action::Squeeze(false));
        stage.order(amount(20_000));
        stage.until("release", is_released);
        stage.act(Action::HangUp);
        stage.until("end", is_ended);
        stage.run(Duration::from_secs(2));
        assert_eq!(ended(&stage)[0].0.volume, Volume::ZERO, "{quirks:?}");
        assert_eq!(stage.acknowledged(), if quirks.numbers_zero_sales { 42 } else { 41 });
        assert_eq!((stage.wrongs(), stage.state()), (vec![], Some(State::Idle)));
    }
}

#[test]
fn a_release_that_is_taken_back_is_stopped_and_never_sent_again() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.act(Action::Squeeze(false));
    stage.lift();
    stage.act(Action::Squeeze(false));
    stage.order(amount(20_000));
    stage.until("release", is_released);
    stage.command(PumpCommand::Withdraw);
    stage.until("end", is_ended);
    stage.run(Duration::from_secs(1));
    assert_eq!(ended(&stage)[0].0.volume, Volume::ZERO);
    assert_eq!(stage.count(&hex(AUTHORISE)), 1);
    assert_eq!(stage.condition(), Condition::Calling);
}

#[test]
fn suspend_and_resume_hold_the_flow_and_let_it_go_on() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    released(&mut stage, litres(20));
    stage.run(Duration::from_secs(5));
    stage.command(PumpCommand::Suspend);
    stage.run(Duration::from_secs(1));
    assert_eq!((stage.condition(), stage.state()), (Condition::Suspended, Some(State::SuspendedFuelling)));
    stage.command(PumpCommand::Resume);
    stage.until("end", is_ended);
    assert_eq!(ended(&stage)[0].0.volume, Volume::new(20_000));
}

#[test]
fn each_lost_request_or_answer_of_a_release_leaves_one_release_and_one_word_of_it() {
    for step in [
        "09 10 00 14 00 05",
        "09 03 00 14 00 05",
        AUTHORISE,
        "09 03 00 1A 00 01",
        "09 06 00 19 00 00",
        "09 03 00 00 00 09",
    ] {
        for lose_request in [true, false] {
            for times in 1..=2 {
                let mut stage = Stage::rtu(Quirks::default(), 41);
                stage.lift();
                stage.order(amount(20_000));
                stage.lose(starts(step), lose_request, times);
                let what = format!("{step}, request {lose_request}, {times} times");
                stage.until(&what, is_released);
                stage.until(&what, is_ended);
                stage.run(Duration::from_secs(3));
                assert_eq!(stage.fuellings(), 1, "{what}");
                assert_eq!(stage.words_of_releases(), 1, "{what}");
                assert_eq!(stage.wrongs(), [], "{what}");
                assert_eq!(ended(&stage)[0].0.amount, Money::new(20_000), "{what}");
                assert_eq!(stage.acknowledged(), 42, "{what}");
            }
        }
    }
}

#[test]
fn a_command_whose_answer_was_lost_is_not_written_again() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.lift();
    stage.order(amount(20_000));
    stage.lose(starts(AUTHORISE), false, 1);
    stage.until("release", is_released);
    assert_eq!(stage.count(&hex(AUTHORISE)), 1, "its register shows that it arrived");
}

#[test]
fn a_limit_that_is_gone_is_written_again_before_a_command_that_was_lost_is_repeated() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.lift();
    stage.order(amount(20_000));
    stage.lose(starts(AUTHORISE), true, 1);
    while stage.count(&hex(AUTHORISE)) == 0 {
        stage.run(Duration::from_millis(5));
    }
    // a dip of its power, too short for anything else to show
    stage.write_behind_the_back(&with_check_sum("09 10 00 14 00 05 0A 00 00 00 00 00 00 00 00 00 00"));
    stage.until("release", is_released);
    stage.until("end", is_ended);
    assert_eq!(stage.count(&hex(AUTHORISE)), 2);
    assert_eq!(stage.wrongs(), []);
    assert_eq!(ended(&stage)[0].0.amount, Money::new(20_000));
}

#[test]
fn a_lost_acknowledgement_is_read_back_before_it_is_written_again() {
    for lose_request in [true, false] {
        let mut stage = Stage::rtu(Quirks::default(), 41);
        released(&mut stage, litres(5));
        stage.lose(starts("09 06 00 0F"), lose_request, 1);
        stage.until("end", is_ended);
        stage.run(Duration::from_secs(3));
        assert_eq!(stage.acknowledged(), 42);
        let acks = stage.count(&hex("09 06 00 0F 00 2A 39 5E"));
        assert_eq!(acks, if lose_request { 2 } else { 1 });
    }
}

#[test]
fn a_device_that_refuses_or_does_nothing_is_told_and_stays_locked() {
    for (quirks, why) in [
        (Quirks { refuses: true, ..Quirks::default() }, "refused to be released"),
        (Quirks { ignores: true, ..Quirks::default() }, "NoEffect"),
    ] {
        let mut stage = Stage::rtu(quirks, 41);
        stage.lift();
        stage.order(amount(20_000));
        stage.until("refusal", is_refused);
        let told = format!("{:?}", stage.events.iter().find(|event| is_refused(event)));
        assert!(told.contains(why), "{told}");
        assert_eq!((stage.fuellings(), stage.words_of_releases()), (0, 1));
        stage.run(Duration::from_secs(1));
        assert_eq!(stage.command_register(), 0);
    }
}

#[test]
fn a_slow_result_is_waited_for() {
    let quirks = Quirks { result_delay: Duration::from_millis(1_500), ..Quirks::default() };
    let mut stage = Stage::rtu(quirks, 41);
    released(&mut stage, litres(5));
    stage.until("end", is_ended);
    assert_eq!((stage.fuellings(), stage.wrongs()), (1, vec![]));
    assert_eq!(stage.count(&hex(AUTHORISE)), 1);
}

#[test]
fn another_price_a_missing_call_and_an_impossible_limit_are_refused() {
    let refusal = |stage: &mut Stage| {
        stage.until("refusal", is_refused);
        match stage.events.iter().rev().find(|event| is_refused(event)) {
            Some(PumpEvent::Refused { why, .. }) => why.clone(),
            other => panic!("{other:?}"),
        }
    };
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.sent.clear();
    stage.order(amount(20_000));
    assert_eq!(refusal(&mut stage), Refusal::NotCalling);
    stage.lift();
    stage.events.clear();
    stage.order_at(amount(20_000), UnitPrice::new(7_460_000));
    assert_eq!(refusal(&mut stage), Refusal::PriceMismatch { shown: PRICE });
    stage.events.clear();
    stage.order(Preset::Volume(Volume::new(0xFFFF_FFFF)));
    assert_eq!(refusal(&mut stage), Refusal::PresetUnsupported, "all ones are no reading and no limit");
    stage.events.clear();
    stage.order(Preset::Amount(Money::ZERO));
    assert_eq!(refusal(&mut stage), Refusal::PresetUnsupported);
    assert!(!stage.sent.iter().any(|frame| frame.starts_with(&[9, 0x10])), "nothing was written");
}

#[test]
fn a_new_price_is_written_and_charged() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    let price = UnitPrice::new(8_000_000);
    stage.command(PumpCommand::SetPrices([(NOZZLE, price)].into()));
    stage.until("price", |event| matches!(event, PumpEvent::Price { price: shown, .. } if *shown == price));
    stage.lift();
    stage.order_at(litres(5), price);
    stage.until("end", is_ended);
    assert_eq!(ended(&stage)[0].0.amount, Money::new(4_000));
    assert_eq!(stage.wrongs(), []);
}

#[test]
fn a_restart_reads_an_unread_sale_and_acknowledges_it_only_when_stored() {
    let mut stage = Stage::rtu(Quirks::default(), 43);
    released(&mut stage, litres(6));
    stage.storing = false;
    stage.until("end", is_ended);
    stage.act(Action::HangUp);
    stage.restart();
    stage.until("snapshot", is_snapshot);
    let Some(PumpEvent::Snapshot(snapshot)) = stage.events.iter().find(|event| is_snapshot(event)).cloned() else {
        panic!("no snapshot");
    };
    let reading = snapshot.reading.expect("the sale");
    assert_eq!((reading.volume, reading.amount), (Volume::new(6_000), Money::new(4_470)));
    assert_eq!(snapshot.totalisers.get(&NOZZLE), Some(&Volume::new(6_000)));
    stage.run(Duration::from_secs(3));
    assert!(stage.sent.iter().all(|frame| frame[1] == 3), "nothing is written before it is stored");
    assert_eq!(stage.acknowledged(), 43);
    stage.store();
    stage.run(Duration::from_secs(1));
    assert_eq!((stage.acknowledged(), stage.wrongs()), (44, vec![]));
}

#[test]
fn a_restart_in_the_middle_of_a_fuelling_follows_it_to_its_end() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    released(&mut stage, litres(10));
    stage.run(Duration::from_secs(6));
    stage.restart();
    stage.until("snapshot", is_snapshot);
    let running = stage.events.iter().any(|event| {
        matches!(event, PumpEvent::Snapshot(s) if s.state == State::Fuelling && s.reading.is_some_and(|r| r.volume.is_positive()))
    });
    assert!(running, "{:#?}", stage.events);
    stage.until("end", is_ended);
    assert_eq!(ended(&stage)[0].0.volume, Volume::new(10_000));
    stage.run(Duration::from_secs(1));
    assert_eq!((stage.acknowledged(), stage.fuellings()), (42, 1));
}

#[test]
fn a_command_that_was_left_standing_is_cleared_before_anything_else() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    released(&mut stage, litres(5));
    stage.until("end", is_ended);
    stage.act(Action::HangUp);
    stage.write_behind_the_back("09 06 00 19 00 03 19 44");
    stage.restart();
    stage.until("snapshot", is_snapshot);
    stage.run(Duration::from_secs(1));
    assert_eq!(stage.command_register(), 0);
    stage.lift();
    stage.order(litres(5));
    stage.until("release", is_released);
}

#[test]
fn a_power_cycle_is_a_snapshot_with_what_had_flowed() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.run(Duration::from_secs(30));
    released(&mut stage, litres(20));
    stage.run(Duration::from_secs(6));
    stage.events.clear();
    stage.act(Action::Power(false));
    stage.run(Duration::from_secs(5));
    assert!(stage.events.contains(&PumpEvent::Lost));
    stage.act(Action::Power(true));
    stage.until("snapshot", is_snapshot);
    let truth = stage.fuelling(0);
    let snapshot = stage.events.iter().find_map(|event| match event {
        PumpEvent::Snapshot(snapshot) => Some(snapshot.clone()),
        _ => None,
    });
    assert_eq!(snapshot.and_then(|s| s.reading).map(|reading| reading.volume), Some(truth.volume));
    stage.run(Duration::from_secs(2));
    assert_eq!(stage.acknowledged(), 42);
    // short enough to be no silence: the heartbeat tells
    stage.run(Duration::from_secs(20));
    stage.events.clear();
    stage.act(Action::Power(false));
    stage.act(Action::Power(true));
    stage.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(snapshot) if snapshot.power_cycled));
}

#[test]
fn a_fuelling_released_by_hand_is_followed_and_booked() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.act(Action::ReleaseByHand);
    stage.act(Action::Lift(ONE));
    stage.run(Duration::from_secs(6));
    stage.act(Action::HangUp);
    stage.until("end", is_ended);
    stage.run(Duration::from_secs(1));
    let (reading, total) = ended(&stage)[0];
    assert_eq!((Some(reading.volume), total), (Some(stage.fuelling(0).volume), stage.fuelling(0).totaliser_after));
    assert_eq!((stage.acknowledged(), stage.wrongs()), (42, vec![]));
}

#[test]
fn a_dispenser_that_waits_for_release_is_let_go() {
    let mut stage = Stage::rtu(Quirks { waits_for_release: true, ..Quirks::default() }, 41);
    for sale in 0..2 {
        released(&mut stage, litres(2));
        stage.until("end", is_ended);
        stage.act(Action::HangUp);
        stage.run(Duration::from_secs(2));
        assert_eq!(stage.condition(), Condition::Idle, "sale {sale}");
        stage.events.clear();
    }
    assert_eq!((stage.fuellings(), stage.wrongs()), (2, vec![]));
}

#[test]
fn a_fault_of_the_dispenser_is_told_and_refuses_releases() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.act(Action::Alarm(7));
    stage.until(
        "alarm",
        |event| matches!(event, PumpEvent::Alarm { text, holds: true, .. } if text.contains("fault 7")),
    );
    stage.act(Action::Alarm(0));
    stage.lift();
    stage.order(litres(5));
    stage.until("refusal", |event| matches!(event, PumpEvent::Refused { why: Refusal::Faulty(_), .. }));
    stage.events.clear();
    stage.command(PumpCommand::Examine);
    stage.until("snapshot", is_snapshot);
    stage.run(Duration::from_millis(500));
    stage.order(litres(5));
    stage.until("release", is_released);
}

#[test]
fn a_silent_dispenser_is_lost_and_an_order_before_its_command_is_refused() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.lift();
    stage.lose(Box::new(|_| true), true, u32::MAX);
    stage.order(litres(5));
    stage.until("loss", |event| *event == PumpEvent::Lost);
    assert_eq!((stage.words_of_releases(), stage.fuellings()), (1, 0));
    stage.lose(Box::new(|_| false), true, 0);
    stage.until("snapshot", is_snapshot);
}

#[test]
fn a_whole_sale_goes_over_modbus_tcp_too() {
    let mut stage = Stage::tcp(Quirks::default(), 41);
    released(&mut stage, amount(20_000));
    stage.until("end", is_ended);
    stage.run(Duration::from_secs(1));
    assert_eq!(ended(&stage)[0].0.amount, Money::new(20_000));
    assert_eq!((stage.acknowledged(), stage.wrongs()), (42, vec![]));
    let numbers: Vec<&[u8]> = stage.sent.iter().map(|frame| &frame[..2]).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "each question has a number of its own");
}

#[test]
fn answers_that_come_too_late_are_never_taken_for_the_next_ones() {
    for tcp in [false, true] {
        let mut stage = if tcp { Stage::tcp(Quirks::default(), 41) } else { Stage::rtu(Quirks::default(), 41) };
        released(&mut stage, litres(12));
        // every fifth answer comes 100 ms after its time-out
        stage.delay_every(5);
        stage.until("end", is_ended);
        stage.run(Duration::from_secs(5));
        let truth = stage.fuelling(0);
        assert_eq!((ended(&stage)[0].0.volume, ended(&stage)[0].1), (truth.volume, truth.totaliser_after), "tcp {tcp}");
        let mut last = Volume::ZERO;
        for event in &stage.events {
            if let PumpEvent::Running { volume, .. } = event {
                assert!(*volume >= last && *volume <= truth.volume, "tcp {tcp}: {volume:?} after {last:?}");
                last = *volume;
            }
        }
        assert_eq!((stage.fuellings(), stage.wrongs(), stage.acknowledged()), (1, vec![], 42));
    }
}

#[test]
fn a_noisy_wire_costs_time_and_never_a_figure() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    let rate = PerMillion;
    stage.spoil(Faults {
        bit_flip: rate(1_000),
        drop: rate(500),
        junk: rate(20_000),
        silence: rate(10_000),
        ..Faults::default()
    });
    let mut released = 0;
    for sale in 0..4 {
        stage.events.clear();
        stage.lift();
        stage.order(litres(3));
        stage.until("a word of the release", |event| {
            is_released(event) || is_refused(event) || *event == PumpEvent::Lost
        });
        if stage.events.iter().any(is_released) {
            released += 1;
            stage.until("end", |event| is_ended(event) || is_snapshot(event));
            for (reading, total) in ended(&stage) {
                let truth = stage.fuelling(stage.fuellings() - 1);
                assert_eq!(reading.volume, truth.volume, "sale {sale}");
                assert!(total.is_none() || total == truth.totaliser_after, "sale {sale}");
            }
        }
        stage.act(Action::HangUp);
        stage.run(Duration::from_secs(5));
    }
    stage.spoil(Faults::default());
    stage.run(Duration::from_secs(5));
    assert!(released > 0, "{:#?}", stage.events);
    assert_eq!(stage.wrongs(), []);
    assert_eq!(usize::from(stage.acknowledged()), 41 + stage.fuellings());
}

/// What was told of the state since the last end.
fn states_since_the_end(stage: &Stage) -> Vec<(State, bool)> {
    let ended = stage.events.iter().rposition(is_ended).expect("an end");
    let told = stage.events[ended..].iter().filter_map(|event| match event {
        PumpEvent::State { state, lifted } => Some((*state, lifted.is_some())),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_nozzle_hung_up_and_lifted_between_two_polls_is_told_as_hung_up() {
    // while fuel flows, and with the limit reached
    for flowing in [true, false] {
        let mut stage = Stage::rtu(Quirks::default(), 41);
        released(&mut stage, litres(5));
        if flowing {
            stage.run(Duration::from_secs(4));
        } else {
            stage.until("end", is_ended);
        }
        stage.act(Action::HangUp);
        stage.act(Action::Lift(ONE));
        stage.until("end", is_ended);
        stage.run(Duration::from_secs(2));
        assert!(stage.fuelling(0).volume.is_positive());
        assert_eq!(states_since_the_end(&stage), [(State::Idle, false), (State::Calling, true)], "flowing {flowing}");
        stage.order(litres(5));
        stage.until("second release", |event| matches!(event, PumpEvent::Released { release } if release.0 == 2));
        assert_eq!(stage.wrongs(), []);
    }
}

#[test]
fn a_nozzle_still_held_after_a_release_without_fuel_is_not_told_as_hung_up() {
    let mut stage = Stage::rtu(Quirks::default(), 41);
    stage.act(Action::Squeeze(false));
    stage.lift();
    stage.act(Action::Squeeze(false));
    stage.order(litres(5));
    stage.until("release", is_released);
    stage.command(PumpCommand::Stop);
    stage.until("end", is_ended);
    stage.run(Duration::from_secs(2));
    assert_eq!(states_since_the_end(&stage), [(State::Calling, true)]);
    stage.act(Action::HangUp);
    stage.run(Duration::from_secs(2));
    assert_eq!(stage.state(), Some(State::Idle));
}
