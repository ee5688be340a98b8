//! Reads the body of a request that was answered without it.
//!
//! Closing a socket with unread bytes resets it, and the reset may overtake the answer (RFC 9112 §9.6); a small body that
//! is read leaves the connection usable.

use std::pin::Pin;

use bytes::Bytes;

use crate::limits::{MAX_DISCARD_TIME, MAX_DISCARDED_BYTES};

/// Reads the body of a request and forgets it, up to a bound, on this thread and beside the answer. Not for one
/// that the client holds back until it is asked for it.
pub fn discard<B>(mut body: B)
where
    B: http_body::Body<Data = Bytes> + Unpin + 'static,
{
    if body.is_end_stream() {
        return;
    }
    tokio::task::spawn_local(async move {
        let read = async {
            let mut left = MAX_DISCARDED_BYTES;
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(length) else { return };
                left = rest;
            }
        };
        // Whoever sends more, or slower, loses the connection and perhaps the answer.
        let _enough = tokio::time::timeout(MAX_DISCARD_TIME, read).await;
    });
}
