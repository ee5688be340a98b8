//! Finds model and prompt in a request's body, without parsing it: one pass that skips what it does not look for.
//!
//! Bodies are those of the OpenAI and Anthropic APIs: an object whose members `model`, `messages`, `prompt` and so on stand at
//! the top. What is found are ranges of bytes, as they were sent.

mod blocks;
mod scan;

use std::ops::Range;

pub use blocks::{BYTES_PER_TOKEN, Blocks};
use scan::{skip_space, skip_string, skip_value};

/// Members that make up the prompt, in the order in which a model sees them.
const PARTS: [&[u8]; 6] = [b"system", b"instructions", b"tools", b"messages", b"prompt", b"input"];

/// Where things are in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The name of the model, without its quotes. The last one counts where there are several, as in JSON parsers.
    pub model: Option<Range<usize>>,
    /// Values that make up the prompt, in the order of the model.
    parts: [Option<Range<usize>>; PARTS.len()],
    salt: Option<Range<usize>>,
    /// Tokens that the answer may have, where the request says so.
    pub max_tokens: Option<u64>,
    /// The name of the model is written so, or so often, that model servers may read another one.
    pub ambiguous: bool,
    /// The body is an object that ends where it should.
    pub whole: bool,
}

impl Prompt {
    /// Looks through a body, or the beginning of one.
    pub fn find(body: &[u8]) -> Prompt {
        let mut prompt = Prompt::default();
        prompt.whole = prompt.scan(body).is_some();
        prompt
    }

    /// None where the body ends too early or is no object.
    fn scan(&mut self, body: &[u8]) -> Option<()> {
        let mut at = skip_space(body, 0);
        if body.get(at) != Some(&b'{') {
            return None;
        }
        at = skip_space(body, at + 1);
        if body.get(at) == Some(&b'}') {
            return Some(());
        }
        loop {
            if body.get(at) != Some(&b'"') {
                return None;
            }
            let end = skip_string(body, at + 1)?;
            let key = body.get(at + 1..end - 1)?;
            at = skip_space(body, end);
            if body.get(at) != Some(&b':') {
                return None;
            }
            at = skip_space(body, at + 1);
            let after = skip_value(body, at);
            self.member(key, at..after.unwrap_or(body.len()), body, after.is_some());
            at = skip_space(body, after?);
            match body.get(at)? {
                b',' => at = skip_space(body, at + 1),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    fn member(&mut self, key: &[u8], value: Range<usize>, body: &[u8], is_whole: bool) {
        if let Some(part) = PARTS.iter().position(|name| *name == key) {
            if let Some(slot) = self.parts.get_mut(part) {
                *slot = Some(value);
            }
            return;
        }
        match key {
            b"model" if is_whole => {
                let text = body.get(value.clone()).unwrap_or_default();
                self.ambiguous |= self.model.is_some() || text.contains(&b'\\');
                self.model = (text.first() == Some(&b'"')).then(|| value.start + 1..value.end - 1);
            }
            b"cache_salt" => self.salt = Some(value),
            b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" if is_whole => {
                let text = body.get(value).and_then(|text| std::str::from_utf8(text).ok());
                self.max_tokens = text.and_then(|text| text.parse().ok()).or(self.max_tokens);
            }
            // A member whose name is escaped may be any, also the model.
            _ => self.ambiguous |= key.contains(&b'\\'),
        }
    }

    /// The name of the model.
    pub fn model<'b>(&self, body: &'b [u8]) -> Option<&'b str> {
        std::str::from_utf8(body.get(self.model.clone()?)?).ok()
    }

    /// The values that make up the prompt, in the order of the model.
    pub fn parts<'b>(&'b self, body: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        self.parts.iter().flatten().filter_map(move |range| body.get(range.clone()))
    }

    /// Bytes of the prompt.
    pub fn len(&self) -> usize {
        self.parts.iter().flatten().map(ExactSizeIterator::len).sum()
    }

    /// Whether there is no prompt.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What separates caches from each other.
    fn salt<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        self.salt.clone().and_then(|range| body.get(range)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &str) -> Vec<&str> {
        let prompt = Prompt::find(body.as_bytes());
        let ranges: Vec<_> = prompt.parts.iter().flatten().cloned().collect();
        ranges.into_iter().map(|range| &body[range]).collect()
    }

    #[test]
    fn model_and_prompt_are_found_in_any_order() {
        let body =
            r#" {"messages":[{"role":"user","content":"a \"}] b"}], "max_tokens": 7,"tools":[{}] ,"model":"m/1"} "#;
        let prompt = Prompt::find(body.as_bytes());
        assert_eq!(prompt.model(body.as_bytes()), Some("m/1"));
        assert_eq!((prompt.max_tokens, prompt.whole, prompt.ambiguous), (Some(7), true, false));
        assert_eq!(parts(body), ["[{}]", r#"[{"role":"user","content":"a \"}] b"}]"#], "tools come first");
        assert_eq!(parts(r#"{"prompt":"x","system":"y"}"#), [r#""y""#, r#""x""#]);
    }

    #[test]
    fn only_members_at_the_top_count() {
        let body = br#"{"metadata":{"model":"inner","messages":[1]},"model":"outer"}"#;
        let prompt = Prompt::find(body);
        assert_eq!((prompt.model(body), prompt.len()), (Some("outer"), 0));
    }

    #[test]
    fn beginnings_and_other_things_give_what_is_there() {
        let body = br#"{"model":"m","messages":[{"content":"long"#;
        let prompt = Prompt::find(body);
        assert_eq!((prompt.model(body), prompt.whole), (Some("m"), false));
        assert_eq!(prompt.len(), br#"[{"content":"long"#.len());
        for other in ["", "[]", "null", "{", "{\"a\"", "{\"a\":", "{a:1}", "not json", "{\"model\":\"m"] {
            let prompt = Prompt::find(other.as_bytes());
            assert!(!prompt.whole && prompt.model.is_none(), "{other}");
        }
        assert!(Prompt::find(b"{}").whole);
        assert!(Prompt::find(&b"[".repeat(1 << 20)).is_empty());
    }

    #[test]
    fn a_model_that_may_be_read_otherwise_is_ambiguous() {
        for body in [r#"{"model":"a","model":"b"}"#, r#"{"mod\u0065l":"a"}"#, r#"{"model":"a\u0062"}"#] {
            assert!(Prompt::find(body.as_bytes()).ambiguous, "{body}");
        }
        assert_eq!(Prompt::find(br#"{"model":"a","model":"b"}"#).model(br#"{"model":"a","model":"b"}"#), Some("b"));
        assert!(Prompt::find(br#"{"model":3}"#).model.is_none());
    }
}
