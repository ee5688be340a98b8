//! Server-sent events (WHATWG HTML "Server-sent events"): a decoder for bytes that arrive in any pieces, and an
//! encoder.

use bytes::{BufMut, Bytes, BytesMut};

/// One event. A stream of this protocol may send events without data, which carry an id to resume from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    /// Type of the event; empty means "message".
    pub(crate) name: String,
    pub(crate) data: String,
    /// Milliseconds to wait before reconnecting.
    pub(crate) retry: Option<u64>,
}

impl Event {
    pub(crate) fn is_message(&self) -> bool {
        (self.name.is_empty() || self.name == "message") && !self.data.is_empty()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.data.len() + 64);
        let mut field = |name: &str, value: &str| {
            out.put_slice(name.as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_u8(b'\n');
        };
        if !self.name.is_empty() {
            field("event", &self.name);
        }
        if let Some(id) = &self.id {
            field("id", id);
        }
        if let Some(retry) = self.retry {
            field("retry", &retry.to_string());
        }
        for line in self.data.split('\n') {
            field("data", line);
        }
        out.put_u8(b'\n');
        out.freeze()
    }
}

/// The event that carries one message.
pub(crate) fn message(text: &str) -> Bytes {
    if text.contains(['\n', '\r']) {
        // Line ends inside JSON are only white space between its parts.
        return message(&text.replace(['\n', '\r'], " "));
    }
    let mut out = BytesMut::with_capacity(text.len() + 24);
    out.put_slice(b"event: message\ndata: ");
    out.put_slice(text.as_bytes());
    out.put_slice(b"\n\n");
    out.freeze()
}

/// A stream that holds more in one event than its reader allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub(crate) struct TooLarge(usize);

/// Turns bytes into events; holds at most `limit` bytes of an unfinished one.
#[derive(Debug)]
pub(crate) struct Decoder {
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed after it belongs to the same line end.
    after_cr: bool,
    at_start: bool,
    event: Event,
    seen: bool,
    has_data: bool,
    size: usize,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            event: Event::default(),
            seen: false,
            has_data: false,
            size: 0,
        }
    }

    /// Takes the next bytes and hands each event that they complete to `emit`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Event)) -> Result<(), TooLarge> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.keep(&bytes[..end])?;
            self.end_of_line(&mut emit);
            let cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if cr {
                self.after_cr = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.keep(bytes)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.size += bytes.len();
        if self.size > self.limit {
            return Err(TooLarge(self.limit));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_of_line(&mut self, emit: &mut impl FnMut(Event)) {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if line.is_empty() {
            self.size = 0;
            let event = std::mem::take(&mut self.event);
            self.has_data = false;
            if std::mem::take(&mut self.seen) {
                emit(event);
            }
        } else {
            self.field(&line);
        }
        line.clear();
        self.line = line;
    }

    fn field(&mut self, line: &[u8]) {
        let (name, value) = match line.iter().position(|b| *b == b':') {
            Some(0) => return,
            Some(colon) => (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..])),
            None => (line, &b""[..]),
        };
        match name {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(&String::from_utf8_lossy(value));
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.event.id = Some(String::from_utf8_lossy(value).into_owned()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.event.retry = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
            _ => return,
        }
        self.seen = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece, |e| events.push(e)).unwrap();
        }
        events
    }

    fn data(text: &str) -> Event {
        Event { data: text.into(), ..Event::default() }
    }

    #[test]
    fn line_ends_comments_and_fields() {
        let events = decode(&[
            b"\xEF\xBB\xBF: hello\r\ndata: a\rdata:b\n\nid: 7\nretry: 10\ndata\n\nevent: x\ndata:  y\r\n\r\n",
        ]);
        assert_eq!(
            events,
            [
                data("a\nb"),
                Event { id: Some("7".into()), retry: Some(10), ..Event::default() },
                Event { name: "x".into(), ..data(" y") },
            ]
        );
        assert!(!events[1].is_message());
    }

    #[test]
    fn an_unfinished_event_is_not_an_event() {
        assert_eq!(decode(&[b"data: a\n"]), []);
        assert_eq!(decode(&[b": only a comment\n\n\n"]), []);
    }

    #[test]
    fn limit() {
        let mut decoder = Decoder::new(16);
        assert!(decoder.push(b"data: 0123456789", |_| ()).is_ok());
        assert_eq!(decoder.push(b"x", |_| ()), Err(TooLarge(16)));
        let mut decoder = Decoder::new(16);
        for _ in 0..100 {
            assert!(decoder.push(b"data: 01234567\n\n", |_| ()).is_ok());
        }
    }

    #[test]
    fn a_message_is_one_event_whatever_its_line_ends() {
        let event = decode(&[&message("{\"a\":\r\n1}")]).remove(0);
        assert!(event.is_message());
        assert_eq!(event.data, "{\"a\":  1}");
    }

    proptest! {
        #[test]
        fn the_places_of_the_cuts_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), Just(0xEF), any::<u8>(),
                prop::sample::select(b"data: id: event: retry: 12".to_vec()),
            ], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut places: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(decode(&pieces), decode(&[&bytes]));
        }

        #[test]
        fn what_is_encoded_is_decoded(
            id in prop::option::of("[a-z0-9_:-]{1,12}"),
            name in "[a-z]{0,8}",
            data in "[^\r\u{0}]{1,40}",
            retry in prop::option::of(0u64..100_000),
        ) {
            let event = Event { id, name, data, retry };
            prop_assert_eq!(decode(&[&event.encode()]), vec![event]);
        }
    }
}
