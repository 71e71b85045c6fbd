//! The MQTT client around the [`Link`]; the only place that knows rumqttc.
//!
//! One task owns the client and its event loop. The store and the site are reached through bounded channels and never waited
//! for, so that a slow disk holds up nothing here but what needs it.

pub mod backoff;
mod credentials;
mod session;
mod settings;

pub use crate::tls::TlsMaterial;
pub use settings::{BadSettings, BrokerUrl, LinkSettings};

use crate::link::{Counters, Input, Link, Notice, Output, PostFailed, Posted};
use crate::outbox::EventMessage;
use crate::outbox::ask::{StoreAnswer, StoreAsk};
use crate::tls::{self, CertificateFacts, Seen};
use crate::wire::jws::KeySet;
use backoff::Backoff;
use credentials::Credentials;
use forecourt::command::{Command, Reply};
use forecourt::time::{Instant, Now};
use rumqttc::{AsyncClient, ConnectionError, LastWill, NetworkOptions, QoS, StateError};
use session::{Meaning, Session};
use settings::Shown;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time;
use tracing::{debug, info, warn};

/// Room in rumqttc's channel: all that may be in flight at once, and a subscription.
const CLIENT_CHANNEL: usize = 128;
/// Commands for the site: more than the link lets in at once.
const COMMANDS: usize = 128;
/// Asks and answers of the store.
const STORE: usize = 512;
/// What the daemon tells.
const TOLD: usize = 1_024;
/// What the daemon should know.
const REPORTS: usize = 256;
/// Posts under way: more than the outbox ever has.
const POSTS: usize = 16;
/// Longest time for the goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// Longest time until the broker accepts us, in seconds as rumqttc has it. Also of each flush.
const CONNECT_S: u64 = 10;

/// What the daemon tells the link.
#[derive(Debug)]
pub enum Told {
    /// The site's answer to a command, durable already.
    Reply(Box<Reply>),
    /// The station's present state.
    Station(Box<crate::wire::state::StationView>),
    /// A nozzle's present state.
    Nozzle(Box<crate::wire::state::NozzleView>),
    /// An order took a step.
    Progress(Box<crate::wire::state::OrderStep>),
    /// A running fuelling, while watched.
    Live(Box<crate::wire::state::LiveReading>),
    /// Records were committed.
    OutboxChanged,
    /// The platform's keys from now on.
    Keys(Box<KeySet>),
    /// Another certificate, authority or key, to be tried at once: the connection is made anew. The old ones stay until a broker has
    /// accepted the new.
    Certificates(Box<TlsMaterial>),
    /// Say goodbye and end.
    Stop,
}

impl Told {
    /// What it means to the link; `None` for what concerns the connection alone.
    fn into_input(self) -> Option<Input> {
        Some(match self {
            Self::Certificates(_) => return None,
            Self::Reply(reply) => Input::Reply(reply),
            Self::Station(view) => Input::Station(view),
            Self::Nozzle(view) => Input::Nozzle(view),
            Self::Progress(step) => Input::Progress(step),
            Self::Live(reading) => Input::Live(reading),
            Self::OutboxChanged => Input::OutboxChanged,
            Self::Keys(keys) => Input::Keys(*keys),
            Self::Stop => Input::Stop,
        })
    }
}

/// Where the link stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The broker that has accepted us.
    pub broker: Option<String>,
    /// Why there is none, once one was tried.
    pub why_down: Option<String>,
    /// Why records go over HTTPS too, if they do.
    pub road: Option<crate::road::Why>,
    /// The certificate of the broker that was last reached over TLS.
    pub broker_certificate: Option<CertificateFacts>,
    /// Counts since the start of the run.
    pub counters: Counters,
}

/// The daemon's ends of the channels.
#[derive(Debug)]
pub struct DaemonEnds {
    /// For the site and the console: what the link should know. Live readings and steps are best left out when it is full.
    pub told: mpsc::Sender<Told>,
    /// Commands for the site.
    pub commands: mpsc::Receiver<Command>,
    /// Asks for the store's thread, which calls [`crate::outbox::ask::serve`] for each, in order.
    pub asks: mpsc::Receiver<StoreAsk>,
    /// The store's answers, in the order of the asks.
    pub answers: mpsc::Sender<StoreAnswer>,
    /// What a person should know; left out when it is full, as it is logged anyway.
    pub notices: mpsc::Receiver<Notice>,
    /// Where the link stands.
    pub status: watch::Receiver<Status>,
    /// Records for the fallback road: for [`crate::https::run`].
    pub posts: mpsc::Receiver<EventMessage>,
    /// What became of them, from there.
    pub posted: mpsc::Sender<Posted>,
}

/// The link's ends of the channels.
#[derive(Debug)]
pub struct LinkEnds {
    told: mpsc::Receiver<Told>,
    commands: mpsc::Sender<Command>,
    asks: mpsc::Sender<StoreAsk>,
    answers: mpsc::Receiver<StoreAnswer>,
    notices: mpsc::Sender<Notice>,
    status: watch::Sender<Status>,
    posts: mpsc::Sender<EventMessage>,
    posted: mpsc::Receiver<Posted>,
}

/// All channels between the link's task and the daemon, each bounded.
#[must_use]
pub fn channels() -> (DaemonEnds, LinkEnds) {
    let (told_in, told) = mpsc::channel(TOLD);
    let (commands, commands_out) = mpsc::channel(COMMANDS);
    let (asks, asks_out) = mpsc::channel(STORE);
    let (answers_in, answers) = mpsc::channel(STORE);
    let (notices, notices_out) = mpsc::channel(REPORTS);
    let (status, status_out) = watch::channel(Status::default());
    let (posts, posts_out) = mpsc::channel(POSTS);
    let (posted_in, posted) = mpsc::channel(POSTS);
    let daemon = DaemonEnds {
        told: told_in,
        commands: commands_out,
        asks: asks_out,
        answers: answers_in,
        notices: notices_out,
        status: status_out,
        posts: posts_out,
        posted: posted_in,
    };
    (daemon, LinkEnds { told, commands, asks, answers, notices, status, posts, posted })
}

/// The present and chance, which a pure core is given.
pub struct World {
    /// Both clocks.
    pub now: Box<dyn Fn() -> Now + Send>,
    /// A number from 0 to the given one, both included, for the jitter of reconnects.
    pub jitter: Box<dyn FnMut(u64) -> u64 + Send>,
}

/// Runs the link until [`Told::Stop`], or until the daemon drops its ends.
///
/// # Errors
/// [`BadSettings`] before anything is tried; a broker that is away is no error and is tried again.
pub async fn run(settings: LinkSettings, link: Link, ends: LinkEnds, mut world: World) -> Result<(), BadSettings> {
    let (seen, seen_out) = Seen::new();
    let shown = settings.check_and_show(Some(seen.clone()))?;
    let mut backoff = Backoff::starting_at(settings.brokers.len(), settings.first());
    let mut shell = Shell {
        link,
        ends,
        now: world.now,
        credentials: Credentials::new(shown),
        offered: false,
        seen,
        seen_out,
        asks: VecDeque::new(),
        commands: VecDeque::new(),
        stop_by: None,
        next_delivery: 0,
    };
    let mut clean_session = false;
    loop {
        let broker = &settings.brokers[backoff.broker()];
        shell.offered = false;
        let mut options = settings.options(broker, clean_session, shell.credentials.current());
        let now = (shell.now)();
        let will = shell.link.will(now.utc);
        options.set_last_will(LastWill::new(will.topic, will.payload, QoS::AtLeastOnce, true));
        let ended = shell.connection(options, &broker.to_string()).await;
        shell.handle(Input::Disconnected);
        shell.perform(None);
        let (why, longest) = match ended {
            Ended::Stopped => return Ok(()),
            Ended::Offered => {
                info!(%broker, "connecting anew with the new certificate");
                continue;
            }
            Ended::Lost { why, lasted, poisoned } => {
                // A message above every limit comes again and again in the same session; a new one is the only way past it.
                clean_session = poisoned;
                let longest = match lasted {
                    Some(_) => backoff.handle_ended(lasted),
                    // The old certificate shall have its try with the same broker.
                    None if shell.credentials.handle_failed(&why) => backoff.wait(),
                    None => backoff.handle_ended(None),
                };
                (why, longest)
            }
        };
        let wait = Duration::from_millis((world.jitter)(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)));
        info!(%broker, why, wait_ms = wait.as_millis(), "no connection to the broker; trying again");
        shell.show(None, Some(why));
        if shell.pause(wait).await {
            return Ok(());
        }
    }
}

/// How a connection ended.
enum Ended {
    Stopped,
    /// There is a new certificate to be tried.
    Offered,
    Lost {
        why: String,
        lasted: Option<Duration>,
        poisoned: bool,
    },
}

struct Shell {
    link: Link,
    ends: LinkEnds,
    now: Box<dyn Fn() -> Now + Send>,
    credentials: Credentials<Shown>,
    /// New ones came since the connection began.
    offered: bool,
    seen: Seen,
    seen_out: watch::Receiver<Option<CertificateFacts>>,
    /// Asks that the store's channel had no room for.
    asks: VecDeque<StoreAsk>,
    /// Commands that the site's channel had no room for, in order.
    commands: VecDeque<Command>,
    /// The goodbye must be said by then.
    stop_by: Option<time::Instant>,
    next_delivery: u64,
}

impl Shell {
    fn handle(&mut self, input: Input) {
        let now = (self.now)();
        self.link.handle(input, now);
    }

    fn stop(&mut self) {
        self.stop_by.get_or_insert_with(|| time::Instant::now() + GOODBYE);
        self.handle(Input::Stop);
    }

    fn tell(&mut self, told: Option<Told>) {
        match told {
            None | Some(Told::Stop) => self.stop(),
            Some(Told::Certificates(material)) => match tls::client_config(&material, Some(self.seen.clone())) {
                Ok(config) => {
                    self.credentials.offer(Some(Arc::new(config)));
                    self.offered = true;
                }
                Err(why) => warn!(%why, "the new certificate is not used"),
            },
            Some(told) => {
                if let Some(input) = told.into_input() {
                    self.handle(input);
                }
            }
        }
    }

    fn show(&self, broker: Option<&str>, why_down: Option<String>) {
        let status = Status {
            broker: broker.map(str::to_owned),
            why_down,
            road: self.link.road(),
            broker_certificate: self.seen_out.borrow().clone(),
            counters: self.link.counters(),
        };
        self.ends.status.send_replace(status);
    }

    /// Serves everything but a broker for a while. True once the daemon stops.
    async fn pause(&mut self, wait: Duration) -> bool {
        let end = time::Instant::now() + wait;
        while self.stop_by.is_none() {
            if self.perform(None) {
                return true;
            }
            let due = self.due(true).min(end);
            tokio::select! {
                told = self.ends.told.recv() => self.tell(told),
                Some(answer) = self.ends.answers.recv() => self.handle(Input::Store(Box::new(answer))),
                Some(posted) = self.ends.posted.recv() => self.handle(Input::Posted(posted)),
                () = time::sleep_until(due) => {
                    if time::Instant::now() >= end {
                        return false;
                    }
                    self.handle_timeout();
                }
            }
        }
        true
    }

    /// One connection, from the first packet to the last.
    async fn connection(&mut self, options: rumqttc::MqttOptions, broker: &str) -> Ended {
        let (client, mut events) = AsyncClient::new(options, CLIENT_CHANNEL);
        let mut network = NetworkOptions::new();
        // Without it a reply waits 40 ms for the acknowledgement of the packet before (Nagle and delayed ACK).
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_S);
        events.set_network_options(network);
        let mut session = Session::new(client, self.link.command_topic(), self.next_delivery);
        let mut poll = session::poll(events);
        let mut accepted: Option<time::Instant> = None;
        let ended = loop {
            if self.perform(Some(&mut session)) && accepted.is_none() {
                break Ended::Stopped;
            }
            let due = self.due(session.has_room());
            tokio::select! {
                (events, event) = &mut poll => {
                    poll = session::poll(events);
                    let meaning = match event {
                        Ok(event) => session.handle(event),
                        Err(_) if self.stop_by.is_some() => break Ended::Stopped,
                        Err(why) => {
                            let lasted = accepted.map(|since| since.elapsed());
                            break Ended::Lost { why: in_words(&why), lasted, poisoned: is_poisoned(&why) };
                        }
                    };
                    session.flush();
                    match meaning {
                        Meaning::Nothing => {}
                        Meaning::Link(input) => self.handle(input),
                        Meaning::Closed => break Ended::Stopped,
                        Meaning::Accepted => {
                            info!(broker, "connected");
                            if let Some(why) = self.credentials.handle_accepted() {
                                warn!(why, "the new certificate is not accepted: the old one stays in use");
                                self.report(Notice::CertificateRefused(why));
                            }
                            accepted = Some(time::Instant::now());
                            self.handle(Input::Connected);
                            self.show(Some(broker), None);
                        }
                        Meaning::NotSubscribed => {
                            let why = "the broker does not let the station read its command topic".to_owned();
                            break Ended::Lost { why, lasted: None, poisoned: false };
                        }
                    }
                }
                told = self.ends.told.recv(), if self.stop_by.is_none() => {
                    self.tell(told);
                    if self.offered {
                        break Ended::Offered;
                    }
                }
                Some(answer) = self.ends.answers.recv() => self.handle(Input::Store(Box::new(answer))),
                Some(posted) = self.ends.posted.recv() => self.handle(Input::Posted(posted)),
                () = time::sleep_until(due) => {
                    if self.stop_by.is_some_and(|by| time::Instant::now() >= by) {
                        break Ended::Stopped;
                    }
                    self.handle_timeout();
                }
            }
        };
        self.next_delivery = session.next_delivery();
        ended
    }

    fn handle_timeout(&mut self) {
        let now = (self.now)();
        self.link.handle_timeout(now);
    }

    /// When to wake up without an event. While the session has no room, the link's deadlines wait for it.
    fn due(&self, has_room: bool) -> time::Instant {
        let now = time::Instant::now();
        let mono = (self.now)().mono;
        let link = self.link.poll_timeout().filter(|_| has_room && self.asks.is_empty());
        let link = link.map(|due: Instant| now + due.since(mono));
        let retry = (!self.asks.is_empty() || !self.commands.is_empty()).then(|| now + Duration::from_millis(20));
        [link, retry, self.stop_by].into_iter().flatten().min().unwrap_or(now + Duration::from_secs(60))
    }

    /// Hands commands to the site as it has room. The link bounds how many wait.
    fn hand_over(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            match self.ends.commands.try_send(command) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(command)) => {
                    self.commands.push_front(command);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(command)) => self.handle(Input::SiteFull(command.id)),
            }
        }
    }

    /// Does what the link wants done. True once it wants the end.
    fn perform(&mut self, mut session: Option<&mut Session>) -> bool {
        let mut ended = false;
        self.hand_over();
        while let Some(ask) = self.asks.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(ask)) = self.ends.asks.try_send(ask) {
                self.asks.push_front(ask);
                break;
            }
        }
        while self.asks.is_empty() && session.as_ref().is_none_or(|session| session.has_room()) {
            let now = (self.now)();
            let Some(output) = self.link.poll_output(now) else { break };
            match (output, session.as_deref_mut()) {
                (Output::Ask(ask), _) => {
                    if let Err(mpsc::error::TrySendError::Full(ask)) = self.ends.asks.try_send(ask) {
                        self.asks.push_back(ask);
                    }
                }
                (Output::Post(post), _) => self.post(post),
                (Output::Command(command), _) => self.commands.push_back(*command),
                (Output::Notice(notice), _) => self.report(notice),
                (Output::Publish(message), Some(session)) => session.publish(message),
                (Output::Acknowledge(delivery), Some(session)) => session.acknowledge(delivery),
                (Output::Disconnect, Some(session)) => {
                    session.disconnect();
                    ended = true;
                }
                (Output::Disconnect, None) => ended = true,
                // The connection they were for is gone; the link knows, and the broker delivers again.
                (Output::Publish(_) | Output::Acknowledge(_), None) => {}
            }
        }
        self.hand_over();
        let counters = self.link.counters();
        let road = self.link.road();
        self.ends.status.send_if_modified(|status| {
            let turned = std::mem::replace(&mut status.road, road) != road;
            std::mem::replace(&mut status.counters, counters) != counters || turned
        });
        ended
    }

    /// Gives records to the HTTPS task. The outbox never has more under way than the channel holds.
    fn post(&mut self, post: EventMessage) {
        if let Err(mpsc::error::TrySendError::Full(post) | mpsc::error::TrySendError::Closed(post)) =
            self.ends.posts.try_send(post)
        {
            let failed = PostFailed { too_large: false, why: "no HTTPS task".into(), wait: Duration::from_secs(60) };
            self.handle(Input::Posted(Posted { id: post.id, result: Err(failed) }));
        }
    }

    fn report(&self, notice: Notice) {
        match &notice {
            Notice::BadSignature { detail, count } => {
                warn!(detail, count, "a command with a bad signature was refused")
            }
            Notice::Unanswered(id) => warn!(command = %id, "the site has not answered a command"),
            Notice::Outbox(notice) => warn!(?notice, "outbox"),
            Notice::Road(Some(why)) => info!(why = why.word(), "records go over HTTPS too"),
            Notice::Road(None) => info!("records go over MQTT alone again"),
            Notice::CertificateRefused(_) => {}
        }
        if self.ends.notices.try_send(notice).is_err() {
            debug!("a notice was left out: nobody reads them fast enough");
        }
    }
}

/// Why a connection failed, with what to do where a person can do something.
fn in_words(why: &ConnectionError) -> String {
    match why {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refuses the station ({code:?}): ask whoever runs it to let this client id in")
        }
        other => tls::explain(other).unwrap_or_else(|| other.to_string()),
    }
}

/// A packet larger than we read: in the same session the broker sends it again at once.
const fn is_poisoned(why: &ConnectionError) -> bool {
    matches!(why, ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::PayloadSizeLimitExceeded(_))))
}
