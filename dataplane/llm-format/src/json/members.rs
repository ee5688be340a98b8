//! The members of one object, with what is in them left unread.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::tree::{Name, twice};
use crate::Error;

/// Names and texts of an object's members. The whole text has been checked to be JSON.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(crate) fn parse(text: &'a [u8]) -> Result<Members<'a>, Error> {
        serde_json::from_slice(text).map_err(Error::json)
    }

    /// The text of a member; none when it is absent or `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get()).filter(|text| *text != "null")
    }

    /// A member that is read with serde; none when it is absent or `null`.
    pub(crate) fn read<T: Deserialize<'a>>(&self, name: &'static str, what: &'static str) -> Result<Option<T>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|_| Error::invalid(name, format!("must be {what}")))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for MembersVisitor<'a> {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(Name(name)) = access.next_key()? {
                    members.push((name, access.next_value::<&'a RawValue>()?));
                }
                match twice(&members) {
                    Some(name) => Err(de::Error::custom(format_args!("the member {name:?} comes twice"))),
                    None => Ok(Members(members)),
                }
            }
        }
        deserializer.deserialize_map(MembersVisitor(std::marker::PhantomData))
    }
}
