//! The serialisation protocol of Redis, RESP2: commands out, answers in, with bounds.

use bytes::{Buf as _, BytesMut};

use crate::limits::{MAX_ANSWER_BYTES, MAX_REDIS_ITEMS};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A short text, such as `OK`.
    Status(String),
    /// What is wrong; its first word tells the kind.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes; None where there are none.
    Bytes(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Value>),
}

/// A command with its arguments.
pub(super) fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + arguments.iter().map(|a| a.len() + 16).sum::<usize>());
    bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Takes one whole answer out of `buffer`. None: it is not complete yet.
pub(super) fn decode(buffer: &mut BytesMut) -> Result<Option<Value>, &'static str> {
    let mut reader = Reader { bytes: buffer, at: 0 };
    match reader.value(true) {
        Ok(value) => {
            let length = reader.at;
            buffer.advance(length);
            Ok(Some(value))
        }
        Err(Stop::Incomplete) if buffer.len() > MAX_ANSWER_BYTES => Err("its answer is too large"),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Wrong(why)) => Err(why),
    }
}

enum Stop {
    Incomplete,
    Wrong(&'static str),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    /// Arrays hold no arrays in what is asked for here.
    fn value(&mut self, may_be_array: bool) -> Result<Value, Stop> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or(Stop::Wrong("its answer is an empty line"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let number = || std::str::from_utf8(rest).ok().and_then(|t| t.parse::<i64>().ok());
        let number = || number().ok_or(Stop::Wrong("a number in its answer is none"));
        match kind {
            b'+' => Ok(Value::Status(text())),
            b'-' => Ok(Value::Error(text())),
            b':' => number().map(Value::Integer),
            b'$' => match number()? {
                -1 => Ok(Value::Bytes(None)),
                length => {
                    let length = usize::try_from(length).ok().filter(|l| *l <= MAX_ANSWER_BYTES);
                    let length = length.ok_or(Stop::Wrong("a text in its answer is too long"))?;
                    let bytes = self.bytes.get(self.at..self.at + length + 2).ok_or(Stop::Incomplete)?;
                    let bytes = bytes.strip_suffix(b"\r\n").ok_or(Stop::Wrong("a text in its answer does not end"))?;
                    self.at += length + 2;
                    Ok(Value::Bytes(Some(bytes.to_vec())))
                }
            },
            b'*' if may_be_array => {
                let count = usize::try_from(number()?).ok().filter(|count| *count <= MAX_REDIS_ITEMS);
                let count = count.ok_or(Stop::Wrong("a list in its answer is too long"))?;
                (0..count).map(|_| self.value(false)).collect::<Result<_, _>>().map(Value::Array)
            }
            _ => Err(Stop::Wrong("its answer is not RESP2; is it Redis?")),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Incomplete)?;
        self.at += end + 2;
        Ok(rest.get(..end).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Option<Value>, &'static str> {
        decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn commands_are_lists_of_texts() {
        assert_eq!(encode(&[b"GET", b"a b"]), b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }

    #[test]
    fn answers_are_read_one_by_one_and_only_when_they_are_whole() {
        let text = b"+OK\r\n-ERR no\r\n:-3\r\n$-1\r\n$4\r\na\r\nb\r\n*2\r\n:1\r\n$1\r\nx\r\n";
        let expected = [
            Value::Status("OK".into()),
            Value::Error("ERR no".into()),
            Value::Integer(-3),
            Value::Bytes(None),
            Value::Bytes(Some(b"a\r\nb".to_vec())),
            Value::Array(vec![Value::Integer(1), Value::Bytes(Some(b"x".to_vec()))]),
        ];
        let mut buffer = BytesMut::from(&text[..]);
        for value in expected {
            assert_eq!(decode(&mut buffer), Ok(Some(value)));
        }
        assert!(buffer.is_empty());
        for end in 0..text.len() {
            let mut buffer = BytesMut::from(&text[..end]);
            while decode(&mut buffer).expect("is right as far as it goes").is_some() {}
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            ":x\r\n",
            "$999999999\r\n",
            "*999999\r\n",
            "$1\r\nabc",
            "*1\r\n*1\r\n",
        ] {
            assert!(all(text.as_bytes()).is_err(), "{text:?}");
        }
        let endless = [b"+".as_slice(), &vec![b'a'; MAX_ANSWER_BYTES + 1]].concat();
        assert!(all(&endless).is_err());
    }
}
