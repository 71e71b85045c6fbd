//! The thread that owns the store. All that is queued when it turns to the queue becomes one commit.

use crate::store::Store;
use crate::store::fault::StoreFault;
use core::fmt;
use forecourt::ledger::{Ticket, Write};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Jobs that may wait. Beyond this the sender waits or is refused.
pub const QUEUE: usize = 256;
/// Between two tries of a commit that failed.
pub const PAUSE: Duration = Duration::from_secs(1);
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

/// What became of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Durable.
    Stored(Ticket),
    /// It cannot be stored at present. It is tried again, and all others wait behind it so that their order is kept; once for each
    /// time of trouble.
    Failing(StoreFault),
    /// Stored after all: the trouble is over.
    Recovered,
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

    /// Has a closure run with the store in its turn, where there is room for it; nobody waits for it.
    pub fn try_run(&self, task: impl FnOnce(&mut Store) + Send + 'static) {
        // Full or ended: whoever asks so can do without.
        let _left_out = self.jobs.try_send(Job::Run(Box::new(task)));
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
    // Only for a wait with an end; nothing else runs on it.
    let timer =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a timer needs no resources");
    let mut clerk = Clerk::default();
    let mut ended = false;
    while !ended {
        let mut task = None;
        let next = if clerk.is_failing() {
            timer.block_on(async { tokio::time::timeout(PAUSE, jobs.recv()).await })
        } else {
            Ok(jobs.blocking_recv())
        };
        match next {
            Ok(Some(Job::Commit { ticket, writes })) => clerk.take(ticket, writes),
            Ok(Some(Job::Run(run))) => task = Some(run),
            Ok(None) => ended = true,
            Err(_) => {}
        }
        while task.is_none() && clerk.has_room() {
            match jobs.try_recv() {
                Ok(Job::Commit { ticket, writes }) => clerk.take(ticket, writes),
                Ok(Job::Run(run)) => task = Some(run),
                Err(_) => break,
            }
        }
        clerk.commit(&mut store, &mut answer);
        // While commits fail, questions are still answered, and what the platform has acknowledged makes room.
        if let Some(task) = task {
            task(&mut store);
        }
    }
    store
}

/// What waits to be stored, and what becomes of it. Pure but for the store that it is lent: the thread and a simulated day use the same.
#[derive(Debug, Default)]
pub struct Clerk {
    waiting: VecDeque<(Ticket, Vec<Write>)>,
    failing: bool,
}

impl Clerk {
    /// One more commit, behind those that wait.
    pub fn take(&mut self, ticket: Ticket, writes: Vec<Write>) {
        self.waiting.push_back((ticket, writes));
    }

    /// Whether more may join the next commit.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < GROUP
    }

    /// Whether the last commit failed: it is to be tried again after [`PAUSE`], or with the next job.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.failing
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// One commit for all that waits; what fails stays, first in line.
    ///
    /// # Panics
    /// Where a rule of the books forbids it: a mistake of the core, after which nothing it holds can be trusted. The next run reads
    /// the dispensers first.
    pub fn commit(&mut self, store: &mut Store, answer: &mut impl FnMut(Answer)) {
        if self.waiting.is_empty() {
            self.failing = false;
            return;
        }
        let batches: Vec<&[Write]> = self.waiting.iter().map(|(_, writes)| writes.as_slice()).collect();
        match store.apply(&batches) {
            Ok(()) => {
                if self.failing {
                    answer(Answer::Recovered);
                }
                self.failing = false;
                self.waiting.drain(..).for_each(|(ticket, _)| answer(Answer::Stored(ticket)));
            }
            Err(fault @ StoreFault::Refused { .. }) => panic!("{fault}"),
            Err(fault) => {
                if !self.failing {
                    answer(Answer::Failing(fault));
                }
                self.failing = true;
            }
        }
    }
}
