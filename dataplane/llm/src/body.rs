//! Bodies that are read whole, up to a bound.

use std::pin::Pin;
use std::time::Duration;

use agentgateway_upstream::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    BrokeOff,
    /// Nothing came for too long.
    Silent,
}

/// Room that is made for a body on the word of its `Content-Length`, in bytes.
const TRUSTED: usize = 1 << 20;

/// Reads a body of at most `limit` bytes, of which each piece comes within `silence`.
pub(crate) async fn read(mut body: Body, limit: usize, silence: Duration) -> Result<Bytes, Unread> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(data) = piece(&mut body, silence).await? {
        if first.len().saturating_add(all.len()).saturating_add(data.len()) > limit {
            return Err(Unread::TooLarge);
        }
        if all.is_empty() {
            // Most bodies come in one piece, which is kept as it is.
            if first.is_empty() {
                first = data;
                continue;
            }
            all.reserve(expected.clamp(first.len().saturating_add(data.len()), TRUSTED.max(first.len() + data.len())));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The next piece of a body that is not empty; none at its end.
pub(crate) async fn piece(body: &mut Body, silence: Duration) -> Result<Option<Bytes>, Unread> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        match tokio::time::timeout(silence, frame).await {
            Err(_) => return Err(Unread::Silent),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Unread::BrokeOff),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}
