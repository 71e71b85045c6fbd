//! From the configuration to the core's layout and to one line for each wire.

use crate::config::{self, Config, Mode, Protocol, Ways};
use cloud_sync::mqtt::{BadSettings, BrokerUrl};
use forecourt::ids::NozzleId;
use forecourt::layout::{FuellingPointLayout, GradeRules, Layout, Limits, NozzleLayout, TimerSettings};
use forecourt::price::PriceDigits;
use forecourt::units::UnitPrice;
use pump_drivers::decimals::Decimals;
use pump_drivers::driver::Driver;
use pump_drivers::head::{HeadSettings, Rules, validate};
use pump_drivers::line::{Line, LineSettings};
use pump_drivers::listen::{Ear, Listener};
use pump_drivers::port::{Parity, SerialSettings, Transport};
use pump_drivers::{dart, gaskitlink, modbus, two_wire};
use std::collections::BTreeMap;

/// A line with its name and place, ready to be run.
pub struct Wired {
    /// As configured.
    pub config: config::Line,
    /// Its core.
    pub line: Line,
}

/// A line that another controller drives, with its name and place.
pub struct Heard {
    /// As configured.
    pub config: config::Line,
    /// Its core.
    pub listener: Listener,
}

/// One listener for each wire that another controller drives.
#[must_use]
pub fn listeners(config: &Config) -> Vec<Heard> {
    let prices = prices(config);
    let only_listen = config.lines.iter().filter(|line| line.mode == Mode::ListenOnly);
    let heard = only_listen.filter_map(|line| {
        let settings = line_settings(line);
        let heads = line.dispensers.iter().map(|head| head_settings(config, line, head, &prices));
        let ear: Box<dyn Ear> = match line.protocol {
            Protocol::Dart => Box::new(dart::DartEar::new(settings, heads.collect())),
            Protocol::TwoWire => {
                let levels = line.dispensers.iter().map(|head| match &head.ways {
                    Ways::TwoWire(habits) => habits.level,
                    _ => two_wire::Habits::default().level,
                });
                Box::new(two_wire::TwoWireEar::new(&settings, heads.zip(levels).collect()))
            }
            // The configuration refuses what has no ears.
            Protocol::GasKitLink | Protocol::Modbus => return None,
        };
        Some(Heard { config: line.clone(), listener: Listener::new(settings, ear) })
    });
    heard.collect()
}

/// One line for each wire of the configuration that we drive.
///
/// # Errors
/// A sentence for each thing that a driver cannot serve, also on the lines that are only listened to.
pub fn lines(config: &Config) -> Result<Vec<Wired>, Vec<String>> {
    let prices = prices(config);
    let mut problems = Vec::new();
    let mut wired = Vec::new();
    for line in &config.lines {
        let settings = line_settings(line);
        problems.extend(settings.problems().into_iter().map(|problem| format!("line {}: {problem}", line.name)));
        let heads: Vec<_> = line.dispensers.iter().map(|head| head_settings(config, line, head, &prices)).collect();
        let wrong = validate(&heads, &rules(line));
        problems.extend(wrong.into_iter().map(|problem| format!("line {}: {problem}", line.name)));
        for (entry, head) in line.dispensers.iter().zip(&heads) {
            if let Ways::Modbus(habits) = &entry.ways {
                let lacking = habits.problems(head);
                problems.extend(lacking.into_iter().map(|problem| format!("line {}: {problem}", line.name)));
            }
        }
        if problems.is_empty() && line.mode == Mode::Control {
            let drivers = line.dispensers.iter().zip(heads).map(|(entry, head)| driver(&entry.ways, head)).collect();
            let core = Line::new(settings, drivers);
            let core = match line.protocol.watch() {
                Some(watch) => core.with_watch(watch),
                None => core,
            };
            wired.push(Wired { config: line.clone(), line: core });
        }
    }
    if problems.is_empty() { Ok(wired) } else { Err(problems) }
}

/// What the heads of a line have room for; the largest of them where they differ.
fn rules(line: &config::Line) -> Rules {
    line.dispensers
        .iter()
        .map(|head| head.ways.rules(line.protocol))
        .max_by_key(|rules| rules.price_digits)
        .unwrap_or_else(|| line.protocol.rules())
}

fn driver(ways: &Ways, head: HeadSettings) -> Box<dyn Driver> {
    match ways {
        Ways::Dart(habits) => Box::new(dart::DartDriver::new(head, *habits)),
        Ways::GasKitLink(habits) => Box::new(gaskitlink::GasKitLinkDriver::new(head, *habits)),
        Ways::TwoWire(habits) => Box::new(two_wire::TwoWireDriver::new(head, *habits)),
        Ways::Modbus(habits) => {
            // Another number for each run, so that an answer to the last one is never taken.
            let mut number = [0; 2];
            let first_transaction = getrandom::fill(&mut number).map_or(0, |()| u16::from_le_bytes(number));
            Box::new(modbus::ModbusDriver::new(head, modbus::Habits { first_transaction, ..habits.clone() }))
        }
        Ways::Pulses(habits) => Box::new(modbus::PulseDriver::new(head, habits.clone())),
    }
}

fn prices(config: &Config) -> BTreeMap<String, UnitPrice> {
    config.grades.iter().map(|grade| (grade.code.as_str().to_owned(), grade.unit_price)).collect()
}

fn line_settings(line: &config::Line) -> LineSettings {
    let usual = match (line.protocol, &line.port) {
        (Protocol::Modbus, config::Port::Tcp { .. }) => modbus::tcp_settings(line.framing),
        _ => line.protocol.line_settings(),
    };
    LineSettings {
        baud: line.baud,
        // A start bit, eight data bits, a stop bit, and the parity bit if there is one.
        bits_per_char: if line.parity == config::Parity::None { 10 } else { 11 },
        pause_before_send: line.pause_before_send,
        listen_before: line.listen_before,
        echo: line.echo,
        answer_window: line.answer_window,
        comm_lost: line.comm_lost,
        ..usual
    }
}

fn head_settings(
    config: &Config,
    line: &config::Line,
    head: &config::Dispenser,
    prices: &BTreeMap<String, UnitPrice>,
) -> HeadSettings {
    let decimals = Decimals {
        volume: head.decimals.volume,
        price: head.decimals.price,
        amount: head.decimals.amount,
        totals: head.decimals.totals,
    };
    let mut settings = HeadSettings::new(head.fuelling_point, head.address, decimals, config.station.currency);
    settings.suspend = head.suspend;
    settings.comm_lost = line.comm_lost;
    for nozzle in &head.nozzles {
        let price = prices.get(nozzle.grade.as_str()).copied().unwrap_or(UnitPrice::ZERO);
        settings = settings.with_nozzle(nozzle.logical, nozzle.number, price);
    }
    settings
}

/// The core's picture of the station: the configuration, and what the drivers say their dispensers can do.
#[must_use]
pub fn layout(config: &Config, wired: &[Wired]) -> Layout {
    let mut fuelling_points = BTreeMap::new();
    let mut nozzles = BTreeMap::new();
    let heard = listeners(config);
    let able: BTreeMap<_, _> = wired
        .iter()
        .flat_map(|wired| wired.line.capabilities())
        .chain(heard.iter().flat_map(|heard| heard.listener.capabilities()))
        .map(|(fp, able)| (fp, able.clone()))
        .collect();
    for line in &config.lines {
        for head in &line.dispensers {
            let Some(capabilities) = able.get(&head.fuelling_point).cloned() else { continue };
            let here: Vec<NozzleId> = head.nozzles.iter().map(|nozzle| nozzle.number).collect();
            for nozzle in &head.nozzles {
                let place = NozzleLayout { fp: head.fuelling_point, grade: nozzle.grade.clone() };
                nozzles.insert(nozzle.number, place);
            }
            let price_digits = PriceDigits::new(head.ways.rules(line.protocol).price_digits, head.decimals.price);
            let another_drives = line.mode == Mode::ListenOnly;
            let point = FuellingPointLayout { capabilities, another_drives, price_digits, nozzles: here };
            fuelling_points.insert(head.fuelling_point, point);
        }
    }
    let grades = config.grades.iter().map(|grade| {
        let most = if config.unattended.is_some() { grade.unattended } else { grade.attended };
        let rules = GradeRules {
            price: grade.unit_price,
            ceiling: grade.ceiling,
            max_volume: most.volume,
            max_fill: most.fill,
        };
        (grade.code.clone(), rules)
    });
    Layout {
        currency: config.station.currency,
        price_set: config.station.price_set.clone(),
        utc_offset_minutes: i16::try_from(config.station.utc_offset_minutes).unwrap_or(0),
        fuelling_points,
        nozzles,
        grades: grades.collect(),
        timers: TimerSettings {
            lift: config.timers.lift_timeout,
            first_flow: config.timers.first_flow,
            no_flow: config.timers.no_flow,
            price_overdue: config.timers.price_overdue,
            ..TimerSettings::default()
        },
        limits: Limits {
            amount: config.limits.amount,
            customer_day_amount: config.limits.customer_day_amount,
            minimum_volume: config.limits.minimum_volume,
            // The configuration counts those that wait behind the armed one.
            queue: usize::try_from(config.limits.queue).unwrap_or(usize::MAX).saturating_add(1),
        },
    }
}

/// A broker's address as the link wants it.
///
/// # Errors
/// Where it is none; the configuration was checked before.
pub fn broker(broker: &config::Broker) -> Result<BrokerUrl, BadSettings> {
    let scheme = if broker.tls { "mqtts" } else { "mqtt" };
    format!("{scheme}://{}:{}", broker.host, broker.port).parse()
}

/// What a line hangs on, as its port wants it.
#[must_use]
pub fn transport(line: &config::Line) -> Transport {
    match &line.port {
        config::Port::Serial(path) => Transport::Serial(SerialSettings {
            path: path.clone(),
            baud: line.baud,
            parity: match line.parity {
                config::Parity::Odd => Parity::Odd,
                config::Parity::Even => Parity::Even,
                config::Parity::None => Parity::None,
            },
            rs485: line.rs485,
        }),
        config::Port::Tcp { host, port } => Transport::Tcp(format!("{host}:{port}")),
    }
}
