//! `edgectl enrol` against a small platform over TLS.

#[path = "../../cloud-sync/tests/common/mod.rs"]
mod common;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use common::{Authority, NOW, serve_tls};
use edge_daemon::enrol::files::Places;
use rcgen::CertificateSigningRequestParams;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// What goes wrong at the platform.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// The certificate is for somebody else's key.
    OtherKey,
    /// The certificate names another station.
    OtherStation,
    /// No keys of the platform.
    NoKeys,
}

#[derive(Clone)]
struct Platform {
    authority: Arc<Authority>,
    trouble: Trouble,
    /// Renewals need no code: the connection has a certificate.
    renews: bool,
}

async fn enrol(State(platform): State<Platform>, body: Bytes) -> (StatusCode, String) {
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    let problem = |error: &str, detail: &str| json!({"title": "no", "error": error, "detail": detail}).to_string();
    if !platform.renews && asked["code"] != json!("314-159") {
        return (StatusCode::FORBIDDEN, problem("bad_code", "this code is not known"));
    }
    if platform.renews && asked.get("code").is_some() {
        return (StatusCode::FORBIDDEN, problem("bad_code", "a renewal has none"));
    }
    if asked["station_id"] != json!("ST-1") {
        return (StatusCode::NOT_FOUND, problem("unknown_station", "who?"));
    }
    let request =
        CertificateSigningRequestParams::from_pem(asked["csr_pem"].as_str().expect("text")).expect("a request");
    let name = if platform.trouble == Trouble::OtherStation { "ST-2" } else { "ST-1" };
    let params = common::params(name, NOW);
    let certificate_pem = if platform.trouble == Trouble::OtherKey {
        platform.authority.identity(name, NOW).certificate
    } else {
        params.signed_by(&request.public_key, &platform.authority.0).expect("signs").pem()
    };
    let key = json!({"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys = if platform.trouble == Trouble::NoKeys { json!([]) } else { json!([key]) };
    let answer = json!({"certificate_pem": certificate_pem, "ca_pem": platform.authority.pem(), "jwks": {"keys": keys},
        "brokers": ["mqtts://a.example:8883", "mqtts://b.example:8883"], "not_after": "2044-01-01T00:00:00Z"});
    (StatusCode::OK, answer.to_string())
}

struct Scene {
    home: tempfile::TempDir,
    url: String,
}

impl Scene {
    async fn start(authority: &Arc<Authority>, trouble: Trouble, renews: bool) -> Self {
        let platform = Platform { authority: Arc::clone(authority), trouble, renews };
        let router = Router::new().route("/fuel/v1/enrol", post(enrol)).with_state(platform);
        let url = serve_tls(router, authority, renews.then_some(authority)).await;
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("trusted.pem"), authority.pem()).expect("writes");
        Self { home, url }
    }

    fn places(&self) -> Places {
        Places::in_directory(&self.home.path().join("credentials"))
    }

    /// Exit code, standard output, standard error.
    async fn enrol(&self, more: &[&str]) -> (Option<i32>, String, String) {
        self.enrol_at(&self.home.path().join("credentials"), more).await
    }

    async fn enrol_at(&self, directory: &Path, more: &[&str]) -> (Option<i32>, String, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgectl"));
        command.arg("enrol").arg("--url").arg(&self.url).arg("--ca").arg(self.home.path().join("trusted.pem"));
        let output = command.arg("--directory").arg(directory).args(more).output().await.expect("starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_gives_a_certificate_and_the_certificate_its_renewal() {
    let authority = Arc::new(Authority::new("ca"));
    let scene = Scene::start(&authority, Trouble::None, false).await;
    let (code, out, err) = scene.enrol(&["--station", "ST-1", "--code", "314-159"]).await;
    assert_eq!(code, Some(0), "{err}");
    let places = scene.places();
    let first = edge_daemon::daemon::certificates::read(&places).expect("reads");
    assert!(first.facts().expect("fits").station.is_for("ST-1"));
    let mode = std::fs::metadata(&places.key).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let cert = places.certificate.display();
    for line in [
        "brokers = [\"mqtts://a.example:8883\", \"mqtts://b.example:8883\"]".to_owned(),
        format!("cert-file = \"{cert}\""),
        format!("https-url = \"{}\"", scene.url),
    ] {
        assert!(out.contains(&line), "{line} in:\n{out}");
    }

    let renewing = Scene::start(&authority, Trouble::None, true).await;
    let (code, _, err) =
        renewing.enrol_at(&scene.home.path().join("credentials"), &["--station", "ST-1", "--renew"]).await;
    assert_eq!(code, Some(0), "{err}");
    let second = edge_daemon::daemon::certificates::read(&places).expect("reads");
    assert!(second.facts().is_ok() && second.key != first.key, "a new key with its certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_to_do_and_leaves_no_file() {
    let authority = Arc::new(Authority::new("ca"));
    let scene = Scene::start(&authority, Trouble::None, false).await;
    for (more, part) in [
        (["--station", "ST-1", "--code", "wrong"], "bad_code: this code is not known; ask the platform for a new code"),
        (["--station", "ST-9", "--code", "314-159"], "unknown_station: who?; check the station's id"),
    ] {
        let (code, _, err) = scene.enrol(&more).await;
        assert_eq!(code, Some(69));
        assert!(err.contains(part), "{part} in {err}");
    }
    let (code, _, err) = scene.enrol(&["--station", "ST-1", "--renew"]).await;
    assert_eq!(code, Some(66), "{err}");
    assert!(err.contains("enrol with a code"), "{err}");
    assert!(!scene.home.path().join("credentials").join("station.key").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_fit_changes_nothing() {
    let authority = Arc::new(Authority::new("ca"));
    let first = Scene::start(&authority, Trouble::None, false).await;
    let directory = first.home.path().join("credentials");
    first.enrol(&["--station", "ST-1", "--code", "314-159"]).await;
    let before = std::fs::read(first.places().certificate).expect("a file");
    for (trouble, part) in [
        (Trouble::OtherKey, "for another key"),
        (Trouble::OtherStation, "not for ST-1"),
        (Trouble::NoKeys, "no array \"keys\""),
    ] {
        let scene = Scene::start(&authority, trouble, false).await;
        let (code, _, err) = scene.enrol_at(&directory, &["--station", "ST-1", "--code", "314-159"]).await;
        assert_eq!(code, Some(69), "{err}");
        assert!(err.contains(part) && err.contains("nothing was changed"), "{part} in {err}");
    }
    assert_eq!(std::fs::read(first.places().certificate).expect("a file"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_of_another_authority_gets_no_code() {
    let scene = Scene::start(&Arc::new(Authority::new("ca")), Trouble::None, false).await;
    std::fs::write(scene.home.path().join("trusted.pem"), Authority::new("other").pem()).expect("writes");
    let (code, _, err) = scene.enrol(&["--station", "ST-1", "--code", "314-159"]).await;
    assert_eq!(code, Some(69));
    assert!(err.contains("certificate authority"), "{err}");
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgectl"))
        .args(["enrol", "--url", "http://192.0.2.1/", "--station", "ST-1", "--code", "x", "--directory", "/nowhere"])
        .output()
        .await
        .expect("starts");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not encrypted"));
}
