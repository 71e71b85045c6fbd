//! What comes on the command topic and is no good command: forged, for someone else, broken, or too much.

use super::act::Hostile;
use crate::day::world::World;
use crate::platform::{Command, KeyPair, OrderSpec};
use forecourt::ids::UuidMaker;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const AUTHORISE: &str = "fuel.order.authorise.v1";

/// Sends it.
pub(super) fn send(world: &mut World, what: &Hostile, specs: &BTreeMap<&str, OrderSpec>) {
    let good = specs.values().next();
    match what {
        Hostile::ForgedPay(order) => {
            let key = KeyPair::from_seed("platform-1", [0x66; 32]);
            let event = event_of(world, specs.get(order.as_str()));
            foreign(world, "forged", event, &key);
        }
        Hostile::OtherStation(order) => {
            let key = world.platform_key();
            let mut event = event_of(world, specs.get(order.as_str()));
            event["subject"] = "/stations/st-elsewhere".into();
            foreign(world, "astray", event, &key);
        }
        Hostile::Junk => world.send_raw("this is no command".into(), false),
        Hostile::TooMuch => world.send_raw("e".repeat(1_000_000), false),
        Hostile::UnknownType => {
            world.issue(Command::Other("fuel.order.authorise.v9".into(), json!({"order_id": "X"})));
        }
        Hostile::NoLimit => spoilt(world, good, |data| {
            data.as_object_mut().map(|data| data.remove("limit"));
        }),
        Hostile::Decimals => spoilt(world, good, |data| data["limit"] = json!({"amount_minor": 200.5})),
        Hostile::Zero => spoilt(world, good, |data| data["limit"] = json!({"amount_minor": 0})),
        Hostile::Nozzle(number) => spoilt(world, good, |data| data["nozzle"] = (*number).into()),
    }
}

/// The authorise of an order as an event with a fresh id.
fn event_of(world: &World, spec: Option<&OrderSpec>) -> Value {
    let mut chance = world.chance(&format!("foreign-{}", world.now().as_micros()));
    let id = UuidMaker::new(core::array::from_fn(|_| chance.byte())).make(world.utc());
    let command =
        spec.map_or(Command::Other(AUTHORISE.into(), json!({})), |spec| Command::Authorise(Box::new(spec.clone())));
    command.event(id, "st-sim", world.utc())
}

fn foreign(world: &mut World, kind: &str, event: Value, key: &KeyPair) {
    let token = key.sign(event.to_string().as_bytes());
    if let Some(id) = event["id"].as_str().and_then(|id| id.parse().ok()) {
        world.issue_foreign(id, Command::Other(kind.into(), event["data"].clone()), token);
    }
}

/// A good order with one thing wrong, well signed.
fn spoilt(world: &mut World, spec: Option<&OrderSpec>, spoil: impl FnOnce(&mut Value)) {
    let mut event = event_of(world, spec);
    event["data"]["order_id"] = "spoilt".into();
    spoil(&mut event["data"]);
    let key = world.platform_key();
    foreign(world, "spoilt", event, &key);
}
