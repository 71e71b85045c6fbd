//! `control.sock`: the door for people at the station. One JSON line in, one out; then it closes.
//!
//! Who may come in, the file's group says (mode 0660). What is done is the same as what the cloud asks, and each act is audited.

use super::clock::Clock;
use crate::config::Control;
use cloud_sync::wire::command::{self, Inbound};
use cloud_sync::wire::jws::KeySet;
use cloud_sync::wire::reply::{link_data, site_data};
use forecourt::command::{Ask, Command, Reply};
use forecourt::errand::Errand;
use forecourt::ids::{CommandId, NozzleId, StationId};
use forecourt::record::Audit;
use forecourt::site::TypedIn;
use forecourt::time::UtcTime;
use forecourt::voucher::Voucher;
use serde::Deserialize;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{info, warn};

/// Visitors that are served at the same time.
const VISITORS: usize = 4;
/// Acts that may wait for the site.
pub const ACTS: usize = 8;
/// Longest line: an order at its largest, and what stands around it.
const LONGEST_LINE: u64 = 80 * 1_024;
/// A visitor who says nothing goes.
const PATIENCE: Duration = Duration::from_secs(5);
/// The site answers once it is durable; with a slow disk that takes a while.
const ANSWER: Duration = Duration::from_secs(15);
/// Readable and writable for its owner and group.
const MODE: u32 = 0o660;

/// What a visitor asks.
#[derive(Deserialize, Debug)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Wish {
    /// Key in a voucher.
    Voucher { digits: String, nozzle: Option<u16> },
    /// Hand in an order shown as a QR code.
    Order { jws: String },
    /// Take the configuration before back into force.
    ConfigRollback,
}

/// What the site is told.
#[derive(Debug)]
pub enum Act {
    /// Carry this out.
    Command {
        /// What.
        command: Box<Command>,
        /// By whom.
        who: String,
        /// The one answer.
        answer: oneshot::Sender<Reply>,
    },
    /// Something was tried that is no command.
    Audit(Audit),
}

/// What the door knows.
#[derive(Clone)]
pub struct Door {
    /// Who we are.
    pub station: StationId,
    /// Keys of the platform, while there are any.
    pub keys: watch::Receiver<Option<KeySet>>,
    /// Whether the broker has us.
    pub uplink: watch::Receiver<bool>,
    /// Orders signed before this may have been served by a store that was lost.
    pub not_before: UtcTime,
    /// The present.
    pub clock: Clock,
    /// The site.
    pub acts: mpsc::Sender<Act>,
}

/// Opens the socket for its group.
///
/// # Errors
/// Where it cannot be made.
pub fn bind(control: &Control) -> std::io::Result<UnixListener> {
    let path = &control.socket;
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    match group_id(&control.group) {
        Some(group) => {
            if let Err(why) = std::os::unix::fs::chown(path, None, Some(group)) {
                warn!(group = control.group, %why, "control.sock stays with the daemon's own group: add its user to this one");
            }
        }
        None => info!(group = control.group, "no such group: only the daemon's own may use control.sock"),
    }
    Ok(listener)
}

/// From `/etc/group` (group(5)).
fn group_id(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Lets visitors in, for ever.
pub async fn serve(listener: UnixListener, door: Door) {
    let places = Arc::new(Semaphore::new(VISITORS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let door = door.clone();
                tokio::spawn(async move {
                    if let Err(why) = door.attend(stream).await {
                        info!(%why, "control.sock");
                    }
                    drop(place);
                });
            }
            Err(why) => {
                warn!(%why, "control.sock");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Door {
    async fn attend(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let who = format!("uid {}", stream.peer_cred()?.uid());
        let (read, mut write) = stream.split();
        let mut line = String::new();
        let mut read = BufReader::new(read).take(LONGEST_LINE);
        tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await.map_err(std::io::Error::other)??;
        let answer = match serde_json::from_str(&line) {
            Ok(wish) => self.grant(wish, who).await,
            Err(why) => {
                refusal("malformed", &format!("one JSON line is expected, such as {{\"do\":\"voucher\",…}}: {why}"))
            }
        };
        write.write_all(format!("{answer}\n").as_bytes()).await
    }

    async fn grant(&self, wish: Wish, who: String) -> Value {
        match wish {
            Wish::Voucher { digits, nozzle } => match Voucher::parse(&digits) {
                Ok(voucher) => {
                    let typed = TypedIn { voucher, nozzle: nozzle.map(NozzleId) };
                    self.act("voucher", Ask::Voucher(Box::new(typed)), who).await
                }
                Err(why) => {
                    self.note(&who, "voucher", "malformed").await;
                    refusal("malformed", &why.to_string())
                }
            },
            Wish::Order { jws } => self.order(&jws, who).await,
            Wish::ConfigRollback => self.act("configuration rolled back", Ask::Errand(Errand::RollBack), who).await,
        }
    }

    /// The same string that the broker would have brought. While the uplink is up it is the platform's to bring it: it may have taken
    /// the order back.
    async fn order(&self, jws: &str, who: String) -> Value {
        let keys = self.keys.borrow().clone();
        let refused = match keys {
            None => refusal("no_keys", "this station has no platform and no keys of one ([cloud] jwks-file)"),
            Some(_) if *self.uplink.borrow() => {
                refusal("uplink_up", "the platform can be reached: it sends the order itself")
            }
            Some(keys) => match self.read(jws.trim(), &keys) {
                Ok(command) => return self.hand_in(command, who).await,
                Err(refused) => refused,
            },
        };
        let word = refused.get("result").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.note(&who, "order", &word).await;
        refused
    }

    fn read(&self, jws: &str, keys: &KeySet) -> Result<Command, Value> {
        let opened =
            command::open(jws.as_bytes(), keys, &self.station).map_err(|refused| link_data(&refused, false))?;
        if !opened.is_order() {
            return Err(refusal("unsupported", "only an order is handed in here"));
        }
        if opened.is_order_before(self.not_before) {
            let detail = "the station has lost what it knew of orders from before: check this one and get it anew";
            return Err(refusal("too_old", detail));
        }
        match opened.read(self.clock.now().utc) {
            Ok(Inbound::Site(command)) => Ok(command),
            Ok(_) => Err(refusal("unsupported", "only an order is handed in here")),
            Err(refused) => Err(link_data(&refused, false)),
        }
    }

    async fn act(&self, kind: &str, ask: Ask, who: String) -> Value {
        match CommandId::new(format!("local-{}", uuid::Uuid::new_v4())) {
            Ok(id) => self.hand_in(Command { id, kind: kind.into(), ask, overloaded: false }, who).await,
            Err(why) => refusal("malformed", &why.to_string()),
        }
    }

    async fn hand_in(&self, command: Command, who: String) -> Value {
        let (answer, wait) = oneshot::channel();
        let act = Act::Command { command: Box::new(command), who, answer };
        if self.acts.send(act).await.is_err() {
            return refusal("stopping", "the daemon is about to stop");
        }
        match tokio::time::timeout(ANSWER, wait).await {
            Ok(Ok(reply)) => site_data(&reply),
            _ => refusal("no_answer", "the station did not answer in time: edgectl orders tells whether it was taken"),
        }
    }

    async fn note(&self, who: &str, did: &str, came_of_it: &str) {
        let on = "control.sock".into();
        let audit = Audit { who: who.into(), did: did.into(), on, old: None, new: Some(came_of_it.into()) };
        let _stopping = self.acts.send(Act::Audit(audit)).await;
    }
}

fn refusal(result: &str, detail: &str) -> Value {
    json!({ "result": result, "detail": detail })
}
