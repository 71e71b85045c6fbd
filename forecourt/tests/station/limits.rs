//! What a customer may take: by the station's limits, by the day, and by the platform's lists.

use crate::model::{World, request};
use forecourt::command::{Ask, Exceeded, Outcome};
use forecourt::ids::{CustomerToken, Grade, NozzleId, OrderId};
use forecourt::list::{ListKind, ListName, ListRule, ListUpdate, ListVersion, Subject};
use forecourt::order::{Limit, OrderRequest};
use forecourt::units::{Money, Volume};

fn token(text: &str) -> CustomerToken {
    CustomerToken::new(text).unwrap()
}

fn pay(world: &mut World, order: &str, nozzle: u16, customer: &str, minor: i64) -> Outcome {
    let expires = world.now().utc.plus_ms(600_000);
    let order = request(order, nozzle, Limit::Amount(Money::new(minor)), expires);
    ask(world, OrderRequest { customer: Some(token(customer)), ..order })
}

fn ask(world: &mut World, order: OrderRequest) -> Outcome {
    world.ask(Ask::Authorise(Box::new(order)));
    world.commit_all();
    world.replies.last().unwrap().outcome.clone()
}

fn fuel(world: &mut World, nozzle: u16, ml: i64) {
    let pump = usize::from((nozzle - 1) / 2);
    world.pumps[pump].lift(NozzleId(nozzle));
    world.commit_all();
    world.pumps[pump].flow(ml);
    world.commit_all();
    world.pumps[pump].hang_up();
    world.commit_all();
}

fn world() -> World {
    let mut layout = crate::model::layout();
    layout.limits.customer_day_amount = Money::new(70_000);
    World::with(layout)
}

const DAY_FULL: Outcome = Outcome::LimitExceeded { limit: Exceeded::CustomerDay };

#[test]
fn orders_that_wait_and_fuel_that_flowed_count_for_the_day_and_no_more() {
    let mut world = world();
    assert_eq!(pay(&mut world, "o1", 1, "a", 40_000), Outcome::Armed);
    assert_eq!(pay(&mut world, "o2", 3, "a", 30_001), DAY_FULL, "400 yuan may still flow");
    assert_eq!(pay(&mut world, "o3", 3, "b", 40_000), Outcome::Armed, "somebody else");
    fuel(&mut world, 1, 10_000);
    assert_eq!(world.books.customer_days[&token("a")].sold, Money::new(7_450));
    assert_eq!(pay(&mut world, "o4", 1, "a", 62_551), DAY_FULL);
    assert_eq!(pay(&mut world, "o5", 1, "a", 62_550), Outcome::Armed);
}

#[test]
fn an_order_refused_for_the_day_is_released_with_the_words_of_the_refusal() {
    let mut world = world();
    pay(&mut world, "o1", 1, "a", 60_000);
    pay(&mut world, "o2", 1, "a", 60_000);
    assert_eq!(world.phase("o2"), "released");
    assert!(world.replies.last().unwrap().detail.contains("limit of the day"));
}

#[test]
fn the_day_is_remembered_over_a_restart_and_forgotten_with_local_midnight() {
    let mut world = world();
    pay(&mut world, "o1", 1, "a", 67_050);
    fuel(&mut world, 1, 100_000);
    assert_eq!(world.books.customer_days[&token("a")].sold, Money::new(67_050));
    world.crash(0);
    world.commit_all();
    assert_eq!(pay(&mut world, "o2", 1, "a", 60_000), DAY_FULL);
    world.pass(24 * 3_600);
    assert_eq!(pay(&mut world, "o3", 1, "a", 60_000), Outcome::Armed);
}

#[test]
fn a_move_counts_the_order_once() {
    let mut world = world();
    pay(&mut world, "o1", 1, "a", 60_000);
    let moved = world.ask(Ask::Move { order_id: OrderId::new("o1").unwrap(), to_nozzle: NozzleId(3) });
    world.commit_all();
    assert_eq!(world.word(&moved), Some("moved"));
}

#[test]
fn an_erased_customer_begins_anew() {
    let mut world = world();
    pay(&mut world, "o1", 1, "a", 67_050);
    fuel(&mut world, 1, 100_000);
    assert_eq!(world.site.forget_customer(&token("a")), 1);
    assert_eq!(pay(&mut world, "o2", 1, "a", 60_000), Outcome::Armed);
}

#[test]
fn nobody_is_asked_for_a_name() {
    let mut world = world();
    for (order, nozzle) in [("o1", 1), ("o2", 3)] {
        let expires = world.now().utc.plus_ms(600_000);
        let order = request(order, nozzle, Limit::Amount(Money::new(60_000)), expires);
        assert_eq!(ask(&mut world, order), Outcome::Armed);
    }
}

#[test]
fn more_money_or_fuel_than_one_order_may_have_is_refused_by_name() {
    let mut world = World::new();
    let expires = world.now().utc.plus_ms(600_000);
    let much = request("o1", 1, Limit::Amount(Money::new(80_000)), expires);
    assert_eq!(ask(&mut world, much), Outcome::LimitExceeded { limit: Exceeded::Volume });
    world = World::with({
        let mut layout = crate::model::layout();
        layout.limits.amount = Money::new(50_000);
        layout
    });
    let dear = request("o1", 1, Limit::Volume(Volume::new(70_000)), expires);
    assert_eq!(ask(&mut world, dear), Outcome::LimitExceeded { limit: Exceeded::Amount });
}

fn list(list: ListName, version: u64, subject: Subject, rule: ListRule) -> Ask {
    let put = [(subject, rule)].into();
    let version = ListVersion(version);
    Ask::UpdateList(Box::new(ListUpdate { list, version, kind: ListKind::Full, put, remove: [].into() }))
}

#[test]
fn whoever_is_denied_gets_no_fuel_also_after_a_restart() {
    let mut world = World::new();
    let id = world.ask(list(ListName::Deny, 3, Subject::Customer(token("a")), ListRule::default()));
    world.commit_all();
    assert_eq!(world.word(&id), Some("updated"));
    world.crash(0);
    world.commit_all();
    assert_eq!(world.site.list_versions(), [("deny", ListVersion(3))].into());
    let denied = Outcome::LimitExceeded { limit: Exceeded::List };
    assert_eq!(pay(&mut world, "o1", 1, "a", 20_000), denied);
    assert_eq!(pay(&mut world, "o2", 1, "b", 20_000), Outcome::Armed);
    assert_eq!(world.phase("o1"), "released");
}

#[test]
fn a_denied_plate_is_known_by_its_letters() {
    let mut world = World::new();
    world.ask(list(ListName::Deny, 1, Subject::Plate("粤B·***88".into()), ListRule::default()));
    world.commit_all();
    let expires = world.now().utc.plus_ms(600_000);
    let order = request("o1", 1, Limit::Amount(Money::new(20_000)), expires);
    let order = OrderRequest { plate_masked: Some("粤B·***88".into()), ..order };
    assert_eq!(ask(&mut world, order), Outcome::LimitExceeded { limit: Exceeded::List });
}

#[test]
fn a_fleets_car_gets_its_grade_its_litres_and_its_money_of_the_day() {
    let mut world = World::new();
    let rule = ListRule {
        grades: [Grade::new("92").unwrap()].into(),
        max_volume: Some(Volume::new(50_000)),
        day_amount: Some(Money::new(30_000)),
    };
    world.ask(list(ListName::Allow, 1, Subject::Customer(token("car")), rule));
    world.commit_all();
    let nozzles = vec![NozzleId(1), NozzleId(3)];
    let wrong_grade = Outcome::GradeMismatch { suggested_nozzles: nozzles };
    assert_eq!(pay(&mut world, "o1", 2, "car", 20_000), wrong_grade);
    assert_eq!(pay(&mut world, "o2", 1, "car", 40_000), Outcome::LimitExceeded { limit: Exceeded::List });
    assert_eq!(pay(&mut world, "o3", 1, "car", 31_000), DAY_FULL);
    assert_eq!(pay(&mut world, "o4", 1, "car", 30_000), Outcome::Armed);
}

#[test]
fn a_diff_for_another_version_is_answered_with_the_one_that_stands() {
    let mut world = World::new();
    let diff = ListUpdate {
        list: ListName::Deny,
        version: ListVersion(5),
        kind: ListKind::Diff(ListVersion(4)),
        put: [].into(),
        remove: [].into(),
    };
    world.ask(Ask::UpdateList(Box::new(diff)));
    world.commit_all();
    assert_eq!(world.replies.last().unwrap().outcome, Outcome::VersionGap { version: ListVersion(0) });
}
