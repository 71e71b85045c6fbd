//! Entries as bytes and back. Pure; the format is described in [`crate::trace`].

use crate::trace::{Entry, Repeat, TraceTime, Verdict};
use core::time::Duration;

/// Bytes of a segment's header.
pub(super) const HEADER: usize = 24;
const MAGIC: &[u8; 8] = b"FETRACE2";
/// Before there were counts; the rest is the same.
const OLD_MAGIC: &[u8; 8] = b"FETRACE1";
/// Marks of a repeat.
const OVERHEARD: u8 = 1;
const SILENCE: u8 = 2;
/// A payload is never longer: a frame is bounded by the line scheduler.
const MAX_PAYLOAD: u64 = 64 * 1024;

/// The header of a segment.
pub(super) fn header(number: u64, first: TraceTime) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend(first.unix_us().to_le_bytes());
    bytes
}

/// What the records of one segment so far have set up.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    lines: Vec<String>,
    last_us: i64,
}

impl Context {
    pub fn starting_at(first: TraceTime) -> Self {
        Self { lines: Vec::new(), last_us: first.unix_us() }
    }

    /// Appends an entry, before it the name of its line where that is new in this segment.
    pub fn encode(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(64);
        match entry {
            Entry::Lost { at, count } => {
                payload.push(6);
                self.put_time(*at, &mut payload);
                put_varint(*count, &mut payload);
            }
            Entry::Repeat(repeat) => {
                let line = self.number_of(&repeat.line, out);
                payload.extend([8, line]);
                self.put_time(repeat.first, &mut payload);
                put_varint(repeat.count, &mut payload);
                put_varint(zigzag(repeat.last.unix_us().wrapping_sub(repeat.first.unix_us())), &mut payload);
                put_varint(u64::try_from(repeat.slowest.as_micros()).unwrap_or(u64::MAX), &mut payload);
                put_varint(repeat.sent.len() as u64, &mut payload);
                let overheard = if repeat.asked == Verdict::Overheard { OVERHEARD } else { 0 };
                let silence = if repeat.verdict == Verdict::Silence { SILENCE } else { 0 };
                payload.push(overheard | silence);
                payload.extend(&repeat.sent);
                payload.extend(&repeat.answer);
            }
            Entry::Frame { at, line, verdict, bytes } => {
                let line = self.number_of(line, out);
                let kind = match verdict {
                    Verdict::Sent => 1,
                    Verdict::Good => 2,
                    Verdict::Unasked => 3,
                    Verdict::Bad(_) => 4,
                    Verdict::Silence => 5,
                    Verdict::Overheard => 7,
                };
                payload.extend([kind, line]);
                self.put_time(*at, &mut payload);
                if let Verdict::Bad(why) = verdict {
                    put_varint(why.len() as u64, &mut payload);
                    payload.extend(why.as_bytes());
                }
                payload.extend(bytes);
            }
        }
        put_record(&payload, out);
    }

    fn number_of(&mut self, name: &str, out: &mut Vec<u8>) -> u8 {
        let known = self.lines.iter().position(|line| line == name);
        // More than 256 lines share the last number: a station has a handful.
        let number = |index: usize| u8::try_from(index).unwrap_or(u8::MAX);
        if let Some(index) = known {
            return number(index);
        }
        self.lines.push(name.to_owned());
        let index = number(self.lines.len() - 1);
        let mut payload = vec![0, index];
        payload.extend(name.as_bytes());
        put_record(&payload, out);
        index
    }

    fn put_time(&mut self, at: TraceTime, payload: &mut Vec<u8>) {
        let delta = at.unix_us().wrapping_sub(self.last_us);
        self.last_us = at.unix_us();
        put_varint(zigzag(delta), payload);
    }

    /// Takes one record off the front. `None` where it is not whole, or not good.
    pub fn decode(&mut self, bytes: &[u8]) -> Option<(Option<Entry>, usize)> {
        let mut rest = bytes;
        let length = take_varint(&mut rest)?;
        if length == 0 || length > MAX_PAYLOAD {
            return None;
        }
        let length = usize::try_from(length).ok()?;
        let (payload, tail) = rest.split_at_checked(length)?;
        if *tail.first()? != check(payload) {
            return None;
        }
        let entry = self.entry(payload)?;
        Some((entry, bytes.len() - tail.len() + 1))
    }

    fn entry(&mut self, payload: &[u8]) -> Option<Option<Entry>> {
        let (kind, mut rest) = payload.split_first()?;
        if *kind == 6 {
            let at = self.take_time(&mut rest)?;
            return Some(Some(Entry::Lost { at, count: take_varint(&mut rest)? }));
        }
        let (line, mut rest) = rest.split_first()?;
        let line = usize::from(*line);
        if *kind == 0 {
            let name = core::str::from_utf8(rest).ok()?.to_owned();
            self.lines.resize(self.lines.len().max(line + 1), String::new());
            self.lines[line] = name;
            return Some(None);
        }
        let at = self.take_time(&mut rest)?;
        let line = self.lines.get(line)?.clone();
        if *kind == 8 {
            return Some(Some(Entry::Repeat(Box::new(take_repeat(line, at, rest)?))));
        }
        let verdict = match kind {
            1 => Verdict::Sent,
            2 => Verdict::Good,
            3 => Verdict::Unasked,
            4 => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                let (why, tail) = rest.split_at_checked(length)?;
                rest = tail;
                Verdict::Bad(String::from_utf8_lossy(why).into_owned())
            }
            5 => Verdict::Silence,
            7 => Verdict::Overheard,
            _ => return None,
        };
        Some(Some(Entry::Frame { at, line, verdict, bytes: rest.to_vec() }))
    }

    fn take_time(&mut self, rest: &mut &[u8]) -> Option<TraceTime> {
        self.last_us = self.last_us.wrapping_add(take_signed(rest)?);
        Some(TraceTime::from_unix_us(self.last_us))
    }
}

/// Reads a header; `None` where this is no segment of ours.
pub(super) fn read_header(bytes: &[u8]) -> Option<Context> {
    let rest = bytes.strip_prefix(MAGIC).or_else(|| bytes.strip_prefix(OLD_MAGIC))?;
    let first = i64::from_le_bytes(rest.get(8..16)?.try_into().ok()?);
    Some(Context::starting_at(TraceTime::from_unix_us(first)))
}

fn put_record(payload: &[u8], out: &mut Vec<u8>) {
    put_varint(payload.len() as u64, out);
    out.extend(payload);
    out.push(check(payload));
}

fn check(payload: &[u8]) -> u8 {
    !payload.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7F {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7F) as u8);
}

/// A signed number so that small ones of either sign are short.
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let zigzag = take_varint(rest)?;
    Some((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()))
}

/// What follows the time of a repeat.
fn take_repeat(line: String, first: TraceTime, mut rest: &[u8]) -> Option<Repeat> {
    let count = take_varint(&mut rest)?;
    let span = take_signed(&mut rest)?;
    let slowest = Duration::from_micros(take_varint(&mut rest)?);
    let length = usize::try_from(take_varint(&mut rest)?).ok()?;
    let (marks, rest) = rest.split_first()?;
    let (sent, answer) = rest.split_at_checked(length)?;
    Some(Repeat {
        line,
        asked: if marks & OVERHEARD == 0 { Verdict::Sent } else { Verdict::Overheard },
        sent: sent.to_vec(),
        verdict: if marks & SILENCE == 0 { Verdict::Good } else { Verdict::Silence },
        answer: answer.to_vec(),
        count,
        first,
        last: TraceTime::from_unix_us(first.unix_us().wrapping_add(span)),
        slowest,
    })
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
