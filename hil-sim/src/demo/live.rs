//! The demo without end: customers come to every fuelling point, and the board shows it all.

use super::board::{Board, CLEAR_SCREEN, NozzleRow};
use crate::customer::{Habits, Plan};
use crate::platform::{End, OrderSpec, Platform};
use crate::prng::Prng;
use crate::rig::people::visit;
use crate::rig::plan::DispenserPlan;
use crate::rig::stage::Stage;
use crate::rig::workshop::interrupted;
use anyhow::Context as _;
use forecourt::ids::{NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::sync::oneshot;

const REDRAW: Duration = Duration::from_millis(200);
/// Events kept below the board.
const EVENTS: usize = 10;
const REPLY: Duration = Duration::from_secs(10);
/// Longer than any order of the demo lives.
const LIFE: Duration = Duration::from_secs(300);
/// Height and width where the terminal does not tell.
const USUAL_SIZE: (usize, usize) = (24, 80);

/// Runs until Ctrl-C.
///
/// # Errors
/// If the daemon ends by itself, or the station stops answering.
pub async fn run(stage: &Stage, prng: &Prng) -> anyhow::Result<()> {
    let Stage { plan, pumps, platform, daemon, .. } = stage;
    let points: Vec<&DispenserPlan> = plan.lines.iter().flat_map(|line| &line.dispensers).collect();
    let [one, two, three, four] = points[..] else { anyhow::bail!("the demo has four fuelling points") };
    let forecourt = Forecourt { plan, pumps, platform };
    let come = |point: &'_ DispenserPlan| {
        let prng = prng.fork(&format!("point-{}", point.fuelling_point));
        let nozzles: Vec<NozzleId> = point.nozzles.iter().map(|nozzle| nozzle.number).collect();
        async move { forecourt.customers(&nozzles, prng).await }
    };
    tokio::select! {
        ended = async { tokio::try_join!(come(one), come(two), come(three), come(four)) } => ended.map(|_| ()),
        shown = show(&forecourt) => shown,
        died = daemon.died() => Err(died.into()),
        () = interrupted() => {
            println!("\r\nno more customers");
            Ok(())
        }
    }
}

#[derive(Clone, Copy)]
struct Forecourt<'a> {
    plan: &'a crate::rig::plan::Plan,
    pumps: &'a crate::rig::pumps::Pumps,
    platform: &'a Platform,
}

impl Forecourt<'_> {
    /// One customer after another at a fuelling point.
    async fn customers(&self, nozzles: &[NozzleId], mut prng: Prng) -> anyhow::Result<()> {
        for number in 1.. {
            tokio::time::sleep(prng.between(Duration::from_millis(500), Duration::from_secs(6))).await;
            let nozzle = *prng.pick(nozzles);
            let id = OrderId::new(format!("demo-{nozzle}-{number}"))?;
            self.customer(nozzle, id, &mut prng).await?;
        }
        Ok(())
    }

    async fn customer(&self, nozzle: NozzleId, id: OrderId, prng: &mut Prng) -> anyhow::Result<()> {
        let grade = self.plan.grade_of(nozzle).context("a nozzle of the plan")?;
        let price = self.plan.price_of(grade).context("a grade of the plan")?;
        let whole = |prng: &mut Prng, least: u64, more: u64| i64::try_from(least + prng.below(more)).unwrap_or(0);
        let limit = match prng.below(3) {
            0 => Limit::Volume(Volume::new(whole(prng, 5, 40) * 1_000)),
            1 => Limit::FullTank(Money::new(whole(prng, 20, 10) * 1_000)),
            _ => Limit::Amount(Money::new(whole(prng, 5, 25) * 1_000)),
        };
        let plan = match prng.below(10) {
            0 => Plan::NeverLift,
            1..4 => Plan::HangUpEarly { at: Volume::new(whole(prng, 2, 20) * 1_000) },
            _ => Plan::FuelToPreset,
        };
        let mut spec = OrderSpec::prepaid(id, nozzle, grade.clone(), limit, price, self.plan.currency);
        spec.lift_timeout_s = Some(30);
        let order = self.platform.pay(spec);
        let (tell, ready) = oneshot::channel();
        let ends = async {
            let (reply, _) = order.reply(REPLY).await?;
            if reply.result == "armed" {
                // A customer who never comes hears nothing.
                let _ = tell.send(());
            }
            order.end(LIFE).await
        };
        let visits = visit(self.pumps, nozzle, plan, Habits::default(), prng.fork(order.order_id.as_str()), ready);
        let (end, fuelled) = tokio::join!(ends, visits);
        anyhow::ensure!(
            matches!(end?, End::Sale(_)) == fuelled,
            "order {}: the end is not what happened",
            order.order_id
        );
        Ok(())
    }

    fn board(&self, events: &VecDeque<String>) -> Board {
        let rows = self.pumps.places().map(|(nozzle, place)| {
            let view = self.pumps.view(nozzle);
            let out = view.is_some_and(|view| view.nozzle_out == Some(place.index));
            self.platform.look(|desk| {
                let known = desk.nozzle(nozzle);
                let order = known.and_then(|known| known.order_id.clone());
                NozzleRow {
                    fuelling_point: place.fuelling_point,
                    nozzle,
                    grade: self.plan.grade_of(nozzle).map(ToString::to_string).unwrap_or_default(),
                    state: known.map_or_else(|| "unknown".into(), |known| known.state.clone()),
                    shown: view.filter(|_| out).map(|view| self.pumps.shown(&view)),
                    order: order.map(|id| match desk.account(&id) {
                        Some(account) => format!("{id}, {}", self.limit_text(account.spec.limit)),
                        None => id.to_string(),
                    }),
                }
            })
        });
        let nozzles = rows.collect();
        let report = self.platform.report();
        let station = self.platform.look(|desk| desk.station().cloned());
        let online = if station.as_ref().is_some_and(|state| state.online) { "online" } else { "offline" };
        Board {
            station: format!("{} {online}", self.plan.station),
            currency: self.plan.currency,
            nozzles,
            orders: (report.orders.len(), report.open.len()),
            money: [report.paid_minor, report.captured_minor, report.refunded_minor],
            outbox: station.and_then(|state| state.outbox).map(|outbox| outbox.pending),
            records: report.counts.records,
            violations: report.violations.len(),
            events: events.iter().cloned().collect(),
        }
    }

    fn limit_text(&self, limit: Limit) -> String {
        let currency = self.plan.currency;
        match limit {
            Limit::Amount(money) => format!("{} {currency}", money.major(currency)),
            Limit::Volume(volume) => format!("{} L", volume.litres()),
            Limit::FullTank(money) => format!("full, at most {} {currency}", money.major(currency)),
        }
    }
}

/// Draws the board on a terminal; elsewhere prints what happens, a line each. Never ends by itself.
async fn show(forecourt: &Forecourt<'_>) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let on_terminal = out.is_terminal();
    if on_terminal {
        write!(out, "{CLEAR_SCREEN}")?;
    }
    let mut events = VecDeque::new();
    loop {
        for notice in forecourt.platform.notices() {
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
            write!(out, "{}", forecourt.board(&events).frame(rows, columns))?;
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
