//! Any sequence of orders, fills, refunds, corrections and withdrawals keeps the ledger balanced and every order's money accounted for.

use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use proptest::prelude::*;
use reference_platform::books::{Coupon, Invitation, NewCard, Trouble};
use reference_platform::contract::fake_station::STATION;
use reference_platform::rehearsal::{POSITION, Rehearsal};
use serde_json::Value;

#[derive(Clone, Debug)]
enum Deed {
    Order { member: usize, limit: i64, coupon: bool, card: bool },
    Pay(usize),
    PayAgain(usize),
    Fill { order: usize, ml: i64 },
    SendAgain(usize),
    Release(usize),
    Review(usize),
    Cancel(usize),
    Refunds,
    Withdraw { member: usize, minor: i64 },
    Correct { sale: usize, minor: i64 },
    Wait(i64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let order = 0..12_usize;
    prop_oneof![
        4 => (0..4_usize, 100..60_000_i64, any::<bool>(), any::<bool>())
            .prop_map(|(member, limit, coupon, card)| Deed::Order { member, limit, coupon, card }),
        5 => order.clone().prop_map(Deed::Pay),
        1 => order.clone().prop_map(Deed::PayAgain),
        5 => (order.clone(), 1..90_000_i64).prop_map(|(order, ml)| Deed::Fill { order, ml }),
        1 => order.clone().prop_map(Deed::SendAgain),
        1 => order.clone().prop_map(Deed::Release),
        1 => order.clone().prop_map(Deed::Review),
        1 => order.clone().prop_map(Deed::Cancel),
        2 => Just(Deed::Refunds),
        1 => (0..4_usize, 1..60_000_i64).prop_map(|(member, minor)| Deed::Withdraw { member, minor }),
        1 => (order, 0..20_000_i64).prop_map(|(sale, minor)| Deed::Correct { sale, minor }),
        1 => (1..400_000_i64).prop_map(Deed::Wait),
    ]
}

/// What the deeds are done to.
struct Scene {
    play: Rehearsal,
    members: Vec<String>,
    cards: Vec<String>,
    orders: Vec<(String, bool)>,
    records: Vec<Value>,
}

impl Scene {
    fn new() -> Result<Self, Trouble> {
        let mut play = Rehearsal::new()?;
        let members: Vec<String> = (0..4).map(|number| play.member(number)).collect::<Result<_, _>>()?;
        let mut cards = Vec::new();
        for (place, member) in members.iter().enumerate() {
            if let Some(inviter) = members.get(place + 1) {
                let invitation =
                    Invitation { inviter_id: inviter.clone(), station_id: STATION.into(), position: POSITION };
                play.act(|act| act.bind(member, &invitation))?;
            }
            let account = play.act(|act| act.open_prepaid("card", Money::new(100_000)))?;
            let limit = Money::new(100_000);
            let card =
                NewCard { account_id: &account, member_id: member, grades: &[], fill_limit: limit, day_limit: limit };
            cards.push(play.act(|act| act.issue_card(&card))?);
        }
        Ok(Self { play, members, cards, orders: Vec::new(), records: Vec::new() })
    }

    /// Refusals are outcomes; only the database may not say no.
    fn does(&mut self, deed: &Deed) -> Result<(), Trouble> {
        match self.attempt(deed) {
            Err(Trouble::Refused(_)) | Ok(()) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn attempt(&mut self, deed: &Deed) -> Result<(), Trouble> {
        let play = &mut self.play;
        let order = |place: usize| self.orders.get(place).cloned();
        match deed {
            Deed::Order { member, limit, coupon, card } => {
                let mut wanted = play.wanted(3, Limit::Amount(Money::new(*limit)))?;
                if *coupon {
                    let coupon = Coupon { threshold: Money::new(20_000), discount: Money::new(1_000) };
                    let expires = play.now.plus_ms(86_400_000);
                    wanted.coupon_id = Some(play.act(|act| act.give_coupon(&self.members[*member], coupon, expires))?);
                }
                if *card {
                    wanted.pay_with = self.cards[*member].clone();
                }
                let (id, _) = play.act(|act| act.place_order(&self.members[*member], &wanted))?;
                self.orders.push((id, *card));
            }
            Deed::Pay(place) | Deed::PayAgain(place) => {
                let Some((id, card)) = order(*place) else { return Ok(()) };
                let channel = if matches!(deed, Deed::Pay(_)) { "sandbox" } else { "sandbox_other" };
                if card {
                    return play.act(|act| act.pay_by_card(&id));
                }
                let callback = play.act(|act| act.channel_pay(&id, channel))?;
                play.act(|act| act.take_callback(&callback))?;
            }
            Deed::Fill { order: place, ml } => {
                let Some((id, _)) = order(*place) else { return Ok(()) };
                let record = play.sale(Some(&id), 3, Volume::new(*ml));
                self.records.push(record.clone());
                play.send(&record)?;
            }
            Deed::SendAgain(place) => {
                let Some(record) = self.records.get(*place).cloned() else { return Ok(()) };
                play.send(&record)?;
            }
            Deed::Release(place) => {
                let Some((id, _)) = order(*place) else { return Ok(()) };
                play.release(&id, "not_lifted")?;
            }
            Deed::Review(place) => {
                let Some((id, _)) = order(*place) else { return Ok(()) };
                let data = serde_json::json!({"order_id": id, "nozzle": 3, "why": "power"});
                let record = play.station.record("fuel.order.review.v1", data);
                play.send(&record)?;
            }
            Deed::Cancel(place) => {
                let Some((id, _)) = order(*place) else { return Ok(()) };
                play.act(|act| act.cancel_order(&id))?;
            }
            Deed::Refunds => play.refund_all()?,
            Deed::Withdraw { member, minor } => {
                let key = format!("w-{minor}");
                play.act(|act| act.withdraw(&self.members[*member], Money::new(*minor), &key))?;
            }
            Deed::Correct { sale, minor } => {
                let Some(record) = self.records.get(*sale) else { return Ok(()) };
                let sale = record["data"]["sale_id"].as_str().unwrap_or("").to_owned();
                play.act(|act| act.correct_sale(&sale, Money::new(*minor), "manager", "test"))?;
            }
            Deed::Wait(ms) => {
                play.pass_ms(*ms);
                play.act(|act| act.expire_unpaid())?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_ledger_balances_and_every_order_is_accounted_for_after_every_deed(deeds in prop::collection::vec(deed(), 1..40)) {
        let mut scene = Scene::new().expect("opens");
        for deed in &deeds {
            scene.does(deed).expect("the database never says no");
            let wrong = scene.play.act(|act| act.audit_ledger()).expect("reads");
            prop_assert!(wrong.is_empty(), "after {deed:?}: {wrong:?}");
        }
        // Once the channel is done, what the outside world holds is what it paid and did not get back.
        while !scene.play.act(|act| act.channel_refunds()).expect("reads").is_empty() {
            scene.play.refund_all().expect("refunds");
        }
        let wrong = scene.play.act(|act| act.audit_ledger()).expect("reads");
        prop_assert!(wrong.is_empty(), "{wrong:?}");
    }
}
