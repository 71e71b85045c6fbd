//! `fuel.reply.v1`: the one answer to each command (contract section 2).

use forecourt::command::Reply;
use forecourt::ids::CommandId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The CloudEvent type of a reply.
pub const KIND: &str = "fuel.reply.v1";

/// What the link answers itself, without the site: refusals of contract section 2, and `fuel.resend.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Answer {
    /// Key unknown or signature wrong.
    BadSignature,
    /// `subject` is not this station.
    WrongStation,
    /// `time` is more than 60 s ahead.
    FromTheFuture,
    /// Older than its type allows.
    TooOld,
    /// Type or version unknown.
    Unsupported,
    /// Content not as described.
    Malformed {
        /// JSON pointer into the payload; empty where there is none to point into.
        at: String,
    },
    /// Larger than 64 KiB.
    TooLarge,
    /// Too many commands wait.
    Overloaded,
    /// The records go out again.
    Resending {
        /// How many.
        count: u64,
    },
    /// None of the records asked for is kept.
    UnknownRange,
}

/// An answer of the link's own, with all that its reply needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkReply {
    /// The command's `id`, where it could be read.
    pub command_id: Option<CommandId>,
    /// The command's `type`, where it could be read.
    pub command_type: Option<String>,
    /// What came of it.
    #[serde(flatten)]
    pub answer: Answer,
    /// A sentence for people.
    pub detail: String,
}

/// An answer as the store remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remembered {
    /// Given by the site.
    Site(Reply),
    /// Given by the link.
    Link(LinkReply),
}

/// The `data` of a reply by the site.
///
/// The end of an order is named `id` here, as the contract's row of `already_ended` has it.
#[must_use]
pub fn site_data(reply: &Reply) -> Value {
    let mut data = object(reply);
    if let Some(end) = data.remove("end") {
        data.insert("id".into(), end);
    }
    Value::Object(data)
}

/// The `data` of a reply by the link.
#[must_use]
pub fn link_data(reply: &LinkReply, repeated: bool) -> Value {
    let mut data = object(reply);
    data.insert("repeated".into(), repeated.into());
    Value::Object(data)
}

/// The `data` of the reply to a command that was answered before.
#[must_use]
pub fn repeated_data(remembered: &Remembered) -> Value {
    match remembered {
        Remembered::Site(reply) => site_data(&Reply { repeated: true, ..reply.clone() }),
        Remembered::Link(reply) => link_data(reply, true),
    }
}

fn object(content: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(content) {
        Ok(Value::Object(members)) => members,
        // Both kinds of reply are structs and become objects.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecourt::command::Outcome;
    use forecourt::hold::Hold;
    use forecourt::ids::NozzleId;
    use forecourt::units::UnitPrice;
    use serde_json::json;
    use uuid::Uuid;

    fn id() -> CommandId {
        CommandId::new("cmd-1").expect("an id")
    }

    #[test]
    fn a_reply_of_the_site_has_the_members_of_its_row() {
        let end = Uuid::from_u128(5);
        let table = [
            (Outcome::Armed, json!({"result":"armed"})),
            (Outcome::Queued { position: 2 }, json!({"result":"queued","position":2})),
            (Outcome::Duplicate { state: "armed".into(), end: None }, json!({"result":"duplicate","state":"armed"})),
            (
                Outcome::Conflict { state: "completed".into(), end: Some(end) },
                json!({"result":"conflict","state":"completed","id":end.to_string()}),
            ),
            (
                Outcome::GradeMismatch { suggested_nozzles: vec![NozzleId(4)] },
                json!({"result":"grade_mismatch","suggested_nozzles":[4]}),
            ),
            (
                Outcome::PriceChanged { unit_price_micros: UnitPrice::new(7_550_000) },
                json!({"result":"price_changed","unit_price_micros":7_550_000}),
            ),
            (
                Outcome::NozzleUnavailable { holds: vec![Hold::GasAlarm] },
                json!({"result":"nozzle_unavailable","holds":["gas_alarm"]}),
            ),
            (Outcome::AlreadyEnded { end }, json!({"result":"already_ended","id":end.to_string()})),
        ];
        for (outcome, mut expected) in table {
            let reply = Reply {
                command_id: id(),
                command_type: "fuel.order.authorise.v1".into(),
                outcome,
                detail: "so".into(),
                repeated: false,
            };
            let common =
                json!({"command_id":"cmd-1","command_type":"fuel.order.authorise.v1","detail":"so","repeated":false});
            for (name, value) in common.as_object().expect("an object") {
                expected[name] = value.clone();
            }
            assert_eq!(site_data(&reply), expected);
            expected["repeated"] = true.into();
            assert_eq!(repeated_data(&Remembered::Site(reply)), expected);
        }
    }

    #[test]
    fn a_refusal_says_where_and_carries_null_for_what_could_not_be_read() {
        let reply = LinkReply {
            command_id: None,
            command_type: None,
            answer: Answer::Malformed { at: "/id".into() },
            detail: "/id is missing".into(),
        };
        let expected = json!({"command_id":null,"command_type":null,"result":"malformed","at":"/id",
            "detail":"/id is missing","repeated":false});
        assert_eq!(link_data(&reply, false), expected);
        let text = serde_json::to_string(&reply).expect("JSON");
        assert_eq!(serde_json::from_str::<LinkReply>(&text).ok(), Some(reply));
    }
}
