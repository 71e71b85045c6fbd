//! One order's account: what was paid, what was captured, what goes back, and the one end that decides it.

use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::{Currency, Money, Volume};
use reference_platform::contract::command::OrderSpec;
use reference_platform::contract::message::SaleData;
use std::time::Instant;
use uuid::Uuid;

/// The end of an order.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// Fuel flowed.
    Sale(Box<SaleData>),
    /// No fuel flowed: a record says so.
    Released {
        /// The record.
        event_id: Uuid,
        /// Why.
        reason: String,
    },
    /// The station never took it: refused by section 2 of the contract, so no record will come.
    NotTaken {
        /// The reply's result.
        result: String,
    },
}

impl End {
    /// In one or two words.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Sale(sale) => format!("sale {}", sale.finish),
            Self::Released { reason, .. } => format!("released {reason}"),
            Self::NotTaken { result } => format!("not taken {result}"),
        }
    }
}

/// An order at the platform.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    /// As sold.
    pub spec: OrderSpec,
    /// Where it stands now: changes when it moves.
    pub nozzle: NozzleId,
    /// The first command that asked for it.
    pub command: Uuid,
    /// Steps heard on `progress`, oldest first.
    pub steps: Vec<String>,
    /// Why it is or was in review.
    pub review: Option<String>,
    /// The one end.
    pub end: Option<End>,
    /// When the end was first heard.
    pub ended: Option<Instant>,
    /// Money taken from the customer.
    pub paid: Money,
    /// Money kept for fuel.
    pub captured: Money,
    /// Money given back.
    pub refunded: Money,
}

impl Account {
    /// Opens an account: the customer has paid.
    ///
    /// # Errors
    /// If the price of a volume order does not fit an amount.
    pub fn open(spec: OrderSpec, command: Uuid) -> Result<Self, String> {
        let paid = match spec.limit {
            Limit::Amount(money) | Limit::FullTank(money) => money,
            Limit::Volume(volume) => spec
                .unit_price
                .cost_of(volume, spec.currency)
                .ok_or_else(|| format!("order {}: {volume:?} at {:?} has no price", spec.order_id, spec.unit_price))?,
        };
        Ok(Self {
            nozzle: spec.nozzle,
            spec,
            command,
            steps: Vec::new(),
            review: None,
            end: None,
            ended: None,
            paid,
            captured: Money::ZERO,
            refunded: Money::ZERO,
        })
    }

    /// Closes the account. Returns what is wrong with it, in words.
    pub fn close(&mut self, end: End, at: Instant) -> Vec<String> {
        if let Some(first) = &self.end {
            if *first == end {
                return Vec::new();
            }
            // A release after a refusal for the time alone only says once more that nothing was fuelled: the contract names "too_old" in
            // sections 2 and 4, and a station that could not write its refusal down judges a repeat anew.
            let late_release = matches!(first, End::NotTaken { result } if result == "too_old" || result == "from_the_future")
                && matches!(&end, End::Released { reason, .. } if reason.starts_with("refused:"));
            if !late_release {
                return vec![format!("a second end: {} after {}", end.word(), first.word())];
            }
        }
        let mut wrong = Vec::new();
        self.captured = match &end {
            End::Sale(sale) => {
                wrong = check_sale(sale, self);
                sale.amount_minor.min(self.paid)
            }
            End::Released { .. } | End::NotTaken { .. } => Money::ZERO,
        };
        self.refunded = self.paid.checked_sub(self.captured).unwrap_or(Money::ZERO);
        self.ended = Some(at);
        self.end = Some(end);
        wrong
    }

    /// The sale that ended it, if fuel flowed.
    #[must_use]
    pub fn sale(&self) -> Option<&SaleData> {
        match &self.end {
            Some(End::Sale(sale)) => Some(sale),
            _ => None,
        }
    }
}

/// What in a sale does not agree with its order.
fn check_sale(sale: &SaleData, account: &Account) -> Vec<String> {
    let spec = &account.spec;
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, text: String| {
        if !holds {
            wrong.push(text);
        }
    };
    expect(sale.nozzle == account.nozzle, format!("paid for nozzle {}, sold at {}", account.nozzle, sale.nozzle));
    expect(sale.currency == spec.currency.code(), format!("currency {}", sale.currency));
    expect(sale.context == spec.context, format!("context came back as {}", sale.context));
    expect(
        sale.unit_price_micros <= spec.unit_price || sale.has_flag("price_mismatch"),
        format!("price {:?} above the agreed {:?}, not flagged", sale.unit_price_micros, spec.unit_price),
    );
    let within = match spec.limit {
        Limit::Amount(limit) | Limit::FullTank(limit) => sale.amount_minor <= limit,
        Limit::Volume(limit) => sale.volume_ml <= limit,
    };
    expect(within || sale.has_flag("limit_overrun"), format!("more than {:?}, not flagged", spec.limit));
    wrong.extend(check_figures(sale, spec.currency));
    wrong
}

/// What in a sale's own figures does not agree, order or none.
pub fn check_figures(sale: &SaleData, currency: Currency) -> Vec<String> {
    /// Coarsest step of the heads simulated here.
    const STEP: Volume = Volume::new(10);
    let mut wrong = Vec::new();
    if !sale.volume_ml.is_positive() {
        wrong.push(format!("a sale of {:?}", sale.volume_ml));
    }
    let agrees = sale.unit_price_micros.agrees(sale.volume_ml, sale.amount_minor, STEP, currency);
    if !agrees && !sale.has_flag("amount_mismatch") {
        wrong.push(format!(
            "{:?} at {:?} is not {:?}, not flagged",
            sale.volume_ml, sale.unit_price_micros, sale.amount_minor
        ));
    }
    if let (Some(start), Some(end)) = (sale.totaliser_start_ml, sale.totaliser_end_ml)
        && start.checked_add(sale.volume_ml) != Some(end)
        && !sale.has_flag("totaliser_mismatch")
    {
        wrong.push(format!("totaliser {start:?} to {end:?} for {:?}, not flagged", sale.volume_ml));
    }
    if sale.ended_at.ms_since(sale.started_at) < 0 && sale.flags.is_empty() {
        wrong.push(format!("ended {} before it started {}", sale.ended_at, sale.started_at));
    }
    wrong
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use forecourt::ids::{Grade, OrderId};
    use forecourt::units::UnitPrice;
    use serde_json::json;

    pub fn account(limit: Limit) -> Account {
        let spec = OrderSpec::prepaid(
            OrderId::new("o-1").expect("an id"),
            NozzleId(3),
            Grade::new("92").expect("a grade"),
            limit,
            UnitPrice::new(7_450_000),
            Currency::CNY,
        );
        Account::open(spec, Uuid::from_u128(1)).expect("priced")
    }

    pub fn sale(volume_ml: i64, amount_minor: i64) -> SaleData {
        serde_json::from_value(json!({
            "sale_id": Uuid::from_u128(7), "order_id": "o-1", "basis": "prepaid", "nozzle": 3, "currency": "CNY",
            "unit_price_micros": 7_450_000, "volume_ml": volume_ml, "amount_minor": amount_minor,
            "totaliser_start_ml": 1_000, "totaliser_end_ml": 1_000 + volume_ml, "unaccounted_ml": 0,
            "started_at": "2026-11-21T08:31:10.120Z", "ended_at": "2026-11-21T08:32:02.480Z", "finish": "hung_up",
            "evidence": "end_record", "recovered": false, "flags": [], "context": {},
        }))
        .expect("a sale")
    }

    fn money(account: &Account) -> (i64, i64, i64) {
        (account.paid.get(), account.captured.get(), account.refunded.get())
    }

    #[test]
    fn an_early_hang_up_gives_the_rest_back() {
        let mut account = account(Limit::Amount(Money::new(20_000)));
        let wrong = account.close(End::Sale(Box::new(sale(10_000, 7_450))), Instant::now());
        assert_eq!((wrong, money(&account)), (vec![], (20_000, 7_450, 12_550)));
    }

    #[test]
    fn a_release_gives_everything_back() {
        let mut account = account(Limit::Volume(Volume::new(10_000)));
        let end = End::Released { event_id: Uuid::from_u128(9), reason: "not_lifted".into() };
        assert_eq!((account.close(end, Instant::now()), money(&account)), (vec![], (7_450, 0, 7_450)));
    }

    #[test]
    fn a_second_end_is_refused_and_changes_no_money_and_the_same_again_is_nothing() {
        let mut account = account(Limit::Amount(Money::new(20_000)));
        let first = End::Sale(Box::new(sale(10_000, 7_450)));
        account.close(first.clone(), Instant::now());
        let release = End::Released { event_id: Uuid::from_u128(9), reason: "no_flow".into() };
        let other = End::Sale(Box::new(SaleData { sale_id: Uuid::from_u128(8), ..sale(10_000, 7_450) }));
        for second in [release, other] {
            assert!(account.close(second, Instant::now())[0].contains("second end"));
        }
        assert_eq!((account.close(first, Instant::now()), money(&account)), (vec![], (20_000, 7_450, 12_550)));
    }

    #[test]
    fn each_disagreement_of_a_sale_is_found_unless_the_station_flags_it() {
        type Edit = fn(&mut SaleData);
        let cases: [(Edit, &str, Option<&str>); 5] = [
            (|sale| sale.nozzle = NozzleId(4), "nozzle", None),
            (|sale| sale.totaliser_end_ml = Some(Volume::new(5)), "totaliser", Some("totaliser_mismatch")),
            (|sale| sale.amount_minor = Money::new(7_500), "is not", Some("amount_mismatch")),
            (|sale| *sale = self::sale(30_000, 22_350), "more than", Some("limit_overrun")),
            (|sale| sale.context = json!({"x": 1}), "context", None),
        ];
        for (edit, complaint, flag) in cases {
            let mut odd = sale(10_000, 7_450);
            edit(&mut odd);
            let check = |odd: &SaleData| check_sale(odd, &account(Limit::Amount(Money::new(20_000))));
            let wrong = check(&odd);
            assert!(wrong.len() == 1 && wrong[0].contains(complaint), "{complaint}: {wrong:?}");
            if let Some(flag) = flag {
                odd.flags.push(flag.into());
                assert_eq!(check(&odd), Vec::<String>::new(), "{flag}");
            }
        }
    }
}
