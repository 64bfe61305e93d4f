//! JSON as strangers send it: one object, no member twice at any depth, bounded nesting.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Why a body is not taken. Never quotes the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON, or nested more than 128 deep.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// A member stands twice.
    #[error("the body has a member twice: {0}")]
    Duplicate(String),
    /// JSON of another kind.
    #[error("the body must be one JSON object")]
    NotAnObject,
}

/// Walks JSON and keeps nothing of it; a member that stands twice is an error.
struct NoDuplicates;

/// Marks the error of a doubled member, whose words serde_json passes on.
const TWICE: &str = "member twice: ";

impl<'de> DeserializeSeed<'de> for NoDuplicates {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NoDuplicates {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                // A name may be as long as the body; a sentence may not.
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                return Err(A::Error::custom(format_args!("{TWICE}{shown}")));
            }
            names.insert(name);
            map.next_value_seed(Self)?;
        }
        Ok(())
    }
}

fn check(bytes: &[u8]) -> Result<(), JsonFault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let walked = NoDuplicates.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    walked.map_err(|error| {
        let text = error.to_string();
        match text.strip_prefix(TWICE) {
            Some(member) => JsonFault::Duplicate(member.split(" at line ").next().unwrap_or_default().to_owned()),
            None => JsonFault::Syntax(where_it_ends(&error)),
        }
    })
}

/// serde_json's own words may quote the input; line and column do not.
fn where_it_ends(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ if error.to_string().starts_with("recursion limit") => "it is nested too deep",
        _ => "a character is out of place",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

/// The body as an object.
///
/// # Errors
/// See [`JsonFault`].
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    check(bytes)?;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(JsonFault::NotAnObject),
    }
}

/// The members of the body as they were written, so that numbers of any size stay exact.
///
/// # Errors
/// See [`JsonFault`].
pub fn members(bytes: &[u8]) -> Result<Vec<(String, &RawValue)>, JsonFault> {
    check(bytes)?;
    let Members(members) = serde_json::from_slice(bytes).map_err(|_| JsonFault::NotAnObject)?;
    Ok(members)
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(InOrder).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_one_object_without_doubled_members_is_taken() {
        assert!(object(br#"{"a":1,"b":{"a":2}}"#).is_ok());
        let deep = format!("{}{}", r#"{"a":"#.repeat(200), "1");
        for (body, fault) in [
            (&br#"{"a":1,"a":2}"#[..], JsonFault::Duplicate("a".into())),
            (br#"{"x":[{"b":1,"\u0062":2}]}"#, JsonFault::Duplicate("b".into())),
            (b"[1]", JsonFault::NotAnObject),
            (b"null", JsonFault::NotAnObject),
            (b"{\"a\":1} x", JsonFault::Syntax("a character is out of place, at line 1 column 9".into())),
            (b"", JsonFault::Syntax("it ends too early, at line 1 column 0".into())),
            (deep.as_bytes(), JsonFault::Syntax("it is nested too deep, at line 1 column 636".into())),
        ] {
            assert_eq!(object(body).unwrap_err(), fault);
        }
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let members = members(br#"{"id": 178414000000000000000000000000123, "n": 1.0}"#).unwrap();
        let texts: Vec<_> = members.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
        assert_eq!(texts, [("id", "178414000000000000000000000000123"), ("n", "1.0")]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes);
            let _ = members(&bytes);
        }
    }
}
