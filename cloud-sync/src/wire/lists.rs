//! `fuel.list.update.v1` (contract section 7): lists `deny` and `allow` of customers and plates.
//!
//! An entry names one subject, `customer` or `plate` (as the orders' `plate_masked`), and may have `grades`, `max_volume_ml` and
//! `day_amount_minor`; in a diff, `"remove": true` takes the subject off.

use crate::wire::content::{BadContent, Members};
use crate::wire::strict;
use forecourt::ids::{CustomerToken, Grade};
use forecourt::list::{ListKind, ListName, ListRule, ListUpdate, ListVersion, Subject};
use forecourt::units::{Money, Volume};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most characters of a plate, as in an order.
const PLATE_CHARS: usize = 32;
/// Most grades of one entry.
const MOST_GRADES: usize = 64;

/// The content.
pub(super) fn update(data: Members<'_>) -> Result<ListUpdate, BadContent> {
    let word = data.text("list")?;
    let list = ListName::ALL.into_iter().find(|list| list.word() == word);
    let list = list.ok_or_else(|| data.bad("list", "must be deny or allow"))?;
    let kind = match data.text("kind")? {
        "full" => ListKind::Full,
        "diff" => ListKind::Diff(version(data, "base_version", 0)?),
        _ => return Err(data.bad("kind", "must be full or diff")),
    };
    let (mut put, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for (index, entry) in data.array("entries")?.iter().enumerate() {
        let place = format!("/data/entries/{index}");
        let found = self::entry(entry, kind).map_err(|fault| fault.below(&place))?;
        let (subject, rule) = found;
        let twice = put.contains_key(&subject) || remove.contains(&subject);
        if twice {
            return Err(BadContent { at: place, why: "names a subject twice".into() });
        }
        match rule {
            Some(rule) => {
                put.insert(subject, rule);
            }
            None => {
                remove.insert(subject);
            }
        }
    }
    Ok(ListUpdate { list, version: version(data, "version", 1)?, kind, put, remove })
}

fn version(data: Members<'_>, name: &str, least: i64) -> Result<ListVersion, BadContent> {
    let number = data.integer(name, least, strict::INTEGER_LIMIT - 1)?;
    u64::try_from(number).map(ListVersion).map_err(|_| data.bad(name, "must not be negative"))
}

/// A subject with its rule; `None` for one to be taken off.
fn entry(entry: &Value, kind: ListKind) -> Result<(Subject, Option<ListRule>), BadContent> {
    let whole = |why: &str| BadContent { at: String::new(), why: why.into() };
    let members = Members::new(entry.as_object().ok_or_else(|| whole("must be an object"))?, "");
    let subject = match (members.find("customer"), members.find("plate")) {
        (Some(_), None) => Subject::Customer(members.id("customer", CustomerToken::new)?),
        (None, Some(_)) => Subject::Plate(members.words("plate", PLATE_CHARS)?.to_owned()),
        _ => return Err(whole("must have exactly one of customer and plate")),
    };
    match members.find("remove") {
        None => {}
        Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) if kind != ListKind::Full => return Ok((subject, None)),
        Some(Value::Bool(true)) => return Err(members.bad("remove", "has no use in a full list: leave the entry out")),
        Some(_) => return Err(members.bad("remove", "must be true or false")),
    }
    let amount = |name| {
        let found = members.find(name).map(|_| members.integer(name, 1, strict::INTEGER_LIMIT - 1));
        found.transpose()
    };
    let rule = ListRule {
        grades: grades(members)?,
        max_volume: amount("max_volume_ml")?.map(Volume::new),
        day_amount: amount("day_amount_minor")?.map(Money::new),
    };
    Ok((subject, Some(rule)))
}

fn grades(members: Members<'_>) -> Result<BTreeSet<Grade>, BadContent> {
    if members.find("grades").is_none() {
        return Ok(BTreeSet::new());
    }
    let names = members.array("grades")?;
    if !(1..=MOST_GRADES).contains(&names.len()) {
        return Err(members.bad("grades", format!("must name 1 to {MOST_GRADES} grades; leave it out for all")));
    }
    let grade = |(index, name): (usize, &Value)| {
        let grade = name.as_str().and_then(|name| Grade::new(name).ok());
        grade.ok_or_else(|| members.bad(&format!("grades/{index}"), "must be a grade"))
    };
    names.iter().enumerate().map(grade).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::testing::{envelope, keys, sign, station};
    use crate::wire::command::{Inbound, open};
    use crate::wire::reply::Answer;
    use forecourt::command::Ask;
    use forecourt::time::UtcTime;
    use serde_json::json;

    const SENT: &str = "2026-11-21T08:30:00.000Z";

    fn read(data: Value) -> Result<ListUpdate, String> {
        let bytes = sign(&envelope("fuel.list.update.v1", SENT, data));
        let opened = open(bytes.as_bytes(), &keys(), &station()).expect("opens");
        match opened.read(UtcTime::parse(SENT).expect("a time")) {
            Ok(Inbound::Site(command)) => match command.ask {
                Ask::UpdateList(update) => Ok(*update),
                other => panic!("{other:?}"),
            },
            Err(refusal) => match refusal.answer {
                Answer::Malformed { at } => Err(at),
                other => panic!("{other:?}"),
            },
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_diff_sets_and_removes_subjects_with_their_rules() {
        let update = read(json!({"list":"allow","version":8,"kind":"diff","base_version":7,"entries":[
            {"customer":"c-1","grades":["92","95"],"max_volume_ml":60_000,"day_amount_minor":50_000},
            {"plate":"粤B·***88"}, {"customer":"c-2","remove":true}]}))
        .expect("reads");
        assert_eq!((update.list, update.version.0), (ListName::Allow, 8));
        assert_eq!(update.kind, ListKind::Diff(ListVersion(7)));
        let rule = &update.put[&Subject::Customer(CustomerToken::new("c-1").expect("a token"))];
        assert_eq!(rule.grades.len(), 2);
        assert_eq!((rule.max_volume, rule.day_amount), (Some(Volume::new(60_000)), Some(Money::new(50_000))));
        assert_eq!(update.put[&Subject::Plate("粤B·***88".into())], ListRule::default());
        assert_eq!(update.remove.len(), 1);
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        let full = |entries: Value| read(json!({"list":"deny","version":1,"kind":"full","entries":entries}));
        assert_eq!(full(json!([])).map(|update| update.put.len()), Ok(0), "an empty list is one");
        assert_eq!(full(json!([{"plate":"x"},{}])).expect_err("bad"), "/data/entries/1");
        assert_eq!(full(json!([{"customer":"a b"}])).expect_err("bad"), "/data/entries/0/customer");
        assert_eq!(full(json!([{"customer":"a"},{"customer":"a"}])).expect_err("bad"), "/data/entries/1");
        assert_eq!(full(json!([{"customer":"a","remove":true}])).expect_err("bad"), "/data/entries/0/remove");
        assert_eq!(full(json!([{"customer":"a","grades":["92",7]}])).expect_err("bad"), "/data/entries/0/grades/1");
        assert_eq!(full(json!([{"customer":"a","grades":[]}])).expect_err("bad"), "/data/entries/0/grades");
        let with = |list: &str, kind: &str| read(json!({"list":list,"version":1,"kind":kind,"entries":[]}));
        assert_eq!(with("grey", "full").expect_err("bad"), "/data/list");
        assert_eq!(with("deny", "all").expect_err("bad"), "/data/kind");
        assert_eq!(with("deny", "diff").expect_err("bad"), "/data/base_version");
    }
}
