//! The driver's page: files built into the program.

use super::call::Problem;
use crate::refusal::Refusal;
use axum::extract::Path;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

/// Name, content type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../page/app.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../page/style.css")),
    ("dashboard.css", "text/css; charset=utf-8", include_str!("../../page/dashboard.css")),
];

/// The page behind a nozzle's code; it asks the API what the code stands for.
pub async fn index() -> Html<&'static str> {
    Html(include_str!("../../page/index.html"))
}

pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(known, ..)| *known == name);
    let (_, kind, content) = file.ok_or_else(|| Refusal::new("unknown_page", format!("no file {name}")))?;
    Ok(([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "max-age=60")], *content).into_response())
}
