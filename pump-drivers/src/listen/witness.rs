//! One head as it is overheard: what was heard of its state, figures and totals, and what may be told of it.
//!
//! ```text
//!  Unread ──state heard──► Rest ◄──────────────────────────┐
//!     ▲                     │ released                     │ total heard, waited, or the next begins
//!     └── silence, no port  ▼                              │
//!                        Running ──end heard──► Ending ────┘
//! ```
//!
//! Figures that belong to the end are told as an end. Others, and an end that was missed, are told as a snapshot: the core then books
//! them only if the totaliser bears them out.

use crate::head::HeadSettings;
use crate::told::Told;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::pump::{Authorise, Capabilities, PumpCommand, PumpEvent, Reading, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Money, UnitPrice, Volume};
use std::collections::BTreeMap;

/// After an end, or a first state, the other controller is given so long to ask for the totals.
const TOTALS_WAIT: Duration = Duration::from_secs(2);
/// Another controller may poll at leisure: only so many times the usual limit of silence is silence.
const PATIENCE: u32 = 4;

/// Where the nozzles are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifted {
    /// Not heard.
    Unknown,
    /// All in.
    None,
    /// One is out; `None` if it was not named.
    Out(Option<NozzleId>),
}

impl Lifted {
    fn nozzle(self) -> Option<NozzleId> {
        match self {
            Self::Out(nozzle) => nozzle,
            Self::Unknown | Self::None => None,
        }
    }
}

enum Stage {
    /// Nothing is told yet. A state at rest that was heard waits so long for totals.
    Unread { due: Option<Instant> },
    /// No fuelling is open.
    Rest,
    /// Released by another.
    Running(Reading),
    /// Ended.
    Ending { reading: Reading, is_final: bool, due: Instant },
}

/// The follower of one head.
pub struct Witness {
    settings: HeadSettings,
    capabilities: Capabilities,
    told: Told,
    up_since: Option<Instant>,
    last_heard: Option<Instant>,
    words: u64,
    stage: Stage,
    state: Option<State>,
    lifted: Lifted,
    /// Figures heard at rest, not told yet.
    reading: Option<Reading>,
    /// Totals heard and not told yet.
    totals: BTreeMap<NozzleId, Volume>,
    /// It was silent, not we deaf: what it showed at rest still stands if it then has no news.
    kept: Option<(State, Lifted)>,
}

const NO_READING: Reading = Reading { nozzle: None, volume: Volume::ZERO, amount: Money::ZERO, price: None };

impl Witness {
    /// A head that was not heard yet.
    #[must_use]
    pub fn new(settings: HeadSettings, capabilities: Capabilities) -> Self {
        Self {
            settings,
            capabilities,
            told: Told::default(),
            up_since: None,
            last_heard: None,
            words: 0,
            stage: Stage::Unread { due: None },
            state: None,
            lifted: Lifted::Unknown,
            reading: None,
            totals: BTreeMap::new(),
            kept: None,
        }
    }

    /// Which fuelling point.
    #[must_use]
    pub fn fp(&self) -> FuellingPointId {
        self.settings.fp
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &HeadSettings {
        &self.settings
    }

    /// What it can do for us.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// When it was last heard.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// How many good frames of it were heard.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.words
    }

    /// Nothing is believed of it since it fell silent.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.told.is_lost()
    }

    /// Whether a fuelling is open, as far as was heard.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// Whether a fuelling has ended and its totals are waited for.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. })
    }

    /// What there is to report.
    pub fn poll_event(&mut self) -> Option<PumpEvent> {
        self.told.poll()
    }

    /// A word of the core. Nothing of it can reach the head.
    pub fn handle_command(&mut self, command: &PumpCommand, now: Instant) {
        match command {
            PumpCommand::Authorise(Authorise { release, .. }) => {
                let why = Refusal::Faulty("this line only listens: another controller drives it".into());
                self.told.emit(PumpEvent::Refused { release: *release, why });
            }
            PumpCommand::Stored(token) => self.told.handle_stored(*token),
            PumpCommand::Examine => {
                self.told.examine();
                if matches!(self.stage, Stage::Rest) {
                    self.stage = Stage::Unread { due: Some(now) };
                }
            }
            PumpCommand::Withdraw
            | PumpCommand::Stop
            | PumpCommand::Suspend
            | PumpCommand::Resume
            | PumpCommand::SetPrices(_) => {}
        }
    }

    /// The port was opened or is gone.
    pub fn handle_link(&mut self, up: bool, now: Instant) {
        self.up_since = up.then_some(now);
        self.last_heard = None;
        if up {
            self.told.heard();
        } else {
            self.lose();
            // what happens meanwhile is not heard
            self.kept = None;
        }
    }

    fn lose(&mut self) {
        if let Stage::Ending { .. } = self.stage {
            self.conclude();
        }
        self.kept = match (&self.stage, self.state) {
            (Stage::Rest, Some(state)) => Some((state, self.lifted)),
            _ => None,
        };
        self.told.lose();
        self.told.begin_read_in();
        self.stage = Stage::Unread { due: None };
        self.state = None;
        self.lifted = Lifted::Unknown;
        self.reading = None;
        self.totals.clear();
    }

    /// A good frame of the head was heard.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
        self.words += 1;
        self.told.heard();
    }

    /// It was asked for news and had none: what it showed before it fell silent still stands.
    pub fn no_news(&mut self) {
        if let Some((state, lifted)) = self.kept.take() {
            (self.state, self.lifted) = (Some(state), lifted);
            self.tell_all();
        }
    }

    /// It told something: what it showed before it fell silent may be past.
    pub fn news(&mut self) {
        self.kept = None;
    }

    /// Fuel may flow by another's release, or is found flowing.
    pub fn begin(&mut self, nozzle: Option<NozzleId>, state: State, lifted: Lifted) {
        if let Stage::Ending { .. } = self.stage {
            self.conclude();
        }
        let figures = self.reading.take().filter(|_| matches!(self.stage, Stage::Unread { .. }));
        (self.state, self.lifted) = (Some(state), lifted);
        if let Stage::Unread { .. } = self.stage {
            let totals = core::mem::take(&mut self.totals);
            self.told.snapshot(state, lifted.nozzle(), figures, totals, false);
        }
        let reading = figures.unwrap_or(NO_READING);
        self.told.begin_running((reading.volume, reading.amount));
        self.stage = Stage::Running(Reading { nozzle: nozzle.or(reading.nozzle), ..reading });
        self.told.state(state, lifted.nozzle());
    }

    /// Figures on the display. Zeros after others are those of the next fuelling and are not taken.
    pub fn figures(&mut self, heard: Reading) {
        let told = match &mut self.stage {
            Stage::Running(reading) => reading,
            Stage::Ending { reading, is_final, .. } => {
                *is_final |= heard.volume.is_positive() || !reading.volume.is_positive();
                reading
            }
            Stage::Unread { .. } | Stage::Rest => {
                self.reading = Some(heard);
                return;
            }
        };
        if !heard.volume.is_positive() && told.volume.is_positive() {
            return;
        }
        let (nozzle, price) = (heard.nozzle.or(told.nozzle), heard.price.or(told.price));
        *told = Reading { nozzle, price, ..heard };
        if self.is_running() {
            self.told.running(heard.volume, heard.amount);
        }
    }

    /// The amount so far, of a head that tells no volume while fuel flows.
    pub fn running_amount(&mut self, amount: Money) {
        if self.is_running() {
            self.told.running_amount(amount);
        }
    }

    /// The end of the fuelling was heard. Its figures are final if they were told with the end or after it.
    pub fn end(&mut self, is_final: bool, now: Instant) {
        if let Stage::Running(reading) = self.stage {
            self.told.end_seen(reading);
            self.stage = Stage::Ending { reading, is_final, due: now + TOTALS_WAIT };
        }
    }

    /// The release came to nothing: no fuel flowed.
    pub fn lapse(&mut self) {
        if self.is_running() {
            self.stage = Stage::Rest;
        }
    }

    /// The head shows a state with no fuelling open, or one of the fuelling that is.
    pub fn show(&mut self, state: State, lifted: Lifted, now: Instant) {
        (self.state, self.lifted) = (Some(state), lifted);
        match &mut self.stage {
            Stage::Unread { due } if lifted != Lifted::Unknown => {
                due.get_or_insert(now + TOTALS_WAIT);
            }
            Stage::Rest | Stage::Running(_) => self.told.state(state, lifted.nozzle()),
            Stage::Unread { .. } | Stage::Ending { .. } => {}
        }
    }

    /// A totaliser was told.
    pub fn total(&mut self, nozzle: NozzleId, volume: Volume) {
        match &self.stage {
            Stage::Unread { due } => {
                self.totals.insert(nozzle, volume);
                let of_this = self.reading.is_none_or(|reading| reading.nozzle.is_none_or(|named| named == nozzle));
                if due.is_some() && of_this {
                    self.tell_all();
                }
            }
            Stage::Ending { reading, .. } if reading.nozzle.is_none_or(|named| named == nozzle) => {
                self.totals.insert(nozzle, volume);
                self.conclude();
            }
            // while fuel flows a total is of no use
            Stage::Running(_) => {}
            Stage::Rest | Stage::Ending { .. } => self.told.emit(PumpEvent::Totaliser { nozzle, volume }),
        }
    }

    /// The price that a nozzle shows.
    pub fn price(&mut self, nozzle: NozzleId, price: UnitPrice) {
        if self.told.is_read_in() {
            self.told.price(nozzle, price, false);
        }
    }

    /// A fault that the head reports. It refuses nothing: there is nothing to refuse.
    pub fn alarm(&mut self, code: u16, text: String) {
        self.told.raise(code, text, false);
    }

    /// Tells everything that was heard.
    fn tell_all(&mut self) {
        let Some(state) = self.state else { return };
        let (reading, totals) = (self.reading.take(), core::mem::take(&mut self.totals));
        self.stage = Stage::Rest;
        self.told.snapshot(state, self.lifted.nozzle(), reading, totals, false);
    }

    fn conclude(&mut self) {
        let Stage::Ending { reading, is_final, .. } = self.stage else { return };
        let state = self.state.filter(|state| !state.is_released()).unwrap_or(State::Idle);
        self.stage = Stage::Rest;
        let total = reading.nozzle.and_then(|nozzle| self.totals.remove(&nozzle));
        if is_final {
            self.told.ended(reading, total);
            self.told.state(state, self.lifted.nozzle());
        } else {
            let totals = reading.nozzle.zip(total).into_iter().collect();
            self.told.snapshot(state, self.lifted.nozzle(), Some(reading), totals, false);
        }
        self.totals.clear();
    }

    /// When [`Witness::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = match self.stage {
            Stage::Unread { due } => due,
            Stage::Ending { due, .. } => Some(due),
            Stage::Rest | Stage::Running(_) => None,
        };
        self.silent_at().into_iter().chain(waits).min()
    }

    fn silent_at(&self) -> Option<Instant> {
        let since = self.last_heard.or(self.up_since).filter(|_| self.up_since.is_some() && !self.told.is_lost());
        since.map(|since| since + self.settings.comm_lost * PATIENCE)
    }

    /// Handles what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Unread { due: Some(due) } if due <= now => self.tell_all(),
            Stage::Ending { due, .. } if due <= now => self.conclude(),
            _ => {}
        }
        if self.silent_at().is_some_and(|at| at <= now) {
            self.lose();
        }
    }
}
