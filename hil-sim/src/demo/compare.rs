//! Platform, store and pumps side by side: each keeps its own figures, and all must be the same.

use super::script::Played;
use crate::rig::stage::Stage;
use crate::rig::store::Books;
use crate::rig::table::Table;
use forecourt::ids::NozzleId;
use forecourt::units::{Money, Volume};

/// The comparison as printed, and everything that does not agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// Order by order.
    pub orders: Table,
    /// Nozzle by nozzle.
    pub totalisers: Table,
    /// In words; empty if all agree.
    pub differences: Vec<String>,
}

/// One witness's figures of an order: volume and amount, or `None` if no fuel flowed.
type Figures = Option<(Volume, Money)>;

/// Compares all three. `starts` are the pumps' totalisers before the first order.
///
/// # Errors
/// If the store cannot be read.
pub fn compare(stage: &Stage, played: &[Played], starts: &[(NozzleId, Volume)]) -> anyhow::Result<Comparison> {
    let books = stage.books()?;
    let mut differences = Vec::new();
    let orders = orders(stage, &books, played, &mut differences)?;
    let totalisers = totalisers(stage, &books, starts, &mut differences)?;
    let report = stage.platform.report();
    differences.extend(report.violations.iter().map(|text| format!("platform: {text}")));
    differences.extend(report.open.iter().map(|order| format!("platform: order {order} has no end")));
    differences.extend(stage.pumps.wrongs().into_iter().map(|text| format!("pump: {text}")));
    Ok(Comparison { orders, totalisers, differences })
}

fn orders(stage: &Stage, books: &Books, played: &[Played], differences: &mut Vec<String>) -> anyhow::Result<Table> {
    let currency = stage.plan.currency;
    let mut table = Table::new([
        "order",
        "what happened",
        "nozzle",
        "end",
        "paid",
        "given back",
        "platform",
        "store",
        "pump",
        "agree",
        "proof",
    ]);
    for order in played {
        let id = &order.order_id;
        let account = stage.platform.look(|desk| desk.account(id).cloned());
        let Some(account) = account else {
            differences.push(format!("order {id}: the platform does not know it"));
            continue;
        };
        let platform: Figures = account.sale().map(|sale| (sale.volume_ml, sale.amount_minor));
        let row = books.sale_of(id)?;
        let store: Figures = row.as_ref().map(|row| (row.volume, row.amount));
        let fuellings = stage.pumps.fuellings(order.nozzle);
        let mine = fuellings.get(order.fuellings.clone()).unwrap_or_default();
        let pump: Figures = mine.first().map(|one| (one.volume, Money::new(i64::from(one.figures.amount.0))));
        if mine.len() > 1 {
            differences.push(format!("order {id}: the pump counts {} fuellings", mine.len()));
        }
        let agree = platform == store && platform == pump && books.end_of(id)?.is_some();
        if !agree {
            differences.push(format!("order {id}: platform {platform:?}, store {store:?}, pump {pump:?}"));
        }
        let show = |figures: Figures| match figures {
            Some((volume, amount)) => format!("{} L {}", volume.litres(), amount.major(currency)),
            None => "no fuel".into(),
        };
        table.row([
            id.to_string(),
            order.title.into(),
            order.nozzle.to_string(),
            books.end_of(id)?.unwrap_or_else(|| "none".into()),
            account.paid.major(currency),
            account.refunded.major(currency),
            show(platform),
            show(store),
            show(pump),
            yes_no(agree).into(),
            order.proof.clone(),
        ]);
    }
    Ok(table)
}

fn totalisers(
    stage: &Stage,
    books: &Books,
    starts: &[(NozzleId, Volume)],
    differences: &mut Vec<String>,
) -> anyhow::Result<Table> {
    let mut table = Table::new(["nozzle", "totaliser before", "platform's sales", "store", "pump", "agree"]);
    let report = stage.platform.report();
    for (nozzle, start) in starts {
        let sold = report.nozzles.get(nozzle).map_or(Volume::ZERO, |line| line.volume_ml);
        let expected = start.checked_add(sold);
        let store = books.totaliser(*nozzle)?;
        let pump = stage.pumps.totaliser(*nozzle);
        let agree = expected == store && expected == pump;
        if !agree {
            differences.push(format!("nozzle {nozzle}: {start:?} + {sold:?} sold, store {store:?}, pump {pump:?}"));
        }
        let show = |volume: Option<Volume>| volume.map_or_else(|| "none".to_owned(), Volume::litres);
        table.row([
            nozzle.to_string(),
            start.litres(),
            format!("+ {}", sold.litres()),
            show(store),
            show(pump),
            yes_no(agree).into(),
        ]);
    }
    Ok(table)
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "NO" }
}
