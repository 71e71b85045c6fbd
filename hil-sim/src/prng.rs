//! Chance from one seed. ChaCha8, because its stream is fixed by its definition and the same everywhere; forked per actor by
//! label, so that one more draw by one actor does not shift the others.

use core::time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// A probability in millionths: 1 000 is one in a thousand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PerMillion(pub u32);

impl PerMillion {
    /// It never happens, and no draw is spent on it.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1_000_000);
}

/// A seeded generator of one actor.
#[derive(Clone, Debug)]
pub struct Prng {
    seed: [u8; 32],
    stream: ChaCha8Rng,
}

impl Prng {
    /// The root of one run.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_seed(Sha256::digest(seed.to_le_bytes()).into())
    }

    /// The generator of an actor below this one. Depends on the seed and the label only, not on what was drawn before.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        Self::from_seed(Sha256::new_with_prefix(self.seed).chain_update(label).finalize().into())
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, stream: ChaCha8Rng::from_seed(seed) }
    }

    /// Whether something of this probability happens now.
    pub fn chance(&mut self, probability: PerMillion) -> bool {
        probability.0 > 0 && self.below(1_000_000) < u64::from(probability.0)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of a remainder is below 2^-40 for every bound used here.
        self.stream.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.stream.next_u32().to_le_bytes()[0]
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is nothing to choose from.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        assert!(!choices.is_empty(), "nothing to choose from");
        let index = self.below(choices.len() as u64);
        &choices[usize::try_from(index).unwrap_or(0)]
    }

    /// A time from `least` to `most`, to the microsecond.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let spread = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX - 1);
        least + Duration::from_micros(self.below(spread + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_does_not_depend_on_what_was_drawn_before() {
        let fresh = Prng::new(7);
        let mut used = Prng::new(7);
        used.byte();
        let (mut one, mut two) = (fresh.fork("wire"), used.fork("wire"));
        assert_eq!(one.below(u64::MAX), two.below(u64::MAX));
        let mut other = fresh.fork("customer");
        assert_ne!(one.below(u64::MAX), other.below(u64::MAX));
    }

    #[test]
    fn a_chance_comes_as_often_as_it_says() {
        let mut prng = Prng::new(1).fork("chance");
        let hits = (0..100_000).filter(|_| prng.chance(PerMillion(100_000))).count();
        assert!((9_500..10_500).contains(&hits), "{hits} of 100000 at one in ten");
        assert!(!(0..1_000).any(|_| prng.chance(PerMillion::NEVER)));
        assert!((0..1_000).all(|_| prng.chance(PerMillion::ALWAYS)));
    }

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut prng = Prng::new(42).fork("wire");
        let first: Vec<u8> = (0..4).map(|_| prng.byte()).collect();
        let mut again = Prng::new(42).fork("wire");
        assert_eq!(first, (0..4).map(|_| again.byte()).collect::<Vec<_>>());
    }
}
