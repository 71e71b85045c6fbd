//! What goes wrong in a day, drawn from its seed: some days know nothing of a fault, others much.

use super::disk::CutAt;
use super::traffic::Span;
use super::world::World;
use crate::dispenser::Action;
use crate::platform;
use crate::prng::{PerMillion, Prng};
use crate::wire::{DeviceId, Faults};
use core::time::Duration;
use forecourt::time::{ClockQuality, Instant};
use std::num::NonZeroU64;

/// Every line has so many devices.
const DEVICES: u64 = 4;
const LINES: u64 = 3;

/// Something goes wrong, or right again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// A line is as bad as this; the default is a clean one.
    Noise(usize, Faults),
    /// A device sends noise this often.
    Babble(usize, DeviceId, PerMillion),
    /// A device is off the line, or on it again.
    Unplug(usize, DeviceId, bool),
    /// The adapter of a line is pulled out, or is there again.
    Port(usize, bool),
    /// A dispenser's power.
    Power(usize, DeviceId, bool),
    /// The database may grow by so many pages, or without a limit.
    Disk(Option<u32>),
    /// The broker is reachable or not; when it comes back it may have lost the session.
    Broker {
        /// Whether it is there.
        up: bool,
        /// Its memory of the station is gone.
        forgets: bool,
    },
    /// The connection breaks once.
    Flap,
    /// The controller's wall clock is set off by so much.
    Clock(i64, ClockQuality),
    /// The platform sends other prices.
    Reprice {
        /// Difference to the planned prices, in hundredths of the major unit.
        by: i64,
        /// Until they come into force.
        after: Duration,
    },
    /// Someone sends old commands again.
    Replay {
        /// How many.
        count: u64,
        /// Marked as retained.
        retained: bool,
    },
}

/// What a day is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weather {
    /// What happens when.
    pub troubles: Vec<(Instant, Trouble)>,
    /// A power cut at a commit.
    cuts: PerMillion,
    /// A command comes twice, or late by up to this.
    doubled: PerMillion,
    late: PerMillion,
    late_by: Duration,
    /// The broker loses a record that it has acknowledged.
    lost: PerMillion,
    latency: (Duration, Duration),
    commit: (Duration, Duration),
    platform: platform::Faults,
    /// Adapters return what is sent.
    pub echo: bool,
    /// How far the database may still grow; survives a start.
    pub pages: Option<u32>,
}

impl Weather {
    /// A day on which nothing goes wrong.
    #[must_use]
    pub fn fair() -> Self {
        let ms = Duration::from_millis;
        Self {
            troubles: Vec::new(),
            cuts: PerMillion::NEVER,
            doubled: PerMillion::NEVER,
            late: PerMillion::NEVER,
            late_by: Duration::ZERO,
            lost: PerMillion::NEVER,
            latency: (ms(15), ms(60)),
            commit: (ms(1), ms(6)),
            platform: platform::Faults::default(),
            echo: false,
            pages: None,
        }
    }

    /// Whether the broker loses every record that it has acknowledged.
    pub(crate) const fn lose_events(&mut self, all: bool) {
        self.lost = if all { PerMillion::ALWAYS } else { PerMillion::NEVER };
    }

    /// How long commits take from now on.
    pub(crate) const fn set_commit_time(&mut self, least: Duration, most: Duration) {
        self.commit = (least, most);
    }

    /// What this seed brings.
    #[must_use]
    pub fn drawn(prng: &Prng, span: Span) -> Self {
        let chance = prng.fork("draw");
        let mut draw = Draw { span, weather: Self::fair(), chance };
        let mut root = prng.fork("weather");
        for (label, of_ten, add) in KINDS {
            // Each fault has its own generator, so that one more of one kind does not shift the others.
            draw.chance = prng.fork(label);
            if root.below(10) < of_ten {
                add(&mut draw);
            }
        }
        draw.weather
    }

    /// What the platform does wrong.
    #[must_use]
    pub const fn platform_faults(&self) -> platform::Faults {
        self.platform
    }

    /// How long a commit takes.
    pub fn commit_time(&self, chance: &mut Prng) -> Duration {
        chance.between(self.commit.0, self.commit.1)
    }

    /// How long a message is under way.
    pub fn latency(&self, chance: &mut Prng) -> Duration {
        chance.between(self.latency.0, self.latency.1)
    }

    /// Whether power goes at this commit, and when in it.
    pub fn cut(&self, chance: &mut Prng) -> Option<CutAt> {
        let at = [CutAt::Before, CutAt::Within, CutAt::Within, CutAt::Checkpoint, CutAt::After];
        chance.chance(self.cuts).then(|| *chance.pick(&at))
    }

    /// How long the controller is without power.
    pub fn time_off(&self, chance: &mut Prng) -> Duration {
        match chance.below(10) {
            0..6 => chance.between(Duration::from_millis(800), Duration::from_secs(8)),
            6..9 => chance.between(Duration::from_secs(8), Duration::from_secs(60)),
            _ => chance.between(Duration::from_secs(60), Duration::from_secs(600)),
        }
    }

    /// After which times the copies of a command arrive at the broker.
    pub fn carry(&self, chance: &mut Prng, healed: bool) -> Vec<Duration> {
        let mut copies = vec![self.latency(chance)];
        if healed {
            return copies;
        }
        if chance.chance(self.doubled) {
            copies.push(self.latency(chance) + chance.between(Duration::ZERO, self.late_by));
        }
        for copy in &mut copies {
            if chance.chance(self.late) {
                *copy += chance.between(Duration::ZERO, self.late_by);
            }
        }
        copies
    }

    /// Whether the broker loses a record that it has acknowledged.
    pub fn event_lost(&self, chance: &mut Prng, healed: bool) -> bool {
        !healed && chance.chance(self.lost)
    }
}

/// A kind of fault: its name, on how many days of ten it is there, and how it is drawn.
type Kind = (&'static str, u64, fn(&mut Draw));

const KINDS: [Kind; 15] = [
    ("noise", 6, Draw::noise),
    ("babble", 3, Draw::babble),
    ("echo", 2, Draw::echo),
    ("unplug", 4, Draw::unplug),
    ("port", 4, Draw::port),
    ("pump-power", 5, Draw::pump_power),
    ("cuts", 6, Draw::cuts),
    ("disk", 4, Draw::disk),
    ("slow-disk", 3, Draw::slow_disk),
    ("broker", 6, Draw::broker),
    ("slow-net", 3, Draw::slow_net),
    ("platform", 6, Draw::platform),
    ("replay", 5, Draw::replay),
    ("clock", 4, Draw::clock),
    ("prices", 6, Draw::prices),
];

struct Draw {
    span: Span,
    weather: Weather,
    chance: Prng,
}

impl Draw {
    /// A few moments of the day, never in its first minute.
    fn times(&mut self, most: u64) -> Vec<Instant> {
        let count = 1 + self.chance.below(most * self.span.hours.max(1));
        let length = self.span.length();
        (0..count).map(|_| Instant::START + self.chance.between(Duration::from_secs(60), length)).collect()
    }

    fn add(&mut self, at: Instant, trouble: Trouble) {
        self.weather.troubles.push((at, trouble));
    }

    fn line(&mut self) -> usize {
        usize::try_from(self.chance.below(LINES)).unwrap_or(0)
    }

    fn device(&mut self) -> DeviceId {
        DeviceId(usize::try_from(self.chance.below(DEVICES)).unwrap_or(0))
    }

    /// From a moment to about an hour, the short ones more often.
    fn while_long(&mut self, most: u64) -> Duration {
        let most = 1 + self.chance.below(most);
        self.chance.between(Duration::from_millis(200), Duration::from_secs(most))
    }

    fn rate(&mut self, most: u64) -> PerMillion {
        PerMillion(u32::try_from(self.chance.below(most)).unwrap_or(0))
    }

    fn noise(&mut self) {
        for at in self.times(3) {
            let line = self.line();
            let mut faults = Faults::default();
            for which in 0..6 {
                // Each kind is absent from half of the storms.
                if self.chance.below(2) == 0 {
                    continue;
                }
                match which {
                    0 => faults.bit_flip = self.rate(1_500),
                    1 => faults.drop = self.rate(5_000),
                    2 => faults.double = self.rate(5_000),
                    3 => {
                        faults.late = self.rate(5_000);
                        faults.late_by = self.chance.between(Duration::from_millis(5), Duration::from_millis(200));
                    }
                    4 => faults.junk = self.rate(200_000),
                    _ => faults.silence = self.rate(200_000),
                }
            }
            let over = at + self.while_long(1_800);
            self.add(at, Trouble::Noise(line, faults));
            self.add(over, Trouble::Noise(line, Faults::default()));
        }
    }

    fn babble(&mut self) {
        for at in self.times(2) {
            let (line, device) = (self.line(), self.device());
            let often = self.rate(300_000);
            let over = at + self.while_long(600);
            self.add(at, Trouble::Babble(line, device, often));
            self.add(over, Trouble::Babble(line, device, PerMillion::NEVER));
        }
    }

    const fn echo(&mut self) {
        self.weather.echo = true;
    }

    fn unplug(&mut self) {
        for at in self.times(4) {
            let (line, device) = (self.line(), self.device());
            let over = at + self.while_long(300);
            self.add(at, Trouble::Unplug(line, device, true));
            self.add(over, Trouble::Unplug(line, device, false));
        }
    }

    fn port(&mut self) {
        for at in self.times(3) {
            let line = self.line();
            let over = at + self.while_long(300);
            self.add(at, Trouble::Port(line, false));
            self.add(over, Trouble::Port(line, true));
        }
    }

    fn pump_power(&mut self) {
        for at in self.times(6) {
            let (line, device) = (self.line(), self.device());
            let over = at + self.while_long(120);
            self.add(at, Trouble::Power(line, device, false));
            self.add(over, Trouble::Power(line, device, true));
        }
    }

    fn cuts(&mut self) {
        self.weather.cuts = PerMillion(*self.chance.pick(&[200, 600, 1_500, 4_000]));
    }

    fn disk(&mut self) {
        for at in self.times(1) {
            let pages = u32::try_from(self.chance.below(4)).unwrap_or(0);
            let over = at + self.while_long(900);
            self.add(at, Trouble::Disk(Some(pages)));
            self.add(over, Trouble::Disk(None));
        }
    }

    fn slow_disk(&mut self) {
        let most = *self.chance.pick(&[30, 150, 800, 2_500]);
        self.weather.commit = (Duration::from_millis(2), Duration::from_millis(most));
    }

    fn broker(&mut self) {
        for at in self.times(2) {
            if self.chance.below(2) == 0 {
                self.add(at, Trouble::Flap);
                continue;
            }
            let over = at + self.while_long(2_400);
            let forgets = self.chance.below(2) == 0;
            self.add(at, Trouble::Broker { up: false, forgets });
            self.add(over, Trouble::Broker { up: true, forgets });
        }
    }

    fn slow_net(&mut self) {
        self.weather.latency = (Duration::from_millis(80), Duration::from_millis(600));
    }

    fn platform(&mut self) {
        self.weather.doubled = self.rate(150_000);
        self.weather.late = self.rate(100_000);
        self.weather.late_by = self.chance.between(Duration::from_millis(100), Duration::from_secs(400));
        self.weather.lost = self.rate(50_000);
        self.weather.platform.drop_ack = NonZeroU64::new(self.chance.below(12));
    }

    fn replay(&mut self) {
        for at in self.times(6) {
            let count = 1 + self.chance.below(40);
            let retained = self.chance.below(4) == 0;
            self.add(at, Trouble::Replay { count, retained });
        }
    }

    fn prices(&mut self) {
        for at in self.times(4) {
            let by = i64::try_from(self.chance.below(101)).unwrap_or(0) - 50;
            let after = self.chance.between(Duration::ZERO, Duration::from_secs(300));
            self.add(at, Trouble::Reprice { by, after });
        }
    }

    fn clock(&mut self) {
        for at in self.times(2) {
            let minutes = i64::try_from(self.chance.below(600)).unwrap_or(0) - 300;
            let (off, quality) = match self.chance.below(8) {
                0 => (-1_795_219_200_000, ClockQuality::Unset),
                1 => (10 * 365 * 86_400_000, ClockQuality::Holdover),
                2..5 => (minutes * 100, ClockQuality::Synced),
                _ => (minutes * 60_000, ClockQuality::Holdover),
            };
            let over = at + self.while_long(1_200);
            self.add(at, Trouble::Clock(off, quality));
            self.add(over, Trouble::Clock(0, ClockQuality::Synced));
        }
    }
}

impl World {
    /// Lets it go wrong, unless the day is over.
    pub(super) fn trouble(&mut self, trouble: Trouble) -> anyhow::Result<()> {
        if self.healed {
            return Ok(());
        }
        self.log.note(self.now, format_args!("trouble {trouble:?}"));
        self.strike(trouble);
        Ok(())
    }

    fn strike(&mut self, trouble: Trouble) {
        let now = self.now;
        match trouble {
            Trouble::Noise(line, faults) => self.lines[line].wire.set_faults(faults),
            Trouble::Babble(line, device, often) => self.lines[line].wire.babble(device, often),
            Trouble::Unplug(line, device, off) => self.lines[line].wire.unplug(device, off),
            Trouble::Port(line, up) => {
                if self.lines[line].plugged != up {
                    self.lines[line].plugged = up;
                    self.with_controller(|controller, step, witness| controller.handle_port(line, up, step, witness));
                }
            }
            Trouble::Power(line, device, on) => {
                self.lines[line].wire.act(device, Action::Power(on), now);
                self.wake(line);
            }
            Trouble::Disk(pages) => {
                self.weather.pages = pages;
                self.limit_disk();
            }
            Trouble::Broker { up: false, .. } => {
                self.post.up = false;
                self.lose_connection();
            }
            Trouble::Broker { up: true, forgets } => {
                self.post.up = true;
                // While a connection stands the session does too.
                if forgets && self.post.connection().is_none() {
                    self.post.forget_session();
                }
                // The platform lost its connection too: what was never answered it sends again.
                self.desk.handle_connected();
                self.send_commands();
            }
            Trouble::Flap => self.lose_connection(),
            Trouble::Clock(off, quality) => (self.clock_off_ms, self.clock_quality) = (off, quality),
            Trouble::Reprice { by, after } => self.reprice(by, after),
            Trouble::Replay { count, retained } => self.replay(count, retained),
        }
    }

    fn replay(&mut self, count: u64, retained: bool) {
        let mut chance = self.prng.fork(&format!("replay-{}", self.now.as_micros()));
        for _ in 0..count {
            let tokens: Vec<&String> = self.sent_tokens.iter().collect();
            if tokens.is_empty() {
                return;
            }
            let token = (*chance.pick(&tokens)).clone();
            let after = chance.between(Duration::ZERO, Duration::from_secs(20));
            self.replay_later(after, token, retained);
        }
    }

    /// Applies the present limit of the disk to the database.
    pub(super) fn limit_disk(&mut self) {
        let pages = self.weather.pages;
        if let Some(controller) = &mut self.controller
            && let Err(why) = controller.store_mut().limit_growth(pages)
        {
            self.violate(format!("the disk's limit: {why}"));
        }
    }

    /// Everything is well again, and stays so.
    pub(super) fn heal(&mut self) {
        self.log.note(self.now, format_args!("all faults are over"));
        for line in 0..self.lines.len() {
            self.strike(Trouble::Noise(line, Faults::default()));
            self.strike(Trouble::Port(line, true));
            let devices: Vec<DeviceId> = self.lines[line].wire.devices().map(|(device, _)| device).collect();
            for device in devices {
                self.strike(Trouble::Babble(line, device, PerMillion::NEVER));
                self.strike(Trouble::Unplug(line, device, false));
                self.strike(Trouble::Power(line, device, true));
            }
        }
        self.strike(Trouble::Disk(None));
        self.set_read_only(false);
        self.strike(Trouble::Clock(0, ClockQuality::Synced));
        self.desk.set_faults(platform::Faults::default());
        self.healed = true;
        if self.post.up {
            self.desk.handle_connected();
            self.send_commands();
        } else {
            self.strike(Trouble::Broker { up: true, forgets: false });
        }
    }
}
