//! Dispensers that another controller drives: nothing is released there, and what was heard of them is booked.

use crate::model::{PRICE, World, layout};
use forecourt::command::{Ask, Nozzles, Outcome};
use forecourt::hold::Hold;
use forecourt::ids::{FuellingPointId, NozzleId, OrderId, UuidMaker};
use forecourt::layout::Layout;
use forecourt::order::{Basis, Limit, OrderPhase};
use forecourt::pump::{Capabilities, FromPump, PumpEvent, Reading, Snapshot, State, Token};
use forecourt::record::{Evidence, Record};
use forecourt::site::Site;
use forecourt::units::{Currency, Money, Volume};

const NOZZLE: NozzleId = NozzleId(1);
const LIMIT: Limit = Limit::Amount(Money::new(20_000));

fn listened() -> Layout {
    let mut layout = layout();
    for point in layout.fuelling_points.values_mut() {
        point.another_drives = true;
        let able = point.capabilities.clone();
        point.capabilities = Capabilities { preset_amount: false, preset_volume: false, stop: false, ..able };
    }
    layout
}

/// The first dispenser was heard at rest, its first totaliser known.
fn world() -> World {
    let mut world = World::new();
    restart(&mut world);
    world
}

fn restart(world: &mut World) {
    let (memory, now) = (world.books.memory(), world.now());
    world.site = Site::new(listened(), memory, UuidMaker::new([7; 32]), now);
    world.commit_all();
    hear(world, snapshot(State::Idle, None, None));
}

fn hear(world: &mut World, event: PumpEvent) {
    let now = world.now();
    world.site.handle_pump(FromPump { fp: FuellingPointId(1), event }, now);
    world.commit_all();
}

fn snapshot(state: State, reading: Option<Reading>, total: Option<i64>) -> PumpEvent {
    let totalisers = total.map(|total| (NOZZLE, Volume::new(total))).into_iter().collect();
    let lifted = state.is_released().then_some(NOZZLE);
    PumpEvent::Snapshot(Snapshot { state, lifted, reading, totalisers, power_cycled: false, token: Token(1) })
}

fn reading(ml: i64) -> Reading {
    let amount = PRICE.cost_of(Volume::new(ml), Currency::CNY).unwrap();
    Reading { nozzle: Some(NOZZLE), volume: Volume::new(ml), amount, price: Some(PRICE) }
}

fn fuel(world: &mut World) {
    for state in [State::Calling, State::Started, State::Fuelling] {
        hear(world, PumpEvent::State { state, lifted: Some(NOZZLE) });
    }
    hear(world, PumpEvent::Running { volume: Volume::new(5_000), amount: Money::new(3_725) });
}

/// Volume and amount of the sales, and volumes of unaccounted fuel.
fn booked(world: &World) -> (Vec<(i64, i64)>, Vec<i64>) {
    let sales = world.books.sales().map(|sale| (sale.volume.get(), sale.amount.get())).collect();
    let lost = world.books.records.iter().filter_map(|record| match record {
        Record::Unaccounted(found) => Some(found.volume.get()),
        _ => None,
    });
    (sales, lost.collect())
}

#[test]
fn an_order_is_refused_before_anything_is_armed_and_the_hold_cannot_be_lifted_from_afar() {
    let mut world = world();
    let command = world.pay("o1", 1, LIMIT);
    world.commit_all();
    let reply = world.replies.iter().find(|reply| reply.command_id.as_str() == command).unwrap();
    assert_eq!(reply.outcome, Outcome::NozzleUnavailable { holds: vec![Hold::ListenOnly] });
    let unhold = world.ask(Ask::Unhold { nozzles: Nozzles::All, reason: "try".into() });
    world.commit_all();
    assert_eq!(world.word(&unhold), Some("on_site_only"));
    hear(&mut world, PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) });
    assert!(world.pumps[0].authorised.is_empty());
    assert!(!world.site.point_of(NOZZLE).unwrap().is_available(NOZZLE));
}

#[test]
fn a_pump_that_takes_no_limit_is_held_for_that_and_not_as_another_controllers() {
    let mut world = World::new();
    let (memory, now) = (world.books.memory(), world.now());
    let mut layout = listened();
    layout.fuelling_points.values_mut().for_each(|point| point.another_drives = false);
    world.site = Site::new(layout, memory, UuidMaker::new([7; 32]), now);
    world.commit_all();
    hear(&mut world, snapshot(State::Idle, None, None));
    let command = world.pay("o1", 1, LIMIT);
    world.commit_all();
    let reply = world.replies.iter().find(|reply| reply.command_id.as_str() == command).unwrap();
    assert_eq!(reply.outcome, Outcome::NozzleUnavailable { holds: vec![Hold::NoPreset] });
    assert!(reply.detail.contains("takes no limit"), "{}", reply.detail);
    let unhold = world.ask(Ask::Unhold { nozzles: Nozzles::All, reason: "try".into() });
    world.commit_all();
    assert_eq!(world.word(&unhold), Some("on_site_only"));
}

#[test]
fn an_order_of_before_is_given_back_and_never_armed() {
    let mut world = World::new();
    world.pay("o1", 1, LIMIT);
    world.commit_all();
    restart(&mut world);
    assert!(matches!(world.books.orders[&OrderId::new("o1").unwrap()].phase, OrderPhase::Ended { .. }));
}

#[test]
fn a_sale_of_another_is_copied_and_its_stop_is_not_ours_to_give() {
    let mut world = world();
    fuel(&mut world);
    let stop = world.ask(Ask::Stop { nozzles: Nozzles::All, reason: "try".into() });
    world.commit_all();
    assert_eq!(world.word(&stop), Some("nothing_to_stop"));
    hear(&mut world, PumpEvent::EndSeen { token: Token(2), reading: reading(26_840) });
    let totaliser = Some(Volume::new(1_026_840));
    hear(&mut world, PumpEvent::Ended { token: Token(3), reading: reading(26_840), totaliser });
    assert_eq!(booked(&world), (vec![(26_840, 19_996)], vec![]));
    let sale = world.books.sales().next().unwrap();
    assert_eq!((sale.basis, sale.evidence, sale.order_id.clone()), (Basis::Manual, Evidence::EndRecord, None));
    assert_eq!(world.books.totalisers[&NOZZLE].volume, Volume::new(1_026_840));
}

#[test]
fn figures_that_may_not_be_the_last_are_a_sale_only_if_the_totaliser_moved_by_just_that() {
    for (shown, moved, expected) in [
        (26_840, 26_840, (vec![(26_840, 19_996)], vec![])),
        (5_000, 26_840, (vec![], vec![26_840])),
        (30_000, 26_840, (vec![], vec![26_840])),
    ] {
        let mut world = world();
        fuel(&mut world);
        hear(&mut world, snapshot(State::Idle, Some(reading(shown)), Some(1_000_000 + moved)));
        assert_eq!(booked(&world), expected, "{shown} of {moved}");
    }
}

#[test]
fn what_was_not_heard_to_its_end_is_accounted_by_the_next_totaliser() {
    let mut world = world();
    fuel(&mut world);
    hear(&mut world, PumpEvent::Lost);
    hear(&mut world, snapshot(State::Idle, None, None));
    assert_eq!(booked(&world), (vec![], vec![]));
    hear(&mut world, PumpEvent::Totaliser { nozzle: NOZZLE, volume: Volume::new(1_026_840) });
    assert_eq!(booked(&world), (vec![], vec![26_840]));
}

#[test]
fn no_amount_is_made_up_for_fuel_without_figures() {
    let mut world = world();
    fuel(&mut world);
    let totaliser = Some(Volume::new(1_026_840));
    hear(&mut world, PumpEvent::Ended { token: Token(3), reading: reading(0), totaliser });
    assert_eq!(booked(&world), (vec![], vec![26_840]));
}
