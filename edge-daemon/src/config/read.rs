//! From the text of a configuration to its types.

use crate::config::check::{self, Local, Seen};
use crate::config::consumers;
use crate::config::office;
use crate::config::problem::Problem;
use crate::config::sold;
use crate::config::walk::{Field, Found, Place, Report, Section};
use crate::config::ways;
use crate::config::{
    Ack, Broker, Cloud, Config, Decimals, DiskLimits, Dispenser, Files, GradeEntry, Https, Limits, Line, Log,
    LogFormat, LogLevel, Mode, NozzleEntry, Observe, Parity, Port, Protocol, SiteTimers, Station, Tls, TraceRing,
};
use cloud_sync::https::HttpUrl;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, PriceSetId, StationId};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::line::Echo;
use pump_drivers::modbus::wire::Framing;
use std::path::PathBuf;
use toml::de::DeTable;

/// Where `observe.sock` is unless said otherwise.
const DEFAULT_SOCKET: &str = "/run/forecourt-edge/observe.sock";
/// Another controller polls many times in this; a start takes no longer by it than people notice.
const LISTEN_BEFORE_MS: i64 = 1_000;
/// A fuelling point or nozzle number, as painted.
const PAINTED: core::ops::RangeInclusive<i64> = 1..=999;

/// Reads a configuration. The second part are warnings.
///
/// # Errors
/// All problems, warnings among them, in the order of the text.
pub fn parse(text: &str, files: &dyn Files) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let report = Report::new(text);
    let (document, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        // What the parser guessed after a slip would only add problems that are none.
        for fault in &faults {
            let at = Place { offset: fault.span().map_or(0, |span| span.start), key: String::new() };
            report.error(&at, fault.message().replace('\n', ", "), "");
        }
        return Err(report.into_problems());
    }
    let root = Section::new(&report, document.get_ref(), Place { offset: 0, key: String::new() });
    let config = config(root, &report, files);
    match config {
        Some(config) if !report.has_errors() => Ok((config, report.into_problems())),
        _ => Err(report.into_problems()),
    }
}

fn config(mut root: Section<'_, '_>, report: &Report<'_>, files: &dyn Files) -> Option<Config> {
    let station = root.section("station").and_then(|section| station(section, report));
    let currency = station.as_ref().map_or(Currency::CNY, |station| station.currency);
    let cloud = root.section_if_any("cloud").optional().map(|found| cloud(found.value, report, files));
    let consumers = root.sections("consumers").optional();
    let consumers = consumers.map_or(Some(Vec::new()), |found| consumers::read(found.value, report, files));
    let timers = root.section("timers").map(timers);
    let limits = root.section("limits").map(limits);
    let unattended = root.section_if_any("unattended").optional().map(|found| sold::unattended(found.value, report));
    let disk = root.section("disk").map(disk);

    let mut seen = Seen::new(report);
    let grades = root.sections("grade").required(report, "at least one [[grade]]");
    let grades: Vec<Option<GradeEntry>> = grades
        .map(|found| found.value.into_iter().map(|section| grade(section, report, &mut seen)).collect())
        .unwrap_or_default();
    let lines = root.sections("line").required(report, "at least one [[line]]");
    let lines: Vec<Option<Line>> = lines
        .map(|found| found.value.into_iter().map(|section| line(section, report, files, &mut seen, currency)).collect())
        .unwrap_or_default();

    let data = station.as_ref().map(|station| station.data_directory.clone()).unwrap_or_default();
    let trace = root.section("trace").map(|section| trace(section, report, &data));
    let log = root.section("log").map(log);
    let observe = root.section("observe").map(|section| observe(section, report));
    let base = station.as_ref().map(|station| office::base(station.time_zone.as_deref(), station.utc_offset_minutes));
    let periods = root.section("reports").map(|section| office::reports(section, report, base));
    let voucher = root.section_if_any("voucher").optional().map(|found| office::voucher(found.value, report, files));
    let beside = observe.as_ref().map(|observe| observe.socket.clone()).unwrap_or_default();
    let control = root.section("control").map(|section| office::control(section, report, &beside));
    root.finish();

    let grades: Vec<GradeEntry> = grades.into_iter().collect::<Option<_>>()?;
    let lines: Vec<Line> = lines.into_iter().collect::<Option<_>>()?;
    let sold: Vec<Grade> = lines
        .iter()
        .flat_map(|line| &line.dispensers)
        .flat_map(|dispenser| dispenser.nozzles.iter().map(|nozzle| nozzle.grade.clone()))
        .collect();
    if !report.has_errors() {
        seen.unsold(&grades, &sold);
    }
    let cloud = match cloud {
        None => None,
        Some(cloud) => Some(cloud?),
    };
    let voucher = match voucher {
        None => None,
        Some(voucher) => Some(voucher?),
    };
    Some(Config {
        periods: periods??,
        voucher,
        control: control?,
        station: station?,
        cloud,
        consumers: consumers?,
        timers: timers?,
        limits: limits?,
        unattended: unattended.flatten(),
        disk: disk?,
        grades,
        lines,
        trace: trace?,
        log: log?,
        observe: observe?,
    })
}

fn station(mut section: Section<'_, '_>, report: &Report<'_>) -> Option<Station> {
    let id = section.text("id").check(report, "", StationId::new).required(report, "the station's id at the platform");
    let name = section.text("name").optional().map(|found| found.value.to_owned());
    let currency =
        section.text("currency").check(report, "", Currency::from_code).required(report, "a code such as \"CNY\"");
    let utc_offset = section.integer("utc-offset-minutes", -840..=840, " minutes").or(480);
    let time_zone = section.text("time-zone").check(report, "a name such as Asia/Shanghai", office::zone).optional();
    let data_directory =
        path(section.text("data-directory"), report).required(report, "a directory such as /var/lib/forecourt-edge");
    let price_set =
        section.text("price-set").check(report, "", PriceSetId::new).required(report, "a name such as \"PS-0001\"");
    section.finish();
    Some(Station {
        id: id?.value,
        name,
        currency: currency?.value,
        utc_offset_minutes: i32::try_from(utc_offset).ok()?,
        time_zone: time_zone.map(|found| found.value),
        data_directory: data_directory?.value,
        price_set: price_set?.value,
    })
}

pub(super) fn path(field: Field<&str>, report: &Report<'_>) -> Field<PathBuf> {
    field.check(report, "a path that begins with /", |text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(format!("\"{text}\" is no absolute path")) }
    })
}

pub(super) fn existing(field: Field<&str>, report: &Report<'_>, files: &dyn Files) -> Field<PathBuf> {
    path(field, report).check(report, "a file that the daemon's user can read", |path| {
        match files.trouble_with(&path) {
            None => Ok(path),
            Some(why) => Err(format!("{}: {why}", path.display())),
        }
    })
}

fn cloud(mut section: Section<'_, '_>, report: &Report<'_>, files: &dyn Files) -> Option<Cloud> {
    let brokers = section.texts("brokers").required(report, "a list such as [\"mqtts://broker.example:8883\"]");
    let prefix = section.text("topic-prefix").check(report, "levels such as fuel/v1", |text| {
        let bad = text.is_empty() || text.split('/').any(|level| level.is_empty() || level.contains(['+', '#', '\0']));
        if bad { Err(format!("\"{text}\" is no topic prefix")) } else { Ok(text.to_owned()) }
    });
    let jwks_file = existing(section.text("jwks-file"), report, files)
        .required(report, "the file with the platform's public keys (JWKS)");
    let ca_file = existing(section.text("ca-file"), report, files);
    let cert_file = existing(section.text("cert-file"), report, files);
    let key_file = existing(section.text("key-file"), report, files);
    let allow_plaintext = section.boolean("allow-plaintext").or(false);
    let ack = section.word("ack", &[("cloud", Ack::Cloud), ("broker", Ack::Broker)]).or(Ack::Cloud);
    let https = https(&mut section, report, files, allow_plaintext);

    let brokers = brokers.map(|list| {
        if list.value.is_empty() {
            report.error(&list.at, "names no broker", "at least one");
        }
        list.value.iter().map(|found| broker(found, report, allow_plaintext)).collect::<Vec<_>>()
    });
    let secure = brokers.iter().flatten().any(|broker| broker.as_ref().is_some_and(|broker| broker.tls))
        || https.as_ref().is_some_and(|https| https.url.is_secure());
    let tls = if secure {
        let need = "a PEM file, as the platform is reached over TLS";
        let files_of =
            (ca_file.required(report, need), cert_file.required(report, need), key_file.required(report, need));
        if let Some(key) = &files_of.2
            && files.is_open_to_all(&key.value)
        {
            report.warning(&key.at, "any user of this machine may read the key", "mode 0640 or less: chmod o-r");
        }
        match files_of {
            (Some(ca), Some(cert), Some(key)) => {
                Some(Tls { ca_file: ca.value, cert_file: cert.value, key_file: key.value })
            }
            _ => None,
        }
    } else {
        None
    };
    section.finish();
    Some(Cloud {
        brokers: brokers?.into_iter().collect::<Option<_>>()?,
        topic_prefix: prefix.or("fuel/v1".into()),
        jwks_file: jwks_file?.value,
        tls,
        allow_plaintext,
        ack,
        https,
    })
}

fn https(
    section: &mut Section<'_, '_>,
    report: &Report<'_>,
    files: &dyn Files,
    allow_plaintext: bool,
) -> Option<Https> {
    let url = url(section.text("https-url"), report, allow_plaintext).optional();
    let ca_file = existing(section.text("https-ca-file"), report, files).optional();
    let after = section.integer("https-after-s", 10..=86_400, " seconds").or(300);
    let renew = section.boolean("renew").or(true);
    Some(Https {
        url: url?.value,
        ca_file: ca_file.map(|found| found.value),
        after: Duration::from_secs(u64::try_from(after).ok()?),
        renew,
    })
}

/// An address to post to; plain HTTP leaves the machine only when that is allowed.
pub(super) fn url(field: Field<&str>, report: &Report<'_>, allow_plaintext: bool) -> Field<HttpUrl> {
    let field = field.check(report, "https://HOST/ or https://HOST:PORT/PATH", |text| {
        let url: HttpUrl = text.parse()?;
        url.check(allow_plaintext).map(|()| url)
    });
    if let Field::Found(found) = &field
        && found.value.is_exposed()
    {
        report.warning(&found.at, "plain HTTP: anyone on the way can read and change what is sent", "https://");
    }
    field
}

fn broker(found: &Found<&str>, report: &Report<'_>, allow_plaintext: bool) -> Option<Broker> {
    let expected = "mqtts://HOST:PORT or mqtt://HOST:PORT";
    let wrong = || {
        report.error(&found.at, format!("\"{}\" is no address of a broker", found.value), expected);
        None
    };
    let (tls, rest) = match found.value.split_once("://") {
        Some(("mqtts", rest)) => (true, rest),
        Some(("mqtt", rest)) => (false, rest),
        _ => return wrong(),
    };
    let default = if tls { 8883 } else { 1883 };
    let Some((host, port)) = host_and_port(rest, Some(default)) else { return wrong() };
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !tls && !loopback {
        if !allow_plaintext {
            report.error(&found.at, "plain TCP to another host", "mqtts://, or allow-plaintext = true");
            return None;
        }
        report.warning(&found.at, "plain TCP: anyone on the way can read and change what is sent", "mqtts://");
    }
    Some(Broker { host, port, tls })
}

/// `host:port`, `[v6]:port`, or without a port where there is a default.
fn host_and_port(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_host) {
        return None;
    }
    let port = match rest.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port != 0)?,
        None if rest.is_empty() => default?,
        None => return None,
    };
    Some((host.to_owned(), port))
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

fn timers(mut section: Section<'_, '_>) -> SiteTimers {
    let timers = SiteTimers {
        lift_timeout: seconds(section.integer("lift-timeout-s", 30..=600, " seconds").or(120)),
        first_flow: seconds(section.integer("first-flow-s", 30..=180, " seconds").or(60)),
        no_flow: seconds(section.integer("no-flow-s", 30..=600, " seconds").or(60)),
        price_overdue: seconds(section.integer("price-overdue-s", 60..=86_400, " seconds").or(600)),
    };
    section.finish();
    timers
}

fn limits(mut section: Section<'_, '_>) -> Limits {
    let limits = Limits {
        amount: Money::new(section.integer("amount-minor", 1..=99_999_999_999, " minor units").or(500_000)),
        customer_day_amount: Money::new(
            section.integer("customer-day-amount-minor", 1..=99_999_999_999, " minor units").or(500_000),
        ),
        queue: u32::try_from(section.integer("queue", 0..=16, " orders").or(4)).unwrap_or(0),
        minimum_volume: Volume::new(section.integer("minimum-volume-ml", 0..=10_000, " ml").or(2_000)),
    };
    section.finish();
    limits
}

fn disk(mut section: Section<'_, '_>) -> DiskLimits {
    let usual = DiskLimits::default();
    let mut number = |key, range, unit, or: u64| {
        let default = i64::try_from(or).unwrap_or(i64::MAX);
        u64::try_from(section.integer(key, range, unit).or(default)).unwrap_or(or)
    };
    let limits = DiskLimits {
        warn_percent: number("warn-percent", 10..=99, " percent", usual.warn_percent),
        stop_percent: number("stop-percent", 10..=99, " percent", usual.stop_percent),
        stop_free_mb: number("stop-free-mb", 1..=1_000_000, " MB", usual.stop_free_mb),
    };
    section.finish();
    limits
}

fn grade(mut section: Section<'_, '_>, report: &Report<'_>, seen: &mut Seen<'_, '_>) -> Option<GradeEntry> {
    let code = section.text("code").check(report, "", Grade::new).required(report, "a short name such as \"92\"");
    let name = section.text("name").optional().map(|found| found.value.to_owned());
    let price = section
        .integer("unit-price-micros", 1..=999_999_000_000, " millionths per litre")
        .required(report, "the price of a litre in millionths of the major unit: 7.45 is 7450000");
    let ceiling = section.integer("ceiling-micros", 1..=999_999_000_000, " millionths per litre").optional();
    let (attended, unattended) = sold::most_at_once(&mut section);
    section.finish();
    let unit_price = price.map(|found| UnitPrice::new(found.value));
    if let (Some(ceiling), Some(price)) = (&ceiling, unit_price)
        && ceiling.value < price.get()
    {
        report.error(&ceiling.at, "is below unit-price-micros", "the highest price allowed, or another price");
    }
    if let Some(code) = &code {
        seen.grade(code, unit_price);
    }
    Some(GradeEntry {
        code: code?.value,
        name,
        unit_price: unit_price?,
        ceiling: ceiling.map(|found| UnitPrice::new(found.value)),
        attended,
        unattended,
    })
}

fn line(
    mut section: Section<'_, '_>,
    report: &Report<'_>,
    files: &dyn Files,
    seen: &mut Seen<'_, '_>,
    currency: Currency,
) -> Option<Line> {
    let name = section
        .text("name")
        .check(report, "1 to 32 characters without spaces", |text| {
            let good = (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
            if good { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is no name of a line")) }
        })
        .required(report, "a name such as \"island-1\"");
    let words: Vec<&str> = Protocol::ALL.iter().map(|(word, _)| *word).collect();
    let protocol = section.word("protocol", &Protocol::ALL).required(report, &words.join(" or "));
    // Where the protocol itself is wrong, the rest is read as the most frequent one has it.
    let speaks = protocol.as_ref().map_or(Protocol::Dart, |found| found.value);
    let usual = speaks.line_settings();
    let mode = mode(&mut section, speaks, report);
    let only_listens = mode == Mode::ListenOnly;
    let millis_of = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let port = section
        .text("port")
        .check(report, "a device such as /dev/serial/by-id/… or tcp://HOST:PORT", port)
        .required(report, "a device such as /dev/serial/by-id/… or tcp://HOST:PORT");
    let baud = section.integer("baud", 1_200..=115_200, " bits per second").or(usual.baud.into());
    let parity = section
        .word("parity", &[("odd", Parity::Odd), ("even", Parity::Even), ("none", Parity::None)])
        .or(ways::parity(speaks));
    let echo = section.word("echo", &[("none", Echo::None), ("strip", Echo::Strip), ("auto", Echo::Auto)]);
    let echo = check::for_control(report, only_listens, echo).or(usual.echo);
    let rs485 = section.boolean("rs485").or(false);
    let pause = section.integer("pause-before-send-ms", 0..=100, " ms");
    let pause = check::for_control(report, only_listens, pause).or(millis_of(usual.pause_before_send));
    let listen_before = section.integer("listen-before-ms", 0..=3_000, " ms");
    let listen_before = check::for_control(report, only_listens, listen_before).or(LISTEN_BEFORE_MS);
    let window = section.integer("answer-window-ms", 20..=1_000, " ms").or(millis_of(usual.answer_window));
    let by_port = match port.as_ref().map(|found| &found.value) {
        Some(Port::Tcp { .. }) => Framing::Tcp,
        _ => Framing::Rtu,
    };
    let framing = match speaks {
        Protocol::Modbus => section.word("framing", &[("rtu", Framing::Rtu), ("tcp", Framing::Tcp)]).or(by_port),
        _ => Framing::Rtu,
    };
    let comm_lost = section.integer("comm-lost-ms", 1_000..=3_000, " ms").or(millis_of(usual.comm_lost));
    let dispensers = section.sections("dispenser").required(report, "at least one [[line.dispenser]]");
    section.finish();

    if let Some(name) = &name {
        seen.line_name(name);
    }
    if let Some(port) = &port {
        seen.port(port);
        if let Port::Serial(path) = &port.value {
            check::lasting(report, &port.at, path, files);
        }
    }
    let mut addresses = Local::new(report, "address", "line");
    let dispensers: Vec<Option<Dispenser>> = dispensers?
        .value
        .into_iter()
        .map(|section| dispenser(section, (speaks, framing, mode), report, files, seen, &mut addresses, currency))
        .collect();
    Some(Line {
        name: name?.value,
        protocol: protocol?.value,
        mode,
        port: port?.value,
        baud: u32::try_from(baud).ok()?,
        parity,
        echo,
        rs485,
        pause_before_send: millis(pause),
        listen_before: millis(listen_before),
        answer_window: millis(window),
        comm_lost: millis(comm_lost),
        framing,
        dispensers: dispensers.into_iter().collect::<Option<_>>()?,
    })
}

/// Who drives a line: a protocol that cannot be followed by ear can only be driven.
fn mode(section: &mut Section<'_, '_>, speaks: Protocol, report: &Report<'_>) -> Mode {
    let field = section.word("mode", &[("control", Mode::Control), ("listen-only", Mode::ListenOnly)]);
    let heard: Vec<&str> = Protocol::ALL.iter().filter(|(_, it)| it.can_be_heard()).map(|(word, _)| *word).collect();
    let expected = format!("mode = \"control\", or protocol {}", heard.join(" or "));
    let field = field.check(report, &expected, |mode| {
        let fits = mode == Mode::Control || speaks.can_be_heard();
        if fits { Ok(mode) } else { Err(format!("a line that speaks {} cannot be listened to", speaks.word())) }
    });
    field.or(Mode::Control)
}

fn port(text: &str) -> Result<Port, String> {
    let wrong = || format!("\"{text}\" is neither a device nor a serial device server");
    match text.split_once("://") {
        Some(("tcp", rest)) => {
            let (host, port) = host_and_port(rest, None).ok_or_else(wrong)?;
            Ok(Port::Tcp { host, port })
        }
        Some(_) => Err(wrong()),
        None if text.starts_with('/') && !text.ends_with('/') => Ok(Port::Serial(PathBuf::from(text))),
        None => Err(wrong()),
    }
}

fn dispenser(
    mut section: Section<'_, '_>,
    (protocol, framing, mode): (Protocol, Framing, Mode),
    report: &Report<'_>,
    files: &dyn Files,
    seen: &mut Seen<'_, '_>,
    addresses: &mut Local<'_, '_>,
    currency: Currency,
) -> Option<Dispenser> {
    let point = section.integer("fuelling-point", PAINTED, "").required(report, "the number of the fuelling point");
    let address = ways::address(protocol, &mut section, report);
    let only_listens = mode == Mode::ListenOnly;
    let ways = ways::read(protocol, framing, only_listens, &mut section, report, files);
    let suspend = check::for_control(report, only_listens, section.boolean("suspend")).or(false);
    let decimals = section
        .section_if_any("decimals")
        .required(report, "{ volume = 2, price = 2, amount = 2, totals = 2 } as on the head's display")
        .and_then(|found| decimals(found.value, report, currency));
    let nozzles = section.sections("nozzle").required(report, "at least one [[line.dispenser.nozzle]]");
    section.finish();

    let point = point.and_then(|found| Some(found.with(FuellingPointId(u16::try_from(found.value).ok()?))));
    if let Some(point) = &point {
        seen.point(point);
    }
    if let Some(address) = &address {
        addresses.take(address);
    }
    let price_digits = ways.as_ref().map_or_else(|| protocol.rules(), |ways| ways.rules(protocol)).price_digits;
    if let (Some(ways), Some(nozzles)) = (&ways, &nozzles) {
        ways::check_nozzles(ways, nozzles.value.len(), &nozzles.at, report);
    }
    let mut logical = Local::new(report, "logical nozzle", "dispenser");
    let nozzles: Vec<Option<NozzleEntry>> = nozzles?
        .value
        .into_iter()
        .map(|section| nozzle(section, report, seen, &mut logical, decimals, price_digits))
        .collect();
    Some(Dispenser {
        fuelling_point: point?.value,
        address: address?.value,
        ways: ways?,
        suspend,
        decimals: decimals?,
        nozzles: nozzles.into_iter().collect::<Option<_>>()?,
    })
}

fn decimals(mut section: Section<'_, '_>, report: &Report<'_>, currency: Currency) -> Option<Decimals> {
    let mut digit = |key, most| section.integer(key, 0..=most, "").required(report, "its number of decimals");
    // Volumes are kept in millilitres, prices in millionths: nothing finer can be booked.
    let volume = digit("volume", 3);
    let price = digit("price", 6);
    let amount = digit("amount", 3);
    let totals = digit("totals", 3);
    section.finish();
    let narrow = |found: Option<Found<i64>>| found.and_then(|found| u8::try_from(found.value).ok());
    if let Some(found) = &amount
        && let Ok(value) = u8::try_from(found.value)
    {
        check::amount_decimals(report, &found.at, value, currency);
    }
    Some(Decimals { volume: narrow(volume)?, price: narrow(price)?, amount: narrow(amount)?, totals: narrow(totals)? })
}

fn nozzle(
    mut section: Section<'_, '_>,
    report: &Report<'_>,
    seen: &mut Seen<'_, '_>,
    logical_seen: &mut Local<'_, '_>,
    decimals: Option<Decimals>,
    price_digits: u32,
) -> Option<NozzleEntry> {
    let number = section.integer("number", PAINTED, "").required(report, "the number painted on the pump");
    let logical = section.integer("logical", 1..=15, "").required(report, "the dispenser's own number, 1 to 15");
    let grade = section.text("grade").check(report, "", Grade::new).required(report, "the code of a [[grade]]");
    section.finish();
    let number = number.and_then(|found| Some(found.with(NozzleId(u16::try_from(found.value).ok()?))));
    let logical = logical.and_then(|found| Some(found.with(u8::try_from(found.value).ok()?)));
    if let Some(number) = &number {
        seen.nozzle(number);
    }
    if let Some(logical) = &logical {
        logical_seen.take(logical);
    }
    if let Some(grade) = &grade {
        seen.sells(grade, decimals, price_digits);
    }
    Some(NozzleEntry { number: number?.value, logical: logical?.value, grade: grade?.value })
}

fn trace(mut section: Section<'_, '_>, report: &Report<'_>, data: &std::path::Path) -> TraceRing {
    let ring = TraceRing {
        directory: path(section.text("directory"), report).or(data.join("trace")),
        segments: u32::try_from(section.integer("segments", 2..=1_024, " segments").or(16)).unwrap_or(16),
        segment_bytes: 1_024
            * u64::try_from(section.integer("segment-kib", 64..=65_536, " KiB").or(4_096)).unwrap_or(4_096),
    };
    section.finish();
    ring
}

fn log(mut section: Section<'_, '_>) -> Log {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let log = Log {
        level: section.word("level", &levels).or(LogLevel::Info),
        format: section.word("format", &formats).or(LogFormat::Auto),
    };
    section.finish();
    log
}

fn observe(mut section: Section<'_, '_>, report: &Report<'_>) -> Observe {
    // The kernel's sun_path holds 108 bytes with its closing zero.
    let socket = path(section.text("socket"), report).check(report, "a path of at most 107 bytes", |path| {
        if path.as_os_str().len() < 108 { Ok(path) } else { Err("is too long for a Unix socket") }
    });
    let observe = Observe { socket: socket.or(PathBuf::from(DEFAULT_SOCKET)) };
    section.finish();
    observe
}

#[cfg(test)]
mod tests;
