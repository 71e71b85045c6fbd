//! What happens in a script: one line, one act, `TIME words`.

use super::words::Words;
use crate::day::disk::CutAt;
use crate::prng::PerMillion;
use crate::wire::Faults;
use core::time::Duration;
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::time::ClockQuality;
use forecourt::units::{Money, Volume};

/// Acts and their words, for `--help` and the documentation.
pub const GRAMMAR: &str = "\
pay A | pay A again [N times] | pay A anew | pay A anew for 300.00 | pay A anew at 6
cancel A | move A to 6 | stop 5 | hold 5 | unhold 5 | watch 5   (0: all nozzles)
resend 1 to 9 | refuse record 3
lift 5 | hang up 5 | squeeze 5 | let go 5 | key 5
fuel 5 | fuel 5 to 19.20        lifts, fuels to the preset or so far, hangs up 2 s later
pump 5 without power for 0:10 | unplug 5 for 0:10
line 1 away for 0:10 | noise on line 1 of 10% for 5:00
power cut for 0:05 | power cut before|within|in the checkpoint of|after commit 3 for 0:05
broker away for 1:00 | broker away for 1:00 and forgets | drop connection | drop connection every 0:01 for 1:00
events lost for 1:00 | acks lost for 1:00 | acks held for 1:00
clock +1:00:00 [synced|holdover|unset] | clock -1:00:00 | clock right
disk full for 1:00 | disk read-only for 1:00 | disk slow for 1:00
forge pay A | send to another station A | send junk | send too much | send unknown type
send order without limit | send order with decimals | send order of 0.00 | send order for nozzle 99
flood N cancels";

/// Who acts how at a dispenser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hand {
    Lift,
    HangUp,
    Squeeze(bool),
    Key,
    Power(bool),
    Unplug(bool),
    /// Lifts, fuels to the preset or so far, hangs up.
    Fuel(Option<Volume>),
}

/// How an order is sent once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Anew {
    Same,
    For(Limit),
    At(NozzleId),
}

/// A command about nozzles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Stop,
    Hold,
    Unhold,
    Watch,
}

/// What comes on the command topic and is no good command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Hostile {
    ForgedPay(String),
    OtherStation(String),
    Junk,
    TooMuch,
    UnknownType,
    NoLimit,
    Decimals,
    Zero,
    Nozzle(u64),
}

/// One act, at one moment. Acts that last are two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Act {
    Pay(String),
    PayAgain(String, u64),
    PayAnew(String, Anew),
    Cancel(String),
    Move(String, NozzleId),
    Ask(Ask, NozzleId),
    Resend(u64, u64),
    Refuse(u64),
    Hand(NozzleId, Hand),
    Line(usize, bool),
    Noise(usize, Faults),
    PowerCut(Duration),
    PowerCutAt(u64, CutAt, Duration),
    Broker { up: bool, forgets: bool },
    Drop,
    EventsLost(bool),
    AcksLost(bool),
    AcksHeld(bool),
    Clock(i64, ClockQuality),
    DiskFull(bool),
    DiskReadOnly(bool),
    DiskSlow(bool),
    Send(Hostile),
    Flood(u64),
}

/// Reads one line. Gives each act with how long after the line's time it comes; the first is what the line says.
pub(super) fn read(text: &str) -> Result<Vec<(Duration, Act)>, String> {
    let mut words = Words::of(text);
    let acts = read_words(&mut words)?;
    words.end()?;
    Ok(acts)
}

fn once(act: Act) -> Vec<(Duration, Act)> {
    vec![(Duration::ZERO, act)]
}

fn while_for(words: &mut Words<'_>, on: Act, off: Act) -> Result<Vec<(Duration, Act)>, String> {
    let time = words.for_time()?;
    Ok(vec![(Duration::ZERO, on), (time, off)])
}

fn order(words: &mut Words<'_>) -> Result<String, String> {
    words.need("an order").map(Into::into)
}

fn read_words(words: &mut Words<'_>) -> Result<Vec<(Duration, Act)>, String> {
    let verb = words.need("what happens")?;
    Ok(match verb {
        "pay" => once(pay(words)?),
        "cancel" => once(Act::Cancel(order(words)?)),
        "move" => {
            let order = order(words)?;
            words.expect("to")?;
            once(Act::Move(order, words.nozzle()?))
        }
        "stop" => once(Act::Ask(Ask::Stop, nozzle_or_all(words)?)),
        "hold" => once(Act::Ask(Ask::Hold, nozzle_or_all(words)?)),
        "unhold" => once(Act::Ask(Ask::Unhold, nozzle_or_all(words)?)),
        "watch" => once(Act::Ask(Ask::Watch, words.nozzle()?)),
        "resend" => {
            let from = words.number("a sequence")?;
            words.expect("to")?;
            once(Act::Resend(from, words.number("a sequence")?))
        }
        "refuse" => {
            words.expect("record")?;
            once(Act::Refuse(words.number("a sequence")?))
        }
        "lift" => once(Act::Hand(words.nozzle()?, Hand::Lift)),
        "hang" => {
            words.expect("up")?;
            once(Act::Hand(words.nozzle()?, Hand::HangUp))
        }
        "squeeze" => once(Act::Hand(words.nozzle()?, Hand::Squeeze(true))),
        "let" => {
            words.expect("go")?;
            once(Act::Hand(words.nozzle()?, Hand::Squeeze(false)))
        }
        "key" => once(Act::Hand(words.nozzle()?, Hand::Key)),
        "fuel" => {
            let nozzle = words.nozzle()?;
            let to = if words.take("to") { Some(Volume::new(words.fixed(3, "volume in litres")?)) } else { None };
            once(Act::Hand(nozzle, Hand::Fuel(to)))
        }
        "flood" => {
            let count = words.number("how many")?;
            words.expect("cancels")?;
            once(Act::Flood(count))
        }
        "forge" => {
            words.expect("pay")?;
            once(Act::Send(Hostile::ForgedPay(order(words)?)))
        }
        "send" => once(Act::Send(hostile(words)?)),
        _ => return trouble(verb, words),
    })
}

fn trouble(verb: &str, words: &mut Words<'_>) -> Result<Vec<(Duration, Act)>, String> {
    match verb {
        "pump" => {
            let nozzle = words.nozzle()?;
            words.expect("without power")?;
            let power = |on| Act::Hand(nozzle, Hand::Power(on));
            while_for(words, power(false), power(true))
        }
        "unplug" => {
            let nozzle = words.nozzle()?;
            let unplug = |off| Act::Hand(nozzle, Hand::Unplug(off));
            while_for(words, unplug(true), unplug(false))
        }
        "line" => {
            let line = line(words)?;
            words.expect("away")?;
            while_for(words, Act::Line(line, false), Act::Line(line, true))
        }
        "noise" => {
            words.expect("on line")?;
            let line = line(words)?;
            words.expect("of")?;
            let faults = noise(words.need("a share such as 10%")?)?;
            while_for(words, Act::Noise(line, faults), Act::Noise(line, Faults::default()))
        }
        "power" => {
            words.expect("cut")?;
            power_cut(words)
        }
        "broker" => {
            words.expect("away")?;
            let time = words.for_time()?;
            let forgets = words.take("and forgets");
            let broker = |up| Act::Broker { up, forgets };
            Ok(vec![(Duration::ZERO, broker(false)), (time, broker(true))])
        }
        "drop" => {
            words.expect("connection")?;
            drops(words)
        }
        "events" => {
            words.expect("lost")?;
            while_for(words, Act::EventsLost(true), Act::EventsLost(false))
        }
        "acks" if words.take("lost") => while_for(words, Act::AcksLost(true), Act::AcksLost(false)),
        "acks" => {
            words.expect("held")?;
            while_for(words, Act::AcksHeld(true), Act::AcksHeld(false))
        }
        "clock" => clock(words).map(once),
        "disk" if words.take("full") => while_for(words, Act::DiskFull(true), Act::DiskFull(false)),
        "disk" if words.take("read-only") => while_for(words, Act::DiskReadOnly(true), Act::DiskReadOnly(false)),
        "disk" => {
            words.expect("slow")?;
            while_for(words, Act::DiskSlow(true), Act::DiskSlow(false))
        }
        other => Err(format!("\"{other}\" is no act: `hil-sim script --acts` lists them")),
    }
}

fn pay(words: &mut Words<'_>) -> Result<Act, String> {
    let order = order(words)?;
    if words.take("again") {
        let times = match words.next() {
            None => 1,
            Some(word) => {
                words.expect("times")?;
                word.parse().map_err(|_| format!("\"{word}\" is no number of times"))?
            }
        };
        return Ok(Act::PayAgain(order, times));
    }
    if !words.take("anew") {
        return Ok(Act::Pay(order));
    }
    let anew = if words.take("for") {
        Anew::For(Limit::Amount(Money::new(words.fixed(2, "amount")?)))
    } else if words.take("at") {
        Anew::At(words.nozzle()?)
    } else {
        Anew::Same
    };
    Ok(Act::PayAnew(order, anew))
}

fn nozzle_or_all(words: &mut Words<'_>) -> Result<NozzleId, String> {
    if words.take("0") { Ok(NozzleId(0)) } else { words.nozzle() }
}

fn line(words: &mut Words<'_>) -> Result<usize, String> {
    match words.number("a line's number")? {
        number @ 1..=3 => Ok(usize::try_from(number - 1).unwrap_or(0)),
        number => Err(format!("line {number} is not here: the station has 1 to 3")),
    }
}

/// A share of frames that are spoilt, as flipped bits of their bytes: a frame has some ten bytes of eight bits.
fn noise(share: &str) -> Result<Faults, String> {
    let percent: u32 = share
        .strip_suffix('%')
        .and_then(|percent| percent.parse().ok())
        .filter(|percent| (1..=50).contains(percent))
        .ok_or_else(|| format!("\"{share}\" is no share of frames from 1% to 50%"))?;
    let (bits, bytes, replies) = (percent * 10_000 / 80 / 2, percent * 10_000 / 10 / 4, percent * 10_000 / 4);
    Ok(Faults {
        bit_flip: PerMillion(bits),
        drop: PerMillion(bytes),
        silence: PerMillion(replies),
        junk: PerMillion(replies),
        ..Faults::default()
    })
}

fn power_cut(words: &mut Words<'_>) -> Result<Vec<(Duration, Act)>, String> {
    let kinds = [
        ("before commit", CutAt::Before),
        ("within commit", CutAt::Within),
        ("in the checkpoint of commit", CutAt::Checkpoint),
        ("after commit", CutAt::After),
    ];
    for (text, at) in kinds {
        if words.take(text) {
            let commit = words.number("which commit from now on, from 1")?.max(1);
            return Ok(once(Act::PowerCutAt(commit, at, words.for_time()?)));
        }
    }
    Ok(once(Act::PowerCut(words.for_time()?)))
}

fn drops(words: &mut Words<'_>) -> Result<Vec<(Duration, Act)>, String> {
    if !words.take("every") {
        return Ok(once(Act::Drop));
    }
    let every = words.time()?;
    let time = words.for_time()?;
    if every < Duration::from_millis(10) {
        return Err("at most 100 times a second".into());
    }
    let count = u32::try_from(time.as_millis() / every.as_millis()).unwrap_or(u32::MAX).min(10_000);
    Ok((0..count).map(|nth| (every * nth, Act::Drop)).collect())
}

fn clock(words: &mut Words<'_>) -> Result<Act, String> {
    if words.take("right") {
        return Ok(Act::Clock(0, ClockQuality::Synced));
    }
    let word = words.need("how far it is off")?;
    let (sign, time) = match word.split_at_checked(1) {
        Some(("+", time)) => (1, time),
        Some(("-", time)) => (-1, time),
        _ => return Err(format!("\"{word}\" is no step of a clock: write +1:00:00 or -1:00:00")),
    };
    let off = i64::try_from(super::words::time(time)?.as_millis()).map_err(|_| "too far".to_owned())?;
    let quality = match words.next() {
        None | Some("holdover") => ClockQuality::Holdover,
        Some("synced") => ClockQuality::Synced,
        Some("unset") => ClockQuality::Unset,
        Some(other) => return Err(format!("\"{other}\" is no quality of a clock: synced, holdover or unset")),
    };
    Ok(Act::Clock(sign * off, quality))
}

fn hostile(words: &mut Words<'_>) -> Result<Hostile, String> {
    let kinds = [
        ("junk", Hostile::Junk),
        ("too much", Hostile::TooMuch),
        ("unknown type", Hostile::UnknownType),
        ("order without limit", Hostile::NoLimit),
        ("order with decimals", Hostile::Decimals),
        ("order of 0.00", Hostile::Zero),
    ];
    for (text, hostile) in kinds {
        if words.take(text) {
            return Ok(hostile);
        }
    }
    if words.take("to another station") {
        return Ok(Hostile::OtherStation(order(words)?));
    }
    words.expect("order for nozzle")?;
    words.number("a nozzle's number").map(Hostile::Nozzle)
}

impl Act {
    /// The order it names.
    pub(super) fn order(&self) -> Option<&str> {
        match self {
            Self::Pay(order)
            | Self::PayAgain(order, _)
            | Self::PayAnew(order, _)
            | Self::Cancel(order)
            | Self::Move(order, _)
            | Self::Send(Hostile::ForgedPay(order) | Hostile::OtherStation(order)) => Some(order),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_that_lasts_is_two_and_the_second_takes_it_back() {
        let acts = read("unplug 5 for 0:02").expect("an act");
        assert_eq!(acts[0], (Duration::ZERO, Act::Hand(NozzleId(5), Hand::Unplug(true))));
        assert_eq!(acts[1], (Duration::from_secs(2), Act::Hand(NozzleId(5), Hand::Unplug(false))));
    }

    #[test]
    fn a_line_that_says_too_much_or_too_little_or_nonsense_is_refused_with_the_word() {
        for (text, complaint) in [
            ("lift 25", "1 to 24"),
            ("lift 5 now", "\"now\" is too much"),
            ("lift", "missing"),
            ("unplug 5", "\"for\" is expected"),
            ("dance 5", "no act"),
            ("clock 1:00", "+1:00:00"),
            ("noise on line 4 of 10% for 1:00", "1 to 3"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(complaint), "{text}: {why}");
        }
    }

    #[test]
    fn every_act_of_the_list_can_be_read() {
        for line in GRAMMAR.lines() {
            for text in line.split(" | ") {
                let text = text.split("  ").next().unwrap_or(text).replace(['[', ']'], "");
                let text = text.replace(" N ", " 3 ").replace("before|within|in the checkpoint of|after", "within");
                let text = text.replace("synced|holdover|unset", "synced");
                assert!(read(&text).is_ok(), "{text}: {:?}", read(&text));
            }
        }
    }
}
