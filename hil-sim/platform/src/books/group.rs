//! Groups of three: 0.30 yuan a litre back on what each dispensed, and 5 yuan for the leader once all three have fuelled.

use super::{Account, Act, Trouble};
use crate::refusal::Refusal;
use forecourt::units::{Money, Volume};
use rusqlite::params;
use serde_json::{Value, json};

const SIZE: i64 = 3;
/// Minor units a litre.
const REBATE_PER_LITRE_MINOR: i64 = 30;
const LEADER_BONUS: Money = Money::new(500);

/// The rebate on a volume, rounded down to a minor unit.
#[must_use]
pub fn rebate_on(volume: Volume) -> Money {
    Money::new(
        volume.get().max(0) / 1_000 * REBATE_PER_LITRE_MINOR
            + volume.get().max(0) % 1_000 * REBATE_PER_LITRE_MINOR / 1_000,
    )
}

impl Act<'_> {
    /// Founds a group at a station; the founder leads it.
    ///
    /// # Errors
    /// `unknown_station`.
    pub fn found_group(&mut self, member_id: &str, station_id: &str) -> Result<Value, Trouble> {
        self.station_position(station_id)?;
        let id = self.name("g");
        self.run("INSERT INTO buying_group VALUES (?1, ?2, ?3)", [id.as_str(), station_id, member_id])?;
        self.join_group(member_id, &id)
    }

    /// Joins one that is not yet three; joining again changes nothing.
    ///
    /// # Errors
    /// `malformed` for one that is full or does not exist.
    pub fn join_group(&self, member_id: &str, group_id: &str) -> Result<Value, Trouble> {
        let members = self.group_size(group_id)?;
        let mine = "SELECT count(*) FROM buying_group_member WHERE group_id = ?1 AND member_id = ?2";
        let known = "SELECT count(*) FROM buying_group WHERE group_id = ?1";
        if self.number(mine, [group_id, member_id])? == 0 {
            if self.number(known, [group_id])? == 0 || members >= SIZE {
                return Err(Refusal::new("malformed", "there is no such group, or it is full")
                    .with("at", "/group_id")
                    .into());
            }
            let sql = "INSERT INTO buying_group_member (group_id, member_id, place) VALUES (?1, ?2, ?3)";
            self.run(sql, params![group_id, member_id, members + 1])?;
        }
        let members = self.group_size(group_id)?;
        Ok(json!({"group_id": group_id, "members": members, "complete": members == SIZE}))
    }

    fn group_size(&self, group_id: &str) -> Result<i64, Trouble> {
        self.number("SELECT count(*) FROM buying_group_member WHERE group_id = ?1", [group_id])
    }

    /// Uses a member's one place in a complete group for an order.
    pub(super) fn use_group(
        &self,
        group_id: &str,
        member_id: &str,
        station_id: &str,
        order_id: &str,
    ) -> Result<(), Trouble> {
        let sql =
            "UPDATE buying_group_member SET order_id = ?3 WHERE group_id = ?1 AND member_id = ?2 AND order_id IS NULL
                   AND (SELECT station_id FROM buying_group WHERE group_id = ?1) = ?4";
        if self.group_size(group_id)? != SIZE || self.run(sql, [group_id, member_id, order_id, station_id])? != 1 {
            let why = "the group is not yet three, is of another station, or the place in it was used";
            return Err(Refusal::new("group_not_complete", why).into());
        }
        Ok(())
    }

    /// An order of a group ended without fuel: its place is free again.
    pub(super) fn leave_group(&self, order_id: &str) -> Result<(), Trouble> {
        self.run("UPDATE buying_group_member SET order_id = NULL WHERE order_id = ?1", [order_id])?;
        Ok(())
    }

    /// Pays the leader once all three orders ended in fuel.
    pub(super) fn thank_leader(&self, group_id: &str) -> Result<(), Trouble> {
        let sql = "SELECT count(*) FROM buying_group_member AS m JOIN fuel_order AS o ON o.order_id = m.order_id
                   WHERE m.group_id = ?1 AND o.state = 'completed'";
        if self.number(sql, [group_id])? < SIZE {
            return Ok(());
        }
        let leader: Option<String> =
            self.row("SELECT leader_id FROM buying_group WHERE group_id = ?1", [group_id], |row| row.get(0))?;
        let Some(leader) = leader else { return Ok(()) };
        self.post(&format!("leader:{group_id}"), None, &[(Account::Marketing, Account::Wallet(&leader), LEADER_BONUS)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebate_is_thirty_fen_a_litre_rounded_down() {
        for (ml, minor) in [(26_850, 805), (1_000, 30), (999, 29), (33, 0), (0, 0), (100_010, 3_000)] {
            assert_eq!(rebate_on(Volume::new(ml)).get(), minor, "{ml}");
        }
    }
}
