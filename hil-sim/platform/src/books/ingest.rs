//! Everything a station says, taken in on one path whether it came over MQTT or HTTPS. Shows: records are idempotent by id and
//! acknowledged only after the commit; a sale may come before, without or long after what led to it; a broken record is refused by name
//! and never stops the rest.

use super::{Act, Books, Trouble};
use crate::contract::envelope::{self, Event, Link};
use crate::contract::message::{ReleaseData, ReplyData, ReviewData, SaleData, StepData, content};
use crate::refusal::Refusal;
use forecourt::time::UtcTime;
use rusqlite::params;
use serde_json::Value;
use uuid::Uuid;

/// Most events of one batch (contract section 5).
const BATCH: usize = 100;

/// What to answer, after the commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// Signed acknowledgements and refusals.
    pub tokens: Vec<String>,
    /// Orders whose end is acknowledged in them.
    pub orders: Vec<String>,
}

/// Records that were refused, with the reason.
pub type Refusals = Vec<(Uuid, String)>;

impl Books {
    /// Takes durable records: one event or a batch of up to 100. The answer is good only because the commit was.
    ///
    /// # Errors
    /// `unknown_station`; `malformed` where not even an id can be read; the database.
    pub fn ingest(&mut self, station_id: &str, payload: &[u8], now: UtcTime) -> Result<Answer, Trouble> {
        self.act(now, |act| act.ingest(station_id, payload))
    }
}

impl Act<'_> {
    fn ingest(&mut self, station_id: &str, payload: &[u8]) -> Result<Answer, Trouble> {
        if self.currency_of(station_id)?.is_none() {
            return Err(Refusal::new("unknown_station", format!("no station {station_id}")).into());
        }
        let (events, mut refused) = read_each(payload, station_id)?;
        let (mut taken, mut orders) = (Vec::new(), Vec::new());
        for event in events {
            let Some(link) = &event.link else {
                refused.push((event.id, "a durable record has a sequence".into()));
                continue;
            };
            match self.take_record(station_id, &event, link)? {
                Ok(()) => {
                    taken.push(event.id);
                    orders.extend(event.data["order_id"].as_str().map(str::to_owned));
                }
                Err(why) => refused.push((event.id, why)),
            }
        }
        let mut tokens = Vec::new();
        if !taken.is_empty() {
            tokens.push(self.acknowledgement(station_id, taken));
        }
        for (event, why) in refused {
            self.dispute(station_id, &format!("record {event}: {why}"))?;
            tokens.push(self.refusal_of(station_id, event, why));
        }
        Ok(Answer { tokens, orders })
    }

    /// Remembers that an answer went out.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn answered(&self, answer: &Answer) -> Result<(), Trouble> {
        answer.orders.iter().try_for_each(|order| self.step(order, "acknowledged", None))
    }

    /// `Err` with the reason to refuse it with; a repeat is as good as the first.
    fn take_record(&mut self, station_id: &str, event: &Event, link: &Link) -> Result<Result<(), String>, Trouble> {
        let sequence = i64::try_from(link.sequence).unwrap_or(i64::MAX);
        if let Err(why) = self.check_chain(station_id, event.id, link, sequence)? {
            return Ok(Err(why));
        }
        let known = self.number("SELECT count(*) FROM record WHERE event_id = ?1", [event.id.to_string()])?;
        if known != 0 {
            return Ok(Ok(()));
        }
        let sql = "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.run(
            sql,
            params![
                station_id,
                sequence,
                event.id.to_string(),
                event.kind,
                event.time.unix_ms(),
                self.now_ms(),
                link.prevhash,
                link.hash,
                event.data.to_string()
            ],
        )?;
        // What cannot be booked is stored all the same, and disputed: it must not come again for ever.
        self.tx.execute_batch("SAVEPOINT booking")?;
        let booked = self.book(station_id, event, link.sequence);
        if booked.is_err() {
            self.tx.execute_batch("ROLLBACK TO booking")?;
        }
        self.tx.execute_batch("RELEASE booking")?;
        if let Err(error) = booked {
            self.dispute(station_id, &format!("{} at sequence {sequence}: {error}", event.kind))?;
        }
        Ok(Ok(()))
    }

    fn check_chain(
        &self,
        station_id: &str,
        id: Uuid,
        link: &Link,
        sequence: i64,
    ) -> Result<Result<(), String>, Trouble> {
        let at = |sequence: i64| {
            let sql = "SELECT event_id, prevhash, hash FROM record WHERE station_id = ?1 AND sequence = ?2";
            self.row(sql, params![station_id, sequence], |row| {
                Ok::<[String; 3], _>([row.get(0)?, row.get(1)?, row.get(2)?])
            })
        };
        if let Some([known, _, hash]) = at(sequence)? {
            let same = known == id.to_string() && hash == link.hash;
            return Ok(if same { Ok(()) } else { Err(format!("sequence {sequence} came with two contents")) });
        }
        let elsewhere =
            self.row("SELECT sequence FROM record WHERE event_id = ?1", [id.to_string()], |row| row.get::<_, i64>(0))?;
        if let Some(other) = elsewhere {
            return Ok(Err(format!("it stands at sequence {other} already")));
        }
        let before = if sequence == 1 { Some("0".repeat(64)) } else { at(sequence - 1)?.map(|[.., hash]| hash) };
        if before.is_some_and(|hash| hash != link.prevhash) {
            return Ok(Err(format!("prevhash of sequence {sequence} is not the hash before it")));
        }
        if at(sequence + 1)?.is_some_and(|[_, prevhash, _]| prevhash != link.hash) {
            return Ok(Err(format!("sequence {} names another hash before it", sequence + 1)));
        }
        Ok(Ok(()))
    }

    fn book(&mut self, station_id: &str, event: &Event, sequence: u64) -> Result<(), Trouble> {
        let unreadable = |why: String| Trouble::from(Refusal::new("malformed", why));
        let (kind, data) = (event.kind.as_str(), &event.data);
        match kind {
            "fuel.sale.v1" => {
                let sale: SaleData = content(kind, data).map_err(unreadable)?;
                self.book_sale(station_id, sequence, &sale, data)
            }
            "fuel.order.released.v1" => {
                let release: ReleaseData = content(kind, data).map_err(unreadable)?;
                self.book_release(station_id, &release)
            }
            "fuel.order.review.v1" => {
                let review: ReviewData = content(kind, data).map_err(unreadable)?;
                self.book_review(station_id, &review)
            }
            "fuel.price.applied.v1" => self.take_price_applied(station_id, data),
            // Kept as records; nothing here acts on them.
            _ => Ok(()),
        }
    }

    /// Takes what is not durable: states, replies and steps. `topic` is the part below the station's own level.
    ///
    /// # Errors
    /// `malformed` in words; the database.
    pub fn take_message(&mut self, station_id: &str, topic: &str, payload: &[u8]) -> Result<(), Trouble> {
        let unreadable = |why: String| Trouble::from(Refusal::new("malformed", format!("topic {topic}: {why}")));
        for event in envelope::read(payload, station_id).map_err(unreadable)? {
            let data = &event.data;
            match topic.split('/').collect::<Vec<_>>()[..] {
                ["state", "station"] => self.take_station_state(station_id, data)?,
                ["state", "nozzle", _] => self.take_nozzle_state(station_id, data)?,
                ["reply"] => {
                    let reply: ReplyData = content(&event.kind, data).map_err(unreadable)?;
                    self.take_reply(station_id, &reply, data)?;
                }
                ["progress"] => {
                    let step: StepData = content(&event.kind, data).map_err(unreadable)?;
                    self.take_step(station_id, &step, data)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_step(&self, station_id: &str, step: &StepData, data: &Value) -> Result<(), Trouble> {
        let order_id = step.order_id.as_str();
        let deadline = data["lift_deadline"].as_str().and_then(|text| UtcTime::parse(text).ok());
        if step.state == "armed" {
            let sql = "UPDATE fuel_order SET nozzle = ?3 WHERE order_id = ?1 AND station_id = ?2
                       AND state IN ('paid', 'queued', 'armed')";
            self.run(sql, params![order_id, station_id, step.nozzle.0])?;
        }
        self.advance(order_id, &step.state, None, deadline)
    }
}

/// Events that can be read, and those that cannot but name themselves.
fn read_each(payload: &[u8], station_id: &str) -> Result<(Vec<Event>, Refusals), Trouble> {
    let whole = match envelope::read(payload, station_id) {
        Ok(events) => return Ok((events, Vec::new())),
        Err(why) => why,
    };
    let malformed = |why: String| Trouble::from(Refusal::new("malformed", why));
    let items = match serde_json::from_slice(payload) {
        Ok(Value::Array(items)) if items.len() <= BATCH => items,
        Ok(item @ Value::Object(_)) => vec![item],
        _ => return Err(malformed(whole)),
    };
    let (mut events, mut refused) = (Vec::new(), Vec::new());
    for item in items {
        match envelope::read(item.to_string().as_bytes(), station_id) {
            Ok(mut read) => events.append(&mut read),
            Err(why) => {
                let id = item["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
                refused.push((id.ok_or_else(|| malformed(why.clone()))?, why));
            }
        }
    }
    if refused.is_empty() {
        // Each is good and the whole is not: members stand twice, or numbers lost digits. Nothing of it can be trusted.
        refused = events.drain(..).map(|event| (event.id, whole.clone())).collect();
    }
    Ok((events, refused))
}
