//! The platform's own pages: stations with their nozzles, orders, money, reconciliation, and one order's whole way with its times.

use super::call::Problem;
use crate::books::{Ending, SoldOf, Stage, Trouble, grade_name};
use crate::calendar::Day;
use crate::reconcile::{Difference, Kind, reconcile};
use crate::refusal;
use crate::shared::{Shared, now};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub(super) type Page = Result<Response, Problem>;

/// Each page's address and name, as the line at the top has them.
const PAGES: [(&str, &str); 5] = [
    ("/", "Stations"),
    ("/dashboard/orders", "Orders"),
    ("/dashboard/figures", "Figures"),
    ("/dashboard/money", "Money"),
    ("/dashboard/reconciliation", "Reconciliation"),
];

/// Where a page belongs, and whether it keeps itself up to date every two seconds.
pub(super) struct Place {
    pub under: &'static str,
    pub refresh: bool,
}

pub(super) fn page(title: &str, place: &Place, content: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if place.refresh {
                    script src="/page/dashboard.js" defer {}
                    noscript { meta http-equiv="refresh" content="10"; }
                }
                title { (title) " · reference platform" }
                link rel="icon" href="/page/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page/dashboard.css";
            }
            body {
                header.top {
                    p.brand { "Reference platform" }
                    nav aria-label="Pages" {
                        @for (address, name) in PAGES {
                            a href=(address) aria-current=[(address == place.under).then_some("page")] { (name) }
                        }
                    }
                }
                p #lost.lost role="status" hidden { "The platform does not answer; trying again." }
                main {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Html(markup.into_string()).into_response()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("–")
}

/// Thousands apart: `1 082.02`.
pub(super) fn spaced(figure: &str) -> String {
    let (sign, digits) = figure.strip_prefix('-').map_or(("", figure), |digits| ("−", digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let mut out = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if !part.is_empty() {
        out.push('.');
        out.push_str(part);
    }
    out
}

pub(super) fn money(money: Money) -> String {
    spaced(&money.major(Currency::CNY))
}

/// Minor units of a JSON member as yuan.
pub(super) fn yuan(value: &Value) -> String {
    value.as_i64().map_or("–".into(), |minor| money(Money::new(minor)))
}

pub(super) fn litres(value: &Value) -> String {
    value.as_i64().map_or("–".into(), |ml| spaced(&refusal::litres(Volume::new(ml))))
}

fn price(value: &Value) -> String {
    value.as_i64().map_or("–".into(), |micros| refusal::price(UnitPrice::new(micros)))
}

/// A word of the contract for people: `comm_lost` is "comm lost".
pub(super) fn plain(word: &str) -> String {
    word.replace('_', " ")
}

pub(super) fn grade(code: &str) -> String {
    grade_name(code)["en"].as_str().unwrap_or(code).to_owned()
}

/// A figure that is to be seen from afar.
pub(super) fn tile(name: &str, figure: &str, unit: &str, note: Option<String>) -> Markup {
    html! {
        div.tile {
            dt { (name) }
            dd { b { (figure) } @if !unit.is_empty() { " " span.unit { (unit) } } @if let Some(note) = note { span.note { (note) } } }
        }
    }
}

/// A state as icon, word and colour: never colour alone.
fn chip(kind: &str, word: &str) -> Markup {
    html! { span class={ "chip " (kind) } { (word) } }
}

fn nozzle_state(nozzle: &Value) -> Markup {
    let holds: Vec<String> =
        nozzle["holds"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect();
    if !holds.is_empty() {
        return chip("bad", &format!("held: {}", holds.join(", ")));
    }
    match (text(&nozzle["state"]), nozzle["available"] == true) {
        ("idle", true) => chip("good", "free"),
        ("idle", false) if !nozzle["order_id"].is_null() => chip("busy", "armed, not lifted"),
        ("idle", false) => chip("busy", "pump in use"),
        ("calling", _) => chip("busy", "lifted"),
        ("inoperative" | "closed", _) => chip("bad", text(&nozzle["state"])),
        (state, _) => chip("busy", &plain(state)),
    }
}

pub async fn stations(State(shared): State<Arc<Shared>>) -> Page {
    let view = shared.read(|act| {
        let stations = act.stations_view()?.into_iter();
        let stations: Vec<(Vec<Value>, Value)> = stations
            .map(|station| Ok((act.price_sets(text(&station["station_id"]))?, station)))
            .collect::<Result<_, Trouble>>()?;
        Ok((stations, act.totals()?, act.sold_by_grade()?, act.endings()?))
    });
    let (stations, sums, sold, ends) = view.await?;
    let content = html! {
        dl.tiles {
            (tile("Orders", &sums.orders.to_string(), "", Some(format!("{} open", sums.open))))
            (tile("Paid", &money(sums.paid), "yuan", None))
            (tile("For fuel", &money(sums.charged), "yuan", None))
            (tile("Given back", &money(sums.given_back), "yuan", None))
            (tile("Commission", &money(sums.commission), "yuan", None))
        }
        @for (price_sets, station) in &stations { (one_station(&shared, station, price_sets)) }
        @if stations.is_empty() { p.card.empty { "No station is entered yet: start the platform with --station ID." } }
        div.beside { (sold_card(&sold)) (endings_card(&ends)) }
    };
    Ok(page("Stations", &Place { under: "/", refresh: true }, &content))
}

fn one_station(shared: &Shared, station: &Value, price_sets: &[Value]) -> Markup {
    let waiting = station["state"]["outbox"]["pending"].as_i64().unwrap_or(0);
    html! {
        section.card {
            div.title {
                h2 { (text(&station["name"]["en"])) " " span lang="zh" { (text(&station["name"]["zh"])) } }
                p.note { (text(&station["station_id"])) }
                p {
                    @if station["online"] == true { (chip("good", "online")) } @else { (chip("bad", "offline")) }
                    " " (waiting) @if waiting == 1 { " record" } @else { " records" } " waiting at the station"
                }
            }
            @if station["nozzles"].as_array().is_none_or(Vec::is_empty) {
                p.empty { "Not heard of any nozzle yet: they appear by themselves once the station has connected." }
            } @else {
                div.scroll { table {
                    thead { tr { th { "Nozzle" } th { "State" } th { "Grade" } th.figure { "Price, yuan/L" } th.figure { "Running, L" } th.figure { "Waiting" } th { "Order" } } }
                    tbody {
                        @for nozzle in station["nozzles"].as_array().into_iter().flatten() {
                            @let live = shared.live(text(&station["station_id"]), nozzle["nozzle"].as_i64().unwrap_or(0)).filter(|_| nozzle["state"] == "fuelling");
                            tr {
                                // The link first, so that a telephone shows it without scrolling.
                                td { a.nozzle href={ "/n/" (text(&nozzle["qr_token"])) } aria-label={ "Driver's page of nozzle " (nozzle["nozzle"]) } { (nozzle["nozzle"]) } }
                                td { (nozzle_state(nozzle)) }
                                td { (grade(text(&nozzle["grade"]))) }
                                td.figure { (price(&nozzle["unit_price_micros"])) }
                                td.figure { @if let Some(live) = live { (spaced(&refusal::litres(live.volume_ml))) } }
                                td.figure { @if let Some(queue) = nozzle["queue"].as_i64().filter(|queue| *queue > 0) { (queue) } }
                                td { @if let Some(order) = nozzle["order_id"].as_str() { a href={ "/trace/" (order) } { (order) } } }
                            }
                        }
                    }
                } }
            }
            @if !price_sets.is_empty() { (prices(price_sets)) }
        }
    }
}

/// Price sets, and what each nozzle says of them.
fn prices(sets: &[Value]) -> Markup {
    html! {
        h3 { "Price sets" }
        div.scroll { table {
            thead { tr { th { "Set" } th { "From" } th { "Prices, yuan/L" } th { "The station says" } th { "Nozzles" } } }
            tbody {
                @for set in sets {
                    tr {
                        td { (text(&set["price_set"])) } td.detail { (text(&set["effective_at"])) }
                        td { @for one in each(&set["prices"]) { (grade(text(&one["grade"]))) " " (price(&one["unit_price_micros"])) br; } }
                        td.detail { @if set["result"].is_null() { "no answer yet" } @else { (text(&set["result"])) " " (set["detail"].as_str().unwrap_or("")) } }
                        td { @for one in each(&set["nozzles"]) { (one["nozzle"]) ": " (text(&one["status"])) br; } }
                    }
                }
            }
        } }
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn sold_card(sold: &[SoldOf]) -> Markup {
    html! {
        section.card {
            h2 { "Sold by grade" }
            @if sold.is_empty() { p.empty { "Nothing was sold yet." } } @else {
                div.scroll { table {
                    thead { tr { th { "Grade" } th.figure { "Sales" } th.figure { "Litres" } th.figure { "Pump, yuan" } } }
                    tbody { @for line in sold { tr {
                        td { (grade(&line.grade)) } td.figure { (line.sales) }
                        td.figure { (spaced(&refusal::litres(line.volume))) } td.figure { (money(line.amount)) }
                    } } }
                } }
            }
        }
    }
}

fn endings_card(ends: &[Ending]) -> Markup {
    let all: u64 = ends.iter().map(|end| end.orders).sum();
    html! {
        section.card {
            h2 { "How orders ended" }
            @if ends.is_empty() { p.empty { "No order has ended yet." } } @else {
                div.scroll { table {
                    thead { tr { th { "End" } th.figure { "Orders" } th.figure { "Share" } } }
                    tbody { @for end in ends { tr {
                        td { (state_words(&end.state, end.reason.as_deref())) } td.figure { (end.orders) }
                        td.figure { (end.orders * 100 / all.max(1)) " %" }
                    } } }
                } }
            }
        }
    }
}

/// An order's state for people, with the reason of an end without fuel.
fn state_words(state: &str, reason: Option<&str>) -> String {
    let word = match state {
        "awaiting_payment" => "not paid yet",
        "paid" => "paid, on its way",
        "queued" => "waits in the queue",
        "armed" => "armed",
        "completed" => "fuelled",
        "released" => "no fuel",
        "expired" => "not paid in time",
        "review" => "being checked",
        other => other,
    };
    reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {}", plain(reason)))
}

fn state_kind(state: &str) -> &'static str {
    match state {
        "completed" => "good",
        "released" | "cancelled" | "expired" => "off",
        "review" => "bad",
        _ => "busy",
    }
}

pub async fn orders(State(shared): State<Arc<Shared>>) -> Page {
    let orders = shared.read(|act| act.newest_orders()).await?;
    let content = html! {
        section.card {
            @if orders.is_empty() {
                p.empty { "No order yet: open a nozzle's page at " a href="/" { "Stations" } " and pay." }
            } @else {
                div.scroll { table {
                    thead { tr { th { "Order" } th { "State" } th.figure { "Nozzle" } th { "Grade" } th.figure { "Paid, yuan" } th.figure { "Litres" } th.figure { "Pump, yuan" } th.figure { "Charged, yuan" } th { "Station" } } }
                    tbody {
                        @for order in &orders {
                            @let state = text(&order["state"]);
                            tr {
                                td { a href={ "/trace/" (text(&order["order_id"])) } { (text(&order["order_id"])) } }
                                td { (chip(state_kind(state), &state_words(state, order["reason"].as_str()))) }
                                td.figure { (order["nozzle"]) } td { (grade(text(&order["grade"]))) }
                                td.figure { (yuan(&order["payable_minor"])) } td.figure { (litres(&order["volume_ml"])) }
                                td.figure { (yuan(&order["amount_minor"])) } td.figure { (yuan(&order["charged_minor"])) }
                                td { (text(&order["station_id"])) }
                            }
                        }
                    }
                } }
                p.note { "The newest hundred. An order's name leads to its whole way." }
            }
        }
    };
    Ok(page("Orders", &Place { under: "/dashboard/orders", refresh: true }, &content))
}

/// What a kind of account is for.
fn account(kind: &str) -> &str {
    match kind {
        "outside" => "Payment channels (negative: what came in through them)",
        "held" => "Held for orders without an end",
        "refunding" => "Refunds on their way",
        "station" => "Owed to stations for fuel",
        "marketing" => "Marketing (negative: coupons, rebates, commission)",
        "wallet" => "Members' wallets",
        "withdrawing" => "Withdrawals under review",
        "clawback" => "Commission to be taken back",
        "card" => "Prepaid and fleet cards",
        other => other,
    }
}

pub async fn money_page(State(shared): State<Arc<Shared>>) -> Page {
    let (balances, wrong, disputes) =
        shared.read(|act| Ok((act.balances()?, act.audit_ledger()?, act.disputes()?))).await?;
    let content = html! {
        @if wrong.is_empty() {
            p.verdict.good { "Every balance is the sum of its entries; every ended order is charged and refunded to what was paid." }
        }
        @for line in &wrong { p.verdict.bad { (line) } }
        section.card {
            h2 { "Accounts" }
            div.scroll { table {
                thead { tr { th { "Account" } th.figure { "Balance, yuan" } } }
                tbody { @for (kind, balance) in &balances { tr { td { (account(kind)) } td.figure { (money(*balance)) } } } }
                tfoot {
                    @let total = Money::new(balances.iter().map(|(_, balance)| balance.get()).sum());
                    tr { th { "All together, always nothing" } th.figure { (money(total)) } }
                }
            } }
        }
        section.card {
            h2 { "To be looked at" }
            @if disputes.is_empty() { p.empty { "Nothing." } }
            @for (station, what) in &disputes { p.line.bad { (station) ": " (what) } }
        }
    };
    Ok(page("Money", &Place { under: "/dashboard/money", refresh: true }, &content))
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
pub(super) fn day_links(path: &str, days: &[Day], shown: Day) -> Markup {
    html! {
        nav.days aria-label="Days" {
            @for known in days {
                a href={ (path) "?day=" (known.date()) } aria-current=[(*known == shown).then_some("page")] { (known.date()) }
            }
        }
    }
}

pub async fn reconciliation(State(shared): State<Arc<Shared>>, Query(which): Query<WhichDay>) -> Page {
    let day = which.day();
    let (books, days) = shared.read(move |act| Ok((act.day_books(day)?, act.days()?))).await?;
    let found = reconcile(&books);
    let today = day == Day::of(now());
    // On a day that is not over an order under way is no difference yet.
    let (open, found): (Vec<&Difference>, Vec<&Difference>) =
        found.iter().partition(|difference| today && difference.kind == Kind::OrderOpen);
    let sum = |amounts: &mut dyn Iterator<Item = i64>| money(Money::new(amounts.sum()));
    let row = |name: &str, lines: usize, sum: String| html! { tr { td { (name) } td.figure { (lines) } td.figure { (sum) } } };
    let content = html! {
        (day_links("/dashboard/reconciliation", &days, day))
        @if found.is_empty() { p.verdict.good { "No difference between pumps, orders and payments." } }
        @else { p.verdict.bad { (found.len()) @if found.len() == 1 { " difference" } @else { " differences" } } }
        @for difference in &found { p.line.bad { (difference) } }
        @if !open.is_empty() {
            p.note { (open.len()) @if open.len() == 1 { " order is" } @else { " orders are" } " paid and under way; tonight they must have an end." }
        }
        section.card {
            h2 { "What was compared" }
            div.scroll { table {
                thead { tr { th { "Books" } th.figure { "Lines" } th.figure { "Sum, yuan" } } }
                tbody {
                    (row("Sales of the pumps", books.pumps.len(), sum(&mut books.pumps.iter().map(|sale| sale.amount.get()))))
                    (row("Orders, credited to stations", books.orders.len(), sum(&mut books.orders.iter().map(|order| order.credited.get()))))
                    @for (name, lines) in [("Payments, here", &books.payments[0]), ("Payments, at the channel", &books.payments[1]), ("Refunds, here", &books.refunds[0]), ("Refunds, at the channel", &books.refunds[1])] {
                        (row(name, lines.len(), sum(&mut lines.iter().map(|line| line.amount.get()))))
                    }
                }
            } }
        }
    };
    let place = Place { under: "/dashboard/reconciliation", refresh: false };
    Ok(page(&format!("Reconciliation of {}", day.date()), &place, &content))
}

/// Such as `08:09:27.827`.
fn time_of_day(at: UtcTime) -> String {
    let text = at.to_string();
    text.split_once('T').map_or(text.as_str(), |(_, time)| time.trim_end_matches('Z')).to_owned()
}

/// A step of an order's way for people. A word that is not known stands as it is.
fn step_words(step: &str) -> &str {
    match step {
        "ordered" => "Ordered on the page",
        "paid" => "Paid; order signed",
        "command_sent" => "Order sent to the station",
        "reply" => "Answer of the station",
        "queued" => "Waits behind another order",
        "armed" => "Armed at the pump",
        "lifted" => "Nozzle lifted",
        "fuel_began" => "Fuel began to flow",
        "fuelling" => "Fuelling, as the page was told",
        "hung_up" => "Fuelling ended",
        "review" => "Being checked",
        "completed" => "Sale booked",
        "commission" => "Commission booked",
        "acknowledged" => "Sale acknowledged to the station",
        "refund_accepted" => "Refund given to the channel",
        "refund_done" => "Refund paid back",
        "released" => "Ended without fuel",
        "cancelled" => "Cancelled before it was paid",
        "expired" => "Not paid in time",
        "cancel_asked" => "Station asked to cancel it",
        "move_asked" => "Station asked to move it",
        "reply to fuel.order.cancel.v1" => "Answer to the cancelling",
        "reply to fuel.order.move.v1" => "Answer to the move",
        other => other,
    }
}

/// Milliseconds for people: `105 ms`, `11.5 s`.
fn took(ms: i64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1_000, ms % 1_000 / 100) }
}

/// Spans that were promised a figure: name, from, to.
const SPANS: [(&str, &str, &str); 3] = [
    ("From pay to armed", "paid", "armed"),
    ("Fuelling", "fuel_began", "hung_up"),
    ("From hang-up to commission", "hung_up", "commission"),
];

pub async fn trace(State(shared): State<Arc<Shared>>, Path(order_id): Path<String>) -> Page {
    let place = Place { under: "/dashboard/orders", refresh: true };
    let id = order_id.clone();
    let (stages, order) = match shared.read(move |act| Ok((act.trace(&id)?, act.order_view(&id)?))).await {
        Ok(found) => found,
        Err(Trouble::Refused(refusal)) => {
            let content = html! { p.card.empty { "There is no order of this name. " a href="/dashboard/orders" { "All orders" } } };
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::NOT_FOUND);
            return Ok((status, page(&format!("Order {order_id}"), &Place { refresh: false, ..place }, &content))
                .into_response());
        }
        Err(trouble) => return Err(trouble.into()),
    };
    let at = |step: &str| stages.iter().find(|stage| stage.step == step).map(|stage| stage.at);
    let span = |from, to| Some(at(to)?.ms_since(at(from)?));
    let state = text(&order["state"]);
    let content = html! {
        p.summary {
            (chip(state_kind(state), &state_words(state, order["end"]["reason"].as_str()))) " "
            "nozzle " (order["nozzle"]) ", " (text(&order["grade_name"]["en"])) ", " (yuan(&order["payable_minor"])) " yuan paid"
            @if let Some(ml) = order["end"]["volume_ml"].as_i64() {
                "; " (spaced(&refusal::litres(Volume::new(ml)))) " L for " (yuan(&order["end"]["amount_minor"])) " yuan, "
                (yuan(&order["end"]["charged_minor"])) " charged"
            }
        }
        dl.tiles { @for (name, from, to) in SPANS { @if let Some(ms) = span(from, to) { (tile(name, &took(ms), "", None)) } } }
        section.card { (steps(&stages)) }
    };
    Ok(page(&format!("Order {order_id}"), &place, &content))
}

fn steps(stages: &[Stage]) -> Markup {
    let first = stages.first().map(|stage| stage.at);
    html! {
        div.scroll { table {
            thead { tr { th { "Step" } th.figure { "Time, UTC" } th.figure { "After, ms" } th { "Clock of" } th { "What" } } }
            tbody {
                @for stage in stages {
                    tr {
                        td data-step=(stage.step) { (step_words(&stage.step)) } td.figure { (time_of_day(stage.at)) }
                        td.figure { @if let Some(first) = first { (spaced(&stage.at.ms_since(first).to_string())) } }
                        td { (stage.whose) } td.detail { @if let Some(detail) = &stage.detail { (detail) } }
                    }
                }
            }
        } }
        @if let Some(first) = first { p.note { "Begun " (first) ". The station's clock is its own: a step of it may seem to come before one of the platform." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_thousands_apart_and_their_sign() {
        for (given, shown) in [
            ("0.00", "0.00"),
            ("999.00", "999.00"),
            ("-1082.02", "−1\u{202f}082.02"),
            ("1234567", "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(spaced(given), shown);
        }
        assert_eq!([took(105), took(11_517)], ["105 ms", "11.5 s"]);
    }
}
