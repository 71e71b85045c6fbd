//! Certificates made on the spot, in every state that they can be in.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// From one day before `now` on, as `now` is when tests run; rustls is not asked here.
fn now() -> UtcTime {
    UtcTime::parse("2026-11-21T08:30:00Z").expect("a time")
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs"))
    }

    fn material(&self, name: &str, from: (i32, u8, u8), to: (i32, u8, u8)) -> TlsMaterial {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("urn:fuel/stations/{name}").as_str().try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        TlsMaterial {
            authorities: self.0.pem().into_bytes(),
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }
}

#[test]
fn what_a_certificate_says_is_read() {
    let material = Authority::new("ca").material("ST-1", (2026, 11, 1), (2026, 12, 1));
    let facts = material.check(now()).expect("good").station;
    assert_eq!(facts.subject, "CN=ST-1");
    assert_eq!(facts.not_before.to_string(), "2026-11-01T00:00:00.000Z");
    assert_eq!(facts.not_after.to_string(), "2026-12-01T00:00:00.000Z");
    assert!(facts.is_for("ST-1") && !facts.is_for("ST-10") && !facts.is_for("T-1"));
    let key = KeyPair::from_pem(std::str::from_utf8(&material.key).expect("PEM")).expect("a key");
    assert_eq!(facts.public_key, rcgen::PublicKeyData::subject_public_key_info(&key));
}

#[test]
fn dates_are_judged_with_words_that_say_what_to_do() {
    let authority = Authority::new("ca");
    let late = authority.material("ST-1", (2026, 1, 1), (2026, 11, 21)).check(now()).expect_err("over");
    assert!(late.to_string().contains("expired at 2026-11-21") && late.to_string().contains("edgectl enrol"), "{late}");
    let early = authority.material("ST-1", (2026, 11, 22), (2026, 12, 1)).check(now()).expect_err("to come");
    assert!(early.to_string().contains("set the clock"), "{early}");
    // What a start uses all the same: the alarm tells, and the broker may be kinder.
    assert!(authority.material("ST-1", (2026, 1, 1), (2026, 11, 21)).facts().is_ok());
}

#[test]
fn a_key_of_another_certificate_and_empty_files_are_refused() {
    let authority = Authority::new("ca");
    let good = authority.material("ST-1", (2026, 11, 1), (2026, 12, 1));
    let other = authority.material("ST-1", (2026, 11, 1), (2026, 12, 1));
    let mixed = TlsMaterial { key: other.key, ..good.clone() };
    assert!(mixed.facts().expect_err("mixed").to_string().contains("does not belong"), "{:?}", mixed.facts());
    for (what, wrong) in [
        ("client certificate", TlsMaterial { certificate: Vec::new(), ..good.clone() }),
        ("client key", TlsMaterial { key: b"half a ke".to_vec(), ..good.clone() }),
        ("certificate authority", TlsMaterial { authorities: good.key.clone(), ..good.clone() }),
    ] {
        assert!(matches!(wrong.facts(), Err(BadTls::Pem { what: named, .. }) if named == what), "{:?}", wrong.facts());
    }
}
