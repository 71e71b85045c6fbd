//! Where a script takes hold of the day's world: its acts go in, what the platform hears and what the dispensers do comes out.

use super::disk::CutAt;
use super::faults::Trouble;
use super::station::Place;
use super::world::{Event, Violation, World};
use crate::dispenser::record::Fuelling;
use crate::dispenser::{Action, View};
use crate::platform::{AckBy, Command, Desk, Faults, KeyPair, Notice};
use crate::prng::Prng;
use core::time::Duration;
use forecourt::ids::{NozzleId, OrderId};
use forecourt::time::Instant;
use forecourt::units::Volume;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use uuid::Uuid;

/// What a script wants of the world, and what it has heard. Nothing on a day without one.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    heard: Option<Vec<(Instant, Notice)>>,
    /// Commits until the cut, and when in that commit it comes.
    cut: Option<(u64, CutAt)>,
    off_for: Option<Duration>,
    read_only: bool,
}

impl Hooks {
    /// The platform was told this.
    pub(super) fn hear(&mut self, at: Instant, notice: &Notice) {
        if let Some(heard) = &mut self.heard {
            heard.push((at, notice.clone()));
        }
    }

    /// Whether power goes at this commit, and when in it.
    pub(super) fn cut(&mut self) -> Option<CutAt> {
        let (left, at) = self.cut?;
        self.cut = (left > 1).then_some((left - 1, at));
        (left <= 1).then_some(at)
    }

    /// How long the controller then stays without power.
    pub(super) const fn power_off(&mut self) -> Option<Duration> {
        self.off_for.take()
    }
}

/// What a script may do besides the troubles of a day.
impl World {
    /// Keeps what the platform is told from now on.
    pub(crate) fn listen(&mut self) {
        self.hooks.heard = Some(Vec::new());
    }

    /// What it was told since this was last asked, oldest first.
    pub(crate) fn take_heard(&mut self) -> Vec<(Instant, Notice)> {
        self.hooks.heard.replace(Vec::new()).unwrap_or_default()
    }

    /// Lets the world run to a moment. `Err` holds what was violated on the way.
    ///
    /// # Errors
    /// What the simulation itself could not do.
    pub(crate) fn run_to(&mut self, at: Instant) -> anyhow::Result<Result<(), Violation>> {
        self.run_until(at, |_| false)?;
        Ok(self.violation.clone().map_or(Ok(()), Err))
    }

    /// Everything is well again and drains; then the books must agree.
    ///
    /// # Errors
    /// What the simulation itself could not do.
    pub(crate) fn finish(&mut self) -> anyhow::Result<Result<(), Violation>> {
        self.close()
    }

    /// The platform sends a command.
    pub(crate) fn issue(&mut self, command: Command) -> Uuid {
        let moment = self.moment();
        let id = self.desk.issue(command, moment);
        self.send_commands();
        id
    }

    /// The platform sends the same bytes again.
    pub(crate) fn issue_again(&mut self, command: Uuid) {
        self.desk.repeat(command);
        self.send_commands();
    }

    /// Someone else sends a token with this command id in it.
    pub(crate) fn issue_foreign(&mut self, id: Uuid, command: Command, token: String) {
        let moment = self.moment();
        self.desk.issue_foreign(id, command, token, moment);
        self.send_commands();
    }

    /// Bytes on the command topic that may be anything.
    pub(crate) fn send_raw(&mut self, text: String, retained: bool) {
        self.replay_later(Duration::ZERO, text, retained);
    }

    /// The platform's signing key.
    pub(crate) fn platform_key(&self) -> KeyPair {
        super::world::platform_key(&self.prng)
    }

    /// A generator for what a script draws.
    pub(crate) fn chance(&self, label: &str) -> Prng {
        self.prng.fork(label)
    }

    /// The platform says nothing to records, or acknowledges them again.
    pub(crate) const fn hold_acks(&mut self, hold: bool) {
        self.desk.set_ack(if hold { AckBy::Never } else { AckBy::Ids });
    }

    /// The platform's acknowledgements of new records get lost.
    pub(crate) const fn lose_acks(&mut self, lose: bool) {
        let drop_ack = if lose { Some(NonZeroU64::MIN) } else { None };
        self.desk.set_faults(Faults { drop_ack, deliver_twice: None });
    }

    /// Power goes at a coming commit, for so long.
    pub(crate) const fn cut_power_at(&mut self, commit: u64, at: CutAt, off_for: Duration) {
        self.hooks.cut = Some((commit, at));
        self.hooks.off_for = Some(off_for);
    }

    /// Power goes now, for so long.
    ///
    /// # Errors
    /// If the files of the store cannot be copied.
    pub(crate) fn cut_power(&mut self, off_for: Duration) -> anyhow::Result<()> {
        if self.controller.is_some() {
            self.counts.cuts += 1;
            self.hooks.off_for = Some(off_for);
            let left = self.disk.image()?;
            self.power_off(&left)?;
        }
        Ok(())
    }

    /// The disk takes nothing any more, or again.
    pub(crate) fn set_read_only(&mut self, read_only: bool) {
        self.hooks.read_only = read_only;
        self.refuse_writes();
    }

    /// Applies that to the store of this run.
    pub(super) fn refuse_writes(&mut self) {
        let read_only = self.hooks.read_only && !self.healed;
        if let Some(controller) = &mut self.controller
            && let Err(why) = controller.store_mut().refuse_writes(read_only)
        {
            self.violate(format!("the disk that is read-only: {why}"));
        }
    }

    /// Something goes wrong, or right again.
    pub(crate) fn let_happen(&mut self, trouble: Trouble) {
        self.later(Duration::ZERO, Event::Trouble(trouble));
    }

    /// What the disk, the broker and the network do from now on.
    pub(crate) const fn weather_mut(&mut self) -> &mut super::faults::Weather {
        &mut self.weather
    }

    /// Where a nozzle is.
    pub(crate) fn place(&self, nozzle: NozzleId) -> Option<Place> {
        self.station.places.get(&nozzle).copied()
    }

    /// Someone does something at the dispenser of a nozzle.
    pub(crate) fn act_at(&mut self, place: Place, action: Action) {
        let now = self.now;
        self.lines[place.line].wire.act(place.device, action, now);
        self.wake(place.line);
    }

    /// What the dispenser of a nozzle shows.
    pub(crate) fn view(&mut self, place: Place) -> Option<View> {
        let now = self.now;
        let wire = &mut self.lines[place.line].wire;
        wire.handle_timeout(now);
        Some(wire.device(place.device)?.view(now))
    }

    /// Every nozzle.
    pub(crate) fn nozzles(&self) -> Vec<NozzleId> {
        self.station.places.keys().copied().collect()
    }

    /// What a nozzle sells, and for how much.
    pub(crate) fn sells(&self, nozzle: NozzleId) -> (forecourt::ids::Grade, forecourt::units::UnitPrice) {
        self.station.sells(nozzle)
    }

    /// How far a totaliser has moved since the beginning.
    pub(crate) fn moved(&self, nozzle: NozzleId) -> Volume {
        let end = self.place(nozzle).and_then(|place| {
            self.lines[place.line].wire.device(place.device)?.pump().totaliser(place.index, self.now)
        });
        let start = self.starts.get(&nozzle).copied();
        end.zip(start).and_then(|(end, start)| end.checked_sub(start)).unwrap_or(Volume::ZERO)
    }

    /// Every fuelling of every dispenser that a frame released, each with its nozzle's place.
    pub(crate) fn fuellings_by_frame(&self) -> impl Iterator<Item = &Fuelling> {
        let devices = self.lines.iter().flat_map(|line| line.wire.devices());
        devices
            .flat_map(|(_, device)| device.pump().fuellings())
            .filter(|fuelling| !fuelling.released_by.frame.is_empty())
    }

    /// Fuellings at a nozzle in which fuel flowed, whoever released them.
    pub(crate) fn fuellings_at(&self, nozzle: NozzleId) -> usize {
        let wires: Vec<&crate::wire::Wire> = self.lines.iter().map(|line| &line.wire).collect();
        self.station.fuellings(&wires, nozzle).count()
    }

    /// Releases that the core has stored, each with its order, and those seen in force, by order.
    pub(crate) fn orders_released(
        &self,
    ) -> (usize, &BTreeMap<OrderId, std::collections::BTreeSet<forecourt::ids::ReleaseId>>) {
        (self.witness.order_of.len(), &self.witness.in_force)
    }

    /// Whether the controller has power.
    pub(crate) const fn is_on(&self) -> bool {
        self.controller.is_some()
    }

    /// Records unacknowledged and set aside, if the controller can say so.
    pub(crate) fn outbox(&self) -> Option<(u64, u64)> {
        self.controller.as_ref()?.ledger().outbox_counts().ok()
    }

    /// The desk, for what a script reads there.
    pub(crate) const fn platform(&self) -> &Desk {
        &self.desk
    }
}
