//! Where the broker is and how the connection is secured.

use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Largest packet read. Far above the contract's 64 KiB, so that what is larger is refused with an answer instead of breaking
/// the connection again and again.
const LARGEST_IN: usize = 4 * 1024 * 1024;
/// Largest packet written: a full message of records and its head.
const LARGEST_OUT: usize = 512 * 1024;
/// Packet ids in use at once. Twice what the link keeps in flight, so that ids never meet (rumqttc's "collision").
const PACKET_IDS: u16 = 128;

/// A broker's address: `mqtts://host[:port]` with TLS, `mqtt://host[:port]` without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerUrl {
    tls: bool,
    host: String,
    port: u16,
}

/// What is wrong with the settings of the link.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// No such address.
    #[error("\"{0}\" is no broker address: write mqtts://host or mqtts://host:8883")]
    Url(String),
    /// No broker at all.
    #[error("no broker is given: name at least one")]
    NoBroker,
    /// Plain TCP over a network.
    #[error("{0} is not encrypted: use mqtts://, or set allow-plaintext = true if the network itself is protected")]
    Plaintext(String),
    /// TLS without certificates.
    #[error("{0} needs TLS: give the broker's certificate authority and the station's certificate and key")]
    NoTls(String),
    /// A certificate or key cannot be used.
    #[error("the {what} cannot be used: {why}")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl FromStr for BrokerUrl {
    type Err = BadSettings;

    fn from_str(text: &str) -> Result<Self, BadSettings> {
        let bad = || BadSettings::Url(text.into());
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtts", rest)) => (true, rest),
            Some(("mqtt", rest)) => (false, rest),
            _ => return Err(bad()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // An IPv6 address stands in brackets, with colons inside.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (rest, if tls { 8883 } else { 1883 }),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || port == 0 || !host.chars().all(allowed) || (host.contains(':') && !is_bracketed) {
            return Err(bad());
        }
        Ok(Self { tls, host: host.into(), port })
    }
}

impl std::fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl BrokerUrl {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Whether the connection is neither encrypted nor within this machine; to be audited and shown.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.tls && !self.is_loopback()
    }
}

/// Certificates and key as PEM.
#[derive(Clone)]
pub struct TlsMaterial {
    /// Authorities that the broker's certificate is checked against.
    pub authorities: Vec<u8>,
    /// The station's certificate chain.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for TlsMaterial {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsMaterial").finish_non_exhaustive()
    }
}

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Brokers; the last good one is tried first.
    pub brokers: Vec<BrokerUrl>,
    /// Needed for `mqtts://`.
    pub tls: Option<TlsMaterial>,
    /// Allows `mqtt://` to another machine.
    pub allow_plaintext: bool,
    /// MQTT client id: the station id.
    pub client_id: String,
    /// Contract: 20 s. At least 1 s.
    pub keep_alive: Duration,
}

/// Settings that were checked, with the TLS configuration made of them.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) settings: LinkSettings,
    tls: Option<Arc<ClientConfig>>,
}

impl Checked {
    pub(super) fn new(settings: LinkSettings) -> Result<Self, BadSettings> {
        if settings.brokers.is_empty() {
            return Err(BadSettings::NoBroker);
        }
        for broker in &settings.brokers {
            if broker.is_exposed() && !settings.allow_plaintext {
                return Err(BadSettings::Plaintext(broker.to_string()));
            }
            if broker.tls && settings.tls.is_none() {
                return Err(BadSettings::NoTls(broker.to_string()));
            }
        }
        let tls = settings.tls.as_ref().map(client_config).transpose()?.map(Arc::new);
        Ok(Self { settings, tls })
    }

    pub(super) fn options(&self, broker: &BrokerUrl, clean_session: bool) -> MqttOptions {
        let mut options = MqttOptions::new(&self.settings.client_id, &broker.host, broker.port);
        options
            .set_keep_alive(self.settings.keep_alive.max(Duration::from_secs(1)))
            .set_clean_session(clean_session)
            .set_manual_acks(true)
            .set_inflight(PACKET_IDS)
            .set_max_packet_size(LARGEST_IN, LARGEST_OUT);
        if let Some(config) = self.tls.as_ref().filter(|_| broker.tls) {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(config))));
        }
        options
    }
}

impl LinkSettings {
    /// Checks the settings without connecting.
    ///
    /// # Errors
    /// [`BadSettings`] with the first problem.
    pub fn check(&self) -> Result<(), BadSettings> {
        Checked::new(self.clone()).map(|_| ())
    }
}

fn client_config(material: &TlsMaterial) -> Result<ClientConfig, BadSettings> {
    let bad = |what| move |why: String| BadSettings::Pem { what, why };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&material.authorities).map_err(bad("certificate authority"))? {
        roots.add(certificate).map_err(|why| bad("certificate authority")(why.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|why| bad("TLS configuration")(why.to_string()))?
        .with_root_certificates(roots);
    let chain = certificates(&material.certificate).map_err(bad("client certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|why| bad("client key")(why.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|why| bad("client certificate")(why.to_string()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|why| why.to_string())?;
    if found.is_empty() { Err("no certificate in the file: it must be PEM".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, allow_plaintext: bool) -> LinkSettings {
        LinkSettings {
            brokers: vec![url.parse().expect("an address")],
            tls: None,
            allow_plaintext,
            client_id: "st-1".into(),
            keep_alive: Duration::from_secs(20),
        }
    }

    #[test]
    fn addresses_are_read_with_their_default_ports() {
        for (text, shown) in [
            ("mqtts://broker.example", "mqtts://broker.example:8883"),
            ("mqtt://localhost", "mqtt://localhost:1883"),
            ("mqtt://[::1]:1900/", "mqtt://[::1]:1900"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().map(|url| url.to_string()).ok().as_deref(), Some(shown));
        }
        for text in ["broker", "http://x", "mqtt://", "mqtt://a:b", "mqtt://a:0", "mqtt://a b", "mqtt://::1"] {
            assert!(text.parse::<BrokerUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn plain_tcp_leaves_the_machine_only_when_allowed() {
        for url in ["mqtt://localhost", "mqtt://127.0.0.1:1", "mqtt://[::1]"] {
            assert!(settings(url, false).check().is_ok(), "{url}");
        }
        assert!(matches!(settings("mqtt://10.0.0.1", false).check(), Err(BadSettings::Plaintext(_))));
        assert!(settings("mqtt://10.0.0.1", true).check().is_ok());
        assert!(matches!(settings("mqtts://10.0.0.1", true).check(), Err(BadSettings::NoTls(_))));
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let mut wrong = settings("mqtts://broker.example", false);
        wrong.tls = Some(TlsMaterial { authorities: b"nothing".to_vec(), certificate: vec![], key: vec![] });
        assert!(matches!(wrong.check(), Err(BadSettings::Pem { what: "certificate authority", .. })));
    }
}
