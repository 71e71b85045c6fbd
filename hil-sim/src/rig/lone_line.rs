//! `hil-sim serve`: simulated dispensers alone, on a pty, a TCP port or a serial port, worked from the terminal.

use super::bus;
use super::pumps::{BOARD, Build, DECIMALS, dispenser_of, retrofit_of};
use super::workshop::interrupted;
use crate::dispenser::modbus::frame::Framing;
use crate::dispenser::{Action, NozzleIndex, View};
use crate::prng::Prng;
use crate::serve::{Endpoint, Epoch, LineHandle, Served, StateFile};
use crate::wire::{DeviceId, Pace, Wire, WireConfig};
use anyhow::{Context as _, bail, ensure};
use clap::builder::PossibleValuesParser;
use forecourt::ids::Grade;
use forecourt::units::UnitPrice;
use pump_drivers::protocol::Protocol;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

const HELP: &str = "\
lift PUMP NOZZLE | hang PUMP | squeeze PUMP on|off | power PUMP on|off | alarm PUMP CODE
unplug PUMP | plug PUMP | totals | quit        (pumps and nozzles count from 1)";
const LOOK: Duration = Duration::from_millis(200);

/// Where, and what is connected.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: At,
    /// What they speak: dart, two-wire, gaskitlink or modbus.
    #[arg(long, default_value = "dart", value_parser = bus::one)]
    protocol: Protocol,
    /// How Modbus frames come on a TCP port: rtu, as behind a serial device server, or tcp.
    #[arg(long, default_value = "rtu", value_parser = PossibleValuesParser::new(["rtu", "tcp"]))]
    framing: String,
    /// Modbus: instead of dispensers pulse counters, each with a board for its valve sixteen units further.
    #[arg(long)]
    retrofit: bool,
    /// Bits a second; as usual for the protocol if left out.
    #[arg(long)]
    baud: Option<u32>,
    /// How many dispensers, at the lowest addresses of the protocol.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    pumps: u8,
    /// Nozzles of each.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    nozzles: u8,
    /// Price in the heads at the start, millionths of the major unit per litre; heads without prices if left out.
    #[arg(long)]
    unit_price_micros: Option<i64>,
    /// How much faster than at a forecourt fuel flows.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    speed: u32,
    /// Totalisers begin where this puts them.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keeps totalisers over restarts.
    #[arg(long)]
    state: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct At {
    /// Makes a pty and links it here.
    #[arg(long)]
    pty: Option<PathBuf>,
    /// Listens here, as a serial device server does.
    #[arg(long)]
    tcp: Option<SocketAddr>,
    /// Uses a real serial port, 8 data bits and the protocol's parity.
    #[arg(long)]
    serial: Option<PathBuf>,
}

/// What a typed line asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Act(DeviceId, Action),
    Unplug(DeviceId, bool),
    Totals,
    Quit,
    Nothing,
}

/// Runs until end of input, `quit` or Ctrl-C.
///
/// # Errors
/// If the line cannot be served or the state file not be read.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let baud = args.baud.unwrap_or(args.protocol.line_settings().baud);
    let endpoint = match (args.place.pty, args.place.tcp, args.place.serial) {
        (Some(link), _, _) => Endpoint::Pty { link },
        (_, Some(listen), _) => Endpoint::Tcp { listen },
        (_, _, Some(path)) => Endpoint::Serial { path, baud, parity: bus::parity(args.protocol) },
        (None, None, None) => bail!("say where: --pty, --tcp or --serial"),
    };
    let framing = if args.framing == "tcp" { Framing::Tcp } else { Framing::Rtu };
    ensure!(
        framing == Framing::Rtu || args.protocol == Protocol::Modbus && matches!(endpoint, Endpoint::Tcp { .. }),
        "--framing tcp is for --protocol modbus on --tcp"
    );
    ensure!(
        !args.retrofit || args.protocol == Protocol::Modbus && args.pumps <= BOARD,
        "--retrofit is for --protocol modbus and at most {BOARD} pumps"
    );
    let build = Build { baud: args.baud, framing, ..Build::usual(args.speed, Prng::new(args.seed)) };
    let mut prng = build.prng.fork("line");
    let mut wire = Wire::new(
        WireConfig {
            pace: if framing == Framing::Tcp { Pace::NONE } else { endpoint.pace(bus::pace(args.protocol, args.baud)) },
            // A real adapter on a real loop makes the echo itself.
            echo: bus::echoes(args.protocol) && !matches!(endpoint, Endpoint::Serial { .. }),
            ..WireConfig::clean()
        },
        &prng,
    );
    let grade = Grade::new("92")?;
    let each = if args.retrofit { 1 } else { args.nozzles };
    let price = args.unit_price_micros.map(UnitPrice::new);
    for number in 0..args.pumps {
        let nozzles = (0..each).map(|_| (grade.clone(), price));
        let address = bus::address(args.protocol, number);
        wire.connect(if args.retrofit {
            // a valve asks for no price; what the pump behind it is built with is shown nowhere
            let one = std::iter::once((grade.clone(), price.or(Some(UnitPrice::new(1_000_000)))));
            retrofit_of(address, one, &build, &mut prng)
        } else {
            dispenser_of(args.protocol, address, nozzles, &build, &mut prng)
        });
    }
    let keep = args.state.map(|file| StateFile::open(file, &mut wire)).transpose()?;
    let served = Served::start(wire, &endpoint, Epoch::start(), keep)?;
    let (pumps, first) = (args.pumps, bus::address(args.protocol, 0).0);
    let what = format!("{pumps} dispensers from address {first:#04x}, {}", args.protocol.word());
    match (&endpoint, served.listens_on()) {
        (Endpoint::Pty { link }, _) => println!("{what} on {}", link.display()),
        (_, Some(listens)) => println!("{what} on tcp://{listens}"),
        (_, None) => println!("{what}"),
    }
    println!("{HELP}");
    work(&served.handle(), args.pumps, each).await
}

async fn work(line: &LineHandle, pumps: u8, nozzles: u8) -> anyhow::Result<()> {
    let mut typed = typed_lines();
    let mut tick = tokio::time::interval(LOOK);
    let mut shown: Vec<Option<View>> = vec![None; pumps.into()];
    loop {
        tokio::select! {
            text = typed.recv() => {
                let Some(text) = text else { return Ok(()) };
                match parse(&text, pumps, nozzles) {
                    Ok(Line::Act(device, action)) => line.act(device, action),
                    Ok(Line::Unplug(device, out)) => line.unplug(device, out),
                    Ok(Line::Totals) => (0..shown.len()).for_each(|index| println!("{}", totals(line, index))),
                    Ok(Line::Quit) => return Ok(()),
                    Ok(Line::Nothing) => {}
                    Err(error) => println!("{error:#}\n{HELP}"),
                }
            }
            _ = tick.tick() => for (index, last) in shown.iter_mut().enumerate() {
                let view = line.view(DeviceId(index));
                if view != *last {
                    *last = view;
                    println!("{}", describe(index, view));
                }
            },
            () = interrupted() => return Ok(()),
        }
    }
}

fn describe(index: usize, view: Option<View>) -> String {
    let Some(view) = view else { return format!("pump {}: the line is down", index + 1) };
    let out = view.nozzle_out.map_or_else(|| "nozzles in".to_owned(), |nozzle| format!("nozzle {} out", nozzle.0));
    let litres = DECIMALS.volume(view.figures.volume).litres();
    let amount = view.figures.amount.0;
    format!("pump {}: {:?}, {out}, {litres} L, {}.{:02}", index + 1, view.condition, amount / 100, amount % 100)
}

fn totals(line: &LineHandle, index: usize) -> String {
    let totals = line.totalisers(DeviceId(index)).unwrap_or_default();
    let each = totals.volume_ml.iter().map(|(nozzle, volume)| format!("nozzle {} {} L", nozzle.0, volume.litres()));
    format!("pump {}: {}", index + 1, each.collect::<Vec<_>>().join(", "))
}

fn parse(text: &str, pumps: u8, nozzles: u8) -> anyhow::Result<Line> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |what: &str, word: &str, most: u8| -> anyhow::Result<u8> {
        let value: u8 = word.parse().with_context(|| format!("\"{word}\" is no {what} number"))?;
        ensure!((1..=most).contains(&value), "there are {what}s 1 to {most}, not {value}");
        Ok(value)
    };
    let pump = |word: &str| number("pump", word, pumps).map(|number| DeviceId(usize::from(number) - 1));
    let switch = |word: &str| match word {
        "on" => Ok(true),
        "off" => Ok(false),
        other => bail!("\"{other}\" is neither on nor off"),
    };
    Ok(match words[..] {
        [] => Line::Nothing,
        ["quit"] => Line::Quit,
        ["totals"] => Line::Totals,
        ["lift", at, nozzle] => Line::Act(pump(at)?, Action::Lift(NozzleIndex(number("nozzle", nozzle, nozzles)?))),
        ["hang", at] => Line::Act(pump(at)?, Action::HangUp),
        ["squeeze", at, how] => Line::Act(pump(at)?, Action::Squeeze(switch(how)?)),
        ["power", at, how] => Line::Act(pump(at)?, Action::Power(switch(how)?)),
        ["alarm", at, code] => {
            Line::Act(pump(at)?, Action::Alarm(code.parse().with_context(|| format!("\"{code}\" is no alarm code"))?))
        }
        ["unplug", at] => Line::Unplug(pump(at)?, true),
        ["plug", at] => Line::Unplug(pump(at)?, false),
        _ => bail!("not understood: {text}"),
    })
}

/// Lines of standard input. A thread of its own, since a pending read must not keep the process from ending.
pub fn typed_lines() -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_name_pumps_and_nozzles_from_one() {
        let lift = Action::Lift(NozzleIndex(2));
        assert_eq!(parse("lift 1 2", 2, 2).expect("good"), Line::Act(DeviceId(0), lift));
        assert_eq!(parse("power 2 off", 2, 2).expect("good"), Line::Act(DeviceId(1), Action::Power(false)));
        for (text, complaint) in [
            ("lift 3 1", "1 to 2, not 3"),
            ("lift 1 0", "not 0"),
            ("hang x", "\"x\""),
            ("power 1 up", "\"up\""),
            ("fly", "fly"),
        ] {
            let error = format!("{:#}", parse(text, 2, 2).expect_err(text));
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
