//! The page of a day's figures: what paid orders came to, why some were given up, turnover and commission while they move, and who invites.

use super::call::Problem;
use super::dashboard::{Page, WhichDay, day_links, page, text, yuan};
use crate::books::{DayFigures, Share};
use crate::refusal;
use crate::shared::Shared;
use axum::extract::{Path, Query, State};
use forecourt::units::{Currency, Money};
use maud::{Markup, html};
use std::sync::Arc;

fn money(amount: Money) -> String {
    amount.major(Currency::CNY)
}

fn per_cent(permille: Option<i64>) -> String {
    permille.map_or("–".into(), |permille| format!("{}.{} %", permille / 10, permille % 10))
}

fn shares(title: &str, shares: &[Share]) -> Markup {
    html! {
        table {
            thead { tr { th { (title) } th.figure { "Paid" } th.figure { "Fuelled" } th.figure { "Without fuel" } th.figure { "Open" } th.figure { "Fuelled of ended" } th.figure { "Litres" } th.figure { "Amount" } } }
            tbody {
                @for share in shares {
                    tr {
                        td { (share.of) } td.figure { (share.paid) } td.figure { (share.fuelled) } td.figure { (share.released) }
                        td.figure { (share.paid - share.fuelled - share.released) } td.figure { (per_cent(share.fuelled_permille())) }
                        td.figure { (share.volume.litres()) } td.figure { (money(share.amount)) }
                    }
                }
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
    let content = html! {
        (day_links("/dashboard/figures", &days))
        table {
            thead { tr { th { "The day" } th.figure { } } }
            tbody {
                tr { td { "turnover, all fuel" } td.figure { (money(sold)) } }
                tr { td { "of it without an order" } td.figure { (money(without)) } }
                tr { td { "commission of level 1" } td.figure { (money(commission[0])) } }
                tr { td { "commission of level 2" } td.figure { (money(commission[1])) } }
                tr { td { "paid orders that ended in fuel" } td.figure { (per_cent(all.fuelled_permille())) } }
                tr { td { "drivers invited by each who invites" } td.figure { @if let Some(each) = each { (each / 10) "." (each % 10) } @else { "–" } } }
            }
        }
        h2 { "Given up" }
        table {
            thead { tr { th { "Reason" } th { "Where" } th.figure { "Orders" } } }
            tbody {
                @for reason in &abandoned {
                    tr {
                        td { (reason.reason) ": " (text(&refusal::text(&reason.reason)["en"])) }
                        td { @if reason.paid { "at the station" } @else { "before payment" } } td.figure { (reason.orders) }
                    }
                }
            }
        }
        @if abandoned.is_empty() { p { "None." } }
        h2 { "Paid orders" }
        (shares("Station", &stations)) (shares("Hour", &hours)) (shares("Grade", &grades))
        h2 { "Who invites" }
        table {
            thead { tr { th { "Member" } th.figure { "Invited" } th.figure { "Sales" } th.figure { "Commission" } } }
            tbody {
                @for one in &distributors {
                    tr {
                        td { a href={ "/dashboard/distributors/" (one.member_id) } { (one.phone_masked) } }
                        td.figure { (one.invited) } td.figure { (one.sales) } td.figure { (money(one.commission)) }
                    }
                }
            }
        }
        @if distributors.is_empty() { p { "Nobody yet." } }
    };
    page(&format!("Figures of {}", day.date()), true, &content)
}

/// One who invites: each commission with its order's whole way.
pub async fn distributor(
    State(shared): State<Arc<Shared>>,
    Path(member_id): Path<String>,
) -> Result<axum::response::Html<String>, Problem> {
    let (member, wallet) = shared.read(move |act| Ok((act.member(&member_id)?, act.wallet_view(&member_id)?))).await?;
    let content = html! {
        p { "Wallet " (yuan(&wallet["wallet_minor"])) ", " (wallet["points"]) " points" }
        table {
            thead { tr { th { "Order" } th.figure { "Level" } th.figure { "Commission" } th.figure { "Taken back" } th { "At" } } }
            tbody {
                @for one in wallet["commissions"].as_array().into_iter().flatten() {
                    tr {
                        td { @if let Some(order) = one["order_id"].as_str() { a href={ "/trace/" (order) } { (order) } } }
                        td.figure { (one["level"]) } td.figure { (yuan(&one["amount_minor"])) }
                        td.figure { (yuan(&one["clawed_back_minor"])) } td.time { (text(&one["at"])) }
                    }
                }
            }
        }
    };
    page(&format!("Distributor {}", member.phone_masked), true, &content)
}
