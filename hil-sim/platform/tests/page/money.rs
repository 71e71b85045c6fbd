//! From the link to the receipt, and everything that can come between.

use reference_platform::refusal::Refusal;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::stand::{QR, Stand, completed, problem};

/// WebDriver's names of keys.
const TAB: char = '\u{E004}';
const ENTER: char = '\u{E007}';

/// A browser on the nozzle's page; signed in means: a driver who was here before. None where there is no Chromium.
pub fn at_the_nozzle(stand: &Stand, language: &str, signed_in: bool) -> Option<Browser> {
    let browser = Browser::start()?;
    browser.size(360, 740);
    browser.reads(language);
    if signed_in {
        browser.cdp(
            "Network.setCookie",
            json!({"url": stand.url(), "name": "session", "value": "stand-in", "httpOnly": true, "sameSite": "Strict"}),
        );
    }
    browser.open(&stand.url());
    browser.seen("pump");
    Some(browser)
}

/// The two taps.
pub fn pay_as_last_time(browser: &Browser) {
    browser.click("#last");
    browser.click("#pay");
    browser.seen("order");
}

pub fn armed() -> Value {
    json!({"state":"armed","text":{"zh":"3 号枪已就绪,请提枪","en":"Nozzle 3 is ready: lift it"},
        "steps":[{"step":"ordered","at":"2026-11-21T08:30:02Z"},{"step":"paid","at":"2026-11-21T08:30:04Z"},{"step":"armed","at":"2026-11-21T08:30:05Z"}]})
}

pub fn fuelling() -> Value {
    json!({"state":"fuelling","lift_deadline":null,"live":{"volume_ml":0,"amount_minor":0},"text":{"zh":"3 号枪正在加油","en":"Nozzle 3 is fuelling"}})
}

pub fn ended(refund: &str) -> Value {
    let mut end = completed();
    end["refund"]["state"] = json!(refund);
    end["receipt"]["station"] = json!("示范加油站");
    end["receipt"]["order_id"] = json!("20261121-000042");
    end["receipt"]["ended_at"] = json!("2026-11-21T08:32:02Z");
    end["text"] =
        json!({"zh":"实加 29.18 升 217.40 元,退回 82.60 元","en":"29.18 L taken for 217.40, 82.60 goes back"});
    // 300.00 less 10.00 was paid; 217.40 flowed, less 10.00: 82.60 goes back.
    end["discount_minor"] = json!(1000);
    end["charged_minor"] = json!(20_740);
    end["receipt"]["discount_minor"] = json!(1000);
    end["receipt"]["charged_minor"] = json!(20_740);
    json!({"state":"completed","live":null,"end":end,"limit":{"amount_minor":30000},"gross_minor":30000,"payable_minor":29000,
        "steps":[{"step":"ordered","at":"2026-11-21T08:30:02Z"},{"step":"paid","at":"2026-11-21T08:30:04Z"},{"step":"armed","at":"2026-11-21T08:30:05Z"},
            {"step":"fuelling","at":"2026-11-21T08:30:20Z"},{"step":"completed","at":"2026-11-21T08:32:02Z"}]})
}

#[test]
fn a_returning_driver_pays_with_two_taps() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    assert_eq!(browser.text("pump-price"), "7.45");
    assert_eq!(browser.text("pump-title"), "3 号枪");
    browser.reads_as("pay", "请选择金额");
    // Both taps are in the first view of a small phone.
    browser.click("#last");
    browser.reads_as("pay", "支付 190.00 元");
    let low = "return ['last', 'pay'].every(function (id) { var r = document.getElementById(id).getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; })";
    assert_eq!(browser.run("scrollTo(0, 0)"), Value::Null);
    assert_eq!(browser.run(low), true, "no scrolling between the link and the payment");
    browser.click("#pay");
    browser.reads_as("order-title", "已支付");
    let world = stand.world();
    let (_, asked) = world.asked.iter().find(|(path, _)| path == "orders").expect("an order");
    assert_eq!(asked["limit"], json!({"amount_minor": 20000}));
    assert_eq!(asked["qr_token"], QR);
    assert_eq!(asked["coupon_id"], "c-1");
    assert_eq!(asked["vehicle_id"], "v-1");
    assert_eq!(asked["unit_price_micros"], 7_450_000);
}

#[test]
fn a_new_driver_signs_in_and_keys_in_an_amount() {
    let stand = Stand::start();
    stand.change(|world| world.member["last"] = Value::Null);
    let Some(browser) = at_the_nozzle(&stand, "en-GB", false) else { return };
    browser.click(".presets button:last-child");
    for key in ["1", "2", "3", ".", "4", "5"] {
        browser.click(&format!("#pad [data-key='pad{key}']"));
    }
    browser.reads_as("pay", "Sign in first");
    browser.click("#pay");
    browser.until("document.activeElement.id === 'phone'");
    browser.press(&"1380000567".chars().collect::<Vec<_>>());
    browser.press(&[ENTER]);
    browser.reads_as("phone-hint", "Please enter 11 digits.");
    browser.press(&['8', ENTER]);
    browser.reads_as("pay", "Pay ¥123.45");
    browser.click("#pay");
    browser.reads_as("order-title", "Paid");
    assert_eq!(stand.world().orders[0]["limit"], json!({"amount_minor": 12345}));
}

#[test]
fn litres_and_a_full_tank_are_priced_to_the_minor_unit() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    browser.click(".tabs label:nth-child(2)");
    browser.click("#presets button");
    browser.reads_as("pay", "支付 213.50 元");
    browser.click("#presets button:last-child");
    browser.press(&['3', '3', '.', '3', '3']);
    // 33.33 L x 7.45 = 248.3085: 248.31, less 10.
    browser.reads_as("pay", "支付 238.31 元");
    browser.click(".tabs label:nth-child(3)");
    browser.click("#presets button");
    browser.reads_as("pay", "支付 590.00 元");
    browser.click("#presets button:last-child");
    browser.press(&['2', '0', '0', '0']);
    browser.reads_as("pay", "请选择金额");
    browser.until("document.getElementById('own').getAttribute('aria-invalid') === 'true'");
}

#[test]
fn live_litres_then_the_end_with_refund_coupon_and_receipt() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&armed());
    browser.reads_as("order-text", "3 号枪已就绪,请提枪");
    let deadline = browser.run("return new Date(Date.now() + 90500).toISOString()");
    stand.order(&json!({"lift_deadline": deadline}));
    browser.until("/^1:(30|29|28|27|26|25)$/.test(document.getElementById('count-time').textContent)");
    stand.order(&fuelling());
    browser.reads_as("order-title", "正在加油");
    browser.reads_as("say", "3 号枪正在加油");
    stand.order(&json!({"live":{"volume_ml":12340,"amount_minor":9193}}));
    browser.reads_as("live-volume", "12.34");
    browser.reads_as("live-amount", "91.93");
    browser.reads_as("figures-note", "加油中,数字为实时参考");
    assert_eq!(browser.text("say"), "3 号枪正在加油", "running litres are not read out");
    stand.order(&ended("accepted"));
    browser.reads_as("order-text", "实加 29.18 升 217.40 元,退回 82.60 元");
    browser.reads_as("live-volume", "29.18");
    let money = browser.text("money");
    assert!(money.contains("退款82.60 元,已受理,处理中"), "accepted is not done: {money}");
    assert!(money.contains("优惠券已使用,减 10.00 元"), "{money}");
    let receipt = browser.text("receipt-rows");
    for part in ["示范加油站", "29.18 升", "7.45 元/升", "217.40 元", "挂枪", "20261121-000042"] {
        assert!(receipt.contains(part), "{part} is not on the receipt: {receipt}");
    }
    assert!(browser.text("inviter").contains("10.87"));
    stand.change(|world| {
        world.orders[0]["end"]["refund"]["state"] = json!("done");
        world.settled.push("20261121-000042".to_owned());
    });
    browser.until("document.getElementById('money').textContent.includes('82.60 元,已退回')");
    browser.click("#invoice-box summary");
    browser.click("#invoice-title");
    browser.press(&['A', 'B']);
    browser.click("#invoice-go");
    browser.reads_as("invoice-now", "已提交");
    browser.click("#again");
    browser.reads_as("pay", "请选择金额");
}

#[test]
fn an_order_that_took_no_fuel_names_the_reason_and_the_money() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    for (reason, zh, en) in [
        ("not_lifted", "未提枪,订单已取消,退款处理中", "Not lifted: the order is cancelled, the refund is on its way"),
        (
            "no_flow",
            "提枪后未出油,订单已结束,退款处理中",
            "No fuel came: the order has ended, the refund is on its way",
        ),
        ("expired", "订单已过期,未加油,款项原路退回", "The order expired without fuel; the money goes back"),
        ("tank_low", "该油品库存不足,请选择其他油枪", "Too little of this fuel is left: choose another nozzle"),
    ] {
        stand.order(&json!({"state":"released","text":{"zh":zh,"en":en},"end":{"kind":"released","reason":reason,
            "refund":{"amount_minor":19000,"state":"accepted"},"coupon":{"coupon_id":"c-1","state":"returned","discount_minor":0},
            "suggested_nozzles":[{"nozzle":1,"qr_token":"q-1"}],"unit_price_micros":null,"text":{"zh":zh,"en":en}}}));
        browser.reads_as("order-text", zh);
        browser.reads_as("say", zh);
        assert!(browser.text("money").contains("190.00 元,已受理"), "{}", browser.text("money"));
        assert!(browser.text("money").contains("已退回您的账户"));
        assert!(browser.text("suggested-list").contains("1 号枪"));
        browser.click("#language");
        browser.reads_as("order-text", en);
        browser.click("#language");
    }
}

#[test]
fn a_reload_in_the_middle_keeps_the_order() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&fuelling());
    stand.order(&json!({"live":{"volume_ml":5000,"amount_minor":3725}}));
    browser.reads_as("live-volume", "5.00");
    browser.reload();
    browser.reads_as("live-volume", "5.00");
    // Also for one who scans the code again.
    browser.open("about:blank");
    browser.open(&stand.url());
    browser.click("#resume");
    browser.reads_as("live-volume", "5.00");
    assert_eq!(stand.posts("orders"), 1);
    assert_eq!(stand.posts("/pay"), 1);
}

#[test]
fn a_server_that_was_gone_is_found_again_and_caught_up_with() {
    let mut stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&fuelling());
    browser.reads_as("order-title", "正在加油");
    stand.down();
    browser.seen("line");
    assert!(browser.text("line").contains("连接中断"), "{}", browser.text("line"));
    stand.order(&ended("done"));
    stand.up();
    browser.reads_as("order-title", "加油完成");
    browser.until("document.getElementById('line').hidden");
}

#[test]
fn a_phone_without_network_says_so_and_the_code_is_still_there() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&json!({"station_online": false}));
    browser.reads_as("code", "385 217");
    browser.until("document.querySelector('#qr img').naturalWidth > 0");
    browser.cdp("Network.enable", json!({}));
    let network = |offline: bool| {
        browser.cdp(
            "Network.emulateNetworkConditions",
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}),
        );
    };
    network(true);
    browser.until("document.getElementById('line').textContent.startsWith('手机没有网络')");
    assert_eq!(browser.text("code"), "385 217");
    network(false);
    stand.order(&armed());
    browser.reads_as("order-title", "请提枪");
    browser.until("document.getElementById('line').hidden");
}

#[test]
fn paying_without_an_answer_is_tried_again_with_the_same_key() {
    let mut stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    browser.click("#last");
    stand.down();
    browser.click("#pay");
    browser.reads_as("refusal-text", "没有收到回答,未重复扣款。请重试。");
    let key = browser.run("return JSON.parse(sessionStorage.getItem('pending')).key");
    stand.up();
    browser.click("#refusal-steps button");
    browser.seen("order");
    let world = stand.world();
    let keys: Vec<_> = world
        .asked
        .iter()
        .filter(|(path, _)| path == "orders")
        .map(|(_, body)| body["idempotency_key"].clone())
        .collect();
    assert_eq!(keys, [key]);
}

#[test]
fn a_double_tap_on_pay_makes_one_order_and_one_payment() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    browser.click("#last");
    browser.double_tap("#pay");
    browser.reads_as("order-title", "已支付");
    assert_eq!(stand.world().orders.len(), 1);
    assert_eq!(stand.posts("/pay"), 1);
}

#[test]
fn another_sum_than_the_one_on_the_button_is_not_paid_without_asking() {
    let stand = Stand::start();
    // The platform knows a better price than the page: 1,000 less than the page thinks.
    stand.change(|world| world.nozzle["coupons"] = json!([]));
    stand.change(|world| world.member["coupons"][0]["discount_minor"] = json!(500));
    let Some(browser) = at_the_nozzle(&stand, "en", true) else { return };
    browser.click("#last");
    browser.reads_as("pay", "Pay ¥195.00");
    browser.click("#pay");
    browser.reads_as("order-pay-note", "The sum has changed to ¥190.00: please confirm it.");
    assert_eq!(stand.posts("/pay"), 0);
    browser.click("#order-pay-go");
    browser.reads_as("order-title", "Paid");
    assert_eq!(stand.posts("/pay"), 1);
}

#[test]
fn the_whole_way_to_a_paid_order_is_open_to_the_keyboard_alone() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    let tab_to = |id: &str| {
        for _ in 0..40 {
            browser.press(&[TAB]);
            if browser.run("return document.activeElement.id") == id {
                return;
            }
        }
        panic!("the tab key never came to {id}");
    };
    tab_to("last");
    let ring = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(ring, "solid", "the focus is seen");
    browser.press(&[ENTER]);
    browser.reads_as("pay", "支付 190.00 元");
    tab_to("pay");
    browser.press(&[ENTER]);
    browser.reads_as("order-title", "已支付");
    browser.until("document.activeElement.id === 'order-title'");
    tab_to("cancel");
    browser.press(&[ENTER]);
    browser.reads_as("order-title", "已取消");
}

#[test]
fn every_refusal_is_shown_in_both_languages_with_a_next_step() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    // Word and the first step that is offered; the sentence is the platform's own.
    let refusals = [
        ("not_logged_in", "去登录", "Sign in"),
        ("foreign_origin", "重新打开", "Open again"),
        ("not_yours", "返回油枪", "Back to the nozzle"),
        ("unknown_nozzle", "查看我的订单", "See my orders"),
        ("malformed", "重新打开", "Open again"),
        ("cloud_offline", "重试", "Try again"),
        ("station_held", "重试", "Try again"),
        ("nozzle_unavailable", "1 号枪", "Nozzle 1"),
        ("tank_low", "1 号枪", "Nozzle 1"),
        ("unloading", "1 号枪", "Nozzle 1"),
        ("comm_lost", "1 号枪", "Nozzle 1"),
        ("review", "1 号枪", "Nozzle 1"),
        ("store_full", "重试", "Try again"),
        ("nozzle_busy", "1 号枪", "Nozzle 1"),
        ("price_changed", "确认单价 7.60", "Accept 7.60"),
        ("grade_mismatch", "1 号枪", "Nozzle 1"),
        ("unsupported_preset", "修改金额", "Change the amount"),
        ("limit_too_small", "修改金额", "Change the amount"),
        ("limit_exceeded", "修改金额", "Change the amount"),
        ("daily_limit", "修改金额", "Change the amount"),
        ("coupon_not_usable", "不用优惠券", "Go on without the coupon"),
        ("group_not_complete", "不参加拼团", "Go on without the group"),
        ("card_refused", "换支付方式", "Pay another way"),
        ("too_far", "重试", "Try again"),
        ("key_reused", "重试", "Try again"),
        ("expired", "重新下单", "New order"),
        ("rate_limited", "重试", "Try again"),
    ];
    for (error, step_zh, step_en) in refusals {
        let refusal = match error {
            "price_changed" => Refusal::new(error, "for the log").with("unit_price_micros", 7_600_000),
            "grade_mismatch" => Refusal::new(error, "for the log").with("suggested_nozzles", json!([1, 2])),
            _ => Refusal::new(error, "for the log"),
        };
        let (status, body) = (refusal.status(), refusal.problem());
        let [zh, en] = ["zh", "en"].map(|language| body["text"][language].as_str().expect("a sentence").to_owned());
        assert!(zh != en && !zh.contains("暂时无法完成"), "{error} has a sentence of its own: {zh}");
        stand.change(|world| {
            world.refusals.insert("orders", (status, body));
        });
        browser.open(&stand.url());
        browser.click("#last");
        browser.click("#pay");
        browser.reads_as("refusal-text", &zh);
        browser.until("document.activeElement.id === 'refusal-text'");
        let first = "document.querySelector('#refusal-steps > *').textContent";
        assert_eq!(browser.run(&format!("return {first}")), step_zh, "{error}");
        browser.click("#language");
        browser.reads_as("refusal-text", &en);
        assert_eq!(browser.run(&format!("return {first}")), step_en, "{error}");
        browser.click("#language");
    }
}

#[test]
fn an_alarm_reaches_who_is_fuelling_and_the_end_is_there_when_it_is_over() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&fuelling());
    browser.reads_as("order-title", "正在加油");
    let sentence = "请立即停止使用手机并离开加油区";
    stand.order(&json!({"alarm": {"error": "gas_alarm", "text": {"zh": sentence, "en": "Leave"}}}));
    browser.reads_as("refusal-text", sentence);
    browser.reads_as("say", sentence);
    assert_eq!(browser.run("return document.getElementById('order-text').offsetParent"), Value::Null);
    stand.order(&ended("done"));
    browser.reads_as("refusal-text", sentence);
    stand.order(&json!({"alarm": null}));
    browser.reads_as("order-title", "加油完成");
    browser.until("document.getElementById('refusal').hidden");
}

#[test]
fn a_nozzle_in_use_tells_who_is_before_and_how_long_and_takes_the_order() {
    let stand = Stand::start();
    stand.change(|world| {
        for (name, value) in [
            ("state", json!("fuelling")),
            ("available", json!(false)),
            ("queue", json!(1)),
            ("wait_estimate_s", json!(150)),
        ] {
            world.nozzle[name] = value;
        }
        world.nozzle["others"][2]["grade_name"] = json!({"zh": "柴油", "en": "Diesel"});
    });
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    browser.reads_as("pump-state", "使用中 · 您前面有 1 位 · 约等 3 分钟");
    assert!(browser.text("others").contains("柴油 · 不可用"), "{}", browser.text("others"));
    pay_as_last_time(&browser);
    browser.click("#language");
    stand.order(&json!({"state": "queued", "text": {"zh": "3 号枪正在使用,已为您排队第 1 位", "en": "Nozzle 3 is busy: you are number 1 in its queue"}}));
    browser.reads_as("order-title", "In the queue");
    browser.reads_as("order-text", "Nozzle 3 is busy: you are number 1 in its queue");
}

#[test]
fn friends_are_invited_by_a_poster_that_is_fetched_when_it_is_looked_at() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&ended("done"));
    browser.reads_as("order-title", "加油完成");
    assert_eq!(browser.run("return document.querySelectorAll('#poster img').length"), 0);
    browser.click("#share-box summary");
    browser.until("document.querySelector('#poster img') && document.querySelector('#poster img').naturalWidth > 0");
    assert!(
        browser
            .run("return document.querySelector('#poster img').alt")
            .as_str()
            .is_some_and(|alt| alt.contains("海报"))
    );
}

#[test]
fn an_alarm_leaves_nothing_to_tap_but_its_sentence() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    stand.change(|world| {
        world.nozzle["available"] = json!(false);
        world.nozzle["refusal"] = json!({"error":"emergency","text":{"zh":"请立即停止使用手机并离开加油区","en":"Put the phone away and leave the forecourt now"}});
    });
    browser.reads_as("refusal-text", "请立即停止使用手机并离开加油区");
    browser.reads_as("say", "请立即停止使用手机并离开加油区");
    assert_eq!(browser.run("return document.getElementById('pay').offsetParent"), Value::Null);
    stand.change(|world| world.nozzle["refusal"] = Value::Null);
    browser.seen("pay");
}

#[test]
fn a_new_price_while_choosing_has_to_be_accepted() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    browser.click("#last");
    stand.change(|world| world.nozzle["unit_price_micros"] = json!(7_600_000));
    browser.reads_as("refusal-text", "油价已由 7.45 调整为 7.60,请重新确认");
    browser.click("#pay");
    assert_eq!(stand.posts("orders"), 0);
    browser.click("#refusal-steps button");
    browser.reads_as("pay", "支付 190.00 元");
    browser.click("#pay");
    browser.seen("order");
    assert_eq!(stand.world().orders[0]["unit_price_micros"], 7_600_000);
}

#[test]
fn the_wrong_nozzle_lifted_offers_to_move_the_order() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&armed());
    stand.order(&json!({"wrong_nozzle":{"nozzle":4,"qr_token":"q-4"}}));
    browser.reads_as("wrong-text", "您付的是 3 号枪,提起的是 4 号枪。要把订单移过去吗?");
    browser.click("#wrong-go");
    browser.reads_as("order-text", "订单已移到 4 号枪");
    let world = stand.world();
    assert_eq!(world.asked.last().map(|(_, body)| body.clone()), Some(json!({"qr_token": "q-4"})));
}

#[test]
fn a_cancel_that_came_too_late_says_so_and_the_order_goes_on() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "en", true) else { return };
    pay_as_last_time(&browser);
    let late = problem(409, "cannot_cancel", "已提枪,不能取消", "The nozzle is lifted: too late to cancel");
    stand.change(|world| {
        world.refusals.insert("cancel", late);
    });
    browser.click("#cancel");
    browser.reads_as("refusal-text", "The nozzle is lifted: too late to cancel");
    stand.order(&fuelling());
    browser.click("#refusal-steps button");
    browser.reads_as("order-title", "Fuelling");
    browser.until("document.getElementById('refusal').hidden");
}

#[test]
fn the_list_of_orders_leads_to_each() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    pay_as_last_time(&browser);
    stand.order(&ended("done"));
    browser.reads_as("order-title", "加油完成");
    browser.click("#orders-link");
    browser.click("#orders-list a");
    browser.reads_as("order-title", "加油完成");
    browser.click("#orders-link");
    browser.click("#orders-back");
    browser.seen("pump");
}
