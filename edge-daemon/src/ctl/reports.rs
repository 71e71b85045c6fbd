//! `edgectl report`: what was sold in a shift or on a day, as the platform was told.

use crate::ctl::{Failure, Place, exit, show};
use crate::store::Reader;
use clap::Args;
use forecourt::period::Scope;
use forecourt::units::{Currency, Money, Volume};
use serde_json::Value;
use std::io::Write;

/// Which report.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Such as 2026-11-21-A for a shift or 2026-11-21 for a day [default: the last one]
    period: Option<String>,
    /// Of a shift
    #[arg(long, conflicts_with = "day")]
    shift: bool,
    /// Of a day; also where neither is said and no period named
    #[arg(long)]
    day: bool,
    #[command(flatten)]
    place: Place,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(wanted: &Wanted, out: &mut dyn Write, bold: bool) -> Result<(), Failure> {
    let scope = match &wanted.period {
        _ if wanted.shift => Scope::Shift,
        Some(period) if !wanted.day && Scope::Shift.is_name(period) => Scope::Shift,
        _ => Scope::Day,
    };
    if let Some(period) = wanted.period.as_ref().filter(|period| !scope.is_name(period)) {
        let text = format!("\"{period}\" names no {}: 2026-11-21-A is a shift, 2026-11-21 a day", scope.word());
        return Err(Failure::new(exit::USAGE, text));
    }
    let reader = wanted.place.reader()?;
    let reports = reader.reports(scope, wanted.period.as_deref())?;
    if reports.is_empty() {
        return Err(none(&reader, scope, wanted.period.as_deref()));
    }
    for report in &reports {
        if wanted.json {
            writeln!(out, "{report}")?;
        } else {
            print(report, out, bold)?;
        }
    }
    Ok(())
}

fn none(reader: &Reader, scope: Scope, period: Option<&str>) -> Failure {
    let word = scope.word();
    let text = match reader.open_period(scope) {
        Ok(Some(open)) if period.is_none_or(|period| period == open.name) => {
            format!("the {word} {} is open until {}: its report is made then", open.name, open.end)
        }
        _ => match period {
            Some(period) => format!("no report of {word} {period} is kept here"),
            None => format!("no report of a {word} was made yet"),
        },
    };
    Failure::new(exit::NO_INPUT, text)
}

fn print(report: &Value, out: &mut dyn Write, bold: bool) -> std::io::Result<()> {
    let text = |name: &str| report.get(name).map(show::cell).unwrap_or_default();
    let currency = Currency::from_code(&text("currency")).unwrap_or(Currency::CNY);
    writeln!(out, "{} {}, {} to {}", text("scope"), text("period"), text("from"), text("to"))?;
    if report.get("part").and_then(Value::as_u64).unwrap_or(1) > 1 {
        writeln!(out, "part {}: the clock was set back into this period after it was closed", text("part"))?;
    }
    if report.get("missing_records").and_then(Value::as_u64).unwrap_or(0) > 0 {
        writeln!(out, "NOT COMPLETE: {} records were lost with a damaged store", text("missing_records"))?;
    }
    let rows = |name: &str| report.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let nozzles: Vec<Vec<String>> = rows("nozzles").iter().map(|row| nozzle(row, currency)).collect();
    writeln!(out)?;
    let headings =
        ["NOZZLE", "GRADE", "SALES", "LITRES", "AMOUNT", "TOTALISER FROM", "TO", "UNACCOUNTED", "TEST LITRES"];
    show::table(out, &headings, &nozzles, bold)?;
    let mut grades: Vec<Vec<String>> =
        rows("grades").iter().map(|row| [vec![cell(row, "grade")], sum(row, currency)].concat()).collect();
    if let Some(total) = report.get("total") {
        grades.push([vec!["all".into()], sum(total, currency)].concat());
    }
    writeln!(out)?;
    show::table(out, &["GRADE", "SALES", "LITRES", "AMOUNT"], &grades, bold)?;
    let outbox = |name: &str| report.pointer(&format!("/outbox/{name}")).map(show::cell).unwrap_or_default();
    writeln!(out, "\noutbox then: {} pending, {} set aside", outbox("pending"), outbox("set_aside"))
}

fn cell(row: &Value, name: &str) -> String {
    row.get(name).map(show::cell).unwrap_or_default()
}

fn litres(value: Option<&Value>) -> String {
    value.and_then(Value::as_i64).map_or_else(|| "-".into(), |ml| Volume::new(ml).litres())
}

fn sum(row: &Value, currency: Currency) -> Vec<String> {
    let amount = row.get("amount_minor").and_then(Value::as_i64).unwrap_or(0);
    vec![cell(row, "count"), litres(row.get("volume_ml")), Money::new(amount).major(currency)]
}

fn nozzle(row: &Value, currency: Currency) -> Vec<String> {
    let head = vec![cell(row, "nozzle"), cell(row, "grade")];
    let litres_of = |name: &str| litres(row.get(name));
    let tail = vec![
        litres_of("totaliser_start_ml"),
        litres_of("totaliser_end_ml"),
        litres_of("unaccounted_ml"),
        litres(row.pointer("/test/volume_ml")),
    ];
    [head, sum(row, currency), tail].concat()
}
