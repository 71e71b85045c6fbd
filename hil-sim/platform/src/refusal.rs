//! Refusals: a word of the contract or of the platform, what it means here, and a sentence for the driver in two languages.

use forecourt::units::{UnitPrice, Volume};
use serde_json::{Map, Value, json};

/// A rule says no.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{word}: {detail}")]
pub struct Refusal {
    /// One word, for programs.
    pub word: String,
    /// What exactly, for who reads a log.
    pub detail: String,
    /// Members that the word's description names.
    pub extra: Map<String, Value>,
}

impl Refusal {
    /// A refusal without further members.
    #[must_use]
    pub fn new(word: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { word: word.into(), detail: detail.into(), extra: Map::new() }
    }

    /// With one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The HTTP status of its word.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.word.as_str() {
            "malformed" => 400,
            "not_logged_in" | "bad_signature" => 401,
            "foreign_origin" | "not_yours" | "bad_code" | "bad_certificate" => 403,
            "unknown_nozzle" | "unknown_order" | "unknown_station" | "unknown_page" => 404,
            "too_large" => 413,
            "bad_request_csr" => 422,
            "rate_limited" => 429,
            _ => 409,
        }
    }

    /// The body of the answer (RFC 9457).
    #[must_use]
    pub fn problem(&self) -> Value {
        let mut body = self.extra.clone();
        for (name, value) in [
            ("type", json!("about:blank")),
            ("title", json!(title(self.status()))),
            ("status", json!(self.status())),
            ("error", json!(self.word)),
            ("detail", json!(self.detail)),
            ("text", text(&self.word)),
        ] {
            body.entry(name).or_insert(value);
        }
        Value::Object(body)
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        _ => "Conflict",
    }
}

/// Digits after the point as far as they say something, but two at least: `7.45`, `7.455`.
fn trimmed(value: i64, places: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    let kept = part.trim_end_matches('0').len().max(2).min(places);
    format!("{}{whole}.{}", if value < 0 { "-" } else { "" }, &part[..kept])
}

/// A price of a litre as the page and the pump show it: `7.45`.
#[must_use]
pub fn price(price: UnitPrice) -> String {
    trimmed(price.get(), 6)
}

/// Litres as the page shows them: `29.18`, and `29.185` where the pump counts so finely.
#[must_use]
pub fn litres(volume: Volume) -> String {
    trimmed(volume.get(), 3)
}

/// The driver's sentence for `price_changed` where both prices are known.
#[must_use]
pub fn price_changed(old: UnitPrice, new: UnitPrice) -> Value {
    let (old, new) = (price(old), price(new));
    json!({"zh": format!("油价已由 {old} 调整为 {new},请重新确认"), "en": format!("The price changed from {old} to {new}: please confirm")})
}

/// The driver's sentence for `grade_mismatch`: what the nozzle gives, what is wanted, and where that is. Both grades are names in
/// Chinese and English.
#[must_use]
pub fn grade_mismatch(here: &Value, whose: [&str; 2], wanted: &Value, right: &[i64]) -> Value {
    // A space between Chinese and digits, none between Chinese and Chinese.
    let spaced = |name: &Value| {
        let name = name["zh"].as_str().unwrap_or("").to_owned();
        if name.starts_with(|first: char| first.is_ascii()) { format!(" {name}") } else { name }
    };
    let numbers = |between: &str| right.iter().map(ToString::to_string).collect::<Vec<_>>().join(between);
    let (go, take) = if right.is_empty() {
        ("请咨询员工".to_owned(), "ask the staff".to_owned())
    } else {
        (format!("请选 {} 号枪", numbers("、")), format!("take nozzle {}", numbers(" or ")))
    };
    json!({
        "zh": format!("此枪为{},{}{},{go}", spaced(here), whose[0], spaced(wanted)),
        "en": format!("This nozzle is {}, {} {}: {take}", here["en"].as_str().unwrap_or(""), whose[1], wanted["en"].as_str().unwrap_or("")),
    })
}

/// The driver's sentence for `nozzle_busy`.
#[must_use]
pub fn nozzle_busy(nozzle: i64) -> Value {
    json!({"zh": format!("{nozzle} 号枪正在使用,请换枪"), "en": format!("Nozzle {nozzle} is in use: take another")})
}

/// Why a fuelling ended that was not ended by the driver, as a beginning of the sentence; `None` for hanging up and reaching the limit.
#[must_use]
pub fn stopped_by(finish: &str) -> Option<[&'static str; 2]> {
    Some(match finish {
        "stopped" => ["站内停止", "Stopped by the station"],
        "emergency" => ["紧急停止", "Emergency stop"],
        "power_loss" => ["停电", "Power cut"],
        "no_flow" => ["不再出油", "No more fuel came"],
        "fault" => ["油枪故障", "Fault of the pump"],
        _ => return None,
    })
}

/// The driver's sentence for a word, in Chinese and English.
#[must_use]
pub fn text(word: &str) -> Value {
    let (zh, en) =
        sentence(word).unwrap_or(("暂时无法完成,请联系员工", "This is not possible now: please ask the staff"));
    json!({"zh": zh, "en": en})
}

/// `None` for a word that has no sentence of its own.
fn sentence(word: &str) -> Option<(&'static str, &'static str)> {
    Some(match word {
        "awaiting_payment" => ("请付款", "Please pay"),
        "paid" => ("已付款,正在通知加油站", "Paid: telling the station"),
        "queued" => ("此枪正在使用,已为您排队", "The nozzle is busy: you are in the queue"),
        "armed" => ("油枪已就绪,请提枪", "The nozzle is ready: lift it"),
        "lifted" => ("已提枪,可以加油", "Lifted: you can fuel now"),
        "fuelling" => ("正在加油", "Fuelling"),
        "completed" => ("加油完成", "Done"),
        "review" | "needs_review" => {
            ("交易核对中,最长 24 小时,先不扣款", "Being checked, 24 hours at most; nothing is charged until then")
        }
        "nozzle_busy" => ("此枪正在使用,请稍候或换枪", "This nozzle is busy: wait or choose another"),
        "nozzle_unavailable" | "manual" | "closed" | "inoperative" => {
            ("此枪暂不可用,请选择其他油枪", "This nozzle is not available: choose another")
        }
        "grade_mismatch" => ("油品不符,请选择正确的油枪", "Wrong grade: choose the right nozzle"),
        "price_changed" | "price_mismatch" => ("油价已调整,请重新确认", "The price changed: please confirm again"),
        "expired" => ("订单已过期,未加油,款项原路退回", "The order expired, no fuel was taken; the money goes back"),
        "too_old" | "from_the_future" => {
            ("订单送达过晚,未加油,款项原路退回", "The order came too late; the money goes back")
        }
        "not_lifted" => {
            ("未提枪,订单已取消,退款处理中", "The nozzle was not lifted: order cancelled, refund under way")
        }
        "no_flow" => ("提枪后未出油,订单已结束,退款处理中", "No fuel flowed: order ended, refund under way"),
        "cancelled" => ("订单已取消,已付款项原路退回", "The order is cancelled; what was paid goes back"),
        "fault" => ("油枪故障,订单已结束,退款处理中", "The pump has a fault: order ended, refund under way"),
        "tank_low" | "no_product" => {
            ("该油品库存不足,请选择其他油枪", "This product is running out: choose another nozzle")
        }
        "unloading" => ("油罐正在卸油,请选择其他油枪", "The tank is being filled: choose another nozzle"),
        "station_held" => {
            ("加油站暂停服务(雷雨/卸油/报警)", "The station is closed for now (storm, delivery or alarm)")
        }
        "store_full" => ("加油站暂停接单,请稍后再试", "The station takes no orders at the moment: try again later"),
        "comm_lost" => {
            ("油枪通讯中断,请联系员工,未扣多余款", "No contact with the pump: ask the staff; nothing extra is charged")
        }
        "cloud_offline" => (
            "加油站暂时联系不上,无法在线下单,请联系员工",
            "The station cannot be reached, so no orders here: ask the staff",
        ),
        "emergency" | "gas_alarm" => {
            ("请立即停止使用手机并离开加油区", "Stop using your telephone and leave the forecourt now")
        }
        "overloaded" => ("加油站繁忙,请重试,款项原路退回", "The station is busy: try again; the money goes back"),
        "limit_exceeded" => ("超过单笔限额", "More than one order may be"),
        "limit_too_small" => ("金额或升数过小", "The amount or volume is too small"),
        "unsupported_preset" => {
            ("此枪不支持该预置方式,请按金额下单", "This pump cannot do that limit: order by amount")
        }
        "daily_limit" => ("超过每日 5000 元限额", "More than 5,000 yuan in one day"),
        "coupon_not_usable" => ("优惠券不可用", "The coupon cannot be used"),
        "group_not_complete" => ("拼团未满三人", "The group is not yet three"),
        "card_refused" => ("加油卡余额或限额不足", "The card's balance or limit does not allow this"),
        "balance_too_small" => ("余额不足", "The balance is too small"),
        "cannot_cancel" => ("已开始加油,无法取消", "Fuelling began: it can no longer be cancelled"),
        "cannot_move" => ("已开始加油,无法换枪", "Fuelling began: it can no longer be moved"),
        "already_ended" => ("订单已结束", "The order has ended"),
        "key_reused" => ("请重新下单", "Please order again"),
        "not_logged_in" => ("请先登录", "Please log in"),
        "foreign_origin" | "not_yours" => ("无权操作", "This is not yours to do"),
        "unknown_nozzle" | "unknown_station" => ("无法识别的二维码", "This code is not known"),
        "unknown_order" => ("没有此订单", "There is no such order"),
        "malformed" => ("请求有误", "The request is not as described"),
        "rate_limited" => ("操作过于频繁,请稍候", "Too many calls: wait a moment"),
        "too_far" => ("距离加油站超过 3 公里", "More than 3 km from the station"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_contract_has_a_sentence_of_its_own() {
        for word in [
            "expired",
            "too_old",
            "from_the_future",
            "grade_mismatch",
            "price_changed",
            "nozzle_unavailable",
            "station_held",
            "limit_exceeded",
            "limit_too_small",
            "nozzle_busy",
            "unsupported_preset",
            "overloaded",
            "unknown_nozzle",
            "malformed",
            "not_lifted",
            "no_flow",
            "cancelled",
            "fault",
            "comm_lost",
            "price_mismatch",
            "tank_low",
            "unloading",
            "emergency",
            "gas_alarm",
            "manual",
            "review",
            "store_full",
        ] {
            assert!(sentence(word).is_some(), "{word}");
        }
    }

    #[test]
    fn a_problem_names_the_word_its_sentence_and_its_members() {
        let body = Refusal::new("price_changed", "now 7.60").with("unit_price_micros", 7_600_000).problem();
        assert_eq!((body["error"].as_str(), body["status"].as_u64()), (Some("price_changed"), Some(409)));
        assert_eq!(body["unit_price_micros"], 7_600_000);
        assert!(body["text"]["zh"].as_str().is_some_and(|text| text.contains("油价")));
    }
}
