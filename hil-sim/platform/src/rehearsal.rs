//! A station and drivers played against books in memory, at a given time: for tests and for the bench of the reconciliation.

use crate::authority::Authority;
use crate::books::{Act, Books, NewOrder, NewStation, Secrets, Trouble};
use crate::contract::fake_station::{FakeStation, STATION};
use crate::contract::keys::KeyPair;
use crate::distance::Position;
use crate::signature::Secret;
use forecourt::order::Limit;
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde_json::{Value, json};

/// Every nozzle's price: 7.45 a litre.
pub const PRICE: UnitPrice = UnitPrice::new(7_450_000);
/// Nozzles 1 to 4 sell 92, number 5 diesel.
const NOZZLES: [(i64, &str); 5] = [(1, "92"), (2, "92"), (3, "92"), (4, "92"), (5, "0")];

/// Where the station stands.
pub const POSITION: Position = Position { lat_udeg: 22_543_096, lon_udeg: 114_057_865 };

/// The play.
#[derive(Debug)]
pub struct Rehearsal {
    /// The platform's books.
    pub books: Books,
    /// The station.
    pub station: FakeStation,
    /// The present.
    pub now: UtcTime,
    totalisers: [i64; 6],
    keys: u64,
}

/// Keys that are no secret.
///
/// # Errors
/// If no authority can be made.
pub fn open_secrets() -> Result<Secrets, Trouble> {
    Ok(Secrets {
        commands: KeyPair::from_seed("platform-1", [1; 32]),
        channel: Secret::new([2; 32]),
        hiding: Secret::new([3; 32]),
        authority: Authority::generate().map_err(Trouble::Keys)?,
    })
}

impl Rehearsal {
    /// A station that is online with five idle nozzles, at half past four in the afternoon there.
    ///
    /// # Errors
    /// The books'.
    pub fn new() -> Result<Self, Trouble> {
        let now = UtcTime::parse("2026-11-21T08:30:00Z").unwrap_or(UtcTime::from_unix_ms(0));
        let books = Books::open(None, open_secrets()?, [4; 32])?;
        let mut play = Self { books, station: FakeStation::new(), now, totalisers: [0; 6], keys: 0 };
        play.act(|act| {
            act.enter_station(&NewStation {
                station_id: STATION.into(),
                name: ["示范加油站".into(), "Demo station".into()],
                position: POSITION,
                currency: "CNY".into(),
            })
        })?;
        play.tell("state/station", "fuel.station.state.v1", json!({"online": true, "holds": []}))?;
        for (nozzle, _) in NOZZLES {
            play.nozzle(nozzle, true, &[])?;
        }
        Ok(play)
    }

    /// Does something at the present.
    ///
    /// # Errors
    /// The act's.
    pub fn act<T>(&mut self, work: impl FnOnce(&mut Act<'_>) -> Result<T, Trouble>) -> Result<T, Trouble> {
        self.books.act(self.now, work)
    }

    /// Time passes.
    pub fn pass_ms(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    /// The station says something that is not durable.
    ///
    /// # Errors
    /// The books'.
    pub fn tell(&mut self, topic: &str, kind: &str, data: Value) -> Result<(), Trouble> {
        let event = self.station.event(kind, data).to_string();
        self.act(|act| act.take_message(STATION, topic, event.as_bytes()))
    }

    /// The state of a nozzle.
    ///
    /// # Errors
    /// The books'.
    pub fn nozzle(&mut self, nozzle: i64, available: bool, holds: &[&str]) -> Result<(), Trouble> {
        let grade = NOZZLES.iter().find(|(number, _)| *number == nozzle).map_or("92", |(_, grade)| *grade);
        let data = json!({"nozzle": nozzle, "fuelling_point": 1, "grade": grade, "unit_price_micros": PRICE.get(),
            "state": "idle", "available": available, "holds": holds, "order_id": null, "queue": 0, "wait_estimate_s": 0});
        self.tell(&format!("state/nozzle/{nozzle}"), "fuel.nozzle.state.v1", data)
    }

    /// A nozzle's code.
    ///
    /// # Errors
    /// The books'.
    pub fn code(&mut self, nozzle: i64) -> Result<String, Trouble> {
        let codes = self.act(|act| act.qr_tokens())?;
        Ok(codes.into_iter().find(|(_, number, _)| *number == nozzle).map(|(.., code)| code).unwrap_or_default())
    }

    /// A member by a number of four digits.
    ///
    /// # Errors
    /// The books'.
    pub fn member(&mut self, number: u16) -> Result<String, Trouble> {
        self.act(|act| act.log_in(&format!("1380000{number:04}"))).map(|(_, member, _)| member.member_id)
    }

    /// An order at a nozzle as the page would ask for it.
    ///
    /// # Errors
    /// The books'.
    pub fn wanted(&mut self, nozzle: i64, limit: Limit) -> Result<NewOrder, Trouble> {
        self.keys += 1;
        Ok(NewOrder {
            qr_token: self.code(nozzle)?,
            limit,
            coupon_id: None,
            vehicle_id: None,
            group_id: None,
            pay_with: "sandbox".into(),
            idempotency_key: format!("key-{:08}", self.keys),
            unit_price_micros: PRICE,
            lat_udeg: None,
            lon_udeg: None,
        })
    }

    /// Places an order and pays it through the sandbox channel.
    ///
    /// # Errors
    /// The books'.
    pub fn buy(&mut self, member: &str, wanted: &NewOrder) -> Result<String, Trouble> {
        self.act(|act| {
            let (order, _) = act.place_order(member, wanted)?;
            if wanted.pay_with.starts_with("sandbox") {
                let callback = act.channel_pay(&order, &wanted.pay_with)?;
                act.take_callback(&callback)?;
            } else {
                act.pay_by_card(&order)?;
            }
            Ok(order)
        })
    }

    /// The sale record of a fuelling whose pump multiplies rightly; not yet told to the platform.
    pub fn sale(&mut self, order: Option<&str>, nozzle: i64, volume: Volume) -> Value {
        let amount = PRICE.cost_of(volume, Currency::CNY).unwrap_or(Money::ZERO);
        let slot = usize::try_from(nozzle).unwrap_or(0).min(self.totalisers.len() - 1);
        let start = self.totalisers[slot];
        self.totalisers[slot] = start + volume.get();
        let grade = NOZZLES.iter().find(|(number, _)| *number == nozzle).map_or("92", |(_, grade)| *grade);
        let data = json!({"sale_id": self.station.id(), "order_id": order,
            "basis": if order.is_some() { "prepaid" } else { "manual" }, "fuelling_point": 1, "nozzle": nozzle, "grade": grade,
            "currency": "CNY", "unit_price_micros": PRICE.get(), "volume_ml": volume.get(), "amount_minor": amount.get(),
            "totaliser_start_ml": start, "totaliser_end_ml": start + volume.get(), "unaccounted_ml": 0,
            "started_at": self.now.plus_ms(-60_000).to_string(), "ended_at": self.now.to_string(), "finish": "hung_up",
            "evidence": "end_record", "recovered": false, "flags": [], "context": {}});
        self.station.record("fuel.sale.v1", data)
    }

    /// The station sends a durable record.
    ///
    /// # Errors
    /// The books'.
    pub fn send(&mut self, record: &Value) -> Result<Vec<String>, Trouble> {
        Ok(self.books.ingest(STATION, record.to_string().as_bytes(), self.now)?.tokens)
    }

    /// The order ends without fuel.
    ///
    /// # Errors
    /// The books'.
    pub fn release(&mut self, order: &str, reason: &str) -> Result<(), Trouble> {
        let record = self.station.released(order, reason);
        self.send(&record).map(|_| ())
    }

    /// The channel carries out all refunds and calls back.
    ///
    /// # Errors
    /// The books'.
    pub fn refund_all(&mut self) -> Result<(), Trouble> {
        for callback in self.act(|act| act.channel_refunds())? {
            self.act(|act| act.take_callback(&callback))?;
        }
        Ok(())
    }

    /// An order as the page sees it.
    ///
    /// # Errors
    /// The books'.
    pub fn view(&mut self, order: &str) -> Result<Value, Trouble> {
        self.act(|act| act.order_view(order))
    }
}
