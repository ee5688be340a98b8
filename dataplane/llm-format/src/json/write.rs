//! Writes JSON straight into its bytes.

use serde_json::Number;

use super::Json;

/// Appends to a buffer. Commas are set by looking at the byte before: after `{`, `[` and `:` there is none, and a
/// value never ends in one of these.
pub(crate) struct Writer<'b> {
    out: &'b mut Vec<u8>,
    /// Where this text begins: what is before it belongs to others.
    start: usize,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    fn comma(&mut self) {
        if self.out.len() > self.start && !matches!(self.out.last(), Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.comma();
        quote(self.out, name);
        self.out.push(b':');
        self
    }

    /// A name in an object that others began: the first of it.
    pub(crate) fn key_first(&mut self, name: &str) -> &mut Self {
        quote(self.out, name);
        self.out.push(b':');
        self
    }

    /// A name in an object that others began: not the first of it.
    pub(crate) fn key_next(&mut self, name: &str) -> &mut Self {
        self.out.push(b',');
        self.key_first(name)
    }

    pub(crate) fn object(&mut self, content: impl FnOnce(&mut Writer<'_>)) {
        self.comma();
        self.out.push(b'{');
        content(&mut Writer { out: self.out, start: self.start });
        self.out.push(b'}');
    }

    pub(crate) fn array(&mut self, content: impl FnOnce(&mut Writer<'_>)) {
        self.comma();
        self.out.push(b'[');
        content(&mut Writer { out: self.out, start: self.start });
        self.out.push(b']');
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.comma();
        quote(self.out, text);
    }

    /// Text that is JSON already.
    pub(crate) fn raw(&mut self, json: &str) {
        self.comma();
        self.out.extend_from_slice(json.as_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.comma();
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at = at.saturating_sub(1);
            if let Some(digit) = digits.get_mut(at) {
                *digit = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(at..).unwrap_or_default());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    pub(crate) fn null(&mut self) {
        self.raw("null");
    }

    pub(crate) fn number(&mut self, number: &Number) {
        self.comma();
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *self.out, number);
    }

    pub(crate) fn json(&mut self, value: &Json<'_>) {
        match value {
            Json::Null => self.null(),
            Json::Bool(value) => self.bool(*value),
            Json::Number(number) => self.number(number),
            Json::String(text) => self.string(text),
            Json::Array(items) => self.array(|w| items.iter().for_each(|item| w.json(item))),
            Json::Object(object) => self.object(|w| object.iter().for_each(|(name, value)| w.key(name).json(value))),
        }
    }
}

/// The text of a value.
pub(crate) fn string(value: &Json<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    Writer::new(&mut out).json(value);
    out
}

fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// RFC 8259 §7: quotation mark, reverse solidus and control characters are escaped.
fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(done..at).unwrap_or_default());
        done = at + 1;
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
                out.extend_from_slice(b"\\u00");
                out.push(digit(byte >> 4));
                out.push(digit(byte & 15));
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commas_and_nesting() {
        let mut out = b"data: ".to_vec();
        Writer::new(&mut out).object(|w| {
            w.key("a").string("{");
            w.key("b").array(|w| {
                w.u64(0);
                w.u64(u64::MAX);
                w.object(|_| ());
                w.string("x\"\u{1}y");
            });
            w.key("c").null();
        });
        let text = r#"data: {"a":"{","b":[0,18446744073709551615,{},"x\"\u0001y"],"c":null}"#;
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    proptest! {
        #[test]
        fn strings_are_as_serde_json_writes_them(text: String) {
            let mut out = Vec::new();
            Writer::new(&mut out).string(&text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
