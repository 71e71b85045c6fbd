//! `edgectl enrol`: a certificate for the station.

use crate::config::{self, Config, Files};
use crate::ctl::{DEFAULT_CONFIG, Failure, exit};
use crate::daemon::certificates;
use crate::daemon::clock;
use crate::enrol::files::{Contents, Places};
use crate::enrol::{EnrolFault, Received, Wanted, ask};
use clap::Args;
use cloud_sync::https::{HttpUrl, Poster};
use cloud_sync::tls::{self, BadTls, TlsMaterial};
use forecourt::ids::StationId;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

/// Where the system keeps the authorities that it trusts.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// In the data directory, which the daemon may write: it renews what is there.
const SUBDIRECTORY: &str = "credentials";
/// The data directory, unless a configuration names another.
const DEFAULT_DATA: &str = "/var/lib/forecourt-edge";

#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Base address of the platform [default: https-url of the configuration]
    #[arg(long)]
    url: Option<HttpUrl>,
    /// The station's id at the platform [default: of the configuration]
    #[arg(long, value_name = "ID")]
    station: Option<String>,
    /// The one-time code from the platform; - reads it from standard input
    #[arg(long, required_unless_present = "renew", conflicts_with = "renew")]
    code: Option<String>,
    /// Renew: the present certificate vouches for the station, no code is needed
    #[arg(long)]
    renew: bool,
    /// Authorities of the platform's certificate, PEM [default: those of the system; to renew, those of the configuration]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The configuration that names the places of the files [default: /etc/forecourt-edge/edge.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Put the files there instead, as station.pem, station.key, ca.pem and jwks.json
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Plain HTTP to another machine than this one
    #[arg(long)]
    allow_plaintext: bool,
}

/// The files that a configuration names need not be there yet.
struct NotYet;

impl Files for NotYet {
    fn trouble_with(&self, _: &Path) -> Option<String> {
        None
    }

    fn is_open_to_all(&self, _: &Path) -> bool {
        false
    }

    fn text_of(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|why| why.to_string())
    }
}

fn configuration(asked: &Asked) -> Result<Option<Config>, Failure> {
    let path = asked.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    if asked.config.is_none() && !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|why| Failure::new(exit::NO_INPUT, format!("{}: {why}", path.display())))?;
    match config::parse(&text, &NotYet) {
        Ok((config, _)) => Ok(Some(config)),
        Err(problems) => {
            let listed: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
            Err(Failure::new(exit::CONFIG, listed.join("\n")))
        }
    }
}

fn usage(text: &str) -> Failure {
    Failure::new(exit::USAGE, text.into())
}

pub(super) fn run(asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    let config = configuration(asked)?;
    let cloud = config.as_ref().and_then(|config| config.cloud.as_ref());
    let https = cloud.and_then(|cloud| cloud.https.as_ref());
    let url = asked.url.clone().or_else(|| https.map(|https| https.url.clone()));
    let url = url.ok_or_else(|| usage("name the platform's address: --url https://HOST/"))?;
    let plaintext = asked.allow_plaintext || cloud.is_some_and(|cloud| cloud.allow_plaintext);
    url.check(plaintext).map_err(|why| usage(&why.to_string()))?;
    let named = config.as_ref().map(|config| config.station.id.clone());
    let station = match (&asked.station, named) {
        (Some(text), named) => {
            let station = StationId::new(text).map_err(|why| usage(&format!("--station {text}: {why}")))?;
            if let Some(named) = named.filter(|named| *named != station) {
                return Err(usage(&format!("the configuration is that of {named}, not of {station}")));
            }
            station
        }
        (None, Some(named)) => named,
        (None, None) => return Err(usage("name the station: --station ID")),
    };
    let data = config.as_ref().map_or(Path::new(DEFAULT_DATA), |config| &config.station.data_directory);
    let places = match &asked.directory {
        Some(directory) => Places::in_directory(directory),
        None => cloud.and_then(certificates::places).unwrap_or_else(|| Places::in_directory(&data.join(SUBDIRECTORY))),
    };
    let put = |fault: crate::enrol::files::FileFault| Failure::new(exit::IO, fault.to_string());
    places.finish().map_err(put)?;
    let code = match asked.code.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Some(text.trim().to_owned())
        }
        code => code.map(str::to_owned),
    };
    let present = if asked.renew { Some(present(&places)?) } else { None };
    let trusted = asked.ca.clone().or_else(|| {
        let configured = https.and_then(|https| https.ca_file.clone());
        if asked.renew { configured.or_else(|| Some(places.authorities.clone())) } else { configured }
    });
    let poster = poster(&url, trusted.as_deref(), present.as_ref())?;
    let received = received(&poster, Wanted { url: &url, station: &station, code: code.as_deref() })?;
    places
        .install(Contents {
            certificate: &received.material.certificate,
            key: &received.material.key,
            authorities: &received.material.authorities,
            jwks: &received.jwks,
        })
        .map_err(put)?;
    report(&station, &url, &places, &received, out)?;
    Ok(())
}

fn present(places: &Places) -> Result<TlsMaterial, Failure> {
    let material = certificates::read(places).map_err(|why| {
        Failure::new(exit::NO_INPUT, format!("{why:#}; without a certificate, enrol with a code from the platform"))
    })?;
    match material.check(clock::utc()) {
        Ok(_) => Ok(material),
        Err(why @ BadTls::Expired { .. }) => {
            Err(Failure::new(exit::UNAVAILABLE, format!("{why}; it cannot be renewed any more, enrol with a code")))
        }
        Err(why) => Err(Failure::new(exit::UNAVAILABLE, why.to_string())),
    }
}

fn poster(url: &HttpUrl, trusted: Option<&Path>, present: Option<&TlsMaterial>) -> Result<Poster, Failure> {
    let config = if url.is_secure() {
        let path = trusted.unwrap_or(Path::new(SYSTEM_CA));
        let authorities = std::fs::read(path).map_err(|why| {
            let text = format!("{}: {why}; name the authority of the platform's certificate with --ca", path.display());
            Failure::new(exit::NO_INPUT, text)
        })?;
        let config = match present {
            Some(present) => tls::client_config(&TlsMaterial { authorities, ..present.clone() }, None),
            None => tls::anonymous_config(&authorities),
        };
        let wrong = |why: BadTls| Failure::new(exit::CONFIG, format!("{}: {why}", path.display()));
        Some(config.map_err(wrong)?)
    } else {
        None
    };
    Poster::new(config.as_ref()).map_err(|why| Failure::new(exit::UNAVAILABLE, why.to_string()))
}

fn received(poster: &Poster, wanted: Wanted<'_>) -> Result<Received, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(poster, wanted, clock::utc())).map_err(|fault| {
        let code = match fault {
            EnrolFault::Request(_) => exit::IO,
            EnrolFault::Unreachable { .. } | EnrolFault::Refused { .. } | EnrolFault::Answer(_) => exit::UNAVAILABLE,
        };
        Failure::new(code, fault.to_string())
    })
}

fn report(
    station: &StationId,
    url: &HttpUrl,
    places: &Places,
    received: &Received,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let quoted: Vec<String> = received.brokers.iter().map(|broker| format!("\"{broker}\"")).collect();
    writeln!(out, "# {station} has its certificate, valid until {}. For the configuration:", received.not_after)?;
    writeln!(out, "[cloud]")?;
    writeln!(out, "brokers = [{}]", quoted.join(", "))?;
    for (key, path) in [
        ("jwks-file", &places.jwks),
        ("ca-file", &places.authorities),
        ("cert-file", &places.certificate),
        ("key-file", &places.key),
    ] {
        writeln!(out, "{key} = \"{}\"", path.display())?;
    }
    writeln!(out, "https-url = \"{url}\"")?;
    Ok(())
}
