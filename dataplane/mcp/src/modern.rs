//! The stateless protocol (MCP 2026-07-28): every request says who asks and what it can do, and there is no session.
//!
//! Towards a target with a handshake the gateway holds a session in such a client's place (`held`); a question of the
//! target while a call is open becomes the call's result, and its answer comes with the client's next request
//! (`parked`).

pub(crate) mod check;
pub(crate) mod discover;
pub(crate) mod held;
pub(crate) mod listen;
pub(crate) mod parked;
pub(crate) mod relay;
pub(crate) mod request;
pub(crate) mod translate;
