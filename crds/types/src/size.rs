//! Sizes as Kubernetes writes quantities: a number of bytes, or one with `k`, `M`, `G`, `Ki`, `Mi` or `Gi`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    bytes: u64,
}

const PATTERN: &str = "^[0-9]{1,15}(k|M|G|Ki|Mi|Gi)?$";
const UNITS: [(&str, u64); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000)];

/// Text that is not a size.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a size: write a number of bytes, or one with k, M, G, Ki, Mi or Gi, such as 64Ki")]
pub struct SizeError(String);

impl Size {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Size {
        Size { bytes }
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        let unit = UNITS.iter().find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits, *unit)));
        let (digits, unit) = unit.unwrap_or((text, 1));
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        let bytes = number.and_then(|number| number.checked_mul(unit));
        bytes.map(Size::from_bytes).ok_or_else(|| SizeError(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, unit): &&(&str, u64)| self.bytes > 0 && self.bytes.is_multiple_of(*unit);
        match UNITS.get(..3).unwrap_or_default().iter().rev().find(exact) {
            Some((name, unit)) => write!(f, "{}{name}", self.bytes / unit),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 65536 or 64Ki")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size::from_bytes(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size::from_bytes)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": PATTERN, "maxLength": 17 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_quantities() {
        for (text, bytes) in [("0", 0), ("65536", 65_536), ("64Ki", 65_536), ("2M", 2_000_000), ("1Gi", 1 << 30)] {
            assert_eq!(text.parse::<Size>().expect(text).bytes(), bytes);
        }
        for wrong in ["", "Ki", "1.5Mi", "-1", "1Ti", "+1", "99999999999999999999", "18446744073709551615Ki"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!(serde_norway::from_str::<Size>("4096").expect("a number").bytes(), 4096);
        assert_eq!(serde_norway::from_str::<Size>("4Ki").expect("a text").bytes(), 4096);
        assert!(serde_norway::from_str::<Size>("-1").is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for bytes in [0, 1, 1000, 1024, 1 << 20, (1 << 30) + 1, 3 << 30] {
            let size = Size::from_bytes(bytes);
            assert_eq!(size.to_string().parse::<Size>().expect("a size"), size, "{size}");
        }
    }
}
