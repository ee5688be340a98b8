//! Sizes on the wire that both ends of the discovery stream must agree on.

/// Most bytes of one response of the control plane; larger pushes are split.
pub const RESPONSE_BYTES: usize = 1 << 20;

/// Most bytes of one resource with its key and version, so that a response can carry it with room for the envelope.
pub const RESOURCE_BYTES: usize = RESPONSE_BYTES - (16 << 10);

/// Most bytes of one request of a proxy. The largest is the first after a reconnect: it names every key and version it has.
pub const REQUEST_BYTES: usize = 16 << 20;
