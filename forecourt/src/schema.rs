//! JSON Schemas of the types that write themselves, for the published contract. The others derive theirs.

use crate::ids::{CommandId, CustomerToken, FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, StationId};
use crate::order::ReleaseReason;
use crate::time::UtcTime;
use crate::units::Currency;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

macro_rules! text {
    ($name:ident, $pattern:literal, $description:literal $(, $member:literal: $value:expr)*) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"description": $description, "type": "string", "pattern": $pattern $(, $member: $value)*})
            }
        }
    };
}

text!(OrderId, "^[A-Za-z0-9._:-]{1,64}$", "The platform's name of an order.");
text!(CommandId, "^[A-Za-z0-9._:-]{1,64}$", "The id of a command.");
text!(CustomerToken, "^[A-Za-z0-9._:-]{1,64}$", "An opaque token for a customer; never a name or a phone number.");
text!(StationId, "^[A-Za-z0-9_-]{1,64}$", "The station, as its MQTT client id and topic level.");
text!(Grade, "^[A-Za-z0-9._+#-]{1,16}$", "What the customer buys, such as 92, 95 or diesel.");
text!(PriceSetId, "^[A-Za-z0-9._:-]{1,64}$", "A set of prices put into force together.");
text!(Currency, "^[A-Z]{3}$", "An ISO 4217 code.");
text!(
    ReleaseReason,
    "^(expired|not_lifted|no_flow|cancelled|station_held|fault|refused:[a-z_]+)$",
    "Why an order ended without fuel; refused:<result> for one refused on arrival."
);

macro_rules! number {
    ($name:ident, $most:literal, $description:literal) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"description": $description, "type": "integer", "minimum": 1, "maximum": $most})
            }
        }
    };
}

number!(NozzleId, 999, "The number painted on the pump.");
number!(FuellingPointId, 65_535, "Where one customer at a time can fuel.");

/// What the station writes is one form of what it reads.
impl JsonSchema for UtcTime {
    fn schema_name() -> Cow<'static, str> {
        "UtcTime".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (description, pattern) = if generator.contract().is_serialize() {
            ("RFC 3339 in UTC with milliseconds.", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        } else {
            ("RFC 3339.", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
        };
        json_schema!({"description": description, "type": "string", "format": "date-time", "pattern": pattern})
    }
}
