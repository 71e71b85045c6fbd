//! One call to the platform: `POST {base}fuel/v1/enrol`.

use cloud_sync::https::{HttpUrl, PostFault, Poster};
use cloud_sync::mqtt::BrokerUrl;
use cloud_sync::tls::{BadTls, CertificateFacts, TlsMaterial};
use cloud_sync::wire::jws::{BadKeySet, KeySet};
use forecourt::ids::StationId;
use forecourt::time::UtcTime;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The platform's base address.
    pub url: &'a HttpUrl,
    /// For whom.
    pub station: &'a StationId,
    /// The one-time code; without it the call is authenticated by the present certificate, and is a renewal.
    pub code: Option<&'a str>,
}

/// What came back, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Certificate chain, authorities and the new key.
    pub material: TlsMaterial,
    /// The platform's public keys, as JSON.
    pub jwks: Vec<u8>,
    /// Where to connect to.
    pub brokers: Vec<String>,
    /// Last moment of the certificate.
    pub not_after: UtcTime,
}

/// There is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolFault {
    /// No key or request could be made.
    #[error("no signing request could be made: {0}")]
    Request(#[from] rcgen::Error),
    /// The platform cannot be reached.
    #[error("{url}: {why}; check the address, the network and --ca")]
    Unreachable {
        /// Where.
        url: HttpUrl,
        /// Why.
        why: String,
    },
    /// It says no.
    #[error("{url}: {said}; {advice}")]
    Refused {
        /// Where.
        url: HttpUrl,
        /// Its words.
        said: String,
        /// What to do.
        advice: &'static str,
    },
    /// What came back is not as agreed. Nothing was changed here.
    #[error("the platform's answer is not used: {0}; nothing was changed here, tell whoever runs the platform")]
    Answer(String),
}

#[derive(Serialize)]
struct Body<'a> {
    station_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    csr_pem: String,
}

#[derive(Deserialize)]
struct Answer {
    certificate_pem: String,
    ca_pem: String,
    jwks: serde_json::Value,
    brokers: Vec<String>,
    not_after: String,
}

/// Makes a key, asks for a certificate and checks what comes back: it is for this key and this station, in force, and all that comes
/// with it can be used.
///
/// # Errors
/// [`EnrolFault`]
pub async fn ask(poster: &Poster, wanted: Wanted<'_>, now: UtcTime) -> Result<Received, EnrolFault> {
    let Wanted { url, station, code } = wanted;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, station.as_str());
    let csr_pem = params.serialize_request(&key)?.pem()?;
    let body = serde_json::to_vec(&Body { station_id: station.as_str(), code, csr_pem })
        .map_err(|why| EnrolFault::Answer(why.to_string()))?;
    let place = url.below("fuel/v1/enrol");
    let answer = poster.post(&place, "application/json", body, None).await.map_err(|fault| match fault {
        PostFault::Refused { status, said } => {
            let advice = advice(status, code.is_some());
            EnrolFault::Refused { url: place.clone(), said: format!("HTTP {status}: {said}"), advice }
        }
        other => EnrolFault::Unreachable { url: place.clone(), why: other.to_string() },
    })?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|why| EnrolFault::Answer(why.to_string()))?;
    check(answer, &key, station, now).map_err(EnrolFault::Answer)
}

const fn advice(status: u16, with_code: bool) -> &'static str {
    match status {
        401 | 403 if with_code => {
            "ask the platform for a new code; after five wrong ones it waits 15 minutes before it takes any"
        }
        401 | 403 => "the present certificate is not accepted: enrol anew with a code from the platform",
        404 => "check the station's id and the address; the platform must know the station first",
        422 => "the platform does not take this kind of request: tell whoever runs it, and this program's version",
        429 | 500..=599 => "the platform has trouble: try again later",
        _ => "check the address",
    }
}

fn check(answer: Answer, key: &KeyPair, station: &StationId, now: UtcTime) -> Result<Received, String> {
    let material = TlsMaterial {
        authorities: answer.ca_pem.into_bytes(),
        certificate: answer.certificate_pem.into_bytes(),
        key: key.serialize_pem().into_bytes(),
    };
    let chain = CertificateFacts::read_pem(&material.certificate)?;
    if chain.first().is_none_or(|leaf| leaf.public_key != key.subject_public_key_info()) {
        return Err("the certificate is for another key than the one that was made here".into());
    }
    let facts = material.check(now).map_err(|why: BadTls| why.to_string())?;
    if !facts.station.is_for(station.as_str()) {
        return Err(format!("the certificate is for {}, not for {station}", facts.station.subject));
    }
    let not_after = UtcTime::parse(&answer.not_after).map_err(|_| "its \"not_after\" is no time".to_owned())?;
    if not_after.unix_ms() / 1_000 != facts.station.not_after.unix_ms() / 1_000 {
        return Err(format!("it says {not_after}, the certificate says {}", facts.station.not_after));
    }
    let jwks = answer.jwks.to_string().into_bytes();
    KeySet::from_jwks(&jwks).map_err(|why: BadKeySet| why.to_string())?;
    if answer.brokers.is_empty() {
        return Err("it names no broker".into());
    }
    for broker in &answer.brokers {
        broker.parse::<BrokerUrl>().map_err(|why| why.to_string())?;
    }
    Ok(Received { material, jwks, brokers: answer.brokers, not_after })
}
