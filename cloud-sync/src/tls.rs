//! Certificates and keys: what they say, what TLS makes of them, and what a person should do when it fails.
//!
//! One way for both roads: the MQTT link and HTTPS trust the same authorities and show the same certificate.

use forecourt::time::UtcTime;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    SignatureScheme,
};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::watch;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Certificates and key as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    /// Authorities that the other side's certificate is checked against.
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

/// A certificate or key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTls {
    /// Not what it should be.
    #[error("the {what} cannot be used: {why}")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Its time is over.
    #[error(
        "the {what} ({subject}) expired at {at}: get a new one (edgectl enrol --renew, or with a code from the platform)"
    )]
    Expired {
        /// Which.
        what: &'static str,
        /// Whose.
        subject: String,
        /// Its last moment.
        at: UtcTime,
    },
    /// Its time has not come.
    #[error(
        "the {what} ({subject}) is valid only from {from} on and this machine's clock says {now}: set the clock, or wait"
    )]
    NotYetValid {
        /// Which.
        what: &'static str,
        /// Whose.
        subject: String,
        /// Its first moment.
        from: UtcTime,
        /// Our clock.
        now: UtcTime,
    },
}

/// What a certificate says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// Its subject, as people write it.
    pub subject: String,
    /// The subject's common names, and the DNS names and URIs that it stands for.
    pub names: Vec<String>,
    /// First moment of its validity.
    pub not_before: UtcTime,
    /// Last moment.
    pub not_after: UtcTime,
    /// The public key, as `SubjectPublicKeyInfo` (DER).
    pub public_key: Vec<u8>,
}

impl CertificateFacts {
    /// Reads a certificate (RFC 5280).
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|why| format!("it is no certificate: {why}"))?;
        let moment = |seconds: i64| UtcTime::from_unix_ms(seconds.saturating_mul(1_000));
        let subject = certificate.subject();
        let mut names: Vec<String> =
            subject.iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect();
        if let Ok(Some(other)) = certificate.subject_alternative_name() {
            names.extend(other.value.general_names.iter().filter_map(|name| match name {
                x509_parser::prelude::GeneralName::DNSName(name) | x509_parser::prelude::GeneralName::URI(name) => {
                    Some((*name).to_owned())
                }
                _ => None,
            }));
        }
        Ok(Self {
            subject: subject.to_string(),
            names,
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Reads every certificate of a PEM file.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read_pem(pem: &[u8]) -> Result<Vec<Self>, String> {
        certificates(pem)?.iter().map(|certificate| Self::read(certificate)).collect()
    }

    /// Whether it is in force.
    ///
    /// # Errors
    /// [`BadTls::Expired`] or [`BadTls::NotYetValid`], with `what` it is.
    pub fn check(&self, what: &'static str, now: UtcTime) -> Result<(), BadTls> {
        let subject = || self.subject.clone();
        if now > self.not_after {
            Err(BadTls::Expired { what, subject: subject(), at: self.not_after })
        } else if now < self.not_before {
            Err(BadTls::NotYetValid { what, subject: subject(), from: self.not_before, now })
        } else {
            Ok(())
        }
    }

    /// Whether it was given to this station: one of its names is the id, or a URI that ends in `/stations/` and the id.
    #[must_use]
    pub fn is_for(&self, station: &str) -> bool {
        let of_station = |name: &str| name.rsplit_once("/stations/").is_some_and(|(_, id)| id == station);
        self.names.iter().any(|name| name == station || of_station(name))
    }
}

/// The dates of all that a station shows and trusts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaterialFacts {
    /// The station's own certificate.
    pub station: CertificateFacts,
    /// The authorities.
    pub authorities: Vec<CertificateFacts>,
}

impl TlsMaterial {
    /// Checks that the files hold what they should and that the key is that of the certificate. Dates are not judged.
    ///
    /// # Errors
    /// [`BadTls`]
    pub fn facts(&self) -> Result<MaterialFacts, BadTls> {
        client_config(self, None)?;
        let read = |what, pem: &[u8]| CertificateFacts::read_pem(pem).map_err(|why| BadTls::Pem { what, why });
        let station = read("client certificate", &self.certificate)?;
        let authorities = read("certificate authority", &self.authorities)?;
        // A chain begins with the certificate itself (RFC 8446, section 4.4.2).
        let station = station
            .into_iter()
            .next()
            .ok_or_else(|| BadTls::Pem { what: "client certificate", why: "no certificate in the file".into() })?;
        Ok(MaterialFacts { station, authorities })
    }

    /// The same, and the station's certificate is in force, and one authority at least.
    ///
    /// # Errors
    /// [`BadTls`]
    pub fn check(&self, now: UtcTime) -> Result<MaterialFacts, BadTls> {
        let facts = self.facts()?;
        facts.station.check("client certificate", now)?;
        let outcomes: Vec<_> =
            facts.authorities.iter().map(|authority| authority.check("certificate authority", now)).collect();
        if !outcomes.iter().any(Result::is_ok) {
            outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
        }
        Ok(facts)
    }
}

/// Notes the certificate of the other side, once it was found good.
#[derive(Debug, Clone)]
pub struct Seen(watch::Sender<Option<CertificateFacts>>);

impl Seen {
    /// Nothing seen yet; what is seen comes out of the second.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Option<CertificateFacts>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }
}

/// TLS 1.2 or 1.3 with the station's certificate; the other side is checked against the given authorities alone.
///
/// # Errors
/// [`BadTls`]
pub fn client_config(material: &TlsMaterial, seen: Option<Seen>) -> Result<ClientConfig, BadTls> {
    let chain = certificates(&material.certificate).map_err(bad("client certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|why| bad("client key")(why.to_string()))?;
    let builder = builder(&material.authorities, seen)?;
    builder.with_client_auth_cert(chain, key).map_err(|why| {
        let why = match why {
            rustls::Error::InconsistentKeys(_) => "the key does not belong to it".to_owned(),
            other => other.to_string(),
        };
        bad("client certificate")(why)
    })
}

/// The same without a certificate of our own.
///
/// # Errors
/// [`BadTls`]
pub fn anonymous_config(authorities: &[u8]) -> Result<ClientConfig, BadTls> {
    Ok(builder(authorities, None)?.with_no_client_auth())
}

/// A configuration that trusts nobody, for plain HTTP.
#[must_use]
pub(crate) fn no_tls() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring provides TLS 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn bad(what: &'static str) -> impl Fn(String) -> BadTls {
    move |why| BadTls::Pem { what, why }
}

type WantsCertificate = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(authorities: &[u8], seen: Option<Seen>) -> Result<WantsCertificate, BadTls> {
    const WHAT: &str = "certificate authority";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities).map_err(bad(WHAT))? {
        roots.add(certificate).map_err(|why| bad(WHAT)(why.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|why| bad("TLS configuration")(why.to_string()))?;
    let Some(seen) = seen else { return Ok(builder.with_root_certificates(roots)) };
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|why| bad(WHAT)(why.to_string()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Witness { inner, seen })))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|why| why.to_string())?;
    if found.is_empty() { Err("no certificate in the file: it must be PEM".into()) } else { Ok(found) }
}

/// Rustls' own verifier, word for word, and a note of what it found good.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    seen: Seen,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        if let Ok(facts) = CertificateFacts::read(end_entity) {
            self.seen.0.send_replace(Some(facts));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

/// What is wrong and what to do about it, where TLS failed for a reason that a person can mend.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return advice(found);
        }
        // An I/O error hides its content from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn advice(error: &rustls::Error) -> Option<String> {
    let text = match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: it must get a new one; if it has one, check this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet by this machine's clock: set the clock (NTP)"
            }
            CertificateError::UnknownIssuer => {
                "its certificate is by an authority that is not in ca-file: put the right certificate authority there"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name: write the host as its certificate names it"
            }
            _ => return None,
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => {
                "it says that the station's certificate has expired: edgectl enrol gets a new one"
            }
            AlertDescription::CertificateRequired => "it asks for a client certificate: set cert-file and key-file",
            AlertDescription::UnknownCA => {
                "it does not know the authority of the station's certificate: edgectl enrol gets one that it knows"
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                "it does not accept the station's certificate: ask the platform, then edgectl enrol"
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
#[path = "tls/tests.rs"]
mod tests;
