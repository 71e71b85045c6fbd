//! Scenes that people meet, by hand.

use crate::model::{TellsState, World, request};
use forecourt::command::{Ask, Command, Nozzles, Outcome};
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, FuellingPointId, NozzleId, OrderId};
use forecourt::order::{Limit, OrderEnd, OrderPhase, ReleaseReason};
use forecourt::pump::{FromPump, PumpEvent};
use forecourt::record::{Evidence, Finish, Flag, Record};
use forecourt::units::{Money, Volume};

const YUAN_200: Limit = Limit::Amount(Money::new(20_000));

fn reason(world: &World, order: &str) -> ReleaseReason {
    match &world.books.orders[&OrderId::new(order).unwrap()].phase {
        OrderPhase::Ended { end: OrderEnd::Released { reason, .. } } => reason.clone(),
        other => panic!("{order}: {other:?}"),
    }
}

#[test]
fn a_paid_order_fuels_to_its_preset_and_is_booked_once() {
    let mut world = World::new();
    let command = world.pay("o1", 1, YUAN_200);
    assert_eq!(world.word(&command), None, "no reply before the order is durable");
    world.commit_all();
    assert_eq!(world.word(&command), Some("armed"));
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(10_000);
    world.pumps[0].flow(90_000);
    world.run();
    world.pumps[0].hang_up();
    world.commit_all();
    let sales: Vec<_> = world.books.sales().collect();
    assert_eq!(sales.len(), 1);
    assert_eq!((sales[0].volume.get(), sales[0].amount.get()), (26_840, 19_996));
    assert_eq!((sales[0].finish, sales[0].evidence), (Finish::LimitReached, Evidence::EndRecord));
    assert_eq!(sales[0].context, r#"{"k":1}"#);
    assert_eq!(world.phase("o1"), "completed");
    assert!(world.books.releases.is_empty());
}

#[test]
fn nothing_is_released_before_the_order_and_the_release_are_durable() {
    let mut world = World::new();
    world.pumps[0].lift(NozzleId(1));
    world.run();
    world.pay("o1", 1, YUAN_200);
    assert!(world.pumps[0].authorised.is_empty());
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1);
}

#[test]
fn a_nozzle_never_lifted_gives_the_money_back() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.pass(119);
    world.commit_all();
    assert_eq!(world.phase("o1"), "armed");
    world.pass(1);
    world.commit_all();
    assert_eq!(reason(&world, "o1"), ReleaseReason::NotLifted);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
}

#[test]
fn a_second_order_waits_and_its_countdown_begins_when_it_is_first() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    let second = world.pay("o2", 2, YUAN_200);
    world.commit_all();
    assert_eq!(world.word(&second), Some("queued"));
    world.pass(120);
    world.commit_all();
    assert_eq!((world.phase("o1"), world.phase("o2")), ("released", "armed"));
    world.pass(119);
    world.commit_all();
    assert_eq!(world.phase("o2"), "armed");
    world.pass(1);
    world.commit_all();
    assert_eq!(reason(&world, "o2"), ReleaseReason::NotLifted);
}

#[test]
fn a_wrong_nozzle_stays_locked_until_the_order_is_moved() {
    let mut world = World::new();
    world.pay("o1", 3, YUAN_200);
    world.commit_all();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
    let moved = world.ask(Ask::Move { order_id: OrderId::new("o1").unwrap(), to_nozzle: NozzleId(1) });
    world.commit_all();
    assert_eq!(world.word(&moved), Some("moved"));
    assert_eq!(world.pumps[0].authorised.len(), 1);
    world.pumps[1].lift(NozzleId(3));
    world.commit_all();
    assert!(world.pumps[1].authorised.is_empty(), "the order stands at one nozzle only");
}

#[test]
fn a_move_to_another_grade_is_refused_and_the_order_stays() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    let moved = world.ask(Ask::Move { order_id: OrderId::new("o1").unwrap(), to_nozzle: NozzleId(4) });
    world.commit_all();
    assert_eq!(world.word(&moved), Some("grade_mismatch"));
    assert_eq!(world.phase("o1"), "armed");
}

#[test]
fn the_same_command_twice_is_done_once_and_answered_alike() {
    let mut world = World::new();
    let ask = Ask::Authorise(Box::new(request("o1", 1, YUAN_200, world.now().utc.plus_ms(60_000))));
    world.ask_as("same", ask.clone());
    world.ask_as("same", ask.clone());
    world.commit_all();
    world.ask_as("same", ask.clone());
    world.crash(0);
    world.ask_as("same", ask);
    let answers: Vec<_> = world.replies.iter().map(|reply| (reply.outcome.word(), reply.repeated)).collect();
    assert_eq!(answers, [("armed", false), ("armed", true), ("armed", true), ("armed", true)]);
    assert_eq!(world.books.orders.len(), 1);
}

#[test]
fn a_known_order_under_a_new_command_is_a_duplicate_or_a_conflict_and_never_ends_by_it() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    let duplicate = world.pay("o1", 1, YUAN_200);
    world.commit_all();
    // expires_at is not part of the test's content hash
    assert_eq!(world.word(&duplicate), Some("duplicate"));
    let conflict = world.pay("o1", 1, Limit::Amount(Money::new(30_000)));
    world.commit_all();
    assert_eq!(world.word(&conflict), Some("conflict"));
    assert_eq!(world.phase("o1"), "armed");
    world.pass(200);
    world.commit_all();
    let late = world.pay("o1", 1, YUAN_200);
    world.commit_all();
    let outcome = &world.replies.iter().find(|r| r.command_id.as_str() == late).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Duplicate { state, end: Some(_) } if state == "released"), "{outcome:?}");
    let releases = world.books.records.iter().filter(|r| matches!(r, Record::Released(_))).count();
    assert_eq!(releases, 1);
}

#[test]
fn refusals_name_their_rule_and_release_the_order() {
    let cases = [
        ("unknown_nozzle", 9, YUAN_200),
        ("limit_too_small", 1, Limit::Volume(Volume::new(1_999))),
        ("limit_exceeded", 1, Limit::Volume(Volume::new(100_001))),
        ("limit_exceeded", 1, Limit::Amount(Money::new(500_001))),
        ("limit_exceeded", 1, Limit::FullTank(Money::new(400_000))),
    ];
    for (at, (word, nozzle, limit)) in cases.into_iter().enumerate() {
        let mut world = World::new();
        let order = format!("o{at}");
        let id = world.pay(&order, nozzle, limit);
        world.commit_all();
        assert_eq!(world.word(&id), Some(word));
        assert_eq!(reason(&world, &order), ReleaseReason::Refused(word.into()));
    }
}

#[test]
fn an_expired_order_is_refused_and_one_that_expires_in_the_queue_is_released() {
    let mut world = World::new();
    let past = world.now().utc;
    let late = world.ask(Ask::Authorise(Box::new(request("o0", 1, YUAN_200, past))));
    world.pay("o1", 1, YUAN_200);
    let soon = world.now().utc.plus_ms(30_000);
    world.ask(Ask::Authorise(Box::new(request("o2", 1, YUAN_200, soon))));
    world.commit_all();
    assert_eq!(world.word(&late), Some("expired"));
    world.pass(30);
    world.commit_all();
    assert_eq!(reason(&world, "o2"), ReleaseReason::Expired);
    assert_eq!(world.phase("o1"), "armed");
}

#[test]
fn cancelling_wins_before_the_lift_and_loses_after() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pay("o2", 3, YUAN_200);
    world.commit_all();
    let cancel = |order: &str| Ask::Cancel { order_id: OrderId::new(order).unwrap(), reason: "test".into() };
    let early = world.ask(cancel("o1"));
    world.pumps[1].lift(NozzleId(3));
    world.commit_all();
    let late = world.ask(cancel("o2"));
    let again = world.ask(cancel("o1"));
    let never = world.ask(cancel("o3"));
    world.commit_all();
    assert_eq!(world.word(&early), Some("cancelled"));
    assert_eq!(reason(&world, "o1"), ReleaseReason::Cancelled);
    assert_eq!(world.word(&late), Some("cannot_cancel"));
    assert_eq!(world.word(&again), Some("already_ended"));
    assert_eq!(world.word(&never), Some("unknown_order"));
}

#[test]
fn a_nozzle_lifted_and_hung_up_without_fuel_ends_the_order_without_a_sale() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].hang_up();
    world.commit_all();
    assert_eq!(reason(&world, "o1"), ReleaseReason::NoFlow);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1, "one order is released once");
}

#[test]
fn a_released_nozzle_without_flow_is_stopped_after_its_time() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pass(60);
    world.commit_all();
    world.pumps[0].flow(5_000);
    world.pumps[0].hang_up();
    world.commit_all();
    assert_eq!(reason(&world, "o1"), ReleaseReason::NoFlow);
}

#[test]
fn an_amount_that_grows_keeps_a_fuelling_alive_where_no_volume_is_told() {
    let mut world = World::new();
    world.pumps[0].tells_volume = false;
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    for _ in 0..5 {
        world.pumps[0].flow(1_000);
        world.commit_all();
        world.pass(40);
    }
    world.pumps[0].flow(1_000);
    world.pumps[0].hang_up();
    world.commit_all();
    let volumes: Vec<Volume> = world.books.sales().map(|sale| sale.volume).collect();
    assert_eq!(volumes, [Volume::new(6_000)]);
}

#[test]
fn an_amount_that_was_seen_to_grow_does_not_become_nothing_because_the_totaliser_lags() {
    let mut world = World::new();
    world.pumps[0].tells_volume = false;
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(6_000);
    world.commit_all();
    *world.pumps[0].totals.get_mut(&NozzleId(1)).unwrap() -= 6_000;
    world.pumps[0].hang_up();
    world.commit_all();
    assert_eq!(world.phase("o1"), "review");
}

#[test]
fn stop_ends_the_sale_with_what_flowed() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(7_000);
    world.run();
    let none = world.ask(Ask::Stop { nozzles: Nozzles::One(NozzleId(3)), reason: String::new() });
    let stop = world.ask(Ask::Stop { nozzles: Nozzles::All, reason: String::new() });
    world.pumps[0].flow(7_000);
    world.pumps[0].hang_up();
    world.commit_all();
    assert_eq!((world.word(&none), world.word(&stop)), (Some("nothing_to_stop"), Some("stopped")));
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.volume.get(), sale.finish), (7_000, Finish::Stopped));
}

#[test]
fn stop_while_the_release_is_being_stored_keeps_it_from_being_sent() {
    let mut world = World::new();
    world.pumps[0].lift(NozzleId(1));
    world.run();
    world.pay("o1", 1, YUAN_200);
    world.ask(Ask::Stop { nozzles: Nozzles::All, reason: String::new() });
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
    assert_eq!(reason(&world, "o1"), ReleaseReason::Cancelled);
}

#[test]
fn a_hold_releases_waiting_orders_lets_running_ones_end_and_outlives_a_restart() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pay("o2", 3, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(5_000);
    world.ask(Ask::Hold { nozzles: Nozzles::All, reason: "storm".into() });
    world.commit_all();
    assert_eq!(reason(&world, "o2"), ReleaseReason::StationHeld);
    world.pumps[0].hang_up();
    world.commit_all();
    assert_eq!(world.phase("o1"), "completed");
    world.crash(0);
    world.commit_all();
    let refused = world.pay("o3", 1, YUAN_200);
    world.commit_all();
    assert_eq!(world.word(&refused), Some("station_held"));
    let unhold = world.ask(Ask::Unhold { nozzles: Nozzles::All, reason: String::new() });
    let taken = world.pay("o4", 1, YUAN_200);
    world.commit_all();
    assert_eq!((world.word(&unhold), world.word(&taken)), (Some("unheld"), Some("armed")));
}

#[test]
fn a_hold_of_the_station_refuses_orders_by_its_name_over_a_restart_until_a_nozzle_is_open_again() {
    let mut world = World::new();
    let all = || Ask::Hold { nozzles: Nozzles::All, reason: "storm".into() };
    let lift = |nozzles| Ask::Unhold { nozzles, reason: "over".into() };
    world.ask(all());
    world.commit_all();
    world.crash(usize::MAX);
    world.commit_all();
    assert!(world.site.is_station_held());
    let refused = world.pay("o1", 1, YUAN_200);
    world.commit_all();
    assert_eq!(world.word(&refused), Some("station_held"));
    // One nozzle is opened: it is no longer the station that is held, but the others.
    let opened = world.ask(lift(Nozzles::One(NozzleId(1))));
    world.commit_all();
    assert_eq!(world.word(&opened), Some("unheld"));
    let taken = world.pay("o2", 1, YUAN_200);
    let held = world.pay("o3", 3, YUAN_200);
    world.commit_all();
    assert_eq!((world.word(&taken), world.word(&held)), (Some("armed"), Some("nozzle_unavailable")));
    let opened = world.ask(lift(Nozzles::All));
    world.commit_all();
    assert_eq!((world.word(&opened), world.site.is_station_held()), (Some("unheld"), false));
}

#[test]
fn a_pump_that_only_a_person_may_open_does_not_keep_the_whole_station_closed() {
    let mut world = World::new();
    let nozzle = NozzleId(3);
    world.ask(Ask::Hold { nozzles: Nozzles::All, reason: "storm".into() });
    world.commit_all();
    let event = PumpEvent::Alarm { code: 7, text: "calculator".into(), holds: true };
    let now = world.now();
    world.site.handle_pump(FromPump { fp: FuellingPointId(2), event }, now);
    world.commit_all();
    assert!(world.site.point_of(nozzle).unwrap().holds(nozzle).contains(&Hold::Fault));
    let lift = world.ask(Ask::Unhold { nozzles: Nozzles::All, reason: "over".into() });
    world.commit_all();
    let reply = world.replies.iter().find(|reply| reply.command_id.as_str() == lift).unwrap();
    let Outcome::OnSiteOnly { nozzles } = &reply.outcome else { panic!("{reply:?}") };
    assert!(nozzles.contains(&nozzle) && !nozzles.contains(&NozzleId(1)), "{nozzles:?}");
    let taken = world.pay("o1", 1, YUAN_200);
    world.commit_all();
    assert_eq!(world.word(&taken), Some("armed"));
}

#[test]
fn a_tank_that_the_platform_calls_low_holds_its_nozzle_by_that_name_until_it_is_filled() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.ask(Ask::Hold { nozzles: Nozzles::One(NozzleId(1)), reason: "tank_low".into() });
    world.commit_all();
    assert_eq!(reason(&world, "o1"), ReleaseReason::StationHeld);
    world.crash(0);
    world.commit_all();
    let held = world.site.point_of(NozzleId(1)).map(|point| point.holds(NozzleId(1)));
    assert_eq!(held, Some(vec![Hold::TankLow]), "it outlives a restart");
    let refused = world.pay("o2", 1, YUAN_200);
    world.commit_all();
    assert_eq!(world.word(&refused), Some("nozzle_unavailable"));
    let unhold = world.ask(Ask::Unhold { nozzles: Nozzles::One(NozzleId(1)), reason: "filled up".into() });
    let taken = world.pay("o3", 1, YUAN_200);
    world.commit_all();
    assert_eq!((world.word(&unhold), world.word(&taken)), (Some("unheld"), Some("armed")));
}

#[test]
fn silence_while_fuelling_concludes_nothing_and_the_sale_is_booked_when_the_pump_is_heard() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(5_000);
    world.pumps[0].lose();
    world.run();
    world.pumps[0].flow(6_000);
    world.pumps[0].hang_up();
    world.pass(3_600);
    world.commit_all();
    assert_eq!(world.books.sales().count(), 0);
    world.pumps[0].reconnect();
    world.commit_all();
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.volume.get(), sale.evidence, sale.recovered), (11_000, Evidence::EndRecord, true));
    assert_eq!(sale.flags, [Flag::Gap]);
    assert_eq!(world.phase("o1"), "completed");
}

#[test]
fn a_fuelling_that_still_runs_after_a_restart_is_followed_to_its_end() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(5_000);
    world.crash(0);
    world.commit_all();
    world.pumps[0].flow(6_000);
    world.pumps[0].hang_up();
    world.commit_all();
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.volume.get(), sale.order_id.as_ref().unwrap().as_str()), (11_000, "o1"));
    assert_eq!(world.pumps[0].authorised.len(), 1);
}

#[test]
fn a_release_cut_off_by_a_crash_is_never_sent_again() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.pumps[0].lift(NozzleId(1));
    world.run();
    world.crash(usize::MAX); // the release is durable, but was never sent
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
    assert_eq!(reason(&world, "o1"), ReleaseReason::NoFlow);
}

#[test]
fn a_power_cut_at_the_pump_books_what_flowed_and_does_not_go_on() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(12_340);
    world.run();
    world.pumps[0].power_cycle();
    world.run();
    world.pumps[0].reconnect();
    world.commit_all();
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.volume.get(), sale.finish), (12_340, Finish::PowerLoss));
    assert_eq!(world.pumps[0].authorised.len(), 1);
}

#[test]
fn fuel_taken_while_nobody_listened_is_booked_without_an_order() {
    let mut world = World::new();
    world.pumps[0].lose();
    world.run();
    world.pumps[0].manual(NozzleId(2), 12_400);
    world.pumps[0].reconnect();
    world.commit_all();
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.volume.get(), sale.order_id.clone(), sale.nozzle), (12_400, None, NozzleId(2)));
}

#[test]
fn while_commits_fail_nothing_is_released_and_what_flows_is_still_booked() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pay("o2", 3, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(5_000);
    world.run();
    let now = world.now();
    world.site.handle_store_failing(true, now);
    world.pumps[1].lift(NozzleId(3));
    world.pumps[0].hang_up();
    world.run();
    assert!(world.pumps[1].authorised.is_empty());
    world.site.handle_store_failing(false, now);
    world.commit_all();
    assert_eq!(world.books.sales().count(), 1);
    assert_eq!(world.pumps[1].authorised.len(), 1, "the order was kept and served");
}

#[test]
fn an_order_refused_for_overload_has_its_end_and_gives_the_money_back() {
    let mut world = World::new();
    let expires = world.now().utc.plus_ms(60_000);
    let ask = Ask::Authorise(Box::new(request("o1", 1, YUAN_200, expires)));
    let command = Command { id: CommandId::new("c").unwrap(), kind: "test".into(), ask, overloaded: true };
    let now = world.now();
    world.site.handle_command(command, &world.books, now);
    world.commit_all();
    assert_eq!(world.word("c"), Some("overloaded"));
    assert_eq!(reason(&world, "o1"), ReleaseReason::Refused("overloaded".into()));
}

#[test]
fn whoever_still_holds_the_nozzle_does_not_fuel_on_the_next_order() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.pay("o2", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.run();
    world.crash(usize::MAX); // the first is never sent again, and the nozzle is still out
    world.commit_all();
    assert_eq!(reason(&world, "o1"), ReleaseReason::NoFlow);
    assert_eq!(world.phase("o2"), "armed");
    assert!(world.pumps[0].authorised.is_empty(), "the same lift, another customer's money");
    world.pumps[0].hang_up();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1);
}

/// Two orders at nozzle 1; the first fuels, and then the nozzle is hung up. What has been told of that is told.
fn fuelled_with_another_waiting(tells: TellsState) -> World {
    let mut world = World::new();
    world.pumps[0].tells_state = tells;
    world.pay("o1", 1, YUAN_200);
    world.pay("o2", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(5_000);
    world.run();
    world
}

#[test]
fn the_next_lift_is_served_however_the_hang_up_and_the_end_are_told() {
    for tells in [TellsState::Both, TellsState::Before, TellsState::After] {
        let mut world = fuelled_with_another_waiting(tells);
        world.pumps[0].hang_up();
        world.commit_all();
        assert_eq!((world.phase("o1"), world.phase("o2")), ("completed", "armed"), "{tells:?}");
        assert_eq!(world.pumps[0].authorised.len(), 1, "{tells:?}: nobody has lifted again");
        world.pumps[0].lift(NozzleId(1));
        world.commit_all();
        assert_eq!(world.pumps[0].authorised.len(), 2, "{tells:?}: a driver stands at a dead pump");
    }
}

#[test]
fn a_nozzle_lifted_anew_before_the_end_is_told_is_served_after_it() {
    let mut world = fuelled_with_another_waiting(TellsState::Before);
    world.pumps[0].hang_up();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!((world.phase("o1"), world.pumps[0].authorised.len()), ("completed", 2));
}

#[test]
fn a_nozzle_that_was_not_seen_hung_up_waits_for_the_next_lift() {
    let mut world = fuelled_with_another_waiting(TellsState::After);
    world.pumps[0].hang_up();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!((world.phase("o1"), world.phase("o2")), ("completed", "armed"));
    assert_eq!(world.pumps[0].authorised.len(), 1, "it may be the same hand that still holds it");
    world.pumps[0].hang_up();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 2);
}

#[test]
fn a_refusal_that_comes_after_the_hang_up_leaves_the_next_lift_alone() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.pumps[0].lift(NozzleId(1));
    world.run();
    // hung up while the release was being stored; the word of it crosses the release
    world.pumps[0].hang_up();
    world.commit();
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
    assert_eq!(world.phase("o1"), "armed");
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1, "a driver stands at a dead pump");
}

#[test]
fn fuel_taken_by_hand_leaves_the_next_lift_alone() {
    let mut world = World::new();
    world.pumps[0].tells_state = TellsState::Before;
    world.pumps[0].end_by_hand(NozzleId(1), 5_000);
    world.commit_all();
    assert_eq!(world.books.sales().count(), 1);
    world.pay("o1", 1, YUAN_200);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1, "a driver stands at a dead pump");
}

#[test]
fn an_order_in_review_keeps_its_deadline_however_often_the_pump_is_read() {
    let mut world = World::new();
    world.pay("o1", 4, Limit::Amount(Money::new(1_634)));
    world.commit_all();
    world.pumps[1].lift(NozzleId(4));
    world.commit_all();
    world.pumps[1].lose();
    world.run();
    // Nothing flowed on the order; then somebody takes more than its limit by hand.
    world.pumps[1].hang_up();
    world.pumps[1].manual(NozzleId(4), 2_220);
    world.pumps[1].reconnect();
    world.commit_all();
    assert_eq!(world.phase("o1"), "review");
    world.pass(3_600);
    world.pumps[1].power_cycle();
    world.run();
    world.pumps[1].reconnect();
    world.commit_all();
    assert_eq!(world.phase("o1"), "review");
    world.pass(23 * 3_600);
    world.commit_all();
    assert_eq!(reason(&world, "o1"), ReleaseReason::Fault);
    assert_eq!(world.books.explained(NozzleId(4)), 2_220);
}
