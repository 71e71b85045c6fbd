//! Price changes: what was agreed is what is paid, and no pump is told a price while somebody fuels or is about to.

use crate::model::{PRICE, World, layout, request};
use forecourt::command::{Ask, Outcome};
use forecourt::hold::Hold;
use forecourt::ids::{NozzleId, OrderId};
use forecourt::layout::Layout;
use forecourt::order::{Limit, OrderEnd, OrderPhase};
use forecourt::price::Direction;
use forecourt::pump::Capabilities;
use forecourt::record::Record;
use forecourt::units::{Money, UnitPrice, Volume};

const YUAN_200: Limit = Limit::Amount(Money::new(20_000));
const RAISED: UnitPrice = UnitPrice::new(7_600_000);
const CUT: UnitPrice = UnitPrice::new(7_300_000);

fn pay_at(world: &mut World, order: &str, nozzle: u16, price: UnitPrice) -> String {
    let expires = world.now().utc.plus_ms(600_000);
    let order = forecourt::order::OrderRequest { unit_price: price, ..request(order, nozzle, YUAN_200, expires) };
    let id = world.ask(Ask::Authorise(Box::new(order)));
    world.commit_all();
    id
}

/// Sends a price for 92 that holds at once.
fn reprice(world: &mut World, name: &str, price: UnitPrice) {
    let id = world.reprice(name, price.get(), 0);
    world.commit_all();
    assert_eq!(world.word(&id), Some("scheduled"));
    world.pass(0);
    world.commit_all();
}

fn refused_for(world: &World, order: &str) -> Option<String> {
    match &world.books.orders[&OrderId::new(order).unwrap()].phase {
        OrderPhase::Ended { end: OrderEnd::Released { reason, .. } } => Some(String::from(reason.clone())),
        _ => None,
    }
}

fn price_of(world: &World, nozzle: u16) -> (UnitPrice, String) {
    let point = world.site.point_of(NozzleId(nozzle)).unwrap();
    (point.price(NozzleId(nozzle)), point.price_set(NozzleId(nozzle)).unwrap().to_string())
}

fn holds(world: &World, nozzle: u16) -> Vec<Hold> {
    world.site.point_of(NozzleId(nozzle)).unwrap().holds(NozzleId(nozzle))
}

fn alarms(world: &World) -> Vec<String> {
    let alarm = |record: &Record| match record {
        Record::Alarm(alarm) => Some(format!("{} {:?}", alarm.alarm, alarm.state)),
        _ => None,
    };
    world.books.records.iter().filter_map(alarm).filter(|alarm| alarm.starts_with("price")).collect()
}

fn fuel(world: &mut World, nozzle: u16) {
    let pump = usize::from((nozzle - 1) / 2);
    world.pumps[pump].lift(NozzleId(nozzle));
    world.commit_all();
    world.pumps[pump].flow(5_000);
    world.commit_all();
    world.pumps[pump].hang_up();
    world.commit_all();
}

fn able(change: impl Fn(&mut Capabilities)) -> Layout {
    let mut layout = layout();
    layout.fuelling_points.values_mut().for_each(|point| change(&mut point.capabilities));
    layout
}

#[test]
fn a_price_set_waits_for_its_moment_and_is_then_written_read_back_and_recorded_per_nozzle() {
    let mut world = World::new();
    let id = world.reprice("PS-2", RAISED.get(), 60);
    world.commit_all();
    let reply = world.replies.iter().find(|reply| reply.command_id.as_str() == id).unwrap();
    let Outcome::Scheduled { directions } = &reply.outcome else { panic!("{reply:?}") };
    assert_eq!(directions.values().copied().collect::<Vec<_>>(), [Direction::Raise]);
    assert!(reply.detail.contains("raised: 92; change the sign before"), "{}", reply.detail);
    world.pass(59);
    world.commit_all();
    assert_eq!(price_of(&world, 1), (PRICE, "PS-1".into()));
    world.pass(1);
    world.commit_all();
    assert_eq!(world.books.applied(), ["PS-2 1 Applied", "PS-2 3 Applied"]);
    assert_eq!(price_of(&world, 1), (RAISED, "PS-2".into()));
    assert_eq!(price_of(&world, 2), (PRICE, "PS-1".into()), "another grade");
    assert_eq!(world.pumps[0].prices[&NozzleId(1)], RAISED);
    assert_eq!(world.site.price_set().as_str(), "PS-2");
}

#[test]
fn nothing_is_released_for_five_seconds_after_a_new_price() {
    let mut world = World::new();
    reprice(&mut world, "PS-2", CUT);
    pay_at(&mut world, "o1", 1, PRICE);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pass(4);
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
    world.pass(1);
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1);
    assert_eq!(world.pumps[0].authorised[0].price, CUT, "the pump's price is lower: armed at that");
}

#[test]
fn a_fuelling_under_way_ends_at_the_price_it_began_with() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    world.pumps[0].flow(5_000);
    reprice(&mut world, "PS-2", RAISED);
    assert_eq!(world.books.applied(), ["PS-2 1 Pending", "PS-2 3 Applied"]);
    world.pumps[0].flow(5_000);
    world.run();
    world.pumps[0].hang_up();
    world.commit_all();
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.unit_price, sale.price_set.as_str(), sale.amount.get()), (PRICE, "PS-1", 7_450));
    assert!(sale.flags.is_empty(), "{:?}", sale.flags);
    assert_eq!(world.books.applied().last().unwrap(), "PS-2 1 Applied");
    pay_at(&mut world, "o2", 1, RAISED);
    world.pass(5);
    fuel(&mut world, 1);
    let sale = world.books.sales().last().unwrap();
    assert_eq!((sale.unit_price, sale.price_set.as_str()), (RAISED, "PS-2"));
}

#[test]
fn an_armed_order_keeps_its_price_and_the_pump_is_told_after_it() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    reprice(&mut world, "PS-2", RAISED);
    assert_eq!(world.pumps[0].prices[&NozzleId(1)], PRICE);
    fuel(&mut world, 1);
    assert_eq!(world.books.sales().next().unwrap().unit_price, PRICE);
    assert_eq!(price_of(&world, 1), (RAISED, "PS-2".into()));
}

#[test]
fn orders_behind_the_armed_one_are_armed_at_a_lower_price_and_end_at_a_higher_one() {
    for (price, end) in [(CUT, None), (RAISED, Some("refused:price_changed".to_owned()))] {
        let mut world = World::new();
        world.pay("o1", 1, YUAN_200);
        world.pay("o2", 1, YUAN_200);
        world.commit_all();
        reprice(&mut world, "PS-2", price);
        fuel(&mut world, 1);
        assert_eq!(world.books.sales().next().unwrap().unit_price, PRICE);
        assert_eq!(refused_for(&world, "o2"), end);
        assert_eq!(price_of(&world, 1).0, price);
    }
}

#[test]
fn an_order_that_comes_while_a_raise_waits_is_judged_by_the_new_price() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    reprice(&mut world, "PS-2", RAISED);
    let late = pay_at(&mut world, "o2", 1, PRICE);
    assert_eq!(world.word(&late), Some("price_changed"));
    let reply = world.replies.last().unwrap();
    assert_eq!(reply.outcome, Outcome::PriceChanged { unit_price_micros: RAISED });
    let right = pay_at(&mut world, "o3", 1, RAISED);
    assert_eq!(world.word(&right), Some("queued"));
}

#[test]
fn a_set_waits_over_a_restart_and_an_order_armed_before_it_keeps_its_price() {
    let mut world = World::new();
    world.reprice("PS-2", RAISED.get(), 60);
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.crash(0);
    world.pass(70);
    world.commit_all();
    assert_eq!(world.phase("o1"), "armed");
    assert_eq!(world.books.applied(), ["PS-2 1 Pending", "PS-2 3 Applied"]);
    fuel(&mut world, 1);
    assert_eq!(world.books.sales().next().unwrap().unit_price, PRICE);
    assert_eq!(world.books.applied().last().unwrap(), "PS-2 1 Applied");
}

#[test]
fn a_moment_that_passed_while_the_station_was_off_comes_at_its_start() {
    let mut world = World::new();
    world.reprice("PS-2", RAISED.get(), 60);
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    world.mono += 70_000_000;
    world.crash(0);
    world.pass(0);
    world.commit_all();
    assert_eq!(world.phase("o1"), "armed", "it was armed before");
    assert_eq!(world.books.applied(), ["PS-2 1 Pending", "PS-2 3 Applied"]);
    assert_eq!(price_of(&world, 3), (RAISED, "PS-2".into()));
    fuel(&mut world, 1);
    assert_eq!(price_of(&world, 1), (RAISED, "PS-2".into()));
}

#[test]
fn a_restart_between_writing_and_reading_back_ends_with_the_new_price_and_one_record() {
    let mut world = World::new();
    world.pumps[0].tells_price_at_lift = true;
    reprice(&mut world, "PS-2", RAISED);
    assert_eq!(world.books.applied(), ["PS-2 3 Applied"]);
    world.crash(0);
    world.commit_all();
    assert_eq!(world.pumps[0].prices[&NozzleId(1)], RAISED, "the old price is not written over it");
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.books.applied(), ["PS-2 3 Applied", "PS-2 1 Applied"]);
}

#[test]
fn a_head_that_shows_a_price_only_at_the_lift_is_released_five_seconds_after_it() {
    let mut world = World::new();
    world.pumps[0].tells_price_at_lift = true;
    reprice(&mut world, "PS-2", RAISED);
    let order = pay_at(&mut world, "o1", 1, RAISED);
    assert_eq!(world.word(&order), Some("armed"));
    world.pass(20);
    world.commit_all();
    assert_eq!(world.books.applied(), ["PS-2 3 Applied", "PS-2 1 Pending"]);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert!(world.pumps[0].authorised.is_empty());
    world.pass(5);
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1);
    assert_eq!(world.books.applied().last().unwrap(), "PS-2 1 Applied");
}

#[test]
fn a_pump_that_does_not_take_the_price_is_held_and_tried_again() {
    let mut world = World::new();
    world.pumps[0].keeps_old_prices = true;
    reprice(&mut world, "PS-2", RAISED);
    world.pass(20);
    world.commit_all();
    assert_eq!(world.books.applied(), ["PS-2 3 Applied", "PS-2 1 Refused"]);
    assert_eq!(holds(&world, 1), [Hold::PriceMismatch]);
    assert!(holds(&world, 2).is_empty() && holds(&world, 3).is_empty(), "the others sell");
    let order = pay_at(&mut world, "o1", 1, RAISED);
    assert_eq!(world.word(&order), Some("nozzle_unavailable"));
    world.pumps[0].keeps_old_prices = false;
    world.pass(60);
    world.commit_all();
    assert_eq!(world.books.applied().last().unwrap(), "PS-2 1 Applied");
    assert!(holds(&world, 1).is_empty());
    assert_eq!(alarms(&world), ["price_mismatch Raised", "price_mismatch Cleared"]);
}

#[test]
fn a_pump_that_shows_another_price_is_given_the_right_one_and_held_until_it_shows_it() {
    let mut world = World::new();
    world.pumps[0].keeps_old_prices = true;
    world.pumps[0].set_by_hand(NozzleId(1), RAISED);
    world.commit_all();
    assert_eq!(holds(&world, 1), [Hold::PriceMismatch]);
    world.pumps[0].keeps_old_prices = false;
    world.pumps[0].set_by_hand(NozzleId(1), CUT);
    world.commit_all();
    assert_eq!(holds(&world, 1), [Hold::PriceMismatch], "another wrong one");
    world.pumps[0].set_by_hand(NozzleId(1), PRICE);
    world.commit_all();
    assert!(holds(&world, 1).is_empty());
    assert!(world.books.applied().is_empty(), "no price set came");
}

#[test]
fn a_power_cut_at_the_pump_brings_back_the_present_price_without_a_price_change() {
    let mut world = World::new();
    reprice(&mut world, "PS-2", RAISED);
    world.pass(10);
    let before = world.books.applied();
    world.pumps[0].power_cycle();
    world.commit_all();
    world.pumps[0].prices.insert(NozzleId(1), PRICE);
    world.pumps[0].reconnect();
    world.commit_all();
    assert_eq!(world.pumps[0].prices[&NozzleId(1)], RAISED);
    assert_eq!(world.books.applied(), before);
    pay_at(&mut world, "o1", 1, RAISED);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1, "no five seconds for a price that was shown before");
}

#[test]
fn a_price_set_by_hand_comes_into_force_when_the_pump_shows_it() {
    let mut world = World::with(able(|able| able.price_write = false));
    reprice(&mut world, "PS-2", RAISED);
    assert_eq!(world.books.applied(), ["PS-2 1 Pending", "PS-2 3 Pending"]);
    assert_eq!(price_of(&world, 1), (PRICE, "PS-1".into()), "the pump sells at what it shows");
    world.pass(600);
    world.commit_all();
    assert_eq!(alarms(&world), ["price_overdue Raised", "price_overdue Raised"]);
    world.pumps[0].set_by_hand(NozzleId(1), RAISED);
    world.commit_all();
    assert_eq!(world.books.applied().last().unwrap(), "PS-2 1 Applied");
    assert_eq!(price_of(&world, 1), (RAISED, "PS-2".into()));
    assert_eq!(alarms(&world).last().unwrap(), "price_overdue Cleared");
}

#[test]
fn where_a_price_is_set_by_hand_no_order_pays_less_than_the_pump_shows_nor_more_than_it_agreed() {
    let mut world = World::with(able(|able| able.price_write = false));
    reprice(&mut world, "PS-2", CUT);
    let cheap = pay_at(&mut world, "o1", 1, CUT);
    assert_eq!(world.word(&cheap), Some("price_changed"));
    assert_eq!(world.replies.last().unwrap().outcome, Outcome::PriceChanged { unit_price_micros: PRICE });
}

#[test]
fn a_price_that_goes_with_every_release_is_in_force_at_once() {
    let mut world = World::with(able(|able| able.price_read_back = false));
    world.pumps.iter_mut().for_each(|pump| pump.tells_price_at_lift = true);
    reprice(&mut world, "PS-2", RAISED);
    assert_eq!(world.books.applied(), ["PS-2 1 Applied", "PS-2 3 Applied"]);
}

#[test]
fn a_pump_whose_price_can_neither_be_written_nor_read_refuses_the_set_and_people_are_told() {
    let mut world = World::with(able(|able| {
        able.price_write = false;
        able.price_read_back = false;
    }));
    reprice(&mut world, "PS-2", RAISED);
    assert_eq!(world.books.applied(), ["PS-2 1 Refused", "PS-2 3 Refused"]);
    assert_eq!(price_of(&world, 1), (PRICE, "PS-1".into()));
    assert_eq!(alarms(&world), ["price_refused Raised", "price_refused Raised"]);
}

#[test]
fn a_set_that_changes_no_figure_only_renames() {
    let mut world = World::new();
    reprice(&mut world, "PS-2", PRICE);
    assert_eq!(world.books.applied(), ["PS-2 1 Applied", "PS-2 3 Applied"]);
    pay_at(&mut world, "o1", 1, PRICE);
    world.pumps[0].lift(NozzleId(1));
    world.commit_all();
    assert_eq!(world.pumps[0].authorised.len(), 1, "nothing new is shown, so nobody waits");
}

#[test]
fn a_second_set_overtakes_the_first_where_that_still_waits() {
    let mut world = World::new();
    world.pay("o1", 1, YUAN_200);
    world.commit_all();
    reprice(&mut world, "PS-2", RAISED);
    reprice(&mut world, "PS-3", CUT);
    fuel(&mut world, 1);
    let at_one: Vec<_> = world.books.applied().into_iter().filter(|text| text.contains(" 1 ")).collect();
    assert_eq!(at_one, ["PS-2 1 Pending", "PS-2 1 Refused", "PS-3 1 Pending", "PS-3 1 Applied"]);
    assert_eq!(price_of(&world, 1), (CUT, "PS-3".into()));
}

#[test]
fn a_refused_set_changes_nothing_and_says_why() {
    let mut world = World::new();
    let id = world.reprice("PS-2", 9_000_000, 0);
    world.pass(1);
    world.commit_all();
    assert_eq!(world.word(&id), Some("refused"));
    assert!(world.replies.last().unwrap().detail.contains("more than 20 %"));
    assert!(world.books.applied().is_empty() && world.books.price_sets.is_empty());
}

#[test]
fn prices_of_a_newer_configuration_count_again() {
    let mut world = World::new();
    reprice(&mut world, "PS-2", RAISED);
    let mut newer = layout();
    newer.price_set = forecourt::ids::PriceSetId::new("PS-9").unwrap();
    world.layout = newer;
    world.crash(0);
    world.commit_all();
    assert_eq!(price_of(&world, 1), (PRICE, "PS-9".into()));
    assert_eq!(world.site.price_set().as_str(), "PS-9");
}

#[test]
fn a_sale_under_a_new_price_set_is_the_pumps_own_figures() {
    let mut world = World::new();
    reprice(&mut world, "PS-2", CUT);
    world.pass(5);
    pay_at(&mut world, "o1", 1, PRICE);
    fuel(&mut world, 1);
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.volume, sale.amount, sale.unit_price), (Volume::new(5_000), Money::new(3_650), CUT));
}
