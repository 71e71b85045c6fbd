//! The reference platform over a real broker: a station that answers, a driver who pays, an uplink that is cut.

use hil_sim::broker::Broker;
use reference_platform::books::{NewOrder, NewStation};
use reference_platform::contract::fake_station::{FakeStation, STATION, opened};
use reference_platform::contract::keys::KeyPair;
use reference_platform::rehearsal::{POSITION, PRICE};
use reference_platform::{ReferencePlatform, Running, Settings};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(20);

/// Says it is online with nozzle 3 idle, arms every order and sells 10 litres of it; tells every acknowledgement.
async fn station(broker: SocketAddr, tell: mpsc::UnboundedSender<Value>) {
    let mut options = MqttOptions::new(STATION, broker.ip().to_string(), broker.port());
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 64);
    let (mut station, mut totaliser) = (FakeStation::new(), 0);
    let topic = |name: &str| format!("fuel/v1/{STATION}/{name}");
    loop {
        let publish = match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                client.subscribe(topic("cmd"), QoS::AtLeastOnce).await.expect("room");
                let online = station.event("fuel.station.state.v1", json!({"online": true, "holds": []}));
                let idle = json!({"nozzle": 3, "fuelling_point": 1, "grade": "92", "unit_price_micros": PRICE.get(),
                    "state": "idle", "available": true, "holds": [], "order_id": null, "queue": 0, "wait_estimate_s": 0});
                let nozzle = station.event("fuel.nozzle.state.v1", idle);
                for (name, state) in [("state/station", online), ("state/nozzle/3", nozzle)] {
                    client.publish(topic(name), QoS::AtLeastOnce, true, state.to_string()).await.expect("room");
                }
                continue;
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => publish,
            Ok(_) => continue,
            // While the broker is down.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let command = opened(std::str::from_utf8(&publish.payload).expect("text"));
        if command["type"] == "fuel.ack.v1" {
            tell.send(command["data"].clone()).expect("the test listens");
            continue;
        }
        if command["type"] != "fuel.order.authorise.v1" {
            continue;
        }
        let reply = station.reply(command["id"].as_str().expect("an id"), "fuel.order.authorise.v1", "armed", false);
        let sale = station.sale(command["data"]["order_id"].as_str().expect("an id"), totaliser, 10_000, 7_450);
        totaliser += 10_000;
        for (name, message) in [("reply", reply), ("event", sale)] {
            client.publish(topic(name), QoS::AtLeastOnce, false, message.to_string()).await.expect("room");
        }
    }
}

/// Waits for something in the books.
async fn until<T: Send + 'static>(
    platform: &Running,
    look: impl FnOnce(&mut reference_platform::books::Act<'_>) -> Option<T> + Clone + Send + 'static,
) -> T {
    let shared = platform.shared();
    let mut changed = shared.changed.subscribe();
    let search = async {
        loop {
            changed.mark_unchanged();
            let once = look.clone();
            if let Some(found) = shared.read(move |act| Ok(once(act))).await.expect("reads") {
                return found;
            }
            changed.changed().await.expect("the platform lives");
        }
    };
    tokio::time::timeout(SOON, search).await.expect("in time")
}

async fn buy(platform: &Running, key: &str) -> String {
    let code = until(platform, |act| act.qr_tokens().ok()?.pop().map(|(.., code)| code)).await;
    let wanted: NewOrder = serde_json::from_value(json!({"qr_token": code, "limit": {"amount_minor": 20_000},
        "idempotency_key": key, "unit_price_micros": PRICE.get()}))
    .expect("an order");
    let paid = platform.shared().write(move |act| {
        let (_, member, _) = act.log_in("13800000001")?;
        let (order, _) = act.place_order(&member.member_id, &wanted)?;
        let callback = act.channel_pay(&order, "sandbox")?;
        act.take_callback(&callback)?;
        Ok(order)
    });
    paid.await.expect("paid")
}

async fn settled(platform: &Running, order: &str) -> Value {
    let order = order.to_owned();
    until(platform, move |act| {
        let view = act.order_view(&order).ok()?;
        (view["end"]["refund"]["state"] == "done").then_some(view)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_runs_from_payment_to_refund_over_a_broker_and_another_is_paid_while_the_broker_is_down() {
    let broker = Broker::embedded().expect("starts");
    let place = NewStation {
        station_id: STATION.into(),
        name: ["示范加油站".into(), "Demo station".into()],
        position: POSITION,
        currency: "CNY".into(),
    };
    let address = broker.address();
    let settings = Settings::new(KeyPair::from_seed("platform-1", [1; 32]), vec![place])
        .with_broker(&address.ip().to_string(), address.port());
    let platform = ReferencePlatform::start(settings).await.expect("starts");
    let (tell, mut told) = mpsc::unbounded_channel();
    let station = tokio::spawn(station(address, tell));

    let first = buy(&platform, "key-00000001").await;
    let view = settled(&platform, &first).await;
    assert_eq!((view["end"]["charged_minor"].as_i64(), &view["end"]["refund"]["amount_minor"]), (Some(7_450), &json!(12_550)));
    let acked = tokio::time::timeout(SOON, told.recv()).await.expect("in time").expect("the station lives");
    assert_eq!(acked["ids"].as_array().map(Vec::len), Some(1));

    broker.take_down();
    let second = buy(&platform, "key-00000002").await;
    broker.restore();
    settled(&platform, &second).await;
    let wrong = platform.shared().read(|act| act.audit_ledger()).await.expect("reads");
    assert!(wrong.is_empty(), "{wrong:?}");
    station.abort();
    platform.stop().await;
}
