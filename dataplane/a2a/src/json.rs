//! JSON as it arrives: told piece by piece, never held.
//!
//! Messages are forwarded byte for byte, and files make them large, so nothing is parsed into a tree. What a [`Sink`] learns does
//! not depend on how the bytes were cut. Texts that nobody asks for are passed over, control characters in them included: they
//! have one meaning whatever a reader thinks of them.

use crate::limits::{DEPTH, NAME_BYTES, TEXT_BYTES};

/// What is told of a document, in its order.
pub(crate) trait Sink {
    /// An object or an array begins, with the byte at `start`.
    fn open(&mut self, object: bool, start: usize);
    /// The innermost one has ended, before the byte at `end`.
    fn close(&mut self, end: usize);
    /// A member's name.
    fn name(&mut self, name: Text<'_>);
    /// A text as a value, in its quotes at these places of the document.
    fn text(&mut self, text: Text<'_>, span: (usize, usize));
    /// A number, `true`, `false` or `null`.
    fn literal(&mut self, literal: &str);
}

/// A text, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    Whole(&'a str),
    /// Too long to be kept, or no text of Unicode.
    Unknown,
}

/// Why bytes are no JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotJson {
    #[error("byte {0} is not what JSON has there")]
    Unexpected(usize),
    #[error("the document is nested deeper than {DEPTH} levels")]
    TooDeep,
    #[error("the document breaks off")]
    Incomplete,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A value must come.
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `,` in an object.
    Name,
    /// After `{`.
    NameOrEnd,
    Colon,
    /// After a value in an array or an object.
    After,
    Text,
    Escape,
    /// So many digits of `\u` are to come.
    Unicode(u8, u16),
    Number(Number),
    Word(&'static str, usize),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    fn next(self, byte: u8) -> Option<Number> {
        Some(match (self, byte) {
            (Number::Minus, b'0') => Number::Zero,
            (Number::Minus, b'1'..=b'9') | (Number::Whole, b'0'..=b'9') => Number::Whole,
            (Number::Zero | Number::Whole, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Whole | Number::Fraction, b'e' | b'E') => Number::E,
            (Number::E, b'+' | b'-') => Number::Sign,
            (Number::E | Number::Sign | Number::Exponent, b'0'..=b'9') => Number::Exponent,
            _ => return None,
        })
    }

    fn is_complete(self) -> bool {
        matches!(self, Number::Zero | Number::Whole | Number::Fraction | Number::Exponent)
    }
}

/// Reads one document.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// Bytes read before this piece.
    at: usize,
    depth: usize,
    /// A bit for each level: whether it is an object.
    objects: u128,
    is_name: bool,
    /// Where the text or number begins.
    start: usize,
    /// The text or number so far.
    kept: Vec<u8>,
    /// Whether it is more than that, or no Unicode.
    unknown: bool,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            state: State::Value,
            at: 0,
            depth: 0,
            objects: 0,
            is_name: false,
            start: 0,
            kept: Vec::new(),
            unknown: false,
            high: None,
        }
    }
}

impl Reader {
    /// Reads the next piece.
    pub(crate) fn read(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), NotJson> {
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            index += match self.state {
                State::Text => self.text(bytes.get(index..).unwrap_or_default(), index, sink),
                _ => self.one(*byte, index, sink)?,
            };
        }
        self.at += bytes.len();
        Ok(())
    }

    /// The document must be complete.
    pub(crate) fn end(&mut self, sink: &mut impl Sink) -> Result<(), NotJson> {
        if let State::Number(number) = self.state
            && number.is_complete()
            && self.depth == 0
        {
            self.number(sink);
        }
        if self.is_done() { Ok(()) } else { Err(NotJson::Incomplete) }
    }

    /// Whether the document is complete.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Passes over what is plain text; says how many bytes.
    fn text(&mut self, bytes: &[u8], index: usize, sink: &mut impl Sink) -> usize {
        let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        if end > 0 {
            self.keep(bytes.get(..end).unwrap_or_default());
        }
        match bytes.get(end) {
            None => end,
            Some(b'\\') => {
                self.state = State::Escape;
                end + 1
            }
            Some(_) => {
                self.text_ended(index + end + 1, sink);
                end + 1
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // Half of a pair, and then something else.
        self.unknown |= self.high.take().is_some();
        let limit = if self.is_name { NAME_BYTES } else { TEXT_BYTES };
        if self.kept.len() + bytes.len() > limit {
            self.unknown = true;
        } else if !self.unknown {
            self.kept.extend_from_slice(bytes);
        }
    }

    fn text_ended(&mut self, end: usize, sink: &mut impl Sink) {
        self.unknown |= self.high.take().is_some();
        let text = match std::str::from_utf8(&self.kept) {
            Ok(text) if !self.unknown => Text::Whole(text),
            _ => Text::Unknown,
        };
        if self.is_name {
            sink.name(text);
            self.state = State::Colon;
        } else {
            sink.text(text, (self.start, self.at + end));
            self.value_ended();
        }
    }

    /// Takes one byte outside of texts.
    fn one(&mut self, byte: u8, index: usize, sink: &mut impl Sink) -> Result<usize, NotJson> {
        let wrong = Err(NotJson::Unexpected(self.at + index));
        match self.state {
            State::Escape => {
                let escaped = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'u' => {
                        self.state = State::Unicode(4, 0);
                        return Ok(1);
                    }
                    _ => return wrong,
                };
                self.keep(&[escaped]);
                self.state = State::Text;
            }
            State::Unicode(left, value) => {
                let Some(digit) = char::from(byte).to_digit(16) else { return wrong };
                let value = (value << 4) | u16::try_from(digit).unwrap_or_default();
                self.state = if left == 1 { State::Text } else { State::Unicode(left - 1, value) };
                if left == 1 {
                    self.unit(value);
                }
            }
            State::Number(number) => match number.next(byte) {
                Some(next) => {
                    self.keep(&[byte]);
                    self.state = State::Number(next);
                }
                None if number.is_complete() => {
                    self.number(sink);
                    // The byte is what follows.
                    return Ok(0);
                }
                None => return wrong,
            },
            State::Word(word, done) => {
                if word.as_bytes().get(done) != Some(&byte) {
                    return wrong;
                }
                if done + 1 == word.len() {
                    sink.literal(word);
                    self.value_ended();
                } else {
                    self.state = State::Word(word, done + 1);
                }
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            State::Value => return self.value(byte, index, sink),
            State::ValueOrEnd => {
                if byte == b']' {
                    self.close(index, sink);
                } else {
                    return self.value(byte, index, sink);
                }
            }
            State::Name | State::NameOrEnd => match byte {
                b'"' => self.begin(true, index),
                b'}' if matches!(self.state, State::NameOrEnd) => self.close(index, sink),
                _ => return wrong,
            },
            State::Colon if byte == b':' => self.state = State::Value,
            State::After => match (byte, self.in_object()) {
                (b',', true) => self.state = State::Name,
                (b',', false) => self.state = State::Value,
                (b'}', true) | (b']', false) => self.close(index, sink),
                _ => return wrong,
            },
            State::Colon | State::Done | State::Text => return wrong,
        }
        Ok(1)
    }

    fn value(&mut self, byte: u8, index: usize, sink: &mut impl Sink) -> Result<usize, NotJson> {
        match byte {
            b'"' => self.begin(false, index),
            b'{' | b'[' => {
                if self.depth == DEPTH {
                    return Err(NotJson::TooDeep);
                }
                let object = byte == b'{';
                self.objects = (self.objects << 1) | u128::from(object);
                self.depth += 1;
                self.state = if object { State::NameOrEnd } else { State::ValueOrEnd };
                sink.open(object, self.at + index);
            }
            b'-' | b'0'..=b'9' => {
                self.begin(false, index);
                self.keep(&[byte]);
                self.state = State::Number(match byte {
                    b'-' => Number::Minus,
                    b'0' => Number::Zero,
                    _ => Number::Whole,
                });
            }
            b't' => self.state = State::Word("true", 1),
            b'f' => self.state = State::Word("false", 1),
            b'n' => self.state = State::Word("null", 1),
            _ => return Err(NotJson::Unexpected(self.at + index)),
        }
        Ok(1)
    }

    fn begin(&mut self, is_name: bool, index: usize) {
        (self.is_name, self.unknown, self.high) = (is_name, false, None);
        self.start = self.at + index;
        self.kept.clear();
        self.state = State::Text;
    }

    /// A unit of UTF-16 that was written in hexadecimal digits.
    fn unit(&mut self, unit: u16) {
        let mut utf8 = [0; 4];
        match (self.high.take(), unit) {
            (None, 0xd800..=0xdbff) => self.high = Some(unit),
            (high, _) => match char::decode_utf16(high.into_iter().chain([unit])).next() {
                Some(Ok(character)) => self.keep(character.encode_utf8(&mut utf8).as_bytes()),
                _ => self.unknown = true,
            },
        }
    }

    fn number(&mut self, sink: &mut impl Sink) {
        // What is too long is nobody's id.
        sink.literal(std::str::from_utf8(&self.kept).ok().filter(|_| !self.unknown).unwrap_or_default());
        self.value_ended();
    }

    fn close(&mut self, index: usize, sink: &mut impl Sink) {
        self.objects >>= 1;
        self.depth -= 1;
        sink.close(self.at + index + 1);
        self.value_ended();
    }

    fn value_ended(&mut self) {
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Builds a tree of what is told.
    #[derive(Default)]
    struct Tree {
        stack: Vec<(Option<String>, Value)>,
        name: Option<String>,
        done: Option<Value>,
        /// Half of a surrogate pair, for example.
        has_unknown: bool,
    }

    impl Tree {
        fn add(&mut self, value: Value) {
            match self.stack.last_mut() {
                None => self.done = Some(value),
                Some((_, Value::Array(items))) => items.push(value),
                Some((_, Value::Object(members))) => {
                    members.insert(self.name.take().expect("a name"), value);
                }
                Some(_) => panic!("no container"),
            }
        }
    }

    impl Sink for Tree {
        fn open(&mut self, object: bool, _: usize) {
            let empty = if object { Value::Object(serde_json::Map::new()) } else { Value::Array(Vec::new()) };
            self.stack.push((self.name.take(), empty));
        }

        fn close(&mut self, _: usize) {
            let (name, value) = self.stack.pop().expect("balanced");
            self.name = name;
            self.add(value);
        }

        fn name(&mut self, name: Text<'_>) {
            self.has_unknown |= name == Text::Unknown;
            self.name = Some(if let Text::Whole(name) = name { name.to_owned() } else { "?".to_owned() });
        }

        fn text(&mut self, text: Text<'_>, _: (usize, usize)) {
            self.has_unknown |= text == Text::Unknown;
            self.add(if let Text::Whole(text) = text { text.into() } else { Value::Null });
        }

        fn literal(&mut self, literal: &str) {
            // A number may be too large for serde_json's types; what is compared then is that it was read.
            self.add(serde_json::from_str(literal).unwrap_or(Value::Null));
        }
    }

    fn read(document: &[u8], cut: usize) -> Result<Value, NotJson> {
        let (mut reader, mut tree) = (Reader::default(), Tree::default());
        for piece in document.chunks(cut.max(1)) {
            reader.read(piece, &mut tree)?;
        }
        reader.end(&mut tree)?;
        if tree.has_unknown {
            return Err(NotJson::Incomplete);
        }
        Ok(tree.done.expect("a value"))
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1000..1000i32, 1..500u32).prop_map(|(a, b)| Value::from(f64::from(a) / f64::from(b))),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".{0,12}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Every character as an escape.
    fn escaped(document: &str) -> String {
        let (mut out, mut inside, mut after_backslash) = (String::new(), false, false);
        for c in document.chars() {
            match c {
                '"' if !after_backslash => inside = !inside,
                _ => {}
            }
            if inside && c != '"' && c != '\\' && !after_backslash && !c.is_control() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            } else {
                out.push(c);
            }
            after_backslash = inside && c == '\\' && !after_backslash;
        }
        out
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_alike_however_it_is_cut(value in any_json(), cut in 1..40usize) {
            let document = value.to_string();
            // As it reads it again: fractions may differ in their last digit from what was written.
            let value: Value = serde_json::from_str(&document).expect("JSON");
            prop_assert_eq!(read(document.as_bytes(), cut), Ok(value.clone()));
            let pretty = serde_json::to_string_pretty(&value).expect("writes");
            prop_assert_eq!(read(pretty.as_bytes(), cut), Ok(value));
        }

        #[test]
        fn what_is_broken_is_judged_as_serde_judges_it(value in any_json(), at in 0..200usize, byte in 0x20..0x7fu8) {
            let mut document = value.to_string().into_bytes();
            let at = at % document.len();
            document[at] = byte;
            let ours = read(&document, 7);
            match serde_json::from_slice::<Value>(&document) {
                Ok(theirs) => prop_assert_eq!(ours, Ok(theirs)),
                // A number too large for any type, and half of a surrogate pair, are JSON all the same.
                Err(error) if ["out of range", "surrogate", "hex escape"].iter().any(|why| error.to_string().contains(why)) => {}
                Err(_) => prop_assert!(ours.is_err()),
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1..20usize) {
            struct Nothing;
            impl Sink for Nothing {
                fn open(&mut self, _: bool, _: usize) {}
                fn close(&mut self, _: usize) {}
                fn name(&mut self, _: Text<'_>) {}
                fn text(&mut self, _: Text<'_>, _: (usize, usize)) {}
                fn literal(&mut self, _: &str) {}
            }
            let mut reader = Reader::default();
            let all = bytes.chunks(cut).try_for_each(|piece| reader.read(piece, &mut Nothing));
            let ours = all.and_then(|()| reader.end(&mut Nothing)).is_ok();
            if serde_json::from_slice::<Value>(&bytes).is_ok() {
                prop_assert!(ours);
            }
        }
    }

    #[test]
    fn escapes_hide_no_name() {
        for document in [r#"{"method":"tasks/get","ü":"😀"}"#, r#"{"a\"b\\":["c\n"]}"#] {
            let value: Value = serde_json::from_str(document).expect("JSON");
            assert_eq!(read(escaped(document).as_bytes(), 3), Ok(value));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH).as_bytes(), 9).is_ok());
        assert_eq!(read(nested(DEPTH + 1).as_bytes(), 9), Err(NotJson::TooDeep));
    }

    #[test]
    fn broken_documents() {
        for document in
            ["", " ", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "01", "1.", "1e", "-", "nul", "{} {}", "[1}", "'a'"]
        {
            assert!(read(document.as_bytes(), 2).is_err(), "{document}");
        }
        assert_eq!(read(b"[1 x", 9), Err(NotJson::Unexpected(3)));
        assert_eq!(read(b"-0.5e+3 ", 1), Ok(Value::from(-500.0)));
    }
}
