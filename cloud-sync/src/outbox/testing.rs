//! The outbox's store in memory, for tests and simulation.

use crate::outbox::store::{Ack, Counts, OutboxStore, Refused, ReportPlace, Row, StoreFault};
use crate::wire::reply::Remembered;
use forecourt::ids::CommandId;
use forecourt::period::Scope;
use forecourt::time::UtcTime;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Rows and answers in memory, with the meaning that the trait gives them.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: BTreeMap<u64, Row>,
    refusals: BTreeMap<u64, u32>,
    set_aside: BTreeSet<u64>,
    answers: BTreeMap<CommandId, Remembered>,
    /// Where reports stand.
    pub reports: BTreeMap<(Scope, String), ReportPlace>,
    /// While set, every ask fails.
    pub broken: bool,
}

impl MemoryStore {
    /// Adds a pending row; its sequence must be new.
    pub fn append(&mut self, row: Row) {
        self.rows.insert(row.sequence, row);
    }

    /// Remembers an answer of the site, as the daemon's own commit does.
    pub fn answered(&mut self, id: CommandId, answer: Remembered) {
        self.answers.entry(id).or_insert(answer);
    }

    /// Sequences pending.
    #[must_use]
    pub fn pending_sequences(&self) -> Vec<u64> {
        self.rows.values().filter(|row| !row.settled).map(|row| row.sequence).collect()
    }

    fn check(&self, what: &'static str) -> Result<(), StoreFault> {
        if self.broken { Err(StoreFault::Unavailable { what, why: "broken by the test".into() }) } else { Ok(()) }
    }

    fn kept(&self, from: u64, to: u64) -> impl Iterator<Item = &Row> {
        // A range that ends before it begins holds nothing; the map would panic.
        self.rows.range(from..=to.max(from)).map(|(_, row)| row).filter(move |row| row.sequence <= to)
    }
}

impl OutboxStore for MemoryStore {
    fn pending(&self, priority: u8, after: u64, limit: usize) -> Result<Vec<Row>, StoreFault> {
        self.check("read rows")?;
        let wanted = self.kept(after + 1, u64::MAX).filter(|row| !row.settled && row.priority == priority);
        Ok(wanted.take(limit).cloned().collect())
    }

    fn rows(&self, sequences: &[u64]) -> Result<Vec<Row>, StoreFault> {
        self.check("read rows")?;
        let mut rows: Vec<Row> = sequences.iter().filter_map(|sequence| self.rows.get(sequence)).cloned().collect();
        rows.sort_by_key(|row| row.sequence);
        Ok(rows)
    }

    fn range(&self, from: u64, to: u64, limit: usize) -> Result<Vec<Row>, StoreFault> {
        self.check("read rows")?;
        Ok(self.kept(from, to).take(limit).cloned().collect())
    }

    fn count_range(&self, from: u64, to: u64) -> Result<u64, StoreFault> {
        self.check("count rows")?;
        Ok(u64::try_from(self.kept(from, to).count()).unwrap_or(u64::MAX))
    }

    fn report(&self, scope: Scope, period: &str) -> Result<ReportPlace, StoreFault> {
        self.check("look up a report")?;
        Ok(self.reports.get(&(scope, period.to_owned())).cloned().unwrap_or(ReportPlace::Unknown))
    }

    fn counts(&self) -> Result<Counts, StoreFault> {
        self.check("count rows")?;
        let length = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Counts {
            pending: length(self.pending_sequences().len()),
            oldest_at: None,
            set_aside: length(self.set_aside.len()),
        })
    }

    fn acknowledge(&mut self, acks: &[Ack]) -> Result<u64, StoreFault> {
        self.check("acknowledge rows")?;
        let mut newly = 0;
        let mut through = 0;
        let mut named: BTreeSet<Uuid> = BTreeSet::new();
        for ack in acks {
            match ack {
                Ack::Through(last) => through = through.max(*last),
                Ack::Ids(ids) => named.extend(ids),
            }
        }
        for row in self.rows.values_mut() {
            if (row.sequence <= through || named.contains(&row.id))
                && (!row.settled || self.set_aside.remove(&row.sequence))
            {
                row.settled = true;
                newly += 1;
            }
        }
        Ok(newly)
    }

    fn refuse(&mut self, id: Uuid, _reason: &str) -> Result<Option<Refused>, StoreFault> {
        self.check("count a refusal")?;
        let Some(row) = self.rows.values().find(|row| row.id == id && !row.settled) else { return Ok(None) };
        let count = self.refusals.entry(row.sequence).or_default();
        *count += 1;
        Ok(Some(Refused { sequence: row.sequence, count: *count }))
    }

    fn set_aside(&mut self, sequence: u64) -> Result<(), StoreFault> {
        self.check("set a row aside")?;
        if let Some(row) = self.rows.get_mut(&sequence).filter(|row| !row.settled) {
            row.settled = true;
            self.set_aside.insert(sequence);
        }
        Ok(())
    }

    fn recall(&self, id: &CommandId) -> Result<Option<Remembered>, StoreFault> {
        self.check("recall an answer")?;
        Ok(self.answers.get(id).cloned())
    }

    fn remember(&mut self, id: &CommandId, answer: &Remembered, _at: UtcTime) -> Result<(), StoreFault> {
        self.check("remember an answer")?;
        self.answers.entry(id.clone()).or_insert_with(|| answer.clone());
        Ok(())
    }
}
