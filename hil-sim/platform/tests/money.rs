//! Money: from the order to the commission, each scene against the books in memory.

use forecourt::order::Limit;
use forecourt::time::UtcTime;
use forecourt::units::{Money, Volume};
use reference_platform::books::channel::{Callback, News};
use reference_platform::books::{Account, Invitation, NewCard, Trouble};
use reference_platform::contract::fake_station::{STATION, opened};
use reference_platform::distance::Position;
use reference_platform::rehearsal::{POSITION, Rehearsal};
use reference_platform::signature::Secret;
use serde_json::{Value, json};

fn play() -> Rehearsal {
    Rehearsal::new().expect("opens")
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Trouble>) -> String {
    match outcome {
        Err(Trouble::Refused(refusal)) => refusal.word,
        other => panic!("not refused: {other:?}"),
    }
}

fn balance(play: &mut Rehearsal, account: Account<'_>) -> i64 {
    play.act(|act| act.balance(account)).expect("reads").get()
}

fn balanced(play: &mut Rehearsal) {
    assert_eq!(play.act(|act| act.audit_ledger()).expect("reads"), Vec::<String>::new());
}

fn amount(minor: i64) -> Limit {
    Limit::Amount(Money::new(minor))
}

/// A driver (number 1), who invited him (2), and who invited that one (3), and a fourth above.
fn invited(play: &mut Rehearsal) -> [String; 4] {
    let members = [1, 2, 3, 4].map(|number| play.member(number).expect("logs in"));
    for pair in members.windows(2) {
        let invitation = Invitation { inviter_id: pair[1].clone(), station_id: STATION.into(), position: POSITION };
        play.act(|act| act.bind(&pair[0], &invitation)).expect("binds");
    }
    members
}

#[test]
fn a_filled_order_is_charged_whole_and_pays_two_levels_of_commission_and_never_a_third() {
    let mut play = play();
    let [driver, first, second, third] = invited(&mut play);
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(26_846));
    play.send(&record).expect("stored");
    let view = play.view(&order).expect("an order");
    assert_eq!(view["state"], "completed");
    assert_eq!(view["end"]["charged_minor"], 20_000);
    assert!(view["end"]["refund"].is_null());
    let wallets = [&first, &second, &third].map(|member| balance(&mut play, Account::Wallet(member)));
    assert_eq!(wallets, [1_000, 160, 0]);
    assert_eq!(balance(&mut play, Account::Station(STATION)), 20_000);
    balanced(&mut play);
}

#[test]
fn a_third_level_is_refused_by_the_database_itself() {
    let schema = include_str!("../src/books/schema.sql");
    assert!(schema.contains("level        INTEGER NOT NULL CHECK (level IN (1, 2))"), "the constraint under test");
    let db = rusqlite::Connection::open_in_memory().expect("opens");
    db.execute_batch(&format!("PRAGMA foreign_keys = OFF; {schema}")).expect("a schema");
    let insert = |level| db.execute("INSERT INTO commission VALUES ('s', ?1, 'm', 1, 1, 0, 0)", [level]);
    assert!(insert(2).is_ok());
    assert!(insert(3).is_err());
}

#[test]
fn after_an_early_hang_up_the_rest_goes_back_and_commission_follows_the_true_amount() {
    let mut play = play();
    let [driver, first, second, _] = invited(&mut play);
    let wanted = play.wanted(3, amount(30_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(29_181));
    play.send(&record).expect("stored");
    let view = play.view(&order).expect("an order");
    assert_eq!(view["end"]["refund"], json!({"amount_minor": 8_260, "state": "accepted"}));
    assert_eq!(view["text"]["zh"], "实加 29.181 升 217.40 元,退回 82.60 元");
    assert_eq!(balance(&mut play, Account::Refunding(&order)), 8_260);
    play.refund_all().expect("the channel calls back");
    assert_eq!(play.view(&order).expect("an order")["end"]["refund"]["state"], "done");
    let sums =
        [Account::Wallet(&first), Account::Wallet(&second), Account::Refunding(&order), Account::Outside("sandbox")]
            .map(|account| balance(&mut play, account));
    assert_eq!(sums, [1_087, 174, 0, -21_740]);
    balanced(&mut play);
}

#[test]
fn without_fuel_everything_goes_back_and_nobody_earns() {
    let mut play = play();
    let [driver, first, ..] = invited(&mut play);
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    play.release(&order, "not_lifted").expect("stored");
    play.refund_all().expect("the channel calls back");
    let view = play.view(&order).expect("an order");
    assert_eq!(
        (view["state"].as_str(), view["end"]["refund"]["amount_minor"].as_i64()),
        (Some("released"), Some(20_000))
    );
    assert_eq!(view["payment"]["state"], "refunded");
    assert_eq!(balance(&mut play, Account::Wallet(&first)), 0);
    assert_eq!(balance(&mut play, Account::Outside("sandbox")), 0);
    balanced(&mut play);
}

#[test]
fn a_sale_that_is_sent_twice_books_once_and_is_acknowledged_twice() {
    let mut play = play();
    let [driver, first, ..] = invited(&mut play);
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(20_000));
    for _ in 0..2 {
        let tokens = play.send(&record).expect("stored");
        assert_eq!(opened(&tokens[0])["data"]["ids"], json!([record["id"]]));
    }
    assert_eq!(balance(&mut play, Account::Wallet(&first)), 745);
    balanced(&mut play);
}

#[test]
fn a_sale_is_booked_without_anything_that_led_to_it_and_a_changed_one_is_refused() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(10_000));
    let mut forged = record.clone();
    forged["data"]["amount_minor"] = 1.into();
    let tokens = play.send(&forged).expect("answered");
    assert_eq!(opened(&tokens[0])["type"], "fuel.nack.v1");
    assert_eq!(play.view(&order).expect("an order")["state"], "paid");
    play.send(&record).expect("stored");
    assert_eq!(play.view(&order).expect("an order")["state"], "completed");
}

#[test]
fn an_order_paid_through_two_channels_is_sent_once_and_the_second_payment_goes_back() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let other = play.act(|act| act.channel_pay(&order, "sandbox_other")).expect("the channel takes it");
    play.act(|act| act.take_callback(&other)).expect("taken");
    assert_eq!(play.act(|act| act.commands_to_send()).expect("reads").len(), 1);
    play.refund_all().expect("the channel calls back");
    assert_eq!(balance(&mut play, Account::Outside("sandbox_other")), 0);
    assert_eq!(balance(&mut play, Account::Held(&order)), 20_000);
    balanced(&mut play);
}

#[test]
fn forged_replayed_and_stale_callbacks_have_no_effect() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let (order, _) = play.act(|act| act.place_order(&driver, &wanted)).expect("placed");
    let good = play.act(|act| act.channel_pay(&order, "sandbox")).expect("the channel takes it");
    let news = News::Paid {
        payment_ref: "x".into(),
        channel: "sandbox".into(),
        order_id: order.clone(),
        amount_minor: Money::new(20_000),
    };
    let foreign = Callback::sign(&Secret::new([9; 32]), play.now, "n", &news);
    let altered = Callback { body: good.body.replace("20000", "20001"), ..good.clone() };
    let renamed = Callback { nonce: "another".into(), ..good.clone() };
    for forged in [foreign, altered, renamed] {
        assert_eq!(refused(play.act(|act| act.take_callback(&forged))), "bad_signature");
    }
    let now = play.now;
    play.pass_ms(301_000);
    assert_eq!(refused(play.act(|act| act.take_callback(&good))), "too_old");
    play.now = now;
    assert_eq!(play.view(&order).expect("an order")["state"], "awaiting_payment");
    play.act(|act| act.take_callback(&good)).expect("taken");
    assert_eq!(refused(play.act(|act| act.take_callback(&good))), "replayed");
    assert_eq!(balance(&mut play, Account::Held(&order)), 20_000);
    balanced(&mut play);
}

#[test]
fn a_payment_of_another_sum_or_after_the_time_goes_back_whole() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let (order, _) = play.act(|act| act.place_order(&driver, &wanted)).expect("placed");
    let late = play.act(|act| act.channel_pay(&order, "sandbox")).expect("the channel takes it");
    play.pass_ms(301_000);
    assert_eq!(play.act(|act| act.expire_unpaid()).expect("expires"), 1);
    play.now = play.now.plus_ms(-2_000);
    play.act(|act| act.take_callback(&late)).expect("taken");
    play.refund_all().expect("the channel calls back");
    assert_eq!(play.view(&order).expect("an order")["state"], "expired");
    assert_eq!(balance(&mut play, Account::Outside("sandbox")), 0);
    balanced(&mut play);
}

#[test]
fn a_coupon_is_looked_at_again_on_what_was_dispensed() {
    // What is wanted, what the coupon takes off; litres, what is charged, what goes back.
    for (minor, off, ml, charged, back) in [
        (20_000, 1_000, 26_846, 19_000, None),
        (20_000, 1_000, 24_161, 17_100, Some(1_900)),
        (30_000, 2_000, 40_268, 28_000, None),
        (30_000, 2_000, 26_846, 18_667, Some(9_333)),
    ] {
        let mut play = play();
        let driver = play.member(1).expect("logs in");
        let expires = play.now.plus_ms(86_400_000);
        let coupon = reference_platform::books::Coupon { threshold: Money::new(minor), discount: Money::new(off) };
        let coupon = play.act(|act| act.give_coupon(&driver, coupon, expires)).expect("given");
        let mut wanted = play.wanted(3, amount(minor)).expect("a nozzle");
        wanted.coupon_id = Some(coupon);
        let order = play.buy(&driver, &wanted).expect("buys");
        let record = play.sale(Some(&order), 3, Volume::new(ml));
        play.send(&record).expect("stored");
        let end = play.view(&order).expect("an order")["end"].take();
        assert_eq!((end["charged_minor"].as_i64(), end["refund"]["amount_minor"].as_i64()), (Some(charged), back));
        let again = wanted.clone();
        let again = reference_platform::books::NewOrder { idempotency_key: "another-key".into(), ..again };
        assert_eq!(refused(play.act(|act| act.place_order(&driver, &again))), "coupon_not_usable");
        balanced(&mut play);
    }
}

#[test]
fn a_group_of_three_gets_thirty_fen_a_litre_each_and_its_leader_five_yuan() {
    let mut play = play();
    let members = [1, 2, 3].map(|number| play.member(number).expect("logs in"));
    let group = play.act(|act| act.found_group(&members[0], STATION)).expect("founded")["group_id"].take();
    let group = group.as_str().expect("an id").to_owned();
    let mut wanted = play.wanted(1, amount(20_000)).expect("a nozzle");
    wanted.group_id = Some(group.clone());
    assert_eq!(refused(play.act(|act| act.place_order(&members[0], &wanted))), "group_not_complete");
    for member in &members[1..] {
        play.act(|act| act.join_group(member, &group)).expect("joined");
    }
    let mut rebates = Vec::new();
    for (nozzle, member, ml) in [(1, &members[0], 26_846), (2, &members[1], 26_846), (3, &members[2], 10_000)] {
        let mut wanted = play.wanted(nozzle, amount(20_000)).expect("a nozzle");
        wanted.group_id = Some(group.clone());
        let order = play.buy(member, &wanted).expect("buys");
        let record = play.sale(Some(&order), nozzle, Volume::new(ml));
        play.send(&record).expect("stored");
        rebates.push(play.view(&order).expect("an order")["end"]["group_rebate_minor"].as_i64());
    }
    assert_eq!(rebates, [Some(805), Some(805), Some(300)]);
    assert_eq!(balance(&mut play, Account::Wallet(&members[0])), 500);
    balanced(&mut play);
}

#[test]
fn an_invitation_binds_within_three_kilometres_only() {
    let mut play = play();
    let [driver, inviter] = [1, 2].map(|number| play.member(number).expect("logs in"));
    let at = |north: i64| Invitation {
        inviter_id: inviter.clone(),
        station_id: STATION.into(),
        position: Position { lat_udeg: POSITION.lat_udeg + north, ..POSITION },
    };
    let (near, far) = (at(26_080), at(27_880));
    assert_eq!(refused(play.act(|act| act.bind(&driver, &far))), "too_far");
    play.act(|act| act.bind(&driver, &near)).expect("binds");
    let own = Invitation { inviter_id: driver.clone(), ..near };
    assert_eq!(refused(play.act(|act| act.bind(&driver, &own))), "malformed");
}

#[test]
fn a_driver_may_pay_five_thousand_yuan_a_day_and_not_a_fen_more() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    for _ in 0..4 {
        let wanted = play.wanted(3, amount(100_000)).expect("a nozzle");
        play.buy(&driver, &wanted).expect("buys");
    }
    let rest = play.wanted(3, amount(99_999)).expect("a nozzle");
    play.act(|act| act.place_order(&driver, &rest)).expect("4,999.99");
    let more = play.wanted(3, amount(100)).expect("a nozzle");
    assert_eq!(refused(play.act(|act| act.place_order(&driver, &more))), "daily_limit");
    play.pass_ms(8 * 3_600_000);
    play.act(|act| act.place_order(&driver, &more)).expect("the next day");
}

#[test]
fn the_days_limit_is_five_thousand_yuan_to_the_fen() {
    for (last, word) in [(99_999, None), (100_000, None), (100_001, Some("daily_limit"))] {
        let mut play = play();
        let driver = play.member(1).expect("logs in");
        // A single order is at most 1,000 yuan, so the last one comes in two.
        for minor in [100_000, 100_000, 100_000, 100_000, last - 100] {
            let wanted = play.wanted(3, amount(minor)).expect("a nozzle");
            play.buy(&driver, &wanted).expect("buys");
        }
        let wanted = play.wanted(3, amount(100)).expect("a nozzle");
        let outcome = play.act(|act| act.place_order(&driver, &wanted));
        match word {
            None => assert!(outcome.is_ok(), "{last}: {outcome:?}"),
            Some(word) => assert_eq!(refused(outcome), word, "{last}"),
        }
    }
}

#[test]
fn the_same_key_is_the_same_order_and_never_another() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let (first, is_new) = play.act(|act| act.place_order(&driver, &wanted)).expect("placed");
    let (second, is_new_again) = play.act(|act| act.place_order(&driver, &wanted)).expect("known");
    assert_eq!((is_new, is_new_again, &first), (true, false, &second));
    let other = reference_platform::books::NewOrder { limit: amount(30_000), ..wanted };
    assert_eq!(refused(play.act(|act| act.place_order(&driver, &other))), "key_reused");
}

#[test]
fn a_driver_who_comes_back_four_weeks_later_need_not_sign_in_again() {
    let mut play = play();
    let (token, member, _) = play.act(|act| act.log_in("13800005678")).expect("logs in");
    play.pass_ms(28 * 86_400_000);
    assert_eq!(play.act(|act| act.session(&token)).expect("still signed in"), member);
    play.pass_ms(3 * 86_400_000);
    assert!(
        matches!(play.act(|act| act.session(&token)), Err(Trouble::Refused(refusal)) if refusal.word == "not_logged_in")
    );
}

#[test]
fn what_cannot_be_sold_is_refused_before_anything_is_paid() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let car = play.act(|act| act.add_vehicle(&driver, "粤B12388", "0")).expect("a vehicle")["vehicle_id"].take();
    let mut wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    wanted.vehicle_id = car.as_str().map(str::to_owned);
    assert_eq!(refused(play.act(|act| act.place_order(&driver, &wanted))), "grade_mismatch");
    wanted.vehicle_id = None;
    wanted.unit_price_micros = forecourt::units::UnitPrice::new(7_000_000);
    assert_eq!(refused(play.act(|act| act.place_order(&driver, &wanted))), "price_changed");
    for (limit, word) in [
        (amount(99), "limit_too_small"),
        (amount(100_001), "limit_exceeded"),
        (Limit::Volume(Volume::new(999)), "limit_too_small"),
        (Limit::FullTank(Money::new(100_001)), "limit_exceeded"),
    ] {
        let wanted = play.wanted(3, limit).expect("a nozzle");
        assert_eq!(refused(play.act(|act| act.place_order(&driver, &wanted))), word, "{limit:?}");
    }
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    play.nozzle(3, false, &["tank_low"]).expect("told");
    assert_eq!(refused(play.act(|act| act.place_order(&driver, &wanted))), "tank_low");
    play.tell("state/station", "fuel.station.state.v1", json!({"online": false})).expect("told");
    assert_eq!(refused(play.act(|act| act.place_order(&driver, &wanted))), "cloud_offline");
}

#[test]
fn up_to_five_hundred_yuan_are_withdrawn_at_once_and_more_only_after_review() {
    let mut play = play();
    let [driver, first, ..] = invited(&mut play);
    // 5 % of 1,000 yuan, twenty-two times.
    for number in 0..22_u16 {
        let buyer = if number < 4 { driver.clone() } else { play.member(100 + number / 4).expect("logs in") };
        if number >= 4 {
            let invitation = Invitation { inviter_id: first.clone(), station_id: STATION.into(), position: POSITION };
            play.act(|act| act.bind(&buyer, &invitation)).expect("binds");
        }
        let wanted = play.wanted(3, amount(100_000)).expect("a nozzle");
        let order = play.buy(&buyer, &wanted).expect("buys");
        let record = play.sale(Some(&order), 3, Volume::new(134_228));
        play.send(&record).expect("stored");
    }
    let mut withdraw = |minor, key: &str| play.act(|act| act.withdraw(&first, Money::new(minor), key));
    assert_eq!(withdraw(50_000, "key-1").expect("paid")["state"], "paid");
    assert_eq!(withdraw(50_000, "key-1").expect("the same")["state"], "paid");
    let large = withdraw(50_001, "key-2").expect("waits");
    assert_eq!(large["state"], "review");
    assert_eq!(refused(withdraw(20_000, "key-3")), "balance_too_small");
    let id = large["withdrawal_id"].as_str().expect("an id");
    play.act(|act| act.review_withdrawal(id, true, "manager")).expect("decided");
    assert_eq!(refused(play.act(|act| act.review_withdrawal(id, false, "manager"))), "already_ended");
    assert_eq!(balance(&mut play, Account::Wallet(&first)), 110_000 - 100_001);
    balanced(&mut play);
}

#[test]
fn a_corrected_sale_takes_commission_back_even_after_it_was_withdrawn() {
    let mut play = play();
    let [driver, first, ..] = invited(&mut play);
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(26_846));
    play.send(&record).expect("stored");
    play.act(|act| act.withdraw(&first, Money::new(900), "key-1")).expect("paid");
    let sale = record["data"]["sale_id"].as_str().expect("an id");
    play.act(|act| act.correct_sale(sale, Money::new(10_000), "manager", "test sale")).expect("corrected");
    let sums = [Account::Wallet(&first), Account::Clawback(&first)].map(|account| balance(&mut play, account));
    assert_eq!(sums, [0, -400]);
    assert_eq!(refused(play.act(|act| act.correct_sale(sale, Money::ZERO, "manager", "again"))), "already_ended");
    balanced(&mut play);
}

#[test]
fn a_fleet_card_keeps_its_limits_by_grade_fill_and_day_and_its_credit() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let fleet = play.act(|act| act.open_fleet("Carriers Ltd", Money::new(70_000))).expect("opened");
    let card = NewCard {
        account_id: &fleet,
        member_id: &driver,
        grades: &["92"],
        fill_limit: Money::new(30_000),
        day_limit: Money::new(80_000),
    };
    let card = play.act(|act| act.issue_card(&card)).expect("issued");
    let try_buy = |play: &mut Rehearsal, nozzle, minor| {
        let mut wanted = play.wanted(nozzle, amount(minor)).expect("a nozzle");
        wanted.pay_with = card.clone();
        play.buy(&driver, &wanted)
    };
    let why = |outcome: Result<String, Trouble>| match outcome {
        Err(Trouble::Refused(refusal)) if refusal.word == "card_refused" => refusal.detail,
        other => panic!("not refused: {other:?}"),
    };
    assert!(why(try_buy(&mut play, 5, 10_000)).contains("does not buy grade 0"));
    assert!(why(try_buy(&mut play, 3, 30_001)).contains("for one fill"));
    let order = try_buy(&mut play, 3, 30_000).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(10_000));
    play.send(&record).expect("stored");
    assert_eq!(balance(&mut play, Account::Card(&fleet)), -7_450);
    try_buy(&mut play, 3, 30_000).expect("what was given back can be used");
    try_buy(&mut play, 3, 30_000).expect("67,450 of 80,000 for the day, of 70,000 credit");
    assert!(why(try_buy(&mut play, 3, 3_000)).contains("balance"));
    assert!(why(try_buy(&mut play, 3, 12_551)).contains("for this day"), "80,000 less 67,450 are left");
    balanced(&mut play);
}

#[test]
fn a_prepaid_card_never_holds_more_than_its_ceiling_and_never_less_than_nothing() {
    let mut play = play();
    assert!(play.act(|act| act.open_prepaid("Ms L", Money::new(500_001))).is_err());
    let driver = play.member(1).expect("logs in");
    let account = play.act(|act| act.open_prepaid("Ms L", Money::new(25_000))).expect("opened");
    let card = NewCard {
        account_id: &account,
        member_id: &driver,
        grades: &[],
        fill_limit: Money::new(100_000),
        day_limit: Money::new(500_000),
    };
    let card = play.act(|act| act.issue_card(&card)).expect("issued");
    let mut wanted = play.wanted(3, amount(25_001)).expect("a nozzle");
    wanted.pay_with = card;
    assert_eq!(refused(play.buy(&driver, &wanted)), "card_refused");
    balanced(&mut play);
}

#[test]
fn a_sale_is_invoiced_once_and_only_when_there_is_one() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    assert_eq!(refused(play.act(|act| act.invoice(&order, "Ms L", None))), "malformed");
    let record = play.sale(Some(&order), 3, Volume::new(10_000));
    play.send(&record).expect("stored");
    let first = play.act(|act| act.invoice(&order, "Ms L", None)).expect("an invoice");
    assert_eq!(play.act(|act| act.invoice(&order, "Another", None)).expect("the same"), first);
    assert_eq!(first["sale"]["amount_minor"], 7_450);
}

#[test]
fn nothing_that_names_a_driver_is_stored_or_sent_to_a_station() {
    let mut play = play();
    let driver = play.act(|act| act.log_in("13800005678")).expect("logs in").1;
    assert_eq!(driver.phone_masked, "138****5678");
    let car = play.act(|act| act.add_vehicle(&driver.member_id, "粤B12388", "92")).expect("a vehicle");
    assert_eq!(car["plate_masked"], "粤B·***88");
    let mut wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    wanted.vehicle_id = car["vehicle_id"].as_str().map(str::to_owned);
    play.buy(&driver.member_id, &wanted).expect("buys");
    let sent = opened(&play.act(|act| act.commands_to_send()).expect("reads")[0].token);
    assert_eq!(sent["data"]["customer"], driver.customer.as_str());
    assert_eq!(sent["data"]["plate_masked"], "粤B·***88");
    assert_eq!(sent["data"]["context"], json!({"channel": "sandbox"}));
    let text = sent.to_string();
    assert!(!text.contains("5678") && !text.contains("12388") && !text.contains(&driver.member_id), "{text}");
}

#[test]
fn a_reply_of_section_two_gives_the_money_back_and_another_waits_for_its_release() {
    for (result, state) in [("too_old", "released"), ("grade_mismatch", "paid"), ("armed", "armed")] {
        let mut play = play();
        let driver = play.member(1).expect("logs in");
        let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
        let order = play.buy(&driver, &wanted).expect("buys");
        let sent = play.act(|act| act.commands_to_send()).expect("reads").remove(0);
        let id: Value = opened(&sent.token)["id"].take();
        let reply = json!({"command_id": id, "command_type": "fuel.order.authorise.v1", "result": result,
            "repeated": false, "detail": ""});
        play.tell("reply", "fuel.reply.v1", reply).expect("told");
        assert_eq!(play.view(&order).expect("an order")["state"], state);
        balanced(&mut play);
    }
}

/// The commands that are to go out, each marked as sent.
fn sent(play: &mut Rehearsal) -> Vec<Value> {
    let due = play.act(|act| act.commands_to_send()).expect("reads");
    for command in &due {
        play.act(|act| act.command_sent(command.number)).expect("marked");
    }
    due.iter().map(|command| opened(&command.token)).collect()
}

#[test]
fn an_order_whose_command_was_lost_goes_again_until_it_has_its_end_however_late() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let first = sent(&mut play);
    assert_eq!(first.len(), 1);
    play.pass_ms(29_999);
    assert_eq!(play.act(|act| act.send_overdue_again()).expect("looked through"), 0);
    // The station is away past the order's own time: nothing is sent to nobody.
    play.tell("state/station", "fuel.station.state.v1", json!({"online": false})).expect("told");
    play.pass_ms(3_600_000);
    assert_eq!(play.act(|act| act.send_overdue_again()).expect("looked through"), 0);
    play.tell("state/station", "fuel.station.state.v1", json!({"online": true, "holds": []})).expect("told");
    assert_eq!(play.act(|act| act.send_overdue_again()).expect("looked through"), 1);
    assert_eq!(sent(&mut play), first, "the same command");
    // A station that never knew it calls it expired, and its release gives the money back.
    play.release(&order, "refused:expired").expect("stored");
    play.refund_all().expect("the channel calls back");
    assert_eq!(play.view(&order).expect("an order")["end"]["reason"], "expired");
    assert_eq!(balance(&mut play, Account::Outside("sandbox")), 0);
    play.pass_ms(60_000);
    assert_eq!(play.act(|act| act.send_overdue_again()).expect("looked through"), 0, "it has its end");
    balanced(&mut play);
}

#[test]
fn an_order_that_its_driver_cancelled_is_not_armed_late_and_ends_all_the_same() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let authorise = sent(&mut play).remove(0);
    play.act(|act| act.cancel_order(&order)).expect("asked");
    let cancel = sent(&mut play).remove(0);
    let reply = json!({"command_id": cancel["id"], "command_type": cancel["type"], "result": "unknown_order", "repeated": false,
        "detail": ""});
    play.tell("reply", "fuel.reply.v1", reply).expect("told");
    for (minutes, due) in [(1, 0), (9, 0), (2, 1)] {
        play.pass_ms(minutes * 60_000);
        assert_eq!(play.act(|act| act.send_overdue_again()).expect("looked through"), due, "{minutes}");
    }
    assert_eq!(sent(&mut play), [authorise]);
}

#[test]
fn a_station_too_busy_for_an_order_gets_it_again() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let command = sent(&mut play).remove(0);
    for (result, state, due) in [("overloaded", "paid", 1), ("armed", "armed", 0)] {
        let reply = json!({"command_id": command["id"], "command_type": command["type"], "result": result, "repeated": false,
            "detail": ""});
        play.tell("reply", "fuel.reply.v1", reply).expect("told");
        assert_eq!(play.view(&order).expect("an order")["state"], state);
        play.pass_ms(30_000);
        assert_eq!(play.act(|act| act.send_overdue_again()).expect("looked through"), due, "{result}");
        assert_eq!(sent(&mut play).len(), due);
    }
}

#[test]
fn a_sale_in_another_money_than_the_stations_is_not_booked() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let mut data = play.sale(Some(&order), 3, Volume::new(10_000))["data"].take();
    data["currency"] = "EUR".into();
    let mut station = reference_platform::contract::fake_station::FakeStation::new();
    let record = station.record("fuel.sale.v1", data);
    play.send(&record).expect("stored all the same");
    assert_eq!(play.view(&order).expect("an order")["state"], "paid");
    assert!(play.act(|act| act.disputes()).expect("reads")[0].1.contains("EUR"));
    balanced(&mut play);
}

#[test]
fn a_price_set_goes_out_signed_and_shows_its_answer_and_each_nozzles_word() {
    let mut play = play();
    let (from, price) = (play.now.plus_ms(60_000), forecourt::units::UnitPrice::new(7_600_000));
    let name = play.act(|act| act.set_prices(STATION, from, &[("92", price)])).expect("sent");
    let command = sent(&mut play).remove(0);
    let prices = json!([{"grade": "92", "unit_price_micros": 7_600_000}]);
    let told = json!({"price_set": name, "effective_at": from.to_string(), "prices": prices});
    assert_eq!((&command["type"], &command["data"]), (&json!("fuel.price.set.v1"), &told));
    let reply = json!({"command_id": command["id"], "command_type": command["type"], "result": "scheduled", "repeated": false,
        "detail": "for 1 nozzle"});
    play.tell("reply", "fuel.reply.v1", reply).expect("told");
    for status in ["pending", "applied"] {
        let data = json!({"price_set": name, "nozzle": 3, "unit_price_micros": 7_600_000, "status": status,
            "at": from.to_string()});
        let record = play.station.record("fuel.price.applied.v1", data);
        play.send(&record).expect("stored");
        let set = play.act(|act| act.price_sets(STATION)).expect("reads").remove(0);
        assert_eq!(set["nozzles"], json!([{"nozzle": 3, "unit_price_micros": 7_600_000, "status": status}]));
        assert_eq!((&set["prices"], &set["result"]), (&prices, &json!("scheduled")));
    }
    assert_eq!(refused(play.act(|act| act.set_prices("st-9", from, &[("92", price)]))), "unknown_station");
}

#[test]
fn a_pump_that_runs_over_the_limit_costs_the_driver_nothing_and_is_named_in_the_reconciliation() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    let record = play.sale(Some(&order), 3, Volume::new(26_850));
    play.send(&record).expect("stored");
    let end = play.view(&order).expect("an order")["end"].take();
    assert_eq!((end["amount_minor"].as_i64(), end["charged_minor"].as_i64()), (Some(20_003), Some(20_000)));
    let day = reference_platform::calendar::Day::of(play.now);
    let found = reference_platform::reconcile::reconcile(&play.act(|act| act.day_books(day)).expect("reads"));
    let found: Vec<_> = found.iter().map(|difference| difference.kind).collect();
    assert_eq!(found, [reference_platform::reconcile::Kind::LimitOverrun]);
    balanced(&mut play);
}

#[test]
fn a_step_that_comes_late_never_takes_an_order_back() {
    let mut play = play();
    let driver = play.member(1).expect("logs in");
    let wanted = play.wanted(3, amount(20_000)).expect("a nozzle");
    let order = play.buy(&driver, &wanted).expect("buys");
    for (told, seen) in [("fuelling", "fuelling"), ("armed", "fuelling")] {
        let step =
            json!({"order_id": order, "nozzle": 3, "state": told, "since": UtcTime::from_unix_ms(0).to_string()});
        play.tell("progress", "fuel.order.state.v1", step).expect("told");
        assert_eq!(play.view(&order).expect("an order")["state"], seen);
    }
    assert_eq!(refused(play.act(|act| act.cancel_order(&order))), "cannot_cancel");
    let record = play.sale(Some(&order), 3, Volume::new(10_000));
    play.send(&record).expect("stored");
    let step = json!({"order_id": order, "nozzle": 3, "state": "fuelling", "since": play.now.to_string()});
    play.tell("progress", "fuel.order.state.v1", step).expect("told");
    assert_eq!(play.view(&order).expect("an order")["state"], "completed");
}
