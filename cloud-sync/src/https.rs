//! The HTTPS client; the only place of this crate that knows reqwest.
//!
//! [`run`] posts the outbox's batches over the fallback road; [`Poster`] is one address to post to, for other consumers too.

use crate::link::{PostFailed, Posted};
use crate::mqtt::backoff::Backoff;
use crate::outbox::EventMessage;
use crate::tls;
use crate::wire::strict;
use forecourt::ids::StationId;
use rustls::ClientConfig;
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// The CloudEvents batch format (CloudEvents 1.0, JSON format, section 4).
pub const BATCH: &str = "application/cloudevents-batch+json";
/// One request, from the first packet to the last.
const REQUEST: Duration = Duration::from_secs(30);
/// Until the other side takes the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const ANSWER: usize = 1024 * 1024;
/// Most characters of an answer that are shown when it is a refusal.
const SHOWN: usize = 200;

/// An address to post to: `https://`, or `http://` to this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpUrl(reqwest::Url);

/// An address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// No such address.
    #[error("\"{0}\" is no address: write https://host/ or https://host:port/path/")]
    Form(String),
    /// Plain HTTP over a network.
    #[error("{0} is not encrypted: use https://, or set allow-plaintext = true if the network itself is protected")]
    Plaintext(String),
}

impl FromStr for HttpUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl::Form(text.into());
        let url = reqwest::Url::parse(text).map_err(|_| bad())?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let known = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        if plain && known { Ok(Self(url)) } else { Err(bad()) }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl HttpUrl {
    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it is neither encrypted nor within this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        !self.is_secure() && !loopback
    }

    /// Refuses what would go over a network in the clear.
    ///
    /// # Errors
    /// [`BadUrl::Plaintext`]
    pub fn check(&self, allow_plaintext: bool) -> Result<(), BadUrl> {
        if self.is_exposed() && !allow_plaintext { Err(BadUrl::Plaintext(self.to_string())) } else { Ok(()) }
    }

    /// A place below this one, as a base: `fuel/v1/enrol`.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        Self(url)
    }
}

/// Why a post did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostFault {
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// Another answer than 2xx.
    #[error("HTTP {status}: {said}")]
    Refused {
        /// The status.
        status: u16,
        /// What the answer says, shortened.
        said: String,
    },
    /// The answer is 2xx, and larger than any should be.
    #[error("an answer of more than {} KiB", ANSWER / 1024)]
    TooLong,
}

/// One client, kept open between requests.
#[derive(Debug, Clone)]
pub struct Poster {
    client: reqwest::Client,
}

impl Poster {
    /// A client with this TLS configuration; `None` for plain HTTP alone. Redirects are not followed and no proxy of the environment is
    /// used: what is configured is where it goes.
    ///
    /// # Errors
    /// What the client says, which is only for want of resources.
    pub fn new(config: Option<&ClientConfig>) -> Result<Self, PostFault> {
        let config = config.cloned().unwrap_or_else(tls::no_tls);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .tcp_nodelay(true)
            .user_agent(concat!("forecourt-edge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| PostFault::Unreachable(in_words(&why)))?;
        Ok(Self { client })
    }

    /// Posts, and gives the answer's body where it is 2xx.
    ///
    /// # Errors
    /// [`PostFault`]
    pub async fn post(
        &self,
        url: &HttpUrl,
        content_type: &str,
        body: Vec<u8>,
        bearer: Option<&str>,
    ) -> Result<Vec<u8>, PostFault> {
        let mut request = self.client.post(url.0.clone()).header("content-type", content_type).body(body);
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        let unreachable = |why: reqwest::Error| PostFault::Unreachable(in_words(&why));
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if read.len() + chunk.len() > ANSWER {
                if status.is_success() {
                    return Err(PostFault::TooLong);
                }
                // A refusal is one however much it says.
                break;
            }
            read.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(read);
        }
        Err(PostFault::Refused { status: status.as_u16(), said: said(&read) })
    }
}

/// What a refusal says for people: the detail of a problem document (RFC 9457), else the beginning of its text.
fn said(body: &[u8]) -> String {
    let problem: Option<Value> = serde_json::from_slice(body).ok();
    let member = |name| problem.as_ref().and_then(|problem| problem.get(name)).and_then(Value::as_str);
    let words: Vec<&str> = [member("error"), member("detail").or(member("title"))].into_iter().flatten().collect();
    let text = if words.is_empty() { String::from_utf8_lossy(body).into_owned() } else { words.join(": ") };
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

fn in_words(why: &reqwest::Error) -> String {
    if let Some(advice) = tls::explain(why) {
        return advice;
    }
    // The client's own text names only the address; the causes are behind it.
    let mut text = why.to_string();
    let mut next = std::error::Error::source(why);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The client of the moment: made anew when certificates change. `None` while TLS is needed and there is nothing to show.
pub type Clients = watch::Receiver<Option<Poster>>;

/// Serves the fallback road until the link drops its end.
pub async fn run(
    base: HttpUrl,
    station: StationId,
    clients: Clients,
    mut posts: mpsc::Receiver<EventMessage>,
    posted: mpsc::Sender<Posted>,
    mut jitter: Box<dyn FnMut(u64) -> u64 + Send>,
) {
    let url = base.below(&format!("fuel/v1/stations/{station}/events"));
    let mut backoff = Backoff::new(1);
    let mut under_way = JoinSet::new();
    loop {
        let (id, answer) = tokio::select! {
            post = posts.recv() => {
                let Some(post) = post else { return };
                let client = clients.borrow().clone();
                let url = url.clone();
                under_way.spawn(async move {
                    let answer = match client {
                        Some(client) => client.post(&url, BATCH, post.payload, None).await,
                        None => Err(PostFault::Unreachable("there is no certificate to show".into())),
                    };
                    (post.id, answer)
                });
                continue;
            }
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => match ended {
                Ok(ended) => ended,
                // Only when this task itself is ended.
                Err(_) => continue,
            },
        };
        let result = match answer.and_then(|body| commands(&body)) {
            Ok(commands) => {
                backoff.reset();
                Ok(commands)
            }
            Err(fault) => {
                let longest = u64::try_from(backoff.wait().as_millis()).unwrap_or(u64::MAX);
                let too_large = matches!(fault, PostFault::Refused { status: 413, .. });
                let wait = Duration::from_millis(if too_large { 0 } else { jitter(longest) });
                match &fault {
                    PostFault::Refused { status: 401 | 403, .. } => {
                        warn!(%url, %fault, "the platform does not accept the station's certificate for HTTPS");
                    }
                    fault => debug!(%url, %fault, wait_ms = wait.as_millis(), "records could not be posted"),
                }
                Err(PostFailed { too_large, why: fault.to_string(), wait })
            }
        };
        if posted.send(Posted { id, result }).await.is_err() {
            return;
        }
    }
}

/// The commands in the platform's answer.
fn commands(body: &[u8]) -> Result<Vec<Vec<u8>>, PostFault> {
    let bad = |why: &str| PostFault::Unreachable(format!("the platform's answer cannot be read: {why}"));
    let answer = strict::parse(body).map_err(|why| bad(&why.to_string()))?;
    let list = answer.get("commands").and_then(Value::as_array).ok_or_else(|| bad("it has no list \"commands\""))?;
    let texts = list.iter().map(|command| command.as_str().map(|text| text.as_bytes().to_vec()));
    texts.collect::<Option<_>>().ok_or_else(|| bad("a command is no string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leaves_the_machine_only_when_allowed() {
        for (url, allowed) in [
            ("https://cloud.example/", true),
            ("http://localhost:8080/x", true),
            ("http://127.0.0.1/", true),
            ("http://[::1]:80/", true),
            ("http://10.0.0.1/", false),
        ] {
            let url: HttpUrl = url.parse().expect("an address");
            assert_eq!(url.check(false).is_ok(), allowed, "{url}");
            assert!(url.check(true).is_ok());
        }
        for text in ["cloud.example", "mqtts://x", "https://", "https://user:word@x/", "https://x/#y"] {
            assert!(text.parse::<HttpUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn places_are_below_the_base_with_and_without_a_slash() {
        for base in ["https://cloud.example/edge", "https://cloud.example/edge/"] {
            let base: HttpUrl = base.parse().expect("an address");
            assert_eq!(base.below("fuel/v1/enrol").to_string(), "https://cloud.example/edge/fuel/v1/enrol");
        }
    }

    #[test]
    fn an_answer_is_a_list_of_commands_or_nothing() {
        assert_eq!(commands(br#"{"commands":["a.b.c"]}"#), Ok(vec![b"a.b.c".to_vec()]));
        assert_eq!(commands(br#"{"commands":[]}"#), Ok(vec![]));
        for body in [&b""[..], b"ok", b"{}", br#"{"commands":"a"}"#, br#"{"commands":[1]}"#, b"[]"] {
            assert!(commands(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_refusal_shows_what_its_problem_document_says() {
        assert_eq!(
            said(br#"{"error":"bad_code","title":"no","detail":"this code was used"}"#),
            "bad_code: this code was used"
        );
        assert_eq!(said(b"<html>\n502"), "<html>502");
    }
}
