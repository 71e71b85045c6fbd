//! The HTTP side: the page and its JSON API (`API.md`), the stations' HTTPS binding, the channel's callbacks and the dashboard.

mod call;
mod dashboard;
mod driver;
mod events;
mod figures;
mod page;
mod rate;
mod staff;
mod station;

use crate::shared::Shared;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;

/// A batch of 100 records is well below this.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// All routes.
pub fn router(shared: Arc<Shared>) -> Router {
    let limits = Arc::new(rate::Buckets::new(shared.terms.calls_per_second));
    let driver = Router::new()
        .route("/session", get(driver::who).post(driver::log_in).delete(driver::log_out))
        .route("/vehicles", post(driver::add_vehicle))
        .route("/nozzles/{qr_token}", get(driver::nozzle))
        .route("/nozzles/{qr_token}/events", get(events::nozzle))
        .route("/orders", get(driver::orders).post(driver::place))
        .route("/orders/{order_id}", get(driver::order))
        .route("/orders/{order_id}/events", get(events::order))
        .route("/orders/{order_id}/qr.svg", get(driver::qr_code))
        .route("/orders/{order_id}/poster.svg", get(driver::poster))
        .route("/orders/{order_id}/pay", post(driver::pay))
        .route("/orders/{order_id}/cancel", post(driver::cancel))
        .route("/orders/{order_id}/move", post(driver::move_to))
        .route("/orders/{order_id}/invoice", post(driver::invoice))
        .route("/wallet", get(driver::wallet))
        .route("/wallet/withdrawals", post(driver::withdraw))
        .route("/groups", post(driver::found_group))
        .route("/groups/{group_id}/join", post(driver::join_group))
        .layer(from_fn_with_state(limits, rate::limit));
    Router::new()
        .nest("/api/v1", driver)
        .route("/api/v1/staff/withdrawals/{withdrawal_id}", post(staff::review))
        .route("/api/v1/staff/sales/{sale_id}/correction", post(staff::correct))
        .route("/api/v1/staff/orders/{order_id}/move", post(staff::move_order))
        .route("/api/v1/staff/stations/{station_id}/prices", post(staff::prices))
        .route("/api/v1/staff/fleets", post(staff::fleet))
        .route("/api/v1/staff/cards", post(staff::card))
        .route("/api/v1/staff/cards/{card_id}", post(staff::block))
        .route("/api/v1/staff/stations/{station_id}/holds", post(staff::hold))
        .route("/callback/sandbox", post(station::callback))
        .route("/fuel/v1/stations/{station_id}/events", post(station::events))
        .route("/fuel/v1/enrol", post(station::enrol))
        .route("/", get(dashboard::stations))
        .route("/dashboard/orders", get(dashboard::orders))
        .route("/dashboard/figures", get(figures::day))
        .route("/dashboard/distributors/{member_id}", get(figures::distributor))
        .route("/dashboard/money", get(dashboard::money_page))
        .route("/dashboard/reconciliation", get(dashboard::reconciliation))
        .route("/trace/{order_id}", get(dashboard::trace))
        .route("/page/{file}", get(page::file))
        .merge(crate::page::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guard))
        .with_state(shared)
}

/// No page runs or loads anything that is not ours, or shows itself in a foreign frame.
async fn guard(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
