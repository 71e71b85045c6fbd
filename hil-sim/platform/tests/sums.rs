//! Any sequence of orders, fills, refunds, corrections and withdrawals keeps the ledger balanced and every order's money accounted for,
//! also where station, channel and the road between them lie, repeat themselves, mix up the order or lose answers.

use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use reference_platform::books::channel::Callback;
use reference_platform::books::{Account, Coupon, Invitation, NewCard, NewStation, Trouble};
use reference_platform::contract::fake_station::{FakeStation, STATION, opened};
use reference_platform::rehearsal::{POSITION, Rehearsal};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A second station, which none of the orders is for.
const OTHER: &str = "st-2";

#[derive(Clone, Debug)]
enum Deed {
    Order {
        member: usize,
        limit: i64,
        coupon: bool,
        card: bool,
        group: bool,
    },
    Pay(usize),
    PayAgain(usize),
    Fill {
        order: usize,
        ml: i64,
    },
    SendAgain(usize),
    Release(usize),
    Review(usize),
    Cancel(usize),
    Refunds,
    /// The channel pays back and its word is lost.
    RefundsUnheard,
    /// A callback that came before.
    CallbackAgain(usize),
    /// A sale is recorded and kept back.
    FillLater {
        order: usize,
        ml: i64,
    },
    /// What was kept back, in one batch, the last first.
    Batch,
    /// A sale of an order that nobody made.
    Stray(i64),
    /// Another station's sale and release of an order of ours.
    Foreign {
        order: usize,
        ml: i64,
    },
    /// A second record of a sale that stands in one already.
    SameSale(usize),
    /// A sale with a figure that no pump shows.
    Odd {
        order: usize,
        member: &'static str,
        value: i64,
    },
    /// The station's answer to the order.
    Reply {
        order: usize,
        result: &'static str,
    },
    Withdraw {
        member: usize,
        minor: i64,
    },
    Correct {
        sale: usize,
        minor: i64,
    },
    Wait(i64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let order = 0..12_usize;
    let ml = prop_oneof![8 => 1..90_000_i64, 1 => Just(0)];
    let filled = (order.clone(), ml.clone());
    let figures = (select(vec!["amount_minor", "volume_ml"]), select(vec![-20_000, -1, 0, 1 << 50]));
    let words = select(vec!["armed", "queued", "overloaded", "too_old", "malformed", "expired", "conflict", "?"]);
    prop_oneof![
        4 => (0..4_usize, 100..60_000_i64, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(member, limit, coupon, card, group)| Deed::Order { member, limit, coupon, card, group }),
        5 => order.clone().prop_map(Deed::Pay),
        1 => order.clone().prop_map(Deed::PayAgain),
        5 => filled.clone().prop_map(|(order, ml)| Deed::Fill { order, ml }),
        1 => order.clone().prop_map(Deed::SendAgain),
        1 => order.clone().prop_map(Deed::Release),
        1 => order.clone().prop_map(Deed::Review),
        1 => order.clone().prop_map(Deed::Cancel),
        2 => Just(Deed::Refunds),
        1 => Just(Deed::RefundsUnheard),
        1 => order.clone().prop_map(Deed::CallbackAgain),
        2 => filled.clone().prop_map(|(order, ml)| Deed::FillLater { order, ml }),
        1 => Just(Deed::Batch),
        1 => ml.prop_map(Deed::Stray),
        1 => filled.prop_map(|(order, ml)| Deed::Foreign { order, ml }),
        1 => order.clone().prop_map(Deed::SameSale),
        1 => (order.clone(), figures).prop_map(|(order, (member, value))| Deed::Odd { order, member, value }),
        1 => (order.clone(), words).prop_map(|(order, result)| Deed::Reply { order, result }),
        1 => (0..4_usize, 1..60_000_i64).prop_map(|(member, minor)| Deed::Withdraw { member, minor }),
        1 => (order, 0..20_000_i64).prop_map(|(sale, minor)| Deed::Correct { sale, minor }),
        1 => (1..400_000_i64).prop_map(Deed::Wait),
    ]
}

/// What the deeds are done to.
struct Scene {
    play: Rehearsal,
    members: Vec<String>,
    /// Account and card of each member.
    cards: Vec<(String, String)>,
    group: String,
    orders: Vec<(String, bool)>,
    records: Vec<Value>,
    kept_back: Vec<Value>,
    callbacks: Vec<Callback>,
    other: FakeStation,
    /// How orders ended when that was first seen.
    ends: BTreeMap<String, [Value; 2]>,
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
            let card = play.act(|act| act.issue_card(&card))?;
            cards.push((account, card));
        }
        let group = play.act(|act| act.found_group(&members[0], STATION))?;
        let group = group["group_id"].as_str().unwrap_or("").to_owned();
        for member in &members[1..3] {
            play.act(|act| act.join_group(member, &group))?;
        }
        play.act(|act| {
            act.enter_station(&NewStation {
                station_id: OTHER.into(),
                name: ["别站".into(), "Other".into()],
                position: POSITION,
                currency: "CNY".into(),
            })
        })?;
        Ok(Self {
            play,
            members,
            cards,
            group,
            orders: Vec::new(),
            records: Vec::new(),
            kept_back: Vec::new(),
            callbacks: Vec::new(),
            other: FakeStation::named(OTHER),
            ends: BTreeMap::new(),
        })
    }

    /// Refusals are outcomes; only the database may not say no.
    fn does(&mut self, deed: &Deed) -> Result<(), Trouble> {
        match self.attempt(deed) {
            Err(Trouble::Refused(_)) | Ok(()) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn attempt(&mut self, deed: &Deed) -> Result<(), Trouble> {
        let id_of =
            |place: &usize| self.orders.get(*place).cloned().unwrap_or_else(|| ("20261121-999999".into(), false));
        match deed {
            Deed::Order { member, limit, coupon, card, group } => self.order(*member, *limit, *coupon, *card, *group),
            Deed::Pay(place) => self.pay(id_of(place), "sandbox"),
            Deed::PayAgain(place) => self.pay(id_of(place), "sandbox_other"),
            Deed::Fill { order, ml } => {
                let record = self.play.sale(Some(&id_of(order).0), 3, Volume::new(*ml));
                self.records.push(record.clone());
                self.play.send(&record).map(|_| ())
            }
            Deed::FillLater { order, ml } => {
                let record = self.play.sale(Some(&id_of(order).0), 3, Volume::new(*ml));
                self.kept_back.push(record);
                Ok(())
            }
            Deed::Batch => {
                let batch: Vec<Value> = std::mem::take(&mut self.kept_back).into_iter().rev().collect();
                self.deliver(&batch)
            }
            Deed::SendAgain(place) => match self.records.get(*place).cloned() {
                Some(record) => self.play.send(&record).map(|_| ()),
                None => Ok(()),
            },
            Deed::Release(place) => self.play.release(&id_of(place).0, "not_lifted"),
            Deed::Review(place) => {
                let data = json!({"order_id": id_of(place).0, "nozzle": 3, "why": "power"});
                let record = self.play.station.record("fuel.order.review.v1", data);
                self.play.send(&record).map(|_| ())
            }
            Deed::Stray(ml) => {
                let record = self.play.sale(Some("20261121-000000"), 3, Volume::new(*ml));
                self.play.send(&record).map(|_| ())
            }
            Deed::Foreign { order, ml } => {
                let id = id_of(order).0;
                let records = [self.other.sale(&id, 0, *ml, *ml), self.other.released(&id, "not_lifted")];
                self.play.books.ingest(OTHER, json!(records).to_string().as_bytes(), self.play.now).map(|_| ())
            }
            Deed::SameSale(place) => {
                let Some(record) = self.records.get(*place) else { return Ok(()) };
                let record = self.play.station.record("fuel.sale.v1", record["data"].clone());
                self.play.send(&record).map(|_| ())
            }
            Deed::Odd { order, member, value } => {
                // The honest record is never sent: a gap, as where a record was set aside.
                let mut data = self.play.sale(Some(&id_of(order).0), 3, Volume::new(10_000))["data"].take();
                data[*member] = (*value).into();
                let record = self.play.station.record("fuel.sale.v1", data);
                self.play.send(&record).map(|_| ())
            }
            Deed::Reply { order, result } => {
                let view = self.play.view(&id_of(order).0)?;
                let Some(token) = view["jws"].as_str() else { return Ok(()) };
                let data = json!({"command_id": opened(token)["id"], "command_type": "fuel.order.authorise.v1",
                    "result": result, "repeated": false, "detail": "", "position": 1});
                self.play.tell("reply", "fuel.reply.v1", data)
            }
            Deed::Cancel(place) => self.play.act(|act| act.cancel_order(&id_of(place).0)),
            Deed::Refunds => self.play.refund_all(),
            Deed::RefundsUnheard => {
                let callbacks = self.play.act(|act| act.channel_refunds())?;
                self.callbacks.extend(callbacks);
                Ok(())
            }
            Deed::CallbackAgain(place) => match self.callbacks.get(*place) {
                Some(callback) => self.play.act(|act| act.take_callback(callback)),
                None => Ok(()),
            },
            Deed::Withdraw { member, minor } => {
                let key = format!("w-{minor}");
                self.play.act(|act| act.withdraw(&self.members[*member], Money::new(*minor), &key)).map(|_| ())
            }
            Deed::Correct { sale, minor } => {
                let Some(record) = self.records.get(*sale) else { return Ok(()) };
                let sale = record["data"]["sale_id"].as_str().unwrap_or("");
                self.play.act(|act| act.correct_sale(sale, Money::new(*minor), "manager", "test"))
            }
            Deed::Wait(ms) => {
                self.play.pass_ms(*ms);
                self.play.act(|act| act.expire_unpaid()).map(|_| ())
            }
        }
    }

    fn order(&mut self, member: usize, limit: i64, coupon: bool, card: bool, group: bool) -> Result<(), Trouble> {
        let play = &mut self.play;
        let mut wanted = play.wanted(3, Limit::Amount(Money::new(limit)))?;
        if coupon {
            let coupon = Coupon { threshold: Money::new(20_000), discount: Money::new(1_000) };
            let expires = play.now.plus_ms(86_400_000);
            wanted.coupon_id = Some(play.act(|act| act.give_coupon(&self.members[member], coupon, expires))?);
        }
        if card {
            wanted.pay_with = self.cards[member].1.clone();
        }
        wanted.group_id = group.then(|| self.group.clone());
        let (id, _) = play.act(|act| act.place_order(&self.members[member], &wanted))?;
        self.orders.push((id, card));
        Ok(())
    }

    fn pay(&mut self, (id, card): (String, bool), channel: &str) -> Result<(), Trouble> {
        if card {
            return self.play.act(|act| act.pay_by_card(&id));
        }
        let callback = self.play.act(|act| act.channel_pay(&id, channel))?;
        self.callbacks.push(callback.clone());
        self.play.act(|act| act.take_callback(&callback))
    }

    fn deliver(&mut self, records: &[Value]) -> Result<(), Trouble> {
        self.play.books.ingest(STATION, json!(records).to_string().as_bytes(), self.play.now).map(|_| ())
    }

    fn refund_everything(&mut self) {
        while !self.play.act(|act| act.channel_refunds()).expect("reads").is_empty() {
            self.play.refund_all().expect("refunds");
        }
    }

    fn wrong(&mut self) -> Vec<String> {
        let mut wrong = self.play.act(|act| act.audit_ledger()).expect("reads");
        for (id, _) in &self.orders {
            let view = self.play.view(id).expect("an order");
            let end = [view["state"].clone(), view["end"]["sale_id"].clone()];
            if !view["end"].is_null() {
                let first = self.ends.entry(id.clone()).or_insert_with(|| end.clone());
                if *first != end {
                    wrong.push(format!("order {id} ended as {first:?}, now as {end:?}"));
                }
            }
        }
        wrong
    }

    /// The station is owed what its completed orders came to and nothing else; nobody paid more than agreed; commission is the share of
    /// what was dispensed.
    fn wrong_at_the_end(&mut self) -> Vec<String> {
        let mut wrong = self.wrong();
        let mut credited = 0;
        for (id, _) in self.orders.clone() {
            let view = self.play.view(&id).expect("an order");
            let end = &view["end"];
            let number = |value: &Value| value.as_i64().unwrap_or(0);
            let [charged, payable] = [&end["charged_minor"], &view["payable_minor"]].map(number);
            let [amount, coupon, group] =
                ["amount_minor", "discount_minor", "group_rebate_minor"].map(|name| number(&end[name]));
            match view["state"].as_str() {
                Some("completed") => {
                    credited += charged + coupon + group;
                    let overrun = charged == payable && charged + coupon + group < amount;
                    if charged > payable || (charged + coupon + group != amount && !overrun) {
                        wrong.push(format!("order {id}: {end}"));
                    }
                    for one in end["commission"].as_array().into_iter().flatten() {
                        let rate = if one["level"] == 1 { 500 } else { 80 };
                        if number(&one["amount_minor"]) != (amount * rate + 5_000) / 10_000 {
                            wrong.push(format!("order {id}: {amount} gave {one}"));
                        }
                    }
                }
                Some("released") if view["payment"]["state"] != "refunded" => wrong.push(format!("{id} not refunded")),
                _ => {}
            }
        }
        for (station, owed) in [(STATION, credited), (OTHER, 0)] {
            let balance = self.play.act(|act| act.balance(Account::Station(station))).expect("reads").get();
            if balance != owed {
                wrong.push(format!("{station} is owed {balance}, its orders came to {owed}"));
            }
        }
        wrong
    }

    /// All that money came to, whatever was said on the way.
    fn summary(&mut self) -> Vec<Value> {
        self.refund_everything();
        let mut all = Vec::new();
        for (id, _) in self.orders.clone() {
            let view = self.play.view(&id).expect("an order");
            all.push(json!([id, view["state"], view["end"], view["payment"]]));
        }
        let mut balance = |account: Account<'_>| self.play.act(|act| act.balance(account)).expect("reads").get();
        for account in [Account::Station(STATION), Account::Marketing, Account::Outside("sandbox")] {
            all.push(json!([format!("{account:?}"), balance(account)]));
        }
        for (member, (account, _)) in self.members.iter().zip(&self.cards) {
            all.push(json!([member, balance(Account::Wallet(member)), balance(Account::Card(account))]));
        }
        for member in &self.members {
            let wallet = self.play.act(|act| act.wallet_view(member)).expect("reads");
            all.push(json!([member, wallet["points"]]));
        }
        all
    }
}

/// An order and how it ends: litres, or none.
type Fuelling = (usize, i64, [bool; 3], Option<i64>);

fn fuelling() -> impl Strategy<Value = Fuelling> {
    (0..4_usize, 20_000..60_000_i64, any::<[bool; 3]>(), prop::option::weighted(0.8, 1..90_000_i64))
}

/// Paid orders, and an honest station's records of them: one end each, and fuel without an order between.
fn honest(fuellings: &[Fuelling]) -> (Scene, Vec<Value>) {
    let mut scene = Scene::new().expect("opens");
    let mut records = Vec::new();
    for (member, limit, [coupon, card, group], end) in fuellings {
        let made = scene.orders.len();
        let placed = scene.order(*member, *limit, *coupon, *card, *group);
        let Some(order) = scene.orders.get(made).cloned() else {
            assert!(matches!(placed, Err(Trouble::Refused(_))), "{placed:?}");
            continue;
        };
        let paid = scene.pay(order.clone(), "sandbox");
        let ours = match paid {
            Ok(()) => Some(order.0.as_str()),
            Err(Trouble::Refused(_)) => None,
            Err(trouble) => panic!("{trouble}"),
        };
        records.push(match (end, ours) {
            (None, Some(id)) => scene.play.station.released(id, "not_lifted"),
            (ml, id) => scene.play.sale(id, 3, Volume::new(ml.unwrap_or(5_000))),
        });
    }
    (scene, records)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_ledger_balances_and_every_order_is_accounted_for_after_every_deed(deeds in prop::collection::vec(deed(), 1..50)) {
        let mut scene = Scene::new().expect("opens");
        for deed in &deeds {
            scene.does(deed).expect("the database never says no");
            let wrong = scene.wrong();
            prop_assert!(wrong.is_empty(), "after {deed:?}: {wrong:?}");
        }
        scene.refund_everything();
        let wrong = scene.wrong_at_the_end();
        prop_assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// Batches cut anywhere, records again after a lost acknowledgement, the last before the first, refunds in between, the channel's word
    /// lost: the books at the end are those of a perfect road.
    #[test]
    fn what_the_road_does_to_an_honest_stations_records_changes_no_sum(
        fuellings in prop::collection::vec(fuelling(), 1..8),
        batches in prop::collection::vec(prop::collection::vec(any::<Index>(), 1..5), 0..10),
        unheard in any::<[bool; 10]>(),
    ) {
        let (mut straight, records) = honest(&fuellings);
        for record in &records {
            straight.play.send(record).expect("stored");
        }
        let (mut crooked, same) = honest(&fuellings);
        prop_assert_eq!(&records, &same);
        if !records.is_empty() {
            for (batch, unheard) in batches.iter().zip(unheard) {
                let batch: Vec<Value> = batch.iter().map(|index| index.get(&records).clone()).collect();
                crooked.deliver(&batch).expect("stored");
                crooked.does(if unheard { &Deed::RefundsUnheard } else { &Deed::Refunds }).expect("pays back");
            }
            let rest: Vec<Value> = records.iter().rev().cloned().collect();
            crooked.deliver(&rest).expect("stored");
        }
        prop_assert_eq!(straight.summary(), crooked.summary());
        let wrong = crooked.wrong_at_the_end();
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
        prop_assert!(crooked.play.act(|act| act.disputes()).expect("reads").is_empty());
    }
}
