//! Amazon's binary event stream (`application/vnd.amazon.eventstream`): frames of headers and a payload, each with two
//! checksums.
//!
//! A frame: total length, length of headers (32 bits each, big endian), CRC-32 of these eight bytes; headers; payload; CRC-32
//! of all before it.

use crate::limits::MAX_EVENT_BYTES;
use crate::sse::Broken;

const PRELUDE: usize = 12;
const TRAILER: usize = 4;

/// One frame, as far as it is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'m> {
    /// `:event-type`, or `:exception-type`, or "error".
    pub(crate) name: &'m str,
    /// The text of an error that is not an event (`:error-message`).
    pub(crate) error: Option<&'m str>,
    pub(crate) payload: &'m [u8],
}

/// Cuts bytes that come in any pieces into frames; keeps one unfinished frame at most.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Message<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0usize;
        loop {
            let rest = self.buffer.get(start..).unwrap_or_default();
            if rest.len() < PRELUDE {
                break;
            }
            let total = number(rest, 0).ok_or(Broken::Damaged)? as usize;
            // The prelude's own checksum comes first: a length that is not true must not be waited for.
            if number(rest, 8) != Some(crc32(rest.get(..8).unwrap_or_default())) {
                return Err(Broken::Damaged);
            }
            if total > MAX_EVENT_BYTES {
                return Err(Broken::TooLarge);
            }
            if total < PRELUDE + TRAILER {
                return Err(Broken::Damaged);
            }
            let Some(frame) = rest.get(..total) else { break };
            each(message(frame)?)?;
            start = start.saturating_add(total);
        }
        self.buffer.drain(..start);
        if self.buffer.is_empty() && self.buffer.capacity() > 64 << 10 {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

fn message(frame: &[u8]) -> Result<Message<'_>, Broken> {
    let body = frame.len().checked_sub(TRAILER).ok_or(Broken::Damaged)?;
    let covered = frame.get(..body).ok_or(Broken::Damaged)?;
    if number(frame, body) != Some(crc32(covered)) {
        return Err(Broken::Damaged);
    }
    let headers = number(frame, 4).ok_or(Broken::Damaged)? as usize;
    let payload_at = PRELUDE.checked_add(headers).ok_or(Broken::Damaged)?;
    let mut rest = covered.get(PRELUDE..payload_at).ok_or(Broken::Damaged)?;
    let payload = covered.get(payload_at..).ok_or(Broken::Damaged)?;
    let mut message = Message { name: "", error: None, payload };
    while !rest.is_empty() {
        let (name, value, after) = header(rest).ok_or(Broken::Damaged)?;
        rest = after;
        let Some(value) = value else { continue };
        let value = std::str::from_utf8(value).map_err(|_| Broken::NotUtf8)?;
        match name {
            b":event-type" | b":exception-type" => message.name = value,
            b":error-code" if message.name.is_empty() => message.name = "error",
            b":error-message" => message.error = Some(value),
            _ => {}
        }
    }
    Ok(message)
}

/// Name, value where it is a string, and what is behind the header.
type Header<'h> = (&'h [u8], Option<&'h [u8]>, &'h [u8]);

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let (length, bytes) = bytes.split_first()?;
    let (name, bytes) = bytes.split_at_checked(usize::from(*length))?;
    let (kind, bytes) = bytes.split_first()?;
    let size = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => {
            let (length, bytes) = bytes.split_at_checked(2)?;
            let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
            let (value, bytes) = bytes.split_at_checked(length)?;
            return Some((name, Some(value).filter(|_| *kind == 7), bytes));
        }
        9 => 16,
        _ => return None,
    };
    Some((name, None, bytes.split_at_checked(size)?.1))
}

/// CRC-32 as in Ethernet and zlib (reflected polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0u32, |crc, byte| {
        let entry = TABLE.get(usize::from((crc as u8) ^ byte)).copied().unwrap_or(0);
        (crc >> 8) ^ entry
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in headers {
            head.push(name.len() as u8);
            head.extend_from_slice(name.as_bytes());
            head.push(7);
            head.extend_from_slice(&(value.len() as u16).to_be_bytes());
            head.extend_from_slice(value.as_bytes());
        }
        let mut out = ((PRELUDE + head.len() + payload.len() + TRAILER) as u32).to_be_bytes().to_vec();
        out.extend_from_slice(&(head.len() as u32).to_be_bytes());
        out.extend_from_slice(&crc32(&out).to_be_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(payload);
        let crc = crc32(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    #[test]
    fn checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn frames_at_every_cut_and_with_every_bit_flipped() {
        let bytes = [
            frame(&[(":message-type", "event"), (":event-type", "messageStart")], b"{}"),
            frame(&[(":exception-type", "throttlingException")], b"{\"message\":\"slow\"}"),
        ]
        .concat();
        for cut in 0..bytes.len() {
            let mut names = Vec::new();
            let mut frames = Frames::default();
            let (one, two) = bytes.split_at(cut);
            for piece in [one, two] {
                frames
                    .push(piece, |message| {
                        names.push((message.name.to_owned(), message.payload.len()));
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(names, [("messageStart".to_owned(), 2), ("throttlingException".to_owned(), 18)]);
            assert!(frames.is_empty());
        }
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(Frames::default().push(&damaged, |_| Ok(())).is_err(), "bit {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Frames::default().push(&bytes, |_| Ok(()));
            let mut framed = frame(&[], &bytes);
            let count = bytes.len() as u32;
            framed[4..8].copy_from_slice(&count.to_be_bytes());
            let crc = crc32(&framed[..8]);
            framed[8..12].copy_from_slice(&crc.to_be_bytes());
            let end = framed.len() - TRAILER;
            let crc = crc32(&framed[..end]);
            framed[end..].copy_from_slice(&crc.to_be_bytes());
            let _ = Frames::default().push(&framed, |_| Ok(()));
        }
    }
}
