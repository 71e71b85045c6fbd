//! A bare HTTP client over loopback and a station that answers, for tests of the running platform.

use reference_platform::contract::fake_station::{FakeStation, STATION};
use reference_platform::contract::keys::KeyPair;
use reference_platform::rehearsal::{POSITION, PRICE};
use reference_platform::{ReferencePlatform, Running, Settings};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A running platform, the station's voice, and a client.
pub struct Bed {
    pub platform: Running,
    pub station: FakeStation,
    pub token: Option<String>,
}

/// Status, head and body.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

/// A request with `content-type` and what else it is given.
async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.expect("sends");
    stream
}

impl Bed {
    /// A platform without broker; the station is heard by [`Bed::tell`] and over the HTTPS binding.
    pub async fn new(calls_per_second: Option<u32>) -> Self {
        let station = reference_platform::books::NewStation {
            station_id: STATION.into(),
            name: ["示范加油站".into(), "Demo station".into()],
            position: POSITION,
            currency: "CNY".into(),
        };
        let mut settings = Settings::new(KeyPair::from_seed("platform-1", [1; 32]), vec![station]);
        settings.calls_per_second = calls_per_second;
        let platform = ReferencePlatform::start(settings).await.expect("starts");
        let mut bed = Self { platform, station: FakeStation::new(), token: None };
        bed.tell("state/station", "fuel.station.state.v1", json!({"online": true, "holds": []})).await;
        let nozzle = json!({"nozzle": 3, "fuelling_point": 1, "grade": "92", "unit_price_micros": PRICE.get(), "state": "idle",
            "available": true, "holds": [], "order_id": null, "queue": 0, "wait_estimate_s": 0});
        bed.tell("state/nozzle/3", "fuel.nozzle.state.v1", nozzle).await;
        bed
    }

    /// The station says something that is not durable.
    pub async fn tell(&mut self, topic: &'static str, kind: &str, data: Value) {
        let event = self.station.event(kind, data).to_string();
        self.platform
            .shared()
            .write(move |act| act.take_message(STATION, topic, event.as_bytes()))
            .await
            .expect("taken in");
    }

    /// The station posts a durable record.
    pub async fn post_record(&self, record: &Value) -> Reply {
        let kind = [("content-type", "application/cloudevents-batch+json")];
        let path = format!("/fuel/v1/stations/{STATION}/events");
        self.raw("POST", &path, &kind, &json!([record]).to_string()).await
    }

    /// A call of the page, logged in if it is.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|token| ("authorization", token)));
        let body = if method == "GET" { String::new() } else { body.to_string() };
        self.raw(method, path, &headers, &body).await
    }

    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = send(self.platform.http_addr, method, path, headers, body).await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answers");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|digits| digits.parse().ok()).expect("a status");
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.into()));
        Reply { status, head: head.into(), body }
    }

    pub async fn log_in(&mut self, phone: &str) -> Value {
        let mut reply = self.call("POST", "/api/v1/session", &json!({"phone": phone})).await;
        self.token = reply.body["token"].as_str().map(str::to_owned);
        reply.body["member"].take()
    }

    /// The code of nozzle 3.
    pub async fn code(&self) -> String {
        let links = self.platform.nozzle_links().await.expect("reads");
        links[0].2.rsplit('/').next().expect("a token").to_owned()
    }

    /// Places and pays an order for money.
    pub async fn buy(&self, minor: i64, key: &str) -> Value {
        let wanted = json!({"qr_token": self.code().await, "limit": {"amount_minor": minor}, "idempotency_key": key,
            "unit_price_micros": PRICE.get()});
        let placed = self.call("POST", "/api/v1/orders", &wanted).await;
        assert_eq!(placed.status, 201, "{}", placed.body);
        let path = format!("/api/v1/orders/{}/pay", placed.body["order_id"].as_str().expect("an id"));
        self.call("POST", &path, &json!({})).await.body
    }

    /// Follows an order's events.
    pub async fn follow(&self, order: &str) -> Events {
        let bearer = format!("Bearer {}", self.token.as_deref().unwrap_or(""));
        let path = format!("/api/v1/orders/{order}/events");
        let stream = send(self.platform.http_addr, "GET", &path, &[("authorization", &bearer)], "").await;
        Events { lines: BufReader::new(stream) }
    }
}

/// Server-sent events.
pub struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The next event's name and data; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).await.expect("reads") == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim().to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| name != "tick") {
                return Some((name, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// Waits for the order in a state.
    pub async fn until(&mut self, state: &str) -> Value {
        loop {
            let (name, order) = self.next().await.unwrap_or_else(|| panic!("ended before {state}"));
            if name == "order" && order["state"] == state {
                return order;
            }
        }
    }
}
