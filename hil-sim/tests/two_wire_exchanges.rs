//! The two-wire driver on its line against the simulated pump: the worked exchanges of the two-wire sheet, section 15, and what goes
//! wrong between them. On an invented clock.

use forecourt::pump::{Preset, PumpCommand, PumpEvent, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Money, Volume};
use hil_sim::dispenser::record::Wrong;
use hil_sim::dispenser::two_wire::quirks::Quirks;
use hil_sim::dispenser::{Action, NozzleIndex};
use hil_sim::prng::PerMillion;
use hil_sim::wire::Faults;
use pump_drivers::line::{Echo, Line, LineSettings};
use pump_drivers::two_wire::{Habits, Width, alarm, line_settings};
use std::collections::BTreeMap;

mod two_wire_stage;

use two_wire_stage::*;

#[test]
fn a_whole_sale_is_released_followed_and_read() {
    let mut world = World::idle(&Plan::default());
    let snapshot = world.snapshot();
    assert_eq!((snapshot.state, snapshot.lifted), (State::Idle, None));
    assert_eq!(snapshot.totalisers, BTreeMap::from([(nozzle(1), Volume::new(21_512_570))]));
    assert!(world.events.contains(&PumpEvent::Price { nozzle: nozzle(1), price: price(1_050) }));
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(8_000);
    assert!(world.events.iter().any(|event| matches!(event, PumpEvent::RunningAmount { .. })), "{:#?}", world.events);
    assert!(world.events.contains(&PumpEvent::State { state: State::Fuelling, lifted: Some(nozzle(1)) }));
    world.act(Action::HangUp);
    let (reading, totaliser) = world.until_ended();
    world.assert_true(&reading);
    assert_eq!((reading.nozzle, reading.price), (Some(nozzle(1)), Some(price(1_050))));
    let moved = totaliser.and_then(|total| total.checked_sub(Volume::new(21_512_570))).expect("a totaliser");
    assert!((moved.get() - reading.volume.get()).abs() <= 10, "{moved:?} {reading:?}");
    world.run(2_000);
    assert_eq!((world.ended().len(), world.wrongs(), world.alarms()), (1, vec![], vec![]));
    // at most the question for money that came when the handle was just in
    assert!(world.line.statistics().devices[0].timeouts <= 1, "{:#?}", world.said);
}

#[test]
fn a_preset_amount_goes_out_word_for_word_and_ends_the_sale_once() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.said.clear();
    world.order(euros(1_000));
    world.until_released();
    // section 15 B
    let at = |words: &str| world.said.iter().position(|said| said == words).unwrap_or_else(|| panic!("{words} unsaid"));
    let preset = at("> FF E5 F2 F8 E0 E0 E0 E1 E0 E0 FB E6 F0");
    assert_eq!(world.said[preset - 2..preset], ["> 27", "D7"]);
    assert!(at("> 17") > preset + 2, "the handle is looked at between preset and authorise: {:#?}", world.said);
    assert_eq!(world.says("17"), 1);
    world.until("preset reached", |event| matches!(event, PumpEvent::Ended { .. }));
    let (reading, _) = world.ended()[0];
    assert_eq!(reading.amount, Money::new(1_000));
    world.assert_true(&reading);
    world.act(Action::HangUp);
    world.run(3_000);
    assert_eq!((world.ended().len(), world.wrongs()), (1, vec![]));
    assert!(world.events.ends_with(&[PumpEvent::State { state: State::Idle, lifted: None }]));
}

#[test]
fn a_preset_volume_is_kept_at_small_and_large_heads() {
    for width in [Width::Six, Width::Eight] {
        let large = width == Width::Eight;
        let plan = Plan {
            quirks: Quirks { large, ..Quirks::default() },
            habits: Habits { width, ..Habits::default() },
            ..Plan::default()
        };
        let mut world = World::idle(&plan);
        world.lift();
        world.order(Preset::Volume(Volume::new(5_009)));
        world.until_released();
        world.until_flowed(5_000);
        let (reading, _) = world.until_ended();
        assert_eq!(reading.volume, Volume::new(5_000), "rounded down to what the preset takes; {width:?}");
        world.assert_true(&reading);
        assert_eq!((world.wrongs(), world.alarms()), (vec![], vec![]));
    }
}

#[test]
fn a_handle_hung_up_before_the_authorise_drops_the_order() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.said.clear();
    world.order(euros(1_000));
    while world.says("FF E5 F2 F8 E0 E0 E0 E1 E0 E0 FB E6 F0") == 0 {
        world.run(1);
    }
    world.act(Action::HangUp);
    world.run(3_000);
    assert_eq!((world.refusals(), world.says("17")), (vec![Refusal::NotCalling], 0));
    assert!(world.truth().is_empty());
}

#[test]
fn a_sale_without_fuel_is_nothing_even_where_the_record_shows_the_sale_before() {
    for records_zero_sale in [true, false] {
        let plan = Plan { quirks: Quirks { records_zero_sale, ..Quirks::default() }, ..Plan::default() };
        let mut world = World::idle(&plan);
        world.lift();
        world.order(euros(300));
        world.until_released();
        let (first, _) = world.until_ended();
        assert_eq!(first.amount, Money::new(300));
        world.act(Action::HangUp);
        world.run(2_000);
        world.lift();
        world.act(Action::Squeeze(false));
        world.order(euros(300));
        world.until_released();
        world.run(4_000);
        world.act(Action::HangUp);
        let (reading, totaliser) = world.until_ended();
        assert_eq!((reading.volume, reading.amount), (Volume::ZERO, Money::ZERO), "{records_zero_sale}");
        assert_eq!(reading.nozzle, Some(nozzle(1)));
        assert!(totaliser.is_some());
        assert_eq!((world.ended().len(), world.wrongs(), world.alarms()), (2, vec![], vec![]));
    }
}

#[test]
fn two_equal_sales_in_a_row_are_two_sales() {
    let mut world = World::idle(&Plan::default());
    for _ in 0..2 {
        world.lift();
        world.order(euros(300));
        world.until_released();
        let (reading, _) = world.until_ended();
        world.assert_true(&reading);
        world.act(Action::HangUp);
        world.run(2_000);
    }
    assert_eq!((world.ended().len(), world.alarms()), (2, vec![]));
}

#[test]
fn a_sale_may_end_straight_from_busy_to_idle_and_its_totals_may_come_late() {
    let quirks = Quirks { shows_final_end: false, shows_authorised: true, late_totals: 2, ..Quirks::default() };
    let mut world = World::idle(&Plan { quirks, ..Plan::default() });
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(3_200);
    world.act(Action::HangUp);
    let (reading, totaliser) = world.until_ended();
    world.assert_true(&reading);
    let total = world.wire.device(PUMP).expect("the pump").pump().totaliser(ONE, world.now).expect("a nozzle");
    assert!(totaliser.is_some_and(|read| (total.get() - read.get()).abs() < 10), "{totaliser:?} {total:?}");
    assert_eq!(world.alarms(), [] as [u16; 0]);
}

#[test]
fn a_stop_ends_the_flow_and_the_sale_ends_with_the_handle() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(2_000);
    world.command(PumpCommand::Stop);
    world.run(1_000);
    assert_eq!(world.says("37"), 1);
    let flowed = world.truth();
    assert_eq!(flowed.len(), 1);
    world.run(2_000);
    world.act(Action::HangUp);
    let (reading, _) = world.until_ended();
    world.assert_true(&reading);
    assert_eq!((world.says("FC"), world.alarms()), (0, vec![]));
}

#[test]
fn a_stop_without_effect_is_repeated_and_then_an_alarm() {
    for all_stop_at_last in [false, true] {
        let quirks = Quirks { ignores_stop: true, ..Quirks::default() };
        let habits = Habits { all_stop_at_last, ..Habits::default() };
        let mut world = World::idle(&Plan { quirks, habits, ..Plan::default() });
        world.lift();
        world.order(euros(5_000));
        world.until_released();
        world.until_flowed(1_000);
        world.command(PumpCommand::Stop);
        world.run(4_000);
        assert_eq!((world.says("37"), world.says("FC")), (5, usize::from(all_stop_at_last)));
        assert_eq!(world.alarms(), [alarm::STOP]);
    }
}

#[test]
fn a_withdrawn_release_is_not_authorised_or_stopped() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.order(euros(1_000));
    world.run(50);
    world.command(PumpCommand::Withdraw);
    world.run(3_000);
    assert_eq!((world.refusals(), world.says("17")), (vec![Refusal::NoEffect], 0));
    world.act(Action::Squeeze(false));
    world.order(euros(1_000));
    world.until_released();
    world.command(PumpCommand::Withdraw);
    world.run(1_000);
    world.act(Action::HangUp);
    let (reading, _) = world.until_ended();
    assert_eq!(reading.volume, Volume::ZERO);
}

#[test]
fn a_stopped_sale_goes_on_at_a_head_that_resumes() {
    let plan = Plan { quirks: Quirks { resumes: true, ..Quirks::default() }, suspend: true, ..Plan::default() };
    let mut world = World::idle(&plan);
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(2_000);
    world.command(PumpCommand::Suspend);
    world.until("suspend", |event| matches!(event, PumpEvent::State { state: State::SuspendedFuelling, .. }));
    world.run(2_000);
    assert!(world.ended().is_empty());
    world.command(PumpCommand::Resume);
    world.until_flowed(3_000);
    world.act(Action::HangUp);
    let (reading, _) = world.until_ended();
    world.assert_true(&reading);
    assert_eq!(world.wrongs(), []);
}

#[test]
fn an_order_at_another_price_is_refused_and_a_wrong_price_is_written_and_read_back() {
    let mut world = World::idle(&Plan { shown: vec![990], ..Plan::default() });
    world.run(6_000);
    assert_eq!(world.says("FF E5 F4 F6 E0 F7 E0 E5 E0 E1 FB EA F0"), 1, "{:?}", world.said);
    assert!(world.events.contains(&PumpEvent::Price { nozzle: nozzle(1), price: price(1_050) }));
    world.lift();
    world.order_of(1, euros(1_000), 2_000);
    world.run(3_000);
    assert_eq!(world.refusals(), [Refusal::PriceMismatch { shown: price(1_050) }]);
    assert_eq!((world.says("17"), world.alarms()), (0, vec![]));
}

#[test]
fn the_hose_of_several_is_learnt_and_only_its_order_is_released() {
    let mut world = World::idle(&Plan { shown: vec![1_050, 1_250], habits: Habits::default(), ..Plan::default() });
    assert_eq!(world.snapshot().totalisers.len(), 2);
    world.act(Action::Lift(NozzleIndex(2)));
    world.until("hose 2", |event| *event == PumpEvent::State { state: State::Calling, lifted: Some(nozzle(2)) });
    world.order(euros(1_000));
    world.run(500);
    assert_eq!(world.refusals(), [Refusal::NotCalling]);
    world.order_of(2, euros(1_000), 1_250);
    world.until_released();
    let (reading, totaliser) = world.until_ended();
    assert_eq!((reading.nozzle, reading.amount), (Some(nozzle(2)), Money::new(1_000)));
    assert!(totaliser > Some(Volume::new(21_512_570)));
    assert_eq!(world.wrongs(), []);
}

#[test]
fn nothing_is_written_before_the_snapshot_is_stored() {
    let mut world = World::idle(&Plan { shown: vec![990], store: false, ..Plan::default() });
    world.run(4_000);
    world.act(Action::Lift(ONE));
    world.run(1_000);
    world.order(euros(1_000));
    world.run(2_000);
    assert_eq!(world.refusals(), [Refusal::Unsettled]);
    assert!(world.said.iter().all(|said| said != "> 27" && said != "> 17"), "{:?}", world.said);
}

#[test]
fn a_controller_that_starts_during_a_sale_follows_it_and_tells_record_and_totals_at_its_end() {
    let plan = Plan::default();
    let mut world = World::idle(&plan);
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(5_000);
    world.restart(&plan);
    world.run(1_000);
    let adopted = world.snapshot();
    assert_eq!((adopted.state, adopted.reading, adopted.totalisers.len()), (State::Fuelling, None, 0));
    world.until_flowed(7_000);
    assert!(world.events.iter().any(|event| matches!(event, PumpEvent::RunningAmount { .. })));
    world.act(Action::HangUp);
    world.run(3_000);
    let over = world.snapshot();
    assert_eq!(over.state, State::Idle);
    world.assert_true(&over.reading.expect("a record"));
    let total = world.wire.device(PUMP).expect("the pump").pump().totaliser(ONE, world.now).expect("a nozzle");
    assert!((total.get() - over.totalisers[&nozzle(1)].get()).abs() < 10);
    assert_eq!((world.ended().len(), world.says("37")), (0, 0));
}

#[test]
fn a_sale_that_ended_while_nobody_listened_is_in_the_snapshot() {
    let plan = Plan::default();
    let mut world = World::idle(&plan);
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(2_000);
    world.wire.unplug(PUMP, true);
    world.until("loss", |event| *event == PumpEvent::Lost);
    world.act(Action::HangUp);
    world.run(1_000);
    world.wire.unplug(PUMP, false);
    world.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(_)));
    world.assert_true(&world.snapshot().reading.expect("a record"));
    assert!(world.ended().is_empty(), "whether it is booked is decided by the books");
}

#[test]
fn a_power_cut_ends_the_sale_and_the_pump_is_read_anew() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(2_000);
    world.act(Action::Power(false));
    world.until("loss", |event| *event == PumpEvent::Lost);
    world.act(Action::Power(true));
    world.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(_)));
    let snapshot = world.snapshot();
    assert_eq!(snapshot.state, State::Calling, "the handle is still out");
    world.assert_true(&snapshot.reading.expect("a record"));
    world.run(3_000);
    assert_eq!(world.says("17"), 1);
}

#[test]
fn an_echo_alone_is_no_answer() {
    let mut world = World::new(&Plan::default());
    world.wire.unplug(PUMP, true);
    world.run(10_000);
    assert_eq!(world.events, [PumpEvent::Lost]);
    assert_eq!(world.line.statistics().devices[0].last_good, None);
}

#[test]
fn an_echo_that_is_not_stripped_is_not_taken_for_a_state() {
    let mut world = World::new(&Plan::default());
    let laid = LineSettings { echo: Echo::None, ..line_settings() };
    world.line = Line::new(laid, vec![driver(&Plan::default())]);
    world.line.handle_link(true, Instant::START);
    world.run(10_000);
    let said = world.events.iter().any(|event| matches!(event, PumpEvent::State { .. } | PumpEvent::Released { .. }));
    assert!(!said, "{:#?}", world.events);
}

#[test]
fn a_lost_word_anywhere_in_a_release_ends_in_one_word_on_it_and_one_release_at_most() {
    // unplugged for 100 ms at every 15 ms of the sequence: each word of it and each answer is lost once
    for step in 0..90_u64 {
        let mut world = World::idle(&Plan::default());
        world.lift();
        world.order(euros(400));
        world.run(step * 15);
        world.wire.unplug(PUMP, true);
        world.run(100);
        world.wire.unplug(PUMP, false);
        world.run(60_000);
        let released = world.events.iter().filter(|event| matches!(event, PumpEvent::Released { .. })).count();
        assert_eq!(released + world.refusals().len(), 1, "step {step}: {:#?}", world.events);
        world.act(Action::HangUp);
        world.run(4_000);
        let truth: Vec<_> = world.truth().into_iter().map(|(volume, _)| volume).collect();
        let told: Vec<_> = world.ended().iter().map(|(reading, _)| reading.volume).collect();
        assert_eq!(told, truth, "step {step}");
        let limited = world.truth().iter().all(|(_, amount)| *amount <= 400);
        assert!(limited || world.alarms() == [alarm::OVERRUN], "step {step}: {:?}", world.truth());
        let grave: Vec<Wrong> = world.wrongs().into_iter().filter(|wrong| !matches!(wrong, Wrong::Malformed)).collect();
        assert!(grave.is_empty() || !limited, "step {step}: {grave:?}");
    }
}

#[test]
fn noise_never_makes_a_wrong_figure() {
    let mut all = 0;
    for seed in 0..12 {
        let faults = Faults {
            bit_flip: PerMillion(300),
            drop: PerMillion(1_000),
            double: PerMillion(500),
            silence: PerMillion(5_000),
            ..Faults::default()
        };
        let mut world = World::idle(&Plan { faults, seed, ..Plan::default() });
        let mut sold = 0;
        for _ in 0..6 {
            world.act(Action::Lift(ONE));
            world.run(1_500);
            world.order(euros(400));
            world.run(10_000);
            world.act(Action::HangUp);
            world.run(6_000);
        }
        let truth: Vec<_> = world.truth();
        for (reading, _) in world.ended() {
            if reading.volume.is_positive() {
                sold += 1;
                let known = (reading.volume, u32::try_from(reading.amount.get()).expect("small"));
                assert!(truth.contains(&known), "seed {seed}: {reading:?} of {truth:?}");
            }
        }
        let flowed = truth.iter().filter(|(volume, _)| volume.is_positive()).count();
        assert!(sold <= flowed, "seed {seed}: {sold} sales of {flowed} fuellings");
        all += sold;
    }
    assert!(all > 30, "{all} sales came through");
}

#[test]
fn a_head_of_six_grades_is_read_and_sells_its_last() {
    let shown = vec![1_050, 1_250, 1_260, 1_270, 1_280, 1_290];
    let habits = Habits { width: Width::Eight, ..Habits::default() };
    let plan = Plan { shown, habits, quirks: Quirks { large: true, ..Quirks::default() }, ..Plan::default() };
    let mut world = World::idle(&plan);
    assert_eq!(world.snapshot().totalisers.len(), 6);
    world.act(Action::Lift(NozzleIndex(6)));
    world.until("hose 6", |event| *event == PumpEvent::State { state: State::Calling, lifted: Some(nozzle(6)) });
    world.order_of(6, euros(1_000), 1_290);
    world.until_released();
    let (reading, _) = world.until_ended();
    assert_eq!((reading.nozzle, reading.price), (Some(nozzle(6)), Some(price(1_290))));
    world.assert_true(&reading);
    assert_eq!((world.wrongs(), world.alarms()), (vec![], vec![]));
}

#[test]
fn a_preset_that_got_lost_is_watched_and_the_pump_stopped_at_the_limit() {
    // the head reads a preset with one decimal where two are set: ten times as much may flow
    let quirks = Quirks { preset_decimals: 1, ..Quirks::default() };
    let mut world = World::idle(&Plan { quirks, ..Plan::default() });
    world.lift();
    world.order(Preset::Volume(Volume::new(2_000)));
    world.until_released();
    world.until("alarm", |event| matches!(event, PumpEvent::Alarm { code: alarm::OVERRUN, .. }));
    world.run(2_000);
    let (volume, _) = *world.truth().last().expect("a fuelling");
    assert!(volume < Volume::new(4_000), "{volume:?}");
    world.act(Action::HangUp);
    let (reading, _) = world.until_ended();
    world.assert_true(&reading);
}

#[test]
fn a_restart_after_a_preset_end_finds_the_sale_and_does_not_take_the_handle_for_a_new_call() {
    let plan = Plan::default();
    let mut world = World::idle(&plan);
    world.lift();
    world.order(euros(300));
    world.until_released();
    world.until_ended();
    world.restart(&plan);
    world.run(3_000);
    let snapshot = world.snapshot();
    world.assert_true(&snapshot.reading.expect("a record"));
    assert_eq!((snapshot.state, snapshot.lifted, snapshot.totalisers.len()), (State::Calling, Some(nozzle(1)), 1));
    world.order(euros(300));
    world.run(1_000);
    assert_eq!((world.refusals(), world.says("17")), (vec![Refusal::NotCalling], 1));
}

#[test]
fn wrong_decimals_of_the_totals_are_an_alarm() {
    let mut plan = Plan::default();
    let mut world = World::idle(&plan);
    plan.quirks.totals_decimals = 1;
    world.restart(&plan);
    world.run(3_000);
    world.lift();
    world.order(euros(1_000));
    world.until_released();
    world.run(60_000);
    assert_eq!(world.ended(), [], "with the handle out the totals must bear the record out");
    world.act(Action::HangUp);
    let (reading, _) = world.until_ended();
    world.assert_true(&reading);
    assert_eq!(world.alarms(), [alarm::DECIMALS]);
}

/// What was told of the state since the last end.
fn states_since_the_end(world: &World) -> Vec<(State, bool)> {
    let ended = world.events.iter().rposition(|event| matches!(event, PumpEvent::Ended { .. })).expect("an end");
    let told = world.events[ended..].iter().filter_map(|event| match event {
        PumpEvent::State { state, lifted } => Some((*state, lifted.is_some())),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_handle_hung_up_and_lifted_between_two_polls_is_told_as_hung_up() {
    // while fuel flows, and with the limit reached
    for flowing in [true, false] {
        let mut world = World::idle(&Plan::default());
        world.lift();
        world.order(euros(300));
        world.until_released();
        if flowing {
            world.until_flowed(1_000);
        } else {
            world.until_ended();
            world.run(2_000);
        }
        world.act(Action::HangUp);
        world.act(Action::Lift(NozzleIndex(1)));
        world.run(6_000);
        assert_eq!(world.ended().len(), 1);
        let told = states_since_the_end(&world);
        assert!(told.ends_with(&[(State::Idle, false), (State::Calling, true)]), "flowing {flowing}: {told:?}");
        world.order(euros(300));
        world.until_released();
        assert_eq!(world.wrongs(), []);
    }
}

#[test]
fn a_handle_still_out_at_the_limit_is_not_told_as_hung_up() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.order(euros(300));
    world.until_released();
    world.until_ended();
    world.run(4_000);
    assert_eq!(states_since_the_end(&world), [(State::Calling, true)]);
}

#[test]
fn a_handle_lifted_again_after_a_fuelling_that_nobody_saw_is_not_released_on_the_same_order() {
    for fuelled in [true, false] {
        let mut world = World::idle(&Plan::default());
        world.lift();
        world.act(Action::Squeeze(fuelled));
        world.order(euros(5_000));
        while world.says("17") == 0 {
            world.run(1);
        }
        world.run(20);
        world.wire.unplug(PUMP, true);
        world.run(900);
        world.act(Action::HangUp);
        world.act(Action::Lift(ONE));
        world.wire.unplug(PUMP, false);
        world.run(8_000);
        assert_eq!(world.wrongs(), [], "no authorise without a preset of its own; fuelled {fuelled}");
        if fuelled {
            let (reading, _) = *world.ended().last().expect("its end was found");
            world.assert_true(&reading);
            assert_eq!((world.says("17"), world.ended().len(), world.truth().len()), (1, 1, 1), "{:?}", world.said);
            assert!(states_since_the_end(&world).contains(&(State::Idle, false)), "the lift is a new one");
        }
    }
}

#[test]
fn a_limit_that_is_reached_is_booked_once_the_totals_bear_it_out_or_the_handle_is_in() {
    // the second limit is reached before the first question for money, and its record is like the one before
    for cents in [300, 60] {
        let quirks = Quirks { held_totals: true, ..Quirks::default() };
        let mut world = World::idle(&Plan { quirks, ..Plan::default() });
        for _ in 0..2 {
            world.lift();
            world.order(euros(cents));
            world.until_released();
            let before = world.ended().len();
            world.run(30_000);
            assert_eq!(world.ended().len(), before, "{cents}: {:#?}", world.ended());
            world.act(Action::HangUp);
            let (reading, totaliser) = world.until_ended();
            world.assert_true(&reading);
            let total = world.wire.device(PUMP).expect("the pump").pump().totaliser(ONE, world.now).expect("a nozzle");
            assert!(totaliser.is_some_and(|read| (total.get() - read.get()).abs() < 10), "{totaliser:?} {total:?}");
            world.run(2_000);
        }
        assert_eq!(world.alarms(), [] as [u16; 0]);
    }
}

#[test]
fn the_record_of_the_sale_before_is_never_told_for_a_sale_whose_money_was_seen() {
    let quirks = Quirks { late_record: 200, ..Quirks::default() };
    let mut world = World::idle(&Plan { quirks, ..Plan::default() });
    world.lift();
    world.order(euros(5_000));
    world.until_released();
    world.until_flowed(4_000);
    world.act(Action::HangUp);
    world.events.clear();
    world.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(_)));
    assert_eq!(world.ended(), [], "the books decide by the totaliser");
    let total = world.wire.device(PUMP).expect("the pump").pump().totaliser(ONE, world.now).expect("a nozzle");
    assert!((total.get() - world.snapshot().totalisers[&nozzle(1)].get()).abs() < 10);
}

#[test]
fn a_stop_that_nobody_heard_is_sent_again_when_the_pump_answers() {
    let mut world = World::idle(&Plan::default());
    world.lift();
    world.order(euros(9_000));
    world.until_released();
    world.until_flowed(2_000);
    world.wire.unplug(PUMP, true);
    world.command(PumpCommand::Stop);
    world.run(2_700);
    assert!(!world.events.contains(&PumpEvent::Lost), "too short for that");
    world.wire.unplug(PUMP, false);
    world.run(1_000);
    assert!(!world.wire.device(PUMP).expect("the pump").pump().is_flowing(), "{:?}", world.said);
    assert_eq!(world.alarms(), [] as [u16; 0]);
}

#[test]
fn a_preset_that_is_refused_is_no_release_whatever_is_set_for_the_echo() {
    for echo in [true, false] {
        for kind in [Echo::None, Echo::Strip, Echo::Auto] {
            let quirks = Quirks { refuses_presets: true, ..Quirks::default() };
            let plan = Plan { quirks, echo, ..Plan::default() };
            let mut world = World::new(&plan);
            world.line = Line::new(LineSettings { echo: kind, ..line_settings() }, vec![driver(&plan)]);
            world.line.handle_link(true, Instant::START);
            world.run(5_000);
            world.lift();
            world.order(euros(1_000));
            world.run(8_000);
            assert!(matches!(&world.refusals()[..], [Refusal::Faulty(_)]), "{echo} {kind:?}: {:?}", world.refusals());
            assert_eq!(world.says("17"), 0, "{echo} {kind:?}");
        }
    }
}
