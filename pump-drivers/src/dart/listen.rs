//! DART as overheard: whose a frame is, and what a pump's blocks to another controller mean (DART sheet, sections 2, 3 and 7).
//!
//! Both sides write the same kinds of frames, and the same transactions mean different things. A pump speaks only when it is polled, so
//! a block is a pump's if its POLL was heard just before, unless only the other side can say what is in it.

use super::frame::{Control, Found, Frame, Receiver};
use super::head::{Block, Head};
use super::message::{Command, ControllerSays, PumpSays, Status, VOLUME_TOTAL, read_controller, read_pump};
use super::task::is_released;
use super::{alarm, message};
use crate::head::HeadSettings;
use crate::hex::Direction;
use crate::line::LineSettings;
use crate::listen::{Ear, Lifted, Overheard, Witness, capabilities};
use core::time::Duration;
use forecourt::pump::{EndRecord, State};
use forecourt::time::Instant;

/// Adapters hand bytes on so much later.
const ADAPTER: Duration = Duration::from_millis(40);
/// A nozzle that was hung up and whose pump says nothing of an end: its block was not heard.
const HUNG: Duration = Duration::from_millis(1_500);

/// Follows the pumps of one line.
pub struct DartEar {
    settings: LineSettings,
    witnesses: Vec<Witness>,
    heads: Vec<Followed>,
    receiver: Receiver,
    talk: Option<Talk>,
}

/// What was said last.
#[derive(Clone, Copy)]
struct Talk {
    address: u8,
    at: Instant,
    what: Said,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Poll,
    Block(Direction),
    Other,
}

/// One pump beside its witness.
#[derive(Default)]
struct Followed {
    head: Head,
    /// The last block and its number.
    last: Option<(u8, Vec<u8>)>,
    /// A block for it was heard since.
    commanded: bool,
    /// The nozzle whose total was asked for.
    asked_total: Option<u8>,
    fuelled: bool,
    /// The nozzle is in and no end was told; whether figures were told with it or since.
    hung: Option<(Instant, bool)>,
}

impl DartEar {
    /// Ears for these heads.
    #[must_use]
    pub fn new(settings: LineSettings, heads: Vec<HeadSettings>) -> Self {
        let followed = heads.iter().map(|_| Followed::default()).collect();
        let able = |head: &HeadSettings| capabilities(true, EndRecord::UntilCleared, head.decimals);
        let witnesses = heads.into_iter().map(|head| (able(&head), head)).map(|(able, head)| Witness::new(head, able));
        Self { settings, witnesses: witnesses.collect(), heads: followed, receiver: Receiver::default(), talk: None }
    }

    fn take(&mut self, found: Vec<Found>, now: Instant, heard: &mut Vec<Overheard>) {
        for found in found {
            match found {
                Found::Refused(why, bytes) => {
                    heard.push(Overheard { fp: None, speaker: None, bad: Some(why.to_string()), bytes });
                }
                Found::Frame(frame, bytes) => {
                    let speaker = self.whose(&frame, bytes.len(), now);
                    let at = self.witnesses.iter().position(|w| w.settings().address == frame.address);
                    let fp = at.map(|at| self.witnesses[at].fp());
                    heard.push(Overheard { fp, speaker: Some(speaker), bad: None, bytes });
                    let what = match frame.control {
                        Control::Poll | Control::AckPoll => Said::Poll,
                        Control::Data => Said::Block(speaker),
                        _ => Said::Other,
                    };
                    self.talk = Some(Talk { address: frame.address, at: now, what });
                    if let Some(at) = at {
                        follow(&mut self.heads[at], &mut self.witnesses[at], &frame, speaker, now);
                    }
                }
            }
        }
    }

    fn whose(&self, frame: &Frame, length: usize, now: Instant) -> Direction {
        let window = self.settings.answer_window + self.settings.wire_time(length) + ADAPTER;
        let just = |talk: &&Talk| talk.address == frame.address && now.since(talk.at) <= window;
        let before = self.talk.as_ref().filter(just).map(|talk| talk.what);
        match frame.control {
            Control::Poll | Control::AckPoll | Control::Iap => Direction::Controller,
            Control::Eot => Direction::Pump,
            Control::Data => match (pump_may_say(&frame.body), controller_may_say(&frame.body), before) {
                (true, false, _) => Direction::Pump,
                (false, true, _) => Direction::Controller,
                (_, _, Some(Said::Poll)) => Direction::Pump,
                _ => Direction::Controller,
            },
            Control::Ack | Control::Nak => match before {
                Some(Said::Block(Direction::Controller) | Said::Poll) => Direction::Pump,
                _ => Direction::Controller,
            },
        }
    }
}

impl Ear for DartEar {
    fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    fn witnesses_mut(&mut self) -> &mut [Witness] {
        &mut self.witnesses
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Instant, heard: &mut Vec<Overheard>) {
        for byte in bytes {
            let mut found = Vec::new();
            self.receiver.push(*byte, &mut found);
            self.take(found, now, heard);
        }
    }

    fn handle_quiet(&mut self, now: Instant, heard: &mut Vec<Overheard>) {
        let mut found = Vec::new();
        self.receiver.silence(&mut found);
        self.take(found, now, heard);
    }

    fn handle_link(&mut self) {
        self.receiver = Receiver::default();
        self.talk = None;
        for followed in &mut self.heads {
            *followed = Followed::default();
        }
    }
}

/// Whether all of a block is what pumps say (DART sheet, section 6).
fn pump_may_say(body: &[u8]) -> bool {
    let (says, overrun) = read_pump(body);
    let good = |says: &PumpSays| match says {
        PumpSays::Status(status) => !matches!(status, Status::Undefined(_)),
        // what a controller asks has one byte
        PumpSays::Other { trans, data } => !matches!((trans, data.len()), (0x65 | 0x66, _) | (_, 0..2)),
        _ => true,
    };
    overrun.is_none() && !says.is_empty() && says.iter().all(good)
}

/// Whether all of a block is what controllers say (DART sheet, section 5).
fn controller_may_say(body: &[u8]) -> bool {
    let (_, overrun) = message::walk(body);
    let says = read_controller(body);
    let good = |says: &ControllerSays| match says {
        ControllerSays::Command(Command::Other(byte)) => matches!(byte, 0x0D..=0x0F),
        ControllerSays::AllowedNozzles(nozzles) => nozzles.iter().all(|nozzle| (1..=15).contains(nozzle)),
        ControllerSays::Other { trans, .. } => !matches!(trans, 0x01..=0x05 | 0x65 | 0x66),
        _ => true,
    };
    overrun.is_none() && !says.is_empty() && says.iter().all(good)
}

fn follow(at: &mut Followed, witness: &mut Witness, frame: &Frame, speaker: Direction, now: Instant) {
    match (speaker, frame.control) {
        (Direction::Controller, Control::Data) => {
            at.commanded = true;
            for says in read_controller(&frame.body) {
                if let ControllerSays::Total { trans: VOLUME_TOTAL, counter } = says {
                    at.asked_total = Some(counter);
                }
            }
        }
        (Direction::Controller, _) => {}
        (Direction::Pump, Control::Data) => {
            witness.heard(now);
            witness.news();
            let same = at.last.as_ref().is_some_and(|(tx, body)| *tx == frame.tx && *body == frame.body);
            // some pumps always send 0: the same again is then an answer to another question
            if !same || frame.tx == 0 && at.commanded {
                at.last = Some((frame.tx, frame.body.clone()));
                at.commanded = false;
                news(at, witness, &frame.body, now);
            }
            settle_hung(at, witness, now);
        }
        (Direction::Pump, control) => {
            witness.heard(now);
            if control == Control::Eot {
                witness.no_news();
            }
            settle_hung(at, witness, now);
        }
    }
}

/// A block of the pump that was not heard before.
fn news(at: &mut Followed, witness: &mut Witness, body: &[u8], now: Instant) {
    let before = at.head.filling;
    let block = at.head.take(body, now);
    for code in &block.alarms {
        let text = message::alarm_text(*code).map_or_else(|| format!("alarm {code:02X}"), Into::into);
        witness.alarm(u16::from(*code), text);
    }
    for status in &block.undefined {
        witness.alarm(alarm::UNDEFINED_STATUS | u16::from(*status), format!("status {status}, which is not defined"));
    }
    if witness.is_running() {
        go_on(at, witness, &block, false, now);
    } else {
        rest(at, witness, &block, before.and_then(|filling| filling.volume.number()), now);
    }
    for (counter, total) in &block.totals {
        let settings = witness.settings();
        let logical = counter.or(at.asked_total);
        let nozzle = settings.nozzles.iter().find(|n| Some(n.logical) == logical).map(|n| n.nozzle);
        if let Some((nozzle, total)) = nozzle.zip(settings.decimals.read_total(*total)) {
            witness.total(nozzle, total);
        }
    }
    let shown = at.head.shown_price(witness.settings()).filter(|price| price.is_positive());
    if let Some((nozzle, price)) = at.head.selected(witness.settings()).zip(shown).filter(|_| block.nozzle_told) {
        witness.price(nozzle, price);
    }
}

fn lifted(head: &Head, settings: &HeadSettings) -> Lifted {
    match head.nozio {
        None => Lifted::Unknown,
        Some(nozio) if nozio.is_out() => Lifted::Out(head.selected(settings)),
        Some(_) => Lifted::None,
    }
}

fn state(at: &Followed, running: bool) -> Option<State> {
    let out = at.head.is_out();
    if running {
        return Some(match (at.head.status, at.fuelled) {
            (_, true) if at.head.suspended => State::SuspendedFuelling,
            (_, false) if at.head.suspended => State::SuspendedStarted,
            (Some(Status::Filling), _) | (_, true) => State::Fuelling,
            _ if out => State::Started,
            _ => State::Authorised,
        });
    }
    Some(match at.head.status? {
        Status::NotProgrammed | Status::SwitchedOff => State::Closed,
        _ if out => State::Calling,
        _ => State::Idle,
    })
}

fn figures(at: &Followed, witness: &mut Witness, filling: super::head::Filling) -> bool {
    let reading = at.head.reading(filling, witness.settings());
    match reading {
        Some(reading) => {
            if !Head::agrees(&reading, witness.settings()) {
                let text = "volume × price and amount of a fuelling differ: check the decimals set for this head";
                witness.alarm(alarm::DECIMALS, text.into());
            }
            witness.figures(reading);
        }
        None => witness.alarm(alarm::DIGITS, "the figures of a fuelling are no digits".into()),
    }
    reading.is_some_and(|reading| reading.volume.is_positive())
}

/// No fuelling is open: one may begin, or the last one is told again.
fn rest(at: &mut Followed, witness: &mut Witness, block: &Block, before: Option<i64>, now: Instant) {
    let filling = if block.filling_told { at.head.filling } else { None };
    let volume = filling.and_then(|filling| filling.volume.number());
    // Figures that grow are fuel that flows, though its beginning was not heard.
    let grows = block.statuses.is_empty()
        && at.head.status.is_none_or(|status| is_released(Some(status)))
        && before.zip(volume).is_some_and(|(before, now)| now > before);
    if block.shows_release() || grows {
        begin(at, witness, grows || block.has(Status::Filling));
        go_on(at, witness, block, true, now);
        return;
    }
    if let Some(filling) = block.filling_at_end.or(filling) {
        figures(at, witness, filling);
    }
    let lifted = lifted(&at.head, witness.settings());
    if let Some(state) = state(at, false) {
        witness.show(state, lifted, now);
    }
}

fn begin(at: &mut Followed, witness: &mut Witness, fuelled: bool) {
    at.fuelled = fuelled;
    at.hung = None;
    let state = state(at, true).unwrap_or(State::Fuelling);
    let lifted = lifted(&at.head, witness.settings());
    witness.begin(at.head.selected(witness.settings()), state, lifted);
}

/// News of a fuelling that is open, or `began` in this block.
fn go_on(at: &mut Followed, witness: &mut Witness, block: &Block, began: bool, now: Instant) {
    let was_fuelled = at.fuelled;
    at.fuelled |= block.has(Status::Filling);
    let at_rest = |status: &Status| matches!(status, Status::Completed | Status::MaxReached);
    let released = |status: &Status| is_released(Some(*status));
    let last_release = block.statuses.iter().rposition(released);
    let since = &block.statuses[last_release.map_or(0, |at| at + 1)..];
    let rests = since.iter().any(at_rest) || at.head.status.is_some_and(|s| at_rest(&s) || s == Status::Reset);
    // 1 comes after the end only: the end may not have been heard
    let reset = block.has(Status::Reset) && was_fuelled && !began;
    let hung = !at.head.is_out() || block.nozzle_in && since.iter().any(at_rest);
    let unused = !at.fuelled && at.head.status == Some(Status::Completed);
    let ended = reset || rests && (hung || unused) && !is_released(at.head.status);
    let filling =
        if ended && !block.statuses.is_empty() { block.filling_at_end.filter(|_| block.filling_told) } else { None };
    let filling = filling.or(at.head.filling.filter(|_| block.filling_told && !reset));
    if let Some(filling) = filling {
        at.fuelled |= figures(at, witness, filling);
    }
    if !ended {
        witness.show(state(at, true).unwrap_or(State::Fuelling), lifted(&at.head, witness.settings()), now);
        if block.nozzle_told && at.head.nozio.is_some() {
            let told = block.filling_told || at.hung.is_some_and(|(_, told)| told);
            at.hung = (!at.head.is_out() && at.fuelled).then(|| (at.hung.map_or(now, |(since, _)| since), told));
        } else if let Some((_, told)) = &mut at.hung {
            *told |= block.filling_told;
        }
        return;
    }
    let shown = state(at, false).unwrap_or(State::Idle);
    let lifted = lifted(&at.head, witness.settings());
    if at.fuelled {
        witness.end(filling.is_some(), now);
    } else {
        witness.lapse();
    }
    at.hung = None;
    at.fuelled = false;
    witness.show(shown, lifted, now);
    if is_released(at.head.status) {
        let fuelled = at.head.status == Some(Status::Filling);
        begin(at, witness, fuelled);
    }
}

/// The nozzle is in for long and the pump goes on to answer: it has ended, and the word of it was not heard.
fn settle_hung(at: &mut Followed, witness: &mut Witness, now: Instant) {
    let Some((since, told)) = at.hung else { return };
    if !witness.is_running() {
        at.hung = None;
    } else if now.since(since) >= HUNG {
        at.hung = None;
        at.fuelled = false;
        at.head.status = None;
        let nozzle: Lifted = lifted(&at.head, witness.settings());
        witness.end(told, now);
        witness.show(State::Idle, nozzle, now);
    }
}

/// Finds what only a controller says.
#[derive(Default)]
pub struct PollWatch {
    receiver: Receiver,
}

impl crate::line::Watch for PollWatch {
    fn hear(&mut self, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut found = Vec::new();
        for byte in bytes {
            self.receiver.push(*byte, &mut found);
        }
        let frames = found.into_iter().filter_map(|found| match found {
            Found::Frame(frame, raw) => {
                let poll = matches!(frame.control, Control::Poll | Control::AckPoll) && raw.len() == 3;
                Some((raw, poll))
            }
            Found::Refused(..) => None,
        });
        frames.collect()
    }

    fn quiet(&mut self) {
        self.receiver = Receiver::default();
    }
}
