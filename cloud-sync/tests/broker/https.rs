//! The fallback road against a real HTTPS server that asks for the station's certificate.

use super::common::{Authority, NOW, serve_tls};
use super::*;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cloud_sync::tls;

/// What the platform has seen.
#[derive(Clone, Default)]
struct Seen {
    records: Arc<Mutex<Vec<u64>>>,
    requests: Arc<Mutex<usize>>,
}

/// Fails every third request, takes no more than 60 records at once, and acknowledges what it takes.
async fn events(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
    let events: Vec<Value> = serde_json::from_slice(&body).expect("a JSON array");
    let number = {
        let mut requests = seen.requests.lock().expect("not poisoned");
        *requests += 1;
        *requests
    };
    if number % 3 == 0 {
        return (StatusCode::SERVICE_UNAVAILABLE, "not now".into());
    }
    if events.len() > 60 {
        return (StatusCode::PAYLOAD_TOO_LARGE, String::new());
    }
    seen.records.lock().expect("not poisoned").extend(events.iter().filter_map(|event| event["sequence"].as_u64()));
    let ids: Vec<&Value> = events.iter().map(|event| &event["id"]).collect();
    let ack = sign(&format!("ack-{number}"), "fuel.ack.v1", &json!({ "ids": ids }));
    (StatusCode::OK, json!({ "commands": [ack] }).to_string())
}

/// Takes everything and acknowledges it.
async fn willing(body: Bytes) -> String {
    let events: Vec<Value> = serde_json::from_slice(&body).expect("a JSON array");
    let ids: Vec<&Value> = events.iter().map(|event| &event["id"]).collect();
    let ack = sign(&format!("ack-{}", events[0]["sequence"]), "fuel.ack.v1", &json!({ "ids": ids }));
    json!({ "commands": [ack] }).to_string()
}

fn poster(trusted: &Authority, signer: &Authority) -> Poster {
    let identity = signer.identity("st-1", NOW);
    let material = TlsMaterial {
        authorities: trusted.pem().into_bytes(),
        certificate: identity.certificate.into_bytes(),
        key: identity.key.into_bytes(),
    };
    Poster::new(Some(&tls::client_config(&material, None).expect("fits"))).expect("a client")
}

/// A port where nobody listens.
fn nobody() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

async fn settled(station: &Station) {
    let waited = async {
        while station.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(3 * PATIENCE, waited).await.expect("every record is settled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_drains_over_https_without_any_broker_and_past_every_refusal() {
    let (authority, seen) = (Authority::new("ca"), Seen::default());
    let router = Router::new().route("/fuel/v1/stations/st-1/events", post(events)).with_state(seen.clone());
    let url = serve_tls(router, &authority, Some(&authority)).await;
    let https = (url.parse().expect("an address"), poster(&authority, &authority));
    let station = Station::begin(nobody(), None, Some(https));
    station.append(1, 1_500).await;
    station.waiting(1_500).await;
    settled(&station).await;
    let records: BTreeSet<u64> = seen.records.lock().expect("not poisoned").iter().copied().collect();
    assert_eq!(records.len(), 1_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_station_without_the_right_certificate_posts_nothing_and_is_told_why() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let url = serve_tls(Router::new(), &authority, Some(&authority)).await;
    let url: HttpUrl = url.parse().expect("an address");
    for (poster, part) in [
        (poster(&authority, &stranger), "authority of the station's certificate"),
        (poster(&stranger, &authority), "put the right certificate authority there"),
    ] {
        let mut faults = Vec::new();
        // With TLS 1.3 a server says no after the handshake; where it closes before that is read, the next post is told.
        while faults.len() < 20 && !faults.last().is_some_and(|fault: &String| fault.contains(part)) {
            faults.push(poster.post(&url, "text/plain", Vec::new(), None).await.expect_err("not let in").to_string());
        }
        assert!(faults.last().is_some_and(|fault| fault.contains(part)), "{part:?} in {faults:?}");
    }
}

/// Both roads on loopback, for the figure in docs/measurements.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_roads_drain_a_backlog_and_say_how_fast() {
    const RECORDS: u64 = 5_000;
    let authority = Authority::new("ca");
    let router = Router::new().route("/fuel/v1/stations/st-1/events", post(willing));
    let url = serve_tls(router, &authority, Some(&authority)).await;
    let https = (url.parse().expect("an address"), poster(&authority, &authority));
    let station = Station::begin(nobody(), None, Some(https));
    station.append(1, RECORDS).await;
    let begun = tokio::time::Instant::now();
    station.waiting(RECORDS).await;
    settled(&station).await;
    let rate = |took: Duration| u128::from(RECORDS) * 1_000 / took.as_millis().max(1);
    println!("HTTPS, mutual TLS: {} records/s, unoptimised build", rate(begun.elapsed()));
    let Some(broker) = Broker::start() else { return };
    let mut station = Station::begin(broker.port, None, None);
    station.connected().await;
    let mut platform = Platform::connect(&broker, "cloud");
    platform.wait_for("state/station", |_| true).await;
    let begun = tokio::time::Instant::now();
    station.append(1, RECORDS).await;
    take_records(&mut platform, &mut BTreeSet::new(), RECORDS).await;
    settled(&station).await;
    println!("MQTT, Mosquitto without TLS: {} records/s, unoptimised build", rate(begun.elapsed()));
}
