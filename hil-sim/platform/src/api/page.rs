//! Files of the dashboard, built into the program.

use super::call::Problem;
use crate::refusal::Refusal;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Name, content type, content.
const FILES: [(&str, &str, &str); 2] = [
    ("dashboard.css", "text/css; charset=utf-8", include_str!("../../page/dashboard.css")),
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("../../page/dashboard.js")),
];

pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(known, ..)| *known == name);
    let (_, kind, content) = file.ok_or_else(|| Refusal::new("unknown_page", format!("no file {name}")))?;
    Ok(([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "max-age=60")], *content).into_response())
}
