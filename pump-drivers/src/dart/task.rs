//! Questions and commands to a pump: their blocks, and how their effect shows.

use super::head::{Block, Head};
use super::message::{Command, ControllerSays, Status, VOLUME_TOTAL, write};
use super::settings::Recipe;
use crate::head::HeadSettings;
use core::time::Duration;
use forecourt::pump::{Authorise, Preset};
use forecourt::time::Instant;

/// One thing that is asked of a pump.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// RETURN STATUS.
    Status,
    /// RETURN STATUS and RETURN FILLING INFORMATION in one block.
    StatusAndFilling,
    /// RETURN FILLING INFORMATION.
    Filling,
    /// Volume total of a logical nozzle.
    Total(u8),
    /// Allowed nozzles and prices.
    Program,
    /// Everything of a release but limit and AUTHORIZE.
    Prepare,
    /// Limit and AUTHORIZE in one block.
    Release,
    /// STOP.
    Stop,
    /// Hold the flow.
    Suspend,
    /// Let it flow again.
    Resume,
}

/// A task on its way.
#[derive(Clone, Debug)]
pub struct Underway {
    pub task: Task,
    /// When the pump acknowledged it.
    pub accepted: Option<Instant>,
    /// Answers to polls since.
    pub polls: u8,
    pub status_seen: bool,
    pub filling_seen: bool,
}

impl Underway {
    pub fn new(task: Task) -> Self {
        Self { task, accepted: None, polls: 0, status_seen: false, filling_seen: false }
    }

    /// Takes note of a block that came after the acknowledgement. True once the effect is seen.
    pub fn take(&mut self, block: &Block, head: &Head) -> bool {
        if self.accepted.is_none() {
            return false;
        }
        self.status_seen |= !block.statuses.is_empty() || !block.undefined.is_empty();
        self.filling_seen |= block.filling_told;
        match &self.task {
            Task::Status => self.status_seen,
            Task::StatusAndFilling => self.status_seen && self.filling_seen,
            Task::Filling => block.filling_told,
            Task::Total(logical) => block.totals.iter().any(|(counter, _)| counter.is_none_or(|c| c == *logical)),
            Task::Program => head.status.is_some_and(|status| status != Status::NotProgrammed),
            Task::Prepare => block.has(Status::Reset),
            Task::Release => block.shows_release(),
            Task::Stop => self.status_seen && !is_released(head.status),
            Task::Suspend => head.suspended,
            Task::Resume => self.status_seen && !head.suspended || block.suspend_mark == Some(false),
        }
    }

    /// Whether the effect has been waited for long enough.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let patience = match self.task {
            Task::Status | Task::StatusAndFilling | Task::Filling | Task::Total(_) => Duration::from_millis(400),
            Task::Stop => Duration::from_millis(100),
            Task::Prepare | Task::Release | Task::Suspend | Task::Resume => Duration::from_millis(1_000),
            // some heads take more than a second to take prices
            Task::Program => Duration::from_millis(2_500),
        };
        self.polls >= 3 && self.accepted.is_some_and(|accepted| now.since(accepted) >= patience)
    }
}

/// Whether fuel flows or may flow without another word from us.
pub fn is_released(status: Option<Status>) -> bool {
    matches!(status, Some(Status::Authorized | Status::Filling | Status::Suspended))
}

fn prices(settings: &HeadSettings) -> Option<ControllerSays> {
    let mut nozzles = settings.nozzles.clone();
    nozzles.sort_by_key(|nozzle| nozzle.logical);
    let digits: Option<Vec<_>> = nozzles.iter().map(|n| settings.decimals.write_price(n.price)).collect();
    digits.filter(|digits| !digits.is_empty()).map(ControllerSays::Prices)
}

/// The limit of an order in the head's digits, rounded down. `None` where it does not fit.
pub fn preset(settings: &HeadSettings, preset: Preset) -> Option<ControllerSays> {
    match preset {
        Preset::Amount(amount) => {
            settings.decimals.write_amount_limit(amount, settings.currency).map(ControllerSays::PresetAmount)
        }
        Preset::Volume(volume) => settings.decimals.write_volume_limit(volume).map(ControllerSays::PresetVolume),
    }
}

/// The block of a task. `None` where it cannot be said, such as a release without a limit.
pub fn body(
    task: &Task,
    settings: &HeadSettings,
    recipe: Recipe,
    head: &Head,
    order: Option<(&Authorise, u8)>,
) -> Option<Vec<u8>> {
    use ControllerSays as C;
    let says = match task {
        Task::Status => vec![C::Command(Command::ReturnStatus)],
        Task::StatusAndFilling => vec![C::Command(Command::ReturnStatus), C::Command(Command::ReturnFilling)],
        Task::Filling => vec![C::Command(Command::ReturnFilling)],
        Task::Total(counter) => vec![C::Total { trans: VOLUME_TOTAL, counter: *counter }],
        Task::Program => {
            let mut logical: Vec<u8> = settings.nozzles.iter().map(|nozzle| nozzle.logical).collect();
            logical.sort_unstable();
            vec![C::AllowedNozzles(logical), prices(settings)?]
        }
        Task::Prepare => {
            let (_, logical) = order?;
            // a pump that shows 1 already needs no RESET; it only has to say so
            let last = if head.status == Some(Status::Reset) { Command::ReturnStatus } else { Command::Reset };
            vec![C::AllowedNozzles(vec![logical]), prices(settings)?, C::Command(last)]
        }
        Task::Release => {
            let (order, logical) = order?;
            let limit = preset(settings, order.preset)?;
            match recipe {
                Recipe::TwoBlocks => vec![limit, C::Command(Command::Authorize)],
                Recipe::OneBlock => vec![
                    C::Command(Command::Reset),
                    C::AllowedNozzles(vec![logical]),
                    prices(settings)?,
                    limit,
                    C::Command(Command::Authorize),
                ],
            }
        }
        Task::Stop => vec![C::Command(Command::Stop)],
        Task::Suspend => vec![C::Suspend(0)],
        Task::Resume => vec![C::Resume(0)],
    };
    Some(write(&says))
}
