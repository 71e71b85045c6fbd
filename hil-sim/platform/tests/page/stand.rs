//! A stand-in for the platform that speaks `API.md`: its nozzle, order and end are the examples of that document, moved on by the test.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use reference_platform::{page, poster, qr};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

const API: &str = include_str!("../../API.md");
pub const QR: &str = "q7f3a91c2";

/// The `json` block of the document that has this member first.
fn example(first: &str) -> Value {
    let start = format!("```json\n{{\"{first}\"");
    let at = API.find(&start).unwrap_or_else(|| panic!("API.md has no example that begins with {first}"));
    let text = API[at + "```json\n".len()..].split("```").next().expect("a block");
    serde_json::from_str(text).expect("the example is JSON")
}

/// What the stand-in would answer with now, and what it was asked.
pub struct World {
    pub nozzle: Value,
    pub member: Value,
    pub orders: Vec<Value>,
    /// Answers that stand in place of a call's own: by the last word of its path.
    pub refusals: BTreeMap<&'static str, (u16, Value)>,
    /// Orders whose stream is to end.
    pub settled: Vec<String>,
    keys: BTreeMap<String, (Value, String)>,
    pub asked: Vec<(String, Value)>,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
}

pub struct Stand {
    shared: Shared,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

pub fn member() -> Value {
    json!({"member_id":"m-1","phone_masked":"138****5678","wallet_minor":1087,"points":1087,
        "vehicles":[{"vehicle_id":"v-1","plate_masked":"粤B·***88","grade":"92"},{"vehicle_id":"v-2","plate_masked":"粤A·***21","grade":"95"}],
        "coupons":[{"coupon_id":"c-1","threshold_minor":20000,"discount_minor":1000,"text":{"zh":"满200减10","en":"10 off 200"},"expires_at":"2026-12-31T00:00:00Z"}],
        "cards":[{"card_id":"k-1","kind":"prepaid","name":"储值卡 8021","balance_minor":50000,"available_minor":50000}],
        "last":{"grade":"92","limit":{"amount_minor":20000},"vehicle_id":"v-1","pay_with":"sandbox"}})
}

impl Stand {
    pub fn start() -> Self {
        let mut nozzle = example("qr_token\":\"q7f3a91c2\",\"station");
        nozzle["others"] = json!([
            {"qr_token":"q-1","nozzle":1,"grade":"92","available":true,"wait_estimate_s":0},
            {"qr_token":"q-4","nozzle":4,"grade":"92","available":true,"wait_estimate_s":180},
            {"qr_token":"q-6","nozzle":6,"grade":"0","available":false,"wait_estimate_s":0}]);
        let world = World {
            nozzle,
            member: member(),
            orders: Vec::new(),
            refusals: BTreeMap::new(),
            settled: Vec::new(),
            keys: BTreeMap::new(),
            asked: Vec::new(),
        };
        let shared = Shared { world: Arc::new(Mutex::new(world)), changed: watch::Sender::new(0) };
        let mut stand = Self { shared, address: SocketAddr::from(([127, 0, 0, 1], 0)), runtime: None };
        stand.up();
        stand
    }

    /// Serves at the same address as before.
    pub fn up(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind(self.address)).expect("the address is free");
        self.address = listener.local_addr().expect("an address");
        let router = router(self.shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.runtime = Some(runtime);
    }

    /// Gone at once, with every connection.
    pub fn down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/n/{QR}", self.address)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Changes something and tells everyone who listens.
    pub fn change(&self, what: impl FnOnce(&mut World)) {
        what(&mut self.shared.world());
        self.shared.changed.send_modify(|n| *n += 1);
    }

    /// Changes the newest order.
    pub fn order(&self, members: &Value) {
        self.change(|world| merge(world.orders.last_mut().expect("an order"), members));
    }

    /// How often a path that ends so was posted to.
    pub fn posts(&self, path: &str) -> usize {
        self.world().asked.iter().filter(|(asked, _)| asked.ends_with(path)).count()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.down();
    }
}

pub fn merge(into: &mut Value, members: &Value) {
    for (name, value) in members.as_object().expect("an object") {
        into[name] = value.clone();
    }
}

/// The end of the document's example.
pub fn completed() -> Value {
    example("kind\":\"completed")
}

/// A refusal as section "Refusals" has it.
pub fn problem(status: u16, error: &str, zh: &str, en: &str) -> (u16, Value) {
    (
        status,
        json!({"type":"about:blank","title":"Conflict","status":status,"error":error,"detail":"for the log","text":{"zh":zh,"en":en}}),
    )
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics with it")
    }

    fn asked(&self, path: &str, body: &Value) -> Result<(), Refused> {
        let mut world = self.world();
        world.asked.push((path.to_owned(), body.clone()));
        let last = path.rsplit('/').next().unwrap_or_default();
        world.refusals.get(last).cloned().map_or(Ok(()), |refusal| Err(Refused(refusal)))
    }

    fn find(&self, id: &str) -> Result<Value, Refused> {
        let world = self.world();
        let found = world.orders.iter().find(|order| order["order_id"] == id).cloned();
        found.ok_or_else(|| Refused(problem(404, "unknown_order", "没有这个订单", "There is no such order")))
    }

    fn update(&self, id: &str, members: &Value) -> Result<Value, Refused> {
        let order = {
            let mut world = self.world();
            let order = world.orders.iter_mut().find(|order| order["order_id"] == id);
            let order = order
                .ok_or_else(|| Refused(problem(404, "unknown_order", "没有这个订单", "There is no such order")))?;
            merge(order, members);
            order.clone()
        };
        self.changed.send_modify(|n| *n += 1);
        Ok(order)
    }
}

/// A refusal on its way out.
struct Refused((u16, Value));

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refused(&self.0)
    }
}

fn refused((status, problem): &(u16, Value)) -> Response {
    let status = StatusCode::from_u16(*status).expect("a status");
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "1")];
    (status, headers, problem.to_string()).into_response()
}

fn has_session(headers: &HeaderMap) -> bool {
    headers
        .get(header::COOKIE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|cookies| cookies.contains("session=stand-in"))
}

fn needs_session(headers: &HeaderMap) -> Result<(), Refused> {
    if has_session(headers) {
        Ok(())
    } else {
        Err(Refused(problem(401, "not_logged_in", "请先登录", "Please sign in")))
    }
}

type Answer = Result<Response, Refused>;

fn router(shared: Shared) -> Router {
    let api = Router::new()
        .route("/session", post(sign_in))
        .route("/vehicles", post(vehicle))
        .route("/nozzles/{qr}", get(nozzle))
        .route("/nozzles/{qr}/events", get(nozzle_events))
        .route("/orders", post(make_order).get(list_orders))
        .route("/orders/{id}", get(order))
        .route("/orders/{id}/events", get(order_events))
        .route("/orders/{id}/qr.svg", get(qr_svg))
        .route("/orders/{id}/poster.svg", get(poster_svg))
        .route("/orders/{id}/{act}", post(act));
    Router::new().nest("/api/v1", api).with_state(shared).merge(page::routes())
}

async fn sign_in(State(shared): State<Shared>, Json(body): Json<Value>) -> Answer {
    shared.asked("session", &body)?;
    let cookie = [(header::SET_COOKIE, "session=stand-in; Path=/; HttpOnly; SameSite=Strict")];
    let member = shared.world().member.clone();
    Ok((cookie, Json(json!({"token":"stand-in","member":member}))).into_response())
}

async fn vehicle(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Answer {
    needs_session(&headers)?;
    shared.asked("vehicles", &body)?;
    let vehicle = json!({"vehicle_id":"v-9","plate_masked":"粤B·***09","grade":body["grade"]});
    shared.world().member["vehicles"].as_array_mut().expect("a list").push(vehicle.clone());
    Ok(Json(vehicle).into_response())
}

fn the_nozzle(shared: &Shared, qr: &str) -> Result<Value, Refused> {
    let world = shared.world();
    if let Some((_, (status, problem))) = world.refusals.get_key_value("nozzle") {
        return Err(Refused((*status, problem.clone())));
    }
    if qr != QR {
        return Err(Refused(problem(
            404,
            "unknown_nozzle",
            "找不到这把油枪,请重新扫码",
            "This nozzle is not known: scan the code again",
        )));
    }
    Ok(world.nozzle.clone())
}

async fn nozzle(State(shared): State<Shared>, Path(qr): Path<String>, headers: HeaderMap) -> Answer {
    let mut nozzle = the_nozzle(&shared, &qr)?;
    if has_session(&headers) {
        nozzle["member"] = shared.world().member.clone();
    }
    Ok(Json(nozzle).into_response())
}

async fn nozzle_events(State(shared): State<Shared>, Path(qr): Path<String>) -> Answer {
    the_nozzle(&shared, &qr)?;
    let first = (shared.changed.subscribe(), None);
    let events = stream::unfold(first, move |(mut changed, before)| {
        let shared = shared.clone();
        async move {
            loop {
                let now = shared.world().nozzle.clone();
                if before.as_ref() != Some(&now) {
                    let event = Event::default().event("nozzle").data(now.to_string());
                    return Some((Ok::<_, Infallible>(event), (changed, Some(now))));
                }
                changed.changed().await.ok()?;
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

async fn make_order(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Answer {
    needs_session(&headers)?;
    shared.asked("orders", &body)?;
    let mut world = shared.world();
    let key = body["idempotency_key"]
        .as_str()
        .filter(|key| (8..=64).contains(&key.len()))
        .expect("a key of 8-64 characters")
        .to_owned();
    if let Some((content, id)) = world.keys.get(&key) {
        assert_eq!(*content, body, "a key is for one content");
        let order = world.orders.iter().find(|order| order["order_id"] == id.as_str()).expect("made before");
        return Ok(Json(order.clone()).into_response());
    }
    let mut order = example("order_id\":\"20261121-000042\",\"state");
    let id = format!("20261121-{:06}", 42 + world.orders.len());
    let limit = &body["limit"];
    let gross = limit["amount_minor"]
        .as_i64()
        .or(limit["full_tank_minor"].as_i64())
        .unwrap_or_else(|| limit["volume_ml"].as_i64().expect("a limit") * 745 / 1000);
    let discount = if body["coupon_id"].is_null() { 0 } else { 1000 };
    merge(
        &mut order,
        &json!({"order_id":id,"state":"awaiting_payment","limit":limit,"gross_minor":gross,"discount_minor":discount,"payable_minor":gross-discount,
            "coupon_id":body["coupon_id"],"pay_with":body["pay_with"],"station_name":{"zh":"示范加油站","en":"Demo station"},
            "grade_name":{"zh":"92 号汽油","en":"Petrol 92"},"payment":{"intent_id":"pi-1","state":"open","paid_at":null},
            "unit_price_micros":body["unit_price_micros"],"expires_at":null,"lift_deadline":null,"code":null,"jws":null,"live":null,"end":null,
            "since":"2026-11-21T08:30:02Z","text":{"zh":"请支付","en":"Please pay"},"steps":[{"step":"ordered","at":"2026-11-21T08:30:02Z"}]}),
    );
    world.keys.insert(key, (body.clone(), id));
    world.orders.push(order.clone());
    Ok((StatusCode::CREATED, Json(order)).into_response())
}

async fn list_orders(State(shared): State<Shared>, headers: HeaderMap) -> Answer {
    needs_session(&headers)?;
    let orders: Vec<Value> = shared.world().orders.iter().rev().cloned().collect();
    Ok(Json(json!({ "orders": orders })).into_response())
}

async fn order(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    needs_session(&headers)?;
    Ok(Json(shared.find(&id)?).into_response())
}

async fn act(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path((id, act)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    needs_session(&headers)?;
    shared.asked(&format!("orders/{id}/{act}"), &body)?;
    let members = match act.as_str() {
        "pay" => json!({"state":"paid","payment":{"intent_id":"pi-1","state":"paid","paid_at":"2026-11-21T08:30:04Z"},
            "code":"385217","jws":"eyJhbGciOiJFZERTQSJ9.".repeat(45),"text":{"zh":"已支付,正在通知 3 号枪","en":"Paid, nozzle 3 is being told"},
            "steps":[{"step":"ordered","at":"2026-11-21T08:30:02Z"},{"step":"paid","at":"2026-11-21T08:30:04Z"}]}),
        "cancel" => json!({"state":"cancelled","text":{"zh":"订单已取消","en":"The order was cancelled"}}),
        "move" => {
            json!({"nozzle":4,"wrong_nozzle":null,"state":"armed","text":{"zh":"订单已移到 4 号枪","en":"Moved to nozzle 4"}})
        }
        "invoice" => json!({}),
        _ => return Ok(StatusCode::NOT_FOUND.into_response()),
    };
    Ok(Json(shared.update(&id, &members)?).into_response())
}

async fn order_events(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    needs_session(&headers)?;
    shared.find(&id)?;
    let first = (shared.changed.subscribe(), None::<Value>, false);
    let events = stream::unfold(first, move |(mut changed, before, over)| {
        let (shared, id) = (shared.clone(), id.clone());
        async move {
            loop {
                if over {
                    return None;
                }
                let now = shared.find(&id).ok()?;
                let settled = shared.world().settled.contains(&id);
                let mut still = now.clone();
                if let Some(before) = &before {
                    still["live"] = before["live"].clone();
                }
                let event = match &before {
                    Some(before) if *before == now && settled => {
                        return Some((Ok(Event::default().event("end").data("{}")), (changed, Some(now), true)));
                    }
                    Some(before) if *before == now => {
                        changed.changed().await.ok()?;
                        continue;
                    }
                    Some(before) if *before == still => Event::default().event("live").data(now["live"].to_string()),
                    _ => Event::default().event("order").data(now.to_string()),
                };
                return Some((Ok::<_, Infallible>(event), (changed, Some(now), false)));
            }
        }
    });
    Ok(Sse::new(events).into_response())
}

async fn qr_svg(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    needs_session(&headers)?;
    let order = shared.find(&id)?;
    let picture = qr::svg(order["jws"].as_str().unwrap_or_default()).expect("it fits");
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}

async fn poster_svg(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    needs_session(&headers)?;
    let order = shared.find(&id)?;
    let picture = poster::svg(&order, &poster::link("http://127.0.0.1", QR, "m-1"), true).expect("a poster");
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}
