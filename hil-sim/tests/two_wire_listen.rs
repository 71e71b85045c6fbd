//! A two-wire loop of which we are not the master: listened to while another controller drives it, and left to it by a line of ours.

mod two_wire_stage;

use core::time::Duration;
use forecourt::pump::{Preset, PumpEvent, Reading};
use forecourt::units::{Money, Volume};
use hil_sim::dispenser::Action;
use hil_sim::dispenser::two_wire::quirks::Quirks;
use hil_sim::prng::PerMillion;
use hil_sim::wire::Faults;
use pump_drivers::line::{Echo, Line, LineSettings, OTHER_MASTER};
use pump_drivers::listen::Listener;
use pump_drivers::two_wire::{PollWatch, TwoWireEar, line_settings};
use two_wire_stage::*;

/// Another controller drives the loop, and we listen to it.
fn overheard(plan: &Plan) -> World {
    let mut world = World::new(plan);
    let line = line_settings();
    let mut tap = Listener::new(line, Box::new(TwoWireEar::new(&line, vec![(settings(plan), plan.habits.level)])));
    tap.handle_link(true, world.now);
    world.tap = Some(tap);
    world.run(5_000);
    world
}

fn ends(events: &[PumpEvent]) -> Vec<(Reading, Option<Volume>)> {
    let end = |event: &PumpEvent| match event {
        PumpEvent::Ended { reading, totaliser, .. } => Some((*reading, *totaliser)),
        _ => None,
    };
    events.iter().filter_map(end).collect()
}

/// The other controller releases, so much flows, and the customer hangs up.
fn sale(world: &mut World, cents: i64, ml: u32) {
    let before = ends(&world.events).len();
    world.lift();
    world.order(Preset::Amount(Money::new(cents)));
    world.until_released();
    world.until_flowed(ml);
    world.act(Action::HangUp);
    for _ in 0..200 {
        if ends(&world.events).len() > before {
            break;
        }
        world.run(100);
    }
    world.run(10_000);
}

#[test]
fn every_sale_of_another_controller_is_heard_once_with_the_figures_of_the_pump() {
    let quirks = [
        Quirks::default(),
        Quirks { shows_authorised: true, ..Quirks::default() },
        Quirks { shows_final_end: false, late_totals: 2, ..Quirks::default() },
        Quirks { large: true, records_zero_sale: false, ..Quirks::default() },
    ];
    for quirks in quirks {
        let width =
            if quirks.large { pump_drivers::two_wire::Width::Eight } else { pump_drivers::two_wire::Width::Six };
        let plan = Plan { quirks, ..Plan::default() };
        let plan = Plan { habits: pump_drivers::two_wire::Habits { width, ..plan.habits }, ..plan };
        let mut world = overheard(&plan);
        for (cents, ml) in [(5_000, 8_000), (1_000, 3_000), (700, 6_660)] {
            sale(&mut world, cents, ml);
        }
        // one who lifts and hangs up again, released or not, buys nothing
        world.lift();
        world.order(Preset::Amount(Money::new(1_000)));
        world.until_released();
        world.run(500);
        world.act(Action::HangUp);
        world.run(10_000);
        let truth: Vec<(Volume, Money)> = world
            .truth()
            .into_iter()
            .filter(|(volume, _)| volume.is_positive())
            .map(|(volume, amount)| (volume, Money::new(amount.into())))
            .collect();
        assert!(truth.len() >= 3, "{truth:?}");
        let heard = ends(&world.overheard);
        let sold: Vec<_> = heard.iter().map(|(reading, _)| (reading.volume, reading.amount)).collect();
        assert_eq!(sold, truth, "{quirks:?}: {:#?}", world.overheard);
        assert!(heard.iter().all(|(_, totaliser)| totaliser.is_some()), "{heard:#?}");
        let told = |event: &&PumpEvent| matches!(event, PumpEvent::Alarm { .. } | PumpEvent::Lost);
        assert_eq!(world.overheard.iter().find(told), None);
    }
}

#[test]
fn on_a_noisy_loop_no_sale_is_heard_that_was_not_made() {
    let often = |times| PerMillion(times);
    let faults = Faults { bit_flip: often(300), drop: often(1_000), junk: often(5_000), ..Faults::default() };
    let (mut made, mut whole) = (0, 0);
    for seed in 1..6 {
        let mut world = overheard(&Plan { seed, faults, ..Plan::default() });
        for ml in [4_000, 6_000] {
            sale(&mut world, 5_000, ml);
        }
        let truth = world.truth();
        made += truth.len();
        for (reading, _) in ends(&world.overheard) {
            let is_true = |(volume, amount): &(Volume, u32)| {
                (*volume, Money::new((*amount).into())) == (reading.volume, reading.amount)
            };
            assert!(truth.iter().any(is_true), "seed {seed}: {reading:?} of {truth:?}");
            whole += 1;
        }
    }
    assert!(whole * 10 >= made * 7, "{whole} of {made} sales were heard whole");
}

/// A line of ours with ears for another master, at a loop that echoes.
fn watchful(plan: &Plan, listen: Duration) -> Line {
    let laid = LineSettings { echo: Echo::Strip, listen_before: listen, ..line_settings() };
    Line::new(laid, vec![driver(plan)]).with_watch(Box::new(PollWatch::default()))
}

fn alarms(events: &[PumpEvent]) -> usize {
    events.iter().filter(|event| matches!(event, PumpEvent::Alarm { code: OTHER_MASTER, .. })).count()
}

#[test]
fn a_line_that_comes_to_a_driven_loop_sends_nothing() {
    let plan = Plan::default();
    let mut world = World::idle(&plan);
    let mut second = watchful(&plan, Duration::from_secs(1));
    second.handle_link(true, world.now);
    world.second = Some(second);
    world.run(3_000);
    sale(&mut world, 1_000, 3_000);
    assert_eq!(world.second_sent, []);
    assert_eq!(alarms(&world.seconds), 1);
    assert!(world.second.as_ref().is_some_and(|second| second.statistics().other_master));
}

#[test]
fn a_master_that_comes_later_silences_our_line_and_one_that_goes_lets_it_begin_anew() {
    let plan = Plan::default();
    let mut world = World::idle(&plan);
    // the second line is ours; the first falls silent and comes back
    world.line.handle_link(false, world.now);
    let mut ours = watchful(&plan, Duration::from_secs(1));
    ours.handle_link(true, world.now);
    world.second = Some(ours);
    world.run(5_000);
    let snapshots =
        |world: &World| world.seconds.iter().filter(|event| matches!(event, PumpEvent::Snapshot(_))).count();
    assert_eq!((snapshots(&world), alarms(&world.seconds)), (1, 0));
    let (now, sent) = (world.now, world.second_sent.len());
    world.line.handle_link(true, now);
    world.run(5_000);
    assert_eq!(alarms(&world.seconds), 1);
    let silent = world.second_sent.len();
    world.run(30_000);
    assert_eq!(world.second_sent.len(), silent, "it sent {} words since the other came", silent - sent);
    assert!(world.seconds.contains(&PumpEvent::Lost));
    let now = world.now;
    world.line.handle_link(false, now);
    world.run(4_000);
    assert_eq!(world.second_sent.len(), silent, "not before it has been quiet for a while");
    world.run(6_000);
    assert_eq!(snapshots(&world), 2, "the pump is read anew");
}

#[test]
fn our_own_talk_and_its_echo_are_no_other_master_in_noise_either() {
    for (echo, strip) in [(true, Echo::Strip), (true, Echo::None), (false, Echo::None)] {
        let often = |times| PerMillion(times);
        let faults = Faults { bit_flip: often(500), drop: often(2_000), junk: often(20_000), ..Faults::default() };
        for (seed, faults) in [(1, Faults::default()), (2, faults), (3, faults)] {
            let plan = Plan { echo, faults, seed, ..Plan::default() };
            let mut world = World::new(&plan);
            let laid = LineSettings { echo: strip, listen_before: Duration::from_secs(1), ..line_settings() };
            world.line = Line::new(laid, vec![driver(&plan)]).with_watch(Box::new(PollWatch::default()));
            world.line.handle_link(true, world.now);
            world.run(10_000);
            if strip == Echo::Strip || !echo {
                world.lift();
                world.order(Preset::Amount(Money::new(1_000)));
            }
            world.run(60_000);
            assert_eq!(alarms(&world.events), 0, "echo {echo}, {strip:?}, seed {seed}");
            assert!(world.sent_at + Duration::from_secs(2) > world.now, "it drives still");
        }
    }
}
