//! Pass after pass, address after address: one question on the wire at a time.

use super::cause::{address_text, judge};
use super::listening::Listening;
use super::plan::{Pass, passes};
use super::{Heard, Options, PassReport, Report, Setting, Talk};
use crate::driver::Expect;
use crate::line::LineSettings;
use crate::probe::{Cause, Found};
use crate::protocol::Protocol;
use core::time::Duration;
use forecourt::time::Instant;
use std::collections::VecDeque;

/// Adapters keep what they receive for up to 16 ms, and converters are slow: added to the window and to the gap inside a frame.
const SLACK: Duration = Duration::from_millis(20);
/// After an answer it is seen whether a second device answers too.
const SETTLE: Duration = Duration::from_millis(25);
/// An address where bytes made no frame is asked again so often.
const AGAIN: u8 = 2;
/// An address that spoke when another was asked gets so many times the usual window.
const LATE: u32 = 3;
/// How often a dispenser is asked to see how good the line is.
const CHECKS: u32 = 20;
/// For one setting, once it is known that somebody speaks.
const IDENTIFY: Duration = Duration::from_secs(1);

/// What the shell is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Open the port anew with this setting, then say so.
    Open(Setting),
    /// Put bytes on the wire, all at once.
    Send(Vec<u8>),
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is being done, for people.
    pub doing: String,
    /// The same without the address: changes rarely.
    pub part: String,
    /// Addresses asked.
    pub done: usize,
    /// Addresses to be asked at most.
    pub all: usize,
    /// Dispensers found.
    pub found: usize,
}

struct Asking {
    address: u8,
    talk: Box<dyn Talk>,
    /// Times the first question is still repeated.
    again: u8,
    /// It has answered.
    found: bool,
    /// The last question got no good answer.
    missed: bool,
    checks: u32,
    failures: u32,
}

struct Waiting {
    sent: Vec<u8>,
    heard: Vec<u8>,
    due: Instant,
    /// A check, not a question of the talk.
    check: bool,
}

enum Phase {
    Opening,
    Listening {
        from: Instant,
        until: Instant,
    },
    /// The next question may go from then on.
    Pause {
        until: Instant,
    },
    Waiting(Waiting),
    /// An answer is complete; more is one too many.
    Settling {
        until: Instant,
        surplus: Vec<u8>,
    },
    Done,
}

/// Finds out what hangs on a wire. It begins by listening, and ends by itself.
pub struct Prober {
    options: Options,
    passes: VecDeque<Pass>,
    /// Addresses of the present pass still to be asked, and whether for the second time.
    queue: VecDeque<(u8, bool)>,
    second_look: bool,
    /// Settings at which it is still to be found out who speaks.
    identify: VecDeque<Setting>,
    listening: Listening,
    listened: bool,
    opened: Option<Setting>,
    asking: Option<Asking>,
    phase: Phase,
    commands: VecDeque<Command>,
    report: Report,
    deadline: Instant,
    exchanges: u32,
    echoes: u32,
    done: usize,
    all: usize,
}

impl Prober {
    /// Begins; the first command opens the port.
    #[must_use]
    pub fn new(options: Options, now: Instant) -> Self {
        let (passes, left_out) = passes(&options);
        let mut prober = Self {
            deadline: now + options.limit,
            all: passes.iter().map(|pass| pass.addresses.len()).sum(),
            exchanges: 0,
            echoes: 0,
            done: 0,
            passes: passes.into(),
            options,
            queue: VecDeque::new(),
            second_look: false,
            identify: VecDeque::new(),
            listening: Listening::default(),
            listened: false,
            opened: None,
            asking: None,
            phase: Phase::Opening,
            commands: VecDeque::new(),
            report: Report { left_out, ..Report::default() },
        };
        match prober.passes.front().map(|pass| pass.setting) {
            Some(setting) => prober.open(setting),
            None => prober.end(),
        }
        prober
    }

    fn open(&mut self, setting: Setting) {
        self.opened = Some(setting);
        self.phase = Phase::Opening;
        self.commands.push_back(Command::Open(setting));
    }

    /// What is to be done next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call [`Prober::handle_timeout`]; `None` while the port is being opened, and at the end.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening | Phase::Done => None,
            Phase::Waiting(waiting) => Some(waiting.due),
            Phase::Listening { until, .. } | Phase::Pause { until } | Phase::Settling { until, .. } => Some(*until),
        }
    }

    /// What came of it, once it has ended.
    #[must_use]
    pub fn poll_report(&self) -> Option<&Report> {
        matches!(self.phase, Phase::Done).then_some(&self.report)
    }

    /// The port is open with the setting that was asked for.
    pub fn handle_opened(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        if self.listened && self.identify.is_empty() {
            self.phase = Phase::Pause { until: now };
        } else {
            let time = if self.listened { IDENTIFY } else { self.options.listen };
            self.phase = Phase::Listening { from: now, until: now + time };
        }
    }

    /// The port does not take the setting.
    pub fn handle_refused(&mut self, why: &str, now: Instant) {
        let Some(setting) = self.opened.take() else { return };
        if !self.identify.is_empty() {
            self.identify.pop_front();
            return self.identify_next(now);
        }
        while self.passes.front().is_some_and(|pass| pass.setting == setting) {
            if let Some(pass) = self.passes.pop_front() {
                self.done += pass.addresses.len();
                let mut report = PassReport::new(self.options.plans[pass.plan].protocol, setting);
                report.refused = Some(why.to_owned());
                self.report.passes.push(report);
            }
        }
        match self.passes.front().map(|pass| pass.setting) {
            Some(setting) => self.open(setting),
            None => self.end(),
        }
    }

    /// Bytes from the wire.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        match core::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Listening { from, until } => {
                self.listening.hear(bytes, now);
                self.phase = Phase::Listening { from, until };
            }
            Phase::Waiting(waiting) => self.hear(waiting, bytes, now),
            Phase::Settling { until, mut surplus } => {
                surplus.extend_from_slice(bytes);
                self.phase = Phase::Settling { until: until.max(now + SETTLE).min(until + SETTLE), surplus };
            }
            // what is late is listened out, so that it is not taken for the next answer
            Phase::Pause { until } => {
                self.note_late(bytes);
                self.phase = Phase::Pause { until: until.max(now + SETTLE) };
            }
            phase @ (Phase::Opening | Phase::Done) => self.phase = phase,
        }
    }

    fn hear(&mut self, mut waiting: Waiting, bytes: &[u8], now: Instant) {
        waiting.heard.extend_from_slice(bytes);
        let Some(asking) = &mut self.asking else { return self.end() };
        let echo = if waiting.heard.starts_with(&waiting.sent) { waiting.sent.len() } else { 0 };
        let is_echo_so_far = waiting.sent.starts_with(&waiting.heard);
        let answer = if is_echo_so_far { &[][..] } else { &waiting.heard[echo..] };
        let timing = self.options.plans[self.passes.front().map_or(0, |pass| pass.plan)].timing;
        match if answer.is_empty() { Heard::More } else { asking.talk.hear(answer) } {
            Heard::Answer { used } => {
                let surplus = answer.get(used..).unwrap_or_default().to_vec();
                self.note_bytes(answer.len());
                self.note_echo(echo > 0);
                self.answered(waiting.check);
                self.phase = Phase::Settling { until: now + SETTLE, surplus };
            }
            Heard::More | Heard::Bad(_) | Heard::Stray(_) | Heard::Nobody => {
                if !answer.is_empty() {
                    waiting.due = waiting.due.max(now + timing.inter_byte_gap + SLACK);
                }
                let endless = waiting.heard.len() > waiting.sent.len() + timing.longest_answer;
                self.phase = Phase::Waiting(waiting);
                if endless && let Phase::Waiting(waiting) = &mut self.phase {
                    waiting.due = now;
                }
            }
        }
    }

    /// Time has come to [`Prober::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Listening { from, .. } => self.end_listening(from, now),
            Phase::Waiting(waiting) => self.missed(&waiting, now),
            Phase::Settling { surplus, .. } => {
                self.note_surplus(surplus);
                self.pause(now);
                self.step(now);
            }
            Phase::Pause { until } => {
                self.phase = Phase::Pause { until };
                self.step(now);
            }
            phase @ (Phase::Opening | Phase::Done) => self.phase = phase,
        }
    }

    /// Those that are met at a setting.
    fn protocols(&self, setting: Setting) -> Vec<Protocol> {
        let here = self.passes.iter().filter(|pass| pass.setting == setting);
        here.map(|pass| self.options.plans[pass.plan].protocol).collect()
    }

    fn end_listening(&mut self, from: Instant, now: Instant) {
        let listened = now.since(from);
        let setting = self.opened.unwrap_or(Setting::new(9_600, crate::port::Parity::None));
        let first = !self.listened;
        self.listened = true;
        if !self.listening.end(listened) {
            self.phase = Phase::Pause { until: now };
            return self.step(now);
        }
        if let Some(cause) = self.listening.master(&self.protocols(setting), setting, listened) {
            self.report.causes.push(cause);
            return self.end();
        }
        if first {
            for pass in &self.passes {
                if pass.setting != setting && !self.identify.contains(&pass.setting) {
                    self.identify.push_back(pass.setting);
                }
            }
        } else {
            self.identify.pop_front();
        }
        self.identify_next(now);
    }

    fn identify_next(&mut self, now: Instant) {
        let next = self.identify.front().copied().filter(|_| now < self.deadline);
        match next {
            Some(setting) => self.open(setting),
            None => {
                self.report.causes.push(self.listening.unknown());
                self.end();
            }
        }
    }

    fn timing(&self) -> LineSettings {
        let Some(pass) = self.passes.front() else { return LineSettings::default() };
        let usual = self.options.plans[pass.plan].timing;
        LineSettings {
            baud: pass.setting.baud,
            bits_per_char: pass.setting.bits_per_char(),
            answer_window: self.options.answer_window.unwrap_or(usual.answer_window),
            ..usual
        }
    }

    fn pause(&mut self, now: Instant) {
        self.phase = Phase::Pause { until: now + self.timing().pause_before_send };
    }

    /// The report of the present pass.
    fn pass_report(&mut self) -> Option<&mut PassReport> {
        let pass = self.passes.front()?;
        let (protocol, setting) = (self.options.plans[pass.plan].protocol, pass.setting);
        let is_here = |report: &PassReport| report.protocol == protocol && report.setting == setting;
        if !self.report.passes.last().is_some_and(is_here) {
            self.report.passes.push(PassReport::new(protocol, setting));
        }
        self.report.passes.last_mut()
    }

    fn note_bytes(&mut self, count: usize) {
        if let Some(report) = self.pass_report() {
            report.bytes = report.bytes.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Bytes after the window of a question to one that has answered before.
    fn note_late(&mut self, bytes: &[u8]) {
        let late = self.asking.as_ref().filter(|asking| asking.missed && asking.found && bytes.len() > 1);
        let Some(address) = late.map(|asking| asking.address) else { return };
        if let Some(report) = self.pass_report()
            && !report.strays.contains(&address)
        {
            report.strays.push(address);
        }
    }

    fn note_echo(&mut self, echoed: bool) {
        self.exchanges += 1;
        self.echoes += u32::from(echoed);
    }

    fn note_surplus(&mut self, surplus: Vec<u8>) {
        // a turnaround of the transceiver may leave a byte
        if surplus.len() < 2 {
            return;
        }
        let Some(address) = self.asking.as_ref().map(|asking| asking.address) else { return };
        self.note_bytes(surplus.len());
        if let Some(report) = self.pass_report() {
            report.doubled.retain(|(other, _)| *other != address);
            report.doubled.push((address, surplus));
        }
    }

    fn answered(&mut self, check: bool) {
        if let Some(asking) = &mut self.asking {
            asking.found = true;
            asking.missed = false;
            asking.checks += u32::from(check);
        }
    }

    fn missed(&mut self, waiting: &Waiting, now: Instant) {
        let Some(asking) = &mut self.asking else { return self.end() };
        let echo = if waiting.heard.starts_with(&waiting.sent) { waiting.sent.len() } else { 0 };
        let mut answer = waiting.heard[echo..].to_vec();
        let stray = match asking.talk.hear(&answer) {
            Heard::Stray(address) => Some(address),
            Heard::Nobody => {
                answer.clear();
                None
            }
            _ => None,
        };
        let (address, seeking) = (asking.address, !asking.found);
        asking.missed = true;
        if waiting.check {
            asking.checks += 1;
            asking.failures += 1;
        } else {
            asking.talk.miss();
        }
        if seeking && (answer.is_empty() || asking.again == 0) {
            self.asking = None;
        } else if seeking {
            asking.again -= 1;
            // the first question once more, from the beginning
            if let Some(pass) = self.passes.front() {
                asking.talk = (self.options.plans[pass.plan].talk)(address);
            }
        }
        self.note_bytes(answer.len());
        self.note_echo(echo > 0);
        if let Some(report) = self.pass_report() {
            report.echoed += u32::from(echo > 0 && seeking);
            match stray {
                Some(stray) if !report.strays.contains(&stray) => report.strays.push(stray),
                Some(_) => {}
                None if !seeking => {}
                // what came before was noise
                None if answer.is_empty() => report.garbled.retain(|(other, _)| *other != address),
                None => {
                    report.garbled.retain(|(other, _)| *other != address);
                    report.garbled.push((address, answer.clone()));
                }
            }
        }
        let quiet = match (answer.is_empty(), seeking) {
            (true, true) => self.timing().pause_before_send,
            (true, false) => self.timing().answer_window * (LATE - 1),
            (false, _) => SETTLE,
        };
        self.phase = Phase::Pause { until: now + quiet };
    }

    /// The wire is free: the next question, address, pass or the end.
    fn step(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Pause { until } if until > now) {
            return;
        }
        loop {
            if now >= self.deadline {
                self.report.cut_short = true;
                self.settle_asking();
                return self.end();
            }
            if self.asking.is_some() {
                if self.ask(now) {
                    return;
                }
                self.settle_asking();
            }
            if let Some((address, second)) = self.queue.pop_front() {
                self.done += usize::from(!second);
                self.begin(address);
            } else if !self.next_queue() {
                return;
            }
        }
    }

    fn begin(&mut self, address: u8) {
        let Some(pass) = self.passes.front() else { return };
        let talk = (self.options.plans[pass.plan].talk)(address);
        self.asking = Some(Asking { address, talk, again: AGAIN, found: false, missed: false, checks: 0, failures: 0 });
    }

    /// The next addresses. False where the port must be opened first, or all is done.
    fn next_queue(&mut self) -> bool {
        let Some(pass) = self.passes.front() else {
            self.end();
            return false;
        };
        let (setting, addresses) = (pass.setting, pass.addresses.clone());
        let protocol = self.options.plans[pass.plan].protocol;
        let begun = self.report.passes.iter().any(|report| report.protocol == protocol && report.setting == setting);
        if !begun {
            if self.opened != Some(setting) {
                self.open(setting);
                return false;
            }
            // so that it counts as begun
            let _ = self.pass_report();
            self.queue = addresses.into_iter().map(|address| (address, false)).collect();
            return true;
        }
        let is_found =
            |address: u8| self.report.found.iter().any(|found| found.protocol == protocol && found.address == address);
        let strays = self.report.passes.last().map(|report| report.strays.clone()).unwrap_or_default();
        let any = addresses.iter().any(|address| is_found(*address));
        if !self.second_look && (any || !strays.is_empty()) {
            // where one is, the others may only have been missed
            self.second_look = true;
            let mut again: Vec<u8> = addresses.into_iter().filter(|address| !is_found(*address)).collect();
            again.retain(|address| any || strays.contains(address));
            self.queue = again.into_iter().map(|address| (address, true)).collect();
            return true;
        }
        self.second_look = false;
        if self.report.found.is_empty() {
            self.passes.pop_front();
            return true;
        }
        // one wire speaks one protocol at one rate
        self.end();
        false
    }

    /// Sends the next question of the present talk. False where there is none.
    fn ask(&mut self, now: Instant) -> bool {
        let timing = self.timing();
        let strays = self.report.passes.last().map(|report| report.strays.clone()).unwrap_or_default();
        let Some(asking) = &mut self.asking else { return false };
        let found = asking.found;
        let (exchange, check) = match asking.talk.ask() {
            Some(exchange) => (exchange, false),
            None if found && asking.checks < CHECKS => (asking.talk.check(), true),
            None => return false,
        };
        let late = if strays.contains(&asking.address) { LATE } else { 1 };
        let sent_at = now + timing.wire_time(exchange.bytes.len());
        if !found && let Some(report) = self.pass_report() {
            report.asked += 1;
        }
        self.commands.push_back(Command::Send(exchange.bytes.clone()));
        self.phase = match exchange.expect {
            Expect::Answer => Phase::Waiting(Waiting {
                sent: exchange.bytes,
                heard: Vec::new(),
                due: sent_at + timing.answer_window * late + SLACK,
                check,
            }),
            Expect::Nothing => Phase::Pause { until: sent_at + SETTLE },
        };
        true
    }

    /// Enters the present talk into the report.
    fn settle_asking(&mut self) {
        let Some(asking) = self.asking.take() else { return };
        let Some(pass) = self.passes.front() else { return };
        // a byte by chance can look like an answer, but not again and again
        let by_chance = asking.checks > 0 && asking.failures == asking.checks;
        if asking.found && !by_chance {
            let late = self.report.passes.last().is_some_and(|report| report.strays.contains(&asking.address));
            let Asking { address, talk, checks, failures, .. } = asking;
            self.report.found.push(Found {
                protocol: self.options.plans[pass.plan].protocol,
                setting: pass.setting,
                address,
                facts: talk.facts(),
                checks,
                failures,
                late,
            });
            // where it answered in the end, what came before was noise
            if let Some(report) = self.pass_report() {
                report.garbled.retain(|(other, _)| *other != address);
            }
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Done;
        self.report.echo = self.echoes * 2 > self.exchanges;
        if !self.report.causes.iter().any(Cause::forbids_asking) {
            self.report.causes = judge(&self.report);
        }
        self.report.found.sort_by_key(|found| (found.protocol, found.address));
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (part, address) = match (&self.phase, self.passes.front()) {
            (Phase::Done, _) | (_, None) => ("done".to_owned(), None),
            _ if !self.listened || !self.identify.is_empty() => {
                let setting = self.opened.map(|setting| format!(" at {setting}")).unwrap_or_default();
                (format!("listening{setting}"), None)
            }
            (_, Some(pass)) => {
                let protocol = self.options.plans[pass.plan].protocol;
                let address = self.asking.as_ref().map(|asking| address_text(protocol, asking.address));
                (format!("{} at {}", protocol.word(), pass.setting), address)
            }
        };
        let doing = address.map_or(part.clone(), |address| format!("{part}, address {address}"));
        Progress { doing, part, done: self.done, all: self.all, found: self.report.found.len() }
    }
}
