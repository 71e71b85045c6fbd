//! The real daemon without any broker, and the reference platform: a backlog comes into its books over HTTPS.

use edge_daemon::store::{FILE_NAME, Store};
use forecourt::ids::{StationId, UuidMaker};
use forecourt::ledger::Write;
use forecourt::record::{Audit, Record};
use forecourt::time::UtcTime;
use hil_sim::rig::daemon;
use reference_platform::books::NewStation;
use reference_platform::contract::keys::{KeyPair, write_jwks};
use reference_platform::rehearsal::POSITION;
use reference_platform::{ReferencePlatform, Settings};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// More than opens the road.
const RECORDS: u64 = 1_500;
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test, whatever becomes of it.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing more to do about it here.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A store of a station that could not send for a while.
fn fill(home: &Path) {
    let mut ids = UuidMaker::new([7; 32]);
    let at = UtcTime::from_unix_ms(1_795_262_400_000);
    let station = StationId::new("st-1").expect("an id");
    let mut store = Store::open(&home.join(FILE_NAME), station, ids.make(at)).expect("opens");
    let mut record = || {
        let audit = Audit { who: "a".into(), did: "b".into(), on: "c".into(), old: None, new: None };
        Write::Record { id: ids.make(at), time: at, record: Box::new(Record::Audit(audit)) }
    };
    let writes: Vec<Write> = (0..RECORDS).map(|_| record()).collect();
    store.apply(&[&writes]).expect("stores");
}

fn waiting(home: &Path) -> u64 {
    let reader = Store::reader(&home.join(FILE_NAME)).expect("reads");
    reader.outbox_counts().expect("reads").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_reaches_the_reference_platform_without_any_broker() {
    let home = tempfile::tempdir().expect("a directory");
    fill(home.path());
    let key = KeyPair::from_seed("platform-1", [1; 32]);
    let jwks = home.path().join("jwks.json");
    write_jwks(&jwks, &[&key]).expect("writes");
    let station = NewStation {
        station_id: "st-1".into(),
        name: ["站".into(), "Station".into()],
        position: POSITION,
        currency: "CNY".into(),
    };
    let platform = ReferencePlatform::start(Settings::new(key, vec![station])).await.expect("starts");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let cloud = format!(
        "[cloud]\nbrokers = [\"mqtt://{nobody}\"]\njwks-file = \"{}\"\nhttps-url = \"{}/\"\n",
        jwks.display(),
        platform.url()
    );
    let toml = include_str!("../../edge-daemon/tests/data/station.toml")
        .replace("/var/lib/x", &home.path().display().to_string());
    let config = home.path().join("edge.toml");
    std::fs::write(&config, format!("{toml}{cloud}")).expect("writes");
    let mut command = Command::new(daemon::find("edge-daemon").expect("built: cargo build -p edge-daemon"));
    command.arg("run").arg("--config").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Daemon(command.spawn().expect("starts"));

    let begun = Instant::now();
    while waiting(home.path()) > 0 {
        assert!(begun.elapsed() < PATIENCE, "{} still wait", waiting(home.path()));
        assert!(process.0.try_wait().expect("known").is_none(), "the daemon has ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Only the platform's signature takes a record out; it has found each in its place in the chain.
    let disputes = platform.shared().read(|act| act.disputes()).await.expect("reads");
    assert_eq!(disputes, []);
    platform.stop().await;
}
