//! What can be seen of the world, in words: what the platform is told, what flows, what has power.

use super::expect::Seen;
use crate::day::world::World;
use crate::platform::{Command, End, Notice};
use core::time::Duration;
use forecourt::ids::{NozzleId, OrderId};
use forecourt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen before, to tell what is new.
pub(super) struct Watch {
    flowing: BTreeSet<NozzleId>,
    nozzles: BTreeMap<NozzleId, (String, Vec<String>)>,
    reviews: BTreeSet<OrderId>,
    unaccounted: usize,
    repeats: u64,
    aside: u64,
    on: bool,
    unchecked: usize,
    all: Vec<NozzleId>,
}

impl Watch {
    pub(super) fn new(world: &World) -> Self {
        Self {
            flowing: BTreeSet::new(),
            nozzles: BTreeMap::new(),
            reviews: BTreeSet::new(),
            unaccounted: 0,
            repeats: 0,
            aside: 0,
            on: false,
            unchecked: 0,
            all: world.nozzles(),
        }
    }

    /// The first thing seen that was not held against what must never be, and notes that all is now.
    pub(super) const fn take_unchecked(&mut self, all: usize) -> usize {
        let from = self.unchecked;
        self.unchecked = all;
        from
    }

    /// Everything new since the last look.
    pub(super) fn look(&mut self, world: &mut World) -> Vec<Seen> {
        let now = world.now().since(Instant::START);
        let mut seen = Vec::new();
        for (at, notice) in world.take_heard() {
            self.notice(at.since(Instant::START), notice, &mut seen);
        }
        let mut add = |what: String| seen.push(Seen { at: now, what, text: String::new() });
        if world.is_on() != self.on {
            self.on = world.is_on();
            add(format!("power {}", if self.on { "on" } else { "lost" }));
        }
        for nozzle in &self.all {
            let place = world.place(*nozzle);
            let flows = place
                .and_then(|place| Some((place, world.view(place)?)))
                .is_some_and(|(place, view)| view.flowing && view.nozzle_out == Some(place.index));
            if flows != self.flowing.contains(nozzle) {
                add(format!("pump {nozzle} {}", if flows { "flows" } else { "stops" }));
                if flows {
                    self.flowing.insert(*nozzle)
                } else {
                    self.flowing.remove(nozzle)
                };
            }
        }
        let desk = world.platform();
        for account in desk.accounts().filter(|account| account.review.is_some()) {
            if self.reviews.insert(account.spec.order_id.clone()) {
                add(format!("review {}", account.spec.order_id));
            }
        }
        for movement in desk.unaccounted().skip(self.unaccounted) {
            self.unaccounted += 1;
            add(format!("unaccounted {} {}", movement.nozzle, movement.volume_ml.litres()));
        }
        if desk.counts().repeats > self.repeats {
            add(format!("records repeated {}", desk.counts().repeats - self.repeats));
            self.repeats = desk.counts().repeats;
        }
        if let Some((_, aside)) = world.outbox().filter(|(_, aside)| *aside != self.aside) {
            self.aside = aside;
            add(format!("outbox aside {aside}"));
        }
        seen
    }

    fn notice(&mut self, at: Duration, notice: Notice, seen: &mut Vec<Seen>) {
        let mut add = |what: String, text: String| seen.push(Seen { at, what, text });
        match notice {
            Notice::Online(online) => {
                add(format!("station {}", if online { "online" } else { "offline" }), String::new())
            }
            Notice::Nozzle(state) => {
                let (word, holds) = (state.state, state.holds);
                let before = self.nozzles.insert(state.nozzle, (word.clone(), holds.clone()));
                let (was, held) = before.unwrap_or_default();
                if was != word {
                    add(format!("nozzle {} {word}", state.nozzle), String::new());
                }
                if held != holds {
                    let holds = if holds.is_empty() { "free".into() } else { format!("held {}", holds.join(" ")) };
                    add(format!("nozzle {} {holds}", state.nozzle), String::new());
                }
            }
            Notice::Step(step) => add(format!("order {} {} {}", step.order_id, step.state, step.nozzle), String::new()),
            Notice::Reply(command, reply) => {
                let to = command.as_ref().map_or("unread".into(), asked);
                let again = if reply.repeated { " repeated" } else { "" };
                add(format!("reply {to} {}{again}", reply.result), reply.detail);
            }
            Notice::Ended(order, End::Sale(sale)) => {
                let text = format!("{} L for {}, {}", sale.volume_ml.litres(), sale.amount_minor.get(), sale.evidence);
                let recovered = if sale.recovered { " recovered" } else { "" };
                let flags: String = sale.flags.iter().map(|flag| format!(" {flag}")).collect();
                add(format!("sale {order} {}{recovered}{flags}", sale.finish), text);
            }
            Notice::Ended(order, End::Released { reason, .. }) => {
                add(format!("released {order} {reason}"), String::new())
            }
            Notice::Ended(order, End::NotTaken { result }) => add(format!("refused {order} {result}"), String::new()),
            Notice::FreeSale(sale) => {
                let text = format!("{} L for {}", sale.volume_ml.litres(), sale.amount_minor.get());
                add(format!("sale none {} {} {}", sale.nozzle, sale.basis, sale.finish), text);
            }
            Notice::Alarm(data) => {
                let word = |name: &str| data[name].as_str().unwrap_or("?").to_owned();
                add(format!("alarm {} {} {}", word("state"), word("alarm"), word("where")), word("text"));
            }
            // The world stops at these by itself.
            Notice::Violation(_) => {}
        }
    }
}

/// What was asked, in two words.
fn asked(command: &Command) -> String {
    match command {
        Command::Authorise(spec) => format!("pay {}", spec.order_id),
        Command::Cancel(order) => format!("cancel {order}"),
        Command::Move(order, _) => format!("move {order}"),
        Command::Stop(nozzle) => format!("stop {nozzle}"),
        Command::Hold(nozzle) => format!("hold {nozzle}"),
        Command::Unhold(nozzle) => format!("unhold {nozzle}"),
        Command::Watch(nozzle, _) => format!("watch {nozzle}"),
        Command::Resend(..) => "resend".into(),
        Command::SetPrices(set) => format!("prices {}", set.name),
        Command::Ack(_) => "ack".into(),
        Command::Nack(..) => "nack".into(),
        Command::Other(kind, _) => kind.clone(),
    }
}
