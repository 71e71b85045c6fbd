//! Shifts, vouchers and errands.

use crate::model::{World, now_at, request};
use forecourt::command::{Ask, Command};
use forecourt::errand::{Done, Errand};
use forecourt::ids::{CommandId, CustomerToken, NozzleId, OrderId, StationId};
use forecourt::order::{Basis, Limit};
use forecourt::period::{Plan, Scope};
use forecourt::record::{Audit, Record};
use forecourt::site::TypedIn;
use forecourt::time::{ClockQuality, Now};
use forecourt::units::Money;
use forecourt::voucher::{Voucher, VoucherAuthority, VoucherKey};
use std::time::Duration;

/// Of station st-1 with the key 00 01 … 1f, for the slot from 2026-11-21T08:30Z; the world begins at 08:33:20. Reckoned as those in
/// `forecourt::voucher`.
const NOZZLE_1_200_YUAN: &str = "010200 355004 870261";
const ANY_NOZZLE_200_YUAN: &str = "000200 355015 885508";
const ANY_NOZZLE_1_YUAN: &str = "000001 355024 124127";

fn world() -> World {
    let mut key = [0; 32];
    (0_u8..).zip(&mut key).for_each(|(number, byte)| *byte = number);
    let authority = VoucherAuthority::new(StationId::new("st-1").unwrap(), VoucherKey::new(key));
    let mut world = World::new();
    world.open_office(Plan::fixed(480), Some(authority));
    world
}

impl World {
    fn local(&mut self, id: &str, ask: Ask) -> &'static str {
        let command = Command { id: CommandId::new(id).unwrap(), kind: "voucher".into(), ask, overloaded: false };
        let now = self.now();
        self.site.handle_local(command, "uid 1000", &self.books, now);
        self.commit_all();
        self.replies.last().expect("a reply").outcome.word()
    }

    fn type_in(&mut self, digits: &str, nozzle: Option<u16>) -> &'static str {
        let id = format!("local-{}", self.replies.len());
        let voucher = Voucher::parse(digits).unwrap();
        self.local(&id, Ask::Voucher(Box::new(TypedIn { voucher, nozzle: nozzle.map(NozzleId) })))
    }

    fn audits(&self) -> Vec<Audit> {
        let audit = |record: &Record| match record {
            Record::Audit(audit) => Some(audit.clone()),
            _ => None,
        };
        self.books.records.iter().filter_map(audit).collect()
    }

    fn fuel(&mut self, nozzle: u16) {
        let pump = usize::from((nozzle - 1) / 2);
        self.pumps[pump].lift(NozzleId(nozzle));
        self.commit_all();
        self.pumps[pump].flow(10_000);
        self.run();
        self.pumps[pump].hang_up();
        self.commit_all();
    }
}

#[test]
fn a_voucher_fuels_once_and_its_sale_says_so() {
    let mut world = world();
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "armed");
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "duplicate");
    world.fuel(1);
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, None), "duplicate");
    world.crash(0);
    world.commit_all();
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, None), "duplicate");
    let sales: Vec<_> = world.books.sales().collect();
    assert_eq!(sales.len(), 1);
    assert_eq!((sales[0].basis, sales[0].limit), (Basis::Voucher, Some(Limit::Amount(Money::new(20_000)))));
    assert_eq!(sales[0].order_id.as_ref().unwrap().as_str(), "V-010200355004870261");
    let audits = world.audits();
    assert_eq!(audits.len(), 4, "one for each act");
    assert_eq!((audits[0].who.as_str(), audits[0].on.as_str()), ("uid 1000", "nozzle 1"));
    assert_eq!(audits[0].new.as_deref(), Some("armed, order V-010200355004870261"));
}

#[test]
fn a_voucher_refused_for_the_nozzles_sake_stays_good_and_releases_nothing() {
    let mut world = world();
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(3)), "wrong_nozzle");
    assert_eq!(world.type_in(ANY_NOZZLE_200_YUAN, None), "nozzle_needed");
    assert_eq!(world.type_in(ANY_NOZZLE_200_YUAN, Some(77)), "unknown_nozzle");
    assert_eq!(world.type_in(ANY_NOZZLE_1_YUAN, Some(3)), "limit_too_small");
    assert!(!world.books.records.iter().any(|record| matches!(record, Record::Released(_))));
    assert_eq!(world.type_in(ANY_NOZZLE_200_YUAN, Some(3)), "armed");
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, None), "armed");
}

#[test]
fn five_wrong_codes_lock_code_entry_and_no_restart_opens_it() {
    let mut world = world();
    for _ in 0..4 {
        assert_eq!(world.type_in("010200 355004 870262", Some(1)), "bad_voucher");
        world.crash(0);
        world.commit_all();
    }
    assert_eq!(world.type_in("010200 355004 870262", Some(1)), "code_entry_locked");
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "code_entry_locked");
    world.crash(0);
    world.commit_all();
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "code_entry_locked");
    assert!(world.books.orders.is_empty());
    world.pass(15 * 60);
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "armed");
    let written = format!("{:?}", world.audits());
    assert!(!written.contains("355004870262"), "a code that was mistyped is not written down: {written}");
}

#[test]
fn a_good_code_makes_the_wrong_ones_before_it_forgotten() {
    let mut world = world();
    for _ in 0..4 {
        world.type_in("010200 355004 870262", Some(1));
    }
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "armed");
    assert_eq!(world.type_in("010200 355004 870262", Some(1)), "bad_voucher");
}

#[test]
fn a_voucher_is_refused_out_of_its_time_or_without_a_key() {
    let mut world = world();
    world.pass(27 * 60);
    assert_eq!(world.type_in(NOZZLE_1_200_YUAN, Some(1)), "voucher_expired");
    let mut keyless = World::new();
    keyless.open_office(Plan::fixed(480), None);
    assert_eq!(keyless.type_in(NOZZLE_1_200_YUAN, Some(1)), "no_voucher_key");
}

#[test]
fn a_sale_names_the_shift_that_is_open_and_each_period_is_closed_once() {
    let mut world = World::new();
    // 16:33 local time: the second shift began at 14:00 and the third begins at 16:40.
    let plan = Plan::fixed(480).with_times(&["06:00", "14:00", "16:40"], "16:40").unwrap();
    world.open_office(plan, None);
    world.pay("o1", 1, Limit::Amount(Money::new(20_000)));
    world.commit_all();
    world.fuel(1);
    world.pass(6 * 60);
    let second = world.pay("o2", 3, Limit::Amount(Money::new(20_000)));
    world.commit_all();
    assert_eq!(world.word(&second), Some("armed"));
    world.pass(60);
    world.fuel(3);
    assert_eq!(world.phase("o2"), "completed");
    let shifts: Vec<_> = world.books.sales().map(|sale| sale.shift.clone().unwrap()).collect();
    assert_eq!(shifts, ["2026-11-21-B", "2026-11-21-C"]);
    let closed =
        |world: &World| world.books.closed.iter().map(|period| (period.scope, period.name.clone())).collect::<Vec<_>>();
    let expected = vec![(Scope::Shift, "2026-11-21-B".to_owned()), (Scope::Day, "2026-11-20".to_owned())];
    assert_eq!((closed(&world), world.books.anchors), (expected.clone(), 1));
    world.crash(0);
    world.commit_all();
    world.pass(3_600);
    world.commit_all();
    assert_eq!(closed(&world), expected, "nothing is closed twice");
}

#[test]
fn a_close_that_was_not_durable_is_made_again_after_a_crash() {
    let mut world = World::new();
    world.open_office(Plan::fixed(480).with_times(&["16:40"], "00:00").unwrap(), None);
    world.pass(7 * 60);
    world.crash(0);
    world.commit_all();
    assert_eq!(world.books.closed.len(), 1);
}

#[test]
fn an_errand_is_handed_out_once_and_answered_from_memory_afterwards() {
    let mut world = world();
    let revoke = || Ask::Errand(Errand::Revoke { kid: "old".into(), signed_by: "new".into() });
    world.ask_as("c-1", revoke());
    world.ask_as("c-1", revoke());
    assert_eq!((world.errands.len(), world.replies.len()), (1, 0));
    let asked = world.errands[0].clone();
    assert_eq!(asked.who, "platform");
    let audit = Audit { who: asked.who.clone(), did: "revoke".into(), on: "key old".into(), old: None, new: None };
    let now = world.now();
    world.site.handle_errand_done(asked.id, Done::Revoked, vec![audit], now);
    assert!(world.replies.is_empty(), "no reply before it is durable");
    world.commit_all();
    world.ask_as("c-1", revoke());
    world.commit_all();
    let words: Vec<_> = world.replies.iter().map(|reply| (reply.outcome.word(), reply.repeated)).collect();
    assert_eq!(words, [("revoked", false), ("revoked", true)]);
    assert_eq!((world.errands.len(), world.audits().len()), (1, 1));
}

#[test]
fn a_customer_who_is_forgotten_comes_back_with_no_later_write() {
    let mut world = world();
    let customer = CustomerToken::new("c-7f3a91").unwrap();
    let of = |world: &World, order: &str| world.books.orders[&OrderId::new(order).unwrap()].request.clone();
    for (order, token) in [("o1", "c-7f3a91"), ("o2", "c-other")] {
        let limit = Limit::Amount(Money::new(20_000));
        let mut asked = request(order, 1, limit, now_at(600_000_000).utc);
        asked.customer = CustomerToken::new(token).ok();
        asked.plate_masked = Some("粤B·***88".into());
        world.ask(Ask::Authorise(Box::new(asked)));
    }
    world.commit_all();
    world.ask(Ask::Errand(Errand::Erase { customer }));
    // Written anew on its way through the dispenser, and at its end.
    world.fuel(1);
    assert_eq!((of(&world, "o1").customer, of(&world, "o1").plate_masked), (None, None));
    assert_eq!(of(&world, "o2").customer, CustomerToken::new("c-other").ok());
    assert_eq!(world.phase("o1"), "completed");
}

#[test]
fn a_clock_that_is_not_trusted_and_leaps_ahead_makes_no_haste() {
    let mut world = World::new();
    world.open_office(Plan::fixed(480), None);
    let later = world.now().mono + Duration::from_secs(120);
    let leapt = Now { mono: later, utc: world.now().utc.plus_ms(365 * 86_400_000), clock: ClockQuality::Unset };
    world.site.handle_timeout(leapt);
    assert!(
        world.site.poll_timeout().is_some_and(|due| due > later),
        "a deadline that has passed would come again and again"
    );
}
