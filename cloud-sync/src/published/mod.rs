//! The contract as integrators read it: a table of all messages, from which JSON Schemas, examples and an AsyncAPI 3 document are
//! made. `cargo run -p station-tests --bin publish-contract` writes them to `docs/contract/`; a test holds them against this table,
//! and against what the daemon sends and accepts.

mod asyncapi;
mod commands;
mod examples;
mod schemas;
mod table;

pub use asyncapi::document;
pub use schemas::schema;
pub use table::{ALWAYS, Channel, MESSAGES, Message};

use serde_json::Value;

/// A file of the published contract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Below `docs/contract/`.
    pub path: String,
    /// Its text, JSON.
    pub text: String,
}

/// All files that are made from the types.
#[must_use]
pub fn files() -> Vec<File> {
    let mut files = vec![file("asyncapi.json".into(), &document())];
    for message in MESSAGES {
        files.push(file(format!("schemas/{}.json", message.kind), &schema(message)));
        files.push(file(format!("examples/{}.json", message.kind), &message.event()));
    }
    files
}

fn file(path: String, value: &Value) -> File {
    File { path, text: format!("{value:#}\n") }
}
