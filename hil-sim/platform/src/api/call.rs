//! What every call has in common: who calls, what is in the body, and how a refusal is answered.

use crate::books::{Member, Trouble};
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// A refusal or trouble as an HTTP answer.
#[derive(Debug)]
pub struct Problem(pub Trouble);

impl<E: Into<Trouble>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, body) = match self.0 {
            Trouble::Refused(refusal) => (refusal.status(), refusal.problem()),
            other => {
                tracing::error!(error = %other, "a call failed");
                let refusal = Refusal::new("internal", "the platform could not do this; its log says why");
                let mut body = refusal.problem();
                (body["status"], body["title"]) = (500.into(), "Internal Server Error".into());
                (500, body)
            }
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
        }
        response
    }
}

/// JSON with 200.
pub type Answer = Result<axum::Json<Value>, Problem>;

/// A call of the driver's page.
#[derive(Debug)]
pub struct Call {
    pub token: Option<String>,
    pub body: Bytes,
    member: Option<Member>,
}

impl Call {
    /// Who is logged in.
    pub fn member(&self) -> Result<Member, Problem> {
        self.member.clone().ok_or_else(|| Refusal::new("not_logged_in", "log in first").into())
    }

    pub fn guest_or_member(&self) -> Option<Member> {
        self.member.clone()
    }

    /// The body as JSON.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.body)
    }
}

/// JSON of a body.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Refusal::new("malformed", error.to_string()).with("at", "").into())
}

impl FromRequest<Arc<Shared>> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let headers = request.headers();
        if request.method() != Method::GET {
            check_origin(headers)?;
        }
        let token = token_of(headers);
        let body =
            Bytes::from_request(request, shared).await.map_err(|error| Refusal::new("too_large", error.to_string()))?;
        let member = match token.clone() {
            Some(token) => match shared.read(move |act| act.session(&token)).await {
                Ok(member) => Some(member),
                Err(Trouble::Refused(_)) => None,
                Err(other) => return Err(Problem(other)),
            },
            None => None,
        };
        Ok(Self { token, body, member })
    }
}

/// Only a page of ours may change something: a form of another site can send neither this content type nor our origin.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Refusal::new("malformed", "the content type is not application/json").with("at", "").into());
    }
    if let Some(origin) = text(header::ORIGIN) {
        let host = text(header::HOST).unwrap_or("");
        if origin.split_once("://").map(|(_, rest)| rest) != Some(host) {
            return Err(Refusal::new("foreign_origin", format!("{origin} is not this site")).into());
        }
    }
    Ok(())
}

fn token_of(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookie = || {
        let cookies = text(header::COOKIE)?;
        cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("session="))
    };
    bearer.or_else(cookie).map(str::to_owned)
}
