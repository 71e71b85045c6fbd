//! The worked exchanges of the DART sheet, section 12, with the controller's bytes played against the simulated pump.

use core::time::Duration;
use forecourt::ids::Grade;
use forecourt::time::Instant;
use forecourt::units::Volume;
use hil_sim::dispenser::calculator::{Decimals, PriceDigits, VolumeDigits};
use hil_sim::dispenser::dart::frame::{self, BlockNumber};
use hil_sim::dispenser::dart::message::TotalsForm;
use hil_sim::dispenser::dart::quirks::{AmountTotals, Quirks, ResetHung, SuspendForm};
use hil_sim::dispenser::dart::{DartConfig, DartDispenser};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::{EndCause, Moment, Wrong};
use hil_sim::dispenser::{Action, Address, Condition, Dispenser, NozzleIndex};

const ONE: NozzleIndex = NozzleIndex(1);
const POLL: &str = "57 20 FA";
const NOTHING: &str = "57 70 FA";

/// A controller that knows nothing and says what it is told, against pump 57 of the sheet.
struct Stage {
    pump: DartDispenser,
    now: Instant,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

impl Stage {
    fn new(quirks: Quirks, total_ml: i64) -> Self {
        let nozzle = |price, totaliser| NozzleConfig {
            grade: Grade::new("92").expect("a grade"),
            price: Some(PriceDigits(price)),
            totaliser: Volume::new(totaliser),
        };
        let pump = PumpConfig {
            nozzles: vec![nozzle(10_500, total_ml), nozzle(12_400, 0)],
            decimals: Decimals { volume: 2, price: 0, amount: 0 },
            flow: FlowProfile::default(),
            keeps_sale: true,
            keeps_prices: false,
        };
        let config = DartConfig { address: Address(0x57), turnaround: DartConfig::TURNAROUND, quirks, pump };
        Self { pump: DartDispenser::new(config), now: Instant::START }
    }

    fn numbered(mut self, next: u8) -> Self {
        self.pump.continue_numbers_at(BlockNumber::of(next));
        self
    }

    /// What the pump answers. Time stands still while fuel flows, so that the figures are those of the sheet.
    fn say(&mut self, frame: &str) -> String {
        if !self.pump.pump().is_flowing() {
            self.now = self.now + Duration::from_millis(40);
        }
        for byte in bytes(frame) {
            self.pump.handle_byte(byte, self.now);
        }
        let answer = self.pump.poll_transmission();
        assert_eq!(self.pump.poll_transmission(), None, "two answers to {frame}");
        answer.map_or(String::new(), |answer| {
            assert_eq!(answer.at, self.now + DartConfig::TURNAROUND);
            hex(&answer.bytes)
        })
    }

    /// A block of the controller, which is acknowledged under its number.
    fn order(&mut self, block: &str) {
        let answer = self.say(block);
        assert_eq!(answer, format!("57 C{} FA", &block[4..5]), "to {block}");
    }

    /// A POLL that brings this block, which is then acknowledged.
    fn expect(&mut self, block: &str) {
        assert_eq!(self.say(POLL), block);
        self.acknowledge(block);
    }

    fn acknowledge(&mut self, block: &str) {
        assert_eq!(self.say(&format!("57 C{} FA", &block[4..5])), "");
    }

    fn act(&mut self, action: Action) {
        self.pump.act(action, self.now);
    }

    /// Waits until so much has flowed, to the step.
    fn until(&mut self, volume: u32) {
        while self.pump.pump().figures(self.now).volume < VolumeDigits(volume) {
            self.now = self.now + Duration::from_micros(500);
            self.pump.handle_timeout(self.now);
        }
        assert_eq!(self.pump.pump().figures(self.now).volume, VolumeDigits(volume));
    }

    fn until_flow_begins(&mut self) {
        while !self.pump.pump().is_flowing() {
            self.now = self.now + Duration::from_micros(500);
            self.pump.handle_timeout(self.now);
        }
    }

    fn wrongs(&self) -> Vec<Wrong> {
        self.pump.violations().iter().map(|violation| violation.wrong).collect()
    }

    /// Exchange A to where fuel flows.
    fn whole_sale_until_filling(&mut self) {
        self.order("57 31 65 01 01 AB 7F 03 FA");
        self.expect("57 31 65 10 01 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00 D5 3E 03 FA");
        self.act(Action::Lift(ONE));
        self.expect("57 32 03 04 01 05 00 11 77 1B 03 FA");
        self.order("57 32 02 01 01 05 06 01 05 00 01 24 00 01 01 05 ED 62 03 FA");
        self.expect("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 03 04 01 05 00 11 2C 61 03 FA");
        self.order("57 33 03 04 00 09 99 00 01 01 06 32 51 03 FA");
        self.expect("57 34 01 01 02 03 04 01 05 00 11 95 C1 03 FA");
        self.until_flow_begins();
        self.expect("57 35 01 01 04 2B 93 03 FA");
    }

    /// Exchange B to where the pump is authorised.
    fn preset_amount_until_filling(&mut self) {
        self.act(Action::Lift(ONE));
        self.expect("57 3A 03 04 01 05 00 11 FE DB 03 FA");
        self.order("57 36 01 01 05 02 01 01 05 06 01 05 00 01 24 00 04 04 00 05 00 00 01 01 06 9E 79 03 FA");
        self.expect("57 3B 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 40 CB 03 FA");
        self.until(100);
        self.expect("57 3C 01 01 04 02 08 00 00 01 00 00 01 05 00 54 3B 03 FA");
    }
}

#[test]
fn a_whole_sale_by_recipe_1_is_answered_byte_for_byte() {
    let mut stage = Stage::new(Quirks::default(), 2_812_490).numbered(1);
    stage.whole_sale_until_filling();
    stage.until(200);
    stage.expect("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA");
    stage.until(492);
    stage.act(Action::HangUp);
    stage.expect("57 37 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05 67 E9 03 FA");
    stage.order("57 34 01 01 04 2A 6F 03 FA");
    stage.expect("57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 42 05 03 FA");
    stage.order("57 35 65 01 01 AA 4F 03 FA");
    stage.expect("57 39 65 10 01 00 00 28 17 41 00 00 28 17 41 00 00 00 00 00 45 7B 03 FA");
    assert_eq!(stage.say(POLL), NOTHING);
    assert_eq!(stage.wrongs(), []);
    let done = stage.pump.pump().fuellings().last().expect("a fuelling");
    assert_eq!((done.volume, done.cause), (Volume::new(4_920), EndCause::HungUp));
    assert_eq!(done.released_by.frame, bytes("57 33 03 04 00 09 99 00 01 01 06 32 51 03 FA"));
}

#[test]
fn a_preset_amount_by_recipe_2_is_answered_byte_for_byte() {
    let mut stage = Stage::new(Quirks::default(), 2_817_410).numbered(0xA);
    stage.preset_amount_until_filling();
    stage.until(476);
    stage.expect("57 3D 02 08 00 00 04 76 00 05 00 00 01 01 06 A8 97 03 FA");
    assert_eq!(stage.pump.condition(), Condition::Finished);
    stage.act(Action::HangUp);
    stage.expect("57 3E 03 04 01 05 00 01 01 01 05 EE 46 03 FA");
    stage.order("57 37 01 01 04 2A 2B 03 FA");
    stage.expect("57 3F 02 08 00 00 04 76 00 05 00 00 03 04 01 05 00 01 53 E7 03 FA");
    stage.order("57 38 65 01 01 A8 E3 03 FA");
    stage.expect("57 31 65 10 01 00 00 28 22 17 00 00 28 22 17 00 00 00 00 00 9D EA 03 FA");
}

#[test]
fn an_early_hang_up_is_an_ordinary_end() {
    let mut stage = Stage::new(Quirks { nozzle_first: true, ..Quirks::default() }, 0).numbered(0xA);
    stage.preset_amount_until_filling();
    stage.until(120);
    stage.act(Action::HangUp);
    // The sheet's block has the nozzle, the figures, the status: here with the head option that tells the nozzle first.
    stage.expect("57 3D 03 04 01 05 00 01 02 08 00 00 01 20 00 01 26 00 01 01 05 A4 2D 03 FA");
}

#[test]
fn hung_up_without_fuel_a_pump_may_stay_authorised_until_stopped() {
    let mut stage = Stage::new(Quirks { stays_authorised: true, ..Quirks::default() }, 2_822_170).numbered(2);
    stage.act(Action::Lift(ONE));
    stage.expect("57 32 03 04 01 05 00 11 77 1B 03 FA");
    stage.order("57 39 01 01 05 02 01 01 05 06 01 05 00 01 24 00 04 04 00 05 00 00 01 01 06 EF B9 03 FA");
    stage.expect("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 27 6D 03 FA");
    stage.act(Action::HangUp);
    stage.expect("57 34 03 04 01 05 00 01 10 D7 03 FA");
    stage.order("57 3A 01 01 08 28 82 03 FA");
    stage.expect("57 35 01 01 05 02 08 00 00 00 00 00 00 00 00 0A 8F 03 FA");
    stage.order("57 3B 65 01 01 A8 A7 03 FA");
    stage.expect("57 36 65 10 01 00 00 28 22 17 00 00 28 22 17 00 00 00 00 00 28 9E 03 FA");
}

#[test]
fn an_unacknowledged_block_comes_again_unchanged_after_a_controller_restart() {
    let mut stage = Stage::new(Quirks::default(), 2_812_490).numbered(1);
    stage.whole_sale_until_filling();
    stage.until(200);
    let running = "57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA";
    assert_eq!(stage.say(POLL), running);
    stage.until(310);
    stage.expect(running);
    stage.order("57 30 01 01 00 01 01 04 19 5B 03 FA");
    stage.expect("57 37 01 01 04 03 04 01 05 00 11 02 08 00 00 03 10 00 03 25 50 01 3C 03 FA");
    stage.until(492);
    stage.act(Action::HangUp);
    let end = stage.say(POLL);
    assert!(end.starts_with("57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05"), "{end}");
    stage.acknowledge(&end);
    stage.order("57 31 65 01 01 AB 7F 03 FA");
    assert!(stage.say(POLL).starts_with("57 39 65 10 01 00 00 28 17 41"));
}

#[test]
fn a_power_cut_begins_numbers_and_status_anew_until_prices_come() {
    let quirks = Quirks { announces_power_up: false, ..Quirks::default() };
    let mut stage = Stage::new(quirks, 2_812_490).numbered(7);
    stage.act(Action::Power(false));
    assert_eq!(stage.say(POLL), "");
    stage.act(Action::Power(true));
    assert_eq!(stage.say(POLL), NOTHING);
    stage.order(&hex(&frame::block(Address(0x57), BlockNumber::ZERO, &[1, 1, 0])));
    stage.expect("57 30 01 01 00 03 04 00 00 00 00 26 25 03 FA");
    stage.order("57 32 02 02 01 02 05 06 01 05 00 01 24 00 8B D1 03 FA");
    assert!(stage.say(POLL).starts_with("57 31 01 01 05 "));
}

#[test]
fn a_power_cut_while_fuelling_keeps_what_flowed_and_never_goes_on_by_itself() {
    let mut stage = Stage::new(Quirks::default(), 2_812_490).numbered(1);
    stage.whole_sale_until_filling();
    stage.until(200);
    stage.act(Action::Power(false));
    stage.act(Action::Power(true));
    assert_eq!(stage.pump.condition(), Condition::NotProgrammed);
    assert_eq!(stage.pump.poll_timeout(), None);
    // Status 0 by itself under number 0, then the last fuelling on request.
    let up = stage.say(POLL);
    assert!(up.starts_with("57 30 01 01 00 03 04 00 00 00 11"), "{up}");
    stage.acknowledge(&up);
    stage.order(&hex(&frame::block(Address(0x57), BlockNumber::ZERO, &[1, 1, 4])));
    assert!(stage.say(POLL).starts_with("57 31 02 08 00 00 02 00 00 02 10 00"));
    let done = stage.pump.pump().fuellings().last().expect("a fuelling");
    assert_eq!((done.volume, done.cause), (Volume::new(2_000), EndCause::PowerCut));
}

/// A block of the controller with this number and these transactions.
fn block(number: u8, transactions: &[u8]) -> String {
    hex(&frame::block(Address(0x57), BlockNumber::of(number), transactions))
}

/// RESET, both nozzles allowed, preset amount 50000, AUTHORIZE.
const AUTHORISE_ALL: [u8; 16] = [1, 1, 5, 2, 2, 1, 2, 4, 4, 0, 5, 0, 0, 1, 1, 6];

#[test]
fn a_new_order_under_the_last_number_is_acknowledged_and_not_done() {
    let mut stage = Stage::new(Quirks::default(), 0);
    stage.act(Action::Lift(ONE));
    stage.order(&block(3, &[2, 1, 1]));
    stage.order(&block(3, &AUTHORISE_ALL));
    assert_eq!(stage.pump.condition(), Condition::Calling);
    assert_eq!(stage.wrongs(), [Wrong::NumberRepeated]);
    stage.order(&block(4, &AUTHORISE_ALL));
    stage.order(&block(4, &AUTHORISE_ALL));
    assert_eq!(stage.pump.condition(), Condition::Released);
    assert_eq!(stage.wrongs(), [Wrong::NumberRepeated], "the same block again is a repeat and no fault");
}

#[test]
fn a_reset_with_the_nozzle_in_bounces_back_or_is_not_done_or_stays_as_the_head_is() {
    for (reset_hung, authorised) in
        [(ResetHung::BouncesBack, false), (ResetHung::NotExecuted, false), (ResetHung::Stays, true)]
    {
        let mut stage = Stage::new(Quirks { reset_hung, ..Quirks::default() }, 0);
        stage.order(&block(1, &AUTHORISE_ALL));
        assert_eq!(stage.pump.condition() == Condition::Released, authorised, "{reset_hung:?}");
        assert_eq!(stage.wrongs().contains(&Wrong::AuthoriseOutOfState), !authorised);
    }
}

#[test]
fn a_careless_controller_is_found_out() {
    let mut stage = Stage::new(Quirks::default(), 0);
    stage.act(Action::Lift(ONE));
    stage.order(&block(1, &[5, 3, 1, 5, 0, 1, 1, 5, 1, 1, 6]));
    assert_eq!(stage.wrongs(), [Wrong::TooFewPrices, Wrong::AuthoriseWithoutPreset, Wrong::AuthoriseWithoutNozzle]);
    stage.order(&block(2, &[1, 1, 8, 3, 4, 0, 0, 10, 0]));
    assert_eq!(stage.wrongs().last(), Some(&Wrong::Malformed));
    stage.order(&block(3, &AUTHORISE_ALL));
    stage.until_flow_begins();
    stage.order(&block(4, &[5, 6, 1, 5, 0, 1, 0x24, 0]));
    assert_eq!(stage.wrongs().last(), Some(&Wrong::PriceDuringFilling));
    stage.until(100);
    stage.act(Action::HangUp);
    stage.act(Action::Lift(ONE));
    stage.order(&block(5, &[1, 1, 5]));
    assert_eq!(stage.wrongs().last(), Some(&Wrong::ResetBeforeSaleAcknowledged));
}

#[test]
fn a_stop_ends_the_fuelling_at_once_or_is_told_with_the_nozzle_in() {
    for stop_reported_at_hang_up in [false, true] {
        let mut stage = Stage::new(Quirks { stop_reported_at_hang_up, ..Quirks::default() }, 0);
        stage.act(Action::Lift(ONE));
        stage.order(&block(1, &AUTHORISE_ALL));
        stage.until(150);
        stage.order(&block(2, &[1, 1, 8]));
        assert!(!stage.pump.pump().is_released());
        let before = stage.say(POLL);
        assert_eq!(before.contains("01 01 05"), !stop_reported_at_hang_up, "{before}");
        stage.acknowledge(&before);
        stage.act(Action::HangUp);
        let after = stage.say(POLL);
        assert_eq!(after.contains("02 08 00 00 01 50"), stop_reported_at_hang_up, "{after}");
        let moments: Vec<_> = core::iter::from_fn(|| stage.pump.poll_moment()).map(|(_, moment)| moment).collect();
        assert!(moments.contains(&Moment::StopArrived) && moments.contains(&Moment::AuthoriseArrived));
    }
}

#[test]
fn a_head_that_can_suspend_holds_the_flow_and_lets_it_go_on() {
    for (suspend, told) in [(SuspendForm::Status, "01 01 08"), (SuspendForm::Mark, "0E 01 00")] {
        let mut stage = Stage::new(Quirks { suspend, ..Quirks::default() }, 0);
        stage.act(Action::Lift(ONE));
        stage.order(&block(1, &AUTHORISE_ALL));
        stage.until(150);
        let began = stage.say(POLL);
        stage.acknowledge(&began);
        stage.order(&block(2, &[14, 1, 0]));
        assert_eq!(stage.pump.condition(), Condition::Suspended);
        assert!(!stage.pump.pump().is_flowing());
        let held = stage.say(POLL);
        assert!(held.contains(told), "{held}");
        stage.acknowledge(&held);
        stage.order(&block(3, &[15, 1, 0]));
        assert!(stage.pump.pump().is_flowing());
        stage.until(200);
    }
}

#[test]
fn a_limit_with_the_nozzle_in_is_5_or_again_6() {
    for (repeats_max_at_hang_up, status) in [(false, "01 01 05"), (true, "01 01 06")] {
        let mut stage = Stage::new(Quirks { repeats_max_at_hang_up, ..Quirks::default() }, 0).numbered(0xA);
        stage.preset_amount_until_filling();
        stage.until(476);
        stage.expect("57 3D 02 08 00 00 04 76 00 05 00 00 01 01 06 A8 97 03 FA");
        stage.act(Action::HangUp);
        let end = stage.say(POLL);
        assert!(end.contains(status), "{end}");
        stage.acknowledge(&end);
        stage.act(Action::Lift(ONE));
        stage.order(&block(9, &AUTHORISE_ALL));
        assert_eq!(stage.pump.condition(), Condition::Released, "both can be reset and authorised");
        assert_eq!(stage.wrongs(), []);
    }
}

/// What the next POLL brings after these transactions.
fn reply(stage: &mut Stage, number: u8, transactions: &[u8]) -> String {
    stage.order(&block(number, transactions));
    let answer = stage.say(POLL);
    if answer != NOTHING {
        stage.acknowledge(&answer);
    }
    answer
}

#[test]
fn totals_come_in_the_form_of_the_head() {
    for (totals, answer) in [
        (TotalsForm::SixteenTwice, "65 10 01 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00"),
        (TotalsForm::SixteenOnce, "65 10 01 00 00 28 12 49 00 00 00 00 00 00 00 00 00 00"),
        (TotalsForm::Six, "65 06 01 00 00 28 12 49"),
        (TotalsForm::Thirteen, "65 0D 01 00 00 00 28 12 49 00 00 00 00 00 00"),
        (TotalsForm::SixteenWithFifteen, "65 10 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00"),
    ] {
        let mut stage = Stage::new(Quirks { totals, ..Quirks::default() }, 2_812_490).numbered(1);
        let got = reply(&mut stage, 1, &[0x65, 1, 1]);
        let body = got.strip_prefix("57 31 ").unwrap_or_else(|| panic!("{got}"));
        assert!(body.starts_with(answer), "{totals:?}: {got}");
        let rest = &body[answer.len()..];
        assert!(rest.ends_with(" 03 FA") && rest.len() <= " CC 10 CC 03 FA".len() + 3, "{totals:?}: {got}");
        assert_eq!(reply(&mut stage, 2, &[0x65, 1, 9]), NOTHING, "it has no nozzle 9");
        assert_eq!(reply(&mut stage, 3, &[0x66, 1, 1]), NOTHING, "it knows no amount totals");
    }
}

#[test]
fn amount_totals_follow_the_money_where_the_head_tells_them() {
    for (amount_totals, request, answer) in [
        (AmountTotals::Counter1n, [0x65, 1, 0x11], "65 10 11"),
        (AmountTotals::Transaction66, [0x66, 1, 1], "66 10 01"),
    ] {
        let mut stage = Stage::new(Quirks { amount_totals, ..Quirks::default() }, 0).numbered(0xA);
        stage.preset_amount_until_filling();
        stage.until(476);
        stage.expect("57 3D 02 08 00 00 04 76 00 05 00 00 01 01 06 A8 97 03 FA");
        let got = reply(&mut stage, 7, &request);
        assert!(got.contains(&format!("{answer} 00 00 05 00 00")), "{got}");
    }
}

#[test]
fn an_emergency_stop_ends_the_flow_and_its_alarm_stands_until_reset() {
    let mut stage = Stage::new(Quirks::default(), 0).numbered(0xA);
    stage.preset_amount_until_filling();
    stage.act(Action::Alarm(9));
    assert!(!stage.pump.pump().is_released());
    let told = stage.say(POLL);
    assert!(told.starts_with("57 3D 05 01 09 02 08 00 00 01 00 00 01 05 00 01 01 05 "), "{told}");
    stage.acknowledge(&told);
    assert!(reply(&mut stage, 7, &[1, 1, 0]).contains(" 05 01 09 "));
    reply(&mut stage, 8, &[1, 1, 5]);
    assert!(!reply(&mut stage, 9, &[1, 1, 0]).contains(" 05 01 09 "));
}

#[test]
fn identity_and_damaged_blocks_are_answered_as_the_head_is_built() {
    let mut stage = Stage::new(Quirks { naks_damaged: true, ..Quirks::default() }, 0);
    assert!(reply(&mut stage, 1, &[1, 1, 3]).starts_with("57 30 09 05 00 00 02 00 00 "));
    assert_eq!(stage.say("57 32 01 01 06 00 00 03 FA"), "57 52 FA");
    let mut silent = Stage::new(Quirks::default(), 0);
    assert_eq!(silent.say("57 32 01 01 06 00 00 03 FA"), "");
}

#[test]
fn a_slow_head_authorises_late_and_a_stop_before_that_prevents_it() {
    for stopped in [false, true] {
        let quirks = Quirks { authorise_time: Duration::from_secs(2), ..Quirks::default() };
        let mut stage = Stage::new(quirks, 0);
        stage.act(Action::Lift(ONE));
        stage.order(&block(1, &AUTHORISE_ALL));
        assert_eq!(stage.pump.condition(), Condition::Calling);
        if stopped {
            stage.order(&block(2, &[1, 1, 8]));
        }
        stage.now = stage.now + Duration::from_millis(2_200);
        stage.pump.handle_timeout(stage.now);
        assert_eq!(stage.pump.condition() == Condition::Released, !stopped);
    }
}

#[test]
fn a_fuelling_released_by_hand_moves_the_totaliser_and_names_no_frame() {
    let mut stage = Stage::new(Quirks::default(), 1_000_000);
    stage.act(Action::ReleaseByHand);
    stage.act(Action::Lift(ONE));
    stage.until(300);
    stage.act(Action::HangUp);
    let done = stage.pump.pump().fuellings().last().expect("a fuelling");
    assert!(done.released_by.frame.is_empty());
    assert_eq!(
        (done.totaliser_before, done.totaliser_after),
        (Some(Volume::new(1_000_000)), Some(Volume::new(1_003_000)))
    );
}
