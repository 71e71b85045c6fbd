//! The client of the integrator's guide, in Python: it pays an order at a real daemon and books the sale.

use anyhow::Context as _;
use hil_sim::broker::Broker;
use hil_sim::demo::layout;
use hil_sim::platform::{KeyPair, write_jwks};
use hil_sim::prng::Prng;
use hil_sim::rig::bus::Buses;
use hil_sim::rig::daemon::{self, Daemon};
use hil_sim::rig::pumps::{Build, Pumps};
use pump_drivers::protocol::Protocol;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// For the whole life of the order.
const LIMIT: Duration = Duration::from_secs(90);
const AMOUNT_MINOR: i64 = 5_000;

/// A Python that has what the client imports; Debian's packages belong to its own.
fn python() -> Option<&'static str> {
    let imports = |python: &&str| {
        let run = std::process::Command::new(python).args(["-c", "import paho.mqtt, cryptography"]).output();
        run.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(imports)
}

#[tokio::test]
async fn the_python_client_pays_an_order_and_books_what_the_pump_shows() -> anyhow::Result<()> {
    let Some(python) = python() else {
        eprintln!(
            "SKIPPED: no Python with paho-mqtt and cryptography (apt-get install python3-paho-mqtt python3-cryptography)"
        );
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let plan = layout(home.path(), Buses::Only(Protocol::Dart))?;
    let broker = Broker::embedded()?;
    std::fs::create_dir_all(plan.data_directory())?;
    let key_file = home.path().join("platform.key");
    let key = KeyPair::load_or_generate("platform-1", &key_file)?;
    write_jwks(&plan.jwks_file(), &[&key])?;
    std::fs::write(plan.config_file(), plan.toml(&broker.url(), ""))?;
    let pumps = Pumps::serve(&plan, &Build::usual(50, Prng::new(1)))?;
    let program = daemon::find("edge-daemon")?;
    let daemon = Daemon::start(&program, &plan.config_file(), &home.path().join("edge-daemon.log"))?;
    let nozzle = plan.nozzles()[0];
    let grade = plan.grade_of(nozzle).context("a grade")?;
    let price = plan.price_of(grade).context("a price")?;
    let before = pumps.totaliser(nozzle).context("a totaliser")?;
    let books = home.path().join("books.db");
    let address = broker.address();
    let paying = |kid: &str| {
        let mut client = Command::new(python);
        client
            .arg(published("client.py"))
            .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()])
            .args(["--station", &plan.station, "--nozzle", &nozzle.to_string(), "--grade", grade.as_str()])
            .args(["--price-micros", &price.get().to_string(), "--amount-minor", &AMOUNT_MINOR.to_string()])
            .args(["--kid", kid, "--key"])
            .arg(&key_file)
            .arg("--books")
            .arg(&books)
            .args(["--timeout-s", &LIMIT.as_secs().to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        client
    };
    let unknown =
        tokio::time::timeout(LIMIT, paying("nobody").args(["--client-id", "stranger"]).stderr(Stdio::piped()).output())
            .await??;
    let told = String::from_utf8(unknown.stderr)?;
    assert!(unknown.status.code() == Some(3) && told.contains("was not taken: bad_signature"), "{told}");
    for name in ["cheap-1", "cheap-2"] {
        let mut cheap = paying("platform-1");
        cheap.args(["--client-id", name, "--price-micros", &(price.get() - 10_000).to_string()]);
        let cheap = tokio::time::timeout(LIMIT, cheap.output()).await??;
        let told = String::from_utf8(cheap.stdout)?;
        assert!(cheap.status.code() == Some(1) && told.contains("refused:price_changed"), "{told}");
    }
    let mut client = paying("platform-1").spawn()?;
    let mut lines = BufReader::new(client.stdout.take().context("its output")?).lines();
    let mut said = Vec::new();
    while let Some(line) = tokio::time::timeout(LIMIT, lines.next_line()).await.context("the client says nothing")?? {
        if line.starts_with("reply: armed") {
            pumps.lift(nozzle);
            let fuelled =
                || pumps.fuellings(nozzle).len() + usize::from(pumps.view(nozzle).is_some_and(|view| view.flowing));
            wait(|| fuelled() > 0, "fuel flows").await?;
            wait(|| pumps.view(nozzle).is_some_and(|view| !view.flowing), "the limit ends it").await?;
            pumps.hang_up(nozzle);
        }
        said.push(line);
    }
    let code = tokio::time::timeout(LIMIT, client.wait()).await??;
    assert!(code.success(), "{code}: {said:#?}");

    let (volume, amount) = pumps.shown(&pumps.view(nozzle).context("a pump")?);
    let moved = pumps.totaliser(nozzle).context("a totaliser")?.get() - before.get();
    verified(python, &books, home.path())?;
    let books = rusqlite::Connection::open(&books)?;
    let ends: Vec<(String, i64, i64)> = books
        .prepare("SELECT kind, volume_ml, amount_minor FROM order_end ORDER BY volume_ml")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let sold = ("sale".to_owned(), volume.get(), amount.get());
    let refused = ("refused:price_changed".to_owned(), 0, 0);
    assert_eq!(ends, [refused.clone(), refused, sold], "the pump's own figures; {said:#?}");
    assert_eq!((volume.get(), amount.get()), (moved, AMOUNT_MINOR));
    daemon.stop().await?;
    Ok(())
}

/// A file of the published contract.
fn published(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract").join(name)
}

/// The records that the client has booked stand the test of the published verifier, and what was done to them does not.
fn verified(python: &str, books: &Path, home: &Path) -> anyhow::Result<()> {
    let exported = std::process::Command::new(python)
        .arg(published("client.py"))
        .arg("--books")
        .arg(books)
        .arg("--export")
        .output()?;
    let records = String::from_utf8(exported.stdout)?;
    let lines: Vec<&str> = records.lines().collect();
    anyhow::ensure!(lines.len() >= 3, "{} records", lines.len());
    let verify = |text: &str| -> anyhow::Result<(Option<i32>, String)> {
        let file = home.join("records.jsonl");
        std::fs::write(&file, text)?;
        let run = std::process::Command::new(python).arg(published("verify.py")).arg(file).output()?;
        Ok((run.status.code(), String::from_utf8(run.stdout)?))
    };
    let (code, said) = verify(&records)?;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = verify(&records.replacen(&format!("\"amount_minor\":{AMOUNT_MINOR}"), "\"amount_minor\":1", 1))?;
    assert!(code == Some(1) && said.contains("was changed"), "{said}");
    let without_one: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| *line).collect();
    let (code, said) = verify(&without_one.join("\n"))?;
    assert!(code == Some(1) && said.contains("missing"), "{said}");
    Ok(())
}

/// Waits for a state of the simulated pumps, which tell nobody of it.
async fn wait(mut is: impl FnMut() -> bool, what: &str) -> anyhow::Result<()> {
    let reached = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, reached).await.with_context(|| format!("waited for: {what}"))
}
