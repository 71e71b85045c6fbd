//! What people do at the station and what the platform asks of its office, with the real daemon, the real `edgectl` and simulated pumps.

use forecourt::ids::{NozzleId, UuidMaker};
use forecourt::time::UtcTime;
use hil_sim::broker::Broker;
use hil_sim::platform::{Command, KeyPair, voucher};
use hil_sim::rig::daemon;
use hil_sim::rigs::bed::{Bed, Setup};
use hil_sim::rigs::trace::Life;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(30);
const KEY: [u8; 32] = [7; 32];
/// The same in base64url.
const KEY_FILE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n";

struct Scene {
    /// Gone with the scene.
    _home: tempfile::TempDir,
    bed: Bed,
    life: Life,
    /// A second key of the platform.
    second: KeyPair,
}

fn now() -> UtcTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UtcTime::from_unix_ms(i64::try_from(since.as_millis()).expect("in range"))
}

impl Scene {
    async fn open() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let key_file = home.path().join("voucher.key");
        std::fs::write(&key_file, KEY_FILE).expect("writes");
        let extra_toml = format!("[voucher]\nkey-file = \"{}\"\n", key_file.display());
        let setup = Setup { extra_toml, ..Setup::default() };
        let bed = Bed::new(home.path(), None, Broker::embedded().expect("a broker"), &setup).await.expect("a test bed");
        let second = KeyPair::from_seed("second", [9; 32]);
        let mut keys: Value = read_json(&bed.plan.jwks_file());
        keys["keys"].as_array_mut().expect("keys").push(second.jwk());
        std::fs::write(bed.plan.jwks_file(), keys.to_string()).expect("writes");
        let life = bed.live(None).expect("starts");
        bed.platform.nozzles_ready(&bed.plan.nozzles(), SOON).await.expect("ready");
        Self { _home: home, bed, life, second }
    }

    fn edgectl(&self, arguments: &[&str], input: &str) -> (Option<i32>, Value) {
        let program = daemon::find("edgectl").expect("built: cargo build -p edge-daemon");
        let config = self.bed.plan.config_file();
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .arg("--json")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("takes it");
        let output = child.wait_with_output().expect("ends");
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    fn result(&self, arguments: &[&str], input: &str) -> String {
        let (code, answer) = self.edgectl(arguments, input);
        let result = answer["result"].as_str().unwrap_or_else(|| panic!("{arguments:?}: {code:?} {answer}"));
        result.to_owned()
    }

    /// An order as the platform shows it in a QR code.
    fn signed_order(&self, id: &str, nozzle: u16, key: &KeyPair) -> String {
        let at = now();
        let data = json!({"order_id": id, "nozzle": nozzle, "grade": self.bed.plan.grade_of(NozzleId(nozzle)),
            "limit": {"volume_ml": 3_000}, "currency": "CNY", "unit_price_micros": 7_450_000,
            "expires_at": at.plus_ms(600_000).to_string(), "basis": "prepaid"});
        let event = json!({"specversion": "1.0", "id": format!("cmd-{id}"), "source": "/platform",
            "subject": format!("/stations/{}", self.bed.plan.station), "type": "fuel.order.authorise.v1",
            "time": at.to_string(), "data": data});
        key.sign(event.to_string().as_bytes())
    }

    async fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < SOON, "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn go_offline(&self) {
        self.bed.broker.take_down();
        self.wait("the link stays up", |scene| scene.edgectl(&["status"], "").1["uplink"] == false).await;
    }

    /// The customer fuels what was released at a nozzle; the order's sale as `edgectl` shows it.
    async fn fuel(&self, nozzle: u16, order: &str) -> Value {
        let nozzle = NozzleId(nozzle);
        let before = self.bed.pumps.fuellings(nozzle).len();
        self.bed.pumps.lift(nozzle);
        self.wait("no fuel flows", |scene| scene.bed.pumps.fuellings(nozzle).len() > before).await;
        self.bed.pumps.hang_up(nozzle);
        self.wait("no sale", |scene| scene.edgectl(&["sale", order], "").0 == Some(0)).await;
        self.edgectl(&["sale", order], "").1
    }

    async fn ask(&self, kind: &str, data: Value) -> Value {
        let command = self.bed.platform.send(Command::Other(kind.into(), data));
        let (reply, _) = self.bed.platform.reply(command, SOON).await.expect("a reply");
        let mut members = reply.rest;
        members.insert("result".into(), reply.result.into());
        Value::Object(members)
    }

    fn store(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.bed.plan.data_directory().join("station.db")).expect("opens")
    }

    fn audits(&self) -> Vec<Value> {
        self.records("fuel.audit.v1")
    }

    /// What was recorded of an alarm, in order: `raised`, `cleared`.
    fn alarms(&self, kind: &str) -> Vec<String> {
        let all = self.records("fuel.alarm.v1").into_iter().filter(|alarm| alarm["alarm"] == kind);
        all.filter_map(|alarm| alarm["state"].as_str().map(str::to_owned)).collect()
    }

    fn records(&self, kind: &str) -> Vec<Value> {
        let connection = self.store();
        let mut statement =
            connection.prepare("SELECT body FROM event WHERE kind = ?1 ORDER BY sequence").expect("prepares");
        let bodies = statement.query_map([kind], |row| row.get::<_, Vec<u8>>(0)).expect("runs");
        let data = |body: Vec<u8>| serde_json::from_slice::<Value>(&body).expect("JSON")["data"].clone();
        bodies.map(|body| data(body.expect("a body"))).collect()
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("reads")).expect("JSON")
}

#[tokio::test]
async fn while_the_uplink_is_down_a_qr_order_and_a_voucher_fuel_once_each() {
    let mut scene = Scene::open().await;
    let socket = scene.bed.plan.data_directory().join("control.sock");
    let mode = std::fs::metadata(socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let qr = scene.signed_order("qr-1", 1, &scene.second);
    assert_eq!(scene.result(&["order", "-"], &qr), "uplink_up");
    scene.go_offline().await;
    let forged = scene.signed_order("qr-2", 1, &KeyPair::from_seed("second", [8; 32]));
    assert_eq!(scene.result(&["order", "-"], &forged), "bad_signature");
    assert_eq!(scene.edgectl(&["order", "-"], "no order").0, Some(65));
    assert_eq!(scene.result(&["order", "-"], &qr), "armed");
    let sale = scene.fuel(1, "qr-1").await;
    assert_eq!((&sale["basis"], &sale["offline"]), (&"prepaid".into(), &true.into()));
    let (_, again) = scene.edgectl(&["order", "-"], &qr);
    assert_eq!((&again["result"], &again["repeated"]), (&"armed".into(), &true.into()));

    let digits = voucher::issue(&KEY, &scene.bed.plan.station, 2, 20, 1, now());
    let wrong = format!("{}{}", &digits[..17], if digits.ends_with('0') { '1' } else { '0' });
    assert_eq!(scene.result(&["voucher", &wrong, "--nozzle", "2"], ""), "bad_voucher");
    let groups = [&digits[..6], &digits[6..12], &digits[12..]];
    let typed = ["voucher", groups[0], groups[1], groups[2], "--nozzle", "2"];
    assert_eq!(scene.result(&typed, ""), "armed");
    let sale = scene.fuel(2, &format!("V-{digits}")).await;
    assert_eq!(
        (&sale["basis"], &sale["amount_minor"].as_i64().is_some_and(|fen| fen <= 2_000)),
        (&"voucher".into(), &true)
    );
    // The books know it after a kill too.
    scene.life.kill().await;
    scene.life = scene.bed.live(None).expect("starts again");
    scene.wait("does not start", |scene| scene.edgectl(&["status"], "").0 == Some(0)).await;
    assert_eq!(scene.result(&typed, ""), "duplicate");
    for _ in 0..5 {
        scene.edgectl(&["voucher", &wrong, "--nozzle", "2"], "");
    }
    assert_eq!(scene.result(&typed, ""), "code_entry_locked");
    scene.life.kill().await;
    scene.life = scene.bed.live(None).expect("starts again");
    scene.wait("does not start", |scene| scene.edgectl(&["status"], "").0 == Some(0)).await;
    assert_eq!(scene.result(&typed, ""), "code_entry_locked");
    let did: Vec<String> = scene.audits().iter().map(|audit| format!("{} {}", audit["did"], audit["new"])).collect();
    for needed in [
        "\"order\" \"uplink_up\"",
        "\"order\" \"bad_signature\"",
        "\"fuel.order.authorise.v1\" \"armed\"",
        "\"voucher\" \"bad_voucher\"",
    ] {
        assert!(did.iter().any(|done| done == needed), "{needed}: {did:?}");
    }
    assert!(scene.life.terminate().await.expect("ends").success());
}

#[tokio::test]
async fn a_forged_command_and_a_record_that_is_set_aside_are_alarms() {
    let mut scene = Scene::open().await;
    let stranger = KeyPair::from_seed("platform-1", [8; 32]);
    for number in 0..3 {
        let forged = scene.signed_order(&format!("forged-{number}"), 1, &stranger);
        scene.bed.platform.send_copy(UuidMaker::new([number; 32]).make(now()), forged);
    }
    scene.wait("no alarm of a forged command", |scene| scene.alarms("bad_signature") == ["raised"]).await;

    let store = scene.store();
    assert!(scene.life.terminate().await.expect("ends").success());
    // As five refusals leave it.
    let set_aside = "INSERT INTO outbox (sequence, priority, set_aside, refusals, reason)
        VALUES (1, 0, 1, 5, 'not booked') ON CONFLICT (sequence) DO UPDATE SET set_aside = 1, refusals = 5";
    store.execute(set_aside, []).expect("runs");
    drop(store);
    scene.life = scene.bed.live(None).expect("starts again");
    scene.wait("no alarm of the record", |scene| scene.alarms("record_set_aside") == ["raised"]).await;
    let resend = json!({"from_sequence": "000000000001", "to_sequence": "000000000001"});
    assert_eq!(scene.ask("fuel.resend.v1", resend).await["result"], "resending");
    scene.wait("the alarm stands", |scene| scene.alarms("record_set_aside") == ["raised", "cleared"]).await;
    assert_eq!(scene.alarms("bad_signature"), ["raised"], "a flood is one alarm");
    assert!(scene.life.terminate().await.expect("ends").success());
}

#[tokio::test]
async fn configurations_keys_and_customers_are_changed_from_afar_and_every_change_is_audited() {
    let scene = Scene::open().await;
    let text = std::fs::read_to_string(scene.bed.plan.config_file()).expect("reads");
    let own: Value = serde_json::to_value(toml::from_str::<toml::Table>(&text).expect("TOML")).expect("JSON");
    let set = |version: u64, document: &Value| {
        let canonical = serde_json_canonicalizer::to_vec(document).expect("JSON");
        json!({"version": version, "hash": cloud_sync::wire::chain::sha256_hex(&canonical), "document": document})
    };
    // Less money than an order asks for.
    let mut document = own.clone();
    document["limits"] = json!({"amount-minor": 1_000});
    let reply = scene.ask("fuel.config.set.v1", set(1, &document)).await;
    assert_eq!((&reply["result"], &reply["restart"]), (&"applied".into(), &false.into()), "{reply}");
    let order = json!({"order_id": "too-much", "nozzle": 1, "grade": scene.bed.plan.grade_of(NozzleId(1)),
        "limit": {"amount_minor": 2_500}, "currency": "CNY", "unit_price_micros": 7_450_000,
        "expires_at": now().plus_ms(60_000).to_string(), "basis": "prepaid"});
    assert_eq!(scene.ask("fuel.order.authorise.v1", order).await["result"], "limit_exceeded");
    // Everything wrong is told at once.
    let mut bad = own.clone();
    bad["limits"] = json!({"queue": 99});
    bad["cloud"]["brokers"] = json!(["mqtts://elsewhere.example"]);
    let reply = scene.ask("fuel.config.set.v1", set(2, &bad)).await;
    let places: Vec<&str> =
        reply["problems"].as_array().expect("a list").iter().filter_map(|found| found["at"].as_str()).collect();
    assert_eq!(
        (reply["result"].as_str(), places),
        (Some("refused"), vec!["/data/document/cloud", "/data/document/limits/queue"])
    );
    // Another price is read at a start only.
    document["grade"][0]["unit-price-micros"] = json!(7_460_000);
    let reply = scene.ask("fuel.config.set.v1", set(3, &document)).await;
    assert_eq!((&reply["result"], &reply["restart"]), (&"applied".into(), &true.into()), "{reply}");
    let shown = scene.edgectl(&["config", "show"], "").1;
    assert_eq!((&shown["current"]["version"], &shown["previous"]["version"]), (&3.into(), &1.into()));
    assert_eq!(scene.edgectl(&["config", "rollback"], "").1["version"], 1);
    assert_eq!(scene.edgectl(&["config", "rollback"], "").1["version"], Value::Null);
    assert_eq!(scene.edgectl(&["config", "rollback"], "").1["result"], "nothing_to_roll_back");

    let revoke = |kid: &str| json!({ "kid": kid });
    assert_eq!(scene.ask("fuel.credentials.revoke.v1", revoke("nobody")).await["result"], "unknown_key");
    assert_eq!(scene.ask("fuel.credentials.revoke.v1", revoke("platform-1")).await["result"], "refused");
    assert_eq!(scene.ask("fuel.credentials.revoke.v1", revoke("second")).await["result"], "revoked");
    assert_eq!(scene.ask("fuel.credentials.revoke.v1", revoke("platform-1")).await["result"], "last_key");
    assert_eq!(read_json(&scene.bed.plan.jwks_file())["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(scene.ask("fuel.privacy.erase.v1", json!({"customer": "c-1"})).await["rows"], 0);
    let day = json!({"scope": "day", "period": "2020-01-01"});
    assert_eq!(scene.ask("fuel.report.request.v1", day).await["result"], "unknown_range");
    scene.go_offline().await;
    let qr = scene.signed_order("qr-1", 1, &scene.second);
    assert_eq!(scene.result(&["order", "-"], &qr), "bad_signature");
    let did: Vec<String> = scene.audits().iter().filter_map(|audit| audit["did"].as_str().map(str::to_owned)).collect();
    for needed in ["configuration", "configuration rolled back", "key revoked", "customer erased"] {
        assert!(did.iter().any(|done| done == needed), "{needed}: {did:?}");
    }
    assert!(scene.life.terminate().await.expect("ends").success());
}
