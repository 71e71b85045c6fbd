//! Another process writes the books and is killed, or its files may grow no further. What it was told is stored is there.

use edge_daemon::store::{FILE_NAME, Store, StoreFault};
use forecourt::ids::{NozzleId, OrderId, StationId};
use forecourt::ledger::Write;
use forecourt::order::ReleaseReason;
use forecourt::record::{OrderReleased, Record};
use forecourt::time::UtcTime;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use uuid::Uuid;

/// Set for the process that writes: where.
const HOME: &str = "CRASH_TEST_HOME";

fn open(home: &Path) -> Store {
    let station = StationId::new("st-1").expect("an id");
    Store::open(&home.join(FILE_NAME), station, Uuid::nil()).expect("opens")
}

fn release(number: u64) -> Write {
    let at = UtcTime::from_unix_ms(1_795_262_400_000);
    let order_id = OrderId::new(format!("o-{number}")).expect("an id");
    let released = OrderReleased { order_id, nozzle: NozzleId(1), reason: ReleaseReason::NoFlow, at };
    let id = Uuid::from_u128(u128::from(number));
    Write::Record { id, time: at, record: Box::new(Record::Released(released)) }
}

/// No test of its own: the process that the tests below start and kill.
#[test]
fn writer() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let mut store = open(Path::new(&home));
    let first = store.verify_chain().expect("reads").head.sequence + 1;
    for number in first.. {
        match store.apply(&[&[release(number)]]) {
            Ok(()) => println!("stored {number}"),
            Err(fault) => {
                let word = if matches!(fault, StoreFault::Full { .. }) { "full" } else { "other" };
                println!("{word} {number} {fault}");
                return;
            }
        }
    }
}

fn start(home: &Path, script: &str) -> Child {
    let myself = std::env::current_exe().expect("has a path");
    Command::new("sh")
        .args(["-c", &format!("{script} exec \"$0\" --exact writer --nocapture")])
        .arg(myself)
        .env(HOME, home)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// The number behind a word; the harness may have printed before it on the same line.
fn number_after(line: &str, word: &str) -> Option<u64> {
    line.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_killed_writer_loses_nothing_that_it_was_told_is_stored() {
    let home = tempfile::tempdir().expect("a directory");
    for round in 1..=4_u64 {
        let mut child = start(home.path(), "");
        let mut told = 0;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let enough = 60 * round * round;
        for line in lines.by_ref().map_while(Result::ok) {
            told = number_after(&line, "stored ").unwrap_or(told);
            if told >= enough {
                child.kill().expect("kills");
                break;
            }
        }
        // What was printed before the kill took effect was stored too.
        for line in lines.map_while(Result::ok) {
            told = number_after(&line, "stored ").unwrap_or(told);
        }
        child.wait().expect("ends");
        let report = open(home.path()).verify_chain().expect("reads");
        assert_eq!(report.broken, None, "round {round}");
        assert!(report.good >= told && report.good <= told + 1, "round {round}: told {told}, there {}", report.good);
    }
}

#[test]
fn a_file_that_may_not_grow_is_a_full_disk_and_nothing_is_lost() {
    let home = tempfile::tempdir().expect("a directory");
    // Half a MiB or one, as the shell counts; without the trap the signal would end the process.
    let mut child = start(home.path(), "trap '' XFSZ; ulimit -f 1024;");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut told = 0;
    let mut full = None;
    for line in lines.map_while(Result::ok) {
        told = number_after(&line, "stored ").unwrap_or(told);
        full = full.or(number_after(&line, "full "));
    }
    child.wait().expect("ends");
    assert_eq!(full, Some(told + 1));
    let mut store = open(home.path());
    let report = store.verify_chain().expect("reads");
    assert_eq!((report.broken, report.good), (None, told));
    store.apply(&[&[release(told + 1)]]).expect("goes on once there is space");
}
