//! `hil-sim platform`: the reference platform with its pages, against any broker; `console` for the test driver at a terminal,
//! `reconcile-bench` for the reconciliation's own trial.

use super::console;
use crate::rig::workshop::interrupted;
use anyhow::{Context as _, bail};
use reference_platform::books::NewStation;
use reference_platform::contract::keys::{KeyPair, write_jwks};
use reference_platform::distance::Position;
use reference_platform::{ReferencePlatform, Settings, bench};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What to run and where.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Other {
    /// One command a line, against any broker.
    Console(console::Args),
    /// A day of sales with injected differences: how many the reconciliation finds.
    ReconcileBench {
        /// Sales of the day.
        #[arg(long, default_value_t = 10_000)]
        sales: usize,
        /// Differences put in.
        #[arg(long, default_value_t = 50)]
        differences: usize,
        /// Seed of the day.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Debug, clap::Args)]
struct Server {
    /// Where the pages are served, plain HTTP.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Lets `--listen` be reached from other machines although nothing is encrypted.
    #[arg(long)]
    allow_plaintext: bool,
    /// Broker, plain TCP.
    #[arg(long, default_value = "127.0.0.1:1883")]
    broker: String,
    /// First levels of the topics.
    #[arg(long, default_value = "fuel/v1")]
    topic_prefix: String,
    /// Keeps the books, the keys and the station's jwks.json.
    #[arg(long, default_value = "platform")]
    data: PathBuf,
    /// The signing key; `platform.key` in the data directory where nothing is said.
    #[arg(long)]
    key: Option<PathBuf>,
    /// A station that is served, with its position in millionths of a degree: `id` or `id@LAT,LON`. May be given several times.
    #[arg(long = "station", default_value = "st-demo")]
    stations: Vec<String>,
    /// Prints a one-time code for each station's enrolment.
    #[arg(long)]
    enrol: bool,
    /// What an enrolled station is told to connect to, such as `mqtts://host:8883`.
    #[arg(long = "station-broker")]
    station_brokers: Vec<String>,
}

/// Runs until Ctrl-C. Whether everything was as it should be.
///
/// # Errors
/// Without a key, a port or a sensible argument.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    match args.other {
        Some(Other::Console(args)) => console::run(args).await?,
        Some(Other::ReconcileBench { sales, differences, seed }) => {
            let report = bench::run(sales, differences, seed)?;
            println!("{report}");
            return Ok(report.is_perfect());
        }
        None => serve(args.server).await?,
    }
    Ok(true)
}

async fn serve(args: Server) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.data).with_context(|| format!("making {}", args.data.display()))?;
    let file = args.key.unwrap_or_else(|| args.data.join("platform.key"));
    let key = KeyPair::load_or_generate("platform-1", &file).with_context(|| format!("key {}", file.display()))?;
    let jwks = args.data.join("jwks.json");
    write_jwks(&jwks, &[&key]).with_context(|| format!("writing {}", jwks.display()))?;
    let stations = args.stations.iter().map(|text| station(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let ids: Vec<String> = stations.iter().map(|station| station.station_id.clone()).collect();
    let Some((host, port)) = args.broker.rsplit_once(':') else { bail!("--broker {} has no port", args.broker) };
    let port = port.parse().with_context(|| format!("--broker {}: \"{port}\" is no port", args.broker))?;
    let mut settings = Settings::new(key, stations).with_broker(host, port);
    settings.listen = args.listen;
    settings.allow_plaintext = args.allow_plaintext;
    settings.data = Some(args.data);
    settings.brokers_for_stations = args.station_brokers;
    if let Some(address) = &mut settings.broker {
        address.topic_prefix = args.topic_prefix;
    }
    let running = ReferencePlatform::start(settings).await?;
    println!(
        "pages: {}\nthe station's jwks-file: {}\nstaff token: {}",
        running.url(),
        jwks.display(),
        running.staff_token()
    );
    if args.enrol {
        for id in ids {
            println!("one-time code of {id}: {}", running.enrolment_code(&id).await?);
        }
    }
    let mut told = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tick.tick() => for link in running.nozzle_links().await? {
                if !told.contains(&link) {
                    println!("nozzle {} of {}: {}", link.1, link.0, link.2);
                    told.push(link);
                }
            },
            () = interrupted() => break,
        }
    }
    running.stop().await;
    Ok(())
}

/// `id` or `id@LAT,LON`.
fn station(text: &str) -> anyhow::Result<NewStation> {
    let (id, position) = match text.split_once('@') {
        None => (text, Position { lat_udeg: 22_543_096, lon_udeg: 114_057_865 }),
        Some((id, position)) => {
            let (lat, lon) = position.split_once(',').with_context(|| format!("{position} is not LAT,LON"))?;
            let degree =
                |text: &str| text.parse().with_context(|| format!("\"{text}\" is no count of millionths of a degree"));
            (id, Position { lat_udeg: degree(lat)?, lon_udeg: degree(lon)? })
        }
    };
    let station_id = forecourt::ids::StationId::new(id)?.as_str().to_owned();
    Ok(NewStation {
        name: [format!("加油站 {id}"), format!("Station {id}")],
        station_id,
        position,
        currency: "CNY".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_is_named_with_or_without_its_position() {
        assert_eq!(station("st-1@1,-2").expect("good").position, Position { lat_udeg: 1, lon_udeg: -2 });
        assert_eq!(station("st-1").expect("good").station_id, "st-1");
        for bad in ["st/1", "st-1@1", "st-1@a,b"] {
            assert!(station(bad).is_err(), "{bad}");
        }
    }
}
