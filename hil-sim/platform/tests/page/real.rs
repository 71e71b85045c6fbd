//! The page with the reference platform itself behind it, and a station that answers.

use reference_platform::contract::fake_station::{STATION, opened};
use serde_json::json;

use crate::browser::Browser;
use crate::common::Bed;
use crate::looks::TOO_FAINT;

#[test]
fn a_driver_pays_fuels_and_is_refunded_on_the_reference_platform() {
    let Some(browser) = Browser::start() else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut bed = runtime.block_on(Bed::new(Some(10)));
    let url = runtime.block_on(async { bed.platform.nozzle_links().await.expect("links")[0].2.clone() });
    browser.size(360, 740);
    browser.reads("zh-CN");
    browser.open(&url);
    browser.reads_as("pump-price", "7.45");

    // The first time: a telephone number, and an amount.
    browser.click("#phone");
    browser.press(&"13800005678\u{E007}".chars().collect::<Vec<_>>());
    browser.until("document.getElementById('signin').hidden");
    browser.click("#presets button");
    browser.reads_as("pay", "支付 190.00 元");
    browser.click("#pay");
    browser.reads_as("order-title", "已支付");
    browser.until("document.querySelector('#qr img').naturalWidth > 0");

    let id =
        browser.run("return decodeURIComponent(location.hash.split('=')[1])").as_str().expect("an order").to_owned();
    let order = id.clone();
    let view = runtime.block_on(bed.platform.shared().read(move |act| act.order_view(&order))).expect("the order");
    let command = opened(view["jws"].as_str().expect("signed"));
    let reply = json!({"command_id": command["id"], "command_type": command["type"], "result": "armed", "repeated": false, "detail": ""});
    runtime.block_on(bed.tell("reply", "fuel.reply.v1", reply));
    browser.reads_as("order-text", "3 号枪已就绪,请提枪");
    for state in ["lifted", "fuelling"] {
        let step = json!({"order_id": id, "nozzle": 3, "state": state, "since": "2026-11-21T08:31:10.120Z"});
        runtime.block_on(bed.tell("progress", "fuel.order.state.v1", step));
    }
    browser.reads_as("order-title", "正在加油");
    let live = serde_json::from_value(json!({"nozzle": 3, "volume_ml": 5_000, "amount_minor": 3_725})).expect("live");
    bed.platform.shared().set_live(STATION, live);
    browser.reads_as("live-volume", "5.00");
    let record = bed.station.sale(&id, 0, 10_000, 7_450);
    runtime.block_on(bed.post_record(&record));
    browser.reads_as("live-amount", "74.50");
    // 74.50 of 200.00 flowed, which leaves 3.72 of the coupon's 10.00: 70.78 of the 190.00 is kept.
    browser.until("document.getElementById('money').textContent.includes('119.22 元,已退回')");
    assert!(browser.text("receipt-rows").contains("70.78 元"));

    // The second time, two taps.
    browser.open("about:blank");
    browser.open(&url);
    browser.click("#last");
    browser.click("#pay");
    browser.reads_as("order-title", "已支付");
    runtime.block_on(bed.platform.stop());
}

#[test]
fn the_dashboard_fits_every_screen_follows_by_itself_and_says_when_the_platform_is_gone() {
    let Some(browser) = Browser::start() else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut bed = runtime.block_on(Bed::new(Some(50)));
    let order = runtime.block_on(async {
        bed.log_in("13800005678").await;
        bed.buy(20_000, "key-00000001").await["order_id"].as_str().expect("an id").to_owned()
    });
    let url = bed.platform.url();
    let trace = format!("/trace/{order}");
    for path in ["/", "/dashboard/orders", "/dashboard/money", "/dashboard/reconciliation", &trace, "/trace/none"] {
        browser.open(&format!("{url}{path}"));
        for (width, height) in [(360, 740), (768, 1024), (1366, 768)] {
            browser.size(width, height);
            browser.until(&format!("matchMedia('(width: {width}px)').matches"));
            let wide = browser.run("var it = document.documentElement; return it.scrollWidth - it.clientWidth");
            assert_eq!(wide, 0, "{path} scrolls sideways at {width} px");
        }
        for dark in [false, true] {
            browser.dark(dark);
            let found = browser.run(TOO_FAINT);
            assert!(found[0].as_i64() > Some(5), "{path}: {found}");
            assert_eq!(found[1], json!([]), "{path}, dark: {dark}");
        }
    }

    browser.open(&url);
    browser.until("document.querySelector('main').textContent.includes('free')");
    browser.run("document.querySelector('.nozzle').focus(); window.mark = 1");
    let lifted = json!({"nozzle": 3, "fuelling_point": 1, "grade": "92", "unit_price_micros": 7_450_000, "state": "calling",
        "available": true, "holds": [], "order_id": null, "queue": 0, "wait_estimate_s": 0});
    runtime.block_on(bed.tell("state/nozzle/3", "fuel.nozzle.state.v1", lifted));
    browser.until("document.querySelector('main').textContent.includes('lifted')");
    let stayed = browser.run("return [window.mark, document.activeElement.className]");
    assert_eq!(stayed, json!([1, "nozzle"]), "not loaded again, and the focus is where it was");
    runtime.block_on(bed.platform.stop());
    browser.seen("lost");
}
