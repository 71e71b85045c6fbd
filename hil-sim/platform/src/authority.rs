//! The authority that signs certificates of stations; its key and certificate are files of their own.

use forecourt::time::UtcTime;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A station's certificate is good for this long.
const VALID_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// The signing half of the authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate that was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The leaf.
    pub certificate_pem: String,
    /// SHA-256 over its DER, lower-case hex.
    pub fingerprint: String,
    /// Until when.
    pub not_after: UtcTime,
}

impl Authority {
    /// A new one, in memory alone.
    ///
    /// # Errors
    /// What the library says.
    pub fn generate() -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Reference platform stations");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2050, 1, 1);
        let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
        Ok(Self { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// What an earlier call left in the directory (`stations-ca.key`, `stations-ca.pem`), or a new one.
    ///
    /// # Errors
    /// What file is at fault and why.
    pub fn load_or_generate(directory: &Path) -> Result<Self, String> {
        let (key_file, pem_file) = (directory.join("stations-ca.key"), directory.join("stations-ca.pem"));
        let at = |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        if key_file.exists() {
            let key = std::fs::read_to_string(&key_file).map_err(|error| at(&key_file, &error))?;
            let pem = std::fs::read_to_string(&pem_file).map_err(|error| at(&pem_file, &error))?;
            let key = KeyPair::from_pem(&key).map_err(|error| at(&key_file, &error))?;
            let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| at(&pem_file, &error))?;
            return Ok(Self { issuer, pem });
        }
        let made = Self::generate()?;
        std::fs::write(&pem_file, &made.pem).map_err(|error| at(&pem_file, &error))?;
        let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key_file);
        let written = open.and_then(|mut file| file.write_all(made.issuer.key().serialize_pem().as_bytes()));
        written.map_err(|error| at(&key_file, &error))?;
        Ok(made)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a request (PKCS #10, PEM) for a client certificate. Whatever name it asks for, it gets the station's.
    ///
    /// # Errors
    /// What is wrong with the request; its own signature is checked.
    pub fn sign(&self, station_id: &str, csr_pem: &str, now: UtcTime) -> Result<Issued, String> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, station_id);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let not_after = now.plus_ms(VALID_DAYS * DAY_MS);
        let midnight_of = |(year, month, day)| date_time_ymd(year, month, day);
        params.not_before = midnight_of(date(now.plus_ms(-DAY_MS)));
        params.not_after = midnight_of(date(not_after));
        request.params = params;
        let certificate = request.signed_by(&self.issuer).map_err(|error| error.to_string())?;
        Ok(Issued {
            fingerprint: fingerprint(certificate.der()),
            certificate_pem: certificate.pem(),
            not_after: midnight(not_after),
        })
    }
}

/// SHA-256 over a certificate's DER, lower-case hex.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    crate::signature::hex(&Sha256::digest(der))
}

fn midnight(at: UtcTime) -> UtcTime {
    UtcTime::from_unix_ms(at.unix_ms().div_euclid(DAY_MS) * DAY_MS)
}

/// Year, month and day in UTC.
fn date(at: UtcTime) -> (i32, u8, u8) {
    let text = at.to_string();
    let part =
        |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u16>().ok()).unwrap_or(1);
    let small = |range| u8::try_from(part(range)).unwrap_or(1);
    (i32::from(part(0..4)), small(5..7), small(8..10))
}
