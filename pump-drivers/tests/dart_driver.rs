//! The DART driver through the line, against a pump of the worked exchanges.

mod common;

use common::*;
use core::time::Duration;
use forecourt::ids::{NozzleId, ReleaseId};
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Reading, Refusal, State, Token};
use forecourt::units::{Money, Volume};
use pump_drivers::dart::message::{Command, ControllerSays};

const ONE: ReleaseId = ReleaseId(1);

fn limit() -> Preset {
    Preset::Volume(Volume::new(999_000))
}

fn is_reset(says: &[ControllerSays]) -> bool {
    says.contains(&ControllerSays::Command(Command::Reset))
}

fn released(world: &mut World) {
    world.pump().lift(1);
    world.until("calling", |e| matches!(e, PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) }));
    world.command(order(1, limit()));
    world.until("release", |e| *e == PumpEvent::Released { release: ONE });
}

fn reading(volume: i64, amount: i64) -> Reading {
    Reading {
        nozzle: Some(NOZZLE),
        volume: Volume::new(volume),
        amount: Money::new(amount),
        price: Some(price(10_500)),
    }
}

#[test]
fn everything_is_read_before_anything_is_written() {
    let mut world = World::new(fast(), vec![head()], vec![Box::new(Pump::new(0x57))]);
    world.storing = Storing::Never;
    world.run(Duration::from_secs(3));
    let snapshot = world.told().into_iter().find_map(|e| match e {
        PumpEvent::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    let snapshot = snapshot.expect("a snapshot");
    assert_eq!((snapshot.state, snapshot.lifted, snapshot.power_cycled), (State::Idle, None, false));
    assert_eq!(snapshot.totalisers.values().copied().collect::<Vec<_>>(), [Volume::new(2_812_490); 2]);
    let writes = |says: &ControllerSays| {
        !matches!(
            says,
            ControllerSays::Command(Command::ReturnStatus | Command::ReturnFilling) | ControllerSays::Total { .. }
        )
    };
    assert!(!world.heard().iter().flatten().any(writes), "{:?}", world.heard());
    world.command(PumpCommand::Stored(snapshot.token));
    world.run(Duration::from_secs(1));
    let written: Vec<_> = world.heard().into_iter().flatten().filter(writes).collect();
    assert!(matches!(written[..], [ControllerSays::AllowedNozzles(_), ControllerSays::Prices(_)]), "{written:?}");
}

#[test]
fn a_whole_sale_is_released_followed_and_ended_with_its_totaliser() {
    let mut world = World::one();
    released(&mut world);
    world.pump().flow(200, 21_000);
    world.until("figures", |e| *e == PumpEvent::Running { volume: Volume::new(2_000), amount: Money::new(2_100_000) });
    world.pump().flow(492, 51_660);
    world.pump().hang();
    world.until("the end", |e| matches!(e, PumpEvent::Ended { .. }));
    let ended = world.told().into_iter().find(|e| matches!(e, PumpEvent::Ended { .. })).expect("ended");
    let PumpEvent::Ended { reading: figures, totaliser, .. } = ended else { unreachable!() };
    assert_eq!(figures, reading(4_920, 5_166_000));
    assert_eq!(totaliser, Some(Volume::new(2_817_410)));
    world.run(Duration::from_millis(100));
    assert_eq!(world.told().last(), Some(&PumpEvent::State { state: State::Idle, lifted: None }));
    assert_eq!(world.pump().violations, Vec::<String>::new());
}

#[test]
fn an_end_is_not_acknowledged_before_it_is_stored_and_nothing_is_reset() {
    let mut world = World::one();
    released(&mut world);
    world.pump().flow(492, 51_660);
    world.run(Duration::from_millis(200));
    world.storing = Storing::Never;
    world.pump().hang();
    let at = world.until("the end", |e| matches!(e, PumpEvent::EndSeen { .. }));
    let heard = world.heard().len();
    let acks = |world: &World| {
        world.trace.iter().filter(|(when, _, bytes)| *when > at && bytes.len() == 3 && bytes[1] >> 4 == 0xC).count()
    };
    world.run(Duration::from_secs(2));
    assert_eq!(acks(&world), 0);
    assert_eq!(world.heard().len(), heard, "nothing is asked either");
    let ends = world.told().iter().filter(|e| matches!(e, PumpEvent::EndSeen { .. })).count();
    assert_eq!(ends, 1, "the repeated block is not processed again");
    let Some(PumpEvent::EndSeen { token, .. }) =
        world.told().into_iter().rev().find(|e| matches!(e, PumpEvent::EndSeen { .. }))
    else {
        unreachable!()
    };
    world.command(PumpCommand::Stored(token));
    world.until("the confirmed end", |e| matches!(e, PumpEvent::Ended { .. }));
    assert!(acks(&world) > 0);
    world.pump().lift(1);
    world.run(Duration::from_millis(500));
    let before = world.heard().len();
    world.command(order(2, limit()));
    world.run(Duration::from_millis(500));
    assert_eq!(world.told().last(), Some(&PumpEvent::Refused { release: ReleaseId(2), why: Refusal::Unsettled }));
    assert!(!world.heard()[before..].iter().any(|says| is_reset(says)), "RESET before the end is stored");
}

#[test]
fn somebody_who_fuels_by_hand_before_an_end_is_stored_does_not_alter_it_and_is_read_in_afterwards() {
    for nozzle in [1, 2] {
        let mut world = World::one();
        released(&mut world);
        world.pump().flow(492, 51_660);
        world.run(Duration::from_millis(200));
        world.storing = Storing::Never;
        world.pump().hang();
        world.until("the end", |e| matches!(e, PumpEvent::EndSeen { .. }));
        // a key at the pump releases the next fuelling, of which the controller hears nothing until it has stored the first
        let pump = world.pump();
        pump.lift(nozzle);
        (pump.status, pump.volume, pump.amount) = (2, 0, 0);
        pump.flow(300, 31_500);
        pump.hang();
        world.storing = Storing::AtOnce;
        world.command(PumpCommand::Stored(Token(2)));
        world.until("the confirmed end", |e| matches!(e, PumpEvent::Ended { .. }));
        let ended = world.told().into_iter().rev().find(|e| matches!(e, PumpEvent::Ended { .. }));
        let Some(PumpEvent::Ended { reading: figures, .. }) = ended else { unreachable!() };
        assert_eq!((figures.volume, figures.amount), (Volume::new(4_920), Money::new(5_166_000)), "nozzle {nozzle}");
        world.until("all is read again", |e| matches!(e, PumpEvent::Snapshot(_)));
        let read_in = world.told().into_iter().rev().find(|e| matches!(e, PumpEvent::Snapshot(_)));
        let Some(PumpEvent::Snapshot(snapshot)) = read_in else { unreachable!() };
        let of_the_key = snapshot.reading.expect("the last figures");
        assert_eq!(
            (of_the_key.nozzle, of_the_key.volume),
            (Some(NozzleId(80 + u16::from(nozzle))), Volume::new(3_000))
        );
    }
}

#[test]
fn an_authorise_whose_answer_is_lost_is_judged_by_the_status_and_not_repeated() {
    let mut world = World::one();
    world.pump().lift(1);
    world.until("calling", |e| matches!(e, PumpEvent::State { state: State::Calling, .. }));
    world.pump().mute_from_authorize = 2;
    world.command(order(1, limit()));
    let authorize = ControllerSays::Command(Command::Authorize);
    world.until("release", |e| *e == PumpEvent::Released { release: ONE });
    let sent = world.heard().iter().flatten().filter(|says| **says == authorize).count();
    assert_eq!(sent, 1);
    assert_eq!(world.pump().violations, Vec::<String>::new());
}

#[test]
fn an_authorise_that_never_arrives_is_sent_again_after_a_look() {
    let mut world = World::one();
    world.pump().lift(1);
    world.until("calling", |e| matches!(e, PumpEvent::State { state: State::Calling, .. }));
    world.pump().lost_authorizes = 1;
    world.command(order(1, limit()));
    world.until("release", |e| *e == PumpEvent::Released { release: ONE });
    assert_eq!(world.pump().lost_authorizes, 0);
    assert_eq!(world.pump().violations, Vec::<String>::new());
}

#[test]
fn a_release_without_effect_is_refused_after_the_patience_for_slow_heads_and_late_effect_is_stopped() {
    let mut world = World::one();
    world.pump().lift(1);
    world.until("calling", |e| matches!(e, PumpEvent::State { state: State::Calling, .. }));
    world.pump().ignores_authorize = true;
    let began = world.now;
    world.command(order(1, limit()));
    let refused = world.until("refusal", |e| *e == PumpEvent::Refused { release: ONE, why: Refusal::NoEffect });
    assert!(refused.since(began) >= Duration::from_secs(5), "{:?}", refused.since(began));
    assert_eq!(world.pump().violations, Vec::<String>::new());
    world.pump().status = 2;
    let body = world.pump().dc1();
    world.pump().say(body);
    world.run(Duration::from_secs(1));
    assert_eq!(world.pump().status, 5, "a release that we disowned is stopped");
}

#[test]
fn a_nozzle_hung_up_without_fuel_is_stopped_and_ends_at_zero() {
    let mut world = World::one();
    world.pump().stays_authorised = true;
    released(&mut world);
    world.pump().hang();
    world.until("a zero end", |e| {
        matches!(e, PumpEvent::Ended { reading, totaliser: Some(total), .. }
            if !reading.volume.is_positive() && *total == Volume::new(2_812_490))
    });
    assert_eq!(world.pump().status, 5);
}

#[test]
fn a_withdrawn_release_ends_at_zero_with_the_nozzle_still_out() {
    let mut world = World::one();
    released(&mut world);
    world.command(PumpCommand::Withdraw);
    world.until("a zero end", |e| matches!(e, PumpEvent::Ended { reading, .. } if !reading.volume.is_positive()));
    world.run(Duration::from_millis(50));
    assert_eq!(world.told().last(), Some(&PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) }));
}

#[test]
fn a_stop_ends_the_flow_and_the_sale_ends_at_hang_up() {
    let mut world = World::one();
    released(&mut world);
    world.pump().flow(200, 21_000);
    world.run(Duration::from_millis(200));
    world.command(PumpCommand::Stop);
    world.run(Duration::from_millis(100));
    assert_eq!(world.pump().status, 5);
    assert!(!world.told().iter().any(|e| matches!(e, PumpEvent::EndSeen { .. })), "the nozzle is still out");
    world.pump().hang();
    world.until("the end", |e| matches!(e, PumpEvent::Ended { reading: r, .. } if *r == reading(2_000, 2_100_000)));
}

#[test]
fn a_limit_reached_with_the_nozzle_out_is_not_the_end() {
    let mut world = World::one();
    released(&mut world);
    world.pump().flow(476, 50_000);
    world.pump().status = 6;
    let body = world.pump().dc1();
    world.pump().say(body);
    world.run(Duration::from_secs(1));
    assert!(!world.told().iter().any(|e| matches!(e, PumpEvent::EndSeen { .. })));
    let last = world.told().into_iter().rev().find(|e| matches!(e, PumpEvent::State { .. }));
    assert_eq!(last, Some(PumpEvent::State { state: State::Fuelling, lifted: Some(NOZZLE) }));
    world.pump().hang();
    world.until("the end", |e| matches!(e, PumpEvent::Ended { reading: r, .. } if *r == reading(4_760, 5_000_000)));
}

#[test]
fn an_order_is_refused_with_its_reason_and_nothing_is_written() {
    type Prepare = fn(&mut Pump);
    let cases: [(Prepare, Preset, Refusal); 4] = [
        (|p| p.hang(), limit(), Refusal::NotCalling),
        (|p| p.lift(2), limit(), Refusal::NotCalling),
        (|p| p.lift(1), Preset::Volume(Volume::new(9)), Refusal::PresetUnsupported),
        (|p| p.say(vec![5, 1, 9]), limit(), Refusal::Faulty("emergency stop".into())),
    ];
    for (prepare, preset, why) in cases {
        let mut world = World::one();
        prepare(world.pump());
        world.run(Duration::from_millis(300));
        let heard = world.heard().len();
        world.command(order(1, preset));
        world.run(Duration::from_millis(300));
        assert!(world.told().contains(&PumpEvent::Refused { release: ONE, why: why.clone() }), "{why:?}");
        assert_eq!(world.heard().len(), heard, "{why:?}");
    }
}

#[test]
fn a_wrong_price_is_written_once_and_refused_if_it_stays() {
    let mut world = World::one();
    world.pump().prices[0] = [1, 6, 0];
    released(&mut world);
    assert_eq!(world.pump().prices[0], [1, 5, 0], "written with the release");

    let mut world = World::one();
    world.pump().lift(1);
    world.run(Duration::from_millis(300));
    let other = PumpCommand::Authorise(forecourt::pump::Authorise {
        release: ONE,
        nozzle: NOZZLE,
        preset: limit(),
        price: price(9_999),
    });
    world.command(other);
    assert_eq!(
        world.told().last(),
        Some(&PumpEvent::Refused { release: ONE, why: Refusal::PriceMismatch { shown: price(10_500) } })
    );
}

#[test]
fn silence_is_told_as_loss_and_the_pump_is_read_anew_when_it_is_back() {
    let mut world = World::one();
    released(&mut world);
    world.pump().flow(200, 21_000);
    world.run(Duration::from_millis(200));
    world.pump().silent = true;
    let began = world.now;
    let lost = world.until("loss", |e| *e == PumpEvent::Lost);
    assert!(lost.since(began) <= Duration::from_millis(1_900), "{:?}", lost.since(began));
    world.run(Duration::from_secs(20));
    world.pump().silent = false;
    let back = world.now;
    let found = world.until("a snapshot", |e| {
        matches!(e, PumpEvent::Snapshot(s) if s.state == State::Fuelling && !s.power_cycled
            && s.reading == Some(reading(2_000, 2_100_000)))
    });
    assert!(found.since(back) <= Duration::from_secs(5));
    world.pump().hang();
    world.until("the end", |e| matches!(e, PumpEvent::Ended { reading: r, .. } if *r == reading(2_000, 2_100_000)));
}

#[test]
fn a_power_cycle_shorter_than_the_loss_limit_is_noticed_and_the_prices_are_written_after_it() {
    let mut world = World::one();
    world.pump().power_cycle();
    world.until("a snapshot", |e| matches!(e, PumpEvent::Snapshot(s) if s.power_cycled && s.state == State::Closed));
    world.until("idle", |e| matches!(e, PumpEvent::State { state: State::Idle, .. }));
    assert_eq!(world.pump().prices, [[1, 5, 0], [1, 0x24, 0]]);
}

#[test]
fn garbage_before_an_answer_changes_nothing() {
    let mut world = World::one();
    world.pump().garbage_before = vec![0xFE, 0xB8];
    released(&mut world);
    world.pump().flow(492, 51_660);
    world.pump().hang();
    world.until("the end", |e| matches!(e, PumpEvent::Ended { reading: r, .. } if *r == reading(4_920, 5_166_000)));
    assert_eq!(world.line.statistics().devices[0].bad_frames, 0);
}

#[test]
fn suspend_and_resume_go_out_where_the_head_takes_them_and_nowhere_else() {
    for takes in [true, false] {
        let mut settings = head();
        settings.suspend = takes;
        let mut world = World::new(fast(), vec![settings], vec![Box::new(Pump::new(0x57))]);
        world.run(Duration::from_millis(600));
        released(&mut world);
        world.pump().flow(200, 21_000);
        world.run(Duration::from_millis(100));
        world.command(PumpCommand::Suspend);
        world.pump().say(vec![0x0E, 1, 0]);
        world.run(Duration::from_millis(200));
        let sent = world.heard().iter().any(|says| says[..] == [ControllerSays::Suspend(0)]);
        assert_eq!(sent, takes);
        let suspended = PumpEvent::State { state: State::SuspendedFuelling, lifted: Some(NOZZLE) };
        assert!(world.told().contains(&suspended), "the mark DC14 counts as suspended");
        world.command(PumpCommand::Resume);
        world.pump().say(vec![0x0F, 1, 0]);
        world.run(Duration::from_millis(200));
        assert_eq!(world.heard().iter().any(|says| says[..] == [ControllerSays::Resume(0)]), takes);
        assert_eq!(world.told().last(), Some(&PumpEvent::State { state: State::Fuelling, lifted: Some(NOZZLE) }));
    }
}

#[test]
fn prices_are_written_when_the_pump_is_idle_and_told_back() {
    let mut world = World::one();
    released(&mut world);
    let prices = [(NOZZLE, price(11_000))].into();
    world.command(PumpCommand::SetPrices(prices));
    world.pump().flow(492, 51_660);
    world.run(Duration::from_millis(500));
    assert_eq!(world.pump().prices[0], [1, 5, 0], "never during a fuelling");
    world.pump().hang();
    world.until("the new price", |e| *e == PumpEvent::Price { nozzle: NOZZLE, price: price(11_000) });
    assert_eq!(world.pump().prices, [[1, 0x10, 0], [1, 0x24, 0]]);
}

#[test]
fn a_nozzle_lifted_again_before_its_end_is_read_is_told_as_hung_up() {
    let mut world = World::one();
    released(&mut world);
    world.pump().flow(200, 21_000);
    world.run(Duration::from_millis(200));
    world.pump().hang();
    world.until("the end seen", |e| matches!(e, PumpEvent::EndSeen { .. }));
    world.pump().lift(1);
    world.until("the end", |e| matches!(e, PumpEvent::Ended { .. }));
    world.run(Duration::from_millis(500));
    let told = world.told();
    let ended = told.iter().position(|e| matches!(e, PumpEvent::Ended { .. })).expect("ended");
    let states: Vec<&PumpEvent> = told[ended..].iter().filter(|e| matches!(e, PumpEvent::State { .. })).collect();
    assert_eq!(
        states,
        [
            &PumpEvent::State { state: State::Idle, lifted: None },
            &PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) }
        ]
    );
}
