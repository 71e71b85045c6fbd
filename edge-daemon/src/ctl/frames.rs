//! `edgectl decode` and `edgectl trace`: frames for people.

use crate::config::{Config, Protocol};
use crate::ctl::{Direction, Failure, exit, show::cell};
use crate::trace::{Entry, Repeat, TraceReader, Verdict};
use pump_drivers::hex::{self, hex_of};
use serde_json::{Value, json};
use std::io::{BufRead, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A line of hex is never longer: what is longer is refused, not kept in memory.
const MAX_LINE: u64 = 1024 * 1024;
/// How often a followed ring is looked at.
const LOOK: Duration = Duration::from_millis(200);

const fn who(direction: Direction) -> hex::Direction {
    match direction {
        Direction::Controller => hex::Direction::Controller,
        Direction::Pump => hex::Direction::Pump,
    }
}

pub(super) fn decode(
    protocol: Protocol,
    direction: Option<Direction>,
    stream: bool,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let direction = direction.map(who);
    let mut decoder = protocol.stream_decoder(direction);
    while let Some(line) = next_line(input)? {
        let found = match line {
            Err(reason) => vec![json!({"ok": false, "reason": reason})],
            Ok(line) if line.trim().is_empty() => Vec::new(),
            Ok(line) if stream => decoder.feed_hex(&line),
            Ok(line) => vec![protocol.decode_line(&line, direction)],
        };
        for value in found {
            writeln!(out, "{value}")?;
        }
        // Whoever feeds us line by line sees each answer at once.
        out.flush()?;
    }
    if stream {
        for value in decoder.finish() {
            writeln!(out, "{value}")?;
        }
    }
    Ok(())
}

/// The next line, or why it cannot be read as one; `None` at the end.
fn next_line(input: &mut dyn BufRead) -> std::io::Result<Option<Result<String, String>>> {
    let mut bytes = Vec::new();
    if input.take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if !bytes.ends_with(b"\n") && bytes.len() as u64 == MAX_LINE {
        while !bytes.ends_with(b"\n") && !bytes.is_empty() {
            bytes.clear();
            input.take(MAX_LINE).read_until(b'\n', &mut bytes)?;
        }
        return Ok(Some(Err(format!("the line is longer than {MAX_LINE} characters"))));
    }
    Ok(Some(String::from_utf8(bytes).map_err(|_| "the line is no UTF-8 text".into())))
}

/// What of the ring is shown, and how.
pub(super) struct Wanted {
    pub line: Option<String>,
    pub decode: bool,
    /// What the lines speak, where no configuration tells.
    pub protocol: Option<Protocol>,
    pub json: bool,
    pub follow: bool,
}

pub(super) fn trace(
    data: Option<&Path>,
    config: Option<&Config>,
    wanted: &Wanted,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let directory: PathBuf = match (data, config) {
        (Some(data), _) => data.join("trace"),
        (None, Some(config)) => config.trace.directory.clone(),
        (None, None) => return Err(Failure::new(exit::USAGE, "name --data or --config".into())),
    };
    if wanted.decode && config.is_none() && wanted.protocol.is_none() {
        let text = "what a line speaks stands in the configuration: name that with --config, or what they speak with --protocol";
        return Err(Failure::new(exit::USAGE, text.into()));
    }
    if let (Some(config), Some(name)) = (config, &wanted.line)
        && config.lines.iter().all(|line| line.name != *name)
    {
        let known: Vec<&str> = config.lines.iter().map(|line| line.name.as_str()).collect();
        return Err(Failure::new(exit::NO_INPUT, format!("no line is called {name}; known are {}", known.join(", "))));
    }
    let missing = |why: std::io::Error| {
        let text =
            format!("{}: no trace can be read there: {why}; edge-daemon makes it when it runs", directory.display());
        Failure::new(exit::NO_INPUT, text)
    };
    let mut reader =
        if wanted.follow { TraceReader::newest(&directory).map_err(missing)? } else { TraceReader::oldest(&directory) };
    loop {
        let entries = reader.read_more().map_err(missing)?;
        if entries.is_empty() {
            if !wanted.follow {
                return Ok(());
            }
            out.flush()?;
            std::thread::sleep(LOOK);
        }
        for entry in &entries {
            show(entry, config, wanted, out)?;
        }
    }
}

fn show(entry: &Entry, config: Option<&Config>, wanted: &Wanted, out: &mut dyn Write) -> std::io::Result<()> {
    let (at, line, verdict, bytes) = match entry {
        Entry::Lost { at, count } if wanted.json => {
            return writeln!(out, "{}", json!({"at": at.to_string(), "lost": count}));
        }
        Entry::Lost { at, count } => return writeln!(out, "{at}  {count} frames lost: the disk was too slow"),
        Entry::Repeat(repeat) => return show_repeat(repeat, config, wanted, out),
        Entry::Frame { at, line, verdict, bytes } => (at, line, verdict, bytes),
    };
    if wanted.line.as_ref().is_some_and(|name| name != line) {
        return Ok(());
    }
    let protocol = protocol_of(config, line, wanted).filter(|_| !bytes.is_empty());
    let meaning = protocol.map(|protocol| meaning(protocol, verdict, bytes));
    let why = if let Verdict::Bad(why) = verdict { Some(why.as_str()) } else { None };
    if wanted.json {
        let mut value = json!({
            "at": at.to_string(), "line": line, "direction": if verdict.is_controllers() { "controller" } else { "pump" },
            "verdict": verdict.word(), "bytes": hex_of(bytes),
        });
        if let Some(why) = why {
            value["why"] = why.into();
        }
        if let Some(meaning) = meaning {
            value["decoded"] = meaning;
        }
        return writeln!(out, "{value}");
    }
    let arrow = if verdict.is_controllers() { "→" } else { "←" };
    let word = match verdict {
        Verdict::Sent | Verdict::Good => String::new(),
        Verdict::Bad(why) => format!("  bad: {}", cell(&Value::from(why.as_str()))),
        Verdict::Silence => "silence".into(),
        Verdict::Unasked => "  unasked".into(),
        Verdict::Overheard => "  another controller".into(),
    };
    writeln!(out, "{at}  {line}  {arrow} {}{word}", hex_of(bytes))?;
    if let Some(meaning) = meaning {
        writeln!(out, "    {meaning}")?;
    }
    Ok(())
}

/// An exchange that came again unchanged: once, with its count and the times of the first and the last question.
fn show_repeat(repeat: &Repeat, config: Option<&Config>, wanted: &Wanted, out: &mut dyn Write) -> std::io::Result<()> {
    let Repeat { line, asked, sent, verdict, answer, count, first, last, slowest } = repeat;
    if wanted.line.as_ref().is_some_and(|name| name != line) {
        return Ok(());
    }
    let slowest_us = u64::try_from(slowest.as_micros()).unwrap_or(u64::MAX);
    let meanings = protocol_of(config, line, wanted).map(|protocol| {
        let answer = (!answer.is_empty()).then(|| meaning(protocol, verdict, answer));
        (meaning(protocol, asked, sent), answer)
    });
    if wanted.json {
        let mut value = json!({
            "at": first.to_string(), "last": last.to_string(), "line": line, "repeats": count,
            "question": {"verdict": asked.word(), "bytes": hex_of(sent)},
            "answer": {"verdict": verdict.word(), "bytes": hex_of(answer)}, "slowest_us": slowest_us,
        });
        if let Some((question, answer)) = meanings {
            value["question"]["decoded"] = question;
            value["answer"]["decoded"] = answer.unwrap_or_default();
        }
        return writeln!(out, "{value}");
    }
    let answered = if *verdict == Verdict::Silence { "silence".into() } else { hex_of(answer) };
    let other = if *asked == Verdict::Overheard { "  another controller" } else { "" };
    let (whole, part) = (slowest_us / 1_000, slowest_us % 1_000 / 100);
    writeln!(
        out,
        "{first}  {line}  → {}  ← {answered}  × {count} until {last}, slowest {whole}.{part} ms{other}",
        hex_of(sent)
    )?;
    if let Some((question, answer)) = meanings {
        writeln!(out, "    {question}")?;
        if let Some(answer) = answer {
            writeln!(out, "    {answer}")?;
        }
    }
    Ok(())
}

/// What a line speaks whose frames are to be decoded; of one that is not in the configuration any more, nobody knows.
fn protocol_of(config: Option<&Config>, line: &str, wanted: &Wanted) -> Option<Protocol> {
    let known = config.and_then(|config| config.lines.iter().find(|known| known.name == line));
    known.map(|line| line.protocol).or(wanted.protocol).filter(|_| wanted.decode)
}

fn meaning(protocol: Protocol, verdict: &Verdict, bytes: &[u8]) -> Value {
    let direction = if verdict.is_controllers() { hex::Direction::Controller } else { hex::Direction::Pump };
    protocol.decode_line(&hex_of(bytes), Some(direction))
}
