//! `[reports]`, `[voucher]` and `[control]`: shifts and days, typed-in vouchers, and the door for people at the station.

use crate::config::Files;
use crate::config::read::{existing, path};
use crate::config::walk::{Field, Report, Section};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forecourt::period::{BadPlan, Plan};
use forecourt::voucher::VoucherKey;
use std::path::{Path, PathBuf};

/// Its name beside `observe.sock`, unless said otherwise.
const SOCKET_NAME: &str = "control.sock";
/// The group whose members may act.
const DEFAULT_GROUP: &str = "forecourt-control";
/// The one shift of a day, and the day itself, begin at local midnight.
const MIDNIGHT: &str = "00:00";

/// `[voucher]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voucher {
    /// Holds the key, 32 bytes in base64url.
    pub key_file: PathBuf,
    /// The key.
    pub key: VoucherKey,
}

/// `[control]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// Unix socket that takes one JSON line and answers with one.
    pub socket: PathBuf,
    /// Who may use it beside the daemon's own user.
    pub group: String,
}

pub(super) fn zone(name: &str) -> Result<String, BadPlan> {
    Plan::in_zone(name).map(|_| name.to_owned())
}

/// Local time of the station.
pub(super) fn base(zone: Option<&str>, offset_minutes: i32) -> Plan {
    // The name was checked where it stands.
    zone.and_then(|name| Plan::in_zone(name).ok()).unwrap_or_else(|| Plan::fixed(offset_minutes))
}

pub(super) fn reports(mut section: Section<'_, '_>, report: &Report<'_>, base: Option<Plan>) -> Option<Plan> {
    let shifts = section.texts("shifts");
    let day = section.text("day-start");
    let place = match (&shifts, &day) {
        (Field::Found(found), _) => found.at.clone(),
        (_, Field::Found(found)) => found.at.clone(),
        _ => section.at.clone(),
    };
    let shifts: Vec<&str> = match shifts.optional() {
        Some(found) => found.value.into_iter().map(|found| found.value).collect(),
        None => vec![MIDNIGHT],
    };
    let day = day.or(MIDNIGHT);
    section.finish();
    match base?.with_times(&shifts, day) {
        Ok(plan) => Some(plan),
        Err(why) => {
            report.error(&place, why.to_string(), "times such as [\"06:00\", \"14:00\", \"22:00\"]");
            None
        }
    }
}

pub(super) fn voucher(mut section: Section<'_, '_>, report: &Report<'_>, files: &dyn Files) -> Option<Voucher> {
    const EXPECTED: &str = "32 bytes in base64url, as the platform gives them";
    let file = existing(section.text("key-file"), report, files).required(report, "the file with the voucher key");
    section.finish();
    let file = file?;
    if files.is_open_to_all(&file.value) {
        report.warning(&file.at, "any user of this machine may read the voucher key", "mode 0640 or less: chmod o-r");
    }
    let bytes = files.text_of(&file.value).and_then(|text| {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| "is no base64url".to_owned())?;
        <[u8; 32]>::try_from(bytes).map_err(|bytes| format!("holds {} bytes", bytes.len()))
    });
    match bytes {
        Ok(bytes) => Some(Voucher { key_file: file.value, key: VoucherKey::new(bytes) }),
        Err(why) => {
            report.error(&file.at, format!("{}: {why}", file.value.display()), EXPECTED);
            None
        }
    }
}

pub(super) fn control(mut section: Section<'_, '_>, report: &Report<'_>, observe: &Path) -> Control {
    let socket = path(section.text("socket"), report).or(observe.with_file_name(SOCKET_NAME));
    let group = section.text("group").check(report, "the name of a group", |name| {
        let good = !name.is_empty() && name.len() <= 32 && !name.contains([':', '/', '\n']);
        if good { Ok(name.to_owned()) } else { Err(format!("\"{name}\" is no name of a group")) }
    });
    let control = Control { socket, group: group.or(DEFAULT_GROUP.into()) };
    section.finish();
    control
}
