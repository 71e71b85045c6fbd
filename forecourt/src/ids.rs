//! Identities as newtypes, and the maker of UUIDs.

use crate::time::UtcTime;
use core::fmt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

number!(
    /// The site-wide nozzle number painted on the pump (枪号), 1 to 999; not a bus address.
    NozzleId(u16)
);
number!(
    /// A fuelling point: where one customer at a time can fuel.
    FuellingPointId(u16)
);
number!(
    /// One release of a fuelling point. Counts up for the life of a station and is never used twice.
    ReleaseId(u64)
);

/// The text breaks the rule of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {longest} characters of {allowed}")]
pub struct BadId {
    what: &'static str,
    longest: usize,
    allowed: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $longest:literal, $allowed:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Checks the rule: 1 to ", stringify!($longest), " characters of ", $allowed, ".")]
            ///
            /// # Errors
            /// [`BadId`] where the text breaks it.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                let rule: fn(char) -> bool = $rule;
                if text.is_empty() || text.len() > $longest || !text.chars().all(rule) {
                    return Err(BadId { what: $what, longest: $longest, allowed: $allowed });
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

const TOKEN: fn(char) -> bool = |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');

text_id!(
    /// The cloud's name of an order (contract section 4).
    OrderId, "an order id", 64, "A-Z a-z 0-9 . _ : -", TOKEN
);
text_id!(
    /// The id of a command: its CloudEvent `id`.
    CommandId, "a command id", 64, "A-Z a-z 0-9 . _ : -", TOKEN
);
text_id!(
    /// An opaque token for a customer; never a name or a phone number.
    CustomerToken, "a customer token", 64, "A-Z a-z 0-9 . _ : -", TOKEN
);
text_id!(
    /// The station, as its MQTT client id and topic level.
    StationId, "a station id", 64, "A-Z a-z 0-9 _ -", |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);
text_id!(
    /// What the customer buys, such as `92`, `95`, `diesel`.
    Grade, "a grade", 16, "A-Z a-z 0-9 . _ + # -", |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '#' | '-')
);
text_id!(
    /// A set of prices put into force together.
    PriceSetId, "a price set id", 64, "A-Z a-z 0-9 . _ : -", TOKEN
);

/// Makes UUIDv7 (RFC 9562) from a time it is given and its own seeded generator, so that one seed replays a day.
///
/// The 74 random bits alone keep ids apart: a clock that jumps back never makes an id twice. A clone makes the same ids again: it is
/// for checks that branch off a whole core, never for a second maker; see [`Self::fork`].
#[derive(Debug, Clone)]
pub struct UuidMaker {
    random: ChaCha8Rng,
}

impl UuidMaker {
    /// A maker for one run of the daemon. The seed must be fresh at each start.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { random: ChaCha8Rng::from_seed(seed) }
    }

    /// A seed for another maker whose ids never meet those of this one.
    pub fn fork(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }

    /// The next id. Times before 1970 count as 1970.
    pub fn make(&mut self, at: UtcTime) -> Uuid {
        let mut noise = [0; 10];
        self.random.fill_bytes(&mut noise);
        let millis = u64::try_from(at.unix_ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &noise).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_outside_the_contract_is_refused() {
        for bad in ["", "a b", "größe", "x/y", &"x".repeat(65)] {
            assert!(OrderId::new(bad).is_err(), "{bad:?}");
        }
        assert!(OrderId::new("20261121-000042").is_ok());
    }

    #[test]
    fn a_maker_repeats_its_ids_for_the_same_seed_and_never_within_one() {
        let at = UtcTime::from_unix_ms(1_795_250_000_000);
        let mut one = UuidMaker::new([7; 32]);
        let mut two = UuidMaker::new([7; 32]);
        let first = one.make(at);
        assert_eq!(first, two.make(at));
        assert_ne!(first, one.make(at));
        assert_eq!(first.get_version_num(), 7);
    }
}
