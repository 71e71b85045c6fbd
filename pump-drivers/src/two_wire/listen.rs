//! Two-wire as overheard: what the pumps tell another controller, and whether there is another at all (two-wire sheet, sections 5 to 9).
//!
//! One word carries no check and a block four bits, and the other controller asks when it likes. So a state counts when it is heard
//! twice in a row, and record and totals when they bear each other out or are heard twice alike.

use super::block::{GradeIndex, GradeTotals, HostBlock, Level, Transaction};
use super::driver::alarm;
use super::figures;
use super::overhear::{Said, Tap};
use super::word::{PumpNumber, Status};
use crate::head::HeadSettings;
use crate::hex::Direction;
use crate::line::LineSettings;
use crate::listen::{Ear, Lifted, Overheard, Witness, capabilities};
use core::time::Duration;
use forecourt::pump::{EndRecord, State};
use forecourt::time::Instant;
use forecourt::units::Volume;
use std::collections::VecDeque;

/// Adapters hand words on so much later.
const ADAPTER: Duration = Duration::from_millis(40);
/// From the end of a sale until its record and totals must have been heard, if the controller asks for them at all. One controller
/// in the field takes 1.3 s (sheet, section 9).
const FIGURES_WAIT: Duration = Duration::from_secs(4);

/// Follows the pumps of one loop.
pub struct TwoWireEar {
    /// From a word of the controller to the first of an answer.
    window: Duration,
    witnesses: Vec<Witness>,
    pumps: Vec<Followed>,
    tap: Tap,
    asked_at: Option<Instant>,
}

/// One pump beside its witness.
#[derive(Default)]
struct Followed {
    level: Level,
    candidate: Option<Status>,
    status: Option<Status>,
    /// The hose that was named since the handle came out, from 1.
    hose: Option<u8>,
    money: Option<u64>,
    /// Money was heard to run in this sale.
    flowed: bool,
    /// The record as last heard, and the one before the sale at hand.
    record: Option<Transaction>,
    record_before: Option<Transaction>,
    /// Totals that are believed, and those last heard.
    totals: Option<Vec<GradeTotals>>,
    totals_read: Option<Vec<GradeTotals>>,
    /// Totals before the sale at hand, believed or not: they are compared and never told.
    totals_before: Option<Vec<GradeTotals>>,
    /// Record and totals heard since the pump last said that it delivers.
    new: News,
    /// When the sale at hand was over.
    over_since: Option<Instant>,
}

#[derive(Default)]
struct News {
    record: Option<Transaction>,
    totals: Option<Vec<GradeTotals>>,
    /// The totals were heard twice alike.
    certain: bool,
}

/// What is known of a sale that is over.
enum Verdict {
    /// More may be heard.
    Wait,
    /// Its figures.
    Sale,
    /// Nothing flowed.
    Nothing,
    /// Whose record it is only the books can tell.
    Unsure,
}

impl TwoWireEar {
    /// Ears for these heads, each with the price level that it sells at.
    #[must_use]
    pub fn new(settings: &LineSettings, heads: Vec<(HeadSettings, Level)>) -> Self {
        let pumps = heads.iter().map(|(_, level)| Followed { level: *level, ..Followed::default() }).collect();
        let able = |head: &HeadSettings| capabilities(false, EndRecord::UntilNextSale, head.decimals);
        let witnesses = heads.into_iter().map(|(head, _)| Witness::new(head.clone(), able(&head))).collect();
        let window = settings.answer_window + ADAPTER;
        Self { window, witnesses, pumps, tap: Tap::default(), asked_at: None }
    }

    fn take(&mut self, found: Vec<(Said, Vec<u8>)>, now: Instant, heard: &mut Vec<Overheard>) {
        for (said, bytes) in found {
            let pump = said.pump();
            let at = self.witnesses.iter().position(|w| Some(PumpNumber::of_nibble(w.settings().address)) == pump);
            let speaker = said.speaker();
            if speaker == Some(Direction::Controller) {
                self.asked_at = Some(now);
            }
            let bad = if let Said::Bad(why) = &said { Some(why.clone()) } else { None };
            heard.push(Overheard { fp: at.map(|at| self.witnesses[at].fp()), speaker, bad, bytes });
            if let Some(at) = at {
                follow(&mut self.pumps[at], &mut self.witnesses[at], said, now);
            }
        }
    }
}

impl Ear for TwoWireEar {
    fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    fn witnesses_mut(&mut self) -> &mut [Witness] {
        &mut self.witnesses
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Instant, heard: &mut Vec<Overheard>) {
        for word in bytes {
            if self.tap.is_between() && self.asked_at.is_some_and(|at| now.since(at) > self.window) {
                self.tap.lapse();
            }
            let mut found = Vec::new();
            self.tap.push(*word, &mut found);
            self.take(found, now, heard);
        }
    }

    fn handle_quiet(&mut self, now: Instant, heard: &mut Vec<Overheard>) {
        let mut found = Vec::new();
        self.tap.quiet(&mut found);
        self.take(found, now, heard);
    }

    fn handle_link(&mut self) {
        self.tap = Tap::default();
        for pump in &mut self.pumps {
            pump.forget();
        }
    }
}

impl Followed {
    fn forget(&mut self) {
        *self = Self { level: self.level, ..Self::default() };
    }

    fn lifted(&self, settings: &HeadSettings) -> Lifted {
        match self.status {
            None => Lifted::Unknown,
            Some(Status::Call | Status::Authorised | Status::Busy | Status::PresetEnd | Status::Stopped) => {
                let only = if let [only] = settings.nozzles.as_slice() { Some(only.nozzle) } else { None };
                let named = self.hose.and_then(|hose| hose.checked_sub(1)).map(GradeIndex);
                Lifted::Out(named.and_then(|grade| figures::nozzle_of(settings, grade)).or(only))
            }
            Some(Status::Idle | Status::FinalEnd | Status::DataError | Status::Ready) => Lifted::None,
        }
    }

    fn state(&self) -> State {
        match self.status {
            Some(Status::Call | Status::PresetEnd) => State::Calling,
            Some(Status::Busy) if self.flowed => State::Fuelling,
            Some(Status::Authorised | Status::Busy) => State::Started,
            Some(Status::Stopped) => State::SuspendedFuelling,
            _ => State::Idle,
        }
    }
}

fn follow(at: &mut Followed, witness: &mut Witness, said: Said, now: Instant) {
    if said.speaker() == Some(Direction::Pump) {
        if witness.is_lost() {
            // anything may have happened meanwhile
            at.forget();
        }
        witness.heard(now);
        witness.news();
    }
    match said {
        Said::Block(_, HostBlock::Preset { grade: Some(grade), .. }) if at.status == Some(Status::Call) => {
            at.hose = Some(grade.0 + 1);
        }
        Said::Status(_, status) => status_heard(at, witness, status, now),
        Said::Extended(extended) if extended.hose > 0 && at.status != Some(Status::Idle) => {
            at.hose = Some(extended.hose);
            witness.show(at.state(), at.lifted(witness.settings()), now);
        }
        Said::Money(_, money) => {
            // the digits carry no check: what two readings in a row have reached is true
            let reached = at.money.replace(money.value()).map_or(0, |before| before.min(money.value()));
            let number = i64::try_from(reached).ok().filter(|number| *number > 0 && witness.is_running());
            let settings = witness.settings();
            if let Some(amount) = number.and_then(|number| settings.decimals.amount(number, settings.currency)) {
                at.flowed = true;
                witness.running_amount(amount);
                witness.show(at.state(), at.lifted(witness.settings()), now);
            }
        }
        Said::Record(record) => record_heard(at, witness, record, now),
        Said::Totals(_, totals) => totals_heard(at, witness, totals, now),
        Said::Command(_) | Said::Block(..) | Said::Extended(_) | Said::Stray | Said::Bad(_) => {}
    }
}

fn status_heard(at: &mut Followed, witness: &mut Witness, status: Status, now: Instant) {
    if matches!(status, Status::DataError | Status::Ready) {
        return;
    }
    if status.is_released() {
        at.new = News::default();
    }
    if at.candidate.replace(status) == Some(status) {
        at.status = Some(status);
    } else if at.status != Some(status) {
        return;
    }
    if matches!(status, Status::Idle | Status::FinalEnd) {
        at.hose = None;
    }
    let (over, running) = (status.is_over(), witness.is_running());
    if over && running {
        at.over_since.get_or_insert(now);
        settle(at, witness, false, now);
    } else if over || running && at.over_since.is_none() {
        witness.show(at.state(), at.lifted(witness.settings()), now);
    } else {
        // what was heard of the last sale is all that will be
        settle(at, witness, true, now);
        begin(at, witness);
    }
}

fn begin(at: &mut Followed, witness: &mut Witness) {
    at.record_before = at.record;
    at.totals_before = at.totals.clone().or(at.totals_read.clone());
    (at.money, at.flowed, at.over_since) = (None, false, None);
    at.new = News::default();
    let lifted = at.lifted(witness.settings());
    let nozzle = if let Lifted::Out(nozzle) = lifted { nozzle } else { None };
    witness.begin(nozzle, at.state(), lifted);
}

fn record_heard(at: &mut Followed, witness: &mut Witness, record: Transaction, now: Instant) {
    let again = at.record.replace(record) == Some(record);
    let Some(reading) = figures::reading(witness.settings(), &record) else { return };
    let agrees = figures::agrees(witness.settings(), &reading);
    if again && !agrees {
        let text = "volume × price and money of a sale differ: check the decimals set for this head";
        witness.alarm(alarm::DECIMALS, text.into());
    }
    if !agrees && !again {
        return;
    }
    if witness.is_running() {
        at.new.record = Some(record);
        settle(at, witness, false, now);
    } else if !witness.is_ending() {
        witness.figures(reading);
    }
}

fn totals_heard(at: &mut Followed, witness: &mut Witness, totals: Vec<GradeTotals>, now: Instant) {
    let again = at.totals.as_ref() == Some(&totals) || at.totals_read.as_ref() == Some(&totals);
    at.totals_read = Some(totals.clone());
    if witness.is_running() {
        at.new.certain = again;
        at.new.totals = Some(totals);
        settle(at, witness, false, now);
    } else if again {
        tell(witness, at.level, &totals);
        at.totals = Some(totals);
    }
}

/// Tells totals that are believed, and the prices in them.
fn tell(witness: &mut Witness, level: Level, totals: &[GradeTotals]) {
    for grade in totals {
        let settings = witness.settings();
        let stands = figures::totaliser(settings, grade);
        let number = i64::try_from(grade.price(level).value()).ok();
        let price = number.and_then(|number| settings.decimals.price(number)).filter(|price| price.is_positive());
        if let Some((nozzle, total)) = stands {
            witness.total(nozzle, total);
            if let Some(price) = price {
                witness.price(nozzle, price);
            }
        }
    }
}

/// A sale is over, perhaps: tells it once enough was heard, and what there is once it was waited for or is the `last` that will be.
fn settle(at: &mut Followed, witness: &mut Witness, last: bool, now: Instant) {
    let Some(since) = at.over_since.filter(|_| witness.is_running()) else { return };
    // with the handle still out after a preset the record may yet change
    let held = at.status == Some(Status::PresetEnd) && !last;
    let (verdict, believed) = judge(at, witness, last || now.since(since) >= FIGURES_WAIT);
    if held {
        at.over_since = Some(now);
        return;
    }
    if matches!(verdict, Verdict::Wait) {
        return;
    }
    let reading = at.new.record.and_then(|record| figures::reading(witness.settings(), &record));
    match verdict {
        Verdict::Nothing => witness.lapse(),
        Verdict::Sale | Verdict::Unsure => {
            if let Some(reading) = reading {
                witness.figures(reading);
            }
            witness.end(matches!(verdict, Verdict::Sale), now);
        }
        Verdict::Wait => {}
    }
    let news = core::mem::take(&mut at.new);
    (at.over_since, at.flowed, at.money) = (None, false, None);
    if let Some(totals) = news.totals.filter(|_| believed) {
        tell(witness, at.level, &totals);
        at.totals = Some(totals);
    }
    witness.show(at.state(), at.lifted(witness.settings()), now);
}

/// What record and totals say together, and whether the totals are to be believed.
fn judge(at: &Followed, witness: &Witness, due: bool) -> (Verdict, bool) {
    let settings = witness.settings();
    let before = at.totals_before.as_deref();
    let is_new = |record: &Transaction| at.flowed || at.record_before.is_some_and(|before| before != *record);
    let counted = |grade| figures::moved(settings, before?, at.new.totals.as_deref()?, grade);
    let all_still = || {
        let still = |totals: &GradeTotals| counted(totals.grade) == Some(Volume::ZERO);
        at.new.totals.as_ref().is_some_and(|totals| totals.iter().all(still))
    };
    if let Some(record) = &at.new.record {
        let sold = figures::reading(settings, record).map(|reading| reading.volume).filter(|v| v.is_positive());
        match (counted(record.grade), sold) {
            (Some(counted), Some(sold)) if figures::same(settings, sold, counted) => {
                return (Verdict::Sale, true);
            }
            (Some(_), _) if all_still() && (sold.is_none() || !is_new(record)) => return (Verdict::Nothing, true),
            _ => {}
        }
        if due && sold.is_some() && is_new(record) {
            return (Verdict::Sale, at.new.certain);
        }
    }
    let known = at.new.record.is_some_and(|record| at.record_before == Some(record)) || at.new.record.is_none();
    let quiet = !at.flowed && if at.new.totals.is_some() { all_still() } else { known };
    match due {
        false => (Verdict::Wait, false),
        true if quiet => (Verdict::Nothing, at.new.certain),
        true => (Verdict::Unsure, at.new.certain),
    }
}

/// Words and blocks of ours whose echo may be on its way. On a loop where nothing comes back they are given up.
const MOST_ECHOES: usize = 4;

/// Finds what only a controller says: a question of somebody else and the answer to it. One word may be noise, and most words of a
/// controller are also a pump's.
#[derive(Default)]
pub struct PollWatch {
    tap: Tap,
    /// What we said and did not hear back yet, a block and the poll behind it perhaps, and how much of the first we did.
    echo: VecDeque<Vec<u8>>,
    echoed: usize,
    /// We sent, and nothing was heard since.
    awaits: bool,
    /// The question that the tap knows is ours.
    ours: bool,
    drives: bool,
    /// Answered questions of somebody else without a bad word between.
    answered: u32,
    /// Found when the wire was quiet, not given yet.
    frames: Vec<(Vec<u8>, bool)>,
}

impl PollWatch {
    fn note(&mut self, found: Vec<(Said, Vec<u8>)>) {
        for (said, bytes) in found {
            let foreign = match &said {
                Said::Command(_) | Said::Block(..) => {
                    self.ours = false;
                    false
                }
                Said::Status(_, Status::DataError) => false,
                Said::Stray | Said::Bad(_) => {
                    self.answered = 0;
                    false
                }
                _ => !self.ours,
            };
            self.answered += u32::from(foreign);
            // while we drive, noise amid our own talk is likelier than a second controller
            self.frames.push((bytes, foreign && self.answered > u32::from(self.drives)));
        }
    }
}

impl crate::line::Watch for PollWatch {
    fn hear(&mut self, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        self.awaits &= bytes.is_empty();
        for word in bytes {
            if let Some(said) = self.echo.front().filter(|said| said.get(self.echoed) == Some(word)) {
                self.echoed += 1;
                if self.echoed == said.len() {
                    self.frames.extend(self.echo.pop_front().map(|said| (said, false)));
                    self.echoed = 0;
                }
                continue;
            }
            // an echo comes first or not at all
            self.echo.clear();
            self.echoed = 0;
            let mut found = Vec::new();
            self.tap.push(*word, &mut found);
            self.note(found);
        }
        core::mem::take(&mut self.frames)
    }

    fn quiet(&mut self) {
        if self.awaits {
            // the quiet was before our word
            return;
        }
        let mut found = Vec::new();
        self.tap.quiet(&mut found);
        self.note(found);
        self.tap.lapse();
        self.echo.clear();
        self.echoed = 0;
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.drives = true;
        self.tap.say(bytes);
        (self.ours, self.awaits) = (true, true);
        if self.echo.len() >= MOST_ECHOES {
            self.echo.clear();
            self.echoed = 0;
        }
        self.echo.push_back(bytes.to_vec());
    }
}
