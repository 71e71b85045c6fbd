//! The AsyncAPI 3 document: the station as the application, the platform as its counterpart.

use super::table::{ALWAYS, Channel, MESSAGES, Message};
use serde_json::{Map, Value, json};

/// Version of the document: 1 is the contract's; the rest counts additions.
const VERSION: &str = "1.2.0";

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    for channel in Channel::ALL {
        let name = name_of_channel(channel);
        let here: Vec<&Message> = MESSAGES.iter().filter(|message| message.channel == channel).collect();
        channels.insert(name.into(), describe(channel, &here));
        let reference = |message: &&Message| json!({"$ref": format!("#/channels/{name}/messages/{}", key(message))});
        let mut operation = json!({
            "action": if channel == Channel::Command { "receive" } else { "send" },
            "channel": {"$ref": format!("#/channels/{name}")},
            "summary": summary(channel),
            "messages": here.iter().map(reference).collect::<Vec<_>>(),
            "bindings": {"mqtt": {"qos": channel.qos(), "retain": channel.is_retained(), "bindingVersion": "0.2.0"}},
        });
        if channel == Channel::Command {
            let reply = name_of_channel(Channel::Reply);
            operation["reply"] = json!({
                "channel": {"$ref": format!("#/channels/{reply}")},
                "messages": [{"$ref": format!("#/channels/{reply}/messages/fuel_reply_v1")}],
            });
        }
        operations.insert(operation_name(channel).into(), operation);
    }
    let messages: Map<String, Value> = MESSAGES.iter().map(|message| (key(message), component(message))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Forecourt Edge: cloud contract",
            "version": VERSION,
            "description": "What a fuel station and a cloud platform say to each other over MQTT. Made from the daemon's types; \
                README.md beside this file tells the story of an order and what each result means.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {"broker": {
            "host": "{broker}:8883",
            "protocol": "mqtts",
            "protocolVersion": "3.1.1",
            "description": "The platform's broker. The station dials out, with its client certificate; client id and topic level \
                are its station id; the session is kept.",
            "variables": {"broker": {"description": "Its host name."}},
            "security": [{"type": "X509", "description": "One client certificate a station."}],
            "bindings": {"mqtt": {"cleanSession": false, "keepAlive": 20, "lastWill": {
                "topic": "fuel/v1/{station_id}/state/station", "qos": 1, "retain": true,
                "message": "fuel.station.state.v1 with online false",
            }, "bindingVersion": "0.2.0"}},
        }},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    })
}

fn describe(channel: Channel, here: &[&Message]) -> Value {
    let mut parameters = json!({"station_id": {"description": "The station: A-Z a-z 0-9 _ -, at most 64."}});
    if channel.topic().contains("{nozzle}") {
        parameters["nozzle"] = json!({"description": "The number painted on the pump, 1 to 999."});
    }
    let messages: Map<String, Value> = here
        .iter()
        .map(|message| (key(message), json!({"$ref": format!("#/components/messages/{}", key(message))})))
        .collect();
    json!({
        "address": format!("fuel/v1/{{station_id}}/{}", channel.topic()),
        "description": summary(channel),
        "parameters": parameters,
        "messages": messages,
    })
}

fn component(message: &Message) -> Value {
    let schema = json!({"$ref": format!("./schemas/{}.json", message.kind)});
    let mut component = json!({"name": message.kind, "title": message.kind, "summary": message.summary});
    if message.is_command() {
        component["contentType"] = "application/jose".into();
        component["description"] =
            "One compact JWS, EdDSA over Ed25519, its `kid` in the station's JWKS. Its payload is a \
            CloudEvent as in `x-jws-payload`."
                .into();
        component["payload"] = json!({"type": "string", "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", "maxLength": 65_536});
        component["x-jws-payload"] = schema;
        let results: Vec<&str> = message.results.iter().chain(&ALWAYS).copied().collect();
        component["x-results"] = results.into();
    } else if message.channel == Channel::Event {
        component["description"] =
            "One event, or, while more than 100 wait, an array of at most 100. Stays with the station until acknowledged.".into();
        component["payload"] =
            json!({"oneOf": [schema, {"type": "array", "minItems": 1, "maxItems": 100, "items": schema}]});
    } else {
        component["payload"] = schema;
    }
    if !message.is_command() {
        component["examples"] = json!([{"name": "example", "payload": message.event()}]);
    }
    component
}

fn key(message: &Message) -> String {
    message.kind.replace('.', "_")
}

const fn name_of_channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Station => "stationState",
        Channel::Nozzle => "nozzleState",
        Channel::Event => "event",
        Channel::Progress => "progress",
        Channel::Live => "live",
        Channel::Reply => "reply",
        Channel::Command => "command",
    }
}

const fn operation_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Station => "showStation",
        Channel::Nozzle => "showNozzle",
        Channel::Event => "sendRecord",
        Channel::Progress => "tellProgress",
        Channel::Live => "showLive",
        Channel::Reply => "answer",
        Channel::Command => "obey",
    }
}

const fn summary(channel: Channel) -> &'static str {
    match channel {
        Channel::Station => "The station's state and its will, retained.",
        Channel::Nozzle => "A nozzle's state, retained.",
        Channel::Event => "Durable records, in sequence, each sent again until the platform acknowledges it.",
        Channel::Progress => "Steps of orders, best effort.",
        Channel::Live => "Running figures of a nozzle while it is watched.",
        Channel::Reply => "Exactly one answer to each command.",
        Channel::Command => "Signed commands of the platform. A retained one is refused.",
    }
}
