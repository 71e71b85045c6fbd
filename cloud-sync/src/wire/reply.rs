//! `fuel.reply.v1`: the one answer to each command (contract section 2).

use forecourt::command::Reply;
use forecourt::ids::CommandId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The CloudEvent type of a reply.
pub const KIND: &str = "fuel.reply.v1";

/// What the link answers itself, without the site: refusals of contract section 2, and `fuel.resend.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
