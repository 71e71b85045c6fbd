//! What the driver is told, word for word, by the platform itself: each refusal and each end of an order.

use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use reference_platform::books::Trouble;
use reference_platform::contract::fake_station::opened;
use reference_platform::rehearsal::{PRICE, Rehearsal};
use serde_json::{Value, json};

fn zh(text: &Value) -> &str {
    text["zh"].as_str().unwrap_or("")
}

fn en(text: &Value) -> &str {
    text["en"].as_str().unwrap_or("")
}

/// A paid order of 300 yuan at nozzle 3.
fn paid(play: &mut Rehearsal) -> String {
    let member = play.member(1).expect("logs in");
    let wanted = play.wanted(3, Limit::Amount(Money::new(30_000))).expect("a nozzle");
    play.buy(&member, &wanted).expect("bought")
}

/// The station answers an order.
fn reply(play: &mut Rehearsal, order: &str, result: &str, more: &Value) {
    let view = play.view(order).expect("an order");
    let command = opened(view["jws"].as_str().expect("signed"));
    let mut data = json!({"command_id": command["id"], "command_type": command["type"], "result": result, "repeated": false, "detail": ""});
    for (name, value) in more.as_object().expect("members") {
        data[name] = value.clone();
    }
    play.tell("reply", "fuel.reply.v1", data).expect("told");
}

/// A nozzle's state with other members than usual.
fn nozzle(play: &mut Rehearsal, number: i64, members: &Value) {
    let mut data = json!({"nozzle": number, "fuelling_point": 1, "grade": "92", "unit_price_micros": PRICE.get(), "state": "idle",
        "available": true, "holds": [], "order_id": null, "queue": 0, "wait_estimate_s": 0});
    for (name, value) in members.as_object().expect("members") {
        data[name] = value.clone();
    }
    play.tell(&format!("state/nozzle/{number}"), "fuel.nozzle.state.v1", data).expect("told");
}

/// The refusal and the sentence that a nozzle's page shows.
fn shown(play: &mut Rehearsal, number: i64) -> Value {
    let code = play.code(number).expect("a code");
    play.act(|act| act.nozzle_view(&code, None)).expect("a nozzle")["refusal"].take()
}

#[test]
fn an_order_that_waits_its_turn_says_which_and_an_armed_one_says_lift() {
    let mut play = Rehearsal::new().expect("books");
    let order = paid(&mut play);
    reply(&mut play, &order, "queued", &json!({"position": 1}));
    // The step that tells the same comes on a way of its own, and may come after the answer.
    let step = json!({"order_id": order, "nozzle": 3, "state": "queued", "since": "2026-11-21T08:30:00.000Z"});
    play.tell("progress", "fuel.order.state.v1", step).expect("told");
    let waits = play.view(&order).expect("an order");
    assert_eq!(zh(&waits["text"]), "3 号枪正在使用,已为您排队第 1 位");
    assert_eq!(en(&waits["text"]), "Nozzle 3 is busy: you are number 1 in its queue");
    let step = json!({"order_id": order, "nozzle": 3, "state": "armed", "since": "2026-11-21T08:30:05.000Z",
        "lift_deadline": "2026-11-21T08:32:05.000Z"});
    play.tell("progress", "fuel.order.state.v1", step).expect("told");
    let armed = play.view(&order).expect("an order");
    assert_eq!(zh(&armed["text"]), "3 号枪已就绪,请提枪");
    assert_eq!(armed["lift_deadline"], "2026-11-21T08:32:05.000Z", "the page counts it down");
}

#[test]
fn an_order_that_the_station_refuses_says_what_with_the_figures() {
    let cases = [
        (
            "grade_mismatch",
            json!({"suggested_nozzles": [1, 2]}),
            "此枪为 0 号柴油,您的订单是 92 号汽油,请选 1、2 号枪",
            "This nozzle is Diesel 0, your order is Petrol 92: take nozzle 1 or 2",
        ),
        (
            "price_changed",
            json!({"unit_price_micros": 7_600_000}),
            "油价已由 7.45 调整为 7.60,请重新确认",
            "The price changed from 7.45 to 7.60: please confirm",
        ),
        ("nozzle_busy", json!({}), "3 号枪正在使用,请换枪", "Nozzle 3 is in use: take another"),
        (
            "expired",
            json!({}),
            "订单已过期,未加油,款项原路退回",
            "The order expired, no fuel was taken; the money goes back",
        ),
    ];
    for (result, more, chinese, english) in cases {
        let mut play = Rehearsal::new().expect("books");
        let order = paid(&mut play);
        if result == "grade_mismatch" {
            nozzle(&mut play, 3, &json!({"grade": "0"}));
        }
        reply(&mut play, &order, result, &more);
        play.release(&order, &format!("refused:{result}")).expect("booked");
        let view = play.view(&order).expect("an order");
        assert_eq!((zh(&view["text"]), en(&view["text"])), (chinese, english), "{result}");
        assert_eq!(view["end"]["refund"]["amount_minor"], 30_000, "{result}");
    }
}

#[test]
fn an_order_that_ends_without_fuel_says_why() {
    for (reason, chinese) in [
        ("expired", "订单已过期,未加油,款项原路退回"),
        ("not_lifted", "未提枪,订单已取消,退款处理中"),
        ("no_flow", "提枪后未出油,订单已结束,退款处理中"),
        ("station_held", "加油站暂停服务(雷雨/卸油/报警)"),
        ("cancelled", "订单已取消,已付款项原路退回"),
        ("fault", "油枪故障,订单已结束,退款处理中"),
    ] {
        let mut play = Rehearsal::new().expect("books");
        let order = paid(&mut play);
        play.release(&order, reason).expect("booked");
        assert_eq!(zh(&play.view(&order).expect("an order")["text"]), chinese, "{reason}");
    }
    // Released because its tank ran low: the nozzle says so.
    let mut play = Rehearsal::new().expect("books");
    let order = paid(&mut play);
    play.nozzle(3, false, &["tank_low"]).expect("told");
    play.release(&order, "station_held").expect("booked");
    let others = play.view(&order).expect("an order")["end"]["suggested_nozzles"].take();
    let others: Vec<_> = others.as_array().expect("a list").iter().map(|other| other["nozzle"].clone()).collect();
    assert_eq!(others, [1, 2, 4], "of the same grade, and free");
    let text = |play: &mut Rehearsal| zh(&play.view(&order).expect("an order")["text"]).to_owned();
    assert_eq!(text(&mut play), "该油品库存不足,请选择其他油枪");
    // Looked at the next day, when the same nozzle has another trouble.
    play.nozzle(3, false, &["emergency"]).expect("told");
    play.pass_ms(86_400_000);
    assert_eq!(text(&mut play), "加油站暂停服务(雷雨/卸油/报警)");
}

#[test]
fn a_nozzle_that_takes_no_order_says_why_before_anything_is_paid() {
    let mut play = Rehearsal::new().expect("books");
    for (hold, word, chinese) in [
        ("tank_low", "tank_low", "该油品库存不足,请选择其他油枪"),
        ("comm_lost", "comm_lost", "油枪通讯中断,请联系员工,未扣多余款"),
        ("emergency", "emergency", "请立即停止使用手机并离开加油区"),
        ("gas_alarm", "gas_alarm", "请立即停止使用手机并离开加油区"),
        ("manual", "nozzle_unavailable", "此枪暂不可用,请选择其他油枪"),
    ] {
        play.nozzle(3, false, &[hold]).expect("told");
        let refusal = shown(&mut play, 3);
        assert_eq!((refusal["error"].as_str(), zh(&refusal["text"])), (Some(word), chinese));
    }
    play.nozzle(3, true, &[]).expect("told");
    play.tell("state/station", "fuel.station.state.v1", json!({"online": true, "holds": ["manual"]})).expect("told");
    assert_eq!(zh(&shown(&mut play, 3)["text"]), "加油站暂停服务(雷雨/卸油/报警)");
    play.tell("state/station", "fuel.station.state.v1", json!({"online": true, "holds": []})).expect("told");

    let driver = play.member(1).expect("logs in");
    let car = play.act(|act| act.add_vehicle(&driver, "粤B12388", "0")).expect("a vehicle")["vehicle_id"].take();
    let mut wanted = play.wanted(3, Limit::Amount(Money::new(20_000))).expect("a nozzle");
    wanted.vehicle_id = car.as_str().map(str::to_owned);
    let text = |refused: Result<(String, bool), Trouble>| match refused {
        Err(Trouble::Refused(refusal)) => refusal.problem()["text"].take(),
        other => panic!("not refused: {other:?}"),
    };
    let refused = text(play.act(|act| act.place_order(&driver, &wanted)));
    assert_eq!(zh(&refused), "此枪为 92 号汽油,您的车辆用 0 号柴油,请选 5 号枪");
    wanted.vehicle_id = None;
    wanted.unit_price_micros = forecourt::units::UnitPrice::new(7_600_000);
    let refused = text(play.act(|act| act.place_order(&driver, &wanted)));
    assert_eq!(zh(&refused), "油价已由 7.60 调整为 7.45,请重新确认");
}

#[test]
fn a_nozzle_in_use_tells_how_long_to_wait_and_takes_the_next_order_until_too_many_wait() {
    let mut play = Rehearsal::new().expect("books");
    let driver = play.member(1).expect("logs in");
    let code = play.code(3).expect("a code");
    let mut busy =
        json!({"state": "fuelling", "available": false, "order_id": "o-1", "queue": 0, "wait_estimate_s": 150});
    nozzle(&mut play, 3, &busy);
    let view = play.act(|act| act.nozzle_view(&code, None)).expect("a nozzle");
    assert_eq!((&view["refusal"], &view["available"]), (&Value::Null, &json!(false)));
    assert_eq!((&view["queue"], &view["wait_estimate_s"]), (&json!(1), &json!(150)));
    let wanted = play.wanted(3, Limit::Amount(Money::new(20_000))).expect("a nozzle");
    play.buy(&driver, &wanted).expect("it waits behind the first");
    busy["queue"] = json!(3);
    nozzle(&mut play, 3, &busy);
    let refusal = shown(&mut play, 3);
    assert_eq!((refusal["error"].as_str(), zh(&refusal["text"])), (Some("nozzle_busy"), "3 号枪正在使用,请换枪"));
    // Not in use, and still not to be had: the station is stopping.
    nozzle(&mut play, 3, &json!({"available": false}));
    assert_eq!(shown(&mut play, 3)["error"], "nozzle_unavailable");
}

#[test]
fn a_fuelling_says_what_flowed_what_goes_back_and_what_ended_it() {
    for (finish, chinese, english) in [
        ("hung_up", "实加 29.18 升 217.39 元,退回 82.61 元", "29.18 L for 217.39 yuan; 82.61 goes back"),
        (
            "power_loss",
            "停电:实加 29.18 升 217.39 元,退回 82.61 元",
            "Power cut: 29.18 L for 217.39 yuan; 82.61 goes back",
        ),
        (
            "emergency",
            "紧急停止:实加 29.18 升 217.39 元,退回 82.61 元",
            "Emergency stop: 29.18 L for 217.39 yuan; 82.61 goes back",
        ),
    ] {
        let mut play = Rehearsal::new().expect("books");
        let order = paid(&mut play);
        let mut data = play.sale(Some(&order), 3, Volume::new(29_180))["data"].take();
        data["finish"] = json!(finish);
        // The record that was sealed with another finish is never sent.
        play.station = reference_platform::contract::fake_station::FakeStation::new();
        let record = play.station.record("fuel.sale.v1", data);
        play.send(&record).expect("booked");
        let view = play.view(&order).expect("an order");
        assert_eq!((zh(&view["text"]), en(&view["text"])), (chinese, english));
    }
    let mut play = Rehearsal::new().expect("books");
    let order = paid(&mut play);
    let review = json!({"order_id": order, "nozzle": 3, "why": "no end record", "totaliser_start_ml": 1, "deadline": "2026-11-22T08:30:00.000Z"});
    let record = play.station.record("fuel.order.review.v1", review);
    play.send(&record).expect("booked");
    assert_eq!(zh(&play.view(&order).expect("an order")["text"]), "交易核对中,最长 24 小时,先不扣款");
}

#[test]
fn an_alarm_reaches_who_is_fuelling_and_lasts_beyond_the_fuelling_that_it_ended() {
    let mut play = Rehearsal::new().expect("books");
    let order = paid(&mut play);
    assert_eq!(play.view(&order).expect("an order")["alarm"], Value::Null);
    play.nozzle(3, false, &["comm_lost", "gas_alarm"]).expect("told");
    let alarm = play.view(&order).expect("an order")["alarm"].take();
    assert_eq!((alarm["error"].as_str(), zh(&alarm["text"])), (Some("gas_alarm"), "请立即停止使用手机并离开加油区"));
    let mut data = play.sale(Some(&order), 3, Volume::new(10_000))["data"].take();
    data["finish"] = json!("emergency");
    play.station = reference_platform::contract::fake_station::FakeStation::new();
    let record = play.station.record("fuel.sale.v1", data);
    play.send(&record).expect("booked");
    assert_eq!(play.view(&order).expect("an order")["alarm"]["error"], "gas_alarm");
    play.nozzle(3, true, &[]).expect("told");
    assert_eq!(play.view(&order).expect("an order")["alarm"], Value::Null);
}

#[test]
fn an_attendant_moves_an_order_and_holds_a_nozzle_through_signed_commands() {
    let mut play = Rehearsal::new().expect("books");
    let order = paid(&mut play);
    let refused = play.act(|act| act.move_order_by_staff(&order, 4, "attendant 7"));
    assert!(matches!(refused, Err(Trouble::Refused(refusal)) if refusal.word == "cannot_move"), "not at a pump yet");
    reply(&mut play, &order, "armed", &json!({}));
    let refused = play.act(|act| act.move_order_by_staff(&order, 9, "attendant 7"));
    assert!(matches!(refused, Err(Trouble::Refused(refusal)) if refusal.word == "unknown_nozzle"));
    play.act(|act| act.move_order_by_staff(&order, 4, "attendant 7")).expect("asked");
    play.act(|act| act.hold_nozzle("st-1", 3, true, "tank_low")).expect("asked");
    let sent = play.act(|act| act.commands_to_send()).expect("commands");
    let sent: Vec<Value> = sent.iter().map(|command| opened(&command.token)).collect();
    let [.., moved, held] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((&moved["type"], &moved["data"]["to_nozzle"]), (&json!("fuel.order.move.v1"), &json!(4)));
    assert_eq!(
        (&held["type"], &held["data"]),
        (&json!("fuel.nozzle.hold.v1"), &json!({"nozzle": 3, "reason": "tank_low"}))
    );
    let trace = play.act(|act| act.trace(&order)).expect("its way");
    let asked = trace.iter().find(|stage| stage.step == "move_asked").expect("the move");
    assert_eq!(asked.detail.as_deref(), Some("attendant 7"));
}
