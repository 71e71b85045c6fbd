//! Lists of customers and plates that the platform keeps at the station, so that they hold when it cannot be reached.
//!
//! `deny`: whoever is on it gets no fuel; with `grades`, none of those. `allow` binds those it names, as a fleet's cars: only the
//! `grades` named, at most so much a fuelling and a day. Whoever is on no list is bound by the station's limits alone.

use crate::command::{Exceeded, Outcome};
use crate::ids::{CustomerToken, Grade};
use crate::layout::Layout;
use crate::order::OrderRequest;
use crate::units::{Money, Volume};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that one list may have.
pub const MOST_ENTRIES: usize = 50_000;

/// A list by its purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListName {
    /// No fuel.
    Deny,
    /// Fuel by rule.
    Allow,
}

impl ListName {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Deny, Self::Allow];

    /// The word in commands and states.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// Whom an entry is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The order's `customer`.
    Customer(CustomerToken),
    /// The order's `plate_masked`, letter for letter.
    Plate(String),
}

/// What is said of a subject.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListRule {
    /// Only these grades; empty for all.
    #[serde(default)]
    pub grades: BTreeSet<Grade>,
    /// Most volume of one order.
    #[serde(rename = "max_volume_ml", default, skip_serializing_if = "Option::is_none")]
    pub max_volume: Option<Volume>,
    /// Most money a business day.
    #[serde(rename = "day_amount_minor", default, skip_serializing_if = "Option::is_none")]
    pub day_amount: Option<Money>,
}

/// Version of a list: counts up with each update.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ListVersion(pub u64);

/// How an update relates to what stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListKind {
    /// The whole list.
    Full,
    /// What changes against this version.
    Diff(ListVersion),
}

/// `fuel.list.update.v1`; also what is stored of it, in one commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListUpdate {
    /// Which list.
    pub list: ListName,
    /// Its version from then on.
    pub version: ListVersion,
    /// Whole or in part.
    pub kind: ListKind,
    /// Entries to set, in place of earlier ones of the same subject.
    pub put: BTreeMap<Subject, ListRule>,
    /// Subjects to take off.
    pub remove: BTreeSet<Subject>,
}

/// One list as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// 0 before the first update.
    pub version: ListVersion,
    /// By subject.
    pub entries: BTreeMap<Subject, ListRule>,
}

impl List {
    /// Whether it is already as an update would leave it.
    fn has_taken(&self, update: &ListUpdate) -> bool {
        let stands = |(subject, rule): (&Subject, &ListRule)| self.entries.get(subject) == Some(rule);
        match update.kind {
            ListKind::Full => self.entries == update.put,
            ListKind::Diff(_) => {
                update.put.iter().all(stands) && !update.remove.iter().any(|gone| self.entries.contains_key(gone))
            }
        }
    }
}

/// All lists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lists {
    lists: BTreeMap<ListName, List>,
}

/// What came of an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Updated {
    /// It stands and must be stored.
    Changed,
    /// It stood already.
    Known,
    /// It does not follow what stands, or says something else under the version that does; that version.
    Gap(ListVersion),
    /// It would become too long.
    TooLong,
}

impl Lists {
    /// What earlier runs left.
    #[must_use]
    pub const fn recall(lists: BTreeMap<ListName, List>) -> Self {
        Self { lists }
    }

    /// The lists as they stand.
    #[must_use]
    pub fn into_inner(self) -> BTreeMap<ListName, List> {
        self.lists
    }

    /// Versions by the list's word.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<&'static str, ListVersion> {
        self.lists.iter().map(|(name, list)| (name.word(), list.version)).collect()
    }

    /// Takes an update, whole or not at all. A full list never goes back to an older version.
    pub fn update(&mut self, update: &ListUpdate) -> Updated {
        let list = self.lists.entry(update.list).or_default();
        let (version, next) = (list.version, update.version);
        let follows = match update.kind {
            ListKind::Full => next > version,
            ListKind::Diff(base) => base == version && next > base,
        };
        if next == version && version != ListVersion::default() {
            return if list.has_taken(update) { Updated::Known } else { Updated::Gap(version) };
        }
        if !follows {
            return Updated::Gap(version);
        }
        let mut entries = match update.kind {
            ListKind::Full => BTreeMap::new(),
            ListKind::Diff(_) => list.entries.clone(),
        };
        entries.retain(|subject, _| !update.remove.contains(subject));
        entries.extend(update.put.clone());
        if entries.len() > MOST_ENTRIES {
            return Updated::TooLong;
        }
        *list = List { version: next, entries };
        Updated::Changed
    }

    /// Forgets what names a customer (`fuel.privacy.erase.v1`). Returns how many entries did; the stored rows go separately.
    pub fn forget(&mut self, customer: &CustomerToken) -> usize {
        let subject = Subject::Customer(customer.clone());
        self.lists.values_mut().filter_map(|list| list.entries.remove(&subject)).count()
    }

    fn rules<'a>(&'a self, list: ListName, request: &OrderRequest) -> impl Iterator<Item = &'a ListRule> {
        let customer = request.customer.clone().map(Subject::Customer);
        let plate = request.plate_masked.clone().map(Subject::Plate);
        let entries = self.lists.get(&list).map(|list| &list.entries);
        [customer, plate].into_iter().flatten().filter_map(move |subject| entries?.get(&subject))
    }

    /// Why an order is refused by a list; `most` is the most that it lets flow.
    #[must_use]
    pub fn refuses(&self, request: &OrderRequest, most: Volume, layout: &Layout) -> Option<Outcome> {
        let denied = |rule: &ListRule| rule.grades.is_empty() || rule.grades.contains(&request.grade);
        if self.rules(ListName::Deny, request).any(denied) {
            return Some(Outcome::LimitExceeded { limit: Exceeded::List });
        }
        for rule in self.rules(ListName::Allow, request) {
            if !rule.grades.is_empty() && !rule.grades.contains(&request.grade) {
                let suggested_nozzles = rule.grades.iter().flat_map(|grade| layout.nozzles_with(grade)).collect();
                return Some(Outcome::GradeMismatch { suggested_nozzles });
            }
            if rule.max_volume.is_some_and(|largest| most > largest) {
                return Some(Outcome::LimitExceeded { limit: Exceeded::List });
            }
        }
        None
    }

    /// The least that a list allows a customer in a day, where it says so.
    #[must_use]
    pub fn day_amount(&self, request: &OrderRequest) -> Option<Money> {
        self.rules(ListName::Allow, request).filter_map(|rule| rule.day_amount).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(text: &str) -> Subject {
        Subject::Customer(CustomerToken::new(text).unwrap())
    }

    fn update(version: u64, kind: ListKind, put: &[&str], remove: &[&str]) -> ListUpdate {
        ListUpdate {
            list: ListName::Deny,
            version: ListVersion(version),
            kind,
            put: put.iter().map(|text| (customer(text), ListRule::default())).collect(),
            remove: remove.iter().map(|text| customer(text)).collect(),
        }
    }

    fn names(lists: &Lists) -> Vec<Subject> {
        lists.lists[&ListName::Deny].entries.keys().cloned().collect()
    }

    #[test]
    fn a_diff_counts_only_on_the_version_it_was_made_for() {
        let mut lists = Lists::default();
        let diff = |base, version, put: &[&str], remove: &[&str]| {
            update(version, ListKind::Diff(ListVersion(base)), put, remove)
        };
        assert_eq!(lists.update(&diff(4, 5, &["a"], &[])), Updated::Gap(ListVersion(0)));
        assert_eq!(lists.update(&update(5, ListKind::Full, &["a", "b"], &[])), Updated::Changed);
        assert_eq!(lists.update(&diff(4, 6, &["c"], &[])), Updated::Gap(ListVersion(5)));
        assert_eq!(lists.update(&diff(5, 6, &["c"], &["a"])), Updated::Changed);
        assert_eq!(names(&lists), [customer("b"), customer("c")]);
        assert_eq!(lists.update(&diff(5, 6, &["c"], &["a"])), Updated::Known, "the same again");
        assert_eq!(lists.versions(), [("deny", ListVersion(6))].into());
    }

    #[test]
    fn a_full_list_replaces_and_never_goes_back() {
        let mut lists = Lists::default();
        assert_eq!(lists.update(&update(2, ListKind::Full, &["a"], &[])), Updated::Changed);
        assert_eq!(lists.update(&update(1, ListKind::Full, &["b"], &[])), Updated::Gap(ListVersion(2)));
        assert_eq!(lists.update(&update(9, ListKind::Full, &["b"], &[])), Updated::Changed);
        assert_eq!(names(&lists), [customer("b")]);
    }

    #[test]
    fn another_list_under_the_version_that_stands_is_never_taken_for_it() {
        let mut lists = Lists::default();
        assert_eq!(lists.update(&update(3, ListKind::Full, &["a"], &[])), Updated::Changed);
        assert_eq!(lists.update(&update(3, ListKind::Full, &["a"], &[])), Updated::Known);
        assert_eq!(lists.update(&update(3, ListKind::Full, &["a", "b"], &[])), Updated::Gap(ListVersion(3)));
        let base = ListKind::Diff(ListVersion(2));
        assert_eq!(lists.update(&update(3, base, &["b"], &[])), Updated::Gap(ListVersion(3)));
        assert_eq!(lists.update(&update(3, base, &[], &["a"])), Updated::Gap(ListVersion(3)));
        assert_eq!(lists.update(&update(3, base, &["a"], &["z"])), Updated::Known);
        assert_eq!(names(&lists), [customer("a")]);
    }

    #[test]
    fn a_customer_is_forgotten() {
        let mut lists = Lists::default();
        lists.update(&update(1, ListKind::Full, &["a", "b"], &[]));
        assert_eq!(lists.forget(&CustomerToken::new("a").unwrap()), 1);
        assert_eq!(names(&lists), [customer("b")]);
    }
}
