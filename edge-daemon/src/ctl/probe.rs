//! `edgectl probe`: what hangs on a wire, found by reads only. The shell around [`pump_drivers::probe`].

use crate::config;
use crate::ctl::{Failure, exit, show};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use forecourt::time::Instant;
use pump_drivers::hex::hex_of;
use pump_drivers::modbus;
use pump_drivers::modbus::profile::{Profile, SHIPPED};
use pump_drivers::modbus::wire::Framing;
use pump_drivers::port::{Parity, PortFault, SerialSettings, Transport, Wire};
use pump_drivers::probe::{Cause, Command, Figure, Found, Options, Prober, Report, Setting, stanza};
use pump_drivers::protocol::Protocol;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A port that takes no byte for so long is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where to look, and for what.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// The port: /dev/serial/by-id/… or tcp://HOST:PORT
    port: String,
    /// Only these rates in bits per second, with commas between [default: those of each protocol]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(300..=115_200))]
    baud: Vec<u32>,
    /// Only these parities [default: those of each protocol]
    #[arg(long, value_delimiter = ',')]
    parity: Vec<ParityWord>,
    /// Only these protocols [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Protocol::ALL.map(|(word, _)| word)))]
    protocol: Vec<String>,
    /// Only these addresses, such as 1-8,12 or 0x50-0x53 [default: all of each protocol]
    #[arg(long, value_delimiter = ',', value_parser = span)]
    addresses: Vec<Span>,
    /// Register map of Modbus devices: the name of one that comes with the daemon, or a file; asks for Modbus only
    #[arg(long)]
    profile: Option<String>,
    /// How Modbus frames come; asks for Modbus only [default: tcp at port 502 of a device server, else rtu]
    #[arg(long)]
    framing: Option<FramingWord>,
    /// Ends after so many seconds with what was found
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    seconds: u64,
    /// Listens for another master for so many seconds before the first question
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    listen: u64,
    /// Waits so many milliseconds for an answer to begin [default: as usual for the protocol]
    #[arg(long, value_parser = clap::value_parser!(u64).range(20..=5_000))]
    answer_ms: Option<u64>,
    /// The kernel switches the direction of an RS-485 port
    #[arg(long)]
    rs485: bool,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ParityWord {
    None,
    Odd,
    Even,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum FramingWord {
    /// Address and CRC, also behind a serial device server
    Rtu,
    /// Modbus TCP, with transaction numbers
    Tcp,
}

/// Addresses from the first to the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span(u8, u8);

fn span(text: &str) -> Result<Span, String> {
    let number = |text: &str| {
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
        u8::from_str_radix(digits, radix).map_err(|_| format!("\"{text}\" is no address: write 81 or 0x51"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok(Span(first, last)) } else { Err(format!("\"{text}\" goes backwards")) }
}

impl Wanted {
    fn options(&self) -> Result<Options, Failure> {
        if self.framing == Some(FramingWord::Tcp) && self.device_server().is_none() {
            let text = format!("--framing tcp needs a port tcp://HOST:PORT, and {} is none", self.port);
            return Err(Failure::new(exit::USAGE, text));
        }
        let modbus_only = self.profile.is_some() || self.framing.is_some() || self.framing() == Framing::Tcp;
        let chosen = |(word, protocol): &(&str, Protocol)| {
            let any = self.protocol.is_empty() && (!modbus_only || *protocol == Protocol::Modbus);
            any || self.protocol.iter().any(|wanted| wanted == word)
        };
        let profile = self.profile.as_deref().map(profile).transpose()?;
        let plan = |(_, protocol)| match protocol {
            Protocol::Modbus => modbus::probe_plan(profile.clone(), self.framing()),
            other => other.probe_plan(),
        };
        Ok(Options {
            plans: Protocol::ALL.into_iter().filter(chosen).map(plan).collect(),
            bauds: self.baud.clone(),
            parities: self
                .parity
                .iter()
                .map(|word| match word {
                    ParityWord::None => Parity::None,
                    ParityWord::Odd => Parity::Odd,
                    ParityWord::Even => Parity::Even,
                })
                .collect(),
            addresses: self.addresses.iter().flat_map(|span| span.0..=span.1).collect(),
            listen: Duration::from_secs(self.listen),
            answer_window: self.answer_ms.map(Duration::from_millis),
            limit: Duration::from_secs(self.seconds),
            fixed: self.device_server().is_some(),
        })
    }

    /// Modbus TCP has a port number of its own; behind a device server frames are those of the wire, unless a person knows better.
    fn framing(&self) -> Framing {
        match (self.framing, self.device_server()) {
            (Some(FramingWord::Tcp), _) => Framing::Tcp,
            (Some(FramingWord::Rtu), _) => Framing::Rtu,
            (None, Some(address)) if address.ends_with(":502") => Framing::Tcp,
            (None, _) => Framing::Rtu,
        }
    }

    /// The port as it should stand in the configuration, and whether that is another name than was given.
    fn lasting_port(&self) -> (String, bool) {
        let port = Path::new(&self.port);
        let other = config::is_numbered(port).then(|| config::lasting_name(port)).flatten();
        other.map_or_else(|| (self.port.clone(), false), |name| (name.display().to_string(), true))
    }

    fn device_server(&self) -> Option<&str> {
        self.port.strip_prefix("tcp://")
    }

    fn transport(&self, setting: Setting) -> Transport {
        match self.device_server() {
            Some(address) => Transport::Tcp(address.to_owned()),
            None => Transport::Serial(SerialSettings {
                path: PathBuf::from(&self.port),
                baud: setting.baud,
                parity: setting.parity,
                rs485: self.rs485,
            }),
        }
    }
}

fn profile(name: &str) -> Result<(String, Arc<Profile>), Failure> {
    let shipped = SHIPPED.iter().find(|(known, _)| *known == name);
    let text = match shipped {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(name).map_err(|why| {
            let names: Vec<&str> = SHIPPED.iter().map(|(known, _)| *known).collect();
            let text = format!(
                "{name}: no profile can be read: {why}; those that come with the daemon are {}",
                names.join(", ")
            );
            Failure::new(exit::NO_INPUT, text)
        })?,
    };
    // The configuration takes whole paths only.
    let lasting = match shipped {
        Some(_) => name.to_owned(),
        None => std::fs::canonicalize(name).map_or_else(|_| name.to_owned(), |path| path.display().to_string()),
    };
    match Profile::parse(&text) {
        Ok(profile) => Ok((lasting, Arc::new(profile))),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(|problem| format!("{name}: {problem}")).collect();
            Err(Failure::new(exit::CONFIG, problems.join("\n")))
        }
    }
}

pub(super) fn run(wanted: &Wanted, out: &mut dyn Write, bold: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(drive(wanted))?;
    let fixed = wanted.device_server().is_some();
    if wanted.json {
        writeln!(out, "{}", document(wanted, &report, fixed))?;
    } else {
        print(wanted, &report, fixed, out, bold)?;
    }
    if !report.found.is_empty() {
        return Ok(());
    }
    let code = if report.causes.iter().any(Cause::forbids_asking) { exit::UNAVAILABLE } else { exit::NO_INPUT };
    let causes: Vec<String> = report.causes.iter().map(ToString::to_string).collect();
    Err(Failure::new(code, format!("nothing found on {}: {}", wanted.port, causes.join("; "))))
}

async fn drive(wanted: &Wanted) -> Result<Report, Failure> {
    let began = std::time::Instant::now();
    let now = || Instant::START + began.elapsed();
    let mut prober = Prober::new(wanted.options()?, now());
    let mut wire: Option<Box<dyn Wire>> = None;
    let mut progress = ProgressLine::new();
    let mut buffer = [0; 512];
    loop {
        while let Some(command) = prober.poll_command() {
            match command {
                Command::Open(_) if wire.is_some() && wanted.device_server().is_some() => prober.handle_opened(now()),
                Command::Open(setting) => {
                    drop(wire.take());
                    match wanted.transport(setting).open().await {
                        Ok(open) => {
                            wire = Some(open);
                            prober.handle_opened(now());
                        }
                        Err(fault) if fault.is_setting() => prober.handle_refused(&fault.to_string(), now()),
                        Err(fault) => return Err(progress.fail(unavailable(&fault, &wanted.port))),
                    }
                }
                Command::Send(bytes) => {
                    let Some(wire) = &mut wire else { continue };
                    let written = tokio::time::timeout(WRITE_TIMEOUT, wire.write_all(&bytes)).await;
                    let written = written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                    if let Err(source) = written {
                        return Err(progress.fail(gone(&wanted.port, &source)));
                    }
                }
            }
        }
        if let Some(report) = prober.poll_report() {
            progress.clear();
            return Ok(report.clone());
        }
        progress.show(&prober.progress());
        let (Some(wire), Some(due)) = (&mut wire, prober.poll_timeout()) else { continue };
        tokio::select! {
            biased;
            read = wire.read(&mut buffer) => match read {
                Ok(count) if count > 0 => prober.handle_bytes(&buffer[..count], now()),
                Ok(_) => return Err(progress.fail(gone(&wanted.port, &std::io::ErrorKind::UnexpectedEof.into()))),
                Err(source) => return Err(progress.fail(gone(&wanted.port, &source))),
            },
            () = tokio::time::sleep(due.since(now())) => prober.handle_timeout(now()),
        }
    }
}

fn unavailable(fault: &PortFault, port: &str) -> Failure {
    if !fault.is_in_use() {
        return Failure::new(exit::UNAVAILABLE, fault.to_string());
    }
    let who = holder(Path::new(port)).unwrap_or_else(|| "another program".into());
    let text = format!(
        "{port} is in use by {who}: nothing was sent. If that is the daemon, probe while no nozzle is in use: systemctl stop \
         edge-daemon, probe, systemctl start edge-daemon"
    );
    Failure::new(exit::UNAVAILABLE, text)
}

fn gone(port: &str, source: &std::io::Error) -> Failure {
    Failure::new(exit::UNAVAILABLE, format!("{port} failed while probing: {source}. Check its cable and probe again"))
}

/// The program that has the device open, where the system lets us see it.
fn holder(port: &Path) -> Option<String> {
    let device = std::fs::canonicalize(port).ok()?;
    let me = std::process::id().to_string();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == me || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        if files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == device)) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

/// One line on standard error that tells how far it is, where that is a terminal. Elsewhere it would only stand among what was found.
struct ProgressLine {
    terminal: bool,
    told: String,
}

impl ProgressLine {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), told: String::new() }
    }

    fn show(&mut self, progress: &pump_drivers::probe::Progress) {
        if !self.terminal {
            return;
        }
        let found = if progress.found > 0 { format!(", {} found", progress.found) } else { String::new() };
        let text = format!("{} ({} of {} addresses{found})", progress.doing, progress.done, progress.all);
        if text != self.told {
            // Progress that cannot be shown hinders nothing.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            self.told = text;
        }
    }

    fn clear(&mut self) {
        if !self.told.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.told.clear();
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        self.clear();
        failure
    }
}

fn figures(figures: &[Figure]) -> String {
    let each = figures.iter().map(|figure| match figure.nozzle {
        0 => figure.digits.clone(),
        nozzle => format!("{nozzle}: {}", figure.digits),
    });
    let text = each.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".into() } else { text }
}

fn row(found: &Found) -> Vec<String> {
    let facts = &found.facts;
    let text = |text: &Option<String>| show::cell(&text.clone().map_or(Value::Null, Value::String));
    vec![
        found.protocol.word().to_owned(),
        found.setting.to_string(),
        found.address_text(),
        text(&facts.identity),
        text(&facts.state),
        figures(&facts.prices),
        figures(&facts.totals),
        format!("{} of {}", found.failures, found.checks),
    ]
}

fn print(wanted: &Wanted, report: &Report, fixed: bool, out: &mut dyn Write, bold: bool) -> Result<(), Failure> {
    if report.found.is_empty() {
        let rows: Vec<Vec<String>> = report
            .passes
            .iter()
            .map(|pass| {
                let setting =
                    pass.refused.as_ref().map_or(pass.setting.to_string(), |_| format!("{} refused", pass.setting));
                vec![
                    pass.protocol.word().to_owned(),
                    setting,
                    pass.asked.to_string(),
                    pass.echoed.to_string(),
                    pass.bytes.to_string(),
                ]
            })
            .collect();
        if !rows.is_empty() {
            show::table(out, &["PROTOCOL", "SETTING", "QUESTIONS", "ECHOED", "OTHER BYTES"], &rows, bold)?;
        }
        remarks(report, out)?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = report.found.iter().map(row).collect();
    let headings = ["PROTOCOL", "SETTING", "ADDRESS", "IDENTITY", "STATE", "PRICES", "TOTALS", "ERRORS"];
    show::table(out, &headings, &rows, bold)?;
    writeln!(out, "Figures are digits as sent: the wire tells no decimal point.")?;
    for found in &report.found {
        for note in &found.facts.notes {
            writeln!(out, "address {}: {}", found.address_text(), show::cell(&Value::from(note.as_str())))?;
        }
    }
    for cause in &report.causes {
        writeln!(out, "PROBLEM: {cause}")?;
    }
    remarks(report, out)?;
    writeln!(
        out,
        "\n# For edge.toml; fill in what is 0 or \"?\", then: edgectl validate /etc/forecourt-edge/edge.toml"
    )?;
    let (port, renamed) = wanted.lasting_port();
    if renamed {
        writeln!(out, "# {} may be another adapter after a restart: the name below stays with this one.", wanted.port)?;
    } else if config::is_numbered(Path::new(&port)) {
        writeln!(
            out,
            "# {port} may be another adapter after a restart: use its link in /dev/serial/by-id or by-path."
        )?;
    }
    write!(out, "{}", stanza(report, &port, fixed))?;
    Ok(())
}

fn remarks(report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    if report.cut_short {
        writeln!(out, "The time was over before all was tried: give it more --seconds, or narrow what is tried.")?;
    }
    // where something was found, it was not among these
    for (protocol, addresses) in report.left_out.iter().filter(|_| report.found.is_empty()) {
        let word = protocol.word();
        writeln!(
            out,
            "Not asked: address {} of {word}, since the question holds a byte that a two-wire pump takes for an order. If \
             none hangs there: --protocol {word}",
            spans(addresses)
        )?;
    }
    Ok(())
}

/// Addresses that follow one another as first-last.
fn spans(addresses: &[u8]) -> String {
    let mut spans: Vec<Span> = Vec::new();
    for address in addresses {
        match spans.last_mut() {
            Some(span) if span.1.checked_add(1) == Some(*address) => span.1 = *address,
            _ => spans.push(Span(*address, *address)),
        }
    }
    let texts =
        spans.iter().map(|Span(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    texts.collect::<Vec<_>>().join(", ")
}

fn document(wanted: &Wanted, report: &Report, fixed: bool) -> Value {
    let parity = |setting: Setting| match setting.parity {
        Parity::None => "none",
        Parity::Odd => "odd",
        Parity::Even => "even",
    };
    let list = |figures: &[Figure]| -> Vec<Value> {
        figures.iter().map(|figure| json!({"nozzle": figure.nozzle, "digits": figure.digits})).collect()
    };
    let found: Vec<Value> = report
        .found
        .iter()
        .map(|found| {
            json!({
                "protocol": found.protocol.word(), "baud": found.setting.baud, "parity": parity(found.setting),
                "address": found.address, "identity": found.facts.identity, "state": found.facts.state,
                "prices": list(&found.facts.prices), "totals": list(&found.facts.totals), "notes": found.facts.notes,
                "checks": found.checks, "failures": found.failures,
            })
        })
        .collect();
    let tried: Vec<Value> = report
        .passes
        .iter()
        .map(|pass| {
            let garbled: Vec<Value> = pass
                .garbled
                .iter()
                .map(|(address, heard)| json!({"address": address, "bytes": hex_of(heard)}))
                .collect();
            json!({
                "protocol": pass.protocol.word(), "baud": pass.setting.baud, "parity": parity(pass.setting),
                "questions": pass.asked, "echoed": pass.echoed, "bytes": pass.bytes, "garbled": garbled,
                "refused": pass.refused,
            })
        })
        .collect();
    let causes: Vec<Value> =
        report.causes.iter().map(|cause| json!({"cause": cause.word(), "text": cause.to_string()})).collect();
    let left_out: Vec<Value> = report
        .left_out
        .iter()
        .map(|(protocol, addresses)| json!({"protocol": protocol.word(), "addresses": addresses}))
        .collect();
    json!({
        "port": wanted.port, "lasting_port": wanted.lasting_port().0, "found": found, "echo": report.echo, "causes": causes, "tried": tried,
        "not_asked": left_out, "cut_short": report.cut_short,
        "stanza": (!report.found.is_empty()).then(|| stanza(report, &wanted.lasting_port().0, fixed)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_both_bases_alone_and_as_spans() {
        assert_eq!(span("0x50-0x53"), Ok(Span(0x50, 0x53)));
        assert_eq!(span("7"), Ok(Span(7, 7)));
        for wrong in ["", "256", "0x", "9-3", "a"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert_eq!(spans(&[3, 16, 17, 18, 255]), "3, 16-18, 255");
    }
}
