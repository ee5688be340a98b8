//! Calls of services that the gateway asks about a request (authorization, limits, processors), over the worker's
//! own connections: a channel of a gRPC library would hop between threads.

mod error;
mod exchange;
mod frame;
pub mod limits;
pub mod redis;
mod status;
pub mod stream;
mod unary;

pub use error::Error;
pub use exchange::exchange;
pub use stream::Stream;
pub use unary::unary;

/// Envoy's external authorization (`proto/external_auth.proto`).
pub mod auth {
    #![allow(missing_docs, clippy::all, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/envoy.service.auth.v3.rs"));

    /// Path of the method that decides.
    pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
}

/// Envoy's rate limit service (`proto/rate_limit.proto`).
pub mod rate_limit {
    #![allow(missing_docs, clippy::all, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/envoy.service.ratelimit.v3.rs"));

    /// Path of the method that decides.
    pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
}

/// Envoy's external processing service (`proto/external_processor.proto`).
pub mod processor {
    #![allow(missing_docs, clippy::all, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/envoy.service.ext_proc.v3.rs"));

    /// Path of its method, a [`Stream`](crate::Stream) of [`ProcessingRequest`]s and [`ProcessingResponse`]s.
    pub const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
}

#[cfg(test)]
mod tests;
