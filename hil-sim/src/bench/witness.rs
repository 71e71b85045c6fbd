//! Witnesses with a clock: when a dispenser heard or said something, and when a sale stood in the store.

use crate::dispenser::record::Moment;
use crate::rig::store::Books;
use crate::serve::LineHandle;
use crate::wire::DeviceId;
use forecourt::ids::OrderId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the store is looked at; commits are known to have happened at most this much earlier.
pub const STORE_GLANCE: Duration = Duration::from_millis(1);

/// Moments on the wire, in process time.
#[derive(Debug)]
pub struct WireWitness {
    line: LineHandle,
    moments: Mutex<Vec<(DeviceId, Moment, Instant)>>,
}

impl WireWitness {
    /// Watches a line. Nobody else may take its moments.
    #[must_use]
    pub fn new(line: LineHandle) -> Self {
        Self { line, moments: Mutex::new(Vec::new()) }
    }

    /// The first such moment at a device not before `from`. Older moments of the device are forgotten.
    pub fn first_since(&self, device: DeviceId, moment: Moment, from: Instant) -> Option<Instant> {
        let epoch = self.line.epoch();
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.line.take_moments();
        moments.extend(fresh.iter().map(|marked| (marked.device, marked.moment, epoch.process_time(marked.at))));
        moments.retain(|(at, _, when)| *at != device || *when >= from);
        moments.iter().find(|(at, what, _)| *at == device && *what == moment).map(|(.., when)| *when)
    }
}

/// When sales stood in the store. Looks from a thread of its own until dropped.
#[derive(Debug)]
pub struct StoreWitness {
    seen: Arc<Mutex<BTreeMap<String, Instant>>>,
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StoreWitness {
    /// Begins to look.
    ///
    /// # Errors
    /// If the store cannot be opened or there is no thread.
    pub fn start(data_directory: &Path) -> anyhow::Result<Self> {
        let books = Books::open(data_directory)?;
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let leave = Arc::new(AtomicBool::new(false));
        let (seen_there, leave_there) = (Arc::clone(&seen), Arc::clone(&leave));
        let thread = std::thread::Builder::new().name("store-witness".into()).spawn(move || {
            let mut last = 0;
            while !leave_there.load(Ordering::Relaxed) {
                match books.sales_after(last) {
                    Ok(sales) => {
                        let now = Instant::now();
                        for (sequence, order) in sales {
                            last = sequence;
                            let mut seen = seen_there.lock().unwrap_or_else(PoisonError::into_inner);
                            seen.extend(order.map(|order| (order, now)));
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the store could not be read"),
                }
                std::thread::sleep(STORE_GLANCE);
            }
        })?;
        Ok(Self { seen, leave, thread: Some(thread) })
    }

    /// When the sale of an order was first seen there.
    pub fn sale_of(&self, order: &OrderId) -> Option<Instant> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(order.as_str()).copied()
    }
}

impl Drop for StoreWitness {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so already.
            let _ = thread.join();
        }
    }
}
