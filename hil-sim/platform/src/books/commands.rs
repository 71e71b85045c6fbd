//! Signed commands to stations and the answers to them.

use super::{Act, Trouble};
use crate::contract::command::{Acked, Command};
use crate::contract::message::ReplyData;
use crate::refusal::Refusal;
use forecourt::ids::NozzleId;
use forecourt::time::UtcTime;
use rusqlite::params;
use serde_json::{Value, json};
use uuid::Uuid;

/// A command that is to be published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToSend {
    /// To mark it sent.
    pub number: i64,
    /// To whom.
    pub station_id: String,
    /// The compact JWS.
    pub token: String,
}

/// Refusals of the contract's section 2: the order was never taken in, so no release follows and the money goes back at once.
const NEVER_TAKEN_IN: [&str; 7] =
    ["bad_signature", "wrong_station", "from_the_future", "too_old", "unsupported", "malformed", "too_large"];
/// Commands other than orders and prices are too old after this (contract section 9).
const COMMAND_AGE_MS: i64 = 5 * 60_000;
/// A station that is heard and has not answered for so long may never have got the command.
const ANSWER_WITHIN_MS: i64 = 30_000;
/// Without an answer, and an answer is still wanted (`?1` is the present). An order until it has its end, however old it is: a station that
/// never knew it says `expired` and releases it. One that its driver has cancelled not before its time is over by every clock, lest it be
/// armed for nobody. Everything else until it is too old.
const WANTED: &str = "result IS NULL AND CASE kind
    WHEN 'fuel.order.authorise.v1' THEN EXISTS (SELECT 1 FROM fuel_order AS o WHERE o.order_id = command.order_id
        AND o.state NOT IN ('completed', 'released', 'cancelled', 'expired') AND (o.expires_ms + 60000 < ?1 OR NOT EXISTS
            (SELECT 1 FROM step AS s WHERE s.order_id = o.order_id AND s.step = 'cancel_asked')))
    ELSE until_ms > ?1 END";

impl Act<'_> {
    /// Signs a command and queues it. `until`: when the station will call it too old; 5 minutes where nothing is said.
    pub(super) fn issue(
        &mut self,
        station_id: &str,
        command: &Command,
        order: Option<&str>,
        until: Option<UtcTime>,
    ) -> Result<(Uuid, String), Trouble> {
        let (id, token) = self.sign(station_id, command);
        let until = until.unwrap_or_else(|| self.now.plus_ms(COMMAND_AGE_MS));
        let sql = "INSERT INTO command (command_id, station_id, kind, order_id, token, until_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run(sql, params![id.to_string(), station_id, command.kind(), order, token, until.unix_ms()])?;
        Ok((id, token))
    }

    fn sign(&mut self, station_id: &str, command: &Command) -> (Uuid, String) {
        let id = self.ids.make(self.now);
        let event = command.event(id, station_id, self.now).to_string();
        (id, self.secrets.commands.sign(event.as_bytes()))
    }

    /// An acknowledgement of these records, signed. Not kept: a lost one is made anew when the records come again.
    pub(super) fn acknowledgement(&mut self, station_id: &str, events: Vec<Uuid>) -> String {
        self.sign(station_id, &Command::Ack(Acked::Ids(events))).1
    }

    /// A refusal of a record.
    pub(super) fn refusal_of(&mut self, station_id: &str, event: Uuid, reason: String) -> String {
        self.sign(station_id, &Command::Nack(event, reason)).1
    }

    /// Asks the station for the running figures of an order's nozzle, for so many seconds (30 to 300).
    ///
    /// # Errors
    /// `unknown_order`.
    pub fn watch_order(&mut self, order_id: &str, seconds: u32) -> Result<(), Trouble> {
        let station = self.station_of(order_id)?;
        let nozzle = self.number("SELECT nozzle FROM fuel_order WHERE order_id = ?1", [order_id])?;
        let nozzle = NozzleId(u16::try_from(nozzle).unwrap_or(0));
        self.issue(&station, &Command::Watch(nozzle, seconds), None, None).map(|_| ())
    }

    /// Asks a station to take no orders at a nozzle, or to take them again; nozzle 0 means all. The reason `tank_low` is told to drivers
    /// as such; any other is for the station's log.
    ///
    /// # Errors
    /// `unknown_station`.
    pub fn hold_nozzle(&mut self, station_id: &str, nozzle: i64, hold: bool, reason: &str) -> Result<(), Trouble> {
        if self.currency_of(station_id)?.is_none() {
            return Err(Refusal::new("unknown_station", format!("no station {station_id}")).into());
        }
        let kind = if hold { "fuel.nozzle.hold.v1" } else { "fuel.nozzle.unhold.v1" };
        let command = Command::Other(kind.into(), json!({"nozzle": nozzle, "reason": reason}));
        self.issue(station_id, &command, None, None).map(|_| ())
    }

    /// Commands to publish, oldest first.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn commands_to_send(&self) -> Result<Vec<ToSend>, Trouble> {
        let sql = "SELECT number, station_id, token FROM command WHERE sent_ms IS NULL ORDER BY number LIMIT 100";
        self.rows(sql, [], |row| Ok(ToSend { number: row.get(0)?, station_id: row.get(1)?, token: row.get(2)? }))
    }

    /// A command was handed to the broker.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn command_sent(&self, number: i64) -> Result<(), Trouble> {
        self.run("UPDATE command SET sent_ms = ?2 WHERE number = ?1", params![number, self.now_ms()])?;
        let sql = "SELECT order_id FROM command WHERE number = ?1 AND kind = 'fuel.order.authorise.v1'";
        if let Some(Some(order)) = self.row(sql, [number], |row| row.get::<_, Option<String>>(0))? {
            self.step(&order, "command_sent", None)?;
        }
        Ok(())
    }

    /// The link came back: what was never answered may never have arrived. The station knows the ids.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn send_unanswered_again(&self) -> Result<(), Trouble> {
        self.run(&format!("UPDATE command SET sent_ms = NULL WHERE {WANTED}"), [self.now_ms()])?;
        Ok(())
    }

    /// Sends again what a station that is heard has not answered for half a minute: a broker may have lost it, or the station was too busy
    /// for it. Gives how many. To be called every few seconds.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn send_overdue_again(&self) -> Result<usize, Trouble> {
        let sql = format!(
            "UPDATE command SET sent_ms = NULL WHERE {WANTED} AND sent_ms <= ?2
             AND (SELECT online FROM station AS s WHERE s.station_id = command.station_id)"
        );
        self.run(&sql, [self.now_ms(), self.now_ms() - ANSWER_WITHIN_MS])
    }

    /// Takes a reply. The first one counts; the same again changes nothing.
    pub(super) fn take_reply(&mut self, station_id: &str, reply: &ReplyData, whole: &Value) -> Result<(), Trouble> {
        let Some(id) = &reply.command_id else { return Ok(()) };
        if reply.result == "overloaded" {
            // No answer yet: a station too busy to take it in releases nothing, and takes it when it comes again.
            return Ok(());
        }
        let sql = "UPDATE command SET result = ?3 WHERE command_id = ?1 AND station_id = ?2 AND result IS NULL RETURNING kind, order_id";
        let taken = self.row(sql, params![id, station_id, reply.result], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        })?;
        let Some((kind, order)) = taken else { return Ok(()) };
        match (kind.as_str(), order) {
            ("fuel.order.authorise.v1", Some(order)) => {
                self.run("UPDATE fuel_order SET reply = ?2 WHERE order_id = ?1", params![order, whole.to_string()])?;
                self.step(&order, "reply", Some(&reply.result))?;
                match reply.result.as_str() {
                    "armed" | "queued" => self.advance(&order, &reply.result, reply.position, None),
                    never if NEVER_TAKEN_IN.contains(&never) => self.end_without_fuel(&order, never),
                    // Every other refusal is followed by a durable release.
                    _ => Ok(()),
                }
            }
            ("fuel.price.set.v1", _) => {
                self.run("UPDATE price_set SET reply = ?2 WHERE command_id = ?1", params![id, whole.to_string()])?;
                Ok(())
            }
            (_, Some(order)) => self.step(&order, &format!("reply to {kind}"), Some(&reply.result)),
            _ => Ok(()),
        }
    }
}
