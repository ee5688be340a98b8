//! Durations as Gateway API writes them (GEP-2257): `1s`, `500ms`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in whole milliseconds, written as 1 to 4 numbers of up to 5 digits, each with its unit (h, m, s, ms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Duration {
    milliseconds: u64,
}

const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const MOST_PARTS: usize = 4;
const MOST_DIGITS: usize = 5;

/// Text that is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a duration: write up to four numbers with units h, m, s or ms, such as 1h30m or 500ms")]
pub struct DurationError(String);

impl Duration {
    /// The duration of so many milliseconds.
    pub const fn from_milliseconds(milliseconds: u64) -> Duration {
        Duration { milliseconds }
    }

    /// Whole milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.milliseconds
    }

    /// As the standard library's type.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.milliseconds)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Duration, DurationError> {
        let refuse = || DurationError(text.to_owned());
        let (mut rest, mut milliseconds, mut parts) = (text, 0_u64, 0);
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            if !(1..=MOST_DIGITS).contains(&digits) || parts == MOST_PARTS {
                return Err(refuse());
            }
            let (unit, after) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
                .iter()
                .find_map(|(name, unit)| after.strip_prefix(name).map(|left| (*unit, left)))
                .ok_or_else(refuse)?;
            milliseconds += number.parse::<u64>().map_err(|_| refuse())? * unit;
            (rest, parts) = (after, parts + 1);
        }
        if parts == 0 { Err(refuse()) } else { Ok(Duration { milliseconds }) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.milliseconds;
        if left == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if left >= unit {
                write!(f, "{}{name}", left / unit)?;
                left %= unit;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gateway_api_writes() {
        for (text, milliseconds) in
            [("1s", 1000), ("500ms", 500), ("1h30m", 5_400_000), ("0s", 0), ("1h1m1s1ms", 3_661_001)]
        {
            assert_eq!(text.parse::<Duration>().expect(text).milliseconds(), milliseconds);
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "1", "s", "1.5s", "-1s", "123456s", "1s1s1s1s1s", "1 s", "1d"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in ["1h30m", "500ms", "0s", "2s250ms"] {
            assert_eq!(text.parse::<Duration>().expect(text).to_string(), text);
        }
    }
}
