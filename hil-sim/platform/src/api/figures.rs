//! The page of a day's figures: what paid orders came to, why some were given up, turnover and commission while they move, and who invites.

use super::dashboard::{Page, Place, WhichDay, day_links, grade, money, page, plain, spaced, text, tile, yuan};
use crate::books::{DayFigures, Share};
use crate::refusal;
use crate::shared::Shared;
use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use std::sync::Arc;

const PLACE: Place = Place { under: "/dashboard/figures", refresh: true };

fn per_cent(permille: Option<i64>) -> String {
    permille.map_or("–".into(), |permille| format!("{}.{} %", permille / 10, permille % 10))
}

/// Paid orders by something; `name` says it to people.
fn shares(title: &str, shares: &[Share], name: impl Fn(&str) -> String) -> Markup {
    html! {
        section.card {
            h2 { "Paid orders by " (title.to_lowercase()) }
            @if shares.is_empty() { p.empty { "No order was paid on this day." } } @else {
                div.scroll { table {
                    thead { tr { th { (title) } th.figure { "Paid" } th.figure { "Fuelled" } th.figure { "No fuel" } th.figure { "Open" } th.figure { "Fuelled of ended" } th.figure { "Litres" } th.figure { "Pump, yuan" } } }
                    tbody { @for share in shares { tr {
                        td { (name(&share.of)) } td.figure { (share.paid) } td.figure { (share.fuelled) } td.figure { (share.released) }
                        td.figure { (share.paid - share.fuelled - share.released) } td.figure { (per_cent(share.fuelled_permille())) }
                        td.figure { (spaced(&refusal::litres(share.volume))) } td.figure { (money(share.amount)) }
                    } } }
                } }
            }
        }
    }
}

pub async fn day(State(shared): State<Arc<Shared>>, Query(which): Query<WhichDay>) -> Page {
    let day = which.day();
    let (figures, days) = shared.read(move |act| Ok((act.day_figures(day)?, act.days()?))).await?;
    let DayFigures { all, by: [stations, hours, grades], abandoned, sold: [sold, without], commission, distributors } =
        figures;
    let invited: i64 = distributors.iter().map(|distributor| distributor.invited).sum();
    let each = (invited * 10).checked_div(i64::try_from(distributors.len()).unwrap_or(0));
    let each = each.map_or("–".into(), |each| format!("{}.{}", each / 10, each % 10));
    let same = |word: &str| word.to_owned();
    let content = html! {
        (day_links("/dashboard/figures", &days, day))
        dl.tiles {
            (tile("Turnover", &money(sold), "yuan", Some(format!("{} of it without an order", money(without)))))
            (tile("Paid orders fuelled", &per_cent(all.fuelled_permille()), "", None))
            (tile("Commission, level 1", &money(commission[0]), "yuan", None))
            (tile("Commission, level 2", &money(commission[1]), "yuan", None))
            (tile("Invited by each inviter", &each, "", None))
        }
        section.card {
            h2 { "Given up" }
            @if abandoned.is_empty() { p.empty { "No order was given up." } } @else {
                div.scroll { table {
                    thead { tr { th { "Reason" } th { "What drivers are told" } th { "Where" } th.figure { "Orders" } } }
                    tbody { @for reason in &abandoned { tr {
                        td { (plain(&reason.reason)) } td.detail { (text(&refusal::text(&reason.reason)["en"])) }
                        td { @if reason.paid { "at the station" } @else { "before payment" } } td.figure { (reason.orders) }
                    } } }
                } }
            }
        }
        (shares("Station", &stations, same)) (shares("Hour", &hours, same)) (shares("Grade", &grades, grade))
        section.card {
            h2 { "Who invites" }
            @if distributors.is_empty() { p.empty { "Nobody was invited yet." } } @else {
                div.scroll { table {
                    thead { tr { th { "Member" } th.figure { "Invited" } th.figure { "Sales" } th.figure { "Commission, yuan" } } }
                    tbody { @for one in &distributors { tr {
                        td { a href={ "/dashboard/distributors/" (one.member_id) } { (one.phone_masked) } }
                        td.figure { (one.invited) } td.figure { (one.sales) } td.figure { (money(one.commission)) }
                    } } }
                } }
            }
        }
    };
    Ok(page(&format!("Figures of {}", day.date()), &PLACE, &content))
}

/// One who invites: each commission with its order's whole way.
pub async fn distributor(State(shared): State<Arc<Shared>>, Path(member_id): Path<String>) -> Page {
    let (member, wallet) = shared.read(move |act| Ok((act.member(&member_id)?, act.wallet_view(&member_id)?))).await?;
    let commissions = wallet["commissions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let content = html! {
        dl.tiles {
            (tile("Wallet", &yuan(&wallet["wallet_minor"]), "yuan", None))
            (tile("Points", &spaced(&wallet["points"].to_string()), "", None))
        }
        section.card {
            h2 { "Commission" }
            @if commissions.is_empty() { p.empty { "No commission yet: it comes with the fuel of those who were invited." } } @else {
                div.scroll { table {
                    thead { tr { th { "Order" } th.figure { "Level" } th.figure { "Commission, yuan" } th.figure { "Taken back, yuan" } th { "At" } } }
                    tbody { @for one in commissions { tr {
                        td { @if let Some(order) = one["order_id"].as_str() { a href={ "/trace/" (order) } { (order) } } }
                        td.figure { (one["level"]) } td.figure { (yuan(&one["amount_minor"])) }
                        td.figure { (yuan(&one["clawed_back_minor"])) } td.detail { (text(&one["at"])) }
                    } } }
                } }
            }
        }
    };
    Ok(page(&format!("Inviter {}", member.phone_masked), &PLACE, &content))
}
