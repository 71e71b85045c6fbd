//! The table of messages (contract sections 1, 4, 5, 6 and 7).

use super::{commands, examples, schemas};
use forecourt::record::Record;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// Where a message travels, below `<prefix>/<station_id>/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// `state/station`, retained.
    Station,
    /// `state/nozzle/<n>`, retained.
    Nozzle,
    /// `event`: the durable records.
    Event,
    /// `progress`.
    Progress,
    /// `live/nozzle/<n>`.
    Live,
    /// `reply`.
    Reply,
    /// `cmd`: what the platform asks.
    Command,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Station, Self::Nozzle, Self::Event, Self::Progress, Self::Live, Self::Reply, Self::Command];

    /// The topic below the station's.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Station => "state/station",
            Self::Nozzle => "state/nozzle/{nozzle}",
            Self::Event => "event",
            Self::Progress => "progress",
            Self::Live => "live/nozzle/{nozzle}",
            Self::Reply => "reply",
            Self::Command => "cmd",
        }
    }

    /// MQTT quality of service.
    #[must_use]
    pub const fn qos(self) -> u8 {
        match self {
            Self::Live => 0,
            _ => 1,
        }
    }

    /// Whether the broker keeps the last message.
    #[must_use]
    pub const fn is_retained(self) -> bool {
        matches!(self, Self::Station | Self::Nozzle)
    }
}

/// One type of message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// The CloudEvent `type`.
    pub kind: &'static str,
    /// Where it travels.
    pub channel: Channel,
    /// What it says, in a sentence.
    pub summary: &'static str,
    /// Words of `result` that may answer a command, beside those that may answer any. Empty for what the station sends.
    pub results: &'static [&'static str],
    /// The schema of its `data`.
    pub data: fn(&mut SchemaGenerator) -> Schema,
    /// An example.
    pub(super) example: fn() -> Example,
}

/// An example of what a message carries.
pub(super) enum Example {
    /// Its `data`.
    Data(Value),
    /// A durable record.
    Record(Box<Record>),
}

impl Message {
    /// The message of a CloudEvent type.
    #[must_use]
    pub fn of(kind: &str) -> Option<&'static Self> {
        MESSAGES.iter().find(|message| message.kind == kind)
    }

    /// Whether the platform sends it.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.channel == Channel::Command
    }

    /// The example as a whole event: for a command, the payload of its JWS.
    #[must_use]
    pub fn event(&self) -> Value {
        examples::event(self)
    }
}

/// Results that may answer any command (contract section 2).
pub const ALWAYS: [&str; 8] = [
    "bad_signature",
    "wrong_station",
    "from_the_future",
    "too_old",
    "unsupported",
    "malformed",
    "too_large",
    "overloaded",
];

/// Results of an order, by which a refused one is ended.
const ORDER: &[&str] = &[
    "armed",
    "queued",
    "duplicate",
    "conflict",
    "expired",
    "unknown_nozzle",
    "grade_mismatch",
    "price_changed",
    "nozzle_unavailable",
    "station_held",
    "limit_exceeded",
    "limit_too_small",
    "nozzle_busy",
    "unsupported_preset",
];

const MOVE: &[&str] = &[
    "moved",
    "cannot_move",
    "already_ended",
    "unknown_order",
    "unknown_nozzle",
    "grade_mismatch",
    "price_changed",
    "nozzle_unavailable",
    "station_held",
    "limit_exceeded",
    "limit_too_small",
    "nozzle_busy",
    "unsupported_preset",
];

macro_rules! messages {
    ($($channel:ident $kind:literal $summary:literal [$results:expr] $data:ty, $example:path;)*) => {
        /// Every message of the contract that this version sends or takes.
        pub const MESSAGES: &[Message] = &[$(Message {
            kind: $kind,
            channel: Channel::$channel,
            summary: $summary,
            results: $results,
            data: schemas::of::<$data>,
            example: $example,
        },)*];
    };
}

messages! {
    Station "fuel.station.state.v1" "The station: what runs, what stands there, how it works. Also the will, with online false." [&[]]
        schemas::Station, examples::station;
    Nozzle "fuel.nozzle.state.v1" "A nozzle: price, state, holds, queue. On change within 1 s and at least every 5 minutes." [&[]]
        crate::wire::state::NozzleView, examples::nozzle;
    Progress "fuel.order.state.v1" "A step of an order, best effort. The record that ends it is on `event`." [&[]]
        crate::wire::state::OrderStep, examples::step;
    Live "fuel.live.v1" "Running figures, not final, at most twice a second while the nozzle is watched." [&[]]
        crate::wire::state::LiveReading, examples::live;
    Reply "fuel.reply.v1" "The one answer to a command." [&[]]
        schemas::Reply, examples::reply;
    Event "fuel.sale.v1" "Fuel flowed: the dispenser's own figures. The end of its order." [&[]]
        forecourt::record::Sale, examples::sale;
    Event "fuel.order.released.v1" "An order ended without fuel: its money can go back." [&[]]
        forecourt::record::OrderReleased, examples::released;
    Event "fuel.order.review.v1" "What flowed on an order is not yet known; a sale or a release follows by the deadline." [&[]]
        forecourt::record::OrderReview, examples::review;
    Event "fuel.unaccounted.v1" "A totaliser moved and no sale explains it." [&[]]
        forecourt::record::Unaccounted, examples::unaccounted;
    Event "fuel.alarm.v1" "Something a person should know begins or ends." [&[]]
        forecourt::record::Alarm, examples::alarm;
    Event "fuel.price.applied.v1" "What became of a price set at one nozzle." [&[]]
        forecourt::price::PriceApplied, examples::price_applied;
    Event "fuel.audit.v1" "A person, or the platform for one, changed something." [&[]]
        forecourt::record::Audit, examples::audit;
    Event "fuel.report.v1" "A shift or a day is over: what was sold, added up from its sales." [&[]]
        forecourt::report::Report, examples::report;
    Event "fuel.anchor.v1" "The chain up to here, once a day." [&[]]
        forecourt::report::Anchor, examples::anchor;
    Command "fuel.order.authorise.v1" "Let a driver fuel once at one nozzle up to a limit." [ORDER]
        commands::Authorise, examples::authorise;
    Command "fuel.order.cancel.v1" "Take an order back before its nozzle is lifted." [&["cancelled", "cannot_cancel", "already_ended", "unknown_order"]]
        commands::Cancel, examples::cancel;
    Command "fuel.order.move.v1" "Let an order fuel at another nozzle; the old one is seen disarmed first." [MOVE]
        commands::Move, examples::move_order;
    Command "fuel.nozzle.stop.v1" "Stop the flow for good; what flowed is the sale." [&["stopped", "nothing_to_stop", "unknown_nozzle"]]
        commands::Nozzles, examples::stop;
    Command "fuel.nozzle.hold.v1" "Take no orders at a nozzle." [&["held", "unknown_nozzle"]]
        commands::Nozzles, examples::hold;
    Command "fuel.nozzle.unhold.v1" "Take orders again. What only a person on site may lift stays." [&["unheld", "on_site_only", "unknown_nozzle"]]
        commands::Nozzles, examples::unhold;
    Command "fuel.watch.v1" "Send live figures of a nozzle for a while." [&["watching", "unknown_nozzle"]]
        commands::Watch, examples::watch;
    Command "fuel.config.set.v1" "Put a configuration into force; what names files, ports or keys stays the station's own." [&["applied", "refused"]]
        commands::ConfigSet, examples::config;
    Command "fuel.report.request.v1" "Send the report of a shift or a day again, or once it is over." [&["queued", "unknown_range"]]
        commands::ReportRequest, examples::report_request;
    Command "fuel.credentials.revoke.v1" "Trust a key of the platform no longer; signed with another one." [&["revoked", "unknown_key", "last_key", "refused"]]
        commands::Revoke, examples::revoke;
    Command "fuel.privacy.erase.v1" "Forget a customer. The sales stay; they name nobody." [&["erased", "refused"]]
        commands::Erase, examples::erase;
    Command "fuel.price.set.v1" "Prices that come into force together, at each nozzle once it is free." [&["scheduled", "refused"]]
        commands::PriceSet, examples::set_prices;
    Command "fuel.list.update.v1" "A list of customers and plates: whole, or what changed." [&["updated", "version_gap", "refused"]]
        commands::ListUpdate, examples::list_update;
    Command "fuel.ack.v1" "The platform has stored these records. Replied to only when refused." [&[]]
        commands::Ack, examples::ack;
    Command "fuel.nack.v1" "The platform refuses a record; after five refusals it is set aside. Replied to only when refused." [&[]]
        commands::Nack, examples::nack;
    Command "fuel.resend.v1" "Send records again, the same bytes." [&["resending", "unknown_range"]]
        commands::Resend, examples::resend;
}
