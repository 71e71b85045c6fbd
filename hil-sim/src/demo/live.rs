//! The demo without end: drivers order on the reference platform, whoever they are; customers lift and fuel what stands armed at a
//! pump; and the board shows it all.

use super::board::{Board, CLEAR_SCREEN, NozzleRow};
use crate::customer::{Habits, Plan};
use crate::prng::Prng;
use crate::rig::people::visit;
use crate::rig::plan::DispenserPlan;
use crate::rig::town::{ENDS, Town};
use crate::rig::workshop::interrupted;
use anyhow::Context as _;
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use reference_platform::books::{Act, Invitation, NewOrder, Totals, Trouble};
use reference_platform::rehearsal::POSITION;
use std::collections::{BTreeSet, VecDeque};
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

const REDRAW: Duration = Duration::from_millis(200);
/// How often someone at a pump looks whether an order stands there.
const GLANCE: Duration = Duration::from_millis(100);
/// Events kept below the board.
const EVENTS: usize = 10;
/// Longer than any order of the demo lives.
const LIFE: Duration = Duration::from_secs(300);
/// How long a driver thinks who will not come.
const DOUBT: Duration = Duration::from_secs(8);
/// Height and width where the terminal does not tell.
const USUAL_SIZE: (usize, usize) = (24, 80);
/// Drivers of each fuelling point, so that none meets the limit of a day soon.
const DRIVERS: u64 = 20;

/// Runs until Ctrl-C.
///
/// # Errors
/// If the daemon ends by itself, or an order has no end.
pub async fn run(town: &Town, pages: &[String], prng: &Prng) -> anyhow::Result<()> {
    let points: Vec<&DispenserPlan> = town.stage.plan.lines.iter().flat_map(|line| &line.dispensers).collect();
    let [one, two, three, four] = points[..] else { anyhow::bail!("the demo has four fuelling points") };
    let forecourt = Forecourt { town, no_shows: Mutex::default() };
    let forecourt = &forecourt;
    let order = |point: &'_ DispenserPlan| {
        let prng = prng.fork(&format!("drivers-{}", point.fuelling_point));
        let point = point.clone();
        async move { forecourt.drivers(&point, prng).await }
    };
    let fuel = |point: &'_ DispenserPlan| {
        let prng = prng.fork(&format!("point-{}", point.fuelling_point));
        let nozzles: Vec<NozzleId> = point.nozzles.iter().map(|nozzle| nozzle.number).collect();
        async move { forecourt.customers(&nozzles, prng).await }
    };
    tokio::select! {
        ended = async { tokio::try_join!(order(one), order(two), order(three)) } => ended.map(|_| ()),
        () = async { tokio::join!(fuel(one), fuel(two), fuel(three), fuel(four)); } => Ok(()),
        shown = show(forecourt, pages) => shown,
        died = town.stage.daemon.died() => Err(died.into()),
        () = interrupted() => {
            println!("\r\nno more customers");
            Ok(())
        }
    }
}

struct Forecourt<'a> {
    town: &'a Town,
    /// Orders whose driver will not come to the pump.
    no_shows: Mutex<BTreeSet<String>>,
}

impl Forecourt<'_> {
    /// One driver after another orders at a fuelling point. At the last one nobody does: it is for whoever looks on.
    async fn drivers(&self, point: &DispenserPlan, mut prng: Prng) -> anyhow::Result<()> {
        for number in 0_u64.. {
            tokio::time::sleep(prng.between(Duration::from_millis(500), Duration::from_secs(6))).await;
            let nozzle = prng.pick(&point.nozzles).number;
            let who = u64::from(point.fuelling_point.0) * 100 + number % DRIVERS;
            let Some(order) = self.place(nozzle, who, &format!("demo-{nozzle}-{number:05}"), &mut prng).await? else {
                continue;
            };
            let stays_away = prng.below(10) == 0;
            if stays_away {
                self.no_shows.lock().unwrap_or_else(PoisonError::into_inner).insert(order.clone());
            }
            let shared = self.town.platform.shared();
            let id = order.clone();
            shared.write(move |act| act.channel_pay(&id, "sandbox").and_then(|news| act.take_callback(&news))).await?;
            if stays_away {
                tokio::time::sleep(DOUBT).await;
                let id = order.clone();
                // The station may have ended it meanwhile, which is as good.
                match shared.write(move |act| act.cancel_order(&id)).await {
                    Ok(()) | Err(Trouble::Refused(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.town
                .order(&order, "to its end", LIFE, |view| ENDS.contains(&view["state"].as_str().unwrap_or("")))
                .await?;
        }
        Ok(())
    }

    /// Places an order as the page would; `None` where the platform refuses it, as at a nozzle that is held.
    async fn place(&self, nozzle: NozzleId, who: u64, key: &str, prng: &mut Prng) -> anyhow::Result<Option<String>> {
        let plan = &self.town.stage.plan;
        let price = plan.grade_of(nozzle).and_then(|grade| plan.price_of(grade)).context("a nozzle of the plan")?;
        let whole = |prng: &mut Prng, least: u64, more: u64| i64::try_from(least + prng.below(more)).unwrap_or(0);
        let limit = match prng.below(3) {
            0 => Limit::Volume(Volume::new(whole(prng, 5, 40) * 1_000)),
            1 => Limit::FullTank(Money::new(whole(prng, 20, 10) * 1_000)),
            _ => Limit::Amount(Money::new(whole(prng, 5, 25) * 1_000)),
        };
        let (station_id, code, key) = (plan.station.clone(), self.town.code(nozzle)?.to_owned(), key.to_owned());
        let place = move |act: &mut Act<'_>| {
            // Whoever comes later was invited by the first of all, so that there is commission to see.
            let (_, first, _) = act.log_in("13900000000")?;
            let (_, member, is_new) = act.log_in(&format!("1390000{who:04}"))?;
            if is_new {
                act.bind(
                    &member.member_id,
                    &Invitation { inviter_id: first.member_id, station_id, position: POSITION },
                )?;
            }
            let wanted = NewOrder {
                qr_token: code,
                limit,
                coupon_id: None,
                vehicle_id: None,
                group_id: None,
                pay_with: "sandbox".into(),
                idempotency_key: key,
                unit_price_micros: price,
                lat_udeg: None,
                lon_udeg: None,
            };
            act.place_order(&member.member_id, &wanted).map(|(order, _)| order)
        };
        match self.town.platform.shared().write(place).await {
            Ok(order) => Ok(Some(order)),
            Err(Trouble::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whoever stands at a fuelling point fuels what was ordered there, on the page by a person or by the drivers above. Never ends.
    async fn customers(&self, nozzles: &[NozzleId], mut prng: Prng) {
        let mut served = None;
        loop {
            tokio::time::sleep(GLANCE).await;
            let waiting = nozzles.iter().find_map(|nozzle| {
                let order = self.town.stage.platform.look(|desk| desk.nozzle(*nozzle)?.order_id.clone())?;
                Some((*nozzle, order.to_string()))
            });
            let Some((nozzle, order)) = waiting.filter(|(_, order)| served.as_ref() != Some(order)) else { continue };
            let stays_away = self.no_shows.lock().unwrap_or_else(PoisonError::into_inner).remove(&order);
            let chance = prng.fork(&order);
            served = Some(order);
            if stays_away {
                continue;
            }
            let plan = match prng.below(10) {
                0..4 => Plan::HangUpEarly { at: Volume::new(i64::try_from(2 + prng.below(20)).unwrap_or(2) * 1_000) },
                _ => Plan::FuelToPreset,
            };
            let (tell, ready) = oneshot::channel();
            let _ = tell.send(());
            visit(&self.town.stage.pumps, nozzle, plan, Habits::default(), chance, ready).await;
        }
    }

    async fn board(&self, pages: &[String], events: &VecDeque<String>) -> anyhow::Result<Board> {
        let stage = &self.town.stage;
        let mut nozzles = Vec::new();
        for (nozzle, place) in stage.pumps.places() {
            let view = stage.pumps.view(nozzle);
            let out = view.is_some_and(|view| view.nozzle_out == Some(place.index));
            let known = stage.platform.look(|desk| desk.nozzle(nozzle).cloned());
            let order = match known.as_ref().and_then(|known| known.order_id.as_ref()) {
                Some(id) => Some(self.label(id.to_string()).await?),
                None => None,
            };
            nozzles.push(NozzleRow {
                fuelling_point: place.fuelling_point,
                nozzle,
                grade: stage.plan.grade_of(nozzle).map(ToString::to_string).unwrap_or_default(),
                state: known.map_or_else(|| "unknown".into(), |known| known.state),
                shown: view.filter(|_| out).map(|view| stage.pumps.shown(&view)),
                order,
            });
        }
        let sums: Totals = self.town.platform.shared().read(|act| act.totals()).await?;
        let report = stage.platform.report();
        let station = stage.platform.look(|desk| desk.station().cloned());
        let online = if station.as_ref().is_some_and(|state| state.online) { "online" } else { "offline" };
        Ok(Board {
            station: format!("{} {online}", stage.plan.station),
            currency: stage.plan.currency,
            nozzles,
            pages: pages.to_vec(),
            orders: (sums.orders, sums.open),
            money: [sums.paid, sums.charged, sums.given_back, sums.commission],
            outbox: station.and_then(|state| state.outbox).map(|outbox| outbox.pending),
            records: report.counts.records,
            violations: report.violations.len(),
            events: events.iter().cloned().collect(),
        })
    }

    /// An order with its limit.
    async fn label(&self, id: String) -> anyhow::Result<String> {
        let order = id.clone();
        let view = self.town.platform.shared().read(move |act| act.order_view(&order)).await?;
        let limit = serde_json::from_value(view["limit"].clone()).context("the order's limit")?;
        let currency = self.town.stage.plan.currency;
        Ok(match limit {
            Limit::Amount(money) => format!("{id}, {} {currency}", money.major(currency)),
            Limit::Volume(volume) => format!("{id}, {} L", volume.litres()),
            Limit::FullTank(money) => format!("{id}, full, at most {} {currency}", money.major(currency)),
        })
    }
}

/// Draws the board on a terminal; elsewhere prints what happens, a line each. Never ends by itself.
async fn show(forecourt: &Forecourt<'_>, pages: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let on_terminal = out.is_terminal();
    if on_terminal {
        write!(out, "{CLEAR_SCREEN}")?;
    }
    let mut events = VecDeque::new();
    loop {
        for notice in forecourt.town.stage.platform.notices() {
            if !on_terminal {
                writeln!(out, "{notice}")?;
            }
            events.push_back(notice.to_string());
            if events.len() > EVENTS {
                events.pop_front();
            }
        }
        if on_terminal {
            let (rows, columns) = terminal_size(&out);
            write!(out, "{}", forecourt.board(pages, &events).await?.frame(rows, columns))?;
        }
        out.flush()?;
        tokio::time::sleep(REDRAW).await;
    }
}

fn terminal_size(out: &std::io::Stdout) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(out) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => USUAL_SIZE,
    }
}
