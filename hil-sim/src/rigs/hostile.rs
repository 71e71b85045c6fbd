//! A cloud gone bad: thousands of wrong commands a second while fuel flows. Each must be refused, answered or dropped at a bound,
//! and the pumps must not notice.
//!
//! The attacker has a broker login, every good token that was ever sent, and even a key that the station knows; what that key signs
//! here is wrong in content, time or place. (A good key that signs good commands is the platform.)

use super::Verdict;
use super::bed::{Bed, Setup};
use super::trace::Life;
use crate::broker::Broker;
use crate::dispenser::Condition;
use crate::platform::{Acked, Command, KeyPair, OrderSpec, PriceSet, moment};
use crate::rig::daemon::usage_of;
use crate::rig::table::Table;
use anyhow::{Context as _, ensure};
use forecourt::ids::{NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, NetworkOptions, QoS};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long, and how much.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Commands a second.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds of flood.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Mosquitto instead of the embedded broker.
    #[arg(long)]
    mosquitto: bool,
}

const LIMIT: Duration = Duration::from_secs(40);
/// More than flows while the flood lasts.
const PLENTY: Volume = Volume::new(90_000);
const TICK: Duration = Duration::from_millis(10);
/// One in so many is larger than the contract allows.
const GIANT_EVERY: u64 = 400;
/// Results that would mean that a wrong command had an effect. A replayed one is answered from memory, marked as repeated, and not counted.
const EFFECTS: [&str; 15] = [
    "armed",
    "queued",
    "cancelled",
    "moved",
    "stopped",
    "held",
    "unheld",
    "watching",
    "resending",
    "duplicate",
    "scheduled",
    "updated",
    "applied",
    "revoked",
    "erased",
];
/// Types of commands that a station knows.
const TYPES: u64 = 16;
/// Ways to spoil one.
const WAYS: u64 = 12;
/// The daemon may grow by this under the flood.
const GROWTH_KIB: u64 = 64 * 1024;

/// Replies to the attacker's commands, by result.
type Tally = Arc<Mutex<BTreeMap<String, u64>>>;

/// Runs the rig.
///
/// # Errors
/// What could not be started.
pub async fn run(args: &Args, program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    let broker = if args.mosquitto { Broker::mosquitto(directory)? } else { Broker::embedded()? };
    let kind = broker.kind();
    let setup = Setup { flow_litres: 1, joined_late: true, ..Setup::default() };
    let mut bed = Bed::new(directory, program, broker, &setup).await?;
    let insider = KeyPair::generate("insider")?;
    let jwks = bed.plan.jwks_file();
    let mut keys: Value = serde_json::from_slice(&std::fs::read(&jwks)?)?;
    keys["keys"].as_array_mut().context("a key set")?.push(insider.jwk());
    std::fs::write(&jwks, keys.to_string())?;

    let mut life = bed.live(None)?;
    bed.platform.nozzles_ready(&bed.plan.nozzles(), LIMIT).await?;
    // An order with its end, to be replayed.
    let mut ended = bed.pay_for(Volume::new(2_000))?;
    bed.drive(&mut ended, &mut life).await?;
    ensure!(bed.is_sold(&ended), "the order to be replayed was not fuelled");
    // A hold that was lifted again: both words come back in the wrong order.
    let held = bed.platform.send(Command::Hold(ended.nozzle));
    bed.platform.reply(held, LIMIT).await?;
    let unheld = bed.platform.send(Command::Unhold(ended.nozzle));
    bed.platform.reply(unheld, LIMIT).await?;
    bed.platform.nozzles_ready(&[ended.nozzle], LIMIT).await?;
    let token = |id| bed.platform.look(|desk| desk.issued(id).map(|issued| issued.token.clone()));
    let replayed: Option<Vec<_>> = [unheld, held, ended.command].map(token).into_iter().collect();
    // One that fuels all the while.
    let mut open = bed.pay_for(PLENTY)?;
    let begun = Instant::now();
    while !bed.pumps.view(open.nozzle).is_some_and(|view| view.flowing) {
        ensure!(begun.elapsed() < LIMIT && !life.is_over(), "no fuel flows");
        bed.act(&mut open);
        tokio::time::sleep(TICK).await;
    }
    let memory = |life: &Life| life.id().and_then(|id| usage_of(id).ok()).map_or(0, |usage| usage.rss_kib);
    let window = Duration::from_secs(3);
    let before = cycle(&bed, window).await?;
    let memory_before = memory(&life);

    let forge = Forge {
        station: bed.plan.station.clone(),
        insider,
        stranger: KeyPair::generate("platform-1")?,
        replayed: replayed.context("tokens that were sent")?,
        nozzle: open.nozzle,
    };
    let tally = Tally::default();
    let topic = format!("fuel/v1/{}/", bed.plan.station);
    let address = bed.broker.address();
    let client = listen(address, &topic, Arc::clone(&tally)).await?;
    let flood = tokio::spawn(flood(client, format!("{topic}cmd"), forge, args.rate, args.seconds));
    let mut cycles = Vec::new();
    let mut peak = 0;
    let begun = Instant::now();
    while begun.elapsed() + window < Duration::from_secs(args.seconds) {
        cycles.push(cycle(&bed, window).await?);
        peak = peak.max(memory(&life));
        ensure!(!life.is_over(), "the daemon ended under the flood");
    }
    // The platform's own word still counts, and at once.
    let asked = Instant::now();
    let stop = bed.platform.send(Command::Stop(open.nozzle));
    let stopped = bed.platform.reply(stop, LIMIT).await.map(|(reply, at)| (reply.result, at.duration_since(asked)));
    let flows = || bed.pumps.view(open.nozzle).is_some_and(|view| view.condition != Condition::Finished);
    while flows() && asked.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let quiet = asked.elapsed();
    let sent = flood.await?;
    bed.drive(&mut open, &mut life).await?;
    let data = bed.plan.data_directory();
    bed.settle(&data).await?;

    let mut broke = bed.differences(&data)?;
    let out = || bed.pumps.view(open.nozzle).is_some_and(|view| view.nozzle_out.is_some());
    let begun = Instant::now();
    while out() && begun.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let fuellings: usize = bed.plan.nozzles().iter().map(|nozzle| bed.pumps.fuellings(*nozzle).len()).sum();
    if fuellings != 2 {
        broke.push(format!("{fuellings} fuellings, two were paid for"));
    }
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut table = Table::new(["answered", "commands"]);
    for (result, count) in &tally {
        table.row([result.clone(), count.to_string()]);
        if EFFECTS.contains(&result.as_str()) {
            broke.push(format!("{count} wrong commands were answered {result}"));
        }
    }
    println!("{table}");
    if bed.platform.nozzles_ready(&bed.plan.nozzles(), LIMIT).await.is_err() {
        broke.push("a nozzle is held: a hold that was lifted came back and counted".into());
    }
    if peak > memory_before + GROWTH_KIB {
        broke.push(format!("the daemon grew from {memory_before} to {peak} KiB"));
    }
    match &stopped {
        Ok((result, _)) if result == "stopped" => {}
        other => broke.push(format!("the platform's stop was answered {other:?}")),
    }
    life.terminate().await?;
    if !broke.is_empty() {
        return Ok(Verdict::Broke(broke));
    }
    cycles.sort_unstable();
    let median = cycles.get(cycles.len() / 2).copied().unwrap_or_default();
    let answered: u64 = tally.values().sum();
    Ok(Verdict::Held(format!(
        "{sent} wrong commands in {} s over {kind} ({}/s), {answered} answered one by one, the rest refused at a bound; no pump released, \
         each sale once; poll cycle {} us before, median {} us under the flood ({} %); a stop answered in {} ms, flow ended in {} ms; \
         daemon {memory_before} KiB before, at most {peak} KiB",
        args.seconds,
        sent / args.seconds.max(1),
        before.as_micros(),
        median.as_micros(),
        median.as_micros() * 100 / before.as_micros().max(1),
        stopped.map_or(0, |(_, time)| time.as_millis()),
        quiet.as_millis(),
    )))
}

/// Mean time between two answers of the line's dispensers.
async fn cycle(bed: &Bed, window: Duration) -> anyhow::Result<Duration> {
    let line = bed.pumps.line(0).context("a line")?;
    let replies = || line.with(|wire, _| wire.counters().replies).context("the line is down");
    let (was, begun) = (replies()?, Instant::now());
    tokio::time::sleep(window).await;
    let answers = u32::try_from(replies()? - was)?;
    begun.elapsed().checked_div(answers).context("no dispenser answered")
}

/// The attacker's connection: it also reads what the station answers.
async fn listen(address: std::net::SocketAddr, topic: &str, tally: Tally) -> anyhow::Result<AsyncClient> {
    let mut options = MqttOptions::new("insider", address.ip().to_string(), address.port());
    options.set_max_packet_size(2 * 1024 * 1024, 2 * 1024 * 1024).set_inflight(1_000);
    let (client, mut events) = AsyncClient::new(options, 4_096);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    client.subscribe(format!("{topic}reply"), QoS::AtLeastOnce).await?;
    tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::Publish(message))) => {
                    let reply: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                    let data = &reply["data"];
                    // Those of the platform's own commands have a UUID there.
                    if data["command_id"].as_str().is_none_or(|id| Uuid::parse_str(id).is_err()) {
                        let result = data["result"].as_str().unwrap_or("nothing").to_owned();
                        *tally.lock().unwrap_or_else(PoisonError::into_inner).entry(result).or_default() += 1;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the attacker's link ended");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(client)
}

/// Sends at a rate as far as the broker takes it. Gives how many.
async fn flood(client: AsyncClient, topic: String, forge: Forge, rate: u64, seconds: u64) -> u64 {
    let mut sent = 0;
    let begun = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    while begun.elapsed() < Duration::from_secs(seconds) {
        tick.tick().await;
        let due = rate * u64::try_from(begun.elapsed().as_millis()).unwrap_or(0) / 1_000;
        while sent < due && begun.elapsed() < Duration::from_secs(seconds) {
            if client.publish(&topic, QoS::AtLeastOnce, false, forge.token(sent)).await.is_err() {
                return sent;
            }
            sent += 1;
        }
    }
    sent
}

/// Makes wrong commands.
struct Forge {
    station: String,
    /// The station knows it.
    insider: KeyPair,
    /// Has the name of one that the station knows.
    stranger: KeyPair,
    /// Good ones that were sent, the last first.
    replayed: Vec<String>,
    nozzle: NozzleId,
}

impl Forge {
    /// A good command of each type in turn, before it is spoilt.
    fn command(&self, number: u64) -> Command {
        let order = OrderId::new(format!("hostile-{number}")).expect("an id");
        let grade = forecourt::ids::Grade::new("92").expect("a grade");
        let (limit, price) = (Limit::Amount(Money::new(20_000)), UnitPrice::new(7_450_000));
        let other = |kind: &str, data: Value| Command::Other(format!("fuel.{kind}.v1"), data);
        match number % TYPES {
            0 => {
                Command::Authorise(Box::new(OrderSpec::prepaid(order, self.nozzle, grade, limit, price, Currency::CNY)))
            }
            1 => Command::Cancel(order),
            2 => Command::Move(order, self.nozzle),
            3 => Command::Stop(self.nozzle),
            4 => Command::Hold(self.nozzle),
            5 => Command::Unhold(self.nozzle),
            6 => Command::Watch(self.nozzle, 60),
            7 => Command::Ack(Acked::Through(u64::MAX / 2)),
            8 => Command::Nack(Uuid::from_u128(number.into()), "hostile".into()),
            9 => Command::Resend(1, 2),
            10 => Command::SetPrices(Box::new(PriceSet {
                name: format!("HOSTILE-{number}"),
                effective_at: moment().utc,
                prices: BTreeMap::from([(grade, UnitPrice::new(7_460_000))]),
            })),
            11 => other(
                "list.update",
                json!({"list": "deny", "version": 1, "kind": "full", "entries": [{"customer": "c-hostile"}]}),
            ),
            12 => other("config.set", json!({"version": number, "hash": "0".repeat(64), "document": "[site]"})),
            13 => other("report.request", json!({"scope": "day", "period": "2026-11-21"})),
            14 => other("credentials.revoke", json!({"kid": "platform-1"})),
            _ => other("privacy.erase", json!({"customer": "c-hostile"})),
        }
    }

    /// The nth wrong command: every type, wrong in every way.
    fn token(&self, number: u64) -> String {
        if number.is_multiple_of(GIANT_EVERY) {
            return "e".repeat(70_000);
        }
        let command = self.command(number);
        let mut event = command.event(Uuid::from_u128(number.into()), &self.station, moment().utc);
        event["id"] = format!("hostile-{number}").into();
        let mut key = &self.insider;
        let time = |ms: i64| Value::from(moment().utc.plus_ms(ms).to_string());
        match number / TYPES % WAYS {
            0 => key = &self.stranger,
            1 => event["subject"] = "/stations/st-elsewhere".into(),
            2 => {
                event["time"] = time(-10 * 60_000);
                event["data"]["expires_at"] = time(-1);
                event["data"]["effective_at"] = time(-25 * 3_600_000);
            }
            3 => event["time"] = time(10 * 60_000),
            4 => spoil(&mut event["data"], &json!(1.5)),
            5 => spoil(&mut event["data"], &json!(-1)),
            6 => spoil(&mut event["data"], &json!("9".repeat(400))),
            7 => spoil(&mut event["data"], &json!({"litres": 20})),
            8 => event["type"] = format!("{}9", command.kind()).into(),
            9 => event["data"] = json!([]),
            10 => {
                return self.replayed[usize::try_from(number / (TYPES * WAYS)).unwrap_or(0) % self.replayed.len()]
                    .clone();
            }
            _ => {
                // The last character of a signature may carry unused bits; the one in its middle does not.
                let token = self.insider.sign(event.to_string().as_bytes());
                let middle = token.len() - 43;
                let other = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
                return format!("{}{other}{}", &token[..middle], &token[middle + 1..]);
            }
        }
        key.sign(event.to_string().as_bytes())
    }
}

/// Puts a value that is right for none in the place of every member.
fn spoil(data: &mut Value, value: &Value) {
    for member in data.as_object_mut().into_iter().flat_map(|members| members.values_mut()) {
        *member = value.clone();
    }
}
