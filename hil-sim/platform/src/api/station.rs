//! What stations and the payment channel call: the contract's HTTPS binding and signed callbacks.

use super::call::{Answer, Problem, parse};
use crate::books::Proof;
use crate::books::channel::Callback;
use crate::refusal::Refusal;
use crate::shared::{Shared, now};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

/// Plain HTTP shows no certificate, so only this machine is trusted to be the station it says.
fn trusted(caller: SocketAddr) -> Result<(), Problem> {
    if caller.ip().is_loopback() {
        return Ok(());
    }
    Err(Refusal::new("bad_certificate", "records are taken from this machine, or over TLS with a certificate").into())
}

/// A batch of durable records; the answer has the acknowledgements that would have come by MQTT.
pub async fn events(
    State(shared): State<Arc<Shared>>,
    Path(station_id): Path<String>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    trusted(caller)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.starts_with("application/cloudevents-batch+json") {
        return Err(Refusal::new("malformed", "the content type is not application/cloudevents-batch+json").into());
    }
    let answer = shared.with(move |books| books.ingest(&station_id, &body, now())).await?;
    let commands = json!({"commands": answer.tokens});
    shared.write(move |act| act.answered(&answer)).await?;
    Ok(Json(commands))
}

#[derive(Deserialize)]
struct Enrol {
    station_id: String,
    #[serde(default)]
    code: Option<String>,
    csr_pem: String,
}

/// A station's first certificate, against a one-time code. Renewal needs the certificate of a TLS connection, which plain HTTP has not.
pub async fn enrol(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let asked: Enrol = parse(&body)?;
    let brokers = shared.terms.brokers_for_stations.clone();
    let work = move |books: &mut crate::books::Books| {
        let Some(code) = &asked.code else {
            return Err(Refusal::new("bad_certificate", "without a code a certificate is needed").into());
        };
        let enrolled = books.enrol(&asked.station_id, Proof::Code(code), &asked.csr_pem, now())?;
        Ok(json!({"certificate_pem": enrolled.certificate_pem, "ca_pem": enrolled.ca_pem, "jwks": books.jwks(),
            "brokers": brokers, "not_after": enrolled.not_after.to_string()}))
    };
    Ok(Json(shared.with(work).await?))
}

/// A callback of the sandbox channel.
pub async fn callback(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Result<StatusCode, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let callback = Callback {
        timestamp: text("x-sandbox-timestamp"),
        nonce: text("x-sandbox-nonce"),
        signature: text("x-sandbox-signature"),
        body,
    };
    shared.write(move |act| act.take_callback(&callback)).await?;
    Ok(StatusCode::NO_CONTENT)
}
