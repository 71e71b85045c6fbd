//! Drivers: log-in, vehicles, and who invited whom. Shows: the data that is kept is the least that serves (no telephone number, no
//! full plate, no position), and an invitation binds only within 3 km of the station.

use super::{Act, Trouble};
use crate::distance::Position;
use crate::refusal::Refusal;
use rusqlite::params;
use serde_json::{Value, json};

/// An invitation binds within this distance of the station.
const BINDING_RADIUS_M: u32 = 3_000;
/// A month, so that a driver who comes back pays with two taps.
pub const SESSION_MS: i64 = 30 * 86_400_000;
/// Longest plate or grade that is taken.
const LONGEST: usize = 16;

/// Who is logged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The platform's name of the driver.
    pub member_id: String,
    /// The token that stations are given.
    pub customer: String,
    /// Such as `138****5678`.
    pub phone_masked: String,
}

/// Who invited a driver, where, and where the driver was at that moment. The position is compared and forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// The member who invited.
    pub inviter_id: String,
    /// At which station the relation is to hold.
    pub station_id: String,
    /// Of the driver.
    pub position: Position,
}

impl Act<'_> {
    /// Logs a driver in by telephone number, which the sandbox takes on trust; a new one becomes a member (`true`). Gives the session's token.
    ///
    /// # Errors
    /// `malformed` for a number that is not 11 digits.
    pub fn log_in(&mut self, phone: &str) -> Result<(String, Member, bool), Trouble> {
        if phone.len() != 11 || !phone.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Refusal::new("malformed", "a telephone number has 11 digits").with("at", "/phone").into());
        }
        let mac = self.secrets.hiding.sign(&["phone", phone]);
        let known: Option<String> =
            self.row("SELECT member_id FROM member WHERE phone_mac = ?1", [&mac], |row| row.get(0))?;
        let is_new = known.is_none();
        let member_id = match known {
            Some(member_id) => member_id,
            None => {
                let (member_id, customer) = (self.name("m"), self.name("c"));
                let masked = format!("{}****{}", &phone[..3], &phone[7..]);
                self.run(
                    "INSERT INTO member (member_id, phone_mac, phone_masked, customer, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![member_id, mac, masked, customer, self.now_ms()],
                )?;
                member_id
            }
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Trouble::Keys(format!("no random numbers: {error}")))?;
        let token = crate::signature::hex(&seed);
        let mac = self.secrets.hiding.sign(&["session", &token]);
        self.run("INSERT INTO session VALUES (?1, ?2, ?3)", params![mac, member_id, self.now_ms() + SESSION_MS])?;
        self.run("DELETE FROM session WHERE expires_ms < ?1", [self.now_ms()])?;
        Ok((token, self.member(&member_id)?, is_new))
    }

    /// Who a session's token belongs to.
    ///
    /// # Errors
    /// `not_logged_in`.
    pub fn session(&self, token: &str) -> Result<Member, Trouble> {
        let mac = self.secrets.hiding.sign(&["session", token]);
        let sql = "SELECT member_id FROM session WHERE token_mac = ?1 AND expires_ms > ?2";
        let found: Option<String> = self.row(sql, params![mac, self.now_ms()], |row| row.get(0))?;
        self.member(&found.ok_or_else(|| Refusal::new("not_logged_in", "no such session, or it ended: log in"))?)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn log_out(&self, token: &str) -> Result<(), Trouble> {
        self.run("DELETE FROM session WHERE token_mac = ?1", [self.secrets.hiding.sign(&["session", token])])?;
        Ok(())
    }

    /// A member by name.
    ///
    /// # Errors
    /// `not_logged_in` for one that does not exist.
    pub fn member(&self, member_id: &str) -> Result<Member, Trouble> {
        let sql = "SELECT member_id, customer, phone_masked FROM member WHERE member_id = ?1";
        let member = self.row(sql, [member_id], |row| {
            Ok(Member { member_id: row.get(0)?, customer: row.get(1)?, phone_masked: row.get(2)? })
        })?;
        member.ok_or_else(|| Refusal::new("not_logged_in", "no such member").into())
    }

    /// Binds a driver to who invited him, for one station and once.
    ///
    /// # Errors
    /// `too_far` beyond 3 km of the station, `malformed` for a position off the globe or an invitation of oneself or in a circle.
    pub fn bind(&self, member_id: &str, invitation: &Invitation) -> Result<(), Trouble> {
        let Invitation { inviter_id, station_id, position } = invitation;
        self.member(inviter_id)?;
        let at = self.station_position(station_id)?;
        if !position.is_real() {
            return Err(Refusal::new("malformed", "the position is not on the globe").with("at", "/lat_udeg").into());
        }
        if !at.is_within(*position, BINDING_RADIUS_M) {
            return Err(Refusal::new("too_far", format!("more than {BINDING_RADIUS_M} m from {station_id}")).into());
        }
        // Two levels deep is as far as commission goes, so a circle of three pays nobody twice; of one or two it would.
        let circle = inviter_id == member_id || self.inviter(inviter_id, station_id)?.as_deref() == Some(member_id);
        if circle {
            return Err(Refusal::new("malformed", "nobody invites himself").with("at", "/inviter").into());
        }
        let sql = "INSERT INTO relation VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.run(sql, params![member_id, station_id, inviter_id, self.now_ms()])?;
        Ok(())
    }

    pub(super) fn inviter(&self, member_id: &str, station_id: &str) -> Result<Option<String>, Trouble> {
        let sql = "SELECT inviter_id FROM relation WHERE member_id = ?1 AND station_id = ?2";
        self.row(sql, [member_id, station_id], |row| row.get(0))
    }

    /// Adds a vehicle. Of the plate only the first two and the last two characters are kept.
    ///
    /// # Errors
    /// `malformed`.
    pub fn add_vehicle(&mut self, member_id: &str, plate: &str, grade: &str) -> Result<Value, Trouble> {
        let letters: Vec<char> = plate.chars().filter(|letter| !letter.is_whitespace()).collect();
        if !(5..=LONGEST).contains(&letters.len()) || grade.is_empty() || grade.len() > LONGEST {
            return Err(Refusal::new("malformed", "a plate has 5 to 16 characters").with("at", "/plate").into());
        }
        let [first, second, .., last_but_one, last] = letters[..] else { unreachable!("at least five") };
        let (vehicle_id, masked) = (self.name("v"), format!("{first}{second}·***{last_but_one}{last}"));
        self.run("INSERT INTO vehicle VALUES (?1, ?2, ?3, ?4)", params![vehicle_id, member_id, masked, grade])?;
        Ok(json!({"vehicle_id": vehicle_id, "plate_masked": masked, "grade": grade}))
    }

    /// What the driver's page shows of its user.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn member_view(&self, member: &Member) -> Result<Value, Trouble> {
        let id = member.member_id.as_str();
        let vehicles = self.rows(
            "SELECT vehicle_id, plate_masked, grade FROM vehicle WHERE member_id = ?1 ORDER BY vehicle_id",
            [id],
            |row| {
                let [vehicle_id, plate, grade]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
                Ok(json!({"vehicle_id": vehicle_id, "plate_masked": plate, "grade": grade}))
            },
        )?;
        let last: Option<String> =
            self.row("SELECT last FROM member WHERE member_id = ?1", [id], |row| row.get(0))?.flatten();
        let last: Value = last.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?;
        let points = self.number("SELECT sum(points) FROM commission WHERE member_id = ?1", [id])?;
        Ok(json!({
            "member_id": id,
            "phone_masked": member.phone_masked,
            "wallet_minor": self.balance(super::Account::Wallet(id))?.get(),
            "points": points,
            "vehicles": vehicles,
            "coupons": self.coupons_of(id)?,
            "cards": self.cards_of(id)?,
            "last": last,
        }))
    }
}
