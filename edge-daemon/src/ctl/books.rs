//! `edgectl orders`, `outbox` and `sale`: the books, read while the daemon writes them.

use crate::ctl::{Failure, Form, exit, show};
use crate::store::{ConsumerView, OrderView, OutboxView, Reader, SaleView};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde_json::{Value, json};
use std::io::Write;

pub(super) fn orders(reader: &Reader, form: &Form, out: &mut dyn Write, bold: bool) -> Result<(), Failure> {
    let orders = reader.orders(form.limit)?;
    if form.json {
        return Ok(writeln!(out, "{}", json!(orders))?);
    }
    let rows: Vec<Vec<String>> = orders.iter().map(order_row).collect();
    Ok(show::table(out, &["ORDER", "NOZZLE", "STATE", "RECEIVED", "ENDED", "END"], &rows, bold)?)
}

fn order_row(order: &OrderView) -> Vec<String> {
    let end = order.end.as_ref().map_or("-".into(), |end| {
        let word = end.get("reason").or_else(|| end.get("kind")).map(show::cell).unwrap_or_default();
        let id = end.get("id").map(show::cell).unwrap_or_default();
        format!("{word} {id}")
    });
    vec![
        order.order_id.clone(),
        order.nozzle.to_string(),
        order.state.clone(),
        order.received_at.to_string(),
        order.ended_at.map_or("-".into(), |at| at.to_string()),
        end,
    ]
}

pub(super) fn outbox(reader: &Reader, form: &Form, out: &mut dyn Write, bold: bool) -> Result<(), Failure> {
    let (pending, set_aside) = reader.outbox_counts()?;
    let records = reader.outbox(form.limit)?;
    let consumers = reader.consumers()?;
    if form.json {
        let document = json!({"pending": pending, "set_aside": set_aside, "records": records, "consumers": consumers});
        return Ok(writeln!(out, "{document}")?);
    }
    writeln!(out, "{pending} pending, {set_aside} set aside")?;
    if !consumers.is_empty() {
        let rows: Vec<Vec<String>> = consumers.iter().map(consumer_row).collect();
        show::table(out, &["CONSUMER", "TAKEN TO", "WAITING", "OLDEST", "PASSED OVER", "LAST TAKEN"], &rows, bold)?;
    }
    if records.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = records.iter().map(record_row).collect();
    Ok(show::table(out, &["SEQUENCE", "TIME", "TYPE", "ID", "STATE"], &rows, bold)?)
}

fn consumer_row(consumer: &ConsumerView) -> Vec<String> {
    let time = |at: Option<UtcTime>| at.map_or("-".into(), |at| at.to_string());
    let name = if consumer.active { consumer.name.clone() } else { format!("{} (not configured)", consumer.name) };
    vec![
        name,
        consumer.cursor.to_string(),
        consumer.waiting.to_string(),
        time(consumer.oldest_at),
        consumer.passed_over.to_string(),
        time(consumer.taken_at),
    ]
}

fn record_row(record: &OutboxView) -> Vec<String> {
    let reason = record.reason.clone().map(Value::String).as_ref().map(show::cell).unwrap_or_default();
    let state = match (record.set_aside, record.refusals) {
        (false, 0) => "pending".into(),
        (false, count) => format!("pending, refused {count} times: {reason}"),
        (true, count) => format!("set aside, refused {count} times: {reason}"),
    };
    vec![record.sequence.to_string(), record.time.to_string(), record.kind.clone(), record.id.clone(), state]
}

pub(super) fn sale(reader: &Reader, id: &str, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let Some(sale) = reader.sale(id)? else {
        let text = format!("no sale and no order with a sale is called {id}; edgectl orders lists the orders");
        return Err(Failure::new(exit::NO_INPUT, text));
    };
    if json {
        return Ok(writeln!(out, "{}", json!(sale))?);
    }
    let rows = sale_rows(&sale);
    for (name, value) in rows {
        writeln!(out, "{name:<18}  {value}")?;
    }
    Ok(())
}

pub(super) fn chain(reader: &Reader, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let report = reader.verify_chain()?;
    let (good, head) = (report.good, &report.head);
    let bad = report.broken.as_ref().map(|(sequence, why)| json!({"sequence": sequence, "why": why.to_string()}));
    if json {
        writeln!(out, "{}", json!({"good": good, "sequence": head.sequence, "hash": head.hash, "broken": bad}))?;
    } else {
        writeln!(out, "{good} records are whole, up to {:012} {}", head.sequence, head.hash)?;
    }
    match report.broken {
        None => Ok(()),
        Some((sequence, why)) => {
            let text = format!("record {sequence} is bad: {why}; keep a copy of the data directory and call support");
            Err(Failure::new(exit::IO, text))
        }
    }
}

fn sale_rows(sale: &SaleView) -> Vec<(&'static str, String)> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let litres = |ml: i64| format!("{} L", Volume::new(ml).litres());
    let major = |minor: i64| match Currency::from_code(&sale.currency) {
        Ok(currency) => format!("{} {}", Money::new(minor).major(currency), sale.currency),
        Err(_) => format!("{minor} minor units of {}", sale.currency),
    };
    let yes = |what: bool| if what { "yes" } else { "no" }.to_owned();
    vec![
        ("sale", sale.sale_id.clone()),
        ("order", or_none(sale.order_id.clone())),
        ("basis", sale.basis.clone()),
        ("fuelling point", sale.fuelling_point.to_string()),
        ("nozzle", sale.nozzle.to_string()),
        ("grade", sale.grade.clone()),
        ("volume", litres(sale.volume_ml)),
        ("price", format!("{} {} a litre, {}", price(sale.unit_price_micros), sale.currency, sale.price_set)),
        ("amount", major(sale.amount_minor)),
        ("totaliser before", or_none(sale.totaliser_start_ml.map(litres))),
        ("totaliser after", or_none(sale.totaliser_end_ml.map(litres))),
        ("unaccounted", litres(sale.unaccounted_ml)),
        ("started", sale.started_at.to_string()),
        ("ended", sale.ended_at.to_string()),
        ("finish", sale.finish.clone()),
        ("evidence", sale.evidence.clone()),
        ("offline", yes(sale.offline)),
        ("recovered", yes(sale.recovered)),
        ("flags", show::cell(&sale.flags)),
        ("record", format!("{:012} {}", sale.sequence, sale.event_id)),
        ("hash", sale.hash.clone()),
        ("acknowledged", or_none(sale.acknowledged_at.map(|at| at.to_string()))),
    ]
}

/// Major units with as many decimals as the price needs, at least two.
fn price(micros: i64) -> String {
    let micros = UnitPrice::new(micros).get();
    let fraction = format!("{:06}", micros.rem_euclid(1_000_000));
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", micros.div_euclid(1_000_000), fraction.get(..kept).unwrap_or(&fraction))
}
