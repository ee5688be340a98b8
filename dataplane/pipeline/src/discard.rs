//! What becomes of the body of a request that was answered without it.
//!
//! Closing a socket with unread bytes resets it, and the reset may overtake the answer (RFC 9112 §9.6); a small body that
//! is read leaves the connection usable.

use http::{HeaderMap, header};

pub use agentgateway_upstream::discard;

/// Whether the client waits for a sign to send the body: who is refused before need not send what nobody reads.
pub fn is_held_back(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}
