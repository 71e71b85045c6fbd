//! What a platform may ask of a station (contract sections 4 and 5), as CloudEvents ready to be signed.

use forecourt::ids::{Grade, NozzleId, OrderId};
use forecourt::order::{Basis, Limit};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, UnitPrice};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An order as the platform sells it.
#[derive(Clone, PartialEq, Debug)]
pub struct OrderSpec {
    /// Its name, unique at the platform.
    pub order_id: OrderId,
    /// Nozzle number painted on the pump.
    pub nozzle: NozzleId,
    /// What the customer buys.
    pub grade: Grade,
    /// How much.
    pub limit: Limit,
    /// Agreed price.
    pub unit_price: UnitPrice,
    /// Of the amounts.
    pub currency: Currency,
    /// Seconds from now until the order may no longer be accepted; at most 1800 by the contract.
    pub valid_for_s: u32,
    /// How long the nozzle waits for the lift, in seconds; `None` for the station's own time.
    pub lift_timeout_s: Option<u32>,
    /// Ground of the release.
    pub basis: Basis,
    /// What the driver may say to the attendant.
    pub code: Option<String>,
    /// Opaque token of the customer.
    pub customer: Option<String>,
    /// Only ever masked.
    pub plate_masked: Option<String>,
    /// Comes back unchanged in the sale.
    pub context: Value,
}

impl OrderSpec {
    /// A prepaid order with the usual times: valid 10 minutes, 120 s to lift.
    #[must_use]
    pub fn prepaid(
        order_id: OrderId,
        nozzle: NozzleId,
        grade: Grade,
        limit: Limit,
        unit_price: UnitPrice,
        currency: Currency,
    ) -> Self {
        Self {
            order_id,
            nozzle,
            grade,
            limit,
            unit_price,
            currency,
            valid_for_s: 600,
            lift_timeout_s: Some(120),
            basis: Basis::Prepaid,
            code: None,
            customer: None,
            plate_masked: None,
            context: json!({}),
        }
    }

    fn data(&self, now: UtcTime) -> Value {
        let limit = match self.limit {
            Limit::Amount(money) => json!({"amount_minor": money.get()}),
            Limit::Volume(volume) => json!({"volume_ml": volume.get()}),
            Limit::FullTank(money) => json!({"full_tank_minor": money.get()}),
        };
        let mut data = json!({
            "order_id": self.order_id.as_str(),
            "nozzle": self.nozzle.0,
            "grade": self.grade.as_str(),
            "limit": limit,
            "currency": self.currency.code(),
            "unit_price_micros": self.unit_price.get(),
            "expires_at": now.plus_ms(i64::from(self.valid_for_s) * 1_000).to_string(),
            "basis": self.basis,
            "context": self.context,
        });
        if let Some(seconds) = self.lift_timeout_s {
            data["lift_timeout_s"] = seconds.into();
        }
        for (name, value) in [("code", &self.code), ("customer", &self.customer), ("plate_masked", &self.plate_masked)]
        {
            if let Some(text) = value {
                data[name] = text.as_str().into();
            }
        }
        data
    }
}

/// Prices that come into force together.
#[derive(Clone, PartialEq, Debug)]
pub struct PriceSet {
    /// Its name.
    pub name: String,
    /// From when on.
    pub effective_at: UtcTime,
    /// By grade.
    pub prices: BTreeMap<Grade, UnitPrice>,
}

impl PriceSet {
    fn data(&self) -> Value {
        let price =
            |(grade, price): (&Grade, &UnitPrice)| json!({"grade": grade.as_str(), "unit_price_micros": price.get()});
        json!({
            "price_set": self.name,
            "effective_at": self.effective_at.to_string(),
            "prices": self.prices.iter().map(price).collect::<Vec<_>>(),
        })
    }
}

/// Which records an acknowledgement names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Acked {
    /// These events.
    Ids(Vec<Uuid>),
    /// All up to this sequence.
    Through(u64),
}

/// A command of the platform. Nozzle 0 means all nozzles where the contract says so.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// `fuel.order.authorise.v1`
    Authorise(Box<OrderSpec>),
    /// `fuel.order.cancel.v1`
    Cancel(OrderId),
    /// `fuel.order.move.v1`
    Move(OrderId, NozzleId),
    /// `fuel.nozzle.stop.v1`
    Stop(NozzleId),
    /// `fuel.nozzle.hold.v1`
    Hold(NozzleId),
    /// `fuel.nozzle.unhold.v1`
    Unhold(NozzleId),
    /// `fuel.watch.v1` for so many seconds (30 to 300).
    Watch(NozzleId, u32),
    /// `fuel.ack.v1`
    Ack(Acked),
    /// `fuel.nack.v1` with a reason.
    Nack(Uuid, String),
    /// `fuel.resend.v1`, both ends included.
    Resend(u64, u64),
    /// `fuel.price.set.v1`
    SetPrices(Box<PriceSet>),
    /// Any type with any data, to see what the station makes of it.
    Other(String, Value),
}

impl Command {
    /// The CloudEvent type.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Authorise(_) => "fuel.order.authorise.v1",
            Self::Cancel(_) => "fuel.order.cancel.v1",
            Self::Move(..) => "fuel.order.move.v1",
            Self::Stop(_) => "fuel.nozzle.stop.v1",
            Self::Hold(_) => "fuel.nozzle.hold.v1",
            Self::Unhold(_) => "fuel.nozzle.unhold.v1",
            Self::Watch(..) => "fuel.watch.v1",
            Self::Ack(_) => "fuel.ack.v1",
            Self::Nack(..) => "fuel.nack.v1",
            Self::Resend(..) => "fuel.resend.v1",
            Self::SetPrices(_) => "fuel.price.set.v1",
            Self::Other(kind, _) => kind,
        }
    }

    /// Whether the station answers it with a reply even if it is content: all but `ack` and `nack` (contract section 2).
    #[must_use]
    pub const fn wants_reply(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::Nack(..))
    }

    fn data(&self, now: UtcTime) -> Value {
        const REASON: &str = "asked by the reference platform";
        match self {
            Self::Authorise(spec) => spec.data(now),
            Self::Cancel(order) => json!({"order_id": order.as_str(), "reason": REASON}),
            Self::Move(order, nozzle) => json!({"order_id": order.as_str(), "to_nozzle": nozzle.0}),
            Self::Stop(nozzle) | Self::Hold(nozzle) | Self::Unhold(nozzle) => {
                json!({"nozzle": nozzle.0, "reason": REASON})
            }
            Self::Watch(nozzle, ttl_s) => json!({"nozzle": nozzle.0, "ttl_s": ttl_s}),
            Self::Ack(Acked::Ids(ids)) => json!({"ids": ids}),
            Self::Ack(Acked::Through(sequence)) => json!({"through_sequence": format!("{sequence:012}")}),
            Self::Nack(id, reason) => json!({"id": id, "reason": reason}),
            Self::Resend(from, to) => {
                json!({"from_sequence": format!("{from:012}"), "to_sequence": format!("{to:012}")})
            }
            Self::SetPrices(set) => set.data(),
            Self::Other(_, data) => data.clone(),
        }
    }

    /// The CloudEvent, not yet signed.
    #[must_use]
    pub fn event(&self, id: Uuid, station: &str, now: UtcTime) -> Value {
        json!({
            "specversion": "1.0",
            "id": id,
            "source": "/platform",
            "subject": format!("/stations/{station}"),
            "type": self.kind(),
            "time": now.to_string(),
            "datacontenttype": "application/json",
            "data": self.data(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecourt::units::{Money, Volume};

    fn spec(limit: Limit) -> OrderSpec {
        OrderSpec::prepaid(
            OrderId::new("20261121-000042").expect("an id"),
            NozzleId(3),
            Grade::new("92").expect("a grade"),
            limit,
            UnitPrice::new(7_450_000),
            Currency::CNY,
        )
    }

    #[test]
    fn an_authorise_has_the_members_of_the_contract() {
        let now = UtcTime::parse("2026-11-21T08:30:00Z").expect("a time");
        let event =
            Command::Authorise(Box::new(spec(Limit::Amount(Money::new(20_000))))).event(Uuid::nil(), "st-1", now);
        assert_eq!(event["subject"], "/stations/st-1");
        assert_eq!(
            event["data"],
            json!({"order_id": "20261121-000042", "nozzle": 3, "grade": "92", "limit": {"amount_minor": 20000},
                "currency": "CNY", "unit_price_micros": 7450000, "expires_at": "2026-11-21T08:40:00.000Z",
                "lift_timeout_s": 120, "basis": "prepaid", "context": {}})
        );
    }

    #[test]
    fn each_limit_has_its_own_member() {
        let now = UtcTime::from_unix_ms(0);
        assert_eq!(spec(Limit::Volume(Volume::new(30_000))).data(now)["limit"], json!({"volume_ml": 30000}));
        assert_eq!(spec(Limit::FullTank(Money::new(5))).data(now)["limit"], json!({"full_tank_minor": 5}));
    }

    #[test]
    fn a_sequence_is_written_with_twelve_digits() {
        let now = UtcTime::from_unix_ms(0);
        assert_eq!(Command::Ack(Acked::Through(1234)).data(now), json!({"through_sequence": "000000001234"}));
    }
}
