//! The platform as a running program: books, link, HTTP and the clockwork between them.

use crate::api;
use crate::authority::Authority;
use crate::books::{Books, NewStation, Secrets, Trouble};
use crate::contract::keys::KeyPair;
use crate::link::{self, Address};
use crate::shared::{Shared, Terms};
use crate::signature::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often unpaid orders are looked through, and the channel asked at the latest.
const TICK: Duration = Duration::from_secs(1);
/// How long open requests may take at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// How the platform runs.
#[derive(Debug)]
pub struct Settings {
    /// Where the pages and the API are served, plain HTTP; port 0 for a free one.
    pub listen: SocketAddr,
    /// Lets `listen` be other than loopback. Log-in is on trust and nothing is encrypted.
    pub allow_plaintext: bool,
    /// The broker; `None` for none, then stations come over HTTP only.
    pub broker: Option<Address>,
    /// Keeps books and keys; `None` for memory alone.
    pub data: Option<PathBuf>,
    /// Signs commands.
    pub key: KeyPair,
    /// Stations that are served.
    pub stations: Vec<NewStation>,
    /// What an enrolled station is told to connect to, such as `mqtts://host:8883`.
    pub brokers_for_stations: Vec<String>,
    /// Calls a second that one address may make; `None` for any number.
    pub calls_per_second: Option<u32>,
    /// New members get coupons and a prepaid card, so that there is something to see.
    pub gifts: bool,
}

impl Settings {
    /// The usual: a free loopback port, books in memory, 10 calls a second, gifts.
    #[must_use]
    pub fn new(key: KeyPair, stations: Vec<NewStation>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_plaintext: false,
            broker: None,
            data: None,
            key,
            stations,
            brokers_for_stations: Vec::new(),
            calls_per_second: Some(10),
            gifts: true,
        }
    }

    /// With a broker at `host:port`, the contract's usual prefix and a client id of its own.
    #[must_use]
    pub fn with_broker(mut self, host: &str, port: u16) -> Self {
        let (topic_prefix, client_id) = ("fuel/v1".into(), "reference-platform".into());
        self.broker = Some(Address { host: host.into(), port, topic_prefix, client_id });
        self
    }
}

/// The platform did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The books or keys.
    #[error(transparent)]
    Books(#[from] Trouble),
    /// The port.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// Plain HTTP for others than this machine.
    #[error(
        "{0} is no loopback address and the platform speaks plain HTTP: listen on 127.0.0.1, or allow plaintext knowingly"
    )]
    Plaintext(SocketAddr),
}

/// Starts platforms.
#[derive(Clone, Copy, Debug)]
pub struct ReferencePlatform;

/// A running platform. Dropped, its tasks end at once; [`Running::stop`] lets them finish.
#[derive(Debug)]
pub struct Running {
    /// Where pages and API are.
    pub http_addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl ReferencePlatform {
    /// Opens the books, enters the stations, listens and connects. The link comes up by itself when the broker does.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        if !settings.listen.ip().is_loopback() && !settings.allow_plaintext {
            return Err(StartError::Plaintext(settings.listen));
        }
        let keys = |error: String| StartError::Books(Trouble::Keys(error));
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| keys(format!("no random numbers: {error}")))?;
        let secret = |name: &str| match &settings.data {
            Some(directory) => Secret::load_or_generate(&directory.join(name)).map_err(Trouble::from),
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(|error| Trouble::Keys(format!("no random numbers: {error}")))?;
                Ok(Secret::new(bytes))
            }
        };
        let (channel, hiding) = (secret("channel.key")?, secret("hiding.key")?);
        let staff_token = hiding.sign(&["staff"]);
        let authority = match &settings.data {
            Some(directory) => Authority::load_or_generate(directory).map_err(keys)?,
            None => Authority::generate().map_err(keys)?,
        };
        let file = settings.data.as_ref().map(|directory| directory.join("platform.db"));
        let secrets = Secrets { commands: settings.key, channel, hiding, authority };
        let mut books = Books::open(file.as_deref(), secrets, seed)?;
        books.act(crate::shared::now(), |act| {
            settings.stations.iter().try_for_each(|station| act.enter_station(station))
        })?;

        let terms = Terms {
            calls_per_second: settings.calls_per_second,
            gifts: settings.gifts,
            brokers_for_stations: settings.brokers_for_stations,
            staff_token,
        };
        let shared = Shared::new(books, terms);
        let listener =
            TcpListener::bind(settings.listen).await.map_err(|error| StartError::Listen(settings.listen, error))?;
        let http_addr = listener.local_addr().map_err(|error| StartError::Listen(settings.listen, error))?;
        let mut tasks =
            vec![tokio::spawn(serve(Arc::clone(&shared), listener)), tokio::spawn(clockwork(Arc::clone(&shared)))];
        if let Some(address) = settings.broker {
            tasks.push(tokio::spawn(link::run(Arc::clone(&shared), address)));
        }
        Ok(Running { http_addr, shared, tasks })
    }
}

impl Running {
    /// Where the pages begin, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http_addr)
    }

    /// Links of the nozzles' QR codes, by station and nozzle number, as far as they were heard.
    ///
    /// # Errors
    /// The books'.
    pub async fn nozzle_links(&self) -> Result<Vec<(String, i64, String)>, Trouble> {
        let codes = self.shared.read(|act| act.qr_tokens()).await?;
        let link =
            |(station, nozzle, code): (String, i64, String)| (station, nozzle, format!("{}/n/{code}", self.url()));
        Ok(codes.into_iter().map(link).collect())
    }

    /// What the tasks share, for tests and benches.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A one-time code with which a station gets its first certificate.
    ///
    /// # Errors
    /// `unknown_station`.
    pub async fn enrolment_code(&self, station_id: &str) -> Result<String, Trouble> {
        let station_id = station_id.to_owned();
        self.shared.write(move |act| act.new_enrolment_code(&station_id)).await
    }

    /// What a person of the platform shows to decide on withdrawals and corrections.
    #[must_use]
    pub fn staff_token(&self) -> &str {
        &self.shared.terms.staff_token
    }

    /// Ends: no new requests, open ones finish, a goodbye to the broker.
    pub async fn stop(mut self) {
        self.shared.stopping.send_replace(true);
        self.shared.ring();
        for task in std::mem::take(&mut self.tasks) {
            let abort = task.abort_handle();
            if tokio::time::timeout(LAST_REQUESTS, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let until = Arc::clone(&shared);
    let app = api::router(shared).into_make_service_with_connect_info::<SocketAddr>();
    let stop = async move { until.stopped().await };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the platform's HTTP side ended");
    }
}

/// Ends unpaid orders, sends again what was not answered, and plays the payment channel, which carries out refunds and calls back.
async fn clockwork(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shared.channel.notified() => {}
            () = shared.stopped() => return,
        }
        match turn(&shared).await {
            Ok(0) => {}
            Ok(_) => shared.ring(),
            Err(error) => tracing::error!(%error, "the platform's clockwork"),
        }
    }
}

/// How much was done.
async fn turn(shared: &Arc<Shared>) -> Result<usize, Trouble> {
    let work = |act: &mut crate::books::Act<'_>| {
        Ok((act.expire_unpaid()? + act.send_overdue_again()?, act.channel_refunds()?))
    };
    let (turned, callbacks) = shared.read(work).await?;
    let done = turned + callbacks.len();
    for callback in callbacks {
        shared.read(move |act| act.take_callback(&callback)).await?;
    }
    Ok(done)
}

/// Whether a token is the right one.
pub(crate) fn is_token(given: &str, wanted: &str) -> bool {
    // Compared by what an HMAC makes of them, so that the time taken tells nothing.
    let secret = Secret::new([0; 32]);
    secret.verifies(&[given], &secret.sign(&[wanted]))
}
