//! The GasKitLink driver on a line with the simulated post: the worked exchanges of the sheet, section 7, and what goes wrong.

mod gaskitlink;

use core::time::Duration;
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Refusal, State};
use forecourt::units::{Money, UnitPrice, Volume};
use gaskitlink::*;
use hil_sim::dispenser::Action;
use hil_sim::dispenser::gaskitlink::message::State as Post;
use hil_sim::dispenser::gaskitlink::quirks::{AuthorisesIn, Cancelling, Quirks, StopForm};
use hil_sim::dispenser::record::EndCause;
use pump_drivers::gaskitlink::{AuthoriseIn, Habits, TotalQuery};
use std::collections::BTreeMap;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn early() -> Habits {
    Habits { authorise_in: AuthoriseIn::Idle, ..Habits::default() }
}

#[test]
fn a_whole_sale_is_released_after_the_lift_read_twice_and_closed_once_stored() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    assert_eq!(stage.words(), "S T C1", "all is read before anything else");
    let snapshot = stage.snapshot();
    assert_eq!((snapshot.state, snapshot.totalisers[&NOZZLE]), (State::Idle, Volume::new(8_123_450)));
    stage.run(MS(1_000));
    stage.act(Action::Lift(ONE));
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) }));
    stage.forget_frames();
    stage.order(1, Preset::Amount(Money::new(20_000)));
    stage.until(|event| matches!(event, PumpEvent::Released { .. }));
    assert_eq!(stage.frames(), ["02 00 05 4D 31 3B 30 32 30 30 30 30 3B 30 37 34 35 7D"]);
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Fuelling, lifted: Some(NOZZLE) }));
    stage.until(|event| matches!(event, PumpEvent::Running { volume, .. } if volume.get() > 10_000));
    stage.forget_frames();
    stage.until(|event| matches!(event, PumpEvent::State { state: State::SuspendedFuelling, .. }));
    stage.run(MS(1_000));
    let words = stage.words();
    assert!(words.contains("L R S") && words.contains("S T C1 S S"), "{words}");
    assert_eq!(stage.ended(), None, "the nozzle is still out");
    stage.act(Action::HangUp);
    stage.forget_frames();
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, lifted: None }));
    stage.run(MS(1_500));
    assert!(stage.words().starts_with("S T S N S"), "judged by the next S, 800 ms later: {}", stage.words());
    let (reading, totaliser) = stage.ended().expect("an end");
    assert_eq!((reading.volume, reading.amount), (Volume::new(26_840), Money::new(20_000)));
    assert_eq!((reading.nozzle, reading.price), (Some(NOZZLE), Some(PRICE)));
    assert_eq!(totaliser, Some(Volume::new(8_123_450 + 26_840)));
    assert!(stage.events.contains(&PumpEvent::Price { nozzle: NOZZLE, price: PRICE }));
    assert_eq!(stage.wrongs(), []);
}

#[test]
fn a_volume_preset_goes_out_before_the_lift_and_an_early_hang_up_is_an_ordinary_end() {
    for stopped_first in [MS(0), MS(400)] {
        let mut stage = Stage::new(Quirks { stopped_first, ..Quirks::default() }, early());
        stage.run(MS(500));
        stage.forget_frames();
        stage.order(1, Preset::Volume(Volume::new(30_000)));
        stage.until(|event| matches!(event, PumpEvent::State { state: State::Authorised, lifted: None }));
        assert_eq!(stage.frames(), ["02 00 05 56 31 3B 30 30 33 30 30 30 3B 30 37 34 35 67"]);
        stage.run(MS(3_000));
        stage.act(Action::Lift(ONE));
        stage.until(|event| matches!(event, PumpEvent::Running { volume, .. } if volume.get() > 5_000));
        stage.act(Action::HangUp);
        stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
        stage.assert_sale_is_the_pumps();
        assert_eq!(stage.wrongs(), []);
    }
}

#[test]
fn an_unread_sale_is_read_after_a_restart_and_not_closed_before_it_is_stored() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.sell(1, 5_000);
    let mut stage = stage.restarted_after_a_sale_that_nobody_read();
    stage.storing = false;
    stage.run(MS(5_000));
    assert!(stage.words().starts_with("S T C1 S"), "{}", stage.words());
    assert!(!stage.words().contains('N'), "nothing is closed before it is stored");
    let snapshot = stage.snapshot();
    let sold = stage.post().pump().fuellings().last().expect("a fuelling").clone();
    assert_eq!(snapshot.reading.map(|reading| reading.volume), Some(sold.volume));
    assert_eq!(snapshot.totalisers.get(&NOZZLE).copied(), sold.totaliser_after);
    assert_eq!(snapshot.state, State::Idle);
    stage.forget_frames();
    stage.store(snapshot.token);
    stage.run(MS(2_000));
    assert!(stage.words().starts_with("S N S"), "{}", stage.words());
    assert_eq!(stage.post_state(), Post::Idle);
    assert_eq!(stage.wrongs(), []);
}

#[test]
fn a_restart_in_a_running_fuelling_adopts_it_and_writes_nothing() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.restart();
    stage.until(
        |event| matches!(event, PumpEvent::Snapshot(s) if s.state == State::Fuelling && s.lifted == Some(NOZZLE)),
    );
    stage.until(|event| matches!(event, PumpEvent::State { state: State::SuspendedFuelling, .. }));
    stage.run(MS(500));
    stage.restart();
    stage.until(|event| matches!(event, PumpEvent::Snapshot(s) if s.state == State::SuspendedFuelling));
    stage.run(MS(3_000));
    assert!(!stage.words().contains(['V', 'M', 'B', 'N', 'G']), "{}", stage.words());
    stage.act(Action::HangUp);
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
    stage.assert_sale_is_the_pumps();
    assert_eq!(stage.wrongs(), []);
}

#[test]
fn a_lift_without_fuel_ends_as_a_sale_of_nothing() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.sell(1, 3_000);
    stage.act(Action::Squeeze(false));
    stage.act(Action::Lift(ONE));
    stage.act(Action::Squeeze(false));
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Calling, .. }));
    stage.order(2, Preset::Volume(Volume::new(10_000)));
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Started, .. }));
    stage.run(MS(2_000));
    stage.act(Action::HangUp);
    stage.forget_events();
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
    let (reading, totaliser) = stage.ended().expect("an end");
    assert_eq!((reading.volume, reading.amount), (Volume::ZERO, Money::ZERO));
    assert_eq!(totaliser, stage.totaliser());
}

#[test]
fn a_stop_ends_the_flow_at_once_and_nothing_lets_it_go_on() {
    for form in [StopForm::Pauses, StopForm::Ends] {
        let mut stage = Stage::new(Quirks { stop: form, ..Quirks::default() }, Habits::default());
        stage.fuelling(1, Preset::Volume(Volume::new(50_000)));
        stage.run(MS(4_000));
        stage.forget_frames();
        let asked = stage.now;
        stage.command(PumpCommand::Stop);
        while stage.post().pump().is_flowing() {
            stage.run(MS(1));
        }
        assert!(stage.now.since(asked) < MS(150), "{:?}", stage.now.since(asked));
        stage.until(|event| matches!(event, PumpEvent::State { state: State::SuspendedFuelling, .. }));
        stage.command(PumpCommand::Resume);
        stage.run(MS(5_000));
        assert_eq!(stage.words().matches('B').count(), 1, "{}", stage.words());
        assert!(!stage.words().contains('G') && !stage.post().pump().is_flowing());
        stage.act(Action::HangUp);
        stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
        stage.assert_sale_is_the_pumps();
    }
}

#[test]
fn a_post_that_can_be_held_goes_on_only_at_our_word() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.run(MS(4_000));
    stage.command(PumpCommand::Suspend);
    stage.until(|event| matches!(event, PumpEvent::State { state: State::SuspendedFuelling, .. }));
    let held = stage.post().pump().figures(stage.now);
    stage.run(MS(5_000));
    assert_eq!(stage.post().pump().figures(stage.now), held);
    assert!(!stage.words().contains('G'));
    stage.command(PumpCommand::Resume);
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Fuelling, .. }));
    stage.run(MS(60_000));
    stage.act(Action::HangUp);
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
    assert_eq!(stage.assert_sale_is_the_pumps(), Volume::new(20_000));
}

#[test]
fn an_authorisation_is_withdrawn_by_stop_then_close_and_told_only_once_the_post_rests() {
    for (cancelling, words) in [(Cancelling::EndedByStop, "B S T C1 T S N"), (Cancelling::TakenBackByClose, "B S N S")]
    {
        let mut stage = Stage::new(Quirks { cancelling, ..Quirks::default() }, early());
        stage.run(MS(500));
        stage.order(1, Preset::Volume(Volume::new(30_000)));
        stage.until(|event| matches!(event, PumpEvent::State { state: State::Authorised, .. }));
        stage.forget_frames();
        stage.forget_events();
        stage.command(PumpCommand::Withdraw);
        stage.run(MS(3_000));
        assert!(stage.words().starts_with(words), "{cancelling:?}: {}", stage.words());
        assert_eq!(stage.post_state(), Post::Idle);
        let over = stage.events.iter().any(|event| match event {
            PumpEvent::Ended { reading, .. } => reading.volume == Volume::ZERO,
            PumpEvent::Snapshot(snapshot) => snapshot.state == State::Idle,
            _ => false,
        });
        assert!(over, "{:#?}", stage.events);
        assert_eq!(stage.wrongs(), []);
    }
}

#[test]
fn an_authorisation_that_cannot_be_taken_back_stays_armed_and_is_stopped_when_it_is_lifted() {
    let mut stage = Stage::new(Quirks { cancelling: Cancelling::Ignored, ..Quirks::default() }, early());
    stage.run(MS(500));
    stage.order(1, Preset::Volume(Volume::new(30_000)));
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Authorised, .. }));
    stage.forget_events();
    stage.command(PumpCommand::Withdraw);
    stage.run(MS(10_000));
    let over = |event: &PumpEvent| !matches!(event, PumpEvent::Alarm { holds: true, .. });
    assert!(!stage.events.is_empty() && !stage.events.iter().any(over), "{:#?}", stage.events);
    stage.act(Action::Lift(ONE));
    stage.run(MS(4_000));
    assert!(!stage.post().pump().is_flowing());
    stage.act(Action::HangUp);
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
    assert!(stage.assert_sale_is_the_pumps() < Volume::new(1_500));
}

#[test]
fn a_release_whose_answer_is_lost_is_not_sent_again_and_one_that_never_arrived_is() {
    for (lose, count) in [(Lose::Answer, 1), (Lose::Request, 2)] {
        let mut stage = Stage::new(Quirks::default(), Habits::default());
        stage.calling();
        stage.lose = Some((b'V', lose, 1));
        stage.forget_frames();
        stage.order(1, Preset::Volume(Volume::new(5_000)));
        stage.until(|event| matches!(event, PumpEvent::Released { .. }));
        assert_eq!(stage.words().matches('V').count(), count, "{}", stage.words());
        assert!(stage.words().starts_with("V S"), "looked at before anything else: {}", stage.words());
        assert_eq!(stage.wrongs(), []);
    }
}

#[test]
fn a_release_that_never_arrives_is_refused_in_the_end() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.calling();
    stage.lose = Some((b'V', Lose::Request, 100));
    stage.order(1, Preset::Volume(Volume::new(5_000)));
    assert_eq!(stage.answer(), Some(Refusal::NoEffect));
    assert_eq!(stage.words().matches('V').count(), 3);
}

#[test]
fn a_post_that_takes_no_authorisation_in_its_state_is_refused_after_a_second_look() {
    for (authorises_in, habits) in [(AuthorisesIn::Idle, Habits::default()), (AuthorisesIn::Calling, early())] {
        let mut stage = Stage::new(Quirks { authorises_in, ..Quirks::default() }, habits);
        if habits == Habits::default() {
            stage.calling();
        } else {
            stage.run(MS(500));
        }
        stage.order(1, Preset::Volume(Volume::new(5_000)));
        assert_eq!(stage.answer(), Some(Refusal::NoEffect));
        assert_eq!(stage.words().matches('V').count(), 1, "{}", stage.words());
    }
}

#[test]
fn each_answer_of_an_end_may_be_lost_and_the_sale_is_booked_once() {
    for letter in *b"STCN" {
        for lose in [Lose::Answer, Lose::Request] {
            let mut stage = Stage::new(Quirks::default(), Habits::default());
            stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
            stage.run(MS(4_000));
            stage.lose = Some((letter, lose, 2));
            stage.act(Action::HangUp);
            stage.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
            stage.assert_sale_is_the_pumps();
            assert_eq!(stage.wrongs(), []);
        }
    }
}

#[test]
fn nothing_is_closed_and_no_order_taken_while_the_sale_is_not_stored() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.run(MS(3_000));
    stage.storing = false;
    stage.act(Action::HangUp);
    stage.forget_frames();
    stage.until(|event| matches!(event, PumpEvent::Ended { .. }));
    stage.run(MS(10_000));
    assert_eq!((stage.post_state(), stage.words().contains('N')), (Post::EndOfTransaction, false));
    stage.forget_events();
    stage.order(2, Preset::Volume(Volume::new(5_000)));
    assert_eq!(stage.answer(), Some(Refusal::Unsettled));
    stage.store_all();
    stage.run(MS(3_000));
    assert_eq!(stage.post_state(), Post::Idle, "closed once all is stored");
}

#[test]
fn an_order_that_comes_while_the_post_closes_waits_for_it() {
    let mut stage = Stage::new(Quirks::default(), early());
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.run(MS(3_000));
    stage.act(Action::HangUp);
    stage.until(|event| matches!(event, PumpEvent::Ended { .. }));
    stage.run(MS(60));
    stage.order(2, Preset::Volume(Volume::new(5_000)));
    stage.until(|event| matches!(event, PumpEvent::Released { release } if release.0 == 2));
    assert_eq!(stage.wrongs(), []);
}

#[test]
fn an_order_that_waits_for_a_post_which_does_not_close_is_refused_in_the_end() {
    let mut stage = Stage::new(Quirks::default(), early());
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.run(MS(3_000));
    stage.lose = Some((b'N', Lose::Request, 1_000));
    stage.act(Action::HangUp);
    stage.until(|event| matches!(event, PumpEvent::Ended { .. }));
    stage.run(MS(60));
    stage.forget_events();
    stage.order(2, Preset::Volume(Volume::new(5_000)));
    stage.run(MS(20_000));
    assert_eq!(stage.answer(), Some(Refusal::Unsettled));
    assert!(stage.events.iter().any(|event| matches!(event, PumpEvent::Alarm { code: 0x203, .. })));
    assert!(!stage.words().contains('G') && stage.words().matches('V').count() == 1, "{}", stage.words());
}

#[test]
fn a_power_cut_while_fuelling_is_told_as_a_silence_and_settled_by_what_the_post_kept() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.run(MS(4_000));
    stage.act(Action::Power(false));
    stage.until(|event| matches!(event, PumpEvent::Lost));
    assert_eq!(stage.ended(), None, "silence never means stopped");
    stage.act(Action::HangUp);
    stage.act(Action::Power(true));
    stage.forget_events();
    stage.until(|event| matches!(event, PumpEvent::Snapshot(_)));
    let sold = stage.post().pump().fuellings().last().expect("a fuelling").clone();
    let snapshot = stage.snapshot();
    assert_eq!((sold.cause, snapshot.state), (EndCause::PowerCut, State::Idle));
    assert_eq!(snapshot.reading.map(|reading| reading.volume), Some(sold.volume));
    stage.run(MS(3_000));
    assert_eq!((stage.post_state(), stage.wrongs()), (Post::Idle, vec![]));
}

#[test]
fn a_transaction_that_vanishes_without_its_end_is_settled_by_a_new_snapshot() {
    let mut stage = Stage::with(Quirks::default(), Habits::default(), |pump| pump.keeps_sale = false);
    stage.fuelling(1, Preset::Volume(Volume::new(20_000)));
    stage.run(MS(4_000));
    stage.act(Action::HangUp);
    stage.act(Action::Power(false));
    stage.act(Action::Power(true));
    stage.forget_events();
    stage.until(|event| matches!(event, PumpEvent::Snapshot(_)));
    let snapshot = stage.snapshot();
    assert_eq!((snapshot.state, snapshot.totalisers.get(&NOZZLE).copied()), (State::Idle, stage.totaliser()));
    assert_eq!(stage.ended(), None);
}

#[test]
fn an_order_is_refused_where_price_or_limit_cannot_stand_in_the_post() {
    let cases = [
        (Preset::Volume(Volume::new(900_010)), PRICE, Refusal::PresetUnsupported),
        (Preset::Volume(Volume::new(9)), PRICE, Refusal::PresetUnsupported),
        (Preset::Amount(Money::new(1_000_000)), PRICE, Refusal::PresetUnsupported),
        (Preset::Amount(Money::ZERO), PRICE, Refusal::PresetUnsupported),
        (Preset::Volume(Volume::new(5_000)), UnitPrice::new(7_460_000), Refusal::PriceMismatch { shown: PRICE }),
    ];
    for (preset, price, why) in cases {
        let mut stage = Stage::new(Quirks::default(), Habits::default());
        stage.calling();
        stage.forget_frames();
        stage.order_at(1, preset, price);
        assert_eq!(stage.answer(), Some(why));
        assert!(!stage.words().contains(['V', 'M']));
    }
}

#[test]
fn a_new_price_goes_out_with_the_next_release_and_one_of_five_digits_is_called_out() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    let (fits, too_long) = (UnitPrice::new(8_010_000), UnitPrice::new(100_000_000));
    stage.command(PumpCommand::SetPrices(BTreeMap::from([(NOZZLE, fits)])));
    stage.command(PumpCommand::SetPrices(BTreeMap::from([(NOZZLE, too_long)])));
    assert!(stage.events.iter().any(|event| matches!(event, PumpEvent::Alarm { code: 0x201, holds: false, .. })));
    stage.calling();
    stage.forget_frames();
    stage.order_at(1, Preset::Volume(Volume::new(5_000)), fits);
    stage.until(|event| matches!(event, PumpEvent::Released { .. }));
    assert!(stage.frames()[0].contains("3B 30 38 30 31"), "{:?}", stage.frames());
    stage.run(MS(15_000));
    stage.act(Action::HangUp);
    stage.until(|event| matches!(event, PumpEvent::Ended { .. }));
    assert_eq!(stage.ended().and_then(|(reading, _)| reading.price), Some(fits));
}

#[test]
fn a_nozzle_hung_up_before_the_release_arrives_is_refused() {
    let mut stage = Stage::new(Quirks { authorises_in: AuthorisesIn::Calling, ..Quirks::default() }, Habits::default());
    stage.calling();
    stage.act(Action::HangUp);
    stage.run(MS(500));
    stage.order(1, Preset::Volume(Volume::new(5_000)));
    assert_eq!(stage.answer(), Some(Refusal::NotCalling));
}

#[test]
fn an_error_state_is_called_out_refuses_orders_and_is_read_anew_when_it_is_over() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.act(Action::Alarm(1));
    stage.until(|event| matches!(event, PumpEvent::State { state: State::Inoperative, .. }));
    assert!(stage.events.iter().any(|event| matches!(event, PumpEvent::Alarm { code: 0, holds: true, .. })));
    stage.order(1, Preset::Volume(Volume::new(5_000)));
    assert!(matches!(stage.answer(), Some(Refusal::Faulty(_))));
    stage.forget_events();
    stage.act(Action::Alarm(0));
    stage.until(|event| matches!(event, PumpEvent::Snapshot(s) if s.state == State::Idle));
    stage.sell(2, 3_000);
}

#[test]
fn a_post_at_rest_is_asked_three_times_a_second_and_one_that_fuels_more_often() {
    let mut stage = Stage::new(Quirks::default(), Habits::default());
    stage.run(MS(1_000));
    stage.forget_frames();
    stage.run(MS(10_000));
    assert!((28..=34).contains(&stage.frames().len()), "{} polls", stage.frames().len());
    stage.fuelling(1, Preset::Volume(Volume::new(50_000)));
    stage.forget_frames();
    stage.run(MS(10_000));
    assert!((60..=84).contains(&stage.frames().len()), "{} polls", stage.frames().len());
}

#[test]
fn the_active_nozzles_totaliser_is_asked_for_where_the_site_says_so() {
    let mut stage = Stage::new(Quirks::default(), Habits { total_query: TotalQuery::Active, ..Habits::default() });
    assert_eq!(stage.words(), "S T C0");
    stage.sell(1, 4_000);
    assert!(!stage.words().contains("C1"));
}
