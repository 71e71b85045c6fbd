//! Certificates against a Mosquitto that asks for them: swapped while connected, of the wrong authority, and over.

use super::common::{Authority, NOW, PAST, Years};
use super::*;

/// A Mosquitto that lets in who has a certificate of this authority, and writes down by which name.
fn broker_of(authority: &Authority) -> Option<Broker> {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().display().to_string();
    let server = authority.identity("broker", NOW);
    for (name, content) in [
        ("ca.pem", authority.pem()),
        ("broker.pem", server.certificate),
        ("broker.key", server.key),
        ("log", String::new()),
    ] {
        std::fs::write(directory.path().join(name), content).expect("writes");
    }
    let tls = format!(
        "cafile {at}/ca.pem\ncertfile {at}/broker.pem\nkeyfile {at}/broker.key\nrequire_certificate true\n\
         use_identity_as_username true\nlog_dest file {at}/log\nlog_type notice\nuser root\n"
    );
    Broker::start_with(directory, &tls)
}

fn material(trusted: &Authority, signer: &Authority, name: &str, years: Years) -> TlsMaterial {
    let identity = signer.identity(name, years);
    TlsMaterial {
        authorities: trusted.pem().into_bytes(),
        certificate: identity.certificate.into_bytes(),
        key: identity.key.into_bytes(),
    }
}

impl Station {
    /// Waits until the link says this of what keeps it from connecting; the broker may not listen yet at the first attempt.
    async fn told(&mut self, part: &str) {
        let said = |status: &Status| status.why_down.as_ref().is_some_and(|why| why.contains(part));
        let waited = tokio::time::timeout(PATIENCE, self.status.wait_for(said)).await.map(|told| told.is_ok());
        assert_eq!(waited, Ok(true), "{part:?} in {:?}", self.status.borrow().why_down);
    }
}

/// Waits until the broker has let somebody in by this name.
async fn let_in(broker: &Broker, name: &str) {
    let waited = async {
        let told = format!("u'{name}'");
        while !String::from_utf8_lossy(&broker.file("log")).contains(&told) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("the broker lets it in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_used_without_a_restart() {
    let authority = Authority::new("ca");
    let Some(broker) = broker_of(&authority) else { return };
    let mut station = Station::begin(broker.port, Some(material(&authority, &authority, "first", NOW)), None);
    station.connected().await;
    let_in(&broker, "first").await;
    let seen = station.status.borrow().broker_certificate.clone().expect("seen");
    assert_eq!(seen.subject, "CN=broker");
    let second = material(&authority, &authority, "second", NOW);
    station.told.send(Told::Certificates(Box::new(second))).await.expect("the link runs");
    let_in(&broker, "second").await;
    station.connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_that_no_broker_takes_leaves_the_old_in_use() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let Some(broker) = broker_of(&authority) else { return };
    let mut station = Station::begin(broker.port, Some(material(&authority, &authority, "first", NOW)), None);
    station.connected().await;
    for wrong in [material(&authority, &stranger, "second", NOW), material(&stranger, &authority, "third", NOW)] {
        station.told.send(Told::Certificates(Box::new(wrong))).await.expect("the link runs");
        let notice =
            tokio::time::timeout(PATIENCE, station.notices.recv()).await.expect("in time").expect("the link runs");
        assert!(matches!(&notice, Notice::CertificateRefused(why) if why.contains("authority")), "{notice:?}");
        station.connected().await;
    }
    let log = String::from_utf8_lossy(&broker.file("log")).into_owned();
    assert!(!log.contains("u'second'") && !log.contains("u'third'"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_certificate_is_told_in_words() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let Some(broker) = broker_of(&authority) else { return };
    for (given, part) in [
        (material(&authority, &authority, "over", PAST), "the station's certificate has expired: edgectl enrol"),
        (material(&authority, &stranger, "strange", NOW), "does not know the authority of the station's certificate"),
        (material(&stranger, &authority, "trusting", NOW), "put the right certificate authority there"),
    ] {
        let mut station = Station::begin(broker.port, Some(given), None);
        station.told(part).await;
        station.link.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_certificate_is_over_is_not_talked_to() {
    let authority = Authority::new("ca");
    let Some(mut broker) = broker_of(&authority) else { return };
    let old = authority.identity("broker", PAST);
    std::fs::write(broker.directory.path().join("broker.pem"), old.certificate).expect("writes");
    std::fs::write(broker.directory.path().join("broker.key"), old.key).expect("writes");
    broker.kill();
    broker.restart();
    let mut station = Station::begin(broker.port, Some(material(&authority, &authority, "first", NOW)), None);
    station.told("its certificate has expired").await;
}
