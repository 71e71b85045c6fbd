//! The running platform over its own API: a driver, a station and the payment channel.

mod common;

use common::Bed;
use reference_platform::contract::fake_station::{STATION, opened};
use serde_json::json;

#[tokio::test]
async fn a_driver_pays_watches_and_is_refunded_and_the_trace_shows_the_whole_way() {
    let mut bed = Bed::new(None).await;
    let guest = bed.call("GET", &format!("/api/v1/nozzles/{}", bed.code().await), &json!(null)).await;
    assert_eq!((guest.status, guest.body["unit_price_micros"].as_i64()), (200, Some(7_450_000)));
    assert_eq!(bed.call("GET", "/api/v1/orders", &json!(null)).await.body["error"], "not_logged_in");
    assert_eq!(bed.log_in("13800005678").await["phone_masked"], "138****5678");

    let paid = bed.buy(20_000, "key-00000001").await;
    assert_eq!((paid["state"].as_str(), paid["payment"]["state"].as_str()), (Some("paid"), Some("paid")));
    let order = paid["order_id"].as_str().expect("an id").to_owned();
    let mut events = bed.follow(&order).await;
    events.until("paid").await;

    let command = opened(paid["jws"].as_str().expect("a token"));
    assert_eq!(command["data"]["limit"], json!({"amount_minor": 20_000}));
    let reply = json!({"command_id": command["id"], "command_type": command["type"], "result": "armed", "repeated": false,
        "detail": ""});
    bed.tell("reply", "fuel.reply.v1", reply).await;
    assert_eq!(events.until("armed").await["text"]["zh"], "3 号枪已就绪,请提枪");
    for state in ["lifted", "fuelling"] {
        let step = json!({"order_id": order, "nozzle": 3, "state": state, "since": "2026-11-21T08:31:10.120Z"});
        bed.tell("progress", "fuel.order.state.v1", step).await;
        events.until(state).await;
    }
    let live = serde_json::from_value(json!({"nozzle": 3, "volume_ml": 5_000, "amount_minor": 3_725})).expect("live");
    bed.platform.shared().set_live(STATION, live);
    assert_eq!(events.next().await, Some(("live".into(), json!({"volume_ml": 5_000, "amount_minor": 3_725}))));

    let record = bed.station.sale(&order, 0, 10_000, 7_450);
    for _ in 0..2 {
        let answer = bed.post_record(&record).await;
        let acknowledged = opened(answer.body["commands"][0].as_str().expect("a token"));
        assert_eq!(
            (acknowledged["type"].as_str(), &acknowledged["data"]["ids"][0]),
            (Some("fuel.ack.v1"), &record["id"])
        );
    }
    let done = events.until("completed").await;
    assert_eq!(done["end"]["charged_minor"], 7_450);
    assert_eq!(done["end"]["refund"]["amount_minor"], 12_550);
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(("end".into(), json!({}))), "the stream ends once the refund is done");
    let view = bed.call("GET", &format!("/api/v1/orders/{order}"), &json!(null)).await.body;
    assert_eq!(view["end"]["refund"]["state"], "done");

    let trace = bed.raw("GET", &format!("/trace/{order}"), &[], "").await.body.to_string();
    for step in [
        "ordered",
        "paid",
        "reply",
        "armed",
        "lifted",
        "fuelling",
        "hung_up",
        "completed",
        "commission",
        "acknowledged",
        "refund_done",
    ] {
        assert!(trace.contains(step), "{step}");
    }
    for path in
        ["/", "/dashboard/orders", "/dashboard/figures", "/dashboard/money", "/dashboard/reconciliation?day=2026-11-21"]
    {
        assert_eq!(bed.raw("GET", path, &[], "").await.status, 200, "{path}");
    }
    let figures = bed.raw("GET", "/dashboard/figures", &[], "").await.body.to_string();
    for said in ["100.0 %", "Fuelled of ended", "by hour", "by grade", "Commission, level 2"] {
        assert!(figures.contains(said), "{said}");
    }
    bed.platform.stop().await;
}

#[tokio::test]
async fn nobody_sees_or_ends_the_order_of_another() {
    let mut bed = Bed::new(None).await;
    bed.log_in("13800000001").await;
    let order = bed.buy(20_000, "key-00000001").await["order_id"].as_str().expect("an id").to_owned();
    bed.log_in("13800000002").await;
    for (method, path) in [("GET", ""), ("POST", "/cancel"), ("POST", "/pay"), ("GET", "/events")] {
        let reply = bed.call(method, &format!("/api/v1/orders/{order}{path}"), &json!({})).await;
        assert_eq!((reply.status, reply.body["error"].as_str()), (403, Some("not_yours")), "{method} {path}");
    }
}

#[tokio::test]
async fn staff_give_a_driver_a_fleets_card_and_block_it() {
    let mut bed = Bed::new(None).await;
    let member = bed.log_in("13800005678").await["member_id"].take();
    let driver = bed.token.clone();
    let staff = bed.platform.staff_token().to_owned();
    bed.token = Some(staff.clone());
    let fleet = bed.call("POST", "/api/v1/staff/fleets", &json!({"name": "Carriers", "credit_minor": 50_000})).await;
    let card = json!({"account_id": fleet.body["account_id"], "member_id": member, "grades": ["92"],
        "fill_limit_minor": 20_000, "day_limit_minor": 30_000});
    let card =
        bed.call("POST", "/api/v1/staff/cards", &card).await.body["card_id"].as_str().expect("a card").to_owned();
    bed.token = driver.clone();
    let code = bed.code().await;
    for (key, blocked, outcome) in [("key-00000001", None, "paid"), ("key-00000002", Some(true), "card_refused")] {
        let wanted = json!({"qr_token": code, "limit": {"amount_minor": 10_000}, "idempotency_key": key,
            "unit_price_micros": 7_450_000, "pay_with": card});
        let order =
            bed.call("POST", "/api/v1/orders", &wanted).await.body["order_id"].as_str().expect("an id").to_owned();
        if let Some(blocked) = blocked {
            bed.token = Some(staff.clone());
            let path = format!("/api/v1/staff/cards/{card}");
            assert_eq!(bed.call("POST", &path, &json!({"blocked": blocked})).await.status, 204);
            bed.token = driver.clone();
        }
        let paid = bed.call("POST", &format!("/api/v1/orders/{order}/pay"), &json!({})).await.body;
        assert_eq!(paid["error"].as_str().or(paid["state"].as_str()), Some(outcome), "{paid}");
    }
    assert_eq!(bed.call("POST", "/api/v1/staff/fleets", &json!({"name": "x", "credit_minor": 1})).await.status, 401);
}

#[tokio::test]
async fn a_forged_callback_and_a_foreign_page_are_refused() {
    let mut bed = Bed::new(None).await;
    let body = json!({"kind": "paid", "payment_ref": "x", "channel": "sandbox", "order_id": "o", "amount_minor": 1})
        .to_string();
    let headers = [("x-sandbox-timestamp", "0"), ("x-sandbox-nonce", "n"), ("x-sandbox-signature", "00")];
    assert_eq!(bed.raw("POST", "/callback/sandbox", &headers, &body).await.body["error"], "bad_signature");

    bed.log_in("13800000001").await;
    let cookie = format!("session={}", bed.token.clone().expect("a token"));
    let headers =
        [("content-type", "application/json"), ("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    let reply = bed.raw("POST", "/api/v1/groups", &headers, &json!({"station_id": STATION}).to_string()).await;
    assert_eq!((reply.status, reply.body["error"].as_str()), (403, Some("foreign_origin")));
    let form = [("content-type", "application/x-www-form-urlencoded"), ("cookie", cookie.as_str())];
    assert_eq!(bed.raw("POST", "/api/v1/groups", &form, "station_id=st-1").await.body["error"], "malformed");
    for path in [
        "/api/v1/staff/withdrawals/w",
        "/api/v1/staff/sales/s/correction",
        "/api/v1/staff/stations/st-1/prices",
        "/api/v1/staff/orders/o/move",
        "/api/v1/staff/stations/st-1/holds",
    ] {
        assert_eq!(bed.call("POST", path, &json!({})).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_calls_too_often_is_told_to_wait() {
    let bed = Bed::new(Some(10)).await;
    let mut last = bed.call("GET", "/api/v1/session", &json!(null)).await;
    for _ in 0..30 {
        last = bed.call("GET", "/api/v1/session", &json!(null)).await;
        if last.status == 429 {
            break;
        }
    }
    assert_eq!((last.status, last.body["error"].as_str()), (429, Some("rate_limited")));
    assert!(last.head.contains("retry-after"), "{}", last.head);
}

#[tokio::test]
async fn a_station_gets_a_certificate_against_its_code_once_and_five_wrong_codes_lock_it() {
    let bed = Bed::new(None).await;
    let key = rcgen::KeyPair::generate().expect("a key");
    let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request").pem().expect("PEM");
    let enrol = |code: String, request: String| {
        let body = json!({"station_id": STATION, "code": code, "csr_pem": request});
        let bed = &bed;
        async move { bed.call("POST", "/fuel/v1/enrol", &body).await }
    };
    let code = bed.platform.enrolment_code(STATION).await.expect("a code");
    assert_eq!(enrol(code.clone(), "not PEM".into()).await.body["error"], "bad_request_csr");
    let good = enrol(code.clone(), request.clone()).await;
    assert_eq!(good.status, 200, "{}", good.body);
    assert!(good.body["certificate_pem"].as_str().is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE")));
    assert_eq!(good.body["jwks"]["keys"][0]["kid"], "platform-1");
    assert_eq!(enrol(code, request.clone()).await.body["error"], "bad_code", "used");
    for _ in 0..4 {
        assert_eq!(enrol("wrong".into(), request.clone()).await.status, 403);
    }
    let code = bed.platform.enrolment_code(STATION).await.expect("a code");
    let locked = enrol(code, request.clone()).await;
    assert!(locked.body["detail"].as_str().is_some_and(|detail| detail.contains("locked")), "{}", locked.body);
    let unknown = json!({"station_id": "st-9", "code": "x", "csr_pem": request});
    assert_eq!(bed.call("POST", "/fuel/v1/enrol", &unknown).await.status, 404);
}

#[tokio::test]
async fn what_a_page_shows_of_foreign_text_is_text() {
    let mut bed = Bed::new(None).await;
    let nozzle = json!({"nozzle": 4, "fuelling_point": 1, "grade": "<script>", "unit_price_micros": 1, "state": "idle",
        "available": false, "holds": ["<u>"], "order_id": null});
    bed.tell("state/nozzle/4", "fuel.nozzle.state.v1", nozzle).await;
    let reply = bed.raw("GET", "/", &[], "").await;
    let text = reply.body.as_str().expect("HTML");
    assert!(text.contains("&lt;script&gt;") && !text.contains("<script>") && !text.contains("<u>"));
    let nowhere = bed.raw("GET", "/trace/%3Cu%3E", &[], "").await;
    let text = nowhere.body.as_str().expect("a page for people, not a problem for programs");
    assert!(nowhere.status == 404 && text.contains("There is no order of this name") && !text.contains("<u>"));
    assert!(reply.head.contains("content-security-policy"));
}
