//! The platform's own pages: stations with their nozzles, orders, money, reconciliation, and one order's whole way with its times.

use super::call::Problem;
use crate::books::Trouble;
use crate::calendar::Day;
use crate::reconcile::reconcile;
use crate::shared::{Shared, now};
use axum::extract::{Path, Query, State};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub(super) type Page = Result<axum::response::Html<String>, Problem>;

pub(super) fn page(title: &str, refresh: bool, content: &Markup) -> Page {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if refresh { meta http-equiv="refresh" content="2"; }
                title { (title) " · reference platform" }
                link rel="stylesheet" href="/page/dashboard.css";
            }
            body {
                nav aria-label="Pages" {
                    a href="/" { "Stations" } a href="/dashboard/orders" { "Orders" }
                    a href="/dashboard/figures" { "Figures" } a href="/dashboard/money" { "Money" } a href="/dashboard/reconciliation" { "Reconciliation" }
                }
                h1 { (title) }
                (content)
            }
        }
    };
    Ok(axum::response::Html(markup.into_string()))
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("–")
}

/// Minor units of a JSON member as yuan.
pub(super) fn yuan(value: &Value) -> String {
    value.as_i64().map_or("–".into(), |minor| Money::new(minor).major(Currency::CNY))
}

fn price(value: &Value) -> String {
    let fen = value.as_i64().and_then(|micros| UnitPrice::new(micros).cost_of(Volume::new(1_000), Currency::CNY));
    fen.map_or("–".into(), |fen| fen.major(Currency::CNY))
}

fn litres(value: &Value) -> String {
    value.as_i64().map_or("–".into(), |ml| Volume::new(ml).litres())
}

pub async fn stations(State(shared): State<Arc<Shared>>) -> Page {
    let stations = shared.read(|act| {
        let stations = act.stations_view()?.into_iter();
        stations
            .map(|station| Ok((act.price_sets(text(&station["station_id"]))?, station)))
            .collect::<Result<Vec<_>, Trouble>>()
    });
    let stations = stations.await?;
    let content = html! {
        @for (price_sets, station) in &stations {
            h2 { (text(&station["name"]["zh"])) " · " (text(&station["name"]["en"])) " (" (text(&station["station_id"])) ")" }
            p class=(if station["online"] == true { "good" } else { "bad" }) {
                @if station["online"] == true { "online" } @else { "offline" }
                @if let Some(outbox) = station["state"]["outbox"].as_object() {
                    ", " (outbox.get("pending").map_or("0".into(), Value::to_string)) " records waiting"
                }
            }
            table {
                thead { tr { th { "Nozzle" } th { "Grade" } th.figure { "Price" } th { "State" } th { "Takes orders" } th { "Order" } th.figure { "Running" } } }
                tbody {
                    @for nozzle in station["nozzles"].as_array().into_iter().flatten() {
                        @let live = shared.live(text(&station["station_id"]), nozzle["nozzle"].as_i64().unwrap_or(0)).filter(|_| nozzle["state"] == "fuelling");
                        tr {
                            // The link first, so that a telephone shows it without scrolling.
                            td { a href={ "/n/" (text(&nozzle["qr_token"])) } { "page of " (nozzle["nozzle"]) } }
                            td { (text(&nozzle["grade"])) }
                            td.figure { (price(&nozzle["unit_price_micros"])) } td { (text(&nozzle["state"])) }
                            td class=(if nozzle["available"] == true { "good" } else { "bad" }) {
                                @if nozzle["available"] == true { "yes" } @else { (holds(&nozzle["holds"])) }
                            }
                            td { @if let Some(order) = nozzle["order_id"].as_str() { a href={ "/trace/" (order) } { (order) } } }
                            td.figure { @if let Some(live) = live { (live.volume_ml.litres()) " L" } }
                        }
                    }
                }
            }
            @if !price_sets.is_empty() { (prices(price_sets)) }
        }
        @if stations.is_empty() { p { "No station is entered." } }
    };
    page("Stations", true, &content)
}

/// Price sets, and what each nozzle says of them.
fn prices(sets: &[Value]) -> Markup {
    let each = |list: &Value, name: &str, more: &str| {
        let one = |item: &Value| {
            format!(
                "{} {}{}",
                item[name].to_string().trim_matches('"'),
                price(&item["unit_price_micros"]),
                more_of(item, more)
            )
        };
        list.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
    };
    html! {
        table {
            thead { tr { th { "Price set" } th { "From" } th { "Prices" } th { "Station says" } th { "Nozzles" } } }
            tbody {
                @for set in sets {
                    tr {
                        td { (text(&set["price_set"])) } td.time { (text(&set["effective_at"])) } td { (each(&set["prices"], "grade", "")) }
                        td { @if set["result"].is_null() { "no answer yet" } @else { (text(&set["result"])) " " (set["detail"].as_str().unwrap_or("")) } }
                        td { (each(&set["nozzles"], "nozzle", "status")) }
                    }
                }
            }
        }
    }
}

fn more_of(item: &Value, name: &str) -> String {
    item[name].as_str().map_or(String::new(), |word| format!(" {word}"))
}

fn holds(holds: &Value) -> String {
    let words: Vec<&str> = holds.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if words.is_empty() { "no".into() } else { words.join(", ") }
}

pub async fn orders(State(shared): State<Arc<Shared>>) -> Page {
    let orders = shared.read(|act| act.newest_orders()).await?;
    let content = html! {
        table {
            thead { tr { th { "Order" } th { "State" } th { "Station" } th.figure { "Nozzle" } th { "Grade" } th.figure { "Paid" } th.figure { "Litres" } th.figure { "Pump" } th.figure { "Charged" } } }
            tbody {
                @for order in &orders {
                    tr {
                        td { a href={ "/trace/" (text(&order["order_id"])) } { (text(&order["order_id"])) } }
                        td { (text(&order["state"])) @if let Some(reason) = order["reason"].as_str() { " (" (reason) ")" } }
                        td { (text(&order["station_id"])) } td.figure { (order["nozzle"]) } td { (text(&order["grade"])) }
                        td.figure { (yuan(&order["payable_minor"])) } td.figure { (litres(&order["volume_ml"])) }
                        td.figure { (yuan(&order["amount_minor"])) } td.figure { (yuan(&order["charged_minor"])) }
                    }
                }
            }
        }
        @if orders.is_empty() { p { "No order yet." } }
    };
    page("Orders", true, &content)
}

pub async fn money(State(shared): State<Arc<Shared>>) -> Page {
    let (balances, wrong, disputes) =
        shared.read(|act| Ok((act.balances()?, act.audit_ledger()?, act.disputes()?))).await?;
    let content = html! {
        table {
            thead { tr { th { "Accounts" } th.figure { "Balance" } } }
            tbody {
                @for (kind, balance) in &balances { tr { td { (kind) } td.figure { (balance.major(Currency::CNY)) } } }
                @let total = Money::new(balances.iter().map(|(_, balance)| balance.get()).sum());
                tr { th { "all together" } th.figure { (total.major(Currency::CNY)) } }
            }
        }
        @if wrong.is_empty() {
            p.good { "Every balance is the sum of its entries; every ended order is charged and refunded to what was paid." }
        }
        @for line in &wrong { p.bad { (line) } }
        h2 { "To be looked at" }
        @for (station, what) in &disputes { p.bad { (station) ": " (what) } }
        @if disputes.is_empty() { p { "Nothing." } }
    };
    page("Money", true, &content)
}

#[derive(Deserialize)]
pub struct WhichDay {
    day: Option<String>,
}

impl WhichDay {
    /// Today where none is named.
    pub(super) fn day(&self) -> Day {
        self.day.as_deref().and_then(Day::parse).unwrap_or(Day::of(now()))
    }
}

/// Links to the days that have something.
pub(super) fn day_links(path: &str, days: &[Day]) -> Markup {
    html! { p { @for day in days { a href={ (path) "?day=" (day.date()) } { (day.date()) } " " } } }
}

pub async fn reconciliation(State(shared): State<Arc<Shared>>, Query(which): Query<WhichDay>) -> Page {
    let day = which.day();
    let (books, days) = shared.read(move |act| Ok((act.day_books(day)?, act.days()?))).await?;
    let found = reconcile(&books);
    let sum = |amounts: &mut dyn Iterator<Item = i64>| Money::new(amounts.sum()).major(Currency::CNY);
    let content = html! {
        (day_links("/dashboard/reconciliation", &days))
        table {
            thead { tr { th { "Books" } th.figure { "Lines" } th.figure { "Sum" } } }
            tbody {
                tr { td { "pumps' sales" } td.figure { (books.pumps.len()) } td.figure { (sum(&mut books.pumps.iter().map(|sale| sale.amount.get()))) } }
                tr { td { "orders, credited to stations" } td.figure { (books.orders.len()) } td.figure { (sum(&mut books.orders.iter().map(|order| order.credited.get()))) } }
                @for (name, lines) in [("payments here", &books.payments[0]), ("payments at the channel", &books.payments[1]), ("refunds here", &books.refunds[0]), ("refunds at the channel", &books.refunds[1])] {
                    tr { td { (name) } td.figure { (lines.len()) } td.figure { (sum(&mut lines.iter().map(|line| line.amount.get()))) } }
                }
            }
        }
        @if found.is_empty() { p.good { "No difference." } }
        @for difference in &found { p.bad { (difference) } }
    };
    page(&format!("Reconciliation of {}", day.date()), false, &content)
}

/// Such as `08:09:27.827`.
fn time_of_day(at: UtcTime) -> String {
    let text = at.to_string();
    text.split_once('T').map_or(text.as_str(), |(_, time)| time.trim_end_matches('Z')).to_owned()
}

pub async fn trace(State(shared): State<Arc<Shared>>, Path(order_id): Path<String>) -> Page {
    let id = order_id.clone();
    let stages = shared.read(move |act| act.trace(&id)).await?;
    let first = stages.first().map(|stage| stage.at);
    let content = html! {
        @if let Some(first) = first { p { (first) ", and milliseconds from then on; times of day are UTC" } }
        table {
            thead { tr { th { "Step" } th { "Time" } th.figure { "ms" } th { "Clock" } th { } } }
            tbody {
                @for stage in &stages {
                    tr {
                        td { (stage.step) } td.time { (time_of_day(stage.at)) }
                        td.figure { @if let Some(first) = first { (stage.at.ms_since(first)) } }
                        td { (stage.whose) } td { @if let Some(detail) = &stage.detail { (detail) } }
                    }
                }
            }
        }
    };
    page(&format!("Order {order_id}"), true, &content)
}
