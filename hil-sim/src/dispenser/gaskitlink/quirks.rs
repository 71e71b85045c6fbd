//! In what GasKitLink posts differ. GasKitLink sheet, sections 4 to 6; what no source decides is marked there as uncertain.

use core::time::Duration;

/// In which states a post takes an authorisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthorisesIn {
    /// Only before the lift (state 1).
    Idle,
    /// Only after the lift (state 2).
    Calling,
    /// In both.
    Either,
}

/// What B does while fuel flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopForm {
    /// State 7: G goes on.
    Pauses,
    /// State 8: over.
    Ends,
}

/// What B and N do to an authorisation before the lift (section 6: unverified on hardware).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancelling {
    /// Nothing.
    Ignored,
    /// B ends it with a transaction of nothing, which N closes.
    EndedByStop,
    /// B does nothing, N takes it back.
    TakenBackByClose,
}

/// The character of one post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quirks {
    /// When it takes V and M.
    pub authorises_in: AuthorisesIn,
    /// From the lift of an authorised nozzle to state 4, or from V and M where it is out already.
    pub start_time: Duration,
    /// B while fuelling.
    pub stop: StopForm,
    /// B and N before the lift.
    pub cancelling: Cancelling,
    /// How long 8 is shown after a hang-up before 9; zero for 9 at once.
    pub stopped_first: Duration,
    /// From N to the state after it; the answer to N shows the old one.
    pub closing_time: Duration,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            authorises_in: AuthorisesIn::Either,
            start_time: Duration::from_millis(100),
            stop: StopForm::Pauses,
            cancelling: Cancelling::EndedByStop,
            stopped_first: Duration::ZERO,
            closing_time: Duration::from_millis(300),
        }
    }
}
