//! A line that we drive, and somebody else on it.

mod common;

use common::*;
use core::time::Duration;
use forecourt::pump::{PumpCommand, PumpEvent, State};
use forecourt::time::Instant;
use pump_drivers::dart::{Habits, PollWatch};
use pump_drivers::line::{Echo, Line, LineSettings, OTHER_MASTER, Verdict};

const LISTEN: Duration = Duration::from_millis(1_000);

/// A device server whose other controller polls now and then, whatever we do.
struct Stage {
    line: Line,
    pump: Pump,
    now: Instant,
    settings: LineSettings,
    echo: bool,
    /// The host reads so much later what it hears.
    late: Duration,
    /// A bit of every so many echoes is turned.
    spoils: Option<usize>,
    /// What arrives when.
    inbound: Vec<(Instant, Vec<u8>)>,
    sent: Vec<(Instant, Vec<u8>)>,
    told: Vec<(Instant, PumpEvent)>,
    next_poll: Option<Instant>,
    every: Duration,
}

impl Stage {
    fn new(settings: LineSettings) -> Self {
        let settings = LineSettings { listen_before: LISTEN, ..settings };
        let mut line =
            Line::new(settings, vec![dart(head(), Habits::default())]).with_watch(Box::new(PollWatch::default()));
        line.handle_link(true, Instant::START);
        Self {
            line,
            pump: Pump::new(0x57),
            now: Instant::START,
            settings,
            echo: false,
            late: Duration::ZERO,
            spoils: None,
            inbound: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
            next_poll: None,
            every: Duration::from_millis(140),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            while let Some(bytes) = self.line.poll_transmit(self.now) {
                let done = self.now + self.settings.wire_time(bytes.len());
                if self.echo {
                    let mut returned = bytes.clone();
                    if self.spoils.is_some_and(|every| self.sent.len().is_multiple_of(every)) {
                        returned[1] ^= 0x04;
                    }
                    self.inbound.push((done + self.late, returned));
                }
                if let Some(answer) = self.pump.hear(&bytes) {
                    let at = done + self.pump.turnaround + self.settings.wire_time(answer.len());
                    self.inbound.push((at + self.late, answer));
                }
                self.sent.push((self.now, bytes));
            }
            while let Some(from) = self.line.poll_event() {
                if let PumpEvent::Snapshot(snapshot) = &from.event {
                    self.line.handle_command(FP, PumpCommand::Stored(snapshot.token), self.now);
                }
                self.told.push((self.now, from.event));
            }
            self.now = self.now + Duration::from_millis(1);
            if self.next_poll.is_some_and(|at| at <= self.now) {
                self.inbound.push((self.now, hex("57 20 FA")));
                self.next_poll = Some(self.now + self.every);
            }
            let now = self.now;
            self.inbound.sort_by_key(|(at, _)| *at);
            while self.inbound.first().is_some_and(|(at, _)| *at <= now) {
                let (_, bytes) = self.inbound.remove(0);
                self.line.handle_bytes(&bytes, now);
            }
            if self.line.poll_timeout().is_some_and(|(due, _)| due <= now) {
                self.line.handle_timeout(now);
            }
        }
    }

    fn sent_since(&self, from: Instant) -> usize {
        self.sent.iter().filter(|(at, _)| *at > from).count()
    }

    fn alarms(&self) -> usize {
        let ours = |event: &PumpEvent| {
            matches!(event, PumpEvent::Alarm { code: OTHER_MASTER, text, .. }
                if text == "another master is polling: disconnect it first")
        };
        self.told.iter().filter(|(_, event)| ours(event)).count()
    }

    fn snapshots(&self) -> usize {
        self.told.iter().filter(|(_, event)| matches!(event, PumpEvent::Snapshot(_))).count()
    }
}

#[test]
fn a_quiet_wire_is_listened_to_and_then_driven() {
    let mut stage = Stage::new(fast());
    stage.run(LISTEN);
    assert_eq!(stage.sent, []);
    stage.run(Duration::from_millis(600));
    assert_eq!(stage.snapshots(), 1);
    assert_eq!(stage.alarms(), 0);
}

#[test]
fn nothing_is_ever_sent_while_another_master_polls_from_the_start() {
    let mut stage = Stage::new(fast());
    stage.next_poll = Some(Instant::START + Duration::from_millis(90));
    stage.run(Duration::from_secs(30));
    assert_eq!(stage.sent, []);
    assert_eq!(stage.alarms(), 1);
    assert!(stage.line.statistics().other_master);
}

#[test]
fn a_master_that_comes_later_silences_us_and_one_that_goes_lets_us_begin_anew() {
    for settings in [fast(), LineSettings::default()] {
        let mut stage = Stage::new(settings);
        stage.run(Duration::from_secs(3));
        assert_eq!(stage.snapshots(), 1);
        stage.next_poll = Some(stage.now);
        stage.run(Duration::from_secs(3));
        assert_eq!(stage.alarms(), 1);
        let silent = stage.now;
        // not even a stop is sent into another's talk
        stage.line.handle_command(FP, PumpCommand::Stop, stage.now);
        stage.run(Duration::from_secs(20));
        assert_eq!(stage.sent_since(silent), 0);
        assert!(stage.told.iter().any(|(_, event)| *event == PumpEvent::Lost));
        stage.next_poll = None;
        stage.run(Duration::from_secs(4));
        assert_eq!(stage.sent_since(silent), 0, "not before it has been quiet for a while");
        stage.run(Duration::from_secs(3));
        assert_eq!(stage.snapshots(), 2, "the pump is read anew");
        assert!(!stage.line.statistics().other_master);
    }
}

#[test]
fn our_own_echo_is_no_other_master_whether_it_is_stripped_or_not() {
    for echo in [Echo::Strip, Echo::None] {
        for pause in [0, 10] {
            let pause_before_send = Duration::from_millis(pause);
            let mut stage = Stage::new(LineSettings { echo, pause_before_send, ..LineSettings::default() });
            stage.echo = true;
            stage.run(Duration::from_secs(10));
            stage.pump.lift(1);
            stage.run(Duration::from_secs(10));
            stage.pump.silent = true;
            stage.run(Duration::from_secs(10));
            assert_eq!(stage.alarms(), 0, "{echo:?}, pause {pause} ms");
            assert!(stage.sent.len() > 100);
        }
    }
}

#[test]
fn our_own_echo_is_no_other_master_where_the_host_reads_it_late() {
    for late in [60, 120, 250] {
        let mut stage = Stage::new(LineSettings { echo: Echo::Strip, ..LineSettings::default() });
        stage.echo = true;
        stage.run(Duration::from_secs(5));
        stage.late = Duration::from_millis(late);
        stage.run(Duration::from_secs(5));
        stage.late = Duration::ZERO;
        stage.run(Duration::from_secs(5));
        assert_eq!(stage.alarms(), 0, "{late} ms late");
    }
}

#[test]
fn our_own_echo_is_no_other_master_where_noise_spoils_it_and_another_is_still_noticed() {
    let mut stage = Stage::new(LineSettings { echo: Echo::Strip, ..LineSettings::default() });
    stage.echo = true;
    stage.run(Duration::from_secs(5));
    // 50 20 FA is a poll, and so is 50 24 FA
    stage.spoils = Some(3);
    stage.run(Duration::from_secs(20));
    assert_eq!(stage.alarms(), 0);
    stage.next_poll = Some(stage.now);
    stage.run(Duration::from_secs(10));
    assert_eq!(stage.alarms(), 1);
    assert!(stage.line.statistics().other_master);
}

#[test]
fn late_answers_and_one_accident_of_noise_are_no_other_master() {
    let mut stage = Stage::new(LineSettings::default());
    stage.pump.turnaround = Duration::from_millis(130);
    stage.run(Duration::from_secs(20));
    stage.pump.turnaround = Duration::from_millis(5);
    stage.run(Duration::from_secs(5));
    stage.inbound.push((stage.now + Duration::from_millis(7), hex("63 20 FA")));
    stage.pump.lift(1);
    stage.run(Duration::from_secs(5));
    assert_eq!(stage.alarms(), 0);
    assert!(stage.told.iter().any(|(_, event)| matches!(event, PumpEvent::State { state: State::Calling, .. })));
}

#[test]
fn a_master_at_other_addresses_is_noticed_too() {
    let mut stage = Stage::new(fast());
    stage.run(Duration::from_secs(3));
    for (n, poll) in (1..).zip(["51 20 FA", "52 20 FA", "53 20 FA"]) {
        stage.inbound.push((stage.now + Duration::from_millis(150) * n, hex(poll)));
    }
    stage.run(Duration::from_secs(1));
    assert_eq!(stage.alarms(), 1);
    let trace: Vec<_> = core::iter::from_fn(|| stage.line.poll_trace()).collect();
    let last = trace.last().expect("a trace");
    assert_eq!((&last.verdict, &last.bytes), (&Verdict::Unasked, &hex("53 20 FA")));
}
