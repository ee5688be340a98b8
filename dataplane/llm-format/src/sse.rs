//! Server-sent events (WHATWG HTML, "Server-sent events") from bytes that come in any pieces.

use std::borrow::Cow;

use memchr::memchr2;

use crate::limits::MAX_EVENT_BYTES;

/// A stream that cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the provider sent an event of more than {MAX_EVENT_BYTES} bytes")]
    TooLarge,
    #[error("the provider sent bytes that are not UTF-8")]
    NotUtf8,
    #[error("the provider sent an event that is not JSON")]
    NotJson,
    #[error("the provider sent a damaged stream")]
    Damaged,
    #[error("the provider sent more than can be kept of one answer")]
    TooMuch,
}

/// Cuts a stream into events. At most [`MAX_EVENT_BYTES`] of an unfinished one are kept.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were looked at already.
    scanned: usize,
    /// Where the line begins that the scan is in.
    line: usize,
    /// The last byte was a carriage return: a line feed after it belongs to the same line end.
    after_return: bool,
}

impl Reader {
    /// Whether nothing of an unfinished event is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes bytes; gives each complete event, its end included, to the function.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.next_event() {
            let block = self.buffer.get(start..end).unwrap_or_default();
            start = end;
            event(block)?;
        }
        if start > 0 {
            self.buffer.drain(..start);
            self.scanned = self.scanned.saturating_sub(start);
            self.line = self.line.saturating_sub(start);
        }
        if self.buffer.len() > MAX_EVENT_BYTES {
            return Err(Broken::TooLarge);
        }
        if self.buffer.is_empty() && self.buffer.capacity() > 64 << 10 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// What is left when the stream has ended: an event whose empty line is missing.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Where the next event ends: behind an empty line.
    fn next_event(&mut self) -> Option<usize> {
        loop {
            if self.after_return {
                match self.buffer.get(self.scanned) {
                    Some(b'\n') => {
                        self.after_return = false;
                        self.scanned += 1;
                        self.line = self.scanned;
                    }
                    Some(_) => self.after_return = false,
                    None => return None,
                }
            }
            let rest = self.buffer.get(self.scanned..)?;
            let Some(at) = memchr2(b'\n', b'\r', rest) else {
                self.scanned = self.buffer.len();
                return None;
            };
            let end = self.scanned + at;
            let empty = end == self.line;
            let is_return = self.buffer.get(end) == Some(&b'\r');
            // The line feed of a pair is taken with it when it is there already, so that it does not begin the next event.
            let pair = is_return && self.buffer.get(end + 1) == Some(&b'\n');
            self.scanned = end + 1 + usize::from(pair);
            self.line = self.scanned;
            self.after_return = is_return && !pair;
            if empty {
                return Some(self.scanned);
            }
        }
    }
}

/// The data of an event, its lines joined by line feeds; none where it has none. The second is its type.
pub(crate) fn data(block: &[u8]) -> Result<Option<(Cow<'_, str>, &str)>, Broken> {
    let text = std::str::from_utf8(block).map_err(|_| Broken::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut data: Option<Cow<'_, str>> = None;
    let mut name = "";
    for line in text.split(['\n', '\r']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut data) {
            ("data", None) => data = Some(Cow::Borrowed(value)),
            ("data", Some(before)) => {
                let before = before.to_mut();
                before.push('\n');
                before.push_str(value);
            }
            ("event", _) => name = value,
            _ => {}
        }
    }
    Ok(data.map(|data| (data, name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        for piece in pieces {
            reader
                .push(piece, |block| {
                    if let Some((data, name)) = data(block)? {
                        events.push((name.to_owned(), data.into_owned()));
                    }
                    Ok(())
                })
                .unwrap();
        }
        events
    }

    #[test]
    fn every_line_end_and_every_cut() {
        for end in ["\n", "\r\n", "\r"] {
            let text = [": ping", "", "event: a", "data: {\"x\":\"ä\"}", "", "data:1", "data: 2", "id: 7", "", "", ""]
                .join(end);
            let whole = read(&[text.as_bytes()]);
            assert_eq!(whole, [("a".into(), "{\"x\":\"ä\"}".into()), (String::new(), "1\n2".into())], "{end:?}");
            for cut in 0..text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(read(&[one, two]), whole, "cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), whole);
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = Reader::default();
        let chunk = vec![b'x'; 1 << 20];
        let refused = (0..32).find(|_| reader.push(&chunk, |_| Ok(())).is_err());
        assert_eq!(refused, Some(16));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>, cut in 0usize..64) {
            let mut reader = Reader::default();
            let (one, two) = bytes.split_at(cut.min(bytes.len()));
            for piece in [one, two] {
                let _ = reader.push(piece, |block| data(block).map(|_| ()));
            }
        }
    }
}
