//! Commands from the platform: bytes in, typed asks out, in the order of checks of contract section 9.
//!
//! Two steps, because a command seen before is answered from memory before its time is checked: [`open`] checks size, form,
//! signature, subject and type; [`Opened::read`] time and content.

use crate::outbox::store::Ack;
use crate::wire::chain::{read_sequence, sha256_hex};
use crate::wire::content::{BadContent, Members, record_id};
use crate::wire::envelope::canonical;
use crate::wire::jws::{Compact, KeySet};
use crate::wire::reply::{Answer, LinkReply};
use crate::wire::strict;
use forecourt::command::{Ask, Command, Nozzles};
use forecourt::ids::{CommandId, CustomerToken, Grade, OrderId, StationId};
use forecourt::order::{Basis, Limit, OrderRequest};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A command's `time` may be this far ahead of our clock.
const AHEAD_MS: i64 = 60_000;
/// Every command but an authorise is too old after this.
const OLDEST_MS: i64 = 5 * 60_000;
/// `expires_at` is at most this long after `time`.
const LONGEST_ORDER_MS: i64 = 30 * 60_000;
/// Most bytes of `context` in RFC 8785 form.
const CONTEXT_BYTES: usize = 2_048;
/// Most characters of a `reason`.
const REASON_CHARS: usize = 256;
/// Most characters of `plate_masked`.
const PLATE_CHARS: usize = 32;
/// Most digits of `code`.
const CODE_DIGITS: usize = 16;
const LIMIT_NAMES: [&str; 3] = ["amount_minor", "volume_ml", "full_tank_minor"];

/// Command types that this version carries out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Authorise,
    Cancel,
    Move,
    Stop,
    Hold,
    Unhold,
    Watch,
    Ack,
    Nack,
    Resend,
}

impl Kind {
    /// `None` for another type or version, those of contract section 7 among them until they are carried out here.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "fuel.order.authorise.v1" => Self::Authorise,
            "fuel.order.cancel.v1" => Self::Cancel,
            "fuel.order.move.v1" => Self::Move,
            "fuel.nozzle.stop.v1" => Self::Stop,
            "fuel.nozzle.hold.v1" => Self::Hold,
            "fuel.nozzle.unhold.v1" => Self::Unhold,
            "fuel.watch.v1" => Self::Watch,
            "fuel.ack.v1" => Self::Ack,
            "fuel.nack.v1" => Self::Nack,
            "fuel.resend.v1" => Self::Resend,
            _ => return None,
        })
    }
}

/// What a command asks, by who carries it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inbound {
    /// The site.
    Site(Command),
    /// The outbox: records the platform has stored.
    Ack(Ack),
    /// The outbox: a record the platform refuses.
    Nack {
        /// The record's event id.
        record: Uuid,
        /// Why.
        reason: String,
    },
    /// The outbox: records to be sent again, both ends included.
    Resend {
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
    },
}

/// A command whose signature holds, that is for this station and of a type known here. Neither time nor content is checked yet.
#[derive(Clone, Debug)]
pub struct Opened {
    id: CommandId,
    kind: Kind,
    name: String,
    time: UtcTime,
    data: Map<String, Value>,
}

/// Checks size, JWS form, key and signature, payload form, subject, type and version, in this order.
///
/// # Errors
/// The refusal, ready to be sent. Its `command_id` is `None` where none could be read.
pub fn open(bytes: &[u8], keys: &KeySet, station: &StationId) -> Result<Opened, LinkReply> {
    let unread = |answer, detail: String| LinkReply { command_id: None, command_type: None, answer, detail };
    if bytes.len() > strict::MAX_BYTES {
        return Err(unread(Answer::TooLarge, format!("{} bytes: at most {} are read", bytes.len(), strict::MAX_BYTES)));
    }
    let compact =
        Compact::split(bytes).map_err(|fault| unread(Answer::Malformed { at: String::new() }, fault.to_string()))?;
    let verified = compact.verify(keys);
    let payload = strict::parse(compact.payload());
    let (command_id, command_type) = payload.as_ref().map_or((None, None), names);
    let refuse = |answer, detail: String| LinkReply {
        command_id: command_id.clone(),
        command_type: command_type.clone(),
        answer,
        detail,
    };
    let malformed = |fault: BadContent| {
        let detail = fault.to_string();
        refuse(Answer::Malformed { at: fault.at }, detail)
    };
    verified.map_err(|fault| refuse(Answer::BadSignature, fault.to_string()))?;
    let payload = payload.map_err(|fault| malformed(BadContent { at: fault.at, why: fault.why.to_string() }))?;
    let Value::Object(event) = &payload else {
        return Err(malformed(BadContent { at: String::new(), why: "the payload must be an object".into() }));
    };
    let form = Form::of(event).map_err(malformed)?;
    if form.subject != format!("/stations/{station}") {
        return Err(refuse(Answer::WrongStation, format!("this is station {station}")));
    }
    let Some(kind) = Kind::of(form.name) else {
        return Err(refuse(Answer::Unsupported, "this type or version is not known here".into()));
    };
    Ok(Opened { id: form.id, kind, name: form.name.to_owned(), time: form.time, data: form.data.clone() })
}

/// `id` and `type` of a payload, where they can be read.
fn names(payload: &Value) -> (Option<CommandId>, Option<String>) {
    let text = |name| payload.get(name).and_then(Value::as_str);
    let kind = text("type").filter(|kind| kind.len() <= 128).map(str::to_owned);
    (text("id").and_then(|id| CommandId::new(id).ok()), kind)
}

/// The payload's own members.
struct Form<'a> {
    id: CommandId,
    subject: &'a str,
    name: &'a str,
    time: UtcTime,
    data: &'a Map<String, Value>,
}

impl<'a> Form<'a> {
    fn of(event: &'a Map<String, Value>) -> Result<Self, BadContent> {
        let members = Members::new(event, "");
        let fixed = |name, value: &str| {
            if members.text(name)? == value { Ok(()) } else { Err(members.bad(name, format!("must be \"{value}\""))) }
        };
        fixed("specversion", "1.0")?;
        let id = members.id("id", CommandId::new)?;
        fixed("source", "/platform")?;
        Ok(Self {
            id,
            subject: members.text("subject")?,
            name: members.text("type")?,
            time: members.time("time")?,
            data: members.object("data")?,
        })
    }
}

impl Opened {
    /// The command's id, by which it is remembered.
    #[must_use]
    pub const fn id(&self) -> &CommandId {
        &self.id
    }

    /// Whether the memory of ids matters to it. Acknowledgements say the same however often they come.
    #[must_use]
    pub const fn is_remembered(&self) -> bool {
        !matches!(self.kind, Kind::Ack | Kind::Nack)
    }

    /// Whether it stops fuel: no flood of other commands may keep it out.
    #[must_use]
    pub const fn is_stop(&self) -> bool {
        matches!(self.kind, Kind::Stop)
    }

    /// Whether it is an order: refused, it has an end that must be recorded.
    #[must_use]
    pub const fn is_order(&self) -> bool {
        matches!(self.kind, Kind::Authorise)
    }

    /// Whether it asks for fuel and was sent before a moment.
    #[must_use]
    pub fn is_order_before(&self, at: UtcTime) -> bool {
        self.kind == Kind::Authorise && self.time < at
    }

    /// An answer of the link's own to this command.
    #[must_use]
    pub fn answer(&self, answer: Answer, detail: impl Into<String>) -> LinkReply {
        LinkReply {
            command_id: Some(self.id.clone()),
            command_type: Some(self.name.clone()),
            answer,
            detail: detail.into(),
        }
    }

    /// Checks time, then content.
    ///
    /// An authorise past its `expires_at` passes: the site answers it with `expired` and gives the money back by a release.
    ///
    /// # Errors
    /// The refusal, ready to be sent.
    pub fn read(&self, now: UtcTime) -> Result<Inbound, LinkReply> {
        let age = now.ms_since(self.time);
        if age < -AHEAD_MS {
            let detail = format!("sent at {}, it is {now} here: set one of the clocks", self.time);
            return Err(self.answer(Answer::FromTheFuture, detail));
        }
        if age > OLDEST_MS && self.kind != Kind::Authorise {
            let detail = format!("sent at {}, it is {now} here: send it anew", self.time);
            return Err(self.answer(Answer::TooOld, detail));
        }
        self.content().map_err(|fault| {
            let detail = fault.to_string();
            self.answer(Answer::Malformed { at: fault.at }, detail)
        })
    }

    fn content(&self) -> Result<Inbound, BadContent> {
        let data = Members::new(&self.data, "/data");
        let reason = || data.words("reason", REASON_CHARS).map(str::to_owned);
        let nozzles = || data.nozzle_or_all("nozzle").map(|nozzle| nozzle.map_or(Nozzles::All, Nozzles::One));
        let ask = match self.kind {
            Kind::Authorise => Ask::Authorise(Box::new(self.order(data)?)),
            Kind::Cancel => Ask::Cancel { order_id: data.id("order_id", OrderId::new)?, reason: reason()? },
            Kind::Move => {
                Ask::Move { order_id: data.id("order_id", OrderId::new)?, to_nozzle: data.nozzle("to_nozzle")? }
            }
            Kind::Stop => Ask::Stop { nozzles: nozzles()?, reason: reason()? },
            Kind::Hold => Ask::Hold { nozzles: nozzles()?, reason: reason()? },
            Kind::Unhold => Ask::Unhold { nozzles: nozzles()?, reason: reason()? },
            Kind::Watch => Ask::Watch { nozzle: data.nozzle("nozzle")?, ttl_s: seconds(data, "ttl_s", 30, 300)? },
            Kind::Ack => return ack(data).map(Inbound::Ack),
            Kind::Nack => return Ok(Inbound::Nack { record: data.uuid("id")?, reason: reason()? }),
            Kind::Resend => {
                let (from, to) = (sequence(data, "from_sequence")?, sequence(data, "to_sequence")?);
                return Ok(Inbound::Resend { from, to });
            }
        };
        Ok(Inbound::Site(Command { id: self.id.clone(), kind: self.name.clone(), ask, overloaded: false }))
    }

    fn order(&self, data: Members<'_>) -> Result<OrderRequest, BadContent> {
        let expires_at = data.time("expires_at")?;
        if expires_at.ms_since(self.time) > LONGEST_ORDER_MS {
            return Err(data.bad("expires_at", "must be at most 30 minutes after the command's time"));
        }
        let currency =
            Currency::from_code(data.text("currency")?).map_err(|unknown| data.bad("currency", unknown.to_string()))?;
        let code = data.find("code").map(|_| code(data)).transpose()?;
        let plate = data.find("plate_masked").map(|_| data.words("plate_masked", PLATE_CHARS)).transpose()?;
        Ok(OrderRequest {
            order_id: data.id("order_id", OrderId::new)?,
            nozzle: data.nozzle("nozzle")?,
            grade: data.id("grade", Grade::new)?,
            limit: limit(data)?,
            currency,
            unit_price: UnitPrice::new(data.integer("unit_price_micros", 1, strict::INTEGER_LIMIT - 1)?),
            expires_at,
            lift_timeout_s: data
                .find("lift_timeout_s")
                .map(|_| seconds(data, "lift_timeout_s", 30, 600))
                .transpose()?,
            basis: basis(data)?,
            code,
            customer: data.find("customer").map(|_| data.id("customer", CustomerToken::new)).transpose()?,
            plate_masked: plate.map(str::to_owned),
            context: context(data)?,
            content_hash: sha256_hex(&canonical(&Value::Object(self.data.clone()))),
        })
    }
}

fn seconds(data: Members<'_>, name: &str, least: i64, most: i64) -> Result<u32, BadContent> {
    u32::try_from(data.integer(name, least, most)?).map_err(|_| data.bad(name, "is too large"))
}

fn limit(data: Members<'_>) -> Result<Limit, BadContent> {
    let members = Members::new(data.object("limit")?, "/data/limit");
    let mut given = LIMIT_NAMES.into_iter().filter(|name| members.find(name).is_some());
    let (Some(name), None) = (given.next(), given.next()) else {
        return Err(data.bad("limit", "must have exactly one of amount_minor, volume_ml and full_tank_minor"));
    };
    let value = members.integer(name, 1, strict::INTEGER_LIMIT - 1)?;
    Ok(match name {
        "amount_minor" => Limit::Amount(Money::new(value)),
        "volume_ml" => Limit::Volume(Volume::new(value)),
        _ => Limit::FullTank(Money::new(value)),
    })
}

fn basis(data: Members<'_>) -> Result<Basis, BadContent> {
    Ok(match data.text("basis")? {
        "prepaid" => Basis::Prepaid,
        "preauthorised" => Basis::Preauthorised,
        "credit" => Basis::Credit,
        "card" => Basis::Card,
        _ => return Err(data.bad("basis", "must be prepaid, preauthorised, credit or card")),
    })
}

fn code(data: Members<'_>) -> Result<String, BadContent> {
    let code = data.text("code")?;
    if (1..=CODE_DIGITS).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(code.to_owned())
    } else {
        Err(data.bad("code", format!("must be 1 to {CODE_DIGITS} digits")))
    }
}

fn context(data: Members<'_>) -> Result<String, BadContent> {
    let context = match data.find("context") {
        None => Map::new(),
        Some(_) => data.object("context")?.clone(),
    };
    let bytes = canonical(&Value::Object(context));
    if bytes.len() > CONTEXT_BYTES {
        return Err(data.bad("context", format!("must be at most {CONTEXT_BYTES} bytes in RFC 8785 form")));
    }
    String::from_utf8(bytes).map_err(|_| data.bad("context", "must be UTF-8"))
}

fn sequence(data: Members<'_>, name: &str) -> Result<u64, BadContent> {
    read_sequence(data.text(name)?).ok_or_else(|| data.bad(name, "must be 12 decimal digits"))
}

fn ack(data: Members<'_>) -> Result<Ack, BadContent> {
    match (data.find("ids"), data.find("through_sequence")) {
        (Some(ids), None) => {
            let ids = ids.as_array().ok_or_else(|| data.bad("ids", "must be an array"))?;
            let read = |(index, id): (usize, &Value)| {
                let uuid = id.as_str().and_then(record_id);
                uuid.ok_or_else(|| data.bad(&format!("ids/{index}"), "must be the id of a record"))
            };
            ids.iter().enumerate().map(read).collect::<Result<_, _>>().map(Ack::Ids)
        }
        (None, Some(_)) => sequence(data, "through_sequence").map(Ack::Through),
        _ => Err(BadContent { at: "/data".into(), why: "must have exactly one of ids and through_sequence".into() }),
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;

/// Keys and signatures for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::{KeySet, StationId, Value};
    use base64::Engine as _;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    pub(crate) const JWKS_KID: &str = "k1";

    pub(crate) fn base64url(bytes: &[u8]) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn signing_key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    pub(crate) fn jwks(keys: &[(&str, u8)]) -> Vec<u8> {
        let entry = |(kid, seed): &(&str, u8)| {
            let x = base64url(signing_key(*seed).verifying_key().as_bytes());
            json!({"kty":"OKP","crv":"Ed25519","kid":kid,"x":x})
        };
        json!({"keys": keys.iter().map(entry).collect::<Vec<_>>()}).to_string().into_bytes()
    }

    pub(crate) fn keys() -> KeySet {
        KeySet::from_jwks(&jwks(&[(JWKS_KID, 1)])).expect("a key set")
    }

    pub(crate) fn station() -> StationId {
        StationId::new("st-1").expect("an id")
    }

    pub(crate) fn sign_as(kid: &str, key: &SigningKey, payload: &[u8]) -> String {
        let header = json!({"alg":"EdDSA","kid":kid}).to_string();
        let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(payload));
        let signature = key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", base64url(&signature))
    }

    pub(crate) fn sign(payload: &[u8]) -> String {
        sign_as(JWKS_KID, &signing_key(1), payload)
    }

    pub(crate) fn envelope(kind: &str, time: &str, data: Value) -> Vec<u8> {
        envelope_as("cmd-1", kind, time, data)
    }

    pub(crate) fn envelope_as(id: &str, kind: &str, time: &str, data: Value) -> Vec<u8> {
        json!({"specversion":"1.0","id":id,"source":"/platform","subject":"/stations/st-1","type":kind,"time":time,
            "data":data})
        .to_string()
        .into_bytes()
    }
}
