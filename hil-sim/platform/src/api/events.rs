//! Server-sent events: an order or a nozzle, whole, at once and after each change.

use super::call::{Call, Problem};
use crate::shared::Shared;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A `tick` event rather than a comment, which a page could not see.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A nozzle is watched for a minute at a time, and asked for again before that ends.
const WATCH_S: u32 = 60;
const WATCH_AGAIN: Duration = Duration::from_secs(40);

type Events =
    Sse<axum::response::sse::KeepAliveStream<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>>;

/// Puts the running figures into an order that is fuelling.
pub fn add_live(shared: &Shared, order: &mut Value) {
    let (station, nozzle) = (order["station_id"].as_str().unwrap_or(""), order["nozzle"].as_i64().unwrap_or(0));
    if order["state"] == "fuelling"
        && let Some(live) = shared.live(station, nozzle)
    {
        order["live"] = json!({"volume_ml": live.volume_ml, "amount_minor": live.amount_minor});
    }
}

/// Whether nothing about an order will change any more, and no alarm keeps its driver from reading it.
fn is_settled(order: &Value) -> bool {
    !order["end"].is_null() && order["alarm"].is_null() && order["end"]["refund"]["state"] != "accepted"
}

/// One listener of one order.
struct Follower {
    shared: Arc<Shared>,
    order_id: String,
    changed: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    last: Value,
    last_live: Value,
    watched: Option<Instant>,
    ready: VecDeque<Event>,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over || *self.stopping.borrow() {
                return None;
            }
            if !self.last.is_null() && self.changed.changed().await.is_err() {
                return None;
            }
            self.changed.mark_unchanged();
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let order_id = self.order_id.clone();
        let Ok(mut order) = self.shared.read(move |act| act.order_view(&order_id)).await else {
            self.over = true;
            return;
        };
        self.watch(&order).await;
        let mut with_live = order.clone();
        add_live(&self.shared, &mut with_live);
        let live = with_live["live"].take();
        if order != self.last {
            self.last = order.clone();
            order["live"] = live.clone();
            self.ready.extend(Event::default().event("order").json_data(&order).ok());
        } else if !live.is_null() && live != self.last_live {
            self.ready.extend(Event::default().event("live").json_data(&live).ok());
        }
        self.last_live = live;
        if is_settled(&order) {
            self.over = true;
            self.ready.push_back(Event::default().event("end").data("{}"));
        }
    }

    /// Asks the station for running figures while someone looks.
    async fn watch(&mut self, order: &Value) {
        let waits = ["armed", "lifted", "fuelling"].iter().any(|state| order["state"] == *state);
        if !waits || self.watched.is_some_and(|at| at.elapsed() < WATCH_AGAIN) {
            return;
        }
        self.watched = Some(Instant::now());
        let order_id = self.order_id.clone();
        if let Err(error) = self.shared.read(move |act| act.watch_order(&order_id, WATCH_S)).await {
            tracing::debug!(%error, "the nozzle is not watched");
        }
        self.shared.outgoing.notify_one();
    }
}

fn sse(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Events {
    let stream: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).event(Event::default().event("tick").data("{}")))
}

pub async fn order(
    State(shared): State<Arc<Shared>>,
    Path(order_id): Path<String>,
    call: Call,
) -> Result<Events, Problem> {
    let (member, id) = (call.member()?, order_id.clone());
    shared.read(move |act| act.check_owner(&member.member_id, &id)).await?;
    let follower = Follower {
        changed: shared.changed.subscribe(),
        stopping: shared.stopping.subscribe(),
        shared,
        order_id,
        last: Value::Null,
        last_live: Value::Null,
        watched: None,
        ready: VecDeque::new(),
        over: false,
    };
    Ok(sse(unfold(follower, |mut follower| async move { follower.next().await.map(|event| (Ok(event), follower)) })))
}

pub async fn nozzle(State(shared): State<Arc<Shared>>, Path(qr_token): Path<String>) -> Result<Events, Problem> {
    let code = qr_token.clone();
    shared.read(move |act| act.nozzle_view(&code, None)).await?;
    let start = (shared.changed.subscribe(), shared, Value::Null);
    let stream = unfold(start, move |(mut changed, shared, mut last)| {
        let code = qr_token.clone();
        async move {
            loop {
                if *shared.stopping.borrow() || (!last.is_null() && changed.changed().await.is_err()) {
                    return None;
                }
                changed.mark_unchanged();
                let code = code.clone();
                let view = shared.read(move |act| act.nozzle_view(&code, None)).await.ok()?;
                let mut timeless = view.clone();
                timeless["at"] = Value::Null;
                if timeless != last {
                    last = timeless;
                    let event = Event::default().event("nozzle").json_data(&view).ok()?;
                    return Some((Ok(event), (changed, shared, last)));
                }
            }
        }
    });
    Ok(sse(stream))
}
