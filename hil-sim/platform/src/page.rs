//! The driver's page, as files within the program: what the QR code on a pump opens.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;

/// What the page may load and do: its own files and the platform's API; no inline script or style, no frame around it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// One file of the page.
#[derive(Debug)]
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
    /// Made at the first request: on a forecourt's weak network a quarter of the bytes is a quarter of the wait.
    compressed: OnceLock<Option<Vec<u8>>>,
}

static FILES: [File; 7] = [
    file("/n/{qr_token}", "text/html; charset=utf-8", include_str!("../page/driver.html")),
    file("/page/driver.css", "text/css; charset=utf-8", include_str!("../page/driver.css")),
    file("/page/texts.js", SCRIPT, include_str!("../page/texts.js")),
    file("/page/words.js", SCRIPT, include_str!("../page/words.js")),
    file("/page/line.js", SCRIPT, include_str!("../page/line.js")),
    file("/page/driver.js", SCRIPT, include_str!("../page/driver.js")),
    file("/page/icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
];

const fn file(path: &'static str, content_type: &'static str, text: &'static str) -> File {
    File { path, content_type, text, compressed: OnceLock::new() }
}

/// The routes of the page: `GET /n/{qr_token}` and its files below `/page/`. They need no state and no session.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(move |headers: HeaderMap| async move { answer(file, &headers) }))
    })
}

fn answer(file: &'static File, request: &HeaderMap) -> Response {
    let zipped = if takes_gzip(request) { file.compressed.get_or_init(|| gzip(file.text)).as_deref() } else { None };
    let mut response = match zipped {
        Some(bytes) => ([(header::CONTENT_ENCODING, "gzip")], bytes).into_response(),
        None => file.text.into_response(),
    };
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, file.content_type);
    set(header::VARY, "accept-encoding");
    // The files change with the program only, and are asked for again with it.
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    response
}

/// Whether the client named gzip and did not refuse it (RFC 9110 section 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn gzip(text: &str) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    const TEXTS: &str = include_str!("../page/texts.js");

    fn texts() -> BTreeMap<String, [String; 2]> {
        let json = TEXTS.trim_start_matches("window.TEXTS = ").trim_end().trim_end_matches(';');
        serde_json::from_str(json).expect("texts.js is one JSON object of pairs: Chinese, English")
    }

    fn placeholders(text: &str) -> Vec<&str> {
        let mut names: Vec<_> =
            text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_text_is_there_in_both_languages_with_the_same_values() {
        for (key, [chinese, english]) in texts() {
            assert!(!chinese.trim().is_empty() && !english.trim().is_empty(), "{key} lacks a language");
            assert_eq!(placeholders(&chinese), placeholders(&english), "{key} says different things");
        }
    }

    #[test]
    fn every_text_that_the_page_names_exists() {
        let texts = texts();
        let page: String = FILES.iter().filter(|file| file.path != "/page/texts.js").map(|file| file.text).collect();
        let mut named: Vec<&str> = Vec::new();
        for (before, after) in
            [("data-t=\"", '"'), ("data-label=\"", '"'), (" t(\"", '"'), ("(t(\"", '"'), ("[t(\"", '"')]
        {
            named.extend(page.split(before).skip(1).filter_map(|rest| rest.split_once(after)).map(|(key, _)| key));
        }
        assert!(named.len() > 80, "only {} texts are named", named.len());
        for key in named {
            // Keys that end in _ are completed by a value.
            assert!(
                texts.contains_key(key) || (key.ends_with('_') && texts.keys().any(|it| it.starts_with(key))),
                "no text for {key}"
            );
        }
    }

    #[test]
    fn nothing_of_the_page_is_inline_foreign_or_put_in_as_markup() {
        for file in &FILES {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=\"",
                " onclick=",
                "javascript:",
            ] {
                assert!(!file.text.contains(forbidden), "{} has {forbidden}", file.path);
            }
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !foreign.contains("http://") && !foreign.contains("https://"),
                "{} loads from elsewhere",
                file.path
            );
        }
    }

    #[test]
    fn the_scripts_keep_to_what_old_phones_understand() {
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            for newer in [
                "?.",
                "??",
                "{...",
                "{ ...",
                ".at(",
                "replaceAll(",
                ".flat(",
                ".flatMap(",
                "matchAll(",
                "for await",
                ".finally(",
                "catch {",
                "#private",
            ] {
                assert!(!file.text.contains(newer), "{} uses {newer}, newer than ES2017", file.path);
            }
        }
    }

    #[test]
    fn the_page_is_small_on_the_line() {
        let bytes: usize = FILES.iter().filter_map(|file| gzip(file.text)).map(|zipped| zipped.len()).sum();
        assert!(bytes < 30_000, "{bytes} bytes: more than 4 s at 64 kbit/s");
    }

    #[test]
    fn what_is_compressed_is_the_file() {
        let mut headers = HeaderMap::new();
        assert!(!takes_gzip(&headers));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0"));
        assert!(!takes_gzip(&headers));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
        assert!(takes_gzip(&headers));
        let mut back = String::new();
        flate2::read::GzDecoder::new(gzip(TEXTS).expect("compressed").as_slice())
            .read_to_string(&mut back)
            .expect("read back");
        assert_eq!(back, TEXTS);
    }
}
