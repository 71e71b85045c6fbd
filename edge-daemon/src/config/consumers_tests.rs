//! What `[[consumers]]` and the HTTPS keys of `[cloud]` may say.

use super::*;
use crate::config::{Config, NoFiles, parse};
use core::time::Duration;

const STATION: &str = include_str!("../../../systemd/edge.toml");

fn with(more: &str) -> Result<Config, String> {
    let text = format!("{STATION}\n{more}");
    parse(&text, &NoFiles)
        .map(|(config, _)| config)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn cloud_with(more: &str) -> Result<Config, String> {
    let text = STATION.replacen("[cloud]\n", &format!("[cloud]\n{more}\n"), 1);
    parse(&text, &NoFiles).map(|(config, _)| config).map_err(|problems| problems[0].to_string())
}

#[test]
fn both_kinds_are_read_with_their_defaults() {
    let config = with(
        r#"
[[consumers]]
name = "erp"
kind = "https-push"
url = "https://erp.example/fuel"
[[consumers]]
name = "tax"
kind = "json-lines"
directory = "/var/lib/forecourt-edge/tax"
records = ["fuel.sale.v1", "fuel.report.v1"]
keep-days = 400
start = "newest"
"#,
    )
    .expect("good");
    let [erp, tax] = config.consumers.as_slice() else { panic!("{:?}", config.consumers) };
    assert_eq!((erp.records.as_slice(), erp.keep_days, erp.from_now), (&["fuel.sale.v1".to_owned()][..], 180, false));
    assert!(matches!(&erp.kind, ConsumerKind::HttpsPush { ca_file, client: None, .. } if ca_file == SYSTEM_CA));
    assert_eq!((tax.records.len(), tax.keep_days, tax.from_now), (2, 400, true));
}

#[test]
fn every_problem_of_a_consumer_is_told() {
    let told = with(
        r#"
[[consumers]]
name = "ERP"
kind = "https-push"
url = "http://10.0.0.1/fuel"
records = ["fuel.live.v1"]
cert-file = "/x"
[[consumers]]
name = "tax"
kind = "json-lines"
directory = "here"
url = "https://x/"
[[consumers]]
name = "tax"
kind = "mail"
"#,
    )
    .expect_err("bad");
    for part in [
        "\"ERP\" is no name",
        "not encrypted",
        "no durable record",
        "stands alone",
        "no absolute path",
        "consumers[1].url",
        "used in line",
        "\"mail\"",
    ] {
        assert!(told.contains(part), "{part} in:\n{told}");
    }
}

#[test]
fn the_fallback_road_has_its_keys() {
    let config = cloud_with("https-url = \"https://cloud.example/\"\nhttps-after-s = 60").expect("good");
    let https = config.cloud.and_then(|cloud| cloud.https).expect("a road");
    assert_eq!(
        (https.url.to_string().as_str(), https.after, https.renew),
        ("https://cloud.example/", Duration::from_secs(60), true)
    );
    let told = cloud_with("https-url = \"http://cloud.example/\"").expect_err("plain");
    assert!(told.contains("not encrypted"), "{told}");
}
