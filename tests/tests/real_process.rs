//! The real daemon as its own process: killed, stopped, started without what it hangs on, and with a damaged store.

use hil_sim::broker::Broker;
use hil_sim::rig::daemon;
use hil_sim::rigs::Verdict;
use hil_sim::rigs::bed::{Bed, Course, Setup};
use hil_sim::rigs::kill;
use hil_sim::rigs::trace::Life;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

async fn bed(directory: &Path, setup: &Setup) -> Bed {
    Bed::new(directory, None, Broker::embedded().expect("a broker"), setup).await.expect("a test bed")
}

/// `edgectl doctor` for a data directory.
fn doctor(data: &Path) -> Output {
    let program = daemon::find("edgectl").expect("built: cargo build -p edge-daemon");
    let mut command = std::process::Command::new(program);
    command.args(["doctor", "--json", "--data"]).arg(data).output().expect("runs")
}

fn said(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

async fn agree(bed: &Bed, life: Life) {
    let data = bed.plan.data_directory();
    bed.settle(&data).await.expect("all is acknowledged");
    assert_eq!(bed.differences(&data).expect("the store can be read"), Vec::<String>::new());
    assert!(life.terminate().await.expect("ends").success());
}

#[tokio::test]
async fn a_daemon_killed_while_fuel_flows_books_the_sale_once() {
    let home = tempfile::tempdir().expect("a directory");
    let mut bed = bed(home.path(), &Setup { flow_litres: 2, ..Setup::default() }).await;
    let mut life = bed.live(None).expect("starts");
    bed.sell(&mut life).await.expect("a sale before");
    let mut open = bed.pay().expect("paid");
    let begun = Instant::now();
    while !bed.pumps.view(open.nozzle).is_some_and(|view| view.flowing) {
        assert!(begun.elapsed() < SOON, "no fuel flows");
        bed.act(&mut open);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    life.kill().await;
    let report = said(&doctor(&bed.plan.data_directory()));
    assert_eq!((report["use"].as_str(), report["contents"]["open_releases"].as_u64()), (Some("not_closed"), Some(1)));
    let mut life = bed.live(None).expect("starts again");
    assert_eq!(bed.drive(&mut open, &mut life).await.expect("an end"), Course::Ended);
    assert!(bed.is_sold(&open));
    agree(&bed, life).await;
}

#[tokio::test]
async fn sigterm_ends_in_order_and_a_broker_and_a_port_may_come_later() {
    let home = tempfile::tempdir().expect("a directory");
    let mut bed = bed(home.path(), &Setup::default()).await;
    bed.broker.take_down();
    let port = Path::new(&bed.plan.lines[0].port).to_owned();
    let target = std::fs::read_link(&port).expect("a link to the pty");
    std::fs::remove_file(&port).expect("pulls the port");
    let mut life = bed.live(None).expect("starts");
    let socket = bed.plan.data_directory().join("observe.sock");
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(begun.elapsed() < SOON && !life.is_over(), "it does not come up without broker and port");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::os::unix::fs::symlink(target, &port).expect("plugs it in again");
    bed.broker.restore();
    bed.platform.nozzles_ready(&bed.plan.nozzles(), SOON).await.expect("ready by itself");
    bed.sell(&mut life).await.expect("a sale");
    agree(&bed, life).await;
    let output = doctor(&bed.plan.data_directory());
    let report = said(&output);
    // 1 asks a person to look: here only where this machine's disk is nearly full.
    let nearly_full = report["disk"]["used_percent"].as_i64().is_some_and(|used| used >= 80);
    let expected = (Some(i32::from(nearly_full)), Some("closed"));
    assert_eq!((output.status.code(), report["use"].as_str()), expected, "{report:#}");
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_the_pumps_are_watched_and_unsent_sales_go_out_as_they_were() {
    for damage in ["header", "cut", "log"] {
        let home = tempfile::tempdir().expect("a directory");
        let mut bed = bed(home.path(), &Setup::default()).await;
        let data = bed.plan.data_directory();
        let mut life = bed.live(None).expect("starts");
        bed.sell(&mut life).await.expect("a sale");
        // Sold while the platform cannot be reached.
        let mut open = bed.pay().expect("paid");
        open.wait_until_answered(&bed, SOON).await;
        bed.broker.take_down();
        let begun = Instant::now();
        while !bed.has_fuelled(&open) || bed.pumps.view(open.nozzle).is_none_or(|view| view.nozzle_out.is_some()) {
            assert!(begun.elapsed() < SOON, "{damage}: no fuel flows");
            bed.act(&mut open);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let stored = |bed: &Bed| {
            let books = hil_sim::rig::store::Books::open(&bed.plan.data_directory()).expect("a store");
            books.sale_of(&open.order).expect("reads").is_some()
        };
        while !stored(&bed) {
            assert!(begun.elapsed() < SOON, "{damage}: the sale is not stored");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if damage == "log" {
            life.kill().await;
        } else {
            assert!(life.terminate().await.expect("ends").success());
        }
        let database = data.join("station.db");
        let mut bytes = std::fs::read(&database).expect("reads");
        match damage {
            "header" => bytes[..100].fill(0x5A),
            "cut" => {
                let pages = bytes.len() / 4_096;
                bytes.truncate((pages - 1) * 4_096);
            }
            _ => std::fs::remove_file(data.join("station.db-wal")).expect("there was a log"),
        }
        std::fs::write(&database, bytes).expect("writes");
        let output = doctor(&data);
        assert_eq!(output.status.code(), Some(2), "{damage}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(said(&output)["daemon_would"].as_str().is_some_and(|text| text.starts_with("set the store aside")));

        bed.broker.restore();
        let mut life = bed.live(None).expect("starts");
        bed.platform.nozzles_ready(&bed.plan.nozzles(), SOON).await.expect("the pumps are watched");
        if damage != "log" {
            assert_eq!(bed.drive(&mut open, &mut life).await.expect("an end"), Course::Ended, "{damage}");
            assert!(bed.is_sold(&open), "{damage}: the unsent sale was rescued");
        }
        let output = doctor(&data);
        assert_eq!(output.status.code(), Some(1), "{damage}: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(said(&output)["set_aside"].as_array().map(Vec::len), Some(1));
        // An order of before is never served again: it may have been.
        let late = bed.pay().expect("paid");
        let answered = bed.platform.wait_for("an answer", SOON, |desk| {
            let issued = desk.issued(late.command)?;
            issued.replies.first().map(|(reply, _)| reply.result.clone())
        });
        assert_eq!(answered.await.expect("an answer"), "too_old", "{damage}");
        assert!(life.terminate().await.expect("ends").success());
    }
}

#[tokio::test]
async fn a_handful_of_kills_at_calls_that_write_lose_and_double_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    match kill::run(&kill::Args { points: 10, beds: 2 }, None, home.path()).await.expect("runs") {
        Verdict::Held(_) => {}
        Verdict::Skipped(why) => eprintln!("DID NOT RUN: {why}"),
        Verdict::Broke(differences) => panic!("{differences:?}"),
    }
}
