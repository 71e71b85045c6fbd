//! `fuel.price.set.v1` (contract section 7): form only. What a price may be is the site's to judge, with a sentence for each fault.

use crate::wire::content::{BadContent, Members};
use crate::wire::strict;
use forecourt::ids::{Grade, PriceSetId};
use forecourt::price::PriceSet;
use forecourt::time::UtcTime;
use forecourt::units::UnitPrice;
use std::collections::BTreeMap;

/// A price set is taken until this long after its moment (contract section 9).
const LATE_MS: i64 = 24 * 60 * 60 * 1_000;
/// Most prices in one set: more grades than any station sells.
const MOST_PRICES: usize = 64;

/// Whether its moment passed too long ago. False where that cannot be read: the form is judged after the time.
pub(super) fn is_too_late(data: Members<'_>, now: UtcTime) -> bool {
    data.time("effective_at").is_ok_and(|at| now.ms_since(at) > LATE_MS)
}

/// The content.
pub(super) fn price_set(data: Members<'_>) -> Result<PriceSet, BadContent> {
    let entries = data.array("prices")?;
    if !(1..=MOST_PRICES).contains(&entries.len()) {
        return Err(data.bad("prices", format!("must have 1 to {MOST_PRICES} entries")));
    }
    let mut prices = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("/data/prices/{index}");
        let wrong = |fault: BadContent| fault.below(&place);
        let entry =
            entry.as_object().ok_or_else(|| BadContent { at: place.clone(), why: "must be an object".into() })?;
        let entry = Members::new(entry, "");
        let grade = entry.id("grade", Grade::new).map_err(wrong)?;
        let price = entry.integer("unit_price_micros", 0, strict::INTEGER_LIMIT - 1).map_err(wrong)?;
        if prices.insert(grade, UnitPrice::new(price)).is_some() {
            return Err(entry.bad("grade", "is named twice").below(&place));
        }
    }
    let ceiling = data.find("ceiling_micros").map(|_| data.integer("ceiling_micros", 1, strict::INTEGER_LIMIT - 1));
    Ok(PriceSet {
        price_set: data.id("price_set", PriceSetId::new)?,
        effective_at: data.time("effective_at")?,
        prices,
        ceiling: ceiling.transpose()?.map(UnitPrice::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::testing::{envelope, keys, sign, station};
    use crate::wire::command::{Inbound, open};
    use crate::wire::reply::{Answer, LinkReply};
    use forecourt::command::Ask;
    use serde_json::{Value, json};

    const SENT: &str = "2026-11-21T08:30:00.000Z";

    fn read(data: Value, now: &str) -> Result<Inbound, LinkReply> {
        let opened = open(sign(&envelope("fuel.price.set.v1", SENT, data)).as_bytes(), &keys(), &station())?;
        opened.read(UtcTime::parse(now).expect("a time"))
    }

    fn data() -> Value {
        json!({"price_set":"PS-0008","effective_at":"2026-11-21T16:00:00.000Z","ceiling_micros":8_000_000,
            "prices":[{"grade":"92","unit_price_micros":7_600_000},{"grade":"diesel","unit_price_micros":0}]})
    }

    fn at(data: Value) -> String {
        match read(data, SENT).expect_err("refused").answer {
            Answer::Malformed { at } => at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_price_set_is_read_whole_and_a_price_of_zero_is_left_to_the_site() {
        let Ok(Inbound::Site(command)) = read(data(), SENT) else { panic!("taken") };
        let Ask::SetPrices(set) = command.ask else { panic!("{command:?}") };
        assert_eq!(set.price_set.as_str(), "PS-0008");
        assert_eq!(set.effective_at.to_string(), "2026-11-21T16:00:00.000Z");
        assert_eq!(set.ceiling, Some(UnitPrice::new(8_000_000)));
        let prices: Vec<_> = set.prices.iter().map(|(grade, price)| (grade.as_str(), price.get())).collect();
        assert_eq!(prices, [("92", 7_600_000), ("diesel", 0)]);
    }

    #[test]
    fn a_price_set_is_taken_until_a_day_after_its_moment() {
        assert!(read(data(), "2026-11-22T16:00:00.000Z").is_ok());
        let late = read(data(), "2026-11-22T16:00:00.001Z").expect_err("too old");
        assert_eq!(late.answer, Answer::TooOld);
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut data = data();
            change(&mut data);
            at(data)
        };
        assert_eq!(with(&|data| data["prices"] = json!([])), "/data/prices");
        assert_eq!(with(&|data| data["prices"][1] = json!(7)), "/data/prices/1");
        assert_eq!(with(&|data| data["prices"][1]["grade"] = json!("92")), "/data/prices/1/grade");
        assert_eq!(
            with(&|data| data["prices"][0]["unit_price_micros"] = json!("7.60")),
            "/data/prices/0/unit_price_micros"
        );
        assert_eq!(with(&|data| data["effective_at"] = json!("midnight")), "/data/effective_at");
        assert_eq!(with(&|data| data["ceiling_micros"] = json!(0)), "/data/ceiling_micros");
    }
}
