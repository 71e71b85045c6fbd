//! Verifies a station's hash chain as its records come, in any order and any number of times.

use super::envelope::Link;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// What a record turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Not seen before.
    New,
    /// The same bytes again.
    Repeat,
    /// Breaks the chain; why, in words.
    Broken(String),
}

/// All links seen of one station.
#[derive(Default, Debug)]
pub struct Chain {
    links: BTreeMap<u64, (Link, Uuid)>,
    by_id: BTreeMap<Uuid, u64>,
    through: u64,
}

impl Chain {
    /// Takes one record's link. A broken one is not kept.
    pub fn take(&mut self, link: &Link, id: Uuid) -> Arrival {
        let sequence = link.sequence;
        if sequence == 0 {
            return Arrival::Broken("sequence 0: the first record has 1".into());
        }
        if let Some((known, known_id)) = self.links.get(&sequence) {
            if known == link && *known_id == id {
                return Arrival::Repeat;
            }
            return Arrival::Broken(format!(
                "sequence {sequence} came with two contents: {} and {}",
                known.hash, link.hash
            ));
        }
        if let Some(other) = self.by_id.get(&id) {
            return Arrival::Broken(format!("event {id} stands at sequence {other} and {sequence}"));
        }
        let before = match sequence {
            1 => Some("0".repeat(64)),
            _ => self.links.get(&(sequence - 1)).map(|(link, _)| link.hash.clone()),
        };
        if let Some(before) = before
            && before != link.prevhash
        {
            return Arrival::Broken(format!(
                "prevhash of sequence {sequence} is {}, the record before has {before}",
                link.prevhash
            ));
        }
        if let Some((after, _)) = self.links.get(&(sequence + 1))
            && after.prevhash != link.hash
        {
            return Arrival::Broken(format!(
                "sequence {} names {} as the hash before it, which is {}",
                sequence + 1,
                after.prevhash,
                link.hash
            ));
        }
        self.links.insert(sequence, (link.clone(), id));
        self.by_id.insert(id, sequence);
        while self.links.contains_key(&(self.through + 1)) {
            self.through += 1;
        }
        Arrival::New
    }

    /// The hash of the record at a sequence, if it was seen.
    #[must_use]
    pub fn hash_at(&self, sequence: u64) -> Option<&str> {
        self.links.get(&sequence).map(|(link, _)| link.hash.as_str())
    }

    /// The event at a sequence, if it was seen.
    #[must_use]
    pub fn id_at(&self, sequence: u64) -> Option<Uuid> {
        self.links.get(&sequence).map(|(_, id)| *id)
    }

    /// Records seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The highest sequence up to which none is missing; 0 for none.
    #[must_use]
    pub fn contiguous_through(&self) -> u64 {
        self.through
    }

    /// The highest sequence seen; 0 for none.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.links.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }

    /// Sequences missing below the highest one.
    #[must_use]
    pub fn gaps(&self) -> Vec<RangeInclusive<u64>> {
        let mut gaps = Vec::new();
        let mut next = 1;
        for sequence in self.links.keys() {
            if *sequence > next {
                gaps.push(next..=sequence - 1);
            }
            next = sequence + 1;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(sequence: u64, prevhash: &str) -> Link {
        let prevhash = if sequence == 1 { "0".repeat(64) } else { prevhash.to_owned() };
        Link { sequence, prevhash, hash: format!("h{sequence}") }
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn records_may_come_in_any_order_and_again() {
        let mut chain = Chain::default();
        assert_eq!(chain.take(&link(3, "h2"), id(3)), Arrival::New);
        assert_eq!(chain.take(&link(1, ""), id(1)), Arrival::New);
        assert_eq!((chain.contiguous_through(), chain.gaps()), (1, vec![2..=2]));
        assert_eq!(chain.take(&link(2, "h1"), id(2)), Arrival::New);
        assert_eq!(chain.take(&link(2, "h1"), id(2)), Arrival::Repeat);
        assert_eq!((chain.contiguous_through(), chain.gaps()), (3, vec![]));
    }

    #[test]
    fn a_link_that_does_not_fit_its_neighbours_is_broken() {
        let broken = |chain: &mut Chain, link: &Link, id: Uuid| matches!(chain.take(link, id), Arrival::Broken(_));
        let mut chain = Chain::default();
        assert!(broken(&mut chain, &link(0, ""), id(9)), "sequence 0");
        assert_eq!(chain.take(&link(3, "h2"), id(3)), Arrival::New);
        assert!(broken(&mut chain, &link(4, "other"), id(4)), "wrong hash before");
        assert!(broken(&mut chain, &Link { hash: "other".into(), ..link(2, "h1") }, id(2)), "wrong hash after");
        assert!(broken(&mut chain, &Link { hash: "other".into(), ..link(3, "h2") }, id(3)), "two contents");
        assert!(broken(&mut chain, &link(5, "h4"), id(3)), "one id at two places");
        assert!(broken(&mut chain, &Link { prevhash: "1".repeat(64), ..link(1, "") }, id(1)), "first not on zeros");
    }
}
