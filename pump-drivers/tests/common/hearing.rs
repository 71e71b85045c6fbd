//! A line that is only listened to, on an invented clock, and what was told of it.

use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::pump::{PumpCommand, PumpEvent, Snapshot};
use forecourt::time::Instant;
use forecourt::units::{Money, Volume};
use pump_drivers::line::{LineSettings, Verdict};
use pump_drivers::listen::{Ear, Listener};

pub struct Hearing {
    pub line: Listener,
    pub now: Instant,
    pub told: Vec<(FuellingPointId, PumpEvent)>,
    pub trace: Vec<(Verdict, Vec<u8>)>,
    character: Duration,
}

impl Hearing {
    /// A line whose port was just opened.
    pub fn new(settings: LineSettings, ear: Box<dyn Ear>) -> Self {
        let mut line = Listener::new(settings, ear);
        line.handle_link(true, Instant::START);
        let character = settings.wire_time(1);
        Self { line, now: Instant::START, told: Vec::new(), trace: Vec::new(), character }
    }

    /// Bytes as they come over the wire, after a turnaround of 10 ms.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.wait(Duration::from_millis(10));
        for byte in bytes {
            self.wait(self.character);
            self.line.handle_bytes(&[*byte], self.now);
        }
        self.drain();
    }

    /// The port was opened or is gone.
    pub fn link(&mut self, up: bool) {
        self.line.handle_link(up, self.now);
    }

    /// A word of the core.
    pub fn command(&mut self, fp: FuellingPointId, command: &PumpCommand) {
        self.line.handle_command(fp, command, self.now);
    }

    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.line.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.line.handle_timeout(self.now);
        }
        self.now = end;
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(from) = self.line.poll_event() {
            self.told.push((from.fp, from.event));
        }
        while let Some(frame) = self.line.poll_trace() {
            self.trace.push((frame.verdict, frame.bytes));
        }
    }

    pub fn events(&self) -> Vec<PumpEvent> {
        self.told.iter().map(|(_, event)| event.clone()).collect()
    }

    pub fn has(&self, event: &PumpEvent) -> bool {
        self.told.iter().any(|(_, told)| told == event)
    }

    pub fn ends(&self) -> Vec<(Option<NozzleId>, Volume, Money, Option<Volume>)> {
        let end = |event: &PumpEvent| match event {
            PumpEvent::Ended { reading, totaliser, .. } => {
                Some((reading.nozzle, reading.volume, reading.amount, *totaliser))
            }
            _ => None,
        };
        self.events().iter().filter_map(end).collect()
    }

    pub fn snapshots(&self) -> Vec<Snapshot> {
        let of = |event: PumpEvent| if let PumpEvent::Snapshot(snapshot) = event { Some(snapshot) } else { None };
        self.events().into_iter().filter_map(of).collect()
    }
}
