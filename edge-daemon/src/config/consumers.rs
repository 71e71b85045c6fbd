//! `[[consumers]]`: who gets records beside the platform.

use crate::config::Files;
use crate::config::read::{existing, path, url};
use crate::config::walk::{Found, Place, Report, Section};
use cloud_sync::https::HttpUrl;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the system keeps the authorities that it trusts.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Types of durable records (contract section 5).
const KINDS: [&str; 10] = [
    "fuel.sale.v1",
    "fuel.order.released.v1",
    "fuel.order.review.v1",
    "fuel.unaccounted.v1",
    "fuel.price.applied.v1",
    "fuel.alarm.v1",
    "fuel.delivery.v1",
    "fuel.report.v1",
    "fuel.audit.v1",
    "fuel.anchor.v1",
];

/// `[[consumers]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumer {
    /// Its cursor is kept under this name.
    pub name: String,
    /// How it gets records.
    pub kind: ConsumerKind,
    /// CloudEvent types that it gets.
    pub records: Vec<String>,
    /// Records that it has not taken are kept for it so many days; after that an alarm tells what it missed.
    pub keep_days: i64,
    /// A new consumer begins with the next record instead of the oldest kept.
    pub from_now: bool,
}

/// How a consumer gets records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumerKind {
    /// CloudEvents batches by POST; any 2xx takes them.
    HttpsPush {
        /// Where to.
        url: HttpUrl,
        /// Whom we trust there.
        ca_file: PathBuf,
        /// Our certificate and key, if it wants one.
        client: Option<(PathBuf, PathBuf)>,
        /// A file whose first line is a bearer token (RFC 6750).
        token_file: Option<PathBuf>,
    },
    /// A file a day, one record a line.
    JsonLines {
        /// Holds the files.
        directory: PathBuf,
    },
}

#[derive(Clone, Copy)]
enum Word {
    Push,
    Lines,
}

pub(super) fn read(sections: Vec<Section<'_, '_>>, report: &Report<'_>, files: &dyn Files) -> Option<Vec<Consumer>> {
    let mut names: BTreeMap<String, Place> = BTreeMap::new();
    let read: Vec<Option<Consumer>> =
        sections.into_iter().map(|section| consumer(section, report, files, &mut names)).collect();
    read.into_iter().collect()
}

fn consumer(
    mut section: Section<'_, '_>,
    report: &Report<'_>,
    files: &dyn Files,
    names: &mut BTreeMap<String, Place>,
) -> Option<Consumer> {
    let name = section
        .text("name")
        .check(report, "1 to 32 of a-z 0-9 -", |text| {
            let fits = (1..=32).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            if fits { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is no name")) }
        })
        .required(report, "a name such as \"erp\"");
    if let Some(name) = &name
        && let Some(first) = names.insert(name.value.clone(), name.at.clone())
    {
        let line = report.line_of(&first);
        report.error(&name.at, format!("the name \"{}\" is used in line {line} already", name.value), "each name once");
    }
    let word = section
        .word("kind", &[("https-push", Word::Push), ("json-lines", Word::Lines)])
        .required(report, "https-push or json-lines")
        .map(|found| found.value);
    let kind = word.and_then(|word| match word {
        Word::Push => push(&mut section, report, files),
        Word::Lines => {
            let directory = path(section.text("directory"), report).required(report, "a directory for the files");
            directory.map(|found| ConsumerKind::JsonLines { directory: found.value })
        }
    });
    let records = section.texts("records").optional();
    let records = records.map_or_else(|| vec![KINDS[0].to_owned()], |list| kinds(&list, report));
    let keep_days = section.integer("keep-days", 1..=400, " days").or(180);
    let from_now = section.word("start", &[("oldest", false), ("newest", true)]).or(false);
    section.finish();
    Some(Consumer { name: name?.value, kind: kind?, records, keep_days, from_now })
}

fn kinds(list: &Found<Vec<Found<&str>>>, report: &Report<'_>) -> Vec<String> {
    if list.value.is_empty() {
        report.error(&list.at, "names no record", "at least one, such as \"fuel.sale.v1\"");
    }
    for found in list.value.iter().filter(|found| !KINDS.contains(&found.value)) {
        report.error(&found.at, format!("\"{}\" is no durable record", found.value), KINDS.join(" or "));
    }
    list.value.iter().map(|found| found.value.to_owned()).collect()
}

fn push(section: &mut Section<'_, '_>, report: &Report<'_>, files: &dyn Files) -> Option<ConsumerKind> {
    let allow_plaintext = section.boolean("allow-plaintext").or(false);
    let url = url(section.text("url"), report, allow_plaintext)
        .required(report, "an address such as https://erp.example/fuel");
    let ca_file = existing(section.text("ca-file"), report, files).or(SYSTEM_CA.into());
    let cert = existing(section.text("cert-file"), report, files).optional();
    let key = existing(section.text("key-file"), report, files).optional();
    let token = existing(section.text("token-file"), report, files).optional();
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.value, key.value)),
        (Some(only), None) | (None, Some(only)) => {
            report.error(&only.at, "stands alone", "cert-file and key-file together");
            None
        }
        (None, None) => None,
    };
    if let Some(secret) = token.as_ref()
        && files.is_open_to_all(&secret.value)
    {
        report.warning(&secret.at, "any user of this machine may read the token", "mode 0640 or less: chmod o-r");
    }
    let token_file = token.map(|found| found.value);
    Some(ConsumerKind::HttpsPush { url: url?.value, ca_file, client, token_file })
}

#[cfg(test)]
#[path = "consumers_tests.rs"]
mod tests;
