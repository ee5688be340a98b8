//! Names of tool calls that every provider takes.

use std::borrow::Cow;

/// Longest id that all take: OpenAI's Chat Completions has the smallest bound.
const MAX_ID: usize = 40;

/// The id itself where it is short and of letters, digits, `_` and `-`; otherwise one that is derived from it, the same each
/// time, so that a call and its result still belong together.
pub(crate) fn tool_id(id: &str) -> Cow<'_, str> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && id.len() <= MAX_ID && id.as_bytes().iter().all(good) {
        return Cow::Borrowed(id);
    }
    // FNV-1a (draft-eastlake-fnv §2), 64 bits.
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let start: String = id.bytes().filter(good).take(20).map(char::from).collect();
    Cow::Owned(format!("{start}_{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_not_all_take_become_others() {
        assert_eq!(tool_id("call_1-a"), "call_1-a");
        let long = tool_id("functions.get_weather:0");
        assert!(long.len() <= MAX_ID && long.starts_with("functionsget_weather_"), "{long}");
        assert_ne!(long, tool_id("functions.get_weather:1"));
        assert!(tool_id(&"x".repeat(500)).len() <= MAX_ID);
        assert!(!tool_id("").is_empty());
    }
}
