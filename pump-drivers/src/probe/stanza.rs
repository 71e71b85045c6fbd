//! What was found, as a part of the configuration.

use super::cause::address_text;
use super::{Found, Report};
use crate::port::Parity;
use core::fmt::Write as _;

/// Where answers came after the usual window.
const LATE_WINDOW_MS: u32 = 400;

/// `[[line]]` with its dispensers, to be pasted into the configuration; empty if nothing was found. What nothing on the wire tells
/// (numbers painted on the pump, grades) is left as 0 and `"?"`, which the check of the configuration refuses.
#[must_use]
pub fn stanza(report: &Report, port: &str, fixed: bool) -> String {
    let Some(first) = report.found.first() else { return String::new() };
    let mut text = String::new();
    let parity = match first.setting.parity {
        Parity::None => "none",
        Parity::Odd => "odd",
        Parity::Even => "even",
    };
    // writing to a String cannot fail
    let _ = writeln!(text, "[[line]]\nname = \"line-1\"\nprotocol = \"{}\"\nport = \"{port}\"", first.protocol.word());
    if !fixed {
        let _ = writeln!(text, "baud = {}\nparity = \"{parity}\"", first.setting.baud);
    }
    let _ = writeln!(text, "echo = \"{}\"", if report.echo { "strip" } else { "none" });
    for key in &first.facts.line_keys {
        let _ = writeln!(text, "{key}");
    }
    if report.found.iter().any(|found| found.late) {
        let _ = writeln!(text, "answer-window-ms = {LATE_WINDOW_MS}");
    }
    for found in report.found.iter().filter(|found| found.protocol == first.protocol) {
        one(&mut text, found);
    }
    text
}

fn one(text: &mut String, found: &Found) {
    let address = address_text(found.protocol, found.address);
    let _ =
        writeln!(text, "\n[[line.dispenser]]\nfuelling-point = 0              # fill in: its number at the station");
    let _ = writeln!(text, "address = {address}");
    for key in &found.facts.keys {
        let _ = writeln!(text, "{key}");
    }
    let _ = writeln!(
        text,
        "decimals = {{ volume = 2, price = 2, amount = 2, totals = 2 }}  # compare with the display: the wire carries none"
    );
    for logical in 1..=found.facts.nozzles.max(1) {
        let _ = writeln!(
            text,
            "\n[[line.dispenser.nozzle]]\nnumber = 0                      # fill in: painted on the pump"
        );
        let _ = writeln!(text, "logical = {logical}");
        let total = found.facts.totals.iter().find(|total| total.nozzle == logical);
        let told = total.map(|total| format!(", its totaliser shows {}", total.digits)).unwrap_or_default();
        let _ = writeln!(text, "grade = \"?\"                     # fill in{told}");
    }
}
