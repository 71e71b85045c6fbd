//! Enrolment: a station gets its certificate against a one-time code, and renews it with the one it has.

use super::{Act, Books, Trouble};
use crate::authority::Issued;
use crate::refusal::Refusal;
use forecourt::time::UtcTime;
use rusqlite::params;

const WRONG_CODES: i64 = 5;
const LOCKED_MS: i64 = 15 * 60_000;

/// How a station shows who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof<'a> {
    /// The one-time code.
    Code(&'a str),
    /// The fingerprint of the certificate its connection was made with.
    Certificate(&'a str),
}

/// An enrolment that went through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// The leaf, PEM.
    pub certificate_pem: String,
    /// Its authority, PEM.
    pub ca_pem: String,
    /// Until when.
    pub not_after: UtcTime,
}

impl Books {
    /// Signs a station's request. A wrong code is counted although nothing else is kept.
    ///
    /// # Errors
    /// `bad_code` (wrong, used, or five wrong ones locked it for 15 minutes), `bad_certificate`, `bad_request_csr`, `unknown_station`.
    pub fn enrol(
        &mut self,
        station_id: &str,
        proof: Proof<'_>,
        csr_pem: &str,
        now: UtcTime,
    ) -> Result<Enrolled, Trouble> {
        self.act(now, |act| act.enrol(station_id, proof, csr_pem))?
    }
}

impl Act<'_> {
    /// A new one-time code for a station; an older one ends.
    ///
    /// # Errors
    /// `unknown_station`.
    pub fn new_enrolment_code(&mut self, station_id: &str) -> Result<String, Trouble> {
        self.station_position(station_id)?;
        let mut noise = [0; 10];
        getrandom::fill(&mut noise).map_err(|error| Trouble::Keys(format!("no random numbers: {error}")))?;
        let code = crate::signature::hex(&noise);
        let mac = self.secrets.hiding.sign(&["enrol", station_id, &code]);
        let sql =
            "INSERT INTO enrolment (station_id, code_mac) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET code_mac = ?2";
        self.run(sql, params![station_id, mac])?;
        Ok(code)
    }

    /// The inner refusal is one that leaves a trace.
    fn enrol(
        &mut self,
        station_id: &str,
        proof: Proof<'_>,
        csr_pem: &str,
    ) -> Result<Result<Enrolled, Trouble>, Trouble> {
        self.station_position(station_id)?;
        match proof {
            Proof::Code(code) => {
                if let Err(refusal) = self.take_code(station_id, code)? {
                    return Ok(Err(refusal.into()));
                }
            }
            Proof::Certificate(fingerprint) => {
                let owner = self.certificate_owner(fingerprint)?;
                if owner.as_deref() != Some(station_id) {
                    return Err(Refusal::new("bad_certificate", format!("it is not that of {station_id}")).into());
                }
            }
        }
        let issued = self.secrets.authority.sign(station_id, csr_pem, self.now);
        // A bad request leaves the code unused.
        let Issued { certificate_pem, fingerprint, not_after } =
            issued.map_err(|error| Refusal::new("bad_request_csr", error))?;
        let sql = "INSERT INTO certificate VALUES (?1, ?2, ?3)";
        self.run(sql, params![fingerprint, station_id, not_after.unix_ms()])?;
        Ok(Ok(Enrolled { certificate_pem, ca_pem: self.secrets.authority.pem().into(), not_after }))
    }

    /// Uses a code up, or counts a wrong one.
    fn take_code(&self, station_id: &str, code: &str) -> Result<Result<(), Refusal>, Trouble> {
        let sql = "SELECT code_mac, locked_until_ms, wrong FROM enrolment WHERE station_id = ?1";
        let known = self.row(sql, [station_id], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?;
        let (mac, locked_until, wrong) = known.unwrap_or((None, 0, 0));
        if locked_until > self.now_ms() {
            return Ok(Err(Refusal::new("bad_code", "five wrong codes: enrolment is locked for 15 minutes")));
        }
        let right = mac.is_some_and(|mac| mac == self.secrets.hiding.sign(&["enrol", station_id, code]));
        let (wrong, locked) = match right {
            true => (0, 0),
            false if wrong + 1 >= WRONG_CODES => (0, self.now_ms() + LOCKED_MS),
            false => (wrong + 1, 0),
        };
        let sql = "INSERT INTO enrolment (station_id, wrong, locked_until_ms) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET wrong = ?2, locked_until_ms = ?3, code_mac = CASE WHEN ?4 THEN NULL ELSE code_mac END";
        self.run(sql, params![station_id, wrong, locked, right])?;
        Ok(if right { Ok(()) } else { Err(Refusal::new("bad_code", "the code is wrong or was used")) })
    }

    /// Whose certificate this is, while it is good.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn certificate_owner(&self, fingerprint: &str) -> Result<Option<String>, Trouble> {
        let sql = "SELECT station_id FROM certificate WHERE fingerprint = ?1 AND not_after_ms > ?2";
        self.row(sql, params![fingerprint, self.now_ms()], |row| row.get(0))
    }
}
