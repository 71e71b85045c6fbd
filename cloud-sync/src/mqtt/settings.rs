//! Where the broker is and how the connection is secured.

use crate::tls::{self, BadTls, Seen, TlsMaterial};
use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use rustls::ClientConfig;
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
    #[error("{0}")]
    Tls(#[from] BadTls),
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

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Brokers; the last good one is tried first.
    pub brokers: Vec<BrokerUrl>,
    /// The last good one of an earlier run.
    pub last_good: Option<BrokerUrl>,
    /// Needed for `mqtts://`.
    pub tls: Option<TlsMaterial>,
    /// Allows `mqtt://` to another machine.
    pub allow_plaintext: bool,
    /// MQTT client id: the station id.
    pub client_id: String,
    /// Contract: 20 s. At least 1 s.
    pub keep_alive: Duration,
}

/// What is shown to brokers; `None` where none is reached over TLS.
pub(super) type Shown = Option<Arc<ClientConfig>>;

impl LinkSettings {
    /// What rumqttc is told for one connection.
    pub(super) fn options(&self, broker: &BrokerUrl, clean_session: bool, tls: &Shown) -> MqttOptions {
        let mut options = MqttOptions::new(&self.client_id, &broker.host, broker.port);
        options
            .set_keep_alive(self.keep_alive.max(Duration::from_secs(1)))
            .set_clean_session(clean_session)
            .set_manual_acks(true)
            .set_inflight(PACKET_IDS)
            .set_max_packet_size(LARGEST_IN, LARGEST_OUT);
        if let Some(config) = tls.as_ref().filter(|_| broker.tls) {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(config))));
        }
        options
    }

    /// Index of the broker to begin with.
    pub(super) fn first(&self) -> usize {
        let last_good = self.last_good.as_ref();
        last_good.and_then(|last| self.brokers.iter().position(|broker| broker == last)).unwrap_or(0)
    }

    /// Checks the settings without connecting.
    ///
    /// # Errors
    /// [`BadSettings`] with the first problem.
    pub fn check(&self) -> Result<(), BadSettings> {
        self.check_and_show(None).map(|_| ())
    }

    /// Checks the settings and makes the TLS configuration.
    pub(super) fn check_and_show(&self, seen: Option<Seen>) -> Result<Shown, BadSettings> {
        if self.brokers.is_empty() {
            return Err(BadSettings::NoBroker);
        }
        for broker in &self.brokers {
            if broker.is_exposed() && !self.allow_plaintext {
                return Err(BadSettings::Plaintext(broker.to_string()));
            }
            if broker.tls && self.tls.is_none() {
                return Err(BadSettings::NoTls(broker.to_string()));
            }
        }
        Ok(self.tls.as_ref().map(|material| tls::client_config(material, seen)).transpose()?.map(Arc::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, allow_plaintext: bool) -> LinkSettings {
        LinkSettings {
            brokers: vec![url.parse().expect("an address")],
            last_good: None,
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
        assert!(matches!(wrong.check(), Err(BadSettings::Tls(BadTls::Pem { what: "client certificate", .. }))));
    }
}
