//! A poster to be shown to friends after a fuelling: what was fuelled, what was saved, and the code that invites them. Shows: an invitation
//! in a picture that names nobody; what was saved is the ledger's figure, not advertising.

use crate::refusal::{Refusal, litres};
use forecourt::units::{Currency, Money, Volume};
use maud::{PreEscaped, html};
use serde_json::Value;

/// Where a poster's code leads to: a nozzle's page that knows who invited.
#[must_use]
pub fn link(platform: &str, qr_token: &str, member_id: &str) -> String {
    format!("{platform}/n/{qr_token}?inviter={member_id}")
}

/// The poster of a completed order as SVG, in Chinese or English.
///
/// # Errors
/// `unknown_order` while no fuel was taken; a link that is too long for a code.
pub fn svg(order: &Value, link: &str, chinese: bool) -> Result<String, Refusal> {
    let end = &order["end"];
    if end["kind"] != "completed" {
        return Err(Refusal::new("unknown_order", "no fuel was taken on this order, so there is nothing to show"));
    }
    let number = |name: &str| end[name].as_i64().unwrap_or(0);
    let yuan = |minor| Money::new(minor).major(Currency::CNY);
    let language = if chinese { "zh" } else { "en" };
    let said = |names: &Value| names[language].as_str().unwrap_or("").to_owned();
    let (volume, amount) = (litres(Volume::new(number("volume_ml"))), yuan(number("amount_minor")));
    let saved = number("discount_minor") + number("group_rebate_minor");
    let (fuelled, less, scan) = if chinese {
        (format!("{volume} 升 · {amount} 元"), format!("省了 {} 元", yuan(saved)), "扫码加油,一起优惠")
    } else {
        (format!("{volume} L · ¥{amount}"), format!("¥{} saved", yuan(saved)), "Scan, fuel, save together")
    };
    let code = crate::qr::svg(link).map_err(|error| Refusal::new("too_large", error.to_string()))?;
    // The code is a picture of its own, set into this one at this one's size.
    let inner = code.find("viewBox").map_or("", |at| &code[at..]);
    let code = format!("<svg x=\"70\" y=\"190\" width=\"220\" height=\"220\" {inner}");
    let poster = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 480" font-family="system-ui, 'Noto Sans CJK SC', sans-serif" text-anchor="middle" {
            rect width="360" height="480" rx="20" fill="#0c2a31" {}
            text x="180" y="48" font-size="20" fill="#a9c5c6" { (said(&order["station_name"])) }
            text x="180" y="78" font-size="16" fill="#a9c5c6" { (said(&order["grade_name"])) }
            text x="180" y="122" font-size="30" font-weight="600" fill="#f1faf8" { (fuelled) }
            @if saved > 0 { text x="180" y="164" font-size="26" font-weight="600" fill="#ffc233" { (less) } }
            rect x="60" y="180" width="240" height="240" rx="12" fill="#fff" {}
            (PreEscaped(code))
            text x="180" y="452" font-size="18" fill="#f1faf8" { (scan) }
        }
    };
    Ok(poster.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order() -> Value {
        json!({"station_name": {"zh": "示范<站>", "en": "Demo <station>"}, "grade_name": {"zh": "92 号汽油", "en": "Petrol 92"},
            "end": {"kind": "completed", "volume_ml": 26_840, "amount_minor": 20_000, "discount_minor": 1_000, "group_rebate_minor": 0}})
    }

    #[test]
    fn a_poster_shows_the_litres_the_sum_what_was_saved_and_the_code_of_the_link() {
        let to = link("http://127.0.0.1:8080", "q-7", "m-1");
        let picture = svg(&order(), &to, true).expect("a poster");
        for part in ["示范&lt;站&gt;", "26.84 升 · 200.00 元", "省了 10.00 元"] {
            assert!(picture.contains(part), "{part} in {picture}");
        }
        let code = crate::qr::svg(&to).expect("a code");
        let dots = code.split(" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
        assert!(picture.contains(dots), "the code on the poster is the link's");
        assert!(picture.contains("height=\"220\" viewBox"), "no attribute twice, which no reader takes");
        assert!(!picture.contains("138"), "it names nobody");
        assert!(svg(&order(), &to, false).expect("a poster").contains("26.84 L · ¥200.00"));
    }

    #[test]
    fn without_fuel_there_is_no_poster_and_without_a_saving_none_is_claimed() {
        let mut order = order();
        order["end"]["discount_minor"] = json!(0);
        assert!(!svg(&order, "http://x/n/q", true).expect("a poster").contains("省了"));
        order["end"] = Value::Null;
        assert_eq!(svg(&order, "http://x/n/q", true).expect_err("no fuel").word, "unknown_order");
    }
}
