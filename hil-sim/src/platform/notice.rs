//! What a person watching the platform would like to be told, a line each.

use super::account::End;
use forecourt::ids::OrderId;
use reference_platform::contract::command::Command;
use reference_platform::contract::message::{NozzleState, ReplyData, SaleData, StepData};
use serde_json::Value;
use std::fmt;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// The station came or went.
    Online(bool),
    /// A nozzle's state changed.
    Nozzle(NozzleState),
    /// An order moved on.
    Step(StepData),
    /// A command was answered; `None` where the reply names no command.
    Reply(Option<Command>, ReplyData),
    /// An order ended.
    Ended(OrderId, End),
    /// Fuel was taken without an order.
    FreeSale(Box<SaleData>),
    /// The station raised or cleared an alarm: its data.
    Alarm(Value),
    /// The station broke the contract.
    Violation(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Online(online) => write!(f, "station {}", if *online { "online" } else { "offline" }),
            Self::Nozzle(nozzle) => {
                write!(f, "nozzle {} {}", nozzle.nozzle, nozzle.state)?;
                if let Some(order) = &nozzle.order_id {
                    write!(f, ", order {order}")?;
                }
                if !nozzle.holds.is_empty() {
                    write!(f, ", held: {}", nozzle.holds.join(" "))?;
                }
                Ok(())
            }
            Self::Step(step) => write!(f, "order {} {} at nozzle {}", step.order_id, step.state, step.nozzle),
            Self::Reply(command, reply) => {
                match command {
                    Some(Command::Authorise(spec)) => write!(f, "order {} answered", spec.order_id)?,
                    Some(Command::Move(order, to)) => write!(f, "move of {order} to nozzle {to} answered")?,
                    Some(Command::Cancel(order)) => write!(f, "cancel of {order} answered")?,
                    Some(other) => write!(f, "{} answered", other.kind())?,
                    None => f.write_str("a message that could not be read was answered")?,
                }
                write!(f, " {}{}", reply.result, if reply.repeated { " (repeated)" } else { "" })
            }
            Self::Ended(order, End::Sale(sale)) => {
                write!(
                    f,
                    "order {order} sold {} L, {} minor, {}",
                    sale.volume_ml.litres(),
                    sale.amount_minor.get(),
                    sale.finish
                )
            }
            Self::Ended(order, end) => write!(f, "order {order} {}", end.word()),
            Self::FreeSale(sale) => {
                write!(f, "nozzle {} sold {} L without an order", sale.nozzle, sale.volume_ml.litres())
            }
            Self::Alarm(data) => write!(f, "alarm {data}"),
            Self::Violation(text) => write!(f, "VIOLATION {text}"),
        }
    }
}
