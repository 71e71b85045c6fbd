//! The thread that owns the store. All that is queued when it turns to the queue becomes one commit.

use crate::store::Store;
use crate::store::fault::StoreFault;
use core::fmt;
use forecourt::ledger::{Ticket, Write};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Jobs that may wait. Beyond this the sender waits or is refused.
pub const QUEUE: usize = 256;
/// Commits that become one.
const GROUP: usize = 64;

/// A job for the store that is no commit of the core.
pub type Task = Box<dyn FnOnce(&mut Store) + Send>;

/// What the thread is told.
pub enum Job {
    /// Make these writes durable, all or none.
    Commit {
        /// Named in the answer.
        ticket: Ticket,
        /// What to write.
        writes: Vec<Write>,
    },
    /// Run this with the store, in its turn.
    Run(Task),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit { ticket, writes } => {
                f.debug_struct("Commit").field("ticket", ticket).field("writes", writes).finish()
            }
            Self::Run(_) => f.write_str("Run"),
        }
    }
}

/// What became of a commit. A failed one is not tried again here: the site decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Durable.
    Stored(Ticket),
    /// Nothing of it was stored.
    Failed(Ticket, StoreFault),
}

/// The way to the thread. It ends when every handle is dropped, after all that was queued.
#[derive(Clone, Debug)]
pub struct Handle {
    jobs: Sender<Job>,
}

impl Handle {
    /// Queues a commit without waiting.
    ///
    /// # Errors
    /// The writes again where the queue is full or the thread has ended.
    pub fn try_commit(&self, ticket: Ticket, writes: Vec<Write>) -> Result<(), Vec<Write>> {
        self.jobs.try_send(Job::Commit { ticket, writes }).map_err(|refused| match refused.into_inner() {
            Job::Commit { writes, .. } => writes,
            Job::Run(_) => Vec::new(),
        })
    }

    /// Queues a commit; waits for a place.
    ///
    /// # Errors
    /// [`StoreFault::Closed`]
    pub async fn commit(&self, ticket: Ticket, writes: Vec<Write>) -> Result<(), StoreFault> {
        self.jobs.send(Job::Commit { ticket, writes }).await.map_err(|_| StoreFault::Closed)
    }

    /// Runs a closure with the store and gives its result; waits for its turn.
    ///
    /// # Errors
    /// [`StoreFault::Closed`]
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, StoreFault> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let task: Task = Box::new(move |store| {
            // The asker may have gone away; its change is made all the same.
            let _ = sender.send(task(store));
        });
        self.jobs.send(Job::Run(task)).await.map_err(|_| StoreFault::Closed)?;
        receiver.await.map_err(|_| StoreFault::Closed)
    }
}

/// Starts the thread. `answer` is called on it for each commit, in order, and must not block.
///
/// # Errors
/// Where the system gives no thread.
pub fn spawn(
    store: Store,
    answer: impl FnMut(Answer) + Send + 'static,
) -> std::io::Result<(Handle, std::thread::JoinHandle<Store>)> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let thread = std::thread::Builder::new().name("store".into()).spawn(move || serve(store, receiver, answer))?;
    Ok((Handle { jobs: sender }, thread))
}

fn serve(mut store: Store, mut jobs: Receiver<Job>, mut answer: impl FnMut(Answer)) -> Store {
    let mut next = jobs.blocking_recv();
    while let Some(job) = next.take() {
        let mut group = Vec::new();
        let mut after = None;
        match job {
            Job::Commit { ticket, writes } => group.push((ticket, writes)),
            Job::Run(task) => after = Some(task),
        }
        while after.is_none() && group.len() < GROUP {
            match jobs.try_recv() {
                Ok(Job::Commit { ticket, writes }) => group.push((ticket, writes)),
                Ok(Job::Run(task)) => after = Some(task),
                Err(_) => break,
            }
        }
        commit(&mut store, group, &mut answer);
        if let Some(task) = after {
            task(&mut store);
        }
        next = jobs.blocking_recv();
    }
    store
}

/// One commit for the group. Where a rule forbids one of them, each has a commit of its own, so that only the guilty one fails.
fn commit(store: &mut Store, group: Vec<(Ticket, Vec<Write>)>, answer: &mut impl FnMut(Answer)) {
    if group.is_empty() {
        return;
    }
    let batches: Vec<&[Write]> = group.iter().map(|(_, writes)| writes.as_slice()).collect();
    match store.apply(&batches) {
        Ok(()) => group.iter().for_each(|(ticket, _)| answer(Answer::Stored(*ticket))),
        Err(StoreFault::Refused { .. }) if group.len() > 1 => {
            for one in group {
                commit(store, vec![one], answer);
            }
        }
        Err(fault) => group.iter().for_each(|(ticket, _)| answer(Answer::Failed(*ticket, fault.clone()))),
    }
}
