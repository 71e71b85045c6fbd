//! Reading the members of a command's `data`, each fault with its JSON pointer.

use forecourt::ids::{BadId, NozzleId};
use forecourt::time::UtcTime;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The content is not as the contract describes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at} {why}")]
pub struct BadContent {
    /// JSON pointer into the payload.
    pub at: String,
    /// What it must be.
    pub why: String,
}

/// Highest site-wide nozzle number.
const LAST_NOZZLE: i64 = 999;

/// The id of a record, in the one form in which it is sent: hexadecimal in five groups.
pub(super) fn record_id(text: &str) -> Option<Uuid> {
    const LENGTH: usize = 36;
    Uuid::try_parse(text).ok().filter(|_| text.len() == LENGTH)
}

/// The members of one JSON object.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    object: &'a Map<String, Value>,
    at: &'static str,
}

impl<'a> Members<'a> {
    pub(super) const fn new(object: &'a Map<String, Value>, at: &'static str) -> Self {
        Self { object, at }
    }

    /// A fault of one member.
    pub(super) fn bad(&self, name: &str, why: impl Into<String>) -> BadContent {
        BadContent { at: format!("{}/{name}", self.at), why: why.into() }
    }

    /// A member that may be absent; `null` says the same.
    pub(super) fn find(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn require(&self, name: &str) -> Result<&'a Value, BadContent> {
        self.find(name).ok_or_else(|| self.bad(name, "is missing"))
    }

    pub(super) fn object(&self, name: &str) -> Result<&'a Map<String, Value>, BadContent> {
        self.require(name)?.as_object().ok_or_else(|| self.bad(name, "must be an object"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, BadContent> {
        self.require(name)?.as_str().ok_or_else(|| self.bad(name, "must be a string"))
    }

    /// A text for people: 1 to `longest` characters, none of them a control.
    pub(super) fn words(&self, name: &str, longest: usize) -> Result<&'a str, BadContent> {
        let text = self.text(name)?;
        let fits = (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if fits {
            Ok(text)
        } else {
            Err(self.bad(name, format!("must have 1 to {longest} characters and no controls")))
        }
    }

    pub(super) fn id<T>(&self, name: &str, new: impl Fn(&'a str) -> Result<T, BadId>) -> Result<T, BadContent> {
        new(self.text(name)?).map_err(|rule| self.bad(name, rule.to_string()))
    }

    pub(super) fn time(&self, name: &str) -> Result<UtcTime, BadContent> {
        UtcTime::parse(self.text(name)?).map_err(|_| self.bad(name, "must be an RFC 3339 time"))
    }

    pub(super) fn uuid(&self, name: &str) -> Result<Uuid, BadContent> {
        record_id(self.text(name)?).ok_or_else(|| self.bad(name, "must be the id of a record"))
    }

    pub(super) fn integer(&self, name: &str, least: i64, most: i64) -> Result<i64, BadContent> {
        let value = self.require(name)?.as_i64().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| self.bad(name, format!("must be an integer from {least} to {most}")))
    }

    /// One nozzle, 1 to 999.
    pub(super) fn nozzle(&self, name: &str) -> Result<NozzleId, BadContent> {
        self.nozzle_from(name, 1)
    }

    /// One nozzle, or 0 for all.
    pub(super) fn nozzle_or_all(&self, name: &str) -> Result<Option<NozzleId>, BadContent> {
        self.nozzle_from(name, 0).map(|nozzle| Some(nozzle).filter(|nozzle| nozzle.0 != 0))
    }

    fn nozzle_from(&self, name: &str, least: i64) -> Result<NozzleId, BadContent> {
        let number = self.integer(name, least, LAST_NOZZLE)?;
        u16::try_from(number).map(NozzleId).map_err(|_| self.bad(name, "is no nozzle number"))
    }
}
