//! The station's papers: its shift and day reports against the sales that came, and its anchors against the chain.

use super::Chain;
use super::desk::HeardSale;
use reference_platform::contract::message::{AnchorData, ReportData};
use std::collections::{BTreeMap, BTreeSet};

/// All reports and anchors heard, by the sequence of their record.
#[derive(Default, Debug)]
pub struct Papers {
    reports: BTreeMap<u64, ReportData>,
    anchors: BTreeMap<u64, AnchorData>,
}

impl Papers {
    pub(super) fn take_report(&mut self, sequence: u64, report: ReportData) {
        self.reports.insert(sequence, report);
    }

    pub(super) fn take_anchor(&mut self, sequence: u64, anchor: AnchorData) {
        self.anchors.insert(sequence, anchor);
    }

    /// What does not agree, once all records are here.
    pub(super) fn differences(&self, sales: &BTreeMap<u64, HeardSale>, chain: &Chain) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut named = BTreeSet::new();
        let mut through: BTreeMap<&str, u64> = BTreeMap::new();
        for (sequence, report) in &self.reports {
            let name = format!("report of {} {} part {}", report.scope, report.period, report.part);
            if !named.insert(name.clone()) {
                wrong.push(format!("record {sequence}: a second {name}"));
            }
            let before = through.insert(&report.scope, report.through_sequence.parse().unwrap_or(u64::MAX));
            wrong.extend(compare(&name, report, before, sales));
        }
        for (sequence, anchor) in &self.anchors {
            let known = anchor.through_sequence.parse().ok().and_then(|through| chain.hash_at(through));
            if known.is_some_and(|hash| hash != anchor.hash) {
                wrong.push(format!("record {sequence}: the anchor of {} is not in the chain", anchor.through_sequence));
            }
        }
        wrong
    }
}

/// One report against the sales that it covers; `before` is where the last one of its kind ended.
fn compare(name: &str, report: &ReportData, before: Option<u64>, sales: &BTreeMap<u64, HeardSale>) -> Vec<String> {
    let mut wrong = Vec::new();
    let range = report.after_sequence.parse::<u64>().ok().zip(report.through_sequence.parse::<u64>().ok());
    let Some((after, through)) = range.filter(|(after, through)| after <= through) else {
        return vec![format!("{name}: covers {} to {}", report.after_sequence, report.through_sequence)];
    };
    // Its own record stands between.
    if before.is_some_and(|before| after < before) {
        wrong.push(format!("{name}: begins after {after}, in the one before it"));
    }
    if let Some(unreported) = before.and_then(|before| sales.range(before + 1..=after.max(before + 1)).next())
        && *unreported.0 <= after
    {
        wrong.push(format!("{name}: the sale of record {} is in no report", unreported.0));
    }
    if report.missing_records > 0 {
        return wrong;
    }
    let mut sum = (0_u64, 0_i64, 0_i64);
    for (sequence, sale) in
        sales.range(after + 1..=through.max(after + 1)).filter(|(sequence, _)| **sequence <= through)
    {
        if sale.data.basis != "test" {
            sum = (sum.0 + 1, sum.1 + sale.data.volume_ml.get(), sum.2 + sale.data.amount_minor.get());
        }
        if report.scope == "shift" && sale.data.shift.as_deref() != Some(&report.period) {
            wrong.push(format!("{name}: record {sequence} names shift {:?}", sale.data.shift));
        }
    }
    let total = &report.total;
    if (total.count, total.volume_ml.get(), total.amount_minor.get()) != sum {
        wrong.push(format!("{name}: says {total:?}, the sales make {sum:?}"));
    }
    let nozzles = report
        .nozzles
        .iter()
        .fold((0, 0, 0), |sum, row| (sum.0 + row.count, sum.1 + row.volume_ml.get(), sum.2 + row.amount_minor.get()));
    if nozzles != sum {
        wrong.push(format!("{name}: its nozzles make {nozzles:?}, the sales {sum:?}"));
    }
    wrong
}
