//! Every fault script of `tests/scripts`, played to its end.

use hil_sim::script::{load, names, play};
use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

#[test]
fn every_fault_script_comes_out_as_it_says() {
    let directory = directory();
    let names = names(&directory).expect("the scripts");
    assert!(names.len() >= 40, "{} scripts", names.len());
    let mut failed = Vec::new();
    for name in &names {
        let script = load(&directory, name).expect("a script that can be read");
        let outcome = play(&script, 0).expect("the simulation itself works");
        if !outcome.failures.is_empty() {
            println!("{name}\n{}", outcome.table());
            failed.push((name, outcome.failures));
        }
    }
    assert_eq!(failed, []);
}

#[test]
fn a_script_whose_expectation_does_not_come_fails_at_its_line_and_says_what_was_seen() {
    let text = std::fs::read_to_string(directory().join("grade_guard.toml")).expect("the script");
    let script =
        hil_sim::script::read(&text.replace("reply pay A grade_mismatch", "reply pay A armed")).expect("a script");
    let outcome = play(&script, 0).expect("the simulation itself works");
    let (line, what) = outcome.failures.first().expect("it fails");
    assert_eq!(text.lines().nth(line - 1), Some("reply pay A grade_mismatch"));
    assert!(what.contains("seen at") && what.contains("grade_mismatch"), "{what}");
}

#[test]
fn a_script_stops_at_the_first_thing_that_must_not_be() {
    let text = std::fs::read_to_string(directory().join("early_hangup.toml")).expect("the script");
    let script = hil_sim::script::read(&text.replace("released without order", "pump 5 flows")).expect("a script");
    let outcome = play(&script, 0).expect("the simulation itself works");
    assert_eq!(outcome.failures.len(), 1);
    assert!(outcome.failures[0].1.contains("must not be: pump 5 flows"), "{:?}", outcome.failures);
    assert!(!outcome.table().contains("sale A hung_up: "), "it went on: {}", outcome.table());
}
