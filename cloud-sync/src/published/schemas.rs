//! The schema of each message: its envelope around the schema of its `data`.

use super::table::Message;
use crate::wire::reply::Answer;
use crate::wire::state::StationView;
use forecourt::command::Outcome;
use forecourt::errand::Done;
use forecourt::ids::{CommandId, StationId};
use forecourt::time::UtcTime;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Where the schemas call themselves. An identifier, not an address.
const BASE: &str = "https://forecourt-edge.example/contract/v1/schemas/";

const UUID_V7: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";

/// The schema of a type's wire form.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The schema of a whole message, self-contained, in draft 7, which every tool reads.
///
/// Members that a newer version adds are allowed everywhere: readers ignore what they do not know. Of what the station sends, every
/// member that it always writes is required, also where it may be null.
#[must_use]
pub fn schema(message: &Message) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let settings = if message.is_command() { settings.for_deserialize() } else { settings.for_serialize() };
    let mut generator = settings.into_generator();
    let mut data = Value::from((message.data)(&mut generator));
    open(&mut data);
    let mut part = |schema: fn(&mut SchemaGenerator) -> Schema| Value::from(schema(&mut generator));
    let mut members = Map::new();
    let mut member = |name: &str, value: Value| members.insert(name.into(), value);
    member("specversion", json!({"const": "1.0"}));
    member("type", json!({"const": message.kind}));
    let mut time = part(of::<UtcTime>);
    if message.is_command() {
        member("id", part(of::<CommandId>));
        member("source", json!({"const": "/platform"}));
        let subject = part(of::<StationId>)["pattern"].as_str().map(|pattern| pattern.replacen('^', "^/stations/", 1));
        member("subject", json!({"description": "The station it is for.", "type": "string", "pattern": subject}));
    } else {
        let id = json!({"description": "UUIDv7 made by the station.", "type": "string", "format": "uuid", "pattern": UUID_V7});
        member("id", id.clone());
        let source = part(of::<StationId>)["pattern"].as_str().map(|pattern| pattern.replacen('^', "^/stations/", 1));
        member("source", json!({"description": "The station.", "type": "string", "pattern": source}));
        member("datacontenttype", json!({"const": "application/json"}));
        let mut boot = id;
        boot["description"] = "New at each start of the station's software.".into();
        member("bootid", boot);
        time["description"] = "When it happened.".into();
    }
    member("time", time);
    member("data", data);
    let durable = message.channel == super::Channel::Event;
    if durable {
        let hash = |what: &str| json!({"description": what, "type": "string", "pattern": "^[0-9a-f]{64}$"});
        let sequence = "Place in the station's chain: from 1, without gaps, for its life.";
        member("sequence", json!({"description": sequence, "type": "string", "pattern": "^[0-9]{12}$"}));
        member("prevhash", hash("The hash of the record before; zeros for the first."));
        member("hash", hash("SHA-256 of this event's RFC 8785 form without this member."));
    }
    let required: Vec<String> = members.keys().cloned().collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": format!("{BASE}{}.json", message.kind),
        "title": message.kind,
        "description": message.summary,
        "type": "object",
        "properties": members,
        "required": required,
    })
}

/// Drops what closes an object to members not named: both sides ignore what they do not know.
fn open(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("additionalProperties") == Some(&Value::Bool(false)) {
                members.remove("additionalProperties");
            }
            members.values_mut().for_each(open);
        }
        Value::Array(items) => items.iter_mut().for_each(open),
        _ => {}
    }
}

/// [`StationView`] as it is written, with `layout_hash`.
pub(super) struct Station;

impl JsonSchema for Station {
    fn schema_name() -> Cow<'static, str> {
        "Station".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = StationView::json_schema(generator);
        let object = schema.ensure_object();
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            let what = "SHA-256 of the layout's RFC 8785 form: another one, another forecourt.";
            properties.insert(
                "layout_hash".into(),
                json!({"description": what, "type": "string", "pattern": "^[0-9a-f]{64}$"}),
            );
        }
        if let Some(Value::Array(required)) = object.get_mut("required") {
            required.push("layout_hash".into());
        }
        schema
    }
}

/// The answer to a command: what all have in common, and one row for each `result`.
pub(super) struct Reply;

impl JsonSchema for Reply {
    fn schema_name() -> Cow<'static, str> {
        "Reply".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut rows: Vec<Value> = Vec::new();
        for schema in [Outcome::json_schema(generator), Done::json_schema(generator), Answer::json_schema(generator)] {
            for mut row in rows_of(&Value::from(schema)) {
                name_the_end(&mut row);
                let result = |row: &Value| row["properties"]["result"]["const"].clone();
                match rows.iter_mut().find(|other| result(other) == result(&row)) {
                    Some(other) => join(other, &row),
                    None => rows.push(row),
                }
            }
        }
        let id = Value::from(CommandId::json_schema(generator));
        json_schema!({
            "type": "object",
            "properties": {
                "command_id": {
                    "description": "The command's id; null where it could not be read.",
                    "anyOf": [id, {"type": "null"}],
                },
                "command_type": {
                    "description": "The command's type; null where it could not be read.",
                    "type": ["string", "null"],
                },
                "detail": {"description": "A sentence for people.", "type": "string"},
                "repeated": {"description": "The first result again: nothing was done twice.", "type": "boolean"},
            },
            "required": ["command_id", "command_type", "detail", "repeated", "result"],
            "oneOf": rows,
        })
    }
}

/// One schema for each `result`, however deep the choices between them are nested.
fn rows_of(schema: &Value) -> Vec<Value> {
    if schema["properties"]["result"].is_object() {
        return vec![schema.clone()];
    }
    let choices = ["oneOf", "anyOf"].into_iter().filter_map(|name| schema[name].as_array());
    choices.flatten().flat_map(rows_of).collect()
}

/// Two commands have a result of the same name: only what both require is required, and a member may have either form.
fn join(row: &mut Value, other: &Value) {
    if let (Some(ours), Some(theirs)) = (row["properties"].as_object_mut(), other["properties"].as_object()) {
        for (name, schema) in theirs {
            match ours.get_mut(name) {
                None => drop(ours.insert(name.clone(), schema.clone())),
                Some(ours) if ours == schema => {}
                Some(ours) => *ours = json!({"anyOf": [ours.clone(), schema]}),
            }
        }
    }
    let theirs = other["required"].as_array().cloned().unwrap_or_default();
    if let Some(Value::Array(required)) = row.get_mut("required") {
        required.retain(|name| theirs.contains(name));
    }
}

/// The end of an order is named `id` in a reply (contract section 4).
fn name_the_end(row: &mut Value) {
    if let Some(Value::Object(properties)) = row.get_mut("properties")
        && let Some(end) = properties.remove("end")
    {
        properties.insert("id".into(), end);
    }
    if let Some(Value::Array(required)) = row.get_mut("required") {
        for name in required.iter_mut().filter(|name| *name == "end") {
            *name = "id".into();
        }
    }
}
