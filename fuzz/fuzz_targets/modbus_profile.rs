//! Any text as a profile of a register map: it is a good one, or each problem stands in a line of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pump_drivers::modbus::profile::{Kind, Profile, Role};

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count().max(1);
    match Profile::parse(text) {
        Ok(profile) => {
            assert_eq!(Profile::parse(text).as_ref(), Ok(&profile), "the same text is the same profile");
            assert!(profile.kind != Kind::Dispenser || profile.has(Role::State), "what is released tells its state");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(!problem.what.is_empty() && !problem.to_string().contains('\n'), "{problem:?}");
                assert!((1..=lines).contains(&usize::try_from(problem.line).expect("a line")), "no such line: {problem:?}");
                assert!(problem.column >= 1);
            }
        }
    }
});
