//! Commands of contract section 7 that concern the station's papers: configuration, reports, keys, and what is known of a customer.

use crate::wire::content::{BadContent, Members};
use crate::wire::envelope::canonical;
use crate::wire::strict;
use forecourt::errand::{ConfigSet, Errand};
use forecourt::ids::CustomerToken;
use forecourt::period::Scope;
use serde_json::Value;

/// Most bytes of a key's name, as in a key file.
const KID_BYTES: usize = 128;

/// `fuel.config.set.v1`. Whether the document fits the station is for the station to say, with every problem at once.
pub(super) fn config(data: Members<'_>) -> Result<Errand, BadContent> {
    let version = data.integer("version", 1, strict::INTEGER_LIMIT - 1)?;
    let hash = data.text("hash")?;
    if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(data.bad("hash", "must be the SHA-256 of the document's RFC 8785 form, 64 lower-case hex digits"));
    }
    let document = canonical(&Value::Object(data.object("document")?.clone()));
    let document = String::from_utf8(document).map_err(|_| data.bad("document", "must be UTF-8"))?;
    let version = u64::try_from(version).map_err(|_| data.bad("version", "must be positive"))?;
    Ok(Errand::Config(Box::new(ConfigSet { version, hash: hash.to_owned(), document })))
}

/// `fuel.report.request.v1`: which kind, and the name of the period.
pub(super) fn report(data: Members<'_>) -> Result<(Scope, String), BadContent> {
    let scope = Scope::from_word(data.text("scope")?).ok_or_else(|| data.bad("scope", "must be shift or day"))?;
    let period = data.text("period")?;
    if !scope.is_name(period) {
        let example = if scope == Scope::Shift { "2026-11-21-A" } else { "2026-11-21" };
        return Err(data.bad("period", format!("must be the name of a {}, such as {example}", scope.word())));
    }
    Ok((scope, period.to_owned()))
}

/// `fuel.credentials.revoke.v1`, signed with another key than it names.
pub(super) fn revoke(data: Members<'_>, signed_by: &str) -> Result<Errand, BadContent> {
    let kid = data.text("kid")?;
    if kid.is_empty() || kid.len() > KID_BYTES {
        return Err(data.bad("kid", format!("must have 1 to {KID_BYTES} bytes")));
    }
    Ok(Errand::Revoke { kid: kid.to_owned(), signed_by: signed_by.to_owned() })
}

/// `fuel.privacy.erase.v1`.
pub(super) fn erase(data: Members<'_>) -> Result<Errand, BadContent> {
    Ok(Errand::Erase { customer: data.id("customer", CustomerToken::new)? })
}
