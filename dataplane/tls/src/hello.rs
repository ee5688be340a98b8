//! The first message of a TLS client, as far as its server name (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! It decides which listener a connection is for, and whether the gateway takes part in the handshake at all. A connection
//! that is passed through may be of any version and have any extension, so no more is read than is needed.

use rustls::server::{Accepted, Acceptor};

/// Most bytes that are read in search of the end of the message. Post-quantum key shares make it 2 KB; browsers stay below 4.
pub const MAX_BYTES: usize = 16 * 1024;

const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Kind of the extension.
const SERVER_NAME: usize = 0;
/// Kind of name within it.
const HOST_NAME: usize = 0;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The beginning of a message that is not complete.
    Incomplete,
    /// A whole message with the server name in lower case, if there is one.
    Complete(Option<String>),
}

/// Why bytes are not the beginning of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTls {
    /// It is something else, such as HTTP without TLS.
    #[error("the connection does not begin with a TLS handshake")]
    NotHandshake,
    /// It breaks off within itself.
    #[error("the ClientHello is malformed")]
    Malformed,
    /// It does not end within [`MAX_BYTES`].
    #[error("the ClientHello is larger than {MAX_BYTES} bytes")]
    TooLarge,
}

/// Reads all bytes that have come so far.
///
/// # Errors
/// They will never be a ClientHello, whatever comes.
pub fn parse(bytes: &[u8]) -> Result<Hello, NotTls> {
    let message = match message(bytes)? {
        Some(message) => message,
        None if bytes.len() >= MAX_BYTES => return Err(NotTls::TooLarge),
        None => return Ok(Hello::Incomplete),
    };
    let mut reader = Reader(&message);
    server_name(&mut reader).map(Hello::Complete).ok_or(NotTls::Malformed)
}

/// A message that rustls does not take.
#[derive(Debug)]
pub struct Refused {
    /// What to send before closing.
    pub alert: Vec<u8>,
    /// Why, for the operator.
    pub reason: String,
}

/// Hands the bytes of a complete message to rustls, for the rest of the handshake.
///
/// # Errors
/// The client and the gateway have nothing in common, or there are bytes that do not belong to the message.
pub fn accept(mut bytes: &[u8]) -> Result<Accepted, Refused> {
    let mut acceptor = Acceptor::default();
    let outside = |reason: String| Refused { alert: UNEXPECTED_MESSAGE.to_vec(), reason };
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).map_err(|e| outside(e.to_string()))?;
        match acceptor.accept() {
            // Clients wait for an answer to their ClientHello before they send more.
            Ok(Some(accepted)) if bytes.is_empty() => return Ok(accepted),
            Ok(Some(_)) => break,
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                // Writing to a vector does not fail.
                let _ = alert.write_all(&mut bytes);
                return Err(Refused { alert: bytes, reason: error.to_string() });
            }
        }
    }
    Err(outside("there are bytes after the ClientHello".to_owned()))
}

/// The record of a fatal alert before there are keys (RFC 8446 §6): no such server name.
pub const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// The same, for a listener whose configuration allows no handshake.
pub const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

/// The body of the first handshake message, put together from its records; None while it is not complete.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, NotTls> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE) || rest.get(1).is_some_and(|major| *major != 3) {
            return Err(NotTls::NotHandshake);
        }
        let [_, _, _, high, low, ..] = *rest else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_BYTES {
            return Err(NotTls::Malformed);
        }
        let end = rest.len().min(RECORD_HEADER + length);
        message.extend_from_slice(rest.get(RECORD_HEADER..end).unwrap_or_default());
        if let [kind, a, b, c, body @ ..] = message.as_slice() {
            if *kind != CLIENT_HELLO {
                return Err(NotTls::NotHandshake);
            }
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
            if length > MAX_BYTES {
                return Err(NotTls::TooLarge);
            }
            if let Some(body) = body.get(..length) {
                return Ok(Some(body.to_vec()));
            }
        }
        match rest.get(RECORD_HEADER + length..) {
            Some(next) => rest = next,
            None => return Ok(None),
        }
    }
}

/// The server name of a ClientHello's body. The outer None: it is malformed.
#[allow(clippy::option_option, reason = "the outer is the error")]
fn server_name(body: &mut Reader<'_>) -> Option<Option<String>> {
    body.take(2 + 32)?;
    body.vector(1)?;
    body.vector(2)?;
    body.vector(1)?;
    if body.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(body.vector(2)?);
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut extension = Reader(extensions.vector(2)?);
        if kind != SERVER_NAME {
            continue;
        }
        if found.is_some() {
            return None;
        }
        let mut names = Reader(extension.vector(2)?);
        while !names.0.is_empty() {
            let kind = names.number(1)?;
            let name = names.vector(2)?;
            if kind == HOST_NAME && found.replace(host_name(name)?).is_some() {
                return None;
            }
        }
    }
    Some(found)
}

fn host_name(name: &[u8]) -> Option<String> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    if name.is_empty() || name.len() > 254 || !name.iter().all(allowed) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    Some(name.strip_suffix('.').map_or_else(|| name.clone(), str::to_owned))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Bytes after their length, which has so many bytes.
    fn vector(&mut self, length: usize) -> Option<&'a [u8]> {
        let length = self.number(length)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests;
