//! What survives a crash of the controller: its database, and what the platform was sent.

use forecourt::command::Reply;
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, NozzleId, OrderId, ReleaseId};
use forecourt::ledger::{EndedOrder, KnownTotaliser, Ledger, Memory, Release, Write};
use forecourt::order::{Order, OrderPhase};
use forecourt::record::Record;
use std::collections::{BTreeMap, BTreeSet};

/// A record as far as money and fuel go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    Sale { order: Option<OrderId>, volume: i64, amount: i64, unaccounted: i64 },
    Released { order: OrderId },
    Unaccounted { volume: i64 },
}

#[derive(Clone, Debug, Default)]
pub struct Books {
    pub orders: BTreeMap<OrderId, Order>,
    pub replies: BTreeMap<CommandId, Reply>,
    pub releases: BTreeMap<ReleaseId, Release>,
    totalisers: BTreeMap<NozzleId, KnownTotaliser>,
    holds: BTreeMap<NozzleId, Vec<Hold>>,
    last_release: u64,
    last_place: u64,
    pub chain: Vec<Entry>,
    /// Places in the chain that the platform has not acknowledged.
    pub outbox: BTreeSet<usize>,
    /// Places in the chain that the platform has.
    pub platform: BTreeSet<usize>,
}

/// A row was written that the schema forbids: an end written over, a command answered anew.
pub struct Forbidden;

impl Books {
    /// Makes one commit durable, whole or (where a row is forbidden) not at all well.
    pub fn apply(&mut self, writes: &[Write]) -> Result<(), Forbidden> {
        let mut good = Ok(());
        for write in writes {
            match write {
                Write::Order(order) => {
                    self.last_place = self.last_place.max(order.place);
                    let before = self.orders.insert(order.request.order_id.clone(), (**order).clone());
                    if before.is_some_and(|before| matches!(before.phase, OrderPhase::Ended { .. })) {
                        good = Err(Forbidden);
                    }
                }
                Write::Reply { reply, .. } => {
                    if self.replies.insert(reply.command_id.clone(), (**reply).clone()).is_some() {
                        good = Err(Forbidden);
                    }
                }
                Write::Release(release) => {
                    self.last_release = self.last_release.max(release.release.0);
                    self.releases.insert(release.release, (**release).clone());
                }
                Write::ReleaseClosed(release) => {
                    self.releases.remove(release);
                }
                Write::Totaliser { nozzle, volume, at } => {
                    self.totalisers.insert(*nozzle, KnownTotaliser { volume: *volume, at: *at });
                }
                Write::Holds { nozzle, holds } => {
                    self.holds.insert(*nozzle, holds.clone());
                }
                Write::PriceSet(_) | Write::NozzlePrice { .. } | Write::CustomerDay(_) | Write::List(_) => {}
                Write::Record { record, .. } => self.append(record),
            }
        }
        good
    }

    fn append(&mut self, record: &Record) {
        let entry = match record {
            Record::Sale(sale) => Entry::Sale {
                order: sale.order_id.clone(),
                volume: sale.volume.get(),
                amount: sale.amount.get(),
                unaccounted: sale.unaccounted.get(),
            },
            Record::Released(released) => Entry::Released { order: released.order_id.clone() },
            Record::Unaccounted(found) => Entry::Unaccounted { volume: found.volume.get() },
            Record::Review(_) | Record::Alarm(_) | Record::PriceApplied(_) | Record::Audit(_) => return,
        };
        self.outbox.insert(self.chain.len());
        self.chain.push(entry);
    }

    pub fn memory(&self) -> Memory {
        let open = |order: &&Order| !matches!(order.phase, OrderPhase::Ended { .. });
        Memory {
            orders: self.orders.values().filter(open).cloned().collect(),
            releases: self.releases.values().cloned().collect(),
            totalisers: self.totalisers.clone(),
            holds: self.holds.clone(),
            last_release: self.last_release,
            last_place: self.last_place,
            ..Memory::default()
        }
    }

    pub fn ends_of(&self, id: &OrderId) -> usize {
        let ends = |entry: &&Entry| match entry {
            Entry::Sale { order, .. } => order.as_ref() == Some(id),
            Entry::Released { order } => order == id,
            Entry::Unaccounted { .. } => false,
        };
        self.chain.iter().filter(ends).count()
    }

    /// Millilitres that the records explain.
    pub fn explained(&self) -> i64 {
        let volume = |entry: &Entry| match entry {
            Entry::Sale { volume, unaccounted, .. } => volume + unaccounted,
            Entry::Unaccounted { volume } => *volume,
            Entry::Released { .. } => 0,
        };
        self.chain.iter().map(volume).sum()
    }

    /// Order, volume and amount of every sale, in the order of the chain.
    pub fn sales(&self) -> impl Iterator<Item = (Option<&OrderId>, i64, i64)> {
        self.chain.iter().filter_map(|entry| match entry {
            Entry::Sale { order, volume, amount, .. } => Some((order.as_ref(), *volume, *amount)),
            _ => None,
        })
    }
}

/// What the core may look up: the database, or one that forgets (a planted fault).
pub struct LookUp<'a> {
    pub books: &'a Books,
    pub forgets: bool,
}

impl Ledger for LookUp<'_> {
    fn reply_to(&self, id: &CommandId) -> Option<Reply> {
        self.books.replies.get(id).filter(|_| !self.forgets).cloned()
    }
    fn ended_order(&self, id: &OrderId) -> Option<EndedOrder> {
        let order = self.books.orders.get(id).filter(|_| !self.forgets)?;
        match &order.phase {
            OrderPhase::Ended { end } => {
                Some(EndedOrder { content_hash: order.request.content_hash.clone(), end: end.clone() })
            }
            _ => None,
        }
    }
}
