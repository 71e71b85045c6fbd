//! Any text as a station's configuration.
#![no_main]

use edge_daemon::config::{Config, NoFiles, Severity, parse};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count().max(1);
    let problems = match parse(text, &NoFiles) {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning), "{warnings:?}");
            good(&config);
            warnings
        }
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "refused without a reason");
            problems
        }
    };
    for problem in &problems {
        assert!(!problem.what.is_empty() && !problem.to_string().contains('\n'), "{problem:?}");
        assert!((1..=lines).contains(&usize::try_from(problem.line).expect("a line")), "no such line: {problem:?}");
        assert!(problem.column >= 1);
    }
});

/// What a configuration that is used always holds.
fn good(config: &Config) {
    assert!(!config.grades.is_empty() && !config.lines.is_empty());
    let dispensers = || config.lines.iter().flat_map(|line| &line.dispensers);
    let mut points = BTreeSet::new();
    assert!(dispensers().all(|dispenser| points.insert(dispenser.fuelling_point)), "a fuelling point twice");
    let mut nozzles = BTreeSet::new();
    for nozzle in dispensers().flat_map(|dispenser| &dispenser.nozzles) {
        assert!(nozzles.insert(nozzle.number), "a nozzle twice");
        assert!(config.grades.iter().any(|grade| grade.code == nozzle.grade), "a grade that is not sold");
    }
}
