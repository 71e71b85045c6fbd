//! Reads JSON as strictly as the contract writes it (section 9): no repeated members, whole numbers below 2^53, depth at most 16.
//!
//! `serde_json::Value` alone would keep the last of two equal members and round large numbers, so that a station's mistake
//! would pass unseen.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

const MAX_DEPTH: u8 = 16;
/// Numbers are below this (contract section 2), so that every JSON reader keeps them exactly.
const NUMBER_LIMIT: u64 = 1 << 53;

/// Reads one JSON document.
///
/// # Errors
/// What is wrong with it, in words, with line and column.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

struct Strict {
    depth: u8,
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<u8, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions or repeated members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value >= NUMBER_LIMIT {
            return Err(E::custom(format!("{value} is not below 2^53")));
        }
        Ok(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() >= NUMBER_LIMIT {
            return Err(E::custom(format!("{value} is not above -2^53")));
        }
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Err(E::custom(format!("{value} has a fraction or an exponent")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict { depth })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict { depth })?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("member \"{name}\" stands twice")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_contract_forbids_is_refused_with_its_place() {
        for (text, complaint) in [
            (r#"{"a":1,"a":1}"#, "stands twice"),
            (r#"{"a":{"b":1,"b":2}}"#, "stands twice"),
            (r#"{"a":1.5}"#, "fraction"),
            (r#"{"a":1e3}"#, "exponent"),
            (r#"{"a":9007199254740992}"#, "2^53"),
            (r#"{"a":1} x"#, "trailing"),
            (&format!("{}{}", "[".repeat(17), "]".repeat(17)), "deeper"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn what_the_contract_allows_is_read_as_it_stands() {
        let text = r#"{"a":[1,-2,9007199254740991],"b":null,"c":{"d":"\u00e9"},"e":true}"#;
        let plain: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(parse(text.as_bytes()), Ok(plain));
        assert!(parse(format!("{}{}", "[".repeat(16), "]".repeat(16)).as_bytes()).is_ok());
    }
}
