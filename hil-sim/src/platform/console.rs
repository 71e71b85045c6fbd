//! `hil-sim platform console`: the test driver at a terminal, against any broker. One command a line on standard input.

use super::{Command, Desk, KeyPair, OrderSpec, Platform, Settings, moment, write_jwks};
use crate::rig::lone_line::typed_lines;
use crate::rig::workshop::interrupted;
use anyhow::{Context as _, bail};
use forecourt::ids::{Grade, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Currency, Money, Volume};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where to connect and where the key is kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Broker, plain TCP.
    #[arg(long, default_value = "127.0.0.1:1883")]
    broker: SocketAddr,
    /// Station to serve.
    #[arg(long, default_value = "st-demo")]
    station: String,
    /// Its currency.
    #[arg(long, default_value = "CNY")]
    currency: String,
    /// First levels of the topics.
    #[arg(long, default_value = "fuel/v1")]
    topic_prefix: String,
    /// Keeps the signing key (platform.key) and takes the station's jwks.json.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
}

const HELP: &str = "\
pay NOZZLE amount MINOR | pay NOZZLE volume ML | pay NOZZLE full MINOR
cancel ORDER | move ORDER NOZZLE
stop NOZZLE | hold NOZZLE | unhold NOZZLE        (0 = all)
watch NOZZLE SECONDS | resend FROM TO | report | quit";

/// What a line asks for.
#[derive(Clone, PartialEq, Debug)]
enum Line {
    Send(Command),
    Report,
    Quit,
    Nothing,
}

/// Runs until end of input, `quit` or Ctrl-C.
///
/// # Errors
/// Without a key, a broker or a sensible argument.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let file = args.directory.join("platform.key");
    let key = KeyPair::load_or_generate("platform-1", &file).with_context(|| format!("key {}", file.display()))?;
    let jwks = args.directory.join("jwks.json");
    write_jwks(&jwks, &[&key]).with_context(|| format!("writing {}", jwks.display()))?;
    println!("the station's jwks-file: {}", jwks.display());
    let mut settings = Settings::new(args.broker, &args.station);
    settings.topic_prefix = args.topic_prefix;
    settings.terms.currency = Currency::from_code(&args.currency)?;
    settings.terms.joined_late = true;
    let platform = Platform::connect(settings, key).await?;
    println!("connected to {}\n{HELP}", args.broker);

    let mut lines = typed_lines();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                match platform.look(|desk| parse(&line, desk)) {
                    Ok(Line::Send(command)) => println!("sent {}", platform.send(command)),
                    Ok(Line::Report) => println!("{}", serde_json::to_string_pretty(&platform.report())?),
                    Ok(Line::Quit) => break,
                    Ok(Line::Nothing) => {}
                    Err(error) => println!("{error:#}\n{HELP}"),
                }
            }
            _ = tick.tick() => platform.notices().iter().for_each(|notice| println!("{notice}")),
            () = interrupted() => break,
        }
    }
    Ok(())
}

fn parse(line: &str, desk: &Desk) -> anyhow::Result<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let nozzle = |text: &str| text.parse().map(NozzleId).with_context(|| format!("\"{text}\" is no nozzle number"));
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("\"{text}\" is no whole number"));
    let order = |text: &str| OrderId::new(text).map_err(anyhow::Error::from);
    Ok(Line::Send(match words[..] {
        [] => return Ok(Line::Nothing),
        ["report"] => return Ok(Line::Report),
        ["quit"] => return Ok(Line::Quit),
        ["pay", at, kind, value] => {
            let value = value.parse().with_context(|| format!("\"{value}\" is no whole number"))?;
            let limit = match kind {
                "amount" => Limit::Amount(Money::new(value)),
                "volume" => Limit::Volume(Volume::new(value)),
                "full" => Limit::FullTank(Money::new(value)),
                other => bail!("\"{other}\" is none of amount, volume, full"),
            };
            Command::Authorise(Box::new(spec(nozzle(at)?, limit, desk)?))
        }
        ["cancel", id] => Command::Cancel(order(id)?),
        ["move", id, to] => Command::Move(order(id)?, nozzle(to)?),
        ["stop", at] => Command::Stop(nozzle(at)?),
        ["hold", at] => Command::Hold(nozzle(at)?),
        ["unhold", at] => Command::Unhold(nozzle(at)?),
        ["watch", at, seconds] => {
            Command::Watch(nozzle(at)?, seconds.parse().with_context(|| format!("\"{seconds}\" is no number"))?)
        }
        ["resend", from, to] => Command::Resend(number(from)?, number(to)?),
        _ => bail!("not understood: {line}"),
    }))
}

/// An order as the station's own state describes the nozzle: its grade at its price.
fn spec(nozzle: NozzleId, limit: Limit, desk: &Desk) -> anyhow::Result<OrderSpec> {
    let state = desk.nozzle(nozzle).with_context(|| format!("the station has told nothing of nozzle {nozzle} yet"))?;
    let id = OrderId::new(format!("dev-{}", moment().utc.unix_ms()))?;
    Ok(OrderSpec::prepaid(id, nozzle, Grade::new(&state.grade)?, limit, state.unit_price_micros, desk.currency()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{AckBy, Faults, Terms};
    use reference_platform::contract::fake_station::{FakeStation, STATION};
    use serde_json::json;

    fn desk() -> Desk {
        let terms = Terms {
            station: STATION.into(),
            currency: Currency::CNY,
            ack: AckBy::Ids,
            faults: Faults::default(),
            joined_late: true,
        };
        let mut desk = Desk::new(terms, KeyPair::from_seed("k", [1; 32]), [2; 32]);
        let state = json!({"nozzle": 3, "fuelling_point": 2, "grade": "92", "unit_price_micros": 7_450_000,
            "state": "idle", "available": true, "holds": [], "order_id": null});
        let event = FakeStation::new().event("fuel.nozzle.state.v1", state);
        desk.handle_message("state/nozzle/3", event.to_string().as_bytes(), moment());
        desk
    }

    #[test]
    fn an_order_takes_grade_and_price_from_the_nozzle() {
        let Ok(Line::Send(Command::Authorise(spec))) = parse("pay 3 volume 5000", &desk()) else { panic!("no order") };
        assert_eq!((spec.grade.as_str(), spec.unit_price.get()), ("92", 7_450_000));
        assert_eq!(spec.limit, Limit::Volume(Volume::new(5_000)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_word_that_is_wrong() {
        let desk = desk();
        for (line, complaint) in [
            ("pay 4 amount 1", "nozzle 4"),
            ("pay x amount 1", "\"x\""),
            ("pay 3 litres 1", "\"litres\""),
            ("pay 3 amount 1.5", "\"1.5\""),
            ("cancel o/1", "order id"),
            ("fly", "fly"),
        ] {
            let error = format!("{:#}", parse(line, &desk).expect_err(line));
            assert!(error.contains(complaint), "{line}: {error}");
        }
        assert_eq!(parse("  ", &desk).expect("nothing"), Line::Nothing);
    }
}
